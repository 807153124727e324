//! Every operation on the disk of a random life fails: nothing is falsely
//! acknowledged, writes are refused while the log is broken, and all heals
//! once the disk works again.

use std::path::Path;
use std::sync::Arc;

use super::driver::{Life, POLICIES, Told, any_settings, first_seed, rounds};
use super::judge::{End, check_folder, judge};
use crate::base::random::SeededRandom;
use crate::engine::{Call, Fate};
use crate::format::manifest::Manifest;
use crate::host::ChildEnd;
use crate::io::faulty::{Fault, FaultyDisk, Op};
use crate::io::mem::{Crash, MemDisk};
use crate::io::read_file;
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What must hold at any moment, whatever failed.
fn check(life: &Life) {
    let now = life.moment(life.disk.clone());
    for end in [End::Kill, End::Power(Crash::DropUnsynced)] {
        let left = end.apply(&life.disk);
        judge(&life.states, &now, end, &left, now.promise.owed(end));
    }
}

/// Lives `steps` steps with `fault` at operation `n`; whether it came to that.
fn live_with(seed: u64, steps: u64, n: u64, fault: Fault) -> bool {
    let mut rng = SeededRandom::new(seed ^ 0xfa17);
    let mut settings = any_settings(&mut rng);
    settings.appendonly = true;
    let disk = disk();
    let life = Life::begin_on(disk.clone(), seed, settings.clone(), |f| f.set(n, fault));
    let Ok(mut life) = life else {
        // Refused to start; then there is nothing to be lost, and the next
        // start works.
        Rig::open(Arc::new(disk), settings)
            .unwrap_or_else(|e| panic!("after {fault:?} at {n}: {e}"));
        return true;
    };
    life.watch = false;
    // The same seed gives the same operations up to the fault.
    if seed.is_multiple_of(2) {
        life.pace();
    }
    let mut hits = life.faults.hits();
    for _ in 0..steps {
        life.step();
        if life.faults.hits() > hits {
            hits = life.faults.hits();
            let told = Told(format!("SEED={seed}, {fault:?} at operation {n}"), &life);
            check(&life);
            drop(told);
        }
    }
    let mut told = format!("SEED={seed}, {fault:?} at operation {n}, in the end");
    if matches!(fault, Fault::Always(_)) && life.rig.info("aof_last_write_status") == "err" {
        let reply = life.rig.run("SET refused 1");
        assert!(reply.starts_with("-MISCONF"), "{told}: {reply}");
    }
    life.calm_down();
    let told_life = Told(told.clone(), &life);
    check(&life);
    drop(told_life);
    told += ", healed";
    if life.rig.info("aof_turning_on") == "1" {
        // After three failures the next attempt waits for minutes, as in
        // Redis; an operator needn't.
        let failures = life.rig.info("aof_rewrites_consecutive_failures");
        assert!(failures.parse().is_ok_and(|n: u32| n >= 3), "{told}");
        let Rig { engine, host, .. } = &mut life.rig;
        engine
            .rewrite(host)
            .unwrap_or_else(|e| panic!("{told}: {e}"));
        life.calm_down();
    }
    let on = life.rig.engine.settings().appendonly;
    let status = life.rig.info("aof_last_write_status");
    assert_eq!(
        (status.as_str(), life.rig.info("aof_turning_on").as_str()),
        ("ok", "0"),
        "{told}: {:#?}",
        life.rig.host.lines
    );
    assert_eq!(life.rig.run("SET accepted again"), "OK", "{told}");
    let (states, end) = (life.states.len(), End::Power(Crash::DropUnsynced));
    if on {
        life.calm_down();
    }
    if !on || life.rig.engine.settings().appendfsync == FsyncPolicy::No {
        let Rig { engine, host, .. } = &mut life.rig;
        engine.save(host).unwrap_or_else(|e| panic!("{told}: {e}"));
    }
    if states == life.states.len() {
        life.step();
    }
    let told_life = Told(told, &life);
    let left = end.apply(&life.disk);
    let mut back = Rig::open_at(
        Arc::new(left.clone()),
        life.rig.engine.settings().clone(),
        9_000_000,
        5,
    )
    .unwrap_or_else(|e| panic!("{e}"));
    check_folder(&left);
    assert_eq!(back.run("GET accepted"), "\"again\"");
    drop(told_life);
    hits > 0
}

/// Each operation of a life meets each fault; `stride` leaves some out.
fn fail_everywhere(seed: u64, steps: u64, stride: u64) {
    let faults = [
        Fault::once(EIO),
        Fault::once(ENOSPC),
        Fault::always(ENOSPC),
        Fault::always(EIO),
        Fault::Short(7),
        Fault::Short(0),
    ];
    let mut n = 1 + seed % stride;
    loop {
        let mut met = false;
        for fault in faults {
            met |= live_with(seed, steps, n, fault);
        }
        if !met {
            return;
        }
        n += stride;
    }
}

#[test]
fn every_operation_fails() {
    let (lives, stride) = if rounds() > 1 { (rounds(), 1) } else { (2, 4) };
    for seed in (first_seed()..).take(lives as usize) {
        fail_everywhere(seed, 60, stride);
    }
}

/// An engine on a disk that fails on demand.
fn rig(settings: Settings) -> (MemDisk, crate::io::faulty::Faults, Rig) {
    let mem = disk();
    let faulty = FaultyDisk::new(Arc::new(mem.clone()));
    let faults = faulty.faults();
    let rig = Rig::open(Arc::new(faulty), settings).unwrap_or_else(|e| panic!("{e}"));
    (mem, faults, rig)
}

#[test]
fn under_always_a_failed_fsync_heals_within_the_pass() {
    let (mem, faults, mut rig) = rig(settings(FsyncPolicy::Always));
    rig.run("SET a 1");
    faults.set_on(Op::Sync, 1, Fault::once(EIO));
    assert!(rig.pass());
    let left = mem.crash(Crash::DropUnsynced);
    let mut back = Rig::open(Arc::new(left), settings(FsyncPolicy::Always)).unwrap();
    assert_eq!(back.run("GET a"), "\"1\"");
}

#[test]
fn while_the_disk_is_full_writes_are_refused_and_reads_answered() {
    let (mem, faults, mut rig) = rig(settings(FsyncPolicy::Always));
    rig.run("SET a 1");
    assert!(rig.pass());
    rig.run("SET b 1");
    faults.set(1, Fault::always(ENOSPC));
    assert!(!rig.pass(), "b isn't durable");
    let tried = faults.ops();
    for _ in 0..5 {
        assert!(rig.run("SET c 1").starts_with("-MISCONF"));
        assert_eq!(rig.run("GET a"), "\"1\"");
        assert!(rig.pass(), "nothing was promised in this pass");
    }
    assert_eq!(
        faults.ops(),
        tried,
        "not tried again before a second is over"
    );
    rig.tick(1_100);
    assert!(faults.ops() > tried);
    assert_eq!(rig.info("aof_last_write_status"), "err");
    faults.clear();
    rig.tick(1_100);
    rig.tick(100);
    assert_eq!(
        rig.info("aof_last_write_status"),
        "ok",
        "{:?}",
        rig.host.lines
    );
    assert_eq!(rig.run("SET c 1"), "OK");
    assert!(rig.pass());
    let left = mem.crash(Crash::DropUnsynced);
    let mut back = Rig::open(Arc::new(left), settings(FsyncPolicy::Always)).unwrap();
    assert_eq!(back.run("MGET a b c"), "[\"1\" \"1\" \"1\"]");
}

/// Under `no` written groups aren't kept in memory: if they can't be synced
/// any more, a new base holds them.
#[test]
fn what_is_neither_durable_nor_in_memory_is_healed_by_a_base() {
    let (mem, faults, mut rig) = rig(settings(FsyncPolicy::No));
    rig.run("SET a 1");
    assert!(rig.pass());
    assert_eq!(rig.info("durable_seq"), "0");
    rig.run("SET b 1");
    faults.set_on(Op::Append, 1, Fault::once(ENOSPC));
    rig.pass();
    faults.set_on(Op::Sync, 1, Fault::once(EIO));
    rig.tick(100);
    assert_eq!(rig.info("aof_last_write_status"), "err");
    rig.host.next_child = Some(ChildEnd::Exited(ENOSPC));
    rig.settle();
    rig.settle();
    assert_eq!(
        rig.info("aof_last_write_status"),
        "ok",
        "{:#?}",
        rig.host.lines
    );
    assert_eq!(
        (rig.info("aof_rewrites"), rig.info("durable_seq")),
        ("1".into(), "2".into())
    );
    let left = mem.crash(Crash::DropUnsynced);
    let mut back = Rig::open(Arc::new(left), settings(FsyncPolicy::No)).unwrap();
    assert_eq!(back.run("MGET a b"), "[\"1\" \"1\"]");
}

#[test]
fn a_log_turned_off_while_broken_ends_where_it_was_written() {
    let (mem, faults, mut rig) = rig(settings(FsyncPolicy::Everysec));
    rig.run("SET a 1");
    rig.pass();
    rig.run("SET b 1");
    faults.set_on(Op::Append, 1, Fault::always(ENOSPC));
    rig.pass();
    let off = Settings {
        appendonly: false,
        ..settings(FsyncPolicy::Everysec)
    };
    rig.engine.apply(&mut rig.host, off.clone());
    assert!(
        rig.host.lines.iter().any(|l| l.contains("Take a snapshot")),
        "{:?}",
        rig.host.lines
    );
    assert_eq!(
        rig.run("SET c 1"),
        "OK",
        "the promise is that of snapshots now"
    );
    let open = |mem: &MemDisk| Rig::open(Arc::new(mem.clone()), off.clone()).unwrap();
    let left = mem.crash(Crash::DropUnsynced);
    assert_eq!(open(&left).run("MGET a b c"), "[\"1\" nil nil]");
    // The mark could not be made, since the manifest needs an append, too.
    faults.clear();
    rig.tick(1_100);
    rig.tick(100);
    let left = mem.crash(Crash::DropUnsynced);
    assert_eq!(open(&left).run("MGET a b c"), "[\"1\" nil nil]");
    assert!(
        rig.host.lines.last().unwrap().contains("off and closed"),
        "{:?}",
        rig.host.lines
    );
}

/// The fsync that is to end a log fails: who was promised one isn't told that
/// all is well. Else all are, also those who are held or wait in PERSIST.SYNC.
#[test]
fn a_log_that_is_turned_off_tells_what_became_of_the_last_writes() {
    for (fails, policy) in [true, false]
        .into_iter()
        .flat_map(|fails| POLICIES.map(|policy| (fails, policy)))
    {
        // One CONFIG SET may change both.
        let off = Settings {
            appendonly: false,
            ..settings(policy)
        };
        let (mem, faults, mut rig) = rig(settings(FsyncPolicy::Always));
        rig.run("SET a 1");
        assert!(rig.pass());
        let held = Call {
            held: true,
            ..Call::default()
        };
        rig.call(held, &[b"SET", b"b", b"1"]);
        let until = rig.engine.seq();
        assert_eq!(rig.engine.fate(until), Fate::Open);
        rig.run("SET c 1");
        let all = rig.engine.ask_sync().unwrap();
        if fails {
            faults.set_on(Op::Sync, 1, Fault::once(EIO));
        }
        rig.engine.apply(&mut rig.host, off.clone());
        assert_eq!(rig.pass(), !fails, "c's reply, fails: {fails}, {policy:?}");
        let fate = if fails { Fate::Failed } else { Fate::Kept };
        assert_eq!(rig.engine.fate(until), fate);
        let synced = rig.engine.is_synced(all);
        assert_eq!(synced.is_err(), fails, "{synced:?}");
        assert!(fails || synced == Ok(true));
        let left = mem.crash(Crash::DropUnsynced);
        let mut back = Rig::open(Arc::new(left), off.clone()).unwrap();
        let found = if fails { "nil nil" } else { "\"1\" \"1\"" };
        assert_eq!(back.run("MGET b c"), format!("[{found}]"));
        // From now on nothing is promised, and nobody is cut off.
        assert_eq!(rig.run("SET d 1"), "OK");
        assert!(rig.pass());
        assert!(rig.engine.ask_sync().is_err());
    }
}

/// A base is put in force behind a commit that is still under way, and fails.
/// A manifest that names it may be in place, so another mustn't get its name.
#[test]
fn numbers_taken_behind_a_commit_under_way_stay_taken() {
    for n in 1.. {
        let (mem, faults, mut rig) = rig(settings(FsyncPolicy::Everysec));
        rig.run("SET a 1");
        rig.settle();
        rig.engine.rewrite(&mut rig.host).unwrap();
        rig.pass();
        rig.exec.0.lock().unwrap().stalled = true;
        rig.tick(100);
        // The old file's end is being committed, and the child has its base.
        let end = rig.host.child.take().unwrap();
        rig.engine.child_done(&mut rig.host, end);
        faults.set(n, Fault::once(EIO));
        let before = faults.hits();
        rig.exec.0.lock().unwrap().stalled = false;
        rig.settle();
        if faults.hits() == before {
            assert!(n > 10, "{n} operations");
            break;
        }
        let failed = rig.info("aof_rewrites") == "0";
        rig.run("SET b 1");
        let _ = rig.engine.rewrite(&mut rig.host);
        rig.settle();
        rig.settle();
        let left = mem.crash(Crash::DropUnsynced);
        let bytes = read_file(&left, Path::new("/data/persist-aof/persist.aof.manifest")).unwrap();
        let base = Manifest::parse(&bytes).unwrap().base.unwrap();
        let lines = &rig.host.lines;
        assert_eq!(base.seq, 3, "fault {n}, failed: {failed}, {lines:#?}");
        check_folder(&left);
        let mut back = Rig::open(Arc::new(left), settings(FsyncPolicy::Everysec)).unwrap();
        assert_eq!(back.run("MGET a b"), "[\"1\" \"1\"]");
    }
}

/// A rewrite that was cancelled while it waited for the fork slot leaves a
/// file in the manifest; the next one drops it.
#[test]
fn a_rewrite_after_a_cancelled_one() {
    let (mem, faults, mut rig) = rig(settings(FsyncPolicy::Always));
    rig.run("SET a 1");
    rig.pass();
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.host.slot_taken = true;
    rig.tick(100);
    rig.tick(100);
    rig.run("SET b 1");
    faults.set_on(Op::Sync, 1, Fault::once(EIO));
    assert!(rig.pass());
    for slot_taken in [true, false] {
        rig.host.slot_taken = slot_taken;
        // It may have been scheduled already.
        let _ = rig.engine.rewrite(&mut rig.host);
        rig.settle();
    }
    assert_eq!(rig.info("aof_rewrites"), "1", "{:#?}", rig.host.lines);
    let left = mem.crash(Crash::DropUnsynced);
    let mut back = Rig::open(Arc::new(left.clone()), settings(FsyncPolicy::Always)).unwrap();
    check_folder(&left);
    assert_eq!(back.run("MGET a b"), "[\"1\" \"1\"]");
}

/// The first fsync of a log whose base is just being put in force fails.
#[test]
fn a_fault_while_the_base_of_a_new_log_is_committed() {
    let off = Settings {
        appendonly: false,
        ..settings(FsyncPolicy::Everysec)
    };
    let (mem, faults, mut rig) = rig(off);
    rig.run("SET a 1");
    rig.engine
        .apply(&mut rig.host, settings(FsyncPolicy::Everysec));
    rig.tick(1_100);
    rig.tick(1_100);
    rig.run("SET b 1");
    rig.pass();
    rig.exec.0.lock().unwrap().stalled = true;
    faults.set_on(Op::Sync, 1, Fault::once(EIO));
    rig.tick(1_100);
    rig.tick(1_100);
    rig.exec.0.lock().unwrap().stalled = false;
    rig.settle();
    assert_eq!(rig.info("aof_turning_on"), "0", "{:#?}", rig.host.lines);
    assert_eq!(rig.run("SET c 1"), "OK");
    rig.settle();
    let left = mem.crash(Crash::DropUnsynced);
    let mut back = Rig::open(Arc::new(left), settings(FsyncPolicy::Everysec)).unwrap();
    assert_eq!(back.run("MGET a b c"), "[\"1\" \"1\" \"1\"]");
}

#[test]
fn a_failed_save_keeps_the_old_one_and_is_tried_again() {
    let with = || Settings {
        appendonly: false,
        save: "1 1".into(),
        ..settings(FsyncPolicy::No)
    };
    let (mem, faults, mut rig) = rig(with());
    rig.run("SET a 1");
    rig.engine.save(&mut rig.host).unwrap();
    rig.run("SET a 2");
    faults.set_on(Op::Append, 1, Fault::once(ENOSPC));
    rig.tick(2_000);
    rig.tick(100);
    assert_eq!(rig.info("rdb_last_bgsave_status"), "err");
    assert!(rig.run("SET b 1").starts_with("-MISCONF"));
    assert!(
        rig.host.lines.iter().any(|l| l.contains("No space left")),
        "{:?}",
        rig.host.lines
    );
    let mut back = Rig::open(Arc::new(mem.crash(Crash::DropUnsynced)), with()).unwrap();
    assert_eq!(back.run("GET a"), "\"1\"");
    assert_eq!(rig.info("rdb_saves"), "1");
    rig.tick(4_000);
    assert_eq!(
        rig.info("rdb_bgsave_in_progress"),
        "0",
        "five seconds aren't over"
    );
    rig.tick(3_000);
    rig.tick(100);
    rig.tick(100);
    assert_eq!(
        (rig.info("rdb_last_bgsave_status"), rig.info("rdb_saves")),
        ("ok".into(), "2".into())
    );
    assert_eq!(rig.run("SET b 1"), "OK");
    let mut back = Rig::open(Arc::new(mem.crash(Crash::DropUnsynced)), with()).unwrap();
    assert_eq!(back.run("GET a"), "\"2\"");
}

#[test]
fn failed_automatic_rewrites_back_off() {
    let with = Settings {
        auto_aof_rewrite_min_size: 0,
        auto_aof_rewrite_percentage: 1,
        ..settings(FsyncPolicy::Always)
    };
    let (_, _, mut rig) = rig(with);
    rig.argv(0, false, &[b"SET", b"a", &[b'x'; 9000]]);
    rig.pass();
    for _ in 0..200 {
        rig.host.next_child = Some(ChildEnd::Killed(9));
        rig.tick(100);
    }
    let failures = rig.info("aof_rewrites_consecutive_failures");
    assert_eq!(failures, "3", "{:?}", rig.host.lines);
    assert_eq!(rig.info("aof_last_bgrewrite_status"), "err");
    rig.host.next_child = None;
    rig.tick(60_000);
    rig.settle();
    assert_eq!(rig.info("aof_rewrites_consecutive_failures"), "0");
    assert_eq!(
        (
            rig.info("aof_rewrites"),
            rig.info("aof_last_bgrewrite_status")
        ),
        ("1".into(), "ok".into())
    );
}
