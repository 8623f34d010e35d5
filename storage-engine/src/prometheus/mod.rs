//! Prometheus's own block format, both ways.
//!
//! Promise: what is written here is what Prometheus writes, so that it opens the directory and answers from it identically; what
//! Prometheus wrote is read bit for bit. Facts: Prometheus's `tsdb/docs/format/`. Not here: Ferula's own blocks (`block`), the command
//! line (`ferula tsdb` in the gateway).

mod bits;
mod block_reader;
mod block_writer;
mod bytes;
mod checksum;
mod chunk_files;
mod cutting;
mod directory;
mod export;
mod head;
mod histogram_chunk;
mod import;
mod index_reader;
mod index_writer;
mod layout;
mod log_reader;
mod meta;
mod order;
mod output;
mod records;
mod tombstones_file;
mod xor;

pub use bits::OutOfBits;
pub use block_reader::{PrometheusBlock, PrometheusReadError};
pub use block_writer::{PrometheusBlockWriter, PrometheusWriteError};
pub use bytes::Malformed;
pub use checksum::crc32c;
pub use chunk_files::ChunkError;
pub use cutting::{EncodedChunk, Encoding, encode_series};
pub use directory::{DirectoryError, PrometheusDirectory, PrometheusDirectorySeries};
pub use export::{ExportError, ExportProgress, ExportWish, export};
pub use head::{HeadReadError, PrometheusHead, PrometheusHeadSeries};
pub use histogram_chunk::HistogramChunkError;
pub use import::{ImportError, ImportProgress, ImportReport, import};
pub use index_reader::{IndexError, PrometheusSeries};
pub use index_writer::ChunkMeta;
pub use layout::LayoutError;
pub use meta::{
    META_FILE, PrometheusCompaction, PrometheusMeta, PrometheusParent, PrometheusStats,
};

/// Name of the index in a block's directory.
const INDEX_FILE: &str = "index";
/// A block that is being written; Prometheus removes such directories at its start.
const TEMPORARY_SUFFIX: &str = ".tmp-for-creation";

#[cfg(test)]
mod tests;
