//! Sorting that can be stopped: in pieces that are merged, with looks at the cancel flag.
//!
//! Promise: stable, like the standard library's sort. Not here: by what (`functions::order`, the labels of a result).

use super::error::EvalError;
use super::memory::Work;
use crate::limits::SORT_PIECE;
use std::cmp::Ordering;

/// Sorts `items`. Beyond one piece it needs the memory of the items themselves once more.
pub(crate) fn sort_by<T>(
    items: Vec<T>,
    work: &mut Work,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, EvalError> {
    let mut items = items;
    // Comparing costs more than touching a cell.
    const COMPARISON: usize = 8;
    if items.len() <= SORT_PIECE || items.is_sorted_by(|a, b| compare(a, b) != Ordering::Greater) {
        work.tick(items.len() * COMPARISON)?;
        items.sort_by(compare);
        return Ok(items);
    }
    work.take(2 * size_of::<T>() * items.len())?;
    let mut runs: Vec<Vec<T>> = Vec::with_capacity(items.len().div_ceil(SORT_PIECE));
    let mut rest = items.into_iter();
    loop {
        let mut piece: Vec<T> = rest.by_ref().take(SORT_PIECE).collect();
        if piece.is_empty() {
            break;
        }
        work.tick(piece.len() * COMPARISON)?;
        piece.sort_by(&compare);
        runs.push(piece);
    }
    while runs.len() > 1 {
        let mut merged = Vec::with_capacity(runs.len().div_ceil(2));
        let mut pairs = runs.into_iter();
        while let Some(left) = pairs.next() {
            merged.push(match pairs.next() {
                Some(right) => merge(left, right, work, &compare)?,
                None => left,
            });
        }
        runs = merged;
    }
    Ok(runs.pop().unwrap_or_default())
}

fn merge<T>(
    left: Vec<T>,
    right: Vec<T>,
    work: &mut Work,
    compare: &impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, EvalError> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        work.tick(1)?;
        let next = match compare(a, b) {
            Ordering::Greater => right.next(),
            _ => left.next(),
        };
        out.extend(next);
    }
    out.extend(left);
    out.extend(right);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::budget::{Budget, CancelToken};
    use std::sync::Arc;

    fn numbers(count: u64) -> Vec<(u64, u64)> {
        (0..count)
            .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58, i))
            .collect()
    }

    #[test]
    fn sorts_like_the_standard_library_whatever_the_length() {
        for count in [0, 1, 8_192, 8_193, 20_000, 41_000] {
            let mut want = numbers(count);
            want.sort_by_key(|a| a.0);
            let got = sort_by(numbers(count), &mut Work::default(), |a, b| a.0.cmp(&b.0));
            assert_eq!(got, Ok(want), "{count}");
        }
    }

    #[test]
    fn stops_in_the_middle() {
        let token = CancelToken::new();
        let budget = Arc::new(Budget::new(1, token.clone()));
        token.time_out();
        let got = sort_by(numbers(100_000), &mut Work::of(&budget), |a, b| {
            a.0.cmp(&b.0)
        });
        assert_eq!(got, Err(EvalError::Timeout));
    }
}
