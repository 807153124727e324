//! What `redis-persist export` writes makes the same data set again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use persist_engine::base::clock::Clock;
use persist_engine::format::resp::CommandReader;
use serde_json::Value;
use support::{NOW, Rig, fill, image, settings, tool};

/// Runs commands of a pipe on an engine, and puts a prefix off.
fn pipe(rig: &mut Rig, bytes: &[u8], prefix: &[u8]) {
    let (mut reader, mut argv, mut db) = (CommandReader::new(bytes, 0), Vec::new(), 0);
    while reader.next(&mut argv).unwrap().is_some() {
        if argv[0] == b"SELECT" {
            db = std::str::from_utf8(argv[1]).unwrap().parse().unwrap();
            continue;
        }
        argv[0] = argv[0].strip_prefix(prefix).unwrap();
        rig.argv(db, &argv);
    }
    rig.pass();
}

fn bytes(dir: &Path, more: &[&str]) -> Vec<u8> {
    let out = dir.with_extension("out");
    let said = tool(
        &[
            &["export", dir.to_str().unwrap(), "-o", out.to_str().unwrap()],
            more,
        ]
        .concat(),
    );
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    fs::read(out).unwrap()
}

#[test]
fn resp_makes_the_same_again() {
    let temp = tempfile::tempdir().unwrap();
    let (from, to) = (temp.path().join("from"), temp.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    let rig = fill(&from, true);
    let want = rig.content();
    drop(rig);
    let before = image(&from);
    let mut rig = Rig::open(&to);
    pipe(&mut rig, &bytes(&from, &[]), b"");
    assert_eq!(rig.content(), want);
    // Once more, over what is there.
    pipe(
        &mut rig,
        &bytes(&from, &["--replace", "--durable"]),
        b"PERSIST.",
    );
    assert_eq!(rig.content(), want);
    assert!(image(&from) == before);
}

#[test]
fn json_says_all() {
    let temp = tempfile::tempdir().unwrap();
    let mut rig = fill(temp.path(), true);
    rig.argv(
        1,
        &[
            b"ZADD", b"scores", b"-inf", b"a", b"0.1", b"b", b"inf", b"c",
        ],
    );
    rig.argv(1, &[b"RPUSH", b"bytes", b"plain", b"\xff"]);
    rig.pass();
    let want: BTreeSet<String> = rig
        .content()
        .keys()
        .map(|(db, key)| format!("{db}:{key}"))
        .collect();
    drop(rig);
    let said = tool(&["dump", temp.path().to_str().unwrap(), "--format", "json"]);
    let lines: Vec<Value> = said
        .out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), want.len());
    let of = |key: &str| {
        lines
            .iter()
            .find(|l| l["key"] == key)
            .unwrap_or_else(|| panic!("{key}"))
    };
    let cart = of("cart:1");
    assert_eq!(
        cart["value"],
        serde_json::json!([["apples", "3", 4_102_444_800_000u64], ["pears", "4"]])
    );
    assert_eq!(
        (&cart["type"], &cart["expires_at_ms"]),
        (&"hash".into(), &Value::Null)
    );
    assert_eq!(of("user:2")["expires_at_ms"], 4_102_444_800_000u64);
    assert_eq!(of("jobs")["value"], serde_json::json!(["b", "c", "d"]));
    assert_eq!(
        of("scores")["value"],
        serde_json::json!([["a", "-inf"], ["b", 0.1], ["c", "inf"]])
    );
    assert_eq!(of("scores")["db"], 1);
    let stream = &of("events")["value"];
    assert_eq!(
        stream["entries"],
        serde_json::json!([{"id": "5-1", "fields": [["what", "started"]]}])
    );
    assert_eq!(stream["groups"][0]["name"], "readers");
    assert_eq!(stream["groups"][0]["pending"][0]["consumer"], "r1");
    // What isn't text is in base64, all of its line.
    let list = of("Ynl0ZXM=");
    assert_eq!(list["encoding"], "base64");
    assert_eq!(list["value"], serde_json::json!(["cGxhaW4=", "/w=="]));
}

#[test]
fn only_some_keys() {
    let temp = tempfile::tempdir().unwrap();
    let mut rig = fill(temp.path(), true);
    // Due by the time of the system, which is that of the tool.
    rig.run(&[&format!("SET due 1 PXAT {}", NOW + 1)]);
    drop(rig);
    let keys = |more: &[&str]| -> BTreeSet<String> {
        let dir = temp.path().to_str().unwrap();
        let said = tool(&[&["export", dir, "--format", "json"], more].concat());
        let line = |l| {
            serde_json::from_str::<Value>(l).unwrap()["key"]
                .as_str()
                .unwrap()
                .to_string()
        };
        said.out.lines().map(line).collect()
    };
    assert_eq!(keys(&["--prefix", "big:", "--key", "u*2"]).len(), 4);
    assert_eq!(
        keys(&["--key", "big:[sh]*"]),
        BTreeSet::from(["big:set".into(), "big:hash".into()])
    );
    assert_eq!(keys(&["--db", "3"]).len(), 1);
    assert_eq!(keys(&["--db", "3", "--prefix", "big:"]).len(), 0);
    let (all, expired) = (keys(&[]), keys(&["--with-expired"]));
    if persist_engine::base::clock::SystemClock::new().now_ms() > NOW {
        assert_eq!(expired.difference(&all).collect::<Vec<_>>(), ["due"]);
    }
}

#[test]
fn a_file_is_whole_or_not_there() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    fs::create_dir(&dir).unwrap();
    drop(fill(&dir, true));
    let out = temp.path().join("no/such/folder/out");
    let said = tool(&["export", dir.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert_eq!(said.code, 1);
    said.has("no/such/folder/out: No such file");
    assert!(Rig::with(settings(&dir)).is_ok());
}

/// `-o /dev/stdout`, `-o /dev/null` and pipes are written to, not replaced.
#[test]
fn what_is_no_file_is_not_replaced_by_one() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    fs::create_dir(&dir).unwrap();
    drop(fill(&dir, true));
    let want = bytes(&dir, &[]);
    let pipe = temp.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    // Open at both ends, so that nobody waits for the other.
    let reader = fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let taken = std::thread::spawn({
        let len = want.len();
        move || {
            let mut taken = vec![0; len];
            std::io::Read::read_exact(&mut &reader, &mut taken).unwrap();
            taken
        }
    });
    let said = tool(&[
        "export",
        dir.to_str().unwrap(),
        "-o",
        pipe.to_str().unwrap(),
    ]);
    assert_eq!(said.code, 0, "{said:?}");
    let is_pipe =
        std::os::unix::fs::FileTypeExt::is_fifo(&fs::metadata(&pipe).unwrap().file_type());
    assert!(is_pipe, "a file is in the place of the pipe");
    assert!(taken.join().unwrap() == want);
}
