//! The bounds of discovery, by name, with what happens at each; the others of this crate are in [`crate::limits`].

/// Most bytes of one answer to a service discovery, decompressed; beyond it the refresh fails and the last groups stay.
pub const DISCOVERY_ANSWER_BYTES_MAX: u64 = 256 << 20;
