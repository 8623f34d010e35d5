//! When a group is due: slots of its interval, shifted by a hash of its name, so that groups spread out and restarts keep their times.
//!
//! Everything is nanoseconds since the epoch, as Prometheus counts it: the two agree on every slot.

use crate::limits::ITERATIONS_MISSED_MAX;
use storage_engine::model::Labels;

/// Nanoseconds in a millisecond.
pub const NS_PER_MS: i64 = 1_000_000;

/// The hash that spreads groups: Prometheus's, of the labels `file` and `name`.
pub fn group_hash(file: &str, name: &str) -> u64 {
    Labels::from_pairs([("file", file), ("name", name)])
        .unwrap_or_default()
        .prometheus_hash()
}

/// The slot at or before `now_ns` of a group with this hash. `interval_ns` is positive.
pub fn slot_before(now_ns: i64, hash: u64, interval_ns: i64) -> i64 {
    let interval_ns = interval_ns.max(1);
    let offset = (hash % interval_ns.unsigned_abs()) as i64;
    let shifted = now_ns.wrapping_sub(offset);
    shifted - shifted % interval_ns + offset
}

/// What a tick at `now_ns` means after the slot `last_ns`: how many slots in between went by unused, and the slot that is due.
pub fn next_slot(now_ns: i64, last_ns: i64, interval_ns: i64) -> (i64, i64) {
    let interval_ns = interval_ns.max(1);
    let passed = now_ns.saturating_sub(last_ns) / interval_ns;
    let missed = (passed - 1).clamp(0, ITERATIONS_MISSED_MAX);
    (
        missed,
        last_ns.saturating_add((missed + 1).saturating_mul(interval_ns)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn slots_are_shifted_by_the_hash_and_never_in_the_future() {
        let hash = 7 * S as u64 + 3;
        for now in [0, 1, 59 * S, 60 * S, 1_700_000_000 * S + 5] {
            let slot = slot_before(now + 120 * S, hash, 60 * S);
            assert!(slot <= now + 120 * S && slot > now + 60 * S, "{now}");
            assert_eq!(slot % (60 * S), 7 * S + 3);
        }
    }

    #[test]
    fn late_ticks_skip_what_was_missed() {
        assert_eq!(next_slot(60 * S + 5, 0, 60 * S), (0, 60 * S));
        assert_eq!(next_slot(119 * S, 0, 60 * S), (0, 60 * S));
        assert_eq!(next_slot(120 * S, 0, 60 * S), (1, 120 * S));
        assert_eq!(next_slot(301 * S, 0, 60 * S), (4, 300 * S));
        // A clock that went back: the next slot all the same.
        assert_eq!(next_slot(-500 * S, 0, 60 * S), (0, 60 * S));
    }

    #[test]
    fn the_hash_is_prometheus_s() {
        // Lengths and texts of file and name in order, hashed by xxh64: another name is another slot.
        assert_ne!(group_hash("a.yml", "g"), group_hash("a.yml", "h"));
        assert_eq!(group_hash("a.yml", "g"), group_hash("a.yml", "g"));
    }
}
