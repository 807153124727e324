//! Commands on places.

use super::{Argv, Maker};

impl Maker {
    /// Longitude and latitude: mostly in a small region, so that searches find something.
    fn place(&mut self) -> [Vec<u8>; 2] {
        let part = |maker: &mut Self, span: f64| maker.below(1_000_000_001) as f64 / 1e9 * span;
        match self.below(20) {
            0 => {
                let x = self.pick(&["180", "-180", "0", "181", "nan", "x", "", "1e3", "-0"]);
                let y = self.pick(&["85.05112878", "-85.05112878", "0", "86", "inf", "90"]);
                [x.into(), y.into()]
            }
            1..5 => {
                let (x, y) = (part(self, 360.0) - 180.0, part(self, 170.0) - 85.0);
                [x.to_string().into(), y.to_string().into()]
            }
            5..7 => {
                let (x, y) = (part(self, 10.0) + 170.0, 85.0 - part(self, 10.0));
                [x.to_string().into(), y.to_string().into()]
            }
            _ => {
                let (x, y) = (part(self, 8.0) + 10.0, part(self, 8.0) - 4.0);
                [x.to_string().into(), y.to_string().into()]
            }
        }
    }

    fn unit(&mut self) -> Vec<u8> {
        self.pick(&["m", "km", "km", "km", "ft", "mi", "KM", "M", "yd"])
            .into()
    }

    fn length(&mut self) -> Vec<u8> {
        match self.below(12) {
            0 => self.pick(&["0", "-1", "x", "", "inf", "1e9", "nan"]).into(),
            1..4 => self.below(100_000).to_string().into(),
            _ => (self.below(100_000) as f64 / 64.0).to_string().into(),
        }
    }

    fn search_options(&mut self, argv: &mut Argv, storing: bool) {
        for word in ["WITHDIST", "WITHHASH", "WITHCOORD"] {
            let percent = if storing { 2 } else { 25 };
            self.maybe(argv, percent, word);
        }
        if self.chance(35) {
            argv.push(b"COUNT".to_vec());
            argv.push(if self.chance(10) {
                self.integer()
            } else {
                self.rng.between(1, 12).to_string().into()
            });
            self.maybe(argv, 40, "ANY");
        }
        for word in ["ASC", "DESC", "desc"] {
            self.maybe(argv, 20, word);
        }
        self.maybe(argv, 2, "ANY");
    }

    fn geo_member(&mut self) -> Vec<u8> {
        match self.below(12) {
            0 => self.member(),
            _ => format!("g{}", self.below(150)).into(),
        }
    }

    fn search_area(&mut self, argv: &mut Argv) {
        if self.chance(50) {
            argv.push(b"FROMMEMBER".to_vec());
            argv.push(self.geo_member());
        }
        if argv.len() < 4 || self.chance(4) {
            argv.push(b"FROMLONLAT".to_vec());
            argv.extend(self.place());
        }
        let at = argv.len();
        if self.chance(50) {
            argv.extend([b"BYRADIUS".to_vec(), self.length(), self.unit()]);
        }
        if argv.len() == at || self.chance(4) {
            argv.extend([b"BYBOX".to_vec(), self.length(), self.length(), self.unit()]);
        }
    }

    pub(super) fn geo(&mut self) -> Argv {
        let (a, b) = (self.key(), self.key());
        match self.below(28) {
            0..8 => {
                let mut argv = Self::command("GEOADD", [a]);
                for word in ["NX", "XX", "CH"] {
                    self.maybe(&mut argv, 8, word);
                }
                for _ in 0..self.some().min(200) {
                    argv.extend(self.place());
                    argv.push(self.geo_member());
                }
                argv
            }
            8 => {
                let member = self.geo_member();
                Self::command("ZADD", [a, self.float(), member])
            }
            9..11 => {
                let mut argv = Self::command("GEODIST", [a, self.geo_member(), self.geo_member()]);
                if self.chance(60) {
                    argv.push(self.unit());
                }
                argv
            }
            11 => self.many("GEOHASH", a, Self::geo_member),
            12 => self.many("GEOPOS", a, Self::geo_member),
            13..16 => {
                let name = self.pick(&["GEORADIUS", "GEORADIUS_RO"]);
                let mut argv = Self::command(name, [a]);
                argv.extend(self.place());
                argv.extend([self.length(), self.unit()]);
                self.radius_options(&mut argv, b);
                argv
            }
            16..19 => {
                let name = self.pick(&["GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO"]);
                let member = self.geo_member();
                let mut argv = Self::command(name, [a, member, self.length(), self.unit()]);
                self.radius_options(&mut argv, b);
                argv
            }
            19..24 => {
                let mut argv = Self::command("GEOSEARCH", [a]);
                self.search_area(&mut argv);
                self.search_options(&mut argv, false);
                argv
            }
            24..27 => {
                let mut argv = Self::command("GEOSEARCHSTORE", [b, a]);
                self.search_area(&mut argv);
                self.search_options(&mut argv, true);
                self.maybe(&mut argv, 40, "STOREDIST");
                argv
            }
            _ => self.many("ZREM", a, Self::geo_member),
        }
    }

    fn radius_options(&mut self, argv: &mut Argv, to: Vec<u8>) {
        let storing = self.chance(30);
        self.search_options(argv, storing);
        if storing {
            argv.push(self.pick(&["STORE", "STOREDIST"]).into());
            argv.push(to);
        }
    }
}
