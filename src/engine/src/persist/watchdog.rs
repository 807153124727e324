//! An fsync that the I/O thread makes by itself, should the event loop be kept
//! from making it: a script that runs for too long has the host send replies in
//! the middle of a pass, before the hook that syncs.
//!
//! The event loop sets it before each such script, and takes it back the next
//! time that it has the log in hand; so nearly always nothing happens but that.
//! For as long as it is set now and then the I/O thread looks, some times
//! within the time given, whether it is due.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::executor::{Done, Job};
use crate::base::clock::Clock;
use crate::host::JobPanicked;

/// The thread looks so many times within the time after which it is to act.
const LOOKS: u64 = 4;
/// After so many looks that found nothing to wait for it looks no more.
const IDLE: u32 = 16;

/// See [`watchdog`](self). Times are in us, of the engine's stopwatch.
pub struct Watchdog {
    clock: Arc<dyn Clock + Send + Sync>,
    /// Held while the fsync runs: who takes the watchdog back waits for its end,
    /// so that a failure is never found by nobody. (The system tells of it
    /// once, to whoever syncs the file next.)
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is to be done, and when.
    job: Option<(u64, Job)>,
    /// What came of it.
    end: Option<Done>,
    /// How long before that it was set.
    wait_us: u64,
    /// Whether the thread looks.
    is_watched: bool,
    /// Looks in a row that found nothing to wait for.
    idle: u32,
}

impl Watchdog {
    /// Not set.
    pub fn new(clock: Arc<dyn Clock + Send + Sync>) -> Self {
        Watchdog {
            clock,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `job` done in `wait_us`, if it isn't taken back before. Whether the
    /// I/O thread must be told to look.
    pub(super) fn set(&self, wait_us: u64, job: Job) -> bool {
        let mut state = self.state();
        // Who wants scripts to run for ever gives a time that is as long.
        let due = self.clock.monotonic_us().saturating_add(wait_us);
        state.job = Some((due, job));
        // It may sleep for a part of the time that was given before.
        let must_be_told = !state.is_watched || wait_us < state.wait_us;
        state.wait_us = wait_us;
        state.is_watched = true;
        must_be_told
    }

    /// Takes it back, or waits for the end of what was begun, and gives that.
    pub(super) fn stop(&self) -> Option<Done> {
        // It may panic while this waits for it.
        let Ok(mut state) = self.state.lock() else {
            self.state.clear_poison();
            let why = "in an fsync that came by itself".to_owned();
            return Some(Box::new(JobPanicked(why)));
        };
        state.job = None;
        state.end.take()
    }

    /// Does what is due. In how many us to look again; `None` is not before the
    /// executor is told to. On the I/O thread, between its jobs.
    pub fn look(&self) -> Option<u64> {
        let mut state = self.state();
        let now = self.clock.monotonic_us();
        let part = (state.wait_us / LOOKS).max(1);
        state.idle = match state.job.take() {
            None => state.idle + 1,
            Some((due, job)) if now < due => {
                state.job = Some((due, job));
                0
            }
            Some((_, job)) => {
                state.end = Some(job());
                0
            }
        };
        state.is_watched = state.idle < IDLE;
        if !state.is_watched {
            state.idle = 0;
        }
        state.is_watched.then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::ManualClock;
    use crate::engine::Call;
    use crate::io::faulty::{Fault, FaultyDisk, Op};
    use crate::io::mem::{Crash, MemDisk};
    use crate::persist::executor::Executor;
    use crate::settings::FsyncPolicy;
    use crate::testing::{Rig, disk, settings};

    fn new() -> (Arc<ManualClock>, Watchdog) {
        let clock = Arc::new(ManualClock::new(0));
        (clock.clone(), Watchdog::new(clock))
    }

    fn job(n: u32) -> Job {
        Box::new(move || Box::new(n))
    }

    fn end(done: Option<Done>) -> Option<u32> {
        Some(*done?.downcast::<u32>().unwrap())
    }

    #[test]
    fn it_rings_when_it_is_due_and_only_then() {
        let (clock, watchdog) = new();
        assert!(watchdog.set(1_000, job(1)), "somebody must look");
        assert_eq!(watchdog.look(), Some(250));
        clock.advance_ms(1);
        assert_eq!(watchdog.look(), Some(250));
        assert_eq!(end(watchdog.stop()), Some(1));
        assert_eq!(end(watchdog.stop()), None);
        // Taken back in time.
        assert!(!watchdog.set(1_000, job(2)), "somebody looks");
        assert_eq!(end(watchdog.stop()), None);
        clock.advance_ms(2);
        watchdog.look();
        assert_eq!(end(watchdog.stop()), None);
        // The later of two counts.
        watchdog.set(1_000, job(3));
        clock.advance_ms(1);
        watchdog.set(1_000, job(4));
        watchdog.look();
        assert_eq!(end(watchdog.stop()), None);
        // busy-reply-threshold may be as long as numbers are.
        watchdog.set(u64::MAX, job(5));
        watchdog.look();
        assert_eq!(end(watchdog.stop()), None);
    }

    #[test]
    fn nobody_looks_for_ever() {
        let (_, watchdog) = new();
        watchdog.set(1_000, job(1));
        assert!(!watchdog.set(2_000, job(1)));
        assert!(watchdog.set(500, job(1)), "it would look too late");
        for _ in 0..2 * IDLE {
            assert_eq!(watchdog.look(), Some(125), "while it is set");
        }
        watchdog.stop();
        let mut looks = 0;
        while watchdog.look().is_some() {
            looks += 1;
        }
        assert!(looks < IDLE);
        assert!(watchdog.set(1_000, job(1)));
    }

    #[test]
    fn a_panic_is_told_of() {
        let (clock, watchdog) = new();
        watchdog.set(1_000, Box::new(|| panic!("on purpose")));
        clock.advance_ms(1);
        let look = std::panic::AssertUnwindSafe(|| watchdog.look());
        assert!(std::panic::catch_unwind(look).is_err());
        assert!(watchdog.stop().unwrap().is::<JobPanicked>());
        assert!(watchdog.stop().is_none());
    }

    fn before_a_script(rig: &mut Rig) -> bool {
        rig.engine.write_early(&mut rig.host, 1_000)
    }

    fn watched(rig: &Rig) -> Arc<Watchdog> {
        rig.exec.0.lock().unwrap().watchdog.clone().unwrap()
    }

    fn open(mem: &MemDisk) -> Rig {
        Rig::open(Arc::new(mem.clone()), settings(FsyncPolicy::Always)).unwrap()
    }

    fn survives(mem: &MemDisk, key: &str) -> bool {
        let mut rig = open(&mem.crash(Crash::DropUnsynced));
        rig.run(&format!("EXISTS {key}")).contains('1')
    }

    #[test]
    fn what_was_answered_before_a_long_script_gets_durable_meanwhile() {
        let mem = disk();
        let mut rig = open(&mem);
        rig.run("SET a 1");
        assert!(before_a_script(&mut rig));
        let watchdog = watched(&rig);
        assert!(!survives(&mem, "a"));
        rig.clock.advance_ms(1);
        watchdog.look();
        // The script is still running.
        assert!(survives(&mem, "a"));
        rig.run("SET b 1");
        assert!(rig.pass());
        assert!(survives(&mem, "b"));
        assert_eq!(rig.engine.durable_seq(), Some(rig.engine.seq()));
        // A short one.
        rig.run("SET c 1");
        assert!(before_a_script(&mut rig));
        watchdog.look();
        assert!(!survives(&mem, "c"));
        assert!(rig.pass());
        assert!(survives(&mem, "c"));
        rig.clock.advance_ms(1);
        let ops = mem.ops();
        watchdog.look();
        assert_eq!(mem.ops(), ops, "taken back");
    }

    /// The system tells of a failed fsync once: the event loop's own would
    /// succeed.
    #[test]
    fn a_failure_is_found_before_any_other_fsync() {
        let mem = disk();
        let faulty = FaultyDisk::new(Arc::new(mem.clone()));
        let faults = faulty.faults();
        let mut rig = Rig::open(Arc::new(faulty), settings(FsyncPolicy::Always)).unwrap();
        rig.run("SET a 1");
        assert!(before_a_script(&mut rig));
        faults.set_on(Op::Sync, 1, Fault::once(5));
        rig.clock.advance_ms(1);
        watched(&rig).look();
        assert_eq!(faults.hits(), 1);
        // It heals into another file.
        assert!(rig.pass());
        assert!(survives(&mem, "a"));
        let told = |line: &String| line.contains("fsync") && line.starts_with("Warning");
        assert!(rig.host.lines.iter().any(told), "{:?}", rig.host.lines);
    }

    /// A client is held, and others' replies come before the script.
    #[test]
    fn what_waits_behind_a_job_is_written_before_the_script() {
        let mem = disk();
        let mut rig = open(&mem);
        rig.exec.0.lock().unwrap().paced = true;
        let held = Call {
            held: true,
            ..Call::default()
        };
        rig.call(held, &[b"SET", b"a", b"1"]);
        assert!(rig.pass());
        assert!(rig.exec.in_flight() > 0);
        rig.run("SET b 1");
        assert!(before_a_script(&mut rig));
        let mut killed = open(&mem.kill());
        assert!(killed.run("EXISTS b").contains('1'));
    }

    /// The I/O thread comes to it only between jobs, and one that is no fsync of
    /// the log may take as long as it likes.
    #[test]
    fn behind_a_job_nothing_would_come_in_time() {
        let mem = disk();
        let mut rig = open(&mem);
        rig.run("SET a 1");
        assert!(rig.pass());
        rig.exec.0.lock().unwrap().paced = true;
        rig.engine.bgsave(&mut rig.host, false).unwrap();
        let end = rig.host.child.take().unwrap();
        rig.engine.child_done(&mut rig.host, end);
        assert!(rig.exec.in_flight() > 0);
        rig.run("SET b 1");
        // Then the event loop syncs.
        assert!(!before_a_script(&mut rig));
        assert!(rig.pass());
        assert!(survives(&mem, "b"));
    }
}
