//! Values of fields with something done to them: HGETDEL, HGETEX, HSETEX, as
//! in Redis 8.0.

use super::super::key::expire::Unit;
use super::super::spec::{WF, WMF};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::expiry::{NOT_POSITIVE, deadline, deleted, ending, fields, is_past, persisted};
use super::write::store;
use crate::base::number;
use crate::data::hash;
use crate::data::hash::expiry;
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

/// The commands that get or set fields and more.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "HGETDEL",
        arity: -5,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Pop)],
        group: Group::Hash,
        since: "8.0.0",
        complexity: "O(N) where N is the number of specified fields.",
        summary: "Returns the values of fields of a hash and deletes them.",
        syntax: "key FIELDS numfields field [field ...]",
        examples: &[
            ("HSET h a 1 b 2", "2"),
            ("HGETDEL h FIELDS 2 a none", r#"["1" nil]"#),
            ("HGETDEL h FIELDS 1 b", r#"["2"]"#),
            ("EXISTS h", "0"),
        ],
        run: hgetdel,
    },
    Spec {
        name: "HGETEX",
        arity: -5,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Modify)],
        group: Group::Hash,
        since: "8.0.0",
        complexity: "O(N) where N is the number of specified fields.",
        summary: "Returns the values of fields of a hash after setting their expiration time.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] FIELDS numfields field [field ...]",
        examples: &[
            ("HSET h a 1 b 2", "2"),
            ("HGETEX h EX 10 FIELDS 2 a none", r#"["1" nil]"#),
            ("HTTL h FIELDS 2 a b", "[10 -1]"),
            ("HGETEX h PERSIST FIELDS 1 a", r#"["1"]"#),
            ("HTTL h FIELDS 1 a", "[-1]"),
            ("HGETEX h PXAT 1 FIELDS 1 a", r#"["1"]"#),
            ("HEXISTS h a", "0"),
            (
                "HGETEX h EX 10 FIELDS",
                "-ERR The `numfields` parameter must match the number of arguments",
            ),
        ],
        run: hgetex,
    },
    Spec {
        name: "HSETEX",
        arity: -6,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Group::Hash,
        since: "8.0.0",
        complexity: "O(N) where N is the number of specified fields.",
        summary: "Sets fields of a hash and their expiration time.",
        syntax: "key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]",
        examples: &[
            ("HSETEX h EX 10 FIELDS 2 a 1 b 2", "1"),
            ("HTTL h FIELDS 2 a b", "[10 10]"),
            ("HSETEX h KEEPTTL FIELDS 1 a 3", "1"),
            ("HSETEX h FIELDS 1 b 3", "1"),
            ("HTTL h FIELDS 2 a b", "[10 -1]"),
            ("HSETEX h FNX FIELDS 2 c 1 a 1", "0"),
            ("HSETEX h FXX FIELDS 2 c 1 a 1", "0"),
            (
                "HSETEX h FXX FNX FIELDS 1 a 1",
                "-ERR Only one of FXX or FNX arguments can be specified",
            ),
            ("HSETEX h NOW FIELDS 1 a 1", "-ERR unknown argument: NOW"),
            ("HSETEX h FIELDS 0 a 1", "-ERR invalid number of fields"),
            (
                "HSETEX h FNX FIELDS 0 a",
                "-ERR wrong number of arguments for 'persist.hsetex' command",
            ),
        ],
        run: hsetex,
    },
];

/// Replies the values of `fields`, and answers which of them are there. A
/// field that is to be deleted is gone where it is named again.
fn reply_values<'a>(
    cx: &mut Cx<'_>,
    key: &[u8],
    fields: &'a [&'a [u8]],
    delete: bool,
) -> Result<Vec<&'a [u8]>, CommandError> {
    cx.ks.end_fields(key, fields.iter().copied());
    let found = cx.ks.read(key, Kind::Hash)?;
    let mut there: Vec<&[u8]> = Vec::new();
    cx.reply.array(fields.len());
    for field in fields {
        let again = there.contains(field);
        match found.and_then(|entry| hash::get(entry.payload(), field)) {
            Some(value) if !(delete && again) => {
                cx.reply.bulk(value);
                if !again {
                    there.push(field);
                }
            }
            _ => cx.reply.null(),
        }
    }
    Ok(there)
}

/// Removes fields that are there, and tells so.
fn remove(cx: &mut Cx<'_>, key: &[u8], fields: &[&[u8]]) -> Result<(), CommandError> {
    if let Some(entry) = cx.ks.write(key, Kind::Hash)? {
        for field in fields {
            hash::remove(entry, field);
        }
    }
    deleted(cx, key, fields);
    Ok(())
}

/// Lets fields that are there end at `at`, and tells so.
fn end_at(cx: &mut Cx<'_>, key: &[u8], at: u64, fields: &[&[u8]]) -> Result<(), CommandError> {
    if is_past(cx, at) {
        return remove(cx, key, fields);
    }
    if let Some(entry) = cx.ks.write(key, Kind::Hash)? {
        for field in fields {
            expiry::set(entry, field, Some(at));
        }
    }
    ending(cx, key, at, fields);
    Ok(())
}

fn hgetdel(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    cx.ks.in_parts = true;
    cx.ks.read(key, Kind::Hash)?;
    let fields = fields(argv, 2, NOT_POSITIVE)?;
    let gone = reply_values(cx, key, fields, true)?;
    remove(cx, key, &gone)
}

fn hgetex(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    cx.ks.in_parts = true;
    cx.ks.read(key, Kind::Hash)?;
    let unit = Unit::of(argv[2]);
    let persist = args::is(argv[2], "PERSIST");
    let at = match unit {
        Some(unit) => Some(deadline(cx, argv[3], unit, "hgetex")?),
        None => None,
    };
    let place = match (unit, persist) {
        (Some(_), _) => 4,
        (None, true) => 3,
        (None, false) => 2,
    };
    let fields = fields(argv, place, NOT_POSITIVE)?;
    let past = at.is_some_and(|at| is_past(cx, at));
    let mut there = reply_values(cx, key, fields, past)?;
    if let Some(at) = at {
        end_at(cx, key, at, &there)?;
    } else if persist && let Some(entry) = cx.ks.write(key, Kind::Hash)? {
        there.retain(|field| matches!(expiry::of(entry.payload(), field), Some(Some(_))));
        for field in &there {
            expiry::set(entry, field, None);
        }
        persisted(cx, key, &there);
    }
    Ok(())
}

/// What HSETEX is told in front of the fields.
#[derive(Default)]
struct Options<'a> {
    /// Only if all fields are there (`true`), or none (`false`).
    present: Option<bool>,
    /// When the fields end.
    at: Option<u64>,
    keep: bool,
    pairs: &'a [&'a [u8]],
}

impl<'a> Options<'a> {
    fn parse(cx: &mut Cx<'_>, argv: &'a [&'a [u8]]) -> Result<Options<'a>, CommandError> {
        const ONE_TIME: CommandError = CommandError::text(
            "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
        );
        let mut options = Options::default();
        let mut rest = &argv[2..];
        while let [word, more @ ..] = rest {
            rest = more;
            if args::is(word, "FIELDS") {
                options.pairs = pairs(more)?;
                return Ok(options);
            }
            if args::is(word, "FXX") || args::is(word, "FNX") {
                if options.present.is_some() {
                    return Err(CommandError::text(
                        "ERR Only one of FXX or FNX arguments can be specified",
                    ));
                }
                options.present = Some(args::is(word, "FXX"));
            } else if args::is(word, "KEEPTTL") {
                if options.keep || options.at.is_some() {
                    return Err(ONE_TIME);
                }
                options.keep = true;
            } else if let Some(unit) = Unit::of(word) {
                if options.keep || options.at.is_some() {
                    return Err(ONE_TIME);
                }
                let [n, more @ ..] = more else {
                    return Err(CommandError::text("ERR missing expire time"));
                };
                options.at = Some(deadline(cx, n, unit, "hsetex")?);
                rest = more;
            } else {
                let word = String::from_utf8_lossy(word);
                return Err(CommandError::Text(
                    format!("ERR unknown argument: {word}").into(),
                ));
            }
        }
        Err(CommandError::text("ERR missing FIELDS argument"))
    }
}

/// The fields and values behind their number.
fn pairs<'a>(words: &'a [&'a [u8]]) -> Result<&'a [&'a [u8]], CommandError> {
    let [n, pairs @ ..] = words else {
        return Err(CommandError::Arity("HSETEX"));
    };
    let [_, _, ..] = pairs else {
        return Err(CommandError::Arity("HSETEX"));
    };
    let n = number::parse_i64(n)
        .and_then(|n| i32::try_from(n).ok())
        .filter(|n| *n > 0)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or(CommandError::text("ERR invalid number of fields"))?;
    if n.checked_mul(2) != Some(pairs.len()) {
        return Err(CommandError::Arity("HSETEX"));
    }
    Ok(pairs)
}

fn hsetex(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    let options = Options::parse(cx, argv)?;
    let names = || options.pairs.chunks_exact(2).map(|pair| pair[0]);
    cx.ks.in_parts = true;
    cx.ks.end_fields(key, names());
    let found = cx.ks.read(key, Kind::Hash)?;
    let known: Vec<Option<Option<u64>>> = names()
        .map(|field| found.and_then(|entry| expiry::of(entry.payload(), field)))
        .collect();
    if let Some(present) = options.present
        && known.iter().any(|known| known.is_some() != present)
    {
        cx.reply.int(0);
        return Ok(());
    }
    store(cx, key, options.pairs)?;
    let words: Vec<&[u8]> = std::iter::once(key)
        .chain(options.pairs.iter().copied())
        .collect();
    cx.ks.effect(b"HSET", &words);
    cx.ks.changed(EventClass::Hash, "hset", key);
    let mut fields: Vec<&[u8]> = Vec::new();
    for field in names() {
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    if let Some(at) = options.at {
        end_at(cx, key, at, &fields)?;
    } else if options.keep {
        for (field, ends) in names().zip(known) {
            if let Some(Some(at)) = ends {
                keep(cx, key, field, at)?;
            }
        }
    }
    cx.reply.int(1);
    Ok(())
}

/// Lets a field that was overwritten end when it would have ended before.
pub(super) fn keep(cx: &mut Cx<'_>, key: &[u8], field: &[u8], at: u64) -> Result<(), CommandError> {
    if let Some(entry) = cx.ks.write(key, Kind::Hash)? {
        expiry::set(entry, field, Some(at));
    }
    cx.ks.arm(key, at);
    let at = at.to_string();
    cx.ks
        .effect(b"HPEXPIREAT", &[key, at.as_bytes(), b"FIELDS", b"1", field]);
    Ok(())
}
