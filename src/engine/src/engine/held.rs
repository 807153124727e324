//! What replies wait for: those that are held back until what they tell of is
//! durable, and those that leave at the end of a pass, with an fsync before.

use super::{Call, Engine, Fate};
use crate::blocked::Ticket;
use crate::command::{CommandError, Flags, Reply, Spec};
use crate::host::Host;

/// What a command came to whose reply can be held back.
pub struct Held {
    /// The reply may leave when effects up to here are durable; 0 is at once.
    pub until: u64,
    /// What happened. A ticket: nothing was replied, the client waits for a
    /// key.
    pub result: Result<Option<Ticket>, CommandError>,
}

impl Engine {
    /// Sees to it that nobody hears too early of what a command changed since
    /// the effect number `before`, or found changed.
    #[inline]
    pub(super) fn owe(&mut self, spec: &Spec, args: &[&[u8]], held: bool, before: u64) {
        let seq = self.persist.seq();
        if seq > before && !held {
            self.persist.rely_on(seq);
        } else if seq > before && self.persist.holds() {
            self.undurable.note(spec.keys_of(args), seq);
            self.persist.writer_is_held();
        } else if !held && !self.undurable.is_empty() {
            let needed = self.undurable.needed(spec.keys_of(args));
            self.persist.rely_on(needed);
        }
    }

    /// Runs one data command of a client whose reply can be held back, and
    /// that can wait for keys. Under a policy that promises nothing before a
    /// reply, it never is.
    pub fn execute_held(
        &mut self,
        host: &mut dyn Host,
        spec: &'static Spec,
        args: &[&[u8]],
        db: u32,
        reply: &mut dyn Reply,
    ) -> Held {
        let before = self.persist.seq();
        let call = Call {
            db,
            held: true,
            ..Call::default()
        };
        let result = if spec.flags.has(Flags::BLOCKING) {
            self.execute_or_wait(host, spec, args, call, reply)
        } else {
            self.execute(host, spec, args, call, reply).map(|()| None)
        };
        let seq = self.persist.seq();
        let until = match &result {
            Ok(Some(_)) => 0,
            _ if spec.may_log() && seq > before && self.persist.holds_writers() => seq,
            _ => self.needed(spec, args),
        };
        Held { until, result }
    }

    /// Up to which effect things must be durable before the reply to this
    /// command, if it changes nothing, may leave; 0 is at once.
    pub fn needed(&self, spec: &Spec, args: &[&[u8]]) -> u64 {
        if self.undurable.is_empty() {
            return 0;
        }
        let until = self.undurable.needed(spec.keys_of(args));
        // While the disk fails nobody knows how long it would be.
        if self.persist.fate(until) == Fate::Open {
            until
        } else {
            0
        }
    }

    /// Whether replies are held back until what they tell of is durable.
    #[inline]
    pub fn holds(&self) -> bool {
        self.persist.holds()
    }

    /// Whether an fsync takes so little that the event loop had better do it.
    #[inline]
    pub fn is_disk_fast(&self) -> bool {
        self.persist.is_disk_fast()
    }

    /// Whether replies to writes are held back, for that or because too much
    /// waits to be synced.
    #[inline]
    pub fn holds_writers(&self) -> bool {
        self.persist.holds_writers()
    }

    /// Whether anything that was changed waits to be durable, and readers of
    /// it with it.
    #[inline]
    pub fn has_undurable(&self) -> bool {
        !self.undurable.is_empty()
    }

    /// Writes what is logged, and leaves the fsync to the end of the pass; or
    /// to the I/O thread, if that hasn't come in `wait_us`. `false` if neither
    /// is certain: then an fsync must come first. Only between execution units,
    /// under `always`.
    pub fn write_early(&mut self, host: &mut dyn Host, wait_us: u64) -> bool {
        self.persist.write_early(host, wait_us)
    }

    /// No background fsync begins for so many us, unless somebody asks for one:
    /// one on the event loop is about to come ([`gate`](crate::gate)).
    pub fn put_off_sync(&mut self, us: u64) {
        self.persist.put_off_sync(us);
    }

    /// Whether the I/O thread works on the log, or is about to.
    pub fn is_log_in_hand(&self) -> bool {
        self.persist.is_log_in_hand()
    }

    /// Whether a reply that leaves at the end of this pass tells of anything
    /// that must be durable then.
    #[inline]
    pub fn owes(&self) -> bool {
        self.owed() > 0
    }

    /// Up to which effect; 0 if it doesn't.
    #[inline]
    pub fn owed(&self) -> u64 {
        self.persist.owed()
    }

    /// What became of the effects up to `seq`.
    pub fn fate(&self, seq: u64) -> Fate {
        self.persist.fate(seq)
    }
}
