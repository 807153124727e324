//! The keyed hash of the keyspace: SipHash-1-3 with a 128-bit key. Files
//! store the key and rely on the values, so the function never changes.

/// The 128-bit key as it is stored in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

/// A [`Seed`] split into the two words the hash works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey {
    k0: u64,
    k1: u64,
}

impl From<Seed> for HashKey {
    fn from(seed: Seed) -> Self {
        let (low, high) = seed.0.split_at(8);
        HashKey {
            k0: word(low),
            k1: word(high),
        }
    }
}

/// Reads eight little-endian bytes; a shorter slice is padded with zeros.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(full) => u64::from_le_bytes(*full),
        None => tail(bytes),
    }
}

/// Reads fewer than eight little-endian bytes with at most three loads.
#[inline]
fn tail(bytes: &[u8]) -> u64 {
    let mut rest = bytes;
    let mut value = 0u64;
    let mut shift = 0;
    if let Some((four, more)) = rest.split_first_chunk::<4>() {
        value = u64::from(u32::from_le_bytes(*four));
        shift = 32;
        rest = more;
    }
    if let Some((two, more)) = rest.split_first_chunk::<2>() {
        value |= u64::from(u16::from_le_bytes(*two)) << shift;
        shift += 16;
        rest = more;
    }
    if let Some(one) = rest.first() {
        value |= u64::from(*one) << shift;
    }
    value
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }

    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }
}

/// SipHash-1-3 of `data` under `key`.
#[inline]
pub fn hash(key: &HashKey, data: &[u8]) -> u64 {
    let mut state = State {
        v0: key.k0 ^ 0x736f_6d65_7073_6575,
        v1: key.k1 ^ 0x646f_7261_6e64_6f6d,
        v2: key.k0 ^ 0x6c79_6765_6e65_7261,
        v3: key.k1 ^ 0x7465_6462_7974_6573,
    };
    let (words, rest) = data.as_chunks::<8>();
    for eight in words {
        state.absorb(u64::from_le_bytes(*eight));
    }
    state.absorb(tail(rest) | (data.len() as u64) << 56);
    state.v2 ^= 0xff;
    state.round();
    state.round();
    state.round();
    state.v0 ^ state.v1 ^ state.v2 ^ state.v3
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hasher};

    #[test]
    fn agrees_with_the_standard_library_under_a_zero_key() {
        let key = HashKey::from(Seed([0; 16]));
        let data: Vec<u8> = (0..300u32).map(|i| (i * 37 + 11) as u8).collect();
        for len in 0..=300 {
            let mut std = DefaultHasher::new();
            std.write(&data[..len]);
            assert_eq!(hash(&key, &data[..len]), std.finish(), "length {len}");
        }
    }

    #[test]
    fn values_stored_in_files_stay_the_same() {
        let key = HashKey::from(Seed(std::array::from_fn(|i| i as u8)));
        for (text, expected) in VECTORS {
            assert_eq!(hash(&key, text.as_bytes()), *expected, "{text:?}");
        }
    }

    // Computed with an independent implementation of SipHash-1-3.
    const VECTORS: &[(&str, u64)] = &[
        ("", 0xabac_0158_050f_c4dc),
        ("a", 0x1c26_97ab_786a_6237),
        ("key:1", 0x5b17_3dba_80dc_c8ee),
        ("cart:42:items", 0xfd8d_ec3c_36bf_08a4),
        ("session:00000000000000000001", 0x9e0a_7f1b_5966_310a),
        ("0123456789abcdef", 0xe393_c48e_a7bc_21ef),
    ];
}
