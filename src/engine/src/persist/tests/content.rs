//! What an engine holds, as a test compares it.

use std::collections::BTreeMap;

use crate::data::text::describe;
use crate::testing::Rig;

/// Every key with its expiry and its value, by database and key.
pub type Content = BTreeMap<(u32, Vec<u8>), (Option<u64>, String)>;

/// What an engine holds.
pub fn content(rig: &Rig) -> Content {
    let dbs = rig.engine.space().databases();
    dbs.flat_map(|(db, table)| {
        table.iter().map(move |e| {
            let value = describe(e.payload(), e.kind());
            ((db, e.key().to_vec()), (e.expiry(), value))
        })
    })
    .collect()
}

/// Whether `found` is what is left of `state` without what is due: a start
/// reaps that.
pub fn is_alive_part(found: &Content, state: &Content, now: u64) -> bool {
    found == &alive(state, now)
}

/// What of `content` hasn't ended: keys, and fields of hashes.
pub fn alive(content: &Content, now: u64) -> Content {
    let keys = content
        .iter()
        .filter(|(_, (at, _))| at.is_none_or(|at| at > now));
    let left =
        keys.filter_map(|(key, (at, value))| Some((key.clone(), (*at, alive_fields(value, now)?))));
    left.collect()
}

/// A described value without fields that have ended; `None` if none is left.
fn alive_fields(value: &str, now: u64) -> Option<String> {
    let fields = value
        .strip_prefix("hash [")
        .and_then(|rest| rest.strip_suffix(']'));
    let Some(fields) = fields.filter(|fields| fields.contains('@')) else {
        return Some(value.to_string());
    };
    let ends = |field: &str| field.rsplit_once('@').and_then(|(_, at)| at.parse().ok());
    let left: Vec<&str> = fields
        .split(", ")
        .filter(|field| ends(field).is_none_or(|at: u64| at > now))
        .collect();
    (!left.is_empty()).then(|| format!("hash [{}]", left.join(", ")))
}
