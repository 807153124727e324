//! Reading whole strings, and what is done on the way: GET, MGET, GETDEL, GETEX.

use super::super::key::expire::{deadline, expire_at, remove_expiry};
use super::super::spec::{RF, WF};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec};
use super::set::{Options, reply_value};
use crate::data::string;
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

/// The commands that return strings.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "GET",
        arity: 2,
        flags: RF,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the string value of a key.",
        syntax: "key",
        examples: &[("GET k", "nil"), ("SET k v", "OK"), ("GET k", "\"v\"")],
        run: get,
    },
    Spec {
        name: "MGET",
        arity: -2,
        flags: RF,
        keys: &[KeySpec::rest(1, 1, KeyAccess::Read)],
        group: Group::String,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys to retrieve.",
        summary: "Returns the string values of one or more keys.",
        syntax: "key [key ...]",
        examples: &[("SET k v", "OK"), ("MGET k none k", "[\"v\" nil \"v\"]")],
        run: mget,
    },
    Spec {
        name: "GETDEL",
        arity: 2,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Pop)],
        group: Group::String,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns the string value of a key after deleting the key.",
        syntax: "key",
        examples: &[
            ("SET k v", "OK"),
            ("GETDEL k", "\"v\""),
            ("GETDEL k", "nil"),
        ],
        run: getdel,
    },
    Spec {
        name: "GETEX",
        arity: -2,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Modify)],
        group: Group::String,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns the string value of a key after setting its expiration time.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        examples: &[
            ("GETEX k EX 0", "nil"),
            ("SET k v", "OK"),
            ("GETEX k", "\"v\""),
            ("GETEX k EX 10", "\"v\""),
            ("TTL k", "10"),
            ("GETEX k PERSIST", "\"v\""),
            ("TTL k", "-1"),
            (
                "GETEX k EX 0",
                "-ERR invalid expire time in 'getex' command",
            ),
            ("GETEX k NX", "-ERR syntax error"),
            ("GETEX k PERSIST EX 10", "-ERR syntax error"),
            ("GETEX k PXAT 1", "\"v\""),
            ("EXISTS k", "0"),
        ],
        run: getex,
    },
];

fn get(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    reply_value(cx, argv[1])?;
    Ok(())
}

fn mget(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    cx.reply.array(argv.len() - 1);
    for key in &argv[1..] {
        match cx.ks.read(key, Kind::String) {
            Ok(Some(entry)) => cx.reply.bulk(string::bytes(entry)),
            _ => cx.reply.null(),
        }
    }
    Ok(())
}

fn getdel(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    if reply_value(cx, key)? && cx.ks.delete(key) {
        cx.ks.effect(b"DEL", &[key]);
        cx.ks.changed(EventClass::Generic, "del", key);
    }
    Ok(())
}

fn getex(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    let o = Options::parse(&argv[2..], true)?;
    // Redis looks at the time only once it has found a string.
    let at = o.expire.map(|(unit, n)| deadline(cx, n, unit, "getex"));
    let Some(entry) = cx.ks.read(key, Kind::String)? else {
        cx.reply.null();
        return Ok(());
    };
    let at = at.transpose()?;
    cx.reply.bulk(string::bytes(entry));
    let had_expiry = entry.expiry().is_some();
    if let Some(at) = at {
        expire_at(cx, key, at as i64);
    } else if o.persist && had_expiry {
        remove_expiry(cx, key);
    }
    Ok(())
}
