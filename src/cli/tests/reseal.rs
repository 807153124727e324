//! The classic rescue: a FLUSHALL taken out with an editor.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;

use persist_engine::format::resp::push_command;
use support::{Rig, fill, image, settings, tool};

#[test]
fn a_mistaken_flushall() {
    let temp = tempfile::tempdir().unwrap();
    let mut rig = fill(temp.path(), true);
    let want = rig.content();
    rig.run(&["FLUSHALL", "SET new 1"]);
    drop(rig);
    let dir = temp.path().to_str().unwrap();
    let said = tool(&["reseal", dir, "--in-place"]);
    assert_eq!(said.code, 1, "nobody said yes: {said:?}");
    said.has("a whole database is emptied at byte");

    let path = temp.path().join("persist-aof/persist.aof.3.incr.aof");
    let mut bytes = fs::read(&path).unwrap();
    let mut flush = Vec::new();
    push_command(&mut flush, &[b"FLUSHALL"]);
    let at = bytes.windows(flush.len()).position(|w| w == flush).unwrap();
    bytes.drain(at..at + flush.len());
    fs::write(&path, bytes).unwrap();
    assert_eq!(tool(&["check", dir]).code, 1);

    let before = image(temp.path());
    let to = temp.path().with_extension("made");
    let said = tool(&["reseal", dir, "--to", to.to_str().unwrap(), "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(image(temp.path()) == before);
    let mut rig = Rig::with(settings(&to)).unwrap_or_else(|e| panic!("{e}"));
    rig.run(&["DEL new"]);
    assert_eq!(rig.content(), want);
    drop(rig);
    fs::remove_dir_all(&to).unwrap();

    let said = tool(&["reseal", dir, "--in-place", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(tool(&["check", dir]).code, 0);
    let mut rig = Rig::with(settings(temp.path())).unwrap_or_else(|e| panic!("{e}"));
    rig.run(&["DEL new"]);
    assert_eq!(rig.content(), want);
}
