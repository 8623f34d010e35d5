//! The shard task that runs a fragment.

use super::mixed::{HistogramSamples, MixedSamples, RawSeries};
use super::series::{SeriesEvaluation, SeriesProgress, remove_stale};
use super::{FragmentKind, FragmentOutput, FragmentSpec};
use crate::eval::budget::Budget;
use crate::eval::error::EvalError;
use crate::limits::{SLICE_SAMPLES, SLICE_SAMPLES_PER_HISTOGRAM, SLICE_SAMPLES_PER_SERIES};
use std::sync::Arc;
use storage_engine::model::SampleColumns;
use storage_engine::shard::{Selection, ShardReader};
use storage_engine::shard_api::{ShardTask, TaskState};
use tokio::sync::oneshot;

/// A fragment and the numbers it needs; shared by the tasks of all shards.
#[derive(Debug)]
pub(crate) struct FragmentWork {
    pub(crate) spec: FragmentSpec,
    /// Scalar arguments of the range function.
    pub(crate) scalars: Vec<Vec<f64>>,
    pub(crate) budget: Arc<Budget>,
}

/// What travels back to the coordinator.
pub(crate) type FragmentReply = Result<FragmentOutput, EvalError>;

/// A fragment in one shard.
pub(crate) struct FragmentTask {
    work: Arc<FragmentWork>,
    reply: Option<oneshot::Sender<FragmentReply>>,
    selection: Option<Selection>,
    /// The series of the selection that comes next.
    next: usize,
    current: Option<SeriesProgress>,
    /// A finished row of a folded fragment, to be used again.
    spare: Option<SeriesProgress>,
    samples: SampleColumns,
    /// The samples of a series that has native histograms, in place of `samples`.
    mixed: Option<MixedSamples>,
    output: FragmentOutput,
}

impl FragmentTask {
    /// A task and where its answer will come; a task that is dropped unanswered closes the channel.
    pub(crate) fn new(work: Arc<FragmentWork>) -> (Self, oneshot::Receiver<FragmentReply>) {
        let (reply, receiver) = oneshot::channel();
        let task = FragmentTask {
            work,
            reply: Some(reply),
            selection: None,
            next: 0,
            current: None,
            spare: None,
            samples: SampleColumns::default(),
            mixed: None,
            output: FragmentOutput::default(),
        };
        (task, receiver)
    }

    fn answer(&mut self, reply: FragmentReply) -> TaskState {
        if let Some(sender) = self.reply.take()
            && sender.send(reply).is_err()
        {
            // The query is gone; nobody misses the rows.
            self.output = FragmentOutput::default();
        }
        TaskState::Done
    }

    fn nobody_waits(&self) -> bool {
        self.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// One bounded piece; true when all series are done.
    fn run(&mut self, shard: &ShardReader<'_>) -> Result<bool, EvalError> {
        let work = Arc::clone(&self.work);
        let (spec, budget) = (&work.spec, &*work.budget);
        budget.check()?;
        let range = spec.time_range();
        let Some(selection) = &self.selection else {
            let selection = shard.select(&spec.matchers, range);
            for text in selection.damage() {
                self.output.reads.note_damage(text.clone());
            }
            self.selection = Some(selection);
            return Ok(false);
        };
        let evaluation = SeriesEvaluation {
            kind: spec.kind,
            reference: spec.reference,
            grid: spec.grid,
            scalars: &work.scalars,
            budget,
        };
        let mut left = SLICE_SAMPLES;
        while left > 0 {
            let mut progress = match self.current.take() {
                Some(progress) => progress,
                None => {
                    let id = self.next;
                    if id == selection.len() {
                        return Ok(true);
                    }
                    self.next += 1;
                    self.samples.clear();
                    let reads = &mut self.output.reads;
                    shard.read(selection, id, range, &mut self.samples, reads);
                    left = left.saturating_sub(self.samples.len() + SLICE_SAMPLES_PER_SERIES);
                    let windowed = !matches!(spec.kind, FragmentKind::Instant { .. });
                    self.mixed = None;
                    if shard.has_histograms(selection, id) {
                        let mut histograms = HistogramSamples::new();
                        shard.read_histograms(selection, id, range, &mut histograms, reads);
                        left = left.saturating_sub(SLICE_SAMPLES_PER_HISTOGRAM * histograms.len());
                        if !histograms.is_empty() {
                            let mut mixed = MixedSamples::merge(&self.samples, histograms);
                            mixed.adjust_hints(spec.histogram_stats);
                            if windowed {
                                mixed.remove_stale();
                            }
                            self.mixed = Some(mixed);
                        }
                    }
                    if let Some(mixed) = self.mixed.take_if(|_| !wanted_as_rows(spec.kind)) {
                        let series = mixed.split(shard.labels(selection, id));
                        budget.take(series.samples())?;
                        budget.visit(series.samples());
                        self.output.columns.push(series);
                        continue;
                    }
                    if windowed {
                        remove_stale(&mut self.samples);
                    }
                    if self.samples.is_empty() && self.mixed.is_none() {
                        continue;
                    }
                    if let FragmentKind::Raw { .. } = spec.kind {
                        budget.take(self.samples.len())?;
                        budget.visit(self.samples.len());
                        let columns = std::mem::take(&mut self.samples);
                        self.output.columns.push(RawSeries {
                            labels: shard.labels(selection, id),
                            floats: columns,
                            histograms: HistogramSamples::new(),
                        });
                        continue;
                    }
                    let labels = shard.labels(selection, id);
                    match self.spare.take() {
                        Some(mut spare) => {
                            spare.restart(labels);
                            spare
                        }
                        None => {
                            budget.take_cells(spec.grid.count)?;
                            SeriesProgress::new(labels, spec.grid.count)
                        }
                    }
                }
            };
            let notes = &mut self.output.notes;
            let done = match &self.mixed {
                Some(mixed) => evaluation.advance_mixed(&mut progress, mixed, notes, &mut left)?,
                None => evaluation.advance(&mut progress, &self.samples, notes, &mut left)?,
            };
            if !done {
                self.current = Some(progress);
                return Ok(false);
            }
            if progress.points() == 0 {
                self.spare = Some(progress);
                continue;
            }
            let Some(fold) = &spec.fold else {
                self.output.rows.push(progress.finish().0);
                continue;
            };
            let (row, partials) = (progress.row(), &mut self.output.partials);
            if row.histograms.is_some() && !fold.counts_only() {
                // The coordinator will ask again for all rows: the rest of this pass would be for nothing.
                partials.has_histograms = true;
                budget.give_back(progress.points());
                self.spare = Some(progress);
                return Ok(true);
            }
            partials.has_floats = partials.has_floats || row.has_floats();
            let group = partials.group(fold, &row.labels, spec.grid.count, budget)?;
            partials.fold(fold, group, &row.values, &row.present, budget)?;
            budget.give_back(progress.points());
            left = left.saturating_sub(progress.points());
            self.spare = Some(progress);
        }
        Ok(false)
    }
}

fn wanted_as_rows(kind: FragmentKind) -> bool {
    !matches!(kind, FragmentKind::Raw { .. })
}

impl ShardTask for FragmentTask {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        if self.nobody_waits() {
            return TaskState::Done;
        }
        match self.run(shard) {
            Ok(false) => TaskState::More,
            Ok(true) => {
                if self.spare.take().is_some() {
                    self.work.budget.give_back_cells(self.work.spec.grid.count);
                }
                let output = std::mem::take(&mut self.output);
                self.answer(Ok(output))
            }
            Err(e) => self.answer(Err(e)),
        }
    }
}
