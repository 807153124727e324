//! The nodes of the tree: leaves with entries, inner nodes with children,
//! how many entries each child holds, and separators between them.

use std::cmp::Ordering;

/// Entries in a leaf, children in an inner node.
const MAX_FILL: usize = 64;
/// Below this a node is merged with a neighbour or filled up from it.
pub(super) const MIN_FILL: usize = 16;
/// A leaf that is appended to is split here, so that it stays fuller.
const APPEND_SPLIT: usize = 48;
/// How much a vector of a node grows at a time.
const GROWTH: usize = 16;

pub(super) type Entry = (f64, Box<[u8]>);

/// A position in the order, without owning the member.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) score: f64,
    pub(super) member: &'a [u8],
}

impl Place<'_> {
    fn compare(&self, entry: &Entry) -> Ordering {
        // Not NaN; and -0.0 compares equal to 0.0.
        match self.score.partial_cmp(&entry.0) {
            Some(Ordering::Equal) | None => self.member.cmp(&entry.1),
            Some(order) => order,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Leaf(Vec<Entry>),
    Inner(Box<Inner>),
}

/// `separators[i]` is above all entries of `children[i]` and not above any
/// of `children[i + 1]`; it needn't be an entry any more.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    pub(super) separators: Vec<Entry>,
    pub(super) counts: Vec<usize>,
    pub(super) children: Vec<Node>,
}

pub(super) enum Inserted {
    Present,
    Done,
    /// The node was full: what follows the separator moved to a new node.
    Split(Entry, Node),
}

fn insert_tight<T>(list: &mut Vec<T>, at: usize, value: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(GROWTH);
    }
    list.insert(at, value);
}

impl Node {
    pub(super) fn join(left: Node, separator: Entry, right: Node) -> Node {
        Node::Inner(Box::new(Inner {
            separators: vec![separator],
            counts: vec![left.entries(), right.entries()],
            children: vec![left, right],
        }))
    }

    /// Number of entries in and below this node.
    fn entries(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(inner) => inner.counts.iter().sum(),
        }
    }

    /// Number of entries or children of this very node.
    pub(super) fn fill(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(inner) => inner.children.len(),
        }
    }

    pub(super) fn insert(&mut self, place: Place<'_>) -> Inserted {
        match self {
            Node::Leaf(entries) => {
                let Err(at) = entries.binary_search_by(|e| place.compare(e).reverse()) else {
                    return Inserted::Present;
                };
                let entry = (place.score, Box::from(place.member));
                if entries.len() < MAX_FILL {
                    insert_tight(entries, at, entry);
                    return Inserted::Done;
                }
                let cut = if at == MAX_FILL {
                    APPEND_SPLIT
                } else {
                    MAX_FILL / 2
                };
                let mut right = entries.split_off(cut);
                entries.shrink_to(APPEND_SPLIT);
                if at <= cut {
                    entries.insert(at, entry);
                } else {
                    insert_tight(&mut right, at - cut, entry);
                }
                Inserted::Split(right[0].clone(), Node::Leaf(right))
            }
            Node::Inner(inner) => inner.insert(place),
        }
    }

    pub(super) fn remove(&mut self, place: Place<'_>) -> Option<Entry> {
        match self {
            Node::Leaf(entries) => {
                let found = entries.binary_search_by(|e| place.compare(e).reverse());
                Some(entries.remove(found.ok()?))
            }
            Node::Inner(inner) => {
                let at = inner.child_for(place);
                let removed = inner.children[at].remove(place)?;
                inner.counts[at] -= 1;
                inner.refill_child(at, MIN_FILL);
                Some(removed)
            }
        }
    }

    pub(super) fn remove_at(&mut self, rank: usize) -> Option<Entry> {
        match self {
            Node::Leaf(entries) => (rank < entries.len()).then(|| entries.remove(rank)),
            Node::Inner(inner) => {
                let (at, rank) = inner.child_at(rank);
                let removed = inner.children[at].remove_at(rank)?;
                inner.counts[at] -= 1;
                inner.refill_child(at, MIN_FILL);
                Some(removed)
            }
        }
    }

    /// Removes the ranks `from..to`. May leave nodes at both sides of the cut
    /// with too little in them, but none empty; a node that loses everything
    /// is an empty leaf afterwards, which the caller drops.
    pub(super) fn remove_range(
        &mut self,
        from: usize,
        to: usize,
        visit: &mut dyn FnMut(f64, &[u8]),
    ) {
        if from == 0 && to == self.entries() {
            self.visit_all(visit);
            *self = Node::Leaf(Vec::new());
            return;
        }
        match self {
            Node::Leaf(entries) => {
                for (score, member) in entries.drain(from..to) {
                    visit(score, &member);
                }
            }
            Node::Inner(inner) => inner.remove_range(from, to, visit),
        }
    }

    fn visit_all(&self, visit: &mut dyn FnMut(f64, &[u8])) {
        match self {
            Node::Leaf(entries) => entries.iter().for_each(|(score, m)| visit(*score, m)),
            Node::Inner(inner) => inner.children.iter().for_each(|c| c.visit_all(visit)),
        }
    }

    /// Fills up the nodes on the way to `rank` that hold too little. The
    /// root must not be an inner node with a single child.
    pub(super) fn refill(&mut self, rank: usize) {
        if let Node::Inner(inner) = self {
            let (at, _) = inner.child_at(rank);
            // Each child may lose two of its own to merges further down.
            inner.refill_child(at, MIN_FILL + 2);
            let (at, rank) = inner.child_at(rank);
            inner.children[at].refill(rank);
        }
    }

    /// Replaces a root that has a single child by that child.
    pub(super) fn drop_idle_levels(&mut self) {
        while let Node::Inner(inner) = self {
            if inner.children.len() > 1 {
                return;
            }
            *self = inner.children.pop().unwrap_or(Node::Leaf(Vec::new()));
        }
    }

    pub(super) fn rank(&self, place: Place<'_>) -> Option<usize> {
        let mut node = self;
        let mut before = 0;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let found = entries.binary_search_by(|e| place.compare(e).reverse());
                    return Some(before + found.ok()?);
                }
                Node::Inner(inner) => {
                    let at = inner.child_for(place);
                    before += inner.counts[..at].iter().sum::<usize>();
                    node = &inner.children[at];
                }
            }
        }
    }

    pub(super) fn get(&self, rank: usize) -> Option<(f64, &[u8])> {
        let (mut node, mut rank) = (self, rank);
        loop {
            match node {
                Node::Leaf(entries) => {
                    let (score, member) = entries.get(rank)?;
                    return Some((*score, member));
                }
                Node::Inner(inner) => {
                    let (at, rest) = inner.child_at(rank);
                    (node, rank) = (&inner.children[at], rest);
                }
            }
        }
    }

    pub(super) fn count_while(&self, before: &mut dyn FnMut(f64, &[u8]) -> bool) -> usize {
        let mut node = self;
        let mut count = 0;
        loop {
            match node {
                Node::Leaf(entries) => {
                    return count + entries.partition_point(|(score, m)| before(*score, m));
                }
                Node::Inner(inner) => {
                    let separators = &inner.separators;
                    let at = separators.partition_point(|(score, m)| before(*score, m));
                    count += inner.counts[..at].iter().sum::<usize>();
                    node = &inner.children[at];
                }
            }
        }
    }
}

impl Inner {
    fn child_for(&self, place: Place<'_>) -> usize {
        self.separators
            .partition_point(|separator| place.compare(separator) != Ordering::Less)
    }

    /// The child that holds `rank`, and the rank within it; the last child
    /// if the rank is too high.
    pub(super) fn child_at(&self, rank: usize) -> (usize, usize) {
        let mut rest = rank;
        for (at, count) in self.counts.iter().enumerate() {
            if rest < *count || at + 1 == self.counts.len() {
                return (at, rest);
            }
            rest -= count;
        }
        (0, rank)
    }

    fn insert(&mut self, place: Place<'_>) -> Inserted {
        let at = self.child_for(place);
        match self.children[at].insert(place) {
            Inserted::Present => return Inserted::Present,
            Inserted::Done => self.counts[at] += 1,
            Inserted::Split(separator, right) => {
                self.counts[at] = self.children[at].entries();
                insert_tight(&mut self.counts, at + 1, right.entries());
                insert_tight(&mut self.separators, at, separator);
                insert_tight(&mut self.children, at + 1, right);
            }
        }
        if self.children.len() <= MAX_FILL {
            return Inserted::Done;
        }
        let appended = at + 2 == self.children.len();
        let cut = if appended { APPEND_SPLIT } else { MAX_FILL / 2 };
        let right = self.split_off(cut);
        match self.separators.pop() {
            Some(separator) => Inserted::Split(separator, Node::Inner(Box::new(right))),
            None => Inserted::Done, // not reached: there are `cut` separators
        }
    }

    /// Moves the children from `cut` on to a new node; the separator between
    /// the two stays behind as the last one.
    fn split_off(&mut self, cut: usize) -> Inner {
        Inner {
            separators: self.separators.split_off(cut),
            counts: self.counts.split_off(cut),
            children: self.children.split_off(cut),
        }
    }

    /// Merges or levels child `at` with neighbours until it holds at least
    /// `min`, or has no neighbour left.
    fn refill_child(&mut self, at: usize, min: usize) {
        let mut at = at;
        while self.children[at].fill() < min && self.children.len() > 1 {
            at = at.min(self.children.len() - 2);
            let right = self.children.remove(at + 1);
            let separator = self.separators.remove(at);
            self.counts.remove(at + 1);
            let split = self.children[at].absorb(separator, right);
            self.counts[at] = self.children[at].entries();
            if let Some((separator, right)) = split {
                self.separators.insert(at, separator);
                self.counts.insert(at + 1, right.entries());
                self.children.insert(at + 1, right);
                return;
            }
        }
    }

    fn remove_range(&mut self, from: usize, to: usize, visit: &mut dyn FnMut(f64, &[u8])) {
        let mut start = 0;
        let mut emptied = Vec::new();
        for at in 0..self.children.len() {
            let count = self.counts[at];
            let first = from.clamp(start, start + count) - start;
            let last = to.clamp(start, start + count) - start;
            if first < last {
                self.children[at].remove_range(first, last, visit);
                self.counts[at] -= last - first;
                if self.counts[at] == 0 {
                    emptied.push(at);
                }
            }
            start += count;
        }
        // The emptied children are neighbours. Of the separators around
        // them, one is enough to part what is left.
        if let (Some(first), Some(last)) = (emptied.first(), emptied.last()) {
            let (first, end) = (*first, *last + 1);
            self.children.drain(first..end);
            self.counts.drain(first..end);
            if first == 0 {
                self.separators.drain(..end.min(self.separators.len()));
            } else {
                self.separators.drain(first - 1..end - 1);
            }
        }
    }
}

impl Node {
    /// Takes in the node to the right. If that is too much for one node, the
    /// two are levelled, and the right one comes back.
    fn absorb(&mut self, separator: Entry, right: Node) -> Option<(Entry, Node)> {
        match (self, right) {
            (Node::Leaf(left), Node::Leaf(mut right)) => {
                left.reserve_exact(right.len());
                left.append(&mut right);
                if left.len() <= MAX_FILL {
                    return None;
                }
                let right = left.split_off(left.len() / 2);
                left.shrink_to(MAX_FILL);
                Some((right[0].clone(), Node::Leaf(right)))
            }
            (Node::Inner(left), Node::Inner(mut right)) => {
                left.separators.push(separator);
                left.separators.append(&mut right.separators);
                left.counts.append(&mut right.counts);
                left.children.append(&mut right.children);
                if left.children.len() <= MAX_FILL {
                    return None;
                }
                let right = left.split_off(left.children.len() / 2);
                let separator = left.separators.pop()?;
                Some((separator, Node::Inner(Box::new(right))))
            }
            // Not reached: neighbours are on the same level.
            (_, right) => Some((separator, right)),
        }
    }
}

/// Builds a tree from ascending entries: full leaves, then level by level.
pub(super) struct Builder {
    leaves: Vec<Node>,
    current: Vec<Entry>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            leaves: Vec::new(),
            current: Vec::new(),
        }
    }

    /// Whether an entry may come next: it is above the last one.
    pub(super) fn may_follow(&self, score: f64, member: &[u8]) -> bool {
        let place = Place { score, member };
        let last = self.current.last();
        last.is_none_or(|last| place.compare(last) == Ordering::Greater)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        if self.current.len() == MAX_FILL {
            // The last entry stays, for `may_follow`.
            let keep = self.current.split_off(MAX_FILL - 1);
            let full = std::mem::replace(&mut self.current, keep);
            self.leaves.push(Node::Leaf(full));
        }
        if self.current.len() == self.current.capacity() {
            self.current.reserve_exact(GROWTH * 2);
        }
        self.current.push(entry);
    }

    pub(super) fn finish(mut self) -> Node {
        self.leaves.push(Node::Leaf(self.current));
        let mut level: Vec<(Entry, Node)> = Vec::with_capacity(self.leaves.len());
        for leaf in self.leaves {
            let first = match &leaf {
                Node::Leaf(entries) => entries.first().cloned(),
                Node::Inner(_) => None,
            };
            level.push((first.unwrap_or_default(), leaf));
        }
        balance_last(&mut level);
        while level.len() > 1 {
            let mut above = Vec::with_capacity(level.len().div_ceil(MAX_FILL));
            let mut rest = level.into_iter().peekable();
            while let Some((first, child)) = rest.next() {
                let mut inner = Inner {
                    separators: Vec::new(),
                    counts: vec![child.entries()],
                    children: vec![child],
                };
                for (separator, child) in rest.by_ref().take(MAX_FILL - 1) {
                    inner.separators.push(separator);
                    inner.counts.push(child.entries());
                    inner.children.push(child);
                }
                above.push((first, Node::Inner(Box::new(inner))));
            }
            balance_last(&mut above);
            level = above;
        }
        level.pop().map_or(Node::Leaf(Vec::new()), |(_, root)| root)
    }
}

/// Levels the last node of a level with the one before if it holds too
/// little. Each node comes with the first entry in or below it.
fn balance_last(level: &mut Vec<(Entry, Node)>) {
    if level.last().is_none_or(|(_, node)| node.fill() >= MIN_FILL) {
        return;
    }
    if level.len() > 1
        && let Some((first, last)) = level.pop()
        && let Some((_, before)) = level.last_mut()
        && let Some((separator, right)) = before.absorb(first, last)
    {
        level.push((separator, right));
    }
}
