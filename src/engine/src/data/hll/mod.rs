//! HyperLogLogs: strings that estimate how many different elements were added
//! to them, byte for byte as Redis lays them out.
//!
//! | | | |
//! |---|---|---|
//! | 0 | 4 | magic `HYLL` |
//! | 4 | u8 | 0: dense, 1: sparse |
//! | 5 | 3 | 0 |
//! | 8 | u64 le | the last estimate; the highest bit says that it is out of date |
//! | 16 | | 16384 registers, see [`dense`] and [`sparse`] |

mod dense;
mod estimate;
mod sparse;
#[cfg(test)]
mod tests;

use crate::base::murmur;

/// Registers. Each holds the longest run of zeros that a hash, of those whose
/// low 14 bits name it, showed behind these bits, plus 1.
pub const REGISTERS: usize = 1 << INDEX_BITS;

const INDEX_BITS: u32 = 14;
/// Bits of a hash that runs are looked for in.
const RUN_BITS: u32 = 64 - INDEX_BITS;
const SEED: u64 = 0xadc8_3b19;
const HEADER_LEN: usize = 16;
const DENSE_LEN: usize = HEADER_LEN + REGISTERS * 6 / 8;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// Of the last byte of the estimate.
const STALE: u8 = 0x80;

/// A sparse HyperLogLog doesn't cover its registers exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

/// One value for each register.
pub type Registers = [u8; REGISTERS];

/// An empty one.
pub fn empty() -> Vec<u8> {
    let mut bytes = b"HYLL".to_vec();
    bytes.resize(HEADER_LEN, 0);
    bytes[4] = SPARSE;
    sparse::push_zeros(&mut bytes, REGISTERS);
    bytes
}

/// Whether `bytes` look like a HyperLogLog.
pub fn is_hll(bytes: &[u8]) -> bool {
    match bytes {
        [b'H', b'Y', b'L', b'L', DENSE, ..] => bytes.len() == DENSE_LEN,
        [b'H', b'Y', b'L', b'L', SPARSE, ..] => bytes.len() >= HEADER_LEN,
        _ => false,
    }
}

/// Whether it is dense.
pub fn is_dense(hll: &[u8]) -> bool {
    hll.get(4) == Some(&DENSE)
}

/// The estimate that was kept, unless something was added since.
pub fn cached(hll: &[u8]) -> Option<u64> {
    let raw: [u8; 8] = hll.get(8..HEADER_LEN)?.try_into().ok()?;
    (raw[7] & STALE == 0).then_some(u64::from_le_bytes(raw))
}

/// Keeps an estimate.
pub fn keep(hll: &mut [u8], estimate: u64) {
    if let Some(place) = hll.get_mut(8..HEADER_LEN) {
        place.copy_from_slice(&estimate.to_le_bytes());
    }
}

/// Notes that the kept estimate is out of date.
pub fn invalidate(hll: &mut [u8]) {
    if let Some(last) = hll.get_mut(HEADER_LEN - 1) {
        *last |= STALE;
    }
}

/// The register of `element`, and what it must hold at least.
pub fn place_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur::hash64(element, SEED);
    let run = (hash >> INDEX_BITS | 1 << RUN_BITS).trailing_zeros();
    (hash as usize % REGISTERS, run as u8 + 1)
}

/// Raises a register of a dense one; `false` if it is as high already.
pub fn raise_dense(hll: &mut [u8], register: usize, to: u8) -> bool {
    dense::raise(&mut hll[HEADER_LEN..], register, to)
}

/// Raises a register, and makes a sparse one dense that would get longer than
/// `max_sparse` bytes; `false` if it is as high already.
///
/// # Errors
/// The sparse form is corrupt.
pub fn raise(
    hll: &mut Vec<u8>,
    register: usize,
    to: u8,
    max_sparse: usize,
) -> Result<bool, Corrupt> {
    raise_from(hll, register, to, max_sparse, &mut { sparse::START })
}

/// Raises all registers that are lower than those of `registers`; see [`raise`].
///
/// # Errors
/// The sparse form is corrupt.
pub fn raise_all(
    hll: &mut Vec<u8>,
    registers: &Registers,
    max_sparse: usize,
) -> Result<(), Corrupt> {
    let mut from = sparse::START;
    for (register, to) in registers.iter().enumerate().filter(|(_, to)| **to > 0) {
        raise_from(hll, register, *to, max_sparse, &mut from)?;
    }
    Ok(())
}

fn raise_from(
    hll: &mut Vec<u8>,
    register: usize,
    to: u8,
    max_sparse: usize,
    from: &mut sparse::Place,
) -> Result<bool, Corrupt> {
    if is_dense(hll) {
        return Ok(raise_dense(hll, register, to));
    }
    match sparse::raise(hll, register, to, max_sparse, from)? {
        sparse::Raised::No => Ok(false),
        sparse::Raised::Yes => {
            invalidate(hll);
            Ok(true)
        }
        sparse::Raised::TooLong => {
            make_dense(hll)?;
            Ok(raise_dense(hll, register, to))
        }
    }
}

/// Gives a sparse one the dense form.
///
/// # Errors
/// The sparse form is corrupt.
pub fn make_dense(hll: &mut Vec<u8>) -> Result<(), Corrupt> {
    if is_dense(hll) {
        return Ok(());
    }
    let mut registers = [0; REGISTERS];
    merge(hll, &mut registers)?;
    hll.truncate(HEADER_LEN);
    hll.resize(DENSE_LEN, 0);
    hll[4] = DENSE;
    for (register, value) in registers.iter().enumerate().filter(|(_, v)| **v > 0) {
        raise_dense(hll, register, *value);
    }
    Ok(())
}

/// Raises `registers` to those of `hll`.
///
/// # Errors
/// The sparse form is corrupt.
pub fn merge(hll: &[u8], registers: &mut Registers) -> Result<(), Corrupt> {
    let body = hll.get(HEADER_LEN..).unwrap_or_default();
    if is_dense(hll) {
        for (register, value) in registers.iter_mut().zip(dense::values(body)) {
            *register = value.max(*register);
        }
        return Ok(());
    }
    for (range, value) in sparse::runs(body) {
        for register in registers.get_mut(range?).ok_or(Corrupt)? {
            *register = value.max(*register);
        }
    }
    Ok(())
}

/// The estimate for one HyperLogLog.
///
/// # Errors
/// The sparse form is corrupt.
pub fn count(hll: &[u8]) -> Result<u64, Corrupt> {
    let body = hll.get(HEADER_LEN..).unwrap_or_default();
    let mut histogram = [0u32; 64];
    if is_dense(hll) {
        for value in dense::values(body) {
            histogram[usize::from(value)] += 1;
        }
    } else {
        for (range, value) in sparse::runs(body) {
            histogram[usize::from(value)] += range?.len() as u32;
        }
    }
    Ok(estimate::of(&histogram))
}

/// The estimate for merged registers.
pub fn count_merged(registers: &Registers) -> u64 {
    let mut histogram = [0u32; 64];
    for value in registers {
        histogram[usize::from(*value) % 64] += 1;
    }
    estimate::of(&histogram)
}
