//! The longest common subsequence of two strings, in time O(N*M).

/// Bytes that follow each other in both strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where it begins in the first string.
    pub a: usize,
    /// Where it begins in the second string.
    pub b: usize,
    /// How long it is.
    pub len: usize,
}

/// Calls `line(i, lengths before, lengths now)` for each byte `i` of `a`,
/// where lengths are those of the subsequences with each beginning of `b`;
/// answers the length of the whole.
fn table(a: &[u8], b: &[u8], mut line: impl FnMut(usize, &[u32], &[u32])) -> u32 {
    let (mut before, mut now) = (vec![0u32; b.len() + 1], vec![0u32; b.len() + 1]);
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            now[j + 1] = if x == y {
                before[j] + 1
            } else {
                before[j + 1].max(now[j])
            };
        }
        line(i, &before, &now);
        std::mem::swap(&mut before, &mut now);
    }
    before.last().copied().unwrap_or(0)
}

/// How long the subsequence is.
pub fn len(a: &[u8], b: &[u8]) -> usize {
    table(a, b, |_, _, _| {}) as usize
}

/// The subsequence as runs, the last first; of several possible ones that
/// which Redis finds. Takes a bit of memory for each pair of bytes.
pub fn runs(a: &[u8], b: &[u8]) -> Vec<Run> {
    // For each pair that differs, whether the way back leads to the byte
    // before in `a`, not in `b`.
    let words = b.len().div_ceil(64);
    let mut back = vec![0u64; a.len() * words];
    table(a, b, |i, before, now| {
        let row = &mut back[i * words..(i + 1) * words];
        for (j, (up, left)) in before[1..].iter().zip(now).enumerate() {
            row[j / 64] |= u64::from(up > left) << (j % 64);
        }
    });
    let mut runs: Vec<Run> = Vec::new();
    let (mut i, mut j) = (a.len(), b.len());
    let mut in_run = false;
    while i > 0 && j > 0 {
        let same = a[i - 1] == b[j - 1];
        if same {
            i -= 1;
            j -= 1;
            match runs.last_mut() {
                Some(run) if in_run => {
                    *run = Run {
                        a: i,
                        b: j,
                        len: run.len + 1,
                    };
                }
                _ => runs.push(Run { a: i, b: j, len: 1 }),
            }
        } else if back[(i - 1) * words + (j - 1) / 64] >> ((j - 1) % 64) & 1 == 1 {
            i -= 1;
        } else {
            j -= 1;
        }
        in_run = same;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Random, SeededRandom};

    #[test]
    fn runs_are_common_ordered_and_of_the_whole_length() {
        let mut rng = SeededRandom::new(3);
        for _ in 0..300 {
            let text = |rng: &mut SeededRandom| -> Vec<u8> {
                let len = rng.below(100) as usize;
                (0..len).map(|_| b'a' + rng.below(4) as u8).collect()
            };
            let (a, b) = (text(&mut rng), text(&mut rng));
            let runs = runs(&a, &b);
            let sum: usize = runs.iter().map(|run| run.len).sum();
            assert_eq!(sum, len(&a, &b));
            let mut ends = (a.len(), b.len());
            for run in runs {
                assert!(run.a + run.len <= ends.0 && run.b + run.len <= ends.1);
                assert_eq!(a[run.a..run.a + run.len], b[run.b..run.b + run.len]);
                ends = (run.a, run.b);
            }
        }
        assert_eq!(len(b"", b"x"), 0);
        assert_eq!(len(b"ohmytext", b"mynewtext"), 6);
    }
}
