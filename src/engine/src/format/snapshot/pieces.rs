//! What is left of a snapshot that may be damaged: the blocks that verify, and
//! where the others stood.
//!
//! The index says where each block stands, so one that is damaged doesn't hide
//! those behind it. Without the index, blocks are gone through by their
//! lengths. Nothing is searched for: a value may hold the bytes of a block.

use std::io;

use super::read::{PLACE, places, stored_len, unpack};
use super::{
    BLOCK_HEAD_LEN, BLOCK_MAGIC, Block, BlockPlace, HEADER_LEN, INDEX, RECORDS, SnapshotHeader,
    TRAILER_LEN, TRAILER_MAGIC, block_crc, u32_at, u64_at,
};
use crate::base::checksum::crc64;
use crate::format::error::{FormatError, ReadError, glance};
use crate::io::ReadFile;

/// A part of a snapshot that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPart {
    /// From this byte on.
    pub from: u64,
    /// Up to this byte.
    pub to: u64,
    /// Database and number of records of the block that stood there, if known.
    pub held: Option<(u32, u32)>,
    /// What is wrong.
    pub why: FormatError,
}

/// A snapshot that may be damaged.
pub struct Pieces<'f> {
    file: &'f dyn ReadFile,
    len: u64,
    /// What the header says, if it is sound.
    pub header: Result<SnapshotHeader, FormatError>,
    /// Where the blocks stand, and where the last one ends.
    index: Option<(Vec<BlockPlace>, u64)>,
    /// Where the blocks end, if the trailer is sound.
    end: Option<u64>,
    /// Keys in the whole snapshot, if the trailer is sound.
    pub keys: Option<u64>,
}

/// Takes a block that verifies, with its payload and where it ends; or a part
/// that doesn't.
pub type Visit<'a> =
    &'a mut dyn FnMut(Result<(Block, &[u8], u64), BadPart>) -> Result<(), ReadError>;

/// A block's head and payload, verified.
struct Found {
    kind: u8,
    block: Block,
    first: u64,
    end: u64,
}

impl<'f> Pieces<'f> {
    /// Reads header, trailer and index.
    ///
    /// # Errors
    /// The disk's; or it is another version's, or has no checksums: then
    /// nothing in it can be verified.
    pub fn open(file: &'f dyn ReadFile) -> Result<Self, ReadError> {
        let mut head = [0; HEADER_LEN];
        let n = read_up_to(file, &mut head, 0)?;
        let header = SnapshotHeader::parse(head.get(..n).unwrap_or_default());
        match &header {
            Err(e) if e.intact => return Err(e.clone().into()),
            Ok(header) if !header.checksums => {
                let expected = "checksums, without which nothing that is damaged can be told apart";
                let error = FormatError::new(16, expected, "a snapshot of rdbchecksum no");
                return Err(error.into());
            }
            _ => {}
        }
        let mut pieces = Pieces {
            file,
            len: file.len()?,
            header,
            index: None,
            end: None,
            keys: None,
        };
        pieces.read_end()?;
        Ok(pieces)
    }

    /// Whether it surely holds nothing.
    pub fn is_empty(&self) -> bool {
        self.index.as_ref().is_some_and(|(all, _)| all.is_empty())
    }

    fn read_end(&mut self) -> Result<(), ReadError> {
        let mut trailer = [0; TRAILER_LEN];
        let Some(at) = self.len.checked_sub(TRAILER_LEN as u64) else {
            return Ok(());
        };
        let n = read_up_to(self.file, &mut trailer, at)?;
        if n < TRAILER_LEN
            || &trailer[..8] != TRAILER_MAGIC
            || u64_at(&trailer, 40) != crc64(&trailer[..40])
        {
            return Ok(());
        }
        self.keys = Some(u64_at(&trailer, 16));
        let index_at = u64_at(&trailer, 8);
        self.end = Some(index_at);
        let mut raw = Vec::new();
        let found = match self.block_at(index_at, at, &mut raw) {
            Ok(found) if found.kind == INDEX && found.end == at => found,
            Ok(_) | Err(ReadError::Format(_)) => return Ok(()),
            Err(e) => return Err(e),
        };
        let all: Vec<BlockPlace> = places(&raw).collect();
        let ordered = all.is_sorted_by(|a, b| a.offset < b.offset)
            && all.first().is_none_or(|p| p.offset == HEADER_LEN as u64)
            && all.last().is_none_or(|p| p.offset < index_at);
        if raw.len() == all.len() * PLACE && found.block.records as usize == all.len() && ordered {
            self.index = Some((all, index_at));
        }
        Ok(())
    }

    /// Reads and verifies the block at byte `at`, which must end by `limit`;
    /// its payload goes into `raw`.
    fn block_at(&self, at: u64, limit: u64, raw: &mut Vec<u8>) -> Result<Found, ReadError> {
        let mut head = [0; BLOCK_HEAD_LEN];
        let payload_at = at.saturating_add(BLOCK_HEAD_LEN as u64);
        if payload_at > limit
            || read_up_to(self.file, &mut head, at)? < BLOCK_HEAD_LEN
            || &head[..4] != BLOCK_MAGIC
        {
            return Err(FormatError::new(at, "a block", glance(&head)).into());
        }
        let stored_len = stored_len(&head, at, limit - payload_at)?;
        let mut stored = vec![0; stored_len as usize];
        let n = read_up_to(self.file, &mut stored, payload_at)?;
        let (crc, want) = (u64_at(&head, 40), block_crc(&head, &stored));
        if n < stored.len() || crc != want {
            let expected = format!("a block with checksum {want:016x}");
            return Err(FormatError::new(at, expected, format!("{crc:016x}")).into());
        }
        unpack(&head, at, &mut stored, raw)?;
        Ok(Found {
            kind: head[4],
            block: Block {
                offset: at,
                db: u32_at(&head, 8),
                records: u32_at(&head, 12),
            },
            first: u64_at(&head, 24),
            end: payload_at + stored_len,
        })
    }

    /// Visits each block of records that verifies, in order, and each part that
    /// doesn't.
    ///
    /// # Errors
    /// The disk's, or the visitor's.
    pub fn each(&self, visit: Visit<'_>) -> Result<(), ReadError> {
        let mut raw = Vec::new();
        let Some((places, end)) = &self.index else {
            return self.each_by_length(visit);
        };
        for (i, place) in places.iter().enumerate() {
            let to = places.get(i + 1).map_or(*end, |next| next.offset);
            let same = |found: &Found| {
                (
                    found.kind,
                    found.end,
                    found.block.db,
                    found.block.records,
                    found.first,
                ) == (RECORDS, to, place.db, place.records, place.first)
            };
            let why = match self.block_at(place.offset, to, &mut raw) {
                Ok(found) if same(&found) => {
                    visit(Ok((found.block, &raw, to)))?;
                    continue;
                }
                Ok(_) => FormatError::new(place.offset, "the block that the index names", "other"),
                Err(ReadError::Format(why)) => why,
                Err(e) => return Err(e),
            };
            visit(Err(BadPart {
                from: place.offset,
                to,
                held: Some((place.db, place.records)),
                why,
            }))?;
        }
        Ok(())
    }

    fn each_by_length(&self, visit: Visit<'_>) -> Result<(), ReadError> {
        let (mut at, mut raw) = (HEADER_LEN as u64, Vec::new());
        let end = self.end.unwrap_or(self.len).min(self.len);
        loop {
            if Some(at) == self.end {
                return Ok(());
            }
            let why = match self.block_at(at, end, &mut raw) {
                Ok(found) if found.kind == RECORDS => {
                    at = found.end;
                    visit(Ok((found.block, &raw, at)))?;
                    continue;
                }
                // The trailer doesn't matter any more.
                Ok(found) if found.kind == INDEX => return Ok(()),
                Ok(_) => FormatError::new(at + 4, "a block of records or the index", "another"),
                Err(ReadError::Format(why)) => why,
                Err(e) => return Err(e),
            };
            // Without an index at its end, even a file that seems to end with
            // a block is cut short.
            let next = self.behind(at, end)?.max(at);
            visit(Err(BadPart {
                from: at,
                to: next,
                held: None,
                why,
            }))?;
            if next >= end {
                return Ok(());
            }
            at = next;
        }
    }

    /// Where the block behind a damaged one begins, if that one's length leads
    /// to one that verifies; else `end`.
    fn behind(&self, at: u64, end: u64) -> Result<u64, ReadError> {
        let mut head = [0; BLOCK_HEAD_LEN];
        if read_up_to(self.file, &mut head, at)? < BLOCK_HEAD_LEN {
            return Ok(end);
        }
        let next = at + BLOCK_HEAD_LEN as u64 + u64::from(u32_at(&head, 20));
        match self.block_at(next, end, &mut Vec::new()) {
            Ok(_) => Ok(next),
            Err(ReadError::Format(_)) => Ok(end),
            Err(e) => Err(e),
        }
    }
}

fn read_up_to(file: &dyn ReadFile, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut n = 0;
    while let Some(rest) = buf.get_mut(n..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + n as u64) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}
