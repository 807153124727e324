//! What a client sent and what was acknowledged, so that a check after a crash knows what must be there.
//!
//! A journal is a text file of lines `S key value` (sent) and `A key value` (acknowledged), in the order in which one
//! client saw them, key and value escaped. The last acknowledged value of a key must be there, or one sent after it: its
//! reply may have been lost with the server. Each key belongs to one connection.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// What a key may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    acknowledged: Option<Vec<u8>>,
    in_flight: Vec<Vec<u8>>,
}

impl Allowed {
    /// May the key hold this value, or be missing (`None`)?
    pub fn allows(&self, found: Option<&[u8]>) -> bool {
        found == self.acknowledged.as_deref()
            || found.is_some_and(|found| self.in_flight.iter().any(|value| value == found))
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.acknowledged {
            Some(value) => write!(f, "{}", value.escape_ascii())?,
            None => write!(f, "nothing")?,
        }
        write!(f, " ({} in flight)", self.in_flight.len())
    }
}

/// The journal in memory.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    keys: HashMap<Vec<u8>, Allowed>,
}

impl Journal {
    /// Notes a SET before it is sent.
    pub fn sent(&mut self, key: &[u8], value: &[u8]) {
        let allowed = self.keys.entry(key.to_vec()).or_default();
        allowed.in_flight.push(value.to_vec());
    }

    /// Notes the reply to the oldest SET of this key that is in flight with this value.
    pub fn acknowledged(&mut self, key: &[u8], value: &[u8]) {
        let allowed = self.keys.entry(key.to_vec()).or_default();
        // Replies come in order: what was sent before this one has been overwritten.
        if let Some(at) = allowed.in_flight.iter().position(|sent| sent == value) {
            allowed.in_flight.drain(..=at);
        }
        allowed.acknowledged = Some(value.to_vec());
    }

    /// Does the journal know this key?
    pub fn knows(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key)
    }

    /// Every key with what it may hold.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &Allowed)> {
        self.keys
            .iter()
            .map(|(key, allowed)| (key.as_slice(), allowed))
    }

    /// How many keys it knows.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Knows it no key?
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes over the keys of a journal about other keys.
    pub fn merge(&mut self, other: Journal) {
        self.keys.extend(other.keys);
    }

    /// Reads a journal file.
    pub fn read(path: &Path) -> Result<Self> {
        let mut journal = Self::default();
        let bad = |line: &str| Error::new(format!("{}: bad line {line:?}", path.display()));
        for line in BufReader::new(File::open(path)?).lines() {
            let line = line?;
            let mut words = line.split(' ');
            let (Some(what), Some(key), Some(value), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(bad(&line));
            };
            let (Some(key), Some(value)) = (unescape(key), unescape(value)) else {
                return Err(bad(&line));
            };
            match what {
                "S" => journal.sent(&key, &value),
                "A" => journal.acknowledged(&key, &value),
                _ => return Err(bad(&line)),
            }
        }
        Ok(journal)
    }
}

/// Writes a journal file.
pub struct Writer(BufWriter<File>);

impl Writer {
    /// Begins a new file.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self(BufWriter::new(File::create(path)?)))
    }

    /// Notes a SET before it is sent.
    pub fn sent(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(writeln!(self.0, "S {} {}", escape(key), escape(value))?)
    }

    /// Notes its reply.
    pub fn acknowledged(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(writeln!(self.0, "A {} {}", escape(key), escape(value))?)
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush()?)
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            out.push(byte);
            rest = tail;
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    Some(out)
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn the_last_acknowledged_value_or_a_later_one() {
        let mut journal = Journal::default();
        journal.sent(b"k", b"1");
        journal.sent(b"k", b"2");
        journal.sent(b"k", b"3");
        journal.acknowledged(b"k", b"1");
        journal.acknowledged(b"k", b"2");
        let (_, allowed) = journal.entries().next().expect("one key");
        assert!(allowed.allows(Some(b"2")) && allowed.allows(Some(b"3")));
        assert!(!allowed.allows(Some(b"1")) && !allowed.allows(None));
    }

    #[test]
    fn an_unacknowledged_key_may_be_missing() {
        let mut journal = Journal::default();
        journal.sent(b"k", b"1");
        let (_, allowed) = journal.entries().next().expect("one key");
        assert!(allowed.allows(None) && allowed.allows(Some(b"1")) && !allowed.allows(Some(b"")));
    }

    #[test]
    fn files_come_back() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut writer = Writer::create(file.path()).expect("a writer");
        writer.sent(b"k 1\n%", b"").expect("written");
        writer.acknowledged(b"k 1\n%", b"").expect("written");
        writer.sent(b"k 1\n%", b"\xff\0").expect("written");
        writer.flush().expect("flushed");
        let journal = Journal::read(file.path()).expect("read");
        assert!(journal.knows(b"k 1\n%") && journal.len() == 1);
        let (_, allowed) = journal.entries().next().expect("one key");
        assert!(allowed.allows(Some(b"")) && allowed.allows(Some(b"\xff\0")));
    }
}
