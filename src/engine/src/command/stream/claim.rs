//! Taking over what another consumer has.

use std::ops::Bound;

use super::super::spec::WF;
use super::super::{CommandError, Cx, Group as Topic, KeyAccess, KeySpec, Reply, Spec, args};
use super::deliver::{Changes, Receiver};
use super::{error, interval_start, no_group, open_group, put_id, put_item, shown, strict_id};
use crate::base::number;
use crate::data::stream::{Entries, Group, StreamId};

/// The commands that take over.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "XCLAIM",
        arity: -6,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Topic::Stream,
        since: "5.0.0",
        complexity: "O(log(N)) for each id, where N is the number of entries pending.",
        summary: "Gives pending entries to a consumer, whoever has them.",
        syntax: "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]",
        examples: &[
            (
                "XCLAIM s g d 0 1-1",
                "-NOGROUP No such key 's' or consumer group 'g'",
            ),
            ("XADD s 1-1 f v", "\"1-1\""),
            ("XADD s 2-2 f w", "\"2-2\""),
            ("XGROUP CREATE s g 0", "OK"),
            (
                "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
                "[[\"s\" [[\"1-1\" [\"f\" \"v\"]]]]]",
            ),
            ("XCLAIM s g d 1000 1-1", "[]"),
            ("XCLAIM s g d 0 1-1 2-2", "[[\"1-1\" [\"f\" \"v\"]]]"),
            (
                "XCLAIM s g d 0 1-1 2-2 JUSTID FORCE RETRYCOUNT 7 IDLE 500",
                "[\"1-1\" \"2-2\"]",
            ),
            (
                "XPENDING s g - + 10",
                "[[\"1-1\" \"d\" 500 7] [\"2-2\" \"d\" 500 7]]",
            ),
            ("XDEL s 1-1", "1"),
            ("XCLAIM s g c 0 1-1 LASTID 9-9", "[]"),
            ("XPENDING s g", "[1 \"2-2\" \"2-2\" [[\"d\" \"1\"]]]"),
            (
                "XCLAIM s g c x 1-1",
                "-ERR Invalid min-idle-time argument for XCLAIM",
            ),
            (
                "XCLAIM s g c 0 1-1 FOO",
                "-ERR Unrecognized XCLAIM option 'FOO'",
            ),
        ],
        run: xclaim,
    },
    Spec {
        name: "XAUTOCLAIM",
        arity: -6,
        flags: WF,
        keys: &[KeySpec::one(1, KeyAccess::Shrink)],
        group: Topic::Stream,
        since: "6.2.0",
        complexity: "O(M*log(N)) where N is the number of entries pending and M the number of those looked at, at most ten times COUNT.",
        summary: "Gives a consumer entries that were pending for long, and forgets those that the stream lost.",
        syntax: "key group consumer min-idle-time start [COUNT count] [JUSTID]",
        examples: &[
            ("XADD s 1-1 f v", "\"1-1\""),
            ("XADD s 2-2 f w", "\"2-2\""),
            ("XADD s 3-3 f x", "\"3-3\""),
            ("XGROUP CREATE s g 0", "OK"),
            (
                "XREADGROUP GROUP g c NOACK COUNT 1 STREAMS s >",
                "[[\"s\" [[\"1-1\" [\"f\" \"v\"]]]]]",
            ),
            (
                "XREADGROUP GROUP g c STREAMS s >",
                "[[\"s\" [[\"2-2\" [\"f\" \"w\"]] [\"3-3\" [\"f\" \"x\"]]]]]",
            ),
            ("XAUTOCLAIM s g d 1000 - JUSTID", "[\"0-0\" [] []]"),
            (
                "XAUTOCLAIM s g d 0 - COUNT 1",
                "[\"3-3\" [[\"2-2\" [\"f\" \"w\"]]] []]",
            ),
            ("XDEL s 3-3", "1"),
            (
                "XAUTOCLAIM s g d 0 0 JUSTID",
                "[\"0-0\" [\"2-2\"] [\"3-3\"]]",
            ),
            ("XPENDING s g - + 10", "[[\"2-2\" \"d\" 0 2]]"),
            ("XAUTOCLAIM s g d 0 - COUNT 0", "-ERR COUNT must be > 0"),
            (
                "XAUTOCLAIM s g d x -",
                "-ERR Invalid min-idle-time argument for XAUTOCLAIM",
            ),
        ],
        run: xautoclaim,
    },
];

fn int(arg: &[u8], error: &'static str) -> Result<i64, CommandError> {
    number::parse_i64(arg).ok_or(CommandError::text(error))
}

/// How to give an entry to a consumer.
struct Claim {
    /// Least time since it was delivered, in ms, if somebody has it.
    min_idle: i64,
    /// When it is said to be delivered, unix ms.
    delivered_ms: u64,
    /// How often it is said to be delivered; else it counts on.
    deliveries: Option<u64>,
    /// Whether what nobody has is given as well.
    force: bool,
    /// Whether only the id is returned, which isn't a delivery.
    just_id: bool,
}

/// What became of a claimed id.
enum Outcome {
    /// The consumer has it.
    Given,
    /// The stream lost it, so nobody has it any more.
    Dropped,
    /// It stays as it was.
    Nothing,
}

impl Claim {
    /// Gives `id` to the receiver, and notes that in `changes`.
    fn apply(
        &self,
        entries: &Entries,
        group: &mut Group,
        to: Receiver<'_>,
        id: StreamId,
        now: u64,
        changes: &mut Changes,
    ) -> Outcome {
        if !entries.contains(id) {
            if group.acknowledge(id) {
                changes.dropped.push(id);
                return Outcome::Dropped;
            }
            return Outcome::Nothing;
        }
        let (before, after) = match group.pending().get(&id) {
            Some(pending) => {
                let idle = (now as i64).saturating_sub(pending.delivered_ms as i64);
                if self.min_idle > 0 && idle < self.min_idle {
                    return Outcome::Nothing;
                }
                (pending.deliveries, pending.once_more())
            }
            None if self.force => (1, 2),
            None => return Outcome::Nothing,
        };
        // In replay, the delivery tells best when the consumer was seen.
        let seen = now.max(self.delivered_ms);
        if !group.see(to.consumer, seen) && group.create_consumer(to.consumer, seen) {
            changes.created = true;
        }
        let deliveries = match self.deliveries {
            Some(deliveries) => deliveries,
            None if self.just_id => before,
            None => after,
        };
        group.assign(id, to.consumer, self.delivered_ms, deliveries);
        changes.given.push((id, deliveries));
        Outcome::Given
    }
}

/// What XCLAIM was told behind its ids.
struct Options {
    claim: Claim,
    last_id: StreamId,
}

fn options(cx: &mut Cx<'_>, words: &[&[u8]], min_idle: i64) -> Result<Options, CommandError> {
    let now = cx.ks.now() as i64;
    let mut delivered = None;
    let mut options = Options {
        claim: Claim {
            min_idle,
            delivered_ms: 0,
            deliveries: None,
            force: false,
            just_id: false,
        },
        last_id: StreamId::MIN,
    };
    let mut rest = words.iter();
    while let Some(&word) = rest.next() {
        let value = rest.clone().next();
        let claim = &mut options.claim;
        match value {
            _ if args::is(word, "FORCE") => claim.force = true,
            _ if args::is(word, "JUSTID") => claim.just_id = true,
            Some(n) if args::is(word, "IDLE") => {
                rest.next();
                let idle = int(n, "ERR Invalid IDLE option argument for XCLAIM")?;
                delivered = Some(now.wrapping_sub(idle));
            }
            Some(n) if args::is(word, "TIME") => {
                rest.next();
                delivered = Some(int(n, "ERR Invalid TIME option argument for XCLAIM")?);
            }
            Some(n) if args::is(word, "RETRYCOUNT") => {
                rest.next();
                let count = int(n, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                claim.deliveries = u64::try_from(count).ok();
            }
            Some(id) if args::is(word, "LASTID") => {
                rest.next();
                options.last_id = strict_id(id, 0)?;
            }
            _ => {
                let word = shown(word, usize::MAX);
                return Err(error(&format!("ERR Unrecognized XCLAIM option '{word}'")));
            }
        }
    }
    // A time that can't be is now. What the log says was right once.
    let possible = |at: &i64| *at >= 0 && (*at <= now || cx.ks.is_replay());
    options.claim.delivered_ms = delivered.filter(possible).unwrap_or(now) as u64;
    Ok(options)
}

fn xclaim(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let to = Receiver {
        key: argv[1],
        group: argv[2],
        consumer: argv[3],
    };
    if open_group(&mut cx.ks, to.key, to.group)?.is_none() {
        return Err(no_group(to.key, to.group, ""));
    }
    let min_idle = int(argv[4], "ERR Invalid min-idle-time argument for XCLAIM")?;
    let ids: Vec<StreamId> = argv[5..]
        .iter()
        .map_while(|arg| strict_id(arg, 0).ok())
        .collect();
    let Options { claim, last_id } = options(cx, &argv[5 + ids.len()..], min_idle)?;
    let now = cx.ks.now();
    let reply = &mut *cx.reply;
    let Some((entries, group)) = open_group(&mut cx.ks, to.key, to.group)? else {
        return Ok(());
    };
    let mut changes = Changes {
        time_ms: claim.delivered_ms,
        ..Changes::default()
    };
    let moved = last_id > group.last_id;
    group.last_id = last_id.max(group.last_id);
    changes.last_id = group.last_id;
    reply.open();
    for id in ids {
        let outcome = claim.apply(entries, group, to, id, now, &mut changes);
        if let Outcome::Given = outcome {
            match entries.get(id) {
                Some(item) if !claim.just_id => put_item(reply, &item),
                _ => put_id(reply, id),
            }
        }
    }
    reply.close(changes.given.len());
    // XCLAIM says the last id as well.
    if moved && changes.given.is_empty() {
        changes.read = Some(group.entries_read);
    }
    changes.log(cx, to);
    Ok(())
}

/// What XAUTOCLAIM was told behind the id, and the greatest COUNT that Redis
/// takes.
fn auto_options(words: &[&[u8]]) -> Result<(usize, bool), CommandError> {
    let (mut count, mut just_id) = (100, false);
    let mut rest = words.iter();
    while let Some(&word) = rest.next() {
        if args::is(word, "JUSTID") {
            just_id = true;
        } else if args::is(word, "COUNT")
            && let Some(n) = rest.next()
        {
            count = number::parse_i64(n)
                .filter(|n| (1..=i64::MAX / 16).contains(n))
                .ok_or(CommandError::text("ERR COUNT must be > 0"))? as usize;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok((count, just_id))
}

fn xautoclaim(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let to = Receiver {
        key: argv[1],
        group: argv[2],
        consumer: argv[3],
    };
    let min_idle = int(argv[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = interval_start(argv[5])?;
    let (mut count, just_id) = auto_options(&argv[6..])?;
    let now = cx.ks.now();
    let reply = &mut *cx.reply;
    let Some((entries, group)) = open_group(&mut cx.ks, to.key, to.group)? else {
        return Err(no_group(to.key, to.group, ""));
    };
    let claim = Claim {
        min_idle,
        delivered_ms: now,
        deliveries: None,
        force: false,
        just_id,
    };
    let mut changes = Changes {
        time_ms: now,
        last_id: group.last_id,
        ..Changes::default()
    };
    // Many may be too young, so what is looked at is bounded as well.
    let mut attempts = count.saturating_mul(10);
    let mut from = Bound::Included(start);
    let next = loop {
        let next = group.pending().range((from, Bound::Unbounded)).next();
        let Some(id) = next.map(|(id, _)| *id) else {
            break StreamId::MIN;
        };
        if attempts == 0 || count == 0 {
            break id;
        }
        attempts -= 1;
        from = Bound::Excluded(id);
        match claim.apply(entries, group, to, id, now, &mut changes) {
            Outcome::Given | Outcome::Dropped => count -= 1,
            Outcome::Nothing => {}
        }
    };
    reply.array(3);
    put_id(reply, next);
    put_claimed(reply, entries, &changes, just_id);
    reply.array(changes.dropped.len());
    changes.dropped.iter().for_each(|id| put_id(reply, *id));
    changes.log(cx, to);
    Ok(())
}

fn put_claimed(reply: &mut dyn Reply, entries: &Entries, changes: &Changes, just_id: bool) {
    reply.array(changes.given.len());
    for (id, _) in &changes.given {
        match entries.get(*id) {
            Some(item) if !just_id => put_item(reply, &item),
            _ => put_id(reply, *id),
        }
    }
}
