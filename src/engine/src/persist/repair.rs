//! What recovery changes on disk, once it is clear that there will be a start.

use std::path::{Path, PathBuf};

use super::files::Files;
use crate::io::replace::replace_file;
use crate::io::{Disk, DiskError, OnPath, Section};

/// A change of the files that recovery calls for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// Keep what stands from `at` on in quarantine, then cut the file there.
    Cut {
        /// The file.
        path: PathBuf,
        /// Bytes that stay.
        at: u64,
    },
    /// Move a file into quarantine.
    SetAside(PathBuf),
    /// Move the log's whole folder into quarantine.
    SetLogAside,
    /// Remove a file that a crash left behind, or that is replaced.
    Remove(PathBuf),
}

/// Makes durable what was found: a process that was killed between a rename
/// and its fsync leaves names that a power failure takes back, and what they
/// replace must not be gone by then.
///
/// # Errors
/// The disk's.
pub fn settle_names(disk: &dyn Disk, files: &Files) -> Result<(), DiskError> {
    // Where something was moved to first: it must not be in neither.
    for dir in [&files.quarantine, &files.dir, &files.log_dir] {
        if disk.exists(dir).on("stat", dir)? {
            disk.sync_dir(dir).on("fsync", dir)?;
        }
    }
    Ok(())
}

/// Gives all files, the lock's too, and their folders the mode that new ones
/// have. The folder of all is the operator's own. What is wrong with that
/// stops no start: gives the first error, and how many there are.
pub fn set_modes(disk: &dyn Disk, files: &Files) -> Option<(DiskError, usize)> {
    let mut first = None;
    let mut failed = 0;
    let mut see = |result: Result<(), DiskError>| {
        if let Err(e) = result {
            failed += 1;
            first.get_or_insert(e);
        }
    };
    for path in [&files.lock, &files.snapshot] {
        see(disk.set_mode(path).on("chmod", path));
    }
    for dir in [&files.log_dir, &files.quarantine] {
        see(disk.set_mode(dir).on("chmod", dir));
        for name in disk.list(dir).unwrap_or_default() {
            let path = dir.join(name);
            see(disk.set_mode(&path).on("chmod", &path));
        }
    }
    first.map(|e| (e, failed))
}

/// Carries out what recovery calls for; each step is durable before the next.
///
/// # Errors
/// The disk's.
pub fn carry_out(
    disk: &dyn Disk,
    files: &Files,
    repairs: &[Repair],
    stamp: u64,
) -> Result<(), DiskError> {
    for repair in repairs {
        match repair {
            Repair::Remove(path) => {
                if disk.exists(path).on("stat", path)? {
                    disk.remove(path).on("remove", path)?;
                }
            }
            Repair::SetAside(path) => set_aside(disk, files, path, stamp)?,
            Repair::SetLogAside => {
                make_quarantine(disk, files)?;
                let to = free_name(disk, files, &format!("log-{stamp}"))?;
                move_there(disk, files, &files.log_dir, &to)?;
            }
            Repair::Cut { path, at } => cut(disk, files, path, *at, stamp)?,
        }
    }
    Ok(())
}

/// Makes a folder inside the folder of all, if it isn't there. Its own name is
/// durable before anything is put or moved into it: else a power failure could
/// take both.
///
/// # Errors
/// The disk's.
pub fn make_dir(disk: &dyn Disk, files: &Files, dir: &Path) -> Result<(), DiskError> {
    disk.create_dir(dir).on("create", dir)?;
    disk.sync_dir(&files.dir).on("fsync", &files.dir)
}

fn make_quarantine(disk: &dyn Disk, files: &Files) -> Result<(), DiskError> {
    make_dir(disk, files, &files.quarantine)
}

/// A path in quarantine that nothing has, so that nothing there is replaced.
fn free_name(disk: &dyn Disk, files: &Files, name: &str) -> Result<PathBuf, DiskError> {
    let mut path = files.quarantine.join(name);
    let mut n = 1;
    while disk.exists(&path).on("stat", &path)? {
        n += 1;
        path = files.quarantine.join(format!("{name}-{n}"));
    }
    Ok(path)
}

fn quarantine_name(path: &Path, stamp: u64, more: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}.{stamp}{more}")
}

fn move_there(disk: &dyn Disk, files: &Files, from: &Path, to: &Path) -> Result<(), DiskError> {
    disk.rename(from, to).on("rename", from)?;
    // The new name before the old one is gone: between the two the file has
    // both after a power failure, not none.
    disk.sync_dir(&files.quarantine)
        .on("fsync", &files.quarantine)?;
    let dir = from.parent().unwrap_or(&files.dir);
    disk.sync_dir(dir).on("fsync", dir)
}

fn set_aside(disk: &dyn Disk, files: &Files, path: &Path, stamp: u64) -> Result<(), DiskError> {
    make_quarantine(disk, files)?;
    let to = free_name(disk, files, &quarantine_name(path, stamp, ""))?;
    move_there(disk, files, path, &to)
}

/// Keeps the tail in quarantine, durably, before the file is cut, durably,
/// before anything is appended anywhere: a group must never stand behind
/// bytes that a later start could take for damage.
fn cut(disk: &dyn Disk, files: &Files, path: &Path, at: u64, stamp: u64) -> Result<(), DiskError> {
    make_quarantine(disk, files)?;
    let file = disk.open(path).on("open", path)?;
    let tail = Section::new(&*file, at, u64::MAX);
    let tail = tail.bytes().on("read", path)?;
    let name = quarantine_name(path, stamp, &format!(".tail-at-{at}"));
    let kept = free_name(disk, files, &name)?;
    replace_file(disk, &kept, &files.tag(), &tail).map_err(|e| e.error)?;
    disk.truncate(path, at).on("truncate", path)
}
