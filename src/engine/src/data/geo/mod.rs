//! Places on the globe as scores of a sorted set: cells of a grid over
//! longitude and latitude, numbered along a Z-order curve, 26 bits for each.
//! Limits, radius of the earth and formulas are those of Redis, so that
//! cells and distances come out the same.

mod area;

pub use area::Shape;

/// Greatest longitude, in degrees; the least is its opposite.
pub const LONGITUDE_MAX: f64 = 180.0;
/// Greatest latitude of the grid (that of EPSG:900913), in degrees; the least
/// is its opposite.
pub const LATITUDE_MAX: f64 = 85.051_128_78;
/// Bits for each of both directions.
const STEPS: u32 = 26;
/// Mean radius of the earth, in m.
const EARTH_RADIUS: f64 = 6_372_797.560856;

/// A place, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// From west to east.
    pub longitude: f64,
    /// From south to north.
    pub latitude: f64,
}

/// A cell of a grid of 2^steps by 2^steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    x: u32,
    y: u32,
    steps: u32,
}

/// Puts a zero in front of each bit.
fn spread(n: u32) -> u64 {
    let mut n = u64::from(n);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        n = (n | n << shift) & mask;
    }
    n
}

/// Takes every second bit, the lowest first.
fn gather(n: u64) -> u32 {
    let mut n = n & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        n = (n | n >> shift) & mask;
    }
    n as u32
}

impl Cell {
    /// The cell of `place` in a grid that reaches to `latitude_max`.
    fn of(place: Place, steps: u32, latitude_max: f64) -> Cell {
        let size = (1u64 << steps) as f64;
        let at = |n: f64, max: f64| ((n + max) / (max + max) * size) as u32;
        Cell {
            x: at(place.longitude, LONGITUDE_MAX),
            y: at(place.latitude, latitude_max),
            steps,
        }
    }

    /// Its number along the curve.
    fn number(self) -> u64 {
        spread(self.y) | spread(self.x) << 1
    }

    /// Its edges, in degrees: west, south, east, north.
    fn edges(self) -> [f64; 4] {
        let size = (1u64 << self.steps) as f64;
        let at = |n: f64, max: f64| -max + n / size * (max + max);
        let (x, y) = (f64::from(self.x), f64::from(self.y));
        [
            at(x, LONGITUDE_MAX),
            at(y, LATITUDE_MAX),
            at(x + 1.0, LONGITUDE_MAX),
            at(y + 1.0, LATITUDE_MAX),
        ]
    }

    /// The cell so many further east and north, around the edges of the grid.
    /// What isn't moved stays, even at the limits, where it is just beyond.
    fn moved(self, east: i32, north: i32) -> Cell {
        let mask = ((1u64 << self.steps) - 1) as u32;
        let step = |at: u32, by: i32| match by {
            0 => at,
            by => at.wrapping_add_signed(by) & mask,
        };
        Cell {
            x: step(self.x, east),
            y: step(self.y, north),
            ..self
        }
    }
}

/// The score of a place.
pub fn score(place: Place) -> u64 {
    Cell::of(place, STEPS, LATITUDE_MAX).number()
}

/// The middle of the cell that a score stands for.
pub fn place(score: f64) -> Place {
    let bits = truncated(score);
    let cell = Cell {
        x: gather(bits >> 1),
        y: gather(bits),
        steps: STEPS,
    };
    let [west, south, east, north] = cell.edges();
    Place {
        longitude: ((west + east) / 2.0).clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
        latitude: ((south + north) / 2.0).clamp(-LATITUDE_MAX, LATITUDE_MAX),
    }
}

/// A score as a whole number, for any double there is, as x86-64 has it.
fn truncated(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    let signed = |n: f64| {
        if (-HALF..HALF).contains(&n) {
            n as i64 as u64
        } else {
            1 << 63
        }
    };
    if score < HALF {
        signed(score)
    } else {
        signed(score - HALF) ^ 1 << 63
    }
}

/// The standard geohash of a score's place: 11 characters, of which the last
/// is beyond the score's precision, always `0`.
pub fn geohash(score: f64) -> [u8; 11] {
    const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let number = Cell::of(place(score), STEPS, 90.0).number();
    let mut text = [ALPHABET[0]; 11];
    for (i, character) in text[..10].iter_mut().enumerate() {
        *character = ALPHABET[(number >> (47 - 5 * i)) as usize & 31];
    }
    text
}

/// The distance of two places along a great circle, in m.
pub fn distance(a: Place, b: Place) -> f64 {
    let v = ((b.longitude.to_radians() - a.longitude.to_radians()) / 2.0).sin();
    // On one meridian; the last bits differ.
    if v == 0.0 {
        return latitude_distance(a.latitude, b.latitude);
    }
    let (lat_a, lat_b) = (a.latitude.to_radians(), b.latitude.to_radians());
    let u = ((lat_b - lat_a) / 2.0).sin();
    2.0 * EARTH_RADIUS * (u * u + lat_a.cos() * lat_b.cos() * v * v).sqrt().asin()
}

/// The distance of two circles of latitude, in m.
fn latitude_distance(a: f64, b: f64) -> f64 {
    EARTH_RADIUS * (b.to_radians() - a.to_radians()).abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Random, SeededRandom};

    #[test]
    fn a_score_stands_for_its_place() {
        let mut rng = SeededRandom::new(2);
        for _ in 0..2000 {
            let part = |rng: &mut SeededRandom| rng.below(2_000_001) as f64 / 1e6 - 1.0;
            let at = Place {
                longitude: part(&mut rng) * 179.9,
                latitude: part(&mut rng) * 85.0,
            };
            let back = place(score(at) as f64);
            assert!(distance(at, back) < 0.6, "{at:?} {back:?}");
            assert_eq!(score(back), score(at));
        }
    }

    #[test]
    fn known_places() {
        let palermo = Place {
            longitude: 13.361389,
            latitude: 38.115556,
        };
        let catania = Place {
            longitude: 15.087269,
            latitude: 37.502669,
        };
        assert_eq!(score(palermo), 3_479_099_956_230_698);
        assert_eq!(&geohash(score(palermo) as f64), b"sqc8b49rny0");
        let [a, b] = [palermo, catania].map(|p| place(score(p) as f64));
        assert_eq!(format!("{:.4}", distance(a, b)), "166274.1516");
    }

    #[test]
    fn any_score_is_a_place() {
        for score in [f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300, -0.5, 1.8e19] {
            let at = place(score);
            assert!(at.longitude.abs() <= 180.0 && at.latitude.abs() <= 85.1);
            geohash(score);
        }
    }
}
