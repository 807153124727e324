//! Snapshots: SAVE, BGSAVE, save points.
//!
//! The child writes a temporary file and syncs it; the parent puts it in
//! place, so an orphan can never publish anything.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dump::{self, Subject};
use super::{JobEnd, Persist};
use crate::command::CommandError;
use crate::format::snapshot::Summary;
use crate::host::{ChildEnd, Host, Level};
use crate::io::replace::sync_then_rename;
use crate::io::{Disk, DiskError, File, OnPath};
use crate::keyspace::Keyspace;

/// Between two automatic attempts after a failure, in s (as in Redis).
const RETRY_SECS: i64 = 5;
/// What a child's exit code is when its error has no number.
const UNKNOWN_ERROR: i32 = 100;

/// A snapshot under way.
#[derive(Debug, Default)]
pub struct Save {
    stage: Stage,
    /// Wanted as soon as a child can be forked.
    pub scheduled: bool,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Child {
        pid: i32,
        temp: PathBuf,
        began: Began,
    },
    Committing(Began),
}

/// What was so when the snapshot began.
#[derive(Debug, Clone, Copy)]
struct Began {
    at_ms: u64,
    dirty: u64,
}

impl Save {
    /// The child's process id, while there is one.
    pub fn pid(&self) -> Option<i32> {
        match self.stage {
            Stage::Child { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// Since when one is under way, unix ms.
    pub fn since_ms(&self) -> Option<u64> {
        match &self.stage {
            Stage::Idle => None,
            Stage::Child { began, .. } | Stage::Committing(began) => Some(began.at_ms),
        }
    }
}

/// Lets `Write` reach a file of a [`Disk`].
struct DiskWriter(Arc<dyn File>);

impl Write for DiskWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a file by `write` and syncs it: durable content, no name yet that
/// counts.
pub(super) fn write_temp<T>(
    disk: &dyn Disk,
    temp: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> Result<T, DiskError> {
    let file = disk.create_new(temp).on("create", temp)?;
    let mut out = BufWriter::with_capacity(512 << 10, DiskWriter(file.clone()));
    let result = write(&mut out).on("write", temp)?;
    out.flush().on("write", temp)?;
    file.sync().on("fsync", temp)?;
    Ok(result)
}

/// The exit code by which a child tells its error.
pub(super) fn exit_code(e: &DiskError) -> i32 {
    e.source
        .raw_os_error()
        .filter(|n| (1..UNKNOWN_ERROR).contains(n))
        .unwrap_or(UNKNOWN_ERROR)
}

/// How a child that failed is described.
pub(super) fn describe(end: ChildEnd) -> String {
    match end {
        ChildEnd::Killed(signal) => format!("the child was ended by signal {signal}"),
        ChildEnd::Exited(code) if (1..UNKNOWN_ERROR).contains(&code) => {
            io::Error::from_raw_os_error(code).to_string()
        }
        ChildEnd::Exited(code) => format!("the child exited with code {code}"),
    }
}

impl Persist {
    pub(super) fn subject(&self) -> Subject {
        Subject {
            seq: self.seq,
            history: self.history,
            seed: self.seed,
            now_ms: self.now_ms(),
            compress: self.settings.rdbcompression,
            checksums: self.settings.rdbchecksum,
        }
    }

    /// PERSIST.BGSAVE; `schedule`: wait for the fork slot instead of an error.
    ///
    /// # Errors
    /// In Redis's words.
    pub fn bgsave(
        &mut self,
        host: &mut dyn Host,
        space: &Keyspace,
        schedule: bool,
    ) -> Result<&'static str, CommandError> {
        self.poll(host);
        if self.save.since_ms().is_some() {
            return Err(CommandError::text(
                "ERR Background save already in progress",
            ));
        }
        self.refuse_poisoned()?;
        if !host.can_fork() {
            if schedule {
                self.save.scheduled = true;
                return Ok("Background saving scheduled");
            }
            return Err(CommandError::text(
                "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.",
            ));
        }
        self.begin_save(host, space)
            .map_err(|e| CommandError::Text(format!("ERR {e}").into()))?;
        Ok("Background saving started")
    }

    pub(super) fn refuse_poisoned(&self) -> Result<(), CommandError> {
        if self.poisoned {
            return Err(CommandError::text(
                "ERR an internal error may have left the durable keyspace half changed: nothing is saved until the server is restarted",
            ));
        }
        Ok(())
    }

    /// PERSIST.BGSAVE CANCEL.
    ///
    /// # Errors
    /// Nothing to cancel.
    pub fn cancel_bgsave(&mut self, host: &mut dyn Host) -> Result<&'static str, CommandError> {
        if self.save.pid().is_some() {
            // Nobody needs to worry about what they asked for, only about
            // what failed before.
            let before = self.counters.last_bgsave_ok;
            self.kill_child(host, "cancelled by BGSAVE CANCEL");
            self.counters.last_bgsave_ok = before;
            return Ok("Background saving cancelled");
        }
        if self.save.scheduled {
            self.save.scheduled = false;
            return Ok("Scheduled background saving cancelled");
        }
        Err(CommandError::text(
            "ERR Background saving is currently not in progress or scheduled",
        ))
    }

    fn begin_save(&mut self, host: &mut dyn Host, space: &Keyspace) -> Result<(), String> {
        self.counters.last_bgsave_try = self.stopwatch_secs();
        if let Err(e) = self.has_room(&self.files.dir, true) {
            self.counters.last_bgsave_ok = false;
            let why = format!("Can't save in background: {e}");
            host.log(Level::Warning, &why);
            return Err(why);
        }
        let n = self.next_temp();
        let temp = self.files.temp(&self.files.dir, n, "rdb");
        let began = Began {
            at_ms: self.now_ms(),
            dirty: self.counters.dirty,
        };
        let (subject, disk) = (self.subject(), self.disk.clone());
        let keys = space.len() as u64;
        let result = host.fork(&mut |report| {
            let mut progress = |done: u64| report(done as f64 / keys.max(1) as f64);
            match write_temp(&*disk, &temp, |out| {
                dump::snapshot(space, out, &subject, &mut progress)
            }) {
                Ok(_) => 0,
                Err(e) => exit_code(&e),
            }
        });
        match result {
            Ok(pid) => {
                host.log(
                    Level::Notice,
                    &format!("Background saving started by pid {pid}"),
                );
                self.counters.child_keys = keys;
                self.save = Save {
                    stage: Stage::Child { pid, temp, began },
                    scheduled: false,
                };
                Ok(())
            }
            Err(e) => {
                self.counters.last_bgsave_ok = false;
                host.log(
                    Level::Warning,
                    &format!("Can't save in background: fork: {e}"),
                );
                Err(format!("Can't save in background: fork: {e}"))
            }
        }
    }

    /// The child of a snapshot has ended.
    pub(super) fn save_child_done(&mut self, host: &mut dyn Host, end: ChildEnd) {
        let Stage::Child { temp, began, .. } = &self.save.stage else {
            return;
        };
        let (temp, began) = (temp.clone(), *began);
        if end != ChildEnd::Exited(0) {
            self.save_failed(host, &describe(end));
            return;
        }
        self.save.stage = Stage::Committing(began);
        let (disk, to) = (self.disk.clone(), self.files.snapshot.clone());
        // fsync, rename, fsync of the folder: only then it is said to be saved.
        self.submit(move || {
            JobEnd::SnapshotCommitted(sync_then_rename(&*disk, &temp, &to).map_err(|e| e.error))
        });
    }

    fn save_failed(&mut self, host: &mut dyn Host, why: &str) {
        host.log(Level::Warning, &format!("Background saving error: {why}"));
        self.counters.last_bgsave_ok = false;
        if let Stage::Child { temp, .. } = std::mem::take(&mut self.save.stage) {
            self.remove_later(temp);
        }
    }

    /// Ends the child of a snapshot. What it wrote goes once it is gone: until
    /// then it could write it anew.
    fn kill_child(&mut self, host: &mut dyn Host, why: &str) {
        if let Stage::Child { pid, temp, .. } = std::mem::take(&mut self.save.stage) {
            self.doomed = Some(temp);
            host.kill_child(pid);
            self.save_failed(host, why);
        }
    }

    /// Ends a background save that is under way, but for its commit.
    pub(super) fn stop_save(&mut self, host: &mut dyn Host) {
        self.save.scheduled = false;
        self.kill_child(host, "the server stops");
    }

    pub(super) fn remove_later(&mut self, path: PathBuf) {
        let disk = self.disk.clone();
        self.submit(move || {
            // A leftover is harmless: starts remove it.
            let _ = disk.remove(&path);
            JobEnd::Tidied
        });
    }

    pub(super) fn snapshot_committed(
        &mut self,
        host: &mut dyn Host,
        result: Result<(), DiskError>,
    ) {
        let Stage::Committing(began) = std::mem::take(&mut self.save.stage) else {
            return;
        };
        match result {
            Ok(()) => {
                self.saved(began);
                if let Ok(len) = self.disk.len(&self.files.snapshot) {
                    self.measured(true, len);
                }
                let secs = (self.now_ms().saturating_sub(began.at_ms)) / 1000;
                self.counters.last_bgsave_secs = Some(secs);
                // The host knows it only once the child is gone.
                self.counters.save_cow_bytes = host.child_memory().last;
                host.log(Level::Notice, "Background saving terminated with success");
            }
            Err(e) => {
                self.counters.last_bgsave_ok = false;
                host.log(Level::Warning, &format!("Background saving error: {e}"));
            }
        }
    }

    fn saved(&mut self, began: Began) {
        self.counters.dirty = self.counters.dirty.saturating_sub(began.dirty);
        self.counters.last_save = self.now_secs();
        self.counters.saved_secs = self.stopwatch_secs();
        self.counters.last_bgsave_ok = true;
        self.counters.saves += 1;
    }

    /// PERSIST.SAVE: a durable snapshot before it returns.
    ///
    /// # Errors
    /// One is under way, or why it failed.
    pub fn save(&mut self, host: &mut dyn Host, space: &Keyspace) -> Result<(), CommandError> {
        self.poll(host);
        if self.save.since_ms().is_some() {
            return Err(CommandError::text(
                "ERR Background save already in progress",
            ));
        }
        self.refuse_poisoned()?;
        if let Err(e) = self.has_room(&self.files.dir, true) {
            self.counters.last_bgsave_ok = false;
            host.log(Level::Warning, &format!("Error saving DB on disk: {e}"));
            return Err(CommandError::Text(format!("ERR {e}").into()));
        }
        self.save_anyway(host, space)
    }

    /// As [`save`](Self::save), however much room there seems to be: the last
    /// one of a server that stops.
    pub(super) fn save_anyway(
        &mut self,
        host: &mut dyn Host,
        space: &Keyspace,
    ) -> Result<(), CommandError> {
        // Whatever the I/O thread has in hand comes before.
        self.drain(host);
        let result = self.save_now(space);
        match result {
            Ok(summary) => {
                host.log(
                    Level::Notice,
                    &format!(
                        "DB saved on disk: {} keys, {} bytes",
                        summary.keys, summary.len
                    ),
                );
                Ok(())
            }
            Err(e) => {
                self.counters.last_bgsave_ok = false;
                host.log(Level::Warning, &format!("Error saving DB on disk: {e}"));
                Err(CommandError::Text(format!("ERR {e}").into()))
            }
        }
    }

    fn save_now(&mut self, space: &Keyspace) -> Result<Summary, DiskError> {
        let n = self.next_temp();
        let temp = self.files.temp(&self.files.dir, n, "rdb");
        let began = Began {
            at_ms: self.now_ms(),
            dirty: self.counters.dirty,
        };
        let subject = self.subject();
        let written = write_temp(&*self.disk, &temp, |out| {
            dump::snapshot(space, out, &subject, &mut |_| {})
        });
        let summary = match written {
            Ok(summary) => summary,
            Err(e) => {
                let _ = self.disk.remove(&temp);
                return Err(e);
            }
        };
        sync_then_rename(&*self.disk, &temp, &self.files.snapshot).map_err(|e| e.error)?;
        self.saved(began);
        self.measured(true, summary.len);
        Ok(summary)
    }

    /// Starts a snapshot that is scheduled or that a save point asks for.
    pub(super) fn save_if_due(&mut self, host: &mut dyn Host, space: &Keyspace) {
        if self.save.since_ms().is_some() || self.poisoned || !host.can_fork() {
            return;
        }
        if self.save.scheduled {
            // A failure is logged; it is tried once, as Redis does.
            self.save.scheduled = false;
            let _ = self.begin_save(host, space);
            return;
        }
        let now = self.stopwatch_secs();
        let c = &self.counters;
        if !c.last_bgsave_ok && now - c.last_bgsave_try <= RETRY_SECS {
            return;
        }
        let since = (now - c.saved_secs).unsigned_abs();
        let due = self
            .settings
            .save_points()
            .into_iter()
            .find(|p| c.dirty >= p.changes && since > p.seconds);
        if let Some(point) = due {
            host.log(
                Level::Notice,
                &format!(
                    "{} changes in {} seconds. Saving...",
                    point.changes, point.seconds
                ),
            );
            let _ = self.begin_save(host, space);
        }
    }
}
