//! Sorted sets.

pub mod add;
pub mod algebra;
pub mod blocking;
pub mod pop;
pub mod random;
pub mod range;
pub mod read;
pub mod remove;
pub mod scan;
pub mod select;

use super::CommandError;
use super::reply::Reply;
use crate::data::entry::Entry;
use crate::keyspace::Keyspace;

/// Pairs or members that one logged command holds at most: they are gathered
/// on the stack.
const BATCH: usize = 32;

/// The entry under `key`, which the caller knows not to be due.
fn peek<'a>(space: &'a Keyspace, db: u32, key: &[u8]) -> Option<&'a Entry> {
    let table = space.db(db)?;
    table.get(table.hash(key), key)
}

/// Heads an array of `len` members, with their scores if wanted.
fn open_members(reply: &mut dyn Reply, len: usize, with_scores: bool) {
    let flat = with_scores && !reply.is_resp3();
    reply.array(if flat { 2 * len } else { len });
}

/// One element of such an array; in RESP3 a member with its score is an
/// array of its own.
fn put_member(reply: &mut dyn Reply, member: &[u8], score: f64, with_scores: bool) {
    if with_scores && reply.is_resp3() {
        reply.array(2);
    }
    reply.bulk(member);
    if with_scores {
        reply.double(score);
    }
}

/// A count that must be at least `min`; anything else is told as `error`.
fn count_from(arg: &[u8], min: i64, error: &'static str) -> Result<usize, CommandError> {
    crate::base::number::parse_i64(arg)
        .filter(|n| *n >= min)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or(CommandError::text(error))
}

#[cfg(test)]
mod tests;
