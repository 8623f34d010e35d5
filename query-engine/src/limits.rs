//! Every bound of this crate, with what happens at it.

/// Default of `--query.max-samples`; a query that holds more samples at once fails.
pub const QUERY_SAMPLES_MAX: usize = 50_000_000;
/// Default of `--query.lookback-delta`, milliseconds.
pub const LOOKBACK_DELTA_MS: i64 = 300_000;
/// Longest query text in bytes; a longer one is refused before it is parsed.
pub const QUERY_BYTES_MAX: usize = 1 << 20;
/// Default of `--query.max-memory-per-query` for who embeds the engine (the server derives its own from the machine), bytes that a query may
/// hold at once. At the bound it fails.
pub const QUERY_MEMORY_MAX: usize = 1 << 30;
/// Bytes that the regular expressions of one query may take when they are compiled (about 40 for each byte of a literal and each range of a
/// class); beyond it the query is refused as Go refuses a regular expression that is too large.
pub const QUERY_REGEX_BYTES_MAX: usize = 64 << 20;
/// Longest query text that is read on the thread that took the request, bytes.
pub const QUICK_TEXT_BYTES_MAX: usize = 16 << 10;
/// Bytes that the regular expressions of a query may take for it to be read on the thread that took the request.
pub const QUICK_REGEX_BYTES_MAX: usize = 512 << 10;
/// Bytes that the regular expression of a `label_replace` may take; beyond it the query fails.
pub const LABEL_REGEX_BYTES_MAX: usize = 16 << 20;
/// Cells, rows or comparisons that an operation of the coordinator goes through before it looks at the cancel flag (well below a millisecond).
pub const CHECK_WORK: usize = 32_768;
/// Rows from which on their ordering counts as heavy.
pub const HEAVY_ROWS: usize = 20_000;
/// Rows that are sorted in one piece; the pieces are merged with looks at the cancel flag between.
pub const SORT_PIECE: usize = 8_192;
/// Row cells from which on a node of a query counts as heavy: who drives the query may move it to a thread of its own.
pub const HEAVY_CELLS: usize = 500_000;
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
/// Targets by whose names `info()` asks for info series; of more it asks for the info series of all targets.
pub const INFO_TARGETS_MATCHED_MAX: usize = 1_000;
/// Row cells that the coordinator works through before other tasks of its thread get their turn (about a millisecond).
pub const YIELD_CELLS: usize = 200_000;
/// Names or values that a metadata request collects from one shard before it stops asking for more, when the request gives no limit.
pub const METADATA_ITEMS_MAX: usize = 1_000_000;

/// Series with exemplars that one slice of an exemplar query looks at; then other tasks have their turn.
pub const EXEMPLAR_SERIES_PER_SLICE: usize = 256;
