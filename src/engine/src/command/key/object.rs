//! What is known of a key beside its value: OBJECT, MEMORY.

use super::super::spec::R;
use super::super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec, args};
use crate::data::{encoding, memory};

/// The commands that look into keys.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "OBJECT",
        arity: -2,
        flags: R,
        keys: &[KeySpec::one(2, KeyAccess::Look)],
        group: Group::Generic,
        since: "2.2.3",
        complexity: "O(1); ENCODING of a set: O(N) up to persist.set-max-intset-entries members.",
        summary: "Tells how a value is encoded, in the words of Redis 7.0. ENCODING is what Redis would find after loading the value from disk; REFCOUNT is 1, as nothing is shared; neither idle times nor frequencies are kept, as nothing is evicted.",
        syntax: "<ENCODING key | REFCOUNT key | IDLETIME key | FREQ key | HELP>",
        examples: &[
            ("OBJECT ENCODING none", "nil"),
            ("SET k 12", "OK"),
            ("OBJECT ENCODING k", "\"int\""),
            ("APPEND k x", "3"),
            ("OBJECT ENCODING k", "\"embstr\""),
            ("SADD s 1 2", "2"),
            ("OBJECT ENCODING s", "\"intset\""),
            ("HSET h f v", "1"),
            ("OBJECT ENCODING h", "\"listpack\""),
            ("OBJECT REFCOUNT k", "1"),
            (
                "OBJECT FREQ k",
                "-ERR Durable keys are never evicted, access frequency not tracked.",
            ),
            (
                "OBJECT IDLETIME k",
                "-ERR Durable keys are never evicted, idle time not tracked.",
            ),
            ("OBJECT IDLETIME none", "nil"),
            (
                "OBJECT ENCODING",
                "-ERR wrong number of arguments for 'persist.object|encoding' command",
            ),
            (
                "OBJECT SIZE k",
                "-ERR unknown subcommand 'SIZE'. Try PERSIST.OBJECT HELP.",
            ),
        ],
        run: object,
    },
    Spec {
        name: "MEMORY",
        arity: -2,
        flags: R,
        keys: &[KeySpec::one(2, KeyAccess::Look)],
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(N) where N is the number of samples.",
        summary: "Tells how many bytes a key and its value take. Elements of a large collection are sampled, 5 if not said; 0 is all.",
        syntax: "<USAGE key [SAMPLES count] | HELP>",
        examples: &[
            ("MEMORY USAGE none", "nil"),
            ("SET k v", "OK"),
            ("MEMORY USAGE k", "21"),
            ("MEMORY USAGE k SAMPLES 0", "21"),
            ("MEMORY USAGE k SAMPLES -1", "-ERR syntax error"),
            ("MEMORY USAGE k NOW", "-ERR syntax error"),
            (
                "MEMORY DOCTOR",
                "-ERR unknown subcommand 'DOCTOR'. Try PERSIST.MEMORY HELP.",
            ),
        ],
        run: memory,
    },
];

const OBJECT_HELP: &[&str] = &[
    "PERSIST.OBJECT <subcommand> [<key>]. Subcommands are:",
    "ENCODING <key>",
    "    The encoding that Redis would use for the value.",
    "FREQ <key>",
    "    An error: durable keys aren't evicted, so nobody counts accesses.",
    "IDLETIME <key>",
    "    An error: durable keys aren't evicted, so nobody notes accesses.",
    "REFCOUNT <key>",
    "    How often the value is referred to: once.",
    "HELP",
    "    This text.",
];

const MEMORY_HELP: &[&str] = &[
    "PERSIST.MEMORY <subcommand> [<arg> ...]. Subcommands are:",
    "USAGE <key> [SAMPLES <count>]",
    "    Bytes that the key and its value take. Of a large collection so many",
    "    elements are looked at (5 if not said, 0 for all).",
    "HELP",
    "    This text.",
];

fn help(cx: &mut Cx<'_>, lines: &'static [&'static str]) {
    cx.reply.array(lines.len());
    lines.iter().for_each(|line| cx.reply.simple(line));
}

/// The error for a subcommand that isn't known.
fn unknown(cx: &Cx<'_>, word: &[u8]) -> CommandError {
    let word = String::from_utf8_lossy(&word[..word.len().min(128)]);
    let text = format!(
        "ERR unknown subcommand '{word}'. Try PERSIST.{} HELP.",
        cx.spec.name
    );
    CommandError::Text(text.into())
}

fn object(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    const NOT_COUNTED: CommandError =
        CommandError::text("ERR Durable keys are never evicted, access frequency not tracked.");
    let (name, subcommand) = [
        ("OBJECT|ENCODING", "ENCODING"),
        ("OBJECT|REFCOUNT", "REFCOUNT"),
        ("OBJECT|IDLETIME", "IDLETIME"),
        ("OBJECT|FREQ", "FREQ"),
        ("OBJECT|HELP", "HELP"),
    ]
    .into_iter()
    .find(|(_, word)| args::is(argv[1], word))
    .ok_or_else(|| unknown(cx, argv[1]))?;
    if argv.len() != if subcommand == "HELP" { 2 } else { 3 } {
        return Err(CommandError::Arity(name));
    }
    if subcommand == "HELP" {
        help(cx, OBJECT_HELP);
        return Ok(());
    }
    let limits = cx.ks.limits;
    let Some(entry) = cx.ks.get(argv[2]) else {
        cx.reply.null();
        return Ok(());
    };
    match subcommand {
        "ENCODING" => cx.reply.bulk(encoding::of(entry, limits).as_bytes()),
        "REFCOUNT" => cx.reply.int(1),
        "FREQ" => return Err(NOT_COUNTED),
        _ => {
            return Err(CommandError::text(
                "ERR Durable keys are never evicted, idle time not tracked.",
            ));
        }
    }
    Ok(())
}

fn memory(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    match argv[1..] {
        [word] if args::is(word, "HELP") => {
            help(cx, MEMORY_HELP);
            Ok(())
        }
        [word, key, ref options @ ..] if args::is(word, "USAGE") => usage(cx, key, options),
        [word, ..] if args::is(word, "USAGE") => Err(CommandError::Arity("MEMORY|USAGE")),
        [word, ..] if args::is(word, "HELP") => Err(CommandError::Arity("MEMORY|HELP")),
        _ => Err(unknown(cx, argv[1])),
    }
}

fn usage(cx: &mut Cx<'_>, key: &[u8], options: &[&[u8]]) -> Result<(), CommandError> {
    let mut samples = 5;
    for option in options.chunks(2) {
        samples = match *option {
            [word, n] if args::is(word, "SAMPLES") => match args::int(n)? {
                0 => usize::MAX,
                n => usize::try_from(n).map_err(|_| CommandError::Syntax)?,
            },
            _ => return Err(CommandError::Syntax),
        };
    }
    match cx.ks.get(key).map(|entry| memory::usage(entry, samples)) {
        Some(bytes) => cx.reply.int(bytes as i64),
        None => cx.reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::Bench;

    #[test]
    fn encodings_follow_the_settings() {
        let mut b = Bench::default();
        b.limits.hash_max_listpack_entries = 2;
        b.limits.hash_max_listpack_value = 3;
        b.limits.zset_max_listpack_entries = 2;
        b.limits.zset_max_listpack_value = 3;
        b.limits.set_max_intset_entries = 2;
        for (line, key, want) in [
            ("HSET h a abc b 1", "h", "listpack"),
            ("HSET h a xyz b 2", "h", "listpack"),
            ("HSET h c 1", "h", "hashtable"),
            // Once large, always large.
            ("HDEL h b c", "h", "hashtable"),
            ("HSET long a abcd", "long", "hashtable"),
            ("ZADD z 1 a 2 b", "z", "listpack"),
            ("ZADD z 3 c", "z", "skiplist"),
            ("ZADD zl 1 abcd", "zl", "skiplist"),
            ("SADD s 1 -2", "s", "intset"),
            ("SADD s 3", "s", "hashtable"),
            ("SREM s 3", "s", "intset"),
            ("SADD s 03", "s", "hashtable"),
            ("RPUSH l a", "l", "quicklist"),
            ("SET n -9223372036854775808", "n", "int"),
            ("SET n 9223372036854775808", "n", "embstr"),
            ("SETRANGE n 43 x", "n", "embstr"),
            ("SETRANGE n 44 x", "n", "raw"),
        ] {
            b.run(line);
            let got = b.run(&format!("OBJECT encoding {key}"));
            assert_eq!(got, format!("\"{want}\""), "{line}");
        }
    }

    #[test]
    fn memory_grows_with_the_value() {
        let mut b = Bench::default();
        let mut last = 0;
        for (name, per) in [("HSET", 2), ("SADD", 1), ("ZADD", 2), ("RPUSH", 1)] {
            for n in [10, 100, 1000, 10_000] {
                let mut words = vec![name.to_string(), format!("{name}{n}")];
                for i in 0..n {
                    words.extend((0..per).map(|_| format!("{i}")));
                }
                let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
                b.argv(&words);
                let used = |b: &mut Bench, samples: &str| -> usize {
                    let line = format!("MEMORY USAGE {name}{n} SAMPLES {samples}");
                    b.run(&line).parse().unwrap()
                };
                let (few, all) = (used(&mut b, "5"), used(&mut b, "0"));
                assert!(n == 10 || all > last, "{name} {n}: {all}");
                assert!(few.abs_diff(all) * 5 < all, "{name} {n}: {few}, {all}");
                last = all;
            }
        }
    }
}
