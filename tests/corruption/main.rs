//! `persist.on-corruption` on a real server: damage on disk, and what a restart makes of it.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod newer;
mod refused;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use persist_tools::server::{Server, wait_until};

fn server() -> Server {
    let server = Server::builder()
        .with_module()
        .config("persist.appendfsync", "always")
        .start()
        .unwrap();
    let said = |command: &str| {
        let reply = server.words(command).unwrap();
        assert!(!reply.is_error(), "{command}: {reply}");
    };
    said("PERSIST.SET kept 1");
    said("PERSIST.SAVE");
    said("PERSIST.REWRITE");
    wait_until("REWRITE", Duration::from_secs(60), || {
        Ok(server.persist_info("aof_rewrites")? == "1"
            && server.persist_info("aof_rewrite_in_progress")? == "0")
    })
    .unwrap();
    for command in ["INCR kept", "SET lost 1", "RPUSH list a b", "INCR kept"] {
        said(&format!("PERSIST.{command}"));
    }
    server
}

fn newest_incr(server: &Server) -> PathBuf {
    let dir = fs::read_dir(server.data_dir().join("persist-aof")).unwrap();
    let mut paths: Vec<_> = dir.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().ends_with(".incr.aof"));
    paths.sort();
    paths.pop().unwrap()
}

/// Stops the server, and damages the group that says `SET lost`.
fn damage(server: &mut Server) -> PathBuf {
    let path = newest_incr(server);
    server.kill9().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|part| part == b"lost").unwrap();
    bytes[at] = b'x';
    fs::write(&path, bytes).unwrap();
    path
}

fn says(server: &Server, command: &str, text: &str) {
    let reply = server.words(command).unwrap().to_string();
    assert!(reply.contains(text), "{command}: {reply}");
}

fn quarantine(server: &Server) -> Vec<String> {
    let dir = fs::read_dir(server.data_dir().join("quarantine")).unwrap();
    dir.map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn stop_refuses() {
    let mut server = server();
    let path = damage(&mut server);
    let before = fs::read(&path).unwrap();
    let e = server.restart().unwrap_err().to_string();
    let log = server.log();
    assert!(
        log.contains("can't start") || e.contains("can't start"),
        "{e}\n{log}"
    );
    assert!(
        log.contains(path.file_name().unwrap().to_str().unwrap()),
        "{log}"
    );
    assert!(log.contains("byte "), "{log}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(!server.data_dir().join("quarantine").exists());
}

#[test]
fn salvage_loads_what_can_be_verified() {
    let mut server = server();
    let history = server.persist_info("history").unwrap();
    let path = damage(&mut server);
    server
        .set_config("persist.on-corruption", "salvage")
        .unwrap();
    server.set_config("loglevel", "verbose").unwrap();
    server.restart().unwrap();
    says(&server, "PERSIST.GET kept", "3");
    says(&server, "PERSIST.EXISTS lost", "0");
    says(&server, "PERSIST.LRANGE list 0 -1", "a");
    for (field, value) in [
        ("salvaged", "1"),
        ("salvage_mode", "salvage"),
        ("salvage_lost_groups", "1"),
        ("salvage_lost_effects", "1"),
        ("salvage_lost_first_seq", "3"),
        ("salvage_lost_blocks", "0"),
        ("salvage_doubtful_effects", "2"),
        ("salvage_failed_effects", "0"),
    ] {
        assert_eq!(server.persist_info(field).unwrap(), value, "{field}");
    }
    assert_ne!(server.persist_info("history").unwrap(), history);
    let log = server.log();
    assert!(log.contains("sequence 3 is lost"), "{log}");
    // Names of keys only for who asks for them.
    assert!(log.contains("keys go from db0 xost to db0 xost"), "{log}");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(
        quarantine(&server)
            .iter()
            .any(|kept| kept.starts_with(name))
    );
    says(
        &server,
        "CONFIG SET persist.on-corruption stop",
        "immutable",
    );
    // It goes on as any other.
    says(&server, "PERSIST.SET after 1", "OK");
    server.kill9().unwrap();
    server.set_config("persist.on-corruption", "stop").unwrap();
    server.restart().unwrap();
    says(&server, "PERSIST.GET kept", "3");
    says(&server, "PERSIST.GET after", "1");
    assert_eq!(server.persist_info("salvaged").unwrap(), "0");
}

#[test]
fn fallback_loads_the_snapshot() {
    let mut server = server();
    let history = server.persist_info("history").unwrap();
    damage(&mut server);
    server
        .set_config("persist.on-corruption", "fallback")
        .unwrap();
    server.restart().unwrap();
    says(&server, "PERSIST.GET kept", "1");
    says(&server, "PERSIST.EXISTS list", "0");
    assert_eq!(server.persist_info("salvage_mode").unwrap(), "fallback");
    assert_ne!(server.persist_info("history").unwrap(), history);
    assert!(
        quarantine(&server)
            .iter()
            .any(|kept| kept.contains(".incr.aof"))
    );
    // Without a snapshot there is nothing to fall back to.
    says(&server, "PERSIST.INCR kept", "2");
    says(&server, "PERSIST.SET lost 1", "OK");
    says(&server, "PERSIST.INCR kept", "3");
    damage(&mut server);
    assert!(server.restart().is_err());
    assert!(
        server.log().contains("there is no snapshot"),
        "{}",
        server.log_tail(5)
    );
}
