//! Going through a log file's groups, and judging how it ends.

use std::io;

use super::chain::Due;
use super::{C_AT, GROUP_HEADER_LEN, GROUP_MAGIC, Group, UnverifiedGroup, group_at};
use crate::base::checksum::Crc64;
use crate::format::{FormatError, HistoryId};

/// The highest mark in a part of a file that starts anywhere, damaged or not:
/// of lines whose check holds and, if given, of that history. 0 if there is
/// none. Groups that verify are stepped over whole.
pub fn highest_mark(bytes: &[u8], history: Option<HistoryId>) -> u64 {
    let read = |at: u64, into: &mut [u8]| {
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..));
        let mut rest = rest.unwrap_or_default();
        io::Read::read(&mut rest, into)
    };
    // Memory can be read.
    highest_mark_in(read, (0, bytes.len() as u64), history).unwrap_or(0)
}

/// As [`highest_mark`], of the bytes `from..end` of a file, of which `read`
/// gives parts, as [`ReadFile::read_at`](crate::io::ReadFile::read_at) does.
/// However many these are, a small part is in memory at a time: a file may
/// claim to be longer than that.
///
/// # Errors
/// Those of `read`.
pub fn highest_mark_in(
    read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
    (from, end): (u64, u64),
    history: Option<HistoryId>,
) -> io::Result<u64> {
    let mut window = Window {
        read,
        end,
        start: from,
        bytes: Vec::new(),
    };
    let (mut mark, mut at) = (0, from);
    // A value may be made of lines that each claim the rest of the file: don't
    // let checking them take forever. Then lines are read inside groups, too.
    let mut budget = end.saturating_sub(from).saturating_mul(4);
    loop {
        let piece = window.at(at, 1)?;
        if piece.is_empty() {
            return Ok(mark);
        }
        let Some(hash) = piece.iter().position(|&byte| byte == b'#') else {
            at += piece.len() as u64;
            continue;
        };
        at += hash as u64;
        let rest = window.at(at, GROUP_HEADER_LEN)?;
        let line = match rest.starts_with(GROUP_MAGIC) {
            true => UnverifiedGroup::parse_line(rest, 0).ok(),
            false => None,
        };
        let ours = |line: &UnverifiedGroup| history.is_none_or(|ours| ours == line.header.history);
        let Some(line) = line.filter(ours) else {
            at += 1;
            continue;
        };
        mark = mark.max(line.header.durable);
        at += match budget.checked_sub(window.cost(at, &line)) {
            Some(rest) => {
                budget = rest;
                match window.verifies(at, &line)? {
                    true => GROUP_HEADER_LEN as u64 + line.payload_len,
                    false => 1,
                }
            }
            None => 1,
        };
    }
}

/// A part of a file that is read piece by piece.
struct Window<R> {
    read: R,
    end: u64,
    /// Where `bytes` stand.
    start: u64,
    bytes: Vec<u8>,
}

/// Bytes that are in memory.
const PIECE: u64 = 1 << 18;

impl<R: FnMut(u64, &mut [u8]) -> io::Result<usize>> Window<R> {
    /// What stands from `at` on: at least `least` bytes, if there are so many.
    fn at(&mut self, at: u64, least: usize) -> io::Result<&[u8]> {
        let known = at.checked_sub(self.start).map(|skip| skip as usize);
        let known = known.filter(|skip| {
            let is_end = self.start + self.bytes.len() as u64 >= self.end;
            *skip <= self.bytes.len() && (self.bytes.len() - skip >= least || is_end)
        });
        if let Some(skip) = known {
            return Ok(&self.bytes[skip..]);
        }
        let want = PIECE.min(self.end.saturating_sub(at)) as usize;
        self.start = at;
        self.bytes.resize(want, 0);
        let mut got = 0;
        while let Some(into) = self.bytes.get_mut(got..).filter(|into| !into.is_empty()) {
            match (self.read)(at + got as u64, into) {
                // It is shorter than it was.
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.bytes.truncate(got);
        if got < want {
            self.end = at + got as u64;
        }
        Ok(&self.bytes)
    }

    /// How many bytes have to be read to verify the group at `at`, and to come
    /// back if it doesn't.
    fn cost(&self, at: u64, line: &UnverifiedGroup) -> u64 {
        let left = line.payload_len.min(self.end - at);
        let known = self.start + self.bytes.len() as u64;
        match at + GROUP_HEADER_LEN as u64 + left <= known {
            true => left,
            false => left.max(PIECE),
        }
    }

    /// Whether the group at `at`, whose line this is, is whole.
    fn verifies(&mut self, at: u64, line: &UnverifiedGroup) -> io::Result<bool> {
        let end = (at + GROUP_HEADER_LEN as u64).checked_add(line.payload_len);
        if end.is_none_or(|end| end > self.end) {
            return Ok(false);
        }
        let mut crc = Crc64::new();
        let head = self.at(at, GROUP_HEADER_LEN)?;
        crc.update(head.get(..C_AT).unwrap_or_default());
        let (mut at, mut left) = (at + GROUP_HEADER_LEN as u64, line.payload_len);
        while left > 0 {
            let piece = self.at(at, 1)?;
            let n = (piece.len() as u64).min(left);
            if n == 0 {
                return Ok(false);
            }
            crc.update(&piece[..n as usize]);
            (at, left) = (at + n, left - n);
        }
        Ok(crc.finish() == line.crc)
    }
}

/// Visits the groups that verify in a part of a file that starts anywhere,
/// damaged or not, whatever their order; offsets are those in `bytes`. Gives
/// how many bytes are in none of them. Like [`highest_mark`], it finds lines at
/// any byte.
pub fn sound_groups(bytes: &[u8], mut visit: impl FnMut(&Group<'_>)) -> u64 {
    let (mut at, mut outside) = (0, bytes.len() as u64);
    // Lines in damaged groups may each claim the rest of the file.
    let mut budget = bytes.len().saturating_mul(4) as u64;
    while let Some(rest) = bytes.get(at..) {
        let Some(hash) = rest.iter().position(|&byte| byte == b'#') else {
            break;
        };
        at += hash;
        let rest = bytes.get(at..).unwrap_or_default();
        let line = match rest.starts_with(GROUP_MAGIC) {
            true => UnverifiedGroup::parse_line(rest, 0).ok(),
            false => None,
        };
        let tried = line.and_then(|line| {
            budget = budget.checked_sub(line.payload_len.min(rest.len() as u64))?;
            group_at(bytes, at).ok()
        });
        match tried {
            Some(group) => {
                visit(&group);
                outside -= group.end() - group.offset;
                at = usize::try_from(group.end()).unwrap_or(usize::MAX);
            }
            None => at += 1,
        }
    }
    outside
}

/// What is known of a file before it is read. `None` takes the file's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanStart {
    /// The history of all its groups.
    pub history: Option<HistoryId>,
    /// Sequence number of its first effect.
    pub first_seq: Option<u64>,
    /// Checksum of the group before its first.
    pub prev_crc: Option<u64>,
    /// The highest sequence number that this file must hold, as known from
    /// elsewhere; 0 if nothing is.
    pub durable: u64,
}

/// How a file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With a whole group, or it is empty.
    Clean,
    /// With what a crash left of bytes that were never durable: from `at` on
    /// it may be cut.
    Torn {
        /// End of the last good group, in bytes.
        at: u64,
        /// What is wrong there.
        why: FormatError,
    },
    /// Something that was durable is damaged or missing.
    Corrupt {
        /// End of the last good group, in bytes.
        at: u64,
        /// What is wrong there.
        why: FormatError,
    },
}

/// Goes through a file's verified groups; at their end [`GroupScanner::tail`]
/// says how the file ends.
///
/// # A bad group
///
/// Let the first group that doesn't verify stand at byte `at`, and let `e` be
/// the sequence number that was due there. Was `e` ever durable? If not, this
/// is what a crash leaves of bytes nobody was promised: cut it and all behind
/// it. If so, it is damage, and cutting would lose promised writes. The rule:
///
/// 1. Read every line, from `at` to the end of the file, that is whole by its
///    `x` and of our history, and take the highest mark. Lines are found by
///    their magic at any byte, since the byte before may be lost. The line
///    counts even if its payload is damaged: a mark was true when it was made,
///    and the usual pair is a rotten group followed by the torn last one.
/// 2. Take the highest of these and of the mark the caller knows from elsewhere
///    (later files; the manifest, about a closed file). If it is `e` or more:
///    [`Tail::Corrupt`].
/// 3. If the group at `at` verifies by itself but isn't the one due (another
///    history, sequence or chain), it is [`Tail::Corrupt`], too: groups are
///    appended in order and a cut is synced before anything is appended, so no
///    crash puts a whole wrong group there; an editor or a mixed-up file does.
/// 4. If it is a group of another version of this format, which nobody here can
///    read, it is [`Tail::Corrupt`], with `intact`.
/// 5. Else [`Tail::Torn`]: zeros, half a line, a payload cut short, blocks that
///    were never written.
///
/// The same mark is checked at a clean end: if the file ends before a sequence
/// number known durable, it is corrupt. A file cut exactly between two groups,
/// with no mark from elsewhere, can't be told from one that ended there.
///
/// A value may contain a copy of groups. In a group that verifies it is never
/// looked at. In a damaged one it may be, which does no harm: a mark of the
/// same history is true wherever it stands.
#[derive(Clone, Debug)]
pub struct GroupScanner<'a> {
    file: &'a [u8],
    at: usize,
    due: Due,
    durable: u64,
    mark: u64,
    tail: Option<Tail>,
}

impl<'a> GroupScanner<'a> {
    /// Over the whole image of a file (of a closed one, up to the length in
    /// the manifest).
    pub fn new(file: &'a [u8], start: ScanStart) -> Self {
        Self {
            file,
            at: 0,
            due: Due::at(start),
            durable: start.durable,
            mark: 0,
            tail: None,
        }
    }

    /// How the file ends; `None` until the iterator has.
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// End of the last good group so far, in bytes.
    pub fn end(&self) -> u64 {
        self.at as u64
    }

    /// The sequence number due next; `None` before the first group of a file
    /// of which nothing was known.
    pub fn next_seq(&self) -> Option<u64> {
        self.due.seq
    }

    /// Checksum of the last good group: what the next one must carry. At first
    /// what [`ScanStart`] said.
    pub fn last_crc(&self) -> Option<u64> {
        self.due.crc
    }

    /// The history of the groups so far, or what [`ScanStart`] said.
    pub fn history(&self) -> Option<HistoryId> {
        self.due.history
    }

    /// The highest mark of the good groups so far.
    pub fn mark(&self) -> u64 {
        self.mark
    }
}

/// How a file ends of which each byte was part of a good group; `due` comes
/// next, and everything up to `durable` must be in it.
pub(super) fn tail_at_end(at: u64, due: Option<u64>, durable: u64) -> Tail {
    match due {
        Some(due) if due <= durable => {
            let expected = format!("groups up to sequence {durable}");
            let why = FormatError::new(at, expected, format!("the end before {due}"));
            Tail::Corrupt { at, why }
        }
        _ => Tail::Clean,
    }
}

/// How a file ends with a bad group at `at`, where `due` was due, if everything
/// up to `mark` is known to be durable.
pub(super) fn tail_at_bad_group(
    at: u64,
    due: Option<u64>,
    mark: u64,
    mut why: FormatError,
) -> Tail {
    // Another version's group: cut off, what it says would be lost.
    if why.intact {
        return Tail::Corrupt { at, why };
    }
    // Not knowing what was due, any mark at all has to count.
    let due = due.unwrap_or(1);
    if mark < due {
        return Tail::Torn { at, why };
    }
    why.found += &format!(" (and sequence {mark}, not before {due}, is known to be durable)");
    Tail::Corrupt { at, why }
}

impl<'a> Iterator for GroupScanner<'a> {
    type Item = Group<'a>;

    fn next(&mut self) -> Option<Group<'a>> {
        if self.tail.is_some() {
            return None;
        }
        if self.at == self.file.len() {
            self.tail = Some(tail_at_end(self.end(), self.due.seq, self.durable));
            return None;
        }
        let group = match group_at(self.file, self.at) {
            Ok(group) => group,
            Err(why) => {
                let rest = self.file.get(self.at..).unwrap_or_default();
                let mark = highest_mark(rest, self.due.history).max(self.durable);
                self.tail = Some(tail_at_bad_group(self.end(), self.due.seq, mark, why));
                return None;
            }
        };
        if let Err(why) = self.due.take(&group) {
            self.tail = Some(Tail::Corrupt {
                at: self.end(),
                why,
            });
            return None;
        }
        self.at += GROUP_HEADER_LEN + group.payload.len();
        self.mark = self.mark.max(group.header.durable);
        Some(group)
    }
}
