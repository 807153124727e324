//! Nobody whom the gate keeps out stays there because the pass that would open it doesn't end, or doesn't come.

use std::time::{Duration, Instant};

use persist_tools::raw::{RawClient, encode_command};

use crate::stage::{Stage, sleep};
use crate::{has_io_threads, ok};

/// So long nobody is kept out, on a loaded machine. What follows it in these tests takes longer.
const SOON: Duration = Duration::from_millis(700);
/// Commands of a pipeline.
const MANY: usize = 8;

fn send_writes(client: &mut RawClient) {
    let mut out = Vec::new();
    (0..MANY).for_each(|_| encode_command(&mut out, &["PERSIST.SET", "k", "v"]));
    client.send_bytes(&out).unwrap();
}

fn read_writes(client: &mut RawClient) {
    (0..MANY).for_each(|_| ok(client.read().unwrap()));
}

/// How long this client, which has its replies, waits for the next one; what that is is of no interest.
fn waits_for_more(client: &mut RawClient) -> Duration {
    let began = Instant::now();
    client.send(&["ECHO", "still here"]).unwrap();
    client.read().unwrap();
    began.elapsed()
}

/// Has the writers' pipelines served by one fsync of the event loop that takes so many ms; `meanwhile` is sent during that.
fn beside(
    stage: &Stage,
    writers: usize,
    ms: u64,
    meanwhile: &[&str],
) -> (Vec<RawClient>, RawClient) {
    stage.slow(5);
    let (mut other, mut quiet) = (stage.client(), stage.client());
    let mut writers: Vec<RawClient> = (0..writers).map(|_| stage.client()).collect();
    // They are known to pipeline by then, and nothing is under way.
    for _ in 0..3 {
        for writer in &mut writers {
            send_writes(writer);
            read_writes(writer);
        }
    }
    quiet.words("PING").unwrap();
    stage.slow(ms);
    let mut deaf = sleep(stage);
    writers.iter_mut().for_each(send_writes);
    ok(deaf.read().unwrap());
    std::thread::sleep(Duration::from_millis(30));
    other.send(meanwhile).unwrap();
    writers.iter_mut().for_each(read_writes);
    (writers, other)
}

/// A script of another client runs for long from then on: they are told so, and may end it.
#[test]
fn a_long_script_is_heard_of() {
    let stage = Stage::new("always", |b| b.config("busy-reply-threshold", "100"));
    stage.until_it_holds();
    let script = "local t = redis.call('TIME')[1] + 4 while redis.call('TIME')[1] + 0 < t do end";
    for writers in [1, 2] {
        let (mut writers, mut other) = beside(&stage, writers, 150, &["EVAL", script, "0"]);
        let waited = writers.iter_mut().map(waits_for_more).max().unwrap();
        assert!(waited < SOON, "{waited:?}");
        let mut killer = stage.client();
        killer.words("SCRIPT KILL").unwrap();
        assert!(other.read().unwrap().is_error());
    }
}

/// The I/O thread has begun something long, and nothing else turns the event loop but its clock.
#[test]
fn what_the_io_thread_does_meanwhile_isnt_waited_for() {
    let stage = Stage::new("always", |b| b);
    stage.until_it_holds();
    ok(stage.client().words("CONFIG SET hz 1").unwrap());
    for _ in 0..2 {
        let (mut writers, mut other) = beside(&stage, 2, 1_500, &["PERSIST.REWRITE"]);
        let waited = writers.iter_mut().map(waits_for_more).max().unwrap();
        assert!(waited < SOON, "{waited:?}");
        assert!(!other.read().unwrap().is_error());
        stage.slow(1);
        persist_tools::server::wait_until("the rewrite is over", crate::stage::LIMIT, || {
            Ok(stage.server.persist_info("aof_rewrite_in_progress")? == "0")
        })
        .unwrap();
    }
}

/// The server begins to load what it holds: they are told so.
#[test]
fn loading_is_heard_of() {
    // There it may begin before their writes.
    if has_io_threads() {
        return;
    }
    let stage = Stage::new("always", |b| {
        b.config("key-load-delay", "400")
            .config("loading-process-events-interval-bytes", "1024")
    });
    stage.until_it_holds();
    let mut filler = stage.client();
    filler.words("DEBUG POPULATE 10000").unwrap();
    stage.slow(50);
    // In the very pass of their writes.
    let (mut other, mut writer) = (stage.client(), stage.client());
    for _ in 0..3 {
        send_writes(&mut writer);
        read_writes(&mut writer);
    }
    let mut deaf = sleep(&stage);
    send_writes(&mut writer);
    std::thread::sleep(Duration::from_millis(50));
    other.send(&["DEBUG", "RELOAD"]).unwrap();
    ok(deaf.read().unwrap());
    read_writes(&mut writer);
    let began = Instant::now();
    let waited = waits_for_more(&mut writer);
    ok(other.read().unwrap());
    let loading = began.elapsed();
    assert!(loading > SOON * 2, "{loading:?}");
    assert!(waited < SOON, "{waited:?}");
}
