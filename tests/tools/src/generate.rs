//! The seeded data set: 60 % JSON-like strings, 15 % hashes, 10 % lists, 10 % sorted sets, 5 % sets.
//!
//! Key `i` depends on nothing but the seed and `i`, so whoever knows both can tell what a server must hold.
//! The output is stable for ever: a test pins its checksum.

use std::io::Write as _;

use crate::raw::{encode_bulk, encode_header};

/// A small generator of random numbers (SplitMix64) whose output never changes.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Starts the sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `limit`, which is at least 1. Its tiny bias does no harm here.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(limit)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// One of these.
    pub fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len() as u64) as usize]
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Made by SET.
    String,
    /// Made by HSET.
    Hash,
    /// Made by RPUSH.
    List,
    /// Made by ZADD.
    SortedSet,
    /// Made by SADD.
    Set,
}

/// The one command that makes one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The type of the key.
    pub kind: Kind,
    /// The key.
    pub key: Vec<u8>,
    /// What follows the key: a value; fields and values; elements; scores and members; members.
    pub args: Vec<Vec<u8>>,
}

impl Command {
    /// The command's name, without a prefix.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::String => "SET",
            Kind::Hash => "HSET",
            Kind::List => "RPUSH",
            Kind::SortedSet => "ZADD",
            Kind::Set => "SADD",
        }
    }

    /// Appends the command as RESP, `prefix` before its name.
    pub fn write_resp(&self, prefix: &str, out: &mut Vec<u8>) {
        let name = self.name();
        encode_header(out, b'*', 2 + self.args.len());
        encode_header(out, b'$', prefix.len() + name.len());
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\r\n");
        encode_bulk(out, &self.key);
        for arg in &self.args {
            encode_bulk(out, arg);
        }
    }

    /// The command that reads the whole value back, `prefix` before its name.
    pub fn reader(&self, prefix: &str) -> Vec<Vec<u8>> {
        let (name, rest): (&str, &[&str]) = match self.kind {
            Kind::String => ("GET", &[]),
            Kind::Hash => ("HGETALL", &[]),
            Kind::List => ("LRANGE", &["0", "-1"]),
            Kind::SortedSet => ("ZRANGE", &["0", "-1", "WITHSCORES"]),
            Kind::Set => ("SMEMBERS", &[]),
        };
        let mut argv = vec![format!("{prefix}{name}").into_bytes(), self.key.clone()];
        argv.extend(rest.iter().map(|word| word.as_bytes().to_vec()));
        argv
    }
}

const FIRST: &[&str] = &[
    "anna", "bela", "carlos", "dora", "emil", "fatima", "georg", "hana", "ivan", "jana", "kofi",
    "lena", "marek", "nadia", "otto", "petra", "quinn", "rosa", "sven", "tariq",
];
const CITY: &[&str] = &[
    "berlin", "lisbon", "nairobi", "osaka", "prague", "quito", "riga", "seoul", "tunis", "vienna",
];
const STATE: &[&str] = &["new", "open", "paid", "packed", "shipped", "returned"];
const LANG: &[&str] = &["cs", "de", "en", "fr", "ja", "pt"];
const FIELD: &[&str] = &[
    "name",
    "city",
    "state",
    "visits",
    "total",
    "last_seen",
    "agent",
    "lang",
    "cart",
    "token",
    "ref",
    "score",
    "tier",
    "zone",
    "note",
];

/// The command that makes key `index` of the data set `seed`.
pub fn command(seed: u64, index: u64) -> Command {
    let mut rng = Rng::new(mix(seed.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ mix(index)));
    match rng.below(100) {
        0..60 => string(&mut rng, index),
        60..75 => hash(&mut rng, index),
        75..85 => list(&mut rng, index),
        85..95 => sorted_set(&mut rng, index),
        _ => set(&mut rng, index),
    }
}

/// The commands of a whole data set, in order.
pub fn commands(seed: u64, keys: u64) -> impl Iterator<Item = Command> {
    (0..keys).map(move |index| command(seed, index))
}

fn string(rng: &mut Rng, index: u64) -> Command {
    let mut value = Vec::with_capacity(200);
    // Writing to a vector cannot fail.
    let _ = write!(
        value,
        r#"{{"id":{index},"user":"{}-{}","city":"{}","state":"{}","lang":"{}","v":{},"items":[{},{},{}],"total":{}.{:02},"token":"{:016x}{:016x}","at":{}}}"#,
        rng.pick(FIRST),
        rng.below(100_000),
        rng.pick(CITY),
        rng.pick(STATE),
        rng.pick(LANG),
        rng.below(10),
        rng.below(10_000),
        rng.below(10_000),
        rng.below(10_000),
        rng.below(1_000),
        rng.below(100),
        rng.bits(),
        rng.bits(),
        1_700_000_000 + rng.below(90_000_000),
    );
    Command {
        kind: Kind::String,
        key: format!("session:{index}").into_bytes(),
        args: vec![value],
    }
}

fn hash(rng: &mut Rng, index: u64) -> Command {
    let fields = rng.between(5, 15) as usize;
    let mut args = Vec::with_capacity(2 * fields);
    for name in &FIELD[..fields] {
        args.push(name.as_bytes().to_vec());
        args.push(match rng.below(3) {
            0 => rng.below(1_000_000).to_string().into_bytes(),
            1 => format!(
                "{}-{}-{}",
                rng.pick(FIRST),
                rng.pick(CITY),
                rng.below(1_000)
            )
            .into_bytes(),
            _ => format!("{:x}", rng.bits()).into_bytes(),
        });
    }
    Command {
        kind: Kind::Hash,
        key: format!("user:{index}").into_bytes(),
        args,
    }
}

fn list(rng: &mut Rng, index: u64) -> Command {
    let args = (0..rng.between(5, 20))
        .map(|_| match rng.below(4) {
            0 => rng.below(1_000_000).to_string().into_bytes(),
            _ => format!("job:{}:{:016x}", rng.pick(STATE), rng.bits()).into_bytes(),
        })
        .collect();
    Command {
        kind: Kind::List,
        key: format!("queue:{index}").into_bytes(),
        args,
    }
}

fn sorted_set(rng: &mut Rng, index: u64) -> Command {
    let mut args = Vec::new();
    let mut member = rng.below(1_000_000);
    for _ in 0..rng.between(5, 20) {
        args.push(if rng.below(2) == 0 {
            rng.below(100_000).to_string().into_bytes()
        } else {
            format!("{}.{}", rng.below(10_000), rng.between(1, 9)).into_bytes()
        });
        member += rng.between(1, 1_000);
        args.push(format!("{}:{member}", rng.pick(FIRST)).into_bytes());
    }
    Command {
        kind: Kind::SortedSet,
        key: format!("board:{index}").into_bytes(),
        args,
    }
}

fn set(rng: &mut Rng, index: u64) -> Command {
    let numbers = rng.below(4) == 0;
    let mut member = rng.below(1_000_000_000);
    let args = (0..rng.between(5, 20))
        .map(|_| {
            member += rng.between(1, 1_000);
            if numbers {
                member.to_string().into_bytes()
            } else {
                format!("tag:{}:{member:x}", rng.pick(CITY)).into_bytes()
            }
        })
        .collect();
    Command {
        kind: Kind::Set,
        key: format!("tags:{index}").into_bytes(),
        args,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// FNV-1a, so that the checksum depends on no library.
    fn checksum(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    #[test]
    fn the_first_thousand_keys_never_change() {
        let mut out = Vec::new();
        commands(1, 1_000).for_each(|command| command.write_resp("PERSIST.", &mut out));
        assert_eq!(
            (out.len(), checksum(&out)),
            (280_940, 3_287_709_096_107_337_079)
        );
    }

    #[test]
    fn kinds_and_sizes_are_as_promised() {
        let mut counts = [0u32; 5];
        let mut bytes = Vec::new();
        let mut strings = 0;
        let keys = 20_000;
        for command in commands(7, keys) {
            counts[command.kind as usize] += 1;
            if command.kind == Kind::String {
                strings += command.args[0].len();
            }
            command.write_resp("", &mut bytes);
        }
        for (count, percent) in counts.iter().zip([60, 15, 10, 10, 5]) {
            let expected = keys as u32 * percent / 100;
            assert!(count.abs_diff(expected) < keys as u32 / 100, "{counts:?}");
        }
        let string = strings / counts[0] as usize;
        assert!((170..=190).contains(&string), "a string has {string} bytes");
        let average = bytes.len() as u64 / keys;
        assert!((275..=290).contains(&average), "a key has {average} bytes");
    }

    #[test]
    fn fields_and_members_are_unique() {
        for command in commands(3, 5_000) {
            let names: Vec<_> = match command.kind {
                Kind::Hash => command.args.iter().step_by(2).collect(),
                Kind::SortedSet => command.args.iter().skip(1).step_by(2).collect(),
                Kind::Set => command.args.iter().collect(),
                Kind::String | Kind::List => continue,
            };
            let unique: HashSet<_> = names.iter().collect();
            assert_eq!(unique.len(), names.len(), "{command:?}");
        }
    }
}
