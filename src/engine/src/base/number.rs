//! Integers and doubles as Redis reads and prints them. Sums with Redis's
//! 80-bit precision are in [`super::long_double`].

use super::strtod::{Value, round, scan};
use std::fmt::Write;

/// Room for any 64-bit integer.
pub type IntegerText = [u8; 24];
/// Room for any double.
pub type FloatText = [u8; 32];

/// Reads an integer in the one spelling Redis prints it: no `+`, spaces,
/// leading zeros or `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    // Nineteen digits always fit 64 bits.
    let mut value = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

/// Writes `value` in decimal and answers the part of `text` it fills.
#[inline]
pub fn format_i64(value: i64, text: &mut IntegerText) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut at = text.len();
    while rest >= 10 {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    at -= 1;
    text[at] = b'0' + rest as u8;
    if value < 0 {
        at -= 1;
        text[at] = b'-';
    }
    &text[at..]
}

/// Appends `value` in decimal.
#[inline]
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(format_i64(value, &mut [0; 24]));
}

/// Reads a double as `ZADD` does: everything C's `strtod` takes, hexadecimal
/// and infinities included, but no space in front, nothing behind, no NaN,
/// and nothing that overflows, or underflows to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let scanned = scan(text)?;
    let magnitude = match scanned.value {
        Value::Infinity => f64::INFINITY,
        Value::Decimal {
            whole, fraction, ..
        } => {
            let value = std::str::from_utf8(text).ok()?.parse::<f64>().ok()?.abs();
            let zero = whole.iter().chain(fraction).all(|digit| *digit == b'0');
            if value.is_infinite() || (value == 0.0 && !zero) {
                return None;
            }
            value
        }
        Value::Binary {
            mantissa,
            sticky,
            exponent,
        } => {
            let (m, e) = round(mantissa, sticky, exponent, 53, -1074);
            if e > 971 || (m == 0 && mantissa != 0) {
                return None;
            }
            let fraction = m & ((1 << 52) - 1);
            if m == fraction {
                f64::from_bits(m)
            } else {
                f64::from_bits((e + 1075) as u64 * (1 << 52) + fraction)
            }
        }
    };
    Some(if scanned.negative {
        -magnitude
    } else {
        magnitude
    })
}

/// Writes `value` as a RESP2 reply of Redis 7.0 has it, C's `%.17g`: 17
/// significant digits, trailing zeros dropped, `inf`, `-inf`, `nan`.
pub fn format_f64(value: f64, text: &mut FloatText) -> &[u8] {
    let mut out = Cursor { text, len: 0 };
    if let Some(integer) = small_integer(value) {
        out.push_all(format_i64(integer, &mut [0; 24]));
    } else if let Some(number) = Digits::of(value, &mut out, |d| write!(d, "{value:.16e}").is_ok())
    {
        match number.exponent {
            -4..17 => number.write_fixed(&mut out),
            _ => number.write_scientific(&mut out, 2),
        }
    }
    out.filled()
}

/// Writes `value` with as few digits as read back to the same double:
/// without an exponent from 1e-7 up to 1e21, else as in `1.5e+21`.
pub fn format_f64_shortest(value: f64, text: &mut FloatText) -> &[u8] {
    let mut out = Cursor { text, len: 0 };
    if let Some(integer) = small_integer(value) {
        out.push_all(format_i64(integer, &mut [0; 24]));
    } else if let Some(number) = Digits::of(value, &mut out, |d| write!(d, "{value:e}").is_ok()) {
        match number.exponent {
            -7..21 => number.write_fixed(&mut out),
            _ => number.write_scientific(&mut out, 1),
        }
    }
    out.filled()
}

/// Appends what [`format_f64`] writes.
pub fn push_f64(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(format_f64(value, &mut [0; 32]));
}

/// The fast path: integers that every double style prints as integers.
fn small_integer(value: f64) -> Option<i64> {
    let integer = value as i64;
    let exact = integer.unsigned_abs() < 1 << 53 && integer as f64 == value;
    (exact && (integer != 0 || value.is_sign_positive())).then_some(integer)
}

/// Text of limited length; what doesn't fit is dropped, and nothing is that
/// long.
struct Cursor<'a> {
    text: &'a mut FloatText,
    len: usize,
}

impl<'a> Cursor<'a> {
    fn push_all(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(slot) = self.text.get_mut(self.len) {
                *slot = *byte;
                self.len += 1;
            }
        }
    }

    fn push_zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.push_all(b"0");
        }
    }

    fn filled(self) -> &'a [u8] {
        let Cursor { text, len } = self;
        &text[..len]
    }
}

impl Write for Cursor<'_> {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        self.push_all(s.as_bytes());
        Ok(())
    }
}

/// `d.ddd * 10^exponent`, without trailing zeros.
struct Digits {
    digits: [u8; 20],
    len: usize,
    exponent: i32,
}

impl Digits {
    /// Writes the sign of `value` to `out` and splits what `format` prints,
    /// in Rust's `1.5e-7` style. Infinities and NaN are written at once.
    fn of(
        value: f64,
        out: &mut Cursor<'_>,
        format: impl FnOnce(&mut Cursor<'_>) -> bool,
    ) -> Option<Digits> {
        if value.is_nan() {
            out.push_all(b"nan");
            return None;
        }
        if value.is_sign_negative() {
            out.push_all(b"-");
        }
        if value.is_infinite() {
            out.push_all(b"inf");
            return None;
        }
        let mut text = [0; 32];
        let mut printed = Cursor {
            text: &mut text,
            len: 0,
        };
        format(&mut printed);
        let mut number = Digits {
            digits: [b'0'; 20],
            len: 0,
            exponent: 0,
        };
        let mut parts = printed.filled().split(|byte| *byte == b'e');
        for byte in parts.next().unwrap_or_default() {
            if byte.is_ascii_digit() && number.len < number.digits.len() {
                number.digits[number.len] = *byte;
                number.len += 1;
            }
        }
        while number.len > 1 && number.digits[number.len - 1] == b'0' {
            number.len -= 1;
        }
        number.exponent = parse_i64(parts.next().unwrap_or_default()).unwrap_or(0) as i32;
        Some(number)
    }

    fn write_fixed(&self, out: &mut Cursor<'_>) {
        let digits = &self.digits[..self.len];
        if self.exponent < 0 {
            out.push_all(b"0.");
            out.push_zeros((-self.exponent - 1) as usize);
            out.push_all(digits);
            return;
        }
        let whole = self.exponent as usize + 1;
        if digits.len() <= whole {
            out.push_all(digits);
            out.push_zeros(whole - digits.len());
        } else {
            out.push_all(&digits[..whole]);
            out.push_all(b".");
            out.push_all(&digits[whole..]);
        }
    }

    fn write_scientific(&self, out: &mut Cursor<'_>, min_exponent_digits: usize) {
        out.push_all(&self.digits[..1]);
        if self.len > 1 {
            out.push_all(b".");
            out.push_all(&self.digits[1..self.len]);
        }
        out.push_all(if self.exponent < 0 { b"e-" } else { b"e+" });
        let mut text = [0; 24];
        let exponent = format_i64(i64::from(self.exponent.abs()), &mut text);
        out.push_zeros(min_exponent_digits.saturating_sub(exponent.len()));
        out.push_all(exponent);
    }
}

#[cfg(test)]
mod tests;
