//! Values that BY and GET patterns lead to.

use crate::data::value::Kind;
use crate::data::{hash, string};
use crate::keyspace::keys::Keys;

/// The value that `pattern` leads to with `element` in the place of its `*`:
/// a string, or a field of a hash (`key->field`). `None` if there is none.
pub fn value(ks: &mut Keys<'_>, pattern: &[u8], element: &[u8]) -> Option<Box<[u8]>> {
    // A NUL ends the pattern for the searches, as for the C that Redis is
    // written in.
    let text = pattern.split(|b| *b == 0).next().unwrap_or_default();
    let star = text.iter().position(|b| *b == b'*')?;
    let arrow = text[star + 1..]
        .windows(2)
        .position(|two| two == b"->")
        .map(|at| star + 1 + at)
        // With nothing behind it, it is part of the name.
        .filter(|at| text.len() > at + 2);
    let end = arrow.unwrap_or(pattern.len());
    let key = [&pattern[..star], element, &pattern[star + 1..end]].concat();
    match arrow {
        None => {
            let entry = ks.read(&key, Kind::String).ok()??;
            Some(string::bytes(entry).into())
        }
        Some(at) => {
            let entry = ks.read(&key, Kind::Hash).ok()??;
            hash::get(entry.payload(), &pattern[at + 2..]).map(Box::from)
        }
    }
}
