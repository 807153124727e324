//! Walks over the elements of a list, both ways.

use super::chunk::{Chunk, split_first, split_last};
use std::collections::VecDeque;

/// Elements towards the end of the list.
#[derive(Debug)]
pub struct Iter<'a>(Walk<'a>);

/// Elements towards the start of the list.
#[derive(Debug)]
pub struct IterRev<'a>(Walk<'a>);

#[derive(Debug)]
struct Walk<'a> {
    chunks: &'a VecDeque<Chunk>,
    /// The current chunk, and its elements still to come.
    at: usize,
    packed: &'a [u8],
    remaining: usize,
}

impl<'a> Iter<'a> {
    /// Starts at an element, given as its chunk and the index within it.
    pub(super) fn new(
        chunks: &'a VecDeque<Chunk>,
        first: Option<(usize, usize)>,
        remaining: usize,
    ) -> Self {
        let (at, packed) = match first {
            Some((at, index)) => (at, &chunks[at].packed()[chunks[at].offset(index)..]),
            None => (0, &[][..]),
        };
        Iter(Walk {
            chunks,
            at,
            packed,
            remaining: if first.is_some() { remaining } else { 0 },
        })
    }
}

impl<'a> IterRev<'a> {
    /// Starts at an element, given as its chunk and the index within it.
    pub(super) fn new(
        chunks: &'a VecDeque<Chunk>,
        last: Option<(usize, usize)>,
        remaining: usize,
    ) -> Self {
        let (at, packed) = match last {
            Some((at, index)) => (at, &chunks[at].packed()[..chunks[at].offset(index + 1)]),
            None => (0, &[][..]),
        };
        IterRev(Walk {
            chunks,
            at,
            packed,
            remaining: if last.is_some() { remaining } else { 0 },
        })
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let walk = &mut self.0;
        walk.remaining = walk.remaining.checked_sub(1)?;
        if walk.packed.is_empty() {
            walk.at += 1;
            walk.packed = walk.chunks.get(walk.at)?.packed();
        }
        let (element, rest) = split_first(walk.packed);
        walk.packed = rest;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.remaining, Some(self.0.remaining))
    }
}

impl<'a> Iterator for IterRev<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let walk = &mut self.0;
        walk.remaining = walk.remaining.checked_sub(1)?;
        if walk.packed.is_empty() {
            walk.at = walk.at.checked_sub(1)?;
            walk.packed = walk.chunks.get(walk.at)?.packed();
        }
        let (rest, element) = split_last(walk.packed);
        walk.packed = rest;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.remaining, Some(self.0.remaining))
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl ExactSizeIterator for IterRev<'_> {}
