//! The clock seam of scraping and discovery: wall time for timestamps, monotonic time for durations.
//!
//! Promise: nothing else in this crate reads a clock. Timers are tokio's and are allowed in `scrape` and `discovery` only.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where `now` comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn wall_ms(&self) -> i64;
    /// Nanoseconds since the Unix epoch; the scrape schedule is computed from it.
    fn wall_ns(&self) -> i64;
    /// Time since some fixed moment, never going back.
    fn monotonic(&self) -> Duration;
}

/// The machine's own clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub fn new() -> Self {
        SystemClock {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        self.wall_ns().div_euclid(1_000_000)
    }

    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    fn wall_ns(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
