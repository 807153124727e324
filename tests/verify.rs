//! PERSIST.VERIFY on a real server: a thread of its own reads the files while clients write.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use persist_tools::server::{Server, wait_until};
use persist_tools::traffic::Client;

/// Ends the writers, also when the test fails: it would wait for them for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn verify(server: &Server) -> String {
    let reply = server.words("PERSIST.VERIFY").unwrap();
    assert!(!reply.is_error(), "{reply}");
    // Its thread comes after all others on a busy machine.
    let limit = Duration::from_secs(300);
    wait_until("the end of a verification", limit, || {
        Ok(server.persist_info("verify_in_progress")? == "0")
    })
    .unwrap();
    server.persist_info("verify_last_status").unwrap()
}

fn base(server: &Server) -> PathBuf {
    let dir = fs::read_dir(server.data_dir().join("persist-aof")).unwrap();
    let mut paths = dir.map(|entry| entry.unwrap().path());
    paths
        .find(|path| path.to_str().unwrap().contains(".base."))
        .unwrap()
}

#[test]
fn files_are_checked_while_clients_write() {
    for policy in ["always", "everysec", "no"] {
        let server = Server::builder()
            .with_module()
            .config("persist.appendfsync", policy)
            // While verifications wait for a busy machine, the log would grow enough for one.
            .config("persist.auto-aof-rewrite-percentage", "0")
            .start()
            .unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop = Stop(&stop);
            for n in 0..2 {
                let (stop, port) = (&stop, server.port());
                let mut client = Client::new(&format!("client{n}"), [1, 16][n]);
                scope.spawn(move || client.run(port, stop).unwrap());
            }
            std::thread::sleep(Duration::from_millis(300));
            for _ in 0..10 {
                assert_eq!(verify(&server), "ok", "{}", server.log_tail(5));
            }
            // Between rewrites and saves it may be interrupted, but finds nothing wrong.
            for n in 0..10 {
                let command = ["PERSIST.REWRITE", "PERSIST.BGSAVE SCHEDULE"][n % 2];
                server.words(command).unwrap();
                assert_ne!(verify(&server), "err", "{}", server.log_tail(5));
            }
        });
    }
}

#[test]
fn damage_is_told_and_a_rewrite_mends_it() {
    let server = Server::builder().with_module().start().unwrap();
    assert!(!server.words("PERSIST.SET a 1").unwrap().is_error());
    let rewrite = |n: &str| {
        server.words("PERSIST.REWRITE").unwrap();
        wait_until("REWRITE", Duration::from_secs(60), || {
            Ok(server.persist_info("aof_rewrites")? == n
                && server.persist_info("aof_rewrite_in_progress")? == "0")
        })
        .unwrap();
    };
    rewrite("1");
    assert_eq!(verify(&server), "ok");
    let path = base(&server);
    let mut bytes = fs::read(&path).unwrap();
    bytes[130] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(verify(&server), "err");
    let why = server.persist_info("verify_last_error").unwrap();
    assert!(
        why.contains("byte 96") && why.contains(".base.rdb"),
        "{why}"
    );
    assert!(
        server
            .log()
            .contains("Background verification found damage")
    );
    rewrite("2");
    assert_eq!(verify(&server), "ok");
}

#[test]
fn one_at_a_time() {
    let server = Server::builder().with_module().start().unwrap();
    let mut client = server.raw().unwrap();
    client.words("MULTI").unwrap();
    client.words("PERSIST.VERIFY").unwrap();
    client.words("PERSIST.VERIFY").unwrap();
    let reply = client.words("EXEC").unwrap().to_string();
    assert!(reply.contains("Background verification started"), "{reply}");
    assert!(reply.contains("already in progress"), "{reply}");
    assert!(client.words("PERSIST.VERIFY now").unwrap().is_error());
}
