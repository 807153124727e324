//! The commands that rebuild an entry, on this server or on a stock one.

use super::entry::Entry;
use super::stream::Stream;
use super::value::Kind;
use super::{hash, list, set, string, zset};
use crate::base::number;

mod stream;

/// Items that one command carries at most, as in Redis's own rewrites.
pub const ITEMS_PER_COMMAND: usize = 64;

/// Takes one command.
pub type Emit<'a, E> = dyn FnMut(&[&[u8]]) -> Result<(), E> + 'a;

/// Gives `emit` each command, its name first.
///
/// # Errors
/// The first of `emit`'s; nothing is emitted after it.
pub fn commands<E>(entry: &Entry, emit: &mut Emit<'_, E>) -> Result<(), E> {
    let (key, payload) = (entry.key(), entry.payload());
    if entry.kind() == Kind::String {
        let value = string::bytes(entry);
        return match entry.expiry() {
            None => emit(&[b"SET", key, value]),
            Some(ms) => emit(&[b"SET", key, value, b"PXAT", ms.to_string().as_bytes()]),
        };
    }
    if let Some(stream) = Stream::of(entry) {
        stream::commands(key, stream, emit)?;
        return expire(key, entry.expiry(), emit);
    }
    let name: &[u8] = match entry.kind() {
        Kind::List => b"RPUSH",
        Kind::Set => b"SADD",
        Kind::Hash => b"HSET",
        _ => b"ZADD",
    };
    let mut items = Items {
        head: [name, key],
        words: Vec::new(),
        ends: Vec::new(),
        result: Ok(()),
        emit,
    };
    match entry.kind() {
        Kind::List => list::for_each(payload, &mut |e| items.add(&[e])),
        Kind::Set => set::for_each(payload, &mut |m| items.add(&[m])),
        Kind::Hash => hash::for_each(payload, &mut |f, v| items.add(&[f, v])),
        _ => zset::for_each(payload, &mut |score, member| {
            let mut text = number::FloatText::default();
            items.add(&[number::format_f64_shortest(score, &mut text), member]);
        }),
    }
    items.flush();
    items.result?;
    field_expiries(entry, emit)?;
    expire(key, entry.expiry(), emit)
}

fn expire<E>(key: &[u8], expiry: Option<u64>, emit: &mut Emit<'_, E>) -> Result<(), E> {
    match expiry {
        Some(ms) => emit(&[b"PEXPIREAT", key, ms.to_string().as_bytes()]),
        None => Ok(()),
    }
}

/// Commands for fields that end. They need a host of 7.4 or later.
fn field_expiries<E>(entry: &Entry, emit: &mut Emit<'_, E>) -> Result<(), E> {
    let mut result = Ok(());
    if entry.kind() == Kind::Hash && hash::expiry::any(entry.payload()) {
        hash::expiry::for_each(entry.payload(), &mut |field, _, ends| {
            if let (Some(at), Ok(())) = (ends, &result) {
                let at = at.to_string();
                let words = [
                    b"HPEXPIREAT",
                    entry.key(),
                    at.as_bytes(),
                    b"FIELDS",
                    b"1",
                    field,
                ];
                result = emit(&words);
            }
        });
    }
    result
}

/// Gathers items for one command.
struct Items<'a, E> {
    head: [&'a [u8]; 2],
    words: Vec<u8>,
    /// Where each word ends in `words`.
    ends: Vec<usize>,
    result: Result<(), E>,
    emit: &'a mut Emit<'a, E>,
}

impl<E> Items<'_, E> {
    fn add(&mut self, item: &[&[u8]]) {
        for word in item {
            self.words.extend_from_slice(word);
            self.ends.push(self.words.len());
        }
        if self.ends.len() >= ITEMS_PER_COMMAND * item.len() {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.ends.is_empty() || self.result.is_err() {
            return;
        }
        let mut argv = self.head.to_vec();
        let mut start = 0;
        for &end in &self.ends {
            argv.push(&self.words[start..end]);
            start = end;
        }
        self.result = (self.emit)(&argv);
        self.words.clear();
        self.ends.clear();
    }
}
