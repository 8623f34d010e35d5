//! `tsdb export-prometheus-block` and `tsdb import`: between this program's data directories and Prometheus's.

use super::arguments::{duration_ms, matchers, number, path, range, text};
use super::source::{Damage, expect_directory, explain_lock};
use super::table::{base2_bytes, go_time};
use super::{Failure, Output, remark};
use clap::ArgMatches;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use storage_engine::block::BlockId;
use storage_engine::io::{ReadOnlyDisk, StandardDisk, random_bytes};
use storage_engine::prometheus::{
    ExportProgress, ExportWish, ImportProgress, PrometheusDirectory, export as export_blocks,
    import as import_blocks,
};
use storage_engine::store::offline::{OfflineStore, OfflineTarget};

/// Time between two remarks on how far a block is.
const REMARK_INTERVAL: Duration = Duration::from_secs(2);

/// Writes blocks for Prometheus; a line for each.
pub(super) fn export(matches: &ArgMatches) -> Result<(), Failure> {
    let wish = ExportWish {
        matchers: matchers(matches)?,
        range: range(matches)?,
        block_range_ms: duration_ms(matches, "block-duration")?,
    };
    let mut damage = Damage::default();
    let dir = path(matches, "db path");
    expect_directory(&dir)?;
    if !OfflineStore::is_store(&dir) {
        let text = format!("{} is not a data directory of ferula", dir.display());
        return Err(Failure::Text(text));
    }
    let store = match text(matches, "block") {
        None => OfflineStore::open(&dir, &mut |done, of| {
            remark(format!("read shard {done} of {of}"));
        })
        .map_err(explain_lock)?,
        Some(id) => OfflineStore::open_block(&dir, id.parse()?)?,
    };
    damage.note_all(&store);
    let target = path(matches, "output directory");
    std::fs::create_dir_all(&target)
        .map_err(|e| Failure::Text(format!("{}: {e}", target.display())))?;
    let mut out = Output::new();
    let mut written = Ok(());
    let (mut blocks, mut samples) = (0_u64, 0_u64);
    let mut new_id = new_block_ids()?;
    export_blocks(
        &store,
        &StandardDisk,
        &target,
        &wish,
        &mut new_id,
        &mut |event| match event {
            ExportProgress::Block(meta) => {
                blocks += 1;
                samples += meta.stats.num_samples;
                let line = format!(
                    "{} {} {} series {} samples {} chunks {}",
                    meta.ulid,
                    go_time(meta.min_time),
                    go_time(meta.max_time),
                    meta.stats.num_series,
                    meta.stats.num_samples,
                    meta.stats.num_chunks
                );
                if written.is_ok() {
                    written = out.line(line);
                }
            }
            ExportProgress::Damage(text) => damage.note(text),
        },
    )?;
    written?;
    out.line(format_args!(
        "{blocks} blocks, {samples} samples in {}",
        target.display()
    ))?;
    out.finish()?;
    damage.result()
}

/// Names of new blocks, ascending.
pub(super) fn new_block_ids() -> Result<impl FnMut() -> BlockId, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut next = BlockId::new(now.as_millis() as u64, random_bytes()?);
    Ok(move || {
        let id = next;
        next = BlockId(id.0.wrapping_add(1));
        id
    })
}

/// Brings Prometheus's data in.
pub(super) fn import(matches: &ArgMatches) -> Result<(), Failure> {
    let mut damage = Damage::default();
    let shards = match number(matches, "shards")? {
        Some(shards) => shards,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let mut note = |text| damage.note(text);
    let source = path(matches, "prometheus path");
    expect_directory(&source)?;
    let from = PrometheusDirectory::open(&ReadOnlyDisk, &source, &mut note)?;
    let dir = path(matches, "db path");
    let target =
        OfflineTarget::open_or_create(&StandardDisk, &dir, shards).map_err(explain_lock)?;
    let mut last_remark = Instant::now();
    let report = import_blocks(&from, &target, &StandardDisk, &mut |event| match event {
        ImportProgress::Begin {
            source,
            sources,
            number,
        } => remark(format!("{number} of {sources}: {source}")),
        ImportProgress::Series { done, of } => {
            if last_remark.elapsed() >= REMARK_INTERVAL {
                last_remark = Instant::now();
                remark(format!("  {done} of {of} series"));
            }
        }
        ImportProgress::Skipped => remark("  is there already"),
        ImportProgress::Done { samples, bytes } => {
            remark(format!("  {samples} samples, {}", base2_bytes(bytes)));
        }
        ImportProgress::Damage(text) => damage.note(text),
    })?;
    let mut out = Output::new();
    out.line(format_args!(
        "imported {} and skipped {} of {}: {} samples of {} series in {} blocks of {} shards, {} bytes",
        report.imported,
        report.skipped,
        report.imported + report.skipped,
        report.samples,
        report.series,
        report.blocks,
        target.shard_count(),
        report.bytes
    ))?;
    out.finish()?;
    damage.result()
}
