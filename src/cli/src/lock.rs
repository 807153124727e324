//! Who owns a folder: the server that holds a record lock on `persist.lock`.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::{Flock, FlockType, fcntl_getlk};

/// Name of the lock's file.
const NAME: &str = "persist.lock";

/// The process that holds the folder, as far as can be told.
pub fn holder(dir: &Path) -> Option<i32> {
    let file = File::open(dir.join(NAME)).ok()?;
    holder_of(&file)
}

fn holder_of(file: &File) -> Option<i32> {
    let wanted = Flock::from(FlockType::WriteLock);
    let found = fcntl_getlk(file.as_fd(), &wanted).ok()??;
    Some(found.pid.map_or(0, |pid| pid.as_raw_nonzero().get()))
}
