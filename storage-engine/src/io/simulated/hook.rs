//! What a test may say about each operation of the simulated disk before it happens.

use std::path::Path;

/// An operation that is about to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// A directory is made.
    CreateDir(&'a Path),
    /// The names in a directory are asked for.
    List(&'a Path),
    /// A file is made or emptied.
    Create(&'a Path),
    /// A file is opened.
    Open(&'a Path),
    /// A file's whole content is mapped.
    Map(&'a Path),
    /// A file gets another name.
    Rename(&'a Path, &'a Path),
    /// A file gets a second name.
    HardLink(&'a Path, &'a Path),
    /// A file is removed.
    Remove(&'a Path),
    /// The names of a directory are made durable.
    SyncDir(&'a Path),
    /// Bytes are written.
    Write {
        /// The name that the file was opened by.
        path: &'a Path,
        /// Where.
        offset: u64,
        /// How many.
        bytes: usize,
    },
    /// Bytes are read.
    Read {
        /// The name that the file was opened by.
        path: &'a Path,
        /// Where.
        offset: u64,
        /// How many.
        bytes: usize,
    },
    /// A file's bytes are made durable.
    Sync(&'a Path),
    /// A file is cut or extended.
    SetSize(&'a Path),
}

impl Operation<'_> {
    /// Does it change what is on the disk? Only those count as [`super::SimulatedDisk::operations`].
    pub fn changes(&self) -> bool {
        !matches!(
            self,
            Operation::List(_) | Operation::Open(_) | Operation::Map(_) | Operation::Read { .. }
        )
    }
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Proceed,
    /// It fails with this system error number. A write may have happened in part; a sync that fails has lost the pages it was for.
    Fail(i32),
    /// It is said to be done and is not: the disk that a program without this call would have.
    Pretend,
    /// The power fails: it may have happened or not, and nothing works any more.
    Crash,
}

/// Looks at each operation. It must not use the disk itself.
pub type DiskHook = Box<dyn FnMut(&Operation<'_>) -> Verdict + Send>;
