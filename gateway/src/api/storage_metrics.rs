//! The storage's own metrics: head, log, blocks and their maintenance, under Prometheus's names.

use crate::self_metrics::Exposition;
use storage_engine::maintenance::{
    DURATION_BOUNDS, Durations, MaintenanceStats, RetentionSettings,
};
use storage_engine::shard::ShardStats;
use storage_engine::store::{StartDamage, Store};

/// All of them.
pub(super) fn write(page: &mut Exposition, store: &Store) {
    let shards = store.stats();
    let maintenance = store.maintenance_stats();
    write_head(page, &shards, maintenance.oldest);
    write_blocks(page, &maintenance);
    write_retention(page, &maintenance, store.retention());
    write_shards(page, &shards);
    write_damage(page, store.start_damage());
}

fn write_damage(page: &mut Exposition, damage: StartDamage) {
    page.one_counter(
        "prometheus_tsdb_wal_corruptions_total",
        "Total number of WAL corruptions.",
        damage.records_lost as f64,
    );
    page.one_counter(
        "prometheus_tsdb_mmap_chunk_corruptions_total",
        "Total number of memory-mapped chunk corruptions.",
        damage.pages as f64,
    );
    page.one_counter(
        "ferula_tsdb_wal_segments_set_aside_total",
        "Segments of the write-ahead log without a usable record that this start has set aside (*.cut).",
        damage.segments_set_aside as f64,
    );
    page.one_counter(
        "ferula_tsdb_checkpoints_damaged_total",
        "Checkpoints that this start has found damaged.",
        damage.checkpoints as f64,
    );
    page.one_counter(
        "ferula_tsdb_checkpoint_series_lost_total",
        "Series that this start has lost with damaged checkpoints.",
        damage.series_lost as f64,
    );
}

fn write_head(page: &mut Exposition, stats: &[ShardStats], oldest_in_blocks: Option<i64>) {
    let sum = |field: fn(&ShardStats) -> u64| stats.iter().map(field).sum::<u64>() as f64;
    page.one_gauge(
        "prometheus_tsdb_head_series",
        "Total number of series in the head block.",
        sum(|s| s.series),
    );
    page.one_counter(
        "prometheus_tsdb_head_series_created_total",
        "Total number of series created in the head",
        sum(|s| s.series_created),
    );
    page.one_counter(
        "prometheus_tsdb_head_series_removed_total",
        "Total number of series removed in the head",
        sum(|s| s.series_removed),
    );
    page.one_gauge(
        "prometheus_tsdb_head_chunks",
        "Total number of chunks in the head block.",
        sum(|s| s.chunks),
    );
    page.counter(
        "prometheus_tsdb_head_samples_appended_total",
        "Total number of appended samples.",
    )
    .sample(&[("type", "float")], sum(|s| s.samples_stored));
    page.counter(
        "prometheus_tsdb_out_of_order_samples_total",
        "Total number of out of order samples ingestion failed attempts due to out of order being disabled.",
    )
    .sample(&[("type", "float")], sum(|s| s.rejected_out_of_order));
    page.counter(
        "prometheus_tsdb_out_of_bound_samples_total",
        "Total number of out of bound samples ingestion failed attempts with out of order support disabled.",
    )
    .sample(&[("type", "float")], sum(|s| s.rejected_out_of_bounds));
    page.counter(
        "prometheus_tsdb_head_out_of_order_samples_appended_total",
        "Total number of appended out of order samples.",
    )
    .sample(&[("type", "float")], sum(|s| s.out_of_order_stored))
    .sample(
        &[("type", "histogram")],
        sum(|s| s.out_of_order_histograms_stored),
    );
    page.counter(
        "prometheus_tsdb_too_old_samples_total",
        "Total number of out of order samples ingestion failed attempts with out of support enabled, but sample outside of time window.",
    )
    .sample(&[("type", "float")], sum(|s| s.rejected_too_old));
    page.counter(
        "ferula_samples_rejected_total",
        "Samples that the shards refused, by reason.",
    );
    for (reason, samples) in [
        ("out_of_order", sum(|s| s.rejected_out_of_order)),
        ("duplicate_timestamp", sum(|s| s.rejected_duplicate)),
        ("out_of_bounds", sum(|s| s.rejected_out_of_bounds)),
        ("too_old", sum(|s| s.rejected_too_old)),
        ("unknown_series", sum(|s| s.rejected_unknown_series)),
        ("series_limit", sum(|s| s.rejected_series_limit)),
        ("new_series_limit", sum(|s| s.rejected_new_series_limit)),
        ("label_limit", sum(|s| s.rejected_label_limit)),
        ("invalid_labels", sum(|s| s.rejected_invalid_labels)),
        ("invalid_histogram", sum(|s| s.rejected_invalid_histogram)),
    ] {
        page.sample(&[("reason", reason)], samples);
    }
    // Without a sample Prometheus shows the ends of its range of times.
    let head_min = stats.iter().filter_map(|s| s.time_min).min();
    let min = head_min.unwrap_or(i64::MAX) as f64;
    let max = stats.iter().filter_map(|s| s.time_max).max();
    let max = max.unwrap_or(i64::MIN) as f64;
    let lowest = head_min.into_iter().chain(oldest_in_blocks).min();
    let lowest = lowest.unwrap_or(i64::MAX) as f64;
    for (name, help, value) in [
        (
            "prometheus_tsdb_head_min_time",
            "Minimum time bound of the head block. The unit is decided by the library consumer.",
            min,
        ),
        (
            "prometheus_tsdb_head_min_time_seconds",
            "Minimum time bound of the head block.",
            min / 1000.0,
        ),
        (
            "prometheus_tsdb_head_max_time",
            "Maximum timestamp of the head block. The unit is decided by the library consumer.",
            max,
        ),
        (
            "prometheus_tsdb_head_max_time_seconds",
            "Maximum timestamp of the head block.",
            max / 1000.0,
        ),
        (
            "prometheus_tsdb_lowest_timestamp",
            "Lowest timestamp value stored in the database. The unit is decided by the library consumer.",
            lowest,
        ),
        (
            "prometheus_tsdb_lowest_timestamp_seconds",
            "Lowest timestamp value stored in the database.",
            lowest / 1000.0,
        ),
    ] {
        page.one_gauge(name, help, value);
    }
    write_exemplars(page, stats);
}

fn write_blocks(page: &mut Exposition, stats: &MaintenanceStats) {
    for (name, help, value) in [
        (
            "prometheus_tsdb_blocks_loaded",
            "Number of currently loaded data blocks",
            stats.blocks,
        ),
        (
            "prometheus_tsdb_storage_blocks_bytes",
            "The number of bytes that are currently used for local storage by all blocks.",
            stats.block_bytes,
        ),
        (
            "prometheus_tsdb_wal_storage_size_bytes",
            "Size of the write log directory.",
            stats.log_bytes,
        ),
        (
            "ferula_blocks_quarantined",
            "Blocks, or deletions of blocks, that are damaged and were put aside.",
            stats.quarantined,
        ),
    ] {
        page.one_gauge(name, help, value as f64);
    }
    for (name, help, value) in [
        (
            "prometheus_tsdb_compactions_triggered_total",
            "Total number of triggered compactions for the partition.",
            stats.compactions_triggered,
        ),
        (
            "prometheus_tsdb_compactions_total",
            "Total number of compactions that were executed for the partition.",
            stats.compactions,
        ),
        (
            "prometheus_tsdb_compactions_failed_total",
            "Total number of compactions that failed for the partition.",
            stats.compactions_failed,
        ),
        (
            "prometheus_tsdb_vertical_compactions_total",
            "Total number of compactions done on overlapping blocks.",
            stats.vertical_compactions,
        ),
        (
            "prometheus_tsdb_head_truncations_total",
            "Total number of head truncations attempted.",
            stats.head_truncations,
        ),
        (
            "prometheus_tsdb_checkpoint_creations_total",
            "Total number of checkpoint creations attempted.",
            stats.checkpoints + stats.checkpoints_failed,
        ),
        (
            "prometheus_tsdb_checkpoint_creations_failed_total",
            "Total number of checkpoint creations that failed.",
            stats.checkpoints_failed,
        ),
    ] {
        page.one_counter(name, help, value as f64);
    }
    durations(
        page,
        "prometheus_tsdb_compaction_duration_seconds",
        "Duration of compaction runs",
        &stats.compaction_durations,
    );
    durations(
        page,
        "prometheus_tsdb_tombstone_cleanup_seconds",
        "The time taken to recompact blocks to remove tombstones.",
        &stats.tombstone_cleanups,
    );
}

fn durations(page: &mut Exposition, name: &'static str, help: &str, of: &Durations) {
    let buckets = DURATION_BOUNDS
        .iter()
        .copied()
        .zip(of.below.iter().copied());
    page.histogram(name, help, buckets, of.sum_seconds, of.count);
}

fn write_retention(page: &mut Exposition, stats: &MaintenanceStats, kept: RetentionSettings) {
    page.one_counter(
        "prometheus_tsdb_time_retentions_total",
        "The number of times that blocks were deleted because the maximum time limit was exceeded.",
        stats.time_retentions as f64,
    );
    page.one_counter(
        "prometheus_tsdb_size_retentions_total",
        "The number of times that blocks were deleted because the maximum number of bytes was exceeded.",
        stats.size_retentions as f64,
    );
    page.one_gauge(
        "prometheus_tsdb_retention_limit_bytes",
        "Max number of bytes to be retained in the tsdb blocks, configured 0 means disabled",
        kept.size_bytes.unwrap_or(0) as f64,
    );
    page.one_gauge(
        "prometheus_tsdb_retention_limit_percentage",
        "Max percentage of the disk to be retained in the tsdb blocks, configured 0 means disabled",
        kept.size_percent.unwrap_or(0.0),
    );
    page.one_gauge(
        "prometheus_tsdb_retention_limit_seconds",
        "How long to retain samples in storage.",
        kept.time_ms.unwrap_or(0) as f64 / 1000.0,
    );
    page.one_gauge(
        "ferula_retention_clock_held",
        "Whether retention stands still because the clock has jumped.",
        f64::from(u8::from(stats.retention_held)),
    );
}

fn write_shards(page: &mut Exposition, stats: &[ShardStats]) {
    let sum = |field: fn(&ShardStats) -> u64| stats.iter().map(field).sum::<u64>() as f64;
    page.counter(
        "ferula_shard_samples_stored_total",
        "Samples stored by each shard.",
    );
    for (i, s) in stats.iter().enumerate() {
        page.sample(&[("shard", &i.to_string())], s.samples_stored as f64);
    }
    page.counter(
        "ferula_wal_commits_total",
        "Commits each shard's log has taken.",
    );
    for (i, s) in stats.iter().enumerate() {
        page.sample(&[("shard", &i.to_string())], s.commits as f64);
    }
    page.counter(
        "ferula_wal_bytes_total",
        "Bytes each shard's log has taken.",
    );
    for (i, s) in stats.iter().enumerate() {
        page.sample(&[("shard", &i.to_string())], s.logged_bytes as f64);
    }
    page.gauge(
        "ferula_memory_bytes",
        "Memory of the shards by what it holds.",
    );
    for (part, bytes) in [
        ("labels", sum(|s| s.label_bytes)),
        ("postings", sum(|s| s.postings_bytes)),
        ("series", sum(|s| s.series_bytes)),
        ("open_chunks", sum(|s| s.open_chunk_bytes)),
        ("sealed_chunks", sum(|s| s.sealed_chunk_bytes)),
        ("mapped_chunks", sum(|s| s.mapped_chunk_bytes)),
        ("histograms", sum(|s| s.histogram_bytes)),
        ("out_of_order", sum(|s| s.out_of_order_bytes)),
        ("tombstones", sum(|s| s.tombstone_bytes)),
        ("exemplars", sum(|s| s.exemplar_bytes)),
        ("starts", sum(|s| s.start_bytes)),
    ] {
        page.sample(&[("part", part)], bytes);
    }
}

fn write_exemplars(page: &mut Exposition, stats: &[ShardStats]) {
    let sum = |field: fn(&ShardStats) -> u64| stats.iter().map(field).sum::<u64>() as f64;
    page.one_counter(
        "prometheus_tsdb_exemplar_exemplars_appended_total",
        "Total number of appended exemplars.",
        sum(|s| s.exemplars_stored),
    );
    page.one_gauge(
        "prometheus_tsdb_exemplar_exemplars_in_storage",
        "Number of exemplars currently in circular storage.",
        sum(|s| s.exemplars),
    );
    page.one_gauge(
        "prometheus_tsdb_exemplar_series_with_exemplars_in_storage",
        "Number of series with exemplars currently in circular storage.",
        sum(|s| s.exemplar_series),
    );
    let oldest = stats.iter().filter_map(|s| s.exemplar_oldest).min();
    page.one_gauge(
        "prometheus_tsdb_exemplar_last_exemplars_timestamp_seconds",
        "The timestamp of the oldest exemplar stored in circular storage. Useful to check for what time range the current exemplar buffer limit allows.",
        oldest.map_or(0.0, |t| t as f64 / 1000.0),
    );
    page.one_gauge(
        "prometheus_tsdb_exemplar_max_exemplars",
        "Total number of exemplars the exemplar storage can store, resizeable.",
        sum(|s| s.exemplars_max),
    );
    page.one_counter(
        "prometheus_tsdb_exemplar_out_of_order_exemplars_total",
        "Total number of out of order exemplar ingestion failed attempts.",
        sum(|s| s.exemplars_out_of_order),
    );
}
