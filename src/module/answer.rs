//! A reply on its way to a client that is blocked in the host, which asks for
//! it once the client is unblocked.

use std::ffi::{c_int, c_void};

use persist_engine::command::tape::Tape;
use persist_engine::command::{CommandError, Reply};
use redis_module::raw;

use crate::ffi::{Ctx, host};
use crate::reply::HostReply;
use crate::{blocking, pipelines};

/// The host's word for a client that is blocked.
pub type Handle = *mut raw::RedisModuleBlockedClient;
/// Arguments, as the host gives them.
pub type Argv = *mut *mut raw::RedisModuleString;

/// What a client is to be told.
pub struct Answer {
    /// The reply; `None` says that a wait was for nothing.
    pub reply: Result<Option<Tape>, CommandError>,
    /// The client's id.
    pub id: u64,
}

/// Unblocks a client, which the host gives the answer in this pass of the
/// event loop or the next.
pub fn send(handle: Handle, answer: Box<Answer>) {
    // SAFETY: a handle that wasn't used yet, as its owner has just forgotten
    // it; the answer is freed by `free`.
    unsafe {
        host!(RedisModule_UnblockClient(
            handle,
            Box::into_raw(answer).cast()
        ))
    };
}

/// The host delivers a reply.
pub unsafe extern "C" fn deliver(ctx: *mut raw::RedisModuleCtx, _: Argv, _: c_int) -> c_int {
    crate::guarded((), || {
        // SAFETY: a context with a client, whose data is the answer that
        // `send` gave and `free` is going to free.
        let (ctx, answer) = unsafe {
            let data = host!(RedisModule_GetBlockedClientPrivateData(ctx));
            (Ctx::new(ctx), data.cast::<Answer>().as_ref())
        };
        match answer.map(|answer| &answer.reply) {
            Some(Ok(Some(tape))) => tape.play(&mut HostReply::new(ctx)),
            Some(Err(error)) => ctx.reply_error(&error.to_string()),
            _ => HostReply::new(ctx).null_array(),
        }
        if let Some(answer) = answer {
            pipelines::released(answer.id);
        }
    });
    raw::REDISMODULE_OK as c_int
}

/// The reply was delivered, or nobody is there to take it.
pub unsafe extern "C" fn free(_: *mut raw::RedisModuleCtx, data: *mut c_void) {
    crate::guarded((), || {
        // SAFETY: `send` gave it away, and the host gives it back once.
        let answer = unsafe { Box::from_raw(data.cast::<Answer>()) };
        blocking::delivered(answer.id);
    });
}
