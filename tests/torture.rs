//! `kill -9` in the middle of traffic: what was acknowledged comes back, whole, once and in order.
//!
//! Several clients, with and without pipelines, do the numbered operations of `persist_tools::traffic` (single commands,
//! MULTI/EXEC over two databases, scripts, a list that all share) while an operator saves, rewrites, forks the host's own
//! snapshots and turns the log off and on. Then the server is killed, started on the same folder, and each client's data
//! must be exactly that of a moment between what it was promised and what it sent. All rounds of a test go on with the
//! same folder.
//!
//! On the slow disk every fsync takes 1.5 s longer.
//!
//! `ROUNDS` sets how many rounds each test makes (2 if not said; one on the slow disk), `SEED` the choices.
//! `make torture ROUNDS=200` is the long form.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use persist_tools::preload::{Call, Faults, Preload, read_trace};
use persist_tools::raw::RawClient;
use persist_tools::server::Server;
use persist_tools::traffic::{Client, Progress};
use persist_tools::{Error, Result};

/// A generator of choices; the seed is printed.
struct Choices(u64);

impl Choices {
    fn new(salt: u64) -> Self {
        let seed = std::env::var("SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| {
                let now = std::time::SystemTime::now();
                now.duration_since(std::time::UNIX_EPOCH)
                    .map_or(1, |d| d.subsec_nanos() as u64)
            });
        println!("SEED={seed}");
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt ^ 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

fn rounds(otherwise: u64) -> u64 {
    std::env::var("ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// What clients may count on when the server dies: everything acknowledged, or, while the log is off, what was
/// acknowledged before a moment.
struct Promise {
    clients: Vec<Arc<Progress>>,
    floors: Vec<AtomicU64>,
    everything: AtomicBool,
}

impl Promise {
    fn new(clients: &[Client]) -> Self {
        let clients: Vec<_> = clients.iter().map(Client::progress).collect();
        let floors = clients
            .iter()
            .map(|client| AtomicU64::new(client.acknowledged()))
            .collect();
        Self {
            clients,
            floors,
            everything: AtomicBool::new(true),
        }
    }

    fn acknowledged(&self) -> Vec<u64> {
        self.clients.iter().map(|c| c.acknowledged()).collect()
    }

    /// These are promised, whatever comes.
    fn raise(&self, floors: &[u64]) {
        for (floor, &to) in self.floors.iter().zip(floors) {
            floor.fetch_max(to, Ordering::SeqCst);
        }
    }

    /// What is promised now that the server is dead.
    fn floors(&self) -> Vec<u64> {
        if self.everything.load(Ordering::SeqCst) {
            self.raise(&self.acknowledged());
        }
        self.floors
            .iter()
            .map(|f| f.load(Ordering::SeqCst))
            .collect()
    }
}

/// Does what operators do, until the server is gone.
fn operate(port: u16, promise: &Promise, toggles: bool, choices: &mut Choices) {
    let Ok(mut client) = RawClient::connect(port) else {
        return;
    };
    let mut told = |command: &str| client.words(command);
    loop {
        let what = choices.below(if toggles { 10 } else { 8 });
        let done: Result<()> = (|| {
            match what {
                0 | 1 => drop(told("PERSIST.BGSAVE SCHEDULE")?),
                2 | 3 => drop(told("PERSIST.REWRITE")?),
                4 => drop(told("BGSAVE")?),
                5 => {
                    let before = promise.acknowledged();
                    if told("PERSIST.SAVE")?.to_string().contains("OK") {
                        promise.raise(&before);
                    }
                }
                6 => drop(told("PERSIST.BGSAVE CANCEL")?),
                7 => drop(told("PERSIST.REWRITE CANCEL")?),
                _ => {
                    // From here on only what was acknowledged before counts, until a new base is in force.
                    promise.raise(&promise.acknowledged());
                    promise.everything.store(false, Ordering::SeqCst);
                    told("CONFIG SET persist.appendonly no")?;
                    std::thread::sleep(Duration::from_millis(choices.below(60)));
                    if choices.below(3) == 0 {
                        let before = promise.acknowledged();
                        if told("PERSIST.SAVE")?.to_string().contains("OK") {
                            promise.raise(&before);
                        }
                    }
                    told("CONFIG SET persist.appendonly yes")?;
                    loop {
                        let info = told("PERSIST.INFO")?.text().unwrap_or_default();
                        if info.contains("aof_turning_on:0") && info.contains("aof_enabled:1") {
                            break;
                        }
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    promise.everything.store(true, Ordering::SeqCst);
                }
            }
            Ok(())
        })();
        if done.is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1 + choices.below(50)));
    }
}

/// One life of the server: traffic, and its sudden end. What is promised then.
fn live_and_die(
    server: &mut Server,
    clients: &mut [Client],
    toggles: bool,
    life: Duration,
    choices: &mut Choices,
) -> Result<Vec<u64>> {
    let promise = Promise::new(clients);
    let port = server.port();
    let stop = AtomicBool::new(false);
    let mut operator = Choices(choices.below(u64::MAX));
    std::thread::scope(|scope| -> Result<()> {
        let running: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(|| client.run(port, &stop)))
            .collect();
        let operated = scope.spawn(|| operate(port, &promise, toggles, &mut operator));
        std::thread::sleep(life);
        kill(server.pid());
        let gone = |_| Error::new("a thread panicked");
        for client in running {
            client.join().map_err(gone)??;
        }
        operated.join().map_err(gone)
    })?;
    server.kill9()?;
    Ok(promise.floors())
}

fn kill(pid: u32) {
    // SAFETY: kill(2) touches no memory of ours.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
}

fn some_clients() -> Vec<Client> {
    [1, 1, 1, 16, 50]
        .iter()
        .enumerate()
        .map(|(n, &depth)| Client::new(&format!("c{n}"), depth))
        .collect()
}

/// No traces of the dead are left, and the server is at ease.
fn assert_tidy(server: &Server) {
    for dir in [server.data_dir(), server.data_dir().join("persist-aof")] {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let own = format!("temp-persist-{}-", server.pid());
            assert!(
                !name.starts_with("temp-persist-") || name.starts_with(&own),
                "left behind: {name}"
            );
        }
    }
    assert_eq!(server.persist_info("aof_last_write_status").unwrap(), "ok");
}

/// What `everysec` promises after `kill -9`, from the trace: everything acknowledged but what waited behind an fsync of the
/// log that was running. What was acknowledged before the last write to the log is there, but for what that fsync kept
/// waiting and the server died writing; and if no fsync of the log began after that write, nor was due, everything is.
fn everysec_floor(client: &Client, acknowledged: u64, calls: &[Call], main: u32) -> u64 {
    let acknowledged_by = |ns: u64| {
        let first = client.first_after(ns);
        first.map_or(acknowledged, |n| acknowledged.min(n - 1))
    };
    let of_log = |call: &&Call| call.pid == main && call.path.ends_with(".incr.aof");
    let mut writes: Vec<&Call> = calls
        .iter()
        .filter(of_log)
        .filter(|call| call.is_write() && call.tid == main)
        .collect();
    writes.sort_by_key(|call| call.begin);
    let last = writes.last();
    let last_write = last.map_or(0, |call| call.begin);
    let fsyncs: Vec<u64> = calls
        .iter()
        .filter(of_log)
        .filter(|call| call.op == "begin fsync" && call.tid != main)
        .map(|call| call.begin)
        .collect();
    let last_fsync = fsyncs.iter().copied().max().unwrap_or(0);
    // On a busy machine the thread may have been given one that it hadn't begun when the server died: one was due by the
    // clock, or because the log was to go on in a file that had been made.
    let end = calls.iter().map(|call| call.end).max().unwrap_or(0);
    let made = calls
        .iter()
        .filter(of_log)
        .filter(|call| call.op.starts_with("open"))
        .max_by_key(|call| call.begin);
    let switching = made.is_some_and(|made| last.is_none_or(|last| last.path != made.path));
    let due = switching || end - last_fsync >= 1_000_000_000;
    if last_fsync >= last_write {
        return acknowledged_by(last_write);
    }
    // What waited is written group by group, before the next replies: the server may have died in the middle, also of a
    // write, which leaves no line.
    let replied = calls
        .iter()
        .filter(|call| call.pid == main && call.tid == main && call.is_socket() && call.is_write())
        .map(|call| call.begin)
        .max()
        .unwrap_or(0);
    if replied < last_write {
        let in_this_pass = |call: &&&Call| call.begin > replied;
        let first = writes.iter().find(in_this_pass).map_or(0, |c| c.begin);
        let before = writes.iter().rfind(|call| !in_this_pass(call));
        let before = before.map_or(0, |call| call.begin);
        if fsyncs.iter().any(|at| (before..first).contains(at)) {
            return acknowledged_by(before);
        }
    }
    if due {
        return acknowledged_by(last_write);
    }
    acknowledged
}

/// `slow`: every fsync takes 1.5 s longer.
fn torture(policy: &str, toggles: bool, slow: bool) {
    let mut choices = Choices::new(policy.len() as u64 + 100 * u64::from(toggles));
    let dir = tempfile::Builder::new()
        .prefix("torture-")
        .tempdir()
        .unwrap();
    let (trace, control) = (dir.path().join("trace"), dir.path().join("control"));
    let everysec = policy == "everysec";
    let mut preload = Preload::new().control(&control);
    if everysec {
        preload = preload.trace(&trace).trace_data(0);
    }
    if policy == "always" {
        // Else there is hardly any traffic between the operator's commands.
        preload = preload.slow_path(".incr.aof");
    }
    let rdb = choices.below(2) == 0;
    let mut server = Server::builder()
        .with_module()
        .dir(dir.path())
        .config("persist.appendfsync", policy)
        .config(
            "persist.aof-use-rdb-preamble",
            if rdb { "yes" } else { "no" },
        )
        // Transactions and scripts would be refused, but clients count on each of theirs.
        .config("persist.max-at-risk-ms", "0")
        .preload(preload.clone())
        .start()
        .unwrap();
    let mut clients = some_clients();
    for round in 0..rounds(if slow { 1 } else { 2 }) {
        let mut life = Duration::from_millis(100 + choices.below(700));
        if slow {
            let faults = Faults {
                slow_fsync_ms: 1500,
                ..Faults::default()
            };
            faults.apply(&control).unwrap();
            life += Duration::from_millis(5000 + choices.below(2000));
        }
        let main = server.pid();
        let mut floors =
            live_and_die(&mut server, &mut clients, toggles, life, &mut choices).unwrap();
        if everysec {
            let calls = read_trace(&trace).unwrap();
            for (client, floor) in clients.iter().zip(&mut floors) {
                *floor = everysec_floor(client, *floor, &calls, main);
            }
            std::fs::remove_file(&trace).unwrap();
        }
        Faults::default().apply(&control).unwrap();
        server
            .restart()
            .unwrap_or_else(|e| panic!("{policy}, round {round}: {e}"));
        let (mut there, mut lost) = (0, 0);
        for (client, floor) in clients.iter_mut().zip(floors) {
            let acknowledged = client.progress().acknowledged();
            let reached = client
                .check(&mut server.raw().unwrap(), floor)
                .unwrap_or_else(|e| {
                    panic!("{policy}, round {round}: {e}\n{}", server.log_tail(40))
                });
            there += reached;
            lost += acknowledged.saturating_sub(reached);
        }
        println!(
            "{policy}, round {round}: {there} operations, {lost} acknowledged ones lost that may be"
        );
        assert!(lost == 0 || everysec || toggles);
        assert_tidy(&server);
        // What was recovered once is recovered again.
        if choices.below(3) == 0 {
            server
                .restart()
                .unwrap_or_else(|e| panic!("{policy}, round {round}, again: {e}"));
            for client in &mut clients {
                client
                    .check(&mut server.raw().unwrap(), 0)
                    .unwrap_or_else(|e| panic!("{policy}, round {round}, again: {e}"));
            }
        }
    }
}

#[test]
fn always_keeps_what_it_acknowledged() {
    torture("always", false, false);
}

#[test]
fn everysec_keeps_what_it_acknowledged() {
    torture("everysec", false, false);
}

#[test]
fn no_keeps_what_it_acknowledged() {
    torture("no", false, false);
}

#[test]
fn the_log_goes_off_and_on_under_always() {
    torture("always", true, false);
}

#[test]
fn the_log_goes_off_and_on_under_everysec() {
    torture("everysec", true, false);
}

#[test]
fn always_keeps_it_on_a_slow_disk() {
    torture("always", false, true);
}

#[test]
fn everysec_keeps_it_on_a_slow_disk() {
    torture("everysec", false, true);
}

#[test]
fn no_keeps_it_on_a_slow_disk() {
    torture("no", false, true);
}
