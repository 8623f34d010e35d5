//! `tsdb verify`: reads everything that is stored and checks it.

use super::arguments::path;
use super::source::{Damage, Source, expect_directory};
use super::{Failure, Output};
use clap::ArgMatches;
use storage_engine::shard_api::TimeRange;
use storage_engine::store::offline::{OfflineBlock, OfflineStore, offline_blocks};

const ALL_TIME: TimeRange = TimeRange {
    min: i64::MIN,
    max: i64::MAX,
};

/// Says what was checked, and what is damaged.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let dir = path(matches, "db path");
    let mut damage = Damage::default();
    let mut out = Output::new();
    expect_directory(&dir)?;
    if OfflineStore::is_store(&dir) {
        let mut unopened = 0;
        let blocks = offline_blocks(&dir, &mut |text| {
            unopened += 1;
            damage.note(text);
        })?;
        let (mut sound, mut bytes) = (0, 0);
        for OfflineBlock { block, .. } in &blocks {
            match block.verify() {
                Ok(()) => {
                    sound += 1;
                    bytes += block.meta().bytes;
                }
                Err(error) => damage.note(error.to_string()),
            }
        }
        out.line(format_args!(
            "{sound} of {} blocks are sound, {bytes} bytes",
            blocks.len() + unopened
        ))?;
    }
    let source = Source::open(&dir, &mut damage)?;
    let (mut series, mut samples) = (0_u64, 0_u64);
    // No matcher at all: every series.
    source.visit(&[Vec::new()], ALL_TIME, &mut damage, &mut |_, read| {
        series += 1;
        samples += read.len() as u64;
        Ok(())
    })?;
    out.line(format_args!("{series} series, {samples} samples read"))?;
    out.finish()?;
    damage.result()
}
