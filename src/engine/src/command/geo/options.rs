//! What a search is told.

use super::super::{CommandError, args};
use super::{metres_of, place};
use crate::base::number;
use crate::data::geo::{self, Place, Shape};
use crate::data::zset::View;

/// How a command names what to search.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Where the searched key stands.
    pub source: usize,
    from: From,
    /// Where a key to store to stands.
    destination: Option<usize>,
    /// Whether STORE and STOREDIST may name a key.
    may_store: bool,
    /// Where the options begin.
    options: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Place,
    Member,
    Options,
}

/// GEORADIUS.
pub const GEORADIUS: Form = Form {
    source: 1,
    from: From::Place,
    destination: None,
    may_store: true,
    options: 6,
};
/// GEORADIUS_RO.
pub const GEORADIUS_RO: Form = Form {
    may_store: false,
    ..GEORADIUS
};
/// GEORADIUSBYMEMBER.
pub const GEORADIUSBYMEMBER: Form = Form {
    from: From::Member,
    options: 5,
    ..GEORADIUS
};
/// GEORADIUSBYMEMBER_RO.
pub const GEORADIUSBYMEMBER_RO: Form = Form {
    may_store: false,
    ..GEORADIUSBYMEMBER
};
/// GEOSEARCH.
pub const GEOSEARCH: Form = Form {
    source: 1,
    from: From::Options,
    destination: None,
    may_store: false,
    options: 2,
};
/// GEOSEARCHSTORE.
pub const GEOSEARCHSTORE: Form = Form {
    source: 2,
    destination: Some(1),
    options: 3,
    ..GEOSEARCH
};

impl Form {
    /// Whether it is GEOSEARCH or GEOSEARCHSTORE.
    pub fn is_geosearch(&self) -> bool {
        self.from == From::Options
    }
}

/// What is searched, and what is wanted of it.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// The middle; `None` if it is a member of a key that isn't there.
    pub center: Option<Place>,
    /// What is covered.
    pub shape: Option<Shape>,
    /// Metres in the unit of the reply.
    pub unit: f64,
    /// WITHDIST.
    pub with_distance: bool,
    /// WITHHASH.
    pub with_hash: bool,
    /// WITHCOORD.
    pub with_place: bool,
    /// Whether any so many will do, not the nearest.
    pub any: bool,
    /// At most so many; 0 is all.
    pub count: usize,
    /// ASC or DESC.
    pub order: Option<Order>,
    /// Where to store what is found.
    pub store: Option<&'a [u8]>,
    /// Whether to store distances.
    pub store_distance: bool,
    /// Whether STORE was there, and STOREDIST.
    stores: [bool; 2],
    /// What said where the middle is.
    from: Option<From>,
}

/// The order of what is found, by distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The nearest first.
    Asc,
    /// The farthest first.
    Desc,
}

/// The place of a member.
fn member_place(set: View<'_>, member: &[u8]) -> Result<Place, CommandError> {
    let score = set.score_of(member).ok_or(CommandError::text(
        "ERR could not decode requested zset member",
    ))?;
    Ok(geo::place(score))
}

fn length(arg: &[u8], error: &'static str) -> Result<f64, CommandError> {
    number::parse_f64(arg).ok_or(CommandError::text(error))
}

impl<'a> Options<'a> {
    /// Reads the arguments of a command of this form, whose key holds `set`.
    ///
    /// # Errors
    /// In the order in which Redis finds them.
    pub fn parse(
        argv: &[&'a [u8]],
        form: &Form,
        set: Option<View<'_>>,
    ) -> Result<Self, CommandError> {
        let mut options = Options {
            unit: 1.0,
            store: form.destination.map(|at| argv[at]),
            ..Options::default()
        };
        match (form.from, set) {
            (From::Place, _) => {
                options.center = Some(place(argv[2], argv[3])?);
                options.circle(argv[4], argv[5])?;
            }
            (From::Member, Some(set)) => {
                options.center = Some(member_place(set, argv[2])?);
                options.circle(argv[3], argv[4])?;
            }
            // Without a key, Redis doesn't look at what is around it.
            (From::Member, None) | (From::Options, _) => {}
        }
        let mut rest = &argv[form.options..];
        while !rest.is_empty() {
            rest = options.option(rest, form, set)?;
        }
        options.check(argv, form)?;
        Ok(options)
    }

    fn circle(&mut self, radius: &[u8], unit: &[u8]) -> Result<(), CommandError> {
        let radius = length(radius, "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(CommandError::text("ERR radius cannot be negative"));
        }
        self.unit = metres_of(unit)?;
        self.shape = Some(Shape::Circle {
            radius: radius * self.unit,
        });
        Ok(())
    }

    fn rectangle(&mut self, sides: [&[u8]; 2], unit: &[u8]) -> Result<(), CommandError> {
        let width = length(sides[0], "ERR need numeric width")?;
        let height = length(sides[1], "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(CommandError::text("ERR height or width cannot be negative"));
        }
        self.unit = metres_of(unit)?;
        self.shape = Some(Shape::Box {
            width: width * self.unit,
            height: height * self.unit,
        });
        Ok(())
    }

    /// Reads one option, and answers what follows it.
    fn option<'r>(
        &mut self,
        rest: &'r [&'a [u8]],
        form: &Form,
        set: Option<View<'_>>,
    ) -> Result<&'r [&'a [u8]], CommandError> {
        let [word, more @ ..] = rest else {
            return Err(CommandError::Syntax);
        };
        let search = form.is_geosearch();
        let in_box = matches!(self.shape, Some(Shape::Box { .. }));
        let in_circle = matches!(self.shape, Some(Shape::Circle { .. }));
        match more {
            _ if args::is(word, "WITHDIST") => self.with_distance = true,
            _ if args::is(word, "WITHHASH") => self.with_hash = true,
            _ if args::is(word, "WITHCOORD") => self.with_place = true,
            _ if args::is(word, "ANY") => self.any = true,
            _ if args::is(word, "ASC") => self.order = Some(Order::Asc),
            _ if args::is(word, "DESC") => self.order = Some(Order::Desc),
            [count, more @ ..] if args::is(word, "COUNT") => {
                self.count = usize::try_from(args::int(count)?)
                    .ok()
                    .filter(|n| *n > 0)
                    .ok_or(CommandError::text("ERR COUNT must be > 0"))?;
                return Ok(more);
            }
            [to, more @ ..]
                if form.may_store && (args::is(word, "STORE") || args::is(word, "STOREDIST")) =>
            {
                self.store_distance = args::is(word, "STOREDIST");
                // The host, and the route, look at what follows the first of
                // each word only: a second one would lead past both.
                let seen = &mut self.stores[usize::from(self.store_distance)];
                if std::mem::replace(seen, true) {
                    return Err(CommandError::Syntax);
                }
                self.store = Some(to);
                return Ok(more);
            }
            _ if form.destination.is_some() && args::is(word, "STOREDIST") => {
                self.store_distance = true;
            }
            [member, more @ ..]
                if search && args::is(word, "FROMMEMBER") && self.from != Some(From::Place) =>
            {
                if let Some(set) = set {
                    self.center = Some(member_place(set, member)?);
                }
                self.from = Some(From::Member);
                return Ok(more);
            }
            [longitude, latitude, more @ ..]
                if search && args::is(word, "FROMLONLAT") && self.from != Some(From::Member) =>
            {
                self.center = Some(place(longitude, latitude)?);
                self.from = Some(From::Place);
                return Ok(more);
            }
            [radius, unit, more @ ..] if search && args::is(word, "BYRADIUS") && !in_box => {
                self.circle(radius, unit)?;
                return Ok(more);
            }
            [width, height, unit, more @ ..] if search && args::is(word, "BYBOX") && !in_circle => {
                self.rectangle([width, height], unit)?;
                return Ok(more);
            }
            _ => return Err(CommandError::Syntax),
        }
        Ok(more)
    }

    fn check(&self, argv: &[&[u8]], form: &Form) -> Result<(), CommandError> {
        let error = |text: String| Err(CommandError::Text(text.into()));
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_place) {
            let what = if form.is_geosearch() {
                "GEOSEARCHSTORE"
            } else {
                "STORE option in GEORADIUS"
            };
            return error(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            ));
        }
        let name = String::from_utf8_lossy(argv[0]);
        if form.is_geosearch() && self.from.is_none() {
            return error(format!(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            ));
        }
        if form.is_geosearch() && self.shape.is_none() {
            return error(format!(
                "ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"
            ));
        }
        if self.any && self.count == 0 {
            return Err(CommandError::text(
                "ERR the ANY argument requires COUNT argument",
            ));
        }
        Ok(())
    }
}
