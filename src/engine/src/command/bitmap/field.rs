//! Numbers of any width inside a string: BITFIELD, BITFIELD_RO.

use super::super::spec::{RF, WM};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::{bit_offset, bytes_of, overwrite};
use crate::base::number;
use crate::data::bits;
use crate::keyspace::keys::EventClass;

/// The commands on fields of bits.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "BITFIELD",
        arity: -2,
        flags: WM,
        keys: &[KeySpec::one(1, KeyAccess::ModifyOrGet)],
        group: Group::Bitmap,
        since: "3.2.0",
        complexity: "O(1) for each operation.",
        summary: "Reads, sets and increments integers of any width and place in a string.",
        syntax: "key [<GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value:integer | INCRBY encoding offset increment>> ...]",
        examples: &[
            ("BITFIELD k", "[]"),
            ("BITFIELD k SET u8 0 255 GET i8 0 GET u4 #1", "[0 -1 15]"),
            ("BITFIELD k INCRBY u8 0 1", "[0]"),
            (
                "BITFIELD k OVERFLOW SAT INCRBY u2 100 3 INCRBY u2 100 3",
                "[3 3]",
            ),
            (
                "BITFIELD k OVERFLOW FAIL INCRBY u2 100 1 SET i5 #2 -17",
                "[nil nil]",
            ),
            ("BITFIELD k OVERFLOW SAT SET i5 #2 -17", "[0]"),
            ("BITFIELD k GET i5 #2", "[-16]"),
            (
                "BITFIELD k OVERFLOW SAT SET i5 #3 -9223372036854775808 GET i5 #3",
                "[0 15]",
            ),
            (
                "BITFIELD k GET u64 0",
                "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            ),
            (
                "BITFIELD k GET u8 -1",
                "-ERR bit offset is not an integer or out of range",
            ),
            (
                "BITFIELD k OVERFLOW NONE",
                "-ERR Invalid OVERFLOW type specified",
            ),
            ("BITFIELD k SET u8 0", "-ERR syntax error"),
        ],
        run: |cx, argv| bitfield(cx, argv, false),
    },
    Spec {
        name: "BITFIELD_RO",
        arity: -2,
        flags: RF,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Bitmap,
        since: "6.0.0",
        complexity: "O(1) for each operation.",
        summary: "Reads integers of any width and place in a string.",
        syntax: "key [GET encoding offset [GET encoding offset ...]]",
        examples: &[
            ("SET k a", "OK"),
            ("BITFIELD_RO k GET u8 0 GET i4 100", "[97 0]"),
            (
                "BITFIELD_RO k SET u8 0 1",
                "-ERR BITFIELD_RO only supports the GET subcommand",
            ),
        ],
        run: |cx, argv| bitfield(cx, argv, true),
    },
];

/// What becomes of a number that doesn't fit.
#[derive(Debug, Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// The type of a number: its width in bits, at most 63 if unsigned, else 64.
#[derive(Debug, Clone, Copy)]
struct Encoding {
    signed: bool,
    width: u32,
}

impl Encoding {
    fn of(arg: &[u8]) -> Result<Encoding, CommandError> {
        const ERROR: CommandError = CommandError::text(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
        let (signed, width) = match arg {
            [b'i', width @ ..] => (true, width),
            [b'u', width @ ..] => (false, width),
            _ => return Err(ERROR),
        };
        // A NUL ends the text, as for the C that Redis is written in.
        let width = width.split(|byte| *byte == 0).next().unwrap_or_default();
        let most = if signed { 64 } else { 63 };
        number::parse_i64(width)
            .and_then(|width| u32::try_from(width).ok())
            .filter(|width| (1..=most).contains(width))
            .map(|width| Encoding { signed, width })
            .ok_or(ERROR)
    }

    /// The number that the low bits of `raw` are.
    fn number(self, raw: u64) -> i64 {
        let unused = 64 - self.width;
        if self.signed {
            (raw << unused) as i64 >> unused
        } else {
            (raw << unused >> unused) as i64
        }
    }

    /// What SET takes `value` for. In Redis, the distance from the greatest
    /// number to one far below wraps around 64 bits, so it counts as too
    /// great, and saturates at the wrong end. The low bits stay.
    fn above_if_far_below(self, value: i64) -> i128 {
        let most = (1i128 << (self.width - 1)) - 1;
        let far = most - i128::from(value) > i128::from(i64::MAX);
        i128::from(value) + if far && self.width < 64 { 1 << 64 } else { 0 }
    }

    /// What an operation that comes to `exact` leaves; `None` to leave all
    /// as it was.
    fn fit(self, exact: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = if self.signed {
            (-(1i128 << (self.width - 1)), (1 << (self.width - 1)) - 1)
        } else {
            (0, (1 << self.width) - 1)
        };
        if (least..=most).contains(&exact) {
            return Some(exact as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.number(exact as u64)),
            Overflow::Saturate => Some(exact.clamp(least, most) as i64),
            Overflow::Fail => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Get,
    Set(i64, Overflow),
    Increment(i64, Overflow),
}

#[derive(Debug, Clone, Copy)]
struct Operation {
    encoding: Encoding,
    at: usize,
    action: Action,
}

impl Operation {
    /// Number of bytes that a string needs to hold the field.
    fn reach(&self) -> usize {
        (self.at + self.encoding.width as usize).div_ceil(8)
    }

    /// What it makes of `old`: the reply and the new number, if it does.
    fn apply(&self, old: i64) -> Option<(i64, i64)> {
        match self.action {
            Action::Get => Some((old, old)),
            Action::Set(value, overflow) => {
                // An unsigned field takes the argument's bits.
                let exact = if self.encoding.signed {
                    self.encoding.above_if_far_below(value)
                } else {
                    i128::from(value as u64)
                };
                Some((old, self.encoding.fit(exact, overflow)?))
            }
            Action::Increment(by, overflow) => {
                let exact = i128::from(old) + i128::from(by);
                let new = self.encoding.fit(exact, overflow)?;
                Some((new, new))
            }
        }
    }
}

fn parse(cx: &Cx<'_>, argv: &[&[u8]]) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = &argv[2..];
    while let [word, more @ ..] = rest {
        let (encoding, at, value, behind) = match more {
            [kind, behind @ ..] if args::is(word, "OVERFLOW") => {
                overflow = match kind {
                    _ if args::is(kind, "WRAP") => Overflow::Wrap,
                    _ if args::is(kind, "SAT") => Overflow::Saturate,
                    _ if args::is(kind, "FAIL") => Overflow::Fail,
                    _ => return Err(CommandError::text("ERR Invalid OVERFLOW type specified")),
                };
                rest = behind;
                continue;
            }
            [encoding, at, behind @ ..] if args::is(word, "GET") => (encoding, at, None, behind),
            [encoding, at, value, behind @ ..]
                if args::is(word, "SET") || args::is(word, "INCRBY") =>
            {
                (encoding, at, Some(*value), behind)
            }
            _ => return Err(CommandError::Syntax),
        };
        let encoding = Encoding::of(encoding)?;
        let at = bit_offset(cx, at, Some(encoding.width))?;
        let action = match value.map(args::int).transpose()? {
            None => Action::Get,
            Some(value) if args::is(word, "SET") => Action::Set(value, overflow),
            Some(by) => Action::Increment(by, overflow),
        };
        operations.push(Operation {
            encoding,
            at,
            action,
        });
        rest = behind;
    }
    Ok(operations)
}

fn bitfield(cx: &mut Cx<'_>, argv: &[&[u8]], read_only: bool) -> Result<(), CommandError> {
    let key = argv[1];
    let operations = parse(cx, argv)?;
    let writes = |o: &&Operation| !matches!(o.action, Action::Get);
    let reach = operations.iter().filter(writes).map(Operation::reach).max();
    if read_only && reach.is_some() {
        return Err(CommandError::text(
            "ERR BITFIELD_RO only supports the GET subcommand",
        ));
    }
    let len = bytes_of(cx, key)?.len();
    let mut changed = false;
    if let Some(reach) = reach.filter(|reach| *reach > len) {
        // Room for all that is written, also where nothing comes of it.
        overwrite(cx, key, reach - 1, &[0])?;
    }
    cx.reply.array(operations.len());
    for operation in &operations {
        let Encoding { width, .. } = operation.encoding;
        let bytes = bytes_of(cx, key)?;
        let old = operation
            .encoding
            .number(bits::read(bytes, operation.at, width));
        let Some((reply, new)) = operation.apply(old) else {
            cx.reply.null();
            continue;
        };
        if !matches!(operation.action, Action::Get) {
            changed |= new != old || reach > Some(len);
        }
        if new != old {
            let first = operation.at / 8;
            let mut window = [0; 9];
            let window = &mut window[..operation.reach() - first];
            if let Some(now) = bytes.get(first..operation.reach()) {
                window.copy_from_slice(now);
            }
            bits::write(window, operation.at % 8, width, new as u64);
            overwrite(cx, key, first, window)?;
        }
        cx.reply.int(reply);
    }
    // Room stays also where no operation came to anything.
    if changed || reach > Some(len) {
        cx.log_verbatim(argv);
    }
    if changed {
        cx.ks.changed(EventClass::String, "setbit", key);
    }
    Ok(())
}
