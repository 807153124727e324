//! The harness itself, on a plain redis-server.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use persist_tools::journal::Journal;
use persist_tools::load;
use persist_tools::preload::{self, Faults, Preload};
use persist_tools::raw::Resp;
use persist_tools::server::Server;

fn ok() -> Resp {
    Resp::Simple(b"OK".to_vec())
}

#[test]
fn a_server_starts_answers_and_comes_back() {
    let mut server = Server::builder()
        .config("appendonly", "yes")
        .config("appendfsync", "always")
        .start()
        .unwrap();
    let mut client = server.raw().unwrap();
    assert_eq!(
        client.command_raw(&["SET", "k", "a b"]).unwrap(),
        b"+OK\r\n"
    );
    assert_eq!(client.words("GET missing").unwrap(), Resp::NullBulk);
    let many: Vec<Vec<String>> = (0..1000)
        .map(|i| vec!["RPUSH".into(), "l".into(), i.to_string()])
        .collect();
    let replies = client.pipeline(&many).unwrap();
    assert_eq!(replies.last(), Some(&Resp::Int(1000)));
    client.words("HELLO 3").unwrap();
    assert_eq!(client.words("GET missing").unwrap(), Resp::Null);
    assert_eq!(client.words("ZADD z 1.5 a").unwrap(), Resp::Int(1));
    assert_eq!(
        client.words("ZSCORE z a").unwrap(),
        Resp::Double(b"1.5".to_vec())
    );

    let (port, pid) = (server.port(), server.pid());
    server.kill9().unwrap();
    assert!(server.raw().is_err());
    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    let value: String = redis::cmd("GET")
        .arg("k")
        .query(&mut server.conn().unwrap())
        .unwrap();
    assert_eq!(value, "a b");
    assert_eq!(server.info("aof_enabled").unwrap(), "1");
    assert!(server.shutdown(true).unwrap().success());
    assert!(server.log().contains("DB loaded from"));
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let error = Server::builder()
        .config("no-such-setting", "1")
        .start()
        .err()
        .unwrap();
    assert!(error.to_string().contains("no-such-setting"), "{error}");
}

#[test]
fn settings_survive_config_rewrite() {
    let mut server = Server::builder()
        .config("maxmemory", "100mb")
        .start()
        .unwrap();
    assert_eq!(server.words("CONFIG SET maxmemory 200mb").unwrap(), ok());
    assert_eq!(server.words("CONFIG REWRITE").unwrap(), ok());
    server.restart().unwrap();
    assert_eq!(server.info("maxmemory").unwrap(), (200 << 20).to_string());
    server.set_config("maxmemory", "300mb").unwrap();
    server.restart().unwrap();
    assert_eq!(server.info("maxmemory").unwrap(), (300 << 20).to_string());
}

#[test]
fn the_data_set_loads_and_a_check_finds_every_change() {
    let server = Server::builder().start().unwrap();
    let keys = 2_000;
    load::load(server.port(), 5, keys, "").unwrap();
    let mut client = server.raw().unwrap();
    for protocol in ["HELLO 2", "HELLO 3"] {
        client.words(protocol).unwrap();
        let report = load::check(&mut client, 5, keys, "", None).unwrap();
        report.ok().unwrap();
        assert_eq!(report.good, keys);
    }
    // One key of each type, changed as little as possible.
    use persist_tools::generate::{Kind, commands};
    for kind in [
        Kind::String,
        Kind::Hash,
        Kind::List,
        Kind::SortedSet,
        Kind::Set,
    ] {
        let command = commands(5, keys)
            .find(|command| command.kind == kind)
            .unwrap();
        let key = String::from_utf8(command.key.clone()).unwrap();
        let change = match kind {
            Kind::String => format!("APPEND {key} x"),
            Kind::Hash => format!("HSET {key} name other"),
            Kind::List => format!("LSET {key} 1 other"),
            Kind::SortedSet => {
                format!(
                    "ZINCRBY {key} 0.001 {}",
                    String::from_utf8_lossy(&command.args[1])
                )
            }
            Kind::Set => format!("SREM {key} {}", String::from_utf8_lossy(&command.args[0])),
        };
        assert!(!client.words(&change).unwrap().is_error(), "{change}");
    }
    let report = load::check(&mut client, 5, keys, "", None).unwrap();
    assert_eq!((report.good, report.bad), (keys - 5, 5), "{report:?}");

    let mut journal = Journal::default();
    journal.sent(b"k", b"1");
    journal.acknowledged(b"k", b"1");
    assert!(
        load::check_journal(&mut client, &journal, "")
            .unwrap()
            .ok()
            .is_err()
    );
    client.words("SET k 1").unwrap();
    load::check_journal(&mut client, &journal, "")
        .unwrap()
        .ok()
        .unwrap();
}

#[test]
fn a_trace_shows_that_always_syncs_before_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let server = Server::builder()
        .config("appendonly", "yes")
        .config("appendfsync", "always")
        .preload(Preload::new().trace(&trace))
        .start()
        .unwrap();
    server.words("SET traced 1").unwrap();
    // The line about a reply is written after the reply: one more command makes sure that it is there.
    server.words("PING").unwrap();
    let calls = preload::read_trace(&trace).unwrap();
    let write = calls
        .iter()
        .find(|call| call.is_write() && !call.is_socket() && call.data.contains("traced"))
        .expect("the write to the log");
    assert!(write.path.contains("appendonlydir"), "{write:?}");
    let sync = calls
        .iter()
        .find(|call| call.is_sync() && call.path == write.path && write.before(call))
        .expect("the fsync of the log");
    let reply = calls
        .iter()
        .find(|call| call.is_write() && call.is_socket() && write.before(call))
        .expect("the reply");
    assert!(reply.data.starts_with("+OK"), "{reply:?}");
    assert!(sync.before(reply));
    let is_commit = |call: &preload::Call| call.op == "rename" && call.path.ends_with(".manifest");
    assert!(calls.iter().any(is_commit));
    assert!(calls.iter().any(|call| call.op == "create"));
}

#[test]
fn fsync_can_be_slowed_and_failed() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("control");
    let mut server = Server::builder()
        .config("appendonly", "yes")
        .config("appendfsync", "always")
        .preload(
            Preload::new()
                .slow_fsync_ms(0)
                .fail_path("appendonlydir")
                .control(&control),
        )
        .start()
        .unwrap();
    let slow = Faults {
        slow_fsync_ms: 300,
        ..Faults::default()
    };
    slow.apply(&control).unwrap();
    let begin = Instant::now();
    server.words("SET k 1").unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(300));
    // The host's own answer to a failed fsync under `always` is to end itself.
    let broken = Faults {
        fail_fsync: true,
        ..Faults::default()
    };
    broken.apply(&control).unwrap();
    assert!(server.words("SET k 2").is_err());
    assert!(!server.wait_for_exit().unwrap().success());
    assert!(
        server.log().contains("Input/output error"),
        "{}",
        server.log()
    );
}
