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
        if rng.below(2) == 0 {
            return (db.min(1), words(&stream_line(rng, now)));
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

/// A command on one of two streams, with ids that are mostly there: all that
/// are added within a tenth of a second differ in their numbers only.
fn stream_line(rng: &mut SeededRandom, now: u64) -> String {
    let (k, g, c, n) = (rng.below(2), rng.below(2), rng.below(3), rng.below(100));
    let ms = now / 100;
    let id = format!("{}-{}", ms - rng.below(3), rng.below(8));
    let (next, few) = (rng.below(8), 1 + n / 20);
    match rng.below(20) {
        0..=4 => format!("XADD x{k} {ms}-* f {n} g{} {n}", n / 90),
        5 => format!("XADD x{k} * f {n}"),
        6 => format!(
            "XADD x{k} MAXLEN ~ {n} {ms}-* f {}",
            "z".repeat(20 * n as usize)
        ),
        7 => format!("XTRIM x{k} MINID {id}"),
        8 | 9 => format!("XDEL x{k} {id} {ms}-{next}"),
        10 => format!("XGROUP CREATE x{k} g{g} 0 MKSTREAM"),
        11 | 12 => format!("XREADGROUP GROUP g{g} c{c} COUNT {few} STREAMS x{k} >"),
        13 => format!("XREADGROUP GROUP g{g} c{c} STREAMS x{k} x{} > 0", 1 - k),
        14 => format!("XREADGROUP GROUP g{g} c{c} NOACK COUNT {few} STREAMS x{k} >"),
        15 => format!("XACK x{k} g{g} {id} {ms}-{next}"),
        16 => format!("XAUTOCLAIM x{k} g{g} c{c} {n} - COUNT {few}"),
        17 => format!("XCLAIM x{k} g{g} c{c} 0 {id} {ms}-{next} FORCE TIME {now}"),
        18 => format!("XGROUP SETID x{k} g{g} {id}"),
        _ => match n {
            0..=9 => format!("XGROUP DESTROY x{k} g{g}"),
            10..=19 => format!("XGROUP DELCONSUMER x{k} g{g} c{c}"),
            20..=29 => format!("COPY x{k} x{} REPLACE", 1 - k),
            30..=34 => format!("DEL x{k}"),
            35..=69 => format!("XSETID x{k} {ms}-{} MAXDELETEDID {id}", 8 + n),
            _ => format!("XTRIM x{k} MAXLEN {few}"),
        },
    }
}
