//! What tests and benchmarks of redis-persist share: real servers as child processes, a raw RESP client, a seeded data
//! generator, a journal of acknowledged writes, and a preloaded library that slows, fails and traces system calls.

pub mod contents;
pub mod generate;
pub mod host;
pub mod journal;
pub mod load;
pub mod order;
pub mod preload;
pub mod raw;
pub mod server;
pub mod traffic;

use std::fmt;

/// What went wrong, in words.
#[derive(Debug)]
pub struct Error(String);

/// The result of everything here that talks to a server.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<redis::RedisError> for Error {
    fn from(error: redis::RedisError) -> Self {
        Self(error.to_string())
    }
}

impl From<raw::Malformed> for Error {
    fn from(error: raw::Malformed) -> Self {
        Self(error.to_string())
    }
}
