//! Writes the first inputs of each target, made as the module makes its files: `cargo run --example seeds -- DIR`.

use std::fs;
use std::path::Path;

use persist_engine::base::hash::Seed;
use persist_engine::data::portable;
use persist_engine::data::value::Limits;
use persist_engine::format::HistoryId;
use persist_engine::format::group::{GROUP_HEADER_LEN, GroupHeader, GroupScanner, ScanStart, seal};
use persist_engine::format::resp::push_command;
use persist_engine::format::snapshot::SnapshotReader;
use persist_engine::keyspace::Keyspace;
use persist_engine::persist::dump::{self, Subject};
use persist_engine::persist::replay::Replay;

const LINES: &[&str] = &[
    "SET s 12345678901234567890",
    "SET n 42 PXAT 99999999999999",
    "APPEND s tail",
    "INCRBY n -7",
    "SETRANGE s 30 x",
    "SETBIT bits 7 1",
    "RPUSH l a b c 1 2 3",
    "LSET l 1 other",
    "LPOP l",
    "SADD members 1 2 3 x y",
    "SREM members x",
    "HSET h f v g 1.5 last {}",
    "HPEXPIREAT h 99999999999999 FIELDS 1 g",
    "HINCRBYFLOAT h g 2",
    "ZADD z 1 a 2.5 b -inf c 3e300 d",
    "ZINCRBY z 1 a",
    "PFADD hll a b c",
    "GEOADD geo 13.361389 38.115556 Palermo",
    "XADD x 1-1 f v g w",
    "XADD x 2-0 f v",
    "XGROUP CREATE x readers 0",
    "XGROUP CREATECONSUMER x readers one",
    "XCLAIM x readers one 0 1-1 TIME 5 RETRYCOUNT 2 FORCE JUSTID LASTID 1-1",
    "XDEL x 1-1",
    "RENAME l list",
    "PEXPIREAT z 99999999999999",
    "PERSIST z",
    "COPY z zz",
    "DEL zz",
    "SWAPDB 0 1",
    "FLUSHDB",
];

fn history() -> HistoryId {
    HistoryId::from_hex(&[b'1'; 32]).expect("a good id")
}

fn payload(lines: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    push_command(&mut out, &[b"SELECT", b"0"]);
    for line in lines {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        push_command(&mut out, &words);
    }
    out
}

/// The keyspace after these commands.
fn space(lines: &[&str]) -> Keyspace {
    let mut space = Keyspace::new(Seed([7; 16]).into());
    let limits = Limits {
        hash_max_listpack_entries: 2,
        set_max_intset_entries: 2,
        ..Limits::default()
    };
    let mut group = vec![0; GROUP_HEADER_LEN];
    group.extend_from_slice(&payload(lines));
    let header = GroupHeader {
        single_key: false,
        base: false,
        first_seq: 1,
        effects: lines.len() as u32,
        time_ms: 1000,
        prev_crc: 0,
        durable: 0,
        history: history(),
    };
    seal(&mut group, &header).expect("room");
    let mut replay = Replay::new(Some(&mut space), &limits).tolerant();
    for group in GroupScanner::new(&group, ScanStart::default()) {
        replay.group(&group).expect("good commands");
    }
    // A seed may well hold a command that is refused.
    eprintln!(
        "{} commands done, {} refused",
        replay.effects, replay.left_out
    );
    space
}

fn subject(compress: bool) -> Subject {
    Subject {
        seq: 5,
        history: history(),
        seed: Seed([7; 16]),
        now_ms: 1000,
        compress,
        checksums: true,
    }
}

fn snapshot(space: &Keyspace, compress: bool) -> Vec<u8> {
    let mut out = Vec::new();
    dump::snapshot(space, &mut out, &subject(compress), &mut |_| {}).expect("a snapshot");
    out
}

/// Database, records and payload of each block.
fn blocks(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = SnapshotReader::begin(bytes, bytes.len() as u64).expect("a snapshot");
    let (mut all, mut raw) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block(&mut raw).expect("a block") {
        let mut part = vec![block.db as u8, block.records as u8];
        part.extend_from_slice(&raw);
        all.push(part);
    }
    all
}

fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.join(&b"\xff\xfe"[..])
}

fn main() {
    let dir = std::env::args().nth(1).expect("a folder");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let dir = Path::new(&dir).join(target);
        fs::create_dir_all(&dir).expect("a folder");
        fs::write(dir.join(name), bytes).expect("a file");
    };
    let all = space(&LINES[..LINES.len() - 2]);
    let one_by_one: Vec<Vec<u8>> = LINES
        .chunks(4)
        .map(|lines| [&[1][..], &payload(lines)].concat())
        .collect();
    put("resp", "commands", &payload(LINES));
    put(
        "resp",
        "short",
        b"*1\r\n$4\r\nPING\r\n*0\r\n#TS:12\r\n*2\r\n$0\r\n\r\n$1\r\na\r\n",
    );
    let mut base = Vec::new();
    dump::resp_base(&all, &mut base, &subject(true), &mut |_| {}).expect("a base");
    put("groups", "base", &base);
    put("replay", "each", &join(&one_by_one));
    put(
        "replay",
        "multi",
        &join(&[
            [
                &[0][..],
                &payload(&["MULTI", "INCR a", "RPUSH b x", "EXEC"]),
            ]
            .concat(),
            vec![9],
        ]),
    );
    let manifests = [
        "#persist-manifest version 1\n#state history 11111111111111111111111111111111 next-base 2 next-incr 3 log open\nfile persist.aof.1.base.rdb seq 1 type b history 11111111111111111111111111111111 covers 90\nfile persist.aof.1.incr.aof seq 1 type i history 11111111111111111111111111111111 first 91 prev 000000000000000a last 120 len 5120 crc 000000000000000b\nfile persist.aof.2.incr.aof seq 2 type i history 11111111111111111111111111111111 first 121 prev 000000000000000b\n",
        "#persist-manifest version 1\n#state history 11111111111111111111111111111111 next-base 3 next-incr 2 log closed at 9 after 22222222222222222222222222222222\n# a remark\nfile \"a\\x20\\n.1\" seq 2 type b history 11111111111111111111111111111111 covers 9 len 3 crc 000000000000000b hash-seed 000102030405060708090a0b0c0d0e0f\nfile old seq 1 type h\n",
    ];
    for (n, text) in manifests.iter().enumerate() {
        put("manifest", &format!("lines{n}"), text.as_bytes());
    }
    put("snapshot", "packed", &snapshot(&all, true));
    let plain = snapshot(&all, false);
    put("blocks", "all", &join(&blocks(&plain)));
    let mut portables = 0;
    for (_, table) in all.databases() {
        for entry in table.iter() {
            let bytes = portable::encode(entry);
            put(
                "portable",
                &format!("value{portables}"),
                &bytes[..bytes.len() - 10],
            );
            portables += 1;
        }
    }
    put(
        "portable",
        "whole",
        &portable::encode(
            all.databases()
                .next()
                .expect("a database")
                .1
                .iter()
                .next()
                .expect("a key"),
        ),
    );
    for (n, how) in [0u8, 2, 4, 8 | 32, 16, 4 | 32, 1 | 32, 16 | 4]
        .into_iter()
        .enumerate()
    {
        let mut parts = vec![vec![how, 3 + 7 * n as u8]];
        let two = space(&["SET a 1", "RPUSH l a b"]);
        parts.extend(blocks(&snapshot(&two, false)));
        parts.push(Vec::new());
        for (i, line) in ["INCR a", "LPOP l", "APPEND a x"].iter().enumerate() {
            let odd = if i == n % 4 { 9 } else { 1 };
            parts.push([&[odd][..], &payload(&[line])].concat());
        }
        put("folder", &format!("how{how}"), &join(&parts));
    }
    for (n, text) in [
        "3600 1 300 100",
        "always",
        "cart:* sess?on:[a-z^x]*\u{0}",
        "a*b*c*\\*[^a-]",
        "persist.rdb",
        "salvage",
    ]
    .iter()
    .enumerate()
    {
        put("settings", &format!("text{n}"), text.as_bytes());
    }
    put("settings", "glob", b"a*[b-d]?\\x*\xff\xfeaxxbyxzz");
    for text in [
        "-9223372036854775808",
        "3.0e-310",
        "inf",
        "0x1.8p3",
        "1234567890.000000000000000001",
        "123-456",
        "nan",
        "1e400",
    ] {
        put("numbers", text, text.as_bytes());
    }
}
