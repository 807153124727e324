//! When keys end: EXPIRE, TTL, PERSIST and their relatives.

use super::super::spec::{RF, WF};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::base::number;
use crate::data::entry::Entry;
use crate::keyspace::keys::EventClass;

/// The commands on expiry.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "EXPIRE",
        arity: -3,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key in seconds.",
        syntax: "key seconds [NX | XX | GT | LT]",
        examples: &[
            ("EXPIRE k 10", "0"),
            ("SET k v", "OK"),
            ("EXPIRE k 10 XX", "0"),
            ("EXPIRE k 10 GT", "0"),
            ("EXPIRE k 10 LT", "1"),
            ("EXPIRE k 9 NX", "0"),
            ("EXPIRE k 9 GT", "0"),
            ("EXPIRE k 10 LT", "0"),
            ("EXPIRE k 20 XX GT", "1"),
            ("TTL k", "20"),
            ("EXPIRE k 20 FOO", "-ERR Unsupported option FOO"),
            (
                "EXPIRE k 20 NX GT",
                "-ERR NX and XX, GT or LT options at the same time are not compatible",
            ),
            (
                "EXPIRE k 20 GT LT",
                "-ERR GT and LT options at the same time are not compatible",
            ),
            ("EXPIRE k a", "-ERR value is not an integer or out of range"),
            (
                "EXPIRE k 9223372036854775",
                "-ERR invalid expire time in 'expire' command",
            ),
            ("EXPIRE k -1", "1"),
            ("EXISTS k", "0"),
        ],
        run: |cx, argv| expire(cx, argv, Unit::Ex, "expire"),
    },
    Spec {
        name: "PEXPIRE",
        arity: -3,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key in milliseconds.",
        syntax: "key milliseconds [NX | XX | GT | LT]",
        examples: &[
            ("SET k v", "OK"),
            ("PEXPIRE k 1500", "1"),
            ("PTTL k", "1500"),
            (
                "PEXPIRE k 9223372036854775807",
                "-ERR invalid expire time in 'pexpire' command",
            ),
        ],
        run: |cx, argv| expire(cx, argv, Unit::Px, "pexpire"),
    },
    Spec {
        name: "EXPIREAT",
        arity: -3,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Group::Generic,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key to a Unix timestamp in seconds.",
        syntax: "key unix-time-seconds [NX | XX | GT | LT]",
        examples: &[
            ("SET k v", "OK"),
            ("EXPIREAT k 2000000000", "1"),
            ("EXPIRETIME k", "2000000000"),
            ("EXPIREAT k 1", "1"),
            ("EXISTS k", "0"),
        ],
        run: |cx, argv| expire(cx, argv, Unit::ExAt, "expireat"),
    },
    Spec {
        name: "PEXPIREAT",
        arity: -3,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Sets the expiration time of a key to a Unix timestamp in milliseconds.",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
        examples: &[
            ("SET k v", "OK"),
            ("PEXPIREAT k 2000000000123", "1"),
            ("PEXPIRETIME k", "2000000000123"),
        ],
        run: |cx, argv| expire(cx, argv, Unit::PxAt, "pexpireat"),
    },
    Spec {
        name: "TTL",
        arity: 2,
        flags: RF,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the expiration time in seconds of a key.",
        syntax: "key",
        examples: &[
            ("TTL k", "-2"),
            ("SET k v", "OK"),
            ("TTL k", "-1"),
            ("PEXPIRE k 1499", "1"),
            ("TTL k", "1"),
            ("PEXPIRE k 1500", "1"),
            ("TTL k", "2"),
        ],
        run: |cx, argv| ttl(cx, argv, Unit::Ex),
    },
    Spec {
        name: "PTTL",
        arity: 2,
        flags: RF,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Returns the expiration time in milliseconds of a key.",
        syntax: "key",
        examples: &[
            ("PTTL k", "-2"),
            ("SET k v PX 1234", "OK"),
            ("PTTL k", "1234"),
        ],
        run: |cx, argv| ttl(cx, argv, Unit::Px),
    },
    Spec {
        name: "EXPIRETIME",
        arity: 2,
        flags: RF,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Returns the expiration time of a key as a Unix timestamp in seconds.",
        syntax: "key",
        examples: &[
            ("EXPIRETIME k", "-2"),
            ("SET k v", "OK"),
            ("EXPIRETIME k", "-1"),
            ("PEXPIREAT k 2000000000499", "1"),
            ("EXPIRETIME k", "2000000000"),
        ],
        run: |cx, argv| ttl(cx, argv, Unit::ExAt),
    },
    Spec {
        name: "PEXPIRETIME",
        arity: 2,
        flags: RF,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(1)",
        summary: "Returns the expiration time of a key as a Unix timestamp in milliseconds.",
        syntax: "key",
        examples: &[
            ("SET k v PXAT 2000000000123", "OK"),
            ("PEXPIRETIME k", "2000000000123"),
        ],
        run: |cx, argv| ttl(cx, argv, Unit::PxAt),
    },
    Spec {
        name: "PERSIST",
        arity: 2,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Group::Generic,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Removes the expiration time of a key.",
        syntax: "key",
        examples: &[
            ("PERSIST k", "0"),
            ("SET k v EX 10", "OK"),
            ("PERSIST k", "1"),
            ("PERSIST k", "0"),
            ("TTL k", "-1"),
        ],
        run: persist,
    },
];

/// How a time is given, named as SET's options are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds from now.
    Ex,
    /// Milliseconds from now.
    Px,
    /// Unix time in seconds.
    ExAt,
    /// Unix time in milliseconds.
    PxAt,
}

impl Unit {
    /// The unit that the option `word` stands for.
    pub fn of(word: &[u8]) -> Option<Unit> {
        let all = [
            ("EX", Unit::Ex),
            ("PX", Unit::Px),
            ("EXAT", Unit::ExAt),
            ("PXAT", Unit::PxAt),
        ];
        all.into_iter()
            .find_map(|(name, unit)| args::is(word, name).then_some(unit))
    }

    /// Whether it counts seconds.
    pub fn is_seconds(self) -> bool {
        matches!(self, Unit::Ex | Unit::ExAt)
    }

    /// Whether it counts from 1970.
    pub fn is_absolute(self) -> bool {
        matches!(self, Unit::ExAt | Unit::PxAt)
    }

    /// The unix time in ms that `n` means, if it can be expressed.
    fn at(self, cx: &mut Cx<'_>, n: i64) -> Option<i64> {
        let ms = if self.is_seconds() {
            n.checked_mul(1000)?
        } else {
            n
        };
        if self.is_absolute() {
            return Some(ms);
        }
        ms.checked_add(cx.ks.now() as i64)
    }
}

/// The unix time in ms that the argument `n` means to SET and its relatives,
/// for the command whose lower-case name is `name`.
///
/// # Errors
/// Not an integer; not positive or not expressible in ms.
pub fn deadline(
    cx: &mut Cx<'_>,
    n: &[u8],
    unit: Unit,
    name: &'static str,
) -> Result<u64, CommandError> {
    let n = args::int(n)?;
    if n <= 0 {
        return Err(CommandError::InvalidExpire(name));
    }
    unit.at(cx, n)
        .map(i64::unsigned_abs)
        .ok_or(CommandError::InvalidExpire(name))
}

/// Lets `key`, which is there, end at `at` (unix ms): at once if that has
/// passed, but in replay, where the clock has no say.
pub fn expire_at(cx: &mut Cx<'_>, key: &[u8], at: i64) {
    if !cx.ks.is_replay() && at <= cx.ks.now() as i64 {
        cx.ks.delete(key);
        cx.ks.effect(b"DEL", &[key]);
        cx.ks.changed(EventClass::Generic, "del", key);
        return;
    }
    let at = at.max(1);
    cx.ks.set_expiry(key, Some(at.unsigned_abs()));
    let mut digits = [0; 24];
    let text = number::format_i64(at, &mut digits);
    cx.ks.effect(b"PEXPIREAT", &[key, text]);
    cx.ks.changed(EventClass::Generic, "expire", key);
}

fn expire(
    cx: &mut Cx<'_>,
    argv: &[&[u8]],
    unit: Unit,
    name: &'static str,
) -> Result<(), CommandError> {
    let key = argv[1];
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for &word in &argv[3..] {
        let option = [
            ("NX", &mut nx),
            ("XX", &mut xx),
            ("GT", &mut gt),
            ("LT", &mut lt),
        ]
        .into_iter()
        .find(|(name, _)| args::is(word, name));
        match option {
            Some((_, on)) => *on = true,
            None => {
                let word = String::from_utf8_lossy(word);
                return Err(CommandError::Text(
                    format!("ERR Unsupported option {word}").into(),
                ));
            }
        }
    }
    if nx && (xx || gt || lt) {
        return Err(CommandError::text(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if gt && lt {
        return Err(CommandError::text(
            "ERR GT and LT options at the same time are not compatible",
        ));
    }
    cx.ks.in_parts = true;
    let n = args::int(argv[2])?;
    let at = unit.at(cx, n).ok_or(CommandError::InvalidExpire(name))?;
    let refused = match cx.ks.get(key).map(Entry::expiry) {
        None => true,
        // No expiry is later than any.
        Some(None) => xx || gt,
        Some(Some(old)) => {
            let old = old as i64;
            nx || (gt && at <= old) || (lt && at >= old)
        }
    };
    if !refused {
        expire_at(cx, key, at);
    }
    cx.reply.int(i64::from(!refused));
    Ok(())
}

fn ttl(cx: &mut Cx<'_>, argv: &[&[u8]], unit: Unit) -> Result<(), CommandError> {
    cx.ks.in_parts = true;
    let at = match cx.ks.get(argv[1]).map(Entry::expiry) {
        None => return reply(cx, -2),
        Some(None) => return reply(cx, -1),
        Some(Some(at)) => at,
    };
    let ms = if unit.is_absolute() {
        at
    } else {
        at.saturating_sub(cx.ks.now())
    };
    let n = if unit.is_seconds() {
        ms.saturating_add(500) / 1000
    } else {
        ms
    };
    reply(cx, n as i64)
}

fn reply(cx: &mut Cx<'_>, n: i64) -> Result<(), CommandError> {
    cx.reply.int(n);
    Ok(())
}

fn persist(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    cx.ks.in_parts = true;
    let had_expiry = cx.ks.get(key).and_then(Entry::expiry).is_some();
    if had_expiry {
        remove_expiry(cx, key);
    }
    reply(cx, i64::from(had_expiry))
}

/// Takes the expiry from `key`, which has one.
pub fn remove_expiry(cx: &mut Cx<'_>, key: &[u8]) {
    cx.ks.set_expiry(key, None);
    cx.ks.effect(b"PERSIST", &[key]);
    cx.ks.changed(EventClass::Generic, "persist", key);
}
