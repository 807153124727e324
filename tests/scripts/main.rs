//! Scripts that run for so long that the host serves others meanwhile, or that do odd things: whose write it is, and what
//! happens around them.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../held/stage.rs"]
#[allow(dead_code)]
mod stage;

use std::time::Duration;

use persist_tools::preload::Faults;
use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::wait_until;

use stage::{LIMIT, Stage};

/// A script that takes so many ms, then does this.
fn long(ms: u64, then: &str) -> String {
    format!(
        "local t = redis.call('TIME') local e = t[1] * 1000 + t[2] / 1000 + {ms} \
         repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 > e {then}"
    )
}

/// Whether somebody was told that all is well.
fn is_told(client: &mut RawClient) -> Option<Resp> {
    client.read().ok().filter(|reply| !reply.is_error())
}

/// The fsync of a script's writes fails: its client hears nothing, whatever came between its beginning and its writes.
#[test]
fn who_called_a_script_is_known_when_its_fsync_fails() {
    let write = "redis.call('PERSIST.SET', 'k', 'v') return 'done'";
    let inside = |name: &str| format!("redis.pcall({name}) {write}");
    let late = long(300, write);
    let scripts = [
        (write.to_owned(), false),
        (inside("'EVAL', 'return 1', '0'"), false),
        (inside("'EVALSHA_RO', 'x', '0'"), false),
        (inside("'EXEC'"), false),
        (inside("'DEBUG', 'SLEEP', '0'"), false),
        // Another client's command comes while it runs.
        (late.clone(), false),
        (late, true),
    ];
    let stage = Stage::new("always", |b| b.config("busy-reply-threshold", "20"));
    for in_multi in [false, true] {
        for (script, is_disturbed) in &scripts {
            let (mut scripter, mut other) = (stage.client(), stage.client());
            for client in [&mut scripter, &mut other] {
                client.words("PING").unwrap();
            }
            let faults = Faults {
                fail_fsync: true,
                ..Faults::default()
            };
            faults.apply(&stage.control()).unwrap();
            if in_multi {
                scripter.words("MULTI").unwrap();
                scripter.command(&["EVAL", script, "0"]).unwrap();
                scripter.send(&["EXEC"]).unwrap();
            } else {
                scripter.send(&["EVAL", script, "0"]).unwrap();
            }
            if *is_disturbed {
                std::thread::sleep(Duration::from_millis(150));
                let reply = other.command(&["EVAL", "return 1", "0"]).unwrap();
                assert!(reply.to_string().contains("BUSY"), "{reply}");
            }
            let told = is_told(&mut scripter);
            assert!(told.is_none(), "{told:?}, {script}, in MULTI: {in_multi}");
            Faults::default().apply(&stage.control()).unwrap();
            let mut last = None;
            let healed = wait_until("writes are taken again", LIMIT, || {
                let reply = stage.server.words("PERSIST.SET other 1")?;
                let taken = !reply.is_error();
                last = Some(reply);
                Ok(taken)
            });
            assert!(
                healed.is_ok(),
                "{last:?} after {script}, in MULTI: {in_multi}\n{}",
                stage.server.log_tail(8)
            );
        }
    }
}

/// A script that was queued is one, too: once one has taken long, what is answered during another outlives the process.
#[test]
fn a_long_script_in_a_transaction_is_expected_as_any_other() {
    for policy in ["everysec", "no"] {
        let mut stage = Stage::new(policy, |b| b.config("busy-reply-threshold", "20"));
        let mut answered = 0;
        // Not always both come in one pass.
        for value in 0..8 {
            let (mut client, mut scripter) = (stage.client(), stage.client());
            let queue = |scripter: &mut RawClient, script: &str| {
                scripter.words("MULTI").unwrap();
                scripter.command(&["EVAL", script, "0"]).unwrap();
            };
            queue(&mut scripter, &long(100, "return 1"));
            scripter.words("EXEC").unwrap();
            client.words("PERSIST.SET k before").unwrap();
            queue(&mut scripter, "while true do end");
            // No fsync is under way, behind which it would wait in memory.
            wait_until("no fsync", LIMIT, || {
                Ok(policy == "no" || stage.server.persist_info("at_risk_bytes")? == "0")
            })
            .unwrap();
            stage.server.signal(libc::SIGSTOP).unwrap();
            let argv = ["PERSIST.SET", "k", &value.to_string()];
            client.send(&argv).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            scripter.send(&["EXEC"]).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            stage.server.signal(libc::SIGCONT).unwrap();
            let reply = client.read().unwrap();
            stage.server.kill9().unwrap();
            stage.server.restart().unwrap();
            // Else the script came first.
            if !reply.is_error() {
                answered += 1;
                let found = stage.client().words("PERSIST.GET k").unwrap();
                assert_eq!(found.text().unwrap(), value.to_string(), "{policy}");
            }
        }
        assert!(answered > 0, "the script always came first");
    }
}
