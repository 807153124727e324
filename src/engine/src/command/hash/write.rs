//! Commands that change hashes.

use super::super::{CommandError, Cx, args};
use super::field::keep;
use crate::base::long_double::LongDouble;
use crate::base::number;
use crate::data::entry::Entry;
use crate::data::hash;
use crate::data::hash::expiry;
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

/// Sets the fields of `pairs` and answers how many are new. Logs nothing.
pub(super) fn store(cx: &mut Cx<'_>, key: &[u8], pairs: &[&[u8]]) -> Result<usize, CommandError> {
    let (limits, seed) = (cx.ks.limits, cx.ks.space.seed());
    cx.ks.in_parts = true;
    cx.ks.end_fields(key, pairs.iter().step_by(2).copied());
    if let Some(entry) = cx.ks.write(key, Kind::Hash)? {
        return Ok(hash::set(entry, pairs, limits, seed));
    }
    let (entry, added) = hash::create(key, pairs, limits, seed);
    cx.ks.put(entry);
    Ok(added)
}

fn store_pairs(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<usize, CommandError> {
    if args.len() % 2 == 1 {
        return Err(CommandError::Arity(cx.spec.name));
    }
    let added = store(cx, args[1], &args[2..])?;
    cx.log_verbatim(args);
    cx.ks.changed(EventClass::Hash, "hset", args[1]);
    Ok(added)
}

pub(super) fn hset(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let added = store_pairs(cx, args)?;
    cx.reply.int(added as i64);
    Ok(())
}

pub(super) fn hmset(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    store_pairs(cx, args)?;
    cx.reply.simple("OK");
    Ok(())
}

pub(super) fn hsetnx(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    cx.ks.in_parts = true;
    cx.ks.end_fields(args[1], [args[2]]);
    let there = cx
        .ks
        .read(args[1], Kind::Hash)?
        .is_some_and(|e| hash::get(e.payload(), args[2]).is_some());
    if !there {
        store(cx, args[1], &args[2..])?;
        cx.log_verbatim(args);
        cx.ks.changed(EventClass::Hash, "hset", args[1]);
    }
    cx.reply.int(i64::from(!there));
    Ok(())
}

pub(super) fn hdel(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let key = args[1];
    cx.ks.in_parts = true;
    cx.ks.end_fields(key, args[2..].iter().copied());
    let (mut removed, mut empty) = (0, false);
    if let Some(entry) = cx.ks.write(key, Kind::Hash)? {
        for field in &args[2..] {
            removed += i64::from(hash::remove(entry, field));
        }
        empty = hash::len(entry.payload()) == 0;
    }
    if removed > 0 {
        cx.log_verbatim(args);
        cx.ks.changed(EventClass::Hash, "hdel", key);
        cx.ks.delete_if_empty(key, empty);
    }
    cx.reply.int(removed);
    Ok(())
}

/// When `field` ends, which counting doesn't change.
fn ends(cx: &mut Cx<'_>, key: &[u8], field: &[u8]) -> Result<Option<u64>, CommandError> {
    let payload = cx.ks.read(key, Kind::Hash)?.map(Entry::payload);
    let payload = payload.filter(|payload| expiry::any(*payload));
    Ok(payload.and_then(|payload| expiry::of(payload, field)?))
}

pub(super) fn hincrby(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let (key, field) = (args[1], args[2]);
    let by = args::int(args[3])?;
    cx.ks.in_parts = true;
    cx.ks.end_fields(key, [field]);
    let old = match cx.ks.read(key, Kind::Hash)? {
        None => 0,
        Some(entry) => match hash::get(entry.payload(), field) {
            None => 0,
            Some(text) => number::parse_i64(text)
                .ok_or(CommandError::text("ERR hash value is not an integer"))?,
        },
    };
    let new = old.checked_add(by).ok_or(CommandError::Overflow)?;
    let ends = ends(cx, key, field)?;
    let mut digits = [0; 24];
    store(cx, key, &[field, number::format_i64(new, &mut digits)])?;
    cx.log_verbatim(args);
    if let Some(entry) = cx.ks.write(key, Kind::Hash)?.filter(|_| ends.is_some()) {
        expiry::set(entry, field, ends);
    }
    cx.ks.changed(EventClass::Hash, "hincrby", key);
    cx.reply.int(new);
    Ok(())
}

pub(super) fn hincrbyfloat(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let (key, field) = (args[1], args[2]);
    let by = LongDouble::parse(args[3]).ok_or(CommandError::NotFloat)?;
    if by.is_infinite() {
        return Err(CommandError::text("ERR value is NaN or Infinity"));
    }
    cx.ks.in_parts = true;
    cx.ks.end_fields(key, [field]);
    let old = match cx.ks.read(key, Kind::Hash)? {
        None => LongDouble::from(0),
        Some(entry) => match hash::get(entry.payload(), field) {
            None => LongDouble::from(0),
            Some(text) => LongDouble::parse(text)
                .ok_or(CommandError::text("ERR hash value is not a float"))?,
        },
    };
    let new = old.add(by);
    if new.is_nan() || new.is_infinite() {
        return Err(CommandError::text(
            "ERR increment would produce NaN or Infinity",
        ));
    }
    let ends = ends(cx, key, field)?;
    let mut text = Vec::new();
    new.format(&mut text);
    store(cx, key, &[field, &text])?;
    // The sum itself, so that replay depends on nobody's arithmetic.
    cx.ks.effect(b"HSET", &[key, field, &text]);
    if let Some(at) = ends {
        keep(cx, key, field, at)?;
    }
    cx.ks.changed(EventClass::Hash, "hincrbyfloat", key);
    cx.reply.bulk(&text);
    Ok(())
}
