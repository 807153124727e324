//! What consumers have and didn't acknowledge.

use super::super::spec::{R, WF};
use super::super::{CommandError, Cx, Group as Topic, KeyAccess, KeySpec, Reply, Spec, args};
use super::{interval_end, interval_start, look, no_group, open_group, put_id, strict_id};
use crate::base::number;
use crate::data::stream::group::Pending;
use crate::data::stream::{Group, StreamId};

/// The commands on what is pending.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "XACK",
        arity: -4,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Topic::Stream,
        since: "5.0.0",
        complexity: "O(log(N)) for each id, where N is the number of entries pending.",
        summary: "Acknowledges entries: they are no longer pending. Returns how many were.",
        syntax: "key group id [id ...]",
        examples: &[
            ("XACK s g 1-1", "0"),
            ("XADD s 1-1 f v", "\"1-1\""),
            ("XGROUP CREATE s g 0", "OK"),
            (
                "XREADGROUP GROUP g c STREAMS s >",
                "[[\"s\" [[\"1-1\" [\"f\" \"v\"]]]]]",
            ),
            ("XACK s g 1-1 1-1 2", "1"),
            (
                "XACK s g x",
                "-ERR Invalid stream ID specified as stream command argument",
            ),
        ],
        run: xack,
    },
    Spec {
        name: "XPENDING",
        arity: -3,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Topic::Stream,
        since: "5.0.0",
        complexity: "O(N) where N is the number of entries looked at; O(M) for the short form where M is the number of consumers.",
        summary: "Returns which entries were given to consumers of a group and not acknowledged.",
        syntax: "key group [[IDLE min-idle-time] start end count [consumer]]",
        examples: &[
            (
                "XPENDING s g",
                "-NOGROUP No such key 's' or consumer group 'g'",
            ),
            ("XADD s 1-1 f v", "\"1-1\""),
            ("XGROUP CREATE s g 0", "OK"),
            ("XPENDING s g", "[0 nil nil nil]"),
            (
                "XREADGROUP GROUP g c STREAMS s >",
                "[[\"s\" [[\"1-1\" [\"f\" \"v\"]]]]]",
            ),
            ("XPENDING s g", "[1 \"1-1\" \"1-1\" [[\"c\" \"1\"]]]"),
            ("XPENDING s g - + 10", "[[\"1-1\" \"c\" 0 1]]"),
            ("XPENDING s g IDLE 5 - + 10", "[]"),
            ("XPENDING s g - + 10 d", "[]"),
            ("XPENDING s g -", "-ERR syntax error"),
        ],
        run: xpending,
    },
];

fn xack(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let Some((_, group)) = open_group(&mut cx.ks, argv[1], argv[2])? else {
        cx.reply.int(0);
        return Ok(());
    };
    for arg in &argv[3..] {
        strict_id(arg, 0)?;
    }
    let mut count = 0;
    for arg in &argv[3..] {
        let id = strict_id(arg, 0)?; // read once already
        count += i64::from(group.acknowledge(id));
    }
    if count > 0 {
        cx.log_verbatim(argv);
    }
    cx.reply.int(count);
    Ok(())
}

/// Which entries XPENDING is to show.
struct Wanted<'a> {
    start: StreamId,
    end: StreamId,
    count: usize,
    min_idle: i64,
    consumer: Option<&'a [u8]>,
}

fn wanted<'a>(argv: &[&'a [u8]]) -> Result<Option<Wanted<'a>>, CommandError> {
    if argv.len() == 3 {
        return Ok(None);
    }
    if !(6..=9).contains(&argv.len()) {
        return Err(CommandError::Syntax);
    }
    let (mut at, mut min_idle) = (3, 0);
    if args::is(argv[3], "IDLE") {
        min_idle = args::int(argv[4])?;
        if argv.len() < 8 {
            return Err(CommandError::Syntax);
        }
        at = 5;
    }
    let count = args::int(argv[at + 2])?;
    Ok(Some(Wanted {
        count: usize::try_from(count).unwrap_or(0),
        start: interval_start(argv[at])?,
        end: interval_end(argv[at + 1])?,
        min_idle,
        consumer: argv.get(at + 3).copied(),
    }))
}

fn xpending(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let wanted = wanted(argv)?;
    let now = cx.ks.now();
    let stream = look(&mut cx.ks, argv[1])?;
    let Some(group) = stream.and_then(|s| s.groups.get(argv[2])) else {
        return Err(no_group(argv[1], argv[2], ""));
    };
    match wanted {
        None => summary(cx.reply, group),
        Some(wanted) => list(cx.reply, group, &wanted, now),
    }
    Ok(())
}

fn summary(reply: &mut dyn Reply, group: &Group) {
    let pending = group.pending();
    reply.array(4);
    reply.int(pending.len() as i64);
    let (Some((first, _)), Some((last, _))) = (pending.first_key_value(), pending.last_key_value())
    else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    put_id(reply, *first);
    put_id(reply, *last);
    reply.open();
    let mut count = 0;
    for (name, consumer) in group.consumers() {
        if consumer.pending().is_empty() {
            continue;
        }
        reply.array(2);
        reply.bulk(name);
        let mut text = number::IntegerText::default();
        let len = consumer.pending().len() as i64;
        reply.bulk(number::format_i64(len, &mut text));
        count += 1;
    }
    reply.close(count);
}

/// How long ago an entry was delivered, in ms.
fn idle(pending: &Pending, now: u64) -> i64 {
    (now as i64).saturating_sub(pending.delivered_ms as i64)
}

fn list(reply: &mut dyn Reply, group: &Group, wanted: &Wanted<'_>, now: u64) {
    let mut count = 0;
    let mut put = |reply: &mut dyn Reply, id: &StreamId, pending: &Pending| {
        let idle = idle(pending, now);
        if count == wanted.count || wanted.min_idle != 0 && idle < wanted.min_idle {
            return count < wanted.count;
        }
        reply.array(4);
        put_id(reply, *id);
        reply.bulk(pending.consumer());
        reply.int(idle.max(0));
        reply.int(pending.deliveries as i64);
        count += 1;
        count < wanted.count
    };
    let Wanted { start, end, .. } = *wanted;
    let consumer = wanted.consumer.map(|name| group.consumer(name));
    if let Some(None) = consumer {
        reply.array(0);
        return;
    }
    reply.open();
    match consumer.flatten() {
        _ if start > end => {}
        Some(consumer) => {
            for id in consumer.pending().range(start..=end) {
                let pending = group.pending().get(id);
                if !pending.is_some_and(|pending| put(reply, id, pending)) {
                    break;
                }
            }
        }
        None => {
            for (id, pending) in group.pending().range(start..=end) {
                if !put(reply, id, pending) {
                    break;
                }
            }
        }
    }
    reply.close(count);
}
