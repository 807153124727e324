//! Reading ranges.

use std::ops::Range;

use super::super::spec::{R, WM};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::select::{self, By};
use super::{open_members, peek, put_member};
use crate::data::value::Kind;
use crate::data::zset::{self, View};
use crate::keyspace::keys::{EventClass, Keys};

const READ: &[KeySpec] = &[KeySpec::one(1, KeyAccess::Read)];
const NO_LIMIT: &str =
    "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
const NO_SCORES: &str = "-ERR syntax error, WITHSCORES not supported in combination with BYLEX";

/// The commands that read ranges.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "ZRANGE",
        arity: -4,
        flags: R,
        keys: READ,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.",
        summary: "Returns members in a sorted set within a range of indexes.",
        syntax: "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        examples: &[
            ("ZRANGE z 0 -1", "[]"),
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZRANGE z 0 -1", "[\"a\" \"b\" \"c\"]"),
            ("ZRANGE z 0 0 REV WITHSCORES", "[\"c\" 3]"),
            ("ZRANGE z (1 +inf BYSCORE", "[\"b\" \"c\"]"),
            ("ZRANGE z +inf (1 BYSCORE REV LIMIT 1 -1", "[\"b\"]"),
            ("ZRANGE z [b + BYLEX", "[\"b\" \"c\"]"),
            ("ZRANGE z 0 -1 LIMIT 0 -1", "[\"a\" \"b\" \"c\"]"),
            ("ZRANGE z 0 -1 LIMIT 0 1", NO_LIMIT),
            ("ZRANGE z - + BYLEX WITHSCORES", NO_SCORES),
            ("ZRANGE z 0 -1 REV REV", "-ERR syntax error"),
            (
                "ZRANGE z a -1",
                "-ERR value is not an integer or out of range",
            ),
        ],
        run: |cx, argv| range(cx, argv, None, None),
    },
    Spec {
        name: "ZREVRANGE",
        arity: -4,
        flags: R,
        keys: READ,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.",
        summary: "Returns members in a sorted set within a range of indexes in reverse order.",
        syntax: "key start:integer stop:integer [WITHSCORES]",
        examples: &[
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZREVRANGE z 0 1", "[\"c\" \"b\"]"),
            ("ZREVRANGE z -1 -1 WITHSCORES", "[\"a\" 1]"),
            ("ZREVRANGE z 0 1 LIMIT 0 1", NO_LIMIT),
            ("ZREVRANGE z 0 1 REV", "-ERR syntax error"),
        ],
        run: |cx, argv| range(cx, argv, Some(Type::Rank), Some(true)),
    },
    Spec {
        name: "ZRANGEBYSCORE",
        arity: -4,
        flags: R,
        keys: READ,
        group: Group::SortedSet,
        since: "1.0.5",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned.",
        summary: "Returns members in a sorted set within a range of scores.",
        syntax: "key min:double max:double [WITHSCORES] [LIMIT offset count]",
        examples: &[
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZRANGEBYSCORE z -inf (3 WITHSCORES", "[\"a\" 1 \"b\" 2]"),
            ("ZRANGEBYSCORE z 1 3 LIMIT 1 1", "[\"b\"]"),
            ("ZRANGEBYSCORE z 1 3 LIMIT -1 1", "[]"),
            ("ZRANGEBYSCORE z 1 3 LIMIT 2 -5", "[\"c\"]"),
            ("ZRANGEBYSCORE z 1 x", "-ERR min or max is not a float"),
            ("ZRANGEBYSCORE z 1 3 LIMIT 1", "-ERR syntax error"),
        ],
        run: |cx, argv| range(cx, argv, Some(Type::Score), Some(false)),
    },
    Spec {
        name: "ZREVRANGEBYSCORE",
        arity: -4,
        flags: R,
        keys: READ,
        group: Group::SortedSet,
        since: "2.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned.",
        summary: "Returns members in a sorted set within a range of scores in reverse order.",
        syntax: "key max:double min:double [WITHSCORES] [LIMIT offset count]",
        examples: &[
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZREVRANGEBYSCORE z +inf 2", "[\"c\" \"b\"]"),
            ("ZREVRANGEBYSCORE z 3 1 LIMIT 1 1", "[\"b\"]"),
            ("ZREVRANGEBYSCORE z 1 3", "[]"),
        ],
        run: |cx, argv| range(cx, argv, Some(Type::Score), Some(true)),
    },
    Spec {
        name: "ZRANGEBYLEX",
        arity: -4,
        flags: R,
        keys: READ,
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned.",
        summary: "Returns members in a sorted set within a lexicographical range.",
        syntax: "key min max [LIMIT offset count]",
        examples: &[
            ("ZADD z 0 a 0 b 0 c", "3"),
            ("ZRANGEBYLEX z - (c", "[\"a\" \"b\"]"),
            ("ZRANGEBYLEX z [b + LIMIT 1 1", "[\"c\"]"),
            (
                "ZRANGEBYLEX z b +",
                "-ERR min or max not valid string range item",
            ),
        ],
        run: |cx, argv| range(cx, argv, Some(Type::Lex), Some(false)),
    },
    Spec {
        name: "ZREVRANGEBYLEX",
        arity: -4,
        flags: R,
        keys: READ,
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned.",
        summary: "Returns members in a sorted set within a lexicographical range in reverse order.",
        syntax: "key max min [LIMIT offset count]",
        examples: &[
            ("ZADD z 0 a 0 b 0 c", "3"),
            ("ZREVRANGEBYLEX z (c -", "[\"b\" \"a\"]"),
        ],
        run: |cx, argv| range(cx, argv, Some(Type::Lex), Some(true)),
    },
    Spec {
        name: "ZRANGESTORE",
        arity: -5,
        flags: WM,
        keys: &[
            KeySpec::one(1, KeyAccess::Overwrite),
            KeySpec::one(2, KeyAccess::Read),
        ],
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored.",
        summary: "Stores a range of members from a sorted set in a key.",
        syntax: "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        examples: &[
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZRANGESTORE d z 0 1 REV", "2"),
            ("ZRANGE d 0 -1 WITHSCORES", "[\"b\" 2 \"c\" 3]"),
            ("ZRANGESTORE z z 3 1 BYSCORE REV LIMIT 0 1", "1"),
            ("ZRANGE z 0 -1", "[\"c\"]"),
            ("ZRANGESTORE d none 0 -1", "0"),
            ("ZCARD d", "0"),
            ("ZRANGESTORE d z 0 -1 WITHSCORES", "-ERR syntax error"),
        ],
        run: zrangestore,
    },
];

/// What a range is given by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Rank,
    Score,
    Lex,
}

/// What the arguments ask for.
struct Query<'a> {
    by: By<'a>,
    reverse: bool,
    with_scores: bool,
    offset: i64,
    limit: i64,
}

impl<'a> Query<'a> {
    /// Reads the two bounds at the front of `argv` and the options behind.
    /// What the command's name says already can't be said again.
    fn parse(
        argv: &[&'a [u8]],
        mut by: Option<Type>,
        mut reverse: Option<bool>,
        store: bool,
    ) -> Result<Self, CommandError> {
        let (mut offset, mut limit, mut with_scores) = (0, -1, false);
        let mut rest = &argv[2..];
        while let [word, more @ ..] = rest {
            rest = more;
            if !store && args::is(word, "WITHSCORES") {
                with_scores = true;
            } else if let ([from, count, more @ ..], true) = (more, args::is(word, "LIMIT")) {
                offset = args::int(from)?;
                limit = args::int(count)?;
                rest = more;
            } else if reverse.is_none() && args::is(word, "REV") {
                reverse = Some(true);
            } else if by.is_none() && args::is(word, "BYLEX") {
                by = Some(Type::Lex);
            } else if by.is_none() && args::is(word, "BYSCORE") {
                by = Some(Type::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (by, reverse) = (by.unwrap_or(Type::Rank), reverse.unwrap_or(false));
        if limit != -1 && by == Type::Rank {
            return Err(CommandError::text(&NO_LIMIT[1..]));
        }
        if with_scores && by == Type::Lex {
            return Err(CommandError::text(&NO_SCORES[1..]));
        }
        let (min, max) = match (reverse, by) {
            (true, Type::Score | Type::Lex) => (argv[1], argv[0]),
            _ => (argv[0], argv[1]),
        };
        let by = match by {
            Type::Rank => select::ranks(min, max),
            Type::Score => select::scores(min, max),
            Type::Lex => select::members(min, max),
        }?;
        Ok(Query {
            by,
            reverse,
            with_scores,
            offset,
            limit,
        })
    }

    /// The ranks meant in `view`.
    fn ranks(&self, view: View<'_>) -> Range<usize> {
        let Range { start, end } = self.by.ranks(view);
        if let By::Rank(..) = self.by {
            return match self.reverse {
                true => view.len() - end..view.len() - start,
                false => start..end,
            };
        }
        // A negative offset skips everything, a negative limit is none.
        let skip = usize::try_from(self.offset).map_or(end - start, |n| n.min(end - start));
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let len = most.min(end - start - skip);
        match self.reverse {
            true => end - skip - len..end - skip,
            false => start + skip..start + skip + len,
        }
    }
}

fn range(
    cx: &mut Cx<'_>,
    argv: &[&[u8]],
    by: Option<Type>,
    reverse: Option<bool>,
) -> Result<(), CommandError> {
    let query = Query::parse(&argv[2..], by, reverse, false)?;
    let Some(entry) = cx.ks.read(argv[1], Kind::Zset)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let view = View::of(entry);
    let ranks = query.ranks(view);
    let (reply, with_scores) = (&mut *cx.reply, query.with_scores);
    open_members(reply, ranks.len(), with_scores);
    view.visit(ranks, query.reverse, |score, member| {
        put_member(reply, member, score, with_scores);
    });
    Ok(())
}

fn zrangestore(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (to, from) = (argv[1], argv[2]);
    let query = Query::parse(&argv[3..], None, None, true)?;
    cx.ks.read(from, Kind::Zset)?;
    let Keys {
        space, db, limits, ..
    } = &cx.ks;
    let result = peek(space, *db, from).and_then(|entry| {
        let view = View::of(entry);
        let ranks = query.ranks(view);
        let members = || view.iter_from(ranks.start).take(ranks.len());
        // In which order Redis adds the member at this rank.
        let turn = |rank: usize| match query.reverse {
            true => ranks.len() - 1 - rank,
            false => rank,
        };
        // It adds to a packed set until one doesn't fit, and such a set
        // doesn't know -0 from 0; by rank it sees in time that they are many.
        let many = limits.zset_max_listpack_entries;
        let packed_turns = match query.by {
            By::Rank(..) if ranks.len() > many => 0,
            _ => members()
                .enumerate()
                .filter(|(_, (_, member))| member.len() > limits.zset_max_listpack_value)
                .map(|(rank, _)| turn(rank))
                .fold(many, usize::min),
        };
        zset::build(to, limits, space.seed(), || {
            members().enumerate().map(|(rank, (score, member))| {
                let was_packed = turn(rank) < packed_turns;
                (if was_packed { score + 0.0 } else { score }, member)
            })
        })
    });
    store(cx, argv, to, result, "zrangestore");
    Ok(())
}

/// Ends a command that stores its result under `to`, or removes what is
/// there if the result is empty.
pub(super) fn store(
    cx: &mut Cx<'_>,
    argv: &[&[u8]],
    to: &[u8],
    result: Option<crate::data::entry::Entry>,
    event: &'static str,
) {
    match result {
        Some(entry) => {
            cx.reply.int(View::of(&entry).len() as i64);
            cx.ks.put(entry);
            cx.log_verbatim(argv);
            cx.ks.changed(EventClass::Zset, event, to);
        }
        None => {
            cx.reply.int(0);
            if cx.ks.delete(to) {
                cx.ks.effect(b"DEL", &[to]);
                cx.ks.changed(EventClass::Generic, "del", to);
            }
        }
    }
}
