//! Reading what is new: XREAD, and XREADGROUP, which also remembers who was
//! given what.

use super::super::spec::{BLOCKING, R, W};
use super::super::wait::Wait;
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::deliver::{Changes, Receiver};
use super::{look, no_group, open_group, put_id, put_item, strict_id};
use crate::base::number;
use crate::data::stream::StreamId;
use crate::data::stream::id::c_string;
use crate::data::value::Kind;

/// The commands that read on.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "XREAD",
        arity: -4,
        flags: R.or(BLOCKING),
        keys: &[KeySpec::half_behind(c"STREAMS", 1, KeyAccess::Read)],
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(log(N)+M) for each stream, with N being the number of its entries and M the number of those returned.",
        summary: "Returns the entries of streams behind the ids given. With BLOCK, waits for some if there are none.",
        syntax: "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
        examples: &[
            ("XREAD STREAMS s 0", "nil"),
            ("XADD s 1-1 f v", "\"1-1\""),
            ("XADD t 2-2 f w", "\"2-2\""),
            (
                "XREAD COUNT 5 STREAMS s t none 0 2 $",
                "[[\"s\" [[\"1-1\" [\"f\" \"v\"]]]] [\"t\" [[\"2-2\" [\"f\" \"w\"]]]]]",
            ),
            ("XREAD BLOCK 0 STREAMS s t $ 9", "nil"),
            (
                "XREAD STREAMS s",
                "-ERR wrong number of arguments for 'persist.xread' command",
            ),
            (
                "XREAD STREAMS s t 0",
                "-ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
            ),
            ("XREAD BLOCK -1 STREAMS s 0", "-ERR timeout is negative"),
            (
                "XREAD STREAMS s >",
                "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
            ),
        ],
        run: |cx, argv| read(cx, argv, false),
    },
    Spec {
        name: "XREADGROUP",
        arity: -7,
        flags: W.or(BLOCKING),
        keys: &[KeySpec::half_behind(c"STREAMS", 4, KeyAccess::Read)],
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(M*log(N)) for each stream, with N being the number of its entries and M the number of those returned.",
        summary: "Gives a consumer of a group entries that none has yet, or those it has and didn't acknowledge. With BLOCK, waits for some if there are none.",
        syntax: "GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
        examples: &[
            (
                "XREADGROUP GROUP g c STREAMS s >",
                "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
            ),
            ("XADD s 1-1 f v", "\"1-1\""),
            ("XADD s 2-2 f w", "\"2-2\""),
            ("XGROUP CREATE s g 0", "OK"),
            (
                "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
                "[[\"s\" [[\"1-1\" [\"f\" \"v\"]]]]]",
            ),
            (
                "XREADGROUP GROUP g c NOACK STREAMS s >",
                "[[\"s\" [[\"2-2\" [\"f\" \"w\"]]]]]",
            ),
            ("XREADGROUP GROUP g c STREAMS s >", "nil"),
            (
                "XREADGROUP GROUP g c STREAMS s 0",
                "[[\"s\" [[\"1-1\" [\"f\" \"v\"]]]]]",
            ),
            ("XDEL s 1-1", "1"),
            (
                "XREADGROUP GROUP g c STREAMS s 0",
                "[[\"s\" [[\"1-1\" nil]]]]",
            ),
            ("XREADGROUP GROUP g d STREAMS s 0", "[[\"s\" []]]"),
            ("XPENDING s g", "[1 \"1-1\" \"1-1\" [[\"c\" \"1\"]]]"),
            (
                "XREADGROUP COUNT 1 BLOCK 0 STREAMS s >",
                "-ERR Missing GROUP option for XREADGROUP",
            ),
        ],
        run: |cx, argv| read(cx, argv, true),
    },
];

/// What the two commands are asked for.
struct Request<'a> {
    keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
    /// At most so many entries of each stream.
    count: usize,
    /// The group and the consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    /// Nothing becomes pending.
    no_ack: bool,
    /// How long to wait if there is nothing, in ms; 0 is for ever.
    block_ms: Option<u64>,
}

/// Whether anything could be returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It has been.
    Something,
    /// Nothing is there, and nothing was replied.
    Nothing,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// Behind this id.
    Behind(StreamId),
    /// Behind what the group was given last. Also told as the greatest id, as
    /// in Redis.
    New,
}

fn request<'a>(
    argv: &'a [&'a [u8]],
    grouped: bool,
    refuses_block: bool,
) -> Result<Request<'a>, CommandError> {
    let (mut count, mut group, mut no_ack, mut block_ms) = (usize::MAX, None, false, None);
    let mut at = 1;
    let only_grouped = |option: &str| {
        CommandError::Text(
            format!(
                "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
            )
            .into(),
        )
    };
    while let Some(&word) = argv.get(at) {
        let more = argv.len() - 1 - at;
        if args::is(word, "BLOCK") && more > 0 {
            if refuses_block {
                let name = String::from_utf8_lossy(argv[0]);
                return Err(CommandError::Text(
                    format!("ERR {name} command is not allowed with BLOCK option from scripts")
                        .into(),
                ));
            }
            at += 1;
            block_ms = Some(timeout(argv[at])?);
        } else if args::is(word, "COUNT") && more > 0 {
            at += 1;
            count = match usize::try_from(args::int(argv[at])?) {
                Ok(0) | Err(_) => usize::MAX,
                Ok(n) => n,
            };
        } else if args::is(word, "STREAMS") && more > 0 {
            if more % 2 == 1 {
                return Err(CommandError::text(
                    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
                ));
            }
            if grouped && group.is_none() {
                return Err(CommandError::text(
                    "ERR Missing GROUP option for XREADGROUP",
                ));
            }
            let (keys, ids) = argv[at + 1..].split_at(more / 2);
            return Ok(Request {
                keys,
                ids,
                count,
                group,
                no_ack,
                block_ms,
            });
        } else if args::is(word, "GROUP") && more > 1 {
            if !grouped {
                return Err(only_grouped("GROUP"));
            }
            group = Some((argv[at + 1], argv[at + 2]));
            at += 2;
        } else if args::is(word, "NOACK") {
            if !grouped {
                return Err(only_grouped("NOACK"));
            }
            no_ack = true;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    Err(CommandError::Syntax)
}

fn timeout(arg: &[u8]) -> Result<u64, CommandError> {
    let ms = number::parse_i64(arg).ok_or(CommandError::text(
        "ERR timeout is not an integer or out of range",
    ))?;
    u64::try_from(ms).map_err(|_| CommandError::text("ERR timeout is negative"))
}

/// Where reading `key` begins.
fn from(
    cx: &mut Cx<'_>,
    key: &[u8],
    id: &[u8],
    group: Option<&[u8]>,
) -> Result<From, CommandError> {
    let stream = look(&mut cx.ks, key)?;
    if let Some(group) = group
        && !stream.is_some_and(|s| s.groups.contains_key(group))
    {
        if cx.has_waited() {
            return Err(CommandError::text(
                "NOGROUP the consumer group this client was blocked on no longer exists",
            ));
        }
        return Err(no_group(key, group, " in XREADGROUP with GROUP option"));
    }
    match c_string(id) {
        b"$" if group.is_some() => Err(CommandError::text(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
        )),
        b"$" => Ok(From::Behind(
            stream.map(|s| s.entries.last_id).unwrap_or_default(),
        )),
        b">" if group.is_none() => Err(CommandError::text(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        )),
        b">" => Ok(From::New),
        _ => match strict_id(id, 0)? {
            StreamId::MAX if group.is_some() => Ok(From::New),
            id => Ok(From::Behind(id)),
        },
    }
}

fn read(cx: &mut Cx<'_>, argv: &[&[u8]], grouped: bool) -> Result<(), CommandError> {
    let request = request(argv, grouped, cx.refuses_block)?;
    let group = request.group.map(|(group, _)| group);
    let mut from = Vec::with_capacity(request.keys.len());
    for (key, id) in request.keys.iter().zip(request.ids) {
        from.push(if cx.looks_at(key) {
            Some(self::from(cx, key, id, group)?)
        } else {
            None
        });
    }
    if serve(cx, &request, &from)? == Found::Nothing {
        let waits = match request.block_ms {
            Some(ms) => cx.wait(wish(argv, &request, &from, ms)),
            None => false,
        };
        if !waits {
            cx.reply.null_array();
        }
    }
    Ok(())
}

/// What is waited for: `$` is the end of the stream as it is now, and a key
/// named twice is waited for as it was named first. Who tells no COUNT gets no
/// more than some, as in Redis.
fn wish(argv: &[&[u8]], request: &Request<'_>, from: &[Option<From>], ms: u64) -> Wait {
    let (mut keys, mut ids) = (Vec::<Box<[u8]>>::new(), Vec::<Box<[u8]>>::new());
    for ((&key, &id), from) in request.keys.iter().zip(request.ids).zip(from) {
        if keys.iter().any(|known| **known == *key) {
            continue;
        }
        keys.push(key.into());
        ids.push(match from {
            Some(From::Behind(id)) => id.text().as_bytes().into(),
            _ => id.into(),
        });
    }
    let options = argv.len() - 2 * request.keys.len();
    let mut then: Vec<Box<[u8]>> = argv[..options].iter().map(|&arg| arg.into()).collect();
    if request.count == usize::MAX {
        then.splice(1..1, [&b"COUNT"[..], b"1000"].map(Box::from));
    }
    then.extend(keys.iter().cloned());
    then.extend(ids);
    Wait {
        kind: Kind::Stream,
        keys,
        timeout_ms: Some(ms).filter(|ms| *ms > 0),
        then: Some(then),
        unless_gone: request.group.is_some(),
    }
}

/// Replies what there is in each stream, if there is any.
fn serve(
    cx: &mut Cx<'_>,
    request: &Request<'_>,
    from: &[Option<From>],
) -> Result<Found, CommandError> {
    let mut streams = Streams::default();
    for (key, from) in request.keys.iter().zip(from) {
        let Some(from) = *from else { continue };
        match (request.group, from) {
            (None, From::Behind(id)) => plain(cx, key, id, request.count, &mut streams)?,
            (None, From::New) => {}
            (Some((group, consumer)), from) => {
                let to = Receiver {
                    key,
                    group,
                    consumer,
                };
                let changes = match from {
                    From::New => give(cx, to, request, &mut streams)?,
                    From::Behind(id) => give_again(cx, to, id, request.count, &mut streams)?,
                };
                changes.log(cx, to);
            }
        }
    }
    Ok(streams.close(cx))
}

/// The outer part of the reply: an array of keys with their entries, a map in
/// RESP3. It begins with the first stream that has something.
#[derive(Default)]
struct Streams {
    count: usize,
}

impl Streams {
    fn begin(&mut self, reply: &mut dyn super::super::Reply, key: &[u8]) {
        let map = reply.is_resp3();
        match (self.count, map) {
            (0, true) => reply.open_map(),
            (0, false) => reply.open(),
            _ => {}
        }
        self.count += 1;
        if !map {
            reply.array(2);
        }
        reply.bulk(key);
    }

    fn close(&self, cx: &mut Cx<'_>) -> Found {
        match (self.count, cx.reply.is_resp3()) {
            (0, _) => return Found::Nothing,
            (count, true) => cx.reply.close_map(count),
            (count, false) => cx.reply.close(count),
        }
        Found::Something
    }
}

/// The id behind `id`; the least one behind the greatest, as in Redis.
fn behind(id: StreamId) -> StreamId {
    id.next().unwrap_or(StreamId::MIN)
}

fn plain(
    cx: &mut Cx<'_>,
    key: &[u8],
    id: StreamId,
    count: usize,
    streams: &mut Streams,
) -> Result<(), CommandError> {
    let waited = cx.has_waited();
    let Some(stream) = look(&mut cx.ks, key)? else {
        return Ok(());
    };
    let Some(start) = id.next() else {
        return Ok(());
    };
    let mut items = stream.entries.range(start, StreamId::MAX).peekable();
    // Who has waited hears of what came, also if it has gone since.
    if items.peek().is_some() || waited && stream.entries.last_id > id {
        streams.begin(cx.reply, key);
        super::put_items(cx.reply, items.take(count));
    }
    Ok(())
}

/// Gives a consumer what its group was not given yet.
fn give(
    cx: &mut Cx<'_>,
    to: Receiver<'_>,
    request: &Request<'_>,
    streams: &mut Streams,
) -> Result<Changes, CommandError> {
    let (now, waited) = (cx.ks.now(), cx.has_waited());
    let mut changes = Changes {
        time_ms: now,
        ..Changes::default()
    };
    let Some((entries, group)) = open_group(&mut cx.ks, to.key, to.group)? else {
        return Ok(changes);
    };
    let reply = &mut *cx.reply;
    let top = match waited {
        true => Some(entries.last_id),
        false => entries.top_id(),
    };
    if top.is_none_or(|top| top <= group.last_id) {
        return Ok(changes);
    }
    streams.begin(reply, to.key);
    changes.created = !group.see(to.consumer, now) && group.create_consumer(to.consumer, now);
    let hole = entries.max_hole();
    reply.open();
    let mut count = 0;
    for item in entries.range(behind(group.last_id), StreamId::MAX) {
        let id = item.id;
        let whole = hole.is_none_or(|hole| id > hole);
        group.entries_read = match group.entries_read {
            Some(read) if whole => Some(read.saturating_add(1)),
            read if entries.added == 0 => read,
            _ => entries.count_up_to(id),
        };
        group.last_id = id;
        put_item(reply, &item);
        if !request.no_ack {
            group.assign(id, to.consumer, now, 1);
            changes.given.push((id, 1));
        }
        count += 1;
        if count == request.count {
            break;
        }
    }
    reply.close(count);
    changes.last_id = group.last_id;
    changes.read = Some(group.entries_read);
    Ok(changes)
}

/// Gives a consumer what it has already, but for what the stream lost.
fn give_again(
    cx: &mut Cx<'_>,
    to: Receiver<'_>,
    id: StreamId,
    count: usize,
    streams: &mut Streams,
) -> Result<Changes, CommandError> {
    let now = cx.ks.now();
    let mut changes = Changes {
        time_ms: now,
        ..Changes::default()
    };
    let Some((entries, group)) = open_group(&mut cx.ks, to.key, to.group)? else {
        return Ok(changes);
    };
    let reply = &mut *cx.reply;
    streams.begin(reply, to.key);
    changes.created = !group.see(to.consumer, now) && group.create_consumer(to.consumer, now);
    changes.last_id = group.last_id;
    reply.open();
    let mut shown = 0;
    let pending = group.consumer(to.consumer).map(|c| c.pending());
    for id in pending.into_iter().flat_map(|p| p.range(behind(id)..)) {
        if shown == count {
            break;
        }
        shown += 1;
        match (entries.get(*id), group.pending().get(id)) {
            (Some(item), Some(pending)) => {
                put_item(reply, &item);
                changes.given.push((*id, pending.once_more()));
            }
            _ => {
                reply.array(2);
                put_id(reply, *id);
                reply.null_array();
            }
        }
    }
    reply.close(shown);
    for (id, deliveries) in &changes.given {
        group.assign(*id, to.consumer, now, *deliveries);
    }
    Ok(changes)
}
