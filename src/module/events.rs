//! What the host tells: the event loop, its clock, loading, its role, its
//! settings, its end.

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use persist_engine::host::Level;
use redis_module::raw;

use crate::blocking;
use crate::config;
use crate::ffi::{Ctx, host};
use crate::gate;
use crate::guard;
use crate::held;
use crate::pipelines;
use crate::queued;
use crate::route;
use crate::state::{
    self, ENDING, IN_WINDOW, IO_THREADS, LATENCY_THRESHOLD, LOADING, LOGS, REPLICA, SYNC_EACH, get,
    set,
};
use crate::survey;
use crate::sync;
use crate::version::Version;

/// In the crate's bindings this one has no definition to link with.
const EVENT_LOOP: u64 = raw::REDISMODULE_EVENT_EVENTLOOP;

/// Asks for all events. The last step of loading: a host of version 7.0
/// doesn't take them back when a module fails to load.
///
/// # Errors
/// The host knows no such event.
pub fn subscribe(ctx: Ctx<'_>) -> Result<(), String> {
    let wanted: [(u64, raw::RedisModuleEventCallback); 10] = [
        (EVENT_LOOP, Some(on_loop)),
        (raw::REDISMODULE_EVENT_CRON_LOOP, Some(on_cron)),
        (raw::REDISMODULE_EVENT_LOADING, Some(on_loading)),
        (
            raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
            Some(on_role),
        ),
        (raw::REDISMODULE_EVENT_REPLICA_CHANGE, Some(on_replica)),
        (raw::REDISMODULE_EVENT_CLIENT_CHANGE, Some(on_client)),
        (raw::REDISMODULE_EVENT_CONFIG, Some(on_config)),
        (raw::REDISMODULE_EVENT_SHUTDOWN, Some(on_shutdown)),
        (raw::REDISMODULE_EVENT_FORK_CHILD, Some(on_child)),
        (raw::REDISMODULE_EVENT_PERSISTENCE, Some(on_persistence)),
    ];
    for (id, callback) in wanted {
        let event = raw::RedisModuleEvent { id, dataver: 1 };
        // SAFETY: a valid context, and a callback of the right type.
        let told = unsafe {
            host!(RedisModule_SubscribeToServerEvent(
                ctx.as_ptr(),
                event,
                callback
            ))
        };
        if told != raw::REDISMODULE_OK as c_int {
            return Err(format!("the server has no event {id}"));
        }
    }
    Ok(())
}

/// Runs `work` in the server itself, not in a child of it, and keeps panics in.
fn on_server(ctx: *mut raw::RedisModuleCtx, work: impl FnOnce(Ctx<'_>)) {
    crate::guarded((), || {
        // SAFETY: the host's context is valid until the callback returns.
        let ctx = unsafe { Ctx::new(ctx) };
        if ctx.flags() & raw::REDISMODULE_CTX_FLAGS_IS_CHILD == 0 {
            work(ctx);
        }
    });
}

/// Hands changed settings to the engine. It may refuse to turn the log on;
/// then CONFIG shows that.
fn apply_settings() {
    if let Some(settings) = config::take_changed() {
        let now = state::with(None, |engine, host| {
            engine.apply(host, settings);
            engine.settings().clone()
        });
        if let Some(now) = now {
            config::show(now);
        }
    }
}

/// Hands changed settings to the engine, then lets it write.
pub fn before_replies() {
    apply_settings();
    state::before_replies();
}

extern "C" fn on_loop(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    what: u64,
    _: *mut c_void,
) {
    set(&SAVING, false);
    if what == raw::REDISMODULE_SUBEVENT_EVENTLOOP_AFTER_SLEEP {
        set(&IN_WINDOW, false);
        pipelines::next_pass();
        gate::next_pass();
        if !guard::tells_ends() {
            on_server(ctx, |ctx| guard::watch(ctx, get(&LOGS), false));
        }
        return;
    }
    on_server(ctx, |ctx| {
        guard::script_over();
        blocking::end_of_pass();
        before_replies();
        held::release();
        gate::look();
        sync::end_of_pass();
        guard::watch(ctx, get(&LOGS), true);
        queued::window_begins();
        // A change of settings may be what makes inline writing needed.
        if get(&STALE) {
            set(&STALE, false);
            read_host_settings(ctx);
        }
        set(&IN_WINDOW, true);
    });
}

/// A background job has ended. This may come in the middle of a long script,
/// whose unit must stay whole; then the next hook hears of it.
pub fn work_ended() {
    let free = state::with(None, |engine, host| {
        let free = host.detached_ctx().flags() & guard::UNIT == 0;
        if free {
            engine.hear(host);
        }
        free
    });
    if free == Some(true) {
        held::release();
        sync::end_of_pass();
    }
}

extern "C" fn on_cron(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    on_server(ctx, |ctx| {
        apply_settings();
        state::with(None, |engine, host| engine.tick(host));
        pipelines::sweep(ctx);
        survey::step(ctx);
    });
}

extern "C" fn on_loading(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    what: u64,
    _: *mut c_void,
) {
    let ended = matches!(
        what,
        raw::REDISMODULE_SUBEVENT_LOADING_ENDED | raw::REDISMODULE_SUBEVENT_LOADING_FAILED
    );
    set(&LOADING, !ended);
    pipelines::others_were_served();
    // While it loads, the host answers clients without the hook.
    if !ended {
        on_server(ctx, |_| before_replies());
    }
}

extern "C" fn on_role(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    what: u64,
    _: *mut c_void,
) {
    let replica = what == raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_REPLICA;
    set(&REPLICA, replica);
    if replica {
        on_server(ctx, |ctx| {
            ctx.log(
                Level::Warning,
                "this server is a replica now: PERSIST data commands are refused, since durable keys aren't replicated",
            );
        });
    }
}

extern "C" fn on_replica(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    what: u64,
    _: *mut c_void,
) {
    if what == raw::REDISMODULE_SUBEVENT_REPLICA_CHANGE_ONLINE {
        on_server(ctx, |ctx| {
            ctx.log(
                Level::Warning,
                "a replica is online; durable keys aren't replicated, it will not have them",
            );
        });
    }
}

extern "C" fn on_client(
    _: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    what: u64,
    data: *mut c_void,
) {
    match what {
        raw::REDISMODULE_SUBEVENT_CLIENT_CHANGE_CONNECTED => pipelines::came(),
        raw::REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED => {
            // SAFETY: the host's structure for this event, valid until this
            // returns.
            if let Some(client) = unsafe { data.cast::<raw::RedisModuleClientInfo>().as_ref() } {
                crate::guarded((), || gate::gone(client.id));
            }
        }
        _ => {}
    }
}

/// Settings changed that decide on [`SYNC_EACH`].
static STALE: AtomicBool = AtomicBool::new(false);

extern "C" fn on_config(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    data: *mut c_void,
) {
    on_server(ctx, |ctx| {
        // SAFETY: the host's structure for this event, whose first fields
        // don't change, with as many C strings as it says.
        let changed: Vec<&CStr> = unsafe {
            let change = &*data.cast::<raw::RedisModuleConfigChange>();
            (0..change.num_changes as usize)
                .map(|i| CStr::from_ptr(*change.config_names.add(i)))
                .collect()
        };
        let concerns = |names: &[&CStr]| names.iter().any(|name| changed.contains(name));
        if concerns(&[
            c"appendfsync",
            c"io-threads",
            c"latency-monitor-threshold",
            c"busy-reply-threshold",
            c"proto-max-bulk-len",
            c"persist.appendonly",
        ]) {
            set(&STALE, true);
            read_host_settings(ctx);
        }
        // Its reply leaves before the hook: who is told that the log is off,
        // or synced always from now on, must find it so.
        // So must who was answered before I/O threads came.
        let concerns_replies = |name: &&CStr| {
            let name = name.to_bytes();
            name.starts_with(b"persist.") || name == b"io-threads" || name == b"appendfsync"
        };
        if get(&SYNC_EACH) && changed.iter().any(concerns_replies) {
            guard::write_before_reply(ctx, ctx.flags() & guard::UNIT != 0);
        }
        // At once: the next command of the pipeline may need it.
        if concerns(&[c"persist.route"])
            && let Some(route) = config::route()
        {
            route::set(ctx, &route);
        }
    });
}

extern "C" fn on_child(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    what: u64,
    _: *mut c_void,
) {
    if what == raw::REDISMODULE_SUBEVENT_FORK_CHILD_DIED {
        on_server(ctx, |_| crate::host::child_gone());
    }
}

/// The host has taken a snapshot itself in this pass of the event loop. If
/// its end follows, that is the last snapshot: `SHUTDOWN SAVE`, or its own
/// save points. Nothing else tells how it is ended.
static SAVING: AtomicBool = AtomicBool::new(false);

extern "C" fn on_persistence(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    what: u64,
    _: *mut c_void,
) {
    if what == raw::REDISMODULE_SUBEVENT_PERSISTENCE_SYNC_RDB_START {
        on_server(ctx, |_| set(&SAVING, true));
    }
}

extern "C" fn on_shutdown(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    on_server(ctx, |ctx| {
        set(&ENDING, true);
        state::with(None, |engine, host| {
            // SHUTDOWN NOSAVE ends a script that can't be ended otherwise.
            if ctx.flags() & guard::UNIT != 0 {
                engine.drop_unit(host);
            }
            if get(&SAVING) {
                engine.ask_last_save();
            }
            engine.shutdown(host);
        });
    });
}

/// Reads what of the host's settings concerns us.
pub fn read_host_settings(ctx: Ctx<'_>) {
    let number = |name: &CStr| -> u64 {
        ctx.config(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    LATENCY_THRESHOLD.store(number(c"latency-monitor-threshold"), Ordering::Relaxed);
    let busy_after = number(c"busy-reply-threshold");
    if busy_after > 0 {
        guard::BUSY_AFTER_MS.store(busy_after, Ordering::Relaxed);
    }
    let longest = number(c"proto-max-bulk-len");
    if longest > 0 {
        let longest = usize::try_from(longest).unwrap_or(usize::MAX);
        state::with(None, |engine, _| engine.set_string_max(longest));
    }
    // From version 8 on, both servers send replies from their I/O threads
    // right after a command, unless appendfsync says always.
    let threads = Version::of(ctx).number.0 >= 8 && number(c"io-threads") > 1;
    set(&IO_THREADS, threads);
    let overtaken = threads && ctx.config(c"appendfsync").as_deref() != Some("always");
    let logging = state::with(None, |engine, _| engine.settings().appendonly).unwrap_or(true);
    let inline = overtaken && logging;
    if inline && !get(&SYNC_EACH) {
        ctx.log(
            Level::Notice,
            "with io-threads, this server answers before its event loop turns: every durable write is written by itself. \
             `CONFIG SET appendfsync always` is faster here and changes nothing else while appendonly is no",
        );
    }
    set(&SYNC_EACH, inline);
}
