//! Deletions in the head: in-order samples are covered by tombstones, late ones are taken out.
//!
//! A range is cut to the samples that the series has now, as in Prometheus: what comes later is not deleted. A deletion
//! is logged, and applied again in the order of the log.
//! Not here: deletions in blocks, who asks.

use super::commit::Reliance;
use super::{Action, Shard};
use crate::model::Matcher;
use crate::shard_api::{AppendError, AppendOutcome, TimeRange};
use crate::wal::tombstones::{LoggedTombstone, encode_tombstones_record};

impl Shard {
    /// Deletes what matches and lies in `range` from the head, and logs it. The answer to `request` waits for the log;
    /// [`AppendOutcome::accepted`] is the number of series that had samples there.
    pub fn delete_from_head(
        &mut self,
        matchers: &[Matcher],
        range: TimeRange,
        request: u64,
        actions: &mut Vec<Action>,
    ) {
        let refusal = match self.commits.failure() {
            _ if self.stopping => Some(AppendError::Stopped),
            Some(error) => Some(AppendError::Log(error.to_owned())),
            None => None,
        };
        if let Some(error) = refusal {
            actions.push(Action::Reply {
                request,
                result: Err(error),
            });
            return;
        }
        let mut deleted = Vec::new();
        for slot in self.data.index.select(matchers) {
            let Some(present) = self.data.head.series_range(slot) else {
                continue;
            };
            let tombstone = LoggedTombstone {
                series: self.data.head.reference(slot),
                range: TimeRange {
                    min: range.min.max(present.min),
                    max: range.max.min(present.max),
                },
            };
            if tombstone.range.min <= tombstone.range.max {
                self.data.head.delete(slot, tombstone.range);
                self.data.changes.note(tombstone.range.min);
                deleted.push(tombstone);
            }
        }
        let (lsn, log) = self.commits.pending_records();
        encode_tombstones_record(log, lsn, &deleted);
        let reliance = match deleted.len() {
            0 => Reliance::Nothing,
            _ => Reliance::OwnRecords,
        };
        self.counters.series_deleted_from += deleted.len() as u64;
        let outcome = AppendOutcome {
            accepted: deleted.len() as u32,
            ..AppendOutcome::default()
        };
        self.commits.add_waiter(request, outcome, reliance, actions);
    }

    /// Brings back the deletions of one record. Returns how many were of series that are not there.
    pub fn replay_tombstones(&mut self, tombstones: &[LoggedTombstone]) -> u64 {
        let mut unknown = 0;
        for tombstone in tombstones {
            if self.data.head.is_known(tombstone.series) {
                let head = &mut self.data.head;
                head.delete(tombstone.series.index, tombstone.range);
            } else {
                self.name_slot(tombstone.series);
                unknown += 1;
            }
        }
        unknown
    }
}
