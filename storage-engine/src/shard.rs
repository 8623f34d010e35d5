//! The shard: a synchronous state machine that owns its series, head, log buffer and index.
//!
//! Promise: no I/O, no clock, no threads in here: events and `now` come in, actions go out.

use crate::model::{Labels, Matcher, SampleColumns, TimestampMs};
use crate::shard_api::TimeRange;

/// A read view of one shard, valid for one slice of a task.
pub struct ShardReader<'a> {
    _shard: std::marker::PhantomData<&'a ()>,
}

impl ShardReader<'_> {
    /// Series (as slots, ascending) that pass all matchers and have samples that may lie in `range`.
    pub fn select(&self, _matchers: &[Matcher], _range: TimeRange) -> Vec<u32> {
        Vec::new()
    }
    /// The labels of a series.
    pub fn labels(&self, _series: u32) -> Labels {
        Labels::empty()
    }
    /// Appends the samples of `series` inside `range` to `out`, in time order.
    pub fn read(&self, _series: u32, _range: TimeRange, _out: &mut SampleColumns) {}
    /// Distinct label names among series that pass `matchers` (all series when empty), ascending.
    pub fn label_names(&self, _matchers: &[Matcher], _range: TimeRange) -> Vec<String> {
        Vec::new()
    }
    /// Distinct values of label `name` among series that pass `matchers`, ascending.
    pub fn label_values(
        &self,
        _name: &str,
        _matchers: &[Matcher],
        _range: TimeRange,
    ) -> Vec<String> {
        Vec::new()
    }
    /// Oldest and newest sample time in the shard.
    pub fn time_range(&self) -> Option<(TimestampMs, TimestampMs)> {
        None
    }
}
