//! RE2 patterns, as Prometheus users write them, compiled with the `regex` crate.
//!
//! Promise: what Go's `regexp` accepts is accepted and means the same; what it refuses is refused.

use regex::Regex;
use regex_syntax::hir::Hir;

/// A pattern that is not valid RE2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct Re2Error(pub String);

/// The parsed pattern, not anchored, with dot matching newline.
pub(crate) fn parse(pattern: &str) -> Result<Hir, Re2Error> {
    regex_syntax::ParserBuilder::new()
        .dot_matches_new_line(true)
        .build()
        .parse(pattern)
        .map_err(|e| Re2Error(e.to_string()))
}

/// Compiles a pattern, anchored at both ends, with dot matching newline (`^(?s:pattern)$`).
pub fn translate(pattern: &str) -> Result<Regex, Re2Error> {
    Regex::new(&format!("^(?s:{pattern})$")).map_err(|e| Re2Error(e.to_string()))
}
