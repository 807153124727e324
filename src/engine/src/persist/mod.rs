//! Durability: the log, snapshots, rewrites and recovery, composed of
//! `io` and `format`.
//!
//! The event loop owns all state. What must not hold it up (fsync in the
//! background, commits) goes to the [`executor`] as jobs that run strictly in
//! order and come back as [`JobEnd`]s. While a job that touches the log is
//! under way the event loop writes nothing to it, so there is one writer at
//! any moment.
//!
//! - [`load`]: which files win at start, and reading them; [`loader`]: with
//!   what; [`reading`]: what that tells; [`refusal`]: why there is no start;
//!   [`verify`]: whether the log is whole; [`repair`]: what a crash left is
//!   tidied up.
//! - [`start`]: from what was found to a running log.
//! - [`log`]: effects become groups, groups become durable.
//! - [`flush`]: when to write and sync. [`gather`]: when an fsync waits for
//!   more writers. [`heal`]: when that fails. [`sync`]: when a client asks. [`at_risk`]:
//!   what isn't durable, in keys.
//! - [`save`]: snapshots. [`rewrite`]: new bases. Both fork. [`room`]: whether
//!   they would fit.
//! - [`watchdog`]: an fsync that comes by itself while the event loop is busy.
//! - [`turn`]: the log turned on and off. [`commit`]: changes of the manifest.
//! - [`online`]: the files checked while the server goes on (PERSIST.VERIFY).
//! - [`dump`], [`restore`], [`replay`]: the keyspace to bytes and back.
//! - [`rescue`]: a sound log of what a start refuses; for the offline tool.

pub mod at_risk;
pub mod commit;
pub mod dump;
pub mod executor;
pub mod files;
pub mod flush;
mod gather;
pub mod heal;
pub mod info;
pub mod load;
pub mod loader;
pub mod log;
pub mod online;
pub mod reading;
pub mod refusal;
pub mod repair;
pub mod replay;
pub mod rescue;
pub mod restore;
pub mod rewrite;
pub mod room;
pub mod save;
pub mod start;
pub mod sync;
pub mod turn;
pub mod verify;
pub mod watchdog;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::clock::Clock;
use crate::base::hash::Seed;
use crate::command::CommandError;
use crate::format::HistoryId;
use crate::format::manifest::{Manifest, ReplacedFile};
use crate::host::{ChildEnd, Host, JobPanicked, Level};
use crate::io::{Disk, DiskError};
use crate::keyspace::Keyspace;
use crate::settings::{FsyncPolicy, Settings};
use commit::JobError;
use executor::Executor;
use files::Files;
use flush::Timings;
use gather::Gather;
use heal::{HealError, Health};
use log::{Log, LogFile, Mark};
use rewrite::Rewrite;
use save::Save;
use turn::Closing;
use watchdog::Watchdog;

/// What a finished job tells.
pub enum JobEnd {
    /// The log is durable up to the mark.
    Synced {
        /// How far.
        mark: Mark,
        /// How long the fsync took, in us.
        took_us: u64,
        /// Whether it worked, and the manifest that came into force with it.
        result: Result<Option<Box<Manifest>>, DiskError>,
    },
    /// The manifest names the incr file of a coming rewrite.
    IncrReady(Result<(LogFile, Box<Manifest>), JobError>),
    /// The new base is in force.
    BaseCommitted {
        /// Its length in bytes.
        len: u64,
        /// The manifest in force now.
        result: Result<Box<Manifest>, JobError>,
    },
    /// The snapshot is in place.
    SnapshotCommitted(Result<(), DiskError>),
    /// Abandoned groups stand in a new file, after the mark, and the manifest
    /// says so.
    Healed(Result<(LogFile, Box<Manifest>, Mark), HealError>),
    /// The manifest says where the log that was turned off ends.
    Closed(Result<(), DiskError>),
    /// Something was tidied up; nothing depends on it.
    Tidied,
}

/// The state of everything durable.
pub struct Persist {
    /// Where files are.
    pub files: Files,
    disk: Arc<dyn Disk>,
    exec: Box<dyn Executor>,
    clock: Arc<dyn Clock + Send + Sync>,
    /// The settings in force.
    pub settings: Settings,
    /// Sequence number of the last effect.
    pub seq: u64,
    /// Its history.
    pub history: HistoryId,
    /// Seed of the keyspace's hash.
    pub seed: Seed,
    /// The log, while it is on.
    log: Option<Log>,
    /// The manifest in force; its numbers for next files may be further on.
    manifest: Option<Manifest>,
    /// Files that failed jobs left and that a manifest on disk may name.
    litter: Vec<ReplacedFile>,
    /// Set while the end of a log that was turned off isn't surely marked.
    closing: Option<Closing>,
    health: Health,
    /// Jobs under way that hold the log's file.
    jobs_on_log: usize,
    /// Replies that leave at the end of this pass rely on effects up to here.
    owed_seq: u64,
    /// The log was turned off in this pass and could not take what they rely on.
    broken_promise: bool,
    save: Save,
    rewrite: Rewrite,
    /// What a child that was killed leaves, until its end is told.
    doomed: Option<PathBuf>,
    /// Whether whoever ends the server wants a snapshot.
    last_save_asked: bool,
    timings: Timings,
    gather: Gather,
    watchdog: Arc<Watchdog>,
    /// Whether it is set, or was.
    is_watched: bool,
    counters: Counters,
    verifications: online::Verifications,
    temp_number: u64,
    /// Up to where somebody wants to hear that it is durable.
    sync_asked: u64,
    /// Set by a panic inside a write: memory can't be trusted any more.
    poisoned: bool,
    /// Bytes that the data take in memory.
    memory: fn() -> usize,
    sizes: room::Sizes,
    /// What was lost, if the data set comes of damaged files.
    rescued: Option<rescue::Report>,
}

/// What INFO tells beyond the present state.
#[derive(Debug, Default)]
pub struct Counters {
    /// Changes since the last save.
    pub dirty: u64,
    /// When the last successful save ended, unix seconds.
    pub last_save: u64,
    /// The same by the stopwatch, in s: save points hold whatever the wall
    /// clock does. Before 0 if that was before the start.
    pub saved_secs: i64,
    /// Whether the last BGSAVE worked.
    pub last_bgsave_ok: bool,
    /// How long the last BGSAVE took, in s.
    pub last_bgsave_secs: Option<u64>,
    /// When one was last tried, in s by the stopwatch.
    pub last_bgsave_try: i64,
    /// Memory that the last child of a BGSAVE cost, in bytes.
    pub save_cow_bytes: u64,
    /// Memory that the last child of a rewrite cost, in bytes.
    pub rewrite_cow_bytes: u64,
    /// Successful saves.
    pub saves: u64,
    /// Whether the last rewrite worked.
    pub last_rewrite_ok: bool,
    /// How long it took, in s.
    pub last_rewrite_secs: Option<u64>,
    /// Successful rewrites.
    pub rewrites: u64,
    /// Failed rewrites in a row.
    pub rewrite_failures: u32,
    /// When the last one failed, monotonic us.
    pub rewrite_failed_at_us: u64,
    /// Length of the base in bytes.
    pub base_len: u64,
    /// Length of everything at the last rewrite or at start, in bytes.
    pub rewrite_base_size: u64,
    /// Writes that waited behind an fsync.
    pub delayed_fsync: u64,
    /// Writes refused because the disk was too far behind.
    pub refused_behind: u64,
    /// Keys in the child's hands, and how many of them it has done.
    pub child_keys: u64,
    /// When loading began and how long it took.
    pub load_ms: u64,
    /// Keys loaded at start.
    pub loaded_keys: u64,
    /// Keys that were due at start.
    pub expired_at_load: u64,
    /// Latest fsync latencies, in us, newest last.
    pub fsync_us: VecDeque<u64>,
}

impl Persist {
    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn now_secs(&self) -> u64 {
        self.now_ms() / 1000
    }

    /// Seconds by the stopwatch, which no setting of the clock moves.
    fn stopwatch_secs(&self) -> i64 {
        (self.clock.monotonic_us() / 1_000_000).cast_signed()
    }

    fn next_temp(&mut self) -> u64 {
        self.temp_number += 1;
        self.temp_number
    }

    /// Whether the log is on or being turned on.
    pub fn log_is_on(&self) -> bool {
        self.log.is_some()
    }

    /// Whether a child of ours is alive.
    pub fn child_is_alive(&self) -> bool {
        self.save.pid().is_some() || self.rewrite.pid().is_some()
    }

    /// Notes one effect: it gets the next sequence number.
    #[inline]
    pub fn effect(&mut self, db: u32, name: &[u8], args: &[&[u8]], atomic: bool, single_key: bool) {
        self.seq += 1;
        self.counters.dirty += 1;
        if let Some(log) = &mut self.log {
            log.effect(db, name, args, atomic, single_key);
        }
    }

    /// Whether a write may run now.
    ///
    /// # Errors
    /// What the client is told otherwise.
    #[inline]
    pub fn may_write(&self) -> Result<(), CommandError> {
        if self.health.is_ok()
            && !self.poisoned
            && (self.counters.last_bgsave_ok || !self.stops_on_failed_save())
        {
            return Ok(());
        }
        Err(self.refusal())
    }

    fn stops_on_failed_save(&self) -> bool {
        self.settings.stop_writes_on_bgsave_error && !self.settings.save_points().is_empty()
    }

    #[cold]
    fn refusal(&self) -> CommandError {
        if self.poisoned {
            return CommandError::text(
                "MISCONF An internal error may have left the durable keyspace half changed. Writes are refused until the server is restarted, which replays the log. See the server's log.",
            );
        }
        match &self.health {
            Health::Broken { error, .. } => CommandError::Text(
                format!("MISCONF Errors writing to the AOF file: {error}").into(),
            ),
            Health::Ended => CommandError::text("ERR the server is shutting down"),
            Health::Ok => CommandError::text(
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.",
            ),
        }
    }

    /// A write handler panicked; see [`Persist::may_write`].
    pub fn poison(&mut self, host: &mut dyn Host) {
        self.poisoned = true;
        // Its effects may be half told, so none of this pass is logged, nor
        // acknowledged; what was sealed before is good.
        if let Some(log) = &mut self.log {
            log.discard_open();
        }
        host.log(
            Level::Warning,
            "a panic inside a write: the durable keyspace may be half changed. Writes, saves and rewrites are refused until a restart replays the log.",
        );
    }

    /// A transaction or script begins. Where nobody says so, one that is told of
    /// by [`drop_unit`](Self::drop_unit) takes along what the pass logged before.
    #[inline]
    pub fn unit_begins(&mut self) {
        if let Some(log) = &mut self.log {
            log.unit_begins();
        }
    }

    /// The server stops in the middle of a transaction or script, of which no
    /// file may hold half: what it has logged is dropped.
    pub fn drop_unit(&mut self, host: &mut dyn Host) {
        // No last snapshot either, and no mark of a clean end.
        self.poisoned = true;
        if let Some(log) = &mut self.log {
            log.discard_unit();
        }
        host.log(
            Level::Warning,
            "The server stops in the middle of a transaction or script: what that has done so far is dropped, and no last snapshot is taken.",
        );
    }

    /// Regular work, some ten times a second, never inside a transaction.
    pub fn tick(&mut self, host: &mut dyn Host, space: &Keyspace) {
        // The end of the pass syncs once, for all that wait for it.
        if self.is_owing() {
            self.hear(host);
        } else {
            self.flush(host);
            self.try_heal(host);
        }
        self.close_if_due();
        self.verification_ended(host);
        self.save_if_due(host, space);
        self.advance_rewrite(host, space);
    }

    /// The child has ended.
    pub fn child_done(&mut self, host: &mut dyn Host, end: ChildEnd) {
        if let Some(temp) = self.doomed.take() {
            self.remove_later(temp);
        } else if self.save.pid().is_some() {
            self.save_child_done(host, end);
        } else {
            self.rewrite_child_done(host, end);
        }
    }

    /// PERSIST.LASTSAVE: unix seconds.
    pub fn last_save(&self) -> u64 {
        self.counters.last_save
    }

    /// So many keys were due when the server started.
    pub fn note_expired_at_load(&mut self, keys: u64) {
        self.counters.expired_at_load = keys;
    }

    /// Takes settings changed at run time.
    pub fn apply(&mut self, host: &mut dyn Host, settings: Settings) {
        let held = self.holds();
        let before = std::mem::replace(&mut self.settings, settings);
        // Who was held under `always` shall not wait for the next second.
        if before.appendfsync == FsyncPolicy::Always {
            self.sync_asked = self.seq;
        }
        if self.settings.appendonly && !before.appendonly {
            if let Err(e) = self.turn_on(host) {
                host.log(
                    Level::Warning,
                    &format!(
                        "The log can't be turned on: {e}. persist.appendonly is set back to no."
                    ),
                );
                self.settings.appendonly = false;
            }
        } else if !self.settings.appendonly && before.appendonly {
            match self.turn_off(host, held) {
                Ok(()) => host.log(Level::Notice, "The log is off and closed."),
                Err(e) => host.log(
                    Level::Warning,
                    &format!("The log is off, but not all of it could be made durable and its end marked: {e}. Take a snapshot with PERSIST.SAVE."),
                ),
            }
        }
    }

    /// Takes the ends of finished jobs.
    fn poll(&mut self, host: &mut dyn Host) {
        while let Some(done) = self.exec.poll() {
            self.job_ended(host, done);
        }
    }

    /// Waits for the next job; `false` when none is under way.
    fn wait(&mut self, host: &mut dyn Host) -> bool {
        match self.exec.wait() {
            Some(done) => {
                self.job_ended(host, done);
                true
            }
            None => false,
        }
    }

    /// Waits until no job is under way.
    fn drain(&mut self, host: &mut dyn Host) {
        self.unwatch(host);
        while self.wait(host) {}
    }

    /// The event loop has the log in hand again: no fsync comes by itself, and
    /// what became of one that did is taken, before any other.
    fn unwatch(&mut self, host: &mut dyn Host) {
        if std::mem::take(&mut self.is_watched)
            && let Some(end) = self.watchdog.stop()
        {
            // It had the log's file in hand, as a job that was submitted.
            self.jobs_on_log += 1;
            self.job_ended(host, end);
        }
    }

    fn submit(&mut self, job: impl FnOnce() -> JobEnd + Send + 'static) {
        self.exec.submit(Box::new(move || Box::new(job())));
    }

    /// As [`submit`](Self::submit), for a job that has the log's file in
    /// hand: until its end the event loop doesn't write.
    fn submit_on_log(&mut self, job: impl FnOnce() -> JobEnd + Send + 'static) {
        self.jobs_on_log += 1;
        self.submit(job);
    }

    fn job_ended(&mut self, host: &mut dyn Host, done: executor::Done) {
        let end = match done.downcast::<JobEnd>() {
            Ok(end) => *end,
            Err(other) => {
                // What that job did is unknown.
                let why = other.downcast_ref::<JobPanicked>();
                let why = why.map_or("no message", |JobPanicked(why)| why);
                host.log(Level::Warning, &format!("the I/O thread panicked: {why}"));
                self.poison(host);
                return;
            }
        };
        match end {
            JobEnd::Synced {
                mark,
                took_us,
                result,
            } => {
                self.jobs_on_log -= 1;
                self.synced(host, mark, took_us, result);
            }
            JobEnd::IncrReady(result) => self.incr_ready(host, result),
            JobEnd::BaseCommitted { len, result } => self.base_committed(host, len, result),
            JobEnd::SnapshotCommitted(result) => self.snapshot_committed(host, result),
            JobEnd::Healed(result) => {
                self.jobs_on_log -= 1;
                self.healed(host, result);
            }
            JobEnd::Closed(result) => self.closed(host, result),
            JobEnd::Tidied => {}
        }
    }
}

#[cfg(test)]
mod tests;
