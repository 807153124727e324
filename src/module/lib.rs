//! The host adapter: the durable keyspace as a module of redis-server and
//! valkey-server. The only crate that sees the module API, and the only one
//! with unsafe code.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admin;
mod alloc;
mod answer;
mod arguments;
mod blocking;
mod call;
mod client;
mod command;
mod config;
mod cutoff;
mod dispatch;
mod events;
mod executor;
mod ffi;
mod filtered;
mod gate;
mod guard;
mod held;
mod host;
mod info;
mod lock;
mod moving;
mod pipelines;
mod queued;
mod reaper;
mod reply;
mod route;
mod scan;
mod state;
mod survey;
mod sync;
mod timer;
mod users;
mod version;

use std::any::Any;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use persist_engine::base::clock::SystemClock;
use persist_engine::base::panic::unquoted;
use persist_engine::base::random::SeededRandom;
use persist_engine::engine::{Engine, Parts};
use persist_engine::host::Level;
use persist_engine::io::os::OsDisk;
use redis_module::raw;

use crate::executor::IoThread;
use crate::ffi::{Ctx, host};
use crate::host::{Link, Side};
use crate::reaper::Reaper;
use crate::state::Module;
use crate::version::Version;

const OK: c_int = raw::REDISMODULE_OK as c_int;
const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// Loads the module.
///
/// # Safety
/// Called by the host, once, with a valid context and `argc` valid strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // Nothing may be allocated before the host's allocator is known.
    // SAFETY: the host's context, and a C string.
    let known = unsafe {
        raw::Export_RedisModule_Init(
            ctx,
            c"persist".as_ptr(),
            1,
            raw::REDISMODULE_APIVER_1 as c_int,
        )
    };
    if known != OK || !alloc::is_clean() {
        return ERR;
    }
    // SAFETY: the host's context and strings are valid until this returns.
    let (ctx, args) = unsafe {
        let args = match usize::try_from(argc) {
            Ok(n) if n > 0 => std::slice::from_raw_parts(argv, n),
            _ => &[],
        };
        let args: Vec<&[u8]> = args.iter().map(|&arg| ffi::bytes(arg)).collect();
        (Ctx::new(ctx), args)
    };
    std::panic::set_hook(Box::new(|panic| {
        let text = unquoted(panic_text(panic.payload()));
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_default();
        let line = format!("persist: internal error: panicked at {place}: {text}");
        ffi::log(Level::Warning, &line);
    }));
    match guarded(Err("it panicked".into()), || load(ctx, &args)) {
        Ok(()) => OK,
        Err(text) => {
            ctx.log(Level::Warning, &format!("can't start: {text}"));
            ERR
        }
    }
}

/// Refuses: what is durable can't be taken away from under its clients.
///
/// # Safety
/// Called by the host, with a valid context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn RedisModule_OnUnload(ctx: *mut raw::RedisModuleCtx) -> c_int {
    // SAFETY: the host's context.
    let ctx = unsafe { Ctx::new(ctx) };
    // Valkey 9 asks at its end, too; our threads still need the code.
    if !state::get(&state::ENDING) {
        ctx.log(Level::Warning, "a durable keyspace can't be unloaded");
    }
    ERR
}

fn load(ctx: Ctx<'_>, args: &[&[u8]]) -> Result<(), String> {
    if let Some(name) = ffi::missing() {
        return Err(format!(
            "this server has no {name}; redis-server 7.0 or valkey-server 8.0 is needed"
        ));
    }
    // Nothing is opened or written before every setting is known to be good.
    let settings = config::load(ctx, args)?;
    let routed = settings.route.clone();
    let version = Version::of(ctx);
    state::set(&state::BLOCK_REFUSED, version.is_redis_before(7, 4));
    command::register(ctx, version)?;
    route::register(ctx)?;
    users::register(ctx)?;
    // SAFETY: a valid context, and a callback of the right type.
    unsafe {
        host!(RedisModule_RegisterInfoFunc(
            ctx.as_ptr(),
            Some(info::on_info)
        ))
    };
    lock::acquire(&settings.dir, settings.file_mode)?;

    let threads = |e: std::io::Error| format!("no thread could be started: {e}");
    let mut side = Side {
        detached: ctx.detached(),
        reaper: Reaper::start().map_err(threads)?,
        notes: Vec::new(),
        writers: Vec::new(),
        doomed: Vec::new(),
    };
    let parts = Parts {
        disk: Arc::new(OsDisk {
            mode: settings.file_mode,
        }),
        executor: Box::new(IoThread::start().map_err(threads)?),
        clock: Arc::new(SystemClock::new()),
        rng: Box::new(SeededRandom::from_bytes(entropy()?)),
        pid: std::process::id(),
        databases: ctx
            .config(c"databases")
            .and_then(|n| n.parse().ok())
            .unwrap_or(16),
        memory: alloc::in_use,
    };
    let engine = Engine::open(settings, parts, &mut Link::detached(&mut side))
        .map_err(|error| error.to_string())?;
    state::install(Module { engine, side });
    let replica = ctx.flags() & raw::REDISMODULE_CTX_FLAGS_SLAVE != 0;
    state::set(&state::REPLICA, replica);
    events::read_host_settings(ctx);
    events::subscribe(ctx)?;
    route::set(ctx, &routed);
    Ok(())
}

fn entropy() -> Result<[u8; 32], String> {
    use std::io::Read;
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut seed))
        .map_err(|e| format!("/dev/urandom: {e}"))?;
    Ok(seed)
}

/// Runs `work` and keeps a panic from reaching the host, which it would end;
/// gives `failed` then. The hook has logged it.
fn guarded<R>(failed: R, work: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(failed)
}

/// What a panic said; it may quote keys and values.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
