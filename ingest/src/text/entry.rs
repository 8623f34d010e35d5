//! What a page of metrics is made of: series lines, metadata, comments.
//!
//! Promise: everything borrows from the page; a series line costs no allocation until its labels are asked for.
//! Not here: finding the lines (`parser`), the meaning of metadata (the scrape loop).

use super::number::open_metrics_float;
use super::quote::go_quote;
use std::borrow::Cow;

/// Why a page is refused. The texts are Prometheus's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// A token that does not belong where it stands.
    #[error("{expected}, got {got} (\"{token}\") while parsing: {line}")]
    Unexpected {
        /// What would have been right.
        expected: String,
        /// The token and the byte after it, quoted.
        got: String,
        /// Prometheus's name of the token class.
        token: &'static str,
        /// The line up to there, quoted.
        line: String,
    },
    /// A value or timestamp that is not a number.
    #[error("{reason} while parsing: {line}")]
    Number {
        /// Go's text.
        reason: String,
        /// The line up to there, quoted.
        line: String,
    },
    /// Braces without a metric name before or in them.
    #[error("metric name not set while parsing: {line}")]
    NameMissing {
        /// The line up to there, quoted.
        line: String,
    },
    /// Two metric names on one line.
    #[error("metric name already set while parsing: {line}")]
    NameTwice {
        /// The line up to there, quoted.
        line: String,
    },
    /// A label value that is not UTF-8.
    #[error("invalid UTF-8 label value: {value}")]
    LabelValueUtf8 {
        /// The value with its quotes, quoted.
        value: String,
    },
    /// A quoted metric or label name that is not UTF-8.
    #[error("invalid metric name or label names: {series}")]
    NameUtf8 {
        /// The series as on the line, quoted.
        series: String,
    },
    /// A help text that is not UTF-8.
    #[error("help text {text} is not a valid utf8 string")]
    HelpUtf8 {
        /// The text, quoted.
        text: String,
    },
    /// An unknown metric type.
    #[error("invalid metric type {name}")]
    MetricType {
        /// The word, quoted.
        name: String,
    },
    /// Metadata without its text.
    #[error("expected text in {keyword}{got}")]
    TextMissing {
        /// `HELP`, `TYPE` or `UNIT`.
        keyword: &'static str,
        /// `, got TOKEN` in the Prometheus format, empty in OpenMetrics.
        got: String,
    },
    /// A unit that the metric's name does not end with.
    #[error("unit {unit} not a suffix of metric {metric}")]
    UnitSuffix {
        /// The unit, quoted.
        unit: String,
        /// The metric name, quoted.
        metric: String,
    },
    /// A timestamp that is NaN or infinite.
    #[error("invalid {exemplar}timestamp {value}")]
    TimestampNotFinite {
        /// `exemplar ` or empty.
        exemplar: &'static str,
        /// As Go prints it: `NaN`, `+Inf`, `-Inf`.
        value: &'static str,
    },
    /// OpenMetrics: the page ends without `# EOF`.
    #[error("data does not end with # EOF")]
    EofMissing,
    /// OpenMetrics: something follows `# EOF`.
    #[error("unexpected data after # EOF")]
    DataAfterEof,
}

/// The types a page can declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricType {
    /// `counter`
    Counter,
    /// `gauge`
    Gauge,
    /// `histogram`
    Histogram,
    /// `gaugehistogram`
    GaugeHistogram,
    /// `summary`
    Summary,
    /// `info`
    Info,
    /// `stateset`
    StateSet,
    /// `unknown`, `untyped`, or not declared.
    #[default]
    Unknown,
}

impl MetricType {
    /// The word that Prometheus's API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
            MetricType::Unknown => "unknown",
        }
    }
}

/// One item of a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    /// A sample.
    Series(Series<'a>),
    /// `# HELP name text`
    Help {
        /// Metric family, without quotes.
        name: Cow<'a, str>,
        /// Unescaped text.
        text: Cow<'a, str>,
    },
    /// `# TYPE name type`
    Type {
        /// Metric family, without quotes.
        name: Cow<'a, str>,
        /// Its type.
        metric_type: MetricType,
    },
    /// `# UNIT name unit` (OpenMetrics only).
    Unit {
        /// Metric family, without quotes.
        name: Cow<'a, str>,
        /// Its unit, perhaps empty.
        unit: Cow<'a, str>,
    },
    /// Any other line that starts with `#` (Prometheus format only), as on the page.
    Comment(&'a [u8]),
}

/// A label as an owned or borrowed pair of name and value.
pub type LabelPair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// One sample line.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<'a> {
    /// Name and labels as the target wrote them: equal bytes (under an equal `metric_type`) are an equal series, so
    /// this is the key of a scrape cache.
    pub raw: &'a [u8],
    /// The value; every NaN has the same bits.
    pub value: f64,
    /// Milliseconds since the epoch, when the target sent a timestamp.
    pub timestamp: Option<i64>,
    /// The type that the last `# TYPE` line declared; it decides how `le` and `quantile` values are spelled.
    pub metric_type: MetricType,
    /// The exemplar, if the line has one (OpenMetrics).
    pub exemplar: Option<Exemplar<'a>>,
}

impl<'a> Series<'a> {
    /// Replaces `out` by the labels, `__name__` first, the others in the order of the line, unescaped.
    ///
    /// Duplicates and empty values are left in: what they mean is the caller's decision.
    pub fn labels(&self, out: &mut Vec<LabelPair<'a>>) -> Result<(), ParseError> {
        out.clear();
        out.push((Cow::Borrowed("__name__"), Cow::Borrowed("")));
        let mut reader = LabelReader {
            bytes: self.raw,
            at: 0,
        };
        let name_utf8 = || ParseError::NameUtf8 {
            series: go_quote(self.raw),
        };
        let bare = reader.bare_name(true);
        let mut metric = (!bare.is_empty()).then_some(bare);
        while let Some((name, value)) = reader.item() {
            let Some(value) = value else {
                metric = Some(name);
                continue;
            };
            let name = unescaped(name).ok_or_else(name_utf8)?;
            let mut value = unescaped(value).ok_or_else(|| ParseError::LabelValueUtf8 {
                value: go_quote(value),
            })?;
            let normalised = match self.metric_type {
                MetricType::Summary => name == "quantile",
                MetricType::Histogram => name == "le",
                _ => false,
            };
            if normalised && let Some(spelled) = open_metrics_float(&value) {
                value = Cow::Owned(spelled);
            }
            out.push((name, value));
        }
        let metric = unescaped(metric.unwrap_or_default()).ok_or_else(name_utf8)?;
        if let Some(first) = out.first_mut() {
            first.1 = metric;
        }
        Ok(())
    }
}

/// A trace or log reference attached to a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar<'a> {
    /// The labels as on the line, without braces.
    pub raw: &'a [u8],
    /// The exemplar's value.
    pub value: f64,
    /// Milliseconds since the epoch, when given.
    pub timestamp: Option<i64>,
}

impl<'a> Exemplar<'a> {
    /// Replaces `out` by the exemplar's labels in the order of the line. As in Prometheus, escapes are not resolved.
    pub fn labels(&self, out: &mut Vec<LabelPair<'a>>) {
        out.clear();
        let mut reader = LabelReader {
            bytes: self.raw,
            at: 0,
        };
        while let Some((name, value)) = reader.item() {
            out.push((
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value.unwrap_or_default()),
            ));
        }
    }
}

/// Second pass over the labels of a line that the parser has accepted; forgiving, because it need not judge.
struct LabelReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> LabelReader<'a> {
    fn skip(&mut self, skipped: &[u8]) {
        while self.bytes.get(self.at).is_some_and(|b| skipped.contains(b)) {
            self.at += 1;
        }
    }

    fn bare_name(&mut self, colon: bool) -> &'a [u8] {
        let start = self.at;
        while self
            .bytes
            .get(self.at)
            .is_some_and(|&b| b.is_ascii_alphanumeric() || b == b'_' || (colon && b == b':'))
        {
            self.at += 1;
        }
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// The inside of a quoted string, escapes kept; the reader stands on the opening quote.
    fn quoted(&mut self) -> &'a [u8] {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                // A null byte does not end an escape: Prometheus's lexer steps over it.
                0 => {}
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => break,
                _ => {}
            }
            self.at += 1;
        }
        let inside = self.bytes.get(start..self.at).unwrap_or_default();
        self.at += 1;
        inside
    }

    /// The next label, or a quoted metric name (no value).
    fn item(&mut self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        self.skip(b"{, \t");
        let name = match self.bytes.get(self.at)? {
            b'"' => self.quoted(),
            _ => self.bare_name(false),
        };
        self.skip(b" \t");
        if self.bytes.get(self.at) != Some(&b'=') {
            return (!name.is_empty()).then_some((name, None));
        }
        self.at += 1;
        self.skip(b" \t");
        Some((name, Some(self.quoted())))
    }
}

/// Resolves `\"`, `\\` and `\n`; every other backslash stays. `None` when the bytes are not UTF-8.
pub(super) fn unescaped(bytes: &[u8]) -> Option<Cow<'_, str>> {
    resolve(bytes, true)
}

/// As [`unescaped`], but `\"` stays: help texts of the Prometheus format.
pub(super) fn unescaped_help(bytes: &[u8]) -> Option<Cow<'_, str>> {
    resolve(bytes, false)
}

fn resolve(bytes: &[u8], quotes: bool) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    if !bytes.contains(&b'\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let replaced = match (c, chars.peek()) {
            ('\\', Some('\\')) => Some('\\'),
            ('\\', Some('n')) => Some('\n'),
            ('\\', Some('"')) if quotes => Some('"'),
            _ => None,
        };
        if replaced.is_some() {
            chars.next();
        }
        out.push(replaced.unwrap_or(c));
    }
    Some(Cow::Owned(out))
}
