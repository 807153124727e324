//! How many keys a power failure would change back: INFO's `at_risk_keys`.
//!
//! Nothing is counted while clients write. Whoever asks has the changes
//! counted that wait in memory for their fsync, the newest first.

use std::collections::{HashMap, HashSet};

use super::log::Log;
use crate::base::hash::{HashKey, Seed, hash};
use crate::base::number;
use crate::command::spec::{Flags, KeyAccess, Spec};
use crate::command::table;
use crate::format::resp::CommandReader;

/// So many changes are looked into, so that asking doesn't hold up the event
/// loop for more than about a millisecond.
const LOOKED_INTO: u64 = 10_000;

/// The different keys of the newest [`LOOKED_INTO`] changes that aren't
/// durable. Each change beyond counts as a key of its own, as does one of a
/// whole database.
pub fn keys(log: &Log, seed: Seed) -> u64 {
    let total = log.at_risk_effects();
    if total == 0 {
        return 0;
    }
    let mut seen = Seen {
        specs: table::all()
            .filter(|spec| spec.may_log())
            .map(|spec| (spec.name.as_bytes(), spec))
            .collect(),
        hash: seed.into(),
        keys: HashSet::with_capacity(total.min(LOOKED_INTO) as usize),
        without: 0,
        changes: 0,
    };
    for payload in log.payloads_at_risk() {
        if seen.changes >= LOOKED_INTO {
            break;
        }
        seen.look_into(payload);
    }
    let beyond = total.saturating_sub(seen.changes);
    seen.keys.len() as u64 + seen.without + beyond
}

/// What was found so far.
struct Seen {
    specs: HashMap<&'static [u8], &'static Spec>,
    hash: HashKey,
    /// By database and the key's hash: two keys of one hash are one in 10^12
    /// of such counts.
    keys: HashSet<(i64, u64)>,
    /// Changes that name no key.
    without: u64,
    changes: u64,
}

impl Seen {
    fn look_into(&mut self, payload: &[u8]) {
        let mut reader = CommandReader::new(payload, 0);
        let (mut argv, mut db) = (Vec::new(), 0);
        // It was made here, so it ends where it ends.
        while self.changes < LOOKED_INTO && matches!(reader.next(&mut argv), Ok(Some(_))) {
            let name = argv.first().copied().unwrap_or_default();
            match name {
                b"SELECT" => {
                    let n = argv.get(1).and_then(|n| number::parse_i64(n));
                    db = n.unwrap_or_default();
                    continue;
                }
                b"MULTI" | b"EXEC" => continue,
                _ => self.changes += 1,
            }
            let mut any = false;
            if let Some(spec) = self.specs.get(name) {
                // Those that keep what they found out change what they read.
                let caches = spec.flags.has(Flags::CACHES);
                let changes = |access| !matches!(access, KeyAccess::Read | KeyAccess::Look);
                for keys in spec.keys.iter().filter(|k| caches || changes(k.access)) {
                    for key in keys.keys(&argv) {
                        any = true;
                        self.keys.insert((db, hash(&self.hash, key)));
                    }
                }
            }
            self.without += u64::from(!any);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::LOOKED_INTO;
    use crate::settings::FsyncPolicy;
    use crate::testing::{Rig, disk, settings};

    fn open(policy: FsyncPolicy) -> Rig {
        Rig::open(Arc::new(disk()), settings(policy)).unwrap()
    }

    fn at_risk(rig: &mut Rig) -> String {
        rig.info("at_risk_keys")
    }

    #[test]
    fn keys_are_counted_wherever_their_changes_wait() {
        let mut rig = open(FsyncPolicy::Everysec);
        assert_eq!(at_risk(&mut rig), "0");
        // Written, and part of the fsync that hangs.
        rig.run("MSET a 1 b 1");
        rig.run("SADD s 1 2");
        rig.pass();
        assert_eq!(at_risk(&mut rig), "3");
        rig.exec.0.lock().unwrap().stalled = true;
        rig.tick(1_100);
        // Written behind it, which waits, and not even that.
        rig.run("INCR a");
        rig.run("SET c 1");
        rig.pass();
        assert_eq!(at_risk(&mut rig), "4");
        rig.argv(0, true, &[b"DEL", b"b"]);
        rig.argv(0, true, &[b"ZADD", b"z", b"1", b"m"]);
        assert_eq!(at_risk(&mut rig), "5");
        // The same name elsewhere is another key; who only reads isn't at risk.
        rig.argv(3, false, &[b"SET", b"a", b"1"]);
        rig.run("GET nothing");
        rig.run("SUNIONSTORE s2 s");
        assert_eq!(at_risk(&mut rig), "7");
        // A database as a whole is one.
        rig.run("FLUSHALL");
        assert_eq!(at_risk(&mut rig), "8");
        // What the fsync covered isn't at risk; a, c, b, z, 3:a, s2 and all are.
        rig.exec.0.lock().unwrap().stalled = false;
        rig.pass();
        assert_eq!(at_risk(&mut rig), "7");
        rig.settle();
        assert_eq!(at_risk(&mut rig), "0");
    }

    #[test]
    fn nothing_is_at_risk_under_always_once_the_pass_is_over() {
        let mut rig = open(FsyncPolicy::Always);
        rig.run("SET a 1");
        assert_eq!(at_risk(&mut rig), "1");
        assert!(rig.pass());
        assert_eq!(at_risk(&mut rig), "0");
    }

    #[test]
    fn changes_that_are_not_in_memory_count_as_a_key_each() {
        let mut rig = open(FsyncPolicy::No);
        for _ in 0..3 {
            rig.run("SET a 1");
        }
        assert_eq!(at_risk(&mut rig), "1");
        rig.pass();
        assert_eq!(at_risk(&mut rig), "3");
        rig.run("SET a 1");
        rig.run("SET a 1");
        assert_eq!(at_risk(&mut rig), "4");
    }

    #[test]
    fn of_very_many_changes_the_oldest_count_as_a_key_each() {
        let mut rig = open(FsyncPolicy::Everysec);
        for _ in 0..LOOKED_INTO {
            rig.run("SET a 1");
        }
        rig.pass();
        assert_eq!(at_risk(&mut rig), "1");
        rig.run("SET b 1");
        rig.run("SET b 2");
        rig.pass();
        assert_eq!(at_risk(&mut rig), "4");
    }
}
