//! Transactions of a client that was held or blocked a moment ago: what it sent meanwhile runs, on Redis 7.0, where replies
//! leave without another hook.

use persist_tools::order::replies;
use persist_tools::preload::Call;
use persist_tools::raw::{RawClient, Resp, encode_command};
use persist_tools::server::wait_until;

use crate::ok;
use crate::stage::{LIMIT, SLOW_MS, Stage, is_durable_before};

/// Sends these lines in one go.
fn send(client: &mut RawClient, lines: &[&str]) {
    let mut out = Vec::new();
    for line in lines {
        encode_command(&mut out, &line.split(' ').collect::<Vec<_>>());
    }
    client.send_bytes(&out).unwrap();
}

fn until_blocked(stage: &Stage, n: usize) {
    let n = n.to_string();
    wait_until("clients are blocked", LIMIT, || {
        Ok(stage.server.info("blocked_clients")? == n)
    })
    .unwrap();
}

/// A client whose replies are found in the trace.
fn traced(stage: &Stage) -> RawClient {
    let mut client = stage.client();
    client.words("ECHO this-client-").unwrap();
    client
}

/// The last reply to the traced client.
fn last_reply(stage: &Stage, calls: &[Call]) -> Call {
    let all = replies(calls, "this-client-");
    let (_, call) = all
        .last()
        .unwrap_or_else(|| panic!("{}", stage.server.log()));
    (*call).clone()
}

/// The write to the log that has this in it.
fn write_of<'a>(calls: &'a [Call], value: &str) -> &'a Call {
    let mut writes = calls
        .iter()
        .filter(|c| c.is_write() && c.path.ends_with(".incr.aof") && c.data.contains(value));
    let write = writes
        .next()
        .unwrap_or_else(|| panic!("{value} isn't in the log"));
    assert!(writes.next().is_none(), "{value} is there twice");
    write
}

/// Reads so many replies; the last one's elements.
fn read(client: &mut RawClient, n: usize) -> Vec<Resp> {
    for i in 1..n {
        let reply = client.read().unwrap();
        assert!(!reply.is_error(), "{i}: {reply}");
    }
    client.read().unwrap().into_items()
}

#[test]
fn a_transaction_behind_a_held_write_is_written_whole_and_before_its_reply() {
    let stage = Stage::new("always", |b| b);
    stage.until_it_holds();
    stage.slow(SLOW_MS);
    let mut client = traced(&stage);
    client.send(&["PERSIST.SET", "held", "1"]).unwrap();
    until_blocked(&stage, 1);
    send(
        &mut client,
        &[
            "MULTI",
            "PERSIST.SET k1 value-1-",
            "PERSIST.GET k1",
            "SET cache 1",
            "PERSIST.GET nothing",
            "PERSIST.SET k2 value-2-",
            "PERSIST.GET nothing",
            "EXEC",
        ],
    );
    let reply = read(&mut client, 9);
    assert_eq!(reply[1], Resp::Bulk(b"value-1-".to_vec()));
    assert_eq!(reply.len(), 6);
    stage.client().words("PING").unwrap();
    let calls = stage.trace();
    assert_eq!(
        write_of(&calls, "value-1-").begin,
        write_of(&calls, "value-2-").begin
    );
    let reply = last_reply(&stage, &calls);
    assert!(is_durable_before(&calls, "value-2-", &reply));
}

/// The same behind a command that waited for a key, which needs no slow disk; with plain names, and under `everysec`, too.
#[test]
fn a_transaction_behind_a_blocking_command_is_written_whole() {
    for policy in ["always", "everysec"] {
        let stage = Stage::new(policy, |b| b);
        let mut other = stage.client();
        // Not before the module looks at commands: it is the later one of both that sees the names as they will run.
        let set = other.words("CONFIG SET persist.route k:*").unwrap();
        assert!(!set.is_error());
        let mut client = traced(&stage);
        for round in 0..3 {
            client.send(&["PERSIST.BLPOP", "queue", "0"]).unwrap();
            until_blocked(&stage, 1);
            let (one, two) = (format!("value-{round}-1-"), format!("value-{round}-2-"));
            let lines = [
                "MULTI",
                &format!("SET k:1 {one}"),
                "SET cache 1",
                &format!("SET k:2 {two}"),
                // Not the last that writes, but the last that may.
                "PERSIST.GET nothing",
                "EXEC",
            ];
            send(&mut client, &lines);
            assert_eq!(other.words("PERSIST.RPUSH queue x").unwrap(), Resp::Int(1));
            assert_eq!(read(&mut client, 7).len(), 4);
            other.words("PING").unwrap();
            let calls = stage.trace();
            let write = write_of(&calls, &one);
            assert_eq!(write.begin, write_of(&calls, &two).begin, "{policy}");
            let reply = last_reply(&stage, &calls);
            assert!(write.before(&reply), "{policy}");
            if policy == "always" {
                assert!(is_durable_before(&calls, &two, &reply));
            }
        }
    }
}

/// What one reads must be durable before its reply, too.
#[test]
fn a_transaction_that_reads_what_isnt_durable_waits_for_it() {
    let stage = Stage::new("always", |b| b);
    stage.until_it_holds();
    stage.slow(SLOW_MS);
    let (mut client, mut writer) = (traced(&stage), stage.client());
    client.send(&["PERSIST.SET", "held", "1"]).unwrap();
    until_blocked(&stage, 1);
    // Waits for the next fsync.
    writer.send(&["PERSIST.SET", "k", "value-read-"]).unwrap();
    until_blocked(&stage, 2);
    send(
        &mut client,
        &["MULTI", "PERSIST.GET k", "PERSIST.GET nothing", "EXEC"],
    );
    let reply = read(&mut client, 5);
    assert_eq!(reply[0], Resp::Bulk(b"value-read-".to_vec()));
    assert!(!writer.read().unwrap().is_error());
    stage.client().words("PING").unwrap();
    let calls = stage.trace();
    let reply = last_reply(&stage, &calls);
    assert!(is_durable_before(&calls, "value-read-", &reply));
}

/// A command that was queued may be refused after all. What those before it did is durable before the reply then, too.
#[test]
fn a_transaction_whose_end_is_refused_doesnt_overtake_its_fsync() {
    let stage = Stage::new("always", |b| b);
    let mut other = stage.client();
    other.words("ACL SETUSER other on nopass ~* +@all").unwrap();
    let lines: [&[&str]; 3] = [
        // It loses its rights in the middle.
        &[
            "MULTI",
            "PERSIST.SET k VALUE",
            "ACL SETUSER default -persist.set",
            "PERSIST.SET k more",
            "EXEC",
        ],
        // The same, and a MULTI that begins nothing.
        &[
            "MULTI",
            "ACL SETUSER default -persist.incr",
            "MULTI",
            "PERSIST.RPUSH k VALUE",
            "PERSIST.INCR k",
            "EXEC",
        ],
        // It is never run.
        &[
            "MULTI",
            "PERSIST.RPUSH k x",
            "PERSIST.RPUSH k",
            "EXEC",
            "PERSIST.HSET hash f VALUE",
        ],
    ];
    for (round, lines) in lines.iter().enumerate() {
        assert!(!other.words("AUTH other any").unwrap().is_error());
        other.words("PERSIST.DEL k queue").unwrap();
        other
            .words("ACL SETUSER default on nopass ~* +@all")
            .unwrap();
        let mut client = traced(&stage);
        client.send(&["PERSIST.BLPOP", "queue", "0"]).unwrap();
        until_blocked(&stage, 1);
        let value = format!("value-{round}-");
        let lines: Vec<String> = lines.iter().map(|l| l.replace("VALUE", &value)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        send(&mut client, &lines);
        assert!(!other.words("PERSIST.RPUSH queue x").unwrap().is_error());
        let replies: Vec<Resp> = (0..=lines.len()).map(|_| client.read().unwrap()).collect();
        drop(client);
        // Valkey 9 takes a MULTI in the middle for a reason not to run anything.
        if round == 1 && replies[6].is_error() {
            assert_eq!(other.words("PERSIST.EXISTS k").unwrap(), Resp::Int(0));
            continue;
        }
        other.words("PING").unwrap();
        let calls = stage.trace();
        // Each client is a stream of its own, and this is the youngest.
        let from = calls
            .iter()
            .rposition(|c| c.is_socket() && c.data.contains("this-client-"))
            .unwrap();
        let reply = last_reply(&stage, &calls[from..]);
        assert!(is_durable_before(&calls, &value, &reply), "{round}");
    }
}

/// `CLIENT PAUSE` stops clients in the middle of a transaction: what goes on after it may look like a whole one.
#[test]
fn a_transaction_that_was_stopped_in_the_middle_doesnt_overtake_its_fsync() {
    let stage = Stage::new("always", |b| b);
    let mut client = traced(&stage);
    send(&mut client, &["MULTI", "ACL SETUSER default -persist.incr"]);
    for _ in 0..2 {
        assert!(!client.read().unwrap().is_error());
    }
    ok(stage.client().words("CLIENT PAUSE 300").unwrap());
    let lines = ["MULTI", "PERSIST.SET k value-", "PERSIST.INCR k", "EXEC"];
    send(&mut client, &lines);
    assert!(client.read().unwrap().is_error());
    for _ in 0..2 {
        client.read().unwrap();
    }
    let reply = client.read().unwrap();
    // As above.
    if reply.is_error() {
        let found = stage.client().words("PERSIST.EXISTS k").unwrap();
        assert_eq!(found, Resp::Int(0));
        return;
    }
    let reply = reply.into_items();
    assert!(reply[2].is_error(), "{reply:?}");
    stage.client().words("PING").unwrap();
    let calls = stage.trace();
    let reply = last_reply(&stage, &calls);
    assert!(is_durable_before(&calls, "value-", &reply));
}
