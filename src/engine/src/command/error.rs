//! What a client is told when a command can't be done, in Redis's words.

use std::borrow::Cow;
use std::fmt;

use crate::keyspace::keys::WrongType;

/// An error reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// The key holds another kind of value.
    WrongType,
    /// An option nobody knows, or two that exclude each other.
    Syntax,
    /// Not an integer of 64 bits.
    NotInteger,
    /// Not a floating point number.
    NotFloat,
    /// An increment left the 64-bit range.
    Overflow,
    /// A value would pass Redis's limit for strings.
    TooLong,
    /// A key that must be there isn't.
    NoSuchKey,
    /// A position outside the list.
    IndexOutOfRange,
    /// A number that must not be negative is.
    NotPositive,
    /// A TTL that can't be expressed; the command's lower-case name.
    InvalidExpire(&'static str),
    /// Too few or too many arguments; the command's canonical name.
    Arity(&'static str),
    /// Any other text, its code in front (`ERR ...`).
    Text(Cow<'static, str>),
}

impl CommandError {
    /// An error of fixed text, code in front.
    pub const fn text(text: &'static str) -> Self {
        CommandError::Text(Cow::Borrowed(text))
    }
}

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> Self {
        CommandError::WrongType
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            CommandError::WrongType => {
                "WRONGTYPE Operation against a key holding the wrong kind of value"
            }
            CommandError::Syntax => "ERR syntax error",
            CommandError::NotInteger => "ERR value is not an integer or out of range",
            CommandError::NotFloat => "ERR value is not a valid float",
            CommandError::Overflow => "ERR increment or decrement would overflow",
            CommandError::TooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            CommandError::NoSuchKey => "ERR no such key",
            CommandError::IndexOutOfRange => "ERR index out of range",
            CommandError::NotPositive => "ERR value is out of range, must be positive",
            CommandError::InvalidExpire(name) => {
                return write!(f, "ERR invalid expire time in '{name}' command");
            }
            CommandError::Arity(name) => {
                let name = name.to_ascii_lowercase();
                return write!(
                    f,
                    "ERR wrong number of arguments for 'persist.{name}' command"
                );
            }
            CommandError::Text(text) => text,
        };
        f.write_str(text)
    }
}
