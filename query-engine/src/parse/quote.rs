//! Strings of the language: quoted text to bytes, label names that need no quotes.
//!
//! The lexer has already refused unknown escapes, so reading here only fails on what the lexer lets through
//! (surrogate code points), with Go's text. Quoting is `eval::text::go_quote`.

/// Bytes of a string token, quotes included in `token`.
pub(super) fn unquote(token: &[u8]) -> Result<Vec<u8>, &'static str> {
    let [quote, body @ .., last] = token else {
        return Err("invalid syntax");
    };
    if quote != last {
        return Err("invalid syntax");
    }
    if *quote == b'`' {
        return Ok(body.iter().copied().filter(|b| *b != b'\r').collect());
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some((&escape, after)) = rest.split_first() else {
            return Err("invalid syntax");
        };
        rest = after;
        let simple = match escape {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\\' | b'"' | b'\'' => escape,
            b'0'..=b'7' => {
                let value = digits(&mut rest, 2, 8, u32::from(escape - b'0'))?;
                out.push(u8::try_from(value).map_err(|_| "invalid syntax")?);
                continue;
            }
            b'x' => {
                let value = digits(&mut rest, 2, 16, 0)?;
                out.push(u8::try_from(value).map_err(|_| "invalid syntax")?);
                continue;
            }
            b'u' | b'U' => {
                let count = if escape == b'u' { 4 } else { 8 };
                let value = digits(&mut rest, count, 16, 0)?;
                let c = char::from_u32(value).ok_or("invalid syntax")?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err("invalid syntax"),
        };
        out.push(simple);
    }
    Ok(out)
}

fn digits(rest: &mut &[u8], count: usize, base: u32, first: u32) -> Result<u32, &'static str> {
    let mut value = first;
    for _ in 0..count {
        let Some((&byte, after)) = rest.split_first() else {
            return Err("invalid syntax");
        };
        *rest = after;
        let digit = char::from(byte).to_digit(base).ok_or("invalid syntax")?;
        value = value
            .checked_mul(base)
            .and_then(|v| v.checked_add(digit))
            .ok_or("invalid syntax")?;
    }
    Ok(value)
}

/// Is this a label name that may stand without quotes?
pub(super) fn is_plain_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
        && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())
}
