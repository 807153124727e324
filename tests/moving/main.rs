//! PERSIST.ADOPT and PERSIST.RELEASE: keys move between the host's keyspace and the durable one.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod changes;
mod ends;
mod keys;
mod large;

use std::collections::BTreeMap;
use std::time::Duration;

use persist_tools::contents::{self, Contents};
use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::{Builder, Server, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// Elements of a key that takes many steps.
const MANY: usize = 100_000;

fn builder() -> Builder {
    Server::builder()
        .with_module()
        .config("persist.appendfsync", "always")
}

fn ok() -> Resp {
    Resp::Simple(b"OK".to_vec())
}

fn started() -> Resp {
    Resp::Simple(b"Background moving started".to_vec())
}

fn bulk(text: &str) -> Resp {
    Resp::Bulk(text.as_bytes().to_vec())
}

fn host(server: &Server) -> Contents {
    contents::read(server.port(), "", 16).unwrap()
}

fn durable(server: &Server) -> Contents {
    contents::read(server.port(), "PERSIST.", 16).unwrap()
}

fn finish(server: &Server) {
    wait_until("the end of the move", LIMIT, || {
        Ok(server.persist_info("moving_in_progress")? == "no")
    })
    .unwrap();
}

/// Which way a key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Adopt,
    Release,
}

const WAYS: [Way; 2] = [Way::Adopt, Way::Release];

impl Way {
    fn command(self) -> &'static str {
        match self {
            Way::Adopt => "PERSIST.ADOPT",
            Way::Release => "PERSIST.RELEASE",
        }
    }
    /// What stands in front of commands on the side that a key leaves.
    fn from(self) -> &'static str {
        match self {
            Way::Adopt => "",
            Way::Release => "PERSIST.",
        }
    }
    /// And on the other.
    fn to(self) -> &'static str {
        match self {
            Way::Adopt => "PERSIST.",
            Way::Release => "",
        }
    }
}

/// Fills `key` by `make(i)`, which tells a command's words.
fn fill(client: &mut RawClient, count: usize, make: impl Fn(usize) -> Vec<String>) {
    let commands: Vec<Vec<String>> = (0..count).map(make).collect();
    for part in commands.chunks(1000) {
        for reply in client.pipeline(part).unwrap() {
            assert!(!reply.is_error(), "{reply}");
        }
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// The fields of PERSIST.INFO about moves, as of one moment.
fn moving(client: &mut RawClient) -> BTreeMap<String, String> {
    let text = client.words("PERSIST.INFO moving").unwrap().text().unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// How many elements of the key in work were copied, and how many there are.
fn progress(client: &mut RawClient) -> (u64, u64) {
    let info = moving(client);
    let number = |name: &str| info[name].parse().unwrap();
    (
        number("moving_key_elements_done"),
        number("moving_key_elements_total"),
    )
}

/// Stops a move in the middle of a large key: while writes are paused, it pauses, too. What is sent now runs when
/// [`thaw`] ends that.
fn freeze(client: &mut RawClient) -> (u64, u64) {
    freeze_after(client, 0)
}

/// The same, once so many elements were copied.
fn freeze_after(client: &mut RawClient, least: u64) -> (u64, u64) {
    loop {
        assert_eq!(client.words("CLIENT PAUSE 600000 WRITE").unwrap(), ok());
        let (done, total) = progress(client);
        if done > least && done < total {
            return (done, total);
        }
        assert_ne!(
            moving(client)["moving_in_progress"],
            "no",
            "it ended without a middle"
        );
        thaw(client);
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn thaw(client: &mut RawClient) {
    assert_eq!(client.words("CLIENT UNPAUSE").unwrap(), ok());
}

/// The hidden keys that one side has.
fn hidden(client: &mut RawClient, prefix: &str) -> Vec<String> {
    let keys = client
        .words(&format!("{prefix}KEYS __persist_moving__*"))
        .unwrap();
    keys.into_items()
        .into_iter()
        .filter_map(|key| key.text())
        .collect()
}

fn number(client: &mut RawClient, line: &str) -> i64 {
    match client.words(line).unwrap() {
        Resp::Int(n) => n,
        other => panic!("{line}: {other}"),
    }
}
