//! Durations as Prometheus writes them: `1y2w3d4h5m6s7ms`, in that order, each unit at most once.
//!
//! Everything here is whole milliseconds. Texts of refusals are prometheus/common's.

use super::labels::write_quoted;
use std::fmt;

/// Units, greatest first, with their milliseconds. Years and weeks are written only where nothing remains.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3600 * 1000),
    ("w", 7 * 24 * 3600 * 1000),
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];
const EXACT_UNITS: usize = 2;

/// Durations are nanoseconds in an i64 in Prometheus: this is the most milliseconds it can hold.
const MS_MAX: u64 = i64::MAX as u64 / 1_000_000;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Nothing at all.
    #[error("empty duration string")]
    Empty,
    /// Numbers and units do not alternate, or stand in the wrong order.
    #[error("not a valid duration string: {}", Quoted(.0))]
    Invalid(String),
    /// Letters that are no unit.
    #[error("unknown unit {} in duration {}", Quoted(.unit), Quoted(.text))]
    UnknownUnit {
        /// The letters.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// More than 292 years.
    #[error("duration out of range")]
    OutOfRange,
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, self.0)
    }
}

/// Reads a duration; `0` alone needs no unit. Never negative.
pub fn parse_duration_ms(text: &str) -> Result<i64, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let mut rest = text;
    let mut units_left = UNITS.as_slice();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if number.is_empty() || unit.is_empty() {
            return Err(invalid());
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(DurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            });
        }
        // A unit that is known but not among those left repeats or goes back up.
        let at = units_left
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(invalid)?;
        let (known, left) = units_left.split_at(at + 1);
        let multiple = known.last().map_or(1, |(_, ms)| *ms);
        units_left = left;
        let number: u64 = number.parse().map_err(|_| DurationError::OutOfRange)?;
        total = number
            .checked_mul(multiple)
            .and_then(|ms| total.checked_add(ms))
            .filter(|ms| *ms <= MS_MAX)
            .ok_or(DurationError::OutOfRange)?;
        rest = after;
    }
    Ok(total as i64)
}

/// Writes a duration as Prometheus prints it.
pub fn format_duration_ms(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    if ms < 0 {
        out.push('-');
    }
    let mut rest = ms.unsigned_abs();
    for (index, (unit, multiple)) in UNITS.iter().enumerate() {
        if index < EXACT_UNITS && !rest.is_multiple_of(*multiple) {
            continue;
        }
        let count = rest / multiple;
        if count > 0 {
            out.push_str(&count.to_string());
            out.push_str(unit);
            rest -= count * multiple;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_as_prometheus_prints() {
        for (text, ms, shown) in [
            ("0", 0, "0s"),
            ("0w", 0, "0s"),
            ("324ms", 324, "324ms"),
            ("3s", 3_000, "3s"),
            ("5m", 300_000, "5m"),
            ("4d1h", 349_200_000, "4d1h"),
            ("14d", 1_209_600_000, "2w"),
            ("8d", 691_200_000, "8d"),
            ("3w2d1h", 1_990_800_000, "23d1h"),
            ("10y", 315_360_000_000, "10y"),
            ("1h30m", 5_400_000, "1h30m"),
            ("4s180ms", 4_180, "4s180ms"),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
            assert_eq!(format_duration_ms(ms), shown, "{text}");
        }
        assert_eq!(format_duration_ms(-90_000), "-1m30s");
    }

    #[test]
    fn wrong_durations_are_refused_in_prometheus_words() {
        let text = |t: &str| parse_duration_ms(t).unwrap_err().to_string();
        for bad in ["5", "5m1h", "1s1s", "1y1m1d", "-1w", "s1", "d", "2y1"] {
            assert_eq!(text(bad), format!("not a valid duration string: \"{bad}\""));
        }
        assert_eq!(text("5y1hs"), "unknown unit \"hs\" in duration \"5y1hs\"");
        assert_eq!(text("1.5d"), "unknown unit \".\" in duration \"1.5d\"");
        assert_eq!(text(""), "empty duration string");
        for long in ["294y", "200y10400w", "107675d", "99999999999999999999s"] {
            assert_eq!(text(long), "duration out of range", "{long}");
        }
    }
}
