//! Nobody gets at durable data through files, settings, logs or commands who shouldn't.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
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
    let newest = std::fs::read_dir(data.join("persist-aof"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .max()
        .unwrap();
    let mut torn = std::fs::File::options().append(true).open(newest).unwrap();
    std::io::Write::write_all(&mut torn, b"#torn").unwrap();
    server.restart().unwrap();
    assert_eq!(open_to_others(&data), [""; 0], "after a crash");
    assert!(!server.log().contains(secret), "the log tells data");
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
