//! Pages of metrics as text: the Prometheus formats 0.0.4 and 1.0.0, OpenMetrics 0.0.1 and 1.0.0.
//!
//! `Parser` walks a page, `select_format` reads a Content-Type (pages in protobuf are read by [`crate::protobuf`]), `accept_header` writes the Accept that asks for the
//! formats a scrape configuration wants. Bytes in, entries out; no I/O, no clock.
//! Not here: fetching a page, caching series, writing pages.

mod content_type;
mod entry;
pub(crate) mod lexer;
mod number;
mod parser;
mod quote;

pub use content_type::{
    ContentTypeError, EscapingScheme, FormatChoice, PageFormat, ScrapeProtocol, accept_header,
    select_format,
};
pub use entry::{Entry, Exemplar, LabelPair, MetricType, ParseError, Series};
pub(crate) use number::{NORMAL_NAN_BITS, go_format_g, open_metrics_float_of, parse_float};
pub use parser::{Dialect, Parser};
pub(crate) use quote::go_quote;
