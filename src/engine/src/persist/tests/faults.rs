//! Every operation on the disk of a random life fails: nothing is falsely
//! acknowledged, writes are refused while the log is broken, and all heals
//! once the disk works again.

use std::sync::Arc;

use super::driver::{End, Life, Told, any_settings, check_folder, first_seed, judge, rounds};
use crate::base::random::{Random, SeededRandom};
use crate::host::ChildEnd;
use crate::io::faulty::{Fault, FaultyDisk, Op};
use crate::io::mem::{Crash, MemDisk};
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
    for seed in (first_seed()..).take(3 * rounds() as usize) {
        fail_everywhere(seed, 60, if rounds() > 1 { 1 } else { 3 });
    }
}
