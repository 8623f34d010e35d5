//! Load on a store without a network: batches of known series, a window of them in flight for each shard.
//!
//! Prints batches and samples per second and the CPU time of the store's own threads for each batch:
//! `cargo run --release -p ferula-storage-engine --example append_load -- <tokio|glommio> <durable|fast> <seconds> <directory>`.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use ferula_storage_engine::model::{Labels, SeriesRef};
use ferula_storage_engine::shard_api::{AppendBatch, AppendMode, SampleSeries};
use ferula_storage_engine::store::{AckMode, RuntimeChoice, Store, StoreOptions};
use std::cell::Cell;
use std::error::Error;
use std::time::{Duration, Instant};

const SHARDS: usize = 2;
const WINDOW: usize = 8;
const BATCH_SAMPLES: u32 = 2_000;

/// CPU time of the process or of this thread.
fn cpu_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec to the pointer, which lives on our stack.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// One sender: its own series, one batch in flight, until the deadline.
async fn send(
    store: &Store,
    shard: usize,
    sender: usize,
    deadline: Instant,
    batches: &Cell<u64>,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut batch = AppendBatch::default();
    for series in 0..BATCH_SAMPLES {
        let labels = Labels::from_pairs([
            ("__name__", "node_cpu_seconds_total".to_owned()),
            ("instance", format!("host-{sender}:9100")),
            ("cpu", series.to_string()),
        ])?;
        batch
            .series
            .push(SampleSeries::New(batch.new_series.push(labels.as_bytes())));
        batch.timestamps.push(1_700_000_000_000);
        batch.values.push(0.0);
    }
    let created = store
        .append(shard, batch, AppendMode::Partial)
        .await?
        .created;
    let refs: Vec<SeriesRef> = created.into_iter().flatten().collect();
    let mut latencies = Vec::new();
    let mut step = 1;
    while Instant::now() < deadline {
        let values = (0..refs.len()).map(|i| (step * (i as i64 % 97)) as f64);
        let batch = AppendBatch {
            series: refs.iter().copied().map(SampleSeries::Known).collect(),
            timestamps: vec![1_700_000_000_000 + step * 1_000; refs.len()],
            values: values.collect(),
            ..AppendBatch::default()
        };
        let begun = Instant::now();
        store.append(shard, batch, AppendMode::Partial).await?;
        latencies.push(begun.elapsed().as_secs_f64() * 1e6);
        batches.set(batches.get() + 1);
        step += 1;
    }
    Ok(latencies)
}

async fn load(options: StoreOptions, seconds: f64) -> Result<(), Box<dyn Error>> {
    let store = Store::open(options)?;
    store.wait_ready().await?;
    let (process, own) = (
        libc::CLOCK_PROCESS_CPUTIME_ID,
        libc::CLOCK_THREAD_CPUTIME_ID,
    );
    let batches = Cell::new(0);
    let begun = Instant::now();
    let before = cpu_time(process) - cpu_time(own);
    let deadline = begun + Duration::from_secs_f64(seconds);
    let senders = (0..SHARDS * WINDOW)
        .map(|sender| send(&store, sender % SHARDS, sender, deadline, &batches));
    let mut latencies: Vec<f64> = futures_util::future::try_join_all(senders).await?.concat();
    let cpu = cpu_time(process) - cpu_time(own) - before;
    let elapsed = begun.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    let percentile = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        latencies.get(index).copied().unwrap_or(f64::NAN)
    };
    let stats = store.stats();
    let commits: u64 = stats.iter().map(|stats| stats.commits).sum();
    let logged: u64 = stats.iter().map(|stats| stats.logged_bytes).sum();
    let stored: u64 = stats.iter().map(|stats| stats.samples_stored).sum();
    println!(
        "{}: {:.0} batches/s, {:.2} M samples/s, {:.1} us CPU/batch, p50 {:.0} us, p99 {:.0} us, {:.2} batches/commit, {:.2} B/sample logged",
        store.runtime_name(),
        batches.get() as f64 / elapsed,
        batches.get() as f64 * f64::from(BATCH_SAMPLES) / elapsed / 1e6,
        cpu.as_secs_f64() * 1e6 / batches.get() as f64,
        percentile(0.5),
        percentile(0.99),
        batches.get() as f64 / commits as f64,
        logged as f64 / stored as f64,
    );
    store.shutdown().await;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, runtime, ack, seconds, path] = arguments.as_slice() else {
        return Err(
            "usage: append_load <tokio|glommio> <durable|fast> <seconds> <directory>".into(),
        );
    };
    let options = StoreOptions {
        shard_count: Some(SHARDS),
        runtime: match runtime.as_str() {
            "glommio" => RuntimeChoice::Glommio,
            _ => RuntimeChoice::Tokio,
        },
        ack: match ack.as_str() {
            "fast" => AckMode::Fast,
            _ => AckMode::Durable,
        },
        ..StoreOptions::new(path)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(load(options, seconds.parse()?))
}
