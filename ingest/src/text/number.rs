//! Numbers as Prometheus reads them: Go's `strconv.ParseFloat` without hexadecimal floats and underscores, and
//! the OpenMetrics spelling of `le` and `quantile` values.
//!
//! Promise: the nearest float for every decimal, Go's error texts for everything else; every NaN is the one NaN
//! (`0x7ff8000000000001`) that Prometheus stores, so a target can never forge a staleness marker.
//! Not here: finding where a number starts and ends.

use super::quote::go_quote;

/// The bit pattern of an ordinary NaN (`value.NormalNaN`).
pub(crate) const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// Powers of ten that a float holds exactly; with a mantissa below 2^53 one division is correctly rounded (Clinger).
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Why text is not a number; texts are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NumberError {
    /// Hexadecimal exponent or underscore.
    #[error("unsupported character in float")]
    Unsupported,
    /// Not a number at all.
    #[error("strconv.{function}: parsing {quoted}: invalid syntax")]
    Syntax {
        /// The Go function whose text this is.
        function: &'static str,
        /// The token, quoted.
        quoted: String,
    },
    /// A number that does not fit.
    #[error("strconv.{function}: parsing {quoted}: value out of range")]
    Range {
        /// The Go function whose text this is.
        function: &'static str,
        /// The token, quoted.
        quoted: String,
    },
}

/// Reads a float.
#[inline]
pub(crate) fn parse_float(token: &[u8]) -> Result<f64, NumberError> {
    match short_decimal(token) {
        Some(value) => Ok(value),
        None => parse_float_any(token),
    }
}

/// `[-]digits[.digits]` with at most 18 digits: one pass, one division.
#[inline]
fn short_decimal(token: &[u8]) -> Option<f64> {
    let (negative, digits) = match token {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut mantissa = 0u64;
    let mut point = None;
    for (index, &byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            mantissa = mantissa * 10 + u64::from(digit);
        } else if byte == b'.' && point.is_none() {
            point = Some(index);
        } else {
            return None;
        }
    }
    let fraction = match point {
        Some(_) if digits.len() == 1 => return None,
        Some(index) => digits.len() - 1 - index,
        None if digits.len() > 18 => return None,
        None => 0,
    };
    if mantissa >= 1 << 53 {
        return None;
    }
    let value = mantissa as f64 / POWERS_OF_TEN.get(fraction)?;
    Some(if negative { -value } else { value })
}

#[inline(never)]
fn parse_float_any(token: &[u8]) -> Result<f64, NumberError> {
    if token.iter().any(|b| matches!(b, b'p' | b'P' | b'_')) {
        return Err(NumberError::Unsupported);
    }
    parse_go_float(token)
}

/// `strconv.ParseFloat` for text without `p` and `_`.
fn parse_go_float(token: &[u8]) -> Result<f64, NumberError> {
    let function = "ParseFloat";
    let syntax = || NumberError::Syntax {
        function,
        quoted: go_quote(token),
    };
    if token.eq_ignore_ascii_case(b"nan") {
        return Ok(f64::from_bits(NORMAL_NAN_BITS));
    }
    let (negative, unsigned) = match token {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let magnitude =
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            f64::INFINITY
        } else {
            if !is_decimal(unsigned) {
                return Err(syntax());
            }
            let value = fast_float2::parse::<f64, _>(unsigned).map_err(|_| syntax())?;
            if value.is_infinite() {
                return Err(NumberError::Range {
                    function,
                    quoted: go_quote(token),
                });
            }
            value
        };
    Ok(if negative { -magnitude } else { magnitude })
}

/// `digits [. digits] [e [sign] digits]` with a digit somewhere in the mantissa.
fn is_decimal(text: &[u8]) -> bool {
    let digits = |from: usize| {
        text.get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let mut at = digits(0);
    let mut seen = at;
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        at += 1 + fraction;
        seen += fraction;
    }
    if seen == 0 {
        return false;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(text.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        let exponent = digits(at);
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == text.len()
}

/// Reads the decimal digits of a text-format timestamp (milliseconds).
pub(crate) fn parse_digits(token: &[u8]) -> Result<i64, NumberError> {
    let mut value = 0i64;
    for &byte in token {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        let next = value.checked_mul(10).and_then(|v| v.checked_add(digit));
        value = next.ok_or_else(|| NumberError::Range {
            function: "ParseInt",
            quoted: go_quote(token),
        })?;
    }
    Ok(value)
}

/// The OpenMetrics spelling of a float label value (`1` becomes `1.0`), `None` when `text` is not a number.
pub(crate) fn open_metrics_float(text: &str) -> Option<String> {
    let value = parse_go_float(text.as_bytes()).ok()?;
    Some(open_metrics_float_of(value))
}

/// A float label value as OpenMetrics spells it.
pub(crate) fn open_metrics_float_of(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let mut out = go_format_g(value);
    if !out.contains(['e', '.']) {
        out.push_str(".0");
    }
    out
}

/// Go's `strconv.FormatFloat(value, 'g', -1, 64)` for a finite value: shortest digits, exponent form below 1e-4
/// and from 1e6 on.
pub(crate) fn go_format_g(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(token: &str, expected: Result<f64, &str>) {
        let got = parse_float(token.as_bytes());
        match (&got, &expected) {
            (Ok(g), Ok(e)) => assert_eq!(g.to_bits(), e.to_bits(), "{token}"),
            (Err(g), Err(e)) => assert_eq!(&g.to_string(), e, "{token}"),
            _ => panic!("{token}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn floats_as_go_reads_them() {
        check("0", Ok(0.0));
        check("-0", Ok(-0.0));
        check("+1", Ok(1.0));
        check("12345", Ok(12345.0));
        check("4.9351e-05", Ok(4.9351e-05));
        check("7.424100000000001e-05", Ok(7.424100000000001e-05));
        check(".5", Ok(0.5));
        check("5.", Ok(5.0));
        check("1e5", Ok(1e5));
        check("9007199254740993", Ok(9007199254740992.0));
        check("0.1", Ok(0.1));
        check("123456789012345678901234567890", Ok(1.2345678901234568e29));
        check("Inf", Ok(f64::INFINITY));
        check("+inf", Ok(f64::INFINITY));
        check("-Infinity", Ok(f64::NEG_INFINITY));
        check("NaN", Ok(f64::from_bits(NORMAL_NAN_BITS)));
        check("1e-999", Ok(0.0));
        check("1_2", Err("unsupported character in float"));
        check("0x1p-3", Err("unsupported character in float"));
        for bad in [
            "true", "", ".", "-", "+", "1e", "1e+", "0x10", "1..2", "+nan", "infx", "1 ",
        ] {
            check(
                bad,
                Err(&format!(
                    "strconv.ParseFloat: parsing {bad:?}: invalid syntax"
                )),
            );
        }
        check(
            "1e999",
            Err("strconv.ParseFloat: parsing \"1e999\": value out of range"),
        );
    }

    #[test]
    fn the_short_path_agrees_with_the_standard_library() {
        let mut state = 0x1234_5678_9abc_def1_u64;
        for _ in 0..200_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let digits = state % 10u64.pow((state >> 60) as u32 + 1);
            let places = (state >> 40) % 12;
            let text = match places {
                0 => format!("{digits}"),
                p => format!(
                    "-{digits}.{:0width$}",
                    (state >> 8) % 10u64.pow(p as u32),
                    width = p as usize
                ),
            };
            let expected: f64 = text.parse().unwrap();
            assert_eq!(
                parse_float(text.as_bytes()).unwrap().to_bits(),
                expected.to_bits(),
                "{text}"
            );
        }
    }

    #[test]
    fn le_and_quantile_spelling() {
        for (from, to) in [
            ("1", "1.0"),
            ("0", "0.0"),
            ("-1", "-1.0"),
            ("+Inf", "+Inf"),
            ("0.25", "0.25"),
            ("10", "10.0"),
            ("1e5", "100000.0"),
            ("1e6", "1e+06"),
            ("1000000", "1e+06"),
            ("1234567", "1.234567e+06"),
            ("0.00001", "1e-05"),
            ("1e-4", "0.0001"),
            ("nan", "NaN"),
        ] {
            assert_eq!(open_metrics_float(from).as_deref(), Some(to), "{from}");
        }
        assert_eq!(open_metrics_float("x"), None);
    }
}
