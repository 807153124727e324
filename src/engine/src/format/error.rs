//! What is wrong with bytes, and where.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// Bytes that aren't what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// Where in the file, in bytes from its start.
    pub offset: u64,
    /// The line, from 1 on, in a format made of lines for people.
    pub line: Option<u32>,
    /// What should have been there.
    pub expected: Cow<'static, str>,
    /// What was there instead.
    pub found: String,
    /// Whether the bytes are what somebody wrote, since their checksum holds:
    /// another version's, then, and no damage.
    pub intact: bool,
}

impl FormatError {
    /// An error at byte `offset`.
    pub fn new(
        offset: u64,
        expected: impl Into<Cow<'static, str>>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            offset,
            line: None,
            expected: expected.into(),
            found: found.into(),
            intact: false,
        }
    }

    /// The same error, about bytes that are as they were written.
    pub fn intact(self) -> Self {
        Self {
            intact: true,
            ..self
        }
    }

    /// The same error, with the line it is in.
    pub fn on_line(self, line: u32) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: ")?,
            None => write!(f, "byte {}: ", self.offset)?,
        }
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

impl std::error::Error for FormatError {}

/// Why a file can't be read on.
#[derive(Debug)]
pub enum ReadError {
    /// The disk's.
    Io(io::Error),
    /// The bytes'.
    Format(FormatError),
}

impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> Self {
        ReadError::Io(e)
    }
}

impl From<FormatError> for ReadError {
    fn from(e: FormatError) -> Self {
        ReadError::Format(e)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(e) => e.fmt(f),
            ReadError::Format(e) => e.fmt(f),
        }
    }
}

/// What stands where something else should, in a file of keys and values:
/// never they themselves, since this goes into logs.
pub(crate) fn glance(bytes: &[u8]) -> String {
    const BEGINNINGS: [&str; 8] = [
        "RPERSIST", "RPERSEND", "PBLK", "REDIS", "#PG1", "#TS:", "*", "$",
    ];
    let known = |word: &&&str| bytes.starts_with(word.as_bytes());
    match bytes {
        [] => "the end".into(),
        [0, ..] if bytes.iter().take(16).all(|byte| *byte == 0) => "zeros".into(),
        _ => match BEGINNINGS.iter().find(known) {
            Some(word) => format!("{word:?} and what doesn't belong there"),
            None => "other bytes".into(),
        },
    }
}

/// The first bytes of `bytes` as they can be shown: quoted, escaped, short.
/// Not of files that hold keys and values.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 24;
    if bytes.is_empty() {
        return "the end".to_string();
    }
    let dots = if bytes.len() > SHOWN { "..." } else { "" };
    format!(
        "\"{}\"{dots}",
        bytes.get(..SHOWN).unwrap_or(bytes).escape_ascii()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        let error = FormatError::new(17, "a number", excerpt(b"x\r\n"));
        assert_eq!(
            error.to_string(),
            r#"byte 17: expected a number, found "x\r\n""#
        );
        assert_eq!(
            error.on_line(3).to_string(),
            r#"line 3: expected a number, found "x\r\n""#
        );
        assert_eq!(excerpt(&[0; 30]).len(), 24 * 4 + 5);
        assert_eq!(excerpt(b""), "the end");
        assert_eq!(glance(b""), "the end");
        assert_eq!(glance(&[0; 30]), "zeros");
        assert_eq!(glance(b"secret"), "other bytes");
        assert_eq!(
            glance(b"$6\r\nsecret"),
            "\"$\" and what doesn't belong there"
        );
    }
}
