//! Commands that wait for durable keys, with several clients, against the host's own.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::time::{Duration, Instant};

use persist_tools::contents;
use persist_tools::preload::{Faults, Preload};
use persist_tools::raw::{RawClient, Resp, encode_command};
use persist_tools::server::{Server, wait_until};

fn bulk(text: &str) -> Resp {
    Resp::Bulk(text.as_bytes().to_vec())
}

const LIMIT: Duration = Duration::from_secs(30);

/// Steps of one story: a client's letter, then what it sends in one write, ` | ` between commands. `@` before a
/// command's name is the place of the prefix, and `#a` is the id of client a.
struct Story {
    name: &'static str,
    steps: &'static [&'static str],
}

/// Later hosts than 7.0 look at keys in the order of the command, and at streams once more than when they changed, and
/// have another text for a group that is gone.
const AS_7_0: &[&str] = &[
    "from the key that was filled first",
    "streams that changed twice",
    "consumer groups",
];

const STORIES: &[Story] = &[
    Story {
        name: "first come, first served",
        steps: &[
            "a @BLPOP x 0",
            "b @BRPOP y x 0",
            "c @BLPOP x 0",
            "d @RPUSH x 1 2",
            "d @RPUSH y 3",
            "d @LPUSH x 4 5",
            "d @LRANGE x 0 -1",
            "d @LRANGE y 0 -1",
        ],
    },
    Story {
        name: "what is there is taken at once",
        steps: &[
            "d @RPUSH y 1 2 3",
            "a @BLPOP x y 0",
            "a @BLMPOP 0 2 x y RIGHT COUNT 5",
            "a @BLPOP x y 0.05",
            "d @SET s v",
            "a @BLPOP s 0",
            "a @BLPOP x s 0",
            "a @BZPOPMIN s 0",
            "a @BLMOVE s x LEFT LEFT 0",
            "a @BZMPOP 0 1 s MIN",
        ],
    },
    Story {
        name: "timeouts",
        steps: &[
            "a @BLPOP x 0.01 | PING",
            "b @BLMOVE x y LEFT LEFT 0.01 | PING",
            "c @BZPOPMAX z 0.01 | PING",
            "a @BRPOPLPUSH x y 0.01 | PING",
            "b @BLMPOP 0.01 1 x LEFT | PING",
            "c @BZMPOP 0.01 1 z MAX COUNT 3 | PING",
            "a @BLPOP x y",
            "a @BLPOP x -1",
            "a @BLPOP x x",
            "a @BLPOP x inf",
            "a @BLPOP x 1e400",
            "a @BLPOP x 1e5000",
            "a @BLMPOP -1 0 x LEFT",
            "a @BLMPOP -1 1 x UP",
            "a @BLMPOP -1 1 x LEFT COUNT 0",
            "a @BLMPOP -1 1 x LEFT",
            "a @BLMOVE x y UP LEFT x",
            "a @BLMOVE x y LEFT LEFT x",
            "a @BRPOPLPUSH x y -0.5",
            "a @BZPOPMIN z nan",
            "a @BZMPOP x 9 z MIN",
            "a @BZMPOP x 1 z MIN",
        ],
    },
    Story {
        name: "in a transaction they answer at once",
        steps: &[
            "a MULTI | @BLPOP x 0 | @BLMOVE x y LEFT LEFT 0 | @BRPOPLPUSH x y 0 | @BLMPOP 0 1 x LEFT | @BZPOPMIN z 0 | @BZMPOP 0 1 z MIN | @BLPOP x -1 | EXEC",
            "a @RPUSH x 1 2 3 4",
            "a MULTI | @BLPOP x 0 | @BLMOVE x y LEFT LEFT 0 | @BRPOPLPUSH x y 0 | @BLMPOP 0 1 x LEFT | EXEC",
            "a @LRANGE y 0 -1",
        ],
    },
    Story {
        name: "from the key that was filled first",
        steps: &[
            "a @BLPOP x y 0",
            "d MULTI | @RPUSH y 1 | @RPUSH x 2 | @LLEN y | EXEC | @LLEN y | @LLEN x",
            "a @XREAD BLOCK 0 STREAMS s t $ $",
            "d MULTI | @XADD t 2-1 f v | @XADD s 1-1 f v | EXEC",
        ],
    },
    Story {
        name: "a transaction is over before anybody is served",
        steps: &[
            "a @BLPOP z 0",
            "d MULTI | @RPUSH z 1 | @DEL z | EXEC",
            "d MULTI | @SET z 1 | @DEL z | @RPUSH z 2 3 | EXEC | @LRANGE z 0 -1",
            "a @BLPOP p 0",
            "b @BLPOP p 0",
            "d MULTI | @RPUSH p 1 | EXEC | MULTI | @RPUSH p 2 | @LLEN p | EXEC | @LLEN p",
            "a @BLPOP q 0 | @RPUSH r 1 | PING",
            "b @BLPOP r 0",
            "d MULTI | @RPUSH q 1 | EXEC",
        ],
    },
    Story {
        name: "one served by another",
        steps: &[
            "a @BLMOVE x y LEFT RIGHT 0",
            "b @BRPOPLPUSH y z 0",
            "c @BLMPOP 0 2 y z LEFT COUNT 9",
            "d @RPUSH x 1",
            "d @EXISTS x y z",
            "a @BLMOVE x y LEFT RIGHT 0",
            "b @BLMOVE y x LEFT RIGHT 0",
            "d @RPUSH x 1",
            "d @LRANGE x 0 -1",
            "d @DEL x",
            "a @BLMOVE x x LEFT RIGHT 0",
            "d @RPUSH x 1 2 3",
            "d @LRANGE x 0 -1",
        ],
    },
    Story {
        name: "a target of another kind",
        steps: &[
            "a @BLMOVE x s LEFT RIGHT 0",
            "b @BLPOP x 0",
            "d @SET s v",
            "d @RPUSH x 1",
            "d @LLEN x",
        ],
    },
    Story {
        name: "another kind while waiting, deleted and made again",
        steps: &[
            "a @BLPOP k 0",
            "b @BZPOPMIN k 0",
            "d @SET k v",
            "d @DEL k",
            "d @SADD k v",
            "d @DEL k",
            "d @ZADD k 1.5 m 2 n",
            "d @DEL k",
            "d @RPUSH k 1",
        ],
    },
    Story {
        name: "keys that come by other ways",
        steps: &[
            "d @RPUSH from 1",
            "a @BLPOP k 0",
            "d @RENAME from k",
            "d @RPUSH from 1",
            "a @BLPOP k 0",
            "d @COPY from k",
            "a @BLPOP k 0",
            "d @LMOVE from k LEFT LEFT",
            "d @ZADD zs 1 m 2 n",
            "b @BZPOPMAX k 0",
            "d @ZUNIONSTORE k 1 zs",
            "d @DEL k",
            "b @BZPOPMAX k 0",
            "d @ZRANGESTORE k zs 0 0",
            "a SELECT 3 | @BLPOP k 0",
            "d @RPUSH k 9",
            "d @COPY k k DB 3",
            "a @BLPOP k 0",
            "d @MOVE k 3",
            "a @BLPOP k 0",
            "d SELECT 4 | @RPUSH k 7 | @SWAPDB 3 4",
            "a SELECT 0",
            "d SELECT 0",
        ],
    },
    Story {
        name: "databases are apart",
        steps: &[
            "a SELECT 1 | @BLPOP k 0",
            "d @RPUSH k 1",
            "d SELECT 1 | @RPUSH k 2",
            "d SELECT 0",
            "a SELECT 0",
        ],
    },
    Story {
        name: "sorted sets",
        steps: &[
            "a @BZPOPMIN z y 0",
            "b @BZPOPMAX y z 0",
            "c @BZMPOP 0 2 x z MAX COUNT 2",
            "d @ZADD z 1 a 2 b 3 c 4 d 5 e",
            "d @ZRANGE z 0 -1 WITHSCORES",
            "a @BZPOPMIN n 0",
            "d @ZINCRBY n 1.25 m",
        ],
    },
    Story {
        name: "streams",
        steps: &[
            "a @XREAD BLOCK 0 STREAMS s t $ $",
            "b @XREAD COUNT 1 BLOCK 0 STREAMS t 0",
            "d @XADD t 1-1 f v",
            "d @XADD t 2-1 f v | @XADD s 1-1 f v",
            "a @XREAD COUNT 1 BLOCK 0 STREAMS s 9-0",
            "b @XREAD BLOCK 0 STREAMS s t $ 2-1",
            "d @XADD s 3-1 f v",
            "d @XADD s 9-1 f v",
            "a @XREAD BLOCK 0 STREAMS n $",
            "d @SET n x",
            "d @DEL n",
            "d @XGROUP CREATE n g $ MKSTREAM",
            "d @XADD n 1-1 f v",
            "a @XREAD BLOCK 0 STREAMS y $",
            "d @XADD x 7-7 f v",
            "d @RENAME x y",
            "a @XREAD BLOCK 20 STREAMS n 0.0",
            "a @XREAD BLOCK x STREAMS n $",
            "a @XREAD BLOCK 1.5 STREAMS n $",
            "a @XREAD BLOCK -1 STREAMS n $",
            "a MULTI | @XREAD BLOCK 0 STREAMS n $ | EXEC",
        ],
    },
    Story {
        name: "streams that changed twice",
        steps: &[
            "a @XREAD BLOCK 0 STREAMS x x $ 9-9",
            "d MULTI | @XADD x 7-1 a b | @XADD x 7-2 a b | EXEC",
            "a @XREAD BLOCK 0 STREAMS x $",
            "d MULTI | @XADD x 8-1 a b | @XDEL x 8-1 | EXEC",
            "d @XGROUP CREATE x g $",
            "a @XREADGROUP GROUP g a BLOCK 0 STREAMS x >",
            "d MULTI | @XADD x 8-2 a b | @XDEL x 8-2 | EXEC",
            "d @XINFO GROUPS x",
            "a @XREAD BLOCK 0 STREAMS x $",
            "b @XREAD COUNT 1001 BLOCK 0 STREAMS x $",
            "d EVAL for\ti=1,1001\tdo\tredis.call('@XADD','x','9-'..i,'n',i)end 0",
            "a @XREAD BLOCK 0 STREAMS x $",
            "d CLIENT UNBLOCK #a",
            "d @DEL x",
        ],
    },
    Story {
        name: "consumer groups",
        steps: &[
            "d @XGROUP CREATE n g $ MKSTREAM",
            "a @XREADGROUP GROUP g a BLOCK 0 STREAMS n >",
            "b @XREADGROUP GROUP g b COUNT 1 BLOCK 0 STREAMS n >",
            "c @XREAD BLOCK 0 STREAMS n $",
            "d @XADD n 1-1 f v",
            "d MULTI | @XADD n 2-1 f v | @XADD n 3-1 f v | EXEC",
            "d @XPENDING n g",
            "a @XREADGROUP GROUP g a BLOCK 0 STREAMS n 0",
            "a @XREADGROUP GROUP g a NOACK BLOCK 0 STREAMS n >",
            "a @XREADGROUP GROUP g a NOACK BLOCK 0 STREAMS n >",
            "d @XGROUP DESTROY n g",
            "d @XGROUP CREATE n g $",
            "a @XREADGROUP GROUP g a BLOCK 0 STREAMS n >",
            "b @XREAD BLOCK 0 STREAMS n $",
            "d @DEL n",
            "d @XADD n 1-1 f v | @XGROUP CREATE n g $",
            "a @XREADGROUP GROUP g a BLOCK 0 STREAMS n >",
            "d @SET n x",
            "d @DEL n",
            "d @XGROUP CREATE n g $ MKSTREAM",
            "a @XREADGROUP GROUP g a BLOCK 0 STREAMS n >",
            "d @RENAME n m",
            "d @RENAME m n",
            "a @XREADGROUP GROUP g a BLOCK 0 STREAMS n >",
            "d MULTI | @DEL n | @XGROUP CREATE n g $ MKSTREAM | @XADD n 5-5 f v | EXEC",
            "a @XREADGROUP GROUP g a BLOCK 0 STREAMS n >",
            "d @SWAPDB 0 3",
            "d @SWAPDB 0 3",
            "d @XADD y 1-1 f v | @XGROUP CREATE y g 0",
            "a @XREADGROUP GROUP g a BLOCK 0 STREAMS n y > >",
            "a @XREADGROUP GROUP g a BLOCK 0 STREAMS n y > >",
            "d @DEL y",
            "a @XREADGROUP GROUP g a BLOCK 0 STREAMS n >",
            "d @PEXPIRE n 1 | ECHO 0.01",
            "d PING",
        ],
    },
    Story {
        name: "CLIENT UNBLOCK",
        steps: &[
            "a @BLPOP x 0",
            "d CLIENT UNBLOCK #a",
            "a @BLMOVE x y LEFT LEFT 0",
            "d CLIENT UNBLOCK #a TIMEOUT",
            "a @BZPOPMIN z 0 | PING",
            "d CLIENT UNBLOCK #a ERROR",
            "d CLIENT UNBLOCK #a",
            "a @BLPOP x 0",
            "b @BLPOP x 0",
            "d CLIENT UNBLOCK #a | @RPUSH x 1",
            // Served, though its reply is still to come: not blocked any more.
            "a @BLPOP x 0",
            "d @RPUSH x 1 | CLIENT UNBLOCK #a | @LLEN x",
            "a @BLPOP x 0",
            "d @RPUSH x 1 | CLIENT UNBLOCK #a ERROR | @LLEN x",
        ],
    },
    Story {
        name: "a client that is gone",
        steps: &[
            "a @BLPOP x 0",
            "b @BLPOP x 0",
            "d CLIENT KILL ID #a",
            "d @RPUSH x 1 2",
            "d @LRANGE x 0 -1",
        ],
    },
    Story {
        name: "a pipeline goes on behind the wait",
        steps: &[
            "a @BLPOP x 0 | @RPUSH y 1 | @BLPOP y 0 | @BLPOP x 0 | PING",
            "d @RPUSH x 1",
            "d @RPUSH x 2",
        ],
    },
    Story {
        name: "scripts",
        steps: &[
            "a @BLPOP x 0",
            "d EVAL return{redis.call('@RPUSH','x','1'),redis.call('@LLEN','x')} 0",
            "d @LLEN x",
            "d EVAL return{redis.pcall('@BLMPOP',0,1,'x','LEFT')} 0",
            "d EVAL return{redis.pcall('@BZMPOP',0,1,'x','MIN')} 0",
        ],
    },
    Story {
        name: "where nobody can wait",
        steps: &[
            "d @XGROUP CREATE g g $ MKSTREAM",
            "d EVAL return{redis.pcall('@BLPOP','x','0')} 0",
            "d EVAL return{redis.pcall('@BRPOPLPUSH','x','y','0')} 0",
            "d EVAL return{redis.pcall('@BLMOVE','x','y','LEFT','LEFT','0')} 0",
            "d EVAL return{redis.pcall('@BZPOPMAX','x','0')} 0",
            "d EVAL return{redis.pcall('@xread','BLOCK','0','STREAMS','s','0')} 0",
            "d EVAL return{redis.pcall('@xread','COUNT','1','block','no','STREAMS','s','0')} 0",
            "d EVAL return{redis.pcall('@xread','COUNT','no','BLOCK','0','STREAMS','s','0')} 0",
            "d EVAL return{redis.pcall('@xread','STREAMS','s','0')} 0",
            "d EVAL return{redis.pcall('@xreadgroup','GROUP','g','c','BLOCK','0','STREAMS','g','>')} 0",
            "d MULTI | @BLPOP x 0 | @BRPOPLPUSH x y 0 | @BLMOVE x y LEFT LEFT 0 | @BZPOPMAX x 0 | @BLMPOP 0 1 x LEFT | \
             @XREAD BLOCK 0 STREAMS s 0 | @XREAD BLOCK no STREAMS s 0 | @XREADGROUP GROUP g c BLOCK 0 STREAMS g > | EXEC",
            // When the consumer was seen differs.
            "d @DEL g",
        ],
    },
    Story {
        name: "expired while nobody looks",
        steps: &[
            "d @RPUSH x 1 | @PEXPIRE x 1",
            "a @BLPOP y 0.02",
            "a @BLPOP x 0",
            "d @RPUSH x 2",
        ],
    },
];

/// Clients of one server, and what they are told.
struct Cast {
    server: Server,
    prefix: &'static str,
    routed: bool,
    resp3: bool,
    clients: Vec<(char, Option<RawClient>, i64)>,
    control: RawClient,
}

impl Cast {
    fn new(prefix: &'static str, route: &str, resp3: bool) -> Cast {
        let server = Server::builder()
            .with_module()
            .config("persist.route", route)
            .start()
            .unwrap();
        let control = server.raw().unwrap();
        let mut cast = Cast {
            server,
            prefix,
            routed: !route.is_empty(),
            resp3,
            clients: vec![],
            control,
        };
        cast.hire();
        cast
    }

    fn hire(&mut self) {
        self.clients = "abcd"
            .chars()
            .map(|letter| {
                let mut client = self.server.raw().unwrap();
                if self.resp3 {
                    client.words("HELLO 3").unwrap();
                }
                let Resp::Int(id) = client.words("CLIENT ID").unwrap() else {
                    panic!("no id")
                };
                (letter, Some(client), id)
            })
            .collect();
    }

    fn play(&mut self, story: &Story) -> Vec<String> {
        let mut told = vec![];
        for step in story.steps {
            told.push(format!("> {step}"));
            self.step(step);
            // Servers look at timeouts ten times a second.
            if step.contains("0.0") {
                std::thread::sleep(Duration::from_millis(250));
            }
            told.extend(self.listen());
        }
        told.push("> what is left".into());
        std::thread::sleep(Duration::from_millis(20));
        told.extend(self.listen());
        let contents = contents::read(
            self.server.port(),
            if self.routed { "PERSIST." } else { self.prefix },
            16,
        )
        .unwrap();
        told.push(format!("{contents:?}"));
        // Whoever still waits leaves.
        self.hire();
        for flush in ["FLUSHALL", "PERSIST.FLUSHALL"] {
            self.control.words(flush).unwrap();
        }
        told
    }

    fn step(&mut self, step: &str) {
        let (who, what) = step.split_once(' ').unwrap();
        // Commands without keys aren't routed.
        let durable = if self.routed {
            "PERSIST.SWAPDB"
        } else {
            "@SWAPDB"
        };
        let mut what = what.replace("@SWAPDB", durable).replace('@', self.prefix);
        for (letter, _, id) in &self.clients {
            what = what.replace(&format!("#{letter}"), &id.to_string());
        }
        let mut out = vec![];
        for command in what.split(" | ") {
            encode_command(&mut out, &command.split(' ').collect::<Vec<_>>());
        }
        let who = who.chars().next().unwrap();
        let client = self.clients.iter_mut().find(|(l, _, _)| *l == who);
        let client = client.unwrap().1.as_mut().unwrap();
        client.send_bytes(&out).unwrap();
    }

    /// What has arrived after some more passes of the event loop.
    fn listen(&mut self) -> Vec<String> {
        for _ in 0..3 {
            self.control.words("PING").unwrap();
        }
        let mut told = vec![];
        for (letter, client, _) in &mut self.clients {
            let Some(connected) = client else { continue };
            loop {
                match connected.try_read(Duration::from_millis(3)) {
                    Ok(Some(reply)) => {
                        // An error has the name that was called.
                        let reply = reply
                            .to_string()
                            .replace("'persist.", "'")
                            .replace("ERR persist.", "ERR ")
                            .replace("ERR PERSIST.", "ERR ");
                        // Later hosts have another word for what is too large.
                        let reply = reply.replace("timeout is out of range", "timeout is negative");
                        told.push(format!("{letter} {reply}"));
                    }
                    Ok(None) => break,
                    Err(_) => {
                        told.push(format!("{letter} is cut off"));
                        *client = None;
                        break;
                    }
                }
            }
        }
        told
    }
}

fn compare(resp3: bool) {
    let mut host = Cast::new("", "", resp3);
    let mut durable = Cast::new("PERSIST.", "", resp3);
    let mut routed = Cast::new("", "*", resp3);
    let version = host.server.info("redis_version").unwrap();
    for story in STORIES {
        if AS_7_0.contains(&story.name) && !version.starts_with("7.0") {
            continue;
        }
        let wanted = host.play(story);
        for (name, cast) in [("durable", &mut durable), ("routed", &mut routed)] {
            let got = cast.play(story);
            let first = wanted.iter().zip(&got).find(|(w, g)| w != g);
            assert!(
                first.is_none() && wanted.len() == got.len(),
                "{name}, {}: {first:?}\nhost:\n{}\n{name}:\n{}",
                story.name,
                wanted.join("\n"),
                got.join("\n")
            );
        }
    }
}

#[test]
fn as_the_host_does_it() {
    compare(false);
}

#[test]
fn as_the_host_does_it_in_resp3() {
    compare(true);
}

/// Workers take from a queue, and the server is killed again and again. What a worker was given is never seen again,
/// and what a producer was told is there is given to somebody or still there.
#[test]
fn nothing_is_lost_or_given_twice_over_kills() {
    let mut server = Server::builder()
        .with_module()
        .config("persist.appendfsync", "always")
        .config("persist.route", "queue*")
        .start()
        .unwrap();
    let (mut given, mut pushed) = (Vec::<String>::new(), Vec::<String>::new());
    for round in 0..4 {
        let port = server.port();
        let workers: Vec<_> = (0..8)
            .map(|n| {
                std::thread::spawn(move || {
                    let mut got = vec![];
                    let Ok(mut client) = RawClient::connect(port) else {
                        return got;
                    };
                    let line = match n % 3 {
                        0 => "BLPOP queue 0",
                        1 => "BLMPOP 0 1 queue RIGHT COUNT 3",
                        _ => "BLPOP queue2 queue 0.01",
                    };
                    while let Ok(reply) = client.words(line) {
                        assert!(!reply.is_error(), "{reply}");
                        let mut items = reply.into_items();
                        match items.pop() {
                            Some(Resp::Bulk(one)) => got.push(String::from_utf8(one).unwrap()),
                            Some(many) => {
                                got.extend(many.into_items().iter().filter_map(Resp::text));
                            }
                            None => {}
                        }
                    }
                    got
                })
            })
            .collect();
        let producers: Vec<_> = (0..2)
            .map(|n| {
                std::thread::spawn(move || {
                    let mut told = vec![];
                    let Ok(mut client) = RawClient::connect(port) else {
                        return told;
                    };
                    for i in 0.. {
                        let name = format!("{round}:{n}:{i}");
                        let done = if i % 5 == 0 {
                            let pipeline = ["MULTI", &format!("RPUSH queue {name}"), "EXEC"]
                                .map(|l| l.split(' ').map(str::to_owned).collect::<Vec<_>>());
                            client.pipeline(&pipeline).map(|replies| {
                                assert!(!replies[2].is_error(), "{replies:?}");
                            })
                        } else {
                            client.words(&format!("RPUSH queue {name}")).map(|reply| {
                                assert!(!reply.is_error(), "{reply}");
                            })
                        };
                        if done.is_err() {
                            break;
                        }
                        told.push(name);
                    }
                    told
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        server.kill9().unwrap();
        workers
            .into_iter()
            .for_each(|w| given.extend(w.join().unwrap()));
        producers
            .into_iter()
            .for_each(|p| pushed.extend(p.join().unwrap()));
        server.restart().unwrap();
    }
    let rest = server.words("LRANGE queue 0 -1").unwrap().into_items();
    let rest: Vec<String> = rest.iter().filter_map(Resp::text).collect();
    let mut seen: Vec<&String> = given.iter().chain(&rest).collect();
    seen.sort();
    let all = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), all, "given twice");
    assert!(given.len() > 100, "only {} were given", given.len());
    // One that was on its way to a worker when the server died may be gone: its reply is as lost as the connection.
    let lost = pushed
        .iter()
        .filter(|name| seen.binary_search(name).is_err());
    let lost: Vec<_> = lost.collect();
    assert!(lost.len() <= 4 * 8 * 3, "{} lost: {lost:?}", lost.len());
}

#[test]
fn many_wait_and_are_served_in_their_order() {
    let server = Server::builder().with_module().start().unwrap();
    let mut waiting = vec![];
    for n in 1..=200 {
        let mut client = server.raw().unwrap();
        client.send(&["PERSIST.BLPOP", "a", "b", "0"]).unwrap();
        waiting.push(client);
        wait_until("it waits", LIMIT, || {
            Ok(server.info("blocked_clients")? == n.to_string())
        })
        .unwrap();
    }
    let mut client = server.raw().unwrap();
    let mut argv = vec!["PERSIST.RPUSH".to_string(), "b".into()];
    argv.extend((0..199).map(|n| n.to_string()));
    assert_eq!(client.command(&argv).unwrap(), Resp::Int(199));
    for (n, client) in waiting.iter_mut().take(199).enumerate() {
        let got = client.read().unwrap();
        assert_eq!(got, Resp::Array(vec![bulk("b"), bulk(&n.to_string())]));
    }
    assert_eq!(client.words("PERSIST.EXISTS b").unwrap(), Resp::Int(0));
    assert_eq!(server.info("blocked_clients").unwrap(), "1");
}

#[test]
fn waiting_has_the_hosts_own_signs() {
    let server = Server::builder().with_module().start().unwrap();
    let (mut client, mut other) = (server.raw().unwrap(), server.raw().unwrap());
    client.send(&["PERSIST.BLPOP", "a", "0.2"]).unwrap();
    wait_until("it waits", LIMIT, || {
        Ok(server.info("blocked_clients")? == "1")
    })
    .unwrap();
    let list = other.words("CLIENT LIST").unwrap().text().unwrap();
    assert!(
        list.contains("flags=b ") && list.contains("cmd=persist.blpop"),
        "{list}"
    );
    let begun = Instant::now();
    assert_eq!(client.read().unwrap(), Resp::NullArray);
    // Timeouts are looked at ten times a second, as the host does.
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(server.info("blocked_clients").unwrap(), "0");
    // Nothing is left in the way of commands.
    let modules = other.words("INFO modules").unwrap().text().unwrap();
    assert!(modules.contains("filters=0"), "{modules}");
    let info = other
        .words("COMMAND INFO PERSIST.BLPOP")
        .unwrap()
        .to_string();
    assert!(info.contains("blocking"), "{info}");
}

/// Ways to fill a key, each one write of a client to the server.
const PUSHES: &[&[&str]] = &[
    &["PERSIST.RPUSH q 1"],
    &["MULTI", "PERSIST.RPUSH q 1", "EXEC"],
    &["EVAL return{redis.call('PERSIST.RPUSH','q','1')} 0"],
    &["PERSIST.RPUSH from 1", "PERSIST.RENAME from q"],
];

fn send_all(client: &mut RawClient, commands: &[&str]) {
    let mut out = vec![];
    for command in commands {
        encode_command(&mut out, &command.split(' ').collect::<Vec<_>>());
    }
    client.send_bytes(&out).unwrap();
}

/// Under `always`, what a client is served with is as durable as if it had popped it itself: its reply comes after the
/// fsync, and is an error or none at all if that fails.
#[test]
fn a_served_client_hears_after_the_fsync() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("faults");
    let server = Server::builder()
        .with_module()
        .config("persist.appendfsync", "always")
        .config("persist.dir", &dir.path().to_string_lossy())
        .preload(Preload::new().control(&control).fail_path("persist-aof"))
        .start()
        .unwrap();
    let slow = Duration::from_millis(150);
    for commands in PUSHES {
        Faults::default().apply(&control).unwrap();
        let (mut waiter, mut pusher) = (server.raw().unwrap(), server.raw().unwrap());
        waiter.send(&["PERSIST.BLPOP", "q", "0"]).unwrap();
        wait_until("it waits", LIMIT, || {
            Ok(server.info("blocked_clients")? == "1")
        })
        .unwrap();
        Faults {
            slow_fsync_ms: slow.as_millis() as u64,
            ..Faults::default()
        }
        .apply(&control)
        .unwrap();
        let begun = Instant::now();
        send_all(&mut pusher, commands);
        assert_eq!(
            waiter.read().unwrap(),
            Resp::Array(vec![bulk("q"), bulk("1")])
        );
        assert!(
            begun.elapsed() >= slow,
            "{commands:?}: {:?}",
            begun.elapsed()
        );
    }
    for commands in PUSHES {
        // What the last fault left to be healed may meet the next one first; then the push is refused.
        let told = (0..10).any(|_| is_told(&server, &control, commands));
        assert!(told, "{commands:?}");
    }
}

/// Fills a key while fsync fails; whether the client that is served with it hears of that, or is cut off. If not, it got
/// nothing.
fn is_told(server: &Server, control: &Path, commands: &[&str]) -> bool {
    Faults::default().apply(control).unwrap();
    wait_until("writes are taken again", LIMIT, || {
        Ok(server.words("PERSIST.SET other 1")? == Resp::Simple(b"OK".to_vec()))
    })
    .unwrap();
    // What an earlier one pushed and nobody took.
    server.words("PERSIST.DEL q").unwrap();
    let (mut waiter, mut pusher) = (server.raw().unwrap(), server.raw().unwrap());
    waiter.send(&["PERSIST.BLPOP", "q", "0"]).unwrap();
    wait_until("it waits", LIMIT, || {
        Ok(server.info("blocked_clients")? == "1")
    })
    .unwrap();
    let faults = Faults {
        fail_fsync: true,
        ..Faults::default()
    };
    faults.apply(control).unwrap();
    send_all(&mut pusher, commands);
    match waiter.try_read(Duration::from_secs(2)) {
        Err(error) => {
            assert!(error.to_string().contains("closed"), "{error}");
            true
        }
        // It was served, and told that this isn't on disk; or the log broke between the push and the pop.
        Ok(Some(reply)) => {
            let reply = reply.to_string();
            assert!(
                reply.contains("MISCONF"),
                "{commands:?}: served with {reply}"
            );
            reply.contains("not on disk")
        }
        Ok(None) => {
            let told = pusher.try_read(LIMIT).unwrap();
            let last = std::iter::from_fn(|| pusher.try_read(Duration::from_millis(50)).unwrap());
            let told: Vec<Resp> = told.into_iter().chain(last).collect();
            let told: String = told.iter().map(Resp::to_string).collect();
            assert!(told.contains("MISCONF"), "{commands:?}: {told}");
            // Where each write of a pipeline is held, the first was told, and what would have served is refused.
            told.contains("not on disk")
        }
    }
}
