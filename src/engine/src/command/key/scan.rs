//! Finding keys: KEYS, SCAN, RANDOMKEY, DBSIZE.

use super::super::spec::{Flags, R, RF};
use super::super::{CommandError, Cx, Group, Spec, args};
use crate::base::glob::glob_match;
use crate::base::number;
use crate::data::entry::Entry;

/// The commands that find keys.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "KEYS",
        arity: 2,
        flags: Flags::READONLY.or(Flags::DANGEROUS),
        keys: &[],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) with N being the number of keys in the database.",
        summary: "Returns all key names that match a pattern.",
        syntax: "pattern",
        examples: &[
            ("KEYS *", "[]"),
            ("MSET one 1 two 2", "OK"),
            ("KEYS o*", "[\"one\"]"),
            ("SET one 1 EXAT 1", "OK"),
            ("KEYS *", "[\"two\"]"),
        ],
        run: keys,
    },
    Spec {
        name: "SCAN",
        arity: -2,
        flags: R,
        keys: &[],
        group: Group::Generic,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration. N is the number of keys in the database.",
        summary: "Iterates over the key names in the database.",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        examples: &[
            ("SCAN 0", "[\"0\" []]"),
            ("SET one 1", "OK"),
            ("SCAN 0 COUNT 1000", "[\"0\" [\"one\"]]"),
            ("SCAN 0 COUNT 1000 MATCH t*", "[\"0\" []]"),
            ("SCAN 0 COUNT 1000 TYPE STRING MATCH *", "[\"0\" [\"one\"]]"),
            ("SCAN 0 COUNT 1000 TYPE hash", "[\"0\" []]"),
            ("SCAN x", "-ERR invalid cursor"),
            ("SCAN 0 COUNT", "-ERR syntax error"),
            ("SCAN 0 COUNT 0", "-ERR syntax error"),
            (
                "SCAN 0 COUNT a",
                "-ERR value is not an integer or out of range",
            ),
        ],
        run: scan,
    },
    Spec {
        name: "RANDOMKEY",
        arity: 1,
        flags: R,
        keys: &[],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns a random key name from the database, each with the same chance.",
        syntax: "",
        examples: &[
            ("RANDOMKEY", "nil"),
            ("SET one 1", "OK"),
            ("RANDOMKEY", "\"one\""),
            ("SET one 1 EXAT 1", "OK"),
            ("RANDOMKEY", "nil"),
        ],
        run: random_key,
    },
    Spec {
        name: "DBSIZE",
        arity: 1,
        flags: RF,
        keys: &[],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the number of keys in the database; those that have ended count until they are removed.",
        syntax: "",
        examples: &[("DBSIZE", "0"), ("MSET a 1 b 2", "OK"), ("DBSIZE", "2")],
        run: db_size,
    },
];

/// Whether `pattern` matches everything: by itself `*` doesn't match the
/// empty string.
fn is_all(pattern: &[u8]) -> bool {
    pattern == b"*"
}

fn is_due(entry: &Entry, now: u64) -> bool {
    entry.expiry().is_some_and(|at| at <= now)
}

fn keys(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let pattern = argv[1];
    let all = is_all(pattern);
    let now = cx.ks.now();
    cx.reply.open();
    let mut count = 0;
    for entry in cx.ks.table().iter() {
        if (all || glob_match(pattern, entry.key(), false)) && !is_due(entry, now) {
            cx.reply.bulk(entry.key());
            count += 1;
        }
    }
    cx.reply.close(count);
    Ok(())
}

/// A cursor of SCAN and its relatives, read as C's `strtoul` does.
///
/// # Errors
/// `invalid cursor`.
pub fn cursor(arg: &[u8]) -> Result<u64, CommandError> {
    const INVALID: CommandError = CommandError::text("ERR invalid cursor");
    let (negative, digits) = match arg {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, arg),
    };
    if digits.is_empty() {
        return Err(INVALID);
    }
    let n = digits.iter().try_fold(0u64, |n, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        n.checked_mul(10)?.checked_add(u64::from(digit))
    });
    match n.ok_or(INVALID)? {
        n if negative => Ok(n.wrapping_neg()),
        n => Ok(n),
    }
}

fn scan(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let cursor = cursor(argv[1])?;
    let (mut count, mut pattern, mut kind) = (10, None, None);
    for option in argv[2..].chunks(2) {
        let &[name, value] = option else {
            return Err(CommandError::Syntax);
        };
        if args::is(name, "COUNT") {
            count = match args::int(value)? {
                n @ 1.. => n as usize,
                _ => return Err(CommandError::Syntax),
            };
        } else if args::is(name, "MATCH") {
            pattern = Some(value).filter(|p| !is_all(p));
        } else if args::is(name, "TYPE") {
            kind = Some(value);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let now = cx.ks.now();
    let table = cx.ks.table();
    // The cursor stands before the keys it was found after, so walk twice.
    let next = table.scan(cursor, count, |_| {});
    let mut digits = [0; 24];
    cx.reply.array(2);
    cx.reply.bulk(number::format_i64(next as i64, &mut digits));
    cx.reply.open();
    let mut found = 0;
    table.scan(cursor, count, |entry| {
        if pattern.is_none_or(|p| glob_match(p, entry.key(), false))
            && kind.is_none_or(|k| args::is(k, entry.kind().name()))
            && !is_due(entry, now)
        {
            cx.reply.bulk(entry.key());
            found += 1;
        }
    });
    cx.reply.close(found);
    Ok(())
}

fn random_key(cx: &mut Cx<'_>, _: &[&[u8]]) -> Result<(), CommandError> {
    let now = cx.ks.now();
    while let Some(entry) = cx.ks.space.db_mut(cx.ks.db).random(cx.ks.rng) {
        if !is_due(entry, now) {
            cx.reply.bulk(entry.key());
            return Ok(());
        }
        let due = entry.key().to_vec();
        // Looking at it removes it.
        cx.ks.exists(&due);
    }
    cx.reply.null();
    Ok(())
}

fn db_size(cx: &mut Cx<'_>, _: &[&[u8]]) -> Result<(), CommandError> {
    let len = cx.ks.table().len();
    cx.reply.int(len as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::cursor;

    #[test]
    fn cursors_as_strtoul_reads_them() {
        for (text, want) in [
            ("0", Some(0)),
            ("", Some(0)),
            ("007", Some(7)),
            ("+7", Some(7)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-", None),
            ("+-1", None),
            (" 1", None),
            ("1 ", None),
            ("1x", None),
        ] {
            assert_eq!(cursor(text.as_bytes()).ok(), want, "{text:?}");
        }
    }
}
