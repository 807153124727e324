//! How a command is declared.

use std::ffi::CStr;

use super::{CommandError, Cx};

/// A command's code. `args` holds the name first. Nothing may be changed or
/// replied before an error is returned.
pub type Handler = fn(&mut Cx<'_>, &[&[u8]]) -> Result<(), CommandError>;

/// What the host must know of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// Changes keys.
    pub const WRITE: Flags = Flags(1);
    /// Only looks.
    pub const READONLY: Flags = Flags(2);
    /// May grow memory: refused past the memory limit.
    pub const DENYOOM: Flags = Flags(4);
    /// Takes constant or logarithmic time.
    pub const FAST: Flags = Flags(8);
    /// Can block the server or lose much at one word (ACL @dangerous).
    pub const DANGEROUS: Flags = Flags(16);

    /// With `READONLY`: may keep what it found out in the value.
    pub const CACHES: Flags = Flags(32);
    /// May wait until a key holds something.
    pub const BLOCKING: Flags = Flags(64);
    /// Not from scripts of Redis before 7.2.
    pub const NOSCRIPT: Flags = Flags(128);
    /// Leads to keys that its arguments don't name.
    pub const LEADS: Flags = Flags(256);

    /// Both.
    pub const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other` are in.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// `WRITE`
pub const W: Flags = Flags::WRITE;
/// `WRITE FAST`
pub const WF: Flags = Flags::WRITE.or(Flags::FAST);
/// `WRITE DENYOOM`
pub const WM: Flags = Flags::WRITE.or(Flags::DENYOOM);
/// `WRITE DENYOOM FAST`
pub const WMF: Flags = WM.or(Flags::FAST);
/// `READONLY`
pub const R: Flags = Flags::READONLY;
/// `READONLY FAST`
pub const RF: Flags = Flags::READONLY.or(Flags::FAST);
/// `BLOCKING`
pub const BLOCKING: Flags = Flags::BLOCKING;
/// `NOSCRIPT`
pub const NOSCRIPT: Flags = Flags::NOSCRIPT;

/// Which data a command is about; also its ACL category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Strings.
    String,
    /// Keys of any kind.
    Generic,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Hashes.
    Hash,
    /// Sorted sets.
    SortedSet,
    /// Streams.
    Stream,
    /// Strings as rows of bits.
    Bitmap,
    /// Estimates of how many different elements there are.
    HyperLogLog,
    /// Places, in sorted sets.
    Geo,
}

impl Group {
    /// The ACL category, without the `@`.
    pub fn category(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Generic => "keyspace",
            Group::List => "list",
            Group::Set => "set",
            Group::Hash => "hash",
            Group::SortedSet => "sortedset",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::Geo => "geo",
        }
    }
}

/// What a command does with keys, in the words of Redis's key specs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAccess {
    /// Reads and returns the value (RO ACCESS).
    Read,
    /// Reads only metadata (RO).
    Look,
    /// Overwrites, whatever was there (OW UPDATE).
    Overwrite,
    /// Changes by what was there (RW UPDATE).
    Update,
    /// Changes and returns what was there (RW ACCESS UPDATE).
    Modify,
    /// Adds, without changing what was there (RW INSERT).
    Insert,
    /// Deletes parts (RW DELETE).
    Shrink,
    /// Deletes and returns parts (RW ACCESS DELETE).
    Pop,
    /// Removes the key (RM DELETE).
    Remove,
    /// SET's: [`Modify`](KeyAccess::Modify) with the word GET, else
    /// [`Overwrite`](KeyAccess::Overwrite).
    OverwriteOrGet,
    /// BITFIELD's: [`Read`](KeyAccess::Read) if it has nothing but GETs, else
    /// [`Modify`](KeyAccess::Modify).
    ModifyOrGet,
}

impl KeyAccess {
    /// Whether it depends on the other arguments.
    pub const fn varies(self) -> bool {
        matches!(self, KeyAccess::OverwriteOrGet | KeyAccess::ModifyOrGet)
    }

    /// What a call with `args` (name first) does. A user who may only write
    /// a key would read it with SET's GET, were this said wrongly.
    pub fn of_call(self, args: &[&[u8]]) -> KeyAccess {
        let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        match self {
            KeyAccess::OverwriteOrGet => {
                let mut options = args.iter().skip(3);
                if options.any(|word| is(word, "GET")) {
                    KeyAccess::Modify
                } else {
                    KeyAccess::Overwrite
                }
            }
            KeyAccess::ModifyOrGet => {
                let mut rest = args.get(2..).unwrap_or_default();
                loop {
                    rest = match rest {
                        [] => return KeyAccess::Read,
                        [word, _, _, more @ ..] if is(word, "GET") => more,
                        [word, _, more @ ..] if is(word, "OVERFLOW") => more,
                        _ => return KeyAccess::Modify,
                    }
                }
            }
            said => said,
        }
    }
}

/// Where keys stand among the arguments.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec {
    /// Index of the first key; the name is 0.
    pub first: usize,
    /// How the others follow.
    pub find: Find,
    /// What is done with them.
    pub access: KeyAccess,
}

/// How keys follow the first.
#[derive(Debug, Clone, Copy)]
pub enum Find {
    /// Up to `last` (relative to the first key; negative from the end of the
    /// arguments), every `step`.
    Range {
        /// Last key.
        last: i32,
        /// Distance of keys.
        step: usize,
    },
    /// `first` is a count, and that many keys follow it.
    Counted,
    /// Of what follows the first such word, at `first` or behind it, the
    /// first half.
    HalfBehind(&'static CStr),
    /// The key is what follows this word, which is looked for from `first` on.
    Behind(&'static CStr),
}

impl KeySpec {
    /// One key at `first`.
    pub const fn one(first: usize, access: KeyAccess) -> Self {
        KeySpec {
            first,
            find: Find::Range { last: 0, step: 1 },
            access,
        }
    }

    /// All arguments from `first`, every `step`.
    pub const fn rest(first: usize, step: usize, access: KeyAccess) -> Self {
        KeySpec {
            first,
            find: Find::Range { last: -1, step },
            access,
        }
    }

    /// A count at `first` and that many keys.
    pub const fn counted(first: usize, access: KeyAccess) -> Self {
        KeySpec {
            first,
            find: Find::Counted,
            access,
        }
    }

    /// Behind `word`, keys and as many other arguments.
    pub const fn half_behind(word: &'static CStr, from: usize, access: KeyAccess) -> Self {
        KeySpec {
            first: from,
            find: Find::HalfBehind(word),
            access,
        }
    }

    /// The keys from `first` up to `last` further on.
    pub const fn rest_to(first: usize, last: i32, access: KeyAccess) -> Self {
        KeySpec {
            first,
            find: Find::Range { last, step: 1 },
            access,
        }
    }

    /// What follows `word`, which is looked for from argument `from` on.
    pub const fn behind(word: &'static CStr, from: usize, access: KeyAccess) -> Self {
        KeySpec {
            first: from,
            find: Find::Behind(word),
            access,
        }
    }

    /// Where keys are among `args` (name first): from here, to there, every
    /// so many.
    fn places(&self, args: &[&[u8]]) -> (usize, usize, usize) {
        let (from, to, step) = match self.find {
            Find::Range { last, step } if last < 0 => (
                self.first,
                args.len().saturating_add_signed(last as isize + 1),
                step,
            ),
            Find::Range { last, step } => (self.first, self.first + last as usize + 1, step),
            Find::Counted => {
                let n = args
                    .get(self.first)
                    .and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok())
                    .unwrap_or(0);
                (self.first + 1, (self.first + 1).saturating_add(n), 1)
            }
            Find::HalfBehind(word) => {
                let mut words = args.iter().skip(self.first);
                let at = words.position(|w| w.eq_ignore_ascii_case(word.to_bytes()));
                let from = at.map_or(args.len(), |at| self.first + at + 1);
                (from, from + (args.len() - from) / 2, 1)
            }
            Find::Behind(word) => {
                let from = args.get(self.first..).unwrap_or_default();
                match from
                    .iter()
                    .position(|arg| arg.eq_ignore_ascii_case(word.to_bytes()))
                {
                    Some(at) => (self.first + at + 1, self.first + at + 2, 1),
                    None => (0, 0, 1),
                }
            }
        };
        (from, to.min(args.len()), step.max(1))
    }

    /// The keys among `args` (name first).
    pub fn keys<'a>(&self, args: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
        let (from, to, step) = self.places(args);
        args.get(from..to)
            .unwrap_or_default()
            .iter()
            .step_by(step)
            .copied()
    }

    /// The places of the keys among `args` (name first).
    pub fn positions(&self, args: &[&[u8]]) -> impl Iterator<Item = usize> + use<> {
        let (from, to, step) = self.places(args);
        (from..to).step_by(step)
    }
}

/// A command, declared once.
#[derive(Debug)]
pub struct Spec {
    /// Canonical name, upper case, without `PERSIST.`; what the log says.
    pub name: &'static str,
    /// Number of arguments, the name included; negative: at least so many.
    pub arity: i32,
    /// What it does.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// What it is about.
    pub group: Group,
    /// First Redis version with this command.
    pub since: &'static str,
    /// Time complexity.
    pub complexity: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The arguments, in redis.io's notation.
    pub syntax: &'static str,
    /// Commands run one after the other on an empty keyspace, and the reply
    /// to each in the notation of [`Node`](super::reply::Node)'s Display.
    pub examples: &'static [(&'static str, &'static str)],
    /// The code.
    pub run: Handler,
}

impl Spec {
    /// Whether a call with `n` arguments, the name included, is in order.
    #[inline]
    pub fn accepts(&self, n: usize) -> bool {
        let want = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { n >= want } else { n == want }
    }

    /// Whether it may leave effects for the log.
    #[inline]
    pub const fn may_log(&self) -> bool {
        self.flags.has(Flags::WRITE) || self.flags.has(Flags::CACHES)
    }

    /// Whether its other arguments say where its keys are, or what it does
    /// with them. For client-side caching and cluster slots, the host finds
    /// such keys of a module's command only by asking the command.
    pub const fn tells_keys(&self) -> bool {
        let mut at = 0;
        while at < self.keys.len() {
            let key = &self.keys[at];
            if key.access.varies() || !matches!(key.find, Find::Range { .. }) {
                return true;
            }
            at += 1;
        }
        false
    }

    /// The keys among `args` (name first).
    pub fn keys_of<'a>(&self, args: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
        self.keys.iter().flat_map(move |spec| spec.keys(args))
    }
}
