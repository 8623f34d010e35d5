//! Durations as Prometheus writes them: `1y2w3d4h5m6s7ms`, in that order, each unit at most once.
//!
//! Everything here is whole milliseconds. Error texts are those of Prometheus's own parser.

use std::fmt::Write;

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3600 * 1000),
    ("w", 7 * 24 * 3600 * 1000),
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Durations are nanoseconds in an i64 in Prometheus: this is the most milliseconds it can hold.
const MS_MAX: u64 = i64::MAX as u64 / 1_000_000;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationTextError {
    /// Nothing at all.
    #[error("empty duration string")]
    Empty,
    /// Numbers and units do not alternate, or stand in the wrong order.
    #[error("not a valid duration string: {}", quoted(.0))]
    Invalid(String),
    /// Letters that are no unit.
    #[error("unknown unit {} in duration {}", quoted(.0), quoted(.1))]
    UnknownUnit(String, String),
    /// More than 292 years.
    #[error("duration out of range")]
    OutOfRange,
}

fn quoted(text: &str) -> String {
    crate::eval::text::go_quote(text.as_bytes())
}

/// Reads a duration; `0` alone needs no unit.
pub fn parse_duration_ms(text: &str) -> Result<i64, DurationTextError> {
    match text {
        "" => return Err(DurationTextError::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let invalid = || DurationTextError::Invalid(text.to_owned());
    let mut rest = text;
    let mut last_unit: Option<usize> = None;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        if number.is_empty() {
            return Err(invalid());
        }
        let letters = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if unit.is_empty() {
            return Err(invalid());
        }
        let index = UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(|| DurationTextError::UnknownUnit(unit.to_owned(), text.to_owned()))?;
        if last_unit.is_some_and(|last| index <= last) {
            return Err(invalid());
        }
        last_unit = Some(index);
        let number: u64 = number.parse().map_err(|_| DurationTextError::OutOfRange)?;
        let multiple = UNITS.get(index).map_or(1, |u| u.1);
        total = number
            .checked_mul(multiple)
            .and_then(|ms| total.checked_add(ms))
            .filter(|ms| *ms <= MS_MAX)
            .ok_or(DurationTextError::OutOfRange)?;
        rest = after;
    }
    Ok(total as i64)
}

/// Appends a duration as Prometheus prints it; years and weeks only where nothing remains.
pub fn format_duration_ms(ms: i64, out: &mut String) {
    if ms == 0 {
        out.push_str("0s");
        return;
    }
    if ms < 0 {
        out.push('-');
    }
    let mut rest = ms.unsigned_abs();
    for (index, (unit, multiple)) in UNITS.iter().enumerate() {
        let exact_only = index < 2;
        if exact_only && !rest.is_multiple_of(*multiple) {
            continue;
        }
        let count = rest / multiple;
        if count > 0 {
            let _ = write!(out, "{count}{unit}");
            rest -= count * multiple;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_survive_the_way_to_text_and_back() {
        for (text, ms) in [
            ("0s", 0),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1y", 31_536_000_000),
            ("2w", 1_209_600_000),
            ("8d", 691_200_000),
            ("4s180ms", 4_180),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms));
            let mut out = String::new();
            format_duration_ms(ms, &mut out);
            assert_eq!(out, text);
        }
        let mut out = String::new();
        format_duration_ms(-90_000, &mut out);
        assert_eq!(out, "-1m30s");
    }

    #[test]
    fn wrong_durations_are_refused_in_prometheus_words() {
        let text = |t: &str| parse_duration_ms(t).unwrap_err().to_string();
        assert_eq!(text("5m1h"), "not a valid duration string: \"5m1h\"");
        assert_eq!(text("5y1hs"), "unknown unit \"hs\" in duration \"5y1hs\"");
        assert_eq!(text("5"), "not a valid duration string: \"5\"");
        assert_eq!(text("300y"), "duration out of range");
        assert_eq!(text(""), "empty duration string");
    }
}
