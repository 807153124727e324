//! PERSIST.ADOPT and PERSIST.RELEASE: keys move between the host's keyspace
//! and the durable one, in the background, a little at a time.
//!
//! A small key is copied in one step, so that nobody sees half of it; a large
//! one a piece at a time, under a hidden name. What is adopted leaves the host
//! only after an fsync has covered the copy, and if it wasn't changed
//! meanwhile. What is released is the host's as soon as it is in the host's
//! memory: a cache promises no more.

mod large;
mod pieces;
mod place;
mod stream;
mod watch;
mod whole;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::c_void;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use persist_engine::base::glob::glob_match;
use persist_engine::command::reply::Node;
use persist_engine::engine::Engine;
use persist_engine::host::Level;
use redis_module::raw;

use crate::call::Answer;
use crate::ffi::{Ctx, host};
use crate::scan::Cursor;
use crate::state::{self, Exclusive, LOADING, REPLICA};

use large::{End, Large, Turn};
use pieces::Found;
use place::{Place, ask, is_hidden, with_engine};

/// How long one step may take, about.
const BUDGET: Duration = Duration::from_micros(500);
/// Between two steps, in ms.
const PAUSE_MS: i64 = 2;
/// The same while there is nothing to do but to wait for the disk.
const WAIT_MS: i64 = 20;
/// Copies that wait for the disk, at most.
const MOST_COPIES: usize = 10_000;
/// How often a key that changes while it is adopted is copied.
const TRIES: u32 = 3;
/// Without it, no copy would ever be durable.
const LOG_OFF: &str = "the log was turned off";

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
    /// Whether all keys of the database were found.
    is_searched: bool,
    /// The large key that is being copied; nothing else is copied meanwhile.
    large: Option<Large>,
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
            is_searched: false,
            large: None,
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
        let large = state.now.as_ref().and_then(|now| now.large.as_ref());
        let (done, total) = large.map_or((0, 0), |large| (large.done, large.total));
        put("moving_key_elements_done", &done.to_string());
        put("moving_key_elements_total", &total.to_string());
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

/// What comes after a small piece of work.
enum Pace {
    /// More of it.
    On,
    /// More in the next pass of the event loop.
    Pass,
    /// Nothing before the disk has done its part.
    Wait,
    /// The move is over.
    Over,
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
            if let Some(mut large) = now.large.take() {
                crate::guarded((), || large.leave(ctx));
            }
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
        if let Some(large) = &mut self.large {
            large.resume();
        }
        let until = Instant::now() + BUDGET;
        while Instant::now() < until {
            match self.go_on(ctx) {
                Ok(Pace::On) => {}
                Ok(Pace::Pass) => return Next::Soon,
                Ok(Pace::Wait) => return Next::Later,
                Ok(Pace::Over) => {
                    let cancelled = if self.cancelled { "cancelled" } else { "" };
                    return Next::Done(cancelled.into());
                }
                Err(why) => return Next::Done(why),
            }
        }
        Next::Soon
    }

    /// One small piece of work.
    fn go_on(&mut self, ctx: Ctx<'_>) -> Result<Pace, String> {
        if let Some(copy) = self.copies.front() {
            let seq = copy.seq;
            let durable = with_engine(|engine, host| {
                engine.sync_soon(host);
                engine.durable_seq()
            })?;
            if durable.ok_or(LOG_OFF)? >= seq
                && let Some(copy) = self.copies.pop_front()
            {
                self.copied.remove(&(copy.db, copy.key.clone()));
                self.confirm(ctx, copy)?;
                return Ok(Pace::On);
            }
        }
        if let Some(large) = self.large.take() {
            return self.go_on_with(ctx, large);
        }
        let is_done = self.db >= self.databases;
        if (self.cancelled || is_done) && self.copies.is_empty() {
            return Ok(Pace::Over);
        }
        if self.cancelled || is_done || self.copies.len() >= MOST_COPIES {
            return Ok(Pace::Wait);
        }
        if let Some(key) = self.found.pop() {
            self.begin_key(ctx, key)?;
        } else if self.is_searched {
            self.host_cursor.restart();
            self.durable_cursor = b"0".to_vec();
            self.is_searched = false;
            self.db += 1;
        } else {
            self.is_searched = !match self.way {
                Way::Adopt => self.find_in_host(ctx),
                Way::Release { .. } => self.find_durable()?,
            };
        }
        Ok(Pace::On)
    }

    /// Goes on with a large key.
    fn go_on_with(&mut self, ctx: Ctx<'_>, mut large: Large) -> Result<Pace, String> {
        // What has its own name already is brought to its end.
        let turn = if self.cancelled && !large.is_published() {
            Ok(Turn::Over(End::Nothing))
        } else {
            large.go_on(ctx)
        };
        let end = match turn {
            Ok(Turn::Over(end)) => end,
            turn => {
                self.large = Some(large);
                return Ok(match turn? {
                    Turn::Pass => Pace::Pass,
                    Turn::Wait => Pace::Wait,
                    _ => Pace::On,
                });
            }
        };
        large.leave(ctx);
        match end {
            End::Moved => self.counts.moved += 1,
            End::Skipped => self.counts.skipped += 1,
            End::Foreign => self.counts.foreign += 1,
            End::Changed => self.counts.changed += 1,
            End::Nothing => {}
            End::InOneStep => {
                let (db, key) = large.into_key();
                self.copy_whole(ctx, db, key, 1)?;
            }
        }
        Ok(Pace::On)
    }

    /// Begins with a key that was found: a small one is copied at once.
    fn begin_key(&mut self, ctx: Ctx<'_>, key: Vec<u8>) -> Result<(), String> {
        // What a crash left of a copy ends by itself.
        if is_hidden(&key) || self.copied.contains(&(self.db, key.clone())) {
            return Ok(());
        }
        let source = match self.way {
            Way::Adopt => Place::host(ctx, self.db),
            Way::Release { .. } => Place::durable(self.db),
        };
        if let Found::Value(look) = pieces::look(source, &key)?
            && look.is_large
        {
            self.large = Large::new(ctx, self.way, self.db, &key);
            if self.large.is_some() {
                return Ok(());
            }
        }
        self.copy_whole(ctx, self.db, key, 1)
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
}
