//! Commands on HyperLogLogs.

use super::{Argv, Maker};

impl Maker {
    fn hll_element(&mut self) -> Vec<u8> {
        match self.below(8) {
            0 => self.value(),
            1 => self.member(),
            _ => format!("e{}", self.below(20_000)).into(),
        }
    }

    pub(super) fn hyperloglog(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.below(24) {
            0..10 => self.many("PFADD", a, Self::hll_element),
            10 => Self::command("PFADD", [a]),
            11..14 => Self::command("PFCOUNT", [a]),
            14 => {
                let keys: Vec<_> = (0..self.rng.between(1, 4)).map(|_| self.key()).collect();
                Self::command("PFCOUNT", keys)
            }
            15..18 => {
                let mut argv = Self::command("PFMERGE", [a]);
                for _ in 0..self.below(3) {
                    argv.push(self.key());
                }
                argv
            }
            18..22 => Self::command("GET", [a]),
            22 => Self::command("COPY", [a, b, b"REPLACE".to_vec()]),
            _ => {
                // Something that is nearly one. Not its registers: the host does half of a PFADD that fails.
                let at = self.pick(&["0", "9", "15"]);
                Self::command(
                    "SETRANGE",
                    [a, at.into(), self.pick(&["H", "\u{1}"]).into()],
                )
            }
        }
    }
}
