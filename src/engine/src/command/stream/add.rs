//! Adding entries, and trimming as they are added.

use super::super::spec::{W, WMF};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::{open, strict_id};
use crate::base::number;
use crate::data::stream::block::MAX_BYTES;
use crate::data::stream::entries::Removed;
use crate::data::stream::id::c_string;
use crate::data::stream::{Full, Keep, Seq, Stream, StreamId, Trim};
use crate::data::value::Limits;
use crate::keyspace::keys::{EventClass, Keys};

/// The commands that add and trim.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "XADD",
        arity: -5,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1) when adding, O(N) when trimming where N is the number of entries removed.",
        summary: "Appends an entry to a stream. Creates the key if it doesn't exist.",
        syntax: "key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
        examples: &[
            ("XADD s * f v", "\"1000000-0\""),
            ("XADD s * f v", "\"1000000-1\""),
            ("XADD s 1000000-* f v", "\"1000000-2\""),
            ("XADD s 2000000-* f v", "\"2000000-0\""),
            ("XADD s 2000001 f v", "\"2000001-0\""),
            (
                "XADD s 5-5 f v",
                "-ERR The ID specified in XADD is equal or smaller than the target stream top item",
            ),
            (
                "XADD s 0-0 f v",
                "-ERR The ID specified in XADD must be greater than 0-0",
            ),
            ("XADD s MAXLEN 2 3000000-5 f v g w", "\"3000000-5\""),
            ("XLEN s", "2"),
            ("XADD s MINID = 3000000 * f v", "\"3000000-6\""),
            ("XLEN s", "2"),
            ("XADD s MAXLEN ~ 1 * f v", "\"3000000-7\""),
            ("XLEN s", "3"),
            ("XADD none NOMKSTREAM * f v", "nil"),
            (
                "XADD s * f",
                "-ERR wrong number of arguments for 'persist.xadd' command",
            ),
            (
                "XADD s MAXLEN 1 LIMIT 5 * f v",
                "-ERR syntax error, LIMIT cannot be used without the special ~ option",
            ),
            (
                "XADD s MAXLEN 1 MINID 5 * f v",
                "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ),
            (
                "XADD s MAXLEN -1 * f v",
                "-ERR The MAXLEN argument must be >= 0.",
            ),
        ],
        run: xadd,
    },
    Spec {
        name: "XTRIM",
        arity: -4,
        flags: W,
        keys: &[KeySpec::one(1, KeyAccess::Shrink)],
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(N) where N is the number of blocks removed: what they held is freed elsewhere.",
        summary: "Removes entries from the front of a stream, down to a length or an id.",
        syntax: "key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]",
        examples: &[
            ("XTRIM s MAXLEN 0", "0"),
            ("XADD s 1-0 f v", "\"1-0\""),
            ("XADD s 2-0 f v", "\"2-0\""),
            ("XADD s 3-0 f v", "\"3-0\""),
            ("XTRIM s MAXLEN ~ 1", "0"),
            ("XTRIM s MAXLEN 2", "1"),
            ("XTRIM s MINID 3", "1"),
            ("XTRIM s MINID = 3", "0"),
            ("XTRIM s MAXLEN ~ 0 LIMIT 0", "1"),
            ("EXISTS s", "1"),
            (
                "XTRIM s LIMIT 1",
                "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ),
            ("XTRIM s FOO 1", "-ERR syntax error"),
        ],
        run: xtrim,
    },
];

/// The id of a new entry, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    At(u64),
    /// The very id.
    Given(StreamId),
}

/// What XADD and XTRIM were told.
struct Options {
    trim: Option<Trim>,
    no_create: bool,
    id: NewId,
    /// Where the id stands; only for XADD.
    id_at: usize,
}

const EXCLUSIVE: CommandError = CommandError::text(
    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
);

fn not_negative(arg: &[u8], error: &'static str) -> Result<u64, CommandError> {
    u64::try_from(args::int(arg)?).map_err(|_| CommandError::text(error))
}

fn options(argv: &[&[u8]], adds: bool, limits: &Limits) -> Result<Options, CommandError> {
    let mut keep = None;
    let (mut approximate, mut limit, mut no_create) = (false, None, false);
    let (mut id, mut at) = (NewId::Auto, 2);
    while let Some(&word) = argv.get(at) {
        let more = argv.len() - 1 - at;
        let by_length = args::is(word, "MAXLEN");
        if adds && c_string(word) == b"*" {
            break;
        } else if (by_length || args::is(word, "MINID")) && more > 0 {
            if keep.is_some() {
                return Err(EXCLUSIVE);
            }
            let sign = argv.get(at + 1).filter(|_| more > 1).map(|s| c_string(s));
            approximate = sign == Some(b"~");
            at += 1 + usize::from(approximate || sign == Some(b"="));
            keep = Some(if by_length {
                Keep::Newest(not_negative(
                    argv[at],
                    "ERR The MAXLEN argument must be >= 0.",
                )?)
            } else {
                Keep::From(strict_id(argv[at], 0)?)
            });
        } else if args::is(word, "LIMIT") && more > 0 {
            at += 1;
            limit = Some(not_negative(
                argv[at],
                "ERR The LIMIT argument must be >= 0.",
            )?);
        } else if adds && args::is(word, "NOMKSTREAM") {
            no_create = true;
        } else if adds {
            id = match StreamId::parse(word, 0) {
                Some((id, Seq::Given)) => NewId::Given(id),
                Some((id, Seq::Auto)) => NewId::At(id.ms),
                None => return Err(super::INVALID_ID),
            };
            break;
        } else {
            return Err(CommandError::Syntax);
        }
        at += 1;
    }
    if keep.is_none() && limit.is_some_and(|limit| limit > 0) {
        return Err(CommandError::text(
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ));
    }
    if keep.is_none() && !adds {
        return Err(CommandError::text(
            "ERR syntax error, XTRIM must be called with a trimming strategy",
        ));
    }
    if limit.is_some() && !approximate {
        return Err(CommandError::text(
            "ERR syntax error, LIMIT cannot be used without the special ~ option",
        ));
    }
    let trim = keep.map(|keep| Trim {
        keep,
        approximate,
        limit: limit.unwrap_or(if approximate { usual_limit(limits) } else { 0 }),
    });
    Ok(Options {
        trim,
        no_create,
        id,
        id_at: at,
    })
}

/// Entries that approximate trimming takes at most unless it is told: those
/// of 100 blocks.
fn usual_limit(limits: &Limits) -> u64 {
    match limits.stream_node_max_entries.saturating_mul(100) {
        0 => 10_000,
        entries => entries.min(1_000_000),
    }
}

/// The id of the entry to add behind `last`.
fn new_id(wanted: NewId, last: StreamId, now: u64) -> Result<StreamId, CommandError> {
    let exhausted = CommandError::text(
        "ERR The stream has exhausted the last possible ID, unable to add more items",
    );
    let next = last.next().ok_or(exhausted)?;
    let id = match wanted {
        NewId::Auto if now > last.ms => StreamId::new(now, 0),
        NewId::Auto => next,
        NewId::At(ms) if ms == last.ms && next.ms == ms => next,
        NewId::At(ms) if ms == last.ms => last,
        NewId::At(ms) => StreamId::new(ms, 0),
        NewId::Given(id) => id,
    };
    if id <= last {
        return Err(CommandError::text(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ));
    }
    Ok(id)
}

/// What became of a stream.
struct Done {
    id: StreamId,
    trimmed: u64,
    left: u64,
    garbage: Removed,
}

/// How to add an entry.
struct Addition<'a> {
    id: NewId,
    now: u64,
    pairs: &'a [&'a [u8]],
    trim: Option<Trim>,
    full: Full,
}

impl Addition<'_> {
    fn to(&self, stream: &mut Stream) -> Result<Done, CommandError> {
        let entries = &mut stream.entries;
        let id = new_id(self.id, entries.last_id, self.now)?;
        if self.pairs.iter().map(|p| p.len() as u64).sum::<u64>() > MAX_BYTES {
            return Err(CommandError::text(
                "ERR Elements are too large to be stored",
            ));
        }
        entries.append(id, self.pairs, self.full);
        let (trimmed, garbage) = match self.trim {
            Some(trim) => entries.trim(trim),
            None => Default::default(),
        };
        Ok(Done {
            id,
            trimmed,
            left: entries.len(),
            garbage,
        })
    }
}

fn xadd(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let options = options(argv, true, cx.ks.limits)?;
    let (key, pairs) = (argv[1], argv.get(options.id_at + 1..).unwrap_or_default());
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(CommandError::Arity("XADD"));
    }
    if options.id == NewId::Given(StreamId::MIN) {
        return Err(CommandError::text(
            "ERR The ID specified in XADD must be greater than 0-0",
        ));
    }
    let addition = Addition {
        id: options.id,
        now: if options.id == NewId::Auto {
            cx.ks.now()
        } else {
            0
        },
        pairs,
        trim: options.trim,
        full: Full {
            entries: cx.ks.limits.stream_node_max_entries,
            bytes: cx.ks.limits.stream_node_max_bytes,
        },
    };
    let done = match open(&mut cx.ks, key)? {
        Some(stream) => addition.to(stream)?,
        None if options.no_create => {
            cx.reply.null();
            return Ok(());
        }
        None => {
            let mut stream = Stream::default();
            let done = addition.to(&mut stream)?;
            cx.ks.put(stream.into_entry(key));
            done
        }
    };
    let id = done.id.text();
    cx.reply.bulk(id.as_bytes());
    let mut length = number::IntegerText::default();
    let mut words: Vec<&[u8]> = Vec::with_capacity(5 + pairs.len());
    words.push(key);
    if done.trimmed > 0 {
        let length = number::format_i64(done.left as i64, &mut length);
        words.extend([&b"MAXLEN"[..], b"=", length]);
    }
    words.push(id.as_bytes());
    words.extend(pairs);
    cx.ks.effect(b"XADD", &words);
    cx.ks.changed(EventClass::Stream, "xadd", key);
    if done.trimmed > 0 {
        cx.ks.changed(EventClass::Stream, "xtrim", key);
    }
    discard(&mut cx.ks, done.garbage);
    cx.ks.ready(key);
    Ok(())
}

/// Frees what trimming removed, elsewhere if that takes long.
fn discard(ks: &mut Keys<'_>, garbage: Removed) {
    if garbage.is_heavy() {
        let stream = Stream {
            entries: garbage.into_entries(),
            ..Stream::default()
        };
        ks.discard(stream.into_entry(b""));
    }
}

fn xtrim(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let options = options(argv, false, cx.ks.limits)?;
    let key = argv[1];
    let (Some(trim), Some(stream)) = (options.trim, open(&mut cx.ks, key)?) else {
        cx.reply.int(0);
        return Ok(());
    };
    let (trimmed, garbage) = stream.entries.trim(trim);
    let left = stream.entries.len();
    if trimmed > 0 {
        let mut length = number::IntegerText::default();
        let length = number::format_i64(left as i64, &mut length);
        cx.ks.effect(b"XTRIM", &[key, b"MAXLEN", b"=", length]);
        cx.ks.changed(EventClass::Stream, "xtrim", key);
        discard(&mut cx.ks, garbage);
    }
    cx.reply.int(trimmed as i64);
    Ok(())
}
