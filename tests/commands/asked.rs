//! Commands whose arguments say where their keys are: what the host does with keys that it has to ask for.

use persist_tools::raw::Resp;
use persist_tools::server::Server;

use crate::together::{bulk, ok, run, server};

/// A reader that wasn't told of a change would go on with what it has.
#[test]
fn client_side_caching_remembers_every_key_that_was_read() {
    let server = server();
    let mut other = server.raw().unwrap();
    let reads = [
        ("GET a", "SET a 2"),
        ("ZUNION 2 y z", "ZADD z 2 n"),
        ("ZINTER 2 y z", "ZADD z 3 n"),
        ("ZDIFF 2 y z", "ZADD z 4 n"),
        ("ZINTERCARD 2 y z", "ZADD z 5 n"),
        ("SINTERCARD 2 r s", "SADD s n"),
        ("XREAD STREAMS w x 0 0", "XADD x * f v"),
        ("SORT_RO s ALPHA", "SADD s o"),
    ];
    for (read, write) in reads {
        let mut client = server.raw().unwrap();
        client.words("HELLO 3").unwrap();
        run(&mut client, &[("CLIENT TRACKING ON", ok())]);
        let reply = client.words(&format!("PERSIST.{read}")).unwrap();
        assert!(!reply.is_error(), "{read}: {reply}");
        other.words(&format!("PERSIST.{write}")).unwrap();
        let key = write.split(' ').nth(1).unwrap_or_default();
        let push = client.words("PING").unwrap();
        assert!(
            matches!(&push, Resp::Push(items) if items[1] == Resp::Array(vec![bulk(key)])),
            "{read}: {push}"
        );
    }
}

/// The same for the slots of a cluster.
#[test]
fn a_cluster_sees_the_slots_of_all_keys() {
    let server = Server::builder()
        .with_module()
        .config("cluster-enabled", "yes")
        .start()
        .unwrap();
    let mut client = server.raw().unwrap();
    run(&mut client, &[("CLUSTER ADDSLOTSRANGE 0 16383", ok())]);
    for call in [
        "MGET a b",
        "ZUNION 2 a b",
        "ZUNIONSTORE a 1 b",
        "SINTERCARD 2 a b",
        "LMPOP 2 a b LEFT",
        "XREAD STREAMS a b 0 0",
        "SORT a STORE b",
        "GEORADIUS a 1 1 1 m STORE b",
    ] {
        let reply = client.words(&format!("PERSIST.{call}")).unwrap();
        let text = reply.text().unwrap_or_default();
        assert!(text.starts_with("CROSSSLOT"), "{call}: {reply}");
    }
}
