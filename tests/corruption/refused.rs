//! Damage that a start refuses: every flipped byte is noticed and named, and nothing on disk changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use persist_tools::contents;
use persist_tools::raw::Resp;
use persist_tools::server::{Builder, Server};

pub fn ok() -> Resp {
    Resp::Simple(b"OK".to_vec())
}

pub fn module() -> Builder {
    Server::builder().with_module()
}

/// Why the server doesn't start, or didn't again.
pub fn refusal<T>(result: persist_tools::Result<T>) -> String {
    match result {
        Ok(_) => panic!("it starts"),
        Err(error) => error.to_string(),
    }
}

/// Every file under a folder with its content, but for the lock.
pub fn image(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.insert(path.clone(), Vec::new());
            all.extend(image(&path));
        } else if !path.ends_with("persist.lock") {
            let bytes = fs::read(&path).unwrap();
            all.insert(path, bytes);
        }
    }
    all
}

pub fn put_back(files: &BTreeMap<PathBuf, Vec<u8>>, dir: &Path) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
    for (path, bytes) in files {
        if path.parent().is_some_and(|parent| !parent.exists()) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        if bytes.is_empty() && path.extension().is_none() {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::write(path, bytes).unwrap();
        }
    }
}

/// A new base for the log.
pub fn rewrite(server: &Server) {
    let rewrites = server.persist_info("aof_rewrites").unwrap();
    server.words("PERSIST.REWRITE").unwrap();
    persist_tools::server::wait_until("REWRITE", std::time::Duration::from_secs(60), || {
        Ok(server.persist_info("aof_rewrites")? != rewrites)
    })
    .unwrap();
}

/// A server with a base, a log behind it, some keys; stopped. Each group tells that the one before it is durable.
fn stopped(appendonly: bool) -> Server {
    let mut server = module()
        .config("persist.auto-aof-rewrite-percentage", "0")
        .config("persist.appendfsync", "always")
        .start()
        .unwrap();
    let mut client = server.raw().unwrap();
    for i in 0..300 {
        client
            .words(&format!("PERSIST.SET key:{i} value-of-{i}"))
            .unwrap();
    }
    if appendonly {
        rewrite(&server);
        for i in 0..50 {
            client
                .words(&format!("PERSIST.RPUSH list:{i} a b c"))
                .unwrap();
        }
    } else {
        assert_eq!(
            server.words("CONFIG SET persist.appendonly no").unwrap(),
            ok()
        );
        assert_eq!(client.words("PERSIST.SAVE").unwrap(), ok());
        server.words("CONFIG REWRITE").unwrap();
    }
    server.shutdown(true).unwrap();
    if !appendonly {
        // The snapshot alone.
        fs::remove_dir_all(server.data_dir().join("persist-aof")).unwrap();
    }
    server
}

pub fn file_like(dir: &Path, part: &str) -> PathBuf {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries
        .filter(|path| path.to_string_lossy().contains(part))
        .filter(|path| fs::metadata(path).unwrap().len() > 0)
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("no file like {part}"))
}

/// Every flipped byte of `file` keeps the server from starting, with a line that names file and place, and nothing on
/// disk changes.
fn every_flip_is_refused(server: &mut Server, file: &Path, places: &[usize]) {
    let data = server.data_dir();
    let good = image(&data);
    for &at in places {
        let mut bytes = good[file].clone();
        bytes[at] ^= 0x40;
        fs::write(file, &bytes).unwrap();
        let damaged = image(&data);
        let error = refusal(server.restart());
        let line = error
            .lines()
            .rev()
            .find(|line| line.contains("<persist> can't start"))
            .unwrap_or_else(|| panic!("byte {at}: {error}"));
        assert!(line.contains(file.to_str().unwrap()), "byte {at}: {line}");
        assert!(
            line.contains(": byte ") || line.contains(": line "),
            "byte {at}: {line}"
        );
        assert!(
            line.contains("Nothing was changed on disk"),
            "byte {at}: {line}"
        );
        let now = image(&data);
        assert!(
            now == damaged,
            "byte {at}: the folder has changed: {:?}",
            now.keys()
        );
    }
    put_back(&good, &data);
    server.restart().unwrap();
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let mut server = stopped(false);
    let file = server.data_dir().join("persist.rdb");
    let len = fs::metadata(&file).unwrap().len() as usize;
    every_flip_is_refused(
        &mut server,
        &file,
        &[0, 20, 40, len / 3, len / 2, len - 20, len - 1],
    );
    assert_eq!(server.words("PERSIST.DBSIZE").unwrap(), Resp::Int(300));
}

#[test]
fn a_damaged_base_is_refused() {
    let mut server = stopped(true);
    let file = file_like(&server.data_dir().join("persist-aof"), ".base.");
    let len = fs::metadata(&file).unwrap().len() as usize;
    every_flip_is_refused(&mut server, &file, &[0, 40, len / 2, len - 1]);
    assert_eq!(server.words("PERSIST.DBSIZE").unwrap(), Resp::Int(350));
}

#[test]
fn a_log_damaged_in_its_middle_is_refused() {
    let mut server = stopped(true);
    let file = file_like(&server.data_dir().join("persist-aof"), ".incr.");
    let len = fs::metadata(&file).unwrap().len() as usize;
    every_flip_is_refused(&mut server, &file, &[0, 30, len / 4, len / 2, len * 3 / 4]);
    assert_eq!(server.words("PERSIST.DBSIZE").unwrap(), Resp::Int(350));
}

#[test]
fn a_damaged_or_missing_manifest_is_refused() {
    let mut server = stopped(true);
    let dir = server.data_dir().join("persist-aof");
    let manifest = dir.join("persist.aof.manifest");
    let len = fs::metadata(&manifest).unwrap().len() as usize;
    every_flip_is_refused(&mut server, &manifest, &[0, len / 4, len / 2, len - 2]);
    server.shutdown(true).unwrap();
    let good = image(&server.data_dir());
    fs::remove_file(&manifest).unwrap();
    let error = refusal(server.restart());
    assert!(
        error.contains("no manifest") && error.contains("persist.aof.manifest"),
        "{error}"
    );
    put_back(&good, &server.data_dir());
    let base = file_like(&dir, ".base.");
    fs::remove_file(&base).unwrap();
    let error = refusal(server.restart());
    assert!(
        error.contains(base.to_str().unwrap()) && error.contains("missing"),
        "{error}"
    );
    put_back(&good, &server.data_dir());
    server.restart().unwrap();
    assert_eq!(server.words("PERSIST.DBSIZE").unwrap(), Resp::Int(350));
}

#[test]
fn two_data_sets_are_refused_with_the_choices() {
    let mut server = stopped(true);
    let mut other = stopped(false);
    let from = other.data_dir().join("persist.rdb");
    let to = server.data_dir().join("persist.rdb");
    fs::copy(&from, &to).unwrap();
    let before = image(&server.data_dir());
    let error = refusal(server.restart());
    assert!(
        error.contains(to.to_str().unwrap()) && error.contains("persist.aof.manifest"),
        "{error}"
    );
    assert!(error.contains("different data sets"), "{error}");
    assert!(image(&server.data_dir()) == before);
    // Taking one away chooses.
    fs::remove_file(&to).unwrap();
    server.restart().unwrap();
    other.restart().unwrap();
    assert_eq!(server.words("PERSIST.DBSIZE").unwrap(), Resp::Int(350));
}

/// A crash's torn end: the server was killed, so nothing marks the last groups as durable.
#[test]
fn a_torn_end_is_cut_and_kept() {
    let mut server = module().start().unwrap();
    let mut client = server.raw().unwrap();
    for i in 0..20 {
        client
            .words(&format!("PERSIST.SET key:{i} value-of-{i}"))
            .unwrap();
    }
    server.kill9().unwrap();
    let file = file_like(&server.data_dir().join("persist-aof"), ".incr.");
    let whole = fs::read(&file).unwrap();
    let good = image(&server.data_dir());
    // In the middle of the last group, of its line, and one byte short; and zeros, as some file systems leave them.
    let last = whole.windows(4).rposition(|four| four == b"#PG1").unwrap();
    let torn = [
        (whole[..last + 10].to_vec(), last),
        (whole[..whole.len() - 30].to_vec(), last),
        (whole[..whole.len() - 1].to_vec(), last),
        ([&whole[..], &[0; 500]].concat(), whole.len()),
        (
            [&whole[..last], &vec![0; whole.len() - last]].concat(),
            last,
        ),
    ];
    for (bytes, at) in torn {
        put_back(&good, &server.data_dir());
        fs::write(&file, &bytes).unwrap();
        // Whoever doesn't want it cut is asked.
        server
            .set_config("persist.aof-load-truncated", "no")
            .unwrap();
        let damaged = image(&server.data_dir());
        let error = refusal(server.restart());
        assert!(
            error.contains(file.to_str().unwrap())
                && error.contains(&format!(": byte {at}: "))
                && error.contains("aof-load-truncated"),
            "{error}"
        );
        assert!(image(&server.data_dir()) == damaged);

        server
            .set_config("persist.aof-load-truncated", "yes")
            .unwrap();
        server.restart().unwrap();
        let keys = if at == whole.len() { 20 } else { 19 };
        assert_eq!(server.words("PERSIST.DBSIZE").unwrap(), Resp::Int(keys));
        let tail = server.log_tail(20);
        assert!(
            tail.contains("short read while loading the AOF file"),
            "{tail}"
        );
        let kept = file_like(&server.data_dir().join("quarantine"), ".tail-at-");
        assert_eq!(fs::read(kept).unwrap(), &bytes[at..]);
        // And it goes on from there.
        server.words("PERSIST.SET more 1").unwrap();
        let before = contents::read(server.port(), "PERSIST.", 16).unwrap();
        server.kill9().unwrap();
        server.restart().unwrap();
        let after = contents::read(server.port(), "PERSIST.", 16).unwrap();
        contents::same("after a cut", &before, &after, 0).unwrap();
        server.kill9().unwrap();
    }
}
