//! The small words of the language: durations, numbers, quoted text, the first word of a line.

/// Splits off the first word; what follows starts at the next non-blank.
pub(super) fn first_word(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    match line.find([' ', '\t']) {
        Some(end) => {
            let (word, rest) = line.split_at(end);
            (word, rest.trim_start())
        }
        None => (line, ""),
    }
}

/// A Prometheus duration (`1h30m`, `5ms`, `0`) in milliseconds.
pub(super) fn duration_ms(text: &str) -> Option<i64> {
    storage_engine::model::parse_duration_ms(text).ok()
}

/// A signed duration, as start timestamps are given: `-1m`, `+30s`, `0s`.
pub(super) fn signed_duration_ms(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(rest) => duration_ms(rest).map(|ms| -ms),
        None => duration_ms(text.strip_prefix('+').unwrap_or(text)),
    }
}

/// A line that is a number: Go's integer with a base prefix, or a float.
pub(super) fn number(text: &str) -> Option<f64> {
    integer(text).or_else(|| text.parse().ok())
}

fn integer(text: &str) -> Option<f64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..)?)
    } else {
        (10, lower.as_str())
    };
    let first = digits.chars().next()?;
    if !first.is_digit(radix) {
        return None;
    }
    let value = i64::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    let value = value as f64;
    Some(if negative { -value } else { value })
}

/// Go's `strconv.Unquote` of a double-quoted, single-quoted (PromQL has no runes) or raw string.
pub(super) fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut chars = text.chars();
    let quote = chars.next()?;
    if text.len() < 2 || chars.next_back()? != quote {
        return None;
    }
    let inside = chars.as_str();
    match quote {
        '`' => (!inside.contains('`')).then(|| inside.as_bytes().to_vec()),
        '"' | '\'' => unescape(inside, quote),
        _ => None,
    }
}

fn unescape(text: &str, quote: char) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut utf8 = [0; 4];
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..)?;
        if c == quote || c == '\n' {
            return None;
        }
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
            continue;
        }
        let escape = rest.chars().next()?;
        let code = |from: usize, count: usize, radix: u32| -> Option<u32> {
            u32::from_str_radix(rest.get(from..from + count)?, radix).ok()
        };
        let plain = |b: u8| (Escaped::Byte(b), 1);
        let (escaped, used) = match escape {
            'a' => plain(7),
            'b' => plain(8),
            'f' => plain(12),
            'n' => plain(b'\n'),
            'r' => plain(b'\r'),
            't' => plain(b'\t'),
            'v' => plain(11),
            '\\' => plain(b'\\'),
            c if c == quote => plain(quote as u8),
            'x' => (Escaped::Byte(code(1, 2, 16)? as u8), 3),
            '0'..='7' => (Escaped::Byte(u8::try_from(code(0, 3, 8)?).ok()?), 3),
            'u' => (Escaped::Char(char::from_u32(code(1, 4, 16)?)?), 5),
            'U' => (Escaped::Char(char::from_u32(code(1, 8, 16)?)?), 9),
            _ => return None,
        };
        match escaped {
            Escaped::Byte(b) => out.push(b),
            Escaped::Char(c) => out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
        }
        rest = rest.get(used..)?;
    }
    Some(out)
}

enum Escaped {
    Byte(u8),
    Char(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration_ms("0"), Some(0));
        assert_eq!(duration_ms("1h30m"), Some(5_400_000));
        assert_eq!(duration_ms("1m5ms"), Some(60_005));
        assert_eq!(duration_ms("5m1h"), None);
        assert_eq!(duration_ms("5"), None);
        assert_eq!(duration_ms(""), None);
        assert_eq!(duration_ms("-5m"), None);
        assert_eq!(signed_duration_ms("-1m"), Some(-60_000));
    }

    #[test]
    fn numbers() {
        assert_eq!(number("0x1f"), Some(31.0));
        assert_eq!(number("-010"), Some(-8.0));
        assert_eq!(number("08"), Some(8.0));
        assert_eq!(number("1_000"), Some(1000.0));
        assert_eq!(number("-Inf"), Some(f64::NEG_INFINITY));
        assert_eq!(number("metric 1"), None);
    }

    #[test]
    fn quoted_text() {
        assert_eq!(
            unquote(r#""a\"b\x41\u00e9""#),
            Some("a\"bAé".as_bytes().to_vec())
        );
        assert_eq!(unquote("`a\\b`"), Some(b"a\\b".to_vec()));
        assert_eq!(unquote("\"a"), None);
        assert_eq!(unquote(r#""\q""#), None);
    }
}
