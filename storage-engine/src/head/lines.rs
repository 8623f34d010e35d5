//! Tables of cache lines that grow: chunks of two MiB, which the kernel is asked to back with one large page each.
//!
//! Promise: a line never moves, so a growing table neither copies nor keeps room for twice as many; a line is initialised before it can be
//! reached. A large page costs one fault instead of 512 and one entry of the address cache, which shows at a restart and in every append to a
//! series that was not touched lately. A table of less than a chunk takes small pages, as many as it uses.
//! Not here: what a line holds (`hot`, `slab`).

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a chunk and its alignment: a large page on x86-64 and on ARM with pages of 4 KiB.
const CHUNK_BYTES: usize = 2 << 20;
/// Bytes that are initialised at once.
const STEP_BYTES: usize = 64 << 10;

/// A table of `T`, each of one cache line.
pub(super) struct Lines<T> {
    chunks: Vec<NonNull<T>>,
    /// Lines that can be reached.
    len: usize,
    /// Lines that are initialised, `len` or more.
    ready: usize,
    fill: T,
}

// SAFETY: the table owns its lines, as a vector would.
unsafe impl<T: Send> Send for Lines<T> {}
// SAFETY: a shared table gives out shared references only.
unsafe impl<T: Sync> Sync for Lines<T> {}

impl<T: Copy> Lines<T> {
    const CHUNK: usize = {
        assert!(
            size_of::<T>() == 64 && align_of::<T>() == 64,
            "one cache line"
        );
        CHUNK_BYTES / size_of::<T>()
    };
    const STEP: usize = STEP_BYTES / size_of::<T>();
    const LAYOUT: Layout = match Layout::from_size_align(CHUNK_BYTES, CHUNK_BYTES) {
        Ok(layout) => layout,
        Err(_) => panic!("a chunk has a layout"),
    };

    /// A table without lines; new ones will be `fill`.
    pub(super) fn new(fill: T) -> Lines<T> {
        Lines {
            chunks: Vec::new(),
            len: 0,
            ready: 0,
            fill,
        }
    }

    /// Lines that there are.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Makes `len` lines of them, if there are fewer.
    #[inline]
    pub(super) fn grow(&mut self, len: usize) {
        while self.ready < len {
            self.prepare();
        }
        self.len = self.len.max(len);
    }

    /// Initialises one step more.
    #[cold]
    fn prepare(&mut self) {
        if self.ready == self.chunks.len() * Self::CHUNK {
            self.add_chunk();
        }
        let chunk = self.chunks[self.ready / Self::CHUNK];
        for line in 0..Self::STEP {
            // SAFETY: steps divide a chunk, so these lines are in the one that `chunk` points to; nobody has a reference to them because
            // they are beyond `len`.
            unsafe { chunk.add(self.ready % Self::CHUNK + line).write(self.fill) };
        }
        self.ready += Self::STEP;
    }

    fn add_chunk(&mut self) {
        // SAFETY: the layout has a size.
        let chunk = unsafe { alloc(Self::LAYOUT) };
        let Some(chunk) = NonNull::new(chunk.cast::<T>()) else {
            handle_alloc_error(Self::LAYOUT);
        };
        #[cfg(all(target_os = "linux", not(miri)))]
        if !self.chunks.is_empty() {
            // SAFETY: the range is ours; the advice changes no content. A kernel without large pages refuses, and nothing is lost.
            unsafe { libc::madvise(chunk.as_ptr().cast(), CHUNK_BYTES, libc::MADV_HUGEPAGE) };
        }
        self.chunks.push(chunk);
    }

    #[inline(always)]
    fn pointer(&self, index: usize) -> Option<NonNull<T>> {
        if index >= self.len {
            return None;
        }
        let chunk = self.chunks[index / Self::CHUNK];
        // SAFETY: the rest of the division is less than the lines of a chunk.
        Some(unsafe { chunk.add(index % Self::CHUNK) })
    }

    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        // SAFETY: lines below `len` are initialised; the table is borrowed as long as the line.
        self.pointer(index).map(|line| unsafe { line.as_ref() })
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        // SAFETY: as for `get`; the table is borrowed for writing, so there is no other reference.
        self.pointer(index).map(|mut line| unsafe { line.as_mut() })
    }

    /// Address of a line, for prefetching only.
    #[inline(always)]
    pub(super) fn address(&self, index: usize) -> *const T {
        match self.pointer(index) {
            Some(line) => line.as_ptr(),
            None => std::ptr::null(),
        }
    }

    /// Bytes of the lines.
    pub(super) fn bytes(&self) -> usize {
        self.ready * size_of::<T>()
    }
}

impl<T> Drop for Lines<T> {
    fn drop(&mut self) {
        for chunk in &self.chunks {
            let layout = Layout::from_size_align(CHUNK_BYTES, CHUNK_BYTES);
            let layout = layout.expect("BUG: a chunk has a layout");
            // SAFETY: allocated with this layout; lines are `Copy` and need no drop.
            unsafe { dealloc(chunk.as_ptr().cast(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Debug)]
    #[repr(C, align(64))]
    struct Line([u64; 8]);

    #[test]
    fn lines_stay_where_they_are_over_chunks() {
        let mut lines = Lines::new(Line([7; 8]));
        assert_eq!((lines.get(0), lines.len()), (None, 0));
        assert!(lines.address(0).is_null());
        lines.grow(1);
        let first = lines.address(0);
        for len in [2_000, 32_768, 32_769, 100_000] {
            lines.grow(len);
            assert_eq!(lines.len(), len);
            assert!(lines.get(len).is_none());
            assert_eq!(lines.get(len - 1), Some(&Line([7; 8])));
        }
        lines.grow(1);
        for index in 0..lines.len() {
            *lines.get_mut(index).unwrap() = Line([index as u64; 8]);
        }
        assert!((0..lines.len()).all(|i| lines.get(i) == Some(&Line([i as u64; 8]))));
        assert_eq!(lines.address(0), first);
        assert!(lines.bytes() >= lines.len() * 64);
    }
}
