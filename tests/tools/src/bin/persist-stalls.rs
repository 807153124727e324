//! The longest stalls: growing to 10M keys, deleting a huge set, emptying a
//! database of 10M keys. Prints a table; see `--help`.
#![allow(clippy::expect_used)]

use std::time::{Duration, Instant};

use clap::Parser;
use persist_engine::base::hash::Seed;
use persist_engine::data::entry::Entry;
use persist_engine::data::table::Table;
use persist_engine::data::value::Kind;
use persist_tools::raw::RawClient;
use persist_tools::server::Server;

/// Measures the longest stalls of the event loop.
#[derive(Parser)]
struct Options {
    /// Keys to grow to, and to flush.
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
    /// Members of the set that is deleted.
    #[arg(long, default_value_t = 5_000_000)]
    members: u64,
    /// How often the growth is measured; the smallest of the longest counts,
    /// since the machine's own stalls only add.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// The longest single insert while a table grows to `keys`.
fn growth(keys: u64) -> Duration {
    let mut table: Table<Entry> = Table::new(Seed([7; 16]).into());
    let mut longest = Duration::ZERO;
    for n in 0..keys {
        let key = n.to_le_bytes();
        let entry = Entry::small(
            Kind::String,
            &key,
            None,
            &[b"some value of thirty-two bytes!!"],
        );
        let hash = table.hash(&key);
        let begun = Instant::now();
        table.insert(hash, entry);
        longest = longest.max(begun.elapsed());
    }
    longest
}

/// Sends `commands` commands of the form `make(i)` in pipelines.
fn fill(client: &mut RawClient, commands: u64, make: impl Fn(u64, &mut Vec<Vec<u8>>)) {
    let mut at = 0;
    while at < commands {
        let end = (at + 500).min(commands);
        let argvs: Vec<Vec<Vec<u8>>> = (at..end)
            .map(|i| {
                let mut argv = Vec::new();
                make(i, &mut argv);
                argv
            })
            .collect();
        client.pipeline(&argvs).expect("a reply to each command");
        at = end;
    }
}

/// How long one command keeps the event loop, as the server's slow log says,
/// and how long it takes from outside. The difference is what the machine adds:
/// above all the thread that frees what was removed, on a core of its own if
/// there is one.
fn timed(client: &mut RawClient, line: &str) -> (Duration, Duration) {
    client
        .words("CONFIG SET slowlog-log-slower-than 0")
        .expect("OK");
    client.words("SLOWLOG RESET").expect("OK");
    let begun = Instant::now();
    client.words(line).expect("a reply");
    let outside = begun.elapsed();
    let log = client.words("SLOWLOG GET -1").expect("the slow log");
    client
        .words("CONFIG SET slowlog-log-slower-than -1")
        .expect("OK");
    let name = line.split(' ').next().unwrap_or(line);
    // id, time, microseconds, arguments, ...
    let us = log.into_items().into_iter().find_map(|entry| {
        let mut fields = entry.into_items().into_iter().skip(2);
        let us = fields.next()?.text()?.parse().ok()?;
        let argv = fields.next()?.into_items();
        let named = argv.first()?.text()?.eq_ignore_ascii_case(name);
        named.then_some(us)
    });
    let us = us.expect("the command in the slow log");
    (Duration::from_micros(us), outside)
}

fn main() {
    let options = Options::parse();
    println!("| what | longest | bar |");
    println!("|---|---|---|");
    let longest = (0..options.rounds)
        .map(|_| growth(options.keys))
        .min()
        .unwrap_or_default();
    println!(
        "| one insert while growing to {} keys | {longest:?} | 1 ms |",
        options.keys
    );
    let server = Server::builder()
        .with_module()
        .config("persist.appendonly", "no")
        .start()
        .expect("a server");
    let mut client = RawClient::connect(server.port()).expect("a connection");
    fill(&mut client, options.members / 100, |i, argv| {
        argv.extend([b"PERSIST.SADD".to_vec(), b"huge".to_vec()]);
        argv.extend((0..100).map(|j| format!("member:{}", i * 100 + j).into_bytes()));
    });
    let (took, outside) = timed(&mut client, "PERSIST.DEL huge");
    println!(
        "| DEL of a set of {} members (from outside {outside:?}) | {took:?} | 1 ms |",
        options.members
    );
    fill(&mut client, options.keys, |i, argv| {
        argv.extend([
            b"PERSIST.SET".to_vec(),
            format!("key:{i}").into_bytes(),
            b"value".to_vec(),
        ]);
    });
    let (took, outside) = timed(&mut client, "PERSIST.FLUSHALL");
    println!(
        "| FLUSHALL of {} keys (from outside {outside:?}) | {took:?} | 1 ms |",
        options.keys
    );
}
