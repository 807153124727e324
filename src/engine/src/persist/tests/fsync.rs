//! Whatever comes in the middle of an fsync: what the I/O thread does is
//! stopped in each of its fsyncs, one after the other, something else comes,
//! and the process or the power ends there, or everything goes on.

use std::sync::Arc;

use super::driver::rounds;
use super::judge::{End, check_folder};
use crate::engine::Call;
use crate::io::faulty::{Fault, Faults, FaultyDisk, Op};
use crate::io::mem::{Crash, MemDisk};
use crate::persist::executor::Executor;
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

/// An engine whose n-th change is `SET k<n> 1`, so that what is found can be
/// told by its last key.
struct Scene {
    rig: Rig,
    disk: MemDisk,
    faults: Faults,
    /// Up to here, nothing may be lost by a power failure.
    owed: u64,
    told: String,
}

fn off() -> Settings {
    Settings {
        appendonly: false,
        ..settings(FsyncPolicy::Everysec)
    }
}

impl Scene {
    fn begin(settings: Settings) -> Scene {
        let disk = disk();
        let faulty = FaultyDisk::new(Arc::new(disk.clone()));
        let faults = faulty.faults();
        let rig = Rig::open(Arc::new(faulty), settings).unwrap_or_else(|e| panic!("{e}"));
        let mut scene = Scene {
            rig,
            disk,
            faults,
            owed: 0,
            told: String::new(),
        };
        scene.set();
        scene.set();
        scene.rig.settle();
        scene.hear();
        scene
    }

    fn seq(&mut self) -> u64 {
        self.rig.engine.seq()
    }

    /// One more key; refused while the log is broken.
    fn set(&mut self) {
        let line = format!("SET k{} 1", self.seq() + 1);
        self.rig.run(&line);
        self.rig.pass();
        self.hear();
    }

    /// What is promised now.
    fn hear(&mut self) {
        if self.rig.info("aof_turning_on") == "0"
            && let Some(seq) = self.rig.engine.durable_seq()
        {
            self.owed = self.owed.max(seq);
        }
    }

    fn save(&mut self) {
        let seq = self.seq();
        if self.rig.engine.save(&mut self.rig.host).is_ok() {
            self.owed = self.owed.max(seq);
        }
    }

    fn apply(&mut self, settings: Settings) {
        let (lines, seq) = (self.rig.host.lines.len(), self.seq());
        let in_force = self.rig.engine.durable_seq().is_some();
        let goes_off = !settings.appendonly;
        self.rig.engine.apply(&mut self.rig.host, settings);
        let closed = self.rig.host.lines[lines..] == ["Notice: The log is off and closed."];
        if in_force && goes_off && closed {
            self.owed = self.owed.max(seq);
        }
    }

    /// Goes on to the middle of the n-th fsync; `false` if there are fewer.
    fn stop_at(&mut self, n: usize) -> bool {
        let mut seen = 0;
        for _ in 0..40 {
            loop {
                let mut exec = self.rig.exec.0.lock().unwrap();
                if !exec.advance() {
                    break;
                }
                seen += usize::from(exec.is_in_fsync());
                if seen == n {
                    return true;
                }
            }
            self.rig.tick(100);
            self.hear();
        }
        false
    }

    /// What an end now leaves.
    fn check(&mut self) {
        let torn = (0..rounds().min(8)).map(|seed| {
            End::Power(Crash::Torn {
                seed,
                granularity: 1,
            })
        });
        for end in [End::Kill, End::Power(Crash::DropUnsynced)]
            .into_iter()
            .chain(torn)
        {
            let left = end.apply(&self.disk);
            let with = self.rig.engine.settings().clone();
            let back = Rig::open(Arc::new(left.clone()), with);
            let mut back = back.unwrap_or_else(|e| panic!("{}, {end:?}: {e}", self.told));
            check_folder(&left);
            let found = back.engine.seq();
            assert!(
                found >= self.owed && found <= self.seq(),
                "{}, {end:?}: {found} where {} was promised: {:#?} {:#?}",
                self.told,
                self.owed,
                self.rig.host.lines,
                back.host.lines
            );
            for n in 1..=found {
                let there = back.run(&format!("GET k{n}"));
                assert_eq!(there, "\"1\"", "{}, {end:?}: k{n} of {found}", self.told);
            }
        }
    }
}

type Act = (&'static str, fn(&mut Scene));

/// What begins it, and whether the log is on before.
type Work = (&'static str, bool, fn(&mut Scene));

/// What the I/O thread is at.
const WORK: [Work; 7] = [
    ("an fsync", true, |s| {
        s.set();
        s.rig.clock.advance_ms(1_100);
        s.rig.pass();
    }),
    ("an fsync that a client waits for", true, |s| {
        s.apply(settings(FsyncPolicy::Always));
        let key = format!("k{}", s.seq() + 1);
        let call = Call {
            held: true,
            ..Call::default()
        };
        s.rig.call(call, &[b"SET", key.as_bytes(), b"1"]);
        assert!(s.rig.pass());
        s.hear();
    }),
    ("a snapshot", true, |s| {
        s.rig.engine.bgsave(&mut s.rig.host, false).unwrap();
    }),
    ("a rewrite", true, |s| {
        s.rig.engine.rewrite(&mut s.rig.host).unwrap();
    }),
    ("the log's beginning", false, |s| {
        s.apply(settings(FsyncPolicy::Everysec));
    }),
    ("healing", true, |s| {
        s.faults.set_on(Op::Append, 1, Fault::once(5));
        s.set();
    }),
    ("closing", true, |s| {
        s.faults.set_on(Op::Rename, 1, Fault::once(5));
        s.apply(off());
    }),
];

/// What comes meanwhile.
const ACTS: [Act; 12] = [
    ("nothing", |_| {}),
    ("writes", |s| (0..3).for_each(|_| s.set())),
    ("time", |s| {
        for _ in 0..4 {
            s.rig.clock.advance_ms(900);
            s.rig.engine.tick(&mut s.rig.host);
            s.set();
        }
    }),
    ("SAVE", Scene::save),
    ("BGSAVE", |s| {
        let _ = s.rig.engine.bgsave(&mut s.rig.host, true);
        s.rig.tick(100);
    }),
    ("REWRITE", |s| {
        let _ = s.rig.engine.rewrite(&mut s.rig.host);
        s.rig.tick(100);
    }),
    ("off", |s| s.apply(off())),
    ("off and on", |s| {
        s.apply(off());
        s.set();
        s.apply(settings(FsyncPolicy::Everysec));
    }),
    ("always", |s| s.apply(settings(FsyncPolicy::Always))),
    ("no", |s| s.apply(settings(FsyncPolicy::No))),
    ("a failed write", |s| {
        s.faults.set_on(Op::Append, 1, Fault::once(28));
        s.set();
        s.rig.tick(100);
    }),
    ("the end", |s| {
        let (seq, kept) = (s.seq(), s.rig.engine.settings().appendonly);
        s.rig.engine.shutdown(&mut s.rig.host);
        // A fault that waits for its turn may meet the last snapshot.
        let failed = |line: &String| line.contains("Error saving DB");
        if kept && !s.rig.host.lines.iter().any(failed) {
            s.owed = seq;
        }
    }),
];

/// Stops the work in its n-th fsync, which fails at its end or not; `false`
/// if it has fewer.
fn in_the_middle(work: usize, n: usize, act: Act, fails: bool) -> bool {
    let (name, on, work) = WORK[work];
    let mut scene = Scene::begin(if on {
        settings(FsyncPolicy::Everysec)
    } else {
        off()
    });
    scene.told = format!("in fsync {n} of {name}, {}, fails: {fails}", act.0);
    scene.rig.exec.0.lock().unwrap().paced = true;
    if !on {
        scene.save();
    }
    work(&mut scene);
    if fails {
        scene.faults.set_on(Op::Sync, n as u64, Fault::once(5));
    }
    if !scene.stop_at(n) {
        return false;
    }
    scene.set();
    scene.check();
    act.1(&mut scene);
    scene.check();
    scene.set();
    scene.check();
    // And on, step by step.
    for step in 0..12 {
        scene.rig.exec.0.lock().unwrap().advance();
        scene.rig.tick(100);
        scene.hear();
        scene.set();
        if step % 3 == 0 || rounds() > 1 {
            scene.check();
        }
    }
    scene.rig.exec.0.lock().unwrap().paced = false;
    scene.rig.settle();
    scene.rig.settle();
    scene.set();
    scene.rig.settle();
    scene.hear();
    let told = &scene.told;
    if act.0 != "the end" {
        assert_eq!(
            scene.rig.info("aof_last_write_status"),
            "ok",
            "{told}: {:#?}",
            scene.rig.host.lines
        );
        if scene.rig.engine.settings().appendonly
            && scene.rig.engine.settings().appendfsync != FsyncPolicy::No
        {
            let (owed, seq) = (scene.owed, scene.seq());
            assert_eq!(owed, seq, "{}: {:#?}", scene.told, scene.rig.host.lines);
        } else {
            scene.save();
        }
    }
    scene.check();
    true
}

#[test]
fn whatever_comes_in_the_middle_of_an_fsync() {
    for (work, (name, ..)) in WORK.iter().enumerate() {
        for act in ACTS {
            for fails in [false, true] {
                let mut n = 1;
                while in_the_middle(work, n, act, fails) {
                    n += 1;
                }
                assert!(n > 1, "{name} has no fsync");
            }
        }
    }
}

#[test]
fn an_fsync_waits_a_moment_for_those_whom_the_last_one_released() {
    let mut scene = Scene::begin(settings(FsyncPolicy::Always));
    scene.rig.exec.0.lock().unwrap().paced = true;
    let hold = |scene: &mut Scene| {
        let call = Call {
            held: true,
            ..Call::default()
        };
        let key = format!("k{}", scene.seq() + 1);
        scene.rig.call(call, &[b"SET", key.as_bytes(), b"1"]);
        assert!(scene.rig.pass());
    };
    let is_syncing = |scene: &Scene| scene.rig.exec.0.lock().unwrap().in_flight() > 0;
    // An fsync of 16 ms for one writer, while another comes.
    let one_and_another = |scene: &mut Scene| {
        hold(scene);
        assert!(is_syncing(scene));
        assert!(scene.stop_at(1));
        scene.rig.clock.advance_ms(16);
        hold(scene);
        while scene.rig.exec.0.lock().unwrap().advance() {}
        assert!(scene.rig.pass());
        assert!(!is_syncing(scene), "the first writer may come back");
    };
    one_and_another(&mut scene);
    hold(&mut scene);
    assert!(is_syncing(&scene), "it is back");
    while scene.rig.exec.0.lock().unwrap().advance() {}
    scene.rig.settle();

    one_and_another(&mut scene);
    scene.rig.clock.advance_us(1_999);
    assert!(scene.rig.pass());
    assert!(!is_syncing(&scene));
    scene.rig.clock.advance_us(1);
    assert!(scene.rig.pass());
    assert!(is_syncing(&scene), "its time is over");
    while scene.rig.exec.0.lock().unwrap().advance() {}
    scene.rig.settle();

    // Who asks for an fsync gets it.
    one_and_another(&mut scene);
    scene.rig.engine.ask_sync().unwrap();
    assert!(scene.rig.pass());
    assert!(is_syncing(&scene));
    scene.hear();
    scene.check();
}

#[test]
fn a_disk_is_fast_while_its_latest_fsyncs_are() {
    // How long one takes, and how many fast ones it takes after it.
    for (us, n) in [(1_601, 16), (1_600, 15)] {
        let mut scene = Scene::begin(settings(FsyncPolicy::Always));
        scene.rig.exec.0.lock().unwrap().paced = true;
        let key = format!("k{}", scene.seq() + 1);
        let call = Call {
            held: true,
            ..Call::default()
        };
        scene.rig.call(call, &[b"SET", key.as_bytes(), b"1"]);
        assert!(scene.rig.pass());
        assert!(scene.stop_at(1));
        scene.rig.clock.advance_us(us);
        while scene.rig.exec.0.lock().unwrap().advance() {}
        assert!(scene.rig.pass());
        scene.rig.exec.0.lock().unwrap().paced = false;
        let before = scene.rig.engine.is_disk_fast();
        assert!(!before, "{us}");
        let mut fast = 0;
        while !scene.rig.engine.is_disk_fast() {
            scene.set();
            fast += 1;
        }
        assert!(fast <= n, "{us}: {fast}");
        assert_eq!(fast == 16, us > 1_600, "{us}: {fast}");
    }
}

#[test]
fn the_clock_leaves_what_replies_wait_for_to_the_end_of_the_pass() {
    let mut scene = Scene::begin(settings(FsyncPolicy::Always));
    scene.rig.run("SET k 1");
    let Rig { engine, host, .. } = &mut scene.rig;
    let seq = Some(engine.seq());
    engine.tick(host);
    assert!(engine.durable_seq() < seq);
    assert!(engine.before_sleep(host));
    assert_eq!(engine.durable_seq(), seq);
}
