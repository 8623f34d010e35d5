//! Matchers to series: set algebra over the distinct values of each label.
//!
//! A matcher that the empty string fails needs the label: its series are the union over the values that pass. One that
//! the empty string passes removes the series of the values that fail. The cheapest sets come first; once few series
//! are left, a matcher is tried on their own values instead of on all values of the label.
//! Promise: the result is what testing each series' labels one by one would give.

use super::Index;
use super::postings::{List, ValueLists};
use crate::model::{MatchOp, Matcher, ValueTest};
use roaring::{MultiOps, RoaringBitmap};

/// Distinct values per candidate series beyond which a matcher is tried on the candidates themselves.
const VALUES_PER_CANDIDATE: u64 = 2;

impl Index {
    /// Slots whose labels pass all matchers.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let symbols = self.identity.symbols();
        // Literals first: they are one look-up each and narrow most.
        let mut literals: Vec<&List> = Vec::new();
        let mut rest: Vec<&Matcher> = Vec::new();
        for matcher in matchers {
            match matcher.literal() {
                Some(value) if !value.is_empty() => {
                    let list = symbols
                        .find(&matcher.name)
                        .and_then(|name| self.postings.values(name))
                        .and_then(|values| values.get(&symbols.find(value)?));
                    match list {
                        Some(list) => literals.push(list),
                        None => return RoaringBitmap::new(),
                    }
                }
                _ => rest.push(matcher),
            }
        }
        literals.sort_by_key(|list| list.len());
        let mut set = match literals.split_first() {
            Some((first, others)) => {
                let mut set = RoaringBitmap::new();
                first.union_into(&mut set);
                for list in others {
                    list.intersect_into(&mut set);
                }
                Some(set)
            }
            None => None,
        };
        // Then those that need the label, then those that only remove.
        rest.sort_by_key(|m| m.matches_empty());
        for matcher in rest {
            let mut current = match set.take() {
                Some(current) => current,
                None if !matcher.matches_empty() => {
                    set = Some(self.union(matcher));
                    continue;
                }
                None => self.postings.all().clone(),
            };
            if !current.is_empty() {
                self.narrow(matcher, &mut current);
            }
            set = Some(current);
        }
        set.unwrap_or_else(|| self.postings.all().clone())
    }

    /// Values of the matcher's label.
    fn values_of(&self, matcher: &Matcher) -> Option<(u32, &ValueLists)> {
        let name = self.identity.symbols().find(&matcher.name)?;
        Some((name, self.postings.values(name)?))
    }

    /// The series of all values that pass; for a matcher that the empty string fails.
    fn union(&self, matcher: &Matcher) -> RoaringBitmap {
        let Some((_, values)) = self.values_of(matcher) else {
            return RoaringBitmap::new();
        };
        let mut set = RoaringBitmap::new();
        let mut bitmaps = Vec::new();
        self.for_each_value(matcher, values, true, |list| match list.bitmap() {
            Some(bitmap) => bitmaps.push(bitmap),
            None => list.union_into(&mut set),
        });
        set | bitmaps.union()
    }

    /// Takes from `set` what `matcher` does not pass.
    fn narrow(&self, matcher: &Matcher, set: &mut RoaringBitmap) {
        let empty_passes = matcher.matches_empty();
        let Some((name, values)) = self.values_of(matcher) else {
            if !empty_passes {
                set.clear();
            }
            return;
        };
        if values.len() as u64 > set.len().saturating_mul(VALUES_PER_CANDIDATE)
            && matcher.alternatives().is_none()
        {
            let symbols = self.identity.symbols();
            set.retain(|slot| match self.identity.value_symbol(slot, name) {
                Some(value) => matcher.matches(symbols.get(value)),
                None => empty_passes,
            });
        } else if empty_passes {
            self.for_each_value(matcher, values, false, |list| list.subtract_from(set));
        } else {
            let passing = self.union(matcher);
            *set &= passing;
        }
    }

    /// Calls `f` with the list of each value for which the matcher says `wanted`.
    fn for_each_value<'a>(
        &'a self,
        matcher: &Matcher,
        values: &'a ValueLists,
        wanted: bool,
        mut f: impl FnMut(&'a List),
    ) {
        let symbols = self.identity.symbols();
        // An alternation names its values: `a|b` passing or `!~ "a|b"` failing needs only these.
        let positive = matches!(matcher.op, MatchOp::Equal | MatchOp::Regex);
        if let Some(alternatives) = matcher.alternatives()
            && positive == wanted
        {
            for value in alternatives {
                if let Some(list) = symbols.find(value).and_then(|v| values.get(&v)) {
                    f(list);
                }
            }
            return;
        }
        let test: &ValueTest = matcher.test();
        for (value, list) in values {
            if (test.passes(symbols.get(*value)) == positive) == wanted {
                f(list);
            }
        }
    }
}

#[cfg(test)]
mod tests;
