//! Metric metadata (`# TYPE`, `# HELP`, `# UNIT`) of one target.
//!
//! Promise: bounded in entries and bytes; an entry outlives its metric by ten scrapes, as in Prometheus.
//! Not here: merging over targets (the API's work).

use crate::limits::{METADATA_ENTRIES_PER_TARGET_MAX, METADATA_HELP_BYTES_MAX};
use crate::text::MetricType;
use hashbrown::HashMap;

/// Scrapes after which the metadata of a vanished metric is forgotten.
const KEPT_SCRAPES: u32 = 10;

/// What a target says about a metric family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricMetadata {
    /// Family name.
    pub metric: String,
    /// Type; [`MetricType::Unknown`] when only HELP or UNIT was there.
    pub metric_type: MetricType,
    /// Help text.
    pub help: String,
    /// Unit.
    pub unit: String,
}

#[derive(Debug, Default)]
struct Family {
    metric_type: MetricType,
    help: String,
    unit: String,
    seen: u32,
}

/// Metadata of one target's families.
#[derive(Debug, Default)]
pub struct TargetMetadata {
    families: HashMap<String, Family>,
}

impl TargetMetadata {
    /// Takes a `# TYPE` line of scrape number `scrape`.
    pub fn set_type(&mut self, metric: &str, metric_type: MetricType, scrape: u32) {
        if let Some(family) = self.family(metric, scrape) {
            family.metric_type = metric_type;
        }
    }

    /// Takes a `# HELP` line.
    pub fn set_help(&mut self, metric: &str, help: &str, scrape: u32) {
        if let Some(family) = self.family(metric, scrape) {
            let help = cut(help);
            if family.help != help {
                help.clone_into(&mut family.help);
            }
        }
    }

    /// Takes a `# UNIT` line.
    pub fn set_unit(&mut self, metric: &str, unit: &str, scrape: u32) {
        if let Some(family) = self.family(metric, scrape) {
            let unit = cut(unit);
            if family.unit != unit {
                unit.clone_into(&mut family.unit);
            }
        }
    }

    fn family(&mut self, metric: &str, scrape: u32) -> Option<&mut Family> {
        if !self.families.contains_key(metric) {
            if self.families.len() >= METADATA_ENTRIES_PER_TARGET_MAX {
                return None;
            }
            self.families.insert(metric.to_owned(), Family::default());
        }
        let family = self.families.get_mut(metric)?;
        family.seen = scrape;
        Some(family)
    }

    /// Forgets families that have not been seen for ten scrapes.
    pub fn expire(&mut self, scrape: u32) {
        self.families
            .retain(|_, family| scrape.wrapping_sub(family.seen) <= KEPT_SCRAPES);
    }

    /// All entries, in no particular order.
    pub fn entries(&self) -> impl Iterator<Item = MetricMetadata> + '_ {
        self.families
            .iter()
            .map(|(metric, family)| entry(metric, family))
    }

    /// The entry of one family.
    pub fn get(&self, metric: &str) -> Option<MetricMetadata> {
        self.families
            .get(metric)
            .map(|family| entry(metric, family))
    }

    /// Number of families: `prometheus_target_metadata_cache_entries`.
    pub fn len(&self) -> usize {
        self.families.len()
    }

    /// True without families.
    pub fn is_empty(&self) -> bool {
        self.families.is_empty()
    }

    /// Bytes of text: `prometheus_target_metadata_cache_bytes`.
    pub fn text_bytes(&self) -> usize {
        self.families
            .values()
            .map(|f| f.help.len() + f.unit.len() + f.metric_type.as_str().len())
            .sum()
    }
}

fn entry(metric: &str, family: &Family) -> MetricMetadata {
    MetricMetadata {
        metric: metric.to_owned(),
        metric_type: family.metric_type,
        help: family.help.clone(),
        unit: family.unit.clone(),
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(METADATA_HELP_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_change_and_expire() {
        let mut metadata = TargetMetadata::default();
        metadata.set_type("a", MetricType::Counter, 1);
        metadata.set_help("a", "one", 1);
        metadata.set_help("a", "two", 2);
        metadata.set_unit("b", "seconds", 2);
        let a = metadata.get("a").unwrap();
        assert_eq!(
            (a.metric_type, a.help.as_str()),
            (MetricType::Counter, "two")
        );
        assert_eq!(metadata.get("b").unwrap().metric_type, MetricType::Unknown);
        metadata.set_help("a", "two", 12);
        metadata.expire(13);
        assert_eq!((metadata.len(), metadata.text_bytes()), (1, 10));
    }

    #[test]
    fn help_is_cut_at_a_character() {
        let mut metadata = TargetMetadata::default();
        metadata.set_help("a", &"ä".repeat(METADATA_HELP_BYTES_MAX), 1);
        assert_eq!(
            metadata.get("a").unwrap().help.len(),
            METADATA_HELP_BYTES_MAX
        );
    }
}
