//! Plays each story on the host's own keys, on durable ones and on routed ones.

use std::time::{Duration, Instant};

use persist_tools::contents;
use persist_tools::raw::{RawClient, Resp, encode_command};
use persist_tools::server::{Server, wait_until};

use crate::LIMIT;
use crate::stories::{AS_7_0, STORIES, Story};

/// A client of a story.
struct Actor {
    letter: char,
    /// Its connection, until it is cut off.
    client: Option<RawClient>,
    id: i64,
    /// How many replies are still to come.
    owed: usize,
    told: Vec<String>,
}

/// Clients of one server, and what they are told.
struct Cast {
    server: Server,
    prefix: &'static str,
    routed: bool,
    resp3: bool,
    clients: Vec<Actor>,
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
                Actor {
                    letter,
                    client: Some(client),
                    id,
                    owed: 0,
                    told: vec![],
                }
            })
            .collect();
        // Who still waits would take what the next ones push.
        let control = &mut self.control;
        wait_until("the old clients are gone", LIMIT, || {
            Ok(clients(control, "connected_clients") == 5)
        })
        .unwrap();
    }

    fn play(&mut self, story: &Story) -> Vec<String> {
        let mut told = vec![];
        for step in story.steps {
            told.push(format!("> {step}"));
            let who = self.step(step);
            // Servers look at timeouts ten times a second.
            let timed = step.contains("0.0");
            if timed {
                std::thread::sleep(Duration::from_millis(250));
            }
            told.extend(self.listen(timed.then_some(who)));
        }
        told.push("> what is left".into());
        told.extend(self.listen(None));
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

    /// Sends a step, and says whose it is.
    fn step(&mut self, step: &str) -> char {
        let (who, what) = step.split_once(' ').unwrap();
        // Commands without keys aren't routed.
        let durable = if self.routed {
            "PERSIST.SWAPDB"
        } else {
            "@SWAPDB"
        };
        let mut what = what.replace("@SWAPDB", durable).replace('@', self.prefix);
        for Actor { letter, id, .. } in &self.clients {
            what = what.replace(&format!("#{letter}"), &id.to_string());
        }
        let mut out = vec![];
        let mut owed = 0;
        for command in what.split(" | ") {
            encode_command(&mut out, &command.split(' ').collect::<Vec<_>>());
            owed += 1;
        }
        let who = who.chars().next().unwrap();
        let actor = self.clients.iter_mut().find(|a| a.letter == who).unwrap();
        actor.owed += owed;
        actor.client.as_mut().unwrap().send_bytes(&out).unwrap();
        who
    }

    /// What each was told until all were told everything, or wait. `done` doesn't wait any more.
    ///
    /// A server with I/O threads doesn't say whose reply leaves first, so what counts is what each client gets, and
    /// between which steps.
    fn listen(&mut self, done: Option<char>) -> Vec<String> {
        let end = Instant::now() + LIMIT;
        // One that was served may look as if it waited until the event loop has turned.
        let mut quiet = 0;
        loop {
            assert!(Instant::now() < end, "somebody isn't answered");
            for _ in 0..3 {
                self.control.words("PING").unwrap();
            }
            let blocked = clients(&mut self.control, "blocked_clients");
            let owed = self.clients.iter_mut().filter(|a| a.owed > 0);
            let mut owed: Vec<_> = owed.collect();
            let settled = owed.len() == blocked && owed.iter().all(|a| Some(a.letter) != done);
            quiet = if settled { quiet + 1 } else { 0 };
            if quiet == 1 {
                continue;
            }
            if owed.iter_mut().filter_map(|a| a.read_all()).count() > 0 {
                quiet = 0;
            } else if settled {
                break;
            }
        }
        let told = self.clients.iter_mut().map(|a| std::mem::take(&mut a.told));
        told.flatten().collect()
    }
}

impl Actor {
    /// Reads what has arrived, if anything has.
    fn read_all(&mut self) -> Option<()> {
        let mut heard = None;
        while let Some(client) = &mut self.client {
            match client.try_read(Duration::from_millis(1)) {
                Ok(Some(reply)) => {
                    // An error has the name that was called.
                    let reply = reply
                        .to_string()
                        .replace("'persist.", "'")
                        .replace("ERR persist.", "ERR ")
                        .replace("ERR PERSIST.", "ERR ");
                    // Later hosts have another word for what is too large.
                    let reply = reply.replace("timeout is out of range", "timeout is negative");
                    self.told.push(format!("{} {reply}", self.letter));
                    self.owed = self.owed.checked_sub(1).expect("a reply to nothing");
                }
                Ok(None) => break,
                Err(_) => {
                    self.told.push(format!("{} is cut off", self.letter));
                    self.client = None;
                    self.owed = 0;
                }
            }
            heard = Some(());
        }
        heard
    }
}

/// A number of clients, as INFO tells it.
fn clients(control: &mut RawClient, which: &str) -> usize {
    let info = control.words("INFO clients").unwrap().text().unwrap();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    line.unwrap().parse().unwrap()
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
