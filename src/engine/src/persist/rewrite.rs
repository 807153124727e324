//! Rewrites: a new base from memory, so that the log before it can go.
//!
//! 1. The I/O thread makes the next incr file and commits a manifest that
//!    names it: no byte goes into a file that no durable manifest names.
//! 2. Between two groups the event loop switches to that file and forks.
//! 3. The child writes the base to a temporary file and syncs it.
//! 4. The I/O thread puts the base in place, commits the manifest that starts
//!    from it, removes what it replaces, and commits that.
//!
//! Turning the log on while the server runs is the same with no file before:
//! until step 4 the manifest stays closed, and the promise that of snapshots.

use std::path::PathBuf;

use super::dump;
use super::flush::Health;
use super::log::{Log, LogFile};
use super::save::{describe, exit_code, write_temp};
use super::{JobEnd, Persist};
use crate::command::CommandError;
use crate::format::group::{GroupScanner, ScanStart, Tail};
use crate::format::manifest::{BaseFile, IncrFile, Manifest, ReplacedFile};
use crate::host::{ChildEnd, Host, Level};
use crate::io::replace::{replace_file, sync_then_rename};
use crate::io::{Disk, DiskError, OnPath, read_file};
use crate::keyspace::Keyspace;

/// Failed rewrites in a row before the next automatic one waits (as in Redis).
const FREE_FAILURES: u32 = 3;
/// Longest such wait, in minutes.
const MAX_WAIT_MINUTES: u64 = 60;

/// A rewrite under way.
#[derive(Default)]
pub struct Rewrite {
    stage: Stage,
    /// Wanted as soon as a child can be forked.
    pub scheduled: bool,
}

#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    /// Step 1.
    Opening { since_ms: u64 },
    /// Waits for the fork slot, and for the log's file to be free.
    Ready { since_ms: u64, target: LogFile },
    /// Step 3.
    Child {
        since_ms: u64,
        pid: i32,
        temp: PathBuf,
        plan: Plan,
    },
    /// Step 4.
    Committing { since_ms: u64 },
}

/// What a base will be.
#[derive(Clone)]
struct Plan {
    /// Sequence number that it covers.
    covers: u64,
    /// A snapshot, or commands.
    rdb: bool,
    /// Number of the first incr file after it.
    incr: u64,
}

impl Rewrite {
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
            Stage::Opening { since_ms }
            | Stage::Ready { since_ms, .. }
            | Stage::Child { since_ms, .. }
            | Stage::Committing { since_ms } => Some(*since_ms),
        }
    }
}

impl Persist {
    /// PERSIST.REWRITE.
    ///
    /// # Errors
    /// In Redis's words, or that the log is off.
    pub fn rewrite(&mut self, host: &mut dyn Host) -> Result<&'static str, CommandError> {
        self.poll(host);
        if self.rewrite.since_ms().is_some() {
            return Err(CommandError::text(
                "ERR Background append only file rewriting already in progress",
            ));
        }
        self.refuse_poisoned()?;
        if !self.log_is_on() {
            return Err(CommandError::text(
                "ERR the log is off (persist.appendonly no): there is nothing to rewrite",
            ));
        }
        if !self.health.is_ok() || !host.can_fork() {
            self.rewrite.scheduled = true;
            return Ok("Background append only file rewriting scheduled");
        }
        self.begin_rewrite();
        Ok("Background append only file rewriting started")
    }

    /// Step 1; see the module.
    pub(super) fn begin_rewrite(&mut self) {
        let Some(mut manifest) = self.manifest.clone() else {
            return;
        };
        self.rewrite.scheduled = false;
        self.rewrite.stage = Stage::Opening {
            since_ms: self.now_ms(),
        };
        let seq = manifest.next_incr_seq;
        manifest.next_incr_seq += 1;
        let name = self.files.incr_name(seq);
        let path = self.files.in_log(&name);
        manifest.incrs.push(IncrFile {
            name,
            seq,
            history: self.history,
            start: None,
            end: None,
        });
        self.manifest = Some(manifest.clone());
        let (disk, files) = (self.disk.clone(), self.files.clone());
        self.submit(move || {
            JobEnd::IncrReady((|| {
                let file = disk.create_new(&path).on("create", &path)?;
                file.sync().on("fsync", &path)?;
                // The new name, before the manifest that relies on it.
                disk.sync_dir(&files.log_dir).on("fsync", &files.log_dir)?;
                commit(&*disk, &files, &manifest)?;
                Ok(LogFile { file, path, seq })
            })())
        });
    }

    pub(super) fn incr_ready(&mut self, host: &mut dyn Host, result: Result<LogFile, DiskError>) {
        let Stage::Opening { since_ms } = self.rewrite.stage else {
            return;
        };
        match result {
            Ok(target) => self.rewrite.stage = Stage::Ready { since_ms, target },
            Err(e) => self.rewrite_failed(host, &e.to_string()),
        }
    }

    /// Goes on with a rewrite, or starts one that is due.
    pub(super) fn advance_rewrite(&mut self, host: &mut dyn Host, space: &Keyspace) {
        match &self.rewrite.stage {
            Stage::Idle => {
                if self.rewrite_is_due() && host.can_fork() {
                    self.begin_rewrite();
                }
            }
            Stage::Ready { since_ms, target } => {
                let (since_ms, target) = (*since_ms, target.clone());
                if host.can_fork()
                    && self.health.is_ok()
                    && self.exec.in_flight() == 0
                    && !self.poisoned
                {
                    self.switch_and_fork(host, space, since_ms, target);
                }
            }
            _ => {}
        }
    }

    /// Step 2; see the module.
    fn switch_and_fork(
        &mut self,
        host: &mut dyn Host,
        space: &Keyspace,
        since_ms: u64,
        target: LogFile,
    ) {
        let now = self.now_ms();
        let incr = target.seq;
        let turning_on = self.log.is_none();
        if let Some(log) = &mut self.log {
            log.seal(now, false);
            if let Err(e) = log.write() {
                self.health = Health::broken_by(&e);
                self.rewrite_failed(host, &e.to_string());
                return;
            }
            let old = log.target.clone();
            let mark = log.written();
            let end = log.switch(target);
            let start = log.start();
            self.counters.closed_len += end.len;
            let Some(manifest) = &mut self.manifest else {
                return;
            };
            for file in &mut manifest.incrs {
                if file.seq == old.seq {
                    file.end = Some(end);
                } else if file.seq == incr && manifest.closed_at.is_none() {
                    file.start = Some(start);
                }
            }
            let (disk, files, manifest) = (self.disk.clone(), self.files.clone(), manifest.clone());
            let clock = self.clock.clone();
            self.submit(move || {
                let begun = clock.monotonic_us();
                // The old file's end, before the manifest that counts on it.
                // Any later fsync of the new file comes after this one.
                let result = old
                    .file
                    .sync()
                    .on("fsync", &old.path)
                    .and_then(|()| commit(&*disk, &files, &manifest));
                let took_us = clock.monotonic_us() - begun;
                JobEnd::Synced {
                    file: old.seq,
                    mark,
                    took_us,
                    result,
                }
            });
        } else {
            self.log = Some(Log::new(target, self.history, self.seq, 0, now));
        }
        let n = self.next_temp();
        let rdb = self.settings.aof_use_rdb_preamble;
        let temp = self.files.temp(&self.files.log_dir, n, "base");
        let (subject, disk) = (self.subject(), self.disk.clone());
        let keys = space.len() as u64;
        let forked = host.fork(&mut |report| {
            let mut progress = |done: u64| report(done as f64 / keys.max(1) as f64);
            let result = write_temp(&*disk, &temp, |out| {
                if rdb {
                    dump::snapshot(space, out, &subject, &mut progress).map(|_| ())
                } else {
                    dump::resp_base(space, out, &subject, &mut progress).map(|_| ())
                }
            });
            match result {
                Ok(()) => 0,
                Err(e) => exit_code(&e),
            }
        });
        match forked {
            Ok(pid) => {
                host.log(
                    Level::Notice,
                    &format!("Background append only file rewriting started by pid {pid}"),
                );
                self.counters.child_keys = keys;
                let plan = Plan {
                    covers: subject.seq,
                    rdb,
                    incr,
                };
                self.rewrite.stage = Stage::Child {
                    since_ms,
                    pid,
                    temp,
                    plan,
                };
            }
            Err(e) => {
                if turning_on {
                    self.log = None;
                }
                self.rewrite_failed(
                    host,
                    &format!("Can't rewrite append only file in background: fork: {e}"),
                );
            }
        }
    }

    /// The child of a rewrite has ended.
    pub(super) fn rewrite_child_done(&mut self, host: &mut dyn Host, end: ChildEnd) {
        let Stage::Child {
            since_ms,
            temp,
            plan,
            ..
        } = &self.rewrite.stage
        else {
            return;
        };
        let (since_ms, temp, plan) = (*since_ms, temp.clone(), plan.clone());
        if end != ChildEnd::Exited(0) {
            self.rewrite_failed(host, &describe(end));
            return;
        }
        let Some(mut manifest) = self.manifest.clone() else {
            return;
        };
        let seq = manifest.next_base_seq;
        manifest.next_base_seq += 1;
        let name = self.files.base_name(seq, plan.rdb);
        let replaced_base = manifest.base.take().map(|b| ReplacedFile {
            name: b.name,
            seq: b.seq,
        });
        let (keep, replaced): (Vec<IncrFile>, Vec<IncrFile>) = std::mem::take(&mut manifest.incrs)
            .into_iter()
            .partition(|f| f.seq >= plan.incr);
        manifest.incrs = keep;
        if let (Some(log), Some(file)) = (
            &self.log,
            manifest.incrs.iter_mut().find(|f| f.seq == plan.incr),
        ) && file.start.is_none()
        {
            file.start = Some(log.start());
        }
        let replaced = replaced.into_iter().map(|f| ReplacedFile {
            name: f.name,
            seq: f.seq,
        });
        manifest
            .replaced
            .extend(replaced_base.into_iter().chain(replaced));
        manifest.base = Some(BaseFile {
            name: name.clone(),
            seq,
            history: self.history,
            covers: plan.covers,
            end: None,
        });
        manifest.closed_at = None;
        // Numbers of files are never used twice, even if this fails.
        if let Some(m) = &mut self.manifest {
            m.next_base_seq = manifest.next_base_seq;
        }
        self.rewrite.stage = Stage::Committing { since_ms };
        let (disk, files) = (self.disk.clone(), self.files.clone());
        let path = self.files.in_log(&name);
        self.submit(move || {
            let mut len = 0;
            let result =
                put_base_in_force(&*disk, &files, manifest, plan.rdb, &temp, &path, &mut len);
            JobEnd::BaseCommitted { len, result }
        });
    }

    pub(super) fn base_committed(
        &mut self,
        host: &mut dyn Host,
        len: u64,
        result: Result<Box<Manifest>, DiskError>,
    ) {
        let Stage::Committing { since_ms } = self.rewrite.stage else {
            return;
        };
        match result {
            Ok(manifest) => {
                self.manifest = Some(*manifest);
                self.rewrite.stage = Stage::Idle;
                let c = &mut self.counters;
                c.base_len = len;
                c.closed_len = 0;
                c.last_rewrite_ok = true;
                c.rewrites += 1;
                c.rewrite_failures = 0;
                // The host knows it only once the child is gone.
                c.rewrite_cow_bytes = host.child_memory().last;
                c.last_rewrite_secs = Some(self.clock.now_ms().saturating_sub(since_ms) / 1000);
                self.counters.rewrite_base_size = self.log_size();
                host.log(
                    Level::Notice,
                    "Background AOF rewrite finished successfully",
                );
            }
            Err(e) => self.rewrite_failed(host, &e.to_string()),
        }
    }

    fn rewrite_failed(&mut self, host: &mut dyn Host, why: &str) {
        host.log(
            Level::Warning,
            &format!("Background AOF rewrite terminated with error: {why}"),
        );
        self.counters.last_rewrite_ok = false;
        self.counters.rewrite_failures += 1;
        self.counters.rewrite_failed_at = self.now_ms();
        if let Stage::Child { temp, .. } = std::mem::take(&mut self.rewrite.stage) {
            self.remove_later(temp);
        }
    }

    /// Ends a rewrite that is under way, but for its commit.
    pub(super) fn cancel_rewrite(&mut self, host: &mut dyn Host, why: &str) {
        self.rewrite.scheduled = false;
        match &self.rewrite.stage {
            Stage::Idle | Stage::Committing { .. } => {}
            Stage::Child { pid, .. } => {
                host.kill_child(*pid);
                self.rewrite_failed(host, why);
            }
            Stage::Opening { .. } | Stage::Ready { .. } => self.rewrite_failed(host, why),
        }
    }

    /// Length of the whole log in bytes, as `aof_current_size` says.
    pub fn log_size(&self) -> u64 {
        let current = self.log.as_ref().map_or(0, |log| log.written().len);
        self.counters.base_len + self.counters.closed_len + current
    }

    fn rewrite_is_due(&self) -> bool {
        if self.poisoned || !self.health.is_ok() || self.manifest.is_none() {
            return false;
        }
        if self.rewrite.scheduled {
            return true;
        }
        let c = &self.counters;
        if c.rewrite_failures >= FREE_FAILURES {
            let minutes =
                (1u64 << (c.rewrite_failures - FREE_FAILURES).min(6)).min(MAX_WAIT_MINUTES);
            if self.now_ms().saturating_sub(c.rewrite_failed_at) < minutes * 60_000 {
                return false;
            }
        }
        // Being turned on, and the base hasn't come yet.
        if self.is_turning_on() {
            return true;
        }
        let Some(percentage) = u64::try_from(self.settings.auto_aof_rewrite_percentage)
            .ok()
            .filter(|p| *p > 0)
        else {
            return false;
        };
        let size = self.log_size();
        let base = c.rewrite_base_size.max(1);
        self.log_is_on()
            && size > self.settings.auto_aof_rewrite_min_size.max(0) as u64
            && (size.saturating_mul(100) / base).saturating_sub(100) >= percentage
    }

    /// Whether `appendonly` is on but no base is in force yet.
    pub fn is_turning_on(&self) -> bool {
        self.settings.appendonly
            && self
                .manifest
                .as_ref()
                .is_some_and(|m| m.closed_at.is_some())
    }

    /// Turns the log on while the server runs; a rewrite does the rest.
    ///
    /// # Errors
    /// The disk's; the log stays off then.
    pub(super) fn turn_on(&mut self, host: &mut dyn Host) -> Result<(), DiskError> {
        self.drain(host);
        if self.manifest.is_none() {
            self.manifest = Some(self.first_manifest(None)?);
        }
        if host.can_fork() {
            self.begin_rewrite();
        } else {
            self.rewrite.scheduled = true;
        }
        Ok(())
    }

    /// Turns the log off: marks it closed, durably, before this returns.
    ///
    /// # Errors
    /// The disk's; the log is off all the same, but a start would take it for
    /// one that goes on.
    pub(super) fn turn_off(&mut self, host: &mut dyn Host) -> Result<(), DiskError> {
        self.cancel_rewrite(host, "the log was turned off");
        self.drain(host);
        let Some(mut log) = self.log.take() else {
            return Ok(());
        };
        let Some(mut manifest) = self.manifest.clone() else {
            return Ok(());
        };
        if manifest.closed_at.is_none() {
            log.seal(self.now_ms(), false);
            log.write()?;
            log.target.file.sync().on("fsync", &log.target.path)?;
            let mark = log.written();
            if let Some(file) = manifest.incrs.iter_mut().find(|f| f.seq == log.target.seq) {
                file.start = Some(log.start());
                file.end = Some(crate::format::manifest::IncrEnd {
                    last: mark.seq,
                    len: mark.len,
                    crc: mark.crc,
                });
            }
            manifest.closed_at = Some(mark.seq);
            // A file made ready for a rewrite that won't come.
            manifest.incrs.retain(|f| f.start.is_some());
        } else {
            manifest.incrs.retain(|f| f.start.is_some());
        }
        commit(&*self.disk, &self.files, &manifest)?;
        self.manifest = Some(manifest);
        Ok(())
    }
}

/// Makes a manifest the one in force.
pub(super) fn commit(
    disk: &dyn Disk,
    files: &super::files::Files,
    manifest: &Manifest,
) -> Result<(), DiskError> {
    replace_file(disk, &files.manifest, &files.tag(), &manifest.encode()).map_err(|e| e.error)
}

/// Step 4; see the module.
fn put_base_in_force(
    disk: &dyn Disk,
    files: &super::files::Files,
    mut manifest: Manifest,
    rdb: bool,
    temp: &std::path::Path,
    path: &std::path::Path,
    len: &mut u64,
) -> Result<Box<Manifest>, DiskError> {
    if let (false, Some(base)) = (rdb, &mut manifest.base) {
        // Commands have no trailer: the manifest keeps length and checksum,
        // from what the child really wrote.
        base.end = Some(end_of_base(disk, temp)?);
    }
    sync_then_rename(disk, temp, path).map_err(|e| e.error)?;
    *len = disk.len(path).on("stat", path)?;
    if let Err(e) = commit(disk, files, &manifest) {
        // It may be in force all the same, so the base stays: a start sets
        // aside what the manifest it finds doesn't list.
        return Err(e);
    }
    // From here on the new base counts. What it replaces may go, and then
    // the manifest needn't name it any more; failing is harmless, since
    // starts remove what is listed as replaced.
    let removed = manifest.replaced.iter().all(|file| {
        let path = files.in_log(&file.name);
        disk.remove(&path).is_ok() || matches!(disk.exists(&path), Ok(false))
    });
    if removed {
        let mut tidy = manifest.clone();
        tidy.replaced.clear();
        if commit(disk, files, &tidy).is_ok() {
            manifest = tidy;
        }
    }
    Ok(Box::new(manifest))
}

fn end_of_base(disk: &dyn Disk, path: &std::path::Path) -> Result<(u64, u64), DiskError> {
    let bytes = read_file(disk, path)?;
    let mut scanner = GroupScanner::new(
        &bytes,
        ScanStart {
            first_seq: Some(1),
            prev_crc: Some(0),
            ..ScanStart::default()
        },
    );
    while scanner.next().is_some() {}
    match scanner.tail() {
        Some(Tail::Clean) => Ok((bytes.len() as u64, scanner.last_crc().unwrap_or(0))),
        _ => Err(std::io::Error::other(
            "the base that the child wrote doesn't verify",
        ))
        .on("check", path),
    }
}
