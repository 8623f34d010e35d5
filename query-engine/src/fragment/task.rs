//! The shard task that runs a fragment.

use super::loaded::Loaded;
use super::series::{SeriesEvaluation, SeriesProgress};
use super::{FragmentKind, FragmentOutput, FragmentSpec};
use crate::eval::budget::{Budget, Handed};
use crate::eval::error::EvalError;
use crate::eval::memory::{Held, raw_cost, row_cost};
use crate::explain::Clock;
use crate::limits::{SLICE_SAMPLES, SLICE_SERIES_SELECTED};
use std::sync::Arc;
use storage_engine::model::Matcher;
use storage_engine::shard::{Selecting, Selection, ShardReader};
use storage_engine::shard_api::{ShardTask, TaskState, TimeRange};
use tokio::sync::oneshot;

/// What is said of a series whose block cannot tell its labels.
const UNKNOWN_SERIES: &str =
    "the labels of a series cannot be read, its samples are missing: a block's index is damaged";

/// A fragment and the numbers it needs; shared by the tasks of all shards.
#[derive(Debug)]
pub(crate) struct FragmentWork {
    pub(crate) spec: FragmentSpec,
    /// Scalar arguments of the range function.
    pub(crate) scalars: Vec<Vec<f64>>,
    /// Their memory.
    #[expect(dead_code, reason = "gives the memory back when the fragment is done")]
    pub(crate) scalars_held: Held,
    pub(crate) budget: Arc<Budget>,
    /// Tells how long the turns of the shards take, where somebody wants to know.
    pub(crate) clock: Option<Clock>,
}

/// What travels back to the coordinator.
pub(crate) type FragmentReply = Result<FragmentOutput, EvalError>;

/// A fragment in one shard.
pub(crate) struct FragmentTask {
    work: Arc<FragmentWork>,
    reply: Option<oneshot::Sender<FragmentReply>>,
    /// The search for series, while it goes on.
    selecting: Option<Selecting>,
    selection: Option<Selection>,
    /// The series of the selection that comes next.
    next: usize,
    current: Option<SeriesProgress>,
    /// A finished row of a folded fragment, to be used again.
    spare: Option<SeriesProgress>,
    loaded: Loaded,
    /// The memory of `loaded`.
    scratch: Held,
    output: FragmentOutput,
}

impl FragmentTask {
    /// A task and where its answer will come; a task that is dropped unanswered closes the channel.
    pub(crate) fn new(work: Arc<FragmentWork>) -> (Self, oneshot::Receiver<FragmentReply>) {
        let (reply, receiver) = oneshot::channel();
        let scratch = Held::of(&work.budget);
        let output = FragmentOutput {
            held: Held::of(&work.budget),
            ..FragmentOutput::default()
        };
        let task = FragmentTask {
            work,
            reply: Some(reply),
            selecting: None,
            selection: None,
            next: 0,
            current: None,
            spare: None,
            loaded: Loaded::default(),
            scratch,
            output,
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

    /// A bounded piece of the search for series.
    fn select(&mut self, shard: &ShardReader<'_>, matchers: &[Matcher], range: TimeRange) {
        let mut selecting = match self.selecting.take() {
            Some(selecting) => selecting,
            None => shard.begin_select(matchers, range),
        };
        if !shard.go_on_selecting(&mut selecting, SLICE_SERIES_SELECTED) {
            self.selecting = Some(selecting);
            return;
        }
        let selection = selecting.finish();
        self.output.effort.series += selection.len() as u64;
        for text in selection.damage() {
            self.output.reads.note_damage(text.clone());
        }
        self.selection = Some(selection);
    }

    /// One bounded piece; true when all series are done.
    fn run(&mut self, shard: &ShardReader<'_>) -> Result<bool, EvalError> {
        let work = Arc::clone(&self.work);
        let (spec, budget) = (&work.spec, &*work.budget);
        budget.check()?;
        let range = spec.time_range();
        let Some(selection) = &self.selection else {
            self.select(shard, &spec.matchers, range);
            return Ok(false);
        };
        let evaluation = SeriesEvaluation {
            kind: spec.kind,
            reference: spec.reference,
            grid: spec.grid,
            scalars: &work.scalars,
            budget,
            stored: true,
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
                    let reads = &mut self.output.reads;
                    let loaded = &mut self.loaded;
                    let read = loaded.read(shard, (selection, id), spec, range, reads);
                    left = left.saturating_sub(read);
                    self.output.effort.samples += loaded.samples() as u64;
                    self.scratch.settle(loaded.bytes())?;
                    if loaded.is_empty() {
                        continue;
                    }
                    let labels = shard.labels(selection, id);
                    if labels.is_empty() {
                        reads.note_damage(UNKNOWN_SERIES.to_owned());
                        continue;
                    }
                    if let FragmentKind::Raw { .. } = spec.kind {
                        let series = loaded.take(labels, spec);
                        budget.take(series.samples())?;
                        self.output.held.take(raw_cost(&series))?;
                        let handed = Handed::new(series.samples());
                        budget.visit(handed);
                        budget.visit_step(spec.grid, 0, handed);
                        self.output.columns.push(series);
                        continue;
                    }
                    match self.spare.take() {
                        Some(mut spare) => {
                            spare.restart(labels);
                            spare
                        }
                        None => {
                            let mut held = Held::of(&work.budget);
                            held.take(row_cost(&labels, spec.grid.count))?;
                            SeriesProgress::new(labels, spec.grid.count, held)
                        }
                    }
                }
            };
            let notes = &mut self.output.notes;
            let floats = (&self.loaded.floats, self.loaded.starts.as_slice());
            let done = match &self.loaded.mixed {
                Some(mixed) => evaluation.advance_mixed(&mut progress, mixed, notes, &mut left)?,
                None => evaluation.advance(&mut progress, floats, notes, &mut left)?,
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
                let (row, _, held) = progress.finish();
                self.output.held.absorb(held);
                self.output.rows.push(row);
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
            let held = &mut self.output.held;
            let group = partials.group(fold, &row.labels, spec.grid.count, held)?;
            partials.fold(fold, group, &row.values, &row.present, budget)?;
            budget.give_back(progress.points());
            left = left.saturating_sub(progress.points());
            self.spare = Some(progress);
        }
        Ok(false)
    }
}

impl ShardTask for FragmentTask {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        if self.nobody_waits() {
            return TaskState::Done;
        }
        let began = self.work.clock.map(|clock| clock());
        let done = self.run(shard);
        self.output.effort.slices += 1;
        if let (Some(clock), Some(began)) = (self.work.clock, began) {
            self.output.effort.busy_ns += clock().saturating_sub(began);
        }
        match done {
            Ok(false) => TaskState::More,
            Ok(true) => {
                self.spare = None;
                let output = std::mem::take(&mut self.output);
                self.answer(Ok(output))
            }
            Err(e) => self.answer(Err(e)),
        }
    }
}
