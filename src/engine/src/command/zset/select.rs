//! Which members a range means: ranks, scores or members, as Redis reads them.

use std::ops::{Bound, Range};

use super::super::{CommandError, args};
use crate::base::number;
use crate::data::zset::{LexBound, View};

/// What a range is given by.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// First and last rank, negative ones from the end.
    Rank(i64, i64),
    /// Lowest and highest score.
    Score(Bound<f64>, Bound<f64>),
    /// First and last member.
    Lex(LexBound<'a>, LexBound<'a>),
}

impl By<'_> {
    /// The ranks meant in `view`, all of them there.
    pub fn ranks(&self, view: View<'_>) -> Range<usize> {
        match *self {
            By::Rank(start, stop) => args::range(start, stop, view.len()),
            By::Score(min, max) => view.ranks_by_score(min, max),
            By::Lex(min, max) => view.ranks_by_lex(min, max),
        }
    }
}

/// A range of ranks.
///
/// # Errors
/// Not integers.
pub fn ranks<'a>(start: &[u8], stop: &[u8]) -> Result<By<'a>, CommandError> {
    Ok(By::Rank(args::int(start)?, args::int(stop)?))
}

/// A range of scores.
///
/// # Errors
/// Not numbers.
pub fn scores<'a>(min: &[u8], max: &[u8]) -> Result<By<'a>, CommandError> {
    match (score_bound(min), score_bound(max)) {
        (Some(min), Some(max)) => Ok(By::Score(min, max)),
        _ => Err(CommandError::text("ERR min or max is not a float")),
    }
}

/// A range of members.
///
/// # Errors
/// A bound begins with none of `[`, `(`, `-`, `+`.
pub fn members<'a>(min: &'a [u8], max: &'a [u8]) -> Result<By<'a>, CommandError> {
    match (lex_bound(min), lex_bound(max)) {
        (Some(min), Some(max)) => Ok(By::Lex(min, max)),
        _ => Err(CommandError::text(
            "ERR min or max not valid string range item",
        )),
    }
}

fn score_bound(text: &[u8]) -> Option<Bound<f64>> {
    match text {
        [b'(', rest @ ..] => loose_float(rest).map(Bound::Excluded),
        _ => loose_float(text).map(Bound::Included),
    }
}

fn lex_bound(text: &[u8]) -> Option<LexBound<'_>> {
    match text {
        [b'-'] | [b'-', 0, ..] => Some(LexBound::Start),
        [b'+'] | [b'+', 0, ..] => Some(LexBound::End),
        [b'[', rest @ ..] => Some(LexBound::At(rest)),
        [b'(', rest @ ..] => Some(LexBound::Beside(rest)),
        _ => None,
    }
}

/// A double as a bare `strtod` reads it: white space may stand in front, what
/// is out of range becomes infinity or zero, and nothing at all is 0.
fn loose_float(text: &[u8]) -> Option<f64> {
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let is_space = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r');
    let start = text.iter().take_while(|b| is_space(b)).count();
    let text = &text[start..];
    number::parse_f64(text).or_else(|| {
        let plain = |b: &u8| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
        let text = std::str::from_utf8(text).ok()?;
        text.bytes().all(|b| plain(&b)).then(|| text.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_strtod_reads_them() {
        assert_eq!(loose_float(b""), Some(0.0));
        assert_eq!(loose_float(b" \t5"), Some(5.0));
        assert_eq!(loose_float(b"5 "), None);
        assert_eq!(loose_float(b" "), None);
        assert_eq!(loose_float(b"1e400"), Some(f64::INFINITY));
        assert_eq!(loose_float(b"-1e400"), Some(f64::NEG_INFINITY));
        assert_eq!(loose_float(b"1e-400"), Some(0.0));
        assert_eq!(loose_float(b"0x10"), Some(16.0));
        assert_eq!(loose_float(b"nan"), None);
        assert_eq!(loose_float(b"1\0x"), Some(1.0));
        assert_eq!(loose_float(b"."), None);
    }
}
