//! What maintenance asks of the world besides the disk and its shard: clocks, waiting, chance.
//!
//! Promise: nothing in `maintenance` reads a clock or draws a number but through [`World`], so that the simulator runs the same code.

use crate::model::TimestampMs;
use std::pin::Pin;

/// A future of the thread that it was made on.
pub(crate) type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Clocks, waiting and chance.
pub(crate) trait World {
    /// Milliseconds since the epoch, as the machine believes.
    fn wall_ms(&self) -> TimestampMs;
    /// Nanoseconds of a clock that never goes back.
    fn monotonic_nanos(&self) -> u64;
    /// Waits.
    fn sleep(&self, nanos: u64) -> Waiting<'_>;
    /// Bytes that nobody else draws, for identities.
    fn random(&self) -> [u8; 10];
}
