//! How many nodes Redis's radix tree of a stream has: a number that XINFO
//! STREAM tells. Its keys are the 16 bytes of the bases of the stream's
//! blocks.

use super::id::StreamId;

/// Length of a key, in bytes.
const KEY: usize = 16;

/// The nodes of a tree with these keys, which ascend.
pub fn nodes(keys: impl Iterator<Item = StreamId>) -> u64 {
    let mut keys = keys.map(|id| (u128::from(id.ms) << 64) | u128::from(id.seq));
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
        let depth = (before ^ key).leading_zeros() as usize / 8;
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
    use super::nodes;
    use crate::data::stream::StreamId;

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
