//! Commands on bitmaps.

use super::{Argv, Maker};

impl Maker {
    fn bit_offset(&mut self) -> Vec<u8> {
        match self.below(12) {
            0 => self
                .pick(&[
                    "-1",
                    "4294967296",
                    "9223372036854775807",
                    "abc",
                    "",
                    "1.5",
                    "#",
                ])
                .into(),
            1 => self.below(40_000).to_string().into(),
            _ => self.below(200).to_string().into(),
        }
    }

    fn range_end(&mut self) -> Vec<u8> {
        if self.chance(10) {
            self.integer()
        } else {
            (self.below(160) as i64 - 80).to_string().into()
        }
    }

    fn bit_range(&mut self, argv: &mut Argv) {
        if self.chance(75) {
            argv.push(self.range_end());
            if self.chance(92) {
                argv.push(self.range_end());
                if self.chance(60) {
                    argv.push(self.pick(&["BIT", "BYTE", "bit", "BITS"]).into());
                }
            }
        }
    }

    fn field(&mut self, argv: &mut Argv) {
        let action = self.pick(&["GET", "SET", "INCRBY", "get", "OVERFLOW", "SET", "INCRBY"]);
        argv.push(action.into());
        if action == "OVERFLOW" {
            argv.push(self.pick(&["WRAP", "SAT", "FAIL", "fail", "sat"]).into());
            return;
        }
        let width = self.rng.between(1, 64);
        let sign = self.pick(&["i", "u"]);
        argv.push(match self.below(25) {
            0 => self
                .pick(&["u64", "i65", "i0", "x8", "u", "", "i-1"])
                .into(),
            _ if sign == "u" => format!("u{}", width.min(63)).into(),
            _ => format!("i{width}").into(),
        });
        argv.push(match self.below(10) {
            0..3 => format!("#{}", self.below(12)).into(),
            _ => self.bit_offset(),
        });
        if !action.eq_ignore_ascii_case("get") {
            argv.push(match self.below(4) {
                0 => self.integer(),
                1 => (self.below(400) as i64 - 200).to_string().into(),
                2 => ((self.below(u64::MAX) >> self.below(63)) as i64)
                    .to_string()
                    .into(),
                _ => (-((self.below(u64::MAX) >> (1 + self.below(62))) as i64))
                    .to_string()
                    .into(),
            });
        }
    }

    pub(super) fn bitmap(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.below(22) {
            0..4 => {
                let bit = self.pick(&["0", "1", "1", "1", "2", "", "abc"]);
                Self::command("SETBIT", [a, self.bit_offset(), bit.into()])
            }
            4..6 => Self::command("GETBIT", [a, self.bit_offset()]),
            6..9 => {
                let mut argv = Self::command("BITCOUNT", [a]);
                self.bit_range(&mut argv);
                argv
            }
            9..12 => {
                let bit = self.pick(&["0", "1", "0", "1", "2", "x"]);
                let mut argv = Self::command("BITPOS", [a, bit.into()]);
                self.bit_range(&mut argv);
                argv
            }
            12..15 => {
                let name = self.pick(&["AND", "OR", "XOR", "NOT", "not", "NAND"]);
                let mut argv = Self::command("BITOP", [name.into(), a, b]);
                if !name.eq_ignore_ascii_case("NOT") || self.chance(5) {
                    for _ in 0..self.below(4) {
                        argv.push(self.key());
                    }
                }
                argv
            }
            15..19 => {
                let mut argv = Self::command("BITFIELD", [a]);
                for _ in 0..self.below(6) {
                    self.field(&mut argv);
                }
                argv
            }
            19 => {
                let mut argv = Self::command("BITFIELD_RO", [a]);
                for _ in 0..self.below(4) {
                    argv.push(b"GET".to_vec());
                    let width = self.rng.between(1, 40);
                    argv.push(format!("u{width}").into());
                    argv.push(self.bit_offset());
                }
                if self.chance(10) {
                    self.field(&mut argv);
                }
                argv
            }
            20 => {
                // Mostly one kind of bit, so that searches go far.
                let byte = [0, 0xff][self.below(2) as usize];
                let length = self.below(70);
                Self::command("SET", [a, vec![byte; length as usize]])
            }
            _ => Self::command("SET", [a, self.value()]),
        }
    }
}
