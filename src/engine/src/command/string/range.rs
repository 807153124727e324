//! Parts of strings: APPEND, STRLEN, GETRANGE, SETRANGE.

use super::super::spec::{R, RF, WM, WMF};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::data::string;
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

/// The commands on parts of strings.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "APPEND",
        arity: 3,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Insert)],
        group: Group::String,
        since: "2.0.0",
        complexity: "O(1). The amortized time complexity is O(1), since long strings grow by more than is asked for.",
        summary: "Appends a string to the value of a key. Creates the key if it doesn't exist.",
        syntax: "key value",
        examples: &[
            ("APPEND k Hello", "5"),
            ("APPEND k World", "10"),
            ("GET k", "\"HelloWorld\""),
            ("APPEND none \"\"", "0"),
            ("EXISTS none", "1"),
        ],
        run: append,
    },
    Spec {
        name: "STRLEN",
        arity: 2,
        flags: RF,
        keys: &[KeySpec::one(1, KeyAccess::Look)],
        group: Group::String,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Returns the length of a string value.",
        syntax: "key",
        examples: &[("STRLEN k", "0"), ("SET k hello", "OK"), ("STRLEN k", "5")],
        run: strlen,
    },
    Spec {
        name: "GETRANGE",
        arity: 4,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::String,
        since: "2.4.0",
        complexity: "O(N) where N is the length of the returned string.",
        summary: "Returns a substring of the string stored at a key.",
        syntax: "key start:integer end:integer",
        examples: &[
            ("SET k hello", "OK"),
            ("GETRANGE k 1 -2", "\"ell\""),
            ("GETRANGE k -100 100", "\"hello\""),
            ("GETRANGE k 3 2", "\"\""),
            ("GETRANGE k 0 -100", "\"h\""),
            ("GETRANGE k -1 -5", "\"\""),
            ("GETRANGE none 0 -1", "\"\""),
        ],
        run: getrange,
    },
    Spec {
        name: "SUBSTR",
        arity: 4,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::String,
        since: "1.0.0",
        complexity: "O(N) where N is the length of the returned string.",
        summary: "Returns a substring of a string value. The old name of GETRANGE.",
        syntax: "key start:integer end:integer",
        examples: &[("SET k hello", "OK"), ("SUBSTR k 0 1", "\"he\"")],
        run: getrange,
    },
    Spec {
        name: "SETRANGE",
        arity: 4,
        flags: WM,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Group::String,
        since: "2.2.0",
        complexity: "O(M) where M is the length of the value argument, and of the string if it is short.",
        summary: "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.",
        syntax: "key offset value",
        examples: &[
            ("SETRANGE k 0 \"\"", "0"),
            ("EXISTS k", "0"),
            ("SETRANGE k 2 ab", "4"),
            ("GET k", "\"\\x00\\x00ab\""),
            ("SETRANGE k 1 xyzuv", "6"),
            ("SETRANGE k 100 \"\"", "6"),
            ("SETRANGE k -1 a", "-ERR offset is out of range"),
            (
                "SETRANGE k 536870911 ab",
                "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            ),
        ],
        run: setrange,
    },
];

/// The longest string there may be. What a log holds was allowed once.
fn max_len(cx: &Cx<'_>) -> usize {
    if cx.ks.is_replay() {
        return usize::MAX;
    }
    cx.ks.limits.string_max
}

/// Refuses what would be too long.
fn check_len(at: usize, added: usize, max: usize) -> Result<(), CommandError> {
    if at.saturating_add(added) > max {
        return Err(CommandError::TooLong);
    }
    Ok(())
}

fn append(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (key, tail) = (argv[1], argv[2]);
    let (max_small, max) = (cx.ks.limits.string_max_small, max_len(cx));
    let len = match cx.ks.write(key, Kind::String)? {
        Some(entry) => {
            check_len(string::bytes(entry).len(), tail.len(), max)?;
            string::append(entry, tail, max_small)
        }
        None => {
            cx.ks.put_string(key, tail, None);
            tail.len()
        }
    };
    cx.log_verbatim(argv);
    cx.ks.changed(EventClass::String, "append", key);
    cx.reply.int(len as i64);
    Ok(())
}

fn strlen(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let found = cx.ks.read(argv[1], Kind::String)?;
    cx.reply
        .int(found.map_or(0, |entry| string::bytes(entry).len()) as i64);
    Ok(())
}

fn getrange(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (start, end) = (args::int(argv[2])?, args::int(argv[3])?);
    let found = cx.ks.read(argv[1], Kind::String)?;
    let bytes = found.map_or(&[][..], string::bytes);
    let len = bytes.len() as i64;
    // Unlike LRANGE, an end before the first byte means the first byte.
    let from_end = |n: i64| {
        if n < 0 {
            len.saturating_add(n).max(0)
        } else {
            n
        }
    };
    let (first, last) = (from_end(start), from_end(end).min(len - 1));
    if (start < 0 && end < 0 && start > end) || first > last {
        cx.reply.bulk(b"");
    } else {
        cx.reply.bulk(&bytes[first as usize..=last as usize]);
    }
    Ok(())
}

fn setrange(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (key, part) = (argv[1], argv[3]);
    let (max_small, max) = (cx.ks.limits.string_max_small, max_len(cx));
    let at = usize::try_from(args::int(argv[2])?)
        .map_err(|_| CommandError::text("ERR offset is out of range"))?;
    let found = cx.ks.write(key, Kind::String)?;
    if part.is_empty() {
        let len = found.map_or(0, |entry| string::bytes(entry).len());
        cx.reply.int(len as i64);
        return Ok(());
    }
    check_len(at, part.len(), max)?;
    let len = match found {
        Some(entry) => string::write_at(entry, at, part, max_small),
        None => {
            cx.ks.put(string::entry_at(key, at, part, max_small));
            at + part.len()
        }
    };
    cx.log_verbatim(argv);
    cx.ks.changed(EventClass::String, "setrange", key);
    cx.reply.int(len as i64);
    Ok(())
}
