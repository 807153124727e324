//! The quicksort of Bentley and McIlroy ("Engineering a Sort Function", 1993),
//! stopped where nobody looks.
//!
//! It isn't stable, but what it does with equals is determined. Redis sorts
//! so where it needs the first ones of many; so do we, step by step, for the
//! same answers.

use std::cmp::Ordering;
use std::ops::Range;

/// Below so many, insertion is faster.
const FEW: usize = 7;
/// Above so many, the pivot is the median of nine.
const MANY: usize = 40;

/// Brings the first `wanted` in order to the front. What follows them is in no
/// order. Quadratic at worst, and without recursion.
pub fn sort_first<T>(items: &mut [T], wanted: usize, compare: impl Fn(&T, &T) -> Ordering) {
    let mut todo = vec![(0, items.len())];
    while let Some((start, end)) = todo.pop() {
        if start >= wanted || end - start < 2 {
            continue;
        }
        let part = &mut items[start..end];
        if part.len() < FEW {
            insertion(part, &compare);
            continue;
        }
        let (less, greater) = partition(part, &compare);
        todo.push((start + greater.start, start + greater.end));
        todo.push((start + less.start, start + less.end));
    }
}

fn insertion<T>(part: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) {
    for end in 1..part.len() {
        let mut at = end;
        while at > 0 && compare(&part[at - 1], &part[at]) == Ordering::Greater {
            part.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// Splits seven or more into those less than a pivot, which are gathered in
/// front, those equal to it, and those greater, at the end.
fn partition<T>(
    part: &mut [T],
    compare: &impl Fn(&T, &T) -> Ordering,
) -> (Range<usize>, Range<usize>) {
    let n = part.len();
    let pivot = pivot(part, compare);
    part.swap(0, pivot);
    // Equals gather at both ends meanwhile: up to `left`, and behind `right`.
    // What lies between and isn't looked at yet goes from `low` to `high`.
    let (mut left, mut low, mut high, mut right) = (1, 1, n - 1, n - 1);
    loop {
        while low <= high {
            match compare(&part[low], &part[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    part.swap(left, low);
                    left += 1;
                }
                Ordering::Less => {}
            }
            low += 1;
        }
        while low <= high {
            match compare(&part[high], &part[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    part.swap(high, right);
                    right -= 1;
                }
                Ordering::Greater => {}
            }
            high -= 1;
        }
        if low > high {
            break;
        }
        part.swap(low, high);
        low += 1;
        high -= 1;
    }
    // The equals go to the middle.
    let (less, greater) = (low - left, right - high);
    exchange(part, 0, low, left.min(less));
    exchange(part, low, n, greater.min(n - 1 - right));
    (0..less, n - greater..n)
}

/// Exchanges `count` items from `from` with the last ones before `end`.
fn exchange<T>(part: &mut [T], from: usize, end: usize, count: usize) {
    for at in 0..count {
        part.swap(from + at, end - count + at);
    }
}

/// The middle one of three, or of three such.
fn pivot<T>(part: &[T], compare: &impl Fn(&T, &T) -> Ordering) -> usize {
    let middle = |a: usize, b: usize, c: usize| {
        let order = |a: usize, b: usize| compare(&part[a], &part[b]);
        if order(a, b) == Ordering::Less {
            match (order(b, c), order(a, c)) {
                (Ordering::Less, _) => b,
                (_, Ordering::Less) => c,
                _ => a,
            }
        } else {
            match (order(b, c), order(a, c)) {
                (Ordering::Greater, _) => b,
                (_, Ordering::Less) => a,
                _ => c,
            }
        }
    };
    let (n, half) = (part.len(), part.len() / 2);
    if n <= FEW {
        return half;
    }
    if n <= MANY {
        return middle(0, half, n - 1);
    }
    let d = n / 8;
    middle(
        middle(0, d, 2 * d),
        middle(half - d, half, half + d),
        middle(n - 1 - 2 * d, n - 1 - d, n - 1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Random, SeededRandom};

    #[test]
    fn the_first_are_in_order() {
        let mut rng = SeededRandom::new(7);
        for round in 0..2000 {
            let n = rng.below(300) as usize;
            // Few different ones, so that many are equal.
            let kinds = 1 + rng.below(if round % 2 == 0 { 8 } else { 1000 });
            let items: Vec<(u64, usize)> = (0..n).map(|at| (rng.below(kinds), at)).collect();
            let wanted = rng.below(n as u64 + 2) as usize;
            let (mut sorted, mut ours) = (items.clone(), items);
            sorted.sort();
            sort_first(&mut ours, wanted, |a, b| a.0.cmp(&b.0));
            let keys = |items: &[(u64, usize)]| -> Vec<u64> {
                items.iter().take(wanted).map(|item| item.0).collect()
            };
            assert_eq!(keys(&ours), keys(&sorted));
            ours.sort();
            assert_eq!(ours, sorted, "nothing is lost");
        }
    }

    /// What makes answers those of Redis: worked through by hand.
    #[test]
    fn equals_go_where_the_algorithm_says() {
        let mut items: Vec<(u8, char)> = "abcdefgh".chars().map(|name| (1, name)).collect();
        sort_first(&mut items, 3, |a, b| a.0.cmp(&b.0));
        let names: String = items.iter().map(|item| item.1).collect();
        assert_eq!(names, "hbcdefga");
    }

    #[test]
    fn orders_that_are_none_end() {
        let mut items: Vec<u32> = (0..1000).collect();
        for order in [Ordering::Less, Ordering::Equal, Ordering::Greater] {
            sort_first(&mut items, 10, |_, _| order);
        }
        items.sort_unstable();
        assert!(items.iter().copied().eq(0..1000));
    }

    #[test]
    fn a_million_sorted_ones_end_soon() {
        let mut items: Vec<u32> = (0..1_000_000).rev().collect();
        sort_first(&mut items, 1_000_000, u32::cmp);
        assert!(items.is_sorted());
    }
}
