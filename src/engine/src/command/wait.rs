//! Commands that wait until a key holds something.

use super::{CommandError, Cx};
use crate::base::long_double::LongDouble;
use crate::base::number;
use crate::data::value::Kind;

/// A client's wish to wait.
#[derive(Debug)]
pub struct Wait {
    /// The kind of value it waits for.
    pub kind: Kind,
    /// For which keys.
    pub keys: Vec<Box<[u8]>>,
    /// How long, in ms; `None` is for ever.
    pub timeout_ms: Option<u64>,
    /// What runs when a key is ready, its name first, if not the same
    /// command again: XREAD's `$` means the end at the time of asking.
    pub then: Option<Vec<Box<[u8]>>>,
    /// Whether the wait ends with an error when a key is gone or becomes of
    /// another kind, as in XREADGROUP.
    pub unless_gone: bool,
}

/// How a blocking command runs for a client that can wait.
#[derive(Debug, Default)]
pub struct Waiter {
    /// It has waited, and this key is ready: no other one is looked at, as in
    /// Redis 7.0.
    pub ready: Option<Box<[u8]>>,
    /// Set by the command instead of a reply: it found nothing and wants to
    /// wait.
    pub wish: Option<Wait>,
}

impl Cx<'_> {
    /// Whether a blocking command shall look at `key`.
    pub fn looks_at(&self, key: &[u8]) -> bool {
        self.waiter
            .as_ref()
            .and_then(|waiter| waiter.ready.as_deref())
            .is_none_or(|ready| ready == key)
    }

    /// Whether this is not the client's asking, but a key it waits for is ready.
    pub fn has_waited(&self) -> bool {
        self.waiter
            .as_ref()
            .is_some_and(|waiter| waiter.ready.is_some())
    }

    /// Nothing is there: lets the client wait. `false` when it can't, in a
    /// transaction or script; then the command answers at once.
    pub fn wait(&mut self, wish: Wait) -> bool {
        let Some(waiter) = &mut self.waiter else {
            return false;
        };
        waiter.wish = Some(wish);
        true
    }
}

/// Reads a timeout in seconds, with fractions, as ms; `None` is for ever.
///
/// # Errors
/// Not a number, or a negative one.
pub fn timeout(arg: &[u8]) -> Result<Option<u64>, CommandError> {
    const NEGATIVE: CommandError = CommandError::text("ERR timeout is negative");
    if LongDouble::parse(arg).is_none_or(|n| n.is_nan()) {
        return Err(CommandError::text(
            "ERR timeout is not a float or out of range",
        ));
    }
    // What only fits a long double is too large, or as good as nothing.
    let tiny = if arg.starts_with(b"-") { -0.0 } else { 1e-9 };
    let seconds = number::parse_f64(arg).unwrap_or_else(|| {
        let is_tiny = arg.windows(2).any(|pair| pair.eq_ignore_ascii_case(b"e-"));
        if is_tiny { tiny } else { f64::INFINITY }
    });
    // A part of a ms is a whole one, lest it become "for ever".
    let ms = (seconds * 1000.0).ceil();
    // Redis overflows here, and calls the outcome negative.
    if ms < 0.0 || ms >= i64::MAX as f64 {
        return Err(NEGATIVE);
    }
    Ok(Some(ms as u64).filter(|ms| *ms > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_as_redis_reads_them() {
        let read = |text: &str| timeout(text.as_bytes()).map_err(|e| e.to_string());
        let not_float = "ERR timeout is not a float or out of range";
        let negative = "ERR timeout is negative";
        for (text, wanted) in [
            ("0", Ok(None)),
            ("1", Ok(Some(1000))),
            ("+1", Ok(Some(1000))),
            ("0x1", Ok(Some(1000))),
            ("0.5e0", Ok(Some(500))),
            ("0.0001", Ok(Some(1))),
            ("1e-30", Ok(Some(1))),
            ("-0", Ok(None)),
            ("-0.0001", Ok(None)),
            ("-1e-30", Ok(None)),
            ("9000000000000000", Ok(Some(9_000_000_000_000_000_000))),
            ("x", Err(not_float)),
            ("", Err(not_float)),
            (" 1", Err(not_float)),
            ("1 ", Err(not_float)),
            ("1e", Err(not_float)),
            ("nan", Err(not_float)),
            ("1e5000", Err(not_float)),
            ("-1", Err(negative)),
            ("inf", Err(negative)),
            ("-inf", Err(negative)),
            ("1e30", Err(negative)),
            ("1e400", Err(negative)),
            ("9223372036854775807", Err(negative)),
        ] {
            assert_eq!(read(text), wanted.map_err(String::from), "{text:?}");
        }
    }
}
