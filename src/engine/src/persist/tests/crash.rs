//! The power fails, or the process is killed, before every single operation
//! on the disk of a random life, and of the recovery from that.

use std::sync::Arc;

use super::driver::{Life, Moment, State, Told, any_settings, first_seed, rounds};
use super::judge::{End, check_folder, judge};
use super::watched::Watched;
use crate::base::random::{Random, SeededRandom};
use crate::io::faulty::{Fault, FaultyDisk, Op};
use crate::io::mem::{Crash, MemDisk};
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

/// Lives a life of `steps` and ends it before each operation.
fn live_and_die(seed: u64, steps: u64, fault: bool) {
    let mut rng = SeededRandom::new(seed ^ 0x5eed);
    let mut life = Life::begin(seed, any_settings(&mut rng));
    if rng.below(4) > 0 {
        life.pace();
    }
    if fault {
        // One that heals meanwhile.
        let op = [Op::Append, Op::Sync, Op::SyncDir, Op::Rename][rng.below(4) as usize];
        let n = 1 + rng.below(12);
        life.faults.set_on(op, n, Fault::once(5));
    }
    for _ in 0..steps {
        life.step();
    }
    let mut moments = std::mem::take(&mut life.moments);
    moments.push(life.moment(life.disk.kill()));
    for (n, moment) in moments.iter().enumerate() {
        let told = Told(
            format!("SEED={seed}, operation {n} of {}", moments.len()),
            &life,
        );
        let seed = rng.next_u64();
        let ends = [
            End::Kill,
            End::Power(Crash::DropUnsynced),
            End::Power(Crash::Torn {
                seed,
                granularity: 512,
            }),
            End::draw(&mut rng),
        ];
        for end in ends {
            let left = end.apply(&moment.disk);
            // A first look changes the disk; the attack is on what it finds.
            let attacked = left.kill();
            let (mut rig, index) =
                judge(&life.states, moment, end, &left, moment.promise.owed(end));
            if rng.below(8) == 0 {
                recover_again(&mut rng, &life.states, moment, end, &attacked, index);
            }
            if rng.below(8) == 0 {
                live_on(&mut rng, &mut rig, &left, &moment.settings);
            }
        }
        drop(told);
    }
}

/// Ends the recovery itself before each of its operations: the next one must
/// come to the same.
fn recover_again(
    rng: &mut SeededRandom,
    states: &[State],
    moment: &Moment,
    end: End,
    left: &MemDisk,
    index: usize,
) {
    let watched = Watched::new(left.kill());
    Rig::open_at(
        Arc::new(watched.clone()),
        moment.settings.clone(),
        moment.now,
        99,
    )
    .unwrap_or_else(|e| panic!("{end:?}: {e}"));
    // After a power failure all that was found is durable already.
    let index = match end {
        End::Kill => moment.promise.power,
        End::Power(_) => index,
    };
    for image in watched.take() {
        let end = End::draw(rng);
        judge(states, moment, end, &end.apply(&image), index);
    }
}

/// What recovered can be used and trusted like any other.
fn live_on(rng: &mut SeededRandom, rig: &mut Rig, disk: &MemDisk, settings: &Settings) {
    let always = Settings {
        appendonly: true,
        appendfsync: FsyncPolicy::Always,
        ..settings.clone()
    };
    rig.engine.apply(&mut rig.host, always.clone());
    rig.settle();
    rig.settle();
    for i in 0..3 {
        assert!(rig.run(&format!("SET second{i} life")) == "OK");
        assert!(rig.pass());
        if rng.below(2) == 0 {
            // One may be under way already.
            let _ = rig.engine.rewrite(&mut rig.host);
            rig.tick(100);
        }
    }
    let want = rig.dump();
    let left = End::draw(rng).apply(disk);
    let now = crate::base::clock::Clock::now_ms(&*rig.clock);
    let back = Rig::open_at(Arc::new(left.clone()), always, now, 98)
        .unwrap_or_else(|e| panic!("second life: {e}; {:#?}", rig.host.lines));
    assert_eq!(
        back.dump(),
        want,
        "{:?} {:?}",
        rig.host.lines,
        back.host.lines
    );
    check_folder(&left);
}

#[test]
fn at_every_operation_of_random_lives() {
    for seed in (first_seed()..).take(5 * rounds() as usize) {
        live_and_die(seed, 100, false);
    }
}

#[test]
fn at_every_operation_of_lives_with_a_fault() {
    for seed in (first_seed()..).take(5 * rounds() as usize) {
        live_and_die(seed, 70, true);
    }
}

/// A killed process leaves names that aren't durable yet; the start after it
/// removes what they replace.
#[test]
fn a_kill_in_a_rewrite_then_a_power_failure_in_the_start() {
    for rdb in [true, false] {
        let with = Settings {
            aof_use_rdb_preamble: rdb,
            ..settings(FsyncPolicy::Always)
        };
        let watched = Watched::new(disk());
        let mut rig = Rig::open(Arc::new(watched.clone()), with.clone()).unwrap();
        rig.run("SET a 1");
        rig.pass();
        watched.take();
        rig.engine.rewrite(&mut rig.host).unwrap();
        rig.settle();
        for killed in watched.take() {
            let start = Watched::new(killed);
            Rig::open(Arc::new(start.clone()), with.clone()).unwrap_or_else(|e| panic!("{e}"));
            for image in start.take() {
                for seed in 0..8 {
                    let left = image.crash(Crash::Torn {
                        seed,
                        granularity: 1,
                    });
                    let mut back =
                        Rig::open(Arc::new(left), with.clone()).unwrap_or_else(|e| panic!("{e}"));
                    assert_eq!(back.run("GET a"), "\"1\"");
                }
            }
        }
    }
}

/// The new file's name is durable before the manifest that counts on it.
#[test]
fn a_power_failure_while_the_log_heals() {
    let watched = Watched::new(disk());
    let faulty = FaultyDisk::new(Arc::new(watched.clone()));
    let faults = faulty.faults();
    let mut rig = Rig::open(Arc::new(faulty), settings(FsyncPolicy::Always)).unwrap();
    rig.run("SET a 1");
    assert!(rig.pass());
    watched.take();
    rig.run("SET b 1");
    faults.set_on(Op::Sync, 1, Fault::once(5));
    assert!(rig.pass());
    for image in watched.take() {
        for seed in 0..64 {
            let left = image.crash(Crash::Torn {
                seed,
                granularity: 1,
            });
            let back = Rig::open(Arc::new(left), settings(FsyncPolicy::Always));
            let mut back = back.unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(back.run("GET a"), "\"1\"");
        }
    }
}
