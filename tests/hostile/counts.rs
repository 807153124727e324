//! Counts, lengths and offsets beyond every limit.

use persist_tools::host;
use persist_tools::raw::Resp;
use persist_tools::server::Server;

use super::{Both, shown, words};

/// Numbers at and over every limit, and what only looks like one.
pub const NUMBERS: &[&str] = &[
    "-9223372036854775809",
    "-9223372036854775808",
    "-9223372036854775807",
    "-4611686018427387905",
    "-4611686018427387904",
    "-4294967297",
    "-2147483649",
    "-1",
    "-0",
    "0",
    "1",
    "2147483648",
    "4294967295",
    "4294967296",
    "4611686018427387904",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
    "+1",
    "01",
    "1.5",
    "1e3",
    "1e400",
    "0x10",
    "nan",
    "-inf",
    "one",
    "",
];

/// `_` is an empty word, `#` the number. The keys are those of [`fill`].
const COUNTS: &[&str] = &[
    "SETRANGE s # x",
    "SETRANGE s # _",
    "GETRANGE s # 2",
    "GETRANGE s 1 #",
    "SUBSTR s # #",
    "INCRBY n #",
    "DECRBY n #",
    "INCRBYFLOAT n #",
    "SET s v EX #",
    "SET s v PX #",
    "SET s v EXAT #",
    "SET s v PXAT #",
    "SETEX s # v",
    "PSETEX s # v",
    "GETEX s PX #",
    "GETEX s EXAT #",
    "EXPIRE s #",
    "PEXPIRE s #",
    "EXPIREAT s #",
    "PEXPIREAT s # GT",
    "LCS s s MINMATCHLEN # IDX",
    "SETBIT b # 1",
    "SETBIT b 1 #",
    "GETBIT b #",
    "BITCOUNT b # -1",
    "BITCOUNT b 0 # BIT",
    "BITPOS b 1 # -1",
    "BITPOS b 0 0 # BIT",
    "BITFIELD b GET u8 #",
    "BITFIELD b GET i64 ##",
    "BITFIELD b SET u8 # 1",
    "BITFIELD b SET i64 0 #",
    "BITFIELD b INCRBY i64 0 #",
    "BITFIELD b OVERFLOW FAIL INCRBY u63 0 #",
    "BITFIELD b GET u# 0",
    "BITFIELD b GET i# 0",
    "BITFIELD_RO b GET u8 #",
    "COPY s copied DB #",
    "MOVE s #",
    "SWAPDB # #",
    "MEMORY USAGE none SAMPLES #",
    "LINDEX l #",
    "LSET l # v",
    "LRANGE l # 2",
    "LRANGE l 1 #",
    "LREM l # absent",
    "LPOS l a RANK #",
    "LPOS l a COUNT #",
    "LPOS l a MAXLEN #",
    "LPOP none #",
    "RPOP none #",
    "LPOP gone #",
    "LMPOP 1 gone2 LEFT COUNT #",
    "LMPOP # l LEFT",
    "BLMPOP # 1 l LEFT COUNT 1",
    "BLMPOP 0 # l LEFT",
    "BLMPOP 0 1 l RIGHT COUNT #",
    "BLPOP l #",
    "BLMOVE l l LEFT RIGHT #",
    "LTRIM l # 100",
    "LTRIM l 0 #",
    "SINTERCARD # t t",
    "SINTERCARD 1 t LIMIT #",
    "SPOP none #",
    "SPOP gone3 #",
    "HINCRBY h n #",
    "HINCRBYFLOAT h n #",
    "ZADD z # m",
    "ZADD z INCR # m",
    "ZINCRBY z # m",
    "ZCOUNT z # +inf",
    "ZRANGE z # 2",
    "ZRANGE z 1 #",
    "ZRANGE z -inf +inf BYSCORE LIMIT # 2",
    "ZRANGE z - + BYLEX LIMIT 0 #",
    "ZRANGEBYSCORE z -inf # LIMIT 0 #",
    "ZREVRANGEBYSCORE z +inf -inf LIMIT # #",
    "ZRANGESTORE zs z # #",
    "ZREVRANGE z # #",
    "ZPOPMIN none #",
    "ZPOPMAX gone4 #",
    "ZMPOP # z MIN",
    "ZMPOP 1 gone5 MAX COUNT #",
    "BZMPOP # 1 gone5 MIN COUNT 1",
    "BZPOPMIN z #",
    "ZREMRANGEBYRANK none # #",
    "ZUNION # z z",
    "ZINTER # z z WITHSCORES",
    "ZDIFF # z z",
    "ZUNION 1 z WEIGHTS #",
    "ZINTERCARD # z z",
    "ZINTERCARD 1 z LIMIT #",
    "ZUNIONSTORE zs # z",
    "GEOADD g # 1 m",
    "GEOADD g 1 # m",
    "GEOSEARCH g FROMLONLAT 1 1 BYRADIUS 1 km COUNT #",
    "GEOSEARCH g FROMLONLAT 1 1 BYRADIUS # km",
    "GEOSEARCH g FROMLONLAT 1 1 BYBOX # # m ASC",
    "GEORADIUS g 1 1 # m",
    "XADD x MAXLEN # NOMKSTREAM 7-* f v",
    "XADD x MAXLEN ~ # LIMIT 10 7-* f v",
    "XADD x MAXLEN ~ 100 LIMIT # 7-* f v",
    "XADD x MINID ~ # LIMIT # 7-* f v",
    "XADD none #-1 f v",
    "XADD none 1-# f v",
    "XTRIM x MAXLEN #",
    "XTRIM x MAXLEN ~ 1 LIMIT #",
    "XTRIM x MINID #",
    "XRANGE x # +",
    "XRANGE x - + COUNT #",
    "XREVRANGE x + - COUNT #",
    "XREAD COUNT # STREAMS x 0",
    "XREAD COUNT 1 STREAMS x #",
    "XREADGROUP GROUP grp me COUNT # STREAMS x 0",
    "XGROUP CREATE x other # ENTRIESREAD #",
    "XPENDING x grp - + #",
    "XPENDING x grp IDLE # - + 1",
    "XCLAIM x grp me # 1-1",
    "XCLAIM x grp me 0 1-1 RETRYCOUNT #",
    "XAUTOCLAIM x grp me # 0",
    "XAUTOCLAIM x grp me 0 0 COUNT #",
    "XSETID x # ENTRIESADDED #",
    "XINFO STREAM x COUNT #",
    "SORT l LIMIT # 2 ALPHA",
    "SORT l LIMIT 0 # ALPHA",
    "SORT_RO l LIMIT # # ALPHA",
];

/// As [`COUNTS`], but the order of what comes is each table's own.
const UNORDERED: &[&str] = &[
    "SRANDMEMBER t #",
    "HRANDFIELD h # WITHVALUES",
    "HRANDFIELD h #",
    "ZRANDMEMBER z #",
    "ZRANDMEMBER z # WITHSCORES",
    "SSCAN t 0 COUNT #",
    "HSCAN h 0 COUNT #",
    "ZSCAN z 0 COUNT #",
];

/// As [`COUNTS`], but a cursor that isn't one of this table may find anything: only errors are the same.
const CURSORS: &[&str] = &[
    "SCAN 0 COUNT #",
    "SCAN #",
    "SSCAN t #",
    "HSCAN h #",
    "ZSCAN z #",
];

/// Where the host's own arithmetic overflows (by chance it takes one bit or element for another), and ours refuses.
const OVERFLOWS: &[(&str, &str)] = &[
    (
        "BITFIELD b GET i64 ##",
        "-ERR bit offset is not an integer or out of range",
    ),
    ("LPOS l a RANK #", "-ERR value is out of range"),
];

/// `line` with `number` in the place of each `#`; `##` is a literal one before it.
fn with_number(line: &str, number: &str) -> Vec<Vec<u8>> {
    let fill = |word: &str| match word {
        "##" => format!("#{number}"),
        word => word.replace('#', number),
    };
    line.split(' ')
        .map(|word| match word {
            "_" => Vec::new(),
            word => fill(word).into_bytes(),
        })
        .collect()
}

/// The keys that commands work on, on both sides alike.
fn fill(both: &mut Both) {
    for line in [
        "FLUSHDB",
        "SET s hello-world",
        "SET n 5",
        "SET b abcdefgh",
        "RPUSH l a b c d e f g h",
        "RPUSH gone a b",
        "RPUSH gone2 a b",
        "SADD t 1 2 3",
        "SADD gone3 m",
        "HSET h f v g w n 1",
        "ZADD z 1 a 2 b 3 c",
        "ZADD gone4 1 a",
        "ZADD gone5 1 a",
        "GEOADD g 1 1 a 2 2 b",
        "XADD x 1-1 f v",
        "XADD x 2-1 f v",
        "XADD x 3-1 f v",
        "XGROUP CREATE x grp 0",
        "XREADGROUP GROUP grp me COUNT 2 STREAMS x >",
    ] {
        both.same(&words(line));
    }
}

/// Arrays without the order of what is in them.
fn unordered(reply: Resp) -> Resp {
    match reply {
        Resp::Array(items) => {
            let mut items: Vec<Resp> = items.into_iter().map(unordered).collect();
            items.sort_by_key(Resp::encode);
            Resp::Array(items)
        }
        reply => reply,
    }
}

/// With numbers as one function prints them: the hosts' differ.
fn spelled(reply: &Resp) -> Resp {
    match reply {
        Resp::Bulk(text) => {
            let number = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
            match number.filter(|n: &f64| n.is_finite()) {
                Some(n) => Resp::Bulk(format!("{n:e}").into_bytes()),
                None => reply.clone(),
            }
        }
        Resp::Array(items) => Resp::Array(items.iter().map(spelled).collect()),
        reply => reply.clone(),
    }
}

/// XPENDING's lines without how long the entries have been idle.
fn idle_for_no_time(reply: &Resp) -> Resp {
    match reply {
        Resp::Array(items) if items.len() == 4 && matches!(items[2], Resp::Int(_)) => {
            let mut items = items.clone();
            items[2] = Resp::Int(0);
            Resp::Array(items)
        }
        Resp::Array(items) => Resp::Array(items.iter().map(idle_for_no_time).collect()),
        reply => reply.clone(),
    }
}

#[test]
fn counts_lengths_and_offsets_beyond_every_limit() {
    // Short strings reach the limit, too.
    let builder = || Server::builder().config("proto-max-bulk-len", "1mb");
    let server = builder().with_module().start().unwrap();
    // Durable commands are those of 7.0 on every host.
    let same = host::host().unwrap();
    let plain = (same.valkey || same.version != (7, 0)).then(|| {
        let binary = host::reference((7, 0)).unwrap();
        builder().binary(binary).start().unwrap()
    });
    let mut both = Both::of(&server, plain.as_ref().unwrap_or(&server));
    let mut wrong = Vec::new();
    for line in COUNTS.iter().chain(UNORDERED).chain(CURSORS) {
        fill(&mut both);
        let before = both.memory();
        for number in NUMBERS {
            // Nobody is to wait for ever, and nothing to end meanwhile.
            if ["POP", "EX", "PX"].iter().any(|word| line.contains(word)) {
                fill(&mut both);
            }
            let cursor = CURSORS.contains(line);
            // A negative count that is no error goes on for as long as it says.
            let random = line.contains("RAND");
            // Whether an entry has been idle for a ms already is chance.
            let of_idle = ["CLAIM x grp me #", "IDLE #"]
                .iter()
                .any(|words| line.contains(words));
            let endless = random && number.starts_with('-') && number.len() > 2;
            let refused = number.ends_with("5808") || number.ends_with("5809");
            let doubled = line.contains("WITH") && number.ends_with("7904");
            if endless && !refused && !doubled {
                continue;
            }
            // What is random is compared by how much it is.
            let argv = with_number(line, number);
            let (host, ours) = both.ask(&argv);
            let alike = if cursor {
                ours.is_error() == host.is_error() && (!host.is_error() || ours == host)
            } else if matches!(*number, "-1" | "1") && (random || of_idle) {
                ours.is_error() == host.is_error()
            } else if UNORDERED.contains(line) {
                unordered(ours.clone()) == unordered(host.clone())
            } else {
                let overflow = OVERFLOWS.iter().any(|(l, text)| {
                    l == line && number.len() > 18 && ours.to_string().starts_with(text)
                });
                let [ours, host] = [&ours, &host].map(|reply| idle_for_no_time(&spelled(reply)));
                ours == host || overflow
            };
            if !alike {
                wrong.push(format!("{}\n  host: {host}\n  ours: {ours}", shown(&argv)));
            }
        }
        let grown = both.memory().saturating_sub(before);
        assert!(grown < 32 << 20, "{line}: {grown} bytes more");
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} differ",
        wrong.join("\n"),
        wrong.len()
    );
}
