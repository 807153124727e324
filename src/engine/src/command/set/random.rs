//! SPOP and SRANDMEMBER.

use super::super::{CommandError, Cx, args};
use crate::data::set;
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

/// Members that one SREM in the log names at most.
const BATCH: usize = 1000;

pub(super) fn srandmember(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let key = args[1];
    let count = args.get(2).map(|n| args::signed_count(n)).transpose()?;
    let there = cx.ks.read(key, Kind::Set)?.is_some();
    let entry = cx.ks.space.peek(cx.ks.db, key).filter(|_| there);
    let (reply, rng) = (&mut *cx.reply, &mut *cx.ks.rng);
    let (Some(entry), Some(count)) = (entry, count) else {
        match entry.and_then(|e| set::random(e.payload(), rng)) {
            Some(member) => reply.bulk(member),
            None if count.is_some() => reply.array(0),
            None => reply.null(),
        }
        return Ok(());
    };
    let payload = entry.payload();
    let len = set::len(payload);
    if count < 0 {
        reply.array(count.unsigned_abs() as usize);
        for _ in 0..count.unsigned_abs() {
            if let Some(member) = set::random(payload, rng) {
                reply.bulk(member);
            }
        }
    } else if count as usize >= len {
        reply.array(len);
        set::for_each(payload, &mut |member| reply.bulk(member));
    } else {
        reply.array(count as usize);
        set::choose(payload, count as usize, rng, &mut |m| reply.bulk(m));
    }
    Ok(())
}

pub(super) fn spop(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    match args {
        [_, key] => pop_one(cx, key),
        [_, key, count] => {
            let count = args::count(count)?;
            pop_some(cx, key, count)
        }
        _ => Err(CommandError::Syntax),
    }
}

fn pop_one(cx: &mut Cx<'_>, key: &[u8]) -> Result<(), CommandError> {
    if cx.ks.read(key, Kind::Set)?.is_none() {
        cx.reply.null();
        return Ok(());
    }
    let db = cx.ks.db;
    let table = cx.ks.space.db_mut(db);
    let Some(entry) = table.get_mut(table.hash(key), key) else {
        return Ok(());
    };
    set::pop(entry, cx.ks.rng, &mut |member| {
        cx.reply.bulk(member);
        cx.ks.out.effect(db, b"SREM", &[key, member]);
    });
    let empty = set::len(entry.payload()) == 0;
    cx.ks.changed(EventClass::Set, "spop", key);
    cx.ks.delete_if_empty(key, empty);
    Ok(())
}

fn pop_some(cx: &mut Cx<'_>, key: &[u8], count: usize) -> Result<(), CommandError> {
    let entry = cx.ks.read(key, Kind::Set)?;
    let Some(entry) = entry.filter(|_| count > 0) else {
        cx.reply.set(0);
        return Ok(());
    };
    let len = set::len(entry.payload());
    if count >= len {
        cx.reply.set(len);
        set::for_each(entry.payload(), &mut |member| cx.reply.bulk(member));
        cx.ks.effect(b"DEL", &[key]);
        cx.ks.changed(EventClass::Set, "spop", key);
        cx.ks.delete_if_empty(key, true);
        return Ok(());
    }
    cx.reply.set(count);
    let mut left = count;
    let mut popped: Vec<Box<[u8]>> = Vec::with_capacity(left.min(BATCH));
    while left > 0 {
        let table = cx.ks.space.db_mut(cx.ks.db);
        let Some(entry) = table.get_mut(table.hash(key), key) else {
            break;
        };
        popped.clear();
        for _ in 0..left.min(BATCH) {
            set::pop(entry, cx.ks.rng, &mut |member| {
                cx.reply.bulk(member);
                popped.push(member.into());
            });
        }
        left -= left.min(BATCH);
        let mut words: Vec<&[u8]> = Vec::with_capacity(popped.len() + 1);
        words.push(key);
        words.extend(popped.iter().map(|m| &**m));
        cx.ks.effect(b"SREM", &words);
    }
    cx.ks.changed(EventClass::Set, "spop", key);
    Ok(())
}
