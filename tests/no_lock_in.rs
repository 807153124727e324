//! With `persist.aof-use-rdb-preamble no`, a redis-server without the module loads the log and holds the same data.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

#[path = "commands/argv/mod.rs"]
mod argv;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use argv::{Family, Maker};
use persist_tools::contents::{self, Contents, Value};
use persist_tools::generate;
use persist_tools::host::host;
use persist_tools::preload::{Faults, Preload};
use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::{Server, server_binary, wait_until};

fn durable(argv: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut argv = argv.to_vec();
    argv[0] = [b"PERSIST.", &argv[0][..]].concat();
    argv
}

fn words(client: &mut RawClient, lines: &[&str]) {
    for line in lines {
        let reply = client.words(line).unwrap();
        assert!(!reply.is_error(), "{line}: {reply}");
    }
}

/// Values of every type, small and large, with times in ms, in three databases.
fn fill(client: &mut RawClient, mark: &str) {
    for db in ["0", "3", "15"] {
        words(client, &[&format!("SELECT {db}")]);
        words(
            client,
            &[
                &format!("PERSIST.SET s:{mark} {mark}{db}"),
                &format!("PERSIST.SET ttl:{mark} x PXAT 4102444800123"),
                &format!("PERSIST.HSET h:{mark} f v g 1"),
                &format!("PERSIST.PEXPIREAT h:{mark} 4102444800457"),
                &format!("PERSIST.RPUSH l:{mark} a b c"),
                &format!("PERSIST.SADD is:{mark} 1 2 3"),
                &format!("PERSIST.SADD s3:{mark} a b c"),
                &format!("PERSIST.ZADD z:{mark} -inf a +inf b 0.1 c -0 d 4.9e-324 e 1e308 f"),
                // Effects of what has no fixed outcome.
                &format!("PERSIST.SADD pop:{mark} 1 2 3 4 5 6 7 8 9"),
                &format!("PERSIST.SPOP pop:{mark} 4"),
                &format!("PERSIST.SPOP pop:{mark}"),
                &format!("PERSIST.INCRBYFLOAT f:{mark} 0.1"),
                &format!("PERSIST.HINCRBYFLOAT h:{mark} n 1e-7"),
                &format!("PERSIST.SET gone:{mark} x PX 1"),
                &format!("PERSIST.GETEX s:{mark} EX 1000000"),
                &format!("PERSIST.SETRANGE long:{mark} 100000 x"),
            ],
        );
        words(
            client,
            &[
                &format!("PERSIST.XADD x:{mark} 5-5 a 1 b 2"),
                &format!("PERSIST.XADD x:{mark} 6 a 1"),
                &format!("PERSIST.XADD x:{mark} 7-* a 1 b 2"),
                &format!("PERSIST.XADD x:{mark} * a 1 b 2"),
                &format!("PERSIST.XGROUP CREATE x:{mark} g 0 ENTRIESREAD 0"),
                &format!("PERSIST.XGROUP CREATE x:{mark} behind $"),
                &format!("PERSIST.XREADGROUP GROUP g c COUNT 2 STREAMS x:{mark} >"),
                &format!("PERSIST.XREADGROUP GROUP g d COUNT 1 STREAMS x:{mark} >"),
                &format!("PERSIST.XGROUP CREATECONSUMER x:{mark} g idle"),
                &format!("PERSIST.XCLAIM x:{mark} g e 0 6 TIME 1000000000000 RETRYCOUNT 9 JUSTID"),
                // Pending, and no longer there: taken out at the front and in the middle.
                &format!("PERSIST.XDEL x:{mark} 6"),
                &format!("PERSIST.XTRIM x:{mark} MINID 6"),
                // Empty, but with a past.
                &format!("PERSIST.XGROUP CREATE none:{mark} g $ MKSTREAM"),
                &format!("PERSIST.XADD was:{mark} MAXLEN 0 9-9 a b"),
                &format!("PERSIST.XADD low:{mark} 8-8 a b"),
                &format!("PERSIST.XADD low:{mark} 9-9 a b"),
                &format!("PERSIST.XDEL low:{mark} 9-9"),
                &format!("PERSIST.XSETID low:{mark} 8-9 ENTRIESADDED 70"),
            ],
        );
        let many = "for i = 1, 2000 do redis.call('PERSIST.XADD', KEYS[1], 'MAXLEN', '~', 1500, '*', 'n', i) end";
        let reply = client.command(&["EVAL", many, "1", &format!("bigXADD:{mark}")]);
        assert!(!reply.unwrap().is_error());
        let binary = [&[0u8, 255, b'\r', b'\n', b'#', b'*'][..], db.as_bytes()].concat();
        client
            .command(&[&b"PERSIST.SET"[..], &binary, &binary])
            .unwrap();
        for (name, wide) in [("RPUSH", 1), ("SADD", 1), ("HSET", 2), ("ZADD", 2)] {
            let mut argv = vec![format!("PERSIST.{name}"), format!("big{name}:{mark}")];
            for i in 0..2000 {
                argv.push(format!("{i}"));
                if wide == 2 {
                    argv.push(format!("member {i} of {db}"));
                }
            }
            assert!(!client.command(&argv).unwrap().is_error());
        }
        words(client, &["MULTI", &format!("PERSIST.INCR m:{mark}")]);
        words(client, &[&format!("PERSIST.LPUSH ml:{mark} x"), "SELECT 3"]);
        words(client, &[&format!("PERSIST.APPEND m3:{mark} y"), "EXEC"]);
    }
    let script = "redis.call('PERSIST.SET', KEYS[1], '1') redis.call('PERSIST.INCR', KEYS[1])";
    let reply = client.command(&["EVAL", script, "1", &format!("lua:{mark}")]);
    assert!(!reply.unwrap().is_error());
    for command in generate::commands(11, 300) {
        let mut bytes = Vec::new();
        command.write_resp("PERSIST.", &mut bytes);
        client.send_bytes(&bytes).unwrap();
        client.read().unwrap();
    }
}

/// Random commands of all families, some of them in transactions.
fn random(client: &mut RawClient, seed: u64) {
    let mut families = vec![
        Family::Strings,
        Family::Keys,
        Family::Lists,
        Family::Hashes,
        Family::Sets,
        Family::SortedSets,
        Family::Streams,
        Family::Bitmaps,
        Family::Sorting,
        Family::HyperLogLogs,
        Family::Places,
    ];
    // Times of fields need a host of 7.4 or later.
    let info = client.words("COMMAND INFO HPEXPIREAT").unwrap();
    if !info.into_items().remove(0).into_items().is_empty() {
        families.push(Family::HashFields);
    }
    words(client, &["SELECT 1"]);
    for family in families {
        let mut maker = Maker::new(family, seed);
        for number in 0..500 {
            let argv = maker.next();
            let argv = if argv[0].eq_ignore_ascii_case(b"SELECT") {
                argv
            } else {
                durable(&argv)
            };
            if number % 50 == 0 {
                words(client, &["MULTI"]);
            }
            client.command(&argv).unwrap();
            if number % 50 == 20 {
                client.words("EXEC").unwrap();
            }
        }
    }
}

fn settled(server: &Server) -> Contents {
    wait_until("an fsync", Duration::from_secs(60), || {
        Ok(server.persist_info("at_risk_bytes")? == "0")
    })
    .unwrap();
    contents::read(server.port(), "PERSIST.", 16).unwrap()
}

fn image(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into(), fs::read(entry.path()).unwrap()))
        .collect()
}

/// Copies the log into the folder of a server that isn't there yet.
fn copy_log(from: &Path, root: &Path) -> PathBuf {
    let to = root.join("data/persist-aof");
    fs::create_dir_all(&to).unwrap();
    for (name, bytes) in image(from) {
        fs::write(to.join(name), bytes).unwrap();
    }
    to
}

fn check_aof(manifest: &Path) {
    // The host's own; or Redis's, for a host that came without.
    let server = server_binary();
    let beside = ["redis-check-aof", "valkey-check-aof"].map(|name| server.with_file_name(name));
    let tool = beside
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| "redis-check-aof".into());
    let dir = manifest.parent().unwrap();
    let before = image(dir);
    let output = Command::new(tool).arg(manifest).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("All AOF files and manifest are valid"),
        "{text}"
    );
    assert!(image(dir) == before, "it has changed something");
}

/// A redis-server without the module, on a copy of the log.
fn stock(log: &Path) -> (tempfile::TempDir, Server) {
    let root = tempfile::tempdir().unwrap();
    let copy = copy_log(log, root.path());
    check_aof(&copy.join("persist.aof.manifest"));
    let server = Server::builder()
        .dir(root.path())
        .config("appendonly", "yes")
        .config("appenddirname", "persist-aof")
        .config("appendfilename", "persist.aof")
        // What it loads is to be compared, not what it then expires.
        .config("aof-load-truncated", "no")
        .start()
        .unwrap();
    (root, server)
}

#[test]
fn a_stock_server_loads_the_log_and_holds_the_same() {
    let mut server = Server::builder()
        .with_module()
        .config("persist.aof-use-rdb-preamble", "no")
        .config("persist.aof-timestamp-enabled", "yes")
        .config("persist.auto-aof-rewrite-percentage", "0")
        .start()
        .unwrap();
    let mut client = server.raw().unwrap();
    fill(&mut client, "base");
    random(&mut client, 1);
    let rewrites = server.persist_info("aof_rewrites").unwrap();
    words(&mut client, &["PERSIST.REWRITE"]);
    wait_until("REWRITE", Duration::from_secs(60), || {
        Ok(server.persist_info("aof_rewrites")? != rewrites)
    })
    .unwrap();
    fill(&mut client, "first");
    random(&mut client, 2);
    settled(&server);
    // Each start goes on in a file of its own.
    server.restart().unwrap();
    let mut client = server.raw().unwrap();
    fill(&mut client, "second");
    random(&mut client, 3);
    words(
        &mut client,
        &["SELECT 0", "PERSIST.DEL s:base", "PERSIST.PERSIST ttl:base"],
    );
    let ours = settled(&server);
    assert!(server.shutdown(true).unwrap().success());

    let log = server.data_dir().join("persist-aof");
    let manifest = fs::read_to_string(log.join("persist.aof.manifest")).unwrap();
    let files: Vec<&str> = manifest
        .lines()
        .filter(|line| line.starts_with("file "))
        .collect();
    assert!(files.len() >= 3, "{manifest}");
    assert!(files[0].contains(".base.aof seq"), "{manifest}");
    for file in &files {
        let name = file.split(' ').nth(1).unwrap();
        assert!(fs::metadata(log.join(name)).unwrap().len() > 0, "{name}");
    }
    // All types, small and large, and more databases than three.
    let kinds = |large: bool| {
        let of = |key: &contents::Key| match &key.value {
            Value::String(bytes) => ("string", bytes.len() > 1000),
            Value::List(items) => ("list", items.len() > 1000),
            Value::Set(items) => ("set", items.len() > 1000),
            Value::Hash(items) => ("hash", items.len() > 1000),
            Value::SortedSet(items) => ("zset", items.len() > 1000),
            Value::Stream(stream) => ("stream", stream.entries.len() > 1000),
        };
        ours.values()
            .map(of)
            .filter(|kind| kind.1 == large)
            .map(|kind| kind.0)
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!((kinds(false).len(), kinds(true).len()), (6, 6));
    assert!(ours.values().any(|key| key.expires_at == 4_102_444_800_457));

    let (_root, host) = stock(&log);
    let theirs = contents::read(host.port(), "", 16).unwrap();
    let read = as_stock_servers_read(ours.clone());
    contents::same("ours and a stock server's", &read, &theirs, 0).unwrap();
    assert!(
        host.log().contains("DB loaded from append only file"),
        "{}",
        host.log()
    );
    assert_eq!(host.words("EXISTS gone:base").unwrap(), Resp::Int(0));
    // So do we, of course, and more than once.
    for _ in 0..2 {
        server.restart().unwrap();
        let again = contents::read(server.port(), "PERSIST.", 16).unwrap();
        contents::same("before and after a start", &ours, &again, 0).unwrap();
    }
}

/// What a stock server of the version under test makes of this. From 7.2 on, and in Valkey, a stream's last id can't be
/// set below the greatest id deleted: there it stays that one, and the command that sets it is void as a whole.
fn as_stock_servers_read(mut ours: Contents) -> Contents {
    if host().unwrap().version == (7, 0) {
        return ours;
    }
    for ((_, name), key) in &mut ours {
        let name = String::from_utf8_lossy(name).into_owned();
        let Value::Stream(stream) = &mut key.value else {
            continue;
        };
        let Some(mark) = name.strip_prefix("low:") else {
            continue;
        };
        let mut set = |fact: &str, value: &str| {
            let old = stream.facts.insert(fact.into(), value.into());
            assert!(old.is_some(), "{name}: {fact}");
        };
        set("last-generated-id", "9-9");
        // A rewrite sets the number in a command of its own.
        if !["base", "a"].contains(&mark) {
            set("entries-added", "2");
        }
    }
    ours
}

/// As long as the base isn't there, two incr files are in force; a copy taken then is as good.
#[test]
fn a_copy_taken_in_the_middle_of_a_rewrite_loads_too() {
    let temp = tempfile::tempdir().unwrap();
    let control = temp.path().join("control");
    let slow = Preload::new().slow_path(".base").control(&control);
    let server = Server::builder()
        .with_module()
        .preload(slow)
        .config("persist.aof-use-rdb-preamble", "no")
        .config("persist.auto-aof-rewrite-percentage", "0")
        .start()
        .unwrap();
    let mut client = server.raw().unwrap();
    fill(&mut client, "a");
    let rewrite = |client: &mut RawClient| {
        let rewrites = server.persist_info("aof_rewrites").unwrap();
        words(client, &["PERSIST.REWRITE"]);
        rewrites
    };
    let done = |before: &str| {
        wait_until("REWRITE", Duration::from_secs(60), || {
            Ok(server.persist_info("aof_rewrites")? != before)
        })
        .unwrap();
    };
    let before = rewrite(&mut client);
    done(&before);
    fill(&mut client, "b");
    settled(&server);
    // The child takes long over its fsync, and is stopped while the log goes on behind it.
    let slow = Faults {
        slow_fsync_ms: 3_000,
        ..Faults::default()
    };
    slow.apply(&control).unwrap();
    let before = rewrite(&mut client);
    wait_until("the child", Duration::from_secs(60), || {
        Ok(!server.children().is_empty())
    })
    .unwrap();
    let child = server.children()[0] as libc::pid_t;
    // SAFETY: kill(2) touches no memory of ours; the child is that of this test's server, which reaps it only later.
    assert_eq!(unsafe { libc::kill(child, libc::SIGSTOP) }, 0);
    fill(&mut client, "c");
    let ours = settled(&server);
    let log = server.data_dir().join("persist-aof");
    let manifest = fs::read_to_string(log.join("persist.aof.manifest")).unwrap();
    assert_eq!(manifest.matches(" type i ").count(), 2, "{manifest}");
    let (_root, host) = stock(&log);
    let theirs = contents::read(host.port(), "", 16).unwrap();
    let read = as_stock_servers_read(ours);
    contents::same("in the middle of a rewrite", &read, &theirs, 0).unwrap();
    Faults::default().apply(&control).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(child, libc::SIGCONT) }, 0);
    done(&before);
}
