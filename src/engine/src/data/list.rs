//! Lists: packed in the key's allocation while small, else in chunks.

use super::entry::Payload;
use super::packed;
use super::value::Value;

/// Visits the elements from the head.
pub fn for_each(payload: Payload<'_>, visit: &mut dyn FnMut(&[u8])) {
    match payload {
        Payload::Small(bytes) => packed::elements(bytes).for_each(visit),
        Payload::Large(Value::List(list)) => list.iter_from(0).for_each(visit),
        Payload::Large(_) => {}
    }
}
