//! Hashes: packed in the key's allocation while small, fields and values in
//! turn in the order they came, else a segmented table.

use super::entry::Payload;
use super::packed;
use super::table::Item;
use super::value::Value;

/// Visits fields and values.
pub fn for_each(payload: Payload<'_>, visit: &mut dyn FnMut(&[u8], &[u8])) {
    match payload {
        Payload::Small(bytes) => {
            let mut walk = packed::elements(bytes);
            while let (Some(field), Some(value)) = (walk.next(), walk.next()) {
                visit(field, value);
            }
        }
        Payload::Large(Value::Hash(table)) => {
            table.iter().for_each(|f| visit(Item::key(f), f.payload()))
        }
        Payload::Large(_) => {}
    }
}
