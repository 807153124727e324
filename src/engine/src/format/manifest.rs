//! The manifest: which files make up the log, in Redis 7's syntax.
//!
//! ```text
//! #persist-manifest version 1
//! #state history <32 hex> next-base 2 next-incr 3 log open
//! file persist.aof.1.base.rdb seq 1 type b history <32 hex> covers 90
//! file persist.aof.1.incr.aof seq 1 type i history <32 hex> first 91 prev <16 hex> last 120 len 5120 crc <16 hex>
//! file persist.aof.2.incr.aof seq 2 type i history <32 hex> first 121 prev <16 hex>
//! #CRC64 <16 hex>
//! ```
//!
//! - Redis skips lines that start with `#` and pairs it doesn't know, so it
//!   loads this as its own; it wants at least 3 pairs a line, lines of at most
//!   1,024 bytes, no empty ones, and names without a slash. Once it writes the
//!   manifest, ours are gone; then the checksum is missing, and we refuse.
//! - `file`, `seq` and `type` (`b` base, `i` incr, `h` history: replaced, only
//!   waiting to be removed) are Redis's. A name with blanks, quotes, backslashes
//!   or bytes outside printable ASCII is in double quotes, with `\n \r \t \a \b`,
//!   `\xHH`, and a backslash before anything else.
//! - `history`: the history id (see [`HistoryId`]) of what is in the file.
//! - Base: `covers`: every effect up to this sequence number is in it. `len`
//!   and `crc`, if present: its length, and the checksum of its last group.
//!   `hash-seed`, if present: the seed of the hash in whose order its keys are;
//!   a keyspace under that seed is filled from one end to the other, which is
//!   kind to the cache.
//! - Incr: `first` and `prev`: the sequence number of its first effect and the
//!   checksum of the group before; both missing while it is made ready ahead of
//!   its use. `last`, `len`, `crc`, of a closed file: the last sequence number
//!   (`first` - 1 if it is empty), the bytes that count (what follows them
//!   doesn't), the checksum of the last group (`prev` if it is empty).
//! - `#state`: the history in force; the numbers for the next files, never used
//!   before; `log open`, or `log closed at <seq>`: `appendonly` was turned off
//!   once that sequence number was reached; `after <history>`, while it is
//!   taking the place of another one.
//! - `#CRC64` is the last line, over all bytes before it. Lines that start with
//!   `# ` (with a blank) are remarks; they are read over and not kept.

use super::HistoryId;
use super::error::FormatError;
use crate::base::checksum::crc64;
use crate::base::hash::Seed;
use read::{Found, covered, of_this_version};
use std::fmt::Write as _;
use words::quoted;

mod check;
mod read;
mod words;

/// Redis reads lines into 1,024 bytes; this leaves room.
const MAX_LINE: usize = 1000;
const VERSION_WORDS: &[u8] = b"#persist-manifest version ";
const VERSION_LINE: &[u8] = b"#persist-manifest version 1";
const CHECKSUM: &[u8] = b"#CRC64 ";
/// Redis keeps file numbers as `long long`.
const MAX_FILE_SEQ: u64 = i64::MAX as u64;

/// Which files make up the log, and what is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The history in force: that of the last file.
    pub history: HistoryId,
    /// Number for the next base file, from 1 on.
    pub next_base_seq: u64,
    /// Number for the next incr file, from 1 on.
    pub next_incr_seq: u64,
    /// The log was turned off when this sequence number was reached.
    pub closed_at: Option<u64>,
    /// The history that this one is taking the place of, its own if nobody
    /// knows: a snapshot that is still there is to be moved aside.
    pub after: Option<HistoryId>,
    /// The data set that the incr files continue. A manifest without one
    /// doesn't pass [`Manifest::check`].
    pub base: Option<BaseFile>,
    /// In the order of replay.
    pub incrs: Vec<IncrFile>,
    /// Replaced files that may still be there.
    pub replaced: Vec<ReplacedFile>,
}

/// A base file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseFile {
    /// Its name in the log's folder.
    pub name: String,
    /// Its number, from 1 on.
    pub seq: u64,
    /// The history of `covers`.
    pub history: HistoryId,
    /// Every effect up to this sequence number is in it.
    pub covers: u64,
    /// Length in bytes and checksum of the last group, of a base made of
    /// groups: it must end exactly so.
    pub end: Option<(u64, u64)>,
    /// Seed of the hash in whose order its keys are, if it doesn't say so
    /// itself.
    pub seed: Option<Seed>,
}

/// An incr file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncrFile {
    /// Its name in the log's folder.
    pub name: String,
    /// Its number, from 1 on.
    pub seq: u64,
    /// The history of its groups.
    pub history: HistoryId,
    /// `None` while it waits, empty, to be used.
    pub start: Option<IncrStart>,
    /// `None` until it is closed.
    pub end: Option<IncrEnd>,
}

/// Where an incr file sets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncrStart {
    /// Sequence number of its first effect.
    pub first: u64,
    /// Checksum of the group before; 0 at the start of a history.
    pub prev_crc: u64,
}

/// How a closed incr file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncrEnd {
    /// Sequence number of its last effect; `first - 1` if it is empty.
    pub last: u64,
    /// Length in bytes; whatever follows doesn't count.
    pub len: u64,
    /// Checksum of its last group; that of the one before if it is empty.
    pub crc: u64,
}

impl IncrEnd {
    /// An empty file must end as it starts; one of bare marks has bytes, but
    /// no effect.
    fn fits(&self, start: IncrStart) -> bool {
        let Some(next) = self.last.checked_add(1) else {
            return false;
        };
        match self.len {
            0 => next == start.first && self.crc == start.prev_crc,
            _ => next >= start.first,
        }
    }
}

/// A file that a newer base has replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedFile {
    /// Its name in the log's folder.
    pub name: String,
    /// Its number, from 1 on.
    pub seq: u64,
}

impl Manifest {
    /// A manifest of no files yet. It doesn't pass [`Manifest::check`] before
    /// it has a base.
    pub fn new(history: HistoryId) -> Self {
        Self {
            history,
            next_base_seq: 1,
            next_incr_seq: 1,
            closed_at: None,
            after: None,
            base: None,
            incrs: Vec::new(),
            replaced: Vec::new(),
        }
    }

    /// The names of the files that must be there, in the order of loading.
    pub fn needed(&self) -> impl Iterator<Item = &str> {
        let base = self.base.iter().map(|file| file.name.as_str());
        base.chain(self.incrs.iter().map(|file| file.name.as_str()))
    }

    /// The file as bytes. [`Manifest::check`] it first.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::from_utf8_lossy(VERSION_LINE).into_owned();
        let Self {
            history,
            next_base_seq,
            next_incr_seq,
            ..
        } = self;
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "\n#state history {history} next-base {next_base_seq} next-incr {next_incr_seq} log "
        );
        let _ = match self.closed_at {
            Some(seq) => write!(text, "closed at {seq}"),
            None => write!(text, "open"),
        };
        if let Some(before) = self.after {
            let _ = write!(text, " after {before}");
        }
        text.push('\n');
        for line in self.lines() {
            text += &line;
            text.push('\n');
        }
        let crc = crc64(text.as_bytes());
        let _ = writeln!(text, "#CRC64 {crc:016x}");
        text.into_bytes()
    }

    /// The `file` lines, in Redis's order: base, history, incr.
    fn lines(&self) -> impl Iterator<Item = String> {
        let base = self.base.iter().map(|file| {
            let BaseFile {
                seq,
                history,
                covers,
                ..
            } = file;
            let name = quoted(&file.name);
            let mut line =
                format!("file {name} seq {seq} type b history {history} covers {covers}");
            if let Some((len, crc)) = file.end {
                let _ = write!(line, " len {len} crc {crc:016x}");
            }
            if let Some(Seed(bytes)) = file.seed {
                let _ = write!(line, " hash-seed {:032x}", u128::from_be_bytes(bytes));
            }
            line
        });
        let replaced = self.replaced.iter().map(|file| {
            let (name, seq) = (quoted(&file.name), file.seq);
            format!("file {name} seq {seq} type h")
        });
        let incrs = self.incrs.iter().map(|file| {
            let IncrFile { seq, history, .. } = file;
            let mut line = format!(
                "file {} seq {seq} type i history {history}",
                quoted(&file.name)
            );
            if let Some(IncrStart { first, prev_crc }) = file.start {
                let _ = write!(line, " first {first} prev {prev_crc:016x}");
            }
            if let Some(IncrEnd { last, len, crc }) = file.end {
                let _ = write!(line, " last {last} len {len} crc {crc:016x}");
            }
            line
        });
        base.chain(replaced).chain(incrs)
    }

    /// Reads a manifest and [checks](Manifest::check) it.
    ///
    /// # Errors
    /// No checksum line or a wrong one, a line that can't be read, or what
    /// `check` finds. With the line number, unless it is about the whole.
    /// `intact` if the checksum is right, or it is another version's.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        of_this_version(bytes)?;
        let body = covered(bytes)?;
        let mut found = Found::default();
        let (mut offset, mut number) = (0, 0);
        for line in body.split_inclusive(|&byte| byte == b'\n') {
            number += 1;
            found
                .line(line.strip_suffix(b"\n").unwrap_or(line))
                .map_err(|(expected, what)| {
                    let error = FormatError::new(offset, expected, what);
                    error.on_line(number).intact()
                })?;
            offset += line.len() as u64;
        }
        let manifest = found.finish().map_err(FormatError::intact)?;
        manifest.check().map_err(FormatError::intact)?;
        Ok(manifest)
    }

    /// Whether it makes sense: one base; every name a plain file name, used
    /// once; numbers in order and below the next ones; sequence numbers and
    /// checksums that continue from file to file without gap or overlap, as
    /// far as they are known; histories that are never returned to, the last
    /// of them in force.
    ///
    /// # Errors
    /// The first thing that doesn't.
    pub fn check(&self) -> Result<(), FormatError> {
        self.problem().map_or(Ok(()), |(expected, found)| {
            Err(FormatError::new(0, expected, found))
        })
    }
}

/// What was expected, and what is there instead.
type Problem = (&'static str, String);
#[cfg(test)]
mod tests;
