//! Random commands, with a taste for edge cases. Names come without a prefix.

mod bitmaps;
mod fields;
mod geo;
mod hyperloglogs;
mod sorting;

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

const SCORE_BOUNDS: &[&str] = &[
    "-inf", "+inf", "inf", "(-inf", "(+inf", "(1", "(0.1", "((1", "(", "nan", "(nan", "", "(5",
    "(100", "(0x10", " 1", "1 ",
];

const LEX_BOUNDS: &[&str] = &[
    "-", "+", "[", "(", "[a", "(a", "[m1", "(m1", "[m5", "(m9", "[m50", "a", "", "[zz", "(\u{e9}",
    "--", "+x",
];

/// Makes commands of one family, the same ones for the same seed.
pub struct Maker {
    rng: Rng,
    family: Family,
    used_ttls: std::collections::HashSet<u64>,
}

impl Maker {
    pub fn new(family: Family, seed: u64) -> Self {
        Self {
            rng: Rng::new(seed ^ (family as u64) << 56),
            family,
            used_ttls: Default::default(),
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
        let mut argv = match self.rng.below(100) {
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
        let key = self.key();
        match self.rng.below(5) {
            0 => Self::command("SET", [key, self.value()]),
            1 => Self::command("RPUSH", [key, self.value()]),
            2 => Self::command("SADD", [key, self.value()]),
            3 => Self::command("HSET", [key, self.value(), self.value()]),
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

    /// Seconds, far away and never the same twice, so that two keyspaces that look at the clock at slightly different
    /// times come to the same result under GT and LT.
    fn ttl(&mut self) -> u64 {
        loop {
            let ttl = 1000 * self.rng.between(100, 400_000);
            if self.used_ttls.insert(ttl) {
                return ttl;
            }
        }
    }

    fn expiry(&mut self) -> Argv {
        let key = self.key();
        let name = self.pick(&[
            "EXPIRE",
            "PEXPIRE",
            "EXPIREAT",
            "PEXPIREAT",
            "TTL",
            "PTTL",
            "EXPIRETIME",
            "PEXPIRETIME",
            "PERSIST",
        ]);
        let mut argv = Self::command(name, [key]);
        if !name.ends_with("TTL") && !name.ends_with("TIME") && name != "PERSIST" {
            let millis = if name.starts_with('P') { 1000 } else { 1 };
            let time = match self.rng.below(10) {
                0 => self
                    .pick(&["0", "-1", "-1000", "-9223372036854775808"])
                    .into(),
                1 => self.integer_but_near().into(),
                _ if name.ends_with("AT") => {
                    // A few, so that equal times meet.
                    (millis * (4_000_000_000 + self.rng.below(5) * 5000)).to_string()
                }
                _ => (millis * self.ttl()).to_string(),
            };
            argv.push(time.into());
            if self.chance(40) {
                argv.push(self.pick(&["NX", "XX", "GT", "LT", "gt", "ZZ"]).into());
                if self.chance(15) {
                    argv.push(self.pick(&["NX", "XX", "GT", "LT"]).into());
                }
            }
        }
        argv
    }

    /// Edge cases of times; none that would end in the middle of a run.
    fn integer_but_near(&mut self) -> &'static str {
        self.pick(&[
            "9223372036854775807",
            "9223372036854775",
            "9223372036854776",
            "9223372036854775808",
            "-9223372036854775807",
            "",
            "abc",
            "1.5",
            " 1",
            "+1",
        ])
    }

    /// EX, PX and their like, with a value.
    fn expire_option(&mut self, argv: &mut Argv) {
        let word = self.pick(&["EX", "PX", "EXAT", "PXAT"]);
        let millis = if word.starts_with('P') { 1000 } else { 1 };
        argv.push(word.into());
        if self.chance(4) {
            return;
        }
        let time = match self.rng.below(8) {
            0 => self.pick(&["0", "-1", "-5"]).into(),
            1 => self.integer_but_near().into(),
            _ if word.ends_with("AT") => (millis * (4_000_000_000 + self.ttl())).to_string(),
            _ => (millis * self.ttl()).to_string(),
        };
        argv.push(time.into());
    }

    fn string(&mut self) -> Argv {
        let key = self.key();
        match self.rng.below(27) {
            26 => self.common_subsequence(),
            0..4 => {
                let mut argv = Self::command("SET", [key, self.value()]);
                for word in ["NX", "XX", "GET", "KEEPTTL", "get"] {
                    self.maybe(&mut argv, 15, word);
                }
                if self.chance(35) {
                    self.expire_option(&mut argv);
                }
                self.maybe(&mut argv, 10, "NX");
                argv
            }
            4 => Self::command("GET", [key]),
            5 => Self::command("GETSET", [key, self.value()]),
            6 => Self::command("GETDEL", [key]),
            7 => {
                let mut argv = Self::command("GETEX", [key]);
                if self.chance(60) {
                    self.expire_option(&mut argv);
                }
                self.maybe(&mut argv, 25, "PERSIST");
                argv
            }
            8 => {
                let keys: Vec<_> = (0..self.some()).map(|_| self.key()).collect();
                Self::command("MGET", keys)
            }
            9..11 => {
                let name = self.pick(&["MSET", "MSETNX", "MSET"]);
                let mut argv = Self::command(name, []);
                for _ in 0..self.some().min(100) {
                    argv.push(self.key());
                    argv.push(self.value());
                }
                argv
            }
            11 => Self::command("SETNX", [key, self.value()]),
            12 => {
                let ttl = match self.rng.below(4) {
                    0 => self.pick(&["0", "-1", "abc", "9223372036854775807"]).into(),
                    _ => self.ttl().to_string(),
                };
                Self::command("SETEX", [key, ttl.into(), self.value()])
            }
            13 => {
                let ttl = match self.rng.below(4) {
                    0 => self.pick(&["0", "-1", "abc", "9223372036854775807"]).into(),
                    _ => (self.ttl() * 1000).to_string(),
                };
                Self::command("PSETEX", [key, ttl.into(), self.value()])
            }
            14 => Self::command("APPEND", [key, self.value()]),
            15 => Self::command("STRLEN", [key]),
            16 => {
                let name = self.pick(&["GETRANGE", "SUBSTR"]);
                Self::command(name, [key, self.integer(), self.integer()])
            }
            17 => {
                let offset = self
                    .pick(&[
                        "0",
                        "1",
                        "3",
                        "5",
                        "40",
                        "100",
                        "5000",
                        "-1",
                        "536870911",
                        "536870912",
                        "9223372036854775807",
                        "abc",
                        "",
                    ])
                    .to_owned();
                let value = if offset == "536870911" {
                    b"ab".to_vec()
                } else {
                    self.value()
                };
                Self::command("SETRANGE", [key, offset.into(), value])
            }
            18..20 => {
                let name = self.pick(&["INCR", "DECR"]);
                Self::command(name, [key])
            }
            20..22 => {
                let name = self.pick(&["INCRBY", "DECRBY"]);
                Self::command(name, [key, self.integer()])
            }
            22 => Self::command("SET", [key, self.integer()]),
            23 => Self::command("SET", [key, self.float()]),
            _ => Self::command("INCRBYFLOAT", [key, self.float()]),
        }
    }

    /// RESTORE with the name of a key in the place of what DUMP of it gives.
    fn restore(&mut self, to: Vec<u8>, from: Vec<u8>) -> Argv {
        let mut argv = Self::command("RESTORE", [to]);
        argv.push(match self.below(4) {
            0 => self.pick(&["-1", "abc", ""]).into(),
            1 => (self.ttl() * 1000).to_string().into(),
            _ => b"0".to_vec(),
        });
        argv.push(from);
        self.maybe(&mut argv, 60, "REPLACE");
        self.maybe(&mut argv, 15, "replace");
        for word in ["IDLETIME", "FREQ"] {
            if self.chance(10) {
                argv.push(word.into());
                argv.push(self.integer());
            }
        }
        self.maybe(&mut argv, 15, "ABSTTL");
        argv
    }

    fn common_subsequence(&mut self) -> Argv {
        let mut argv = Self::command("LCS", [self.key(), self.key()]);
        for word in ["LEN", "IDX", "idx", "WITHMATCHLEN"] {
            self.maybe(&mut argv, 30, word);
        }
        if self.chance(30) {
            argv.push(b"MINMATCHLEN".to_vec());
            argv.push(self.integer());
        }
        argv
    }

    fn keys(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.rng.below(36) {
            32 => Self::command("DUMP", [a]),
            33..36 => self.restore(a, b),
            0 => Self::command("DEL", [a, b]),
            1 => Self::command("UNLINK", [a]),
            2 => {
                let name = self.pick(&["EXISTS", "TOUCH"]);
                Self::command(name, [a.clone(), b, a])
            }
            3 => Self::command("TYPE", [a]),
            4..6 => Self::command("RENAME", [a, b]),
            6 => Self::command("RENAMENX", [a, b]),
            7..10 => {
                let mut argv = Self::command("COPY", [a, b]);
                if self.chance(30) {
                    argv.push(b"DB".to_vec());
                    argv.push(self.pick(&["0", "1", "2", "15", "16", "-1", "abc"]).into());
                }
                self.maybe(&mut argv, 40, "REPLACE");
                argv
            }
            10 => {
                let db = self.pick(&["0", "1", "2", "16", "-1", "x"]);
                Self::command("MOVE", [a, db.into()])
            }
            11 => {
                let pattern = self.pick(&[
                    "*", "k*", "k[0-3]", "k[^1]", "?1", "", "k\\1", "[", "k[2-", "*\\", "shared?",
                    "**1", "k[3-0]",
                ]);
                Self::command("KEYS", [pattern.into()])
            }
            12..14 => {
                let mut argv = Self::command("SCAN", [b"0".to_vec()]);
                self.scan_options(&mut argv);
                if self.chance(30) {
                    argv.push(b"TYPE".to_vec());
                    argv.push(
                        self.pick(&["string", "hash", "zset", "STRING", "nope"])
                            .into(),
                    );
                }
                argv
            }
            14 => Self::command("RANDOMKEY", []),
            15 => Self::command("DBSIZE", []),
            16 => {
                let mut argv = Self::command("FLUSHDB", []);
                if self.chance(60) {
                    argv.push(self.pick(&["SYNC", "ASYNC", "async", "NOW"]).into());
                }
                // Mostly something else: an empty keyspace is no test.
                if self.chance(25) {
                    argv
                } else {
                    self.any_type()
                }
            }
            17 => {
                let (x, y) = (
                    self.pick(&["0", "1", "2"]),
                    self.pick(&["0", "1", "16", "-1", "x"]),
                );
                Self::command("SWAPDB", [x.into(), y.into()])
            }
            18 => {
                let db = self.pick(&["0", "0", "1", "2"]);
                Self::command("SELECT", [db.into()])
            }
            19..26 => self.expiry(),
            _ => self.any_type(),
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

    fn list(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.rng.below(24) {
            0..6 => {
                let name = self.pick(&["LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]);
                // A few values are common, so that LREM, LPOS and LINSERT find some.
                self.many(name, a, |maker| {
                    if maker.chance(50) {
                        format!("m{}", maker.below(6)).into()
                    } else {
                        maker.value()
                    }
                })
            }
            6..9 => {
                let name = self.pick(&["LPOP", "RPOP"]);
                let mut argv = Self::command(name, [a]);
                if self.chance(40) {
                    argv.push(self.integer());
                }
                argv
            }
            9 => {
                let mut argv = Self::command("LMPOP", []);
                self.counted(&mut argv);
                argv.push(self.pick(&["LEFT", "RIGHT", "left", "UP"]).into());
                if self.chance(50) {
                    argv.push(b"COUNT".to_vec());
                    argv.push(self.integer());
                }
                argv
            }
            10..12 => {
                let (from, to) = (
                    self.pick(&["LEFT", "RIGHT", "right"]),
                    self.pick(&["LEFT", "RIGHT", "DOWN"]),
                );
                Self::command("LMOVE", [a, b, from.into(), to.into()])
            }
            12 => Self::command("RPOPLPUSH", [a, b]),
            13 => Self::command("LLEN", [a]),
            14..16 => Self::command("LRANGE", [a, self.integer(), self.integer()]),
            16 => Self::command("LINDEX", [a, self.integer()]),
            17..19 => {
                let mut argv = Self::command("LPOS", [a, self.element()]);
                for word in ["RANK", "COUNT", "MAXLEN"] {
                    if self.chance(35) {
                        argv.push(word.into());
                        if !self.chance(4) {
                            argv.push(self.integer());
                        }
                    }
                }
                argv
            }
            19 => Self::command("LSET", [a, self.integer(), self.value()]),
            20 => {
                let place = self.pick(&["BEFORE", "AFTER", "before", "AT"]);
                Self::command("LINSERT", [a, place.into(), self.element(), self.value()])
            }
            21 => Self::command("LREM", [a, self.integer(), self.element()]),
            22 => Self::command("LTRIM", [a, self.integer(), self.integer()]),
            _ => Self::command("LTRIM", [a, b"0".to_vec(), b"300".to_vec()]),
        }
    }

    fn element(&mut self) -> Vec<u8> {
        if self.chance(70) {
            format!("m{}", self.rng.below(6)).into()
        } else {
            self.value()
        }
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

    fn hash(&mut self) -> Argv {
        let key = self.key();
        match self.rng.below(24) {
            0..6 => {
                let name = self.pick(&["HSET", "HSET", "HMSET"]);
                let mut argv = Self::command(name, [key]);
                for _ in 0..self.some() {
                    argv.push(self.member());
                    argv.push(self.value());
                }
                argv
            }
            6 => Self::command("HSETNX", [key, self.member(), self.value()]),
            7 => Self::command("HGET", [key, self.member()]),
            8 => self.many("HMGET", key, Self::member),
            9 => Self::command("HGETALL", [key]),
            10..13 => self.many("HDEL", key, Self::member),
            13 => Self::command("HLEN", [key]),
            14 => {
                let name = self.pick(&["HEXISTS", "HSTRLEN"]);
                Self::command(name, [key, self.member()])
            }
            15 => {
                let name = self.pick(&["HKEYS", "HVALS"]);
                Self::command(name, [key])
            }
            16..18 => Self::command("HINCRBY", [key, self.member(), self.integer()]),
            18..20 => Self::command("HINCRBYFLOAT", [key, self.member(), self.float()]),
            20..22 => {
                let mut argv = Self::command("HRANDFIELD", [key]);
                if self.chance(80) {
                    argv.push(self.count());
                    self.maybe(&mut argv, 50, "WITHVALUES");
                    self.maybe(&mut argv, 5, "WITHSCORES");
                }
                argv
            }
            _ => {
                let mut argv = Self::command("HSCAN", [key, b"0".to_vec()]);
                self.scan_options(&mut argv);
                argv
            }
        }
    }

    fn set(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.rng.below(26) {
            0..6 => {
                // All integers now and then: that is another encoding in the host.
                if self.chance(40) {
                    self.many("SADD", a, |maker| maker.below(900).to_string().into())
                } else {
                    self.many("SADD", a, Self::member)
                }
            }
            6..9 => self.many("SREM", a, Self::member),
            9 => {
                let name = self.pick(&["SMEMBERS", "SCARD"]);
                Self::command(name, [a])
            }
            10 => Self::command("SISMEMBER", [a, self.member()]),
            11 => self.many("SMISMEMBER", a, Self::member),
            12..14 => {
                let mut argv = Self::command("SPOP", [a]);
                if self.chance(50) {
                    argv.push(self.count());
                }
                argv
            }
            14..16 => {
                let mut argv = Self::command("SRANDMEMBER", [a]);
                if self.chance(70) {
                    argv.push(self.count());
                }
                argv
            }
            16..18 => Self::command("SMOVE", [a, b, self.member()]),
            18..20 => {
                let name = self.pick(&["SINTER", "SUNION", "SDIFF"]);
                self.few_keys(name)
            }
            20..23 => {
                let name = self.pick(&["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]);
                let mut argv = self.few_keys(name);
                argv.insert(1, a);
                argv
            }
            23 => {
                let mut argv = Self::command("SINTERCARD", []);
                self.counted(&mut argv);
                if self.chance(40) {
                    argv.push(b"LIMIT".to_vec());
                    argv.push(self.integer());
                }
                argv
            }
            _ => {
                let mut argv = Self::command("SSCAN", [a, b"0".to_vec()]);
                self.scan_options(&mut argv);
                argv
            }
        }
    }

    fn few_keys(&mut self, name: &str) -> Argv {
        let keys: Vec<_> = (0..self.rng.between(1, 4)).map(|_| self.key()).collect();
        Self::command(name, keys)
    }

    fn score_bound(&mut self) -> Vec<u8> {
        match self.rng.below(3) {
            0 => self.pick(SCORE_BOUNDS).into(),
            1 => (self.rng.below(40) as i64 - 10).to_string().into(),
            _ => self.float(),
        }
    }

    fn lex_bound(&mut self) -> Vec<u8> {
        match self.rng.below(3) {
            0 => {
                let kind = self.pick(&["[", "("]);
                [kind.as_bytes(), &self.member()].concat()
            }
            _ => self.pick(LEX_BOUNDS).into(),
        }
    }

    fn limit(&mut self, argv: &mut Argv) {
        if self.chance(35) {
            argv.push(b"LIMIT".to_vec());
            argv.push(self.integer());
            if !self.chance(4) {
                argv.push(self.integer());
            }
        }
    }

    fn sorted_set(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.rng.below(40) {
            0..9 => {
                let mut argv = Self::command("ZADD", [a]);
                for word in ["NX", "XX", "GT", "LT", "CH"] {
                    self.maybe(&mut argv, 8, word);
                }
                let incr = self.chance(10);
                if incr {
                    argv.push(b"INCR".to_vec());
                }
                let pairs = if incr && self.chance(90) {
                    1
                } else {
                    self.some()
                };
                // In some keys all scores are equal, mostly: for BYLEX.
                let by_name = [&b"k0"[..], b"k1", b"k2"].contains(&argv[1].as_slice());
                let equal = self.chance(if by_name { 92 } else { 20 });
                for _ in 0..pairs {
                    argv.push(match self.rng.below(12) {
                        _ if equal => b"0".to_vec(),
                        0 if pairs < 10 => self.pick(FLOATS).into(),
                        1..6 => (self.rng.below(40) as i64 - 10).to_string().into(),
                        _ => (self.rng.below(100_000) as f64 / 128.0).to_string().into(),
                    });
                    argv.push(self.member());
                }
                argv
            }
            9..11 => self.many("ZREM", a, Self::member),
            11 => {
                let name = self.pick(&["ZSCORE", "ZRANK", "ZREVRANK"]);
                Self::command(name, [a, self.member()])
            }
            12 => self.many("ZMSCORE", a, Self::member),
            13..15 => Self::command("ZINCRBY", [a, self.float(), self.member()]),
            15 => Self::command("ZCARD", [a]),
            16 => Self::command("ZCOUNT", [a, self.score_bound(), self.score_bound()]),
            17 => Self::command("ZLEXCOUNT", [a, self.lex_bound(), self.lex_bound()]),
            18..22 => {
                let mut argv = Self::command("ZRANGE", [a]);
                self.range_arguments(&mut argv);
                self.maybe(&mut argv, 40, "WITHSCORES");
                argv
            }
            22 => {
                let mut argv = Self::command("ZRANGESTORE", [a, b]);
                self.range_arguments(&mut argv);
                argv
            }
            23 => {
                let mut argv = Self::command("ZREVRANGE", [a, self.integer(), self.integer()]);
                self.maybe(&mut argv, 40, "WITHSCORES");
                argv
            }
            24..26 => {
                let name = self.pick(&["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"]);
                let mut argv = Self::command(name, [a, self.score_bound(), self.score_bound()]);
                self.maybe(&mut argv, 40, "WITHSCORES");
                self.limit(&mut argv);
                self.maybe(&mut argv, 10, "WITHSCORES");
                argv
            }
            26 => {
                let name = self.pick(&["ZRANGEBYLEX", "ZREVRANGEBYLEX"]);
                let mut argv = Self::command(name, [a, self.lex_bound(), self.lex_bound()]);
                self.limit(&mut argv);
                argv
            }
            27 => Self::command("ZREMRANGEBYRANK", [a, self.integer(), self.integer()]),
            28 => Self::command(
                "ZREMRANGEBYSCORE",
                [a, self.score_bound(), self.score_bound()],
            ),
            29 => Self::command("ZREMRANGEBYLEX", [a, self.lex_bound(), self.lex_bound()]),
            30..32 => {
                let name = self.pick(&["ZPOPMIN", "ZPOPMAX"]);
                let mut argv = Self::command(name, [a]);
                if self.chance(50) {
                    argv.push(self.integer());
                }
                argv
            }
            32 => {
                let mut argv = Self::command("ZMPOP", []);
                self.counted(&mut argv);
                argv.push(self.pick(&["MIN", "MAX", "max", "MID"]).into());
                if self.chance(50) {
                    argv.push(b"COUNT".to_vec());
                    argv.push(self.integer());
                }
                argv
            }
            33 => {
                let mut argv = Self::command("ZRANDMEMBER", [a]);
                if self.chance(80) {
                    argv.push(self.count());
                    self.maybe(&mut argv, 50, "WITHSCORES");
                    self.maybe(&mut argv, 5, "WITHVALUES");
                }
                argv
            }
            34 => {
                let name = self.pick(&["ZINTER", "ZUNION"]);
                let mut argv = Self::command(name, []);
                self.counted(&mut argv);
                self.weights(&mut argv);
                self.maybe(&mut argv, 50, "WITHSCORES");
                argv
            }
            35..37 => {
                let name = self.pick(&["ZINTERSTORE", "ZUNIONSTORE"]);
                let mut argv = Self::command(name, [a]);
                self.counted(&mut argv);
                self.weights(&mut argv);
                argv
            }
            37 => {
                let name = self.pick(&["ZDIFF", "ZDIFFSTORE", "ZINTERCARD"]);
                let mut argv = Self::command(name, []);
                if name == "ZDIFFSTORE" {
                    argv.push(a);
                }
                self.counted(&mut argv);
                if name == "ZDIFF" {
                    self.maybe(&mut argv, 50, "WITHSCORES");
                }
                if name == "ZINTERCARD" && self.chance(40) {
                    argv.push(b"LIMIT".to_vec());
                    argv.push(self.integer());
                }
                argv
            }
            38 => self.many("SADD", a, Self::member),
            _ => {
                let mut argv = Self::command("ZSCAN", [a, b"0".to_vec()]);
                self.scan_options(&mut argv);
                argv
            }
        }
    }

    fn range_arguments(&mut self, argv: &mut Argv) {
        let by = self.pick(&["", "", "BYSCORE", "BYLEX"]);
        for _ in 0..2 {
            argv.push(match by {
                "BYSCORE" => self.score_bound(),
                "BYLEX" => self.lex_bound(),
                _ => self.integer(),
            });
        }
        if !by.is_empty() {
            argv.push(by.into());
        }
        self.maybe(argv, 40, "REV");
        if !by.is_empty() || self.chance(5) {
            self.limit(argv);
        }
    }

    fn weights(&mut self, argv: &mut Argv) {
        let keys = argv
            .iter()
            .find_map(|arg| std::str::from_utf8(arg).ok()?.parse::<u64>().ok())
            .unwrap_or(1)
            .min(6);
        if self.chance(40) {
            argv.push(b"WEIGHTS".to_vec());
            let keys = if self.chance(5) { keys + 1 } else { keys };
            for _ in 0..keys {
                argv.push(self.float());
            }
        }
        if self.chance(40) {
            argv.push(b"AGGREGATE".to_vec());
            argv.push(self.pick(&["SUM", "MIN", "MAX", "max", "AVG"]).into());
        }
    }
}
