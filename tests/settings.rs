//! Every setting, and what becomes of a server whose settings or folder can't be used.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use persist_tools::raw::Resp;
use persist_tools::server::{Builder, Server, module_path, server_binary};

/// Name, default, another good value and how CONFIG GET shows it, and bad values.
type Row = (
    &'static str,
    &'static str,
    (&'static str, &'static str),
    &'static [&'static str],
);

const NUMBERS: &[&str] = &["-1", "abc", "1.5", "99999999999999999999"];
const WORDS: &[&str] = &["maybe", "2", ""];

const CHANGEABLE: &[Row] = &[
    (
        "save",
        "default",
        ("900 1 300 10", "900 1 300 10"),
        &["1", "0 1", "a b", "60 -1", "60 1 60"],
    ),
    ("stop-writes-on-bgsave-error", "yes", ("no", "no"), WORDS),
    ("rdbcompression", "yes", ("no", "no"), WORDS),
    ("rdbchecksum", "yes", ("no", "no"), WORDS),
    ("appendonly", "yes", ("no", "no"), WORDS),
    (
        "appendfsync",
        "everysec",
        ("always", "always"),
        &["sometimes", "yes", ""],
    ),
    ("no-appendfsync-on-rewrite", "no", ("yes", "yes"), WORDS),
    ("aof-timestamp-enabled", "no", ("yes", "yes"), WORDS),
    ("max-at-risk-ms", "2000", ("50", "50"), NUMBERS),
    ("auto-aof-rewrite-percentage", "100", ("50", "50"), NUMBERS),
    (
        "auto-aof-rewrite-min-size",
        "67108864",
        ("1mb", "1048576"),
        &["-1", "abc", "12tb"],
    ),
    ("aof-use-rdb-preamble", "yes", ("no", "no"), WORDS),
    ("aof-load-truncated", "yes", ("no", "no"), WORDS),
    ("maxmemory", "0", ("100mb", "104857600"), &["-1", "abc"]),
    ("hash-max-listpack-entries", "512", ("50", "50"), NUMBERS),
    ("hash-max-listpack-value", "64", ("50", "50"), NUMBERS),
    (
        "list-max-listpack-size",
        "-2",
        ("50", "50"),
        &["abc", "1.5"],
    ),
    (
        "stream-node-max-bytes",
        "4096",
        ("8kb", "8192"),
        &["-1", "abc"],
    ),
    ("stream-node-max-entries", "100", ("7", "7"), NUMBERS),
    ("set-max-intset-entries", "512", ("50", "50"), NUMBERS),
    ("zset-max-listpack-entries", "128", ("50", "50"), NUMBERS),
    ("zset-max-listpack-value", "64", ("50", "50"), NUMBERS),
    (
        "hll-sparse-max-bytes",
        "3000",
        ("1kb", "1024"),
        &["-1", "abc"],
    ),
];

const FIXED: &[Row] = &[
    (
        "dbfilename",
        "persist.rdb",
        ("other.rdb", "other.rdb"),
        &["a/b", "..", ""],
    ),
    (
        "appenddirname",
        "persist-aof",
        ("other-aof", "other-aof"),
        &["a/b", ".", ""],
    ),
    (
        "appendfilename",
        "persist.aof",
        ("other.aof", "other.aof"),
        &["a/b", "a b", ""],
    ),
    (
        "on-corruption",
        "stop",
        ("salvage", "salvage"),
        &["repair", ""],
    ),
    (
        "file-mode",
        "600",
        ("640", "640"),
        &["644", "0600", "rw", ""],
    ),
];

fn ok() -> Resp {
    Resp::Simple(b"OK".to_vec())
}

fn module() -> Builder {
    Server::builder().with_module()
}

fn setting(server: &Server, name: &str) -> String {
    let reply = server.words(&format!("CONFIG GET persist.{name}")).unwrap();
    let items = reply.into_items();
    assert_eq!(items.len(), 2, "persist.{name}");
    items[1].text().unwrap()
}

fn set(server: &Server, name: &str, value: &str) -> Resp {
    let name = format!("persist.{name}");
    let mut client = server.raw().unwrap();
    client.command(&["CONFIG", "SET", &name, value]).unwrap()
}

/// Why the server doesn't start, or didn't again.
fn refusal<T>(result: persist_tools::Result<T>) -> String {
    match result {
        Ok(_) => panic!("it starts"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_setting_has_its_default_and_no_other_exists() {
    let server = module().start().unwrap();
    let all = server.words("CONFIG GET persist.*").unwrap().into_items();
    let mut found: BTreeMap<String, String> = all
        .chunks(2)
        .map(|pair| (pair[0].text().unwrap(), pair[1].text().unwrap()))
        .collect();
    for (name, default, ..) in CHANGEABLE.iter().chain(FIXED) {
        let value = found.remove(&format!("persist.{name}"));
        assert_eq!(value.as_deref(), Some(*default), "persist.{name}");
    }
    let dir = found.remove("persist.dir");
    assert_eq!(dir.as_deref(), server.data_dir().to_str());
    // Routing comes with its own tests.
    found.remove("persist.route");
    assert!(found.is_empty(), "not in this test: {found:?}");
}

#[test]
fn settings_change_live_and_survive_a_rewrite_of_the_configuration() {
    let mut server = module().start().unwrap();
    for (name, default, (value, shown), bad) in CHANGEABLE {
        for wrong in *bad {
            let reply = set(&server, name, wrong);
            let text = reply.text().unwrap();
            assert!(
                text.starts_with("ERR CONFIG SET failed"),
                "{name} {wrong:?}: {text}"
            );
            assert!(
                text.contains(" - "),
                "{name} {wrong:?} without a reason: {text}"
            );
            assert_eq!(setting(&server, name), *default, "{name} after {wrong:?}");
        }
        assert_eq!(set(&server, name, value), ok(), "{name}");
        assert_eq!(setting(&server, name), *shown);
    }
    assert_eq!(server.words("CONFIG REWRITE").unwrap(), ok());
    server.restart().unwrap();
    for (name, default, (value, shown), _) in CHANGEABLE {
        assert_eq!(setting(&server, name), *shown, "{name} after a restart");
        // Back to the default, also on disk.
        assert_eq!(set(&server, name, default), ok(), "{name} {value}");
    }
    assert_eq!(server.words("CONFIG REWRITE").unwrap(), ok());
    server.restart().unwrap();
    for (name, default, ..) in CHANGEABLE {
        assert_eq!(
            setting(&server, name),
            *default,
            "{name} after another restart"
        );
    }
}

#[test]
fn names_of_files_are_fixed_at_run_time() {
    let mut server = module().start().unwrap();
    for (name, _, (value, _), _) in FIXED {
        let text = set(&server, name, value).text().unwrap();
        assert!(
            text.contains("can't set immutable config"),
            "{name}: {text}"
        );
    }
    let text = set(&server, "dir", "/tmp").text().unwrap();
    assert!(text.contains("can't set immutable config"), "dir: {text}");
    server.words("PERSIST.SET k v").unwrap();
    // From the configuration they count.
    server.shutdown(true).unwrap();
    for (name, _, (value, _), _) in FIXED {
        server
            .set_config(&format!("persist.{name}"), value)
            .unwrap();
    }
    let dir = server.root().join("elsewhere");
    fs::create_dir(&dir).unwrap();
    server
        .set_config("persist.dir", dir.to_str().unwrap())
        .unwrap();
    server.restart().unwrap();
    assert_eq!(server.words("PERSIST.DBSIZE").unwrap(), Resp::Int(0));
    assert_eq!(server.words("PERSIST.SAVE").unwrap(), ok());
    for name in [
        "other.rdb",
        "other-aof/other.aof.manifest",
        "other-aof/other.aof.1.base.rdb",
        "other-aof/other.aof.1.incr.aof",
        "persist.lock",
    ] {
        assert!(dir.join(name).exists(), "{name}");
    }
}

#[test]
fn values_behind_the_modules_path_count() {
    let mut builder = module();
    for (name, _, (value, _), _) in CHANGEABLE.iter().chain(FIXED) {
        builder = builder.module_arg(name, value);
    }
    let mut server = builder.start().unwrap();
    for (name, _, (_, shown), _) in CHANGEABLE.iter().chain(FIXED) {
        assert_eq!(setting(&server, name), *shown, "{name}");
    }
    // What the configuration says goes before.
    server.set_config("persist.maxmemory", "7mb").unwrap();
    server.restart().unwrap();
    assert_eq!(setting(&server, "maxmemory"), (7 << 20).to_string());
    // The prefix may be there, too, and names in capitals.
    let server = module()
        .module_arg("PERSIST.AppendFsync", "always")
        .start()
        .unwrap();
    assert_eq!(setting(&server, "appendfsync"), "always");
}

#[test]
fn a_bad_value_at_start_ends_the_server_with_the_reason() {
    for (name, _, _, bad) in CHANGEABLE.iter().chain(FIXED) {
        // Each start takes its time: the first bad value, both ways.
        let wrong = bad[0];
        let error = refusal(module().config(&format!("persist.{name}"), wrong).start());
        assert!(
            error.contains("<persist> can't start") && error.contains(name),
            "{name} {wrong:?}: {error}"
        );
        let error = refusal(module().module_arg(name, wrong).start());
        let line = error
            .lines()
            .find(|line| line.contains("<persist> can't start"));
        let line = line.unwrap_or_else(|| panic!("{name} {wrong:?}: {error}"));
        assert!(line.contains(&format!("'{name} {wrong}'")), "{line}");
    }
    let error = refusal(module().module_arg("no-such", "1").start());
    assert!(
        error.contains("module argument 'no-such': no such setting"),
        "{error}"
    );
    let error = refusal(module().config("persist.no-such", "1").start());
    // The host's own words.
    assert!(error.contains("Module Configuration detected"), "{error}");
    let odd = format!("loadmodule {} appendonly", module_path().display());
    let error = refusal(Server::builder().config_line(&odd).start());
    assert!(error.contains("its value is missing"), "{error}");
}

#[test]
fn a_module_that_cannot_start_leaves_a_running_server_alone() {
    let server = Server::builder().start().unwrap();
    let mut client = server.raw().unwrap();
    let path = module_path().display().to_string();
    let missing = server.root().join("missing").display().to_string();
    for args in [["dir", missing.as_str()], ["appendfsync", "sometimes"]] {
        let reply = client
            .command(&["MODULE", "LOAD", &path, args[0], args[1]])
            .unwrap();
        assert!(reply.is_error(), "{reply}");
        assert_eq!(client.words("SET k v").unwrap(), ok());
    }
    assert_eq!(client.command(&["MODULE", "LOAD", &path]).unwrap(), ok());
    assert_eq!(client.words("PERSIST.SET k v").unwrap(), ok());
    let unload = client.words("MODULE UNLOAD persist").unwrap();
    assert!(unload.is_error(), "{unload}");
    assert_eq!(
        client.words("PERSIST.GET k").unwrap(),
        Resp::Bulk(b"v".to_vec())
    );
}

#[test]
fn a_module_loads_with_settings_at_run_time() {
    let server = Server::builder().start().unwrap();
    let mut client = server.raw().unwrap();
    let path = module_path().display().to_string();
    let reply = client
        .command(&[
            "MODULE",
            "LOADEX",
            &path,
            "CONFIG",
            "persist.appendfsync",
            "always",
            "ARGS",
            "rdbcompression",
            "no",
        ])
        .unwrap();
    assert_eq!(reply, ok());
    assert_eq!(setting(&server, "appendfsync"), "always");
    assert_eq!(setting(&server, "rdbcompression"), "no");
}

/// Runs a server as another user than root, for whom nothing is unwritable.
fn as_nobody(dir: &Path) -> PathBuf {
    let script = dir.join("as-nobody");
    let server = server_binary();
    let server = server.display();
    let text = format!(
        "#!/bin/sh\nif [ \"$(id -u)\" = 0 ]; then\n    exec setpriv --reuid=65534 --clear-groups {server} \"$@\"\nfi\nexec {server} \"$@\"\n"
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn a_folder_that_is_missing_or_unwritable_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let missing = temp.path().join("missing");
    let path = missing.to_str().unwrap();
    let error = refusal(module().config("persist.dir", path).start());
    assert!(
        error.contains("can't start: persist.dir can't be used"),
        "{error}"
    );
    assert!(
        error.contains(path) && error.contains("No such file"),
        "{error}"
    );
    assert!(!missing.exists());
    let file = temp.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = refusal(
        module()
            .config("persist.dir", file.to_str().unwrap())
            .start(),
    );
    assert!(error.contains("Not a directory"), "{error}");

    // As somebody who may write the server's own folder, but not the module's.
    let open = |path: &Path, mode| {
        fs::create_dir_all(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(temp.path(), 0o755);
    let (root, locked) = (temp.path().join("root"), temp.path().join("locked"));
    open(&root, 0o777);
    open(&root.join("data"), 0o777);
    open(&locked, 0o555);
    let module_copy = temp.path().join("module.so");
    fs::copy(module_path(), &module_copy).unwrap();
    let error = refusal(
        Server::builder()
            .module(&module_copy)
            .binary(as_nobody(temp.path()))
            .config_line("logfile \"\"")
            .dir(&root)
            .config("persist.dir", locked.to_str().unwrap())
            .start(),
    );
    assert!(
        error.contains("persist.dir can't be used") && error.contains("Permission denied"),
        "{error}"
    );
    assert_eq!(fs::read_dir(&locked).unwrap().count(), 0);
}

#[test]
fn one_server_per_folder() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().to_str().unwrap();
    let mut first = module().config("persist.dir", dir).start().unwrap();
    first.words("PERSIST.SET k 1").unwrap();
    let second = || module().config("persist.dir", dir).start();
    let error = refusal(second());
    let line = error
        .lines()
        .find(|line| line.contains("<persist>"))
        .unwrap();
    assert!(
        line.contains(dir) && line.contains(&format!("process {} ", first.pid())),
        "{line}"
    );
    // The first is unharmed.
    assert_eq!(first.words("PERSIST.INCR k").unwrap(), Resp::Int(2));
    assert_eq!(first.words("PERSIST.SAVE").unwrap(), ok());
    let error = refusal(second());
    assert!(error.contains("belongs to another server"), "{error}");
    // A child of the first that lives on doesn't keep the second out: no wait, no second try.
    first.words("PERSIST.BGSAVE").unwrap();
    first.kill9().unwrap();
    let second = second().unwrap();
    assert_eq!(
        second.words("PERSIST.GET k").unwrap(),
        Resp::Bulk(b"2".to_vec())
    );
}

#[test]
fn files_are_private_and_the_hosts_are_left_alone() {
    let mut server = module().config("appendonly", "yes").start().unwrap();
    let mut client = server.raw().unwrap();
    for line in [
        "SET k host",
        "PERSIST.SET k ours",
        "SAVE",
        "PERSIST.SAVE",
        "SET k2 host",
    ] {
        assert!(!client.words(line).unwrap().is_error(), "{line}");
    }
    let data = server.data_dir();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data.join("persist-aof")), 0o700);
    let mut files = vec![data.join("persist.rdb"), data.join("persist.lock")];
    files.extend(
        fs::read_dir(data.join("persist-aof"))
            .unwrap()
            .map(|e| e.unwrap().path()),
    );
    assert!(files.len() >= 5, "{files:?}");
    for file in &files {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    // The host's own files are neither taken for ours nor tidied up.
    fs::write(data.join("temp-1.rdb"), "the host's").unwrap();
    fs::write(data.join("temp-rewriteaof-1.aof"), "the host's").unwrap();
    server.restart().unwrap();
    let mut client = server.raw().unwrap();
    assert_eq!(
        client.words("GET k2").unwrap(),
        Resp::Bulk(b"host".to_vec())
    );
    assert_eq!(
        client.words("PERSIST.GET k").unwrap(),
        Resp::Bulk(b"ours".to_vec())
    );
    assert!(data.join("dump.rdb").exists() && data.join("appendonlydir").exists());
    assert!(data.join("temp-1.rdb").exists() && data.join("temp-rewriteaof-1.aof").exists());
}
