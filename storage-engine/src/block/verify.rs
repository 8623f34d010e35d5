//! The whole of a block read and checked: every extent, every page, every list.
//!
//! Promise: a block that passes answers every question; one that fails says where. Not here: what is done about it.

use super::bytes::{Bad, Decoded};
use super::{Block, BlockError, block_order};
use crate::index::is_series;
use crate::model::{SampleColumns, TimestampMs};
use crate::shard_api::{ReadNotes, TimeRange};

impl Block {
    /// Reads and checks everything: each extent, each page, each list.
    pub fn verify(&self) -> Result<(), BlockError> {
        for number in 0..self.extents.count() {
            self.extents
                .check(&self.file, number)
                .map_err(|bad| BlockError::Damaged {
                    path: self.path.clone(),
                    what: format!("extent {number} of the pages: {bad}"),
                })?;
        }
        let everything = TimeRange {
            min: TimestampMs::MIN,
            max: TimestampMs::MAX,
        };
        let (mut floats, mut histogram_count) = (0, 0);
        let mut columns = SampleColumns::default();
        let mut native = Vec::new();
        let mut bytes = Vec::new();
        for ordinal in 0..self.meta.series {
            columns.clear();
            native.clear();
            let before = std::mem::take(&mut bytes);
            self.put_canonical(ordinal, &mut bytes)?;
            let mut notes = ReadNotes::default();
            self.read(ordinal, everything, &mut columns, &mut notes);
            self.read_histograms(ordinal, everything, &mut native, &mut notes);
            floats += columns.len() as u64;
            histogram_count += native.len() as u64;
            let ascends = columns.timestamps.windows(2).all(|w| w[0] < w[1])
                && native.windows(2).all(|w| w[0].0 < w[1].0);
            let ordered = ordinal == 0 || block_order(&before, &bytes).is_lt();
            let sound = is_series(&bytes);
            let fault = match notes.damage.into_iter().next() {
                Some(text) => Some(text),
                None if !ascends => Some("timestamps do not ascend".to_owned()),
                None if !ordered || !sound => Some("labels are out of order".to_owned()),
                None => None,
            };
            if let Some(fault) = fault {
                return Err(BlockError::Damaged {
                    path: self.path.clone(),
                    what: format!("series {ordinal}: {fault}"),
                });
            }
        }
        if (floats, histogram_count) != (self.meta.float_samples, self.meta.histogram_samples) {
            return Err(self.damaged(Bad("number of samples")));
        }
        self.verify_postings().map_err(|bad| self.damaged(bad))
    }

    fn verify_postings(&self) -> Decoded<()> {
        let mut labels = 0_u64;
        for index in 0..self.postings.name_count() {
            let name = self.postings.name(&self.file, index)?;
            self.postings
                .each_value(&self.file, &name, 0..u32::MAX, |value, list| {
                    for ordinal in list.to_bitmap()? {
                        labels += 1;
                        if self.value_symbol(ordinal, name.symbol)? != Some(value) {
                            return Err(Bad("postings name a series without the label"));
                        }
                    }
                    Ok(())
                })?;
        }
        let mut expected = 0;
        for ordinal in 0..self.meta.series {
            expected += self.label_count(ordinal)? as u64;
        }
        if labels != expected {
            return Err(Bad("postings miss a label of a series"));
        }
        Ok(())
    }
}
