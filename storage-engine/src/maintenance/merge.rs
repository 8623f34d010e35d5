//! Several sources of one series become one: by time, at equal times the first source's sample.
//!
//! Promise: no sample is lost but those at a time that an earlier source has, none is invented, values stay bit for bit; each sample keeps
//! the start timestamp that it had in its source. What a histogram says of a counter reset holds for the one before it in its own source;
//! where another one stands there now, it is forgotten.
//! Not here: which sources there are and in what order (`compact`); a query's merge (`shard::selection`).

use crate::model::{CounterResetHint, FloatHistogram, SeriesSamples, TimestampMs};
use crate::shard_api::TimeRange;
use std::sync::Arc;

/// A walk over the samples of one source in order of time.
struct Walk<'a> {
    source: &'a SeriesSamples,
    float: usize,
    histogram: usize,
    /// Runs of start timestamps that have begun.
    runs: usize,
}

/// One sample.
enum Value<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

impl<'a> Walk<'a> {
    fn new(source: &'a SeriesSamples) -> Walk<'a> {
        Walk {
            source,
            float: 0,
            histogram: 0,
            runs: 0,
        }
    }

    fn float_time(&self) -> Option<TimestampMs> {
        self.source.floats.timestamps.get(self.float).copied()
    }

    fn histogram_time(&self) -> Option<TimestampMs> {
        self.source.histograms.get(self.histogram).map(|(t, _)| *t)
    }

    /// Time of the next sample.
    fn time(&self) -> Option<TimestampMs> {
        match (self.float_time(), self.histogram_time()) {
            (Some(float), Some(histogram)) => Some(float.min(histogram)),
            (float, histogram) => float.or(histogram),
        }
    }

    /// Takes the sample at `t`, if the next one is there; a float before a histogram.
    fn take(&mut self, t: TimestampMs) -> Option<Value<'a>> {
        if self.float_time() == Some(t) {
            let value = self.source.floats.values[self.float];
            self.float += 1;
            // No source has a histogram at the time of a float; one that has loses it here.
            self.histogram += usize::from(self.histogram_time() == Some(t));
            return Some(Value::Float(value));
        }
        if self.histogram_time() == Some(t) {
            let (_, histogram) = &self.source.histograms[self.histogram];
            self.histogram += 1;
            return Some(Value::Histogram(histogram));
        }
        None
    }

    /// The start timestamp of a sample at `t`; times are asked for in ascending order.
    fn start(&mut self, t: TimestampMs) -> TimestampMs {
        let starts = &self.source.starts;
        while starts.get(self.runs).is_some_and(|(from, _)| *from <= t) {
            self.runs += 1;
        }
        match self.runs {
            0 => 0,
            begun => starts[begun - 1].1,
        }
    }
}

/// The first and the last sample time.
fn extent(samples: &SeriesSamples) -> Option<(TimestampMs, TimestampMs)> {
    let first = [
        samples.floats.timestamps.first().copied(),
        samples.histograms.first().map(|(t, _)| *t),
    ];
    let last = [
        samples.floats.timestamps.last().copied(),
        samples.histograms.last().map(|(t, _)| *t),
    ];
    let first = first.into_iter().flatten().min()?;
    let last = last.into_iter().flatten().max()?;
    Some((first, last))
}

/// Appends a run of start timestamps, unless the last run says the same. Before the first run samples have none.
fn push_start(out: &mut SeriesSamples, t: TimestampMs, start: TimestampMs) {
    if out.starts.last().map_or(0, |(_, last)| *last) != start {
        out.starts.push((t, start));
    }
}

/// Puts the samples of all `sources` into `out`, which is emptied first.
pub(crate) fn merge_series(sources: &[SeriesSamples], out: &mut SeriesSamples) {
    out.clear();
    let mut ordered: Vec<(TimestampMs, TimestampMs, usize)> = Vec::with_capacity(sources.len());
    for (index, source) in sources.iter().enumerate() {
        if let Some((first, last)) = extent(source) {
            ordered.push((first, last, index));
        }
    }
    ordered.sort_unstable();
    if ordered.windows(2).all(|pair| pair[0].1 < pair[1].0) {
        for (first, last, index) in ordered {
            append(&sources[index], first, last, out);
        }
        return;
    }
    // In the order of the sources, which decides at equal times.
    ordered.sort_unstable_by_key(|(_, _, index)| *index);
    let mut walks: Vec<Walk<'_>> = ordered.iter().map(|o| Walk::new(&sources[o.2])).collect();
    // The source of the last histogram; none where what it stands before has been left out.
    let mut source_before = None;
    while let Some(t) = walks.iter().filter_map(Walk::time).min() {
        let mut taken = false;
        for (source, walk) in walks.iter_mut().enumerate() {
            let Some(value) = walk.take(t) else { continue };
            if taken {
                // What comes next in this source has lost what it speaks of.
                if source_before == Some(source) {
                    source_before = None;
                }
                continue;
            }
            taken = true;
            push_start(out, t, walk.start(t));
            match value {
                Value::Float(value) => out.floats.push(t, value),
                Value::Histogram(histogram) => {
                    let mut histogram = Arc::clone(histogram);
                    if !out.histograms.is_empty() && source_before != Some(source) {
                        forget_reset(&mut histogram);
                    }
                    source_before = Some(source);
                    out.histograms.push((t, histogram));
                }
            }
        }
    }
}

/// Makes a histogram say nothing of a counter reset, unless it is a gauge.
fn forget_reset(histogram: &mut Arc<FloatHistogram>) {
    let said = histogram.counter_reset_hint;
    if matches!(
        said,
        CounterResetHint::CounterReset | CounterResetHint::NotCounterReset
    ) {
        Arc::make_mut(histogram).counter_reset_hint = CounterResetHint::Unknown;
    }
}

/// As [`forget_reset`], for the first histogram behind each of the deleted ranges.
pub(super) fn forget_resets_behind(
    deleted: &[TimeRange],
    histograms: &mut [(TimestampMs, Arc<FloatHistogram>)],
) {
    for range in deleted {
        let behind = histograms.partition_point(|(t, _)| *t <= range.max);
        if let Some((_, histogram)) = histograms.get_mut(behind) {
            forget_reset(histogram);
        }
    }
}

/// Appends a source that lies wholly behind what is there.
fn append(source: &SeriesSamples, first: TimestampMs, last: TimestampMs, out: &mut SeriesSamples) {
    out.floats
        .timestamps
        .extend_from_slice(&source.floats.timestamps);
    out.floats.values.extend_from_slice(&source.floats.values);
    let behind = out.histograms.len();
    out.histograms
        .extend(source.histograms.iter().map(|(t, h)| (*t, Arc::clone(h))));
    if behind > 0
        && let Some((_, first)) = out.histograms.get_mut(behind)
    {
        forget_reset(first);
    }
    let before = source.starts.partition_point(|(from, _)| *from <= first);
    push_start(
        out,
        first,
        before.checked_sub(1).map_or(0, |i| source.starts[i].1),
    );
    for (from, start) in &source.starts[before..] {
        if *from <= last {
            push_start(out, *from, *start);
        }
    }
}

/// Cuts `samples` down to those before `end`, which are returned; the rest stays.
pub(crate) fn split_off_before(samples: &mut SeriesSamples, end: TimestampMs) -> SeriesSamples {
    let floats = samples.floats.timestamps.partition_point(|t| *t < end);
    let histograms = samples.histograms.partition_point(|(t, _)| *t < end);
    let mut before = SeriesSamples::default();
    before.floats.timestamps = samples.floats.timestamps.drain(..floats).collect();
    before.floats.values = samples.floats.values.drain(..floats).collect();
    before.histograms = samples.histograms.drain(..histograms).collect();
    let runs = samples.starts.partition_point(|(from, _)| *from < end);
    before.starts = samples.starts[..runs].to_vec();
    // The run that reaches over the cut goes on behind it.
    samples.starts.drain(..runs.saturating_sub(1));
    before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SampleColumns;

    fn floats(samples: &[(i64, f64)]) -> SeriesSamples {
        let mut columns = SampleColumns::default();
        for (t, value) in samples {
            columns.push(*t, *value);
        }
        SeriesSamples {
            floats: columns,
            ..SeriesSamples::default()
        }
    }

    fn histograms(times: &[i64]) -> SeriesSamples {
        let one = Arc::new(FloatHistogram::default());
        SeriesSamples {
            histograms: times.iter().map(|t| (*t, Arc::clone(&one))).collect(),
            ..SeriesSamples::default()
        }
    }

    fn merged(sources: &[SeriesSamples]) -> SeriesSamples {
        let mut out = floats(&[(-1, -1.0)]);
        merge_series(sources, &mut out);
        out
    }

    #[test]
    fn sources_behind_each_other_are_joined_in_any_order() {
        let (early, late) = (floats(&[(1, 1.0), (2, 2.0)]), floats(&[(3, 3.0)]));
        let wanted = floats(&[(1, 1.0), (2, 2.0), (3, 3.0)]);
        assert_eq!(merged(&[early.clone(), late.clone()]), wanted);
        assert_eq!(merged(&[late, early]), wanted);
        assert!(merged(&[SeriesSamples::default()]).is_empty());
    }

    #[test]
    fn overlapping_sources_are_merged_and_the_first_wins() {
        let first = floats(&[
            (1, 1.0),
            (3, 3.0),
            (5, f64::from_bits(0x7ff0_0000_0000_0002)),
        ]);
        let second = floats(&[(2, 20.0), (3, 30.0), (5, 50.0), (6, 60.0)]);
        let out = merged(&[first, second]);
        assert_eq!(out.floats.timestamps, [1, 2, 3, 5, 6]);
        let bits: Vec<u64> = out.floats.values.iter().map(|v| v.to_bits()).collect();
        let wanted = [
            1.0_f64,
            20.0,
            3.0,
            f64::from_bits(0x7ff0_0000_0000_0002),
            60.0,
        ];
        assert_eq!(bits, wanted.map(f64::to_bits));
    }

    #[test]
    fn a_float_and_a_histogram_at_one_time_leave_the_first() {
        let out = merged(&[histograms(&[1, 4]), floats(&[(1, 1.0), (2, 2.0), (4, 4.0)])]);
        assert_eq!(out.floats, floats(&[(2, 2.0)]).floats);
        assert_eq!(
            out.histograms.iter().map(|(t, _)| *t).collect::<Vec<_>>(),
            [1, 4]
        );
    }

    #[test]
    fn a_histogram_behind_another_source_s_says_nothing_of_resets() {
        use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
        let of = |samples: &[(i64, CounterResetHint)]| SeriesSamples {
            histograms: samples
                .iter()
                .map(|(t, hint)| {
                    let histogram = FloatHistogram {
                        counter_reset_hint: *hint,
                        ..FloatHistogram::default()
                    };
                    (*t, Arc::new(histogram))
                })
                .collect(),
            ..SeriesSamples::default()
        };
        let hints = |samples: &SeriesSamples| -> Vec<CounterResetHint> {
            let all = samples.histograms.iter();
            all.map(|(_, h)| h.counter_reset_hint).collect()
        };
        let first = of(&[
            (1, CounterReset),
            (3, NotCounterReset),
            (4, NotCounterReset),
        ]);
        let late = of(&[(2, NotCounterReset), (9, Gauge)]);
        let wanted = [CounterReset, Unknown, Unknown, NotCounterReset, Gauge];
        assert_eq!(hints(&merged(&[first.clone(), late])), wanted);
        let behind = of(&[(5, CounterReset), (6, NotCounterReset)]);
        let wanted = [
            CounterReset,
            NotCounterReset,
            NotCounterReset,
            Unknown,
            NotCounterReset,
        ];
        assert_eq!(hints(&merged(&[behind, first.clone()])), wanted);
        let mut rest = first;
        rest.histograms.remove(1);
        forget_resets_behind(&[TimeRange { min: 3, max: 3 }], &mut rest.histograms);
        assert_eq!(hints(&rest), [CounterReset, Unknown]);
    }

    #[test]
    fn every_sample_keeps_its_start() {
        let mut first = floats(&[(10, 0.0), (20, 0.0), (40, 0.0)]);
        first.starts = vec![(10, 5), (40, 35)];
        let mut second = floats(&[(15, 0.0), (30, 0.0), (50, 0.0)]);
        second.starts = vec![(30, 25)];
        let out = merged(&[first.clone(), second.clone()]);
        assert_eq!(out.floats.timestamps, [10, 15, 20, 30, 40, 50]);
        assert_eq!(
            out.starts,
            [(10, 5), (15, 0), (20, 5), (30, 25), (40, 35), (50, 25)]
        );
        // Behind each other: the second begins without a start, which must be said.
        let mut late = floats(&[(60, 0.0), (70, 0.0)]);
        late.starts = vec![(70, 65), (90, 85)];
        assert_eq!(
            merged(&[first, late]).starts,
            [(10, 5), (40, 35), (60, 0), (70, 65)]
        );
    }

    #[test]
    fn splitting_keeps_both_sides_whole() {
        let mut rest = floats(&[(10, 1.0), (20, 2.0), (30, 3.0)]);
        rest.histograms = histograms(&[15, 25]).histograms;
        rest.starts = vec![(10, 5), (25, 24)];
        let before = split_off_before(&mut rest, 20);
        assert_eq!(before.floats.timestamps, [10]);
        assert_eq!(before.histograms.len(), 1);
        assert_eq!(before.starts, [(10, 5)]);
        assert_eq!(rest.floats.timestamps, [20, 30]);
        assert_eq!(rest.starts, [(10, 5), (25, 24)], "20 still has its start");
        let mut back = SeriesSamples::default();
        merge_series(&[before, rest], &mut back);
        assert_eq!(back.starts, [(10, 5), (25, 24)]);
        assert_eq!(back.len(), 5);
    }
}
