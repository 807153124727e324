//! Clients with more to take than their socket holds.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use persist_tools::raw::encode_command;
use persist_tools::server::wait_until;

use crate::has_io_threads;
use crate::stage::{LIMIT, Stage, is_durable_before, sleep};

/// A client with more to take than its socket holds is sent the rest whenever it can take it, also between a command of it
/// and the end of the pass.
fn reply_waits(lines: &[&[&str]], end: &[u8]) {
    let stage = Stage::new("always", |b| b);
    stage
        .client()
        .command(&["SET", "chunk", &"x".repeat(16_000)])
        .unwrap();
    let mut raw = std::net::TcpStream::connect(("127.0.0.1", stage.server.port())).unwrap();
    raw.set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    raw.write_all(b"*2\r\n$4\r\nECHO\r\n$12\r\nthis-client-\r\n")
        .unwrap();
    let mut taken = 0;
    let mut buf = vec![0; 1 << 20];
    taken += raw.read(&mut buf).unwrap();
    let me = raw.local_addr().unwrap().to_string();
    let mut other = stage.client();
    for round in 0..4 {
        // It pipelines, so that it isn't held.
        let mut out = Vec::new();
        for _ in 0..30 {
            encode_command(&mut out, &["PERSIST.SET", "warm", "up"]);
        }
        raw.write_all(&out).unwrap();
        let mut replies = 0;
        let begun = Instant::now();
        while replies < 30 * 5 {
            assert!(begun.elapsed() < LIMIT, "{replies} bytes");
            replies += raw.read(&mut buf).unwrap_or(0);
        }
        taken += replies;
        // As much as its socket takes, and one chunk more; more chunks where each takes long.
        let mut out = Vec::new();
        for _ in 0..if has_io_threads() { 8 } else { 1 } {
            encode_command(&mut out, &["GET", "chunk"]);
        }
        wait_until("the socket is full", LIMIT, || {
            raw.write_all(&out).unwrap();
            let list = other.words("CLIENT LIST")?.text().unwrap_or_default();
            let mine = list
                .lines()
                .find(|line| line.contains(&me))
                .unwrap_or_default();
            // Redis 8 doesn't say it of those whom I/O threads serve, only that more waits than a reply that has just
            // been made.
            let waits = mine.split(' ').find_map(|word| word.strip_prefix("oll="));
            let waits = waits
                .and_then(|n| n.parse::<u32>().ok())
                .unwrap_or_default();
            Ok(mine.contains("events=rw") || waits > 3)
        })
        .unwrap();
        let mut sleeper = sleep(&stage);
        let value = format!("value-{round}-");
        let mut out = Vec::new();
        for line in lines {
            let words: Vec<String> = line.iter().map(|w| w.replace("VALUE", &value)).collect();
            encode_command(&mut out, &words);
        }
        raw.write_all(&out).unwrap();
        // Takes all there is, so that the socket can be written to, while a command waits to be read from it.
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < LIMIT, "no reply");
            // Nothing may come for a while.
            let n = raw.read(&mut buf).unwrap_or(0);
            taken += n;
            if buf[..n].ends_with(end) {
                break;
            }
        }
        sleeper.read().unwrap();
        other.words("PING").unwrap();
        let calls = stage.trace();
        let mut sent = 0;
        let stream = calls
            .iter()
            .find(|c| c.is_socket() && c.is_write() && c.data.contains("this-client-"))
            .expect("the stream");
        let last = calls
            .iter()
            .filter(|c| c.is_socket() && c.is_write() && c.path == stream.path && c.result > 0)
            .find(|c| {
                sent += c.result as usize;
                sent >= taken
            })
            .expect("the reply");
        assert!(is_durable_before(&calls, &value, last), "round {round}");
    }
}

#[test]
fn a_reply_behind_others_that_wait_for_the_client_doesnt_overtake_its_fsync() {
    reply_waits(&[&["PERSIST.SET", "k", "VALUE"]], b"+OK\r\n");
}

/// The last write of a unit counts as its first.
#[test]
fn a_transactions_reply_behind_others_doesnt_either() {
    let lines: [&[&str]; 6] = [
        &["MULTI"],
        &["PERSIST.SET", "k", "before"],
        &["EXEC"],
        &["MULTI"],
        &["PERSIST.SET", "k", "VALUE"],
        &["EXEC"],
    ];
    reply_waits(&lines, b"*1\r\n+OK\r\n");
    let lines: [&[&str]; 4] = [
        &["MULTI"],
        &["PERSIST.SET", "k", "before"],
        &["PERSIST.SET", "k", "VALUE"],
        &["EXEC"],
    ];
    reply_waits(&lines, b"*2\r\n+OK\r\n+OK\r\n");
}

/// Redis 7.0 doesn't say who called a script.
#[test]
fn a_scripts_reply_behind_others_doesnt_either() {
    let script =
        "redis.call('PERSIST.SET', 'k', 'before') return redis.call('PERSIST.SET', 'k', ARGV[1])";
    let eval = ["EVAL", script, "0", "VALUE"];
    reply_waits(&[&eval], b"+OK\r\n");
    reply_waits(&[&["MULTI"], &eval, &["EXEC"]], b"*1\r\n+OK\r\n");
}
