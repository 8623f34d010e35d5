//! Every bound of this crate, with what happens at it.

/// Default of `--query.max-samples`; a query that holds more samples at once fails.
pub const QUERY_SAMPLES_MAX: usize = 50_000_000;
/// Default of `--query.lookback-delta`, milliseconds.
pub const LOOKBACK_DELTA_MS: i64 = 300_000;
/// Longest query text in bytes; a longer one is refused before it is parsed.
pub const QUERY_BYTES_MAX: usize = 1 << 20;
/// Row cells (present or absent) that a query may hold, per sample of its sample limit: rows are dense, so that series that come and go cost
/// memory without costing samples. At the bound the query fails as with too many samples.
pub const QUERY_CELLS_PER_SAMPLE_MAX: usize = 4;
/// Lowest bound on row cells, so that a small sample limit still allows long grids of few samples.
pub const QUERY_CELLS_MIN: usize = 4 << 20;
/// Work of one slice of a fragment, in samples read or visited (about 100 µs); then the shard serves others.
pub const SLICE_SAMPLES: usize = 16_384;
/// Series that one slice of a fragment looks at while it finds those that lie in several sources.
pub const SLICE_SERIES_SELECTED: usize = 256;
/// Cost of a native histogram, in samples, when a slice counts its work.
pub const SLICE_SAMPLES_PER_HISTOGRAM: usize = 16;
/// Cost of looking at one series, in samples, when a slice counts its work.
pub const SLICE_SAMPLES_PER_SERIES: usize = 64;
/// How often a task that a shard cannot take is offered again before the query fails as overloaded.
pub const SUBMIT_ATTEMPTS_MAX: usize = 10_000;
/// Fragments of one query that are compared with each other to be run once; beyond it repeated selectors run repeatedly.
pub const SHARED_FRAGMENTS_MAX: usize = 64;
/// Targets by whose names `info()` asks for info series; of more it asks for the info series of all targets.
pub const INFO_TARGETS_MATCHED_MAX: usize = 1_000;
/// Row cells that the coordinator works through before other tasks of its thread get their turn (about a millisecond).
pub const YIELD_CELLS: usize = 200_000;
/// Names or values that a metadata request collects from one shard before it stops asking for more, when the request gives no limit.
pub const METADATA_ITEMS_MAX: usize = 1_000_000;

/// Series with exemplars that one slice of an exemplar query looks at; then other tasks have their turn.
pub const EXEMPLAR_SERIES_PER_SLICE: usize = 256;
