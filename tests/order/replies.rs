//! Replies come after what they tell is written, and under `always` synced.

use super::*;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use persist_tools::order::replies;
use persist_tools::preload::{Call, Preload, read_trace};
use persist_tools::raw::{RawClient, encode_command};

/// How long the end of an fsync may go unheard by a busy event loop, in ns.
const HEARD_AFTER_NS: u64 = 20_000_000;

/// Writes of several clients, each with a text of its own: the k-th reply of a client left after the k-th write reached the
/// log's file and, under `always`, after an fsync of it.
fn replies_come_after(policy: &str) {
    replies_come_after_once(policy, |_| true);
}

/// The same, after this was done; nothing if it can't be.
fn replies_come_after_once(policy: &str, prepare: impl FnOnce(&Server) -> bool) {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let server = builder(dir.path(), &[ON, ("persist.appendfsync", policy)])
        .preload(
            Preload::new()
                .trace(&trace)
                .trace_data(16384)
                .slow_fsync_ms(if policy == "always" { 0 } else { 50 }),
        )
        .start()
        .unwrap();
    if !prepare(&server) {
        return;
    }
    let script = "redis.call('PERSIST.SET', KEYS[1], ARGV[1]) return redis.call('PERSIST.RPUSH', KEYS[1]..'l', ARGV[1])";
    let clients = 4;
    let rewritten = &AtomicBool::new(false);
    let port = server.port();
    // The texts that each reply of each client vouches for.
    let expected: Vec<Vec<Option<String>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|c| {
                scope.spawn(move || {
                    let mut client = RawClient::connect(port).unwrap();
                    let mut expected = vec![None];
                    client.words(&format!("ECHO client-{c}-")).unwrap();
                    for i in 0.. {
                        if i >= 100 && rewritten.load(Ordering::SeqCst) {
                            break;
                        }
                        let text = format!("text-{c}-{i}-");
                        let key = format!("key{c}");
                        let mut commands: Vec<Vec<&str>> = Vec::new();
                        match i % 4 {
                            0 => {
                                commands.push(vec!["PERSIST.SET", &key, &text]);
                                expected.push(Some(text.clone()));
                            }
                            1 => {
                                commands.push(vec!["MULTI"]);
                                commands.push(vec!["PERSIST.SET", &key, &text]);
                                commands.push(vec!["EXEC"]);
                                expected.extend([None, None, Some(text.clone())]);
                            }
                            2 => {
                                commands.push(vec!["EVAL", script, "1", &key, &text]);
                                expected.push(Some(text.clone()));
                            }
                            _ => {
                                for _ in 0..20 {
                                    commands.push(vec!["PERSIST.SET", &key, &text]);
                                    expected.push(Some(text.clone()));
                                }
                            }
                        }
                        let mut out = Vec::new();
                        commands
                            .iter()
                            .for_each(|argv| encode_command(&mut out, argv));
                        client.send_bytes(&out).unwrap();
                        for _ in &commands {
                            assert!(!client.read().unwrap().is_error());
                        }
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    expected
                })
            })
            .collect();
        // While files change, too.
        assert!(!server.words("PERSIST.REWRITE").unwrap().is_error());
        told(&server, "aof_rewrites:1\r\n");
        rewritten.store(true, Ordering::SeqCst);
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    told(&server, "aof_buffer_length:0\r\n");
    server.words("PING").unwrap();
    let calls = read_trace(&trace).unwrap();
    let is_incr = |call: &&Call| call.path.ends_with(".incr.aof");
    let writes: Vec<_> = calls
        .iter()
        .filter(|c| c.is_write())
        .filter(is_incr)
        .collect();
    let syncs: Vec<_> = calls
        .iter()
        .filter(|c| c.is_sync())
        .filter(is_incr)
        .collect();
    // The first write with each text.
    let mut texts: HashMap<String, &Call> = HashMap::new();
    for write in &writes {
        for rest in write.data.split("text-").skip(1) {
            let mut numbers = rest.split('-');
            let (c, i) = (numbers.next(), numbers.next());
            let text = format!("text-{}-{}-", c.unwrap_or(""), i.unwrap_or(""));
            texts.entry(text).or_insert(write);
        }
    }
    let main = server.pid();
    let (mut vouched, mut excused) = (0, 0);
    for (c, expected) in expected.iter().enumerate() {
        let replies = replies(&calls, &format!("client-{c}-"));
        assert_eq!(replies.len(), expected.len());
        for ((_, reply), text) in replies.iter().zip(expected) {
            let Some(text) = text else { continue };
            let write = texts
                .get(text)
                .unwrap_or_else(|| panic!("{text} isn't in the log"));
            vouched += 1;
            match policy {
                "always" => assert!(
                    syncs.iter().any(|s| write.before(s) && s.before(reply)),
                    "the reply to {text} left before an fsync"
                ),
                // What waits behind a running fsync may be acknowledged.
                "everysec" if !write.before(reply) => {
                    // Or behind the commit of the manifest, when the log goes on in the next file.
                    let behind = calls.iter().any(|s| {
                        s.is_sync()
                            && s.pid == main
                            && s.tid != main
                            && s.end <= write.begin
                            // The event loop hears of its end a pass later.
                            && s.end + HEARD_AFTER_NS >= reply.begin
                    });
                    assert!(behind, "the reply to {text} left before its write");
                    excused += 1;
                }
                _ => assert!(
                    write.before(reply),
                    "the reply to {text} left before its write"
                ),
            }
        }
    }
    println!("{policy}: {vouched} replies, {excused} of them during an fsync");
    assert!(vouched > 2000 && excused < vouched);
}

#[test]
fn under_always_replies_come_after_their_fsync_once_io_threads_were_turned_on() {
    replies_come_after_once("always", |server| {
        let reply = server.words("CONFIG SET io-threads 4").unwrap();
        // Valkey 9 can; elsewhere it must be known from the start.
        if reply.is_error() {
            assert!(reply.to_string().contains("immutable"), "{reply}");
            return false;
        }
        true
    });
}

#[test]
fn under_always_replies_come_after_write_and_fsync() {
    replies_come_after("always");
}

#[test]
fn under_everysec_replies_come_after_the_write() {
    replies_come_after("everysec");
}

#[test]
fn under_no_replies_come_after_the_write() {
    replies_come_after("no");
}

#[test]
fn everysec_syncs_each_second_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let server = builder(dir.path(), &[ON, ("persist.appendfsync", "everysec")])
        .preload(Preload::new().trace(&trace))
        .start()
        .unwrap();
    let main = server.pid();
    for _ in 0..3 {
        push(&server);
        wait_until("the fsync", Duration::from_secs(20), || {
            let calls = read_trace(&trace)?;
            let of_log = |call: &&Call| call.path.ends_with(".incr.aof");
            let write = calls.iter().filter(of_log).rfind(|call| call.is_write());
            let sync = calls
                .iter()
                .filter(of_log)
                .rfind(|call| call.is_sync() && call.tid != main);
            Ok(matches!((write, sync), (Some(write), Some(sync)) if write.before(sync)))
        })
        .unwrap();
        told(&server, "at_risk_bytes:0\r\n");
    }
}
