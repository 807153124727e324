//! Random commands, with a taste for edge cases. Names come without a prefix.

mod bitmaps;
mod fields;
mod geo;
mod hashes;
mod hyperloglogs;
mod keys;
mod lists;
mod sets;
mod sorted_sets;
mod sorting;
mod streams;
mod strings;

use persist_tools::generate::Rng;

/// One command.
pub type Argv = Vec<Vec<u8>>;

/// What commands are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Strings,
    Keys,
    Lists,
    Hashes,
    Sets,
    SortedSets,
    Streams,
    Bitmaps,
    Sorting,
    HyperLogLogs,
    Places,
    HashFields,
}

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "-2",
    "7",
    "10",
    "-100",
    "100",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "99999999999999999999999999",
    "",
    "abc",
    "1.5",
    " 1",
    "1 ",
    "+1",
    "-0",
    "007",
    "0x10",
    "1e3",
];

const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "-0.5",
    "1.5",
    "3.0e2",
    "1e20",
    "1e-7",
    "123456789.123456789",
    "5.0000000000000001",
    "-0",
    "0.30000000000000004",
    "9007199254740993",
    "1e308",
    "-1e308",
    "1.7976931348623157e308",
    "1e309",
    "4.9e-324",
    "1e-320",
    "inf",
    "-inf",
    "+inf",
    "Infinity",
    "nan",
    "-nan",
    "",
    "abc",
    "0x1p3",
    " 1",
    "1 ",
    "+2",
    "1e",
    "1.5.5",
    ".5",
    "5.",
];

/// Makes commands of one family, the same ones for the same seed.
pub struct Maker {
    rng: Rng,
    family: Family,
    used_ttls: std::collections::HashSet<u64>,
    /// Entries added to streams, whose ids ascend with it.
    added: u64,
}

impl Maker {
    pub fn new(family: Family, seed: u64) -> Self {
        Self {
            rng: Rng::new(seed ^ (family as u64) << 56),
            family,
            used_ttls: Default::default(),
            added: 0,
        }
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.rng.below(limit)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        self.rng.pick(items)
    }

    /// The next command.
    pub fn next(&mut self) -> Argv {
        // A stream takes long to become interesting.
        let calm = self.family == Family::Streams && self.rng.below(10) > 0;
        let mut argv = match self.rng.below(100) {
            _ if calm => self.stream(),
            // What other types' commands find, and what makes keys vanish.
            0..6 => self.any_type(),
            6..10 => self.expiry(),
            10..13 => self.removal(),
            _ => match self.family {
                Family::Strings => self.string(),
                Family::Keys => self.keys(),
                Family::Lists => self.list(),
                Family::Hashes => self.hash(),
                Family::Sets => self.set(),
                Family::SortedSets => self.sorted_set(),
                Family::Streams => self.stream(),
                Family::Bitmaps => self.bitmap(),
                Family::Sorting => self.sorting(),
                Family::HyperLogLogs => self.hyperloglog(),
                Family::Places => self.geo(),
                Family::HashFields => self.hash_fields(),
            },
        };
        if self.chance(3) {
            self.mutate(&mut argv);
        }
        argv
    }

    /// Too few arguments, too many, another case.
    fn mutate(&mut self, argv: &mut Argv) {
        match self.rng.below(4) {
            0 => {
                if argv.len() > 1 {
                    argv.pop();
                }
            }
            1 => {
                let word = self.pick(&["x", "0", "", "NX", "GET", "COUNT", "WITHSCORES", "LIMIT"]);
                argv.push(word.into());
            }
            2 => argv[0] = argv[0].to_ascii_lowercase(),
            _ => {
                if let Some(last) = argv.last_mut() {
                    *last = last.to_ascii_lowercase();
                }
            }
        }
    }

    fn key(&mut self) -> Vec<u8> {
        match self.rng.below(100) {
            // Keys that all families write to: wrong types.
            0..4 => format!("shared{}", self.rng.below(2)).into(),
            4..5 => b"\x00bin\xff\r\n key".to_vec(),
            5..6 => Vec::new(),
            6..9 => b"missing".to_vec(),
            _ => format!("k{}", self.rng.below(8)).into(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.rng.below(16) {
            0 => Vec::new(),
            1 => b"\x00\xff\r\n\x80".to_vec(),
            2 => "h\u{e9}llo w\u{f6}rld".into(),
            3 => vec![b'a'; 64],
            4 => vec![b'b'; 65],
            5 => {
                let length = self.rng.between(40, 50);
                vec![b'c'; length as usize]
            }
            6 => {
                let length = self.rng.between(200, 9000);
                vec![b'd'; length as usize]
            }
            7..10 => self.pick(INTEGERS).into(),
            10..12 => self.pick(FLOATS).into(),
            _ => format!("v{}", self.rng.below(1000)).into(),
        }
    }

    fn integer(&mut self) -> Vec<u8> {
        if self.chance(50) {
            (self.rng.below(21) as i64 - 10).to_string().into()
        } else {
            self.pick(INTEGERS).into()
        }
    }

    fn float(&mut self) -> Vec<u8> {
        match self.rng.below(4) {
            0 => (self.rng.below(1000) as f64 / 8.0).to_string().into(),
            1 => (self.rng.below(20) as i64 - 10).to_string().into(),
            _ => self.pick(FLOATS).into(),
        }
    }

    /// A count for replies that grow with it, so never a huge one.
    fn count(&mut self) -> Vec<u8> {
        self.pick(&[
            "0",
            "1",
            "2",
            "5",
            "50",
            "600",
            "-1",
            "-3",
            "-30",
            "abc",
            "",
            "1.5",
            "9223372036854775808",
            "-9223372036854775808",
        ])
        .into()
    }

    /// A member or field. A few names are common, so that sets overlap.
    fn member(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => self.value(),
            1 => Vec::new(),
            2..5 => self.rng.below(700).to_string().into(),
            5..10 => format!("m{}", self.rng.below(10)).into(),
            _ => format!("m{}", self.rng.below(700)).into(),
        }
    }

    /// How many elements one command brings: mostly few, now and then as many as turn a packed value into a large one.
    fn some(&mut self) -> u64 {
        match self.rng.below(100) {
            0..60 => 1,
            60..90 => self.rng.between(2, 6),
            90..97 => self.rng.between(20, 140),
            _ => self.rng.between(300, 700),
        }
    }

    fn maybe(&mut self, argv: &mut Argv, percent: u64, word: &str) {
        if self.chance(percent) {
            argv.push(word.into());
        }
    }

    fn command(name: &str, args: impl IntoIterator<Item = Vec<u8>>) -> Argv {
        std::iter::once(name.as_bytes().to_vec())
            .chain(args)
            .collect()
    }

    fn any_type(&mut self) -> Argv {
        let key = match self.family {
            // Streams keep their keys for long.
            Family::Streams => format!("shared{}", self.rng.below(2)).into(),
            _ => self.key(),
        };
        match self.rng.below(6) {
            0 => Self::command("SET", [key, self.value()]),
            1 => Self::command("RPUSH", [key, self.value()]),
            2 => Self::command("SADD", [key, self.value()]),
            3 => Self::command("HSET", [key, self.value(), self.value()]),
            4 => self.add_to_stream(key),
            _ => Self::command("ZADD", [key, b"1".to_vec(), self.value()]),
        }
    }

    fn removal(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.rng.below(5) {
            0 => Self::command("DEL", [a]),
            1 => Self::command("UNLINK", [a, b]),
            2 => Self::command("PERSIST", [a]),
            3 => {
                let word = self.pick(&[
                    "ENCODING", "ENCODING", "encoding", "REFCOUNT", "FREQ", "IDLETIME",
                ]);
                Self::command("OBJECT", [word.into(), a])
            }
            _ => Self::command("TYPE", [a]),
        }
    }

    fn scan_options(&mut self, argv: &mut Argv) {
        if self.chance(40) {
            argv.push(b"MATCH".to_vec());
            argv.push(
                self.pick(&["*", "m*", "k[1-5]", "*1*", "nope", "v\\*", ""])
                    .into(),
            );
        }
        if self.chance(40) {
            argv.push(b"COUNT".to_vec());
            argv.push(self.pick(&["1", "5", "1000", "0", "-1", "abc"]).into());
        }
        self.maybe(argv, 3, "MATCH");
    }

    fn many(
        &mut self,
        name: &str,
        key: Vec<u8>,
        mut item: impl FnMut(&mut Self) -> Vec<u8>,
    ) -> Argv {
        let mut argv = Self::command(name, [key]);
        for _ in 0..self.some() {
            argv.push(item(self));
        }
        argv
    }

    /// A count and that many keys, mostly.
    fn counted(&mut self, argv: &mut Argv) {
        let keys = self.rng.between(1, 4);
        argv.push(match self.rng.below(20) {
            0 => self.integer(),
            _ => keys.to_string().into(),
        });
        for _ in 0..keys {
            argv.push(self.key());
        }
    }
}
