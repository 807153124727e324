//! Bitwise operations on whole strings: BITOP.

use super::super::spec::WM;
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use super::bytes_of;
use crate::keyspace::keys::EventClass;

/// BITOP.
pub static SPECS: &[Spec] = &[Spec {
    name: "BITOP",
    arity: -4,
    flags: WM,
    keys: &[
        KeySpec::one(2, KeyAccess::Overwrite),
        KeySpec::rest(3, 1, KeyAccess::Read),
    ],
    group: Group::Bitmap,
    since: "2.6.0",
    complexity: "O(N) with N being the length of all strings together.",
    summary: "Stores the result of a bitwise operation on strings; shorter ones are taken as followed by zeros.",
    syntax: "<AND | OR | XOR | NOT> destkey key [key ...]",
    examples: &[
        ("SET a abc", "OK"),
        ("SET b A", "OK"),
        ("BITOP AND d a b", "3"),
        ("GET d", "\"A\\x00\\x00\""),
        ("BITOP OR d b a none", "3"),
        ("GET d", "\"abc\""),
        ("BITOP XOR d a b", "3"),
        ("GET d", "\" bc\""),
        ("BITOP NOT d a", "3"),
        ("GET d", "\"\\x9e\\x9d\\x9c\""),
        ("BITOP NOT d none", "0"),
        ("EXISTS d", "0"),
        (
            "BITOP NOT d a b",
            "-ERR BITOP NOT must be called with a single source key.",
        ),
        ("BITOP NAND d a b", "-ERR syntax error"),
    ],
    run: bitop,
}];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn of(word: &[u8]) -> Option<Operation> {
        let all = [
            ("AND", Operation::And),
            ("OR", Operation::Or),
            ("XOR", Operation::Xor),
            ("NOT", Operation::Not),
        ];
        all.into_iter()
            .find_map(|(name, operation)| args::is(word, name).then_some(operation))
    }

    /// Takes one more string into `result`, which is at least as long.
    fn fold(self, result: &mut [u8], with: &[u8]) {
        let (front, behind) = result.split_at_mut(with.len());
        let pairs = front.iter_mut().zip(with);
        match self {
            Operation::And => {
                pairs.for_each(|(r, w)| *r &= w);
                behind.fill(0);
            }
            Operation::Or => pairs.for_each(|(r, w)| *r |= w),
            Operation::Xor => pairs.for_each(|(r, w)| *r ^= w),
            Operation::Not => pairs.for_each(|(r, w)| *r = !w),
        }
    }
}

fn bitop(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let operation = Operation::of(argv[1]).ok_or(CommandError::Syntax)?;
    let (to, sources) = (argv[2], &argv[3..]);
    if operation == Operation::Not && sources.len() > 1 {
        return Err(CommandError::text(
            "ERR BITOP NOT must be called with a single source key.",
        ));
    }
    let mut len = 0;
    for key in sources {
        len = bytes_of(cx, key)?.len().max(len);
    }
    let mut result = vec![0; len];
    result[..].fill(if operation == Operation::And { 0xff } else { 0 });
    for key in sources {
        operation.fold(&mut result, bytes_of(cx, key)?);
    }
    // What ended under the destination's name is told before it is overwritten.
    let there = cx.ks.exists(to);
    if len > 0 {
        cx.ks.put_string(to, &result, None);
        cx.log_verbatim(argv);
        cx.ks.changed(EventClass::String, "set", to);
    } else if there && cx.ks.delete(to) {
        cx.ks.effect(b"DEL", &[to]);
        cx.ks.changed(EventClass::Generic, "del", to);
    }
    cx.reply.int(len as i64);
    Ok(())
}
