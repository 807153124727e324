//! Every file cut at every length and with every bit flipped: a start refuses,
//! saying where, or comes to a legal state.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::{Content, content};
use super::driver::rounds;
use crate::base::hash::Seed;
use crate::data::value::Limits;
use crate::format::HistoryId;
use crate::io::mem::MemDisk;
use crate::io::{ReadDisk, read_file};
use crate::persist::files::Files;
use crate::persist::loader::Loader;
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

/// What a start may do about damage of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum May {
    /// Only refuse.
    Refuse,
    /// Refuse, or have all.
    All,
    /// Refuse, or have one of the states that the data went through.
    Past,
}

/// A disk to be damaged.
struct Scene {
    disk: MemDisk,
    settings: Settings,
    /// What the data went through, from the first group of the last file on.
    past: Vec<Content>,
    files: Vec<(PathBuf, May)>,
}

fn open(disk: &MemDisk, settings: &Settings) -> Rig {
    Rig::open(Arc::new(disk.clone()), settings.clone()).unwrap_or_else(|e| panic!("{e}"))
}

/// The verdict without putting the data set together.
fn inspect(disk: &MemDisk, settings: &Settings) -> Result<(), String> {
    let loader = Loader {
        disk,
        files: &Files::new(settings, 77),
        limits: &Limits::default(),
        truncated_ok: true,
        fresh: (HistoryId::new([1; 16]).unwrap(), Seed([1; 16])),
    };
    let looked = loader.inspect(&mut |_: u64| {});
    looked.map(|_| ()).map_err(|e| e.text)
}

fn run(rig: &mut Rig, lines: &[&str], past: &mut Vec<Content>) {
    for line in lines {
        rig.run(line);
        assert!(rig.pass());
        past.push(content(rig));
    }
}

/// A snapshot, a base, a closed incr file and one that goes on.
fn log_scene(rdb: bool) -> Scene {
    let disk = disk();
    let settings = Settings {
        aof_use_rdb_preamble: rdb,
        ..settings(FsyncPolicy::Always)
    };
    let mut past = Vec::new();
    let mut rig = open(&disk, &settings);
    let fill = [
        "SET a 1",
        "RPUSH l a b c",
        "HSET h f v",
        "ZADD z 1 a 2 b",
        "SADD s x",
    ];
    run(&mut rig, &fill, &mut past);
    rig.argv(2, false, &[b"SET", b"long", &[b'x'; 300]]);
    rig.pass();
    rig.engine.save(&mut rig.host).unwrap();
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.settle();
    run(&mut rig, &["INCR a", "PEXPIREAT l 99999999"], &mut past);
    drop(rig);
    let mut rig = open(&disk, &settings);
    past = vec![content(&rig)];
    run(&mut rig, &["LPOP l", "SET b 2", "DEL h"], &mut past);
    let log = Path::new("/data/persist-aof");
    let names = disk.list(log).unwrap();
    let files = names.iter().map(|name| {
        let may = if name.ends_with(".3.incr.aof") {
            May::Past
        } else {
            May::Refuse
        };
        (log.join(name), may)
    });
    let mut files: Vec<_> = files.collect();
    assert_eq!(files.len(), 4, "{files:?}");
    // While the log wins only the snapshot's header is read.
    files.push(("/data/persist.rdb".into(), May::All));
    Scene {
        disk,
        settings,
        past,
        files,
    }
}

fn snapshot_scene(checksums: bool) -> Scene {
    let disk = disk();
    let settings = Settings {
        appendonly: false,
        rdbchecksum: checksums,
        rdbcompression: false,
        ..settings(FsyncPolicy::No)
    };
    let mut rig = open(&disk, &settings);
    let mut past = Vec::new();
    let fill = [
        "SET a 1 PX 100000",
        "RPUSH l a b c",
        "HSET h f v",
        "ZADD z 1 a 2 b",
    ];
    run(&mut rig, &fill, &mut past);
    for i in 0..130 {
        rig.run(&format!("SADD big member{i}"));
        rig.run(&format!("ZADD ranks {i} member{i}"));
    }
    past.push(content(&rig));
    rig.engine.save(&mut rig.host).unwrap();
    let files = vec![("/data/persist.rdb".into(), May::Refuse)];
    Scene {
        disk,
        settings,
        past,
        files,
    }
}

impl Scene {
    /// Opens with `bytes` for the file at `path`, and judges.
    fn damaged(&self, path: &Path, may: May, bytes: &[u8], how: &str) {
        let disk = self.disk.kill();
        disk.put(path, bytes);
        let name = path.file_name().unwrap().to_str().unwrap();
        let said = || format!("{name}, {how}");
        let looked = inspect(&disk, &self.settings);
        assert_eq!(disk.ops(), 0, "{}: looking changed the disk", said());
        match Rig::open(Arc::new(disk.clone()), self.settings.clone()) {
            Err(e) => {
                let e = e.0;
                assert_eq!(looked.err().as_ref(), Some(&e), "{}", said());
                // A wrong end may also be told by the manifest's line of it.
                assert!(
                    e.contains(name) || e.contains("manifest"),
                    "{}: {e}",
                    said()
                );
                assert!(
                    e.contains("byte ") || e.contains("line "),
                    "{}: {e}",
                    said()
                );
                assert_eq!(disk.ops(), 0, "{}: a refusal changed the disk", said());
            }
            Ok(rig) => {
                assert_eq!(looked, Ok(()), "{}", said());
                let found = content(&rig);
                let newest = self.past.last().unwrap();
                let legal = match may {
                    May::Refuse => false,
                    May::All => found == *newest,
                    May::Past => self.past.contains(&found),
                };
                assert!(legal, "{}: {found:?} {:?}", said(), rig.host.lines);
            }
        }
    }

    fn damage_everything(&self, bits: u8) {
        for (path, may) in &self.files {
            let bytes = read_file(&self.disk, path).unwrap();
            for len in 0..bytes.len() {
                self.damaged(path, *may, &bytes[..len], &format!("cut to {len}"));
            }
            for at in 0..bytes.len() {
                for bit in 0..bits {
                    let bit = if bits == 1 { at % 8 } else { bit.into() };
                    let mut bytes = bytes.clone();
                    bytes[at] ^= 1 << bit;
                    self.damaged(path, *may, &bytes, &format!("bit {bit} of byte {at}"));
                }
            }
            let mut longer = bytes.clone();
            longer.extend_from_slice(b"\0\0\0");
            // What follows a closed file's end doesn't count.
            let may = if path.to_str().unwrap().contains("incr") {
                May::Past
            } else {
                *may
            };
            self.damaged(path, may, &longer, "with zeros behind");
        }
    }
}

fn bits() -> u8 {
    if rounds() > 1 { 8 } else { 1 }
}

#[test]
fn a_log_with_a_snapshot_as_base() {
    log_scene(true).damage_everything(bits());
}

#[test]
fn a_log_with_commands_as_base() {
    log_scene(false).damage_everything(bits());
}

#[test]
fn a_snapshot() {
    snapshot_scene(true).damage_everything(bits());
}

/// Without checksums damage may go unnoticed, but nothing panics.
#[test]
fn a_snapshot_without_checksums() {
    let scene = snapshot_scene(false);
    let path = Path::new("/data/persist.rdb");
    let bytes = read_file(&scene.disk, path).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..bits() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << if bits() == 1 { at % 8 } else { bit.into() };
            let disk = scene.disk.kill();
            disk.put(path, &bytes);
            if let Ok(mut rig) = Rig::open(Arc::new(disk), scene.settings.clone()) {
                content(&rig);
                rig.run("SADD big another");
                rig.run("ZADD ranks 5 another");
                rig.settle();
            }
        }
    }
}

#[test]
fn a_missing_file() {
    let scene = log_scene(true);
    for (path, may) in &scene.files {
        let disk = scene.disk.kill();
        crate::io::Disk::remove(&disk, path).unwrap();
        let ops = disk.ops();
        match Rig::open(Arc::new(disk.clone()), scene.settings.clone()) {
            Ok(rig) => {
                assert_eq!(*may, May::All, "{path:?}");
                assert_eq!(content(&rig), *scene.past.last().unwrap());
            }
            Err(e) => {
                assert!(e.0.contains("persist-aof"), "{e}");
                assert_eq!(disk.ops(), ops);
            }
        }
    }
}
