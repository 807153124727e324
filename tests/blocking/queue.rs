//! Who waits, and in which order one push serves all of them.

use persist_tools::raw::Resp;
use persist_tools::server::{Server, wait_until};

use crate::{LIMIT, bulk};

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
    client.send(&["PERSIST.BLPOP", "a", "0"]).unwrap();
    wait_until("it waits", LIMIT, || {
        Ok(server.info("blocked_clients")? == "1")
    })
    .unwrap();
    let list = other.words("CLIENT LIST").unwrap().text().unwrap();
    assert!(
        list.contains("flags=b ") && list.contains("cmd=persist.blpop"),
        "{list}"
    );
    other.words("PERSIST.RPUSH a x").unwrap();
    let given = client.read().unwrap().into_items();
    assert_eq!(given[1], Resp::Bulk(b"x".to_vec()));
    let reply = client.command(&["PERSIST.BLPOP", "a", "0.2"]).unwrap();
    assert_eq!(reply, Resp::NullArray);
    assert_eq!(server.info("blocked_clients").unwrap(), "0");
    // Nothing is left in the way of commands but what looks out for long scripts.
    let modules = other.words("INFO modules").unwrap().text().unwrap();
    assert!(modules.contains("filters=1"), "{modules}");
    let info = other
        .words("COMMAND INFO PERSIST.BLPOP")
        .unwrap()
        .to_string();
    assert!(info.contains("blocking"), "{info}");
}
