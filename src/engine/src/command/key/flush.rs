//! Whole databases: FLUSHDB, FLUSHALL, SWAPDB.

use super::super::spec::{Flags, W, WF};
use super::super::{CommandError, Cx, Group, Spec, args};
use super::database_of;
use crate::data::table::Table;
use crate::keyspace::keys::Garbage;

/// The commands on whole databases.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "FLUSHDB",
        arity: -1,
        flags: W.or(Flags::DANGEROUS),
        keys: &[],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1): what the database held is freed elsewhere.",
        summary: "Removes all keys from the current database.",
        syntax: "[ASYNC | SYNC]",
        examples: &[
            ("FLUSHDB", "OK"),
            ("MSET a 1 b 2", "OK"),
            ("FLUSHDB ASYNC", "OK"),
            ("DBSIZE", "0"),
            ("FLUSHDB NOW", "-ERR syntax error"),
            ("FLUSHDB SYNC SYNC", "-ERR syntax error"),
        ],
        run: flush_db,
    },
    Spec {
        name: "FLUSHALL",
        arity: -1,
        flags: W.or(Flags::DANGEROUS),
        keys: &[],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) with N being the number of databases: what they held is freed elsewhere.",
        summary: "Removes all keys from all databases.",
        syntax: "[ASYNC | SYNC]",
        examples: &[
            ("SET a 1", "OK"),
            ("COPY a b DB 1", "1"),
            ("FLUSHALL", "OK"),
            ("DBSIZE", "0"),
            ("SWAPDB 0 1", "OK"),
            ("DBSIZE", "0"),
            ("FLUSHALL NOW", "-ERR syntax error"),
        ],
        run: flush_all,
    },
    Spec {
        name: "SWAPDB",
        arity: 3,
        flags: WF.or(Flags::DANGEROUS),
        keys: &[],
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Exchanges two databases.",
        syntax: "index1 index2",
        examples: &[
            ("SET a 1", "OK"),
            ("SWAPDB 0 2", "OK"),
            ("EXISTS a", "0"),
            ("SWAPDB 2 0", "OK"),
            ("EXISTS a", "1"),
            ("SWAPDB 0 0", "OK"),
            ("SWAPDB a 0", "-ERR invalid first DB index"),
            ("SWAPDB 0 a", "-ERR invalid second DB index"),
            ("SWAPDB 0 16", "-ERR DB index is out of range"),
        ],
        run: swap,
    },
];

/// Checks the option of a flush. Either way the content is freed elsewhere,
/// so it changes nothing.
fn check_mode(argv: &[&[u8]]) -> Result<(), CommandError> {
    match argv[1..] {
        [] => Ok(()),
        [mode] if args::is(mode, "SYNC") || args::is(mode, "ASYNC") => Ok(()),
        _ => Err(CommandError::Syntax),
    }
}

/// Empties a database and tells whether it held anything.
fn flush(cx: &mut Cx<'_>, db: u32) -> bool {
    if cx.ks.space.db(db).is_none_or(Table::is_empty) {
        return false;
    }
    let before = cx.ks.space.detach(db);
    cx.ks.out.replaced(db, &before, cx.ks.space.db_mut(db));
    cx.ks.out.discard(Garbage::Database(before));
    true
}

fn flush_db(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    check_mode(argv)?;
    if flush(cx, cx.ks.db) {
        cx.log_verbatim(argv);
    }
    cx.reply.simple("OK");
    Ok(())
}

fn flush_all(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    check_mode(argv)?;
    let mut any = false;
    for db in 0..cx.ks.space.databases().count() as u32 {
        any |= flush(cx, db);
    }
    if any {
        cx.log_verbatim(argv);
    }
    cx.reply.simple("OK");
    Ok(())
}

fn swap(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let index = |arg, text| {
        let n = args::int(arg).ok().and_then(|n| i32::try_from(n).ok());
        n.ok_or(CommandError::text(text))
    };
    let a = index(argv[1], "ERR invalid first DB index")?;
    let b = index(argv[2], "ERR invalid second DB index")?;
    let (a, b) = (database_of(cx, a)?, database_of(cx, b)?);
    let is_empty = |db| cx.ks.space.db(db).is_none_or(Table::is_empty);
    if a != b && !(is_empty(a) && is_empty(b)) {
        cx.ks.space.swap(a, b);
        for (db, other) in [(a, b), (b, a)] {
            if let (Some(after), Some(before)) = (cx.ks.space.db(db), cx.ks.space.db(other)) {
                cx.ks.out.replaced(db, before, after);
            }
        }
        cx.log_verbatim(argv);
    }
    cx.reply.simple("OK");
    Ok(())
}
