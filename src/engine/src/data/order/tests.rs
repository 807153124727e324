use super::node::Inner;
use super::*;
use crate::base::random::{Random, SeededRandom};
use proptest::prelude::*;

type Pair = (f64, Vec<u8>);

fn order(a: &Pair, b: &Pair) -> std::cmp::Ordering {
    a.0.partial_cmp(&b.0).unwrap().then_with(|| a.1.cmp(&b.1))
}

fn pair((score, member): (f64, &[u8])) -> Pair {
    (score, member.to_vec())
}

/// Checks counts, fill, order of entries and separators, and equal depth.
fn check(tree: &OrderTree) {
    fn inner_depth(inner: &Inner, root: bool) -> usize {
        assert_eq!(inner.children.len(), inner.counts.len());
        assert_eq!(inner.children.len(), inner.separators.len() + 1);
        assert!(inner.children.len() > 1);
        let depths: Vec<usize> = inner.children.iter().map(|c| depth(c, false)).collect();
        assert!(depths.iter().all(|d| *d == depths[0]));
        for (child, count) in inner.children.iter().zip(&inner.counts) {
            assert_eq!(collect(child).len(), *count);
        }
        for (at, separator) in inner.separators.iter().enumerate() {
            let separator = (separator.0, separator.1.to_vec());
            let left = collect(&inner.children[at]);
            let right = collect(&inner.children[at + 1]);
            assert!(order(left.last().unwrap(), &separator).is_lt());
            assert!(order(&separator, &right[0]).is_le());
        }
        assert!(root || inner.children.len() >= MIN_FILL);
        depths[0] + 1
    }
    fn depth(node: &Node, root: bool) -> usize {
        assert!(root || node.fill() >= MIN_FILL, "fill {}", node.fill());
        assert!(node.fill() <= 64);
        match node {
            Node::Leaf(_) => 1,
            Node::Inner(inner) => inner_depth(inner, root),
        }
    }
    fn collect(node: &Node) -> Vec<Pair> {
        match node {
            Node::Leaf(entries) => entries.iter().map(|(s, m)| (*s, m.to_vec())).collect(),
            Node::Inner(inner) => inner.children.iter().flat_map(collect).collect(),
        }
    }
    depth(&tree.root, true);
    let all = collect(&tree.root);
    assert_eq!(all.len(), tree.len());
    assert!(all.is_sorted_by(|a, b| order(a, b).is_lt()));
    let bytes: usize = all.iter().map(|(_, member)| member.len()).sum();
    assert_eq!(bytes, tree.member_bytes);
}

fn same_as_model(tree: &OrderTree, model: &[Pair]) {
    check(tree);
    assert!(tree.iter().map(pair).eq(model.iter().cloned()));
    let last = model.len().saturating_sub(1);
    let backwards = tree.iter_rev_from(last).map(pair);
    assert!(backwards.eq(model.iter().rev().cloned()));
}

fn numbered(n: usize) -> Vec<Pair> {
    (0..n)
        .map(|i| ((i / 3) as f64, format!("m{i:08}").into_bytes()))
        .collect()
}

fn bulk(model: &[Pair]) -> OrderTree {
    OrderTree::from_sorted(model.iter().cloned()).unwrap()
}

#[test]
fn bulk_building_of_every_size() {
    for n in (0..300).chain([4095, 4096, 4097, 4110, 4160, 10_000]) {
        let model = numbered(n);
        same_as_model(&bulk(&model), &model);
    }
    let entry = |score, member: &str| (score, Box::<[u8]>::from(member.as_bytes()));
    assert!(OrderTree::from_sorted([entry(1.0, "b"), entry(1.0, "a")]).is_none());
    assert!(OrderTree::from_sorted([entry(0.0, "a"), entry(-0.0, "a")]).is_none());
    assert!(OrderTree::from_sorted([entry(f64::NAN, "a")]).is_none());
    let mut twice = numbered(64);
    twice.push(twice[63].clone());
    assert!(OrderTree::from_sorted(twice).is_none());
}

#[test]
fn ten_thousand_entries_in_and_out() {
    let mut random = SeededRandom::new(3);
    let model = numbered(10_000);
    let mut shuffled = model.clone();
    for i in (1..shuffled.len()).rev() {
        shuffled.swap(i, random.below(i as u64 + 1) as usize);
    }
    let mut tree = OrderTree::new();
    for (score, member) in &shuffled {
        assert!(tree.insert(*score, member));
        assert!(!tree.insert(*score, member));
    }
    same_as_model(&tree, &model);
    for (rank, (score, member)) in model.iter().enumerate() {
        assert_eq!(tree.rank(*score, member), Some(rank));
        assert_eq!(tree.get(rank), Some((*score, &member[..])));
    }
    assert!(tree.heap_bytes() > 10_000 * 33 && tree.heap_bytes() < 10_000 * 60);
    for (i, (score, member)) in shuffled.iter().enumerate() {
        assert!(tree.remove(*score, member));
        assert!(!tree.remove(*score, member));
        if i % 500 == 0 {
            check(&tree);
        }
    }
    assert!(tree.is_empty() && tree.heap_bytes() == 0);
}

#[test]
fn ascending_and_descending_insertion_and_pops() {
    let model = numbered(10_000);
    let mut up = OrderTree::new();
    let mut down = OrderTree::new();
    for (score, member) in &model {
        up.insert(*score, member);
    }
    for (score, member) in model.iter().rev() {
        down.insert(*score, member);
    }
    same_as_model(&up, &model);
    same_as_model(&down, &model);
    for (score, member) in &model {
        assert_eq!(up.pop_first(), Some((*score, member.clone().into())));
    }
    for (score, member) in model.iter().rev() {
        assert_eq!(down.pop_last(), Some((*score, member.clone().into())));
    }
    assert_eq!((up.pop_first(), down.pop_last()), (None, None));
}

#[test]
fn ranges_of_every_kind_are_removed() {
    let model = numbered(10_000);
    let mut random = SeededRandom::new(9);
    let mut cuts = vec![
        (0, 10_000),
        (0, 9_999),
        (1, 10_000),
        (1, 9_999),
        (5, 5),
        (7, 3),
    ];
    cuts.extend([
        (0, 64),
        (64, 128),
        (9_990, 20_000),
        (20_000, 20_001),
        (4096, 8192),
    ]);
    for _ in 0..60 {
        let from = random.below(10_000) as usize;
        cuts.push((from, from + random.below(10_000) as usize));
    }
    for (from, to) in cuts {
        let mut tree = bulk(&model);
        let mut rest = model.clone();
        let end = to.min(rest.len());
        let expected: Vec<Pair> = rest.drain(from.min(end)..end).collect();
        let mut removed = vec![];
        let count = tree.remove_range(from, to, |score, m| removed.push((score, m.to_vec())));
        assert_eq!((count, &removed), (expected.len(), &expected));
        same_as_model(&tree, &rest);
    }
}

#[test]
fn zeros_of_both_signs_are_one_score() {
    let mut tree = OrderTree::new();
    assert!(tree.insert(0.0, b"b"));
    assert!(tree.insert(-0.0, b"a"));
    assert!(!tree.insert(-0.0, b"b"));
    assert_eq!(tree.rank(0.0, b"a"), Some(0));
    assert!(!tree.insert(f64::NAN, b"x"));
    assert!(tree.insert(f64::INFINITY, b"") && tree.insert(f64::NEG_INFINITY, b""));
    check(&tree);
}

#[test]
fn members_bound_a_lexicographic_range() {
    let members: Vec<String> = (0..2000).map(|i| format!("{:05}", i * 2)).collect();
    let tree = OrderTree::from_sorted(members.iter().map(|m| (1.0, m.as_bytes()))).unwrap();
    let at = |i: usize| members[i].as_bytes();
    assert_eq!(tree.lex_lower(Bound::Included(at(700))), 700);
    assert_eq!(tree.lex_lower(Bound::Excluded(at(700))), 701);
    assert_eq!(tree.lex_upper(Bound::Included(at(700))), 701);
    assert_eq!(tree.lex_upper(Bound::Excluded(at(700))), 700);
    assert_eq!(tree.lex_lower(Bound::Included(b"00003")), 2);
    assert_eq!(tree.lex_upper(Bound::Included(b"9")), 2000);
    assert_eq!(tree.lex_lower(Bound::Unbounded), 0);
    assert_eq!(tree.lex_upper(Bound::Unbounded), 2000);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(i8, u16),
    Remove(i8, u16),
    InsertMany(i8, u16),
    RemoveRange(usize, usize),
    PopFirst(usize),
    PopLast(usize),
    Query(usize, i8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (any::<i8>(), 0..500u16).prop_map(|(s, m)| Step::Insert(s, m)),
        2 => (any::<i8>(), 0..500u16).prop_map(|(s, m)| Step::Remove(s, m)),
        4 => (any::<i8>(), 1..900u16).prop_map(|(s, m)| Step::InsertMany(s, m)),
        2 => (0..4000usize, 0..1500usize).prop_map(|(a, b)| Step::RemoveRange(a, a + b)),
        1 => (0..300usize).prop_map(Step::PopFirst),
        1 => (0..300usize).prop_map(Step::PopLast),
        3 => (0..4000usize, any::<i8>()).prop_map(|(r, s)| Step::Query(r, s)),
    ]
}

fn member(m: u16) -> Vec<u8> {
    m.to_string().into_bytes()
}

fn apply(tree: &mut OrderTree, model: &mut Vec<Pair>, step: Step) {
    let insert = |tree: &mut OrderTree, model: &mut Vec<Pair>, new: Pair| {
        let found = model.binary_search_by(|p| order(p, &new));
        assert_eq!(tree.insert(new.0, &new.1), found.is_err());
        if let Err(at) = found {
            model.insert(at, new);
        }
    };
    match step {
        Step::Insert(s, m) => insert(tree, model, (f64::from(s), member(m))),
        Step::InsertMany(s, n) => {
            for m in 0..n {
                let score = f64::from(s) + f64::from(m % 7);
                insert(tree, model, (score, member(m)));
            }
        }
        Step::Remove(s, m) => {
            let old = (f64::from(s), member(m));
            let found = model.binary_search_by(|p| order(p, &old));
            assert_eq!(tree.rank(old.0, &old.1), found.ok());
            assert_eq!(tree.remove(old.0, &old.1), found.is_ok());
            if let Ok(at) = found {
                model.remove(at);
            }
        }
        Step::RemoveRange(from, to) => {
            let to = to.min(model.len());
            let expected: Vec<Pair> = model.drain(from.min(to)..to).collect();
            let mut removed = vec![];
            tree.remove_range(from, to, |s, m| removed.push((s, m.to_vec())));
            assert_eq!(removed, expected);
        }
        Step::PopFirst(n) => {
            for old in model.drain(..n.min(model.len())) {
                assert_eq!(tree.pop_first(), Some((old.0, old.1.into())));
            }
        }
        Step::PopLast(n) => {
            for _ in 0..n.min(model.len()) {
                let old = model.pop().unwrap();
                assert_eq!(tree.pop_last(), Some((old.0, old.1.into())));
            }
        }
        Step::Query(rank, s) => {
            let s = f64::from(s);
            let expected = model.get(rank).cloned();
            assert_eq!(tree.get(rank).map(pair), expected);
            let below = model.partition_point(|p| p.0 < s);
            let upto = model.partition_point(|p| p.0 <= s);
            assert_eq!(tree.score_lower(Bound::Included(s)), below);
            assert_eq!(tree.score_lower(Bound::Excluded(s)), upto);
            assert_eq!(tree.score_upper(Bound::Included(s)), upto);
            assert_eq!(tree.score_upper(Bound::Excluded(s)), below);
            let tail = model.iter().skip(rank).cloned();
            assert_eq!(tree.iter_from(rank).len(), tail.len());
            assert!(tree.iter_from(rank).map(pair).eq(tail));
            if rank < model.len() {
                let head = model[..=rank].iter().rev().cloned();
                assert!(tree.iter_rev_from(rank).map(pair).eq(head));
            } else {
                assert_eq!(tree.iter_rev_from(rank).next(), None);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn behaves_as_a_sorted_list(steps in prop::collection::vec(step(), 1..40)) {
        let mut tree = OrderTree::new();
        let mut model = vec![];
        for step in steps {
            apply(&mut tree, &mut model, step);
            check(&tree);
        }
        same_as_model(&tree, &model);
    }
}
