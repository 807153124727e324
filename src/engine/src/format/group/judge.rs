//! Judging how a log file ends while it is read group by group: what
//! [`super::GroupScanner`] does with a file that is in memory as a whole. Only
//! one group is held at a time, and of what follows a bad one a part.

use std::io::{self, Read};

use super::scan::{highest_mark_in, tail_at_bad_group, tail_at_end};
use super::{Group, GroupStream, ScanStart, Tail};
use crate::format::{HistoryId, ReadError};

/// What a file's groups are, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// End of the last good group, in bytes.
    pub end: u64,
    /// The sequence number due next; `None` if nothing was known.
    pub next_seq: Option<u64>,
    /// Checksum of the last good group, or what [`ScanStart`] said.
    pub last_crc: Option<u64>,
    /// How the file ends.
    pub tail: Tail,
}

/// Goes through the `len` bytes of a file, by the rules of
/// [`super::GroupScanner`]. `read` gives bytes at an offset, as
/// [`ReadFile::read_at`](crate::io::ReadFile::read_at) does; it is asked only
/// about a bad group and what follows.
///
/// # Errors
/// The file can't be read.
pub fn judge<R: Read>(
    file: R,
    len: u64,
    start: ScanStart,
    mut visit: impl FnMut(&Group<'_>),
    read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
) -> io::Result<Judgement> {
    let mut groups = GroupStream::new(file, len, start);
    let bad = loop {
        match groups.next_group() {
            Ok(Some(group)) => visit(&group),
            Ok(None) => break None,
            Err(ReadError::Io(error)) => return Err(error),
            Err(ReadError::Format(why)) => break Some(why),
        }
    };
    let (at, due) = (groups.end(), groups.next_seq());
    let tail = match bad {
        None => tail_at_end(at, due, start.durable),
        Some(why) if groups.is_out_of_turn() => Tail::Corrupt { at, why },
        Some(why) => {
            let mark = highest_mark_in(read, (at, len), groups.history())?.max(start.durable);
            tail_at_bad_group(at, due, mark, why)
        }
    };
    Ok(Judgement {
        end: at,
        next_seq: due,
        last_crc: groups.last_crc(),
        tail,
    })
}

/// The highest mark in the `len` bytes of a file, as [`highest_mark`](super::highest_mark) finds it
/// in memory; `read` as for [`judge`].
///
/// # Errors
/// The file can't be read.
pub fn highest_mark_of<R: Read>(
    file: R,
    len: u64,
    history: HistoryId,
    read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
) -> io::Result<u64> {
    let mut groups = GroupStream::new(file, len, ScanStart::default());
    let mut mark = 0;
    loop {
        match groups.next_group() {
            Ok(Some(group)) if group.header.history == history => {
                mark = mark.max(group.header.durable);
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(mark),
            Err(ReadError::Io(error)) => return Err(error),
            Err(ReadError::Format(_)) => break,
        }
    }
    let rest = highest_mark_in(read, (groups.end(), len), Some(history))?;
    Ok(mark.max(rest))
}
