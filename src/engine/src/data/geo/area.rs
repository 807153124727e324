//! Which cells a search looks at.

use std::f64::consts::PI;
use std::ops::Range;

use super::{Cell, EARTH_RADIUS, LATITUDE_MAX, Place, STEPS, distance, latitude_distance, place};

/// Half the earth's girth on a Mercator map, in m.
const MERCATOR_MAX: f64 = 20_037_726.37;

/// What a search covers; lengths in m.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// All within so far.
    Circle {
        /// How far.
        radius: f64,
    },
    /// A box around the middle.
    Box {
        /// From west to east.
        width: f64,
        /// From south to north.
        height: f64,
    },
}

impl Shape {
    /// The place that a score stands for and its distance from `center`, if
    /// it is covered.
    pub fn covers(self, center: Place, score: f64) -> Option<(Place, f64)> {
        let at = place(score);
        match self {
            Shape::Circle { radius } => {
                let far = distance(center, at);
                (far <= radius).then_some((at, far))
            }
            Shape::Box { width, height } => {
                if latitude_distance(at.latitude, center.latitude) > height / 2.0 {
                    return None;
                }
                let beside = Place {
                    longitude: center.longitude,
                    ..at
                };
                if distance(at, beside) > width / 2.0 {
                    return None;
                }
                Some((at, distance(center, at)))
            }
        }
    }

    /// The ranges of scores in which everything covered lies, in the order
    /// in which Redis looks at them.
    pub fn ranges(self, center: Place) -> Vec<Range<f64>> {
        let bounds = self.bounds(center);
        let mut steps = steps_for(self.reach(), center.latitude);
        let mut cell = Cell::of(center, steps, LATITUDE_MAX);
        // Near the edge of its cell, a search may reach past the neighbours.
        if steps > 1 && !is_within(bounds, cell) {
            steps -= 1;
            cell = Cell::of(center, steps, LATITUDE_MAX);
        }
        let [west, south, east, north] = cell.edges();
        let [min_lon, min_lat, max_lon, max_lat] = bounds;
        let all = steps < 2;
        let to_south = all || south >= min_lat;
        let to_north = all || north <= max_lat;
        let to_west = all || west >= min_lon;
        let to_east = all || east <= max_lon;
        let around = [
            (0, 1, to_north),
            (0, -1, to_south),
            (1, 0, to_east),
            (-1, 0, to_west),
            (1, 1, to_north && to_east),
            (-1, 1, to_north && to_west),
            (1, -1, to_south && to_east),
            (-1, -1, to_south && to_west),
        ];
        // Not moved, the cell is right even at 180 degrees, beyond the grid.
        let mut cells = vec![cell];
        for (east, north, wanted) in around {
            let next = cell.moved(east, north);
            // In a grid of few cells, opposite neighbours are one.
            if wanted && !cells.contains(&next) {
                cells.push(next);
            }
        }
        let scores = |cell: &Cell| {
            let shift = 2 * (STEPS - cell.steps);
            let number = cell.number();
            (number << shift) as f64..((number + 1) << shift) as f64
        };
        cells.iter().map(scores).collect()
    }

    /// How far its farthest point is from the middle.
    fn reach(self) -> f64 {
        match self {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        }
    }

    /// Degrees that it reaches to in the west, south, east and north.
    fn bounds(self, center: Place) -> [f64; 4] {
        let (across, up) = match self {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let lat_delta = degrees(up / EARTH_RADIUS);
        // Meridians are closest at the edge that is nearer to the pole.
        let widest = if center.latitude < 0.0 {
            center.latitude - lat_delta
        } else {
            center.latitude + lat_delta
        };
        let lon_delta = degrees(across / EARTH_RADIUS / widest.to_radians().cos());
        [
            center.longitude - lon_delta,
            center.latitude - lat_delta,
            center.longitude + lon_delta,
            center.latitude + lat_delta,
        ]
    }
}

/// An angle in degrees, rounded as Redis rounds it.
fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

/// How fine a grid has cells about as large as the search.
fn steps_for(reach: f64, latitude: f64) -> u32 {
    if reach == 0.0 {
        return STEPS;
    }
    let (mut steps, mut reach) = (1i32, reach);
    while reach < MERCATOR_MAX {
        reach *= 2.0;
        steps += 1;
    }
    // Large enough in most cases; towards the poles cells get narrow.
    steps -= 2 + i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    steps.clamp(1, STEPS as i32) as u32
}

/// Whether `bounds` lie within the cell and its neighbours.
fn is_within(bounds: [f64; 4], cell: Cell) -> bool {
    let [min_lon, min_lat, max_lon, max_lat] = bounds;
    let [_, _, _, north] = cell.moved(0, 1).edges();
    let [_, south, _, _] = cell.moved(0, -1).edges();
    let [_, _, east, _] = cell.moved(1, 0).edges();
    let [west, _, _, _] = cell.moved(-1, 0).edges();
    north >= max_lat && south <= min_lat && east >= max_lon && west <= min_lon
}
