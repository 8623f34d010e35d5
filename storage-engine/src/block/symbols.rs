//! All label names and values of a block, sorted, so that the order of their numbers is the order of the texts.
//!
//! Layout: a table of where each group of 16 starts, then the groups: each text as the number of bytes that it shares with the one before (0 at
//! the start of a group), the number of bytes that follow, and these. A prefix is a range of numbers, found by binary search.
//! Promise: texts come back as they were; numbers that do not exist are errors. Not here: which numbers a series has.

use super::bytes::{Bad, Cursor, Decoded, put_varint};
use super::packed::{self, Table};
use std::ops::Range;

/// Texts of a group.
const GROUP: usize = 16;

/// Appends the section of ascending, distinct texts.
pub(super) fn put_section(texts: &[&str], out: &mut Vec<u8>) {
    let mut starts = Vec::new();
    let mut data = Vec::new();
    let mut before: &str = "";
    for (i, text) in texts.iter().enumerate() {
        let mut shared = 0;
        if i % GROUP == 0 {
            starts.push(data.len() as u64);
        } else {
            shared = shared_bytes(before, text);
        }
        put_varint(&mut data, shared as u64);
        put_varint(&mut data, (text.len() - shared) as u64);
        data.extend_from_slice(&text.as_bytes()[shared..]);
        before = text;
    }
    out.extend_from_slice(&(texts.len() as u32).to_le_bytes());
    packed::put(&starts, out);
    out.extend_from_slice(&data);
}

fn shared_bytes(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count()
}

/// The section, opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Symbols {
    count: u32,
    starts: Table,
    data: usize,
    end: usize,
}

impl Symbols {
    pub(super) fn open(base: usize, cursor: &mut Cursor<'_>) -> Decoded<Symbols> {
        let mut count = [0; 4];
        count.copy_from_slice(cursor.take(4)?);
        let count = u32::from_le_bytes(count);
        let starts = Table::open(base, cursor)?;
        let data = base + cursor.position();
        cursor.rest();
        if starts.len() as usize != (count as usize).div_ceil(GROUP) {
            return Err(Bad("groups of symbols"));
        }
        Ok(Symbols {
            count,
            starts,
            data,
            end: base + cursor.position(),
        })
    }

    /// A reader of single texts.
    pub(super) fn reader<'a>(&self, file: &'a [u8]) -> SymbolReader<'a> {
        SymbolReader {
            symbols: *self,
            file,
            group: Cursor::new(&[]),
            next: u32::MAX,
            text: Vec::new(),
        }
    }

    fn group<'a>(&self, file: &'a [u8], group: u32) -> Decoded<Cursor<'a>> {
        let start = usize::try_from(self.starts.get(file, group)?).unwrap_or(usize::MAX);
        file.get(self.data..self.end)
            .and_then(|data| data.get(start..))
            .map(Cursor::new)
            .ok_or(Bad("symbols out of reach"))
    }

    /// The number of the first text that is not below `wanted`.
    fn lower_bound(&self, file: &[u8], wanted: &[u8]) -> Decoded<u32> {
        // Groups whose first text is not above `wanted` come first.
        let (mut low, mut high) = (0, self.starts.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let mut group = self.group(file, middle)?;
            group.varint()?;
            let length = group.count(1)?;
            if group.take(length)? <= wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(group) = low.checked_sub(1) else {
            return Ok(0);
        };
        let mut reader = self.reader(file);
        let first = group * GROUP as u32;
        for number in first..self.count.min(first + GROUP as u32) {
            if reader.bytes(number)? >= wanted {
                return Ok(number);
            }
        }
        Ok(self.count.min(first + GROUP as u32))
    }

    /// The number of a text.
    pub(super) fn find(&self, file: &[u8], text: &str) -> Decoded<Option<u32>> {
        let number = self.lower_bound(file, text.as_bytes())?;
        if number < self.count && self.reader(file).bytes(number)? == text.as_bytes() {
            return Ok(Some(number));
        }
        Ok(None)
    }

    /// Numbers of the texts that begin with `prefix`.
    pub(super) fn with_prefix(&self, file: &[u8], prefix: &str) -> Decoded<Range<u32>> {
        let start = self.lower_bound(file, prefix.as_bytes())?;
        // The least byte string that is above all that begin with the prefix: 0xff is in no UTF-8.
        let mut behind = prefix.as_bytes().to_vec();
        behind.push(0xff);
        Ok(start..self.lower_bound(file, &behind)?)
    }
}

/// Reads texts by number; ascending numbers cost least.
pub(super) struct SymbolReader<'a> {
    symbols: Symbols,
    file: &'a [u8],
    group: Cursor<'a>,
    /// The number that the cursor stands in front of; the text holds the one before.
    next: u32,
    text: Vec<u8>,
}

impl SymbolReader<'_> {
    fn bytes(&mut self, number: u32) -> Decoded<&[u8]> {
        if number >= self.symbols.count {
            return Err(Bad("no such symbol"));
        }
        let group = number / GROUP as u32;
        let already = self.next == number.wrapping_add(1);
        if !already && (self.next > number || self.next.div_ceil(GROUP as u32) != group + 1) {
            self.group = self.symbols.group(self.file, group)?;
            self.next = group * GROUP as u32;
            self.text.clear();
        }
        while self.next <= number {
            let shared = self.group.small()? as usize;
            let length = self.group.count(1)?;
            let bytes = self.group.take(length)?;
            if shared > self.text.len() {
                return Err(Bad("symbol shares more than there is"));
            }
            self.text.truncate(shared);
            self.text.extend_from_slice(bytes);
            self.next += 1;
        }
        Ok(&self.text)
    }

    /// Text `number`.
    pub(super) fn get(&mut self, number: u32) -> Decoded<&str> {
        std::str::from_utf8(self.bytes(number)?).map_err(|_| Bad("symbol is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    #[test]
    fn texts_come_back_and_are_found() {
        for seed in 0..60 {
            let mut random = Random::new(seed);
            let count = random.below(200);
            let mut texts: Vec<String> = (0..count)
                .map(|_| {
                    let length = random.below(12);
                    (0..length)
                        .map(|_| ['a', 'b', 'é', '\u{10ffff}', '0'][random.below(5) as usize])
                        .collect()
                })
                .collect();
            texts.sort();
            texts.dedup();
            let refs: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut bytes = vec![1; 5];
            put_section(&refs, &mut bytes);
            let symbols = Symbols::open(5, &mut Cursor::new(&bytes[5..])).unwrap();
            assert_eq!(symbols.count as usize, texts.len());
            let mut reader = symbols.reader(&bytes);
            for (i, text) in texts.iter().enumerate() {
                assert_eq!(reader.get(i as u32), Ok(text.as_str()));
                assert_eq!(symbols.find(&bytes, text), Ok(Some(i as u32)));
                let missing = format!("{text}!");
                assert_eq!(symbols.find(&bytes, &missing).unwrap(), None);
            }
            for _ in 0..300 {
                if texts.is_empty() {
                    break;
                }
                let i = random.below(texts.len() as u64) as usize;
                assert_eq!(reader.get(i as u32), Ok(texts[i].as_str()));
            }
            for prefix in ["", "a", "ab", "é", "\u{10ffff}", "zz", "0a"] {
                let range = symbols.with_prefix(&bytes, prefix).unwrap();
                let expected: Vec<u32> = (0..texts.len())
                    .filter(|i| texts[*i].starts_with(prefix))
                    .map(|i| i as u32)
                    .collect();
                assert_eq!(range.collect::<Vec<_>>(), expected, "{prefix:?}");
            }
            assert!(reader.get(texts.len() as u32).is_err());
        }
    }
}
