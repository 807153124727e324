//! Snapshots read back: from front to back, and record by record.

use std::io::Read;

use super::{
    BLOCK_HEAD_LEN, BLOCK_MAGIC, BlockPlace, FRAGMENT, Fragment, HEADER_LEN, INDEX, LZ4, PLAIN,
    RECORDS, Record, SMALL, SnapshotHeader, TRAILER_LEN, TRAILER_MAGIC, block_crc, read_up_to,
    u32_at, u64_at,
};
use crate::base::checksum::{Crc64, crc64};
use crate::data::packed;
use crate::data::value::Kind;
use crate::format::error::{FormatError, ReadError, glance};

/// Length in bytes of an entry of the index.
pub(super) const PLACE: usize = 24;

/// Reads a snapshot from front to back, each block verified before it is
/// handed out.
pub struct SnapshotReader<R> {
    input: R,
    /// What the header says.
    pub header: SnapshotHeader,
    /// Length of the file: every length is bounded by it before it is believed.
    file_len: u64,
    offset: u64,
    keys: u64,
    digest: Crc64,
    stored: Vec<u8>,
    places: Vec<BlockPlace>,
}

/// A block's payload in the reader's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Where its head stands in the file.
    pub offset: u64,
    /// Database.
    pub db: u32,
    /// Records in it.
    pub records: u32,
}

impl<R: Read> SnapshotReader<R> {
    /// Reads the header of a file of `file_len` bytes.
    ///
    /// # Errors
    /// See [`SnapshotHeader::parse`].
    pub fn begin(mut input: R, file_len: u64) -> Result<Self, ReadError> {
        let mut head = [0; HEADER_LEN];
        let n = read_up_to(&mut input, &mut head)?;
        let header = SnapshotHeader::parse(&head[..n])?;
        Ok(SnapshotReader {
            input,
            header,
            file_len,
            offset: HEADER_LEN as u64,
            keys: 0,
            digest: Crc64::new(),
            stored: Vec::new(),
            places: Vec::new(),
        })
    }

    /// How far reading has come, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next block of records into `raw`; `None` when the snapshot
    /// is complete: index and trailer were there and agree with the blocks.
    ///
    /// # Errors
    /// What is damaged, and at which offset.
    pub fn next_block(&mut self, raw: &mut Vec<u8>) -> Result<Option<Block>, ReadError> {
        let at = self.offset;
        let mut head = [0; BLOCK_HEAD_LEN];
        if read_up_to(&mut self.input, &mut head)? < BLOCK_HEAD_LEN || &head[..4] != BLOCK_MAGIC {
            return Err(FormatError::new(at, "a block", glance(&head)).into());
        }
        let left = self.file_len.saturating_sub(at + BLOCK_HEAD_LEN as u64);
        let stored_len = stored_len(&head, at, left)?;
        self.stored.clear();
        self.stored.resize(stored_len as usize, 0);
        self.input.read_exact(&mut self.stored)?;
        let crc = u64_at(&head, 40);
        let want = if self.header.checksums {
            block_crc(&head, &self.stored)
        } else {
            0
        };
        if crc != want {
            let expected = format!("a block with checksum {want:016x}");
            return Err(FormatError::new(at, expected, format!("{crc:016x}")).into());
        }
        unpack(&head, at, &mut self.stored, raw)?;
        self.offset = at + BLOCK_HEAD_LEN as u64 + stored_len;
        let block = Block {
            offset: at,
            db: u32_at(&head, 8),
            records: u32_at(&head, 12),
        };
        match head[4] {
            RECORDS => {
                self.digest.update(&crc.to_le_bytes());
                self.places.push(BlockPlace {
                    offset: at,
                    db: block.db,
                    records: block.records,
                    first: u64_at(&head, 24),
                });
                Ok(Some(block))
            }
            INDEX => self.finish(at, raw).map(|()| None),
            other => Err(FormatError::new(
                at + 4,
                "a block of records or the index",
                format!("kind {other}"),
            )
            .into()),
        }
    }

    /// The index must name the blocks that were read, the trailer must end
    /// the file.
    fn finish(&mut self, index_offset: u64, index: &[u8]) -> Result<(), ReadError> {
        if index.len() != self.places.len() * PLACE
            || !places(index).eq(self.places.iter().copied())
        {
            let found = format!(
                "{} entries for {} blocks",
                index.len() / PLACE,
                self.places.len()
            );
            return Err(
                FormatError::new(index_offset, "an index of the blocks before it", found).into(),
            );
        }
        let at = self.offset;
        let mut trailer = [0; TRAILER_LEN];
        let n = read_up_to(&mut self.input, &mut trailer)?;
        if n < TRAILER_LEN
            || &trailer[..8] != TRAILER_MAGIC
            || u64_at(&trailer, 40) != crc64(&trailer[..40])
        {
            return Err(FormatError::new(at, "a whole trailer", glance(&trailer[..n])).into());
        }
        if u64_at(&trailer, 8) != index_offset || u64_at(&trailer, 24) != self.digest.finish() {
            return Err(
                FormatError::new(at, "a trailer that fits the blocks", glance(&trailer)).into(),
            );
        }
        self.keys = u64_at(&trailer, 16);
        self.offset = at + TRAILER_LEN as u64;
        if self.offset != self.file_len {
            let found = format!("{} bytes more", self.file_len.saturating_sub(self.offset));
            return Err(FormatError::new(self.offset, "the end of the file", found).into());
        }
        Ok(())
    }

    /// Blocks of records read so far.
    pub fn blocks(&self) -> u64 {
        self.places.len() as u64
    }

    /// Keys that the trailer tells of; known once the last block was read.
    pub fn keys(&self) -> u64 {
        self.keys
    }
}

/// Length in bytes of the payload that follows a block's head, of which `left`
/// bytes are there.
///
/// # Errors
/// It can't be so long.
pub(super) fn stored_len(
    head: &[u8; BLOCK_HEAD_LEN],
    at: u64,
    left: u64,
) -> Result<u64, FormatError> {
    let (raw_len, stored_len) = (u64::from(u32_at(head, 16)), u64::from(u32_at(head, 20)));
    let plausible = match head[5] {
        PLAIN => raw_len == stored_len,
        // LZ4 can't say more than 255 bytes with one.
        LZ4 => raw_len <= stored_len.saturating_mul(255).saturating_add(64),
        _ => false,
    };
    if stored_len > left || !plausible {
        let found = format!("{stored_len} bytes for {raw_len} with codec {}", head[5]);
        let expected = format!("a block within the {left} bytes left");
        return Err(FormatError::new(at, expected, found));
    }
    Ok(stored_len)
}

/// Puts the payload of a verified block into `raw`, unpacked.
///
/// # Errors
/// It doesn't unpack.
pub(super) fn unpack(
    head: &[u8; BLOCK_HEAD_LEN],
    at: u64,
    stored: &mut Vec<u8>,
    raw: &mut Vec<u8>,
) -> Result<(), FormatError> {
    if head[5] != LZ4 {
        std::mem::swap(raw, stored);
        return Ok(());
    }
    let raw_len = u32_at(head, 16) as usize;
    raw.clear();
    raw.resize(raw_len, 0);
    match lz4_flex::block::decompress_into(stored, raw) {
        Ok(n) if n == raw_len => Ok(()),
        _ => Err(FormatError::new(
            at,
            "a block that decompresses",
            "damaged LZ4".to_string(),
        )),
    }
}

/// The blocks that an index names.
pub(super) fn places(index: &[u8]) -> impl Iterator<Item = BlockPlace> {
    index.chunks(PLACE).map(|p| BlockPlace {
        offset: u64_at(p, 0),
        db: u32_at(p, 8),
        records: u32_at(p, 12),
        first: u64_at(p, 16),
    })
}

/// Walks the records of a verified block. Offsets in errors are those of the
/// block: a compressed payload has no others.
pub fn records(
    block: Block,
    raw: &[u8],
    mut visit: impl FnMut(Record<'_>) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let bad = |what: &str| {
        FormatError::new(
            block.offset,
            "records that fill their block",
            what.to_string(),
        )
    };
    let mut rest = raw;
    for _ in 0..block.records {
        let (body, n) = packed::read_element(rest).ok_or_else(|| bad("a record cut short"))?;
        rest = &rest[n..];
        match body.split_first() {
            Some((&SMALL, bytes)) => visit(Record::Small(bytes))?,
            Some((&FRAGMENT, bytes)) => {
                let part = fragment(bytes).ok_or_else(|| bad("a malformed fragment"))?;
                visit(Record::Fragment(part))?;
            }
            _ => return Err(bad("a record of unknown form")),
        }
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(bad("bytes behind the last record"))
    }
}

fn fragment(bytes: &[u8]) -> Option<Fragment<'_>> {
    let kind = Kind::from_u8(*bytes.first()?)?;
    let flags = *bytes.get(1)?;
    let ending = flags & 2 != 0;
    if flags > 3 || (ending && kind != Kind::Hash) {
        return None;
    }
    let (expiry, rest) = if flags & 1 == 0 {
        (None, &bytes[2..])
    } else {
        let (raw, rest) = bytes[2..].split_first_chunk::<8>()?;
        (Some(u64::from_le_bytes(*raw)), rest)
    };
    let (key, n) = packed::read_element(rest)?;
    let mut rest = &rest[n..];
    let mut numbers = [0; 3];
    for number in &mut numbers {
        let (value, n) = packed::read_varint(rest)?;
        *number = value;
        rest = &rest[n..];
    }
    let [total, start, count] = numbers;
    // Every item takes a byte at least, so no count promises more than is here.
    if count > rest.len() as u64 || start.checked_add(count)? > total || total == 0 {
        return None;
    }
    Some(Fragment {
        kind,
        ending,
        expiry,
        key,
        total,
        start,
        count,
        items: rest,
    })
}
