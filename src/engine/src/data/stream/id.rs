//! Ids of stream entries.

use std::fmt;
use std::io::Write;

use crate::base::number;

/// A stream entry's id: a time in ms and a number within it. Ids of a stream
/// ascend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Unix time in ms, if the server chose it.
    pub ms: u64,
    /// Number among those of one millisecond.
    pub seq: u64,
}

/// What an id's text says of the number behind the dash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seq {
    /// A number, or none, for which the reader puts its own.
    Given,
    /// `*`: the next free one.
    Auto,
}

/// Longest text that is looked at, in bytes, as in Redis.
const LONGEST: usize = 127;

/// Room for an id as text: two numbers of 20 digits and a dash.
#[derive(Debug, Clone, Copy)]
pub struct IdText {
    bytes: [u8; 48],
    len: usize,
}

impl IdText {
    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Write for IdText {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let n = (&mut self.bytes[self.len..]).write(text)?;
        self.len += n;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl StreamId {
    /// The least id; no entry has it.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The greatest id.
    pub const MAX: StreamId = StreamId {
        ms: u64::MAX,
        seq: u64::MAX,
    };

    /// An id.
    pub const fn new(ms: u64, seq: u64) -> Self {
        StreamId { ms, seq }
    }

    /// The id that follows, if one does.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => Some(StreamId::new(self.ms.checked_add(1)?, 0)),
        }
    }

    /// The id before, if there is one.
    pub fn previous(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => Some(StreamId::new(self.ms.checked_sub(1)?, u64::MAX)),
        }
    }

    /// The text `ms-seq`, without an allocation.
    pub fn text(self) -> IdText {
        let mut text = IdText {
            bytes: [0; 48],
            len: 0,
        };
        // It always fits.
        let _ = write!(text, "{}-{}", self.ms, self.seq);
        text
    }

    /// Reads `ms`, `ms-seq` or `ms-*`; `seq` is for the first form. Numbers
    /// are read as Redis reads them, by strtoull where its own reader gives
    /// up: blanks in front, signs and leading zeros pass.
    pub fn parse(text: &[u8], seq: u64) -> Option<(StreamId, Seq)> {
        if text.len() > LONGEST {
            return None;
        }
        let text = c_string(text);
        let Some(dash) = text.iter().position(|&b| b == b'-') else {
            return Some((StreamId::new(unsigned(text)?, seq), Seq::Given));
        };
        let ms = unsigned(&text[..dash])?;
        match &text[dash + 1..] {
            b"*" => Some((StreamId::new(ms, 0), Seq::Auto)),
            seq => Some((StreamId::new(ms, unsigned(seq)?), Seq::Given)),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// What a reader of C strings sees of `text`.
pub fn c_string(text: &[u8]) -> &[u8] {
    text.split(|&b| b == 0).next().unwrap_or_default()
}

fn unsigned(text: &[u8]) -> Option<u64> {
    if let Some(n) = number::parse_i64(text) {
        return u64::try_from(n).ok();
    }
    let blank = |b: &u8| b.is_ascii_whitespace() || *b == 0x0b;
    let start = text.iter().position(|b| !blank(b))?;
    let (negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let n = digits.iter().try_fold(0u64, |n, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if negative { n.wrapping_neg() } else { n })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(StreamId, Seq)> {
        StreamId::parse(text.as_bytes(), 7)
    }

    #[test]
    fn texts_are_read_as_redis_reads_them() {
        let given = |ms, seq| Some((StreamId::new(ms, seq), Seq::Given));
        assert_eq!(read("5"), given(5, 7));
        assert_eq!(read("5-3"), given(5, 3));
        assert_eq!(read("5-*"), Some((StreamId::new(5, 0), Seq::Auto)));
        let max = "18446744073709551615";
        assert_eq!(read(&format!("{max}-{max}")), given(u64::MAX, u64::MAX));
        assert_eq!(read("007- 1"), given(7, 1));
        assert_eq!(read("+1"), given(1, 7));
        assert_eq!(read("1--05"), given(1, u64::MAX - 4));
        assert_eq!(read("1\0x"), given(1, 7));
        for bad in [
            "",
            "-",
            "+",
            "-5",
            "5-",
            "5--5",
            "1-2-3",
            "x",
            "1 ",
            "*",
            "1-**",
            "18446744073709551616",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&"0".repeat(127)), given(0, 7));
        assert_eq!(read(&"0".repeat(128)), None);
    }

    #[test]
    fn neighbours() {
        let id = StreamId::new;
        assert_eq!(id(1, 2).next(), Some(id(1, 3)));
        assert_eq!(id(1, u64::MAX).next(), Some(id(2, 0)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(id(1, 0).previous(), Some(id(0, u64::MAX)));
        assert_eq!(id(1, 2).previous(), Some(id(1, 1)));
        assert_eq!(StreamId::MIN.previous(), None);
        for id in [id(0, 1), id(1, 2), StreamId::MAX] {
            assert_eq!(id.text().as_bytes(), id.to_string().as_bytes());
            assert!(id.previous() < Some(id));
        }
    }
}
