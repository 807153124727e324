//! The tool on folders of real servers: while one runs, after it was killed
//! under load, and after a stock server has written there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use persist_tools::contents;
use persist_tools::host::host;
use persist_tools::raw::Resp;
use persist_tools::server::{Server, wait_until};
use persist_tools::traffic::Client;
use support::{copy, tool};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Clients write while `work` goes on; saves and rewrites come in between.
fn under_load(server: &Server, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in 0..3 {
            let stop = &stop;
            let mut client = Client::new(&format!("client{n}"), [1, 8, 32][n]);
            let port = server.port();
            // What was done in rounds before is overwritten.
            scope.spawn(move || client.run(port, stop));
        }
        let stop = &stop;
        scope.spawn(move || {
            let mut turn = 0;
            while !stop.load(Ordering::SeqCst) {
                let command = ["PERSIST.BGSAVE SCHEDULE", "PERSIST.REWRITE"][turn % 2];
                if server.words(command).is_err() {
                    return;
                }
                turn += 1;
                std::thread::sleep(Duration::from_millis(150));
            }
        });
        std::thread::sleep(Duration::from_millis(700));
        work();
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_folder_that_a_server_owns_is_read_and_never_repaired() {
    let server = Server::builder().with_module().start().unwrap();
    let dir = server.data_dir();
    under_load(&server, || {
        for round in 0..15 {
            let more = [&["--json"][..], &["--json", "--no-load"]][round % 2];
            let said = tool(&[&["check", text(&dir)], more].concat());
            assert_eq!(said.code, 0, "round {round}: {said:?}");
            said.has("owns this folder");
            assert_eq!(said.json()["server_pid"], server.pid());
        }
        for command in ["repair", "reseal"] {
            for more in [&["--yes"][..], &["--yes", "--in-place"]] {
                let said = tool(&[&[command, text(&dir)], more].concat());
                assert_eq!(said.code, 1, "{said:?}");
                said.has(&format!("the process {} holds", server.pid()));
            }
        }
        assert!(tool(&["info", text(&dir)]).code == 0);
    });
    assert!(!server.words("PERSIST.SET still 1").unwrap().is_error());
    // The tool hasn't taken the server's lock away.
    let second = Server::builder()
        .with_module()
        .config("persist.dir", text(&dir))
        .wait(Duration::from_secs(20))
        .start();
    assert!(second.is_err());
}

#[test]
fn folders_of_servers_that_were_killed_under_load() {
    for round in 0..4 {
        let policy = ["always", "everysec"][round % 2];
        let mut server = Server::builder()
            .with_module()
            .config("persist.appendfsync", policy)
            .config("persist.aof-use-rdb-preamble", ["yes", "no"][round / 2])
            .start()
            .unwrap();
        let dir = server.data_dir();
        let mut killed = None;
        under_load(&server, || {
            let pid = i32::try_from(server.pid()).unwrap();
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            killed = Some(pid);
        });
        assert!(killed.is_some());
        let _ = server.kill9();
        let temp = tempfile::tempdir().unwrap();
        let kept = temp.path().join("kept");
        copy(&dir, &kept);

        let check = tool(&["check", text(&dir), "--json"]);
        assert_eq!(check.code, 0, "round {round}: {check:?}");
        let check = check.json();
        let quick = tool(&["check", text(&dir), "--json", "--no-load"]).json();
        assert_eq!(check["sequence"], quick["sequence"]);
        let export = temp.path().join("export");
        let said = tool(&["export", text(&dir), "--durable", "-o", text(&export)]);
        assert_eq!(said.code, 0, "{said:?}");

        // The middle of what the log still has.
        let info = tool(&["info", text(&dir), "--json"]).json();
        let newest = info["sequence"].as_u64().unwrap();
        let covers = info["base_covers"].as_u64().unwrap();
        let middle = (covers + (newest - covers) / 2).to_string();
        let past = temp.path().join("past");
        let said = tool(&[
            "repair",
            text(&dir),
            "--until",
            &middle,
            "--to",
            text(&past),
            "--yes",
        ]);
        assert_eq!(said.code, 0, "{said:?}");

        server.restart().unwrap();
        let ours = contents::read(server.port(), "PERSIST.", 16).unwrap();
        assert_eq!(check["keys"], ours.len(), "round {round}");
        assert_eq!(tool(&["diff", text(&dir), text(&kept)]).code, 0);

        let other = Server::builder().with_module().start().unwrap();
        let mut client = other.raw().unwrap();
        let bytes = fs::read(&export).unwrap();
        let count = bytes.windows(3).filter(|w| *w == b"\r\n*").count() + 1;
        client.send_bytes(&bytes).unwrap();
        for _ in 0..count {
            let reply = client.read().unwrap();
            assert!(!reply.is_error(), "{reply}");
        }
        let theirs = contents::read(other.port(), "PERSIST.", 16).unwrap();
        contents::same("what was exported", &ours, &theirs, 0).unwrap();

        let earlier = Server::builder()
            .with_module()
            .config("persist.dir", text(&past))
            .start()
            .unwrap();
        let seq: u64 = earlier.persist_info("seq").unwrap().parse().unwrap();
        assert!(
            seq <= middle.parse().unwrap() && seq >= covers,
            "{seq}, {middle}"
        );
        assert_ne!(
            earlier.persist_info("history").unwrap(),
            server.persist_info("history").unwrap()
        );
    }
}

#[test]
fn a_log_that_a_stock_server_has_appended_to() {
    let root = tempfile::tempdir().unwrap();
    let mut server = Server::builder()
        .with_module()
        .dir(root.path())
        .config("persist.aof-use-rdb-preamble", "no")
        .start()
        .unwrap();
    let dir = server.data_dir();
    for line in [
        "PERSIST.SET a 1",
        "PERSIST.RPUSH l a b c",
        "PERSIST.SADD s 1 2 3 4 5",
    ] {
        assert!(!server.words(line).unwrap().is_error());
    }
    server.words("PERSIST.REWRITE").unwrap();
    wait_until("REWRITE", Duration::from_secs(60), || {
        Ok(server.persist_info("aof_rewrites")? == "1")
    })
    .unwrap();
    server.words("PERSIST.SET b 1").unwrap();
    assert!(server.shutdown(true).unwrap().success());

    // The same files under a server without the module; its log is its own.
    let stock_root = tempfile::tempdir().unwrap();
    copy(&dir, &stock_root.path().join("data"));
    let mut stock = Server::builder()
        .dir(stock_root.path())
        .config("appendonly", "yes")
        .config("appenddirname", "persist-aof")
        .config("appendfilename", "persist.aof")
        .start()
        .unwrap();
    let mut client = stock.raw().unwrap();
    for line in [
        "incr a",
        "setex session 1000000 x",
        "spop s 2",
        "multi",
        "rpush l d",
        "hincrbyfloat h f 0.1",
        "exec",
        "select 3",
        "set other 1 ex 1000000",
        "xadd x * f v",
        "getex other persist",
        "select 0",
        "expire b 1000000",
    ] {
        assert!(!client.words(line).unwrap().is_error(), "{line}");
    }
    client.words("select 3").unwrap();
    // The stream is left out: this reader of contents doesn't know it.
    assert_eq!(client.words("del x").unwrap(), Resp::Int(1));
    let theirs = contents::read(stock.port(), "", 16).unwrap();
    assert!(stock.shutdown(true).unwrap().success());

    let changed = stock.data_dir();
    let said = tool(&["check", text(&changed)]);
    if host().unwrap().is_redis((8, 0)) {
        // It writes the manifest anew, in its own words, when it ends.
        assert_eq!(said.code, 1, "{said:?}");
        said.has("the manifest was written by a stock server");
    } else {
        // The log was closed where the module left it: what follows is no part of it.
        assert_eq!(said.code, 0, "{said:?}");
        said.has("behind its end don't count");
    }
    let said = tool(&["reseal", text(&changed), "--in-place", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(tool(&["check", text(&changed)]).code, 0);
    let server = Server::builder()
        .with_module()
        .config("persist.dir", text(&changed))
        .start()
        .unwrap();
    let ours = contents::read(server.port(), "PERSIST.", 16).unwrap();
    contents::same("after reseal", &theirs, &ours, 0).unwrap();
}
