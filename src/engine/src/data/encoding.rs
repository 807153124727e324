//! How Redis 7.0 would encode a value, in the words of OBJECT ENCODING.
//!
//! Hashes and sorted sets are packed by the same rules as Redis's listpacks,
//! so their form is the answer. For strings and sets the answer is what Redis
//! finds once it has loaded the value from disk; how a value came to be (by
//! SET or by APPEND) leaves no trace here.

use super::entry::{Entry, Payload};
use super::value::{Kind, Limits};
use super::{hash, set, string};
use crate::base::number;

/// Longest string, in bytes, that Redis puts into one allocation with its
/// object.
const EMBEDDED_MAX: usize = 44;
/// Longest text of an integer of 64 bits.
const INTEGER_MAX: usize = 20;

/// The word for the value's encoding.
pub fn of(entry: &Entry, limits: &Limits) -> &'static str {
    let payload = entry.payload();
    let packed = matches!(payload, Payload::Small(_));
    match entry.kind() {
        Kind::String => {
            let bytes = string::bytes(entry);
            if bytes.len() <= INTEGER_MAX && number::parse_i64(bytes).is_some() {
                "int"
            } else if bytes.len() <= EMBEDDED_MAX {
                "embstr"
            } else {
                "raw"
            }
        }
        Kind::List => "quicklist",
        Kind::Set => {
            let few = set::len(payload) <= limits.set_max_intset_entries;
            if few && set::members(payload).all(|m| number::parse_i64(m).is_some()) {
                "intset"
            } else {
                "hashtable"
            }
        }
        // A word of Redis 7.4.
        Kind::Hash if packed && hash::expiry::any(payload) => "listpackex",
        Kind::Hash | Kind::Zset if packed => "listpack",
        Kind::Hash => "hashtable",
        Kind::Zset => "skiplist",
        Kind::Stream => "stream",
    }
}
