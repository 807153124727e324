//! Looking at many bits: BITCOUNT, BITPOS.

use std::ops::Range;

use super::super::spec::R;
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::bytes_of;
use crate::data::value::Kind;
use crate::data::{bits, string};

/// The commands that count and search.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "BITCOUNT",
        arity: -2,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Bitmap,
        since: "2.6.0",
        complexity: "O(N) with N being the length of the range in bytes.",
        summary: "Counts the bits that are set in a string.",
        syntax: "key [start:integer end:integer [BYTE | BIT]]",
        examples: &[
            ("BITCOUNT none", "0"),
            ("SET k foobar", "OK"),
            ("BITCOUNT k", "26"),
            ("BITCOUNT k 0 0", "4"),
            ("BITCOUNT k 1 1 BYTE", "6"),
            ("BITCOUNT k 5 30 BIT", "17"),
            ("BITCOUNT k -2 -1", "7"),
            ("BITCOUNT k 3 2", "0"),
            ("BITCOUNT k 1", "-ERR syntax error"),
            ("BITCOUNT k 1 2 WORD", "-ERR syntax error"),
        ],
        run: bitcount,
    },
    Spec {
        name: "BITPOS",
        arity: -3,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Bitmap,
        since: "2.8.7",
        complexity: "O(N) with N being the length of the range in bytes.",
        summary: "Finds the first bit that is set or clear in a string. Without an end, zeros follow it.",
        syntax: "key bit [start:integer [end:integer [BYTE | BIT]]]",
        examples: &[
            ("BITPOS none 0", "0"),
            ("BITPOS none 1", "-1"),
            ("SETRANGE k 1 a", "2"),
            ("BITPOS k 1", "9"),
            ("BITPOS k 1 1", "9"),
            ("BITPOS k 0 9 9 BIT", "-1"),
            ("BITPOS k 1 10 -1 BIT", "10"),
            ("SETBIT ones 7 1", "0"),
            ("BITPOS ones 0 7 7 BIT", "-1"),
            ("BITPOS ones 0 0 0", "0"),
            ("BITPOS k 2", "-ERR The bit argument must be 1 or 0."),
        ],
        run: bitpos,
    },
];

/// Whether the word says that ends are positions of bits.
fn in_bits(word: &[u8]) -> Result<bool, CommandError> {
    match word {
        _ if args::is(word, "BIT") => Ok(true),
        _ if args::is(word, "BYTE") => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

/// The bits of a string of `len` bytes between two ends that both count.
fn bit_range(start: i64, end: i64, len: usize, in_bits: bool) -> Range<usize> {
    let (len, factor) = if in_bits { (len * 8, 1) } else { (len, 8) };
    // Unlike in GETRANGE, an end before the first place is the first place.
    let from_end = |n: i64| if n < 0 { n + len as i64 } else { n }.max(0);
    let (start, end) = (from_end(start), from_end(end).min(len as i64 - 1));
    if start > end {
        return 0..0;
    }
    start as usize * factor..(end as usize + 1) * factor
}

fn bitcount(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let Some(entry) = cx.ks.read(argv[1], Kind::String)? else {
        // Redis 7.0 doesn't look at the rest then.
        cx.reply.int(0);
        return Ok(());
    };
    let bytes = string::bytes(entry);
    let range = match argv[2..] {
        [] => 0..bytes.len() * 8,
        [start, end, ref unit @ ..] if unit.len() <= 1 => {
            let (start, end) = (args::int(start)?, args::int(end)?);
            // Redis asks this before it looks at the unit.
            if start < 0 && end < 0 && start > end {
                0..0
            } else {
                let in_bits = unit.first().map_or(Ok(false), |word| in_bits(word))?;
                bit_range(start, end, bytes.len(), in_bits)
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    let count = bits::count_in(bytes, range);
    cx.reply.int(count as i64);
    Ok(())
}

fn bitpos(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let wanted = match args::int(argv[2])? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::text("ERR The bit argument must be 1 or 0.")),
    };
    if cx.ks.read(argv[1], Kind::String)?.is_none() {
        cx.reply.int(if wanted { -1 } else { 0 });
        return Ok(());
    }
    let bytes = bytes_of(cx, argv[1])?;
    let (range, has_end) = match argv[3..] {
        [] => (0..bytes.len() * 8, false),
        [start, ref rest @ ..] if rest.len() <= 2 => {
            let start = args::int(start)?;
            let in_bits = rest.get(1).map_or(Ok(false), |word| in_bits(word))?;
            let end = rest.first().map_or(Ok(-1), |end| args::int(end))?;
            let range = bit_range(start, end, bytes.len(), in_bits);
            (range, !rest.is_empty())
        }
        _ => return Err(CommandError::Syntax),
    };
    let position = match bits::find(bytes, range.clone(), wanted) {
        Some(at) => at as i64,
        // Behind the string there are only clear bits.
        None if !wanted && !has_end && !range.is_empty() => range.end as i64,
        None => -1,
    };
    cx.reply.int(position);
    Ok(())
}
