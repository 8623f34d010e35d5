//! The format, pinned: files that version 1 wrote are read for ever, and what is written today is what was written then.
//!
//! `FERULA_WRITE_GOLDEN=1 cargo test -p ferula-storage-engine golden` writes the files anew. Do so only for a new version of the format, beside the
//! old files, or when the generator of the series has changed.

use super::super::Profile;
use super::fixture::{TestSeries, file_of, open, options, series};
use super::round_trip::{EVERYTHING, assert_same};
use crate::model::SampleColumns;
use crate::shard_api::ReadNotes;
use std::path::PathBuf;

fn golden(name: &str, written: &[u8]) -> Vec<u8> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/block");
    let path = dir.join(name);
    if std::env::var_os("FERULA_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(&path, written).unwrap();
    }
    std::fs::read(path).unwrap()
}

fn check(file: Vec<u8>, all: &[TestSeries]) {
    let block = open(file).unwrap();
    block.verify().unwrap();
    assert_eq!(block.meta().series as usize, all.len());
    for (ordinal, one) in all.iter().enumerate() {
        let ordinal = ordinal as u32;
        let mut labels = Vec::new();
        block.put_canonical(ordinal, &mut labels).unwrap();
        assert_eq!(labels, one.labels.as_bytes());
        let (mut floats, mut notes) = (SampleColumns::default(), ReadNotes::default());
        block.read(ordinal, EVERYTHING, &mut floats, &mut notes);
        assert_same(
            &floats,
            &one.samples.floats.timestamps,
            &one.samples.floats.values,
        );
        let mut histograms = Vec::new();
        block.read_histograms(ordinal, EVERYTHING, &mut histograms, &mut notes);
        assert_eq!(histograms.len(), one.samples.histograms.len());
        for (got, expected) in histograms.iter().zip(&one.samples.histograms) {
            assert_eq!(got.0, expected.0);
            assert!(got.1.same_bits(&expected.1));
        }
        let mut starts = Vec::new();
        block.read_starts(ordinal, EVERYTHING, &mut starts);
        assert_eq!(starts, one.samples.starts);
        assert_eq!(notes.damage, Vec::<String>::new());
    }
}

#[test]
fn files_of_version_1_are_read_and_written() {
    let all = series(1, 40, 130);
    for (name, profile) in [
        ("v1-sealed.block", Profile::Sealed),
        ("v1-compacted.block", Profile::Compacted),
    ] {
        let written = file_of(options(profile, 120), &all);
        let file = golden(name, &written);
        assert!(
            file == written,
            "{name}: the format has changed without a new version"
        );
        check(file, &all);
    }
}
