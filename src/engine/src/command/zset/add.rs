//! Adding members and changing scores.

use super::super::spec::WMF;
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::BATCH;
use crate::base::number;
use crate::data::value::Kind;
use crate::data::zset::{self, Change};
use crate::keyspace::keys::EventClass;

/// The commands that add.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "ZADD",
        arity: -4,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        summary: "Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't exist.",
        syntax: "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        examples: &[
            ("ZADD z 1 a 2.5 b", "2"),
            ("ZADD z 1 a 3 b", "0"),
            ("ZADD z CH 1 a 4 b 5 c", "2"),
            ("ZADD z NX CH 9 a 9 d", "1"),
            ("ZADD z XX CH 9 a 9 e", "1"),
            ("ZADD z GT CH 8 a 10 b", "1"),
            ("ZADD z LT CH 8 a 11 b", "1"),
            ("ZADD z XX INCR 1 nobody", "nil"),
            ("ZADD z NX INCR 1 a", "nil"),
            ("ZADD z LT INCR 1 a", "nil"),
            ("ZADD z INCR -0.5 a", "7.5"),
            (
                "ZRANGE z 0 -1 WITHSCORES",
                "[\"c\" 5 \"a\" 7.5 \"d\" 9 \"b\" 10]",
            ),
            (
                "ZADD z 1",
                "-ERR wrong number of arguments for 'persist.zadd' command",
            ),
            ("ZADD z NX 1 a 2", "-ERR syntax error"),
            ("ZADD z NX XX CH", "-ERR syntax error"),
            (
                "ZADD z NX XX 1 a",
                "-ERR XX and NX options at the same time are not compatible",
            ),
            (
                "ZADD z GT LT 1 a",
                "-ERR GT, LT, and/or NX options at the same time are not compatible",
            ),
            (
                "ZADD z INCR 1 a 2 b",
                "-ERR INCR option supports a single increment-element pair",
            ),
            ("ZADD z 1 a nan b", "-ERR value is not a valid float"),
            ("ZADD new XX 1 a", "0"),
            ("ZADD new inf a", "1"),
            (
                "ZADD new INCR -inf a",
                "-ERR resulting score is not a number (NaN)",
            ),
        ],
        run: zadd,
    },
    Spec {
        name: "ZINCRBY",
        arity: 4,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Modify)],
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)) where N is the number of elements in the sorted set.",
        summary: "Increments the score of a member in a sorted set.",
        syntax: "key increment:double member",
        examples: &[
            ("ZINCRBY z 2 a", "2"),
            ("ZINCRBY z 0.1 a", "2.1"),
            ("ZINCRBY z 0 a", "2.1"),
            ("ZINCRBY z x a", "-ERR value is not a valid float"),
            ("ZINCRBY z inf a", "inf"),
            (
                "ZINCRBY z -inf a",
                "-ERR resulting score is not a number (NaN)",
            ),
        ],
        run: zincrby,
    },
];

const NOT_A_NUMBER: CommandError = CommandError::text("ERR resulting score is not a number (NaN)");

/// What ZADD was told beside scores and members.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    changed: bool,
    increment: bool,
}

impl Options {
    /// Whether `member`, whose score is `old`, may have `new`.
    fn allow(self, old: Option<f64>, new: f64) -> bool {
        match old {
            None => !self.xx,
            Some(old) => !(self.nx || (self.gt && new <= old) || (self.lt && new >= old)),
        }
    }
}

/// ZADD; GEOADD is one whose scores are places.
///
/// # Errors
/// What the client is told.
pub fn zadd(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let mut options = Options::default();
    let mut first = 2;
    while let Some(word) = argv.get(first) {
        match () {
            () if args::is(word, "NX") => options.nx = true,
            () if args::is(word, "XX") => options.xx = true,
            () if args::is(word, "CH") => options.changed = true,
            () if args::is(word, "INCR") => options.increment = true,
            () if args::is(word, "GT") => options.gt = true,
            () if args::is(word, "LT") => options.lt = true,
            () => break,
        }
        first += 1;
    }
    let pairs = &argv[first..];
    let Options { nx, xx, gt, lt, .. } = options;
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(CommandError::Syntax);
    }
    if nx && xx {
        return Err(CommandError::text(
            "ERR XX and NX options at the same time are not compatible",
        ));
    }
    if (nx && (gt || lt)) || (gt && lt) {
        return Err(CommandError::text(
            "ERR GT, LT, and/or NX options at the same time are not compatible",
        ));
    }
    if !options.increment {
        return add(cx, argv[1], options, pairs);
    }
    match pairs {
        [by, member] => increment(cx, argv[1], options, by, member),
        _ => Err(CommandError::text(
            "ERR INCR option supports a single increment-element pair",
        )),
    }
}

fn zincrby(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    increment(cx, argv[1], Options::default(), argv[2], argv[3])
}

fn add(cx: &mut Cx<'_>, key: &[u8], options: Options, pairs: &[&[u8]]) -> Result<(), CommandError> {
    let mut scores = [0.0; BATCH];
    for (i, pair) in pairs.chunks_exact(2).enumerate() {
        let score = args::float(pair[0])?;
        if let Some(slot) = scores.get_mut(i) {
            *slot = score;
        }
    }
    let there = cx.ks.write(key, Kind::Zset)?.is_some();
    let (limits, seed) = (cx.ks.limits, cx.ks.space.seed());
    let (mut added, mut updated) = (0, 0);
    if !there {
        if options.xx {
            cx.reply.int(0);
            return Ok(());
        }
        cx.ks
            .put(zset::single(key, limits, seed, scores[0], pairs[1]));
        added = 1;
    }
    for (i, part) in pairs.chunks(2 * BATCH).enumerate() {
        let mut log = Batch::default();
        let mut rest = part.chunks_exact(2).zip(scores);
        if i == 0 && !there {
            rest.next();
            log.push(scores[0], pairs[1]);
        }
        if let Some(entry) = cx.ks.get_mut(key) {
            for (pair, score) in rest {
                let score = match i {
                    0 => score,
                    _ => args::float(pair[0]).unwrap_or(score), // read once already
                };
                let change = zset::change(entry, limits, seed, pair[1], |old| {
                    options.allow(old, score).then_some(score)
                });
                match change {
                    Change::Same => continue,
                    Change::Added => added += 1,
                    Change::Updated => updated += 1,
                }
                log.push(score, pair[1]);
            }
        }
        log.write(cx, key);
    }
    if added + updated > 0 {
        cx.ks.changed(EventClass::Zset, "zadd", key);
    }
    cx.reply.int(if options.changed {
        added + updated
    } else {
        added
    });
    Ok(())
}

fn increment(
    cx: &mut Cx<'_>,
    key: &[u8],
    options: Options,
    by: &[u8],
    member: &[u8],
) -> Result<(), CommandError> {
    let by = args::float(by)?;
    let (limits, seed) = (cx.ks.limits, cx.ks.space.seed());
    let mut result = None;
    let change = match cx.ks.write(key, Kind::Zset)? {
        Some(entry) => zset::change(entry, limits, seed, member, |old| {
            let new = old.map_or(by, |old| old + by);
            if new.is_nan() || options.allow(old, new) {
                result = Some(new);
            }
            result.filter(|new| !new.is_nan())
        }),
        None if options.xx => Change::Same,
        None => {
            result = Some(by);
            cx.ks.put(zset::single(key, limits, seed, by, member));
            Change::Added
        }
    };
    match result {
        // Redis looks at NX and XX before it adds up, and at GT and LT after.
        Some(new) if new.is_nan() && options.nx => cx.reply.null(),
        Some(new) if new.is_nan() => return Err(NOT_A_NUMBER),
        Some(new) => cx.reply.double(new),
        None => cx.reply.null(),
    }
    if let (Some(new), true) = (result, change != Change::Same) {
        log_one(cx, key, new, member);
        cx.ks.changed(EventClass::Zset, "zincr", key);
    }
    Ok(())
}

fn log_one(cx: &mut Cx<'_>, key: &[u8], score: f64, member: &[u8]) {
    let mut text = number::FloatText::default();
    let score = number::format_f64_shortest(score, &mut text);
    cx.ks.effect(b"ZADD", &[key, score, member]);
}

/// What a ZADD of the log says.
#[derive(Default)]
struct Batch<'a> {
    pairs: [(f64, &'a [u8]); BATCH],
    len: usize,
}

impl<'a> Batch<'a> {
    fn push(&mut self, score: f64, member: &'a [u8]) {
        self.pairs[self.len] = (score, member);
        self.len += 1;
    }

    fn write(&self, cx: &mut Cx<'_>, key: &[u8]) {
        match &self.pairs[..self.len] {
            [] => {}
            [(score, member)] => log_one(cx, key, *score, member),
            pairs => {
                let mut texts = [number::FloatText::default(); BATCH];
                let mut words = [key; 1 + 2 * BATCH];
                let slots = words[1..].chunks_exact_mut(2);
                for (((score, member), text), slot) in pairs.iter().zip(&mut texts).zip(slots) {
                    slot[0] = number::format_f64_shortest(*score, text);
                    slot[1] = member;
                }
                cx.ks.effect(b"ZADD", &words[..1 + 2 * self.len]);
            }
        }
    }
}
