//! Each way to end a server, also late, on a broken disk and with a lagging replica.

use super::*;

/// Ends it by a command or a signal.
pub fn end(server: &mut Server, how: &str) {
    match how {
        "SIGTERM" => server.signal(libc::SIGTERM).unwrap(),
        "SIGINT" => server.signal(libc::SIGINT).unwrap(),
        words => {
            let argv: Vec<&str> = words.split(' ').collect();
            server.raw().unwrap().send(&argv).unwrap();
        }
    }
    let status = server.wait_for_exit();
    let status = status.unwrap_or_else(|e| panic!("{how}: {e}\n{}", server.log_tail(30)));
    assert!(status.success(), "{how}: {status}");
}

const FORMS: [&str; 9] = [
    "SHUTDOWN",
    "SHUTDOWN SAVE",
    "SHUTDOWN NOSAVE",
    "SHUTDOWN NOW",
    "SHUTDOWN FORCE",
    "SHUTDOWN SAVE NOW FORCE",
    "SHUTDOWN NOSAVE NOW FORCE",
    "SIGTERM",
    "SIGINT",
];

#[test]
fn a_server_with_a_log_can_be_ended_in_every_form() {
    for policy in ["always", "everysec", "no"] {
        let mut server = Server::builder()
            .with_module()
            .config("persist.appendfsync", policy)
            .start()
            .unwrap();
        for (n, how) in FORMS.into_iter().enumerate() {
            said(&server, "PERSIST.INCR n", &(n + 1).to_string());
            end(&mut server, how);
            // A marked end: this was no crash.
            let manifest = server.data_dir().join("persist-aof/persist.aof.manifest");
            let manifest = std::fs::read_to_string(manifest).unwrap();
            let last = manifest.lines().rfind(|line| line.contains(" type i"));
            assert!(
                last.is_some_and(|line| line.contains(" last ")),
                "{how}: {manifest}"
            );
            assert!(!server.data_dir().join("persist.rdb").exists(), "{how}");
            server.restart().unwrap();
            said(&server, "PERSIST.GET n", &(n + 1).to_string());
        }
    }
}

/// Without a log: saved with save points, and by whoever ends it with SAVE.
#[test]
fn a_server_without_a_log_is_saved_at_its_end() {
    for (save, host_save, forms) in [
        ("3600 100000", "", &FORMS[..]),
        ("", "", &["SHUTDOWN SAVE", "SHUTDOWN SAVE NOW FORCE"][..]),
        ("", "3600 1", &["SHUTDOWN", "SHUTDOWN SAVE", "SIGTERM"][..]),
    ] {
        let mut server = Server::builder()
            .with_module()
            .config("save", host_save)
            .config("persist.appendonly", "no")
            .config("persist.save", save)
            .start()
            .unwrap();
        for (n, how) in forms.iter().enumerate() {
            said(&server, "PERSIST.INCR n", &(n + 1).to_string());
            end(&mut server, how);
            server.restart().unwrap();
            let reply = server.words("PERSIST.GET n").unwrap();
            assert_eq!(
                reply.text().as_deref(),
                Some((n + 1).to_string().as_str()),
                "{how}, save {save:?}, the host's {host_save:?}"
            );
        }
        // A snapshot in the same pass as a shutdown is none at the end, but nothing is lost by one more; one before is.
        if save.is_empty() {
            said(&server, "SAVE", "OK");
            said(&server, "PERSIST.INCR n", &(forms.len() + 1).to_string());
            end(&mut server, "SHUTDOWN NOSAVE");
            server.restart().unwrap();
            said(&server, "PERSIST.GET n", &forms.len().to_string());
        }
    }
}

#[test]
fn with_shutdown_on_sigterm_set_nothing_is_lost() {
    for how in ["nosave", "save", "now force", "nosave now"] {
        let mut server = Server::builder()
            .with_module()
            .config("shutdown-on-sigterm", how)
            .start()
            .unwrap();
        said(&server, "PERSIST.SET k 1", "OK");
        end(&mut server, "SIGTERM");
        server.restart().unwrap();
        said(&server, "PERSIST.GET k", "1");
    }
}

/// SHUTDOWN NOSAVE is how a script is ended that has written and doesn't end: nothing of it may be found, and all that was
/// before it, also in its pass.
#[test]
fn a_script_that_is_ended_by_a_shutdown_leaves_nothing_half_done() {
    let script = "redis.call('PERSIST.SET', 'half', 1) while true do end";
    for (appendonly, policy) in [
        ("yes", "always"),
        ("yes", "everysec"),
        ("yes", "no"),
        ("no", "no"),
    ] {
        for in_multi in [false, true] {
            let told = format!("appendonly {appendonly}, {policy}, in MULTI: {in_multi}");
            let mut server = Server::builder()
                .with_module()
                .config("persist.appendonly", appendonly)
                .config("persist.appendfsync", policy)
                .config("persist.save", "3600 1")
                .config("busy-reply-threshold", "20")
                .start()
                .unwrap();
            said(&server, "PERSIST.SET before 1", "OK");
            said(&server, "PERSIST.SAVE", "OK");
            let (mut first, mut scripter) = (server.raw().unwrap(), server.raw().unwrap());
            said(&server, "PERSIST.SET seen 1", "OK");
            // One of another client in the same pass, and a script that ends.
            server.signal(libc::SIGSTOP).unwrap();
            first.send(&["PERSIST.SET", "first", "1"]).unwrap();
            std::thread::sleep(Duration::from_millis(30));
            if in_multi {
                scripter.send(&["MULTI"]).unwrap();
                scripter.send(&["PERSIST.SET", "half", "0"]).unwrap();
            }
            scripter.send(&["EVAL", script, "0"]).unwrap();
            if in_multi {
                scripter.send(&["EXEC"]).unwrap();
            }
            server.signal(libc::SIGCONT).unwrap();
            let mut ender = server.raw().unwrap();
            wait_until("the script to be busy", LIMIT, || {
                Ok(ender.words("PING")?.is_error())
            })
            .unwrap();
            let answered = first.try_read(Duration::from_millis(100)).unwrap();
            end(&mut server, "SHUTDOWN NOSAVE");
            server.restart().unwrap();
            let found = server.words("PERSIST.EXISTS half").unwrap();
            assert_eq!(found, Resp::Int(0), "{told}\n{}", server.log_tail(30));
            said(&server, "PERSIST.GET before", "1");
            if appendonly == "yes" {
                said(&server, "PERSIST.GET seen", "1");
                if answered.is_some_and(|reply| !reply.is_error()) {
                    said(&server, "PERSIST.GET first", "1");
                }
            }
        }
    }
}

/// The log can't take what is left: a snapshot does, if it can.
#[test]
fn a_log_that_fails_at_the_end_is_rescued_by_a_snapshot() {
    let builder = Server::builder().config("persist.appendfsync", "everysec");
    let preload = Preload::new().fail_path("/persist-aof/");
    let (_dir, mut server, control) = with_faults(builder, preload);
    said(&server, "PERSIST.SET a 1", "OK");
    let broken = Faults {
        fail_write: ENOSPC,
        ..Faults::default()
    };
    broken.apply(&control).unwrap();
    // Acknowledged, since nothing is known yet; then no more.
    let mut last = 0;
    wait_until("writes to be refused", LIMIT, || {
        let reply = server.words(&format!("PERSIST.SET b {}", last + 1))?;
        if !reply.is_error() {
            last += 1;
        }
        Ok(reply.is_error())
    })
    .unwrap();
    end(&mut server, "SHUTDOWN");
    assert!(
        server.log().contains("DB saved on disk"),
        "{}",
        server.log_tail(20)
    );
    Faults::default().apply(&control).unwrap();
    server.restart().unwrap();
    said(&server, "PERSIST.GET a", "1");
    if last > 0 {
        said(&server, "PERSIST.GET b", &last.to_string());
    }
    said(&server, "PERSIST.SET c 1", "OK");
    server.restart().unwrap();
    said(&server, "PERSIST.GET c", "1");
}

/// Nothing can be written at all: the server ends, and what is lost is told.
#[test]
fn on_a_broken_disk_the_server_ends_all_the_same() {
    let (_dir, mut server, control) = with_faults(
        Server::builder().config("persist.appendfsync", "always"),
        Preload::new().fail_path("/data/"),
    );
    said(&server, "PERSIST.SET a 1", "OK");
    let broken = Faults {
        fail_write: ENOSPC,
        fail_fsync: true,
        ..Faults::default()
    };
    broken.apply(&control).unwrap();
    // Cut off, or told by who could hold the reply back.
    let reply = server.words("PERSIST.SET b 1");
    assert!(reply.as_ref().map_or(true, Resp::is_error), "{reply:?}");
    end(&mut server, "SHUTDOWN NOSAVE");
    assert!(
        server.log().contains("Error saving DB on disk"),
        "{}",
        server.log_tail(20)
    );
    Faults::default().apply(&control).unwrap();
    server.restart().unwrap();
    said(&server, "PERSIST.GET a", "1");
    no_temp_files(&server);
}

/// A master and a replica that has stopped listening, with something that it lacks.
fn lagging(timeout: &str) -> (Server, Server) {
    let master = slow_children()
        .config("shutdown-timeout", timeout)
        .config("repl-diskless-sync-delay", "0")
        .start()
        .unwrap();
    let replica = Server::builder().start().unwrap();
    said(
        &replica,
        &format!("REPLICAOF 127.0.0.1 {}", master.port()),
        "OK",
    );
    wait_until("the replica", LIMIT, || {
        Ok(replica.info("master_link_status")? == "up"
            && master.info("slave0")?.contains("state=online")
            // The child that wrote for it has left the slot.
            && master.info("rdb_bgsave_in_progress")? == "0")
    })
    .unwrap();
    replica.signal(libc::SIGSTOP).unwrap();
    said(&master, "SET host 1", "OK");
    said(&master, "PERSIST.SET k 1", "OK");
    (master, replica)
}

#[test]
fn a_shutdown_that_waits_for_a_replica_can_be_aborted() {
    let (mut master, _replica) = lagging("1000");
    said(&master, "PERSIST.SET due x PX 200", "OK");
    let child = stuck_child(&master, "PERSIST.BGSAVE");
    let mut ender = master.raw().unwrap();
    ender.send(&["SHUTDOWN"]).unwrap();
    wait_until("the shutdown to wait", LIMIT, || {
        Ok(master.info("shutdown_in_milliseconds").is_ok())
    })
    .unwrap();
    // Reads are answered, writes wait; and what is due is gone, though nothing may be written now.
    said(&master, "PERSIST.GET k", "1");
    let mut writer = master.raw().unwrap();
    writer.send(&["PERSIST.SET", "k", "2"]).unwrap();
    wait_until("the expiry", LIMIT, || {
        Ok(master.words("PERSIST.GET due")?.text().is_none())
    })
    .unwrap();
    said(&master, "PERSIST.GET k", "1");
    // The child goes on, and its end is told.
    kill(child, libc::SIGCONT);
    wait_info(&master, "rdb_saves", "1");
    said(&master, "SHUTDOWN ABORT", "OK");
    assert!(ender.read().unwrap().is_error());
    assert_eq!(writer.read().unwrap(), Resp::Simple(b"OK".to_vec()));
    said(&master, "PERSIST.GET k", "2");
    said(&master, "PERSIST.SET k 3", "OK");
    end(&mut master, "SHUTDOWN NOW");
    master.restart().unwrap();
    said(&master, "PERSIST.GET k", "3");
}

#[test]
fn a_shutdown_that_waited_for_a_replica_loses_nothing() {
    for how in ["SHUTDOWN", "SIGTERM"] {
        let (mut master, _replica) = lagging("1");
        stuck_child(&master, "PERSIST.REWRITE");
        let mut writer = master.raw().unwrap();
        let begun = Instant::now();
        end(&mut master, how);
        assert!(begun.elapsed() >= Duration::from_millis(500));
        let refused = writer.words("PERSIST.SET k 2");
        assert!(refused.is_err(), "{refused:?}");
        master.set_preload(None).unwrap();
        master.restart().unwrap();
        said(&master, "PERSIST.GET k", "1");
        no_temp_files(&master);
    }
}
