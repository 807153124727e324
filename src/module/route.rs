//! Plain commands on durable keys: a command filter that renames them. It is
//! registered only while `persist.route` has a glob.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

use persist_engine::command::table;
use persist_engine::host::Level;
use persist_engine::route::{Known, Names, Refusal, Route, Sides};
use redis_module::raw;

use crate::call::Answer;
use crate::command::{self, Registration};
use crate::ffi::{self, Ctx, HostString, host};
use crate::filtered::Filtered;
use crate::guard;
use crate::state::{self, Exclusive};
use crate::survey;

/// The command that a refused one becomes. It only replies what stands in
/// its first argument.
const REFUSE: &str = "persist._refuse";

/// So many arguments need no allocation.
const ON_STACK: usize = 32;
/// Commands of so many words are quicker looked through than looked up.
const FEW: usize = 3;
/// So many names of commands without keys are remembered.
const KEYLESS: usize = 1024;

/// What the filter works with.
struct Router {
    route: Route,
    text: String,
    names: Names,
    /// `persist.<name>` of each command, in the order of the table.
    durable: Vec<HostString>,
    refuse: HostString,
    /// Commands of the host's, as they were written, that have no keys.
    keyless: RefCell<HashSet<Vec<u8>>>,
    filter: *mut raw::RedisModuleCommandFilter,
}

static ROUTER: Exclusive<Option<Router>> = Exclusive::new(None);

/// Registers the command that refusals become. Users need no rule for it, or
/// they would get to read about that instead of what went wrong.
///
/// # Errors
/// The host refused it.
pub fn register(ctx: Ctx<'_>) -> Result<(), String> {
    command::register_one(
        ctx,
        &Registration {
            name: "_REFUSE",
            entry: refuse,
            flags: "no-auth fast allow-loading allow-stale",
            categories: "fast",
            arity: -2,
            keys: &[],
            syntax: "message",
            since: "1.0.0",
            complexity: "O(1)",
            summary: "What a command becomes that persist.route forbids: replies why.",
        },
    )
}

extern "C" fn refuse(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    crate::guarded((), || {
        // SAFETY: the host calls with a context and `argc` strings.
        let (ctx, argv) = unsafe {
            (
                Ctx::new(ctx),
                std::slice::from_raw_parts(argv, argc as usize),
            )
        };
        // SAFETY: a string of the host.
        let text = argv.get(1).map(|&text| unsafe { ffi::bytes(text) });
        let text = String::from_utf8_lossy(text.unwrap_or(b"wrong number of arguments"));
        ctx.reply_error(&format!("ERR {text}"));
    });
    raw::REDISMODULE_OK as c_int
}

/// Puts a route in force; an empty one takes the filter away.
pub fn set(ctx: Ctx<'_>, text: &str) {
    let route = Route::parse(text);
    let has_route = route.is_some();
    let changed = ROUTER.with(|slot| match (route, slot.as_mut()) {
        (None, None) => false,
        (Some(route), Some(router)) => {
            let changed = router.text != text;
            router.route = route;
            router.keyless.borrow_mut().clear();
            router.text = text.into();
            changed
        }
        (Some(route), None) => match start_filter(ctx) {
            Some(filter) => {
                *slot = Some(Router {
                    route,
                    text: text.into(),
                    names: Names::default(),
                    durable: table::all().map(durable_name).collect(),
                    refuse: HostString::new(REFUSE.as_bytes()),
                    keyless: RefCell::default(),
                    filter,
                });
                // It looks at the names that come out of this one.
                guard::watch_last(ctx);
                true
            }
            None => {
                ctx.log(
                    Level::Warning,
                    "the server refused the command filter: persist.route has no effect",
                );
                false
            }
        },
        (None, Some(router)) => {
            // SAFETY: a filter of ours, not taken back before.
            unsafe {
                host!(RedisModule_UnregisterCommandFilter(
                    ctx.as_ptr(),
                    router.filter
                ));
            }
            *slot = None;
            true
        }
    });
    if changed == Some(true) {
        if has_route {
            survey::begin(text);
        } else {
            survey::stop();
            ctx.log(
                Level::Notice,
                "persist.route is empty: plain commands are the server's own again",
            );
        }
    }
}

/// Whether plain commands find `key` among the durable ones; `None` without a route.
pub fn covers(key: &[u8]) -> Option<bool> {
    ROUTER.with(|slot| Some(slot.as_ref()?.route.covers(key)))?
}

fn durable_name(spec: &persist_engine::command::Spec) -> HostString {
    HostString::new(format!("persist.{}", spec.name.to_ascii_lowercase()).as_bytes())
}

fn start_filter(ctx: Ctx<'_>) -> Option<*mut raw::RedisModuleCommandFilter> {
    // SAFETY: a valid context of the module, and a callback of the right type.
    let filter = unsafe {
        host!(RedisModule_RegisterCommandFilter(
            ctx.as_ptr(),
            Some(on_command),
            raw::REDISMODULE_CMDFILTER_NOSELF as c_int
        ))
    };
    (!filter.is_null()).then_some(filter)
}

/// Sees every command before the host looks it up, of clients that haven't
/// said who they are, too: it renames and refuses, and changes nothing else.
unsafe extern "C" fn on_command(filtered: *mut raw::RedisModuleCommandFilterCtx) {
    crate::guarded((), || {
        // SAFETY: the host calls with what is valid until this returns.
        let filtered = unsafe { Filtered::new(filtered) };
        let todo = ROUTER.with(|slot| slot.as_ref().map(|router| router.filter(filtered)));
        // The router is free again: what ends keys may come back to us.
        match todo {
            Some(Some(Todo::Watch(keys))) => {
                state::with(None, |engine, host| engine.watch(host, &keys));
            }
            Some(Some(Todo::Exec)) => {
                state::with(None, |engine, host| engine.reap_watched(host));
            }
            _ => {}
        }
    });
}

/// What is left to do before the host gets a command.
enum Todo<'a> {
    Nothing,
    /// These durable keys are going to be watched.
    Watch(Vec<&'a [u8]>),
    /// A transaction is going to run.
    Exec,
}

impl Router {
    #[inline]
    fn filter<'a>(&self, filtered: Filtered) -> Todo<'a> {
        // GET page:1 and SET page:1 x need no look at the name: whichever
        // words are keys, none is durable. EXEC, alone, has something to do.
        let len = filtered.len();
        if (2..=FEW).contains(&len) && (1..len).all(|at| !self.route.covers(filtered.bytes(at))) {
            return Todo::Nothing;
        }
        self.by_name(filtered)
    }

    /// Apart, so that the way of most commands stays short.
    #[inline(never)]
    fn by_name<'a>(&self, filtered: Filtered) -> Todo<'a> {
        let name = filtered.bytes(0);
        match self.names.find(name) {
            Some(Known::Pass) => {}
            Some(&Known::Durable {
                number,
                only_key: Some(at),
                ..
            }) => {
                let string = filtered.string(at);
                // SAFETY: a string of the host's, or null.
                if !string.is_null() && self.route.covers(unsafe { ffi::bytes(string) }) {
                    filtered.replace(0, &self.durable[number]);
                }
            }
            Some(&Known::Durable { number, spec, .. }) => with_args(filtered, |args| {
                match self.route.sides(spec.keys_of(args)) {
                    Sides::Keyless | Sides::Host => {}
                    Sides::Durable(_) => filtered.replace(0, &self.durable[number]),
                    Sides::Both { durable, host } => self.refuse(
                        filtered,
                        &Refusal::Both {
                            name,
                            durable,
                            host,
                        },
                    ),
                }
            }),
            Some(Known::Watch) => {
                let keys = (1..filtered.len()).map(|at| filtered.bytes(at));
                return Todo::Watch(keys.filter(|key| self.route.covers(key)).collect());
            }
            Some(Known::Exec) => return Todo::Exec,
            None => self.ask_host(filtered, name),
        }
        Todo::Nothing
    }

    /// A command without a durable form must not reach the host with a
    /// durable key. Where its keys are, the host knows.
    #[cold]
    fn ask_host(&self, filtered: Filtered, name: &[u8]) {
        const OURS: &[u8] = b"persist.";
        let ours = name.get(..OURS.len());
        if ours.is_some_and(|start| start.eq_ignore_ascii_case(OURS)) || filtered.len() < 2 {
            return;
        }
        let strings: Vec<_> = (0..filtered.len()).map(|at| filtered.string(at)).collect();
        let mut keys: Vec<Cow<'_, [u8]>> = host_keys(&strings)
            .into_iter()
            .map(|at| Cow::Borrowed(filtered.bytes(at)))
            .collect();
        if keys.is_empty() {
            let words = (0..filtered.len()).map(|at| filtered.bytes(at));
            keys = described_keys(&words.collect::<Vec<_>>(), &self.keyless)
                .into_iter()
                .map(Cow::Owned)
                .collect();
        }
        if let Some(key) = keys.iter().find(|key| self.route.covers(key)) {
            self.refuse(filtered, &Refusal::NoSuchCommand { name, key });
        }
    }

    #[cold]
    fn refuse(&self, filtered: Filtered, why: &Refusal<'_>) {
        let text = HostString::new(why.to_string().as_bytes());
        filtered.replace(1, &text);
        filtered.replace(0, &self.refuse);
    }
}

/// Works with all arguments as bytes.
#[inline]
fn with_args(filtered: Filtered, work: impl FnOnce(&[&[u8]])) {
    let n = filtered.len();
    if n <= ON_STACK {
        let mut args = [const { MaybeUninit::<&[u8]>::uninit() }; ON_STACK];
        for (at, arg) in args.iter_mut().take(n).enumerate() {
            arg.write(filtered.bytes(at));
        }
        // SAFETY: the first `n` were just written.
        work(unsafe { std::slice::from_raw_parts(args.as_ptr().cast(), n) });
    } else {
        let args: Vec<&[u8]> = (0..n).map(|at| filtered.bytes(at)).collect();
        work(&args);
    }
}

/// Where the host finds keys in a command of its own or another module's;
/// nowhere if it doesn't know the command or it has too few arguments.
fn host_keys(argv: &[*mut raw::RedisModuleString]) -> Vec<usize> {
    let mut argv = argv.to_vec();
    let (mut n, mut keys) = (0, Vec::new());
    // SAFETY: valid strings; the array that comes back has `n` numbers and is
    // ours to free. No context is needed, and flags aren't asked for.
    unsafe {
        let found = host!(RedisModule_GetCommandKeysWithFlags(
            null_mut(),
            argv.as_mut_ptr(),
            argv.len() as c_int,
            &raw mut n,
            null_mut()
        ));
        if !found.is_null() {
            let found_keys = std::slice::from_raw_parts(found, n.max(0) as usize);
            keys.extend(found_keys.iter().map(|&at| at as usize));
            host!(RedisModule_Free(found.cast()));
        }
    }
    keys
}

/// The keys by the host's description of the command. Without it, the keys of
/// those behind a count (Valkey's MSETEX, or what another module has like it)
/// would pass unseen: the function above knows nothing of descriptions.
fn described_keys(args: &[&[u8]], keyless: &RefCell<HashSet<Vec<u8>>>) -> Vec<Vec<u8>> {
    let Some((name, ctx)) = args
        .first()
        .zip(state::with(None, |_, host| host.detached_ctx()))
    else {
        return Vec::new();
    };
    let mut keyless = keyless.borrow_mut();
    if keyless.contains(*name) {
        return Vec::new();
    }
    let about = ctx.call(c"COMMAND", &[b"INFO", name]).list();
    let Some(about) = about.into_iter().next().map(Answer::list) else {
        return Vec::new();
    };
    // Key specs come ninth, subcommands tenth.
    let has_some =
        |at: usize| matches!(about.get(at), Some(Answer::List(items)) if !items.is_empty());
    if !has_some(8) && !has_some(9) {
        // Asked once only: each question shows in MONITOR. Names that the
        // server doesn't know aren't kept, or clients could fill this.
        if !about.is_empty() && keyless.len() < KEYLESS {
            keyless.insert(name.to_vec());
        }
        return Vec::new();
    }
    let question: Vec<&[u8]> = [&b"GETKEYS"[..]]
        .into_iter()
        .chain(args.iter().copied())
        .collect();
    let keys = ctx.call(c"COMMAND", &question).list();
    let keys = keys.iter().filter_map(Answer::text);
    keys.map(<[u8]>::to_vec).collect()
}
