//! Reading arguments.

use super::CommandError;
use crate::base::number;

/// Whether `arg` is the option `word` (given in upper case), in any case.
#[inline]
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A 64-bit integer.
///
/// # Errors
/// `value is not an integer or out of range`.
pub fn int(arg: &[u8]) -> Result<i64, CommandError> {
    number::parse_i64(arg).ok_or(CommandError::NotInteger)
}

/// A count that must not be negative.
///
/// # Errors
/// `value is out of range, must be positive`, also for what is no number.
pub fn count(arg: &[u8]) -> Result<usize, CommandError> {
    number::parse_i64(arg)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or(CommandError::NotPositive)
}

/// The count of HRANDFIELD and SRANDMEMBER: negative when repetitions are
/// welcome, but not the one number that has no opposite.
///
/// # Errors
/// Not an integer; out of range.
pub fn signed_count(arg: &[u8]) -> Result<i64, CommandError> {
    match int(arg)? {
        i64::MIN => Err(CommandError::text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        n => Ok(n),
    }
}

/// A double.
///
/// # Errors
/// `value is not a valid float`.
pub fn float(arg: &[u8]) -> Result<f64, CommandError> {
    number::parse_f64(arg).ok_or(CommandError::NotFloat)
}

/// The range `start..end` of a sequence of `len` that the inclusive bounds
/// of LRANGE, GETRANGE or ZRANGE mean: negative ones count from the end.
pub fn range(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let len_i = len as i64;
    let from_end = |n: i64| {
        if n < 0 {
            (len_i.saturating_add(n)).max(0)
        } else {
            n
        }
    };
    let (start, stop) = (
        from_end(start),
        if stop < 0 {
            len_i.saturating_add(stop)
        } else {
            stop
        },
    );
    if start > stop || start >= len_i || stop < 0 {
        return 0..0;
    }
    start as usize..(stop.min(len_i - 1) + 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_redis_means_them() {
        assert_eq!(range(0, -1, 5), 0..5);
        assert_eq!(range(-2, -1, 5), 3..5);
        assert_eq!(range(-100, 1, 5), 0..2);
        assert_eq!(range(1, 100, 5), 1..5);
        assert_eq!(range(3, 2, 5), 0..0);
        assert_eq!(range(0, -6, 5), 0..0);
        assert_eq!(range(5, 9, 5), 0..0);
        assert_eq!(range(0, -1, 0), 0..0);
        assert_eq!(range(i64::MIN, i64::MAX, 3), 0..3);
    }
}
