//! The facade that the host adapter drives: open, execute, before_sleep,
//! tick, child_done, info.

mod held;
mod serve;
mod units;

pub use held::Held;
pub use serve::Served;

use std::fmt;
use std::sync::Arc;

use crate::base::clock::Clock;
use crate::base::hash::Seed;
use crate::base::random::Random;
use crate::blocked::Blocked;
use crate::command::spec::Find;
use crate::command::wait::Waiter;
use crate::command::{self, CommandError, Cx, Flags, Reply, Spec};
use crate::data::entry::Entry;
use crate::data::table::Table;
use crate::data::value::Limits;
use crate::format::HistoryId;
use crate::host::{ChildEnd, Host, Level};
use crate::io::Disk;
use crate::keyspace::Keyspace;
use crate::keyspace::keys::{EventClass, Garbage, Keys, Outcome};
use crate::persist::Persist;
use crate::persist::executor::Executor;
use crate::persist::online::Task;
use crate::persist::start::Beginning;
pub use crate::persist::sync::Fate;
use crate::settings::Settings;
use crate::touch::Touch;
use crate::undurable::Undurable;
use crate::watch::Watched;

/// Due keys that one step of the active expiry takes, at most.
const EXPIRE_STEP: usize = 64;
/// Due fields of large hashes that one step takes, about.
const EXPIRE_FIELDS: usize = 1024;
/// How long the active expiry may take in one tick, in us.
const EXPIRE_BUDGET_US: u64 = 1_000;

/// What the engine doesn't choose for itself.
pub struct Parts {
    /// Files.
    pub disk: Arc<dyn Disk>,
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
    /// Bytes that the engine holds now, for `maxmemory`.
    pub memory: fn() -> usize,
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
#[derive(Debug, Clone, Copy, Default)]
pub struct Call {
    /// The selected database.
    pub db: u32,
    /// Whether it is part of a transaction or script, which the log keeps whole.
    pub atomic: bool,
    /// Whether asking to wait is an error; see [`Cx::refuses_block`].
    pub refuses_block: bool,
    /// Whether its reply is held back until what it tells of is durable;
    /// otherwise that must be so at the end of the pass.
    pub held: bool,
    /// Whether its client can't be held back, so that a write is refused while
    /// too much waits to be synced. The same throughout a transaction or
    /// script, which is refused whole or not at all.
    pub cannot_wait: bool,
}

/// The durable keyspace with its persistence.
pub struct Engine {
    space: Keyspace,
    limits: Limits,
    persist: Persist,
    clock: Arc<dyn Clock + Send + Sync>,
    rng: Box<dyn Random>,
    memory: fn() -> usize,
    watched: Watched,
    blocked: Blocked,
    undurable: Undurable,
    touch: Touch,
    /// How far the child of a save or rewrite has come, 0 to 1.
    child_progress: f64,
}

/// Passes what a command did to the log and the host.
struct Doings<'a> {
    host: &'a mut dyn Host,
    blocked: &'a mut Blocked,
    persist: &'a mut Persist,
    touch: &'a mut Touch,
    atomic: bool,
    single_key: bool,
}

impl Outcome for Doings<'_> {
    #[inline]
    fn effect(&mut self, db: u32, name: &[u8], args: &[&[u8]]) {
        self.touch.effect(args);
        self.persist
            .effect(db, name, args, self.atomic, self.single_key);
    }
    #[inline]
    fn event(&mut self, db: u32, class: EventClass, event: &'static str, key: &[u8]) {
        self.host.key_event(db, class, event, key);
    }
    fn ready(&mut self, db: u32, key: &[u8]) {
        self.blocked.key_ready(db, key);
    }
    fn discard(&mut self, garbage: Garbage) {
        self.host.discard(garbage);
    }
    fn replaced(&mut self, db: u32, before: &Table<Entry>, after: &Table<Entry>) {
        self.touch.replaced();
        self.host.replaced(db, before, after);
        self.blocked.database_replaced(db, before, after);
    }
}

/// Whether every effect of this command touches one key only.
fn is_single_key(spec: &Spec) -> bool {
    // XREADGROUP reads several keys, but logs each by itself.
    matches!(spec.keys, [only] if matches!(only.find, Find::Range { last: 0, .. } | Find::HalfBehind(_)))
}

impl Engine {
    /// Loads what is on disk, or starts empty.
    ///
    /// # Errors
    /// Files that can't be trusted, or a folder that can't be used.
    pub fn open(settings: Settings, parts: Parts, host: &mut dyn Host) -> Result<Self, OpenError> {
        let Parts {
            disk,
            executor,
            clock,
            mut rng,
            pid,
            databases,
            memory,
        } = parts;
        let (mut seed, mut history) = ([0; 16], [0; 16]);
        rng.fill(&mut seed);
        while HistoryId::new(history).is_none() {
            rng.fill(&mut history);
        }
        let history = HistoryId::new(history).ok_or_else(|| OpenError("no random bits".into()))?;
        let mut limits = Limits {
            databases,
            ..Limits::default()
        };
        settings.set_limits(&mut limits);
        let fresh = (history, Seed(seed));
        let beginning = Beginning {
            disk,
            exec: executor,
            clock: clock.clone(),
            settings,
            pid,
            memory,
            fresh,
        };
        let (persist, space) =
            Persist::start(beginning, &limits, host).map_err(|e| OpenError(e.text))?;
        let mut engine = Engine {
            space,
            limits,
            persist,
            clock,
            rng,
            memory,
            watched: Watched::default(),
            blocked: Blocked::default(),
            undurable: Undurable::default(),
            touch: Touch::default(),
            child_progress: 0.0,
        };
        engine.reap_after_load(host);
        Ok(engine)
    }

    /// Removes what was due while the server was down: only now, since replay
    /// must not ask the clock.
    fn reap_after_load(&mut self, host: &mut dyn Host) {
        let before = self.space.len();
        while self.expire_step(host) {}
        self.persist
            .note_expired_at_load((before - self.space.len()) as u64);
        self.before_sleep(host);
    }

    /// Takes some due keys of each database; `false` when none was left.
    fn expire_step(&mut self, host: &mut dyn Host) -> bool {
        let now = self.clock.now_ms();
        let mut found = false;
        let dbs: u32 = self
            .space
            .databases()
            .map(|(db, _)| db + 1)
            .last()
            .unwrap_or(0);
        for db in 0..dbs {
            let next_alarm = self.space.next_alarm(db);
            let next = self.space.db(db).map_or(u64::MAX, Table::min_expiry);
            if next.min(next_alarm) > now {
                continue;
            }
            let mut due = Vec::new();
            self.space
                .db_mut(db)
                .take_due(now, EXPIRE_STEP, &mut |entry| due.push(entry));
            let mut hashes: Vec<Box<[u8]>> = Vec::new();
            if let Some(alarms) = self.space.alarms_mut(db) {
                alarms.take_due(now, EXPIRE_STEP, &mut |key| hashes.push(key.into()));
            }
            found |= due.len() == EXPIRE_STEP || hashes.len() == EXPIRE_STEP;
            let share = EXPIRE_FIELDS / hashes.len().max(1);
            found |= self.outside_commands(host, db, now, |ks| {
                for entry in due {
                    ks.expired(entry);
                }
                let left = hashes.iter().map(|key| ks.expire_fields(key, now, share));
                left.fold(false, |any, left| any | left)
            });
        }
        found
    }

    /// Works with a database without a command's being the reason.
    fn outside_commands<R>(
        &mut self,
        host: &mut dyn Host,
        db: u32,
        now: u64,
        work: impl FnOnce(&mut Keys<'_>) -> R,
    ) -> R {
        let mut out = Doings {
            host,
            blocked: &mut self.blocked,
            persist: &mut self.persist,
            touch: &mut self.touch,
            atomic: false,
            single_key: true,
        };
        work(&mut Keys {
            space: &mut self.space,
            db,
            out: &mut out,
            rng: &mut *self.rng,
            limits: &self.limits,
            clock: Some(&*self.clock),
            now: Some(now),
            written_ms: 0,
            in_parts: true,
        })
    }

    /// Somebody is about to WATCH `keys`, in a database that isn't known
    /// here. Those that are due end now, not as a change that is watched for.
    pub fn watch(&mut self, host: &mut dyn Host, keys: &[&[u8]]) {
        let now = self.clock.now_ms();
        let dbs = self.space.databases().count() as u32;
        for db in 0..dbs {
            if self.space.db(db).is_none_or(|t| t.min_expiry() == u64::MAX) {
                continue;
            }
            for key in keys {
                let expiry = self.outside_commands(host, db, now, |ks| ks.get(key)?.expiry());
                if let Some(at) = expiry {
                    self.watched.add(db, key, at);
                }
            }
        }
    }

    /// Ends watched keys that are due; to be called before an EXEC.
    pub fn reap_watched(&mut self, host: &mut dyn Host) {
        if self.watched.is_empty() {
            return;
        }
        let now = self.clock.now_ms();
        while let Some((db, key)) = self.watched.pop_due(now) {
            self.outside_commands(host, db, now, |ks| ks.exists(&key));
        }
    }

    /// Runs one data command; `args` holds its name first.
    ///
    /// # Errors
    /// What the client is told; nothing was replied then.
    #[inline]
    pub fn execute(
        &mut self,
        host: &mut dyn Host,
        spec: &'static Spec,
        args: &[&[u8]],
        call: Call,
        reply: &mut dyn Reply,
    ) -> Result<(), CommandError> {
        if spec.flags.has(Flags::WRITE) {
            self.persist.may_write()?;
            if call.cannot_wait {
                self.persist.keeps_up()?;
            }
            self.has_room(spec)?;
        }
        self.run(host, spec, args, call, reply, None)
    }

    /// Runs a command that may run.
    #[inline]
    fn run(
        &mut self,
        host: &mut dyn Host,
        spec: &'static Spec,
        args: &[&[u8]],
        call: Call,
        reply: &mut dyn Reply,
        waiter: Option<&mut Waiter>,
    ) -> Result<(), CommandError> {
        let may_cache = spec.flags.has(Flags::CACHES) && self.persist.may_write().is_ok();
        let before = self.persist.seq();
        let mut out = Doings {
            host,
            blocked: &mut self.blocked,
            persist: &mut self.persist,
            touch: &mut self.touch,
            atomic: call.atomic,
            single_key: is_single_key(spec),
        };
        let ks = Keys {
            space: &mut self.space,
            db: call.db,
            out: &mut out,
            rng: &mut *self.rng,
            limits: &self.limits,
            clock: Some(&*self.clock),
            now: None,
            written_ms: 0,
            in_parts: false,
        };
        let mut cx = Cx {
            ks,
            reply,
            spec,
            may_cache,
            refuses_block: call.refuses_block,
            waiter,
        };
        let result = command::execute(&mut cx, args);
        self.owe(spec, args, call.held, before);
        if spec.may_log() && !call.atomic {
            self.persist.unit_done(host);
        }
        result
    }

    /// Hears of background work that has ended. Never inside a transaction
    /// or script.
    pub fn hear(&mut self, host: &mut dyn Host) {
        self.persist.hear(host);
        self.forget_durable();
    }

    fn forget_durable(&mut self) {
        if !self.undurable.is_empty() {
            // Without a log in force there is nothing to wait for.
            let durable = self.persist.durable_seq().unwrap_or(u64::MAX);
            self.undurable.forget(durable);
        }
    }

    /// Whether a command that may grow the keyspace may run.
    #[inline]
    fn has_room(&self, spec: &Spec) -> Result<(), CommandError> {
        let cap = self.persist.settings.maxmemory;
        if cap > 0 && spec.flags.has(Flags::DENYOOM) && (self.memory)() as u64 > cap as u64 {
            return Err(CommandError::text(
                "OOM command not allowed when used memory > 'persist.maxmemory'.",
            ));
        }
        Ok(())
    }

    /// The end of one pass of the event loop, before replies leave: what was
    /// logged is written, and synced as the policy says. `false`: that
    /// failed, and the replies of this pass must not leave.
    pub fn before_sleep(&mut self, host: &mut dyn Host) -> bool {
        let kept = self.persist.before_sleep(host);
        self.forget_durable();
        kept
    }

    /// Regular work, to be called some ten times a second, never inside a
    /// transaction or script.
    pub fn tick(&mut self, host: &mut dyn Host) {
        let begun = self.clock.monotonic_us();
        self.reap_watched(host);
        while self.expire_step(host) && self.clock.monotonic_us() - begun < EXPIRE_BUDGET_US {}
        self.persist.tick(host, &self.space);
    }

    /// The forked child has ended.
    pub fn child_done(&mut self, host: &mut dyn Host, end: ChildEnd) {
        self.child_progress = 0.0;
        self.persist.child_done(host, end);
    }

    /// PERSIST.SAVE: a durable snapshot before it returns.
    ///
    /// # Errors
    /// Another save is in progress, or why it failed.
    pub fn save(&mut self, host: &mut dyn Host) -> Result<(), CommandError> {
        self.persist.save(host, &self.space)
    }

    /// PERSIST.BGSAVE, with the reply's text.
    ///
    /// # Errors
    /// In Redis's words.
    pub fn bgsave(
        &mut self,
        host: &mut dyn Host,
        schedule: bool,
    ) -> Result<&'static str, CommandError> {
        self.persist.bgsave(host, &self.space, schedule)
    }

    /// PERSIST.BGSAVE CANCEL, with the reply's text.
    ///
    /// # Errors
    /// Nothing to cancel.
    pub fn cancel_bgsave(&mut self, host: &mut dyn Host) -> Result<&'static str, CommandError> {
        self.persist.cancel_bgsave(host)
    }

    /// PERSIST.REWRITE, with the reply's text.
    ///
    /// # Errors
    /// In Redis's words.
    pub fn rewrite(&mut self, host: &mut dyn Host) -> Result<&'static str, CommandError> {
        self.persist.rewrite(host)
    }

    /// PERSIST.REWRITE CANCEL, with the reply's text.
    ///
    /// # Errors
    /// Nothing to cancel, or nothing that may be.
    pub fn cancel_rewrite(&mut self, host: &mut dyn Host) -> Result<&'static str, CommandError> {
        self.persist.cancel_asked_rewrite(host)
    }

    /// PERSIST.SYNC: gives the sequence number to ask [`Engine::is_synced`]
    /// for.
    ///
    /// # Errors
    /// There is no log.
    pub fn ask_sync(&mut self) -> Result<u64, CommandError> {
        self.persist.ask_sync()
    }

    /// Whether what [`Engine::ask_sync`] gave `seq` for is durable by now.
    ///
    /// # Errors
    /// It isn't, and no log can make it so any more.
    pub fn is_synced(&self, seq: u64) -> Result<bool, CommandError> {
        self.persist.is_synced(seq)
    }

    /// PERSIST.VERIFY: what is to be checked, for a thread of the host's.
    ///
    /// # Errors
    /// One is under way.
    pub fn verify(&mut self) -> Result<Task, CommandError> {
        self.persist.verify(&self.limits)
    }

    /// PERSIST.LASTSAVE: unix time in seconds.
    pub fn last_save(&self) -> u64 {
        self.persist.last_save()
    }

    /// PERSIST.INFO: calls `field(section, name, value)` for each field, the
    /// sections in order.
    pub fn info(&mut self, host: &mut dyn Host, field: &mut dyn FnMut(&'static str, &str, &str)) {
        self.persist
            .info(host, &self.space, self.child_progress, field);
    }

    /// How far the child has come (0 to 1), as the adapter hears of it.
    pub fn child_progress(&mut self, progress: f64) {
        self.child_progress = progress;
    }

    /// The number of the last change.
    pub fn seq(&self) -> u64 {
        self.persist.seq()
    }

    /// The number of the last change that is on disk for sure; `None` when no
    /// log is in force.
    pub fn durable_seq(&self) -> Option<u64> {
        self.persist.durable_seq()
    }

    /// Looks out for changes of `key` from now on, in whichever database, and
    /// no longer for those of another; `None` ends it.
    pub fn look_out(&mut self, key: Option<&[u8]>) {
        self.touch.set(key);
    }

    /// Whether the key that is looked at may have been changed since.
    pub fn is_touched(&self) -> bool {
        self.touch.is_touched()
    }

    /// Sees to it that what was logged is synced, also under a policy that
    /// doesn't ask for it.
    pub fn sync_soon(&mut self, host: &mut dyn Host) {
        self.persist.sync_soon(host);
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.persist.settings
    }

    /// Takes settings changed at run time (CONFIG SET).
    pub fn apply(&mut self, host: &mut dyn Host, settings: Settings) {
        settings.set_limits(&mut self.limits);
        self.persist.apply(host, settings);
    }

    /// The longest string that commands may make from now on, in bytes.
    pub fn set_string_max(&mut self, bytes: usize) {
        self.limits.string_max = bytes;
    }

    /// The host takes a snapshot of its own at its end: one of ours is wanted,
    /// too, if there is no log.
    pub fn ask_last_save(&mut self) {
        self.persist.ask_last_save();
    }

    /// The server stops: writes and syncs the log, takes a last snapshot when
    /// save points are set, and waits until all is durable.
    pub fn shutdown(&mut self, host: &mut dyn Host) {
        self.persist.shutdown(host, &self.space);
    }

    /// A write handler panicked: what it did may be half done. Refuses
    /// writes, saves and rewrites until a restart replays the log.
    pub fn poison(&mut self, host: &mut dyn Host) {
        host.log(Level::Warning, "a command panicked; see the lines before");
        self.persist.poison(host);
    }

    /// The data, for tests and tools.
    pub fn space(&self) -> &Keyspace {
        &self.space
    }
}
