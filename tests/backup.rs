//! docker/backup.sh: a backup of a running server, under writes, that a server starts on.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use persist_tools::raw::Resp;
use persist_tools::server::{Server, module_path, wait_until, workspace};

fn backup(server: &Server, folder: &Path) -> Output {
    Command::new(workspace().join("docker/backup.sh"))
        .arg(folder)
        .args(["-p", &server.port().to_string()])
        .env("TIMEOUT", "60")
        // Made by `make build`, beside the module.
        .env(
            "REDIS_PERSIST",
            module_path().with_file_name("redis-persist"),
        )
        .output()
        .unwrap()
}

fn server_on(dir: &Path, appendonly: &str) -> Server {
    Server::builder()
        .with_module()
        .config("persist.dir", &dir.to_string_lossy())
        .config("persist.appendonly", appendonly)
        .start()
        .unwrap()
}

fn number(reply: Resp) -> i64 {
    reply.text().unwrap().parse().unwrap()
}

#[test]
fn a_backup_under_writes_is_a_moment_of_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::builder().with_module().start().unwrap();
    let stop = AtomicBool::new(false);
    // As a shell completes the name of a folder.
    let folder = dir.path().join("backup/");
    let (before, after) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = server.raw().unwrap();
            while !stop.load(Ordering::SeqCst) {
                // Both or none.
                for line in ["MULTI", "PERSIST.INCR a", "PERSIST.INCR b", "EXEC"] {
                    assert!(!client.words(line).unwrap().is_error());
                }
            }
        });
        while server.words("PERSIST.GET a").unwrap().text().is_none() {}
        let before = number(server.words("PERSIST.GET a").unwrap());
        let done = backup(&server, &folder);
        let after = number(server.words("PERSIST.GET a").unwrap());
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        (before, after)
    });
    let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // What was there is not overwritten.
    let again = backup(&server, &folder);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"));
    // Who has no tool to check with is told that nothing was checked.
    let unchecked = Command::new(workspace().join("docker/backup.sh"))
        .arg(dir.path().join("unchecked"))
        .args(["-p", &server.port().to_string()])
        .env_remove("REDIS_PERSIST")
        .output()
        .unwrap();
    assert!(unchecked.status.success());
    assert!(String::from_utf8_lossy(&unchecked.stderr).contains("wasn't checked"));
    // A server starts on it, with the log on as well.
    let restored = server_on(&folder, "yes");
    let a = number(restored.words("PERSIST.GET a").unwrap());
    let b = number(restored.words("PERSIST.GET b").unwrap());
    assert_eq!(a, b);
    assert!((before..=after).contains(&a), "{before} to {after}: {a}");
    assert_eq!(restored.persist_info("aof_enabled").unwrap(), "1");
}

/// 0 if there is no such key.
fn count(server: &Server, key: &str) -> i64 {
    let found = server.words(&format!("PERSIST.GET {key}")).unwrap();
    found.text().map_or(0, |text| text.parse().unwrap())
}

/// Stops those who wait for this, also at a panic.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The files themselves, as the README says.
#[test]
fn the_log_of_a_running_server_may_be_copied() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::builder()
        .with_module()
        .config("persist.auto-aof-rewrite-min-size", "64kb")
        .config("persist.auto-aof-rewrite-percentage", "1")
        .start()
        .unwrap();
    let stop = AtomicBool::new(false);
    let value = "x".repeat(500);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = server.raw().unwrap();
            while !stop.load(Ordering::SeqCst) {
                let set = format!("PERSIST.SET filler {value}");
                for line in ["MULTI", "PERSIST.INCR a", &set, "PERSIST.INCR b", "EXEC"] {
                    assert!(!client.words(line).unwrap().is_error());
                }
            }
        });
        let end = AtEnd(&stop);
        for n in 0..6 {
            server
                .words("CONFIG SET persist.auto-aof-rewrite-percentage 0")
                .unwrap();
            let idle = || {
                let fields = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"];
                let mut fields = fields.iter().map(|field| server.persist_info(field));
                fields.all(|field| field.is_ok_and(|value| value == "0"))
            };
            wait_until(
                "the end of rewrites",
                Duration::from_secs(60),
                || Ok(idle()),
            )
            .unwrap();
            let before = count(&server, "a");
            let copy = dir.path().join(n.to_string());
            let (from, to) = (
                server.data_dir().join("persist-aof"),
                copy.join("persist-aof"),
            );
            std::fs::create_dir_all(&to).unwrap();
            let names: Vec<_> = std::fs::read_dir(&from).unwrap().flatten().collect();
            for name in names.iter().map(|entry| entry.file_name()) {
                // As with large files.
                std::thread::sleep(Duration::from_millis(100));
                std::fs::copy(from.join(&name), to.join(&name)).unwrap();
            }
            let after = count(&server, "a");
            server
                .words("CONFIG SET persist.auto-aof-rewrite-percentage 1")
                .unwrap();
            // So that the next copy comes after one, or would be in its way.
            let rewrites = server.persist_info("aof_rewrites").unwrap();
            wait_until("a rewrite", Duration::from_secs(60), || {
                Ok(server.persist_info("aof_rewrites")? != rewrites)
            })
            .unwrap_or_else(|e| {
                let info = server.words("PERSIST.INFO persistence").unwrap().text();
                panic!("{e}: {}\n{}", info.unwrap(), server.log_tail(20));
            });
            let restored = server_on(&copy, "yes");
            let a = count(&restored, "a");
            assert_eq!(a, count(&restored, "b"));
            assert!((before..=after).contains(&a), "{before} to {after}: {a}");
        }
        drop(end);
        writer.join().unwrap();
    });
}

/// As between machines: the server is stopped, its folder copied.
#[test]
fn a_folder_goes_to_another_machine() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::builder().with_module().start().unwrap();
    for line in ["SET a 1", "SAVE", "RPUSH l a b", "SET a 2"] {
        assert!(!server.words(&format!("PERSIST.{line}")).unwrap().is_error());
    }
    server.shutdown(true).unwrap();
    let there = dir.path().join("there");
    let copied = Command::new("cp")
        .arg("-r")
        .args([&server.data_dir(), &there])
        .status();
    assert!(copied.unwrap().success());
    // Nothing in it tells of the old place.
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    let moved = server_on(&there, "yes");
    assert_eq!(
        moved.words("PERSIST.GET a").unwrap().text().as_deref(),
        Some("2")
    );
    assert_eq!(moved.words("PERSIST.LLEN l").unwrap(), Resp::Int(2));
    assert!(!there.join("quarantine").exists());
}

#[test]
fn a_snapshot_that_fails_leaves_no_backup() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::builder().with_module().start().unwrap();
    server.words("PERSIST.SET a 1").unwrap();
    // A folder of that name can't be replaced by a snapshot.
    let file = server.data_dir().join("persist.rdb");
    std::fs::create_dir(&file).unwrap();
    std::fs::write(file.join("in the way"), b"").unwrap();
    let folder = dir.path().join("backup");
    let done = backup(&server, &folder);
    assert!(!done.status.success());
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(text.contains("the snapshot failed"), "{text}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_server_that_isnt_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::builder().with_module().start().unwrap();
    server.kill9().unwrap();
    let done = backup(&server, &dir.path().join("backup"));
    assert!(!done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).contains("doesn't answer"));
}
