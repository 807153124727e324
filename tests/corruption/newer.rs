//! Files of a newer version of the module: refused whatever `persist.on-corruption` says, and left as they are. The
//! checksums are right, as that version would make them.

use std::fs;
use std::path::Path;
use std::process::Command;

use persist_engine::base::checksum::crc64;
use persist_tools::server::{Server, module_path};

use super::refused::{file_like, image, module, ok, put_back, rewrite};

const NEWER: &str = "A newer version of the module wrote it: start with that one.";

/// A way to make a file that a newer version could have written.
type Change = fn(&mut Vec<u8>);

/// A snapshot's header, with its checksum made right.
fn header(bytes: &mut [u8], change: impl Fn(&mut [u8])) {
    change(bytes);
    let crc = crc64(&bytes[..88]);
    bytes[88..96].copy_from_slice(&crc.to_le_bytes());
}

/// The line and payload of a file's group, counted from the end if `last`.
fn group(bytes: &[u8], last: bool) -> (usize, usize) {
    let line = |part: &[u8]| part == b"#PG1 ";
    let mut windows = bytes.windows(5);
    let found = if last {
        windows.rposition(line)
    } else {
        windows.position(line)
    };
    let at = found.expect("a group");
    let digits = |name: &[u8]| {
        let start = at
            + bytes[at..]
                .windows(3)
                .position(|part| part == name)
                .unwrap()
            + 3;
        let text = std::str::from_utf8(&bytes[start..start + 20]).unwrap();
        text.parse::<usize>().unwrap()
    };
    (at, 202 + digits(b" l="))
}

/// Makes both checksums of a group right.
fn seal(group: &mut [u8]) {
    let (x, c) = (202 - 2 - 16 - 3 - 8, 202 - 2 - 16);
    let check = format!("{:08x}", crc64(&group[..x]) as u32);
    group[x..x + 8].copy_from_slice(check.as_bytes());
    let covered = [&group[..c], &group[202..]].concat();
    let crc = format!("{:016x}", crc64(&covered));
    group[c..c + 16].copy_from_slice(crc.as_bytes());
}

fn in_group(bytes: &mut [u8], last: bool, change: impl Fn(&mut [u8])) {
    let (at, len) = group(bytes, last);
    let group = &mut bytes[at..at + len];
    change(group);
    seal(group);
}

fn version_2(group: &mut [u8]) {
    group[3] = b'2';
}

/// A manifest's lines, with the checksum made right.
fn manifest(bytes: &mut Vec<u8>, change: impl Fn(&str) -> String) {
    let text = String::from_utf8(bytes.clone()).unwrap();
    let (body, _) = text.split_once("#CRC64 ").unwrap();
    let body = change(body);
    *bytes = format!("{body}#CRC64 {:016x}\n", crc64(body.as_bytes())).into_bytes();
}

/// The file's name has it; what is done to it; what the refusal says of it.
const CHANGES: &[(&str, &str, Change, &str)] = &[
    (
        "persist.rdb",
        "a version",
        |b| header(b, |h| h[8] = 2),
        "version 2",
    ),
    (
        "persist.rdb",
        "a feature",
        |b| header(b, |h| h[20] |= 1),
        "feature bits",
    ),
    (
        ".base.rdb",
        "a version",
        |b| header(b, |h| h[8..10].copy_from_slice(&[0, 1])),
        "version 256",
    ),
    (
        ".base.rdb",
        "a feature",
        |b| header(b, |h| h[20] |= 1),
        "feature bits",
    ),
    (
        ".base.aof",
        "the first group",
        |b| in_group(b, false, version_2),
        "version 2",
    ),
    (
        ".base.aof",
        "the last group",
        |b| in_group(b, true, version_2),
        "version 2",
    ),
    (
        ".incr.aof",
        "the first group",
        |b| in_group(b, false, version_2),
        "version 2",
    ),
    (
        ".incr.aof",
        "the last group",
        |b| in_group(b, true, version_2),
        "version 2",
    ),
    (
        ".incr.aof",
        "a line of another shape",
        |b| {
            let (at, _) = group(b, true);
            b.truncate(at);
            b.extend_from_slice(b"#PG12 something short\r\n");
        },
        "version 12",
    ),
    (
        ".incr.aof",
        "a flag of the last group",
        |b| in_group(b, true, |g| g[9] = b'z'),
        "values this version knows",
    ),
    (
        ".incr.aof",
        "a flag of the first group",
        |b| in_group(b, false, |g| g[9] = b'z'),
        "values this version knows",
    ),
    (
        ".incr.aof",
        "a command of the last group",
        |b| {
            in_group(b, true, |g| {
                let at = g.windows(5).position(|part| part == b"RPUSH").unwrap();
                g[at..at + 5].copy_from_slice(b"RPASH");
            });
        },
        "RPASH",
    ),
    (
        ".manifest",
        "a version",
        |b| manifest(b, |body| body.replace("version 1", "version 2")),
        "version 2",
    ),
    (
        ".manifest",
        "a version with another checksum",
        |b| {
            let text = String::from_utf8(b.clone()).unwrap();
            let text = text.replace("version 1", "version 2");
            *b = text.replace("#CRC64", "#SHA256").into_bytes();
        },
        "version 2",
    ),
    (
        ".manifest",
        "a line",
        |b| manifest(b, |body| format!("{body}#tenants 7\n")),
        "#tenants 7",
    ),
    (
        ".manifest",
        "a word",
        |b| manifest(b, |body| body.replacen(" type b", " type b key 7", 1)),
        "key",
    ),
    (
        ".manifest",
        "a kind of file",
        |b| manifest(b, |body| body.replacen(" type b", " type q", 1)),
        "type b, i or h",
    ),
];

/// A stopped server with a snapshot, a base and a log behind it; of commands with `preamble` no.
fn stopped(preamble: &str, how: &str) -> Server {
    let mut server = module()
        .config("persist.aof-use-rdb-preamble", preamble)
        .config("persist.auto-aof-rewrite-percentage", "0")
        .start()
        .unwrap();
    for line in ["SET a 1", "HSET h f v", "SET a 2"] {
        server.words(&format!("PERSIST.{line}")).unwrap();
    }
    rewrite(&server);
    for n in 0..5 {
        let line = format!("PERSIST.RPUSH list{n} a b c");
        server.words(&line).unwrap();
    }
    assert_eq!(server.words("PERSIST.SAVE").unwrap(), ok());
    server.words("PERSIST.RPUSH list a b c").unwrap();
    match how {
        "a crash" => server.kill9().unwrap(),
        _ => drop(server.shutdown(true).unwrap()),
    }
    server
}

fn tool(args: &[&str], dir: &Path) -> (bool, String) {
    let output = Command::new(module_path().with_file_name("redis-persist"))
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout) + &text(&output.stderr),
    )
}

#[test]
fn files_of_a_newer_version_are_refused_and_left_alone() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for (preamble, how) in [
        ("yes", "a crash"),
        ("yes", "a clean end"),
        ("no", "a crash"),
    ] {
        let mut server = stopped(preamble, how);
        let data = server.data_dir();
        let good = image(&data);
        for (part, what, change, said) in CHANGES {
            let folder = match *part {
                "persist.rdb" => data.clone(),
                _ => data.join("persist-aof"),
            };
            let names = fs::read_dir(&folder).unwrap().flatten();
            let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
            // Of a closed log the manifest says how it ends: these would be damage.
            let other_end = ["a line of another shape", "a command of the last group"];
            if !names.any(|name| name.contains(part))
                || how == "a clean end" && other_end.contains(what)
            {
                continue;
            }
            let file = file_like(&folder, part);
            let when = format!("{part}, {what}, after {how}");
            let mut bytes = good[&file].clone();
            change(&mut bytes);
            assert_ne!(bytes, good[&file], "{when}");
            fs::write(&file, bytes).unwrap();
            let newer = image(&data);
            for mode in ["stop", "salvage", "fallback"] {
                tried += 1;
                server.set_config("persist.on-corruption", mode).unwrap();
                let error = match server.restart() {
                    Ok(()) => {
                        wrong.push(format!("{when}, {mode}: it starts\n{}", server.log_tail(3)));
                        server.kill9().unwrap();
                        put_back(&newer, &data);
                        continue;
                    }
                    Err(error) => error.to_string(),
                };
                let mut lines = error.lines().rev();
                let line = lines.find(|line| line.contains("<persist> can't start"));
                let line = line.unwrap_or(&error);
                for text in [
                    file.to_str().unwrap(),
                    said,
                    NEWER,
                    "Nothing was changed on disk",
                ] {
                    if !line.contains(text) {
                        wrong.push(format!("{when}, {mode}: {text:?} in {line}"));
                    }
                }
                if image(&data) != newer {
                    wrong.push(format!("{when}, {mode}: files have changed"));
                    put_back(&newer, &data);
                }
            }
            // The offline tool comes to the same verdict, and throws nothing away.
            let to = server.root().join("repaired");
            let repair = ["repair", ".", "--to", to.to_str().unwrap(), "--yes"];
            for args in [
                vec!["check"],
                repair.to_vec(),
                [&repair[..], &["--salvage"]].concat(),
                vec!["reseal", ".", "--to", to.to_str().unwrap(), "--yes"],
            ] {
                // That is about the log alone.
                if args[0] == "reseal" && *part == "persist.rdb" {
                    continue;
                }
                let (sound, text) = tool(&args, &data);
                if sound || !text.contains(NEWER) || image(&data) != newer {
                    wrong.push(format!("{when}: {args:?} says {text}"));
                }
                let _ = fs::remove_dir_all(&to);
            }
            put_back(&good, &data);
        }
        // As it was, it is fine.
        server.restart().unwrap();
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} of them",
        wrong.join("\n"),
        wrong.len()
    );
    assert!(tried > 100, "only {tried}");
}

/// Without a manifest the files say themselves how they belong together, and without a base there may be a snapshot; what
/// nobody here can read can't be left out.
#[test]
fn files_of_a_newer_version_are_not_left_out_where_others_are_damaged() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for (preamble, damage) in [
        ("yes", ".manifest"),
        ("no", ".manifest"),
        ("yes", ".base.rdb"),
        ("no", ".base.aof"),
    ] {
        let mut server = stopped(preamble, "a crash");
        let data = server.data_dir();
        let good = image(&data);
        let folder = data.join("persist-aof");
        for (part, what, change, _) in CHANGES {
            let names = fs::read_dir(&folder).unwrap().flatten();
            let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
            if [damage, ".manifest"].contains(part)
                || !part.starts_with('.')
                || !names.any(|n| n.contains(part))
            {
                continue;
            }
            let file = file_like(&folder, part);
            let when = format!("{part}, {what}, and a damaged {damage}");
            let mut bytes = good[&file].clone();
            change(&mut bytes);
            fs::write(&file, bytes).unwrap();
            let other = file_like(&folder, damage);
            if damage == ".manifest" {
                fs::remove_file(other).unwrap();
            } else {
                let mut bytes = good[&other].clone();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(other, bytes).unwrap();
            }
            let newer = image(&data);
            for mode in ["stop", "salvage", "fallback"] {
                tried += 1;
                server.set_config("persist.on-corruption", mode).unwrap();
                if server.restart().is_ok() {
                    wrong.push(format!("{when}, {mode}: it starts\n{}", server.log_tail(4)));
                    server.kill9().unwrap();
                }
                if image(&data) != newer {
                    wrong.push(format!("{when}, {mode}: files have changed"));
                    put_back(&newer, &data);
                }
            }
            let to = server.root().join("repaired");
            let repair = ["repair", ".", "--to", to.to_str().unwrap(), "--yes"];
            // The snapshot may cover what nobody can read.
            if damage != ".manifest" && what.contains("first") {
                put_back(&good, &data);
                continue;
            }
            for args in [repair.to_vec(), [&repair[..], &["--salvage"]].concat()] {
                let (sound, text) = tool(&args, &data);
                if sound || !text.contains(NEWER) || image(&data) != newer {
                    wrong.push(format!("{when}: {args:?} says {text}"));
                }
                let _ = fs::remove_dir_all(&to);
            }
            put_back(&good, &data);
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} of them",
        wrong.join("\n"),
        wrong.len()
    );
    assert!(tried > 20, "only {tried}");
}
