//! Walking a sorted set in steps.

use super::super::key::scan::cursor;
use super::super::reply::Reply;
use super::super::spec::R;
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::base::glob::glob_match;
use crate::base::number;
use crate::data::value::Kind;
use crate::data::zset::View;

/// The command that scans.
pub static SPECS: &[Spec] = &[Spec {
    name: "ZSCAN",
    arity: -3,
    flags: R,
    keys: &[KeySpec::one(1, KeyAccess::Read)],
    group: Group::SortedSet,
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
    summary: "Iterates over members and scores of a sorted set.",
    syntax: "key cursor [MATCH pattern] [COUNT count]",
    examples: &[
        ("ZSCAN z 0", "[\"0\" []]"),
        ("ZSCAN z 0 COUNT x", "[\"0\" []]"),
        ("ZADD z 1 a 0.1 b 1e20 bc", "3"),
        (
            "ZSCAN z 0",
            "[\"0\" [\"b\" \"0.10000000000000001\" \"a\" \"1\" \"bc\" \"1e+20\"]]",
        ),
        ("ZSCAN z 0 MATCH b? COUNT 1", "[\"0\" [\"bc\" \"1e+20\"]]"),
        ("ZSCAN z x", "-ERR invalid cursor"),
        ("ZSCAN z 0 COUNT 0", "-ERR syntax error"),
        (
            "ZSCAN z 0 COUNT x",
            "-ERR value is not an integer or out of range",
        ),
        ("ZSCAN z 0 MATCH", "-ERR syntax error"),
        ("ZSCAN z 0 TYPE zset", "-ERR syntax error"),
    ],
    run: zscan,
}];

fn zscan(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let cursor = cursor(argv[2])?;
    let Some(entry) = cx.ks.read(argv[1], Kind::Zset)? else {
        cx.reply.array(2);
        cx.reply.bulk(b"0");
        cx.reply.array(0);
        return Ok(());
    };
    let (mut pattern, mut count) = (None, 10);
    let mut rest = &argv[3..];
    while let [word, value, more @ ..] = rest {
        if args::is(word, "COUNT") {
            count = args::int(value)?;
            if count < 1 {
                return Err(CommandError::Syntax);
            }
        } else if args::is(word, "MATCH") {
            pattern = Some(*value).filter(|p| *p != b"*");
        } else {
            return Err(CommandError::Syntax);
        }
        rest = more;
    }
    if !rest.is_empty() {
        return Err(CommandError::Syntax);
    }
    let reply = &mut *cx.reply;
    let wanted = |member: &[u8]| pattern.is_none_or(|p| glob_match(p, member, false));
    match View::of(entry) {
        view @ View::Small(_) => {
            reply.array(2);
            reply.bulk(b"0");
            let mut len = 0;
            reply.open();
            for (score, member) in view.iter_from(0).filter(|(_, m)| wanted(m)) {
                put(reply, member, score);
                len += 2;
            }
            reply.close(len);
        }
        View::Large(set) => {
            // The cursor comes first, so the walk is done twice: once to know
            // where it ends.
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            let next = set.scan(cursor, count, |_, _| {});
            let mut text = number::IntegerText::default();
            reply.array(2);
            reply.bulk(number::format_i64(next as i64, &mut text));
            let mut len = 0;
            reply.open();
            set.scan(cursor, count, |score, member| {
                if wanted(member) {
                    put(reply, member, score);
                    len += 2;
                }
            });
            reply.close(len);
        }
    }
    Ok(())
}

fn put(reply: &mut dyn Reply, member: &[u8], score: f64) {
    reply.bulk(member);
    reply.bulk(number::format_f64(score, &mut [0; 32]));
}
