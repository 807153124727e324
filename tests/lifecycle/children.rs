//! Children that hang, die, run out of memory or outlive a shutdown that fails.

use super::*;

#[test]
fn a_stuck_child_of_a_save_holds_up_nothing_and_can_be_cancelled() {
    let mut server = slow_children().start().unwrap();
    said(&server, "PERSIST.SET k 1", "OK");
    let child = stuck_child(&server, "PERSIST.BGSAVE");
    // Longer than the child would have taken.
    wait_info(&server, "rdb_current_bgsave_time_sec", "2");
    said(&server, "PERSIST.SET k 2", "OK");
    said(&server, "SET host 1", "OK");
    said(&server, "PERSIST.SYNC 20000", "1");
    said(
        &server,
        "PERSIST.SAVE",
        "Background save already in progress",
    );
    said(&server, "PERSIST.BGSAVE", "already in progress");
    said(&server, "PERSIST.REWRITE", "rewriting scheduled");
    assert_eq!(info(&server, "rdb_bgsave_in_progress"), "1");
    assert!(lives(child));
    said(&server, "PERSIST.BGSAVE CANCEL", "cancelled");
    assert_eq!(info(&server, "rdb_bgsave_in_progress"), "0");
    assert_eq!(info(&server, "rdb_last_bgsave_status"), "ok");
    wait_until("the child's end", LIMIT, || Ok(!lives(child))).unwrap();
    // What waited for it goes on.
    wait_info(&server, "aof_rewrites", "1");
    no_temp_files(&server);
    assert!(!server.data_dir().join("persist.rdb").exists());
    said(&server, "PERSIST.BGSAVE SCHEDULE", "Background saving");
    wait_info(&server, "rdb_saves", "1");
    server.restart().unwrap();
    said(&server, "PERSIST.GET k", "2");
}

#[test]
fn a_stuck_child_of_a_rewrite_ends_with_the_log() {
    let mut server = slow_children().start().unwrap();
    said(&server, "PERSIST.SET k 1", "OK");
    let child = stuck_child(&server, "PERSIST.REWRITE");
    said(&server, "PERSIST.SET k 2", "OK");
    said(&server, "PERSIST.BGSAVE", "Another child process is active");
    said(&server, "PERSIST.SAVE", "OK");
    said(&server, "PERSIST.SYNC 20000", "1");
    assert_eq!(info(&server, "aof_rewrite_in_progress"), "1");
    said(&server, "CONFIG SET persist.appendonly no", "OK");
    wait_until("the child's end", LIMIT, || Ok(!lives(child))).unwrap();
    said(&server, "CONFIG SET persist.appendonly yes", "OK");
    said(&server, "PERSIST.SET k 3", "OK");
    wait_info(&server, "aof_turning_on", "0");
    wait_info(&server, "aof_buffer_length", "0");
    no_temp_files(&server);
    server.restart().unwrap();
    said(&server, "PERSIST.GET k", "3");
}

#[test]
fn a_stuck_child_goes_with_its_server() {
    for (command, how) in [
        ("PERSIST.BGSAVE", "kill"),
        ("PERSIST.REWRITE", "kill"),
        ("PERSIST.BGSAVE", "SHUTDOWN"),
        ("PERSIST.REWRITE", "SHUTDOWN"),
    ] {
        let mut server = slow_children().start().unwrap();
        said(&server, "PERSIST.SET k 1", "OK");
        let child = stuck_child(&server, command);
        said(&server, "PERSIST.SET k 2", "OK");
        wait_info(&server, "aof_buffer_length", "0");
        match how {
            "kill" => server.kill9().unwrap(),
            _ => assert!(server.shutdown(false).unwrap().success()),
        }
        wait_until("the child's end", LIMIT, || Ok(!lives(child))).unwrap_or_else(|e| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/status"));
            panic!("{command}, {how}: {e}: {stat:?}\n{}", server.log_tail(20))
        });
        server.set_preload(None).unwrap();
        server.restart().unwrap();
        said(&server, "PERSIST.GET k", "2");
        no_temp_files(&server);
    }
}

/// The most address space that a process may have, in bytes.
fn limit_memory(pid: u32, bytes: libc::rlim_t) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: reads the structure on this stack, and writes nothing.
    let done = unsafe {
        libc::prlimit(
            pid as libc::pid_t,
            libc::RLIMIT_AS,
            &limit,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// The address space that a process has, in bytes.
fn address_space(pid: u32) -> libc::rlim_t {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmSize:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<libc::rlim_t>().unwrap() << 10
}

#[test]
fn a_child_without_memory_is_a_failure_and_the_next_works() {
    // Whatever is freed goes back to the system, so that a child can't live on what its server has left over.
    let frugal = "retain:false,dirty_decay_ms:0,muzzy_decay_ms:0,tcache:false";
    let value = "x".repeat(1 << 20);
    for (command, status, count) in [
        ("PERSIST.BGSAVE", "rdb_last_bgsave_status", "rdb_saves"),
        (
            "PERSIST.REWRITE",
            "aof_last_bgrewrite_status",
            "aof_rewrites",
        ),
    ] {
        let mut server = Server::builder()
            .with_module()
            .config("persist.auto-aof-rewrite-percentage", "0")
            .env("MALLOC_CONF", frugal)
            .env("JE_MALLOC_CONF", frugal)
            // Where the allocator is the system's own; another arena would have address space in reserve.
            .env("GLIBC_TUNABLES", "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=65536:glibc.malloc.trim_threshold=0:glibc.malloc.top_pad=0")
            .start()
            .unwrap();
        let mut client = server.raw().unwrap();
        for i in 0..16 {
            let reply = client
                .command(&["PERSIST.SET", &format!("big{i}"), &value])
                .unwrap();
            assert_eq!(reply, Resp::Simple(b"OK".to_vec()));
        }
        // What the values came through is given back.
        drop(client);
        let mut client = server.raw().unwrap();
        wait_until("the first client's end", LIMIT, || {
            let clients = client.words("INFO clients")?.text().unwrap_or_default();
            Ok(clients.contains("connected_clients:1\r"))
        })
        .unwrap();
        // Enough for a command, not for a block of a snapshot; the child inherits it.
        limit_memory(server.pid(), address_space(server.pid()) + (128 << 10));
        let reply = client.words(command).unwrap().to_string();
        assert!(reply.contains("started"), "{reply}");
        wait_until("the fork", LIMIT, || {
            Ok(server.log().contains("started by pid"))
        })
        .unwrap();
        limit_memory(server.pid(), libc::RLIM_INFINITY);
        wait_info(&server, status, "err");
        no_temp_files(&server);
        assert_eq!(info(&server, count), "0");
        said(&server, "PERSIST.SET k 1", "OK");
        said(&server, command, "started");
        wait_info(&server, count, "1");
        assert_eq!(info(&server, status), "ok");
        said(&server, "PERSIST.SET k 2", "OK");
        wait_info(&server, "aof_buffer_length", "0");
        server.restart().unwrap();
        said(&server, "PERSIST.GET k", "2");
        said(&server, "PERSIST.STRLEN big15", "1048576");
    }
}

/// Before its last snapshot the host ends our child without a word, and if that snapshot fails it goes on.
#[test]
fn a_shutdown_that_fails_after_it_ended_our_child() {
    for (command, progress, count) in [
        ("PERSIST.BGSAVE", "rdb_bgsave_in_progress", "rdb_saves"),
        ("PERSIST.REWRITE", "aof_rewrite_in_progress", "aof_rewrites"),
    ] {
        let mut server = slow_children()
            .config("save", "3600 1")
            .config("persist.appendfsync", "always")
            .start()
            .unwrap();
        said(&server, "PERSIST.SET k 1", "OK");
        said(&server, command, "started");
        wait_until("a child", LIMIT, || Ok(!server.children().is_empty())).unwrap();
        let in_the_way = server.data_dir().join("dump.rdb");
        std::fs::create_dir(&in_the_way).unwrap();
        said(&server, "SHUTDOWN", "Errors trying to SHUTDOWN");
        wait_info(&server, progress, "0");
        no_temp_files(&server);
        said(&server, "PERSIST.SET k 2", "OK");
        said(&server, command, "started");
        wait_info(&server, count, "1");
        // With FORCE it ends all the same.
        server.raw().unwrap().send(&["SHUTDOWN", "FORCE"]).unwrap();
        assert!(server.wait_for_exit().unwrap().success());
        std::fs::remove_dir(&in_the_way).unwrap();
        server.restart().unwrap();
        said(&server, "PERSIST.GET k", "2");
    }
}
