//! What ACL users may do: a routed command is checked under its durable
//! name, which rules made for the plain one don't allow by themselves.

use std::ffi::c_int;

use persist_engine::command::{Flags, Spec, table};
use redis_module::raw;

use crate::admin::COMMANDS;
use crate::call::Answer;
use crate::command::{self, Registration};
use crate::ffi::{self, Ctx, host};

/// The names of all users.
pub fn all(ctx: Ctx<'_>) -> Vec<Vec<u8>> {
    let users = ctx.call(c"ACL", &[b"USERS"]).list();
    users
        .iter()
        .filter_map(|user| user.text().map(<[u8]>::to_vec))
        .collect()
}

/// Whether a user may log in.
pub fn is_on(ctx: Ctx<'_>, user: &[u8]) -> bool {
    let about = ctx.call(c"ACL", &[b"GETUSER", user]).list();
    // Field and value in turn; the flags come first.
    let flags = about.into_iter().nth(1).map(Answer::list);
    flags.is_some_and(|flags| flags.iter().any(|flag| flag.text() == Some(b"on")))
}

/// The commands with keys that `user` may run in their plain form but not in
/// the durable one; `None` if there is no such user.
pub fn lacking(ctx: Ctx<'_>, user: &[u8]) -> Option<Vec<&'static Spec>> {
    if ctx.call(c"ACL", &[b"GETUSER", user]) == Answer::Nil {
        return None;
    }
    let lacks = |spec: &Spec| {
        let durable = format!("persist.{}", spec.name);
        // Any key will do, and a 1 is also a number of keys.
        let words = vec!["1".to_owned(); spec.arity.unsigned_abs() as usize - 1];
        let forms = match may_run(ctx, user, spec.name, &words) {
            Some(_) => vec![words],
            // A 1 is no subcommand, though.
            None => subcommands(ctx, spec.name),
        };
        forms.iter().any(|words| {
            may_run(ctx, user, spec.name, words) == Some(true)
                && may_run(ctx, user, &durable, words) == Some(false)
        })
    };
    let keyed = table::all().filter(|spec| !spec.keys.is_empty());
    Some(keyed.filter(|spec| lacks(spec)).collect())
}

/// The commands that `user` may run in their durable form, but not in the
/// plain one: on Redis 7.0, which knows no categories of a module's commands,
/// rules such as `-@dangerous` and `-@write` take none of them away.
pub fn excess(ctx: Ctx<'_>, user: &[u8]) -> Vec<&'static str> {
    let allows = |name: &str, arity: i32| {
        let words = vec!["1".to_owned(); arity.unsigned_abs() as usize - 1];
        may_run(ctx, user, name, &words)
    };
    let durable = |name: &str, arity: i32| {
        let name = format!("persist.{name}");
        allows(&name, arity) == Some(true)
    };
    let plain = |spec: &Spec| match allows(spec.name, spec.arity) {
        Some(allowed) => allowed,
        None => {
            let forms = subcommands(ctx, spec.name);
            if forms.is_empty() {
                // Of a later version: as what every version has.
                let (known, arity) = match spec.flags.has(Flags::WRITE) {
                    true => ("HSET", 4),
                    false => ("HGETALL", 2),
                };
                return allows(known, arity) == Some(true);
            }
            let mut forms = forms.iter();
            forms.any(|words| may_run(ctx, user, spec.name, words) == Some(true))
        }
    };
    let data = table::all()
        .filter(|spec| durable(spec.name, spec.arity) && !plain(spec))
        .map(|spec| spec.name);
    let admin = COMMANDS.iter().filter(|command| {
        let mut line = command.like.into_iter().flat_map(|line| line.split(' '));
        let like = line.next().and_then(|name| {
            let words: Vec<String> = line.map(str::to_owned).collect();
            may_run(ctx, user, name, &words)
        });
        durable(command.name, command.arity) && like == Some(false)
    });
    data.chain(admin.map(|command| command.name)).collect()
}

/// Whether a user may run the command, on keys it may touch; `None` if the
/// server knows no such command.
fn may_run(ctx: Ctx<'_>, user: &[u8], name: &str, words: &[String]) -> Option<bool> {
    let mut args = vec![&b"DRYRUN"[..], user, name.as_bytes()];
    args.extend(words.iter().map(|word| word.as_bytes()));
    match ctx.call(c"ACL", &args) {
        // Whether the key is the reason is said in words only.
        Answer::Text(text) => Some(!text.windows(10).any(|part| part == b"to run the")),
        _ => None,
    }
}

/// Arguments for each subcommand with a key of a command of the host's.
fn subcommands(ctx: Ctx<'_>, name: &str) -> Vec<Vec<String>> {
    let about = ctx.call(c"COMMAND", &[b"INFO", name.as_bytes()]).list();
    let about = about.into_iter().next().map(Answer::list);
    // Name and arity come first in it, the first key fourth, subcommands tenth,
    // which are of the same shape.
    let all = about.and_then(|about| about.into_iter().nth(9));
    let forms = all.map(Answer::list).unwrap_or_default();
    let forms = forms.into_iter().filter_map(|one| match &one.list()[..] {
        [
            Answer::Text(name),
            Answer::Int(arity),
            _,
            Answer::Int(1..),
            ..,
        ] => {
            let name = String::from_utf8_lossy(name);
            let (_, subcommand) = name.split_once('|')?;
            let more = (arity.unsigned_abs() as usize).saturating_sub(2);
            let mut words = vec![subcommand.to_owned()];
            words.resize(1 + more, "1".to_owned());
            Some(words)
        }
        _ => None,
    });
    forms.collect()
}

/// The command that gives a user what it lacks, and takes what it has too much.
pub fn rules(user: &[u8], lacking: &[&Spec], excess: &[&str]) -> Vec<u8> {
    let mut line = b"ACL SETUSER ".to_vec();
    line.extend_from_slice(user);
    let more = lacking.iter().map(|spec| ('+', spec.name));
    let less = excess.iter().map(|name| ('-', *name));
    for (sign, name) in more.chain(less) {
        let rule = format!(" {sign}persist.{}", name.to_ascii_lowercase());
        line.extend_from_slice(rule.as_bytes());
    }
    line
}

/// Registers the command that tells who is asking. The host knows the user
/// of a command, but ends with a crash if there is none and it is asked for
/// its name; a command that we run as that user always has one.
///
/// # Errors
/// The host refused it.
pub fn register(ctx: Ctx<'_>) -> Result<(), String> {
    command::register_one(
        ctx,
        &Registration {
            name: "_USER",
            entry: tell_user,
            flags: "no-auth fast allow-loading allow-stale",
            categories: "fast",
            arity: 1,
            keys: &[],
            syntax: "",
            since: "1.0.0",
            complexity: "O(1)",
            summary: "Replies the name of the user that runs it, for the module itself.",
        },
    )
}

extern "C" fn tell_user(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    crate::guarded((), || {
        // SAFETY: a command's context; the name is a string of its own, freed
        // once, after its last use.
        unsafe {
            let name = host!(RedisModule_GetCurrentUserName(ctx));
            host!(RedisModule_ReplyWithString(ctx, name));
            host!(RedisModule_FreeString(ctx, name));
        }
    });
    raw::REDISMODULE_OK as c_int
}

/// Whether the user of this command may read every key, by rules that allow
/// the command itself, too. Who has no user (a module, a script of one) may.
#[cold]
pub fn reads_all_keys(ctx: Ctx<'_>, argv: &[*mut raw::RedisModuleString]) -> bool {
    let user = match ctx.call_as_user(c"persist._user", &[]) {
        Answer::Text(name) => name,
        Answer::Error(why) => return why.contains("run as user"),
        _ => return false,
    };
    let about = Rules::of(&ctx.call(c"ACL", &[b"GETUSER", &user]));
    let more: Vec<Rules> = about.selectors.iter().map(Rules::of).collect();
    if more.is_empty() {
        return about.read_all();
    }
    // The host doesn't say by which of them it let the command through.
    let mut all = more.iter().chain([&about]);
    all.any(|rules| rules.read_all() && rules.allow(argv))
}

/// The rules of a user, or of a selector of one.
#[derive(Default)]
struct Rules {
    commands: String,
    keys: String,
    selectors: Vec<Answer>,
}

impl Rules {
    /// From fields and values in turn, as ACL GETUSER gives them.
    fn of(about: &Answer) -> Rules {
        let mut rules = Rules::default();
        let about = about.clone().list();
        for pair in about.chunks_exact(2) {
            let text = || String::from_utf8_lossy(pair[1].text().unwrap_or_default()).into_owned();
            match pair[0].text() {
                Some(b"commands") => rules.commands = text(),
                Some(b"keys") => rules.keys = text(),
                Some(b"selectors") => rules.selectors = pair[1].clone().list(),
                _ => {}
            }
        }
        rules
    }

    fn read_all(&self) -> bool {
        let mut keys = self.keys.split(' ');
        keys.any(|rule| ["~*", "%R~*", "%RW~*", "%WR~*", "allkeys"].contains(&rule))
    }

    /// Whether a user with these rules alone may run the command.
    fn allow(&self, argv: &[*mut raw::RedisModuleString]) -> bool {
        // SAFETY: a user of our own, freed once; C strings; and the strings
        // of a command.
        unsafe {
            let user = host!(RedisModule_CreateModuleUser(c"persist".as_ptr()));
            for rule in self.commands.split(' ').chain(self.keys.split(' ')) {
                let rule = ffi::c_string(rule);
                host!(RedisModule_SetModuleUserACL(user, rule.as_ptr()));
            }
            let allowed = host!(RedisModule_ACLCheckCommandPermissions(
                user,
                argv.as_ptr().cast_mut(),
                argv.len() as c_int
            ));
            host!(RedisModule_FreeModuleUser(user));
            allowed == raw::REDISMODULE_OK as c_int
        }
    }
}
