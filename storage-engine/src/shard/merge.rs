//! Puts the samples of one series together that come from several sources.
//!
//! Promise: the result ascends, each time once; at equal times the sample that was there first stays. Where the sources
//! do not overlap, which is the rule, nothing is moved.

use crate::head::reset_hint;
use crate::model::{CounterResetHint, FloatHistogram, SampleColumns, TimestampMs};
use std::sync::Arc;

/// Histograms and their times.
pub(super) type Histograms = Vec<(TimestampMs, Arc<FloatHistogram>)>;

/// Merges `columns[start..middle]` and `columns[middle..]`, both ascending.
pub(super) fn merge_tail(columns: &mut SampleColumns, start: usize, middle: usize) {
    let times = &columns.timestamps;
    let (Some(last), Some(&first)) = (
        middle.checked_sub(1).filter(|last| *last >= start),
        times.get(middle),
    ) else {
        return;
    };
    if times[last] < first {
        return;
    }
    let from = start + times[start..middle].partition_point(|t| *t < first);
    let late_times = columns.timestamps.split_off(middle);
    let late_values = columns.values.split_off(middle);
    let early_times = columns.timestamps.split_off(from);
    let early_values = columns.values.split_off(from);
    let mut early = early_times.into_iter().zip(early_values).peekable();
    let mut late = late_times.into_iter().zip(late_values).peekable();
    loop {
        let next = match (early.peek(), late.peek()) {
            (Some((a, _)), Some((b, _))) if a == b => {
                late.next();
                early.next()
            }
            (Some((a, _)), Some((b, _))) if a > b => late.next(),
            (Some(_), _) => early.next(),
            (None, _) => late.next(),
        };
        let Some((t, value)) = next else { return };
        columns.push(t, value);
    }
}

/// As [`merge_tail`], for histograms. What a histogram says of a reset holds for the one before it in its own source:
/// where another source's stands before it, both are compared anew.
pub(super) fn merge_histograms(samples: &mut Histograms, start: usize, middle: usize) {
    let (Some(last), Some(first)) = (
        middle.checked_sub(1).filter(|last| *last >= start),
        samples.get(middle).map(|(t, _)| *t),
    ) else {
        return;
    };
    if samples[last].0 < first {
        let before = Arc::clone(&samples[last].1);
        let behind = &mut samples[middle].1;
        // That there was a reset stays true across the border.
        if behind.counter_reset_hint != CounterResetHint::CounterReset {
            compare_anew(Some(&before), behind);
        }
        return;
    }
    let from = start + samples[start..middle].partition_point(|(t, _)| *t < first);
    let mut late = samples.split_off(middle).into_iter().peekable();
    let mut early = samples.split_off(from).into_iter().peekable();
    let mut before_is_late = false;
    loop {
        let is_late = match (early.peek(), late.peek()) {
            (Some((a, _)), Some((b, _))) if a == b => {
                late.next();
                false
            }
            (Some((a, _)), Some((b, _))) => a > b,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let next = match is_late {
            true => late.next(),
            false => early.next(),
        };
        let Some((t, mut histogram)) = next else {
            return;
        };
        if is_late != before_is_late {
            compare_anew(samples.last().map(|(_, before)| &**before), &mut histogram);
        }
        before_is_late = is_late;
        samples.push((t, histogram));
    }
}

/// Takes out histograms, from position `start` on, at whose time there is a float. Both ascend.
pub(super) fn remove_at_floats(samples: &mut Histograms, start: usize, floats: &[TimestampMs]) {
    let mut floats = floats.iter().peekable();
    let mut at = 0;
    samples.retain(|(t, _)| {
        at += 1;
        if at <= start {
            return true;
        }
        while floats.next_if(|f| **f < *t).is_some() {}
        floats.peek().is_none_or(|f| **f != *t)
    });
}

/// Another histogram stands before this one now, or none that is known; a gauge stays one.
pub(super) fn compare_anew(before: Option<&FloatHistogram>, histogram: &mut Arc<FloatHistogram>) {
    use CounterResetHint::{Gauge, Unknown};
    if histogram.counter_reset_hint == Gauge {
        return;
    }
    if histogram.counter_reset_hint != Unknown {
        Arc::make_mut(histogram).counter_reset_hint = Unknown;
    }
    let hint = reset_hint(before, histogram);
    if hint != Unknown {
        Arc::make_mut(histogram).counter_reset_hint = hint;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn merging_equals_a_map_that_keeps_the_first() {
        let lists: [&[i64]; 7] = [
            &[],
            &[5],
            &[1, 2, 3],
            &[4, 6, 8],
            &[2, 4, 9],
            &[0, 10],
            &[8, 9],
        ];
        for a in lists {
            for b in lists {
                let mut columns = SampleColumns::default();
                // What is there before the start is another's.
                columns.push(7, 0.0);
                let mut expected = BTreeMap::new();
                for (value, list) in [(1.0, a), (2.0, b)] {
                    for t in list {
                        columns.push(*t, value);
                        expected.entry(*t).or_insert(value);
                    }
                }
                merge_tail(&mut columns, 1, 1 + a.len());
                let times: Vec<i64> = expected.keys().copied().collect();
                let values: Vec<f64> = expected.values().copied().collect();
                assert_eq!(columns.timestamps[1..], times, "{a:?} {b:?}");
                assert_eq!(columns.values[1..], values, "{a:?} {b:?}");
            }
        }
    }

    fn histograms(times: &[i64], count: f64) -> Histograms {
        let histogram = FloatHistogram {
            count,
            counter_reset_hint: CounterResetHint::NotCounterReset,
            ..FloatHistogram::default()
        };
        let of = |t: &i64| (*t, Arc::new(histogram.clone()));
        times.iter().map(of).collect()
    }

    #[test]
    fn a_histogram_is_compared_with_the_one_that_stands_before_it_now() {
        use CounterResetHint::{CounterReset, NotCounterReset};
        let mut all = histograms(&[1, 3, 5, 6], 2.0);
        all.extend(histograms(&[3, 4, 7, 8], 1.0));
        merge_histograms(&mut all, 0, 4);
        let found: Vec<_> = all
            .iter()
            .map(|(t, h)| (*t, h.count, h.counter_reset_hint))
            .collect();
        assert_eq!(
            found,
            [
                (1, 2.0, NotCounterReset),
                (3, 2.0, NotCounterReset),
                (4, 1.0, CounterReset),
                (5, 2.0, NotCounterReset),
                (6, 2.0, NotCounterReset),
                (7, 1.0, CounterReset),
                (8, 1.0, NotCounterReset)
            ]
        );
        all.extend(histograms(&[9, 10], 0.5));
        merge_histograms(&mut all, 0, 7);
        assert_eq!(all[7].1.counter_reset_hint, CounterReset);
        assert_eq!(all[8].1.counter_reset_hint, NotCounterReset);
        remove_at_floats(&mut all, 1, &[1, 4, 5, 9]);
        let times: Vec<i64> = all.iter().map(|(t, _)| *t).collect();
        assert_eq!(times, [1, 3, 6, 7, 8, 10]);
    }
}
