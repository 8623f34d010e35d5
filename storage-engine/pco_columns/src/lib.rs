//! One column of numbers as one `pco` chunk of one page.
//!
//! A crate of its own because `pco` is generic code that takes a compiler longer than all of the storage engine: here it is compiled once, for the
//! two types that blocks have. Promise: every bit comes back; damaged bytes are `None`, never a panic. Not here: when `pco` is worth it.

use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DecompressorScratch, PagingSpec};

/// `pco`'s level: higher ones buy nothing on columns of samples.
const LEVEL: usize = 8;

/// Appends floats; `false`, with `out` in any state behind its old length, if `pco` declines.
pub fn encode_floats(numbers: &[f64], out: &mut Vec<u8>) -> bool {
    encode(numbers, out)
}

/// Appends integers; `false`, with `out` in any state behind its old length, if `pco` declines.
pub fn encode_integers(numbers: &[i64], out: &mut Vec<u8>) -> bool {
    encode(numbers, out)
}

fn encode<T: Number>(numbers: &[T], out: &mut Vec<u8>) -> bool {
    let config = ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_paging_spec(PagingSpec::Exact(vec![numbers.len()]));
    let Ok(mut chunk) = FileCompressor::default().chunk_compressor(numbers, &config) else {
        return false;
    };
    chunk.write_meta(&mut *out).is_ok() && chunk.write_page(0, &mut *out).is_ok()
}

/// A decoder and the memory that it uses again and again.
#[derive(Debug)]
pub struct Decoder {
    scratch: DecompressorScratch,
    file: Option<FileDecompressor>,
}

impl Default for Decoder {
    fn default() -> Self {
        // The header of a `pco` file is two bytes that say the version; pages do not repeat it.
        let mut header = Vec::new();
        let written = FileCompressor::default().write_header(&mut header).is_ok();
        let file = FileDecompressor::new(header.as_slice()).ok();
        Decoder {
            scratch: DecompressorScratch::default(),
            file: file.filter(|_| written).map(|(file, _)| file),
        }
    }
}

impl Decoder {
    /// Fills `out` with floats from the front of `bytes`; how many bytes that took.
    pub fn decode_floats(&mut self, bytes: &[u8], out: &mut [f64]) -> Option<usize> {
        self.decode(bytes, out)
    }

    /// Fills `out` with integers from the front of `bytes`; how many bytes that took.
    pub fn decode_integers(&mut self, bytes: &[u8], out: &mut [i64]) -> Option<usize> {
        self.decode(bytes, out)
    }

    fn decode<T: Number>(&mut self, bytes: &[u8], out: &mut [T]) -> Option<usize> {
        let file = self.file.as_ref()?;
        let (chunk, rest) = file.chunk_decompressor::<T, _>(bytes).ok()?;
        let mut page = chunk
            .page_decompressor_with_scratch(rest, out.len(), &mut self.scratch)
            .ok()?;
        let progress = page.read(out).ok()?;
        let whole = progress.n_processed == out.len() && progress.finished;
        whole.then(|| bytes.len() - page.into_src().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back_and_cut_ones_are_refused() {
        let floats: Vec<f64> = (0..500).map(|i| f64::from(i) * 0.1 - 3.0).collect();
        let integers: Vec<i64> = (0..500).map(|i| i * i - 70).collect();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        assert!(encode_floats(&floats, &mut a) && encode_integers(&integers, &mut b));
        let mut decoder = Decoder::default();
        let (mut f, mut n) = (vec![0.0; 500], vec![0; 500]);
        assert_eq!(decoder.decode_floats(&a, &mut f), Some(a.len()));
        assert_eq!(decoder.decode_integers(&b, &mut n), Some(b.len()));
        assert!(
            f.iter()
                .zip(&floats)
                .all(|(x, y)| x.to_bits() == y.to_bits())
        );
        assert_eq!(n, integers);
        assert_eq!(decoder.decode_floats(&a[..a.len() / 2], &mut f), None);
    }
}
