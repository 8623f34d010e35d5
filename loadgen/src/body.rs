//! Remote-write bodies encoded once; each round rewrites only timestamps and values in place.
//!
//! Field numbers are those of the remote-write 1.0 and 2.0 specifications. Timestamps take six varint bytes, which holds for any
//! time between 1971 and 3084, so positions never move.

use crate::series::Fleet;

/// Which message goes over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Protocol {
    /// The `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Protocol::V1 => "application/x-protobuf",
            Protocol::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The `X-Prometheus-Remote-Write-Version` header.
    pub fn version(self) -> &'static str {
        match self {
            Protocol::V1 => "0.1.0",
            Protocol::V2 => "2.0.0",
        }
    }
}

/// One request body: a run of series, one sample each.
pub struct Body {
    /// The series in it, in order.
    pub series: Vec<usize>,
    bytes: Vec<u8>,
    /// Offset of each sample's value (8 bytes); its timestamp follows at `+9` (6 bytes).
    value_at: Vec<u32>,
}

const TIMESTAMP_BYTES: usize = 6;
/// tag, value, tag, timestamp
const SAMPLE_BYTES: usize = 1 + 8 + 1 + TIMESTAMP_BYTES;

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// An empty sample (value field 1, timestamp field 2) as field `number`.
fn put_sample(out: &mut Vec<u8>, number: u8) {
    out.push(number << 3 | 2);
    out.push(SAMPLE_BYTES as u8);
    out.push(1 << 3 | 1);
    out.extend_from_slice(&[0; 8]);
    out.push(2 << 3);
    out.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]);
}

impl Body {
    /// Encodes the body of these series.
    pub fn new(fleet: &Fleet, series: Vec<usize>, protocol: Protocol) -> Self {
        let mut bytes = Vec::new();
        let mut value_at = Vec::with_capacity(series.len());
        let mut symbols: Vec<String> = vec![String::new()];
        let mut known = std::collections::HashMap::from([(String::new(), 0u64)]);
        let mut rows = Vec::new();
        for index in &series {
            let mut row = Vec::new();
            match protocol {
                Protocol::V1 => {
                    for (name, value) in fleet.labels(*index) {
                        let mut label = Vec::new();
                        put_field(&mut label, 1, name.as_bytes());
                        put_field(&mut label, 2, value.as_bytes());
                        put_field(&mut row, 1, &label);
                    }
                }
                Protocol::V2 => {
                    let mut refs = Vec::new();
                    for text in fleet.labels(*index).into_iter().flat_map(|(n, v)| [n, v]) {
                        let next = symbols.len() as u64;
                        let id = *known.entry(text.clone()).or_insert_with(|| {
                            symbols.push(text);
                            next
                        });
                        put_varint(&mut refs, id);
                    }
                    put_field(&mut row, 1, &refs);
                }
            }
            put_sample(&mut row, 2);
            rows.push(row);
        }
        if protocol == Protocol::V2 {
            for symbol in &symbols {
                put_field(&mut bytes, 4, symbol.as_bytes());
            }
        }
        let number = match protocol {
            Protocol::V1 => 1,
            Protocol::V2 => 5,
        };
        for row in rows {
            put_field(&mut bytes, number, &row);
            value_at.push((bytes.len() - SAMPLE_BYTES + 1) as u32);
        }
        Body {
            series,
            bytes,
            value_at,
        }
    }

    /// Puts the values of `round` and one timestamp into the body, returns it.
    pub fn fill(&mut self, fleet: &Fleet, round: u64, timestamp_ms: i64) -> &[u8] {
        let mut stamp = [0u8; TIMESTAMP_BYTES];
        for (i, byte) in stamp.iter_mut().enumerate() {
            let more = if i + 1 < TIMESTAMP_BYTES { 0x80 } else { 0 };
            *byte = (timestamp_ms as u64 >> (7 * i)) as u8 & 0x7f | more;
        }
        for (index, at) in self.series.iter().zip(&self.value_at) {
            let at = *at as usize;
            let value = fleet.value(*index, round);
            self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            self.bytes[at + 9..at + 9 + TIMESTAMP_BYTES].copy_from_slice(&stamp);
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8], at: &mut usize) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = bytes[*at];
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    #[test]
    fn v1_bodies_decode_to_what_was_asked() {
        let fleet = Fleet {
            series: 10,
            seed: 3,
            generation: 1,
            noise_percent: crate::series::NOISE_PERCENT,
        };
        let mut body = Body::new(&fleet, (0..10).collect(), Protocol::V1);
        let now = 1_700_000_000_123;
        let bytes = body.fill(&fleet, 4, now).to_vec();
        let (mut at, mut seen) = (0, 0);
        while at < bytes.len() {
            assert_eq!(bytes[at], 0x0a);
            at += 1;
            let len = varint(&bytes, &mut at) as usize;
            let row = &bytes[at..at + len];
            at += len;
            let sample = &row[row.len() - SAMPLE_BYTES..];
            assert_eq!(sample[0], 0x09);
            let value = f64::from_le_bytes(sample[1..9].try_into().unwrap());
            assert_eq!(value.to_bits(), fleet.value(seen, 4).to_bits());
            let mut p = 10;
            assert_eq!(varint(sample, &mut p), now as u64);
            seen += 1;
        }
        assert_eq!(seen, 10);
    }
}
