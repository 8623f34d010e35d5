//! The queries that run now, and those that ran lately: what `status/active_queries` and `status/top_queries` show.
//!
//! Promise: a query is in the list from its arrival to its end; what is remembered of the past is bounded in number and bytes. Texts are the
//! users' own: whoever may read the lists may read all queries.

use crate::limits::{QUERIES_REMEMBERED_BYTES_MAX, QUERIES_REMEMBERED_MAX, QUERY_REMEMBERED_AFTER};
use query_engine::eval::budget::CancelToken;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A query as it arrives.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Its text.
    pub text: Arc<str>,
    /// First step in milliseconds.
    pub start_ms: i64,
    /// Last step in milliseconds.
    pub end_ms: i64,
    /// Milliseconds between steps; 0 for a query of one moment.
    pub step_ms: i64,
    /// Who asks.
    pub peer: Option<SocketAddr>,
    /// Ends it.
    pub cancel: CancelToken,
}

/// A query that runs.
#[derive(Debug, Clone)]
pub struct Active {
    /// Its number; unique since the start of the process.
    pub id: u64,
    /// What it is.
    pub query: Arrived,
    /// When it came.
    pub since: Instant,
}

/// Queries of one text and one width.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Text.
    pub text: Arc<str>,
    /// Last step less first, in seconds.
    pub range_seconds: i64,
    /// How many ran.
    pub count: u64,
    /// Time of all together.
    pub duration: Duration,
    /// Most bytes that they held, added up.
    pub bytes: u64,
}

impl Group {
    /// Time of one, on average.
    pub fn average(&self) -> Duration {
        self.duration / u32::try_from(self.count.max(1)).unwrap_or(u32::MAX)
    }

    /// Bytes of one, on average.
    pub fn average_bytes(&self) -> u64 {
        self.bytes / self.count.max(1)
    }
}

#[derive(Debug)]
struct Record {
    text: Arc<str>,
    range_seconds: i64,
    ended: Instant,
    duration: Duration,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Past {
    records: VecDeque<Record>,
    text_bytes: usize,
}

/// Both lists.
#[derive(Debug)]
pub struct QueryRegistry {
    active: Mutex<HashMap<u64, Active>>,
    past: Mutex<Past>,
    next: AtomicU64,
}

/// A query's place in the list, while it lives; what it held most is told through [`Registered::bytes`].
#[derive(Debug)]
pub struct Registered<'a> {
    registry: &'a QueryRegistry,
    id: u64,
    bytes: Arc<AtomicU64>,
}

impl Registered<'_> {
    /// Where to put the most bytes that it held.
    pub fn bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes)
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let ended = Instant::now();
        let removed = lock(&self.registry.active).remove(&self.id);
        if let Some(active) = removed {
            let bytes = self.bytes.load(Ordering::Relaxed);
            self.registry.remember(active, ended, bytes);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for QueryRegistry {
    fn default() -> Self {
        // Numbers of two lives of the process should not be mixed up.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        QueryRegistry {
            active: Mutex::default(),
            past: Mutex::default(),
            next: AtomicU64::new(now.map_or(1, |now| now.as_nanos() as u64)),
        }
    }
}

impl QueryRegistry {
    /// Enters a query.
    pub fn enter(&self, query: Arrived) -> Registered<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let since = Instant::now();
        lock(&self.active).insert(id, Active { id, query, since });
        Registered {
            registry: self,
            id,
            bytes: Arc::default(),
        }
    }

    /// The queries that run, the oldest first.
    pub fn active(&self) -> Vec<Active> {
        let mut all: Vec<Active> = lock(&self.active).values().cloned().collect();
        all.sort_by_key(|active| (active.since, active.id));
        all
    }

    /// Ends a query; false when there is none of that number.
    pub fn cancel(&self, id: u64) -> bool {
        let active = lock(&self.active);
        let found = active.get(&id);
        if let Some(found) = found {
            found.query.cancel.cancel();
        }
        found.is_some()
    }

    fn remember(&self, active: Active, ended: Instant, bytes: u64) {
        let duration = ended.saturating_duration_since(active.since);
        if duration < QUERY_REMEMBERED_AFTER {
            return;
        }
        let query = active.query;
        let mut past = lock(&self.past);
        past.text_bytes += query.text.len();
        past.records.push_back(Record {
            range_seconds: query.end_ms.saturating_sub(query.start_ms) / 1000,
            text: query.text,
            ended,
            duration,
            bytes,
        });
        while past.records.len() > QUERIES_REMEMBERED_MAX
            || past.text_bytes > QUERIES_REMEMBERED_BYTES_MAX
        {
            match past.records.pop_front() {
                Some(oldest) => past.text_bytes -= oldest.text.len(),
                None => break,
            }
        }
    }

    /// The queries that ended within `lifetime`, by text and width, in no order.
    pub fn groups(&self, now: Instant, lifetime: Duration) -> Vec<Group> {
        let past = lock(&self.past);
        let mut groups: HashMap<(&str, i64), Group> = HashMap::new();
        for record in &past.records {
            if now.saturating_duration_since(record.ended) > lifetime {
                continue;
            }
            let group = groups
                .entry((&record.text, record.range_seconds))
                .or_insert_with(|| Group {
                    text: Arc::clone(&record.text),
                    range_seconds: record.range_seconds,
                    count: 0,
                    duration: Duration::ZERO,
                    bytes: 0,
                });
            group.count += 1;
            group.duration += record.duration;
            group.bytes += record.bytes;
        }
        groups.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Arrived {
        Arrived {
            text: text.into(),
            start_ms: 0,
            end_ms: 60_000,
            step_ms: 1000,
            peer: None,
            cancel: CancelToken::new(),
        }
    }

    #[test]
    fn queries_come_can_be_ended_and_go() {
        let registry = QueryRegistry::default();
        let first = registry.enter(query("a"));
        let second = query("b");
        let cancel = second.cancel.clone();
        let second = registry.enter(second);
        let ids: Vec<u64> = registry.active().iter().map(|a| a.id).collect();
        assert_eq!(ids, [first.id, second.id]);
        assert!(registry.cancel(second.id) && cancel.check().is_err());
        assert!(!registry.cancel(7));
        drop((first, second));
        assert!(registry.active().is_empty() && !registry.cancel(ids[0]));
    }

    #[test]
    fn the_past_is_grouped_and_bounded() {
        let registry = QueryRegistry::default();
        let now = Instant::now();
        let end = |text: &str, ms: u64, bytes| {
            let active = Active {
                id: 0,
                query: query(text),
                since: now,
            };
            registry.remember(active, now + Duration::from_millis(ms), bytes);
        };
        end("short", 0, 1);
        end("a", 10, 100);
        end("a", 30, 300);
        end("b", 20, 5);
        let mut groups = registry.groups(now, Duration::from_secs(600));
        groups.sort_by_key(|group| group.count);
        assert_eq!(groups.len(), 2, "the short one does not count");
        let a = &groups[1];
        assert_eq!(
            (a.count, a.average(), a.average_bytes()),
            (2, Duration::from_millis(20), 200)
        );
        assert_eq!(a.range_seconds, 60);
        let later = now + Duration::from_secs(700);
        assert!(registry.groups(later, Duration::from_secs(600)).is_empty());
        for i in 0..QUERIES_REMEMBERED_MAX + 10 {
            end(&format!("{i}"), 5, 0);
        }
        assert_eq!(lock(&registry.past).records.len(), QUERIES_REMEMBERED_MAX);
        let long = "x".repeat(QUERIES_REMEMBERED_BYTES_MAX / 2);
        for _ in 0..3 {
            end(&long, 5, 0);
        }
        assert!(lock(&registry.past).text_bytes <= QUERIES_REMEMBERED_BYTES_MAX);
    }
}
