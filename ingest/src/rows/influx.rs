//! InfluxDB's line protocol: `measurement,tag=value field=1.5,other=2i 1700000000000000000`.
//!
//! A field becomes the series `measurement_field` with the line's tags as labels, as VictoriaMetrics has it. Numbers, integers (`i`, `u`)
//! and booleans (1 and 0) are values; a string is none, and its field is left out. Without a time a line has that of its arrival.

use super::{RowProtocol, Rows};
use crate::text::go_quote;
use std::borrow::Cow;
use storage_engine::model::TimestampMs;

/// The unit of times in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// `ns`, also `n`
    #[default]
    Nanoseconds,
    /// `us`, also `u` and `µ`
    Microseconds,
    /// `ms`
    Milliseconds,
    /// `s`
    Seconds,
    /// `m`
    Minutes,
    /// `h`
    Hours,
}

impl Precision {
    /// The unit of that name; nothing means nanoseconds.
    pub fn from_name(name: &str) -> Option<Precision> {
        Some(match name {
            "" | "ns" | "n" => Precision::Nanoseconds,
            "us" | "u" | "µ" | "µs" => Precision::Microseconds,
            "ms" => Precision::Milliseconds,
            "s" => Precision::Seconds,
            "m" => Precision::Minutes,
            "h" => Precision::Hours,
            _ => return None,
        })
    }

    fn to_ms(self, time: i64) -> Option<TimestampMs> {
        match self {
            Precision::Nanoseconds => Some(time.div_euclid(1_000_000)),
            Precision::Microseconds => Some(time.div_euclid(1000)),
            Precision::Milliseconds => Some(time),
            Precision::Seconds => time.checked_mul(1000),
            Precision::Minutes => time.checked_mul(60_000),
            Precision::Hours => time.checked_mul(3_600_000),
        }
    }
}

/// The line protocol with what the request says besides its body.
#[derive(Debug, Clone, Default)]
pub struct InfluxLines {
    /// The unit of times.
    pub precision: Precision,
    /// A label `db` for lines that have none; empty for no such label.
    pub db: String,
}

impl RowProtocol for InfluxLines {
    fn read(&self, body: &[u8], now: TimestampMs, rows: &mut Rows) {
        for line in lines(body) {
            let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            if let Err(reason) = self.line(line, now, rows) {
                rows.fault(|| format!("unable to parse {}: {reason}", go_quote(line)));
            }
        }
    }
}

/// Lines; one may go on over a line end inside a quoted string.
fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped, mut in_fields) = (false, false, false);
        let is_comment = rest.trim_ascii_start().first() == Some(&b'#');
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if !is_comment => escaped = true,
                b' ' if !quoted => in_fields = true,
                // Quotes mean something among fields only.
                b'"' if in_fields && !is_comment => quoted = !quoted,
                b'\n' if !quoted => {
                    let line = &rest[..at];
                    rest = &rest[at + 1..];
                    return Some(line);
                }
                _ => {}
            }
        }
        Some(std::mem::take(&mut rest))
    })
}

impl InfluxLines {
    fn line(&self, line: &[u8], now: TimestampMs, rows: &mut Rows) -> Result<(), String> {
        let text = std::str::from_utf8(line).map_err(|_| "invalid UTF-8".to_owned())?;
        let (key, rest) = split_at(text, b" ", Quotes::Plain).ok_or("missing fields")?;
        let rest = rest.trim_start_matches(' ');
        let (fields, time) = match split_at(rest, b" ", Quotes::Enclose) {
            Some((fields, time)) => (fields, time.trim_matches(' ')),
            None => (rest, ""),
        };
        let time = match time {
            "" => now,
            time => {
                let number: i64 = time.parse().map_err(|_| "bad timestamp")?;
                self.precision.to_ms(number).ok_or("time outside range")?
            }
        };
        let mut tags: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        let (measurement, mut rest) = match split_at(key, b",", Quotes::Plain) {
            Some((measurement, tags)) => (measurement, Some(tags)),
            None => (key, None),
        };
        let measurement = unescape(measurement, ", ");
        if measurement.is_empty() {
            return Err("missing measurement".to_owned());
        }
        while let Some(all) = rest {
            let (tag, more) = match split_at(all, b",", Quotes::Plain) {
                Some((tag, more)) => (tag, Some(more)),
                None => (all, None),
            };
            rest = more;
            let (name, value) = split_at(tag, b"=", Quotes::Plain).ok_or("missing tag value")?;
            if name.is_empty() {
                return Err("missing tag key".to_owned());
            }
            tags.push((unescape(name, ",= "), unescape(value, ",= ")));
        }
        if !self.db.is_empty() && tags.iter().all(|(name, _)| name != "db") {
            tags.push(("db".into(), self.db.as_str().into()));
        }
        self.fields(fields, &measurement, &tags, time, rows)
    }

    fn fields(
        &self,
        fields: &str,
        measurement: &str,
        tags: &[(Cow<'_, str>, Cow<'_, str>)],
        time: TimestampMs,
        rows: &mut Rows,
    ) -> Result<(), String> {
        // All fields are read before one is added: a line is taken whole or not at all.
        let mut found: Vec<(String, f64)> = Vec::new();
        let mut rest = Some(fields);
        while let Some(all) = rest {
            let (field, more) = match split_at(all, b",", Quotes::Enclose) {
                Some((field, more)) => (field, Some(more)),
                None => (all, None),
            };
            rest = more;
            let (name, value) =
                split_at(field, b"=", Quotes::Plain).ok_or("missing field value")?;
            if name.is_empty() {
                return Err("missing field key".to_owned());
            }
            if let Some(value) = number(value)? {
                let name = unescape(name, ",= ");
                found.push((format!("{measurement}_{name}"), value));
            }
        }
        for (name, value) in &found {
            let mut labels: Vec<(&str, &str)> = Vec::with_capacity(tags.len() + 1);
            labels.extend(tags.iter().map(|(n, v)| (&**n, &**v)));
            labels.push(("__name__", name));
            if !rows.push(&mut labels, time, *value) {
                return Err("the request has too many rows".to_owned());
            }
        }
        Ok(())
    }
}

/// What quotes do to a part of a line.
#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    /// Nothing.
    Plain,
    /// What is between them is not looked at.
    Enclose,
}

/// Cuts at the first of these bytes that has no backslash before it.
fn split_at<'a>(text: &'a str, ends: &[u8], quotes: Quotes) -> Option<(&'a str, &'a str)> {
    let (mut escaped, mut quoted) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        if escaped {
            escaped = false;
        } else if byte == b'\\' {
            escaped = true;
        } else if byte == b'"' && quotes == Quotes::Enclose {
            quoted = !quoted;
        } else if !quoted && ends.contains(&byte) {
            return Some((text.get(..at)?, text.get(at + 1..)?));
        }
    }
    None
}

/// Takes backslashes away before these characters, and no others.
fn unescape<'a>(text: &'a str, special: &str) -> Cow<'a, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        if c == '\\' && next.is_some_and(|next| special.contains(next) || next == '\\') {
            out.extend(chars.next());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The number that a field's value stands for; none for a string.
fn number(value: &str) -> Result<Option<f64>, String> {
    let bad = || format!("invalid field value {}", go_quote(value.as_bytes()));
    match value {
        "" => return Err("missing field value".to_owned()),
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(Some(1.0)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(Some(0.0)),
        _ => {}
    }
    if let Some(rest) = value.strip_prefix('"') {
        return rest
            .ends_with('"')
            .then_some(None)
            .ok_or_else(|| "unbalanced quotes".to_owned());
    }
    if let Some(integer) = value.strip_suffix('i') {
        return integer
            .parse::<i64>()
            .map(|n| Some(n as f64))
            .map_err(|_| bad());
    }
    if let Some(integer) = value.strip_suffix('u') {
        return integer
            .parse::<u64>()
            .map(|n| Some(n as f64))
            .map_err(|_| bad());
    }
    let is_number = value
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let parsed = value
        .parse::<f64>()
        .ok()
        .filter(|n| is_number && n.is_finite());
    parsed.map(Some).ok_or_else(bad)
}

#[cfg(test)]
mod tests;
