//! HyperLogLogs: PFADD, PFCOUNT, PFMERGE.

use super::spec::{Flags, R, WM, WMF};
use super::{CommandError, Cx, Group, KeyAccess, KeySpec, Spec};
use crate::data::entry::Entry;
use crate::data::hll::{self, Corrupt, REGISTERS};
use crate::data::string;
use crate::data::value::Kind;
use crate::keyspace::keys::EventClass;

/// The commands on HyperLogLogs.
pub static SPECS: &[Spec] = &[
    Spec {
        name: "PFADD",
        arity: -2,
        flags: WMF,
        keys: &[KeySpec::one(1, KeyAccess::Insert)],
        group: Group::HyperLogLog,
        since: "2.8.9",
        complexity: "O(1) to add every element.",
        summary: "Adds elements to a HyperLogLog. Creates the key if it doesn't exist.",
        syntax: "key [element [element ...]]",
        examples: &[
            ("PFADD h a b c a", "1"),
            ("PFADD h c", "0"),
            ("PFADD none", "1"),
            ("STRLEN none", "18"),
            ("SET s x", "OK"),
            (
                "PFADD s a",
                "-WRONGTYPE Key is not a valid HyperLogLog string value.",
            ),
        ],
        run: pfadd,
    },
    Spec {
        name: "PFCOUNT",
        arity: -2,
        flags: R.or(Flags::CACHES),
        keys: &[KeySpec::rest(1, 1, KeyAccess::Read)],
        group: Group::HyperLogLog,
        since: "2.8.9",
        complexity: "O(1) with a small constant for one key, whose estimate is kept; O(N) with a large one for N keys.",
        summary: "Estimates how many different elements were added to a HyperLogLog, or to several together.",
        syntax: "key [key ...]",
        examples: &[
            ("PFADD h a b c a", "1"),
            ("PFCOUNT h", "3"),
            ("PFCOUNT h", "3"),
            ("PFADD g c d", "1"),
            ("PFCOUNT h g none", "4"),
            ("PFCOUNT none", "0"),
        ],
        run: pfcount,
    },
    Spec {
        name: "PFMERGE",
        arity: -2,
        flags: WM,
        keys: &[
            KeySpec::one(1, KeyAccess::Modify),
            KeySpec::rest(2, 1, KeyAccess::Read),
        ],
        group: Group::HyperLogLog,
        since: "2.8.9",
        complexity: "O(N) to merge N HyperLogLogs, but with a large constant.",
        summary: "Merges HyperLogLogs into one. What the destination holds stays in.",
        syntax: "destkey [sourcekey [sourcekey ...]]",
        examples: &[
            ("PFADD a x y", "1"),
            ("PFADD b y z", "1"),
            ("PFMERGE d a b none", "OK"),
            ("PFCOUNT d", "3"),
            ("PFMERGE e", "OK"),
            ("PFCOUNT e", "0"),
        ],
        run: pfmerge,
    },
];

impl From<Corrupt> for CommandError {
    fn from(_: Corrupt) -> Self {
        CommandError::text("INVALIDOBJ Corrupted HLL object detected")
    }
}

/// The HyperLogLog under `key`, if there is anything.
///
/// # Errors
/// Something else is there.
fn look<'a>(cx: &'a mut Cx<'_>, key: &[u8]) -> Result<Option<&'a [u8]>, CommandError> {
    let found = cx.ks.read(key, Kind::String)?.map(string::bytes);
    if found.is_some_and(|bytes| !hll::is_hll(bytes)) {
        return Err(CommandError::text(
            "WRONGTYPE Key is not a valid HyperLogLog string value.",
        ));
    }
    Ok(found)
}

/// Puts `value` under `key`, whose expiry stays.
fn put(cx: &mut Cx<'_>, key: &[u8], value: &[u8]) {
    let max_small = cx.ks.limits.string_max_small;
    match cx.ks.get_mut(key) {
        Some(entry) => string::replace(entry, value, max_small),
        None => cx.ks.put_string(key, value, None),
    }
}

/// Tells of a change. When it made a sparse value dense, which hangs on a
/// setting that may be another one when the log is replayed, the log gets the
/// value itself.
fn changed(cx: &mut Cx<'_>, argv: &[&[u8]], became_dense: Option<&[u8]>) {
    match became_dense {
        Some(value) => cx.ks.effect(b"SET", &[argv[1], value, b"KEEPTTL"]),
        None => cx.log_verbatim(argv),
    }
    cx.ks.changed(EventClass::String, "pfadd", argv[1]);
}

/// Longest sparse value, in bytes. What the log says was short enough once.
fn max_sparse(cx: &Cx<'_>) -> usize {
    if cx.ks.is_replay() {
        usize::MAX
    } else {
        cx.ks.limits.hll_sparse_max_bytes
    }
}

fn pfadd(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (key, elements) = (argv[1], &argv[2..]);
    let max_sparse = max_sparse(cx);
    let found = look(cx, key)?;
    let mut updated = found.is_none();
    if found.is_some_and(hll::is_dense) {
        // Twelve kilobytes that stay where they are.
        if let Some(bytes) = cx.ks.get_mut(key).and_then(string::bytes_mut) {
            for element in elements {
                let (register, to) = hll::place_of(element);
                updated |= hll::raise_dense(bytes, register, to);
            }
            if updated {
                hll::invalidate(bytes);
                changed(cx, argv, None);
            }
        }
    } else {
        let mut value = found.map_or_else(hll::empty, <[u8]>::to_vec);
        for element in elements {
            let (register, to) = hll::place_of(element);
            updated |= hll::raise(&mut value, register, to, max_sparse)?;
        }
        if updated {
            hll::invalidate(&mut value);
            put(cx, key, &value);
            changed(cx, argv, hll::is_dense(&value).then_some(&value));
        }
    }
    cx.reply.int(i64::from(updated));
    Ok(())
}

fn pfcount(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let count = match argv[1..] {
        [key] => count_one(cx, key)?,
        ref keys => {
            let mut registers = [0; REGISTERS];
            for key in keys {
                if let Some(bytes) = look(cx, key)? {
                    hll::merge(bytes, &mut registers)?;
                }
            }
            hll::count_merged(&registers)
        }
    };
    cx.reply.int(count as i64);
    Ok(())
}

/// The estimate for one key, kept in the value for the next time.
fn count_one(cx: &mut Cx<'_>, key: &[u8]) -> Result<u64, CommandError> {
    let Some(bytes) = look(cx, key)? else {
        return Ok(0);
    };
    if let Some(known) = hll::cached(bytes) {
        return Ok(known);
    }
    let count = hll::count(bytes)?;
    if cx.may_cache {
        if let Some(bytes) = cx.ks.get_mut(key).and_then(string::bytes_mut) {
            hll::keep(bytes, count);
        }
        cx.log_verbatim(&[b"PFCOUNT", key]);
        // Redis wakes WATCHers, too, but has no notification for it.
        cx.ks.changed(EventClass::Silent, "pfcount", key);
    }
    Ok(count)
}

fn pfmerge(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let key = argv[1];
    let mut registers = [0; REGISTERS];
    let mut dense = false;
    for key in &argv[1..] {
        if let Some(bytes) = look(cx, key)? {
            dense |= hll::is_dense(bytes);
            hll::merge(bytes, &mut registers)?;
        }
    }
    let found: Option<&Entry> = cx.ks.get(key);
    let mut value = found.map_or_else(hll::empty, |entry| string::bytes(entry).to_vec());
    if dense {
        hll::make_dense(&mut value)?;
    }
    let max_sparse = max_sparse(cx);
    hll::raise_all(&mut value, &registers, max_sparse)?;
    hll::invalidate(&mut value);
    put(cx, key, &value);
    let became_dense = !dense && hll::is_dense(&value);
    changed(cx, argv, became_dense.then_some(&value));
    cx.reply.simple("OK");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, check_replay};

    #[test]
    fn values_grow_dense_and_come_back() {
        let mut b = Bench::default();
        for n in 0..3000 {
            b.run(&format!("PFADD h {n}"));
            if n % 500 == 0 {
                b.run("PFCOUNT h");
            }
        }
        assert_eq!(b.run("STRLEN h"), "12304");
        b.run("PFADD g 1 2 3");
        b.run("EXPIRE g 100");
        assert_eq!(b.run("PFMERGE g h"), "OK");
        assert_eq!(b.run("TTL g"), "100");
        assert_eq!(b.run("PFCOUNT g"), b.run("PFCOUNT h"));
        assert_eq!(b.run("PFCOUNT g h"), b.run("PFCOUNT h"));
        check_replay(&b);
    }

    #[test]
    fn a_log_means_the_same_under_another_setting() {
        let mut b = Bench::default();
        b.limits.hll_sparse_max_bytes = 60;
        for n in 0..40 {
            b.run(&format!("PFADD h {n}"));
            b.run(&format!("PFADD g{} {n}", n % 5));
        }
        assert_eq!(b.run("PFMERGE m g0 g1 g2 g3 g4"), "OK");
        assert_eq!(b.run("STRLEN m"), "12304");
        let sets = b.trace.effects.iter().filter(|e| e.1[0] == b"SET").count();
        assert_eq!(sets, 2);
        // The copy has the default setting.
        check_replay(&b);
    }

    #[test]
    fn what_is_logged_and_told() {
        let mut b = Bench::default();
        for line in [
            "PFADD h a",
            "PFADD h a",
            "PFCOUNT h",
            "PFCOUNT h",
            "PFCOUNT h none",
            "PFMERGE d h",
        ] {
            b.run(line);
        }
        let logged: Vec<String> = b
            .trace
            .effects
            .iter()
            .map(|(_, words)| words.join(&b' ').escape_ascii().to_string())
            .collect();
        assert_eq!(logged, ["PFADD h a", "PFCOUNT h", "PFMERGE d h"]);
        assert_eq!(
            b.trace.events,
            ["String:pfadd:h", "Silent:pfcount:h", "String:pfadd:d"]
        );
    }
}
