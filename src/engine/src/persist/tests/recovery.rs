//! Saves, rewrites and recovery on a disk in memory.

use std::path::Path;
use std::sync::Arc;

use crate::base::clock::Clock;
use crate::io::faulty::{Fault, FaultyDisk, Op};
use crate::io::mem::{Crash, MemDisk};
use crate::io::{Disk, ReadDisk, append_all};
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

fn open(disk: &MemDisk, settings: Settings) -> Rig {
    Rig::open(Arc::new(disk.clone()), settings).unwrap_or_else(|e| panic!("{e}"))
}

/// Writes something of every kind, small and large, in three databases.
fn fill(rig: &mut Rig) {
    for db in 0..3 {
        let mut run = |line: &str| {
            let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            let reply = rig.argv(db, false, &args).to_string();
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        };
        run("SET plain value");
        run("SET ttl value PXAT 99999999");
        run("RPUSH small a b c");
        run("HSET h f v g w");
        run("ZADD z 1 a 2.5 b -inf c");
        run("SADD s x y z");
        for i in 0..600 {
            run(&format!("SADD bigset member{i}"));
            run(&format!("HSET bighash field{i} value{i}"));
            run(&format!("ZADD bigzset {i} member{i}"));
            run(&format!("RPUSH biglist element-number-{i}"));
        }
        run("PEXPIREAT bigset 88888888");
        run("HPEXPIREAT h 77777777 FIELDS 1 f");
        run("HPEXPIREAT bighash 77777777 FIELDS 2 field1 field2");
        rig.argv(db, false, &[b"SET", b"long", &vec![b'x'; 200_000]]);
        rig.argv(db, false, &[b"SET", b"bin\r\n\0", b"\xff\0"]);
    }
}

#[test]
fn a_save_comes_back() {
    let d = disk();
    let mut rig = open(
        &d,
        Settings {
            appendonly: false,
            ..settings(FsyncPolicy::Everysec)
        },
    );
    fill(&mut rig);
    rig.engine.save(&mut rig.host).unwrap();
    let want = rig.dump();
    rig.run("SET lost 1");
    let mut rig = open(
        &d.crash(Crash::DropUnsynced),
        Settings {
            appendonly: false,
            ..settings(FsyncPolicy::Everysec)
        },
    );
    assert_eq!(rig.dump(), want);
    assert_eq!(rig.info("rdb_changes_since_last_save"), "0");
}

/// Each start closes a file and begins another, whose groups count their own
/// predecessors as durable.
#[test]
fn a_log_goes_on_over_many_starts() {
    let d = disk();
    for start in 0..4 {
        let mut rig = open(&d, settings(FsyncPolicy::Always));
        assert_eq!(rig.run("DBSIZE"), (3 * start).to_string());
        for key in 0..3 {
            rig.run(&format!("SET {start}:{key} v"));
            assert!(rig.pass());
        }
    }
}

#[test]
fn a_bgsave_comes_back() {
    for (compress, checksums) in [(true, true), (false, false)] {
        let d = disk();
        let off = Settings {
            appendonly: false,
            rdbcompression: compress,
            rdbchecksum: checksums,
            ..settings(FsyncPolicy::No)
        };
        let mut rig = open(&d, off.clone());
        fill(&mut rig);
        let want = rig.dump();
        assert_eq!(
            rig.engine.bgsave(&mut rig.host, false).unwrap(),
            "Background saving started"
        );
        assert!(rig.engine.bgsave(&mut rig.host, false).is_err());
        rig.run("SET lost 1");
        rig.settle();
        assert_eq!(rig.info("rdb_last_bgsave_status"), "ok");
        assert_eq!(rig.info("rdb_changes_since_last_save"), "1");
        let rig = open(&d.crash(Crash::DropUnsynced), off);
        assert_eq!(rig.dump(), want);
    }
}

#[test]
fn the_log_comes_back_under_always() {
    let d = disk();
    let mut rig = open(&d, settings(FsyncPolicy::Always));
    fill(&mut rig);
    assert!(rig.pass());
    let want = rig.dump();
    rig.run("SET unacknowledged 1");
    for _ in 0..3 {
        let rig = open(&d.crash(Crash::DropUnsynced), settings(FsyncPolicy::Always));
        assert_eq!(rig.dump(), want);
    }
}

#[test]
fn under_everysec_a_killed_process_loses_nothing_and_a_crash_a_second() {
    let d = disk();
    let mut rig = open(&d, settings(FsyncPolicy::Everysec));
    rig.run("SET a 1");
    rig.pass();
    rig.tick(1_100);
    rig.tick(100);
    rig.run("SET b 1");
    rig.pass();
    assert_eq!(
        open(&d.kill(), settings(FsyncPolicy::Everysec)).run("GET b"),
        "\"1\""
    );
    let mut rig = open(
        &d.crash(Crash::DropUnsynced),
        settings(FsyncPolicy::Everysec),
    );
    assert_eq!(
        (rig.run("GET a"), rig.run("GET b")),
        ("\"1\"".into(), "nil".into())
    );
}

#[test]
fn rewrites_keep_everything() {
    for rdb in [true, false] {
        let with = || Settings {
            aof_use_rdb_preamble: rdb,
            ..settings(FsyncPolicy::Always)
        };
        let d = disk();
        let mut rig = open(&d, with());
        for round in 0..3 {
            fill(&mut rig);
            rig.run(&format!("INCRBY n {round}"));
            rig.pass();
            rig.engine.rewrite(&mut rig.host).unwrap();
            rig.tick(10);
            rig.run("APPEND during x");
            rig.pass();
            rig.settle();
            assert_eq!(
                rig.info("aof_last_bgrewrite_status"),
                "ok",
                "{:?}",
                rig.host.lines
            );
            assert_eq!(rig.info("aof_rewrites"), (round + 1).to_string());
            rig.run("APPEND after y");
            rig.pass();
            let want = rig.dump();
            let mut back = open(&d.crash(Crash::DropUnsynced), with());
            assert_eq!(back.dump(), want);
            // One base, its incr file, and the one that this start added.
            let names = d.list(Path::new("/data/persist-aof")).unwrap();
            assert_eq!(
                names.iter().filter(|n| n.contains(".base.")).count(),
                1,
                "{names:?}"
            );
            assert_eq!(back.run("GET n"), rig.run("GET n"));
        }
    }
}

#[test]
fn the_log_can_be_turned_off_and_on() {
    let d = disk();
    let mut rig = open(&d, settings(FsyncPolicy::Always));
    rig.run("SET a 1");
    rig.pass();
    let off = Settings {
        appendonly: false,
        ..settings(FsyncPolicy::Always)
    };
    rig.engine.apply(&mut rig.host, off.clone());
    rig.run("SET b 1");
    rig.pass();
    // The promise is that of snapshots now: a is in the closed log, b in none.
    let mut back = open(&d.crash(Crash::DropUnsynced), off.clone());
    assert_eq!(
        (back.run("GET a"), back.run("GET b")),
        ("\"1\"".into(), "nil".into())
    );
    rig.engine
        .apply(&mut rig.host, settings(FsyncPolicy::Always));
    assert_eq!(rig.info("aof_turning_on"), "1");
    rig.settle();
    assert_eq!(rig.info("aof_turning_on"), "0", "{:?}", rig.host.lines);
    rig.run("SET c 1");
    rig.pass();
    let mut back = open(&d.crash(Crash::DropUnsynced), settings(FsyncPolicy::Always));
    assert_eq!(back.run("MGET a b c"), "[\"1\" \"1\" \"1\"]");
}

#[test]
fn turning_the_log_on_with_only_a_snapshot_loads_it() {
    let d = disk();
    let off = Settings {
        appendonly: false,
        ..settings(FsyncPolicy::Always)
    };
    let mut rig = open(&d, off);
    fill(&mut rig);
    rig.engine.save(&mut rig.host).unwrap();
    let want = rig.dump();
    let mut rig = open(&d.crash(Crash::DropUnsynced), settings(FsyncPolicy::Always));
    assert_eq!(rig.dump(), want);
    rig.run("SET more 1");
    rig.pass();
}

#[test]
fn a_snapshot_newer_than_the_log_wins_and_the_log_is_kept_aside() {
    let d = disk();
    let mut rig = open(&d, settings(FsyncPolicy::Always));
    rig.run("SET a 1");
    rig.pass();
    let off = Settings {
        appendonly: false,
        ..settings(FsyncPolicy::Always)
    };
    rig.engine.apply(&mut rig.host, off);
    rig.run("SET b 1");
    rig.engine.save(&mut rig.host).unwrap();
    let crashed = d.crash(Crash::DropUnsynced);
    let mut back = open(&crashed, settings(FsyncPolicy::Always));
    assert_eq!(back.run("MGET a b"), "[\"1\" \"1\"]");
    assert!(
        back.host
            .lines
            .iter()
            .any(|l| l.contains("newer than the end of the log"))
    );
    back.run("SET c 1");
    back.pass();
    let mut again = open(
        &crashed.crash(Crash::DropUnsynced),
        settings(FsyncPolicy::Always),
    );
    assert_eq!(again.run("MGET a b c"), "[\"1\" \"1\" \"1\"]");
}

#[test]
fn another_data_set_is_refused() {
    let d = disk();
    let mut rig = open(&d, settings(FsyncPolicy::Always));
    rig.run("SET a 1");
    rig.pass();
    let other = disk();
    let mut rig = Rig::open_at(
        Arc::new(other.clone()),
        settings(FsyncPolicy::Always),
        1_000_000,
        2,
    )
    .unwrap();
    rig.run("SET z 1");
    rig.engine.save(&mut rig.host).unwrap();
    let bytes = crate::io::read_file(&other, Path::new("/data/persist.rdb")).unwrap();
    d.put(Path::new("/data/persist.rdb"), &bytes);
    let ops = d.ops();
    let error = Rig::open(Arc::new(d.clone()), settings(FsyncPolicy::Always))
        .err()
        .unwrap()
        .0;
    assert!(
        error.contains("persist.rdb") && error.contains("manifest"),
        "{error}"
    );
    assert_eq!(d.ops(), ops, "a refusal changes nothing");
}

/// A file may have become longer than anybody wrote: what is cut is kept, but not all those zeros.
#[test]
fn a_torn_end_of_zeros_is_cut_and_not_kept_whole() {
    const MIB: usize = 1 << 20;
    for (zeros, behind, kept) in [
        (5 * MIB, &b""[..], MIB),
        (5 * MIB, b"x", 5 * MIB + 1),
        (10, b"", 10),
    ] {
        let d = disk();
        let mut rig = open(&d, settings(FsyncPolicy::Always));
        rig.run("SET a 1");
        assert!(rig.pass());
        let left = d.crash(Crash::DropUnsynced);
        let path = Path::new("/data/persist-aof/persist.aof.1.incr.aof");
        let len = ReadDisk::len(&left, path).unwrap();
        let file = left.open_append(path).unwrap();
        append_all(&*file, &vec![0; zeros]).unwrap();
        append_all(&*file, behind).unwrap();
        file.sync().unwrap();
        let mut back = open(&left, settings(FsyncPolicy::Always));
        assert_eq!(back.run("GET a"), "\"1\"");
        assert_eq!(ReadDisk::len(&left, path).unwrap(), len);
        let names = left.list(Path::new("/data/quarantine")).unwrap();
        assert_eq!(names.len(), 1, "{names:?}");
        let tail = Path::new("/data/quarantine").join(&names[0]);
        assert_eq!(ReadDisk::len(&left, &tail).unwrap(), kept as u64);
    }
}

#[test]
fn transactions_are_whole_groups() {
    let d = disk();
    let mut rig = open(&d, settings(FsyncPolicy::Always));
    rig.argv(0, true, &[b"SET", b"a", b"1"]);
    rig.argv(1, true, &[b"SET", b"b", b"1"]);
    rig.run("SET c 1");
    rig.pass();
    let bytes =
        crate::io::read_file(&d, Path::new("/data/persist-aof/persist.aof.1.incr.aof")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let order: Vec<usize> = ["MULTI", "$1\r\na", "$1\r\nb", "EXEC", "$1\r\nc"]
        .iter()
        .map(|w| text.find(w).unwrap())
        .collect();
    assert!(order.is_sorted(), "{text}");
    for cut in 0..bytes.len() {
        let torn = d.kill();
        torn.truncate(
            Path::new("/data/persist-aof/persist.aof.1.incr.aof"),
            cut as u64,
        )
        .unwrap();
        let mut back = open(&torn, settings(FsyncPolicy::Always));
        assert_eq!(back.run("MGET a c"), "[nil nil]", "cut at {cut}");
        if cut > 0 {
            assert!(
                back.host.lines.iter().any(|l| l.contains("short read")),
                "{:?}",
                back.host.lines
            );
        }
    }
}

#[test]
fn what_was_due_while_the_server_was_down_does_not_come_back() {
    let d = disk();
    let mut rig = open(&d, settings(FsyncPolicy::Always));
    rig.run("SET gone 1 PX 500");
    rig.run("SET n 1 PX 400");
    rig.pass();
    rig.clock.advance_ms(450);
    rig.run("INCR n");
    rig.pass();
    let mut back = Rig::open_at(
        Arc::new(d.kill()),
        settings(FsyncPolicy::Always),
        2_000_000,
        1,
    )
    .unwrap();
    assert_eq!(back.run("MGET gone n"), "[nil \"1\"]");
    assert_eq!(back.run("TTL n"), "-1");
    assert_eq!(back.info("rdb_last_load_keys_expired"), "1");
    // The removal is in the log: an earlier clock finds nothing either.
    let mut back = Rig::open_at(Arc::new(d.kill()), settings(FsyncPolicy::Always), 1, 1).unwrap();
    assert_eq!(back.run("EXISTS n"), "1");
}

#[test]
fn fields_end_by_themselves_and_stay_gone() {
    let d = disk();
    let mut rig = open(&d, settings(FsyncPolicy::Always));
    let at = rig.clock.now_ms() + 5_000;
    for i in 0..5_000 {
        let line = format!("HSETEX big PXAT {at} FIELDS 1 field{i} {i}");
        assert_eq!(rig.run(&line), "1");
    }
    rig.run("HSET big stays 1");
    rig.run(&format!("HSETEX small PXAT {at} FIELDS 2 a 1 b 2"));
    rig.tick(4_999);
    assert_eq!(rig.engine.space().len(), 2);
    rig.tick(1);
    // Nobody asked for it, and the small one is gone.
    assert_eq!(rig.engine.space().len(), 1);
    for _ in 0..10 {
        rig.tick(0);
    }
    let want = vec!["big @None = hash [stays:1]".to_string()];
    assert_eq!(rig.dump()[0], want);
    assert!(!rig.engine.space().has_ending_fields());
    rig.pass();
    let rig = open(&d.crash(Crash::DropUnsynced), settings(FsyncPolicy::Always));
    assert_eq!(rig.dump()[0], want);
}

/// A file that belongs to somebody else, or a file system without modes: the
/// data are served, and the operator is told.
#[test]
fn a_mode_that_cant_be_set_stops_no_start() {
    let d = disk();
    open(&d, settings(FsyncPolicy::Always)).run("SET a 1");
    let faulty = FaultyDisk::new(Arc::new(d));
    faulty.faults().set_on(Op::SetMode, 1, Fault::always(1));
    let mut rig = Rig::open(Arc::new(faulty), settings(FsyncPolicy::Always)).unwrap();
    assert_eq!(rig.run("SET b 1"), "OK");
    assert!(rig.pass());
    let told = rig
        .host
        .lines
        .iter()
        .find(|l| l.contains("persist.file-mode"));
    let told = told.unwrap();
    assert!(
        told.contains("/data/persist.lock") && told.contains("chown"),
        "{told}"
    );
}
