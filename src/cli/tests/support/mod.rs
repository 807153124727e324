//! Folders made by the engine itself, and the tool run on them.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use persist_engine::base::clock::{Clock, ManualClock};
use persist_engine::base::random::SeededRandom;
use persist_engine::command::reply::NoReply;
use persist_engine::command::table;
use persist_engine::data::entry::Entry;
use persist_engine::data::table::Table;
use persist_engine::data::text::describe;
use persist_engine::engine::{Call, Engine, OpenError, Parts};
use persist_engine::host::{ChildEnd, ChildMemory, ChildWork, Host, Level};
use persist_engine::io::os::OsDisk;
use persist_engine::keyspace::keys::{EventClass, Garbage};
use persist_engine::persist::executor::InlineExecutor;
use persist_engine::settings::{FsyncPolicy, Settings};

/// When everything here happens, unix ms; nothing of what expires is due by then.
pub const NOW: u64 = 1_795_000_000_000;

/// Runs children at once and tells nobody anything.
#[derive(Default)]
pub struct Silent(Option<ChildEnd>);

impl Host for Silent {
    fn log(&mut self, _: Level, _: &str) {}
    fn key_event(&mut self, _: u32, _: EventClass, _: &'static str, _: &[u8]) {}
    fn replaced(&mut self, _: u32, _: &Table<Entry>, _: &Table<Entry>) {}
    fn discard(&mut self, _: Garbage) {}
    fn can_fork(&mut self) -> bool {
        self.0.is_none()
    }
    fn fork(&mut self, work: ChildWork<'_>) -> Result<i32, String> {
        self.0 = Some(ChildEnd::Exited(work(&mut |_| {})));
        Ok(4242)
    }
    fn child_memory(&mut self) -> ChildMemory {
        ChildMemory::default()
    }
    fn kill_child(&mut self, _: i32) {
        self.0 = None;
    }
    fn latency(&mut self, _: &'static str, _: u64) {}
}

/// An engine on a folder of the system's.
pub struct Rig {
    pub engine: Engine,
    host: Silent,
    clock: Arc<ManualClock>,
}

pub fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.to_str().unwrap().into(),
        appendfsync: FsyncPolicy::Always,
        ..Settings::default()
    }
}

impl Rig {
    pub fn open(dir: &Path) -> Rig {
        Rig::with(settings(dir)).unwrap_or_else(|e| panic!("{e}"))
    }

    pub fn with(settings: Settings) -> Result<Rig, OpenError> {
        Rig::at(settings, NOW)
    }

    /// The random choices differ with the time.
    pub fn at(settings: Settings, now: u64) -> Result<Rig, OpenError> {
        let clock = Arc::new(ManualClock::new(now));
        let parts = Parts {
            disk: Arc::new(OsDisk::PRIVATE),
            executor: Box::new(InlineExecutor::default()),
            clock: clock.clone() as Arc<dyn Clock + Send + Sync>,
            rng: Box::new(SeededRandom::new(now)),
            pid: 77,
            databases: 16,
            memory: || 0,
        };
        let mut host = Silent::default();
        let engine = Engine::open(settings, parts, &mut host)?;
        Ok(Rig {
            engine,
            host,
            clock,
        })
    }

    pub fn argv(&mut self, db: u32, args: &[&[u8]]) {
        let spec = table::find(args[0]).unwrap();
        let call = Call {
            db,
            ..Call::default()
        };
        let done = self
            .engine
            .execute(&mut self.host, spec, args, call, &mut NoReply);
        done.unwrap_or_else(|e| panic!("{e}"));
    }

    /// Runs lines in database 0, each in a group of its own.
    pub fn run(&mut self, lines: &[&str]) {
        for line in lines {
            let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            self.argv(0, &args);
            self.pass();
        }
    }

    pub fn pass(&mut self) {
        assert!(self.engine.before_sleep(&mut self.host));
    }

    pub fn wait(&mut self, ms: u64) {
        self.clock.advance_ms(ms);
    }

    pub fn save(&mut self) {
        self.engine.save(&mut self.host).unwrap();
    }

    pub fn rewrite(&mut self) {
        self.engine.rewrite(&mut self.host).unwrap();
        for _ in 0..20 {
            self.wait(100);
            if let Some(end) = self.host.0.take() {
                self.engine.child_done(&mut self.host, end);
            }
            self.engine.tick(&mut self.host);
            self.pass();
        }
    }

    pub fn shutdown(mut self) {
        self.engine.shutdown(&mut self.host);
    }

    /// All keys, readable, by database and key.
    pub fn content(&self) -> BTreeMap<(u32, String), String> {
        let mut all = BTreeMap::new();
        for (db, table) in self.engine.space().databases() {
            for e in table.iter() {
                let value = describe(e.payload(), e.kind());
                let key = (db, e.key().escape_ascii().to_string());
                all.insert(key, format!("{value} until {:?}", e.expiry()));
            }
        }
        all
    }
}

/// Every type, small and large, in two databases, with a snapshot, a base, a
/// closed file and an open one.
pub fn fill(dir: &Path, rdb_base: bool) -> Rig {
    let settings = Settings {
        aof_use_rdb_preamble: rdb_base,
        ..settings(dir)
    };
    let mut rig = Rig::with(settings.clone()).unwrap();
    rig.run(&[
        "SET user:1 ann",
        "SET user:2 bob PXAT 4102444800000",
        "RPUSH jobs a b c",
        "HSET cart:1 apples 3 pears 4",
        "HPEXPIREAT cart:1 4102444800000 FIELDS 1 apples",
        "ZADD ranks 1 a 2.5 b",
        "SADD tags x y",
        "XADD events 5-1 what started",
        "XGROUP CREATE events readers 0",
        "XREADGROUP GROUP readers r1 STREAMS events >",
    ]);
    for i in 0..300 {
        let member = format!("member:{i}");
        rig.argv(0, &[b"SADD", b"big:set", member.as_bytes()]);
        rig.argv(0, &[b"HSET", b"big:hash", member.as_bytes(), b"value"]);
        rig.argv(
            0,
            &[
                b"ZADD",
                b"big:zset",
                i.to_string().as_bytes(),
                member.as_bytes(),
            ],
        );
    }
    rig.argv(3, &[b"SET", b"bin\xff\x00", &[b'x'; 20_000]]);
    rig.pass();
    rig.save();
    rig.rewrite();
    rig.run(&["INCR counter", "RPUSH jobs d"]);
    drop(rig);
    let mut rig = Rig::with(settings).unwrap();
    rig.run(&["INCR counter", "LPOP jobs", "DEL user:1"]);
    rig
}

/// Names and bytes of a folder and the folders in it.
pub fn image(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(image(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

pub fn copy(from: &Path, to: &Path) {
    for (path, bytes) in image(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// What the tool said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    #[track_caller]
    pub fn has(&self, text: &str) {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "{text:?} isn't in {self:#?}"
        );
    }
}

/// Runs `redis-persist` with these arguments.
pub fn tool(args: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_redis-persist"))
        .args(args)
        .output()
        .unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
