//! Durations as Prometheus writes them: `1h30m`, units y w d h m s ms in that order, each once.

/// Why a text is not a duration. Texts are those of prometheus/common.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// Nothing there.
    #[error("empty duration string")]
    Empty,
    /// Wrong shape.
    #[error("not a valid duration string: {0:?}")]
    Invalid(String),
    /// More than 292 years.
    #[error("duration out of range")]
    OutOfRange,
}

/// Milliseconds of each unit, greatest first; the flag says whether it is written only when it divides the whole.
const UNITS: [(&str, i64, bool); 7] = [
    ("y", 365 * 24 * 3_600_000, true),
    ("w", 7 * 24 * 3_600_000, true),
    ("d", 24 * 3_600_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1_000, false),
    ("ms", 1, false),
];

/// The longest duration that Go's nanoseconds hold.
const MS_MAX: i64 = i64::MAX / 1_000_000;

/// Reads a duration; milliseconds.
pub fn parse_duration_ms(text: &str) -> Result<i64, DurationError> {
    match text {
        "0" => return Ok(0),
        "" => return Err(DurationError::Empty),
        _ => {}
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        if number.is_empty() {
            return Err(invalid());
        }
        // Units come once each, in descending order: what `next` has passed is no longer allowed.
        let (_, ms, _) = units
            .find(|(name, _, _)| *name == unit)
            .ok_or_else(invalid)?;
        let number: i64 = number.parse().map_err(|_| DurationError::OutOfRange)?;
        total = number
            .checked_mul(*ms)
            .and_then(|part| total.checked_add(part))
            .filter(|t| *t <= MS_MAX)
            .ok_or(DurationError::OutOfRange)?;
        rest = tail;
    }
    Ok(total)
}

/// Writes a duration as prometheus/common does: years, weeks and days only where they divide the rest.
pub fn format_duration_ms(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    let mut rest = ms.unsigned_abs();
    if ms < 0 {
        out.push('-');
    }
    for (name, unit, exact) in UNITS {
        let unit = unit.unsigned_abs();
        if exact && !rest.is_multiple_of(unit) {
            continue;
        }
        if rest / unit > 0 {
            out.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
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
            ("1h", 3_600_000, "1h"),
            ("4d", 345_600_000, "4d"),
            ("4d1h", 349_200_000, "4d1h"),
            ("14d", 1_209_600_000, "2w"),
            ("3w", 1_814_400_000, "3w"),
            ("3w2d1h", 1_990_800_000, "23d1h"),
            ("10y", 315_360_000_000, "10y"),
            ("1h30m", 5_400_000, "1h30m"),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
            assert_eq!(format_duration_ms(ms), shown, "{text}");
        }
    }

    #[test]
    fn refuses_what_prometheus_refuses() {
        assert_eq!(parse_duration_ms(""), Err(DurationError::Empty));
        for text in [
            "1", "1y1m1d", "-1w", "1.5d", "d", "1 s", "s1", "1s1s", "2y1", "5µs",
        ] {
            assert_eq!(
                parse_duration_ms(text),
                Err(DurationError::Invalid(text.into())),
                "{text}"
            );
        }
        for text in ["294y", "200y10400w", "107675d", "99999999999999999999s"] {
            assert_eq!(
                parse_duration_ms(text),
                Err(DurationError::OutOfRange),
                "{text}"
            );
        }
    }
}
