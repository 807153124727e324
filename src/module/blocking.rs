//! Clients that wait for durable keys: blocked through the host, queued in
//! the engine.
//!
//! A client is served when the execution unit that filled its key is over:
//! after a command of its own, or after a whole EXEC or script. The host
//! doesn't tell when these end, but what comes next shows it: another command
//! (for which a filter is registered meanwhile) or the end of the event
//! loop's pass. What was popped is logged there and then, and the host
//! delivers the reply no sooner than the hook that writes the log.
//!
//! Timeouts are the engine's: the host's own would also hit clients that
//! have been served and whose reply is still to be delivered, and lose it.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::ptr::null_mut;

use persist_engine::blocked::Ticket;
use persist_engine::command::Reply;
use persist_engine::engine::Served;
use redis_module::raw;

use crate::answer::{self, Answer, Argv, Handle};
use crate::ffi::{Ctx, HostString, host};
use crate::filtered::Filtered;
use crate::reply::HostReply;
use crate::state::{self, Exclusive, IN_WINDOW, SYNC_EACH};
use crate::{executor, held};

/// A client that waits.
struct Client {
    handle: Handle,
    id: u64,
}

/// All that wait.
struct Waiting {
    clients: BTreeMap<Ticket, Client>,
    /// The other way round, by the handle's address.
    tickets: BTreeMap<usize, Ticket>,
    /// Ids of clients that were served and don't have their reply yet.
    undelivered: Vec<u64>,
    /// A transaction or script has filled a key that somebody waits for.
    unit_open: bool,
    filter: Option<*mut raw::RedisModuleCommandFilter>,
}

static WAITING: Exclusive<Waiting> = Exclusive::new(Waiting {
    clients: BTreeMap::new(),
    tickets: BTreeMap::new(),
    undelivered: Vec::new(),
    unit_open: false,
    filter: None,
});

const UNIT: u32 = raw::REDISMODULE_CTX_FLAGS_MULTI | raw::REDISMODULE_CTX_FLAGS_LUA;

/// Blocks the client of a command, under this ticket.
#[cold]
pub fn block(ctx: Ctx<'_>, ticket: Ticket) {
    let id = ctx.client_id();
    // SAFETY: a client's context, and callbacks of the right types. No
    // timeout is the host's business, but its callback is what makes CLIENT
    // UNBLOCK possible.
    let handle = unsafe {
        let handle = host!(RedisModule_BlockClient(
            ctx.as_ptr(),
            Some(answer::deliver),
            Some(on_unblock),
            Some(answer::free),
            0
        ));
        host!(RedisModule_SetDisconnectCallback(handle, Some(on_gone)));
        handle
    };
    WAITING.with(|all| {
        all.tickets.insert(handle as usize, ticket);
        all.clients.insert(ticket, Client { handle, id });
    });
}

/// Hands replies to the host, which delivers them in this pass of the event
/// loop or the next, after the hook that writes the log.
#[cold]
pub fn deliver(served: Vec<Served>) {
    for Served { ticket, reply } in served {
        let client = WAITING.with(|all| {
            let client = all.clients.remove(&ticket)?;
            all.tickets.remove(&(client.handle as usize));
            all.undelivered.push(client.id);
            Some(client)
        });
        let Some(Some(Client { handle, id })) = client else {
            continue;
        };
        // What a pop did must be durable before it is acknowledged, and so
        // must what a reader was given. While the disk is behind, who was
        // served waits as writers do; who wasn't has waited long enough.
        let is_served = matches!(reply, Ok(Some(_)));
        let until = state::with(None, |engine, _| {
            let holds = engine.holds() || (is_served && engine.holds_writers());
            holds.then(|| engine.seq())
        });
        let answer = Box::new(Answer { reply, id });
        match until.flatten() {
            Some(until) => held::keep(until, handle, answer),
            None => answer::send(handle, answer),
        }
    }
    watch_commands();
}

/// A transaction or script has filled a key that somebody waits for.
#[cold]
pub fn unit_is_open() {
    WAITING.with(|all| all.unit_open = true);
    watch_commands();
    if state::get(&IN_WINDOW) {
        // Its end is found by the next hook, and nothing else may happen that
        // ends the sleep before it.
        executor::turn_soon();
    }
}

/// The end of a pass of the event loop, before the log is written.
pub fn end_of_pass() {
    let busy = WAITING
        .with(|all| !all.clients.is_empty() || !all.undelivered.is_empty() || all.filter.is_some());
    if busy == Some(true) {
        serve(true);
        stop_watching();
    }
}

/// Serves whom what is there can serve; also ends the wait of those whose
/// time is up.
#[cold]
fn serve(time_out: bool) {
    WAITING.with(|all| all.unit_open = false);
    let mut served = Vec::new();
    state::with(None, |engine, host| {
        engine.serve(host, &mut |one| served.push(one));
        if time_out {
            engine.time_out(&mut |one| served.push(one));
        }
    });
    if !served.is_empty() {
        deliver(served);
    }
}

/// Sees to it that [`on_command`] sees commands.
fn watch_commands() {
    if WAITING.with(|all| all.filter.is_some()) != Some(false) {
        return;
    }
    let filter = state::with(None, |_, host| host.detached_ctx()).map(|ctx| {
        // SAFETY: a context of the module, and a callback of the right type.
        unsafe {
            host!(RedisModule_RegisterCommandFilter(
                ctx.as_ptr(),
                Some(on_command),
                raw::REDISMODULE_CMDFILTER_NOSELF as c_int
            ))
        }
    });
    WAITING.with(|all| all.filter = filter.filter(|filter| !filter.is_null()));
}

/// Takes the filter back once there is nothing to look out for.
fn stop_watching() {
    let filter = WAITING.with(|all| {
        let idle = all.undelivered.is_empty() && !all.unit_open;
        all.filter.take_if(|_| idle)
    });
    if let Some(Some(filter)) = filter
        && let Some(ctx) = state::with(None, |_, host| host.detached_ctx())
    {
        // SAFETY: a filter of ours that is taken back once, while no command
        // is being filtered.
        unsafe { host!(RedisModule_UnregisterCommandFilter(ctx.as_ptr(), filter)) };
    }
}

/// Sees every command while a unit may have ended or replies are on their way.
unsafe extern "C" fn on_command(filtered: *mut raw::RedisModuleCommandFilterCtx) {
    crate::guarded((), || {
        // SAFETY: the host calls with what is valid until this returns.
        let filtered = unsafe { Filtered::new(filtered) };
        let Some((unit_open, any_undelivered)) =
            WAITING.with(|all| (all.unit_open, !all.undelivered.is_empty()))
        else {
            return;
        };
        // Another command of a client: the unit is over.
        if unit_open && in_unit() == Some(false) {
            serve(false);
            if state::get(&IN_WINDOW) || state::get(&SYNC_EACH) {
                state::before_replies();
            }
        }
        if any_undelivered {
            keep_from_unblocking(filtered);
        }
    });
}

fn in_unit() -> Option<bool> {
    state::with(None, |_, host| host.detached_ctx()).map(|ctx| ctx.flags() & UNIT != 0)
}

/// A client that was served waits no more, but the host will know only later:
/// CLIENT UNBLOCK would take its reply away. To that command there is no such
/// client, as for one that the host has served itself.
fn keep_from_unblocking(filtered: Filtered) {
    let is = |at, word: &[u8]| filtered.bytes(at).eq_ignore_ascii_case(word);
    if !is(0, b"CLIENT") || !is(1, b"UNBLOCK") {
        return;
    }
    let id = std::str::from_utf8(filtered.bytes(2))
        .ok()
        .and_then(|id| id.parse().ok());
    let was_served = WAITING.with(|all| id.is_some_and(|id| all.undelivered.contains(&id)));
    if was_served == Some(true) {
        // No client has this number.
        filtered.replace(2, &HostString::new(b"0"));
    }
}

/// CLIENT UNBLOCK: as if the time were up.
unsafe extern "C" fn on_unblock(ctx: *mut raw::RedisModuleCtx, _: Argv, _: c_int) -> c_int {
    crate::guarded((), || {
        // SAFETY: a context with a blocked client.
        let (ctx, handle) = unsafe {
            (
                Ctx::new(ctx),
                host!(RedisModule_GetBlockedClientHandle(ctx)),
            )
        };
        HostReply::new(ctx).null_array();
        give_up(handle);
    });
    raw::REDISMODULE_OK as c_int
}

/// The client is gone, or was unblocked with an error.
unsafe extern "C" fn on_gone(_: *mut raw::RedisModuleCtx, handle: Handle) {
    crate::guarded((), || give_up(handle));
}

/// Somebody who still waits doesn't any more, and was told.
fn give_up(handle: Handle) {
    let ticket = WAITING.with(|all| {
        let ticket = all.tickets.remove(&(handle as usize))?;
        all.clients.remove(&ticket);
        Some(ticket)
    });
    // One that was served has left our lists before.
    if let Some(Some(ticket)) = ticket {
        // The host frees clients only while the engine rests.
        state::with(None, |engine, _| engine.stop_waiting(ticket));
        // SAFETY: a handle that wasn't used yet; there is nothing to deliver.
        unsafe { host!(RedisModule_UnblockClient(handle, null_mut())) };
    }
}

/// The reply was delivered, or nobody is there to take it.
pub fn delivered(id: u64) {
    WAITING.with(|all| {
        let at = all.undelivered.iter().position(|other| *other == id);
        at.map(|at| all.undelivered.swap_remove(at))
    });
}
