//! An fsync that waits a moment for writers who may be back by then begins by itself when they don't come.

use std::time::Duration;

use persist_tools::preload::Call;
use persist_tools::server::wait_until;

use crate::stage::{LIMIT, Stage};
use crate::{ok, waits};

/// The fsyncs of the log that have begun.
fn begun(calls: &[Call]) -> usize {
    let of_log = |c: &&Call| c.path.ends_with(".incr.aof");
    calls
        .iter()
        .filter(of_log)
        .filter(|c| c.op == "begin fsync" || c.op == "begin fdatasync")
        .count()
}

/// With `hz 1` nothing else turns the event loop for a second, but its clock: and that would remove the key that is due by
/// then, which the log shows.
#[test]
fn who_doesnt_come_back_isnt_waited_for_until_the_servers_clock_ticks() {
    let stage = Stage::new("always", |b| b);
    stage.until_it_holds();
    ok(stage.client().words("CONFIG SET hz 1").unwrap());
    stage.slow(200);
    let (mut first, mut second) = (stage.client(), stage.client());
    // A tick may come in between by chance, but not each time.
    let mut ticks = 0;
    for round in 0..12 {
        let before = begun(&stage.trace());
        first.send(&["PERSIST.SET", "k", "v"]).unwrap();
        // The trace tells, since asking the server would turn its loop.
        wait_until("an fsync", LIMIT, || Ok(begun(&stage.trace()) > before)).unwrap();
        let key = format!("due-{round}-");
        second.send(&["PERSIST.SET", &key, "v", "PX", "1"]).unwrap();
        ok(first.read().unwrap());
        // It was too late for that fsync, and the next one waits for the first client, who is silent now.
        assert!(waits(&mut second));
        ok(second.read().unwrap());
        let calls = stage.trace();
        let log = || calls.iter().filter(|c| c.path.ends_with(".incr.aof"));
        let set = log()
            .find(|c| c.is_write() && c.data.contains(&key))
            .unwrap();
        let removed = log()
            .find(|c| c.is_write() && c.data.contains("DEL") && c.data.contains(&key))
            .map(|c| c.begin);
        let synced = log().find(|c| c.is_sync() && set.before(c)).unwrap().begin;
        if removed.is_none_or(|removed| synced < removed) {
            return;
        }
        ticks += 1;
        // Out of step with the clock.
        std::thread::sleep(Duration::from_millis(370));
    }
    panic!("{ticks} times the fsync came no sooner than a tick");
}
