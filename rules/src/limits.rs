//! Every bound of this crate, with what happens at it.

/// Longest text that one template may become, bytes; a longer one is an expansion error.
pub const TEMPLATE_OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Most rounds of all `range` loops of one expansion; beyond it the expansion fails.
pub const TEMPLATE_ROUNDS_MAX: u64 = 1_000_000;

/// Most iterations that a group may have missed in one count: a clock that jumped ahead by years must not overflow anything.
pub const ITERATIONS_MISSED_MAX: i64 = 1 << 40;
