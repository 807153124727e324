//! Files with random damage under right checksums, so that it gets past them
//! to the parsers behind: a start refuses, saying where, or comes to a
//! keyspace that can be read, saved and loaded again. Never a panic.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::content;
use super::driver::{any_settings, first_seed, rounds};
use super::traffic::Commands;
use crate::base::checksum::crc64;
use crate::base::random::{Random, SeededRandom};
use crate::format::group::{GROUP_HEADER_LEN, GroupHeader, GroupScanner, ScanStart};
use crate::format::manifest::Manifest;
use crate::format::snapshot::forge;
use crate::io::mem::MemDisk;
use crate::io::{Disk, ReadDisk, append_all, read_file};
use crate::settings::Settings;
use crate::testing::{Rig, disk};

const LOG: &str = "/data/persist-aof";
/// Bytes and words that parsers stumble over.
const BYTES: [u8; 10] = [0, 1, 0x0f, 0x10, 0x7f, 0x80, 0xff, b'-', b'\r', b'9'];
const WORDS: [&str; 9] = [
    "0",
    "-1",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
    "$-1\r\n",
    "*1000000000\r\n",
    "$536870912\r\n",
    "nan",
];

/// Damages bytes in one of the ways that lead somewhere.
fn damage(rng: &mut SeededRandom, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        let len = bytes.len() as u64;
        if len == 0 {
            return;
        }
        let at = rng.below(len) as usize;
        let end = (at + 1 + rng.below(12) as usize).min(bytes.len());
        match rng.below(8) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = BYTES[rng.below(BYTES.len() as u64) as usize],
            2 => bytes[at] = bytes[at].wrapping_add(1),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let word = WORDS[rng.below(WORDS.len() as u64) as usize];
                bytes.splice(at..end, word.bytes());
            }
            6 => bytes.truncate(at),
            _ => {
                let from = rng.below(len) as usize;
                let to = (from + end - at).min(bytes.len());
                let other = bytes[from..to].to_vec();
                bytes.splice(at..end, other);
            }
        }
    }
}

fn names(disk: &MemDisk) -> Vec<PathBuf> {
    let log = Path::new(LOG);
    let mut all: Vec<PathBuf> = disk
        .list(log)
        .unwrap_or_default()
        .into_iter()
        .map(|name| log.join(name))
        .collect();
    all.push("/data/persist.rdb".into());
    all.retain(|path| disk.exists(path).unwrap() && ReadDisk::len(disk, path).unwrap() > 0);
    all
}

fn put(disk: &MemDisk, path: &Path, bytes: &[u8]) {
    disk.remove(path).unwrap();
    let file = disk.create_new(path).unwrap();
    append_all(&*file, bytes).unwrap();
}

fn forged_snapshot(rng: &mut SeededRandom, bytes: &[u8]) -> Vec<u8> {
    let mut opened = forge::open(bytes);
    let n = opened.blocks.len() as u64;
    if n > 0 {
        let (_, records, raw) = &mut opened.blocks[rng.below(n) as usize];
        damage(rng, raw);
        if rng.below(10) == 0 {
            *records = records.wrapping_add(1);
        }
    }
    forge::seal(&opened, rng.below(2) == 0)
}

/// The same groups, one of them damaged, each following the one before.
fn forged_groups(rng: &mut SeededRandom, bytes: &[u8]) -> Vec<u8> {
    let groups: Vec<_> = GroupScanner::new(bytes, ScanStart::default()).collect();
    let chosen = rng.below(groups.len().max(1) as u64) as usize;
    let mut out = Vec::new();
    let mut prev = groups.first().map_or(0, |first| first.header.prev_crc);
    for (i, group) in groups.iter().enumerate() {
        let mut payload = group.payload.to_vec();
        let mut header = GroupHeader {
            prev_crc: prev,
            ..group.header
        };
        if i == chosen {
            damage(rng, &mut payload);
            if rng.below(10) == 0 {
                header.effects = header.effects.wrapping_add(1);
            }
        }
        let mut line = [0; GROUP_HEADER_LEN];
        prev = header.encode_into(&mut line, &payload);
        out.extend_from_slice(&line);
        out.extend_from_slice(&payload);
    }
    out
}

fn forged_manifest(rng: &mut SeededRandom, bytes: &[u8]) -> Vec<u8> {
    let text = bytes.strip_suffix(b"\n").unwrap();
    let body = text.iter().rposition(|&b| b == b'\n').unwrap() + 1;
    let mut lines = bytes[..body].to_vec();
    damage(rng, &mut lines);
    let crc = crc64(&lines);
    lines.extend_from_slice(format!("#CRC64 {crc:016x}\n").as_bytes());
    lines
}

/// The manifest says what length and checksum a file has: it must not be what
/// gives the forgery away.
fn tell_manifest(disk: &MemDisk, name: &str, bytes: &[u8]) {
    let path = Path::new(LOG).join("persist.aof.manifest");
    let mut manifest = Manifest::parse(&read_file(disk, &path).unwrap()).unwrap();
    let mut scanner = GroupScanner::new(bytes, ScanStart::default());
    while scanner.next().is_some() {}
    let crc = scanner.last_crc().unwrap_or(0);
    let last = scanner.next_seq().unwrap_or(1) - 1;
    if let Some(base) = &mut manifest.base
        && base.name == name
        && base.end.is_some()
    {
        base.end = Some((bytes.len() as u64, crc));
    }
    let count = manifest.incrs.len();
    for i in 0..count {
        let file = &mut manifest.incrs[i];
        if file.name == name
            && let Some(end) = &mut file.end
        {
            (end.last, end.len, end.crc) = (last, bytes.len() as u64, crc);
            // The next one's groups name the old checksum; without it there is
            // none to contradict.
            manifest.incrs.truncate(i + 1);
        }
    }
    put(disk, &path, &manifest.encode());
}

/// Damages one file of the folder; says which.
fn forge_one(rng: &mut SeededRandom, disk: &MemDisk) -> Option<PathBuf> {
    let names = names(disk);
    let path = names.get(rng.below(names.len().max(1) as u64) as usize)?;
    let bytes = read_file(disk, path).unwrap();
    let name = path.file_name()?.to_str()?.to_string();
    if name.ends_with(".manifest") {
        put(disk, path, &forged_manifest(rng, &bytes));
    } else if name.ends_with(".rdb") {
        put(disk, path, &forged_snapshot(rng, &bytes));
    } else {
        let forged = forged_groups(rng, &bytes);
        put(disk, path, &forged);
        tell_manifest(disk, &name, &forged);
    }
    Some(path.clone())
}

/// Reads of every kind on every key.
fn read_all(rig: &mut Rig) {
    let keys: Vec<(u32, Vec<u8>)> = content(rig).into_keys().collect();
    for (db, key) in keys {
        for line in [
            "GET",
            "TTL",
            "STRLEN",
            "HGETALL",
            "SMEMBERS",
            "LRANGE 0 -1",
            "ZRANGE 0 -1 WITHSCORES",
            "ZREVRANGEBYSCORE +inf -inf",
            "XRANGE - +",
            "XREVRANGE + - COUNT 3",
            "LPOS zz",
            "SPOP",
            "HDEL f",
            "LSET 0 other",
            "ZINCRBY 1 a",
            "APPEND x",
        ] {
            let mut words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            words.insert(1, &key);
            rig.argv(db, false, &words);
        }
    }
    rig.pass();
}

fn attack(seed: u64, settings: &Settings, good: &MemDisk) -> bool {
    let mut rng = SeededRandom::new(seed ^ 0xf04e);
    let disk = good.kill();
    let Some(path) = forge_one(&mut rng, &disk) else {
        return false;
    };
    let told = format!("SEED={seed}: {}", path.display());
    let opened = std::panic::catch_unwind(|| {
        Rig::open_at(Arc::new(disk.clone()), settings.clone(), 5_000_000, seed)
    });
    let mut rig = match opened.unwrap_or_else(|_| panic!("{told}: the start panicked")) {
        Ok(rig) => rig,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let before = content(&rig);
    rig.engine
        .save(&mut rig.host)
        .unwrap_or_else(|e| panic!("{told}: {e}"));
    rig.pass();
    drop(rig);
    let again = Rig::open_at(Arc::new(disk.clone()), settings.clone(), 5_000_000, seed);
    let mut again = again.unwrap_or_else(|e| panic!("{told}, again: {e}"));
    assert_eq!(content(&again), before, "{told}, saved and loaded again");
    read_all(&mut again);
    true
}

#[test]
fn forged_files_are_refused_or_make_a_sound_keyspace() {
    let (mut taken, mut refused) = (0, 0);
    for seed in (first_seed()..).take(12 * rounds() as usize) {
        let mut rng = SeededRandom::new(seed ^ 0x5eedf);
        let settings = Settings {
            aof_load_truncated: false,
            ..any_settings(&mut rng)
        };
        let good = disk();
        let commands = Commands::default();
        let mut rig = Rig::open_at(Arc::new(good.clone()), settings.clone(), 1_000_000, seed)
            .unwrap_or_else(|e| panic!("{e}"));
        for i in 0..150 {
            let (db, argv) = commands.draw(&mut rng, 1_000_000);
            let args: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
            rig.argv(db, false, &args);
            if i == 100 {
                rig.engine.save(&mut rig.host).unwrap();
                let _ = rig.engine.rewrite(&mut rig.host);
                rig.settle();
            }
            if i % 5 == 0 {
                rig.pass();
            }
        }
        rig.settle();
        drop(rig);
        for n in 0..120 {
            match attack(seed.wrapping_mul(1000) + n, &settings, &good) {
                true => taken += 1,
                false => refused += 1,
            }
        }
    }
    // An attack that is always or never noticed gets nowhere.
    assert!(
        taken > 50 && refused > 50,
        "{taken} taken, {refused} refused"
    );
}
