//! The threads of maintenance on a real machine: a small tokio runtime each, of lower priority than everything else.
//!
//! Promise: a panic in one ends the process, as in a shard: a store that no longer seals would fill its memory in silence.
//! Not here: what a keeper does (`maintenance`).

use super::monotonic_nanos;
use super::thread::fatal_if_panics;
use crate::io::random_bytes;
use crate::maintenance::{Keeper, KeeperParts, Order, Waiting, Wishes, World, keep};
use crate::model::TimestampMs;
use crate::process::lower_thread_priority;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// The machine, on a thread with a tokio runtime.
struct Machine;

impl World for Machine {
    fn wall_ms(&self) -> TimestampMs {
        // A clock before 1970 counts as 1970: it only names files and holds retention back.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic_nanos(&self) -> u64 {
        monotonic_nanos()
    }

    fn sleep(&self, nanos: u64) -> Waiting<'_> {
        Box::pin(tokio::time::sleep(Duration::from_nanos(nanos)))
    }

    fn random(&self) -> [u8; 10] {
        match random_bytes() {
            Ok(bytes) => bytes,
            // The time in the identity still tells blocks apart.
            Err(_) => {
                let mut bytes = [0; 10];
                bytes[..8].copy_from_slice(&self.monotonic_nanos().to_le_bytes());
                bytes
            }
        }
    }
}

/// Waits on a thread with a tokio runtime.
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Starts a thread that keeps some shards.
pub(crate) fn start_keeper_thread(
    index: usize,
    parts: Vec<KeeperParts>,
    orders: mpsc::Receiver<Order>,
    wishes: Arc<Wishes>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name(format!("keeper-{index}"))
        .spawn(move || {
            if let Err(error) = lower_thread_priority() {
                tracing::warn!(%error, "the priority of a maintenance thread cannot be lowered");
            }
            fatal_if_panics("maintenance", || {
                let world: Rc<dyn World> = Rc::new(Machine);
                let new = |parts: KeeperParts| Keeper::new(parts, Rc::clone(&world));
                let keepers = parts.into_iter().map(new).collect();
                runtime.block_on(keep(keepers, orders, Rc::clone(&world), wishes));
            });
        })
}
