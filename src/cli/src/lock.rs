//! Who owns a folder: the server that holds a record lock on `persist.lock`.
//!
//! Closing any descriptor of that file gives up a lock that this process
//! holds on it. So it is only looked at where it isn't taken as well.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};

/// Name of the lock's file.
const NAME: &str = "persist.lock";

/// The process that holds the folder, as far as can be told.
pub fn holder(dir: &Path) -> Option<i32> {
    // A pipe of that name must not make this wait.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut how = OpenOptions::new();
    let file = how.read(true).custom_flags(flags).open(dir.join(NAME));
    let file = file.ok()?;
    holder_of(&file)
}

fn holder_of(file: &File) -> Option<i32> {
    let wanted = Flock::from(FlockType::WriteLock);
    let found = fcntl_getlk(file.as_fd(), &wanted).ok()??;
    Some(found.pid.map_or(0, |pid| pid.as_raw_nonzero().get()))
}

/// The folder's lock, held until this is dropped: no server starts there.
pub struct Lock(#[allow(dead_code)] Option<File>);

/// Takes the lock. Without `create`, a folder that has no such file is taken
/// as it is.
///
/// # Errors
/// Text for the operator.
pub fn acquire(dir: &Path, create: bool) -> Result<Lock, String> {
    let path = dir.join(NAME);
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if !create && e.kind() == std::io::ErrorKind::NotFound => return Ok(Lock(None)),
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(Some(file))),
        Err(Errno::AGAIN | Errno::ACCESS) => {
            let who = match holder_of(&file) {
                Some(pid) if pid > 0 => format!("the process {pid}"),
                _ => "another process".into(),
            };
            Err(format!(
                "{} belongs to a server: {who} holds {}. Stop it first; while it runs, its files can only be read.",
                dir.display(),
                path.display()
            ))
        }
        Err(e) => Err(format!("{}: can't be locked: {e}", path.display())),
    }
}
