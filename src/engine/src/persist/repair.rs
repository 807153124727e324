//! What recovery changes on disk, once it is clear that there will be a start.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::files::Files;
use crate::io::replace::{sync_then_rename, temp_path};
use crate::io::{Disk, DiskError, OnPath, ReadFile, Section, append_all};

/// Bytes of a tail that are copied at once.
const PIECE: usize = 1 << 20;

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
    let end = end_of_tail(&*file, path, at)?;
    let name = quarantine_name(path, stamp, &format!(".tail-at-{at}"));
    let kept = free_name(disk, files, &name)?;
    let temp = temp_path(&kept, &files.tag());
    if disk.exists(&temp).on("stat", &temp)? {
        disk.remove(&temp).on("remove", &temp)?;
    }
    let copy = disk.create_new(&temp).on("create", &temp)?;
    let copied = each_piece(&*file, path, (at, end), |piece| {
        append_all(&*copy, piece).on("write", &temp)
    });
    if let Err(e) = copied {
        // A leftover is harmless: starts remove it.
        let _ = disk.remove(&temp);
        return Err(e);
    }
    sync_then_rename(disk, &temp, &kept).map_err(|e| e.error)?;
    disk.truncate(path, at).on("truncate", path)
}

/// Where a tail that begins at `at` ends: without the zeros at its end, if
/// these are many. A file may claim to be longer than its disk.
fn end_of_tail(file: &dyn ReadFile, path: &Path, at: u64) -> Result<u64, DiskError> {
    let (mut here, mut end) = (at, at);
    each_piece(file, path, (at, u64::MAX), |piece| {
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            end = here + last as u64 + 1;
        }
        here += piece.len() as u64;
        Ok(())
    })?;
    Ok(end.max(here.min(at + PIECE as u64)))
}

/// Hands the bytes `at..end` of a file on, some at a time, until that fails.
fn each_piece(
    file: &dyn ReadFile,
    path: &Path,
    (at, end): (u64, u64),
    mut take: impl FnMut(&[u8]) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    let mut piece = vec![0; PIECE];
    let mut section = Section::new(file, at, end);
    loop {
        match section.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => take(&piece[..n])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e).on("read", path),
        }
    }
}
