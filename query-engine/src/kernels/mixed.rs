//! Range functions over windows with native histograms, alone or among floats.
//!
//! Promise: a window of floats goes through the same kernels as ever; what a mix of both means, which hints and warnings follow, is
//! Prometheus's. Not here: cutting the windows.

use super::{Edges, KernelNotes, RangeKernel, WindowArgs, rate};
use crate::eval::annotations::Severity;
use crate::eval::value::Sample;
use crate::functions::texts;
use crate::histogram::{
    CounterResetHint, FloatHistogram, HistogramMean, HistogramSum, Merged, compact, detect_reset,
    divide, equals, is_custom, scale, to_schema,
};
use std::sync::Arc;
use storage_engine::model::TimestampMs;

/// What a range function does with native histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MixedFunction {
    /// `rate`, `increase`, `delta`.
    Extrapolated {
        /// Corrects counter resets.
        counter: bool,
        /// Divides by the window's length.
        per_second: bool,
    },
    /// `irate`, `idelta`.
    LastStep {
        /// `irate`.
        rate: bool,
    },
    /// `sum_over_time`.
    Sum,
    /// `avg_over_time`.
    Mean,
    /// `count_over_time`.
    Count,
    /// `present_over_time`, `absent_over_time`.
    Present,
    /// `first_over_time`.
    First,
    /// `last_over_time`.
    Last,
    /// `ts_of_first_over_time`.
    FirstTime,
    /// `ts_of_last_over_time`.
    LastTime,
    /// `rate`, `increase`, `delta` of a range with edges.
    Extended {
        /// Which.
        edges: Edges,
        /// Corrects counter resets.
        counter: bool,
        /// Divides by the window's length.
        per_second: bool,
    },
    /// `changes` of an anchored range.
    AnchoredChanges,
    /// `resets` of an anchored range.
    AnchoredResets,
    /// `changes`.
    Changes,
    /// `resets`.
    Resets,
    /// Everything else leaves histograms out.
    Floats,
}

impl MixedFunction {
    /// By the function's PromQL name.
    pub fn of(name: &str) -> Self {
        let extrapolated = |counter, per_second| MixedFunction::Extrapolated {
            counter,
            per_second,
        };
        match name {
            "rate" => extrapolated(true, true),
            "increase" => extrapolated(true, false),
            "delta" => extrapolated(false, false),
            "irate" => MixedFunction::LastStep { rate: true },
            "idelta" => MixedFunction::LastStep { rate: false },
            "sum_over_time" => MixedFunction::Sum,
            "avg_over_time" => MixedFunction::Mean,
            "count_over_time" => MixedFunction::Count,
            "present_over_time" | "absent_over_time" => MixedFunction::Present,
            "first_over_time" => MixedFunction::First,
            "last_over_time" => MixedFunction::Last,
            "ts_of_first_over_time" => MixedFunction::FirstTime,
            "ts_of_last_over_time" => MixedFunction::LastTime,
            "changes" => MixedFunction::Changes,
            "resets" => MixedFunction::Resets,
            _ => MixedFunction::Floats,
        }
    }

    /// The same over a range with edges.
    pub fn with(self, edges: Edges) -> Self {
        match self {
            MixedFunction::Extrapolated {
                counter,
                per_second,
            } => MixedFunction::Extended {
                edges,
                counter,
                per_second,
            },
            MixedFunction::Changes => MixedFunction::AnchoredChanges,
            MixedFunction::Resets => MixedFunction::AnchoredResets,
            other => other,
        }
    }
}

/// One window with samples of both kinds; never empty.
#[derive(Debug, Clone, Copy)]
pub struct MixedWindow<'a> {
    /// Sample times, ascending.
    pub timestamps: &'a [TimestampMs],
    /// The samples.
    pub samples: &'a [Sample],
    /// The float function, and all of a window but its samples.
    pub kernel: RangeKernel,
    /// Times and arguments; its columns of times and values are not looked at.
    pub args: WindowArgs<'a>,
}

fn float(value: f64) -> Option<Sample> {
    Some(Sample::Float(value))
}

fn made(histogram: FloatHistogram) -> Option<Sample> {
    Some(Sample::Histogram(Arc::new(histogram)))
}

impl MixedWindow<'_> {
    /// Evaluates a function. `None` means no sample at this step.
    pub fn evaluate(&self, function: MixedFunction, notes: &mut KernelNotes) -> Option<Sample> {
        let histograms: Vec<&FloatHistogram> = self.samples.iter().filter_map(histogram).collect();
        if histograms.is_empty() {
            return self.floats(notes).map(Sample::Float);
        }
        let mixed = histograms.len() < self.samples.len();
        match function {
            MixedFunction::Count => float(self.samples.len() as f64),
            MixedFunction::Present => float(1.0),
            MixedFunction::First => self.samples.first().cloned(),
            MixedFunction::Last => self.samples.last().cloned(),
            MixedFunction::FirstTime => float(*self.timestamps.first()? as f64 / 1000.0),
            MixedFunction::LastTime => float(*self.timestamps.last()? as f64 / 1000.0),
            MixedFunction::Changes => float(self.count_pairs(differs)),
            MixedFunction::Resets => float(self.resets()),
            MixedFunction::LastStep { rate } => self.last_step(rate, notes),
            MixedFunction::Floats => {
                if mixed {
                    let text = texts::histogram_ignored_in_mixed_range(self.args.metric);
                    notes.remark(Severity::Info, text);
                    return self.floats(notes).map(Sample::Float);
                }
                None
            }
            MixedFunction::Extrapolated { .. }
            | MixedFunction::Extended { .. }
            | MixedFunction::Sum
            | MixedFunction::Mean
                if mixed =>
            {
                let text = texts::mixed_floats_histograms(self.args.metric);
                notes.remark(Severity::Warning, text);
                None
            }
            MixedFunction::Extrapolated {
                counter,
                per_second,
            } => self.extrapolated(&histograms, counter, per_second, notes),
            MixedFunction::Extended {
                edges,
                counter,
                per_second,
            } => {
                let moved = self.extended(&histograms, edges, (counter, per_second), notes);
                moved.and_then(made)
            }
            MixedFunction::AnchoredChanges => self.anchored_pairs(differs).and_then(float),
            MixedFunction::AnchoredResets => self.anchored_pairs(falls).and_then(float),
            MixedFunction::Sum => self.summed(&histograms, notes),
            MixedFunction::Mean => self.averaged(&histograms, notes),
        }
    }

    fn floats(&self, notes: &mut KernelNotes) -> Option<f64> {
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        let mut starts = Vec::new();
        for (i, (t, sample)) in self.timestamps.iter().zip(self.samples).enumerate() {
            if let Sample::Float(v) = sample {
                timestamps.push(*t);
                values.push(*v);
                starts.extend(self.args.starts.get(i));
            }
        }
        let args = WindowArgs {
            timestamps: &timestamps,
            values: &values,
            starts: &starts,
            ..self.args
        };
        (self.kernel)(&args, notes)
    }

    pub(super) fn count_pairs(&self, f: fn(&Sample, &Sample) -> bool) -> f64 {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        pairs.filter(|(before, after)| f(before, after)).count() as f64
    }

    fn resets(&self) -> f64 {
        let pairs = self.samples.windows(2).enumerate();
        let resets = pairs.filter(|(i, pair)| {
            falls(&pair[0], &pair[1]) || self.args.start_resets(self.timestamps, i + 1)
        });
        resets.count() as f64
    }

    fn incompatible(&self, notes: &mut KernelNotes) -> Option<Sample> {
        let text = texts::mixed_exponential_custom(self.args.metric);
        notes.remark(Severity::Warning, text);
        None
    }

    fn note_hint(&self, counter: bool, wrong: bool, notes: &mut KernelNotes) {
        if wrong {
            let text = if counter {
                texts::not_a_counter(self.args.metric)
            } else {
                texts::not_a_gauge(self.args.metric)
            };
            notes.remark(Severity::Warning, text);
        }
    }

    fn summed(&self, all: &[&FloatHistogram], notes: &mut KernelNotes) -> Option<Sample> {
        let (first, rest) = all.split_first()?;
        let mut sum = HistogramSum::new(first);
        let mut merged = Merged::default();
        for next in rest {
            match sum.add(next) {
                Ok(m) => merged = merged.or(m),
                Err(_) => return self.incompatible(notes),
            }
        }
        aggregated(all, merged, notes);
        made(sum.finish())
    }

    fn averaged(&self, all: &[&FloatHistogram], notes: &mut KernelNotes) -> Option<Sample> {
        let (first, rest) = all.split_first()?;
        let mut mean = HistogramMean::new(first);
        let mut merged = Merged::default();
        for next in rest {
            match mean.add(next) {
                Ok(m) => merged = merged.or(m),
                Err(_) => return self.incompatible(notes),
            }
        }
        aggregated(all, merged, notes);
        made(mean.finish())
    }

    fn last_step(&self, rate: bool, notes: &mut KernelNotes) -> Option<Sample> {
        let [.., before, after] = self.samples else {
            return None;
        };
        let [.., before_time, after_time] = self.timestamps else {
            return None;
        };
        let interval = after_time - before_time;
        if interval == 0 {
            return None;
        }
        let (before, after) = match (before, after) {
            (Sample::Histogram(before), Sample::Histogram(after)) => (before, after),
            (Sample::Float(_), Sample::Float(_)) => return self.floats(notes).map(Sample::Float),
            _ => {
                let text = texts::mixed_floats_histograms(self.args.metric);
                notes.remark(Severity::Warning, text);
                return None;
            }
        };
        let gauges = [before, after].map(|h| h.counter_reset_hint == CounterResetHint::Gauge);
        self.note_hint(rate, gauges.contains(&rate), notes);
        let last = self.timestamps.len() - 1;
        let is_reset = detect_reset(after, before) || self.args.start_resets(self.timestamps, last);
        let mut result = if rate && is_reset {
            FloatHistogram::clone(after)
        } else {
            let mut difference = HistogramSum::new(after);
            match difference.subtract(before) {
                Ok(m) if m.bounds_reconciled => {
                    notes.remark(Severity::Info, texts::bounds_reconciled("subtraction"));
                }
                Ok(_) => {}
                Err(_) => return self.incompatible(notes),
            }
            difference.finish_plain()
        };
        result.counter_reset_hint = CounterResetHint::Gauge;
        compact(&mut result);
        if rate {
            divide(&mut result, interval as f64 / 1000.0);
        }
        made(result)
    }

    fn extrapolated(
        &self,
        all: &[&FloatHistogram],
        counter: bool,
        per_second: bool,
        notes: &mut KernelNotes,
    ) -> Option<Sample> {
        let (&first, &last) = (all.first()?, all.last()?);
        let zero_at = match counter {
            true => self.args.zero_at(self.timestamps),
            false => None,
        };
        if all.len() < 2 && zero_at.is_none() {
            return None;
        }
        let second = all.get(1).copied().unwrap_or(first);
        if counter {
            self.args
                .note_overlaps(self.timestamps, self.args.metric, notes);
        }
        let is_gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
        if counter {
            self.note_hint(true, is_gauge(first) || is_gauge(last), notes);
        }
        // A first sample before a reset takes part in nothing, not even in deciding the layout.
        let starts_anew = counter && all.len() > 1 && detect_reset(second, first);
        let nothing = starts_anew.then(|| FloatHistogram {
            counter_reset_hint: CounterResetHint::Unknown,
            schema: second.schema,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive_spans: Vec::new(),
            negative_spans: Vec::new(),
            positive_buckets: Vec::new(),
            negative_buckets: Vec::new(),
            custom_values: second.custom_values.clone(),
            integer: false,
        });
        let mut before = nothing.as_ref().unwrap_or(first);
        let custom = is_custom(before);
        if is_custom(last) != custom {
            return self.incompatible(notes);
        }
        let mut schema = before.schema.min(last.schema);
        for h in all.iter().skip(1).take(all.len().saturating_sub(2)) {
            if counter {
                self.note_hint(true, is_gauge(h), notes);
                schema = schema.min(h.schema);
                if is_custom(h) != custom {
                    return self.incompatible(notes);
                }
            }
        }
        let start = to_schema(last, schema);
        let mut moved = HistogramSum::new(&start);
        match moved.subtract(before) {
            Ok(m) if m.bounds_reconciled => {
                notes.remark(Severity::Info, texts::bounds_reconciled("subtraction"));
            }
            Ok(_) => {}
            Err(_) => return self.incompatible(notes),
        }
        if counter {
            for (i, h) in all.iter().enumerate().skip(1) {
                if detect_reset(h, before) || self.args.start_resets(self.timestamps, i) {
                    match moved.add(before) {
                        Ok(m) if m.bounds_reconciled => {
                            notes.remark(Severity::Info, texts::bounds_reconciled("addition"));
                        }
                        Ok(_) => {}
                        Err(_) => return self.incompatible(notes),
                    }
                }
                before = h;
            }
            if zero_at.is_some() && moved.add(first).is_err() {
                return self.incompatible(notes);
            }
        } else {
            self.note_hint(false, !is_gauge(first) || !is_gauge(last), notes);
        }
        let mut result = moved.finish_plain();
        result.counter_reset_hint = CounterResetHint::Gauge;
        compact(&mut result);
        let start = (counter && result.count > 0.0 && first.count >= 0.0)
            .then_some(first.count / result.count);
        let times = self.timestamps;
        let factor = rate::extrapolation(&self.args, times, start, zero_at, per_second)?;
        scale(&mut result, factor);
        made(result)
    }
}

fn histogram(sample: &Sample) -> Option<&FloatHistogram> {
    match sample {
        Sample::Histogram(h) => Some(h),
        Sample::Float(_) => None,
    }
}

/// What a sum or mean of histograms has to say about hints and bounds.
fn aggregated(all: &[&FloatHistogram], merged: Merged, notes: &mut KernelNotes) {
    let any = |hint| all.iter().any(|h| h.counter_reset_hint == hint);
    if any(CounterResetHint::CounterReset) && any(CounterResetHint::NotCounterReset) {
        notes.remark(Severity::Warning, texts::reset_collision("aggregation"));
    }
    if merged.bounds_reconciled {
        notes.remark(Severity::Info, texts::bounds_reconciled("aggregation"));
    }
}

fn differs(before: &Sample, after: &Sample) -> bool {
    match (before, after) {
        (Sample::Float(a), Sample::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
        (Sample::Histogram(a), Sample::Histogram(b)) => !equals(a, b),
        _ => true,
    }
}

fn falls(before: &Sample, after: &Sample) -> bool {
    match (before, after) {
        (Sample::Float(a), Sample::Float(b)) => b < a,
        (Sample::Histogram(a), Sample::Histogram(b)) => detect_reset(b, a),
        _ => true,
    }
}
