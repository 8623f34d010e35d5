//! Against a block that Prometheus 3.5.3 wrote (`tests/data/prometheus-3.5.3/`; its README says how): read as it was sent, and
//! written byte for byte.

use super::*;
use crate::io::{Disk, StandardDisk};
use crate::model::{
    BucketSpan, CounterResetHint, FloatHistogram, Labels, SeriesSamples, TimestampMs,
};
use crate::shard_api::{ReadNotes, TimeRange};
use crate::store::offline::OfflineTarget;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Time of the first sample, which the times in `samples.txt` count from.
const FIRST_TIME: TimestampMs = 1_699_999_800_000;
const ULID: &str = include_str!("../../tests/data/prometheus-3.5.3/ulid").trim_ascii_end();

fn data_dir() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/prometheus-3.5.3"
    ))
}

fn list<T: std::str::FromStr>(text: &str) -> Vec<T>
where
    T::Err: std::fmt::Debug,
{
    match text {
        "-" => Vec::new(),
        text => text.split(',').map(|n| n.parse().unwrap()).collect(),
    }
}

fn spans(text: &str) -> Vec<BucketSpan> {
    let one = |text: &str| {
        let (offset, length) = text.split_once(':').unwrap();
        BucketSpan {
            offset: offset.parse().unwrap(),
            length: length.parse().unwrap(),
        }
    };
    match text {
        "-" => Vec::new(),
        text => text.split(',').map(one).collect(),
    }
}

fn bits(text: &str) -> f64 {
    f64::from_bits(u64::from_str_radix(text, 16).unwrap())
}

fn histogram(fields: &[&str]) -> FloatHistogram {
    let integer = fields[0] == "i";
    if bits(fields[6]).to_bits() == crate::model::STALE_NAN_BITS {
        return FloatHistogram::stale(integer);
    }
    FloatHistogram {
        counter_reset_hint: match fields[1] {
            "0" => CounterResetHint::Unknown,
            "1" => CounterResetHint::CounterReset,
            "3" => CounterResetHint::Gauge,
            other => panic!("{other}"),
        },
        schema: fields[2].parse().unwrap(),
        zero_threshold: fields[3].parse().unwrap(),
        zero_count: fields[4].parse().unwrap(),
        count: fields[5].parse().unwrap(),
        sum: bits(fields[6]),
        positive_spans: spans(fields[7]),
        positive_buckets: list(fields[8]),
        negative_spans: spans(fields[9]),
        negative_buckets: list(fields[10]),
        custom_values: list(fields[11]),
        integer,
    }
}

/// What was sent to Prometheus, ascending by labels.
fn sent() -> Vec<(Labels, SeriesSamples)> {
    let text = std::fs::read_to_string(data_dir().join("samples.txt")).unwrap();
    let mut all: Vec<(Labels, SeriesSamples)> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if let Some(labels) = line.strip_prefix("S ") {
            let pairs: Vec<(String, String)> = serde_json::from_str(labels).unwrap();
            all.push((Labels::from_pairs(pairs).unwrap(), SeriesSamples::default()));
            continue;
        }
        let samples = &mut all.last_mut().unwrap().1;
        let t = FIRST_TIME + fields[1].parse::<i64>().unwrap();
        match fields[0] {
            "f" => samples.floats.push(t, bits(fields[2])),
            "h" => samples
                .histograms
                .push((t, Arc::new(histogram(&fields[2..])))),
            other => panic!("{other}"),
        }
    }
    all
}

/// Buckets by index without those that count nothing: a chunk's layout may have more buckets than a histogram had.
fn buckets(spans: &[BucketSpan], counts: &[f64]) -> Vec<(i64, f64)> {
    crate::model::indexed_buckets(spans, counts)
        .filter(|(_, count)| *count != 0.0)
        .collect()
}

fn assert_same(labels: &Labels, got: &SeriesSamples, wanted: &SeriesSamples) {
    let float_bits =
        |s: &SeriesSamples| -> Vec<u64> { s.floats.values.iter().map(|v| v.to_bits()).collect() };
    assert_eq!(got.floats.timestamps, wanted.floats.timestamps, "{labels}");
    assert_eq!(float_bits(got), float_bits(wanted), "{labels}");
    assert_eq!(got.histograms.len(), wanted.histograms.len(), "{labels}");
    for ((t, g), (u, w)) in got.histograms.iter().zip(&wanted.histograms) {
        assert_eq!(t, u, "{labels}");
        assert_eq!(g.is_stale(), w.is_stale(), "{labels} {t}");
        if g.is_stale() {
            continue;
        }
        let numbers = |h: &FloatHistogram| {
            let floats = [h.zero_threshold, h.zero_count, h.count, h.sum];
            (h.schema, h.integer, floats.map(f64::to_bits))
        };
        assert_eq!(numbers(g), numbers(w), "{labels} {t}");
        let both_sides = |h: &FloatHistogram| {
            (
                buckets(&h.positive_spans, &h.positive_buckets),
                buckets(&h.negative_spans, &h.negative_buckets),
                h.custom_values.clone(),
            )
        };
        assert_eq!(both_sides(g), both_sides(w), "{labels} {t}");
    }
}

#[test]
fn a_real_block_reads_as_it_was_sent() {
    let block = PrometheusBlock::open(&StandardDisk, &data_dir().join(ULID)).unwrap();
    let wanted = sent();
    assert_eq!(block.meta().stats.num_samples, 1405);
    assert_eq!(block.series_count(), wanted.len());
    let mut samples = SeriesSamples::default();
    for (series, (labels, wanted)) in block.series().zip(&wanted) {
        let series = series.unwrap();
        assert_eq!(series.labels, *labels);
        block.read(&series, &mut samples, &mut |text| panic!("{text}"));
        assert_same(labels, &samples, wanted);
    }
}

fn write(disk: &dyn Disk, parent: &std::path::Path) -> PrometheusMeta {
    let all = sent();
    let symbols: BTreeSet<String> = all
        .iter()
        .flat_map(|(labels, _)| labels.iter())
        .flat_map(|(name, value)| [name.to_owned(), value.to_owned()])
        .collect();
    let symbols = symbols.into_iter().collect();
    let mut writer = PrometheusBlockWriter::create(disk, parent, ULID, symbols).unwrap();
    for (labels, samples) in &all {
        writer.add(labels, samples).unwrap();
    }
    writer.finish().unwrap().unwrap()
}

#[test]
fn a_block_is_written_byte_for_byte_as_prometheus_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let meta = write(&StandardDisk, dir.path());
    let theirs = PrometheusBlock::open(&StandardDisk, &data_dir().join(ULID)).unwrap();
    // Chunk by chunk first, so that a difference says where it is.
    let ours = PrometheusBlock::open(&StandardDisk, &dir.path().join(ULID)).unwrap();
    for (o, t) in ours.series().zip(theirs.series()) {
        let (o, t) = (o.unwrap(), t.unwrap());
        let times = |s: &PrometheusSeries| -> Vec<_> {
            s.chunks.iter().map(|c| (c.min_time, c.max_time)).collect()
        };
        assert_eq!(times(&o), times(&t), "{}", o.labels);
        for (oc, tc) in o.chunks.iter().zip(&t.chunks) {
            let chunk = |block: &PrometheusBlock, meta: &ChunkMeta| {
                let (encoding, data) = block.chunks().get(meta.reference).unwrap();
                (encoding, data.to_vec())
            };
            assert_eq!(
                chunk(&ours, oc),
                chunk(&theirs, tc),
                "{} from {}",
                o.labels,
                oc.min_time - FIRST_TIME
            );
        }
    }
    for file in ["chunks/000001", "index", "tombstones"] {
        let read = |dir: PathBuf| std::fs::read(dir.join(ULID).join(file)).unwrap();
        let equal = read(dir.path().to_owned()) == read(data_dir());
        assert!(equal, "{file} differs");
    }
    let mut wanted = theirs.meta().clone();
    // Prometheus writes the range that it compacted, we that of the samples.
    wanted.max_time = meta.max_time;
    assert_eq!(meta.max_time, FIRST_TIME + 429 * 15_000 + 1);
    // 3.5.3 does not write these two yet.
    wanted.stats.num_float_samples = meta.stats.num_float_samples;
    wanted.stats.num_histogram_samples = meta.stats.num_histogram_samples;
    assert_eq!(meta, wanted);
    assert_eq!(
        meta.stats.num_float_samples + meta.stats.num_histogram_samples,
        1405
    );
}

/// All samples of the block in a directory, or what was wrong.
fn read_all(dir: &std::path::Path) -> Result<Vec<(Labels, SeriesSamples)>, String> {
    let block = PrometheusBlock::open(&StandardDisk, dir).map_err(|error| error.to_string())?;
    let (mut all, mut damage) = (Vec::new(), None);
    for series in block.series() {
        let series = series.map_err(|error| error.to_string())?;
        let mut samples = SeriesSamples::default();
        block.read(&series, &mut samples, &mut |text| damage = Some(text));
        all.push((series.labels, samples));
    }
    damage.map_or(Ok(all), Err)
}

#[test]
fn no_flipped_byte_gives_another_answer() {
    let dir = tempfile::tempdir().unwrap();
    write(&StandardDisk, dir.path());
    let block = dir.path().join(ULID);
    let sound = read_all(&block).unwrap();
    let text = format!("{sound:?}");
    let mut refused = 0;
    for (file, step) in [("index", 5), ("chunks/000001", 97), ("tombstones", 1)] {
        let path = block.join(file);
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).unwrap();
            match read_all(&block) {
                Err(_) => refused += 1,
                // Sections that a reader of all series has no use for, and padding.
                Ok(read) => assert!(format!("{read:?}") == text, "{file} at {at}"),
            }
        }
        for end in (0..good.len()).step_by(step * 7) {
            std::fs::write(&path, &good[..end]).unwrap();
            assert!(read_all(&block).is_err(), "{file} cut at {end}");
        }
        std::fs::write(&path, &good).unwrap();
    }
    assert!(refused > 200, "{refused}");
    assert_eq!(format!("{:?}", read_all(&block).unwrap()), text);
}

#[test]
fn tombstones_take_samples_away() {
    let dir = tempfile::tempdir().unwrap();
    write(&StandardDisk, dir.path());
    let path = dir.path().join(ULID);
    let block = PrometheusBlock::open(&StandardDisk, &path).unwrap();
    let first = block.series().next().unwrap().unwrap();
    let (min, max) = (FIRST_TIME + 15_000, FIRST_TIME + 400 * 15_000);
    let mut entries = Vec::new();
    bytes::put_uvarint(&mut entries, first.reference);
    bytes::put_varint(&mut entries, min);
    bytes::put_varint(&mut entries, max);
    let mut file = tombstones_file::empty_file();
    file.truncate(5);
    file.extend(&entries);
    file.extend(crc32c(&entries).to_be_bytes());
    std::fs::write(path.join("tombstones"), file).unwrap();
    let block = PrometheusBlock::open(&StandardDisk, &path).unwrap();
    let mut samples = SeriesSamples::default();
    block.read(&first, &mut samples, &mut |text| panic!("{text}"));
    let wanted: Vec<_> = [0]
        .into_iter()
        .chain(401..430)
        .map(|i| FIRST_TIME + i * 15_000)
        .collect();
    assert_eq!(samples.floats.timestamps, wanted);
}

#[test]
fn the_head_of_a_killed_prometheus_is_read() {
    let dir = data_dir().join("head");
    let mut damage = Vec::new();
    let head = PrometheusHead::read(&StandardDisk, &dir, i64::MIN, &mut |text| damage.push(text));
    let head = head.unwrap();
    assert_eq!(damage, Vec::<String>::new());
    let mut wanted = sent();
    for (labels, samples) in &mut wanted {
        match labels.metric_name() {
            Some("requests_total") => {
                for i in 0..40 {
                    let t = FIRST_TIME + 7 + 15_000 * (39 - i);
                    samples.floats.push(t, 1000.0 + i as f64);
                }
                order::order(samples);
                assert_eq!(samples.len(), 470);
            }
            Some("temperature") => order::remove(
                &[TimeRange {
                    min: i64::MIN,
                    max: FIRST_TIME + 60_000,
                }],
                samples,
            ),
            _ if labels.get("kind") == Some("bothways") => {
                let first = samples.histograms[0].1.clone();
                samples.histograms.push((FIRST_TIME + 500, first));
                order::order(samples);
            }
            _ => {}
        }
    }
    assert_eq!(head.series().len(), wanted.len());
    let mut samples = SeriesSamples::default();
    let all = TimeRange {
        min: i64::MIN,
        max: i64::MAX,
    };
    for (series, (labels, wanted)) in head.series().iter().zip(&wanted) {
        assert_eq!(series.labels, *labels);
        series.read(all, &mut samples);
        assert_same(labels, &samples, wanted);
    }
    // A part of the time, and what is in blocks already.
    let part = TimeRange {
        min: FIRST_TIME + 100_000,
        max: FIRST_TIME + 200_000,
    };
    for series in head.series() {
        series.read(part, &mut samples);
        assert!(samples.floats.timestamps.iter().all(|t| part.contains(*t)));
        assert!(samples.histograms.iter().all(|(t, _)| part.contains(*t)));
    }
    let later = PrometheusHead::read(&StandardDisk, &dir, part.min, &mut |_| ()).unwrap();
    assert!(later.sample_count() < head.sample_count());
    assert_eq!(
        later.time_range().map(|r| r.max),
        head.time_range().map(|r| r.max)
    );
    let none = PrometheusHead::read(&StandardDisk, &dir.join("none"), 0, &mut |_| ()).unwrap();
    assert_eq!(none.series().len(), 0);
}

#[test]
fn a_damaged_log_gives_what_lies_before_the_damage() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("wal")).unwrap();
    let good = std::fs::read(data_dir().join("head/wal/00000000")).unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(dir.path().join("wal/00000000"), bytes).unwrap();
        let mut damage = 0;
        let head = PrometheusHead::read(&StandardDisk, dir.path(), i64::MIN, &mut |_| damage += 1);
        (head.unwrap().sample_count(), damage)
    };
    let (all, damage) = read(&good);
    assert_eq!(damage, 0);
    for at in (0..good.len()).step_by(997) {
        let mut bad = good.clone();
        bad[at] ^= 4;
        let (samples, damage) = read(&bad);
        assert!(samples <= all && damage > 0, "{at}");
        // A log that ends early is what a killed process leaves.
        assert!(read(&good[..at]).0 <= all, "{at}");
    }
}

/// A Prometheus data directory with the block of the fixture and its head.
fn prometheus_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: PathBuf, name: &str| {
        let to = dir.path().join(name);
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    };
    copy(data_dir().join(ULID), ULID);
    copy(
        data_dir().join(ULID).join("chunks"),
        &format!("{ULID}/chunks"),
    );
    dir
}

fn read_blocks(target: &OfflineTarget) -> Vec<(Labels, SeriesSamples)> {
    let all = TimeRange {
        min: i64::MIN,
        max: i64::MAX,
    };
    let mut found: Vec<(Labels, SeriesSamples)> = Vec::new();
    for shard in 0..target.shard_count() {
        let dir = target.blocks_dir(shard);
        for name in StandardDisk.list(&dir).unwrap() {
            let block = crate::block::Block::open(&StandardDisk, &dir.join(&name)).unwrap();
            block.verify().unwrap();
            assert_eq!(name, format!("{}.block", block.meta().id));
            for ordinal in 0..block.meta().series {
                let (mut canonical, mut samples) = (Vec::new(), SeriesSamples::default());
                block.put_canonical(ordinal, &mut canonical).unwrap();
                let labels = Labels::from_canonical(&canonical).unwrap();
                assert_eq!(target.shard_of(&labels), shard);
                let mut notes = ReadNotes::default();
                block.read(ordinal, all, &mut samples.floats, &mut notes);
                block.read_histograms(ordinal, all, &mut samples.histograms, &mut notes);
                assert_eq!(notes.damage, Vec::<String>::new());
                found.push((labels, samples));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn a_directory_is_imported_once() {
    let source = prometheus_dir();
    let from = PrometheusDirectory::open(&StandardDisk, source.path(), &mut |t| panic!("{t}"));
    let from = from.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let target = OfflineTarget::open_or_create(&StandardDisk, dir.path(), 3).unwrap();
    let taken = OfflineTarget::open_or_create(&StandardDisk, dir.path(), 3);
    assert!(taken.is_err(), "one process at a time has a directory");
    let report = import(&from, &target, &StandardDisk, &mut |_| ()).unwrap();
    assert_eq!((report.imported, report.skipped, report.damaged), (1, 0, 0));
    assert_eq!(
        (report.blocks, report.series, report.samples),
        (3, 15, 1405)
    );
    let found = read_blocks(&target);
    let wanted = sent();
    assert_eq!(found.len(), wanted.len());
    for ((labels, samples), (wanted_labels, wanted)) in found.iter().zip(&wanted) {
        assert_eq!(labels, wanted_labels);
        assert_same(labels, samples, wanted);
    }
    // Again, and after a crash that lost one shard's name.
    let again = import(&from, &target, &StandardDisk, &mut |_| ()).unwrap();
    assert_eq!((again.imported, again.skipped), (0, 1));
    let name = StandardDisk.list(&target.blocks_dir(1)).unwrap().remove(0);
    std::fs::remove_file(target.blocks_dir(1).join(name)).unwrap();
    let mended = import(&from, &target, &StandardDisk, &mut |_| ()).unwrap();
    assert_eq!((mended.imported, mended.blocks), (1, 1));
    assert_eq!(format!("{:?}", read_blocks(&target)), format!("{found:?}"));
}

#[test]
fn a_head_is_imported_in_ranges() {
    let from = data_dir().join("head");
    let from = PrometheusDirectory::open(&StandardDisk, &from, &mut |t| panic!("{t}")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let target = OfflineTarget::open_or_create(&StandardDisk, dir.path(), 2).unwrap();
    let report = import(&from, &target, &StandardDisk, &mut |_| ()).unwrap();
    // 41 late samples more, 4 deleted ones less; all within one range of two hours.
    assert_eq!((report.imported, report.samples), (1, 1405 + 41 - 4));
    assert_eq!((report.series, report.damaged), (15, 0));
}
