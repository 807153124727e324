//! Setting whole strings: SET and its older relatives.

use super::super::key::expire::{Unit, deadline};
use super::super::spec::{WM, WMF};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::base::number;
use crate::data::entry::Entry;
use crate::data::string;
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

/// The commands that set strings.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "SET",
        arity: -3,
        flags: WM,
        keys: &[KeySpec::one(1, KeyAccess::OverwriteOrGet)],
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        examples: &[
            ("SET k v", "OK"),
            ("SET k w NX", "nil"),
            ("SET k w XX GET", "\"v\""),
            ("SET k x EX 10", "OK"),
            ("SET k y KEEPTTL", "OK"),
            ("TTL k", "10"),
            ("GET k", "\"y\""),
            ("SET k z", "OK"),
            ("TTL k", "-1"),
            ("SET none z XX GET", "nil"),
            ("SET none z NX GET", "nil"),
            ("SET none y NX GET", "\"z\""),
            ("GET none", "\"z\""),
            ("SET k z NX XX", "-ERR syntax error"),
            ("SET k z EX 10 PX 10", "-ERR syntax error"),
            ("SET k z EX 10 KEEPTTL", "-ERR syntax error"),
            ("SET k z EX", "-ERR syntax error"),
            ("SET k z PERSIST", "-ERR syntax error"),
            ("SET k z EX 10 EX 20", "OK"),
            ("TTL k", "20"),
            (
                "SET k z EX a",
                "-ERR value is not an integer or out of range",
            ),
            ("SET k z EX 0", "-ERR invalid expire time in 'set' command"),
            (
                "SET k z EX 9223372036854775",
                "-ERR invalid expire time in 'set' command",
            ),
            ("SET k z EXAT 1", "OK"),
            ("GET k", "nil"),
        ],
        run: set,
    },
    Spec {
        name: "SETNX",
        arity: 3,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Insert)],
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Sets the string value of a key only when the key doesn't exist.",
        syntax: "key value",
        examples: &[("SETNX k v", "1"), ("SETNX k w", "0"), ("GET k", "\"v\"")],
        run: setnx,
    },
    Spec {
        name: "SETEX",
        arity: 4,
        flags: WM,
        keys: &[KeySpec::one(1, KeyAccess::Overwrite)],
        group: Group::String,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Sets the string value and expiration time in seconds of a key.",
        syntax: "key seconds value",
        examples: &[
            ("SETEX k 10 v", "OK"),
            ("PTTL k", "10000"),
            ("SETEX k 0 v", "-ERR invalid expire time in 'setex' command"),
        ],
        run: setex,
    },
    Spec {
        name: "PSETEX",
        arity: 4,
        flags: WM,
        keys: &[KeySpec::one(1, KeyAccess::Overwrite)],
        group: Group::String,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Sets the string value and expiration time in milliseconds of a key.",
        syntax: "key milliseconds value",
        examples: &[
            ("PSETEX k 1500 v", "OK"),
            ("PTTL k", "1500"),
            (
                "PSETEX k -1 v",
                "-ERR invalid expire time in 'psetex' command",
            ),
        ],
        run: psetex,
    },
    Spec {
        name: "MSET",
        arity: -3,
        flags: WM,
        keys: &[KeySpec::rest(1, 2, KeyAccess::Overwrite)],
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Sets the string values of one or more keys.",
        syntax: "key value [key value ...]",
        examples: &[
            ("MSET a 1 b 2 a 3", "OK"),
            ("MGET a b", "[\"3\" \"2\"]"),
            (
                "MSET a 1 b",
                "-ERR wrong number of arguments for 'persist.mset' command",
            ),
        ],
        run: mset,
    },
    Spec {
        name: "MSETNX",
        arity: -3,
        flags: WM,
        keys: &[KeySpec::rest(1, 2, KeyAccess::Insert)],
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Sets the string values of one or more keys only when none of them exists.",
        syntax: "key value [key value ...]",
        examples: &[
            ("MSETNX a 1 b 2", "1"),
            ("MSETNX c 1 b 3", "0"),
            ("MGET a b c", "[\"1\" \"2\" nil]"),
        ],
        run: msetnx,
    },
    Spec {
        name: "GETSET",
        arity: 3,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Modify)],
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the previous string value of a key after setting it to a new value.",
        syntax: "key value",
        examples: &[
            ("GETSET k v", "nil"),
            ("EXPIRE k 10", "1"),
            ("GETSET k w", "\"v\""),
            ("TTL k", "-1"),
        ],
        run: getset,
    },
];

/// The options of SET and GETEX.
#[derive(Default)]
pub(super) struct Options<'a> {
    nx: bool,
    xx: bool,
    get: bool,
    keep: bool,
    /// Only GETEX: PERSIST.
    pub(super) persist: bool,
    /// When the key shall end.
    pub(super) expire: Option<(Unit, &'a [u8])>,
}

impl<'a> Options<'a> {
    /// Reads the options of SET or, if `getex`, those of GETEX. An option
    /// may be repeated; the last one counts.
    pub(super) fn parse(words: &[&'a [u8]], getex: bool) -> Result<Self, CommandError> {
        let mut o = Options::default();
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            if let Some(unit) = Unit::of(word) {
                let fits = o.expire.is_none_or(|(other, _)| other == unit);
                match words.next() {
                    Some(&n) if fits && !o.keep && !o.persist => o.expire = Some((unit, n)),
                    _ => return Err(CommandError::Syntax),
                }
            } else if !getex && args::is(word, "NX") && !o.xx {
                o.nx = true;
            } else if !getex && args::is(word, "XX") && !o.nx {
                o.xx = true;
            } else if !getex && args::is(word, "GET") {
                o.get = true;
            } else if !getex && args::is(word, "KEEPTTL") && o.expire.is_none() {
                o.keep = true;
            } else if getex && args::is(word, "PERSIST") && o.expire.is_none() {
                o.persist = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(o)
    }
}

/// When a key that is set shall end.
#[derive(Clone, Copy, PartialEq)]
enum Ttl {
    None,
    Keep,
    At(u64),
}

fn set(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (key, value) = (argv[1], argv[2]);
    if argv.len() == 3 {
        store(cx, key, value, Ttl::None);
        cx.reply.simple("OK");
        return Ok(());
    }
    let o = Options::parse(&argv[3..], false)?;
    let ttl = match o.expire {
        Some((unit, n)) => Ttl::At(deadline(cx, n, unit, "set")?),
        None if o.keep => Ttl::Keep,
        None => Ttl::None,
    };
    let there = if o.get {
        reply_value(cx, key)?
    } else {
        (o.nx || o.xx) && cx.ks.exists(key)
    };
    if (o.nx && there) || (o.xx && !there) {
        if !o.get {
            cx.reply.null();
        }
        return Ok(());
    }
    store(cx, key, value, ttl);
    if !o.get {
        cx.reply.simple("OK");
    }
    Ok(())
}

fn setnx(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let there = cx.ks.exists(argv[1]);
    if !there {
        store(cx, argv[1], argv[2], Ttl::None);
    }
    cx.reply.int(i64::from(!there));
    Ok(())
}

fn setex(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let at = deadline(cx, argv[2], Unit::Ex, "setex")?;
    store(cx, argv[1], argv[3], Ttl::At(at));
    cx.reply.simple("OK");
    Ok(())
}

fn psetex(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let at = deadline(cx, argv[2], Unit::Px, "psetex")?;
    store(cx, argv[1], argv[3], Ttl::At(at));
    cx.reply.simple("OK");
    Ok(())
}

fn getset(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    reply_value(cx, argv[1])?;
    store(cx, argv[1], argv[2], Ttl::None);
    Ok(())
}

fn mset(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    store_pairs(cx, pairs(cx, argv)?);
    cx.reply.simple("OK");
    Ok(())
}

fn msetnx(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let pairs = pairs(cx, argv)?;
    let there = pairs.iter().step_by(2).any(|key| cx.ks.exists(key));
    if !there {
        store_pairs(cx, pairs);
    }
    cx.reply.int(i64::from(!there));
    Ok(())
}

fn pairs<'a>(cx: &Cx<'_>, argv: &'a [&'a [u8]]) -> Result<&'a [&'a [u8]], CommandError> {
    match &argv[1..] {
        pairs if pairs.len() % 2 == 0 => Ok(pairs),
        _ => Err(CommandError::Arity(cx.spec.name)),
    }
}

fn store_pairs(cx: &mut Cx<'_>, pairs: &[&[u8]]) {
    for pair in pairs.chunks_exact(2) {
        cx.ks.put_string(pair[0], pair[1], None);
        cx.ks.changed(EventClass::String, "set", pair[0]);
    }
    cx.ks.effect(b"MSET", pairs);
}

/// Replies with the string under `key`, or null, and tells whether it is there.
pub(super) fn reply_value(cx: &mut Cx<'_>, key: &[u8]) -> Result<bool, CommandError> {
    Ok(match cx.ks.read(key, Kind::String)? {
        Some(entry) => {
            cx.reply.bulk(string::bytes(entry));
            true
        }
        None => {
            cx.reply.null();
            false
        }
    })
}

/// Sets `key`, logs it and tells watchers. A time that has passed is stored
/// all the same, as Redis does: the key ends at the next look at it.
fn store(cx: &mut Cx<'_>, key: &[u8], value: &[u8], ttl: Ttl) {
    let expiry = match ttl {
        Ttl::None => None,
        Ttl::At(ms) => Some(ms),
        Ttl::Keep => cx.ks.get(key).and_then(Entry::expiry),
    };
    cx.ks.put_string(key, value, expiry);
    match (ttl, expiry) {
        (Ttl::At(ms), _) => {
            let mut digits = [0; 24];
            let at = number::format_i64(ms as i64, &mut digits);
            cx.ks.effect(b"SET", &[key, value, b"PXAT", at]);
        }
        (Ttl::Keep, Some(_)) => cx.ks.effect(b"SET", &[key, value, b"KEEPTTL"]),
        _ => cx.ks.effect(b"SET", &[key, value]),
    }
    cx.ks.changed(EventClass::String, "set", key);
    if matches!(ttl, Ttl::At(_)) {
        cx.ks.changed(EventClass::Generic, "expire", key);
    }
}
