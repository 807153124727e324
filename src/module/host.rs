//! The host as the engine sees it.

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use persist_engine::data::entry::Entry;
use persist_engine::data::table::Table;
use persist_engine::host::{ChildEnd, ChildMemory, ChildWork, Host, Level};
use persist_engine::keyspace::keys::{EventClass, Garbage};
use redis_module::raw;

use crate::ffi::{Ctx, HostString, Short, host, notified_classes};
use crate::reaper::Reaper;
use crate::state::{self, Caller, LATENCY_THRESHOLD};

/// The exit code of a child that panicked; 255 is the host's.
const PANICKED: i32 = 100;

/// Keys of a flushed database that watchers are told of on a host that
/// doesn't say whether there are any: naming one takes about 0.35 us, so this
/// is less than a millisecond.
const SIGNALLED_KEYS: usize = 2_000;

/// A keyspace notification to be sent.
pub struct Note {
    /// Database.
    pub db: u32,
    /// The host's class.
    pub class: c_int,
    /// Name.
    pub event: &'static str,
    /// Key.
    pub key: Box<[u8]>,
}

/// What the adapter keeps beside the engine.
pub struct Side {
    /// For work that no client asked for.
    pub detached: Ctx<'static>,
    /// Frees what is large.
    pub reaper: Reaper,
    /// Notifications to be sent once the engine is free.
    pub notes: Vec<Note>,
    /// Under `appendfsync always`: clients with a write in this pass of the
    /// event loop, whose replies wait for its fsync.
    pub writers: Vec<u64>,
    /// Clients to be cut off at the end of the pass, whatever comes of it.
    pub doomed: Vec<u64>,
}

/// The host during one piece of work.
pub struct Link<'a> {
    side: &'a mut Side,
    caller: Option<Caller<'a>>,
    /// Where in the arguments the next key probably stands.
    next: usize,
}

impl<'a> Link<'a> {
    /// During a command.
    #[inline]
    pub fn of_command(side: &'a mut Side, caller: Caller<'a>) -> Self {
        Link {
            side,
            caller: Some(caller),
            next: 1,
        }
    }

    /// Outside of commands.
    pub fn detached(side: &'a mut Side) -> Self {
        Link {
            side,
            caller: None,
            next: 0,
        }
    }

    /// The context for work that no client asked for.
    pub fn detached_ctx(&self) -> Ctx<'static> {
        self.side.detached
    }

    /// A client's reply waits for the fsync of this pass.
    pub fn note_writer(&mut self, id: u64) {
        if self.side.writers.last() != Some(&id) {
            self.side.writers.push(id);
        }
    }

    /// A context in which `db` is selected. A client's context keeps its
    /// database, so another is used for another.
    #[inline]
    fn ctx_at(&self, db: u32) -> Ctx<'a> {
        match &self.caller {
            Some(caller) if caller.db == db => caller.ctx,
            _ => {
                self.side.detached.select(db);
                self.side.detached
            }
        }
    }

    fn ctx(&self) -> Ctx<'a> {
        self.caller
            .as_ref()
            .map_or(self.side.detached, |caller| caller.ctx)
    }

    /// The argument that is `key` itself, if one is. Keys come in the order
    /// of arguments, so the search goes on where it ended.
    #[inline]
    fn argument(&mut self, key: &[u8]) -> Option<*mut raw::RedisModuleString> {
        let caller = self.caller.as_ref()?;
        let n = caller.args.len();
        let mut at = self.next;
        for _ in 0..n {
            if at >= n {
                at = 0;
            }
            if std::ptr::eq(caller.args[at], key) {
                self.next = at + 1;
                return caller.argv.get(at).copied();
            }
            at += 1;
        }
        None
    }
}

fn class_of(class: EventClass) -> c_int {
    (match class {
        EventClass::Generic => raw::REDISMODULE_NOTIFY_GENERIC,
        EventClass::String => raw::REDISMODULE_NOTIFY_STRING,
        EventClass::List => raw::REDISMODULE_NOTIFY_LIST,
        EventClass::Set => raw::REDISMODULE_NOTIFY_SET,
        EventClass::Hash => raw::REDISMODULE_NOTIFY_HASH,
        EventClass::Zset => raw::REDISMODULE_NOTIFY_ZSET,
        EventClass::Stream => raw::REDISMODULE_NOTIFY_STREAM,
        EventClass::Expired => raw::REDISMODULE_NOTIFY_EXPIRED,
        EventClass::Silent => 0,
    }) as c_int
}

impl Host for Link<'_> {
    fn log(&mut self, level: Level, line: &str) {
        self.side.detached.log(level, line);
    }

    #[inline]
    fn key_event(&mut self, db: u32, class: EventClass, event: &'static str, key: &[u8]) {
        let ctx = self.ctx_at(db);
        match self.argument(key) {
            // SAFETY: the arguments live as long as the command runs.
            Some(name) => unsafe { ctx.signal_modified(name) },
            None => {
                let name = HostString::new(key);
                // SAFETY: `name` lives until the end of the block.
                unsafe { ctx.signal_modified(name.as_ptr()) }
            }
        }
        let class = class_of(class);
        if notified_classes() & class != 0 {
            self.side.notes.push(Note {
                db,
                class,
                event,
                key: key.into(),
            });
        }
    }

    /// The host can't be asked which keys are watched, so every key is named
    /// to it if any is. Where it doesn't say whether any is (before Redis
    /// 7.4), as many as don't stall the event loop.
    fn replaced(&mut self, db: u32, before: &Table<Entry>, after: &Table<Entry>) {
        let ctx = self.ctx_at(db);
        let named = match ctx.watched() {
            Some(false) => return,
            Some(true) => usize::MAX,
            None => SIGNALLED_KEYS,
        };
        for entry in before.iter().chain(after.iter()).take(named) {
            let name = HostString::new(entry.key());
            // SAFETY: `name` lives until the end of the block.
            unsafe { ctx.signal_modified(name.as_ptr()) }
        }
    }

    fn discard(&mut self, garbage: Garbage) {
        self.side.reaper.take(garbage);
    }

    fn can_fork(&mut self) -> bool {
        let not_now = raw::REDISMODULE_CTX_FLAGS_ACTIVE_CHILD
            | raw::REDISMODULE_CTX_FLAGS_IS_CHILD
            | raw::REDISMODULE_CTX_FLAGS_MULTI
            | raw::REDISMODULE_CTX_FLAGS_LUA;
        self.ctx().flags() & not_now == 0
    }

    fn fork(&mut self, work: ChildWork<'_>) -> Result<i32, String> {
        // SAFETY: takes nothing and touches no memory.
        let server = unsafe { libc::getpid() };
        // SAFETY: a callback of the right type that needs no data.
        match unsafe { host!(RedisModule_Fork(Some(child_ended), null_mut())) } {
            -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
            0 => {
                // Nobody needs a child whose server is gone, be it since
                // before this call.
                #[cfg(target_os = "linux")]
                // SAFETY: takes a signal's number and changes this process only.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    if libc::getppid() != server {
                        libc::_exit(PANICKED);
                    }
                }
                let mut last: Option<Instant> = None;
                let mut beat = |progress: f64| {
                    // The host reads the memory maps for it, and its pipe may be full.
                    if last.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
                        last = Some(Instant::now());
                        // SAFETY: this is the forked child.
                        unsafe { host!(RedisModule_SendChildHeartbeat(progress)) }
                    }
                };
                let code = catch_unwind(AssertUnwindSafe(|| work(&mut beat))).unwrap_or(PANICKED);
                // SAFETY: ends the forked child without a word to the parent's memory.
                unsafe {
                    host!(RedisModule_ExitFromChild(code));
                    libc::_exit(code)
                }
            }
            pid => {
                CHILD.store(pid, Ordering::Relaxed);
                Ok(pid)
            }
        }
    }

    fn child_memory(&mut self) -> ChildMemory {
        let ctx = self.ctx();
        let read = |field: &CStr| {
            let text = ctx.info(c"persistence", field);
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        ChildMemory {
            last: read(c"module_fork_last_cow_size"),
            current: read(c"current_cow_size"),
            peak: read(c"current_cow_peak"),
            age_secs: read(c"current_cow_size_age"),
        }
    }

    /// Not by the host's own call: that waits on the event loop for the
    /// child's end, for ever if it is stopped.
    fn kill_child(&mut self, pid: i32) {
        if CHILD.load(Ordering::Relaxed) == pid {
            // SAFETY: touches no memory; the host hasn't waited for this
            // child yet, so the number is no other process's.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
            }
        }
    }

    fn latency(&mut self, event: &'static str, ms: u64) {
        let threshold = LATENCY_THRESHOLD.load(Ordering::Relaxed);
        if threshold > 0 && ms >= threshold {
            // SAFETY: the host copies the name.
            unsafe {
                host!(RedisModule_LatencyAddSample(
                    Short::new(event).as_ptr(),
                    ms as _
                ))
            }
        }
    }
}

/// The child that the host hasn't waited for yet; 0 for none.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// The host has given up its child. It tells [`child_ended`] before, unless
/// it has killed the child itself, for a shutdown: that may fail yet.
pub fn child_gone() {
    if CHILD.swap(0, Ordering::Relaxed) != 0 {
        state::with(None, |engine, host| {
            engine.child_done(host, ChildEnd::Killed(libc::SIGUSR1));
        });
    }
}

/// The host's word on the child's end.
extern "C" fn child_ended(code: c_int, signal: c_int, _: *mut c_void) {
    let end = if signal != 0 {
        ChildEnd::Killed(signal)
    } else {
        ChildEnd::Exited(code)
    };
    CHILD.store(0, Ordering::Relaxed);
    crate::guarded((), || {
        state::with(None, |engine, host| engine.child_done(host, end));
    });
}
