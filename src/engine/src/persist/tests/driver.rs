//! A random life of an engine, which remembers every state it went through
//! and what it was promised.

use std::sync::Arc;

use super::content::{Content, content};
use super::judge::End;
use super::traffic::Commands;
use super::watched::Watched;
use crate::base::random::{Random, SeededRandom};
use crate::engine::{Call, Fate, OpenError};
use crate::host::ChildEnd;
use crate::io::faulty::{Faults, FaultyDisk};
use crate::io::mem::MemDisk;
use crate::persist::executor::Executor;
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

/// How much longer than in its short form a random test runs.
pub fn rounds() -> u64 {
    number("ROUNDS").unwrap_or(1)
}

/// The first seed of a random test.
pub fn first_seed() -> u64 {
    number("SEED").unwrap_or(1)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A state the data went through.
pub struct State {
    /// Sequence number of its last effect.
    pub seq: u64,
    /// The data.
    pub content: Content,
}

/// What a life was like when the power failed: how much must be there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Promise {
    /// Index of the state that a power failure may not take.
    pub power: usize,
    /// Index of the state that the end of the process may not take.
    pub kill: usize,
}

impl Promise {
    /// The index of the state that such an end may not take.
    pub fn owed(&self, end: End) -> usize {
        match end {
            End::Kill => self.kill,
            End::Power(_) => self.power,
        }
    }
}

/// An image of the disk and what must and may be found in it.
pub struct Moment {
    /// The disk.
    pub disk: MemDisk,
    /// What must be there.
    pub promise: Promise,
    /// States there were, whose last is the newest.
    pub states: usize,
    /// The time.
    pub now: u64,
    /// The settings then.
    pub settings: Settings,
    /// What was being done.
    pub step: String,
}

/// A life.
pub struct Life {
    /// The engine.
    pub rig: Rig,
    /// What it was.
    pub states: Vec<State>,
    /// What it was promised.
    pub promise: Promise,
    /// Images of the disk, if asked for.
    pub moments: Vec<Moment>,
    /// What was done, newest last.
    pub steps: Vec<String>,
    /// What makes its disk fail.
    pub faults: Faults,
    /// Its disk.
    pub disk: MemDisk,
    /// Whether images are wanted.
    pub watch: bool,
    watched: Watched,
    rng: SeededRandom,
    commands: Commands,
    settings: Settings,
    /// A BGSAVE under way: how many saves there were and the state it covers.
    saving: Option<(String, usize)>,
    /// The state after the last command of this pass that changed something
    /// and whose reply leaves at the pass's end: what was acknowledged before
    /// under another policy was promised less. And whether that one did promise
    /// it, should the log be turned off before the reply.
    accepted: Option<(usize, bool)>,
    /// The states after changes whose replies are held back.
    held: Vec<usize>,
}

pub const POLICIES: [FsyncPolicy; 3] =
    [FsyncPolicy::Always, FsyncPolicy::Everysec, FsyncPolicy::No];

/// Random settings, with the folder of all tests.
pub fn any_settings(rng: &mut SeededRandom) -> Settings {
    Settings {
        appendonly: rng.below(5) > 0,
        aof_use_rdb_preamble: rng.below(2) == 0,
        aof_timestamp_enabled: rng.below(4) == 0,
        rdbcompression: rng.below(2) == 0,
        save: ["default", "", "1 1"][rng.below(3) as usize].into(),
        auto_aof_rewrite_min_size: [4_000, 64 << 20][rng.below(2) as usize],
        stop_writes_on_bgsave_error: false,
        no_appendfsync_on_rewrite: rng.below(4) == 0,
        ..settings(POLICIES[rng.below(3) as usize])
    }
}

impl Life {
    /// Begins on an empty disk.
    pub fn begin(seed: u64, settings: Settings) -> Life {
        Life::begin_on(disk(), seed, settings, |_| {}).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Begins on `disk`, with faults set by `arm` before.
    pub fn begin_on(
        disk: MemDisk,
        seed: u64,
        settings: Settings,
        arm: impl FnOnce(&Faults),
    ) -> Result<Life, OpenError> {
        let watched = Watched::new(disk.clone());
        let faulty = FaultyDisk::new(Arc::new(watched.clone()));
        let faults = faulty.faults();
        arm(&faults);
        let rig = Rig::open_at(Arc::new(faulty), settings.clone(), 1_000_000, seed)?;
        let mut life = Life {
            rig,
            states: Vec::new(),
            promise: Promise::default(),
            moments: Vec::new(),
            steps: vec!["open".into()],
            faults,
            disk,
            watch: true,
            watched,
            rng: SeededRandom::new(seed),
            commands: Commands::default(),
            settings,
            saving: None,
            accepted: None,
            held: Vec::new(),
        };
        life.remember();
        // Before the first command there is nothing to lose.
        life.gather(Promise::default());
        Ok(life)
    }

    /// The index of the newest state.
    pub fn newest(&self) -> usize {
        self.states.len() - 1
    }

    fn seq(&mut self) -> u64 {
        self.rig.info("seq").parse().unwrap()
    }

    fn remember(&mut self) {
        let seq = self.seq();
        if self.states.last().is_none_or(|s| s.seq != seq) {
            let content = content(&self.rig);
            self.states.push(State { seq, content });
        }
    }

    /// Takes the images made since the last call; they owe what was promised
    /// before the step that made them.
    fn gather(&mut self, before: Promise) {
        // Lowered by a log that was turned off while it couldn't be synced.
        let before = Promise {
            kill: before.kill.min(self.promise.kill),
            ..before
        };
        let step = self.steps.last().cloned().unwrap_or_default();
        let (states, now) = (self.states.len(), self.rig.clock_ms());
        let images = self.watched.take();
        if self.watch {
            let moments = images.into_iter().map(|disk| Moment {
                disk,
                promise: before,
                states,
                now,
                settings: self.settings.clone(),
                step: step.clone(),
            });
            self.moments.extend(moments);
        }
    }

    /// An image of the disk now.
    pub fn moment(&self, disk: MemDisk) -> Moment {
        Moment {
            disk,
            promise: self.promise,
            states: self.states.len(),
            now: self.rig.clock_ms(),
            settings: self.settings.clone(),
            step: self.steps.last().cloned().unwrap_or_default(),
        }
    }

    /// From now on, background jobs stop in the middle of each fsync, while
    /// the event loop goes on.
    pub fn pace(&mut self) {
        self.rig.exec.0.lock().unwrap().paced = true;
    }

    /// Background jobs go on for a while, maybe.
    fn jobs_go_on(&mut self) -> &'static str {
        let fsyncs = self.rng.below(4);
        let mut exec = self.rig.exec.0.lock().unwrap();
        if exec.paced && !exec.stalled {
            for _ in 0..fsyncs {
                exec.advance();
            }
        }
        if exec.is_in_fsync() {
            ", in an fsync"
        } else {
            ""
        }
    }

    /// One random step.
    pub fn step(&mut self) {
        let before = self.promise;
        let state = self.jobs_go_on();
        let what = self.rng.below(100);
        let name = match what {
            0..50 => self.some_units(),
            50..64 => self.pass(),
            64..68 => self.before_script(),
            68..84 => {
                let ms = [10, 100, 400, 1_100][self.rng.below(4) as usize];
                self.tick(ms);
                format!("tick {ms}")
            }
            84..87 => self.save(),
            87..90 => self.bgsave(),
            90..94 => self.rewrite(),
            94..96 => self.change_settings(),
            96..98 => {
                self.rig.host.next_child = [ChildEnd::Exited(28), ChildEnd::Killed(9)]
                    .get(what as usize - 96)
                    .copied();
                "the next child fails".into()
            }
            98 => {
                self.rig.host.slot_taken ^= true;
                "the fork slot changes hands".into()
            }
            _ => {
                let mut exec = self.rig.exec.0.lock().unwrap();
                exec.stalled ^= true;
                format!("stalled {}", exec.stalled)
            }
        };
        self.steps.push(name + state);
        self.remember();
        self.gather(before);
        self.hear_promises();
        let on = self.rig.engine.settings().appendonly;
        let logs = self.rig.info("durable_seq") != "missing";
        assert!(
            logs || !on || self.rig.info("aof_turning_on") == "1",
            "the log is on but there is none"
        );
    }

    fn some_units(&mut self) -> String {
        let mut told = String::new();
        for _ in 0..=self.rng.below(3) {
            let atomic = self.rng.below(5) == 0;
            let n = if atomic { 1 + self.rng.below(3) } else { 1 };
            // Who is held is promised nothing by the end of the pass.
            let held = !atomic && self.rng.below(2) == 0 && self.rig.engine.holds();
            let (mut accepted, mut waits) = (false, false);
            for _ in 0..n {
                let (db, argv) = self.commands.draw(&mut self.rng, self.rig.clock_ms());
                let args: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
                let before = self.rig.info("seq");
                let call = Call {
                    db,
                    atomic,
                    held,
                    ..Call::default()
                };
                self.rig.call(call, &args);
                let changed = self.rig.info("seq") != before;
                accepted |= !held && changed;
                waits |= held && changed;
                let mut line = args.join(&b' ').escape_ascii().to_string();
                line.truncate(60);
                let mark = match (atomic, held) {
                    (true, _) => "*",
                    (_, true) => "held ",
                    _ => "",
                };
                told += &format!("{mark}{db}:{line}; ");
            }
            self.remember();
            if self.rng.below(8) == 0 {
                self.rig.engine.put_off_sync(1_000);
            }
            if accepted {
                self.accepted = Some((self.newest(), self.rig.engine.holds()));
            }
            if waits {
                self.held.push(self.newest());
            }
        }
        told
    }

    /// A script begins, and may take so long that the host goes on without it.
    fn before_script(&mut self) -> String {
        let Rig { engine, host, .. } = &mut self.rig;
        if !(engine.holds() && engine.owes() && engine.write_early(host, 1_000)) {
            return "a script".into();
        }
        self.remember();
        if let Some((accepted, _)) = self.accepted {
            self.promise.kill = self.promise.kill.max(accepted);
        }
        if self.rng.below(2) == 0 {
            return "a short script".into();
        }
        self.rig.clock.advance_ms(1);
        let watchdog = {
            let exec = self.rig.exec.0.lock().unwrap();
            // It comes to that between jobs.
            let free = exec.in_flight() == 0 && !exec.stalled;
            exec.watchdog.clone().filter(|_| free)
        };
        let faults = self.faults.hits();
        let rung = watchdog.is_some_and(|watchdog| watchdog.look().is_some());
        if let Some((accepted, _)) = self.accepted
            && rung
            && self.faults.hits() == faults
        {
            self.is_told(accepted);
        }
        format!("a long script {rung}")
    }

    /// The end of a pass, and what it promises.
    pub fn pass(&mut self) -> String {
        let newest = self.newest();
        let good = self.rig.pass();
        self.remember();
        let accepted = self.accepted.take();
        if good && self.log_promises() {
            let busy = self.rig.exec.in_flight_now() > 0;
            let healthy = self.rig.info("aof_last_write_status") == "ok";
            // Even while the log is broken: whatever was accepted was.
            let always = self.rig.engine.settings().appendfsync == FsyncPolicy::Always;
            if let Some((accepted, _)) = accepted.filter(|_| always) {
                self.is_told(accepted);
            }
            if healthy && !busy {
                self.promise.kill = self.promise.kill.max(newest);
            }
        } else if good
            && !self.rig.engine.settings().appendonly
            && let Some((accepted, true)) = accepted
        {
            self.is_told(accepted);
        }
        format!("pass {good}")
    }

    /// Somebody is told of a change after which this was the state.
    fn is_told(&mut self, state: usize) {
        self.promise.power = self.promise.power.max(state);
        self.promise.kill = self.promise.kill.max(state);
    }

    /// Time goes by; the end of a child is told, jobs end.
    pub fn tick(&mut self, ms: u64) {
        self.rig.clock.advance_ms(ms);
        if self.rng.below(3) > 0
            && let Some(end) = self.rig.host.child.take()
        {
            self.rig.engine.child_done(&mut self.rig.host, end);
        }
        let Rig { engine, host, .. } = &mut self.rig;
        engine.tick(host);
        self.remember();
    }

    fn log_promises(&mut self) -> bool {
        self.rig.info("aof_enabled") == "1" && self.rig.info("aof_turning_on") == "0"
    }

    /// What INFO says is durable, and who needn't wait any more.
    fn hear_promises(&mut self) {
        for state in std::mem::take(&mut self.held) {
            match self.rig.engine.fate(self.states[state].seq) {
                Fate::Open => self.held.push(state),
                Fate::Kept => self.is_told(state),
                Fate::Failed => {}
            }
        }
        if self.log_promises()
            && let Ok(seq) = self.rig.info("durable_seq").parse::<u64>()
            && let Some(i) = self.states.iter().rposition(|s| s.seq <= seq)
        {
            self.promise.power = self.promise.power.max(i);
        }
        if let Some((saves, covers)) = &self.saving
            && self.rig.info("rdb_bgsave_in_progress") == "0"
        {
            let (saves, covers) = (saves.clone(), *covers);
            self.saving = None;
            if self.rig.info("rdb_saves") != saves
                && self.rig.info("rdb_last_bgsave_status") == "ok"
            {
                self.promise.power = self.promise.power.max(covers);
            }
        }
        self.promise.kill = self.promise.kill.max(self.promise.power);
    }

    fn save(&mut self) -> String {
        let newest = self.newest();
        let result = self.rig.engine.save(&mut self.rig.host);
        if result.is_ok() {
            self.promise.power = self.promise.power.max(newest);
        }
        format!("SAVE {}", result.is_ok())
    }

    fn bgsave(&mut self) -> String {
        self.remember();
        let saves = self.rig.info("rdb_saves");
        let covers = self.newest();
        let result = self.rig.engine.bgsave(&mut self.rig.host, false);
        if result.is_ok() {
            self.saving = Some((saves, covers));
        }
        format!("BGSAVE {result:?}")
    }

    fn rewrite(&mut self) -> String {
        if self.rng.below(4) == 0 {
            let result = self.rig.engine.cancel_rewrite(&mut self.rig.host);
            return format!("REWRITE CANCEL {result:?}");
        }
        format!("REWRITE {:?}", self.rig.engine.rewrite(&mut self.rig.host))
    }

    fn change_settings(&mut self) -> String {
        let before = self.settings.clone();
        let mut after = any_settings(&mut self.rng);
        if self.rng.below(2) == 0 {
            after.appendonly = before.appendonly;
        }
        let newest = self.newest();
        let promising = self.log_promises();
        self.rig.engine.apply(&mut self.rig.host, after);
        self.settings = self.rig.engine.settings().clone();
        if promising && !self.settings.appendonly {
            let lines = &self.rig.host.lines;
            let whole = lines.iter().all(|l| !l.contains("was closed at"));
            if whole
                && lines
                    .last()
                    .is_some_and(|l| l == "Notice: The log is off and closed.")
            {
                self.promise.power = self.promise.power.max(newest);
            } else {
                // A warning told that a snapshot is needed.
                self.promise.kill = self.promise.power;
            }
        }
        let after = &self.settings;
        format!(
            "appendonly {} to {} {:?}",
            before.appendonly, after.appendonly, after.appendfsync
        )
    }

    /// Everything is well again: the disk works, jobs end, children are
    /// possible, and time goes by.
    pub fn calm_down(&mut self) {
        self.faults.clear();
        {
            let mut exec = self.rig.exec.0.lock().unwrap();
            (exec.stalled, exec.paced) = (false, false);
        }
        self.rig.host.slot_taken = false;
        self.rig.host.next_child = None;
        for _ in 0..40 {
            if let Some(end) = self.rig.host.child.take() {
                self.rig.engine.child_done(&mut self.rig.host, end);
            }
            self.rig.clock.advance_ms(400);
            let Rig { engine, host, .. } = &mut self.rig;
            engine.tick(host);
            self.remember();
            self.pass();
            self.hear_promises();
        }
        self.watched.take();
        self.steps.push("calm down".into());
    }
}

impl Rig {
    fn clock_ms(&self) -> u64 {
        use crate::base::clock::Clock;
        self.clock.now_ms()
    }
}

impl crate::testing::SharedExecutor {
    fn in_flight_now(&self) -> usize {
        self.in_flight()
    }
}

/// Prints what led to a failure.
pub struct Told<'a>(pub String, pub &'a Life);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for step in &self.1.steps {
                eprintln!("  {step}");
            }
            for line in &self.1.rig.host.lines {
                eprintln!("  | {line}");
            }
            eprintln!("repeat with {}", self.0);
        }
    }
}
