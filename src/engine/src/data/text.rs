//! Values as text, for tests and tools that show them.

use super::entry::Payload;
use super::value::{Kind, Value};
use super::{hash, list, set, stream::Stream, zset};

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
        Kind::Stream => {
            if let Payload::Large(Value::Stream(stream)) = payload {
                describe_stream(stream, &mut parts);
            }
        }
    }
    format!("{} [{}]", kind.name(), parts.join(", "))
}

/// All of a stream but when consumers were seen, which may be lost.
fn describe_stream(stream: &Stream, parts: &mut Vec<String>) {
    let entries = &stream.entries;
    parts.push(format!(
        "last {} deleted {} added {}",
        entries.last_id, entries.max_deleted, entries.added
    ));
    for item in entries.iter() {
        let pairs = item
            .pairs()
            .map(|(f, v)| format!(" {}:{}", f.escape_ascii(), v.escape_ascii()));
        parts.push(format!("{}{}", item.id, pairs.collect::<String>()));
    }
    for (name, group) in &stream.groups {
        parts.push(format!(
            "group {} last {} read {:?}",
            name.escape_ascii(),
            group.last_id,
            group.entries_read
        ));
        let names = group.consumers().keys();
        parts.extend(names.map(|name| format!("consumer {}", name.escape_ascii())));
        for (id, pending) in group.pending() {
            parts.push(format!(
                "pending {id} {} at {} times {}",
                pending.consumer().escape_ascii(),
                pending.delivered_ms,
                pending.deliveries
            ));
        }
    }
}
