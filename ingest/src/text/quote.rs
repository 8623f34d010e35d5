//! Go's `%q` for bytes, so that error texts quote a line exactly as Prometheus does.
//!
//! Promise: output is valid UTF-8 on one line whatever the input. Not here: JSON or PromQL quoting.

use std::fmt::Write;

/// Longest stretch of a page that an error text repeats; a hostile line must not become a hostile log entry.
const QUOTED_BYTES_MAX: usize = 4096;

/// `strconv.Quote` over bytes; bytes that are not UTF-8 become `\xNN`.
pub(crate) fn go_quote(bytes: &[u8]) -> String {
    let bytes = bytes.get(..QUOTED_BYTES_MAX).unwrap_or(bytes);
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_char(&mut out, c);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

fn push_char(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        c if (c as u32) < 0x20 || c as u32 == 0x7f => {
            let _ = write!(out, "\\x{:02x}", c as u32);
        }
        ' '..='~' => out.push(c),
        // The standard library's idea of "printable" for everything beyond ASCII.
        c if c != '\u{a0}' && c.escape_debug().len() == 1 => out.push(c),
        c if (c as u32) < 0x1_0000 => {
            let _ = write!(out, "\\u{:04x}", c as u32);
        }
        c => {
            let _ = write!(out, "\\U{:08x}", c as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::go_quote;

    #[test]
    fn quotes_as_go() {
        assert_eq!(
            go_quote(b"a{\xff=\"foo\"\n\x00"),
            r#""a{\xff=\"foo\"\n\x00""#
        );
        assert_eq!(go_quote("1€\u{80}".as_bytes()), "\"1€\\u0080\"");
        assert_eq!(go_quote(&vec![b'a'; 10_000]).len(), 4098);
    }
}
