//! The one way to replace a file durably.
//!
//! A reader, and a start after a crash at any moment, finds the old file or
//! the new one, whole: never a mixture, never none.

use super::{Disk, DiskError, OnPath, append_all};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a file wasn't replaced, or not surely.
#[derive(Debug)]
pub struct ReplaceError {
    /// `false`: the old file stands. `true`: the new file is in place, but
    /// after a power failure the old one may be back.
    pub renamed: bool,
    /// What went wrong.
    pub error: DiskError,
}

impl fmt::Display for ReplaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for ReplaceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Where the new content of `path` is written first: `temp-<tag>-<name>` in
/// the same folder. The tag (a process id) tells whose it is.
pub fn temp_path(path: &Path, tag: &str) -> PathBuf {
    let mut name = OsString::from(format!("temp-{tag}-"));
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Replaces (or creates) the file `path` with `bytes`, durably once this
/// returns `Ok`. Whatever has the name of the temp file is removed first.
///
/// # Errors
/// The first step that failed; see [`ReplaceError::renamed`]. The temp file is
/// removed as far as the disk allows.
pub fn replace_file(
    disk: &dyn Disk,
    path: &Path,
    tag: &str,
    bytes: &[u8],
) -> Result<(), ReplaceError> {
    let temp = temp_path(path, tag);
    let written = write_temp(disk, &temp, bytes);
    if let Err(error) = written {
        // Already failing: a leftover is harmless, starts remove it.
        let _ = disk.remove(&temp);
        return Err(ReplaceError {
            renamed: false,
            error,
        });
    }
    put_in_place(disk, &temp, path)
}

/// Puts a temp file that somebody else wrote (a forked child) in the place of
/// `path`, durably once this returns `Ok`.
///
/// # Errors
/// As [`replace_file`].
pub fn sync_then_rename(disk: &dyn Disk, temp: &Path, path: &Path) -> Result<(), ReplaceError> {
    // fsync acts on the file, not on the descriptor: bytes that the child
    // wrote through its own become durable, and a write-back error that
    // nobody has been told of yet is reported here.
    let synced = disk
        .open_append(temp)
        .on("open", temp)
        .and_then(|file| file.sync().on("fsync", temp));
    if let Err(error) = synced {
        let _ = disk.remove(temp);
        return Err(ReplaceError {
            renamed: false,
            error,
        });
    }
    put_in_place(disk, temp, path)
}

fn write_temp(disk: &dyn Disk, temp: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    if disk.exists(temp).on("stat", temp)? {
        disk.remove(temp).on("remove", temp)?;
    }
    let file = disk.create_new(temp).on("create", temp)?;
    append_all(&*file, bytes).on("write", temp)?;
    // Before the rename: otherwise the new name can outlive a power failure
    // with none of the bytes. From here on the content is durable, nameless.
    file.sync().on("fsync", temp)
}

fn put_in_place(disk: &dyn Disk, temp: &Path, path: &Path) -> Result<(), ReplaceError> {
    // In one step for everybody who opens the name, but still only in memory.
    if let Err(error) = disk.rename(temp, path).on("rename", path) {
        let _ = disk.remove(temp);
        return Err(ReplaceError {
            renamed: false,
            error,
        });
    }
    // Now the name points to the new content after a power failure, too, and
    // what is done next (removing replaced files) can't overtake it.
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut synced = disk.sync_dir(dir).on("fsync", dir);
    let from = temp.parent().unwrap_or(Path::new(""));
    if synced.is_ok() && from != dir {
        synced = disk.sync_dir(from).on("fsync", from);
    }
    synced.map_err(|error| ReplaceError {
        renamed: true,
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::faulty::{Fault, FaultyDisk};
    use crate::io::mem::{Crash, MemDisk};
    use crate::io::{ReadDisk, read_file};
    use std::sync::Arc;

    fn start() -> (MemDisk, PathBuf) {
        let disk = MemDisk::new();
        disk.create_dir(Path::new("/d")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let path = PathBuf::from("/d/file");
        disk.put(&path, b"old");
        (disk, path)
    }

    /// Power goes off at every operation, and each way of losing what wasn't
    /// synced is tried: the file is the old or the new one, whole.
    #[test]
    fn power_off_at_every_step() {
        let new = vec![7; 3000];
        let mut finished = false;
        for n in 1..20 {
            let (mem, path) = start();
            let disk = FaultyDisk::new(Arc::new(mem.clone()));
            disk.faults().set(n, Fault::PowerOff);
            let done = replace_file(&disk, &path, "1", &new).is_ok();
            finished |= done;
            for seed in 0..50 {
                let how = if seed == 0 {
                    Crash::DropUnsynced
                } else {
                    Crash::Torn {
                        seed,
                        granularity: 512,
                    }
                };
                let after = read_file(&mem.crash(how), &path).unwrap();
                assert!(
                    after == new || (after == b"old" && !done),
                    "step {n}, seed {seed}"
                );
            }
        }
        assert!(finished);
    }

    #[test]
    fn one_failed_step_leaves_a_whole_file_and_no_temp() {
        for n in 1..=5 {
            let (mem, path) = start();
            let disk = FaultyDisk::new(Arc::new(mem.clone()));
            disk.faults().set(n, Fault::once(28));
            let err = replace_file(&disk, &path, "1", b"new").unwrap_err();
            let last = n == 5;
            assert_eq!(err.renamed, last);
            assert_eq!(
                read_file(&mem, &path).unwrap(),
                if last { b"new" } else { b"old" }
            );
            assert_eq!(
                mem.list(Path::new("/d")).unwrap(),
                ["file"],
                "step {n}: {err}"
            );
        }
    }

    #[test]
    fn a_temp_file_of_somebody_else() {
        let (mem, path) = start();
        let temp = temp_path(&path, "99");
        assert_eq!(temp, Path::new("/d/temp-99-file"));
        assert!(!sync_then_rename(&mem, &temp, &path).unwrap_err().renamed);
        append_all(&*mem.create_new(&temp).unwrap(), b"child's").unwrap();
        sync_then_rename(&mem, &temp, &path).unwrap();
        assert_eq!(
            read_file(&mem.crash(Crash::DropUnsynced), &path).unwrap(),
            b"child's"
        );
    }

    #[test]
    fn a_stale_temp_file_is_no_obstacle() {
        let (mem, path) = start();
        mem.put(&temp_path(&path, "1"), b"left over");
        replace_file(&mem, &path, "1", b"new").unwrap();
        assert_eq!(mem.list(Path::new("/d")).unwrap(), ["file"]);
    }
}
