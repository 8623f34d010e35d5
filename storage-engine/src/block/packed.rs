//! Tables of whole numbers with random access: groups of 256, each over a base of its own at a width of its own.
//!
//! Layout: `u32` count, then for each group 16 bytes (`u64` base; `u64` with the width in the top byte and the offset of the group's data in
//! the others), then the data: entry `i` of a group at bit `i * width`, then eight zero bytes.
//! Promise: a table that [`Table::open`] has accepted gives every entry below its count; reading outside is an error. Not here: checksums.

use super::bytes::{Bad, Cursor, Decoded, word_at};

/// Entries of a group.
const GROUP: usize = 256;
const HEAD_BYTES: usize = 16;
const WIDTH_SHIFT: u32 = 56;
/// Zeros behind the data, so that the last entry can be loaded whole.
const ROOM_BYTES: usize = 8;

/// Appends a table of `numbers`.
pub(super) fn put(numbers: &[u64], out: &mut Vec<u8>) {
    put_column(numbers, |n| *n, out);
}

/// Appends a table of what `number` makes of the entries of a column that is kept in another form.
pub(super) fn put_column<T>(column: &[T], number: impl Fn(&T) -> u64, out: &mut Vec<u8>) {
    let count = u32::try_from(column.len());
    let count = count.unwrap_or_else(|_| unreachable!("BUG: a table of 2^32 entries"));
    out.extend_from_slice(&count.to_le_bytes());
    let mut data = Vec::new();
    for group in column.chunks(GROUP) {
        let least = group.iter().map(&number).min().unwrap_or_default();
        let most = group.iter().map(&number).max().unwrap_or_default();
        let width = 64 - (most - least).leading_zeros();
        let place = data.len() as u64 | u64::from(width) << WIDTH_SHIFT;
        out.extend_from_slice(&least.to_le_bytes());
        out.extend_from_slice(&place.to_le_bytes());
        let mut word = 0_u128;
        let mut have = 0;
        for entry in group {
            word |= u128::from(number(entry) - least) << have;
            have += width;
            while have >= 8 {
                data.push(word as u8);
                word >>= 8;
                have -= 8;
            }
        }
        if have > 0 {
            data.push(word as u8);
        }
    }
    out.extend_from_slice(&data);
    out.extend_from_slice(&[0; ROOM_BYTES]);
}

/// Where a table lies in the file, checked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Table {
    count: u32,
    heads: usize,
    data: usize,
    end: usize,
}

impl Table {
    /// Reads and checks the table at the cursor, which stands at offset `base` + its position of the file.
    pub(super) fn open(base: usize, cursor: &mut Cursor<'_>) -> Decoded<Table> {
        let mut count = [0; 4];
        count.copy_from_slice(cursor.take(4)?);
        let count = u32::from_le_bytes(count);
        let heads_at = base + cursor.position();
        let groups = (count as usize).div_ceil(GROUP);
        let heads = cursor.take(groups * HEAD_BYTES)?;
        let mut behind = 0_usize;
        for group in 0..groups {
            let place = word_at(heads, group * HEAD_BYTES + 8);
            let (width, at) = split(place);
            let entries = GROUP.min(count as usize - group * GROUP);
            if width > 64 || at != behind {
                return Err(Bad("table of numbers out of order"));
            }
            behind = at + (entries * width as usize).div_ceil(8);
        }
        let data = base + cursor.position();
        cursor.take(behind)?;
        cursor.take(ROOM_BYTES)?;
        Ok(Table {
            count,
            heads: heads_at,
            data,
            end: data + behind + ROOM_BYTES,
        })
    }

    /// Number of entries.
    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// Entry `index`; `file` is what the table was opened in.
    #[inline]
    pub(super) fn get(&self, file: &[u8], index: u32) -> Decoded<u64> {
        if index >= self.count {
            return Err(Bad("no such entry"));
        }
        let (group, entry) = (index as usize / GROUP, index as usize % GROUP);
        let head = self.heads + group * HEAD_BYTES;
        let (width, at) = split(word_at(file, head + 8));
        let base = word_at(file, head);
        if width == 0 {
            return Ok(base);
        }
        let bit = entry * width as usize;
        let (byte, shift) = (self.data + at + bit / 8, (bit % 8) as u32);
        debug_assert!(byte < self.end);
        let mut number = word_at(file, byte) >> shift;
        if shift + width > 64 {
            number |= word_at(file, byte + 8) << (64 - shift);
        }
        Ok(base.wrapping_add(number & (u64::MAX >> (64 - width))))
    }

    /// Entry `index` as a number of 32 bits.
    #[inline]
    pub(super) fn small(&self, file: &[u8], index: u32) -> Decoded<u32> {
        u32::try_from(self.get(file, index)?).map_err(|_| Bad("number too large"))
    }

    /// The first entry that is not below `wanted`, in a table that ascends.
    pub(super) fn lower_bound(&self, file: &[u8], wanted: u64) -> Decoded<u32> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(file, middle)? < wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

fn split(place: u64) -> (u32, usize) {
    let offset = place & ((1 << WIDTH_SHIFT) - 1);
    ((place >> WIDTH_SHIFT) as u32, offset as usize)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    #[test]
    fn entries_come_back() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let count = random.below(700);
            let width = random.below(65) as u32;
            let numbers: Vec<u64> = (0..count)
                .map(|_| random.next().checked_shr(width).unwrap_or(0))
                .collect();
            let mut bytes = vec![9, 9, 9];
            put(&numbers, &mut bytes);
            let mut cursor = Cursor::new(&bytes[3..]);
            let table = Table::open(3, &mut cursor).unwrap();
            cursor.finish().unwrap();
            for (i, n) in numbers.iter().enumerate() {
                assert_eq!(table.get(&bytes, i as u32), Ok(*n));
            }
            assert!(table.get(&bytes, count as u32).is_err());
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            let mut bytes = Vec::new();
            put(&sorted, &mut bytes);
            let table = Table::open(0, &mut Cursor::new(&bytes)).unwrap();
            for n in numbers.iter().take(20) {
                let at = sorted.partition_point(|s| s < n) as u32;
                assert_eq!(table.lower_bound(&bytes, *n), Ok(at));
            }
        }
    }

    #[test]
    fn damage_is_an_error_or_other_numbers() {
        let numbers: Vec<u64> = (0..600).map(|i| i * 3 % 1000).collect();
        let mut bytes = Vec::new();
        put(&numbers, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(table) = Table::open(0, &mut Cursor::new(&damaged)) {
                for i in [0, 255, 256, 599, 600] {
                    let _ = table.get(&damaged, i);
                }
            }
        }
    }
}
