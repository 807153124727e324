//! Loads the generated data through a socket, and checks key by key that a server holds it.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::generate::{self, Command, Kind};
use crate::journal::Journal;
use crate::raw::{RawClient, Resp};
use crate::{Error, Result};

/// Sends every command of the data set through one pipelined connection; how long it took.
/// An error reply ends it.
pub fn load(port: u16, seed: u64, keys: u64, prefix: &str) -> Result<Duration> {
    let mut client = RawClient::connect(port)?;
    client.set_timeout(Some(Duration::from_secs(600)))?;
    let mut writer = client.writer()?;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || -> Result<()> {
            let mut out = Vec::with_capacity(1 << 17);
            for command in generate::commands(seed, keys) {
                command.write_resp(prefix, &mut out);
                if out.len() >= 1 << 16 {
                    writer.write_all(&out)?;
                    out.clear();
                }
            }
            Ok(writer.write_all(&out)?)
        });
        for index in 0..keys {
            let reply = match client.read() {
                Ok(reply) => reply,
                Err(error) => {
                    stop(&client);
                    return Err(error);
                }
            };
            if reply.is_error() {
                // The sender may be stuck in a full socket.
                stop(&client);
                return Err(Error::new(format!("key {index}: {reply}")));
            }
        }
        sender
            .join()
            .map_err(|_| Error::new("the sender panicked"))?
    })?;
    Ok(start.elapsed())
}

fn stop(client: &RawClient) {
    if let Ok(writer) = client.writer() {
        let _ = writer.shutdown(std::net::Shutdown::Both);
    }
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Keys with exactly the expected content.
    pub good: u64,
    /// Keys that are missing or differ.
    pub bad: u64,
    /// The first of the bad ones, in words.
    pub examples: Vec<String>,
}

impl Report {
    /// Counts one key.
    fn add(&mut self, difference: Option<String>) {
        match difference {
            None => self.good += 1,
            Some(words) => {
                self.bad += 1;
                if self.examples.len() < 20 {
                    self.examples.push(words);
                }
            }
        }
    }

    /// An error that names the first differences, unless all is well.
    pub fn ok(&self) -> Result<()> {
        if self.bad == 0 {
            return Ok(());
        }
        Err(Error::new(format!(
            "{} of {} keys are wrong:\n{}",
            self.bad,
            self.good + self.bad,
            self.examples.join("\n")
        )))
    }
}

const BATCH: usize = 500;

/// Reads every key of the data set back and compares. Keys that the journal knows are left to [`check_journal`].
pub fn check(
    client: &mut RawClient,
    seed: u64,
    keys: u64,
    prefix: &str,
    journal: Option<&Journal>,
) -> Result<Report> {
    let mut report = Report::default();
    let mut commands = generate::commands(seed, keys)
        .filter(|command| !journal.is_some_and(|journal| journal.knows(&command.key)))
        .peekable();
    while commands.peek().is_some() {
        let batch: Vec<Command> = commands.by_ref().take(BATCH).collect();
        let readers: Vec<_> = batch.iter().map(|command| command.reader(prefix)).collect();
        for (command, reply) in batch.iter().zip(client.pipeline(&readers)?) {
            report.add(difference(command, reply));
        }
    }
    Ok(report)
}

/// Compares every key that the journal knows with what was acknowledged.
pub fn check_journal(client: &mut RawClient, journal: &Journal, prefix: &str) -> Result<Report> {
    let mut report = Report::default();
    let entries: Vec<_> = journal.entries().collect();
    for batch in entries.chunks(BATCH) {
        let get = format!("{prefix}GET").into_bytes();
        let readers: Vec<_> = batch
            .iter()
            .map(|(key, _)| vec![get.as_slice(), key])
            .collect();
        for ((key, allowed), reply) in batch.iter().zip(client.pipeline(&readers)?) {
            let found = match &reply {
                Resp::Bulk(value) => Some(Some(value.as_slice())),
                Resp::NullBulk | Resp::Null => Some(None),
                _ => None,
            };
            let good = found.is_some_and(|found| allowed.allows(found));
            report.add((!good).then(|| {
                format!(
                    "{}: {}, acknowledged was {}",
                    key.escape_ascii(),
                    shorten(&reply.to_string()),
                    allowed
                )
            }));
        }
    }
    Ok(report)
}

/// How the reply of `command.reader()` differs from what the command made.
pub fn difference(command: &Command, reply: Resp) -> Option<String> {
    let shown = shorten(&reply.to_string());
    let words = || {
        Some(format!(
            "{}: {shown} instead of {}",
            command.key.escape_ascii(),
            shorten(&command.args.concat().escape_ascii().to_string())
        ))
    };
    if command.kind == Kind::String {
        return match reply {
            Resp::Bulk(value) if value == command.args[0] => None,
            _ => words(),
        };
    }
    if reply.is_error() {
        return words();
    }
    let mut found = Vec::new();
    for item in reply.into_items() {
        match item {
            Resp::Bulk(value) | Resp::Double(value) => found.push(value),
            // RESP3 pairs a member with its score.
            pair => found.extend(pair.into_items().into_iter().filter_map(|item| match item {
                Resp::Bulk(value) | Resp::Double(value) => Some(value),
                _ => None,
            })),
        }
    }
    let same = match command.kind {
        Kind::List => found == command.args,
        Kind::Set => sorted(found) == sorted(command.args.clone()),
        Kind::Hash => found.len() == command.args.len() && pairs(&found) == pairs(&command.args),
        _ => {
            found.len() == command.args.len()
                && scored(found.chunks(2).map(|pair| (&pair[0], &pair[1])))
                    == scored(command.args.chunks(2).map(|pair| (&pair[1], &pair[0])))
        }
    };
    if same { None } else { words() }
}

fn sorted(mut items: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    items.sort();
    items
}

fn pairs(flat: &[Vec<u8>]) -> Vec<&[Vec<u8>]> {
    let mut pairs: Vec<_> = flat.chunks(2).collect();
    pairs.sort();
    pairs
}

/// Members with the bits of their scores, since hosts print them in different ways.
fn scored<'a>(
    pairs: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
) -> Vec<(&'a [u8], Option<u64>)> {
    let mut scored: Vec<_> = pairs
        .map(|(member, score)| {
            let score = std::str::from_utf8(score)
                .ok()
                .and_then(|s| s.parse::<f64>().ok());
            (member.as_slice(), score.map(f64::to_bits))
        })
        .collect();
    scored.sort();
    scored
}

fn shorten(text: &str) -> String {
    if text.len() <= 120 {
        return text.to_owned();
    }
    format!("{}...", text.chars().take(120).collect::<String>())
}
