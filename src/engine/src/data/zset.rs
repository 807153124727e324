//! Sorted sets: packed in the key's allocation while small, score and member
//! in turn in rank order, else scores by member and members by rank.

use super::entry::Payload;
use super::order::OrderTree;
use super::packed;
use super::table::{Item, Table};
use super::value::Value;

/// A large sorted set.
#[derive(Debug, Clone)]
pub struct SortedSet {
    scores: Table<Scored>,
    order: OrderTree,
}

/// A member with its score: eight bytes of the double (little endian), then
/// the member.
#[derive(Debug, Clone)]
struct Scored(Box<[u8]>);

impl Item for Scored {
    fn key(&self) -> &[u8] {
        &self.0[8..]
    }
}

impl SortedSet {
    /// How many members.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether `payload` is a well-formed small sorted set: scores and members
/// to the last byte, in rank order.
pub fn is_well_formed(payload: &[u8]) -> bool {
    let mut at = packed::COUNT_LEN;
    let mut previous: Option<(f64, &[u8])> = None;
    for _ in 0..packed::count(payload) {
        let Some((score, n)) = payload.get(at..).and_then(packed::read_score) else {
            return false;
        };
        at += n;
        let Some((member, n)) = payload.get(at..).and_then(packed::read_element) else {
            return false;
        };
        at += n;
        if previous.is_some_and(|(s, m)| s > score || (s == score && m >= member)) {
            return false;
        }
        previous = Some((score, member));
    }
    previous.is_some() && at == payload.len()
}

/// Visits scores and members in rank order.
pub fn for_each(payload: Payload<'_>, visit: &mut dyn FnMut(f64, &[u8])) {
    match payload {
        Payload::Small(bytes) => {
            let mut at = packed::COUNT_LEN;
            while let Some((score, n)) = bytes.get(at..).and_then(packed::read_score) {
                let Some((member, m)) = bytes.get(at + n..).and_then(packed::read_element) else {
                    return;
                };
                at += n + m;
                visit(score, member);
            }
        }
        Payload::Large(Value::Zset(set)) => set.order.iter_from(0).for_each(|(s, m)| visit(s, m)),
        Payload::Large(_) => {}
    }
}
