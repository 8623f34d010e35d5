//! Why a query text is not PromQL: position and Prometheus's own words.

use std::fmt;

/// The first error of a query; shows as `line:column: parse error: text`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// What is wrong, without the position.
    pub text: String,
    /// Byte offset where.
    pub offset: usize,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The query is empty: there is nothing to point at.
    Nowhere,
    LineColumn(usize, usize),
}

impl ParseError {
    pub(super) fn new(input: &[u8], offset: usize, text: impl Into<String>) -> Self {
        let place = if input.is_empty() {
            Place::Nowhere
        } else {
            let before = input.get(..offset).unwrap_or(input);
            let line = before.iter().filter(|b| **b == b'\n').count() + 1;
            let line_start = before
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |at| at + 1);
            Place::LineColumn(line, before.len() - line_start + 1)
        };
        ParseError {
            text: text.into(),
            offset,
            place,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Nowhere => f.write_str("unknown position")?,
            Place::LineColumn(line, column) => write!(f, "{line}:{column}")?,
        }
        write!(f, ": parse error: {}", self.text)
    }
}
