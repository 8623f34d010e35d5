//! OpenMetrics 1.0 text: its own tokens, and the lines that only it has (`# UNIT`, `# EOF`, exemplars).
//!
//! The lines that it shares with the Prometheus format are parsed in [`crate::text`], which also holds the public
//! parser. Not here: OpenMetrics protobuf.

mod lexer;
