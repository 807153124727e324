//! What the tool says of a key's value.

use persist_engine::data::entry::Entry;
use persist_engine::data::stream::Stream;
use persist_engine::data::value::Kind;
use persist_engine::data::{hash, list, memory, set, zset};

/// How many elements a value has; of a string, how many bytes.
pub fn elements(entry: &Entry) -> u64 {
    let payload = entry.payload();
    let len = match entry.kind() {
        Kind::String => persist_engine::data::string::bytes(entry).len(),
        Kind::List => list::len(payload),
        Kind::Set => set::len(payload),
        Kind::Hash => hash::len(payload),
        Kind::Zset => zset::View::of(entry).len(),
        Kind::Stream => return Stream::of(entry).map_or(0, |stream| stream.entries.len()),
    };
    len as u64
}

/// Bytes that a key takes in a server's memory, all of its elements looked at.
pub fn memory(entry: &Entry) -> u64 {
    memory::usage(entry, usize::MAX) as u64
}
