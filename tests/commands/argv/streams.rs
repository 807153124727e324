//! Commands on streams.

use super::{Argv, INTEGERS, Maker};

/// Ids that are no plain ones.
const ODD_IDS: &[&str] = &[
    "0",
    "0-0",
    "0-1",
    "0-*",
    "1-18446744073709551615",
    "18446744073709551615",
    "18446744073709551615-18446744073709551615",
    "18446744073709551616",
    "-1",
    "1-",
    "-",
    "+",
    "*",
    "$",
    ">",
    "",
    "abc",
    "1-2-3",
    "007-05",
    " 1",
    "1 ",
    "(1",
    "(",
    "1-*",
];

/// Ids lie so far in the future that the server's clock gives none: where both keyspaces would choose by the clock, they
/// count on instead.
const FUTURE: u64 = 4_100_000_000_000;

impl Maker {
    /// An id near those that were added lately.
    fn id(&mut self) -> Vec<u8> {
        let ms = FUTURE + self.added.saturating_sub(self.rng.below(40));
        match self.rng.below(20) {
            0 => self.pick(ODD_IDS).into(),
            1 => (FUTURE + self.added + self.rng.below(5)).to_string().into(),
            2..14 => ms.to_string().into(),
            _ => format!("{ms}-{}", self.rng.below(3)).into(),
        }
    }

    /// An id, or what else an interval begins or ends with.
    fn interval_end(&mut self) -> Vec<u8> {
        match self.rng.below(10) {
            0..3 => self.pick(&["-", "+"]).into(),
            3 => [b"(", &self.id()[..]].concat(),
            _ => self.id(),
        }
    }

    fn ids(&mut self, argv: &mut Argv) {
        for _ in 0..self.rng.between(1, 6) {
            argv.push(self.id());
        }
    }

    fn group(&mut self) -> Vec<u8> {
        match self.rng.below(30) {
            0 => Vec::new(),
            1 => b"nobody\r\n".to_vec(),
            2 => b"\xc3\xa9".to_vec(),
            _ => format!("g{}", self.rng.below(2)).into(),
        }
    }

    fn consumer(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => self.value(),
            _ => format!("c{}", self.rng.below(4)).into(),
        }
    }

    /// Nothing that the few ms between two keyspaces could decide.
    fn min_idle(&mut self) -> Vec<u8> {
        self.pick(&[
            "0",
            "0",
            "0",
            "1000000000",
            "-5",
            "abc",
            "9223372036854775807",
        ])
        .into()
    }

    fn count_option(&mut self, argv: &mut Argv, percent: u64) {
        if self.chance(percent) {
            argv.push(b"COUNT".to_vec());
            let few = ["1", "2", "3", "10", "1000"];
            argv.push(if self.chance(90) {
                self.pick(&few).into()
            } else {
                self.pick(INTEGERS).into()
            });
        }
    }

    /// How far to trim.
    fn trimming(&mut self, argv: &mut Argv) {
        let by_id = self.chance(40);
        argv.push(
            self.pick(if by_id {
                &["MINID", "minid"]
            } else {
                &["MAXLEN"]
            })
            .into(),
        );
        let approximate = self.chance(60);
        if approximate {
            argv.push(b"~".to_vec());
        } else if self.chance(30) {
            argv.push(b"=".to_vec());
        }
        argv.push(match self.rng.below(12) {
            0 => self.pick(INTEGERS).into(),
            _ if by_id => self.id(),
            1..3 => self.rng.below(8).to_string().into(),
            _ => self.rng.between(20, 250).to_string().into(),
        });
        if self.chance(if approximate { 40 } else { 4 }) {
            argv.push(b"LIMIT".to_vec());
            argv.push(match self.rng.below(5) {
                0 => self.integer(),
                _ => self.rng.below(150).to_string().into(),
            });
        }
        if self.chance(2) {
            self.trimming(argv);
        }
    }

    pub(super) fn add_to_stream(&mut self, key: Vec<u8>) -> Argv {
        let mut argv = Self::command("XADD", [key]);
        self.maybe(&mut argv, 8, "NOMKSTREAM");
        if self.chance(12) {
            self.trimming(&mut argv);
        }
        self.added += 1;
        let ms = FUTURE + self.added;
        argv.push(match self.rng.below(20) {
            0 => self.id(),
            1 if self.chance(4) => self.pick(ODD_IDS).into(),
            2..6 => b"*".to_vec(),
            6..10 => format!("{ms}-*").into(),
            10..12 => format!("{ms}-{}", self.rng.below(1000)).into(),
            _ => ms.to_string().into(),
        });
        let pairs = match self.rng.below(12) {
            0 => self.rng.between(3, 40),
            1..4 => 2,
            _ => 1,
        };
        for _ in 0..pairs {
            // Mostly fields that entries share.
            let same = self.chance(85);
            argv.push(if same {
                b"field".to_vec()
            } else {
                self.member()
            });
            argv.push(self.value());
        }
        argv
    }

    /// Mostly one of few, so that much happens to each.
    fn stream_key(&mut self) -> Vec<u8> {
        if self.chance(85) {
            format!("k{}", self.rng.below(4)).into()
        } else {
            self.key()
        }
    }

    pub(super) fn stream(&mut self) -> Argv {
        let key = self.stream_key();
        match self.rng.below(60) {
            // Some come to an end at which nothing can be added.
            0 if self.chance(25) => Self::command("DEL", [key]),
            0..20 => self.add_to_stream(key),
            20 => Self::command("XLEN", [key]),
            21..25 => {
                let name = self.pick(&["XRANGE", "XREVRANGE"]);
                let mut argv = Self::command(name, [key, self.interval_end(), self.interval_end()]);
                if self.chance(30) {
                    let (low, high) = ("-".into(), "+".into());
                    [argv[2], argv[3]] = if name == "XRANGE" {
                        [low, high]
                    } else {
                        [high, low]
                    };
                }
                self.count_option(&mut argv, 50);
                argv
            }
            25..28 => {
                let mut argv = Self::command("XDEL", [key]);
                self.ids(&mut argv);
                argv
            }
            28..30 => {
                let mut argv = Self::command("XTRIM", [key]);
                self.trimming(&mut argv);
                argv
            }
            30 => self.set_id(key),
            31..34 => self.read_on(),
            34..41 => self.read_as_group(),
            41..46 => self.group_command(key),
            46..48 => {
                let mut argv = Self::command("XACK", [key, self.group()]);
                self.ids(&mut argv);
                argv
            }
            48..52 => self.claim(key),
            52..54 => {
                let argv = [
                    key,
                    self.group(),
                    self.consumer(),
                    self.min_idle(),
                    self.interval_end(),
                ];
                let mut argv = Self::command("XAUTOCLAIM", argv);
                // The host reserves room for as many ids as it is told.
                if self.chance(60) {
                    argv.push(b"COUNT".to_vec());
                    argv.push(self.pick(&["1", "2", "3", "50", "0", "-1", "abc"]).into());
                }
                self.maybe(&mut argv, 40, "JUSTID");
                argv
            }
            54..57 => {
                let mut argv = Self::command("XPENDING", [key, self.group()]);
                if self.chance(70) {
                    if self.chance(30) {
                        argv.extend([b"IDLE".to_vec(), self.min_idle()]);
                    }
                    argv.extend([self.interval_end(), self.interval_end(), self.count()]);
                    if self.chance(50) {
                        argv.push(self.consumer());
                    }
                }
                argv
            }
            _ => self.info(key),
        }
    }

    fn set_id(&mut self, key: Vec<u8>) -> Argv {
        let mut argv = Self::command("XSETID", [key, self.id()]);
        if self.chance(50) {
            // So that it mostly passes.
            argv[2] = (FUTURE + self.added).to_string().into();
        }
        if self.chance(40) {
            argv.push(b"ENTRIESADDED".to_vec());
            argv.push(match self.rng.below(4) {
                0 => self.count(),
                _ => self.rng.below(2000).to_string().into(),
            });
        }
        if self.chance(40) {
            argv.extend([b"MAXDELETEDID".to_vec(), self.id()]);
        }
        argv
    }

    /// STREAMS with some keys and as many ids.
    fn streams(&mut self, argv: &mut Argv, other: &str) {
        argv.push(self.pick(&["STREAMS", "STREAMS", "streams"]).into());
        let keys = self.rng.between(1, 4);
        for _ in 0..keys {
            argv.push(self.stream_key());
        }
        let keys = if self.chance(3) { keys - 1 } else { keys };
        for _ in 0..keys {
            argv.push(match self.rng.below(10) {
                0..6 => other.into(),
                6 => b"0".to_vec(),
                _ => self.id(),
            });
        }
    }

    /// The host would wait where nothing is to be read; so only a moment.
    fn block(&mut self, argv: &mut Argv) {
        if self.chance(10) {
            argv.push(b"BLOCK".to_vec());
            argv.push(
                self.pick(&["1", "1", "1", "2", "1", "2", "-1", "abc"])
                    .into(),
            );
        }
    }

    fn read_on(&mut self) -> Argv {
        let mut argv = Self::command("XREAD", []);
        self.count_option(&mut argv, 60);
        self.block(&mut argv);
        self.maybe(&mut argv, 2, "NOACK");
        self.streams(&mut argv, "$");
        argv
    }

    fn read_as_group(&mut self) -> Argv {
        let mut argv = Self::command("XREADGROUP", []);
        if !self.chance(2) {
            argv.extend([b"GROUP".to_vec(), self.group(), self.consumer()]);
        }
        self.count_option(&mut argv, 80);
        self.block(&mut argv);
        self.maybe(&mut argv, 15, "NOACK");
        self.streams(&mut argv, ">");
        if self.chance(70) {
            // One stream, so that it is mostly there.
            let at = argv
                .iter()
                .position(|word| word.eq_ignore_ascii_case(b"STREAMS"));
            argv.truncate(at.map_or(1, |at| at + 1));
            argv.push(self.stream_key());
            argv.push(if self.chance(75) {
                b">".to_vec()
            } else {
                self.id()
            });
        }
        argv
    }

    fn group_command(&mut self, key: Vec<u8>) -> Argv {
        let name = self.pick(&[
            "CREATE",
            "CREATE",
            "CREATE",
            "CREATE",
            "create",
            "SETID",
            "DESTROY",
            "CREATECONSUMER",
            "DELCONSUMER",
            "HELP",
            "NOPE",
        ]);
        let mut argv = Self::command("XGROUP", [name.into()]);
        if name == "HELP" && self.chance(80) {
            return argv;
        }
        argv.extend([key, self.group()]);
        match name {
            "CREATE" | "create" | "SETID" => {
                argv.push(match self.rng.below(4) {
                    0 => b"$".to_vec(),
                    1 => b"0".to_vec(),
                    _ => self.id(),
                });
                if self.chance(30) {
                    argv.push(b"ENTRIESREAD".to_vec());
                    // Not the greatest: the host's count goes on with the least, ours stays.
                    argv.push(match self.rng.below(3) {
                        0 => self.count(),
                        _ => self.rng.below(300).to_string().into(),
                    });
                }
                self.maybe(&mut argv, 50, "MKSTREAM");
            }
            // Less often, or nothing stays.
            "DESTROY" if self.chance(60) => argv[1] = b"CREATECONSUMER".to_vec(),
            "DELCONSUMER" if self.chance(40) => argv[1] = b"CREATECONSUMER".to_vec(),
            _ => {}
        }
        if argv[1].ends_with(b"CONSUMER") {
            argv.push(self.consumer());
        }
        argv
    }

    fn claim(&mut self, key: Vec<u8>) -> Argv {
        let argv = [key, self.group(), self.consumer(), self.min_idle()];
        let mut argv = Self::command("XCLAIM", argv);
        self.ids(&mut argv);
        if self.chance(25) {
            argv.push(b"IDLE".to_vec());
            argv.push(self.pick(&["2000000000", "0", "-7", "abc"]).into());
        }
        if self.chance(15) {
            argv.push(b"TIME".to_vec());
            argv.push(
                self.pick(&["1000000000000", "0", "-1", "9000000000000", ""])
                    .into(),
            );
        }
        if self.chance(20) {
            argv.push(b"RETRYCOUNT".to_vec());
            argv.push(self.pick(&["0", "1", "77", "-1", "abc", "1.5"]).into());
        }
        self.maybe(&mut argv, 40, "FORCE");
        self.maybe(&mut argv, 40, "JUSTID");
        if self.chance(10) {
            argv.extend([b"LASTID".to_vec(), self.id()]);
        }
        argv
    }

    fn info(&mut self, key: Vec<u8>) -> Argv {
        let name = self.pick(&[
            "STREAM",
            "STREAM",
            "GROUPS",
            "CONSUMERS",
            "HELP",
            "stream",
            "NOPE",
        ]);
        let mut argv = Self::command("XINFO", [name.into()]);
        match name {
            "HELP" => {}
            "CONSUMERS" => argv.extend([key, self.group()]),
            _ => argv.push(key),
        }
        if name.eq_ignore_ascii_case("STREAM") && self.chance(60) {
            argv.push(b"FULL".to_vec());
            self.count_option(&mut argv, 60);
        }
        argv
    }
}
