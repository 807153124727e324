//! Changes of the manifest: proposed from what is in force, made by a job,
//! and in force once that has succeeded.
//!
//! A job that fails may have put its manifest in place all the same, without
//! knowing it durable: then either can be found by a start. So whatever the
//! failed one names stays on disk, and is listed as replaced by the next.

use std::path::Path;

use super::Persist;
use super::files::Files;
use crate::format::manifest::{Manifest, ReplacedFile};
use crate::io::replace::replace_file;
use crate::io::{Disk, DiskError};

/// A job that didn't bring its manifest into force.
#[derive(Debug)]
pub struct JobError {
    /// Why.
    pub error: DiskError,
    /// The file that it made and had to leave.
    pub litter: Option<ReplacedFile>,
}

impl From<DiskError> for JobError {
    fn from(error: DiskError) -> Self {
        JobError {
            error,
            litter: None,
        }
    }
}

/// Why a manifest isn't in force, or not surely.
pub struct CommitError {
    /// Whether a start might find it all the same.
    pub in_place: bool,
    /// Why.
    pub error: DiskError,
}

impl From<CommitError> for DiskError {
    fn from(e: CommitError) -> Self {
        e.error
    }
}

/// Brings a manifest into force, durably once this returns `Ok`.
///
/// # Errors
/// The disk's; or it makes no sense, and no start could read it.
pub(super) fn commit(
    disk: &dyn Disk,
    files: &Files,
    manifest: &Manifest,
) -> Result<(), CommitError> {
    // One that a start would refuse must never replace one that it takes.
    if let Err(e) = manifest.check() {
        return Err(CommitError {
            in_place: false,
            error: DiskError {
                op: "check",
                path: files.manifest.clone(),
                source: std::io::Error::other(e.to_string()),
            },
        });
    }
    replace_file(disk, &files.manifest, &files.tag(), &manifest.encode()).map_err(|e| CommitError {
        in_place: e.renamed,
        error: e.error,
    })
}

/// As [`commit`], for a manifest that names the new file `made`: removed
/// again if nothing can have been told of it.
pub(super) fn commit_with(
    disk: &dyn Disk,
    files: &Files,
    manifest: &Manifest,
    made: &ReplacedFile,
) -> Result<(), JobError> {
    commit(disk, files, manifest).map_err(|e| {
        if e.in_place {
            return JobError {
                error: e.error,
                litter: Some(made.clone()),
            };
        }
        give_up(disk, files, made, e.error)
    })
}

/// Removes a file that no manifest names.
pub(super) fn give_up(
    disk: &dyn Disk,
    files: &Files,
    made: &ReplacedFile,
    error: DiskError,
) -> JobError {
    let gone = disk.remove(&files.in_log(&made.name)).is_ok();
    JobError {
        error,
        litter: (!gone).then(|| made.clone()),
    }
}

/// Removes what a committed manifest calls replaced, as far as that goes:
/// starts do the rest.
pub(super) fn remove_replaced(disk: &dyn Disk, files: &Files, manifest: &Manifest) -> bool {
    let gone = |path: &Path| disk.remove(path).is_ok() || matches!(disk.exists(path), Ok(false));
    manifest
        .replaced
        .iter()
        .filter(|file| !gone(&files.in_log(&file.name)))
        .count()
        == 0
}

impl Persist {
    /// The manifest in force, to be changed and proposed to a job: without
    /// files made ready for a rewrite that didn't come, but with what failed
    /// jobs left, to be removed.
    pub(super) fn proposal(&self) -> Option<Manifest> {
        let mut manifest = self.manifest.clone()?;
        drop_waiting(&mut manifest);
        for file in &self.litter {
            let named = manifest.needed().any(|n| n == file.name)
                || manifest.replaced.iter().any(|r| r.name == file.name);
            if !named {
                manifest.replaced.push(file.clone());
            }
        }
        Some(manifest)
    }

    /// A job's manifest is in force.
    pub(super) fn committed(&mut self, mut manifest: Manifest) {
        if let Some(before) = &self.manifest {
            // A job that begins behind this one has taken numbers since.
            manifest.next_base_seq = manifest.next_base_seq.max(before.next_base_seq);
            manifest.next_incr_seq = manifest.next_incr_seq.max(before.next_incr_seq);
        }
        self.litter
            .retain(|f| !manifest.replaced.iter().any(|r| r.name == f.name));
        self.closing = None;
        self.manifest = Some(manifest);
    }

    /// A job's manifest isn't in force, or not surely.
    pub(super) fn not_committed(&mut self, error: JobError) -> DiskError {
        self.litter.extend(error.litter);
        error.error
    }

    /// The number of a new incr file: never used twice, whatever fails.
    pub(super) fn number_for_incr(&mut self, proposal: &mut Manifest) -> u64 {
        let seq = proposal.next_incr_seq;
        proposal.next_incr_seq += 1;
        if let Some(manifest) = &mut self.manifest {
            manifest.next_incr_seq = proposal.next_incr_seq;
        }
        seq
    }

    /// The number of a new base: never used twice, whatever fails.
    pub(super) fn number_for_base(&mut self, proposal: &mut Manifest) -> u64 {
        let seq = proposal.next_base_seq;
        proposal.next_base_seq += 1;
        if let Some(manifest) = &mut self.manifest {
            manifest.next_base_seq = proposal.next_base_seq;
        }
        seq
    }
}

/// Files made ready for a rewrite that didn't come are replaced.
pub(super) fn drop_waiting(manifest: &mut Manifest) {
    let (used, waiting) = std::mem::take(&mut manifest.incrs)
        .into_iter()
        .partition(|file| file.start.is_some());
    manifest.incrs = used;
    for file in waiting {
        manifest.replaced.push(ReplacedFile {
            name: file.name,
            seq: file.seq,
        });
    }
}
