//! Each scenario as it is, and without one of its fsyncs after the other.

use super::scenarios::{SCENARIOS, Scenario, Which};
use super::*;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use persist_tools::preload::{Call, Preload, read_trace};

/// One fsync to leave out: kind, glob of its path, the how-manieth of this kind on such a path.
type Swallow = (String, String, u64);

/// Everything that can be told of one playing.
struct Played {
    calls: Vec<Call>,
    data: PathBuf,
    problems: Vec<String>,
}

fn play(scenario: &Scenario, swallow: Option<&Swallow>) -> Played {
    let dir = tempfile::Builder::new().prefix("order-").tempdir().unwrap();
    (scenario.before)(dir.path());
    let trace = dir.path().join("trace");
    let mut preload = Preload::new()
        .trace(&trace)
        .trace_data(16384)
        .slow_path("-1.base")
        .slow_fsync_ms(HELD_MS)
        .slow_until(&dir.path().join("go"));
    if !scenario.name.starts_with("PERSIST.REWRITE") {
        std::fs::write(dir.path().join("go"), "").unwrap();
    }
    if let Some((kind, glob, nth)) = swallow {
        preload = preload.swallow(kind, glob, *nth);
    }
    let data = dir.path().join("data");
    let order = (scenario.order)().existing(&data);
    let mut server = builder(dir.path(), scenario.config)
        .preload(preload)
        .start()
        .unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
    (scenario.act)(&mut server);
    // A reply's line is written after the reply: one more command makes sure that it is there.
    if !scenario.ends {
        server.words("PING").unwrap();
    }
    let calls = read_trace(&trace).unwrap();
    let problems = if scenario.ends {
        order.at_end(&calls, &data)
    } else {
        order.check(&calls, &data)
    };
    Played {
        calls,
        data,
        problems,
    }
}

/// The fsyncs of a playing, in their order.
fn fsyncs(scenario: &Scenario, played: &Played) -> Vec<Swallow> {
    let data = played.data.to_string_lossy().into_owned();
    let mut calls: Vec<_> = played.calls.iter().filter(|call| call.is_sync()).collect();
    calls.sort_by_key(|call| call.begin);
    let answers = |call: &&Call| call.is_socket() && call.data.starts_with("+PONG");
    let up = played
        .calls
        .iter()
        .find(answers)
        .map_or(0, |call| call.begin);
    let long = std::env::var_os("ROUNDS").is_some();
    let which = match scenario.leave_out {
        Which::None if long => Which::AfterStart,
        which => which,
    };
    let (mut found, mut wanted) = (Vec::<Swallow>::new(), Vec::new());
    for call in calls {
        let Some(rest) = call.path.strip_prefix(&data) else {
            continue;
        };
        let is_dir = ["", "/persist-aof", "/quarantine"].contains(&rest);
        let kind = if is_dir { "dirsync" } else { "fsync" };
        // Process ids and times differ from one playing to the next.
        let mut glob = String::from("*/data");
        for part in rest.split_inclusive(['-', '.']) {
            let digits = part.trim_end_matches(['-', '.']);
            let number = digits.len() > 1 && digits.bytes().all(|b| b.is_ascii_digit());
            glob += &if number {
                part.replace(digits, "*")
            } else {
                part.to_owned()
            };
        }
        let same = |(k, g, _): &&Swallow| (k.as_str(), g) == (kind, &glob);
        let nth = 1 + found.iter().filter(same).count() as u64;
        found.push((kind.to_owned(), glob, nth));
        if which == Which::All || (which == Which::AfterStart && call.begin > up) {
            wanted.extend(found.last().cloned());
        }
    }
    wanted
}

/// How long at most a rewrite's child waits for what must come before its end, in ms.
const HELD_MS: u64 = 20_000;

// Why leaving out one fsync alone is no loss.
const TWIN: &str = "it is synced twice before it counts; leaving out both is a loss";
const LATER: &str = "before anything relies on it, the next commit syncs the same folder";
const FOUND: &str = "what a start found needs it only where something is removed: after a crash as a base was committed";
const EMPTY: &str = "under `always` nothing is unsynced when the file is left";

/// Fsyncs that may be left out alone, and why: scenario (the start of its name), kind, end of the glob, which.
pub const SPARE: &[(&str, &str, &str, u64, &str)] = &[
    ("", "fsync", "-1.rdb", 1, TWIN),
    ("", "fsync", "-1.rdb", 2, TWIN),
    ("SHUTDOWN", "fsync", "-2.rdb", 1, TWIN),
    ("SHUTDOWN", "fsync", "-2.rdb", 2, TWIN),
    ("", "fsync", "-1.base", 1, TWIN),
    ("", "fsync", "-1.base", 2, TWIN),
    ("turning", "fsync", "-2.base", 1, TWIN),
    ("turning", "fsync", "-2.base", 2, TWIN),
    ("a start with a torn", "fsync", ".1.incr.aof", 1, TWIN),
    ("a start with a torn", "fsync", ".1.incr.aof", 2, TWIN),
    ("a start after a crash as", "fsync", ".1.incr.aof", 1, TWIN),
    ("a start after a crash as", "fsync", ".1.incr.aof", 2, TWIN),
    ("PERSIST.REWRITE", "dirsync", "/persist-aof", 5, LATER),
    ("PERSIST.REWRITE", "fsync", ".2.incr.aof", 3, EMPTY),
    ("a first start", "dirsync", "*/data", 1, FOUND),
    ("a first start", "dirsync", "/persist-aof", 2, LATER),
    ("a start", "dirsync", "*/data", 1, FOUND),
    ("a start", "dirsync", "/persist-aof", 1, FOUND),
    ("a start with a snap", "dirsync", "*/data", 2, LATER),
    ("a start with a snap", "dirsync", "*/data", 3, LATER),
    ("a start with a snap", "dirsync", "/persist-aof", 2, LATER),
    ("a start with a stray", "dirsync", "/persist-aof", 2, LATER),
    ("turning the log on at", "dirsync", "*/data", 1, FOUND),
    ("turning the log on at", "dirsync", "/persist-aof", 1, LATER),
    (
        "turning the log on live",
        "dirsync",
        "/persist-aof",
        2,
        LATER,
    ),
    (
        "turning the log on live",
        "dirsync",
        "/persist-aof",
        4,
        LATER,
    ),
];

fn spare(scenario: &str, (kind, glob, nth): &Swallow) -> Option<&'static str> {
    SPARE
        .iter()
        .find(|(start, k, end, n, _)| {
            scenario.starts_with(start) && kind == k && glob.ends_with(end) && nth == n
        })
        .map(|(.., why)| *why)
}

#[test]
fn everything_is_durable_before_it_counts() {
    for scenario in SCENARIOS {
        let played = play(scenario, None);
        let problems = played.problems;
        assert!(problems.is_empty(), "{}: {problems:#?}", scenario.name);
    }
}

#[test]
fn no_fsync_can_be_left_out() {
    let jobs: Vec<(usize, Swallow)> = SCENARIOS
        .iter()
        .enumerate()
        .flat_map(|(i, scenario)| {
            let mut all = fsyncs(scenario, &play(scenario, None));
            // Both of those that are there twice.
            let mut both: Vec<_> = all
                .iter()
                .filter(|swallow| spare(scenario.name, swallow) == Some(TWIN))
                .map(|(kind, glob, _)| (kind.clone(), glob.clone(), 0))
                .collect();
            both.dedup();
            all.extend(both);
            all.into_iter().map(move |swallow| (i, swallow))
        })
        .collect();
    let next = AtomicUsize::new(0);
    let unseen = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((i, swallow)) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let scenario = &SCENARIOS[*i];
                    let problems = play(scenario, Some(swallow)).problems;
                    let (kind, glob, nth) = swallow;
                    println!("{} | {kind} {glob} {nth} | {problems:?}", scenario.name);
                    if problems.is_empty() {
                        unseen
                            .lock()
                            .unwrap()
                            .push((scenario.name, swallow.clone()));
                    }
                }
            });
        }
    });
    let unseen = unseen.into_inner().unwrap();
    let wrong: Vec<_> = unseen
        .iter()
        .filter(|(name, swallow)| spare(name, swallow).is_none())
        .collect();
    println!("{} left out, {} without a word", jobs.len(), unseen.len());
    assert!(
        wrong.is_empty(),
        "left out unnoticed:\n{}",
        wrong.iter().map(|w| format!("{w:?}\n")).collect::<String>()
    );
}
