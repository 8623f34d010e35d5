//! Prometheus's XOR chunks: float samples, timestamps as deltas of deltas.
//!
//! Layout: `count` (2 bytes, big-endian), then bits: first timestamp as varint, first value; second timestamp as uvarint delta, value as XOR;
//! further ones as delta of deltas in classes of 14, 17, 20 and 64 bits.
//! Promise: what Prometheus's `XORChunk` writes, byte for byte. Not here: where a chunk ends (`cutting`).

use super::bits::{BitReader, BitWriter, OutOfBits, XorFloat};
use crate::model::{SampleColumns, TimestampMs};

/// Bytes of the count before the bits.
const HEADER_BYTES: usize = 2;
/// Widths of the classes of a delta of deltas.
const DELTA_BITS: [u32; 3] = [14, 17, 20];

/// A chunk that grows.
#[derive(Debug, Clone)]
pub(super) struct XorAppender {
    bits: BitWriter,
    count: u16,
    last: TimestampMs,
    delta: i64,
    value: XorFloat,
}

impl XorAppender {
    /// An empty chunk.
    pub(super) fn new() -> XorAppender {
        XorAppender {
            bits: BitWriter::after(vec![0; HEADER_BYTES]),
            count: 0,
            last: 0,
            delta: 0,
            value: XorFloat::starting(0.0),
        }
    }

    /// Samples so far.
    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Bytes so far.
    pub(super) fn byte_count(&self) -> usize {
        self.bits.bytes().len()
    }

    /// Adds a sample that is newer than all before.
    pub(super) fn push(&mut self, timestamp: TimestampMs, value: f64) {
        match self.count {
            0 => {
                self.bits.put_varint(timestamp);
                self.bits.put(value.to_bits(), 64);
                self.value = XorFloat::starting(value);
            }
            1 => {
                self.delta = timestamp.wrapping_sub(self.last);
                self.bits.put_uvarint(self.delta as u64);
                self.value.put(&mut self.bits, value);
            }
            _ => {
                let delta = timestamp.wrapping_sub(self.last);
                self.put_delta_of_deltas(delta.wrapping_sub(self.delta));
                self.delta = delta;
                self.value.put(&mut self.bits, value);
            }
        }
        self.last = timestamp;
        self.count += 1;
    }

    fn put_delta_of_deltas(&mut self, value: i64) {
        if value == 0 {
            return self.bits.put(0, 1);
        }
        for (class, bits) in DELTA_BITS.into_iter().enumerate() {
            let top = 1_i64 << (bits - 1);
            if (-(top - 1)..=top).contains(&value) {
                let ones = class as u32 + 1;
                self.bits.put(((1 << ones) - 1) << 1, ones + 1);
                return self.bits.put(value as u64, bits);
            }
        }
        self.bits.put(0b1111, 4);
        self.bits.put(value as u64, 64);
    }

    /// The chunk's data.
    pub(super) fn data(&self) -> Vec<u8> {
        let mut data = self.bits.bytes().to_vec();
        data[..HEADER_BYTES].copy_from_slice(&self.count.to_be_bytes());
        data
    }
}

/// Appends the samples of a chunk's data to `out`; on an error those before the damage are there.
pub(super) fn read(data: &[u8], out: &mut SampleColumns) -> Result<(), OutOfBits> {
    let (count, bits) = data.split_first_chunk::<HEADER_BYTES>().ok_or(OutOfBits)?;
    let count = u16::from_be_bytes(*count);
    let mut bits = BitReader::new(bits);
    let (mut last, mut delta) = (0_i64, 0_i64);
    let mut value = XorFloat::starting(0.0);
    for index in 0..count {
        if index == 0 {
            last = bits.take_varint()?;
            value = XorFloat::starting(bits.take_float()?);
        } else {
            delta = match index {
                1 => bits.take_uvarint()? as i64,
                _ => delta.wrapping_add(take_delta_of_deltas(&mut bits)?),
            };
            last = last.wrapping_add(delta);
            value.take(&mut bits)?;
        }
        out.push(last, value.value());
    }
    Ok(())
}

fn take_delta_of_deltas(bits: &mut BitReader<'_>) -> Result<i64, OutOfBits> {
    let ones = bits.take_ones(4)?;
    let Some(class) = ones.checked_sub(1) else {
        return Ok(0);
    };
    let Some(&width) = DELTA_BITS.get(class as usize) else {
        return Ok(bits.take(64)? as i64);
    };
    let raw = bits.take(width)? as i64;
    Ok(if raw > 1 << (width - 1) {
        raw - (1 << width)
    } else {
        raw
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_back() {
        let times = [
            -5_000,
            10_000,
            25_000,
            40_001,
            40_002,
            60_000,
            200_000,
            1_200_000,
            9_000_000_000_000,
        ];
        let mut samples = SampleColumns::default();
        for (i, t) in times.into_iter().enumerate() {
            samples.push(t, [1.0, -0.0, f64::NAN, 1e300][i % 4] + i as f64);
        }
        let mut chunk = XorAppender::new();
        for (&t, &v) in samples.timestamps.iter().zip(&samples.values) {
            chunk.push(t, v);
        }
        let data = chunk.data();
        let mut read_back = SampleColumns::default();
        read(&data, &mut read_back).unwrap();
        assert_eq!(read_back.timestamps, samples.timestamps);
        let bits = |c: &SampleColumns| c.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read_back), bits(&samples));
        for end in 0..data.len() {
            assert!(read(&data[..end], &mut SampleColumns::default()).is_err());
        }
    }
}
