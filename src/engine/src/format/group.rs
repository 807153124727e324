//! The log's group: what is written in one go, verified as a whole, and kept
//! or cut as a whole.
//!
//! A log file is groups and nothing else, end to end. A group is one line and
//! a payload of whole commands (see [`super::resp`]) that starts with its own
//! SELECT. Stock Redis skips lines starting with `#`, so it reads the file, too.
//! The line has a fixed width, so that a writer leaves room for it at the head
//! of its buffer and fills it in when it flushes ([`seal`]):
//!
//! ```text
//! #PG1 f=k--- s=<20> n=<10> t=<20> l=<20> p=<16> d=<20> h=<32> x=<8> c=<16>\r\n
//! ```
//!
//! | field | form | meaning |
//! |---|---|---|
//! | `#PG1` | | magic and format version 1 |
//! | `f` | 4 flags | letter or `-`: `k` every effect touches one key; `b` of a base; the rest are `-` |
//! | `s` | decimal | sequence number of the first effect, from 1 on |
//! | `n` | decimal | number of effects; SELECT, MULTI and EXEC are none; may be 0 (a bare mark) |
//! | `t` | decimal | when it was sealed, unix time in ms; never less than in the group before |
//! | `l` | decimal | payload length in bytes |
//! | `p` | hex | `c` of the group before, also across files; 0 for a history's very first |
//! | `d` | decimal | the *mark*: highest sequence number known durable then; less than `s` |
//! | `h` | hex | history id |
//! | `x` | hex | low 32 bits of the CRC-64 of the line up to `x=` |
//! | `c` | hex | CRC-64 of the line up to `c=`, then the payload |
//!
//! Decimals are padded with zeros, hexadecimal digits are lower case: there is
//! one spelling of a group, so every flipped bit is noticed. `x` lets a line be
//! believed when its payload is damaged: its length before anything is done
//! with it, and its mark.
//!
//! What becomes of a file with a bad group: see [`GroupScanner`].

use super::error::{FormatError, glance};
use super::{HistoryId, decimal, hex};
use crate::base::checksum::{Crc64, crc64};
use std::io::Write as _;

mod chain;
mod judge;
mod scan;
mod stream;

pub use judge::{Judgement, highest_mark_of, judge};
pub use scan::{GroupScanner, ScanStart, Tail, highest_mark, highest_mark_in, sound_groups};
pub use stream::GroupStream;

/// Length in bytes of the line before each payload, CR LF included.
pub const GROUP_HEADER_LEN: usize = 202;

/// How each line starts.
pub const GROUP_MAGIC: &[u8] = b"#PG1 ";

/// Redis reads annotation lines into 1,024 bytes.
const _: () = assert!(GROUP_HEADER_LEN < 1000);

/// Label and width of each field after the magic, in order.
const FIELDS: [(&[u8; 2], usize); 10] = [
    (b"f=", 4),
    (b"s=", 20),
    (b"n=", 10),
    (b"t=", 20),
    (b"l=", 20),
    (b"p=", 16),
    (b"d=", 20),
    (b"h=", 32),
    (b"x=", 8),
    (b"c=", 16),
];

/// Where the digits of `c` and of `x` start; what comes before is covered.
const C_AT: usize = GROUP_HEADER_LEN - 2 - 16;
const X_AT: usize = C_AT - 3 - 8;

const _: () = {
    let (mut len, mut i) = (GROUP_MAGIC.len(), 0);
    while i < FIELDS.len() {
        len += 2 + FIELDS[i].1 + 1; // label, digits, space
        i += 1;
    }
    assert!(len - 1 + 2 == GROUP_HEADER_LEN); // no last space, but CR LF
};

/// What a group says of itself. The payload's length and the checksums aren't
/// here: sealing computes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHeader {
    /// Every effect touches one key only, so effects on different keys may be
    /// replayed in any order.
    pub single_key: bool,
    /// It is part of a base, whose effects are numbered from 1 on by
    /// themselves.
    pub base: bool,
    /// Sequence number of the first effect, at least 1; of the next one if
    /// there is none.
    pub first_seq: u64,
    /// Number of effects.
    pub effects: u32,
    /// Unix time in ms.
    pub time_ms: u64,
    /// Checksum of the group before, 0 if there is none.
    pub prev_crc: u64,
    /// Highest sequence number known durable, less than `first_seq`; 0 if none.
    pub durable: u64,
    /// The history the effects belong to.
    pub history: HistoryId,
}

impl GroupHeader {
    /// The sequence number due after this group; `None` beyond 64 bits.
    pub fn next_seq(&self) -> Option<u64> {
        self.first_seq.checked_add(u64::from(self.effects))
    }

    /// Writes the line for this payload, and returns the group's checksum.
    pub fn encode_into(&self, line: &mut [u8; GROUP_HEADER_LEN], payload: &[u8]) -> u64 {
        let k = if self.single_key { 'k' } else { '-' };
        let b = if self.base { 'b' } else { '-' };
        let Self {
            first_seq,
            effects,
            time_ms,
            prev_crc,
            durable,
            history,
            ..
        } = self;
        let len = payload.len();
        // The widths hold every value of the types, so no write falls short.
        let _ = write!(
            &mut line[..],
            "#PG1 f={k}{b}-- s={first_seq:020} n={effects:010} t={time_ms:020} l={len:020} \
             p={prev_crc:016x} d={durable:020} h={history} x="
        );
        let check = crc64(&line[..X_AT]) as u32;
        let _ = write!(&mut line[X_AT..], "{check:08x} c=");
        let mut crc = Crc64::new();
        crc.update(&line[..C_AT]);
        crc.update(payload);
        let crc = crc.finish();
        let _ = write!(&mut line[C_AT..], "{crc:016x}\r\n");
        crc
    }
}

/// Makes a group of a buffer: its first [`GROUP_HEADER_LEN`] bytes are
/// overwritten with the line, the rest is the payload. Returns the group's
/// checksum, the next one's `prev_crc`.
///
/// # Errors
/// The buffer is shorter than the line.
pub fn seal(buffer: &mut [u8], header: &GroupHeader) -> Result<u64, FormatError> {
    let len = buffer.len();
    match buffer.split_first_chunk_mut() {
        Some((line, payload)) => Ok(header.encode_into(line, payload)),
        None => Err(FormatError::new(
            0,
            "room for a group's line",
            format!("{len} bytes"),
        )),
    }
}

/// A line whose own check holds, while its payload is still unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnverifiedGroup {
    header: GroupHeader,
    payload_len: u64,
    crc: u64,
    offset: u64,
}

/// Splits a line into its fields' digits.
fn fields(line: &[u8; GROUP_HEADER_LEN]) -> Option<[&[u8]; FIELDS.len()]> {
    let mut rest = line.strip_prefix(GROUP_MAGIC)?;
    let mut all = [&[][..]; FIELDS.len()];
    for (slot, (label, width)) in all.iter_mut().zip(FIELDS) {
        let (digits, after) = rest.strip_prefix(label)?.split_at_checked(width)?;
        *slot = digits;
        rest = after.strip_prefix(b" ").unwrap_or(after);
        // Only the last field may end without a space.
        if after.len() == rest.len() && after != b"\r\n" {
            return None;
        }
    }
    (rest == b"\r\n").then_some(all)
}

/// The version in a group's magic, if it isn't ours. A line of ours in which
/// only that digit is damaged isn't of another version: its check shows it.
/// Of another version's line nothing else is known, its length neither.
fn other_version(bytes: &[u8]) -> Option<u32> {
    let rest = bytes.strip_prefix(b"#PG")?;
    let digits = rest.iter().take(10).position(|byte| *byte == b' ')?;
    let version = decimal(rest.get(..digits)?)?;
    let version = u32::try_from(version).ok().filter(|v| *v != 1)?;
    if let Some(mut ours) = bytes.first_chunk::<GROUP_HEADER_LEN>().copied() {
        ours[..GROUP_MAGIC.len()].copy_from_slice(GROUP_MAGIC);
        let x = ours.get(X_AT..X_AT + 8).and_then(hex);
        if x == Some(u64::from(crc64(&ours[..X_AT]) as u32)) {
            return None;
        }
    }
    Some(version)
}

impl UnverifiedGroup {
    /// Reads a line that stands at byte `offset` of its file, where
    /// `remaining` bytes, itself included, are left of the file.
    ///
    /// # Errors
    /// It isn't a whole line, its check fails, a field is out of bounds, or
    /// the payload would end behind the file.
    pub fn parse(bytes: &[u8], offset: u64, remaining: u64) -> Result<Self, FormatError> {
        let group = Self::parse_line(bytes, offset)?;
        if remaining.saturating_sub(GROUP_HEADER_LEN as u64) < group.payload_len {
            let found = format!("a group of {} in {remaining} left", group.payload_len);
            return Err(FormatError::new(
                offset,
                "a payload that ends within the file",
                found,
            ));
        }
        Ok(group)
    }

    /// As [`UnverifiedGroup::parse`], but the payload may be cut off.
    pub(crate) fn parse_line(bytes: &[u8], offset: u64) -> Result<Self, FormatError> {
        let error = |expected: &'static str| FormatError::new(offset, expected, glance(bytes));
        if let Some(version) = other_version(bytes) {
            let found = format!("version {version}");
            return Err(FormatError::new(offset, "a group of format version 1", found).intact());
        }
        let line = bytes
            .first_chunk()
            .ok_or_else(|| error("a whole group line"))?;
        let [f, s, n, t, l, p, d, h, x, c] = fields(line).ok_or_else(|| error("a group line"))?;
        if hex(x) != Some(u64::from(crc64(&line[..X_AT]) as u32)) {
            return Err(error("a group line whose check holds"));
        }
        // The check doesn't cover it.
        let crc = hex(c).ok_or_else(|| error("a group line with a checksum"))?;
        let parsed = || {
            let flag = |at: usize, letter: u8| match f.get(at) {
                Some(b'-') => Some(false),
                Some(found) if *found == letter => Some(true),
                _ => None,
            };
            let header = GroupHeader {
                single_key: flag(0, b'k')?,
                base: flag(1, b'b')?,
                first_seq: decimal(s)?,
                effects: u32::try_from(decimal(n)?).ok()?,
                time_ms: decimal(t)?,
                prev_crc: hex(p)?,
                durable: decimal(d)?,
                history: HistoryId::from_hex(h)?,
            };
            header.next_seq()?;
            let sound = f.get(2..) == Some(b"--") && header.durable < header.first_seq;
            sound.then_some(Self {
                header,
                payload_len: decimal(l)?,
                crc,
                offset,
            })
        };
        // Its check holds: whoever wrote it meant it.
        parsed().ok_or_else(|| error("a group line with values this version knows").intact())
    }

    /// What it says of itself.
    pub(crate) fn header(&self) -> &GroupHeader {
        &self.header
    }

    /// When it says that it was sealed, unix ms.
    pub fn time_ms(&self) -> u64 {
        self.header.time_ms
    }

    /// Payload length in bytes.
    pub fn payload_len(&self) -> u64 {
        self.payload_len
    }

    /// The header, if line and payload are what was sealed. `line` is the line
    /// this was parsed from.
    ///
    /// # Errors
    /// The payload's length or the checksum differs.
    pub fn verify(&self, line: &[u8], payload: &[u8]) -> Result<GroupHeader, FormatError> {
        if payload.len() as u64 != self.payload_len {
            let expected = format!("a payload of {} bytes", self.payload_len);
            return Err(FormatError::new(
                self.offset,
                expected,
                payload.len().to_string(),
            ));
        }
        let mut crc = Crc64::new();
        crc.update(line.get(..C_AT).unwrap_or_default());
        crc.update(payload);
        let found = crc.finish();
        if found != self.crc {
            let expected = format!("a group with checksum {:016x}", self.crc);
            return Err(FormatError::new(
                self.offset,
                expected,
                format!("{found:016x}"),
            ));
        }
        Ok(self.header)
    }
}

/// A group that verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// What it says of itself.
    pub header: GroupHeader,
    /// Its checksum.
    pub crc: u64,
    /// Where its line starts in the file, in bytes.
    pub offset: u64,
    /// Its commands.
    pub payload: &'a [u8],
}

impl Group<'_> {
    /// Where the payload starts in the file, in bytes.
    pub fn payload_offset(&self) -> u64 {
        self.offset + GROUP_HEADER_LEN as u64
    }

    /// Where the next group starts in the file, in bytes.
    pub fn end(&self) -> u64 {
        self.payload_offset() + self.payload.len() as u64
    }
}

/// Reads the group at byte `at` of a whole file.
pub(crate) fn group_at(file: &[u8], at: usize) -> Result<Group<'_>, FormatError> {
    let rest = file.get(at..).unwrap_or_default();
    let offset = at as u64;
    let parsed = UnverifiedGroup::parse(rest, offset, rest.len() as u64)?;
    let (line, after) = rest.split_at_checked(GROUP_HEADER_LEN).unwrap_or_default();
    // Fits: parse compared it with what is left.
    let len = usize::try_from(parsed.payload_len).unwrap_or(usize::MAX);
    let payload = after.get(..len).unwrap_or_default();
    let header = parsed.verify(line, payload)?;
    Ok(Group {
        header,
        crc: parsed.crc,
        offset,
        payload,
    })
}

#[cfg(test)]
mod tests;
