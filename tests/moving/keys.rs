//! Small keys, patterns, and what a move does as a whole.

use std::time::{Duration, Instant};

use persist_tools::contents;
use persist_tools::contents::Contents;
use persist_tools::preload::{Faults, Preload};
use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::wait_until;

use crate::{LIMIT, builder, durable, finish, host, ok, started};

/// Every kind of value, small and large, with and without a TTL, in several databases.
fn fill(client: &mut RawClient, prefix: &str) {
    for db in [0, 2, 15] {
        client.words(&format!("SELECT {db}")).unwrap();
        let mut lines: Vec<String> = [
            "SET m:int 42",
            "SET m:ttl v PXAT 4102444800123",
            "SETBIT m:bits 1000 1",
            "PFADD m:hll a b c",
            "RPUSH m:list a b c",
            "SADD m:set a b c",
            "SADD m:ints 1 2 3",
            "HSET m:hash f v g w",
            "ZADD m:zset 1.1 a -inf b inf c 3e-300 d",
            "GEOADD m:geo 13.361389 38.115556 Palermo",
            "XADD m:stream 1-1 f v",
            "XADD m:stream 2-1 f v g w",
            "XADD m:stream 3-1 f v",
            "XDEL m:stream 2-1",
            "XGROUP CREATE m:stream g1 0",
            "XGROUP CREATE m:stream g2 $ ENTRIESREAD 2",
            "XREADGROUP GROUP g1 ann COUNT 1 STREAMS m:stream >",
            "XREADGROUP GROUP g1 bob STREAMS m:stream >",
            "XGROUP CREATECONSUMER m:stream g2 idle",
            "XGROUP CREATE m:nothing g $ MKSTREAM",
            "XADD m:emptied 5-5 f v",
            "XDEL m:emptied 5-5",
            "SET other 1",
        ]
        .map(str::to_owned)
        .to_vec();
        for i in 0..3000 {
            lines.push(format!("RPUSH m:biglist {i}"));
            lines.push(format!("SADD m:bigset member:{i}"));
            lines.push(format!("HSET m:bighash field:{i} {i}"));
            lines.push(format!("ZADD m:bigzset {i}.5 member:{i}"));
            lines.push(format!("XADD m:bigstream {}-1 f {i}", i + 1));
        }
        for key in ["list", "set", "hash", "zset", "stream", "bigset"] {
            if db == 2 {
                lines.push(format!("PEXPIREAT m:{key} 4102444800999"));
            }
        }
        let commands: Vec<Vec<String>> = lines
            .iter()
            .map(|line| {
                format!("{prefix}{line}")
                    .split(' ')
                    .map(str::to_owned)
                    .collect()
            })
            .collect();
        for part in commands.chunks(500) {
            for reply in client.pipeline(part).unwrap() {
                assert!(!reply.is_error(), "{reply}");
            }
        }
    }
    client.words("SELECT 0").unwrap();
}

fn only(contents: &Contents, matching: bool) -> Contents {
    let all = contents
        .iter()
        .filter(|((_, key), _)| key.starts_with(b"m:") == matching);
    all.map(|(k, v)| (k.clone(), v.clone())).collect()
}

#[test]
fn every_kind_of_value_there_and_back() {
    let mut server = builder().start().unwrap();
    let mut client = server.raw().unwrap();
    fill(&mut client, "");
    let before = host(&server);
    assert_eq!(client.words("PERSIST.ADOPT m:*").unwrap(), started());
    assert!(client.words("PERSIST.ADOPT x").unwrap().is_error());
    finish(&server);
    assert_eq!(server.persist_info("moving_last_status").unwrap(), "ok");
    let moved = only(&before, true);
    assert_eq!(
        server.persist_info("moving_moved").unwrap(),
        moved.len().to_string()
    );
    contents::same("adopted", &moved, &durable(&server), 0).unwrap();
    contents::same(
        "what doesn't match",
        &only(&before, false),
        &host(&server),
        0,
    )
    .unwrap();
    server.restart().unwrap();
    contents::same("after kill -9", &moved, &durable(&server), 0).unwrap();
    let mut client = server.raw().unwrap();
    // A copy only, then for good.
    assert_eq!(client.words("PERSIST.RELEASE m:* KEEP").unwrap(), started());
    finish(&server);
    contents::same("copied", &moved, &host(&server), 0).unwrap();
    contents::same("kept", &moved, &durable(&server), 0).unwrap();
    client.words("FLUSHALL").unwrap();
    assert_eq!(client.words("PERSIST.RELEASE m:*").unwrap(), started());
    finish(&server);
    contents::same("released", &moved, &host(&server), 0).unwrap();
    assert!(durable(&server).is_empty());
    server.restart().unwrap();
    assert!(durable(&server).is_empty());
}

#[test]
fn a_key_of_the_same_name_stays_where_it_is() {
    let server = builder().start().unwrap();
    let mut client = server.raw().unwrap();
    for line in [
        "SET a host",
        "SET b host",
        "PERSIST.SET a durable",
        "PERSIST.SET c durable",
    ] {
        assert_eq!(client.words(line).unwrap(), ok());
    }
    client.words("PERSIST.ADOPT *").unwrap();
    finish(&server);
    let bulk = |text: &str| Resp::Bulk(text.as_bytes().to_vec());
    let get = |key: &str| server.words(&format!("GET {key}")).unwrap();
    let durable = |key: &str| server.words(&format!("PERSIST.GET {key}")).unwrap();
    assert_eq!((get("a"), durable("a")), (bulk("host"), bulk("durable")));
    assert_eq!((get("b"), durable("b")), (Resp::NullBulk, bulk("host")));
    assert_eq!(server.persist_info("moving_skipped").unwrap(), "1");
    client.words("PERSIST.RELEASE *").unwrap();
    finish(&server);
    assert_eq!((get("a"), durable("a")), (bulk("host"), bulk("durable")));
    assert_eq!((get("c"), durable("c")), (bulk("durable"), Resp::NullBulk));
    assert_eq!(server.persist_info("moving_skipped").unwrap(), "1");
    assert!(
        server
            .log()
            .contains("1 left since a key of that name is the server's already")
    );
}

#[test]
fn the_source_stays_until_the_copy_is_durable() {
    for policy in ["always", "everysec", "no"] {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("faults");
        let server = builder()
            .config("persist.appendfsync", policy)
            .preload(Preload::new().control(&control).slow_path("persist-aof"))
            .start()
            .unwrap();
        let mut client = server.raw().unwrap();
        assert_eq!(client.words("SET k v").unwrap(), ok());
        let faults = Faults {
            slow_fsync_ms: 700,
            ..Faults::default()
        };
        faults.apply(&control).unwrap();
        let begun = Instant::now();
        assert_eq!(client.words("PERSIST.ADOPT k").unwrap(), started());
        let mut gone = None;
        while gone.is_none() {
            let there = client.words("EXISTS k").unwrap() == Resp::Int(1);
            if !there {
                gone = Some(begun.elapsed());
            }
            assert!(begun.elapsed() < LIMIT);
        }
        assert!(
            gone.unwrap() >= Duration::from_millis(700),
            "{policy}: {gone:?}"
        );
        assert_eq!(
            client.words("PERSIST.GET k").unwrap(),
            Resp::Bulk(b"v".to_vec())
        );
    }
}

#[test]
fn no_key_is_lost_when_the_server_dies_in_the_middle() {
    let mut server = builder()
        // The host remembers, too, so that both sides can be looked at.
        .config("appendonly", "yes")
        .config("appendfsync", "always")
        .start()
        .unwrap();
    let mut client = server.raw().unwrap();
    let keys = 20_000;
    let commands: Vec<Vec<String>> = (0..keys)
        .map(|i| vec!["SET".into(), format!("m:{i}"), i.to_string()])
        .collect();
    for part in commands.chunks(1000) {
        client.pipeline(part).unwrap();
    }
    for round in 0..3 {
        let mut client = server.raw().unwrap();
        assert_eq!(client.words("PERSIST.ADOPT m:*").unwrap(), started());
        std::thread::sleep(Duration::from_millis(150));
        server.restart().unwrap();
        let (host, durable) = (host(&server), durable(&server));
        let all: std::collections::BTreeSet<_> = host.keys().chain(durable.keys()).collect();
        assert_eq!(all.len(), keys, "round {round}");
        assert!(!durable.is_empty(), "round {round}");
        for (key, value) in &durable {
            assert!(host.get(key).is_none_or(|other| other == value));
        }
    }
}

#[test]
fn a_move_can_be_cancelled_and_doesnt_hold_up_the_server() {
    let server = builder().start().unwrap();
    let mut client = server.raw().unwrap();
    let keys = 100_000;
    let commands: Vec<Vec<String>> = (0..keys)
        .map(|i| vec!["SET".into(), format!("m:{i}"), i.to_string()])
        .collect();
    for part in commands.chunks(2000) {
        client.pipeline(part).unwrap();
    }
    assert!(client.words("PERSIST.ADOPT CANCEL").unwrap().is_error());
    assert_eq!(client.words("PERSIST.ADOPT m:*").unwrap(), started());
    // Others are served between its steps.
    wait_until("the first keys", LIMIT, || {
        client.words("PING")?;
        Ok(server.persist_info("moving_moved")? != "0")
    })
    .unwrap();
    assert_ne!(server.persist_info("moving_in_progress").unwrap(), "no");
    let reply = client.words("PERSIST.ADOPT CANCEL").unwrap();
    assert_eq!(reply, Resp::Simple(b"Background moving cancelled".to_vec()));
    finish(&server);
    assert_eq!(
        server.persist_info("moving_last_status").unwrap(),
        "cancelled"
    );
    let count = |command: &str| match server.words(command).unwrap() {
        Resp::Int(n) => n,
        other => panic!("{other}"),
    };
    let (host, durable) = (count("DBSIZE"), count("PERSIST.DBSIZE"));
    assert_eq!(host + durable, keys);
    assert!(host > 0 && durable > 0, "{host} {durable}");
    assert_eq!(
        server.persist_info("moving_moved").unwrap(),
        durable.to_string()
    );
}

#[test]
fn what_can_t_be_done_is_said() {
    let server = builder()
        .config("persist.appendonly", "no")
        .config("persist.route", "m:*")
        .start()
        .unwrap();
    let mut client = server.raw().unwrap();
    let mut error = |line: &str| {
        let reply = client.words(line).unwrap();
        assert!(reply.is_error(), "{line}: {reply}");
        reply.text().unwrap()
    };
    assert!(error("PERSIST.ADOPT *").contains("persist.appendonly"));
    assert!(error("PERSIST.RELEASE * NOW").contains("syntax"));
    assert!(error("PERSIST.RELEASE CANCEL").contains("no keys"));
    let server = builder().config("persist.maxmemory", "1").start().unwrap();
    let mut client = server.raw().unwrap();
    client.words("SET k v").unwrap();
    client.words("PERSIST.ADOPT *").unwrap();
    finish(&server);
    let status = server.persist_info("moving_last_status").unwrap();
    assert!(status.starts_with("OOM"), "{status}");
    assert_eq!(client.words("GET k").unwrap(), Resp::Bulk(b"v".to_vec()));
    assert_eq!(client.words("PERSIST.DBSIZE").unwrap(), Resp::Int(0));
}

/// A key that plain commands can't reach is the usual case: the route comes first, then what was there before.
#[test]
fn keys_are_adopted_under_a_route() {
    let mut server = builder().start().unwrap();
    let mut client = server.raw().unwrap();
    fill(&mut client, "");
    let moved = only(&host(&server), true);
    assert_eq!(client.words("CONFIG SET persist.route m:*").unwrap(), ok());
    assert_eq!(client.words("EXISTS m:list").unwrap(), Resp::Int(0));
    assert_eq!(client.words("PERSIST.ADOPT *").unwrap(), started());
    finish(&server);
    // Also what isn't routed, since the pattern says so.
    assert_eq!(client.words("LLEN m:list").unwrap(), Resp::Int(3));
    assert!(client.words("DBSIZE").unwrap() == Resp::Int(0));
    let mut all = durable(&server);
    all.retain(|(_, key), _| key.starts_with(b"m:"));
    contents::same("adopted", &moved, &all, 0).unwrap();
    // Those who wait are served.
    client.words("CONFIG SET persist.route n:*").unwrap();
    client.words("RPUSH queue 1").unwrap();
    let mut waiter = server.raw().unwrap();
    waiter.send(&["PERSIST.BLPOP", "queue", "0"]).unwrap();
    client.words("PERSIST.ADOPT queue").unwrap();
    let served = waiter.read().unwrap();
    assert_eq!(
        served,
        Resp::Array(vec![
            Resp::Bulk(b"queue".to_vec()),
            Resp::Bulk(b"1".to_vec())
        ])
    );
    finish(&server);
    server.restart().unwrap();
    assert_eq!(server.words("PERSIST.EXISTS queue").unwrap(), Resp::Int(0));
}
