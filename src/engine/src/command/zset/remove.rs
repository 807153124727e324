//! Removing members by name and by range.

use super::super::spec::{W, WF};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec};
use super::select::{self, By};
use crate::data::value::Kind;
use crate::data::zset::{self, View};
use crate::keyspace::keys::EventClass;

const SHRINK: &[KeySpec] = &[KeySpec::one(1, KeyAccess::Shrink)];

/// The commands that remove.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "ZREM",
        arity: -3,
        flags: WF,
        keys: SHRINK,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.",
        summary: "Removes one or more members from a sorted set. Deletes the sorted set if all members were removed.",
        syntax: "key member [member ...]",
        examples: &[
            ("ZREM z a", "0"),
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZREM z a nobody a c", "2"),
            ("ZREM z b b", "1"),
            ("ZCARD z", "0"),
        ],
        run: zrem,
    },
    Spec {
        name: "ZREMRANGEBYRANK",
        arity: 4,
        flags: W,
        keys: SHRINK,
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes members in a sorted set within a range of indexes. Deletes the sorted set if all members were removed.",
        syntax: "key start:integer stop:integer",
        examples: &[
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZREMRANGEBYRANK z 5 9", "0"),
            ("ZREMRANGEBYRANK z -2 1", "1"),
            ("ZRANGE z 0 -1", "[\"a\" \"c\"]"),
            ("ZREMRANGEBYRANK z 0 -1", "2"),
            ("ZREMRANGEBYRANK z 0 -1", "0"),
            (
                "ZREMRANGEBYRANK z 0 x",
                "-ERR value is not an integer or out of range",
            ),
        ],
        run: |cx, argv| {
            by_range(
                cx,
                argv,
                select::ranks(argv[2], argv[3])?,
                "zremrangebyrank",
            )
        },
    },
    Spec {
        name: "ZREMRANGEBYSCORE",
        arity: 4,
        flags: W,
        keys: SHRINK,
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes members in a sorted set within a range of scores. Deletes the sorted set if all members were removed.",
        syntax: "key min:double max:double",
        examples: &[
            ("ZADD z 1 a 2 b 3 c", "3"),
            ("ZREMRANGEBYSCORE z (1 (3", "1"),
            ("ZREMRANGEBYSCORE z -inf inf", "2"),
            ("ZREMRANGEBYSCORE z 1 x", "-ERR min or max is not a float"),
        ],
        run: |cx, argv| {
            by_range(
                cx,
                argv,
                select::scores(argv[2], argv[3])?,
                "zremrangebyscore",
            )
        },
    },
    Spec {
        name: "ZREMRANGEBYLEX",
        arity: 4,
        flags: W,
        keys: SHRINK,
        group: Group::SortedSet,
        since: "2.8.9",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
        summary: "Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all members were removed.",
        syntax: "key min max",
        examples: &[
            ("ZADD z 0 a 0 b 0 c", "3"),
            ("ZREMRANGEBYLEX z [a (b", "1"),
            ("ZREMRANGEBYLEX z - +", "2"),
            (
                "ZREMRANGEBYLEX z a b",
                "-ERR min or max not valid string range item",
            ),
        ],
        run: |cx, argv| {
            by_range(
                cx,
                argv,
                select::members(argv[2], argv[3])?,
                "zremrangebylex",
            )
        },
    },
];

fn zrem(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    let Some(entry) = cx.ks.write(key, Kind::Zset)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let removed = argv[2..]
        .iter()
        .filter(|member| zset::remove(entry, member))
        .count();
    let is_empty = View::of(entry).is_empty();
    if removed > 0 {
        cx.log_verbatim(argv);
        cx.ks.changed(EventClass::Zset, "zrem", key);
        cx.ks.delete_if_empty(key, is_empty);
    }
    cx.reply.int(removed as i64);
    Ok(())
}

fn by_range(
    cx: &mut Cx<'_>,
    argv: &[&[u8]],
    by: By<'_>,
    event: &'static str,
) -> Result<(), CommandError> {
    let key = argv[1];
    let Some(entry) = cx.ks.write(key, Kind::Zset)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let ranks = by.ranks(View::of(entry));
    let removed = ranks.len();
    let all = removed == View::of(entry).len();
    if removed > 0 {
        if !all {
            zset::remove_ranks(entry, ranks);
        }
        cx.log_verbatim(argv);
        cx.ks.changed(EventClass::Zset, event, key);
        cx.ks.delete_if_empty(key, all);
    }
    cx.reply.int(removed as i64);
    Ok(())
}
