//! Columns of floats: the choice of a page kind, and its bytes both ways.
//!
//! A kind byte is a code (bits 0 to 2), a decimal exponent (bits 3 to 6) and a mark that patches follow the column (bit 7). Where the kind byte
//! is kept is the caller's matter: the directory has it for pages, a histogram page in front of each of its columns.
//! Promise: every bit comes back (NaN payloads, -0.0, infinities, denormals). Not here: constants and aliases of whole pages.

use super::bytes::{Bad, Cursor, Decoded, put_varint};
use super::decimals::{self, ordered};
use super::integers;
use pco_columns::{Decoder, encode_floats as encode_pco_floats, encode_integers as encode_pco};

/// How hard a block is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// For blocks sealed from the head, which are written often and read most: bit-packing, `pco` for floats.
    Sealed,
    /// For compacted blocks: `pco` wherever it is smaller, and frames of pages packed once more.
    Compacted,
}

/// One value for all samples; the directory says which.
pub(super) const CONSTANT: u8 = 0;
/// The values of an earlier page.
pub(super) const ALIAS: u8 = 1;
/// Bit-packed mantissas.
pub(super) const DECIMAL: u8 = 2;
/// Mantissas through `pco`.
pub(super) const DECIMAL_PCO: u8 = 3;
/// Bit-packed images of the bits that keep the order of the numbers.
pub(super) const FLOAT: u8 = 4;
/// Floats through `pco`.
pub(super) const FLOAT_PCO: u8 = 5;
/// The bits as they are.
pub(super) const RAW: u8 = 6;
/// Native histograms.
pub(super) const HISTOGRAMS: u8 = 7;

/// Bits of the code in a kind byte.
pub(super) const CODE_MASK: u8 = 0x07;
const EXPONENT_SHIFT: u8 = 3;
const EXPONENT_MASK: u8 = 0x0f;
/// Bit of a kind byte: patches follow.
const PATCHED: u8 = 0x80;
/// Share of the bit-packed size, in percent, below which `pco` is taken for mantissas in compacted blocks.
const PCO_PERCENT: usize = 97;

/// What a page that `pco` does not understand is called.
const DAMAGED: Bad = Bad("damaged pco page");

/// The decimal exponent in a kind byte.
pub(super) fn exponent(kind: u8) -> u8 {
    kind >> EXPONENT_SHIFT & EXPONENT_MASK
}

/// Memory that encoding uses again and again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) integers: integers::Scratch,
    mantissas: Vec<i64>,
    patches: Vec<(u32, u64)>,
    other: Vec<u8>,
}

/// What was written.
pub(super) struct Encoded<'a> {
    /// The kind byte.
    pub(super) kind: u8,
    /// The mantissas, patched ones repeated, if the page is one of decimals without patches.
    pub(super) mantissas: Option<(&'a [i64], u8)>,
}

/// Appends the column in the kind that suits `profile`. There is one value at least.
pub(super) fn encode<'a>(
    values: &[f64],
    profile: Profile,
    scratch: &'a mut Scratch,
    out: &mut Vec<u8>,
) -> Encoded<'a> {
    let start = out.len();
    let Some(exponent) = decimals::split(values, &mut scratch.mantissas, &mut scratch.patches)
    else {
        let kind = encode_floats(values, scratch, out);
        return Encoded {
            kind,
            mantissas: None,
        };
    };
    let mut code = DECIMAL;
    integers::encode(&scratch.mantissas, &mut scratch.integers, out);
    if profile == Profile::Compacted {
        scratch.other.clear();
        if encode_pco(&scratch.mantissas, &mut scratch.other)
            && scratch.other.len() * 100 < (out.len() - start) * PCO_PERCENT
        {
            out.truncate(start);
            out.extend_from_slice(&scratch.other);
            code = DECIMAL_PCO;
        }
    }
    let mut kind = code | exponent << EXPONENT_SHIFT;
    let patched = !scratch.patches.is_empty();
    if patched {
        kind |= PATCHED;
        put_patches(&scratch.patches, out);
    }
    if out.len() - start >= values.len() * 8 {
        out.truncate(start);
        put_raw(values, out);
        kind = RAW;
    }
    Encoded {
        kind,
        mantissas: (!patched && kind != RAW).then_some((scratch.mantissas.as_slice(), exponent)),
    }
}

fn encode_floats(values: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) -> u8 {
    let start = out.len();
    let images = &mut scratch.mantissas;
    images.clear();
    images.extend(values.iter().map(|v| ordered(v.to_bits())));
    integers::encode(images, &mut scratch.integers, out);
    let mut kind = FLOAT;
    scratch.other.clear();
    if encode_pco_floats(values, &mut scratch.other) && scratch.other.len() < out.len() - start {
        out.truncate(start);
        out.extend_from_slice(&scratch.other);
        kind = FLOAT_PCO;
    }
    if out.len() - start >= values.len() * 8 {
        out.truncate(start);
        put_raw(values, out);
        kind = RAW;
    }
    kind
}

fn put_raw(values: &[f64], out: &mut Vec<u8>) {
    for value in values {
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

fn put_patches(patches: &[(u32, u64)], out: &mut Vec<u8>) {
    put_varint(out, patches.len() as u64);
    let mut behind = 0;
    for &(position, bits) in patches {
        put_varint(out, u64::from(position - behind));
        behind = position + 1;
        out.extend_from_slice(&bits.to_le_bytes());
    }
}

/// Memory that decoding uses again and again.
#[derive(Debug, Default)]
pub(super) struct Unpacker {
    mantissas: Vec<i64>,
    pco: Decoder,
}

impl Unpacker {
    /// Decodes as many values as `out` has room for; reads all that the cursor holds.
    pub(super) fn decode(
        &mut self,
        kind: u8,
        cursor: &mut Cursor<'_>,
        out: &mut [f64],
    ) -> Decoded<()> {
        let exponent = exponent(kind);
        let code = kind & CODE_MASK;
        if !matches!(code, DECIMAL | DECIMAL_PCO) && kind != code {
            return Err(Bad("unknown page kind"));
        }
        match code {
            DECIMAL | DECIMAL_PCO => {
                let mut mantissas = std::mem::take(&mut self.mantissas);
                mantissas.resize(out.len(), 0);
                let decoded = if code == DECIMAL {
                    integers::decode(cursor, &mut mantissas)
                } else {
                    self.decode_pco(cursor, &mut mantissas)
                };
                let joined = decimals::join(&mantissas, exponent, out);
                self.mantissas = mantissas;
                decoded?;
                if !joined {
                    return Err(Bad("exponent out of range"));
                }
                if kind & PATCHED != 0 {
                    take_patches(cursor, out)?;
                }
            }
            FLOAT => {
                let mut images = std::mem::take(&mut self.mantissas);
                images.resize(out.len(), 0);
                let decoded = integers::decode(cursor, &mut images);
                for (value, image) in out.iter_mut().zip(&images) {
                    *value = f64::from_bits(ordered(*image as u64) as u64);
                }
                self.mantissas = images;
                decoded?;
            }
            FLOAT_PCO => {
                let bytes = cursor.clone().rest();
                let used = self.pco.decode_floats(bytes, out).ok_or(DAMAGED)?;
                cursor.take(used)?;
            }
            RAW => {
                for value in out.iter_mut() {
                    *value = f64::from_bits(cursor.word()?);
                }
            }
            _ => return Err(Bad("unknown page kind")),
        }
        cursor.finish()
    }

    /// Decodes one chunk of one page of integers.
    pub(super) fn decode_pco(&mut self, cursor: &mut Cursor<'_>, out: &mut [i64]) -> Decoded<()> {
        let bytes = cursor.clone().rest();
        let used = self.pco.decode_integers(bytes, out).ok_or(DAMAGED)?;
        cursor.take(used)?;
        Ok(())
    }
}

fn take_patches(cursor: &mut Cursor<'_>, out: &mut [f64]) -> Decoded<()> {
    let count = cursor.count(9)?;
    let mut behind = 0_usize;
    for _ in 0..count {
        let position = behind + cursor.small()? as usize;
        let bits = cursor.word()?;
        *out.get_mut(position).ok_or(Bad("patch outside the page"))? = f64::from_bits(bits);
        behind = position + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
