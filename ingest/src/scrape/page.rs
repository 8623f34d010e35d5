//! A page's entries become samples in batches, by way of the series cache.
//!
//! Promise: either the whole page is accepted, or an error says why the scrape fails; what was put in the batches
//! until then is the caller's to throw away. Pure: no I/O, no clock. Not here: staleness, report series (`target_loop`).

use super::batches::{Batches, Origin};
use super::cache::{Known, LineId, SeriesCache, SeriesId, TextClass};
use super::config::ScrapeConfig;
use super::sample_labels::{SampleLabelsError, report_labels, stored_labels};
use crate::limits::{EXEMPLARS_PER_REQUEST_MAX, SCRAPE_SERIES_BYTES_MAX};
use crate::metadata::TargetMetadata;
use crate::text::{
    ContentTypeError, Dialect, Entry, Exemplar as PageExemplar, LabelPair, ParseError, Parser,
    Series,
};
use storage_engine::model::{Exemplar, Labels, TimestampMs};
use storage_engine::shard_api::SampleSeries;

/// Seed of the identity hash; the cache lives in memory only, and equal labels must meet across spellings.
const IDENTITY_SEED: u64 = 0x5c3a_9e11;

/// Why a page fails its scrape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PageError {
    #[error("{0}")]
    ContentType(#[from] ContentTypeError),
    #[error("{0}")]
    Parse(#[from] ParseError),
    #[error("{0}")]
    Labels(#[from] SampleLabelsError),
    #[error("sample limit exceeded")]
    SampleLimit,
    #[error("series of {bytes} bytes exceeds the limit of {SCRAPE_SERIES_BYTES_MAX}")]
    SeriesTooLong { bytes: usize },
}

/// What the report series say about a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageCounts {
    /// `scrape_samples_scraped`
    pub(super) scraped: u64,
    /// `scrape_samples_post_metric_relabeling`
    pub(super) kept: u64,
    /// `scrape_series_added`
    pub(super) series_added: u64,
    pub(super) duplicates: u64,
    pub(super) exemplars: u64,
    /// Exemplars put into the batches.
    pub(super) exemplars_kept: u64,
    /// Set when the page has more samples than allowed, even if it fails for another reason.
    pub(super) over_sample_limit: bool,
}

/// What a page is read with.
pub(super) struct PageReader<'a> {
    pub(super) config: &'a ScrapeConfig,
    pub(super) target_labels: &'a Labels,
    pub(super) shard_of: &'a dyn Fn(u64) -> usize,
    pub(super) cache: &'a mut SeriesCache,
    pub(super) batches: &'a mut Batches,
}

impl PageReader<'_> {
    /// Reads a page whose samples without a timestamp get `now`.
    pub(super) fn read(
        &mut self,
        page: &[u8],
        dialect: Dialect,
        now: TimestampMs,
        metadata: &mut TargetMetadata,
        counts: &mut PageCounts,
    ) -> Result<(), PageError> {
        let mut parser = Parser::new(page, dialect);
        let mut labels = Vec::new();
        let scrape = self.cache.scrape();
        while let Some(entry) = parser.next_entry()? {
            match entry {
                Entry::Series(series) => self.sample(&series, now, &mut labels, counts)?,
                Entry::Type { name, metric_type } => metadata.set_type(&name, metric_type, scrape),
                Entry::Help { name, text } => metadata.set_help(&name, &text, scrape),
                Entry::Unit { name, unit } => metadata.set_unit(&name, &unit, scrape),
                Entry::Comment(_) => {}
            }
        }
        if counts.over_sample_limit {
            return Err(PageError::SampleLimit);
        }
        Ok(())
    }

    fn sample<'p>(
        &mut self,
        series: &Series<'p>,
        now: TimestampMs,
        labels: &mut Vec<LabelPair<'p>>,
        counts: &mut PageCounts,
    ) -> Result<(), PageError> {
        counts.scraped += 1;
        counts.exemplars += u64::from(series.exemplar.is_some());
        let explicit = series.timestamp.filter(|_| self.config.honor_timestamps);
        let class = TextClass::of(series.metric_type);
        let (line, id, fresh) = match self.cache.lookup(series.raw, class) {
            Known::Dropped => return Ok(()),
            Known::Yes {
                line,
                series,
                fresh,
            } => (line, series, fresh),
            Known::Again(line, id) => {
                // A second sample of the moment of the scrape; with explicit timestamps it is another moment.
                if explicit.is_none() {
                    counts.kept += 1;
                    counts.duplicates += 1;
                    return Ok(());
                }
                (line, id, false)
            }
            Known::No => match self.first_sight(series, class, labels)? {
                Some((line, id)) => (line, id, true),
                None => return Ok(()),
            },
        };
        counts.kept += 1;
        let limit = self.config.sample_limit;
        if limit > 0 && counts.kept - counts.duplicates > limit {
            // The rest is still read, so that the report says how many samples there were.
            counts.over_sample_limit = true;
            return Ok(());
        }
        counts.series_added += u64::from(fresh);
        if explicit.is_none() || self.config.track_timestamps_staleness {
            self.cache.track(id);
        }
        let timestamp = explicit.unwrap_or(now);
        let target = self.target(line, id)?;
        let Some((shard, sample_series)) = target else {
            return Ok(());
        };
        let origin = Origin::Line(line);
        self.batches
            .push(shard, sample_series, timestamp, series.value, origin);
        if let Some(exemplar) = &series.exemplar {
            self.exemplar((shard, sample_series), exemplar, timestamp, line, counts);
        }
        Ok(())
    }

    /// Puts the exemplar of a sample in the batch. One whose labels cannot be kept is left out.
    #[cold]
    fn exemplar(
        &mut self,
        (shard, series): (u32, SampleSeries),
        exemplar: &PageExemplar<'_>,
        timestamp: TimestampMs,
        line: LineId,
        counts: &mut PageCounts,
    ) {
        let mut pairs = Vec::new();
        exemplar.labels(&mut pairs);
        let Ok(labels) = Labels::from_pairs(pairs) else {
            return;
        };
        if counts.exemplars_kept >= EXEMPLARS_PER_REQUEST_MAX as u64 {
            return;
        }
        counts.exemplars_kept += 1;
        let exemplar = Exemplar {
            labels,
            value: exemplar.value,
            timestamp: exemplar.timestamp.unwrap_or(timestamp),
            timed: exemplar.timestamp.is_some(),
        };
        if let Some(shard) = self.batches.shard_mut(shard) {
            shard.push_exemplar(series, exemplar, line);
        }
    }

    fn first_sight<'p>(
        &mut self,
        series: &Series<'p>,
        class: TextClass,
        labels: &mut Vec<LabelPair<'p>>,
    ) -> Result<Option<(LineId, SeriesId)>, PageError> {
        if series.raw.len() > SCRAPE_SERIES_BYTES_MAX {
            return Err(PageError::SeriesTooLong {
                bytes: series.raw.len(),
            });
        }
        series.labels(labels)?;
        let Some(stored) = stored_labels(labels, self.target_labels, self.config)? else {
            self.cache.insert_dropped(series.raw, class);
            return Ok(None);
        };
        Ok(Some(self.admit(series.raw, class, &stored)))
    }

    /// Caches a line and, if its series has no reference, puts the labels in the batch.
    fn admit(&mut self, text: &[u8], class: TextClass, labels: &Labels) -> (LineId, SeriesId) {
        let shard = (self.shard_of)(labels.route_hash()) as u32;
        let identity = labels.hash128(IDENTITY_SEED);
        let (line, id) = self.cache.insert(text, class, identity, shard);
        let unknown = self.cache.series(id).is_some_and(|s| s.reference.is_none());
        if unknown && self.cache.pending(id).is_none() {
            self.send_labels(line, id, shard, labels);
        }
        (line, id)
    }

    fn send_labels(
        &mut self,
        line: LineId,
        id: SeriesId,
        shard: u32,
        labels: &Labels,
    ) -> Option<u32> {
        let index = self
            .batches
            .shard_mut(shard)?
            .push_labels(labels.as_bytes(), line);
        self.cache.set_pending(id, index);
        Some(index)
    }

    /// Puts a sample in its shard's batch.
    fn push(
        &mut self,
        line: LineId,
        id: SeriesId,
        timestamp: TimestampMs,
        value: f64,
    ) -> Result<(), PageError> {
        if let Some((shard, series)) = self.target(line, id)? {
            self.batches
                .push(shard, series, timestamp, value, Origin::Line(line));
        }
        Ok(())
    }

    /// The shard of a series and the series' name there; its labels go into the batch where the shard has given no reference yet.
    fn target(
        &mut self,
        line: LineId,
        id: SeriesId,
    ) -> Result<Option<(u32, SampleSeries)>, PageError> {
        let Some(&cached) = self.cache.series(id) else {
            return Ok(None);
        };
        let series = match cached.reference {
            Some(reference) => SampleSeries::Known(reference),
            None => {
                let index = match self.cache.pending(id) {
                    Some(index) => index,
                    None => {
                        let labels =
                            labels_of_line(self.cache, line, self.target_labels, self.config)?;
                        let index = labels
                            .and_then(|labels| self.send_labels(line, id, cached.shard, &labels));
                        let Some(index) = index else {
                            return Ok(None);
                        };
                        index
                    }
                };
                SampleSeries::New(index)
            }
        };
        Ok(Some((cached.shard, series)))
    }

    /// Adds a sample of a report series such as `up`.
    pub(super) fn report(&mut self, metric: &str, timestamp: TimestampMs, value: f64) {
        let known = self.cache.lookup(metric.as_bytes(), TextClass::Report);
        let (line, id) = match known {
            Known::Yes { line, series, .. } | Known::Again(line, series) => (line, series),
            Known::No | Known::Dropped => {
                let labels = report_labels(metric, self.target_labels);
                self.admit(metric.as_bytes(), TextClass::Report, &labels)
            }
        };
        let pushed = self.push(line, id, timestamp, value);
        debug_assert!(pushed.is_ok(), "report labels pass no check");
    }
}

/// Makes the labels of a cached line anew; `None` when they are dropped or the line is gone.
pub(super) fn labels_of_line(
    cache: &SeriesCache,
    line: LineId,
    target_labels: &Labels,
    config: &ScrapeConfig,
) -> Result<Option<Labels>, PageError> {
    let Some((text, class)) = cache.spelling(line) else {
        return Ok(None);
    };
    if class == TextClass::Report {
        let metric = String::from_utf8_lossy(text);
        return Ok(Some(report_labels(&metric, target_labels)));
    }
    let series = Series {
        raw: text,
        value: 0.0,
        timestamp: None,
        metric_type: class.metric_type(),
        exemplar: None,
    };
    let mut labels = Vec::new();
    series.labels(&mut labels)?;
    Ok(stored_labels(&labels, target_labels, config)?)
}
