//! Clients of all kinds beside each other on a slow disk, few and many at a time: nobody waits for long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use persist_tools::generate::Rng;
use persist_tools::preload::Preload;
use persist_tools::raw::{RawClient, Resp, encode_command};
use persist_tools::server::Server;

/// An fsync takes so long, in ms.
const FSYNC_MS: u64 = 10;
/// Nobody waits for longer than the server's disk and processor may stall by themselves.
const LIMIT: Duration = Duration::from_secs(5);
/// Nor for more than some fsyncs, on a machine that has nothing else to do.
const QUIET_LIMIT: Duration = Duration::from_millis(600);
/// How long it is tried, in s. The variable says otherwise, and that the machine is quiet.
const SECS: u64 = 8;
const SECS_VARIABLE: &str = "PERSIST_MIXED_S";

#[derive(Debug, Clone, Copy)]
enum Way {
    Single,
    Pipeline,
    /// More than is kept out.
    Large,
    Script,
    Transaction,
    /// Of the cache and of what others write.
    Reader,
    /// Pipelines writes, then reads the cache by itself.
    Both,
    /// Waits for a list that it fills by another connection.
    Blocks,
    /// A connection for each script.
    Comes,
    /// The same, and doesn't wait for the replies.
    Leaves,
}

const WAYS: [Way; 15] = [
    Way::Single,
    Way::Single,
    Way::Single,
    Way::Pipeline,
    Way::Pipeline,
    Way::Large,
    Way::Script,
    Way::Script,
    Way::Transaction,
    Way::Transaction,
    Way::Reader,
    Way::Both,
    Way::Blocks,
    Way::Comes,
    Way::Leaves,
];

const SCRIPT: &str = "return redis.call('PERSIST.SET', KEYS[1], ARGV[1])";

/// One client, which may be many connections one after the other.
struct Client<'a> {
    server: &'a Server,
    connection: RawClient,
    second: RawClient,
    key: String,
}

impl Client<'_> {
    /// Sends commands and takes their replies, the last of which it gives.
    fn ask(&mut self, commands: &[&[&str]]) -> Resp {
        let mut out = Vec::new();
        commands.iter().for_each(|c| encode_command(&mut out, c));
        self.connection.send_bytes(&out).unwrap();
        for _ in 1..commands.len() {
            self.connection.read().unwrap();
        }
        self.connection.read().unwrap()
    }

    fn act(&mut self, way: Way) -> Resp {
        let key = &*self.key.clone();
        let set = ["PERSIST.SET", key, "v"];
        let eval = ["EVAL", SCRIPT, "1", key, "v"];
        match way {
            Way::Single => self.ask(&[&set]),
            Way::Pipeline => self.ask(&[&set[..]; 8]),
            Way::Large => self.ask(&[&["PERSIST.SET", key, &"v".repeat(50_000)][..]; 3]),
            Way::Script => self.ask(&[&eval]),
            Way::Transaction => self.ask(&[&["MULTI"], &set, &["PERSIST.GET", key], &["EXEC"]]),
            Way::Reader => self.ask(&[&["PERSIST.GET", "mixed-0"], &["GET", "cache"]]),
            Way::Both => {
                self.ask(&[&set[..]; 4]);
                self.ask(&[&["GET", "cache"]])
            }
            Way::Blocks => {
                let blocks = ["PERSIST.BLPOP", key, "5"];
                self.connection.send(&blocks).unwrap();
                self.second.command(&["PERSIST.RPUSH", key, "v"]).unwrap();
                self.connection.read().unwrap()
            }
            Way::Comes => {
                self.connection = self.server.raw().unwrap();
                self.ask(&[&eval])
            }
            Way::Leaves => {
                let mut out = Vec::new();
                (0..4).for_each(|_| encode_command(&mut out, &set));
                let mut other = self.server.raw().unwrap();
                other.send_bytes(&out).unwrap();
                // Perhaps in the place of the other one.
                drop(other);
                self.connection = self.server.raw().unwrap();
                self.ask(&[&["GET", "cache"]])
            }
        }
    }
}

/// What an operator does meanwhile.
fn disturb(server: &mut RawClient, random: &mut Rng) {
    let set = |policy| format!("CONFIG SET persist.appendfsync {policy}");
    let lines: &[String] = &match random.below(8) {
        0 => ["PERSIST.REWRITE".to_owned(), "PING".to_owned()],
        1 => ["PERSIST.BGSAVE SCHEDULE".to_owned(), "PING".to_owned()],
        2 => [set("everysec"), set("always")],
        // A pause of all would last until the server's clock ticks.
        3 => ["CLIENT PAUSE 20 WRITE", "CLIENT UNPAUSE"].map(str::to_owned),
        4 => ["DEBUG SLEEP 0.03".to_owned(), "CLIENT LIST".to_owned()],
        5 => {
            let set = |value| format!("CONFIG SET persist.appendonly {value}");
            [set("no"), set("yes")]
        }
        // Only Valkey 9.1 knows how, and the others refuse it.
        6 => {
            let set = |n| format!("CONFIG SET io-threads {n}");
            [set(2), set(1)]
        }
        _ => ["INFO".to_owned(), "PERSIST.INFO".to_owned()],
    };
    for line in lines {
        server.words(line).unwrap();
        std::thread::sleep(Duration::from_millis(random.below(40)));
    }
}

#[test]
fn nobody_waits_for_long() {
    let secs = std::env::var(SECS_VARIABLE).ok();
    let limit = if secs.is_some() { QUIET_LIMIT } else { LIMIT };
    let secs = secs.map_or(SECS, |s| s.parse().unwrap());
    let slow = Preload::new()
        .slow_fsync_ms(FSYNC_MS)
        .slow_path("persist-aof");
    let server = Server::builder()
        .with_module()
        .config("persist.appendfsync", "always")
        .config("enable-debug-command", "yes")
        // For a second nothing else turns the event loop.
        .config("hz", "1")
        .preload(slow)
        .start()
        .unwrap();
    let (over, stopped_us) = (AtomicBool::new(false), AtomicU64::new(0));
    let (awake, done, worst_us) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (server, over, awake) = (&server, &over, &awake);
    let (stopped_us, done, worst_us) = (&stopped_us, &done, &worst_us);
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
    std::thread::scope(|threads| {
        // Should all be stopped for a while, or the machine be too busy.
        threads.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(Duration::from_millis(5));
                if began.elapsed() > Duration::from_millis(50) {
                    stopped_us.fetch_add(micros(began.elapsed()), Ordering::Relaxed);
                }
            }
        });
        for (n, way) in WAYS.into_iter().enumerate() {
            threads.spawn(move || {
                let mut client = Client {
                    server,
                    connection: server.raw().unwrap(),
                    second: server.raw().unwrap(),
                    key: format!("mixed-{n}"),
                };
                let mut random = Rng::new(n as u64);
                while !over.load(Ordering::Relaxed) {
                    if awake.load(Ordering::Relaxed) >> n & 1 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    let before = stopped_us.load(Ordering::Relaxed);
                    let began = Instant::now();
                    let reply = client.act(way);
                    let mut took = began.elapsed();
                    if took > limit / 4 {
                        std::thread::sleep(Duration::from_millis(100));
                        let stopped = stopped_us.load(Ordering::Relaxed) - before;
                        took = took.saturating_sub(Duration::from_micros(stopped));
                    }
                    if took >= limit {
                        over.store(true, Ordering::Relaxed);
                        panic!("{way:?} waited for {took:?}, {reply}");
                    }
                    worst_us.fetch_max(micros(took), Ordering::Relaxed);
                    done.fetch_add(u64::from(!reply.is_error()), Ordering::Relaxed);
                    // So that some are alone with others.
                    if random.below(4) == 0 {
                        std::thread::sleep(Duration::from_micros(random.below(20_000)));
                    }
                }
            });
        }
        let mut operator = server.raw().unwrap();
        let mut random = Rng::new(secs);
        let began = Instant::now();
        while !over.load(Ordering::Relaxed) && began.elapsed() < Duration::from_secs(secs) {
            // Mostly a few.
            let mut some = random.bits();
            for _ in 0..random.below(4) {
                some &= random.bits();
            }
            awake.store(some, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(random.below(300)));
            if random.below(3) == 0 {
                disturb(&mut operator, &mut random);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let (done, worst) = (
        done.load(Ordering::Relaxed),
        worst_us.load(Ordering::Relaxed),
    );
    println!("{done} done, the longest took {} ms", worst / 1000);
    assert!(done > secs * 20, "{done} done");
}
