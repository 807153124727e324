//! Walks through the tree, upwards and downwards. Each holds the way from
//! the root to its leaf, so a step is O(1) but at the end of a leaf.

use super::node::{Inner, Node};

/// Ascending entries.
#[derive(Debug)]
pub struct Iter<'a>(Walk<'a>);

/// Descending entries.
#[derive(Debug)]
pub struct IterRev<'a>(Walk<'a>);

#[derive(Debug)]
struct Walk<'a> {
    /// The inner nodes above the leaf, and which child the way takes.
    path: Vec<(&'a Inner, usize)>,
    leaf: &'a [(f64, Box<[u8]>)],
    at: usize,
    remaining: usize,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Node, rank: usize, remaining: usize) -> Self {
        let mut walk = Walk {
            path: Vec::new(),
            leaf: &[],
            at: 0,
            remaining,
        };
        if remaining > 0 {
            let mut rank = rank;
            walk.descend(root, |inner| {
                let (at, rest) = inner.child_at(rank);
                rank = rest;
                at
            });
            walk.at = rank;
        }
        walk
    }

    fn descend(&mut self, from: &'a Node, mut choose: impl FnMut(&Inner) -> usize) {
        let mut node = from;
        loop {
            match node {
                Node::Leaf(entries) => {
                    self.leaf = entries;
                    return;
                }
                Node::Inner(inner) => {
                    let at = choose(inner);
                    self.path.push((inner, at));
                    node = &inner.children[at];
                }
            }
        }
    }

    fn go_to_next_leaf(&mut self) {
        while let Some((inner, at)) = self.path.pop() {
            if let Some(child) = inner.children.get(at + 1) {
                self.path.push((inner, at + 1));
                self.descend(child, |_| 0);
                self.at = 0;
                return;
            }
        }
    }

    fn go_to_previous_leaf(&mut self) {
        while let Some((inner, at)) = self.path.pop() {
            if at > 0 {
                self.path.push((inner, at - 1));
                self.descend(&inner.children[at - 1], |inner| inner.children.len() - 1);
                self.at = self.leaf.len() - 1;
                return;
            }
        }
    }

    fn entry(&self) -> Option<(f64, &'a [u8])> {
        let (score, member) = self.leaf.get(self.at)?;
        Some((*score, member))
    }
}

impl<'a> Iter<'a> {
    pub(super) fn new(root: &'a Node, rank: usize, len: usize) -> Self {
        Iter(Walk::new(root, rank, len.saturating_sub(rank)))
    }
}

impl<'a> IterRev<'a> {
    pub(super) fn new(root: &'a Node, rank: usize, len: usize) -> Self {
        let remaining = if rank < len { rank + 1 } else { 0 };
        IterRev(Walk::new(root, rank, remaining))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (f64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let walk = &mut self.0;
        walk.remaining = walk.remaining.checked_sub(1)?;
        if walk.at == walk.leaf.len() {
            walk.go_to_next_leaf();
        }
        let entry = walk.entry();
        walk.at += 1;
        entry
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.remaining, Some(self.0.remaining))
    }
}

impl<'a> Iterator for IterRev<'a> {
    type Item = (f64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let walk = &mut self.0;
        walk.remaining = walk.remaining.checked_sub(1)?;
        let entry = walk.entry();
        match walk.at.checked_sub(1) {
            Some(at) => walk.at = at,
            None => walk.go_to_previous_leaf(),
        }
        entry
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.remaining, Some(self.0.remaining))
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl ExactSizeIterator for IterRev<'_> {}
