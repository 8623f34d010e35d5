//! A series that has native histograms: its samples in one column of both kinds, evaluated step by step.
//!
//! Not here: series of floats only, which have plain columns (`series`).

use super::series::{SeriesEvaluation, SeriesProgress, Tally, advance_past};
use super::{FragmentKind, Pick, Reach};
use crate::eval::annotations::Severity;
use crate::eval::error::EvalError;
use crate::eval::memory::{column_cost, histogram_cost};
use crate::eval::value::{Grid, Row, Sample};
use crate::functions::texts;
use crate::histogram::{CounterResetHint, FloatHistogram, counts_fall, sample_size};
use crate::kernels::{
    KernelNotes, MixedFunction, MixedWindow, RangeKernel, WindowArgs, interpolate,
    interpolate_histograms,
};
use crate::limits::SLICE_SAMPLES_PER_HISTOGRAM;
use std::sync::Arc;
use storage_engine::model::{Labels, SampleColumns, TimestampMs, is_stale_nan};

/// Histograms and their times.
pub(crate) type HistogramSamples = Vec<(TimestampMs, Arc<FloatHistogram>)>;

/// Samples of both kinds in time order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MixedSamples {
    pub(crate) timestamps: Vec<TimestampMs>,
    pub(crate) samples: Vec<Sample>,
    /// When the counting of each began (0: not known); empty where that does not matter.
    pub(crate) starts: Vec<TimestampMs>,
}

/// The samples of one series as a range vector has them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RawSeries {
    pub(crate) labels: Labels,
    pub(crate) floats: SampleColumns,
    pub(crate) histograms: HistogramSamples,
}

impl RawSeries {
    /// What the samples cost.
    pub(crate) fn samples(&self) -> usize {
        let sizes = self.histograms.iter().map(|(_, h)| sample_size(h));
        self.floats.len() + sizes.sum::<usize>()
    }
}

impl MixedSamples {
    /// Puts two columns together by time.
    pub(crate) fn merge(floats: &SampleColumns, histograms: HistogramSamples) -> Self {
        let mut out = MixedSamples::default();
        let mut floats = floats.timestamps.iter().zip(&floats.values).peekable();
        for (t, histogram) in histograms {
            while let Some((time, value)) = floats.next_if(|f| *f.0 < t) {
                out.push(*time, Sample::Float(*value));
            }
            out.push(t, Sample::Histogram(histogram));
        }
        for (time, value) in floats {
            out.push(*time, Sample::Float(*value));
        }
        out
    }

    /// The samples of a row over its grid.
    pub(crate) fn of_row(row: &Row, grid: Grid) -> Self {
        let mut out = MixedSamples::default();
        for k in crate::eval::rows::steps(&row.present) {
            if let Some(sample) = row.sample(k) {
                out.push(grid.at(k), sample);
            }
        }
        out
    }

    /// Bytes of the samples.
    pub(crate) fn bytes(&self) -> usize {
        let histogram = |sample: &Sample| match sample {
            Sample::Float(_) => 0,
            Sample::Histogram(h) => histogram_cost(h),
        };
        let columns = self.timestamps.len() * size_of::<(TimestampMs, Sample)>();
        columns + 8 * self.starts.len() + self.samples.iter().map(histogram).sum::<usize>()
    }

    fn push(&mut self, time: TimestampMs, sample: Sample) {
        self.timestamps.push(time);
        self.samples.push(sample);
    }

    /// Reset hints as Prometheus's queries see them: that a histogram follows a reset is not told, functions find it themselves. Where only
    /// counts and sums matter (`stats`) it is told, and what the store left open is decided.
    pub(crate) fn adjust_hints(&mut self, stats: bool) {
        use CounterResetHint::{CounterReset, NotCounterReset, Unknown};
        let mut before: Option<Arc<FloatHistogram>> = None;
        for sample in &mut self.samples {
            let Sample::Histogram(h) = sample else {
                continue;
            };
            let hint = match (h.counter_reset_hint, &before) {
                (CounterReset, _) if !stats => Unknown,
                (Unknown, Some(before)) if stats && counts_fall(h, before) => CounterReset,
                (Unknown, Some(_)) if stats => NotCounterReset,
                (hint, _) => hint,
            };
            if h.is_stale() {
                before = None;
                continue;
            }
            if h.counter_reset_hint != hint {
                Arc::make_mut(h).counter_reset_hint = hint;
            }
            before = Some(Arc::clone(h));
        }
    }

    /// Steps of a subquery are no neighbours: what a histogram says about a reset before it does not hold for them.
    pub(crate) fn forget_hints(&mut self) {
        for sample in &mut self.samples {
            if let Sample::Histogram(h) = sample
                && matches!(
                    h.counter_reset_hint,
                    CounterResetHint::CounterReset | CounterResetHint::NotCounterReset
                )
            {
                let mut plain = FloatHistogram::clone(h);
                plain.counter_reset_hint = CounterResetHint::Unknown;
                *h = Arc::new(plain);
            }
        }
    }

    /// Takes stale markers out: a window does not see them.
    pub(crate) fn remove_stale(&mut self) {
        debug_assert!(self.starts.is_empty(), "starts are looked up afterwards");
        let stale: Vec<bool> = self.samples.iter().map(is_stale_sample).collect();
        let mut at = stale.iter();
        self.timestamps
            .retain(|_| !at.next().copied().unwrap_or(false));
        let mut at = stale.iter();
        self.samples
            .retain(|_| !at.next().copied().unwrap_or(false));
    }

    /// Float and histogram columns.
    pub(crate) fn split(self, labels: Labels) -> RawSeries {
        let mut series = RawSeries {
            labels,
            floats: SampleColumns::default(),
            histograms: Vec::new(),
        };
        for (t, sample) in self.timestamps.into_iter().zip(self.samples) {
            match sample {
                Sample::Float(v) => series.floats.push(t, v),
                Sample::Histogram(h) => series.histograms.push((t, h)),
            }
        }
        series
    }
}

fn is_stale_sample(sample: &Sample) -> bool {
    match sample {
        Sample::Float(v) => is_stale_nan(*v),
        Sample::Histogram(h) => h.is_stale(),
    }
}

fn size(sample: &Sample) -> usize {
    match sample {
        Sample::Float(_) => 1,
        Sample::Histogram(h) => sample_size(h),
    }
}

impl SeriesProgress {
    /// Pays for a histogram that comes to step `k`, and for the row's column of them when it is the first. One that stays from the step before
    /// is paid for already.
    fn pay_for_histogram(
        &mut self,
        k: usize,
        histogram: &Arc<FloatHistogram>,
    ) -> Result<(), EvalError> {
        if self.row.histograms.is_none() {
            self.held.take(column_cost(self.row.values.len()))?;
        }
        let before = k.checked_sub(1).and_then(|k| self.row.histogram(k));
        if before.is_some_and(|before| Arc::ptr_eq(before, histogram)) {
            return Ok(());
        }
        self.held.take(histogram_cost(histogram))
    }
}

impl SeriesEvaluation<'_> {
    /// As `advance`, for a series with histograms.
    pub(crate) fn advance_mixed(
        &self,
        progress: &mut SeriesProgress,
        samples: &MixedSamples,
        notes: &mut KernelNotes,
        work: &mut usize,
    ) -> Result<bool, EvalError> {
        let mut tally = Tally::new(self);
        while progress.next_step < self.grid.count && *work > 0 {
            let k = progress.next_step;
            let seen = progress.high;
            let (made, visited) = match self.kind {
                FragmentKind::Instant { lookback, pick } => {
                    let at = self.reference.time(self.grid.at(k));
                    progress.high = advance_past(&samples.timestamps, progress.high, at);
                    let oldest = at.saturating_sub(lookback);
                    let made = newest(samples, progress.high, oldest).map(|(t, sample)| {
                        match (pick, sample) {
                            (Pick::Sample, _) | (Pick::FloatTime, Sample::Histogram(_)) => {
                                sample.clone()
                            }
                            (Pick::Time | Pick::FloatTime, _) => Sample::Float(t as f64 / 1000.0),
                            (Pick::Start, _) => {
                                let start = samples.starts.get(progress.high - 1);
                                Sample::Float(start.map_or(0.0, |s| *s as f64 / 1000.0))
                            }
                        }
                    });
                    let visited = usize::from(made.is_some());
                    (made, visited)
                }
                FragmentKind::Smoothed { lookback } => {
                    self.mixed_smoothed(progress, samples, lookback, notes)
                }
                FragmentKind::Window {
                    range,
                    reach,
                    kernel,
                    mixed,
                } => {
                    let function = (kernel, mixed);
                    self.mixed_window(progress, samples, (range, reach), function, notes)
                }
                FragmentKind::Raw { .. } => return Ok(true),
            };
            progress.next_step += 1;
            *work = work.saturating_sub(SLICE_SAMPLES_PER_HISTOGRAM * visited.max(1));
            if let FragmentKind::Window { .. } = self.kind {
                let sizes = |from: usize| samples.samples[from..progress.high].iter().map(size);
                let low = progress.low;
                tally.step(k, sizes(low).sum(), sizes(seen.max(low)).sum());
            } else if let Some(sample) = &made {
                tally.step(k, size(sample), size(sample));
            }
            if let Some(sample) = made {
                self.budget.take(size(&sample))?;
                progress.points += size(&sample);
                if let Sample::Histogram(histogram) = &sample {
                    progress.pay_for_histogram(k, histogram)?;
                }
                progress.row.put_sample(k, sample);
            }
        }
        if let Some(text) = notes.error.take() {
            return Err(EvalError::Execution(text));
        }
        tally.finish();
        Ok(progress.next_step == self.grid.count)
    }

    fn mixed_window(
        &self,
        progress: &mut SeriesProgress,
        samples: &MixedSamples,
        (range, reach): (i64, Reach),
        (kernel, mixed): (RangeKernel, MixedFunction),
        notes: &mut KernelNotes,
    ) -> (Option<Sample>, usize) {
        let k = progress.next_step;
        let eval_time = self.grid.at(k);
        let range_end = self.reference.time(eval_time);
        let range_start = range_end.saturating_sub(range);
        let (from, to) = reach.widen(range_start, range_end);
        progress.high = advance_past(&samples.timestamps, progress.high, to);
        progress.low = advance_past(&samples.timestamps, progress.low, from);
        let window = progress.low..progress.high;
        if window.is_empty() {
            return (None, 0);
        }
        let at = |column: &Vec<f64>| column.get(k).copied().unwrap_or(f64::NAN);
        let scalars: Vec<f64> = self.scalars.iter().map(at).collect();
        let metric = progress.row.labels.metric_name().unwrap_or_default();
        let visited = window.len();
        let window = MixedWindow {
            timestamps: &samples.timestamps[window.clone()],
            samples: &samples.samples[window.clone()],
            kernel,
            args: WindowArgs {
                timestamps: &[],
                values: &[],
                starts: samples.starts.get(window).unwrap_or_default(),
                eval_time,
                metric,
                range_start,
                range_end,
                scalars: &scalars,
            },
        };
        (window.evaluate(mixed, notes), visited)
    }
}

impl SeriesEvaluation<'_> {
    /// The sample at a step between its neighbours; of one kind all samples within reach must be.
    fn mixed_smoothed(
        &self,
        progress: &mut SeriesProgress,
        samples: &MixedSamples,
        lookback: i64,
        notes: &mut KernelNotes,
    ) -> (Option<Sample>, usize) {
        let at = self.reference.time(self.grid.at(progress.next_step));
        let (from, to) = (at.saturating_sub(lookback), at.saturating_add(lookback));
        progress.high = advance_past(&samples.timestamps, progress.high, at);
        progress.low = advance_past(&samples.timestamps, progress.low, from);
        let end = advance_past(&samples.timestamps, progress.high, to);
        let metric = progress.row.labels.metric_name().unwrap_or_default();
        let near = samples.samples.get(progress.low..end).unwrap_or_default();
        let is_float = |s: &Sample| matches!(s, Sample::Float(_));
        let floats = near.iter().filter(|s| is_float(s)).count();
        if floats > 0 && floats < near.len() {
            let text = texts::mixed_floats_histograms(metric);
            notes.remark(Severity::Warning, text);
            return (None, near.len());
        }
        let point = |i: usize| Some((*samples.timestamps.get(i)?, samples.samples.get(i)?));
        let Some((t, older)) = (progress.low < progress.high)
            .then(|| point(progress.high - 1))
            .flatten()
        else {
            return (None, 0);
        };
        let newer = point(progress.high).filter(|_| progress.high < end && t < at);
        let made = match (older, newer) {
            (Sample::Float(a), Some((u, Sample::Float(b)))) => {
                Sample::Float(interpolate((t, *a), (u, *b), at))
            }
            (Sample::Histogram(a), Some((u, Sample::Histogram(b)))) => {
                let is_gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
                let counter = !(is_gauge(a) && is_gauge(b));
                match interpolate_histograms((t, &**a), (u, &**b), at, counter, notes) {
                    Ok(between) => Sample::Histogram(Arc::new(between)),
                    Err(_) => {
                        let text = texts::mixed_exponential_custom(metric);
                        notes.remark(Severity::Warning, text);
                        return (None, 2);
                    }
                }
            }
            // The hint tells of neighbours; where there is no newer one, the sample stands for none of its own time.
            (Sample::Histogram(h), None) if t < at => {
                let mut carried = FloatHistogram::clone(h);
                carried.counter_reset_hint = CounterResetHint::Unknown;
                Sample::Histogram(Arc::new(carried))
            }
            _ => older.clone(),
        };
        (Some(made), 2)
    }
}

/// The last sample before index `high`, if it is newer than `oldest` and no stale marker.
fn newest(samples: &MixedSamples, high: usize, oldest: i64) -> Option<(TimestampMs, &Sample)> {
    let i = high.checked_sub(1)?;
    let (t, sample) = (*samples.timestamps.get(i)?, samples.samples.get(i)?);
    (t > oldest && !is_stale_sample(sample)).then_some((t, sample))
}
