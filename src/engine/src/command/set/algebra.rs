//! Intersections, unions and differences.

use super::super::{CommandError, Cx, args};
use crate::base::hash::HashKey;
use crate::data::entry::{Entry, Payload};
use crate::data::set;
use crate::data::small::Seen;
use crate::data::value::Kind;
use crate::keyspace::Keyspace;
use crate::keyspace::keys::EventClass;

#[derive(Clone, Copy)]
enum Op {
    Inter,
    Union,
    Diff,
}

/// Checks that each of `keys` holds a set or nothing, and drops what is due.
fn check(cx: &mut Cx<'_>, keys: &[&[u8]]) -> Result<(), CommandError> {
    for key in keys {
        cx.ks.read(key, Kind::Set)?;
    }
    Ok(())
}

/// The sets under `keys`, which were checked.
fn sets<'a>(space: &'a Keyspace, db: u32, keys: &[&[u8]]) -> Vec<Option<Payload<'a>>> {
    keys.iter()
        .map(|key| space.peek(db, key).map(Entry::payload))
        .collect()
}

/// The members of the result, each once.
fn combine<'a>(op: Op, sets: &[Option<Payload<'a>>], seed: HashKey) -> Vec<&'a [u8]> {
    match op {
        Op::Inter => {
            let mut out = Vec::new();
            intersect(sets, |member| {
                out.push(member);
                true
            });
            out
        }
        Op::Union => {
            let mut some = sets.iter().flatten();
            let first = some.next().map(|set| set::members(*set));
            let mut out: Vec<&[u8]> = first.into_iter().flatten().collect();
            if some.clone().next().is_some() {
                let mut seen = Seen::new(seed);
                for member in &out {
                    seen.insert(member);
                }
                let more = some.flat_map(|set| set::members(*set));
                out.extend(more.filter(|member| seen.insert(member)));
            }
            out
        }
        Op::Diff => {
            let Some((Some(first), others)) = sets.split_first() else {
                return Vec::new();
            };
            let others: Vec<Payload<'a>> = others.iter().flatten().copied().collect();
            let all: usize = others.iter().map(|set| set::len(*set)).sum();
            // Either each member is looked for in each set, or all those
            // sets are put together first.
            if set::len(*first).saturating_mul(others.len()) / 2 <= all {
                let members = set::members(*first);
                return members
                    .filter(|m| !others.iter().any(|set| set::contains(*set, m)))
                    .collect();
            }
            let mut seen = Seen::new(seed);
            for member in others.iter().flat_map(|set| set::members(*set)) {
                seen.insert(member);
            }
            set::members(*first)
                .filter(|member| !seen.contains(member))
                .collect()
        }
    }
}

/// Visits what is in every set, until `visit` answers `false`.
fn intersect<'a>(sets: &[Option<Payload<'a>>], mut visit: impl FnMut(&'a [u8]) -> bool) {
    let mut all: Vec<Payload<'a>> = sets.iter().flatten().copied().collect();
    if all.len() < sets.len() {
        return;
    }
    all.sort_by_key(|set| set::len(*set));
    let Some((smallest, others)) = all.split_first() else {
        return;
    };
    for member in set::members(*smallest) {
        if others.iter().all(|set| set::contains(*set, member)) && !visit(member) {
            return;
        }
    }
}

fn show(cx: &mut Cx<'_>, op: Op, keys: &[&[u8]]) -> Result<(), CommandError> {
    check(cx, keys)?;
    let sets = sets(cx.ks.space, cx.ks.db, keys);
    let mut result = combine(op, &sets, cx.ks.space.seed());
    set::sort_integers(&mut result, cx.ks.limits);
    cx.reply.set(result.len());
    for member in result {
        cx.reply.bulk(member);
    }
    Ok(())
}

fn store(cx: &mut Cx<'_>, op: Op, args: &[&[u8]], event: &'static str) -> Result<(), CommandError> {
    let (to, keys) = (args[1], &args[2..]);
    check(cx, keys)?;
    // What is due at the destination ends first, as it does in Redis.
    let there = cx.ks.exists(to);
    let sets = sets(cx.ks.space, cx.ks.db, keys);
    let seed = cx.ks.space.seed();
    let result = combine(op, &sets, seed);
    let len = result.len();
    if len > 0 {
        let entry = set::of(to, &result, cx.ks.limits, seed);
        cx.ks.put(entry);
        cx.log_verbatim(args);
        cx.ks.changed(EventClass::Set, event, to);
    } else if there {
        cx.ks.effect(b"DEL", &[to]);
        cx.ks.delete_if_empty(to, true);
    }
    cx.reply.int(len as i64);
    Ok(())
}

pub(super) fn sinter(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    show(cx, Op::Inter, &args[1..])
}

pub(super) fn sunion(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    show(cx, Op::Union, &args[1..])
}

pub(super) fn sdiff(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    show(cx, Op::Diff, &args[1..])
}

pub(super) fn sinterstore(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    store(cx, Op::Inter, args, "sinterstore")
}

pub(super) fn sunionstore(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    store(cx, Op::Union, args, "sunionstore")
}

pub(super) fn sdiffstore(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    store(cx, Op::Diff, args, "sdiffstore")
}

pub(super) fn sintercard(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let numkeys = args::count(args[1])
        .ok()
        .filter(|n| *n > 0)
        .ok_or(CommandError::text("ERR numkeys should be greater than 0"))?;
    if numkeys > args.len() - 2 {
        return Err(CommandError::text(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let (keys, options) = args[2..].split_at(numkeys);
    let mut limit = 0;
    for option in options.chunks(2) {
        match *option {
            [word, n] if args::is(word, "LIMIT") => {
                limit = args::count(n)
                    .map_err(|_| CommandError::text("ERR LIMIT can't be negative"))?;
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    check(cx, keys)?;
    let sets = sets(cx.ks.space, cx.ks.db, keys);
    let mut found = 0;
    intersect(&sets, |_| {
        found += 1;
        found != limit
    });
    cx.reply.int(found as i64);
    Ok(())
}
