//! Blocks: a damaged file gives what was written or less, and says so; what is written comes back bit for bit.

use crate::damage;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use storage_engine::block::{Block, BlockId, BlockOptions, BlockWriter, Profile};
use storage_engine::io::{Access, Disk, SimulatedDisk};
use storage_engine::model::{
    BucketSpan, FloatHistogram, Labels, MatchOp, Matcher, SampleColumns, SeriesSamples,
};
use storage_engine::shard_api::{ReadNotes, TimeRange};

const PATH: &str = "/blocks/one.block";
const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

fn labels(series: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", "metric".to_owned()),
        ("id", format!("{series:04}")),
    ])
    .expect("BUG: two different names")
}

fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    disk.create_dir_all("/blocks".as_ref())
        .expect("BUG: an empty disk refuses");
    disk
}

fn write(all: &[SeriesSamples], profile: Profile, page_samples_max: u32) -> Option<SimulatedDisk> {
    let disk = disk();
    let options = BlockOptions {
        id: BlockId(7),
        profile,
        page_samples_max,
        ..BlockOptions::default()
    };
    let mut writer = BlockWriter::create(&disk, Path::new(PATH), options).expect("a sound disk");
    for (series, samples) in all.iter().enumerate() {
        let labels = labels(series);
        writer
            .add(labels.as_bytes(), samples)
            .expect("a sound disk");
    }
    let meta = writer.finish().expect("a sound disk");
    meta.is_some().then_some(disk)
}

fn histogram(count: u64) -> Arc<FloatHistogram> {
    Arc::new(FloatHistogram {
        count: count as f64,
        sum: count as f64 / 7.0,
        positive_spans: vec![BucketSpan {
            offset: -2,
            length: 2,
        }],
        positive_buckets: vec![count as f64, 0.0],
        integer: true,
        ..FloatHistogram::default()
    })
}

/// A sound block of a few kilobytes, and what it holds.
fn sound() -> &'static (Vec<u8>, Vec<SeriesSamples>) {
    static SOUND: OnceLock<(Vec<u8>, Vec<SeriesSamples>)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let mut all = Vec::new();
        for series in 0..12_u64 {
            let mut samples = SeriesSamples::default();
            for i in 0..40_u64 {
                let t = (i * 15_000 + series % 3) as i64;
                let value = match series % 4 {
                    0 => 5.0,
                    1 => i as f64 * 0.25,
                    2 => f64::from_bits((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2),
                    _ => {
                        samples.histograms.push((t, histogram(i + series)));
                        continue;
                    }
                };
                samples.floats.push(t, value);
            }
            all.push(samples);
        }
        let disk = write(&all, Profile::Sealed, 7).expect("samples make a block");
        let content = disk.content(Path::new(PATH)).expect("the block is there");
        (content, all)
    })
}

fn open(content: &[u8]) -> Option<Block> {
    let disk = disk();
    disk.create(Path::new(PATH), Access::Buffered)
        .and_then(|file| file.write_at(0, content))
        .expect("BUG: an empty disk refuses");
    Block::open(&disk, Path::new(PATH)).ok()
}

fn is_part(found: &SampleColumns, of: &SampleColumns) -> bool {
    let mut rest = of.timestamps.iter().zip(&of.values);
    let mut found = found.timestamps.iter().zip(&found.values);
    found.all(|(t, value)| rest.any(|(of_t, of)| t == of_t && value.to_bits() == of.to_bits()))
}

/// Reads all that a block gives, against what was written. True if all of it came.
fn compare(block: &Block, all: &[SeriesSamples]) -> bool {
    let Ok(ordinals) = block.select(&[]) else {
        return false;
    };
    let mut whole = ordinals.len() == all.len() as u64;
    for ordinal in ordinals {
        let mut canonical = Vec::new();
        if block.put_canonical(ordinal, &mut canonical).is_err() {
            whole = false;
            continue;
        }
        let series = (0..all.len()).find(|series| labels(*series).as_bytes() == canonical);
        let wanted = &all[series.expect("a series was invented")];
        let (mut found, mut notes) = (SampleColumns::default(), ReadNotes::default());
        block.read(ordinal, ALL, &mut found, &mut notes);
        let mut histograms = Vec::new();
        block.read_histograms(ordinal, ALL, &mut histograms, &mut notes);
        assert!(
            is_part(&found, &wanted.floats),
            "a sample was invented: {found:?}"
        );
        let mut rest = wanted.histograms.iter();
        let is_there = histograms
            .iter()
            .all(|(t, h)| rest.any(|(of_t, of)| t == of_t && h.same_bits(of)));
        assert!(is_there, "a histogram was invented: {histograms:?}");
        let is_whole =
            found.len() == wanted.floats.len() && histograms.len() == wanted.histograms.len();
        assert!(is_whole || !notes.damage.is_empty(), "lost without a word");
        whole &= is_whole;
    }
    whole
}

/// A damaged block, or (first byte odd) arbitrary bytes.
pub fn file(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    let (content, all) = sound();
    let content = match mode % 2 {
        0 => {
            let mut damaged = content.clone();
            damage::apply(&mut damaged, rest);
            damaged
        }
        _ => rest.to_vec(),
    };
    if let Some(block) = open(&content) {
        let whole = compare(&block, all);
        assert!(whole || block.verify().is_err(), "verify sees no damage");
    }
}

/// Damage under the questions that an index answers: whatever it says is about series that were written.
pub fn index(data: &[u8]) {
    let (content, all) = sound();
    let mut damaged = content.clone();
    damage::apply(&mut damaged, data);
    let Some(block) = open(&damaged) else {
        return;
    };
    for (op, value) in [
        (MatchOp::Equal, "0003"),
        (MatchOp::NotEqual, "0003"),
        (MatchOp::Regex, "000.*"),
        (MatchOp::NotRegex, "0001|0002"),
    ] {
        let matcher = Matcher::new(op, "id", value).expect("BUG: a sound matcher");
        let Ok(selected) = block.select(std::slice::from_ref(&matcher)) else {
            continue;
        };
        for ordinal in selected {
            let mut canonical = Vec::new();
            if block.put_canonical(ordinal, &mut canonical).is_ok() {
                let labels = Labels::from_canonical(&canonical).expect("canonical labels");
                assert!(
                    matcher.matches(labels.value("id")),
                    "{matcher:?} gives {labels:?}"
                );
            }
            let overlaps = block.overlaps(ordinal, ALL);
            assert!(overlaps.unwrap_or(true), "a series without samples");
            block.page_stats(ordinal).for_each(drop);
        }
    }
    for value in block.label_values("id").unwrap_or_default() {
        let number: usize = value.parse().expect("a value was invented");
        assert!(number < all.len(), "a value was invented: {value}");
    }
    for name in block.label_names().unwrap_or_default() {
        assert!(
            name == "id" || name == "__name__",
            "a name was invented: {name}"
        );
    }
}

/// Series of arbitrary floats at arbitrary steps: they come back bit for bit, whatever codec was chosen.
pub fn pages(data: &[u8]) {
    let Some(([flags, page, step], rest)) = data.split_first_chunk() else {
        return;
    };
    let profile = match flags % 2 {
        0 => Profile::Sealed,
        _ => Profile::Compacted,
    };
    let width = match flags / 2 % 4 {
        0 => 1,
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let mut all = vec![SeriesSamples::default()];
    let mut t = i64::from(*step) * 1_000_000;
    for word in rest.chunks(width) {
        if word.len() == width && word[0] == 0xff && all.len() < 8 {
            all.push(SeriesSamples::default());
            t = i64::from(*step) * 1_000_000;
            continue;
        }
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        let word = u64::from_le_bytes(bytes);
        // Whole numbers, decimals, any bits.
        let value = match (width, flags / 8 % 2) {
            (8, _) => f64::from_bits(word),
            (_, 0) => word as f64,
            _ => word as f64 / 1000.0,
        };
        let samples = all.last_mut().expect("BUG: there is one");
        samples.floats.push(t, value);
        t += 1 + i64::from(*step) * (1 + i64::from(flags / 16) * (word % 3) as i64);
    }
    let Some(disk) = write(&all, profile, u32::from(*page)) else {
        return;
    };
    let block = Block::open(&disk, Path::new(PATH)).expect("a sound block opens");
    block.verify().expect("a sound block is sound");
    all.retain(|samples| !samples.is_empty());
    let ordinals = block.select(&[]).expect("a sound index answers");
    assert_eq!(ordinals.len(), all.len() as u64);
    for (ordinal, wanted) in ordinals.into_iter().zip(&all) {
        let (mut found, mut notes) = (SampleColumns::default(), ReadNotes::default());
        block.read(ordinal, ALL, &mut found, &mut notes);
        assert!(notes.damage.is_empty(), "{:?}", notes.damage);
        let whole = found.len() == wanted.floats.len() && is_part(&found, &wanted.floats);
        assert!(whole, "{found:?} is not {:?}", wanted.floats);
    }
}
