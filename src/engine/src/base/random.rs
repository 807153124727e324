//! Random numbers as the engine takes them: handed in, so that a test can
//! repeat a run. Not for secrets.

/// A source of uniformly distributed words.
pub trait Random {
    /// The next 64 random bits.
    fn next_u64(&mut self) -> u64;

    /// A number in `0..n`, each equally likely; 0 when `n` is 0.
    fn below(&mut self, n: u64) -> u64 {
        // Lemire's method: the high half of a product, with the few low
        // halves that would favour some results drawn again.
        let mut product = u128::from(self.next_u64()) * u128::from(n);
        if (product as u64) < n {
            let refused = n.wrapping_neg() % n;
            while (product as u64) < refused {
                product = u128::from(self.next_u64()) * u128::from(n);
            }
        }
        (product >> 64) as u64
    }

    /// Fills `out` with random bytes.
    fn fill(&mut self, out: &mut [u8]) {
        for part in out.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            for (to, from) in part.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }
}

/// xoshiro256**: fast, with a period of 2^256 - 1; the same seed gives the
/// same numbers.
#[derive(Clone, Debug)]
pub struct SeededRandom {
    state: [u64; 4],
}

impl SeededRandom {
    /// A generator whose state is spread from one word.
    pub fn new(seed: u64) -> Self {
        let mut x = seed;
        SeededRandom {
            state: std::array::from_fn(|_| split_mix(&mut x)),
        }
    }

    /// A generator from 32 bytes of entropy.
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        let (words, _) = seed.as_chunks::<8>();
        let mut state = [0u64; 4];
        for (to, from) in state.iter_mut().zip(words) {
            *to = u64::from_le_bytes(*from);
        }
        if state == [0; 4] {
            return SeededRandom::new(0); // the one state that never changes
        }
        SeededRandom { state }
    }
}

fn split_mix(x: &mut u64) -> u64 {
    *x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *x;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random for SeededRandom {
    #[inline]
    fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sequence_of_xoshiro256_starstar() {
        // The first outputs of the reference implementation for state 1,2,3,4.
        let mut seed = [0u8; 32];
        for i in 0..4 {
            seed[i * 8] = i as u8 + 1;
        }
        let mut random = SeededRandom::from_bytes(seed);
        let got: Vec<u64> = (0..5).map(|_| random.next_u64()).collect();
        assert_eq!(
            got,
            [
                11520,
                0,
                1509978240,
                1215971899390074240,
                1216172134540287360
            ]
        );
    }

    #[test]
    fn below_is_in_range_and_even() {
        let mut random = SeededRandom::new(7);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        let mut seen = [0u32; 7];
        for _ in 0..70_000 {
            seen[random.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
        for _ in 0..1000 {
            assert!(random.below(u64::MAX) < u64::MAX);
        }
    }

    #[test]
    fn an_all_zero_seed_still_moves() {
        let mut random = SeededRandom::from_bytes([0; 32]);
        assert_ne!(random.next_u64(), random.next_u64());
    }

    #[test]
    fn fill_covers_odd_lengths() {
        let mut random = SeededRandom::new(1);
        let mut bytes = [0u8; 29];
        random.fill(&mut bytes);
        assert!(bytes.iter().filter(|b| **b == 0).count() < 4);
    }
}
