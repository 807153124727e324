//! Everything that a keyspace holds, key by key, read with ordinary commands: the host's own (prefix "") or the durable
//! one (prefix "PERSIST.").

mod stream;

use std::collections::{BTreeMap, BTreeSet};

use crate::raw::{RawClient, Resp};
use crate::{Error, Result};

pub use stream::Stream;

/// A value in a form that two keyspaces must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Its bytes.
    String(Vec<u8>),
    /// In order.
    List(Vec<Vec<u8>>),
    /// In no order.
    Set(BTreeSet<Vec<u8>>),
    /// In no order.
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    /// Members and scores as printed, in order.
    SortedSet(Vec<(Vec<u8>, Vec<u8>)>),
    /// With its groups.
    Stream(Box<Stream>),
}

impl Value {
    fn is_like(&self, other: &Value, slack_ms: u64) -> bool {
        match (self, other) {
            (Value::Stream(left), Value::Stream(right)) => left.is_like(right, slack_ms),
            _ => self == other,
        }
    }
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What it holds.
    pub value: Value,
    /// Unix time in ms; -1 if it never expires.
    pub expires_at: i64,
}

/// Every key, by database and name.
pub type Contents = BTreeMap<(u32, Vec<u8>), Key>;

const BATCH: usize = 200;

/// Reads the databases from 0 to `databases` - 1.
pub fn read(port: u16, prefix: &str, databases: u32) -> Result<Contents> {
    let mut client = RawClient::connect(port)?;
    let mut contents = Contents::new();
    for db in 0..databases {
        client.command(&["SELECT", &db.to_string()])?;
        let keys = strings(client.command(&[&format!("{prefix}KEYS"), "*"])?)?;
        for batch in keys.chunks(BATCH) {
            read_batch(&mut client, prefix, db, batch, &mut contents)?;
        }
    }
    Ok(contents)
}

fn read_batch(
    client: &mut RawClient,
    prefix: &str,
    db: u32,
    keys: &[Vec<u8>],
    contents: &mut Contents,
) -> Result<()> {
    let call = |name: &str, key: &[u8], rest: &[&str]| -> Vec<Vec<u8>> {
        let mut argv = vec![format!("{prefix}{name}").into_bytes(), key.to_vec()];
        argv.extend(rest.iter().map(|arg| arg.as_bytes().to_vec()));
        argv
    };
    let questions: Vec<_> = keys
        .iter()
        .flat_map(|key| [call("TYPE", key, &[]), call("PEXPIRETIME", key, &[])])
        .collect();
    let mut found = Vec::new();
    let mut readers = Vec::new();
    let answers = client.pipeline(&questions)?;
    for (key, pair) in keys.iter().zip(answers.chunks(2)) {
        let (kind, expires_at) = match pair {
            [Resp::Simple(kind), Resp::Int(at)] => (kind.clone(), *at),
            _ => return Err(Error::new(format!("{}: {pair:?}", key.escape_ascii()))),
        };
        readers.push(match kind.as_slice() {
            b"string" => call("GET", key, &[]),
            b"list" => call("LRANGE", key, &["0", "-1"]),
            b"set" => call("SMEMBERS", key, &[]),
            b"hash" => call("HGETALL", key, &[]),
            b"zset" => call("ZRANGE", key, &["0", "-1", "WITHSCORES"]),
            b"stream" => {
                let mut argv = call("XINFO", b"STREAM", &[]);
                argv.push(key.clone());
                argv.extend(stream::QUESTION.iter().map(|word| word.as_bytes().to_vec()));
                argv
            }
            // It expired since KEYS.
            b"none" => continue,
            _ => return Err(Error::new(format!("{}: {pair:?}", key.escape_ascii()))),
        });
        found.push((key, kind, expires_at));
    }
    let replies = client.pipeline(&readers)?;
    for ((key, kind, expires_at), reply) in found.into_iter().zip(replies) {
        let value = match (kind.as_slice(), reply) {
            (b"string", Resp::Bulk(bytes)) => Value::String(bytes),
            (b"stream", reply) => Value::Stream(Box::new(Stream::read(&reply)?)),
            (b"string", other) => return Err(Error::new(format!("GET: {other}"))),
            (kind, reply) => {
                let items = strings(reply)?;
                match kind {
                    b"list" => Value::List(items),
                    b"set" => Value::Set(items.into_iter().collect()),
                    b"hash" => Value::Hash(pairs(items).collect()),
                    _ => Value::SortedSet(pairs(items).collect()),
                }
            }
        };
        contents.insert((db, key.clone()), Key { value, expires_at });
    }
    Ok(())
}

fn strings(reply: Resp) -> Result<Vec<Vec<u8>>> {
    if reply.is_error() {
        return Err(Error::new(reply.to_string()));
    }
    reply
        .into_items()
        .into_iter()
        .map(|item| match item {
            Resp::Bulk(bytes) => Ok(bytes),
            other => Err(Error::new(format!("a string was due, not {other}"))),
        })
        .collect()
}

fn pairs(items: Vec<Vec<u8>>) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let mut items = items.into_iter();
    std::iter::from_fn(move || Some((items.next()?, items.next()?)))
}

/// Commands, without prefix, that make this key in an empty place of the selected database.
pub fn commands(name: &[u8], key: &Key) -> Vec<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    let mut chunked = |command: &str, items: Vec<&Vec<u8>>| {
        for chunk in items.chunks(500) {
            let mut argv = vec![command.as_bytes().to_vec(), name.to_vec()];
            argv.extend(chunk.iter().map(|&item| item.clone()));
            all.push(argv);
        }
    };
    match &key.value {
        Value::Stream(stream) => all.extend(stream.commands(name)),
        Value::String(bytes) => chunked("SET", vec![bytes]),
        Value::List(items) => chunked("RPUSH", items.iter().collect()),
        Value::Set(items) => chunked("SADD", items.iter().collect()),
        Value::Hash(items) => chunked("HSET", items.iter().flat_map(|(f, v)| [f, v]).collect()),
        Value::SortedSet(items) => {
            chunked("ZADD", items.iter().flat_map(|(m, s)| [s, m]).collect());
        }
    }
    if key.expires_at >= 0 {
        let at = key.expires_at.to_string().into_bytes();
        all.push(vec![b"PEXPIREAT".to_vec(), name.to_vec(), at]);
    }
    all
}

/// In words, the keys that differ. Expiry times may differ by `slack_ms`, for those that two keyspaces reckoned from the
/// time of the command; so may times of streams, see [`Stream::is_like`].
pub fn differences(left: &Contents, right: &Contents, slack_ms: u64) -> Vec<String> {
    let names: BTreeSet<_> = left.keys().chain(right.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let (l, r) = (left.get(name), right.get(name));
            let same = match (l, r) {
                (Some(l), Some(r)) => {
                    l.value.is_like(&r.value, slack_ms)
                        && (l.expires_at < 0) == (r.expires_at < 0)
                        && l.expires_at.abs_diff(r.expires_at) <= slack_ms
                }
                _ => false,
            };
            let show = |key: Option<&Key>| match key {
                None => "nothing".to_owned(),
                Some(key) => shorten(key),
            };
            (!same).then(|| {
                let key = name.1.escape_ascii();
                format!("db{} {key}: {} against {}", name.0, show(l), show(r))
            })
        })
        .collect()
}

fn shorten(key: &Key) -> String {
    let show = |items: &mut dyn Iterator<Item = &Vec<u8>>| -> String {
        let all: Vec<String> = items.map(|item| item.escape_ascii().to_string()).collect();
        let text: String = all.join(" ").chars().take(200).collect();
        format!("{} [{text}]", all.len())
    };
    let value = match &key.value {
        Value::Stream(stream) => stream.shorten(),
        Value::String(bytes) => format!("string {}", show(&mut std::iter::once(bytes))),
        Value::List(items) => format!("list {}", show(&mut items.iter())),
        Value::Set(items) => format!("set {}", show(&mut items.iter())),
        Value::Hash(items) => format!("hash {}", show(&mut items.iter().flat_map(|(a, b)| [a, b]))),
        Value::SortedSet(items) => {
            format!("zset {}", show(&mut items.iter().flat_map(|(a, b)| [a, b])))
        }
    };
    format!("{value} until {}", key.expires_at)
}

/// An error that names the first differences, unless there are none.
pub fn same(what: &str, left: &Contents, right: &Contents, slack_ms: u64) -> Result<()> {
    let found = differences(left, right, slack_ms);
    if found.is_empty() {
        return Ok(());
    }
    let shown = found.iter().take(20).cloned().collect::<Vec<_>>();
    Err(Error::new(format!(
        "{what}: {} keys differ:\n{}",
        found.len(),
        shown.join("\n")
    )))
}
