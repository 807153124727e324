//! What the host is told of each command: flags, keys, documentation, ACL.

use std::ffi::{CStr, CString, c_int};
use std::ptr::null_mut;

use persist_engine::command::spec::Find;
use persist_engine::command::{Flags, KeyAccess, KeySpec, Spec, syntax, table};
use redis_module::raw;

use crate::admin;
use crate::arguments::Arguments;
use crate::dispatch::{ENTRIES, Entry};
use crate::ffi::{Ctx, c_string, host};
use crate::version::Version;

/// Registers every command.
///
/// # Errors
/// Which one the host refused.
pub fn register(ctx: Ctx<'_>, version: Version) -> Result<(), String> {
    for (spec, entry) in table::all().zip(ENTRIES) {
        register_one(
            ctx,
            &Registration {
                name: spec.name,
                entry,
                flags: &flags_of(spec, version),
                categories: &categories_of(spec),
                arity: spec.arity,
                keys: spec.keys,
                syntax: spec.syntax,
                since: spec.since,
                complexity: spec.complexity,
                summary: spec.summary,
            },
        )?;
    }
    for command in admin::COMMANDS {
        register_one(
            ctx,
            &Registration {
                name: command.name,
                entry: command.entry,
                flags: command.flags,
                categories: command.categories,
                arity: command.arity,
                keys: &[],
                syntax: command.syntax,
                since: "1.0.0",
                complexity: command.complexity,
                summary: command.summary,
            },
        )?;
    }
    Ok(())
}

/// What the host is told of one command.
pub struct Registration<'a> {
    /// Name, without `PERSIST.`.
    pub name: &'a str,
    /// The code.
    pub entry: Entry,
    /// The host's flags.
    pub flags: &'a str,
    /// ACL categories.
    pub categories: &'a str,
    /// Number of arguments, as in `Spec`.
    pub arity: i32,
    /// Where its keys are.
    pub keys: &'a [KeySpec],
    /// Its arguments, in the notation of [`syntax`].
    pub syntax: &'a str,
    /// First version with it.
    pub since: &'a str,
    /// Time complexity.
    pub complexity: &'a str,
    /// One sentence.
    pub summary: &'a str,
}

fn flags_of(spec: &Spec, version: Version) -> String {
    // From 7.2 on, scripts may use what waits: it never does there.
    let no_script = spec.flags.has(Flags::NOSCRIPT) && version.is_redis_before(7, 2);
    words(&[
        (spec.flags.has(Flags::WRITE), "write"),
        (spec.flags.has(Flags::READONLY), "readonly"),
        (spec.flags.has(Flags::DENYOOM), "deny-oom"),
        (spec.flags.has(Flags::FAST), "fast"),
        (spec.flags.has(Flags::BLOCKING), "blocking"),
        (no_script, "deny-script"),
        // The host asks the command itself, see `dispatch::tell_keys`.
        (spec.tells_keys(), "getkeys-api"),
    ])
}

fn categories_of(spec: &Spec) -> String {
    words(&[
        (spec.flags.has(Flags::WRITE), "write"),
        (spec.flags.has(Flags::READONLY), "read"),
        (spec.flags.has(Flags::FAST), "fast"),
        (!spec.flags.has(Flags::FAST), "slow"),
        (spec.flags.has(Flags::DANGEROUS), "dangerous"),
        (spec.flags.has(Flags::BLOCKING), "blocking"),
        (true, spec.group.category()),
    ])
}

fn words(all: &[(bool, &'static str)]) -> String {
    let held: Vec<&str> = all.iter().filter(|(held, _)| *held).map(|w| w.1).collect();
    held.join(" ")
}

/// Registers a command.
///
/// # Errors
/// The host refused it.
pub fn register_one(ctx: Ctx<'_>, r: &Registration<'_>) -> Result<(), String> {
    let name = c_string(&format!("persist.{}", r.name.to_ascii_lowercase()));
    let refused = |what: &str| Err(format!("the server refused {what} of {}", r.name));
    let flags = c_string(r.flags);
    // SAFETY: valid strings for the time of the call; the function has the
    // host's signature.
    let created = unsafe {
        host!(RedisModule_CreateCommand(
            ctx.as_ptr(),
            name.as_ptr(),
            Some(r.entry),
            flags.as_ptr(),
            0,
            0,
            0
        ))
    };
    if created != raw::REDISMODULE_OK as c_int {
        return refused("the command");
    }
    // SAFETY: as above.
    let command = unsafe { host!(RedisModule_GetCommand(ctx.as_ptr(), name.as_ptr())) };
    let mut keys: Vec<_> = r.keys.iter().map(key_spec).collect();
    keys.push(end_of_keys());
    let parsed = syntax::parse(r.syntax)
        .map_err(|why| format!("the arguments of {} are wrongly declared: {why}", r.name))?;
    let mut arguments = Arguments::new(&parsed, r.keys.len());
    let texts: [CString; 3] = [r.summary, r.complexity, r.since].map(c_string);
    let version = raw::RedisModuleCommandInfoVersion {
        version: 1,
        sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
        sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
        sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
    };
    let info = raw::RedisModuleCommandInfo {
        version: &raw const version,
        summary: texts[0].as_ptr(),
        complexity: texts[1].as_ptr(),
        since: texts[2].as_ptr(),
        history: null_mut(),
        tips: c"".as_ptr(),
        arity: r.arity,
        key_specs: if r.keys.is_empty() {
            null_mut()
        } else {
            keys.as_mut_ptr()
        },
        args: arguments.as_mut_ptr(),
    };
    // SAFETY: the host copies everything; the key specs end with an invalid one,
    // the arguments with one without a name.
    let told = unsafe { host!(RedisModule_SetCommandInfo(command, &raw const info)) };
    if told != raw::REDISMODULE_OK as c_int {
        return refused("the description");
    }
    // SAFETY: only called where the host has it (7.2).
    unsafe {
        if let Some(set_categories) = raw::RedisModule_SetCommandACLCategories {
            let categories = c_string(r.categories);
            if set_categories(command, categories.as_ptr()) != raw::REDISMODULE_OK as c_int {
                return refused("the ACL categories");
            }
        }
    }
    Ok(())
}

/// The host's flags for a key.
pub fn access_of(access: KeyAccess) -> u32 {
    use raw::{
        REDISMODULE_CMD_KEY_ACCESS as ACCESS, REDISMODULE_CMD_KEY_DELETE as DELETE,
        REDISMODULE_CMD_KEY_INSERT as INSERT, REDISMODULE_CMD_KEY_OW as OW,
        REDISMODULE_CMD_KEY_RM as RM, REDISMODULE_CMD_KEY_RO as RO, REDISMODULE_CMD_KEY_RW as RW,
        REDISMODULE_CMD_KEY_UPDATE as UPDATE, REDISMODULE_CMD_KEY_VARIABLE_FLAGS as VARIES,
    };
    match access {
        KeyAccess::Read => RO | ACCESS,
        KeyAccess::Look => RO,
        KeyAccess::Overwrite => OW | UPDATE,
        KeyAccess::Update => RW | UPDATE,
        KeyAccess::Modify => RW | ACCESS | UPDATE,
        KeyAccess::Insert => RW | INSERT,
        KeyAccess::Shrink => RW | DELETE,
        KeyAccess::Pop => RW | ACCESS | DELETE,
        KeyAccess::Remove => RM | DELETE,
        KeyAccess::OverwriteOrGet | KeyAccess::ModifyOrGet => RW | ACCESS | UPDATE | VARIES,
    }
}

const NOTES: &CStr = c"";

fn key_spec(spec: &KeySpec) -> raw::RedisModuleCommandKeySpec {
    use raw::{
        RedisModuleCommandKeySpec__bindgen_ty_1 as Begin,
        RedisModuleCommandKeySpec__bindgen_ty_1__bindgen_ty_1 as Index,
        RedisModuleCommandKeySpec__bindgen_ty_1__bindgen_ty_2 as Keyword,
        RedisModuleCommandKeySpec__bindgen_ty_2 as Rest,
        RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_1 as Range,
        RedisModuleCommandKeySpec__bindgen_ty_2__bindgen_ty_2 as Counted,
    };
    let (begin_search_type, bs) = match &spec.find {
        Find::Behind(word) | Find::HalfBehind(word) => (
            raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_KEYWORD,
            Begin {
                keyword: Keyword {
                    keyword: word.as_ptr(),
                    startfrom: spec.first as c_int,
                },
            },
        ),
        _ => (
            raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX,
            Begin {
                index: Index {
                    pos: spec.first as c_int,
                },
            },
        ),
    };
    let (find_keys_type, fk) = match spec.find {
        Find::Range { last, step } => (
            raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE,
            Rest {
                range: Range {
                    lastkey: last,
                    keystep: step as c_int,
                    limit: 0,
                },
            },
        ),
        // The key itself, found above.
        Find::Behind(_) => (
            raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE,
            Rest {
                range: Range {
                    lastkey: 0,
                    keystep: 1,
                    limit: 0,
                },
            },
        ),
        Find::Counted => (
            raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_KEYNUM,
            Rest {
                keynum: Counted {
                    keynumidx: 0,
                    firstkey: 1,
                    keystep: 1,
                },
            },
        ),
        Find::HalfBehind(_) => (
            raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE,
            Rest {
                range: Range {
                    lastkey: -1,
                    keystep: 1,
                    // The first half of what there is.
                    limit: 2,
                },
            },
        ),
    };
    raw::RedisModuleCommandKeySpec {
        notes: NOTES.as_ptr(),
        flags: u64::from(access_of(spec.access)),
        begin_search_type,
        bs,
        find_keys_type,
        fk,
    }
}

fn end_of_keys() -> raw::RedisModuleCommandKeySpec {
    // SAFETY: a plain structure of numbers and nullable pointers.
    unsafe { std::mem::zeroed() }
}
