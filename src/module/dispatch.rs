//! From the host's call to the engine: the hot path of every data command.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

use persist_engine::command::tape::Tape;
use persist_engine::command::{Flags, Reply, Spec, sort, table};
use persist_engine::engine::Call;
use redis_module::raw;

use crate::command::access_of;
use crate::ffi::{self, Ctx, host};
use crate::pipelines::Wait;
use crate::reply::HostReply;
use crate::state::{
    self, BLOCK_REFUSED, Caller, HOLDS, HOLDS_WRITERS, IN_WINDOW, LOADING, REPLICA, SYNC_EACH,
};
use crate::{blocking, guard, held, pipelines, queued, users};

/// A command's function, as the host calls it.
pub type Entry =
    extern "C" fn(*mut raw::RedisModuleCtx, *mut *mut raw::RedisModuleString, c_int) -> c_int;

/// How many commands there can be.
pub const CAPACITY: usize = 256;

/// So many arguments need no allocation.
const ON_STACK: usize = 32;

/// Where a command answers at once instead of waiting.
const NO_WAITING: u32 = raw::REDISMODULE_CTX_FLAGS_MULTI
    | raw::REDISMODULE_CTX_FLAGS_LUA
    | raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING;

const OK: c_int = raw::REDISMODULE_OK as c_int;

/// The command with this number, in the order of the table.
const fn spec_at(number: usize) -> Option<&'static Spec> {
    let (mut family, mut rest) = (0, number);
    while family < table::COMMANDS.len() {
        let specs = table::COMMANDS[family];
        if rest < specs.len() {
            return Some(&specs[rest]);
        }
        rest -= specs.len();
        family += 1;
    }
    None
}

/// Whether the host has to ask this command for its keys.
const fn tells_keys_at(number: usize) -> bool {
    match spec_at(number) {
        Some(spec) => spec.tells_keys(),
        None => false,
    }
}

const _: () = assert!(spec_at(CAPACITY).is_none(), "more commands than entries");

/// The function of the command with the number `N`, which finds its
/// declaration without looking for it.
extern "C" fn entry<const N: usize>(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    match const { spec_at(N) } {
        // SAFETY: the host calls with a valid context.
        Some(spec) if const { tells_keys_at(N) } && unsafe { wants_keys(ctx) } => {
            // SAFETY: as below.
            unsafe { tell_keys(spec, ctx, argv, argc as usize) }
        }
        // SAFETY: the host calls with a context and `argc` strings that are
        // valid until this returns.
        Some(spec) => unsafe { run(spec, ctx, argv, argc as usize) },
        None => OK,
    }
}

macro_rules! sixteen_of_each {
    ($($row:literal)*) => {
        [$(
            entry::<{ 16 * $row }>, entry::<{ 16 * $row + 1 }>, entry::<{ 16 * $row + 2 }>,
            entry::<{ 16 * $row + 3 }>, entry::<{ 16 * $row + 4 }>, entry::<{ 16 * $row + 5 }>,
            entry::<{ 16 * $row + 6 }>, entry::<{ 16 * $row + 7 }>, entry::<{ 16 * $row + 8 }>,
            entry::<{ 16 * $row + 9 }>, entry::<{ 16 * $row + 10 }>, entry::<{ 16 * $row + 11 }>,
            entry::<{ 16 * $row + 12 }>, entry::<{ 16 * $row + 13 }>, entry::<{ 16 * $row + 14 }>,
            entry::<{ 16 * $row + 15 }>,
        )*]
    };
}

/// The functions of the commands, in the order of the table.
pub static ENTRIES: [Entry; CAPACITY] = sixteen_of_each!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

/// Whether the host only asks for the keys of a call: to check what its user
/// may do, to remember what its client caches, to find its slot.
///
/// # Safety
/// `ctx` is valid.
unsafe fn wants_keys(ctx: *mut raw::RedisModuleCtx) -> bool {
    // SAFETY: the caller's duty.
    unsafe { host!(RedisModule_IsKeysPositionRequest(ctx)) != 0 }
}

/// Tells the host where the keys of a call are and what becomes of them. There
/// may be no client behind this, and nothing is run.
///
/// # Safety
/// As for `run`.
#[cold]
unsafe fn tell_keys(
    spec: &'static Spec,
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: usize,
) -> c_int {
    crate::guarded((), || {
        // SAFETY: the caller's duty.
        let argv = unsafe { std::slice::from_raw_parts(argv, argc) };
        // SAFETY: valid strings of the host.
        let args: Vec<&[u8]> = argv.iter().map(|&s| unsafe { ffi::bytes(s) }).collect();
        for key in spec.keys {
            let flags = access_of(key.access.of_call(&args));
            for at in key.positions(&args) {
                // SAFETY: the host asked for this.
                unsafe {
                    host!(RedisModule_KeyAtPosWithFlags(
                        ctx,
                        at as c_int,
                        flags as c_int
                    ));
                }
            }
        }
    });
    OK
}

/// Runs a data command.
///
/// # Safety
/// `ctx` and the `argc` strings at `argv` are valid and unchanged until this
/// returns.
unsafe fn run(
    spec: &'static Spec,
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: usize,
) -> c_int {
    // SAFETY: the caller's duty.
    let (ctx, argv) = unsafe { (Ctx::new(ctx), std::slice::from_raw_parts(argv, argc)) };
    let mut reply = HostReply::new(ctx);
    let in_window = state::get(&IN_WINDOW);
    let is_followed = in_window && crate::guarded(false, || queued::is_followed(ctx, argv));
    let done = catch_unwind(AssertUnwindSafe(|| {
        if argc <= ON_STACK {
            let mut args = [const { MaybeUninit::<&[u8]>::uninit() }; ON_STACK];
            for (arg, &string) in args.iter_mut().zip(argv) {
                // SAFETY: a valid string of the host.
                arg.write(unsafe { ffi::bytes(string) });
            }
            // SAFETY: the first `argc` were just written.
            let args = unsafe { std::slice::from_raw_parts(args.as_ptr().cast(), argc) };
            execute(spec, ctx, argv, args, is_followed, &mut reply);
        } else {
            let args: Vec<&[u8]> = argv
                .iter()
                // SAFETY: as above.
                .map(|&string| unsafe { ffi::bytes(string) })
                .collect();
            execute(spec, ctx, argv, &args, is_followed, &mut reply);
        }
    }));
    if done.is_err() {
        panicked(spec, ctx, reply.begun);
    }
    if in_window && !is_followed {
        crate::guarded((), queued::settle);
    }
    OK
}

#[inline]
fn execute<'a>(
    spec: &'static Spec,
    ctx: Ctx<'a>,
    argv: &'a [*mut raw::RedisModuleString],
    args: &'a [&'a [u8]],
    is_followed: bool,
    reply: &mut HostReply<'_>,
) {
    if (state::get(&REPLICA) || state::get(&LOADING))
        && let Some(text) = refusal(ctx)
    {
        return ctx.reply_error(text);
    }
    // BY and GET lead to keys that the host's own check doesn't see.
    if spec.flags.has(Flags::LEADS)
        && let Some(error) = sort::denial(args, spec.flags.has(Flags::READONLY))
        && !users::reads_all_keys(ctx, argv)
    {
        return ctx.reply_error(&error.to_string());
    }
    let db = ctx.db();
    // Asking costs as much as a small command, and only writes need to know.
    let write = spec.may_log();
    let blocking = spec.flags.has(Flags::BLOCKING);
    let flags = if write || blocking { ctx.flags() } else { 0 };
    let can_block = |flags: u32| flags & NO_WAITING == 0;
    let call = Call {
        db,
        atomic: flags & (raw::REDISMODULE_CTX_FLAGS_MULTI | raw::REDISMODULE_CTX_FLAGS_LUA) != 0,
        refuses_block: flags & raw::REDISMODULE_CTX_FLAGS_LUA != 0 && state::get(&BLOCK_REFUSED),
        held: false,
        // In the window Redis 7.0 ends passes in the middle of a unit, half of
        // which would be refused then.
        cannot_wait: write && !can_block(flags) && !state::get(&IN_WINDOW),
    };
    let holds = state::get(&HOLDS);
    let mut wait = Wait::Pass;
    if state::get(&HOLDS_WRITERS) && (write || blocking) && can_block(flags) {
        wait = match write && holds {
            true => pipelines::wait(ctx, args),
            false => Wait::Disk,
        };
    }
    // The hook is over for this pass, or this reply won't wait for it.
    let unit_writes = holds && write && call.atomic;
    let overtakes = if state::get(&IN_WINDOW) {
        if unit_writes {
            pipelines::unit_wrote();
        }
        !is_followed
    } else {
        state::get(&SYNC_EACH) || (unit_writes && pipelines::unit_is_overtaking(ctx, flags))
    };
    let caller = Caller {
        ctx,
        db,
        argv,
        args,
    };
    let (mut ticket, mut served, mut unit_open) = (None, Vec::new(), false);
    let (mut kept, mut owes) = (None, write);
    let result = state::with(Some(caller), |engine, host| {
        // A read of what isn't durable yet; others have nothing to wait for,
        // nor has the rest of a pipeline whose fsync is about to come.
        let hold = wait != Wait::Pass
            || (!write && engine.has_undurable() && {
                let needed = engine.needed(spec, args);
                needed > 0
                    && can_block(ctx.flags())
                    && (needed > engine.owed() || !pipelines::goes_on(ctx.client_id()))
            });
        let result = if hold {
            let mut tape = Tape::new(reply.is_resp3());
            let held = engine.execute_held(host, spec, args, db, &mut tape);
            match held.result {
                Ok(waits @ Some(_)) => {
                    ticket = waits;
                    Ok(())
                }
                result if held.until > 0 => {
                    kept = Some((held.until, result.map(|_| tape)));
                    Ok(())
                }
                Ok(None) => {
                    tape.play(reply);
                    Ok(())
                }
                Err(error) => Err(error),
            }
        } else if blocking && can_block(flags) {
            engine
                .execute_or_wait(host, spec, args, call, reply)
                .map(|waits| ticket = waits)
        } else {
            engine.execute(host, spec, args, call, reply)
        };
        // Whom this command serves takes it at the end of the unit.
        if write && engine.has_ready() {
            if call.atomic {
                unit_open = true;
            } else {
                engine.serve(host, &mut |one| served.push(one));
            }
        }
        owes |= engine.owes();
        if write && kept.is_none() && engine.holds() {
            host.note_writer(guard::client_behind(ctx, flags));
        }
        result
    });
    let is_held = kept.is_some();
    if let Some((until, reply)) = kept {
        held::block(ctx, until, reply);
    }
    if let Some(ticket) = ticket {
        blocking::block(ctx, ticket);
    }
    if !served.is_empty() {
        blocking::deliver(served);
    }
    if unit_open {
        blocking::unit_is_open();
    }
    if owes && !is_held && overtakes && flags & raw::REDISMODULE_CTX_FLAGS_IS_CHILD == 0 {
        // A read hasn't asked: taken for one outside, it would split the unit.
        let flags = if write { flags } else { ctx.flags() };
        guard::write_before_reply(ctx, flags & guard::UNIT != 0);
    }
    match result {
        Some(Ok(())) => {}
        Some(Err(error)) => ctx.reply_error(&error.to_string()),
        None => {
            ctx.reply_error("ERR the durable keyspace is busy with the command around this one")
        }
    }
}

/// Why no data command may run now.
#[cold]
fn refusal(ctx: Ctx<'_>) -> Option<&'static str> {
    if state::get(&REPLICA) {
        return Some(
            "READONLY This server is a replica and durable keys aren't replicated; ask the master.",
        );
    }
    // The host's own log is no source of durable keys: ours has them already.
    ctx.is_host_replay()
        .then_some("ERR PERSIST commands in the server's own append only file are ignored")
}

#[cold]
fn panicked(spec: &'static Spec, ctx: Ctx<'_>, begun: bool) {
    if spec.flags.has(Flags::WRITE) {
        crate::guarded((), || {
            state::with(None, |engine, host| engine.poison(host));
        });
    }
    if !begun {
        ctx.reply_error(&format!(
            "ERR persist.{} failed inside; see the server's log",
            spec.name.to_ascii_lowercase()
        ));
    }
}
