//! Damaged files under `persist.on-corruption salvage` and `fallback`: what
//! wasn't in the damaged part is there, under a new history, and a power
//! failure while that comes about changes nothing about it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::{Content, content};
use super::driver::{first_seed, rounds};
use super::watched::Watched;
use crate::base::random::{Random, SeededRandom};
use crate::format::group::sound_groups;
use crate::io::mem::{Crash, MemDisk};
use crate::io::{Disk, ReadDisk, read_file};
use crate::settings::{FsyncPolicy, OnCorruption, Settings};
use crate::testing::{Rig, disk, settings};

const LOG: &str = "/data/persist-aof";
const SNAPSHOT: &str = "/data/persist.rdb";

/// In the base: one block of each database, if it is a snapshot.
const BASE: [(u32, &str); 6] = [
    (0, "SET a 1"),
    (0, "RPUSH l a b c d e f"),
    (1, "HSET h f v g w"),
    (1, "SADD s x y z"),
    (2, "ZADD z 1 a 2 b"),
    (2, "SET c 1 PXAT 99999999"),
];

/// One group each, in two files.
const BEHIND: [(u32, &str); 8] = [
    (0, "INCR a"),
    (0, "LPOP l"),
    (1, "HSET h f other"),
    (0, "APPEND a x"),
    // The second file.
    (2, "SET c 2"),
    (1, "SREM s x"),
    (0, "RPUSH l g"),
    (2, "ZADD z 3 c"),
];

struct Scene {
    disk: MemDisk,
    settings: Settings,
    history: String,
}

fn with(mode: OnCorruption, settings: &Settings) -> Settings {
    Settings {
        on_corruption: mode,
        ..settings.clone()
    }
}

fn open(disk: &MemDisk, settings: &Settings) -> Result<Rig, String> {
    Rig::open_at(Arc::new(disk.clone()), settings.clone(), 2_000_000, 7).map_err(|e| e.0)
}

fn run(rig: &mut Rig, lines: &[(u32, &str)]) {
    for (db, line) in lines {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let reply = rig.argv(*db, false, &args).to_string();
        assert!(!reply.contains("ERR"), "{line}: {reply}");
        assert!(rig.pass());
    }
}

/// What there is without the effects at these places of the log.
fn without(lost: &[usize]) -> Content {
    let mut rig = Rig::open(Arc::new(disk()), settings(FsyncPolicy::No)).unwrap();
    run(&mut rig, &BASE);
    for (i, line) in BEHIND.iter().enumerate() {
        if !lost.contains(&i) {
            run(&mut rig, &[*line]);
        }
    }
    content(&rig)
}

/// A base, a closed file, one that goes on, and maybe a snapshot as old as the
/// base.
fn scene(rdb: bool, snapshot: bool) -> Scene {
    let disk = disk();
    let settings = Settings {
        aof_use_rdb_preamble: rdb,
        ..settings(FsyncPolicy::Always)
    };
    let mut rig = Rig::open(Arc::new(disk.clone()), settings.clone()).unwrap();
    run(&mut rig, &BASE);
    if snapshot {
        rig.engine.save(&mut rig.host).unwrap();
    }
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.settle();
    run(&mut rig, &BEHIND[..4]);
    drop(rig);
    let mut rig = open(&disk, &settings).unwrap();
    run(&mut rig, &BEHIND[4..]);
    let history = rig.info("history");
    drop(rig);
    Scene {
        disk,
        settings,
        history,
    }
}

/// Each change of a file that is tried: what it is, and its bytes. In the
/// short form only some bits and lengths.
fn damages(bytes: &[u8]) -> impl Iterator<Item = (String, usize, bool, Vec<u8>)> + '_ {
    let (lengths, flips) = if rounds() == 1 { (7, 43) } else { (1, 1) };
    let cuts = (0..bytes.len()).step_by(lengths);
    let cuts = cuts.map(|len| (format!("cut to {len}"), len, true, bytes[..len].to_vec()));
    let flips = (0..bytes.len() * 8).step_by(flips);
    let flips = flips.map(|n| {
        let (at, bit) = (n / 8, n % 8);
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << bit;
        (format!("bit {bit} of byte {at}"), at, false, bytes)
    });
    cuts.chain(flips)
}

fn paths(disk: &MemDisk, what: &str) -> Vec<PathBuf> {
    let names = disk.list(Path::new(LOG)).unwrap();
    let found = names.iter().filter(|name| name.contains(what));
    found.map(|name| Path::new(LOG).join(name)).collect()
}

impl Scene {
    fn damaged(&self, path: &Path, bytes: &[u8]) -> MemDisk {
        let disk = self.disk.kill();
        disk.put(path, bytes);
        disk
    }

    /// Opens by salvage, and again, and goes on.
    fn salvage(&self, disk: &MemDisk, what: &str) -> (Content, Rig) {
        let settings = with(OnCorruption::Salvage, &self.settings);
        let rig = open(disk, &settings).unwrap_or_else(|e| panic!("{what}: {e}"));
        let found = content(&rig);
        drop(rig);
        // From now on the files are in order.
        let mut again = open(disk, &self.settings).unwrap_or_else(|e| panic!("{what}, again: {e}"));
        assert_eq!(content(&again), found, "{what}, again");
        assert_eq!(again.info("salvaged"), "0");
        let rig = open(&disk.kill(), &settings).unwrap();
        (found, rig)
    }
}

/// Of the log's files only what is in the damaged group is lost.
#[test]
fn damage_of_groups() {
    for rdb in [true, false] {
        let scene = scene(rdb, false);
        let files = paths(&scene.disk, ".incr.");
        assert_eq!(files.len(), 2);
        for (n, path) in files.iter().enumerate() {
            let bytes = read_file(&scene.disk, path).unwrap();
            let mut groups = Vec::new();
            sound_groups(&bytes, |group| groups.push((group.offset, group.end())));
            assert_eq!(groups.len(), 4);
            for (what, at, cut, damaged) in damages(&bytes) {
                let what = format!("{}, {what}", path.display());
                let lost: Vec<usize> = (0..4)
                    .filter(|i| match (groups[*i], cut) {
                        ((_, end), true) => end > at as u64,
                        ((from, end), false) => (from..end).contains(&(at as u64)),
                    })
                    .map(|i| i + 4 * n)
                    .collect();
                let disk = scene.damaged(path, &damaged);
                let salvaged = open(&disk.kill(), &with(OnCorruption::Salvage, &scene.settings));
                let mut rig = salvaged.unwrap_or_else(|e| panic!("{what}: {e}"));
                let told = [
                    "salvaged",
                    "salvage_lost_effects",
                    "salvage_lost_groups",
                    "history",
                ]
                .map(|name| rig.info(name));
                // A torn end is cut, as ever.
                let torn = n == 1 && lost.iter().copied().eq(8 - lost.len()..8);
                if torn && told[0] == "0" {
                    assert_eq!(told[3], scene.history, "{what}");
                } else {
                    assert_eq!(told[..2], ["1".into(), lost.len().to_string()], "{what}");
                    assert_ne!(told[2], "0", "{what}");
                    assert_ne!(told[3], scene.history, "{what}");
                }
                let (found, _) = scene.salvage(&disk, &what);
                assert_eq!(found, without(&lost), "{what}, {:?}", rig.host.lines);
            }
        }
    }
}

/// The manifest is made again from the files.
#[test]
fn damage_of_the_manifest() {
    for rdb in [true, false] {
        let scene = scene(rdb, false);
        let path = &paths(&scene.disk, "manifest")[0];
        let bytes = read_file(&scene.disk, path).unwrap();
        for (what, _, _, damaged) in damages(&bytes) {
            let (found, _) = scene.salvage(&scene.damaged(path, &damaged), &what);
            assert_eq!(found, without(&[]), "{what}");
        }
    }
}

/// Of a base only the damaged block is lost, and nothing if there is a
/// snapshot as new.
#[test]
fn damage_of_a_base() {
    for (rdb, snapshot) in [(true, false), (true, true), (false, false), (false, true)] {
        let scene = scene(rdb, snapshot);
        let path = &paths(&scene.disk, ".base.")[0];
        let bytes = read_file(&scene.disk, path).unwrap();
        for (what, at, _, damaged) in damages(&bytes) {
            let what = format!("rdb {rdb}, snapshot {snapshot}: {what}");
            let disk = scene.damaged(path, &damaged);
            let settings = with(OnCorruption::Salvage, &scene.settings);
            let mut rig = match open(&disk.kill(), &settings) {
                Ok(rig) => rig,
                // Nothing of the base can be told.
                Err(e) => {
                    assert!(
                        e.contains("nothing that a salvage could begin from"),
                        "{what}: {e}"
                    );
                    assert!(
                        !snapshot && damaged.len() < bytes.len() && at < 500,
                        "{what}: {e}"
                    );
                    continue;
                }
            };
            let all = without(&[]);
            let found = content(&rig);
            if snapshot {
                assert_eq!(found, all, "{what}");
                continue;
            }
            // Every database is a block, or a group, of its own; what follows
            // in the log adds to what is left.
            let dbs = (0..3).filter(|db| {
                let of = |content: &Content| -> Content {
                    let same = content.iter().filter(|((d, _), _)| d == db);
                    same.map(|(k, v)| (k.clone(), v.clone())).collect()
                };
                of(&found) != of(&all)
            });
            let lost = dbs.count();
            let whole = rig.info("salvage_lost_blocks");
            if damaged.len() == bytes.len() {
                assert!(lost <= 1, "{what}: {found:?}");
                assert_eq!(whole, lost.to_string(), "{what}");
            } else if whole == "0" {
                assert_eq!(lost, 0, "{what}: {found:?}");
            }
            scene.salvage(&disk, &what);
        }
    }
}

/// A snapshot without a log.
#[test]
fn damage_of_a_snapshot() {
    let disk = disk();
    let settings = Settings {
        appendonly: false,
        ..settings(FsyncPolicy::No)
    };
    let mut rig = Rig::open(Arc::new(disk.clone()), settings.clone()).unwrap();
    run(&mut rig, &BASE);
    let all = content(&rig);
    rig.engine.save(&mut rig.host).unwrap();
    let history = rig.info("history");
    drop(rig);
    let scene = Scene {
        disk,
        settings,
        history,
    };
    let path = Path::new(SNAPSHOT);
    let bytes = read_file(&scene.disk, path).unwrap();
    for (what, at, cut, damaged) in damages(&bytes) {
        let disk = scene.damaged(path, &damaged);
        let salvaged = open(&disk.kill(), &with(OnCorruption::Salvage, &scene.settings));
        if cut && at < 200 && salvaged.is_err() {
            continue;
        }
        let mut rig = salvaged.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_ne!(rig.info("history"), scene.history);
        let found = content(&rig);
        // Whole databases are there or not.
        let lost: Vec<u32> = (0..3)
            .filter(|db| !found.keys().any(|(d, _)| d == db))
            .collect();
        let expected: Content = all
            .iter()
            .filter(|((db, _), _)| !lost.contains(db))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        assert_eq!(found, expected, "{what}");
        if !cut {
            assert!(lost.len() <= 1, "{what}");
            assert_eq!(rig.info("salvage_lost_keys"), (2 * lost.len()).to_string());
        }
        scene.salvage(&disk, &what);
    }
}

/// Large values: one of which a fragment is lost is left out, others stay.
#[test]
fn damage_of_fragments() {
    let mut rng = SeededRandom::new(first_seed());
    let disk = disk();
    let settings = settings(FsyncPolicy::Always);
    let mut rig = Rig::open(Arc::new(disk.clone()), settings.clone()).unwrap();
    for i in 0..40 {
        let mut value = vec![0; if i % 10 == 0 { 700_000 } else { 3000 }];
        rng.fill(&mut value);
        rig.argv(0, false, &[b"SET", format!("key{i}").as_bytes(), &value]);
        rig.pass();
    }
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.settle();
    run(&mut rig, &[(1, "SET behind 1")]);
    let all = content(&rig);
    drop(rig);
    let scene = Scene {
        history: String::new(),
        disk,
        settings,
    };
    let path = &paths(&scene.disk, ".base.")[0];
    let bytes = read_file(&scene.disk, path).unwrap();
    let mut lost_some = 0;
    for _ in 0..30 {
        let mut damaged = bytes.clone();
        let at = rng.below(bytes.len() as u64) as usize;
        damaged[at] ^= 1 << rng.below(8);
        let disk = scene.damaged(path, &damaged);
        let (found, _) = scene.salvage(&disk, &format!("byte {at}"));
        for (key, value) in &found {
            assert_eq!(Some(value), all.get(key), "byte {at}");
        }
        let lost = all.len() - found.len();
        // A block holds some 256 KiB: a part of one large value, or small ones.
        assert!(lost <= 36, "byte {at}: {lost}");
        assert!(found.contains_key(&(1, b"behind".to_vec())));
        lost_some += usize::from(lost > 0);
    }
    assert!(lost_some > 20, "{lost_some}");
}

/// The power fails before each operation of a salvage or fallback, and before
/// each operation of the next: in the end it comes to the same, and no start
/// ever comes to anything else.
#[test]
fn power_failures_meanwhile() {
    let flip = |disk: &MemDisk, path: &Path, at: usize| {
        let mut bytes = read_file(disk, path).unwrap();
        bytes[at] ^= 1;
        disk.put(path, &bytes);
    };
    for case in 0..7 {
        let scene = scene(case != 3, case != 2);
        let disk = scene.disk.kill();
        let mut mode = OnCorruption::Salvage;
        let mut settings = scene.settings.clone();
        let first = paths(&disk, ".incr.")[0].clone();
        let want = match case {
            // A group; the log is turned off, too.
            0 | 1 => {
                flip(&disk, &first, 230);
                settings.appendonly = case == 0;
                without(&[0])
            }
            2 | 6 => {
                flip(&disk, &paths(&disk, "manifest")[0], 10);
                without(&[])
            }
            3 => {
                flip(&disk, &paths(&disk, ".base.")[0], 210);
                without(&[])
            }
            // The snapshot's header.
            4 => {
                flip(&disk, Path::new(SNAPSHOT), 40);
                without(&[])
            }
            _ => {
                flip(&disk, &first, 230);
                mode = OnCorruption::Fallback;
                without(&[0, 1, 2, 3, 4, 5, 6, 7])
            }
        };
        let settings = with(mode, &settings);
        let watched = Watched::new(disk);
        let begin = |disk: Arc<dyn Disk>, settings: &Settings| {
            Rig::open_at(disk, settings.clone(), 2_000_000, 9)
        };
        let rig = begin(Arc::new(watched.clone()), &settings).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(content(&rig), want, "case {case}: {:?}", rig.host.lines);
        drop(rig);
        let images = watched.take();
        assert!(images.len() > 10);
        for (n, image) in images.iter().enumerate() {
            for seed in 0..2 + rounds().min(8) {
                let left = match seed {
                    0 => image.kill(),
                    1 => image.crash(Crash::DropUnsynced),
                    _ => image.crash(Crash::Torn {
                        seed,
                        granularity: 512,
                    }),
                };
                let told = format!("case {case}, operation {n}, {seed}");
                if let Ok(mut rig) =
                    begin(Arc::new(left.kill()), &with(OnCorruption::Stop, &settings))
                {
                    assert_eq!(content(&rig), want, "{told}, stop");
                    assert_ne!(rig.info("history"), scene.history, "{told}");
                }
                let watched = Watched::new(left.clone());
                let mut rig = begin(Arc::new(watched.clone()), &settings)
                    .unwrap_or_else(|e| panic!("{told}: {e}"));
                assert_eq!(content(&rig), want, "{told}");
                assert_ne!(rig.info("history"), scene.history, "{told}");
                drop(rig);
                let again = watched.take();
                for image in again.iter().skip((n + seed as usize) % 16).step_by(16) {
                    let left = image.crash(Crash::DropUnsynced);
                    let rig = begin(Arc::new(left), &settings)
                        .unwrap_or_else(|e| panic!("{told}, again: {e}"));
                    assert_eq!(content(&rig), want, "{told}, again");
                }
            }
        }
    }
}

/// What is damaged is kept.
#[test]
fn damaged_files_are_kept() {
    let scene = scene(true, true);
    let path = &paths(&scene.disk, ".incr.")[0];
    let mut bytes = read_file(&scene.disk, path).unwrap();
    bytes[230] ^= 1;
    let disk = scene.damaged(path, &bytes);
    open(&disk, &with(OnCorruption::Salvage, &scene.settings)).unwrap();
    let dir = Path::new("/data/quarantine");
    let names = disk.list(dir).unwrap();
    for part in [
        "manifest.old",
        ".2.base.rdb",
        ".2.incr.aof",
        ".3.incr.aof",
        "persist.rdb",
    ] {
        let name = names.iter().find(|name| name.contains(part));
        let name = name.unwrap_or_else(|| panic!("no {part} in {names:?}"));
        if part == ".2.incr.aof" {
            assert_eq!(read_file(&disk, &dir.join(name)).unwrap(), bytes);
        }
    }
    assert!(!disk.exists(Path::new(SNAPSHOT)).unwrap());
}

#[test]
fn a_tail_is_never_served_without_its_base() {
    for snapshot in [true, false] {
        let scene = scene(true, snapshot);
        let disk = scene.disk.kill();
        let base = &paths(&disk, ".base.")[0];
        disk.remove(base).unwrap();
        let ops = disk.ops();
        let salvaged = open(&disk, &with(OnCorruption::Salvage, &scene.settings));
        match salvaged {
            Ok(rig) => {
                assert!(snapshot);
                assert_eq!(content(&rig), without(&[]));
            }
            Err(e) => {
                assert!(!snapshot && e.contains("never served without it"), "{e}");
                assert_eq!(disk.ops(), ops);
            }
        }
    }
    // A snapshot that is older than the base leaves a hole before the tail.
    let scene = scene(true, true);
    let disk = scene.disk.kill();
    let mut rig = open(&disk, &scene.settings).unwrap();
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.settle();
    run(&mut rig, &[(0, "SET tail 1")]);
    drop(rig);
    disk.remove(&paths(&disk, ".base.")[0]).unwrap();
    let e = open(&disk, &with(OnCorruption::Salvage, &scene.settings))
        .err()
        .unwrap();
    assert!(e.contains("never served without it"), "{e}");
    let rig = open(&disk, &with(OnCorruption::Fallback, &scene.settings)).unwrap();
    assert_eq!(content(&rig), without(&[0, 1, 2, 3, 4, 5, 6, 7]));
}

#[test]
fn fallback() {
    let settings = |scene: &Scene| with(OnCorruption::Fallback, &scene.settings);
    let scene_with = scene(true, true);
    for path in [
        &paths(&scene_with.disk, ".incr.")[0],
        &paths(&scene_with.disk, ".base.")[0],
    ] {
        let bytes = read_file(&scene_with.disk, path).unwrap();
        for (what, _, _, damaged) in damages(&bytes) {
            let disk = scene_with.damaged(path, &damaged);
            let mut rig =
                open(&disk, &settings(&scene_with)).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(content(&rig), without(&[0, 1, 2, 3, 4, 5, 6, 7]), "{what}");
            assert_eq!(rig.info("salvage_mode"), "fallback");
            assert_ne!(rig.info("history"), scene_with.history);
        }
    }
    // Without a complete one there is no start, and nothing is changed.
    let bare = scene(true, false);
    let path = &paths(&bare.disk, ".incr.")[0];
    let mut bytes = read_file(&bare.disk, path).unwrap();
    bytes[230] ^= 1;
    let disk = bare.damaged(path, &bytes);
    let e = open(&disk, &settings(&bare)).err().unwrap();
    assert!(
        e.contains("there is no snapshot") && e.contains("byte 0"),
        "{e}"
    );
    assert_eq!(disk.ops(), 0);
    let disk = scene_with.damaged(path, &bytes);
    let mut snapshot = read_file(&disk, Path::new(SNAPSHOT)).unwrap();
    snapshot[150] ^= 1;
    disk.put(Path::new(SNAPSHOT), &snapshot);
    let e = open(&disk, &settings(&scene_with)).err().unwrap();
    assert!(e.contains("the snapshot can't be used"), "{e}");
    assert_eq!(disk.ops(), 0);
}

/// Neither of two data sets is chosen, nor another version's files judged.
#[test]
fn what_is_no_damage_is_refused() {
    for mode in [OnCorruption::Salvage, OnCorruption::Fallback] {
        let one = scene(true, true);
        let other = Rig::open_at(Arc::new(disk()), one.settings.clone(), 1_000_000, 99).unwrap();
        let head = crate::format::snapshot::SnapshotHeader::parse(
            &read_file(&one.disk, Path::new(SNAPSHOT)).unwrap(),
        )
        .unwrap();
        let foreign = crate::format::snapshot::SnapshotHeader {
            history: crate::format::HistoryId::new([5; 16]).unwrap(),
            ..head
        };
        drop(other);
        let mut bytes = read_file(&one.disk, Path::new(SNAPSHOT)).unwrap();
        bytes[..96].copy_from_slice(&foreign.encode());
        let disk = one.damaged(Path::new(SNAPSHOT), &bytes);
        for damaged in [false, true] {
            if damaged {
                let path = &paths(&disk, ".incr.")[0];
                let mut bytes = read_file(&disk, path).unwrap();
                bytes[230] ^= 1;
                disk.put(path, &bytes);
            }
            let e = open(&disk, &with(mode, &one.settings)).err().unwrap();
            assert!(e.contains("different data sets"), "{e}");
            assert_eq!(disk.ops(), 0);
        }
        let mut bytes = read_file(&one.disk, Path::new(SNAPSHOT)).unwrap();
        bytes[8] = 2;
        let crc = crate::base::checksum::crc64(&bytes[..88]);
        bytes[88..96].copy_from_slice(&crc.to_le_bytes());
        let disk = one.damaged(Path::new(SNAPSHOT), &bytes);
        let e = open(&disk, &with(mode, &one.settings)).err().unwrap();
        assert!(e.contains("version 2"), "{e}");
        assert_eq!(disk.ops(), 0);
    }
}

/// An unreadable snapshot that isn't needed doesn't stop a start, if the log
/// proves that it isn't.
#[test]
fn an_unreadable_snapshot_beside_a_whole_log() {
    for clean in [true, false] {
        let scene = scene(true, true);
        let disk = scene.disk.kill();
        if clean {
            let mut rig = open(&disk, &scene.settings).unwrap();
            run(&mut rig, &[(0, "SET last 1")]);
            rig.engine.shutdown(&mut rig.host);
        }
        let mut bytes = read_file(&disk, Path::new(SNAPSHOT)).unwrap();
        bytes[33] ^= 1;
        disk.put(Path::new(SNAPSHOT), &bytes);
        match open(&disk, &scene.settings) {
            Ok(mut rig) => {
                assert!(clean);
                assert_eq!(rig.run("GET last"), "\"1\"");
                assert_eq!(rig.info("history"), scene.history);
                assert!(!disk.exists(Path::new(SNAPSHOT)).unwrap());
                let aside = disk.list(Path::new("/data/quarantine")).unwrap();
                assert!(aside[0].contains("persist.rdb"), "{aside:?}");
                drop(rig);
                open(&disk, &scene.settings).unwrap();
            }
            Err(e) => {
                assert!(!clean, "{e}");
                assert!(
                    e.contains("nobody can tell whether the snapshot is newer"),
                    "{e}"
                );
                let (found, _) = scene.salvage(&disk, "header");
                assert_eq!(found, without(&[]));
            }
        }
    }
}
