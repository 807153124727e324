//! What reading the files tells as it goes on: how far it has come, and what
//! was found sound.

use std::path::{Path, PathBuf};

use crate::format::FormatError;

/// What a file is to the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The snapshot.
    Snapshot,
    /// The manifest of the log.
    Manifest,
    /// The base of the log.
    Base,
    /// What changed since.
    Incr,
}

/// A file that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub part: Part,
    /// Its length in bytes.
    pub len: u64,
    /// How much of it counts, in bytes.
    pub counted: u64,
    /// Keys in it, if it is a snapshot.
    pub keys: Option<u64>,
    /// Blocks of a snapshot, groups of a log.
    pub units: u64,
    /// Effects in it, if it is of the log.
    pub effects: u64,
    /// Sequence number of its last effect; of a base, what it covers.
    pub last_seq: u64,
    /// What is wrong with the end that a crash has torn, from `counted` on.
    pub torn: Option<FormatError>,
}

impl SoundFile {
    /// One that counts as a whole and of which nothing more is known.
    pub fn whole(path: &Path, part: Part, len: u64) -> Self {
        SoundFile {
            path: path.to_path_buf(),
            part,
            len,
            counted: len,
            keys: None,
            units: 0,
            effects: 0,
            last_seq: 0,
            torn: None,
        }
    }
}

/// Hears how reading goes on. A function that takes the number of bytes done
/// of the present file is one.
pub trait Reading {
    /// A file is gone through from its start; it has so many bytes. A log's
    /// files are gone through twice, to be judged and to be replayed.
    fn begin(&mut self, _path: &Path, _len: u64) {}
    /// So many bytes of the present file are done.
    fn at(&mut self, bytes: u64);
    /// A file was judged sound.
    fn sound(&mut self, _file: SoundFile) {}
}

impl<F: FnMut(u64)> Reading for F {
    fn at(&mut self, bytes: u64) {
        self(bytes);
    }
}
