//! A story told aloud, for one seed that fails.

use std::sync::atomic::{AtomicBool, Ordering};

static ALOUD: AtomicBool = AtomicBool::new(false);

/// From now on every run says on standard error what happens.
pub fn aloud() {
    ALOUD.store(true, Ordering::Relaxed);
}

/// Says something, if anyone listens.
#[allow(clippy::print_stderr, reason = "asked for on the command line")]
pub(crate) fn tell(words: impl FnOnce() -> String) {
    if ALOUD.load(Ordering::Relaxed) {
        eprintln!("{}", words());
    }
}
