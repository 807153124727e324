//! The commands about persistence itself.

use std::ffi::c_int;

use persist_engine::command::syntax::{self, Plain};
use persist_engine::command::{CommandError, args, table};
use persist_engine::engine::Engine;
use redis_module::raw;

use crate::dispatch::Entry;
use crate::executor;
use crate::ffi::{self, Ctx};
use crate::host::Link;
use crate::info;
use crate::moving::{self, Way};
use crate::state::{self, Caller, REPLICA};
use crate::sync;
use crate::users;

/// A command's declaration.
pub struct Admin {
    /// Name, without `PERSIST.`.
    pub name: &'static str,
    /// Arguments, in redis.io's notation.
    pub syntax: &'static str,
    /// The code.
    pub entry: Entry,
    /// The host's flags.
    pub flags: &'static str,
    /// ACL categories.
    pub categories: &'static str,
    /// A line of the host's that takes the same power, if there is one.
    pub like: Option<&'static str>,
    /// Number of arguments, as in `Spec`.
    pub arity: i32,
    /// Time complexity.
    pub complexity: &'static str,
    /// One sentence.
    pub summary: &'static str,
}

/// Every such command.
pub static COMMANDS: &[Admin] = &[
    Admin {
        name: "SAVE",
        syntax: "",
        entry: save,
        flags: "admin deny-script",
        categories: "admin dangerous slow",
        like: Some("SAVE"),
        arity: 1,
        complexity: "O(N) where N is the number of durable keys",
        summary: "Takes a durable snapshot before it returns.",
    },
    Admin {
        name: "BGSAVE",
        syntax: "[SCHEDULE | CANCEL]",
        entry: bgsave,
        flags: "admin deny-script",
        categories: "admin dangerous slow",
        like: Some("BGSAVE"),
        arity: -1,
        complexity: "O(1)",
        summary: "Takes a snapshot in a child process.",
    },
    Admin {
        name: "REWRITE",
        syntax: "[CANCEL]",
        entry: rewrite,
        flags: "admin deny-script",
        categories: "admin dangerous slow",
        like: Some("BGREWRITEAOF"),
        arity: -1,
        complexity: "O(1)",
        summary: "Rewrites the log in a child process, so that it gets short.",
    },
    Admin {
        name: "VERIFY",
        syntax: "",
        entry: verify,
        flags: "admin deny-script",
        categories: "admin dangerous slow",
        like: Some("BGSAVE"),
        arity: 1,
        complexity: "O(1) to begin; all files are read in the background",
        summary: "Checks the snapshot and every file of the log in the background; INFO tells how far it is and how it ended.",
    },
    Admin {
        name: "SYNC",
        syntax: "[timeout:integer]",
        entry: sync,
        flags: "deny-script",
        categories: "slow",
        like: Some("WAIT 0 0"),
        arity: -1,
        complexity: "O(1)",
        summary: "Waits until everything written before is durable, for at most so many milliseconds: 1 if it is, 0 if the time is up.",
    },
    Admin {
        name: "LASTSAVE",
        syntax: "",
        entry: last_save,
        flags: "admin fast allow-loading allow-stale",
        categories: "admin dangerous fast",
        like: Some("LASTSAVE"),
        arity: 1,
        complexity: "O(1)",
        summary: "Returns the unix time of the last snapshot.",
    },
    Admin {
        name: "INFO",
        syntax: "[section [section ...]]",
        entry: show_info,
        flags: "allow-loading allow-stale",
        categories: "dangerous slow",
        like: Some("INFO"),
        arity: -1,
        complexity: "O(1)",
        summary: "Returns the state of durable keys, in the format and under the names of INFO.",
    },
    Admin {
        name: "ADOPT",
        syntax: "<pattern | CANCEL>",
        entry: adopt,
        flags: "admin deny-script",
        categories: "admin dangerous slow",
        like: Some("BGREWRITEAOF"),
        arity: 2,
        complexity: "O(1) to begin; O(N) in the background, where N is the number of the server's keys.",
        summary: "Moves the server's own keys that match into the durable keyspace, in the background.",
    },
    Admin {
        name: "RELEASE",
        syntax: "<pattern [KEEP] | CANCEL>",
        entry: release,
        flags: "admin deny-script",
        categories: "admin dangerous slow",
        like: Some("BGREWRITEAOF"),
        arity: -2,
        complexity: "O(1) to begin; O(N) in the background, where N is the number of durable keys.",
        summary: "Moves durable keys that match into the server's own keyspace, in the background; with KEEP they stay durable, too.",
    },
    Admin {
        name: "HELP",
        syntax: "[ACL username]",
        entry: help,
        flags: "allow-loading allow-stale",
        categories: "slow",
        like: None,
        arity: -1,
        complexity: "O(1)",
        summary: "Returns a line on each command, or the rules that a user needs for durable keys.",
    },
];

type Argv = *mut *mut raw::RedisModuleString;

extern "C" fn save(ctx: *mut raw::RedisModuleCtx, argv: Argv, argc: c_int) -> c_int {
    on_engine(ctx, argv, argc, |engine, host, ctx, _| {
        let unit = raw::REDISMODULE_CTX_FLAGS_MULTI | raw::REDISMODULE_CTX_FLAGS_LUA;
        if ctx.flags() & unit != 0 {
            return Err(CommandError::text(
                "ERR PERSIST.SAVE isn't allowed in a transaction or script",
            ));
        }
        engine.save(host).map(|()| ctx.reply_simple("OK"))
    })
}

extern "C" fn bgsave(ctx: *mut raw::RedisModuleCtx, argv: Argv, argc: c_int) -> c_int {
    on_engine(ctx, argv, argc, |engine, host, ctx, args| {
        let schedule = match args {
            [_] => in_unit(ctx),
            [_, word] if word.eq_ignore_ascii_case(b"SCHEDULE") => true,
            [_, word] if word.eq_ignore_ascii_case(b"CANCEL") => {
                return engine.cancel_bgsave(host).map(|t| ctx.reply_simple(t));
            }
            _ => return Err(CommandError::Syntax),
        };
        engine.bgsave(host, schedule).map(|t| ctx.reply_simple(t))
    })
}

/// Whether the command is part of a transaction or script, in the middle of
/// which no child may be forked.
fn in_unit(ctx: Ctx<'_>) -> bool {
    ctx.flags() & (raw::REDISMODULE_CTX_FLAGS_MULTI | raw::REDISMODULE_CTX_FLAGS_LUA) != 0
}

extern "C" fn rewrite(ctx: *mut raw::RedisModuleCtx, argv: Argv, argc: c_int) -> c_int {
    on_engine(ctx, argv, argc, |engine, host, ctx, args| {
        let done = match args {
            [_] => engine.rewrite(host),
            [_, word] if word.eq_ignore_ascii_case(b"CANCEL") => engine.cancel_rewrite(host),
            _ => Err(CommandError::Syntax),
        };
        done.map(|t| ctx.reply_simple(t))
    })
}

extern "C" fn verify(ctx: *mut raw::RedisModuleCtx, argv: Argv, argc: c_int) -> c_int {
    on_engine(ctx, argv, argc, |engine, _, ctx, _| {
        let task = engine.verify()?;
        executor::detach("persist-verify", task);
        ctx.reply_simple("Background verification started");
        Ok(())
    })
}

extern "C" fn adopt(ctx: *mut raw::RedisModuleCtx, argv: Argv, argc: c_int) -> c_int {
    on_engine(ctx, argv, argc, |engine, _, ctx, args| match args {
        [_, word] if word.eq_ignore_ascii_case(b"CANCEL") => cancel_move(ctx),
        [_, pattern] => begin_move(ctx, engine, Way::Adopt, pattern),
        _ => Err(CommandError::Syntax),
    })
}

extern "C" fn release(ctx: *mut raw::RedisModuleCtx, argv: Argv, argc: c_int) -> c_int {
    on_engine(ctx, argv, argc, |engine, _, ctx, args| match args {
        [_, word] if word.eq_ignore_ascii_case(b"CANCEL") => cancel_move(ctx),
        [_, pattern] => begin_move(ctx, engine, Way::Release { keep: false }, pattern),
        [_, pattern, word] if word.eq_ignore_ascii_case(b"KEEP") => {
            begin_move(ctx, engine, Way::Release { keep: true }, pattern)
        }
        _ => Err(CommandError::Syntax),
    })
}

fn begin_move(ctx: Ctx<'_>, engine: &Engine, way: Way, pattern: &[u8]) -> Result<(), CommandError> {
    if state::get(&REPLICA) {
        return Err(CommandError::text(
            "READONLY This server is a replica and durable keys aren't replicated; ask the master.",
        ));
    }
    moving::begin(ctx, engine, way, pattern).map_err(|text| CommandError::Text(text.into()))?;
    ctx.reply_simple("Background moving started");
    Ok(())
}

fn cancel_move(ctx: Ctx<'_>) -> Result<(), CommandError> {
    if !moving::cancel() {
        return Err(CommandError::text("ERR no keys are being moved"));
    }
    ctx.reply_simple("Background moving cancelled");
    Ok(())
}

extern "C" fn sync(ctx: *mut raw::RedisModuleCtx, argv: Argv, argc: c_int) -> c_int {
    on_engine(ctx, argv, argc, |engine, _, ctx, args| {
        let timeout = match args {
            [_] => 0,
            [_, timeout] => args::int(timeout)
                .map_err(|_| CommandError::text("ERR timeout is not an integer or out of range"))?,
            _ => return Err(CommandError::Syntax),
        };
        if timeout < 0 {
            return Err(CommandError::text("ERR timeout is negative"));
        }
        // What these write is one unit, and durable as one.
        if in_unit(ctx) {
            return Err(CommandError::text(
                "ERR PERSIST.SYNC isn't allowed in a transaction or script",
            ));
        }
        let seq = engine.ask_sync()?;
        if engine.is_synced(seq)? {
            ctx.reply_int(1);
        } else {
            sync::block(ctx, seq, timeout);
        }
        Ok(())
    })
}

extern "C" fn last_save(ctx: *mut raw::RedisModuleCtx, argv: Argv, argc: c_int) -> c_int {
    on_engine(ctx, argv, argc, |engine, _, ctx, _| {
        ctx.reply_int(engine.last_save() as i64);
        Ok(())
    })
}

extern "C" fn show_info(ctx: *mut raw::RedisModuleCtx, argv: Argv, argc: c_int) -> c_int {
    on_engine(ctx, argv, argc, |engine, host, ctx, args| {
        ctx.reply_text(&info::text(engine, host, args.get(1..).unwrap_or_default()));
        Ok(())
    })
}

extern "C" fn help(ctx: *mut raw::RedisModuleCtx, argv: Argv, argc: c_int) -> c_int {
    on_engine(ctx, argv, argc, |_, _, ctx, args| {
        match args {
            [_] => {}
            [_, word, user] if word.eq_ignore_ascii_case(b"ACL") => return acl_help(ctx, user),
            _ => return Err(CommandError::Syntax),
        }
        let lines = table::all()
            .map(|s| (s.name, s.syntax, s.summary))
            .chain(COMMANDS.iter().map(|a| (a.name, a.syntax, a.summary)));
        ctx.reply_array(table::all().count() + COMMANDS.len());
        for (name, syntax, summary) in lines {
            // Every syntax was parsed when the command was registered.
            let args = syntax::parse(syntax).unwrap_or_default();
            let (args, blank) = (Plain(&args), if args.is_empty() { "" } else { " " });
            ctx.reply_simple(&format!("PERSIST.{name}{blank}{args}: {summary}"));
        }
        Ok(())
    })
}

/// PERSIST.HELP ACL: what to type so that a user may do with durable keys
/// what it may do with others, and nothing else.
fn acl_help(ctx: Ctx<'_>, user: &[u8]) -> Result<(), CommandError> {
    let Some(lacking) = users::lacking(ctx, user) else {
        // Not a megabyte back to who sent one.
        let name = user.get(..128).unwrap_or(user).escape_ascii();
        let text = format!("ERR there is no user '{name}', or this one may not look at users");
        return Err(CommandError::Text(text.into()));
    };
    let excess = users::excess(ctx, user);
    ctx.reply_array(1);
    if lacking.is_empty() && excess.is_empty() {
        ctx.reply_bulk(
            b"# Nothing to add: this user may run those PERSIST commands whose plain form it may run.",
        );
    } else {
        ctx.reply_bulk(&users::rules(user, &lacking, &excess));
    }
    Ok(())
}

/// Works with the engine, and replies when that fails.
fn on_engine(
    ctx: *mut raw::RedisModuleCtx,
    argv: Argv,
    argc: c_int,
    work: impl FnOnce(&mut Engine, &mut Link<'_>, Ctx<'_>, &[&[u8]]) -> Result<(), CommandError>,
) -> c_int {
    // SAFETY: the host calls with a context and `argc` strings that are
    // valid until the command returns.
    let (ctx, argv) = unsafe {
        (
            Ctx::new(ctx),
            std::slice::from_raw_parts(argv, argc as usize),
        )
    };
    let failed = Some(Err(CommandError::text(
        "ERR the command failed inside; see the server's log",
    )));
    let result = crate::guarded(failed, || {
        let args: Vec<&[u8]> = argv
            .iter()
            // SAFETY: as above.
            .map(|&string| unsafe { ffi::bytes(string) })
            .collect();
        let caller = Caller {
            ctx,
            db: ctx.db(),
            argv,
            args: &args,
        };
        state::with(Some(caller), |engine, host| work(engine, host, ctx, &args))
    });
    match result {
        Some(Ok(())) => {}
        Some(Err(error)) => ctx.reply_error(&error.to_string()),
        None => {
            ctx.reply_error("ERR the durable keyspace is busy with the command around this one")
        }
    }
    raw::REDISMODULE_OK as c_int
}
