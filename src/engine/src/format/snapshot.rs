//! The snapshot: the whole data set at one sequence number.
//!
//! ```text
//! header   96 bytes
//! blocks   each 48 bytes and its payload, of about 256 KiB before compression
//! index    one more block (kind 2)
//! trailer  48 bytes
//! ```
//!
//! All numbers are little endian. Checksums are CRC-64/XZ.
//!
//! | header | | |
//! |---|---|---|
//! | 0 | 8 | magic `RPERSIST` |
//! | 8 | u32 | format version, 1 |
//! | 12 | u32 | length of this header, 96 |
//! | 16 | u64 | feature bits; an unknown one is refused. Bit 0: blocks carry no checksum. Bit 1: fields of hashes may end |
//! | 24 | u64 | when it was begun, unix ms |
//! | 32 | u64 | sequence number of the last effect it covers |
//! | 40 | 16 | history id |
//! | 56 | 16 | seed of the hash whose order the blocks are in |
//! | 72 | 16 | 0 |
//! | 88 | u64 | checksum of the 88 bytes before |
//!
//! | block | | |
//! |---|---|---|
//! | 0 | 4 | magic `PBLK` |
//! | 4 | u8 | kind: 1 records, 2 index |
//! | 5 | u8 | codec: 0 none, 1 LZ4 (the block format) |
//! | 6 | u16 | 0 |
//! | 8 | u32 | database |
//! | 12 | u32 | records (blocks, in the index) |
//! | 16 | u32 | payload length before compression |
//! | 20 | u32 | payload length as stored |
//! | 24 | u64 | hash position at which its keys begin |
//! | 32 | u64 | hash position up to which they reach; 0 is the end |
//! | 40 | u64 | checksum of the 40 bytes before and the stored payload |
//!
//! A block holds keys of one database and one range of hash positions, so
//! blocks can be written and read by several threads, and one can replace
//! another that covers the same range. It is verified before a byte of it is
//! used.
//!
//! A record is a varint length and a body. The body's first byte is 0 for a
//! small entry, whose bytes follow (see [`crate::data::entry`]), or 1 for a
//! fragment of a large value:
//!
//! ```text
//! kind u8 · flags u8 (1: expiry, 2: fields of a hash may end) · expiry u64 · key element ·
//! total varint · start varint · count varint · items
//! ```
//!
//! `total` counts the value's items (bytes of a string, fields of a hash),
//! `start` and `count` say which of them are here. Fragments of one key come
//! in the order of `start`. Items are as in packed values; those of a stream
//! are the pieces of [`crate::data::stream::parts`].
//!
//! | trailer | | |
//! |---|---|---|
//! | 0 | 8 | magic `RPERSEND` |
//! | 8 | u64 | offset of the index block |
//! | 16 | u64 | keys |
//! | 24 | u64 | digest: checksum over the checksums of all blocks before the index |
//! | 32 | u64 | 0 |
//! | 40 | u64 | checksum of the 40 bytes before |

use std::io::{self, Read, Write};

use super::error::FormatError;
use super::{HistoryId, error::glance};
use crate::base::checksum::{Crc64, crc64};
use crate::data::packed::{self, push_varint};
use crate::data::value::Kind;

pub mod pieces;
mod read;

pub use read::{Block, SnapshotReader, records};

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = 96;
/// Length of a block's head, in bytes.
pub const BLOCK_HEAD_LEN: usize = 48;
/// Length of the trailer, in bytes.
pub const TRAILER_LEN: usize = 48;
/// A block is closed once it holds this many bytes.
pub const BLOCK_TARGET: usize = 256 << 10;
/// Most bytes of items in one fragment, but for a longer single item.
pub const FRAGMENT_TARGET: usize = 128 << 10;

const MAGIC: &[u8; 8] = b"RPERSIST";
const BLOCK_MAGIC: &[u8; 4] = b"PBLK";
const TRAILER_MAGIC: &[u8; 8] = b"RPERSEND";
const VERSION: u32 = 1;
const UNCHECKED: u64 = 1;
const ENDING_FIELDS: u64 = 2;

const RECORDS: u8 = 1;
const INDEX: u8 = 2;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;
const SMALL: u8 = 0;
const FRAGMENT: u8 = 1;

/// What a snapshot says of itself before its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// When it was begun, unix ms.
    pub created_ms: u64,
    /// Sequence number of the last effect it covers.
    pub seq: u64,
    /// The history this number belongs to.
    pub history: HistoryId,
    /// Seed of the hash.
    pub seed: [u8; 16],
    /// Whether blocks carry checksums.
    pub checksums: bool,
    /// Whether there may be hashes of which fields end.
    pub ending_fields: bool,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

fn sixteen_at(bytes: &[u8], at: usize) -> [u8; 16] {
    bytes
        .get(at..at + 16)
        .and_then(|b| b.try_into().ok())
        .unwrap_or([0; 16])
}

impl SnapshotHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(HEADER_LEN as u32).to_le_bytes());
        let unchecked = if self.checksums { 0 } else { UNCHECKED };
        let ending = if self.ending_fields { ENDING_FIELDS } else { 0 };
        out[16..24].copy_from_slice(&(unchecked | ending).to_le_bytes());
        out[24..32].copy_from_slice(&self.created_ms.to_le_bytes());
        out[32..40].copy_from_slice(&self.seq.to_le_bytes());
        out[40..56].copy_from_slice(self.history.bits());
        out[56..72].copy_from_slice(&self.seed);
        let crc = crc64(&out[..88]);
        out[88..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// Not a snapshot, one of a newer version (`intact`), or damaged.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
            let found = format!("a file of {} bytes", bytes.len());
            return Err(FormatError::new(
                0,
                "a snapshot, whose header has 96 bytes",
                found,
            ));
        };
        if &head[..8] != MAGIC {
            return Err(FormatError::new(
                0,
                "the magic RPERSIST of a snapshot",
                glance(head),
            ));
        }
        let version = u32_at(head, 8);
        let (crc, want) = (u64_at(head, 88), crc64(&head[..88]));
        if version != VERSION {
            let found = format!("version {version}");
            let error = FormatError::new(8, "snapshot format version 1", found);
            // Whether only the version is damaged shows in the checksum; else
            // nobody knows what another version's header looks like.
            let mut ours = *head;
            ours[8..12].copy_from_slice(&VERSION.to_le_bytes());
            return Err(match crc64(&ours[..88]) == crc {
                true => error,
                false => error.intact(),
            });
        }
        if crc != want {
            let expected = format!("a header with checksum {want:016x}");
            return Err(FormatError::new(88, expected, format!("{crc:016x}")));
        }
        let features = u64_at(head, 16);
        let Some(history) = HistoryId::new(sixteen_at(head, 40)) else {
            return Err(FormatError::new(40, "a history id", "zeros".to_string()));
        };
        if features & !(UNCHECKED | ENDING_FIELDS) != 0 || u32_at(head, 12) != HEADER_LEN as u32 {
            let found = format!("feature bits {features:#x}");
            let error = FormatError::new(16, "features that this version knows", found);
            return Err(error.intact());
        }
        Ok(SnapshotHeader {
            created_ms: u64_at(head, 24),
            seq: u64_at(head, 32),
            history,
            seed: sixteen_at(head, 56),
            checksums: features & UNCHECKED == 0,
            ending_fields: features & ENDING_FIELDS != 0,
        })
    }
}

/// Part of a large value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The kind of value.
    pub kind: Kind,
    /// Whether each field of a hash is followed by when it ends.
    pub ending: bool,
    /// When the key ends, unix ms.
    pub expiry: Option<u64>,
    /// The key.
    pub key: &'a [u8],
    /// Items of the whole value.
    pub total: u64,
    /// Index of the first item here.
    pub start: u64,
    /// Items here.
    pub count: u64,
    /// Their bytes.
    pub items: &'a [u8],
}

/// One record of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A small entry's bytes, not yet checked.
    Small(&'a [u8]),
    /// Part of a large value.
    Fragment(Fragment<'a>),
}

/// What a finished snapshot comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Length of the file, in bytes.
    pub len: u64,
    /// Keys in it.
    pub keys: u64,
    /// See the trailer.
    pub digest: u64,
}

/// Where a block stands and what it covers: an entry of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlace {
    /// Offset of its head in the file.
    pub offset: u64,
    /// Database.
    pub db: u32,
    /// Records.
    pub records: u32,
    /// Hash position at which its keys begin.
    pub first: u64,
}

/// Writes a snapshot from front to back.
pub struct SnapshotWriter<W> {
    out: W,
    compress: bool,
    checksums: bool,
    offset: u64,
    block: Vec<u8>,
    scratch: Vec<u8>,
    db: u32,
    records: u32,
    first: u64,
    keys: u64,
    digest: Crc64,
    places: Vec<BlockPlace>,
}

impl<W: Write> SnapshotWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// The sink's.
    pub fn begin(mut out: W, header: &SnapshotHeader, compress: bool) -> io::Result<Self> {
        out.write_all(&header.encode())?;
        Ok(SnapshotWriter {
            out,
            compress,
            checksums: header.checksums,
            offset: HEADER_LEN as u64,
            block: Vec::with_capacity(BLOCK_TARGET + (64 << 10)),
            scratch: Vec::new(),
            db: 0,
            records: 0,
            first: 0,
            keys: 0,
            digest: Crc64::new(),
            places: Vec::new(),
        })
    }

    /// Begins with `db`, at hash position 0.
    ///
    /// # Errors
    /// The sink's.
    pub fn database(&mut self, db: u32) -> io::Result<()> {
        self.flush(0)?;
        self.db = db;
        self.first = 0;
        Ok(())
    }

    /// A small entry's bytes.
    ///
    /// # Errors
    /// The sink's.
    pub fn small(&mut self, bytes: &[u8]) -> io::Result<()> {
        push_varint(&mut self.block, bytes.len() as u64 + 1);
        self.block.push(SMALL);
        self.block.extend_from_slice(bytes);
        self.records += 1;
        self.keys += 1;
        Ok(())
    }

    /// Part of a large value; the parts of one key follow each other. `position`
    /// is the hash position of the segment the key is in: a block may end
    /// between two parts.
    ///
    /// # Errors
    /// The sink's.
    pub fn fragment(&mut self, part: &Fragment<'_>, position: u64) -> io::Result<()> {
        self.scratch.clear();
        let body = &mut self.scratch;
        let flags = u8::from(part.expiry.is_some()) | u8::from(part.ending) << 1;
        body.extend_from_slice(&[FRAGMENT, part.kind as u8, flags]);
        if let Some(at) = part.expiry {
            body.extend_from_slice(&at.to_le_bytes());
        }
        packed::push_element(body, part.key);
        push_varint(body, part.total);
        push_varint(body, part.start);
        push_varint(body, part.count);
        push_varint(
            &mut self.block,
            (self.scratch.len() + part.items.len()) as u64,
        );
        self.block.extend_from_slice(&self.scratch);
        self.block.extend_from_slice(part.items);
        self.records += 1;
        if part.start + part.count == part.total {
            self.keys += 1;
        }
        if self.block.len() >= BLOCK_TARGET {
            self.flush(position)?;
        }
        Ok(())
    }

    /// All keys before hash position `next` (`None`: the end) are written.
    ///
    /// # Errors
    /// The sink's.
    pub fn segment_done(&mut self, next: Option<u64>) -> io::Result<()> {
        if self.block.len() >= BLOCK_TARGET || next.is_none() {
            self.flush(next.unwrap_or(0))?;
        }
        Ok(())
    }

    /// Closes the block, whose keys reach up to hash position `next`.
    fn flush(&mut self, next: u64) -> io::Result<()> {
        if self.records > 0 {
            let place = BlockPlace {
                offset: self.offset,
                db: self.db,
                records: self.records,
                first: self.first,
            };
            let crc = self.write_block(RECORDS, next)?;
            self.digest.update(&crc.to_le_bytes());
            self.places.push(place);
        }
        self.block.clear();
        self.records = 0;
        self.first = next;
        Ok(())
    }

    fn write_block(&mut self, kind: u8, next: u64) -> io::Result<u64> {
        let mut codec = PLAIN;
        if self.compress {
            self.scratch.resize(
                lz4_flex::block::get_maximum_output_size(self.block.len()),
                0,
            );
            if let Ok(n) = lz4_flex::block::compress_into(&self.block, &mut self.scratch)
                && n < self.block.len()
            {
                self.scratch.truncate(n);
                codec = LZ4;
            }
        }
        let stored = if codec == LZ4 {
            &self.scratch
        } else {
            &self.block
        };
        let raw_len =
            u32::try_from(self.block.len()).map_err(|_| io::Error::other("a block over 4 GiB"))?;
        let mut head = [0; BLOCK_HEAD_LEN];
        head[..4].copy_from_slice(BLOCK_MAGIC);
        head[4] = kind;
        head[5] = codec;
        head[8..12].copy_from_slice(&self.db.to_le_bytes());
        head[12..16].copy_from_slice(&self.records.to_le_bytes());
        head[16..20].copy_from_slice(&raw_len.to_le_bytes());
        head[20..24].copy_from_slice(&(stored.len() as u32).to_le_bytes());
        head[24..32].copy_from_slice(&self.first.to_le_bytes());
        head[32..40].copy_from_slice(&next.to_le_bytes());
        let crc = if self.checksums {
            block_crc(&head, stored)
        } else {
            0
        };
        head[40..].copy_from_slice(&crc.to_le_bytes());
        self.out.write_all(&head)?;
        self.out.write_all(stored)?;
        self.offset += (BLOCK_HEAD_LEN + stored.len()) as u64;
        Ok(crc)
    }

    /// Writes index and trailer, and gives the sink back: nothing is durable
    /// until the caller has synced it.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(mut self) -> io::Result<(W, Summary)> {
        self.flush(0)?;
        let index_offset = self.offset;
        for place in &self.places {
            self.block.extend_from_slice(&place.offset.to_le_bytes());
            self.block.extend_from_slice(&place.db.to_le_bytes());
            self.block.extend_from_slice(&place.records.to_le_bytes());
            self.block.extend_from_slice(&place.first.to_le_bytes());
        }
        self.records = self.places.len() as u32;
        (self.db, self.first) = (0, 0);
        self.write_block(INDEX, 0)?;
        let digest = self.digest.finish();
        let mut trailer = [0; TRAILER_LEN];
        trailer[..8].copy_from_slice(TRAILER_MAGIC);
        trailer[8..16].copy_from_slice(&index_offset.to_le_bytes());
        trailer[16..24].copy_from_slice(&self.keys.to_le_bytes());
        trailer[24..32].copy_from_slice(&digest.to_le_bytes());
        let crc = crc64(&trailer[..40]);
        trailer[40..].copy_from_slice(&crc.to_le_bytes());
        self.out.write_all(&trailer)?;
        self.out.flush()?;
        let len = self.offset + TRAILER_LEN as u64;
        Ok((
            self.out,
            Summary {
                len,
                keys: self.keys,
                digest,
            },
        ))
    }
}

fn block_crc(head: &[u8; BLOCK_HEAD_LEN], stored: &[u8]) -> u64 {
    let mut crc = Crc64::new();
    crc.update(&head[..40]);
    crc.update(stored);
    crc.finish()
}

fn read_up_to(input: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buf.len() {
        match input.read(&mut buf[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

#[cfg(test)]
pub mod forge;
#[cfg(test)]
mod tests;
