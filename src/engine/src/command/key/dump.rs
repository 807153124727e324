//! Values on their way: DUMP, RESTORE.

use std::convert::Infallible;

use super::super::spec::{Flags, R, WM};
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::data::portable::{self, Refused};
use crate::data::rebuild;
use crate::keyspace::keys::EventClass;

/// The commands that take values out and put them in.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "DUMP",
        arity: 2,
        flags: R,
        keys: &[KeySpec::one(1, KeyAccess::Read)],
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(N) where N is the size of the value.",
        summary: "Returns the value of a key as bytes for PERSIST.RESTORE. The format is this module's, with a version and a checksum.",
        syntax: "key",
        examples: &[
            ("DUMP none", "nil"),
            ("SET k v", "OK"),
            (
                "DUMP k",
                "\"\\x00\\x00\\x01v\\x01\\x00\\xfclC\\xa7\\'\\x98N\\x06\"",
            ),
        ],
        run: dump,
    },
    Spec {
        name: "RESTORE",
        arity: -4,
        flags: WM.or(Flags::DANGEROUS),
        keys: &[KeySpec::one(1, KeyAccess::Overwrite)],
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(N) where N is the size of the value, O(N*log(N)) for sorted sets.",
        summary: "Makes a key of the bytes that PERSIST.DUMP gave. IDLETIME and FREQ are taken and mean nothing here.",
        syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        examples: &[
            (
                "RESTORE k 0 x",
                "-ERR DUMP payload version or checksum are wrong",
            ),
            ("RESTORE k -1 x", "-ERR Invalid TTL value, must be >= 0"),
            ("RESTORE k 0 x NOW", "-ERR syntax error"),
            (
                "RESTORE k 0 x FREQ 256",
                "-ERR Invalid FREQ value, must be >= 0 and <= 255",
            ),
            (
                "RESTORE k 0 x IDLETIME -1",
                "-ERR Invalid IDLETIME value, must be >= 0",
            ),
            ("SET k v", "OK"),
            ("RESTORE k 0 x", "-BUSYKEY Target key name already exists."),
        ],
        run: restore,
    },
];

fn dump(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    match cx.ks.get(argv[1]) {
        Some(entry) => cx.reply.bulk(&portable::encode(entry)),
        None => cx.reply.null(),
    }
    Ok(())
}

#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

impl Options {
    fn parse(words: &[&[u8]]) -> Result<Options, CommandError> {
        let mut options = Options::default();
        let (mut idle, mut freq) = (false, false);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if args::is(word, "REPLACE") {
                options.replace = true;
            } else if args::is(word, "ABSTTL") {
                options.absolute = true;
            } else if args::is(word, "IDLETIME")
                && !freq
                && let Some(n) = words.next()
            {
                idle = true;
                if args::int(n)? < 0 {
                    return Err(CommandError::text(
                        "ERR Invalid IDLETIME value, must be >= 0",
                    ));
                }
            } else if args::is(word, "FREQ")
                && !idle
                && let Some(n) = words.next()
            {
                freq = true;
                if !(0..=255).contains(&args::int(n)?) {
                    return Err(CommandError::text(
                        "ERR Invalid FREQ value, must be >= 0 and <= 255",
                    ));
                }
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

fn restore(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    let options = Options::parse(&argv[4..])?;
    let there = cx.ks.exists(key);
    if there && !options.replace {
        return Err(CommandError::text(
            "BUSYKEY Target key name already exists.",
        ));
    }
    let ttl = u64::try_from(args::int(argv[2])?)
        .map_err(|_| CommandError::text("ERR Invalid TTL value, must be >= 0"))?;
    let (limits, seed) = (cx.ks.limits, cx.ks.space.seed());
    let mut entry =
        portable::decode(argv[3], key, limits, seed).map_err(|refused| match refused {
            Refused::Checksum => {
                CommandError::text("ERR DUMP payload version or checksum are wrong")
            }
            Refused::Nonsense => CommandError::text("ERR Bad data format"),
        })?;
    let now = cx.ks.now();
    let expiry = match ttl {
        0 => None,
        at if options.absolute => Some(at),
        ms => Some(now.saturating_add(ms)),
    };
    if there {
        cx.ks.delete(key);
        cx.ks.effect(b"DEL", &[key]);
    }
    if expiry.is_some_and(|at| at <= now) {
        if there {
            cx.ks.changed(EventClass::Generic, "del", key);
        }
        cx.reply.simple("OK");
        return Ok(());
    }
    entry.set_expiry(expiry);
    // Nobody else could read the bytes themselves.
    let Ok(()) = rebuild::commands(&entry, &mut |words| {
        cx.ks.effect(words[0], &words[1..]);
        Ok::<(), Infallible>(())
    });
    cx.ks.put(entry);
    cx.ks.changed(EventClass::Generic, "restore", key);
    cx.reply.simple("OK");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::reply::Node;
    use super::super::super::testing::{Bench, check_replay};
    use crate::data::text;

    fn dumped(b: &mut Bench, key: &str) -> Vec<u8> {
        match b.argv(&[b"DUMP", key.as_bytes()]) {
            Node::Bulk(bytes) => bytes,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn values_of_all_kinds_are_restored() {
        let mut b = Bench::default();
        for n in [3, 700] {
            for (name, pairs) in [
                ("SADD", false),
                ("RPUSH", false),
                ("HSET", true),
                ("ZADD", true),
                ("XADD", true),
            ] {
                let key = format!("{name}{n}");
                let mut words = vec![name.to_string(), key.clone()];
                for i in 0..n {
                    words.extend(pairs.then(|| format!("{i}")));
                    words.push(format!("member {i}"));
                }
                if name == "XADD" {
                    words.insert(2, format!("{n}-1"));
                }
                let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
                b.argv(&words);
                let bytes = dumped(&mut b, &key);
                let copy = format!("copy of {key}");
                let reply = b.argv(&[b"RESTORE", copy.as_bytes(), b"5000", &bytes]);
                assert_eq!(reply, Node::Simple("OK"));
                let show = |key: &str| {
                    let entry = b.space.peek(0, key.as_bytes()).unwrap();
                    text::describe(entry.payload(), entry.kind())
                };
                assert!(show(&copy) == show(&key), "{key}");
                assert_eq!(b.argv(&[b"PTTL", copy.as_bytes()]), Node::Int(5000));
            }
        }
        check_replay(&b);
    }

    #[test]
    fn what_is_logged_and_told() {
        let mut b = Bench::default();
        b.run("RPUSH l a b");
        let bytes = dumped(&mut b, "l");
        b.run("SET k v");
        b.trace.effects.clear();
        b.trace.events.clear();
        for words in [
            &[&b"REPLACE"[..]][..],
            &[b"ABSTTL", b"REPLACE"],
            &[b"ABSTTL"],
        ] {
            let ttl: &[u8] = if words.len() > 1 { b"2000000" } else { b"1" };
            let ttl = if words[0] == b"ABSTTL" && words.len() == 1 {
                b"5"
            } else {
                ttl
            };
            let argv = [&[&b"RESTORE"[..], b"k", ttl, &bytes], words].concat();
            b.argv(&argv);
        }
        b.argv(&[b"RESTORE", b"k", b"5", &bytes, b"ABSTTL", b"REPLACE"]);
        let logged: Vec<String> = b
            .trace
            .effects
            .iter()
            .map(|(_, words)| words.join(&b' ').escape_ascii().to_string())
            .collect();
        assert_eq!(
            logged,
            [
                "DEL k",
                "RPUSH k a b",
                "PEXPIREAT k 1000001",
                "DEL k",
                "RPUSH k a b",
                "PEXPIREAT k 2000000",
                "DEL k"
            ]
        );
        assert_eq!(
            b.trace.events,
            ["Generic:restore:k", "Generic:restore:k", "Generic:del:k"]
        );
    }
}
