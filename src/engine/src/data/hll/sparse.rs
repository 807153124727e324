//! The sparse form: runs of equal registers.
//!
//! | opcode | registers | value |
//! |---|---|---|
//! | `00llllll` | l + 1 | 0 |
//! | `01llllll llllllll` | l + 1 (the high bits first) | 0 |
//! | `1vvvvvll` | l + 1 | v + 1 |
//!
//! Which of several ways to say the same is chosen follows Redis: the same
//! elements in the same order give the same bytes.

use std::ops::Range;

use super::{Corrupt, HEADER_LEN, REGISTERS};

const MAX_VALUE: u8 = 32;
const MAX_VALUE_RUN: usize = 4;
const MAX_SHORT_ZEROS: usize = 64;
/// So many opcodes, from the one before a change on, are looked at for values
/// to be joined.
const JOINED: usize = 5;

#[derive(Debug, Clone, Copy)]
struct Run {
    value: u8,
    len: usize,
    /// Bytes of the opcode.
    size: usize,
}

/// The opcode at the front of `body`.
#[inline]
fn first(body: &[u8]) -> Option<Run> {
    let (value, len, size) = match *body {
        [op, ..] if op & 0x80 != 0 => ((op >> 2 & 0x1f) + 1, usize::from(op & 3) + 1, 1),
        [op, low, ..] if op & 0x40 != 0 => {
            let len = usize::from(op & 0x3f) << 8 | usize::from(low);
            (0, len + 1, 2)
        }
        [op, ..] if op & 0x40 == 0 => (0, usize::from(op) + 1, 1),
        _ => return None,
    };
    Some(Run { value, len, size })
}

/// Appends a run of zeros.
pub fn push_zeros(out: &mut Vec<u8>, len: usize) {
    let n = len - 1;
    if len > MAX_SHORT_ZEROS {
        out.push(0x40 | (n >> 8) as u8);
    }
    out.push(n as u8);
}

fn push_value(out: &mut Vec<u8>, value: u8, len: usize) {
    out.push(0x80 | (value - 1) << 2 | (len - 1) as u8);
}

/// Which registers have which value; ends with an error unless the runs come
/// to exactly as many registers as there are.
pub fn runs(body: &[u8]) -> impl Iterator<Item = (Result<Range<usize>, Corrupt>, u8)> {
    let (mut at, mut register, mut over) = (0, 0, false);
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let run = body.get(at..).and_then(first);
        match run {
            Some(run) if register + run.len <= REGISTERS => {
                let range = register..register + run.len;
                at += run.size;
                register = range.end;
                Some((Ok(range), run.value))
            }
            None if register == REGISTERS && at == body.len() => None,
            _ => {
                over = true;
                Some((Err(Corrupt), 0))
            }
        }
    })
}

/// What became of a register.
pub enum Raised {
    /// It was as high already.
    No,
    /// It was raised.
    Yes,
    /// The sparse form can't say it, or would get too long; nothing was done.
    TooLong,
}

/// An opcode, for looking from there on, and its first register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    at: usize,
    register: usize,
}

/// The first opcode.
pub const START: Place = Place {
    at: HEADER_LEN,
    register: 0,
};

/// Raises a register in the sparse form `hll`. Looks for it from `from` on,
/// and leaves there where to look for a higher register next; that costs much
/// less than to begin at [`START`] for each.
///
/// # Errors
/// The form is corrupt.
pub fn raise(
    hll: &mut Vec<u8>,
    register: usize,
    to: u8,
    max_len: usize,
    from: &mut Place,
) -> Result<Raised, Corrupt> {
    if to > MAX_VALUE {
        return Ok(Raised::TooLong);
    }
    // The run that the register is in, and the one before.
    let Place {
        mut at,
        register: mut begin,
    } = *from;
    let mut before = *from;
    let run = loop {
        let run = first(hll.get(at..).ok_or(Corrupt)?).ok_or(Corrupt)?;
        if register < begin + run.len {
            break run;
        }
        before = Place {
            at,
            register: begin,
        };
        at += run.size;
        begin += run.len;
    };
    // Runs are joined from the one before on, which isn't known if the search
    // ends where it began.
    if at == from.at && *from != START {
        *from = START;
        return raise(hll, register, to, max_len, from);
    }
    *from = before;
    if run.value >= to {
        return Ok(Raised::No);
    }
    let mut split = Vec::with_capacity(5);
    let push = |out: &mut Vec<u8>, len: usize| match (run.value, len) {
        (_, 0) => {}
        (0, _) => push_zeros(out, len),
        (value, _) => push_value(out, value, len),
    };
    push(&mut split, register - begin);
    push_value(&mut split, to, 1);
    push(&mut split, begin + run.len - 1 - register);
    if split.len() > run.size && hll.len() + split.len() - run.size > max_len {
        return Ok(Raised::TooLong);
    }
    hll.splice(at..at + run.size, split);
    join(hll, before.at);
    Ok(Raised::Yes)
}

/// Joins runs of the same value, from the opcode at `at` on.
fn join(hll: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED {
        let Some(run) = hll.get(at..).and_then(first) else {
            return;
        };
        let next = hll.get(at + run.size..).and_then(first);
        match next {
            Some(next)
                if run.value > 0
                    && next.value == run.value
                    && run.len + next.len <= MAX_VALUE_RUN =>
            {
                let mut joined = Vec::with_capacity(1);
                push_value(&mut joined, run.value, run.len + next.len);
                hll.splice(at..at + 2, joined);
            }
            _ => at += run.size,
        }
    }
}
