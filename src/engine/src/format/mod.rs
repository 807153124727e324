//! Bytes on disk, both ways. No paths, no files, no fsync: each format takes
//! a slice and gives a verdict, or takes values and gives bytes.
//!
//! Rules that hold in every format: a length is compared with what is there
//! before anything is reserved for it; a checksum is verified before anything
//! it covers is believed; what can't be understood is refused, never guessed.
//!
//! - [`resp`]: commands, the payload of the log.
//! - [`group`]: the log's unit of writing, verification and recovery.
//! - [`manifest`]: which files make up the log.
//! - [`snapshot`]: the whole data set, in blocks.

use std::fmt;

pub mod error;
pub mod group;
pub mod manifest;
pub mod resp;
pub mod snapshot;

pub use error::{FormatError, ReadError};

/// Names one line of succession of a data set: 128 random bits, renewed when
/// records are dropped or another data set is loaded. Never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HistoryId([u8; 16]);

impl HistoryId {
    /// From random bits; `None` if all are zero.
    pub fn new(bits: [u8; 16]) -> Option<Self> {
        (bits != [0; 16]).then_some(Self(bits))
    }

    /// The bits.
    pub fn bits(&self) -> &[u8; 16] {
        &self.0
    }

    /// From exactly 32 lower-case hexadecimal digits, not all zero.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let (high, low) = text.split_at_checked(16)?;
        if low.len() != 16 {
            return None;
        }
        let value = (u128::from(hex(high)?) << 64) | u128::from(hex(low)?);
        Self::new(value.to_be_bytes())
    }
}

impl fmt::Display for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 1 to 16 lower-case hexadecimal digits. One spelling for each number, so
/// that no flipped bit goes unnoticed.
pub(crate) fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((value << 4) | u64::from(digit))
    })
}

/// Decimal digits only, at least one, no sign; `None` beyond 64 bits.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [
            &b""[..],
            b"18446744073709551616",
            b"+1",
            b"-1",
            b" 1",
            b"1x",
        ] {
            assert_eq!(decimal(bad), None);
        }
        assert_eq!(hex(b"ffffffffffffffff"), Some(u64::MAX));
        for bad in [&b""[..], b"0ffffffffffffffff", b"F", b"0x1", b"g"] {
            assert_eq!(hex(bad), None);
        }
    }

    #[test]
    fn history_ids() {
        let text = "000102030405060708090a0b0c0d0eff";
        let id = HistoryId::from_hex(text.as_bytes()).unwrap();
        assert_eq!(
            (id.to_string(), id.bits()[15], id.bits()[1]),
            (text.to_string(), 255, 1)
        );
        for bad in [
            "",
            &text[1..],
            &format!("{text}0"),
            &text.to_uppercase(),
            &"0".repeat(32),
        ] {
            assert_eq!(HistoryId::from_hex(bad.as_bytes()), None);
        }
    }
}
