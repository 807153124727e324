//! Settings as the host's: `persist.<name>` by CONFIG and redis.conf, and
//! `name value` behind the module's path.

use std::ffi::{c_char, c_int, c_longlong, c_void};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr::null_mut;

use persist_engine::settings::{
    BadSetting, SETTINGS, Setting, SettingKind, SettingValue, Settings,
};
use redis_module::raw;

use crate::ffi::{self, Ctx, HostString, c_string, host};
use crate::state::Exclusive;

/// What CONFIG shows; the engine gets it at the next hook.
struct Draft {
    settings: Settings,
    changed: bool,
    /// Texts given out, which the host copies after the callback's return.
    shown: Vec<HostString>,
}

static DRAFT: Exclusive<Option<Draft>> = Exclusive::new(None);

const OK: c_int = raw::REDISMODULE_OK as c_int;
const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// Registers all settings, with `args` (name, value ...) in the place of
/// defaults, loads what redis.conf says, and returns the outcome. Its `dir`
/// is absolute.
///
/// # Errors
/// Text for the operator.
pub fn load(ctx: Ctx<'_>, args: &[&[u8]]) -> Result<Settings, String> {
    let host_dir = ctx.config(c"dir").ok_or(
        "the server doesn't answer CONFIG GET dir: a rename-command in its configuration takes CONFIG away, which the module needs. Keep users from it by ACL rules instead",
    )?;
    let mut defaults = Settings {
        dir: host_dir.clone(),
        ..Settings::default()
    };
    take_args(&mut defaults, args)?;
    DRAFT.with(|slot| {
        *slot = Some(Draft {
            settings: defaults.clone(),
            changed: false,
            shown: Vec::new(),
        });
    });
    for setting in SETTINGS {
        if !register(ctx, setting, &defaults) {
            return Err(format!("the server refused persist.{}", setting.name));
        }
    }
    // SAFETY: a valid context, during load.
    if unsafe { host!(RedisModule_LoadConfigs(ctx.as_ptr())) } != OK {
        return Err("a persist.* setting has a bad value, see the line above".into());
    }
    let absolute = |dir: &str| {
        let path = Path::new(&host_dir).join(dir);
        std::path::absolute(&path).unwrap_or(path)
    };
    let settings = with_draft(|draft| {
        draft.changed = false;
        let dir = absolute(&draft.settings.dir);
        draft.settings.dir = dir
            .into_os_string()
            .into_string()
            .map_err(|_| "persist.dir must be UTF-8")?;
        Ok(draft.settings.clone())
    })
    .unwrap_or(Err("settings are in use"))?;
    let mut hosts = Vec::new();
    if is_same_folder(&settings.dir, &host_dir) {
        let names = [c"dbfilename", c"appenddirname"];
        hosts.extend(names.iter().filter_map(|name| ctx.config(name)));
    }
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    settings.check_names(&hosts).map_err(|e| e.to_string())?;
    Ok(settings)
}

/// By whatever path; one that is missing is no other's. (Not by
/// `canonicalize`: that frees what the C library has allocated, and Valkey
/// loads modules so that the one may be jemalloc's and the other libc's.)
fn is_same_folder(one: &str, other: &str) -> bool {
    let place = |path: &str| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    place(one).is_some_and(|one| Some(one) == place(other))
}

/// Changed settings since the last call, if there are.
pub fn take_changed() -> Option<Settings> {
    with_draft(|draft| std::mem::take(&mut draft.changed).then(|| draft.settings.clone()))?
}

/// Shows what is in force, unless somebody changed a setting meanwhile.
pub fn show(settings: Settings) {
    with_draft(|draft| {
        if !draft.changed {
            draft.settings = settings;
        }
    });
}

/// `persist.route`, as CONFIG shows it.
pub fn route() -> Option<String> {
    with_draft(|draft| draft.settings.route.clone())
}

fn with_draft<R>(work: impl FnOnce(&mut Draft) -> R) -> Option<R> {
    DRAFT.with(|slot| slot.as_mut().map(work))?
}

/// Takes the arguments behind the module's path.
fn take_args(settings: &mut Settings, args: &[&[u8]]) -> Result<(), String> {
    let (pairs, rest) = args.as_chunks::<2>();
    for [name, value] in pairs {
        let (name, value) = (
            String::from_utf8_lossy(name).to_ascii_lowercase(),
            str::from_utf8(value).map_err(|_| "module argument: not UTF-8")?,
        );
        let name = name.strip_prefix("persist.").unwrap_or(&name);
        let setting = SETTINGS
            .iter()
            .find(|s| s.name == name)
            .ok_or_else(|| format!("module argument '{name}': no such setting"))?;
        set_from_text(settings, setting, value)
            .map_err(|e| format!("module argument '{name} {value}': {e}"))?;
    }
    match rest {
        [] => Ok(()),
        [name, ..] => Err(format!(
            "module argument '{}': its value is missing",
            String::from_utf8_lossy(name)
        )),
    }
}

fn set_from_text(
    settings: &mut Settings,
    setting: &Setting,
    value: &str,
) -> Result<(), BadSetting> {
    match setting.kind {
        SettingKind::Bool { .. } => match value.to_ascii_lowercase().as_str() {
            "yes" => settings.set_bool(setting.name, true),
            "no" => settings.set_bool(setting.name, false),
            _ => Err(BadSetting("argument must be 'yes' or 'no'".into())),
        },
        SettingKind::Number {
            min, max, memory, ..
        } => {
            let n = if memory {
                memory_size(value)
            } else {
                value.parse().ok()
            };
            match n {
                Some(n) if (min..=max).contains(&n) => settings.set_number(setting.name, n),
                Some(_) => Err(BadSetting(format!(
                    "argument must be between {min} and {max} inclusive"
                ))),
                None => Err(BadSetting("argument couldn't be parsed as a number".into())),
            }
        }
        SettingKind::Choice { .. } => settings.set_text(setting.name, &value.to_ascii_lowercase()),
        SettingKind::Text { .. } => settings.set_text(setting.name, value),
    }
}

/// `64mb` and the like, with the host's units.
fn memory_size(text: &str) -> Option<i64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit: i64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

fn register(ctx: Ctx<'_>, setting: &'static Setting, defaults: &Settings) -> bool {
    let name = c_string(setting.name);
    let data = (&raw const *setting).cast_mut().cast::<c_void>();
    let mut flags = raw::REDISMODULE_CONFIG_DEFAULT;
    if setting.immutable {
        flags |= raw::REDISMODULE_CONFIG_IMMUTABLE;
    }
    let value = defaults.get(setting.name);
    // SAFETY: strings for the time of the call, which the host copies;
    // callbacks of the right types, and data that lives for ever.
    let told = unsafe {
        match (setting.kind, value) {
            (SettingKind::Bool { .. }, Some(SettingValue::Bool(default))) => {
                host!(RedisModule_RegisterBoolConfig(
                    ctx.as_ptr(),
                    name.as_ptr(),
                    c_int::from(default),
                    flags,
                    Some(get_bool),
                    Some(set_bool),
                    None,
                    data
                ))
            }
            (
                SettingKind::Number {
                    min, max, memory, ..
                },
                Some(SettingValue::Number(default)),
            ) => {
                if memory {
                    flags |= raw::REDISMODULE_CONFIG_MEMORY;
                }
                host!(RedisModule_RegisterNumericConfig(
                    ctx.as_ptr(),
                    name.as_ptr(),
                    default,
                    flags,
                    min,
                    max,
                    Some(get_number),
                    Some(set_number),
                    None,
                    data
                ))
            }
            (SettingKind::Choice { words, .. }, Some(SettingValue::Text(default))) => {
                let names: Vec<_> = words.iter().map(|w| c_string(w)).collect();
                let mut names: Vec<*const c_char> = names.iter().map(|w| w.as_ptr()).collect();
                let numbers: Vec<c_int> = (0..words.len() as c_int).collect();
                host!(RedisModule_RegisterEnumConfig(
                    ctx.as_ptr(),
                    name.as_ptr(),
                    number_of(words, default),
                    flags,
                    names.as_mut_ptr(),
                    numbers.as_ptr(),
                    words.len() as c_int,
                    Some(get_choice),
                    Some(set_choice),
                    None,
                    data
                ))
            }
            (SettingKind::Text { .. }, Some(SettingValue::Text(default))) => {
                let default = c_string(default);
                host!(RedisModule_RegisterStringConfig(
                    ctx.as_ptr(),
                    name.as_ptr(),
                    default.as_ptr(),
                    flags,
                    Some(get_text),
                    Some(set_text),
                    None,
                    data
                ))
            }
            _ => ERR,
        }
    };
    told == OK
}

fn number_of(words: &[&str], word: &str) -> c_int {
    words.iter().position(|w| *w == word).unwrap_or(0) as c_int
}

/// The setting behind a callback's data.
fn setting(data: *mut c_void) -> &'static Setting {
    // SAFETY: `register` gave the host a reference that lives for ever.
    unsafe { &*data.cast::<Setting>() }
}

/// Looks at a value.
fn look<R>(data: *mut c_void, other: R, work: impl FnOnce(SettingValue<'_>) -> R) -> R {
    with_draft(|draft| draft.settings.get(setting(data).name).map(work))
        .flatten()
        .unwrap_or(other)
}

/// Takes a value, or says why not.
fn take(
    error: *mut *mut raw::RedisModuleString,
    work: impl FnOnce(&mut Settings) -> Result<(), BadSetting>,
) -> c_int {
    let busy = Some(Err(BadSetting("settings are in use".into())));
    let result = crate::guarded(busy, || {
        with_draft(|draft| {
            let result = work(&mut draft.settings);
            draft.changed |= result.is_ok();
            result
        })
    });
    match result {
        Some(Ok(())) => OK,
        Some(Err(BadSetting(text))) => {
            // SAFETY: the host gives room for one string, which it frees.
            unsafe { error.write(HostString::new(text.as_bytes()).into_raw()) };
            ERR
        }
        None => ERR,
    }
}

extern "C" fn get_bool(_: *const c_char, data: *mut c_void) -> c_int {
    look(data, 0, |v| {
        c_int::from(matches!(v, SettingValue::Bool(true)))
    })
}

extern "C" fn set_bool(
    _: *const c_char,
    value: c_int,
    data: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    take(error, |s| s.set_bool(setting(data).name, value != 0))
}

extern "C" fn get_number(_: *const c_char, data: *mut c_void) -> c_longlong {
    look(data, 0, |v| match v {
        SettingValue::Number(n) => n,
        _ => 0,
    })
}

extern "C" fn set_number(
    _: *const c_char,
    value: c_longlong,
    data: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    take(error, |s| s.set_number(setting(data).name, value))
}

fn words(data: *mut c_void) -> &'static [&'static str] {
    match setting(data).kind {
        SettingKind::Choice { words, .. } => words,
        _ => &[],
    }
}

extern "C" fn get_choice(_: *const c_char, data: *mut c_void) -> c_int {
    look(data, 0, |v| match v {
        SettingValue::Text(word) => number_of(words(data), word),
        _ => 0,
    })
}

extern "C" fn set_choice(
    _: *const c_char,
    value: c_int,
    data: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    let word = words(data).get(value as usize).copied().unwrap_or_default();
    take(error, |s| s.set_text(setting(data).name, word))
}

extern "C" fn get_text(_: *const c_char, data: *mut c_void) -> *mut raw::RedisModuleString {
    let position = SETTINGS.iter().position(|s| std::ptr::eq(s, setting(data)));
    with_draft(|draft| {
        let text = match draft.settings.get(setting(data).name) {
            Some(SettingValue::Text(text)) => HostString::new(text.as_bytes()),
            _ => HostString::new(b""),
        };
        let position = position.unwrap_or(0);
        while draft.shown.len() <= position {
            draft.shown.push(HostString::new(b""));
        }
        draft.shown[position] = text;
        draft.shown[position].as_ptr()
    })
    .unwrap_or(null_mut())
}

extern "C" fn set_text(
    _: *const c_char,
    value: *mut raw::RedisModuleString,
    data: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    // SAFETY: the host's string is valid until the callback returns.
    let value = unsafe { ffi::bytes(value) };
    take(error, |s| match str::from_utf8(value) {
        Ok(value) => s.set_text(setting(data).name, value),
        Err(_) => Err(BadSetting("argument must be UTF-8".into())),
    })
}
