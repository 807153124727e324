//! On Redis 7.0, which command of ours is the last of its transaction: between
//! the hook and the end of the sleep that is where the whole is written, since
//! that host doesn't tell when a transaction ends. The counting is
//! [`persist_engine::queued`]'s; here is what the host must say for it.
//!
//! After the hook clients go on one after the other, each with all that it has
//! sent, so nobody comes between a MULTI and its EXEC. Only those that CLIENT
//! PAUSE had stopped may be in the middle of a transaction when they go on, so
//! nothing is counted during a pause and right after one.

use std::sync::atomic::AtomicBool;

use persist_engine::queued::{Kind, Place, Queued};
use redis_module::raw;

use crate::ffi::{Ctx, host};
use crate::guard;
use crate::state::{self, Exclusive};

static QUEUED: Exclusive<Queued> = Exclusive::new(Queued::new());

/// Whether clients were stopped at the last hook, or the one before.
static PAUSED: AtomicBool = AtomicBool::new(true);
static PAUSED_BEFORE: AtomicBool = AtomicBool::new(true);
/// Whether a command has left its fsync to a later one of its transaction.
static LEFT: AtomicBool = AtomicBool::new(false);

/// The hook is over: from now on clients go on that were blocked.
pub fn window_begins() {
    if guard::tells_ends() {
        return;
    }
    QUEUED.with(Queued::forget);
    let now = are_clients_paused();
    state::set(&PAUSED, now || state::get(&PAUSED_BEFORE));
    state::set(&PAUSED_BEFORE, now);
}

fn are_clients_paused() -> bool {
    // SAFETY: takes nothing. It may end a pause whose time is up, as the host
    // does itself at such places.
    unsafe { raw::RedisModule_AvoidReplicaTraffic.is_none_or(|paused| paused() != 0) }
}

/// A client has sent a command, as all filters before this one have left it.
#[cold]
pub fn sent(filtered: *mut raw::RedisModuleCommandFilterCtx, name: &[u8]) {
    crate::guarded((), || {
        // Nothing is left by now, but should it be, this is better than never.
        settle();
        // SAFETY: valid while the filter runs; there is a last argument.
        let (words, last) = unsafe {
            let words = host!(RedisModule_CommandFilterArgsCount(filtered));
            let last = host!(RedisModule_CommandFilterArgGet(filtered, words - 1));
            (words as usize, last)
        };
        let mut kind = Kind::of(name, words);
        if kind == Kind::Multi && (state::get(&PAUSED) || are_clients_paused()) {
            kind = Kind::Other;
        }
        QUEUED.with(|all| all.sent(kind, last as usize));
    });
}

/// A command of ours is about to run, after the hook. Whether another one of
/// its transaction is certain to follow, which it can leave its fsync to.
#[cold]
pub fn is_followed(ctx: Ctx<'_>, argv: &[*mut raw::RedisModuleString]) -> bool {
    if guard::tells_ends() {
        return false;
    }
    let unit = ctx.flags() & guard::UNIT;
    // The host keeps a queued command's strings, the very ones that were seen.
    let mark = argv.last().map_or(0, |last| *last as usize);
    let place = QUEUED.with(|all| {
        if unit == raw::REDISMODULE_CTX_FLAGS_MULTI {
            all.runs(mark, |seen| is_sure(ctx, seen))
        } else {
            all.ran_alone();
            Place::Last
        }
    });
    let is_followed = place == Some(Place::Followed);
    if is_followed {
        state::set(&LEFT, true);
    }
    is_followed
}

/// Whether the host has queued so many commands for this client, and no other
/// module may turn one of them into something else.
fn is_sure(ctx: Ctx<'_>, seen: usize) -> bool {
    let queued = ctx
        .client_state(ctx.client_id())
        .and_then(|client| client.queued);
    queued == Some(seen as u64) && ctx.call(c"MODULE", &[b"LIST"]).list().len() == 1
}

/// The last command of ours in a transaction is over, however it ended: what
/// those before it have left to it is made durable.
pub fn settle() {
    if !state::get(&LEFT) {
        return;
    }
    state::set(&LEFT, false);
    if state::with(None, |engine, _| engine.owes()) == Some(true) {
        state::before_replies();
    }
}

/// Whether commands are to be told of by [`sent`].
#[inline]
pub fn is_counting() -> bool {
    state::get(&state::IN_WINDOW) && !guard::tells_ends()
}
