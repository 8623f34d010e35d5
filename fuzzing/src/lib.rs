//! What the fuzz targets do with a string of bytes, each with an oracle that says more than "no panic".
//!
//! The shells for libFuzzer are in `fuzz/`, outside the workspace; the small corpora beside them are replayed by this crate's tests, and so
//! are some thousands of mutations of them. A body panics when its oracle disagrees.
//! Not here: the fuzzer itself.

pub mod block;
pub mod damage;
pub mod promql;
pub mod remote_write;
pub mod text;
pub mod wal;

/// A fuzz target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 9] = [
    ("wal_log", wal::log),
    ("wal_payload", wal::payload),
    ("block_file", block::file),
    ("block_index", block::index),
    ("block_pages", block::pages),
    ("remote_write", remote_write::body),
    ("text_page", text::page),
    ("promql", promql::query),
    ("canary", canary),
];

/// Must fail for the input `canary`, or the machinery sees nothing. Its corpus does not hold that.
pub fn canary(data: &[u8]) {
    assert_ne!(data, b"canary", "the canary sings");
}
