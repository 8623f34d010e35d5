//! Writing protobuf by hand: the few shapes that federation and remote read need.

/// A varint.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    put_varint(out, u64::from(field << 3 | wire_type));
}

/// A field of bytes, a string or a message.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_tag(out, field, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// An unsigned or enum field.
pub(super) fn put_unsigned(out: &mut Vec<u8>, field: u32, value: u64) {
    put_tag(out, field, 0);
    put_varint(out, value);
}

/// An `int64` field.
pub(super) fn put_signed(out: &mut Vec<u8>, field: u32, value: i64) {
    put_unsigned(out, field, value as u64);
}

/// A `sint32` or `sint64` field.
pub(super) fn put_zigzag(out: &mut Vec<u8>, field: u32, value: i64) {
    put_unsigned(out, field, zigzag(value));
}

/// Small numbers of either sign as small unsigned ones.
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// A `double` field.
pub(super) fn put_double(out: &mut Vec<u8>, field: u32, value: f64) {
    put_tag(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A field whose content is written by `fill`; its length goes in front afterwards.
pub(super) fn put_message(out: &mut Vec<u8>, field: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    put_tag(out, field, 2);
    let at = out.len();
    fill(out);
    let mut length = Vec::with_capacity(5);
    put_varint(&mut length, (out.len() - at) as u64);
    out.splice(at..at, length);
}

/// One field of a message that is being read.
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a kind that no message here has.
    Other,
}

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unexpected EOF")]
pub(super) struct Broken;

/// Splits a varint off.
pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64, Broken> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Broken)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Broken)
}

fn take<'a>(bytes: &mut &'a [u8], count: u64) -> Result<&'a [u8], Broken> {
    let count = usize::try_from(count).map_err(|_| Broken)?;
    let (taken, rest) = bytes.split_at_checked(count).ok_or(Broken)?;
    *bytes = rest;
    Ok(taken)
}

/// Splits the next field off; `None` at the end.
pub(super) fn field<'a>(bytes: &mut &'a [u8]) -> Result<Option<(u64, Value<'a>)>, Broken> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let tag = varint(bytes)?;
    let value = match tag & 7 {
        0 => Value::Number(varint(bytes)?),
        1 => {
            take(bytes, 8)?;
            Value::Other
        }
        2 => {
            let count = varint(bytes)?;
            Value::Bytes(take(bytes, count)?)
        }
        5 => {
            take(bytes, 4)?;
            Value::Other
        }
        _ => return Err(Broken),
    };
    Ok(Some((tag >> 3, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_told() {
        let mut out = Vec::new();
        put_message(&mut out, 1, |out| {
            put_bytes(out, 2, &[7; 300]);
            put_signed(out, 3, -1);
        });
        put_double(&mut out, 4, 1.5);
        let mut rest = &out[..];
        let Some((1, Value::Bytes(mut inner))) = field(&mut rest).unwrap() else {
            panic!("no message")
        };
        assert!(matches!(field(&mut inner), Ok(Some((2, Value::Bytes(b)))) if b == [7; 300]));
        assert!(matches!(
            field(&mut inner),
            Ok(Some((3, Value::Number(u64::MAX))))
        ));
        assert!(matches!(field(&mut inner), Ok(None)));
        assert!(matches!(field(&mut rest), Ok(Some((4, Value::Other)))));
        for cut in 1..out.len() - 9 {
            assert!(field(&mut &out[..cut]).is_err(), "{cut}");
        }
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }
}
