//! Strings: small ones share their key's allocation, long ones are a `Vec`
//! that appends in amortised constant time.

use super::entry::{Entry, Payload};
use super::value::{Kind, Value};

/// A string's bytes; empty for any other kind.
#[inline]
pub fn bytes(entry: &Entry) -> &[u8] {
    match entry.payload() {
        Payload::Small(bytes) => bytes,
        Payload::Large(Value::Str(bytes)) => bytes,
        Payload::Large(_) => &[],
    }
}

/// A new string entry.
pub fn entry(key: &[u8], value: &[u8], expiry: Option<u64>, max_small: usize) -> Entry {
    if value.len() <= max_small {
        Entry::small(Kind::String, key, expiry, &[value])
    } else {
        Entry::large(key, expiry, Value::Str(value.to_vec()))
    }
}
