//! A disk with too little room for a snapshot: a real server in a small file system of its own.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use persist_tools::server::{Server, server_binary, wait_until};

/// A redis-server for which `dir` is a file system of 12 MB.
fn in_a_small_disk(root: &Path, dir: &Path) -> std::path::PathBuf {
    let path = root.join("redis-server-on-a-small-disk");
    let script = format!(
        r#"#!/bin/sh
[ "$(id -u)" = 0 ] || user="--user --map-root-user"
exec unshare $user --mount sh -c 'mount -t tmpfs -o size=12m tmpfs "{}" && exec "{}" "$@"' sh "$@"
"#,
        dir.display(),
        server_binary().display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Text that doesn't pack: a megabyte of it.
fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letters = (0..1 << 20).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'A' + (state >> 32) as u8 % 58)
    });
    letters.map(|c| if c == '\\' { 'x' } else { c }).collect()
}

#[test]
fn a_save_that_would_not_fit_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("small");
    fs::create_dir(&dir).unwrap();
    let server = Server::builder()
        .binary(in_a_small_disk(root.path(), &dir))
        .with_module()
        .config("persist.dir", dir.to_str().unwrap())
        .config("persist.appendonly", "no")
        .config("persist.save", "")
        .start()
        .unwrap();
    let set = |n: u64| {
        let reply = server.words(&format!("PERSIST.SET key{n} {}", noise(n)));
        assert!(!reply.unwrap().is_error());
    };
    let saved = |times: &str| {
        wait_until("BGSAVE", Duration::from_secs(60), || {
            Ok(server.persist_info("rdb_saves")? == times)
        })
        .unwrap_or_else(|e| panic!("{e}: {}", server.log_tail(10)));
        assert_eq!(server.persist_info("rdb_last_bgsave_status").unwrap(), "ok");
    };
    (0..5).for_each(set);
    assert!(!server.words("PERSIST.BGSAVE").unwrap().is_error());
    saved("1");
    (5..9).for_each(set);
    let reply = server.words("PERSIST.BGSAVE").unwrap().to_string();
    assert!(reply.contains("not enough disk space in"), "{reply}");
    let reply = server.words("PERSIST.SAVE").unwrap().to_string();
    assert!(reply.contains("not enough disk space in"), "{reply}");
    assert_eq!(
        server.persist_info("rdb_last_bgsave_status").unwrap(),
        "err"
    );
    assert!(server.children().is_empty());
    assert!(server.log().contains("not enough disk space in"));
    // The old one is still there, and with less data another fits.
    for n in 5..9 {
        let reply = server.words(&format!("PERSIST.DEL key{n}")).unwrap();
        assert!(!reply.is_error(), "{reply}");
    }
    wait_until("memory given back", Duration::from_secs(30), || {
        Ok(!server.words("PERSIST.BGSAVE")?.is_error())
    })
    .unwrap();
    saved("2");
}
