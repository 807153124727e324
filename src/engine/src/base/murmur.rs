//! MurmurHash64A (Austin Appleby, public domain), which HyperLogLogs of Redis
//! are made with: anything else would make theirs and ours disagree.

const M: u64 = 0xc6a4_a793_5bd1_e995;
const R: u32 = 47;

fn mix(h: u64, word: u64) -> u64 {
    let mut k = word.wrapping_mul(M);
    k ^= k >> R;
    (h ^ k.wrapping_mul(M)).wrapping_mul(M)
}

/// The hash of `bytes` under `seed`.
pub fn hash64(bytes: &[u8], seed: u64) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut h = seed ^ (bytes.len() as u64).wrapping_mul(M);
    for word in words {
        h = mix(h, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        h = (h ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    h = (h ^ (h >> R)).wrapping_mul(M);
    h ^ (h >> R)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by hand from the published definition.
    #[test]
    fn nothing_hashes_to_the_mixed_seed() {
        assert_eq!(hash64(b"", 0), 0);
        let h = 1u64.wrapping_mul(1);
        let h = (h ^ (h >> R)).wrapping_mul(M);
        assert_eq!(hash64(b"", 1), h ^ (h >> R));
        assert_ne!(hash64(b"a", 0), hash64(b"a\0", 0));
    }
}
