//! Places: GEOADD, GEODIST, GEOHASH, GEOPOS, and searches among them.

mod options;
mod search;
#[cfg(test)]
mod tests;

use super::spec::{R, WM};
use super::zset::add::zadd;
use super::{CommandError, Cx, Group, KeyAccess, KeySpec, Reply, Spec, args};
use crate::base::number;
use crate::data::geo::{self, LATITUDE_MAX, LONGITUDE_MAX, Place};
use crate::data::value::Kind;
use crate::data::zset::View;

const STORE: KeySpec = KeySpec::behind(c"STORE", 6, KeyAccess::Overwrite);
const STOREDIST: KeySpec = KeySpec::behind(c"STOREDIST", 6, KeyAccess::Overwrite);
const STORE_5: KeySpec = KeySpec::behind(c"STORE", 5, KeyAccess::Overwrite);
const STOREDIST_5: KeySpec = KeySpec::behind(c"STOREDIST", 5, KeyAccess::Overwrite);
const ITEM_OPTIONS: &str = "O(N+log(M)) where N is the number of elements inside the bounding box of the searched area and M is the number of elements found.";

/// Two places in Sicily, for examples.
const SICILY: (&str, &str) = (
    "GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "2",
);

/// The commands on places.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "GEOADD",
        arity: -5,
        flags: WM,
        keys: &[KeySpec::one(1, KeyAccess::Update)],
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        summary: "Adds one or more members with their places to a sorted set. Creates the key if it doesn't exist.",
        syntax: "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
        examples: &[
            SICILY,
            ("GEOADD s CH 13.4 38.1 Palermo", "1"),
            ("ZSCORE s Catania", "3479447370796909"),
            (
                "GEOADD s 181 38 x",
                "-ERR invalid longitude,latitude pair 181.000000,38.000000",
            ),
            ("GEOADD s a 38 x", "-ERR value is not a valid float"),
            ("GEOADD s NX XX 1 2 x", "-ERR syntax error"),
        ],
        run: geoadd,
    },
    Spec {
        name: "GEODIST",
        arity: -4,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(1)",
        summary: "Returns the distance between two members.",
        syntax: "key member1 member2 [M | KM | FT | MI]",
        examples: &[
            SICILY,
            ("GEODIST s Palermo Catania", "\"166274.1516\""),
            ("GEODIST s Palermo Catania km", "\"166.2742\""),
            ("GEODIST s Palermo none", "nil"),
            (
                "GEODIST s Palermo Catania yd",
                "-ERR unsupported unit provided. please use M, KM, FT, MI",
            ),
        ],
        run: geodist,
    },
    Spec {
        name: "GEOHASH",
        arity: -2,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(1) for each member requested.",
        summary: "Returns the places of members as geohash strings.",
        syntax: "key [member [member ...]]",
        examples: &[
            SICILY,
            (
                "GEOHASH s Palermo none Catania",
                r#"["sqc8b49rny0" nil "sqdtr74hyu0"]"#,
            ),
        ],
        run: geohash,
    },
    Spec {
        name: "GEOPOS",
        arity: -2,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(1) for each member requested.",
        summary: "Returns the longitude and latitude of members.",
        syntax: "key [member [member ...]]",
        examples: &[
            SICILY,
            (
                "GEOPOS s Palermo none",
                r#"[["13.36138933897018433" "38.11555639549629859"] nil]"#,
            ),
        ],
        run: geopos,
    },
    Spec {
        name: "GEORADIUS",
        arity: -6,
        flags: WM,
        keys: &[KeySpec::one(1, KeyAccess::Read), STORE, STOREDIST],
        group: Group::Geo,
        since: "3.2.0",
        complexity: ITEM_OPTIONS,
        summary: "Finds members within a distance of a place, and returns or stores them.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key] [STOREDIST key]",
        examples: &[
            SICILY,
            (
                "GEORADIUS s 15 37 200 km WITHDIST DESC",
                r#"[["Palermo" "190.4424"] ["Catania" "56.4413"]]"#,
            ),
            ("GEORADIUS s 15 37 100 km STORE d", "1"),
            ("GEORADIUS s 15 37 100 km STORE d STOREDIST e", "1"),
            (
                "GEORADIUS s 15 37 100 km STORE d STOREDIST e STORE f",
                "-ERR syntax error",
            ),
            ("ZCARD d", "1"),
            (
                "GEORADIUS s 15 37 100 km STORE d WITHDIST",
                "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ),
            ("GEORADIUS s 15 37 x km", "-ERR need numeric radius"),
            ("GEORADIUS s 15 37 -1 km", "-ERR radius cannot be negative"),
        ],
        run: |cx, argv| search::run(cx, argv, &options::GEORADIUS),
    },
    Spec {
        name: "GEORADIUS_RO",
        arity: -6,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Geo,
        since: "3.2.10",
        complexity: ITEM_OPTIONS,
        summary: "Finds members within a distance of a place.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        examples: &[
            SICILY,
            ("GEORADIUS_RO s 15 37 100 km", r#"["Catania"]"#),
            ("GEORADIUS_RO s 15 37 100 km STORE d", "-ERR syntax error"),
        ],
        run: |cx, argv| search::run(cx, argv, &options::GEORADIUS_RO),
    },
    Spec {
        name: "GEORADIUSBYMEMBER",
        arity: -5,
        flags: WM,
        keys: &[KeySpec::one(1, KeyAccess::Read), STORE_5, STOREDIST_5],
        group: Group::Geo,
        since: "3.2.0",
        complexity: ITEM_OPTIONS,
        summary: "Finds members within a distance of another one, and returns or stores them.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key] [STOREDIST key]",
        examples: &[
            SICILY,
            (
                "GEORADIUSBYMEMBER s Palermo 200 km ASC",
                r#"["Palermo" "Catania"]"#,
            ),
            ("GEORADIUSBYMEMBER s Palermo 200 km STOREDIST d", "2"),
            ("ZSCORE d Palermo", "0"),
            (
                "GEORADIUSBYMEMBER s nobody 1 km",
                "-ERR could not decode requested zset member",
            ),
        ],
        run: |cx, argv| search::run(cx, argv, &options::GEORADIUSBYMEMBER),
    },
    Spec {
        name: "GEORADIUSBYMEMBER_RO",
        arity: -5,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Geo,
        since: "3.2.10",
        complexity: ITEM_OPTIONS,
        summary: "Finds members within a distance of another one.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        examples: &[
            SICILY,
            (
                "GEORADIUSBYMEMBER_RO s Palermo 100 mi COUNT 1",
                r#"["Palermo"]"#,
            ),
        ],
        run: |cx, argv| search::run(cx, argv, &options::GEORADIUSBYMEMBER_RO),
    },
    Spec {
        name: "GEOSEARCH",
        arity: -7,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Geo,
        since: "6.2.0",
        complexity: ITEM_OPTIONS,
        summary: "Finds members in a circle or box around a place or a member.",
        syntax: "key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        examples: &[
            SICILY,
            (
                "GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHDIST WITHHASH",
                r#"[["Catania" "56.4413" 3479447370796909] ["Palermo" "190.4424" 3479099956230698]]"#,
            ),
            (
                "GEOSEARCH s FROMMEMBER Catania BYRADIUS 1 km WITHCOORD",
                r#"[["Catania" ["15.08726745843887329" "37.50266842333162032"]]]"#,
            ),
            ("GEOSEARCH none FROMMEMBER x BYRADIUS 1 km", "[]"),
            (
                "GEOSEARCH s FROMMEMBER Catania BYRADIUS 1 km ANY",
                "-ERR the ANY argument requires COUNT argument",
            ),
        ],
        run: |cx, argv| search::run(cx, argv, &options::GEOSEARCH),
    },
    Spec {
        name: "GEOSEARCHSTORE",
        arity: -8,
        flags: WM,
        keys: &[
            KeySpec::one(1, KeyAccess::Overwrite),
            KeySpec::one(2, KeyAccess::Read),
        ],
        group: Group::Geo,
        since: "6.2.0",
        complexity: ITEM_OPTIONS,
        summary: "Stores members in a circle or box around a place or a member, with their places or distances.",
        syntax: "destination source <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
        examples: &[
            SICILY,
            ("GEOSEARCHSTORE d s FROMLONLAT 15 37 BYRADIUS 100 km", "1"),
            ("ZSCORE d Catania", "3479447370796909"),
            ("GEOSEARCHSTORE d s FROMLONLAT 0 0 BYRADIUS 1 m", "0"),
            ("EXISTS d", "0"),
        ],
        run: |cx, argv| search::run(cx, argv, &options::GEOSEARCHSTORE),
    },
];

/// A place from two arguments.
///
/// # Errors
/// No number, or no such place.
fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, CommandError> {
    let place = Place {
        longitude: args::float(longitude)?,
        latitude: args::float(latitude)?,
    };
    let valid = |n: f64, max: f64| (-max..=max).contains(&n);
    if !valid(place.longitude, LONGITUDE_MAX) || !valid(place.latitude, LATITUDE_MAX) {
        let (x, y) = (place.longitude, place.latitude);
        return Err(CommandError::Text(
            format!("ERR invalid longitude,latitude pair {x:.6},{y:.6}").into(),
        ));
    }
    Ok(place)
}

/// Metres in a unit.
///
/// # Errors
/// No such unit.
fn metres_of(unit: &[u8]) -> Result<f64, CommandError> {
    let units = [("M", 1.0), ("KM", 1000.0), ("FT", 0.3048), ("MI", 1609.34)];
    units
        .into_iter()
        .find_map(|(name, metres)| args::is(unit, name).then_some(metres))
        .ok_or(CommandError::text(
            "ERR unsupported unit provided. please use M, KM, FT, MI",
        ))
}

fn geoadd(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let is_option = |arg: &&&[u8]| ["NX", "XX", "CH"].iter().any(|word| args::is(arg, word));
    let options = argv[2..].iter().take_while(is_option).count();
    let has = |word: &str| argv[2..2 + options].iter().any(|arg| args::is(arg, word));
    let items = &argv[2 + options..];
    if !items.len().is_multiple_of(3) || (has("NX") && has("XX")) {
        return Err(CommandError::Syntax);
    }
    let mut scores = Vec::with_capacity(items.len() / 3);
    for item in items.chunks_exact(3) {
        let mut text = Vec::new();
        number::push_i64(&mut text, geo::score(place(item[0], item[1])?) as i64);
        scores.push(text);
    }
    let mut words = argv[..2 + options].to_vec();
    for (score, item) in scores.iter().zip(items.chunks_exact(3)) {
        words.extend([score, item[2]]);
    }
    zadd(cx, &words)
}

/// The scores of `members` under `key`.
///
/// # Errors
/// Another kind of value.
fn scores(
    cx: &mut Cx<'_>,
    key: &[u8],
    members: &[&[u8]],
) -> Result<Vec<Option<f64>>, CommandError> {
    let found = cx.ks.read(key, Kind::Zset)?;
    let score = |member: &&[u8]| View::of(found?).score_of(member);
    Ok(members.iter().map(score).collect())
}

fn geodist(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let unit = match argv[4..] {
        [] => 1.0,
        [unit] => metres_of(unit)?,
        _ => return Err(CommandError::Syntax),
    };
    match scores(cx, argv[1], &argv[2..4])?[..] {
        [Some(a), Some(b)] => {
            let metres = geo::distance(geo::place(a), geo::place(b));
            reply_distance(cx.reply, metres / unit);
        }
        _ => cx.reply.null(),
    }
    Ok(())
}

fn geohash(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let scores = scores(cx, argv[1], &argv[2..])?;
    cx.reply.array(scores.len());
    for score in scores {
        match score {
            Some(score) => cx.reply.bulk(&geo::geohash(score)),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn geopos(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let scores = scores(cx, argv[1], &argv[2..])?;
    cx.reply.array(scores.len());
    for score in scores {
        match score {
            Some(score) => reply_place(cx.reply, geo::place(score)),
            None => cx.reply.null_array(),
        }
    }
    Ok(())
}

fn reply_distance(reply: &mut dyn Reply, distance: f64) {
    reply.bulk(format!("{distance:.4}").as_bytes());
}

/// Longitude and latitude; in RESP2 with 17 decimals, as many as aren't zero.
fn reply_place(reply: &mut dyn Reply, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        if reply.is_resp3() {
            reply.double(degrees);
        } else {
            let text = format!("{degrees:.17}");
            reply.bulk(text.trim_end_matches('0').trim_end_matches('.').as_bytes());
        }
    }
}
