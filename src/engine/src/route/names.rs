//! What a plain command's name means to the route, found without regard to
//! case and, in most cases, with one comparison.

use crate::command::spec::Find;
use crate::command::{Spec, table};

/// A name that the route knows. A host's command that isn't known here has
/// to be asked for its keys.
#[derive(Debug, Clone, Copy)]
pub enum Known {
    /// There is a durable form.
    Durable {
        /// Its place in the table of commands.
        number: usize,
        /// Its declaration.
        spec: &'static Spec,
        /// Where its only key is, if it can have but one.
        only_key: Option<usize>,
    },
    /// Stays the host's: it has no keys, or they only say what a script is
    /// going to touch, and each of its commands is routed by itself.
    Pass,
    /// WATCH: the host's, but durable keys among its keys may end before EXEC.
    Watch,
    /// EXEC: the host's, after watched durable keys that are due have ended.
    Exec,
}

/// The host's commands that have nothing for the route, as of 7.0. Those that
/// are missing here are slower, not wrong.
const PASSED: &[&str] = &[
    "ACL",
    "ASKING",
    "AUTH",
    "BGREWRITEAOF",
    "BGSAVE",
    "CLIENT",
    "CLUSTER",
    "COMMAND",
    "CONFIG",
    "DBSIZE",
    "DEBUG",
    "DISCARD",
    "ECHO",
    "EVAL",
    "EVALSHA",
    "EVALSHA_RO",
    "EVAL_RO",
    "FAILOVER",
    "FCALL",
    "FCALL_RO",
    "FLUSHALL",
    "FLUSHDB",
    "FUNCTION",
    "HELLO",
    "INFO",
    "KEYS",
    "LASTSAVE",
    "LATENCY",
    "LOLWUT",
    "MODULE",
    "MONITOR",
    "MULTI",
    "PFSELFTEST",
    "PING",
    "PSUBSCRIBE",
    "PSYNC",
    "PUBLISH",
    "PUBSUB",
    "PUNSUBSCRIBE",
    "QUIT",
    "RANDOMKEY",
    "READONLY",
    "READWRITE",
    "REPLCONF",
    "REPLICAOF",
    "RESET",
    "ROLE",
    "SAVE",
    "SCAN",
    "SCRIPT",
    "SELECT",
    "SHUTDOWN",
    "SLAVEOF",
    "SLOWLOG",
    "SPUBLISH",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SWAPDB",
    "SYNC",
    "TIME",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WAIT",
];

/// Slots of the table; a power of two, several times the number of names.
const SLOTS: usize = 2048;

/// Every name the route knows.
pub struct Names {
    entries: Vec<(Folded, Known)>,
    /// One more than the entry's index; 0 is free.
    slots: Box<[u16; SLOTS]>,
}

/// A name in a few words that are equal for equal names, whatever their case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Folded([u64; 4]);

impl Folded {
    /// Reads a name from both ends, in words that may overlap; `None` when it
    /// is longer than any known one.
    #[inline]
    fn new(name: &[u8]) -> Option<Folded> {
        // Turns letters to lower case. What else may become equal by it isn't
        // in the names of commands.
        const LOWER: u64 = 0x2020_2020_2020_2020;
        let len = name.len();
        let (first, middle, last) = match *name {
            [] => return None,
            [a] => (u64::from(a), 0, 0),
            [a, b] => (u64::from(a), u64::from(b), 0),
            [a, b, c] => (u64::from(a), u64::from(b), u64::from(c)),
            _ => {
                if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
                    let middle = match name.get(8..16) {
                        Some(middle) if len > 16 => middle.try_into().map_or(0, u64::from_le_bytes),
                        _ => 0,
                    };
                    (
                        u64::from_le_bytes(*first),
                        middle,
                        u64::from_le_bytes(*last),
                    )
                } else {
                    let word = |bytes: Option<&[u8; 4]>| {
                        bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
                    };
                    (word(name.first_chunk()), 0, word(name.last_chunk()))
                }
            }
        };
        (len <= 24).then_some(Folded([
            len as u64,
            first | LOWER,
            middle | LOWER,
            last | LOWER,
        ]))
    }

    #[inline]
    fn slot(self) -> usize {
        let [len, first, middle, last] = self.0;
        let mixed = (first ^ len ^ middle.rotate_left(17))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(last)
            .wrapping_mul(0xff51_afd7_ed55_8ccd);
        (mixed >> 40) as usize % SLOTS
    }
}

impl Default for Names {
    fn default() -> Self {
        let mut names = Names {
            entries: Vec::new(),
            slots: Box::new([0; SLOTS]),
        };
        // What is added first is found first: EVAL never becomes durable.
        for name in PASSED {
            names.add(name, Known::Pass);
        }
        names.add("WATCH", Known::Watch);
        names.add("EXEC", Known::Exec);
        for (number, spec) in table::all().enumerate() {
            let known = if spec.keys.is_empty() {
                Known::Pass
            } else {
                let only_key = match spec.keys {
                    [only] if matches!(only.find, Find::Range { last: 0, .. }) => Some(only.first),
                    _ => None,
                };
                Known::Durable {
                    number,
                    spec,
                    only_key,
                }
            };
            names.add(spec.name, known);
        }
        names
    }
}

impl Names {
    fn add(&mut self, name: &str, known: Known) {
        // A longer name would not be found, and so be asked of the host.
        let Some(name) = Folded::new(name.as_bytes()) else {
            return;
        };
        // The table is never half full, so this ends.
        let mut at = name.slot();
        while self.slots[at] != 0 {
            at = (at + 1) % SLOTS;
        }
        self.entries.push((name, known));
        self.slots[at] = self.entries.len() as u16;
    }

    /// What `name` is, in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Known> {
        let name = Folded::new(name)?;
        let mut at = name.slot();
        loop {
            let entry = usize::from(self.slots[at]).checked_sub(1)?;
            let (known_name, known) = self.entries.get(entry)?;
            if *known_name == name {
                return Some(known);
            }
            at = (at + 1) % SLOTS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case() {
        let names = Names::default();
        for (wanted, spec) in table::all().enumerate() {
            for name in [spec.name.to_string(), spec.name.to_ascii_lowercase()] {
                match names.find(name.as_bytes()) {
                    Some(Known::Durable { number, spec, .. }) => {
                        assert_eq!(*number, wanted, "{name}");
                        assert!(!spec.keys.is_empty(), "{name}");
                    }
                    Some(Known::Pass) => assert!(spec.keys.is_empty(), "{name}"),
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
        assert!(matches!(names.find(b"eVaL"), Some(Known::Pass)));
        assert!(matches!(names.find(b"scan"), Some(Known::Pass)));
        assert!(matches!(names.find(b"watch"), Some(Known::Watch)));
        assert!(matches!(names.find(b"Exec"), Some(Known::Exec)));
        for unknown in [
            "",
            "ge",
            "gett",
            "persist.get",
            "GET ",
            "\0",
            "[SET",
            "ZREVRANGEBYSCOR",
            "ZREVRANGEXXSCORE",
            "ZREMRANGEBYSCOREZREMRANGEBYSCORE",
        ] {
            assert!(names.find(unknown.as_bytes()).is_none(), "{unknown:?}");
        }
    }

    #[test]
    fn no_two_names_look_alike() {
        let mut all: Vec<&str> = PASSED.to_vec();
        all.extend(table::all().map(|spec| spec.name));
        all.sort_unstable();
        all.dedup();
        for (i, a) in all.iter().enumerate() {
            assert!(a.len() <= 24, "{a} is too long to be found");
            for b in &all[i + 1..] {
                assert_ne!(
                    Folded::new(a.as_bytes()),
                    Folded::new(b.as_bytes()),
                    "{a} {b}"
                );
            }
        }
    }

    #[test]
    fn the_table_stays_sparse() {
        let names = Names::default();
        assert!(names.entries.len() * 4 < SLOTS);
        let direct = names
            .entries
            .iter()
            .filter(|(name, _)| {
                let at = names.slots[name.slot()];
                names.entries[usize::from(at) - 1].0 == *name
            })
            .count();
        assert!(direct * 10 > names.entries.len() * 8, "{direct}");
    }

    #[test]
    fn the_only_key_is_where_the_declaration_says() {
        let names = Names::default();
        for (name, wanted) in [("GET", Some(1)), ("MGET", None), ("LMPOP", None)] {
            match names.find(name.as_bytes()) {
                Some(Known::Durable { only_key, .. }) => assert_eq!(*only_key, wanted, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
