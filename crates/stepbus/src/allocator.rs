//! mimalloc for many small, short-lived values from several threads: measured faster and flatter
//! than the system's allocator.
#![expect(unsafe_code, reason = "an allocator hands out memory")]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc,
    mi_zalloc_aligned,
};

/// As the `mimalloc` crate's, but it does not ask for an alignment that every block has: what asks
/// for one gets a part of a larger block wherever no free one of its own size is at hand.
pub(crate) struct Mimalloc;

/// Blocks are aligned to 16 bytes; those for less than 16 bytes to 8.
fn is_aligned_anyway(size: usize, align: usize) -> bool {
    align <= 16 && align <= size
}

// SAFETY: mimalloc's functions keep GlobalAlloc's contract: a block has the size asked for, belongs
// to the caller alone until it is freed, and `mi_free` and `mi_realloc` take the blocks of all of
// them, from any thread. None unwinds. Alignment is as said above.
unsafe impl GlobalAlloc for Mimalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: any size and any power of two are allowed.
        let block = unsafe {
            if is_aligned_anyway(size, align) {
                mi_malloc(size)
            } else {
                mi_malloc_aligned(size, align)
            }
        };
        block.cast()
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as for `alloc`.
        let block = unsafe {
            if is_aligned_anyway(size, align) {
                mi_zalloc(size)
            } else {
                mi_zalloc_aligned(size, align)
            }
        };
        block.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller gives back a block of this allocator.
        unsafe { mi_free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller gives a block of this allocator.
        let block = unsafe {
            if is_aligned_anyway(size, layout.align()) {
                mi_realloc(block.cast(), size)
            } else {
                mi_realloc_aligned(block.cast(), size, layout.align())
            }
        };
        block.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every other block of a size is given back in between, so that blocks are used again.
    fn check(size: usize, align: usize) {
        let layout = Layout::from_size_align(size, align).unwrap();
        let larger = Layout::from_size_align(2 * size, align).unwrap();
        let mut kept = Vec::new();
        for round in 0..64 {
            // SAFETY: no layout is empty, and each block is given back once with its own.
            unsafe {
                let block = match round % 2 {
                    0 => Mimalloc.alloc(layout),
                    _ => Mimalloc.alloc_zeroed(layout),
                };
                let block = Mimalloc.realloc(block, layout, larger.size());
                assert!(block.addr().is_multiple_of(align), "{size} bytes aligned to {align}");
                let other = Mimalloc.alloc(layout);
                assert!(other.addr().is_multiple_of(align), "{size} bytes aligned to {align}");
                Mimalloc.dealloc(other, layout);
                kept.push(block);
            }
        }
        for block in kept {
            // SAFETY: as above.
            unsafe { Mimalloc.dealloc(block, larger) };
        }
    }

    #[test]
    fn blocks_are_aligned_as_asked_for() {
        for align in [1, 2, 4, 8, 16, 32, 128, 4_096] {
            for size in [1, 7, 8, 12, 16, 24, 40, 100, 1_024, 1_500, 10_000, 300_000] {
                check(size, align);
            }
        }
    }
}
