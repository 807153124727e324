//! Pops that wait for a member.

use super::pop::{mpop_args, pop};
use crate::command::spec::{BLOCKING, Find, NOSCRIPT, W, WF};
use crate::command::wait::{self, Wait};
use crate::command::{CommandError, Cx, Flags, Group, KeyAccess, KeySpec, Spec};
use crate::data::value::Kind;
use crate::data::zset::View;

const POP: Flags = WF.or(BLOCKING).or(NOSCRIPT);
/// All keys but the last argument, which is the timeout.
const KEYS: &[KeySpec] = &[KeySpec {
    first: 1,
    find: Find::Range { last: -2, step: 1 },
    access: KeyAccess::Pop,
}];

/// The commands that wait.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "BZPOPMIN",
        arity: -3,
        flags: POP,
        keys: KEYS,
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Removes and returns the member with the lowest score from the first of several sorted sets that isn't empty. Blocks until a member is available otherwise. Deletes the sorted set if the last member was popped.",
        syntax: "key [key ...] timeout",
        examples: &[
            ("BZPOPMIN a 0", "nil"),
            ("ZADD b 1.5 x 2 y", "2"),
            ("BZPOPMIN a b 0", "[\"b\" \"x\" 1.5]"),
            (
                "BZPOPMIN a b x",
                "-ERR timeout is not a float or out of range",
            ),
            ("BZPOPMIN a b 0", "[\"b\" \"y\" 2]"),
            ("EXISTS b", "0"),
        ],
        run: |cx, argv| bzpop(cx, argv, false),
    },
    Spec {
        name: "BZPOPMAX",
        arity: -3,
        flags: POP,
        keys: KEYS,
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Removes and returns the member with the highest score from the first of several sorted sets that isn't empty. Blocks until a member is available otherwise. Deletes the sorted set if the last member was popped.",
        syntax: "key [key ...] timeout",
        examples: &[
            ("ZADD b 1.5 x 2 y", "2"),
            ("BZPOPMAX a b 0", "[\"b\" \"y\" 2]"),
            ("SET s v", "OK"),
            (
                "BZPOPMAX s b 0",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ],
        run: |cx, argv| bzpop(cx, argv, true),
    },
    Spec {
        name: "BZMPOP",
        arity: -5,
        flags: W.or(BLOCKING),
        keys: &[KeySpec::counted(2, KeyAccess::Pop)],
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Removes and returns members from the first of several sorted sets that isn't empty. Blocks until a member is available otherwise. Deletes the sorted set if the last member was popped.",
        syntax: "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
        examples: &[
            ("BZMPOP 0 1 a MIN", "nil"),
            ("ZADD b 1 x 2 y 3 z", "3"),
            (
                "BZMPOP 0 2 a b MAX COUNT 2",
                "[\"b\" [[\"z\" 3] [\"y\" 2]]]",
            ),
            ("BZMPOP x 0 a MIN", "-ERR numkeys should be greater than 0"),
            (
                "BZMPOP x 1 a MIN",
                "-ERR timeout is not a float or out of range",
            ),
        ],
        run: bzmpop,
    },
];

fn wish(keys: &[&[u8]], timeout_ms: Option<u64>) -> Wait {
    Wait {
        kind: Kind::Zset,
        keys: keys.iter().map(|&key| key.into()).collect(),
        timeout_ms,
        then: None,
        unless_gone: false,
    }
}

/// How many members `key` has; 0 also when it isn't to be looked at.
fn members(cx: &mut Cx<'_>, key: &[u8]) -> Result<usize, CommandError> {
    if !cx.looks_at(key) {
        return Ok(0);
    }
    let entry = cx.ks.write(key, Kind::Zset)?;
    Ok(entry.map_or(0, |entry| View::of(entry).len()))
}

fn bzpop(cx: &mut Cx<'_>, argv: &[&[u8]], max: bool) -> Result<(), CommandError> {
    let [_, keys @ .., timeout] = argv else {
        return Err(CommandError::Arity(cx.spec.name));
    };
    let timeout_ms = wait::timeout(timeout)?;
    for key in keys {
        if members(cx, key)? > 0 {
            cx.reply.array(3);
            cx.reply.bulk(key);
            pop(cx, key, max, 1, false);
            return Ok(());
        }
    }
    if !cx.wait(wish(keys, timeout_ms)) {
        cx.reply.null_array();
    }
    Ok(())
}

fn bzmpop(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (keys, max, count) = mpop_args(&argv[2..])?;
    let timeout_ms = wait::timeout(argv[1])?;
    for key in keys {
        let popped = count.min(members(cx, key)?);
        if popped > 0 {
            cx.reply.array(2);
            cx.reply.bulk(key);
            cx.reply.array(popped);
            pop(cx, key, max, popped, true);
            return Ok(());
        }
    }
    if !cx.wait(wish(keys, timeout_ms)) {
        cx.reply.null_array();
    }
    Ok(())
}
