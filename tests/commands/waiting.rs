//! Blocking forms of random commands. They run in transactions, where they answer at once;
//! `tests/blocking` has those that wait.

use crate::argv::{Argv, Maker};

const TIMEOUTS: &[&str] = &[
    "0", "0", "0", "0.01", "1", "-0.1", "0x1", "", "x", "inf", "1e400", "9e15",
];

/// Whether the command may wait.
pub fn may_wait(name: &str) -> bool {
    matches!(
        name,
        "BLPOP" | "BRPOP" | "BLMOVE" | "BRPOPLPUSH" | "BLMPOP" | "BZPOPMIN" | "BZPOPMAX" | "BZMPOP"
    )
}

/// Turns some commands that have one into their blocking form.
pub fn sometimes(maker: &mut Maker, mut argv: Argv) -> Argv {
    let name = String::from_utf8_lossy(&argv[0]).to_ascii_uppercase();
    let (blocking, at) = match name.as_str() {
        "LMPOP" => ("BLMPOP", Some(1)),
        "ZMPOP" => ("BZMPOP", Some(1)),
        "LMOVE" => ("BLMOVE", None),
        "RPOPLPUSH" => ("BRPOPLPUSH", None),
        "LPOP" => ("BLPOP", None),
        "RPOP" => ("BRPOP", None),
        "ZPOPMIN" => ("BZPOPMIN", None),
        "ZPOPMAX" => ("BZPOPMAX", None),
        _ => return argv,
    };
    if maker.below(2) == 0 {
        return argv;
    }
    let timeout = TIMEOUTS[maker.below(TIMEOUTS.len() as u64) as usize];
    argv[0] = blocking.into();
    argv.insert(at.unwrap_or(argv.len()).min(argv.len()), timeout.into());
    argv
}
