//! Times, durations, limits and selectors in request parameters.

use crate::http::request::Form;
use crate::http::respond::ApiError;
use query_engine::parse::parse_metric_selector;
use std::num::{IntErrorKind, ParseIntError};
use storage_engine::model::Matcher;

/// Earliest time a request may name, as Prometheus's `MinTime` (milliseconds).
pub const TIME_MIN_MS: i64 = (i64::MIN / 1000 + 62_135_596_801) * 1000;
/// Latest time a request may name, as Prometheus's `MaxTime` (milliseconds).
pub const TIME_MAX_MS: i64 = (i64::MAX / 1000 - 62_135_596_801) * 1000 + 999;
/// How Prometheus prints those two, which it accepts back.
const TIME_MIN_TEXT: &str = "-292273086-05-16T16:47:06Z";
const TIME_MAX_TEXT: &str = "292277025-08-18T07:12:54.999999999Z";

/// Go's `strconv.ParseFloat` where request parameters need it.
fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let starts_like_number = unsigned
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_digit() || matches!(b, b'.' | b'i' | b'I' | b'n' | b'N'));
    // A number too large for a float is none; `Inf` written out is one.
    let in_range =
        |value: &f64| value.is_finite() || !unsigned.contains(|c: char| c.is_ascii_digit());
    if starts_like_number {
        text.parse().ok().filter(in_range)
    } else {
        None
    }
}

/// A time as Unix seconds (fractions rounded to milliseconds) or RFC 3339.
pub fn parse_time(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_float(text) {
        let whole = seconds.trunc();
        let fraction_ms = ((seconds - whole) * 1000.0).round();
        return Ok((whole as i64)
            .saturating_mul(1000)
            .saturating_add(fraction_ms as i64));
    }
    if is_rfc3339(text)
        && let Ok(time) = text.replacen(',', ".", 1).parse::<jiff::Timestamp>()
    {
        return Ok(time.as_millisecond());
    }
    match text {
        TIME_MIN_TEXT => Ok(TIME_MIN_MS),
        TIME_MAX_TEXT => Ok(TIME_MAX_MS),
        _ => Err(format!(
            "cannot parse {} to a valid timestamp",
            go_quote(text)
        )),
    }
}

/// Exactly the layout that Go's RFC 3339 parser takes: capital `T` and `Z`, seconds below 60, an offset with a colon.
fn is_rfc3339(text: &str) -> bool {
    let shape = |pattern: &[u8], bytes: &[u8]| {
        pattern.len() == bytes.len()
            && pattern.iter().zip(bytes).all(|(p, b)| match p {
                b'0' => b.is_ascii_digit(),
                p => p == b,
            })
    };
    let bytes = text.as_bytes();
    let Some((head, mut tail)) = bytes.split_at_checked(19) else {
        return false;
    };
    if !shape(b"0000-00-00T00:00:00", head) || head[17] > b'5' {
        return false;
    }
    if let [b'.' | b',', fraction @ ..] = tail {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        tail = &fraction[digits..];
    }
    tail == b"Z" || shape(b"+00:00", tail) || shape(b"-00:00", tail)
}

/// A duration as float seconds or in Prometheus's notation; milliseconds.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    parse_duration_ns(text).map(|ns| ns / 1_000_000)
}

/// As [`parse_duration`], in nanoseconds, which is how Prometheus holds it.
pub fn parse_duration_ns(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_float(text) {
        let nanos = seconds * 1e9;
        if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
            let quoted = go_quote(text);
            return Err(format!(
                "cannot parse {quoted} to a valid duration. It overflows int64"
            ));
        }
        return Ok(nanos as i64);
    }
    crate::config::parse_duration_ms(text)
        .map(|ms| ms.saturating_mul(1_000_000))
        .map_err(|_| format!("cannot parse {} to a valid duration", go_quote(text)))
}

/// `%q` for the texts above.
pub fn go_quote(text: &str) -> String {
    let mut out = String::new();
    crate::http::respond::push_json_string(&mut out, text);
    out.replace("\\u003c", "<")
        .replace("\\u003e", ">")
        .replace("\\u0026", "&")
}

/// `name` as a time, `default` when absent; the error is the whole answer.
pub fn time_param(form: &Form, name: &str, default: i64) -> Result<i64, ApiError> {
    match form.value(name) {
        "" => Ok(default),
        text => parse_time(text).map_err(|e| {
            ApiError::parameter(name, format!("invalid time value for '{name}': {e}"))
        }),
    }
}

/// `limit`: 0 means none.
pub fn limit_param(form: &Form) -> Result<usize, ApiError> {
    let text = form.value("limit");
    if text.is_empty() {
        return Ok(0);
    }
    let limit: i64 = text.parse().map_err(|error: ParseIntError| {
        let reason = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        let quoted = go_quote(text);
        ApiError::parameter("limit", format!("strconv.Atoi: parsing {quoted}: {reason}"))
    })?;
    usize::try_from(limit).map_err(|_| ApiError::parameter("limit", "limit must be non-negative"))
}

/// All `match[]` selectors; each must hold a matcher that does not match the empty string.
pub fn matchers_param(form: &Form) -> Result<Vec<Vec<Matcher>>, String> {
    let mut sets = Vec::new();
    for text in form.values("match[]") {
        sets.push(parse_metric_selector(text).map_err(|e| e.to_string())?);
    }
    let empty = |set: &Vec<Matcher>| set.iter().all(Matcher::matches_empty);
    if sets.iter().any(empty) {
        return Err("match[] must contain at least one non-empty matcher".to_owned());
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(parse_time("1435781430.781"), Ok(1_435_781_430_781));
        assert_eq!(parse_time("-1.5"), Ok(-1500));
        assert_eq!(
            parse_time("2015-07-01T20:10:51.781Z"),
            Ok(1_435_781_451_781)
        );
        assert_eq!(
            parse_time("2015-07-01T22:10:51+02:00"),
            Ok(1_435_781_451_000)
        );
        assert_eq!(parse_time(TIME_MIN_TEXT), Ok(TIME_MIN_MS));
        assert_eq!(
            parse_time("foo"),
            Err("cannot parse \"foo\" to a valid timestamp".into())
        );
        assert!(parse_time("").is_err());
        for refused in [
            "2015-07-01 20:10:51Z",
            "2015-07-01t20:10:51z",
            "2015-07-01T20:10:60Z",
            "2015-07-01T20:10:51.Z",
            "2015-07-01T20:10:51+0200",
            "1e400",
        ] {
            assert!(parse_time(refused).is_err(), "{refused}");
        }
        assert_eq!(parse_time("2015-07-01T20:10:51,5Z"), Ok(1_435_781_451_500));
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("15"), Ok(15_000));
        assert_eq!(parse_duration("0.5"), Ok(500));
        assert_eq!(parse_duration("1h30m"), Ok(5_400_000));
        assert_eq!(
            parse_duration("1e30"),
            Err("cannot parse \"1e30\" to a valid duration. It overflows int64".into())
        );
        assert_eq!(
            parse_duration("x"),
            Err("cannot parse \"x\" to a valid duration".into())
        );
    }

    #[test]
    fn limits() {
        assert_eq!(limit_param(&Form::from_query("limit=3")).unwrap(), 3);
        assert_eq!(
            limit_param(&Form::from_query("limit=-1")).unwrap_err().text,
            "invalid parameter \"limit\": limit must be non-negative"
        );
    }
}
