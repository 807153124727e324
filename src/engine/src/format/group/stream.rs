//! Groups read one by one from a file. What becomes of one that is bad is up
//! to the reader: a base must be whole, see [`super::judge()`] for what may be
//! torn.

use std::io::{self, Read};

use super::chain::Due;
use super::{GROUP_HEADER_LEN, Group, ScanStart, UnverifiedGroup};
use crate::format::{HistoryId, ReadError};

/// Verified groups in order; only one is in memory at a time.
#[derive(Debug)]
pub struct GroupStream<R> {
    file: R,
    /// Length of the file in bytes.
    len: u64,
    at: u64,
    due: Due,
    out_of_turn: bool,
    /// Line and payload of the present group.
    buffer: Vec<u8>,
}

impl<R: Read> GroupStream<R> {
    /// Over a file of `len` bytes, which begins as `start` says.
    pub fn new(file: R, len: u64, start: ScanStart) -> Self {
        GroupStream {
            file,
            len,
            at: 0,
            due: Due::at(start),
            out_of_turn: false,
            buffer: Vec::new(),
        }
    }

    /// Checksum of the last group so far; at first what the start said.
    pub fn last_crc(&self) -> Option<u64> {
        self.due.crc
    }

    /// The sequence number due next; `None` if nothing was known.
    pub fn next_seq(&self) -> Option<u64> {
        self.due.seq
    }

    /// The history of the groups so far, or what the start said.
    pub fn history(&self) -> Option<HistoryId> {
        self.due.history
    }

    /// End of the last good group so far, in bytes.
    pub fn end(&self) -> u64 {
        self.at
    }

    /// Whether what stands behind the last good group is a whole group, but
    /// not the one due.
    pub fn is_out_of_turn(&self) -> bool {
        self.out_of_turn
    }

    /// The next group; `None` at the end of the file.
    ///
    /// # Errors
    /// The file can't be read, or what stands there isn't the group due.
    pub fn next_group(&mut self) -> Result<Option<Group<'_>>, ReadError> {
        let left = self.len.saturating_sub(self.at);
        if left == 0 {
            return Ok(None);
        }
        self.fill(0, left.min(GROUP_HEADER_LEN as u64) as usize)?;
        // Its length is compared with the file before it is believed.
        let line = UnverifiedGroup::parse(&self.buffer, self.at, left)?;
        let whole = GROUP_HEADER_LEN as u64 + line.payload_len();
        self.fill(
            GROUP_HEADER_LEN,
            usize::try_from(whole).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?,
        )?;
        let (head, payload) = self
            .buffer
            .split_at_checked(GROUP_HEADER_LEN)
            .unwrap_or_default();
        let group = Group {
            header: line.verify(head, payload)?,
            crc: line.crc,
            offset: self.at,
            payload,
        };
        if let Err(why) = self.due.take(&group) {
            self.out_of_turn = true;
            return Err(why.into());
        }
        self.at += whole;
        Ok(Some(group))
    }

    /// Reads on until the buffer, which holds `have` bytes of the group, holds
    /// its first `n`.
    fn fill(&mut self, have: usize, n: usize) -> io::Result<()> {
        self.buffer.truncate(have);
        // A failed reservation is an error, not an abort.
        self.buffer
            .try_reserve(n - have)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        let want = (n - have) as u64;
        let got = (&mut self.file).take(want).read_to_end(&mut self.buffer)?;
        if (got as u64) < want {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
