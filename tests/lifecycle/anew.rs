//! Processes that replace themselves or break down, and another server's data.

use super::ends::end;
use super::*;
use persist_tools::server::server_binary;

#[test]
fn a_process_that_starts_anew_in_its_place_finds_everything() {
    // It starts itself by its path.
    let names = std::env::var_os("PATH").unwrap_or_default();
    let binary = std::env::split_paths(&names)
        .map(|dir| dir.join(server_binary()))
        .find(|path| path.is_file())
        .unwrap();
    for policy in ["always", "everysec"] {
        let mut server = Server::builder()
            .binary(&binary)
            .with_module()
            .config("persist.appendfsync", policy)
            .start()
            .unwrap();
        let pid = server.pid();
        for (n, how) in [
            "DEBUG RESTART",
            "DEBUG CRASH-AND-RECOVER",
            "DEBUG RESTART",
            "DEBUG CRASH-AND-RECOVER 10",
        ]
        .into_iter()
        .enumerate()
        {
            said(&server, "PERSIST.INCR n", &(n + 1).to_string());
            wait_info(&server, "aof_buffer_length", "0");
            let starts = server.log().matches("Ready to accept").count();
            let argv: Vec<&str> = how.split(' ').collect();
            server.raw().unwrap().send(&argv).unwrap();
            wait_until("the new start", LIMIT, || {
                let log = server.log();
                Ok(log.matches("Ready to accept").count() > starts
                    && server.words("PING").is_ok_and(|reply| !reply.is_error()))
            })
            .unwrap_or_else(|e| panic!("{how}: {e}\n{}", server.log_tail(30)));
            assert_eq!(server.pid(), pid);
            said(&server, "PERSIST.GET n", &(n + 1).to_string());
        }
        end(&mut server, "SHUTDOWN");
    }
}

#[test]
fn a_server_that_breaks_down_reports_it_and_loses_nothing() {
    let mut server = slow_children().start().unwrap();
    for (n, how) in ["DEBUG SEGFAULT", "DEBUG PANIC", "DEBUG OOM", "DEBUG ASSERT"]
        .into_iter()
        .enumerate()
    {
        said(&server, "PERSIST.INCR n", &(n + 1).to_string());
        wait_info(&server, "aof_buffer_length", "0");
        let child = stuck_child(&server, "PERSIST.BGSAVE");
        let argv: Vec<&str> = how.split(' ').collect();
        server.raw().unwrap().send(&argv).unwrap();
        assert!(!server.wait_for_exit().unwrap().success(), "{how}");
        wait_until("the child's end", LIMIT, || Ok(!lives(child))).unwrap();
        server.restart().unwrap();
        said(&server, "PERSIST.GET n", &(n + 1).to_string());
        no_temp_files(&server);
    }
    let log = server.log();
    // The report goes on beyond the part in which modules have their say.
    assert!(
        log.matches("DUMPING CODE AROUND EIP").count() + log.matches("FAST MEMORY TEST").count()
            > 0
    );
}

#[test]
fn a_full_sync_replaces_the_hosts_keys_and_leaves_durable_ones() {
    for load in ["disabled", "on-empty-db", "swapdb"] {
        let master = Server::builder()
            .config("repl-diskless-sync-delay", "0")
            .start()
            .unwrap();
        said(&master, "MSET theirs 1 shared theirs", "OK");
        let mut replica = slow_children()
            .config("repl-diskless-load", load)
            .start()
            .unwrap();
        said(&replica, "MSET ours 1 shared ours", "OK");
        let mut client = replica.raw().unwrap();
        for db in 0..3 {
            client.words(&format!("SELECT {db}")).unwrap();
            let set = format!("PERSIST.MSET k {db} shared durable");
            assert_eq!(client.words(&set).unwrap(), Resp::Simple(b"OK".to_vec()));
        }
        said(&replica, "PERSIST.SET due x PX 1", "OK");
        let seq = info(&replica, "seq");
        // One of ours is under way when the master's data comes.
        said(&replica, "PERSIST.BGSAVE", "started");
        let command = format!("REPLICAOF 127.0.0.1 {}", master.port());
        said(&replica, &command, "OK");
        for refused in ["PERSIST.GET k", "PERSIST.SET k 9", "PERSIST.FLUSHALL"] {
            said(&replica, refused, "READONLY");
        }
        wait_until("the sync", LIMIT, || {
            Ok(replica.info("master_link_status")? == "up")
        })
        .unwrap();
        said(&replica, "GET shared", "theirs");
        said(&replica, "EXISTS ours", "0");
        wait_info(&replica, "rdb_saves", "1");
        // What the master does to its data, the durable ones included if it had any, is its own affair.
        for command in ["FLUSHALL", "SWAPDB 0 1", "SET after 1"] {
            assert!(!master.words(command).unwrap().is_error());
        }
        wait_until("the commands", LIMIT, || {
            Ok(replica.words("GET after")?.text().as_deref() == Some("1"))
        })
        .unwrap();
        // A start as a replica, too.
        if load == "disabled" {
            said(&replica, "CONFIG REWRITE", "OK");
            replica.restart().unwrap();
            said(&replica, "PERSIST.GET k", "READONLY");
        }
        said(&replica, "REPLICAOF NO ONE", "OK");
        let mut client = replica.raw().unwrap();
        for db in 0..3 {
            client.words(&format!("SELECT {db}")).unwrap();
            let found = client.words("PERSIST.MGET k shared").unwrap().to_string();
            assert!(
                found.contains(&db.to_string()) && found.contains("durable"),
                "{load}, {db}: {found}"
            );
        }
        said(&replica, "PERSIST.EXISTS due", "0");
        said(&replica, "PERSIST.SET k 9", "OK");
        replica.remove_config("replicaof").unwrap();
        let after: u64 = info(&replica, "seq").parse().unwrap();
        assert!(after > seq.parse().unwrap());
        replica.restart().unwrap();
        said(&replica, "PERSIST.GET k", "9");
    }
}
