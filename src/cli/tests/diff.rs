//! `redis-persist diff` finds each difference once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;

use support::{Rig, copy, fill, settings, tool};

#[test]
fn key_by_key() {
    let temp = tempfile::tempdir().unwrap();
    let (a, b) = (temp.path().join("a"), temp.path().join("b"));
    fs::create_dir(&a).unwrap();
    drop(fill(&a, true));
    copy(&a, &b);
    let (left, right) = (a.to_str().unwrap(), b.to_str().unwrap());
    let said = tool(&["diff", left, right]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    said.has("11 keys are the same, 0 differ");

    let mut rig = Rig::with(settings(&b)).unwrap_or_else(|e| panic!("{e}"));
    rig.run(&[
        "DEL tags",
        "SET new 1",
        "LSET jobs 0 B",
        "PEXPIREAT user:2 4102444800001",
        "DEL counter",
        "RPUSH counter x",
        // The same members in another encoding.
        "SADD big:set member:0",
    ]);
    drop(rig);
    let said = tool(&["diff", left, right]);
    assert_eq!(said.code, 1);
    let mut lines: Vec<_> = said.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "! db0 counter: type string and list",
            "! db0 jobs: list of 3 and of 3 elements",
            "! db0 user:2: ends 2100-01-01T00:00:00.000Z and 2100-01-01T00:00:00.001Z",
            "< db0 tags: set of 2 elements",
            "> db0 new: string of 1 elements",
        ]
    );
    said.has("7 keys are the same, 3 differ, 1 only in the first, 1 only in the second");
    let json = tool(&["diff", left, right, "--json", "--key", "tags"]).json();
    assert_eq!(json["only_in"], "first");
    assert_eq!(tool(&["diff", left, right, "--prefix", "big:"]).code, 0);
    let said = tool(&["diff", left, "/nonexistent"]);
    assert_eq!(said.code, 2, "{said:?}");
}
