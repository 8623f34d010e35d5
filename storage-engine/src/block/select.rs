//! Matchers to series of a block: set algebra over the distinct values of each label.
//!
//! As in the head's index: literals first, then matchers that need their label, then those that only remove; once few series are left, a matcher
//! is tried on their own values. Symbols are sorted, so a prefix is a range of values and nothing outside it is looked at.
//! Promise: the result is what testing each series' labels one by one would give.

use super::Block;
use super::bytes::Decoded;
use super::postings::{List, Name};
use crate::model::{MatchOp, Matcher, ValueTest};
use roaring::RoaringBitmap;
use std::ops::Range;

/// Distinct values per candidate series beyond which a matcher is tried on the candidates themselves.
const VALUES_PER_CANDIDATE: u64 = 2;

impl Block {
    /// Ordinals whose labels pass all matchers.
    pub(super) fn selected(&self, matchers: &[Matcher]) -> Decoded<RoaringBitmap> {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.meta.series);
        let mut literals: Vec<List<'_>> = Vec::new();
        let mut rest: Vec<&Matcher> = Vec::new();
        for matcher in matchers {
            match matcher.literal() {
                Some(value) if !value.is_empty() => {
                    let Some(list) = self.literal(&matcher.name, value)? else {
                        return Ok(RoaringBitmap::new());
                    };
                    literals.push(list);
                }
                _ => rest.push(matcher),
            }
        }
        literals.sort_by_key(|list| list.count);
        let mut set: Option<RoaringBitmap> = None;
        for list in literals {
            let series = list.to_bitmap()?;
            set = Some(match set {
                Some(set) => set & series,
                None => series,
            });
        }
        rest.sort_by_key(|m| m.matches_empty());
        for matcher in rest {
            let mut current = match set.take() {
                Some(current) => current,
                None if !matcher.matches_empty() => {
                    set = Some(self.union(matcher)?);
                    continue;
                }
                None => all.clone(),
            };
            if !current.is_empty() {
                self.narrow(matcher, &mut current)?;
            }
            set = Some(current);
        }
        Ok(set.unwrap_or(all))
    }

    /// The list of a label, if any series has it.
    fn literal(&self, name: &str, value: &str) -> Decoded<Option<List<'_>>> {
        let Some(name) = self.name(name)? else {
            return Ok(None);
        };
        match self.symbols.find(&self.file, value)? {
            Some(value) => self.postings.list(&self.file, &name, value),
            None => Ok(None),
        }
    }

    /// Postings of a label name.
    pub(super) fn name(&self, name: &str) -> Decoded<Option<Name>> {
        match self.symbols.find(&self.file, name)? {
            Some(symbol) => self.postings.find_name(&self.file, symbol),
            None => Ok(None),
        }
    }

    /// The series of all values that pass; for a matcher that the empty string fails.
    fn union(&self, matcher: &Matcher) -> Decoded<RoaringBitmap> {
        let mut set = RoaringBitmap::new();
        if let Some(name) = self.name(&matcher.name)? {
            self.each_list(matcher, &name, true, |list| list.union_into(&mut set))?;
        }
        Ok(set)
    }

    /// Takes from `set` what `matcher` does not pass.
    fn narrow(&self, matcher: &Matcher, set: &mut RoaringBitmap) -> Decoded<()> {
        let empty_passes = matcher.matches_empty();
        let Some(name) = self.name(&matcher.name)? else {
            if !empty_passes {
                set.clear();
            }
            return Ok(());
        };
        let few = u64::from(name.values) > set.len().saturating_mul(VALUES_PER_CANDIDATE);
        if few && matcher.alternatives().is_none() {
            let mut symbols = self.symbols.reader(&self.file);
            let mut passing = RoaringBitmap::new();
            for ordinal in set.iter() {
                let passes = match self.value_symbol(ordinal, name.symbol)? {
                    Some(value) => matcher.matches(symbols.get(value)?),
                    None => empty_passes,
                };
                if passes {
                    passing.insert(ordinal);
                }
            }
            *set = passing;
        } else if empty_passes {
            let mut failing = RoaringBitmap::new();
            self.each_list(matcher, &name, false, |list| list.union_into(&mut failing))?;
            *set -= failing;
        } else {
            *set &= self.union(matcher)?;
        }
        Ok(())
    }

    /// Calls `f` with the list of each value for which the matcher says `wanted`.
    fn each_list<'a>(
        &'a self,
        matcher: &Matcher,
        name: &Name,
        wanted: bool,
        mut f: impl FnMut(List<'a>) -> Decoded<()>,
    ) -> Decoded<()> {
        let file: &[u8] = &self.file;
        // An alternation names its values: `a|b` passing or `!~ "a|b"` failing needs only these.
        let positive = matches!(matcher.op, MatchOp::Equal | MatchOp::Regex);
        let direct = positive == wanted;
        if let Some(alternatives) = matcher.alternatives()
            && direct
        {
            for value in alternatives {
                if let Some(symbol) = self.symbols.find(file, value)?
                    && let Some(list) = self.postings.list(file, name, symbol)?
                {
                    f(list)?;
                }
            }
            return Ok(());
        }
        let test = matcher.test();
        let range = match test {
            ValueTest::Ends { prefix, .. } if direct => self.symbols.with_prefix(file, prefix)?,
            _ => 0..u32::MAX,
        };
        self.each_passing(
            name,
            range,
            |value| (test.passes(value) == positive) == wanted,
            f,
        )
    }

    fn each_passing<'a>(
        &'a self,
        name: &Name,
        range: Range<u32>,
        passes: impl Fn(&str) -> bool,
        mut f: impl FnMut(List<'a>) -> Decoded<()>,
    ) -> Decoded<()> {
        let mut symbols = self.symbols.reader(&self.file);
        self.postings
            .each_value(&self.file, name, range, |value, list| {
                if passes(symbols.get(value)?) {
                    f(list)?;
                }
                Ok(())
            })
    }
}
