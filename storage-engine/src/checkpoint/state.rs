//! The payload of a section of state: what holds for the whole shard, and which pages of sealed chunks are its.

use super::format::{Malformed, PayloadReader, put_varint};
use crate::model::TimestampMs;

/// Where a page of sealed chunks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageHome {
    /// In this checkpoint.
    Here,
    /// In the file whose first page has this number.
    File(u64),
}

/// What holds for the whole shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardState {
    /// The log's number of the last record that the checkpoint covers.
    pub(crate) lsn: u64,
    /// Above every slot that was ever used.
    pub(crate) next_slot: u32,
    /// Least generation of series that are created later.
    pub(crate) generation: u32,
    /// In-order samples before this have left the head.
    pub(crate) truncated_before: TimestampMs,
}

/// A section of state: the shard's, and its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) shard: ShardState,
    /// Pages, ascending by number.
    pub(super) pages: Vec<(u64, PageHome)>,
}

impl State {
    /// Files of pages that the checkpoint needs.
    pub(super) fn files(&self) -> Vec<u64> {
        let mut files: Vec<u64> = self
            .pages
            .iter()
            .filter_map(|(_, home)| match home {
                PageHome::Here => None,
                PageHome::File(first) => Some(*first),
            })
            .collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.shard.lsn);
        put_varint(out, u64::from(self.shard.next_slot));
        put_varint(out, u64::from(self.shard.generation));
        out.extend_from_slice(&self.shard.truncated_before.to_le_bytes());
        put_varint(out, self.pages.len() as u64);
        let mut next = 0;
        for (sequence, home) in &self.pages {
            put_varint(out, sequence - next);
            match home {
                PageHome::Here => put_varint(out, 0),
                PageHome::File(first) => put_varint(out, first + 1),
            }
            next = sequence + 1;
        }
    }

    pub(super) fn read(payload: &[u8]) -> Result<State, Malformed> {
        let mut reader = PayloadReader(payload);
        let shard = ShardState {
            lsn: reader.varint()?,
            next_slot: reader.small()?,
            generation: reader.small()?,
            truncated_before: reader.i64()?,
        };
        let mut pages = Vec::new();
        let mut next = 0_u64;
        for _ in 0..reader.small()? {
            let sequence = next.checked_add(reader.varint()?);
            let sequence = sequence
                .filter(|s| *s < u64::MAX)
                .ok_or_else(|| reader.malformed())?;
            next = sequence + 1;
            let home = match reader.varint()? {
                0 => PageHome::Here,
                first => PageHome::File(first - 1),
            };
            pages.push((sequence, home));
        }
        match reader.is_empty() {
            true => Ok(State { shard, pages }),
            false => Err(reader.malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_goes_there_and_back() {
        let state = State {
            shard: ShardState {
                lsn: 1 << 40,
                next_slot: 77,
                generation: 3,
                truncated_before: -5,
            },
            pages: vec![
                (3, PageHome::File(0)),
                (4, PageHome::File(0)),
                (9, PageHome::File(9)),
                (10, PageHome::Here),
            ],
        };
        let mut bytes = Vec::new();
        state.put(&mut bytes);
        assert_eq!(State::read(&bytes), Ok(state.clone()));
        assert_eq!(state.files(), [0, 9]);
        for end in 0..bytes.len() {
            assert!(State::read(&bytes[..end]).is_err());
        }
    }
}
