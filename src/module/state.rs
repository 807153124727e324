//! What the module holds: the engine, and what the callbacks must know.

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use persist_engine::engine::Engine;

use crate::cutoff::{cut_off, silence};
use crate::ffi::Ctx;
use crate::gate;
use crate::host::{Link, Side};

/// A value that only the server's main thread uses, or a thread that holds
/// the server's lock; and only one caller at a time.
pub struct Exclusive<T> {
    busy: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: the host runs callbacks one at a time, under its lock; re-entry on
// one thread is found by `busy`.
unsafe impl<T> Sync for Exclusive<T> {}

struct Release<'a>(&'a Cell<bool>);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<T> Exclusive<T> {
    /// Holds `value`.
    pub const fn new(value: T) -> Self {
        Exclusive {
            busy: Cell::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Works with the value; `None` when a caller further up does so already.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.busy.replace(true) {
            return None;
        }
        let _release = Release(&self.busy);
        // SAFETY: `busy` was clear, so there is no other reference on this
        // thread, and other threads are kept out by the host's lock.
        Some(work(unsafe { &mut *self.value.get() }))
    }
}

/// The engine and the adapter's own side of it.
pub struct Module {
    /// The engine.
    pub engine: Engine,
    /// What the host's trait needs.
    pub side: Side,
}

static MODULE: Exclusive<Option<Module>> = Exclusive::new(None);

/// Whether the host is a replica.
pub static REPLICA: AtomicBool = AtomicBool::new(false);
/// Whether the host loads data.
pub static LOADING: AtomicBool = AtomicBool::new(false);
/// Between the hook before replies leave and the end of the sleep: what is
/// written now must be made durable at once, since the hook is over.
pub static IN_WINDOW: AtomicBool = AtomicBool::new(false);
/// Whether threads of the host hand over what clients send (from version 8 on,
/// with io-threads).
pub static IO_THREADS: AtomicBool = AtomicBool::new(false);
/// Whether replies may leave right after a command, without the hook.
pub static SYNC_EACH: AtomicBool = AtomicBool::new(false);
/// Whether a log is in force, as of the last pass.
pub static LOGS: AtomicBool = AtomicBool::new(false);
/// Whether replies are held back until what they tell of is durable, as of
/// the last pass.
pub static HOLDS: AtomicBool = AtomicBool::new(false);
/// Whether nobody is held back for that, since the event loop syncs by itself
/// in no time, as of the last pass.
pub static FAST: AtomicBool = AtomicBool::new(false);
/// Whether one client is connected, and no other has come since.
pub static ALONE: AtomicBool = AtomicBool::new(false);
/// Whether so many are that a question to the host about all takes long.
pub static CROWDED: AtomicBool = AtomicBool::new(false);
/// Whether XREAD's BLOCK is an error in scripts.
pub static BLOCK_REFUSED: AtomicBool = AtomicBool::new(false);
/// Whether replies to writes are held back, as of the last pass: for that, or
/// under `everysec` because the disk is behind.
pub static HOLDS_WRITERS: AtomicBool = AtomicBool::new(false);
/// Whether the server is about to end.
pub static ENDING: AtomicBool = AtomicBool::new(false);
/// `latency-monitor-threshold`; 0 is off.
pub static LATENCY_THRESHOLD: AtomicU64 = AtomicU64::new(0);

/// A flag, read or written without any order.
pub fn get(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed)
}

/// See [`get`].
pub fn set(flag: &AtomicBool, value: bool) {
    flag.store(value, Ordering::Relaxed);
}

/// Puts the module in place.
pub fn install(module: Module) {
    MODULE.with(|slot| *slot = Some(module));
}

/// Who works with the engine: a command with its arguments, or nobody.
pub struct Caller<'a> {
    /// The client's context.
    pub ctx: Ctx<'a>,
    /// Its selected database.
    pub db: u32,
    /// The arguments as the host's strings.
    pub argv: &'a [*mut redis_module::raw::RedisModuleString],
    /// The same as bytes.
    pub args: &'a [&'a [u8]],
}

/// Lets the engine write and sync what was logged, before replies leave.
/// Clients whose write could not be made as durable as promised are cut off:
/// their reply stands in a buffer already, and it would be a lie.
pub fn before_replies() {
    let doomed = MODULE.with(|slot| {
        let Module { engine, side } = slot.as_mut()?;
        let mut doomed = std::mem::take(&mut side.doomed);
        let syncs = engine.holds() && engine.owes() && !get(&FAST);
        let began = syncs.then(Instant::now);
        if !engine.before_sleep(&mut Link::detached(side)) {
            doomed.append(&mut side.writers);
        }
        side.writers.clear();
        set(&LOGS, engine.durable_seq().is_some());
        set(&HOLDS, engine.holds());
        set(&HOLDS_WRITERS, engine.holds_writers());
        set(&FAST, engine.is_disk_fast());
        Some((doomed, side.detached, began))
    });
    // The engine is free again: closing a client may call back.
    if let Some(Some((writers, ctx, began))) = doomed {
        cut_off(ctx, &writers);
        if let Some(began) = began {
            gate::synced(ctx, began.elapsed());
        }
    }
}

/// As [`before_replies`], before a command that may run for long, of a client
/// that may be one of those to be cut off: they are sent nothing more, but
/// closed only after it.
pub fn before_long() {
    let doomed = MODULE.with(|slot| {
        let Module { engine, side } = slot.as_mut()?;
        if engine.before_sleep(&mut Link::detached(side)) {
            side.writers.clear();
        } else {
            side.doomed.append(&mut side.writers);
        }
        Some((side.doomed.clone(), side.detached))
    });
    // The engine is free again: what is asked of the host may call back.
    if let Some(Some((writers, ctx))) = doomed {
        silence(ctx, &writers);
    }
}

/// Works with the engine; `None` when it isn't open or a caller further up
/// works with it. Keyspace notifications go out afterwards, since whoever
/// gets them may come back to us.
#[inline]
pub fn with<R>(
    caller: Option<Caller<'_>>,
    work: impl FnOnce(&mut Engine, &mut Link<'_>) -> R,
) -> Option<R> {
    let (result, notes, ctx) = MODULE.with(|slot| {
        let Module { engine, side } = slot.as_mut()?;
        let mut link = match caller {
            Some(caller) => Link::of_command(side, caller),
            None => Link::detached(side),
        };
        let result = work(engine, &mut link);
        Some((result, std::mem::take(&mut side.notes), side.detached))
    })??;
    for note in notes {
        ctx.select(note.db);
        ctx.notify(note.class, note.event, &note.key);
    }
    Some(result)
}
