//! Durations as Prometheus writes them in `__scrape_interval__`: `1h30m`, `15s`, `500ms`.
//!
//! Format: `model.Duration` of Prometheus's common library. Not here: PromQL's durations, which may be negative or
//! expressions.

use std::fmt::Write;
use std::time::Duration;

/// Units from large to small with their milliseconds; years and weeks are written only when nothing remains.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 24 * 3_600_000, true),
    ("w", 7 * 24 * 3_600_000, true),
    ("d", 24 * 3_600_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1_000, false),
    ("ms", 1, false),
];

/// Why text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Nothing there.
    #[error("empty duration string")]
    Empty,
    /// Not numbers with units in descending order.
    #[error("not a valid duration string: {0:?}")]
    Invalid(String),
    /// More than Go's 292 years.
    #[error("duration out of range")]
    OutOfRange,
}

/// As Prometheus prints it, to the millisecond.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, ms, exact) in UNITS {
        if exact && !rest.is_multiple_of(ms) {
            continue;
        }
        let count = rest / ms;
        if count > 0 {
            // Writing to a string does not fail.
            let _ = write!(out, "{count}{unit}");
            rest -= count * ms;
        }
    }
    out
}

/// Reads what [`format_duration`] writes, each unit at most once and in descending order.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err(invalid());
        }
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = tail.split_at(letters);
        let (_, ms, _) = units
            .find(|(name, _, _)| *name == unit)
            .ok_or_else(invalid)?;
        let number: u64 = number.parse().map_err(|_| DurationError::OutOfRange)?;
        total = number
            .checked_mul(*ms)
            .and_then(|part| total.checked_add(part))
            .filter(|ms| *ms <= i64::MAX as u64 / 1_000_000)
            .ok_or(DurationError::OutOfRange)?;
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refusals() {
        for (ms, text) in [
            (0, "0s"),
            (1, "1ms"),
            (15_000, "15s"),
            (90_000, "1m30s"),
            (86_400_000 * 7, "1w"),
            (86_400_000 * 8, "8d"),
            (86_400_000 * 365, "1y"),
            (3_661_001, "1h1m1s1ms"),
        ] {
            assert_eq!(format_duration(Duration::from_millis(ms)), text);
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)));
        }
        for text in ["1", "1s1m", "s", "-1s", "1.5s", "1x"] {
            assert_eq!(
                parse_duration(text),
                Err(DurationError::Invalid(text.into()))
            );
        }
        assert_eq!(parse_duration(""), Err(DurationError::Empty));
        assert_eq!(parse_duration("300y"), Err(DurationError::OutOfRange));
    }
}
