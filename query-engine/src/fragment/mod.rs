//! The part of a query that runs next to the data: one selector, evaluated series by series inside every shard.
//!
//! Promise: a slice does a bounded piece of work, whatever the size of a series; the sample limit and the cancel flag are looked at in
//! every slice. Rows come back with all their labels; names are the coordinator's.
//! Not here: sending and gathering (`exchange`), operators.

pub(crate) mod exchange;
pub(crate) mod fold;
mod loaded;
pub(crate) mod mixed;
pub(crate) mod series;
mod task;

use crate::eval::memory::{Held, raw_cost, rows_cost};
use crate::eval::value::{Grid, Row};
use crate::kernels::{Edges, KernelNotes, MixedFunction, RangeKernel};
use crate::plan::Reference;
use fold::{FoldSpec, Partials};
use mixed::RawSeries;
use storage_engine::model::{Matcher, TimestampMs};
use storage_engine::shard_api::{ReadNotes, TimeRange, TimeWindows};

/// What a fragment computes from the samples of one series.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FragmentKind {
    /// Of the newest sample at each step, no older than `lookback`, what `pick` says.
    Instant { lookback: i64, pick: Pick },
    /// The value at each step on the line between its neighbours, neither further away than `lookback`.
    Smoothed { lookback: i64 },
    /// A range function over the window of each step.
    Window {
        range: i64,
        /// How much further than its window it looks.
        reach: Reach,
        kernel: RangeKernel,
        /// The same function over native histograms.
        mixed: MixedFunction,
    },
    /// The samples of the only step's window.
    Raw {
        range: i64,
        reach: Reach,
        edges: Option<Edges>,
    },
}

/// How far a range looks beyond its edges, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) before: i64,
    pub(crate) after: i64,
}

impl Reach {
    /// The window that is looked at, from its left edge (not inside) to its right one.
    pub(crate) fn widen(self, start: TimestampMs, end: TimestampMs) -> (TimestampMs, TimestampMs) {
        (
            start.saturating_sub(self.before),
            end.saturating_add(self.after),
        )
    }
}

/// What an instant selector wants of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The sample.
    Sample,
    /// Its time, seconds.
    Time,
    /// Its time, seconds, of floats only: histograms come as they are.
    FloatTime,
    /// When its counting began, seconds; 0 when that is not known.
    Start,
}

/// A selector and what to do with its samples.
#[derive(Debug, Clone)]
pub(crate) struct FragmentSpec {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) reference: Reference,
    pub(crate) grid: Grid,
    pub(crate) kind: FragmentKind,
    /// Read start timestamps too.
    pub(crate) starts: bool,
    /// Of native histograms only counts and sums matter: resets are told by hints.
    pub(crate) histogram_stats: bool,
    /// Send groups in place of rows.
    pub(crate) fold: Option<FoldSpec>,
}

impl FragmentSpec {
    /// Times of the samples that can matter, both ends inclusive.
    pub(crate) fn time_range(&self) -> TimeRange {
        let (back, ahead) = match self.kind {
            FragmentKind::Instant { lookback, .. } => (lookback, 0),
            FragmentKind::Smoothed { lookback } => (lookback, lookback),
            FragmentKind::Window { range, reach, .. } | FragmentKind::Raw { range, reach, .. } => {
                (range.saturating_add(reach.before), reach.after)
            }
        };
        TimeRange {
            // Windows are open on the left.
            min: self
                .reference
                .time(self.grid.start)
                .saturating_sub(back)
                .saturating_add(1),
            max: self.reference.time(self.grid.last()).saturating_add(ahead),
        }
    }

    /// The windows of the steps, in [`Self::time_range`].
    pub(crate) fn time_windows(&self) -> TimeWindows {
        let range = self.time_range();
        let first = self.reference.time(self.grid.start);
        let moved = self.reference.time(self.grid.last()).saturating_sub(first);
        let width = range.max.saturating_sub(range.min).saturating_add(1);
        match moved {
            // All steps look at one window.
            ..=0 => range.into(),
            moved => TimeWindows {
                range,
                width: width.saturating_sub(moved),
                step: self.grid.step,
            },
        }
    }

    /// Do both compute the same? Their scalar arguments are not looked at.
    pub(crate) fn is_same(&self, other: &FragmentSpec) -> bool {
        let same_kind = match (self.kind, other.kind) {
            (
                FragmentKind::Instant { lookback, pick },
                FragmentKind::Instant {
                    lookback: l,
                    pick: p,
                },
            ) => lookback == l && pick == p,
            (FragmentKind::Smoothed { lookback }, FragmentKind::Smoothed { lookback: l }) => {
                lookback == l
            }
            // Two kernels may share an address only if they do the same.
            (
                FragmentKind::Window {
                    range,
                    reach,
                    kernel,
                    mixed,
                },
                FragmentKind::Window {
                    range: r,
                    reach: e,
                    kernel: k,
                    mixed: m,
                },
            ) => range == r && reach == e && mixed == m && std::ptr::fn_addr_eq(kernel, k),
            _ => false,
        };
        same_kind
            && self.starts == other.starts
            && self.histogram_stats == other.histogram_stats
            && self.fold == other.fold
            && self.reference == other.reference
            && self.grid == other.grid
            && self.matchers == other.matchers
    }
}

/// What a shard sends back.
#[derive(Debug, Default)]
pub(crate) struct FragmentOutput {
    /// Rows with at least one number.
    pub(crate) rows: Vec<Row>,
    /// Samples of a [`FragmentKind::Raw`] fragment.
    pub(crate) columns: Vec<RawSeries>,
    /// Groups of a folded fragment.
    pub(crate) partials: Partials,
    /// What the kernel noted.
    pub(crate) notes: KernelNotes,
    /// What the shards touched, and what they could not read.
    pub(crate) reads: ReadNotes,
    /// How much work it was.
    pub(crate) effort: Effort,
    /// The memory of rows, columns and groups.
    pub(crate) held: Held,
}

impl FragmentOutput {
    /// Bytes of rows, columns and groups.
    pub(crate) fn cost(&self) -> usize {
        let columns: usize = self.columns.iter().map(raw_cost).sum();
        rows_cost(&self.rows) + columns + self.partials.bytes()
    }
}

/// Work of the shards on a fragment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Series that the matchers chose.
    pub(crate) series: u64,
    /// Samples that were decoded.
    pub(crate) samples: u64,
    /// Turns of the shard that it took.
    pub(crate) slices: u64,
    /// Nanoseconds in those turns, where there is a clock.
    pub(crate) busy_ns: u64,
}

impl Effort {
    /// Adds another shard's.
    pub(crate) fn merge(&mut self, other: Effort) {
        self.series += other.series;
        self.samples += other.samples;
        self.slices += other.slices;
        self.busy_ns += other.busy_ns;
    }
}
