//! One allocator for all Rust code in the module: the host's, so that
//! `used_memory` and `maxmemory` see what durable keys take.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use redis_module::raw;

/// What the host's allocator aligns to in every build of it; one without
/// jemalloc and without malloc_usable_size puts a word in front.
const HOST_ALIGN: usize = 8;

struct HostAllocator;

#[global_allocator]
static ALLOCATOR: HostAllocator = HostAllocator;

/// Bytes in use, as asked for.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// Allocations made before the host's functions were known.
static EARLY: AtomicUsize = AtomicUsize::new(0);

/// Bytes that Rust code holds, as asked for.
pub fn in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// Whether nothing was allocated before the host's functions were known. If
/// something was, it would be freed by the wrong allocator.
pub fn is_clean() -> bool {
    EARLY.load(Ordering::Relaxed) == 0
}

/// Memory for `size` bytes, aligned to [`HOST_ALIGN`].
///
/// # Safety
/// As for `malloc`.
#[inline]
unsafe fn allocate(size: usize) -> *mut u8 {
    // SAFETY: the host sets the pointer once, in its initialisation, before
    // there is a second thread; it takes any size.
    unsafe {
        match raw::RedisModule_Alloc {
            Some(alloc) => alloc(size).cast(),
            None => {
                EARLY.fetch_add(1, Ordering::Relaxed);
                System.alloc(Layout::from_size_align_unchecked(size, HOST_ALIGN))
            }
        }
    }
}

/// Frees what [`allocate`] gave.
///
/// # Safety
/// `ptr` came from [`allocate`] with `size`, and isn't used again.
#[inline]
unsafe fn release(ptr: *mut u8, size: usize) {
    // SAFETY: see `allocate`. The module doesn't start if the system's
    // allocator was used before the host's (`is_clean`), so the pointer
    // comes from the one that is in force.
    unsafe {
        match raw::RedisModule_Free {
            Some(free) => free(ptr.cast()),
            None => System.dealloc(ptr, Layout::from_size_align_unchecked(size, HOST_ALIGN)),
        }
    }
}

// SAFETY: every block comes from the host's allocator, or lies aligned in a
// larger one whose start stands in the word before it; the layout tells which.
unsafe impl GlobalAlloc for HostAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        IN_USE.fetch_add(size, Ordering::Relaxed);
        if align <= HOST_ALIGN {
            // SAFETY: the caller's duty, passed on.
            return unsafe { allocate(size) };
        }
        // SAFETY: the sum can't overflow, as a layout is at most isize::MAX
        // and the host ends the process when memory is short. `start` is
        // aligned to a word, so `skip` is at least one word and at most
        // `align`, and the word before the block lies inside.
        unsafe {
            let start = allocate(size + align);
            if start.is_null() {
                return start;
            }
            let skip = align - (start.addr() & (align - 1));
            let block = start.add(skip);
            block.cast::<*mut u8>().sub(1).write(start);
            block
        }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let (size, align) = (layout.size(), layout.align());
        IN_USE.fetch_sub(size, Ordering::Relaxed);
        // SAFETY: `ptr` came from `alloc` with this layout, so an aligned
        // block has its start in the word before it.
        unsafe {
            if align <= HOST_ALIGN {
                release(ptr, size);
            } else {
                release(ptr.cast::<*mut u8>().sub(1).read(), size + align);
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let size = layout.size();
        // SAFETY: see `allocate`; calloc's memory is aligned as malloc's is.
        unsafe {
            if layout.align() <= HOST_ALIGN
                && let Some(calloc) = raw::RedisModule_Calloc
            {
                IN_USE.fetch_add(size, Ordering::Relaxed);
                return calloc(1, size).cast();
            }
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, size);
            }
            block
        }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let size = layout.size();
        // SAFETY: `ptr` came from `alloc` with this layout; the new layout
        // has the same alignment, and its size was checked by the caller.
        unsafe {
            if layout.align() <= HOST_ALIGN
                && let Some(realloc) = raw::RedisModule_Realloc
            {
                IN_USE.fetch_add(new_size.wrapping_sub(size), Ordering::Relaxed);
                return realloc(ptr.cast(), new_size).cast();
            }
            let block = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !block.is_null() {
                ptr.copy_to_nonoverlapping(block, size.min(new_size));
                self.dealloc(ptr, layout);
            }
            block
        }
    }
}
