//! Reading entries by id.

use super::super::spec::{R, RF};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::{interval_end, interval_start, look, put_items};

/// The commands that read.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "XLEN",
        arity: 2,
        flags: RF,
        keys: &[KeySpec::one(1, KeyAccess::Look)],
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Returns the number of entries in a stream.",
        syntax: "key",
        examples: &[
            ("XLEN s", "0"),
            ("XADD s 1-1 f v", "\"1-1\""),
            ("XLEN s", "1"),
            ("SET a 1", "OK"),
            (
                "XLEN a",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ],
        run: xlen,
    },
    Spec {
        name: "XRANGE",
        arity: -4,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(log(N)+M) with N being the number of entries in the stream and M the number of entries returned.",
        summary: "Returns the entries of a stream within a range of ids.",
        syntax: "key start end [COUNT count]",
        examples: &[
            ("XRANGE s - +", "[]"),
            ("XADD s 1-1 f v", "\"1-1\""),
            ("XADD s 1-2 f w g x", "\"1-2\""),
            ("XADD s 2-0 f v", "\"2-0\""),
            (
                "XRANGE s - 1",
                "[[\"1-1\" [\"f\" \"v\"]] [\"1-2\" [\"f\" \"w\" \"g\" \"x\"]]]",
            ),
            ("XRANGE s (1-2 +", "[[\"2-0\" [\"f\" \"v\"]]]"),
            ("XRANGE s - + COUNT 1", "[[\"1-1\" [\"f\" \"v\"]]]"),
            ("XRANGE s - + COUNT 0", "nil"),
            ("XRANGE s 2 1", "[]"),
            (
                "XRANGE s x +",
                "-ERR Invalid stream ID specified as stream command argument",
            ),
            ("XRANGE s - + COUNT", "-ERR syntax error"),
        ],
        run: |cx, argv| xrange(cx, argv, false),
    },
    Spec {
        name: "XREVRANGE",
        arity: -4,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(log(N)+M) with N being the number of entries in the stream and M the number of entries returned.",
        summary: "Returns the entries of a stream within a range of ids, the last one first.",
        syntax: "key end start [COUNT count]",
        examples: &[
            ("XADD s 1-1 f v", "\"1-1\""),
            ("XADD s 2-0 f w", "\"2-0\""),
            (
                "XREVRANGE s + -",
                "[[\"2-0\" [\"f\" \"w\"]] [\"1-1\" [\"f\" \"v\"]]]",
            ),
            ("XREVRANGE s + - COUNT 1", "[[\"2-0\" [\"f\" \"w\"]]]"),
            ("XREVRANGE s (2-0 -", "[[\"1-1\" [\"f\" \"v\"]]]"),
        ],
        run: |cx, argv| xrange(cx, argv, true),
    },
];

fn xlen(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let len = look(&mut cx.ks, argv[1])?.map_or(0, |s| s.entries.len());
    cx.reply.int(len as i64);
    Ok(())
}

fn xrange(cx: &mut Cx<'_>, argv: &[&[u8]], reverse: bool) -> Result<(), CommandError> {
    let (start, end) = if reverse { (3, 2) } else { (2, 3) };
    let (start, end) = (interval_start(argv[start])?, interval_end(argv[end])?);
    let mut count = None;
    let mut rest = argv[4..].iter();
    while let Some(&word) = rest.next() {
        match rest.next() {
            Some(&n) if args::is(word, "COUNT") => count = Some(args::int(n)?),
            _ => return Err(CommandError::Syntax),
        }
    }
    let reply = &mut *cx.reply;
    let Some(stream) = look(&mut cx.ks, argv[1])? else {
        reply.array(0);
        return Ok(());
    };
    let most = match count {
        None => usize::MAX,
        Some(..=0) => {
            reply.null_array();
            return Ok(());
        }
        Some(n) => n as usize,
    };
    let range = stream.entries.range(start, end);
    if reverse {
        put_items(reply, range.rev().take(most));
    } else {
        put_items(reply, range.take(most));
    }
    Ok(())
}
