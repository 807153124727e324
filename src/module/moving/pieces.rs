//! A key's value, read a piece at a time, as the commands that rebuild it
//! under another name. Either side can be read, since both take the same
//! commands; the key mustn't change meanwhile.

use std::time::Duration;

use super::place::{Place, Words};
use super::stream::StreamReader;
use crate::call::Answer;

/// Items that one command carries at most.
const ITEMS: usize = 64;
/// Bytes of a string that one piece carries.
const BYTES: usize = 64 << 10;
/// Elements of the first piece.
const FIRST: usize = 64;
/// Elements of a piece, at most.
const MOST: usize = 1024;
/// A piece that takes less than this may be larger.
const QUICK: Duration = Duration::from_micros(60);
/// And one that takes more had better be smaller.
const SLOW: Duration = Duration::from_micros(200);

/// Elements of a key that is copied in one step, at most.
const SMALL_ELEMENTS: i64 = 1000;
/// Bytes of such a key, at most, as far as its side can tell.
const SMALL_BYTES: i64 = 256 << 10;

/// What is under a key.
pub enum Found<T> {
    /// Nothing.
    Nothing,
    /// A kind that the other side doesn't have: a module's.
    Foreign,
    /// A value.
    Value(T),
}

/// A kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    String,
    List,
    Set,
    Hash,
    Zset,
    Stream,
}

impl Kind {
    fn length_command(self) -> &'static [u8] {
        match self {
            Kind::String => b"STRLEN",
            Kind::List => b"LLEN",
            Kind::Set => b"SCARD",
            Kind::Hash => b"HLEN",
            Kind::Zset => b"ZCARD",
            Kind::Stream => b"XLEN",
        }
    }

    /// How many elements `key` has, or bytes if it is a string; `None` if it
    /// is of another kind by now.
    pub fn length(self, place: Place<'_>, key: &[u8]) -> Result<Option<i64>, String> {
        Ok(match place.try_read(&[self.length_command(), key])? {
            Answer::Int(n) => Some(n),
            _ => None,
        })
    }
}

/// What can be told of a value at once.
pub struct Look {
    pub kind: Kind,
    /// Elements, or bytes of a string.
    pub length: i64,
    /// Whether one step is too short for it.
    pub is_large: bool,
}

/// Looks at a key.
pub fn look(place: Place<'_>, key: &[u8]) -> Result<Found<Look>, String> {
    let kind = match place.try_read(&[b"TYPE", key])?.text() {
        Some(b"none") => return Ok(Found::Nothing),
        Some(b"string") => Kind::String,
        Some(b"list") => Kind::List,
        Some(b"set") => Kind::Set,
        Some(b"hash") => Kind::Hash,
        Some(b"zset") => Kind::Zset,
        Some(b"stream") => Kind::Stream,
        _ => return Ok(Found::Foreign),
    };
    let Some(length) = kind.length(place, key)? else {
        return Ok(Found::Nothing);
    };
    let is_large = match kind {
        Kind::String => length > BYTES as i64,
        _ if length > SMALL_ELEMENTS => true,
        // Few elements may be long ones, and a stream may have more pending
        // than it has entries.
        _ => place.number(&[b"MEMORY", b"USAGE", key])? > SMALL_BYTES,
    };
    Ok(Found::Value(Look {
        kind,
        length,
        is_large,
    }))
}

/// A part of a value.
#[derive(Default)]
pub struct Piece {
    /// What rebuilds it.
    pub commands: Vec<Words>,
    /// How many elements these are.
    pub elements: u64,
    /// Whether it is the last.
    pub is_last: bool,
}

/// What stands between two pieces.
enum At {
    String { at: usize, length: usize },
    List { at: usize },
    Zset { at: usize },
    Set { cursor: Vec<u8> },
    Hash { cursor: Vec<u8>, ask_ttls: bool },
    Stream(Box<StreamReader>),
}

/// Reads a key, piece by piece.
pub struct Reader {
    key: Vec<u8>,
    to: Vec<u8>,
    at: At,
    count: usize,
    /// Whether fields of a hash end.
    pub has_ttls: bool,
}

impl Reader {
    /// Reads `key` as commands on `to`.
    pub fn new(look: &Look, key: &[u8], to: &[u8]) -> Self {
        let cursor = b"0".to_vec();
        let at = match look.kind {
            Kind::String => At::String {
                at: 0,
                length: look.length as usize,
            },
            Kind::List => At::List { at: 0 },
            Kind::Zset => At::Zset { at: 0 },
            Kind::Set => At::Set { cursor },
            Kind::Hash => At::Hash {
                cursor,
                ask_ttls: true,
            },
            Kind::Stream => At::Stream(Box::default()),
        };
        Reader {
            key: key.into(),
            to: to.into(),
            at,
            count: if look.is_large { FIRST } else { MOST },
            has_ttls: false,
        }
    }

    /// How long the last piece took, to be read and written.
    pub fn took(&mut self, time: Duration) {
        if time > SLOW {
            self.count = (self.count / 2).max(1);
        } else if time < QUICK {
            self.count = (self.count * 2).min(MOST);
        }
    }

    /// The next piece.
    pub fn next(&mut self, place: Place<'_>) -> Result<Piece, String> {
        let (key, to, count) = (&self.key[..], &self.to[..], self.count);
        match &mut self.at {
            At::String { at, length } => {
                let text = bytes_at(place, key, *at)?;
                let first = *at == 0;
                *at += text.len();
                let name: &[u8] = if first { b"SET" } else { b"APPEND" };
                Ok(Piece {
                    elements: text.len() as u64,
                    is_last: text.is_empty() || *at >= *length,
                    commands: vec![vec![name.into(), to.into(), text]],
                })
            }
            At::List { at } => {
                let items = strings(range(place, b"LRANGE", key, *at, count, None)?);
                *at += items.len();
                let is_last = items.len() < count;
                Ok(piece(b"RPUSH", to, 1, items, is_last))
            }
            At::Zset { at } => {
                let reply = range(place, b"ZRANGE", key, *at, count, Some(b"WITHSCORES"))?;
                let mut items = strings(reply);
                *at += items.len() / 2;
                let is_last = items.len() / 2 < count;
                // Members come first there, scores in ZADD.
                items.chunks_exact_mut(2).for_each(<[_]>::reverse);
                Ok(piece(b"ZADD", to, 2, items, is_last))
            }
            At::Set { cursor } => {
                let items = scan(place, b"SSCAN", key, cursor, count)?;
                Ok(piece(b"SADD", to, 1, items, cursor == b"0"))
            }
            At::Hash { cursor, ask_ttls } => {
                let items = scan(place, b"HSCAN", key, cursor, count)?;
                let ttls = if *ask_ttls {
                    field_ttls(place, key, to, &items)?
                } else {
                    Some(Vec::new())
                };
                *ask_ttls &= ttls.is_some();
                let ttls = ttls.unwrap_or_default();
                self.has_ttls |= !ttls.is_empty();
                let mut piece = piece(b"HSET", to, 2, items, cursor == b"0");
                piece.commands.extend(ttls);
                Ok(piece)
            }
            At::Stream(reader) => reader.next(place, key, to, count),
        }
    }

    /// How many elements there are to come that the length doesn't count.
    pub fn more(&self) -> u64 {
        match &self.at {
            At::Stream(reader) => reader.pending,
            _ => 0,
        }
    }
}

fn bytes_at(place: Place<'_>, key: &[u8], at: usize) -> Result<Vec<u8>, String> {
    let (start, stop) = (at.to_string(), (at + BYTES - 1).to_string());
    let range: [&[u8]; 4] = [b"GETRANGE", key, start.as_bytes(), stop.as_bytes()];
    match place.read(&range)? {
        Answer::Text(text) => Ok(text),
        _ => Ok(Vec::new()),
    }
}

fn range(
    place: Place<'_>,
    name: &[u8],
    key: &[u8],
    at: usize,
    count: usize,
    option: Option<&[u8]>,
) -> Result<Answer, String> {
    let (start, stop) = (at.to_string(), (at + count - 1).to_string());
    let mut words = vec![name, key, start.as_bytes(), stop.as_bytes()];
    words.extend(option);
    place.read(&words)
}

/// Some more of a set or hash. Elements may come twice.
fn scan(
    place: Place<'_>,
    name: &[u8],
    key: &[u8],
    cursor: &mut Vec<u8>,
    count: usize,
) -> Result<Vec<Vec<u8>>, String> {
    let count = count.to_string();
    let reply = place.read(&[name, key, cursor, b"COUNT", count.as_bytes()])?;
    let mut parts = reply.list().into_iter();
    match (parts.next(), parts.next()) {
        (Some(Answer::Text(next)), Some(items)) => {
            *cursor = next;
            Ok(strings(items))
        }
        _ => Err(format!("{} was answered oddly", name.escape_ascii())),
    }
}

fn piece(name: &[u8], to: &[u8], per_item: usize, items: Vec<Vec<u8>>, is_last: bool) -> Piece {
    let elements = (items.len() / per_item) as u64;
    let mut commands = Vec::new();
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        let mut words: Words = vec![name.into(), to.into()];
        words.extend(items.by_ref().take(ITEMS * per_item));
        commands.push(words);
    }
    Piece {
        commands,
        elements,
        is_last,
    }
}

/// From version 7.4 on, fields may have TTLs; before, the command is unknown,
/// which is `None`.
fn field_ttls(
    place: Place<'_>,
    key: &[u8],
    to: &[u8],
    pairs: &[Vec<u8>],
) -> Result<Option<Vec<Words>>, String> {
    let fields: Vec<&[u8]> = pairs.iter().step_by(2).map(Vec::as_slice).collect();
    if fields.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let count = fields.len().to_string();
    let mut args: Vec<&[u8]> = vec![b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
    args.extend(&fields);
    let Answer::List(ttls) = place.try_read(&args)? else {
        return Ok(None);
    };
    let mut commands = Vec::new();
    for (field, ttl) in fields.iter().zip(ttls) {
        match ttl {
            Answer::Int(at @ 0..) => {
                let at = at.to_string();
                let command: [&[u8]; 6] =
                    [b"HPEXPIREAT", to, at.as_bytes(), b"FIELDS", b"1", field];
                commands.push(words(&command));
            }
            // It ended since it was read, and must not come back for ever.
            Answer::Int(-2) => commands.push(words(&[b"HDEL", to, field])),
            _ => {}
        }
    }
    Ok(Some(commands))
}

/// The strings of an array; numbers as such.
pub fn strings(answer: Answer) -> Vec<Vec<u8>> {
    let texts = answer.list().into_iter().filter_map(|item| match item {
        Answer::Text(text) => Some(text),
        Answer::Int(n) => Some(n.to_string().into_bytes()),
        _ => None,
    });
    texts.collect()
}

/// A command.
pub fn words(words: &[&[u8]]) -> Words {
    words.iter().map(|word| word.to_vec()).collect()
}
