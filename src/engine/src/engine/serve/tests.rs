use std::sync::Arc;

use super::*;
use crate::command::reply::{Node, Recorder};
use crate::command::table;
use crate::settings::FsyncPolicy;
use crate::testing::{Rig, disk, settings};

/// An engine whose clients have names.
struct Shop {
    rig: Rig,
    waiting: Vec<(Ticket, &'static str)>,
    told: Vec<String>,
}

impl Shop {
    fn new() -> Shop {
        Shop {
            rig: Rig::open(Arc::new(disk()), settings(FsyncPolicy::Always)).unwrap(),
            waiting: vec![],
            told: vec![],
        }
    }

    /// A client's blocking command: its reply, or `waits`.
    fn wait(&mut self, name: &'static str, db: u32, line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let spec = table::find(args[0]).unwrap();
        let mut reply = Recorder::default();
        let call = Call {
            db,
            ..Call::default()
        };
        let Rig { engine, host, .. } = &mut self.rig;
        match engine.execute_or_wait(host, spec, &args, call, &mut reply) {
            Ok(Some(ticket)) => {
                self.waiting.push((ticket, name));
                "waits".into()
            }
            Ok(None) => reply.take().to_string(),
            Err(error) => Node::Error(error.to_string()).to_string(),
        }
    }

    fn waits(&mut self, name: &'static str, line: &str) {
        assert_eq!(self.wait(name, 0, line), "waits", "{line}");
    }

    /// A command on its own, and who was served by it.
    fn run(&mut self, line: &str) -> Vec<String> {
        let reply = self.rig.run(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        self.end_of_unit()
    }

    fn end_of_unit(&mut self) -> Vec<String> {
        let (waiting, told) = (&mut self.waiting, &mut self.told);
        let mut tell = |served: Served| {
            let at = waiting.iter().position(|(t, _)| *t == served.ticket);
            let (_, name) = waiting.remove(at.unwrap());
            let reply = match served.reply {
                Ok(None) => "timeout".into(),
                Ok(Some(tape)) => {
                    let mut reply = Recorder::default();
                    tape.play(&mut reply);
                    reply.take().to_string()
                }
                Err(error) => error.to_string(),
            };
            told.push(format!("{name}: {reply}"));
        };
        let Rig { engine, host, .. } = &mut self.rig;
        engine.serve(host, &mut tell);
        engine.time_out(&mut tell);
        assert!(!engine.has_ready());
        std::mem::take(&mut self.told)
    }
}

#[test]
fn first_come_first_served_for_each_key() {
    let mut shop = Shop::new();
    shop.waits("a", "BLPOP x 0");
    shop.waits("b", "BRPOP y x 0");
    shop.waits("c", "BLPOP x 0");
    shop.waits("d", "BLPOP y 0");
    assert_eq!(
        shop.run("RPUSH x 1 2"),
        [r#"a: ["x" "1"]"#, r#"b: ["x" "2"]"#]
    );
    assert_eq!(shop.run("RPUSH y 3 4"), [r#"d: ["y" "3"]"#]);
    assert_eq!(shop.run("LPUSH x 5"), [r#"c: ["x" "5"]"#]);
    assert_eq!(shop.rig.engine.waiting(), 0);
    assert_eq!(shop.rig.run("LRANGE y 0 -1"), r#"["4"]"#);
    assert_eq!(shop.rig.run("EXISTS x"), "0");
}

#[test]
fn what_is_there_is_taken_at_once() {
    let mut shop = Shop::new();
    shop.run("RPUSH x 1");
    assert_eq!(shop.wait("a", 0, "BLPOP y x 0"), r#"["x" "1"]"#);
    assert_eq!(shop.wait("a", 0, "BLPOP y -1"), "-ERR timeout is negative");
    shop.run("SET s v");
    assert!(shop.wait("a", 0, "BLPOP s y 0").starts_with("-WRONGTYPE"));
    assert_eq!(shop.rig.engine.waiting(), 0);
}

#[test]
fn a_unit_is_over_before_anybody_is_served() {
    let mut shop = Shop::new();
    shop.waits("a", "BLPOP x y 0");
    for line in ["RPUSH y 1", "RPUSH x 2", "RPUSH x 3"] {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        shop.rig.argv(0, true, &args);
    }
    // From the key that was filled first.
    assert_eq!(shop.end_of_unit(), [r#"a: ["y" "1"]"#]);
    // Filled and emptied again: nothing to be had.
    shop.waits("a", "BLPOP z 0");
    shop.rig.argv(0, true, &[b"RPUSH", b"z", b"1"]);
    shop.rig.argv(0, true, &[b"DEL", b"z"]);
    assert!(shop.end_of_unit().is_empty());
    assert_eq!(shop.run("RPUSH z 2"), [r#"a: ["z" "2"]"#]);
}

#[test]
fn a_move_may_serve_the_next() {
    let mut shop = Shop::new();
    shop.waits("a", "BLMOVE x y LEFT RIGHT 0");
    shop.waits("b", "BRPOPLPUSH y z 0");
    shop.waits("c", "BLMPOP 0 2 y z LEFT COUNT 9");
    assert_eq!(
        shop.run("RPUSH x 1"),
        [r#"a: "1""#, r#"b: "1""#, r#"c: ["z" ["1"]]"#]
    );
    // Around in a circle.
    shop.waits("a", "BLMOVE x y LEFT RIGHT 0");
    shop.waits("b", "BLMOVE y x LEFT RIGHT 0");
    assert_eq!(shop.run("RPUSH x 1"), [r#"a: "1""#, r#"b: "1""#]);
    assert_eq!(shop.rig.run("LRANGE x 0 -1"), r#"["1"]"#);
    // A target of another kind: told, and nothing popped.
    shop.run("DEL x");
    shop.waits("a", "BLMOVE x s LEFT RIGHT 0");
    shop.waits("b", "BLPOP x 0");
    shop.run("SET s v");
    let told = shop.run("RPUSH x 1");
    assert!(told[0].starts_with("a: WRONGTYPE"), "{told:?}");
    assert_eq!(told[1..], [r#"b: ["x" "1"]"#]);
}

#[test]
fn only_the_kind_that_is_waited_for_serves() {
    let mut shop = Shop::new();
    shop.waits("list", "BLPOP k 0");
    shop.waits("zset", "BZPOPMIN k 0");
    shop.waits("zsets", "BZMPOP 0 2 j k MAX COUNT 2");
    assert!(shop.run("SET k v").is_empty());
    assert!(shop.run("DEL k").is_empty());
    assert_eq!(
        shop.run("ZADD k 1.5 a 2 b 3 c"),
        [
            r#"zset: ["k" "a" 1.5]"#,
            r#"zsets: ["k" [["c" 3] ["b" 2]]]"#
        ]
    );
    assert_eq!(shop.run("LPUSH k x"), [r#"list: ["k" "x"]"#]);
}

#[test]
fn keys_that_come_by_other_ways_serve() {
    let mut shop = Shop::new();
    for (prepare, line) in [
        ("RPUSH from 1", "RENAME from k"),
        ("RPUSH from 1", "COPY from k"),
        ("PING", "LMOVE from k LEFT LEFT"),
    ] {
        shop.rig.run(prepare);
        shop.waits("a", "BLPOP k 0");
        assert_eq!(shop.run(line), [r#"a: ["k" "1"]"#], "{line}");
    }
    shop.rig.run("ZADD from 1 m");
    for line in [
        "ZUNIONSTORE k 1 from",
        "ZRANGESTORE k from 0 -1",
        "ZINTERSTORE k 1 from",
    ] {
        shop.waits("a", "BZPOPMAX k 0");
        assert_eq!(shop.run(line), [r#"a: ["k" "m" 1]"#], "{line}");
    }
    // Another database, by COPY, by MOVE and by SWAPDB.
    shop.rig.run("RPUSH k 1");
    for line in ["COPY k k DB 3", "MOVE k 3", "SWAPDB 3 4"] {
        shop.rig.argv(4, false, &[b"RPUSH", b"k", b"1"]);
        assert_eq!(shop.wait("a", 3, "BLPOP j k 0"), "waits");
        assert_eq!(shop.run(line), [r#"a: ["k" "1"]"#], "{line}");
    }
}

#[test]
fn time_passes() {
    let mut shop = Shop::new();
    shop.waits("slow", "BLPOP k 2");
    shop.waits("quick", "BZPOPMIN k 0.5");
    shop.waits("patient", "BLPOP k 0");
    shop.rig.clock.advance_ms(499);
    assert!(shop.end_of_unit().is_empty());
    shop.rig.clock.advance_ms(1);
    assert_eq!(shop.end_of_unit(), ["quick: timeout"]);
    shop.rig.clock.advance_ms(10_000);
    assert_eq!(shop.end_of_unit(), ["slow: timeout"]);
    assert_eq!(shop.run("RPUSH k 1"), [r#"patient: ["k" "1"]"#]);
}

#[test]
fn a_client_that_is_gone_takes_nothing() {
    let mut shop = Shop::new();
    shop.waits("a", "BLPOP k 0");
    shop.waits("b", "BLPOP k 0");
    let (ticket, _) = shop.waiting.remove(0);
    shop.rig.engine.stop_waiting(ticket);
    assert_eq!(shop.run("RPUSH k 1 2"), [r#"b: ["k" "1"]"#]);
    assert_eq!(shop.rig.run("LLEN k"), "1");
}

#[test]
fn the_log_has_the_pops() {
    let disk = Arc::new(disk());
    let mut shop = Shop::new();
    shop.rig = Rig::open(disk.clone(), settings(FsyncPolicy::Always)).unwrap();
    shop.waits("a", "BLPOP x 0");
    shop.waits("b", "BLMOVE x y LEFT RIGHT 0");
    shop.waits("c", "BZMPOP 0 1 z MIN COUNT 2");
    shop.waits("d", "BZPOPMAX z 0");
    for (db, line) in [(0, "RPUSH x 1 2 3"), (0, "ZADD z 1 a 2 b 3 c 4 d 5 e")] {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        shop.rig.argv(db, true, &args);
    }
    assert_eq!(shop.end_of_unit().len(), 4);
    assert!(shop.rig.pass());
    let before = shop.rig.dump();
    assert_eq!(shop.rig.run("LRANGE x 0 -1"), r#"["3"]"#);
    assert_eq!(shop.rig.run("ZRANGE z 0 -1"), r#"["c" "d"]"#);
    drop(shop);
    let again = Rig::open(disk, settings(FsyncPolicy::Always)).unwrap();
    assert_eq!(again.dump(), before);
}

#[test]
fn what_comes_behind_the_end_serves_all_who_read() {
    let mut shop = Shop::new();
    shop.run("XADD x 1-1 f v");
    shop.waits("a", "XREAD BLOCK 0 STREAMS y x $ $");
    shop.waits("b", "XREAD COUNT 1 BLOCK 0 STREAMS x 1-1");
    shop.waits("later", "XREAD BLOCK 0 STREAMS x x 2-2 $");
    let reply = r#"[["x" [["2-1" ["f" "w"]]]]]"#;
    let told = [format!("a: {reply}"), format!("b: {reply}")];
    assert_eq!(shop.run("XADD x 2-1 f w"), told);
    let told = [r#"later: [["x" [["2-3" ["f" "w"]]]]]"#];
    assert_eq!(shop.run("XADD x 2-3 f w"), told);
    // Whoever reads without a group goes on waiting.
    shop.waits("a", "XREAD BLOCK 0 STREAMS x $");
    assert!(shop.run("DEL x").is_empty());
    assert!(shop.run("XADD x 1-1 f v").is_empty());
    assert_eq!(shop.run("XADD x 3-1 f v").len(), 1);
}

#[test]
fn a_group_gives_each_entry_once_and_its_end_is_told() {
    let disk = Arc::new(disk());
    let mut shop = Shop::new();
    shop.rig = Rig::open(disk.clone(), settings(FsyncPolicy::Always)).unwrap();
    shop.run("XGROUP CREATE x g $ MKSTREAM");
    shop.waits("a", "XREADGROUP GROUP g one BLOCK 0 STREAMS x >");
    shop.waits("b", "XREADGROUP GROUP g two BLOCK 0 STREAMS x >");
    let told = [r#"a: [["x" [["1-1" ["f" "v"]]]]]"#];
    assert_eq!(shop.run("XADD x 1-1 f v"), told);
    let told = [r#"b: [["x" [["1-2" ["f" "v"]]]]]"#];
    assert_eq!(shop.run("XADD x 1-2 f v"), told);
    assert!(shop.rig.pass());
    let before = shop.rig.dump();
    let again = Rig::open(Arc::new(disk.kill()), settings(FsyncPolicy::Always)).unwrap();
    assert_eq!(again.dump(), before);

    let gone = "a: UNBLOCKED the stream key no longer exists";
    for end in ["DEL x", "SET x v", "RENAME x y", "FLUSHDB", "SWAPDB 0 7"] {
        shop.run("DEL x");
        shop.run("XGROUP CREATE x g $ MKSTREAM");
        shop.waits("a", "XREADGROUP GROUP g one BLOCK 0 STREAMS x >");
        shop.waits("b", "XREAD BLOCK 0 STREAMS x $");
        assert_eq!(shop.run(end), [gone], "{end}");
        let (ticket, _) = shop.waiting.remove(0);
        shop.rig.engine.stop_waiting(ticket);
    }
    shop.run("XGROUP CREATE x g $ MKSTREAM");
    shop.run("PEXPIRE x 5");
    shop.waits("a", "XREADGROUP GROUP g one BLOCK 0 STREAMS x >");
    shop.rig.tick(10);
    assert_eq!(shop.end_of_unit(), [gone]);
    shop.run("XGROUP CREATE x g $ MKSTREAM");
    shop.waits("a", "XREADGROUP GROUP g one BLOCK 0 STREAMS x >");
    let told = "a: NOGROUP the consumer group this client was blocked on no longer exists";
    assert_eq!(shop.run("XGROUP DESTROY x g"), [told]);
}
