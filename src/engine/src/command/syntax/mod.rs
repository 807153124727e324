//! The syntax of a command as text, and as the tree of arguments that the
//! host documents and clients make hints of.
//!
//! The notation is redis.io's, made exact:
//!
//! | text | meaning |
//! |---|---|
//! | `NX`, `=` | a token: a word without small letters |
//! | `member` | a value; `min:double` says what it is where its name doesn't |
//! | `COUNT count` | a value behind a token |
//! | `[a]`, `[a \| b]` | may be left out |
//! | `<a \| b>` | one of them |
//! | `a b [a b ...]` | once or more often, as `GET a [GET a ...]` and `WEIGHTS a [a ...]` are |
//! | `[<a \| b> ...]` | any number of times |

mod parse;
mod print;
#[cfg(test)]
mod tests;

pub use parse::parse;
pub use print::Plain;

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The name of a key.
    Key,
    /// A glob.
    Pattern,
    /// Any bytes.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Double,
    /// A time.
    UnixTime,
    /// The token alone.
    Token,
    /// One of its parts.
    OneOf,
    /// All of its parts, one after the other.
    Block,
}

/// One argument, or several that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg<'a> {
    /// Its name; of parts, theirs joined.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The word in front of it.
    pub token: Option<&'a str>,
    /// May be left out.
    pub optional: bool,
    /// May come several times.
    pub multiple: bool,
    /// And the token each time, too.
    pub multiple_token: bool,
    /// What it consists of; none but for [`Kind::OneOf`] and [`Kind::Block`].
    pub parts: Vec<Arg<'a>>,
}

/// What a value is by its name, if nothing else is said.
fn kind_of(name: &str) -> Kind {
    match name {
        "key" | "key1" | "key2" | "newkey" | "source" | "destination" | "src" | "dst"
        | "destkey" | "sourcekey" => Kind::Key,
        "pattern" => Kind::Pattern,
        "bit" | "count" | "cursor" | "db" | "decrement" | "destination-db" | "entries-added"
        | "entries-read" | "frequency" | "increment" | "index" | "index1" | "index2" | "len"
        | "limit" | "milliseconds" | "min-idle-time" | "min-match-len" | "ms" | "num-matches"
        | "numfields" | "numkeys" | "offset" | "rank" | "seconds" | "ttl" => Kind::Integer,
        "height" | "latitude" | "longitude" | "radius" | "score" | "timeout" | "weight"
        | "width" => Kind::Double,
        "unix-time-seconds" | "unix-time-milliseconds" => Kind::UnixTime,
        _ => Kind::Text,
    }
}

/// The kinds that may be said, and how.
const KINDS: [(&str, Kind); 3] = [
    ("string", Kind::Text),
    ("integer", Kind::Integer),
    ("double", Kind::Double),
];

/// Whether a word stands for itself.
fn is_token(word: &str) -> bool {
    !word.contains(|c: char| c.is_ascii_lowercase())
}
