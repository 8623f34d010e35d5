//! Every bound of this crate, by name, with what happens at it.

/// Most bytes of one scrape page after decompression, whatever `body_size_limit` says. Beyond it the scrape fails
/// with "body size limit exceeded": a target that never ends must not fill the memory.
pub const SCRAPE_BODY_BYTES_MAX: u64 = 256 << 20;

/// Most redirects that one scrape follows; the next one fails the scrape (as Go's HTTP client).
pub const SCRAPE_REDIRECTS_MAX: usize = 10;

/// Longest line of a scrape page in bytes; a longer one fails the scrape.
pub const SCRAPE_LINE_BYTES_MAX: usize = 16 << 20;

/// Most bytes that one file of `file_sd_configs` may have; a larger one is refused and its last content kept.
pub const DISCOVERY_FILE_BYTES_MAX: u64 = 64 << 20;

/// Most metadata entries (metric families) kept for one target; further ones are not remembered.
pub const METADATA_ENTRIES_PER_TARGET_MAX: usize = 50_000;

/// Most bytes of HELP text kept for one family; the rest is cut off.
pub const METADATA_HELP_BYTES_MAX: usize = 64 << 10;
