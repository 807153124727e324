//! Searches against a look at every member, and what is logged and told.

use super::super::reply::Node;
use super::super::testing::{Bench, check_replay};
use crate::base::random::{Random, SeededRandom};
use crate::data::geo::{Place, distance, place};

#[test]
fn searches_find_what_is_near() {
    let mut rng = SeededRandom::new(4);
    for entries in [0, 4096] {
        let mut b = Bench::default();
        b.limits.zset_max_listpack_entries = entries;
        for n in 0..600 {
            let (x, y) = (rng.below(40_000), rng.below(40_000));
            let (x, y) = (x as f64 / 1e3, 30.0 + y as f64 / 1e3);
            assert_eq!(b.run(&format!("GEOADD g {x} {y} m{n}")), "1");
        }
        for _ in 0..200 {
            let center = Place {
                longitude: rng.below(40) as f64 + 0.3,
                latitude: 30.0 + rng.below(40) as f64 + 0.7,
            };
            let radius = (1u64 << rng.below(22)) as f64;
            let line = format!(
                "GEOSEARCH g FROMLONLAT {} {} BYRADIUS {radius} m WITHHASH ASC",
                center.longitude, center.latitude
            );
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let Node::Array(found) = b.argv(&words) else {
                panic!("{line}")
            };
            let Node::Array(all) = b.argv(&[b"ZRANGE", b"g", b"0", b"-1", b"WITHSCORES"]) else {
                panic!()
            };
            let near = all.chunks(2).filter(|pair| {
                let Node::Double(score) = pair[1] else {
                    panic!("{:?}", pair[1])
                };
                distance(center, place(score)) <= radius
            });
            assert_eq!(found.len(), near.count(), "{line}");
        }
        check_replay(&b);
    }
}

#[test]
fn what_is_logged_and_told() {
    let mut b = Bench::default();
    for line in [
        "GEOADD s 13.361389 38.115556 P",
        "SET d x",
        "GEOSEARCHSTORE d s FROMMEMBER P BYRADIUS 1 m",
        "GEORADIUSBYMEMBER s P 1 m STOREDIST d",
        "GEORADIUS s 0 0 1 m STORE d",
        "GEORADIUS none 0 0 1 m STORE d",
    ] {
        b.run(line);
    }
    let logged: Vec<String> = b
        .trace
        .effects
        .iter()
        .map(|(_, words)| words.join(&b' ').escape_ascii().to_string())
        .collect();
    assert_eq!(
        logged,
        [
            "ZADD s 3479099956230698 P",
            "SET d x",
            "DEL d",
            "ZADD d 3479099956230698 P",
            "DEL d",
            "ZADD d 0 P",
            "DEL d"
        ]
    );
    assert_eq!(
        b.trace.events,
        [
            "Zset:zadd:s",
            "String:set:d",
            "Zset:geosearchstore:d",
            "Zset:georadiusstore:d",
            "Generic:del:d"
        ]
    );
    check_replay(&b);
}

#[test]
fn places_in_resp3_are_doubles() {
    let mut b = Bench::default();
    b.run("GEOADD s 0.5 0.5 m");
    b.resp3 = true;
    assert_eq!(
        b.run("GEOPOS s m"),
        "[[0.49999862909317017 0.5000003632517789]]"
    );
}
