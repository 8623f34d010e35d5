//! A store keeps what it has answered: open, append, stop or drop, open again, on each executor that this machine has.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use ferula_storage_engine::model::{Labels, SampleColumns, SeriesRef};
use ferula_storage_engine::runtime::probe_ring;
use ferula_storage_engine::shard::ShardReader;
use ferula_storage_engine::shard_api::{
    AppendBatch, AppendError, AppendMode, ReadNotes, SampleSeries, ShardRunner, ShardTask,
    TaskState, TimeRange,
};
use ferula_storage_engine::store::{AckMode, OpenError, RuntimeChoice, Store, StoreOptions};
use std::io::Write;

use std::future::Future;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const ALL: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), future)
            .await
            .unwrap()
    })
}

fn runtimes() -> Vec<RuntimeChoice> {
    match probe_ring() {
        Ok(()) => vec![RuntimeChoice::Tokio, RuntimeChoice::Glommio],
        Err(reason) => {
            // Past the harness's capture, so that a skip is seen although the test passes.
            let _ = writeln!(std::io::stderr(), "SKIPPED for glommio: {reason}");
            vec![RuntimeChoice::Tokio]
        }
    }
}

fn options(dir: &tempfile::TempDir, runtime: RuntimeChoice, ack: AckMode) -> StoreOptions {
    StoreOptions {
        shard_count: Some(2),
        runtime,
        ack,
        wal_segment_bytes: 64 << 10,
        pin_threads: false,
        ..StoreOptions::new(dir.path())
    }
}

fn labels(i: u32) -> Labels {
    Labels::from_pairs([
        ("__name__", "requests_total".to_owned()),
        ("id", i.to_string()),
    ])
    .unwrap()
}

/// One batch for a shard that makes `series` series at time `t`.
fn first_batch(series: u32, t: i64) -> AppendBatch {
    let mut batch = AppendBatch::default();
    for i in 0..series {
        let entry = batch.new_series.push(labels(i).as_bytes());
        batch.series.push(SampleSeries::New(entry));
        batch.timestamps.push(t);
        batch.values.push(f64::from(i) + t as f64 / 1000.0);
    }
    batch
}

fn next_batch(refs: &[SeriesRef], t: i64) -> AppendBatch {
    let mut batch = AppendBatch::default();
    for (i, reference) in refs.iter().enumerate() {
        batch.series.push(SampleSeries::Known(*reference));
        batch.timestamps.push(t);
        batch.values.push(i as f64 + t as f64 / 1000.0);
    }
    batch
}

/// Reads everything out of a shard.
struct Dump(mpsc::Sender<Vec<(Labels, SampleColumns)>>);

impl ShardTask for Dump {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        let mut all = Vec::new();
        let selection = shard.select(&[], ALL);
        for series in 0..selection.len() {
            let mut columns = SampleColumns::default();
            let notes = &mut ReadNotes::default();
            shard.read(&selection, series, ALL, &mut columns, notes);
            all.push((shard.labels(&selection, series), columns));
        }
        all.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        self.0.send(all).unwrap();
        TaskState::Done
    }
}

fn dump(store: &Store, shard: usize) -> Vec<(Labels, SampleColumns)> {
    let (sender, receiver) = mpsc::channel();
    assert!(store.submit(shard, Box::new(Dump(sender))).is_ok());
    receiver.recv_timeout(Duration::from_secs(60)).unwrap()
}

#[test]
fn what_was_answered_is_there_after_reopening() {
    for runtime in runtimes() {
        for ack in [AckMode::Durable, AckMode::Fast] {
            println!("{runtime:?} {ack:?}");
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(options(&dir, runtime, ack)).unwrap();
            let refs = wait(async {
                store.wait_ready().await.unwrap();
                let outcome = store
                    .append(1, first_batch(300, 1_000), AppendMode::Partial)
                    .await;
                let outcome = outcome.unwrap();
                assert_eq!((outcome.accepted, outcome.series_added), (300, 300));
                let refs: Vec<_> = outcome.created.into_iter().flatten().collect();
                for step in 2..200 {
                    let batch = next_batch(&refs, step * 1_000);
                    let outcome = store.append(1, batch, AppendMode::Partial).await.unwrap();
                    assert_eq!(outcome.accepted, 300);
                }
                refs
            });
            let before = dump(&store, 1);
            assert_eq!(before.len(), 300);
            assert!(before.iter().all(|(_, columns)| columns.len() == 199));
            assert!(dump(&store, 0).is_empty());
            wait(store.shutdown());
            let late = wait(store.append(1, next_batch(&refs, 1), AppendMode::Partial));
            assert_eq!(late, Err(AppendError::Stopped));
            assert!(store.submit(0, Box::new(Dump(mpsc::channel().0))).is_err());
            drop(store);

            let other_count = StoreOptions {
                shard_count: Some(7),
                ..options(&dir, runtime, ack)
            };
            let store = Store::open(other_count).unwrap();
            assert_eq!(
                store.shard_count(),
                2,
                "the directory's number of shards stays"
            );
            wait(store.wait_ready()).unwrap();
            assert!(
                dump(&store, 1) == before,
                "replay brought back something else"
            );
            let progress = store.replay_progress();
            assert_eq!(progress.bytes_done, progress.bytes_total);
            assert_eq!(progress.shards_ready, 2);
            let outcome = wait(store.append(1, next_batch(&refs, 500_000), AppendMode::Partial));
            assert_eq!(
                outcome.unwrap().accepted,
                300,
                "references outlive the process"
            );
            drop(store);

            let store = Store::open(options(&dir, runtime, ack)).unwrap();
            wait(store.wait_ready()).unwrap();
            assert!(
                dump(&store, 1)
                    .iter()
                    .all(|(_, columns)| columns.len() == 200)
            );
        }
    }
}

#[test]
fn a_directory_has_one_owner_and_a_readable_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(options(&dir, RuntimeChoice::Tokio, AckMode::Durable));
    let store = open().unwrap();
    let error = open().err().unwrap();
    assert_eq!(
        error.to_string(),
        "lock DB directory: resource temporarily unavailable"
    );
    drop(store);
    let manifest = dir.path().join("ferula.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(
        &manifest,
        text.replace("\"format_version\": 1", "\"format_version\": 9"),
    )
    .unwrap();
    assert!(matches!(open().err(), Some(OpenError::Manifest { .. })));
    std::fs::write(&manifest, text).unwrap();
    wait(open().unwrap().wait_ready()).unwrap();
}

#[test]
fn many_senders_at_once_are_all_answered_or_refused() {
    for runtime in runtimes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(options(&dir, runtime, AckMode::Durable)).unwrap();
        let (mut answered, mut refused) = (0u64, 0u64);
        wait(async {
            // The shards may still be starting: what does not fit the mailbox must come back at once.
            let senders = (0..3_000).map(|i| {
                let mut batch = AppendBatch::default();
                let entry = batch.new_series.push(labels(i).as_bytes());
                batch.series.push(SampleSeries::New(entry));
                batch.timestamps.push(1);
                batch.values.push(1.0);
                store.append(0, batch, AppendMode::Partial)
            });
            for outcome in futures_util::future::join_all(senders).await {
                match outcome {
                    Ok(outcome) => answered += u64::from(outcome.accepted),
                    Err(AppendError::Overloaded) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        println!("{runtime:?}: {answered} answered, {refused} refused");
        assert_eq!(answered + refused, 3_000);
        assert!(answered >= 1_024, "a full mailbox was answered");
        let begun = Instant::now();
        while store.stats()[0].series != answered {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "numbers were not published"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(dump(&store, 0).len() as u64, answered);
    }
}

#[test]
fn routing_covers_all_shards_evenly() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir, RuntimeChoice::Tokio, AckMode::Fast)).unwrap();
    assert_eq!((store.shard_of(0), store.shard_of(u64::MAX)), (0, 1));
    assert_eq!(
        (
            store.shard_of(u64::MAX / 2),
            store.shard_of(u64::MAX / 2 + 1)
        ),
        (0, 1)
    );
    assert_eq!(store.runtime_name(), "tokio");
}
