//! PERSIST.ADOPT and PERSIST.RELEASE: keys move between the host's keyspace
//! and the durable one, in the background, a little at a time.
//!
//! A key is copied in one step, so that nobody sees half of it. What is
//! adopted leaves the host only after an fsync has covered the copy, and if
//! it wasn't changed meanwhile. What is released is the host's as soon as it
//! is in the host's memory: a cache promises no more.

mod read;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{CString, c_void};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use persist_engine::base::glob::glob_match;
use persist_engine::command::reply::{NoReply, Node, Recorder};
use persist_engine::command::table;
use persist_engine::data::rebuild;
use persist_engine::engine::{Call, Engine};
use persist_engine::host::Level;
use redis_module::raw;

use crate::blocking;
use crate::call::Answer;
use crate::ffi::{Ctx, c_string, host};
use crate::host::Link;
use crate::route;
use crate::scan::Cursor;
use crate::state::{self, Exclusive, LOADING, REPLICA};

use read::{Found, Words};

/// How long one step may take; a large key may take it longer.
const BUDGET: Duration = Duration::from_micros(500);
/// Between two steps, in ms.
const PAUSE_MS: i64 = 2;
/// The same while there is nothing to do but to wait for the disk.
const WAIT_MS: i64 = 20;
/// Copies that wait for the disk, at most.
const MOST_COPIES: usize = 10_000;
/// How often a key that changes while it is adopted is copied.
const TRIES: u32 = 3;

/// Which way keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the host's keyspace into the durable one.
    Adopt,
    /// Back, and the durable key stays if `keep`.
    Release {
        /// Whether it is a copy only.
        keep: bool,
    },
}

/// A key that was copied and whose copy isn't known to be durable yet.
struct Copy {
    db: u32,
    key: Vec<u8>,
    /// What the log reached with it.
    seq: u64,
    /// What the host's value was.
    source: Answer,
    tries: u32,
}

/// What a move has done.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Keys that are over.
    pub moved: u64,
    /// Keys that the other side has, too: left where they are.
    pub skipped: u64,
    /// Keys of a kind that the other side doesn't have.
    pub foreign: u64,
    /// Keys that changed again and again: on both sides now.
    pub changed: u64,
}

/// A move under way.
struct Move {
    way: Way,
    pattern: Vec<u8>,
    db: u32,
    databases: u32,
    host_cursor: Cursor,
    durable_cursor: Vec<u8>,
    found: Vec<Vec<u8>>,
    copies: VecDeque<Copy>,
    copied: BTreeSet<(u32, Vec<u8>)>,
    counts: Counts,
    cancelled: bool,
}

/// The present move, and what became of the last one.
struct State {
    now: Option<Move>,
    counts: Counts,
    status: String,
}

static STATE: Exclusive<State> = Exclusive::new(State {
    now: None,
    counts: Counts {
        moved: 0,
        skipped: 0,
        foreign: 0,
        changed: 0,
    },
    status: String::new(),
});

/// Begins a move.
///
/// # Errors
/// One is under way, or copies could not become durable.
pub fn begin(ctx: Ctx<'_>, engine: &Engine, way: Way, pattern: &[u8]) -> Result<(), String> {
    if way == Way::Adopt && engine.durable_seq().is_none() {
        return Err("ERR PERSIST.ADOPT needs the log: set persist.appendonly to yes".into());
    }
    let databases = ctx.config(c"databases");
    let begun = STATE.with(|state| {
        if state.now.is_some() {
            return false;
        }
        state.now = Some(Move {
            way,
            pattern: pattern.into(),
            db: 0,
            databases: databases.and_then(|n| n.parse().ok()).unwrap_or(16),
            host_cursor: Cursor::new(),
            durable_cursor: b"0".to_vec(),
            found: Vec::new(),
            copies: VecDeque::new(),
            copied: BTreeSet::new(),
            counts: Counts::default(),
            cancelled: false,
        });
        true
    });
    if begun != Some(true) {
        return Err("ERR keys are being moved already; PERSIST.ADOPT CANCEL ends that".into());
    }
    call_me_in(ctx, PAUSE_MS);
    Ok(())
}

/// Ends the move that is under way, once what was copied has left its source.
/// `false` when there is none.
pub fn cancel() -> bool {
    let cancelled = STATE.with(|state| {
        let now = state.now.as_mut()?;
        now.cancelled = true;
        Some(())
    });
    cancelled.flatten().is_some()
}

/// For INFO.
pub fn info(field: &mut dyn FnMut(&'static str, &str, &str)) {
    STATE.with(|state| {
        let mut put = |name: &str, value: &str| field("moving", name, value);
        let way = match state.now.as_ref().map(|now| now.way) {
            None => "no",
            Some(Way::Adopt) => "adopt",
            Some(Way::Release { .. }) => "release",
        };
        put("moving_in_progress", way);
        if let Some(now) = &state.now {
            put("moving_pattern", &now.pattern.escape_ascii().to_string());
            put("moving_database", &now.db.to_string());
            put("moving_waiting_for_disk", &now.copies.len().to_string());
        }
        let counts = state.now.as_ref().map_or(&state.counts, |now| &now.counts);
        put("moving_moved", &counts.moved.to_string());
        put("moving_skipped", &counts.skipped.to_string());
        put("moving_foreign", &counts.foreign.to_string());
        put("moving_changed", &counts.changed.to_string());
        let status = match &*state.status {
            "" => "ok",
            status => status,
        };
        put("moving_last_status", status);
    });
}

fn call_me_in(ctx: Ctx<'_>, ms: i64) {
    // SAFETY: a context of the module, and a callback of the right type that
    // needs no data.
    unsafe {
        host!(RedisModule_CreateTimer(
            ctx.as_ptr(),
            ms,
            Some(on_timer),
            null_mut()
        ))
    };
}

/// What comes after a step.
enum Next {
    Soon,
    Later,
    Done(String),
}

unsafe extern "C" fn on_timer(_: *mut raw::RedisModuleCtx, _: *mut c_void) {
    crate::guarded((), || {
        // Its database may be selected, other than that of the timer's client.
        let Some(ctx) = state::with(None, |_, host| host.detached_ctx()) else {
            return;
        };
        // Out of its place, so that nothing is held while the host is called.
        let Some(Some(mut now)) = STATE.with(|state| state.now.take()) else {
            return;
        };
        let failed = Next::Done("the move failed inside; see the server's log".into());
        let next = crate::guarded(failed, || now.step(ctx));
        ctx.select(0);
        let wait = match &next {
            Next::Soon => Some(PAUSE_MS),
            Next::Later => Some(WAIT_MS),
            Next::Done(_) => None,
        };
        if let Next::Done(status) = next {
            now.tell(ctx, &status);
            STATE.with(|state| {
                state.counts = now.counts.clone();
                state.status = status;
            });
        } else {
            STATE.with(|state| state.now = Some(now));
        }
        if let Some(ms) = wait {
            call_me_in(ctx, ms);
        }
    });
}

impl Move {
    fn tell(&self, ctx: Ctx<'_>, status: &str) {
        let Counts {
            moved,
            skipped,
            foreign,
            changed,
        } = self.counts;
        // Not the pattern: it may be a key.
        let (command, what, there) = match self.way {
            Way::Adopt => ("PERSIST.ADOPT", "adopted", "durable"),
            Way::Release { keep: false } => ("PERSIST.RELEASE", "released", "the server's"),
            Way::Release { keep: true } => ("PERSIST.RELEASE", "copied", "the server's"),
        };
        let end = match status {
            "" => String::new(),
            status => format!("; it ended early: {status}"),
        };
        let level = if status.is_empty() && skipped + foreign + changed == 0 {
            Level::Notice
        } else {
            Level::Warning
        };
        ctx.log(
            level,
            &format!(
                "{command}: {moved} keys {what}, {skipped} left since a key of that name is {there} already, {foreign} of a kind that can't move, {changed} on both sides since they changed again and again{end}",
            ),
        );
    }

    fn step(&mut self, ctx: Ctx<'_>) -> Next {
        if state::get(&REPLICA) {
            return Next::Done("the server became a replica".into());
        }
        // SAFETY: takes nothing. The host may not be told of changes now.
        let quiet = unsafe { host!(RedisModule_AvoidReplicaTraffic()) } != 0;
        if state::get(&LOADING) || quiet {
            return Next::Later;
        }
        let until = Instant::now() + BUDGET;
        while Instant::now() < until {
            match self.go_on(ctx) {
                Ok(true) => {}
                Ok(false) if self.copies.is_empty() => {
                    let cancelled = if self.cancelled { "cancelled" } else { "" };
                    return Next::Done(cancelled.into());
                }
                Ok(false) => return Next::Later,
                Err(why) => return Next::Done(why),
            }
        }
        Next::Soon
    }

    /// One small piece of work; `false` when there is nothing to do now.
    fn go_on(&mut self, ctx: Ctx<'_>) -> Result<bool, String> {
        if let Some(copy) = self.copies.front() {
            let seq = copy.seq;
            let durable = with_engine(|engine, host| {
                engine.sync_soon(host);
                engine.durable_seq()
            });
            // With the log turned off meanwhile, nothing would ever be.
            let durable = durable.flatten().ok_or("the log was turned off")?;
            if durable >= seq
                && let Some(copy) = self.copies.pop_front()
            {
                self.copied.remove(&(copy.db, copy.key.clone()));
                self.confirm(ctx, copy)?;
                return Ok(true);
            }
        }
        if self.cancelled || self.copies.len() >= MOST_COPIES {
            return Ok(false);
        }
        if let Some(key) = self.found.pop() {
            match self.way {
                Way::Adopt => self.adopt(ctx, self.db, key, 1)?,
                Way::Release { keep } => self.release(ctx, key, keep)?,
            }
            return Ok(true);
        }
        if self.db >= self.databases {
            return Ok(false);
        }
        let more = match self.way {
            Way::Adopt => self.find_in_host(ctx),
            Way::Release { .. } => self.find_durable()?,
        };
        if !more {
            self.host_cursor.restart();
            self.durable_cursor = b"0".to_vec();
            // What was found last is still of this database.
            while let Some(key) = self.found.pop() {
                match self.way {
                    Way::Adopt => self.adopt(ctx, self.db, key, 1)?,
                    Way::Release { keep } => self.release(ctx, key, keep)?,
                }
            }
            self.db += 1;
        }
        Ok(true)
    }

    fn find_in_host(&mut self, ctx: Ctx<'_>) -> bool {
        ctx.select(self.db);
        let (pattern, found) = (&self.pattern, &mut self.found);
        self.host_cursor.step(ctx, &mut |key| {
            if pattern == b"*" || glob_match(pattern, key, false) {
                found.push(key.to_vec());
            }
        })
    }

    fn find_durable(&mut self) -> Result<bool, String> {
        let cursor = self.durable_cursor.clone();
        let scan: [&[u8]; 6] = [b"SCAN", &cursor, b"MATCH", &self.pattern, b"COUNT", b"20"];
        let Node::Array(reply) = ask(self.db, &scan)? else {
            return Ok(false);
        };
        let [Node::Bulk(cursor), Node::Array(keys)] = &reply[..] else {
            return Ok(false);
        };
        self.durable_cursor = cursor.clone();
        self.found.extend(keys.iter().filter_map(|key| match key {
            Node::Bulk(key) => Some(key.clone()),
            _ => None,
        }));
        Ok(cursor != b"0")
    }

    /// Copies a key of the host's.
    fn adopt(&mut self, ctx: Ctx<'_>, db: u32, key: Vec<u8>, tries: u32) -> Result<(), String> {
        if self.copied.contains(&(db, key.clone())) {
            return Ok(());
        }
        ctx.select(db);
        let commands = match read::value(ctx, &key) {
            Found::Nothing => return Ok(()),
            Found::Foreign => {
                self.counts.foreign += 1;
                return Ok(());
            }
            Found::Value(commands) => commands,
        };
        if ask(db, &[b"EXISTS", &key])? == Node::Int(1) {
            self.counts.skipped += 1;
            return Ok(());
        }
        // Where plain commands can't reach it, nobody changes it any more.
        let source = match route::covers(&key) {
            Some(true) => Answer::Nil,
            _ => ctx.call(c"DUMP", &[&key]),
        };
        let seq = rebuild_here(db, &key, &commands)?;
        self.copied.insert((db, key.clone()));
        self.copies.push_back(Copy {
            db,
            key,
            seq,
            source,
            tries,
        });
        Ok(())
    }

    /// A copy is durable: its source goes, if it is what was copied.
    fn confirm(&mut self, ctx: Ctx<'_>, copy: Copy) -> Result<(), String> {
        ctx.select(copy.db);
        if copy.source != Answer::Nil {
            let now = ctx.call(c"DUMP", &[&copy.key]);
            // One that is gone was evicted or has ended, for all we know.
            if now != Answer::Nil && now != copy.source {
                if copy.tries == TRIES {
                    self.counts.changed += 1;
                    return Ok(());
                }
                ask(copy.db, &[b"DEL", &copy.key])?;
                return self.adopt(ctx, copy.db, copy.key, copy.tries + 1);
            }
        }
        ctx.call_and_replicate(c"UNLINK", &[&copy.key]);
        self.counts.moved += 1;
        Ok(())
    }

    /// Copies a durable key to the host, and removes it here.
    fn release(&mut self, ctx: Ctx<'_>, key: Vec<u8>, keep: bool) -> Result<(), String> {
        ctx.select(self.db);
        if ctx.call(c"EXISTS", &[&key]) != Answer::Int(0) {
            self.counts.skipped += 1;
            return Ok(());
        }
        let mut commands: Vec<Words> = Vec::new();
        with_engine(|engine, _| {
            let Some(entry) = engine.space().peek(self.db, &key) else {
                return;
            };
            let Ok(()) = rebuild::commands(entry, &mut |words| {
                commands.push(words.iter().map(|word| word.to_vec()).collect());
                Ok::<_, std::convert::Infallible>(())
            });
        });
        for command in &commands {
            let [name, args @ ..] = &command[..] else {
                continue;
            };
            let name: CString = c_string(&String::from_utf8_lossy(name));
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            if let Answer::Error(why) = ctx.call_and_replicate(&name, &args) {
                // Not half of it.
                ctx.call_and_replicate(c"UNLINK", &[&key]);
                // TTLs of fields are unknown to older hosts.
                if why.contains("unknown command") {
                    self.counts.foreign += 1;
                    return Ok(());
                }
                return Err(why);
            }
        }
        if !commands.is_empty() {
            if !keep {
                ask(self.db, &[b"DEL", &key])?;
            }
            self.counts.moved += 1;
        }
        Ok(())
    }
}

fn with_engine<R>(work: impl FnOnce(&mut Engine, &mut Link<'_>) -> R) -> Option<R> {
    state::with(None, work)
}

const BUSY: &str = "the durable keyspace is busy";

/// Runs a command on durable keys.
fn ask(db: u32, args: &[&[u8]]) -> Result<Node, String> {
    let mut reply = Recorder::default();
    let spec = args.first().and_then(|name| table::find(name));
    let spec = spec.ok_or("no such command")?;
    let call = Call {
        db,
        held: true,
        ..Call::default()
    };
    with_engine(|engine, host| engine.execute(host, spec, args, call, &mut reply))
        .ok_or(BUSY)?
        .map_err(|error| error.to_string())?;
    Ok(reply.take())
}

/// Makes a durable key by these commands, as one unit; says what the log
/// reached with it.
fn rebuild_here(db: u32, key: &[u8], commands: &[Words]) -> Result<u64, String> {
    // Nobody is told before it is durable, so the event loop needn't wait.
    let call = Call {
        db,
        atomic: true,
        held: true,
        ..Call::default()
    };
    let mut served = Vec::new();
    let done = with_engine(|engine, host| {
        let mut run = |words: &[&[u8]]| -> Result<(), String> {
            let spec = words.first().and_then(|name| table::find(name));
            let spec = spec.ok_or("no such command")?;
            let done = engine.execute(host, spec, words, call, &mut NoReply);
            done.map_err(|error| error.to_string())
        };
        let made = commands.iter().try_for_each(|words| {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            run(&words)
        });
        if made.is_err() {
            // Not half of it. When even that is refused, the unit stays half
            // done, and the host's key where it is.
            let _ = run(&[b"DEL", key]);
        }
        if engine.has_ready() {
            engine.serve(host, &mut |one| served.push(one));
        }
        made.map(|()| engine.seq())
    });
    if !served.is_empty() {
        blocking::deliver(served);
    }
    done.ok_or(BUSY)?
}
