//! Changes inside lists.

use super::read::position;
use crate::command::{CommandError, Cx, args};
use crate::data::list;
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

pub(super) fn lset(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let limits = cx.ks.limits;
    let Some(entry) = cx.ks.write(argv[1], Kind::List)? else {
        return Err(CommandError::NoSuchKey);
    };
    let at = position(args::int(argv[2])?, list::len(entry.payload()))
        .ok_or(CommandError::IndexOutOfRange)?;
    list::set(entry, at, argv[3], limits);
    cx.reply.simple("OK");
    cx.log_verbatim(argv);
    cx.ks.changed(EventClass::List, "lset", argv[1]);
    Ok(())
}

pub(super) fn linsert(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (key, pivot) = (argv[1], argv[3]);
    let behind = if args::is(argv[2], "AFTER") {
        1
    } else if args::is(argv[2], "BEFORE") {
        0
    } else {
        return Err(CommandError::Syntax);
    };
    let limits = cx.ks.limits;
    let Some(entry) = cx.ks.write(key, Kind::List)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let Some(at) = list::iter_from(entry.payload(), 0).position(|e| e == pivot) else {
        cx.reply.int(-1);
        return Ok(());
    };
    list::insert(entry, at + behind, argv[4], limits);
    cx.reply.int(list::len(entry.payload()) as i64);
    cx.log_verbatim(argv);
    cx.ks.changed(EventClass::List, "linsert", key);
    Ok(())
}

pub(super) fn lrem(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let count = args::int(argv[2])?;
    let Some(entry) = cx.ks.write(argv[1], Kind::List)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let removed = list::remove_equal(entry, argv[3], count);
    let is_empty = list::len(entry.payload()) == 0;
    cx.reply.int(removed as i64);
    if removed > 0 {
        cx.log_verbatim(argv);
        cx.ks.changed(EventClass::List, "lrem", argv[1]);
        cx.ks.delete_if_empty(argv[1], is_empty);
    }
    Ok(())
}

pub(super) fn ltrim(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (start, stop) = (args::int(argv[2])?, args::int(argv[3])?);
    let Some(entry) = cx.ks.write(argv[1], Kind::List)? else {
        cx.reply.simple("OK");
        return Ok(());
    };
    let len = list::len(entry.payload());
    let range = args::range(start, stop, len);
    let kept = range.len();
    // An empty list is left to the reaper as it was.
    if kept > 0 && kept < len {
        list::keep(entry, range);
    }
    cx.reply.simple("OK");
    if kept < len {
        cx.log_verbatim(argv);
    }
    cx.ks.changed(EventClass::List, "ltrim", argv[1]);
    cx.ks.delete_if_empty(argv[1], kept == 0);
    Ok(())
}
