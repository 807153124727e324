//! PERSIST.REWRITE CANCEL in every stage of a rewrite, and where it is
//! refused.

use std::sync::Arc;

use super::judge::check_folder;
use crate::io::faulty::{Error, Fault, FaultyDisk, Op};
use crate::io::mem::{Crash, MemDisk};
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

fn open(disk: &MemDisk, settings: Settings) -> Rig {
    Rig::open(Arc::new(disk.clone()), settings).unwrap_or_else(|e| panic!("{e}"))
}

fn cancel(rig: &mut Rig) -> Result<&'static str, String> {
    let result = rig.engine.cancel_rewrite(&mut rig.host);
    result.map_err(|e| e.to_string())
}

/// Ticks, without telling the end of a child.
fn tick(rig: &mut Rig) {
    rig.engine.tick(&mut rig.host);
}

const RUNNING: &str = "Background append only file rewriting cancelled";
const WAITING: &str = "Scheduled background append only file rewriting cancelled";

#[test]
fn a_cancelled_rewrite_leaves_a_whole_log_and_no_blame() {
    for policy in [FsyncPolicy::Always, FsyncPolicy::Everysec, FsyncPolicy::No] {
        for stage in ["scheduled", "opening", "ready", "child"] {
            let d = disk();
            let mut rig = open(&d, settings(policy));
            rig.run("SET a 1");
            rig.pass();
            assert!(
                cancel(&mut rig)
                    .unwrap_err()
                    .contains("not in progress or scheduled")
            );
            rig.host.slot_taken = stage == "scheduled";
            rig.exec.0.lock().unwrap().stalled = stage == "opening";
            rig.engine.rewrite(&mut rig.host).unwrap();
            rig.host.slot_taken |= stage == "ready";
            tick(&mut rig);
            tick(&mut rig);
            assert_eq!(rig.host.child.is_some(), stage == "child");
            let expected = match stage {
                "scheduled" => WAITING,
                _ => RUNNING,
            };
            assert_eq!(cancel(&mut rig).as_deref(), Ok(expected), "{stage}");
            assert!(cancel(&mut rig).is_err(), "{stage}");
            for (field, value) in [
                ("aof_rewrite_in_progress", "0"),
                ("aof_rewrite_scheduled", "0"),
                ("aof_last_bgrewrite_status", "ok"),
                ("aof_rewrites_consecutive_failures", "0"),
            ] {
                assert_eq!(rig.info(field), value, "{stage}: {field}");
            }
            rig.exec.0.lock().unwrap().stalled = false;
            rig.host.slot_taken = false;
            rig.run("SET b 1");
            rig.settle();
            assert_eq!(rig.info("aof_rewrites"), "0", "{stage}");
            for _ in 0..3 {
                let left = d.kill();
                let mut back = open(&left, settings(policy));
                check_folder(&left);
                assert_eq!(back.run("MGET a b"), "[\"1\" \"1\"]", "{stage}");
            }
            // The next one works.
            rig.engine.rewrite(&mut rig.host).unwrap();
            rig.run("SET c 1");
            rig.settle();
            assert_eq!(rig.info("aof_rewrites"), "1", "{stage}");
            rig.engine.shutdown(&mut rig.host);
            let left = d.crash(Crash::DropUnsynced);
            let mut back = open(&left, settings(policy));
            check_folder(&left);
            assert_eq!(back.run("MGET a b c"), "[\"1\" \"1\" \"1\"]", "{stage}");
        }
    }
}

/// What asked for it is still there, and it would begin again at once.
#[test]
fn none_begins_by_itself_for_a_minute() {
    let with = Settings {
        auto_aof_rewrite_min_size: 2_000,
        ..settings(FsyncPolicy::Everysec)
    };
    let mut rig = open(&disk(), with);
    for i in 0..100 {
        rig.run(&format!("SET key:{i} {i}"));
    }
    rig.pass();
    tick(&mut rig);
    assert_eq!(rig.info("aof_rewrite_in_progress"), "1");
    assert_eq!(cancel(&mut rig).as_deref(), Ok(RUNNING));
    rig.settle();
    for _ in 0..50 {
        rig.tick(1_000);
        assert_eq!(rig.info("aof_rewrite_in_progress"), "0");
    }
    rig.tick(10_000);
    rig.settle();
    assert_eq!(rig.info("aof_rewrites"), "1");
}

#[test]
fn a_rewrite_that_the_log_needs_isnt_cancelled() {
    // The log is being turned on.
    let off = Settings {
        appendonly: false,
        ..settings(FsyncPolicy::Always)
    };
    let mut rig = open(&disk(), off);
    rig.run("SET a 1");
    rig.host.slot_taken = true;
    rig.engine
        .apply(&mut rig.host, settings(FsyncPolicy::Always));
    assert_eq!(rig.info("aof_rewrite_scheduled"), "1");
    assert!(cancel(&mut rig).unwrap_err().contains("being turned on"));
    rig.host.slot_taken = false;
    tick(&mut rig);
    tick(&mut rig);
    assert!(rig.host.child.is_some());
    assert!(cancel(&mut rig).unwrap_err().contains("being turned on"));
    rig.settle();
    assert_eq!(rig.info("aof_turning_on"), "0");
    // The log can't be written.
    let d = disk();
    let faulty = FaultyDisk::new(Arc::new(d.clone()));
    let faults = faulty.faults();
    let mut rig = Rig::open(Arc::new(faulty), settings(FsyncPolicy::Always)).unwrap();
    faults.set_on(Op::Sync, 1, Fault::Always(Error::Os(5)));
    rig.run("SET a 1");
    assert!(!rig.pass());
    rig.engine.rewrite(&mut rig.host).unwrap();
    assert!(cancel(&mut rig).unwrap_err().contains("whole again"));
    faults.clear();
    rig.settle();
    assert_eq!(rig.info("aof_last_write_status"), "ok");
}

/// Once its base is being put in force it is too late.
#[test]
fn a_commit_isnt_cancelled() {
    let mut rig = open(&disk(), settings(FsyncPolicy::Always));
    rig.run("SET a 1");
    rig.pass();
    rig.engine.rewrite(&mut rig.host).unwrap();
    tick(&mut rig);
    tick(&mut rig);
    rig.exec.0.lock().unwrap().stalled = true;
    let end = rig.host.child.take().unwrap();
    rig.engine.child_done(&mut rig.host, end);
    assert_eq!(rig.info("aof_rewrite_in_progress"), "1");
    assert!(cancel(&mut rig).unwrap_err().contains("too late"));
    rig.exec.0.lock().unwrap().stalled = false;
    rig.settle();
    assert_eq!(rig.info("aof_rewrites"), "1");
}
