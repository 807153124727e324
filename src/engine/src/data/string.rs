//! Strings: small ones share their key's allocation, long ones are a `Vec`
//! that appends in amortised constant time.

use super::entry::{Entry, Payload};
use super::value::{Kind, Value};

/// What lies between the end of a small string and a write beyond it.
static ZEROS: [u8; 16384] = [0; 16384];

/// A string's bytes; empty for any other kind.
#[inline]
pub fn bytes(entry: &Entry) -> &[u8] {
    match entry.payload() {
        Payload::Small(bytes) => bytes,
        Payload::Large(Value::Str(bytes)) => bytes,
        Payload::Large(_) => &[],
    }
}

/// A string's bytes, for changes that keep their number.
pub fn bytes_mut(entry: &mut Entry) -> Option<&mut [u8]> {
    match entry {
        Entry::Small(small) if small.kind() == Kind::String => Some(small.payload_mut()),
        Entry::Large(object) => match &mut object.value {
            Value::Str(bytes) => Some(bytes),
            _ => None,
        },
        Entry::Small(_) => None,
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

/// A new string entry of `at` zeros and `part`, without expiry.
pub fn entry_at(key: &[u8], at: usize, part: &[u8], max_small: usize) -> Entry {
    match ZEROS.get(..at) {
        Some(zeros) if at + part.len() <= max_small => {
            Entry::small(Kind::String, key, None, &[zeros, part])
        }
        _ => {
            let mut bytes = Vec::with_capacity(at + part.len());
            overwrite(&mut bytes, at, part);
            Entry::large(key, None, Value::Str(bytes))
        }
    }
}

/// Gives a string another value: in place when it is as long as the one
/// before, else by one allocation.
pub fn replace(entry: &mut Entry, value: &[u8], max_small: usize) {
    match entry {
        Entry::Small(small) if value.len() <= max_small => {
            small.splice(0, small.payload().len(), &[value]);
        }
        Entry::Small(_) => entry.promote(Value::Str(value.to_vec())),
        Entry::Large(object) => {
            if let Value::Str(bytes) = &mut object.value {
                bytes.clear();
                bytes.extend_from_slice(value);
            }
        }
    }
}

/// Adds `tail` to the end of a string and returns its new length.
pub fn append(entry: &mut Entry, tail: &[u8], max_small: usize) -> usize {
    let at = bytes(entry).len();
    write_at(entry, at, tail, max_small)
}

/// Writes `part` over a string from `at` on, with zeros between its end and
/// `at` if there is a gap, and returns its new length.
pub fn write_at(entry: &mut Entry, at: usize, part: &[u8], max_small: usize) -> usize {
    let end = at + part.len();
    match entry {
        Entry::Small(small) => {
            let len = small.payload().len();
            let gap = at.saturating_sub(len);
            if end.max(len) <= max_small && gap <= ZEROS.len() {
                let from = at.min(len);
                small.splice(from, end.min(len) - from, &[&ZEROS[..gap], part]);
            } else {
                let mut grown = Vec::with_capacity(end.max(len));
                grown.extend_from_slice(small.payload());
                overwrite(&mut grown, at, part);
                entry.promote(Value::Str(grown));
            }
        }
        Entry::Large(object) => {
            if let Value::Str(bytes) = &mut object.value {
                overwrite(bytes, at, part);
            }
        }
    }
    bytes(entry).len()
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    if bytes.len() < at {
        bytes.resize(at, 0);
    }
    let inside = part.len().min(bytes.len() - at);
    bytes[at..at + inside].copy_from_slice(&part[..inside]);
    bytes.extend_from_slice(&part[inside..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_agree_in_both_forms_and_across_promotion() {
        let old = b"hello";
        for at in 0..9 {
            for part in [&b""[..], b"x", b"yyyy", b"zzzzzzzzzz"] {
                let mut want = old.to_vec();
                want.resize(want.len().max(at + part.len()).max(at), 0);
                want[at..at + part.len()].copy_from_slice(part);
                for max_small in [0, 5, 6, 8, 100] {
                    for start in [0, 100] {
                        let mut e = entry(b"k", old, Some(9), start);
                        let len = write_at(&mut e, at, part, max_small);
                        assert_eq!((bytes(&e), len), (&want[..], want.len()));
                        assert_eq!((e.key(), e.expiry()), (&b"k"[..], Some(9)));
                        replace(&mut e, part, max_small);
                        assert_eq!(bytes(&e), part);
                        assert_eq!(append(&mut e, b"ab", max_small), part.len() + 2);
                        assert!(bytes(&e).ends_with(b"ab"));
                    }
                }
            }
        }
    }

    #[test]
    fn a_new_string_behind_zeros() {
        for (at, max_small) in [(0, 9), (3, 9), (3, 2), (20_000, 1 << 20)] {
            let e = entry_at(b"k", at, b"ab", max_small);
            assert_eq!(bytes(&e).len(), at + 2);
            assert!(bytes(&e)[..at].iter().all(|b| *b == 0));
            assert!(bytes(&e).ends_with(b"ab"));
        }
    }

    #[test]
    fn a_gap_longer_than_the_zeros_at_hand() {
        let mut e = entry(b"k", b"a", None, 1 << 20);
        assert_eq!(write_at(&mut e, 20_000, b"b", 1 << 20), 20_001);
        assert!(bytes(&e)[1..20_000].iter().all(|b| *b == 0));
    }
}
