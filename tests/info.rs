//! INFO, and the commands that save: what they say in every state, and that it is so.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use persist_tools::preload::{Faults, Preload};
use persist_tools::raw::Resp;
use persist_tools::server::{Builder, Server, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

fn ok() -> Resp {
    Resp::Simple(b"OK".to_vec())
}

fn simple(text: &str) -> Resp {
    Resp::Simple(text.as_bytes().to_vec())
}

fn error(text: &str) -> Resp {
    Resp::Error(text.as_bytes().to_vec())
}

fn module() -> Builder {
    Server::builder()
        .with_module()
        .config("persist.auto-aof-rewrite-percentage", "0")
}

/// Snapshots alone.
fn snapshots() -> Builder {
    module().config("persist.appendonly", "no")
}

fn info(server: &Server, field: &str) -> String {
    server.persist_info(field).unwrap()
}

fn number(server: &Server, field: &str) -> u64 {
    let text = info(server, field);
    text.parse().unwrap_or_else(|_| panic!("{field}:{text}"))
}

fn becomes(server: &Server, field: &str, value: &str) {
    let what = format!("{field}:{value}");
    if let Err(error) = wait_until(&what, LIMIT, || Ok(server.persist_info(field)? == value)) {
        panic!(
            "{error}; it is {}\n{}",
            info(server, field),
            server.log_tail(20)
        );
    }
}

fn run(server: &Server, lines: &[(&str, Resp)]) {
    let mut client = server.raw().unwrap();
    for (line, expected) in lines {
        assert_eq!(&client.words(line).unwrap(), expected, "{line}");
    }
}

fn logged(server: &Server, text: &str) {
    wait_until(text, LIMIT, || Ok(server.log().contains(text))).unwrap();
}

/// A server whose snapshots' and bases' children take long, as the control file says.
fn with_faults(builder: Builder, path: &str) -> (tempfile::TempDir, Server) {
    let temp = tempfile::tempdir().unwrap();
    let preload = Preload::new()
        .slow_path(path)
        .fail_path(path)
        .control(&temp.path().join("control"));
    let server = builder.preload(preload).start().unwrap();
    (temp, server)
}

fn faults(temp: &Path, faults: Faults) {
    faults.apply(&temp.join("control")).unwrap();
}

fn slow() -> Faults {
    Faults {
        slow_fsync_ms: 3_000,
        ..Faults::default()
    }
}

fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Fields of the host's INFO persistence that ours needn't have.
const NOT_OURS: &[&str] = &[
    // About the host's one child for modules, in which ours runs.
    "module_fork_in_progress",
    "module_fork_last_cow_size",
    // About slots that Valkey 9 moves between nodes of a cluster.
    "slot_migration_fork_in_progress",
];

#[test]
fn every_field_of_the_host_is_there_under_the_same_name() {
    let server = module().config("appendonly", "yes").start().unwrap();
    let text = |line: &str| server.words(line).unwrap().text().unwrap();
    let host = fields(&text("INFO persistence"));
    let ours = fields(&text("PERSIST.INFO persistence"));
    let within = fields(&text("INFO persist"));
    assert!(host.len() > 25, "{host:?}");
    for (name, value) in &host {
        if NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        let found = ours.get(name).unwrap_or_else(|| panic!("no {name}"));
        let kind = |text: &str| match text.parse::<f64>() {
            Ok(_) => text.contains('.').to_string(),
            Err(_) => text.to_owned(),
        };
        assert_eq!(
            kind(found),
            kind(value),
            "{name}:{found}, the host says {value}"
        );
    }
    for name in ours.keys() {
        assert!(
            within.contains_key(&format!("persist_{name}")),
            "INFO persist has no {name}"
        );
    }
    // By section, all of them, and none.
    assert!(text("PERSIST.INFO").contains("# Persistence\r\n"));
    assert!(!text("PERSIST.INFO keyspace").contains("aof_enabled"));
    assert!(text("PERSIST.INFO PERSISTENCE").contains("aof_enabled"));
    assert_eq!(text("PERSIST.INFO nonsense"), "");
    run(&server, &[("PERSIST.SET k 1 EX 1000", ok())]);
    assert!(text("PERSIST.INFO keyspace").contains("db0:keys=1,expires=1"));
    assert!(text("INFO everything").contains("persist_aof_enabled:1"));
}

#[test]
fn changes_count_until_they_are_saved() {
    let mut server = snapshots().start().unwrap();
    assert_eq!(info(&server, "rdb_changes_since_last_save"), "0");
    assert_eq!(info(&server, "rdb_last_bgsave_time_sec"), "-1");
    assert_eq!(info(&server, "aof_enabled"), "0");
    run(
        &server,
        &[
            ("PERSIST.SET a 1", ok()),
            ("PERSIST.SADD s 1 2 3", Resp::Int(3)),
            ("PERSIST.GET a", Resp::Bulk(b"1".to_vec())),
            ("PERSIST.DEL missing", Resp::Int(0)),
        ],
    );
    let dirty = number(&server, "rdb_changes_since_last_save");
    assert!(dirty >= 2, "{dirty}");
    let before = server.words("PERSIST.LASTSAVE").unwrap();
    run(&server, &[("PERSIST.SAVE", ok())]);
    assert_eq!(info(&server, "rdb_changes_since_last_save"), "0");
    assert_eq!(info(&server, "rdb_saves"), "1");
    logged(&server, "DB saved on disk");
    let (Resp::Int(before), Resp::Int(after)) = (before, server.words("PERSIST.LASTSAVE").unwrap())
    else {
        panic!("LASTSAVE is a number")
    };
    assert!(after >= before && after.to_string() == info(&server, "rdb_last_save_time"));
    run(
        &server,
        &[
            ("PERSIST.SET b 1", ok()),
            ("PERSIST.BGSAVE", simple("Background saving started")),
        ],
    );
    becomes(&server, "rdb_saves", "2");
    assert_eq!(info(&server, "rdb_changes_since_last_save"), "0");
    assert_eq!(info(&server, "rdb_bgsave_in_progress"), "0");
    assert_eq!(info(&server, "rdb_last_bgsave_status"), "ok");
    assert_ne!(info(&server, "rdb_last_bgsave_time_sec"), "-1");
    assert!(number(&server, "rdb_last_cow_size") > 0);
    logged(&server, "Background saving started by pid");
    logged(&server, "Background saving terminated with success");
    server.restart().unwrap();
    assert_eq!(info(&server, "rdb_changes_since_last_save"), "0");
    assert_eq!(info(&server, "rdb_last_load_keys_loaded"), "3");
    logged(&server, "DB loaded from");
}

#[test]
fn a_bgsave_under_way_shows_and_excludes_others() {
    let (temp, server) = with_faults(module(), "temp-persist-");
    run(&server, &[("PERSIST.SET a 1", ok())]);
    faults(temp.path(), slow());
    run(
        &server,
        &[("PERSIST.BGSAVE", simple("Background saving started"))],
    );
    assert_eq!(info(&server, "rdb_bgsave_in_progress"), "1");
    assert_ne!(info(&server, "rdb_current_bgsave_time_sec"), "-1");
    assert_eq!(info(&server, "current_save_keys_total"), "1");
    assert_eq!(server.info("persist_rdb_bgsave_in_progress").unwrap(), "1");
    let busy = error("ERR Background save already in progress");
    run(
        &server,
        &[
            ("PERSIST.BGSAVE", busy.clone()),
            ("PERSIST.BGSAVE SCHEDULE", busy.clone()),
            ("PERSIST.SAVE", busy),
            ("PERSIST.BGSAVE NOW", error("ERR syntax error")),
            ("PERSIST.BGSAVE SCHEDULE NOW", error("ERR syntax error")),
            // The one child is ours: the host waits, and so does a rewrite.
            (
                "PERSIST.REWRITE",
                simple("Background append only file rewriting scheduled"),
            ),
        ],
    );
    assert!(server.words("BGSAVE").unwrap().is_error());
    assert_eq!(info(&server, "aof_rewrite_scheduled"), "1");
    run(&server, &[("PERSIST.SET b 1", ok())]);
    let saves = info(&server, "rdb_saves");
    run(
        &server,
        &[(
            "PERSIST.BGSAVE CANCEL",
            simple("Background saving cancelled"),
        )],
    );
    faults(temp.path(), Faults::default());
    assert_eq!(info(&server, "rdb_bgsave_in_progress"), "0");
    assert_eq!(info(&server, "rdb_saves"), saves);
    run(
        &server,
        &[(
            "PERSIST.BGSAVE CANCEL",
            error("ERR Background saving is currently not in progress or scheduled"),
        )],
    );
    // What had to wait comes now, and no temporary file is left.
    becomes(&server, "aof_rewrites", "1");
    assert_eq!(info(&server, "aof_rewrite_scheduled"), "0");
    wait_until("temporary files to go", LIMIT, || {
        let mut names = fs::read_dir(server.data_dir())?.map(|entry| entry.map(|e| e.file_name()));
        Ok(!names.any(|name| name.is_ok_and(|name| name.to_string_lossy().starts_with("temp-"))))
    })
    .unwrap();
    assert!(!server.data_dir().join("persist.rdb").exists());
}

#[test]
fn a_rewrite_under_way_shows_and_excludes_others() {
    let (temp, server) = with_faults(module(), ".base");
    assert_eq!(info(&server, "aof_last_rewrite_time_sec"), "-1");
    run(&server, &[("PERSIST.SET a 1", ok())]);
    faults(temp.path(), slow());
    run(
        &server,
        &[
            (
                "PERSIST.REWRITE",
                simple("Background append only file rewriting started"),
            ),
            (
                "PERSIST.REWRITE",
                error("ERR Background append only file rewriting already in progress"),
            ),
        ],
    );
    assert_eq!(info(&server, "aof_rewrite_in_progress"), "1");
    wait_until("the child", LIMIT, || Ok(!server.children().is_empty())).unwrap();
    assert_ne!(info(&server, "aof_current_rewrite_time_sec"), "-1");
    let other = "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.";
    run(
        &server,
        &[
            ("PERSIST.BGSAVE", error(other)),
            (
                "PERSIST.BGSAVE SCHEDULE",
                simple("Background saving scheduled"),
            ),
        ],
    );
    assert_eq!(info(&server, "rdb_bgsave_scheduled"), "1");
    run(
        &server,
        &[
            (
                "PERSIST.BGSAVE CANCEL",
                simple("Scheduled background saving cancelled"),
            ),
            (
                "PERSIST.BGSAVE SCHEDULE",
                simple("Background saving scheduled"),
            ),
            // A snapshot in the foreground needs no child.
            ("PERSIST.SAVE", ok()),
        ],
    );
    faults(temp.path(), Faults::default());
    becomes(&server, "aof_rewrites", "1");
    assert_eq!(info(&server, "aof_rewrite_in_progress"), "0");
    assert_eq!(info(&server, "aof_last_bgrewrite_status"), "ok");
    assert_ne!(info(&server, "aof_last_rewrite_time_sec"), "-1");
    assert!(number(&server, "aof_last_cow_size") > 0);
    logged(
        &server,
        "Background append only file rewriting started by pid",
    );
    logged(&server, "Background AOF rewrite finished successfully");
    becomes(&server, "rdb_saves", "2");
    // Without a log there is nothing to rewrite.
    run(&server, &[("CONFIG SET persist.appendonly no", ok())]);
    becomes(&server, "aof_enabled", "0");
    assert!(server.words("PERSIST.REWRITE").unwrap().is_error());
}

#[test]
fn inside_a_transaction_children_are_scheduled() {
    let server = module().start().unwrap();
    run(&server, &[("PERSIST.SET a 1", ok())]);
    let queued = simple("QUEUED");
    run(
        &server,
        &[
            ("MULTI", ok()),
            ("PERSIST.BGSAVE", queued.clone()),
            ("PERSIST.REWRITE", queued.clone()),
            ("PERSIST.SAVE", queued),
            (
                "EXEC",
                Resp::Array(vec![
                    simple("Background saving scheduled"),
                    simple("Background append only file rewriting scheduled"),
                    error("ERR PERSIST.SAVE isn't allowed in a transaction or script"),
                ]),
            ),
        ],
    );
    becomes(&server, "rdb_saves", "1");
    becomes(&server, "aof_rewrites", "1");
}

#[test]
fn the_hosts_child_and_ours_take_turns() {
    // The host's own snapshot is slow, ours isn't.
    let (temp, server) = with_faults(module(), "/temp-");
    run(&server, &[("SET a 1", ok()), ("PERSIST.SET a 1", ok())]);
    faults(temp.path(), slow());
    run(&server, &[("BGSAVE", simple("Background saving started"))]);
    assert_eq!(server.info("rdb_bgsave_in_progress").unwrap(), "1");
    assert!(server.words("PERSIST.BGSAVE").unwrap().is_error());
    run(
        &server,
        &[(
            "PERSIST.BGSAVE SCHEDULE",
            simple("Background saving scheduled"),
        )],
    );
    assert_eq!(info(&server, "rdb_bgsave_in_progress"), "0");
    faults(temp.path(), Faults::default());
    becomes(&server, "rdb_saves", "1");
    assert_eq!(server.info("rdb_last_bgsave_status").unwrap(), "ok");
}

#[test]
fn a_failed_save_stops_writes_until_one_works() {
    let (temp, server) = with_faults(
        snapshots().config("persist.save", "1000000 1"),
        "temp-persist-",
    );
    run(&server, &[("PERSIST.SET a 1", ok())]);
    let full = Faults {
        fail_write: libc::ENOSPC,
        ..Faults::default()
    };
    faults(temp.path(), full);
    run(
        &server,
        &[("PERSIST.BGSAVE", simple("Background saving started"))],
    );
    becomes(&server, "rdb_last_bgsave_status", "err");
    logged(&server, "Background saving error: No space left on device");
    assert_eq!(info(&server, "rdb_saves"), "0");
    assert_eq!(info(&server, "rdb_changes_since_last_save"), "1");
    let refused = server.words("PERSIST.SET a 2").unwrap().text().unwrap();
    assert!(
        refused.starts_with("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."),
        "{refused}"
    );
    let saved = server.words("PERSIST.SAVE").unwrap().text().unwrap();
    assert!(saved.contains("No space left on device"), "{saved}");
    logged(&server, "Error saving DB on disk");
    run(
        &server,
        &[
            ("PERSIST.GET a", Resp::Bulk(b"1".to_vec())),
            ("SET a 2", ok()),
            // Whoever says so may write all the same.
            ("CONFIG SET persist.stop-writes-on-bgsave-error no", ok()),
            ("PERSIST.SET a 3", ok()),
            ("CONFIG SET persist.stop-writes-on-bgsave-error yes", ok()),
        ],
    );
    assert!(server.words("PERSIST.SET a 4").unwrap().is_error());
    // Without save points nobody counts on snapshots.
    let mut client = server.raw().unwrap();
    assert_eq!(
        client
            .command(&["CONFIG", "SET", "persist.save", ""])
            .unwrap(),
        ok()
    );
    run(&server, &[("PERSIST.SET a 5", ok())]);
    let again = ["CONFIG", "SET", "persist.save", "1000000 1"];
    assert_eq!(client.command(&again).unwrap(), ok());
    assert!(server.words("PERSIST.SET a 6").unwrap().is_error());
    faults(temp.path(), Faults::default());
    run(
        &server,
        &[("PERSIST.SAVE", ok()), ("PERSIST.SET a 7", ok())],
    );
    assert_eq!(info(&server, "rdb_last_bgsave_status"), "ok");
    let names: Vec<_> = fs::read_dir(server.data_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !names.iter().any(|name| name.starts_with("temp-")),
        "{names:?}"
    );
}

#[test]
fn save_points_fire() {
    let server = snapshots()
        .config("persist.save", "1 2 1000000 1")
        .start()
        .unwrap();
    run(
        &server,
        &[("PERSIST.SET a 1", ok()), ("PERSIST.SET b 1", ok())],
    );
    becomes(&server, "rdb_saves", "1");
    logged(&server, "2 changes in 1 seconds. Saving...");
    assert_eq!(info(&server, "rdb_changes_since_last_save"), "0");
}

#[test]
fn a_save_point_tries_again_after_a_failure() {
    let (temp, server) = with_faults(snapshots().config("persist.save", "1 1"), "temp-persist-");
    let broken = Faults {
        fail_fsync: true,
        ..Faults::default()
    };
    faults(temp.path(), broken);
    run(&server, &[("PERSIST.SET a 1", ok())]);
    becomes(&server, "rdb_last_bgsave_status", "err");
    faults(temp.path(), Faults::default());
    becomes(&server, "rdb_last_bgsave_status", "ok");
    run(&server, &[("PERSIST.SET a 2", ok())]);
}

#[test]
fn shutdown_saves_when_there_are_save_points() {
    let mut server = snapshots()
        .config("persist.save", "1000000 1")
        .start()
        .unwrap();
    run(&server, &[("PERSIST.SET a 1", ok())]);
    server.shutdown(false).unwrap();
    assert!(server.log().contains("DB saved on disk"));
    server.restart().unwrap();
    run(&server, &[("PERSIST.GET a", Resp::Bulk(b"1".to_vec()))]);
    // And not when there are none.
    let mut server = snapshots().config("persist.save", "").start().unwrap();
    run(&server, &[("PERSIST.SET a 1", ok())]);
    server.shutdown(false).unwrap();
    assert!(!server.data_dir().join("persist.rdb").exists());
}

#[test]
fn a_rewrite_is_cancelled() {
    let (temp, mut server) = with_faults(module(), ".base");
    let none =
        "ERR Background append only file rewriting is currently not in progress or scheduled";
    let cancel = "PERSIST.REWRITE CANCEL";
    run(
        &server,
        &[
            ("PERSIST.SET a 1", ok()),
            (cancel, error(none)),
            ("PERSIST.REWRITE NOW", error("ERR syntax error")),
        ],
    );
    faults(temp.path(), slow());
    server.words("PERSIST.REWRITE").unwrap();
    wait_until("the child", LIMIT, || Ok(!server.children().is_empty())).unwrap();
    run(
        &server,
        &[
            ("PERSIST.SET b 1", ok()),
            (
                cancel,
                simple("Background append only file rewriting cancelled"),
            ),
            (cancel, error(none)),
        ],
    );
    assert_eq!(info(&server, "aof_rewrite_in_progress"), "0");
    assert_eq!(info(&server, "aof_last_bgrewrite_status"), "ok");
    wait_until("the child's end", LIMIT, || {
        Ok(server.children().is_empty())
    })
    .unwrap();
    faults(temp.path(), Faults::default());
    // One that waits for the fork slot.
    server
        .words("CONFIG SET rdb-key-save-delay 10000000")
        .unwrap();
    run(&server, &[("SET cache 1", ok())]);
    server.words("BGSAVE").unwrap();
    run(
        &server,
        &[
            (
                "PERSIST.REWRITE",
                simple("Background append only file rewriting scheduled"),
            ),
            (
                cancel,
                simple("Scheduled background append only file rewriting cancelled"),
            ),
            (cancel, error(none)),
        ],
    );
    assert_eq!(info(&server, "aof_rewrite_scheduled"), "0");
    assert_eq!(info(&server, "aof_rewrites"), "0");
    server.words("CONFIG SET rdb-key-save-delay 0").unwrap();
    server.kill9().unwrap();
    server.restart().unwrap();
    run(
        &server,
        &[("PERSIST.DBSIZE", Resp::Int(2)), ("PERSIST.SET c 1", ok())],
    );
    server.words("PERSIST.REWRITE").unwrap();
    becomes(&server, "aof_rewrites", "1");
}

#[test]
fn the_log_grows_and_is_rewritten_by_itself() {
    let server = Server::builder()
        .with_module()
        .config("persist.auto-aof-rewrite-min-size", "100kb")
        .config("persist.auto-aof-rewrite-percentage", "100")
        .start()
        .unwrap();
    let size = number(&server, "aof_current_size");
    let value = "x".repeat(1000);
    run(&server, &[(&format!("PERSIST.SET k {value}"), ok())]);
    let grown = number(&server, "aof_current_size");
    assert!(grown > size + 1000, "{grown}");
    becomes(&server, "at_risk_bytes", "0");
    assert_eq!(number(&server, "durable_seq"), number(&server, "seq"));
    let mut client = server.raw().unwrap();
    for _ in 0..150 {
        client.command(&["PERSIST.SET", "k", &value]).unwrap();
    }
    becomes(&server, "aof_rewrites", "1");
    let base = number(&server, "aof_base_size");
    assert!(base < 100 << 10, "{base}");
    assert!(number(&server, "aof_current_size") < 100 << 10);
    logged(&server, "Background AOF rewrite finished successfully");
}

#[test]
fn a_failed_rewrite_says_so_and_loses_nothing() {
    let (temp, mut server) = with_faults(module(), ".base");
    run(&server, &[("PERSIST.SET a 1", ok())]);
    let broken = Faults {
        fail_fsync: true,
        ..Faults::default()
    };
    faults(temp.path(), broken);
    server.words("PERSIST.REWRITE").unwrap();
    becomes(&server, "aof_last_bgrewrite_status", "err");
    logged(&server, "Background AOF rewrite terminated with error");
    assert_eq!(info(&server, "aof_rewrites_consecutive_failures"), "1");
    // The log itself is fine: writes go on.
    run(&server, &[("PERSIST.SET b 1", ok())]);
    assert_eq!(info(&server, "aof_last_write_status"), "ok");
    becomes(&server, "at_risk_bytes", "0");
    server.restart().unwrap();
    run(&server, &[("PERSIST.DBSIZE", Resp::Int(2))]);
    faults(temp.path(), Faults::default());
    server.words("PERSIST.REWRITE").unwrap();
    becomes(&server, "aof_rewrites", "1");
    assert_eq!(info(&server, "aof_last_bgrewrite_status"), "ok");
    assert_eq!(info(&server, "aof_rewrites_consecutive_failures"), "0");
}

#[test]
fn a_log_that_cannot_be_written_refuses_writes_until_it_heals() {
    let (temp, mut server) = with_faults(module(), "persist-aof/");
    run(&server, &[("PERSIST.SET a 1", ok())]);
    becomes(&server, "at_risk_bytes", "0");
    let full = Faults {
        fail_write: libc::ENOSPC,
        ..Faults::default()
    };
    faults(temp.path(), full);
    // Under everysec the write that finds the disk full is kept in memory.
    server.words("PERSIST.SET b 1").unwrap();
    becomes(&server, "aof_last_write_status", "err");
    let refused = server.words("PERSIST.SET c 1").unwrap().text().unwrap();
    assert!(
        refused.starts_with("MISCONF Errors writing to the AOF file: ")
            && refused.contains("No space left on device"),
        "{refused}"
    );
    assert!(info(&server, "aof_last_write_error").contains("No space left on device"));
    assert_eq!(info(&server, "at_risk_keys"), "1");
    run(&server, &[("PERSIST.GET b", Resp::Bulk(b"1".to_vec()))]);
    faults(temp.path(), Faults::default());
    becomes(&server, "aof_last_write_status", "ok");
    logged(&server, "looks fine again");
    run(&server, &[("PERSIST.SET c 1", ok())]);
    becomes(&server, "at_risk_bytes", "0");
    server.restart().unwrap();
    run(&server, &[("PERSIST.DBSIZE", Resp::Int(3))]);
}

#[test]
fn slow_writes_leave_latency_samples() {
    let (temp, server) = with_faults(
        module().config("persist.appendfsync", "always"),
        "persist-aof/",
    );
    faults(
        temp.path(),
        Faults {
            slow_fsync_ms: 30,
            ..Faults::default()
        },
    );
    run(&server, &[("PERSIST.SET a 1", ok())]);
    assert_eq!(server.words("LATENCY LATEST").unwrap(), Resp::Array(vec![]));
    run(
        &server,
        &[
            ("CONFIG SET latency-monitor-threshold 10", ok()),
            ("PERSIST.SET a 2", ok()),
            ("PERSIST.SET a 3", ok()),
        ],
    );
    let latest = server.words("LATENCY LATEST").unwrap().to_string();
    assert!(latest.contains("persist-aof-fsync-always"), "{latest}");
    let history = server
        .words("LATENCY HISTORY persist-aof-fsync-always")
        .unwrap();
    assert!(!history.into_items().is_empty());
    assert!(number(&server, "fsync_latency_us_max") >= 30_000);
}
