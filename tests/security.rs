//! Nobody gets at durable data through files, settings, logs or commands who shouldn't.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use persist_tools::preload::{Faults, Preload};
use persist_tools::raw::Resp;
use persist_tools::server::{Server, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

/// Every file and folder of the module below `dir` that somebody else could look into.
fn open_to_others(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        // The host's own files are the host's business; one may be gone by now.
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(about) = entry.metadata() else {
            continue;
        };
        let ours = path.to_string_lossy().contains("persist");
        if ours && about.permissions().mode() & 0o077 != 0 {
            found.push(format!("{name}: {:o}", about.permissions().mode()));
        }
        if about.is_dir() {
            found.extend(open_to_others(&path));
        }
    }
    found
}

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

#[test]
fn no_file_is_ever_open_to_others_and_no_data_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("control");
    let secret = "hunter2-in-the-data";
    let mut server = Server::builder()
        .with_module()
        .dir(dir.path())
        .config("persist.appendfsync", "always")
        .preload(Preload::new().control(&control).fail_path("persist"))
        .start()
        .unwrap();
    let data = server.data_dir();
    let write = |server: &Server| {
        for line in ["SET", "RPUSH list", "HSET hash field"] {
            let line = format!("PERSIST.{line} {secret} {secret}");
            server.words(&line).unwrap();
        }
    };
    write(&server);
    assert_eq!(open_to_others(&data), [""; 0]);
    // A slow disk, so that temporary files stand there for a while.
    let slow = Faults {
        slow_fsync_ms: 300,
        ..Faults::default()
    };
    for (command, field) in [
        ("PERSIST.BGSAVE", "rdb_saves"),
        ("PERSIST.REWRITE", "aof_rewrites"),
    ] {
        slow.apply(&control).unwrap();
        assert!(!server.words(command).unwrap().is_error());
        let mut looks = 0;
        wait_until(command, LIMIT, || {
            looks += 1;
            assert_eq!(open_to_others(&data), [""; 0], "during {command}");
            Ok(server.persist_info(field)? == "1")
        })
        .unwrap();
        assert!(looks > 3, "{command} was over before it could be looked at");
    }
    // Errors of the disk are told without what was being written.
    let bad = Faults {
        fail_fsync: true,
        ..Faults::default()
    };
    bad.apply(&control).unwrap();
    // The writer may be cut off.
    let _ = server.words(&format!("PERSIST.SET {secret} {secret}"));
    let _ = server.words("PERSIST.SAVE");
    wait_until("the error is logged", LIMIT, || {
        Ok(server.log().contains("Error in the append only file"))
    })
    .unwrap();
    Faults::default().apply(&control).unwrap();
    wait_until("it is healed", LIMIT, || {
        Ok(server.persist_info("aof_last_write_status")? == "ok")
    })
    .unwrap();
    write(&server);
    server.kill9().unwrap();
    // A torn end is cut and kept aside.
    let newest = newest_incr(&data);
    let mut torn = std::fs::File::options().append(true).open(newest).unwrap();
    std::io::Write::write_all(&mut torn, b"#torn").unwrap();
    server.restart().unwrap();
    assert_eq!(open_to_others(&data), [""; 0], "after a crash");
    assert!(!server.log().contains(secret), "the log tells data");
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

/// The modes of all files and folders of the module below `dir`.
fn modes(dir: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // A temporary one may be gone by now.
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if name.contains("persist") || name == "quarantine" {
            let kind = if about.is_dir() { "folder" } else { "file" };
            found.push((
                format!("{kind} {name}"),
                about.permissions().mode() & 0o7777,
            ));
        }
        if about.is_dir() {
            found.extend(modes(&entry.path()));
        }
    }
    found
}

/// Each has exactly this mode; while the server works, what it has just made
/// may still have less, and what isn't done yet always.
fn check_modes(dir: &Path, files: u32, folders: u32, works: bool, when: &str) {
    let found = modes(dir);
    for (name, mode) in &found {
        let want = if name.starts_with("folder") {
            folders
        } else {
            files
        };
        let exact = *mode == want;
        let fewer = (works || name.contains("temp-")) && mode & !want == 0;
        assert!(exact || fewer, "{when}: {name} has {mode:o}, not {want:o}");
    }
    assert!(found.len() > 4, "{when}: {found:?}");
}

#[test]
fn files_have_the_mode_of_the_setting_whatever_the_umask() {
    for (mode, umask, files, folders) in [
        ("600", "000", 0o600, 0o700),
        ("640", "077", 0o640, 0o750),
        ("660", "000", 0o660, 0o770),
        ("660", "022", 0o660, 0o770),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("control");
        let binary = dir.path().join("server");
        let host = persist_tools::server::server_binary();
        let script = format!("#!/bin/sh\numask {umask}\nexec {} \"$@\"\n", host.display());
        std::fs::write(&binary, script).unwrap();
        std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
        let mut server = Server::builder()
            .with_module()
            .binary(&binary)
            .dir(dir.path())
            .config("persist.file-mode", mode)
            .preload(Preload::new().control(&control).fail_path("persist"))
            .start()
            .unwrap();
        let data = server.data_dir();
        let told = |when: &str| format!("{mode}, {when}");
        let check = |when: &str| check_modes(&data, files, folders, false, &told(when));
        check("at the first start");
        server.words("PERSIST.SET a 1").unwrap();
        let slow = Faults {
            slow_fsync_ms: 200,
            ..Faults::default()
        };
        for (command, field) in [
            ("PERSIST.BGSAVE", "rdb_saves"),
            ("PERSIST.REWRITE", "aof_rewrites"),
        ] {
            slow.apply(&control).unwrap();
            assert!(!server.words(command).unwrap().is_error());
            let mut temporary = false;
            wait_until(command, LIMIT, || {
                temporary |= modes(&data).iter().any(|(name, _)| name.contains("temp-"));
                check_modes(&data, files, folders, true, &told(command));
                Ok(server.persist_info(field)? == "1")
            })
            .unwrap();
            check(command);
            assert!(temporary, "{command}: no temporary file was seen");
        }
        Faults::default().apply(&control).unwrap();
        // A torn end, so that there is a quarantine.
        server.words("PERSIST.SET b 1").unwrap();
        server.kill9().unwrap();
        let newest = newest_incr(&data);
        let mut torn = std::fs::File::options().append(true).open(newest).unwrap();
        std::io::Write::write_all(&mut torn, b"#torn").unwrap();
        server.restart().unwrap();
        assert!(data.join("quarantine").exists());
        check("after a crash");
        // What is there follows the setting.
        for (mode, files, folders) in [("640", 0o640, 0o750), ("600", 0o600, 0o700)] {
            server.set_config("persist.file-mode", mode).unwrap();
            server.restart().unwrap();
            check_modes(&data, files, folders, false, &format!("changed to {mode}"));
        }
        assert!(!server.log().contains("persist.file-mode doesn't hold"));
    }
}

#[test]
fn no_mode_lets_everybody_in() {
    let server = Server::builder().with_module().start().unwrap();
    assert!(
        server
            .words("CONFIG SET persist.file-mode 640")
            .unwrap()
            .is_error()
    );
    for mode in [
        "644",
        "666",
        "604",
        "400",
        "700",
        "0",
        "-1",
        "rw-r-----",
        "",
    ] {
        let refused = Server::builder()
            .with_module()
            .config("persist.file-mode", mode)
            .start();
        let said = refused.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains("600, 640, 660"), "{mode}: {said}");
        let refused = Server::builder()
            .with_module()
            .module_arg("file-mode", mode)
            .start();
        let said = refused.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains("600, 640, 660"), "{mode}: {said}");
    }
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

/// What a restricted user may do: on 7.0 by the names of commands, later by categories, too.
#[test]
fn rules_for_users_hold() {
    let server = Server::builder().with_module().start().unwrap();
    let mut admin = server.raw().unwrap();
    let knows_categories = admin
        .words("ACL CAT dangerous")
        .unwrap()
        .to_string()
        .contains("persist.flushall");
    let rules = if knows_categories {
        "ACL SETUSER app on nopass ~cart:* +@all -@dangerous -@admin"
    } else {
        "ACL SETUSER app on nopass ~cart:* +@all -persist.flushall -persist.flushdb -persist.save -persist.bgsave -persist.rewrite"
    };
    assert_eq!(admin.words(rules).unwrap(), Resp::Simple(b"OK".to_vec()));
    let mut app = server.raw().unwrap();
    app.words("AUTH app any").unwrap();
    assert!(!app.words("PERSIST.SET cart:1 x").unwrap().is_error());
    for line in [
        "PERSIST.SET other x",
        "PERSIST.GET other",
        "PERSIST.MGET cart:1 other",
        "PERSIST.FLUSHALL",
        "PERSIST.SAVE",
        "PERSIST.BGSAVE",
        "PERSIST.REWRITE",
    ] {
        let reply = app.words(line).unwrap().to_string();
        assert!(reply.contains("NOPERM"), "{line}: {reply}");
    }
}
