//! The head read out in block order, in bounded pieces, while appends and queries go on.
//!
//! Slots are grouped by metric name first, so that only the labels of one group at a time are held while they are sorted; then the
//! samples come a piece at a time, each in slices of the shard's thread that are as short as those of a query.
//!
//! Promise: every series once, in `block_order`; memory stays at eight bytes a series, the labels of the largest metric and one piece.
//! Not here: what is done with the series (`seal`, `snapshot`).

use super::keeper::KeeperError;
use super::link::ShardLink;
use super::pace::Pace;
use crate::block::block_order;
use crate::limits::{PIECE_SAMPLES_MAX, PIECE_SERIES_MAX, SLICE_SAMPLES_MAX, SLICE_SERIES_MAX};
use crate::model::{LabelIter, METRIC_NAME, SeriesSamples};
use crate::shard::ShardReader;
use crate::shard_api::TimeRange;
use hashbrown::HashMap;
use std::sync::Arc;

/// Which samples of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Those of the series' chunks.
    InOrder,
    /// Those of the out-of-order buffers.
    OutOfOrder,
}

impl Part {
    fn read(self, shard: &ShardReader<'_>, slot: u32, range: TimeRange, out: &mut SeriesSamples) {
        match self {
            Part::InOrder => shard.read_head(slot, range, out),
            Part::OutOfOrder => shard.read_out_of_order(slot, range, out),
        }
    }
}

/// Series of whole metrics in block order: their labels back to back.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Slot, and where its labels are.
    series: Vec<(u32, usize, usize)>,
}

impl Batch {
    fn labels(&self, index: usize) -> &[u8] {
        let (_, from, to) = self.series[index];
        &self.bytes[from..to]
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        let labels = |s: &(u32, usize, usize)| &bytes[s.1..s.2];
        self.series
            .sort_unstable_by(|a, b| block_order(labels(a), labels(b)));
    }
}

/// Reads `part` of the head in `range`, giving each series that may have samples to `sink`, in block order.
pub(super) async fn read_head_in_order(
    link: &ShardLink,
    pace: &Pace,
    part: Part,
    range: TimeRange,
    mut sink: impl FnMut(&[u8], SeriesSamples) -> Result<(), KeeperError>,
) -> Result<(), KeeperError> {
    let slots = slots(link, part, range).await?;
    let grouped = group_by_metric(link, slots).await?;
    let mut rest = grouped.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(batch_length(rest));
        rest = later;
        let batch = sorted_batch(link, now.iter().map(|(_, slot)| *slot).collect()).await?;
        let batch = Arc::new(batch);
        let mut next = 0;
        while next < batch.series.len() {
            let piece = pull_piece(link, part, range, Arc::clone(&batch), next).await?;
            for samples in piece {
                sink(batch.labels(next), samples)?;
                next += 1;
            }
            pace.breathe(link.is_busy()).await?;
        }
    }
    Ok(())
}

/// Slots that may have samples of `part` in `range`.
pub(super) async fn slots(
    link: &ShardLink,
    part: Part,
    range: TimeRange,
) -> Result<Vec<u32>, KeeperError> {
    let mut found = Vec::new();
    let mut next: u32 = 0;
    let look = move |shard: &ShardReader<'_>| {
        if part == Part::OutOfOrder {
            return Some(shard.out_of_order_slots());
        }
        let count = shard.head_slot_count();
        let end = next.max(count.min(next.saturating_add(SLOTS_PER_SLICE)));
        found.append(&mut shard.head_slots_among(next..end, range));
        next = end;
        (next >= count).then(|| std::mem::take(&mut found))
    };
    Ok(link.look(look).await?)
}

/// Slots looked at in one slice, where nothing is read of them but their line.
const SLOTS_PER_SLICE: u32 = 8_192;

/// Slots with the rank of their metric name in block order, in that order.
async fn group_by_metric(
    link: &ShardLink,
    slots: Vec<u32>,
) -> Result<Vec<(u32, u32)>, KeeperError> {
    let mut groups: HashMap<String, u32> = HashMap::new();
    // The labels of one series of each group; the order of groups is that of any two of their series.
    let mut examples: Vec<Vec<u8>> = Vec::new();
    let mut grouped: Vec<(u32, u32)> = Vec::with_capacity(slots.len());
    let mut labels = Vec::new();
    let look = move |shard: &ShardReader<'_>| {
        let from = grouped.len();
        for &slot in slots.iter().skip(from).take(SLICE_SERIES_MAX) {
            labels.clear();
            shard.put_canonical(slot, &mut labels);
            let name = LabelIter::over_canonical(&labels)
                .find(|(name, _)| *name == METRIC_NAME)
                .map_or("", |(_, value)| value);
            let group = match groups.get(name) {
                Some(group) => *group,
                None => {
                    let group = examples.len() as u32;
                    groups.insert(name.to_owned(), group);
                    examples.push(labels.clone());
                    group
                }
            };
            grouped.push((group, slot));
        }
        (grouped.len() == slots.len())
            .then(|| (std::mem::take(&mut grouped), std::mem::take(&mut examples)))
    };
    let (mut grouped, examples) = link.look(look).await?;
    let mut order: Vec<u32> = (0..examples.len() as u32).collect();
    order.sort_unstable_by(|a, b| block_order(&examples[*a as usize], &examples[*b as usize]));
    let mut rank = vec![0; order.len()];
    for (place, group) in order.into_iter().enumerate() {
        rank[group as usize] = place as u32;
    }
    for (group, _) in &mut grouped {
        *group = rank[*group as usize];
    }
    grouped.sort_unstable();
    Ok(grouped)
}

/// How many of the slots make up whole groups of about a piece.
fn batch_length(grouped: &[(u32, u32)]) -> usize {
    let Some((group, _)) = grouped.get(PIECE_SERIES_MAX.min(grouped.len()) - 1) else {
        return grouped.len();
    };
    grouped.partition_point(|(g, _)| g <= group)
}

async fn sorted_batch(link: &ShardLink, slots: Vec<u32>) -> Result<Batch, KeeperError> {
    let mut batch = Batch::default();
    let look = move |shard: &ShardReader<'_>| {
        let from = batch.series.len();
        for &slot in slots.iter().skip(from).take(SLICE_SERIES_MAX) {
            let start = batch.bytes.len();
            shard.put_canonical(slot, &mut batch.bytes);
            batch.series.push((slot, start, batch.bytes.len()));
        }
        (batch.series.len() == slots.len()).then(|| std::mem::take(&mut batch))
    };
    let mut batch = link.look(look).await?;
    batch.sort();
    Ok(batch)
}

/// The samples of the series from `next` on, as many as make up a piece.
async fn pull_piece(
    link: &ShardLink,
    part: Part,
    range: TimeRange,
    batch: Arc<Batch>,
    next: usize,
) -> Result<Vec<SeriesSamples>, KeeperError> {
    let mut piece: Vec<SeriesSamples> = Vec::new();
    let mut samples_in_piece = 0;
    let look = move |shard: &ShardReader<'_>| {
        let mut samples_in_slice = 0;
        for _ in 0..SLICE_SERIES_MAX {
            let Some((slot, _, _)) = batch.series.get(next + piece.len()) else {
                return Some(std::mem::take(&mut piece));
            };
            let mut samples = SeriesSamples::default();
            part.read(shard, *slot, range, &mut samples);
            samples_in_slice += samples.len();
            samples_in_piece += samples.len();
            piece.push(samples);
            if samples_in_piece >= PIECE_SAMPLES_MAX || piece.len() >= PIECE_SERIES_MAX {
                return Some(std::mem::take(&mut piece));
            }
            if samples_in_slice >= SLICE_SAMPLES_MAX {
                break;
            }
        }
        None
    };
    Ok(link.look(look).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_whole_groups() {
        let groups = |lengths: &[usize]| -> Vec<(u32, u32)> {
            let of = |(group, length): (usize, &usize)| vec![(group as u32, 0); *length];
            lengths.iter().enumerate().flat_map(of).collect()
        };
        assert_eq!(batch_length(&groups(&[3, 4])), 7);
        assert_eq!(
            batch_length(&groups(&[PIECE_SERIES_MAX, 4])),
            PIECE_SERIES_MAX
        );
        assert_eq!(
            batch_length(&groups(&[10, PIECE_SERIES_MAX * 3, 4])),
            10 + PIECE_SERIES_MAX * 3
        );
    }
}
