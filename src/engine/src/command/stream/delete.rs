//! Removing entries by id, and the numbers a stream remembers.

use super::super::spec::{WF, WMF};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::{open, strict_id};
use crate::data::stream::StreamId;
use crate::keyspace::keys::EventClass;

/// The commands that remove and set.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "XDEL",
        arity: -3,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Shrink)],
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(log(N)) for each id, where N is the number of entries in the stream.",
        summary: "Removes entries from a stream and returns how many there were.",
        syntax: "key id [id ...]",
        examples: &[
            ("XDEL s 1", "0"),
            ("XADD s 1-1 f v", "\"1-1\""),
            ("XADD s 2-1 f v", "\"2-1\""),
            ("XDEL s 1-1 1-1 3", "1"),
            ("XDEL s 2-1", "1"),
            ("EXISTS s", "1"),
            ("XADD s 2-* f v", "\"2-2\""),
            (
                "XDEL s x",
                "-ERR Invalid stream ID specified as stream command argument",
            ),
        ],
        run: xdel,
    },
    Spec {
        name: "XSETID",
        arity: -3,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Sets what a stream remembers: its last id, how many entries were added, the greatest id deleted.",
        syntax: "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
        examples: &[
            ("XSETID s 1", "-ERR no such key"),
            ("XADD s 5-0 f v", "\"5-0\""),
            ("XSETID s 7-7 ENTRIESADDED 9 MAXDELETEDID 3-3", "OK"),
            ("XADD s 7-* f v", "\"7-8\""),
            (
                "XSETID s 6",
                "-ERR The ID specified in XSETID is smaller than the target stream top item",
            ),
            (
                "XSETID s 9 ENTRIESADDED 1",
                "-ERR The entries_added specified in XSETID is smaller than the target stream length",
            ),
            (
                "XSETID s 9 ENTRIESADDED -1",
                "-ERR entries_added must be positive",
            ),
            (
                "XSETID s 9 MAXDELETEDID 10",
                "-ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
            ),
            ("XSETID s 9 FOO", "-ERR syntax error"),
        ],
        run: xsetid,
    },
];

fn xdel(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    let Some(stream) = open(&mut cx.ks, key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    for arg in &argv[2..] {
        strict_id(arg, 0)?;
    }
    let entries = &mut stream.entries;
    let mut removed = 0;
    for arg in &argv[2..] {
        let id = strict_id(arg, 0)?; // read once already
        if entries.remove(id) {
            entries.max_deleted = entries.max_deleted.max(id);
            removed += 1;
        }
    }
    if removed > 0 {
        cx.log_verbatim(argv);
        cx.ks.changed(EventClass::Stream, "xdel", key);
    }
    cx.reply.int(removed);
    Ok(())
}

fn xsetid(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (key, id) = (argv[1], strict_id(argv[2], 0)?);
    let (mut added, mut max_deleted) = (None, StreamId::MIN);
    let mut rest = argv[3..].iter();
    while let Some(&word) = rest.next() {
        match rest.next() {
            Some(&n) if args::is(word, "ENTRIESADDED") => {
                added = Some(
                    u64::try_from(args::int(n)?)
                        .map_err(|_| CommandError::text("ERR entries_added must be positive"))?,
                );
            }
            Some(&arg) if args::is(word, "MAXDELETEDID") => {
                max_deleted = strict_id(arg, 0)?;
                if id < max_deleted {
                    return Err(CommandError::text(
                        "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                    ));
                }
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    let Some(stream) = open(&mut cx.ks, key)? else {
        return Err(CommandError::NoSuchKey);
    };
    let entries = &mut stream.entries;
    if let Some(top) = entries.top_id() {
        if id < top {
            return Err(CommandError::text(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if added.is_some_and(|added| added < entries.len()) {
            return Err(CommandError::text(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    entries.last_id = id;
    entries.added = added.unwrap_or(entries.added);
    if max_deleted != StreamId::MIN {
        entries.max_deleted = max_deleted;
    }
    cx.log_verbatim(argv);
    cx.ks.changed(EventClass::Stream, "xsetid", key);
    cx.reply.simple("OK");
    Ok(())
}
