//! Nobody gets at durable data through files, settings, logs or commands who shouldn't.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

mod files;
mod rules;

use std::path::{Path, PathBuf};
use std::time::Duration;

use persist_tools::preload::{Faults, Preload};
use persist_tools::server::{Server, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

/// The newest file of the log.
fn newest_incr(data: &Path) -> PathBuf {
    std::fs::read_dir(data.join("persist-aof"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .max()
        .unwrap()
}

/// No four bytes of it stand in any text of ours.
const SECRET: &str = "qzxvkjwy";

/// The log says nothing of keys and values.
fn check_log(server: &Server, when: &str) {
    let log = server.log();
    for piece in SECRET.as_bytes().windows(4) {
        let piece = str::from_utf8(piece).unwrap();
        let told = log.lines().find(|line| line.contains(piece));
        assert_eq!(told, None, "{when}");
    }
}

/// Secrets as keys, fields, members and values, small and in many blocks.
fn write_secrets(server: &Server, prefix: &str) {
    let mut client = server.raw().unwrap();
    let large = SECRET.repeat(60_000);
    for line in [
        format!("SET {SECRET}{prefix}s {SECRET}"),
        format!("SET {SECRET}{prefix}large {large}"),
        format!("RPUSH {SECRET}{prefix}l {SECRET} {SECRET}x"),
        format!("HSET {SECRET}{prefix}h {SECRET} {SECRET}"),
        format!("SADD {SECRET}{prefix}t {SECRET}"),
        format!("ZADD {SECRET}{prefix}z 1 {SECRET}"),
        format!("XADD {SECRET}{prefix}x 1-1 {SECRET} {SECRET}"),
    ] {
        let reply = client.words(&format!("PERSIST.{line}")).unwrap();
        assert!(!reply.is_error(), "{reply}");
    }
    for n in 0..200 {
        let list = format!(
            "PERSIST.RPUSH {SECRET}{prefix}long {}",
            SECRET.repeat(n + 1)
        );
        client.words(&list).unwrap();
    }
}

#[test]
fn a_failing_disk_is_told_without_what_was_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("control");
    let mut server = Server::builder()
        .with_module()
        .dir(dir.path())
        .config("persist.appendfsync", "always")
        .preload(Preload::new().control(&control).fail_path("persist"))
        .start()
        .unwrap();
    write_secrets(&server, "a");
    for bad in [
        Faults {
            fail_fsync: true,
            ..Faults::default()
        },
        Faults {
            fail_write: 28,
            ..Faults::default()
        },
    ] {
        let errors = server
            .log()
            .matches("Error in the append only file")
            .count();
        bad.apply(&control).unwrap();
        // The writer may be cut off.
        let _ = server.words(&format!("PERSIST.SET {SECRET} {SECRET}"));
        let _ = server.words("PERSIST.SAVE");
        wait_until("the error is logged", LIMIT, || {
            Ok(server
                .log()
                .matches("Error in the append only file")
                .count()
                > errors)
        })
        .unwrap();
        let _ = server.words("PERSIST.BGSAVE");
        Faults::default().apply(&control).unwrap();
        wait_until("it is healed", LIMIT, || {
            Ok(server.persist_info("aof_last_write_status")? == "ok")
        })
        .unwrap();
    }
    write_secrets(&server, "b");
    server.kill9().unwrap();
    // A torn end is cut and kept aside.
    let newest = newest_incr(&server.data_dir());
    let mut torn = std::fs::File::options().append(true).open(newest).unwrap();
    let half = format!("#PG1 {SECRET}");
    std::io::Write::write_all(&mut torn, half.as_bytes()).unwrap();
    server.restart().unwrap();
    assert!(server.log().contains("are moved to quarantine"));
    check_log(&server, "on a failing disk");
}

/// A way to damage a file's bytes.
type Damage = fn(&mut Vec<u8>);

/// Where a secret begins, well inside.
fn secret_at(bytes: &[u8]) -> usize {
    let found = bytes.windows(8).enumerate().skip(bytes.len() / 3);
    let mut found = found.filter(|(_, part)| *part == SECRET.as_bytes());
    found.next().map_or(bytes.len() / 2, |(at, _)| at)
}

const DAMAGES: &[(&str, Damage)] = &[
    ("a byte changed", |bytes| {
        let at = secret_at(bytes);
        bytes[at] ^= 1;
    }),
    ("cut short", |bytes| bytes.truncate(secret_at(bytes) + 3)),
    ("some bytes missing", |bytes| {
        let at = secret_at(bytes);
        bytes.drain(at - 40..at);
    }),
    ("a secret at its beginning", |bytes| {
        bytes[..8].copy_from_slice(SECRET.as_bytes());
    }),
    ("only secrets", |bytes| {
        for (at, byte) in bytes.iter_mut().enumerate().skip(100) {
            *byte = SECRET.as_bytes()[at % 8];
        }
    }),
    ("a secret for a line", |bytes| {
        let line = bytes.windows(4).rposition(|part| part == b"#PG1");
        let at = line.unwrap_or(bytes.len() - 48);
        bytes[at..at + 8].copy_from_slice(SECRET.as_bytes());
    }),
];

#[test]
fn damaged_files_are_told_without_what_is_in_them() {
    for preamble in ["yes", "no"] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::builder()
            .with_module()
            .dir(dir.path())
            .config("persist.appendfsync", "always")
            .config("persist.aof-use-rdb-preamble", preamble)
            .start()
            .unwrap();
        write_secrets(&server, "a");
        assert!(!server.words("PERSIST.SAVE").unwrap().is_error());
        server.words("PERSIST.REWRITE").unwrap();
        wait_until("the rewrite", LIMIT, || {
            Ok(server.persist_info("aof_rewrites")? == "1")
        })
        .unwrap();
        write_secrets(&server, "b");
        server.kill9().unwrap();
        let data = server.data_dir();
        let mut files = vec![data.join("persist.rdb"), newest_incr(&data)];
        files.extend(
            std::fs::read_dir(data.join("persist-aof"))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.to_string_lossy().contains(".base.")),
        );
        assert_eq!(files.len(), 3);
        let (mut refused, mut served) = (0, 0);
        for file in &files {
            for (what, damage) in DAMAGES {
                for how in ["stop", "salvage", "fallback"] {
                    // Each on a folder of its own.
                    let copy = tempfile::tempdir().unwrap();
                    copy_folder(&data, &copy.path().join("data"));
                    let file = copy
                        .path()
                        .join("data")
                        .join(file.strip_prefix(&data).unwrap());
                    let mut bytes = std::fs::read(&file).unwrap();
                    damage(&mut bytes);
                    std::fs::write(&file, bytes).unwrap();
                    let when = format!("{}: {what}, {how}, preamble {preamble}", file.display());
                    let started = Server::builder()
                        .with_module()
                        .dir(copy.path())
                        .config("persist.on-corruption", how)
                        .config("persist.aof-use-rdb-preamble", preamble)
                        .start();
                    match started {
                        Ok(server) => {
                            served += 1;
                            server.words("PERSIST.VERIFY").unwrap();
                            wait_until("the verification", LIMIT, || {
                                Ok(server.persist_info("verify_in_progress")? == "0")
                            })
                            .unwrap();
                            check_log(&server, &when);
                            let info = server.words("PERSIST.INFO").unwrap().to_string();
                            assert!(!info.contains(&SECRET[..4]), "{when}: {info}");
                        }
                        Err(e) => {
                            refused += 1;
                            let e = e.to_string();
                            assert!(e.contains("can't start:"), "{when}: {e}");
                            let told = SECRET
                                .as_bytes()
                                .windows(4)
                                .any(|piece| e.contains(str::from_utf8(piece).unwrap()));
                            assert!(!told, "{when}: {e}");
                        }
                    }
                }
            }
        }
        assert!(refused > 10 && served > 10, "{refused} and {served}");
    }
}

/// Copies files and folders.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn refused_and_moved_keys_are_not_logged() {
    let server = Server::builder().with_module().start().unwrap();
    write_secrets(&server, "a");
    let mut client = server.raw().unwrap();
    for line in [
        format!("PERSIST.INCR {SECRET}as"),
        format!("PERSIST.LPUSH {SECRET}as {SECRET}"),
        format!("PERSIST.RESTORE {SECRET} 0 {SECRET}"),
        format!("PERSIST.{SECRET} {SECRET}"),
        format!("PERSIST.HSET {SECRET}ah {SECRET}"),
        "ACL SETUSER app on nopass ~* +@all -@dangerous -persist.set -persist.get".into(),
        format!("SET x{SECRET} {SECRET}"),
        format!("SADD {SECRET}at {SECRET}"),
        "CONFIG SET persist.route *x".into(),
        format!("MGET x {SECRET}"),
        format!("OBJECT FREQ {SECRET}x"),
        format!("PERSIST.HELP ACL {SECRET}"),
        "PERSIST.HELP ACL app".into(),
    ] {
        client.words(&line).unwrap();
    }
    let script = format!("redis.call('PERSIST.INCR', '{SECRET}as')");
    assert!(client.command(&["EVAL", &script, "0"]).unwrap().is_error());
    // One key, whose name is the pattern; there on both sides, too.
    for line in [
        format!("PERSIST.ADOPT x{SECRET}"),
        format!("PERSIST.ADOPT {SECRET}at"),
        format!("PERSIST.RELEASE x{SECRET}"),
        format!("PERSIST.RELEASE {SECRET}a*"),
    ] {
        assert!(!client.words(&line).unwrap().is_error(), "{line}");
        wait_until(&line, LIMIT, || {
            Ok(server.persist_info("moving_in_progress")? == "no")
        })
        .unwrap();
    }
    wait_until("the moves are logged", LIMIT, || {
        Ok(server.log().matches("PERSIST.RELEASE: ").count() == 2)
    })
    .unwrap();
    check_log(&server, "after refusals and moves");
}

#[test]
fn paths_stay_where_the_operator_put_them() {
    let server = Server::builder().with_module().start().unwrap();
    for name in ["dir", "dbfilename", "appenddirname", "appendfilename"] {
        let reply = server
            .words(&format!("CONFIG SET persist.{name} elsewhere"))
            .unwrap();
        assert!(reply.is_error(), "persist.{name}: {reply}");
    }
    for (name, value) in [
        ("dbfilename", "../persist.rdb"),
        ("dbfilename", "/tmp/persist.rdb"),
        ("appenddirname", "a/b"),
        ("appendfilename", ".."),
    ] {
        let refused = Server::builder()
            .with_module()
            .config(&format!("persist.{name}"), value)
            .start();
        assert!(refused.is_err(), "persist.{name} {value}");
    }
}

/// Two things in one place would end one of them.
#[test]
fn names_that_are_taken_are_refused() {
    for (name, value) in [
        ("dbfilename", "persist.lock"),
        ("dbfilename", "quarantine"),
        ("dbfilename", "temp-persist-1-1.rdb"),
        ("dbfilename", "persist-aof"),
        ("dbfilename", "dump.rdb"),
        ("dbfilename", "appendonlydir"),
        ("appenddirname", "persist.lock"),
        ("appenddirname", "quarantine"),
        ("appenddirname", "temp-persist-aof"),
        ("appenddirname", "persist.rdb"),
        ("appenddirname", "appendonlydir"),
        ("appendfilename", "temp-persist-log"),
    ] {
        let refused = Server::builder()
            .with_module()
            .config(&format!("persist.{name}"), value)
            .start();
        let said = refused.err().map(|e| e.to_string()).unwrap_or_default();
        let told = said.contains("can't be") || said.contains("can't both be");
        assert!(
            told && said.contains(value),
            "persist.{name} {value}: {said}"
        );
    }
    // The host's names as they are set, and only in its own folder, by whatever path.
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let builder = || {
        let builder = Server::builder()
            .with_module()
            .config("dbfilename", "mine.rdb");
        builder.dir(dir.path())
    };
    let with = |name: &str| builder().config("persist.dbfilename", name);
    assert!(with("mine.rdb").start().is_err());
    assert!(with("dump.rdb").start().is_ok());
    let elsewhere = with("mine.rdb").config("persist.dir", other.to_str().unwrap());
    let server = elsewhere.start().unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(server.data_dir(), &link).unwrap();
    drop(server);
    let linked = with("mine.rdb").config("persist.dir", link.to_str().unwrap());
    assert!(linked.start().is_err());
}

/// The host's folder may change where its `enable-protected-configs` allows it; the durable keys stay where they are.
#[test]
fn the_hosts_folder_may_change_under_way() {
    let mut server = Server::builder().with_module().start().unwrap();
    let elsewhere = server.root().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let line = format!("CONFIG SET dir {}", elsewhere.display());
    assert!(!server.words(&line).unwrap().is_error());
    for line in ["PERSIST.SET a 1", "PERSIST.SAVE", "PERSIST.REWRITE"] {
        assert!(!server.words(line).unwrap().is_error(), "{line}");
    }
    wait_until("the rewrite", LIMIT, || {
        Ok(server.persist_info("aof_rewrites")? == "1")
    })
    .unwrap();
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert!(server.data_dir().join("persist.rdb").exists());
    server.kill9().unwrap();
    server.restart().unwrap();
    let found = server.words("PERSIST.GET a").unwrap();
    assert_eq!(found.text().as_deref(), Some("1"));
}
