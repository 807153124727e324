//! Values as text, for tests and tools that show them.

use super::entry::Payload;
use super::value::{Kind, Value};
use super::{hash, list, set, zset};

/// A readable form that is equal for equal values, whatever their encoding.
pub fn describe(payload: Payload<'_>, kind: Kind) -> String {
    let mut parts = Vec::new();
    match kind {
        Kind::String => match payload {
            Payload::Small(bytes) => parts.push(bytes.escape_ascii().to_string()),
            Payload::Large(Value::Str(bytes)) => parts.push(bytes.escape_ascii().to_string()),
            Payload::Large(_) => {}
        },
        Kind::List => list::for_each(payload, &mut |e| parts.push(e.escape_ascii().to_string())),
        Kind::Zset => zset::for_each(payload, &mut |s, m| {
            parts.push(format!("{s}:{}", m.escape_ascii()))
        }),
        Kind::Set => {
            set::for_each(payload, &mut |m| parts.push(m.escape_ascii().to_string()));
            parts.sort();
        }
        Kind::Hash => {
            hash::expiry::for_each(payload, &mut |f, v, ends| {
                let ends = ends.map_or(String::new(), |at| format!("@{at}"));
                parts.push(format!("{}:{}{ends}", f.escape_ascii(), v.escape_ascii()))
            });
            parts.sort();
        }
    }
    format!("{} [{}]", kind.name(), parts.join(", "))
}
