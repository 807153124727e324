//! Time as the engine takes it: handed in, so that a test can set it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A wall clock and a stopwatch.
pub trait Clock {
    /// Milliseconds since 1970-01-01 UTC. May jump when the system's time is
    /// set.
    fn now_ms(&self) -> u64;

    /// Microseconds since an arbitrary start; never goes backwards.
    fn monotonic_us(&self) -> u64;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose stopwatch starts now.
    pub fn new() -> Self {
        SystemClock {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_millis() as u64,
            Err(_) => 0, // set to before 1970
        }
    }

    fn monotonic_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicU64,
    monotonic_us: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now_ms`, with its stopwatch at 0.
    pub fn new(now_ms: u64) -> Self {
        ManualClock {
            now_ms: AtomicU64::new(now_ms),
            monotonic_us: AtomicU64::new(0),
        }
    }

    /// Sets the wall clock, backwards too; the stopwatch isn't touched.
    pub fn set_ms(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Lets `ms` milliseconds pass on both.
    pub fn advance_ms(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
        self.monotonic_us.fetch_add(ms * 1000, Ordering::Relaxed);
    }

    /// Lets `us` microseconds pass on the stopwatch alone.
    pub fn advance_us(&self, us: u64) {
        self.monotonic_us.fetch_add(us, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_runs_forward() {
        let clock = SystemClock::new();
        let first = clock.monotonic_us();
        assert!(clock.monotonic_us() >= first);
        assert!(clock.now_ms() > 1_600_000_000_000);
    }

    #[test]
    fn the_manual_clock_obeys() {
        let clock = ManualClock::new(1000);
        clock.advance_ms(5);
        clock.advance_us(7);
        assert_eq!((clock.now_ms(), clock.monotonic_us()), (1005, 5007));
        clock.set_ms(1);
        assert_eq!((clock.now_ms(), clock.monotonic_us()), (1, 5007));
    }
}
