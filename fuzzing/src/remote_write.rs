//! Remote write bodies, 1.0 and 2.0: what is decoded is well-formed, and a second look at the same body says the same.

use ingest::remote_write::{Router, Version, WriteRequest, WriteSession};
use storage_engine::model::Labels;
use storage_engine::shard_api::SampleSeries;

const SHARDS: usize = 3;

/// A decompressed body; the first byte chooses the version.
pub fn body(data: &[u8]) {
    let Some((mode, body)) = data.split_first() else {
        return;
    };
    let version = match mode % 2 {
        0 => Version::V1,
        _ => Version::V2,
    };
    let prepare = || {
        let request = WriteRequest {
            version,
            body,
            now: 1_700_000_000_000,
        };
        let router = Router {
            shard_count: SHARDS,
            shard_of: |hash| (hash % SHARDS as u64) as usize,
        };
        WriteSession::new(1).prepare(request, router)
    };
    let Ok(prepared) = prepare() else {
        return;
    };
    let mut samples = 0;
    for (shard, batch) in prepared.batches() {
        assert!(shard < SHARDS);
        assert_eq!(batch.series.len(), batch.timestamps.len());
        assert_eq!(batch.series.len(), batch.values.len());
        for index in 0..batch.new_series.len() {
            let bytes = batch.new_series.get(index).expect("a set for each end");
            Labels::check_canonical(bytes).expect("canonical labels");
        }
        let of_histograms = batch.histograms.iter().map(|sample| sample.series);
        for series in batch.series.iter().copied().chain(of_histograms) {
            let SampleSeries::New(index) = series else {
                panic!("a new session knows {series:?}");
            };
            assert!((index as usize) < batch.new_series.len());
        }
        for sample in &batch.histograms {
            sample.histogram.validate().expect("a valid histogram");
        }
        samples += batch.series.len() as u64;
    }
    let counts = prepared.counts();
    assert!(samples <= counts.samples, "{samples} of {counts:?}");
    // A sample takes more than one byte.
    assert!(
        counts.samples + counts.histograms <= body.len() as u64,
        "{counts:?}"
    );
    let again = prepare().expect("what was read can be read again");
    assert_eq!(again.counts(), counts);
}
