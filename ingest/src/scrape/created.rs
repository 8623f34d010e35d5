//! `_created` lines of OpenMetrics pages: since when a counter, histogram or summary counts.
//!
//! They stand among the lines of their family, before or behind the ones that they speak of; so a page is read twice, the first time for them
//! alone. Only jobs that ask for starts pay for that, and only pages that have such lines. Pure: no I/O, no clock.

use crate::text::{Dialect, Entry, LabelPair, MetricType, Parser, Series};
use hashbrown::HashMap;
use memchr::memmem;
use storage_engine::model::{Labels, TimestampMs};

const SUFFIX: &str = "_created";
/// The keys live for one page only.
const SEED: u64 = 0x0c4e_a7ed;

/// The starts of a page, by family and labels.
#[derive(Debug, Default)]
pub(super) struct Created {
    starts: HashMap<u128, TimestampMs>,
    /// The family at hand and its type.
    family: String,
    metric_type: MetricType,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// It says when counting began, and is no sample.
    Created,
    /// A sample with its start; 0 when none is known.
    Sample(TimestampMs),
}

impl Created {
    /// Reads a page's `_created` lines; `None` when it has none. A page with an error is left to the parser that comes after.
    pub(super) fn of_page(page: &[u8]) -> Option<Created> {
        memmem::find(page, SUFFIX.as_bytes())?;
        let mut created = Created::default();
        let mut starts = HashMap::new();
        let mut parser = Parser::new(page, Dialect::OpenMetrics);
        let mut labels = Vec::new();
        while let Ok(Some(entry)) = parser.next_entry() {
            match entry {
                Entry::Type { name, metric_type } => created.begin_family(&name, metric_type),
                Entry::Series(series) => {
                    if let Some((key, true)) = created.key(&series, &mut labels) {
                        let start = (series.value * 1000.0) as TimestampMs;
                        starts.entry(key).or_insert(start);
                    }
                }
                _ => {}
            }
        }
        Some(Created {
            starts,
            ..Created::default()
        })
    }

    /// A `# TYPE` line.
    pub(super) fn begin_family(&mut self, name: &str, metric_type: MetricType) {
        name.clone_into(&mut self.family);
        self.metric_type = metric_type;
    }

    /// What a line of the family at hand is.
    pub(super) fn line(&self, series: &Series<'_>) -> Line {
        match self.key(series, &mut Vec::new()) {
            Some((_, true)) => Line::Created,
            Some((key, false)) => Line::Sample(self.starts.get(&key).copied().unwrap_or(0)),
            None => Line::Sample(0),
        }
    }

    /// Family and labels of a line as one number, and whether it is a `_created` one. `None` for a line of no family that counts.
    fn key<'p>(
        &self,
        series: &Series<'p>,
        labels: &mut Vec<LabelPair<'p>>,
    ) -> Option<(u128, bool)> {
        let counts = matches!(
            self.metric_type,
            MetricType::Counter | MetricType::Histogram | MetricType::Summary
        );
        if !counts || series.labels(labels).is_err() {
            return None;
        }
        let (_, name) = labels.first()?;
        let suffix = name.strip_prefix(self.family.as_str())?;
        let of_family = matches!(
            suffix,
            "" | "_total" | "_bucket" | "_count" | "_sum" | SUFFIX
        );
        if !of_family {
            return None;
        }
        let created = suffix == SUFFIX;
        let own = |name: &str| {
            name != "__name__"
                && !(self.metric_type == MetricType::Histogram && name == "le")
                && !(self.metric_type == MetricType::Summary && name == "quantile")
        };
        let kept = labels.iter().filter(|(name, _)| own(name));
        let family = ("__name__", self.family.as_str());
        let kept = kept
            .map(|(name, value)| (&**name, &**value))
            .chain([family]);
        let labels = Labels::from_pairs(kept).ok()?;
        Some((labels.hash128(SEED), created))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE c counter\n\
        c_total{a=\"1\"} 5\n\
        c_created{a=\"1\"} 1600000000.123\n\
        c_created{a=\"2\"} 1600000001\n\
        c_total{a=\"2\"} 6\n\
        c_total{a=\"3\"} 7\n\
        # TYPE h histogram\n\
        h_bucket{le=\"1.0\",x=\"y\"} 1\n\
        h_bucket{le=\"+Inf\",x=\"y\"} 2\n\
        h_count{x=\"y\"} 2\n\
        h_sum{x=\"y\"} 3\n\
        h_created{x=\"y\"} 1600000002\n\
        # TYPE s summary\n\
        s{quantile=\"0.5\"} 1\n\
        s_created 1600000003\n\
        # TYPE g gauge\n\
        g_created 9\n\
        # EOF\n";

    #[test]
    fn lines_find_their_starts() {
        let mut created = Created::of_page(PAGE.as_bytes()).unwrap();
        let mut parser = Parser::new(PAGE.as_bytes(), Dialect::OpenMetrics);
        let mut found = Vec::new();
        while let Some(entry) = parser.next_entry().unwrap() {
            match entry {
                Entry::Type { name, metric_type } => created.begin_family(&name, metric_type),
                Entry::Series(series) => found.push(created.line(&series)),
                _ => {}
            }
        }
        use Line::Sample;
        let h = Sample(1_600_000_002_000);
        assert_eq!(
            found,
            [
                Sample(1_600_000_000_123),
                Line::Created,
                Line::Created,
                Sample(1_600_000_001_000),
                Sample(0),
                h,
                h,
                h,
                h,
                Line::Created,
                Sample(1_600_000_003_000),
                Line::Created,
                // A gauge of that name is a gauge.
                Sample(0),
            ]
        );
    }

    #[test]
    fn pages_without_such_lines_are_not_read_twice() {
        assert!(Created::of_page(b"# TYPE c counter\nc_total 1\n# EOF\n").is_none());
    }
}
