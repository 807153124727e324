//! Streams.

pub mod add;
pub mod claim;
pub mod delete;
pub mod deliver;
pub mod group;
pub mod info;
pub mod pending;
pub mod range;
pub mod read;

use super::CommandError;
use super::reply::Reply;
use crate::data::stream::id::c_string;
use crate::data::stream::{Group, Item, Seq, Stream, StreamId};
use crate::data::value::Kind;
use crate::keyspace::keys::{Keys, WrongType};

/// The stream under `key`.
fn look<'k>(ks: &'k mut Keys<'_>, key: &[u8]) -> Result<Option<&'k Stream>, WrongType> {
    Ok(ks.read(key, Kind::Stream)?.and_then(Stream::of))
}

/// The stream under `key`, for changes.
fn open<'k>(ks: &'k mut Keys<'_>, key: &[u8]) -> Result<Option<&'k mut Stream>, WrongType> {
    Ok(ks.write(key, Kind::Stream)?.and_then(Stream::of_mut))
}

/// The stream under `key` and its group of that name, for changes.
fn open_group<'k>(
    ks: &'k mut Keys<'_>,
    key: &[u8],
    group: &[u8],
) -> Result<Option<(&'k crate::data::stream::Entries, &'k mut Group)>, WrongType> {
    Ok(open(ks, key)?.and_then(|stream| {
        let group = stream.groups.get_mut(group)?;
        Some((&stream.entries, group))
    }))
}

const INVALID_ID: CommandError =
    CommandError::text("ERR Invalid stream ID specified as stream command argument");

/// An id; `seq` is its number if it tells none.
fn strict_id(arg: &[u8], seq: u64) -> Result<StreamId, CommandError> {
    match StreamId::parse(arg, seq) {
        Some((id, Seq::Given)) => Ok(id),
        _ => Err(INVALID_ID),
    }
}

/// An id, or `-` or `+` for the least and the greatest.
fn id_or_end(arg: &[u8], seq: u64) -> Result<StreamId, CommandError> {
    match c_string(arg) {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => strict_id(arg, seq),
    }
}

/// Where an interval begins; behind the id if it is told as `(id`.
fn interval_start(arg: &[u8]) -> Result<StreamId, CommandError> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => strict_id(id, 0)?
            .next()
            .ok_or(CommandError::text("ERR invalid start ID for the interval")),
        id => id_or_end(id, 0),
    }
}

/// Where an interval ends; before the id if it is told as `(id`.
fn interval_end(arg: &[u8]) -> Result<StreamId, CommandError> {
    match arg {
        [b'(', id @ ..] if !id.is_empty() => strict_id(id, u64::MAX)?
            .previous()
            .ok_or(CommandError::text("ERR invalid end ID for the interval")),
        id => id_or_end(id, u64::MAX),
    }
}

fn put_id(reply: &mut dyn Reply, id: StreamId) {
    reply.bulk(id.text().as_bytes());
}

/// An entry: its id, and its fields and values in turn.
fn put_item(reply: &mut dyn Reply, item: &Item<'_>) {
    reply.array(2);
    put_id(reply, item.id);
    reply.array(2 * item.len());
    for (field, value) in item.pairs() {
        reply.bulk(field);
        reply.bulk(value);
    }
}

/// An array of entries.
fn put_items<'a>(reply: &mut dyn Reply, items: impl Iterator<Item = Item<'a>>) {
    reply.open();
    let mut count = 0;
    for item in items {
        put_item(reply, &item);
        count += 1;
    }
    reply.close(count);
}

/// An error that shows arguments as Redis does: up to a zero byte, and on one
/// line.
fn error(text: &str) -> CommandError {
    let text = text.trim_matches(['\r', '\n']).replace(['\r', '\n'], " ");
    CommandError::Text(text.into())
}

/// An argument as such an error shows it, at most `most` bytes.
fn shown(arg: &[u8], most: usize) -> String {
    let arg = c_string(arg);
    String::from_utf8_lossy(&arg[..arg.len().min(most)]).into_owned()
}

fn no_group(key: &[u8], group: &[u8], more: &str) -> CommandError {
    let (key, group) = (shown(key, usize::MAX), shown(group, usize::MAX));
    error(&format!(
        "NOGROUP No such key '{key}' or consumer group '{group}'{more}"
    ))
}

fn no_group_of_key(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (shown(key, usize::MAX), shown(group, usize::MAX));
    error(&format!(
        "NOGROUP No such consumer group '{group}' for key name '{key}'"
    ))
}

/// A subcommand: its name, and the number of arguments of the whole command
/// as in [`Spec`](super::Spec).
type Subcommand = (&'static str, i32);

/// The subcommand that `argv` names, in upper case.
///
/// # Errors
/// None of them, or not so many arguments.
fn subcommand(
    container: &'static str,
    all: &[Subcommand],
    argv: &[&[u8]],
) -> Result<&'static str, CommandError> {
    let Some((name, arity)) = all.iter().find(|sub| super::args::is(argv[1], sub.0)) else {
        let given = shown(argv[1], 128);
        return Err(error(&format!(
            "ERR unknown subcommand '{given}'. Try PERSIST.{container} HELP."
        )));
    };
    let want = arity.unsigned_abs() as usize;
    if argv.len() < want || *arity > 0 && argv.len() != want {
        let full = format!("{container}|{name}").to_ascii_lowercase();
        return Err(error(&format!(
            "ERR wrong number of arguments for 'persist.{full}' command"
        )));
    }
    Ok(name)
}

/// What a subcommand says to arguments that it doesn't understand.
fn bad_subcommand(container: &'static str, argv: &[&[u8]]) -> CommandError {
    let given = shown(argv[1], 128);
    error(&format!(
        "ERR unknown subcommand or wrong number of arguments for '{given}'. Try PERSIST.{container} HELP."
    ))
}

/// The help of a container: its first line, those of its subcommands, and
/// what every help ends with.
fn put_help(reply: &mut dyn Reply, head: &'static str, lines: &[&'static str]) {
    reply.array(lines.len() + 3);
    reply.simple(head);
    lines.iter().for_each(|line| reply.simple(line));
    reply.simple("HELP");
    reply.simple("    Prints this help.");
}

#[cfg(test)]
mod tests;
