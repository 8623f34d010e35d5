//! Snappy blocks, as remote write bodies come.
//!
//! Promise: nothing is allocated for a length that the body only claims; a damaged block is an error, never a short
//! answer. Not here: the framed stream format.

use crate::limits::{SNAPPY_BUFFER_RETAINED_BYTES, SNAPPY_RATIO_MAX};

/// Why a body cannot be decompressed. All of them are the sender's fault (400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnappyError {
    /// Not a snappy block, cut short, or with a length that is not true.
    #[error("snappy: corrupt input")]
    Corrupt,
    /// More than the limit, by its own declaration.
    #[error("snappy: decoded block is too large: {declared} bytes, the limit is {limit}")]
    TooLarge {
        /// What the block declares.
        declared: u64,
        /// What is allowed.
        limit: usize,
    },
}

/// Decompresses into one buffer that is used again.
#[derive(Default)]
pub struct SnappyDecoder {
    decoder: snap::raw::Decoder,
    buffer: Vec<u8>,
}

impl SnappyDecoder {
    /// A decoder with an empty buffer.
    pub fn new() -> Self {
        SnappyDecoder::default()
    }

    /// The decompressed bytes, valid until the next call. `limit` bounds them before they are allocated.
    pub fn decode(&mut self, block: &[u8], limit: usize) -> Result<&[u8], SnappyError> {
        let declared = declared_length(block).ok_or(SnappyError::Corrupt)?;
        let length = usize::try_from(declared).unwrap_or(usize::MAX);
        if length > limit {
            return Err(SnappyError::TooLarge { declared, limit });
        }
        if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(SnappyError::Corrupt);
        }
        if self.buffer.len() > SNAPPY_BUFFER_RETAINED_BYTES
            && length <= SNAPPY_BUFFER_RETAINED_BYTES
        {
            self.buffer = Vec::new();
        }
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
        let output = self.buffer.get_mut(..length).unwrap_or_default();
        match self.decoder.decompress(block, output) {
            Ok(written) if written == length => Ok(output),
            _ => Err(SnappyError::Corrupt),
        }
    }
}

impl std::fmt::Debug for SnappyDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnappyDecoder")
            .field("buffer_bytes", &self.buffer.len())
            .finish_non_exhaustive()
    }
}

/// The length that opens a block: a varint of at most five bytes.
fn declared_length(block: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, &byte) in block.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return (value <= u64::from(u32::MAX)).then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REMOTE_WRITE_BODY_BYTES_MAX;

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(bytes).unwrap()
    }

    #[test]
    fn blocks_round_trip_through_one_buffer() {
        let mut decoder = SnappyDecoder::new();
        for size in [0usize, 1, 100, 70_000, 5_000_000, 10] {
            let bytes: Vec<u8> = (0..size).map(|i| (i / 7) as u8).collect();
            let got = decoder.decode(&compressed(&bytes), REMOTE_WRITE_BODY_BYTES_MAX);
            assert_eq!(got.unwrap(), bytes);
        }
        assert!(decoder.buffer.len() <= SNAPPY_BUFFER_RETAINED_BYTES);
        let zeros = vec![0u8; 3_000_000];
        assert_eq!(
            decoder.decode(&compressed(&zeros), 3_000_000).unwrap(),
            zeros
        );
    }

    #[test]
    fn lies_cost_nothing() {
        let mut decoder = SnappyDecoder::new();
        let four_gib_less_one = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x61];
        let refused = decoder.decode(&four_gib_less_one, REMOTE_WRITE_BODY_BYTES_MAX);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "snappy: decoded block is too large: 4294967295 bytes, the limit is 33554432"
        );
        // 31 MiB from seven bytes: below the limit, above what seven bytes can hold.
        let small_lie = [0x80, 0x80, 0xc0, 0x0f, 0x00, 0x61, 0x00];
        assert_eq!(
            decoder.decode(&small_lie, REMOTE_WRITE_BODY_BYTES_MAX),
            Err(SnappyError::Corrupt)
        );
        assert_eq!(decoder.buffer.capacity(), 0);
        for bad in [&b""[..], &[0xff; 12], &[0x80], b"garbage garbage"] {
            assert_eq!(
                decoder.decode(bad, 1 << 20),
                Err(SnappyError::Corrupt),
                "{bad:?}"
            );
        }
        let whole = compressed(b"some text, some text, some text, some text");
        for end in 0..whole.len() {
            assert!(decoder.decode(&whole[..end], 1 << 20).is_err(), "{end}");
        }
    }
}
