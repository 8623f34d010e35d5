//! Start timestamps of a block: the lists of runs that series have, each different list once.
//!
//! Layout: a table with the list of each series (0: none, else its number plus one; empty if no series has one), a table of where each list
//! starts, then the lists: number of runs, and for each run the sample time from which it holds and the start timestamp, both as signed
//! distances (from the block's oldest sample and from the sample time for the first, from the run before for others).
//! Not here: what a start timestamp means.

use super::bytes::{Bad, Cursor, Decoded, put_signed, put_varint};
use super::packed::{self, Table};
use crate::model::TimestampMs;
use crate::shard_api::TimeRange;
use hashbrown::HashMap;

/// A run: from this sample time on, this start timestamp (0: none).
pub(super) type Run = (TimestampMs, TimestampMs);

/// Collects lists while a block is written.
#[derive(Debug, Default)]
pub(super) struct StartsWriter {
    lists: Vec<Vec<Run>>,
    number_of: HashMap<Vec<Run>, u64>,
    of_series: Vec<u64>,
}

impl StartsWriter {
    /// Adds the runs of the next series.
    pub(super) fn add(&mut self, runs: &[Run]) {
        if runs.is_empty() {
            self.of_series.push(0);
            return;
        }
        let number = match self.number_of.get(runs) {
            Some(&number) => number,
            None => {
                self.lists.push(runs.to_vec());
                let number = self.lists.len() as u64;
                self.number_of.insert(runs.to_vec(), number);
                number
            }
        };
        self.of_series.push(number);
    }

    /// Appends the section.
    pub(super) fn put_section(&self, min_time: TimestampMs, out: &mut Vec<u8>) {
        let of_series: &[u64] = if self.lists.is_empty() {
            &[]
        } else {
            &self.of_series
        };
        packed::put(of_series, out);
        let (mut starts, mut data) = (Vec::new(), Vec::new());
        for list in &self.lists {
            starts.push(data.len() as u64);
            put_varint(&mut data, list.len() as u64);
            let mut before = (min_time, 0);
            for (i, &(time, start)) in list.iter().enumerate() {
                put_signed(&mut data, time.wrapping_sub(before.0));
                let base = if i == 0 { time } else { before.1 };
                put_signed(&mut data, start.wrapping_sub(base));
                before = (time, start);
            }
        }
        packed::put(&starts, out);
        out.extend_from_slice(&data);
    }
}

/// The section, opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Starts {
    min_time: TimestampMs,
    of_series: Table,
    starts: Table,
    data: usize,
    end: usize,
}

impl Starts {
    pub(super) fn open(
        base: usize,
        cursor: &mut Cursor<'_>,
        series: u32,
        min_time: TimestampMs,
    ) -> Decoded<Starts> {
        let of_series = Table::open(base, cursor)?;
        let starts = Table::open(base, cursor)?;
        let data = base + cursor.position();
        cursor.rest();
        if of_series.len() != 0 && of_series.len() != series {
            return Err(Bad("start timestamps of another number of series"));
        }
        Ok(Starts {
            min_time,
            of_series,
            starts,
            data,
            end: base + cursor.position(),
        })
    }

    /// Appends the runs that hold in `range`; the one that began before it begins with it.
    pub(super) fn read(
        &self,
        file: &[u8],
        ordinal: u32,
        range: TimeRange,
        out: &mut Vec<Run>,
    ) -> Decoded<()> {
        if self.of_series.len() == 0 {
            return Ok(());
        }
        let Some(list) = self.of_series.small(file, ordinal)?.checked_sub(1) else {
            return Ok(());
        };
        let start = usize::try_from(self.starts.get(file, list)?).unwrap_or(usize::MAX);
        let bytes = file
            .get(self.data..self.end)
            .and_then(|data| data.get(start..))
            .ok_or(Bad("start timestamps out of reach"))?;
        let mut cursor = Cursor::new(bytes);
        let count = cursor.count(2)?;
        let mut before = (self.min_time, 0);
        let mut covering = None;
        for i in 0..count {
            let time = before.0.wrapping_add(cursor.signed()?);
            let base = if i == 0 { time } else { before.1 };
            let start = base.wrapping_add(cursor.signed()?);
            before = (time, start);
            if time <= range.min {
                covering = Some((range.min, start));
            } else if time <= range.max {
                out.extend(covering.take());
                out.push((time, start));
            } else {
                break;
            }
        }
        out.extend(covering);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_come_back() {
        let mut writer = StartsWriter::default();
        let lists: [&[Run]; 5] = [
            &[(10, 5), (20, 0), (30, i64::MAX)],
            &[],
            &[(10, 5), (20, 0), (30, i64::MAX)],
            &[(i64::MIN, 1)],
            &[(40, 39)],
        ];
        for list in lists {
            writer.add(list);
        }
        assert_eq!(writer.lists.len(), 3);
        let mut bytes = Vec::new();
        writer.put_section(10, &mut bytes);
        let starts = Starts::open(0, &mut Cursor::new(&bytes), 5, 10).unwrap();
        let read = |ordinal, min, max| {
            let mut out = Vec::new();
            let range = TimeRange { min, max };
            starts.read(&bytes, ordinal, range, &mut out).unwrap();
            out
        };
        assert_eq!(read(0, 0, 100), lists[0]);
        assert_eq!(read(2, 10, 30), lists[0]);
        assert_eq!(read(0, 15, 20), [(15, 5), (20, 0)]);
        assert_eq!(read(0, 0, 9), []);
        assert_eq!(read(0, 35, 40), [(35, i64::MAX)]);
        assert_eq!(read(1, 0, 100), []);
        assert_eq!(read(3, 0, 100), [(0, 1)]);
        let none = StartsWriter::default();
        let mut bytes = Vec::new();
        none.put_section(10, &mut bytes);
        let starts = Starts::open(0, &mut Cursor::new(&bytes), 5, 10).unwrap();
        let mut out = Vec::new();
        let all = TimeRange { min: 0, max: 100 };
        starts.read(&bytes, 4, all, &mut out).unwrap();
        assert_eq!(out, []);
    }
}
