//! What a server's life brings: children that hang, die or run out of memory, clocks that jump while it runs, each way to
//! end it, ends that come late or not at all, processes that replace themselves, and another server's data.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use persist_tools::preload::{Faults, Preload};
use persist_tools::raw::Resp;
use persist_tools::server::{Builder, Server, server_binary, wait_until};

const LIMIT: Duration = Duration::from_secs(30);
const ENOSPC: i32 = 28;

fn said(server: &Server, command: &str, text: &str) {
    let reply = server.words(command).unwrap().to_string();
    assert!(
        reply.contains(text),
        "{command}: {reply}\n{}",
        server.log_tail(30)
    );
}

fn info(server: &Server, field: &str) -> String {
    server.persist_info(field).unwrap()
}

fn wait_info(server: &Server, field: &str, value: &str) {
    wait_until(&format!("{field}:{value}"), LIMIT, || {
        Ok(server.persist_info(field)? == value)
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", server.log_tail(30)));
}

fn kill(pid: u32, signal: i32) {
    // SAFETY: kill(2) touches no memory of ours.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|text| !text.contains(") Z"))
}

fn no_temp_files(server: &Server) {
    wait_until("temporary files to go", LIMIT, || {
        Ok(temp_files(server).is_empty())
    })
    .unwrap();
}

/// A server whose faults are switched by the file.
fn with_faults(builder: Builder, preload: Preload) -> (tempfile::TempDir, Server, PathBuf) {
    let dir = tempfile::Builder::new()
        .prefix("lifecycle-")
        .tempdir()
        .unwrap();
    let control = dir.path().join("control");
    let server = builder
        .with_module()
        .dir(dir.path())
        .preload(preload.control(&control))
        .start()
        .unwrap();
    (dir, server, control)
}

// ---------------------------------------------------------------------------------------------------------------------
// Children.

/// Each fsync of a child takes long enough to catch it there.
fn slow_children() -> Builder {
    Server::builder()
        .with_module()
        .preload(Preload::new().slow_fsync_ms(300).slow_path("temp-"))
}

fn temp_files(server: &Server) -> Vec<String> {
    let dirs = [server.data_dir(), server.data_dir().join("persist-aof")];
    dirs.iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flat_map(|entries| entries.flatten())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("temp-persist-"))
        .collect()
}

/// The child that `command` begins, stopped when it is at its work.
fn stuck_child(server: &Server, command: &str) -> u32 {
    said(server, command, "started");
    wait_until("a child", LIMIT, || {
        Ok(!server.children().is_empty() && !temp_files(server).is_empty())
    })
    .unwrap();
    let child = server.children()[0];
    kill(child, libc::SIGSTOP);
    child
}

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
        wait_until("the child's end", LIMIT, || Ok(!lives(child))).unwrap();
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
            .start()
            .unwrap();
        let mut client = server.raw().unwrap();
        for i in 0..16 {
            let reply = client
                .command(&["PERSIST.SET", &format!("big{i}"), &value])
                .unwrap();
            assert_eq!(reply, Resp::Simple(b"OK".to_vec()));
        }
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

// ---------------------------------------------------------------------------------------------------------------------
// Clocks that jump.

fn jump(control: &Path, seconds: i64) {
    let faults = Faults {
        clock_shift_s: seconds,
        ..Faults::default()
    };
    faults.apply(control).unwrap();
}

fn now(server: &Server) -> i64 {
    let reply = server.words("TIME").unwrap();
    match &reply {
        Resp::Array(parts) => parts[0].text().unwrap().parse().unwrap(),
        other => panic!("TIME: {other}"),
    }
}

/// Waits until the server sees the jump, which the library looks at every few ms.
fn jumps(server: &Server, control: &Path, seconds: i64, to: i64) {
    jump(control, seconds);
    wait_until("the jump", LIMIT, || Ok((now(server) - to).abs() < 600)).unwrap();
}

/// The times of all groups in the log, in its order.
fn group_times(server: &Server) -> Vec<u64> {
    let dir = server.data_dir().join("persist-aof");
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .collect();
    files.sort();
    let bytes: Vec<u8> = files
        .iter()
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect();
    String::from_utf8_lossy(&bytes)
        .lines()
        .filter(|line| line.starts_with("#PG1 "))
        .map(|line| {
            let field = line.split(" t=").nth(1).unwrap();
            field.split(' ').next().unwrap().parse().unwrap()
        })
        .collect()
}

#[test]
fn the_clock_jumps_under_a_running_server() {
    let (_dir, mut server, control) = with_faults(Server::builder(), Preload::new());
    let real = now(&server);
    said(&server, "PERSIST.SET short x EX 600", "OK");
    said(&server, "PERSIST.SET long x EX 100000", "OK");
    for (at, seconds) in [3_600, -3_600, 0, -86_400 * 400, 86_400 * 400, 0]
        .into_iter()
        .enumerate()
    {
        jumps(&server, &control, seconds, real + seconds);
        let key = format!("at{at}");
        said(&server, &format!("PERSIST.SET {key} {seconds}"), "OK");
        // Synced by the stopwatch, not by the clock.
        wait_info(&server, "at_risk_bytes", "0");
        said(&server, &format!("PERSIST.SET {key} {seconds}"), "OK");
        said(&server, "PERSIST.SYNC 20000", "1");
        let at_risk: u64 = info(&server, "at_risk_ms").parse().unwrap();
        assert!(at_risk < 20_000, "{at_risk}");
        // Ended an hour on, and not back again when the clock is.
        said(&server, "PERSIST.EXISTS short", "0");
        if seconds.abs() < 86_400 && at < 4 {
            said(&server, "PERSIST.EXISTS long", "1");
        }
    }
    said(&server, "PERSIST.EXISTS long", "0");
    let times = group_times(&server);
    assert!(times.len() > 8, "{times:?}");
    assert!(times.is_sorted(), "{times:?}");
    server.set_preload(None).unwrap();
    server.restart().unwrap();
    said(&server, "PERSIST.EXISTS at0 at1 at2 at3 at4 at5", "6");
    said(&server, "PERSIST.EXISTS short long", "0");
}

#[test]
fn save_points_hold_when_the_clock_jumps() {
    let builder = Server::builder()
        .config("persist.appendonly", "no")
        .config("persist.save", "1000 1");
    let (_dir, mut server, control) =
        with_faults(builder, Preload::new().fail_path("temp-persist"));
    let real = now(&server);
    said(&server, "PERSIST.SET k 1", "OK");
    // An hour on: the change is no older for that.
    jumps(&server, &control, 3_600, real + 3_600);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(info(&server, "rdb_saves"), "0");
    assert_eq!(info(&server, "rdb_bgsave_in_progress"), "0");
    // An hour back: it is saved when its time has come.
    jumps(&server, &control, -3_600, real - 3_600);
    let mut client = server.raw().unwrap();
    let reply = client.command(&["CONFIG", "SET", "persist.save", "2 1"]);
    assert_eq!(reply.unwrap(), Resp::Simple(b"OK".to_vec()));
    wait_info(&server, "rdb_saves", "1");
    // A failed one is tried again, whatever the clock does meanwhile.
    let broken = Faults {
        clock_shift_s: 0,
        fail_write: ENOSPC,
        ..Faults::default()
    };
    broken.apply(&control).unwrap();
    said(&server, "PERSIST.SET k 2", "OK");
    wait_info(&server, "rdb_last_bgsave_status", "err");
    jumps(&server, &control, -3_600, real - 3_600);
    wait_info(&server, "rdb_last_bgsave_status", "ok");
    server.restart().unwrap();
    said(&server, "PERSIST.GET k", "2");
}

// ---------------------------------------------------------------------------------------------------------------------
// The server's end.

/// Ends it by a command or a signal.
fn end(server: &mut Server, how: &str) {
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
    assert!(server.words("PERSIST.SET b 1").is_err());
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
            && master.info("slave0")?.contains("state=online"))
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

// ---------------------------------------------------------------------------------------------------------------------
// Processes that replace themselves or break down.

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

// ---------------------------------------------------------------------------------------------------------------------
// Another server's data.

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
