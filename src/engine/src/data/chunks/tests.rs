use super::*;
use crate::base::random::{Random, SeededRandom};
use proptest::prelude::*;

type Model = VecDeque<Vec<u8>>;

/// Checks sums, sizes and that the list and its reverse equal the model.
fn check(list: &ChunkList, model: &Model) {
    assert_eq!(list.len(), model.len());
    assert_eq!(list.is_empty(), model.is_empty());
    let capacities: usize = list.chunks.iter().map(Chunk::capacity).sum();
    assert_eq!(list.buffers, capacities);
    let counts: usize = list.chunks.iter().map(Chunk::count).sum();
    assert_eq!(list.len(), counts);
    for chunk in &list.chunks {
        assert!(chunk.count() > 0);
        assert!(chunk.used() <= CAPACITY || chunk.count() == 1);
        assert!(chunk.capacity() <= 2 * CAPACITY || chunk.capacity() <= chunk.used() + CAPACITY);
    }
    assert!(list.iter().eq(model.iter()));
    let backwards = list.iter_rev_from(model.len().saturating_sub(1));
    assert!(backwards.eq(model.iter().rev()));
}

/// An element that tells its number, of `len` bytes or a few more.
fn element(number: usize, len: usize) -> Vec<u8> {
    let mut element = number.to_string().into_bytes();
    element.resize(len.max(element.len()), b'.');
    element
}

#[test]
fn lengths_around_each_step_of_the_encoding() {
    let mut list = ChunkList::new();
    let mut model = Model::new();
    for len in [
        0, 1, 126, 127, 128, 129, 8184, 8187, 8188, 8189, 8192, 16383, 16384, 2_097_152,
    ] {
        for _ in 0..3 {
            list.push_back(&vec![b'b'; len]);
            model.push_back(vec![b'b'; len]);
            list.push_front(&vec![b'f'; len]);
            model.push_front(vec![b'f'; len]);
        }
    }
    check(&list, &model);
    while let Some(expected) = model.pop_back() {
        assert_eq!(list.pop_back(), Some(expected));
        assert_eq!(list.pop_front(), model.pop_front());
    }
    assert_eq!((list.pop_back(), list.pop_front()), (None, None));
    assert_eq!(list.buffers, 0);
}

#[test]
fn a_queue_both_ways_round() {
    for front in [true, false] {
        let mut list = ChunkList::new();
        let mut model = Model::new();
        for i in 0..30_000 {
            let new = element(i, i % 40);
            if front {
                list.push_front(&new);
                model.push_front(new);
            } else {
                list.push_back(&new);
                model.push_back(new);
            }
            if i % 4 != 0 {
                let (got, expected) = if front {
                    (list.pop_back(), model.pop_back())
                } else {
                    (list.pop_front(), model.pop_front())
                };
                assert_eq!(got, expected);
            }
        }
        check(&list, &model);
    }
}

#[test]
fn little_memory_beside_the_elements() {
    for front in [true, false] {
        let mut list = ChunkList::new();
        for i in 0..100_000 {
            let new = element(i, 10);
            if front {
                list.push_front(&new);
            } else {
                list.push_back(&new);
            }
        }
        let each = list.heap_bytes() as f64 / 100_000.0;
        assert!(each < 12.2, "{each}");
    }
}

#[test]
fn elements_of_half_a_chunk_waste_little() {
    let mut list = ChunkList::new();
    for i in 0..1000 {
        list.push_back(&element(i, 4500));
        list.push_front(&element(i, 4500));
    }
    assert!(list.heap_bytes() < 2000 * 4600);
}

#[test]
fn both_ends_of_one_chunk_by_turns() {
    let mut list = ChunkList::new();
    let mut model = Model::new();
    for i in 0..3000 {
        list.push_back(&element(i, 10));
        model.push_back(element(i, 10));
        list.push_front(&element(i, 10));
        model.push_front(element(i, 10));
        if i > 300 {
            assert_eq!(list.pop_front(), model.pop_front());
            assert_eq!(list.pop_front(), model.pop_front());
        }
        if i > 1500 {
            list.push_back(b"round");
            model.push_back(b"round".to_vec());
            assert_eq!(list.pop_front(), model.pop_front());
        }
    }
    check(&list, &model);
}

#[test]
fn scattered_inserts_and_removals_keep_chunks_filled() {
    let mut random = SeededRandom::new(11);
    let mut list = ChunkList::new();
    let mut model = Model::new();
    for i in 0..20_000 {
        let at = random.below(model.len() as u64 + 1) as usize;
        let new = element(i, 12);
        assert!(list.insert(at, &new));
        model.insert(at, new);
    }
    check(&list, &model);
    assert!(list.chunks.len() < 20_000 * 14 / (CAPACITY / 2));
    for _ in 0..19_000 {
        let at = random.below(model.len() as u64) as usize;
        assert!(list.remove(at));
        model.remove(at);
    }
    check(&list, &model);
    assert!(list.chunks.len() <= 8, "{}", list.chunks.len());
}

#[test]
fn the_same_place_over_and_over() {
    for place in [1, 2] {
        let mut list = ChunkList::new();
        let mut model = Model::new();
        for i in 0..20_000usize {
            let at = place
                .min(model.len())
                .max(if place == 2 { i / 2 } else { 0 });
            let new = element(i, 12);
            assert!(list.insert(at, &new));
            model.insert(at, new);
        }
        check(&list, &model);
        assert!(list.chunks.len() < 20_000 * 14 / (CAPACITY / 3));
    }
}

#[test]
fn out_of_range() {
    let mut list = ChunkList::new();
    assert!(!list.insert(1, b"x") && !list.set(0, b"x") && !list.remove(0));
    assert_eq!(list.get(0), None);
    assert_eq!(list.iter_from(3).next(), None);
    assert_eq!(list.iter_rev_from(0).next(), None);
    assert!(list.insert(0, b"x"));
    assert_eq!(list.iter_from(1).len(), 0);
    assert_eq!(list.iter_rev_from(1).len(), 0);
    list.trim(1..5);
    assert!(list.is_empty() && list.heap_bytes() == 0);
}

#[derive(Debug, Clone)]
enum Step {
    PushBack(usize, usize),
    PushFront(usize, usize),
    PopBack(usize),
    PopFront(usize),
    Insert(usize, usize),
    Set(usize, usize),
    Remove(usize, usize),
    Trim(usize, usize),
    RemoveMatching(usize, i64),
    Walk(usize),
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0..30usize,
        3 => 100..200usize,
        2 => 1000..5000usize,
        1 => 8000..9000usize,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..10_000usize;
    prop_oneof![
        3 => (1..200usize, size()).prop_map(|(n, s)| Step::PushBack(n, s)),
        3 => (1..200usize, size()).prop_map(|(n, s)| Step::PushFront(n, s)),
        1 => (1..150usize).prop_map(Step::PopBack),
        1 => (1..150usize).prop_map(Step::PopFront),
        6 => (at.clone(), size()).prop_map(|(i, s)| Step::Insert(i, s)),
        6 => (at.clone(), size()).prop_map(|(i, s)| Step::Set(i, s)),
        4 => (at.clone(), 1..60usize).prop_map(|(i, n)| Step::Remove(i, n)),
        1 => (at.clone(), at.clone()).prop_map(|(a, b)| Step::Trim(a, b)),
        3 => (0..8usize, -5..5i64).prop_map(|(v, n)| Step::RemoveMatching(v, n)),
        2 => at.prop_map(Step::Walk),
    ]
}

fn remove_matching(model: &mut Model, value: &[u8], count: i64) -> usize {
    let limit = if count == 0 {
        usize::MAX
    } else {
        count.unsigned_abs() as usize
    };
    let mut places: Vec<usize> = (0..model.len()).filter(|i| model[*i] == value).collect();
    if count < 0 {
        places.reverse();
    }
    places.truncate(limit);
    places.sort_unstable();
    for at in places.iter().rev() {
        model.remove(*at);
    }
    places.len()
}

fn apply(list: &mut ChunkList, model: &mut Model, step: Step) {
    let len = model.len();
    match step {
        Step::PushBack(n, size) => (0..n).for_each(|i| {
            list.push_back(&element(i % 8, size));
            model.push_back(element(i % 8, size));
        }),
        Step::PushFront(n, size) => (0..n).for_each(|i| {
            list.push_front(&element(i % 8, size));
            model.push_front(element(i % 8, size));
        }),
        Step::PopBack(n) => (0..n).for_each(|_| assert_eq!(list.pop_back(), model.pop_back())),
        Step::PopFront(n) => (0..n).for_each(|_| assert_eq!(list.pop_front(), model.pop_front())),
        Step::Insert(at, size) => {
            let at = at % (len + 1);
            assert!(list.insert(at, &element(at % 8, size)));
            model.insert(at, element(at % 8, size));
        }
        Step::Set(at, size) if len > 0 => {
            assert!(list.set(at % len, &element(at % 8, size)));
            model[at % len] = element(at % 8, size);
        }
        Step::Remove(at, n) if len > 0 => {
            for _ in 0..n.min(len - at % len) {
                assert!(list.remove(at % len));
                model.remove(at % len);
            }
        }
        Step::Trim(a, b) if len > 0 => {
            let (start, end) = (a % len / 4, len - b % len / 4);
            list.trim(start..end);
            model.truncate(end);
            model.drain(..start.min(end));
        }
        Step::RemoveMatching(value, count) => {
            let value = element(value, 0);
            let expected = remove_matching(model, &value, count);
            assert_eq!(list.remove_matching(&value, count), expected);
        }
        Step::Walk(at) if len > 0 => {
            let at = at % len;
            assert_eq!(list.get(at), Some(&model[at][..]));
            assert!(list.iter_from(at).eq(model.iter().skip(at)));
            let rest = model.iter().take(at + 1).rev();
            assert!(list.iter_rev_from(at).eq(rest));
            assert_eq!(list.iter_from(at).len(), len - at);
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn behaves_as_a_double_ended_queue(steps in prop::collection::vec(step(), 1..60)) {
        let mut list = ChunkList::new();
        let mut model = Model::new();
        for step in steps {
            apply(&mut list, &mut model, step);
            check(&list, &model);
        }
    }
}
