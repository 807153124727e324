//! One table, from one run: the module against the host's own persistence, on the same data and the same machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use persist_tools::server::{Server, module_path, server_binary, wait_until};
use persist_tools::{Error, Result, load};

/// Compare the module with the host's own persistence, and print one Markdown table.
#[derive(Parser)]
struct Args {
    /// A redis-server or valkey-server; several times for several hosts [default: REDIS_SERVER, or redis-server]
    #[arg(long = "host", value_name = "PATH")]
    hosts: Vec<PathBuf>,
    /// Medians of this many rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Keys of the data set that is saved and loaded
    #[arg(long, default_value_t = 2_000_000)]
    keys: u64,
    /// Its seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests of each redis-benchmark run at pipeline 16; a quarter of it at pipeline 1
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// A short form: 1 round, 100,000 keys, 100,000 requests
    #[arg(long)]
    quick: bool,
    /// Only what needs no module, to try the benchmark itself: both sides are then the plain host
    #[arg(long, hide = true)]
    self_test: bool,
    /// Leave out throughput
    #[arg(long)]
    no_throughput: bool,
    /// Leave out saving and loading
    #[arg(long)]
    no_data: bool,
}

/// Which of the two is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Host,
    Module,
}

/// How to talk to one side.
#[derive(Clone)]
struct Contender {
    binary: PathBuf,
    side: Side,
    module: Option<PathBuf>,
}

impl Contender {
    /// Before each command and each setting, if it is the module's.
    fn prefix(&self) -> &'static str {
        if self.module.is_some() {
            "PERSIST."
        } else {
            ""
        }
    }

    fn setting(&self, name: &str) -> String {
        if self.module.is_some() {
            format!("persist.{name}")
        } else {
            name.to_owned()
        }
    }

    fn start(&self, appendonly: bool) -> Result<Server> {
        let mut builder = Server::builder()
            .binary(&self.binary)
            .wait(Duration::from_secs(600));
        if let Some(module) = &self.module {
            builder = builder.module(module);
        }
        for (name, value) in [
            ("save", ""),
            ("appendonly", if appendonly { "yes" } else { "no" }),
            ("appendfsync", "everysec"),
            // A rewrite in the middle of one round would tell nothing.
            ("auto-aof-rewrite-percentage", "0"),
        ] {
            builder = builder.config(&self.setting(name), value);
        }
        builder.start()
    }

    fn info(&self, server: &Server, field: &str) -> Result<String> {
        match self.module {
            Some(_) => server.persist_info(field),
            None => server.info(field),
        }
    }

    fn config_set(&self, server: &Server, name: &str, value: &str) -> Result<()> {
        let name = self.setting(name);
        expect_ok(server, &format!("CONFIG SET {name} {value}"))?;
        server.set_config(&name, value)
    }

    /// The snapshot, and the folder of the log.
    fn files(&self, server: &Server) -> (PathBuf, PathBuf) {
        let dir = server.data_dir();
        match self.module {
            Some(_) => (dir.join("persist.rdb"), dir.join("persist-aof")),
            None => (dir.join("dump.rdb"), dir.join("appendonlydir")),
        }
    }

    /// Runs a background save or rewrite to its end; the time from the command to the field's fall.
    fn background(&self, server: &Server, command: &str, field: &str) -> Result<f64> {
        let begin = Instant::now();
        expect_ok(server, command)?;
        self.idle(server, &[field])?;
        Ok(begin.elapsed().as_secs_f64())
    }

    fn idle(&self, server: &Server, fields: &[&str]) -> Result<()> {
        for field in fields {
            wait_until(field, Duration::from_secs(600), || {
                Ok(self.info(server, field)? == "0")
            })?;
        }
        Ok(())
    }
}

fn expect_ok(server: &Server, command: &str) -> Result<()> {
    let reply = server.words(command)?;
    if reply.is_error() {
        return Err(Error::new(format!("{command}: {reply}")));
    }
    Ok(())
}

/// A measured pair: the host's own, and the module's.
struct Row {
    what: String,
    host: f64,
    module: f64,
    unit: Unit,
}

#[derive(Clone, Copy)]
enum Unit {
    /// Requests a second: more is better.
    Rate,
    /// Seconds: less is better.
    Seconds,
    /// Milliseconds: less is better.
    Millis,
    /// Bytes: less is better.
    Bytes,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::Rate => format!("{:.0}k/s", value / 1e3),
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Millis => format!("{value:.1} ms"),
            Unit::Bytes => format!("{:.1} MB", value / 1e6),
        }
    }

    /// How many times better the module is, or for bytes how many times as large.
    fn compare(self, host: f64, module: f64) -> String {
        let (ratio, word) = match self {
            Unit::Rate => (module / host, "x"),
            Unit::Seconds | Unit::Millis => (host / module, "x"),
            Unit::Bytes => (module / host, "x the size"),
        };
        if ratio.is_finite() {
            format!("{ratio:.2}{word}")
        } else {
            "-".into()
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// The benchmarked commands; GET finds what SET has left.
const COMMANDS: &[&[&str]] = &[
    &[
        "SET",
        "string:__rand_int__",
        "a-value-of-32-bytes-for-the-bench",
    ],
    &["GET", "string:__rand_int__"],
    &["INCR", "counter:__rand_int__"],
    &["LPUSH", "list:__rand_int__", "element"],
    &["HSET", "hash:__rand_int__", "field", "value"],
    &["ZADD", "zset:__rand_int__", "1", "member:__rand_int__"],
    &["SADD", "set:__rand_int__", "member:__rand_int__"],
];

const PIPELINES: [u64; 2] = [1, 16];

fn redis_benchmark(
    contender: &Contender,
    port: u16,
    pipeline: u64,
    requests: u64,
    argv: &[&str],
) -> Result<f64> {
    let program = std::env::var("REDIS_BENCHMARK").unwrap_or_else(|_| "redis-benchmark".into());
    let name = format!("{}{}", contender.prefix(), argv[0]);
    let output = Command::new(&program)
        .args(["-p", &port.to_string(), "-P", &pipeline.to_string()])
        .args(["-n", &requests.to_string(), "-r", "100000", "--csv"])
        .arg(&name)
        .args(&argv[1..])
        .output()
        .map_err(|error| Error::new(format!("{program}: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    text.lines()
        .rev()
        .find(|line| line.starts_with('"') && !line.starts_with("\"test\""))
        .filter(|_| output.status.success() && !complaint.contains("rror"))
        .and_then(|line| line.rsplit("\",\"").nth(6)?.trim_matches('"').parse().ok())
        .ok_or_else(|| Error::new(format!("{program} {name}: {text}{complaint}")))
}

fn throughput(pair: &[Contender; 2], args: &Args) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for argv in COMMANDS {
        // New servers for each command, so that none inherits the other's data or log. GET keeps SET's.
        let servers = [pair[0].start(true)?, pair[1].start(true)?];
        if argv[0] == "GET" {
            for (contender, server) in pair.iter().zip(&servers) {
                redis_benchmark(contender, server.port(), 16, 400_000, COMMANDS[0])?;
            }
        }
        for pipeline in PIPELINES {
            let requests = if pipeline == 1 {
                args.requests / 4
            } else {
                args.requests
            };
            let mut rates = [Vec::new(), Vec::new()];
            for round in 0..args.rounds {
                for ((contender, server), rates) in pair.iter().zip(&servers).zip(&mut rates) {
                    let rate = redis_benchmark(contender, server.port(), pipeline, requests, argv)?;
                    eprintln!(
                        "{} {} pipeline {pipeline} round {}: {:.0}/s",
                        side_name(contender),
                        argv[0],
                        round + 1,
                        rate
                    );
                    rates.push(rate);
                }
            }
            let [host, module] = rates.map(median);
            rows.push(Row {
                what: format!("{}, pipeline {pipeline}", argv[0]),
                host,
                module,
                unit: Unit::Rate,
            });
        }
    }
    rows.sort_by_key(|row| row.what.ends_with(" 16"));
    Ok(rows)
}

fn side_name(contender: &Contender) -> &'static str {
    match contender.side {
        Side::Host => "host  ",
        Side::Module => "module",
    }
}

/// What saving and loading takes, in the order of [`MEASURES`].
type Measured = Vec<f64>;

const MEASURES: &[(&str, Unit)] = &[
    ("load the data through a socket", Unit::Seconds),
    ("memory of the data (used_memory)", Unit::Bytes),
    ("BGSAVE", Unit::Seconds),
    ("fork", Unit::Millis),
    ("snapshot size", Unit::Bytes),
    ("start with the snapshot", Unit::Seconds),
    ("turn the log on", Unit::Seconds),
    ("rewrite of the log, preamble", Unit::Seconds),
    ("log size, preamble", Unit::Bytes),
    ("start with the log, preamble", Unit::Seconds),
    ("rewrite of the log, RESP", Unit::Seconds),
    ("log size, RESP", Unit::Bytes),
    ("start with the log, RESP", Unit::Seconds),
];

const REWRITING: [&str; 2] = ["aof_rewrite_scheduled", "aof_rewrite_in_progress"];

fn saving_and_loading(contender: &Contender, args: &Args) -> Result<Measured> {
    let mut measured = Vec::new();
    let mut note = |value: f64| {
        let (what, unit) = MEASURES[measured.len()];
        eprintln!("{} {what}: {}", side_name(contender), unit.show(value));
        measured.push(value);
    };
    let number = |server: &Server, field: &str| -> Result<f64> {
        let text = server.info(field)?;
        text.parse()
            .map_err(|_| Error::new(format!("{field}:{text}")))
    };
    let (command_save, command_rewrite) = match contender.module {
        Some(_) => ("PERSIST.BGSAVE", "PERSIST.REWRITE"),
        None => ("BGSAVE", "BGREWRITEAOF"),
    };

    let mut server = contender.start(false)?;
    let empty = number(&server, "used_memory")?;
    note(load::load(server.port(), args.seed, args.keys, contender.prefix())?.as_secs_f64());
    note(number(&server, "used_memory")? - empty);

    let (mut saves, mut forks) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        saves.push(contender.background(&server, command_save, "rdb_bgsave_in_progress")?);
        forks.push(number(&server, "latest_fork_usec")? / 1e3);
        if contender.info(&server, "rdb_last_bgsave_status")? != "ok" {
            return Err(Error::new(format!(
                "BGSAVE failed:\n{}",
                server.log_tail(20)
            )));
        }
    }
    note(median(saves));
    note(median(forks));
    let (snapshot, log) = contender.files(&server);
    note(size(&snapshot)?);
    note(starts(contender, &mut server, args)?);

    let begin = Instant::now();
    contender.config_set(&server, "appendonly", "yes")?;
    // The host begins at once, or as soon as it can: until then neither field says so.
    wait_until("a log with a base", Duration::from_secs(600), || {
        Ok(contender.info(&server, "aof_enabled")? == "1" && has_base(&log))
    })?;
    contender.idle(&server, &REWRITING)?;
    note(begin.elapsed().as_secs_f64());

    for preamble in ["yes", "no"] {
        contender.config_set(&server, "aof-use-rdb-preamble", preamble)?;
        let mut rewrites = Vec::new();
        for _ in 0..args.rounds {
            let begin = Instant::now();
            expect_ok(&server, command_rewrite)?;
            contender.idle(&server, &REWRITING)?;
            rewrites.push(begin.elapsed().as_secs_f64());
            if contender.info(&server, "aof_last_bgrewrite_status")? != "ok" {
                return Err(Error::new(format!(
                    "the rewrite failed:\n{}",
                    server.log_tail(20)
                )));
            }
        }
        note(median(rewrites));
        settle(&log);
        note(size(&log)?);
        note(starts(contender, &mut server, args)?);
    }

    // What was measured must have been the whole data.
    let mut client = server.raw()?;
    load::check(&mut client, args.seed, args.keys, contender.prefix(), None)?.ok()?;
    Ok(measured)
}

/// The median time from the start of the process to its first answer with the data in memory.
fn starts(contender: &Contender, server: &mut Server, args: &Args) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..args.rounds {
        server.restart()?;
        times.push(server.load_time().as_secs_f64());
        let mut client = server.raw()?;
        let size = client.words(&format!("{}DBSIZE", contender.prefix()))?;
        if size.text() != Some(args.keys.to_string()) {
            return Err(Error::new(format!(
                "{size} keys came back\n{}",
                server.log_tail(20)
            )));
        }
    }
    Ok(median(times))
}

fn has_base(log: &Path) -> bool {
    fs::read_dir(log).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains(".base."))
    })
}

/// Waits until the files that a rewrite has replaced are gone: hosts remove them in the background.
fn settle(log: &Path) {
    let _ = wait_until("one base", Duration::from_secs(10), || {
        let bases = fs::read_dir(log)?
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().contains(".base."))
            .count();
        Ok(bases == 1)
    });
}

/// Bytes of a file, or of all files in a folder.
fn size(path: &Path) -> Result<f64> {
    let problem = |error: std::io::Error| Error::new(format!("{}: {error}", path.display()));
    let meta = fs::metadata(path).map_err(problem)?;
    if !meta.is_dir() {
        return Ok(meta.len() as f64);
    }
    let mut bytes = 0;
    for entry in fs::read_dir(path).map_err(problem)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes as f64)
}

/// The name and version of a server, as it says itself.
fn version(binary: &Path) -> Result<String> {
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .map_err(|error| Error::new(format!("{}: {error}", binary.display())))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = if text.contains("alkey") {
        "Valkey"
    } else {
        "Redis"
    };
    let number = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v=").or_else(|| word.strip_prefix('v')))
        .unwrap_or("?");
    Ok(format!("{name} {number}"))
}

fn machine() -> String {
    let first = |file: &str, name: &str| {
        fs::read_to_string(file)
            .unwrap_or_default()
            .lines()
            .find_map(|line| {
                Some(
                    line.strip_prefix(name)?
                        .trim_start_matches([' ', '\t', ':'])
                        .to_owned(),
                )
            })
            .unwrap_or_else(|| "unknown".into())
    };
    let cpu = first("/proc/cpuinfo", "model name");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory: f64 = first("/proc/meminfo", "MemTotal:")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or(0.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cpu}, {cores} cores, {:.0} GB of memory, Linux {}",
        memory * 1024.0 / 1e9,
        kernel.trim()
    )
}

fn measure(binary: &Path, args: &Args) -> Result<Vec<Row>> {
    let contender = |side: Side| Contender {
        binary: binary.to_path_buf(),
        side,
        module: (side == Side::Module && !args.self_test).then(module_path),
    };
    let pair = [contender(Side::Host), contender(Side::Module)];
    let mut rows = Vec::new();
    if !args.no_throughput {
        rows.extend(throughput(&pair, args)?);
    }
    if !args.no_data {
        let host = saving_and_loading(&pair[0], args)?;
        let module = saving_and_loading(&pair[1], args)?;
        for ((&(what, unit), host), module) in MEASURES.iter().zip(host).zip(module) {
            rows.push(Row {
                what: what.into(),
                host,
                module,
                unit,
            });
        }
    }
    Ok(rows)
}

fn run(mut args: Args) -> Result<()> {
    if args.quick {
        args.rounds = 1;
        args.keys = args.keys.min(100_000);
        args.requests = args.requests.min(100_000);
    }
    if args.rounds == 0 || args.requests < 4 {
        return Err(Error::new("at least one round and four requests"));
    }
    if args.hosts.is_empty() {
        args.hosts.push(server_binary());
    }
    let mut columns = Vec::new();
    for host in &args.hosts {
        columns.push((version(host)?, measure(host, &args)?));
    }

    println!("{}", machine());
    println!(
        "`appendfsync everysec` on both sides; medians of {} round(s), taken in turns; {} keys of mixed data (seed {}); \
         redis-benchmark with 50 clients, 100,000 random keys, {} requests a round at pipeline 16 and {} at 1. \
         \"x\" says how many times faster the module is.",
        args.rounds,
        args.keys,
        args.seed,
        args.requests,
        args.requests / 4
    );
    let words: Vec<String> = std::env::args().skip(1).collect();
    println!("Repeat with `make bench ARGS='{}'`.\n", words.join(" "));
    let mut head = String::from("| measure |");
    let mut line = String::from("|---|");
    let second = if args.self_test {
        "the same again (self-test)"
    } else {
        "module on it"
    };
    for (name, _) in &columns {
        head.push_str(&format!(" {name} | {second} | |"));
        line.push_str("---:|---:|---:|");
    }
    println!("{head}\n{line}");
    for index in 0..columns[0].1.len() {
        let mut text = format!("| {} |", columns[0].1[index].what);
        for (_, rows) in &columns {
            let row = &rows[index];
            text.push_str(&format!(
                " {} | {} | {} |",
                row.unit.show(row.host),
                row.unit.show(row.module),
                row.unit.compare(row.host, row.module)
            ));
        }
        println!("{text}");
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("persist-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
