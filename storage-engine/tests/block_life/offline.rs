//! A data directory read by tools gives what a server gives, and is afterwards as it was, down to the times of its files.

use crate::{ALL, Model, Value, key};
use ferula_storage_engine::block::BlockId;
use ferula_storage_engine::io::{ReadOnlyDisk, StandardDisk};
use ferula_storage_engine::model::{Labels, SeriesSamples};
use ferula_storage_engine::prometheus::{ExportProgress, ExportWish, PrometheusDirectory, export};
use ferula_storage_engine::shard_api::ReadNotes;
use ferula_storage_engine::store::offline::OfflineStore;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

type Files = BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)>;

/// Everything below a directory, with contents and times of change.
fn files(dir: &Path, all: &mut Files) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.metadata().unwrap();
        let content = match meta.is_dir() {
            true => {
                files(&path, all);
                None
            }
            false => Some(std::fs::read(&path).unwrap()),
        };
        all.insert(path, (content, meta.modified().unwrap()));
    }
}

fn put(model: &mut Model, labels: &Labels, samples: &SeriesSamples) {
    let floats = samples.floats.timestamps.iter().zip(&samples.floats.values);
    let floats = floats.map(|(t, v)| (*t, Value::Float(v.to_bits())));
    let histograms = samples.histograms.iter();
    let histograms = histograms.map(|(t, h)| (*t, Value::Histogram(h.count as u64)));
    let all: BTreeMap<i64, Value> = floats.chain(histograms).collect();
    if !all.is_empty() {
        assert!(model.insert(key(labels), all).is_none(), "a series twice");
    }
}

/// What a tool reads, and what it is told of damage.
pub(crate) fn read(dir: &Path) -> (Model, Vec<String>) {
    let mut before = Files::new();
    files(dir, &mut before);
    let store = OfflineStore::open(dir, &mut |_, _| ()).unwrap();
    let mut all = Model::new();
    let mut notes = ReadNotes::default();
    let found = store.select(&[Vec::new()], ALL, &mut notes);
    let mut samples = SeriesSamples::default();
    for (number, labels) in found.labels().enumerate() {
        found.read(number, ALL, &mut samples, &mut notes);
        put(&mut all, labels, &samples);
    }
    let mut damage = store.damage().to_vec();
    damage.extend(notes.damage);
    drop(store);
    let mut after = Files::new();
    files(dir, &mut after);
    assert!(before == after, "reading has changed the directory");
    (all, damage)
}

/// The directory holds the model, and all of it goes into blocks of Prometheus.
pub(crate) fn check(dir: &Path, model: &Model, when: &str) {
    let mut model = model.clone();
    model.retain(|_, samples| !samples.is_empty());
    let (found, damage) = read(dir);
    assert_eq!(damage, Vec::<String>::new(), "{when}");
    assert!(found == model, "{when}: {found:?} is not {model:?}");
    let store = OfflineStore::open(dir, &mut |_, _| ()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let wish = ExportWish {
        matchers: vec![Vec::new()],
        range: ALL,
        block_range_ms: 20_000,
    };
    let mut next = 0;
    let mut new_id = || {
        next += 1;
        BlockId(next)
    };
    let mut blocks = 0;
    let mut told = |event| match event {
        ExportProgress::Block(_) => blocks += 1,
        ExportProgress::Damage(text) => panic!("{text}"),
    };
    export(
        &store,
        &StandardDisk,
        out.path(),
        &wish,
        &mut new_id,
        &mut told,
    )
    .unwrap();
    assert!(blocks > 1, "{when}");
    let damaged = &mut |text| panic!("{text}");
    let exported = PrometheusDirectory::open(&ReadOnlyDisk, out.path(), damaged).unwrap();
    let mut all = Model::new();
    let mut samples = SeriesSamples::default();
    for series in exported.series(&[Vec::new()], ALL, damaged) {
        exported.read(&series, ALL, &mut samples, damaged);
        put(&mut all, &series.labels, &samples);
    }
    assert!(all == model, "{when}: exported");
}
