//! docker/backup.sh: a backup of a running server, under writes, that a server starts on.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use persist_tools::raw::Resp;
use persist_tools::server::{Server, module_path, workspace};

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
    let folder = dir.path().join("backup");
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
