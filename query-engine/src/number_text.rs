//! Numbers as text, byte for byte as Prometheus writes them.
//!
//! Two forms: sample values of the HTTP API (exponent below 1e-6 and from 1e21) and PromQL literals (never an exponent).
//! Both are the shortest digits that read back as the same number.

use std::fmt::Write;

/// Appends a sample value as the HTTP API writes it: `1.5`, `NaN`, `+Inf`, `1e-07`, `1e+21`.
pub fn format_value(value: f64, out: &mut String) {
    let magnitude = value.abs();
    if magnitude != 0.0 && magnitude.is_finite() && !(1e-6..1e21).contains(&magnitude) {
        let start = out.len();
        let _ = write!(out, "{value:e}");
        // Rust writes `1e-7`; Go writes the sign always and at least two digits.
        if let Some(at) = out.get(start..).and_then(|text| text.find('e')) {
            let exponent = out.split_off(start + at + 1);
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent.as_str()),
            };
            out.push(sign);
            if digits.len() < 2 {
                out.push('0');
            }
            out.push_str(digits);
        }
        return;
    }
    format_plain(value, out);
}

/// Appends a number without exponent, as Go's `strconv.FormatFloat(value, 'f', -1, 64)`.
pub fn format_plain(value: f64, out: &mut String) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value == f64::INFINITY {
        out.push_str("+Inf");
    } else if value == f64::NEG_INFINITY {
        out.push_str("-Inf");
    } else if !push_few_decimals(value, out) {
        // `Display` of f64 is the shortest decimal that reads back equal and never has an exponent.
        let _ = write!(out, "{value}");
    }
}

/// Decimals that are tried.
const DECIMALS_MAX: usize = 3;
/// Up to here a number times a thousand is told from its neighbours: far below 2^52.
const TRIED_MAX: f64 = 1e12;

/// Appends a number that has at most three decimals; false, and nothing is appended, when it has more. A number that is the nearest to a
/// decimal of so few digits is written as that decimal: no shorter one reads back as the same number.
fn push_few_decimals(value: f64, out: &mut String) -> bool {
    let magnitude = value.abs();
    if magnitude > TRIED_MAX {
        return false;
    }
    let mut scale = 1.0;
    for decimals in 0..=DECIMALS_MAX {
        // The nearest whole number; one that is only almost the nearest does not read back.
        let digits = (magnitude * scale + 0.5) as i64;
        if digits as f64 / scale == magnitude {
            if value.is_sign_negative() {
                out.push('-');
            }
            push_digits(digits.unsigned_abs(), decimals, out);
            return true;
        }
        scale *= 10.0;
    }
    false
}

/// Appends a whole number with a point before its last `decimals` digits.
fn push_digits(mut digits: u64, decimals: usize, out: &mut String) {
    let mut text = [0_u8; 24];
    let (mut at, mut written) = (text.len(), 0);
    while digits > 0 || written <= decimals {
        if written == decimals && decimals > 0 {
            at -= 1;
            text[at] = b'.';
        }
        at -= 1;
        text[at] = b'0' + (digits % 10) as u8;
        digits /= 10;
        written += 1;
    }
    out.push_str(std::str::from_utf8(&text[at..]).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: f64, api: &str, plain: &str) {
        let (mut a, mut p) = (String::new(), String::new());
        format_value(value, &mut a);
        format_plain(value, &mut p);
        assert_eq!((a.as_str(), p.as_str()), (api, plain));
    }

    #[test]
    fn numbers_with_few_decimals_are_written_as_display_writes_them() {
        let mut state = 7_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        let mut written = 0;
        for n in 0..200_000_u32 {
            let whole = (random() >> (random() % 52)) as f64;
            let value = match n % 6 {
                0 => whole,
                1 => whole / 10.0,
                2 => whole / 100.0,
                3 => -whole / 1000.0,
                4 => whole * 0.01,
                _ => f64::from_bits(random() << 11),
            };
            let mut text = String::new();
            if push_few_decimals(value, &mut text) {
                assert_eq!(text, value.to_string());
                written += 1;
            } else {
                assert_eq!(text, "");
            }
        }
        assert!(written > 90_000, "{written}");
    }

    #[test]
    fn values_are_written_as_go_writes_them() {
        check(0.0, "0", "0");
        check(-0.0, "-0", "-0");
        check(1.5, "1.5", "1.5");
        check(0.000001, "0.000001", "0.000001");
        check(0.0000001, "1e-07", "0.0000001");
        check(-2.5e-10, "-2.5e-10", "-0.00000000025");
        check(1e20, "100000000000000000000", "100000000000000000000");
        check(1e21, "1e+21", "1000000000000000000000");
        check(1.25e100, "1.25e+100", &format!("125{}", "0".repeat(98)));
        check(f64::NAN, "NaN", "NaN");
        check(f64::INFINITY, "+Inf", "+Inf");
        check(f64::NEG_INFINITY, "-Inf", "-Inf");
    }
}
