//! What stands between a reply and its fsync, where the hook at the end of
//! the event loop's pass doesn't: the end of a transaction or script whose
//! reply doesn't wait for the hook, and long scripts, during which the host
//! sends replies without any hook.
//!
//! Only replies that weren't held back. Long scripts are looked out for under
//! every policy, since each promises that what was answered is written; so are
//! the ends of transactions on Redis 7.0 ([`queued`]).
//!
//! An fsync before each script would be one for each writer that uses scripts,
//! instead of one for all of them at the end of the pass. So it comes there
//! only once a script has come near to the time after which the host goes on
//! without it. Before others what was answered is written under `always`, and
//! synced by the I/O thread should the script run for half of that time
//! ([`watchdog`](persist_engine::persist::watchdog)): only an fsync that takes
//! the other half, or fails in just that moment, can come too late.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use redis_module::raw;

use crate::events;
use crate::ffi::{self, Ctx, host};
use crate::pipelines;
use crate::queued;
use crate::state::{self, Exclusive};

/// Set while a transaction or script runs.
pub const UNIT: u32 = raw::REDISMODULE_CTX_FLAGS_MULTI | raw::REDISMODULE_CTX_FLAGS_LUA;

/// Whether the log is written as soon as the unit that runs is over.
static AT_END: AtomicBool = AtomicBool::new(false);
/// Whether scripts are looked out for.
static LOOKS: AtomicBool = AtomicBool::new(false);
/// Whether scripts are in use, so that a transaction may hold one.
static SCRIPTS: AtomicBool = AtomicBool::new(false);
/// How long a script may run before the host serves others meanwhile
/// (`busy-reply-threshold`), in ms.
pub static BUSY_AFTER_MS: AtomicU64 = AtomicU64::new(5_000);
/// Whether a script took so much of that time that the next may take it all.
static LONG_SCRIPTS: AtomicBool = AtomicBool::new(false);
/// When the script, or the transaction that may hold one, began that runs, or
/// ran last in this pass.
static BEGAN: Exclusive<Option<Instant>> = Exclusive::new(None);
/// Who called the script that runs, or ran last; 0 if the host doesn't say
/// (Redis 7.0).
static CALLER: AtomicU64 = AtomicU64::new(0);

static FILTER: Exclusive<Option<*mut raw::RedisModuleCommandFilter>> = Exclusive::new(None);

/// Whether this host tells when a unit is over. Those that don't (Redis 7.0)
/// are also those that let unblocked clients go on after the hook.
pub fn tells_ends() -> bool {
    // SAFETY: set by the host before the module began, and never after.
    unsafe {
        let ask = raw::RedisModule_AddPostNotificationJob;
        ask.is_some()
    }
}

/// Writes the log, and has changed settings take effect, before the reply to
/// this command may leave: after the transaction or script it belongs to, if
/// the host tells of that; else the log is written now. That splits the unit,
/// as a crash in between could show, unless this is the last command of it
/// ([`queued`]).
pub fn write_before_reply(ctx: Ctx<'_>, in_unit: bool) {
    if !in_unit {
        events::before_replies();
    } else if !write_at_end(ctx) {
        state::before_replies();
    }
}

fn write_at_end(ctx: Ctx<'_>) -> bool {
    if state::get(&AT_END) {
        return true;
    }
    // SAFETY: a valid context and a callback of the right type, which needs
    // no data.
    let asked = unsafe {
        raw::RedisModule_AddPostNotificationJob.map(|ask| {
            ask(ctx.as_ptr(), Some(unit_ended), null_mut(), None) == raw::REDISMODULE_OK as c_int
        })
    };
    let asked = asked == Some(true);
    state::set(&AT_END, asked);
    asked
}

unsafe extern "C" fn unit_ended(_: *mut raw::RedisModuleCtx, _: *mut c_void) {
    state::set(&AT_END, false);
    crate::guarded((), events::before_replies);
}

/// The id of the client in whose name a command runs; 0 if it is unknown.
pub fn client_behind(ctx: Ctx<'_>, flags: u32) -> u64 {
    if flags & raw::REDISMODULE_CTX_FLAGS_LUA != 0 {
        CALLER.load(Ordering::Relaxed)
    } else {
        ctx.client_id()
    }
}

/// Begins or ends to look out for scripts, as `logs` says, and for the ends of
/// transactions between the hook and the end of the sleep, on a host that
/// doesn't tell of them.
pub fn watch(ctx: Ctx<'_>, logs: bool, in_window: bool) {
    if logs != state::get(&LOOKS) {
        // One may have been queued before anybody looked.
        state::set(&SCRIPTS, true);
        state::set(&LOOKS, logs);
        // Of the next script nobody knows before it is seen.
        CALLER.store(0, Ordering::Relaxed);
    }
    set_filter(ctx, logs || (in_window && !tells_ends()));
}

/// Puts the filter, if there is one, behind all others.
pub fn watch_last(ctx: Ctx<'_>) {
    if FILTER.with(|slot| slot.is_some()) == Some(true) {
        set_filter(ctx, false);
        set_filter(ctx, true);
    }
}

fn set_filter(ctx: Ctx<'_>, wanted: bool) {
    FILTER.with(|slot| match (*slot, wanted) {
        (None, true) => {
            // SAFETY: a valid context, and a callback of the right type.
            let filter = unsafe {
                host!(RedisModule_RegisterCommandFilter(
                    ctx.as_ptr(),
                    Some(on_command),
                    raw::REDISMODULE_CMDFILTER_NOSELF as c_int
                ))
            };
            *slot = (!filter.is_null()).then_some(filter);
        }
        (Some(filter), false) => {
            // SAFETY: a filter of ours that is taken back once, while no
            // command is being filtered.
            unsafe { host!(RedisModule_UnregisterCommandFilter(ctx.as_ptr(), filter)) };
            *slot = None;
        }
        _ => {}
    });
}

/// A script that began in this pass is over: notes how long it took.
pub fn script_over() {
    let took = BEGAN.with(|began| began.take().map(|at| at.elapsed().as_millis()));
    if let Some(Some(ms)) = took
        && ms >= u128::from(BUSY_AFTER_MS.load(Ordering::Relaxed) / 10)
    {
        state::set(&LONG_SCRIPTS, true);
        pipelines::others_were_served();
    }
}

/// What the guard must know of a command.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Kind {
    /// May run for long, while the host sends replies.
    Long,
    /// Runs what was queued.
    Exec,
    Other,
}

#[inline]
fn kind(name: &[u8]) -> Kind {
    const LONG: [&[u8]; 7] = [
        b"EVAL",
        b"EVALSHA",
        b"FCALL",
        b"EVAL_RO",
        b"EVALSHA_RO",
        b"FCALL_RO",
        b"DEBUG",
    ];
    // Almost every command is told by its first letter.
    match name.first() {
        Some(b'E' | b'e' | b'F' | b'f' | b'D' | b'd') => {}
        _ => return Kind::Other,
    }
    if name.eq_ignore_ascii_case(b"EXEC") {
        Kind::Exec
    } else if LONG.iter().any(|long| name.eq_ignore_ascii_case(long)) {
        Kind::Long
    } else {
        Kind::Other
    }
}

unsafe extern "C" fn on_command(filtered: *mut raw::RedisModuleCommandFilterCtx) {
    let (counting, looks) = (queued::is_counting(), state::get(&LOOKS));
    if !counting && !looks {
        return;
    }
    // SAFETY: valid while the filter runs; a command has a name.
    let name = unsafe {
        let name = host!(RedisModule_CommandFilterArgGet(filtered, 0));
        if name.is_null() {
            return;
        }
        ffi::bytes(name)
    };
    if counting {
        queued::sent(filtered, name);
    }
    if !looks {
        return;
    }
    let kind = kind(name);
    if kind == Kind::Other {
        return;
    }
    crate::guarded((), || {
        // Of a script that runs, or of another client meanwhile, which the host
        // refuses: whose script it is doesn't change.
        let is_free = state::with(None, |_, host| host.detached_ctx().flags() & UNIT == 0);
        if is_free != Some(true) {
            return;
        }
        script_over();
        if kind == Kind::Long {
            state::set(&SCRIPTS, true);
        } else if !state::get(&SCRIPTS) {
            return;
        }
        BEGAN.with(|began| *began = Some(Instant::now()));
        pipelines::more_is_sent();
        // A script that was queued runs in the name of who says EXEC, which
        // another client's may have come before.
        // SAFETY: as above.
        let id = unsafe { raw::RedisModule_CommandFilterGetClientId.map(|get| get(filtered)) };
        CALLER.store(id.unwrap_or(0), Ordering::Relaxed);
        let sync = state::with(None, |engine, host| {
            let (owes, long) = (engine.owes(), state::get(&LONG_SCRIPTS));
            // Should this one take long after all, the I/O thread syncs before
            // the host goes on. Under other policies than `always` a group for
            // each script would cost too much.
            let half_us = BUSY_AFTER_MS.load(Ordering::Relaxed).saturating_mul(500);
            let early = owes && !long && engine.holds();
            let written = !early || engine.write_early(host, half_us);
            engine.unit_begins();
            owes && (long || !written)
        });
        if sync == Some(true) {
            state::before_long();
        }
    });
}
