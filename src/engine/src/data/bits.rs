//! Strings as rows of bits: bit 0 is the highest bit of the first byte.

use std::ops::Range;

/// How many bits are set.
pub fn count(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words
        .iter()
        .map(|word| u64::from(u64::from_le_bytes(*word).count_ones()));
    let rest = rest.iter().map(|byte| u64::from(byte.count_ones()));
    words.sum::<u64>() + rest.sum::<u64>()
}

/// How many bits of the range `bits`, which lies within `bytes`, are set.
pub fn count_in(bytes: &[u8], bits: Range<usize>) -> u64 {
    if bits.is_empty() {
        return 0;
    }
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let Some(whole) = bytes.get(first..=last) else {
        return 0;
    };
    let before = whole[0] & !(0xff >> (bits.start % 8));
    let after = whole[last - first] & low_bits(7 - (bits.end - 1) % 8);
    count(whole) - u64::from(before.count_ones()) - u64::from(after.count_ones())
}

/// The lowest `n` bits of a byte, fewer than 8.
fn low_bits(n: usize) -> u8 {
    (1 << n) - 1
}

/// Position of the first bit in the range `bits`, which lies within `bytes`,
/// that is set (`wanted`) or clear.
pub fn find(bytes: &[u8], bits: Range<usize>, wanted: bool) -> Option<usize> {
    if bits.is_empty() {
        return None;
    }
    // Turned so that the search is always for a bit that is set.
    let flip = if wanted { 0 } else { 0xff };
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let whole = bytes.get(first..=last)?;
    let position = |at: usize, byte: u8| {
        let bit = (first + at) * 8 + byte.leading_zeros() as usize;
        (bit < bits.end).then_some(bit)
    };
    let head = (whole[0] ^ flip) & (0xff >> (bits.start % 8));
    if head != 0 {
        return position(0, head);
    }
    let rest = &whole[1..];
    let (words, _) = rest.as_chunks::<8>();
    let skipped = words.iter().take_while(|word| **word == [flip; 8]).count() * 8;
    let at = rest[skipped..].iter().position(|byte| byte ^ flip != 0)? + skipped + 1;
    position(at, whole[at] ^ flip)
}

/// The bit at `at`; clear beyond the end.
pub fn get(bytes: &[u8], at: usize) -> bool {
    bytes
        .get(at / 8)
        .is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0)
}

/// The unsigned number of `width` bits (at most 64) at bit `at`; bits beyond
/// the end are clear.
pub fn read(bytes: &[u8], at: usize, width: u32) -> u64 {
    let mut window = [0; 9];
    let from = bytes.get(at / 8..).unwrap_or_default();
    let len = from.len().min(window.len());
    window[..len].copy_from_slice(&from[..len]);
    let all = window.iter().fold(0u128, |n, b| n << 8 | u128::from(*b));
    let shift = 72 - (at % 8) as u32 - width;
    ((all >> shift) & mask(width)) as u64
}

/// Writes the low `width` bits (1 to 64) of `value` at bit `at`; all of them
/// must lie within `bytes`.
pub fn write(bytes: &mut [u8], at: usize, width: u32, value: u64) {
    let span = (at % 8 + width as usize).div_ceil(8);
    let Some(window) = bytes.get_mut(at / 8..at / 8 + span) else {
        return;
    };
    let shift = span as u32 * 8 - (at % 8) as u32 - width;
    let old = window.iter().fold(0u128, |n, b| n << 8 | u128::from(*b));
    let new = old & !(mask(width) << shift) | (u128::from(value) & mask(width)) << shift;
    let raw = new.to_be_bytes();
    window.copy_from_slice(&raw[raw.len() - span..]);
}

fn mask(width: u32) -> u128 {
    (1 << width) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{Random, SeededRandom};

    #[test]
    fn every_range_of_a_few_bytes() {
        let mut rng = SeededRandom::new(5);
        for len in [1usize, 2, 3, 9, 20, 27] {
            for filler in [0, 0xff, 0x10, 0xfe] {
                let mut bytes = vec![filler; len];
                if len > 2 {
                    let at = rng.below(len as u64) as usize;
                    bytes[at] ^= 1 << rng.below(8);
                }
                let bits: Vec<bool> = (0..len * 8).map(|at| get(&bytes, at)).collect();
                assert_eq!(count(&bytes), bits.iter().filter(|b| **b).count() as u64);
                for start in 0..bits.len() {
                    for end in start..=bits.len() {
                        let set = bits[start..end].iter().filter(|b| **b).count();
                        assert_eq!(count_in(&bytes, start..end), set as u64);
                        for wanted in [false, true] {
                            let at = bits[start..end].iter().position(|b| *b == wanted);
                            let found = find(&bytes, start..end, wanted);
                            assert_eq!(found, at.map(|at| at + start), "{bytes:?} {start}..{end}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_of_every_width_and_place() {
        let mut rng = SeededRandom::new(6);
        for width in 1..=64 {
            for at in 0..24 {
                let mut bytes = [0u8; 12];
                rng.fill(&mut bytes);
                let before = bytes;
                let value = rng.next_u64() >> (64 - width);
                write(&mut bytes, at, width, value);
                assert_eq!(read(&bytes, at, width), value);
                for bit in (0..96).filter(|bit| !(at..at + width as usize).contains(bit)) {
                    assert_eq!(get(&bytes, bit), get(&before, bit));
                }
            }
        }
        assert_eq!(read(&[0xff], 4, 8), 0xf0);
        assert_eq!(read(&[], 1000, 64), 0);
    }
}
