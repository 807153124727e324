//! Keys of any kind: existence, expiry, names, scanning.

pub mod dump;
pub mod expire;
pub mod flush;
pub mod object;
pub mod rename;
pub mod scan;

#[cfg(test)]
mod tests;

use super::spec::{RF, W, WF};
use super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::data::entry::Entry;
use crate::keyspace::MAX_DATABASES;
use crate::keyspace::keys::{EventClass, Keys};

/// The commands on whether keys are there.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "DEL",
        arity: -2,
        flags: W,
        keys: &[KeySpec::rest(1, 1, KeyAccess::Remove)],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys: what they held is freed elsewhere.",
        summary: "Deletes one or more keys.",
        syntax: "key [key ...]",
        examples: &[
            ("MSET a 1 b 2", "OK"),
            ("DEL a b none a", "2"),
            ("DEL a", "0"),
        ],
        run: del,
    },
    Spec {
        name: "UNLINK",
        arity: -2,
        flags: WF,
        keys: &[KeySpec::rest(1, 1, KeyAccess::Remove)],
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(N) where N is the number of keys: what they held is freed elsewhere.",
        summary: "Deletes one or more keys; the same as DEL here.",
        syntax: "key [key ...]",
        examples: &[("MSET a 1 b 2", "OK"), ("UNLINK a none b", "2")],
        run: del,
    },
    Spec {
        name: "EXISTS",
        arity: -2,
        flags: RF,
        keys: &[KeySpec::rest(1, 1, KeyAccess::Look)],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys to check.",
        summary: "Counts how many of the given keys exist; a key given twice counts twice.",
        syntax: "key [key ...]",
        examples: &[("SET a 1", "OK"), ("EXISTS a none a", "2")],
        run: count_existing,
    },
    Spec {
        name: "TOUCH",
        arity: -2,
        flags: RF,
        keys: &[KeySpec::rest(1, 1, KeyAccess::Look)],
        group: Group::Generic,
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys to touch.",
        summary: "Counts how many of the given keys exist. Nothing here is evicted, so there is no time of access to renew.",
        syntax: "key [key ...]",
        examples: &[("SET a 1", "OK"), ("TOUCH a none", "1")],
        run: count_existing,
    },
    Spec {
        name: "TYPE",
        arity: 2,
        flags: RF,
        keys: &[KeySpec::one(1, KeyAccess::Look)],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the type of the value stored at a key.",
        syntax: "key",
        examples: &[("TYPE a", "none"), ("SET a 1", "OK"), ("TYPE a", "string")],
        run: type_of,
    },
];

fn del(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    cx.ks.in_parts = true;
    let mut deleted = 0;
    for key in &argv[1..] {
        if cx.ks.delete(key) {
            cx.ks.changed(EventClass::Generic, "del", key);
            deleted += 1;
        }
    }
    if deleted > 0 {
        cx.log_verbatim(argv);
    }
    cx.reply.int(deleted);
    Ok(())
}

fn count_existing(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    cx.ks.in_parts = true;
    let found = argv[1..].iter().filter(|key| cx.ks.exists(key)).count();
    cx.reply.int(found as i64);
    Ok(())
}

fn type_of(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    cx.ks.in_parts = true;
    let found = cx.ks.get(argv[1]).map(Entry::kind);
    cx.reply.simple(found.map_or("none", |kind| kind.name()));
    Ok(())
}

/// The database that an argument names.
///
/// # Errors
/// No integer, or no such database.
fn database(cx: &Cx<'_>, arg: &[u8]) -> Result<u32, CommandError> {
    let n = i32::try_from(args::int(arg)?).map_err(|_| {
        CommandError::text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        )
    })?;
    database_of(cx, n)
}

fn database_of(cx: &Cx<'_>, n: i32) -> Result<u32, CommandError> {
    // What a log holds was allowed once.
    let limit = if cx.ks.is_replay() {
        MAX_DATABASES
    } else {
        cx.ks.limits.databases
    };
    u32::try_from(n)
        .ok()
        .filter(|n| *n < limit)
        .ok_or(CommandError::text("ERR DB index is out of range"))
}

/// Does `f` with `db` selected.
fn in_database<R>(cx: &mut Cx<'_>, db: u32, f: impl FnOnce(&mut Keys<'_>) -> R) -> R {
    let selected = std::mem::replace(&mut cx.ks.db, db);
    let result = f(&mut cx.ks);
    cx.ks.db = selected;
    result
}
