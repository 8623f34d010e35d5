//! What a query did: its plan with the effort of each node (`explain=1`).
//!
//! Not here: how it is written (the gateway), who measures (`eval::coordinator`, `fragment`).

use crate::eval::value::Grid;

/// Monotonic nanoseconds, for who wants to know how long something took.
pub type Clock = fn() -> u64;

/// Where a node ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In every shard, next to the data.
    Shards,
    /// On the thread that drives the query.
    Coordinator,
}

impl Place {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Place::Shards => "shards",
            Place::Coordinator => "coordinator",
        }
    }
}

/// The nodes of a query in the order in which they were evaluated; the last one is the result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explanation {
    /// The nodes.
    pub nodes: Vec<NodeReport>,
    /// Most bytes that the query held at once.
    pub bytes_peak: u64,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeReport {
    /// What it does.
    pub operator: &'static str,
    /// To what, or how: the selector, the function, the grouping.
    pub detail: String,
    /// Where it ran.
    pub place: Place,
    /// Its inputs, by their place in [`Explanation::nodes`], all smaller than its own.
    pub inputs: Vec<usize>,
    /// An earlier node that computes the same, in place of which this one was not evaluated.
    pub same_as: Option<usize>,
    /// The steps at which it was evaluated.
    pub grid: Grid,
    /// Series of its result.
    pub series: u64,
    /// Samples of its result, histograms by their size.
    pub samples: u64,
    /// Bytes of its result.
    pub bytes: u64,
    /// Nanoseconds from when the coordinator came to it to when its result was there.
    pub duration_ns: u64,
    /// What the shards did for it.
    pub fragment: Option<FragmentReport>,
}

/// The work of all shards on one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FragmentReport {
    /// Series that the matchers chose.
    pub series_selected: u64,
    /// Samples that were decoded.
    pub samples_decoded: u64,
    /// Chunks of the heads and pages of the blocks that were decoded.
    pub pages_decoded: u64,
    /// Pages that time range or statistics made needless.
    pub pages_skipped: u64,
    /// Encoded bytes of what was decoded.
    pub bytes_read: u64,
    /// Turns of the shards that it took.
    pub slices: u64,
    /// Nanoseconds in those turns, all shards together.
    pub busy_ns: u64,
}
