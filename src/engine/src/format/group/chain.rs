//! How groups follow each other: each names its history, its first sequence
//! number and the checksum of the one before.

use super::{Group, ScanStart};
use crate::format::{FormatError, HistoryId};

/// What the next group must carry, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) history: Option<HistoryId>,
    pub(super) seq: Option<u64>,
    pub(super) crc: Option<u64>,
}

impl Due {
    /// At the beginning of a file.
    pub(super) fn at(start: ScanStart) -> Self {
        Due {
            history: start.history,
            seq: start.first_seq,
            crc: start.prev_crc,
        }
    }

    /// Takes a good group if it is the one due, and steps on.
    ///
    /// # Errors
    /// What it carries instead.
    pub(super) fn take(&mut self, group: &Group<'_>) -> Result<(), FormatError> {
        let header = &group.header;
        let error =
            |expected: String, found: String| Err(FormatError::new(group.offset, expected, found));
        if let Some(due) = self.history
            && due != header.history
        {
            return error(
                format!("a group of history {due}"),
                header.history.to_string(),
            );
        }
        if let Some(due) = self.seq
            && due != header.first_seq
        {
            return error(
                format!("a group from sequence {due} on"),
                header.first_seq.to_string(),
            );
        }
        if let Some(due) = self.crc
            && due != header.prev_crc
        {
            let found = format!("{:016x}", header.prev_crc);
            return error(
                format!("a group that follows the one with checksum {due:016x}"),
                found,
            );
        }
        *self = Due {
            history: Some(header.history),
            seq: header.next_seq(),
            crc: Some(group.crc),
        };
        Ok(())
    }
}
