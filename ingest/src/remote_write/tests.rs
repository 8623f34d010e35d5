//! Requests built by hand, sent to shards that live in a vector: what is stored, what is answered, and that the short
//! cuts and a plain reading of the messages agree.

use super::*;
use crate::append::AppendTarget;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use storage_engine::model::{Exemplar, Labels, SeriesRef};
use storage_engine::shard_api::{
    AppendBatch, AppendError, AppendMode, AppendOutcome, ExemplarRefusal, RejectReason, Rejection,
    SampleSeries,
};

const NOW: i64 = 1_790_000_000_000;

/// Runs a future that never waits for anything outside.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

#[derive(Default)]
struct FakeShard {
    by_labels: HashMap<Vec<u8>, u32>,
    series: Vec<FakeSeries>,
    /// Series and exemplar.
    exemplars: Vec<(u32, Exemplar)>,
    /// Time and start of every sample that has one, by series.
    starts: Vec<(u32, i64, i64)>,
}

/// Labels, generation, samples.
type FakeSeries = (Vec<u8>, u32, Vec<(i64, u64)>);

impl FakeShard {
    fn append(
        &mut self,
        batch: &AppendBatch,
        mode: AppendMode,
        series_max: usize,
        sealed: i64,
    ) -> AppendOutcome {
        let mut outcome = AppendOutcome::default();
        let mut new = Vec::new();
        for index in 0..batch.new_series.len() {
            let labels = batch.new_series.get(index).unwrap().to_vec();
            Labels::from_canonical(&labels).expect("the sender validates labels");
            let known = self.by_labels.get(&labels).copied();
            if known.is_none() && self.series.len() >= series_max {
                new.push(None);
                outcome.created.push(None);
                continue;
            }
            if mode == AppendMode::Check {
                new.push(Some(known.map_or(u32::MAX, |k| k)));
                outcome.created.push(None);
                continue;
            }
            let at = known.unwrap_or_else(|| {
                outcome.series_added += 1;
                self.series.push((labels.clone(), 0, Vec::new()));
                let at = self.series.len() as u32 - 1;
                self.by_labels.insert(labels, at);
                at
            });
            new.push(Some(at));
            let generation = self.series[at as usize].1;
            outcome.created.push(Some(SeriesRef {
                index: at,
                generation,
            }));
        }
        let floats = batch.series.iter().enumerate();
        let floats = floats.map(|(i, s)| (s, batch.timestamps[i], batch.values[i].to_bits()));
        // Of a histogram the sum is kept.
        let histograms = batch.histograms.iter();
        let histograms = histograms.map(|h| (&h.series, h.timestamp, h.histogram.sum.to_bits()));
        for (sample, (series, timestamp, value)) in floats.chain(histograms).enumerate() {
            let mut reject = |reason| {
                outcome.rejections.push(Rejection {
                    sample: sample as u32,
                    reason,
                })
            };
            let at = match series {
                SampleSeries::Known(known) => match self.series.get(known.index as usize) {
                    Some(s) if s.1 == known.generation => known.index,
                    _ => {
                        reject(RejectReason::UnknownSeries);
                        continue;
                    }
                },
                SampleSeries::New(index) => match new[*index as usize] {
                    Some(at) => at,
                    None => {
                        reject(RejectReason::SeriesLimit);
                        continue;
                    }
                },
            };
            if timestamp < sealed || batch.timestamp_max.is_some_and(|max| timestamp > max) {
                reject(RejectReason::OutOfBounds);
                continue;
            }
            let last = self
                .series
                .get(at as usize)
                .and_then(|s| s.2.last().copied());
            match last {
                Some((t, _)) if timestamp < t => reject(RejectReason::OutOfOrder),
                Some((t, v)) if timestamp == t && v != value => {
                    reject(RejectReason::DuplicateTimestamp)
                }
                Some((t, _)) if timestamp == t => outcome.accepted += 1,
                _ => {
                    outcome.accepted += 1;
                    if mode == AppendMode::Partial {
                        self.series[at as usize].2.push((timestamp, value));
                        match batch.start_of(sample as u32) {
                            0 => {}
                            start => self.starts.push((at, timestamp, start)),
                        }
                    }
                }
            }
        }
        if mode == AppendMode::Check {
            return outcome;
        }
        for (i, sample) in batch.exemplars.iter().enumerate() {
            let at = match sample.series {
                SampleSeries::New(index) => new[index as usize],
                SampleSeries::Known(known) => match self.series.get(known.index as usize) {
                    Some(s) if s.1 == known.generation => Some(known.index),
                    _ => None,
                },
            };
            match at {
                Some(at) => self.exemplars.push((at, sample.exemplar.clone())),
                None => {
                    let refusal = (i as u32, ExemplarRefusal::UnknownSeries);
                    outcome.exemplar_refusals.push(refusal);
                }
            }
        }
        outcome
    }
}

struct FakeStore {
    shards: Vec<RefCell<FakeShard>>,
    calls: RefCell<Vec<(usize, AppendMode, usize, usize)>>,
    series_max: Cell<usize>,
    failing: Cell<Option<usize>>,
    /// Samples before this are out of bounds at the append, but not yet at the question before it.
    sealed_meanwhile: Cell<i64>,
}

impl FakeStore {
    fn new(shards: usize) -> Self {
        FakeStore {
            shards: (0..shards).map(|_| RefCell::default()).collect(),
            calls: RefCell::default(),
            series_max: Cell::new(usize::MAX),
            failing: Cell::new(None),
            sealed_meanwhile: Cell::new(i64::MIN),
        }
    }

    /// Everything stored: labels as text, then (timestamp, bits).
    fn content(&self) -> BTreeMap<String, Vec<(i64, u64)>> {
        let mut all = BTreeMap::new();
        for (number, shard) in self.shards.iter().enumerate() {
            for (labels, _, samples) in &shard.borrow().series {
                let labels = Labels::from_canonical(labels).unwrap();
                assert_eq!(
                    self.shard_of(labels.route_hash()),
                    number,
                    "{labels} is at home"
                );
                assert!(all.insert(labels.to_string(), samples.clone()).is_none());
            }
        }
        all
    }

    /// Every reference that was given out becomes unknown; the series stay.
    fn restart(&self) {
        for shard in &self.shards {
            for series in &mut shard.borrow_mut().series {
                series.1 += 1;
            }
        }
    }

    /// (new series, calls) of all appends since the last time.
    fn drain(&self) -> (usize, usize) {
        let calls = std::mem::take(&mut *self.calls.borrow_mut());
        (calls.iter().map(|c| c.3).sum(), calls.len())
    }
}

impl AppendTarget for FakeStore {
    fn shard_count(&self) -> usize {
        self.shards.len()
    }

    fn shard_of(&self, route_hash: u64) -> usize {
        (route_hash % self.shards.len() as u64) as usize
    }

    async fn append(
        &self,
        shard: usize,
        batch: AppendBatch,
        mode: AppendMode,
    ) -> Result<AppendOutcome, AppendError> {
        assert_eq!(batch.series.len(), batch.timestamps.len());
        assert_eq!(batch.series.len(), batch.values.len());
        self.calls
            .borrow_mut()
            .push((shard, mode, batch.series.len(), batch.new_series.len()));
        if self.failing.get() == Some(shard) {
            return Err(AppendError::Overloaded);
        }
        let sealed = match mode {
            AppendMode::Check => i64::MIN,
            AppendMode::Partial => self.sealed_meanwhile.get(),
        };
        Ok(self.shards[shard]
            .borrow_mut()
            .append(&batch, mode, self.series_max.get(), sealed))
    }
}

// --- a small encoder ---

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes_field(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint_field(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn sample_bytes(timestamp: i64, value: f64) -> Vec<u8> {
    let mut out = vec![0x09];
    out.extend_from_slice(&value.to_le_bytes());
    varint_field(&mut out, 2, timestamp as u64);
    out
}

/// An exemplar of version 1.0 with the label `trace_id`.
fn exemplar_v1_bytes(trace: &str, timestamp: i64) -> Vec<u8> {
    let mut out = Vec::new();
    bytes_field(&mut out, 1, &label_bytes(b"trace_id", trace.as_bytes()));
    out.push(0x11);
    out.extend_from_slice(&0.5f64.to_le_bytes());
    varint_field(&mut out, 3, timestamp as u64);
    out
}

/// An exemplar of version 2.0.
fn exemplar_v2_bytes(refs: &[u64], timestamp: i64) -> Vec<u8> {
    let mut packed = Vec::new();
    refs.iter().for_each(|r| varint(&mut packed, *r));
    let mut out = Vec::new();
    bytes_field(&mut out, 1, &packed);
    out.push(0x11);
    out.extend_from_slice(&0.5f64.to_le_bytes());
    varint_field(&mut out, 3, timestamp as u64);
    out
}

/// An integer histogram with one observation in one bucket, and what it says of its count.
fn histogram_bytes(timestamp: i64, sum: f64, count: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint_field(&mut out, 1, count);
    out.push(0x19);
    out.extend_from_slice(&sum.to_le_bytes());
    bytes_field(&mut out, 11, &[0x10, 0x01]);
    bytes_field(&mut out, 12, &[0x02]);
    varint_field(&mut out, 15, timestamp as u64);
    out
}

fn label_bytes(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bytes_field(&mut out, 1, name);
    bytes_field(&mut out, 2, value);
    out
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn series_v1(labels: Pairs<'_>, samples: &[(i64, f64)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in labels {
        bytes_field(&mut out, 1, &label_bytes(name.as_bytes(), value.as_bytes()));
    }
    for (timestamp, value) in samples {
        bytes_field(&mut out, 2, &sample_bytes(*timestamp, *value));
    }
    out
}

fn body_v1(series: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for message in series {
        bytes_field(&mut out, 1, message);
    }
    out
}

#[derive(Default)]
struct BodyV2 {
    symbols: Vec<String>,
    series: Vec<u8>,
}

impl BodyV2 {
    fn new() -> Self {
        BodyV2 {
            symbols: vec![String::new()],
            series: Vec::new(),
        }
    }

    fn symbol(&mut self, text: &str) -> u64 {
        let at = self
            .symbols
            .iter()
            .position(|s| s == text)
            .unwrap_or_else(|| {
                self.symbols.push(text.to_owned());
                self.symbols.len() - 1
            });
        at as u64
    }

    fn refs(&mut self, labels: Pairs<'_>) -> Vec<u64> {
        labels
            .iter()
            .flat_map(|(n, v)| [self.symbol(n), self.symbol(v)])
            .collect()
    }

    fn raw(&mut self, refs: &[u64], rest: &[u8]) -> &mut Self {
        let mut packed = Vec::new();
        refs.iter().for_each(|r| varint(&mut packed, *r));
        let mut message = Vec::new();
        bytes_field(&mut message, 1, &packed);
        message.extend_from_slice(rest);
        bytes_field(&mut self.series, 5, &message);
        self
    }

    fn add(&mut self, labels: Pairs<'_>, samples: &[(i64, f64)]) -> &mut Self {
        let refs = self.refs(labels);
        let mut rest = Vec::new();
        for (timestamp, value) in samples {
            bytes_field(&mut rest, 2, &sample_bytes(*timestamp, *value));
        }
        self.raw(&refs, &rest)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for symbol in &self.symbols {
            bytes_field(&mut out, 4, symbol.as_bytes());
        }
        out.extend_from_slice(&self.series);
        out
    }
}

struct Receiver {
    session: RefCell<WriteSession>,
    store: FakeStore,
}

impl Receiver {
    fn new(shards: usize) -> Self {
        Receiver {
            session: RefCell::new(WriteSession::new(42)),
            store: FakeStore::new(shards),
        }
    }

    fn write(&self, version: Version, body: &[u8]) -> WriteResult {
        block_on(write(
            &self.session,
            &self.store,
            WriteRequest {
                version,
                body,
                now: NOW,
            },
        ))
    }

    fn v1(&self, series: &[Vec<u8>]) -> WriteResult {
        self.write(Version::V1, &body_v1(series))
    }

    fn samples(&self, labels: &str) -> Vec<(i64, f64)> {
        let content = self.store.content();
        let samples = content
            .get(labels)
            .unwrap_or_else(|| panic!("{labels} is not in {content:?}"));
        samples
            .iter()
            .map(|(t, v)| (*t, f64::from_bits(*v)))
            .collect()
    }
}

fn answer(result: &WriteResult) -> (u16, &str) {
    (result.response.status, result.response.body.as_str())
}

const UP: Pairs<'static> = &[("__name__", "up"), ("job", "a")];
const DOWN: Pairs<'static> = &[("__name__", "down"), ("job", "b")];

// --- behaviour ---

#[test]
fn v1_stores_samples_and_knows_series_again() {
    let receiver = Receiver::new(3);
    let names: Vec<String> = (0..500).map(|i| format!("i{i}")).collect();
    let series = |step: i64, reverse: bool| {
        let mut all: Vec<Vec<u8>> = names
            .iter()
            .map(|n| {
                series_v1(
                    &[("__name__", "m"), ("instance", n)],
                    &[(NOW + step, step as f64)],
                )
            })
            .collect();
        if reverse {
            all.reverse();
        }
        all
    };
    for (step, reverse) in [(1, false), (2, false), (3, true), (4, false), (5, true)] {
        let result = receiver.v1(&series(step, reverse));
        assert_eq!(answer(&result), (204, ""));
        assert_eq!((result.samples_stored, result.counts.samples), (500, 500));
        assert_eq!(result.series_added, if step == 1 { 500 } else { 0 });
        let (new_series, calls) = receiver.store.drain();
        assert_eq!(calls, 6, "every shard is asked, then told");
        assert_eq!(new_series, if step == 1 { 1000 } else { 0 });
    }
    assert_eq!(receiver.store.content().len(), 500);
    let expected: Vec<(i64, f64)> = (1..=5).map(|s| (NOW + s, s as f64)).collect();
    assert_eq!(
        receiver.samples(r#"{__name__="m", instance="i77"}"#),
        expected
    );
}

#[test]
fn v1_takes_any_layout_of_a_series() {
    let receiver = Receiver::new(2);
    // Unsorted labels; several samples; a label behind a sample; an exemplar; an unknown field; small timestamps.
    let mut odd = Vec::new();
    bytes_field(&mut odd, 1, &label_bytes(b"job", b"a"));
    bytes_field(&mut odd, 2, &sample_bytes(5, 1.0));
    bytes_field(&mut odd, 1, &label_bytes(b"__name__", b"up"));
    bytes_field(&mut odd, 3, &exemplar_v1_bytes("t", 1));
    varint_field(&mut odd, 99, 7);
    bytes_field(&mut odd, 2, &sample_bytes(6, f64::NAN));
    let result = receiver.v1(&[odd.clone(), series_v1(UP, &[(NOW, 3.0)])]);
    assert_eq!(answer(&result), (204, ""));
    assert_eq!(result.counts.exemplars, 1);
    let samples = receiver.samples(r#"{__name__="up", job="a"}"#);
    assert_eq!(samples.iter().map(|s| s.0).collect::<Vec<_>>(), [5, 6, NOW]);
    // An empty value is no label.
    let result = receiver.v1(&[series_v1(&[("__name__", "x"), ("gone", "")], &[(NOW, 1.0)])]);
    assert_eq!(answer(&result), (204, ""));
    assert_eq!(receiver.samples(r#"{__name__="x"}"#), [(NOW, 1.0)]);
}

#[test]
fn v1_leaves_out_series_with_invalid_labels() {
    let receiver = Receiver::new(2);
    let mut not_utf8 = Vec::new();
    bytes_field(&mut not_utf8, 1, &label_bytes(b"__name__", b"a\xff"));
    bytes_field(&mut not_utf8, 2, &sample_bytes(NOW, 1.0));
    for _ in 0..2 {
        let result = receiver.v1(&[
            series_v1(&[("job", "nameless")], &[(NOW, 1.0)]),
            series_v1(
                &[("__name__", "twice"), ("a", "1"), ("a", "2")],
                &[(NOW, 1.0)],
            ),
            not_utf8.clone(),
            series_v1(&[], &[(NOW, 1.0)]),
            series_v1(UP, &[(NOW, 1.0)]),
        ]);
        assert_eq!(answer(&result), (204, ""));
        assert_eq!(result.counts.invalid_labels, 4);
    }
    assert_eq!(receiver.store.content().len(), 1);
}

#[test]
fn v1_rolls_back_the_whole_request() {
    let receiver = Receiver::new(4);
    assert_eq!(
        receiver.v1(&[series_v1(UP, &[(NOW, 1.0)])]).response.status,
        204
    );
    let before = receiver.store.content();
    let ten_minutes = 600_000;
    for (sample, text) in [
        ((NOW - 1, 1.0), "out of order sample\n"),
        ((NOW, 2.0), "duplicate sample for timestamp\n"),
        (
            (NOW + ten_minutes + 1, 2.0),
            "out of bounds: timestamp is too far in the future\n",
        ),
    ] {
        let result = receiver.v1(&[
            series_v1(DOWN, &[(NOW, 1.0)]),
            series_v1(UP, &[(NOW + 1, 1.0)]),
            series_v1(UP, &[sample]),
            series_v1(&[("__name__", "more")], &[(NOW + ten_minutes + 2, 1.0)]),
        ]);
        // Two samples of one series in one request: the fake's check sees the first as not stored yet.
        assert_eq!(
            (result.response.status, result.response.body.as_str()),
            (400, text)
        );
        assert_eq!(result.samples_stored, 0);
        assert_eq!(receiver.store.content(), before);
    }
    // The same sample again is no error, and ten minutes are allowed.
    let result = receiver.v1(&[
        series_v1(UP, &[(NOW, 1.0)]),
        series_v1(DOWN, &[(NOW + ten_minutes, 1.0)]),
    ]);
    assert_eq!(answer(&result), (204, ""));
}

#[test]
fn v1_samples_that_time_leaves_behind_after_the_question_are_answered() {
    let receiver = Receiver::new(2);
    receiver.store.sealed_meanwhile.set(NOW);
    let result = receiver.v1(&[series_v1(UP, &[(NOW - 1, 1.0), (NOW, 2.0)])]);
    assert_eq!(answer(&result), (400, "out of bounds\n"));
    assert_eq!((result.samples_stored, result.samples_rejected), (1, 1));
}

#[test]
fn v1_conflicts_within_a_request_are_counted_and_not_answered() {
    let receiver = Receiver::new(2);
    let result = receiver.v1(&[series_v1(
        UP,
        &[(NOW, 1.0), (NOW - 1, 2.0), (NOW, 3.0), (NOW + 1, 4.0)],
    )]);
    assert_eq!(answer(&result), (204, ""));
    assert_eq!((result.samples_stored, result.samples_rejected), (2, 2));
    assert_eq!(
        receiver.samples(r#"{__name__="up", job="a"}"#),
        [(NOW, 1.0), (NOW + 1, 4.0)]
    );
}

#[test]
fn stale_references_cost_a_round_with_labels_and_no_sample() {
    for version in [Version::V1, Version::V2] {
        let receiver = Receiver::new(2);
        let body = |step: i64| match version {
            Version::V1 => body_v1(&[
                series_v1(UP, &[(NOW + step, 1.0), (NOW + step + 1, 1.5)]),
                series_v1(DOWN, &[(NOW + step, 2.0)]),
            ]),
            Version::V2 => BodyV2::new()
                .add(UP, &[(NOW + step, 1.0), (NOW + step + 1, 1.5)])
                .add(DOWN, &[(NOW + step, 2.0)])
                .bytes(),
        };
        for step in 0..5 {
            receiver.store.restart();
            let result = receiver.write(version, &body(step * 10));
            assert_eq!(answer(&result), (204, ""), "{version:?} {step}");
            assert_eq!(
                result.samples_stored,
                3,
                "{version:?} {step} {result:?} {:?}",
                receiver.store.content()
            );
            if version == Version::V2 {
                assert_eq!(result.response.written.samples, 3);
            }
        }
        receiver.store.drain();
        assert_eq!(receiver.write(version, &body(90)).response.status, 204);
        assert_eq!(receiver.store.drain().0, 0, "references are known again");
        assert_eq!(receiver.samples(r#"{__name__="up", job="a"}"#).len(), 12);
        assert_eq!(receiver.samples(r#"{__name__="down", job="b"}"#).len(), 6);
    }
}

#[test]
fn v1_metadata_alone_is_accepted() {
    let receiver = Receiver::new(2);
    let mut record = Vec::new();
    varint_field(&mut record, 1, 3);
    bytes_field(&mut record, 2, b"latency_seconds");
    bytes_field(&mut record, 4, b"How long.");
    bytes_field(&mut record, 5, b"seconds");
    let mut body = Vec::new();
    bytes_field(&mut body, 3, &record);
    let result = receiver.write(Version::V1, &body);
    assert_eq!(answer(&result), (204, ""));
    let record = result.metadata.first().unwrap();
    assert_eq!(
        (
            record.name.as_str(),
            record.help.as_str(),
            record.unit.as_str()
        ),
        ("latency_seconds", "How long.", "seconds")
    );
    assert_eq!(record.metric_type.as_str(), "histogram");
    assert_eq!(receiver.store.drain().1, 0);
    assert_eq!(answer(&receiver.write(Version::V1, b"")), (204, ""));
}

#[test]
fn histograms_that_are_not_valid_refuse_a_v1_request_and_leave_out_of_a_v2_one() {
    let receiver = Receiver::new(2);
    let bad = histogram_bytes(NOW, 1.0, 7);
    let text = "1 observations found in buckets, but the Count field is 7: histogram's observation count should equal \
                the number of observations found in the buckets (in absence of NaN)";
    let mut series = series_v1(UP, &[(NOW - 1, 1.0)]);
    bytes_field(&mut series, 4, &histogram_bytes(NOW, 1.0, 1));
    bytes_field(&mut series, 4, &bad);
    let result = receiver.v1(&[series_v1(DOWN, &[(NOW, 1.0)]), series]);
    assert_eq!(answer(&result), (400, format!("{text}\n").as_str()));
    assert_eq!(receiver.store.content().len(), 0, "nothing is stored");
    assert_eq!((result.histograms_stored, result.samples_rejected), (0, 1));
    // Of a series with bad labels nothing is looked at.
    let mut nameless = series_v1(&[("job", "x")], &[]);
    bytes_field(&mut nameless, 4, &bad);
    assert_eq!(answer(&receiver.v1(&[nameless])), (204, ""));

    let mut body = BodyV2::new();
    body.add(UP, &[(NOW + 1, 1.0)]);
    let (down, alone) = (body.refs(DOWN), body.refs(&[("__name__", "alone")]));
    let mut rest = Vec::new();
    bytes_field(&mut rest, 3, &bad);
    body.raw(&alone, &rest);
    bytes_field(&mut rest, 3, &histogram_bytes(NOW, 2.5, 1));
    let result = receiver.write(Version::V2, &body.raw(&down, &rest).bytes());
    let expected = format!(
        "{text} for series {{__name__=\"alone\"}}\n{text} for series {{__name__=\"down\", job=\"b\"}}\n"
    );
    assert_eq!(answer(&result), (400, expected.as_str()));
    let written = Written {
        samples: 1,
        histograms: 1,
        exemplars: 0,
    };
    assert_eq!(result.response.written, written);
    assert_eq!(
        receiver.store.content().len(),
        2,
        "no series without a sample"
    );
    assert_eq!(
        receiver.samples(r#"{__name__="down", job="b"}"#),
        [(NOW, 2.5)]
    );
}

#[test]
fn stale_references_of_histograms_cost_a_round_and_no_sample() {
    let receiver = Receiver::new(2);
    for (step, version) in [Version::V1, Version::V2, Version::V1, Version::V2]
        .into_iter()
        .enumerate()
    {
        let at = NOW + step as i64 * 10;
        let (first, second) = (histogram_bytes(at, 1.5, 1), histogram_bytes(at + 2, 2.5, 1));
        let body = match version {
            Version::V1 => {
                let mut down = series_v1(DOWN, &[]);
                bytes_field(&mut down, 4, &first);
                bytes_field(&mut down, 4, &second);
                // Floats go first within a batch.
                let mut up_late = series_v1(UP, &[]);
                bytes_field(&mut up_late, 4, &second);
                body_v1(&[down, series_v1(UP, &[(at + 1, 7.0)]), up_late])
            }
            Version::V2 => {
                let mut body = BodyV2::new();
                let refs = body.refs(DOWN);
                let mut rest = Vec::new();
                bytes_field(&mut rest, 3, &first);
                bytes_field(&mut rest, 3, &second);
                body.raw(&refs, &rest);
                body.add(UP, &[(at + 1, 7.0)]);
                let refs = body.refs(UP);
                let mut rest = Vec::new();
                bytes_field(&mut rest, 3, &second);
                body.raw(&refs, &rest).bytes()
            }
        };
        let result = receiver.write(version, &body);
        assert_eq!(answer(&result), (204, ""), "{version:?}");
        assert_eq!((result.samples_stored, result.histograms_stored), (1, 3));
        receiver.store.restart();
    }
    let steps = (0..4).map(|step| NOW + step * 10);
    let down: Vec<_> = steps
        .clone()
        .flat_map(|t| [(t, 1.5), (t + 2, 2.5)])
        .collect();
    let up: Vec<_> = steps.flat_map(|t| [(t + 1, 7.0), (t + 2, 2.5)]).collect();
    assert_eq!(receiver.samples(r#"{__name__="down", job="b"}"#), down);
    assert_eq!(receiver.samples(r#"{__name__="up", job="a"}"#), up);
}

#[test]
fn too_many_histograms_are_refused_before_they_fill_the_memory() {
    let receiver = Receiver::new(1);
    let mut series = series_v1(UP, &[]);
    for _ in 0..crate::limits::HISTOGRAM_PARTS_PER_REQUEST_MAX / 32 + 1 {
        bytes_field(&mut series, 4, &[]);
    }
    let result = receiver.v1(&[series]);
    assert_eq!(result.response.status, 400);
    assert!(result.response.body.starts_with("the native histograms"));
    // Split over series that end in a sample, so that each is read twice.
    let mut some = series_v1(UP, &[]);
    for _ in 0..20_000 {
        bytes_field(&mut some, 4, &[]);
    }
    some.extend(series_v1(&[], &[(NOW, 1.0)]));
    let result = receiver.v1(&vec![some; 14]);
    assert_eq!(result.response.status, 400);
    assert!(result.response.body.starts_with("the native histograms"));
}

#[test]
fn v2_stores_what_it_can_and_reports_the_rest() {
    let receiver = Receiver::new(3);
    let mut body = BodyV2::new();
    body.add(UP, &[(NOW, 1.0), (NOW - 5, 2.0)]);
    body.raw(&[1, 2, 3], &[]);
    body.raw(&[1, 999], &[0x12, 0x00]);
    body.add(&[("job", "x")], &[(NOW, 1.0)]);
    body.add(
        &[("__name__", "twice"), ("a", "1"), ("a", "2")],
        &[(NOW, 1.0), (NOW + 1, 1.0)],
    );
    body.add(&[("__name__", "empty")], &[]);
    body.add(DOWN, &[(NOW, 3.0), (NOW + 600_001, 3.0)]);
    let size = body.symbols.len();
    let result = receiver.write(Version::V2, &body.bytes());
    let text = format!(
        "out of order sample for series {{__name__=\"up\", job=\"a\"}}\n\
         parsing labels for series [1 2 3]: invalid labelRefs length 3\n\
         parsing labels for series [1 999]: labelRefs 1 (name) = 999 (value) outside of symbols table (size {size})\n\
         invalid metric name or labels, got {{job=\"x\"}}\n\
         invalid labels for series, labels {{__name__=\"twice\", a=\"1\", a=\"2\"}}, duplicated label a\n\
         TimeSeries must contain at least one sample or histogram for series {{__name__=\"empty\"}}\n\
         out of bounds: timestamp is too far in the future for series {{__name__=\"down\", job=\"b\"}}\n"
    );
    assert_eq!(answer(&result), (400, text.as_str()));
    assert_eq!(
        result.response.written,
        Written {
            samples: 2,
            histograms: 0,
            exemplars: 0
        }
    );
    assert_eq!(result.counts.invalid_labels, 4);
    assert_eq!((result.samples_stored, result.samples_rejected), (2, 2));
    assert_eq!(receiver.store.content().len(), 2);
}

#[test]
fn v2_symbols_mean_something_only_within_their_request() {
    let receiver = Receiver::new(2);
    let send = |labels: &[Pairs<'_>], step: i64| {
        let mut body = BodyV2::new();
        for l in labels {
            body.add(l, &[(NOW + step, step as f64)]);
        }
        let result = receiver.write(Version::V2, &body.bytes());
        assert_eq!(answer(&result), (204, ""));
        assert_eq!(result.response.written.samples, labels.len() as u64);
    };
    send(&[UP, DOWN], 1);
    send(&[DOWN, UP], 2);
    send(&[DOWN, UP], 3);
    send(&[UP], 4);
    send(&[UP, DOWN], 5);
    assert_eq!(receiver.store.content().len(), 2);
    assert_eq!(receiver.samples(r#"{__name__="up", job="a"}"#).len(), 5);
    assert_eq!(receiver.samples(r#"{__name__="down", job="b"}"#).len(), 4);
    // Symbols behind the series, references one by one, a first symbol that is not empty.
    let mut body = Vec::new();
    let mut series = Vec::new();
    varint_field(&mut series, 1, 1);
    varint_field(&mut series, 1, 2);
    bytes_field(&mut series, 2, &sample_bytes(NOW, 7.0));
    bytes_field(&mut body, 5, &series);
    for symbol in ["", "__name__", "late"] {
        bytes_field(&mut body, 4, symbol.as_bytes());
    }
    assert_eq!(answer(&receiver.write(Version::V2, &body)), (204, ""));
    assert_eq!(receiver.samples(r#"{__name__="late"}"#), [(NOW, 7.0)]);
    send(&[UP, DOWN], 6);
    let mut body = BodyV2 {
        symbols: vec!["up".to_owned()],
        series: Vec::new(),
    };
    let body = body.add(UP, &[(NOW, 1.0)]).bytes();
    let result = receiver.write(Version::V2, &body);
    assert_eq!(
        answer(&result),
        (
            400,
            "invalid symbols: the first symbol must be the empty string\n"
        )
    );
}

#[test]
fn v2_metadata_is_taken_when_it_is_new() {
    let receiver = Receiver::new(2);
    let send = |help: &str, step: i64, unit: Option<u64>| {
        let mut body = BodyV2::new();
        let refs = body.refs(UP);
        let mut metadata = Vec::new();
        varint_field(&mut metadata, 1, 2);
        varint_field(&mut metadata, 3, body.symbol(help));
        varint_field(&mut metadata, 4, unit.unwrap_or(0));
        let mut rest = Vec::new();
        bytes_field(&mut rest, 2, &sample_bytes(NOW + step, 1.0));
        bytes_field(&mut rest, 4, &exemplar_v2_bytes(&refs, NOW));
        bytes_field(&mut rest, 5, &metadata);
        receiver.write(Version::V2, &body.raw(&refs, &rest).bytes())
    };
    let helps = |result: &WriteResult| -> Vec<String> {
        result
            .metadata
            .iter()
            .map(|m| format!("{} {} {}", m.name, m.metric_type.as_str(), m.help))
            .collect()
    };
    assert_eq!(helps(&send("one", 1, None)), ["up gauge one"]);
    assert_eq!(helps(&send("one", 2, None)), Vec::<String>::new());
    let result = send("two", 3, None);
    assert_eq!(helps(&result), ["up gauge two"]);
    assert_eq!(result.response.written.exemplars, 1);
    let result = send("two", 4, Some(77));
    assert_eq!(result.response.status, 400);
    assert!(
        result.response.body.contains("outside of symbols table"),
        "{}",
        result.response.body
    );
    assert_eq!(result.response.written.samples, 1);
}

#[test]
fn exemplars_follow_their_series_to_new_references() {
    for version in [Version::V1, Version::V2] {
        let receiver = Receiver::new(1);
        let body = |step: i64, trace: &str| match version {
            Version::V1 => {
                let mut up = Vec::new();
                for (name, value) in UP {
                    bytes_field(&mut up, 1, &label_bytes(name.as_bytes(), value.as_bytes()));
                }
                bytes_field(&mut up, 2, &sample_bytes(NOW + step, 1.0));
                bytes_field(&mut up, 3, &exemplar_v1_bytes(trace, NOW + step));
                body_v1(&[up, series_v1(DOWN, &[(NOW + step, 2.0)])])
            }
            Version::V2 => {
                let mut body = BodyV2::new();
                let refs = body.refs(UP);
                let labels = body.refs(&[("trace_id", trace)]);
                let mut rest = Vec::new();
                bytes_field(&mut rest, 2, &sample_bytes(NOW + step, 1.0));
                bytes_field(&mut rest, 4, &exemplar_v2_bytes(&labels, NOW + step));
                body.raw(&refs, &rest)
                    .add(DOWN, &[(NOW + step, 2.0)])
                    .bytes()
            }
        };
        for (step, trace) in ["a", "b", "c"].into_iter().enumerate() {
            let result = receiver.write(version, &body(step as i64, trace));
            assert_eq!(answer(&result), (204, ""), "{version:?}");
            if version == Version::V2 {
                assert_eq!(result.response.written.exemplars, 1);
            }
            receiver.store.restart();
        }
        let shard = receiver.store.shards[0].borrow();
        let found: Vec<(u32, &str, i64)> = shard
            .exemplars
            .iter()
            .map(|(at, e)| (*at, e.labels.value("trace_id"), e.timestamp - NOW))
            .collect();
        assert_eq!(
            found,
            [(0, "a", 0), (0, "b", 1), (0, "c", 2)],
            "{version:?}"
        );
    }
}

#[test]
fn starts_stay_with_their_samples() {
    let started = |timestamp: i64, start: i64| {
        let mut sample = sample_bytes(timestamp, 1.0);
        varint_field(&mut sample, 3, start as u64);
        sample
    };
    let receiver = Receiver::new(1);
    for step in [0, 10, 20] {
        let now = NOW + step;
        let mut body = BodyV2::new();
        // None, then one of two samples, then a histogram with one behind a histogram without.
        body.add(UP, &[(now, 1.0), (now + 1, 2.0)]);
        let refs = body.refs(DOWN);
        let mut rest = Vec::new();
        bytes_field(&mut rest, 2, &sample_bytes(now, 1.0));
        bytes_field(&mut rest, 2, &started(now + 1, NOW - 7));
        body.raw(&refs, &rest);
        let refs = body.refs(&[("__name__", "h")]);
        let mut rest = Vec::new();
        bytes_field(&mut rest, 3, &histogram_bytes(now, 1.5, 1));
        let mut second = histogram_bytes(now + 1, 2.5, 1);
        varint_field(&mut second, 17, (NOW - 8) as u64);
        bytes_field(&mut rest, 3, &second);
        body.raw(&refs, &rest);
        body.add(UP, &[(now + 2, 3.0)]);
        let result = receiver.write(Version::V2, &body.bytes());
        assert_eq!(answer(&result), (204, ""));
        assert_eq!((result.samples_stored, result.histograms_stored), (5, 2));
        // The next time all references are unknown, and what was refused is sent again.
        receiver.store.restart();
    }
    let shard = receiver.store.shards[0].borrow();
    let of = |name: &str| {
        let labels = |at: u32| Labels::from_canonical(&shard.series[at as usize].0).unwrap();
        let starts = shard.starts.iter();
        let starts = starts.filter(|(at, _, _)| labels(*at).value("__name__") == name);
        let starts: Vec<_> = starts.map(|(_, t, start)| (t - NOW, start - NOW)).collect();
        starts
    };
    assert_eq!(of("up"), []);
    assert_eq!(of("down"), [(1, -7), (11, -7), (21, -7)]);
    assert_eq!(of("h"), [(1, -8), (11, -8), (21, -8)]);
}

#[test]
fn exemplars_with_references_to_nowhere_are_told_and_cost_nothing_else() {
    let receiver = Receiver::new(1);
    let mut body = BodyV2::new();
    let refs = body.refs(UP);
    let mut rest = Vec::new();
    bytes_field(&mut rest, 2, &sample_bytes(NOW, 1.0));
    bytes_field(&mut rest, 4, &exemplar_v2_bytes(&[1, 99], NOW));
    bytes_field(&mut rest, 4, &exemplar_v2_bytes(&refs, NOW));
    let result = receiver.write(Version::V2, &body.raw(&refs, &rest).bytes());
    assert_eq!(
        answer(&result),
        (
            400,
            "parsing exemplar for series {__name__=\"up\", job=\"a\"}: labelRefs 1 (name) = 99 (value) outside of symbols table (size 5)\n"
        )
    );
    let written = result.response.written;
    assert_eq!((written.samples, written.exemplars), (1, 1));
}

#[test]
fn a_store_that_cannot_take_it_is_a_503() {
    for version in [Version::V1, Version::V2] {
        let receiver = Receiver::new(2);
        let body = match version {
            Version::V1 => body_v1(&[series_v1(UP, &[(NOW, 1.0)])]),
            Version::V2 => BodyV2::new().add(UP, &[(NOW, 1.0)]).bytes(),
        };
        receiver.store.series_max.set(0);
        let result = receiver.write(version, &body);
        assert_eq!(result.response.status, 400);
        assert!(
            result
                .response
                .body
                .contains("series limit of the shard reached")
        );
        receiver.store.series_max.set(10);
        for shard in 0..2 {
            receiver.store.failing.set(Some(shard));
            let result = receiver.write(version, &body);
            assert!(
                result.response.status == 204
                    || answer(&result) == (503, "the shard is overloaded, try again\n")
            );
        }
        receiver.store.failing.set(None);
        assert_eq!(answer(&receiver.write(version, &body)), (204, ""));
        assert_eq!(
            receiver.samples(r#"{__name__="up", job="a"}"#),
            [(NOW, 1.0)]
        );
    }
}

#[test]
fn malformed_messages_store_nothing() {
    let receiver = Receiver::new(2);
    let good = body_v1(&[
        series_v1(UP, &[(NOW, 1.0)]),
        series_v1(DOWN, &[(NOW, 1.0), (NOW + 1, 1.0)]),
    ]);
    let cases: &[(&[u8], &str)] = &[
        (b"\x0a", "unexpected EOF\n"),
        (
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "proto: integer overflow\n",
        ),
        (b"\x0a\xff\xff\xff\xff\x0f", "unexpected EOF\n"),
        (
            b"\x08\x01",
            "proto: wrong wireType = 0 for field Timeseries\n",
        ),
        (
            b"\x00",
            "proto: WriteRequest: illegal tag 0 (wire type 0)\n",
        ),
        (
            b"\x0c",
            "proto: WriteRequest: wiretype end group for non-group\n",
        ),
        (b"\x3e\x01", "proto: illegal wireType 6\n"),
        (b"\x0a\x02\x0a\x05", "unexpected EOF\n"),
    ];
    for (tail, text) in cases {
        let mut body = good.clone();
        body.extend_from_slice(tail);
        let result = receiver.write(Version::V1, &body);
        assert_eq!(answer(&result), (400, *text), "{tail:?}");
    }
    for end in 1..good.len() {
        let status = receiver.write(Version::V1, &good[..end]).response.status;
        let whole_message = end == 2 + good[1] as usize;
        assert_eq!(status, if whole_message { 204 } else { 400 }, "{end}");
    }
    assert!(receiver.store.content().len() <= 1);
    assert_eq!(
        receiver.write(Version::V2, b"\x2a\x05").response.body,
        "unexpected EOF\n"
    );
    assert_eq!(
        receiver
            .write(Version::V2, b"\x22\x00\x2a\x02\x09\x00")
            .response
            .status,
        400
    );
}

#[test]
fn repeated_symbols_do_not_fill_the_memory() {
    let receiver = Receiver::new(1);
    let mut body = BodyV2::new();
    let long = "x".repeat(900_000);
    for i in 0..200 {
        let name = format!("m{i}");
        body.add(&[("__name__", &name), ("a", &long)], &[(NOW, 1.0)]);
    }
    let result = receiver.write(Version::V2, &body.bytes());
    assert_eq!(
        answer(&result),
        (
            400,
            "the labels of the request's new series are larger than 134217728 bytes\n"
        )
    );
    assert!(receiver.store.content().is_empty());
    let mut body = BodyV2::new();
    body.add(
        &[("__name__", "m"), ("a", &long), ("b", &long)],
        &[(NOW, 1.0)],
    );
    let result = receiver.write(Version::V2, &body.bytes());
    assert_eq!(result.response.status, 400);
    assert!(
        result.response.body.starts_with("label set of 1800"),
        "{}",
        result.response.body
    );
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn random_requests_store_what_a_map_would() {
    for seed in 1..60u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let receiver = Receiver::new(1 + random.below(4) as usize);
        let mut model: BTreeMap<String, Vec<(i64, u64)>> = BTreeMap::new();
        let mut clock = if seed % 2 == 0 { NOW - 500_000 } else { 1 };
        for _ in 0..25 {
            if random.below(8) == 0 {
                receiver.store.restart();
            }
            let mut v1 = Vec::new();
            let mut v2 = BodyV2::new();
            for _ in 0..random.below(120) {
                let id = random.below(60).to_string();
                let job = random.below(3).to_string();
                let mut pairs: Vec<(&str, &str)> =
                    vec![("__name__", "m"), ("id", &id), ("job", &job)];
                // A sender writes one series one way.
                if id.len() == 2 {
                    pairs.rotate_left(1);
                }
                let samples: Vec<(i64, f64)> = (0..1 + random.below(3) / 2)
                    .map(|_| {
                        clock += 1;
                        (clock, random.below(100) as f64 / 4.0)
                    })
                    .collect();
                let key = Labels::from_pairs(pairs.iter().copied())
                    .unwrap()
                    .to_string();
                model
                    .entry(key)
                    .or_default()
                    .extend(samples.iter().map(|(t, v)| (*t, v.to_bits())));
                v1.push(series_v1(&pairs, &samples));
                v2.add(&pairs, &samples);
            }
            let result = if random.below(2) == 0 {
                receiver.v1(&v1)
            } else {
                receiver.write(Version::V2, &v2.bytes())
            };
            assert_eq!(answer(&result), (204, ""), "seed {seed}");
        }
        assert_eq!(receiver.store.content(), model, "seed {seed}");
    }
}

#[test]
fn mutated_bodies_never_panic_and_never_store_bad_labels() {
    let good_v1 = body_v1(&[
        series_v1(UP, &[(NOW, 1.0)]),
        series_v1(DOWN, &[(NOW, 1.0), (NOW + 1, 2.0)]),
        series_v1(&[("__name__", "third"), ("le", "+Inf")], &[(NOW, 1.0)]),
    ]);
    let good_v2 = BodyV2::new()
        .add(UP, &[(NOW, 1.0)])
        .add(DOWN, &[(NOW, 1.0), (NOW + 1, 2.0)])
        .bytes();
    for seed in 1..20_000u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (version, good) = if seed % 2 == 0 {
            (Version::V1, &good_v1)
        } else {
            (Version::V2, &good_v2)
        };
        let mut body = good.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(body.len() as u64) as usize;
            match random.below(4) {
                0 => body[at] = random.below(256) as u8,
                1 => body[at] ^= 1 << random.below(8),
                2 => body.truncate(at.max(1)),
                _ => body.insert(at, random.below(256) as u8),
            }
        }
        let receiver = Receiver::new(2);
        let first = receiver.write(version, &body);
        // The store checks that labels are canonical; the second time the same body takes the short cuts.
        let content = receiver.store.content();
        let second = receiver.write(version, &body);
        let refused =
            |r: &WriteResult| r.response.status == 400 && r.counts == RequestCounts::default();
        assert_eq!(refused(&first), refused(&second), "seed {seed}");
        assert_eq!(receiver.store.content(), content, "seed {seed}");
    }
}
