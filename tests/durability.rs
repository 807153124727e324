//! What stays when the server dies at any step, when its clock jumps, and when its disk fails.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use persist_tools::preload::{Faults, Preload};
use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::{Server, wait_until};
use persist_tools::{Error, Result};

const LIMIT: Duration = Duration::from_secs(30);

fn said(server: &Server, command: &str, text: &str) {
    let reply = server.words(command).unwrap().to_string();
    assert!(reply.contains(text), "{command}: {reply}");
}

fn wait_info(server: &Server, field: &str, value: &str) {
    wait_until(&format!("{field}:{value}"), LIMIT, || {
        Ok(server.persist_info(field)? == value)
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", server.log_tail(30)));
}

// ---------------------------------------------------------------------------------------------------------------------
// Killed at each step.

/// What is promised, while commands go well.
#[derive(Default)]
struct Kept {
    written: BTreeSet<&'static str>,
    promised: BTreeSet<&'static str>,
    log: bool,
}

impl Kept {
    fn set(&mut self, client: &mut RawClient, key: &'static str) -> Result<()> {
        ok(client, &format!("PERSIST.SET {key} {key}"))?;
        self.written.insert(key);
        if self.log {
            self.promised.insert(key);
        }
        Ok(())
    }

    fn save(&mut self, client: &mut RawClient) -> Result<()> {
        ok(client, "PERSIST.SAVE")?;
        self.promised = self.written.clone();
        Ok(())
    }

    fn off(&mut self, client: &mut RawClient) -> Result<()> {
        self.log = false;
        ok(client, "CONFIG SET persist.appendonly no")
    }

    fn on(&mut self, client: &mut RawClient) -> Result<()> {
        ok(client, "CONFIG SET persist.appendonly yes")?;
        until(client, "aof_turning_on:0\r\naof_current_size")?;
        self.log = true;
        self.promised = self.written.clone();
        Ok(())
    }
}

fn ok(client: &mut RawClient, command: &str) -> Result<()> {
    let reply = client.words(command)?;
    // An error is no crash: the sequence must go through on a good disk.
    assert!(!reply.is_error(), "{command}: {reply}");
    Ok(())
}

fn until(client: &mut RawClient, text: &str) -> Result<()> {
    wait_until(text, LIMIT, || {
        let info = client.words("PERSIST.INFO")?.text().unwrap_or_default();
        Ok(info.contains(text))
    })?;
    Ok(())
}

/// The log on, off and on again, with a rewrite and saves between. An error: the server is gone.
fn sequence(client: &mut RawClient, kept: &mut Kept) -> Result<()> {
    kept.on(client)?;
    kept.set(client, "k1")?;
    ok(client, "PERSIST.REWRITE")?;
    kept.set(client, "k2")?;
    until(client, "aof_rewrites:2\r\n")?;
    kept.set(client, "k3")?;
    kept.off(client)?;
    kept.set(client, "k4")?;
    kept.save(client)?;
    kept.set(client, "k5")?;
    kept.on(client)?;
    kept.set(client, "k6")?;
    kept.off(client)?;
    kept.set(client, "k7")?;
    kept.on(client)?;
    kept.set(client, "k8")
}

/// Plays the sequence and kills the server just before its n-th change on disk; `false` when it had fewer.
fn killed_at(n: u64) -> bool {
    let dir = tempfile::Builder::new().prefix("steps-").tempdir().unwrap();
    let control = dir.path().join("control");
    let mut preload = Preload::new().control(&control).kill_path("/data");
    if n.is_multiple_of(3) {
        preload = preload.kill_torn();
    }
    let mut server = Server::builder()
        .with_module()
        .dir(dir.path())
        .config("persist.appendonly", "no")
        .config("persist.appendfsync", "always")
        .preload(preload)
        .start()
        .unwrap();
    let mut client = server.raw().unwrap();
    let mut kept = Kept::default();
    kept.set(&mut client, "k0").unwrap();
    kept.save(&mut client).unwrap();
    let faults = Faults {
        kill_at: n,
        ..Faults::default()
    };
    faults.apply(&control).unwrap();
    let done = sequence(&mut client, &mut kept);
    if done.is_ok() {
        server.kill9().unwrap();
    } else {
        assert!(!server.wait_for_exit().unwrap().success());
    }
    server.set_preload(None).unwrap();
    // Both ways to start must work, with everything promised; the second finds what the first made of it.
    let ways = if n.is_multiple_of(2) {
        ["no", "yes"]
    } else {
        ["yes", "no"]
    };
    for way in ways.into_iter().chain(["yes"]) {
        server.set_config("persist.appendonly", way).unwrap();
        server
            .restart()
            .unwrap_or_else(|e| panic!("killed at change {n}, appendonly {way}: {e}"));
        for key in &kept.promised {
            let found = server.words(&format!("PERSIST.GET {key}")).unwrap();
            assert_eq!(
                found,
                Resp::Bulk(key.as_bytes().to_vec()),
                "killed at change {n}, appendonly {way}: {key} was promised\n{}",
                server.log_tail(30)
            );
        }
        if way == "yes" {
            said(&server, "PERSIST.SET after 1", "OK");
        }
    }
    server.restart().unwrap();
    said(&server, "PERSIST.GET after", "1");
    done.is_err()
}

#[test]
fn a_server_killed_at_each_step_of_turning_the_log_on_and_off_keeps_its_promises() {
    let (next, over) = (AtomicU64::new(1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    if !killed_at(n) {
                        over.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let steps = next.load(Ordering::SeqCst);
    println!("{steps} steps");
    assert!((60..1000).contains(&steps), "{steps} steps");
}

// ---------------------------------------------------------------------------------------------------------------------
// Clocks that jump.

fn restart_at(server: &mut Server, shift: i64) {
    server.kill9().unwrap();
    let preload = Preload::new().clock_shift(shift);
    server.set_preload(Some(&preload)).unwrap();
    server.restart().unwrap();
}

fn int(server: &Server, command: &str) -> i64 {
    match server.words(command).unwrap() {
        Resp::Int(n) => n,
        other => panic!("{command}: {other}"),
    }
}

/// How the data gets over the restart.
fn clock_jumps(config: &[(&str, &str)], save: &str) {
    let builder = Server::builder().with_module();
    let mut server = config
        .iter()
        .fold(builder, |b, (name, value)| b.config(name, value))
        .start()
        .unwrap();
    let kept = |server: &Server| match save {
        "" => {}
        "PERSIST.SAVE" => said(server, save, "OK"),
        _ => {
            let before: i64 = server
                .persist_info("aof_rewrites")
                .unwrap()
                .parse()
                .unwrap();
            said(server, save, "Background");
            wait_info(server, "aof_rewrites", &(before + 1).to_string());
        }
    };
    said(&server, "PERSIST.SET short x EX 100", "OK");
    said(&server, "PERSIST.SET n 5 EX 100", "OK");
    said(&server, "PERSIST.SET long x EX 100000", "OK");
    said(&server, "PERSIST.RPUSH list a b", "2");
    said(&server, "PERSIST.EXPIRE list 100000", "1");
    let long_at = int(&server, "PERSIST.PEXPIRETIME long");
    let list_at = int(&server, "PERSIST.PEXPIRETIME list");
    kept(&server);

    // Forward past the short ones' end: they are gone, and stay gone.
    restart_at(&mut server, 1000);
    assert_eq!(int(&server, "PERSIST.EXISTS short n long list"), 2);
    assert_eq!(int(&server, "PERSIST.PEXPIRETIME long"), long_at);
    assert_eq!(int(&server, "PERSIST.INCR n"), 1);
    assert_eq!(int(&server, "PERSIST.TTL n"), -1);
    said(&server, "PERSIST.SET later x EX 100", "OK");
    let later_at = int(&server, "PERSIST.PEXPIRETIME later");
    kept(&server);

    // Back again: what ended doesn't come back, and INCR isn't replayed onto the old value.
    restart_at(&mut server, 0);
    assert_eq!(int(&server, "PERSIST.EXISTS short"), 0);
    said(&server, "PERSIST.GET n", "1");
    assert_eq!(int(&server, "PERSIST.TTL n"), -1);
    assert_eq!(int(&server, "PERSIST.PEXPIRETIME later"), later_at);
    assert_eq!(int(&server, "PERSIST.PEXPIRETIME list"), list_at);
    said(&server, "PERSIST.APPEND n 7", "2");
    kept(&server);

    // Before all of it, and written to there: the log's own time doesn't go back, and order is by number, not by time.
    restart_at(&mut server, -5000);
    said(&server, "PERSIST.GET n", "17");
    said(&server, "PERSIST.SET early x EX 100", "OK");
    said(&server, "PERSIST.SET n 20 KEEPTTL", "OK");
    kept(&server);
    restart_at(&mut server, -5000);
    assert_eq!(int(&server, "PERSIST.EXISTS early later long n list"), 5);
    said(&server, "PERSIST.GET n", "20");
    kept(&server);

    restart_at(&mut server, 0);
    assert_eq!(int(&server, "PERSIST.EXISTS early"), 0);
    assert_eq!(int(&server, "PERSIST.EXISTS later long n list"), 4);
    restart_at(&mut server, 200_000);
    assert_eq!(int(&server, "PERSIST.DBSIZE"), 1);
    said(&server, "PERSIST.GET n", "20");
}

#[test]
fn the_clock_jumps_over_the_log() {
    clock_jumps(&[("persist.appendfsync", "always")], "");
}

#[test]
fn the_clock_jumps_over_snapshots() {
    clock_jumps(&[("persist.appendonly", "no")], "PERSIST.SAVE");
}

#[test]
fn the_clock_jumps_over_rewritten_logs() {
    clock_jumps(&[("persist.appendfsync", "always")], "PERSIST.REWRITE");
    let commands = [
        ("persist.appendfsync", "always"),
        ("persist.aof-use-rdb-preamble", "no"),
    ];
    clock_jumps(&commands, "PERSIST.REWRITE");
}

// ---------------------------------------------------------------------------------------------------------------------
// Disks that fail.

const ENOSPC: i32 = 28;

fn faulty(policy: &str, path: &str) -> (tempfile::TempDir, Server, std::path::PathBuf) {
    let dir = tempfile::Builder::new()
        .prefix("faults-")
        .tempdir()
        .unwrap();
    let control = dir.path().join("control");
    let server = Server::builder()
        .with_module()
        .dir(dir.path())
        .config("persist.appendfsync", policy)
        .preload(Preload::new().control(&control).fail_path(path))
        .start()
        .unwrap();
    (dir, server, control)
}

fn fail(control: &Path, fail_fsync: bool, fail_write: i32) {
    let faults = Faults {
        fail_fsync,
        fail_write,
        ..Faults::default()
    };
    faults.apply(control).unwrap();
}

/// One SET; was it acknowledged? An error or a closed connection is none.
fn acknowledged(server: &Server, key: &str) -> bool {
    match server.words(&format!("PERSIST.SET {key} {key}")) {
        Ok(reply) if reply.is_error() => {
            assert!(reply.to_string().contains("MISCONF"), "{reply}");
            false
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

fn assert_holds(server: &Server, keys: &[String]) {
    for key in keys {
        let found = server.words(&format!("PERSIST.GET {key}")).unwrap();
        assert_eq!(
            found,
            Resp::Bulk(key.as_bytes().to_vec()),
            "{key} was acknowledged"
        );
    }
}

/// Nothing can be written or synced for a while.
fn a_disk_fails_and_heals(policy: &str, fail_fsync: bool, fail_write: i32) {
    let (_dir, mut server, control) = faulty(policy, "/data/");
    let mut kept = Vec::new();
    for round in 0..2 {
        for i in 0..5 {
            let key = format!("good-{round}-{i}");
            assert!(acknowledged(&server, &key));
            kept.push(key);
        }
        fail(&control, fail_fsync, fail_write);
        if policy == "always" {
            for i in 0..5 {
                let key = format!("bad-{round}-{i}");
                assert!(
                    !acknowledged(&server, &key),
                    "{key} was acknowledged by a disk that failed"
                );
            }
        } else {
            // Until the failure is seen, writes are acknowledged; then no more.
            wait_until("writes to be refused", LIMIT, || {
                let key = format!("between-{round}-{}", kept.len());
                let good = acknowledged(&server, &key);
                if good {
                    kept.push(key);
                }
                Ok(!good)
            })
            .unwrap();
        }
        let reply = server.words("PERSIST.SET x 1").unwrap().to_string();
        assert!(reply.contains("MISCONF"), "{reply}");
        assert_eq!(server.persist_info("aof_last_write_status").unwrap(), "err");
        // Whatever else is well.
        assert_holds(&server, &kept);
        said(&server, "PING", "PONG");
        fail(&control, false, 0);
        wait_info(&server, "aof_last_write_status", "ok");
        assert_holds(&server, &kept);
    }
    let last = "last".to_owned();
    assert!(acknowledged(&server, &last));
    kept.push(last);
    server.set_preload(None).unwrap();
    server.restart().unwrap();
    assert_holds(&server, &kept);
}

#[test]
fn fsync_fails_under_always() {
    a_disk_fails_and_heals("always", true, 0);
}

#[test]
fn the_disk_is_full_under_always() {
    a_disk_fails_and_heals("always", false, ENOSPC);
}

/// Whatever runs the command: its reply is no reply, or says that it failed.
#[test]
fn nothing_that_runs_commands_is_acknowledged_by_a_disk_that_failed() {
    let script = "return redis.call('PERSIST.SET', KEYS[1], 'x')";
    let eval = ["EVAL", script, "1", "key"];
    let ways: [(&str, &[&[&str]]); 5] = [
        ("a script", &[&eval]),
        (
            "a transaction",
            &[&["MULTI"], &["PERSIST.SET", "key", "x"], &["EXEC"]],
        ),
        ("a script in a transaction", &[&["MULTI"], &eval, &["EXEC"]]),
        ("a second script", &[&["EVAL", "return 1", "0"], &eval]),
        ("a command", &[&["PERSIST.SET", "key", "x"]]),
    ];
    for (way, commands) in ways {
        let (_dir, server, control) = faulty("always", "/data/");
        assert!(acknowledged(&server, "good"));
        // Somebody who has run a script before, and waits for nothing.
        let mut bystander = server.raw().unwrap();
        let idle = bystander.command(&["EVAL", "return 1", "0"]).unwrap();
        assert_eq!(idle, Resp::Int(1));
        let mut client = server.raw().unwrap();
        let (last, before) = commands.split_last().unwrap();
        for command in before {
            let reply = client.command(command).unwrap();
            assert!(!reply.is_error(), "{way}: {reply}");
        }
        fail(&control, true, 0);
        // Or it is cut off.
        if let Ok(reply) = client.command(last) {
            let reply = reply.to_string();
            assert!(reply.contains("MISCONF"), "{way} was acknowledged: {reply}");
        }
        assert_eq!(
            server.words("PING").unwrap(),
            Resp::Simple(b"PONG".to_vec())
        );
        assert_eq!(
            bystander.words("PING").unwrap(),
            Resp::Simple(b"PONG".to_vec())
        );
        fail(&control, false, 0);
        wait_info(&server, "aof_last_write_status", "ok");
        assert_holds(&server, &["good".to_owned()]);
    }
}

#[test]
fn fsync_fails_under_everysec() {
    a_disk_fails_and_heals("everysec", true, 0);
}

#[test]
fn the_disk_is_full_under_everysec() {
    a_disk_fails_and_heals("everysec", false, ENOSPC);
}

#[test]
fn the_disk_is_full_under_no() {
    a_disk_fails_and_heals("no", false, ENOSPC);
}

/// One file is bad: another takes its place before the reply leaves.
#[test]
fn a_file_whose_fsync_failed_is_replaced() {
    let (_dir, mut server, control) = faulty("always", ".1.incr.aof");
    assert!(acknowledged(&server, "a"));
    fail(&control, true, 0);
    assert!(acknowledged(&server, "b"));
    assert_eq!(server.persist_info("aof_last_write_status").unwrap(), "ok");
    assert!(acknowledged(&server, "c"));
    // What was never synced there isn't needed: it is in the next file, too.
    let aof = server.data_dir().join("persist-aof");
    let next = std::fs::read(aof.join("persist.aof.2.incr.aof")).unwrap();
    for key in ["\r\nb\r\n", "\r\nc\r\n"] {
        assert!(
            next.windows(key.len()).any(|bytes| bytes == key.as_bytes()),
            "{key:?}"
        );
    }
    server.set_preload(None).unwrap();
    server.restart().unwrap();
    assert_holds(&server, &["a".into(), "b".into(), "c".into()]);
}

#[test]
fn a_snapshot_that_fails_leaves_the_old_one() {
    for (fail_fsync, fail_write) in [(true, 0), (false, ENOSPC)] {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("control");
        let mut server = Server::builder()
            .with_module()
            .dir(dir.path())
            .config("persist.appendonly", "no")
            .config("persist.save", "")
            .preload(Preload::new().control(&control).fail_path("temp-persist"))
            .start()
            .unwrap();
        said(&server, "PERSIST.SET k 1", "OK");
        said(&server, "PERSIST.SAVE", "OK");
        said(&server, "PERSIST.SET k 2", "OK");
        fail(&control, fail_fsync, fail_write);
        assert!(server.words("PERSIST.SAVE").unwrap().is_error());
        assert_eq!(
            server.persist_info("rdb_last_bgsave_status").unwrap(),
            "err"
        );
        said(&server, "PERSIST.BGSAVE", "started");
        wait_until("its end", LIMIT, || {
            Ok(server.persist_info("rdb_bgsave_in_progress")? == "0")
        })
        .unwrap();
        assert_eq!(
            server.persist_info("rdb_last_bgsave_status").unwrap(),
            "err"
        );
        assert_eq!(
            server.persist_info("rdb_changes_since_last_save").unwrap(),
            "1"
        );
        assert_eq!(server.persist_info("rdb_saves").unwrap(), "1");
        wait_until("the temporary file to go", LIMIT, || {
            let entries =
                std::fs::read_dir(server.data_dir()).map_err(|e| Error::new(e.to_string()))?;
            let mut names = entries
                .flatten()
                .map(|e| e.file_name().to_string_lossy().into_owned());
            Ok(!names.any(|name| name.starts_with("temp-persist")))
        })
        .unwrap();
        // Without save points a failed save stops nobody.
        said(&server, "PERSIST.SET k 3", "OK");
        fail(&control, false, 0);
        said(&server, "PERSIST.BGSAVE", "started");
        wait_info(&server, "rdb_saves", "2");
        assert_eq!(server.persist_info("rdb_last_bgsave_status").unwrap(), "ok");
        server.restart().unwrap();
        said(&server, "PERSIST.GET k", "3");
    }
}

#[test]
fn a_failed_save_stops_writes_while_save_points_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("control");
    let server = Server::builder()
        .with_module()
        .dir(dir.path())
        .config("persist.appendonly", "no")
        .config("persist.save", "3600 100000")
        .preload(Preload::new().control(&control).fail_path("temp-persist"))
        .start()
        .unwrap();
    said(&server, "PERSIST.SET k 1", "OK");
    fail(&control, false, ENOSPC);
    said(&server, "PERSIST.BGSAVE", "started");
    wait_info(&server, "rdb_last_bgsave_status", "err");
    said(&server, "PERSIST.SET k 2", "MISCONF");
    said(&server, "PERSIST.GET k", "1");
    said(
        &server,
        "CONFIG SET persist.stop-writes-on-bgsave-error no",
        "OK",
    );
    said(&server, "PERSIST.SET k 2", "OK");
    said(
        &server,
        "CONFIG SET persist.stop-writes-on-bgsave-error yes",
        "OK",
    );
    fail(&control, false, 0);
    said(&server, "PERSIST.SAVE", "OK");
    said(&server, "PERSIST.SET k 3", "OK");
}

#[test]
fn a_rewrite_that_fails_leaves_the_log_as_it_is() {
    for (fail_fsync, fail_write) in [(true, 0), (false, ENOSPC)] {
        let (_dir, mut server, control) = faulty("always", ".base");
        said(&server, "PERSIST.SET k 1", "OK");
        fail(&control, fail_fsync, fail_write);
        said(&server, "PERSIST.REWRITE", "started");
        wait_info(&server, "aof_last_bgrewrite_status", "err");
        said(&server, "PERSIST.SET k 2", "OK");
        fail(&control, false, 0);
        said(&server, "PERSIST.REWRITE", "started");
        wait_info(&server, "aof_rewrites", "1");
        assert_eq!(
            server.persist_info("aof_last_bgrewrite_status").unwrap(),
            "ok"
        );
        said(&server, "PERSIST.SET l 3", "OK");
        server.restart().unwrap();
        said(&server, "PERSIST.GET k", "2");
        said(&server, "PERSIST.GET l", "3");
    }
}

/// Reading a log takes memory for a group at a time, not for files.
#[test]
fn a_long_log_is_read_in_little_memory() {
    const MB: u64 = 1 << 20;
    for preamble in ["yes", "no"] {
        let mut server = Server::builder()
            .with_module()
            .config("persist.auto-aof-rewrite-percentage", "0")
            .config("persist.aof-use-rdb-preamble", preamble)
            .start()
            .unwrap();
        let mut client = server.raw().unwrap();
        let value = vec![b'x'; MB as usize];
        for n in 0..96u8 {
            // Two files.
            if n == 48 {
                said(&server, "PERSIST.REWRITE", "started");
                wait_info(&server, "aof_rewrites", "1");
            }
            let reply = client
                .command(&[&b"PERSIST.SET"[..], b"k", &value])
                .unwrap();
            assert_eq!(reply, Resp::Simple(b"OK".to_vec()));
        }
        let size: u64 = server
            .persist_info("aof_current_size")
            .unwrap()
            .parse()
            .unwrap();
        assert!(size > 48 * MB);
        server.kill9().unwrap();
        server.restart().unwrap();
        assert_eq!(int(&server, "PERSIST.STRLEN k"), MB as i64);
        // Not `used_memory_peak`: the host takes it ten times a second.
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak: u64 = peak
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        println!("{peak} kB at most for a log of {size} bytes");
        assert!(peak * 1024 < 40 * MB, "{peak} kB for a log of {size}");
    }
}
