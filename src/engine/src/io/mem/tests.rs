use super::*;
use crate::io::{append_all, read_file};
use proptest::prelude::*;

fn disk() -> MemDisk {
    let disk = MemDisk::new();
    disk.create_dir(Path::new("/d")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn p(name: &str) -> PathBuf {
    Path::new("/d").join(name)
}

fn dir() -> &'static Path {
    Path::new("/d")
}

fn read(disk: &MemDisk, name: &str) -> Option<Vec<u8>> {
    read_file(disk, &p(name)).ok()
}

#[test]
fn bytes_need_sync_and_names_need_sync_dir() {
    let disk = disk();
    let file = disk.create_new(&p("a")).unwrap();
    append_all(&*file, b"one").unwrap();
    assert_eq!(read(&disk.crash(Crash::DropUnsynced), "a"), None);
    disk.sync_dir(dir()).unwrap();
    assert_eq!(read(&disk.crash(Crash::DropUnsynced), "a").unwrap(), b"");
    file.sync().unwrap();
    append_all(&*file, b"two").unwrap();
    assert_eq!(read(&disk.crash(Crash::DropUnsynced), "a").unwrap(), b"one");
    assert_eq!(read(&disk.kill(), "a").unwrap(), b"onetwo");
    let killed = disk.kill().crash(Crash::DropUnsynced);
    assert_eq!(read(&killed, "a").unwrap(), b"one");
    file.sync().unwrap();
    assert_eq!(
        read(&disk.crash(Crash::DropUnsynced), "a").unwrap(),
        b"onetwo"
    );
}

#[test]
fn renames_and_removals_need_sync_dir() {
    let disk = disk();
    disk.put(&p("a"), b"new");
    disk.put(&p("b"), b"old");
    disk.put(&p("c"), b"gone");
    disk.rename(&p("a"), &p("b")).unwrap();
    disk.remove(&p("c")).unwrap();
    disk.hard_link(&p("b"), &p("e")).unwrap();
    assert_eq!(disk.list(dir()).unwrap(), ["b", "e"]);
    let after = disk.crash(Crash::DropUnsynced);
    assert_eq!(after.list(dir()).unwrap(), ["a", "b", "c"]);
    assert_eq!(read(&after, "b").unwrap(), b"old");
    disk.sync_dir(dir()).unwrap();
    let after = disk.crash(Crash::DropUnsynced);
    assert_eq!(after.list(dir()).unwrap(), ["b", "e"]);
    assert_eq!(read(&after, "b").unwrap(), b"new");
    append_all(&*after.open_append(&p("e")).unwrap(), b"!").unwrap();
    assert_eq!(read(&after, "b").unwrap(), b"new!");
}

#[test]
fn a_rename_between_folders_needs_both() {
    let disk = disk();
    disk.put(&p("a"), b"x");
    let sub = Path::new("/d/sub");
    disk.create_dir(sub).unwrap();
    disk.sync_dir(dir()).unwrap();
    disk.rename(&p("a"), &sub.join("a")).unwrap();
    disk.sync_dir(sub).unwrap();
    assert!(disk.crash(Crash::DropUnsynced).exists(&p("a")).unwrap());
    disk.sync_dir(dir()).unwrap();
    let after = disk.crash(Crash::DropUnsynced);
    assert!(!after.exists(&p("a")).unwrap() && after.exists(&sub.join("a")).unwrap());
}

#[test]
fn a_folder_that_was_not_synced_takes_its_files_along() {
    let disk = MemDisk::new();
    disk.create_dir(dir()).unwrap();
    disk.create_new(&p("a")).unwrap();
    disk.sync_dir(dir()).unwrap();
    assert!(!disk.crash(Crash::DropUnsynced).exists(&p("a")).unwrap());
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(disk.crash(Crash::DropUnsynced).exists(&p("a")).unwrap());
}

#[test]
fn a_cut_needs_sync() {
    let disk = disk();
    disk.put(&p("a"), b"0123456789");
    let file = disk.open_append(&p("a")).unwrap();
    file.truncate(4).unwrap();
    append_all(&*file, b"xy").unwrap();
    assert_eq!(read(&disk, "a").unwrap(), b"0123xy");
    assert_eq!(
        read(&disk.crash(Crash::DropUnsynced), "a").unwrap(),
        b"0123456789"
    );
    file.sync().unwrap();
    assert_eq!(
        read(&disk.crash(Crash::DropUnsynced), "a").unwrap(),
        b"0123xy"
    );
    disk.truncate(&p("a"), 2).unwrap();
    assert_eq!(read(&disk.crash(Crash::DropUnsynced), "a").unwrap(), b"01");
    assert!(disk.truncate(&p("a"), 3).is_err());
}

#[test]
fn errors_as_the_system_gives_them() {
    let disk = disk();
    let kind = |r: io::Result<()>| r.unwrap_err().kind();
    assert_eq!(
        kind(disk.create_new(Path::new("/no/a")).map(drop)),
        io::ErrorKind::NotFound
    );
    assert_eq!(
        kind(disk.open_append(&p("a")).map(drop)),
        io::ErrorKind::NotFound
    );
    disk.put(&p("a"), b"");
    assert_eq!(
        kind(disk.create_new(&p("a")).map(drop)),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(disk.hard_link(&p("a"), &p("a"))),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(kind(disk.remove(&p("b"))), io::ErrorKind::NotFound);
    assert_eq!(
        kind(disk.sync_dir(Path::new("/no"))),
        io::ErrorKind::NotFound
    );
    let before = disk.ops();
    disk.remove(&p("a")).unwrap();
    assert_eq!(disk.ops(), before + 1);
}

proptest! {
    /// Whatever the seed: what was synced is there, and beyond it only bytes
    /// that were written, cut at the granularity (or zeros, if scrambled).
    #[test]
    fn a_crash_keeps_a_prefix(
        synced in prop::collection::vec(1u8.., 0..2000),
        unsynced in prop::collection::vec(1u8.., 0..2000),
        seed in any::<u64>(),
    ) {
        let disk = disk();
        disk.put(&p("a"), b"");
        let file = disk.open_append(&p("a")).unwrap();
        append_all(&*file, &synced).unwrap();
        file.sync().unwrap();
        append_all(&*file, &unsynced).unwrap();
        let all = [synced.clone(), unsynced].concat();

        let torn = read(&disk.crash(Crash::Torn { seed, granularity: 512 }), "a").unwrap();
        prop_assert!(torn.len() >= synced.len() && all.starts_with(&torn));
        let len = torn.len();
        prop_assert!(len.is_multiple_of(512) || len == all.len() || len == synced.len());

        let mixed = read(&disk.crash(Crash::Scrambled { seed, granularity: 512 }), "a").unwrap();
        prop_assert_eq!(mixed.len(), all.len());
        prop_assert!(mixed.starts_with(&synced));
        prop_assert!(mixed.iter().zip(&all).all(|(m, a)| m == a || *m == 0));

        let same = read(&disk.crash(Crash::Torn { seed, granularity: 512 }), "a").unwrap();
        prop_assert_eq!(same, torn);
    }
}

#[test]
fn seeds_reach_every_outcome() {
    let disk = disk();
    disk.put(&p("m"), b"old");
    let file = disk.create_new(&p("t")).unwrap();
    append_all(&*file, b"new").unwrap();
    disk.rename(&p("t"), &p("m")).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let after = disk.crash(Crash::Torn {
            seed,
            granularity: 1,
        });
        seen.insert((read(&after, "m").unwrap(), after.exists(&p("t")).unwrap()));
    }
    // Old, or the new name with any part of the bytes; the temp name or not.
    assert!(seen.contains(&(b"old".to_vec(), false)) && seen.contains(&(b"old".to_vec(), true)));
    assert!(seen.contains(&(b"new".to_vec(), false)) && seen.contains(&(b"".to_vec(), false)));
}

/// Runs `meanwhile` in the middle of `sync`.
fn in_the_middle_of(sync: impl FnOnce() + Send, meanwhile: impl FnMut() + Send + 'static) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pause::on_this_thread(meanwhile);
            sync();
        });
    });
}

#[test]
fn an_fsync_makes_durable_what_was_there_at_its_start() {
    let disk = disk();
    let file = disk.create_new(&p("a")).unwrap();
    disk.sync_dir(dir()).unwrap();
    append_all(&*file, b"before").unwrap();
    let (twin, later) = (file.clone(), disk.clone());
    in_the_middle_of(
        || file.sync().unwrap(),
        move || {
            append_all(&*twin, b"between").unwrap();
            // Not done yet: any part of it may be there.
            let left = later.crash(Crash::DropUnsynced);
            assert_eq!(read(&left, "a").unwrap(), b"");
            let mut found: Vec<_> = (0..200)
                .map(|seed| {
                    let torn = Crash::Torn {
                        seed,
                        granularity: 1,
                    };
                    read(&later.crash(torn), "a").unwrap()
                })
                .collect();
            found.sort();
            found.dedup();
            assert_eq!(found.len(), b"beforebetween".len() + 1);
        },
    );
    let after = disk.crash(Crash::DropUnsynced);
    assert_eq!(read(&after, "a").unwrap(), b"before");
    file.sync().unwrap();
    let after = disk.crash(Crash::DropUnsynced);
    assert_eq!(read(&after, "a").unwrap(), b"beforebetween");
}

#[test]
fn a_cut_during_an_fsync_is_not_synced_by_it() {
    let disk = disk();
    let file = disk.create_new(&p("a")).unwrap();
    disk.sync_dir(dir()).unwrap();
    append_all(&*file, b"before").unwrap();
    let twin = file.clone();
    in_the_middle_of(
        || file.sync().unwrap(),
        move || {
            twin.truncate(2).unwrap();
            append_all(&*twin, b"x").unwrap();
        },
    );
    let after = disk.crash(Crash::DropUnsynced);
    assert_eq!(read(&after, "a").unwrap(), b"before");
    file.sync().unwrap();
    let after = disk.crash(Crash::DropUnsynced);
    assert_eq!(read(&after, "a").unwrap(), b"bex");
}

#[test]
fn of_two_fsyncs_the_later_start_counts() {
    let disk = disk();
    let file = disk.create_new(&p("a")).unwrap();
    disk.sync_dir(dir()).unwrap();
    append_all(&*file, b"one").unwrap();
    let twin = file.clone();
    in_the_middle_of(
        || file.sync().unwrap(),
        move || {
            append_all(&*twin, b"two").unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| twin.sync().unwrap());
            });
        },
    );
    let after = disk.crash(Crash::DropUnsynced);
    assert_eq!(read(&after, "a").unwrap(), b"onetwo");
}

#[test]
fn an_fsync_of_a_folder_makes_durable_the_names_at_its_start() {
    let disk = disk();
    disk.create_new(&p("before")).unwrap();
    let later = disk.clone();
    in_the_middle_of(
        || disk.sync_dir(dir()).unwrap(),
        move || {
            later.create_new(&p("between")).unwrap();
            let left = later.crash(Crash::DropUnsynced);
            assert!(left.list(dir()).unwrap().is_empty());
        },
    );
    let after = disk.crash(Crash::DropUnsynced);
    assert_eq!(after.list(dir()).unwrap(), ["before"]);
}
