//! Unions, intersections and differences.

use std::collections::BTreeMap;

use super::super::spec::{R, WM};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::range::store;
use super::{count_from, open_members, peek, put_member};
use crate::base::number;
use crate::data::entry::{Entry, Payload};
use crate::data::packed;
use crate::data::value::{Kind, Value};
use crate::data::zset::{self, View};
use crate::keyspace::keys::Keys;

const FROM: &[KeySpec] = &[KeySpec::counted(1, KeyAccess::Read)];
const INTO: &[KeySpec] = &[
    KeySpec::one(1, KeyAccess::Overwrite),
    KeySpec::counted(2, KeyAccess::Read),
];
const UNION: &str = "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.";
const INTER: &str = "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.";
const DIFF: &str = "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.";
const WEIGHTED: &str = "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]";
const WEIGHTED_INTO: &str =
    "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]";

/// The commands that combine sorted sets.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "ZUNION",
        arity: -3,
        flags: R,
        keys: FROM,
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: UNION,
        summary: "Returns the union of multiple sorted sets.",
        syntax: WEIGHTED,
        examples: &[
            ("ZADD a 1 x 2 y", "2"),
            ("ZADD b 3 y 4 z", "2"),
            ("ZUNION 2 a b WITHSCORES", "[\"x\" 1 \"z\" 4 \"y\" 5]"),
            (
                "ZUNION 2 a b WEIGHTS 10 1 AGGREGATE MAX WITHSCORES",
                "[\"z\" 4 \"x\" 10 \"y\" 20]",
            ),
            ("ZUNION 2 a none", "[\"x\" \"y\"]"),
            (
                "ZUNION 0 a",
                "-ERR at least 1 input key is needed for 'zunion' command",
            ),
            ("ZUNION 2 a", "-ERR syntax error"),
            ("ZUNION 1 a WEIGHTS x", "-ERR weight value is not a float"),
            ("ZUNION 1 a AGGREGATE AVG", "-ERR syntax error"),
        ],
        run: |cx, argv| reply(cx, argv, Op::Union),
    },
    Spec {
        name: "ZINTER",
        arity: -3,
        flags: R,
        keys: FROM,
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: INTER,
        summary: "Returns the intersect of multiple sorted sets.",
        syntax: WEIGHTED,
        examples: &[
            ("ZADD a 1 x 2 y", "2"),
            ("ZADD b 3 y 4 z", "2"),
            ("ZINTER 2 a b WITHSCORES", "[\"y\" 5]"),
            ("ZINTER 2 a b AGGREGATE MIN WITHSCORES", "[\"y\" 2]"),
            ("ZINTER 2 a none", "[]"),
        ],
        run: |cx, argv| reply(cx, argv, Op::Inter),
    },
    Spec {
        name: "ZDIFF",
        arity: -3,
        flags: R,
        keys: FROM,
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: DIFF,
        summary: "Returns the difference between multiple sorted sets.",
        syntax: "numkeys key [key ...] [WITHSCORES]",
        examples: &[
            ("ZADD a 1 x 2 y", "2"),
            ("ZADD b 3 y 4 z", "2"),
            ("ZDIFF 2 a b WITHSCORES", "[\"x\" 1]"),
            ("ZDIFF 2 none a", "[]"),
            ("ZDIFF 1 a WEIGHTS 2", "-ERR syntax error"),
        ],
        run: |cx, argv| reply(cx, argv, Op::Diff),
    },
    Spec {
        name: "ZUNIONSTORE",
        arity: -4,
        flags: WM,
        keys: INTO,
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: UNION,
        summary: "Stores the union of multiple sorted sets in a key.",
        syntax: WEIGHTED_INTO,
        examples: &[
            ("ZADD a 1 x 2 y", "2"),
            ("ZUNIONSTORE a 2 a a WEIGHTS 1 0.5", "2"),
            ("ZRANGE a 0 -1 WITHSCORES", "[\"x\" 1.5 \"y\" 3]"),
            ("ZUNIONSTORE a 1 none", "0"),
            ("ZCARD a", "0"),
            ("ZUNIONSTORE a 1 none WITHSCORES", "-ERR syntax error"),
        ],
        run: |cx, argv| store_result(cx, argv, Op::Union, "zunionstore"),
    },
    Spec {
        name: "ZINTERSTORE",
        arity: -4,
        flags: WM,
        keys: INTO,
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: INTER,
        summary: "Stores the intersect of multiple sorted sets in a key.",
        syntax: WEIGHTED_INTO,
        examples: &[
            ("ZADD a 1 x 2 y", "2"),
            ("ZADD b 3 y 4 z", "2"),
            ("ZINTERSTORE d 2 a b", "1"),
            ("ZRANGE d 0 -1 WITHSCORES", "[\"y\" 5]"),
        ],
        run: |cx, argv| store_result(cx, argv, Op::Inter, "zinterstore"),
    },
    Spec {
        name: "ZDIFFSTORE",
        arity: -4,
        flags: WM,
        keys: INTO,
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: DIFF,
        summary: "Stores the difference of multiple sorted sets in a key.",
        syntax: "destination numkeys key [key ...]",
        examples: &[
            ("ZADD a 1 x 2 y", "2"),
            ("ZADD b 3 y 4 z", "2"),
            ("ZDIFFSTORE d 2 a b", "1"),
            ("ZRANGE d 0 -1", "[\"x\"]"),
        ],
        run: |cx, argv| store_result(cx, argv, Op::Diff, "zdiffstore"),
    },
    Spec {
        name: "ZINTERCARD",
        arity: -3,
        flags: R,
        keys: FROM,
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.",
        summary: "Returns the number of members of the intersect of multiple sorted sets.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        examples: &[
            ("ZADD a 1 x 2 y 3 z", "3"),
            ("ZINTERCARD 2 a a", "3"),
            ("ZINTERCARD 2 a a LIMIT 2", "2"),
            ("ZINTERCARD 2 a none", "0"),
            ("ZINTERCARD 1 a LIMIT -1", "-ERR LIMIT can't be negative"),
            ("ZINTERCARD 1 a WITHSCORES", "-ERR syntax error"),
        ],
        run: zintercard,
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Union,
    Inter,
    Diff,
    /// How many an intersection has.
    Card,
}

#[derive(Debug, Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    /// Two scores of one member made one. A comparison with NaN keeps the
    /// first, a sum that is NaN is 0.
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Aggregate::Sum => or_zero(a + b),
            Aggregate::Min if b < a => b,
            Aggregate::Max if b > a => b,
            _ => a,
        }
    }
}

/// What is asked beside the operation.
struct Query<'a> {
    keys: &'a [&'a [u8]],
    /// As many as keys, or none.
    weights: &'a [&'a [u8]],
    aggregate: Aggregate,
    with_scores: bool,
    limit: usize,
}

impl<'a> Query<'a> {
    /// Reads the arguments from the number of keys on, and sees that the keys
    /// hold sets or sorted sets.
    fn parse(
        cx: &mut Cx<'_>,
        argv: &'a [&'a [u8]],
        op: Op,
        is_store: bool,
    ) -> Result<Self, CommandError> {
        let numkeys = args::int(argv[0])?;
        if numkeys < 1 {
            let name = cx.spec.name.to_ascii_lowercase();
            let text = format!("ERR at least 1 input key is needed for '{name}' command");
            return Err(CommandError::Text(text.into()));
        }
        let (keys, mut rest) = usize::try_from(numkeys)
            .ok()
            .and_then(|n| argv[1..].split_at_checked(n))
            .ok_or(CommandError::Syntax)?;
        for key in keys {
            let kind = cx.ks.get(key).map(Entry::kind);
            if !matches!(kind, None | Some(Kind::Set | Kind::Zset)) {
                return Err(CommandError::WrongType);
            }
        }
        let mut query = Query {
            keys,
            weights: &[],
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        let is_weighted = matches!(op, Op::Union | Op::Inter);
        while let [word, more @ ..] = rest {
            rest = if is_weighted && args::is(word, "WEIGHTS") && more.len() >= keys.len() {
                let (weights, more) = more.split_at(keys.len());
                if weights.iter().any(|w| number::parse_f64(w).is_none()) {
                    return Err(CommandError::text("ERR weight value is not a float"));
                }
                query.weights = weights;
                more
            } else if let ([by, more @ ..], true) =
                (more, is_weighted && args::is(word, "AGGREGATE"))
            {
                query.aggregate = match () {
                    () if args::is(by, "SUM") => Aggregate::Sum,
                    () if args::is(by, "MIN") => Aggregate::Min,
                    () if args::is(by, "MAX") => Aggregate::Max,
                    () => return Err(CommandError::Syntax),
                };
                more
            } else if !is_store && op != Op::Card && args::is(word, "WITHSCORES") {
                query.with_scores = true;
                more
            } else if let ([limit, more @ ..], true) =
                (more, op == Op::Card && args::is(word, "LIMIT"))
            {
                query.limit = count_from(limit, 0, "ERR LIMIT can't be negative")?;
                more
            } else {
                return Err(CommandError::Syntax);
            };
        }
        Ok(query)
    }

    /// What the keys hold; smallest first where the order is free, since
    /// then sums come out as Redis's do.
    fn sources<'k>(&self, ks: &'k Keys<'_>, op: Op) -> Vec<Source<'k>> {
        let mut sources: Vec<_> = self
            .keys
            .iter()
            .enumerate()
            .map(|(i, key)| Source {
                entry: peek(ks.space, ks.db, key),
                weight: self
                    .weights
                    .get(i)
                    .and_then(|w| number::parse_f64(w))
                    .unwrap_or(1.0),
            })
            .collect();
        if op != Op::Diff {
            sources.sort_by_key(Source::len);
        }
        sources
    }

    /// The members of the result, in rank order.
    fn result<'k>(&self, ks: &'k Keys<'_>, op: Op) -> Vec<(f64, &'k [u8])> {
        let sources = self.sources(ks, op);
        let Some((first, others)) = sources.split_first() else {
            return Vec::new();
        };
        let mut found: Vec<(f64, &[u8])> = Vec::new();
        match op {
            Op::Union => {
                let mut scores: BTreeMap<&[u8], f64> = BTreeMap::new();
                for source in &sources {
                    source.visit(&mut |score, member| {
                        let score = or_zero(score * source.weight);
                        scores
                            .entry(member)
                            .and_modify(|sum| *sum = self.aggregate.of(*sum, score))
                            .or_insert(score);
                        true
                    });
                }
                found.extend(scores.into_iter().map(|(member, score)| (score, member)));
            }
            Op::Inter | Op::Card => first.visit(&mut |score, member| {
                let start = Some(or_zero(score * first.weight));
                let score = others.iter().fold(start, |sum, source| {
                    let score = source.score_of(member)? * source.weight;
                    Some(self.aggregate.of(sum?, score))
                });
                found.extend(score.map(|score| (score, member)));
                op != Op::Card || self.limit == 0 || found.len() < self.limit
            }),
            Op::Diff => first.visit(&mut |score, member| {
                if others.iter().all(|s| s.score_of(member).is_none()) {
                    found.push((score, member));
                }
                true
            }),
        }
        found.sort_by(|a, b| {
            let by_score = a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal);
            by_score.then_with(|| a.1.cmp(b.1))
        });
        found
    }
}

/// A set, whose members all score 1, or a sorted set, or nothing.
struct Source<'a> {
    entry: Option<&'a Entry>,
    weight: f64,
}

impl<'a> Source<'a> {
    fn len(&self) -> usize {
        match self.entry.map(Entry::payload) {
            None => 0,
            Some(Payload::Small(bytes)) => packed::count(bytes),
            Some(Payload::Large(value)) => value.len(),
        }
    }

    fn score_of(&self, member: &[u8]) -> Option<f64> {
        let entry = self.entry?;
        if entry.kind() == Kind::Zset {
            return View::of(entry).score_of(member);
        }
        let is_there = match entry.payload() {
            Payload::Small(bytes) => packed::elements(bytes).any(|m| m == member),
            Payload::Large(Value::Set(table)) => table.get(table.hash(member), member).is_some(),
            Payload::Large(_) => false,
        };
        is_there.then_some(1.0)
    }

    /// Visits scores and members until `visit` says it has enough.
    fn visit(&self, visit: &mut dyn FnMut(f64, &'a [u8]) -> bool) {
        let Some(entry) = self.entry else { return };
        if entry.kind() == Kind::Zset {
            View::of(entry)
                .iter_from(0)
                .all(|(score, member)| visit(score, member));
            return;
        }
        match entry.payload() {
            Payload::Small(bytes) => {
                packed::elements(bytes).all(|member| visit(1.0, member));
            }
            Payload::Large(Value::Set(table)) => {
                table.iter().all(|member| visit(1.0, member));
            }
            Payload::Large(_) => {}
        }
    }
}

fn or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

fn reply(cx: &mut Cx<'_>, argv: &[&[u8]], op: Op) -> Result<(), CommandError> {
    let query = Query::parse(cx, &argv[1..], op, false)?;
    let result = query.result(&cx.ks, op);
    open_members(cx.reply, result.len(), query.with_scores);
    for (score, member) in result {
        put_member(cx.reply, member, score, query.with_scores);
    }
    Ok(())
}

fn store_result(
    cx: &mut Cx<'_>,
    argv: &[&[u8]],
    op: Op,
    event: &'static str,
) -> Result<(), CommandError> {
    let query = Query::parse(cx, &argv[2..], op, true)?;
    let result = query.result(&cx.ks, op);
    let (limits, seed) = (cx.ks.limits, cx.ks.space.seed());
    let entry = zset::build(argv[1], limits, seed, || result.iter().copied());
    store(cx, argv, argv[1], entry, event);
    Ok(())
}

fn zintercard(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let query = Query::parse(cx, &argv[1..], Op::Card, false)?;
    let count = query.result(&cx.ks, Op::Card).len();
    cx.reply.int(count as i64);
    Ok(())
}
