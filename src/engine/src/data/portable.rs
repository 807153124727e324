//! A value as bytes that travel from one server to another: what DUMP gives
//! and RESTORE takes.
//!
//! | | |
//! |---|---|
//! | u8 | kind |
//! | u8 | flags; 1: behind each value of a hash stands when the field ends (see [`hash`]) |
//! | varint | how many items; bytes of a string |
//! | | items, as in packed values |
//! | u16 le | version of this layout, 1 |
//! | u64 le | CRC-64/XZ of all before |

use super::entry::Entry;
use super::list::{self, End};
use super::packed::{self, push_element, push_score, push_varint};
use super::stream::{Stream, parts};
use super::value::{Kind, Limits, Value};
use super::{hash, set, string, zset};
use crate::base::checksum::crc64;
use crate::base::hash::HashKey;

const VERSION: u16 = 1;
const TRAILER_LEN: usize = 10;

/// Why bytes are no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Of another version, cut short or damaged.
    Checksum,
    /// Whole, but they make no sense.
    Nonsense,
}

/// The value of `entry`, without its key and expiry.
pub fn encode(entry: &Entry) -> Vec<u8> {
    let payload = entry.payload();
    let mut out = vec![entry.kind() as u8, 0];
    match entry.kind() {
        Kind::String => {
            let bytes = string::bytes(entry);
            push_varint(&mut out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        Kind::List => {
            push_varint(&mut out, list::len(payload) as u64);
            list::for_each(payload, &mut |element| push_element(&mut out, element));
        }
        Kind::Set => {
            push_varint(&mut out, set::len(payload) as u64);
            set::for_each(payload, &mut |member| push_element(&mut out, member));
        }
        Kind::Hash => {
            push_varint(&mut out, hash::len(payload) as u64);
            let ending = hash::expiry::any(payload);
            out[1] = u8::from(ending);
            hash::expiry::for_each(payload, &mut |field, value, ends| {
                push_element(&mut out, field);
                push_element(&mut out, value);
                if ending {
                    hash::expiry::push(&mut out, ends);
                }
            });
        }
        Kind::Zset => {
            push_varint(&mut out, zset::View::of(entry).len() as u64);
            zset::for_each(payload, &mut |score, member| {
                push_score(&mut out, score);
                push_element(&mut out, member);
            });
        }
        Kind::Stream => {
            if let Some(stream) = Stream::of(entry) {
                push_varint(&mut out, parts::count(stream));
                parts::for_each(stream, &mut |write| write(&mut out));
            }
        }
    }
    out.extend_from_slice(&VERSION.to_le_bytes());
    let crc = crc64(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// The value in `bytes`, under `key`.
///
/// # Errors
/// See [`Refused`].
pub fn decode(bytes: &[u8], key: &[u8], limits: &Limits, seed: HashKey) -> Result<Entry, Refused> {
    let split = bytes.len().checked_sub(TRAILER_LEN);
    let (body, trailer) = bytes.split_at(split.ok_or(Refused::Checksum)?);
    let signed = bytes.len() - 8;
    if trailer[..2] != VERSION.to_le_bytes()
        || trailer[2..] != crc64(&bytes[..signed]).to_le_bytes()
    {
        return Err(Refused::Checksum);
    }
    value(body, key, limits, seed).ok_or(Refused::Nonsense)
}

fn value(body: &[u8], key: &[u8], limits: &Limits, seed: HashKey) -> Option<Entry> {
    let [kind, flags @ 0..=1, rest @ ..] = body else {
        return None;
    };
    let kind = Kind::from_u8(*kind)?;
    let ending = *flags == 1;
    if ending && kind != Kind::Hash {
        return None;
    }
    let (total, n) = packed::read_varint(rest)?;
    let mut items = &rest[n..];
    let total = usize::try_from(total).ok()?;
    // An item takes a byte at least: nothing is allocated for more than there
    // can be.
    if total > items.len() {
        return None;
    }
    if kind == Kind::String {
        let whole = total == items.len();
        return whole.then(|| string::entry(key, items, None, limits.string_max_small));
    }
    if kind == Kind::Stream {
        let mut builder = parts::Builder::default();
        for _ in 0..total {
            items = &items[builder.add(items)?..];
        }
        let stream = builder.finish().filter(|_| items.is_empty())?;
        return Some(Entry::large(key, None, Value::Stream(Box::new(stream))));
    }
    let mut element = || {
        let (element, n) = packed::read_element(items)?;
        items = &items[n..];
        Some(element)
    };
    let entry = match kind {
        Kind::List | Kind::Set => {
            let elements: Vec<&[u8]> = (0..total).map(|_| element()).collect::<Option<_>>()?;
            if kind == Kind::List {
                (total > 0).then(|| list::entry(key, End::Tail, &elements, limits))?
            } else {
                let (entry, added) = set::create(key, &elements, limits, seed);
                (added == total).then_some(entry)?
            }
        }
        Kind::Hash => {
            let (mut pairs, mut times) = (Vec::new(), Vec::new());
            for _ in 0..total {
                let field = element()?;
                pairs.extend([field, element()?]);
                if ending {
                    let time = element()?;
                    hash::expiry::is_well_formed(time).then_some(())?;
                    times.extend(hash::expiry::read(time).map(|at| (field, at)));
                }
            }
            let (mut entry, added) = hash::create(key, &pairs, limits, seed);
            for (field, at) in times {
                hash::expiry::set(&mut entry, field, Some(at));
            }
            (added == total).then_some(entry)?
        }
        _ => {
            let mut members: Vec<(f64, &[u8])> = Vec::with_capacity(total);
            for _ in 0..total {
                let (score, n) = packed::read_score(items)?;
                let (member, m) = packed::read_element(&items[n..])?;
                items = &items[n + m..];
                members.push((score, member));
            }
            let ascends = |pair: &[(f64, &[u8])]| {
                let ((a, m), (b, n)) = (pair[0], pair[1]);
                a < b || (a == b && m < n)
            };
            let mut names: Vec<&[u8]> = members.iter().map(|(_, member)| *member).collect();
            names.sort_unstable();
            if !members.windows(2).all(ascends) || names.windows(2).any(|two| two[0] == two[1]) {
                return None;
            }
            zset::build(key, limits, seed, || members.iter().copied())?
        }
    };
    (total > 0 && items.is_empty()).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Seed;
    use crate::data::text;

    fn examples(n: usize, limits: &Limits, seed: HashKey) -> Vec<Entry> {
        let words: Vec<Vec<u8>> = (0..2 * n).map(|i| format!("{i}").into()).collect();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut ending = hash::create(b"k", &words, limits, seed).0;
        hash::expiry::set(&mut ending, b"0", Some(77));
        let scored = || (0..n).map(|i| (i as f64 / 4.0, words[i]));
        vec![
            string::entry(b"k", &words.concat(), None, limits.string_max_small),
            list::entry(b"k", End::Tail, &words, limits),
            set::of(b"k", &words, limits, seed),
            hash::create(b"k", &words, limits, seed).0,
            zset::build(b"k", limits, seed, scored).unwrap(),
            ending,
        ]
    }

    #[test]
    fn values_come_back_and_damage_is_found() {
        let limits = Limits::default();
        let seed = Seed([3; 16]).into();
        for n in [1, 20, 3000] {
            for entry in examples(n, &limits, seed) {
                let bytes = encode(&entry);
                let back = decode(&bytes, b"other", &limits, seed).unwrap();
                assert_eq!(back.key(), b"other");
                let show = |e: &Entry| text::describe(e.payload(), e.kind());
                assert_eq!(show(&back), show(&entry));
                for at in (0..bytes.len()).step_by(1 + bytes.len() / 40) {
                    let mut bad = bytes.clone();
                    bad[at] ^= 1;
                    let error = decode(&bad, b"k", &limits, seed).err();
                    assert_eq!(error, Some(Refused::Checksum));
                    let error = decode(&bytes[..at], b"k", &limits, seed).err();
                    assert_eq!(error, Some(Refused::Checksum));
                }
            }
        }
    }

    #[test]
    fn nonsense_with_a_checksum_is_refused() {
        let limits = Limits::default();
        let seed = Seed([3; 16]).into();
        for body in [
            &b""[..],
            b"\x00",
            b"\x09\x00\x00",
            b"\x00\x01\x01a",
            b"\x00\x02\x01a",
            b"\x04\x01\x01\x01a\x01b\x01c",
            b"\x00\x00\x02a",
            b"\x01\x00\x00",
            b"\x01\x00\x01\x05a",
            b"\x01\x00\x01\x01ab",
            b"\x02\x00\x02\x01a\x01a",
            b"\x04\x00\x01\x01a",
            b"\x04\x00\xff\xff\xff\xff\x0f\x01a",
            b"\x03\x00\x02\x04\x01b\x04\x01a",
            b"\x03\x00\x02\x04\x01a\x08\x01a",
        ] {
            let mut bytes = [body, &VERSION.to_le_bytes()].concat();
            let crc = crc64(&bytes);
            bytes.extend_from_slice(&crc.to_le_bytes());
            let error = decode(&bytes, b"k", &limits, seed).err();
            assert_eq!(error, Some(Refused::Nonsense), "{}", body.escape_ascii());
        }
    }
}
