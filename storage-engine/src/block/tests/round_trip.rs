//! What goes in comes out, whole and in every range.

use super::super::testing::Random;
use super::super::{BlockOptions, Profile};
use super::fixture::{START, TestSeries, file_of, open, options, path, series, write};
use crate::io::{Disk, SimulatedDisk};
use crate::model::{FloatHistogram, SampleColumns, SeriesSamples, TimestampMs, is_stale_nan};
use crate::shard_api::{ReadNotes, TimeRange, TimeWindows};
use std::sync::Arc;

pub(super) const EVERYTHING: TimeRange = TimeRange {
    min: TimestampMs::MIN,
    max: TimestampMs::MAX,
};

type Histograms = Vec<(TimestampMs, Arc<FloatHistogram>)>;

pub(super) fn assert_same(got: &SampleColumns, times: &[TimestampMs], values: &[f64]) {
    assert_eq!(got.timestamps, times);
    let bits = |all: &[f64]| all.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&got.values), bits(values));
}

fn assert_same_histograms(got: &Histograms, expected: &[(TimestampMs, Arc<FloatHistogram>)]) {
    assert_eq!(got.len(), expected.len());
    for (a, b) in got.iter().zip(expected) {
        assert_eq!(a.0, b.0);
        assert!(a.1.same_bits(&b.1), "{:?} is not {:?}", a.1, b.1);
        assert_eq!(a.1.counter_reset_hint, b.1.counter_reset_hint);
        assert_eq!(a.1.integer, b.1.integer);
        assert_eq!(a.1.positive_spans, b.1.positive_spans);
        assert_eq!(a.1.negative_spans, b.1.negative_spans);
    }
}

fn inside(samples: &SeriesSamples, range: TimeRange) -> SeriesSamples {
    let mut out = SeriesSamples::default();
    for (t, v) in samples.floats.timestamps.iter().zip(&samples.floats.values) {
        if range.contains(*t) {
            out.floats.push(*t, *v);
        }
    }
    let histograms = samples.histograms.iter();
    out.histograms = histograms
        .filter(|(t, _)| range.contains(*t))
        .cloned()
        .collect();
    out
}

fn check(file: Vec<u8>, series: &[TestSeries], random: &mut Random) {
    let block = open(file).unwrap();
    assert_eq!(block.meta().series as usize, series.len());
    block.verify().unwrap();
    let mut ranges = vec![EVERYTHING, TimeRange { min: 1, max: 0 }];
    for _ in 0..4 {
        let min = START + random.below(2_000_000) as i64;
        let max = min + random.below(1_000_000) as i64;
        ranges.push(TimeRange { min, max });
    }
    for (ordinal, one) in series.iter().enumerate() {
        let ordinal = ordinal as u32;
        let mut bytes = Vec::new();
        block.put_canonical(ordinal, &mut bytes).unwrap();
        assert_eq!(bytes, one.labels.as_bytes());
        assert_eq!(
            block.has_histograms(ordinal),
            !one.samples.histograms.is_empty()
        );
        for &range in &ranges {
            let expected = inside(&one.samples, range);
            let mut notes = ReadNotes::default();
            let mut floats = SampleColumns::default();
            floats.push(0, 0.0);
            block.read(ordinal, range, &mut floats, &mut notes);
            floats.timestamps.remove(0);
            floats.values.remove(0);
            assert_same(
                &floats,
                &expected.floats.timestamps,
                &expected.floats.values,
            );
            let mut histograms = Vec::new();
            block.read_histograms(ordinal, range, &mut histograms, &mut notes);
            assert_same_histograms(&histograms, &expected.histograms);
            assert_eq!(notes.damage, Vec::<String>::new());
            if !expected.is_empty() {
                assert!(block.overlaps(ordinal, range).unwrap());
                assert!(notes.pages_decoded > 0);
            }
            let mut starts = Vec::new();
            block.read_starts(ordinal, range, &mut starts);
            if range == EVERYTHING {
                assert_eq!(starts, one.samples.starts);
            }
        }
        check_stats(&block, ordinal, &one.samples);
    }
}

fn check_stats(block: &super::super::Block, ordinal: u32, samples: &SeriesSamples) {
    let (mut floats, mut histograms) = (0, 0);
    for stats in block.page_stats(ordinal) {
        let count = stats.count as usize;
        if stats.has_histogram {
            let page = &samples.histograms[histograms..histograms + count];
            histograms += count;
            assert_eq!(stats.first_time, page[0].0);
            assert_eq!(stats.last_time, page[count - 1].0);
            assert_eq!(stats.has_stale, page.iter().any(|(_, h)| h.is_stale()));
            continue;
        }
        let times = &samples.floats.timestamps[floats..floats + count];
        let values = &samples.floats.values[floats..floats + count];
        floats += count;
        assert_eq!(
            (stats.first_time, stats.last_time),
            (times[0], times[count - 1])
        );
        assert_eq!(stats.first.to_bits(), values[0].to_bits());
        assert_eq!(stats.last.to_bits(), values[count - 1].to_bits());
        let live: Vec<f64> = values
            .iter()
            .copied()
            .filter(|v| !is_stale_nan(*v))
            .collect();
        assert_eq!(stats.has_stale, live.len() < count);
        assert_eq!(stats.has_nan, live.iter().any(|v| v.is_nan()));
        let numbers: Vec<f64> = live.iter().copied().filter(|v| !v.is_nan()).collect();
        let resets = live.windows(2).filter(|w| w[1] < w[0]).count();
        assert_eq!(stats.resets as usize, resets);
        let least = numbers
            .iter()
            .copied()
            .min_by(f64::total_cmp)
            .unwrap_or(f64::NAN);
        let most = numbers
            .iter()
            .copied()
            .max_by(f64::total_cmp)
            .unwrap_or(f64::NAN);
        assert!(stats.min == least || (stats.min.is_nan() && least.is_nan()));
        assert!(stats.max == most || (stats.max.is_nan() && most.is_nan()));
        if let Some(sum) = stats.sum {
            assert_eq!(sum, values.iter().sum::<f64>());
            assert_eq!(sum, values.iter().rev().sum::<f64>());
        }
    }
    assert_eq!(floats, samples.floats.len());
    assert_eq!(histograms, samples.histograms.len());
}

#[test]
fn adversarial_blocks_come_back() {
    for seed in 0..24 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let page_max = [1, 7, 120, 8192][(seed % 4) as usize];
        let all = series(seed, 90, [3, 20, 130][(seed % 3) as usize]);
        for profile in [Profile::Sealed, Profile::Compacted] {
            let file = file_of(options(profile, page_max), &all);
            check(file, &all, &mut random);
        }
    }
}

#[test]
fn meta_says_what_is_in_it() {
    let all = series(5, 60, 50);
    let disk = SimulatedDisk::default();
    let options = options(Profile::Sealed, 7);
    let meta = write(&disk, options.clone(), &all).unwrap();
    let file = disk.map(&path()).unwrap().to_vec();
    assert_eq!(meta.bytes, file.len() as u64);
    let opened = super::super::Block::open(&disk, &path()).unwrap();
    assert_eq!(opened.meta(), &meta);
    assert_eq!(meta.id, options.id);
    assert_eq!((meta.shard, meta.level, meta.out_of_order), (3, 2, true));
    assert_eq!(meta.parents, options.parents);
    assert_eq!(meta.sealed_until, Some(START));
    let floats: usize = all.iter().map(|s| s.samples.floats.len()).sum();
    let histograms: usize = all.iter().map(|s| s.samples.histograms.len()).sum();
    assert_eq!(meta.float_samples, floats as u64);
    assert_eq!(meta.histogram_samples, histograms as u64);
    let times = all.iter().flat_map(|s| {
        let native = s.samples.histograms.iter().map(|(t, _)| *t);
        s.samples.floats.timestamps.iter().copied().chain(native)
    });
    assert_eq!(meta.min_time, times.clone().min().unwrap());
    assert_eq!(meta.max_time, times.max().unwrap());
}

#[test]
fn nothing_is_no_block() {
    let disk = SimulatedDisk::default();
    assert_eq!(write(&disk, BlockOptions::default(), &[]), None);
    assert!(disk.map(&path()).is_err());
}

#[test]
fn the_same_input_is_the_same_file() {
    let all = series(9, 60, 50);
    for profile in [Profile::Sealed, Profile::Compacted] {
        let first = file_of(options(profile, 120), &all);
        assert!(first == file_of(options(profile, 120), &all));
    }
}

#[test]
fn only_pages_in_range_are_decoded() {
    let mut samples = SeriesSamples::default();
    for i in 0..1000 {
        samples.floats.push(START + i * 1000, (i * i % 977) as f64);
    }
    let labels = crate::model::Labels::from_pairs([("__name__", "x")]).unwrap();
    let one = TestSeries { labels, samples };
    let block = open(file_of(options(Profile::Sealed, 100), &[one])).unwrap();
    let mut notes = ReadNotes::default();
    let mut out = SampleColumns::default();
    let range = TimeRange {
        min: START + 250_000,
        max: START + 349_000,
    };
    block.read(0, range, &mut out, &mut notes);
    assert_eq!(out.len(), 100);
    assert_eq!((notes.pages_decoded, notes.pages_skipped), (2, 8));
    assert_eq!(block.page_stats(0).count(), 10);
    let gap = TimeRange {
        min: START + 99_001,
        max: START + 99_999,
    };
    let mut notes = ReadNotes::default();
    block.read(0, gap, &mut out, &mut notes);
    assert_eq!(out.len(), 100);
    assert_eq!((notes.pages_decoded, notes.pages_skipped), (0, 10));
    assert!(!block.overlaps(0, gap).unwrap());
    // A window of five seconds every four minutes, the first of them over the end of a page.
    let windows = TimeWindows {
        range: TimeRange {
            min: START + 98_000,
            max: START + 822_999,
        },
        width: 5_000,
        step: 240_000,
    };
    let (mut notes, mut out) = (ReadNotes::default(), SampleColumns::default());
    block.read(0, windows, &mut out, &mut notes);
    assert_eq!((notes.pages_decoded, notes.pages_skipped), (5, 5));
    for t in (98..=102)
        .chain(338..=342)
        .chain(578..=582)
        .chain(818..=822)
    {
        assert!(out.timestamps.contains(&(START + t * 1000)), "{t}");
    }
}
