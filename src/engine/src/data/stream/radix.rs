//! How many nodes Redis's radix tree of a stream has: a number that XINFO
//! STREAM tells. Its keys are the 16 bytes of the bases of the stream's
//! blocks. It is kept up to date, since counting takes long in a long stream.

use super::id::StreamId;

/// Length of a key, in bytes.
const KEY: usize = 16;

fn number(id: StreamId) -> u128 {
    (u128::from(id.ms) << 64) | u128::from(id.seq)
}

fn id(number: u128) -> StreamId {
    StreamId::new((number >> 64) as u64, number as u64)
}

/// How many bytes two different keys begin with alike.
fn common(a: u128, b: u128) -> usize {
    (a ^ b).leading_zeros() as usize / 8
}

/// The keys of a tree, in order.
pub trait Keys {
    /// The least key that isn't below `id`.
    fn least_from(&self, id: StreamId) -> Option<StreamId>;
    /// The greatest key that isn't above `id`.
    fn greatest_to(&self, id: StreamId) -> Option<StreamId>;
}

/// How many nodes `key` adds to a tree of other keys.
pub fn added(key: StreamId, others: &impl Keys) -> u64 {
    let this = number(key);
    let alike = |other: Option<StreamId>, with: u128| Some(common(number(other?), with));
    let beside = (others.greatest_to(key), others.least_from(key));
    let Some(depth) = alike(beside.0, this).max(alike(beside.1, this)) else {
        // A run of all bytes and a leaf, where the root alone was.
        return 1;
    };
    let leaf = 1 + run(depth + 1, KEY);
    // The keys that begin like this one, up to where it parts from them.
    let rest = u128::MAX >> (8 * depth);
    let first = others.least_from(id(this & !rest));
    let last = others.greatest_to(id(this | rest));
    let (Some(first), Some(last)) = (first, last) else {
        return leaf;
    };
    let end = if first == last {
        KEY
    } else {
        common(number(first), number(last))
    };
    if end == depth {
        // They part there already.
        return leaf;
    }
    // The run that they share is cut in two, with a branch between.
    let left = first.previous().and_then(|id| others.greatest_to(id));
    let right = last.next().and_then(|id| others.least_from(id));
    let above = alike(left, number(first)).max(alike(right, number(last)));
    leaf + run(above.map_or(0, |branch| branch + 1), depth) + run(depth + 1, end)
}

/// The nodes of a tree with these keys, which ascend.
pub fn nodes(keys: impl Iterator<Item = StreamId>) -> u64 {
    let mut keys = keys.map(number);
    let Some(mut before) = keys.next() else {
        // The root.
        return 1;
    };
    // The depths at which the path to the last key branches, and the nodes
    // that are complete: a leaf for each key, a node for each branch, and one
    // for each run of bytes without a branch.
    let mut branches: Vec<usize> = Vec::new();
    let mut nodes = 1;
    for key in keys {
        let depth = common(before, key);
        nodes += 1;
        let mut end = KEY;
        while let Some(&branch) = branches.last()
            && branch >= depth
        {
            nodes += run(branch + 1, end);
            if branch > depth {
                nodes += 1;
                branches.pop();
            }
            end = branch;
            if branch == depth {
                break;
            }
        }
        if branches.last() != Some(&depth) {
            nodes += run(depth + 1, end);
            branches.push(depth);
        }
        before = key;
    }
    let mut end = KEY;
    while let Some(branch) = branches.pop() {
        nodes += run(branch + 1, end) + 1;
        end = branch;
    }
    nodes + run(0, end)
}

/// The node, if one is needed, for the bytes from one depth to another.
fn run(from: usize, to: usize) -> u64 {
    u64::from(to > from)
}

#[cfg(test)]
mod tests {
    use super::{Keys, added, nodes};
    use crate::base::random::{Random, SeededRandom};
    use crate::data::stream::StreamId;
    use std::collections::BTreeSet;

    impl Keys for BTreeSet<StreamId> {
        fn least_from(&self, id: StreamId) -> Option<StreamId> {
            self.range(id..).next().copied()
        }
        fn greatest_to(&self, id: StreamId) -> Option<StreamId> {
            self.range(..=id).next_back().copied()
        }
    }

    #[test]
    fn one_key_more_or_less() {
        for seed in 0..50 {
            let mut rng = SeededRandom::new(seed);
            let mut keys = BTreeSet::new();
            for _ in 0..200 {
                let mut part = || rng.below(4) << (8 * rng.below(8));
                let key = StreamId::new(part() | part(), part());
                let before = nodes(keys.iter().copied());
                if keys.remove(&key) {
                    let after = nodes(keys.iter().copied());
                    assert_eq!(before - after, added(key, &keys), "{key} {keys:?}");
                } else {
                    let more = added(key, &keys);
                    keys.insert(key);
                    assert_eq!(nodes(keys.iter().copied()) - before, more, "{key} {keys:?}");
                }
            }
        }
    }

    fn of(ids: &[(u64, u64)]) -> u64 {
        nodes(ids.iter().map(|(ms, seq)| StreamId::new(*ms, *seq)))
    }

    #[test]
    fn as_redis_counts_them() {
        assert_eq!(of(&[]), 1);
        // A run of 16 bytes and a leaf.
        assert_eq!(of(&[(1, 0)]), 2);
        // A run of 7, a branch, two runs of 8, two leaves.
        assert_eq!(of(&[(1, 0), (2, 0)]), 6);
        assert_eq!(of(&[(1, 0), (2, 0), (3, 0)]), 8);
        // Branches at 6 and, behind the second of its edges, at 7.
        assert_eq!(of(&[(1, 0), (256, 0), (257, 0)]), 1 + 1 + 2 + 1 + 4);
        assert_eq!(of(&[(1, 0), (2, 0), (256, 0)]), 1 + 1 + 1 + 4 + 2);
        // Branches at the last byte: no runs behind it.
        assert_eq!(of(&[(0, 1), (0, 2)]), 4);
        assert_eq!(of(&[(0, 1), (0, 2), (1 << 63, 0)]), 1 + 2 + 1 + 1 + 2);
    }
}
