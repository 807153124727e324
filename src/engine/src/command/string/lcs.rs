//! What two strings have in common: LCS.

use super::super::spec::R;
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::data::lcs::{self, Run};
use crate::data::string;
use crate::data::value::Kind;

/// LCS.
pub static SPECS: &[Spec] = &[Spec {
    name: "LCS",
    arity: -3,
    flags: R,
    keys: &[KeySpec::rest_to(1, 1, KeyAccess::Read)],
    group: Group::String,
    since: "7.0.0",
    complexity: "O(N*M) where N and M are the lengths of the strings.",
    summary: "Finds the longest common subsequence of two strings.",
    syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    examples: &[
        ("MSET a ohmytext b mynewtext", "OK"),
        ("LCS a b", "\"mytext\""),
        ("LCS a b LEN", "6"),
        (
            "LCS a b IDX",
            "{\"matches\" [[[4 7] [5 8]] [[2 3] [0 1]]] \"len\" 6}",
        ),
        (
            "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
            "{\"matches\" [[[4 7] [5 8] 4]] \"len\" 6}",
        ),
        ("LCS a none", "\"\""),
        (
            "LCS a b LEN IDX",
            "-ERR If you want both the length and indexes, please just use IDX.",
        ),
        ("LCS a b MINMATCHLEN", "-ERR syntax error"),
        ("RPUSH l x", "1"),
        (
            "LCS a l",
            "-ERR The specified keys must contain string values",
        ),
    ],
    run: find,
}];

#[derive(Default)]
struct Options {
    len: bool,
    indexes: bool,
    with_lengths: bool,
    /// Shorter runs aren't shown.
    min: usize,
}

impl Options {
    fn parse(words: &[&[u8]]) -> Result<Options, CommandError> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if args::is(word, "LEN") {
                options.len = true;
            } else if args::is(word, "IDX") {
                options.indexes = true;
            } else if args::is(word, "WITHMATCHLEN") {
                options.with_lengths = true;
            } else if args::is(word, "MINMATCHLEN")
                && let Some(n) = words.next()
            {
                options.min = usize::try_from(args::int(n)?).unwrap_or(0);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.len && options.indexes {
            return Err(CommandError::text(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

fn find(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let mut strings = [Vec::new(), Vec::new()];
    for (copy, key) in strings.iter_mut().zip(&argv[1..]) {
        let found = cx
            .ks
            .read(key, Kind::String)
            .map_err(|_| CommandError::text("ERR The specified keys must contain string values"))?;
        copy.extend_from_slice(found.map_or(&[][..], string::bytes));
    }
    let options = Options::parse(&argv[3..])?;
    let [a, b] = &strings;
    // Redis keeps a number of four bytes for each pair of places.
    if (a.len() + 1).saturating_mul(b.len() + 1).saturating_mul(4) > cx.ks.limits.string_max {
        return Err(CommandError::text(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    if options.len {
        cx.reply.int(lcs::len(a, b) as i64);
        return Ok(());
    }
    let runs = lcs::runs(a, b);
    if options.indexes {
        reply_runs(cx, &runs, &options);
    } else {
        let parts = runs.iter().rev().map(|run| &a[run.a..run.a + run.len]);
        cx.reply.bulk(&parts.collect::<Vec<_>>().concat());
    }
    Ok(())
}

fn reply_runs(cx: &mut Cx<'_>, runs: &[Run], options: &Options) {
    let shown: Vec<&Run> = runs.iter().filter(|run| run.len >= options.min).collect();
    cx.reply.map(2);
    cx.reply.bulk(b"matches");
    cx.reply.array(shown.len());
    for run in shown {
        cx.reply.array(if options.with_lengths { 3 } else { 2 });
        for start in [run.a, run.b] {
            cx.reply.array(2);
            cx.reply.int(start as i64);
            cx.reply.int((start + run.len - 1) as i64);
        }
        if options.with_lengths {
            cx.reply.int(run.len as i64);
        }
    }
    cx.reply.bulk(b"len");
    let len: usize = runs.iter().map(|run| run.len).sum();
    cx.reply.int(len as i64);
}
