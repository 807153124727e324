//! Strings as bitmaps: SETBIT, BITCOUNT, BITOP, BITFIELD and their relatives.

pub mod bit;
pub mod combine;
pub mod count;
pub mod field;

#[cfg(test)]
mod tests;

use super::{CommandError, Cx};
use crate::base::number;
use crate::data::string;
use crate::data::value::Kind;

/// The position of a bit. `#n` means the n-th field of `width` bits, where
/// that is allowed.
///
/// # Errors
/// No integer, negative, or beyond the longest string there may be; what a
/// log holds was allowed once.
fn bit_offset(cx: &Cx<'_>, arg: &[u8], width: Option<u32>) -> Result<usize, CommandError> {
    const ERROR: CommandError =
        CommandError::text("ERR bit offset is not an integer or out of range");
    let (digits, factor) = match (arg, width) {
        ([b'#', digits @ ..], Some(width)) => (digits, i64::from(width)),
        _ => (arg, 1),
    };
    let offset = number::parse_i64(digits)
        .ok_or(ERROR)?
        .checked_mul(factor)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or(ERROR)?;
    if offset / 8 >= cx.ks.limits.string_max && !cx.ks.is_replay() {
        return Err(ERROR);
    }
    Ok(offset)
}

/// The string under `key`; empty if there is none.
///
/// # Errors
/// Another kind of value.
fn bytes_of<'a>(cx: &'a mut Cx<'_>, key: &[u8]) -> Result<&'a [u8], CommandError> {
    let found = cx.ks.read(key, Kind::String)?;
    Ok(found.map_or(&[][..], string::bytes))
}

/// Writes `part` over the string under `key` from byte `at` on; the string
/// comes into being if there is none. Tells nobody.
///
/// # Errors
/// Another kind of value.
fn overwrite(cx: &mut Cx<'_>, key: &[u8], at: usize, part: &[u8]) -> Result<(), CommandError> {
    let max_small = cx.ks.limits.string_max_small;
    if let Some(entry) = cx.ks.write(key, Kind::String)? {
        string::write_at(entry, at, part, max_small);
    } else {
        cx.ks.put(string::entry_at(key, at, part, max_small));
    }
    Ok(())
}
