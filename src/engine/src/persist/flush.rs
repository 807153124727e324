//! When the log is written and synced, and what happens when that fails.
//!
//! Written before every reply (at the end of each pass of the event loop),
//! by the event loop itself, unless a job has the file in hand: then groups
//! wait in memory and are written as soon as it ends. Synced as
//! `appendfsync` says.

use std::path::PathBuf;

use super::log::{LogFile, Mark};
use super::{JobEnd, Persist};
use crate::format::manifest::{IncrFile, IncrStart, Manifest};
use crate::host::{Host, Level};
use crate::io::replace::replace_file;
use crate::io::{Disk, DiskError, OnPath, append_all};
use crate::settings::FsyncPolicy;

/// Between two background fsyncs under `everysec`, in us.
const SYNC_EVERY_US: u64 = 1_000_000;
/// Between two attempts to heal, in us.
const HEAL_EVERY_US: u64 = 1_000_000;
/// Fsync latencies remembered.
const LATENCIES: usize = 512;

/// Whether the log's file can be trusted.
#[derive(Debug)]
pub enum Health {
    /// It can.
    Ok,
    /// A write or fsync failed. No later success makes it good: the kernel
    /// may have dropped the pages. Only new files heal it.
    Broken {
        /// What failed.
        error: String,
        /// Whether an attempt to heal is under way.
        healing: bool,
        /// When the next attempt may begin, monotonic us.
        retry_at_us: u64,
    },
}

impl Health {
    /// Broken by this error, just now.
    pub fn broken_by(error: &DiskError) -> Health {
        Health::Broken {
            error: error.to_string(),
            healing: false,
            retry_at_us: 0,
        }
    }

    /// Whether the file can be trusted.
    #[inline]
    pub fn is_ok(&self) -> bool {
        matches!(self, Health::Ok)
    }
}

/// Monotonic times, in us.
#[derive(Debug, Default)]
pub struct Timings {
    /// When the last background fsync was begun.
    pub last_sync_us: u64,
    /// Whether one is under way, and since when.
    pub syncing_since_us: Option<u64>,
    /// Since when written or waiting bytes aren't durable.
    pub at_risk_since_us: Option<u64>,
    /// Whether the operator was told that fsync is slow.
    pub told_slow: bool,
}

impl Persist {
    /// The end of a pass of the event loop. `false` when what was logged
    /// could not be made as durable as the policy promises: the replies of
    /// this pass must not leave.
    pub fn before_sleep(&mut self, host: &mut dyn Host) -> bool {
        self.poll(host);
        let Some(log) = &mut self.log else {
            return true;
        };
        if log.has_open() {
            let now = self.clock.now_ms();
            log.seal(now, self.settings.aof_timestamp_enabled);
        }
        if !log.has_waiting() && !log.has_unsynced() {
            self.timings.at_risk_since_us = None;
            return true;
        }
        if self.timings.at_risk_since_us.is_none() {
            self.timings.at_risk_since_us = Some(self.clock.monotonic_us());
        }
        match self.settings.appendfsync {
            FsyncPolicy::Always => self.write_and_sync(host),
            FsyncPolicy::Everysec => {
                self.write_out(host);
                self.sync_if_due(host);
                true
            }
            FsyncPolicy::No => {
                if self.write_out(host)
                    && let Some(log) = &mut self.log
                {
                    log.forget_written();
                }
                true
            }
        }
    }

    /// Seals and writes early when the open group has grown large; only
    /// between execution units.
    #[inline]
    pub fn unit_done(&mut self, host: &mut dyn Host) {
        if self.log.as_ref().is_some_and(super::log::Log::is_full) {
            self.before_sleep(host);
        }
    }

    /// Whether the event loop may write: the file is good and in nobody
    /// else's hands.
    fn may_touch_log(&self) -> bool {
        self.health.is_ok() && self.exec.in_flight() == 0
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

    /// `always`: written and synced when this returns, by new files if the
    /// old one fails; `false` if even that failed.
    fn write_and_sync(&mut self, host: &mut dyn Host) -> bool {
        // Jobs under way may hold the file; they end.
        self.drain(host);
        if self.health.is_ok() && self.write_out(host) {
            self.sync_inline(host);
        }
        if !self.health.is_ok() {
            self.try_heal(host, true);
            self.drain(host);
        }
        self.health.is_ok()
            && self
                .log
                .as_ref()
                .is_none_or(|log| !log.has_unsynced() && !log.has_waiting())
    }

    /// Syncs on the event loop.
    pub(super) fn sync_inline(&mut self, host: &mut dyn Host) {
        let Some(log) = &mut self.log else { return };
        let begun = self.clock.monotonic_us();
        let path = log.target.path.clone();
        let result = log.target.file.sync().on("fsync", &path);
        let took = self.clock.monotonic_us() - begun;
        host.latency("persist-aof-fsync-always", took / 1000);
        let (file, mark) = (log.target.seq, log.written());
        self.synced(host, file, mark, took, result);
    }

    /// `everysec`: begins a background fsync once a second.
    fn sync_if_due(&mut self, _host: &mut dyn Host) {
        if !self.may_touch_log() {
            return;
        }
        if self.settings.no_appendfsync_on_rewrite && self.child_is_alive() {
            return;
        }
        let now = self.clock.monotonic_us();
        let Some(log) = &self.log else { return };
        if !log.has_unsynced() || now - self.timings.last_sync_us < SYNC_EVERY_US {
            return;
        }
        self.begin_sync();
    }

    /// Hands an fsync of all that is written to the I/O thread.
    pub(super) fn begin_sync(&mut self) {
        let Some(log) = &self.log else { return };
        let now = self.clock.monotonic_us();
        self.timings.last_sync_us = now;
        self.timings.syncing_since_us = Some(now);
        self.timings.told_slow = false;
        let (target, mark) = (log.target.clone(), log.written());
        let clock = self.clock.clone();
        self.submit(move || {
            let begun = clock.monotonic_us();
            let result = target.file.sync().on("fsync", &target.path);
            let took_us = clock.monotonic_us() - begun;
            JobEnd::Synced {
                file: target.seq,
                mark,
                took_us,
                result,
            }
        });
    }

    /// An fsync has ended.
    pub(super) fn synced(
        &mut self,
        host: &mut dyn Host,
        _file: u64,
        mark: Mark,
        took_us: u64,
        result: Result<(), DiskError>,
    ) {
        self.timings.syncing_since_us = None;
        if self.counters.fsync_us.len() == LATENCIES {
            self.counters.fsync_us.pop_front();
        }
        self.counters.fsync_us.push_back(took_us);
        match result {
            Err(e) => self.broken(host, &e),
            // A success after a failure proves nothing about what failed.
            Ok(()) if !self.health.is_ok() => {}
            Ok(()) => {
                if let Some(log) = &mut self.log {
                    log.synced(mark);
                    self.timings.at_risk_since_us = (log.has_unsynced() || log.has_waiting())
                        .then(|| self.clock.monotonic_us() - took_us);
                }
            }
        }
    }

    fn broken(&mut self, host: &mut dyn Host, error: &DiskError) {
        if self.health.is_ok() {
            host.log(
                Level::Warning,
                &format!("Error in the append only file: {error}. The file isn't trusted any more; writes are refused until what isn't durable stands in a new one."),
            );
        }
        self.health = Health::broken_by(error);
    }

    /// Once in a while, while the log is broken: writes all that isn't
    /// durable to a new file and commits a manifest that ends the bad one
    /// where it was last known good.
    pub(super) fn try_heal(&mut self, host: &mut dyn Host, now: bool) {
        let at = self.clock.monotonic_us();
        let Health::Broken {
            healing,
            retry_at_us,
            ..
        } = &mut self.health
        else {
            return;
        };
        if *healing || (!now && at < *retry_at_us) || self.exec.in_flight() > 0 {
            return;
        }
        *healing = true;
        *retry_at_us = at + HEAL_EVERY_US;
        self.cancel_rewrite(host, "the log's file failed");
        let (Some(log), Some(manifest)) = (&mut self.log, &self.manifest) else {
            return;
        };
        let mut manifest = manifest.clone();
        let seq = manifest.next_incr_seq;
        manifest.next_incr_seq += 1;
        let name = self.files.incr_name(seq);
        let path = self.files.in_log(&name);
        let abandoned = log.abandon();
        manifest.incrs.retain(|f| f.seq <= abandoned.file);
        if let Some(bad) = manifest.incrs.iter_mut().find(|f| f.seq == abandoned.file) {
            bad.end = Some(abandoned.end);
        }
        let start = IncrStart {
            first: abandoned.end.last + 1,
            prev_crc: abandoned.end.crc,
        };
        manifest.incrs.push(IncrFile {
            name,
            seq,
            history: self.history,
            start: Some(start),
            end: None,
        });
        let bytes: Vec<u8> = log
            .waiting_groups()
            .flat_map(|g| g.bytes.iter().copied())
            .collect();
        let (disk, tag, manifest_path) = (
            self.disk.clone(),
            self.files.tag(),
            self.files.manifest.clone(),
        );
        let log_dir = self.files.log_dir.clone();
        // If this fails half way, numbers of files are never used twice.
        if let Some(m) = &mut self.manifest {
            m.next_incr_seq = manifest.next_incr_seq;
        }
        self.submit(move || {
            JobEnd::Healed(heal(
                &*disk,
                &bytes,
                path,
                seq,
                manifest,
                &manifest_path,
                &log_dir,
                &tag,
            ))
        });
    }

    pub(super) fn healed(
        &mut self,
        host: &mut dyn Host,
        result: Result<(LogFile, Box<Manifest>), DiskError>,
    ) {
        match result {
            Ok((target, manifest)) => {
                self.manifest = Some(*manifest);
                if let Some(log) = &mut self.log {
                    log.resume(target);
                }
                self.health = Health::Ok;
                host.log(Level::Notice, "The append only file looks fine again: everything acknowledged is durable in a new file. Writes are accepted.");
            }
            Err(e) => {
                host.log(Level::Warning, &format!("The append only file could not be healed yet: {e}. Trying again every second."));
                if let Health::Broken { healing, error, .. } = &mut self.health {
                    *healing = false;
                    *error = e.to_string();
                }
            }
        }
    }
}

/// Writes the groups to a new file, makes it durable, then the manifest.
#[allow(clippy::too_many_arguments)]
fn heal(
    disk: &dyn Disk,
    bytes: &[u8],
    path: PathBuf,
    seq: u64,
    manifest: Manifest,
    manifest_path: &std::path::Path,
    log_dir: &std::path::Path,
    tag: &str,
) -> Result<(LogFile, Box<Manifest>), DiskError> {
    let file = disk.create_new(&path).on("create", &path)?;
    let result = (|| {
        append_all(&*file, bytes).map_err(|e| DiskError {
            op: "write",
            path: path.clone(),
            source: e.source,
        })?;
        // The groups first, then the name, then the manifest that counts them.
        file.sync().on("fsync", &path)?;
        disk.sync_dir(log_dir).on("fsync", log_dir)?;
        replace_file(disk, manifest_path, tag, &manifest.encode()).map_err(|e| e.error)
    })();
    if let Err(e) = result {
        // Not in the manifest, so a start would set it aside; and the next
        // attempt takes another number.
        let _ = disk.remove(&path);
        return Err(e);
    }
    Ok((LogFile { file, path, seq }, Box::new(manifest)))
}
