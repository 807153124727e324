//! An engine on a disk in memory, with everything in the test's hands: the
//! clock, the disk's thread, forked children, crashes.

use std::path::Path;
use std::sync::Arc;

mod executor;

pub use executor::SharedExecutor;

use crate::base::clock::{Clock, ManualClock};
use crate::base::random::SeededRandom;
use crate::command::reply::{Node, Recorder};
use crate::command::table;
use crate::command::testing::dump;
use crate::data::entry::Entry;
use crate::data::table::Table;
use crate::engine::{Call, Engine, OpenError, Parts};
use crate::host::{ChildEnd, ChildMemory, ChildWork, Host, Level};
use crate::io::Disk;
use crate::io::mem::MemDisk;
use crate::keyspace::keys::{EventClass, Garbage};
use crate::settings::{FsyncPolicy, Settings};

/// Remembers what a host would be told; forks by running the child at once.
#[derive(Default)]
pub struct TestHost {
    /// The server's log.
    pub lines: Vec<String>,
    /// Events as `db:event:key`.
    pub events: Vec<String>,
    /// The end of a child that ran and that the engine hasn't been told of.
    pub child: Option<ChildEnd>,
    /// Whether another child holds the slot.
    pub slot_taken: bool,
    /// What the next child comes to instead of working.
    pub next_child: Option<ChildEnd>,
}

impl Host for TestHost {
    fn log(&mut self, level: Level, line: &str) {
        self.lines.push(format!("{level:?}: {line}"));
    }
    fn key_event(&mut self, db: u32, _: EventClass, event: &'static str, key: &[u8]) {
        self.events
            .push(format!("{db}:{event}:{}", key.escape_ascii()));
    }
    fn replaced(&mut self, _: u32, _: &Table<Entry>, _: &Table<Entry>) {}
    fn discard(&mut self, _: Garbage) {}
    fn can_fork(&mut self) -> bool {
        !self.slot_taken && self.child.is_none()
    }
    fn fork(&mut self, work: ChildWork<'_>) -> Result<i32, String> {
        if !self.can_fork() {
            return Err("File exists".into());
        }
        self.child = Some(match self.next_child.take() {
            Some(end) => end,
            None => ChildEnd::Exited(work(&mut |_| {})),
        });
        Ok(4242)
    }
    fn child_memory(&mut self) -> ChildMemory {
        ChildMemory::default()
    }
    fn kill_child(&mut self, _: i32) {
        self.child = Some(ChildEnd::Killed(9));
    }
    fn latency(&mut self, _: &'static str, _: u64) {}
}

/// An engine and its surroundings.
pub struct Rig {
    /// The engine.
    pub engine: Engine,
    /// The host.
    pub host: TestHost,
    /// The time.
    pub clock: Arc<ManualClock>,
    /// The I/O thread.
    pub exec: SharedExecutor,
}

/// Settings for `/data` with this policy.
pub fn settings(policy: FsyncPolicy) -> Settings {
    Settings {
        dir: "/data".into(),
        appendfsync: policy,
        ..Settings::default()
    }
}

/// A disk with the folder `/data`.
pub fn disk() -> MemDisk {
    let disk = MemDisk::new();
    disk.create_dir(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

impl Rig {
    /// Opens an engine.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings) -> Result<Rig, OpenError> {
        Rig::open_at(disk, settings, 1_000_000, 1)
    }

    /// Opens an engine at a time (unix ms), with a seed for its random choices.
    pub fn open_at(
        disk: Arc<dyn Disk>,
        settings: Settings,
        now_ms: u64,
        seed: u64,
    ) -> Result<Rig, OpenError> {
        let clock = Arc::new(ManualClock::new(now_ms));
        let exec = SharedExecutor::default();
        let parts = Parts {
            disk,
            executor: Box::new(exec.clone()),
            clock: clock.clone() as Arc<dyn Clock + Send + Sync>,
            rng: Box::new(SeededRandom::new(seed)),
            pid: 77,
            databases: 16,
            memory: || 1 << 20,
        };
        let mut host = TestHost::default();
        let engine = Engine::open(settings, parts, &mut host)?;
        Ok(Rig {
            engine,
            host,
            clock,
            exec,
        })
    }

    /// Runs one command in `db`; `atomic` as inside a transaction.
    pub fn argv(&mut self, db: u32, atomic: bool, args: &[&[u8]]) -> Node {
        let call = Call {
            db,
            atomic,
            ..Call::default()
        };
        self.call(call, args)
    }

    /// Runs one command.
    pub fn call(&mut self, call: Call, args: &[&[u8]]) -> Node {
        let Some(spec) = table::find(args[0]) else {
            return Node::Error("ERR unknown command".into());
        };
        let mut reply = Recorder::default();
        match self
            .engine
            .execute(&mut self.host, spec, args, call, &mut reply)
        {
            Ok(()) => reply.take(),
            Err(e) => Node::Error(e.to_string()),
        }
    }

    /// Runs the words of `line` in database 0.
    pub fn run(&mut self, line: &str) -> String {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        self.argv(0, false, &args).to_string()
    }

    /// The end of a pass of the event loop.
    pub fn pass(&mut self) -> bool {
        self.engine.before_sleep(&mut self.host)
    }

    /// So many ms go by, with a tick at their end.
    pub fn tick(&mut self, ms: u64) {
        self.clock.advance_ms(ms);
        if let Some(end) = self.host.child.take() {
            self.engine.child_done(&mut self.host, end);
        }
        self.engine.tick(&mut self.host);
        self.pass();
    }

    /// Ticks until nothing is under way.
    pub fn settle(&mut self) {
        for _ in 0..20 {
            self.tick(100);
        }
        self.tick(2_000);
    }

    /// Everything, readable, by database.
    pub fn dump(&self) -> Vec<Vec<String>> {
        (0..4).map(|db| dump(self.engine.space(), db)).collect()
    }

    /// A field of PERSIST.INFO.
    pub fn info(&mut self, name: &str) -> String {
        let mut found = String::from("missing");
        let mut keep = |_: &'static str, field: &str, value: &str| {
            if field == name {
                found = value.to_string();
            }
        };
        self.engine.info(&mut self.host, &mut keep);
        found
    }
}
