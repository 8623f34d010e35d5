//! Ranges that reach beyond their edges: `anchored` takes the last sample at or before the left edge in, `smoothed` draws a line between the
//! samples on both sides of each edge.
//!
//! Promise: nothing is extrapolated; where the line crosses a counter reset, the counter begins at zero behind it. As Prometheus does it, so
//! the order of additions is Prometheus's too. Not here: how far samples are read beyond the edges (the fragment).

use super::mixed::MixedWindow;
use super::{KernelNotes, RangeKernel, WindowArgs, change};
use crate::eval::annotations::Severity;
use crate::eval::value::Sample;
use crate::functions::texts;
use crate::histogram::{
    CounterResetHint, FloatHistogram, HistogramSum, IncompatibleBuckets, compact, detect_reset,
    divide, is_custom, scale,
};
use storage_engine::model::{SampleColumns, TimestampMs};

/// What stands at the edges of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edges {
    /// The last sample at or before the left edge counts as if it stood there.
    Anchored,
    /// Values are interpolated at both edges.
    Smoothed,
}

impl Edges {
    /// The modifier's word.
    pub fn word(self) -> &'static str {
        match self {
            Edges::Anchored => "anchored",
            Edges::Smoothed => "smoothed",
        }
    }

    /// The functions that may be used with it, as an error lists them.
    pub fn functions(self) -> &'static str {
        match self {
            Edges::Anchored => "changes, delta, increase, rate, resets",
            Edges::Smoothed => "delta, increase, rate",
        }
    }

    /// The kernel of a function over such a range; it gets samples beyond the edges too.
    pub fn kernel(self, function: &str) -> Option<RangeKernel> {
        Some(match (self, function) {
            (Edges::Anchored, "rate") => |w, _| moved::<false>(w, true, true),
            (Edges::Anchored, "increase") => |w, _| moved::<false>(w, true, false),
            (Edges::Anchored, "delta") => |w, _| moved::<false>(w, false, false),
            (Edges::Anchored, "changes") => |w, notes| change::changes(&inside(w)?, notes),
            (Edges::Anchored, "resets") => |w, notes| change::resets(&inside(w)?, notes),
            (Edges::Smoothed, "rate") => |w, _| moved::<true>(w, true, true),
            (Edges::Smoothed, "increase") => |w, _| moved::<true>(w, true, false),
            (Edges::Smoothed, "delta") => |w, _| moved::<true>(w, false, false),
            _ => return None,
        })
    }
}

/// The first and the last sample that matter: the one at or before the left edge where there is one, and the one at the right edge, for
/// `smoothed` the first at or behind it. `None` when the range holds nothing.
fn bounds(
    times: &[TimestampMs],
    window: &WindowArgs<'_>,
    smoothed: bool,
) -> Option<(usize, usize)> {
    let end = times.len().checked_sub(1)?;
    let before = times[..end].partition_point(|t| *t <= window.range_start);
    let first = before.saturating_sub(1);
    let last = match smoothed {
        true => times[..end].partition_point(|t| *t < window.range_end),
        false => end,
    };
    let empty = times[last] <= window.range_start || (smoothed && times[first] > window.range_end);
    (!empty).then_some((first, last))
}

/// The samples of an anchored range.
fn inside<'a>(window: &WindowArgs<'a>) -> Option<WindowArgs<'a>> {
    let (first, last) = bounds(window.timestamps, window, false)?;
    Some(WindowArgs {
        timestamps: &window.timestamps[first..=last],
        values: &window.values[first..=last],
        ..*window
    })
}

/// `rate`, `increase` and `delta`.
fn moved<const SMOOTHED: bool>(
    window: &WindowArgs<'_>,
    counter: bool,
    per_second: bool,
) -> Option<f64> {
    let (times, values) = (window.timestamps, window.values);
    let (mut first, last) = bounds(times, window, SMOOTHED)?;
    let (left, right) = edge_values(times, values, (first, last), window, SMOOTHED, counter);
    let mut result = right - left;
    if counter {
        // The values at the edges stand for the samples beyond them.
        if times[first] <= window.range_start {
            first += 1;
        }
        let end = last + usize::from(times[last] < window.range_end);
        let mut before = left;
        for &value in values.get(first..end).unwrap_or_default() {
            if value < before {
                result += before;
            }
            before = value;
        }
        if right < before {
            result += before;
        }
    }
    Some(if per_second {
        result / window.range_seconds()
    } else {
        result
    })
}

/// The values at both edges.
fn edge_values(
    times: &[TimestampMs],
    values: &[f64],
    (first, last): (usize, usize),
    window: &WindowArgs<'_>,
    smoothed: bool,
    counter: bool,
) -> (f64, f64) {
    let line = |from: usize, t: TimestampMs| {
        let (y1, y2) = (values[from], values[from + 1]);
        // Behind a reset the counter grows from zero.
        let y1 = if counter && y2 < y1 { 0.0 } else { y1 };
        interpolate((times[from], y1), (times[from + 1], y2), t)
    };
    let left = if smoothed && times[first] < window.range_start {
        line(first, window.range_start)
    } else {
        values[first]
    };
    let right = if smoothed && last > 0 && times[last] > window.range_end {
        line(last - 1, window.range_end)
    } else {
        values[last]
    };
    (left, right)
}

/// The value at `t` on the line through two points.
pub(crate) fn interpolate(a: (TimestampMs, f64), b: (TimestampMs, f64), t: TimestampMs) -> f64 {
    a.1 + (b.1 - a.1) * (t - a.0) as f64 / (b.0 - a.0) as f64
}

/// The floats of a range vector of its own: the samples between the edges, and a sample at each edge.
pub(crate) fn with_edges(
    edges: Edges,
    (start, end): (TimestampMs, TimestampMs),
    samples: &SampleColumns,
) -> SampleColumns {
    let window = WindowArgs {
        timestamps: &samples.timestamps,
        values: &samples.values,
        starts: &[],
        eval_time: end,
        metric: "",
        range_start: start,
        range_end: end,
        scalars: &[],
    };
    let mut out = SampleColumns::default();
    let smoothed = edges == Edges::Smoothed;
    let (times, values) = (window.timestamps, window.values);
    let Some((first, last)) = bounds(times, &window, smoothed) else {
        return out;
    };
    let (left, right) = edge_values(times, values, (first, last), &window, smoothed, false);
    out.push(start, left);
    for (&t, &value) in times.iter().zip(values) {
        if start < t && t < end {
            out.push(t, value);
        }
    }
    out.push(end, right);
    out
}

/// The histogram at `t` between two; behind a reset of a counter it grows from nothing.
pub(crate) fn interpolate_histograms(
    a: (TimestampMs, &FloatHistogram),
    b: (TimestampMs, &FloatHistogram),
    t: TimestampMs,
    counter: bool,
    notes: &mut KernelNotes,
) -> Result<FloatHistogram, IncompatibleBuckets> {
    if t == a.0 {
        return Ok(a.1.clone());
    }
    if t == b.0 {
        return Ok(b.1.clone());
    }
    if is_custom(a.1) != is_custom(b.1) {
        return Err(IncompatibleBuckets);
    }
    let fraction = (t - a.0) as f64 / (b.0 - a.0) as f64;
    if counter && detect_reset(b.1, a.1) {
        let mut grown = b.1.clone();
        scale(&mut grown, fraction);
        return Ok(grown);
    }
    let mut difference = HistogramSum::new(b.1);
    let merged = difference.subtract(a.1)?;
    reconciled(merged.bounds_reconciled, "subtraction", notes);
    let mut difference = difference.finish_plain();
    scale(&mut difference, fraction);
    let mut sum = HistogramSum::new(&difference);
    let merged = sum.add(a.1)?;
    reconciled(merged.bounds_reconciled, "addition", notes);
    let mut result = sum.finish_plain();
    let gauges = is_gauge(a.1) && is_gauge(b.1);
    result.counter_reset_hint = match gauges {
        true => CounterResetHint::Gauge,
        false => CounterResetHint::Unknown,
    };
    Ok(result)
}

fn is_gauge(histogram: &FloatHistogram) -> bool {
    histogram.counter_reset_hint == CounterResetHint::Gauge
}

fn reconciled(were: bool, operation: &str, notes: &mut KernelNotes) {
    if were {
        notes.remark(Severity::Info, texts::bounds_reconciled(operation));
    }
}

impl MixedWindow<'_> {
    /// The pairs of an anchored range, histograms among them.
    pub(super) fn anchored_pairs(&self, f: fn(&Sample, &Sample) -> bool) -> Option<f64> {
        let (first, last) = bounds(self.timestamps, &self.args, false)?;
        let window = MixedWindow {
            timestamps: &self.timestamps[first..=last],
            samples: &self.samples[first..=last],
            ..*self
        };
        Some(window.count_pairs(f))
    }

    /// `rate`, `increase` and `delta` of histograms.
    pub(super) fn extended(
        &self,
        all: &[&FloatHistogram],
        edges: Edges,
        (counter, per_second): (bool, bool),
        notes: &mut KernelNotes,
    ) -> Option<FloatHistogram> {
        let (first, last) = bounds(self.timestamps, &self.args, edges == Edges::Smoothed)?;
        let custom = is_custom(all.get(first)?);
        for h in all.get(first..=last)? {
            if is_custom(h) != custom {
                let text = texts::mixed_exponential_custom(self.args.metric);
                notes.remark(Severity::Warning, text);
                return None;
            }
            if counter && is_gauge(h) {
                notes.remark(Severity::Warning, texts::not_a_counter(self.args.metric));
            }
        }
        match self.extended_sum(all, edges, (first, last), counter, notes) {
            Ok(mut moved) => {
                moved.counter_reset_hint = CounterResetHint::Gauge;
                compact(&mut moved);
                if per_second {
                    divide(&mut moved, self.args.range_seconds());
                }
                Some(moved)
            }
            Err(IncompatibleBuckets) => {
                let text = texts::mixed_exponential_custom(self.args.metric);
                notes.remark(Severity::Warning, text);
                None
            }
        }
    }

    fn extended_sum(
        &self,
        all: &[&FloatHistogram],
        edges: Edges,
        (first, last): (usize, usize),
        counter: bool,
        notes: &mut KernelNotes,
    ) -> Result<FloatHistogram, IncompatibleBuckets> {
        let times = self.timestamps;
        let smoothed = edges == Edges::Smoothed;
        let (start, end) = (self.args.range_start, self.args.range_end);
        let at = |i: usize| (times[i], all[i]);
        let left_is_drawn = smoothed && times[first] < start;
        let left = match left_is_drawn {
            true => interpolate_histograms(at(first), at(first + 1), start, counter, notes)?,
            false => all[first].clone(),
        };
        let right = match smoothed && last > 0 && times[last] > end {
            true => interpolate_histograms(at(last - 1), at(last), end, counter, notes)?,
            false => all[last].clone(),
        };
        let gauges = is_gauge(&left) && is_gauge(&right);
        if !counter && !gauges {
            notes.remark(Severity::Warning, texts::not_a_gauge(self.args.metric));
        }
        let mut moved = HistogramSum::new(&right);
        let merged = moved.subtract(&left)?;
        reconciled(merged.bounds_reconciled, "subtraction", notes);
        if counter {
            let mut next = first + 1;
            let mut before = &left;
            // The left value has grown from nothing already.
            if left_is_drawn && detect_reset(all[next], all[first]) {
                before = all[next];
                next += 1;
            }
            let mut add = |lost: &FloatHistogram| -> Result<(), IncompatibleBuckets> {
                let merged = moved.add(lost)?;
                reconciled(merged.bounds_reconciled, "addition", notes);
                Ok(())
            };
            for &h in all.get(next..last).unwrap_or_default() {
                if detect_reset(h, before) {
                    add(before)?;
                }
                before = h;
            }
            if next <= last && detect_reset(&right, before) {
                add(before)?;
            }
        }
        Ok(moved.finish_plain())
    }
}
