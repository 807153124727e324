use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::base::hash::Seed;
use crate::data::value::Limits;
use crate::format::HistoryId;
use crate::format::resp::push_command;
use crate::io::faulty::{Fault, FaultyDisk};
use crate::io::mem::{Crash, MemDisk};
use crate::io::{Disk, ReadDisk, read_file};
use crate::persist::files::Files;
use crate::persist::loader::Loader;
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

const LAST: &str = "/data/persist-aof/persist.aof.3.incr.aof";

fn at(dir: &str) -> Settings {
    Settings {
        dir: dir.into(),
        ..settings(FsyncPolicy::Always)
    }
}

/// A base, a closed file with a transaction, and an open one that ends with a
/// FLUSHALL; and what was there before that.
fn scene(rdb: bool) -> (MemDisk, Vec<Vec<String>>) {
    let disk = disk();
    disk.create_dir(Path::new("/out")).unwrap();
    let settings = Settings {
        aof_use_rdb_preamble: rdb,
        ..at("/data")
    };
    let mut rig = Rig::open(Arc::new(disk.clone()), settings.clone()).unwrap();
    for line in ["SET a 1", "RPUSH l a b c"] {
        rig.run(line);
        rig.pass();
    }
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.settle();
    rig.argv(0, true, &[b"INCR", b"a"]);
    rig.argv(2, true, &[b"SET", b"in 2", b"\r\n#PG1 *3"]);
    rig.pass();
    rig.run("SET b 1 PX 1000");
    rig.pass();
    drop(rig);
    let mut rig = Rig::open(Arc::new(disk.clone()), settings).unwrap();
    rig.run("LPOP l");
    rig.pass();
    let want = rig.dump();
    rig.run("FLUSHALL");
    rig.pass();
    drop(rig);
    (disk, want)
}

fn reseal(disk: &dyn Disk, dir: &str, numbers: (u64, u64)) -> Result<Reseal, String> {
    let fresh = (HistoryId::new([9; 16]).unwrap(), Seed([9; 16]));
    let loader = Loader {
        disk,
        files: &Files::new(&at("/data"), 77),
        limits: &Limits::default(),
        truncated_ok: true,
        fresh,
    };
    let read = Reseal::read(&loader, &mut |_: u64| {}).map_err(|e| e.text)?;
    let files = Files::new(&at(dir), 77);
    read.carry(&loader, disk, &files, numbers, fresh, 5_000_000)
        .map_err(|e| e.text)?;
    Ok(read)
}

fn start(disk: &MemDisk, dir: &str) -> Result<Rig, String> {
    Rig::open(Arc::new(disk.clone()), at(dir)).map_err(|e| e.0)
}

fn without_flush(disk: &MemDisk) {
    let mut bytes = read_file(disk, Path::new(LAST)).unwrap();
    let mut command = Vec::new();
    push_command(&mut command, &[b"FLUSHALL"]);
    let at = bytes
        .windows(command.len())
        .position(|w| w == command)
        .unwrap();
    bytes.drain(at..at + command.len());
    disk.put(Path::new(LAST), &bytes);
}

#[test]
fn a_flush_taken_out_by_hand() {
    for rdb in [true, false] {
        let (disk, want) = scene(rdb);
        without_flush(&disk);
        let done = reseal(&disk, "/out", (1, 1)).unwrap();
        assert_eq!((done.effects, done.keys, done.flushes.len()), (4, 4, 0));
        let mut rig = start(&disk, "/out").unwrap();
        assert_eq!(rig.dump(), want);
        rig.run("SET after 1");
        rig.pass();
        let content = rig.dump();
        drop(rig);
        assert_eq!(start(&disk, "/out").unwrap().dump(), content);
        // A transaction is one again, and groups have their times.
        let made = read_file(&disk, Path::new("/out/persist-aof/persist.aof.1.incr.aof")).unwrap();
        let text = String::from_utf8_lossy(&made).into_owned();
        assert_eq!(text.matches("\r\nMULTI\r\n").count(), 1, "{text}");
        assert!(text.contains(" t=00000000000001004000 "), "{text}");
    }
}

#[test]
fn a_flush_that_is_still_there_is_named() {
    let (disk, _) = scene(true);
    let done = reseal(&disk, "/out", (1, 1)).unwrap();
    assert_eq!(done.keys, 0);
    assert_eq!(done.flushes.len(), 1);
    assert_eq!(done.flushes[0].0, Path::new(LAST));
    let bytes = read_file(&disk, Path::new(LAST)).unwrap();
    assert!(bytes[done.flushes[0].1 as usize..].starts_with(b"*1\r\n$8\r\nFLUSHALL"));
}

/// As a stock server writes: names as typed, nothing but commands, and a
/// manifest without our words.
#[test]
fn what_a_stock_server_appends() {
    for rdb in [true, false] {
        let (disk, _) = scene(rdb);
        without_flush(&disk);
        let mut bytes = read_file(&disk, Path::new(LAST)).unwrap();
        bytes.extend_from_slice(b"#TS:2000\r\n");
        push_command(&mut bytes, &[b"SELECT", b"2"]);
        push_command(
            &mut bytes,
            &[b"set", b"stock", b"1", b"PXAT", b"99999999999999"],
        );
        push_command(&mut bytes, &[b"multi"]);
        push_command(&mut bytes, &[b"incr", b"stock"]);
        push_command(&mut bytes, &[b"exec"]);
        disk.put(Path::new(LAST), &bytes);
        let manifest = Path::new("/data/persist-aof/persist.aof.manifest");
        let base = if rdb { "rdb" } else { "aof" };
        let stock = format!(
            "file persist.aof.2.base.{base} seq 2 type b\nfile persist.aof.2.incr.aof seq 2 type i\nfile persist.aof.3.incr.aof seq 3 type i\n"
        );
        disk.put(manifest, stock.as_bytes());
        let done = reseal(&disk, "/data", (9, 9)).unwrap();
        assert_eq!(done.effects, 6);
        let rig = start(&disk, "/data").unwrap();
        assert!(
            rig.dump()[2]
                .iter()
                .any(|line| line.contains("stock @Some(99999999999999) = string [2]"))
        );
        assert_eq!(rig.dump()[0].len(), 3);
        let aside = disk.list(Path::new("/data/quarantine")).unwrap();
        assert_eq!(aside.len(), 4, "{aside:?}");
    }
}

#[test]
fn a_base_of_commands_that_was_edited() {
    let (disk, want) = scene(false);
    without_flush(&disk);
    let path = Path::new("/data/persist-aof/persist.aof.2.base.aof");
    let mut bytes = read_file(&disk, path).unwrap();
    push_command(&mut bytes, &[b"SET", b"added", b"x"]);
    disk.put(path, &bytes);
    let done = reseal(&disk, "/out", (1, 1)).unwrap();
    assert!(done.remarks[0].contains("was edited"), "{:?}", done.remarks);
    let mut rig = start(&disk, "/out").unwrap();
    assert_eq!(rig.run("GET added"), "\"x\"");
    rig.run("DEL added");
    assert_eq!(rig.dump(), want);
}

#[test]
fn what_cannot_be_taken_is_named() {
    let long = [b'x'; 3];
    let cases: [(&[&[u8]], &str); 6] = [
        (&[b"EXPIRE", b"a", b"10"], "whenever it is done"),
        (&[b"SET", b"a", b"1", b"ex", b"10"], "whenever it is done"),
        (&[b"XADD", b"x", b"*", b"f", b"v"], "whenever it is done"),
        (
            &[b"NOSUCH", b"a"],
            "a write command that this version knows",
        ),
        (&[b"RPUSH", b"a", &long], "a command that can be done again"),
        (&[b"MULTI"], "expected EXEC"),
    ];
    for (argv, why) in cases {
        let (disk, _) = scene(true);
        without_flush(&disk);
        let mut bytes = read_file(&disk, Path::new(LAST)).unwrap();
        let place = bytes.len();
        push_command(&mut bytes, argv);
        disk.put(Path::new(LAST), &bytes);
        let told = reseal(&disk, "/out", (1, 1)).unwrap_err();
        assert!(told.contains(why) && told.contains(LAST), "{told}");
        if argv.len() > 1 {
            assert!(told.contains(&format!("byte {place}:")), "{told}");
        }
        disk.put(Path::new(LAST), &bytes[..bytes.len() - 2]);
        let told = reseal(&disk, "/out", (1, 1)).unwrap_err();
        assert!(told.contains("found the end"), "{told}");
    }
}

/// Power fails at every step of sealing in place: a start finds what the old
/// files gave it, the new log, or refuses.
#[test]
fn power_failures_while_a_log_is_sealed_in_place() {
    let (disk, want) = scene(true);
    without_flush(&disk);
    // What is edited in the last group looks like a torn end, which is cut.
    let before = start(&disk.kill(), "/data").unwrap().dump();
    let mut finished = false;
    for n in 1..80 {
        let mem = disk.kill();
        let faulty = FaultyDisk::new(Arc::new(mem.clone()));
        faulty.faults().set(n, Fault::PowerOff);
        finished = reseal(&faulty, "/data", (10, 10)).is_ok();
        for seed in 0..8 {
            let how = match seed {
                0 => Crash::DropUnsynced,
                seed => Crash::Torn {
                    seed,
                    granularity: 512,
                },
            };
            match start(&mem.crash(how), "/data") {
                Ok(rig) => {
                    let found = rig.dump();
                    let legal = found == want || (found == before && !finished);
                    assert!(legal, "step {n}, {seed}: {found:?}");
                }
                Err(e) => assert!(!finished && e.contains("history"), "step {n}: {e}"),
            }
        }
        if finished {
            break;
        }
    }
    assert!(finished);
}
