//! `persist.route`: which plain commands become durable ones.
//!
//! A command whose keys all match a glob of the route gets the durable form
//! of its name. One with keys on both sides is refused, also where it could
//! be split: half of it would be durable and half not, and a crash or an
//! error in between would show.

mod names;

use std::fmt;

use crate::base::glob::glob_match;
pub use names::{Known, Names};

/// One glob, in the form that is fastest to match.
#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    /// `*`, the empty key included.
    All,
    /// `cart:*`
    Prefix(Box<[u8]>),
    /// `cart`
    Exact(Box<[u8]>),
    /// Anything else.
    Glob(Box<[u8]>),
}

impl Pattern {
    fn new(glob: &[u8]) -> Self {
        let special = |bytes: &[u8]| bytes.iter().any(|b| b"*?[\\".contains(b));
        match glob {
            b"*" => Pattern::All,
            [prefix @ .., b'*'] if !special(prefix) => Pattern::Prefix(prefix.into()),
            _ if !special(glob) => Pattern::Exact(glob.into()),
            _ => Pattern::Glob(glob.into()),
        }
    }

    #[inline]
    fn matches(&self, key: &[u8]) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Prefix(prefix) => key.starts_with(prefix),
            Pattern::Exact(exact) => key == &**exact,
            Pattern::Glob(glob) => glob_match(glob, key, false),
        }
    }
}

/// Bytes that a key may begin with, a bit for each; and whether it may be empty.
#[derive(Debug, PartialEq, Eq)]
struct Beginnings {
    bits: [u64; 4],
    empty: bool,
}

impl Beginnings {
    fn of(patterns: &[Pattern]) -> Self {
        let mut all = Beginnings {
            bits: [0; 4],
            empty: false,
        };
        for pattern in patterns {
            let first = match pattern {
                Pattern::All => None,
                Pattern::Prefix(text) | Pattern::Exact(text) => text.first(),
                Pattern::Glob(glob) => glob.first().filter(|byte| !b"*?[\\".contains(byte)),
            };
            match first {
                Some(&byte) => all.bits[usize::from(byte >> 6)] |= 1 << (byte & 63),
                None => {
                    all = Beginnings {
                        bits: [u64::MAX; 4],
                        empty: true,
                    }
                }
            }
        }
        all
    }

    #[inline]
    fn allow(&self, key: &[u8]) -> bool {
        key.first().map_or(self.empty, |byte| {
            self.bits[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
        })
    }
}

/// The keys that are durable.
#[derive(Debug)]
pub struct Route {
    patterns: Vec<Pattern>,
    /// Tells of most keys that no pattern matches.
    beginnings: Beginnings,
}

/// On which side of the route the keys of one command are.
#[derive(Debug, PartialEq, Eq)]
pub enum Sides<'a> {
    /// The command has no key.
    Keyless,
    /// All are the host's.
    Host,
    /// All are durable; the first of them.
    Durable(&'a [u8]),
    /// The first key of each side.
    Both {
        /// The durable one.
        durable: &'a [u8],
        /// The host's.
        host: &'a [u8],
    },
}

impl Route {
    /// Reads globs with blanks between them; `None` when there are none.
    pub fn parse(text: &str) -> Option<Route> {
        let patterns: Vec<_> = text
            .split_ascii_whitespace()
            .map(|glob| Pattern::new(glob.as_bytes()))
            .collect();
        let beginnings = Beginnings::of(&patterns);
        (!patterns.is_empty()).then_some(Route {
            patterns,
            beginnings,
        })
    }

    /// Whether `key` is durable.
    #[inline]
    pub fn covers(&self, key: &[u8]) -> bool {
        self.beginnings.allow(key) && self.patterns.iter().any(|pattern| pattern.matches(key))
    }

    /// Looks at all keys of a command.
    pub fn sides<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Sides<'a> {
        let (mut durable, mut host) = (None, None);
        for key in keys {
            let side = if self.covers(key) {
                &mut durable
            } else {
                &mut host
            };
            side.get_or_insert(key);
            if let (Some(durable), Some(host)) = (durable, host) {
                return Sides::Both { durable, host };
            }
        }
        match (durable, host) {
            (Some(key), _) => Sides::Durable(key),
            (None, Some(_)) => Sides::Host,
            (None, None) => Sides::Keyless,
        }
    }
}

/// Why a plain command may not run.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// It has keys on both sides.
    Both {
        /// Its name, as it was given.
        name: &'a [u8],
        /// Its first durable key.
        durable: &'a [u8],
        /// Its first key that is the host's.
        host: &'a [u8],
    },
    /// It has durable keys and no durable form.
    NoSuchCommand {
        /// Its name, as it was given.
        name: &'a [u8],
        /// Its first durable key.
        key: &'a [u8],
    },
}

/// Bytes of a client's word that an error shows, at most.
const SHOWN: usize = 64;

/// A client's word in an error: one line, and short.
struct Word<'a>(&'a [u8]);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..SHOWN).unwrap_or(self.0);
        let dots = if self.0.len() > SHOWN { "..." } else { "" };
        write!(f, "'{}{dots}'", shown.escape_ascii())
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Both {
                name,
                durable,
                host,
            } => write!(
                f,
                "the keys of {} are on both sides of persist.route: {} is durable, {} is not",
                Word(name),
                Word(durable),
                Word(host)
            ),
            Refusal::NoSuchCommand { name, key } => write!(
                f,
                "no command {} for durable keys, and {} is one by persist.route",
                Word(name),
                Word(key)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> Route {
        Route::parse(text).unwrap()
    }

    #[test]
    fn globs_with_blanks_between() {
        assert!(Route::parse("").is_none());
        assert!(Route::parse(" \t ").is_none());
        let route = route(" cart:*  session user:??  q[12]* a\\*");
        for (key, covered) in [
            ("cart:", true),
            ("cart:1", true),
            ("car", false),
            ("session", true),
            ("session2", false),
            ("user:12", true),
            ("user:1", false),
            ("q1", true),
            ("q3", false),
            ("a*", true),
            ("ab", false),
            ("", false),
        ] {
            assert_eq!(route.covers(key.as_bytes()), covered, "{key}");
        }
    }

    #[test]
    fn beginnings_leave_no_key_out() {
        for text in [
            "cart:* session",
            "?x a",
            "[ab]*",
            "\\*a*",
            "*",
            "**",
            "\u{e9}*",
            "a?",
        ] {
            let route = route(text);
            for first in 0..=255u8 {
                for rest in ["", "art:1", "ession", "x", "a", "b\u{e9}"] {
                    let key = [&[first], rest.as_bytes()].concat();
                    let wanted = route.patterns.iter().any(|p| p.matches(&key));
                    assert_eq!(route.covers(&key), wanted, "{text} {}", key.escape_ascii());
                }
            }
            let wanted = route.patterns.iter().any(|p| p.matches(b""));
            assert_eq!(route.covers(b""), wanted, "{text}");
        }
        let bits = |text| route(text).beginnings.bits;
        assert_eq!(bits("a* b"), [0, 3 << 33, 0, 0]);
    }

    #[test]
    fn a_star_is_every_key() {
        let route = route("*");
        assert!(route.covers(b""));
        assert!(route.covers(b"\x00\xff"));
    }

    #[test]
    fn patterns_take_their_fastest_form() {
        for (glob, wanted) in [
            ("*", Pattern::All),
            ("a*", Pattern::Prefix(b"a"[..].into())),
            ("a", Pattern::Exact(b"a"[..].into())),
            ("a**", Pattern::Glob(b"a**"[..].into())),
            ("a\\*", Pattern::Glob(b"a\\*"[..].into())),
            ("a]*", Pattern::Prefix(b"a]"[..].into())),
            ("*a", Pattern::Glob(b"*a"[..].into())),
        ] {
            assert_eq!(Pattern::new(glob.as_bytes()), wanted, "{glob}");
        }
    }

    #[test]
    fn sides_name_the_first_key_of_each() {
        let route = route("d*");
        let sides = |keys: &[&'static str]| route.sides(keys.iter().map(|k| k.as_bytes()));
        assert_eq!(sides(&[]), Sides::Keyless);
        assert_eq!(sides(&["a", "b"]), Sides::Host);
        assert_eq!(sides(&["d1", "d2"]), Sides::Durable(b"d1"));
        let (durable, host) = (&b"d1"[..], &b"a"[..]);
        assert_eq!(
            sides(&["a", "b", "d1", "d2"]),
            Sides::Both { durable, host }
        );
        assert_eq!(sides(&["d1", "d2", "a"]), Sides::Both { durable, host });
    }

    #[test]
    fn refusals_are_one_short_line() {
        let key = [b'\n'; 100];
        let text = Refusal::NoSuchCommand {
            name: b"MIGRATE",
            key: &key,
        }
        .to_string();
        assert!(!text.contains('\n') && text.len() < 300, "{text}");
        assert_eq!(
            Refusal::Both {
                name: b"mget",
                durable: b"cart:1",
                host: b"page:1"
            }
            .to_string(),
            "the keys of 'mget' are on both sides of persist.route: 'cart:1' is durable, 'page:1' is not"
        );
    }
}
