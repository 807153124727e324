//! The longest stalls: growing to 10M keys, deleting a huge set, emptying a
//! database of 10M keys, fields that end together, moving a huge list in and
//! out.
//! Prints a table; see `--help`.
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
    /// Fields of a hash that end together.
    #[arg(long, default_value_t = 1_000_000)]
    fields: u64,
    /// Elements of the list that is adopted and released.
    #[arg(long, default_value_t = 1_000_000)]
    elements: u64,
    /// Only the list that is adopted and released.
    #[arg(long)]
    moves: bool,
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

/// How long it takes until `done`, and the longest that another client waits
/// for its answer meanwhile.
fn beside(server: &Server, mut done: impl FnMut() -> bool) -> (Duration, Duration) {
    let mut client = RawClient::connect(server.port()).expect("a connection");
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while !done() {
        for _ in 0..100 {
            let asked = Instant::now();
            client.words("PING").expect("PONG");
            longest = longest.max(asked.elapsed());
        }
    }
    (begun.elapsed(), longest)
}

/// Fields of one hash end together, and nobody looks at it.
fn ended_fields(fields: u64) {
    const SOME: u64 = 1000;
    let server = Server::builder().with_module().start().expect("a server");
    let mut client = RawClient::connect(server.port()).expect("a connection");
    let names = |i: u64| (0..SOME).map(move |j| format!("field:{}", i * SOME + j).into_bytes());
    fill(&mut client, fields / SOME, |i, argv| {
        argv.extend([b"PERSIST.HSET".to_vec(), b"h".to_vec()]);
        argv.extend(names(i).flat_map(|name| [name, b"value".to_vec()]));
    });
    let wait = Duration::from_secs(5 + fields / 50_000);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let at = (now.expect("a time after 1970") + wait).as_millis();
    let begun = Instant::now();
    fill(&mut client, fields / SOME, |i, argv| {
        argv.extend([b"PERSIST.HPEXPIREAT".to_vec(), b"h".to_vec()]);
        argv.extend([at.to_string(), "FIELDS".into(), SOME.to_string()].map(String::into_bytes));
        argv.extend(names(i));
    });
    let left = wait.checked_sub(begun.elapsed());
    std::thread::sleep(left.expect("a machine that is fast enough"));
    let (took, longest) = beside(&server, || {
        std::thread::sleep(Duration::from_millis(100));
        let keys = server.words("PERSIST.DBSIZE").expect("a number");
        keys == persist_tools::raw::Resp::Int(0)
    });
    println!(
        "| {fields} fields of a hash that ended together: removed in {took:?}, {:.0} a second; another client's PING | {longest:?} | |",
        fields as f64 / took.as_secs_f64()
    );
}

/// A list of the host's becomes a durable one, and the host's again.
fn moved(elements: u64) {
    let server = Server::builder().with_module().start().expect("a server");
    let mut client = RawClient::connect(server.port()).expect("a connection");
    fill(&mut client, elements / 100, |i, argv| {
        argv.extend([b"RPUSH".to_vec(), b"huge".to_vec()]);
        argv.extend((0..100).map(|j| format!("element:{}", i * 100 + j).into_bytes()));
    });
    for way in ["ADOPT", "RELEASE"] {
        let line = format!("PERSIST.{way} huge");
        client.words(&line).expect("a reply");
        let (took, longest) = beside(&server, || {
            server.persist_info("moving_in_progress").expect("INFO") == "no"
        });
        println!(
            "| {way} of a list of {elements} elements ({took:?} in all); another client's PING | {longest:?} | |"
        );
    }
}

fn main() {
    let options = Options::parse();
    println!("| what | longest | bar |");
    println!("|---|---|---|");
    if options.moves {
        return moved(options.elements);
    }
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
    drop(server);
    ended_fields(options.fields);
    moved(options.elements);
}
