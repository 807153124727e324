//! When the log is written and synced, and what happens when that fails.
//!
//! Written before every reply (at the end of each pass of the event loop),
//! by the event loop itself, unless a job has the file in hand: then groups
//! wait in memory and are written as soon as it ends. Synced as
//! `appendfsync` says.

use super::log::Mark;
use super::{JobEnd, Persist};
use crate::command::CommandError;
use crate::format::manifest::Manifest;
use crate::host::{Host, Level};
use crate::io::{DiskError, OnPath};
use crate::settings::FsyncPolicy;

/// Between two background fsyncs under `everysec`, in us.
const SYNC_EVERY_US: u64 = 1_000_000;
/// An fsync that takes less doesn't show in the event loop, in us: most of the
/// latest on a fast disk do, and none takes longer than the other.
const FAST_FSYNC_US: u64 = 400;
const SLOW_FSYNC_US: u64 = 4 * FAST_FSYNC_US;
/// So many are the latest.
const FEW_FSYNCS: usize = 16;
/// Fsync latencies remembered.
const LATENCIES: usize = 512;

/// Monotonic times, in us.
#[derive(Debug, Default)]
pub struct Timings {
    /// When the last background fsync was begun.
    pub last_sync_us: u64,
    /// Whether one is under way, and since when.
    pub syncing_since_us: Option<u64>,
    /// Since when written or waiting bytes aren't durable.
    pub at_risk_since_us: Option<u64>,
    /// Whether the window of `everysec` has grown past its bound.
    pub behind: bool,
    /// Whether the operator was told that fsync is slow.
    pub told_slow: bool,
    /// When the event loop will turn by itself for an fsync that waits.
    pub wakes_at_us: u64,
    /// Until when no background fsync begins.
    pub put_off_until_us: u64,
}

impl Persist {
    /// The end of a pass of the event loop. `false` when what was logged
    /// in it could not be made as durable as the policy promises: its
    /// replies must not leave.
    pub fn before_sleep(&mut self, host: &mut dyn Host) -> bool {
        self.flush(host);
        let kept = self.is_kept();
        self.owed_seq = 0;
        self.broken_promise = false;
        kept
    }

    /// A reply that leaves at the end of this pass tells of effects up to
    /// `seq`; 0 is of none.
    #[inline]
    pub fn rely_on(&mut self, seq: u64) {
        self.owed_seq = self.owed_seq.max(seq);
    }

    /// Up to which effect replies of this pass rely on any; 0 is none.
    #[inline]
    pub fn owed(&self) -> u64 {
        self.owed_seq
    }

    /// Whether the replies of this pass may leave. What nobody is told of at
    /// its end owes nothing: held replies, keys whose time came.
    fn is_kept(&self) -> bool {
        self.owed_seq == 0 || (!self.poisoned && !self.broken_promise && !self.is_owing())
    }

    /// Whether replies of this pass rely on what isn't durable and must be.
    pub(super) fn is_owing(&self) -> bool {
        self.holds() && !self.is_durable(self.owed_seq)
    }

    /// Whether nobody may hear of an effect before it is durable.
    #[inline]
    pub fn holds(&self) -> bool {
        self.settings.appendfsync == FsyncPolicy::Always && self.log_is_in_force()
    }

    /// Takes the ends of background work, and goes on with what that allows.
    pub fn hear(&mut self, host: &mut dyn Host) {
        self.poll(host);
        // Those who wait for it are told sooner than by the next tick.
        if self.holds() {
            self.try_heal(host);
        }
    }

    /// Seals, writes and syncs as the policy says. Not the end of a pass: it
    /// acknowledges nothing.
    pub(super) fn flush(&mut self, host: &mut dyn Host) {
        self.unwatch(host);
        self.poll(host);
        let Some(log) = &mut self.log else { return };
        if log.has_open() {
            let now = self.clock.now_ms();
            log.seal(now, self.settings.aof_timestamp_enabled);
        }
        if !log.has_waiting() && !log.has_unsynced() {
            self.timings.at_risk_since_us = None;
            self.timings.behind = false;
            return;
        }
        if self.timings.at_risk_since_us.is_none() {
            self.timings.at_risk_since_us = Some(self.clock.monotonic_us());
        }
        match self.settings.appendfsync {
            FsyncPolicy::Always if self.is_owing() => self.write_and_sync(host),
            FsyncPolicy::Always => {
                if self.write_out(host) && self.is_disk_fast() && self.exec.in_flight() == 0 {
                    self.sync_inline(host);
                } else {
                    self.sync_if_due();
                }
                self.try_heal(host);
            }
            FsyncPolicy::Everysec => {
                self.timings.behind = self.is_past_bound();
                self.write_out(host);
                self.sync_if_due();
            }
            FsyncPolicy::No => {
                // What waited would be lost with the process, and `no` promises
                // that nothing is.
                self.wait_for_file(host);
                if self.write_out(host) {
                    if self.sync_is_asked() {
                        self.sync_inline(host);
                    }
                    if let Some(log) = &mut self.log {
                        log.forget_written();
                    }
                }
            }
        }
    }

    /// Writes what is logged, and leaves the fsync to the end of the pass; or
    /// to the I/O thread, if that hasn't come in `wait_us`: then replies are
    /// about to leave without it. `false` if it couldn't be written, or that
    /// thread has other work. Only between execution units, under `always`.
    pub fn write_early(&mut self, host: &mut dyn Host, wait_us: u64) -> bool {
        self.unwatch(host);
        // Who relies on this would have to wait for such a job anyway.
        self.wait_for_file(host);
        let now = self.clock.now_ms();
        if let Some(log) = &mut self.log {
            log.seal(now, self.settings.aof_timestamp_enabled);
        }
        // It looks only between jobs, and a commit may take as long as the script.
        if !self.write_out(host) || self.exec.in_flight() > 0 {
            return false;
        }
        let unsynced = self.log.as_ref().is_some_and(super::log::Log::has_unsynced);
        if let Some(fsync) = self.fsync().filter(|_| unsynced) {
            self.is_watched = true;
            let job = Box::new(move || Box::new(fsync()) as _);
            if self.watchdog.set(wait_us, job) {
                self.exec.watch(self.watchdog.clone());
            }
        }
        true
    }

    /// A job may have the log's file in hand: until it ends. Others may go on.
    fn wait_for_file(&mut self, host: &mut dyn Host) {
        while self.jobs_on_log > 0 && self.wait(host) {}
    }

    /// Seals and writes early when the open group has grown large; only
    /// between execution units.
    #[inline]
    pub fn unit_done(&mut self, host: &mut dyn Host) {
        if self.log.as_ref().is_some_and(super::log::Log::is_full) {
            self.flush(host);
        }
    }

    /// Whether a job has the log's file in hand, or waits to.
    pub fn is_log_in_hand(&self) -> bool {
        self.jobs_on_log > 0
    }

    /// Whether the event loop may write: the file is good and in nobody
    /// else's hands.
    fn may_touch_log(&self) -> bool {
        self.health.is_ok() && self.jobs_on_log == 0
    }

    /// Writes what is sealed, if that may be done now.
    fn write_out(&mut self, host: &mut dyn Host) -> bool {
        if !self.may_touch_log() {
            if let Some(since) = self.timings.syncing_since_us
                && self.clock.monotonic_us() - since > 2_000_000
                && !self.timings.told_slow
            {
                self.timings.told_slow = true;
                self.counters.delayed_fsync += 1;
                host.log(
                    Level::Notice,
                    "Asynchronous AOF fsync is taking too long (disk is busy?). The event loop goes on; what is written meanwhile waits in memory.",
                );
            }
            return false;
        }
        let Some(log) = &mut self.log else {
            return true;
        };
        if !log.has_waiting() {
            return true;
        }
        let begun = self.clock.monotonic_us();
        let result = log.write();
        host.latency(
            "persist-aof-write",
            (self.clock.monotonic_us() - begun) / 1000,
        );
        match result {
            Ok(()) => true,
            Err(e) => {
                self.broken(host, &e);
                false
            }
        }
    }

    /// `always`, with replies that are about to leave: written and synced when
    /// this returns, by new files if the old one fails, unless even that
    /// failed.
    fn write_and_sync(&mut self, host: &mut dyn Host) {
        self.wait_for_file(host);
        if self.health.is_ok() && self.write_out(host) {
            self.sync_inline(host);
        }
        if self.heal_is_due() {
            self.drain(host);
            self.try_heal(host);
            self.drain(host);
        }
    }

    /// Syncs on the event loop.
    pub(super) fn sync_inline(&mut self, host: &mut dyn Host) {
        let Some(log) = &mut self.log else { return };
        if !log.has_unsynced() {
            return;
        }
        self.gather.begun();
        let begun = self.clock.monotonic_us();
        let path = log.target.path.clone();
        let result = log.target.file.sync().on("fsync", &path);
        let took = self.clock.monotonic_us() - begun;
        let mark = log.written();
        self.synced(host, mark, took, result.map(|()| None));
    }

    /// Whether anything has waited for an fsync longer than `max-at-risk-ms`.
    fn is_past_bound(&self) -> bool {
        let bound = self.settings.max_at_risk_ms.unsigned_abs() * 1_000;
        let since = self.timings.at_risk_since_us;
        bound > 0 && since.is_some_and(|since| self.clock.monotonic_us() - since > bound)
    }

    /// Whether replies to writes are held back: until they are durable under
    /// `always`, or under `everysec` until what isn't durable is younger than
    /// `max-at-risk-ms`.
    #[inline]
    pub fn holds_writers(&self) -> bool {
        self.holds() || self.is_behind()
    }

    /// Whether a write may run whose client can't be held back. The answer
    /// changes only at the end of a pass and between units.
    ///
    /// # Errors
    /// What the client is told otherwise.
    pub fn keeps_up(&mut self) -> Result<(), CommandError> {
        if !self.is_behind() {
            return Ok(());
        }
        self.counters.refused_behind += 1;
        Err(CommandError::text(
            "TRYAGAIN The disk is further behind than persist.max-at-risk-ms allows, and transactions and scripts can't be held back until it catches up: their durable writes are refused. Nothing durable was changed. See at_risk_ms in PERSIST.INFO.",
        ))
    }

    fn is_behind(&self) -> bool {
        self.timings.behind
            && self.settings.appendfsync == FsyncPolicy::Everysec
            && self.log_is_in_force()
    }

    /// Whether fsyncs take no longer than waking a thread and being woken by it
    /// does: then the event loop had better sync itself.
    pub fn is_disk_fast(&self) -> bool {
        let latest = self.counters.fsync_us.iter().rev().take(FEW_FSYNCS);
        let (mut all, mut fast) = (0, 0);
        for us in latest {
            if *us > SLOW_FSYNC_US {
                return false;
            }
            all += 1;
            fast += usize::from(*us < FAST_FSYNC_US);
        }
        all == FEW_FSYNCS && fast > all / 2
    }

    /// Begins a background fsync: at once under `always`, where somebody may
    /// wait for it, else once a second.
    fn sync_if_due(&mut self) {
        // Behind another job it wouldn't begin sooner, but writes would wait
        // for both.
        if !self.may_touch_log() || self.exec.in_flight() > 0 {
            return;
        }
        let always = self.settings.appendfsync == FsyncPolicy::Always;
        let asked = always || self.timings.behind || self.sync_is_asked();
        if self.settings.no_appendfsync_on_rewrite && self.child_is_alive() && !asked {
            return;
        }
        let now = self.clock.monotonic_us();
        let Some(log) = &self.log else { return };
        let is_time = asked || now - self.timings.last_sync_us >= SYNC_EVERY_US;
        if !log.has_unsynced() || !is_time || (always && self.is_gathering(now)) {
            return;
        }
        self.begin_sync();
    }

    /// A client is held whose write waits for an fsync.
    #[inline]
    pub fn writer_is_held(&mut self) {
        self.gather.joined();
    }

    /// No background fsync begins for so many us: one on the event loop is
    /// about to come.
    pub fn put_off_sync(&mut self, us: u64) {
        self.timings.put_off_until_us = self.clock.monotonic_us() + us;
    }

    /// Whether the next fsync waits a moment for more writers.
    fn is_gathering(&mut self, now: u64) -> bool {
        let put_off = Some(self.timings.put_off_until_us).filter(|&until| now < until);
        let until = self.gather.waits_until(now).max(put_off);
        let Some(until) = until.filter(|_| !self.sync_is_asked()) else {
            return false;
        };
        if self.timings.wakes_at_us != until {
            self.timings.wakes_at_us = until;
            self.exec.wake_in(until - now);
        }
        true
    }

    /// The number of the last change.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The number of the last change that is on disk for sure; `None` when no
    /// log is in force.
    pub fn durable_seq(&self) -> Option<u64> {
        let log = self.log.as_ref().filter(|_| self.log_is_in_force())?;
        Some(log.durable().seq)
    }

    /// Begins a background fsync under `no`; the other policies do so
    /// themselves.
    pub fn sync_soon(&mut self, host: &mut dyn Host) {
        self.poll(host);
        let unsynced = self.log.as_ref().is_some_and(super::log::Log::has_unsynced);
        if self.settings.appendfsync == FsyncPolicy::No
            && unsynced
            && self.may_touch_log()
            && self.exec.in_flight() == 0
        {
            self.begin_sync();
        }
    }

    /// Hands an fsync of all that is written to the I/O thread.
    pub(super) fn begin_sync(&mut self) {
        let now = self.clock.monotonic_us();
        self.timings.last_sync_us = now;
        self.timings.syncing_since_us = Some(now);
        self.timings.told_slow = false;
        self.gather.begun();
        if let Some(fsync) = self.fsync() {
            self.submit_on_log(fsync);
        }
    }

    /// An fsync of all that is written, for the I/O thread.
    fn fsync(&self) -> Option<impl FnOnce() -> JobEnd + Send + 'static + use<>> {
        let log = self.log.as_ref()?;
        let (target, mark) = (log.target.clone(), log.written());
        let clock = self.clock.clone();
        Some(move || {
            let begun = clock.monotonic_us();
            let result = target.file.sync().on("fsync", &target.path);
            let took_us = clock.monotonic_us() - begun;
            JobEnd::Synced {
                mark,
                took_us,
                result: result.map(|()| None),
            }
        })
    }

    /// An fsync has ended, and with it the commit of a manifest if there
    /// was one.
    pub(super) fn synced(
        &mut self,
        host: &mut dyn Host,
        mark: Mark,
        took_us: u64,
        result: Result<Option<Box<Manifest>>, DiskError>,
    ) {
        self.timings.syncing_since_us = None;
        self.gather.ended(self.clock.monotonic_us(), took_us);
        // The event loop or a client waited for it.
        if self.settings.appendfsync == FsyncPolicy::Always {
            host.latency("persist-aof-fsync-always", took_us / 1000);
        }
        if self.counters.fsync_us.len() == LATENCIES {
            self.counters.fsync_us.pop_front();
        }
        self.counters.fsync_us.push_back(took_us);
        let result = result.map(|manifest| {
            if let Some(manifest) = manifest {
                self.committed(*manifest);
            }
        });
        // Of a log that was given up meanwhile.
        let Some(log) = self.log.as_mut().filter(|log| log.knows(mark.file)) else {
            return;
        };
        match result {
            Err(e) => {
                log.distrust(mark.file);
                self.broken(host, &e);
            }
            // A success after a failure proves nothing about what failed.
            Ok(()) if !self.health.is_ok() => {}
            Ok(()) => {
                log.synced(mark);
                self.timings.at_risk_since_us = (log.has_unsynced() || log.has_waiting())
                    .then(|| self.clock.monotonic_us() - took_us);
            }
        }
    }
}
