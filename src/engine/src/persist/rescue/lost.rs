//! What is in parts of a log that are left out.

use std::collections::{BTreeMap, HashMap};

use crate::base::number;
use crate::command::{Spec, table};
use crate::format::group::{Group, GroupHeader, sound_groups};
use crate::format::resp::CommandReader;

/// Keys that are remembered, at most: of more, only the number of effects is
/// known.
const MOST_KEYS: usize = 1 << 20;

/// Effects that are left out.
#[derive(Debug, Default)]
pub struct Lost {
    /// Groups that verify.
    pub groups: u64,
    /// Effects in them.
    pub effects: u64,
    /// Sequence numbers of the first and last one.
    pub seqs: Option<(u64, u64)>,
    /// When the first and the last one were written, unix ms.
    pub times_ms: Option<(u64, u64)>,
    /// Bytes that are in no group that verifies.
    pub unreadable: u64,
    /// How often each command is among them.
    pub commands: BTreeMap<String, u64>,
    /// How often each key is changed: database and name.
    pub keys: BTreeMap<(u32, Vec<u8>), u64>,
    /// Whether there are more keys than could be remembered.
    pub more_keys: bool,
}

impl Lost {
    /// Adds a part of a file; groups up to sequence number `kept` are in what
    /// is kept.
    pub(super) fn add(&mut self, bytes: &[u8], kept: u64) {
        let writes = table::all().filter(|spec| spec.may_log());
        let specs: HashMap<&[u8], &Spec> = writes.map(|s| (s.name.as_bytes(), s)).collect();
        let unreadable = sound_groups(bytes, |group| {
            if group.header.next_seq().is_some_and(|next| next > kept + 1) {
                self.group(group, &specs);
            }
        });
        self.unreadable += unreadable;
    }

    /// Adds a damaged group, whose line says this: what can be read of it is
    /// only likely.
    pub(super) fn seems(&mut self, header: &GroupHeader, payload: &[u8]) {
        let writes = table::all().filter(|spec| spec.may_log());
        let specs: HashMap<&[u8], &Spec> = writes.map(|s| (s.name.as_bytes(), s)).collect();
        let group = Group {
            header: *header,
            crc: 0,
            offset: 0,
            payload,
        };
        self.group(&group, &specs);
    }

    fn group(&mut self, group: &Group<'_>, specs: &HashMap<&[u8], &Spec>) {
        let header = &group.header;
        self.groups += 1;
        self.effects += u64::from(header.effects);
        let last = header.next_seq().unwrap_or(u64::MAX) - 1;
        let (first, _) = *self.seqs.get_or_insert((header.first_seq, last));
        self.seqs = Some((first, last));
        let (first, _) = *self
            .times_ms
            .get_or_insert((header.time_ms, header.time_ms));
        self.times_ms = Some((first, header.time_ms));
        let mut reader = CommandReader::new(group.payload, 0);
        let (mut argv, mut db) = (Vec::new(), 0);
        while let Ok(Some(_)) = reader.next(&mut argv) {
            let name = argv.first().copied().unwrap_or_default();
            match name {
                b"SELECT" => {
                    let n = argv.get(1).and_then(|n| number::parse_i64(n));
                    db = n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
                    continue;
                }
                b"MULTI" | b"EXEC" => continue,
                _ => {}
            }
            let shown = name.escape_ascii().to_string();
            *self.commands.entry(shown).or_default() += 1;
            let Some(spec) = specs.get(name) else {
                continue;
            };
            for key in spec.keys_of(&argv) {
                let id = (db, key.to_vec());
                if self.keys.len() >= MOST_KEYS && !self.keys.contains_key(&id) {
                    self.more_keys = true;
                    continue;
                }
                *self.keys.entry(id).or_default() += 1;
            }
        }
    }
}
