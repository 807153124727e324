//! The durable keyspace's commands against the same commands on a host's own keyspace.
//!
//! `COMMANDS` says how many random commands each family gets (3,000 if not said), `SEED` where they begin.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod argv;
mod asked;
mod described;
mod differential;
mod ended;
mod times;
mod together;
mod waiting;

use argv::{Family, Maker};
use differential::Differential;
use persist_tools::raw::Resp;
use persist_tools::server::Server;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn differ(family: Family) {
    let seed = number("SEED", 1);
    let mut run = Differential::new(family, seed).unwrap();
    if let Err(error) = run.run(number("COMMANDS", 3_000)) {
        panic!("{error}");
    }
    if let Err(error) = run.persistence() {
        panic!("{error}\n{}", run.server.log_tail(20));
    }
}

/// With every key routed, no command finds a way into the host's own keyspace.
fn routed(family: Family) {
    let server = Server::builder()
        .with_module()
        .config("persist.route", "*")
        .start()
        .unwrap();
    let mut client = server.raw().unwrap();
    let mut maker = Maker::new(family, number("SEED", 1));
    for _ in 0..number("COMMANDS", 1_000).min(20_000) {
        let argv = maker.next();
        client.command(&argv).unwrap();
        let keyspace = client.words("INFO keyspace").unwrap().text().unwrap();
        assert!(!keyspace.contains("db"), "{argv:?}: {keyspace}");
    }
    assert_eq!(client.words("DBSIZE").unwrap(), Resp::Int(0));
}

#[test]
fn routed_commands_leave_the_host_alone() {
    for family in [
        Family::Strings,
        Family::Keys,
        Family::Lists,
        Family::Hashes,
        Family::Sets,
        Family::SortedSets,
    ] {
        routed(family);
    }
}

#[test]
fn strings() {
    differ(Family::Strings);
}

#[test]
fn keys() {
    differ(Family::Keys);
}

#[test]
fn lists() {
    differ(Family::Lists);
}

#[test]
fn hashes() {
    differ(Family::Hashes);
}

#[test]
fn sets() {
    differ(Family::Sets);
}

#[test]
fn streams() {
    differ(Family::Streams);
}

#[test]
fn sorted_sets() {
    differ(Family::SortedSets);
}

#[test]
fn bitmaps() {
    differ(Family::Bitmaps);
}

#[test]
fn sorting() {
    differ(Family::Sorting);
}

#[test]
fn hyperloglogs() {
    differ(Family::HyperLogLogs);
}

#[test]
fn places() {
    differ(Family::Places);
}

/// Compared with Redis 8.0, if `make hosts` has fetched it. Without, there is nothing to compare with, and only persistence
/// is tested.
#[test]
fn hash_fields() {
    if differential::has_reference(Family::HashFields) {
        return differ(Family::HashFields);
    }
    let mut run = Differential::new(Family::HashFields, number("SEED", 1)).unwrap();
    if let Err(error) = run.persistence_alone(number("COMMANDS", 3_000)) {
        panic!("{error}\n{}", run.server.log_tail(20));
    }
}
