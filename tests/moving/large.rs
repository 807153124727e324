//! Large keys, which are copied a piece at a time.

use std::collections::BTreeMap;

use persist_tools::contents::{self, Contents};
use persist_tools::host;
use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::Server;

use crate::{
    MANY, WAYS, Way, builder, bulk, durable, fill, finish, freeze, hidden, moving, number, ok,
    progress, started, thaw, words,
};

const SOME: usize = 20_000;

/// A large value of every kind.
fn fill_all(client: &mut RawClient) {
    fill(client, SOME, |i| words(&format!("RPUSH list e:{i} {i}")));
    fill(client, SOME, |i| words(&format!("SADD set m:{i}")));
    fill(client, SOME, |i| words(&format!("SADD ints {}", i * 7)));
    fill(client, SOME, |i| words(&format!("HSET hash f:{i} v{i}")));
    fill(client, SOME, |i| {
        let score = (i as f64 + 0.1) / 3.0 * if i % 2 == 0 { 1.0 } else { -1e300 };
        words(&format!("ZADD zset {score:e} m:{i}"))
    });
    fill(client, 3, |i| {
        words(&format!(
            "ZADD zset {} odd:{i}",
            ["inf", "-inf", "3e-300"][i]
        ))
    });
    let bytes: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
    assert_eq!(
        client.command(&[b"SET", &b"string"[..], &bytes]).unwrap(),
        ok()
    );
    // Few elements, but long ones.
    fill(client, 100, |i| {
        words(&format!("RPUSH long {i}{}", "x".repeat(10_000)))
    });
    fill(client, SOME, |i| {
        words(&format!("XADD stream {}-1 f {i}", i + 1))
    });
    fill(client, 3, |g| {
        words(&format!("XGROUP CREATE stream g{g} 0"))
    });
    fill(client, 300, |i| {
        let (group, consumer) = (i % 3, i % 7);
        words(&format!(
            "XREADGROUP GROUP g{group} c{consumer} COUNT 50 STREAMS stream >"
        ))
    });
    client
        .words("XGROUP CREATECONSUMER stream g1 idle")
        .unwrap();
    fill(client, 500, |i| {
        words(&format!("XACK stream g1 {}-1", i * 3 + 1))
    });
    // Pending, and no longer there: in the middle, and in front.
    fill(client, 400, |i| {
        words(&format!("XDEL stream {}-1", i * 5 + 1000))
    });
    client.words("XTRIM stream MAXLEN 19000").unwrap();
    // Only in front, which leaves no mark.
    fill(client, 3000, |i| {
        words(&format!("XADD trimmed {}-1 f {i}", i + 1))
    });
    client.words("XGROUP CREATE trimmed g 0").unwrap();
    client
        .words("XREADGROUP GROUP g c COUNT 2500 STREAMS trimmed >")
        .unwrap();
    client.words("XTRIM trimmed MAXLEN 2000").unwrap();
    // All that is left is pending.
    fill(client, 5000, |i| {
        words(&format!("XADD emptied {}-1 f {i}", i + 1))
    });
    client.words("XGROUP CREATE emptied g 0").unwrap();
    client
        .words("XREADGROUP GROUP g c COUNT 5000 STREAMS emptied >")
        .unwrap();
    client.words("XTRIM emptied MAXLEN 0").unwrap();
    for key in ["list", "string", "stream", "hash"] {
        let reply = client
            .words(&format!("PEXPIREAT {key} 4102444800999"))
            .unwrap();
        assert_eq!(reply, Resp::Int(1));
    }
}

/// When the fields of `ending` end, on the side of `prefix`.
fn field_ttls(client: &mut RawClient, prefix: &str) -> Vec<Resp> {
    let mut ttls = Vec::new();
    for from in (0..SOME).step_by(500) {
        let fields: String = (from..from + 500).map(|i| format!(" f:{i}")).collect();
        let line = format!("{prefix}HPEXPIRETIME ending FIELDS 500{fields}");
        ttls.extend(client.words(&line).unwrap().into_items());
    }
    ttls
}

fn same(what: &str, left: &Contents, right: &Contents) {
    contents::same(what, left, right, 0).unwrap();
}

fn none_is_hidden(client: &mut RawClient) {
    for prefix in ["", "PERSIST."] {
        assert_eq!(hidden(client, prefix), Vec::<String>::new());
    }
}

#[test]
fn every_kind_of_large_value_there_and_back() {
    let mut server = builder().start().unwrap();
    let mut client = server.raw().unwrap();
    fill_all(&mut client);
    let host_kind = host::host().unwrap();
    let knows_ttls = host_kind.is_redis((7, 4)) || host_kind.is_valkey((9, 0));
    if knows_ttls {
        fill(&mut client, SOME, |i| {
            words(&format!("HSET ending f:{i} v{i}"))
        });
        fill(&mut client, SOME / 2, |i| {
            let at = 4_102_444_800_000 + (i / 3) as u64;
            words(&format!("HPEXPIREAT ending {at} FIELDS 1 f:{}", i * 2))
        });
    }
    let before = crate::host(&server);
    let ttls = field_ttls_if(knows_ttls, &mut client, "");
    assert_eq!(client.words("PERSIST.ADOPT *").unwrap(), started());
    // Each of them takes several steps.
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    while moving(&mut client)["moving_in_progress"] != "no" {
        let (done, total) = progress(&mut client);
        if done > 0 && done < total {
            *seen.entry(total).or_default() += 1;
        }
    }
    assert!(seen.len() > 3, "{seen:?}");
    assert!(moving(&mut client)["moving_last_status"] == "ok");
    same("adopted", &before, &durable(&server));
    assert!(crate::host(&server).is_empty());
    assert_eq!(field_ttls_if(knows_ttls, &mut client, "PERSIST."), ttls);
    server.restart().unwrap();
    let mut client = server.raw().unwrap();
    same("after kill -9", &before, &durable(&server));
    assert_eq!(client.words("PERSIST.RELEASE * KEEP").unwrap(), started());
    finish(&server);
    same("copied", &before, &crate::host(&server));
    same("kept", &before, &durable(&server));
    assert_eq!(field_ttls_if(knows_ttls, &mut client, ""), ttls);
    client.words("FLUSHALL").unwrap();
    assert_eq!(client.words("PERSIST.RELEASE *").unwrap(), started());
    finish(&server);
    same("released", &before, &crate::host(&server));
    assert!(durable(&server).is_empty());
    assert_eq!(field_ttls_if(knows_ttls, &mut client, ""), ttls);
}

fn field_ttls_if(known: bool, client: &mut RawClient, prefix: &str) -> Vec<Resp> {
    if known {
        field_ttls(client, prefix)
    } else {
        Vec::new()
    }
}

/// A list of numbers on one side.
pub fn list(client: &mut RawClient, way: Way, key: &str, count: usize) {
    let name = way.from();
    fill(client, count / 100, |i| {
        let mut command = vec![format!("{name}RPUSH"), key.into()];
        command.extend((0..100).map(|j| (i * 100 + j).to_string()));
        command
    });
}

/// All elements of a list on the side of `prefix`.
pub fn elements(client: &mut RawClient, prefix: &str, key: &str) -> Vec<String> {
    let items = client.words(&format!("{prefix}LRANGE {key} 0 -1")).unwrap();
    items
        .into_items()
        .into_iter()
        .filter_map(|item| item.text())
        .collect()
}

pub fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|i| i.to_string()).collect()
}

fn released(server: &Server, way: Way) -> RawClient {
    let mut client = server.raw().unwrap();
    list(&mut client, way, "k", MANY);
    client
}

#[test]
fn until_it_is_whole_the_copy_is_hidden_and_has_an_end() {
    for way in WAYS {
        let server = builder().start().unwrap();
        let mut client = released(&server, way);
        client.words(&format!("{} k", way.command())).unwrap();
        let (_, total) = freeze(&mut client);
        assert_eq!(total, MANY as u64);
        let (from, to) = (way.from(), way.to());
        assert_eq!(number(&mut client, &format!("{from}LLEN k")), MANY as i64);
        assert_eq!(number(&mut client, &format!("{to}EXISTS k")), 0);
        let names = hidden(&mut client, to);
        assert_eq!(names.len(), 1, "{way:?}");
        let ttl = number(&mut client, &format!("{to}PTTL {}", names[0]));
        assert!((1..=600_000).contains(&ttl), "{way:?}: {ttl}");
        thaw(&mut client);
        finish(&server);
        assert_eq!(number(&mut client, &format!("{from}EXISTS k")), 0);
        assert_eq!(elements(&mut client, to, "k"), numbers(MANY));
        assert_eq!(number(&mut client, &format!("{to}PTTL k")), -1);
        assert_eq!(progress(&mut client), (0, 0));
        none_is_hidden(&mut client);
    }
}

#[test]
fn those_who_wait_for_a_large_key_are_served() {
    for way in WAYS {
        let server = builder().start().unwrap();
        let mut client = released(&server, way);
        let mut waiter = server.raw().unwrap();
        let pop = format!("{}BLPOP", way.to());
        waiter.send(&[pop.as_str(), "k", "0"]).unwrap();
        client.words(&format!("{} k", way.command())).unwrap();
        assert_eq!(
            waiter.read().unwrap(),
            Resp::Array(vec![bulk("k"), bulk("0")])
        );
        finish(&server);
        assert_eq!(elements(&mut client, way.to(), "k"), numbers(MANY)[1..]);
        assert_eq!(number(&mut client, &format!("{}EXISTS k", way.from())), 0);
    }
}

/// There the hidden key must be in the slot of the other; where no name is, the key goes in one step.
#[test]
fn in_a_cluster_the_copy_is_made_in_the_keys_own_slot() {
    let server = builder().config("cluster-enabled", "yes").start().unwrap();
    let mut client = server.raw().unwrap();
    let slots = client.words("CLUSTER ADDSLOTSRANGE 0 16383").unwrap();
    assert_eq!(slots, ok());
    persist_tools::server::wait_until("the cluster", crate::LIMIT, || {
        let text = client.words("CLUSTER INFO")?.text().unwrap();
        Ok(text.contains("cluster_state:ok"))
    })
    .unwrap();
    for (key, tag) in [("k", Some("{k}")), ("a{b}c", Some("{b}")), ("a}b", None)] {
        list(&mut client, Way::Release, key, MANY);
        client.words(&format!("PERSIST.RELEASE {key}")).unwrap();
        if let Some(tag) = tag {
            freeze(&mut client);
            let names = hidden(&mut client, "");
            assert!(names.len() == 1 && names[0].contains(tag), "{names:?}");
            let slot = |client: &mut RawClient, key: &str| {
                number(client, &format!("CLUSTER KEYSLOT {key}"))
            };
            assert_eq!(slot(&mut client, &names[0]), slot(&mut client, key));
            thaw(&mut client);
        }
        finish(&server);
        assert_eq!(moving(&mut client)["moving_last_status"], "ok");
        assert_eq!(elements(&mut client, "", key), numbers(MANY), "{key}");
        assert_eq!(number(&mut client, &format!("PERSIST.EXISTS {key}")), 0);
    }
}
