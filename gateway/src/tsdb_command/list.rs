//! `tsdb list`: one line for each block.

use super::arguments::path;
use super::source::{Damage, expect_directory};
use super::table::{base2_bytes, columns, go_duration, go_time};
use super::{Failure, Output};
use clap::ArgMatches;
use storage_engine::io::ReadOnlyDisk;
use storage_engine::prometheus::PrometheusDirectory;
use storage_engine::store::offline::{OfflineBlock, OfflineStore, offline_blocks};

struct Row {
    id: String,
    min_time: i64,
    /// Behind the newest sample.
    max_time: i64,
    samples: u64,
    chunks: u64,
    series: u64,
    bytes: u64,
    shard: Option<usize>,
}

/// Prints the list. The data directory may be in use.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let dir = path(matches, "db path");
    let mut damage = Damage::default();
    let mut rows = Vec::new();
    expect_directory(&dir)?;
    if OfflineStore::is_store(&dir) {
        let blocks = offline_blocks(&dir, &mut |text| damage.note(text))?;
        rows.extend(blocks.iter().map(ferula_row));
    } else {
        let mut note = |text| damage.note(text);
        for block in PrometheusDirectory::read_blocks(&ReadOnlyDisk, &dir, &mut note)? {
            let meta = block.meta();
            rows.push(Row {
                id: meta.ulid.clone(),
                min_time: meta.min_time,
                max_time: meta.max_time,
                samples: meta.stats.num_samples,
                chunks: meta.stats.num_chunks,
                series: meta.stats.num_series,
                bytes: block.bytes(),
                shard: None,
            });
        }
    }
    rows.sort_by(|a, b| (a.min_time, a.shard, &a.id).cmp(&(b.min_time, b.shard, &b.id)));
    print(&rows, matches.get_flag("human-readable"))?;
    damage.result()
}

fn ferula_row(OfflineBlock { block, shard }: &OfflineBlock) -> Row {
    let meta = block.meta();
    let pages = (0..meta.series).map(|ordinal| block.page_stats(ordinal).count() as u64);
    Row {
        id: meta.id.to_string(),
        min_time: meta.min_time,
        max_time: meta.max_time.saturating_add(1),
        samples: meta.float_samples + meta.histogram_samples,
        chunks: pages.sum(),
        series: u64::from(meta.series),
        bytes: meta.bytes,
        shard: Some(*shard),
    }
}

fn print(rows: &[Row], human: bool) -> Result<(), Failure> {
    let mut table = vec![
        [
            "BLOCK ULID",
            "MIN TIME",
            "MAX TIME",
            "DURATION",
            "NUM SAMPLES",
            "NUM CHUNKS",
            "NUM SERIES",
            "SIZE",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    if rows.iter().any(|row| row.shard.is_some()) {
        table[0].push("SHARD".to_owned());
    }
    let time = |ms: i64| if human { go_time(ms) } else { ms.to_string() };
    for row in rows {
        let mut cells = vec![
            row.id.clone(),
            time(row.min_time),
            time(row.max_time),
            go_duration(row.max_time - row.min_time),
            row.samples.to_string(),
            row.chunks.to_string(),
            row.series.to_string(),
            match human {
                true => base2_bytes(row.bytes),
                false => row.bytes.to_string(),
            },
        ];
        cells.extend(row.shard.map(|shard| shard.to_string()));
        table.push(cells);
    }
    let mut out = Output::new();
    for line in columns(&table) {
        out.line(line)?;
    }
    out.finish()
}
