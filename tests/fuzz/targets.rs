//! What the fuzzers and `tests/corpora.rs` run: one function for each thing that reads bytes. Where bytes are covered by
//! a checksum, the target computes it, so that what is behind it is reached.
//!
//! A target panics when something is wrong, and only then.

use std::path::Path;

use persist_engine::base::checksum::crc64;
use persist_engine::base::glob::glob_match;
use persist_engine::base::hash::{HashKey, Seed};
use persist_engine::base::long_double::LongDouble;
use persist_engine::base::number;
use persist_engine::data::portable;
use persist_engine::data::stream::id::StreamId;
use persist_engine::data::text::describe;
use persist_engine::data::value::Limits;
use persist_engine::format::HistoryId;
use persist_engine::format::group::{
    GROUP_HEADER_LEN, GroupHeader, GroupScanner, GroupStream, ScanStart, UnverifiedGroup,
    highest_mark, seal, sound_groups,
};
use persist_engine::format::manifest::{BaseFile, IncrFile, IncrStart, Manifest};
use persist_engine::format::resp::{CommandReader, push_command};
use persist_engine::format::snapshot::{SnapshotHeader, SnapshotReader};
use persist_engine::io::mem::MemDisk;
use persist_engine::keyspace::Keyspace;
use persist_engine::persist::dump::{self, Subject};
use persist_engine::persist::files::Files;
use persist_engine::persist::loader::Loader;
use persist_engine::persist::replay::Replay;
use persist_engine::persist::rescue::{Plan, Salvaged, Until};
use persist_engine::persist::restore;
use persist_engine::route::Route;
use persist_engine::settings::{SETTINGS, SettingKind, Settings, parse_save};

/// Reads bytes; panics if what comes of it breaks a rule.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("resp", resp),
    ("groups", groups),
    ("replay", replay),
    ("manifest", manifest),
    ("snapshot", snapshot),
    ("blocks", blocks),
    ("portable", portable_value),
    ("folder", folder),
    ("settings", settings),
    ("numbers", numbers),
];

const SEED: [u8; 16] = [7; 16];

fn history() -> HistoryId {
    HistoryId::from_hex(b"11111111111111111111111111111111").expect("a good id")
}

/// Cuts the input into parts, at every `\xff\xfe`.
fn parts(data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(2).position(|w| w == b"\xff\xfe") {
        parts.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    parts.push(rest);
    parts
}

/// Every key with its value.
fn content(space: &Keyspace) -> Vec<(u32, Vec<u8>, Option<u64>, String)> {
    let mut all: Vec<_> = space
        .databases()
        .flat_map(|(db, table)| {
            table.iter().map(move |e| {
                (
                    db,
                    e.key().to_vec(),
                    e.expiry(),
                    describe(e.payload(), e.kind()),
                )
            })
        })
        .collect();
    all.sort();
    all
}

/// What was read can be written and read again; by commands too, and `exactly`, unless a forged block has an element
/// twice, which only shows when it is added.
fn comes_back(space: &Keyspace, exactly: bool) {
    let subject = Subject {
        seq: 5,
        history: history(),
        seed: Seed(SEED),
        now_ms: 1,
        compress: true,
        checksums: true,
    };
    let mut bytes = Vec::new();
    dump::snapshot(space, &mut bytes, &subject, &mut |_| {}).expect("a snapshot in memory");
    let mut reader = SnapshotReader::begin(&bytes[..], bytes.len() as u64).expect("its header");
    let mut again = Keyspace::new(Seed(SEED).into());
    restore::snapshot(&mut reader, &mut again, &mut |_: u64| {}).expect("our own snapshot");
    assert_eq!(content(&again), content(space));
    let mut commands = Vec::new();
    dump::resp_base(space, &mut commands, &subject, &mut |_| {}).expect("a base in memory");
    let start = ScanStart {
        history: Some(history()),
        first_seq: Some(1),
        prev_crc: Some(0),
        durable: 0,
    };
    let mut rebuilt = Keyspace::new(Seed(SEED).into());
    let limits = Limits::default();
    let mut replay = Replay::new(Some(&mut rebuilt), &limits);
    let mut groups = GroupStream::new(&commands[..], commands.len() as u64, start);
    while let Some(group) = groups.next_group().expect("our own group") {
        replay.group(&group).expect("our own commands");
    }
    if exactly {
        assert_eq!(content(&rebuilt), content(space));
    }
}

/// Commands, as they are.
pub fn resp(data: &[u8]) {
    let mut reader = CommandReader::new(data, 0);
    let (mut argv, mut again, mut end) = (Vec::new(), Vec::new(), 0);
    while let Ok(Some(offset)) = reader.next(&mut argv) {
        assert!(offset >= end && reader.offset() > offset && reader.offset() <= data.len() as u64);
        end = reader.offset();
        again.clear();
        push_command(&mut again, &argv);
        let mut second = CommandReader::new(&again, 0);
        let mut same = Vec::new();
        assert!(matches!(second.next(&mut same), Ok(Some(0))));
        assert_eq!(same, argv);
    }
}

/// A log file, as it is.
pub fn groups(data: &[u8]) {
    let _ = UnverifiedGroup::parse(data, 0, data.len() as u64);
    highest_mark(data, None);
    let mut sound = 0;
    let outside = sound_groups(data, |group| sound += group.end() - group.offset);
    assert_eq!(sound + outside, data.len() as u64);
    for durable in [0, 3] {
        let start = ScanStart {
            durable,
            ..ScanStart::default()
        };
        let mut scanner = GroupScanner::new(data, start);
        let mut end = 0;
        for group in scanner.by_ref() {
            assert_eq!(group.offset, end);
            end = group.end();
        }
        assert!(scanner.tail().is_some() && scanner.end() == end);
        let mut stream = GroupStream::new(data, data.len() as u64, ScanStart::default());
        while let Ok(Some(_)) = stream.next_group() {}
    }
}

/// Groups of these payloads, in order; the first byte of each says what is odd about it.
fn sealed(payloads: &[&[u8]]) -> Vec<u8> {
    let (mut file, mut first_seq, mut prev_crc) = (Vec::new(), 1, 0);
    for payload in payloads {
        let (odd, payload) = payload.split_first().unwrap_or((&0, &[]));
        let mut reader = CommandReader::new(payload, 0);
        let (mut argv, mut effects) = (Vec::new(), 0);
        while let Ok(Some(_)) = reader.next(&mut argv) {
            let name = argv.first().copied().unwrap_or_default();
            effects += u32::from(!matches!(name, b"SELECT" | b"MULTI" | b"EXEC"));
        }
        let header = GroupHeader {
            single_key: odd & 1 != 0,
            base: odd & 2 != 0,
            first_seq: first_seq + u64::from(odd >> 6),
            effects: effects + u32::from(odd & 4 != 0),
            time_ms: 1_000,
            prev_crc,
            durable: first_seq.saturating_sub(1 + u64::from(odd >> 5 & 1)),
            history: history(),
        };
        let mut group = vec![0; GROUP_HEADER_LEN];
        group.extend_from_slice(payload);
        prev_crc = seal(&mut group, &header).expect("room for the line");
        if odd & 8 != 0 {
            let at = usize::from(*odd) * 7 % group.len();
            group[at] ^= 1;
        }
        first_seq = header.first_seq + u64::from(header.effects);
        file.extend_from_slice(&group);
    }
    file
}

/// Groups of commands under right checksums, done.
pub fn replay(data: &[u8]) {
    let file = sealed(&parts(data));
    groups(&file);
    let limits = Limits::default();
    for tolerant in [false, true] {
        let mut space = Keyspace::new(Seed(SEED).into());
        let replay = Replay::new(Some(&mut space), &limits);
        let mut replay = if tolerant { replay.tolerant() } else { replay };
        let mut scanner = GroupScanner::new(&file, ScanStart::default());
        let mut done = true;
        for group in scanner.by_ref() {
            done &= replay.group(&group).is_ok();
            if !done && !tolerant {
                break;
            }
        }
        comes_back(&space, true);
    }
}

fn signed_manifest(body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    if bytes.last() != Some(&b'\n') {
        bytes.push(b'\n');
    }
    let crc = crc64(&bytes);
    bytes.extend_from_slice(format!("#CRC64 {crc:016x}\n").as_bytes());
    bytes
}

/// A manifest: as it is, and under a right checksum.
pub fn manifest(data: &[u8]) {
    for bytes in [data.to_vec(), signed_manifest(data)] {
        if let Ok(manifest) = Manifest::parse(&bytes) {
            let again = Manifest::parse(&manifest.encode()).expect("what it says itself");
            assert_eq!(again, manifest);
        }
    }
}

/// A snapshot, as it is.
pub fn snapshot(data: &[u8]) {
    read_snapshot(data);
}

fn read_snapshot(bytes: &[u8]) {
    let Ok(mut reader) = SnapshotReader::begin(bytes, bytes.len() as u64) else {
        return;
    };
    let mut space = Keyspace::new(Seed(SEED).into());
    if restore::snapshot(&mut reader, &mut space, &mut |_: u64| {}).is_ok() {
        comes_back(&space, false);
    }
}

/// A snapshot of these payloads, with every checksum right. The first bytes of each say what its head claims.
fn sealed_snapshot(payloads: &[&[u8]]) -> Vec<u8> {
    let header = SnapshotHeader {
        created_ms: 1,
        seq: 5,
        history: history(),
        seed: SEED,
        checksums: true,
        ending_fields: true,
    };
    let mut file = header.encode().to_vec();
    let block = |kind: u8, db: u32, records: u32, payload: &[u8]| {
        let mut head = [0; 48];
        head[..4].copy_from_slice(b"PBLK");
        head[4] = kind;
        head[8..12].copy_from_slice(&db.to_le_bytes());
        head[12..16].copy_from_slice(&records.to_le_bytes());
        head[16..20].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[20..24].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        let crc = crc64(&[&head[..40], payload].concat());
        head[40..].copy_from_slice(&crc.to_le_bytes());
        ([&head[..], payload].concat(), crc)
    };
    let (mut index, mut crcs, mut keys) = (Vec::new(), Vec::new(), 0);
    for payload in payloads {
        let Some(([db, records], payload)) = payload.split_first_chunk() else {
            continue;
        };
        let (db, records) = (u32::from(*db), u32::from(*records));
        index.extend_from_slice(&(file.len() as u64).to_le_bytes());
        index.extend_from_slice(&db.to_le_bytes());
        index.extend_from_slice(&records.to_le_bytes());
        index.extend_from_slice(&0u64.to_le_bytes());
        let (bytes, crc) = block(1, db, records, payload);
        crcs.extend_from_slice(&crc.to_le_bytes());
        file.extend_from_slice(&bytes);
        keys += u64::from(records);
    }
    let index_at = file.len() as u64;
    file.extend_from_slice(&block(2, 0, (index.len() / 24) as u32, &index).0);
    let mut trailer = b"RPERSEND".to_vec();
    for number in [index_at, keys, crc64(&crcs), 0] {
        trailer.extend_from_slice(&number.to_le_bytes());
    }
    let crc = crc64(&trailer);
    trailer.extend_from_slice(&crc.to_le_bytes());
    file.extend_from_slice(&trailer);
    file
}

/// Blocks of records under right checksums.
pub fn blocks(data: &[u8]) {
    read_snapshot(&sealed_snapshot(&parts(data)));
}

/// What RESTORE takes: as it is, and under a right checksum.
pub fn portable_value(data: &[u8]) {
    let mut signed = data.to_vec();
    signed.extend_from_slice(&1u16.to_le_bytes());
    let crc = crc64(&signed);
    signed.extend_from_slice(&crc.to_le_bytes());
    for bytes in [data, &signed] {
        let seed = || HashKey::from(Seed(SEED));
        if let Ok(entry) = portable::decode(bytes, b"key", &Limits::default(), seed()) {
            let again = portable::decode(
                &portable::encode(&entry),
                b"key",
                &Limits::default(),
                seed(),
            );
            let again = again.expect("our own bytes");
            assert_eq!(
                describe(again.payload(), again.kind()),
                describe(entry.payload(), entry.kind())
            );
        }
    }
}

/// Whole folders: a snapshot, a manifest, a base and two files of a log, some of them damaged. A start, a salvage, a
/// fallback and a plan of repair each refuse or come to a keyspace that can be saved.
pub fn folder(data: &[u8]) {
    let parts = parts(data);
    let part = |n: usize| parts.get(n).copied().unwrap_or_default();
    let how = part(0).first().copied().unwrap_or(0);
    let log = Path::new("/data/persist-aof");
    let disk = MemDisk::new();
    let base = sealed_snapshot(&[part(1), part(2)]);
    let file = sealed(&parts[3.min(parts.len())..]);
    let mut manifest = Manifest::new(history());
    (manifest.next_base_seq, manifest.next_incr_seq) = (2, 2);
    manifest.base = Some(BaseFile {
        name: "persist.aof.1.base.rdb".into(),
        seq: 1,
        history: history(),
        covers: if how & 1 == 0 { 0 } else { 5 },
        end: None,
        seed: None,
    });
    manifest.incrs.push(IncrFile {
        name: "persist.aof.1.incr.aof".into(),
        seq: 1,
        history: history(),
        start: Some(IncrStart {
            first: if how & 1 == 0 { 1 } else { 6 },
            prev_crc: 0,
        }),
        end: None,
    });
    let mut text = manifest.encode();
    let harm = |bytes: &mut Vec<u8>, bit: u8| {
        if how & bit != 0 && !bytes.is_empty() {
            let at = part(0).get(1).map_or(0, |n| usize::from(*n)) * 31 % bytes.len();
            bytes[at] ^= 4;
        }
    };
    let (mut base, mut snapshot) = (base.clone(), base);
    harm(&mut text, 2);
    harm(&mut base, 4);
    harm(&mut snapshot, 8);
    if how & 16 == 0 {
        disk.put(&log.join("persist.aof.manifest"), &text);
    }
    disk.put(&log.join("persist.aof.1.base.rdb"), &base);
    disk.put(&log.join("persist.aof.1.incr.aof"), &file);
    if how & 32 != 0 {
        disk.put(Path::new("/data/persist.rdb"), &snapshot);
    }
    let settings = Settings {
        dir: "/data".into(),
        ..Settings::default()
    };
    let (files, limits) = (Files::new(&settings, 1), Limits::default());
    let loader = Loader {
        disk: &disk,
        files: &files,
        limits: &limits,
        truncated_ok: true,
        fresh: (
            HistoryId::from_hex(&[b'2'; 32]).expect("a good id"),
            Seed(SEED),
        ),
    };
    let ops = disk.ops();
    match loader.load(&mut |_: u64| {}) {
        Ok(found) => comes_back(&found.space, false),
        Err(why) => {
            for found in [
                Salvaged::salvage(&loader, &why, &mut |_: u64| {}),
                Salvaged::fall_back(&loader, &why, &mut |_: u64| {}),
            ]
            .into_iter()
            .flatten()
            {
                comes_back(&found.space, false);
                assert!(!found.report.summary().is_empty());
            }
        }
    }
    let _ = loader.inspect(&mut |_: u64| {});
    let _ = Plan::make(&loader, Until::Damage, &mut |_: u64| {});
    assert_eq!(disk.ops(), ops, "looking changed the disk");
}

/// Settings, save points, globs of routes.
pub fn settings(data: &[u8]) {
    let parts = parts(data);
    let subject = parts.get(1).copied().unwrap_or_default();
    // A star may try every place of the subject: long ones only take time.
    let (pattern, subject) = (
        &parts[0][..parts[0].len().min(64)],
        &subject[..subject.len().min(256)],
    );
    for nocase in [false, true] {
        glob_match(pattern, subject, nocase);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = parse_save(text);
    for setting in SETTINGS {
        let mut settings = Settings::default();
        if let SettingKind::Text { .. } | SettingKind::Choice { .. } = setting.kind
            && settings.set_text(setting.name, text).is_ok()
        {
            assert!(settings.get(setting.name).is_some());
            settings.save_points();
        }
    }
    let start: String = text.chars().take(64).collect();
    if let Some(route) = Route::parse(&start) {
        route.covers(subject);
    }
}

/// Numbers as clients and files write them.
pub fn numbers(data: &[u8]) {
    if let Some(n) = number::parse_i64(data) {
        let mut text = Vec::new();
        number::push_i64(&mut text, n);
        assert_eq!(text, data, "one spelling of an integer");
    }
    if let Some(n) = number::parse_f64(data) {
        let mut text = number::FloatText::default();
        let shortest = number::format_f64_shortest(n, &mut text).to_vec();
        let again = number::parse_f64(&shortest).expect("our own number");
        assert!(
            again == n || (again.is_nan() && n.is_nan()),
            "{n} as {shortest:?}"
        );
        let mut out = Vec::new();
        number::push_f64(&mut out, n);
    }
    if let Some(n) = LongDouble::parse(data) {
        let mut out = Vec::new();
        n.format(&mut out);
        let mut sum = Vec::new();
        n.add(n).format(&mut sum);
    }
    let _ = StreamId::parse(data, 0);
}
