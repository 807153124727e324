//! A value of the host's, as the commands that rebuild it.

use std::ffi::CStr;

use crate::call::Answer;
use crate::ffi::Ctx;

/// A command's words, its name first.
pub type Words = Vec<Vec<u8>>;

/// Items that one command carries at most.
const ITEMS: usize = 64;
/// Elements of a list or stream that are asked for at once.
const PART: usize = 1000;

/// What is under a key of the host's.
pub enum Found {
    /// Nothing.
    Nothing,
    /// A value; its commands.
    Value(Vec<Words>),
    /// A kind that durable keys don't have: a module's.
    Foreign,
}

fn strings(answer: Answer) -> Vec<Vec<u8>> {
    let texts = answer.list().into_iter().filter_map(|item| match item {
        Answer::Text(text) => Some(text),
        Answer::Int(n) => Some(n.to_string().into_bytes()),
        _ => None,
    });
    texts.collect()
}

fn words(head: &[&[u8]], rest: &[Vec<u8>]) -> Words {
    let head = head.iter().map(|word| word.to_vec());
    head.chain(rest.iter().cloned()).collect()
}

/// Reads what is under `key` in the context's database.
pub fn value(ctx: Ctx<'_>, key: &[u8]) -> Found {
    let kind = ctx.call(c"TYPE", &[key]);
    let all = |name: &CStr, args: &[&[u8]]| strings(ctx.call(name, args));
    let in_parts = |name: &[u8], per_item: usize, items: Vec<Vec<u8>>| -> Vec<Words> {
        let parts = items.chunks(ITEMS * per_item);
        parts.map(|part| words(&[name, key], part)).collect()
    };
    let mut commands = match kind.text() {
        Some(b"none") => return Found::Nothing,
        Some(b"string") => match ctx.call(c"GET", &[key]) {
            Answer::Text(text) => vec![words(&[b"SET", key, &text], &[])],
            _ => return Found::Nothing,
        },
        Some(b"list") => in_parts(b"RPUSH", 1, list(ctx, key)),
        Some(b"set") => in_parts(b"SADD", 1, all(c"SMEMBERS", &[key])),
        Some(b"zset") => {
            let mut pairs = all(c"ZRANGE", &[key, b"0", b"-1", b"WITHSCORES"]);
            // Members come first there, scores in ZADD.
            pairs.chunks_exact_mut(2).for_each(<[_]>::reverse);
            in_parts(b"ZADD", 2, pairs)
        }
        Some(b"hash") => {
            let pairs = all(c"HGETALL", &[key]);
            let ttls = field_ttls(ctx, key, &pairs);
            let mut commands = in_parts(b"HSET", 2, pairs);
            commands.extend(ttls);
            commands
        }
        Some(b"stream") => stream(ctx, key),
        _ => return Found::Foreign,
    };
    // It ended between two calls.
    if commands.is_empty() {
        return Found::Nothing;
    }
    if let Answer::Int(at @ 0..) = ctx.call(c"PEXPIRETIME", &[key]) {
        let at = at.to_string();
        commands.push(words(&[b"PEXPIREAT", key, at.as_bytes()], &[]));
    }
    Found::Value(commands)
}

fn list(ctx: Ctx<'_>, key: &[u8]) -> Vec<Vec<u8>> {
    let mut elements = Vec::new();
    loop {
        let (start, stop) = (elements.len(), elements.len() + PART - 1);
        let (start, stop) = (start.to_string(), stop.to_string());
        let range = [key, start.as_bytes(), stop.as_bytes()];
        let part = strings(ctx.call(c"LRANGE", &range));
        let last = part.len() < PART;
        elements.extend(part);
        if last {
            return elements;
        }
    }
}

/// From version 7.4 on, fields may have TTLs; before, the command is unknown.
fn field_ttls(ctx: Ctx<'_>, key: &[u8], pairs: &[Vec<u8>]) -> Vec<Words> {
    let fields: Vec<&[u8]> = pairs.iter().step_by(2).map(Vec::as_slice).collect();
    let mut commands = Vec::new();
    for part in fields.chunks(PART) {
        let count = part.len().to_string();
        let mut args = vec![key, b"FIELDS", count.as_bytes()];
        args.extend(part);
        let ttls = ctx.call(c"HPEXPIRETIME", &args).list();
        for (field, ttl) in part.iter().zip(ttls) {
            if let Answer::Int(at @ 0..) = ttl {
                let at = at.to_string();
                let command: [&[u8]; 6] =
                    [b"HPEXPIREAT", key, at.as_bytes(), b"FIELDS", b"1", field];
                commands.push(words(&command, &[]));
            }
        }
    }
    commands
}

/// A field of XINFO's reply.
fn field(items: &[Answer], name: &[u8]) -> Answer {
    let mut pairs = items.chunks_exact(2);
    let found = pairs.find(|pair| pair[0].text() == Some(name));
    found.map_or(Answer::Nil, |pair| pair[1].clone())
}

fn text_of(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Text(text) => text.clone(),
        Answer::Int(n) => n.to_string().into_bytes(),
        // What isn't known is -1 where it is set.
        _ => b"-1".to_vec(),
    }
}

/// Entries, counters, groups, consumers and what is pending.
fn stream(ctx: Ctx<'_>, key: &[u8]) -> Vec<Words> {
    let about = ctx.call(c"XINFO", &[b"STREAM", key, b"FULL", b"COUNT", b"0"]);
    let about = about.list();
    if about.is_empty() {
        return Vec::new();
    }
    let get = |name: &[u8]| field(&about, name);
    let mut commands = entries(ctx, key);
    let last = text_of(&get(b"last-generated-id"));
    if commands.is_empty() {
        // No command makes an empty stream but by making one that isn't.
        let id: &[u8] = if last == b"0-0" { b"0-1" } else { &last };
        commands.push(words(&[b"XADD", key, b"MAXLEN", b"0", id, b"x", b"y"], &[]));
    }
    let (added, deleted) = (get(b"entries-added"), get(b"max-deleted-entry-id"));
    commands.push(words(
        &[
            b"XSETID",
            key,
            &last,
            b"ENTRIESADDED",
            &text_of(&added),
            b"MAXDELETEDID",
            &text_of(&deleted),
        ],
        &[],
    ));
    for group in get(b"groups").list() {
        let group = group.list();
        groups(key, &group, &mut commands);
    }
    commands
}

fn entries(ctx: Ctx<'_>, key: &[u8]) -> Vec<Words> {
    let mut commands: Vec<Words> = Vec::new();
    let count = PART.to_string();
    let mut from = b"-".to_vec();
    loop {
        let range = [key, &from, b"+", b"COUNT", count.as_bytes()];
        let part = ctx.call(c"XRANGE", &range).list();
        let last = part.len() < PART;
        for entry in part {
            let entry = entry.list();
            if let [Answer::Text(id), pairs] = &entry[..] {
                let pairs = strings(pairs.clone());
                commands.push(words(&[b"XADD", key, id], &pairs));
                from = [&b"("[..], id].concat();
            }
        }
        if last {
            return commands;
        }
    }
}

fn groups(key: &[u8], group: &[Answer], commands: &mut Vec<Words>) {
    let name = text_of(&field(group, b"name"));
    let last = text_of(&field(group, b"last-delivered-id"));
    let read = text_of(&field(group, b"entries-read"));
    commands.push(words(
        &[
            b"XGROUP",
            b"CREATE",
            key,
            &name,
            &last,
            b"ENTRIESREAD",
            &read,
        ],
        &[],
    ));
    for consumer in field(group, b"consumers").list() {
        let consumer = text_of(&field(&consumer.list(), b"name"));
        commands.push(words(
            &[b"XGROUP", b"CREATECONSUMER", key, &name, &consumer],
            &[],
        ));
    }
    for pending in field(group, b"pending").list() {
        if let [id, consumer, time, count] = &pending.list()[..] {
            let claim: &[&[u8]] = &[
                b"XCLAIM",
                key,
                &name,
                &text_of(consumer),
                b"0",
                &text_of(id),
                b"TIME",
                &text_of(time),
                b"RETRYCOUNT",
                &text_of(count),
                b"JUSTID",
                b"FORCE",
            ];
            commands.push(words(claim, &[]));
        }
    }
}
