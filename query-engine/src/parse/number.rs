//! Number literals by Go's rules: decimal, `0x`, `0o`, `0b`, leading-zero octal, `1_000`, exponents, `Inf` and `NaN` in any case.
//!
//! Integers first (`ParseInt` with base 0), floats otherwise; the error text is Go's.

use crate::eval::text::go_quote;

/// The value of a number token.
pub(super) fn parse_number(text: &str) -> Result<f64, String> {
    if let Some(integer) = go_integer(text) {
        return Ok(integer as f64);
    }
    let failed = |why: &str| {
        format!(
            "error parsing number: strconv.ParseFloat: parsing {}: {why}",
            go_quote(text.as_bytes())
        )
    };
    if text.eq_ignore_ascii_case("inf") {
        return Ok(f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    // Go takes underscores in floats only with a base prefix, and base-prefixed floats only with a `p` exponent, which the lexer refuses.
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !plain {
        return Err(failed("invalid syntax"));
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(failed("value out of range")),
        Err(_) => Err(failed("invalid syntax")),
    }
}

/// `strconv.ParseInt(text, 0, 64)` for texts without sign.
fn go_integer(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let (base, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..)?)
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !underscores_are_between_digits(digits, base != 10) {
        return None;
    }
    i64::from_str_radix(&digits.replace('_', ""), base).ok()
}

fn underscores_are_between_digits(digits: &str, after_prefix: bool) -> bool {
    let mut last_is_digit = after_prefix;
    for b in digits.bytes() {
        if b == b'_' && !last_is_digit {
            return false;
        }
        last_is_digit = b != b'_';
    }
    last_is_digit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("0xc", 12.0),
            ("0755", 493.0),
            ("1_000", 1000.0),
            ("0x_1F", 31.0),
            ("089", 89.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("5e-3", 0.005),
            ("iNf", f64::INFINITY),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
        ] {
            assert_eq!(parse_number(text), Ok(value), "{text}");
        }
        assert!(parse_number("NaN").unwrap().is_nan());
        assert!(parse_number("1__0").unwrap_err().contains("invalid syntax"));
        assert!(parse_number("1e999").unwrap_err().contains("out of range"));
    }
}
