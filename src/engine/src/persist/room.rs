//! Whether the disk has room for a snapshot or a base, asked before one
//! begins: a child that fills the disk takes it from the log, and from
//! everything else that writes there.

use std::path::{Path, PathBuf};

use super::Persist;
use crate::io::{DiskError, OnPath};

/// What is left for the log, which goes on meanwhile, in bytes.
const SPARE: u64 = 1 << 20;
/// Of what was never written only that is known: packed, it takes this part of
/// its memory at least, mostly.
const LEAST_PART: u64 = 8;

/// Files below so many bytes tell nothing of how data pack.
const TELLING: u64 = 64 << 10;

/// How large a file became, and how much memory its data took.
#[derive(Debug, Clone, Copy)]
struct Measured {
    len: u64,
    memory: u64,
}

/// What was measured of each form.
#[derive(Debug, Default)]
pub struct Sizes {
    snapshot: Option<Measured>,
    commands: Option<Measured>,
}

/// There isn't enough room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRoom {
    /// The folder.
    pub dir: PathBuf,
    /// About how many bytes are needed.
    pub need: u64,
    /// How many there are.
    pub free: u64,
}

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "not enough disk space in {}: about {} bytes are needed, {} are free",
            self.dir.display(),
            self.need,
            self.free
        )
    }
}

impl From<NoRoom> for DiskError {
    fn from(e: NoRoom) -> Self {
        DiskError {
            op: "look for space",
            path: e.dir.clone(),
            source: std::io::Error::other(e.to_string()),
        }
    }
}

impl Persist {
    /// A snapshot, or base of commands if not `rdb`, took so many bytes.
    pub(super) fn measured(&mut self, rdb: bool, len: u64) {
        let memory = (self.memory)() as u64;
        let slot = match rdb {
            true => &mut self.sizes.snapshot,
            false => &mut self.sizes.commands,
        };
        *slot = Some(Measured { len, memory });
    }

    /// Takes the size of a file that is there.
    pub(super) fn measure(&mut self, path: &Path) -> Result<(), DiskError> {
        let rdb = path.extension().is_some_and(|ext| ext == "rdb");
        let len = self.disk.len(path).on("stat", path)?;
        self.measured(rdb, len);
        Ok(())
    }

    /// Whether what is in memory now surely doesn't fit into `dir`; where that
    /// can't be known, it is tried.
    ///
    /// # Errors
    /// It doesn't.
    pub(super) fn has_room(&self, dir: &Path, rdb: bool) -> Result<(), NoRoom> {
        let Ok(free) = self.disk.free_space(dir) else {
            return Ok(());
        };
        let memory = (self.memory)() as u64;
        let known = |measured: Option<Measured>| measured.filter(|m| m.len >= TELLING);
        let known = match rdb {
            true => known(self.sizes.snapshot),
            // Commands are never shorter than what is packed of them.
            false => known(self.sizes.commands).or(known(self.sizes.snapshot)),
        };
        let size = match known {
            Some(Measured { len, memory: then }) => {
                let grown = u128::from(len) * u128::from(memory) / u128::from(then.max(1));
                u64::try_from(grown).unwrap_or(u64::MAX)
            }
            None => memory / LEAST_PART,
        };
        let need = size.saturating_add(SPARE);
        if free >= need {
            return Ok(());
        }
        Err(NoRoom {
            dir: dir.to_path_buf(),
            need,
            free,
        })
    }
}
