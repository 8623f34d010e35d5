//! Limits on new series: how many may come into being in a minute, and how large their labels may be.
//!
//! They are looked at when a series is seen for the first time, never again: series that exist go on whatever the limits
//! say. Not here: the most series and the memory of a shard ([`super::ShardConfig`]).

use crate::index;
use crate::limits::{
    LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_PER_SERIES_MAX, NEW_SERIES_PER_MINUTE_MAX,
};
use crate::shard_api::RejectReason;

/// The settings; 0 stands for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesLimits {
    /// New series of a shard within any minute.
    pub new_per_minute_max: u32,
    /// Labels of a series, the metric name included.
    pub labels_max: u32,
    /// Bytes of a label name.
    pub label_name_bytes_max: u32,
    /// Bytes of a label value.
    pub label_value_bytes_max: u32,
}

impl Default for SeriesLimits {
    fn default() -> Self {
        SeriesLimits {
            new_per_minute_max: NEW_SERIES_PER_MINUTE_MAX,
            labels_max: LABELS_PER_SERIES_MAX,
            label_name_bytes_max: LABEL_NAME_BYTES_MAX,
            label_value_bytes_max: LABEL_VALUE_BYTES_MAX,
        }
    }
}

impl SeriesLimits {
    /// May a series with these labels, which are canonical, come into being?
    pub(super) fn check_labels(&self, canonical: &[u8]) -> Result<(), RejectReason> {
        let beyond = |bytes: usize, max: u32| max > 0 && bytes > max as usize;
        let mut labels = 0;
        for (name, value) in index::pairs(canonical) {
            labels += 1;
            if beyond(name.len(), self.label_name_bytes_max)
                || beyond(value.len(), self.label_value_bytes_max)
            {
                return Err(RejectReason::LabelLimit);
            }
        }
        if beyond(labels, self.labels_max) {
            return Err(RejectReason::LabelLimit);
        }
        Ok(())
    }
}

const MINUTE_NANOS: u64 = 60_000_000_000;

/// How many series may come into being now: a bucket that a minute fills.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NewSeriesRate {
    /// When the bucket will be full again, in monotonic nanoseconds.
    full_at: u64,
}

impl NewSeriesRate {
    /// Series that may come into being at `now`, at most `max` in a minute.
    pub(super) fn room(&self, now: u64, max: u32) -> u64 {
        if max == 0 {
            return u64::MAX;
        }
        let empty = self.full_at.saturating_sub(now).min(MINUTE_NANOS);
        (MINUTE_NANOS - empty) / Self::cost(max)
    }

    /// Takes room for one series; `false` if there is none.
    pub(super) fn take(&mut self, now: u64, max: u32) -> bool {
        if self.room(now, max) == 0 {
            return false;
        }
        if max > 0 {
            self.full_at = self.full_at.max(now).saturating_add(Self::cost(max));
        }
        true
    }

    /// Nanoseconds that fill the room of one series.
    fn cost(max: u32) -> u64 {
        MINUTE_NANOS / u64::from(max.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;
    use crate::shard::{Action, Event, Shard, ShardConfig};
    use crate::shard_api::{AppendBatch, AppendMode, SampleSeries};

    #[test]
    fn a_minute_fills_the_bucket() {
        let mut rate = NewSeriesRate::default();
        let now = 5_000_000_000;
        assert_eq!(rate.room(now, 60), 60);
        for _ in 0..60 {
            assert!(rate.take(now, 60));
        }
        assert!(!rate.take(now, 60));
        assert!(!rate.take(now + 999_999_999, 60));
        assert!(rate.take(now + 1_000_000_000, 60));
        assert!(!rate.take(now + 1_000_000_000, 60));
        assert_eq!(rate.room(now + 31_000_000_000, 60), 30);
        assert_eq!(rate.room(now + 500_000_000_000, 60), 60);
        // Without a limit there is always room, and nothing is counted.
        assert!(rate.take(0, 0));
        assert_eq!(rate.room(0, 0), u64::MAX);
    }

    #[test]
    fn labels_are_counted_and_measured() {
        let limits = SeriesLimits {
            labels_max: 3,
            label_name_bytes_max: 8,
            label_value_bytes_max: 5,
            ..SeriesLimits::default()
        };
        let check = |pairs: &[(&str, &str)], limits: &SeriesLimits| {
            let labels = Labels::from_pairs(pairs.iter().copied()).unwrap();
            limits.check_labels(labels.as_bytes())
        };
        let refused = Err(RejectReason::LabelLimit);
        let good = [("__name__", "m"), ("a", "12345"), ("b", "x")];
        assert_eq!(check(&good, &limits), Ok(()));
        assert_eq!(check(&[("a", "123456")], &limits), refused);
        assert_eq!(check(&[("abcdefghi", "1")], &limits), refused);
        let many = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
        assert_eq!(check(&many, &limits), refused);
        let none = SeriesLimits {
            new_per_minute_max: 0,
            labels_max: 0,
            label_name_bytes_max: 0,
            label_value_bytes_max: 0,
        };
        assert_eq!(check(&many, &none), Ok(()));
        assert_eq!(check(&[("abcdefghi", "123456")], &none), Ok(()));
    }

    /// What a shard says to one sample for each of some new series at `now`.
    fn send(
        shard: &mut Shard,
        now: u64,
        mode: AppendMode,
        series: &[&[(&str, &str)]],
    ) -> Vec<Option<RejectReason>> {
        let mut batch = AppendBatch::default();
        for pairs in series {
            let labels = Labels::from_pairs(pairs.iter().copied()).unwrap();
            let new = batch.new_series.push(labels.as_bytes());
            batch.series.push(SampleSeries::New(new));
            batch.timestamps.push((now / 1_000_000) as i64);
            batch.values.push(1.0);
        }
        let event = Event::Append {
            request: 1,
            batch: Box::new(batch),
            mode,
        };
        let mut actions = Vec::new();
        shard.on(now, event, &mut actions);
        let mut outcome = None;
        while let Some(action) = actions.pop() {
            match action {
                Action::Reply { result, .. } => outcome = Some(result.unwrap()),
                Action::Log { lsn, .. } => {
                    let result = Ok(lsn);
                    shard.on(now, Event::LogDone { lsn, result }, &mut actions);
                }
                _ => {}
            }
        }
        let mut refused = vec![None; series.len()];
        for rejection in outcome.unwrap().rejections {
            refused[rejection.sample as usize] = Some(rejection.reason);
        }
        refused
    }

    #[test]
    fn limits_are_for_new_series_only() {
        let mut shard = Shard::new(ShardConfig {
            series_limits: SeriesLimits {
                new_per_minute_max: 2,
                label_value_bytes_max: 3,
                ..SeriesLimits::default()
            },
            ..ShardConfig::default()
        });
        let (a, b, c) = (&[("m", "a")][..], &[("m", "b")][..], &[("m", "c")][..]);
        let long = &[("m", "long")][..];
        let rate = Some(RejectReason::NewSeriesLimit);
        let labels = Some(RejectReason::LabelLimit);
        // Labels that are refused take no room from the others.
        let expected = [None, labels, None, rate];
        for mode in [AppendMode::Check, AppendMode::Partial] {
            assert_eq!(send(&mut shard, 0, mode, &[a, long, b, c]), expected);
        }
        let second = 1_000_000_000;
        for mode in [AppendMode::Check, AppendMode::Partial] {
            let got = send(&mut shard, second, mode, &[c, a, b]);
            assert_eq!(got, [rate, None, None]);
            let got = send(&mut shard, 30 * second, mode, &[c]);
            assert_eq!(got, [None]);
        }
        let stats = shard.stats();
        assert_eq!(
            (stats.rejected_new_series_limit, stats.rejected_label_limit),
            (2, 1)
        );
        assert_eq!((stats.series, stats.series_created), (3, 3));
    }
}
