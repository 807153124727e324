//! What SORT leaves behind, and orders that examples don't show.

use super::super::testing::{Bench, check_replay};

#[test]
fn what_is_logged_and_told() {
    let mut b = Bench::default();
    for line in [
        "RPUSH l 3 1 2",
        "SET d x",
        "SORT l BY w_* GET # GET w_* STORE d",
        "SORT none STORE d",
        "SORT none STORE d",
        "SORT l",
    ] {
        b.run(line);
    }
    let logged: Vec<String> = b
        .trace
        .effects
        .iter()
        .map(|(_, words)| words.join(&b' ').escape_ascii().to_string())
        .collect();
    assert_eq!(
        logged,
        [
            "RPUSH l 3 1 2",
            "SET d x",
            "DEL d",
            "RPUSH d 1  2  3 ",
            "DEL d"
        ]
    );
    assert_eq!(
        b.trace.events,
        [
            "List:rpush:l",
            "String:set:d",
            "List:sortstore:d",
            "Generic:del:d"
        ]
    );
    check_replay(&b);
}

#[test]
fn many_elements_are_logged_in_parts() {
    let mut b = Bench::default();
    let words: Vec<String> = (0..1000).map(|n| (n * 7919 % 1000).to_string()).collect();
    let mut argv = vec![&b"SADD"[..], b"s"];
    argv.extend(words.iter().map(String::as_bytes));
    b.argv(&argv);
    assert_eq!(b.run("SORT s STORE s"), "1000");
    assert_eq!(b.run("LRANGE s 0 2"), r#"["0" "1" "2"]"#);
    assert_eq!(b.run("LRANGE s -2 -1"), r#"["998" "999"]"#);
    check_replay(&b);
}

#[test]
fn orders() {
    let mut b = Bench::default();
    for (line, want) in [
        ("RPUSH l b a b c", "4"),
        ("ZADD z 1 c 2 a 3 b", "3"),
        ("SADD s b a c", "3"),
        ("SORT l BY nosort DESC LIMIT 1 2", r#"["b" "a"]"#),
        ("SORT z BY nosort DESC LIMIT 1 9", r#"["a" "c"]"#),
        ("SORT z BY nosort LIMIT 0 1", r#"["c"]"#),
        ("SORT z BY nosort LIMIT 3 1", "[]"),
        ("SORT z ALPHA DESC", r#"["c" "b" "a"]"#),
        ("SORT z ALPHA LIMIT -3 2", r#"["a" "b"]"#),
        ("SORT s BY nosort DESC STORE d", "3"),
        ("LRANGE d 0 -1", r#"["c" "b" "a"]"#),
        // Without a weight: 0, and before all texts.
        ("MSET w_a 1 w_b -1", "OK"),
        ("SORT z BY w_*", r#"["b" "c" "a"]"#),
        ("SORT z BY w_* ALPHA", r#"["c" "b" "a"]"#),
        ("HSET h:a f 2 ->x 3", "2"),
        ("HSET h:b f 1", "1"),
        ("SORT z BY h:*->f DESC", r#"["a" "b" "c"]"#),
        (
            "SORT z BY nosort GET h:*->->x GET h:*->",
            "[nil nil \"3\" nil nil nil]",
        ),
        ("SORT z BY nosort GET fixed LIMIT 0 1", "[nil]"),
        ("RPUSH n 10 9 1e1 \"\" -inf", "5"),
        ("SORT n", r#"["-inf" "" "9" "10" "1e1"]"#),
        ("RPUSH n nan", "6"),
        ("SORT n BY nosort GET store STORE d", "-ERR syntax error"),
        (
            "SORT n",
            "-ERR One or more scores can't be converted into double",
        ),
        (
            "SORT h:a",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
    ] {
        assert_eq!(b.run(line), want, "{line}");
    }
    check_replay(&b);
}
