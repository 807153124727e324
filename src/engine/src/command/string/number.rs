//! Strings as numbers: INCR and its relatives.

use super::super::spec::WMF;
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::base::long_double::LongDouble;
use crate::base::number;
use crate::data::string;
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

/// The commands that count.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "INCR",
        arity: 2,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Modify)],
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key",
        examples: &[
            ("INCR k", "1"),
            ("SET k 9", "OK"),
            ("INCR k", "10"),
            ("SET k 9223372036854775807", "OK"),
            ("INCR k", "-ERR increment or decrement would overflow"),
            ("SET k 01", "OK"),
            ("INCR k", "-ERR value is not an integer or out of range"),
        ],
        run: |cx, argv| add(cx, argv, 1),
    },
    Spec {
        name: "DECR",
        arity: 2,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Modify)],
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key",
        examples: &[("DECR k", "-1"), ("SET k 10", "OK"), ("DECR k", "9")],
        run: |cx, argv| add(cx, argv, -1),
    },
    Spec {
        name: "INCRBY",
        arity: 3,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Modify)],
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key increment",
        examples: &[
            ("INCRBY k 40", "40"),
            ("INCRBY k -1", "39"),
            (
                "INCRBY k 1.5",
                "-ERR value is not an integer or out of range",
            ),
            (
                "INCRBY k 9223372036854775807",
                "-ERR increment or decrement would overflow",
            ),
        ],
        run: |cx, argv| {
            let by = args::int(argv[2])?;
            add(cx, argv, by)
        },
    },
    Spec {
        name: "DECRBY",
        arity: 3,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Modify)],
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key decrement",
        examples: &[
            ("DECRBY k 40", "-40"),
            (
                "DECRBY k -9223372036854775808",
                "-ERR decrement would overflow",
            ),
        ],
        run: |cx, argv| {
            let by = args::int(argv[2])?
                .checked_neg()
                .ok_or(CommandError::text("ERR decrement would overflow"))?;
            add(cx, argv, by)
        },
    },
    Spec {
        name: "INCRBYFLOAT",
        arity: 3,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Modify)],
        group: Group::String,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Increments the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        syntax: "key increment:double",
        examples: &[
            ("SET k 10.50 EX 100", "OK"),
            ("INCRBYFLOAT k 0.1", "\"10.6\""),
            ("TTL k", "100"),
            ("INCRBYFLOAT new 5.0e3", "\"5000\""),
            ("INCRBYFLOAT new x", "-ERR value is not a valid float"),
            (
                "INCRBYFLOAT new inf",
                "-ERR increment would produce NaN or Infinity",
            ),
        ],
        run: incrbyfloat,
    },
];

fn add(cx: &mut Cx<'_>, argv: &[&[u8]], by: i64) -> Result<(), CommandError> {
    let key = argv[1];
    let max_small = cx.ks.limits.string_max_small;
    let mut text = [0; 24];
    let sum = match cx.ks.write(key, Kind::String)? {
        Some(entry) => {
            let sum = args::int(string::bytes(entry))?
                .checked_add(by)
                .ok_or(CommandError::Overflow)?;
            string::replace(entry, number::format_i64(sum, &mut text), max_small);
            sum
        }
        None => {
            cx.ks
                .put_string(key, number::format_i64(by, &mut text), None);
            by
        }
    };
    cx.log_verbatim(argv);
    cx.ks.changed(EventClass::String, "incrby", key);
    cx.reply.int(sum);
    Ok(())
}

fn incrbyfloat(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    let max_small = cx.ks.limits.string_max_small;
    let parse = |text: &[u8]| LongDouble::parse(text).ok_or(CommandError::NotFloat);
    let old = cx.ks.write(key, Kind::String)?;
    let start = match &old {
        Some(entry) => parse(string::bytes(entry))?,
        None => LongDouble::from(0),
    };
    let sum = start.add(parse(argv[2])?);
    if sum.is_nan() || sum.is_infinite() {
        return Err(CommandError::text(
            "ERR increment would produce NaN or Infinity",
        ));
    }
    let mut text = Vec::with_capacity(40);
    sum.format(&mut text);
    match old {
        Some(entry) => string::replace(entry, &text, max_small),
        None => cx.ks.put_string(key, &text, None),
    }
    cx.ks.effect(b"SET", &[key, &text, b"KEEPTTL"]);
    cx.ks.changed(EventClass::String, "incrbyfloat", key);
    cx.reply.bulk(&text);
    Ok(())
}
