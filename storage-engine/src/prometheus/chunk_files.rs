//! The chunk files of a Prometheus block: `chunks/000001` and on.
//!
//! Layout of a file: magic `85BD40DD`, version 1, three zeros; then chunks: length (uvarint), encoding (1 byte), data, CRC-32C of encoding and
//! data. A chunk's reference is the number of its file, from 0, in the upper four bytes and its offset in the lower four.
//! Promise: a chunk whose checksum fails is never given out.

use super::bytes::{Cursor, put_uvarint};
use super::checksum::{Crc32c, crc32c};
use super::cutting::{EncodedChunk, Encoding};
use super::output::Output;
use crate::io::{Disk, FileBytes};
use std::io;
use std::path::{Path, PathBuf};

/// Name of the directory in a block's directory.
pub(super) const CHUNKS_DIR: &str = "chunks";
const MAGIC_AND_VERSION: [u8; 8] = [0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0];
/// A file does not grow beyond this.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// Why a chunk cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// No such file.
    #[error("chunk file {0:06} is missing")]
    NoFile(u64),
    /// The reference points outside the file, or the chunk does not end in it.
    #[error("chunk file {file:06} at offset {offset}: outside the file")]
    Outside {
        /// The file's number in its name.
        file: u64,
        /// Where.
        offset: u64,
    },
    /// Its bytes are not what was written.
    #[error("chunk file {file:06} at offset {offset}: checksum mismatch")]
    Checksum {
        /// The file's number in its name.
        file: u64,
        /// Where.
        offset: u64,
    },
    /// An encoding that this program does not know.
    #[error("chunk file {file:06} at offset {offset}: unknown encoding {code}")]
    Encoding {
        /// The file's number in its name.
        file: u64,
        /// Where.
        offset: u64,
        /// The byte found.
        code: u8,
    },
}

/// Writes chunk files.
pub(super) struct ChunkFilesWriter<'d> {
    disk: &'d dyn Disk,
    dir: PathBuf,
    file: Option<Output>,
    files: u64,
    scratch: Vec<u8>,
}

impl<'d> ChunkFilesWriter<'d> {
    /// For a directory that exists.
    pub(super) fn new(disk: &'d dyn Disk, dir: PathBuf) -> ChunkFilesWriter<'d> {
        ChunkFilesWriter {
            disk,
            dir,
            file: None,
            files: 0,
            scratch: Vec::new(),
        }
    }

    /// Adds a chunk; its reference.
    pub(super) fn add(&mut self, chunk: &EncodedChunk) -> io::Result<u64> {
        self.scratch.clear();
        put_uvarint(&mut self.scratch, chunk.data.len() as u64);
        self.scratch.push(chunk.encoding.code());
        let mut crc = Crc32c::default();
        crc.update(&[chunk.encoding.code()]);
        crc.update(&chunk.data);
        let bytes = (self.scratch.len() + chunk.data.len() + 4) as u64;
        if let Some(file) = self
            .file
            .take_if(|file| file.position() + bytes > FILE_BYTES_MAX)
        {
            file.finish()?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                self.files += 1;
                let path = self.dir.join(format!("{:06}", self.files));
                let mut file = Output::create(self.disk, &path)?;
                file.write(&MAGIC_AND_VERSION)?;
                self.file.insert(file)
            }
        };
        let reference = (self.files - 1) << 32 | file.position();
        file.write(&self.scratch)?;
        file.write(&chunk.data)?;
        file.write(&crc.finish().to_be_bytes())?;
        Ok(reference)
    }

    /// Makes all durable, names included.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            file.finish()?;
        }
        self.disk.sync_dir(&self.dir)
    }
}

/// The chunk files of a block, mapped.
pub(super) struct ChunkFiles {
    files: Vec<FileBytes>,
}

impl ChunkFiles {
    /// Opens all files of a directory. The error names the file.
    pub(super) fn open(disk: &dyn Disk, dir: &Path) -> Result<ChunkFiles, (PathBuf, String)> {
        let with_path = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| (path, error.to_string())
        };
        let mut names: Vec<u64> = Vec::new();
        for name in disk.list(dir).map_err(with_path(dir))? {
            // Other names are what a tool left behind.
            names.extend(name.parse::<u64>().ok());
        }
        names.sort_unstable();
        let mut files = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            let path = dir.join(format!("{name:06}"));
            if name != index as u64 + 1 {
                return Err((path, format!("file {:06} is missing before it", index + 1)));
            }
            let file = disk.map(&path).map_err(with_path(&path))?;
            if !file.starts_with(&MAGIC_AND_VERSION[..5]) {
                return Err((path, "not a chunk file of version 1".to_owned()));
            }
            files.push(file);
        }
        Ok(ChunkFiles { files })
    }

    /// The chunk with that reference.
    pub(super) fn get(&self, reference: u64) -> Result<(Encoding, &[u8]), ChunkError> {
        let (index, offset) = (reference >> 32, reference & 0xffff_ffff);
        let file = index + 1;
        let bytes = self.files.get(index as usize);
        let bytes = bytes.ok_or(ChunkError::NoFile(file))?;
        let outside = ChunkError::Outside { file, offset };
        let chunk = bytes
            .get(offset as usize..)
            .ok_or_else(|| outside.clone())?;
        let mut cursor = Cursor::new(chunk);
        let mut read = || {
            let data_bytes = cursor.count(1)?;
            let checked = cursor.take(data_bytes + 1)?;
            Ok((checked, cursor.u32()?))
        };
        let (checked, checksum) = read().map_err(|_: super::bytes::Malformed| outside.clone())?;
        if crc32c(checked) != checksum {
            return Err(ChunkError::Checksum { file, offset });
        }
        let (&code, data) = checked.split_first().ok_or(outside)?;
        match Encoding::from_code(code) {
            Some(encoding) => Ok((encoding, data)),
            None => Err(ChunkError::Encoding { file, offset, code }),
        }
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len() as u64).sum()
    }
}
