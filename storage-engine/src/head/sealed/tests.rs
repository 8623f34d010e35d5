//! The ring of pages: references across its end, freed pages, mapped twins.

use super::*;
use crate::head::slab::Slab;

/// A hot line that seals chunks which do not pack, so that pages fill.
struct Series {
    hot: Hot,
    t: TimestampMs,
    state: u64,
    written: Vec<(TimestampMs, u64)>,
}

impl Series {
    fn new(seed: u64) -> Series {
        Series {
            hot: Hot::VACANT,
            t: 0,
            state: seed,
            written: Vec::new(),
        }
    }

    fn seal(&mut self, sealed: &mut Sealed, slab: &mut Slab) {
        for _ in 0..100 {
            self.state = self
                .state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            self.t += 1000;
            let bits = (self.state >> 12) | 0x3ff0_0000_0000_0000;
            self.hot.push(self.t, bits, slab);
            self.written.push((self.t, bits));
        }
        sealed.seal(&mut self.hot, slab);
    }

    fn read(&self, sealed: &Sealed) -> Vec<(TimestampMs, u64)> {
        let all = TimeRange {
            min: i64::MIN,
            max: i64::MAX,
        };
        let mut at = self.hot.sealed;
        let mut chunks = Vec::new();
        while let Some(chunk) = sealed.get(at) {
            let mut out = SampleColumns::default();
            chunk.read(all, &mut out);
            let bits = out.values.iter().map(|v| v.to_bits());
            chunks.push(out.timestamps.iter().copied().zip(bits).collect::<Vec<_>>());
            at = chunk.previous;
        }
        chunks.into_iter().rev().flatten().collect()
    }
}

#[test]
fn references_work_across_the_end_of_the_ring() {
    let mut sealed = Sealed {
        first: 3 * SEQUENCES - 3,
        ..Sealed::default()
    };
    let mut slab = Slab::default();
    let (mut busy, mut idle) = (Series::new(1), Series::new(2));
    idle.seal(&mut sealed, &mut slab);
    let mut freed = 0;
    while sealed.next_sequence() < 3 * SEQUENCES + 6 {
        let pages = sealed.next_sequence();
        while sealed.next_sequence() == pages {
            busy.seal(&mut sealed, &mut slab);
        }
        if sealed.pages.len() > 4 {
            let (chunks, bytes) = (sealed.chunk_count(), sealed.bytes());
            let sequence = sealed.sequences().start;
            let newest = sealed.pages[0].facts.newest;
            assert_eq!(sealed.free_page(sequence, newest), 0, "its newest is kept");
            let samples = sealed.free_page(sequence, newest + 1);
            assert_eq!(samples, (chunks - sealed.chunk_count()) * 100);
            assert_eq!(bytes - sealed.bytes(), PAGE_BYTES as u64);
            freed += samples as usize - if freed == 0 { 100 } else { 0 };
            assert!(sealed.get(idle.hot.sealed).is_none());
        }
        assert_eq!(busy.read(&sealed), busy.written[freed..]);
    }
    assert!(freed > 0);
    // A chunk that follows one in a freed page does not point there.
    idle.seal(&mut sealed, &mut slab);
    assert_eq!(
        sealed.get(idle.hot.sealed).unwrap().previous,
        ChunkRef::NONE
    );
    assert_eq!(idle.read(&sealed), idle.written[100..]);
    let newest = idle.t.max(busy.t);
    for sequence in sealed.sequences() {
        sealed.free_page(sequence, newest + 1);
    }
    assert_eq!((sealed.chunk_count(), sealed.bytes()), (0, 0));
    assert!(sealed.sequences().is_empty());
    busy.seal(&mut sealed, &mut slab);
    assert_eq!(busy.read(&sealed), busy.written[busy.written.len() - 100..]);
}

#[test]
fn a_page_in_the_middle_goes_before_the_one_in_front() {
    let mut sealed = Sealed::default();
    let mut slab = Slab::default();
    let (mut new, mut old) = (Series::new(1), Series::new(2));
    new.t = 1_000_000_000;
    new.seal(&mut sealed, &mut slab);
    while sealed.next_sequence() < 3 {
        old.seal(&mut sealed, &mut slab);
    }
    let before = 1_000_000_000;
    for sequence in sealed.sequences() {
        sealed.free_page(sequence, before);
    }
    assert_eq!(sealed.sequences(), 0..3);
    assert_eq!(sealed.bytes(), PAGE_BYTES as u64);
    assert_eq!(sealed.pages().map(|p| p.sequence).collect::<Vec<_>>(), [0]);
    assert_eq!(new.read(&sealed), new.written);
    assert!(old.read(&sealed).is_empty());
    old.seal(&mut sealed, &mut slab);
    assert_eq!(sealed.sequences(), 0..4);
    assert_eq!(old.read(&sealed), old.written[old.written.len() - 100..]);
    sealed.free_page(0, i64::MAX);
    assert_eq!(sealed.sequences(), 3..4);
}

#[test]
fn a_mapped_twin_takes_the_place_of_a_full_page() {
    let mut sealed = Sealed::default();
    let mut slab = Slab::default();
    let mut series = Series::new(5);
    while sealed.next_sequence() < 4 {
        series.seal(&mut sealed, &mut slab);
    }
    // Two pages in one file, as a checkpoint writes them.
    let mut bytes = b"header".to_vec();
    let mut places = Vec::new();
    let mut facts = Vec::new();
    for page in sealed.pages() {
        assert_eq!(page.full, page.sequence < 3);
        assert!(!page.mapped);
        places.push(bytes.len()..bytes.len() + page.bytes.len());
        bytes.extend_from_slice(page.bytes);
        facts.push(page.facts);
    }
    let file = Arc::new(FileBytes::from(bytes.clone()));
    let memory = sealed.bytes();
    assert!(sealed.replace(0, &file, places[0].clone()));
    assert!(sealed.replace(2, &file, places[2].clone()));
    assert!(!sealed.replace(2, &file, places[2].clone()), "already");
    assert!(!sealed.replace(1, &file, 0..5), "another length");
    assert!(!sealed.replace(3, &file, places[3].clone()), "not full");
    assert!(!sealed.replace(9, &file, places[1].clone()), "no such page");
    assert_eq!(memory - sealed.bytes(), 2 * PAGE_BYTES as u64);
    let mapped: usize = [0, 2].map(|i: usize| places[i].len()).iter().sum();
    assert_eq!(sealed.mapped_bytes(), mapped as u64);
    assert_eq!(series.read(&sealed), series.written);

    // The same pages in another life; the second was lost.
    let mut again = Sealed::default();
    assert!(again.restore(
        0,
        PageBytes::Mapped(Arc::clone(&file), places[0].clone()),
        facts[0]
    ));
    assert!(again.restore(
        2,
        PageBytes::Mapped(Arc::clone(&file), places[2].clone()),
        facts[2]
    ));
    assert!(again.restore(
        3,
        PageBytes::Heap(bytes[places[3].clone()].to_vec()),
        facts[3]
    ));
    assert!(!again.restore(3, PageBytes::Freed, facts[3]));
    assert!(!again.restore(PAGES_MAX as u64, PageBytes::Freed, facts[3]));
    let rest: u64 = [2, 3]
        .map(|i: usize| u64::from(facts[i].samples))
        .iter()
        .sum();
    let kept = series.written.len() - rest as usize;
    // The chain ends where the lost page was.
    assert_eq!(series.read(&again), series.written[kept..]);
    series.seal(&mut again, &mut slab);
    assert_eq!(again.next_sequence(), 4, "a page on the heap is filled up");
    assert_eq!(series.read(&again), series.written[kept..]);
    for sequence in again.sequences() {
        again.free_page(sequence, i64::MAX);
    }
    assert_eq!((again.bytes(), again.mapped_bytes()), (0, 0));
}
