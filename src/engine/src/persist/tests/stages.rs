//! The log turned on, off and shut down in every stage of a rewrite, a panic,
//! and folders in states that only some history explains.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::content;
use super::judge::check_folder;
use crate::base::hash::Seed;
use crate::data::entry::SmallEntry;
use crate::data::value::Kind;
use crate::engine::Call;
use crate::format::HistoryId;
use crate::format::manifest::{IncrFile, Manifest};
use crate::format::snapshot::{SnapshotHeader, SnapshotWriter};
use crate::io::mem::{Crash, MemDisk};
use crate::io::{Disk, ReadDisk, read_file};
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

fn open(disk: &MemDisk, settings: Settings) -> Rig {
    Rig::open(Arc::new(disk.clone()), settings).unwrap_or_else(|e| panic!("{e}"))
}

fn on() -> Settings {
    settings(FsyncPolicy::Always)
}

fn off() -> Settings {
    Settings {
        appendonly: false,
        ..on()
    }
}

fn manifest_path() -> PathBuf {
    "/data/persist-aof/persist.aof.manifest".into()
}

fn manifest(disk: &MemDisk) -> Manifest {
    Manifest::parse(&read_file(disk, &manifest_path()).unwrap()).unwrap()
}

/// Goes `n` small steps of a rewrite: even ones tick, odd ones tell the end
/// of a child.
fn steps(rig: &mut Rig, n: usize) {
    for i in 0..n {
        if i % 2 == 0 {
            rig.engine.tick(&mut rig.host);
        } else if let Some(end) = rig.host.child.take() {
            rig.engine.child_done(&mut rig.host, end);
        }
    }
}

#[test]
fn turned_off_and_shut_down_in_every_stage_of_a_rewrite() {
    for n in 0..10 {
        let d = disk();
        let mut rig = open(&d, on());
        rig.run("SET a 1");
        rig.pass();
        rig.engine.rewrite(&mut rig.host).unwrap();
        steps(&mut rig, n);
        rig.run("SET b 1");
        rig.engine.apply(&mut rig.host, off());
        assert!(rig.pass());
        // All that was logged, while nothing was saved.
        let left = d.crash(Crash::DropUnsynced);
        let mut back = open(&left, off());
        assert_eq!(back.run("MGET a b"), "[\"1\" \"1\"]", "stage {n}");
        check_folder(&left);
        assert!(manifest(&left).closed_at.is_some());
        // On again, and shut down half way.
        rig.run("SET c 1");
        rig.engine.apply(&mut rig.host, on());
        steps(&mut rig, n);
        rig.run("SET d 1");
        rig.pass();
        rig.engine.shutdown(&mut rig.host);
        let left = d.crash(Crash::DropUnsynced);
        for _ in 0..2 {
            let mut back = open(&left, on());
            assert_eq!(
                back.run("MGET a b c d"),
                "[\"1\" \"1\" \"1\" \"1\"]",
                "stage {n}"
            );
            check_folder(&left);
        }
    }
}

#[test]
fn a_failed_attempt_to_turn_the_log_on_is_followed_by_another() {
    for n in 0..10 {
        let d = disk();
        let mut rig = open(&d, off());
        rig.run("SET a 1");
        rig.engine.apply(&mut rig.host, on());
        rig.host.next_child = Some(crate::host::ChildEnd::Killed(9));
        steps(&mut rig, n);
        // A crash now, and again after its recovery, loses what it may.
        for settings in [on(), off()] {
            let left = d.crash(Crash::Torn {
                seed: n as u64,
                granularity: 1,
            });
            for _ in 0..3 {
                open(&left, settings.clone());
                check_folder(&left);
            }
        }
        rig.settle();
        assert_eq!(rig.info("aof_turning_on"), "0", "{:?}", rig.host.lines);
        let mut back = open(&d.crash(Crash::DropUnsynced), on());
        assert_eq!(back.run("GET a"), "\"1\"");
    }
}

#[test]
fn while_a_job_is_under_way_groups_wait_and_are_written_at_its_end() {
    let d = disk();
    let mut rig = open(&d, settings(FsyncPolicy::Everysec));
    rig.run("SET a 1");
    rig.exec.0.lock().unwrap().stalled = true;
    rig.tick(1_100);
    rig.run("SET b 1");
    assert!(rig.pass());
    rig.tick(3_000);
    assert_ne!(rig.info("aof_buffer_length"), "0");
    assert_eq!(rig.info("aof_delayed_fsync"), "1");
    let mut back = open(&d.kill(), settings(FsyncPolicy::Everysec));
    assert_eq!(back.run("MGET a b"), "[\"1\" nil]");
    rig.exec.0.lock().unwrap().stalled = false;
    rig.pass();
    assert_eq!(rig.info("aof_buffer_length"), "0");
    let mut back = open(&d.kill(), settings(FsyncPolicy::Everysec));
    assert_eq!(back.run("MGET a b"), "[\"1\" \"1\"]");
    // Everything that is durable is forgotten.
    rig.tick(1_100);
    rig.tick(1_100);
    assert_eq!(rig.info("at_risk_bytes"), "0");
}

/// Whoever can't be held back is refused while the disk is behind, and only
/// under `everysec`.
#[test]
fn a_unit_is_refused_while_the_disk_is_behind() {
    for policy in [FsyncPolicy::Everysec, FsyncPolicy::No, FsyncPolicy::Always] {
        let d = disk();
        let mut rig = open(
            &d,
            Settings {
                max_at_risk_ms: 500,
                ..settings(policy)
            },
        );
        let unit = Call {
            atomic: true,
            cannot_wait: true,
            ..Call::default()
        };
        rig.run("SET a 1");
        rig.pass();
        rig.exec.0.lock().unwrap().stalled = policy == FsyncPolicy::Everysec;
        rig.tick(1_100);
        rig.run("SET b 1");
        rig.tick(600);
        // The answer is the same until the pass is over.
        let refused = policy == FsyncPolicy::Everysec;
        for _ in 0..2 {
            let reply = rig.call(unit, &[b"SET", b"c", b"1"]).to_string();
            assert_eq!(
                reply.starts_with("-TRYAGAIN"),
                refused,
                "{policy:?} {reply}"
            );
            rig.exec.0.lock().unwrap().stalled = false;
        }
        // Reads, and writers that can be held back, aren't refused.
        assert_eq!(rig.call(unit, &[b"GET", b"a"]).to_string(), "\"1\"");
        assert_eq!(rig.run("SET d 1"), "OK");
        let refusals = if refused { "2" } else { "0" };
        assert_eq!(rig.info("at_risk_refusals"), refusals);
        rig.tick(100);
        rig.tick(100);
        assert_eq!(rig.call(unit, &[b"SET", b"c", b"1"]).to_string(), "OK");
        // Without a bound nobody is.
        rig.engine.apply(
            &mut rig.host,
            Settings {
                max_at_risk_ms: 0,
                ..settings(policy)
            },
        );
        rig.exec.0.lock().unwrap().stalled = refused;
        rig.tick(1_100);
        rig.tick(5_000);
        assert_eq!(rig.call(unit, &[b"SET", b"c", b"1"]).to_string(), "OK");
    }
}

#[test]
fn after_a_panic_nothing_of_its_pass_is_kept_and_nothing_saved() {
    for policy in [FsyncPolicy::Always, FsyncPolicy::Everysec] {
        let d = disk();
        let with = Settings {
            save: "1 1".into(),
            ..settings(policy)
        };
        let mut rig = open(&d, with.clone());
        rig.run("SET a 1");
        assert!(rig.pass());
        rig.run("SET half done");
        rig.engine.poison(&mut rig.host);
        assert!(!rig.pass(), "its replies must not leave");
        assert!(rig.run("SET b 1").starts_with("-MISCONF"));
        assert!(rig.engine.save(&mut rig.host).is_err());
        assert!(rig.engine.bgsave(&mut rig.host, true).is_err());
        assert!(rig.engine.rewrite(&mut rig.host).is_err());
        rig.settle();
        assert_eq!(
            (rig.info("rdb_saves"), rig.info("aof_rewrites")),
            ("0".into(), "0".into())
        );
        rig.engine.shutdown(&mut rig.host);
        let mut back = open(&d.crash(Crash::DropUnsynced), with);
        assert_eq!(back.run("MGET a half b"), "[\"1\" nil nil]");
    }
}

#[test]
fn a_base_linked_to_the_snapshot_is_not_touched_by_later_saves() {
    let d = disk();
    let mut rig = open(&d, off());
    rig.run("SET a 1");
    rig.engine.save(&mut rig.host).unwrap();
    let mut rig = open(&d, on());
    let base = Path::new("/data/persist-aof/persist.aof.1.base.rdb");
    let before = read_file(&d, base).unwrap();
    assert_eq!(
        before,
        read_file(&d, Path::new("/data/persist.rdb")).unwrap()
    );
    rig.run("SET a 2");
    rig.engine.save(&mut rig.host).unwrap();
    assert_eq!(before, read_file(&d, base).unwrap());
    assert_ne!(
        before,
        read_file(&d, Path::new("/data/persist.rdb")).unwrap()
    );
    rig.pass();
    let mut back = open(&d.crash(Crash::DropUnsynced), on());
    assert_eq!(back.run("GET a"), "\"2\"");
}

#[test]
fn an_empty_log_folder_and_a_snapshot_of_nothing_are_in_order() {
    let d = disk();
    d.create_dir(Path::new("/data/persist-aof")).unwrap();
    let mut rig = open(&d, on());
    rig.engine.save(&mut rig.host).unwrap();
    rig.run("SET a 1");
    rig.pass();
    for settings in [on(), off(), on()] {
        assert_eq!(open(&d, settings).run("GET a"), "\"1\"");
    }
}

#[test]
fn a_snapshot_older_than_the_base_is_no_obstacle() {
    let d = disk();
    let mut rig = open(&d, on());
    rig.run("SET a 1");
    rig.engine.save(&mut rig.host).unwrap();
    rig.run("SET a 2");
    rig.pass();
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.settle();
    let mut back = open(&d.crash(Crash::DropUnsynced), on());
    assert_eq!(back.run("GET a"), "\"2\"");
}

#[test]
fn files_that_wait_are_dropped_and_a_torn_end_before_them_is_cut() {
    let d = disk();
    let mut rig = open(&d, on());
    rig.run("SET a 1");
    rig.pass();
    let mut m = manifest(&d);
    for seq in [2, 3] {
        let name = format!("persist.aof.{seq}.incr.aof");
        d.put(&Path::new("/data/persist-aof").join(&name), b"");
        m.incrs.push(IncrFile {
            name,
            seq,
            history: m.history,
            start: None,
            end: None,
        });
    }
    m.next_incr_seq = 4;
    d.put(&manifest_path(), &m.encode());
    let incr = Path::new("/data/persist-aof/persist.aof.1.incr.aof");
    let mut bytes = read_file(&d, incr).unwrap();
    bytes.extend_from_slice(b"#PG1 f=");
    d.put(incr, &bytes);
    for settings in [on(), off()] {
        let d = d.kill();
        let mut back = open(&d, settings);
        assert_eq!(back.run("GET a"), "\"1\"");
        check_folder(&d);
        // The torn end is kept, also after a power failure.
        let d = d.crash(Crash::DropUnsynced);
        let kept = d.list(Path::new("/data/quarantine")).unwrap();
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert!(d.len(incr).unwrap() < bytes.len() as u64);
    }
    let strict = Settings {
        aof_load_truncated: false,
        ..on()
    };
    let ops = d.ops();
    assert!(Rig::open(Arc::new(d.clone()), strict).is_err());
    assert_eq!(d.ops(), ops);
}

#[test]
fn a_wrong_closing_mark_is_refused() {
    let d = disk();
    let mut rig = open(&d, on());
    rig.run("SET a 1");
    rig.engine.apply(&mut rig.host, off());
    let mut m = manifest(&d);
    assert_eq!(m.closed_at, Some(1));
    m.closed_at = Some(2);
    d.put(&manifest_path(), &m.encode());
    let ops = d.ops();
    let e = Rig::open(Arc::new(d.clone()), on()).err().unwrap();
    assert!(
        e.0.contains("manifest") && e.0.contains("closed at sequence 2"),
        "{e}"
    );
    assert_eq!(d.ops(), ops);
}

#[test]
fn quarantine_replaces_nothing() {
    let d = disk();
    let mut rig = open(&d, on());
    rig.run("SET a 1");
    rig.pass();
    // The clock stands still, so the names would be the same.
    for n in 1..4 {
        d.put(Path::new("/data/persist-aof/persist.aof.9.incr.aof"), &[n]);
        open(&d, on());
    }
    let kept = d.list(Path::new("/data/quarantine")).unwrap();
    assert_eq!(kept.len(), 3, "{kept:?}");
}

#[test]
fn a_snapshot_with_an_expiry_of_0_is_refused() {
    let d = disk();
    let header = SnapshotHeader {
        created_ms: 1,
        seq: 1,
        history: HistoryId::new([1; 16]).unwrap(),
        seed: Seed([1; 16]).0,
        checksums: true,
        ending_fields: false,
    };
    let mut w = SnapshotWriter::begin(Vec::new(), &header, false).unwrap();
    w.database(0).unwrap();
    let entry = SmallEntry::new(Kind::String, b"k", Some(0), &[b"v"]);
    w.small(entry.as_bytes()).unwrap();
    w.segment_done(None).unwrap();
    let (bytes, _) = w.finish().unwrap();
    d.put(Path::new("/data/persist.rdb"), &bytes);
    let e = Rig::open(Arc::new(d), on()).err().unwrap();
    assert!(e.0.contains("an expiry after 1970"), "{e}");
}

#[test]
fn a_base_of_commands_holds_values_of_every_length() {
    let with = || Settings {
        aof_use_rdb_preamble: false,
        ..on()
    };
    let d = disk();
    let mut rig = open(&d, with());
    for n in [1, 63, 64, 65, 127, 128, 129, 640] {
        for i in 0..n {
            rig.run(&format!("RPUSH list{n} {i}"));
            rig.run(&format!("SADD set{n} {i}"));
            rig.run(&format!("HSET hash{n} {i} {i}"));
            rig.run(&format!("ZADD zset{n} {i}.5 {i}"));
        }
        rig.run(&format!("PEXPIREAT list{n} 99999999{n}"));
    }
    // Databases between, and before the last, stay empty.
    rig.argv(9, false, &[b"SET", b"", b""]);
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.settle();
    assert_eq!(rig.info("aof_last_bgrewrite_status"), "ok");
    assert!(manifest(&d).base.unwrap().name.ends_with(".aof"));
    let back = open(&d.crash(Crash::DropUnsynced), with());
    assert_eq!(content(&back), content(&rig));
}

#[test]
fn the_size_in_info_is_that_of_the_files() {
    let d = disk();
    let mut rig = open(&d, on());
    let size = |d: &MemDisk| {
        let log = Path::new("/data/persist-aof");
        let names = d.list(log).unwrap();
        let names = names.iter().filter(|n| !n.contains("manifest"));
        names
            .map(|n| d.len(&log.join(n)).unwrap())
            .sum::<u64>()
            .to_string()
    };
    for round in 0..4 {
        rig.run("SET a 1");
        rig.run("RPUSH l x");
        rig.pass();
        assert_eq!(rig.info("aof_current_size"), size(&d), "round {round}");
        rig.host.next_child = (round % 2 == 0).then_some(crate::host::ChildEnd::Exited(5));
        rig.engine.rewrite(&mut rig.host).unwrap();
        rig.settle();
        assert_eq!(
            rig.info("aof_current_size"),
            size(&d),
            "round {round}, rewritten"
        );
    }
    let mut back = open(&d, on());
    assert_eq!(back.info("aof_current_size"), size(&d));
}

#[test]
fn after_a_clean_end_what_is_missing_is_damage() {
    for policy in [FsyncPolicy::Always, FsyncPolicy::Everysec, FsyncPolicy::No] {
        let d = disk();
        let mut rig = open(&d, settings(policy));
        rig.run("SET a 1");
        assert!(rig.pass());
        rig.run("SET b 1");
        assert!(rig.pass());
        rig.engine.shutdown(&mut rig.host);
        assert_eq!(
            rig.run("SET late 1"),
            "-ERR the server is shutting down",
            "what goes in now wouldn't count"
        );
        let file = manifest(&d).incrs.pop().unwrap();
        let end = file.end.expect("marked");
        let path = format!("/data/persist-aof/{}", file.name);
        assert_eq!(ReadDisk::len(&d, Path::new(&path)).unwrap(), end.len);
        // Whole, it is taken, and goes on in another file.
        let mut back = open(&d.crash(Crash::DropUnsynced), settings(policy));
        assert_eq!(back.run("MGET a b"), "[\"1\" \"1\"]");
        // Cut between two groups or within one, it isn't.
        for cut in [end.len - 1, end.len / 2, 0] {
            let left = d.crash(Crash::DropUnsynced);
            Disk::truncate(&left, Path::new(&path), cut).unwrap();
            let refused = Rig::open(Arc::new(left), settings(policy));
            let error = refused.err().expect("refused").to_string();
            assert!(error.contains(&file.name), "{error}");
        }
    }
}
