//! Remote write into real shards: the wire, the identity table and the shard's own rules together, without threads,
//! disks or sockets. A log that always succeeds answers at once.

use ferula_ingest::append::AppendTarget;
use ferula_ingest::limits::REMOTE_WRITE_BODY_BYTES_MAX;
use ferula_ingest::remote_write::{RawRequest, Version, WriteReceiver, WriteResult};
use std::cell::RefCell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use storage_engine::model::{Matcher, SampleColumns};
use storage_engine::shard::{Action, Event, Shard, ShardConfig};
use storage_engine::shard_api::{AppendBatch, AppendError, AppendMode, AppendOutcome, TimeRange};

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
            for series in reader.select(&[Matcher::equal("__name__", name)], all) {
                let mut columns = SampleColumns::default();
                reader.read(series, all, &mut columns);
                found.extend(columns.timestamps.into_iter().zip(columns.values));
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
                            result: Ok(()),
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
fn series_beyond_the_limit_are_answered_503_and_known_ones_go_on() {
    for version in [Version::V1, Version::V2] {
        let shards = Shards::new(1, 5);
        let receiver = WriteReceiver::new(5);
        assert_eq!(
            send(&receiver, &shards, version, &[(NOW, 1.0); 5])
                .response
                .status,
            204
        );
        let result = send(&receiver, &shards, version, &[(NOW + 1, 1.0); 6]);
        assert_eq!(
            (result.response.status, result.response.body.as_str()),
            (503, "series limit of the shard reached\n")
        );
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
