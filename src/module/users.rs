//! What ACL users may do: a routed command is checked under its durable
//! name, which rules made for the plain one don't allow by themselves.

use persist_engine::command::{Spec, table};

use crate::call::Answer;
use crate::ffi::Ctx;

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
    let lacking = table::all().filter(|spec| {
        let durable = format!("persist.{}", spec.name);
        !spec.keys.is_empty()
            && may_run(ctx, user, spec, spec.name.as_bytes())
            && !may_run(ctx, user, spec, durable.as_bytes())
    });
    Some(lacking.collect())
}

/// Whether a user may run the command, on keys it may touch.
fn may_run(ctx: Ctx<'_>, user: &[u8], spec: &Spec, name: &[u8]) -> bool {
    let mut args = vec![&b"DRYRUN"[..], user, name];
    // Any key will do, and a 1 is also a number of keys.
    args.resize(2 + spec.arity.unsigned_abs() as usize, b"1");
    match ctx.call(c"ACL", &args) {
        // Whether the key is the reason is said in words only.
        Answer::Text(text) => !text.windows(10).any(|part| part == b"to run the"),
        _ => false,
    }
}

/// The command that gives a user what it lacks.
pub fn rules(user: &[u8], lacking: &[&Spec]) -> Vec<u8> {
    let mut line = b"ACL SETUSER ".to_vec();
    line.extend_from_slice(user);
    for spec in lacking {
        line.extend_from_slice(b" +persist.");
        line.extend(spec.name.bytes().map(|b| b.to_ascii_lowercase()));
    }
    line
}
