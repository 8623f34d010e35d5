//! What the tests of the block room share: a generator that gives the same numbers for ever, and values that go wrong most easily.

/// xorshift64*.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

/// A float that is easily lost.
pub(super) fn special(random: &mut Random) -> f64 {
    let bits = [
        crate::model::STALE_NAN_BITS,
        0x7ff8_0000_0000_0000,
        0x7ff8_0000_0000_0001,
        0xfff8_1234_5678_9abc,
        0x7ff0_0000_0000_0001,
        (-0.0_f64).to_bits(),
        f64::INFINITY.to_bits(),
        f64::NEG_INFINITY.to_bits(),
        1,
        0x8000_0000_0000_0001,
        f64::MIN_POSITIVE.to_bits() - 1,
        f64::MAX.to_bits(),
        f64::MIN.to_bits(),
        (9_007_199_254_740_993.0_f64).to_bits(),
        (0.1_f64 + 0.2).to_bits(),
        (1e-14_f64).to_bits(),
    ];
    f64::from_bits(bits[random.below(bits.len() as u64) as usize])
}
