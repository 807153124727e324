//! The order of elements under BY, ALPHA and DESC.

use std::cmp::Ordering;

use super::super::{CommandError, Cx};
use super::{Options, lookup};
use crate::base::number;

/// The elements in the order that the options ask for. Equal ones keep the
/// order they had.
///
/// # Errors
/// A weight that is no number, where numbers are compared.
pub fn sorted(
    cx: &mut Cx<'_>,
    mut elements: Vec<Box<[u8]>>,
    options: &Options<'_>,
) -> Result<Vec<Box<[u8]>>, CommandError> {
    if options.alpha && options.by.is_none() {
        by_bytes(&mut elements, options.desc);
        return Ok(elements);
    }
    let mut weight_of = |element: &[u8]| match options.by {
        Some(pattern) => lookup::value(&mut cx.ks, pattern, element),
        None => Some(element.into()),
    };
    if options.alpha {
        let mut weighed: Vec<(Option<_>, _)> = elements
            .into_iter()
            .map(|element| (weight_of(&element), element))
            .collect();
        // No weight at all comes first.
        weighed.sort_by(|a, b| turned(a.0.cmp(&b.0), options.desc));
        return Ok(weighed.into_iter().map(|(_, element)| element).collect());
    }
    let mut weighed = Vec::with_capacity(elements.len());
    for element in elements {
        let weight = match weight_of(&element) {
            Some(text) => weight(&text).ok_or(CommandError::text(
                "ERR One or more scores can't be converted into double",
            ))?,
            None => 0.0,
        };
        weighed.push((weight, element));
    }
    weighed.sort_by(|a, b| {
        let by_weight = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
        turned(by_weight.then_with(|| a.1.cmp(&b.1)), options.desc)
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

/// Sorts by bytes alone.
pub fn by_bytes(elements: &mut [Box<[u8]>], desc: bool) {
    elements.sort_by(|a, b| turned(a.cmp(b), desc));
}

fn turned(order: Ordering, desc: bool) -> Ordering {
    if desc { order.reverse() } else { order }
}

/// A number as C's `strtod` reads it, which is what Redis asks here: spaces
/// in front are skipped, a NUL ends the text, nothing at all is 0, and a
/// number too small for its full precision is refused.
fn weight(text: &[u8]) -> Option<f64> {
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let blanks = |b: &u8| b" \t\n\x0b\x0c\r".contains(b);
    let from = text.iter().position(|b| !blanks(b))?;
    number::parse_f64(&text[from..]).filter(|n| !n.is_subnormal())
}
