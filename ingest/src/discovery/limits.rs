//! The bounds of discovery, by name, with what happens at each; the others of this crate are in [`crate::limits`].

/// Most bytes of one answer to a service discovery, decompressed; beyond it the refresh fails and the last groups stay.
pub const DISCOVERY_ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Most bytes of one event of a Kubernetes watch; beyond it the watch begins anew with a list.
pub const KUBERNETES_EVENT_BYTES_MAX: usize = 32 << 20;
