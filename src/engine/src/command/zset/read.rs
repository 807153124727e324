//! Looking up members.

use super::super::spec::RF;
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::select;
use crate::data::value::Kind;
use crate::data::zset::View;

const LOOK: &[KeySpec] = &[KeySpec::one(1, KeyAccess::Look)];
const READ: &[KeySpec] = &[KeySpec::one(1, KeyAccess::Read)];

/// The commands that look members up.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "ZCARD",
        arity: 2,
        flags: RF,
        keys: LOOK,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Returns the number of members in a sorted set.",
        syntax: "key",
        examples: &[("ZCARD z", "0"), ("ZADD z 1 a 2 b", "2"), ("ZCARD z", "2")],
        run: zcard,
    },
    Spec {
        name: "ZSCORE",
        arity: 3,
        flags: RF,
        keys: READ,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Returns the score of a member in a sorted set.",
        syntax: "key member",
        examples: &[
            ("ZSCORE z a", "nil"),
            ("ZADD z 1.5 a", "1"),
            ("ZSCORE z a", "1.5"),
            ("ZSCORE z c", "nil"),
            ("SET s v", "OK"),
            (
                "ZSCORE s a",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ],
        run: zscore,
    },
    Spec {
        name: "ZMSCORE",
        arity: -3,
        flags: RF,
        keys: READ,
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N) where N is the number of members being requested.",
        summary: "Returns the score of one or more members in a sorted set.",
        syntax: "key member [member ...]",
        examples: &[
            ("ZMSCORE z a b", "[nil nil]"),
            ("ZADD z 1 a 2 b", "2"),
            ("ZMSCORE z a nobody b", "[1 nil 2]"),
        ],
        run: zmscore,
    },
    Spec {
        name: "ZRANK",
        arity: -3,
        flags: RF,
        keys: READ,
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Returns the index of a member in a sorted set ordered by ascending scores.",
        syntax: "key member [WITHSCORE]",
        examples: &[
            ("ZRANK z a", "nil"),
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZRANK z c", "2"),
            ("ZRANK z c WITHSCORE", "[2 3]"),
            ("ZRANK z d WITHSCORE", "nil"),
            ("ZRANK z c WITHSCORES", "-ERR syntax error"),
        ],
        run: zrank,
    },
    Spec {
        name: "ZREVRANK",
        arity: -3,
        flags: RF,
        keys: READ,
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Returns the index of a member in a sorted set ordered by descending scores.",
        syntax: "key member [WITHSCORE]",
        examples: &[
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZREVRANK z c", "0"),
            ("ZREVRANK z a WITHSCORE", "[2 1]"),
            ("ZREVRANK z d", "nil"),
        ],
        run: zrevrank,
    },
    Spec {
        name: "ZCOUNT",
        arity: 4,
        flags: RF,
        keys: READ,
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Returns the count of members in a sorted set that have scores within a range.",
        syntax: "key min:double max:double",
        examples: &[
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZCOUNT z -inf +inf", "3"),
            ("ZCOUNT z (1 3", "2"),
            ("ZCOUNT z 3 1", "0"),
            ("ZCOUNT none 1 3", "0"),
            ("ZCOUNT z a 3", "-ERR min or max is not a float"),
        ],
        run: zcount,
    },
    Spec {
        name: "ZLEXCOUNT",
        arity: 4,
        flags: RF,
        keys: READ,
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Returns the number of members in a sorted set within a lexicographical range.",
        syntax: "key min max",
        examples: &[
            ("ZADD z 0 a 0 b 0 c", "3"),
            ("ZLEXCOUNT z - +", "3"),
            ("ZLEXCOUNT z [b (c", "1"),
            ("ZLEXCOUNT z + -", "0"),
            ("ZLEXCOUNT none - +", "0"),
            (
                "ZLEXCOUNT z a b",
                "-ERR min or max not valid string range item",
            ),
        ],
        run: zlexcount,
    },
];

fn zcard(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let entry = cx.ks.read(argv[1], Kind::Zset)?;
    cx.reply
        .int(entry.map_or(0, |entry| View::of(entry).len()) as i64);
    Ok(())
}

fn zscore(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let entry = cx.ks.read(argv[1], Kind::Zset)?;
    match entry.and_then(|entry| View::of(entry).score_of(argv[2])) {
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(())
}

fn zmscore(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let view = cx.ks.read(argv[1], Kind::Zset)?.map(View::of);
    cx.reply.array(argv.len() - 2);
    for member in &argv[2..] {
        match view.and_then(|view| view.score_of(member)) {
            Some(score) => cx.reply.double(score),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn zrank(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    rank(cx, argv, false)
}

fn zrevrank(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    rank(cx, argv, true)
}

fn rank(cx: &mut Cx<'_>, argv: &[&[u8]], reverse: bool) -> Result<(), CommandError> {
    let with_score = match &argv[3..] {
        [] => false,
        [word] if args::is(word, "WITHSCORE") => true,
        [_] => return Err(CommandError::Syntax),
        _ => return Err(CommandError::Arity(cx.spec.name)),
    };
    let view = cx.ks.read(argv[1], Kind::Zset)?.map(View::of);
    let found = view.and_then(|view| {
        let (rank, score) = view.rank_of(argv[2])?;
        let rank = if reverse { view.len() - 1 - rank } else { rank };
        Some((rank, score))
    });
    match found {
        None if with_score => cx.reply.null_array(),
        None => cx.reply.null(),
        Some((rank, score)) => {
            if with_score {
                cx.reply.array(2);
            }
            cx.reply.int(rank as i64);
            if with_score {
                cx.reply.double(score);
            }
        }
    }
    Ok(())
}

fn zcount(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    count(cx, argv, select::scores(argv[2], argv[3])?)
}

fn zlexcount(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    count(cx, argv, select::members(argv[2], argv[3])?)
}

fn count(cx: &mut Cx<'_>, argv: &[&[u8]], by: select::By<'_>) -> Result<(), CommandError> {
    let entry = cx.ks.read(argv[1], Kind::Zset)?;
    let count = entry.map_or(0, |entry| by.ranks(View::of(entry)).len());
    cx.reply.int(count as i64);
    Ok(())
}
