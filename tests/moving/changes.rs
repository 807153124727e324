//! A large key that is changed, or taken away, while it is copied.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use persist_tools::host;
use persist_tools::preload::{Faults, Preload};
use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::Server;

use crate::large::{elements, list, numbers};
use crate::{
    LIMIT, MANY, WAYS, Way, builder, bulk, fill, finish, freeze, freeze_after, hidden, moving,
    number, progress, started, thaw, wait_until, words,
};

/// Says something while a move stands still, after so many elements; what it changes is done when the move goes on.
fn meanwhile(
    server: &Server,
    client: &mut RawClient,
    (other, id): &mut (RawClient, i64),
    commands: &[Vec<String>],
    least: u64,
) -> Vec<Resp> {
    freeze_after(client, least);
    for command in commands {
        other.send(command).unwrap();
    }
    // It has arrived when it is what that client said last. MULTI alone doesn't wait.
    let names = commands
        .iter()
        .map(|command| command[0].to_ascii_lowercase());
    let said: Vec<String> = names
        .filter(|name| name != "multi")
        .map(|name| format!("cmd={name} "))
        .collect();
    let mut observer = server.raw().unwrap();
    wait_until("the command", LIMIT, || {
        let list = observer.words(&format!("CLIENT LIST ID {id}"))?;
        let list = list.text().unwrap();
        Ok(said.iter().any(|cmd| list.contains(cmd)))
    })
    .unwrap();
    thaw(client);
    commands.iter().map(|_| other.read().unwrap()).collect()
}

/// The same with one command, of a client that has said nothing before.
fn one(server: &Server, client: &mut RawClient, line: &str) -> Resp {
    meanwhile(server, client, &mut another(server), &[words(line)], 0).remove(0)
}

/// A client, and its id.
fn another(server: &Server) -> (RawClient, i64) {
    let mut client = server.raw().unwrap();
    let id = number(&mut client, "CLIENT ID");
    (client, id)
}

/// A large hash whose fields all say `old`.
fn hash(client: &mut RawClient, way: Way) {
    fill(client, MANY / 100, |i| {
        let mut command = vec![format!("{}HSET", way.from()), "k".into()];
        command.extend((0..100).flat_map(|j| [format!("f:{}", i * 100 + j), "old".into()]));
        command
    });
}

/// Each changes the element that is copied first, and not the length.
#[test]
fn no_change_of_a_large_key_is_lost() {
    let script = [
        "EVAL",
        "return redis.call('LSET', KEYS[1], 0, 'new')",
        "1",
        "k",
    ];
    for way in WAYS {
        for how in ["plain", "script", "transaction", "queued before"] {
            let server = builder().start().unwrap();
            let mut client = server.raw().unwrap();
            list(&mut client, way, "k", MANY);
            let (from, to) = (way.from(), way.to());
            let lset = format!("{from}LSET");
            let set = format!("{lset} k 0 new");
            let mut other = another(&server);
            if how == "queued before" {
                other.0.words("MULTI").unwrap();
                other.0.words(&set).unwrap();
            }
            client.words(&format!("{} k", way.command())).unwrap();
            let lines = match how {
                "plain" => vec![words(&set)],
                "script" => vec![script.map(|word| word.replace("LSET", &lset)).to_vec()],
                "transaction" => vec![words("MULTI"), words(&set), words("EXEC")],
                _ => vec![words("EXEC")],
            };
            let replies = meanwhile(&server, &mut client, &mut other, &lines, 0);
            let what = format!("{way:?} {how}");
            for reply in replies {
                assert!(!reply.is_error(), "{what}: {reply}");
            }
            finish(&server);
            let all = elements(&mut client, to, "k");
            assert_eq!(all[0], "new", "{what}");
            assert_eq!(all[1..], numbers(MANY)[1..], "{what}");
            assert_eq!(number(&mut client, &format!("{from}EXISTS k")), 0, "{what}");
            assert_eq!(moving(&mut client)["moving_moved"], "1", "{what}");
        }
    }
}

/// What is queued makes it begin again, and so does what runs it later.
#[test]
fn a_transaction_that_begins_meanwhile_and_runs_later() {
    for way in WAYS {
        let server = builder().start().unwrap();
        let mut client = server.raw().unwrap();
        list(&mut client, way, "k", MANY);
        let (from, to) = (way.from(), way.to());
        client.words(&format!("{} k", way.command())).unwrap();
        let mut other = another(&server);
        let before = 60_000;
        let queue = [words("MULTI"), words(&format!("{from}LSET k 0 new"))];
        meanwhile(&server, &mut client, &mut other, &queue, before);
        // An error, which ends nothing. (Valkey 9 ends the transaction then.)
        if !host::host().unwrap().valkey {
            assert!(other.0.words("MULTI").unwrap().is_error());
        }
        if way == Way::Adopt {
            wait_until("another beginning", LIMIT, || {
                Ok(progress(&mut client).0 < before)
            })
            .unwrap();
        }
        meanwhile(&server, &mut client, &mut other, &[words("EXEC")], 0);
        finish(&server);
        let all = elements(&mut client, to, "k");
        assert_eq!(all[0], "new", "{way:?}");
        assert_eq!(all[1..], numbers(MANY)[1..], "{way:?}");
        assert_eq!(
            number(&mut client, &format!("{from}EXISTS k")),
            0,
            "{way:?}"
        );
    }
}

/// XACK tells nobody but the log.
#[test]
fn an_acknowledged_entry_stays_acknowledged() {
    for way in WAYS {
        let server = builder().start().unwrap();
        let mut client = server.raw().unwrap();
        let (from, to) = (way.from(), way.to());
        fill(&mut client, 30_000, |i| {
            words(&format!("{from}XADD k {}-1 f v", i + 1))
        });
        client.words(&format!("{from}XGROUP CREATE k g 0")).unwrap();
        let read = format!("{from}XREADGROUP GROUP g c COUNT 30000 STREAMS k >");
        client.words(&read).unwrap();
        client.words(&format!("{} k", way.command())).unwrap();
        let acknowledge = format!("{from}XACK k g 7-1");
        let mut other = another(&server);
        // Its turn was when all entries were copied.
        let replies = meanwhile(
            &server,
            &mut client,
            &mut other,
            &[words(&acknowledge)],
            31_000,
        );
        assert_eq!(replies, [Resp::Int(1)]);
        finish(&server);
        let pending = client
            .words(&format!("{to}XPENDING k g 7-1 7-1 1"))
            .unwrap();
        assert_eq!(pending, Resp::Array(Vec::new()), "{way:?}");
        let all = client.words(&format!("{to}XPENDING k g")).unwrap();
        assert_eq!(all.into_items()[0], Resp::Int(29_999), "{way:?}");
    }
}

#[test]
fn who_only_reads_doesnt_hold_it_up() {
    // Before 7.2 nobody knows whose transaction it is that runs.
    let kind = host::host().unwrap();
    let tells_clients = kind.is_redis((7, 2)) || kind.is_valkey((7, 2));
    for way in WAYS {
        let server = builder().start().unwrap();
        let mut client = server.raw().unwrap();
        list(&mut client, way, "k", MANY);
        client.words(&format!("{} k", way.command())).unwrap();
        let (done, _) = freeze(&mut client);
        let from = way.from();
        let mut lines: Vec<String> = ["LLEN k", "TYPE k", "LRANGE k 0 10", "LINDEX k 5", "TTL k"]
            .map(|line| format!("{from}{line}"))
            .to_vec();
        if tells_clients {
            lines.extend(["MULTI", "GET other", "EXEC"].map(str::to_owned));
        }
        for line in &lines {
            client.words(line).unwrap();
        }
        thaw(&mut client);
        let mut seen = 0;
        loop {
            let info = moving(&mut client);
            if info["moving_moved"] == "1" {
                break;
            }
            let now: u64 = info["moving_key_elements_done"].parse().unwrap();
            assert!(now >= done, "{way:?}: it began again, {now} after {done}");
            seen += 1;
        }
        assert!(seen > 0);
        assert_eq!(elements(&mut client, way.to(), "k"), numbers(MANY));
    }
}

#[test]
fn a_source_that_goes_away_ends_it_and_leaves_nothing() {
    for way in WAYS {
        for line in ["DEL k", "FLUSHALL", "PEXPIREAT k 1"] {
            let server = builder().start().unwrap();
            let mut client = server.raw().unwrap();
            list(&mut client, way, "k", MANY);
            client.words(&format!("{} *", way.command())).unwrap();
            let line = format!("{}{line}", way.from());
            one(&server, &mut client, &line);
            finish(&server);
            let info = moving(&mut client);
            let ended = (&*info["moving_last_status"], &*info["moving_moved"]);
            assert_eq!(ended, ("ok", "0"), "{way:?} {line}");
            for side in ["", "PERSIST."] {
                assert_eq!(
                    number(&mut client, &format!("{side}DBSIZE")),
                    0,
                    "{way:?} {line}"
                );
            }
        }
    }
}

/// A client that was served by another's command said so long before.
#[test]
fn what_no_command_names_is_noticed_by_the_length() {
    for way in WAYS {
        let server = builder().start().unwrap();
        let mut client = server.raw().unwrap();
        list(&mut client, way, "k", MANY);
        let (from, to) = (way.from(), way.to());
        let mut waiter = server.raw().unwrap();
        let wait = words(&format!("{from}BLMOVE queue k LEFT LEFT 0"));
        waiter.send(&wait).unwrap();
        client.words(&format!("{} k", way.command())).unwrap();
        let push = format!("{from}RPUSH queue {MANY}");
        assert_eq!(one(&server, &mut client, &push), Resp::Int(1));
        assert_eq!(waiter.read().unwrap(), bulk(&MANY.to_string()));
        finish(&server);
        let all = elements(&mut client, to, "k");
        assert_eq!(all[0], MANY.to_string(), "{way:?}");
        assert_eq!(all[1..], numbers(MANY), "{way:?}");
        assert_eq!(number(&mut client, &format!("{from}EXISTS k")), 0);
    }
}

/// The other database has a key of that name, as long as the first.
#[test]
fn databases_that_are_exchanged() {
    for way in WAYS {
        let server = builder().start().unwrap();
        let mut client = server.raw().unwrap();
        let (from, to) = (way.from(), way.to());
        list(&mut client, way, "k", MANY);
        client.words("SELECT 1").unwrap();
        fill(&mut client, MANY, |_| {
            words(&format!("{from}RPUSH k other"))
        });
        client.words("SELECT 0").unwrap();
        client.words(&format!("{} k", way.command())).unwrap();
        one(&server, &mut client, &format!("{from}SWAPDB 0 1"));
        finish(&server);
        let all = elements(&mut client, to, "k");
        assert!(
            all.len() == MANY && all.iter().all(|e| e == "other"),
            "{way:?}"
        );
    }
}

/// Eviction takes the hidden key as any other, and so does who empties the database.
#[test]
fn a_copy_that_goes_away_is_begun_again() {
    for way in WAYS {
        for line in ["UNLINK", "FLUSHALL"] {
            let server = builder().start().unwrap();
            let mut client = server.raw().unwrap();
            list(&mut client, way, "k", MANY);
            client.words(&format!("{} *", way.command())).unwrap();
            // Its name, and a while later its end.
            freeze(&mut client);
            let name = hidden(&mut client, way.to()).remove(0);
            thaw(&mut client);
            let line = match line {
                "UNLINK" => format!("{}UNLINK {name}", way.to()),
                _ => format!("{}FLUSHALL", way.to()),
            };
            one(&server, &mut client, &line);
            // The new one ends by itself, too.
            let name = loop {
                freeze(&mut client);
                match hidden(&mut client, way.to()).pop() {
                    Some(name) => break name,
                    None => thaw(&mut client),
                }
            };
            let ttl = number(&mut client, &format!("{}PTTL {name}", way.to()));
            assert!(ttl > 0, "{way:?} {line}: {ttl}");
            thaw(&mut client);
            finish(&server);
            assert_eq!(moving(&mut client)["moving_moved"], "1", "{way:?} {line}");
            assert_eq!(elements(&mut client, way.to(), "k"), numbers(MANY));
            assert_eq!(number(&mut client, &format!("{}DBSIZE", way.from())), 0);
            assert_eq!(number(&mut client, &format!("{}DBSIZE", way.to())), 1);
        }
    }
}

/// Somebody pushes all the time, and somebody looks: no element that was acknowledged is lost, none is there twice, and
/// nobody sees a part of the list.
#[test]
fn a_writer_and_a_reader_all_the_while() {
    for way in WAYS {
        for (routed, pause_ms) in [(false, 0), (false, 700), (true, 0)] {
            if (way, routed, pause_ms) == (Way::Release, false, 0) {
                // Covered by the routed one, which writes to the same side.
                continue;
            }
            let server = builder().start().unwrap();
            let mut client = server.raw().unwrap();
            let count = 20_000;
            list(&mut client, way, "k", count);
            let push = if routed {
                client.words("CONFIG SET persist.route k").unwrap();
                "RPUSHX".to_owned()
            } else {
                format!("{}RPUSHX", way.from())
            };
            let over = AtomicBool::new(false);
            let port = server.port();
            let acknowledged = std::thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    let mut client = RawClient::connect(port).unwrap();
                    let mut next = count;
                    while !over.load(Ordering::Relaxed) {
                        let line = format!("{push} k {next}");
                        match client.words(&line).unwrap() {
                            Resp::Int(0) => {}
                            Resp::Int(_) => next += 1,
                            other => panic!("{line}: {other}"),
                        }
                        std::thread::sleep(Duration::from_millis(pause_ms));
                    }
                    next
                });
                scope.spawn(|| {
                    let mut client = RawClient::connect(port).unwrap();
                    // Where the copy comes to be; not under a route's name.
                    let other = if way == Way::Adopt {
                        "PERSIST.LLEN k"
                    } else {
                        "DBSIZE"
                    };
                    while !over.load(Ordering::Relaxed) {
                        let n = number(&mut client, other);
                        if way == Way::Adopt {
                            assert!(n == 0 || n >= count as i64, "half of it: {n}");
                        }
                    }
                });
                assert_eq!(
                    client.words(&format!("{} k", way.command())).unwrap(),
                    started()
                );
                finish(&server);
                over.store(true, Ordering::Relaxed);
                writer.join().unwrap()
            });
            client.words("CONFIG SET persist.route ''").unwrap();
            client
                .command(&["CONFIG", "SET", "persist.route", ""])
                .unwrap();
            let what = format!("{way:?}, routed {routed}, every {pause_ms} ms");
            let info = moving(&mut client);
            let from = elements(&mut client, way.from(), "k");
            let to = elements(&mut client, way.to(), "k");
            if info["moving_changed"] == "1" {
                // Both sides have it, and the source has all.
                assert_eq!(from, numbers(acknowledged), "{what}");
                assert!(to.len() >= count, "{what}");
            } else {
                assert_eq!(info["moving_moved"], "1", "{what}");
                assert_eq!(from, Vec::<String>::new(), "{what}");
                assert_eq!(to, numbers(acknowledged), "{what}");
            }
            assert_eq!(progress(&mut client), (0, 0));
            for side in ["", "PERSIST."] {
                assert_eq!(hidden(&mut client, side), Vec::<String>::new(), "{what}");
            }
        }
    }
}

/// Between the copy's getting its name and the fsync that covers it.
#[test]
fn changes_before_the_copy_is_durable() {
    for (lines, host, durable, counts) in [
        // Copied again.
        (&["HSET k f:1 new"][..], None, Some("new"), ("1", "0")),
        (&["DEL k"], None, None, ("0", "0")),
        // What was written into the copy stays, too.
        (
            &["PERSIST.HSET k f:1 other", "HSET k f:1 new"],
            Some("new"),
            Some("other"),
            ("0", "1"),
        ),
        (
            &["PERSIST.HSET k f:1 other"],
            None,
            Some("other"),
            ("1", "0"),
        ),
        (
            &["PERSIST.HSET k f:1 other", "DEL k"],
            None,
            Some("other"),
            ("1", "0"),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("faults");
        let server = builder()
            // So that nobody has to wait who looks at the copy.
            .config("persist.appendfsync", "everysec")
            .preload(Preload::new().control(&control).slow_path("persist-aof"))
            .start()
            .unwrap();
        let mut client = server.raw().unwrap();
        hash(&mut client, Way::Adopt);
        let slow = Faults {
            slow_fsync_ms: 1500,
            ..Faults::default()
        };
        slow.apply(&control).unwrap();
        client.words("PERSIST.ADOPT k").unwrap();
        wait_until("the copy", LIMIT, || {
            Ok(client.words("PERSIST.KEYS k")?.into_items().len() == 1)
        })
        .unwrap();
        assert_eq!(number(&mut client, "HLEN k"), MANY as i64);
        for line in lines {
            assert!(!client.words(line).unwrap().is_error());
        }
        Faults::default().apply(&control).unwrap();
        finish(&server);
        let mut get = |line: &str| client.words(line).unwrap().text();
        assert_eq!(get("HGET k f:1").as_deref(), host, "{lines:?}");
        assert_eq!(get("PERSIST.HGET k f:1").as_deref(), durable, "{lines:?}");
        let info = moving(&mut client);
        let counted = (&*info["moving_moved"], &*info["moving_changed"]);
        assert_eq!(counted, counts, "{lines:?}");
    }
}
