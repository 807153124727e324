//! Clients that an fsync on the event loop serves, and those who come meanwhile: who goes on when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use persist_tools::order::replies;
use persist_tools::preload::Call;
use persist_tools::raw::{RawClient, encode_command};

use crate::stage::Stage;
use crate::{has_io_threads, ok};

/// How a client writes that can't be held.
#[derive(Debug, Clone, Copy)]
enum Way {
    Pipeline,
    Script,
    Transaction,
}

const WAYS: [Way; 3] = [Way::Pipeline, Way::Script, Way::Transaction];
/// Commands of a pipeline.
const MANY: usize = 8;

impl Way {
    /// Sends a write of this value.
    fn send(self, client: &mut RawClient, value: &str) {
        let mut out = Vec::new();
        let mut add = |words: &[&str]| encode_command(&mut out, words);
        match self {
            Way::Pipeline => {
                for _ in 0..MANY {
                    add(&["PERSIST.SET", "k", value]);
                    add(&["PERSIST.STRLEN", "k"]);
                }
            }
            Way::Script => {
                let script = "return redis.call('PERSIST.SET', 'k', ARGV[1])";
                add(&["EVAL", script, "0", value]);
            }
            Way::Transaction => {
                add(&["MULTI"]);
                add(&["PERSIST.SET", "k", value]);
                add(&["EXEC"]);
            }
        }
        client.send_bytes(&out).unwrap();
    }

    fn read(self, client: &mut RawClient) {
        match self {
            Way::Pipeline => {
                for _ in 0..MANY {
                    ok(client.read().unwrap());
                    assert!(!client.read().unwrap().is_error());
                }
            }
            Way::Script => ok(client.read().unwrap()),
            Way::Transaction => {
                for _ in 0..2 {
                    assert!(!client.read().unwrap().is_error());
                }
                ok(client.read().unwrap().into_items().remove(0));
            }
        }
    }
}

fn of_log(calls: &[Call]) -> impl Iterator<Item = &Call> {
    calls.iter().filter(|c| c.path.ends_with(".incr.aof"))
}

/// Those who wrote during an fsync wait a moment for those who were served by it, and one fsync serves all.
#[test]
fn those_that_come_in_turns_are_served_together() {
    for way in WAYS {
        let stage = Stage::new("always", |b| b);
        stage.until_it_holds();
        stage.slow(50);
        let (mut first, mut second) = (stage.client(), stage.client());
        way.send(&mut first, "first-0-");
        for round in 0..40 {
            std::thread::sleep(Duration::from_millis(20));
            way.send(&mut second, &format!("second-{round}-"));
            way.read(&mut first);
            // A server that doesn't wait is on its way with the other one's by now.
            std::thread::sleep(Duration::from_micros(500));
            way.send(&mut first, &format!("first-{}-", round + 1));
            way.read(&mut second);
        }
        way.read(&mut first);
        // There they come one after the other.
        if has_io_threads() {
            return;
        }
        let calls = stage.trace();
        let fsync_of = |value: &str| {
            let write = of_log(&calls).find(|c| c.is_write() && c.data.contains(value));
            let write = write.unwrap_or_else(|| panic!("{value} isn't in the log"));
            let fsync = of_log(&calls).find(|c| c.is_sync() && write.before(c));
            fsync.map(|c| c.begin)
        };
        let together = (0..40).filter(|round| {
            fsync_of(&format!("second-{round}-")) == fsync_of(&format!("first-{}-", round + 1))
        });
        // By chance it happens without that, too, but hardly ever.
        let together = together.count();
        assert!(together >= 4, "{way:?}: {together} times");
    }
}

/// Who comes during an fsync on the event loop is answered after it, not after the next one.
#[test]
fn who_comes_during_an_fsync_doesnt_wait_for_another() {
    const ROUNDS: usize = 30;
    for way in WAYS {
        let stage = Stage::new("always", |b| b);
        stage.until_it_holds();
        stage.slow(50);
        let mut reader = stage.client();
        let over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    let mut client = stage.client();
                    while !over.load(Ordering::Relaxed) {
                        way.send(&mut client, "v");
                        way.read(&mut client);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(500));
            reader.words("ECHO this-client-").unwrap();
            for _ in 0..ROUNDS {
                // After a reply the next fsync begins soon, and this is in the middle of it.
                std::thread::sleep(Duration::from_millis(25));
                reader.words("ECHO here").unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
        if has_io_threads() {
            return;
        }
        let calls = stage.trace();
        let fsyncs: Vec<&Call> = of_log(&calls).filter(|c| c.is_sync()).collect();
        let told: Vec<&Call> = replies(&calls, "this-client-")
            .into_iter()
            .map(|(_, call)| call)
            .collect();
        assert_eq!(told.len(), ROUNDS + 1);
        let waited_for = |pair: &&[&Call]| {
            let between = |f: &&&Call| pair[0].before(f) && f.before(pair[1]);
            fsyncs.iter().filter(between).count()
        };
        let twice = told.windows(2).filter(|pair| waited_for(pair) > 1).count();
        assert!(twice <= ROUNDS / 5, "{way:?}: {twice} of {ROUNDS}");
        let once = told.windows(2).filter(|pair| waited_for(pair) == 1).count();
        assert!(once >= ROUNDS / 2, "{way:?}: {once} came during an fsync");
    }
}
