//! Streams of whole numbers: a prediction, and what is left of it packed in mini-blocks of 64.
//!
//! Layout: a form byte; if its divisor bit is set, the first number (signed varint) and the divisor (varint), by which all distances from the
//! first number are divided; then by form
//! - plain: least number; each number is stored as its distance from it;
//! - steps: first number; each step in zigzag;
//! - steps over a base: first number, least step; each step as its distance from the least;
//! - steps of steps: first number, first step; each change of the step in zigzag;
//! - constant: the number, nothing else.
//!
//! A mini-block: `u8` width (top bit: it has exceptions), the low bits of each entry packed, then, if it has exceptions, `u8` how many,
//! and for each `u8` position and varint high bits. All arithmetic wraps, so every column of `i64` has a form.
//! Promise: decoding gives the numbers that were encoded, or an error; it reads nothing outside the cursor's bytes.

use super::bitpack::{LANES, pack, packed_bytes, unpack};
use super::bytes::{Bad, Cursor, Decoded, put_signed, put_varint, unzigzag, zigzag};

const PLAIN: u8 = 0;
const STEPS: u8 = 1;
const STEPS_OF_STEPS: u8 = 2;
const STEPS_OVER_BASE: u8 = 3;
const CONSTANT: u8 = 4;
/// Bit of the form byte: distances are divided.
const DIVIDED: u8 = 0x10;
/// Top bit of a width byte: exceptions follow.
const EXCEPTIONS: u8 = 0x80;
/// Larger divisors are not looked for: there are none in practice, and they would not pay.
const DIVISOR_MAX: u64 = 1 << 40;

/// Memory that encoding uses again and again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    entries: Vec<u64>,
    best_entries: Vec<u64>,
    divided: Vec<i64>,
    candidate: Vec<u8>,
    best: Vec<u8>,
}

/// Appends the shortest form of `numbers`, of which there must be one at least.
pub(super) fn encode(numbers: &[i64], scratch: &mut Scratch, out: &mut Vec<u8>) {
    let Some(&first) = numbers.first() else {
        unreachable!("BUG: an empty column has no form");
    };
    if numbers.iter().all(|n| *n == first) {
        out.push(CONSTANT);
        put_signed(out, first);
        return;
    }
    let divisor = common_divisor(numbers);
    if divisor == 1 {
        choose(numbers, scratch);
        out.extend_from_slice(&scratch.best);
        return;
    }
    let mut divided = std::mem::take(&mut scratch.divided);
    divided.clear();
    divided.extend(
        numbers
            .iter()
            .map(|n| n.wrapping_sub(first) / divisor as i64),
    );
    choose(&divided, scratch);
    scratch.divided = divided;
    let Some((form, rest)) = scratch.best.split_first() else {
        unreachable!("BUG: no form was chosen");
    };
    out.push(form | DIVIDED);
    put_signed(out, first);
    put_varint(out, divisor);
    out.extend_from_slice(rest);
}

/// The divisor that all distances from the first number have in common, or 1 where dividing would not give the numbers back.
fn common_divisor(numbers: &[i64]) -> u64 {
    let first = numbers[0];
    let mut divisor = 0_u64;
    for &number in numbers {
        let Some(distance) = number.checked_sub(first) else {
            return 1;
        };
        let distance = distance.unsigned_abs();
        if distance != 0 && (divisor == 0 || !distance.is_multiple_of(divisor)) {
            divisor = greatest_common_divisor(distance, divisor);
            if divisor == 1 {
                return 1;
            }
        }
    }
    if divisor < DIVISOR_MAX {
        divisor.max(1)
    } else {
        1
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Leaves the shortest form in `scratch.best`.
fn choose(numbers: &[i64], scratch: &mut Scratch) {
    scratch.best.clear();
    // Only the sizes are compared; the one that wins is packed.
    let mut best_bytes = 0;
    for form in [STEPS_OF_STEPS, STEPS_OVER_BASE, STEPS, PLAIN] {
        let candidate = &mut scratch.candidate;
        candidate.clear();
        candidate.push(form);
        if put_form(form, numbers, &mut scratch.entries, candidate) {
            let bytes = candidate.len() + entry_bytes(&scratch.entries);
            if scratch.best.is_empty() || bytes < best_bytes {
                best_bytes = bytes;
                std::mem::swap(candidate, &mut scratch.best);
                std::mem::swap(&mut scratch.entries, &mut scratch.best_entries);
            }
        }
    }
    put_entries(&scratch.best_entries, &mut scratch.best);
}

/// Writes the leading numbers of `form` and leaves the entries in `entries`; `false` if the column is too short for the form.
fn put_form(form: u8, numbers: &[i64], entries: &mut Vec<u64>, out: &mut Vec<u8>) -> bool {
    entries.clear();
    let first = numbers[0];
    let steps = numbers.windows(2).map(|w| w[1].wrapping_sub(w[0]));
    match form {
        PLAIN => {
            let least = numbers.iter().copied().min().unwrap_or(first);
            put_signed(out, least);
            entries.extend(numbers.iter().map(|n| n.wrapping_sub(least) as u64));
        }
        STEPS => {
            put_signed(out, first);
            entries.extend(steps.map(zigzag));
        }
        STEPS_OVER_BASE => {
            let Some(least) = steps.clone().min() else {
                return false;
            };
            put_signed(out, first);
            put_signed(out, least);
            entries.extend(steps.map(|s| s.wrapping_sub(least) as u64));
        }
        _ => {
            let mut steps = steps;
            let Some(mut before) = steps.next() else {
                return false;
            };
            put_signed(out, first);
            put_signed(out, before);
            entries.extend(steps.map(|step| {
                let change = step.wrapping_sub(before);
                before = step;
                zigzag(change)
            }));
        }
    }
    true
}

/// Bytes of the entries as mini-blocks, at most.
fn entry_bytes(entries: &[u64]) -> usize {
    entries
        .chunks(LANES)
        .map(|part| 1 + best_width(part).2)
        .sum()
}

/// Appends entries as mini-blocks.
fn put_entries(entries: &[u64], out: &mut Vec<u8>) {
    for part in entries.chunks(LANES) {
        let mut lanes = [0; LANES];
        lanes[..part.len()].copy_from_slice(part);
        let (width, exceptions, _) = best_width(part);
        let flag = if exceptions > 0 { EXCEPTIONS } else { 0 };
        out.push(width as u8 | flag);
        pack(&lanes, part.len(), width, out);
        if exceptions > 0 {
            out.push(exceptions as u8);
            for (i, entry) in part.iter().enumerate() {
                let high = entry >> width;
                if high != 0 {
                    out.push(i as u8);
                    put_varint(out, high);
                }
            }
        }
    }
}

/// The width at which a mini-block is shortest, how many entries are wider, and its bytes behind the width byte, at most. Exceptions only come with widths below 64.
fn best_width(part: &[u64]) -> (u32, usize, usize) {
    let mut of_width = [0_usize; 65];
    let mut widest = 0;
    for entry in part {
        let width = 64 - entry.leading_zeros();
        of_width[width as usize] += 1;
        widest = widest.max(width);
    }
    let (mut best, mut best_bytes) = ((64, 0), usize::MAX);
    let (mut exceptions, mut exception_bytes) = (0, 0);
    for width in (0..=widest).rev() {
        let patches = if exceptions > 0 {
            1 + exception_bytes
        } else {
            0
        };
        let bytes = packed_bytes(part.len(), width) + patches;
        if bytes <= best_bytes {
            best_bytes = bytes;
            best = (width, exceptions);
        }
        // Entries of just this width are exceptions for the next narrower one; their high bits grow with each step, which is counted
        // roughly: one byte for each seven bits of the width where they became exceptions.
        let more = of_width[width as usize];
        exceptions += more;
        exception_bytes += more * (1 + (width as usize).div_ceil(7));
    }
    (best.0, best.1, best_bytes)
}

/// Decodes as many numbers as `out` has room for.
pub(super) fn decode(cursor: &mut Cursor<'_>, out: &mut [i64]) -> Decoded<()> {
    let form = cursor.byte()?;
    if form & DIVIDED == 0 {
        return decode_form(form, cursor, out);
    }
    let first = cursor.signed()?;
    let divisor = cursor.varint()?;
    if !(2..DIVISOR_MAX).contains(&divisor) {
        return Err(Bad("divisor out of range"));
    }
    decode_form(form & !DIVIDED, cursor, out)?;
    for number in out {
        *number = number.wrapping_mul(divisor as i64).wrapping_add(first);
    }
    Ok(())
}

fn decode_form(form: u8, cursor: &mut Cursor<'_>, out: &mut [i64]) -> Decoded<()> {
    let first = cursor.signed()?;
    let Some((place, rest)) = out.split_first_mut() else {
        return Err(Bad("empty column"));
    };
    match form {
        CONSTANT => out.fill(first),
        PLAIN => each_mini_block(cursor, out, |entries, part| {
            for (number, entry) in part.iter_mut().zip(entries) {
                *number = first.wrapping_add(*entry as i64);
            }
        })?,
        STEPS => {
            *place = first;
            let mut number = first;
            each_mini_block(cursor, rest, |entries, part| {
                for (slot, entry) in part.iter_mut().zip(entries) {
                    number = number.wrapping_add(unzigzag(*entry));
                    *slot = number;
                }
            })?;
        }
        STEPS_OVER_BASE => {
            let base = cursor.signed()?;
            *place = first;
            let mut number = first;
            each_mini_block(cursor, rest, |entries, part| {
                for (slot, entry) in part.iter_mut().zip(entries) {
                    number = number.wrapping_add(base).wrapping_add(*entry as i64);
                    *slot = number;
                }
            })?;
        }
        STEPS_OF_STEPS => {
            let mut step = cursor.signed()?;
            *place = first;
            let Some((second, rest)) = rest.split_first_mut() else {
                return Err(Bad("column too short for its form"));
            };
            let mut number = first.wrapping_add(step);
            *second = number;
            each_mini_block(cursor, rest, |entries, part| {
                for (slot, entry) in part.iter_mut().zip(entries) {
                    step = step.wrapping_add(unzigzag(*entry));
                    number = number.wrapping_add(step);
                    *slot = number;
                }
            })?;
        }
        _ => return Err(Bad("unknown form of a column")),
    }
    Ok(())
}

/// Unpacks mini-block after mini-block for the places of `out`.
#[inline(always)]
fn each_mini_block(
    cursor: &mut Cursor<'_>,
    out: &mut [i64],
    mut put: impl FnMut(&[u64; LANES], &mut [i64]),
) -> Decoded<()> {
    let mut entries = [0; LANES];
    for part in out.chunks_mut(LANES) {
        let tag = cursor.byte()?;
        let width = u32::from(tag & !EXCEPTIONS);
        if width > 64 {
            return Err(Bad("width beyond 64 bits"));
        }
        let bytes = cursor.take_with_room(packed_bytes(part.len(), width))?;
        unpack(bytes, width, &mut entries);
        if tag & EXCEPTIONS != 0 {
            patch(cursor, width, part.len(), &mut entries)?;
        }
        put(&entries, part);
    }
    Ok(())
}

fn patch(
    cursor: &mut Cursor<'_>,
    width: u32,
    count: usize,
    entries: &mut [u64; LANES],
) -> Decoded<()> {
    let exceptions = usize::from(cursor.byte()?);
    if width == 64 || exceptions == 0 || exceptions > count {
        return Err(Bad("impossible exceptions"));
    }
    let mut behind = 0;
    for _ in 0..exceptions {
        let position = usize::from(cursor.byte()?);
        let high = cursor.varint()?;
        if position < behind || position >= count {
            return Err(Bad("exception outside its mini-block"));
        }
        behind = position + 1;
        if high == 0 || high > u64::MAX >> width {
            return Err(Bad("exception beyond 64 bits"));
        }
        entries[position] |= high << width;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
