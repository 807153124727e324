//! What streams, groups and consumers are like.

use super::super::spec::R;
use super::super::{CommandError, Cx, Group as Topic, KeyAccess, KeySpec, Reply, Spec, args};
use super::{Subcommand, bad_subcommand, look, no_group_of_key, put_help, put_id, put_item};
use super::{put_items, subcommand};
use crate::data::stream::{Group, Stream};

/// XINFO.
pub static SPECS: &[Spec] = &[Spec {
    name: "XINFO",
    arity: -2,
    flags: R,
    keys: &[KeySpec::one(2, KeyAccess::Read)],
    group: Topic::Stream,
    since: "5.0.0",
    complexity: "O(1) for STREAM, O(N) for the others where N is the number of groups or consumers; FULL also of what is shown.",
    summary: "Returns facts about a stream, its groups or the consumers of one.",
    syntax: "<STREAM key [FULL [COUNT count]] | GROUPS key | CONSUMERS key group | HELP>",
    examples: &[
        ("XINFO STREAM s", "-ERR no such key"),
        ("XADD s 1-1 f v", "\"1-1\""),
        ("XADD s 2-2 f w", "\"2-2\""),
        ("XGROUP CREATE s g 1-1", "OK"),
        (
            "XINFO STREAM s",
            "{\"length\" 2 \"radix-tree-keys\" 1 \"radix-tree-nodes\" 2 \"last-generated-id\" \"2-2\" \"max-deleted-entry-id\" \"0-0\" \"entries-added\" 2 \"recorded-first-entry-id\" \"1-1\" \"groups\" 1 \"first-entry\" [\"1-1\" [\"f\" \"v\"]] \"last-entry\" [\"2-2\" [\"f\" \"w\"]]}",
        ),
        (
            "XINFO GROUPS s",
            "[{\"name\" \"g\" \"consumers\" 0 \"pending\" 0 \"last-delivered-id\" \"1-1\" \"entries-read\" nil \"lag\" 1}]",
        ),
        (
            "XREADGROUP GROUP g c STREAMS s >",
            "[[\"s\" [[\"2-2\" [\"f\" \"w\"]]]]]",
        ),
        (
            "XINFO CONSUMERS s g",
            "[{\"name\" \"c\" \"pending\" 1 \"idle\" 0}]",
        ),
        (
            "XINFO STREAM s FULL COUNT 1",
            "{\"length\" 2 \"radix-tree-keys\" 1 \"radix-tree-nodes\" 2 \"last-generated-id\" \"2-2\" \"max-deleted-entry-id\" \"0-0\" \"entries-added\" 2 \"recorded-first-entry-id\" \"1-1\" \"entries\" [[\"1-1\" [\"f\" \"v\"]]] \"groups\" [{\"name\" \"g\" \"last-delivered-id\" \"2-2\" \"entries-read\" 2 \"lag\" 0 \"pel-count\" 1 \"pending\" [[\"2-2\" \"c\" 1000000 1]] \"consumers\" [{\"name\" \"c\" \"seen-time\" 1000000 \"pel-count\" 1 \"pending\" [[\"2-2\" 1000000 1]]}]}]}",
        ),
        (
            "XINFO CONSUMERS s none",
            "-NOGROUP No such consumer group 'none' for key name 's'",
        ),
        (
            "XINFO STREAM s FULL COUNT",
            "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try PERSIST.XINFO HELP.",
        ),
    ],
    run: xinfo,
}];

const SUBCOMMANDS: &[Subcommand] = &[("STREAM", -3), ("GROUPS", 3), ("CONSUMERS", 4), ("HELP", 2)];

const HELP: &[&str] = &[
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
];

fn xinfo(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let sub = subcommand("XINFO", SUBCOMMANDS, argv)?;
    if sub == "HELP" {
        let head = "PERSIST.XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
        put_help(cx.reply, head, HELP);
        return Ok(());
    }
    let now = cx.ks.now();
    let reply = &mut *cx.reply;
    let key = argv[2];
    let Some(stream) = look(&mut cx.ks, key)? else {
        return Err(CommandError::NoSuchKey);
    };
    match sub {
        "GROUPS" => groups(reply, stream),
        "CONSUMERS" => match stream.groups.get(argv[3]) {
            Some(group) => consumers(reply, group, now),
            None => return Err(no_group_of_key(key, argv[3])),
        },
        _ => match full_count(argv)? {
            Some(count) => full(reply, stream, count),
            None => short(reply, stream),
        },
    }
    Ok(())
}

/// How much of each list XINFO STREAM FULL shows; `None` without FULL.
fn full_count(argv: &[&[u8]]) -> Result<Option<usize>, CommandError> {
    const USUAL: usize = 10;
    match &argv[3..] {
        [] => Ok(None),
        [word] if args::is(word, "FULL") => Ok(Some(USUAL)),
        [word, count, n] if args::is(word, "FULL") && args::is(count, "COUNT") => {
            Ok(Some(match usize::try_from(args::int(n)?) {
                Ok(0) => usize::MAX,
                Ok(n) => n,
                Err(_) => USUAL,
            }))
        }
        _ => Err(bad_subcommand("XINFO", argv)),
    }
}

/// The part that both forms of XINFO STREAM begin with.
fn head(reply: &mut dyn Reply, stream: &Stream) {
    let entries = &stream.entries;
    reply.bulk(b"length");
    reply.int(entries.len() as i64);
    reply.bulk(b"radix-tree-keys");
    reply.int(entries.block_count() as i64);
    reply.bulk(b"radix-tree-nodes");
    reply.int(entries.radix_nodes() as i64);
    reply.bulk(b"last-generated-id");
    put_id(reply, entries.last_id);
    reply.bulk(b"max-deleted-entry-id");
    put_id(reply, entries.max_deleted);
    reply.bulk(b"entries-added");
    reply.int(entries.added as i64);
    reply.bulk(b"recorded-first-entry-id");
    put_id(reply, entries.first_id());
}

fn short(reply: &mut dyn Reply, stream: &Stream) {
    reply.map(10);
    head(reply, stream);
    reply.bulk(b"groups");
    reply.int(stream.groups.len() as i64);
    let mut all = stream.entries.iter();
    for (name, item) in [
        (&b"first-entry"[..], all.next()),
        (b"last-entry", stream.entries.iter().next_back()),
    ] {
        reply.bulk(name);
        match item {
            Some(item) => put_item(reply, &item),
            None => reply.null(),
        }
    }
}

fn full(reply: &mut dyn Reply, stream: &Stream, count: usize) {
    reply.map(9);
    head(reply, stream);
    reply.bulk(b"entries");
    put_items(reply, stream.entries.iter().take(count));
    reply.bulk(b"groups");
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"last-delivered-id");
        put_id(reply, group.last_id);
        progress(reply, stream, group);
        reply.bulk(b"pel-count");
        reply.int(group.pending().len() as i64);
        reply.bulk(b"pending");
        reply.array(count.min(group.pending().len()));
        for (id, pending) in group.pending().iter().take(count) {
            reply.array(4);
            put_id(reply, *id);
            reply.bulk(pending.consumer());
            reply.int(pending.delivered_ms as i64);
            reply.int(pending.deliveries as i64);
        }
        reply.bulk(b"consumers");
        full_consumers(reply, group, count);
    }
}

fn full_consumers(reply: &mut dyn Reply, group: &Group, count: usize) {
    reply.array(group.consumers().len());
    for (name, consumer) in group.consumers() {
        let ids = consumer.pending();
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"seen-time");
        reply.int(consumer.seen_ms as i64);
        reply.bulk(b"pel-count");
        reply.int(ids.len() as i64);
        reply.bulk(b"pending");
        reply.array(count.min(ids.len()));
        for id in ids.iter().take(count) {
            let pending = group.pending().get(id);
            let of = |get: fn(&crate::data::stream::group::Pending) -> u64| {
                pending.map_or(0, get) as i64
            };
            reply.array(3);
            put_id(reply, *id);
            reply.int(of(|pending| pending.delivered_ms));
            reply.int(of(|pending| pending.deliveries));
        }
    }
}

/// How far a group has come.
fn progress(reply: &mut dyn Reply, stream: &Stream, group: &Group) {
    for (name, n) in [
        (&b"entries-read"[..], group.entries_read),
        (b"lag", stream.lag(group)),
    ] {
        reply.bulk(name);
        match n {
            Some(n) => reply.int(n),
            None => reply.null(),
        }
    }
}

fn groups(reply: &mut dyn Reply, stream: &Stream) {
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"consumers");
        reply.int(group.consumers().len() as i64);
        reply.bulk(b"pending");
        reply.int(group.pending().len() as i64);
        reply.bulk(b"last-delivered-id");
        put_id(reply, group.last_id);
        progress(reply, stream, group);
    }
}

fn consumers(reply: &mut dyn Reply, group: &Group, now: u64) {
    reply.array(group.consumers().len());
    for (name, consumer) in group.consumers() {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"pending");
        reply.int(consumer.pending().len() as i64);
        reply.bulk(b"idle");
        let idle = (now as i64).saturating_sub(consumer.seen_ms as i64);
        reply.int(idle.max(0));
    }
}
