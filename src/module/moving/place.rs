//! The two sides between which keys move: each takes the same commands.

use std::borrow::Borrow;

use persist_engine::base::number;
use persist_engine::command::reply::{NoReply, Node, Recorder};
use persist_engine::command::{Spec, table};
use persist_engine::engine::{Call, Engine};
use redis_module::raw;

use crate::blocking;
use crate::call::Answer;
use crate::ffi::{Ctx, c_string, host};
use crate::host::Link;
use crate::state;

/// A command's words, its name first.
pub type Words = Vec<Vec<u8>>;

/// A database of the host's, or a durable one.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// For the host's.
    host: Option<Ctx<'a>>,
    db: u32,
}

const BUSY: &str = "the durable keyspace is busy";

pub fn with_engine<R>(
    work: impl FnOnce(&mut Engine, &mut Link<'_>) -> R,
) -> Result<R, &'static str> {
    state::with(None, work).ok_or(BUSY)
}

fn spec_of(name: &[u8]) -> Result<&'static Spec, String> {
    table::find(name).ok_or_else(|| "no such command".into())
}

impl<'a> Place<'a> {
    /// A database of the host's.
    pub fn host(ctx: Ctx<'a>, db: u32) -> Self {
        Place {
            host: Some(ctx),
            db,
        }
    }

    /// A durable database.
    pub fn durable(db: u32) -> Self {
        Place { host: None, db }
    }

    /// Whether it is the host's.
    pub fn is_host(self) -> bool {
        self.host.is_some()
    }

    /// Runs a command that changes nothing. An error of the host's is an answer, too.
    pub fn try_read(self, words: &[&[u8]]) -> Result<Answer, String> {
        let [name, args @ ..] = words else {
            return Ok(Answer::Nil);
        };
        match self.host {
            Some(ctx) => {
                ctx.select(self.db);
                Ok(ctx.call(&c_string(&String::from_utf8_lossy(name)), args))
            }
            None => ask(self.db, words).map(answer_of),
        }
    }

    /// Runs a command that changes nothing.
    pub fn read(self, words: &[&[u8]]) -> Result<Answer, String> {
        match self.try_read(words)? {
            Answer::Error(why) => Err(why),
            answer => Ok(answer),
        }
    }

    /// As [`read`](Self::read), for a number; 0 if it is none.
    pub fn number(self, words: &[&[u8]]) -> Result<i64, String> {
        match self.read(words)? {
            Answer::Int(n) => Ok(n),
            _ => Ok(0),
        }
    }

    /// Whether there is such a key.
    pub fn has(self, key: &[u8]) -> Result<bool, String> {
        Ok(self.number(&[b"EXISTS", key])? != 0)
    }

    /// When a key ends, as PEXPIRETIME tells it: -1 is never, -2 says that
    /// there is none.
    pub fn expiry(self, key: &[u8]) -> Result<i64, String> {
        self.number(&[b"PEXPIRETIME", key])
    }

    /// Runs commands that change something, as one unit as far as the side
    /// knows units. Stops at the first that fails.
    pub fn write<W: Borrow<[u8]>>(self, commands: &[Vec<W>]) -> Result<(), String> {
        match self.host {
            Some(ctx) => {
                ctx.select(self.db);
                commands.iter().try_for_each(|words| {
                    let [name, args @ ..] = &words[..] else {
                        return Ok(());
                    };
                    let name = c_string(&String::from_utf8_lossy(name.borrow()));
                    let args: Vec<&[u8]> = args.iter().map(Borrow::borrow).collect();
                    match ctx.call_and_replicate(&name, &args) {
                        Answer::Error(why) => Err(why),
                        _ => Ok(()),
                    }
                })
            }
            None => self.change(commands).map(|_| ()),
        }
    }

    /// Changes durable keys, as one unit; says what the log reached with it.
    pub fn change<W: Borrow<[u8]>>(self, commands: &[Vec<W>]) -> Result<u64, String> {
        with_engine(|engine, host| {
            let mut spec: Option<&Spec> = None;
            commands.iter().try_for_each(|words| {
                let words: Vec<&[u8]> = words.iter().map(Borrow::borrow).collect();
                let name = words.first().copied().unwrap_or_default();
                // Most often the same again.
                let known = spec.filter(|spec| spec.name.as_bytes() == name);
                let this = known.map_or_else(|| spec_of(name), Ok)?;
                spec = Some(this);
                // Nobody is told before it is durable, so the event loop needn't wait.
                let call = Call {
                    db: self.db,
                    atomic: true,
                    held: true,
                    ..Call::default()
                };
                let done = engine.execute(host, this, &words, call, &mut NoReply);
                done.map_err(|error| error.to_string())
            })?;
            Ok(engine.seq())
        })?
    }

    /// Removes a key, without waiting for its memory.
    pub fn remove(self, key: &[u8]) -> Result<(), String> {
        self.write(&[vec![&b"UNLINK"[..], key]])
    }
}

/// Serves those who wait for durable keys that were filled.
pub fn serve() -> Result<(), &'static str> {
    let mut served = Vec::new();
    with_engine(|engine, host| {
        if engine.has_ready() {
            engine.serve(host, &mut |one| served.push(one));
        }
    })?;
    if !served.is_empty() {
        blocking::deliver(served);
    }
    Ok(())
}

/// Runs a command on durable keys.
pub fn ask(db: u32, words: &[&[u8]]) -> Result<Node, String> {
    let mut reply = Recorder::default();
    let spec = spec_of(words.first().copied().unwrap_or_default())?;
    let call = Call {
        db,
        held: true,
        ..Call::default()
    };
    with_engine(|engine, host| engine.execute(host, spec, words, call, &mut reply))?
        .map_err(|error| error.to_string())?;
    Ok(reply.take())
}

fn answer_of(node: Node) -> Answer {
    let list = |items: Vec<Node>| Answer::List(items.into_iter().map(answer_of).collect());
    match node {
        Node::Simple(text) => Answer::Text(text.into()),
        Node::Bulk(bytes) => Answer::Text(bytes),
        Node::Int(n) => Answer::Int(n),
        Node::Double(n) => {
            let mut text = number::FloatText::default();
            Answer::Text(number::format_f64_shortest(n, &mut text).to_vec())
        }
        Node::Null => Answer::Nil,
        Node::Array(items) | Node::Map(items) | Node::Set(items) => list(items),
        Node::Error(why) => Answer::Error(why),
    }
}

/// The beginning of every hidden key's name.
const HIDDEN: &[u8] = b"__persist_moving__:";

/// Whether a name is one of those under which copies are made.
pub fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(HIDDEN)
}

/// A name under which a copy of `key` can be made; `None` if there is none in
/// the slot of a cluster that `key` is in.
pub fn hidden_name(key: &[u8], in_cluster: bool) -> Option<Vec<u8>> {
    let mut name = HIDDEN.to_vec();
    if in_cluster {
        name.push(b'{');
        name.extend_from_slice(slot_part(key)?);
        name.push(b'}');
    }
    let mut digits = [0u8; 32];
    // SAFETY: the host fills as many bytes as it is told.
    unsafe {
        host!(RedisModule_GetRandomHexChars(
            digits.as_mut_ptr().cast(),
            digits.len()
        ))
    };
    name.extend_from_slice(&digits);
    Some(name)
}

/// What decides on the slot of `key`, if it can stand between braces.
fn slot_part(key: &[u8]) -> Option<&[u8]> {
    let close = |part: &[u8]| part.iter().position(|b| *b == b'}');
    if let Some(open) = key.iter().position(|b| *b == b'{')
        && let Some(len @ 1..) = close(&key[open + 1..])
    {
        return key.get(open + 1..open + 1 + len);
    }
    (!key.is_empty() && close(key).is_none()).then_some(key)
}

/// Whether the host is a node of a cluster.
pub fn in_cluster(ctx: Ctx<'_>) -> bool {
    ctx.flags() & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0
}
