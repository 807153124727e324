//! PERSIST.SYNC: it answers 1 only once an fsync that covers what came before has ended, and holds up nobody else.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::time::{Duration, Instant};

use persist_tools::order::replies;
use persist_tools::preload::{Call, Faults, Preload, read_trace};
use persist_tools::raw::Resp;
use persist_tools::server::{Builder, Server, wait_until};

const LIMIT: Duration = Duration::from_secs(20);

fn module(policy: &str) -> Builder {
    Server::builder()
        .with_module()
        .config("persist.appendfsync", policy)
}

fn text(reply: &Resp) -> String {
    reply.text().unwrap_or_default()
}

/// Whether an fsync of the log began after the write of `value` and ended before the `1` of SYNC left.
fn fsync_between(calls: &[Call], value: &str) -> bool {
    let log = |call: &&Call| call.path.ends_with(".incr.aof");
    let write = calls
        .iter()
        .filter(log)
        .find(|c| c.is_write() && c.data.contains(value));
    let write = write.expect("the write in the log");
    let replies = replies(calls, "this-client-");
    let reply = replies.iter().find(|(reply, _)| *reply == Resp::Int(1));
    let (_, reply) = reply.expect("the reply");
    calls
        .iter()
        .filter(log)
        .any(|c| c.is_sync() && write.before(c) && c.before(reply))
}

#[test]
fn it_answers_after_an_fsync_of_what_came_before() {
    for policy in ["everysec", "always", "no"] {
        let dir = tempfile::tempdir().unwrap();
        let trace = dir.path().join("trace");
        let server = module(policy)
            .preload(Preload::new().trace(&trace).trace_data(1 << 16))
            .start()
            .unwrap();
        let mut client = server.raw().unwrap();
        client.words("ECHO this-client-").unwrap();
        // Just after the fsync of a second, so that the next is far away.
        client.words("PERSIST.SET warm up").unwrap();
        wait_until("the fsync", LIMIT, || {
            Ok(policy == "no" || server.persist_info("at_risk_bytes")? == "0")
        })
        .unwrap();
        assert_eq!(
            text(&client.words("PERSIST.SET k needle-in-the-log").unwrap()),
            "OK"
        );
        assert_eq!(
            client.words("PERSIST.SYNC").unwrap(),
            Resp::Int(1),
            "{policy}"
        );
        // The line of a call is written after it.
        client.words("PING").unwrap();
        let seq = server.persist_info("seq").unwrap();
        assert_eq!(server.persist_info("durable_seq").unwrap(), seq, "{policy}");
        let calls = read_trace(&trace).unwrap();
        assert!(fsync_between(&calls, "needle-in-the-log"), "{policy}");
        // There is nothing to wait for now.
        assert_eq!(
            client.words("PERSIST.SYNC 1").unwrap(),
            Resp::Int(1),
            "{policy}"
        );
    }
}

fn slow(server: &Path, ms: u64) {
    let faults = Faults {
        slow_fsync_ms: ms,
        ..Faults::default()
    };
    faults.apply(server).unwrap();
}

#[test]
fn who_waits_holds_up_nobody_and_hears_when_the_time_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("control");
    let server = module("everysec")
        .preload(Preload::new().control(&control))
        .start()
        .unwrap();
    let (mut client, mut other) = (server.raw().unwrap(), server.raw().unwrap());
    slow(&control, 1500);
    client.words("PERSIST.SET a 1").unwrap();
    let begun = Instant::now();
    assert_eq!(client.words("PERSIST.SYNC 100").unwrap(), Resp::Int(0));
    assert!(
        begun.elapsed() < Duration::from_millis(1200),
        "{:?}",
        begun.elapsed()
    );
    // Two who wait are told by one fsync each covers; others go on.
    client.send(&["PERSIST.SYNC"]).unwrap();
    let asked = Instant::now();
    for n in 0..50 {
        other.words(&format!("PERSIST.SET b {n}")).unwrap();
        other.words("PERSIST.GET b").unwrap();
    }
    assert!(
        asked.elapsed() < Duration::from_millis(1000),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(client.read().unwrap(), Resp::Int(1));
    // CLIENT UNBLOCK ends the wait, with and without an error; a client that goes away leaves nothing behind.
    slow(&control, 1500);
    for (how, expected) in [("TIMEOUT", ":0"), ("ERROR", "-UNBLOCKED")] {
        let mut waiting = server.raw().unwrap();
        let id = text(&waiting.words("CLIENT ID").unwrap());
        waiting.words("PERSIST.SET c 1").unwrap();
        waiting.send(&["PERSIST.SYNC"]).unwrap();
        wait_until("it waits", LIMIT, || {
            Ok(server.info("blocked_clients")? == "1")
        })
        .unwrap();
        let freed = other.words(&format!("CLIENT UNBLOCK {id} {how}")).unwrap();
        assert_eq!(freed, Resp::Int(1), "{how}");
        let (_, raw) = waiting.read_both().unwrap();
        assert!(
            raw.starts_with(expected.as_bytes()),
            "{how}: {}",
            raw.escape_ascii()
        );
    }
    let mut gone = server.raw().unwrap();
    gone.words("PERSIST.SET d 1").unwrap();
    gone.send(&["PERSIST.SYNC"]).unwrap();
    wait_until("it waits", LIMIT, || {
        Ok(server.info("blocked_clients")? == "1")
    })
    .unwrap();
    drop(gone);
    wait_until("nobody waits", LIMIT, || {
        Ok(server.info("blocked_clients")? == "0")
    })
    .unwrap();
    slow(&control, 0);
    assert_eq!(client.words("PERSIST.SYNC").unwrap(), Resp::Int(1));
}

#[test]
fn a_failed_fsync_is_never_told_as_success() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("control");
    let server = module("everysec")
        .preload(Preload::new().control(&control).fail_path("persist-aof"))
        .start()
        .unwrap();
    let mut client = server.raw().unwrap();
    let broken = Faults {
        fail_fsync: true,
        ..Faults::default()
    };
    broken.apply(&control).unwrap();
    client.words("PERSIST.SET a 1").unwrap();
    assert_eq!(client.words("PERSIST.SYNC 1500").unwrap(), Resp::Int(0));
    Faults::default().apply(&control).unwrap();
    // Healed into a new file, it is durable after all.
    assert_eq!(client.words("PERSIST.SYNC").unwrap(), Resp::Int(1));
    assert_eq!(text(&client.words("PERSIST.SET b 1").unwrap()), "OK");
}

#[test]
fn who_waits_is_told_when_the_log_is_turned_off() {
    for fails in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("control");
        let server = module("everysec")
            .preload(Preload::new().control(&control).fail_path(".incr."))
            .start()
            .unwrap();
        let (mut client, mut other) = (server.raw().unwrap(), server.raw().unwrap());
        let faults = Faults {
            slow_fsync_ms: 300,
            fail_fsync: fails,
            ..Faults::default()
        };
        faults.apply(&control).unwrap();
        client.words("PERSIST.SET a 1").unwrap();
        client.send(&["PERSIST.SYNC"]).unwrap();
        wait_until("it waits", LIMIT, || {
            Ok(server.info("blocked_clients")? == "1")
        })
        .unwrap();
        other.words("CONFIG SET persist.appendonly no").unwrap();
        let told = client.read().unwrap();
        if fails {
            let told = text(&told);
            assert!(told.starts_with("ERR the log is off"), "{told}");
        } else {
            assert_eq!(told, Resp::Int(1));
        }
    }
}

#[test]
fn where_it_cannot_be_it_says_so() {
    let server = module("everysec").start().unwrap();
    let mut client = server.raw().unwrap();
    for (line, error) in [
        ("PERSIST.SYNC -1", "ERR timeout is negative"),
        (
            "PERSIST.SYNC abc",
            "ERR timeout is not an integer or out of range",
        ),
        ("PERSIST.SYNC 1 2", "ERR syntax error"),
    ] {
        assert_eq!(text(&client.words(line).unwrap()), error, "{line}");
    }
    client.words("MULTI").unwrap();
    client.words("PERSIST.SET k 1").unwrap();
    client.words("PERSIST.SYNC").unwrap();
    let done = client.words("EXEC").unwrap().into_items();
    assert_eq!(
        text(&done[1]),
        "ERR PERSIST.SYNC isn't allowed in a transaction or script"
    );
    client.words("CONFIG SET persist.appendonly no").unwrap();
    let off = text(&client.words("PERSIST.SYNC").unwrap());
    assert!(off.starts_with("ERR the log is off"), "{off}");
}
