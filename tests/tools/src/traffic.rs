//! Traffic whose every effect is numbered: what a client did is known from how far it came.
//!
//! A client's n-th operation is a function of its name and n: single commands, MULTI/EXEC across two databases, scripts,
//! appends to a list that all clients share. A server executes a client's operations in order, so after a crash its data
//! must be exactly what the first p operations leave, for one p: at least what was acknowledged, at most what was sent.
//! That one comparison finds lost, doubled, reordered, torn and invented writes alike. Numbers that a crash took are never
//! used again, so what comes back too late is seen as well.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::preload::monotonic_ns;
use crate::raw::{RawClient, Resp, encode_command};
use crate::{Error, Result};

/// The second database of transactions that span two.
const OTHER_DB: &str = "3";
/// The list to which all clients append.
const SHARED: &str = "traffic:shared";
/// Kinds of operations, one after the other.
const KINDS: u64 = 8;
const SCRIPT: &str = "redis.call('PERSIST.SET', KEYS[1], ARGV[1]) \
     return redis.call('PERSIST.RPUSH', KEYS[2], ARGV[1])";

/// What a client's operations leave in the keyspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    strings: BTreeMap<u64, String>,
    a: Option<u64>,
    b: Option<u64>,
    x: Option<u64>,
    z: Option<u64>,
    with_ttl: Option<u64>,
    count: u64,
    fields: BTreeMap<u64, u64>,
    y: Vec<u64>,
    list: Vec<u64>,
    shared: Vec<u64>,
}

/// The value of operation `n`: mostly short, sometimes larger than a page, rarely than a socket's buffer.
fn value(n: u64) -> String {
    let len = match n % 1000 {
        0 => 300_000,
        k if k % 40 == 0 => 9_000,
        k => k % 97,
    };
    format!("{n}:{}", "v".repeat(len as usize))
}

impl State {
    /// Does operation `n`.
    pub fn apply(&mut self, n: u64) {
        match n % KINDS {
            0 => {
                self.strings.insert(n / KINDS % 5, value(n));
            }
            1 => self.shared.push(n),
            2 => (self.a, self.b) = (Some(n), Some(n)),
            3 => {
                self.x = Some(n);
                self.y.push(n);
            }
            4 => self.count += 1,
            5 => {
                self.fields.insert(n / KINDS % 16, n);
            }
            6 => {
                self.list.push(n);
                self.z = Some(n);
            }
            _ if n % 400 == 7 => self.y.clear(),
            _ => self.with_ttl = Some(n),
        }
    }

    /// The commands of operation `n` of the client `name`.
    fn commands(name: &str, n: u64) -> Vec<Vec<String>> {
        let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        match n % KINDS {
            0 => vec![words(format!(
                "PERSIST.SET {name}:s{} {}",
                n / KINDS % 5,
                value(n)
            ))],
            1 => vec![words(format!("PERSIST.RPUSH {SHARED} {name}:{n}"))],
            2 => vec![
                words("MULTI".into()),
                words(format!("PERSIST.SET {name}:a {n}")),
                words(format!("SELECT {OTHER_DB}")),
                words(format!("PERSIST.SET {name}:b {n}")),
                words("SELECT 0".into()),
                words("EXEC".into()),
            ],
            3 => {
                let mut eval = vec!["EVAL".to_owned(), SCRIPT.to_owned()];
                eval.extend(words(format!("2 {name}:x {name}:y {n}")));
                vec![eval]
            }
            4 => vec![words(format!("PERSIST.INCR {name}:n"))],
            5 => vec![words(format!(
                "PERSIST.HSET {name}:h {} {n}",
                n / KINDS % 16
            ))],
            6 => vec![
                words("MULTI".into()),
                words(format!("PERSIST.RPUSH {name}:l {n}")),
                words(format!("PERSIST.ZADD {name}:z {n} m")),
                words("EXEC".into()),
            ],
            _ if n % 400 == 7 => vec![words(format!("PERSIST.DEL {name}:y"))],
            _ => vec![words(format!("PERSIST.SETEX {name}:e 1000000 {n}"))],
        }
    }

    /// What a server holds of the client `name`.
    pub fn read(server: &mut RawClient, name: &str) -> Result<State> {
        let mut state = State::default();
        for k in 0..5 {
            if let Some(text) = string(server, &format!("PERSIST.GET {name}:s{k}"))? {
                state.strings.insert(k, text);
            }
        }
        let mut get = |command: String| -> Result<Option<u64>> {
            string(server, &command)?
                .map(|text| number(&text))
                .transpose()
        };
        state.a = get(format!("PERSIST.GET {name}:a"))?;
        state.x = get(format!("PERSIST.GET {name}:x"))?;
        state.with_ttl = get(format!("PERSIST.GET {name}:e"))?;
        state.z = get(format!("PERSIST.ZSCORE {name}:z m"))?;
        state.count = get(format!("PERSIST.GET {name}:n"))?.unwrap_or(0);
        server.words(&format!("SELECT {OTHER_DB}"))?;
        let b = string(server, &format!("PERSIST.GET {name}:b"))?;
        server.words("SELECT 0")?;
        state.b = b.map(|text| number(&text)).transpose()?;
        let fields = items(server, &format!("PERSIST.HGETALL {name}:h"))?;
        for pair in fields.chunks(2) {
            state.fields.insert(number(&pair[0])?, number(&pair[1])?);
        }
        for (key, into) in [("y", &mut state.y), ("l", &mut state.list)] {
            for item in items(server, &format!("PERSIST.LRANGE {name}:{key} 0 -1"))? {
                into.push(number(&item)?);
            }
        }
        for item in items(server, &format!("PERSIST.LRANGE {SHARED} 0 -1"))? {
            if let Some((of, n)) = item.split_once(':')
                && of == name
            {
                state.shared.push(number(n)?);
            }
        }
        Ok(state)
    }

    /// Where two states differ, in words.
    pub fn differences(&self, other: &State) -> String {
        let mut out = String::new();
        let mut compare = |what: &str, a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| {
            let (a, b) = (format!("{a:?}"), format!("{b:?}"));
            if a != b {
                let tail = |text: &str| text[text.len().saturating_sub(160)..].to_owned();
                let _ = write!(out, "\n  {what}: ...{} and ...{}", tail(&a), tail(&b));
            }
        };
        let starts = |state: &State| -> Vec<(u64, String)> {
            let start = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
            state.strings.iter().map(|(k, v)| (*k, start(v))).collect()
        };
        compare("strings", &starts(self), &starts(other));
        compare("a, b of MULTI", &(self.a, self.b), &(other.a, other.b));
        compare("x of EVAL", &self.x, &other.x);
        compare("y of EVAL", &self.y, &other.y);
        compare("z of MULTI", &self.z, &other.z);
        compare("list of MULTI", &self.list, &other.list);
        compare("SETEX", &self.with_ttl, &other.with_ttl);
        compare("INCR", &self.count, &other.count);
        compare("HSET", &self.fields, &other.fields);
        compare("the shared list", &self.shared, &other.shared);
        out
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse()
        .map_err(|_| Error::new(format!("not a number of ours: {text:?}")))
}

fn string(server: &mut RawClient, command: &str) -> Result<Option<String>> {
    match server.words(command)? {
        Resp::Bulk(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Resp::NullBulk => Ok(None),
        other => Err(Error::new(format!("{command}: {other}"))),
    }
}

fn items(server: &mut RawClient, command: &str) -> Result<Vec<String>> {
    let reply = server.words(command)?;
    if reply.is_error() {
        return Err(Error::new(format!("{command}: {reply}")));
    }
    Ok(reply
        .into_items()
        .iter()
        .map(|item| item.text().unwrap_or_default())
        .collect())
}

/// How far a client has come; others may look while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

impl Progress {
    /// The last operation whose reply has come.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// The last operation that was sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

/// A client with its history over crashes.
#[derive(Debug)]
pub struct Client {
    name: String,
    /// Operations that go out in one write.
    depth: u64,
    /// What the server held when it was last compared.
    state: State,
    /// The last number that counted then.
    settled: u64,
    progress: Arc<Progress>,
    /// When operations were acknowledged, by the clock of traces; of the last run.
    times: Vec<(u64, u64)>,
}

impl Client {
    /// A client that sends `depth` operations before it reads replies.
    pub fn new(name: &str, depth: u64) -> Self {
        Self {
            name: name.to_owned(),
            depth: depth.max(1),
            state: State::default(),
            settled: 0,
            progress: Arc::default(),
            times: Vec::new(),
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// The first operation that was acknowledged later than `ns` in the last run; `None` if none was.
    pub fn first_after(&self, ns: u64) -> Option<u64> {
        self.times
            .iter()
            .find(|(_, at)| *at > ns)
            .map(|(number, _)| *number)
    }

    /// Sends operations until the server is gone or `stop` is set. An error reply is an error.
    pub fn run(&mut self, port: u16, stop: &AtomicBool) -> Result<()> {
        self.times.clear();
        let Ok(mut server) = RawClient::connect(port) else {
            return Ok(());
        };
        let mut out = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let first = self.progress.sent() + 1;
            let last = first + self.depth - 1;
            out.clear();
            let mut replies = Vec::new();
            for n in first..=last {
                let commands = State::commands(&self.name, n);
                replies.push((n, commands.len()));
                commands.iter().for_each(|c| encode_command(&mut out, c));
            }
            self.progress.sent.store(last, Ordering::SeqCst);
            if server.send_bytes(&out).is_err() {
                return Ok(());
            }
            for (n, count) in replies {
                for _ in 0..count {
                    let Ok(reply) = server.read() else {
                        return Ok(());
                    };
                    let inner = match &reply {
                        Resp::Array(items) => items.iter().find(|item| item.is_error()),
                        _ => None,
                    };
                    if reply.is_error() || inner.is_some() {
                        return Err(Error::new(format!("{} {n}: {reply}", self.name)));
                    }
                }
                self.progress.acknowledged.store(n, Ordering::SeqCst);
                self.times.push((n, monotonic_ns()));
            }
        }
        Ok(())
    }

    /// Compares what the server holds with what it may hold: the operations up to some number, at least `floor`. Gives
    /// that number. The next run goes on with new ones.
    pub fn check(&mut self, server: &mut RawClient, floor: u64) -> Result<u64> {
        let found = State::read(server, &self.name)?;
        let (settled, sent) = (self.settled, self.progress.sent());
        let mut state = self.state.clone();
        let mut reached = (state == found).then_some(settled);
        let mut at_floor = state.clone();
        for n in settled + 1..=sent {
            state.apply(n);
            if state == found {
                reached = Some(n);
            }
            if n == floor {
                at_floor = state.clone();
            }
        }
        let Some(reached) = reached else {
            return Err(Error::new(format!(
                "client {}: the data is that of no moment: promised up to {floor}, sent up to {sent}. Found, and at {floor}:{}",
                self.name,
                found.differences(&at_floor)
            )));
        };
        self.state = found;
        self.settled = sent;
        if reached < floor && floor > settled {
            return Err(Error::new(format!(
                "client {}: operations {} to {floor} are promised, but lost (sent up to {sent})",
                self.name,
                reached + 1
            )));
        }
        Ok(reached)
    }
}
