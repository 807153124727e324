//! What serves a client is on disk before it hears of it.

use std::path::Path;
use std::time::{Duration, Instant};

use persist_tools::preload::{Faults, Preload};
use persist_tools::raw::{RawClient, Resp, encode_command};
use persist_tools::server::{Server, wait_until};

use crate::{LIMIT, bulk};

/// Ways to fill a key, each one write of a client to the server.
const PUSHES: &[&[&str]] = &[
    &["PERSIST.RPUSH q 1"],
    &["MULTI", "PERSIST.RPUSH q 1", "EXEC"],
    &["EVAL return{redis.call('PERSIST.RPUSH','q','1')} 0"],
    &["PERSIST.RPUSH from 1", "PERSIST.RENAME from q"],
];

fn send_all(client: &mut RawClient, commands: &[&str]) {
    let mut out = vec![];
    for command in commands {
        encode_command(&mut out, &command.split(' ').collect::<Vec<_>>());
    }
    client.send_bytes(&out).unwrap();
}

/// Under `always`, what a client is served with is as durable as if it had popped it itself: its reply comes after the
/// fsync, and is an error or none at all if that fails.
#[test]
fn a_served_client_hears_after_the_fsync() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("faults");
    let server = Server::builder()
        .with_module()
        .config("persist.appendfsync", "always")
        .config("persist.dir", &dir.path().to_string_lossy())
        .preload(Preload::new().control(&control).fail_path("persist-aof"))
        .start()
        .unwrap();
    let slow = Duration::from_millis(150);
    for commands in PUSHES {
        Faults::default().apply(&control).unwrap();
        let (mut waiter, mut pusher) = (server.raw().unwrap(), server.raw().unwrap());
        waiter.send(&["PERSIST.BLPOP", "q", "0"]).unwrap();
        wait_until("it waits", LIMIT, || {
            Ok(server.info("blocked_clients")? == "1")
        })
        .unwrap();
        Faults {
            slow_fsync_ms: slow.as_millis() as u64,
            ..Faults::default()
        }
        .apply(&control)
        .unwrap();
        let begun = Instant::now();
        send_all(&mut pusher, commands);
        assert_eq!(
            waiter.read().unwrap(),
            Resp::Array(vec![bulk("q"), bulk("1")])
        );
        assert!(
            begun.elapsed() >= slow,
            "{commands:?}: {:?}",
            begun.elapsed()
        );
    }
    for commands in PUSHES {
        // What the last fault left to be healed may meet the next one first; then the push is refused.
        let told = (0..10).any(|_| is_told(&server, &control, commands));
        assert!(told, "{commands:?}");
    }
}

/// Fills a key while fsync fails; whether the client that is served with it hears of that, or is cut off. If not, it got
/// nothing.
fn is_told(server: &Server, control: &Path, commands: &[&str]) -> bool {
    Faults::default().apply(control).unwrap();
    wait_until("writes are taken again", LIMIT, || {
        Ok(server.words("PERSIST.SET other 1")? == Resp::Simple(b"OK".to_vec()))
    })
    .unwrap();
    // What an earlier one pushed and nobody took.
    server.words("PERSIST.DEL q").unwrap();
    let (mut waiter, mut pusher) = (server.raw().unwrap(), server.raw().unwrap());
    waiter.send(&["PERSIST.BLPOP", "q", "0"]).unwrap();
    wait_until("it waits", LIMIT, || {
        Ok(server.info("blocked_clients")? == "1")
    })
    .unwrap();
    let faults = Faults {
        fail_fsync: true,
        ..Faults::default()
    };
    faults.apply(control).unwrap();
    send_all(&mut pusher, commands);
    match waiter.try_read(Duration::from_secs(2)) {
        Err(error) => {
            assert!(error.to_string().contains("closed"), "{error}");
            true
        }
        // It was served, and told that this isn't on disk; or the log broke between the push and the pop.
        Ok(Some(reply)) => {
            let reply = reply.to_string();
            assert!(
                reply.contains("MISCONF"),
                "{commands:?}: served with {reply}"
            );
            reply.contains("not on disk")
        }
        Ok(None) => {
            let told = pusher.try_read(LIMIT).unwrap();
            let last = std::iter::from_fn(|| pusher.try_read(Duration::from_millis(50)).unwrap());
            let told: Vec<Resp> = told.into_iter().chain(last).collect();
            let told: String = told.iter().map(Resp::to_string).collect();
            assert!(told.contains("MISCONF"), "{commands:?}: {told}");
            // Where each write of a pipeline is held, the first was told, and what would have served is refused.
            told.contains("not on disk")
        }
    }
}
