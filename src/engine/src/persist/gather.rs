//! Under `appendfsync always`, the moment that an fsync waits for those whose
//! replies the one before has just released: most clients send their next
//! write at once. Without it they come a moment too late and wait for two
//! fsyncs each time, while those who came during the last one take turns with
//! them; with it, one fsync serves both. It ends as soon as as many have come
//! as are expected, and takes at most a small part of an fsync's time.

/// The part of an fsync's time that the next one may wait: 1 in so many.
const PART: u64 = 8;
/// And never longer, in us.
const MOST_US: u64 = 2_000;
/// After an fsync shorter than this, in us, nobody could come back in time.
const LEAST_FSYNC_US: u64 = 1_000;

/// Counts who waits for an fsync. Monotonic times, in us.
#[derive(Debug, Default)]
pub struct Gather {
    /// Held writers that the next fsync is to serve, and those of the one
    /// under way.
    waiting: u32,
    syncing: u32,
    /// So many may come, if they come before.
    expected: u32,
    until_us: u64,
}

impl Gather {
    /// A writer is held.
    pub fn joined(&mut self) {
        self.waiting = self.waiting.saturating_add(1);
    }

    /// An fsync begins.
    pub fn begun(&mut self) {
        self.syncing = std::mem::take(&mut self.waiting);
    }

    /// It is over.
    pub fn ended(&mut self, now_us: u64, took_us: u64) {
        self.expected = self
            .waiting
            .saturating_add(std::mem::take(&mut self.syncing));
        let pause = if took_us < LEAST_FSYNC_US {
            0
        } else {
            (took_us / PART).min(MOST_US)
        };
        self.until_us = now_us + pause;
    }

    /// Until when the next fsync should wait; `None` is not at all.
    pub fn waits_until(&self, now_us: u64) -> Option<u64> {
        (self.waiting < self.expected && now_us < self.until_us).then_some(self.until_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(gather: &mut Gather, n: u32) {
        for _ in 0..n {
            gather.joined();
        }
    }

    #[test]
    fn two_that_take_turns_come_together() {
        let mut gather = Gather::default();
        join(&mut gather, 3);
        assert_eq!(gather.waits_until(0), None, "nobody is expected yet");
        gather.begun();
        join(&mut gather, 5);
        gather.ended(10_000, 10_000);
        assert_eq!(gather.waits_until(10_000), Some(11_250));
        join(&mut gather, 2);
        assert_eq!(gather.waits_until(10_100), Some(11_250));
        join(&mut gather, 1);
        assert_eq!(gather.waits_until(10_200), None, "all eight are there");
        gather.begun();
        gather.ended(20_200, 10_000);
        join(&mut gather, 7);
        assert_eq!(gather.waits_until(20_300), Some(21_450));
    }

    #[test]
    fn who_does_not_come_is_not_waited_for_long() {
        let mut gather = Gather::default();
        join(&mut gather, 2);
        gather.begun();
        gather.ended(1_000_000, 900_000);
        join(&mut gather, 1);
        assert_eq!(gather.waits_until(1_000_000), Some(1_002_000));
        assert_eq!(gather.waits_until(1_002_000), None);
        // Nor by whoever comes later.
        gather.begun();
        gather.ended(2_000_000, 900);
        assert_eq!(gather.waits_until(2_000_000), None);
    }

    #[test]
    fn one_alone_never_waits() {
        let mut gather = Gather::default();
        for at in [0, 20_000, 40_000] {
            join(&mut gather, 1);
            assert_eq!(gather.waits_until(at), None);
            gather.begun();
            gather.ended(at + 10_000, 10_000);
        }
    }
}
