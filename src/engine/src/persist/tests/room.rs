//! A disk that is nearly full: seen before a save or rewrite begins.

use std::path::Path;
use std::sync::Arc;

use crate::base::random::{Random, SeededRandom};
use crate::io::faulty::{Faults, FaultyDisk};
use crate::io::mem::MemDisk;
use crate::io::{Disk, ReadDisk};
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

fn open(settings: &Settings) -> (Rig, Faults, MemDisk) {
    let mem = disk();
    let faulty = FaultyDisk::new(Arc::new(mem.clone()));
    let faults = faulty.faults();
    let mut rig = Rig::open(Arc::new(faulty), settings.clone()).unwrap();
    rig.run("SET a 1");
    rig.pass();
    (rig, faults, mem)
}

/// Nothing was begun, nor left behind.
fn is_untouched(disk: &MemDisk, saved: bool) {
    let names = disk.list(Path::new("/data")).unwrap();
    assert_eq!(names.iter().any(|name| name == "persist.rdb"), saved);
    assert!(
        !names.iter().any(|name| name.starts_with("temp")),
        "{names:?}"
    );
}

#[test]
fn a_save_is_refused_and_works_later() {
    let (mut rig, faults, mem) = open(&settings(FsyncPolicy::Always));
    faults.set_free(Some(1000));
    let e = rig
        .engine
        .bgsave(&mut rig.host, false)
        .unwrap_err()
        .to_string();
    let want = "not enough disk space in /data: about 1179648 bytes are needed, 1000 are free";
    assert!(
        e.starts_with("ERR Can't save in background") && e.contains(want),
        "{e}"
    );
    let e = rig.engine.save(&mut rig.host).unwrap_err().to_string();
    assert!(e.contains(want), "{e}");
    assert_eq!(rig.host.child, None);
    assert_eq!(rig.info("rdb_last_bgsave_status"), "err");
    assert!(rig.host.lines.iter().any(|line| line.contains(want)));
    is_untouched(&mem, false);
    // What the last one took is known then, and that memory has not grown.
    faults.set_free(None);
    let mut value = vec![0; 200_000];
    SeededRandom::new(1).fill(&mut value);
    rig.argv(0, false, &[b"SET", b"big", &value]);
    rig.engine.save(&mut rig.host).unwrap();
    assert_eq!(rig.info("rdb_last_bgsave_status"), "ok");
    let len = ReadDisk::len(&mem, Path::new("/data/persist.rdb")).unwrap();
    faults.set_free(Some((1 << 20) + len - 1));
    rig.engine.bgsave(&mut rig.host, false).unwrap_err();
    faults.set_free(Some((1 << 20) + len));
    rig.engine.bgsave(&mut rig.host, false).unwrap();
    rig.settle();
    assert_eq!(rig.info("rdb_saves"), "2");
    is_untouched(&mem, true);
}

#[test]
fn an_automatic_save_comes_back_after_5_seconds() {
    let (mut rig, faults, _) = open(&Settings {
        save: "1 1".into(),
        ..settings(FsyncPolicy::Always)
    });
    faults.set_free(Some(0));
    let tries = |rig: &Rig| {
        let lines = rig.host.lines.iter();
        lines
            .filter(|line| line.contains("not enough disk space"))
            .count()
    };
    for _ in 0..35 {
        rig.tick(100);
    }
    assert_eq!(tries(&rig), 1);
    assert!(rig.run("SET b 1").starts_with("-MISCONF"));
    for _ in 0..50 {
        rig.tick(100);
    }
    assert_eq!(tries(&rig), 2);
    faults.set_free(None);
    for _ in 0..80 {
        rig.tick(100);
    }
    assert_eq!(tries(&rig), 2);
    assert_eq!(rig.info("rdb_saves"), "1");
    assert_eq!(rig.run("SET b 1"), "OK");
}

#[test]
fn a_rewrite_is_refused_and_comes_back() {
    let (mut rig, faults, mem) = open(&Settings {
        auto_aof_rewrite_min_size: 1000,
        ..settings(FsyncPolicy::Always)
    });
    faults.set_free(Some(1000));
    let e = rig.engine.rewrite(&mut rig.host).unwrap_err().to_string();
    assert!(
        e.contains("not enough disk space in /data/persist-aof"),
        "{e}"
    );
    assert_eq!(rig.info("aof_last_bgrewrite_status"), "err");
    let before = mem.list(Path::new("/data/persist-aof")).unwrap();
    for _ in 0..20 {
        rig.run("SET a 1234567890");
        rig.pass();
    }
    let tries = |rig: &Rig| {
        let lines = rig.host.lines.iter();
        lines
            .filter(|line| line.contains("not enough disk space"))
            .count()
    };
    for _ in 0..110 {
        rig.tick(100);
    }
    assert_eq!(tries(&rig), 3);
    assert_eq!(rig.info("aof_rewrites_consecutive_failures"), "0");
    assert_eq!(mem.list(Path::new("/data/persist-aof")).unwrap(), before);
    faults.set_free(None);
    for _ in 0..60 {
        rig.tick(100);
    }
    assert_eq!(rig.info("aof_rewrites"), "1");
    assert_eq!(rig.info("aof_last_bgrewrite_status"), "ok");
}

#[test]
fn a_log_is_not_turned_on_without_room_for_its_base() {
    let off = Settings {
        appendonly: false,
        ..settings(FsyncPolicy::Always)
    };
    let (mut rig, faults, mem) = open(&off);
    faults.set_free(Some(1000));
    let on = Settings {
        appendonly: true,
        ..off
    };
    rig.engine.apply(&mut rig.host, on);
    rig.settle();
    assert_eq!(rig.info("aof_enabled"), "0");
    assert!(!mem.exists(Path::new("/data/persist-aof")).unwrap());
    assert!(
        rig.host
            .lines
            .iter()
            .any(|line| line.contains("can't be turned on"))
    );
}

/// The last save of a server that stops is tried in any case: an estimate must
/// not cost data.
#[test]
fn the_last_save_is_tried() {
    let (mut rig, faults, mem) = open(&Settings {
        appendonly: false,
        save: "3600 1".into(),
        ..settings(FsyncPolicy::Always)
    });
    faults.set_free(Some(0));
    rig.engine.shutdown(&mut rig.host);
    assert!(mem.exists(Path::new("/data/persist.rdb")).unwrap());
}

#[test]
fn the_systems_disk_tells() {
    let os = crate::io::os::OsDisk::PRIVATE;
    let free = os.free_space(Path::new("/")).unwrap();
    assert!(free > 0 && free < u64::MAX, "{free}");
    assert!(os.free_space(Path::new("/no such folder")).is_err());
}
