//! Turning the log on and off while the server runs.
//!
//! On: a rewrite without a file before. Until its base is in force the
//! manifest on disk says closed, the log under way counts for nothing, and
//! the promise is that of snapshots. Off: the manifest says where the log
//! ends.

use super::commit::{commit, drop_waiting};
use super::heal::{Health, end_at};
use super::{JobEnd, Persist};
use crate::format::manifest::Manifest;
use crate::host::{Host, Level};
use crate::io::{DiskError, OnPath};

/// Between two attempts to close the manifest of a log that was turned off,
/// in us.
const CLOSE_EVERY_US: u64 = 1_000_000;

/// The manifest in memory says closed, that on disk doesn't surely.
#[derive(Debug, Default)]
pub struct Closing {
    under_way: bool,
    retry_at_us: u64,
}

impl Persist {
    /// Whether `appendonly` is on but no base is in force yet.
    pub fn is_turning_on(&self) -> bool {
        self.settings.appendonly && self.manifest.as_ref().is_none_or(is_closed)
    }

    /// Whether the log holds what is promised, as opposed to off or being
    /// turned on.
    pub fn log_is_in_force(&self) -> bool {
        self.log.is_some() && self.manifest.as_ref().is_some_and(|m| !is_closed(m))
    }

    /// Where a log that was turned off ends: the number of its last change.
    pub(super) fn closed_at(&self) -> Option<u64> {
        self.manifest.as_ref()?.closed_at
    }

    /// Turns the log on while the server runs; a rewrite does the rest.
    ///
    /// # Errors
    /// The disk's; the log stays off then.
    pub(super) fn turn_on(&mut self, host: &mut dyn Host) -> Result<(), DiskError> {
        self.drain(host);
        self.has_room_for_base()?;
        if self.manifest.is_none() {
            self.manifest = Some(self.first_manifest(None)?);
        }
        self.counters.rewrite_failures = 0;
        if host.can_fork() {
            self.begin_rewrite();
        } else {
            self.rewrite.scheduled = true;
        }
        Ok(())
    }

    /// Turns the log off: marks it closed, durably, before this returns.
    /// `held`: until now nobody could hear of an effect before it was durable.
    ///
    /// # Errors
    /// The disk's; the log is off all the same, and as long as its end isn't
    /// marked a start would take it for one that goes on.
    pub(super) fn turn_off(&mut self, host: &mut dyn Host, held: bool) -> Result<(), DiskError> {
        self.cancel_rewrite(host, "the log was turned off");
        self.drain(host);
        let in_force = self.log_is_in_force();
        let written = match in_force {
            true => self.finish_log(),
            false => Ok(()),
        };
        let Some(log) = self.log.take() else {
            return Ok(());
        };
        self.health = Health::Ok;
        let Some(mut manifest) = self.proposal().filter(|_| in_force) else {
            return Ok(());
        };
        // What couldn't be made durable is left to the next snapshot.
        let end = log.durable();
        // Who wrote before this was promised more, and isn't answered yet.
        self.broken_promise = held && self.owed_seq > end.seq;
        end_at(&mut manifest, end);
        manifest.closed_at = Some(end.seq);
        let result = commit(&*self.disk, &self.files, &manifest);
        self.committed(manifest);
        if let Err(e) = result {
            self.closing = Some(Closing::default());
            return Err(e.error);
        }
        if end.seq < self.seq {
            host.log(
                Level::Warning,
                &format!(
                    "The log was closed at sequence {} of {}: what follows could not be made durable. Take a snapshot with PERSIST.SAVE.",
                    end.seq, self.seq
                ),
            );
        }
        written
    }

    /// Writes and syncs all that is logged, or what of it was written if more
    /// can't be.
    pub(super) fn finish_log(&mut self) -> Result<(), DiskError> {
        let (now, healthy) = (self.now_ms(), self.health.is_ok());
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        log.seal(now, false);
        let written = if healthy { log.write() } else { Ok(()) };
        if log.is_distrusted() {
            return written;
        }
        let (file, path, mark) = (log.target.file.clone(), &log.target.path, log.written());
        if let Err(e) = file.sync().on("fsync", path) {
            log.distrust(mark.file);
            return Err(e);
        }
        log.synced(mark);
        written
    }

    /// Tries again to mark the end of a log that was turned off.
    pub(super) fn close_if_due(&mut self) {
        let now = self.clock.monotonic_us();
        // A job under way may be committing what comes after.
        if self.exec.in_flight() > 0 || self.rewrite.since_ms().is_some() {
            return;
        }
        let (Some(closing), Some(manifest)) = (&mut self.closing, &self.manifest) else {
            return;
        };
        if closing.under_way || now < closing.retry_at_us {
            return;
        }
        *closing = Closing {
            under_way: true,
            retry_at_us: now + CLOSE_EVERY_US,
        };
        let mut manifest = manifest.clone();
        drop_waiting(&mut manifest);
        let (disk, files) = (self.disk.clone(), self.files.clone());
        self.submit(move || {
            let result = commit(&*disk, &files, &manifest).map_err(DiskError::from);
            JobEnd::Closed(result)
        });
    }

    pub(super) fn closed(&mut self, host: &mut dyn Host, result: Result<(), DiskError>) {
        let Some(closing) = &mut self.closing else {
            return;
        };
        closing.under_way = false;
        if result.is_ok() {
            self.closing = None;
            host.log(Level::Notice, "The log is off and closed.");
        }
    }
}

fn is_closed(manifest: &Manifest) -> bool {
    manifest.closed_at.is_some()
}
