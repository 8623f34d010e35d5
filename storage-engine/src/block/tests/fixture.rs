//! Series that are hard on a block, and a block of them on a simulated disk.

use super::super::testing::{Random, special};
use super::super::{Block, BlockId, BlockMeta, BlockOptions, BlockWriter, Profile, block_order};
use crate::io::{Disk, SimulatedDisk};
use crate::model::{
    BucketSpan, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Labels, SeriesSamples,
    TimestampMs,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One series as it goes in.
pub(super) struct TestSeries {
    pub(super) labels: Labels,
    pub(super) samples: SeriesSamples,
}

pub(super) const START: TimestampMs = 1_700_000_000_000;

pub(super) fn path() -> PathBuf {
    PathBuf::from("/data/x.block")
}

pub(super) fn options(profile: Profile, page_samples_max: u32) -> BlockOptions {
    BlockOptions {
        id: BlockId::new(1_700_000_000_000, [7; 10]),
        shard: 3,
        level: 2,
        parents: vec![BlockId(1), BlockId(2)],
        sealed_until: Some(START),
        out_of_order: true,
        profile,
        page_samples_max,
    }
}

/// Writes a block; `None` if no series has samples.
pub(super) fn write(
    disk: &SimulatedDisk,
    options: BlockOptions,
    series: &[TestSeries],
) -> Option<BlockMeta> {
    disk.create_dir_all(Path::new("/data")).unwrap();
    let mut writer = BlockWriter::create(disk, &path(), options).unwrap();
    for one in series {
        writer.add(one.labels.as_bytes(), &one.samples).unwrap();
    }
    writer.finish().unwrap()
}

/// The file of a block.
pub(super) fn file_of(options: BlockOptions, series: &[TestSeries]) -> Vec<u8> {
    let disk = SimulatedDisk::default();
    write(&disk, options, series).unwrap();
    disk.map(&path()).unwrap().to_vec()
}

pub(super) fn open(file: Vec<u8>) -> Result<Block, super::super::BlockError> {
    Block::from_bytes(file.into(), &path())
}

fn labels(random: &mut Random, i: u64) -> Labels {
    let mut pairs = vec![("unique".to_owned(), format!("u{i}"))];
    if random.below(12) > 0 {
        pairs.push(("__name__".to_owned(), format!("m{}", random.below(7))));
    }
    for name in ["Upper", "job", "zone", "é"] {
        if random.below(3) > 0 {
            pairs.push((name.to_owned(), format!("{name}-{}", random.below(9))));
        }
    }
    Labels::from_pairs(pairs).unwrap()
}

/// Scrape moments of a target, with a few milliseconds of jitter now and then.
fn target(random: &mut Random, count: u64) -> Vec<TimestampMs> {
    let offset = random.below(15_000) as i64;
    (0..count as i64)
        .map(|i| {
            START
                + offset
                + i * 15_000
                + if random.below(6) == 0 {
                    random.below(40) as i64
                } else {
                    0
                }
        })
        .collect()
}

fn values(random: &mut Random, count: usize) -> Vec<f64> {
    let shape = random.below(10);
    let rare = [3, 20, 400][random.below(3) as usize];
    let mut sum = random.below(100_000) as f64;
    let constant = [
        0.0,
        1.0,
        -0.0,
        f64::NAN,
        0.1 + 0.2,
        f64::from_bits(crate::model::STALE_NAN_BITS),
    ][random.below(6) as usize];
    (0..count)
        .map(|_| {
            if shape > 1 && random.below(rare) == 0 {
                return special(random);
            }
            match shape {
                0 | 1 => constant,
                2 => {
                    sum += random.below(50) as f64;
                    sum
                }
                3 => {
                    sum += random.below(1 << 20) as f64 * 1e-7;
                    sum
                }
                4 => random.below(10_000) as f64 / 100.0,
                5 => f64::from_bits(random.next()),
                6 => random.below(1 << 52) as f64 / (1_u64 << 52) as f64,
                7 => -(random.below(50) as f64) * 4096.0,
                _ => random.below(3) as f64,
            }
        })
        .collect()
}

fn spans(random: &mut Random) -> Vec<BucketSpan> {
    (0..random.below(3))
        .map(|_| BucketSpan {
            offset: random.below(5) as i32,
            length: random.below(4) as u32,
        })
        .collect()
}

fn histogram(random: &mut Random, layouts: &[FloatHistogram]) -> FloatHistogram {
    if random.below(10) == 0 {
        return FloatHistogram::stale(random.below(2) == 0);
    }
    let mut h = layouts[random.below(layouts.len() as u64) as usize].clone();
    let wild = random.below(8) == 0;
    let mut number = || {
        if wild {
            special(random)
        } else {
            random.below(1 << 20) as f64
        }
    };
    h.count = number();
    h.zero_count = number();
    h.sum = number() / 3.0;
    h.positive_buckets.iter_mut().for_each(|b| *b = number());
    h.negative_buckets.iter_mut().for_each(|b| *b = number());
    h.integer = random.below(2) == 0;
    h.counter_reset_hint = [
        CounterResetHint::Unknown,
        CounterResetHint::CounterReset,
        CounterResetHint::NotCounterReset,
        CounterResetHint::Gauge,
    ][random.below(4) as usize];
    h
}

fn layout(random: &mut Random) -> FloatHistogram {
    let positive_spans = spans(random);
    let negative_spans = spans(random);
    let buckets = |spans: &[BucketSpan]| vec![0.0; spans.iter().map(|s| s.length as usize).sum()];
    let custom = random.below(3) == 0;
    FloatHistogram {
        schema: if custom {
            CUSTOM_BUCKETS_SCHEMA
        } else {
            random.below(13) as i32 - 4
        },
        zero_threshold: [0.0, 1e-128, f64::MIN_POSITIVE][random.below(3) as usize],
        positive_buckets: buckets(&positive_spans),
        negative_buckets: buckets(&negative_spans),
        custom_values: if custom {
            vec![0.5, 1.0, special(random)]
        } else {
            Vec::new()
        },
        positive_spans,
        negative_spans,
        ..FloatHistogram::default()
    }
}

/// `count` series in order: scraped together or alone, whole or in part, of every shape of value.
pub(super) fn series(seed: u64, count: u64, samples_max: u64) -> Vec<TestSeries> {
    let mut random = Random::new(seed);
    let targets: Vec<Vec<TimestampMs>> = (0..4)
        .map(|_| {
            let count = 1 + random.below(samples_max);
            target(&mut random, count)
        })
        .collect();
    let mut all: Vec<TestSeries> = Vec::new();
    for i in 0..count {
        let labels = labels(&mut random, i);
        let mut times = match random.below(8) {
            0 => {
                let count = 1 + random.below(samples_max);
                target(&mut random, count)
            }
            _ => targets[random.below(4) as usize].clone(),
        };
        match random.below(6) {
            0 => {
                let from = random.below(times.len() as u64) as usize;
                times.drain(..from);
            }
            1 => {
                let to = random.below(times.len() as u64) as usize;
                times.truncate(to);
            }
            2 => times.retain(|t| t % 7 != 0),
            _ => {}
        }
        let mut samples = SeriesSamples::default();
        match all.last() {
            // The same values, and perhaps the same times, as the series before.
            Some(before) if random.below(5) == 0 => samples = before.samples.clone(),
            _ => {
                samples.floats.values = values(&mut random, times.len());
                samples.floats.timestamps = times.clone();
            }
        }
        let kind = random.below(8);
        if kind < 2 {
            let layouts: Vec<FloatHistogram> = (0..3).map(|_| layout(&mut random)).collect();
            if kind == 0 {
                samples.floats.clear();
            }
            let taken: Vec<TimestampMs> = samples.floats.timestamps.clone();
            samples.histograms = times
                .iter()
                .map(|t| t + i64::from(kind == 1))
                .filter(|t| taken.binary_search(t).is_err())
                .map(|t| (t, Arc::new(histogram(&mut random, &layouts))))
                .collect();
        }
        samples.starts = match random.below(4) {
            0 => vec![
                (START, START - 5),
                (START + 30_000, 0),
                (START + 45_000, START + 44_999),
            ],
            1 => vec![(START - 100, 1)],
            _ => Vec::new(),
        };
        all.push(TestSeries { labels, samples });
    }
    all.sort_by(|a, b| block_order(a.labels.as_bytes(), b.labels.as_bytes()));
    all.retain(|s| !s.samples.is_empty());
    all
}
