//! The ledger: which request of which round was sent, and which was acknowledged, kept in a file.
//!
//! A sent entry is in the kernel's hands before the request leaves; an acknowledged entry follows the 2xx. An entry is 24 bytes: kind,
//! body, round, timestamp. The first 24 bytes describe the fleet.

use crate::series::Fleet;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Mutex;

const MAGIC: u32 = 0x4c45_4447;
const ENTRY_BYTES: usize = 24;

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It may have been stored.
    Sent = 1,
    /// It must be there.
    Acknowledged = 2,
}

/// Where the layout of bodies comes from: enough to rebuild which series a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The fleet.
    pub fleet: Fleet,
    /// Series per request.
    pub batch: usize,
    /// 0 for creation order, else the seed of the permutation.
    pub shuffle: u64,
}

impl Layout {
    /// The series of each body, in order.
    pub fn bodies(&self) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.fleet.series).collect();
        if self.shuffle != 0 {
            for i in (1..order.len()).rev() {
                let j = crate::series::mix(self.shuffle ^ i as u64) as usize % (i + 1);
                order.swap(i, j);
            }
        }
        order
            .chunks(self.batch.max(1))
            .map(<[usize]>::to_vec)
            .collect()
    }
}

/// Writes entries; shared by all connections.
pub struct LedgerWriter {
    file: Mutex<File>,
}

impl LedgerWriter {
    /// Creates the file, refusing to overwrite one.
    pub fn create(path: &Path, layout: &Layout) -> io::Result<Self> {
        let mut file = File::create_new(path)?;
        let mut head = Vec::with_capacity(2 * ENTRY_BYTES);
        head.extend_from_slice(&MAGIC.to_le_bytes());
        head.extend_from_slice(&layout.fleet.generation.to_le_bytes());
        head.extend_from_slice(&(layout.fleet.series as u64).to_le_bytes());
        head.extend_from_slice(&layout.fleet.seed.to_le_bytes());
        head.extend_from_slice(&(layout.batch as u64).to_le_bytes());
        head.extend_from_slice(&layout.shuffle.to_le_bytes());
        head.extend_from_slice(&u64::from(layout.fleet.noise_percent).to_le_bytes());
        file.write_all(&head)?;
        Ok(LedgerWriter {
            file: Mutex::new(file),
        })
    }

    /// Adds one entry.
    pub fn record(&self, fate: Fate, body: usize, round: u64, timestamp_ms: i64) -> io::Result<()> {
        let mut entry = [0u8; ENTRY_BYTES];
        entry[0] = fate as u8;
        entry[4..8].copy_from_slice(&(body as u32).to_le_bytes());
        entry[8..16].copy_from_slice(&round.to_le_bytes());
        entry[16..24].copy_from_slice(&timestamp_ms.to_le_bytes());
        let mut file = self.file.lock().unwrap_or_else(|e| e.into_inner());
        file.write_all(&entry)
    }

    /// Makes everything so far durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .sync_data()
    }
}

/// A ledger read back.
pub struct Ledger {
    /// The layout it was written with.
    pub layout: Layout,
    /// For each body: timestamp → (round, best fate).
    pub entries: Vec<HashMap<i64, (u64, Fate)>>,
}

impl Ledger {
    /// Reads a whole ledger; a torn last entry is left out.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a ledger");
        let head = bytes.get(..2 * ENTRY_BYTES).ok_or_else(bad)?;
        let word = |at: usize| {
            let mut word = [0u8; 8];
            word.copy_from_slice(&head[at..at + 8]);
            u64::from_le_bytes(word)
        };
        if word(0) as u32 != MAGIC {
            return Err(bad());
        }
        let fleet = Fleet {
            series: word(8) as usize,
            seed: word(16),
            generation: (word(0) >> 32) as u32,
            noise_percent: word(40) as u32,
        };
        let layout = Layout {
            fleet,
            batch: word(24) as usize,
            shuffle: word(32),
        };
        let bodies = layout.fleet.series.div_ceil(layout.batch.max(1));
        let mut entries = vec![HashMap::new(); bodies];
        for entry in bytes[2 * ENTRY_BYTES..].chunks_exact(ENTRY_BYTES) {
            let number = |at: usize, n: usize| {
                entry[at..at + n]
                    .iter()
                    .rev()
                    .fold(0u64, |acc, b| acc << 8 | u64::from(*b))
            };
            let fate = match entry[0] {
                1 => Fate::Sent,
                2 => Fate::Acknowledged,
                _ => return Err(bad()),
            };
            let (body, round, at) = (number(4, 4) as usize, number(8, 8), number(16, 8) as i64);
            let known = entries
                .get_mut(body)
                .ok_or_else(bad)?
                .entry(at)
                .or_insert((round, fate));
            known.1 = known.1.max(fate);
        }
        Ok(Ledger { layout, entries })
    }

    /// Acknowledged samples in all.
    pub fn acknowledged_samples(&self) -> u64 {
        let bodies = self.layout.bodies();
        let acked = |m: &HashMap<i64, (u64, Fate)>| {
            m.values().filter(|(_, f)| *f == Fate::Acknowledged).count()
        };
        self.entries
            .iter()
            .zip(&bodies)
            .map(|(m, b)| (acked(m) * b.len()) as u64)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let fleet = Fleet {
            series: 25,
            seed: 9,
            generation: 2,
            noise_percent: crate::series::NOISE_PERCENT,
        };
        let layout = Layout {
            fleet,
            batch: 10,
            shuffle: 5,
        };
        let writer = LedgerWriter::create(&path, &layout).unwrap();
        writer.record(Fate::Sent, 2, 7, 1000).unwrap();
        writer.record(Fate::Acknowledged, 2, 7, 1000).unwrap();
        writer.record(Fate::Sent, 0, 8, 2000).unwrap();
        let ledger = Ledger::read(&path).unwrap();
        assert_eq!(ledger.layout, layout);
        assert_eq!(ledger.entries[2][&1000], (7, Fate::Acknowledged));
        assert_eq!(ledger.entries[0][&2000], (8, Fate::Sent));
        assert_eq!(ledger.acknowledged_samples(), 5);
        let mut all: Vec<usize> = layout.bodies().concat();
        all.sort_unstable();
        assert_eq!(all, (0..25).collect::<Vec<_>>());
    }
}
