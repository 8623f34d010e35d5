//! The oracle of exemplars: those that were sent, in the order of their sending, and what became of each.
//!
//! A shard keeps the newest so many, as they arrived. The client sends ascending times for each series and labels that nobody else has,
//! so that none is refused or passed over for its place among the others.

use crate::model::Ending;
use crate::tell::tell;
use std::collections::{BTreeMap, BTreeSet};
use storage_engine::model::Exemplar;

/// What a shard gives back: series, exemplar.
pub type FoundExemplars = Vec<(u32, Exemplar)>;

/// What is known of an exemplar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its request has no answer, or one that leaves it open.
    Possible,
    /// Acknowledged at this virtual time.
    Acknowledged(u64),
    /// Found at the start of this life.
    Kept,
    /// Others may have taken its place; should those be lost, it may come back.
    Displaced,
    /// Refused or lost: not to be seen again.
    Gone,
}

#[derive(Debug, Clone)]
struct Sent {
    series: u32,
    exemplar: Exemplar,
    /// The request of this life that brought it.
    request: Option<usize>,
    state: State,
}

/// All exemplars of a story.
#[derive(Debug, Clone, Default)]
pub struct Exemplars {
    /// Places of the shard; 0: none is kept, and none is sent.
    places: usize,
    sent: Vec<Sent>,
    newest: BTreeMap<u32, i64>,
}

impl Exemplars {
    /// Of a shard with so many places.
    pub fn with_places(places: usize) -> Exemplars {
        Exemplars {
            places,
            ..Exemplars::default()
        }
    }

    /// How many were ever sent.
    pub fn count(&self) -> usize {
        self.sent.len()
    }

    /// Time of the newest that was sent for a series.
    pub fn newest(&self, series: u32) -> Option<i64> {
        self.newest.get(&series).copied()
    }

    /// Some leave with a request.
    pub fn send(&mut self, request: usize, exemplars: &[(u32, Exemplar)]) {
        for (series, exemplar) in exemplars {
            self.newest.insert(*series, exemplar.timestamp);
            self.sent.push(Sent {
                series: *series,
                exemplar: exemplar.clone(),
                request: Some(request),
                state: State::Possible,
            });
        }
    }

    /// The answer to a request came; `refused` holds indices among its exemplars.
    pub fn acknowledge(&mut self, request: usize, refused: &BTreeSet<u32>, at: u64) {
        let of_request = self.sent.iter_mut().filter(|s| s.request == Some(request));
        for (index, sent) in of_request.enumerate() {
            sent.state = match refused.contains(&(index as u32)) {
                true => State::Gone,
                false => State::Acknowledged(at),
            };
        }
    }

    /// The whole request was refused.
    pub fn refuse(&mut self, request: usize) {
        let of_request = self.sent.iter_mut().filter(|s| s.request == Some(request));
        of_request.for_each(|sent| sent.state = State::Gone);
    }

    /// For each: is it there?
    fn places_of(&self, found: &FoundExemplars) -> Result<Vec<bool>, String> {
        let mut is_found = vec![false; self.sent.len()];
        for (series, exemplar) in found {
            let at = self.sent.iter().position(|sent| {
                sent.series == *series && sent.exemplar == *exemplar && sent.state != State::Gone
            });
            let Some(at) = at else {
                return Err(format!(
                    "invented: exemplar {exemplar:?} of series {series}"
                ));
            };
            if std::mem::replace(&mut is_found[at], true) {
                return Err(format!(
                    "exemplar {exemplar:?} of series {series} is there twice"
                ));
            }
        }
        Ok(is_found)
    }

    /// May others have taken the place of each?
    fn displaced(&self) -> Vec<bool> {
        let mut later = 0;
        let mut displaced: Vec<bool> = self
            .sent
            .iter()
            .rev()
            .map(|sent| {
                let is_displaced = later >= self.places;
                later += usize::from(sent.state != State::Gone);
                is_displaced
            })
            .collect();
        displaced.reverse();
        displaced
    }

    /// Is what a running or restarted shard gives what it must and may give? The log names series by references that die with the series'
    /// last sample in the head: `has_left` tells whether a series may have been without any, at or after a time.
    pub fn check(
        &self,
        found: &FoundExemplars,
        ending: Ending,
        has_left: impl Fn(u32, i64) -> bool,
    ) -> Result<(), String> {
        let is_found = self.places_of(found)?;
        let displaced = self.displaced();
        let mut end = usize::MAX;
        for ((sent, is_found), displaced) in self.sent.iter().zip(&is_found).zip(&displaced) {
            if *is_found || *displaced || has_left(sent.series, sent.exemplar.timestamp) {
                continue;
            }
            let may_go = match (sent.state, ending) {
                (State::Possible | State::Displaced | State::Gone, _) => continue,
                (State::Kept, _) | (State::Acknowledged(_), Ending::KeepsAll) => false,
                (State::Acknowledged(at), Ending::MayLoseAfter(bound)) => at >= bound,
            };
            if !may_go {
                let there: Vec<_> = found.iter().map(|(s, e)| (s, e.timestamp)).collect();
                let all = self.sent.iter().map(|s| (s.series, s.exemplar.timestamp));
                tell(|| format!("exemplars sent: {:?}", all.collect::<Vec<_>>()));
                return Err(format!("lost: {sent:?}, found {there:?}"));
            }
            end = end.min(sent.request.unwrap_or(usize::MAX));
        }
        for (sent, is_found) in self.sent.iter().zip(&is_found) {
            if *is_found && sent.request.is_some_and(|request| request > end) {
                return Err(format!(
                    "a hole: {sent:?} is there, one of request {end} is not"
                ));
            }
        }
        Ok(())
    }

    /// After damage: nothing but what was sent. What was lost may have come back with an older checkpoint.
    pub fn check_damaged(&self, found: &FoundExemplars) -> Result<(), String> {
        let is_sent = |(series, exemplar): &&(u32, Exemplar)| {
            let mut sent = self.sent.iter();
            sent.any(|sent| sent.series == *series && sent.exemplar == *exemplar)
        };
        match found.iter().find(|found| !is_sent(found)) {
            Some(invented) => Err(format!("invented by damage: exemplar {invented:?}")),
            None => Ok(()),
        }
    }

    /// The next life begins with what was found. `may_return`: what is not found may be found at a later start, because its series had left
    /// the head and comes back.
    pub fn restart(&mut self, found: &FoundExemplars, may_return: bool) -> Result<(), String> {
        let is_found = self.places_of(found)?;
        let displaced = self.displaced();
        for ((sent, is_found), displaced) in self.sent.iter_mut().zip(is_found).zip(displaced) {
            sent.request = None;
            sent.state = match (is_found, displaced) {
                (true, _) => State::Kept,
                (false, displaced) if (displaced || may_return) && sent.state != State::Gone => {
                    State::Displaced
                }
                (false, _) => State::Gone,
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_engine::model::Labels;

    fn exemplar(t: i64) -> (u32, Exemplar) {
        let exemplar = Exemplar {
            labels: Labels::from_pairs([("trace_id", t.to_string())]).unwrap(),
            value: 1.0,
            timestamp: t,
            timed: true,
        };
        (7, exemplar)
    }

    #[test]
    fn the_newest_must_be_there_and_nothing_else_may() {
        let mut oracle = Exemplars::with_places(2);
        for t in 1..=4 {
            oracle.send(t as usize, &[exemplar(t)]);
        }
        for request in [1, 2, 3] {
            oracle.acknowledge(request, &BTreeSet::new(), request as u64);
        }
        oracle.refuse(4);
        let stays = |_, _| false;
        let all = Ending::KeepsAll;
        assert!(
            oracle
                .check(&vec![exemplar(2), exemplar(3)], all, stays)
                .is_ok()
        );
        assert!(
            oracle.check(&vec![exemplar(3)], all, stays).is_err(),
            "lost"
        );
        assert!(oracle.check(&vec![exemplar(3)], all, |_, _| true).is_ok());
        let power = Ending::MayLoseAfter(3);
        assert!(oracle.check(&vec![exemplar(2)], power, stays).is_ok());
        assert!(
            oracle
                .check(
                    &vec![exemplar(1), exemplar(3)],
                    Ending::MayLoseAfter(2),
                    stays
                )
                .is_err(),
            "a hole"
        );
        for wrong in [4, 5] {
            let found = vec![exemplar(2), exemplar(3), exemplar(wrong)];
            assert!(oracle.check(&found, all, stays).is_err(), "invented");
        }
        assert!(
            oracle
                .check(&vec![exemplar(2), exemplar(3), exemplar(3)], all, stays)
                .is_err()
        );
        // What the power took stays away; what it made room for comes back.
        oracle
            .restart(&vec![exemplar(1), exemplar(2)], false)
            .unwrap();
        assert!(
            oracle
                .check(&vec![exemplar(1), exemplar(2)], all, stays)
                .is_ok()
        );
        assert!(
            oracle
                .check(&vec![exemplar(2), exemplar(3)], all, stays)
                .is_err()
        );
    }
}
