//! PERSIST.SYNC: clients that wait until what was written before is durable.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use persist_engine::command::CommandError;
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
    // SAFETY: a client's context, and callbacks of the right types, whose data
    // is what `unblock` gives.
    let handle = unsafe {
        let handle = host!(RedisModule_BlockClient(
            ctx.as_ptr(),
            Some(on_durable),
            Some(on_timeout),
            Some(free),
            timeout_ms
        ));
        host!(RedisModule_SetDisconnectCallback(handle, Some(on_gone)));
        handle
    };
    WAITING.with(|all| all.push(Waiter { seq, handle }));
}

/// Tells those whose writes are durable now, or won't be since the log was
/// turned off; to be called once the pass's writes and fsyncs are done.
pub fn end_of_pass() {
    if WAITING.with(|all| all.is_empty()) != Some(false) {
        return;
    }
    let done = state::with(None, |engine, _| {
        WAITING.with(|all| {
            let mut done = Vec::new();
            all.retain(|waiter| match engine.is_synced(waiter.seq) {
                Ok(false) => true,
                Ok(true) => {
                    done.push((waiter.handle, None));
                    false
                }
                Err(error) => {
                    done.push((waiter.handle, Some(error)));
                    false
                }
            });
            done
        })
    });
    for (handle, error) in done.flatten().unwrap_or_default() {
        unblock(handle, error);
    }
}

/// Tells a client that all is durable, or why it won't be.
fn unblock(handle: Handle, error: Option<CommandError>) {
    let error = error.map_or(null_mut(), |error| Box::into_raw(Box::new(error)).cast());
    // SAFETY: a handle that has left our list just now, so that this happens
    // once; the data is freed by `free`.
    unsafe {
        host!(RedisModule_UnblockClient(handle, error));
    }
}

/// Whatever was told, nobody needs it any more.
unsafe extern "C" fn free(_: *mut raw::RedisModuleCtx, data: *mut c_void) {
    if !data.is_null() {
        // SAFETY: `unblock` gave it away, and the host gives it back once.
        drop(unsafe { Box::from_raw(data.cast::<CommandError>()) });
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
        unblock(waiter.handle, None);
    }
}

unsafe extern "C" fn on_durable(ctx: *mut raw::RedisModuleCtx, _: Argv, _: c_int) -> c_int {
    crate::guarded((), || {
        // SAFETY: a context with a client, whose data is what `unblock` gave.
        let (ctx, error) = unsafe {
            let data = host!(RedisModule_GetBlockedClientPrivateData(ctx));
            (Ctx::new(ctx), data.cast::<CommandError>().as_ref())
        };
        match error {
            None => ctx.reply_int(1),
            Some(error) => ctx.reply_error(&error.to_string()),
        }
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
