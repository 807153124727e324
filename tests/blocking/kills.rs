//! Workers of a queue whose server is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::{Server, wait_until};

use crate::LIMIT;

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
        let count = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..8)
            .map(|n| {
                let count = count.clone();
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
                        let before = got.len();
                        let mut items = reply.into_items();
                        match items.pop() {
                            Some(Resp::Bulk(one)) => got.push(String::from_utf8(one).unwrap()),
                            Some(many) => {
                                got.extend(many.into_items().iter().filter_map(Resp::text));
                            }
                            None => {}
                        }
                        count.fetch_add(got.len() - before, Ordering::Relaxed);
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
        // However slow the disk is.
        wait_until("some are given", LIMIT, || {
            Ok(count.load(Ordering::Relaxed) >= 30)
        })
        .unwrap();
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
    // One that was on its way to a worker when the server died may be gone: its reply is as lost as the connection.
    let lost = pushed
        .iter()
        .filter(|name| seen.binary_search(name).is_err());
    let lost: Vec<_> = lost.collect();
    assert!(lost.len() <= 4 * 8 * 3, "{} lost: {lost:?}", lost.len());
}
