//! Remote write into real shards: the wire, the identity table and the shard's own rules together, without threads,
//! disks or sockets. A log that always succeeds answers at once.

use ferula_ingest::append::AppendTarget;
use ferula_ingest::limits::REMOTE_WRITE_BODY_BYTES_MAX;
use ferula_ingest::remote_write::{RawRequest, Version, WriteReceiver, WriteResult};
use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use storage_engine::model::{
    BucketSpan, CounterResetHint, FloatHistogram, Matcher, STALE_NAN_BITS, SampleColumns,
};
use storage_engine::shard::{Action, Event, Shard, ShardConfig};
use storage_engine::shard_api::{
    AppendBatch, AppendError, AppendMode, AppendOutcome, ReadNotes, TimeRange,
};

const NOW: i64 = 1_790_000_000_000;

struct Shards(Vec<RefCell<Shard>>);

impl Shards {
    fn new(count: usize, series_max: u32) -> Self {
        let config = ShardConfig {
            series_max,
            ..ShardConfig::default()
        };
        Shards(
            (0..count)
                .map(|_| RefCell::new(Shard::new(config.clone())))
                .collect(),
        )
    }

    /// Timestamps and values of the one series that has this metric name.
    fn samples(&self, name: &str) -> Vec<(i64, f64)> {
        let all = TimeRange {
            min: i64::MIN,
            max: i64::MAX,
        };
        let mut found = Vec::new();
        for shard in &self.0 {
            let shard = shard.borrow();
            let reader = shard.reader();
            let selection = reader.select(&[Matcher::equal("__name__", name)], all);
            for series in 0..selection.len() {
                let mut columns = SampleColumns::default();
                let notes = &mut ReadNotes::default();
                reader.read(&selection, series, all, &mut columns, notes);
                found.extend(columns.timestamps.into_iter().zip(columns.values));
            }
        }
        found
    }
}

impl Shards {
    /// Histograms of the one series that has this metric name.
    fn histograms(&self, name: &str) -> Vec<(i64, Arc<FloatHistogram>)> {
        let all = TimeRange {
            min: i64::MIN,
            max: i64::MAX,
        };
        let mut found = Vec::new();
        for shard in &self.0 {
            let shard = shard.borrow();
            let reader = shard.reader();
            let selection = reader.select(&[Matcher::equal("__name__", name)], all);
            for series in 0..selection.len() {
                let notes = &mut ReadNotes::default();
                reader.read_histograms(&selection, series, all, &mut found, notes);
            }
        }
        found
    }
}

impl AppendTarget for Shards {
    fn shard_count(&self) -> usize {
        self.0.len()
    }

    fn shard_of(&self, route_hash: u64) -> usize {
        (route_hash % self.0.len() as u64) as usize
    }

    async fn append(
        &self,
        shard: usize,
        batch: AppendBatch,
        mode: AppendMode,
    ) -> Result<AppendOutcome, AppendError> {
        let mut shard = self.0[shard].borrow_mut();
        let mut actions = Vec::new();
        let append = Event::Append {
            request: 7,
            batch: Box::new(batch),
            mode,
        };
        shard.on(1, append, &mut actions);
        loop {
            assert!(!actions.is_empty(), "the shard answers");
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::Reply { result, .. } => return result,
                    Action::Log { lsn, .. } => {
                        let done = Event::LogDone {
                            lsn,
                            result: Ok(lsn),
                        };
                        shard.on(2, done, &mut actions);
                    }
                    _ => {}
                }
            }
        }
    }
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

fn sample(timestamp: i64, value: f64) -> Vec<u8> {
    let mut out = vec![0x09];
    out.extend_from_slice(&value.to_le_bytes());
    out.push(0x10);
    let mut rest = timestamp as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

/// One sample per series, the series named `m0`, `m1`, …
fn body(version: Version, samples: &[(i64, f64)]) -> Vec<u8> {
    let mut symbols = vec![String::new(), "__name__".to_owned()];
    let mut all = Vec::new();
    for (index, (timestamp, value)) in samples.iter().enumerate() {
        let name = format!("m{index}");
        let mut series = Vec::new();
        match version {
            Version::V1 => {
                let mut label = Vec::new();
                field(&mut label, 1, b"__name__");
                field(&mut label, 2, name.as_bytes());
                field(&mut series, 1, &label);
            }
            Version::V2 => {
                field(&mut series, 1, &[1, symbols.len() as u8]);
                symbols.push(name);
            }
        }
        field(&mut series, 2, &sample(*timestamp, *value));
        let number = if version == Version::V1 { 1 } else { 5 };
        field(&mut all, number, &series);
    }
    let mut out = Vec::new();
    if version == Version::V2 {
        for symbol in &symbols {
            field(&mut out, 4, symbol.as_bytes());
        }
    }
    out.extend_from_slice(&all);
    out
}

fn receive(
    receiver: &WriteReceiver,
    shards: &Shards,
    version: Version,
    packed: &[u8],
) -> WriteResult {
    let content_type = format!("application/x-protobuf;proto={}", version.message());
    let request = RawRequest {
        content_type: &content_type,
        content_encoding: "snappy",
        body: packed,
        body_bytes_max: REMOTE_WRITE_BODY_BYTES_MAX,
        accepted: &[Version::V1, Version::V2],
        now: NOW,
    };
    let mut future = pin!(receiver.receive(shards, request));
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn send(
    receiver: &WriteReceiver,
    shards: &Shards,
    version: Version,
    samples: &[(i64, f64)],
) -> WriteResult {
    let packed = snap::raw::Encoder::new()
        .compress_vec(&body(version, samples))
        .expect("a small body compresses");
    receive(receiver, shards, version, &packed)
}

#[test]
fn both_versions_store_and_refuse_as_prometheus_does() {
    for version in [Version::V1, Version::V2] {
        let shards = Shards::new(3, 1000);
        let receiver = WriteReceiver::new(5);
        let ok = |samples: &[(i64, f64)]| {
            let result = send(&receiver, &shards, version, samples);
            assert_eq!(result.response.status, 204, "{version:?} {result:?}");
            assert_eq!(result.samples_stored, samples.len() as u64);
            result.series_added
        };
        assert_eq!(ok(&[(NOW, 1.0); 20]), 20);
        assert_eq!(ok(&[(NOW, 1.0); 20]), 0, "the same again is no error");
        assert_eq!(ok(&[(NOW + 1000, 2.0); 20]), 0);
        let mut mixed = [(NOW + 2000, 3.0); 20];
        mixed[3] = (NOW + 500, 3.0);
        mixed[4] = (NOW + 1000, 9.0);
        mixed[5] = (NOW - 7_200_000, 9.0);
        mixed[6] = (NOW + 600_001, 9.0);
        let result = send(&receiver, &shards, version, &mixed);
        assert_eq!(result.response.status, 400);
        match version {
            Version::V1 => {
                assert_eq!(result.response.body, "out of order sample\n");
                assert_eq!(shards.samples("m0"), [(NOW, 1.0), (NOW + 1000, 2.0)]);
            }
            Version::V2 => {
                assert_eq!(
                    result.response.body,
                    "out of order sample for series {__name__=\"m3\"}\n\
                     duplicate sample for timestamp for series {__name__=\"m4\"}\n\
                     out of bounds for series {__name__=\"m5\"}\n\
                     out of bounds: timestamp is too far in the future for series {__name__=\"m6\"}\n"
                );
                assert_eq!(result.response.written.samples, 16);
                assert_eq!(shards.samples("m0").len(), 3);
            }
        }
        assert_eq!(shards.samples("m3"), [(NOW, 1.0), (NOW + 1000, 2.0)]);
    }
}

#[test]
fn series_beyond_the_limit_are_refused_and_known_ones_go_on() {
    for version in [Version::V1, Version::V2] {
        let shards = Shards::new(1, 5);
        let receiver = WriteReceiver::new(5);
        assert_eq!(
            send(&receiver, &shards, version, &[(NOW, 1.0); 5])
                .response
                .status,
            204
        );
        // The samples of the known series are in the same request; a sender that tried it again for ever would never
        // get to its next one.
        let result = send(&receiver, &shards, version, &[(NOW + 1, 1.0); 6]);
        assert_eq!(result.response.status, 400);
        assert!(
            result
                .response
                .body
                .contains("series limit of the shard reached"),
            "{}",
            result.response.body
        );
        assert_eq!(shards.samples("m4"), [(NOW, 1.0), (NOW + 1, 1.0)]);
        assert_eq!(
            send(&receiver, &shards, version, &[(NOW + 2, 1.0); 5])
                .response
                .status,
            204
        );
        assert!(shards.samples("m5").is_empty());
    }
}

#[test]
fn bad_bodies_are_answered_400_and_store_nothing() {
    let shards = Shards::new(2, 100);
    let receiver = WriteReceiver::new(5);
    let four_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x61];
    let garbage: Vec<u8> = (0..200u32).map(|i| (i * 37 + 11) as u8).collect();
    let mut encoder = snap::raw::Encoder::new();
    let packed_garbage = encoder.compress_vec(&garbage).unwrap();
    let whole = encoder
        .compress_vec(&body(Version::V1, &[(NOW, 1.0); 50]))
        .unwrap();
    let large = encoder.compress_vec(&vec![0u8; 33 << 20]).unwrap();
    let half = &whole[..whole.len() / 2];
    for version in [Version::V1, Version::V2] {
        for bad in [&four_gib[..], &garbage, &packed_garbage, half, b"", &large] {
            let result = receive(&receiver, &shards, version, bad);
            assert_eq!(result.response.status, 400, "{}", result.response.body);
            assert!(result.response.body.len() > 1);
        }
    }
    for name in 0..50 {
        assert!(shards.samples(&format!("m{name}")).is_empty());
    }
    assert_eq!(
        receive(&receiver, &shards, Version::V1, &whole)
            .response
            .status,
        204
    );
}

/// Fields of a histogram message, as the wire has them.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, number: u8, value: u64) -> Self {
        self.0.extend(varint(u64::from(number) << 3));
        self.0.extend(varint(value));
        self
    }

    fn zigzag(self, number: u8, value: i64) -> Self {
        self.varint(number, zigzag(value))
    }

    fn double(mut self, number: u8, value: f64) -> Self {
        self.0.extend(varint(u64::from(number) << 3 | 1));
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, number: u8, bytes: &[u8]) -> Self {
        self.0.extend(varint(u64::from(number) << 3 | 2));
        self.0.extend(varint(bytes.len() as u64));
        self.0.extend(bytes);
        self
    }

    fn span(self, number: u8, offset: i64, length: u64) -> Self {
        let span = Message::default().zigzag(1, offset).varint(2, length);
        self.bytes(number, &span.0)
    }

    fn deltas(self, number: u8, deltas: &[i64]) -> Self {
        let packed: Vec<u8> = deltas.iter().flat_map(|d| varint(zigzag(*d))).collect();
        self.bytes(number, &packed)
    }

    fn doubles(self, number: u8, values: &[f64]) -> Self {
        let packed: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes(number, &packed)
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// One series `m` with these histogram messages, then float samples.
fn histogram_body(version: Version, histograms: &[Message], samples: &[(i64, f64)]) -> Vec<u8> {
    let mut series = Vec::new();
    let mut out = Vec::new();
    let number = match version {
        Version::V1 => {
            let mut label = Vec::new();
            field(&mut label, 1, b"__name__");
            field(&mut label, 2, b"m");
            field(&mut series, 1, &label);
            4
        }
        Version::V2 => {
            for symbol in ["", "__name__", "m"] {
                field(&mut out, 4, symbol.as_bytes());
            }
            field(&mut series, 1, &[1, 2]);
            3
        }
    };
    for message in histograms {
        field(&mut series, number, &message.0);
    }
    for (timestamp, value) in samples {
        field(&mut series, 2, &sample(*timestamp, *value));
    }
    field(&mut out, if number == 4 { 1 } else { 5 }, &series);
    snap::raw::Encoder::new()
        .compress_vec(&out)
        .expect("a small body compresses")
}

fn spans(all: &[(i32, u32)]) -> Vec<BucketSpan> {
    all.iter()
        .map(|&(offset, length)| BucketSpan { offset, length })
        .collect()
}

/// Messages and what they mean: integers, floats, custom buckets, a finer schema.
fn flavours() -> Vec<(Message, FloatHistogram)> {
    let integer = Message::default()
        .varint(1, 14)
        .double(3, -7.25)
        .zigzag(4, 3)
        .double(5, 0.001)
        .varint(6, 2)
        .span(8, -2, 1)
        .deltas(9, &[3])
        .span(11, 0, 2)
        .span(11, 4, 1)
        // One packed, one by itself: both ways are allowed.
        .deltas(12, &[2, 1])
        .zigzag(12, 1)
        .varint(14, 2)
        .varint(15, NOW as u64);
    let integer_value = FloatHistogram {
        // The first of its series: nothing is before it.
        counter_reset_hint: CounterResetHint::Unknown,
        schema: 3,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count: 14.0,
        sum: -7.25,
        positive_spans: spans(&[(0, 2), (4, 1)]),
        negative_spans: spans(&[(-2, 1)]),
        positive_buckets: vec![2.0, 3.0, 4.0],
        negative_buckets: vec![3.0],
        custom_values: Vec::new(),
        integer: true,
    };
    let float = Message::default()
        .double(2, 5.5)
        .double(3, f64::NAN)
        .zigzag(4, -4)
        .double(7, 0.5)
        .span(8, 7, 2)
        .doubles(10, &[0.25, 4.75])
        .varint(14, 3)
        .varint(15, NOW as u64 + 10);
    let float_value = FloatHistogram {
        counter_reset_hint: CounterResetHint::Gauge,
        schema: -4,
        zero_count: 0.5,
        count: 5.5,
        sum: f64::NAN,
        negative_spans: spans(&[(7, 2)]),
        negative_buckets: vec![0.25, 4.75],
        ..FloatHistogram::default()
    };
    let custom = Message::default()
        .varint(1, 6)
        .double(3, 9.0)
        .zigzag(4, -53)
        .span(11, 1, 2)
        .deltas(12, &[4, -2])
        .doubles(16, &[0.5, 2.5])
        .varint(15, NOW as u64 + 20);
    let custom_value = FloatHistogram {
        schema: -53,
        count: 6.0,
        sum: 9.0,
        positive_spans: spans(&[(1, 2)]),
        positive_buckets: vec![4.0, 2.0],
        custom_values: vec![0.5, 2.5],
        integer: true,
        ..FloatHistogram::default()
    };
    let fine = Message::default()
        .varint(1, 3)
        .zigzag(4, 9)
        .span(11, 1, 2)
        .deltas(12, &[1, 1])
        .varint(15, NOW as u64 + 30);
    let fine_value = FloatHistogram {
        counter_reset_hint: CounterResetHint::CounterReset,
        schema: 8,
        count: 3.0,
        positive_spans: spans(&[(1, 1)]),
        positive_buckets: vec![3.0],
        integer: true,
        ..FloatHistogram::default()
    };
    vec![
        (integer, integer_value),
        (float, float_value),
        (custom, custom_value),
        (fine, fine_value),
    ]
}

#[test]
fn native_histograms_arrive_whole() {
    for version in [Version::V1, Version::V2] {
        let shards = Shards::new(3, 100);
        let receiver = WriteReceiver::new(5);
        let (messages, values): (Vec<_>, Vec<_>) = flavours().into_iter().unzip();
        let body = histogram_body(version, &messages, &[]);
        let newest_again = histogram_body(version, &messages[3..], &[]);
        for (body, count, added) in [(body, 4, 1), (newest_again, 1, 0)] {
            let result = receive(&receiver, &shards, version, &body);
            assert_eq!(result.response.status, 204, "{}", result.response.body);
            assert_eq!(
                (result.samples_stored, result.histograms_stored),
                (0, count)
            );
            assert_eq!(result.series_added, added);
            let written = result.response.written.histograms;
            assert_eq!(written, if version == Version::V2 { count } else { 0 });
        }
        let found = shards.histograms("m");
        assert_eq!(found.len(), 4);
        for ((i, (timestamp, got)), expected) in found.iter().enumerate().zip(&values) {
            assert_eq!(*timestamp, NOW + 10 * i as i64);
            assert!(got.same_bits(expected), "{got:?} is not {expected:?}");
            assert_eq!(got.counter_reset_hint, expected.counter_reset_hint);
        }
        assert!(shards.samples("m").is_empty());
    }
}

#[test]
fn floats_and_histograms_of_a_series_share_one_order() {
    for version in [Version::V1, Version::V2] {
        let shards = Shards::new(2, 100);
        let receiver = WriteReceiver::new(5);
        let write = |histograms: &[Message], samples: &[(i64, f64)]| {
            let body = histogram_body(version, histograms, samples);
            let result = receive(&receiver, &shards, version, &body);
            (result.response.status, result.response.body)
        };
        let at = |t: i64| {
            Message::default()
                .varint(1, 1)
                .varint(6, 1)
                .varint(15, t as u64)
        };
        assert_eq!(write(&[at(NOW)], &[]).0, 204);
        let text = |reason: &str| match version {
            Version::V1 => (400, format!("{reason}\n")),
            Version::V2 => (400, format!("{reason} for series {{__name__=\"m\"}}\n")),
        };
        let (duplicate, order) = ("duplicate sample for timestamp", "out of order sample");
        assert_eq!(write(&[], &[(NOW, 1.0)]), text(duplicate));
        assert_eq!(write(&[], &[(NOW - 1, 1.0)]), text(order));
        assert_eq!(write(&[at(NOW - 1)], &[]), text(order));
        assert_eq!(write(&[], &[(NOW + 10, 1.0)]).0, 204);
        assert_eq!(write(&[at(NOW + 10)], &[]), text(duplicate));
        let far = "out of bounds: timestamp is too far in the future";
        assert_eq!(write(&[at(NOW + 600_001)], &[]), text(far));
        // A series of histograms ends with a histogram, however its sender says that it has ended.
        assert_eq!(write(&[at(NOW + 20)], &[]).0, 204);
        let stale = f64::from_bits(STALE_NAN_BITS);
        assert_eq!(write(&[], &[(NOW + 30, stale)]).0, 204);
        assert_eq!(write(&[], &[(NOW + 30, stale)]).0, 204);
        let marker = at(NOW + 40).double(3, stale);
        assert_eq!(write(&[marker], &[]).0, 204);
        let found = shards.histograms("m").into_iter();
        let found: Vec<_> = found.map(|(t, h)| (t - NOW, h.is_stale())).collect();
        assert_eq!(found, [(0, false), (20, false), (30, true), (40, true)]);
        assert_eq!(shards.samples("m"), [(NOW + 10, 1.0)]);
    }
}

#[test]
fn damaged_histograms_are_answered_and_never_stored_wrong() {
    let shards = Shards::new(1, 100);
    let receiver = WriteReceiver::new(5);
    let mut seed = 77_u64;
    let messages: Vec<_> = flavours().into_iter().map(|(message, _)| message).collect();
    for round in 0..3000 {
        let original = &messages[round % messages.len()].0;
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut bytes = original.clone();
        let at = (seed >> 33) as usize % bytes.len();
        bytes[at] ^= 1 << (seed >> 60 & 7);
        bytes.truncate(bytes.len() - (seed >> 20) as usize % 3);
        for version in [Version::V1, Version::V2] {
            let body = histogram_body(version, &[Message(bytes.clone())], &[]);
            let status = receive(&receiver, &shards, version, &body).response.status;
            assert!(status == 204 || status == 400, "{status}");
        }
    }
    for (_, histogram) in shards.histograms("m") {
        assert_eq!(histogram.validate(), Ok(()));
    }
}
