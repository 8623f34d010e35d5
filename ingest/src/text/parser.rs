//! The parser of text pages, for the Prometheus format (0.0.4, 1.0.0) and OpenMetrics (0.0.1, 1.0.0).
//!
//! Promise: accepts and refuses what Prometheus's parser does, with its texts (one exception: spaces before a metric
//! name are not made part of the name). Ordinary lines take one pass without
//! allocation (`fast_series`); anything unusual is read token by token from the start of its line, and both ways
//! give the same entry.
//! Not here: choosing the format (`content_type`), limits on labels and samples, what a duplicate label means.

use super::entry::{Entry, Exemplar, MetricType, ParseError, Series, unescaped, unescaped_help};
use super::lexer::{Lexer, State, Token, is_name_byte, is_name_start};
use super::number::{NumberError, parse_digits, parse_float};
use super::quote::go_quote;
use memchr::{memchr2, memchr3};
use std::borrow::Cow;

/// The two grammars of text pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `text/plain`, versions 0.0.4 and 1.0.0.
    Prometheus,
    /// `application/openmetrics-text`, versions 0.0.1 and 1.0.0.
    OpenMetrics,
}

/// Where a token string lies on the page.
type Span = (usize, usize);

/// Walks a page entry by entry.
#[derive(Debug, Clone)]
pub struct Parser<'a> {
    lexer: Lexer<'a>,
    dialect: Dialect,
    /// Start of the line at hand, for error texts.
    line: usize,
    metric_type: MetricType,
    fast: bool,
}

impl<'a> Parser<'a> {
    /// A parser at the start of `page`.
    pub fn new(page: &'a [u8], dialect: Dialect) -> Self {
        Parser {
            lexer: Lexer::new(page, dialect == Dialect::Prometheus),
            dialect,
            line: 0,
            metric_type: MetricType::Unknown,
            fast: true,
        }
    }

    /// The same parser without its short cuts: the reference that tests compare with.
    #[cfg(test)]
    pub(crate) fn new_token_by_token(page: &'a [u8], dialect: Dialect) -> Self {
        Parser {
            fast: false,
            ..Parser::new(page, dialect)
        }
    }

    /// How many bytes of the page have been read.
    pub fn offset(&self) -> usize {
        self.lexer.at.min(self.lexer.page().len())
    }

    /// The next entry; `None` at the end of a complete page. After an error the page cannot be read further.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        if self.fast
            && self.lexer.state == State::Start
            && let Some(series) = self.fast_series()
        {
            return Ok(Some(Entry::Series(series)));
        }
        loop {
            self.line = self.lexer.at;
            match (self.token(), self.dialect) {
                (Token::Eof, Dialect::Prometheus) => return Ok(None),
                (Token::Eof, Dialect::OpenMetrics) => return Err(ParseError::EofMissing),
                (Token::EofWord, _) => {
                    return match self.token() {
                        Token::Eof => Ok(None),
                        _ => Err(ParseError::DataAfterEof),
                    };
                }
                (Token::Linebreak, Dialect::Prometheus) => {}
                (token @ (Token::Help | Token::Type | Token::Unit), _) => {
                    return self.metadata(token).map(Some);
                }
                (Token::Comment, _) => {
                    let text = self.lexer.token();
                    return match self.token() {
                        Token::Linebreak => Ok(Some(Entry::Comment(text))),
                        got => Err(self.unexpected("linebreak expected after comment", got)),
                    };
                }
                (Token::BraceOpen, _) => {
                    let start = self.lexer.start;
                    let name = self.labels(None, false)?;
                    let raw = self.lexer.slice(start, self.lexer.at);
                    let token = self.token();
                    return self.sample(raw, name.is_some(), token).map(Some);
                }
                (Token::MetricName, _) => {
                    let start = self.lexer.start;
                    let mut raw = self.lexer.token();
                    let mut token = self.token();
                    if token == Token::BraceOpen {
                        self.labels(Some((start, start)), false)?;
                        raw = self.lexer.slice(start, self.lexer.at);
                        token = self.token();
                    }
                    return self.sample(raw, true, token).map(Some);
                }
                (token, _) => return Err(self.unexpected("expected a valid start token", token)),
            }
        }
    }

    fn token(&mut self) -> Token {
        match self.dialect {
            Dialect::Prometheus => self.lexer.prometheus_token(),
            Dialect::OpenMetrics => self.lexer.open_metrics_token(),
        }
    }

    #[cold]
    fn unexpected(&self, expected: &str, token: Token) -> ParseError {
        let end = (self.lexer.at + 1).min(self.lexer.len());
        ParseError::Unexpected {
            expected: expected.to_owned(),
            got: go_quote(&self.lexer.shown(self.lexer.start, end)),
            token: token.as_str(),
            line: go_quote(&self.lexer.shown(self.line, end)),
        }
    }

    fn line_so_far(&self) -> String {
        go_quote(&self.lexer.shown(self.line, self.lexer.at))
    }

    #[cold]
    fn number_error(&self, reason: NumberError) -> ParseError {
        ParseError::Number {
            reason: reason.to_string(),
            line: self.line_so_far(),
        }
    }

    fn metadata(&mut self, keyword: Token) -> Result<Entry<'a>, ParseError> {
        let token = self.token();
        if token != Token::MetricName {
            let expected = format!("expected metric name after {}", keyword.as_str());
            return Err(self.unexpected(&expected, token));
        }
        let quoted = self.lexer.token();
        let name_bytes = match quoted {
            [b'"', inside @ .., b'"'] => inside,
            bare => bare,
        };
        let token = self.token();
        if token != Token::Text {
            return Err(ParseError::TextMissing {
                keyword: keyword.as_str(),
                got: match self.dialect {
                    Dialect::Prometheus => format!(", got {}", token.as_str()),
                    Dialect::OpenMetrics => String::new(),
                },
            });
        }
        let text = match (self.dialect, self.lexer.token()) {
            (Dialect::Prometheus, [_, text @ ..]) => text,
            (Dialect::OpenMetrics, [_, text @ .., b'\n']) => text,
            _ => &[],
        };
        let name = String::from_utf8_lossy(name_bytes);
        let entry = match keyword {
            Token::Type => {
                self.metric_type = self.type_word(text)?;
                Entry::Type {
                    name,
                    metric_type: self.metric_type,
                }
            }
            Token::Help => {
                let resolved = match self.dialect {
                    Dialect::Prometheus => unescaped_help(text),
                    Dialect::OpenMetrics => unescaped(text),
                };
                let text = resolved.ok_or_else(|| ParseError::HelpUtf8 {
                    text: go_quote(text),
                })?;
                Entry::Help { name, text }
            }
            _ => unit_entry(name, name_bytes, text)?,
        };
        if self.dialect == Dialect::Prometheus {
            let token = self.token();
            if token != Token::Linebreak {
                return Err(self.unexpected("linebreak expected after metadata", token));
            }
        }
        Ok(entry)
    }

    fn type_word(&self, word: &[u8]) -> Result<MetricType, ParseError> {
        let open_metrics = self.dialect == Dialect::OpenMetrics;
        Ok(match word {
            b"counter" => MetricType::Counter,
            b"gauge" => MetricType::Gauge,
            b"histogram" => MetricType::Histogram,
            b"summary" => MetricType::Summary,
            b"untyped" if !open_metrics => MetricType::Unknown,
            b"gaugehistogram" if open_metrics => MetricType::GaugeHistogram,
            b"info" if open_metrics => MetricType::Info,
            b"stateset" if open_metrics => MetricType::StateSet,
            b"unknown" if open_metrics => MetricType::Unknown,
            _ => {
                return Err(ParseError::MetricType {
                    name: go_quote(word),
                });
            }
        })
    }

    /// Everything between braces. `name` is where the metric name stands, if it stands before the brace.
    fn labels(
        &mut self,
        mut name: Option<Span>,
        exemplar: bool,
    ) -> Result<Option<Span>, ParseError> {
        let mut token = self.token();
        loop {
            let item = (self.lexer.start, self.lexer.at);
            let quoted = match token {
                Token::BraceClose => return Ok(name),
                Token::LabelName => false,
                Token::QuotedString => true,
                token => return Err(self.unexpected("expected label name", token)),
            };
            token = self.token();
            let ends_item = matches!(token, Token::Comma | Token::BraceClose);
            // A quoted string without a value is the metric name; OpenMetrics takes a bare word there as well.
            if ends_item && (quoted || self.dialect == Dialect::OpenMetrics) {
                if exemplar {
                    return Err(self.unexpected("expected label name", token));
                }
                if name.is_some() {
                    return Err(ParseError::NameTwice {
                        line: self.line_so_far(),
                    });
                }
                if !quoted {
                    return Err(self.unexpected("expected equal", token));
                }
                name = Some((item.0 + 1, item.1 - 1));
                if token == Token::BraceClose {
                    return Ok(name);
                }
                token = self.token();
                continue;
            }
            if token != Token::Equal {
                return Err(self.unexpected("expected equal", token));
            }
            token = self.token();
            if token != Token::LabelValue {
                return Err(self.unexpected("expected label value", token));
            }
            if std::str::from_utf8(self.lexer.token()).is_err() {
                return Err(ParseError::LabelValueUtf8 {
                    value: go_quote(self.lexer.token()),
                });
            }
            token = self.token();
            if token == Token::Comma {
                token = self.token();
            } else if token != Token::BraceClose && self.dialect == Dialect::OpenMetrics {
                return Err(self.unexpected("expected comma or brace close", token));
            }
        }
    }

    /// Value, timestamp and exemplar, behind the labels; `token` is the first one there.
    fn sample(
        &mut self,
        raw: &'a [u8],
        named: bool,
        token: Token,
    ) -> Result<Entry<'a>, ParseError> {
        if !named {
            return Err(ParseError::NameMissing {
                line: self.line_so_far(),
            });
        }
        let value = self.value(token, "metric")?;
        let mut series = Series {
            raw,
            value,
            timestamp: None,
            metric_type: self.metric_type,
            exemplar: None,
        };
        match self.dialect {
            Dialect::Prometheus => self.prometheus_end(&mut series)?,
            Dialect::OpenMetrics => self.open_metrics_end(&mut series)?,
        }
        Ok(Entry::Series(series))
    }

    fn value(&self, token: Token, after: &str) -> Result<f64, ParseError> {
        if token != Token::Value {
            return Err(self.unexpected(&format!("expected value after {after}"), token));
        }
        parse_float(self.number_token()).map_err(|e| self.number_error(e))
    }

    /// The token without the space that OpenMetrics counts to it.
    fn number_token(&self) -> &'a [u8] {
        match (self.dialect, self.lexer.token()) {
            (Dialect::OpenMetrics, [_, rest @ ..]) => rest,
            (_, token) => token,
        }
    }

    fn prometheus_end(&mut self, series: &mut Series<'a>) -> Result<(), ParseError> {
        match self.token() {
            Token::Linebreak => Ok(()),
            Token::Timestamp => {
                let digits = parse_digits(self.lexer.token());
                series.timestamp = Some(digits.map_err(|e| self.number_error(e))?);
                match self.token() {
                    Token::Linebreak => Ok(()),
                    token => Err(self.unexpected("expected next entry after timestamp", token)),
                }
            }
            token => Err(self.unexpected("expected timestamp or new record", token)),
        }
    }

    fn open_metrics_end(&mut self, series: &mut Series<'a>) -> Result<(), ParseError> {
        match self.token() {
            Token::Eof => return Err(ParseError::EofMissing),
            Token::Comment => series.exemplar = Some(self.exemplar()?),
            Token::Timestamp => {
                series.timestamp = Some(self.seconds("")?);
                match self.token() {
                    Token::Linebreak => {}
                    Token::Comment => series.exemplar = Some(self.exemplar()?),
                    token => {
                        return Err(self.unexpected("expected next entry after timestamp", token));
                    }
                }
            }
            // As in Prometheus: what is wrong here shows as a bad start of the next entry.
            _ => {}
        }
        Ok(())
    }

    /// A timestamp in seconds, to milliseconds.
    fn seconds(&self, exemplar: &'static str) -> Result<i64, ParseError> {
        let seconds = parse_float(self.number_token()).map_err(|e| self.number_error(e))?;
        if seconds.is_finite() {
            return Ok((seconds * 1000.0) as i64);
        }
        let value = match (seconds.is_nan(), seconds > 0.0) {
            (true, _) => "NaN",
            (_, true) => "+Inf",
            _ => "-Inf",
        };
        Err(ParseError::TimestampNotFinite { exemplar, value })
    }

    fn exemplar(&mut self) -> Result<Exemplar<'a>, ParseError> {
        let start = self.lexer.at;
        self.labels(None, true)?;
        let raw = self.lexer.slice(start, self.lexer.at - 1);
        let token = self.token();
        let value = self.value(token, "exemplar labels")?;
        let mut timestamp = None;
        match self.token() {
            Token::Eof => return Err(ParseError::EofMissing),
            Token::Linebreak => {}
            Token::Timestamp => {
                timestamp = Some(self.seconds("exemplar ")?);
                let token = self.token();
                if token != Token::Linebreak {
                    return Err(
                        self.unexpected("expected next entry after exemplar timestamp", token)
                    );
                }
            }
            token => return Err(self.unexpected("expected timestamp or comment", token)),
        }
        Ok(Exemplar {
            raw,
            value,
            timestamp,
        })
    }

    /// One pass over `name{label="value",…} number [timestamp]` and its line feed. `None`, with nothing consumed, for
    /// every line that is not exactly that.
    fn fast_series(&mut self) -> Option<Series<'a>> {
        let rest = self.lexer.page().get(self.lexer.at..)?;
        let (line, after) = series_line(rest, self.dialect)?;
        self.lexer.at += after;
        Some(Series {
            metric_type: self.metric_type,
            ..line
        })
    }
}

fn unit_entry<'a>(
    name: Cow<'a, str>,
    name_bytes: &[u8],
    unit: &'a [u8],
) -> Result<Entry<'a>, ParseError> {
    let stem = name_bytes.strip_suffix(unit);
    if !unit.is_empty() && !stem.is_some_and(|stem| stem.ends_with(b"_")) {
        return Err(ParseError::UnitSuffix {
            unit: go_quote(unit),
            metric: go_quote(name_bytes),
        });
    }
    Ok(Entry::Unit {
        name,
        unit: String::from_utf8_lossy(unit),
    })
}

/// The short cut's parser: the series and the number of bytes used.
#[inline]
fn series_line(rest: &[u8], dialect: Dialect) -> Option<(Series<'_>, usize)> {
    let open_metrics = dialect == Dialect::OpenMetrics;
    if !is_name_start(*rest.first()?, true) {
        return None;
    }
    let mut at = 1 + name_length(rest.get(1..)?, true);
    if rest.get(at) == Some(&b'{') {
        at = labels_end(rest, at + 1, open_metrics)?;
    }
    let raw = rest.get(..at)?;
    if !raw.is_ascii() && std::str::from_utf8(raw).is_err() {
        return None;
    }
    if rest.get(at) != Some(&b' ') {
        return None;
    }
    at += 1;
    let (token, end) = word(rest, at)?;
    let value = parse_float(token).ok()?;
    at = end;
    let mut timestamp = None;
    if rest.get(at) == Some(&b' ') {
        let (token, end) = word(rest, at + 1)?;
        timestamp = Some(if open_metrics {
            let seconds = parse_float(token).ok().filter(|s| s.is_finite())?;
            (seconds * 1000.0) as i64
        } else {
            if !token.iter().all(u8::is_ascii_digit) {
                return None;
            }
            parse_digits(token).ok()?
        });
        at = end;
    }
    if rest.get(at) != Some(&b'\n') {
        return None;
    }
    let series = Series {
        raw,
        value,
        timestamp,
        metric_type: MetricType::Unknown,
        exemplar: None,
    };
    Some((series, at + 1))
}

#[inline]
fn name_length(bytes: &[u8], colon: bool) -> usize {
    bytes
        .iter()
        .take_while(|&&b| is_name_byte(b, colon))
        .count()
}

/// From behind the opening brace to behind the closing one.
#[inline]
fn labels_end(rest: &[u8], mut at: usize, open_metrics: bool) -> Option<usize> {
    loop {
        let first = *rest.get(at)?;
        if first == b'}' {
            return Some(at + 1);
        }
        if !is_name_start(first, false) {
            return None;
        }
        at += 1 + name_length(rest.get(at + 1..)?, false);
        if rest.get(at..at + 2)? != b"=\"" {
            return None;
        }
        at += 2;
        loop {
            let tail = rest.get(at..)?;
            let found = if open_metrics {
                memchr3(b'"', b'\\', b'\n', tail)?
            } else {
                memchr2(b'"', b'\\', tail)?
            };
            at += found;
            match rest.get(at)? {
                b'"' => break,
                b'\\' if !matches!(rest.get(at + 1)?, 0 | b'\n') => at += 2,
                _ => return None,
            }
        }
        match rest.get(at + 1)? {
            b',' => at += 2,
            b'}' => return Some(at + 2),
            _ => return None,
        }
    }
}

/// A number's bytes, and where the space or line feed behind it stands.
#[inline]
fn word(rest: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let tail = rest.get(at..)?;
    let length = tail
        .iter()
        .position(|b| matches!(b, b' ' | b'\n' | b'\t' | b'{' | 0))?;
    (length > 0).then(|| (tail.get(..length).unwrap_or_default(), at + length))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
