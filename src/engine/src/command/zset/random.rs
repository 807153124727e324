//! Random members.

use std::collections::BTreeSet;

use super::super::spec::R;
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::{open_members, peek, put_member};
use crate::base::random::Random;
use crate::data::value::Kind;
use crate::data::zset::View;
use crate::keyspace::keys::Keys;

/// The command that picks random members.
pub static SPECS: &[Spec] = &[Spec {
    name: "ZRANDMEMBER",
    arity: -2,
    flags: R,
    keys: &[KeySpec::one(1, KeyAccess::Read)],
    group: Group::SortedSet,
    since: "6.2.0",
    complexity: "O(N) where N is the number of members returned",
    summary: "Returns one or more random members from a sorted set.",
    syntax: "key [count [WITHSCORES]]",
    examples: &[
        ("ZRANDMEMBER z", "nil"),
        ("ZRANDMEMBER z 5", "[]"),
        ("ZADD z 1 a", "1"),
        ("ZRANDMEMBER z", "\"a\""),
        ("ZRANDMEMBER z 5 WITHSCORES", "[\"a\" 1]"),
        ("ZRANDMEMBER z -3", "[\"a\" \"a\" \"a\"]"),
        ("ZRANDMEMBER z 0", "[]"),
        ("ZRANDMEMBER z 1 SCORES", "-ERR syntax error"),
        (
            "ZRANDMEMBER z x",
            "-ERR value is not an integer or out of range",
        ),
        (
            "ZRANDMEMBER z 9223372036854775807 WITHSCORES",
            "-ERR value is out of range",
        ),
        (
            "ZRANDMEMBER z -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
    ],
    run: zrandmember,
}];

fn zrandmember(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let Some(count) = argv.get(2) else {
        let len = len_of(cx, argv[1])?;
        let Keys { space, db, rng, .. } = &mut cx.ks;
        let view = peek(space, *db, argv[1]).map(View::of);
        match view.and_then(|view| view.at(rng.below(len as u64) as usize)) {
            Some((_, member)) => cx.reply.bulk(member),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    let count = args::int(count)?;
    if count == i64::MIN {
        return Err(CommandError::text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    let with_scores = match &argv[3..] {
        [] => false,
        [word] if args::is(word, "WITHSCORES") => {
            if count.unsigned_abs() > i64::MAX as u64 / 2 {
                return Err(CommandError::text("ERR value is out of range"));
            }
            true
        }
        _ => return Err(CommandError::Syntax),
    };
    let len = len_of(cx, argv[1])?;
    let wanted = count.unsigned_abs() as usize;
    let Keys { space, db, rng, .. } = &mut cx.ks;
    let Some(view) = peek(space, *db, argv[1]).map(View::of) else {
        cx.reply.array(0);
        return Ok(());
    };
    let reply = &mut *cx.reply;
    if count < 0 {
        open_members(reply, wanted, with_scores);
        for _ in 0..wanted {
            if let Some((score, member)) = view.at(rng.below(len as u64) as usize) {
                put_member(reply, member, score, with_scores);
            }
        }
        return Ok(());
    }
    let wanted = wanted.min(len);
    open_members(reply, wanted, with_scores);
    if wanted == len {
        // All of them come as Redis walks them: backwards.
        view.visit(0..len, true, |score, member| {
            put_member(reply, member, score, with_scores);
        });
        return Ok(());
    }
    if matches!(view, View::Large(_)) && wanted.saturating_mul(3) < len {
        for rank in distinct(*rng, wanted, len) {
            if let Some((score, member)) = view.at(rank) {
                put_member(reply, member, score, with_scores);
            }
        }
        return Ok(());
    }
    // Each member is taken with the chance that leaves the rest enough.
    let mut missing = wanted;
    for ((score, member), left) in view.iter_from(0).zip((1..=len).rev()) {
        if (rng.below(left as u64) as usize) < missing {
            missing -= 1;
            put_member(reply, member, score, with_scores);
        }
    }
    Ok(())
}

/// The size of the sorted set under `key`, 0 if there is none.
fn len_of(cx: &mut Cx<'_>, key: &[u8]) -> Result<usize, CommandError> {
    let entry = cx.ks.read(key, Kind::Zset)?;
    Ok(entry.map_or(0, |entry| View::of(entry).len()))
}

/// `count` different numbers below `len`, every choice of them as likely
/// (Floyd's way).
fn distinct(rng: &mut dyn Random, count: usize, len: usize) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    for last in len - count..len {
        let n = rng.below(last as u64 + 1) as usize;
        if !chosen.insert(n) {
            chosen.insert(last);
        }
    }
    chosen
}
