//! Keys of any kind: existence, expiry, names, scanning.

use super::{CommandError, Cx, Spec, args};

/// The commands on keys of any kind.
pub static SPECS: &[Spec] = &[];

/// The unix time in ms that the argument `n` in `unit` (EX, PX, EXAT, PXAT)
/// means, for the command whose lower-case name is `name`.
///
/// # Errors
/// Not an integer; not positive or not expressible in ms.
pub fn deadline(
    cx: &mut Cx<'_>,
    n: &[u8],
    unit: &str,
    name: &'static str,
) -> Result<u64, CommandError> {
    let n = args::int(n)?;
    if n <= 0 {
        return Err(CommandError::InvalidExpire(name));
    }
    let ms = if unit.starts_with('E') {
        n.checked_mul(1000)
    } else {
        Some(n)
    };
    let now = if unit.ends_with("AT") {
        0
    } else {
        cx.ks.now() as i64
    };
    let at = ms
        .and_then(|ms| ms.checked_add(now))
        .ok_or(CommandError::InvalidExpire(name))?;
    Ok(at as u64)
}
