//! One series of a fragment: samples in, one row out, resumable between any two steps.
//!
//! Also used by the coordinator for subqueries, whose inner rows are series like any other.

use super::{FragmentKind, Pick, Reach};
use crate::eval::budget::{Budget, Handed};
use crate::eval::error::EvalError;
use crate::eval::memory::{Held, row_cost};
use crate::eval::value::{Bits, Grid, Row};
use crate::kernels::{
    Bounds, Filled, KernelNotes, MixedFunction, RangeKernel, WindowArgs, Windows, interpolate,
};
use crate::plan::Reference;
use storage_engine::model::{Labels, SampleColumns, TimestampMs, is_stale_nan};

/// Windows that are computed at once, at least and at most: a slice ends only between two such runs.
const WINDOWS_AT_ONCE: (usize, usize) = (8, 256);
/// Samples that are added up in the time of one.
const SAMPLES_SIDE_BY_SIDE: usize = 4;

/// Functions that look at many windows at once.
fn many_at_once(function: MixedFunction) -> bool {
    use MixedFunction::{Extrapolated, Mean, Sum};
    matches!(function, Extrapolated { .. } | Sum | Mean)
}

/// How many windows may be looked at for the work that is left: it matters for those functions that look at every sample of every window.
fn at_once(function: MixedFunction, progress: &SeriesProgress, work: usize) -> usize {
    let (least, most) = WINDOWS_AT_ONCE;
    match (function, progress.high - progress.low) {
        (MixedFunction::Extrapolated { .. }, _) => most,
        // Nothing is known of them yet.
        (_, 0) => least,
        (_, length) => (work.saturating_mul(SAMPLES_SIDE_BY_SIDE) / length).clamp(least, most),
    }
}

/// How the rows of a fragment come out of samples.
pub(crate) struct SeriesEvaluation<'a> {
    pub(crate) kind: FragmentKind,
    pub(crate) reference: Reference,
    pub(crate) grid: Grid,
    /// Scalar arguments of the range function, each a number per step.
    pub(crate) scalars: &'a [Vec<f64>],
    pub(crate) budget: &'a Budget,
    /// Are the samples those of a store, and not what a subquery made?
    pub(crate) stored: bool,
}

/// A series on its way.
#[derive(Debug)]
pub(crate) struct SeriesProgress {
    pub(super) row: Row,
    pub(super) next_step: usize,
    /// First sample inside the window.
    pub(super) low: usize,
    /// One past the last sample at or before the reference time.
    pub(super) high: usize,
    pub(super) points: usize,
    /// The memory of the row.
    pub(super) held: Held,
}

impl SeriesProgress {
    /// Starts a series; `held` has paid for a row of floats.
    pub(crate) fn new(labels: Labels, steps: usize, held: Held) -> Self {
        SeriesProgress {
            row: Row::absent(labels, steps),
            next_step: 0,
            low: 0,
            high: 0,
            points: 0,
            held,
        }
    }

    /// The row as it is, for folding.
    pub(crate) fn row(&self) -> &Row {
        &self.row
    }

    /// Number of points so far.
    pub(crate) fn points(&self) -> usize {
        self.points
    }

    /// Starts over with another series, keeping the memory.
    pub(crate) fn restart(&mut self, labels: Labels) {
        let histograms = self.row.histograms.take().is_some();
        self.row.labels = labels;
        self.row.present = Bits::zeros(self.row.values.len());
        if histograms {
            let floats = row_cost(&self.row.labels, self.row.values.len());
            self.held
                .give_back(self.held.bytes().saturating_sub(floats));
        }
        self.next_step = 0;
        self.low = 0;
        self.high = 0;
        self.points = 0;
    }

    /// The finished row, its number of points and its memory.
    pub(crate) fn finish(self) -> (Row, usize, Held) {
        (self.row, self.points, self.held)
    }
}

/// What was handed to the steps of one slice.
pub(super) struct Tally<'a> {
    evaluation: &'a SeriesEvaluation<'a>,
    all: Handed,
    by_step: bool,
}

impl<'a> Tally<'a> {
    pub(super) fn new(evaluation: &'a SeriesEvaluation<'a>) -> Self {
        Tally {
            evaluation,
            all: Handed::default(),
            by_step: evaluation.budget.counts_steps(),
        }
    }

    /// Step `k` was handed `visited` samples, `new` of which no step before had.
    #[inline]
    pub(super) fn step(&mut self, k: usize, visited: usize, new: usize) {
        let read = if self.evaluation.stored { new } else { 0 };
        self.all.visited += visited;
        self.all.read += read;
        if self.by_step {
            let grid = self.evaluation.grid;
            let budget = self.evaluation.budget;
            budget.visit_step(grid, k, Handed { visited, read });
        }
    }

    pub(super) fn finish(self) {
        self.evaluation.budget.visit(self.all);
    }
}

impl SeriesEvaluation<'_> {
    /// Goes on for about `work` samples; true when the last step is done.
    ///
    /// The samples must be in time order; for windows without stale markers.
    pub(crate) fn advance(
        &self,
        progress: &mut SeriesProgress,
        (samples, starts): (&SampleColumns, &[TimestampMs]),
        notes: &mut KernelNotes,
        work: &mut usize,
    ) -> Result<bool, EvalError> {
        match self.kind {
            FragmentKind::Instant { lookback, pick } => {
                self.instant(progress, (samples, starts), lookback, pick, work)
            }
            FragmentKind::Smoothed { lookback } => self.smoothed(progress, samples, lookback, work),
            FragmentKind::Window {
                range,
                reach,
                mixed,
                ..
            } if many_at_once(mixed)
                && starts.is_empty()
                && reach == Reach::default()
                && !self.budget.counts_steps() =>
            {
                self.many_windows(progress, samples, range, mixed, work)
            }
            FragmentKind::Window {
                range,
                reach,
                kernel,
                ..
            } => self.windows(
                progress,
                (samples, starts),
                (range, reach),
                kernel,
                notes,
                work,
            ),
            FragmentKind::Raw { .. } => Ok(true),
        }
    }

    fn instant(
        &self,
        progress: &mut SeriesProgress,
        (samples, starts): (&SampleColumns, &[TimestampMs]),
        lookback: i64,
        pick: Pick,
        work: &mut usize,
    ) -> Result<bool, EvalError> {
        if pick == Pick::Sample && !self.budget.counts_steps() {
            return self.newest(progress, samples, lookback, work);
        }
        let before = progress.points;
        let mut tally = Tally::new(self);
        while progress.next_step < self.grid.count {
            if *work == 0 {
                break;
            }
            let k = progress.next_step;
            let at = self.reference.time(self.grid.at(k));
            let advanced = advance_past(&samples.timestamps, progress.high, at);
            *work = work.saturating_sub(1 + advanced - progress.high);
            progress.high = advanced;
            if let Some(i) = progress.high.checked_sub(1) {
                let (t, v) = (samples.timestamps[i], samples.values[i]);
                if t > at.saturating_sub(lookback) && !is_stale_nan(v) {
                    let v = match pick {
                        Pick::Sample => v,
                        Pick::Time | Pick::FloatTime => t as f64 / 1000.0,
                        Pick::Start => starts.get(i).map_or(0.0, |s| *s as f64 / 1000.0),
                    };
                    progress.row.put(k, v);
                    progress.points += 1;
                    tally.step(k, 1, 1);
                }
            }
            progress.next_step += 1;
        }
        self.budget.take(progress.points - before)?;
        tally.finish();
        Ok(progress.next_step == self.grid.count)
    }

    /// The newest sample at each step: what [`Self::instant`] does, without what only few queries ask for.
    fn newest(
        &self,
        progress: &mut SeriesProgress,
        samples: &SampleColumns,
        lookback: i64,
        work: &mut usize,
    ) -> Result<bool, EvalError> {
        let first = progress.next_step;
        let end_of = |k: usize| self.reference.time(self.grid.at(k));
        let windows = Windows {
            timestamps: &samples.timestamps,
            values: &samples.values,
            end: end_of(first),
            step: end_of(1).saturating_sub(end_of(0)),
            range: lookback,
            count: (self.grid.count - first).min(*work),
        };
        let mut bounds = Bounds {
            low: progress.low,
            high: progress.high,
        };
        let points = windows.newest(&mut progress.row, first, &mut bounds);
        *work = work.saturating_sub(windows.count + bounds.high - progress.high);
        progress.low = bounds.low;
        progress.high = bounds.high;
        progress.next_step += windows.count;
        progress.points += points;
        self.budget.take(points)?;
        self.budget.visit(Handed {
            visited: points,
            read: if self.stored { points } else { 0 },
        });
        Ok(progress.next_step == self.grid.count)
    }

    fn smoothed(
        &self,
        progress: &mut SeriesProgress,
        samples: &SampleColumns,
        lookback: i64,
        work: &mut usize,
    ) -> Result<bool, EvalError> {
        let before = progress.points;
        let mut tally = Tally::new(self);
        while progress.next_step < self.grid.count && *work > 0 {
            let k = progress.next_step;
            let at = self.reference.time(self.grid.at(k));
            let advanced = advance_past(&samples.timestamps, progress.high, at);
            *work = work.saturating_sub(1 + advanced - progress.high);
            progress.high = advanced;
            progress.next_step += 1;
            let point = |i: usize| Some((*samples.timestamps.get(i)?, *samples.values.get(i)?));
            let older = advanced.checked_sub(1).and_then(point);
            let Some(older) = older.filter(|(t, _)| *t > at.saturating_sub(lookback)) else {
                continue;
            };
            let newer = point(advanced).filter(|(t, _)| *t <= at.saturating_add(lookback));
            let value = match newer {
                Some(newer) if older.0 < at => interpolate(older, newer, at),
                _ => older.1,
            };
            progress.row.put(k, value);
            progress.points += 1;
            tally.step(k, 1, 1);
        }
        self.budget.take(progress.points - before)?;
        tally.finish();
        Ok(progress.next_step == self.grid.count)
    }

    /// Many windows at a time, for the functions that can.
    fn many_windows(
        &self,
        progress: &mut SeriesProgress,
        samples: &SampleColumns,
        range: i64,
        function: MixedFunction,
        work: &mut usize,
    ) -> Result<bool, EvalError> {
        let end_of = |k: usize| self.reference.time(self.grid.at(k));
        let mut all = Filled::default();
        while progress.next_step < self.grid.count && *work > 0 {
            let first = progress.next_step;
            let windows = Windows {
                timestamps: &samples.timestamps,
                values: &samples.values,
                end: end_of(first),
                step: end_of(1).saturating_sub(end_of(0)),
                range,
                count: (self.grid.count - first).min(at_once(function, progress, *work)),
            };
            let mut bounds = Bounds {
                low: progress.low,
                high: progress.high,
            };
            let row = &mut progress.row;
            let (filled, touched) = match function {
                MixedFunction::Extrapolated {
                    counter,
                    per_second,
                } => {
                    let filled =
                        windows.extrapolate((counter, per_second), row, first, &mut bounds);
                    (filled, bounds.high - progress.high)
                }
                _ => {
                    let is_mean = function == MixedFunction::Mean;
                    let filled = windows.total(is_mean, row, first, &mut bounds);
                    (filled, filled.visited / SAMPLES_SIDE_BY_SIDE)
                }
            };
            progress.low = bounds.low;
            progress.high = bounds.high;
            progress.next_step += windows.count;
            progress.points += filled.points;
            *work = work.saturating_sub(windows.count + touched);
            all.points += filled.points;
            all.visited += filled.visited;
            all.read += filled.read;
        }
        self.budget.take(all.points)?;
        self.budget.visit(Handed {
            visited: all.visited,
            read: if self.stored { all.read } else { 0 },
        });
        Ok(progress.next_step == self.grid.count)
    }

    fn windows(
        &self,
        progress: &mut SeriesProgress,
        (samples, starts): (&SampleColumns, &[TimestampMs]),
        (range, reach): (i64, Reach),
        kernel: RangeKernel,
        notes: &mut KernelNotes,
        work: &mut usize,
    ) -> Result<bool, EvalError> {
        let before = progress.points;
        let mut tally = Tally::new(self);
        let mut scalars = vec![f64::NAN; self.scalars.len()];
        // Only start timestamps have something to say of the metric.
        let labels = progress.row.labels.clone();
        let metric = match starts {
            [] => "",
            _ => labels.metric_name().unwrap_or_default(),
        };
        while progress.next_step < self.grid.count {
            if *work == 0 {
                break;
            }
            let k = progress.next_step;
            let eval_time = self.grid.at(k);
            let range_end = self.reference.time(eval_time);
            let range_start = range_end.saturating_sub(range);
            let (from, to) = reach.widen(range_start, range_end);
            let seen = progress.high;
            progress.high = advance_past(&samples.timestamps, progress.high, to);
            progress.low = advance_past(&samples.timestamps, progress.low, from);
            progress.next_step += 1;
            let window = progress.low..progress.high;
            *work = work.saturating_sub(window.len().max(1));
            if window.is_empty() {
                continue;
            }
            tally.step(k, window.len(), window.end - seen.max(window.start));
            for (slot, column) in scalars.iter_mut().zip(self.scalars) {
                *slot = column.get(k).copied().unwrap_or(f64::NAN);
            }
            let args = WindowArgs {
                timestamps: &samples.timestamps[window.clone()],
                values: &samples.values[window.clone()],
                starts: starts.get(window).unwrap_or_default(),
                eval_time,
                metric,
                range_start,
                range_end,
                scalars: &scalars,
            };
            if let Some(v) = kernel(&args, notes) {
                progress.row.put(k, v);
                progress.points += 1;
            }
        }
        if let Some(text) = notes.error.take() {
            return Err(EvalError::Execution(text));
        }
        self.budget.take(progress.points - before)?;
        tally.finish();
        Ok(progress.next_step == self.grid.count)
    }
}

/// Index of the first timestamp after `t`, looking from `from` on: near steps first, then by halves.
#[inline]
pub(super) fn advance_past(timestamps: &[i64], from: usize, t: i64) -> usize {
    let rest = timestamps.get(from..).unwrap_or_default();
    for (i, &x) in rest.iter().take(8).enumerate() {
        if x > t {
            return from + i;
        }
    }
    if rest.len() <= 8 {
        return from + rest.len();
    }
    from + 8 + rest[8..].partition_point(|&x| x <= t)
}

/// Takes stale markers out of the columns: a window does not see them.
pub(crate) fn remove_stale(samples: &mut SampleColumns) {
    if !samples.values.iter().any(|v| is_stale_nan(*v)) {
        return;
    }
    let mut kept = 0;
    for i in 0..samples.values.len() {
        let v = samples.values[i];
        if !is_stale_nan(v) {
            samples.values[kept] = v;
            samples.timestamps[kept] = samples.timestamps[i];
            kept += 1;
        }
    }
    samples.values.truncate(kept);
    samples.timestamps.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::budget::CancelToken;
    use storage_engine::model::STALE_NAN_BITS;

    fn columns(points: &[(i64, f64)]) -> SampleColumns {
        SampleColumns {
            timestamps: points.iter().map(|p| p.0).collect(),
            values: points.iter().map(|p| p.1).collect(),
        }
    }

    fn count_kernel(window: &WindowArgs<'_>, _: &mut KernelNotes) -> Option<f64> {
        Some(window.values.len() as f64)
    }

    /// Evaluates with slices of `work` samples.
    fn evaluate(
        kind: FragmentKind,
        points: &[(i64, f64)],
        grid: Grid,
        work: usize,
    ) -> Vec<Option<f64>> {
        let budget = Budget::new(1000, CancelToken::new());
        let evaluation = SeriesEvaluation {
            kind,
            reference: Reference {
                offset: 0,
                at: None,
            },
            grid,
            scalars: &[],
            stored: true,
            budget: &budget,
        };
        let samples = columns(points);
        let mut progress = SeriesProgress::new(Labels::empty(), grid.count, Held::default());
        let mut notes = KernelNotes::default();
        while !evaluation
            .advance(
                &mut progress,
                (&samples, &[]),
                &mut notes,
                &mut work.clone(),
            )
            .unwrap()
        {}
        let (row, ..) = progress.finish();
        (0..grid.count).map(|k| row.get(k)).collect()
    }

    #[test]
    fn lookback_is_open_on_the_left_and_stale_markers_end_a_series() {
        let kind = FragmentKind::Instant {
            lookback: 10,
            pick: Pick::Sample,
        };
        let grid = Grid {
            start: 0,
            step: 5,
            count: 7,
        };
        let stale = f64::from_bits(STALE_NAN_BITS);
        for work in [1, 3, 1000] {
            let got = evaluate(kind, &[(0, 1.0), (20, 2.0), (26, stale)], grid, work);
            assert_eq!(
                got,
                [Some(1.0), Some(1.0), None, None, Some(2.0), Some(2.0), None]
            );
        }
    }

    #[test]
    fn windows_are_open_on_the_left() {
        let kind = FragmentKind::Window {
            range: 10,
            reach: Reach::default(),
            kernel: count_kernel,
            mixed: MixedFunction::Count,
        };
        let grid = Grid {
            start: 0,
            step: 10,
            count: 4,
        };
        let points: Vec<(i64, f64)> = (0..30).step_by(5).map(|t| (t, t as f64)).collect();
        for work in [1, 1000] {
            let got = evaluate(kind, &points, grid, work);
            assert_eq!(got, [Some(1.0), Some(2.0), Some(2.0), Some(1.0)]);
        }
    }

    #[test]
    fn advancing_far_equals_advancing_step_by_step() {
        let times: Vec<i64> = (0..100).collect();
        for t in [-1, 0, 7, 8, 9, 50, 99, 200] {
            assert_eq!(advance_past(&times, 0, t), (t + 1).clamp(0, 100) as usize);
        }
    }

    #[test]
    fn stale_markers_leave_no_trace() {
        let mut samples = columns(&[(1, 1.0), (2, f64::from_bits(STALE_NAN_BITS)), (3, f64::NAN)]);
        remove_stale(&mut samples);
        assert_eq!(samples.timestamps, [1, 3]);
    }
}
