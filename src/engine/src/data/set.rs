//! Sets: packed in the key's allocation while small, else a segmented table.

use super::entry::Payload;
use super::packed;
use super::value::Value;

/// Visits the members, in no order that means anything.
pub fn for_each(payload: Payload<'_>, visit: &mut dyn FnMut(&[u8])) {
    match payload {
        Payload::Small(bytes) => packed::elements(bytes).for_each(visit),
        Payload::Large(Value::Set(table)) => table.iter().for_each(|m| visit(m)),
        Payload::Large(_) => {}
    }
}
