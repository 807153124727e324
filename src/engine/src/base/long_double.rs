//! The 80-bit floating point format of x86, with which Redis computes
//! `INCRBYFLOAT` and `HINCRBYFLOAT`: read, add, print, each rounded once.

use super::strtod::{Value, round, scan};
use std::cmp::Ordering;

/// Redis reads numbers through a buffer of this size, a final NUL included.
const TEXT_LIMIT: usize = 5 * 1024;
const MANTISSA_BITS: u32 = 64;
/// Exponent of the last mantissa bit of the smallest and the largest numbers.
const MIN_EXPONENT: i64 = -16445;
const MAX_EXPONENT: i64 = 16320;
/// Digits printed behind the point, before trailing zeros are dropped.
const FRACTION_DIGITS: usize = 17;

/// A number with 64 bits of mantissa and 15 of exponent.
#[derive(Clone, Copy, Debug)]
pub struct LongDouble {
    negative: bool,
    class: Class,
}

#[derive(Clone, Copy, Debug)]
enum Class {
    /// `mantissa * 2^exponent`; the top bit is set unless the exponent is
    /// the smallest.
    Finite {
        mantissa: u64,
        exponent: i64,
    },
    Infinite,
    NaN,
}

impl LongDouble {
    /// Reads a number as `INCRBYFLOAT` does: everything C's `strtold` takes
    /// but NaN, without spaces in front or anything behind, under 5120
    /// bytes; neither overflow nor underflow to zero.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= TEXT_LIMIT {
            return None;
        }
        let scanned = scan(text)?;
        let (value, zero) = match scanned.value {
            Value::Infinity => {
                return Some(LongDouble {
                    negative: scanned.negative,
                    class: Class::Infinite,
                });
            }
            Value::Binary {
                mantissa,
                sticky,
                exponent,
            } => {
                let value = Self::rounded(scanned.negative, mantissa, sticky, exponent);
                (value, mantissa == 0)
            }
            Value::Decimal {
                whole,
                fraction,
                exponent,
            } => {
                let exponent = exponent - fraction.len() as i64;
                from_decimal(scanned.negative, [whole, fraction].concat(), exponent)
            }
        };
        let in_range = !value.is_infinite() && (zero || !value.is_zero());
        in_range.then_some(value)
    }

    /// The sum, rounded to nearest, to even in the middle.
    #[must_use]
    #[allow(clippy::should_implement_trait)] // a rounding sum is worth a word
    pub fn add(self, other: LongDouble) -> LongDouble {
        let (a, b) = match (self.class, other.class) {
            (Class::NaN, _) => return self,
            (_, Class::NaN) => return other,
            (Class::Infinite, Class::Infinite) if self.negative != other.negative => {
                return LongDouble {
                    negative: false,
                    class: Class::NaN,
                };
            }
            (Class::Infinite, _) => return self,
            (_, Class::Infinite) => return other,
            (
                Class::Finite { mantissa, exponent },
                Class::Finite {
                    mantissa: m,
                    exponent: e,
                },
            ) => ((exponent, mantissa), (e, m)),
        };
        // Larger magnitude first: exponents decide before mantissas, since
        // only the smallest exponent goes without the top bit.
        let (large, small, negative) = if a >= b {
            (a, b, self.negative)
        } else {
            (b, a, other.negative)
        };
        const GUARD_BITS: u32 = 62;
        let exponent = large.0 - i64::from(GUARD_BITS);
        let distance = large.0 - small.0;
        let upper = u128::from(large.1) << GUARD_BITS;
        let whole = u128::from(small.1) << GUARD_BITS;
        let lower = if distance < 128 { whole >> distance } else { 0 };
        let lost = if distance < 128 {
            lower << distance != whole
        } else {
            whole != 0
        };
        let sum = if self.negative == other.negative {
            upper + lower
        } else if upper == lower && !lost {
            return Self::rounded(false, 0, false, 0);
        } else {
            upper - lower - u128::from(lost)
        };
        Self::rounded(negative, sum, lost, exponent)
    }

    /// Whether this is not a number: the sum of two opposite infinities.
    pub fn is_nan(&self) -> bool {
        matches!(self.class, Class::NaN)
    }

    /// Whether this is one of the infinities.
    pub fn is_infinite(&self) -> bool {
        matches!(self.class, Class::Infinite)
    }

    fn is_zero(&self) -> bool {
        matches!(self.class, Class::Finite { mantissa: 0, .. })
    }

    /// Appends the number as Redis prints it: never an exponent, at most 17
    /// digits behind the point, no trailing zeros and no `-0`. At most 4934
    /// bytes.
    pub fn format(&self, out: &mut Vec<u8>) {
        let (mantissa, exponent) = match self.class {
            Class::NaN => return out.extend_from_slice(b"nan"),
            Class::Infinite if self.negative => return out.extend_from_slice(b"-inf"),
            Class::Infinite => return out.extend_from_slice(b"inf"),
            Class::Finite { mantissa, exponent } => (mantissa, exponent),
        };
        let (whole, fraction) = match exponent {
            0.. => (None, 0),
            _ => {
                let (whole, fraction) = split(mantissa, exponent.unsigned_abs());
                (Some(whole), fraction)
            }
        };
        if self.negative && (whole, fraction) != (Some(0), 0) && mantissa != 0 {
            out.push(b'-');
        }
        match whole {
            Some(whole) => out.extend_from_slice(whole.to_string().as_bytes()),
            None => {
                let mut big = Big::from(mantissa);
                big.shift_left(exponent as usize);
                big.print(out);
            }
        }
        if fraction != 0 {
            let digits = format!(".{fraction:0width$}", width = FRACTION_DIGITS);
            out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
        }
    }

    fn rounded(negative: bool, mantissa: u128, sticky: bool, exponent: i64) -> LongDouble {
        let (mantissa, exponent) = round(mantissa, sticky, exponent, MANTISSA_BITS, MIN_EXPONENT);
        let class = if exponent > MAX_EXPONENT {
            Class::Infinite
        } else {
            Class::Finite { mantissa, exponent }
        };
        LongDouble { negative, class }
    }
}

impl From<i64> for LongDouble {
    fn from(value: i64) -> Self {
        Self::rounded(value < 0, u128::from(value.unsigned_abs()), false, 0)
    }
}

/// The whole part of `mantissa / 2^shift`, and 17 decimal digits of the rest,
/// rounded half to even; `shift` is above 0.
fn split(mantissa: u64, shift: u64) -> (u64, u64) {
    const SCALE: u128 = 10u128.pow(FRACTION_DIGITS as u32);
    let (whole, rest) = if shift < 64 {
        (mantissa >> shift, mantissa & ((1 << shift) - 1))
    } else {
        (0, mantissa)
    };
    // Below 2^121, so with a shift of 128 it's less than half a digit.
    let scaled = u128::from(rest) * SCALE;
    if shift >= 128 {
        return (whole, 0);
    }
    let half = 1u128 << (shift - 1);
    let below = scaled & (half | (half - 1));
    let digits = scaled >> shift;
    let up = below > half || below == half && digits & 1 == 1;
    let digits = digits + u128::from(up);
    if digits == SCALE {
        // The whole part is under 2^63 here: there is a fraction.
        (whole + 1, 0)
    } else {
        (whole, digits as u64)
    }
}

/// Rounds `digits * 10^exponent`; also tells whether that is exactly zero.
fn from_decimal(negative: bool, mut digits: Vec<u8>, mut exponent: i64) -> (LongDouble, bool) {
    while digits.last() == Some(&b'0') {
        digits.pop();
        exponent += 1;
    }
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let digits = &digits[zeros..];
    if digits.is_empty() {
        return (LongDouble::rounded(negative, 0, false, 0), true);
    }
    // Orders of magnitude beyond the format need no arithmetic.
    let magnitude = digits.len() as i64 + exponent;
    if magnitude > 5000 {
        return (LongDouble::rounded(negative, 1, false, 20_000), false);
    }
    if magnitude < -5000 {
        return (LongDouble::rounded(negative, 0, false, 0), false);
    }
    let (mantissa, sticky, exponent) = if exponent >= 0 {
        let mut big = Big::from_digits(digits);
        big.multiply_by_power_of_ten(exponent as usize);
        big.top_bits()
    } else if digits.len() <= 19 && exponent >= -18 {
        // Both fit 64 bits, the divisor 60: the quotient has at least 67.
        let value = digits
            .iter()
            .fold(0u64, |value, d| value * 10 + u64::from(d - b'0'));
        let divisor = 10u128.pow(exponent.unsigned_abs() as u32);
        let shift = u128::from(value).leading_zeros();
        let dividend = u128::from(value) << shift;
        let sticky = dividend % divisor != 0;
        (dividend / divisor, sticky, -i64::from(shift))
    } else {
        let mut divisor = Big::from(1);
        divisor.multiply_by_power_of_ten(exponent.unsigned_abs() as usize);
        Big::from_digits(digits).divide(divisor)
    };
    let value = LongDouble::rounded(negative, mantissa, sticky, exponent);
    (value, false)
}

/// An unsigned integer of any size: 64-bit words, the lowest first, without
/// zero words at the end.
struct Big(Vec<u64>);

impl From<u64> for Big {
    fn from(value: u64) -> Self {
        Big(if value == 0 { vec![] } else { vec![value] })
    }
}

impl Big {
    fn from_digits(digits: &[u8]) -> Big {
        let mut big = Big(vec![]);
        for part in digits.chunks(19) {
            let value = part
                .iter()
                .fold(0u64, |value, d| value * 10 + u64::from(d - b'0'));
            big.multiply_add(10u64.pow(part.len() as u32), value);
        }
        big
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for word in &mut self.0 {
            let product = u128::from(*word) * u128::from(factor) + u128::from(carry);
            *word = product as u64;
            carry = (product >> 64) as u64;
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    fn multiply_by_power_of_ten(&mut self, mut power: usize) {
        while power > 0 {
            let step = power.min(19);
            self.multiply_add(10u64.pow(step as u32), 0);
            power -= step;
        }
    }

    fn bits(&self) -> usize {
        let top = self.0.last().map_or(0, |top| 64 - top.leading_zeros());
        (self.0.len().saturating_sub(1)) * 64 + top as usize
    }

    fn shift_left(&mut self, by: usize) {
        let (words, bits) = (by / 64, by % 64);
        if bits > 0 {
            let mut carry = 0;
            for word in &mut self.0 {
                let shifted = *word << bits | carry;
                carry = *word >> (64 - bits);
                *word = shifted;
            }
            if carry != 0 {
                self.0.push(carry);
            }
        }
        if words > 0 && !self.0.is_empty() {
            self.0.splice(0..0, std::iter::repeat_n(0, words));
        }
    }

    fn at_least(&self, other: &Big) -> bool {
        let by_length = self.0.len().cmp(&other.0.len());
        let order = by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()));
        order != Ordering::Less
    }

    /// Subtracts `other`, which must not be larger.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = false;
        for (at, word) in self.0.iter_mut().enumerate() {
            let minus = other.0.get(at).copied().unwrap_or(0);
            let (value, first) = word.overflowing_sub(minus);
            let (value, second) = value.overflowing_sub(u64::from(borrow));
            borrow = first || second;
            *word = value;
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// The highest bits, at least 65 if there are as many; whether any bit
    /// set was left behind; and the exponent of the lowest one kept.
    fn top_bits(&self) -> (u128, bool, i64) {
        let skipped = self.0.len().saturating_sub(2);
        let (low, high) = self.0.split_at(skipped);
        let mut top = high
            .iter()
            .rev()
            .fold(0u128, |top, word| top << 64 | u128::from(*word));
        let mut exponent = skipped as i64 * 64;
        let mut sticky = low.iter().any(|word| *word != 0);
        // The top word may hold a single bit: take in one word more.
        if let Some((next, lower)) = low.split_last() {
            let room = top.leading_zeros().min(63);
            if room > 0 {
                top = top << room | u128::from(next >> (64 - room));
                exponent -= i64::from(room);
                sticky = next << room != 0 || lower.iter().any(|word| *word != 0);
            }
        }
        (top, sticky, exponent)
    }

    /// The quotient with 68 or 69 bits, whether there's a rest, and the
    /// quotient's exponent.
    fn divide(mut self, mut divisor: Big) -> (u128, bool, i64) {
        const STEPS: usize = 70;
        let goal = divisor.bits() + 68;
        let exponent = self.bits() as i64 - goal as i64;
        match usize::try_from(exponent) {
            Ok(surplus) => divisor.shift_left(surplus),
            Err(_) => self.shift_left(exponent.unsigned_abs() as usize),
        }
        divisor.shift_left(STEPS);
        let mut quotient = 0u128;
        for _ in 0..STEPS {
            self.shift_left(1);
            quotient <<= 1;
            if self.at_least(&divisor) {
                self.subtract(&divisor);
                quotient |= 1;
            }
        }
        (quotient, !self.0.is_empty(), exponent)
    }

    /// Appends the number in decimal.
    fn print(mut self, out: &mut Vec<u8>) {
        const PART: u64 = 10u64.pow(19);
        let mut parts = vec![];
        while !self.0.is_empty() {
            let mut rest = 0u64;
            for word in self.0.iter_mut().rev() {
                let value = u128::from(rest) << 64 | u128::from(*word);
                *word = (value / u128::from(PART)) as u64;
                rest = (value % u128::from(PART)) as u64;
            }
            while self.0.last() == Some(&0) {
                self.0.pop();
            }
            parts.push(rest);
        }
        out.extend_from_slice(parts.pop().unwrap_or(0).to_string().as_bytes());
        for part in parts.iter().rev() {
            out.extend_from_slice(format!("{part:019}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
