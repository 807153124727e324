//! Arguments that nobody means well with: answered as the host answers the same command on its own keyspace, at once, and
//! without taking memory. What would go on for ever (a random member a quintillion times) is left out on both sides.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::Duration;

mod counts;

use counts::NUMBERS;
use persist_engine::base::checksum::crc64;
use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::{Server, wait_until};

/// Far more than an answer takes, far less than what hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// One command on both keyspaces.
struct Both {
    client: RawClient,
    /// Whose own keyspace it is compared with.
    host: RawClient,
}

impl Both {
    fn new(server: &Server) -> Self {
        Both::of(server, server)
    }

    fn of(server: &Server, host: &Server) -> Self {
        let (client, host) = (server.raw().unwrap(), host.raw().unwrap());
        client.set_timeout(Some(LIMIT)).unwrap();
        host.set_timeout(Some(LIMIT)).unwrap();
        Both { client, host }
    }

    /// The host's answer and ours.
    fn ask(&mut self, argv: &[Vec<u8>]) -> (Resp, Resp) {
        let what = || String::from_utf8_lossy(&argv.join(&b' ')).into_owned();
        let host = self.host.command(argv);
        let host = host.unwrap_or_else(|e| panic!("the host at {}: {e}", what()));
        let mut durable = argv.to_vec();
        durable[0].splice(..0, *b"PERSIST.");
        let ours = self.client.command(&durable);
        let ours = ours.unwrap_or_else(|e| panic!("{}: {e}", what()));
        (host, named(ours))
    }

    /// Both answer alike; gives the answer.
    fn same(&mut self, argv: &[Vec<u8>]) -> Resp {
        let (host, ours) = self.ask(argv);
        assert_eq!(ours, host, "{}", shown(argv));
        ours
    }

    fn memory(&mut self) -> u64 {
        let info = self.client.words("INFO memory").unwrap().text().unwrap();
        let line = info.lines().find_map(|l| l.strip_prefix("used_memory:"));
        line.unwrap().parse().unwrap()
    }
}

/// A command's name in an error is the one that it was called by.
fn named(reply: Resp) -> Resp {
    match reply {
        Resp::Error(text) => {
            let text = String::from_utf8_lossy(&text)
                .replace("'persist.", "'")
                .replace("Try PERSIST.", "Try ");
            Resp::Error(text.into_bytes())
        }
        reply => reply,
    }
}

fn shown(argv: &[Vec<u8>]) -> String {
    let words: Vec<_> = argv
        .iter()
        .map(|w| w.iter().take(80).copied().collect::<Vec<u8>>())
        .map(|w| w.escape_ascii().to_string())
        .collect();
    words.join(" ")
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ')
        .map(|word| match word {
            "_" => Vec::new(),
            word => word.as_bytes().to_vec(),
        })
        .collect()
}

/// The longest string, and one byte more, by every command that can make one; live, as the host's setting.
#[test]
fn strings_at_and_over_proto_max_bulk_len() {
    let mut server = Server::builder().with_module().start().unwrap();
    let mut both = Both::new(&server);
    for mb in [1, 2] {
        let line = format!("CONFIG SET proto-max-bulk-len {mb}mb");
        assert_eq!(
            both.client.words(&line).unwrap(),
            Resp::Simple(b"OK".to_vec())
        );
        let most = mb << 20;
        for line in [
            format!("SETRANGE a {} x", most - 1),
            format!("SETRANGE a {most} x"),
            format!("SETRANGE a {} xy", most - 1),
            format!("SETRANGE new {most} x"),
            "APPEND a x".into(),
            "STRLEN a".into(),
            format!("SETBIT b {} 1", most * 8 - 1),
            format!("SETBIT b {} 1", most * 8),
            "APPEND b x".into(),
            format!("BITFIELD c SET u8 {} 1", most * 8 - 8),
            format!("BITFIELD c SET u8 {} 1", most * 8),
            format!("BITFIELD c SET u8 #{most} 1"),
            format!("GETBIT b {}", most * 8),
            "LCS a b LEN".into(),
            "STRLEN b".into(),
            "STRLEN c".into(),
            "EXISTS new".into(),
        ] {
            both.same(&words(&line));
        }
    }
    // What was allowed once is loaded, whatever the setting is then.
    server.set_config("proto-max-bulk-len", "1mb").unwrap();
    server.restart().unwrap();
    let mut both = Both::new(&server);
    let len = both.client.words("PERSIST.STRLEN a").unwrap();
    assert_eq!(len, Resp::Int(2 << 20));
    assert!(both.client.words("PERSIST.APPEND a x").unwrap().is_error());
}

#[test]
fn strings_of_512_mb() {
    let mut server = Server::builder().with_module().start().unwrap();
    let mut both = Both::new(&server);
    let before = both.memory();
    // The host's key is gone before ours comes: one of them is enough at a time.
    let mut one =
        |durable: &str, line: &str| both.client.words(&format!("{durable}{line}")).unwrap();
    let lines = [
        "SETRANGE a 536870912 x",
        "SETRANGE a 9223372036854775807 x",
        "SETBIT a 4294967296 1",
        "BITFIELD a SET u8 4294967296 1",
        "EXISTS a",
        "SETBIT a 4294967295 1",
        "STRLEN a",
        "APPEND a x",
        "SETRANGE a 536870911 xy",
        "SETRANGE a 536870911 x",
        "GETRANGE a 536870910 9223372036854775807",
        "GETRANGE a -9223372036854775808 1",
        "BITPOS a 1",
        "LCS a a",
    ];
    let host: Vec<Resp> = lines.iter().map(|line| one("", line)).collect();
    one("", "DEL a");
    for (line, host) in lines.iter().zip(host) {
        assert_eq!(named(one("PERSIST.", line)), host, "{line}");
    }
    drop(both);
    server.restart().unwrap();
    let mut both = Both::new(&server);
    let len = both.client.words("PERSIST.STRLEN a").unwrap();
    assert_eq!(len, Resp::Int(512 << 20));
    both.client.words("PERSIST.DEL a").unwrap();
    // Freed on a thread of its own.
    wait_until("the memory comes back", LIMIT, || {
        Ok(both.memory() < before + (64 << 20))
    })
    .unwrap();
}

/// Keys and values that look like something else to a file, a log or a shell.
fn odd_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [
        &b""[..],
        b"\0",
        b"a\0b",
        b"\n",
        b"\r\n",
        b"*1\r\n$8\r\nFLUSHALL\r\n",
        b"\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n",
        b"#PG1 ",
        b"\n#PG1 \r\n",
        b"#TS:1\r\n",
        b"../../etc/passwd",
        b"$(reboot) ; %s%n%x",
        b"\xff\xfe\x80",
        "\u{202e}\u{0}".as_bytes(),
    ]
    .map(<[u8]>::to_vec)
    .into();
    keys.push((0..=255).collect());
    for len in [
        63,
        64,
        65,
        255,
        256,
        16_383,
        16_385,
        65_535,
        65_536,
        1 << 20,
        20 << 20,
    ] {
        keys.push(vec![b'k'; len]);
    }
    keys
}

#[test]
fn keys_of_any_bytes_and_length_come_back_from_every_file() {
    let mut server = Server::builder()
        .with_module()
        .config("persist.appendfsync", "always")
        .start()
        .unwrap();
    let keys = odd_keys();
    let command = |name: &str, key: &[u8], rest: &[&[u8]]| -> Vec<Vec<u8>> {
        let mut argv = vec![name.as_bytes().to_vec(), key.to_vec()];
        argv.extend(rest.iter().map(|word| word.to_vec()));
        argv
    };
    let make = |n: usize, key: &[u8]| match n % 6 {
        0 => command("SET", key, &[key]),
        1 => command("HSET", key, &[key, key]),
        2 => command("RPUSH", key, &[key, b"x"]),
        3 => command("SADD", key, &[key]),
        4 => command("ZADD", key, &[b"1", key]),
        _ => command("XADD", key, &[b"1-1", key, key]),
    };
    let look = |n: usize, key: &[u8]| match n % 6 {
        0 => command("GET", key, &[]),
        1 => command("HGETALL", key, &[]),
        2 => command("LRANGE", key, &[b"0", b"-1"]),
        3 => command("SMEMBERS", key, &[]),
        4 => command("ZRANGE", key, &[b"0", b"-1"]),
        _ => command("XRANGE", key, &[b"-", b"+"]),
    };
    let mut both = Both::new(&server);
    let mut replies = Vec::new();
    for turn in 0..6 {
        // Each key is of each kind once, in a database of its own.
        for client in [&mut both.client, &mut both.host] {
            client.words(&format!("SELECT {turn}")).unwrap();
        }
        for (n, key) in keys.iter().enumerate() {
            // The largest is tried as a string and as a hash only.
            if key.len() > 2 << 20 && (n + turn) % 6 > 1 {
                continue;
            }
            both.same(&make(n + turn, key));
            replies.push((turn, n, both.same(&look(n + turn, key))));
        }
    }
    let check = |server: &Server, when: &str| {
        let mut client = server.raw().unwrap();
        for (turn, n, want) in &replies {
            client.words(&format!("SELECT {turn}")).unwrap();
            let mut argv = look(n + turn, &keys[*n]);
            argv[0].splice(..0, *b"PERSIST.");
            let got = client.command(&argv).unwrap();
            assert!(got == *want, "{when}: {}", shown(&argv));
        }
    };
    server.restart().unwrap();
    check(&server, "from the log");
    server
        .words("CONFIG SET persist.aof-use-rdb-preamble no")
        .unwrap();
    server.words("PERSIST.REWRITE").unwrap();
    wait_until("the rewrite", LIMIT, || {
        Ok(server.persist_info("aof_rewrites")? == "1")
    })
    .unwrap();
    server.restart().unwrap();
    check(&server, "from a base of commands");
    server.words("PERSIST.SAVE").unwrap();
    server.kill9().unwrap();
    std::fs::remove_dir_all(server.data_dir().join("persist-aof")).unwrap();
    server.restart().unwrap();
    check(&server, "from the snapshot");
}

/// Transactions, scripts and argument lists as large as the host lets them be.
#[test]
fn nesting_and_long_lists_of_arguments() {
    let server = Server::builder().with_module().start().unwrap();
    let mut both = Both::new(&server);
    // Errors of the host about itself stay what they were with a route.
    let lines = [
        "MULTI", "MULTI", "SET a 1", "WATCH a", "EXEC", "EXEC", "DISCARD",
    ];
    let scripts = [
        "return redis.pcall('MULTI')",
        "return redis.pcall('EVAL', 'return redis.call(\"SET\", KEYS[1], 1)', 1, KEYS[1])",
        "return redis.pcall('EVALSHA', 'x', 0)",
        "return redis.pcall('SET')",
        "return redis.pcall('SET', KEYS[1], {})",
        "return #redis.pcall('MGET', unpack({KEYS[1], KEYS[1]}))",
        "local t = {KEYS[1]} for i = 2, 7000 do t[i] = KEYS[1] end return redis.pcall('EXISTS', unpack(t))",
        "local t = 'x' for i = 1, 50 do t = {t} end return redis.pcall('SET', KEYS[1], cjson.encode(t))",
        "for i = 1, 10000 do redis.call('APPEND', KEYS[1], 'x') end return redis.call('STRLEN', KEYS[1])",
    ];
    let mut answers = Vec::new();
    for route in ["", "a"] {
        let set: [&[u8]; 4] = [b"CONFIG", b"SET", b"persist.route", route.as_bytes()];
        assert!(!both.client.command(&set).unwrap().is_error());
        let mut got: Vec<String> = lines
            .iter()
            .map(|line| both.client.words(line).unwrap().to_string())
            .collect();
        for script in scripts {
            let argv = ["EVAL", script, "1", "a"];
            let reply = both.client.command(&argv).unwrap().to_string();
            // Where in which script, says its name.
            got.push(
                reply
                    .split("script: ")
                    .next()
                    .unwrap_or_default()
                    .replace("persist.", ""),
            );
        }
        answers.push(got);
    }
    for (host, ours) in answers[0].iter().zip(&answers[1]) {
        assert_eq!(ours, host);
    }
    both.client.words("CONFIG SET persist.route \"\"").unwrap();
    both.client.words("PERSIST.FLUSHALL").unwrap();
    both.client.words("FLUSHALL").unwrap();
    // 200,000 arguments, and 100,000 commands in one transaction.
    let list = |name: &str, times: usize, word: &str| -> Vec<Vec<u8>> {
        let mut argv = vec![name.as_bytes().to_vec()];
        argv.extend((0..times).map(|n| format!("{word}{n}").into_bytes()));
        argv
    };
    both.same(&list("MSET", 200_000, "k"));
    both.same(&list("MSET", 200_001, "k"));
    both.same(&list("EXISTS", 200_000, "k"));
    both.same(&list("DEL", 200_000, "k"));
    both.same(&list("SADD", 200_000, "m"));
    both.same(&list("PFADD", 200_000, "p"));
    both.same(&words("EXISTS m0 p0"));
    both.client.words("MULTI").unwrap();
    let incr = vec![vec![b"PERSIST.INCR".to_vec(), b"n".to_vec()]; 100_000];
    both.client.pipeline(&incr).unwrap();
    let replies = both.client.words("EXEC").unwrap().into_items();
    assert_eq!(replies.last(), Some(&Resp::Int(100_000)));
}

/// Patterns whose every star may stand for every length.
#[test]
fn patterns_that_backtrack() {
    let server = Server::builder().with_module().start().unwrap();
    let mut client = server.raw().unwrap();
    client.set_timeout(Some(LIMIT)).unwrap();
    let key = vec![b'a'; 2_000];
    let stars = [b"a*".repeat(20_000), b"b".to_vec()].concat();
    let ask = |client: &mut RawClient, argv: &[&[u8]]| client.command(argv).unwrap();
    ask(&mut client, &[b"PERSIST.SET", &key, b"v"]);
    ask(&mut client, &[b"PERSIST.HSET", b"h", &key, b"v"]);
    let none = Resp::Array(Vec::new());
    assert_eq!(ask(&mut client, &[b"PERSIST.KEYS", &stars]), none);
    let open = [b"[a".repeat(10_000), b"\\".to_vec()].concat();
    assert_eq!(ask(&mut client, &[b"PERSIST.KEYS", &open]), none);
    let scan: [&[u8]; 7] = [
        b"PERSIST.HSCAN",
        b"h",
        b"0",
        b"MATCH",
        &stars,
        b"COUNT",
        b"100",
    ];
    assert_eq!(ask(&mut client, &scan).into_items()[1], none);
    ask(&mut client, &[b"PERSIST.RPUSH", b"l", &key, &key]);
    let sort: [&[u8]; 4] = [b"PERSIST.SORT", b"l", b"BY", &stars];
    assert_eq!(ask(&mut client, &sort).into_items().len(), 2);
    // As a route it is asked with every command.
    let set: [&[u8]; 4] = [b"CONFIG", b"SET", b"persist.route", &stars];
    assert!(!ask(&mut client, &set).is_error());
    assert_eq!(ask(&mut client, &[b"GET", &key]), Resp::NullBulk);
    assert!(!ask(&mut client, &[b"SET", &key, b"cache"]).is_error());
    let told = ask(&mut client, &[b"PERSIST.GET", &key]);
    assert_eq!(told, Resp::Bulk(b"v".to_vec()));
}

/// Values that were made up, under a right checksum: refused or taken, but never believed about their length.
#[test]
fn payloads_that_lie_about_their_length() {
    let server = Server::builder().with_module().start().unwrap();
    let mut both = Both::new(&server);
    for line in [
        "SET s hello",
        "RPUSH l a 12 ccc",
        "SADD t a 12 ccc",
        "SADD ints 1 2 300000",
        "HSET h f v 12 w",
        "ZADD z 1 a 2.5 b",
        "XADD x 1-1 f v",
        "XADD x 2-1 g w",
        "XGROUP CREATE x grp 0",
        "XREADGROUP GROUP grp me COUNT 1 STREAMS x >",
    ] {
        both.same(&words(line));
    }
    let before = both.memory();
    let lengths: [&[u8]; 5] = [
        &[0xff; 10],
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff\xff\xff\xff\x07",
        b"\x80\x80\x80\x80\x10",
        b"\x00",
    ];
    let (mut taken, mut refused) = (0, 0);
    for key in ["s", "l", "t", "ints", "h", "z", "x"] {
        let Resp::Bulk(payload) = both.client.words(&format!("PERSIST.DUMP {key}")).unwrap() else {
            panic!("no payload of {key}");
        };
        // Version and checksum.
        let body = &payload[..payload.len() - 10];
        let version = &payload[body.len()..body.len() + 2];
        for at in 0..=body.len() {
            let cut = (body[..at].to_vec(), &b""[..]);
            let longer = lengths.map(|lie| {
                let rest = body.get(at + 1..).unwrap_or_default();
                ([&body[..at], lie].concat(), rest)
            });
            for (head, rest) in std::iter::once(cut).chain(longer) {
                let mut forged = [&head, rest, version].concat();
                let crc = crc64(&forged);
                forged.extend_from_slice(&crc.to_le_bytes());
                let argv: [&[u8]; 5] = [b"PERSIST.RESTORE", b"forged", b"0", &forged, b"REPLACE"];
                let reply = both.client.command(&argv).unwrap();
                if reply.is_error() {
                    assert_eq!(
                        reply,
                        Resp::Error(b"ERR Bad data format".to_vec()),
                        "{key}, byte {at}"
                    );
                    refused += 1;
                } else {
                    // What was taken can be read.
                    let again = both.client.words("PERSIST.DUMP forged").unwrap();
                    assert!(matches!(again, Resp::Bulk(_)), "{key}, byte {at}: {again}");
                    taken += 1;
                }
            }
        }
        // Without the right checksum nothing of it is looked at.
        for at in 0..payload.len() {
            let mut bad = payload.clone();
            bad[at] ^= 0x40;
            let argv: [&[u8]; 4] = [b"PERSIST.RESTORE", b"bad", b"0", &bad];
            let reply = both.client.command(&argv).unwrap();
            let want = Resp::Error(b"ERR DUMP payload version or checksum are wrong".to_vec());
            assert_eq!(reply, want, "{key}, byte {at}");
        }
    }
    assert!(
        refused > 500 && taken > 0,
        "{refused} refused, {taken} taken"
    );
    let grown = both.memory().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
}

/// The commands about persistence have no counterpart to be compared with.
#[test]
fn engine_commands_take_no_nonsense() {
    let server = Server::builder().with_module().start().unwrap();
    let mut client = server.raw().unwrap();
    client.set_timeout(Some(LIMIT)).unwrap();
    let long = "x".repeat(1 << 20);
    for number in NUMBERS {
        let reply = client.command(&["PERSIST.SYNC", number]).unwrap();
        let sound = number.parse::<f64>().is_ok_and(|n| n >= 0.0);
        let answered = reply == Resp::Int(1);
        assert!(reply.is_error() || answered && sound, "{number}: {reply}");
        for word in ["BGSAVE", "SAVE", "REWRITE", "VERIFY", "LASTSAVE"] {
            let reply = client
                .command(&[&format!("PERSIST.{word}"), *number])
                .unwrap();
            assert!(reply.is_error(), "{word} {number}: {reply}");
        }
    }
    for argv in [
        vec!["PERSIST.HELP", "ACL"],
        vec!["PERSIST.HELP", "ACL", "nobody"],
        vec!["PERSIST.HELP", "ACL", &long],
        vec!["PERSIST.ADOPT"],
        vec!["PERSIST.RELEASE", "a", &long],
        vec!["PERSIST.ADOPT", "a", "b", "c"],
    ] {
        let reply = client.command(&argv).unwrap();
        assert!(reply.is_error(), "{} {}: {reply}", argv[0], argv.len());
        assert!(reply.to_string().len() < 1000, "it is repeated in full");
    }
    assert!(!client.command(&["PERSIST.INFO", &long]).unwrap().is_error());
    assert_eq!(
        client.words("PING").unwrap(),
        Resp::Simple(b"PONG".to_vec())
    );
}
