//! PERSIST.VERIFY, its thread played by the test.

use std::path::Path;
use std::sync::Arc;

use crate::io::mem::MemDisk;
use crate::io::{ReadDisk, read_file};
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

/// A snapshot, a base, a closed file and an open one.
fn scene(rdb: bool) -> (MemDisk, Rig) {
    let disk = disk();
    let settings = Settings {
        aof_use_rdb_preamble: rdb,
        ..settings(FsyncPolicy::Always)
    };
    let open = || Rig::open(Arc::new(disk.clone()), settings.clone()).unwrap();
    let mut rig = open();
    rig.run("SET a 1");
    rig.engine.save(&mut rig.host).unwrap();
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.settle();
    rig.run("INCR a");
    rig.pass();
    drop(rig);
    let mut rig = open();
    rig.run("INCR a");
    rig.pass();
    (disk, rig)
}

fn verify(rig: &mut Rig) -> String {
    rig.engine.verify().unwrap().run();
    rig.tick(100);
    rig.info("verify_last_status")
}

#[test]
fn all_files_and_what_is_written_meanwhile() {
    for rdb in [true, false] {
        let (disk, mut rig) = scene(rdb);
        assert_eq!(rig.info("verify_last_status"), "none");
        let ops = disk.ops();
        let task = rig.engine.verify().unwrap();
        assert_eq!(rig.info("verify_in_progress"), "1");
        let again = rig.engine.verify().err().unwrap().to_string();
        assert_eq!(again, "ERR Background verification already in progress");
        rig.tick(1000);
        assert_eq!(rig.info("verify_in_progress"), "1");
        assert!(disk.ops() == ops, "something was changed");
        rig.run("INCR a");
        rig.pass();
        task.run();
        assert_eq!(
            rig.info("verify_bytes_done"),
            rig.info("verify_bytes_total")
        );
        rig.tick(100);
        assert_eq!(rig.info("verify_last_status"), "ok");
        assert_eq!(rig.info("verify_last_time_sec"), "1");
        assert!(rig.host.lines.iter().any(|line| line.contains("4 files,")));
        assert_eq!(verify(&mut rig), "ok");
    }
}

/// A flipped bit in each file, at many places.
#[test]
fn damage_is_found() {
    let (disk, mut rig) = scene(true);
    let log = Path::new("/data/persist-aof");
    let names = disk.list(log).unwrap().into_iter();
    let mut paths: Vec<_> = names.map(|name| log.join(name)).collect();
    // The manifest in force is the one in memory.
    paths.retain(|path| !path.ends_with("persist.aof.manifest"));
    paths.push("/data/persist.rdb".into());
    assert_eq!(paths.len(), 4);
    for path in paths {
        let sound = read_file(&disk, &path).unwrap();
        for at in (0..sound.len()).step_by(7) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            disk.put(&path, &bytes);
            assert_eq!(verify(&mut rig), "err", "{path:?}, byte {at}");
            let why = rig.info("verify_last_error");
            assert!(why.contains(path.to_str().unwrap()), "{why}");
        }
        disk.put(&path, &sound[..sound.len() - 1]);
        assert_eq!(verify(&mut rig), "err", "{path:?}");
        disk.put(&path, &sound);
        assert_eq!(verify(&mut rig), "ok", "{path:?}");
    }
}

#[test]
fn a_rewrite_and_a_save_come_in_between() {
    let (_disk, mut rig) = scene(true);
    let task = rig.engine.verify().unwrap();
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.settle();
    task.run();
    rig.tick(100);
    assert_eq!(rig.info("verify_last_status"), "interrupted");
    assert_eq!(rig.info("verify_last_error"), "missing");
    let task = rig.engine.verify().unwrap();
    rig.run("INCR a");
    rig.engine.save(&mut rig.host).unwrap();
    task.run();
    rig.tick(100);
    assert_eq!(rig.info("verify_last_status"), "ok");
    rig.engine.verify().unwrap().failed("no thread");
    rig.tick(100);
    assert_eq!(rig.info("verify_last_error"), "no thread");
}

#[test]
fn without_a_log() {
    let disk = disk();
    let settings = Settings {
        appendonly: false,
        ..settings(FsyncPolicy::No)
    };
    let mut rig = Rig::open(Arc::new(disk.clone()), settings).unwrap();
    assert_eq!(verify(&mut rig), "ok");
    rig.run("SET a 1");
    rig.engine.save(&mut rig.host).unwrap();
    assert_eq!(verify(&mut rig), "ok");
    let path = Path::new("/data/persist.rdb");
    let mut bytes = read_file(&disk, path).unwrap();
    bytes[120] ^= 1;
    disk.put(path, &bytes);
    assert_eq!(verify(&mut rig), "err");
}
