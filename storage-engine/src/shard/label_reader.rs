//! Label names and values of a shard, over its blocks and its head.
//!
//! Promise: each once, ascending; only series count that may have samples in the range. Not here: samples.

use super::ShardReader;
use super::block_set::StoredBlock;
use super::selection::{damage_of, head_slots};
use crate::block::BlockError;
use crate::model::{Matcher, TimestampMs};
use crate::shard_api::{ReadNotes, TimeRange};
use hashbrown::HashSet;
use roaring::RoaringBitmap;
use std::collections::BTreeSet;

impl ShardReader<'_> {
    /// Distinct label names among series that pass `matchers` (all series when empty), ascending. What could not be
    /// looked at is said in `notes`.
    pub fn label_names(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        notes: &mut ReadNotes,
    ) -> Vec<String> {
        let mut names: BTreeSet<String> = self.head_label_names(matchers, range);
        self.each_block(range, notes, |stored| {
            names.extend(match matchers {
                [] => stored.block.label_names()?,
                _ => stored
                    .block
                    .label_names_of(&block_series(stored, matchers, range)?)?,
            });
            Ok(())
        });
        names.into_iter().collect()
    }

    /// Distinct values of label `name` among series that pass `matchers`, ascending. What could not be looked at is
    /// said in `notes`.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        notes: &mut ReadNotes,
    ) -> Vec<String> {
        let mut values: BTreeSet<String> = self.head_label_values(name, matchers, range);
        self.each_block(range, notes, |stored| {
            values.extend(match matchers {
                [] => stored.block.label_values(name)?,
                _ => stored
                    .block
                    .label_values_of(name, &block_series(stored, matchers, range)?)?,
            });
            Ok(())
        });
        values.into_iter().collect()
    }

    /// Calls `f` for each block that may have samples in `range`; errors and quarantined blocks become damage.
    fn each_block(
        &self,
        range: TimeRange,
        notes: &mut ReadNotes,
        mut f: impl FnMut(&StoredBlock) -> Result<(), BlockError>,
    ) {
        for quarantined in self.data.quarantined.iter().filter(|q| q.concerns(range)) {
            notes.note_damage(quarantined.text.clone());
        }
        for stored in self.data.blocks.iter().filter(|b| b.overlaps(range)) {
            if let Err(error) = f(stored) {
                notes.note_damage(damage_of(stored, &error));
            }
        }
    }

    fn head_label_names(&self, matchers: &[Matcher], range: TimeRange) -> BTreeSet<String> {
        let identity = &self.data.index.identity;
        let symbols = identity.symbols();
        let mut names: HashSet<u32> = HashSet::new();
        if matchers.is_empty() {
            if self.head_covers(range) {
                names.extend(self.data.index.postings.names().map(|(name, _)| name));
            }
        } else {
            let mut schemas: HashSet<u32> = HashSet::new();
            for slot in head_slots(self.data, self.data.head_from, matchers, range) {
                if let Some((schema, of_schema)) = identity.schema(slot)
                    && schemas.insert(schema)
                {
                    names.extend(of_schema);
                }
            }
        }
        owned(names.into_iter().map(|name| symbols.get(name)))
    }

    fn head_label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> BTreeSet<String> {
        let identity = &self.data.index.identity;
        let symbols = identity.symbols();
        let Some(name) = symbols.find(name) else {
            return BTreeSet::new();
        };
        let Some(values) = self.data.index.postings.values(name) else {
            return BTreeSet::new();
        };
        if matchers.is_empty() {
            if !self.head_covers(range) {
                return BTreeSet::new();
            }
            return owned(values.keys().map(|value| symbols.get(*value)));
        }
        let selected = head_slots(self.data, self.data.head_from, matchers, range);
        if selected.len() > (values.len() as u64).saturating_mul(8) {
            let found = values.iter().filter(|(_, list)| list.touches(&selected));
            return owned(found.map(|(value, _)| symbols.get(*value)));
        }
        let found: HashSet<u32> = selected
            .into_iter()
            .filter_map(|slot| identity.value_symbol(slot, name))
            .collect();
        owned(found.into_iter().map(|value| symbols.get(value)))
    }

    fn head_covers(&self, range: TimeRange) -> bool {
        let oldest = self.data.head_from;
        let overlaps = |(min, max): (TimestampMs, TimestampMs)| {
            min.max(oldest) <= range.max && max >= range.min.max(oldest)
        };
        let head = &self.data.head;
        let late = |slot: u32| head.overlaps_out_of_order(slot, range);
        self.time_range().is_some_and(overlaps) || head.out_of_order_slots().into_iter().any(late)
    }
}

/// Series of a block that pass all matchers and may have samples in `range`.
fn block_series(
    stored: &StoredBlock,
    matchers: &[Matcher],
    range: TimeRange,
) -> Result<RoaringBitmap, BlockError> {
    let mut series = stored.block.select(matchers)?;
    let meta = stored.block.meta();
    if range.min <= meta.min_time && range.max >= meta.max_time {
        return Ok(series);
    }
    let mut outside = RoaringBitmap::new();
    for ordinal in &series {
        if !stored.block.overlaps(ordinal, range)? {
            outside.insert(ordinal);
        }
    }
    series -= outside;
    Ok(series)
}

fn owned<'s>(texts: impl Iterator<Item = &'s str>) -> BTreeSet<String> {
    texts.map(str::to_owned).collect()
}
