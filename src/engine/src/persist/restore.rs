//! A snapshot read back into a keyspace.

use std::collections::HashMap;
use std::io::Read;

use crate::data::chunks::ChunkList;
use crate::data::entry::{Entry, SmallEntry};
use crate::data::hash::{self, expiry};
use crate::data::packed;
use crate::data::table::Table;
use crate::data::value::{Kind, Value};
use crate::data::zset::SortedSet;
use crate::format::FormatError;
use crate::format::snapshot::{Block, Fragment, ReadError, Record, SnapshotReader, records};
use crate::keyspace::{Keyspace, MAX_DATABASES};

/// A large value some of whose fragments have been read.
struct Partial {
    kind: Kind,
    expiry: Option<u64>,
    total: u64,
    next: u64,
    value: Growing,
}

/// A value that fragments are added to.
enum Growing {
    Done(Value),
    /// Sorted sets are built from all members at once.
    Ranked(Vec<(f64, Box<[u8]>)>),
}

/// Reads all of `reader` into `space`, which must be empty and hash with the
/// seed of the header. `progress` is told the offset reached, in bytes. The
/// clock is never asked: what is due is reaped by the caller, later.
///
/// # Errors
/// What is damaged, and at which offset. `space` holds a part of the data then.
pub fn snapshot<R: Read>(
    reader: &mut SnapshotReader<R>,
    space: &mut Keyspace,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ReadError> {
    let mut raw = Vec::new();
    let mut partials = HashMap::new();
    while let Some(block) = reader.next_block(&mut raw)? {
        if block.db >= MAX_DATABASES {
            let found = format!("database {}", block.db);
            return Err(FormatError::new(block.offset, "a database below 65536", found).into());
        }
        records(block, &raw, |record| match record {
            Record::Small(bytes) => match SmallEntry::from_bytes(bytes) {
                Some(small) => put(space, block, Entry::Small(small)),
                None => Err(bad(block, "a well-formed small entry", bytes)),
            },
            Record::Fragment(part) => fragment(space, block, &part, &mut partials),
        })?;
        progress(reader.offset());
    }
    match partials.keys().next() {
        None => Ok(()),
        Some((db, key)) => {
            let found = format!("key {} of database {db} cut short", key.escape_ascii());
            Err(
                FormatError::new(reader.offset(), "all fragments of each large value", found)
                    .into(),
            )
        }
    }
}

fn bad(block: Block, expected: &'static str, bytes: &[u8]) -> FormatError {
    FormatError::new(block.offset, expected, crate::format::error::excerpt(bytes))
}

fn put(space: &mut Keyspace, block: Block, entry: Entry) -> Result<(), FormatError> {
    if entry.expiry() == Some(0) {
        // No command makes one, and replay, whose clock stands at 0, would
        // take it for due.
        return Err(bad(block, "an expiry after 1970", entry.key()));
    }
    space.arm_entry(block.db, &entry);
    let table = space.db_mut(block.db);
    let hash = table.hash(entry.key());
    match table.insert(hash, entry) {
        None => Ok(()),
        Some(double) => Err(bad(block, "each key once", double.key())),
    }
}

fn fragment(
    space: &mut Keyspace,
    block: Block,
    part: &Fragment<'_>,
    partials: &mut HashMap<(u32, Vec<u8>), Partial>,
) -> Result<(), FormatError> {
    let error = |expected| bad(block, expected, part.key);
    let id = (block.db, part.key.to_vec());
    let mut partial = match partials.remove(&id) {
        Some(partial) => partial,
        None if part.start == 0 => Partial {
            kind: part.kind,
            expiry: part.expiry,
            total: part.total,
            next: 0,
            value: Growing::new(part.kind, space),
        },
        None => {
            return Err(error(
                "the first fragment of a large value before the others",
            ));
        }
    };
    let same = (partial.kind, partial.expiry, partial.total, partial.next)
        == (part.kind, part.expiry, part.total, part.start);
    if !same {
        return Err(error("fragments that continue each other"));
    }
    partial
        .value
        .add(part)
        .ok_or_else(|| error("well-formed items in a fragment"))?;
    partial.next += part.count;
    if partial.next < partial.total {
        partials.insert(id, partial);
        return Ok(());
    }
    let value = partial
        .value
        .finish(space)
        .ok_or_else(|| error("a sorted set in order"))?;
    let len = if let Value::Str(bytes) = &value {
        bytes.len()
    } else {
        value.len()
    };
    if len as u64 != partial.total {
        return Err(error("each element once"));
    }
    put(space, block, Entry::large(part.key, part.expiry, value))
}

impl Growing {
    fn new(kind: Kind, space: &Keyspace) -> Self {
        let seed = space.seed();
        match kind {
            Kind::String => Growing::Done(Value::Str(Vec::new())),
            Kind::List => Growing::Done(Value::List(ChunkList::new())),
            Kind::Set => Growing::Done(Value::Set(Table::new(seed))),
            Kind::Hash => Growing::Done(Value::Hash(Table::new(seed))),
            Kind::Zset => Growing::Ranked(Vec::new()),
        }
    }

    /// `None` if the items aren't exactly `part.count` well-formed ones.
    fn add(&mut self, part: &Fragment<'_>) -> Option<()> {
        let mut rest = part.items;
        let element = |rest: &mut &[u8]| -> Option<Box<[u8]>> {
            let (bytes, n) = packed::read_element(rest)?;
            let bytes = bytes.into();
            *rest = &rest[n..];
            Some(bytes)
        };
        if let Growing::Done(Value::Str(bytes)) = self {
            bytes.extend_from_slice(rest);
            return (rest.len() as u64 == part.count).then_some(());
        }
        for _ in 0..part.count {
            match self {
                Growing::Ranked(members) => {
                    let (score, n) = packed::read_score(rest)?;
                    rest = &rest[n..];
                    members.push((score, element(&mut rest)?));
                }
                Growing::Done(Value::List(list)) => {
                    let (bytes, n) = packed::read_element(rest)?;
                    list.push_back(bytes);
                    rest = &rest[n..];
                }
                Growing::Done(Value::Set(table)) => {
                    let member = element(&mut rest)?;
                    let hash = table.hash(&member);
                    table.insert(hash, member);
                }
                Growing::Done(Value::Hash(table)) => {
                    let (field, n) = packed::read_element(rest)?;
                    let (value, m) = packed::read_element(&rest[n..])?;
                    rest = &rest[n + m..];
                    let mut ends = None;
                    if part.ending {
                        let (time, n) = packed::read_element(rest)?;
                        expiry::is_well_formed(time).then_some(())?;
                        ends = expiry::read(time);
                        rest = &rest[n..];
                    }
                    table.insert(table.hash(field), hash::item(field, value, ends));
                }
                Growing::Done(_) => return None,
            }
        }
        rest.is_empty().then_some(())
    }

    fn finish(self, space: &Keyspace) -> Option<Value> {
        match self {
            Growing::Done(value) => Some(value),
            Growing::Ranked(members) => {
                SortedSet::from_sorted(space.seed(), members).map(|set| Value::Zset(Box::new(set)))
            }
        }
    }
}
