//! Who gets at files: those that are there, and those that were there for a moment.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use persist_tools::preload::{self, Faults, Preload, read_trace};
use persist_tools::server::{Server, module_path, server_binary, wait_until};

use super::{LIMIT, newest_incr};

/// Whether this file or folder below the server's is the module's.
fn is_ours(path: &Path) -> bool {
    let mut parts = path.components().map(|part| part.as_os_str());
    parts.any(|part| part == "quarantine" || part.to_string_lossy().contains("persist"))
}

/// The modes of all files and folders of the module below `dir`.
fn modes(dir: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            // A temporary one may be gone by now.
            let Ok(about) = entry.metadata() else {
                continue;
            };
            let path = entry.path();
            let inside = path.strip_prefix(dir).unwrap();
            if is_ours(inside) {
                let kind = if about.is_dir() { "folder" } else { "file" };
                let mode = about.permissions().mode() & 0o7777;
                found.push((format!("{kind} {}", inside.display()), mode));
            }
            if about.is_dir() {
                folders.push(path);
            }
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

/// Nothing was made with more permissions than these, not for a moment before
/// somebody took them away; gives the paths of all that was made.
fn check_made(trace: &Path, dir: &Path, files: u32, folders: u32) -> Vec<String> {
    let mut made = Vec::new();
    for call in read_trace(trace).unwrap() {
        let want = match call.op.as_str() {
            "create" => files,
            "mkdir" => folders,
            _ => continue,
        };
        let Ok(inside) = Path::new(&call.path).strip_prefix(dir) else {
            continue;
        };
        if is_ours(inside) {
            let mode = u32::from_str_radix(&call.data, 8).unwrap();
            assert_eq!(mode & !want, 0, "{} {} with {mode:o}", call.op, call.path);
            made.push(inside.display().to_string());
        }
    }
    made
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
        let trace = dir.path().join("trace");
        let binary = dir.path().join("server");
        let script = format!(
            "#!/bin/sh\numask {umask}\nexec {} \"$@\"\n",
            server_binary().display()
        );
        std::fs::write(&binary, script).unwrap();
        std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
        let mut server = Server::builder()
            .with_module()
            .binary(&binary)
            .dir(dir.path())
            .config("persist.file-mode", mode)
            .preload(
                Preload::new()
                    .control(&control)
                    .fail_path("persist")
                    .trace(&trace),
            )
            .start()
            .unwrap();
        let data = server.data_dir();
        let told = |when: &str| format!("{mode}, {when}");
        let check = |when: &str| check_modes(&data, files, folders, false, &told(when));
        check("at the first start");
        server.words("PERSIST.SET a 1").unwrap();
        // So that temporary files stand there for a while.
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
        // A new file in the place of one that failed.
        let bad = Faults {
            fail_write: 28,
            ..Faults::default()
        };
        bad.apply(&control).unwrap();
        let _ = server.words("PERSIST.SET a 2");
        wait_until("the error", LIMIT, || {
            Ok(server.persist_info("aof_last_write_status")? == "err")
        })
        .unwrap();
        Faults::default().apply(&control).unwrap();
        wait_until("it is healed", LIMIT, || {
            Ok(server.persist_info("aof_last_write_status")? == "ok")
        })
        .unwrap();
        // A torn end, so that there is a quarantine.
        server.words("PERSIST.SET b 1").unwrap();
        server.kill9().unwrap();
        let newest = newest_incr(&data);
        let mut torn = std::fs::File::options().append(true).open(newest).unwrap();
        std::io::Write::write_all(&mut torn, b"#torn").unwrap();
        server.restart().unwrap();
        assert!(data.join("quarantine").exists());
        check("after a crash");
        let made = check_made(&trace, &data, files, folders);
        for part in [
            "persist.lock",
            "temp-",
            ".incr.aof",
            "quarantine/",
            "persist-aof",
        ] {
            assert!(made.iter().any(|path| path.contains(part)), "{made:?}");
        }
        // What is there follows the setting.
        for (mode, files, folders) in [("640", 0o640, 0o750), ("600", 0o600, 0o700)] {
            server.set_config("persist.file-mode", mode).unwrap();
            server.restart().unwrap();
            check_modes(&data, files, folders, false, &format!("changed to {mode}"));
        }
        assert!(!server.log().contains("persist.file-mode doesn't hold"));
    }
}

/// What the offline tool writes holds the same data.
#[test]
fn what_the_offline_tool_makes_is_for_its_user_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::builder().with_module().start().unwrap();
    for line in ["SET a 1", "RPUSH l 1 2 3", "SET b damaged", "SET c 1"] {
        server.words(&format!("PERSIST.{line}")).unwrap();
    }
    server.shutdown(true).unwrap();
    let data = server.data_dir();
    let newest = newest_incr(&data);
    let mut bad = std::fs::read(&newest).unwrap();
    let at = bad.windows(7).position(|part| part == b"damaged").unwrap();
    bad[at] = b'x';
    // Whoever wrote it, it is taken as it is.
    std::fs::remove_file(data.join("persist.lock")).unwrap();
    let library = preload::compile(dir.path()).unwrap();
    let trace = dir.path().join("trace");
    let work = dir.path().join("persist-work");
    std::fs::create_dir(&work).unwrap();
    let copy = work.join("copy");
    let copied = Command::new("cp").arg("-a").args([&data, &copy]).status();
    assert!(copied.unwrap().success());
    for folder in [&work, &copy] {
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).unwrap();
    }
    let (data, copy) = (data.to_str().unwrap(), copy.to_str().unwrap());
    for args in [
        &["export", data, "-o", "all.resp"][..],
        &["export", data, "-o", "all.json", "--format", "json"],
        &["damage"],
        &["repair", data, "--to", "repaired", "--yes"],
        &["repair", data, "--to", "salvaged", "--salvage", "--yes"],
        &["reseal", data, "--to", "resealed", "--yes"],
        &["repair", copy, "--in-place", "--yes"],
        &["reseal", copy, "--in-place", "--yes"],
    ] {
        if args == ["damage"] {
            std::fs::write(&newest, &bad).unwrap();
            std::fs::write(
                Path::new(copy).join(newest.strip_prefix(data).unwrap()),
                &bad,
            )
            .unwrap();
            continue;
        }
        let output = Command::new("sh")
            .args(["-c", "umask 000; exec \"$@\"", "sh"])
            .arg(module_path().with_file_name("redis-persist"))
            .args(args)
            .current_dir(&work)
            .env("LD_PRELOAD", &library)
            .env("TRACE_FILE", &trace)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
    }
    let made = check_made(&trace, dir.path(), 0o600, 0o700);
    for part in [
        "all.resp",
        "all.json",
        "repaired/",
        "salvaged/",
        "resealed/",
        "copy/",
    ] {
        assert!(
            made.iter().any(|path| path.contains(part)),
            "{part}: {made:?}"
        );
    }
    for (name, mode) in modes(dir.path()) {
        assert_eq!(mode & 0o077, 0, "{name} has {mode:o}");
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
        let builder = || Server::builder().with_module();
        for builder in [
            builder().config("persist.file-mode", mode),
            builder().module_arg("file-mode", mode),
        ] {
            let refused = builder.start();
            let said = refused.err().map(|e| e.to_string()).unwrap_or_default();
            assert!(said.contains("600, 640, 660"), "{mode}: {said}");
        }
    }
}
