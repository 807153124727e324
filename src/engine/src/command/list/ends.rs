//! Work at the ends of lists: push, pop, move.

use crate::base::number;
use crate::command::{CommandError, Cx, args};
use crate::data::list::{self, End, Loose};
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

/// The name under which a push at `end` is notified.
fn push_event(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}

/// The name under which a pop at `end` is notified.
fn pop_event(end: End) -> &'static str {
    match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    }
}

pub(super) fn lpush(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    push(cx, argv, End::Head, true)
}

pub(super) fn rpush(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    push(cx, argv, End::Tail, true)
}

pub(super) fn lpushx(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    push(cx, argv, End::Head, false)
}

pub(super) fn rpushx(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    push(cx, argv, End::Tail, false)
}

fn push(cx: &mut Cx<'_>, argv: &[&[u8]], end: End, create: bool) -> Result<(), CommandError> {
    let key = argv[1];
    let len = add(cx, key, &argv[2..], end, create)?;
    cx.reply.int(len as i64);
    if len > 0 {
        cx.log_verbatim(argv);
        cx.ks.changed(EventClass::List, push_event(end), key);
    }
    Ok(())
}

/// Pushes `elements` and answers the new length; 0, and nothing done, when
/// there is no list and none shall be created. Tells nobody.
fn add(
    cx: &mut Cx<'_>,
    key: &[u8],
    elements: &[&[u8]],
    end: End,
    create: bool,
) -> Result<usize, CommandError> {
    let limits = cx.ks.limits;
    if let Some(entry) = cx.ks.write(key, Kind::List)? {
        return Ok(list::push(entry, end, elements, limits));
    }
    if !create {
        return Ok(0);
    }
    cx.ks.put(list::entry(key, end, elements, limits));
    Ok(elements.len())
}

pub(super) fn lpop(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    pop(cx, argv, End::Head)
}

pub(super) fn rpop(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    pop(cx, argv, End::Tail)
}

fn pop(cx: &mut Cx<'_>, argv: &[&[u8]], end: End) -> Result<(), CommandError> {
    match argv {
        [_, key] => {
            if pop_one(cx, key, end)? {
                cx.log_verbatim(argv);
            } else {
                cx.reply.null();
            }
        }
        [_, key, count] => {
            if !pop_many(cx, key, end, args::count(count)?, false)? {
                cx.reply.null_array();
            }
        }
        _ => return Err(CommandError::Arity(cx.spec.name)),
    }
    Ok(())
}

/// Pops one element into the reply and tells watchers; `false`, and nothing
/// done, when there is no list.
pub(super) fn pop_one(cx: &mut Cx<'_>, key: &[u8], end: End) -> Result<bool, CommandError> {
    let Some(entry) = cx.ks.write(key, Kind::List)? else {
        return Ok(false);
    };
    let is_last = list::len(entry.payload()) == 1;
    if is_last {
        // The key goes with it.
        list::for_each(entry.payload(), &mut |element| cx.reply.bulk(element));
    } else {
        list::pop(entry, end, &mut |element| cx.reply.bulk(element));
    }
    popped(cx, key, end, is_last);
    Ok(true)
}

/// Pops up to `count` elements into an array in the reply, or an array of the
/// key and that array, tells watchers and writes what happened to the log;
/// `false`, and nothing done, when there is no list.
pub(super) fn pop_many(
    cx: &mut Cx<'_>,
    key: &[u8],
    end: End,
    count: usize,
    with_key: bool,
) -> Result<bool, CommandError> {
    let Some(entry) = cx.ks.write(key, Kind::List)? else {
        return Ok(false);
    };
    let len = list::len(entry.payload());
    let count = count.min(len);
    if with_key {
        cx.reply.array(2);
        cx.reply.bulk(key);
    }
    cx.reply.array(count);
    if count == 0 {
        return Ok(true);
    }
    let out = &mut *cx.reply;
    match end {
        End::Head => list::iter_from(entry.payload(), 0)
            .take(count)
            .for_each(|element| out.bulk(element)),
        End::Tail => list::iter_before(entry.payload(), len)
            .take(count)
            .for_each(|element| out.bulk(element)),
    }
    if count < len {
        let kept = match end {
            End::Head => count..len,
            End::Tail => 0..len - count,
        };
        list::keep(entry, kept);
    }
    let name = match end {
        End::Head => &b"LPOP"[..],
        End::Tail => b"RPOP",
    };
    let mut digits = [0; 24];
    let digits = number::format_i64(count as i64, &mut digits);
    cx.ks.effect(name, &[key, digits]);
    popped(cx, key, end, count == len);
    Ok(true)
}

/// Tells watchers of a pop, and removes a list that became empty.
fn popped(cx: &mut Cx<'_>, key: &[u8], end: End, is_empty: bool) {
    cx.ks.changed(EventClass::List, pop_event(end), key);
    cx.ks.delete_if_empty(key, is_empty);
}

/// `LEFT` or `RIGHT`.
pub(super) fn end_of(word: &[u8]) -> Result<End, CommandError> {
    if args::is(word, "LEFT") {
        Ok(End::Head)
    } else if args::is(word, "RIGHT") {
        Ok(End::Tail)
    } else {
        Err(CommandError::Syntax)
    }
}

/// The arguments of LMPOP from the number of keys on: keys, end, count.
pub(super) fn mpop_args<'a, 'b>(
    argv: &'a [&'b [u8]],
) -> Result<(&'a [&'b [u8]], End, usize), CommandError> {
    const KEYS: CommandError = CommandError::text("ERR numkeys should be greater than 0");
    const COUNT: CommandError = CommandError::text("ERR count should be greater than 0");
    let numkeys = args::count(argv[0]).ok().filter(|n| *n > 0).ok_or(KEYS)?;
    let (keys, rest) = argv[1..]
        .split_at_checked(numkeys)
        .ok_or(CommandError::Syntax)?;
    let Some((end, options)) = rest.split_first() else {
        return Err(CommandError::Syntax);
    };
    let end = end_of(end)?;
    let count = match options {
        [] => 1,
        [word, count, more @ ..] if args::is(word, "COUNT") => {
            let count = args::count(count).ok().filter(|n| *n > 0).ok_or(COUNT)?;
            if !more.is_empty() {
                return Err(CommandError::Syntax);
            }
            count
        }
        _ => return Err(CommandError::Syntax),
    };
    Ok((keys, end, count))
}

pub(super) fn lmpop(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (keys, end, count) = mpop_args(&argv[1..])?;
    for key in keys {
        if pop_many(cx, key, end, count, true)? {
            return Ok(());
        }
    }
    cx.reply.null_array();
    Ok(())
}

pub(super) fn lmove(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (from, to) = (end_of(argv[3])?, end_of(argv[4])?);
    if !shift(cx, (argv[1], from), (argv[2], to), b"LMOVE", &argv[1..])? {
        cx.reply.null();
    }
    Ok(())
}

pub(super) fn rpoplpush(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (from, to) = ((argv[1], End::Tail), (argv[2], End::Head));
    if !shift(cx, from, to, b"RPOPLPUSH", &argv[1..])? {
        cx.reply.null();
    }
    Ok(())
}

/// Moves an element from the end of one list to the end of another, or of
/// the same one, and logs that as `name` with `words`; `false`, and nothing
/// done, when there is none.
pub(super) fn shift(
    cx: &mut Cx<'_>,
    (source, from): (&[u8], End),
    (target, to): (&[u8], End),
    name: &[u8],
    words: &[&[u8]],
) -> Result<bool, CommandError> {
    let Some(entry) = cx.ks.write(source, Kind::List)? else {
        return Ok(false);
    };
    let payload = entry.payload();
    let len = list::len(payload);
    let last = match from {
        End::Head => 0,
        End::Tail => len.saturating_sub(1),
    };
    if source == target {
        if from == to {
            // Taken and put back: watchers are told, the log needs no word.
            list::get(payload, last)
                .into_iter()
                .for_each(|element| cx.reply.bulk(element));
        } else {
            list::rotate(entry, from, &mut |element| cx.reply.bulk(element));
            if len > 1 {
                cx.ks.effect(name, words);
            }
        }
        cx.ks.changed(EventClass::List, push_event(to), target);
        cx.ks.changed(EventClass::List, pop_event(from), source);
        return Ok(true);
    }
    let element = Loose::of(list::get(payload, last).unwrap_or_default());
    add(cx, target, &[element.bytes()], to, true)?;
    cx.reply.bulk(element.bytes());
    cx.ks.effect(name, words);
    cx.ks.changed(EventClass::List, push_event(to), target);
    // Told before the source's own change, as Redis tells it.
    if len > 1
        && let Some(entry) = cx.ks.write(source, Kind::List)?
    {
        list::pop(entry, from, &mut |_| ());
    }
    popped(cx, source, from, len == 1);
    Ok(true)
}
