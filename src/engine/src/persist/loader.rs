//! What files are read with.

use std::path::Path;

use super::files::Files;
use super::reading::Reading;
use super::refusal::{LoadError, RESTORE_ADVICE, damaged};
use crate::base::hash::Seed;
use crate::data::value::Limits;
use crate::format::HistoryId;
use crate::format::snapshot::{HEADER_LEN, SnapshotHeader};
use crate::io::{OnPath, ReadDisk};

/// Hears how far reading has come.
pub type Progress<'a> = &'a mut dyn Reading;

/// What to read with.
pub struct Loader<'a> {
    /// The disk.
    pub disk: &'a dyn ReadDisk,
    /// Where things are.
    pub files: &'a Files,
    /// When values become large.
    pub limits: &'a Limits,
    /// Whether a torn end of the log may be cut.
    pub truncated_ok: bool,
    /// History and seed of a keyspace that begins now.
    pub fresh: (HistoryId, Seed),
}

impl Loader<'_> {
    /// What a snapshot or base says of itself; `None` if there is none.
    pub(super) fn header_of(&self, path: &Path) -> Result<Option<SnapshotHeader>, LoadError> {
        if !self.disk.exists(path).on("stat", path)? {
            return Ok(None);
        }
        let file = self.disk.open(path).on("open", path)?;
        let mut head = [0; HEADER_LEN];
        let mut n = 0;
        while n < HEADER_LEN {
            match file.read_at(&mut head[n..], n as u64).on("read", path)? {
                0 => break,
                more => n += more,
            }
        }
        SnapshotHeader::parse(&head[..n])
            .map(Some)
            .map_err(|e| damaged(path, &e, RESTORE_ADVICE))
    }
}
