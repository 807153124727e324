//! Groups read one by one from a file that must be whole: a base. Where an
//! end may be torn, [`super::GroupScanner`] judges the file as a whole.

use std::io::{self, Read};

use super::chain::Due;
use super::{GROUP_HEADER_LEN, Group, ScanStart, UnverifiedGroup};
use crate::format::ReadError;

/// Verified groups in order; only one is in memory at a time.
#[derive(Debug)]
pub struct GroupStream<R> {
    file: R,
    /// Length of the file in bytes.
    len: u64,
    at: u64,
    due: Due,
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
            buffer: Vec::new(),
        }
    }

    /// Checksum of the last group so far; at first what the start said.
    pub fn last_crc(&self) -> Option<u64> {
        self.due.crc
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
        self.fill(left.min(GROUP_HEADER_LEN as u64) as usize)?;
        // Its length is compared with the file before it is believed.
        let line = UnverifiedGroup::parse(&self.buffer, self.at, left)?;
        let whole = GROUP_HEADER_LEN as u64 + line.payload_len();
        self.fill(
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
        self.due.take(&group)?;
        self.at += whole;
        Ok(Some(group))
    }

    /// Reads on until the buffer holds the first `n` bytes of the group.
    fn fill(&mut self, n: usize) -> io::Result<()> {
        let have = if n <= GROUP_HEADER_LEN {
            0
        } else {
            GROUP_HEADER_LEN
        };
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
