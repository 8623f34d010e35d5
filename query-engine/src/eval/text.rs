//! Numbers and strings as Go prints them, for texts that must equal Prometheus's.
//!
//! Not here: sample values in JSON (the gateway), PromQL literals (the printer).

/// Go's `%g`: shortest digits that read back equal, exponent form when the decimal exponent is below -4 or at least 6.
pub fn go_g(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Go's `strconv.FormatFloat(value, 'f', -1, 64)`: shortest digits, never an exponent.
pub fn go_f(value: f64) -> String {
    special(value).map_or_else(|| format!("{value}"), str::to_owned)
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("+Inf")
    } else if value == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

/// Go's `strconv.Quote` (`%q`) over bytes: what is not UTF-8 or not printable is escaped.
pub fn go_quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{b}' => out.push_str("\\v"),
                '\u{c}' => out.push_str("\\f"),
                c if (c as u32) < 0x20 || c == '\u{7f}' => {
                    out.push_str(&format!("\\x{:02x}", c as u32));
                }
                c => out.push(c),
            }
        }
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_go_does() {
        assert_eq!(go_g(1.1), "1.1");
        assert_eq!(go_g(-0.5), "-0.5");
        assert_eq!(go_g(100000.0), "100000");
        assert_eq!(go_g(1e6), "1e+06");
        assert_eq!(go_g(0.00001), "1e-05");
        assert_eq!(go_g(0.0001), "0.0001");
        assert_eq!(go_g(123456789.0), "1.23456789e+08");
        assert_eq!(go_g(f64::INFINITY), "+Inf");
        assert_eq!(go_f(1e21), "1000000000000000000000");
        assert_eq!(go_f(f64::NEG_INFINITY), "-Inf");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_escaped() {
        assert_eq!(go_quote(b"a\xc5z"), "\"a\\xc5z\"");
        assert_eq!(go_quote(b"q\"\n"), "\"q\\\"\\n\"");
    }
}
