//! The settings of maintenance: those that a directory is opened with, and those that a reload changes.

use super::plan::Levels;
use super::retention::RetentionSettings;
use std::sync::{Mutex, PoisonError};

/// Largest range of a compacted block, whatever the retention: 31 days.
pub const BLOCK_RANGE_MAX_MS: i64 = 31 * 24 * 3_600_000;
/// Part of the retention that the largest block may span.
const RETENTION_PARTS: i64 = 10;

/// Settings of maintenance.
#[derive(Debug, Clone, PartialEq)]
pub struct MaintenanceOptions {
    /// Range of a block sealed from the head, in milliseconds.
    pub block_range_ms: i64,
    /// Largest range of a compacted block, in milliseconds; `None`: a tenth of the retention by time, at most 31 days.
    pub block_range_max_ms: Option<i64>,
    /// Merge blocks that overlap.
    pub compact_overlapping: bool,
    /// What is kept.
    pub retention: RetentionSettings,
    /// Most samples in a page of a block.
    pub page_samples_max: u32,
    /// Bytes of the reserve in the data directory, made with the first checkpoint; 0: none.
    pub reserve_bytes: u64,
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        MaintenanceOptions {
            block_range_ms: 2 * 3_600_000,
            block_range_max_ms: None,
            compact_overlapping: true,
            retention: RetentionSettings::default(),
            page_samples_max: 8192,
            reserve_bytes: 0,
        }
    }
}

/// The settings in force; shared by the store and its keepers.
pub(crate) struct Settings {
    options: MaintenanceOptions,
    retention: Mutex<RetentionSettings>,
}

impl Settings {
    pub(crate) fn new(options: MaintenanceOptions) -> Settings {
        Settings {
            retention: Mutex::new(options.retention),
            options,
        }
    }

    /// What the directory was opened with; its retention may have changed since.
    pub(crate) fn options(&self) -> &MaintenanceOptions {
        &self.options
    }

    pub(crate) fn block_range(&self) -> i64 {
        self.options.block_range_ms.max(1)
    }

    pub(crate) fn retention(&self) -> RetentionSettings {
        *self
            .retention
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_retention(&self, retention: RetentionSettings) {
        *self
            .retention
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = retention;
    }

    /// The levels that blocks are compacted through.
    pub(crate) fn levels(&self) -> Levels {
        let by_retention = self.retention().time_ms.map(|ms| ms / RETENTION_PARTS);
        let widest = self.options.block_range_max_ms.unwrap_or_else(|| {
            by_retention.map_or(BLOCK_RANGE_MAX_MS, |ms| ms.min(BLOCK_RANGE_MAX_MS))
        });
        Levels::new(self.block_range(), widest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_block_is_a_tenth_of_the_retention_and_at_most_a_month() {
        let hour = 3_600_000;
        let settings = Settings::new(MaintenanceOptions::default());
        let levels = |widest: i64| Levels::new(2 * hour, widest);
        assert_eq!(settings.levels(), levels(36 * hour), "of 15 days");
        let with = |time_ms: Option<i64>| {
            settings.set_retention(RetentionSettings {
                time_ms,
                ..RetentionSettings::default()
            });
            settings.levels()
        };
        assert_eq!(with(Some(hour)), levels(0), "there is always one level");
        assert_eq!(with(None), levels(31 * 24 * hour));
        assert_eq!(with(Some(100 * 365 * 24 * hour)), levels(31 * 24 * hour));
        let asked = Settings::new(MaintenanceOptions {
            block_range_max_ms: Some(6 * hour),
            ..MaintenanceOptions::default()
        });
        assert_eq!(asked.levels(), levels(6 * hour));
    }
}
