//! The shard against an oracle of plain maps: appends in and out of order, deletions, sealing, truncation, replay.

use super::*;
use crate::model::{BucketSpan, FloatHistogram, Labels, MatchOp, Matcher, SeriesSamples};
use crate::shard_api::{HistogramSample, RejectReason, SampleSeries, TimeRange};
use crate::wal::format::{
    DecodedSamples, RECORD_HEADER_BYTES, decode_samples, decode_series, encoded_record_bytes,
};
use crate::wal::histograms::decode_histograms;
use crate::wal::tombstones::decode_tombstones;
use std::collections::BTreeMap;
use std::sync::Arc;

const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};
const BOUNDS_WINDOW: i64 = 200;

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
        ("__name__", format!("metric_{}", i % 3)),
        ("id", i.to_string()),
    ])
    .unwrap()
}

/// A stored value: float bits, or the count of a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kept {
    Float(u64),
    Histogram(u64),
}

fn histogram(n: u64) -> Arc<FloatHistogram> {
    Arc::new(FloatHistogram {
        count: n as f64,
        positive_spans: vec![BucketSpan {
            offset: 0,
            length: 1,
        }],
        positive_buckets: vec![n as f64],
        integer: true,
        ..FloatHistogram::default()
    })
}

#[derive(Debug, Clone, Default)]
struct Series {
    newest: Option<(TimestampMs, Kept)>,
    in_order: BTreeMap<TimestampMs, Kept>,
    late: BTreeMap<TimestampMs, (Kept, u64)>,
}

/// What the shard should hold and say.
#[derive(Debug, Clone, Default)]
struct Oracle {
    series: BTreeMap<u64, Series>,
    newest: Option<TimestampMs>,
    sealed_from: TimestampMs,
    truncated: TimestampMs,
    window: i64,
    arrivals: u64,
}

impl Oracle {
    /// Prometheus's rules for one sample, with the shard's newest as it was before the batch.
    fn append(
        &mut self,
        newest: TimestampMs,
        i: u64,
        t: TimestampMs,
        kept: Kept,
    ) -> Option<RejectReason> {
        let min = (newest - BOUNDS_WINDOW).max(self.sealed_from);
        let late_min = newest - self.window;
        let series = self.series.get(&i);
        if t >= min {
            match series.and_then(|s| s.newest) {
                Some((last, value)) if t == last => {
                    return (value != kept).then_some(RejectReason::DuplicateTimestamp);
                }
                Some((last, _)) if t < last => {}
                _ => {
                    let series = self.series.entry(i).or_default();
                    series.newest = Some((t, kept));
                    series.in_order.insert(t, kept);
                    self.newest = self.newest.max(Some(t));
                    return None;
                }
            }
        }
        if self.window == 0 {
            return Some(match t < min {
                true => RejectReason::OutOfBounds,
                false => RejectReason::OutOfOrder,
            });
        }
        if t < late_min {
            return Some(RejectReason::TooOld);
        }
        let series = self.series.entry(i).or_default();
        if let std::collections::btree_map::Entry::Vacant(vacant) = series.late.entry(t) {
            vacant.insert((kept, self.arrivals));
            self.arrivals += 1;
        }
        None
    }

    fn delete(&mut self, of: impl Fn(u64) -> bool, range: TimeRange) {
        for (i, series) in &mut self.series {
            if of(*i) {
                series.in_order.retain(|t, _| !range.contains(*t));
                series.late.retain(|t, _| !range.contains(*t));
            }
        }
    }

    fn truncate(&mut self, before: TimestampMs) {
        self.sealed_from = self.sealed_from.max(before);
        self.truncated = self.truncated.max(before);
        self.series.retain(|_, series| {
            series.in_order = series.in_order.split_off(&before);
            series.newest.is_some_and(|(t, _)| t >= before) || !series.late.is_empty()
        });
    }

    fn truncate_late(&mut self, mark: u64) {
        let truncated = self.truncated;
        self.series.retain(|_, series| {
            let had = !series.late.is_empty();
            series.late.retain(|_, (_, arrival)| *arrival >= mark);
            !had || !series.late.is_empty() || series.newest.is_some_and(|(t, _)| t >= truncated)
        });
    }

    fn contents(&self) -> Contents {
        let mut all = Contents::new();
        for (i, series) in &self.series {
            let late: BTreeMap<_, _> = series.late.iter().map(|(t, (k, _))| (*t, *k)).collect();
            if !series.in_order.is_empty() || !late.is_empty() {
                all.insert(labels(*i), (series.in_order.clone(), late));
            }
        }
        all
    }
}

type Samples = BTreeMap<TimestampMs, Kept>;
/// In-order and late samples by labels.
type Contents = BTreeMap<Labels, (Samples, Samples)>;

fn kept(samples: &SeriesSamples) -> Samples {
    let floats = samples.floats.timestamps.iter().zip(&samples.floats.values);
    let floats = floats.map(|(t, v)| (*t, Kept::Float(v.to_bits())));
    let histograms = samples.histograms.iter();
    let histograms = histograms.map(|(t, h)| (*t, Kept::Histogram(h.count as u64)));
    let all: Samples = floats.chain(histograms).collect();
    assert_eq!(all.len(), samples.len(), "a time comes twice");
    assert!(samples.floats.timestamps.is_sorted());
    assert!(samples.histograms.is_sorted_by_key(|(t, _)| *t));
    all
}

fn contents(shard: &Shard, range: TimeRange) -> Contents {
    let reader = shard.reader();
    let mut all = Contents::new();
    for slot in reader.head_slots(range) {
        let (mut in_order, mut late) = (SeriesSamples::default(), SeriesSamples::default());
        reader.read_head(slot, range, &mut in_order);
        reader.read_out_of_order(slot, ALL, &mut late);
        let mut canonical = Vec::new();
        reader.put_canonical(slot, &mut canonical);
        if !in_order.is_empty() || !late.is_empty() {
            let labels = Labels::from_stored(&canonical);
            all.insert(labels, (kept(&in_order), kept(&late)));
        }
    }
    all
}

/// Takes an event, answers the log at once, keeps what was logged.
fn settle(shard: &mut Shard, mut actions: Vec<Action>, log: &mut Vec<u8>) -> Vec<AppendOutcome> {
    let mut outcomes = Vec::new();
    while !actions.is_empty() {
        for action in std::mem::take(&mut actions) {
            match action {
                Action::Log { lsn, bytes } => {
                    log.extend_from_slice(&bytes);
                    let result = Ok(lsn);
                    shard.on(0, Event::LogDone { lsn, result }, &mut actions);
                }
                Action::Reply { result, .. } => outcomes.push(result.unwrap()),
                _ => {}
            }
        }
    }
    outcomes
}

fn replay(log: &[u8], sealed_until: TimestampMs) -> Shard {
    let mut shard = Shard::new(ShardConfig::default());
    shard.begin_seal(sealed_until);
    let mut records = Vec::new();
    let mut at = 0;
    while at < log.len() {
        let bytes = encoded_record_bytes(&log[at..]).expect("a whole record");
        let record = &log[at..at + bytes];
        let payload_bytes = u32::from_le_bytes(record[8..12].try_into().unwrap()) as usize;
        let payload = &record[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + payload_bytes];
        records.push((record[5], payload));
        at += bytes;
    }
    for (_, payload) in records.iter().filter(|(kind, _)| *kind == 1) {
        decode_series(payload, &mut |series, canonical| {
            let done = shard.replay_series(series, canonical);
            assert!(
                !matches!(done, ReplayedSeries::InvalidLabels | ReplayedSeries::Limit),
                "{done:?}"
            );
        })
        .unwrap();
    }
    let mut samples = DecodedSamples::default();
    let mut histograms = Vec::new();
    let mut tombstones = Vec::new();
    for (kind, payload) in records {
        match kind {
            2 | 5 => {
                decode_samples(payload, &mut samples).unwrap();
                let (refs, times) = (&samples.refs, &samples.timestamps);
                match kind {
                    2 => shard.replay_samples(refs, times, &samples.values),
                    _ => shard.replay_out_of_order(refs, times, &samples.values),
                };
            }
            4 | 6 => {
                decode_histograms(payload, &mut histograms).unwrap();
                match kind {
                    4 => shard.replay_histograms(&histograms),
                    _ => shard.replay_out_of_order_histograms(&histograms),
                };
            }
            7 => {
                decode_tombstones(payload, &mut tombstones).unwrap();
                shard.replay_tombstones(&tombstones);
            }
            _ => {}
        }
    }
    shard.replay_finish(1_000_000);
    shard
}

struct Run {
    random: Random,
    shard: Shard,
    oracle: Oracle,
    log: Vec<u8>,
    now: TimestampMs,
}

impl Run {
    fn append(&mut self) {
        let Run {
            random,
            shard,
            oracle,
            log,
            now,
        } = self;
        let mut batch = AppendBatch::default();
        let mut sent = Vec::new();
        let mut entries = BTreeMap::new();
        let histograms = random.below(4) == 0;
        let base = random.below(40);
        for _ in 0..1 + random.below(120) {
            let i = base + random.below(8);
            *now += random.below(3) as i64;
            let back = match random.below(10) {
                0..6 => 0,
                6..8 => random.below(100),
                _ => random.below(1000),
            };
            let t = *now - back as i64;
            let kept = match histograms {
                true => Kept::Histogram(1 + random.below(20)),
                false => Kept::Float((random.below(20) as f64).to_bits()),
            };
            let new = *entries
                .entry(i)
                .or_insert_with(|| batch.new_series.push(labels(i).as_bytes()));
            match kept {
                Kept::Float(bits) => {
                    batch.series.push(SampleSeries::New(new));
                    batch.timestamps.push(t);
                    batch.values.push(f64::from_bits(bits));
                }
                Kept::Histogram(n) => batch.histograms.push(HistogramSample {
                    series: SampleSeries::New(new),
                    timestamp: t,
                    histogram: histogram(n),
                }),
            }
            sent.push((i, t, kept));
        }
        let newest = oracle.newest.unwrap_or(sent[0].1);
        let expected: Vec<(u32, RejectReason)> = sent
            .iter()
            .enumerate()
            .filter_map(|(at, &(i, t, kept))| {
                let reason = oracle.append(newest, i, t, kept)?;
                Some((at as u32, reason))
            })
            .collect();
        let event = Event::Append {
            request: 1,
            batch: Box::new(batch),
            mode: AppendMode::Partial,
        };
        let mut actions = Vec::new();
        shard.on(0, event, &mut actions);
        let outcomes = settle(shard, actions, log);
        let refused: Vec<(u32, RejectReason)> = outcomes[0]
            .rejections
            .iter()
            .map(|r| (r.sample, r.reason))
            .collect();
        assert_eq!(refused, expected);
        assert_eq!(
            outcomes[0].accepted as usize + refused.len(),
            sent.len(),
            "each sample is accepted or refused"
        );
    }

    fn delete(&mut self) {
        let min = self.now - self.random.below(600) as i64;
        let range = match self.random.below(5) {
            0 => ALL,
            _ => TimeRange {
                min,
                max: min + self.random.below(300) as i64,
            },
        };
        let group = self.random.below(3);
        let metric = format!("metric_{group}");
        let matcher = Matcher::new(MatchOp::Equal, "__name__", &metric).unwrap();
        let mut actions = Vec::new();
        self.shard
            .delete_from_head(&[matcher], range, 7, &mut actions);
        // The change is followed by whatever the shard wants logged.
        self.shard.on(0, Event::Tick, &mut actions);
        let outcomes = settle(&mut self.shard, actions, &mut self.log);
        assert_eq!(outcomes.len(), 1);
        self.oracle.delete(|i| i % 3 == group, range);
    }

    fn check(&self) {
        assert_eq!(contents(&self.shard, ALL), self.oracle.contents());
        let stats = self.shard.stats();
        assert_eq!(stats.series, self.oracle.series.len() as u64);
        let late: usize = self.oracle.series.values().map(|s| s.late.len()).sum();
        assert_eq!(stats.out_of_order_samples, late as u64);
    }
}

#[test]
fn random_histories_agree_with_an_oracle_and_with_replay() {
    for seed in 1..60 {
        println!("seed {seed}");
        // The whole log is replayed only where no slot is used twice and no late sample is sealed.
        let replayed = seed % 2 == 1;
        let config = ShardConfig {
            out_of_bounds_window_ms: Some(BOUNDS_WINDOW),
            ..ShardConfig::default()
        };
        let mut run = Run {
            random: Random(seed * 0x9E37_79B9),
            shard: Shard::new(config),
            oracle: Oracle::default(),
            log: Vec::new(),
            now: 10_000,
        };
        for _ in 0..120 {
            match run.random.below(20) {
                0 => {
                    let before = run.now - run.random.below(400) as i64;
                    run.shard.begin_seal(before);
                    run.oracle.sealed_from = run.oracle.sealed_from.max(before);
                }
                1 => {
                    let before = run.now - run.random.below(400) as i64;
                    run.shard.truncate_head(before);
                    while run.shard.slice() {}
                    run.oracle.truncate(before.max(run.oracle.truncated));
                }
                2 => {
                    let window = [0, 100, 800][run.random.below(3) as usize];
                    run.shard.set_out_of_order_window(window);
                    run.oracle.window = window;
                }
                3 if !replayed => {
                    let mark = run.shard.out_of_order_mark();
                    if run.random.below(2) == 0 {
                        run.append();
                    }
                    run.shard.truncate_out_of_order(mark);
                    while run.shard.slice() {}
                    run.oracle.truncate_late(mark);
                }
                4 if !replayed => run.shard.release_slots(run.shard.stats().commits),
                5..8 => run.delete(),
                _ => run.append(),
            }
            run.check();
        }
        if replayed {
            let again = replay(&run.log, run.oracle.truncated);
            assert_eq!(contents(&again, ALL), run.oracle.contents());
            // Twice changes nothing.
            let mut twice = run.log.clone();
            twice.extend_from_slice(&run.log);
            let again = replay(&twice, run.oracle.truncated);
            assert_eq!(contents(&again, ALL), run.oracle.contents());
        }
    }
}

#[test]
fn a_deletion_is_answered_when_the_log_has_it() {
    let mut shard = Shard::new(ShardConfig::default());
    let mut batch = AppendBatch::default();
    let new = batch.new_series.push(labels(1).as_bytes());
    for t in 0..10 {
        batch.series.push(SampleSeries::New(new));
        batch.timestamps.push(t);
        batch.values.push(t as f64);
    }
    let mut actions = Vec::new();
    let event = Event::Append {
        request: 1,
        batch: Box::new(batch),
        mode: AppendMode::Partial,
    };
    shard.on(0, event, &mut actions);
    let [Action::Log { lsn: 1, .. }] = actions.as_slice() else {
        panic!("{actions:?}");
    };
    actions.clear();
    let range = TimeRange { min: 3, max: 100 };
    shard.delete_from_head(&[], range, 2, &mut actions);
    assert!(actions.is_empty(), "the log is busy: {actions:?}");
    let result = Ok(1);
    shard.on(0, Event::LogDone { lsn: 1, result }, &mut actions);
    assert!(matches!(
        actions.as_slice(),
        [Action::Reply { request: 1, .. }, Action::Log { lsn: 2, .. }]
    ));
    actions.clear();
    let result = Err("no room".to_owned());
    shard.on(0, Event::LogDone { lsn: 2, result }, &mut actions);
    assert!(matches!(
        actions.as_slice(),
        [Action::Reply {
            request: 2,
            result: Err(AppendError::Log(_))
        }]
    ));
    actions.clear();
    shard.delete_from_head(&[], range, 3, &mut actions);
    assert!(matches!(
        actions.as_slice(),
        [Action::Reply {
            request: 3,
            result: Err(AppendError::Log(_))
        }]
    ));
    // What nothing has is answered at once.
    shard.on(0, Event::LogReopened, &mut Vec::new());
    actions.clear();
    let range = TimeRange { min: 50, max: 100 };
    shard.delete_from_head(&[], range, 4, &mut actions);
    match actions.as_slice() {
        [
            Action::Reply {
                request: 4,
                result: Ok(outcome),
            },
        ] => assert_eq!(outcome.accepted, 0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_late_staleness_marker_of_a_histogram_series_is_a_histogram() {
    let mut shard = Shard::new(ShardConfig {
        out_of_order_window_ms: 1000,
        ..ShardConfig::default()
    });
    let mut log = Vec::new();
    let mut batch = AppendBatch::default();
    let new = batch.new_series.push(labels(1).as_bytes());
    batch.histograms.push(HistogramSample {
        series: SampleSeries::New(new),
        timestamp: 500,
        histogram: histogram(3),
    });
    let mut late = AppendBatch::default();
    let new = late.new_series.push(labels(1).as_bytes());
    late.series.push(SampleSeries::New(new));
    late.timestamps.push(100);
    late.values
        .push(f64::from_bits(crate::model::STALE_NAN_BITS));
    for batch in [batch, late] {
        let mut actions = Vec::new();
        let event = Event::Append {
            request: 1,
            batch: Box::new(batch),
            mode: AppendMode::Partial,
        };
        shard.on(0, event, &mut actions);
        assert_eq!(settle(&mut shard, actions, &mut log)[0].accepted, 1);
    }
    for shard in [&shard, &replay(&log, 0)] {
        let mut out = SeriesSamples::default();
        shard.reader().read_out_of_order(0, ALL, &mut out);
        assert!(out.floats.is_empty());
        assert!(out.histograms[0].1.is_stale() && out.histograms[0].1.integer);
    }
    let stats = shard.stats();
    assert_eq!(
        (
            stats.out_of_order_stored,
            stats.out_of_order_histograms_stored
        ),
        (0, 1)
    );
}
