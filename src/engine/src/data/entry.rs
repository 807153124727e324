//! An entry: a key with its expiry and its value, in one allocation while the
//! value is small.
//!
//! A small entry is one run of bytes:
//!
//! ```text
//! flags   u8       bits 0-3 kind, bit 4 an expiry follows; the rest 0
//! klen    varint   length of the key
//! expiry  u64 le   unix time in ms, only with bit 4
//! key     klen bytes
//! payload the rest: a string's bytes, or a packed collection (see `packed`)
//! ```
//!
//! The same bytes are a record's body in a snapshot, so saving a small entry
//! is a copy. A value that outgrows its packed form becomes a [`Object`].

use super::packed::{self, Varint};
use super::value::{Kind, Value};

const KIND_MASK: u8 = 0x0f;
const HAS_EXPIRY: u8 = 0x10;
const EXPIRY_LEN: usize = 8;

/// A key and its value.
#[derive(Debug)]
pub enum Entry {
    /// Everything in one allocation.
    Small(SmallEntry),
    /// The value has a structure of its own.
    Large(Box<Object>),
}

// A slot of the table is one of these: two words, or every key pays for it.
const _: () = assert!(size_of::<Entry>() == 16);

/// A key whose value has a structure of its own.
#[derive(Debug)]
pub struct Object {
    key: Box<[u8]>,
    expiry: Option<u64>,
    /// The value.
    pub value: Value,
}

/// The one-allocation form; see the layout above.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SmallEntry(Box<[u8]>);

/// Fills an empty slot of a table: no key at all, and no allocation.
impl Default for Entry {
    fn default() -> Self {
        Entry::Small(SmallEntry::default())
    }
}

/// Where things lie in a small entry.
#[derive(Debug, Clone, Copy)]
struct Layout {
    expiry: Option<usize>,
    key: usize,
    payload: usize,
}

/// A value as a reader sees it.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// A small value's bytes.
    Small(&'a [u8]),
    /// A large value.
    Large(&'a Value),
}

impl SmallEntry {
    /// Builds an entry; the payload is the concatenation of `parts`.
    pub fn new(kind: Kind, key: &[u8], expiry: Option<u64>, parts: &[&[u8]]) -> Self {
        let klen = Varint::new(key.len() as u64);
        let head = 1 + klen.as_bytes().len() + if expiry.is_some() { EXPIRY_LEN } else { 0 };
        let body: usize = parts.iter().map(|p| p.len()).sum();
        // Exact capacity: into_boxed_slice must not copy again.
        let mut bytes = Vec::with_capacity(head + key.len() + body);
        bytes.push(kind as u8 | if expiry.is_some() { HAS_EXPIRY } else { 0 });
        bytes.extend_from_slice(klen.as_bytes());
        if let Some(at) = expiry {
            bytes.extend_from_slice(&at.to_le_bytes());
        }
        bytes.extend_from_slice(key);
        for part in parts {
            bytes.extend_from_slice(part);
        }
        SmallEntry(bytes.into_boxed_slice())
    }

    /// Takes bytes from a snapshot, or `None` when they are not an entry.
    /// Every packed element is checked here, so that readers may rely on it.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let flags = *bytes.first()?;
        if flags & !(KIND_MASK | HAS_EXPIRY) != 0 {
            return None;
        }
        let kind = Kind::from_u8(flags & KIND_MASK)?;
        let (klen, n) = packed::read_varint(&bytes[1..])?;
        let key = 1
            + n
            + if flags & HAS_EXPIRY != 0 {
                EXPIRY_LEN
            } else {
                0
            };
        let payload = key.checked_add(usize::try_from(klen).ok()?)?;
        if !kind.is_packed_payload(bytes.get(payload..)?) {
            return None;
        }
        Some(SmallEntry(bytes.into()))
    }

    /// The bytes, as a snapshot stores them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[inline]
    fn layout(&self) -> Layout {
        let (flags, after, klen) = match &*self.0 {
            // Nearly every key is shorter than 128 bytes.
            [flags, klen, ..] if *klen < 0x80 => (*flags, 2, usize::from(*klen)),
            [flags, rest @ ..] => {
                let (klen, n) = packed::read_varint(rest).unwrap_or((0, 0));
                (*flags, 1 + n, klen as usize)
            }
            [] => (0, 0, 0),
        };
        if flags & HAS_EXPIRY == 0 {
            Layout {
                expiry: None,
                key: after,
                payload: after + klen,
            }
        } else {
            let key = after + EXPIRY_LEN;
            Layout {
                expiry: Some(after),
                key,
                payload: key + klen,
            }
        }
    }

    #[inline]
    pub(super) fn kind(&self) -> Kind {
        self.0
            .first()
            .and_then(|flags| Kind::from_u8(flags & KIND_MASK))
            .unwrap_or(Kind::String)
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        let at = self.layout();
        &self.0[at.key..at.payload]
    }

    /// Unix time in ms at which it ends, if any.
    #[inline]
    pub fn expiry(&self) -> Option<u64> {
        let at = self.layout().expiry?;
        let raw: [u8; 8] = self.0.get(at..at + EXPIRY_LEN)?.try_into().ok()?;
        Some(u64::from_le_bytes(raw))
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.0[self.layout().payload..]
    }

    /// The payload, for changes that keep its length.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let at = self.layout().payload;
        &mut self.0[at..]
    }

    /// Replaces `remove` bytes at `at` of the payload by the concatenation of
    /// `parts`: in place when the length stays, else by one new allocation.
    pub fn splice(&mut self, at: usize, remove: usize, parts: &[&[u8]]) {
        let start = self.layout().payload + at;
        let added: usize = parts.iter().map(|p| p.len()).sum();
        if added == remove {
            let mut to = start;
            for part in parts {
                self.0[to..to + part.len()].copy_from_slice(part);
                to += part.len();
            }
            return;
        }
        let mut bytes = Vec::with_capacity(self.0.len() - remove + added);
        bytes.extend_from_slice(&self.0[..start]);
        for part in parts {
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&self.0[start + remove..]);
        self.0 = bytes.into_boxed_slice();
    }

    /// Like [`splice`](Self::splice) for a packed collection, whose item
    /// count changes by `delta`.
    pub fn splice_items(&mut self, at: usize, remove: usize, parts: &[&[u8]], delta: isize) {
        self.splice(at, remove, parts);
        let payload = self.payload_mut();
        let mark = if packed::is_marked(payload) {
            packed::MARK
        } else {
            0
        };
        let n = packed::count(payload).saturating_add_signed(delta) as u16 | mark;
        payload[..packed::COUNT_LEN].copy_from_slice(&n.to_le_bytes());
    }

    /// Replaces the value in place if this is a string of the same length
    /// without an expiry; `false`, and nothing done, if it isn't.
    #[inline]
    pub fn overwrite_string(&mut self, value: &[u8]) -> bool {
        if self.0[0] != Kind::String as u8 {
            return false;
        }
        let payload = self.payload_mut();
        if payload.len() != value.len() {
            return false;
        }
        payload.copy_from_slice(value);
        true
    }

    pub(super) fn set_expiry(&mut self, expiry: Option<u64>) {
        match (self.layout().expiry, expiry) {
            (Some(at), Some(ms)) => self.0[at..at + EXPIRY_LEN].copy_from_slice(&ms.to_le_bytes()),
            (None, None) => {}
            _ => *self = SmallEntry::new(self.kind(), self.key(), expiry, &[self.payload()]),
        }
    }
}

impl Entry {
    /// A small entry; see [`SmallEntry::new`].
    pub fn small(kind: Kind, key: &[u8], expiry: Option<u64>, parts: &[&[u8]]) -> Self {
        Entry::Small(SmallEntry::new(kind, key, expiry, parts))
    }

    /// An entry whose value has a structure of its own.
    pub fn large(key: &[u8], expiry: Option<u64>, value: Value) -> Self {
        Entry::Large(Box::new(Object {
            key: key.into(),
            expiry,
            value,
        }))
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        match self {
            Entry::Small(s) => s.key(),
            Entry::Large(o) => &o.key,
        }
    }

    /// What kind of value this is.
    pub fn kind(&self) -> Kind {
        match self {
            Entry::Small(s) => s.kind(),
            Entry::Large(o) => o.value.kind(),
        }
    }

    /// Unix time in ms at which the key ends, if any.
    #[inline]
    pub fn expiry(&self) -> Option<u64> {
        match self {
            Entry::Small(s) => s.expiry(),
            Entry::Large(o) => o.expiry,
        }
    }

    /// Sets or removes the expiry. Only [`Table`](crate::data::table::Table)
    /// may call this on an entry it holds: it keeps sums over expiries.
    pub fn set_expiry(&mut self, expiry: Option<u64>) {
        match self {
            Entry::Small(s) => s.set_expiry(expiry),
            Entry::Large(o) => o.expiry = expiry,
        }
    }

    /// The value, for reading.
    #[inline]
    pub fn payload(&self) -> Payload<'_> {
        match self {
            Entry::Small(s) => Payload::Small(s.payload()),
            Entry::Large(o) => Payload::Large(&o.value),
        }
    }

    /// Gives the value a structure of its own, keeping key and expiry.
    pub fn promote(&mut self, value: Value) {
        *self = Entry::large(self.key(), self.expiry(), value);
    }

    /// The same value and expiry under another key.
    pub fn renamed(self, key: &[u8]) -> Self {
        match self {
            Entry::Small(s) => Entry::small(s.kind(), key, s.expiry(), &[s.payload()]),
            Entry::Large(mut o) => {
                o.key = key.into();
                Entry::Large(o)
            }
        }
    }

    /// A copy of the value under another key, with the expiry.
    pub fn copied(&self, key: &[u8]) -> Self {
        match self {
            Entry::Small(s) => Entry::small(s.kind(), key, s.expiry(), &[s.payload()]),
            Entry::Large(o) => Entry::large(key, o.expiry, o.value.clone()),
        }
    }

    /// How many allocations dropping this frees, roughly: what is worth
    /// handing to the reaper instead of dropping on the event loop.
    pub fn weight(&self) -> usize {
        match self {
            Entry::Small(_) => 1,
            Entry::Large(o) => o.value.weight(),
        }
    }
}

impl Object {
    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_its_parts() {
        for klen in [0usize, 1, 127, 128, 70_000] {
            let key = vec![b'k'; klen];
            for expiry in [None, Some(5), Some(u64::MAX)] {
                let mut e = Entry::small(Kind::String, &key, expiry, &[b"ab", b"", b"c"]);
                assert_eq!(e.key(), key);
                assert_eq!(e.expiry(), expiry);
                assert!(matches!(e.payload(), Payload::Small(b"abc")));
                for next in [Some(9), Some(10), None, None, Some(11)] {
                    e.set_expiry(next);
                    assert_eq!((e.expiry(), e.key()), (next, &key[..]));
                    assert!(matches!(e.payload(), Payload::Small(b"abc")));
                }
                let Entry::Small(s) = &e else { panic!() };
                assert_eq!(SmallEntry::from_bytes(s.as_bytes()).as_ref(), Some(s));
            }
        }
    }

    #[test]
    fn splice_replaces_and_resizes() {
        let mut e = SmallEntry::new(Kind::String, b"key", None, &[b"hello world"]);
        e.splice(0, 5, &[b"HE", b"LLO"]);
        assert_eq!(e.payload(), b"HELLO world");
        e.splice(5, 6, &[]);
        assert_eq!(e.payload(), b"HELLO");
        e.splice(5, 0, &[b"!", b"?"]);
        assert_eq!((e.payload(), e.key()), (&b"HELLO!?"[..], &b"key"[..]));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        assert!(SmallEntry::from_bytes(&[]).is_none());
        assert!(SmallEntry::from_bytes(&[0]).is_none());
        assert!(SmallEntry::from_bytes(&[0, 5, b'a']).is_none());
        assert!(SmallEntry::from_bytes(&[0x0f, 0]).is_none());
        assert!(SmallEntry::from_bytes(&[0x80, 0]).is_none());
        assert!(SmallEntry::from_bytes(&[Kind::Hash as u8, 1, b'a', 1, 0, 9]).is_none());
    }
}
