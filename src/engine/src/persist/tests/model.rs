//! Long lives over many starts: whatever happens between, after a clean pass
//! the data found is the data left.

use std::sync::Arc;

use super::content::{alive, content};
use super::driver::{any_settings, first_seed, rounds};
use super::judge::check_folder;
use super::traffic::Commands;
use crate::base::clock::Clock;
use crate::base::random::{Random, SeededRandom};
use crate::io::mem::{Crash, MemDisk};
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk};

struct Model {
    seed: u64,
    rng: SeededRandom,
    commands: Commands,
    disk: MemDisk,
    rig: Rig,
    told: Vec<String>,
}

impl Model {
    fn begin(seed: u64) -> Model {
        let mut rng = SeededRandom::new(seed ^ 0x40de1);
        let disk = disk();
        let settings = any_settings(&mut rng);
        let rig = Rig::open_at(Arc::new(disk.clone()), settings, 1_000_000, seed)
            .unwrap_or_else(|e| panic!("{e}"));
        Model {
            seed,
            rng,
            commands: Commands::default(),
            disk,
            rig,
            told: Vec::new(),
        }
    }

    fn now(&self) -> u64 {
        self.rig.clock.now_ms()
    }

    fn some_commands(&mut self) {
        for _ in 0..self.rng.below(30) {
            let (db, argv) = self.commands.draw(&mut self.rng, self.rig.clock.now_ms());
            let args: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
            self.rig.argv(db, self.rng.below(6) == 0, &args);
        }
        if self.rng.below(3) > 0 {
            self.rig.pass();
        }
    }

    /// Ends and begins again; the data must be the same.
    fn restart(&mut self, left: MemDisk, settings: Settings, why: &str) {
        // What is due is reaped by the start.
        let now = self.now();
        let mut want = content(&self.rig);
        want = alive(&want, now);
        self.told.push(format!("{why}: {settings:?}"));
        self.disk = left;
        let n = self.rng.next_u64();
        let rig = Rig::open_at(Arc::new(self.disk.clone()), settings, now, n);
        let last = |m: &Model| format!("SEED={}, {:#?}, {:#?}", m.seed, m.told, m.rig.host.lines);
        let rig = rig.unwrap_or_else(|e| panic!("{e}: {}", last(self)));
        let found = content(&rig);
        assert!(
            found == want,
            "{}: {found:#?} instead of {want:#?}",
            last(self)
        );
        check_folder(&self.disk);
        self.rig = rig;
    }

    fn step(&mut self) {
        self.some_commands();
        let next = any_settings(&mut self.rng);
        let on = self.rig.engine.settings().appendonly;
        match self.rng.below(8) {
            0 | 1 if on => {
                self.rig.settle();
                self.rig.pass();
                self.restart(self.disk.kill(), next, "killed");
            }
            2 if on => {
                let mut always = self.rig.engine.settings().clone();
                always.appendfsync = FsyncPolicy::Always;
                self.rig.engine.apply(&mut self.rig.host, always);
                self.rig.settle();
                self.rig.run("INCR passes");
                assert!(self.rig.pass());
                self.restart(self.disk.crash(Crash::DropUnsynced), next, "power failure");
            }
            3 => {
                // A save point may just have begun one.
                while self.rig.info("rdb_bgsave_in_progress") == "1" {
                    self.rig.tick(10);
                }
                self.rig.engine.save(&mut self.rig.host).unwrap();
                self.restart(self.disk.crash(Crash::DropUnsynced), next, "saved");
            }
            4 => {
                let kept = on || !self.rig.engine.settings().save_points().is_empty();
                if kept {
                    let Rig { engine, host, .. } = &mut self.rig;
                    engine.shutdown(host);
                    self.restart(self.disk.crash(Crash::DropUnsynced), next, "shut down");
                }
            }
            5 if on => {
                // Refused while one is under way.
                let _ = self.rig.engine.rewrite(&mut self.rig.host);
                for _ in 0..self.rng.below(5) {
                    self.rig.tick(50);
                    self.some_commands();
                }
            }
            6 => {
                self.told.push(format!("now {next:?}"));
                self.rig.engine.apply(&mut self.rig.host, next);
                for _ in 0..self.rng.below(5) {
                    self.rig.tick(50);
                }
            }
            _ => {
                let _ = self.rig.engine.bgsave(&mut self.rig.host, true);
                self.rig.tick(1_000);
            }
        }
    }
}

#[test]
fn whatever_happens_the_data_found_is_the_data_left() {
    for seed in (first_seed()..).take(12 * rounds() as usize) {
        let mut model = Model::begin(seed);
        for _ in 0..40 {
            model.step();
        }
    }
}
