//! A snapshot read back into a keyspace.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;

use super::reading::Reading;
use crate::base::hash::{HashKey, Seed};
use crate::data::chunks::ChunkList;
use crate::data::entry::{Entry, SmallEntry};
use crate::data::hash::{self, expiry};
use crate::data::packed;
use crate::data::stream::parts;
use crate::data::table::Table;
use crate::data::value::{Kind, Value};
use crate::data::zset::SortedSet;
use crate::format::FormatError;
use crate::format::ReadError;
use crate::format::snapshot::pieces::{BadPart, Pieces};
use crate::format::snapshot::{Block, Fragment, Record, SnapshotReader, records};
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
    Stream(Box<parts::Builder>),
}

/// Where entries go that are read.
pub trait Target: Sized {
    /// An empty one, which hashes with the seed of what is read.
    fn new(seed: Seed) -> Self;
    /// The key of its hash.
    fn hash_key(&self) -> HashKey;
    /// Takes an entry; gives back what it had under the key.
    fn put(&mut self, db: u32, entry: Entry) -> Option<Entry>;
    /// Keys in it.
    fn keys(&self) -> u64;
    /// What groups of the log are to be done on, if on anything.
    fn space(&mut self) -> Option<&mut Keyspace>;
}

impl Target for Keyspace {
    fn new(seed: Seed) -> Self {
        Keyspace::new(seed.into())
    }
    fn hash_key(&self) -> HashKey {
        self.seed()
    }
    fn put(&mut self, db: u32, entry: Entry) -> Option<Entry> {
        self.arm_entry(db, &entry);
        let table = self.db_mut(db);
        let hash = table.hash(entry.key());
        table.insert(hash, entry)
    }
    fn keys(&self) -> u64 {
        self.len() as u64
    }
    fn space(&mut self) -> Option<&mut Keyspace> {
        Some(self)
    }
}

/// Counts entries, and drops them.
#[derive(Debug, Clone, Copy)]
pub struct Counter {
    hash_key: HashKey,
    keys: u64,
}

impl Target for Counter {
    fn new(seed: Seed) -> Self {
        Counter {
            hash_key: seed.into(),
            keys: 0,
        }
    }
    fn hash_key(&self) -> HashKey {
        self.hash_key
    }
    fn put(&mut self, _: u32, _: Entry) -> Option<Entry> {
        self.keys += 1;
        None
    }
    fn keys(&self) -> u64 {
        self.keys
    }
    fn space(&mut self) -> Option<&mut Keyspace> {
        None
    }
}

/// Reads all of `reader` into `target`, which must be empty and hash with the
/// seed of the header. `progress` is told the offset reached, in bytes. The
/// clock is never asked: what is due is reaped by the caller, later.
///
/// # Errors
/// What is damaged, and at which offset. `target` holds a part of the data then.
pub fn snapshot<R: Read, T: Target>(
    reader: &mut SnapshotReader<R>,
    target: &mut T,
    progress: &mut dyn Reading,
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
                Some(small) => put(target, block, Entry::Small(small)),
                None => Err(bad(block, "a well-formed small entry", bytes)),
            },
            Record::Fragment(part) => fragment(target, block, &part, &mut partials),
        })?;
        progress.at(reader.offset());
    }
    match partials.keys().next() {
        None => Ok(()),
        Some((db, _)) => {
            let found = format!("a key of database {db} cut short");
            Err(
                FormatError::new(reader.offset(), "all fragments of each large value", found)
                    .into(),
            )
        }
    }
}

/// What a damaged snapshot has lost.
#[derive(Debug, Default)]
pub struct Holes {
    /// Blocks and other parts that can't be used.
    pub parts: Vec<BadPart>,
    /// Blocks that can be used.
    pub blocks: u64,
    /// Records in verified blocks that make no sense.
    pub records: u64,
    /// Large values of which fragments are missing: database and key. They
    /// are left out as a whole.
    pub keys: BTreeSet<(u32, Vec<u8>)>,
}

/// Reads what can be verified of a damaged snapshot into `target`, as
/// [`snapshot`] does.
///
/// # Errors
/// The disk's.
pub fn pieces<T: Target>(
    pieces: &Pieces<'_>,
    target: &mut T,
    progress: &mut dyn Reading,
) -> Result<Holes, ReadError> {
    let mut holes = Holes::default();
    let mut partials = HashMap::new();
    pieces.each(&mut |part| {
        let (block, raw, end) = match part {
            Ok((block, raw, end)) => (block, raw, end),
            Err(bad) => {
                holes.parts.push(bad);
                return Ok(());
            }
        };
        let before = holes.records;
        let walked = match block.db < MAX_DATABASES {
            false => Err(bad(block, "a database below 65536", b"")),
            true => records(block, raw, |record| {
                match record {
                    Record::Small(bytes) => {
                        let small = SmallEntry::from_bytes(bytes)
                            .ok_or_else(|| bad(block, "a well-formed small entry", bytes));
                        if small
                            .and_then(|s| put(target, block, Entry::Small(s)))
                            .is_err()
                        {
                            holes.records += 1;
                        }
                    }
                    Record::Fragment(part) => {
                        if fragment(target, block, &part, &mut partials).is_err() {
                            holes.keys.insert((block.db, part.key.to_vec()));
                        }
                    }
                }
                Ok(())
            }),
        };
        match walked {
            Ok(()) => holes.blocks += 1,
            Err(why) => {
                holes.records = before;
                holes.parts.push(BadPart {
                    from: block.offset,
                    to: end,
                    held: Some((block.db, block.records)),
                    why,
                });
            }
        }
        progress.at(end);
        Ok(())
    })?;
    holes.keys.extend(partials.into_keys());
    Ok(holes)
}

fn bad(block: Block, expected: &'static str, bytes: &[u8]) -> FormatError {
    FormatError::new(block.offset, expected, crate::format::error::glance(bytes))
}

fn put<T: Target>(target: &mut T, block: Block, entry: Entry) -> Result<(), FormatError> {
    let sound = |at: u64| at > 0 && i64::try_from(at).is_ok();
    if !entry.expiry().is_none_or(sound) {
        // No command makes another: replay, whose clock stands at 0, would
        // take 0 for due, and no base of commands could say a later one.
        return Err(bad(block, "an expiry after 1970, in 63 bits", entry.key()));
    }
    match target.put(block.db, entry) {
        None => Ok(()),
        Some(double) => Err(bad(block, "each key once", double.key())),
    }
}

fn fragment<T: Target>(
    target: &mut T,
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
            value: Growing::new(part.kind, target.hash_key()),
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
        .finish(target.hash_key())
        .ok_or_else(|| error("a sorted set in order, or a whole stream"))?;
    let len = match &value {
        Value::Str(bytes) => bytes.len() as u64,
        Value::Stream(stream) => parts::count(stream),
        other => other.len() as u64,
    };
    if len != partial.total {
        return Err(error("each element once"));
    }
    put(target, block, Entry::large(part.key, part.expiry, value))
}

impl Growing {
    fn new(kind: Kind, seed: HashKey) -> Self {
        match kind {
            Kind::String => Growing::Done(Value::Str(Vec::new())),
            Kind::List => Growing::Done(Value::List(ChunkList::new())),
            Kind::Set => Growing::Done(Value::Set(Table::new(seed))),
            Kind::Hash => Growing::Done(Value::Hash(Table::new(seed))),
            Kind::Zset => Growing::Ranked(Vec::new()),
            Kind::Stream => Growing::Stream(Box::default()),
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
                Growing::Stream(builder) => rest = &rest[builder.add(rest)?..],
                Growing::Done(_) => return None,
            }
        }
        rest.is_empty().then_some(())
    }

    fn finish(self, seed: HashKey) -> Option<Value> {
        match self {
            Growing::Done(value) => Some(value),
            Growing::Stream(builder) => builder.finish().map(|s| Value::Stream(Box::new(s))),
            Growing::Ranked(members) => {
                SortedSet::from_sorted(seed, members).map(|set| Value::Zset(Box::new(set)))
            }
        }
    }
}
