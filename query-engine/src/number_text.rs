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
    } else {
        // `Display` of f64 is the shortest decimal that reads back equal and never has an exponent.
        let _ = write!(out, "{value}");
    }
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
