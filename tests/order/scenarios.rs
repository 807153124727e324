//! What is played: starts of every kind, saves, rewrites, the log turned on and off, the end.

use super::*;

use std::io::Write;

use persist_tools::order::Order;
use persist_tools::preload::{Faults, Preload};

#[derive(Clone, Copy, PartialEq)]
pub enum Which {
    All,
    /// Those after the server's first answer: those before it are another scenario's.
    AfterStart,
    /// None, since other scenarios have the same; all of them in the long form.
    None,
}

/// A scenario: what is in the folder before, the settings, what is done, and what must have been durable when.
pub struct Scenario {
    pub name: &'static str,
    /// Without tracing.
    pub before: fn(&Path),
    pub config: &'static [(&'static str, &'static str)],
    pub act: fn(&mut Server),
    pub order: fn() -> Order,
    /// Which fsyncs to leave out in turn.
    pub leave_out: Which,
    /// Whether everything must be durable when the server has ended.
    pub ends: bool,
}

fn nothing(_: &Path) {}

fn with_log(dir: &Path) {
    let mut server = builder(dir, &[ON, ALWAYS]).start().unwrap();
    push(&server);
    server.kill9().unwrap();
}

fn with_snapshot(dir: &Path) {
    let mut server = builder(dir, &[OFF]).start().unwrap();
    push(&server);
    ok(&server, "PERSIST.SAVE");
    server.kill9().unwrap();
}

fn with_torn_log(dir: &Path) {
    with_log(dir);
    tear(dir);
}

/// Puts half a group, as a write leaves it that was cut short, at the end of the first incr file.
fn tear(dir: &Path) {
    let path = dir.join("data/persist-aof/persist.aof.1.incr.aof");
    let whole = std::fs::read(&path).unwrap();
    let mut file = std::fs::File::options().append(true).open(path).unwrap();
    file.write_all(&whole[..whole.len() / 2]).unwrap();
}

fn with_snapshot_after_log(dir: &Path) {
    let mut server = builder(dir, &[ON, ALWAYS]).start().unwrap();
    push(&server);
    ok(&server, "CONFIG SET persist.appendonly no");
    push(&server);
    ok(&server, "PERSIST.SAVE");
    server.kill9().unwrap();
}

fn rewrite(server: &mut Server) {
    push(server);
    let reply = server.words("PERSIST.REWRITE").unwrap();
    assert!(!reply.is_error(), "{reply}");
    // The child's fsync is slowed until `go` is there: this goes into the new file, before the new base counts.
    wait_until("the child", Duration::from_secs(30), || {
        Ok(server.log().contains("rewriting started by pid"))
    })
    .unwrap();
    push(server);
    std::fs::write(server.root().join("go"), "").unwrap();
    told(server, "aof_rewrites:1\r\n");
    push(server);
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "PERSIST.SAVE",
        before: nothing,
        config: &[OFF],
        act: |server| {
            push(server);
            ok(server, "PERSIST.SAVE");
        },
        order: || Order::new(false).rule("+OK\r\n", "/data/persist.rdb", ""),
        leave_out: Which::AfterStart,
        ends: false,
    },
    Scenario {
        name: "PERSIST.BGSAVE",
        before: nothing,
        config: &[OFF],
        act: |server| {
            push(server);
            assert!(!server.words("PERSIST.BGSAVE").unwrap().is_error());
            told(server, "rdb_saves:1\r\n");
        },
        order: || Order::new(false).rule("rdb_saves:1\r\n", "/data/persist.rdb", ""),
        leave_out: Which::AfterStart,
        ends: false,
    },
    Scenario {
        name: "PERSIST.REWRITE",
        before: with_log,
        config: &[ON, ALWAYS],
        act: rewrite,
        order: || Order::new(true).rule("aof_rewrites:1\r\n", ".2.base.rdb", ".2.base.rdb"),
        leave_out: Which::None,
        ends: false,
    },
    Scenario {
        name: "PERSIST.REWRITE without fsyncs of the log",
        before: with_log,
        config: &[ON, ("persist.appendfsync", "no")],
        act: rewrite,
        order: || Order::new(false).rule("aof_rewrites:1\r\n", ".2.base.rdb", ".2.base.rdb"),
        leave_out: Which::AfterStart,
        ends: false,
    },
    Scenario {
        name: "PERSIST.REWRITE to commands",
        before: with_log,
        config: &[ON, ALWAYS, ("persist.aof-use-rdb-preamble", "no")],
        act: rewrite,
        order: || Order::new(true).rule("aof_rewrites:1\r\n", ".2.base.aof", ".2.base.aof"),
        leave_out: Which::None,
        ends: false,
    },
    Scenario {
        name: "a first start",
        before: nothing,
        config: &[ON, ALWAYS],
        act: |server| push(server),
        order: || Order::new(true).rule("+PONG", ".incr.aof", " type i "),
        leave_out: Which::All,
        ends: false,
    },
    Scenario {
        name: "turning the log on at start",
        before: with_snapshot,
        config: &[ON, ALWAYS],
        act: |server| push(server),
        order: || Order::new(true).rule("+PONG", ".base.rdb", "log open"),
        leave_out: Which::All,
        ends: false,
    },
    Scenario {
        name: "turning the log on live",
        before: nothing,
        config: &[OFF, ALWAYS],
        act: |server| {
            push(server);
            ok(server, "CONFIG SET persist.appendonly yes");
            told(server, "aof_turning_on:0\r\naof_current_size");
            push(server);
        },
        order: || {
            Order::new(true).rule(
                "aof_turning_on:0\r\naof_current_size",
                ".2.base.rdb",
                "log open",
            )
        },
        leave_out: Which::AfterStart,
        ends: false,
    },
    Scenario {
        name: "turning the log off live",
        before: nothing,
        config: &[ON, ("persist.appendfsync", "no")],
        act: |server| {
            push(server);
            ok(server, "CONFIG SET persist.appendonly no");
        },
        order: || Order::new(false).rule("+OK\r\n", ".incr.aof", "log closed"),
        leave_out: Which::AfterStart,
        ends: false,
    },
    Scenario {
        name: "a start after a crash",
        before: with_log,
        config: &[ON, ALWAYS],
        act: |server| push(server),
        order: || Order::new(true).rule("+PONG", ".2.incr.aof", ".2.incr.aof"),
        leave_out: Which::All,
        ends: false,
    },
    Scenario {
        name: "a start after a crash, with the log off now",
        before: with_log,
        config: &[OFF],
        act: |_| {},
        order: || Order::new(false).rule("+PONG", ".incr.aof", "log closed"),
        leave_out: Which::All,
        ends: false,
    },
    Scenario {
        name: "a start with a torn end",
        before: with_torn_log,
        config: &[ON, ALWAYS],
        act: |server| push(server),
        order: || {
            Order::new(true)
                .rule("+PONG", ".2.incr.aof", ".2.incr.aof")
                .rule("+PONG", ".1.incr.aof", "")
        },
        leave_out: Which::All,
        ends: false,
    },
    Scenario {
        name: "a start with a snapshot newer than the log",
        before: with_snapshot_after_log,
        config: &[ON, ALWAYS],
        act: |server| push(server),
        order: || Order::new(true).rule("+PONG", ".incr.aof", "log open"),
        leave_out: Which::All,
        ends: false,
    },
    Scenario {
        name: "a start after a crash as a rewrite began",
        before: |dir| {
            let mut server = builder(dir, &[ON, ALWAYS, ("hz", "1")]).start().unwrap();
            push(&server);
            assert!(!server.words("PERSIST.REWRITE").unwrap().is_error());
            // Its first step was taken, the next file isn't used yet.
            let manifest = dir.join("data/persist-aof/persist.aof.manifest");
            wait_until("the next file", Duration::from_secs(20), || {
                Ok(std::fs::read_to_string(&manifest)?.contains(".2.incr.aof"))
            })
            .unwrap();
            server.kill9().unwrap();
            tear(dir);
        },
        config: &[ON, ALWAYS],
        act: |server| push(server),
        order: || {
            Order::new(true)
                .rule("+PONG", ".incr.aof", " type i ")
                .rule("+PONG", ".1.incr.aof", "")
        },
        leave_out: Which::All,
        ends: false,
    },
    Scenario {
        name: "after a crash as a new base was committed, a start",
        before: |dir| {
            let control = dir.join("control");
            let mut server = builder(dir, &[ON, ALWAYS])
                .preload(Preload::new().control(&control).kill_path(".1.base."))
                .start()
                .unwrap();
            push(&server);
            let faults = Faults {
                kill_at: 1,
                ..Faults::default()
            };
            faults.apply(&control).unwrap();
            assert!(!server.words("PERSIST.REWRITE").unwrap().is_error());
            // Before it removes the old base. The manifest may not be durable.
            assert!(!server.wait_for_exit().unwrap().success());
        },
        config: &[ON, ALWAYS],
        act: |server| push(server),
        order: || Order::new(true).rule("+PONG", ".2.base.rdb", ".2.base.rdb"),
        leave_out: Which::All,
        ends: false,
    },
    Scenario {
        name: "a start with a stray file",
        before: |dir| {
            with_log(dir);
            let stray = dir.join("data/persist-aof/persist.aof.9.incr.aof");
            std::fs::write(stray, "something").unwrap();
        },
        config: &[ON, ALWAYS],
        act: |server| push(server),
        order: || Order::new(true).rule("+PONG", ".2.incr.aof", ".2.incr.aof"),
        leave_out: Which::All,
        ends: false,
    },
    Scenario {
        name: "SHUTDOWN",
        before: nothing,
        config: &[
            ON,
            ("persist.appendfsync", "no"),
            ("persist.save", "1000 1"),
        ],
        act: |server| {
            push(server);
            server.shutdown(false).unwrap();
        },
        order: || Order::new(true).rule("the end", "/data/persist.rdb", "log open"),
        leave_out: Which::AfterStart,
        ends: true,
    },
];
