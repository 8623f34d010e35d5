//! The deterministic simulator shell.
