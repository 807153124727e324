//! A key as commands that make it, for a RESP base and for exports: in
//! Redis's way, loadable by a stock server.

use std::io;

use crate::base::number;
use crate::data::entry::Entry;
use crate::data::stream::Stream;
use crate::data::value::Kind;
use crate::data::{hash, list, set, zset};

use super::stream_base::{self, Emit};

/// Items in one command, as in Redis.
const ITEMS_PER_COMMAND: usize = 64;

/// Gives the commands that make `entry`, its expiry last, where no such key
/// is yet.
///
/// # Errors
/// The sink's.
pub fn commands(entry: &Entry, emit: Emit<'_>) -> io::Result<()> {
    let key = entry.key();
    let payload = entry.payload();
    match entry.kind() {
        Kind::String => {
            let value = crate::data::string::bytes(entry);
            return match entry.expiry() {
                None => emit(&[b"SET", key, value]),
                Some(ms) => emit(&[b"SET", key, value, b"PXAT", ms.to_string().as_bytes()]),
            };
        }
        Kind::List => items(b"RPUSH", key, 1, emit, |add| {
            list::for_each(payload, &mut |e| add(&[e]))
        }),
        Kind::Set => items(b"SADD", key, 1, emit, |add| {
            set::for_each(payload, &mut |m| add(&[m]))
        }),
        Kind::Hash => items(b"HSET", key, 2, emit, |add| {
            hash::for_each(payload, &mut |f, v| add(&[f, v]))
        }),
        Kind::Zset => items(b"ZADD", key, 2, emit, |add| {
            zset::for_each(payload, &mut |score, member| {
                let mut text = Default::default();
                add(&[number::format_f64_shortest(score, &mut text), member]);
            });
        }),
        Kind::Stream => match Stream::of(entry) {
            Some(stream) => stream_base::commands(key, stream, emit),
            None => Ok(()),
        },
    }?;
    match entry.expiry() {
        Some(ms) => emit(&[b"PEXPIREAT", key, ms.to_string().as_bytes()]),
        None => Ok(()),
    }
}

/// Commands `name key word...`, at most 64 items of `per_item` words each.
fn items(
    name: &[u8],
    key: &[u8],
    per_item: usize,
    emit: Emit<'_>,
    visit: impl FnOnce(&mut dyn FnMut(&[&[u8]])),
) -> io::Result<()> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut result = Ok(());
    let mut flush = |words: &mut Vec<Vec<u8>>| {
        let argv: Vec<&[u8]> = [name, key]
            .into_iter()
            .chain(words.iter().map(Vec::as_slice))
            .collect();
        let result = emit(&argv);
        words.clear();
        result
    };
    visit(&mut |item| {
        words.extend(item.iter().map(|w| w.to_vec()));
        if words.len() >= ITEMS_PER_COMMAND * per_item && result.is_ok() {
            result = flush(&mut words);
        }
    });
    result?;
    if words.is_empty() {
        Ok(())
    } else {
        flush(&mut words)
    }
}
