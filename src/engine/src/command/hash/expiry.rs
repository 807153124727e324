//! When fields end: HEXPIRE, HTTL, HPERSIST and their relatives, as in Redis
//! 7.4 and later.

use super::super::key::expire::Unit;
use super::super::spec::{RF, WF};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::base::number;
use crate::data::hash;
use crate::data::hash::expiry::{self, LATEST};
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

const SET: &[KeySpec] = &[KeySpec::one(1, KeyAccess::Update)];
const LOOK: &[KeySpec] = &[KeySpec::one(1, KeyAccess::Read)];
const PER_FIELD: &str = "O(N) where N is the number of specified fields.";

/// The commands on the expiry of fields.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "HEXPIRE",
        arity: -6,
        flags: WF,
        keys: SET,
        group: Group::Hash,
        since: "7.4.0",
        complexity: PER_FIELD,
        summary: "Sets the expiration time of fields of a hash in seconds.",
        syntax: "key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        examples: &[
            ("HSET h a 1 b 2", "2"),
            ("HEXPIRE h 10 FIELDS 2 a none", "[1 -2]"),
            ("HEXPIRE h 20 NX FIELDS 2 a b", "[0 1]"),
            ("HEXPIRE h 30 GT FIELDS 2 a b", "[1 1]"),
            ("HTTL h FIELDS 2 a b", "[30 30]"),
            ("HEXPIRE h 0 FIELDS 1 a", "[2]"),
            ("HGETALL h", r#"{"b" "2"}"#),
            ("HSET h b 3", "0"),
            ("HTTL h FIELDS 1 b", "[-1]"),
            ("HEXPIRE none 10 FIELDS 1 a", "[-2]"),
            (
                "HEXPIRE h -1 FIELDS 1 a",
                "-ERR invalid expire time, must be >= 0",
            ),
            (
                "HEXPIRE h 10 FIELDS 2 a",
                "-ERR The `numfields` parameter must match the number of arguments",
            ),
            (
                "HEXPIRE h 10 NX GT FIELDS 1 a",
                "-ERR Mandatory argument FIELDS is missing or not at the right position",
            ),
        ],
        run: |cx, argv| hexpire(cx, argv, Unit::Ex, "hexpire"),
    },
    Spec {
        name: "HPEXPIRE",
        arity: -6,
        flags: WF,
        keys: SET,
        group: Group::Hash,
        since: "7.4.0",
        complexity: PER_FIELD,
        summary: "Sets the expiration time of fields of a hash in milliseconds.",
        syntax: "key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        examples: &[
            ("HSET h a 1", "1"),
            ("HPEXPIRE h 1500 FIELDS 1 a", "[1]"),
            ("HPTTL h FIELDS 1 a", "[1500]"),
            ("HTTL h FIELDS 1 a", "[2]"),
        ],
        run: |cx, argv| hexpire(cx, argv, Unit::Px, "hpexpire"),
    },
    Spec {
        name: "HEXPIREAT",
        arity: -6,
        flags: WF,
        keys: SET,
        group: Group::Hash,
        since: "7.4.0",
        complexity: PER_FIELD,
        summary: "Sets the expiration time of fields of a hash to a Unix timestamp in seconds.",
        syntax: "key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        examples: &[
            ("HSET h a 1", "1"),
            ("HEXPIREAT h 2000000000 FIELDS 1 a", "[1]"),
            ("HEXPIRETIME h FIELDS 1 a", "[2000000000]"),
            ("HEXPIREAT h 1 FIELDS 1 a", "[2]"),
            ("EXISTS h", "0"),
        ],
        run: |cx, argv| hexpire(cx, argv, Unit::ExAt, "hexpireat"),
    },
    Spec {
        name: "HPEXPIREAT",
        arity: -6,
        flags: WF,
        keys: SET,
        group: Group::Hash,
        since: "7.4.0",
        complexity: PER_FIELD,
        summary: "Sets the expiration time of fields of a hash to a Unix timestamp in milliseconds.",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        examples: &[
            ("HSET h a 1", "1"),
            ("HPEXPIREAT h 2000000000123 FIELDS 1 a", "[1]"),
            ("HPEXPIRETIME h FIELDS 1 a", "[2000000000123]"),
            (
                "HPEXPIREAT h 70368744177664 FIELDS 1 a",
                "-ERR invalid expire time in 'hpexpireat' command",
            ),
        ],
        run: |cx, argv| hexpire(cx, argv, Unit::PxAt, "hpexpireat"),
    },
    Spec {
        name: "HTTL",
        arity: -5,
        flags: RF,
        keys: LOOK,
        group: Group::Hash,
        since: "7.4.0",
        complexity: PER_FIELD,
        summary: "Returns the expiration time in seconds of fields of a hash.",
        syntax: "key FIELDS numfields field [field ...]",
        examples: &[
            ("HSET h a 1 b 2", "2"),
            ("HEXPIRE h 10 FIELDS 1 a", "[1]"),
            ("HTTL h FIELDS 3 a b none", "[10 -1 -2]"),
            (
                "HTTL h FIELDS 0 a",
                "-ERR Number of fields must be a positive integer",
            ),
        ],
        run: |cx, argv| httl(cx, argv, Unit::Ex),
    },
    Spec {
        name: "HPTTL",
        arity: -5,
        flags: RF,
        keys: LOOK,
        group: Group::Hash,
        since: "7.4.0",
        complexity: PER_FIELD,
        summary: "Returns the expiration time in milliseconds of fields of a hash.",
        syntax: "key FIELDS numfields field [field ...]",
        examples: &[("HPTTL none FIELDS 1 a", "[-2]")],
        run: |cx, argv| httl(cx, argv, Unit::Px),
    },
    Spec {
        name: "HEXPIRETIME",
        arity: -5,
        flags: RF,
        keys: LOOK,
        group: Group::Hash,
        since: "7.4.0",
        complexity: PER_FIELD,
        summary: "Returns the expiration time of fields of a hash as Unix timestamps in seconds.",
        syntax: "key FIELDS numfields field [field ...]",
        examples: &[
            ("HSET h a 1", "1"),
            ("HPEXPIREAT h 2000000000001 FIELDS 1 a", "[1]"),
            ("HEXPIRETIME h FIELDS 1 a", "[2000000001]"),
        ],
        run: |cx, argv| httl(cx, argv, Unit::ExAt),
    },
    Spec {
        name: "HPEXPIRETIME",
        arity: -5,
        flags: RF,
        keys: LOOK,
        group: Group::Hash,
        since: "7.4.0",
        complexity: PER_FIELD,
        summary: "Returns the expiration time of fields of a hash as Unix timestamps in milliseconds.",
        syntax: "key FIELDS numfields field [field ...]",
        examples: &[("HPEXPIRETIME none FIELDS 2 a b", "[-2 -2]")],
        run: |cx, argv| httl(cx, argv, Unit::PxAt),
    },
    Spec {
        name: "HPERSIST",
        arity: -5,
        flags: WF,
        keys: SET,
        group: Group::Hash,
        since: "7.4.0",
        complexity: PER_FIELD,
        summary: "Removes the expiration time of fields of a hash.",
        syntax: "key FIELDS numfields field [field ...]",
        examples: &[
            ("HSET h a 1 b 2", "2"),
            ("HEXPIRE h 10 FIELDS 1 a", "[1]"),
            ("HPERSIST h FIELDS 3 a b none", "[1 -1 -2]"),
            ("HTTL h FIELDS 1 a", "[-1]"),
        ],
        run: hpersist,
    },
];

/// The time (unix ms) that `n` means.
///
/// # Errors
/// Negative, or later than there may be.
pub(super) fn deadline(
    cx: &mut Cx<'_>,
    n: &[u8],
    unit: Unit,
    name: &'static str,
) -> Result<u64, CommandError> {
    let n = u64::try_from(args::int(n)?)
        .map_err(|_| CommandError::text("ERR invalid expire time, must be >= 0"))?;
    let factor = if unit.is_seconds() { 1000 } else { 1 };
    let base = if unit.is_absolute() { 0 } else { cx.ks.now() };
    n.checked_mul(factor)
        .and_then(|ms| ms.checked_add(base))
        .filter(|at| *at <= LATEST)
        .ok_or(CommandError::InvalidExpire(name))
}

/// The fields behind the word FIELDS, which stands at `at`, and their number.
///
/// # Errors
/// Another word, or another number.
pub(super) fn fields<'a>(
    argv: &'a [&'a [u8]],
    at: usize,
    bad_number: &'static str,
) -> Result<&'a [&'a [u8]], CommandError> {
    if !argv.get(at).is_some_and(|word| args::is(word, "FIELDS")) {
        return Err(CommandError::text(
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ));
    }
    const NO_MATCH: CommandError =
        CommandError::text("ERR The `numfields` parameter must match the number of arguments");
    let [n, fields @ ..] = &argv[at + 1..] else {
        return Err(NO_MATCH);
    };
    match number::parse_i64(n).filter(|n| *n > 0) {
        None => Err(CommandError::text(bad_number)),
        Some(n) if usize::try_from(n) != Ok(fields.len()) => Err(NO_MATCH),
        Some(_) => Ok(fields),
    }
}

/// What most commands say of a number of fields that isn't positive.
pub(super) const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// Logs a command about some fields: `name key [time] FIELDS n field ...`.
fn log_fields(cx: &mut Cx<'_>, name: &[u8], key: &[u8], at: Option<u64>, fields: &[&[u8]]) {
    let (time, count) = (at.map(|at| at.to_string()), fields.len().to_string());
    let mut words = vec![key];
    words.extend(time.as_ref().map(|time| time.as_bytes()));
    words.extend([b"FIELDS", count.as_bytes()]);
    words.extend(fields);
    cx.ks.effect(name, &words);
}

/// Tells that fields of `key` end at `at`.
pub(super) fn ending(cx: &mut Cx<'_>, key: &[u8], at: u64, fields: &[&[u8]]) {
    if !fields.is_empty() {
        cx.ks.arm(key, at);
        log_fields(cx, b"HPEXPIREAT", key, Some(at), fields);
        cx.ks.changed(EventClass::Hash, "hexpire", key);
    }
}

/// Tells that fields of `key` don't end any more.
pub(super) fn persisted(cx: &mut Cx<'_>, key: &[u8], fields: &[&[u8]]) {
    if !fields.is_empty() {
        log_fields(cx, b"HPERSIST", key, None, fields);
        cx.ks.changed(EventClass::Hash, "hpersist", key);
    }
}

/// Tells that fields of `key` are gone, and removes it if it is empty.
pub(super) fn deleted(cx: &mut Cx<'_>, key: &[u8], fields: &[&[u8]]) {
    if fields.is_empty() {
        return;
    }
    let words: Vec<&[u8]> = std::iter::once(key).chain(fields.iter().copied()).collect();
    cx.ks.effect(b"HDEL", &words);
    cx.ks.changed(EventClass::Hash, "hdel", key);
    let empty = cx
        .ks
        .get(key)
        .is_some_and(|entry| hash::len(entry.payload()) == 0);
    cx.ks.delete_if_empty(key, empty);
}

/// Whether a time has come; in replay none has, since the clock has no say.
pub(super) fn is_past(cx: &mut Cx<'_>, at: u64) -> bool {
    !cx.ks.is_replay() && at <= cx.ks.now()
}

#[derive(Debug, Clone, Copy)]
enum Condition {
    Always,
    Nx,
    Xx,
    Gt,
    Lt,
}

impl Condition {
    fn of(word: &[u8]) -> Condition {
        let all = [
            ("NX", Condition::Nx),
            ("XX", Condition::Xx),
            ("GT", Condition::Gt),
            ("LT", Condition::Lt),
        ];
        all.into_iter()
            .find_map(|(name, condition)| args::is(word, name).then_some(condition))
            .unwrap_or(Condition::Always)
    }

    /// Whether a field that ends at `old` may end at `new` instead. None at
    /// all is later than any.
    fn allows(self, old: Option<u64>, new: u64) -> bool {
        match self {
            Condition::Always => true,
            Condition::Nx => old.is_none(),
            Condition::Xx => old.is_some(),
            Condition::Gt => old.is_some_and(|old| new > old),
            Condition::Lt => old.is_none_or(|old| new < old),
        }
    }
}

fn hexpire(
    cx: &mut Cx<'_>,
    argv: &[&[u8]],
    unit: Unit,
    name: &'static str,
) -> Result<(), CommandError> {
    let key = argv[1];
    cx.ks.in_parts = true;
    cx.ks.read(key, Kind::Hash)?;
    let at = deadline(cx, argv[2], unit, name)?;
    let condition = Condition::of(argv[3]);
    let place = match condition {
        Condition::Always => 3,
        _ => 4,
    };
    let fields = fields(
        argv,
        place,
        "ERR Parameter `numFields` should be greater than 0",
    )?;
    cx.ks.end_fields(key, fields.iter().copied());
    let past = is_past(cx, at);
    let (mut replies, mut done) = (vec![-2; fields.len()], Vec::new());
    if let Some(entry) = cx.ks.write(key, Kind::Hash)? {
        for (reply, &field) in replies.iter_mut().zip(fields) {
            *reply = match expiry::of(entry.payload(), field) {
                None => continue,
                Some(old) if !condition.allows(old, at) => 0,
                Some(_) if past => {
                    hash::remove(entry, field);
                    2
                }
                Some(_) => {
                    expiry::set(entry, field, Some(at.max(1)));
                    1
                }
            };
            if *reply > 0 {
                done.push(field);
            }
        }
    }
    if past {
        deleted(cx, key, &done);
    } else {
        ending(cx, key, at.max(1), &done);
    }
    reply_ints(cx, &replies);
    Ok(())
}

fn reply_ints(cx: &mut Cx<'_>, replies: &[i64]) {
    cx.reply.array(replies.len());
    replies.iter().for_each(|n| cx.reply.int(*n));
}

fn httl(cx: &mut Cx<'_>, argv: &[&[u8]], unit: Unit) -> Result<(), CommandError> {
    cx.ks.in_parts = true;
    cx.ks.read(argv[1], Kind::Hash)?;
    let fields = fields(argv, 2, NOT_POSITIVE)?;
    cx.ks.end_fields(argv[1], fields.iter().copied());
    let base = if unit.is_absolute() { 0 } else { cx.ks.now() };
    let found = cx.ks.read(argv[1], Kind::Hash)?;
    let replies: Vec<i64> = fields
        .iter()
        .map(
            |field| match found.and_then(|entry| expiry::of(entry.payload(), field)) {
                None => -2,
                Some(None) => -1,
                Some(Some(at)) if unit.is_seconds() => {
                    at.saturating_sub(base).div_ceil(1000) as i64
                }
                Some(Some(at)) => at.saturating_sub(base) as i64,
            },
        )
        .collect();
    reply_ints(cx, &replies);
    Ok(())
}

fn hpersist(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    cx.ks.in_parts = true;
    cx.ks.read(key, Kind::Hash)?;
    let fields = fields(argv, 2, NOT_POSITIVE)?;
    cx.ks.end_fields(key, fields.iter().copied());
    let (mut replies, mut done) = (vec![-2; fields.len()], Vec::new());
    if let Some(entry) = cx.ks.write(key, Kind::Hash)? {
        for (reply, &field) in replies.iter_mut().zip(fields) {
            *reply = match expiry::of(entry.payload(), field) {
                None => -2,
                Some(None) => -1,
                Some(Some(_)) => {
                    expiry::set(entry, field, None);
                    done.push(field);
                    1
                }
            };
        }
    }
    persisted(cx, key, &done);
    reply_ints(cx, &replies);
    Ok(())
}
