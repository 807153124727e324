//! Lists against a naive model, and small ones against large ones.

use std::collections::{BTreeMap, VecDeque};

use crate::base::random::{Random, SeededRandom};
use crate::command::reply::Node;
use crate::command::testing::{Bench, check_replay};
use crate::data::entry::Payload;

type Model = BTreeMap<Vec<u8>, VecDeque<Vec<u8>>>;
type Words = Vec<Vec<u8>>;

fn bulk(bytes: Vec<u8>) -> Node {
    Node::Bulk(bytes)
}

fn error(text: &str) -> Node {
    Node::Error(format!("ERR {text}"))
}

/// Random commands on a few keys; mostly well-formed.
struct Script {
    rng: SeededRandom,
}

impl Script {
    fn below(&mut self, n: u64) -> u64 {
        self.rng.below(n)
    }

    fn key(&mut self) -> Vec<u8> {
        vec![b'k', b'0' + self.below(3) as u8]
    }

    fn element(&mut self) -> Vec<u8> {
        match self.below(12) {
            0 => Vec::new(),
            1 => vec![b'x'; self.below(200) as usize],
            2 => vec![0xff, 0, b'\r', b'\n'],
            3 => vec![b'y'; 126 + self.below(4) as usize],
            _ => self.below(6).to_string().into_bytes(),
        }
    }

    fn end(&mut self) -> Vec<u8> {
        [&b"LEFT"[..], b"RIGHT", b"left", b"Right"][self.below(4) as usize].to_vec()
    }

    fn int(&mut self) -> i64 {
        match self.below(30) {
            0 => i64::MAX,
            1 => i64::MIN + 1,
            _ => self.below(25) as i64 - 12,
        }
    }

    fn next(&mut self) -> Words {
        let mut words: Words = Vec::new();
        let name = [
            "LPUSH",
            "RPUSH",
            "LPUSHX",
            "RPUSHX",
            "LPUSH",
            "RPUSH",
            "LPOP",
            "RPOP",
            "LLEN",
            "LRANGE",
            "LINDEX",
            "LSET",
            "LINSERT",
            "LREM",
            "LTRIM",
            "LMOVE",
            "RPOPLPUSH",
            "LPOS",
            "LMPOP",
        ][self.below(19) as usize];
        words.push(name.into());
        if name == "LMPOP" {
            let n = 1 + self.below(2);
            words.push(n.to_string().into());
            (0..n).for_each(|_| words.push(self.key()));
            words.push(self.end());
            if self.below(2) == 0 {
                words.push(b"count".to_vec());
                words.push((1 + self.below(6)).to_string().into());
            }
            return words;
        }
        words.push(self.key());
        match name {
            "LPOP" | "RPOP" => {
                if self.below(3) == 0 {
                    words.push(self.below(8).to_string().into());
                }
            }
            "LLEN" => {}
            "LRANGE" | "LTRIM" => {
                // Trims that take everything would keep lists short.
                let wide = name == "LTRIM" && self.below(4) > 0;
                let (a, b) = if wide {
                    (self.below(3) as i64, -1 - self.below(3) as i64)
                } else {
                    (self.int(), self.int())
                };
                words.push(a.to_string().into());
                words.push(b.to_string().into());
            }
            "LINDEX" => words.push(self.int().to_string().into()),
            "LSET" | "LREM" => {
                words.push(self.int().to_string().into());
                words.push(self.element());
            }
            "LINSERT" => {
                words.push([&b"before"[..], b"AFTER"][self.below(2) as usize].to_vec());
                words.push(self.element());
                words.push(self.element());
            }
            "LMOVE" => {
                words.push(self.key());
                words.push(self.end());
                words.push(self.end());
            }
            "RPOPLPUSH" => words.push(self.key()),
            "LPOS" => {
                words.push(self.element());
                for option in ["RANK", "COUNT", "MAXLEN"] {
                    if self.below(2) == 0 {
                        words.push(option.into());
                        let n = match option {
                            "RANK" => self.below(7) as i64 - 3,
                            "COUNT" => self.below(4) as i64,
                            _ => self.below(20) as i64,
                        };
                        words.push(n.to_string().into());
                    }
                }
            }
            _ => {
                let n = if self.below(4) == 0 {
                    1 + self.below(6)
                } else {
                    1
                };
                (0..n).for_each(|_| words.push(self.element()));
            }
        }
        words
    }
}

fn number(word: &[u8]) -> i64 {
    std::str::from_utf8(word).unwrap().parse().unwrap()
}

fn take(list: &mut VecDeque<Vec<u8>>, left: bool) -> Vec<u8> {
    if left {
        list.pop_front().unwrap()
    } else {
        list.pop_back().unwrap()
    }
}

fn put(list: &mut VecDeque<Vec<u8>>, left: bool, element: Vec<u8>) {
    if left {
        list.push_front(element);
    } else {
        list.push_back(element);
    }
}

/// The inclusive bounds of LRANGE as a range, the naive way.
fn bounds(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let fix = |i: i64| {
        if i < 0 {
            i128::from(i) + len as i128
        } else {
            i128::from(i)
        }
    };
    let inside: Vec<usize> = (0..len)
        .filter(|i| fix(start) <= *i as i128 && *i as i128 <= fix(stop))
        .collect();
    inside.first().map_or(0..0, |a| *a..a + inside.len())
}

/// The same on plain deques.
fn naive(model: &mut Model, words: &[Vec<u8>]) -> Node {
    let name = std::str::from_utf8(&words[0]).unwrap();
    let key = words[1].clone();
    let left = |word: &[u8]| word.eq_ignore_ascii_case(b"LEFT");
    let reply = match name {
        "LPUSH" | "RPUSH" | "LPUSHX" | "RPUSHX" => {
            if name.ends_with('X') && !model.contains_key(&key) {
                return Node::Int(0);
            }
            let list = model.entry(key).or_default();
            for element in &words[2..] {
                put(list, name.starts_with('L'), element.clone());
            }
            Node::Int(list.len() as i64)
        }
        "LPOP" | "RPOP" => match (model.get_mut(&key), words.get(2)) {
            (None, _) => Node::Null,
            (Some(list), None) => bulk(take(list, name == "LPOP")),
            (Some(list), Some(n)) => Node::Array(
                (0..list.len().min(number(n) as usize))
                    .map(|_| bulk(take(list, name == "LPOP")))
                    .collect(),
            ),
        },
        "LMPOP" => {
            let n = number(&words[1]) as usize;
            let end = left(&words[2 + n]);
            let count = words.get(4 + n).map_or(1, |c| number(c) as usize);
            let key = words[2..2 + n].iter().find(|k| model.contains_key(*k));
            match key {
                None => Node::Null,
                Some(key) => {
                    let list = model.get_mut(key).unwrap();
                    let taken = (0..count.min(list.len()))
                        .map(|_| bulk(take(list, end)))
                        .collect();
                    Node::Array(vec![bulk(key.clone()), Node::Array(taken)])
                }
            }
        }
        "LLEN" => Node::Int(model.get(&key).map_or(0, VecDeque::len) as i64),
        "LRANGE" => {
            let empty = VecDeque::new();
            let list = model.get(&key).unwrap_or(&empty);
            let range = bounds(number(&words[2]), number(&words[3]), list.len());
            Node::Array(list.range(range).cloned().map(bulk).collect())
        }
        "LTRIM" => {
            if let Some(list) = model.get_mut(&key) {
                let range = bounds(number(&words[2]), number(&words[3]), list.len());
                *list = list.range(range).cloned().collect();
            }
            Node::Simple("OK")
        }
        "LINDEX" => match model.get(&key) {
            None => Node::Null,
            Some(list) => {
                let at = bounds(number(&words[2]), number(&words[2]), list.len());
                list.get(at.start)
                    .filter(|_| !at.is_empty())
                    .cloned()
                    .map_or(Node::Null, bulk)
            }
        },
        "LSET" => match model.get_mut(&key) {
            None => error("no such key"),
            Some(list) => {
                let at = bounds(number(&words[2]), number(&words[2]), list.len());
                if at.is_empty() {
                    error("index out of range")
                } else {
                    list[at.start] = words[3].clone();
                    Node::Simple("OK")
                }
            }
        },
        "LINSERT" => match model.get_mut(&key) {
            None => Node::Int(0),
            Some(list) => match list.iter().position(|e| *e == words[3]) {
                None => Node::Int(-1),
                Some(at) => {
                    let after = words[2].eq_ignore_ascii_case(b"AFTER");
                    list.insert(at + usize::from(after), words[4].clone());
                    Node::Int(list.len() as i64)
                }
            },
        },
        "LREM" => {
            let Some(list) = model.get_mut(&key) else {
                return Node::Int(0);
            };
            let count = number(&words[2]);
            let mut hits: Vec<usize> = (0..list.len()).filter(|i| list[*i] == words[3]).collect();
            if count < 0 {
                hits.reverse();
            }
            if count != 0 {
                hits.truncate(count.unsigned_abs() as usize);
            }
            hits.sort_unstable();
            for at in hits.iter().rev() {
                list.remove(*at);
            }
            Node::Int(hits.len() as i64)
        }
        "LMOVE" | "RPOPLPUSH" => {
            let (from, to) = if name == "LMOVE" {
                (left(&words[3]), left(&words[4]))
            } else {
                (false, true)
            };
            match model.get_mut(&key) {
                None => Node::Null,
                Some(list) => {
                    let element = take(list, from);
                    put(
                        model.entry(words[2].clone()).or_default(),
                        to,
                        element.clone(),
                    );
                    bulk(element)
                }
            }
        }
        "LPOS" => {
            let option = |name: &str| {
                let at = words.iter().skip(3).position(|w| w == name.as_bytes())?;
                Some(number(&words[at + 4]))
            };
            let (rank, count) = (option("RANK").unwrap_or(1), option("COUNT"));
            if rank == 0 {
                return error(
                    "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
                );
            }
            let empty = VecDeque::new();
            let list = model.get(&key).unwrap_or(&empty);
            let mut order: Vec<usize> = (0..list.len()).collect();
            if rank < 0 {
                order.reverse();
            }
            match option("MAXLEN") {
                None | Some(0) => {}
                Some(n) => order.truncate(n as usize),
            }
            let mut hits: Vec<Node> = order
                .into_iter()
                .filter(|i| list[*i] == words[2])
                .skip(rank.unsigned_abs() as usize - 1)
                .map(|i| Node::Int(i as i64))
                .collect();
            match count {
                None => hits.into_iter().next().unwrap_or(Node::Null),
                Some(n) => {
                    if n > 0 {
                        hits.truncate(n as usize);
                    }
                    Node::Array(hits)
                }
            }
        }
        other => panic!("{other}"),
    };
    model.retain(|_, list| !list.is_empty());
    reply
}

fn is_small(bench: &Bench, key: &[u8]) -> Option<bool> {
    let table = bench.space.db(0)?;
    let entry = table.get(table.hash(key), key)?;
    Some(matches!(entry.payload(), Payload::Small(_)))
}

fn argv(words: &[Vec<u8>]) -> Vec<&[u8]> {
    words.iter().map(Vec::as_slice).collect()
}

#[test]
fn random_commands_do_what_a_deque_does() {
    for seed in 0..24u64 {
        let mut script = Script {
            rng: SeededRandom::new(seed),
        };
        let mut bench = Bench::default();
        // From "never packed" over "soon too large" to "always packed".
        bench.limits.list_max_listpack_bytes = [0, 40, 300, 1 << 20][seed as usize % 4];
        let mut model = Model::new();
        for step in 0..3000 {
            let words = script.next();
            let want = naive(&mut model, &words);
            let got = bench.argv(&argv(&words));
            assert_eq!(got, want, "seed {seed}, step {step}: {words:?}");
        }
        for (key, list) in &model {
            let all = bench.argv(&[b"LRANGE", key, b"0", b"-1"]);
            let want = list.iter().cloned().map(bulk).collect();
            assert_eq!(all, Node::Array(want), "seed {seed}");
        }
        let keys = bench.space.db(0).map_or(0, |t| t.len());
        assert_eq!(keys, model.len(), "seed {seed}");
        check_replay(&bench);
    }
}

#[test]
fn small_and_large_lists_tell_the_same() {
    for seed in 0..8 {
        let mut script = Script {
            rng: SeededRandom::new(100 + seed),
        };
        let (mut small, mut large) = (Bench::default(), Bench::default());
        small.limits.list_max_listpack_bytes = 1 << 20;
        large.limits.list_max_listpack_bytes = 0;
        for _ in 0..1000 {
            let words = script.next();
            assert_eq!(
                small.argv(&argv(&words)),
                large.argv(&argv(&words)),
                "seed {seed}: {words:?}"
            );
            for key in [&b"k0"[..], b"k1", b"k2"] {
                assert_ne!(is_small(&small, key), Some(false));
                assert_ne!(is_small(&large, key), Some(true));
            }
        }
        assert_eq!(small.trace.effects, large.trace.effects, "seed {seed}");
        assert_eq!(small.trace.events, large.trace.events, "seed {seed}");
    }
}

#[test]
fn a_list_becomes_large_past_the_limit() {
    let mut bench = Bench::default();
    bench.limits.list_max_listpack_bytes = 12;
    // Two bytes of count, and two for each element.
    bench.run("RPUSH l a b c d e");
    assert_eq!(is_small(&bench, b"l"), Some(true));
    bench.run("RPUSH l f");
    assert_eq!(is_small(&bench, b"l"), Some(false));
    bench.run("RPUSH m a b c d e");
    bench.run("LSET m 2 longer");
    assert_eq!(is_small(&bench, b"m"), Some(false));
    assert_eq!(bench.run("LRANGE m 0 -1"), r#"["a" "b" "longer" "d" "e"]"#);
    bench.run("RPUSH n a b c d e");
    bench.run("LINSERT n AFTER c x");
    assert_eq!(is_small(&bench, b"n"), Some(false));
    assert_eq!(bench.run("LRANGE n 0 -1"), r#"["a" "b" "c" "x" "d" "e"]"#);
    check_replay(&bench);
}

#[test]
fn a_packed_list_never_counts_past_15_bits() {
    let mut bench = Bench::default();
    bench.limits.list_max_listpack_bytes = usize::MAX;
    let mut words: Vec<&[u8]> = vec![b"RPUSH", b"l"];
    words.resize(2 + 32_767, b"");
    bench.argv(&words);
    assert_eq!(is_small(&bench, b"l"), Some(true));
    assert_eq!(bench.run("LPUSH l a"), "32768");
    assert_eq!(is_small(&bench, b"l"), Some(false));
    assert_eq!(bench.run("LINDEX l 0"), "\"a\"");
    assert_eq!(bench.run("LLEN l"), "32768");
}

#[test]
fn changes_are_told_as_redis_tells_them() {
    let mut bench = Bench::default();
    for line in [
        "RPUSH a 1 2 3",
        "LPUSHX none 1",
        "LMOVE a b LEFT RIGHT",
        "LMOVE a a LEFT LEFT",
        "LMOVE a a LEFT RIGHT",
        "LPOP a 2",
        "LPOP b 0",
        "LTRIM b 0 -1",
        "LTRIM b 5 6",
        "LREM b 0 x",
        "RPUSH c 1 2 3",
        "LMPOP 2 b c RIGHT COUNT 2",
        "RPOP c",
    ] {
        bench.run(line);
    }
    let effects: Vec<String> = bench
        .trace
        .effects
        .iter()
        .map(|(_, words)| String::from_utf8(words.join(&b' ')).unwrap())
        .collect();
    assert_eq!(
        effects,
        [
            "RPUSH a 1 2 3",
            "LMOVE a b LEFT RIGHT",
            "LMOVE a a LEFT RIGHT",
            "LPOP a 2",
            "LTRIM b 5 6",
            "RPUSH c 1 2 3",
            "RPOP c 2",
            "RPOP c",
        ]
    );
    assert_eq!(
        bench.trace.events,
        [
            "List:rpush:a",
            "List:rpush:b",
            "List:lpop:a",
            "List:lpush:a",
            "List:lpop:a",
            "List:rpush:a",
            "List:lpop:a",
            "List:lpop:a",
            "Generic:del:a",
            "List:ltrim:b",
            "List:ltrim:b",
            "Generic:del:b",
            "List:rpush:c",
            "List:rpop:c",
            "List:rpop:c",
            "Generic:del:c",
        ]
    );
    check_replay(&bench);
}

#[test]
fn an_element_may_be_of_any_length() {
    for len in [0, 1, 127, 128, 255, 256, 257, 2045, 2046, 20_000] {
        let mut bench = Bench::default();
        let long = vec![b'z'; len];
        bench.argv(&[b"RPUSH", b"a", &long, b"x"]);
        let node = bench.argv(&[b"LMOVE", b"a", b"b", b"LEFT", b"LEFT"]);
        assert_eq!(node, bulk(long.clone()));
        bench.run("LPUSH b head");
        let node = bench.argv(&[b"RPOPLPUSH", b"b", b"b"]);
        assert_eq!(node, bulk(long.clone()));
        assert_eq!(bench.argv(&[b"LINDEX", b"b", b"0"]), bulk(long));
        check_replay(&bench);
    }
}
