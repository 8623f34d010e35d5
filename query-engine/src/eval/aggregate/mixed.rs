//! `sum` and `avg` over groups with native histograms.
//!
//! Promise: floats and histograms of one group at one step give nothing and a warning; histograms are added up compensated, in row order.

use super::Groups;
use super::fold::Fold;
use crate::eval::annotations::{Annotations, Severity};
use crate::eval::error::EvalError;
use crate::eval::memory::Work;
use crate::eval::rows::steps;
use crate::eval::value::{Row, Sample};
use crate::functions::texts;
use crate::histogram::{
    CounterResetHint, FloatHistogram, HistogramMean, HistogramSum, Merged, compact,
};
use crate::kernels::{CompensatedSum, RunningMean};
use crate::parse::ast::{AggregateOp, Span};
use std::sync::Arc;

/// Adds up one group at one step.
enum Sum {
    Floats(CompensatedSum),
    FloatMean(RunningMean),
    Histograms(Box<HistogramSum>),
    HistogramMean(Box<HistogramMean>),
    /// No result at this step.
    Nothing,
}

/// What was seen on the way.
struct State {
    sum: Sum,
    resets: bool,
    no_resets: bool,
    merged: Merged,
}

impl State {
    fn new(first: &Sample, mean: bool) -> Self {
        let sum = match (first, mean) {
            (Sample::Float(v), false) => Sum::Floats(CompensatedSum {
                sum: *v,
                compensation: 0.0,
            }),
            (Sample::Float(v), true) => Sum::FloatMean(RunningMean::new(*v)),
            (Sample::Histogram(h), false) => Sum::Histograms(Box::new(HistogramSum::new(h))),
            (Sample::Histogram(h), true) => Sum::HistogramMean(Box::new(HistogramMean::new(h))),
        };
        let mut state = State {
            sum,
            resets: false,
            no_resets: false,
            merged: Merged::default(),
        };
        state.note_hint(first);
        state
    }

    fn note_hint(&mut self, sample: &Sample) {
        if let Sample::Histogram(h) = sample {
            self.resets |= h.counter_reset_hint == CounterResetHint::CounterReset;
            self.no_resets |= h.counter_reset_hint == CounterResetHint::NotCounterReset;
        }
    }

    fn add(&mut self, sample: &Sample, name: &str, notes: &mut Notes<'_>) {
        self.note_hint(sample);
        let merged = match (&mut self.sum, sample) {
            (Sum::Nothing, _) => return,
            (Sum::Floats(sum), Sample::Float(v)) => {
                sum.add(*v);
                return;
            }
            (Sum::FloatMean(mean), Sample::Float(v)) => {
                mean.add(*v);
                return;
            }
            (Sum::Histograms(sum), Sample::Histogram(h)) => sum.add(h),
            (Sum::HistogramMean(mean), Sample::Histogram(h)) => mean.add(h),
            _ => {
                let text = texts::mixed_floats_histograms_in_aggregation();
                notes.add(Severity::Warning, text);
                self.sum = Sum::Nothing;
                return;
            }
        };
        match merged {
            Ok(merged) => self.merged = self.merged.or(merged),
            Err(_) => {
                notes.add(Severity::Warning, texts::mixed_exponential_custom(name));
                self.sum = Sum::Nothing;
            }
        }
    }

    fn finish(self, notes: &mut Notes<'_>) -> Option<Sample> {
        let histogram = |mut histogram: FloatHistogram| {
            compact(&mut histogram);
            Some(Sample::Histogram(Arc::new(histogram)))
        };
        if self.resets && self.no_resets {
            notes.add(Severity::Warning, texts::reset_collision("aggregation"));
        }
        if self.merged.bounds_reconciled {
            notes.add(Severity::Info, texts::bounds_reconciled("aggregation"));
        }
        match self.sum {
            Sum::Floats(sum) => Some(Sample::Float(sum.sum + sum.compensation)),
            Sum::FloatMean(mean) => Some(Sample::Float(mean.value())),
            Sum::Histograms(sum) => histogram(sum.finish()),
            Sum::HistogramMean(mean) => histogram(mean.finish()),
            Sum::Nothing => None,
        }
    }
}

/// Where annotations go.
pub(super) struct Notes<'a> {
    pub(super) annotations: &'a mut Annotations,
    pub(super) span: Span,
}

impl Notes<'_> {
    fn add(&mut self, severity: Severity, text: String) {
        self.annotations.add(severity, text, self.span);
    }
}

/// Evaluates `sum` or `avg`.
pub(super) fn run(
    op: AggregateOp,
    rows: &[Row],
    groups: &Groups,
    count: usize,
    mut notes: Notes<'_>,
    work: &mut Work,
) -> Result<Vec<Row>, EvalError> {
    let mean = op == AggregateOp::Avg;
    let fold = Fold {
        rows,
        groups,
        count,
    };
    // Texts of incompatible groups name the first row's metric.
    let name = rows.first().and_then(|r| r.labels.metric_name());
    let name = name.unwrap_or_default();
    let mut out = Vec::with_capacity(groups.labels.len());
    for (group, members) in groups.members.iter().enumerate() {
        let mut row = fold.open(group, members, work)?;
        for k in steps(&row.present.clone()) {
            work.tick(16 * members.len())?;
            let mut state: Option<State> = None;
            for sample in members.iter().filter_map(|&i| rows[i].sample(k)) {
                match &mut state {
                    Some(state) => state.add(&sample, name, &mut notes),
                    None => state = Some(State::new(&sample, mean)),
                }
            }
            match state.and_then(|state| state.finish(&mut notes)) {
                Some(sample) => {
                    work.sample(&sample)?;
                    row.put_sample(k, sample);
                }
                None => row.present.clear(k),
            }
        }
        if row.present.any() {
            out.push(row);
        }
    }
    Ok(out)
}
