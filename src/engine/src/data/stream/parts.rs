//! A stream in pieces, as a snapshot keeps it: so that no record needs to
//! hold all of one.
//!
//! A piece is a byte that says which, and its fields. Numbers are varints,
//! ids two of them, names and bytes packed elements.
//!
//! ```text
//! 0  the stream    last id · greatest id deleted · entries added
//! 1  a block       base · greatest id · live · dead · listpack · bytes
//! 2  a group       name · last id · entries read, plus 1; 0: unknown
//! 3  a consumer    of the group before: name · seen, unix ms
//! 4  pending       of the consumer before: id · delivered, unix ms · deliveries
//! ```
//!
//! The stream comes first, then blocks, in order, then each group with its
//! consumers, each with what it has.

use super::Stream;
use super::block::{self, Block};
use super::entries::MOST_ADDED;
use super::group::Group;
use super::id::StreamId;
use crate::data::packed::{push_element, push_varint, read_element, read_varint};

const STREAM: u8 = 0;
const BLOCK: u8 = 1;
const GROUP: u8 = 2;
const CONSUMER: u8 = 3;
const PENDING: u8 = 4;

fn push_id(out: &mut Vec<u8>, id: StreamId) {
    push_varint(out, id.ms);
    push_varint(out, id.seq);
}

/// How many pieces a stream has.
pub fn count(stream: &Stream) -> u64 {
    let groups = stream.groups.values();
    let in_groups: usize = groups
        .map(|g| 1 + g.consumers().len() + g.pending().len())
        .sum();
    (1 + stream.entries.block_count() + in_groups) as u64
}

/// What writes a piece.
pub type Write<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Gives the pieces to `add`, one by one.
pub fn for_each(stream: &Stream, add: &mut dyn FnMut(Write<'_>)) {
    let entries = &stream.entries;
    add(&|out| {
        out.push(STREAM);
        push_id(out, entries.last_id);
        push_id(out, entries.max_deleted);
        push_varint(out, entries.added);
    });
    for block in entries.blocks() {
        let parts = block.parts();
        add(&|out| {
            out.push(BLOCK);
            push_id(out, parts.base);
            push_id(out, parts.last);
            push_varint(out, parts.live);
            push_varint(out, parts.dead);
            push_varint(out, parts.listpack);
            push_element(out, parts.bytes);
        });
    }
    for (name, group) in &stream.groups {
        add(&|out| {
            out.push(GROUP);
            push_element(out, name);
            push_id(out, group.last_id);
            push_varint(
                out,
                group.entries_read.map_or(0, |n| (n as u64).wrapping_add(1)),
            );
        });
        for (name, consumer) in group.consumers() {
            add(&|out| {
                out.push(CONSUMER);
                push_element(out, name);
                push_varint(out, consumer.seen_ms);
            });
            for id in consumer.pending() {
                let Some(pending) = group.pending().get(id) else {
                    continue;
                };
                add(&|out| {
                    out.push(PENDING);
                    push_id(out, *id);
                    push_varint(out, pending.delivered_ms);
                    push_varint(out, pending.deliveries);
                });
            }
        }
    }
}

/// A stream whose pieces are read.
#[derive(Debug, Default)]
pub struct Builder {
    stream: Option<Stream>,
    group: Option<(Box<[u8]>, Group)>,
    consumer: Option<Box<[u8]>>,
}

/// Reads a piece from its front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let (value, n) = read_varint(self.0)?;
        self.0 = &self.0[n..];
        Some(value)
    }

    fn id(&mut self) -> Option<StreamId> {
        Some(StreamId::new(self.number()?, self.number()?))
    }

    fn element(&mut self) -> Option<&'a [u8]> {
        let (element, n) = read_element(self.0)?;
        self.0 = &self.0[n..];
        Some(element)
    }
}

impl Builder {
    /// Takes the piece at the front of `bytes` and answers how long it is;
    /// `None` if it isn't well-formed or out of place.
    pub fn add(&mut self, bytes: &[u8]) -> Option<usize> {
        let (&kind, rest) = bytes.split_first()?;
        let mut piece = Reader(rest);
        if kind == STREAM {
            let mut stream = Stream::default();
            stream.entries.last_id = piece.id()?;
            stream.entries.max_deleted = piece.id()?;
            stream.entries.added = piece.number().filter(|n| *n <= MOST_ADDED)?;
            if self.stream.replace(stream).is_some() {
                return None;
            }
            return Some(bytes.len() - piece.0.len());
        }
        let stream = self.stream.as_mut()?;
        match (kind, &mut self.group) {
            (BLOCK, None) => {
                let parts = block::Parts {
                    base: piece.id()?,
                    last: piece.id()?,
                    live: piece.number()?,
                    dead: piece.number()?,
                    listpack: piece.number()?,
                    bytes: piece.element()?,
                };
                stream.entries.push_block(Block::from_parts(&parts)?)?;
            }
            (GROUP, _) => {
                let name = piece.element()?.into();
                let last_id = piece.id()?;
                let read = piece.number()?.checked_sub(1);
                let read = read.map(i64::try_from).transpose().ok()?;
                self.end_group()?;
                self.group = Some((name, Group::new(last_id, read)));
            }
            (CONSUMER, Some((_, group))) => {
                let name = piece.element()?;
                if !group.create_consumer(name, piece.number()?) {
                    return None;
                }
                self.consumer = Some(name.into());
            }
            (PENDING, Some((_, group))) => {
                let id = piece.id()?;
                if id == StreamId::MIN || group.pending().contains_key(&id) {
                    return None;
                }
                let name = self.consumer.as_deref()?;
                let (at, count) = (piece.number()?, piece.number()?);
                i64::try_from(at.max(count)).ok()?;
                group.assign(id, name, at, count);
            }
            _ => return None,
        }
        Some(bytes.len() - piece.0.len())
    }

    fn end_group(&mut self) -> Option<()> {
        self.consumer = None;
        let Some((name, group)) = self.group.take() else {
            return Some(());
        };
        let groups = &mut self.stream.as_mut()?.groups;
        groups.insert(name, group).is_none().then_some(())
    }

    /// The stream, once all its pieces were read.
    pub fn finish(mut self) -> Option<Stream> {
        self.end_group()?;
        let stream = self.stream?;
        let entries = &stream.entries;
        let ends = entries.top_id().is_none_or(|id| id <= entries.last_id);
        // Commands that rebuild it would be refused otherwise.
        (ends && entries.len() <= entries.added).then_some(stream)
    }
}
