//! What HSCAN, SSCAN and ZSCAN share: the cursor, the options, the reply.

use super::{CommandError, Reply, args};
use crate::base::glob::glob_match;
use crate::base::number;

/// Which elements are wanted, and how many places a call should visit.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    pattern: Option<&'a [u8]>,
    /// COUNT.
    pub count: usize,
}

impl<'a> Options<'a> {
    /// Reads what follows the cursor.
    ///
    /// # Errors
    /// An unknown option, a count below 1 or none at all.
    pub fn parse(words: &[&'a [u8]]) -> Result<Self, CommandError> {
        let mut options = Options {
            pattern: None,
            count: 10,
        };
        for option in words.chunks(2) {
            match *option {
                [word, n] if args::is(word, "COUNT") => {
                    options.count = usize::try_from(args::int(n)?)
                        .ok()
                        .filter(|n| *n > 0)
                        .ok_or(CommandError::Syntax)?;
                }
                [word, pattern] if args::is(word, "MATCH") => {
                    options.pattern = (pattern != b"*").then_some(pattern);
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }

    /// Whether `element` is wanted.
    #[inline]
    pub fn take(&self, element: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob_match(pattern, element, false))
    }
}

/// Reads a cursor as C's `strtoul` does, which is what Redis asks: a sign is
/// allowed, nothing at all is 0, and a NUL ends the number.
///
/// # Errors
/// `invalid cursor`.
pub fn cursor(arg: &[u8]) -> Result<u64, CommandError> {
    const INVALID: CommandError = CommandError::text("ERR invalid cursor");
    let text = arg.split(|b| *b == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0);
    }
    let (digits, negative) = match text {
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] => (digits, false),
        digits => (digits, false),
    };
    if digits.is_empty() {
        return Err(INVALID);
    }
    let mut n = 0u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(INVALID);
        }
        n = n
            .checked_mul(10)
            .and_then(|n| n.checked_add(u64::from(digit - b'0')))
            .ok_or(INVALID)?;
    }
    Ok(if negative { n.wrapping_neg() } else { n })
}

/// Begins the reply; the elements follow, and then `close` with their number.
pub fn begin(reply: &mut dyn Reply, next: u64) {
    let mut digits = [0; 24];
    reply.array(2);
    // Cursors of the table leave the highest bits free.
    reply.bulk(number::format_i64(next as i64, &mut digits));
    reply.open();
}

/// The reply of a key that isn't there.
pub fn nothing(reply: &mut dyn Reply) {
    begin(reply, 0);
    reply.close(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_as_strtoul_reads_them() {
        for (text, want) in [
            (&b"0"[..], Some(0)),
            (b"", Some(0)),
            (b"007", Some(7)),
            (b"+5", Some(5)),
            (b"-1", Some(u64::MAX)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b" 5", None),
            (b"5 ", None),
            (b"-", None),
            (b"0x1", None),
            (b"3\0x", Some(3)),
        ] {
            assert_eq!(cursor(text).ok(), want, "{}", text.escape_ascii());
        }
    }
}
