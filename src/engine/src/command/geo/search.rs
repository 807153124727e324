//! Searches: what is found, in which order, and where it goes.

use std::ops::Bound;

use super::super::{CommandError, Cx};
use super::options::{Form, Options, Order};
use super::{reply_distance, reply_place};
use crate::base::number;
use crate::base::quicksort::sort_first;
use crate::data::geo::Place;
use crate::data::value::Kind;
use crate::data::zset::{self, View};
use crate::keyspace::keys::EventClass;

/// Most members that one logged command adds.
const LOGGED: usize = 32;

/// A member that was found.
struct Found {
    member: Box<[u8]>,
    score: f64,
    place: Place,
    /// In m.
    distance: f64,
}

/// Runs a search.
///
/// # Errors
/// What the client is told.
pub fn run(cx: &mut Cx<'_>, argv: &[&[u8]], form: &Form) -> Result<(), CommandError> {
    let set = cx.ks.read(argv[form.source], Kind::Zset)?.map(View::of);
    let options = Options::parse(argv, form, set)?;
    let mut found = match set {
        Some(set) => search(set, &options),
        None => Vec::new(),
    };
    // The nearest so many can only be told once all are in order.
    let order = match options.order {
        None if options.count > 0 && !options.any => Some(Order::Asc),
        order => order,
    };
    let wanted = match options.count {
        0 => found.len(),
        count => count.min(found.len()),
    };
    if let Some(order) = order {
        let compare = |a: &Found, b: &Found| match order {
            Order::Asc => a.distance.total_cmp(&b.distance),
            Order::Desc => b.distance.total_cmp(&a.distance),
        };
        // The same sorts as Redis has, for which of those equally far come
        // first, or at all.
        if wanted == found.len() {
            found.sort_by(compare);
        } else {
            sort_first(&mut found, wanted, compare);
        }
    }
    found.truncate(wanted);
    match options.store {
        Some(to) => store(cx, to, &found, &options, form),
        None => reply(cx, &found, &options),
    }
    Ok(())
}

fn search(set: View<'_>, options: &Options<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let (Some(center), Some(shape)) = (options.center, options.shape) else {
        return found;
    };
    for scores in shape.ranges(center) {
        let ranks = set.ranks_by_score(Bound::Included(scores.start), Bound::Excluded(scores.end));
        for (score, member) in set.iter_from(ranks.start).take(ranks.len()) {
            if let Some((place, distance)) = shape.covers(center, score) {
                found.push(Found {
                    member: member.into(),
                    score,
                    place,
                    distance,
                });
                if options.any && found.len() >= options.count {
                    return found;
                }
            }
        }
    }
    found
}

fn reply(cx: &mut Cx<'_>, found: &[Found], options: &Options<'_>) {
    let extras = [options.with_distance, options.with_hash, options.with_place];
    let extras = extras.into_iter().filter(|wanted| *wanted).count();
    cx.reply.array(found.len());
    for one in found {
        if extras > 0 {
            cx.reply.array(extras + 1);
        }
        cx.reply.bulk(&one.member);
        if options.with_distance {
            reply_distance(cx.reply, one.distance / options.unit);
        }
        if options.with_hash {
            cx.reply.int(one.score as i64);
        }
        if options.with_place {
            reply_place(cx.reply, one.place);
        }
    }
}

fn store(cx: &mut Cx<'_>, to: &[u8], found: &[Found], options: &Options<'_>, form: &Form) {
    let score = |one: &Found| {
        if options.store_distance {
            one.distance / options.unit
        } else {
            one.score
        }
    };
    let mut pairs: Vec<(f64, &[u8])> = found.iter().map(|one| (score(one), &*one.member)).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
    // What ended under the destination's name is told before it is overwritten.
    let there = cx.ks.exists(to);
    if there {
        cx.ks.effect(b"DEL", &[to]);
    }
    let (limits, seed) = (cx.ks.limits, cx.ks.space.seed());
    match zset::build(to, limits, seed, || pairs.iter().copied()) {
        None => cx.ks.delete_if_empty(to, there),
        Some(entry) => {
            cx.ks.put(entry);
            // The outcome itself: sines differ in their last bit between machines.
            for some in pairs.chunks(LOGGED) {
                log(cx, to, some);
            }
            let event = if form.is_geosearch() {
                "geosearchstore"
            } else {
                "georadiusstore"
            };
            cx.ks.changed(EventClass::Zset, event, to);
            cx.ks.ready(to);
        }
    }
    cx.reply.int(pairs.len() as i64);
}

fn log(cx: &mut Cx<'_>, to: &[u8], pairs: &[(f64, &[u8])]) {
    let mut texts = [number::FloatText::default(); LOGGED];
    let mut words = vec![to];
    for ((score, member), text) in pairs.iter().zip(&mut texts) {
        words.extend([number::format_f64_shortest(*score, text), *member]);
    }
    cx.ks.effect(b"ZADD", &words);
}
