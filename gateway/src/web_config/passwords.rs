//! Checking passwords: slow on purpose, so off the worker thread, few at a time, and not twice for the same good one.
//!
//! Promise: memory holds no password, only keyed digests of good (user, hash, password) triples; a wrong password costs its full check every
//! time; more callers than the bound are sent away instead of queued.

use crate::limits::{PASSWORDS_CHECKED_AT_ONCE_MAX, PASSWORDS_KNOWN_MAX, PASSWORDS_WAITING_MAX};
use ring::hmac;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Semaphore;

type Digest = [u8; 32];

/// Checks passwords for all workers.
pub(super) struct PasswordChecks {
    key: hmac::Key,
    good: RwLock<HashSet<Digest>>,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Counts a caller as waiting while it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PasswordChecks {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = (cores / 2).clamp(1, PASSWORDS_CHECKED_AT_ONCE_MAX);
        PasswordChecks {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            good: RwLock::default(),
            running: Arc::new(Semaphore::new(at_once)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Does the password match the hash? `None` when too many callers wait already.
    pub(super) async fn matches(&self, user: &str, hash: &str, password: &[u8]) -> Option<bool> {
        let digest = self.digest(user, hash, password);
        if self.is_known(&digest) {
            return Some(true);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= PASSWORDS_WAITING_MAX {
            drop(Waiting(&self.waiting));
            return None;
        }
        let _waiting = Waiting(&self.waiting);
        let permit = Arc::clone(&self.running).acquire_owned().await.ok()?;
        if self.is_known(&digest) {
            // Someone before us in the queue had the same.
            return Some(true);
        }
        let (hash, password) = (hash.to_owned(), password.to_vec());
        let check = move || {
            // The permit goes along: a caller that leaves does not make room before the work is done.
            let _permit = permit;
            bcrypt::verify(password, &hash).unwrap_or(false)
        };
        let good = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        if good {
            self.remember(digest);
        }
        Some(good)
    }

    /// Forgets everything, when the users have changed.
    pub(super) fn forget(&self) {
        let mut good = self.good.write().unwrap_or_else(PoisonError::into_inner);
        good.clear();
    }

    fn is_known(&self, digest: &Digest) -> bool {
        let good = self.good.read().unwrap_or_else(PoisonError::into_inner);
        good.contains(digest)
    }

    fn remember(&self, digest: Digest) {
        let mut good = self.good.write().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= PASSWORDS_KNOWN_MAX {
            good.clear();
        }
        good.insert(digest);
    }

    /// Lengths go in front, so that no two triples give the same bytes.
    fn digest(&self, user: &str, hash: &str, password: &[u8]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user.as_bytes(), hash.as_bytes(), password] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let tag = context.sign();
        let mut digest = Digest::default();
        digest.copy_from_slice(tag.as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    #[test]
    fn good_ones_are_known_and_bad_ones_are_not() {
        let checks = PasswordChecks::new(&[7; 32]);
        let hash = bcrypt::hash("pass", 10).unwrap();
        assert_eq!(run(checks.matches("u", &hash, b"pass")), Some(true));
        assert_eq!(checks.good.read().unwrap().len(), 1);
        let known = Instant::now();
        for _ in 0..100 {
            assert_eq!(run(checks.matches("u", &hash, b"pass")), Some(true));
        }
        assert!(known.elapsed() < Duration::from_secs(2), "not from memory");
        assert_eq!(run(checks.matches("u", &hash, b"pasS")), Some(false));
        assert_eq!(run(checks.matches("v", &hash, b"pasS")), Some(false));
        assert_eq!(checks.good.read().unwrap().len(), 1);
        checks.forget();
        assert!(checks.good.read().unwrap().is_empty());
    }

    #[test]
    fn triples_do_not_run_into_one_another() {
        let checks = PasswordChecks::new(&[1; 32]);
        assert_ne!(
            checks.digest("ab", "c", b"d"),
            checks.digest("a", "bc", b"d")
        );
        assert_ne!(checks.digest("a", "c", b""), checks.digest("", "c", b"a"));
        let other = PasswordChecks::new(&[2; 32]);
        assert_ne!(checks.digest("a", "b", b"c"), other.digest("a", "b", b"c"));
    }

    #[test]
    fn what_is_known_and_who_waits_is_bounded() {
        let checks = PasswordChecks::new(&[3; 32]);
        for i in 0..=PASSWORDS_KNOWN_MAX {
            checks.remember(checks.digest(&i.to_string(), "", b""));
        }
        assert!(checks.good.read().unwrap().len() <= PASSWORDS_KNOWN_MAX);
        checks
            .waiting
            .store(PASSWORDS_WAITING_MAX, Ordering::Relaxed);
        let hash = bcrypt::hash("pass", 4).unwrap();
        assert_eq!(run(checks.matches("u", &hash, b"pass")), None);
        assert_eq!(
            checks.waiting.load(Ordering::Relaxed),
            PASSWORDS_WAITING_MAX
        );
    }
}
