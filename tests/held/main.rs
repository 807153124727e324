//! Under `appendfsync always` the event loop doesn't wait for the disk: replies are held back instead, those of writers and
//! of readers of what isn't durable yet; and where they can't be, an fsync comes first. Under `everysec` writers are held
//! back when the disk is too far behind.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

mod alarm;
mod full;
mod gate;
mod kept_out;
mod mixed;

mod stage;
mod units;

use std::time::{Duration, Instant};

use persist_tools::order::replies;
use persist_tools::preload::{Call, Faults};
use persist_tools::raw::{RawClient, Resp, encode_command};
use persist_tools::server::wait_until;

use stage::{LIMIT, SLOW_MS, Stage, is_durable_before, sleep};

fn ok(reply: Resp) {
    assert_eq!(reply, Resp::Simple(b"OK".to_vec()));
}

/// Nothing has come for this client.
fn waits(client: &mut RawClient) -> bool {
    client
        .try_read(Duration::from_millis(20))
        .unwrap()
        .is_none()
}

#[test]
fn who_writes_waits_and_nobody_else_but_readers_of_it() {
    let stage = Stage::new("always", |b| b);
    stage.until_it_holds();
    let mut other = stage.client();
    ok(other.words("PERSIST.SET old 1").unwrap());
    ok(other.words("PERSIST.SET gone 1").unwrap());
    ok(other.words("SET cache 1").unwrap());

    stage.slow(SLOW_MS);
    let mut writer = stage.client();
    writer.send(&["PERSIST.SET", "new", "1"]).unwrap();
    // Its fsync has begun, and what comes now needs another.
    std::thread::sleep(Duration::from_millis(100));
    let mut deleter = stage.client();
    deleter.send(&["PERSIST.DEL", "gone"]).unwrap();
    // I/O threads may take the later one first.
    wait_until("both are held", LIMIT, || {
        Ok(stage.server.info("blocked_clients")? == "2")
    })
    .unwrap();
    // The cache and other durable keys are served meanwhile.
    assert_eq!(other.words("GET cache").unwrap().text().unwrap(), "1");
    assert_eq!(other.words("PERSIST.GET old").unwrap().text().unwrap(), "1");
    assert_eq!(other.words("PERSIST.EXISTS nothing").unwrap(), Resp::Int(0));
    // Whoever would learn of the writes waits: by a key, by its absence, by all keys, by a write that changes nothing.
    let readers: Vec<(RawClient, Resp)> = [
        ("PERSIST.GET new", Resp::Bulk(b"1".to_vec())),
        ("PERSIST.GET gone", Resp::NullBulk),
        ("PERSIST.DBSIZE", Resp::Int(3)),
        ("PERSIST.SETNX new 2", Resp::Int(0)),
        (
            "PERSIST.MGET old new",
            Resp::Array(vec![Resp::Bulk(b"1".to_vec()), Resp::Bulk(b"1".to_vec())]),
        ),
    ]
    .into_iter()
    .map(|(line, expected)| {
        let mut reader = stage.client();
        reader.send(&line.split(' ').collect::<Vec<_>>()).unwrap();
        (reader, expected)
    })
    .collect();
    let mut pending = readers;
    for (reader, expected) in &mut pending {
        if waits(reader) {
            continue;
        }
        panic!("nobody waited for {expected}");
    }
    assert!(waits(&mut writer) && waits(&mut deleter));
    // CLIENT UNBLOCK doesn't know them.
    let id = other.words("CLIENT LIST").unwrap().text().unwrap();
    let id = id
        .lines()
        .find(|line| line.contains("cmd=persist.set "))
        .and_then(|line| line.split(' ').next()?.strip_prefix("id="))
        .expect("the writer");
    assert_eq!(
        other.words(&format!("CLIENT UNBLOCK {id}")).unwrap(),
        Resp::Int(0)
    );
    ok(writer.read().unwrap());
    assert_eq!(deleter.read().unwrap(), Resp::Int(1));
    for (reader, expected) in &mut pending {
        assert_eq!(reader.read().unwrap(), *expected);
    }
}

#[test]
fn a_client_that_goes_away_while_it_is_held_harms_nobody() {
    let stage = Stage::new("always", |b| b);
    stage.until_it_holds();
    stage.slow(SLOW_MS);
    for _ in 0..5 {
        let mut client = stage.client();
        client.send(&["PERSIST.INCR", "n"]).unwrap();
    }
    let mut last = stage.client();
    last.send(&["PERSIST.INCR", "n"]).unwrap();
    let n = last.read().unwrap();
    assert!(matches!(n, Resp::Int(1..=6)), "{n}");
    wait_until("nobody is held", LIMIT, || {
        Ok(stage.server.info("blocked_clients")? == "0")
    })
    .unwrap();
}

/// Nobody else waits for the disk then, and the way to another thread and back takes time.
#[test]
fn the_only_client_is_served_by_the_event_loop_until_another_comes() {
    let stage = Stage::new("always", |b| b);
    stage.until_it_holds();
    stage.slow(30);
    let mut client = stage.client();
    let mut by_the_loop = || {
        ok(client.words("PERSIST.SET k v").unwrap());
        let calls = stage.trace();
        let sync = calls.iter().rfind(|c| c.is_sync()).unwrap();
        sync.tid == sync.pid
    };
    // Those of before have to be gone, which the server looks for at its next tick.
    wait_until("it is alone", LIMIT, || {
        Ok(by_the_loop() != each_is_synced())
    })
    .unwrap();
    let mut other = stage.client();
    other.words("PING").unwrap();
    for _ in 0..20 {
        assert!(!by_the_loop());
    }
    drop(other);
    wait_until("alone again", LIMIT, || {
        Ok(by_the_loop() != each_is_synced())
    })
    .unwrap();
}

/// Whether replies leave before the end of the pass, so that each write is synced by itself.
fn each_is_synced() -> bool {
    has_io_threads() && std::env::var("HOST_APPENDFSYNC").as_deref() != Ok("always")
}

fn has_io_threads() -> bool {
    std::env::var("IO_THREADS").is_ok_and(|n| n != "1" && !n.is_empty())
}

/// A pipeline takes a few fsyncs, not one for each of its commands.
#[test]
fn a_pipeline_is_served_by_few_fsyncs() {
    let stage = Stage::new("always", |b| b);
    stage.until_it_holds();
    stage.slow(30);
    let mut client = stage.client();
    for round in 0..3 {
        let count = || {
            let calls = stage.trace();
            calls
                .iter()
                .filter(|c| c.is_sync() && c.path.ends_with(".incr.aof"))
                .count()
        };
        let before = count();
        let mut out = Vec::new();
        for i in 0..200 {
            encode_command(&mut out, &["PERSIST.SET", &format!("k{i}"), "v"]);
        }
        client.send_bytes(&out).unwrap();
        for _ in 0..200 {
            ok(client.read().unwrap());
        }
        let fsyncs = count() - before;
        // Where replies leave before the pass ends there is nothing to wait for but each command's own.
        let most = if each_is_synced() { 200 } else { 20 };
        assert!(fsyncs <= most, "round {round}: {fsyncs} fsyncs");
    }
}

/// Once the disk fails, who was held is told, readers too, and nobody gets an `OK`.
#[test]
fn who_is_held_when_the_disk_fails_is_told() {
    let stage = Stage::new("always", |b| b);
    stage.until_it_holds();
    let faults = Faults {
        slow_fsync_ms: SLOW_MS,
        fail_fsync: true,
        ..Faults::default()
    };
    faults.apply(&stage.control()).unwrap();
    let (mut writer, mut reader) = (stage.client(), stage.client());
    writer.send(&["PERSIST.SET", "k", "1"]).unwrap();
    // I/O threads may take the later one first.
    wait_until("the writer is held", LIMIT, || {
        Ok(stage.server.info("blocked_clients")? == "1")
    })
    .unwrap();
    reader.send(&["PERSIST.GET", "k"]).unwrap();
    for client in [&mut writer, &mut reader] {
        let reply = client.read().unwrap().to_string();
        assert!(
            reply.contains("MISCONF") && reply.contains("not on disk"),
            "{reply}"
        );
    }
    let refused = stage.client().words("PERSIST.SET other 1").unwrap();
    assert!(refused.is_error(), "{refused}");
    // Reads go on while the disk fails.
    assert_eq!(
        stage
            .client()
            .words("PERSIST.GET k")
            .unwrap()
            .text()
            .unwrap(),
        "1"
    );
    Faults::default().apply(&stage.control()).unwrap();
    wait_until("writes are taken again", LIMIT, || {
        Ok(!stage.server.words("PERSIST.SET other 1")?.is_error())
    })
    .unwrap();
}

fn send_sets(client: &mut RawClient, value: &str) {
    let mut out = Vec::new();
    for _ in 0..3 {
        encode_command(&mut out, &["PERSIST.SET", "k", value]);
    }
    client.send_bytes(&out).unwrap();
}

/// During a long script the host sends replies to others without asking anybody.
#[test]
fn a_long_script_doesnt_let_replies_overtake_their_fsync() {
    let stage = Stage::new("always", |b| b.config("busy-reply-threshold", "20"));
    let script = "local t = redis.call('TIME') local e = t[1] * 1000 + t[2] / 1000 + 300 \
                  repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 > e return 1";
    let mut seen = 0;
    let mut client = stage.client();
    client.words("ECHO this-client-").unwrap();
    // The module expects long scripts once there was one.
    stage.client().command(&["EVAL", script, "0"]).unwrap();
    let mut expected = vec![None];
    for round in 0..6 {
        let mut scripter = stage.client();
        let value = format!("value-{round}-");
        let mut sleeper = sleep(&stage);
        send_sets(&mut client, &value);
        std::thread::sleep(Duration::from_millis(50));
        scripter.send(&["EVAL", script, "0"]).unwrap();
        for _ in 0..3 {
            let reply = client.read().unwrap();
            // It came while the script ran.
            expected.push((!reply.is_error()).then(|| value.clone()));
            seen += usize::from(!reply.is_error());
        }
        assert_eq!(scripter.read().unwrap(), Resp::Int(1));
        sleeper.read().unwrap();
    }
    stage.client().words("PING").unwrap();
    assert!(seen > 3);
    let calls = stage.trace();
    let replies = replies(&calls, "this-client-");
    assert_eq!(replies.len(), expected.len());
    for ((_, reply), value) in replies.iter().zip(&expected) {
        if let Some(value) = value {
            assert!(is_durable_before(&calls, value, reply), "{value}");
        }
    }
}

/// When that fsync fails, none of those who rely on it is told anything during the script.
#[test]
fn a_long_script_lets_no_reply_out_whose_fsync_failed() {
    let stage = Stage::new("always", |b| b.config("busy-reply-threshold", "20"));
    let script = "local t = redis.call('TIME') local e = t[1] * 1000 + t[2] / 1000 + 300 \
                  repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 > e return 1";
    stage.client().command(&["EVAL", script, "0"]).unwrap();
    for round in 0..4 {
        let mut client = stage.client();
        let mut scripter = stage.client();
        let mut sleeper = sleep(&stage);
        let faults = Faults {
            fail_fsync: true,
            ..Faults::default()
        };
        faults.apply(&stage.control()).unwrap();
        send_sets(&mut client, &format!("value-{round}-"));
        std::thread::sleep(Duration::from_millis(50));
        scripter.send(&["EVAL", script, "0"]).unwrap();
        // Errors, if it was held; else the end of its connection.
        for _ in 0..3 {
            let Ok(reply) = client.read() else { break };
            assert!(reply.is_error(), "{reply} in round {round}");
        }
        sleeper.read().unwrap();
        let _ = scripter.read();
        Faults::default().apply(&stage.control()).unwrap();
        wait_until("writes are taken again", LIMIT, || {
            Ok(!stage.server.words("PERSIST.SET other 1")?.is_error())
        })
        .unwrap();
    }
}

/// The first long script isn't expected: the I/O thread syncs what is answered during it, before the host does so.
#[test]
fn what_is_answered_during_the_first_long_script_is_durable() {
    for _ in 0..10 {
        let stage = Stage::new("always", |b| b.config("busy-reply-threshold", "1500"));
        // It is known to pipeline, so that it isn't held.
        let (mut client, mut scripter) = (stage.client(), stage.client());
        scripter.words("PING").unwrap();
        for _ in 0..5 {
            send_sets(&mut client, "before");
            for _ in 0..3 {
                ok(client.read().unwrap());
            }
        }
        client.words("ECHO this-client-").unwrap();
        // Both come in one pass. (DEBUG SLEEP would count as a long script.)
        stage.server.signal(libc::SIGSTOP).unwrap();
        send_sets(&mut client, "answered");
        std::thread::sleep(Duration::from_millis(50));
        scripter.send(&["EVAL", "while true do end", "0"]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stage.server.signal(libc::SIGCONT).unwrap();
        if each_is_synced() {
            // Held, as everybody is there, until the fsync and the script are over.
            assert!(waits(&mut client) && waits(&mut scripter));
            return;
        }
        let replies_of: Vec<Resp> = (0..3).map(|_| client.read().unwrap()).collect();
        let answered = replies_of.iter().any(|reply| !reply.is_error());
        assert!(waits(&mut scripter));
        if !answered {
            // The script came first.
            continue;
        }
        let calls = stage.trace();
        let (_, reply) = *replies(&calls, "this-client-").last().unwrap();
        assert!(is_durable_before(&calls, "answered", reply));
        let log = |call: &&Call| call.path.ends_with(".incr.aof");
        let mut of_log = calls.iter().filter(log);
        let write = of_log.find(|c| c.is_write() && c.data.contains("answered"));
        let sync = of_log.find(|c| c.is_sync()).unwrap();
        assert!(write.is_some());
        if sync.tid != sync.pid {
            return;
        }
        // At the end of a pass: the script came in the next one.
    }
    panic!("the script always came first");
}

/// No policy lets the end of the process take what was answered during a long script, once one was seen.
#[test]
fn what_is_answered_during_a_long_script_outlives_the_process_under_every_policy() {
    for policy in ["everysec", "no"] {
        let mut stage = Stage::new(policy, |b| b.config("busy-reply-threshold", "20"));
        let mut value = 0;
        let answered = (0..10).any(|_| {
            value += 1;
            let (mut client, mut scripter) = (stage.client(), stage.client());
            // One that is seen, and takes no longer than it has to.
            let script = "local t = redis.call('TIME') local e = t[1] * 1000 + t[2] / 1000 + 100 \
                          repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 > e return 1";
            assert_eq!(
                scripter.command(&["EVAL", script, "0"]).unwrap(),
                Resp::Int(1)
            );
            client.words("PERSIST.SET k before").unwrap();
            // No fsync is under way, behind which it would wait in memory.
            wait_until("no fsync", LIMIT, || {
                Ok(policy == "no" || stage.server.persist_info("at_risk_bytes")? == "0")
            })
            .unwrap();
            stage.server.signal(libc::SIGSTOP).unwrap();
            let argv = ["PERSIST.SET", "k", &value.to_string()];
            client.send(&argv).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            scripter.send(&["EVAL", "while true do end", "0"]).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            stage.server.signal(libc::SIGCONT).unwrap();
            let reply = client.read().unwrap();
            assert!(waits(&mut scripter));
            stage.server.kill9().unwrap();
            stage.server.restart().unwrap();
            // Else the script came first.
            !reply.is_error()
        });
        assert!(answered, "the script always came first");
        let found = stage.client().words("PERSIST.GET k").unwrap();
        assert_eq!(found.text().unwrap(), value.to_string(), "{policy}");
    }
}

/// Who is told that the log is off finds it closed, also where replies leave before the end of the pass.
#[test]
fn the_log_is_closed_before_anybody_is_told_so() {
    let stage = Stage::new("everysec", |b| b);
    let mut client = stage.client();
    client.words("ECHO this-client-").unwrap();
    let mut sent = 1;
    for round in 1..4 {
        for transaction in [false, true] {
            ok(client.words("PERSIST.SET k 1").unwrap());
            sent += 1;
            stage.slow(100);
            let off = "CONFIG SET persist.appendonly no";
            if transaction {
                for line in ["MULTI", "PERSIST.SET k 2", off, "EXEC"] {
                    let reply = client.words(line).unwrap();
                    assert!(!reply.is_error(), "{line}: {reply}");
                }
                sent += 4;
            } else {
                ok(client.words(off).unwrap());
                sent += 1;
            }
            let times = 2 * round - usize::from(!transaction);
            wait_until("the log is closed", LIMIT, || {
                let lines = stage.server.log();
                Ok(lines.matches("The log is off and closed.").count() == times)
            })
            .unwrap();
            stage.client().words("PING").unwrap();
            let calls = stage.trace();
            let replies = replies(&calls, "this-client-");
            assert_eq!(replies.len(), sent);
            let (_, told) = replies.last().unwrap();
            let closed = calls
                .iter()
                .filter(|c| c.path.contains("persist-aof") && !c.is_socket())
                .max_by_key(|c| c.end)
                .unwrap();
            assert!(closed.before(told), "{round}, {transaction}");
            stage.slow(0);
            ok(client.words("CONFIG SET persist.appendonly yes").unwrap());
            sent += 1;
            wait_until("the log is on", LIMIT, || {
                Ok(stage.server.persist_info("aof_turning_on")? == "0"
                    && stage.server.persist_info("aof_enabled")? == "1")
            })
            .unwrap();
        }
    }
}

/// What comes behind `CONFIG SET` in a pipeline goes by the new policy.
#[test]
fn a_policy_counts_from_its_reply_on() {
    let stage = Stage::new("everysec", |b| b);
    let mut client = stage.client();
    client.words("ECHO this-client-").unwrap();
    let set = |policy: &'static str| ["CONFIG", "SET", "persist.appendfsync", policy];
    for round in 0..4 {
        let mut out = Vec::new();
        encode_command(&mut out, &set("always"));
        encode_command(&mut out, &["PERSIST.SET", "k", &format!("value-{round}-")]);
        client.send_bytes(&out).unwrap();
        ok(client.read().unwrap());
        ok(client.read().unwrap());
        ok(client.command(&set("everysec")).unwrap());
    }
    stage.client().words("PING").unwrap();
    let calls = stage.trace();
    let replies = replies(&calls, "this-client-");
    assert_eq!(replies.len(), 1 + 3 * 4);
    for round in 0..4 {
        let (_, reply) = &replies[2 + 3 * round];
        let value = format!("value-{round}-");
        assert!(is_durable_before(&calls, &value, reply), "{value}");
    }
}

/// Under `everysec`, writers are held while the disk is further behind than `max-at-risk-ms`; nobody else is.
#[test]
fn writers_are_held_when_the_disk_is_too_far_behind() {
    let stage = Stage::new("everysec", |b| b.config("persist.max-at-risk-ms", "300"));
    stage.slow(3_000);
    let (mut writer, mut other) = (stage.client(), stage.client());
    // Until one of them waits, and not because the machine is slow: another client is answered meanwhile.
    let held = Instant::now();
    loop {
        assert!(held.elapsed() < LIMIT, "nobody was held");
        writer.send(&["PERSIST.INCR", "n"]).unwrap();
        let reply = writer.try_read(Duration::from_millis(500)).unwrap();
        if reply.is_none() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(matches!(
        other.words("PERSIST.GET n").unwrap(),
        Resp::Bulk(_)
    ));
    assert!(!other.words("SET cache 1").unwrap().is_error());
    // It goes on when the disk does.
    stage.slow(0);
    assert!(matches!(writer.read().unwrap(), Resp::Int(_)));
    wait_until("nobody is held", LIMIT, || {
        writer.send(&["PERSIST.INCR", "n"])?;
        Ok(matches!(writer.read()?, Resp::Int(_))
            && stage
                .server
                .persist_info("at_risk_ms")?
                .parse::<u64>()
                .is_ok_and(|ms| ms < 300))
    })
    .unwrap();
}

/// Whoever waited for a key and is served then waits as writers do; whose time is up is told so.
#[test]
fn who_is_served_is_held_when_the_disk_is_too_far_behind() {
    let stage = Stage::new("everysec", |b| b.config("persist.max-at-risk-ms", "300"));
    let (mut popper, mut late) = (stage.client(), stage.client());
    stage.slow(6_000);
    popper.send(&["PERSIST.BLPOP", "jobs", "0"]).unwrap();
    late.send(&["PERSIST.BLPOP", "nothing", "2"]).unwrap();
    let mut writer = stage.client();
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < LIMIT, "nobody was held");
        writer.send(&["PERSIST.INCR", "n"]).unwrap();
        let reply = writer.try_read(Duration::from_millis(300)).unwrap();
        if reply.is_none() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut pusher = stage.client();
    pusher.send(&["PERSIST.RPUSH", "jobs", "a"]).unwrap();
    assert!(
        popper
            .try_read(Duration::from_millis(500))
            .unwrap()
            .is_none()
    );
    assert!(waits(&mut pusher));
    assert_eq!(late.read().unwrap(), Resp::NullArray);
    stage.slow(0);
    let popped = popper.read().unwrap().into_items();
    assert_eq!(popped[1].text().unwrap(), "a");
    assert_eq!(pusher.read().unwrap(), Resp::Int(1));
}

/// Transactions and scripts can't be held: while the disk is too far behind, their durable writes are refused, all or none.
#[test]
fn transactions_and_scripts_are_refused_when_the_disk_is_too_far_behind() {
    let stage = Stage::new("everysec", |b| b.config("persist.max-at-risk-ms", "300"));
    let transaction: [&[&str]; 6] = [
        &["MULTI"],
        &["INCR", "cache"],
        &["PERSIST.INCR", "a"],
        &["PERSIST.GET", "a"],
        &["PERSIST.INCR", "b"],
        &["EXEC"],
    ];
    let exec = |client: &mut RawClient| {
        let mut last = None;
        for command in transaction {
            last = Some(client.command(command).unwrap());
        }
        last.unwrap().into_items()
    };
    let script = "redis.call('PERSIST.INCR', 'c') redis.call('PERSIST.INCR', 'd') return 1";
    let eval = |client: &mut RawClient, script: &str| client.command(&["EVAL", script, "0"]);
    let mut client = stage.client();
    let (mut done, mut refused, mut scripts) = (0, 0, 0);
    let begun = Instant::now();
    // On and on while the disk comes and goes, until both were seen several times.
    let mut round = 0;
    while done < 5 || refused < 5 || scripts < 5 {
        assert!(begun.elapsed() < 2 * LIMIT, "{done}, {refused}, {scripts}");
        stage.slow(if round % 40 < 20 { 1_000 } else { 0 });
        round += 1;
        let replies = exec(&mut client);
        let told = |reply: &Resp| reply.is_error() && reply.to_string().contains("TRYAGAIN");
        assert!(!replies[0].is_error());
        let expected = done.to_string();
        if told(&replies[1]) {
            refused += 1;
            assert!(told(&replies[3]), "{replies:?}");
            let found = replies[2].text().unwrap_or("0".into());
            assert_eq!(found, expected);
        } else {
            done += 1;
            assert_eq!(replies[1], Resp::Int(done), "{replies:?}");
            assert_eq!(replies[3], Resp::Int(done), "{replies:?}");
        }
        match eval(&mut client, script).unwrap() {
            Resp::Int(1) => {}
            error => {
                assert!(error.to_string().contains("TRYAGAIN"), "{error}");
                scripts += 1;
                // Who only reads is answered, and the loop turns.
                let read = eval(
                    &mut client,
                    "return redis.call('PERSIST.EXISTS', 'nothing')",
                );
                assert_eq!(read.unwrap(), Resp::Int(0));
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // Each refused command counts: two of a transaction, and the first of a script, which it ends.
    let refusals = stage.server.persist_info("at_risk_refusals").unwrap();
    assert_eq!(refusals, (2 * refused + scripts).to_string());
    stage.slow(0);
    wait_until("a script runs", LIMIT, || {
        Ok(!eval(&mut client, script)?.is_error())
    })
    .unwrap();
    let mut both = |a: &str, b: &str| {
        let found = client.words(&format!("PERSIST.MGET {a} {b}")).unwrap();
        let found = found.into_items();
        assert_eq!(found[0], found[1]);
    };
    both("a", "b");
    both("c", "d");
}
