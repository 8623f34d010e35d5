//! From query text to syntax tree and back.

pub mod ast;
pub mod functions;
