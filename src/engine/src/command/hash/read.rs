//! Commands that look at hashes.

use super::super::{CommandError, Cx, args, element_scan};
use crate::data::hash;
use crate::data::value::Kind;

/// Calls `then` with the value of a field, if there is one.
#[inline]
fn field(
    cx: &mut Cx<'_>,
    args: &[&[u8]],
    then: fn(&mut dyn super::super::Reply, Option<&[u8]>),
) -> Result<(), CommandError> {
    cx.ks.in_parts = true;
    cx.ks.end_fields(args[1], [args[2]]);
    let entry = cx.ks.read(args[1], Kind::Hash)?;
    let value = entry.and_then(|e| hash::get(e.payload(), args[2]));
    then(cx.reply, value);
    Ok(())
}

pub(super) fn hget(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    field(cx, args, |reply, value| match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    })
}

pub(super) fn hexists(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    field(cx, args, |reply, value| {
        reply.int(i64::from(value.is_some()));
    })
}

pub(super) fn hstrlen(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    field(cx, args, |reply, value| {
        reply.int(value.map_or(0, <[u8]>::len) as i64);
    })
}

pub(super) fn hmget(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    cx.ks.in_parts = true;
    cx.ks.end_fields(args[1], args[2..].iter().copied());
    let entry = cx.ks.read(args[1], Kind::Hash)?;
    cx.reply.array(args.len() - 2);
    for field in &args[2..] {
        match entry.and_then(|e| hash::get(e.payload(), field)) {
            Some(value) => cx.reply.bulk(value),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn hlen(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    // As in Redis, what has ended counts until it is removed.
    cx.ks.in_parts = true;
    let entry = cx.ks.read(args[1], Kind::Hash)?;
    cx.reply
        .int(entry.map_or(0, |e| hash::len(e.payload())) as i64);
    Ok(())
}

pub(super) fn hgetall(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let Some(entry) = cx.ks.read(args[1], Kind::Hash)? else {
        cx.reply.map(0);
        return Ok(());
    };
    cx.reply.map(hash::len(entry.payload()));
    hash::for_each(entry.payload(), &mut |field, value| {
        cx.reply.bulk(field);
        cx.reply.bulk(value);
    });
    Ok(())
}

pub(super) fn hkeys(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let Some(entry) = cx.ks.read(args[1], Kind::Hash)? else {
        cx.reply.array(0);
        return Ok(());
    };
    cx.reply.array(hash::len(entry.payload()));
    hash::for_each(entry.payload(), &mut |field, _| cx.reply.bulk(field));
    Ok(())
}

pub(super) fn hvals(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let Some(entry) = cx.ks.read(args[1], Kind::Hash)? else {
        cx.reply.array(0);
        return Ok(());
    };
    cx.reply.array(hash::len(entry.payload()));
    hash::for_each(entry.payload(), &mut |_, value| cx.reply.bulk(value));
    Ok(())
}

pub(super) fn hrandfield(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let key = args[1];
    let count = args.get(2).map(|n| args::signed_count(n)).transpose()?;
    let with_values = match args {
        [_, _, _, word] if args::is(word, "WITHVALUES") => true,
        [_, _, _, _, ..] => return Err(CommandError::Syntax),
        _ => false,
    };
    if with_values && count.is_some_and(|n| n.unsigned_abs() > i64::MAX as u64 / 2) {
        return Err(CommandError::text("ERR value is out of range"));
    }
    let there = cx.ks.read(key, Kind::Hash)?.is_some();
    let entry = cx.ks.space.peek(cx.ks.db, key).filter(|_| there);
    let (reply, rng) = (&mut *cx.reply, &mut *cx.ks.rng);
    let (Some(entry), Some(count)) = (entry, count) else {
        match entry.and_then(|e| hash::random(e.payload(), rng)) {
            Some((field, _)) => reply.bulk(field),
            None if count.is_some() => reply.array(0),
            None => reply.null(),
        }
        return Ok(());
    };
    let payload = entry.payload();
    let len = hash::len(payload);
    let answers = if count < 0 {
        count.unsigned_abs() as usize
    } else {
        len.min(count as usize)
    };
    // Pairs are arrays of their own for those who know no flat maps.
    let nested = with_values && reply.is_resp3();
    reply.array(if with_values && !nested {
        2 * answers
    } else {
        answers
    });
    let mut answer = |field: &[u8], value: &[u8]| {
        if nested {
            reply.array(2);
        }
        reply.bulk(field);
        if with_values {
            reply.bulk(value);
        }
    };
    if count < 0 {
        for _ in 0..answers {
            if let Some((field, value)) = hash::random(payload, rng) {
                answer(field, value);
            }
        }
    } else if answers == len {
        hash::for_each(payload, &mut answer);
    } else {
        hash::choose(payload, answers, rng, &mut answer);
    }
    Ok(())
}

pub(super) fn hscan(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    let cursor = element_scan::cursor(args[2])?;
    cx.ks.in_parts = true;
    let now = cx.ks.now();
    let Some(entry) = cx.ks.read(args[1], Kind::Hash)? else {
        element_scan::nothing(cx.reply);
        return Ok(());
    };
    let options = element_scan::Options::parse(&args[3..])?;
    let payload = entry.payload();
    // The cursor comes first in the reply, so the way is walked twice.
    let next = hash::scan(payload, cursor, options.count, &mut |_, _, _| {});
    element_scan::begin(cx.reply, next);
    let mut elements = 0;
    hash::scan(payload, cursor, options.count, &mut |field, value, ends| {
        if ends.is_none_or(|at| at > now) && options.take(field) {
            cx.reply.bulk(field);
            cx.reply.bulk(value);
            elements += 2;
        }
    });
    cx.reply.close(elements);
    Ok(())
}
