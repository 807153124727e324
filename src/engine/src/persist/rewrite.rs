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

use std::path::{Path, PathBuf};

use super::commit::{JobError, commit, commit_with, give_up, remove_replaced};
use super::dump;
use super::files::Files;
use super::heal::Health;
use super::log::{Log, LogFile};
use super::room::NoRoom;
use super::save::{describe, exit_code, write_temp};
use super::{JobEnd, Persist};
use crate::command::CommandError;
use crate::format::ReadError;
use crate::format::group::{GroupStream, ScanStart};
use crate::format::manifest::{BaseFile, IncrFile, Manifest, ReplacedFile};
use crate::host::{ChildEnd, Host, Level};
use crate::io::replace::sync_then_rename;
use crate::io::{Disk, DiskError, OnPath};
use crate::keyspace::Keyspace;

/// Failed rewrites in a row before the next automatic one waits (as in Redis).
const FREE_FAILURES: u32 = 3;
/// Longest such wait, in minutes.
const MAX_WAIT_MINUTES: u64 = 60;
/// Between two looks for room on the disk, in us.
const LOOK_AGAIN_US: u64 = 5_000_000;
/// How long none begins by itself after one was cancelled, in us: what asked
/// for it, the log's length, is still there.
const CANCELLED_US: u64 = 60_000_000;

/// A rewrite under way.
#[derive(Default)]
pub struct Rewrite {
    stage: Stage,
    /// Wanted as soon as a child can be forked.
    pub scheduled: bool,
    /// Before that none begins by itself, monotonic us: there was no room, or
    /// one was cancelled.
    look_again_us: u64,
}

#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    /// Waits for jobs under way: their manifests come first.
    Wanted { since_ms: u64 },
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

    /// Whether a base is being put in force.
    pub fn is_committing(&self) -> bool {
        matches!(self.stage, Stage::Committing { .. })
    }

    /// Since when one is under way, unix ms.
    pub fn since_ms(&self) -> Option<u64> {
        match &self.stage {
            Stage::Idle => None,
            Stage::Wanted { since_ms }
            | Stage::Opening { since_ms }
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
        // A log whose turning on has failed so far is tried again.
        if !self.settings.appendonly || self.manifest.is_none() {
            return Err(CommandError::text(
                "ERR the log is off (persist.appendonly no): there is nothing to rewrite",
            ));
        }
        if self.health.is_ok()
            && let Err(e) = self.has_room_for_base()
        {
            self.no_room(host, &e);
            return Err(CommandError::Text(
                format!("ERR Can't rewrite append only file in background: {e}").into(),
            ));
        }
        if !self.health.is_ok() || !host.can_fork() {
            self.rewrite.scheduled = true;
            return Ok("Background append only file rewriting scheduled");
        }
        self.begin_rewrite();
        Ok("Background append only file rewriting started")
    }

    /// PERSIST.REWRITE CANCEL.
    ///
    /// # Errors
    /// Nothing to cancel, or nothing that may be.
    pub fn cancel_asked_rewrite(
        &mut self,
        host: &mut dyn Host,
    ) -> Result<&'static str, CommandError> {
        self.poll(host);
        let waits = self.rewrite.scheduled;
        if self.rewrite.is_committing() {
            return Err(CommandError::text(
                "ERR Background append only file rewriting has ended, and its base is being put in force: it is too late",
            ));
        }
        let runs = self.rewrite.since_ms().is_some();
        if !runs && !waits {
            return Err(CommandError::text(
                "ERR Background append only file rewriting is currently not in progress or scheduled",
            ));
        }
        if !self.log_is_in_force() {
            return Err(CommandError::text(
                "ERR the log is being turned on, which needs this rewrite. CONFIG SET persist.appendonly no ends both.",
            ));
        }
        if !self.health.is_ok() {
            return Err(CommandError::text(
                "ERR the log could not be written, and this rewrite is to make it whole again",
            ));
        }
        self.rewrite.scheduled = false;
        self.rewrite.look_again_us = self.clock.monotonic_us() + CANCELLED_US;
        if !runs {
            return Ok("Scheduled background append only file rewriting cancelled");
        }
        host.log(
            Level::Notice,
            "Background append only file rewriting cancelled",
        );
        self.drop_rewrite(host);
        Ok("Background append only file rewriting cancelled")
    }

    /// Whether a base would fit on the disk.
    pub(super) fn has_room_for_base(&self) -> Result<(), NoRoom> {
        let dir = match self.disk.exists(&self.files.log_dir) {
            Ok(true) => &self.files.log_dir,
            _ => &self.files.dir,
        };
        self.has_room(dir, self.settings.aof_use_rdb_preamble)
    }

    /// A rewrite that was due doesn't begin: there is no room. It costs
    /// nothing to look again soon.
    fn no_room(&mut self, host: &mut dyn Host, why: &NoRoom) {
        host.log(
            Level::Warning,
            &format!("Can't rewrite append only file in background: {why}"),
        );
        self.counters.last_rewrite_ok = false;
        self.rewrite.scheduled = false;
        self.rewrite.look_again_us = self.clock.monotonic_us() + LOOK_AGAIN_US;
    }

    /// Begins a rewrite that is due, if there is room. One that heals the log
    /// is tried in any case.
    fn begin_if_room(&mut self, host: &mut dyn Host) {
        if self.needs_base() {
            return self.begin_rewrite();
        }
        if !self.rewrite.scheduled && self.clock.monotonic_us() < self.rewrite.look_again_us {
            return;
        }
        match self.has_room_for_base() {
            Ok(()) => self.begin_rewrite(),
            Err(e) => self.no_room(host, &e),
        }
    }

    /// Begins as soon as no job is under way.
    pub(super) fn begin_rewrite(&mut self) {
        self.rewrite.scheduled = false;
        let since_ms = self.now_ms();
        self.rewrite.stage = Stage::Wanted { since_ms };
        self.open_incr(since_ms);
    }

    /// Step 1; see the module. A proposal made now would undo the manifest of
    /// a job under way, the name of the very file that the log is in included.
    fn open_incr(&mut self, since_ms: u64) {
        if self.exec.in_flight() > 0 {
            return;
        }
        let Some(mut manifest) = self.proposal() else {
            return;
        };
        self.rewrite.stage = Stage::Opening { since_ms };
        let seq = self.number_for_incr(&mut manifest);
        let name = self.files.incr_name(seq);
        let path = self.files.in_log(&name);
        manifest.incrs.push(IncrFile {
            name: name.clone(),
            seq,
            history: self.history,
            start: None,
            end: None,
        });
        let (disk, files) = (self.disk.clone(), self.files.clone());
        self.submit(move || {
            JobEnd::IncrReady((|| {
                let made = ReplacedFile { name, seq };
                let file = disk.create_new(&path).on("create", &path)?;
                let named = file
                    .sync()
                    .on("fsync", &path)
                    // The new name, before the manifest that relies on it.
                    .and_then(|()| disk.sync_dir(&files.log_dir).on("fsync", &files.log_dir));
                if let Err(e) = named {
                    return Err(give_up(&*disk, &files, &made, e));
                }
                commit_with(&*disk, &files, &manifest, &made)?;
                Ok((LogFile { file, path, seq }, Box::new(manifest)))
            })())
        });
    }

    pub(super) fn incr_ready(
        &mut self,
        host: &mut dyn Host,
        result: Result<(LogFile, Box<Manifest>), JobError>,
    ) {
        let result = match result {
            Ok((target, manifest)) => {
                self.committed(*manifest);
                Ok(target)
            }
            Err(e) => Err(self.not_committed(e)),
        };
        // Cancelled meanwhile; the next manifest drops the file.
        let Stage::Opening { since_ms } = self.rewrite.stage else {
            return;
        };
        match result {
            Ok(target) => self.rewrite.stage = Stage::Ready { since_ms, target },
            Err(e) => self.fail_rewrite(host, &e.to_string()),
        }
    }

    /// Goes on with a rewrite, or starts one that is due.
    pub(super) fn advance_rewrite(&mut self, host: &mut dyn Host, space: &Keyspace) {
        if self.poisoned {
            return;
        }
        match &self.rewrite.stage {
            Stage::Idle if self.rewrite_is_due() && host.can_fork() => self.begin_if_room(host),
            Stage::Wanted { since_ms } => {
                let since_ms = *since_ms;
                self.open_incr(since_ms);
            }
            Stage::Ready { since_ms, target } => {
                let (since_ms, target) = (*since_ms, target.clone());
                let can_go_on = self.health.is_ok() || self.needs_base();
                if can_go_on
                    && self.exec.in_flight() == 0
                    && host.can_fork()
                    && self.switch(host, target)
                {
                    self.fork_for_base(host, space, since_ms);
                }
            }
            _ => {}
        }
    }

    /// Whether only a new base can heal the log.
    fn needs_base(&self) -> bool {
        self.log.as_ref().is_some_and(Log::needs_base)
    }

    /// Step 2; see the module. Whether the log now goes on in `target`.
    fn switch(&mut self, host: &mut dyn Host, target: LogFile) -> bool {
        let (now, healthy, incr) = (self.now_ms(), self.health.is_ok(), target.seq);
        let Some(log) = &mut self.log else {
            // Being turned on: there is no file before.
            self.log = Some(Log::new(target, self.history, self.seq, 0, now));
            return true;
        };
        log.seal(now, false);
        if !healthy {
            // The base will cover what the old file lost.
            log.restart(target);
            return true;
        }
        if let Err(e) = log.write() {
            self.broken(host, &e);
            return false;
        }
        let old = log.target.clone();
        let mark = log.switch(target);
        let start = log.start();
        let Some(mut manifest) = self.manifest.clone() else {
            return false;
        };
        for file in &mut manifest.incrs {
            if file.seq == old.seq {
                file.end = Some(mark.end());
            } else if file.seq == incr {
                file.start = Some(start);
            }
        }
        let (disk, files, clock) = (self.disk.clone(), self.files.clone(), self.clock.clone());
        self.submit_on_log(move || {
            let begun = clock.monotonic_us();
            // The old file's end, before the manifest that counts on it.
            let result = old.file.sync().on("fsync", &old.path);
            let result = result.and_then(|()| Ok(commit(&*disk, &files, &manifest)?));
            JobEnd::Synced {
                mark,
                took_us: clock.monotonic_us() - begun,
                result: result.map(|()| Some(Box::new(manifest))),
            }
        });
        true
    }

    /// Step 3; see the module.
    fn fork_for_base(&mut self, host: &mut dyn Host, space: &Keyspace, since_ms: u64) {
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
                    incr: self.log.as_ref().map_or(0, |log| log.target.seq),
                };
                self.rewrite.stage = Stage::Child {
                    since_ms,
                    pid,
                    temp,
                    plan,
                };
            }
            Err(e) => self.fail_rewrite(
                host,
                &format!("Can't rewrite append only file in background: fork: {e}"),
            ),
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
        // There is nobody to kill any more.
        self.rewrite.stage = Stage::Idle;
        if end != ChildEnd::Exited(0) {
            self.remove_later(temp);
            self.fail_rewrite(host, &describe(end));
            return;
        }
        let Some(manifest) = self.based_on(&plan) else {
            self.remove_later(temp);
            self.fail_rewrite(host, "the log it was for is gone");
            return;
        };
        self.rewrite.stage = Stage::Committing { since_ms };
        let (disk, files) = (self.disk.clone(), self.files.clone());
        self.submit(move || {
            let mut len = 0;
            let result = put_base_in_force(&*disk, &files, manifest, &temp, &mut len);
            JobEnd::BaseCommitted { len, result }
        });
    }

    /// The manifest that starts from a new base.
    fn based_on(&mut self, plan: &Plan) -> Option<Manifest> {
        // Not a proposal: the file that the log goes on in may still be
        // called waiting by the manifest in force.
        let mut manifest = self.manifest.clone()?;
        let seq = self.number_for_base(&mut manifest);
        let (keep, replaced): (Vec<IncrFile>, Vec<IncrFile>) = std::mem::take(&mut manifest.incrs)
            .into_iter()
            .partition(|f| f.seq >= plan.incr);
        manifest.incrs = keep;
        let start = self.log.as_ref()?.start();
        let current = manifest.incrs.iter_mut().find(|f| f.seq == plan.incr)?;
        current.start.get_or_insert(start);
        let base = manifest.base.take().map(|b| ReplacedFile {
            name: b.name,
            seq: b.seq,
        });
        let incrs = replaced.into_iter().map(|f| ReplacedFile {
            name: f.name,
            seq: f.seq,
        });
        manifest.replaced.extend(base.into_iter().chain(incrs));
        manifest.base = Some(BaseFile {
            name: self.files.base_name(seq, plan.rdb),
            seq,
            history: self.history,
            covers: plan.covers,
            end: None,
            seed: (!plan.rdb).then_some(self.seed),
        });
        manifest.closed_at = None;
        Some(manifest)
    }

    pub(super) fn base_committed(
        &mut self,
        host: &mut dyn Host,
        len: u64,
        result: Result<Box<Manifest>, JobError>,
    ) {
        let manifest = match result {
            Ok(manifest) => *manifest,
            Err(e) => {
                let e = self.not_committed(e);
                self.fail_rewrite(host, &e.to_string());
                return;
            }
        };
        self.committed(manifest);
        if let Some(log) = &mut self.log {
            log.based();
        }
        let Stage::Committing { since_ms } = std::mem::take(&mut self.rewrite.stage) else {
            return;
        };
        let c = &mut self.counters;
        c.base_len = len;
        c.last_rewrite_ok = true;
        c.rewrites += 1;
        c.rewrite_failures = 0;
        // The host knows it only once the child is gone.
        c.rewrite_cow_bytes = host.child_memory().last;
        c.last_rewrite_secs = Some(self.clock.now_ms().saturating_sub(since_ms) / 1000);
        self.counters.rewrite_base_size = self.log_size();
        let base = self.manifest.as_ref().and_then(|m| m.base.as_ref());
        let rdb = base.is_none_or(|base| base.name.ends_with(".rdb"));
        self.measured(rdb, len);
        host.log(
            Level::Notice,
            "Background AOF rewrite finished successfully",
        );
    }

    /// Ends a rewrite that can't go on.
    pub(super) fn fail_rewrite(&mut self, host: &mut dyn Host, why: &str) {
        host.log(
            Level::Warning,
            &format!("Background AOF rewrite terminated with error: {why}"),
        );
        self.counters.last_rewrite_ok = false;
        self.counters.rewrite_failures += 1;
        self.counters.rewrite_failed_at_us = self.clock.monotonic_us();
        self.drop_rewrite(host);
        // Without a base it was never a log; the next attempt starts another.
        if !self.log_is_in_force() {
            self.log = None;
            self.health = Health::Ok;
        }
    }

    /// Ends the child of a rewrite, if there is one. What it wrote goes once it
    /// is gone: until then it could write it anew.
    fn drop_rewrite(&mut self, host: &mut dyn Host) {
        if let Stage::Child { temp, pid, .. } = std::mem::take(&mut self.rewrite.stage) {
            self.doomed = Some(temp);
            host.kill_child(pid);
        }
    }

    /// Ends a rewrite that is under way, but for its commit.
    pub(super) fn cancel_rewrite(&mut self, host: &mut dyn Host, why: &str) {
        self.rewrite.scheduled = false;
        match &self.rewrite.stage {
            Stage::Idle | Stage::Committing { .. } => {}
            _ => self.fail_rewrite(host, why),
        }
    }

    /// Length of the whole log in bytes, as `aof_current_size` says.
    pub fn log_size(&self) -> u64 {
        let (current, file) = self
            .log
            .as_ref()
            .map_or((0, 0), |log| (log.written().len, log.target.seq));
        let others = self.manifest.iter().flat_map(|m| &m.incrs);
        let ended = others.filter(|f| f.seq != file).filter_map(|f| f.end);
        self.counters.base_len + ended.map(|end| end.len).sum::<u64>() + current
    }

    fn rewrite_is_due(&self) -> bool {
        let can_go_on = self.health.is_ok() || self.needs_base();
        if self.poisoned || !can_go_on || self.manifest.is_none() {
            return false;
        }
        if self.rewrite.scheduled {
            return true;
        }
        let c = &self.counters;
        if c.rewrite_failures >= FREE_FAILURES {
            let minutes =
                (1u64 << (c.rewrite_failures - FREE_FAILURES).min(6)).min(MAX_WAIT_MINUTES);
            // By the stopwatch: a clock that is set back must not hold it up.
            if self.clock.monotonic_us() - c.rewrite_failed_at_us < minutes * 60_000_000 {
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
}

/// Step 4; see the module.
fn put_base_in_force(
    disk: &dyn Disk,
    files: &Files,
    mut manifest: Manifest,
    temp: &Path,
    len: &mut u64,
) -> Result<Box<Manifest>, JobError> {
    let Some(base) = &mut manifest.base else {
        return Ok(Box::new(manifest));
    };
    let made = ReplacedFile {
        name: base.name.clone(),
        seq: base.seq,
    };
    let path = files.in_log(&base.name);
    if base.name.ends_with(".aof") {
        // Commands have no trailer: the manifest keeps length and checksum,
        // from what the child really wrote.
        match end_of_base(disk, temp) {
            Ok(end) => base.end = Some(end),
            Err(e) => {
                // A leftover is harmless: starts remove it.
                let _ = disk.remove(temp);
                return Err(e.into());
            }
        }
    }
    if let Err(e) = sync_then_rename(disk, temp, &path) {
        return Err(match e.renamed {
            true => give_up(disk, files, &made, e.error),
            false => e.error.into(),
        });
    }
    *len = disk.len(&path).on("stat", &path)?;
    commit_with(disk, files, &manifest, &made)?;
    // From here on the new base counts. What it replaces may go, and then
    // the manifest needn't name it any more; failing is harmless, since
    // starts remove what is listed as replaced.
    if remove_replaced(disk, files, &manifest) {
        let mut tidy = manifest.clone();
        tidy.replaced.clear();
        if commit(disk, files, &tidy).is_ok() {
            manifest = tidy;
        }
    }
    Ok(Box::new(manifest))
}

/// Length and last checksum of a base of groups, all of which verify.
fn end_of_base(disk: &dyn Disk, path: &Path) -> Result<(u64, u64), DiskError> {
    let file = disk.open(path).on("open", path)?;
    let len = file.len().on("stat", path)?;
    let start = ScanStart {
        first_seq: Some(1),
        prev_crc: Some(0),
        ..ScanStart::default()
    };
    let mut groups = GroupStream::new(file, len, start);
    loop {
        match groups.next_group() {
            Ok(Some(_)) => {}
            Ok(None) => return Ok((len, groups.last_crc().unwrap_or(0))),
            Err(ReadError::Io(e)) => return Err(e).on("read", path),
            Err(ReadError::Format(e)) => {
                let text = format!("the base that the child wrote doesn't verify: {e}");
                return Err(std::io::Error::other(text)).on("check", path);
            }
        }
    }
}
