//! A keyspace and its surroundings for tests of handlers.

use super::reply::{Node, Recorder};
use super::{Cx, execute, table};
use crate::base::clock::{Clock, ManualClock};
use crate::base::hash::Seed;
use crate::base::random::SeededRandom;
use crate::data::entry::Entry;
use crate::data::table::Table;
use crate::data::value::Limits;
use crate::keyspace::Keyspace;
use crate::keyspace::keys::{EventClass, Garbage, Keys, Outcome};

/// One effect: database, and the command's words.
pub type Effect = (u32, Vec<Vec<u8>>);

/// Remembers what executions did.
#[derive(Debug, Default)]
pub struct Trace {
    /// Effects, in order.
    pub effects: Vec<Effect>,
    /// Events as `class:event:key`, and `replaced:db:keys by keys`.
    pub events: Vec<String>,
}

impl Outcome for Trace {
    fn effect(&mut self, db: u32, name: &[u8], args: &[&[u8]]) {
        let words = std::iter::once(name).chain(args.iter().copied());
        self.effects.push((db, words.map(<[u8]>::to_vec).collect()));
    }
    fn event(&mut self, _: u32, class: EventClass, event: &'static str, key: &[u8]) {
        self.events
            .push(format!("{class:?}:{event}:{}", key.escape_ascii()));
    }
    fn ready(&mut self, _: u32, _: &[u8]) {}
    fn replaced(&mut self, db: u32, before: &Table<Entry>, after: &Table<Entry>) {
        let (before, after) = (before.len(), after.len());
        self.events
            .push(format!("replaced:{db}:{before} by {after}"));
    }
    fn discard(&mut self, _: Garbage) {}
}

/// Runs commands on a keyspace of its own.
pub struct Bench {
    /// The keyspace.
    pub space: Keyspace,
    /// What was done.
    pub trace: Trace,
    /// The time, at first 1,000,000 ms.
    pub clock: ManualClock,
    /// Thresholds.
    pub limits: Limits,
    /// The selected database.
    pub db: u32,
    /// Whether the client speaks RESP3.
    pub resp3: bool,
    rng: SeededRandom,
}

impl Default for Bench {
    fn default() -> Self {
        Bench {
            space: Keyspace::new(Seed([7; 16]).into()),
            trace: Trace::default(),
            clock: ManualClock::new(1_000_000),
            limits: Limits::default(),
            db: 0,
            resp3: false,
            rng: SeededRandom::new(1),
        }
    }
}

impl Bench {
    /// Runs one command; an error is a [`Node::Error`].
    pub fn argv(&mut self, args: &[&[u8]]) -> Node {
        self.run_at(args, false)
    }

    /// Runs the words of `line`, split at blanks; `""` is an empty word.
    pub fn run(&mut self, line: &str) -> String {
        let args: Vec<&[u8]> = line
            .split_whitespace()
            .map(|w| if w == "\"\"" { &b""[..] } else { w.as_bytes() })
            .collect();
        self.argv(&args).to_string()
    }

    /// Replays the effects of another run.
    pub fn replay(&mut self, effects: &[Effect]) {
        for (db, words) in effects {
            self.db = *db;
            let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let node = self.run_at(&args, true);
            assert!(
                !matches!(node, Node::Error(_)),
                "replay of {words:?} answered {node}"
            );
        }
    }

    fn run_at(&mut self, args: &[&[u8]], replay: bool) -> Node {
        let Some(spec) = table::find(args[0]) else {
            return Node::Error(format!("ERR unknown command '{}'", args[0].escape_ascii()));
        };
        let mut recorder = Recorder::new(self.resp3);
        let ks = Keys {
            space: &mut self.space,
            db: self.db,
            out: &mut self.trace,
            rng: &mut self.rng,
            limits: &self.limits,
            clock: if replay {
                None
            } else {
                Some(&self.clock as &dyn Clock)
            },
            now: None,
            written_ms: 0,
            in_parts: false,
        };
        match execute(
            &mut Cx {
                ks,
                reply: &mut recorder,
                spec,
                may_cache: true,
                refuses_block: false,
                waiter: None,
            },
            args,
        ) {
            Ok(()) => recorder.take(),
            Err(e) => Node::Error(e.to_string()),
        }
    }
}

/// Runs `lines` of `command => reply`, on one keyspace, then replays the
/// effects on another and compares what both hold.
pub fn check(lines: &[(&str, &str)]) {
    let mut bench = Bench::default();
    for (line, want) in lines {
        assert_eq!(bench.run(line), *want, "{line}");
    }
    check_replay(&bench);
}

/// Replays what `bench` did and compares both keyspaces.
pub fn check_replay(bench: &Bench) {
    let mut copy = Bench::default();
    copy.replay(&bench.trace.effects);
    for db in 0..16 {
        assert_eq!(
            dump(&copy.space, db),
            dump(&bench.space, db),
            "database {db} after replay"
        );
    }
}

/// Everything in a database, readable and in the order of keys.
pub fn dump(space: &Keyspace, db: u32) -> Vec<String> {
    let Some(table) = space.db(db) else {
        return Vec::new();
    };
    let mut all: Vec<String> = table
        .iter()
        .map(|e| {
            let value = crate::data::text::describe(e.payload(), e.kind());
            format!("{} @{:?} = {value}", e.key().escape_ascii(), e.expiry())
        })
        .collect();
    all.sort();
    all
}
