use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::base::hash::Seed;
use crate::data::value::Limits;
use crate::format::HistoryId;
use crate::format::group::sound_groups;
use crate::io::faulty::{Fault, FaultyDisk};
use crate::io::mem::{Crash, MemDisk};
use crate::io::{Disk, ReadDisk, read_file};
use crate::persist::files::Files;
use crate::persist::loader::Loader;
use crate::persist::refusal::LoadError;
use crate::settings::{FsyncPolicy, Settings};
use crate::testing::{Rig, disk, settings};

type Content = Vec<Vec<String>>;

/// A disk, and what the data was at each sequence number.
struct Scene {
    disk: MemDisk,
    past: Vec<(u64, Content)>,
    /// What the base and the snapshot cover.
    base: u64,
    snapshot: u64,
}

const OUT: &str = "/out";
const NEW: [u8; 16] = [9; 16];

fn step(rig: &mut Rig, past: &mut Vec<(u64, Content)>, lines: &[&str]) {
    for line in lines {
        rig.clock.advance_ms(1000);
        rig.run(line);
        assert!(rig.pass());
        let seq = rig.info("seq").parse().unwrap();
        past.push((seq, rig.dump()));
    }
}

/// A base, a closed file, one that was open when a snapshot was taken, and
/// one that is open; each line a group of its own.
fn scene(rdb: bool) -> Scene {
    let disk = disk();
    disk.create_dir(Path::new(OUT)).unwrap();
    let settings = Settings {
        aof_use_rdb_preamble: rdb,
        ..settings(FsyncPolicy::Always)
    };
    let mut past = Vec::new();
    let mut rig = Rig::open(Arc::new(disk.clone()), settings.clone()).unwrap();
    step(
        &mut rig,
        &mut past,
        &["SET a 1", "RPUSH l a b c", "SADD s x y"],
    );
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.settle();
    let base = past.last().unwrap().0;
    step(&mut rig, &mut past, &["INCR a", "LPOP l", "SET b 1"]);
    drop(rig);
    let now = 60_000_000;
    let mut rig = Rig::open_at(Arc::new(disk.clone()), settings.clone(), now, 1).unwrap();
    step(&mut rig, &mut past, &["INCR a", "HSET h f v"]);
    rig.engine.save(&mut rig.host).unwrap();
    let snapshot = past.last().unwrap().0;
    step(&mut rig, &mut past, &["INCR a", "DEL b"]);
    drop(rig);
    let mut rig = Rig::open_at(Arc::new(disk.clone()), settings, 2 * now, 1).unwrap();
    step(&mut rig, &mut past, &["INCR a", "MSET b 2 c 3", "FLUSHALL"]);
    drop(rig);
    Scene {
        disk,
        past,
        base,
        snapshot,
    }
}

fn files(dir: &str) -> Files {
    let settings = Settings {
        dir: dir.into(),
        ..Settings::default()
    };
    Files::new(&settings, 77)
}

fn plan(disk: &MemDisk, until: Until) -> Result<Plan, LoadError> {
    let loader = Loader {
        disk,
        files: &files("/data"),
        limits: &Limits::default(),
        truncated_ok: true,
        fresh: (HistoryId::new([1; 16]).unwrap(), Seed([1; 16])),
    };
    Plan::make(&loader, until, &mut |_: u64| {})
}

fn carry_to(disk: &dyn Disk, plan: &Plan, dir: &str, numbers: (u64, u64)) -> bool {
    let history = HistoryId::new(NEW).unwrap();
    carry(disk, plan, &files(dir), numbers, history, 180_000_000).is_ok()
}

fn start(disk: &MemDisk, dir: &str) -> Result<Rig, String> {
    let settings = Settings {
        dir: dir.into(),
        ..settings(FsyncPolicy::Always)
    };
    Rig::open_at(Arc::new(disk.clone()), settings, 240_000_000, 3).map_err(|e| e.0)
}

/// The data set that comes out goes on, through restarts.
#[track_caller]
fn comes_to(disk: &MemDisk, dir: &str, want: &Content) {
    let mut rig = start(disk, dir).unwrap();
    assert_eq!(rig.dump(), *want);
    assert_eq!(
        rig.info("history"),
        HistoryId::new(NEW).unwrap().to_string()
    );
    rig.run("SET after 1");
    assert!(rig.pass());
    let content = rig.dump();
    drop(rig);
    let mut rig = start(disk, dir).unwrap();
    assert_eq!(rig.dump(), content);
    rig.engine.rewrite(&mut rig.host).unwrap();
    rig.settle();
    drop(rig);
    assert_eq!(start(disk, dir).unwrap().dump(), content);
}

#[test]
fn the_state_at_each_sequence_number() {
    for rdb in [true, false] {
        let scene = scene(rdb);
        let newest = scene.past.last().unwrap().0;
        for seq in scene.base..=newest + 2 {
            let plan = plan(&scene.disk, Until::Seq(seq)).unwrap();
            let (last, want) = scene.past.iter().rfind(|(s, ..)| *s <= seq).unwrap();
            assert_eq!(plan.seq, *last);
            assert_eq!(plan.lost.effects, newest - last);
            assert_eq!(
                (plan.lost.unreadable, plan.cut.is_empty()),
                (0, *last == newest)
            );
            let disk = scene.disk.kill();
            assert!(carry_to(&disk, &plan, OUT, (1, 1)));
            comes_to(&disk, OUT, want);
        }
        let early = plan(&scene.disk, Until::Seq(scene.base - 1)).unwrap_err();
        assert!(early.text.contains("is too late"), "{early}");
    }
}

#[test]
fn the_state_at_a_moment() {
    let scene = scene(true);
    let mut moments = Vec::new();
    for name in scene.disk.list(Path::new("/data/persist-aof")).unwrap() {
        let bytes = read_file(&scene.disk, &Path::new("/data/persist-aof").join(name)).unwrap();
        sound_groups(&bytes, |group| {
            moments.push((group.header.next_seq().unwrap() - 1, group.header.time_ms));
        });
    }
    assert_eq!(moments.len(), 10);
    for (seq, time) in moments {
        assert_eq!(plan(&scene.disk, Until::Time(time)).unwrap().seq, seq);
        assert_eq!(plan(&scene.disk, Until::Time(time + 999)).unwrap().seq, seq);
    }
    assert!(plan(&scene.disk, Until::Time(1)).is_err());
}

#[test]
fn what_is_lost_is_told() {
    let scene = scene(true);
    let at = scene
        .past
        .iter()
        .rfind(|(_, c)| !c[0].is_empty())
        .unwrap()
        .0;
    let told = plan(&scene.disk, Until::Seq(at)).unwrap().lost;
    assert_eq!(
        told.commands.into_iter().collect::<Vec<_>>(),
        [("FLUSHALL".into(), 1)]
    );
    assert!(told.keys.is_empty());
    let told = plan(&scene.disk, Until::Seq(at - 1)).unwrap().lost;
    let keys: Vec<_> = told.keys.into_iter().collect();
    assert_eq!(keys, [((0, b"b".to_vec()), 1), ((0, b"c".to_vec()), 1)]);
}

/// Every byte of every file, one after the other: what comes out is one of
/// the states that were, and not older than what is sound.
#[test]
fn damage_anywhere() {
    for rdb in [true, false] {
        let scene = scene(rdb);
        let log = Path::new("/data/persist-aof");
        let mut paths: Vec<_> = scene
            .disk
            .list(log)
            .unwrap()
            .iter()
            .map(|n| log.join(n))
            .collect();
        paths.push("/data/persist.rdb".into());
        for path in &paths {
            let bytes = read_file(&scene.disk, path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            for at in 0..bytes.len() {
                let disk = scene.disk.kill();
                let mut damaged = bytes.clone();
                if at % 2 == 0 {
                    damaged[at] ^= 1 << (at % 8);
                } else {
                    damaged.truncate(at);
                }
                disk.put(path, &damaged);
                let what = format!("{name}, byte {at}");
                let plan = match plan(&disk, Until::Damage) {
                    Ok(plan) => plan,
                    Err(e) => panic!("{what}: {e}"),
                };
                let incr = name.contains("incr");
                // Manifest, base and snapshot are each to be had from elsewhere.
                let newest = scene.past.last().unwrap().0;
                let least = if incr { scene.base } else { newest };
                assert!(plan.seq >= least, "{what}: {} {:?}", plan.seq, plan.remarks);
                if at % 16 < 2 {
                    assert!(carry_to(&disk, &plan, OUT, (1, 1)));
                    let found = start(&disk, OUT)
                        .unwrap_or_else(|e| panic!("{what}: {e}"))
                        .dump();
                    let (_, want) = scene.past.iter().find(|(s, ..)| *s == plan.seq).unwrap();
                    assert_eq!(found, *want, "{what}");
                }
            }
        }
        // A damaged file from before the snapshot costs nothing.
        let disk = scene.disk.kill();
        let first = log.join("persist.aof.2.incr.aof");
        let mut bytes = read_file(&disk, &first).unwrap();
        bytes[230] ^= 1;
        disk.put(&first, &bytes);
        let plan = plan(&disk, Until::Damage).unwrap();
        assert_eq!(plan.seq, scene.past.last().unwrap().0);
        assert_eq!(plan.base_file.covers, scene.snapshot);
    }
}

/// Power fails at every step of a repair in place: a start finds what was
/// there before, or what the repair makes.
#[test]
fn power_failures_while_a_log_is_cut_in_place() {
    let scene = scene(true);
    let plan = plan(&scene.disk, Until::Seq(scene.snapshot + 1)).unwrap();
    let after = &scene.past.iter().find(|(s, ..)| *s == plan.seq).unwrap().1;
    let before = &scene.past.last().unwrap().1;
    let mut finished = false;
    for n in 1..80 {
        let mem = scene.disk.kill();
        let disk = FaultyDisk::new(Arc::new(mem.clone()));
        disk.faults().set(n, Fault::PowerOff);
        let done = carry_to(&disk, &plan, "/data", (10, 10));
        for seed in 0..12 {
            let how = match seed {
                0 => Crash::DropUnsynced,
                seed => Crash::Torn {
                    seed,
                    granularity: 512,
                },
            };
            let crashed = mem.crash(how);
            match start(&crashed, "/data") {
                Ok(rig) => {
                    let found = rig.dump();
                    assert!(
                        found == *after || (found == *before && !done),
                        "step {n}, {seed}"
                    );
                }
                Err(e) => panic!("step {n}, {seed}: {e}"),
            }
        }
        if done {
            comes_to(&mem, "/data", after);
            let aside = mem.list(Path::new("/data/quarantine")).unwrap();
            assert!(
                aside.iter().any(|name| name.contains("manifest.old")),
                "{aside:?}"
            );
            assert!(
                aside.iter().any(|name| name.contains("persist.rdb")),
                "{aside:?}"
            );
            finished = true;
            break;
        }
    }
    assert!(finished);
}

fn loader<'a>(disk: &'a MemDisk, files: &'a Files, limits: &'a Limits) -> Loader<'a> {
    Loader {
        disk,
        files,
        limits,
        truncated_ok: true,
        fresh: (HistoryId::new([1; 16]).unwrap(), Seed([1; 16])),
    }
}

/// What `repair --in-place` does; `on` is `disk`, or in its way.
fn repair_in_place(disk: &MemDisk, on: &dyn Disk) -> Result<(), String> {
    let (files, limits) = (files("/data"), Limits::default());
    let loader = loader(disk, &files, &limits);
    let plan = Plan::make(&loader, Until::Damage, &mut |_: u64| {}).map_err(|e| e.text)?;
    let numbers = names::free_numbers(&loader).unwrap();
    let history = HistoryId::new(NEW).unwrap();
    let made = carry(on, &plan, &files, numbers, history, 180_000_000);
    made.map(|_| ()).map_err(|e| e.to_string())
}

/// What `repair --salvage --in-place` does; `on` is `disk`, or in its way.
fn salvage_in_place(disk: &MemDisk, on: &dyn Disk) -> Result<(), String> {
    let (files, limits) = (files("/data"), Limits::default());
    let loader = loader(disk, &files, &limits);
    let why = loader.load(&mut |_: u64| {}).err().unwrap();
    assert!(why.damage, "{why}");
    let found =
        Salvaged::salvage(&loader, &why, &mut |_: u64| {}).unwrap_or_else(|e| panic!("{e}"));
    let numbers = names::free_numbers(&loader).unwrap();
    let history = HistoryId::new(NEW).unwrap();
    let made = renew(on, &found, &files, numbers, history, 180_000_000);
    made.map(|_| ()).map_err(|e| e.to_string())
}

/// Power fails, or the process ends, at every step of a salvage in place, and
/// then of the start that finds it: a start finds what the salvage makes, or
/// refuses what was damaged before; then another salvage comes to the same.
#[test]
fn power_failures_while_a_folder_is_salvaged_in_place() {
    for case in ["group", "base", "manifest", "snapshot"] {
        power_failures_in(case, salvage_in_place);
    }
}

/// The same of a repair that cuts.
#[test]
fn power_failures_while_a_damaged_folder_is_repaired_in_place() {
    for case in ["group", "base", "manifest", "snapshot"] {
        power_failures_in(case, repair_in_place);
    }
}

fn power_failures_in(case: &str, mend: fn(&MemDisk, &dyn Disk) -> Result<(), String>) {
    let scene = scene(case != "base");
    let damaged = scene.disk.kill();
    let log = Path::new("/data/persist-aof");
    let path = match case {
        "group" => log.join("persist.aof.3.incr.aof"),
        "base" => log.join("persist.aof.2.base.aof"),
        "manifest" => log.join("persist.aof.manifest"),
        _ => "/data/persist.rdb".into(),
    };
    let mut bytes = read_file(&damaged, &path).unwrap();
    let at = if case == "snapshot" {
        40
    } else {
        bytes.len() / 2
    };
    bytes[at] ^= 1;
    damaged.put(&path, &bytes);
    let whole = damaged.kill();
    mend(&whole, &whole).unwrap();
    let want = start(&whole, "/data").unwrap().dump();
    comes_to(&whole, "/data", &want);
    let (mut finished, mut refused, mut found_it) = (false, 0, 0);
    for n in 1.. {
        let mem = damaged.kill();
        let disk = FaultyDisk::new(Arc::new(mem.clone()));
        disk.faults().set(n, Fault::PowerOff);
        let done = mend(&mem, &disk).is_ok();
        for seed in 0..9 {
            let granularity = [512, 4096, 1][seed as usize % 3];
            let left = match seed {
                0 => mem.crash(Crash::DropUnsynced),
                1 => mem.kill(),
                2..6 => mem.crash(Crash::Torn { seed, granularity }),
                _ => mem.crash(Crash::Scrambled { seed, granularity }),
            };
            let told = format!("{case}, step {n}, {seed}");
            // A start that is cut short in turn.
            for stop in [0, 1 + (n + seed) % 12]
                .into_iter()
                .take(1 + seed as usize % 2)
            {
                let left = left.kill();
                if stop > 0 {
                    let disk = FaultyDisk::new(Arc::new(left.clone()));
                    disk.faults().set(stop, Fault::PowerOff);
                    let _ = Rig::open_at(
                        Arc::new(disk),
                        settings(FsyncPolicy::Always),
                        200_000_000,
                        4,
                    );
                }
                let left = left.crash(Crash::DropUnsynced);
                match start(&left, "/data") {
                    Ok(rig) => {
                        found_it += 1;
                        assert_eq!(rig.dump(), want, "{told}");
                        drop(rig);
                        if (n + seed) % 4 == 0 {
                            comes_to(&left, "/data", &want);
                        }
                    }
                    Err(why) => {
                        refused += 1;
                        assert!(!done, "{told}: {why}");
                        mend(&left, &left).unwrap_or_else(|e| panic!("{told}: {e}; {why}"));
                        if (n + seed) % 4 == 0 {
                            comes_to(&left, "/data", &want);
                        } else {
                            let found = start(&left, "/data").unwrap();
                            assert_eq!(found.dump(), want, "{told}");
                        }
                    }
                }
            }
        }
        if done {
            let aside = mem.list(Path::new("/data/quarantine")).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(aside.iter().any(|a| a.contains(name)), "{case}: {aside:?}");
            finished = true;
            break;
        }
    }
    assert!(
        finished && refused > 20 && found_it > 20,
        "{case}: {refused}, {found_it}"
    );
}

#[test]
fn with_nothing_to_begin_from() {
    let scene = scene(true);
    let disk = scene.disk.kill();
    let base = "/data/persist-aof/persist.aof.2.base.rdb";
    disk.put(Path::new(base), b"RPERSIST");
    disk.put(Path::new("/data/persist.rdb"), b"RPERSIST");
    let told = plan(&disk, Until::Damage).unwrap_err().text;
    assert!(told.contains("there is nothing to begin from"), "{told}");
    assert!(told.contains("persist.rdb"), "{told}");
}
