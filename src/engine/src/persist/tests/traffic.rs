//! The commands of a random life.

use crate::base::random::{Random, SeededRandom};
use crate::command::table;
use crate::command::{Flags, Spec};

/// Draws commands that write, from every family: the examples of the specs,
/// which know all options, and small ones on few keys, which meet each other.
pub struct Commands {
    examples: Vec<Vec<Vec<u8>>>,
}

impl Default for Commands {
    fn default() -> Self {
        let writes = table::all().filter(|spec: &&Spec| spec.flags.has(Flags::WRITE));
        let lines = writes.flat_map(|spec| spec.examples.iter().map(|(line, _)| *line));
        let examples = lines.map(words).filter(|w| !names_time(w)).collect();
        Commands { examples }
    }
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split_whitespace()
        .map(|w| if w == "\"\"" { vec![] } else { w.into() })
        .collect()
}

/// Examples that flush everything come too often otherwise.
fn names_time(words: &[Vec<u8>]) -> bool {
    words[0].starts_with(b"FLUSH")
}

impl Commands {
    /// A database and a command.
    pub fn draw(&self, rng: &mut SeededRandom, now: u64) -> (u32, Vec<Vec<u8>>) {
        let db = [0, 0, 0, 1, 3][rng.below(5) as usize];
        if rng.below(2) == 0 {
            let i = rng.below(self.examples.len() as u64) as usize;
            return (db, self.examples[i].clone());
        }
        if rng.below(4) == 0 {
            return (db, words(&stream_line(rng, now)));
        }
        let (k, m, n) = (rng.below(4), rng.below(90), rng.below(1000));
        let soon = now + 50 + rng.below(4_000);
        let line = match rng.below(24) {
            0 => format!("SET k{k} {n}"),
            1 => format!("SET k{k} {n} PX {}", 20 + 2 * n),
            2 => format!("APPEND k{k} {}", "x".repeat(n as usize)),
            3 => format!("INCR n{k}"),
            4 => format!("RPUSH l{k} {n} b{m} c"),
            5 => format!("LPOP l{k} 2"),
            6 => format!("HSET h{k} f{m} {n} g{m} {n}"),
            7 => format!("HDEL h{k} f{m}"),
            8 => format!("ZADD z{k} {n} m{m} -{n}.25 o{m}"),
            9 => format!("ZPOPMIN z{k}"),
            10 => format!("SADD s{k} m{m} o{m}"),
            11 => format!("SPOP s{k}"),
            12 => format!("DEL k{k} l{k}"),
            13 => format!("PEXPIREAT h{k} {soon}"),
            14 => format!("PEXPIREAT z{k} {soon}"),
            15 => format!("PERSIST h{k}"),
            16 => format!("RENAME k{k} k{}", rng.below(4)),
            17 => format!("COPY h{k} h{} REPLACE", rng.below(4)),
            18 => format!("SWAPDB {k} {}", rng.below(4)),
            19 => format!("SET big{k} {}", "y".repeat(8 * n as usize)),
            20 => format!("SUNIONSTORE s{k} s0 s1 s2"),
            21 if n < 100 => "FLUSHDB".into(),
            22 => format!("INCR k{k}"),
            _ => format!("GETDEL k{k}"),
        };
        (db, words(&line))
    }
}

/// A command on one of two streams, with ids that are mostly there.
fn stream_line(rng: &mut SeededRandom, now: u64) -> String {
    let (k, g, c, n) = (rng.below(2), rng.below(2), rng.below(3), rng.below(100));
    let id = now.saturating_sub(rng.below(400));
    match rng.below(18) {
        0..=5 => format!("XADD x{k} * f {n} g{} {n}", n / 90),
        6 => format!("XADD x{k} MAXLEN ~ {n} * f {}", "z".repeat(20 * n as usize)),
        7 => format!("XTRIM x{k} MINID {id}"),
        8 => format!("XDEL x{k} {id} {}", id + 1),
        9 => format!("XGROUP CREATE x{k} g{g} {id} MKSTREAM"),
        10 => format!("XREADGROUP GROUP g{g} c{c} COUNT {} STREAMS x{k} >", n / 9),
        11 => format!("XREADGROUP GROUP g{g} c{c} STREAMS x{k} x{} > 0", 1 - k),
        12 => format!("XREADGROUP GROUP g{g} c{c} NOACK COUNT 3 STREAMS x{k} >"),
        13 => format!("XACK x{k} g{g} {id}"),
        14 => format!("XAUTOCLAIM x{k} g{g} c{c} {n} - COUNT 5"),
        15 => format!("XCLAIM x{k} g{g} c{c} 0 {id} FORCE TIME {id}"),
        16 => format!("XGROUP DELCONSUMER x{k} g{g} c{c}"),
        _ => match n {
            0..=9 => format!("XGROUP DESTROY x{k} g{g}"),
            10..=19 => format!("COPY x{k} x{} REPLACE", 1 - k),
            20..=24 => format!("DEL x{k}"),
            25..=60 => format!("XSETID x{k} {} MAXDELETEDID {id}", now + 100),
            _ => format!("XTRIM x{k} MAXLEN {n}"),
        },
    }
}
