//! One server per folder.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use persist_engine::io::mode::FileMode;
use persist_engine::settings::LOCK;

/// Locks the folder for the life of the process. A record lock, since
/// children don't inherit it: an orphan must not keep a new server out. It
/// would be lost if the file were opened and closed once more.
///
/// # Errors
/// Text for the operator.
pub fn acquire(dir: &str, mode: FileMode) -> Result<(), String> {
    let path = Path::new(dir).join(LOCK);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(mode.of_files())
        .open(&path)
        .map_err(|e| format!("persist.dir can't be used: {}: {e}", path.display()))?;
    let mut lock = whole_file();
    match control(&file, libc::F_SETLK, &mut lock) {
        Ok(()) => {
            // Closing it would give up the lock.
            std::mem::forget(file);
            Ok(())
        }
        Err(e) if matches!(e.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) => {
            let mut holder = whole_file();
            let known = control(&file, libc::F_GETLK, &mut holder).is_ok()
                && holder.l_type != libc::F_UNLCK as libc::c_short
                && holder.l_pid > 0;
            let who = if known {
                format!("the process {}", holder.l_pid)
            } else {
                // Of another container, or another machine.
                "a process out of sight".into()
            };
            Err(format!(
                "persist.dir {dir} belongs to another server: {who} holds {}. Stop it, or set another persist.dir",
                path.display()
            ))
        }
        Err(e) => Err(format!("{}: can't be locked: {e}", path.display())),
    }
}

fn whole_file() -> libc::flock {
    // SAFETY: a plain structure, for which all zero is "from the start".
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

fn control(file: &File, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: an open file, and a structure that both commands take.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut *lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
