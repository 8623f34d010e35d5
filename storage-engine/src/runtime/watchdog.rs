//! The watchdog: a shard that has mail and does not move ends the process.
//!
//! An executor that never comes back (glommio's known fault, or a bug of ours) would otherwise look like a very slow server; a restart
//! replays the log and loses nothing. It counts its own looks, not the clock, so that a suspended process is not taken for a stalled one.

use super::mailbox::Mailbox;
use crate::limits::WATCHDOG_STALL_MS;
use crossbeam::channel::{RecvTimeoutError, Sender, bounded};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks.
const LOOK_INTERVAL_MS: u64 = 500;
const LOOKS_MAX: u32 = (WATCHDOG_STALL_MS / LOOK_INTERVAL_MS) as u32;

/// The running watchdog; dropping it ends it.
pub(crate) struct Watchdog {
    _alive: Sender<()>,
}

/// What was seen of one shard.
#[derive(Default, Clone)]
struct Seen {
    turns: u64,
    looks: u32,
}

/// Counts a look; true if the shard has stood still with mail for too many of them.
fn look(mailbox: &Mailbox, seen: &mut Seen) -> bool {
    let turns = mailbox.turns();
    // No turn at all: the shard replays.
    if turns == 0 || turns != seen.turns || mailbox.is_empty() {
        *seen = Seen { turns, looks: 0 };
        return false;
    }
    seen.looks += 1;
    seen.looks >= LOOKS_MAX
}

impl Watchdog {
    /// Starts to watch.
    pub(crate) fn start(mailboxes: Vec<Arc<Mailbox>>) -> io::Result<Watchdog> {
        let (alive, ended) = bounded::<()>(0);
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            let mut seen = vec![Seen::default(); mailboxes.len()];
            let interval = Duration::from_millis(LOOK_INTERVAL_MS);
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                for (shard, mailbox) in mailboxes.iter().enumerate() {
                    if look(mailbox, &mut seen[shard]) {
                        tracing::error!(
                            "FATAL: shard {shard} has mail and has not moved for {WATCHDOG_STALL_MS} ms; the process ends, the log brings its data back"
                        );
                        std::process::abort();
                    }
                }
            }
        })?;
        Ok(Watchdog { _alive: alive })
    }
}

#[cfg(test)]
mod tests {
    use super::super::mailbox::Mail;
    use super::*;
    use crate::shard_api::{AppendBatch, AppendMode};

    #[test]
    fn only_standing_still_with_mail_is_a_stall() {
        let mailbox = Mailbox::with_capacity(4);
        let mut seen = Seen::default();
        let mut looks =
            |mailbox: &Mailbox, count: u32| (0..count).any(|_| look(mailbox, &mut seen));
        let batch = Box::new(AppendBatch::default());
        let (reply, _answer) = tokio::sync::oneshot::channel();
        let mail = Mail::Append {
            batch,
            mode: AppendMode::Check,
            reply,
        };
        assert!(mailbox.push(mail).is_ok());
        assert!(!looks(&mailbox, 100), "replaying");
        mailbox.count_turn();
        assert!(!looks(&mailbox, LOOKS_MAX), "the first look saw it move");
        mailbox.count_turn();
        assert!(!looks(&mailbox, LOOKS_MAX), "it moved");
        assert!(looks(&mailbox, 1), "one look too many");
        assert!(mailbox.take().is_some());
        assert!(!looks(&mailbox, 100), "nothing to do");
    }
}
