//! CRC-64/XZ, the one checksum of every file format here.
//!
//! Polynomial 0x42F0E1EBA9EA3693, reflected, initial value and final xor all
//! ones: the CRC of xz and of Go's `crc64.ECMA`. Files depend on it, so the
//! test below pins its published check value.

/// The CRC-64/XZ of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    let mut crc = Crc64::new();
    crc.update(bytes);
    crc.finish()
}

/// A CRC-64/XZ over bytes that arrive in pieces.
#[derive(Clone)]
pub struct Crc64(crc64fast::Digest);

impl Crc64 {
    /// The checksum of nothing so far, which is 0.
    pub fn new() -> Self {
        Self(crc64fast::Digest::new())
    }

    /// Adds `bytes` after those already seen.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The checksum of everything seen so far; more may follow.
    pub fn finish(&self) -> u64 {
        self.0.sum64()
    }
}

impl Default for Crc64 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Crc64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crc64({:016x})", self.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_value() {
        assert_eq!(crc64(b"123456789"), 0x995D_C9BB_DF19_39FA);
        assert_eq!(crc64(b""), 0);
    }

    /// The library takes another path for long and for unaligned input.
    #[test]
    fn any_split_gives_the_same() {
        let bytes: Vec<u8> = (0..2000u32).map(|i| (i * 7 + i / 256) as u8).collect();
        let whole = crc64(&bytes);
        for cut in 0..bytes.len() {
            let mut crc = Crc64::new();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(crc.finish(), whole, "cut at {cut}");
        }
        assert_eq!(whole, bitwise(&bytes));
    }

    fn bitwise(bytes: &[u8]) -> u64 {
        let mut crc = u64::MAX;
        for &byte in bytes {
            crc ^= u64::from(byte);
            for _ in 0..8 {
                let low = crc & 1;
                crc >>= 1;
                if low == 1 {
                    crc ^= 0xC96C_5795_D787_0F42;
                }
            }
        }
        !crc
    }
}
