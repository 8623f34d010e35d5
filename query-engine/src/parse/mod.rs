//! From query text to syntax tree and back.

pub mod ast;
mod check;
mod error;
pub mod functions;
mod json;
mod lexer;
mod number;
mod parser;
mod pretty;
mod print;
mod quote;

pub use error::ParseError;
pub use json::ast_json;
pub use parser::{ParserOptions, parse, parse_bytes, parse_metric_selector};
pub use pretty::{PRETTY_WIDTH, prettify, prettify_within};
