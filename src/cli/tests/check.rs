//! `redis-persist check` comes to the verdict that a start comes to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;

use support::{Rig, copy, fill, image, settings, tool};

fn check(dir: &Path, more: &[&str]) -> support::Said {
    tool(&[&["check", dir.to_str().unwrap()], more].concat())
}

#[test]
fn a_sound_folder() {
    for rdb in [true, false] {
        let temp = tempfile::tempdir().unwrap();
        drop(fill(temp.path(), rdb));
        let before = image(temp.path());
        for more in [&[][..], &["--no-load"]] {
            let said = check(temp.path(), more);
            assert_eq!(said.code, 0, "{said:?}");
            said.has("\\o/ RDB looks OK! \\o/");
            said.has(if rdb {
                ".base.rdb is valid"
            } else {
                ".base.aof is valid"
            });
            said.has("INCR AOF persist.aof.2.incr.aof is valid");
            said.has("INCR AOF persist.aof.3.incr.aof is valid");
            said.has("All AOF files and manifest are valid");
            said.has("with the log");
            let json = check(temp.path(), &[more, &["--json"]].concat()).json();
            assert_eq!(json["ok"], true, "{json}");
            assert_eq!(json["source"], "log");
            assert_eq!(json["files"].as_array().unwrap().len(), 5, "{json}");
            let keys = json["keys"].as_u64();
            assert_eq!(keys, more.is_empty().then_some(11), "{json}");
        }
        assert!(image(temp.path()) == before, "something was changed");
    }
}

#[test]
fn an_empty_folder_and_none() {
    let temp = tempfile::tempdir().unwrap();
    let said = check(temp.path(), &[]);
    assert_eq!(said.code, 0);
    said.has("with no data");
    let said = check(&temp.path().join("none"), &[]);
    assert_eq!(said.code, 1);
    said.has("is no folder");
}

/// Damage all over the files; each time an engine is started on a copy.
#[test]
fn the_verdict_is_that_of_a_start() {
    let temp = tempfile::tempdir().unwrap();
    let sound = temp.path().join("sound");
    fs::create_dir(&sound).unwrap();
    drop(fill(&sound, true));
    let (mut refused, mut torn) = (0, 0);
    for (n, (path, bytes)) in image(&sound).into_iter().enumerate() {
        let name = path.strip_prefix(&sound).unwrap();
        for step in 0..12 {
            let mut damaged = bytes.clone();
            let at = bytes.len() * step / 12;
            if step % 3 == 2 {
                damaged.truncate(at);
            } else {
                damaged[at] ^= 1 << (step % 8);
            }
            let dir = temp.path().join(format!("{n}-{step}"));
            copy(&sound, &dir);
            fs::write(dir.join(name), &damaged).unwrap();
            let before = image(&dir);
            let said = check(&dir, &["--json"]);
            let json = said.json();
            let quick = check(&dir, &["--json", "--no-load"]).json();
            assert!(image(&dir) == before, "check changed something");
            let starts = Rig::with(settings(&dir));
            let what = format!("{name:?}, step {step}: {json:#}");
            assert_eq!(json["starts"], starts.is_ok(), "{what}");
            assert_eq!(quick["starts"], json["starts"], "{what}");
            assert_eq!(json["ok"], said.code == 0, "{what}");
            match starts {
                Err(e) => {
                    refused += 1;
                    assert_eq!(json["errors"][0], e.0.as_str(), "{what}");
                    let bad = json["files"].as_array().unwrap().iter();
                    let bad: Vec<_> = bad.filter(|f| f["state"] == "damaged").collect();
                    assert_eq!(bad.len(), 1, "{what}");
                    assert!(!bad[0]["advice"].as_str().unwrap().is_empty());
                }
                Ok(rig) => {
                    torn += usize::from(said.out.contains("\"torn\""));
                    assert_eq!(json["keys"], rig.content().len(), "{what}");
                    // The log wins: only the snapshot may be bad, or an end torn.
                    let aside = name == Path::new("persist.rdb");
                    assert!(aside != (said.code == 0) || step == 0, "{what}");
                }
            }
            fs::remove_dir_all(dir).unwrap();
        }
    }
    assert!(refused > 20 && torn > 2, "{refused} refused, {torn} torn");
}

/// What is no file where one should be is an error at once, and so is a manifest as long as no other.
#[test]
fn pipes_and_endless_files_are_errors_and_not_waited_for() {
    for name in ["persist.rdb", "persist-aof/persist.aof.manifest"] {
        for endless in [false, true] {
            let temp = tempfile::tempdir().unwrap();
            drop(fill(temp.path(), true));
            let path = temp.path().join(name);
            let _ = fs::remove_file(&path);
            if endless {
                let file = fs::File::create(&path).unwrap();
                file.set_len(1 << 40).unwrap();
            } else {
                let made = std::process::Command::new("mkfifo").arg(&path).status();
                assert!(made.unwrap().success());
            }
            let said = check(temp.path(), &[]);
            assert_eq!(said.code, 1, "{said:?}");
            said.has(match (endless, name.ends_with("rdb")) {
                (false, _) => "it is a pipe or a device, not a file",
                (true, true) => "found zeros",
                (true, false) => "a manifest of at most",
            });
        }
    }
    // The lock is only looked at.
    let temp = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(temp.path().join("persist.lock"))
        .status();
    assert!(made.unwrap().success());
    assert_eq!(check(temp.path(), &[]).code, 0);
}

#[test]
fn a_bad_file_is_named_with_its_offset_and_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    drop(fill(temp.path(), true));
    let path = temp.path().join("persist-aof/persist.aof.2.incr.aof");
    let mut bytes = fs::read(&path).unwrap();
    bytes[210] ^= 1;
    fs::write(&path, bytes).unwrap();
    let said = check(temp.path(), &[]);
    assert_eq!(said.code, 1);
    said.has("--- AOF ERROR DETECTED ---\n[offset 0] Expected a group with checksum");
    said.has("[what to do] Restore this file");
    said.has("AOF persist.aof.2.incr.aof is not valid");
    said.has("A server refuses to start");
    // Whether the snapshot is good is what the operator asks next.
    said.has("Checking RDB file persist.rdb");
}

#[test]
fn files_under_other_names_and_a_torn_end_that_is_not_taken() {
    let temp = tempfile::tempdir().unwrap();
    drop(fill(temp.path(), true));
    let path = temp.path().join("persist-aof/persist.aof.3.incr.aof");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    assert_eq!(check(temp.path(), &[]).code, 0);
    assert_eq!(check(temp.path(), &["--aof-load-truncated", "no"]).code, 1);
    fs::rename(temp.path().join("persist-aof"), temp.path().join("log")).unwrap();
    let said = check(temp.path(), &["--appenddirname", "log", "--json"]);
    assert_eq!(said.json()["source"], "log");
}
