//! Reading over head and blocks against a plain oracle: samples, labels, deletions, what was set aside.

use super::*;
use crate::block::{Block, BlockId, BlockOptions, BlockWriter, block_order};
use crate::io::{Disk, SimulatedDisk};
use crate::model::{
    CounterResetHint, FloatHistogram, Labels, MatchOp, Matcher, SampleColumns, SeriesSamples,
};
use crate::shard_api::{HistogramSample, ReadNotes, SampleSeries, TimeRange};
use crate::tombstones::Tombstones;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % n
    }
}

fn labels(i: u64) -> Labels {
    Labels::from_pairs([
        ("__name__", format!("metric_{}", i % 5)),
        ("job", format!("job-{}", i % 3)),
        (
            if i.is_multiple_of(2) {
                "even"
            } else {
                "number"
            },
            i.to_string(),
        ),
    ])
    .unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Float(f64),
    /// The count of a histogram.
    Histogram(f64),
}

type Samples = BTreeMap<i64, Value>;
type Oracle = BTreeMap<Labels, Samples>;

fn histogram(count: f64) -> FloatHistogram {
    FloatHistogram {
        count,
        counter_reset_hint: CounterResetHint::NotCounterReset,
        ..FloatHistogram::default()
    }
}

fn columns(samples: &Samples) -> SeriesSamples {
    let mut out = SeriesSamples::default();
    for (&t, value) in samples {
        match value {
            Value::Float(v) => out.floats.push(t, *v),
            Value::Histogram(count) => out.histograms.push((t, Arc::new(histogram(*count)))),
        }
    }
    out
}

/// Some samples in `range`, each with a value of its own.
fn some(random: &mut Random, range: TimeRange, next: &mut f64) -> Samples {
    let kind = random.below(4);
    let mut out = Samples::new();
    for t in range.min..=range.max {
        if random.below(3) == 0 {
            *next += 1.0;
            let as_histogram = kind == 0 || (kind == 1 && random.below(2) == 0);
            let value = match as_histogram {
                true => Value::Histogram(*next),
                false => Value::Float(*next),
            };
            out.insert(t, value);
        }
    }
    out
}

fn block(
    number: u64,
    late: bool,
    series: &BTreeMap<Labels, Samples>,
    deleted: &[(Labels, TimeRange)],
) -> Option<StoredBlock> {
    let disk = SimulatedDisk::default();
    disk.create_dir_all(&PathBuf::from("/d")).unwrap();
    let path = PathBuf::from("/d/x.block");
    let options = BlockOptions {
        id: BlockId(u128::from(number)),
        out_of_order: late,
        page_samples_max: 7,
        ..BlockOptions::default()
    };
    let mut writer = BlockWriter::create(&disk, &path, options).unwrap();
    let mut ordered: Vec<_> = series.iter().filter(|(_, s)| !s.is_empty()).collect();
    ordered.sort_by(|a, b| block_order(a.0.as_bytes(), b.0.as_bytes()));
    let mut tombstones = Tombstones::default();
    for (ordinal, (labels, samples)) in ordered.into_iter().enumerate() {
        writer.add(labels.as_bytes(), &columns(samples)).unwrap();
        for (_, range) in deleted.iter().filter(|(l, _)| l == labels) {
            tombstones.add(ordinal as u32, *range);
        }
    }
    writer.finish().unwrap()?;
    Some(StoredBlock {
        block: Arc::new(Block::open(&disk, &path).unwrap()),
        tombstones: Arc::new(tombstones),
    })
}

fn append(shard: &mut Shard, series: &BTreeMap<Labels, Samples>) {
    for (labels, samples) in series {
        for (&t, value) in samples {
            let mut batch = AppendBatch::default();
            batch.new_series.push(labels.as_bytes());
            match value {
                Value::Float(v) => {
                    batch.series.push(SampleSeries::New(0));
                    batch.timestamps.push(t);
                    batch.values.push(*v);
                }
                Value::Histogram(count) => batch.histograms.push(HistogramSample {
                    series: SampleSeries::New(0),
                    timestamp: t,
                    histogram: Arc::new(histogram(*count)),
                }),
            }
            let event = Event::Append {
                request: 0,
                batch: Box::new(batch),
                mode: AppendMode::Partial,
            };
            shard.on(0, event, &mut Vec::new());
        }
    }
}

/// All that a selection holds in `range`.
fn contents(reader: &ShardReader<'_>, selection: &Selection, range: TimeRange) -> Oracle {
    let mut all = Oracle::new();
    let mut notes = ReadNotes::default();
    for series in 0..selection.len() {
        let mut floats = SampleColumns::default();
        reader.read(selection, series, range, &mut floats, &mut notes);
        assert!(floats.timestamps.is_sorted_by(|a, b| a < b));
        let mut histograms = Vec::new();
        reader.read_histograms(selection, series, range, &mut histograms, &mut notes);
        assert!(histograms.is_sorted_by(|a, b| a.0 < b.0));
        let mut samples = Samples::new();
        for (t, v) in floats.timestamps.iter().zip(&floats.values) {
            samples.insert(*t, Value::Float(*v));
        }
        for (t, h) in histograms {
            let before = samples.insert(t, Value::Histogram(h.count));
            assert_eq!(before, None, "two samples at one time");
        }
        let labels = reader.labels(selection, series);
        assert_eq!(
            reader.label_value(selection, series, "job"),
            labels.value("job")
        );
        let before = all.insert(labels, samples);
        assert_eq!(before, None, "a series is there twice");
    }
    assert!(notes.damage.is_empty(), "{notes:?}");
    all
}

/// What lies in `range` of the series that pass the matchers, series without samples left out.
fn expected(oracle: &Oracle, matchers: &[Matcher], range: TimeRange) -> Oracle {
    let passes = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.value(&m.name)));
    oracle
        .iter()
        .filter(|(labels, _)| passes(labels))
        .map(|(labels, samples)| {
            let inside = samples.iter().filter(|(t, _)| range.contains(**t));
            (labels.clone(), inside.map(|(t, v)| (*t, *v)).collect())
        })
        .filter(|(_, samples): &(Labels, Samples)| !samples.is_empty())
        .collect()
}

/// Adds what is not there yet: the first source wins. Histograms give way to floats of whichever source.
fn lay_under(
    oracle: &mut Oracle,
    below: &BTreeMap<Labels, Samples>,
    keep: impl Fn(&Labels, i64) -> bool,
) {
    for (labels, samples) in below {
        for (&t, value) in samples.iter().filter(|(t, _)| keep(labels, **t)) {
            let all = oracle.entry(labels.clone()).or_default();
            let there = all.entry(t).or_insert(*value);
            if let (Value::Histogram(_), Value::Float(_)) = (*there, value) {
                *there = *value;
            }
        }
    }
}

fn matchers() -> Vec<Vec<Matcher>> {
    vec![
        Vec::new(),
        vec![Matcher::equal("job", "job-1")],
        vec![
            Matcher::equal("__name__", "metric_2"),
            Matcher::new(MatchOp::NotEqual, "job", "job-0").unwrap(),
        ],
        vec![Matcher::new(MatchOp::Regex, "even", ".+").unwrap()],
        vec![Matcher::equal("even", "")],
        vec![Matcher::equal("job", "nobody")],
    ]
}

fn one_life(seed: u64) {
    let random = &mut Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut next = 0.0;
    let mut shard = Shard::new(ShardConfig {
        out_of_bounds_window_ms: None,
        hash_seed: seed,
        ..ShardConfig::default()
    });
    let population: Vec<Labels> = (0..20).map(labels).collect();
    let draw = |random: &mut Random, next: &mut f64, range| {
        let mut series = BTreeMap::new();
        for labels in &population {
            if random.below(3) > 0 {
                series.insert(labels.clone(), some(random, range, next));
            }
        }
        series
    };
    let mut oracle = Oracle::new();
    let head_from = (random.below(3) * 20) as i64;
    // Blocks in order of time, the late ones behind: that is the order in which they count.
    let mut all = Vec::new();
    for number in 0..random.below(4) {
        let range = TimeRange {
            min: number as i64 * 20,
            // Some reach into the next one.
            max: number as i64 * 20 + 15 + random.below(20) as i64,
        };
        all.push((range, false, draw(random, &mut next, range)));
    }
    let head_range = TimeRange { min: 10, max: 90 };
    let in_head = draw(random, &mut next, head_range);
    append(&mut shard, &in_head);
    for _ in 0..random.below(3) {
        let min = random.below(60) as i64;
        let range = TimeRange { min, max: min + 25 };
        all.push((range, true, draw(random, &mut next, range)));
    }
    all.sort_by_key(|(_, late, series)| {
        let times = series.values().filter_map(|s| s.keys().next());
        (*late, times.min().copied())
    });
    let mut stored = Vec::new();
    let mut head_is_laid = false;
    for (number, (_, late, series)) in all.iter().enumerate() {
        if *late && !head_is_laid {
            head_is_laid = true;
            lay_under(&mut oracle, &in_head, |_, t| t >= head_from);
        }
        let mut deleted = Vec::new();
        for labels in &population {
            if random.below(6) == 0 {
                let min = random.below(80) as i64;
                let range = TimeRange { min, max: min + 9 };
                deleted.push((labels.clone(), range));
            }
        }
        stored.extend(block(number as u64, *late, series, &deleted));
        lay_under(&mut oracle, series, |labels, t| {
            let of = deleted.iter().filter(|(l, _)| l == labels);
            !of.into_iter().any(|(_, range)| range.contains(t))
        });
    }
    if !head_is_laid {
        lay_under(&mut oracle, &in_head, |_, t| t >= head_from);
    }
    shard.change_blocks(stored, &[], Some(head_from));
    let reader = shard.reader();
    let part = TimeRange { min: 17, max: 43 };
    for range in [ALL, part, TimeRange { min: 44, max: 44 }] {
        for matchers in matchers() {
            let expected = expected(&oracle, &matchers, range);
            let selection = reader.select(&matchers, range);
            let mut found = contents(&reader, &selection, range);
            found.retain(|_, samples| !samples.is_empty());
            assert_eq!(found, expected, "seed {seed}, {matchers:?}, {range:?}");
            let mut selecting = reader.begin_select(&matchers, range);
            while !reader.go_on_selecting(&mut selecting, 1) {}
            let mut found = contents(&reader, &selecting.finish(), range);
            found.retain(|_, samples| !samples.is_empty());
            assert_eq!(found, expected, "seed {seed}, piece by piece");
        }
    }
    names_and_values(&reader, &population, &oracle, seed);
}

/// Deleted series still have their labels, as in Prometheus, so over all times these are those of all that was stored.
fn names_and_values(reader: &ShardReader<'_>, population: &[Labels], oracle: &Oracle, seed: u64) {
    let notes = &mut ReadNotes::default();
    for matchers in matchers() {
        let names: BTreeSet<String> =
            BTreeSet::from_iter(reader.label_names(&matchers, ALL, notes));
        let selection = reader.select(&matchers, ALL);
        let selected: Vec<Labels> = (0..selection.len())
            .map(|series| reader.labels(&selection, series))
            .collect();
        let of_selected = |labels: &Labels| labels.iter().map(|(n, _)| n.to_owned()).collect();
        let by_series: BTreeSet<String> = selected
            .iter()
            .flat_map(|l| -> Vec<_> { of_selected(l) })
            .collect();
        if matchers.is_empty() {
            // The head's index knows series whose samples belong to blocks by now.
            assert!(names.is_superset(&by_series), "seed {seed}");
        } else {
            assert_eq!(names, by_series, "seed {seed}, {matchers:?}");
        }
        for name in ["job", "even", "none"] {
            let values = reader.label_values(name, &matchers, ALL, notes);
            let by_series: BTreeSet<&str> = selected.iter().filter_map(|l| l.get(name)).collect();
            if matchers.is_empty() {
                assert!(by_series.iter().all(|v| values.iter().any(|w| w == v)));
            } else {
                assert!(
                    values.iter().map(String::as_str).eq(by_series),
                    "seed {seed}"
                );
            }
        }
        assert!(selected.iter().all(|labels| population.contains(labels)));
        let with_samples = expected(oracle, &matchers, ALL).len();
        assert!(selected.len() >= with_samples);
    }
    assert!(notes.damage.is_empty());
}

#[test]
fn every_sample_is_read_once_from_the_source_that_counts() {
    for seed in 1..150 {
        one_life(seed);
    }
}

fn of(times: &[i64]) -> BTreeMap<Labels, Samples> {
    let value = |t: &i64| (*t, Value::Float(*t as f64));
    BTreeMap::from([(labels(1), times.iter().map(value).collect())])
}

#[test]
fn a_selection_goes_on_reading_what_it_chose_while_the_head_becomes_a_block() {
    let mut shard = Shard::new(ShardConfig::default());
    append(&mut shard, &of(&[1, 2, 3, 10, 11]));
    let before = shard.reader().select(&[], ALL);
    let sealed = block(1, false, &of(&[1, 2, 3]), &[]).unwrap();
    let id = sealed.block.meta().id;
    shard.change_blocks(vec![sealed], &[], Some(10));
    assert_eq!((shard.head_from(), shard.blocks().len()), (10, 1));
    let after = shard.reader().select(&[], ALL);
    let all = of(&[1, 2, 3, 10, 11]);
    for selection in [&before, &after] {
        assert_eq!(contents(&shard.reader(), selection, ALL), all);
    }
    // The block goes, as after a compaction or by retention.
    shard.change_blocks(Vec::new(), &[id], None);
    assert_eq!(contents(&shard.reader(), &after, ALL), all);
    let late = shard.reader().select(&[], ALL);
    assert_eq!(contents(&shard.reader(), &late, ALL), of(&[10, 11]));
    // What the block was sealed for takes no more samples.
    let mut actions = Vec::new();
    let mut old = AppendBatch::default();
    old.new_series.push(labels(2).as_bytes());
    old.series.push(SampleSeries::New(0));
    old.timestamps.push(9);
    old.values.push(9.0);
    let event = Event::Append {
        request: 7,
        batch: Box::new(old),
        mode: AppendMode::Check,
    };
    shard.on(0, event, &mut actions);
    match actions.pop() {
        Some(Action::Reply { result, .. }) => assert_eq!(result.unwrap().accepted, 0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_set_aside_is_said_where_it_matters() {
    let mut shard = Shard::new(ShardConfig::default());
    let stored = block(5, false, &of(&[1, 2, 3]), &[]).unwrap();
    let id = stored.block.meta().id;
    shard.change_blocks(vec![stored], &[], Some(10));
    let quarantined = Quarantined {
        id,
        text: "block 5 is damaged".to_owned(),
        range: Some(TimeRange { min: 1, max: 3 }),
    };
    shard.quarantine(quarantined);
    assert!(shard.blocks().is_empty());
    let reader = shard.reader();
    let mut notes = ReadNotes::default();
    assert_eq!(reader.select(&[], ALL).damage(), ["block 5 is damaged"]);
    assert!(reader.label_names(&[], ALL, &mut notes).is_empty());
    assert_eq!(notes.damage, ["block 5 is damaged"]);
    let later = TimeRange { min: 4, max: 9 };
    assert!(reader.select(&[], later).damage().is_empty());
    shard.retain_quarantined(|q| q.id != id);
    assert!(shard.quarantined().is_empty());
    assert!(shard.reader().select(&[], ALL).damage().is_empty());
}
