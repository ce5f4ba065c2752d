//! An allocator that holds every input to a cap, so that a claim that is believed is a finding.
//!
//! # Soundness
//! All of it is the system's allocator's; only sums are kept beside it.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    process::abort,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What one input may take of the heap.
#[derive(Clone, Copy, Debug)]
pub struct Cap {
    /// By one allocation.
    pub one_bytes: usize,
    /// By all that are there at the same time.
    pub live_bytes: usize,
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static ONE_BYTES_MAX: AtomicUsize = AtomicUsize::new(usize::MAX);
static LIVE_BYTES_MAX: AtomicUsize = AtomicUsize::new(usize::MAX);
/// The most that any input has taken, for the summary.
static LARGEST_ONE: AtomicUsize = AtomicUsize::new(0);
static LARGEST_LIVE: AtomicUsize = AtomicUsize::new(0);
static LIVE_BEFORE: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` under the cap. What breaks it ends the process, as libFuzzer wants it.
pub fn within(cap: Cap, work: impl FnOnce()) {
    let before = LIVE_BYTES.load(Relaxed);
    LIVE_BEFORE.store(before, Relaxed);
    LIVE_BYTES_MAX.store(before + cap.live_bytes, Relaxed);
    ONE_BYTES_MAX.store(cap.one_bytes, Relaxed);
    work();
    ONE_BYTES_MAX.store(usize::MAX, Relaxed);
    LIVE_BYTES_MAX.store(usize::MAX, Relaxed);
}

unsafe extern "C" {
    fn atexit(report: extern "C" fn()) -> i32;
}

/// Has the process say at its end what the most was that an input took; libFuzzer ends it where no code of ours follows.
pub fn report_at_exit() {
    // SAFETY: of libc, and what it calls does not unwind: it only writes.
    unsafe { atexit(report) };
}

extern "C" fn report() {
    eprintln!("stat::largest_allocation_bytes: {}", LARGEST_ONE.load(Relaxed));
    eprintln!("stat::largest_growth_bytes: {}", LARGEST_LIVE.load(Relaxed));
}

fn grows(bytes: usize, one: usize) {
    let live = LIVE_BYTES.fetch_add(bytes, Relaxed) + bytes;
    if ONE_BYTES_MAX.load(Relaxed) == usize::MAX {
        return;
    }
    let grown = live.saturating_sub(LIVE_BEFORE.load(Relaxed));
    LARGEST_ONE.fetch_max(one, Relaxed);
    LARGEST_LIVE.fetch_max(grown, Relaxed);
    let (one_max, live_max) = (ONE_BYTES_MAX.load(Relaxed), LIVE_BYTES_MAX.load(Relaxed));
    if one <= one_max && live <= live_max {
        return;
    }
    // The message itself must not be counted.
    ONE_BYTES_MAX.store(usize::MAX, Relaxed);
    eprintln!("ALLOCATION CAP: {one} bytes at once (cap {one_max}), {grown} together");
    eprintln!("{}", std::backtrace::Backtrace::force_capture());
    abort();
}

fn shrinks(bytes: usize) {
    LIVE_BYTES.fetch_sub(bytes, Relaxed);
}

// SAFETY: see the head of this file.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grows(layout.size(), layout.size());
        // SAFETY: the caller's promise is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grows(layout.size(), layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        shrinks(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment both may be there.
        grows(size, size);
        shrinks(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}
