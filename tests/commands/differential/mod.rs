//! Runs each command on two servers, on the durable keyspace of the one under test and on the own keyspace of a plain
//! Redis, and compares replies byte for byte, keyspace events, and contents.
//!
//! That Redis is the one whose behaviour is promised, whatever the host under test: 7.0, and 8.0 for what came later.

use std::collections::VecDeque;
use std::path::PathBuf;

use persist_tools::contents::{self, Contents};
use persist_tools::host;
use persist_tools::raw::{Resp, encode_command};
use persist_tools::server::Server;
use persist_tools::{Error, Result};

use crate::argv::{Argv, Family, Maker};
use crate::times;
use crate::waiting;
use normal::{flat, normal, number, spelled};
use side::Side;

mod chance;
mod normal;
mod persistence;
mod side;

/// The host's and the module's clocks are read at slightly different times, so a time that counts from now may differ.
/// The times that commands are given lie at least 5,000 s apart.
const CLOCK_SLACK_MS: u64 = 10_000;
const DATABASES: u32 = 16;
const TOLD: usize = 20;
const SCRIPT: &str = "return redis.pcall(unpack(ARGV))";
const SCRIPT3: &str = "redis.setresp(3) return redis.pcall(unpack(ARGV))";

/// How a command reaches the server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Plain,
    Transaction,
    Script,
    Script3,
}

/// The server to compare a family with.
fn reference(family: Family) -> Result<PathBuf> {
    host::reference(match family {
        Family::HashFields => (8, 0),
        _ => (7, 0),
    })
}

/// Whether there is a server to compare this family with.
pub fn has_reference(family: Family) -> bool {
    reference(family).is_ok()
}

/// A random run.
pub struct Differential {
    /// The one under test, with the module.
    pub server: Server,
    /// The one to compare with; none where only persistence is tested.
    plain: Option<Server>,
    /// Whether the two print numbers by the same function.
    same_print: bool,
    family: Family,
    seed: u64,
    maker: Maker,
    ours: Side,
    host: Side,
    db: u32,
    history: VecDeque<Argv>,
    wrong: Vec<String>,
}

impl Differential {
    pub fn new(family: Family, seed: u64) -> Result<Self> {
        // Odd seeds fill many small blocks of streams.
        let block = if seed % 2 == 1 { "7" } else { "100" };
        let builder = || {
            Server::builder()
                .config("notify-keyspace-events", "KEA")
                // So that a transaction of huge replies isn't cut off.
                .config_line("client-output-buffer-limit pubsub 0 0 0")
        };
        let server = builder()
            .with_module()
            .config("persist.stream-node-max-entries", block)
            .config("persist.auto-aof-rewrite-percentage", "0")
            .start()?;
        let plain = match reference(family) {
            Ok(binary) => Some(
                builder()
                    .binary(binary)
                    .config("stream-node-max-entries", block)
                    .start()?,
            ),
            Err(_) if family == Family::HashFields => None,
            Err(error) => return Err(error),
        };
        let ours = Side::connect(&server)?;
        let host = Side::connect(plain.as_ref().unwrap_or(&server))?;
        let mut run = Self {
            server,
            plain,
            same_print: host::host()?.version == (7, 0),
            family,
            seed,
            maker: Maker::new(family, seed),
            ours,
            host,
            db: 0,
            history: VecDeque::new(),
            wrong: Vec::new(),
        };
        // Every other seed: packed values that are small ones.
        if seed.is_multiple_of(2) {
            for setting in [
                "hash-max-listpack-entries 9",
                "hash-max-listpack-value 20",
                "list-max-listpack-size 5",
                "set-max-intset-entries 7",
                "zset-max-listpack-entries 9",
                "zset-max-listpack-value 20",
                "hll-sparse-max-bytes 100",
            ] {
                run.host.client.words(&format!("CONFIG SET {setting}"))?;
                run.ours
                    .client
                    .words(&format!("CONFIG SET persist.{setting}"))?;
            }
        }
        Ok(run)
    }

    /// The server to compare with.
    fn plain(&self) -> &Server {
        self.plain.as_ref().unwrap_or(&self.server)
    }

    /// The side that a command is for, by its name.
    fn side(&mut self, argv: &[impl AsRef<[u8]>]) -> &mut Side {
        let durable = argv.first().is_some_and(|name| {
            let name = name.as_ref();
            name.len() > 8 && name[..8].eq_ignore_ascii_case(b"PERSIST.")
        });
        if durable {
            &mut self.ours
        } else {
            &mut self.host
        }
    }

    /// Runs one command, on the durable keyspace or on the plain server.
    fn command(&mut self, argv: &[impl AsRef<[u8]>]) -> Result<Resp> {
        self.side(argv).client.command(argv)
    }

    /// Runs one command that concerns the connection, on both sides.
    fn both(&mut self, argv: &[impl AsRef<[u8]>]) -> Result<Resp> {
        self.ours.client.command(argv)?;
        self.host.client.command(argv)
    }

    fn select(&mut self, db: u32) -> Result<()> {
        self.both(&["SELECT", &db.to_string()]).map(drop)
    }

    /// Runs so many commands.
    pub fn run(&mut self, commands: u64) -> Result<()> {
        for number in 0..commands {
            if number % 200 == 0 {
                let protocol = if number % 400 == 0 { "2" } else { "3" };
                self.both(&["HELLO", protocol])?;
            }
            let argv = self.maker.next();
            let argv = waiting::sometimes(&mut self.maker, argv);
            if let Err(error) = self.step(&argv) {
                self.tell(number, &argv, &error.to_string())?;
            }
            self.history.push_front(argv);
            self.history.truncate(2000);
            // What no reply has shown yet.
            if number % 1000 == 999
                && let Err(error) = self.compare_contents("after commands")
            {
                self.tell(number, &vec![b"(contents)".to_vec()], &error.to_string())?;
            }
            if self.wrong.len() >= TOLD {
                break;
            }
        }
        self.verdict()
    }

    fn verdict(&self) -> Result<()> {
        if self.wrong.is_empty() {
            return Ok(());
        }
        Err(Error::new(format!(
            "{:?}, SEED={}: {} differences\n\n{}",
            self.family,
            self.seed,
            self.wrong.len(),
            self.wrong.join("\n\n")
        )))
    }

    /// Notes a difference, and makes the keyspaces equal again.
    fn tell(&mut self, number: u64, argv: &Argv, error: &str) -> Result<()> {
        let before: Vec<String> = self
            .history
            .iter()
            .filter(|old| argv.get(1).is_some_and(|key| old[1..].contains(key)))
            .take(5)
            .map(show)
            .collect();
        let error: String = error.chars().take(3000).collect();
        self.wrong.push(format!(
            "command {number}: {}\n{error}\nbefore: {}",
            show(argv),
            before.join("\n        ")
        ));
        self.make_equal()
    }

    /// Makes the durable keyspace what the host's is.
    fn make_equal(&mut self) -> Result<()> {
        self.ours = Side::connect(&self.server)?;
        self.host = Side::connect(self.plain.as_ref().unwrap_or(&self.server))?;
        self.command(&["PERSIST.FLUSHALL"])?;
        if self.family == Family::Streams {
            // No commands make all that a stream can be.
            self.command(&["FLUSHALL"])?;
        }
        let host = contents::read(self.plain().port(), "", DATABASES)?;
        for ((db, name), key) in &host {
            self.select(*db)?;
            for argv in contents::commands(name, key) {
                self.command(&durable(&argv))?;
            }
            if let contents::Value::Hash(fields) = &key.value {
                self.copy_field_times(name, fields.keys())?;
            }
        }
        self.select(self.db)?;
        self.drain_events("resync")
    }

    /// Lets the durable hash's fields end when the host's do.
    fn copy_field_times<'a>(
        &mut self,
        key: &[u8],
        fields: impl Iterator<Item = &'a Vec<u8>>,
    ) -> Result<()> {
        for field in fields {
            let of_field = |name: &str, time: &[&str]| -> Argv {
                let mut argv: Argv = vec![name.into(), key.to_vec()];
                argv.extend(time.iter().map(|word| word.as_bytes().to_vec()));
                argv.extend([b"FIELDS".to_vec(), b"1".to_vec(), field.clone()]);
                argv
            };
            let times = self.command(&of_field("HPEXPIRETIME", &[]))?;
            // An older host doesn't know the command.
            if let Resp::Array(times) = times
                && let [Resp::Int(at @ 1..)] = times[..]
            {
                let argv = of_field("PERSIST.HPEXPIREAT", &[&at.to_string()]);
                self.command(&argv)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, argv: &Argv) -> Result<()> {
        let name = name_of(argv);
        match name.as_str() {
            "SELECT" => {
                if self.both(argv)? == Resp::Simple(b"OK".to_vec()) {
                    let db = argv.get(1).and_then(|db| std::str::from_utf8(db).ok());
                    self.db = db.and_then(|db| db.parse().ok()).unwrap_or(0);
                }
                return Ok(());
            }
            // WITHSCORE came with 7.2; before it, its place is an arity error.
            "ZRANK" | "ZREVRANK" if argv.len() > 3 => return Ok(()),
            // The least integer overflows in 7.0; later hosts refuse it, as the module does.
            "LPOS" if argv.iter().any(|arg| arg == b"-9223372036854775808") => return Ok(()),
            // What lies between two members is undefined unless all scores are equal.
            _ if by_lex(&name, argv) && self.scores_differ(&name, argv)? => return Ok(()),
            // Where the clock chooses the id, the two keyspaces may get different ones.
            "XADD" if argv.iter().any(|arg| arg == b"*") && !self.counts_on(argv)? => return Ok(()),
            "SORT" | "SORT_RO" if self.is_unordered(argv)? => return Ok(()),
            // What nobody tracks, shares or words alike.
            "OBJECT" if self.is_incomparable(argv)? => return Ok(()),
            // Due keys that nobody has looked at count until somebody does.
            "DBSIZE" => {
                for scan in ["SCAN", "PERSIST.SCAN"] {
                    self.command(&[scan, "0", "COUNT", "1000000"])?;
                }
            }
            _ => {}
        }
        let waits = name.starts_with("XREAD") && argv.iter().any(|arg| arg == b"BLOCK");
        let alone = matches!(
            name.as_str(),
            "SCAN" | "HSCAN" | "SSCAN" | "ZSCAN" | "DBSIZE" | "SWAPDB" | "RANDOMKEY" | "FLUSHDB"
                // The host refuses bad subcommands before it queues or runs anything.
                | "XGROUP" | "XINFO" | "OBJECT"
        );
        // In a script BLOCK is an error, in a transaction nothing waits.
        let simple = !(alone || waits);
        let way = match self.maker.below(100) {
            _ if waits || waiting::may_wait(&name) => Way::Transaction,
            0..5 if !alone => Way::Transaction,
            5..9 if simple => Way::Script,
            9..13 if simple => Way::Script3,
            _ => Way::Plain,
        };
        let (mut for_host, mut for_us) = (argv.clone(), durable(argv));
        if name == "RESTORE" && argv.len() > 3 {
            for_host[3] = self.dumped("", &argv[3])?;
            for_us[3] = self.dumped("PERSIST.", &argv[3])?;
        }
        let (host, host_events) = self.one(&for_host, way, "host")?;
        let (ours, our_events) = self.one(&for_us, way, "ours")?;
        if name.starts_with("SORT") && is_stale(&host) && !is_stale(&ours) {
            return self.make_equal();
        }
        self.replies(&name, argv, way, host, ours)?;
        if host_events != our_events {
            return Err(Error::new(format!(
                "the host's events {host_events:?}\n           ours {our_events:?}"
            )));
        }
        Ok(())
    }

    /// Whether the next id of a stream comes from its last one.
    fn counts_on(&mut self, argv: &Argv) -> Result<bool> {
        let key = argv.get(1).cloned().unwrap_or_default();
        let reply = self.command(&[b"XINFO".to_vec(), b"STREAM".to_vec(), key])?;
        let facts = flat(&reply);
        let at = facts.iter().position(|fact| fact == b"last-generated-id");
        let last = at.and_then(|at| facts.get(at + 1)).cloned();
        let ms = last.and_then(|id| {
            let id = String::from_utf8(id).ok()?;
            id.split('-').next()?.parse::<u64>().ok()
        });
        let wrong_type = matches!(&reply, Resp::Error(text) if text.starts_with(b"WRONGTYPE"));
        Ok(wrong_type || ms.is_some_and(|ms| ms > 4_000_000_000_000))
    }

    fn scores_differ(&mut self, name: &str, argv: &Argv) -> Result<bool> {
        let at = if name == "ZRANGESTORE" { 2 } else { 1 };
        let mut score = |rank: &str| {
            let key = argv.get(at).cloned().unwrap_or_default();
            let mut ask: Argv = vec![b"ZRANGE".to_vec(), key];
            ask.extend([rank, rank, "WITHSCORES"].map(|word| word.as_bytes().to_vec()));
            let reply = self.command(&ask)?;
            Ok::<_, Error>(flat(&reply).get(1).cloned())
        };
        Ok(score("0")? != score("-1")?)
    }

    /// A key's value as bytes; the key's own name if there is none.
    fn dumped(&mut self, prefix: &str, key: &[u8]) -> Result<Vec<u8>> {
        let name = format!("{prefix}DUMP").into_bytes();
        Ok(match self.command(&[name, key.to_vec()])? {
            Resp::Bulk(bytes) => bytes,
            _ => key.to_vec(),
        })
    }

    fn encoding(&mut self, prefix: &str, key: &[u8]) -> Result<Resp> {
        let name = format!("{prefix}OBJECT").into_bytes();
        self.command(&[name, b"ENCODING".to_vec(), key.to_vec()])
    }

    /// Whether the host's answer depends on more than the value.
    fn is_incomparable(&mut self, argv: &Argv) -> Result<bool> {
        let [_, word, key] = &argv[..] else {
            return Ok(false);
        };
        let kind = self.command(&[b"TYPE".to_vec(), key.clone()])?;
        Ok(match word.to_ascii_uppercase().as_slice() {
            // SORT unpacks the host's sorted sets.
            b"ENCODING" if self.family == Family::Sorting => kind == Resp::Simple(b"zset".to_vec()),
            // The host remembers that fields once ended.
            b"ENCODING" if self.family == Family::HashFields => true,
            b"ENCODING" | b"REFCOUNT" => {
                [&b"string"[..], b"set"].contains(&flat(&kind).concat().as_slice())
            }
            b"IDLETIME" | b"FREQ" => kind != Resp::Simple(b"none".to_vec()),
            _ => false,
        })
    }

    /// Whether the order of what SORT finds is left to chance.
    fn is_unordered(&mut self, argv: &Argv) -> Result<bool> {
        let has = |word: &str| {
            argv.iter()
                .any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
        };
        let by = argv.iter().position(|arg| arg.eq_ignore_ascii_case(b"BY"));
        let Some(pattern) = by.and_then(|at| argv.get(at + 1)) else {
            // To the host's ALPHA, what differs behind a NUL is equal, and parts of it, or what it leads to, come in
            // another order.
            return Ok(has("ALPHA") && (has("LIMIT") || has("GET")) && {
                let ask = ["SORT_RO", "", "BY", "nosort"].map(|word| word.as_bytes().to_vec());
                let mut ask = Argv::from(ask);
                ask[1] = argv[1].clone();
                self.command(&ask)?.encode().contains(&0)
            });
        };
        let kind = self.command(&[b"TYPE".to_vec(), argv[1].clone()])?;
        Ok(if pattern.contains(&b'*') {
            // Equal weights: the host sorts what its own order was, and a part of it in another way.
            has("ALPHA") && (has("LIMIT") || kind != Resp::Simple(b"list".to_vec()))
        } else {
            kind == Resp::Simple(b"set".to_vec()) && !has("STORE")
        })
    }

    /// Once the host has loaded all from disk, encodings depend on nothing but values and settings. (And sorted sets that
    /// it packs then lose the sign of -0.)
    fn compare_encodings(&mut self, contents: &Contents) -> Result<()> {
        self.plain().words("DEBUG RELOAD")?;
        for (db, key) in contents.keys() {
            self.select(*db)?;
            let kind = self.command(&[b"TYPE".to_vec(), key.clone()])?;
            if ![&b"string"[..], b"set"].contains(&flat(&kind).concat().as_slice()) {
                continue;
            }
            let (host, ours) = (self.encoding("", key)?, self.encoding("PERSIST.", key)?);
            // Small sets have a form of their own since 7.2.
            if host != ours && host != Resp::Bulk(b"listpack".to_vec()) {
                let key = key.escape_ascii();
                return Err(Error::new(format!("{key} is {ours}, in the host {host}")));
            }
        }
        Ok(())
    }

    /// Runs one command, and collects the events it makes.
    fn one(&mut self, argv: &Argv, way: Way, marker: &str) -> Result<(Vec<Resp>, Vec<String>)> {
        let mut out = Vec::new();
        let mut script = |text: &str| {
            let mut all = vec![b"EVAL".to_vec(), text.into(), b"0".to_vec()];
            all.extend(argv.iter().cloned());
            encode_command(&mut out, &all);
            1
        };
        let replies = match way {
            Way::Script => script(SCRIPT),
            Way::Script3 => script(SCRIPT3),
            Way::Plain => {
                encode_command(&mut out, argv);
                1
            }
            Way::Transaction => {
                encode_command(&mut out, &["MULTI"]);
                encode_command(&mut out, argv);
                encode_command(&mut out, &["EXEC"]);
                3
            }
        };
        encode_command(&mut out, &["PUBLISH", "marker", marker]);
        let side = self.side(argv);
        side.client.send_bytes(&out)?;
        let mut found = Vec::new();
        for _ in 0..replies {
            found.push(side.client.read()?);
        }
        side.client.read()?;
        let mut events = Vec::new();
        side.collect(&mut events, marker)?;
        Ok((found, events))
    }

    /// Forgets what has been told so far.
    fn drain_events(&mut self, marker: &str) -> Result<()> {
        for side in [&mut self.host, &mut self.ours] {
            side.client.command(&["PUBLISH", "marker", marker])?;
            side.collect(&mut Vec::new(), marker)?;
        }
        Ok(())
    }

    fn replies(
        &mut self,
        name: &str,
        argv: &Argv,
        way: Way,
        host: Vec<Resp>,
        ours: Vec<Resp>,
    ) -> Result<()> {
        let (mut host, mut ours) = (host, ours);
        if way == Way::Transaction {
            let heads = (host.drain(..2).collect(), ours.drain(..2).collect());
            self.reply(name, argv, way, heads.0, heads.1)?;
            if let ([Resp::Array(h)], [Resp::Array(o)]) = (&host[..], &ours[..]) {
                let (h, o) = (h.clone(), o.clone());
                return self.reply(name, argv, way, h, o);
            }
        }
        self.reply(name, argv, way, host, ours)
    }

    fn reply(
        &mut self,
        name: &str,
        argv: &Argv,
        way: Way,
        host: Vec<Resp>,
        ours: Vec<Resp>,
    ) -> Result<()> {
        // Other families restore hashes, which shuffles the host's.
        let ordered = match (name, self.family) {
            ("HGETALL" | "HKEYS" | "HVALS", Family::Hashes) => "listpack",
            ("SMEMBERS", Family::Sets) => "intset",
            _ => "",
        };
        let listed = !ordered.is_empty()
            && way != Way::Script3
            && argv.len() > 1
            && self.encoding("", &argv[1])? == Resp::Bulk(ordered.into());
        let rule = if listed { "" } else { name };
        let (mut host_times, mut our_times) = (Vec::new(), Vec::new());
        let clean = |replies: Vec<Resp>, times: &mut Vec<i64>| {
            let replies = replies.into_iter().map(|reply| {
                let (reply, mut its) = times::take(name, normal(rule, way, reply));
                times.append(&mut its);
                reply
            });
            Resp::Array(replies.collect())
        };
        let h = clean(host, &mut host_times);
        let o = clean(ours, &mut our_times);
        let unlike = |why: &str| {
            Err(Error::new(format!(
                "{way:?}{}{why}\nhost {}\nours {}",
                if why.is_empty() { "" } else { ": " },
                clip(&h),
                clip(&o)
            )))
        };
        if !times::near(&host_times, &our_times, CLOCK_SLACK_MS) {
            return unlike("other times");
        }
        let only = match (&h, &o) {
            (Resp::Array(h), Resp::Array(o)) => match (&h[..], &o[..]) {
                ([h], [o]) if !h.is_error() && !o.is_error() => Some((h.clone(), o.clone())),
                _ => None,
            },
            _ => None,
        };
        if let Some((h, o)) = only {
            let queued = h == Resp::Simple(b"QUEUED".to_vec());
            match name {
                // Cursors mean nothing outside of their own keyspace: whole iterations are compared.
                "SCAN" | "HSCAN" | "SSCAN" | "ZSCAN" if !queued => {
                    let (h, o) = (self.scan(argv, h)?, self.scan(&durable(argv), o)?);
                    if h != o {
                        return Err(Error::new(format!("host {h:?}\nours {o:?}")));
                    }
                    return Ok(());
                }
                "TTL" | "PTTL" | "EXPIRETIME" | "PEXPIRETIME" => {
                    let slack = if name.starts_with('P') { 1 } else { 1000 };
                    if let (Resp::Int(h), Resp::Int(o)) = (&h, &o)
                        && *h > 0
                        && *o > 0
                        && h.abs_diff(*o) <= CLOCK_SLACK_MS / slack
                    {
                        return Ok(());
                    }
                }
                "HTTL" | "HPTTL" | "HEXPIRETIME" | "HPEXPIRETIME" if !queued => {
                    let slack = if name.starts_with("HP") { 1 } else { 1000 };
                    let (h, o) = (h.into_items(), o.into_items());
                    let near = |(h, o): (&Resp, &Resp)| match (h, o) {
                        (Resp::Int(h), Resp::Int(o)) if *h > 0 && *o > 0 => {
                            h.abs_diff(*o) <= CLOCK_SLACK_MS / slack
                        }
                        (h, o) => h == o,
                    };
                    if h.len() == o.len() && h.iter().zip(&o).all(near) {
                        return Ok(());
                    }
                }
                "SPOP" | "SRANDMEMBER" | "HRANDFIELD" | "ZRANDMEMBER" | "RANDOMKEY" if !queued => {
                    return match self.random(name, argv, &h, &o)? {
                        None => Ok(()),
                        Some(why) => unlike(&why),
                    };
                }
                _ => {}
            }
        }
        let printed_otherwise =
            !self.same_print && has_scores(name) && spelled(h.clone()) == spelled(o.clone());
        if h == o || printed_otherwise {
            Ok(())
        } else {
            unlike("")
        }
    }

    /// Both keyspaces hold the same.
    pub fn compare_contents(&self, when: &str) -> Result<Contents> {
        let host = contents::read(self.plain().port(), "", DATABASES)?;
        let ours = contents::read(self.server.port(), "PERSIST.", DATABASES)?;
        let spelled = |mut contents: Contents| {
            for key in contents.values_mut() {
                if let contents::Value::SortedSet(items) = &mut key.value
                    && !self.same_print
                {
                    for (_, score) in items {
                        *score = number(std::mem::take(score));
                    }
                }
            }
            contents
        };
        let (host, ours) = (spelled(host), (spelled(ours.clone()), ours));
        contents::same(when, &host, &ours.0, CLOCK_SLACK_MS)?;
        Ok(ours.1)
    }
}

fn expect_ok(reply: &Resp) -> Result<()> {
    match reply {
        Resp::Simple(text) if text == b"OK" => Ok(()),
        other => Err(Error::new(other.to_string())),
    }
}

/// The same command for the durable keyspace.
fn durable(argv: &Argv) -> Argv {
    let mut argv = argv.clone();
    let prefix: &[u8] = if argv[0].iter().any(u8::is_ascii_lowercase) {
        b"persist."
    } else {
        b"PERSIST."
    };
    argv[0] = [prefix, &argv[0]].concat();
    argv
}

/// SORT of 7.0 takes an overflow that an earlier command met, and left noted in C's `errno`, for its own.
fn is_stale(replies: &[Resp]) -> bool {
    replies.iter().any(|reply| {
        let text = reply.encode();
        text.windows(12).any(|part| part == b"into double\r")
    })
}

fn name_of(argv: &Argv) -> String {
    String::from_utf8_lossy(&argv[0]).to_ascii_uppercase()
}

/// Whether its replies hold numbers that are no strings of somebody's.
fn has_scores(name: &str) -> bool {
    ["Z", "BZ", "GEO"].iter().any(|of| name.starts_with(of))
}

fn by_lex(name: &str, argv: &Argv) -> bool {
    name.contains("LEX") || argv.iter().any(|arg| arg.eq_ignore_ascii_case(b"BYLEX"))
}

fn show(argv: &Argv) -> String {
    let words: Vec<String> = argv
        .iter()
        .map(|arg| format!("\"{}\"", arg.escape_ascii()))
        .collect();
    let text = words.join(" ");
    match text.char_indices().nth(400) {
        None => text,
        Some((at, _)) => format!("{}... ({} arguments)", &text[..at], argv.len()),
    }
}

fn clip(reply: &Resp) -> String {
    reply.to_string().chars().take(1200).collect()
}
