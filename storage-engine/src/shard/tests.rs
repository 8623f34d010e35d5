//! The shard against a plain oracle, its log against replay, and the order of acknowledgements.

use super::*;
use crate::model::{
    BucketSpan, CounterResetHint, Exemplar, FloatHistogram, Labels, Matcher, STALE_NAN_BITS,
    SampleColumns, SeriesRef, TimestampMs, is_stale_nan,
};
use crate::shard_api::{
    ExemplarSample, HistogramSample, ReadNotes, RejectReason, SampleSeries, TimeRange,
};
use crate::wal::format::{
    DecodedSamples, RECORD_HEADER_BYTES, decode_samples, decode_series, encoded_record_bytes,
};
use crate::wal::histograms::decode_histograms;
use std::collections::BTreeMap;
use std::sync::Arc;

const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

fn labels(i: u64) -> Labels {
    Labels::from_pairs([
        ("__name__", format!("metric_{}", i % 5)),
        ("job", format!("job-{}", i % 3)),
        ("id", i.to_string()),
    ])
    .unwrap()
}

fn unbounded() -> ShardConfig {
    ShardConfig {
        out_of_bounds_window_ms: None,
        ..ShardConfig::default()
    }
}

fn batch(samples: &[(SampleSeries, TimestampMs, f64)], new: &[Labels]) -> Box<AppendBatch> {
    let mut batch = AppendBatch::default();
    for (series, t, v) in samples {
        batch.series.push(*series);
        batch.timestamps.push(*t);
        batch.values.push(*v);
    }
    for labels in new {
        batch.new_series.push(labels.as_bytes());
    }
    Box::new(batch)
}

fn append(request: u64, batch: Box<AppendBatch>) -> Event {
    Event::Append {
        request,
        batch,
        mode: AppendMode::Partial,
    }
}

/// Answers every log write at once and gathers what was written.
fn settle(
    shard: &mut Shard,
    actions: &mut Vec<Action>,
    log: &mut Vec<u8>,
) -> Vec<(u64, Result<AppendOutcome, AppendError>)> {
    let mut replies = Vec::new();
    while !actions.is_empty() {
        for action in std::mem::take(actions) {
            match action {
                Action::Log { lsn, bytes } => {
                    log.extend_from_slice(&bytes);
                    shard.on(
                        0,
                        Event::LogDone {
                            lsn,
                            result: Ok(lsn),
                        },
                        actions,
                    );
                }
                Action::Reply { request, result } => replies.push((request, result)),
                Action::SyncLog { request } => {
                    let result = Ok(());
                    shard.on(0, Event::LogSynced { request, result }, actions);
                }
                Action::ReleaseLog { .. } | Action::WakeAt(_) | Action::Exit => {}
            }
        }
    }
    replies
}

fn one(shard: &mut Shard, event: Event, log: &mut Vec<u8>) -> AppendOutcome {
    let mut actions = Vec::new();
    shard.on(0, event, &mut actions);
    let mut replies = settle(shard, &mut actions, log);
    assert_eq!(replies.len(), 1);
    replies.remove(0).1.unwrap()
}

fn replay(log: &[u8]) -> Shard {
    let mut shard = Shard::new(unbounded());
    let mut at = 0;
    let mut samples = DecodedSamples::default();
    while at < log.len() {
        let bytes = encoded_record_bytes(&log[at..]).expect("a whole record");
        let record = &log[at..at + bytes];
        let payload_bytes = u32::from_le_bytes(record[8..12].try_into().unwrap()) as usize;
        let payload = &record[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + payload_bytes];
        match record[5] {
            1 => {
                decode_series(payload, &mut |series, canonical| {
                    let done = shard.replay_series(series, canonical);
                    assert!(matches!(
                        done,
                        ReplayedSeries::Added | ReplayedSeries::Known
                    ));
                })
                .unwrap();
            }
            4 => {
                let mut histograms = Vec::new();
                decode_histograms(payload, &mut histograms).unwrap();
                let counts = shard.replay_histograms(&histograms);
                assert_eq!((counts.unknown, counts.stale), (0, 0));
            }
            _ => {
                decode_samples(payload, &mut samples).unwrap();
                let counts =
                    shard.replay_samples(&samples.refs, &samples.timestamps, &samples.values);
                assert_eq!((counts.unknown, counts.stale), (0, 0));
            }
        }
        at += bytes;
    }
    shard.replay_finish(1_000);
    shard
}

/// A stored value, comparable bit for bit.
#[derive(Debug, Clone, PartialEq)]
enum Kept {
    Float(u64),
    Histogram(Arc<FloatHistogram>),
}

impl Kept {
    fn same(&self, other: &Kept) -> bool {
        match (self, other) {
            (Kept::Float(a), Kept::Float(b)) => a == b,
            (Kept::Histogram(a), Kept::Histogram(b)) => a.same_bits(b),
            _ => false,
        }
    }
}

type Contents = BTreeMap<Labels, Vec<(TimestampMs, Kept)>>;

fn assert_same(got: &Contents, expected: &Contents) {
    assert_eq!(got.len(), expected.len());
    for ((labels, got), (expected_labels, expected)) in got.iter().zip(expected) {
        assert_eq!(labels, expected_labels);
        let same =
            |(a, b): (&(TimestampMs, Kept), &(TimestampMs, Kept))| a.0 == b.0 && a.1.same(&b.1);
        assert!(
            got.len() == expected.len() && got.iter().zip(expected).all(same),
            "{labels}: {got:?} is not {expected:?}"
        );
    }
}

/// Counter reset hints of all histograms, in order.
fn hints(shard: &Shard) -> Vec<CounterResetHint> {
    let all = contents(shard).into_values().flatten();
    all.filter_map(|(_, kept)| match kept {
        Kept::Histogram(histogram) => Some(histogram.counter_reset_hint),
        Kept::Float(_) => None,
    })
    .collect()
}

fn contents(shard: &Shard) -> Contents {
    let reader = shard.reader();
    let mut all = BTreeMap::new();
    let selection = reader.select(&[], ALL);
    let mut notes = ReadNotes::default();
    for series in 0..selection.len() {
        let mut columns = SampleColumns::default();
        reader.read(&selection, series, ALL, &mut columns, &mut notes);
        let floats = columns.timestamps.iter().zip(&columns.values);
        let mut samples: Vec<_> = floats
            .map(|(t, v)| (*t, Kept::Float(v.to_bits())))
            .collect();
        let mut histograms = Vec::new();
        reader.read_histograms(&selection, series, ALL, &mut histograms, &mut notes);
        let has = reader.has_histograms(&selection, series);
        assert_eq!(has, !histograms.is_empty());
        samples.extend(histograms.into_iter().map(|(t, h)| (t, Kept::Histogram(h))));
        samples.sort_by_key(|(t, _)| *t);
        assert!(
            samples.windows(2).all(|w| w[0].0 < w[1].0),
            "one time twice"
        );
        all.insert(reader.labels(&selection, series), samples);
    }
    all
}

fn random_histogram(random: &mut Random) -> FloatHistogram {
    if random.below(6) == 0 {
        return FloatHistogram::stale(random.below(2) == 0);
    }
    let buckets: Vec<f64> = (0..2).map(|_| random.below(3) as f64).collect();
    FloatHistogram {
        schema: 1,
        count: buckets.iter().sum(),
        sum: random.below(2) as f64,
        positive_spans: vec![BucketSpan {
            offset: 1,
            length: 2,
        }],
        positive_buckets: buckets,
        integer: random.below(2) == 0,
        ..FloatHistogram::default()
    }
}

#[test]
fn random_batches_agree_with_an_oracle_and_with_replay() {
    for seed in 1..12_u64 {
        println!("seed {seed}");
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut shard = Shard::new(unbounded());
        let mut log = Vec::new();
        let mut oracle: Contents = BTreeMap::new();
        let mut known: BTreeMap<u64, SeriesRef> = BTreeMap::new();
        let mut clock = 1_000_000;
        for request in 0..400 {
            clock += 15_000;
            let mut new: Vec<(u64, Labels)> = Vec::new();
            let mut rows = Vec::new();
            let mut expected = Vec::new();
            let mut accepted = 0;
            let floats = random.below(40) as usize;
            let mut histograms = Vec::new();
            let mut tried = Vec::new();
            for i in 0..floats + random.below(12) as usize {
                // Most series keep to one kind of sample; some have both.
                let id = match i < floats {
                    true => random.below(60),
                    false => 50 + random.below(30),
                };
                let t = match random.below(10) {
                    0 => clock - 15_000 * random.below(3) as i64,
                    1 => clock + random.below(100) as i64,
                    _ => clock,
                };
                let who = match known.get(&id) {
                    Some(reference) if random.below(8) > 0 => SampleSeries::Known(*reference),
                    _ => {
                        new.push((id, labels(id)));
                        SampleSeries::New(new.len() as u32 - 1)
                    }
                };
                if i < floats {
                    let value = match random.below(4) {
                        0 => f64::from_bits(random.next()),
                        1 => f64::from_bits(STALE_NAN_BITS),
                        _ => id as f64,
                    };
                    rows.push((who, t, value));
                    tried.push((id, t, Err(value)));
                } else {
                    let histogram = Arc::new(random_histogram(&mut random));
                    histograms.push((who, t, Arc::clone(&histogram)));
                    tried.push((id, t, Ok(histogram)));
                }
            }
            // Floats come first, but for those that are later than a histogram of their series.
            let waits = |(id, t, sample): &(u64, TimestampMs, Result<_, f64>)| {
                let mut histograms = tried.iter().filter(|(_, _, s)| s.is_ok());
                sample.is_err() && histograms.any(|(of, first, _)| of == id && first < t)
            };
            let order = |i: &usize| match (&tried[*i], waits(&tried[*i])) {
                ((_, _, Err(_)), false) => (0, 0),
                ((_, t, _), _) if tried.iter().any(waits) => (1, *t),
                _ => (1, 0),
            };
            let mut all: Vec<usize> = (0..tried.len()).collect();
            all.sort_by_key(order);
            for i in all {
                let (id, t, sample) = &tried[i];
                let samples = oracle.entry(labels(*id)).or_default();
                let kept = match (sample, samples.last()) {
                    (Err(value), Some((_, Kept::Histogram(last)))) if is_stale_nan(*value) => {
                        Kept::Histogram(Arc::new(FloatHistogram::stale(last.integer)))
                    }
                    (Err(value), _) => Kept::Float(value.to_bits()),
                    (Ok(histogram), _) => Kept::Histogram(Arc::clone(histogram)),
                };
                let reason = match samples.last() {
                    Some((last, _)) if t < last => Some(RejectReason::OutOfOrder),
                    Some((last, newest)) if t == last && !newest.same(&kept) => {
                        Some(RejectReason::DuplicateTimestamp)
                    }
                    Some((last, _)) if t == last => None,
                    _ => {
                        samples.push((*t, kept));
                        None
                    }
                };
                match reason {
                    Some(reason) => expected.push((i as u32, reason)),
                    None => accepted += 1,
                }
            }
            expected.sort_by_key(|(sample, _)| *sample);
            let only: Vec<Labels> = new.iter().map(|(_, l)| l.clone()).collect();
            let mut batch = batch(&rows, &only);
            batch.histograms = histograms
                .into_iter()
                .map(|(series, timestamp, histogram)| HistogramSample {
                    series,
                    timestamp,
                    histogram,
                })
                .collect();
            let outcome = one(&mut shard, append(request, batch), &mut log);
            assert_eq!(outcome.accepted, accepted, "request {request}");
            let got: Vec<_> = outcome
                .rejections
                .iter()
                .map(|r| (r.sample, r.reason))
                .collect();
            assert_eq!(got, expected, "request {request}");
            for ((id, _), reference) in new.iter().zip(&outcome.created) {
                let reference = reference.expect("a series for each entry");
                assert_eq!(*known.entry(*id).or_insert(reference), reference);
            }
        }
        assert_same(&contents(&shard), &oracle);
        let replayed = replay(&log);
        assert_same(&contents(&replayed), &oracle);
        assert_eq!(hints(&replayed), hints(&shard));
        let matcher = Matcher::equal("job", "job-1");
        let selected = shard
            .reader()
            .select(std::slice::from_ref(&matcher), ALL)
            .len();
        let expected = oracle.keys().filter(|l| l.value("job") == "job-1").count();
        assert_eq!(selected, expected);
        let stats = shard.stats();
        assert_eq!(stats.series, oracle.len() as u64);
        assert_eq!(
            stats.samples,
            oracle.values().map(|s| s.len() as u64).sum::<u64>()
        );
        assert_eq!(stats.histogram_samples, hints(&shard).len() as u64);
        assert!(stats.histogram_samples > 1000 && stats.histogram_bytes > 200_000);
    }
}

#[test]
fn one_commit_in_flight_and_answers_after_it() {
    let mut shard = Shard::new(unbounded());
    let mut actions = Vec::new();
    let a = SampleSeries::New(0);
    shard.on(
        0,
        append(1, batch(&[(a, 10, 1.0)], &[labels(1)])),
        &mut actions,
    );
    assert!(matches!(actions.as_slice(), [Action::Log { lsn: 1, .. }]));
    // Two more requests and an exact repetition of what is not durable yet: no answer, no second write.
    actions.clear();
    shard.on(
        0,
        append(2, batch(&[(a, 10, 1.0)], &[labels(1)])),
        &mut actions,
    );
    assert!(actions.is_empty(), "{actions:?}");
    shard.on(
        0,
        append(3, batch(&[(a, 20, 2.0)], &[labels(1)])),
        &mut actions,
    );
    shard.on(
        0,
        append(4, batch(&[(a, 20, 2.0)], &[labels(1)])),
        &mut actions,
    );
    assert!(actions.is_empty(), "{actions:?}");
    // Refused samples rely on nothing and are answered at once; so is a check.
    let known = SampleSeries::Known(SeriesRef {
        index: 0,
        generation: 1,
    });
    shard.on(0, append(5, batch(&[(known, 5, 1.0)], &[])), &mut actions);
    assert!(matches!(
        actions.as_slice(),
        [Action::Reply { request: 5, .. }]
    ));
    actions.clear();
    shard.on(
        0,
        Event::LogDone {
            lsn: 1,
            result: Ok(1),
        },
        &mut actions,
    );
    let order: Vec<String> = actions.iter().map(name).collect();
    assert_eq!(order, ["reply 1", "reply 2", "log 2"]);
    actions.clear();
    shard.on(0, Event::Stop, &mut actions);
    assert!(actions.is_empty());
    shard.on(
        0,
        Event::LogDone {
            lsn: 2,
            result: Ok(2),
        },
        &mut actions,
    );
    let order: Vec<String> = actions.iter().map(name).collect();
    assert_eq!(order, ["reply 3", "reply 4", "exit"]);
}

fn name(action: &Action) -> String {
    match action {
        Action::Log { lsn, .. } => format!("log {lsn}"),
        Action::Reply { request, result } => match result {
            Ok(_) => format!("reply {request}"),
            Err(e) => format!("reply {request}: {e}"),
        },
        Action::SyncLog { request } => format!("sync {request}"),
        Action::ReleaseLog { before } => format!("release {before}"),
        Action::WakeAt(at) => format!("wake {at}"),
        Action::Exit => "exit".to_owned(),
    }
}

#[test]
fn series_are_defined_twice_even_when_nothing_follows() {
    let mut shard = Shard::new(unbounded());
    let mut actions = Vec::new();
    let a = SampleSeries::New(0);
    shard.on(
        5,
        append(1, batch(&[(a, 10, 1.0)], &[labels(1)])),
        &mut actions,
    );
    actions.clear();
    shard.on(
        5,
        Event::LogDone {
            lsn: 1,
            result: Ok(1),
        },
        &mut actions,
    );
    let order: Vec<String> = actions.iter().map(name).collect();
    assert_eq!(order, ["reply 1", "wake 1000000005"]);
    actions.clear();
    shard.on(6, Event::Tick, &mut actions);
    let order: Vec<String> = actions.iter().map(name).collect();
    assert_eq!(
        order,
        ["wake 1000000005"],
        "a timer that fires early is set again"
    );
    actions.clear();
    shard.on(1_000_000_005, Event::Tick, &mut actions);
    let [Action::Log { lsn: 2, bytes }] = actions.as_slice() else {
        panic!("no second definition: {actions:?}");
    };
    let mut replayed = replay(bytes);
    assert_eq!(replayed.data.index.labels(0), labels(1));
    let first = SeriesRef {
        index: 0,
        generation: 1,
    };
    assert_eq!(replayed.replay_samples(&[first], &[10], &[1.0]).stored, 1);
}

#[test]
fn a_start_defines_again_what_the_log_defines_once() {
    let series = |index| SeriesRef {
        index,
        generation: 1,
    };
    let mut shard = Shard::new(unbounded());
    for index in [0, 1, 2, 1] {
        let labels = labels(u64::from(index));
        shard.replay_series(series(index), labels.as_bytes());
    }
    shard.replay_finish(4);
    let mut actions = Vec::new();
    shard.on(0, Event::Tick, &mut actions);
    let [Action::Log { lsn: 5, bytes }] = actions.as_slice() else {
        panic!("nothing is written at once: {actions:?}");
    };
    let again = replay(bytes);
    let defined = |index| again.data.head.reference(index) == series(index);
    assert_eq!([0, 1, 2].map(defined), [true, false, true]);

    // The next start has seen both.
    let mut next = Shard::new(unbounded());
    for index in [0, 1, 2, 1, 0, 2] {
        let labels = labels(u64::from(index));
        next.replay_series(series(index), labels.as_bytes());
    }
    next.replay_finish(5);
    let mut actions = Vec::new();
    next.on(0, Event::Tick, &mut actions);
    assert!(actions.is_empty(), "{actions:?}");
}

#[test]
fn a_checkpoint_leaves_out_exemplars_that_wait_for_the_log() {
    let mut shard = Shard::new(ShardConfig {
        exemplars_max: 8,
        ..unbounded()
    });
    let mut actions = Vec::new();
    for request in 1..=3 {
        let t = request as i64;
        let mut batch = batch(&[(SampleSeries::New(0), t, 1.0)], &[labels(1)]);
        batch.exemplars.push(ExemplarSample {
            series: SampleSeries::New(0),
            exemplar: Exemplar {
                labels: Labels::from_pairs([("trace_id", t.to_string())]).unwrap(),
                value: 1.0,
                timestamp: t,
                timed: true,
            },
        });
        shard.on(0, append(request, batch), &mut actions);
    }
    let done = |lsn, failed: bool| Event::LogDone {
        lsn,
        result: match failed {
            true => Err("no".to_owned()),
            false => Ok(lsn),
        },
    };
    assert_eq!(shard.begin_checkpoint().2, 0, "the first is in flight");
    shard.on(0, done(1, false), &mut actions);
    assert_eq!(shard.begin_checkpoint().2, 1);
    shard.on(0, done(2, true), &mut actions);
    assert_eq!(shard.begin_checkpoint().2, 1, "the others failed");
    shard.on(0, Event::LogReopened, &mut actions);
    shard.on(0, done(2, false), &mut actions);
    assert_eq!(shard.begin_checkpoint().2, 3);
}

#[test]
fn a_failed_log_refuses_then_writes_again_when_reopened() {
    let mut shard = Shard::new(unbounded());
    let mut actions = Vec::new();
    let a = SampleSeries::New(0);
    shard.on(
        0,
        append(1, batch(&[(a, 10, 1.0)], &[labels(1)])),
        &mut actions,
    );
    shard.on(
        0,
        append(2, batch(&[(a, 20, 1.0)], &[labels(1)])),
        &mut actions,
    );
    actions.clear();
    let failed = Event::LogDone {
        lsn: 1,
        result: Err("no space left".to_owned()),
    };
    shard.on(0, failed, &mut actions);
    let text = "the write-ahead log cannot be written: no space left";
    let order: Vec<String> = actions.iter().map(name).collect();
    assert_eq!(
        order,
        [format!("reply 1: {text}"), format!("reply 2: {text}")]
    );
    actions.clear();
    shard.on(
        0,
        append(3, batch(&[(a, 10, 1.0)], &[labels(1)])),
        &mut actions,
    );
    let order: Vec<String> = actions.iter().map(name).collect();
    assert_eq!(order, [format!("reply 3: {text}")]);
    assert_eq!(contents(&shard).len(), 1, "reads go on");
    // Back again: what memory holds reaches the log before anything that relies on it is acknowledged.
    actions.clear();
    shard.on(0, Event::LogReopened, &mut actions);
    shard.on(
        0,
        append(4, batch(&[(a, 20, 1.0)], &[labels(1)])),
        &mut actions,
    );
    let mut log = Vec::new();
    assert!(matches!(actions.as_slice(), [Action::Log { lsn: 1, .. }]));
    let replies = settle(&mut shard, &mut actions, &mut log);
    assert_eq!(replies.len(), 1);
    assert_same(&contents(&replay(&log)), &contents(&shard));
}

#[test]
fn bounds_limits_and_bad_references() {
    let mut shard = Shard::new(ShardConfig {
        series_max: 2,
        ..ShardConfig::default()
    });
    let mut log = Vec::new();
    let n = SampleSeries::New;
    let hour = 3_600_000;
    let mut first = batch(
        &[
            (n(0), 10 * hour, 1.0),
            (n(1), 9 * hour, 1.0),
            (n(2), 9 * hour - 1, 1.0),
            (n(3), 10 * hour, 1.0),
            (n(4), 10 * hour, 1.0),
            (n(0), 11 * hour + 1, 1.0),
            (n(9), 10 * hour, 1.0),
        ],
        &[labels(0), labels(1), labels(2), labels(3)],
    );
    first.new_series.push(&[1, b'a', 0]);
    first.timestamp_max = Some(11 * hour);
    let outcome = one(
        &mut shard,
        Event::Append {
            request: 1,
            batch: first.clone(),
            mode: AppendMode::Check,
        },
        &mut log,
    );
    let reasons = [
        (2, RejectReason::OutOfBounds),
        (3, RejectReason::SeriesLimit),
        (4, RejectReason::InvalidLabels),
        (5, RejectReason::OutOfBounds),
        (6, RejectReason::UnknownSeries),
    ];
    let got = |o: &AppendOutcome| -> Vec<(u32, RejectReason)> {
        o.rejections.iter().map(|r| (r.sample, r.reason)).collect()
    };
    assert_eq!(got(&outcome), reasons);
    assert_eq!(outcome.created, [None; 5]);
    assert!(log.is_empty());
    assert_eq!(shard.stats().series, 0);
    let outcome = one(&mut shard, append(2, first), &mut log);
    assert_eq!(got(&outcome), reasons);
    assert_eq!(outcome.series_added, 2);
    let series = outcome.created[0].unwrap();
    assert_eq!(outcome.created[2..], [None; 3]);
    let wrong = SampleSeries::Known(SeriesRef {
        generation: series.generation + 1,
        ..series
    });
    let beyond = SampleSeries::Known(SeriesRef {
        index: 77,
        ..series
    });
    let rows = [(wrong, 11 * hour, 1.0), (beyond, 11 * hour, 1.0)];
    let outcome = one(&mut shard, append(3, batch(&rows, &[])), &mut log);
    assert_eq!(
        got(&outcome),
        [
            (0, RejectReason::UnknownSeries),
            (1, RejectReason::UnknownSeries)
        ]
    );
}

#[test]
fn a_lost_definition_never_gives_its_samples_to_another_series() {
    let mut shard = Shard::new(unbounded());
    let lost = SeriesRef {
        index: 3,
        generation: 1,
    };
    assert_eq!(shard.replay_samples(&[lost], &[10], &[1.0]).unknown, 1);
    shard.replay_finish(7);
    let mut log = Vec::new();
    let rows = [(SampleSeries::New(0), 10, 2.0)];
    let outcome = one(&mut shard, append(1, batch(&rows, &[labels(1)])), &mut log);
    let fresh = outcome.created[0].unwrap();
    assert!(fresh.index > 3 && fresh.generation > 1, "{fresh:?}");
    assert_eq!(shard.replay_samples(&[lost], &[20], &[1.0]).unknown, 1);
    assert_eq!(contents(&shard).len(), 1);
}

#[test]
fn names_and_values_follow_matchers_and_time() {
    let mut shard = Shard::new(unbounded());
    let mut log = Vec::new();
    let rows: Vec<_> = (0..30)
        .map(|i| (SampleSeries::New(i), 1000 + i64::from(i), 1.0))
        .collect();
    let new: Vec<Labels> = (0..30).map(labels).collect();
    one(&mut shard, append(1, batch(&rows, &new)), &mut log);
    let reader = shard.reader();
    let notes = &mut ReadNotes::default();
    assert_eq!(
        reader.label_names(&[], ALL, notes),
        ["__name__", "id", "job"]
    );
    assert_eq!(
        reader.label_values("job", &[], ALL, notes),
        ["job-0", "job-1", "job-2"]
    );
    let matcher = [Matcher::equal("id", "4")];
    assert_eq!(reader.label_values("job", &matcher, ALL, notes), ["job-1"]);
    let early = TimeRange { min: 0, max: 1001 };
    let job = [Matcher::equal("job", "job-1")];
    assert_eq!(reader.label_values("id", &job, early, notes), ["1"]);
    assert_eq!(
        reader.label_names(&[], TimeRange { min: 0, max: 999 }, notes),
        Vec::<String>::new()
    );
    let four = reader.select(&matcher, ALL);
    assert_eq!((four.len(), four.damage().len()), (1, 0));
    assert_eq!(reader.label_value(&four, 0, "job"), "job-1");
    assert_eq!(reader.label_value(&four, 0, "zone"), "");
    assert_eq!(reader.time_range(), Some((1000, 1029)));
    let mut cardinality = reader.cardinality();
    cardinality.merge(reader.cardinality());
    assert_eq!(
        Cardinality::largest(&cardinality.pairs, 1),
        [("job=job-0".to_owned(), 20)]
    );
    assert_eq!(cardinality.names["job"].values.len(), 3);
    assert_eq!(cardinality.names["job"].bytes, 2 * 30 * 5);
}

#[test]
fn memory_limit_refuses_new_series_then_everything() {
    let mut log = Vec::new();
    let mut shard = Shard::new(ShardConfig {
        memory_bytes_max: Some(6 << 20),
        ..unbounded()
    });
    let mut clock = 0;
    let mut known = Vec::new();
    let mut state = Random(5);
    for i in 0..1000 {
        let rows = [(SampleSeries::New(0), 0, 1.0)];
        let outcome = one(&mut shard, append(i, batch(&rows, &[labels(i)])), &mut log);
        known.extend(outcome.created[0]);
    }
    assert_eq!(known.len(), 1000);
    let mut refused_series = false;
    loop {
        clock += 1000;
        assert!(clock < 10_000_000, "the limit never bites");
        let row = |r: &SeriesRef, v: u64| (SampleSeries::Known(*r), clock, f64::from_bits(v));
        let mut rows: Vec<_> = known.iter().map(|r| row(r, state.next())).collect();
        rows.push((SampleSeries::New(0), clock, 1.0));
        let fresh = [labels(1_000_000 + clock as u64)];
        let mut actions = Vec::new();
        shard.on(0, append(1, batch(&rows, &fresh)), &mut actions);
        match settle(&mut shard, &mut actions, &mut log).remove(0).1 {
            Ok(outcome) => {
                let reasons: Vec<_> = outcome.rejections.iter().map(|r| r.reason).collect();
                assert!(reasons.is_empty() || reasons == [RejectReason::SeriesLimit]);
                assert!(outcome.accepted >= 1000, "known series go on");
                refused_series |= !reasons.is_empty();
            }
            Err(error) => {
                assert_eq!(error, AppendError::Overloaded);
                break;
            }
        }
    }
    assert!(refused_series);
}

fn histogram_batch(series: SampleSeries, all: &[(TimestampMs, FloatHistogram)]) -> AppendBatch {
    AppendBatch {
        histograms: all
            .iter()
            .map(|(timestamp, histogram)| HistogramSample {
                series,
                timestamp: *timestamp,
                histogram: Arc::new(histogram.clone()),
            })
            .collect(),
        ..AppendBatch::default()
    }
}

#[test]
fn a_check_refuses_histograms_as_the_append_does() {
    let mut shard = Shard::new(unbounded());
    let mut log = Vec::new();
    let valid = FloatHistogram {
        count: 1.0,
        sum: 2.0,
        zero_count: 1.0,
        integer: true,
        ..FloatHistogram::default()
    };
    let invalid = FloatHistogram {
        count: 7.0,
        ..valid.clone()
    };
    // A series that only an invalid histogram asks for does not come to be.
    let mut batch = histogram_batch(SampleSeries::New(0), &[(10, valid.clone())]);
    batch.new_series.push(labels(1).as_bytes());
    batch.new_series.push(labels(2).as_bytes());
    batch.histograms.push(HistogramSample {
        series: SampleSeries::New(1),
        timestamp: 10,
        histogram: Arc::new(invalid.clone()),
    });
    let outcome = one(&mut shard, append(1, Box::new(batch)), &mut log);
    assert_eq!((outcome.accepted, outcome.series_added), (1, 1));
    assert_eq!(outcome.rejections[0].reason, RejectReason::InvalidHistogram);
    let known = SampleSeries::Known(outcome.created[0].unwrap());
    let other = FloatHistogram {
        sum: 3.0,
        ..valid.clone()
    };
    let mut batch = histogram_batch(known, &[(5, valid.clone()), (10, valid.clone())]);
    batch
        .histograms
        .extend(histogram_batch(known, &[(10, other), (11, invalid)]).histograms);
    batch.series = vec![known; 2];
    batch.timestamps = vec![9, 10];
    batch.values = vec![1.0, 1.0];
    let expected = [
        (0, RejectReason::OutOfOrder),
        (1, RejectReason::DuplicateTimestamp),
        (2, RejectReason::OutOfOrder),
        (4, RejectReason::DuplicateTimestamp),
        (5, RejectReason::InvalidHistogram),
    ];
    for mode in [AppendMode::Check, AppendMode::Partial] {
        let event = Event::Append {
            request: 2,
            batch: Box::new(batch.clone()),
            mode,
        };
        let outcome = one(&mut shard, event, &mut log);
        let got: Vec<_> = outcome
            .rejections
            .iter()
            .map(|r| (r.sample, r.reason))
            .collect();
        assert_eq!(got, expected, "{mode:?}");
        assert_eq!(outcome.accepted, 1, "the same histogram again is no error");
    }
    let stats = shard.stats();
    assert_eq!((stats.samples, stats.rejected_invalid_histogram), (1, 2));
}

#[test]
fn a_float_behind_a_stale_histogram_of_the_same_batch_survives_replay() {
    let mut shard = Shard::new(unbounded());
    let mut log = Vec::new();
    let histogram = FloatHistogram::default();
    let mut first = histogram_batch(SampleSeries::New(0), &[(10, histogram)]);
    first.new_series.push(labels(1).as_bytes());
    let outcome = one(&mut shard, append(1, Box::new(first)), &mut log);
    let known = SampleSeries::Known(outcome.created[0].unwrap());
    let stale = f64::from_bits(STALE_NAN_BITS);
    let rows = [(known, 20, stale), (known, 30, 1.0), (known, 40, stale)];
    let outcome = one(&mut shard, append(2, batch(&rows, &[])), &mut log);
    assert_eq!(outcome.accepted, 3);
    let kinds = |shard: &Shard| -> Vec<(TimestampMs, bool)> {
        let all = contents(shard).into_values().flatten();
        all.map(|(t, kept)| (t, matches!(kept, Kept::Histogram(_))))
            .collect()
    };
    let expected = [(10, true), (20, true), (30, false), (40, false)];
    assert_eq!(kinds(&shard), expected);
    assert_eq!(kinds(&replay(&log)), expected);
}

#[test]
fn floats_behind_histograms_of_the_same_batch_are_stored() {
    let mut shard = Shard::new(unbounded());
    let mut log = Vec::new();
    let histogram = FloatHistogram::default();
    let histograms = [
        (20, histogram.clone()),
        (30, histogram.clone()),
        (50, histogram),
    ];
    let mut mixed = histogram_batch(SampleSeries::New(0), &histograms);
    mixed.new_series.push(labels(1).as_bytes());
    for (t, value) in [(10, 1.0), (40, 2.0), (60, f64::from_bits(STALE_NAN_BITS))] {
        mixed.series.push(SampleSeries::New(0));
        mixed.timestamps.push(t);
        mixed.values.push(value);
    }
    let outcome = one(&mut shard, append(1, Box::new(mixed)), &mut log);
    assert_eq!((outcome.accepted, outcome.rejections.len()), (6, 0));
    let times = |shard: &Shard| -> Vec<TimestampMs> {
        let all = contents(shard).into_values().flatten();
        all.map(|(t, _)| t).collect()
    };
    assert_eq!(times(&shard), [10, 20, 30, 40, 50, 60]);
    assert_eq!(times(&replay(&log)), [10, 20, 30, 40, 50, 60]);
}

/// Answers at once and says what it saw.
struct CountSeries(std::sync::mpsc::Sender<u64>);

impl ShardChange for CountSeries {
    fn apply(
        self: Box<Self>,
        shard: &mut Shard,
        request: u64,
        _now: u64,
        actions: &mut Vec<Action>,
    ) {
        self.0.send(shard.reader().series_count()).unwrap();
        actions.push(Action::Reply {
            request,
            result: Ok(AppendOutcome::default()),
        });
    }
}

#[test]
fn a_change_is_answered_once_and_refused_while_stopping() {
    let mut shard = Shard::new(ShardConfig::default());
    let (sender, seen) = std::sync::mpsc::channel();
    let mut actions = Vec::new();
    for stopping in [false, true] {
        let change = Box::new(CountSeries(sender.clone()));
        shard.on(1, Event::Change { request: 7, change }, &mut actions);
        let Some(Action::Reply { request: 7, result }) = actions.pop() else {
            panic!("no reply");
        };
        assert_eq!(result.is_err(), stopping);
        actions.clear();
        shard.on(1, Event::Stop, &mut actions);
        actions.clear();
    }
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [0]);
}
