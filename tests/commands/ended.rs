//! Fields of hashes that have ended: as if they had never been there, and as in Redis 8.0.

use std::time::Duration;

use persist_tools::host;
use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::{Server, wait_until};

use crate::together::server;

/// Of hashes with fields that ended, `f1` and so on, and others, `g1` and so on.
const QUESTIONS: &[&str] = &[
    "HGETALL k",
    "HKEYS k",
    "HVALS k",
    "HSCAN k 0 COUNT 10000",
    "HSCAN k 0 MATCH f* COUNT 10000",
    "HRANDFIELD k 10000",
    "HRANDFIELD k 10000 WITHVALUES",
    "HGET k f1",
    "HMGET k f1 f2 g1",
    "HEXISTS k f1",
    "HSTRLEN k f1",
    "HTTL k FIELDS 2 f1 g1",
    "HPEXPIRETIME k FIELDS 2 f1 g1",
    "HPERSIST k FIELDS 2 f1 g1",
    "HINCRBY k f2 1",
    "HINCRBYFLOAT k f2 1",
    "HSETNX k f3 7",
    "HGETDEL k FIELDS 2 f1 g1",
    "HGETEX k PERSIST FIELDS 2 f1 g1",
    "HSETEX k FXX FIELDS 1 f1 v",
    "HSETEX k FNX FIELDS 2 f1 v f2 v",
];

/// Until Redis removes a field in the background, these find it: HEXPIRE even gives it back.
const NOT_SEEN: &[&str] = &[
    "HDEL k f1 g1",
    "HSET k f1 v f2 v g1 v",
    "HEXPIRE k 100 FIELDS 2 f1 g1",
];

/// These count what wasn't removed yet.
const COUNTS: &[&str] = &[
    "HLEN k",
    "EXISTS k",
    "TYPE k",
    "TTL k",
    "TOUCH k",
    "RENAME k k2",
    "DEL k",
    "COPY k k2",
];

struct Hash {
    ended: usize,
    alive: usize,
    /// Whether all that ended is to be removed before the question.
    removed: bool,
}

/// What a server says to a question about such a hash, sorted.
fn ask(client: &mut RawClient, prefix: &str, hash: &Hash, question: &str) -> Vec<String> {
    let mut say = |line: &str| client.words(&format!("{prefix}{line}")).unwrap();
    say("FLUSHALL");
    let fields = (1..=hash.ended).map(|n| format!("f{n}"));
    let fields: Vec<String> = fields
        .chain((1..=hash.alive).map(|n| format!("g{n}")))
        .collect();
    if !fields.is_empty() {
        say(&format!("HSET k {} 1", fields.join(" 1 ")));
    }
    if hash.ended > 0 {
        let fields = fields[..hash.ended].join(" ");
        say(&format!("HPEXPIRE k 1 FIELDS {} {fields}", hash.ended));
        std::thread::sleep(Duration::from_millis(3));
    }
    if hash.removed {
        wait_until("they are removed", Duration::from_secs(30), || {
            Ok(say("HLEN k") == Resp::Int(hash.alive as i64))
        })
        .unwrap();
    }
    let mut words = leaves(say(question));
    words.sort();
    words
}

fn leaves(reply: Resp) -> Vec<String> {
    match reply {
        Resp::Array(items) => items.into_iter().flat_map(leaves).collect(),
        other => vec![other.to_string().replace("persist.", "")],
    }
}

#[test]
fn ended_fields_are_seen_by_no_command() {
    let ours = server();
    let mut ours = ours.raw().unwrap();
    let host = host::reference((8, 0)).ok();
    let host = host.map(|binary| Server::builder().binary(binary).start().unwrap());
    let mut host = host.as_ref().map(|server| server.raw().unwrap());
    for (ended, alive) in [(3, 2), (3, 0), (300, 300), (700, 0)] {
        let never = Hash {
            ended: 0,
            alive,
            removed: false,
        };
        for removed in [false, true] {
            let hash = Hash {
                ended,
                alive,
                removed,
            };
            // A few are removed at the first look.
            let counts = if removed || ended < 64 { COUNTS } else { &[] };
            for question in QUESTIONS.iter().chain(NOT_SEEN).chain(counts) {
                let said = ask(&mut ours, "PERSIST.", &hash, question);
                let wanted = ask(&mut ours, "PERSIST.", &never, question);
                let about = format!("{ended} ended, {alive} not, removed: {removed}, {question}");
                assert_eq!(said, wanted, "{about}");
                let Some(host) = &mut host else { continue };
                if removed || QUESTIONS.contains(question) {
                    assert_eq!(said, ask(host, "", &hash, question), "as the host: {about}");
                }
            }
        }
    }
}
