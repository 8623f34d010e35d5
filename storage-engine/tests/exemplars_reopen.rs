//! Exemplars go through a running store: appended, refused one by one, read, there again after a restart, resized.
#![allow(clippy::unwrap_used, reason = "a test")]

use ferula_storage_engine::model::{Exemplar, Labels, Matcher};
use ferula_storage_engine::shard::ShardReader;
use ferula_storage_engine::shard_api::{
    AppendBatch, AppendMode, ExemplarRefusal, ExemplarSample, SampleSeries, SeriesExemplars,
    ShardRunner, ShardTask, TaskState, TimeRange,
};
use ferula_storage_engine::store::{RuntimeChoice, Store, StoreOptions};
use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;

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

fn open(dir: &tempfile::TempDir, exemplars_max: usize) -> Store {
    let store = Store::open(StoreOptions {
        shard_count: Some(1),
        runtime: RuntimeChoice::Tokio,
        pin_threads: false,
        exemplars_max,
        ..StoreOptions::new(dir.path())
    });
    let store = store.unwrap();
    wait(store.wait_ready()).unwrap();
    store
}

fn exemplar(timestamp: i64, trace: &str) -> Exemplar {
    Exemplar {
        labels: Labels::from_pairs([("trace_id", trace)]).unwrap(),
        value: timestamp as f64 / 8.0,
        timestamp,
        timed: true,
    }
}

/// A batch of one series with a sample at `t`, if there is one, and exemplars.
fn batch(name: &str, sample: Option<i64>, exemplars: &[Exemplar]) -> AppendBatch {
    let mut batch = AppendBatch::default();
    let labels = Labels::from_pairs([("__name__", name)]).unwrap();
    let series = SampleSeries::New(batch.new_series.push(labels.as_bytes()));
    if let Some(t) = sample {
        batch.series.push(series);
        batch.timestamps.push(t);
        batch.values.push(1.0);
    }
    let exemplars = exemplars.iter().cloned();
    batch.exemplars = exemplars
        .map(|exemplar| ExemplarSample { series, exemplar })
        .collect();
    batch
}

struct Look(mpsc::Sender<Vec<SeriesExemplars>>);

impl ShardTask for Look {
    fn slice(&mut self, shard: &ShardReader<'_>) -> TaskState {
        let mut all = Vec::new();
        let range = TimeRange {
            min: i64::MIN,
            max: i64::MAX,
        };
        let selectors = [Vec::<Matcher>::new()];
        let next = shard.read_exemplars(&selectors, range, (0, 1000), &mut all);
        assert_eq!(next, None);
        self.0.send(all).unwrap();
        TaskState::Done
    }
}

fn held(store: &Store) -> Vec<(String, Vec<Exemplar>)> {
    let (sender, receiver) = mpsc::channel();
    assert!(store.submit(0, Box::new(Look(sender))).is_ok());
    let all = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    let mut all: Vec<_> = all
        .into_iter()
        .map(|s| (s.labels.metric_name().unwrap().to_owned(), s.exemplars))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn exemplars_survive_a_restart_and_are_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, 4);
    let append = |store: &Store, mut batch: AppendBatch, max: Option<i64>| {
        batch.timestamp_max = max;
        wait(store.append(0, batch, AppendMode::Partial)).unwrap()
    };
    let first = [
        exemplar(1000, "a"),
        exemplar(500, "late"),
        exemplar(1100, "b"),
    ];
    let outcome = append(&store, batch("m", Some(1000), &first), None);
    assert_eq!(outcome.accepted, 1);
    // Two of one batch against each other: the second is left out without a word.
    assert_eq!(outcome.exemplar_refusals, []);
    let outcome = append(&store, batch("m", Some(1000), &first[1..2]), None);
    assert_eq!(
        outcome.exemplar_refusals,
        [(0, ExemplarRefusal::OutOfOrder)]
    );
    // Without a sample no series comes to be, and so no exemplar either.
    let outcome = append(&store, batch("n", None, &[exemplar(1000, "c")]), None);
    assert_eq!(outcome.series_added, 0);
    assert_eq!(
        outcome.exemplar_refusals,
        [(0, ExemplarRefusal::UnknownSeries)]
    );
    let ahead = [exemplar(2000, "x"), exemplar(1500, "d")];
    let outcome = append(&store, batch("o", Some(1500), &ahead), Some(1600));
    assert_eq!(
        outcome.exemplar_refusals,
        [(0, ExemplarRefusal::TooFarAhead)]
    );
    let expected = vec![
        (
            "m".to_owned(),
            vec![exemplar(1000, "a"), exemplar(1100, "b")],
        ),
        ("o".to_owned(), vec![exemplar(1500, "d")]),
    ];
    assert_eq!(held(&store), expected);
    wait(store.shutdown());
    drop(store);

    let store = open(&dir, 4);
    assert_eq!(held(&store), expected);
    let stats = store.stats();
    assert_eq!((stats[0].exemplars, stats[0].exemplar_series), (3, 2));
    assert_eq!(stats[0].exemplar_oldest, Some(1000));
    // What is sent again is stored already.
    let outcome = append(&store, batch("o", Some(1500), &[exemplar(1500, "d")]), None);
    assert!(outcome.exemplar_refusals.is_empty());
    assert_eq!(held(&store), expected);
    wait(store.resize_exemplars(1)).unwrap();
    assert_eq!(held(&store), expected[1..]);
    wait(store.resize_exemplars(0)).unwrap();
    let outcome = append(&store, batch("o", Some(1600), &first), None);
    assert!(outcome.exemplar_refusals.is_empty());
    assert_eq!(held(&store), []);
    wait(store.shutdown());
    drop(store);

    let store = open(&dir, 0);
    assert_eq!(held(&store), []);
    wait(store.shutdown());
}
