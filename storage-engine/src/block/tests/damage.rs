//! Damage: every bit of a small block, every length of it, foreign versions. It is seen, or it does no harm; nothing panics, no number is wrong.

use super::super::format::{BLOCK_FORMAT_VERSION, header};
use super::super::{BlockError, Profile};
use super::fixture::{TestSeries, file_of, open, options, series};
use super::round_trip::EVERYTHING;
use crate::model::SampleColumns;
use crate::shard_api::ReadNotes;
use std::collections::BTreeMap;

/// What a series answers: bits of floats by time, bits of histograms by time.
type Answer = (BTreeMap<i64, u64>, BTreeMap<i64, String>);

fn answer(one: &TestSeries) -> Answer {
    let floats = &one.samples.floats;
    let floats = floats.timestamps.iter().zip(&floats.values);
    let histograms = one.samples.histograms.iter();
    (
        floats.map(|(t, v)| (*t, v.to_bits())).collect(),
        histograms.map(|(t, h)| (*t, text(h))).collect(),
    )
}

fn text(histogram: &crate::model::FloatHistogram) -> String {
    format!("{histogram:?} {:x}", histogram.sum.to_bits())
}

/// Opens what may be damaged, and holds every answer against what went in. Whether damage was seen.
fn harmless(file: Vec<u8>, series: &[TestSeries], expected: &[Answer]) -> bool {
    let block = match open(file) {
        Ok(block) => block,
        Err(BlockError::Damaged { .. }) => return true,
        Err(other) => panic!("{other}"),
    };
    let mut seen = false;
    assert_eq!(block.meta().series as usize, series.len());
    for (ordinal, one) in series.iter().enumerate() {
        let ordinal = ordinal as u32;
        let mut bytes = Vec::new();
        block.put_canonical(ordinal, &mut bytes).unwrap();
        assert_eq!(bytes, one.labels.as_bytes());
        let mut notes = ReadNotes::default();
        let mut floats = SampleColumns::default();
        block.read(ordinal, EVERYTHING, &mut floats, &mut notes);
        let mut histograms = Vec::new();
        block.read_histograms(ordinal, EVERYTHING, &mut histograms, &mut notes);
        let (known, known_histograms) = &expected[ordinal as usize];
        for (t, v) in floats.timestamps.iter().zip(&floats.values) {
            assert_eq!(known.get(t), Some(&v.to_bits()), "a wrong number");
        }
        for (t, h) in &histograms {
            assert_eq!(known_histograms.get(t), Some(&text(h)), "a wrong histogram");
        }
        let whole = floats.len() == known.len() && histograms.len() == known_histograms.len();
        assert!(
            whole || !notes.damage.is_empty(),
            "samples went missing silently"
        );
        seen |= !notes.damage.is_empty();
    }
    assert_eq!(block.verify().is_err(), seen, "verify and read disagree");
    seen
}

#[test]
fn every_flipped_bit_is_seen_or_harmless() {
    let all = series(21, 8, 9);
    let expected: Vec<Answer> = all.iter().map(answer).collect();
    for profile in [Profile::Sealed, Profile::Compacted] {
        let file = file_of(options(profile, 7), &all);
        assert!(!harmless(file.clone(), &all, &expected));
        let mut unseen = 0;
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            unseen += usize::from(!harmless(damaged, &all, &expected));
        }
        // Only zeros between sections are covered by nothing.
        let padding = 512 + 15 * 64;
        assert!(unseen <= padding * 8, "{unseen} flips were not seen");
    }
}

#[test]
fn every_truncation_is_seen() {
    let all = series(22, 6, 9);
    let file = file_of(options(Profile::Sealed, 7), &all);
    for length in 0..file.len() {
        let error = open(file[..length].to_vec()).unwrap_err();
        assert!(matches!(error, BlockError::Damaged { .. }), "{error}");
    }
    let mut longer = file;
    longer.push(0);
    assert!(matches!(open(longer), Err(BlockError::Damaged { .. })));
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let all = series(23, 6, 9);
    let options = options(Profile::Sealed, 7);
    let mut file = file_of(options.clone(), &all);
    file[..64].copy_from_slice(&header(options.id, BLOCK_FORMAT_VERSION + 1));
    let error = open(file).unwrap_err();
    assert!(
        matches!(error, BlockError::NewerVersion { version, .. } if version == BLOCK_FORMAT_VERSION + 1)
    );
    assert_eq!(
        error.to_string(),
        "block file /data/x.block has format version 2, this program reads up to 1: it was written by a newer version of ferula"
    );
}

#[test]
fn sections_of_another_block_do_not_pass() {
    let all = series(24, 6, 9);
    let mut options = options(Profile::Sealed, 7);
    let file = file_of(options.clone(), &all);
    options.id.0 += 1;
    let other = file_of(options, &all);
    assert_eq!(file.len(), other.len());
    // A sector of 512 bytes of another block in the place of ours.
    let expected: Vec<Answer> = all.iter().map(answer).collect();
    for sector in 0..file.len() / 512 {
        let range = sector * 512..(sector + 1) * 512;
        if file[range.clone()] != other[range.clone()] {
            let mut mixed = file.clone();
            mixed[range.clone()].copy_from_slice(&other[range]);
            assert!(harmless(mixed, &all, &expected), "sector {sector}");
        }
    }
}
