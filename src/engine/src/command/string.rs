//! Strings.

use super::spec::{RF, WM};
use super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::data::entry::Entry;
use crate::data::string;
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

/// The commands on strings.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "SET",
        arity: -3,
        flags: WM,
        keys: &[KeySpec::one(1, KeyAccess::Overwrite)],
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
            ("GET k", "\"y\""),
            ("SET k z NX XX", "-ERR syntax error"),
        ],
        run: set,
    },
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
];

fn get(cx: &mut Cx<'_>, args: &[&[u8]]) -> Result<(), CommandError> {
    match cx.ks.read(args[1], Kind::String)? {
        Some(entry) => cx.reply.bulk(string::bytes(entry)),
        None => cx.reply.null(),
    }
    Ok(())
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
    let (mut nx, mut xx, mut want_old, mut ttl) = (false, false, false, Ttl::None);
    let mut rest = argv[3..].iter();
    while let Some(&word) = rest.next() {
        let unit = ["EX", "PX", "EXAT", "PXAT"]
            .into_iter()
            .find(|u| args::is(word, u));
        if args::is(word, "NX") && !xx {
            nx = true;
        } else if args::is(word, "XX") && !nx {
            xx = true;
        } else if args::is(word, "GET") {
            want_old = true;
        } else if args::is(word, "KEEPTTL") && ttl == Ttl::None {
            ttl = Ttl::Keep;
        } else if let (Some(unit), Ttl::None, Some(&n)) = (unit, ttl, rest.next()) {
            ttl = Ttl::At(super::key::deadline(cx, n, unit, "set")?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let there = if want_old {
        match cx.ks.read(key, Kind::String)? {
            Some(old) => {
                cx.reply.bulk(string::bytes(old));
                true
            }
            None => {
                cx.reply.null();
                false
            }
        }
    } else {
        (nx || xx) && cx.ks.exists(key)
    };
    if (nx && there) || (xx && !there) {
        if !want_old {
            cx.reply.null();
        }
        return Ok(());
    }
    store(cx, key, value, ttl);
    if !want_old {
        cx.reply.simple("OK");
    }
    Ok(())
}

/// Sets `key`, logs it and tells watchers.
fn store(cx: &mut Cx<'_>, key: &[u8], value: &[u8], ttl: Ttl) {
    let expiry = match ttl {
        Ttl::None => None,
        Ttl::At(ms) => Some(ms),
        Ttl::Keep => cx.ks.get(key).and_then(Entry::expiry),
    };
    if let Some(ms) = expiry
        && ms <= cx.ks.now()
        && !cx.ks.is_replay()
    {
        // Redis stores a key that has ended already and lets it expire; to
        // the client and to the log that is a DEL.
        if cx.ks.delete(key) {
            cx.ks.effect(b"DEL", &[key]);
        }
        cx.ks.changed(EventClass::Generic, "del", key);
        return;
    }
    cx.ks.put_string(key, value, expiry);
    match expiry {
        None => cx.ks.effect(b"SET", &[key, value]),
        Some(ms) => {
            let mut digits = [0; 24];
            let at = crate::base::number::format_i64(ms as i64, &mut digits);
            cx.ks.effect(b"SET", &[key, value, b"PXAT", at]);
        }
    }
    cx.ks.changed(EventClass::String, "set", key);
    if expiry.is_some() && ttl != Ttl::Keep {
        cx.ks.changed(EventClass::Generic, "expire", key);
    }
}
