//! Ways a life can end, and the judge of what is found after its end.

use std::path::Path;
use std::sync::Arc;

use super::content::{Content, alive, content, is_alive_part};
use super::driver::{Moment, State};
use crate::base::random::{Random, SeededRandom};
use crate::format::manifest::Manifest;
use crate::io::mem::{Crash, MemDisk};
use crate::io::{ReadDisk, read_file};
use crate::testing::Rig;

/// Ways a life can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The process is killed.
    Kill,
    /// The power fails.
    Power(Crash),
}

impl End {
    /// A random one.
    pub fn draw(rng: &mut SeededRandom) -> End {
        let seed = rng.next_u64();
        let granularity = [1, 64, 512, 4096][rng.below(4) as usize];
        match rng.below(5) {
            0 => End::Kill,
            1 => End::Power(Crash::DropUnsynced),
            2 => End::Power(Crash::Scrambled { seed, granularity }),
            _ => End::Power(Crash::Torn { seed, granularity }),
        }
    }

    /// What it leaves.
    pub fn apply(self, disk: &MemDisk) -> MemDisk {
        match self {
            End::Kill => disk.kill(),
            End::Power(how) => disk.crash(how),
        }
    }
}

/// The files and their lengths, and the manifest, for messages.
fn describe_disk(disk: &MemDisk) -> String {
    let mut text = String::new();
    for dir in ["/data", "/data/persist-aof", "/data/quarantine"] {
        for name in disk.list(Path::new(dir)).unwrap_or_default() {
            let path = Path::new(dir).join(name);
            let len = ReadDisk::len(disk, &path).unwrap_or(0);
            text += &format!("\n  {} {len}", path.display());
            if path.extension().is_some_and(|e| e == "manifest") {
                let bytes = read_file(disk, &path).unwrap_or_default();
                text += &format!("\n{}", String::from_utf8_lossy(&bytes));
            }
        }
    }
    text
}

/// Opens what is left of a life, and says which of its states it is.
pub fn judge(
    states: &[State],
    moment: &Moment,
    end: End,
    left: &MemDisk,
    owed: usize,
) -> (Rig, usize) {
    let before = describe_disk(left);
    let said = || {
        format!(
            "{end:?} in step {}, {:?}: {before}\n",
            moment.step, moment.settings.appendfsync
        )
    };
    let rig = Rig::open_at(
        Arc::new(left.clone()),
        moment.settings.clone(),
        moment.now,
        99,
    )
    .unwrap_or_else(|e| panic!("{}: {e}", said()));
    check_folder(left);
    let found = content(&rig);
    let known = &states[..moment.states];
    let index = known
        .iter()
        .rposition(|s| is_alive_part(&found, &s.content, moment.now))
        .unwrap_or_else(|| {
            // What sets it apart from the state that comes nearest.
            let unlike = |state: &Content| {
                let state = alive(state, moment.now);
                let extra = found.iter().filter(|(k, v)| state.get(*k) != Some(*v));
                let lost = state.iter().filter(|(k, _)| !found.contains_key(*k));
                extra
                    .map(|(k, v)| format!("found {k:?} {v:?}, was {:?}", state.get(k)))
                    .chain(lost.map(|(k, v)| format!("lost {k:?} {v:?}")))
                    .collect::<Vec<_>>()
            };
            let nearest = known
                .iter()
                .map(|s| unlike(&s.content))
                .min_by_key(Vec::len);
            let lines = &rig.host.lines;
            let seqs: Vec<u64> = known.iter().map(|s| s.seq).collect();
            panic!(
                "{}: at {} a state that never was: seq {} of {seqs:?}: {nearest:#?} {lines:#?}",
                said(),
                moment.now,
                rig.engine.seq(),
            )
        });
    assert!(
        index >= owed,
        "{}: state {index} (seq {}) where {owed} (seq {}) of {} was promised: {:#?}",
        said(),
        known[index].seq,
        known[owed].seq,
        known.len() - 1,
        rig.host.lines
    );
    (rig, index)
}

/// After a start: no temporary file, and nothing in the log's folder but
/// what the manifest names.
pub fn check_folder(disk: &MemDisk) {
    let (dir, log) = (Path::new("/data"), Path::new("/data/persist-aof"));
    let mut names = disk.list(dir).unwrap();
    let in_log = disk.list(log).unwrap_or_default();
    names.extend(in_log.iter().cloned());
    assert!(!names.iter().any(|n| n.contains("temp-")), "{names:?}");
    if in_log.is_empty() {
        return;
    }
    let bytes = read_file(disk, &log.join("persist.aof.manifest")).unwrap();
    let manifest = Manifest::parse(&bytes).unwrap();
    let mut listed: Vec<&str> = manifest.needed().collect();
    listed.push("persist.aof.manifest");
    let extra: Vec<_> = in_log
        .iter()
        .filter(|n| !listed.contains(&n.as_str()))
        .collect();
    assert!(extra.is_empty(), "{extra:?} beside {listed:?}");
}
