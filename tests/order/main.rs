//! The order of writes, fsyncs, renames and replies, from the trace of a real server: `kill -9` never loses the page
//! cache, so no crash test can see a missing fsync.
//!
//! Each [`scenarios::Scenario`] is played with a preloaded library that traces system calls; `persist_tools::order` says what counted
//! before it was durable. Then each scenario is played again for each fsync that it makes, with exactly this one left out
//! (the library neither makes nor traces it): the check must complain. So no fsync, of a file or of a folder, can be taken
//! out of the code without a red test; [`left_out::SPARE`] lists those that aren't needed at one place or another, and why. In the
//! code they are:
//!
//! | fsync of | where | is missed by (for example) |
//! |---|---|---|
//! | snapshot, by its writer or by who renames it | `save::write_temp`, `replace::sync_then_rename` | PERSIST.SAVE, PERSIST.BGSAVE, SHUTDOWN |
//! | base, by its writer or by who renames it | the same | a first start, PERSIST.REWRITE, turning the log on live |
//! | manifest | `replace::write_temp` | all that concern the log |
//! | folder after a rename | `replace::put_in_place` | PERSIST.SAVE, PERSIST.BGSAVE, PERSIST.REWRITE, all starts |
//! | new incr file, and the folder of its name | `start::add_incr`, `rewrite::begin_rewrite` | all starts, PERSIST.REWRITE |
//! | log's folder when it is made | `start::first_manifest`, `start::manifest_from_snapshot` | a first start, turning the log on |
//! | folder after a link | `start::manifest_from_snapshot` | none: the next commit syncs it before it counts |
//! | last file of a log found at start | `start::open_log`, `start::close_log` | a start after a crash, with the log on and off |
//! | log under `always` | `flush::sync_inline` | all scenarios with `always` |
//! | file before the switch to the next | `rewrite::switch_and_fork` | PERSIST.REWRITE without fsyncs of the log |
//! | log when it is turned off, and at the end | `turn::turn_off`, `start::shutdown` | turning the log off live, SHUTDOWN |
//! | folders that a start found | `repair::settle_names` | after a crash as a new base was committed, a start |
//! | file that was cut, and quarantine | `os::truncate`, `repair::cut`, `repair::make_quarantine` | a start with a torn end |
//! | folders after a move to quarantine | `repair::move_there` | a start with a stray file, with a newer snapshot |
//!
//! The background fsync of `everysec` has a test of its own. `ROUNDS` (any value) plays more, for scenarios that repeat.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

mod left_out;
mod replies;
mod scenarios;

use std::path::Path;
use std::time::Duration;

use persist_tools::raw::Resp;
use persist_tools::server::{Builder, Server, wait_until};

const ON: (&str, &str) = ("persist.appendonly", "yes");
const OFF: (&str, &str) = ("persist.appendonly", "no");
const ALWAYS: (&str, &str) = ("persist.appendfsync", "always");

fn builder(dir: &Path, config: &[(&str, &str)]) -> Builder {
    let builder = Server::builder().with_module().dir(dir);
    config.iter().fold(builder, |builder, (name, value)| {
        builder.config(name, value)
    })
}

fn push(server: &Server) {
    let reply = server.words("PERSIST.RPUSH list a b c").unwrap();
    assert!(matches!(reply, Resp::Int(_)), "{reply}");
}

fn ok(server: &Server, command: &str) {
    assert_eq!(server.words(command).unwrap(), Resp::Simple(b"OK".to_vec()));
}

/// Waits until PERSIST.INFO has this text.
fn told(server: &Server, text: &str) {
    let mut client = server.raw().unwrap();
    wait_until(text, Duration::from_secs(30), || {
        let info = client.words("PERSIST.INFO")?.text().unwrap_or_default();
        Ok(info.contains(text))
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", server.log_tail(20)));
}
