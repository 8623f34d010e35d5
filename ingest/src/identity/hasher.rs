//! The keyed hash that stands for label bytes.
//!
//! Promise: 128 bits of xxh3 under a secret that no sender knows, so that labels cannot be made to collide on purpose.
//! The secret is expanded once: deriving it anew for every long input would cost more than the hash.
//! Not here: the hash that routes series to shards, which must never change.

use std::fmt;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_secret};

const SECRET_BYTES: usize = 192;

/// A hash function chosen by a seed.
pub(crate) struct LabelHasher {
    secret: [u8; SECRET_BYTES],
}

impl LabelHasher {
    pub(crate) fn new(seed: u64) -> Self {
        let mut secret = [0u8; SECRET_BYTES];
        for (index, word) in (0u64..).zip(secret.chunks_exact_mut(8)) {
            word.copy_from_slice(&xxh3_64_with_seed(&index.to_le_bytes(), seed).to_le_bytes());
        }
        LabelHasher { secret }
    }

    #[inline]
    pub(crate) fn hash(&self, bytes: &[u8]) -> u128 {
        xxh3_128_with_secret(bytes, &self.secret)
    }
}

impl fmt::Debug for LabelHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LabelHasher")
    }
}

#[cfg(test)]
mod tests {
    use super::LabelHasher;

    #[test]
    fn seeds_give_different_functions() {
        let (one, same, other) = (
            LabelHasher::new(1),
            LabelHasher::new(1),
            LabelHasher::new(2),
        );
        for size in [0usize, 3, 16, 100, 240, 241, 5000] {
            let bytes = vec![7u8; size];
            assert_eq!(one.hash(&bytes), same.hash(&bytes));
            assert_ne!(one.hash(&bytes), other.hash(&bytes), "{size}");
        }
    }
}
