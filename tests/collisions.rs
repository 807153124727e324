//! Children, signals and the host's own commands crossing each other's way: one fork slot for the host's snapshots and
//! ours, orphans, children that are killed, shutdowns under traffic, and what the host does to its own keyspace.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use persist_tools::preload::Preload;
use persist_tools::raw::Resp;
use persist_tools::server::{Builder, Server, wait_until};
use persist_tools::traffic::Client;

const LIMIT: Duration = Duration::from_secs(30);

fn words(server: &Server, command: &str) -> String {
    server.words(command).unwrap().to_string()
}

fn said(server: &Server, command: &str, text: &str) {
    let reply = words(server, command);
    assert!(reply.contains(text), "{command}: {reply}");
}

fn wait_info(server: &Server, field: &str, value: &str) {
    wait_until(&format!("{field}:{value}"), LIMIT, || {
        Ok(server.persist_info(field)? == value)
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", server.log_tail(30)));
}

fn wait_host(server: &Server, field: &str, value: &str) {
    wait_until(&format!("{field}:{value}"), LIMIT, || {
        Ok(server.info(field)? == value)
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", server.log_tail(30)));
}

/// Children of both kinds take a second: every fsync of a snapshot or base is slowed, and the host's child waits for each
/// key.
fn slow_children() -> Builder {
    Server::builder()
        .with_module()
        .preload(Preload::new().slow_fsync_ms(300).slow_path("temp-"))
}

/// A host's snapshot that lasts until its child is killed.
fn host_child(server: &Server) {
    server.words("SET host:a 1").unwrap();
    server.words("SET host:b 1").unwrap();
    server
        .words("CONFIG SET rdb-key-save-delay 20000000")
        .unwrap();
    said(server, "BGSAVE", "Background saving started");
    server.words("CONFIG SET rdb-key-save-delay 0").unwrap();
    assert_eq!(server.children().len(), 1);
}

fn end_children(server: &Server, signal: i32) {
    for pid in server.children() {
        // SAFETY: kill(2) touches no memory of ours.
        unsafe { libc::kill(pid as libc::pid_t, signal) };
    }
}

fn no_temp_files(server: &Server) {
    wait_until("temporary files to go", LIMIT, || {
        let dirs = [server.data_dir(), server.data_dir().join("persist-aof")];
        let mut names = dirs
            .iter()
            .filter_map(|dir| std::fs::read_dir(dir).ok())
            .flat_map(|entries| entries.flatten())
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(!names.any(|name| name.starts_with("temp-persist-")))
    })
    .unwrap();
}

#[test]
fn ours_waits_for_the_hosts_child() {
    let server = Server::builder().with_module().start().unwrap();
    said(&server, "PERSIST.SET k 1", "OK");
    host_child(&server);
    said(&server, "PERSIST.BGSAVE", "Another child process is active");
    said(
        &server,
        "PERSIST.BGSAVE SCHEDULE",
        "Background saving scheduled",
    );
    said(&server, "PERSIST.REWRITE", "rewriting scheduled");
    assert_eq!(server.persist_info("rdb_bgsave_scheduled").unwrap(), "1");
    assert_eq!(server.persist_info("aof_rewrite_scheduled").unwrap(), "1");
    assert_eq!(server.persist_info("rdb_saves").unwrap(), "0");
    // A synchronous one needs no child.
    said(&server, "PERSIST.SAVE", "OK");
    end_children(&server, libc::SIGUSR1);
    wait_info(&server, "rdb_saves", "2");
    wait_info(&server, "aof_rewrites", "1");
    assert_eq!(server.persist_info("rdb_bgsave_scheduled").unwrap(), "0");
    no_temp_files(&server);
}

#[test]
fn inside_a_transaction_a_save_is_queued() {
    let server = Server::builder().with_module().start().unwrap();
    let mut client = server.raw().unwrap();
    for command in [
        "MULTI",
        "PERSIST.SET k 1",
        "PERSIST.BGSAVE",
        "PERSIST.SET k 2",
    ] {
        client.words(command).unwrap();
    }
    let reply = client.words("EXEC").unwrap().to_string();
    assert!(reply.contains("Background saving scheduled"), "{reply}");
    wait_info(&server, "rdb_saves", "1");
    for command in ["MULTI", "PERSIST.SAVE"] {
        client.words(command).unwrap();
    }
    let reply = client.words("EXEC").unwrap().to_string();
    assert!(reply.contains("allowed in a transaction"), "{reply}");
}

#[test]
fn the_hosts_waits_for_our_child() {
    let server = slow_children().start().unwrap();
    said(&server, "PERSIST.SET k 1", "OK");
    said(&server, "PERSIST.BGSAVE", "Background saving started");
    said(&server, "BGSAVE", "Another child process is active");
    said(&server, "BGSAVE SCHEDULE", "Background saving scheduled");
    said(
        &server,
        "PERSIST.BGSAVE",
        "Background save already in progress",
    );
    said(
        &server,
        "PERSIST.SAVE",
        "Background save already in progress",
    );
    said(&server, "PERSIST.REWRITE", "rewriting scheduled");
    wait_info(&server, "rdb_saves", "1");
    wait_host(&server, "rdb_saves", "1");
    wait_info(&server, "aof_rewrites", "1");
}

#[test]
fn a_cancelled_save_leaves_nothing() {
    let server = slow_children().start().unwrap();
    said(&server, "PERSIST.SET k 1", "OK");
    said(&server, "PERSIST.BGSAVE CANCEL", "not in progress");
    said(&server, "PERSIST.BGSAVE", "started");
    said(&server, "PERSIST.BGSAVE CANCEL", "cancelled");
    // The event loop doesn't wait for the child's end, but the next one does.
    said(&server, "PERSIST.BGSAVE SCHEDULE", "Background saving");
    said(&server, "PERSIST.BGSAVE CANCEL", "cancelled");
    wait_until("its end", LIMIT, || Ok(server.children().is_empty())).unwrap();
    no_temp_files(&server);
    assert!(!server.data_dir().join("persist.rdb").exists());
    said(&server, "PERSIST.BGSAVE SCHEDULE", "Background saving");
    wait_info(&server, "rdb_saves", "1");
}

#[test]
fn an_orphan_of_the_host_does_not_keep_a_new_server_out() {
    let mut server = Server::builder().with_module().start().unwrap();
    said(&server, "PERSIST.SET k 1", "OK");
    host_child(&server);
    let orphan = server.children()[0];
    server.restart().unwrap();
    // It still runs: the lock wasn't free because it was gone.
    assert!(std::path::Path::new(&format!("/proc/{orphan}")).exists());
    said(&server, "PERSIST.GET k", "1");
    said(&server, "PERSIST.SET k 2", "OK");
    // SAFETY: kill(2) touches no memory of ours.
    unsafe { libc::kill(orphan as libc::pid_t, libc::SIGKILL) };
}

#[test]
fn a_server_killed_during_our_children_starts_at_once() {
    for command in ["PERSIST.BGSAVE", "PERSIST.REWRITE"] {
        let mut server = slow_children().start().unwrap();
        said(&server, "PERSIST.SET k 1", "OK");
        said(&server, command, "started");
        wait_until("a child", LIMIT, || Ok(!server.children().is_empty())).unwrap();
        let child = server.children()[0];
        said(&server, "PERSIST.SET k 2", "OK");
        // Its last write isn't behind an fsync.
        wait_info(&server, "aof_buffer_length", "0");
        server.kill9().unwrap();
        wait_until("the child's end", LIMIT, || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            Ok(stat.is_err() || stat.is_ok_and(|text| text.contains(") Z")))
        })
        .unwrap();
        server.set_preload(None).unwrap();
        server.restart().unwrap();
        said(&server, "PERSIST.GET k", "2");
        no_temp_files(&server);
        said(&server, command, "started");
        wait_until("it", LIMIT, || {
            let done = server.persist_info("rdb_saves")? == "1";
            Ok(done || server.persist_info("aof_rewrites")? == "1")
        })
        .unwrap();
    }
}

#[test]
fn a_killed_child_is_a_failed_save_and_the_next_works() {
    let server = slow_children().start().unwrap();
    let mut n = 0;
    for (command, status, count) in [
        ("PERSIST.BGSAVE", "rdb_last_bgsave_status", "rdb_saves"),
        (
            "PERSIST.REWRITE",
            "aof_last_bgrewrite_status",
            "aof_rewrites",
        ),
    ] {
        let mut done = 0;
        // As the host's children do, ours go on after SIGTERM: the handler that they inherit only notes it.
        for (signal, ends) in [
            (libc::SIGKILL, true),
            (libc::SIGUSR1, true),
            (libc::SIGTERM, false),
        ] {
            n += 1;
            said(&server, "PERSIST.INCR n", &n.to_string());
            said(&server, command, "started");
            wait_until("a child", LIMIT, || Ok(!server.children().is_empty())).unwrap();
            end_children(&server, signal);
            if ends {
                wait_info(&server, status, "err");
                no_temp_files(&server);
                wait_until("the end", LIMIT, || Ok(server.children().is_empty())).unwrap();
                let begun = words(&server, command);
                assert!(!begun.starts_with('-'), "{begun}");
            }
            done += 1;
            wait_info(&server, count, &done.to_string());
            assert_eq!(server.persist_info(status).unwrap(), "ok");
            no_temp_files(&server);
        }
    }
}

/// How a server is ended under traffic.
fn ends(server: &mut Server, how: &str) {
    match how {
        "SIGTERM" => server.signal(libc::SIGTERM).unwrap(),
        "SIGINT" => server.signal(libc::SIGINT).unwrap(),
        words => {
            let argv: Vec<&str> = words.split(' ').collect();
            server.raw().unwrap().send(&argv).unwrap();
        }
    }
    assert!(server.wait_for_exit().unwrap().success());
}

/// Ends a server under traffic; everything acknowledged must be there after the next start.
fn shutdown_under_traffic(config: &[(&str, &str)], how: &str) {
    let builder = Server::builder().with_module();
    let mut server = config
        .iter()
        .fold(builder, |builder, (name, value)| {
            builder.config(name, value)
        })
        .start()
        .unwrap();
    let mut clients: Vec<Client> = [1, 1, 20]
        .iter()
        .enumerate()
        .map(|(n, depth)| Client::new(&format!("c{n}"), *depth))
        .collect();
    let stop = AtomicBool::new(false);
    let port = server.port();
    std::thread::scope(|scope| {
        let progress: Vec<_> = clients.iter().map(Client::progress).collect();
        let running: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(|| client.run(port, &stop)))
            .collect();
        wait_until("traffic", LIMIT, || {
            Ok(progress.iter().all(|p| p.acknowledged() > 200))
        })
        .unwrap();
        ends(&mut server, how);
        for client in running {
            client.join().unwrap().unwrap();
        }
        stop.store(true, Ordering::SeqCst);
    });
    server.restart().unwrap();
    for client in &mut clients {
        let floor = client.progress().acknowledged();
        client
            .check(&mut server.raw().unwrap(), floor)
            .unwrap_or_else(|e| panic!("{config:?}, {how}: {e}\n{}", server.log_tail(30)));
    }
}

#[test]
fn a_shutdown_under_traffic_loses_nothing_of_the_log() {
    for how in [
        "SHUTDOWN",
        "SHUTDOWN NOSAVE",
        "SHUTDOWN SAVE",
        "SIGTERM",
        "SIGINT",
    ] {
        shutdown_under_traffic(&[("persist.appendfsync", "everysec")], how);
    }
}

#[test]
fn a_shutdown_under_traffic_saves_when_there_are_save_points() {
    for how in ["SHUTDOWN", "SIGTERM"] {
        let config = [("persist.appendonly", "no"), ("persist.save", "3600 1")];
        shutdown_under_traffic(&config, how);
    }
    let both = [("persist.appendonly", "yes"), ("persist.save", "3600 1")];
    shutdown_under_traffic(&both, "SHUTDOWN");
}

#[test]
fn a_shutdown_during_our_children_loses_nothing() {
    for command in ["PERSIST.BGSAVE", "PERSIST.REWRITE"] {
        let mut server = slow_children().start().unwrap();
        said(&server, "PERSIST.SET k 1", "OK");
        said(&server, command, "started");
        wait_until("a child", LIMIT, || Ok(!server.children().is_empty())).unwrap();
        said(&server, "PERSIST.SET k 2", "OK");
        ends(&mut server, "SHUTDOWN");
        server.set_preload(None).unwrap();
        server.restart().unwrap();
        said(&server, "PERSIST.GET k", "2");
        no_temp_files(&server);
    }
}

#[test]
fn the_module_cannot_be_unloaded() {
    let server = Server::builder().with_module().start().unwrap();
    said(&server, "PERSIST.SET k 1", "OK");
    let reply = server.words("MODULE UNLOAD persist").unwrap();
    assert!(reply.is_error(), "{reply}");
    said(&server, "PERSIST.GET k", "1");
    assert!(
        server.log().contains("can't be unloaded"),
        "{}",
        server.log()
    );
}

#[test]
fn what_the_host_does_to_its_keys_leaves_durable_ones_alone() {
    let mut server = Server::builder().with_module().start().unwrap();
    let mut client = server.raw().unwrap();
    client.words("PERSIST.SET k zero").unwrap();
    client.words("SELECT 1").unwrap();
    client.words("PERSIST.SET k one").unwrap();
    client.words("SELECT 0").unwrap();
    let commands = [
        "SET host 1",
        "DEBUG RELOAD",
        "FLUSHDB",
        "FLUSHALL",
        "FLUSHALL ASYNC",
        "SWAPDB 0 1",
        "SAVE",
    ];
    for command in commands {
        let reply = client.words(command).unwrap();
        assert!(!reply.is_error(), "{command}: {reply}");
        for (db, value) in [(0, "zero"), (1, "one")] {
            client.words(&format!("SELECT {db}")).unwrap();
            let found = client.words("PERSIST.GET k").unwrap();
            assert_eq!(found, Resp::Bulk(value.into()), "after {command}");
        }
        client.words("SELECT 0").unwrap();
    }
    // Nor does the host's snapshot hold any of them.
    let dump = std::fs::read(server.data_dir().join("dump.rdb")).unwrap();
    assert!(!dump.windows(4).any(|bytes| bytes == b"zero"));
    server.restart().unwrap();
    said(&server, "PERSIST.GET k", "zero");
}

#[test]
fn replicas_refuse_and_their_master_warns() {
    let master = Server::builder().with_module().start().unwrap();
    said(&master, "PERSIST.SET k 1", "OK");
    let mut replica = Server::builder().with_module().start().unwrap();
    said(&replica, "PERSIST.SET mine 1", "OK");
    let command = format!("REPLICAOF 127.0.0.1 {}", master.port());
    said(&replica, &command, "OK");
    for command in ["PERSIST.SET k 2", "PERSIST.GET mine", "PERSIST.DEL mine"] {
        let reply = replica.words(command).unwrap();
        assert!(
            reply.is_error() && reply.to_string().contains("READONLY"),
            "{command}: {reply}"
        );
    }
    said(&replica, "PERSIST.INFO", "aof_enabled:1");
    said(&replica, "PERSIST.SAVE", "OK");
    wait_until("the replica", LIMIT, || {
        Ok(replica.info("master_link_status")? == "up"
            && master.log().contains("aren't replicated"))
    })
    .unwrap();
    said(&master, "PERSIST.SET k 3", "OK");
    // Its own keys are still there, after the full sync and after a start.
    said(&replica, "REPLICAOF NO ONE", "OK");
    said(&replica, "PERSIST.GET mine", "1");
    replica.restart().unwrap();
    said(&replica, "PERSIST.GET mine", "1");
}
