//! The file that keeps pushed metrics over a restart: `push/NNNNNNNN.log` in the data directory. Format: `docs/format/push.md`.
//!
//! Promise: what `append` has written (and synced, where that was asked) is read back by `open`, whatever happens in between. A log that
//! has grown far beyond the groups is written anew, beside the old one, which goes when the new one is durable.
//! Not here: the bytes of records (`ingest::pushgateway`).

use crate::limits::PUSH_LOG_SLACK_BYTES;
use ingest::pushgateway::{
    Groups, LogReading, PUSH_LOG_HEADER_BYTES, UnknownVersion, append_record, decode_change,
    encode_groups, log_header, read_log,
};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use storage_engine::io::{Access, Disk, DiskFile};

/// Bytes of one write while a log is written anew.
const REWRITE_CHUNK_BYTES: usize = 1 << 20;
/// Shortest time between two tries to write on after an error.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why the log cannot be used at start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A newer program has written it.
    #[error("{}: {source}", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Which version.
        source: UnknownVersion,
    },
}

/// The open log.
pub(super) struct PushLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Box<dyn DiskFile>,
    sequence: u64,
    end: u64,
    /// Length when it was last written anew.
    base: u64,
    buffer: Vec<u8>,
    /// Since when nothing may be appended: the pages of a failed write or sync are never tried again.
    broken_since: Option<Duration>,
}

fn path_of(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:08}.log"))
}

fn sequence_of(name: &str) -> Option<u64> {
    name.strip_suffix(".log")?.parse().ok()
}

impl PushLog {
    /// Opens the newest log of a directory, which is made when it is not there, and puts its groups into `groups`.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        groups: &mut Groups,
    ) -> Result<(PushLog, LogReading), LogError> {
        let io = |source| LogError::Io {
            path: dir.to_owned(),
            source,
        };
        disk.create_dir_all(dir).map_err(io)?;
        if let Some(parent) = dir.parent() {
            disk.sync_dir(parent).map_err(io)?;
        }
        let names = disk.list(dir).map_err(io)?;
        for name in names.iter().filter(|name| name.ends_with(".tmp")) {
            disk.remove(&dir.join(name)).map_err(io)?;
        }
        let mut sequences: Vec<u64> = names.iter().filter_map(|n| sequence_of(n)).collect();
        sequences.sort_unstable();
        let Some(newest) = sequences.pop() else {
            let log = PushLog::create(disk, dir, 1, groups).map_err(io)?;
            return Ok((log, LogReading::default()));
        };
        let path = path_of(dir, newest);
        let bytes = disk.map(&path).map_err(io)?;
        let seed = groups.seed();
        let reading = read_log(&bytes, newest, |record| match decode_change(record, seed) {
            Ok(change) => {
                groups.apply(change);
                true
            }
            Err(_) => false,
        });
        let reading = reading.map_err(|source| LogError::Version {
            path: path.clone(),
            source,
        })?;
        drop(bytes);
        // Older ones were written anew into this one.
        for sequence in sequences {
            disk.remove(&path_of(dir, sequence)).map_err(io)?;
        }
        if reading.damaged_bytes == 0 && reading.tail_bytes == 0 {
            let file = disk.open(&path, Access::Buffered).map_err(io)?;
            let log = PushLog {
                disk,
                dir: dir.to_owned(),
                file,
                sequence: newest,
                end: reading.end as u64,
                base: reading.end as u64,
                buffer: Vec::new(),
                broken_since: None,
            };
            return Ok((log, reading));
        }
        let log = PushLog::create(disk.clone(), dir, newest + 1, groups).map_err(io)?;
        if reading.damaged_bytes > 0 {
            tracing::warn!(
                path = %path.display(),
                bytes = reading.damaged_bytes,
                "the push log is damaged; what was sound is kept, the file is set aside"
            );
            disk.rename(&path, &path.with_extension("damaged"))
                .map_err(io)?;
        } else {
            // The end of a write that was cut, and so never acknowledged.
            disk.remove(&path).map_err(io)?;
        }
        disk.sync_dir(dir).map_err(io)?;
        Ok((log, reading))
    }

    /// Writes a new log with all groups; durable, name and all, when it returns.
    fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        sequence: u64,
        groups: &Groups,
    ) -> io::Result<PushLog> {
        let log = PushLog::write_new(disk, dir, sequence, groups)?;
        log.give_name()?;
        Ok(log)
    }

    /// Writes a new log under a name that a start takes no notice of.
    fn write_new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        sequence: u64,
        groups: &Groups,
    ) -> io::Result<PushLog> {
        let file = disk.create(
            &path_of(dir, sequence).with_extension("tmp"),
            Access::Buffered,
        )?;
        let mut buffer = log_header(sequence).to_vec();
        let mut end = 0;
        let mut outcome = Ok(());
        encode_groups(groups, |record| {
            if outcome.is_ok() {
                append_record(&mut buffer, sequence, record);
                if buffer.len() >= REWRITE_CHUNK_BYTES {
                    outcome = file.write_at(end, &buffer);
                    end += buffer.len() as u64;
                    buffer.clear();
                }
            }
        });
        outcome?;
        file.write_at(end, &buffer)?;
        end += buffer.len() as u64;
        file.sync()?;
        assert!(
            end >= PUSH_LOG_HEADER_BYTES as u64,
            "BUG: a log without a header"
        );
        buffer.clear();
        Ok(PushLog {
            disk,
            dir: dir.to_owned(),
            file,
            sequence,
            end,
            base: end,
            buffer,
            broken_since: None,
        })
    }

    /// Makes it the newest log, durably.
    fn give_name(&self) -> io::Result<()> {
        let path = path_of(&self.dir, self.sequence);
        self.disk.rename(&path.with_extension("tmp"), &path)?;
        self.disk.sync_dir(&self.dir)
    }

    /// Writes the log anew, with the groups as they are now. An error before the new log has its name leaves the old one as good as it
    /// was; after that, only the new one counts, so nothing may be appended to the old one any more.
    fn rewrite(&mut self, groups: &Groups, now: Duration) -> io::Result<()> {
        let old = path_of(&self.dir, self.sequence);
        let next = self.sequence + 1;
        let new = PushLog::write_new(self.disk.clone(), &self.dir, next, groups)?;
        if let Err(error) = new.give_name() {
            self.broken_since = Some(now);
            return Err(error);
        }
        *self = new;
        // If this fails, the next start removes it.
        if let Err(error) = self.disk.remove(&old) {
            tracing::warn!(path = %old.display(), err = %error, "an old push log cannot be removed");
        }
        Ok(())
    }

    /// Writes records, in one write, and syncs them if asked. True if the log was written anew instead, with the groups, in which the
    /// changes are already. `now` is monotonic time.
    pub(super) fn append<'r>(
        &mut self,
        records: impl Iterator<Item = &'r [u8]>,
        groups: &Groups,
        sync: bool,
        now: Duration,
    ) -> io::Result<bool> {
        if let Some(since) = self.broken_since {
            if now < since + RETRY_AFTER {
                return Err(io::Error::other(
                    "the last write failed, the next try is due in a second",
                ));
            }
            self.broken_since = Some(now);
            return self.rewrite(groups, now).map(|()| true);
        }
        self.buffer.clear();
        for record in records {
            append_record(&mut self.buffer, self.sequence, record);
        }
        let after = self.end + self.buffer.len() as u64;
        if after > self.base * 2 + PUSH_LOG_SLACK_BYTES {
            match self.rewrite(groups, now) {
                Ok(()) => return Ok(true),
                Err(error) if self.broken_since.is_some() => return Err(error),
                Err(error) => {
                    tracing::warn!(err = %error, "the push log cannot be written anew, it grows on");
                }
            }
        }
        let outcome = self.file.write_at(self.end, &self.buffer);
        let outcome = outcome.and_then(|()| if sync { self.file.sync() } else { Ok(()) });
        self.buffer.shrink_to(REWRITE_CHUNK_BYTES);
        match outcome {
            Ok(()) => {
                self.end = after;
                Ok(false)
            }
            Err(error) => {
                self.broken_since = Some(now);
                Err(error)
            }
        }
    }

    /// Makes durable what was written.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.broken_since.is_some() {
            return Ok(());
        }
        let outcome = self.file.sync();
        if outcome.is_err() {
            self.broken_since = Some(Duration::ZERO);
        }
        outcome
    }

    /// Its length.
    pub(super) fn size(&self) -> u64 {
        self.end
    }
}

#[cfg(test)]
mod tests;
