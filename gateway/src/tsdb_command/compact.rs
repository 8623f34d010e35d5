//! `tsdb compact`: makes few large blocks of many, where no server runs.

use super::arguments::{duration_ms, path};
use super::source::{Damage, expect_directory, explain_lock};
use super::table::{base2_bytes, go_time};
use super::transfer::new_block_ids;
use super::{Failure, Output, remark};
use clap::ArgMatches;
use storage_engine::io::StandardDisk;
use storage_engine::maintenance::{MergeProgress, merge_offline};
use storage_engine::store::offline::{OfflineStore, OfflineTarget};

/// Merges, a remark for each new block.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let dir = path(matches, "db path");
    expect_directory(&dir)?;
    if !OfflineStore::is_store(&dir) {
        let text = format!("{} is not a data directory of ferula", dir.display());
        return Err(Failure::Text(text));
    }
    let width_ms = duration_ms(matches, "block-duration")?;
    if width_ms < 1 {
        return Err(Failure::Text(
            "--block-duration: must be longer than nothing".to_owned(),
        ));
    }
    // The directory is there, and keeps its number of shards.
    let target = OfflineTarget::open_or_create(&StandardDisk, &dir, 1).map_err(explain_lock)?;
    let mut damage = Damage::default();
    let (mut parents, mut blocks) = (0, 0);
    let (mut before, mut after) = (0, 0);
    merge_offline(
        &StandardDisk,
        &target,
        width_ms,
        &mut new_block_ids()?,
        &mut |event| match event {
            MergeProgress::Merged {
                parents: merged,
                bytes,
                meta,
            } => {
                remark(format!(
                    "{} {} {} of {merged} blocks: {} from {}",
                    meta.id,
                    go_time(meta.min_time),
                    go_time(meta.max_time),
                    base2_bytes(meta.bytes),
                    base2_bytes(bytes)
                ));
                parents += merged;
                blocks += 1;
                before += bytes;
                after += meta.bytes;
            }
            MergeProgress::Emptied { parents: merged } => parents += merged,
            MergeProgress::Damage(text) => damage.note(text),
            _ => {}
        },
    )?;
    let mut out = Output::new();
    out.line(format_args!(
        "{parents} blocks became {blocks}, {before} bytes became {after}"
    ))?;
    out.finish()?;
    damage.result()
}
