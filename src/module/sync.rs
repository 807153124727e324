//! PERSIST.SYNC: clients that wait until what was written before is durable.

use std::ffi::c_int;
use std::ptr::null_mut;

use redis_module::raw;

use crate::ffi::{Ctx, host};
use crate::state::{self, Exclusive};

type Handle = *mut raw::RedisModuleBlockedClient;
type Argv = *mut *mut raw::RedisModuleString;

/// A client that waits until every effect up to `seq` is durable.
struct Waiter {
    seq: u64,
    handle: Handle,
}

static WAITING: Exclusive<Vec<Waiter>> = Exclusive::new(Vec::new());

/// Blocks the client of a command until every effect up to `seq` is durable,
/// for at most so many ms; 0 is for ever.
pub fn block(ctx: Ctx<'_>, seq: u64, timeout_ms: i64) {
    // SAFETY: a client's context, and callbacks of the right types that need
    // no data.
    let handle = unsafe {
        let handle = host!(RedisModule_BlockClient(
            ctx.as_ptr(),
            Some(on_durable),
            Some(on_timeout),
            None,
            timeout_ms
        ));
        host!(RedisModule_SetDisconnectCallback(handle, Some(on_gone)));
        handle
    };
    WAITING.with(|all| all.push(Waiter { seq, handle }));
}

/// Tells those whose writes are durable now; to be called once the pass's
/// writes and fsyncs are done.
pub fn end_of_pass() {
    if WAITING.with(|all| all.is_empty()) != Some(false) {
        return;
    }
    let done = state::with(None, |engine, _| {
        WAITING.with(|all| {
            let mut done = Vec::new();
            all.retain(|waiter| {
                let durable = engine.is_durable(waiter.seq);
                if durable {
                    done.push(waiter.handle);
                }
                !durable
            });
            done
        })
    });
    for handle in done.flatten().unwrap_or_default() {
        unblock(handle);
    }
}

fn unblock(handle: Handle) {
    // SAFETY: a handle that has left our list just now, so that this happens
    // once; there is no data.
    unsafe {
        host!(RedisModule_UnblockClient(handle, null_mut()));
    }
}

/// Somebody who still waits doesn't any more, and was told.
fn give_up(handle: Handle) {
    let found = WAITING.with(|all| {
        let at = all.iter().position(|waiter| waiter.handle == handle)?;
        Some(all.swap_remove(at))
    });
    // One that was told has left the list before.
    if let Some(Some(waiter)) = found {
        unblock(waiter.handle);
    }
}

unsafe extern "C" fn on_durable(ctx: *mut raw::RedisModuleCtx, _: Argv, _: c_int) -> c_int {
    crate::guarded((), || {
        // SAFETY: a context with a client.
        unsafe { Ctx::new(ctx) }.reply_int(1);
    });
    raw::REDISMODULE_OK as c_int
}

/// The time is up, or CLIENT UNBLOCK.
unsafe extern "C" fn on_timeout(ctx: *mut raw::RedisModuleCtx, _: Argv, _: c_int) -> c_int {
    crate::guarded((), || {
        // SAFETY: a context with a blocked client.
        let (ctx, handle) = unsafe {
            let handle = host!(RedisModule_GetBlockedClientHandle(ctx));
            (Ctx::new(ctx), handle)
        };
        ctx.reply_int(0);
        give_up(handle);
    });
    raw::REDISMODULE_OK as c_int
}

/// The client is gone, or was unblocked with an error.
unsafe extern "C" fn on_gone(_: *mut raw::RedisModuleCtx, handle: Handle) {
    crate::guarded((), || give_up(handle));
}
