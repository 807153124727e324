//! What happens when a write or an fsync of the log fails: the file is never
//! trusted again. What isn't durable is written to a new one, and a manifest
//! ends the bad one where it was last known good; where something is neither
//! durable nor in memory any more, a new base does that.

use std::path::PathBuf;

use super::commit::{JobError, commit_with, give_up};
use super::files::Files;
use super::log::{Cure, LogFile, Mark};
use super::{JobEnd, Persist};
use crate::format::manifest::{IncrFile, IncrStart, Manifest, ReplacedFile};
use crate::host::{Host, Level};
use crate::io::{Disk, DiskError, OnPath, append_all};

/// Between two attempts, in us.
const HEAL_EVERY_US: u64 = 1_000_000;

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
        /// Whether one has begun.
        tried: bool,
        /// When the next attempt may begin, monotonic us.
        retry_at_us: u64,
    },
    /// The server stops, and the log's end is marked: nothing more goes in.
    Ended,
}

impl Health {
    /// Whether the file can be trusted.
    #[inline]
    pub fn is_ok(&self) -> bool {
        matches!(self, Health::Ok)
    }
}

/// Why an attempt failed.
pub struct HealError {
    job: JobError,
    /// The old file couldn't even be synced.
    distrust: Option<u64>,
}

/// What an attempt needs.
struct Attempt {
    /// To be synced first.
    sync: Option<LogFile>,
    bytes: Vec<u8>,
    made: ReplacedFile,
    path: PathBuf,
    manifest: Manifest,
    files: Files,
}

/// Ends the log at `end` in a manifest: files behind that count no more.
pub(super) fn end_at(manifest: &mut Manifest, end: Mark) {
    let (keep, rest) = std::mem::take(&mut manifest.incrs)
        .into_iter()
        .partition(|file| file.seq <= end.file);
    manifest.incrs = keep;
    let rest: Vec<IncrFile> = rest;
    manifest
        .replaced
        .extend(rest.into_iter().map(|file| ReplacedFile {
            name: file.name,
            seq: file.seq,
        }));
    if let Some(last) = manifest.incrs.iter_mut().find(|f| f.seq == end.file) {
        last.end = Some(end.end());
    }
}

impl Persist {
    /// A write or fsync failed. A log whose base hasn't come yet is given up:
    /// nothing relies on it.
    pub(super) fn broken(&mut self, host: &mut dyn Host, error: &DiskError) {
        // But if its base is being committed it may be in force before long.
        if !self.log_is_in_force() && !self.rewrite.is_committing() {
            self.fail_rewrite(host, &error.to_string());
            return;
        }
        if let Health::Broken { error: told, .. } = &mut self.health {
            *told = error.to_string();
            return;
        }
        host.log(
            Level::Warning,
            &format!("Error in the append only file: {error}. The file isn't trusted any more; writes are refused until what isn't durable stands in a new one."),
        );
        self.health = Health::Broken {
            error: error.to_string(),
            healing: false,
            tried: false,
            retry_at_us: 0,
        };
    }

    /// Whether the log is broken and an attempt to heal it may begin.
    pub(super) fn heal_is_due(&self) -> bool {
        match &self.health {
            Health::Ok | Health::Ended => false,
            Health::Broken {
                healing,
                retry_at_us,
                ..
            } => !*healing && self.clock.monotonic_us() >= *retry_at_us,
        }
    }

    /// Once in a while, while the log is broken, and at once if it has just
    /// broken: tries to make it whole.
    pub(super) fn try_heal(&mut self, host: &mut dyn Host) {
        if !self.heal_is_due() || self.exec.in_flight() > 0 {
            return;
        }
        if let Health::Broken {
            tried, retry_at_us, ..
        } = &mut self.health
        {
            *tried = true;
            *retry_at_us = self.clock.monotonic_us() + HEAL_EVERY_US;
        }
        let Some(log) = &mut self.log else { return };
        match log.abandon() {
            // If one is under way it may do.
            Cure::NewBase if self.rewrite.since_ms().is_some() => {}
            Cure::NewBase => self.rewrite.scheduled = true,
            Cure::NewFile { end, sync } => {
                let scheduled = self.rewrite.scheduled;
                self.cancel_rewrite(host, "the log's file failed");
                self.rewrite.scheduled = scheduled;
                self.heal_by_file(end, sync);
            }
        }
    }

    fn heal_by_file(&mut self, end: Mark, sync: Option<LogFile>) {
        let Some(mut manifest) = self.proposal() else {
            return;
        };
        if let Health::Broken { healing, .. } = &mut self.health {
            *healing = true;
        }
        let seq = self.number_for_incr(&mut manifest);
        let name = self.files.incr_name(seq);
        end_at(&mut manifest, end);
        manifest.incrs.push(IncrFile {
            name: name.clone(),
            seq,
            history: self.history,
            start: Some(IncrStart {
                first: end.seq + 1,
                prev_crc: end.crc,
            }),
            end: None,
        });
        let groups = self.log.iter().flat_map(|log| log.waiting_groups());
        let bytes = groups.flat_map(|g| g.bytes.iter().copied()).collect();
        let attempt = Attempt {
            sync,
            bytes,
            path: self.files.in_log(&name),
            made: ReplacedFile { name, seq },
            manifest,
            files: self.files.clone(),
        };
        let disk = self.disk.clone();
        self.submit_on_log(move || {
            let result = attempt.run(&*disk);
            JobEnd::Healed(result.map(|(file, manifest)| (file, Box::new(manifest), end)))
        });
    }

    pub(super) fn healed(
        &mut self,
        host: &mut dyn Host,
        result: Result<(LogFile, Box<Manifest>, Mark), HealError>,
    ) {
        match result {
            Ok((target, manifest, end)) => {
                self.committed(*manifest);
                if let Some(log) = &mut self.log {
                    log.resume(target, end);
                }
                self.health = Health::Ok;
                host.log(Level::Notice, "The append only file looks fine again: everything acknowledged is durable in a new file. Writes are accepted.");
            }
            Err(HealError { job, distrust }) => {
                let e = self.not_committed(job);
                if let (Some(log), Some(file)) = (&mut self.log, distrust) {
                    log.distrust(file);
                }
                host.log(Level::Warning, &format!("The append only file could not be healed yet: {e}. Trying again every second."));
                if let Health::Broken { healing, error, .. } = &mut self.health {
                    *healing = false;
                    *error = e.to_string();
                }
            }
        }
    }
}

impl Attempt {
    /// Writes the groups to a new file, makes it durable, then the manifest.
    fn run(self, disk: &dyn Disk) -> Result<(LogFile, Manifest), HealError> {
        if let Some(old) = &self.sync {
            old.file
                .sync()
                .on("fsync", &old.path)
                .map_err(|error| HealError {
                    job: error.into(),
                    distrust: Some(old.seq),
                })?;
        }
        self.write(disk).map_err(|job| HealError {
            job,
            distrust: None,
        })
    }

    fn write(self, disk: &dyn Disk) -> Result<(LogFile, Manifest), JobError> {
        let (path, dir) = (&self.path, &self.files.log_dir);
        let file = disk.create_new(path).on("create", path)?;
        let written = append_all(&*file, &self.bytes)
            .on("write", path)
            // The groups first, then the name, then the manifest that counts
            // them.
            .and_then(|()| file.sync().on("fsync", path))
            .and_then(|()| disk.sync_dir(dir).on("fsync", dir));
        if let Err(e) = written {
            return Err(give_up(disk, &self.files, &self.made, e));
        }
        commit_with(disk, &self.files, &self.manifest, &self.made)?;
        let target = LogFile {
            file,
            path: self.path,
            seq: self.made.seq,
        };
        Ok((target, self.manifest))
    }
}
