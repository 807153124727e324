//! `redis-persist repair`: what comes out starts, and is what was asked for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{NOW, Rig, Said, fill, image, settings, tool};

fn repair(dir: &Path, more: &[&str]) -> Said {
    tool(&[&["repair", dir.to_str().unwrap()], more].concat())
}

fn incr(dir: &Path, n: u32) -> PathBuf {
    dir.join(format!("persist-aof/persist.aof.{n}.incr.aof"))
}

/// Flips a bit; `at` from the end if negative.
fn damage(path: &Path, at: i64) {
    let mut bytes = fs::read(path).unwrap();
    let at = if at < 0 { bytes.len() as i64 + at } else { at };
    bytes[at as usize] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_folder_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    drop(fill(temp.path(), true));
    let before = image(temp.path());
    let said = repair(temp.path(), &["--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.has("There is nothing to repair");
    for more in [&["--json"][..], &["--json", "--salvage"]] {
        let told = repair(temp.path(), more).json();
        assert_eq!(told["sound"], true, "{told:#}");
        assert!(told["keys"].as_u64().unwrap() > 0, "{told:#}");
    }
    assert!(image(temp.path()) == before);
}

#[test]
fn a_copy_without_what_is_damaged() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, to) = (temp.path().join("data"), temp.path().join("sound"));
    fs::create_dir(&dir).unwrap();
    drop(fill(&dir, true));
    // The DEL of user:1 is whole, the LPOP before it isn't.
    let path = incr(&dir, 3);
    let first = fs::read(&path).unwrap();
    let second = first
        .windows(5)
        .skip(1)
        .position(|w| w == b"#PG1 ")
        .unwrap() as i64
        + 1;
    damage(&path, second + 210);
    // It is no crash's end: the last group says that what was before is durable.
    assert!(Rig::with(settings(&dir)).is_err());
    let before = image(&dir);

    let plan = repair(&dir, &["--json"]).json();
    assert_eq!(plan["cut"][0]["from"], second, "{plan:#}");
    assert_eq!(plan["lost"]["effects"], 1, "{plan:#}");
    assert_eq!(plan["lost"]["keys"][0]["key"], "user:1", "{plan:#}");
    let said = repair(&dir, &["--to", to.to_str().unwrap()]);
    assert_eq!(said.code, 1, "{said:?}");
    said.has("Nothing was written. Say --yes");
    assert!(!to.exists());

    let said = repair(&dir, &["--to", to.to_str().unwrap(), "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.has("db0 user:1 (1)");
    said.has("Commands: DEL 1.");
    said.has("A server starts from");
    assert!(image(&dir) == before, "the original was changed");
    let rig = Rig::with(settings(&to)).unwrap_or_else(|e| panic!("{e}"));
    let content = rig.content();
    assert_eq!(content[&(0, "counter".into())], "string [2] until None");
    assert_eq!(content[&(0, "jobs".into())], "list [a, b, c, d] until None");
    assert!(content.contains_key(&(0, "user:1".into())));
    drop(rig);
    // What was made isn't written over.
    let said = repair(&dir, &["--to", to.to_str().unwrap(), "--yes"]);
    assert_eq!(said.code, 1);
    said.has("isn't empty");
}

#[test]
fn a_damaged_base_a_damaged_manifest_and_a_missing_one() {
    for case in 0..4 {
        let temp = tempfile::tempdir().unwrap();
        let (dir, to) = (temp.path().join("data"), temp.path().join("sound"));
        fs::create_dir(&dir).unwrap();
        let rig = fill(&dir, case != 3);
        let want = rig.content();
        drop(rig);
        let manifest = dir.join("persist-aof/persist.aof.manifest");
        match case {
            0 => damage(&dir.join("persist-aof/persist.aof.2.base.rdb"), 2000),
            1 => damage(&manifest, 60),
            _ => fs::remove_file(&manifest).unwrap(),
        }
        let said = repair(&dir, &["--to", to.to_str().unwrap(), "--yes"]);
        assert_eq!(said.code, 0, "case {case}: {said:?}");
        said.has("Nothing is cut");
        let rig = Rig::with(settings(&to)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(rig.content(), want, "case {case}");
    }
}

#[test]
fn an_earlier_moment_in_place() {
    let temp = tempfile::tempdir().unwrap();
    let mut rig = fill(temp.path(), true);
    rig.wait(10_000);
    rig.run(&["SET before 1"]);
    rig.wait(10_000);
    let want = rig.content();
    rig.run(&["FLUSHALL", "SET after 1"]);
    drop(rig);
    let moment = unix(NOW + 15_000);
    let early = repair(temp.path(), &["--until", "2001-01-01", "--yes"]);
    assert_eq!(early.code, 1);
    early.has("is too late");
    let said = repair(temp.path(), &["--until", &moment, "--in-place", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    said.has("Commands: FLUSHALL 1, SET 1.");
    let rig = Rig::with(settings(temp.path())).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(rig.content(), want);
    drop(rig);
    let aside = fs::read_dir(temp.path().join("quarantine"))
        .unwrap()
        .count();
    // The snapshot, the manifest, a base and two files.
    assert_eq!(aside, 5);
    assert_eq!(tool(&["check", temp.path().to_str().unwrap()]).code, 0);
}

/// As `@<unix time>`; what `fill` does takes up to two seconds of its clock.
fn unix(ms: u64) -> String {
    format!("@{}.{:03}", ms / 1000, ms % 1000)
}

/// This process holds the lock as a server would.
#[test]
fn a_locked_folder_is_looked_at_and_not_repaired() {
    let temp = tempfile::tempdir().unwrap();
    drop(fill(temp.path(), true));
    let lock = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(temp.path().join("persist.lock"))
        .unwrap();
    rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    damage(&incr(temp.path(), 2), 210);
    let before = image_but_lock(temp.path());
    let pid = std::process::id();
    let dir = temp.path().to_str().unwrap();
    let said = tool(&["check", dir, "--json"]);
    said.has(&format!("a server (process {pid}) owns this folder"));
    assert_eq!(said.json()["server_pid"], pid);
    for more in [&["--yes"][..], &["--in-place", "--yes"], &["--json"]] {
        let said = repair(temp.path(), more);
        assert_eq!(said.code, 1, "{said:?}");
        said.has(&format!("the process {pid} holds"));
    }
    assert!(image_but_lock(temp.path()) == before);
    drop(lock);
    assert_eq!(repair(temp.path(), &["--in-place", "--yes"]).code, 0);
}

/// Opening and closing the lock's file would give the lock up.
fn image_but_lock(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let log = image(&dir.join("persist-aof")).into_iter();
    log.chain([(dir.into(), fs::read(dir.join("persist.rdb")).unwrap())])
        .collect()
}

/// A base of several blocks, one of them damaged, and nothing that could take its place.
#[test]
fn salvage_of_a_base_and_of_groups_behind_damage() {
    for in_place in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let (dir, to) = (temp.path().join("data"), temp.path().join("salvaged"));
        fs::create_dir(&dir).unwrap();
        let mut rig = Rig::open(&dir);
        for db in 0..3 {
            rig.argv(db, &[b"SET", b"key", format!("value{db}").as_bytes()]);
            rig.pass();
        }
        rig.rewrite();
        for word in [b"one", b"two", b"end"] {
            rig.argv(0, &[b"SET", word, b"1"]);
            rig.pass();
        }
        drop(rig);
        let base = dir.join("persist-aof/persist.aof.2.base.rdb");
        let bytes = fs::read(&base).unwrap();
        let at = bytes.windows(6).position(|w| w == b"value1").unwrap();
        damage(&base, at as i64);
        let log = incr(&dir, 2);
        let bytes = fs::read(&log).unwrap();
        let at = bytes.windows(3).position(|w| w == b"two").unwrap();
        damage(&log, at as i64);
        assert!(Rig::with(settings(&dir)).is_err());
        assert_eq!(repair(&dir, &["--yes"]).code, 1);

        let before = image(&dir);
        let out = to.to_str().unwrap();
        let said = repair(&dir, &["--salvage", "--to", out]);
        said.has("Nothing was written. Say --yes");
        let told = repair(&dir, &["--salvage", "--json"]).json();
        assert_eq!(told["sound"], false, "{told:#}");
        assert_eq!((&told["keys"], &told["sequence"]), (&4.into(), &6.into()));
        let lost = &told["lost"];
        for (name, n) in [
            ("blocks", 1),
            ("keys_in_blocks", 1),
            ("groups", 1),
            ("effects", 1),
            ("first_sequence", 5),
            ("last_sequence", 5),
        ] {
            assert_eq!(lost[name], n, "{name}: {told:#}");
        }
        assert!(lost["bytes"].as_u64().unwrap() > 0, "{told:#}");
        assert_eq!(
            (&told["doubtful_effects"], &told["failed_effects"]),
            (&1.into(), &0.into())
        );
        assert!(
            told["remarks"].to_string().contains(".base.rdb"),
            "{told:#}"
        );
        assert!(image(&dir) == before, "--json has written");
        let said = match in_place {
            true => repair(&dir, &["--salvage", "--in-place", "--yes"]),
            false => repair(&dir, &["--salvage", "--to", out, "--yes"]),
        };
        assert_eq!(said.code, 0, "{said:?}");
        said.has("lost: 1 blocks with 1 keys, 1 groups with 1 effects (sequence 5 to 5)");
        said.has("A server starts from");
        let made = if in_place { &dir } else { &to };
        let rig = Rig::with(settings(made)).unwrap_or_else(|e| panic!("{e}"));
        let keys: Vec<_> = rig.content().into_keys().collect();
        let key = |db: u32, name: &str| (db, name.to_string());
        assert_eq!(
            keys,
            [key(0, "end"), key(0, "key"), key(0, "one"), key(2, "key")]
        );
        if !in_place {
            assert!(image(&dir) == before, "the original was changed");
        }
    }
}
