//! Groups of the log, done again. The clock is never asked.

use std::collections::HashMap;

use crate::base::number;
use crate::base::random::SeededRandom;
use crate::command::reply::NoReply;
use crate::command::{self, Cx, Spec, table};
use crate::data::value::Limits;
use crate::format::FormatError;
use crate::format::group::Group;
use crate::format::resp::CommandReader;
use crate::keyspace::keys::{EventClass, Garbage, Keys, Outcome};
use crate::keyspace::{Keyspace, MAX_DATABASES};

/// Takes what nobody wants to know in replay.
struct Nobody;

impl Outcome for Nobody {
    fn effect(&mut self, _: u32, _: &[u8], _: &[&[u8]]) {}
    fn event(&mut self, _: u32, _: EventClass, _: &'static str, _: &[u8]) {}
    fn ready(&mut self, _: u32, _: &[u8]) {}
    fn discard(&mut self, _: Garbage) {}
}

/// Replays groups into a keyspace.
pub struct Replay<'a> {
    space: Option<&'a mut Keyspace>,
    limits: &'a Limits,
    specs: HashMap<&'static [u8], &'static Spec>,
    /// Effects done.
    pub effects: u64,
    /// Effects that can't be done are left out and counted, instead of being
    /// an error.
    tolerant: bool,
    /// How many were.
    pub left_out: u64,
}

impl<'a> Replay<'a> {
    /// Into `space`; into none, only whether commands are known is checked.
    pub fn new(space: Option<&'a mut Keyspace>, limits: &'a Limits) -> Self {
        let writes = table::all().filter(|spec| spec.may_log());
        let specs = writes.map(|spec| (spec.name.as_bytes(), spec)).collect();
        Replay {
            space,
            limits,
            specs,
            effects: 0,
            tolerant: false,
            left_out: 0,
        }
    }

    /// Goes on without the effects that can't be done: groups before them may
    /// be missing.
    pub fn tolerant(self) -> Self {
        Replay {
            tolerant: true,
            ..self
        }
    }

    /// Does what a verified group says.
    ///
    /// # Errors
    /// A command that this version doesn't know (`intact`) or that can't be
    /// done on this state, and its offset in the file: the group belongs
    /// elsewhere.
    pub fn group(&mut self, group: &Group<'_>) -> Result<(), FormatError> {
        self.group_behind(group, 0)
    }

    /// As [`group`](Self::group), without its first `skip` effects: they have
    /// been done.
    ///
    /// # Errors
    /// As for `group`.
    pub fn group_behind(&mut self, group: &Group<'_>, skip: u64) -> Result<(), FormatError> {
        let mut reader = CommandReader::new(group.payload, group.payload_offset());
        let mut argv = Vec::new();
        let mut db = 0;
        let mut effects = 0u64;
        let mut out = Nobody;
        // Effects are deterministic: none of them draws.
        let mut rng = SeededRandom::new(0);
        while let Some(offset) = reader.next(&mut argv)? {
            let name = argv.first().copied().unwrap_or_default();
            if name == b"SELECT" {
                let n = argv
                    .get(1)
                    .and_then(|n| number::parse_i64(n))
                    .and_then(|n| u32::try_from(n).ok());
                db = match n {
                    Some(n) if n < MAX_DATABASES => n,
                    _ => {
                        return Err(FormatError::new(
                            offset,
                            "SELECT with a database number",
                            describe(&argv),
                        ));
                    }
                };
                continue;
            }
            if name == b"MULTI" || name == b"EXEC" {
                continue;
            }
            let Some(spec) = self.specs.get(name).filter(|s| s.accepts(argv.len())) else {
                let expected = "a write command that this version knows";
                return Err(FormatError::new(offset, expected, describe(&argv)).intact());
            };
            effects += 1;
            if effects <= skip {
                continue;
            }
            let Some(space) = self.space.as_deref_mut() else {
                continue;
            };
            let ks = Keys {
                space,
                db,
                out: &mut out,
                rng: &mut rng,
                limits: self.limits,
                clock: None,
                now: None,
                written_ms: group.header.time_ms,
                in_parts: false,
            };
            let mut cx = Cx {
                ks,
                reply: &mut NoReply,
                spec,
                may_cache: true,
                refuses_block: false,
                waiter: None,
            };
            if let Err(e) = command::execute(&mut cx, &argv) {
                if self.tolerant {
                    self.left_out += 1;
                    continue;
                }
                return Err(FormatError::new(
                    offset,
                    "a command that can be done again",
                    format!("{e}: {}", describe(&argv)),
                ));
            }
        }
        if effects != u64::from(group.header.effects) {
            let expected = format!("{} effects in the group", group.header.effects);
            return Err(FormatError::new(
                group.offset,
                expected,
                effects.to_string(),
            ));
        }
        self.effects += effects - skip.min(effects);
        Ok(())
    }
}

/// The command's name and how many arguments: never keys or values, which
/// don't belong into logs.
fn describe(argv: &[&[u8]]) -> String {
    let name = argv.first().copied().unwrap_or_default();
    format!(
        "{} with {} arguments",
        name[..name.len().min(32)].escape_ascii(),
        argv.len().saturating_sub(1)
    )
}
