//! Pops and moves that wait for an element.

use super::ends::{end_of, mpop_args, pop_many, pop_one, shift};
use crate::command::spec::{BLOCKING, NOSCRIPT, W, WM};
use crate::command::wait::{self, Wait};
use crate::command::{CommandError, Cx, Flags, Group, KeyAccess, KeySpec, Spec};
use crate::data::list::End;
use crate::data::value::Kind;

const POP: Flags = W.or(BLOCKING).or(NOSCRIPT);
const MOVE: Flags = WM.or(BLOCKING).or(NOSCRIPT);

/// All keys but the last argument, which is the timeout.
const KEYS: &[KeySpec] = &[KeySpec {
    first: 1,
    find: crate::command::spec::Find::Range { last: -2, step: 1 },
    access: KeyAccess::Pop,
}];
const SOURCE_TARGET: &[KeySpec] = &[
    KeySpec::one(1, KeyAccess::Pop),
    KeySpec::one(2, KeyAccess::Insert),
];

/// The commands that wait. Their examples have something to pop, or run as
/// in a transaction.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "BLPOP",
        arity: -3,
        flags: POP,
        keys: KEYS,
        group: Group::List,
        since: "2.0.0",
        complexity: "O(N) where N is the number of provided keys.",
        summary: "Removes and returns the first element of the first of several lists that isn't empty. Blocks until an element is available otherwise. Deletes the list if the last element was popped.",
        syntax: "key [key ...] timeout",
        examples: &[
            ("BLPOP a 0", "nil"),
            ("RPUSH b 1 2", "2"),
            ("BLPOP a b 0", r#"["b" "1"]"#),
            ("BLPOP a b x", "-ERR timeout is not a float or out of range"),
            ("BLPOP a b -1", "-ERR timeout is negative"),
            ("SET s v", "OK"),
            (
                "BLPOP s b 0",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            ("BLPOP b s 0.5", r#"["b" "2"]"#),
            ("EXISTS b", "0"),
        ],
        run: |cx, argv| bpop(cx, argv, End::Head),
    },
    Spec {
        name: "BRPOP",
        arity: -3,
        flags: POP,
        keys: KEYS,
        group: Group::List,
        since: "2.0.0",
        complexity: "O(N) where N is the number of provided keys.",
        summary: "Removes and returns the last element of the first of several lists that isn't empty. Blocks until an element is available otherwise. Deletes the list if the last element was popped.",
        syntax: "key [key ...] timeout",
        examples: &[
            ("RPUSH b 1 2", "2"),
            ("BRPOP a b 0", r#"["b" "2"]"#),
            ("BRPOP a b 0", r#"["b" "1"]"#),
            ("BRPOP a b 0", "nil"),
        ],
        run: |cx, argv| bpop(cx, argv, End::Tail),
    },
    Spec {
        name: "BLMOVE",
        arity: 6,
        flags: MOVE,
        keys: SOURCE_TARGET,
        group: Group::List,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Pops an element from a list, pushes it to another list and returns it. Blocks until an element is available otherwise. Deletes the list if the last element was moved.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        examples: &[
            ("BLMOVE a b LEFT RIGHT 0", "nil"),
            ("RPUSH a 1 2", "2"),
            ("BLMOVE a b RIGHT LEFT 0", "\"2\""),
            ("BLMOVE a b LEFT LEFT 0", "\"1\""),
            ("LRANGE b 0 -1", r#"["1" "2"]"#),
            ("BLMOVE a b UP LEFT x", "-ERR syntax error"),
            (
                "BLMOVE a b LEFT LEFT x",
                "-ERR timeout is not a float or out of range",
            ),
        ],
        run: blmove,
    },
    Spec {
        name: "BRPOPLPUSH",
        arity: 4,
        flags: MOVE,
        keys: SOURCE_TARGET,
        group: Group::List,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Pops the last element of a list, pushes it to another list and returns it. Blocks until an element is available otherwise. Deletes the list if the last element was moved.",
        syntax: "source destination timeout",
        examples: &[
            ("RPUSH a 1 2", "2"),
            ("BRPOPLPUSH a b 0", "\"2\""),
            ("BRPOPLPUSH none b 0", "nil"),
        ],
        run: brpoplpush,
    },
    Spec {
        name: "BLMPOP",
        arity: -5,
        flags: W.or(BLOCKING),
        keys: &[KeySpec::counted(2, KeyAccess::Pop)],
        group: Group::List,
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        summary: "Pops elements from the first of several lists that isn't empty. Blocks until an element is available otherwise. Deletes the list if the last element was popped.",
        syntax: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        examples: &[
            ("BLMPOP 0 1 a LEFT", "nil"),
            ("RPUSH b 1 2 3", "3"),
            ("BLMPOP 0 2 a b RIGHT COUNT 2", r#"["b" ["3" "2"]]"#),
            ("BLMPOP 0 2 a b LEFT", r#"["b" ["1"]]"#),
            ("BLMPOP x 0 a LEFT", "-ERR numkeys should be greater than 0"),
            (
                "BLMPOP x 1 a LEFT",
                "-ERR timeout is not a float or out of range",
            ),
        ],
        run: blmpop,
    },
];

fn boxed(keys: &[&[u8]]) -> Vec<Box<[u8]>> {
    keys.iter().map(|&key| key.into()).collect()
}

fn wish(keys: &[&[u8]], timeout_ms: Option<u64>) -> Wait {
    Wait {
        kind: Kind::List,
        keys: boxed(keys),
        timeout_ms,
        then: None,
        unless_gone: false,
    }
}

fn bpop(cx: &mut Cx<'_>, argv: &[&[u8]], end: End) -> Result<(), CommandError> {
    let [_, keys @ .., timeout] = argv else {
        return Err(CommandError::Arity(cx.spec.name));
    };
    let timeout_ms = wait::timeout(timeout)?;
    for key in keys {
        if !cx.looks_at(key) || cx.ks.write(key, Kind::List)?.is_none() {
            continue;
        }
        cx.reply.array(2);
        cx.reply.bulk(key);
        pop_one(cx, key, end)?;
        let name = match end {
            End::Head => &b"LPOP"[..],
            End::Tail => b"RPOP",
        };
        cx.ks.effect(name, &[key]);
        return Ok(());
    }
    if !cx.wait(wish(keys, timeout_ms)) {
        cx.reply.null_array();
    }
    Ok(())
}

fn blmpop(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (keys, end, count) = mpop_args(&argv[2..])?;
    let timeout_ms = wait::timeout(argv[1])?;
    for key in keys {
        if cx.looks_at(key) && pop_many(cx, key, end, count, true)? {
            return Ok(());
        }
    }
    if !cx.wait(wish(keys, timeout_ms)) {
        cx.reply.null_array();
    }
    Ok(())
}

fn blmove(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (from, to) = (end_of(argv[3])?, end_of(argv[4])?);
    let timeout_ms = wait::timeout(argv[5])?;
    if !shift(cx, (argv[1], from), (argv[2], to), b"LMOVE", &argv[1..5])?
        && !cx.wait(wish(&argv[1..2], timeout_ms))
    {
        cx.reply.null();
    }
    Ok(())
}

fn brpoplpush(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let timeout_ms = wait::timeout(argv[3])?;
    let (from, to) = ((argv[1], End::Tail), (argv[2], End::Head));
    if !shift(cx, from, to, b"RPOPLPUSH", &argv[1..3])? && !cx.wait(wish(&argv[1..2], timeout_ms)) {
        cx.reply.null();
    }
    Ok(())
}
