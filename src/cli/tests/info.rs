//! `redis-persist info` counts what is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{fill, image, tool};

#[test]
fn counts() {
    let temp = tempfile::tempdir().unwrap();
    drop(fill(temp.path(), true));
    let dir = temp.path().to_str().unwrap();
    let before = image(temp.path());
    let all = tool(&["info", dir, "--json", "--top", "3"]).json();
    assert_eq!(all["source"], "log");
    assert_eq!(all["keys"], 11);
    assert_eq!(all["types"]["string"]["keys"], 3);
    assert_eq!(all["types"]["string"]["elements"], 3 + 1 + 20_000);
    assert_eq!(all["types"]["list"]["elements"], 3);
    assert_eq!(all["types"]["hash"]["elements"], 302);
    assert_eq!(all["types"]["stream"]["elements"], 1);
    assert_eq!(all["databases"][0]["keys"], 10);
    assert_eq!(all["databases"][0]["expires"], 1);
    assert_eq!(all["databases"][1]["db"], 3);
    assert_eq!(all["prefixes"][0]["prefix"], "big:");
    assert_eq!(all["prefixes"][0]["keys"], 3);
    assert_eq!(all["prefixes_in_all"], 4);
    assert_eq!(all["biggest"].as_array().unwrap().len(), 3);
    let sizes: Vec<u64> = [0, 1, 2]
        .map(|n| all["biggest"][n]["memory"].as_u64().unwrap())
        .into();
    assert!(
        sizes[0] >= sizes[1] && sizes[1] >= sizes[2] && sizes[2] > 3_000,
        "{sizes:?}"
    );
    assert_eq!(all["expiries"]["in_all"], 1);
    assert_eq!(all["expiries"]["later"], 1);
    let covers = all["base_covers"].as_u64().unwrap();
    assert_eq!(all["sequence"], covers + 5);
    assert_eq!(all["snapshot_sequence"], covers);
    let said = tool(&["info", dir]);
    said.has("loaded from log");
    said.has("persist-aof/persist.aof.3.incr.aof");
    said.has("db3 (0 expire)");
    said.has("base64:Ymlu/wA=");
    assert!(image(temp.path()) == before);
    // Deeper prefixes, and another separator.
    let all = tool(&["info", dir, "--json", "--separator", "e", "--depth", "2"]).json();
    assert_eq!(all["prefixes_in_all"], 2, "{all:#}");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    drop(fill(temp.path(), true));
    std::fs::remove_file(temp.path().join("persist-aof/persist.aof.2.incr.aof")).unwrap();
    let said = tool(&["info", temp.path().to_str().unwrap()]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    said.has("is listed in");
}
