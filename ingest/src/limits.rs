//! Every bound of this crate, by name, with what happens at it.

/// Most bytes of one scrape page after decompression, whatever `body_size_limit` says. Beyond it the scrape fails
/// with "body size limit exceeded": a target that never ends must not fill the memory.
pub const SCRAPE_BODY_BYTES_MAX: u64 = 256 << 20;

/// Most redirects that one scrape follows; the next one fails the scrape (as Go's HTTP client).
pub const SCRAPE_REDIRECTS_MAX: usize = 10;

/// Longest series (name and labels as on the page) in bytes; a longer one fails the scrape.
pub const SCRAPE_SERIES_BYTES_MAX: usize = 1 << 20;

/// Page buffers that a scrape worker keeps for reuse; others are freed after their scrape.
pub const SCRAPE_IDLE_BUFFERS_MAX: usize = 4;

/// Largest page buffer that is kept for reuse, in bytes.
pub const SCRAPE_IDLE_BUFFER_BYTES_MAX: usize = 16 << 20;

/// Bytes of cached series text of one target at which entries that are not on the last page are dropped at once.
pub const SCRAPE_CACHE_TEXT_BYTES_MAX: usize = 1 << 30;

/// Most bytes that one file of `file_sd_configs` may have; a larger one is refused and its last content kept.
pub const DISCOVERY_FILE_BYTES_MAX: u64 = 64 << 20;

/// Most metadata entries (metric families) kept for one target; further ones are not remembered.
pub const METADATA_ENTRIES_PER_TARGET_MAX: usize = 50_000;

/// Most bytes of HELP text kept for one family; the rest is cut off.
pub const METADATA_HELP_BYTES_MAX: usize = 64 << 10;

/// Default bound on the decompressed size of a remote write body. A body that declares more is refused with 400
/// before anything is allocated for it.
pub const REMOTE_WRITE_BODY_BYTES_MAX: usize = 32 << 20;

/// Most output bytes that one input byte of a snappy block can stand for (a three-byte copy of 64 bytes), rounded up.
/// A block that declares more cannot be honest and is refused before anything is allocated for it.
pub const SNAPPY_RATIO_MAX: usize = 22;

/// Decompressed bytes kept allocated between two requests; a larger buffer is given back when it is no longer needed.
pub const SNAPPY_BUFFER_RETAINED_BYTES: usize = 4 << 20;

/// Decompression buffers that one worker keeps for its next requests; beyond it they are given back.
pub const SNAPPY_DECODERS_POOLED_MAX: usize = 8;

/// Series that one identity table remembers (about 50 bytes each). A request that finds more starts an empty table:
/// its series are found again by their labels.
pub const IDENTITY_ENTRIES_MAX: usize = 4_000_000;

/// Label bytes of series not seen before in one request. Remote write 2.0 can repeat one long symbol for every series,
/// so this is not bounded by the body; beyond it the request is refused with 400.
pub const NEW_SERIES_BYTES_MAX: usize = 128 << 20;

/// Bytes of names and values in one label set from a sender; a larger set is refused as invalid labels.
pub const LABEL_SET_BYTES_MAX: usize = 1 << 20;

/// Bytes of a remote write answer's text; further reasons are only counted.
pub const WRITE_ERROR_BYTES_MAX: usize = 64 << 10;

/// Bytes of one label set in an error text; the rest is cut off.
pub const LABELS_SHOWN_BYTES_MAX: usize = 8 << 10;

/// Bytes of remote write 2.0 symbols compared with the last request's; larger sections are read anew each time.
pub const SYMBOLS_RETAINED_BYTES: usize = 4 << 20;

/// Spans, buckets and bounds of the native histograms in one request, each histogram counted as 32 more. Remote write
/// can say a bucket in one byte; beyond this the request is refused with 400.
pub const HISTOGRAM_PARTS_PER_REQUEST_MAX: usize = 8 << 20;

/// Exemplars taken from one request or page; further ones are ignored (exemplars never fail a request).
pub const EXEMPLARS_PER_REQUEST_MAX: usize = 1 << 18;

/// Metadata records taken from one request; further ones are ignored (metadata never fails a request).
pub const METADATA_PER_REQUEST_MAX: usize = 50_000;

/// Samples for which columns are sized beforehand, from the size of the last request; larger ones grow as they fill.
pub const COLUMN_GUESS_SAMPLES_MAX: usize = 64 << 10;

/// How far ahead of the server's clock a remote write sample may be, in milliseconds; a later one is out of bounds.
pub const REMOTE_WRITE_AHEAD_MS: i64 = 10 * 60 * 1000;

/// Metrics in one push; a push with more is refused with 400.
pub const PUSH_METRICS_MAX: usize = 1_000_000;

/// Bytes of rows of one request in the form in which they go on; further rows are refused and told.
pub const ROWS_BYTES_MAX: usize = 256 << 20;

/// Rows that cannot be read of which the answer tells the reason; further ones are only counted.
pub const ROW_FAULTS_MAX: usize = 10;

/// Bytes of the texts that tell what is wrong with a push; further faults are only counted.
pub const PUSH_FAULT_BYTES_MAX: usize = 64 << 10;

/// Levels of lists and maps in an OTLP request; a request that is nested deeper is refused with 400.
pub const OTLP_NESTING_MAX: usize = 64;

/// Samples of `target_info` that one resource of an OTLP request has at most; of more the newest are made.
pub const OTLP_TARGET_INFO_MAX: u64 = 1_000;

/// Most bytes of one answer to a service discovery, decompressed; beyond it the refresh fails and the last groups stay.
pub const DISCOVERY_ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Most bytes of one event of a Kubernetes watch; beyond it the watch begins anew with a list.
pub const KUBERNETES_EVENT_BYTES_MAX: usize = 32 << 20;
