//! Taking members off the ends.

use super::super::spec::{W, WF};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::{BATCH, count_from, peek};
use crate::data::value::Kind;
use crate::data::zset::{self, View};
use crate::keyspace::keys::{EventClass, Keys};

const POP: &[KeySpec] = &[KeySpec::one(1, KeyAccess::Pop)];

/// The commands that pop.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "ZPOPMIN",
        arity: -2,
        flags: WF,
        keys: POP,
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Returns the lowest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped.",
        syntax: "key [count]",
        examples: &[
            ("ZPOPMIN z", "[]"),
            ("ZADD z 1 a 2 b 3 c 4 d", "4"),
            ("ZPOPMIN z", "[\"a\" 1]"),
            ("ZPOPMIN z 0", "[]"),
            ("ZPOPMIN z 2", "[\"b\" 2 \"c\" 3]"),
            (
                "ZPOPMIN z -1",
                "-ERR value is out of range, must be positive",
            ),
            ("ZPOPMIN z 1 2", "-ERR syntax error"),
            ("ZPOPMIN z 9", "[\"d\" 4]"),
            ("ZCARD z", "0"),
        ],
        run: |cx, argv| zpop(cx, argv, false),
    },
    Spec {
        name: "ZPOPMAX",
        arity: -2,
        flags: WF,
        keys: POP,
        group: Group::SortedSet,
        since: "5.0.0",
        complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Returns the highest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped.",
        syntax: "key [count]",
        examples: &[
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZPOPMAX z", "[\"c\" 3]"),
            ("ZPOPMAX z 5", "[\"b\" 2 \"a\" 1]"),
            ("ZPOPMAX z", "[]"),
        ],
        run: |cx, argv| zpop(cx, argv, true),
    },
    Spec {
        name: "ZMPOP",
        arity: -4,
        flags: W,
        keys: &[KeySpec::counted(1, KeyAccess::Pop)],
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Returns the highest- or lowest-scoring members from one or more sorted sets after removing them. Deletes the sorted set if the last member was popped.",
        syntax: "numkeys key [key ...] <MIN | MAX> [COUNT count]",
        examples: &[
            ("ZMPOP 1 z MIN", "nil"),
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZMPOP 2 none z MIN", "[\"z\" [[\"a\" 1]]]"),
            (
                "ZMPOP 2 none z MAX COUNT 9",
                "[\"z\" [[\"c\" 3] [\"b\" 2]]]",
            ),
            ("ZMPOP 0 z MIN", "-ERR numkeys should be greater than 0"),
            (
                "ZMPOP 1 z MIN COUNT 0",
                "-ERR count should be greater than 0",
            ),
            ("ZMPOP 1 z MIN COUNT", "-ERR syntax error"),
            ("ZMPOP 1 z FIRST", "-ERR syntax error"),
            ("ZMPOP 9 z MIN", "-ERR syntax error"),
        ],
        run: zmpop,
    },
];

fn zpop(cx: &mut Cx<'_>, argv: &[&[u8]], max: bool) -> Result<(), CommandError> {
    let count = match argv {
        [_, _] => None,
        [_, _, count] => Some(args::count(count)?),
        _ => return Err(CommandError::Syntax),
    };
    let key = argv[1];
    let len = cx
        .ks
        .write(key, Kind::Zset)?
        .map_or(0, |entry| View::of(entry).len());
    let popped = count.unwrap_or(1).min(len);
    // Pairs are arrays of their own only in RESP3 and with a count.
    let nested = count.is_some() && cx.reply.is_resp3();
    cx.reply.array(if nested { popped } else { 2 * popped });
    pop(cx, key, max, popped, nested);
    Ok(())
}

/// The arguments of ZMPOP from the number of keys on: keys, whether the
/// highest go first, count.
pub(super) fn mpop_args<'a, 'b>(
    argv: &'a [&'b [u8]],
) -> Result<(&'a [&'b [u8]], bool, usize), CommandError> {
    let numkeys = count_from(argv[0], 1, "ERR numkeys should be greater than 0")?;
    let (keys, rest) = argv[1..]
        .split_at_checked(numkeys)
        .ok_or(CommandError::Syntax)?;
    let [end, options @ ..] = rest else {
        return Err(CommandError::Syntax);
    };
    let max = args::is(end, "MAX");
    if !max && !args::is(end, "MIN") {
        return Err(CommandError::Syntax);
    }
    let count = match options {
        [] => 1,
        [word, count, more @ ..] if args::is(word, "COUNT") => {
            let count = count_from(count, 1, "ERR count should be greater than 0")?;
            if !more.is_empty() {
                return Err(CommandError::Syntax);
            }
            count
        }
        _ => return Err(CommandError::Syntax),
    };
    Ok((keys, max, count))
}

fn zmpop(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (keys, max, count) = mpop_args(&argv[1..])?;
    for key in keys {
        let Some(entry) = cx.ks.write(key, Kind::Zset)? else {
            continue;
        };
        let popped = count.min(View::of(entry).len());
        cx.reply.array(2);
        cx.reply.bulk(key);
        cx.reply.array(popped);
        pop(cx, key, max, popped, true);
        return Ok(());
    }
    cx.reply.null_array();
    Ok(())
}

/// Replies and removes the `count` members at one end of `key`, which has
/// that many.
pub(super) fn pop(cx: &mut Cx<'_>, key: &[u8], max: bool, count: usize, nested: bool) {
    let reply = &mut *cx.reply;
    let Keys { space, out, db, .. } = &mut cx.ks;
    let Some(entry) = peek(space, *db, key).filter(|_| count > 0) else {
        return;
    };
    let view = View::of(entry);
    let len = view.len();
    let ranks = if max { len - count..len } else { 0..count };
    let all = count == len;
    let mut words = [key; 1 + BATCH];
    let mut used = 1;
    view.visit(ranks.clone(), max, |score, member| {
        if nested {
            reply.array(2);
        }
        reply.bulk(member);
        reply.double(score);
        if all {
            return;
        }
        words[used] = member;
        used += 1;
        if used == words.len() {
            out.effect(*db, b"ZREM", &words);
            used = 1;
        }
    });
    if used > 1 {
        out.effect(*db, b"ZREM", &words[..used]);
    }
    if all {
        out.effect(*db, b"DEL", &[key]);
    } else if let Some(entry) = cx.ks.get_mut(key) {
        zset::remove_ranks(entry, ranks);
    }
    let event = if max { "zpopmax" } else { "zpopmin" };
    cx.ks.changed(EventClass::Zset, event, key);
    cx.ks.delete_if_empty(key, all);
}
