//! The text of a floating point number, taken apart as C's `strtod` reads
//! it, and the rounding that `f64` and the 80-bit format have in common.

/// A number's text, split but not yet rounded to any format.
pub(super) struct Scanned<'a> {
    pub(super) negative: bool,
    pub(super) value: Value<'a>,
}

pub(super) enum Value<'a> {
    Infinity,
    /// `whole.fraction * 10^exponent`, digits as text.
    Decimal {
        whole: &'a [u8],
        fraction: &'a [u8],
        exponent: i64,
    },
    /// `mantissa * 2^exponent`, and a little more if `sticky`; a sticky
    /// mantissa has more than 100 bits.
    Binary {
        mantissa: u128,
        sticky: bool,
        exponent: i64,
    },
}

/// Far outside every format, and still far from overflow in sums.
const EXPONENT_LIMIT: i64 = 1 << 40;

/// Splits `text`; `None` if `strtod` wouldn't take all of it, if it starts
/// with a space or if it says NaN.
pub(super) fn scan(text: &[u8]) -> Option<Scanned<'_>> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = match text {
        [b'0', b'x' | b'X', hex @ ..] => scan_hex(hex)?,
        [b'0'..=b'9' | b'.', ..] => scan_decimal(text)?,
        _ if text.eq_ignore_ascii_case(b"inf") => Value::Infinity,
        _ if text.eq_ignore_ascii_case(b"infinity") => Value::Infinity,
        _ => return None,
    };
    Some(Scanned { negative, value })
}

fn scan_decimal(text: &[u8]) -> Option<Value<'_>> {
    let (whole, fraction, rest) = split_digits(text, |b| b.is_ascii_digit())?;
    Some(Value::Decimal {
        whole,
        fraction,
        exponent: scan_exponent(rest, b'e')?,
    })
}

fn scan_hex(text: &[u8]) -> Option<Value<'_>> {
    let (whole, fraction, rest) = split_digits(text, |b| b.is_ascii_hexdigit())?;
    let mut exponent = scan_exponent(rest, b'p')?;
    let (mut mantissa, mut sticky) = (0u128, false);
    for (at, digit) in whole.iter().chain(fraction).enumerate() {
        let digit = char::from(*digit).to_digit(16).unwrap_or(0);
        let full = mantissa >> 120 != 0;
        if full {
            sticky |= digit != 0;
        } else {
            mantissa = mantissa << 4 | u128::from(digit);
        }
        match (at < whole.len(), full) {
            (true, true) => exponent += 4,
            (false, false) => exponent -= 4,
            _ => {}
        }
    }
    Some(Value::Binary {
        mantissa,
        sticky,
        exponent,
    })
}

/// Splits `12.5rest` into `12`, `5` and `rest`; at least one digit is needed.
fn split_digits(text: &[u8], is_digit: fn(&u8) -> bool) -> Option<(&[u8], &[u8], &[u8])> {
    let run = |part: &[u8]| part.iter().take_while(|b| is_digit(b)).count();
    let (whole, rest) = text.split_at(run(text));
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(run(rest)),
        _ => (&rest[..0], rest),
    };
    (whole.len() + fraction.len() > 0).then_some((whole, fraction, rest))
}

/// Reads nothing, or `mark`, a sign and digits, up to the end of the text.
fn scan_exponent(text: &[u8], mark: u8) -> Option<i64> {
    let [first, rest @ ..] = text else {
        return Some(0);
    };
    let (sign, digits) = match rest {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, rest),
    };
    if first.to_ascii_lowercase() != mark || digits.is_empty() {
        return None;
    }
    let mut exponent = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        exponent = (exponent * 10 + i64::from(digit - b'0')).min(EXPONENT_LIMIT);
    }
    Some(sign * exponent)
}

/// Rounds `mantissa * 2^exponent` (plus a little if `sticky`, which needs at
/// least `bits + 2` bits of mantissa) to the nearest `m * 2^e` with
/// `m < 2^bits` and `e >= min_exponent`, to even in the middle. The result
/// has its top bit set unless `e == min_exponent`. `e` has no upper bound.
pub(super) fn round(
    mantissa: u128,
    sticky: bool,
    exponent: i64,
    bits: u32,
    min_exponent: i64,
) -> (u64, i64) {
    let len = i64::from(u128::BITS - mantissa.leading_zeros());
    let shift = (len - i64::from(bits)).max(min_exponent - exponent);
    if mantissa == 0 || shift > 128 {
        return (0, min_exponent);
    }
    if shift <= 0 {
        return ((mantissa << -shift) as u64, exponent + shift);
    }
    let half = 1u128 << (shift - 1);
    let quotient = mantissa.checked_shr(shift as u32).unwrap_or(0);
    let rest = mantissa & (half | (half - 1));
    let up = rest > half || rest == half && (sticky || quotient & 1 == 1);
    let quotient = quotient + u128::from(up);
    if quotient >> bits == 1 {
        ((quotient >> 1) as u64, exponent + shift + 1)
    } else {
        (quotient as u64, exponent + shift)
    }
}
