//! What the process wants its operators to know now: it is starting, it is stopping, a reload has failed.
//!
//! Promise: texts and life are Prometheus's; whoever listens sees each coming and going; the number of listeners is bounded.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// A reload failed; the old configuration is in force.
pub const CONFIGURATION_UNSUCCESSFUL: &str = "Configuration reload has failed.";
/// The log is being replayed.
pub const STARTING_UP: &str = "Prometheus is starting and replaying the write-ahead log (WAL).";
/// The end has begun.
pub const SHUTTING_DOWN: &str =
    "Prometheus is shutting down and gracefully stopping all operations.";

/// Changes that a listener may be behind before it misses some.
const CHANGES_WAITING_MAX: usize = 16;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Text for a person.
    pub text: &'static str,
    /// Since when, or until when it was so.
    pub date: jiff::Timestamp,
    /// Is it so now?
    pub active: bool,
}

/// All that are active, and who listens.
#[derive(Debug)]
pub struct Notifications {
    active: Mutex<Vec<Notification>>,
    changes: broadcast::Sender<Notification>,
    listeners: Arc<AtomicUsize>,
    listeners_max: usize,
}

/// Someone who listens: the state at first, then every change.
#[derive(Debug)]
pub struct Listener {
    /// What is active at first.
    pub first: Vec<Notification>,
    changes: broadcast::Receiver<Notification>,
    listeners: Arc<AtomicUsize>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Listener {
    /// The next change; `None` when there will be none.
    pub async fn next(&mut self) -> Option<Notification> {
        loop {
            match self.changes.recv().await {
                Ok(change) => return Some(change),
                // A listener that was too slow goes on with what is new.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Listener {
    /// A change that has come already.
    pub fn try_next(&mut self) -> Option<Notification> {
        self.changes.try_recv().ok()
    }
}

impl Notifications {
    /// None active; at most so many listeners (`--web.max-notifications-subscribers`).
    pub fn new(listeners_max: usize) -> Self {
        Notifications {
            active: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES_WAITING_MAX),
            listeners: Arc::default(),
            listeners_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Notification>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is so from now on.
    pub fn add(&self, text: &'static str) {
        let mut active = self.lock();
        if active.iter().any(|one| one.text == text) {
            return;
        }
        let one = Notification {
            text,
            date: jiff::Timestamp::now(),
            active: true,
        };
        active.push(one.clone());
        // Without listeners there is nobody to tell.
        let _ = self.changes.send(one);
    }

    /// It is so no longer.
    pub fn remove(&self, text: &'static str) {
        let mut active = self.lock();
        let before = active.len();
        active.retain(|one| one.text != text);
        if active.len() < before {
            let _ = self.changes.send(Notification {
                text,
                date: jiff::Timestamp::now(),
                active: false,
            });
        }
    }

    /// What is active.
    pub fn active(&self) -> Vec<Notification> {
        self.lock().clone()
    }

    /// Begins to listen; `None` when too many do.
    pub fn listen(&self) -> Option<Listener> {
        let active = self.lock();
        if self.listeners.fetch_add(1, Ordering::Relaxed) >= self.listeners_max {
            self.listeners.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        // Under the lock: no change falls between the state and the first change.
        Some(Listener {
            first: active.clone(),
            changes: self.changes.subscribe(),
            listeners: Arc::clone(&self.listeners),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_see_the_state_and_each_change_and_are_bounded() {
        let all = Notifications::new(1);
        all.add(STARTING_UP);
        all.add(STARTING_UP);
        let mut listener = all.listen().unwrap();
        assert_eq!(listener.first.len(), 1);
        assert!(all.listen().is_none());
        all.remove(STARTING_UP);
        all.remove(STARTING_UP);
        all.add(SHUTTING_DOWN);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let changes = runtime.block_on(async {
            [
                listener.next().await.unwrap(),
                listener.next().await.unwrap(),
            ]
        });
        let seen = changes.map(|change| (change.text, change.active));
        assert_eq!(seen, [(STARTING_UP, false), (SHUTTING_DOWN, true)]);
        assert_eq!(all.active().len(), 1);
        drop(listener);
        assert!(all.listen().is_some());
    }
}
