//! Names of blocks: ULIDs, as Prometheus has them, so that names sort by time and tools know them.
//!
//! Layout of the 128 bits: 48 of milliseconds, 80 of randomness. Text: 26 characters of Crockford's base 32.

use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHARACTERS: usize = 26;

/// Name of a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct BlockId(pub u128);

/// A text that is no block's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a ULID: 26 characters of Crockford's base 32 are wanted")]
pub struct BlockIdError(pub String);

impl BlockId {
    /// A name made at `ms` milliseconds since the epoch, of which the low 48 bits count.
    pub fn new(ms: u64, random: [u8; 10]) -> BlockId {
        let mut bytes = [0; 16];
        bytes[6..].copy_from_slice(&random);
        BlockId(u128::from_be_bytes(bytes) | u128::from(ms) << 80)
    }

    /// When it was made, in milliseconds since the epoch.
    pub fn created_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; CHARACTERS];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            *place = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlockId {
    type Err = BlockIdError;

    /// Reads a name; small letters are as good as capitals.
    fn from_str(text: &str) -> Result<BlockId, BlockIdError> {
        let error = || BlockIdError(text.to_owned());
        if text.len() != CHARACTERS {
            return Err(error());
        }
        let mut value = 0_u128;
        for (i, byte) in text.bytes().enumerate() {
            let byte = byte.to_ascii_uppercase();
            let digit = ALPHABET.iter().position(|a| *a == byte).ok_or_else(error)?;
            // 26 characters have room for 130 bits.
            if i == 0 && digit > 7 {
                return Err(error());
            }
            value = value << 5 | digit as u128;
        }
        Ok(BlockId(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let id = BlockId::new(1_469_918_176_385, [0; 10]);
        assert_eq!(id.to_string(), "01ARYZ6S410000000000000000");
        assert_eq!(id.created_ms(), 1_469_918_176_385);
        for value in [0, 1, u128::MAX, id.0 | 0x1234_5678_9abc_def0] {
            let id = BlockId(value);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        }
        for bad in [
            "",
            "01ARYZ6S41000000000000000",
            "81ARYZ6S410000000000000000",
            "01ARYZ6S41000000000000000U",
        ] {
            assert_eq!(bad.parse::<BlockId>(), Err(BlockIdError(bad.to_owned())));
        }
        assert!(BlockId::new(1, [255; 10]) < BlockId::new(2, [0; 10]));
    }
}
