//! Other names and other databases: RENAME, RENAMENX, COPY, MOVE.

use super::super::spec::{W, WF, WM};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::{database, in_database};
use crate::keyspace::keys::EventClass;

const SAME: CommandError = CommandError::text("ERR source and destination objects are the same");

/// The commands that rename, copy and move.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "RENAME",
        arity: 3,
        flags: W,
        keys: &[
            KeySpec::one(1, KeyAccess::Pop),
            KeySpec::one(2, KeyAccess::Overwrite),
        ],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Renames a key and overwrites the destination.",
        syntax: "key newkey",
        examples: &[
            ("RENAME a b", "-ERR no such key"),
            ("RENAME a a", "-ERR no such key"),
            ("SET a 1 EX 10", "OK"),
            ("SET b 2", "OK"),
            ("RENAME a b", "OK"),
            ("MGET a b", "[nil \"1\"]"),
            ("TTL b", "10"),
            ("RENAME b b", "OK"),
        ],
        run: |cx, argv| rename(cx, argv, false),
    },
    Spec {
        name: "RENAMENX",
        arity: 3,
        flags: WF,
        keys: &[
            KeySpec::one(1, KeyAccess::Pop),
            KeySpec::one(2, KeyAccess::Insert),
        ],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Renames a key only when the target key name doesn't exist.",
        syntax: "key newkey",
        examples: &[
            ("MSET a 1 b 2", "OK"),
            ("RENAMENX a b", "0"),
            ("RENAMENX a a", "0"),
            ("RENAMENX a c", "1"),
            ("RENAMENX a c", "-ERR no such key"),
        ],
        run: |cx, argv| rename(cx, argv, true),
    },
    Spec {
        name: "COPY",
        arity: -3,
        flags: WM,
        keys: &[
            KeySpec::one(1, KeyAccess::Read),
            KeySpec::one(2, KeyAccess::Overwrite),
        ],
        group: Group::Generic,
        since: "6.2.0",
        complexity: "O(N) where N is the number of elements in a collection, O(1) for strings.",
        summary: "Copies the value of a key to a new key.",
        syntax: "source destination [DB destination-db] [REPLACE]",
        examples: &[
            ("COPY a b", "0"),
            ("SET a 1 EX 10", "OK"),
            ("COPY a b", "1"),
            ("TTL b", "10"),
            ("COPY a b", "0"),
            ("SET a 2", "OK"),
            ("COPY a b REPLACE", "1"),
            ("GET b", "\"2\""),
            ("COPY a a DB 3", "1"),
            (
                "COPY a a",
                "-ERR source and destination objects are the same",
            ),
            ("COPY a b DB 16", "-ERR DB index is out of range"),
            ("COPY a b DB", "-ERR syntax error"),
        ],
        run: copy,
    },
    Spec {
        name: "MOVE",
        arity: 3,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Pop)],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Moves a key to another database.",
        syntax: "key db",
        examples: &[
            ("MOVE a 1", "0"),
            ("SET a 1 EX 10", "OK"),
            ("MOVE a 1", "1"),
            ("EXISTS a", "0"),
            ("SET a 2", "OK"),
            ("MOVE a 1", "0"),
            (
                "MOVE a 0",
                "-ERR source and destination objects are the same",
            ),
            ("MOVE a -1", "-ERR DB index is out of range"),
            ("MOVE a x", "-ERR value is not an integer or out of range"),
        ],
        run: move_key,
    },
];

fn rename(cx: &mut Cx<'_>, argv: &[&[u8]], nx: bool) -> Result<(), CommandError> {
    let (from, to) = (argv[1], argv[2]);
    cx.ks.in_parts = true;
    if !cx.ks.exists(from) {
        return Err(CommandError::NoSuchKey);
    }
    let stays = from == to || (nx && cx.ks.exists(to));
    if !stays {
        // What ended under the new name is told before it is overwritten.
        cx.ks.exists(to);
        if let Some(entry) = cx.ks.take(from) {
            cx.ks.put(entry.renamed(to));
        }
        cx.log_verbatim(argv);
        cx.ks.changed(EventClass::Generic, "rename_from", from);
        cx.ks.changed(EventClass::Generic, "rename_to", to);
    }
    if nx {
        cx.reply.int(i64::from(!stays));
    } else {
        cx.reply.simple("OK");
    }
    Ok(())
}

fn copy(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (from, to) = (argv[1], argv[2]);
    let (mut db, mut replace) = (cx.ks.db, false);
    let mut rest = argv[3..].iter();
    while let Some(&word) = rest.next() {
        if args::is(word, "REPLACE") {
            replace = true;
        } else if args::is(word, "DB")
            && let Some(&n) = rest.next()
        {
            db = database(cx, n)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if db == cx.ks.db && from == to {
        return Err(SAME);
    }
    let copied = cx.ks.exists(from) && {
        let occupied = in_database(cx, db, |ks| ks.exists(to));
        replace || !occupied
    };
    if copied && let Some(copy) = cx.ks.get(from).map(|entry| entry.copied(to)) {
        cx.log_verbatim(argv);
        in_database(cx, db, |ks| {
            ks.put(copy);
            ks.changed(EventClass::Generic, "copy_to", to);
        });
    }
    cx.reply.int(i64::from(copied));
    Ok(())
}

fn move_key(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    let db = database(cx, argv[2])?;
    if db == cx.ks.db {
        return Err(SAME);
    }
    cx.ks.in_parts = true;
    let moved = cx.ks.exists(key) && !in_database(cx, db, |ks| ks.exists(key));
    if moved && let Some(entry) = cx.ks.take(key) {
        cx.log_verbatim(argv);
        cx.ks.changed(EventClass::Generic, "move_from", key);
        in_database(cx, db, |ks| {
            ks.put(entry);
            ks.changed(EventClass::Generic, "move_to", key);
        });
    }
    cx.reply.int(i64::from(moved));
    Ok(())
}
