//! Commands on the members of one set, and SMOVE.

use super::super::{CommandError, Cx, element_scan};
use crate::data::set;
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

/// Adds members and answers how many are new. Logs nothing.
fn insert(cx: &mut Cx<'_>, key: &[u8], members: &[&[u8]]) -> Result<usize, CommandError> {
    let (limits, seed) = (cx.ks.limits, cx.ks.space.seed());
    if let Some(entry) = cx.ks.write(key, Kind::Set)? {
        return Ok(set::add(entry, members, limits, seed));
    }
    let (entry, added) = set::create(key, members, limits, seed);
    cx.ks.put(entry);
    Ok(added)
}

pub(super) fn sadd(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let added = insert(cx, args[1], &args[2..])?;
    if added > 0 {
        cx.log_verbatim(args);
        cx.ks.changed(EventClass::Set, "sadd", args[1]);
    }
    cx.reply.int(added as i64);
    Ok(())
}

pub(super) fn srem(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let key = args[1];
    let (mut removed, mut empty) = (0, false);
    if let Some(entry) = cx.ks.write(key, Kind::Set)? {
        for member in &args[2..] {
            removed += i64::from(set::remove(entry, member));
        }
        empty = set::len(entry.payload()) == 0;
    }
    if removed > 0 {
        cx.log_verbatim(args);
        cx.ks.changed(EventClass::Set, "srem", key);
        cx.ks.delete_if_empty(key, empty);
    }
    cx.reply.int(removed);
    Ok(())
}

pub(super) fn smove(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let (from, to, member) = (args[1], args[2], args[3]);
    let there = cx
        .ks
        .read(from, Kind::Set)?
        .map(|e| set::contains(e.payload(), member));
    let Some(there) = there else {
        cx.reply.int(0);
        return Ok(());
    };
    cx.ks.read(to, Kind::Set)?;
    if !there || from == to {
        cx.reply.int(i64::from(there));
        return Ok(());
    }
    let mut empty = false;
    if let Some(entry) = cx.ks.write(from, Kind::Set)? {
        set::remove(entry, member);
        empty = set::len(entry.payload()) == 0;
    }
    cx.log_verbatim(args);
    cx.ks.changed(EventClass::Set, "srem", from);
    cx.ks.delete_if_empty(from, empty);
    if insert(cx, to, &[member])? > 0 {
        cx.ks.changed(EventClass::Set, "sadd", to);
    }
    cx.reply.int(1);
    Ok(())
}

pub(super) fn sismember(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let entry = cx.ks.read(args[1], Kind::Set)?;
    let there = entry.is_some_and(|e| set::contains(e.payload(), args[2]));
    cx.reply.int(i64::from(there));
    Ok(())
}

pub(super) fn smismember(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let entry = cx.ks.read(args[1], Kind::Set)?;
    cx.reply.array(args.len() - 2);
    for member in &args[2..] {
        let there = entry.is_some_and(|e| set::contains(e.payload(), member));
        cx.reply.int(i64::from(there));
    }
    Ok(())
}

pub(super) fn scard(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let entry = cx.ks.read(args[1], Kind::Set)?;
    cx.reply
        .int(entry.map_or(0, |e| set::len(e.payload())) as i64);
    Ok(())
}

pub(super) fn smembers(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let limits = cx.ks.limits;
    let Some(entry) = cx.ks.read(args[1], Kind::Set)? else {
        cx.reply.set(0);
        return Ok(());
    };
    let len = set::len(entry.payload());
    cx.reply.set(len);
    if len > limits.set_max_intset_entries {
        set::for_each(entry.payload(), &mut |member| cx.reply.bulk(member));
        return Ok(());
    }
    let mut members: Vec<&[u8]> = set::members(entry.payload()).collect();
    set::sort_integers(&mut members, limits);
    members.iter().for_each(|member| cx.reply.bulk(member));
    Ok(())
}

pub(super) fn sscan(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let cursor = element_scan::cursor(args[2])?;
    let Some(entry) = cx.ks.read(args[1], Kind::Set)? else {
        element_scan::nothing(cx.reply);
        return Ok(());
    };
    let options = element_scan::Options::parse(&args[3..])?;
    let payload = entry.payload();
    // The cursor comes first in the reply, so the way is walked twice.
    let next = set::scan(payload, cursor, options.count, &mut |_| {});
    element_scan::begin(cx.reply, next);
    let mut elements = 0;
    set::scan(payload, cursor, options.count, &mut |member| {
        if options.take(member) {
            cx.reply.bulk(member);
            elements += 1;
        }
    });
    cx.reply.close(elements);
    Ok(())
}
