//! SORT and SORT_RO: the elements of a list, set or sorted set in another
//! order.

mod lookup;
mod order;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::spec::{Flags, R, WM};
use super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::data::entry::Entry;
use crate::data::list::{self, End};
use crate::data::value::Kind;
use crate::data::{set, zset};
use crate::keyspace::keys::EventClass;

const BY_DENIED: CommandError =
    CommandError::text("ERR BY option of SORT denied due to insufficient ACL permissions.");
const GET_DENIED: CommandError =
    CommandError::text("ERR GET option of SORT denied due to insufficient ACL permissions.");

/// Most elements that one logged command pushes.
const LOGGED: usize = 64;

/// The commands that sort.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "SORT",
        arity: -2,
        flags: WM.or(Flags::DANGEROUS).or(Flags::LEADS),
        keys: &[
            KeySpec::one(1, KeyAccess::Read),
            KeySpec::behind(c"STORE", 2, KeyAccess::Overwrite),
        ],
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N+M*log(M)) where N is the number of elements to sort and M the number of elements returned.",
        summary: "Sorts the elements of a list, set or sorted set, and returns or stores them. ALPHA compares bytes, whatever the locale.",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE destination]",
        examples: &[
            ("SORT none", "[]"),
            ("RPUSH l 3 1 2", "3"),
            ("SORT l", r#"["1" "2" "3"]"#),
            ("SORT l DESC LIMIT 0 2", r#"["3" "2"]"#),
            ("MSET w_1 9 w_2 8 w_3 7", "OK"),
            ("SORT l BY w_*", r#"["3" "2" "1"]"#),
            ("HSET h2 f two", "1"),
            (
                "SORT l BY nosort GET # GET h*->f LIMIT 1 2",
                r#"["1" nil "2" "two"]"#,
            ),
            ("SORT l GET w_* STORE d", "3"),
            ("LRANGE d 0 -1", r#"["9" "8" "7"]"#),
            ("SORT none STORE d", "0"),
            ("EXISTS d", "0"),
            ("RPUSH l x", "4"),
            (
                "SORT l",
                "-ERR One or more scores can't be converted into double",
            ),
            ("SORT l ALPHA", r#"["1" "2" "3" "x"]"#),
            ("SORT l LIMIT 1", "-ERR syntax error"),
            ("SORT l ALPHA STORE d STORE e", "-ERR syntax error"),
        ],
        run: |cx, argv| sort(cx, argv, false),
    },
    Spec {
        name: "SORT_RO",
        arity: -2,
        flags: R.or(Flags::DANGEROUS).or(Flags::LEADS),
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(N+M*log(M)) where N is the number of elements to sort and M the number of elements returned.",
        summary: "Sorts the elements of a list, set or sorted set, and returns them.",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
        examples: &[
            ("SADD s 10 9", "2"),
            ("SORT_RO s", r#"["9" "10"]"#),
            ("SORT_RO s STORE d", "-ERR syntax error"),
        ],
        run: |cx, argv| sort(cx, argv, true),
    },
];

/// What SORT is told behind the key.
#[derive(Default)]
struct Options<'a> {
    desc: bool,
    alpha: bool,
    limit: Option<(i64, i64)>,
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(words: &[&'a [u8]], read_only: bool) -> Result<Options<'a>, CommandError> {
        let mut options = Options::default();
        let mut rest = words;
        while let [word, more @ ..] = rest {
            rest = more;
            match more {
                _ if args::is(word, "ASC") => options.desc = false,
                _ if args::is(word, "DESC") => options.desc = true,
                _ if args::is(word, "ALPHA") => options.alpha = true,
                [start, count, more @ ..] if args::is(word, "LIMIT") => {
                    options.limit = Some((args::int(start)?, args::int(count)?));
                    rest = more;
                }
                // The host, and the route, look at what follows the first
                // STORE only: a second one would lead past both.
                [to, more @ ..]
                    if args::is(word, "STORE") && !read_only && options.store.is_none() =>
                {
                    options.store = Some(to);
                    rest = more;
                }
                [pattern, more @ ..] if args::is(word, "BY") => {
                    options.by = Some(pattern);
                    rest = more;
                }
                [pattern, more @ ..] if args::is(word, "GET") => {
                    options.get.push(pattern);
                    rest = more;
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        // The host looks for the word STORE to know whether the client may
        // write to what follows; nobody may hide it behind another one.
        let by_name = options.get.iter().chain(&options.by);
        if options.store.is_some() && by_name.into_iter().any(|p| args::is(p, "STORE")) {
            return Err(CommandError::Syntax);
        }
        Ok(options)
    }

    /// Which of `len` elements are wanted.
    fn range(&self, len: usize) -> Range<usize> {
        let (start, count) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(start).unwrap_or(0).min(len);
        match usize::try_from(count) {
            Ok(count) => start..start.saturating_add(count).min(len),
            Err(_) => start..len,
        }
    }
}

/// What a client is told that gives `args` and may not read every key.
pub fn denial(args: &[&[u8]], read_only: bool) -> Option<CommandError> {
    let mut rest = args.get(2..)?;
    while let [word, more @ ..] = rest {
        rest = match more {
            // A NUL ends the pattern for the search.
            [pattern, more @ ..] if args::is(word, "BY") => {
                let mut text = pattern.iter().take_while(|b| **b != 0);
                if text.any(|b| *b == b'*') {
                    return Some(BY_DENIED);
                }
                more
            }
            [_, ..] if args::is(word, "GET") => return Some(GET_DENIED),
            // Wrong ones are told first.
            [start, count, more @ ..] if args::is(word, "LIMIT") => {
                args::int(start).and(args::int(count)).ok()?;
                more
            }
            [_, more @ ..] if args::is(word, "STORE") && !read_only => more,
            _ if ["ASC", "DESC", "ALPHA"].iter().any(|w| args::is(word, w)) => more,
            _ => return None,
        };
    }
    None
}

fn sort(cx: &mut Cx<'_>, argv: &[&[u8]], read_only: bool) -> Result<(), CommandError> {
    let options = Options::parse(&argv[2..], read_only)?;
    let found = cx.ks.get(argv[1]);
    let kind = found.map_or(Kind::List, Entry::kind);
    if !matches!(kind, Kind::List | Kind::Set | Kind::Zset) {
        return Err(CommandError::WrongType);
    }
    // Without a place for the element in the pattern there is nothing to
    // sort by; the elements stay in the order they have.
    let unsorted = options.by.is_some_and(|pattern| !pattern.contains(&b'*'));
    let elements = match found {
        None => Vec::new(),
        Some(entry) if unsorted && kind != Kind::Set => as_they_are(entry, &options),
        Some(entry) => {
            let elements = all(entry);
            let range = options.range(elements.len());
            let mut elements = match (unsorted, options.store) {
                (false, _) => order::sorted(cx, elements, &options)?,
                // A set has no order, and what is stored must not be chance.
                (true, Some(_)) => {
                    let mut elements = elements;
                    order::by_bytes(&mut elements, options.desc);
                    elements
                }
                (true, None) => elements,
            };
            elements.truncate(range.end);
            elements.drain(..range.start);
            elements
        }
    };
    match options.store {
        Some(to) => store(cx, to, &elements, &options),
        None => reply(cx, &elements, &options),
    }
    Ok(())
}

fn all(entry: &Entry) -> Vec<Box<[u8]>> {
    let mut elements = Vec::new();
    let payload = entry.payload();
    match entry.kind() {
        Kind::List => list::for_each(payload, &mut |e| elements.push(e.into())),
        Kind::Set => set::for_each(payload, &mut |m| elements.push(m.into())),
        _ => zset::for_each(payload, &mut |_, m| elements.push(m.into())),
    }
    elements
}

/// The wanted elements of a list or sorted set, in its own order or, with
/// DESC, from its end.
fn as_they_are(entry: &Entry, options: &Options<'_>) -> Vec<Box<[u8]>> {
    let payload = entry.payload();
    let mut elements: Vec<Box<[u8]>> = Vec::new();
    if entry.kind() == Kind::List {
        let len = list::len(payload);
        let range = options.range(len);
        let n = range.len();
        if options.desc {
            let walk = list::iter_before(payload, len - range.start).take(n);
            elements.extend(walk.map(Box::from));
        } else {
            let walk = list::iter_from(payload, range.start).take(n);
            elements.extend(walk.map(Box::from));
        }
        return elements;
    }
    let view = zset::View::of(entry);
    let len = view.len();
    let range = options.range(len);
    let ranks = if options.desc {
        len - range.end..len - range.start
    } else {
        range
    };
    view.visit(ranks, options.desc, |_, member| {
        elements.push(member.into());
    });
    elements
}

/// Calls `put` for each word of the outcome; `None` is a key that isn't there.
fn outcome(
    cx: &mut Cx<'_>,
    elements: &[Box<[u8]>],
    options: &Options<'_>,
    mut put: impl FnMut(&mut Cx<'_>, Option<&[u8]>),
) {
    for element in elements {
        if options.get.is_empty() {
            put(cx, Some(element));
        }
        for pattern in &options.get {
            if **pattern == *b"#" {
                put(cx, Some(element));
            } else {
                let value = lookup::value(&mut cx.ks, pattern, element);
                put(cx, value.as_deref());
            }
        }
    }
}

fn reply(cx: &mut Cx<'_>, elements: &[Box<[u8]>], options: &Options<'_>) {
    cx.reply.array(elements.len() * options.get.len().max(1));
    outcome(cx, elements, options, |cx, word| match word {
        Some(word) => cx.reply.bulk(word),
        None => cx.reply.null(),
    });
}

fn store(cx: &mut Cx<'_>, to: &[u8], elements: &[Box<[u8]>], options: &Options<'_>) {
    let mut words: Vec<Box<[u8]>> = Vec::new();
    outcome(cx, elements, options, |_, word| {
        words.push(word.unwrap_or_default().into());
    });
    let words: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
    // What ended under the destination's name is told before it is overwritten.
    let there = cx.ks.exists(to);
    if there {
        cx.ks.effect(b"DEL", &[to]);
    }
    if words.is_empty() {
        cx.ks.delete_if_empty(to, there);
    } else {
        let entry = list::entry(to, End::Tail, &words, cx.ks.limits);
        cx.ks.put(entry);
        // The outcome itself: another server's order of equal elements, or
        // its locale, may be another.
        for some in words.chunks(LOGGED) {
            let push: Vec<&[u8]> = std::iter::once(to).chain(some.iter().copied()).collect();
            cx.ks.effect(b"RPUSH", &push);
        }
        cx.ks.changed(EventClass::List, "sortstore", to);
        cx.ks.ready(to);
    }
    cx.reply.int(words.len() as i64);
}
