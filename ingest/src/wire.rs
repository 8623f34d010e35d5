//! Protobuf's wire format, walked in place.
//!
//! Promise: never reads outside the message, never recurses with the input, never allocates; a malformed message is an
//! error in the words of the Go library that Prometheus uses.
//! Not here: what fields mean (`remote_write`, `protobuf`).

use storage_engine::model::BucketSpan;

/// Why bytes are not the message they claim to be; the texts are gogo/protobuf's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The message ends inside a field.
    #[error("unexpected EOF")]
    Truncated,
    /// A varint of more than ten bytes.
    #[error("proto: integer overflow")]
    Overflow,
    /// A field number that is not one.
    #[error("proto: {message}: illegal tag {field} (wire type {wire_type})")]
    Tag {
        /// Which message.
        message: &'static str,
        /// Its number on the wire.
        field: i32,
        /// Its type on the wire.
        wire_type: u8,
    },
    /// The end of a group that has no beginning.
    #[error("proto: {message}: wiretype end group for non-group")]
    EndGroup {
        /// Which message.
        message: &'static str,
    },
    /// A field in another encoding than the message declares.
    #[error("proto: wrong wireType = {wire_type} for field {field}")]
    WireType {
        /// The field's Go name.
        field: &'static str,
        /// Its type on the wire.
        wire_type: u8,
    },
    /// A type that does not exist, or a group that does not match.
    #[error("proto: illegal wireType {wire_type}")]
    IllegalWireType {
        /// The type on the wire.
        wire_type: u8,
    },
}

/// Varint.
pub(crate) const VARINT: u8 = 0;
/// Eight bytes.
pub(crate) const FIXED64: u8 = 1;
/// Length and bytes.
pub(crate) const BYTES: u8 = 2;

/// A field's number and wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) field: u32,
    pub(crate) wire_type: u8,
}

impl Tag {
    /// The field must have this wire type.
    #[inline]
    pub(crate) fn expect(self, wire_type: u8, field: &'static str) -> Result<(), WireError> {
        if self.wire_type == wire_type {
            return Ok(());
        }
        Err(WireError::WireType {
            field,
            wire_type: self.wire_type,
        })
    }
}

/// A cursor over one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    #[inline]
    pub(crate) fn starting_at(bytes: &'a [u8], at: usize) -> Self {
        Reader { bytes, at }
    }

    #[inline]
    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        let first = *self.bytes.get(self.at).ok_or(WireError::Truncated)?;
        self.at += 1;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(WireError::Truncated)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Overflow)
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, WireError> {
        let end = self.at + 8;
        let bytes = self.bytes.get(self.at..end).ok_or(WireError::Truncated)?;
        self.at = end;
        let bytes: [u8; 8] = bytes.try_into().map_err(|_| WireError::Truncated)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The bytes of a length-delimited field.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.varint()?;
        let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
        let end = self.at.checked_add(length).ok_or(WireError::Truncated)?;
        let bytes = self.bytes.get(self.at..end).ok_or(WireError::Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    /// The next field's tag, `None` at the end of the message.
    #[inline]
    pub(crate) fn tag(&mut self, message: &'static str) -> Result<Option<Tag>, WireError> {
        if self.at_end() {
            return Ok(None);
        }
        let key = self.varint()?;
        let wire_type = (key & 7) as u8;
        let field = (key >> 3) as i32;
        if wire_type == 4 {
            return Err(WireError::EndGroup { message });
        }
        if field <= 0 {
            return Err(WireError::Tag {
                message,
                field,
                wire_type,
            });
        }
        Ok(Some(Tag {
            field: field as u32,
            wire_type,
        }))
    }

    /// Steps over the value of a field that has no meaning here.
    pub(crate) fn skip(&mut self, tag: Tag) -> Result<(), WireError> {
        let mut depth = 0usize;
        let mut wire_type = tag.wire_type;
        loop {
            match wire_type {
                VARINT => {
                    self.varint()?;
                }
                FIXED64 => {
                    self.fixed64()?;
                }
                BYTES => {
                    self.bytes()?;
                }
                3 => depth += 1,
                4 if depth > 0 => depth -= 1,
                5 => {
                    let end = self.at + 4;
                    self.bytes.get(self.at..end).ok_or(WireError::Truncated)?;
                    self.at = end;
                }
                wire_type => return Err(WireError::IllegalWireType { wire_type }),
            }
            if depth == 0 {
                return Ok(());
            }
            wire_type = (self.varint()? & 7) as u8;
        }
    }
}

/// A sample message of remote write 2.0: timestamp, value and start timestamp (0: none).
#[inline]
pub(crate) fn started_sample(bytes: &[u8]) -> Result<(i64, f64, i64), WireError> {
    let mut reader = Reader::new(bytes);
    let (mut timestamp, mut value, mut start) = (0i64, 0f64, 0i64);
    while let Some(tag) = reader.tag("Sample")? {
        match tag.field {
            1 => {
                tag.expect(FIXED64, "Value")?;
                value = f64::from_bits(reader.fixed64()?);
            }
            2 => {
                tag.expect(VARINT, "Timestamp")?;
                timestamp = reader.varint()? as i64;
            }
            3 => {
                tag.expect(VARINT, "StartTimestamp")?;
                start = reader.varint()? as i64;
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok((timestamp, value, start))
}

/// A sample message: value and timestamp in milliseconds.
#[inline]
pub(crate) fn sample(bytes: &[u8]) -> Result<(i64, f64), WireError> {
    let mut reader = Reader::new(bytes);
    let (mut timestamp, mut value) = (0i64, 0f64);
    while let Some(tag) = reader.tag("Sample")? {
        match tag.field {
            1 => {
                tag.expect(FIXED64, "Value")?;
                value = f64::from_bits(reader.fixed64()?);
            }
            2 => {
                tag.expect(VARINT, "Timestamp")?;
                timestamp = reader.varint()? as i64;
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok((timestamp, value))
}

/// A field of length and bytes.
pub(crate) fn bytes<'a>(
    reader: &mut Reader<'a>,
    tag: Tag,
    field: &'static str,
) -> Result<&'a [u8], WireError> {
    tag.expect(BYTES, field)?;
    reader.bytes()
}

/// A varint.
pub(crate) fn unsigned(
    reader: &mut Reader<'_>,
    tag: Tag,
    field: &'static str,
) -> Result<u64, WireError> {
    tag.expect(VARINT, field)?;
    reader.varint()
}

/// A double.
pub(crate) fn double(
    reader: &mut Reader<'_>,
    tag: Tag,
    field: &'static str,
) -> Result<f64, WireError> {
    tag.expect(FIXED64, field)?;
    Ok(f64::from_bits(reader.fixed64()?))
}

/// The number that a zigzag varint stands for.
pub(crate) fn signed(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Signed numbers, packed or one by one.
pub(crate) fn signed_list(
    reader: &mut Reader<'_>,
    tag: Tag,
    field: &'static str,
    out: &mut Vec<i64>,
) -> Result<(), WireError> {
    if tag.wire_type != BYTES {
        out.push(signed(unsigned(reader, tag, field)?));
        return Ok(());
    }
    let mut packed = Reader::new(reader.bytes()?);
    while !packed.at_end() {
        out.push(signed(packed.varint()?));
    }
    Ok(())
}

/// Doubles, packed or one by one.
pub(crate) fn double_list(
    reader: &mut Reader<'_>,
    tag: Tag,
    field: &'static str,
    out: &mut Vec<f64>,
) -> Result<(), WireError> {
    if tag.wire_type != BYTES {
        out.push(double(reader, tag, field)?);
        return Ok(());
    }
    let mut packed = Reader::new(reader.bytes()?);
    while !packed.at_end() {
        out.push(f64::from_bits(packed.fixed64()?));
    }
    Ok(())
}

/// A span of native histogram buckets: offset and length, in remote write and on pages alike.
pub(crate) fn bucket_span(message: &[u8]) -> Result<BucketSpan, WireError> {
    let mut span = BucketSpan::default();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("BucketSpan")? {
        match tag.field {
            1 => span.offset = signed(unsigned(&mut reader, tag, "Offset")?) as i32,
            2 => span.length = unsigned(&mut reader, tag, "Length")? as u32,
            _ => reader.skip(tag)?,
        }
    }
    Ok(span)
}

/// Absolute counts of buckets that come as differences.
pub(crate) fn counts_of_deltas(deltas: &[i64]) -> Vec<f64> {
    let mut count = 0_i64;
    let counts = deltas.iter().map(|delta| {
        count = count.wrapping_add(*delta);
        count as f64
    });
    counts.collect()
}

/// Text of a message, with bytes that are not UTF-8 replaced.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
