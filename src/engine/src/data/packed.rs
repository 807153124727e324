//! Packed elements: how small values lie in one run of bytes.
//!
//! An *element* is a varint length (LEB128) followed by that many bytes.
//! A packed collection is a `u16` count (little endian) followed by that many
//! items. The count's highest bit is a mark, which says that items have a
//! further element; only hashes use it. What an item is (one element, a field and a value, a score and a
//! member) is the business of the type that owns the bytes.
//!
//! The same bytes lie in memory and in snapshots, so every reader here is
//! total: bytes that make no sense end the walk, they never panic.

use std::ops::Range;

/// Bytes taken by the item count at the head of a packed collection.
pub const COUNT_LEN: usize = 2;

/// Most items of a packed collection.
pub const MAX_COUNT: usize = 0x7fff;

/// The mark, in the count.
pub const MARK: u16 = 0x8000;

/// Longest varint of a `u64`, in bytes.
pub const MAX_VARINT: usize = 10;

/// Appends `n` as LEB128.
pub fn push_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A varint on the stack, for callers that splice without a buffer.
#[derive(Clone, Copy)]
pub struct Varint {
    bytes: [u8; MAX_VARINT],
    len: u8,
}

impl Varint {
    /// Encodes `n`.
    pub fn new(mut n: u64) -> Self {
        let mut v = Varint {
            bytes: [0; MAX_VARINT],
            len: 0,
        };
        while n >= 0x80 {
            v.bytes[usize::from(v.len)] = (n as u8) | 0x80;
            v.len += 1;
            n >>= 7;
        }
        v.bytes[usize::from(v.len)] = n as u8;
        v.len += 1;
        v
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Reads a varint at the start of `bytes`: the number and its length in
/// bytes, or `None` when it is cut off or longer than a `u64` allows.
#[inline]
pub fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    let mut n = u64::from(first & 0x7f);
    for (i, &b) in bytes.iter().enumerate().take(MAX_VARINT).skip(1) {
        let bits = u64::from(b & 0x7f);
        if i == MAX_VARINT - 1 && bits > 1 {
            return None;
        }
        n |= bits << (7 * i);
        if b < 0x80 {
            return Some((n, i + 1));
        }
    }
    None
}

/// Bytes that an element of `len` bytes takes with its length in front.
pub fn element_size(len: usize) -> usize {
    Varint::new(len as u64).as_bytes().len() + len
}

/// Appends one element.
pub fn push_element(out: &mut Vec<u8>, element: &[u8]) {
    push_varint(out, element.len() as u64);
    out.extend_from_slice(element);
}

/// Reads the element at the start of `bytes`: its content and the bytes it
/// takes in all; `None` when it doesn't fit.
#[inline]
pub fn read_element(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (len, at) = read_varint(bytes)?;
    let end = at.checked_add(usize::try_from(len).ok()?)?;
    Some((bytes.get(at..end)?, end))
}

/// The item count of a packed collection; 0 when even that is cut off.
#[inline]
pub fn count(payload: &[u8]) -> usize {
    match payload {
        [a, b, ..] => usize::from(u16::from_le_bytes([*a, *b]) & !MARK),
        _ => 0,
    }
}

/// Whether a packed collection has the mark.
#[inline]
pub fn is_marked(payload: &[u8]) -> bool {
    matches!(payload, [_, high, ..] if high & 0x80 != 0)
}

/// Walks the elements of a packed collection, each with its range in the payload.
#[derive(Clone)]
pub struct Elements<'a> {
    payload: &'a [u8],
    at: usize,
}

/// The elements of `payload`, from the first.
pub fn elements(payload: &[u8]) -> Elements<'_> {
    Elements {
        payload,
        at: COUNT_LEN,
    }
}

impl<'a> Elements<'a> {
    /// Where the next element begins in the payload.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next element and the range it takes, its length prefix included.
    #[inline]
    pub fn next_with_range(&mut self) -> Option<(&'a [u8], Range<usize>)> {
        let (element, size) = read_element(self.payload.get(self.at..)?)?;
        let range = self.at..self.at + size;
        self.at = range.end;
        Some((element, range))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.next_with_range().map(|(element, _)| element)
    }
}

/// Whether `payload` is exactly `per_item * count` well-formed elements.
pub fn is_well_formed(payload: &[u8], per_item: usize) -> bool {
    if payload.len() < COUNT_LEN {
        return false;
    }
    let mut walk = elements(payload);
    for _ in 0..count(payload) * per_item {
        if walk.next_with_range().is_none() {
            return false;
        }
    }
    walk.at == payload.len()
}

/// A score on the stack: integers of up to 48 bits as a zigzag varint with a
/// low bit of 0, anything else as the byte 1 and the eight bytes of the double.
#[derive(Clone, Copy)]
pub struct Score(Varint);

impl Score {
    /// Encodes `score`.
    pub fn new(score: f64) -> Self {
        let int = score as i64;
        if int.unsigned_abs() < 1 << 48
            && int as f64 == score
            && !(int == 0 && score.is_sign_negative())
        {
            let zigzag = ((int << 1) ^ (int >> 63)) as u64;
            return Score(Varint::new(zigzag << 1));
        }
        let mut bytes = [0; MAX_VARINT];
        bytes[0] = 1;
        bytes[1..9].copy_from_slice(&score.to_le_bytes());
        Score(Varint { bytes, len: 9 })
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Appends a score as [`Score`] encodes it.
pub fn push_score(out: &mut Vec<u8>, score: f64) {
    out.extend_from_slice(Score::new(score).as_bytes());
}

/// Reads a score written by [`push_score`] and the bytes it takes. A NaN is
/// refused: it could not be ordered.
#[inline]
pub fn read_score(bytes: &[u8]) -> Option<(f64, usize)> {
    if *bytes.first()? == 1 {
        let raw: [u8; 8] = bytes.get(1..9)?.try_into().ok()?;
        let score = f64::from_le_bytes(raw);
        return if score.is_nan() {
            None
        } else {
            Some((score, 9))
        };
    }
    let (n, len) = read_varint(bytes)?;
    if n & 1 == 1 {
        return None;
    }
    let zigzag = n >> 1;
    let int = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    Some((int as f64, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back() {
        for n in [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            push_varint(&mut out, n);
            assert_eq!(out, Varint::new(n).as_bytes());
            assert_eq!(read_varint(&out), Some((n, out.len())));
            assert_eq!(read_varint(&out[..out.len() - 1]), None);
        }
        assert_eq!(read_varint(&[0xff; 10]), None);
    }

    #[test]
    fn scores_come_back() {
        for s in [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            1e15,
            1e300,
            f64::INFINITY,
            f64::NEG_INFINITY,
            281474976710655.0,
            -281474976710656.0,
        ] {
            let mut out = Vec::new();
            push_score(&mut out, s);
            let (back, len) = read_score(&out).unwrap();
            assert_eq!(back.to_bits(), s.to_bits());
            assert_eq!(len, out.len());
        }
        let mut nan = vec![1];
        nan.extend_from_slice(&f64::NAN.to_le_bytes());
        assert_eq!(read_score(&nan), None);
    }

    #[test]
    fn a_walk_ends_where_the_bytes_end() {
        let mut payload = vec![2, 0];
        push_element(&mut payload, b"one");
        push_element(&mut payload, &[7; 200]);
        assert!(is_well_formed(&payload, 1));
        assert_eq!(
            elements(&payload).collect::<Vec<_>>(),
            [&b"one"[..], &[7; 200][..]]
        );
        for cut in 0..payload.len() {
            assert!(!is_well_formed(&payload[..cut], 1));
        }
    }
}
