//! Slots of a few size classes for open chunks, cut from pages, reused through free lists.
//!
//! Promise: a slot's words belong to one series until released; no memory is given back to the system, the next chunk
//! takes it. Cost: a series that outgrows a class is copied once into the next.

/// Words of a slot in each class. The biggest holds a stream that is cut at `CHUNK_BYTES_CUT` plus one sample.
pub(crate) const CLASS_WORDS: [usize; 9] = [4, 8, 12, 16, 24, 32, 48, 80, 126];
const _: () = assert!(CLASS_WORDS[8] * 8 >= super::bits::CHUNK_BYTES_CUT + 32);

/// Words in a page: 128 KiB, so that a page of the smallest class has 4,096 slots.
const PAGE_WORDS: usize = 16 * 1024;
/// Bits of a slot number inside its page.
const SLOT_BITS: u32 = 12;
const _: () = assert!(PAGE_WORDS / CLASS_WORDS[0] <= 1 << SLOT_BITS);

/// Hints that the line at `address` will be used; any address is fine, nothing is read.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults and reads nothing that the program can see, for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Pages, each cut into slots of one class.
#[derive(Default)]
pub(crate) struct Slab {
    pages: Vec<Box<[u64]>>,
    classes: [Class; CLASS_WORDS.len()],
}

/// Where the next slot of a class comes from.
#[derive(Default)]
struct Class {
    free: Vec<u32>,
    /// Page that still has uncut slots, and how many were cut.
    page: Option<(u32, u32)>,
}

impl Slab {
    /// A slot of `class`; its words are unspecified.
    pub(super) fn allocate(&mut self, class: u8) -> u32 {
        let words = CLASS_WORDS[usize::from(class)];
        let state = &mut self.classes[usize::from(class)];
        if let Some(slot) = state.free.pop() {
            return slot;
        }
        let per_page = (PAGE_WORDS / words) as u32;
        let (page, cut) = match state.page {
            Some((page, cut)) if cut < per_page => (page, cut),
            _ => {
                let page = self.pages.len() as u32;
                assert!(
                    page < 1 << (32 - SLOT_BITS),
                    "BUG: slab page number overflows"
                );
                self.pages.push(vec![0; PAGE_WORDS].into_boxed_slice());
                (page, 0)
            }
        };
        state.page = Some((page, cut + 1));
        (page << SLOT_BITS) | cut
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, slot: u32, class: u8) {
        self.classes[usize::from(class)].free.push(slot);
    }

    /// Moves a full slot of `class` into a new one of the next class.
    pub(super) fn grow(&mut self, slot: u32, class: u8) -> u32 {
        assert!(
            usize::from(class) + 1 < CLASS_WORDS.len(),
            "BUG: an open chunk outgrew the biggest slot"
        );
        let to = self.allocate(class + 1);
        let mut words = [0_u64; CLASS_WORDS[CLASS_WORDS.len() - 1]];
        let used = CLASS_WORDS[usize::from(class)];
        words[..used].copy_from_slice(self.words(slot, class));
        let start = Self::start(to, class + 1);
        self.pages[(to >> SLOT_BITS) as usize][start..start + used].copy_from_slice(&words[..used]);
        self.release(slot, class);
        to
    }

    #[inline(always)]
    fn start(slot: u32, class: u8) -> usize {
        (slot & ((1 << SLOT_BITS) - 1)) as usize * CLASS_WORDS[usize::from(class)]
    }

    /// The words of a slot.
    pub(super) fn words(&self, slot: u32, class: u8) -> &[u64] {
        let start = Self::start(slot, class);
        &self.pages[(slot >> SLOT_BITS) as usize][start..start + CLASS_WORDS[usize::from(class)]]
    }

    /// Sets one word of a slot.
    #[inline(always)]
    pub(super) fn set_word(&mut self, slot: u32, class: u8, word: u16, value: u64) {
        let at = Self::start(slot, class) + usize::from(word);
        self.pages[(slot >> SLOT_BITS) as usize][at] = value;
    }

    /// Address of one word, for prefetching only.
    #[inline(always)]
    pub(super) fn word_ptr(&self, slot: u32, class: u8, word: u16) -> *const u64 {
        match self.pages.get((slot >> SLOT_BITS) as usize) {
            Some(page) => page
                .as_ptr()
                .wrapping_add(Self::start(slot, class) + usize::from(word)),
            None => std::ptr::null(),
        }
    }

    /// Bytes of all pages.
    pub(super) fn bytes(&self) -> u64 {
        (self.pages.len() * PAGE_WORDS * 8) as u64
    }
}
