//! A large key on its way: copied a piece at a time, under a hidden name of
//! the other side, and renamed when it is whole.
//!
//! The hidden key ends by itself a while after nobody goes on with it, so a
//! crash leaves nothing for ever. A change of the source meanwhile makes it
//! all begin again.

use std::time::{Duration, Instant};

use super::pieces::{self, Found, Kind, Look, Reader};
use super::place::{Place, Words, hidden_name, in_cluster, is_hidden, serve, with_engine};
use super::{TRIES, Way, watch};
use crate::ffi::Ctx;
use crate::route;
use crate::state::{self, REPLICA};

/// How long a hidden key stays when nobody goes on with it.
const HIDDEN_MS: &[u8] = b"600000";
/// When it is told again to stay so long.
const RENEW: Duration = Duration::from_secs(60);

/// What comes of a large key.
pub enum End {
    Moved,
    /// It ended, or was evicted or deleted.
    Nothing,
    /// The other side has one of that name.
    Skipped,
    /// The other side hasn't what it takes.
    Foreign,
    /// Both sides were changed.
    Changed,
    /// It changes again and again: let it be copied in one step.
    InOneStep,
}

/// What comes next.
pub enum Turn {
    /// More at once.
    On,
    /// More in the next pass of the event loop.
    Pass,
    /// Nothing before the disk has done its part.
    Wait,
    /// It is over.
    Over(End),
}

enum Stage {
    /// Nobody looks out for changes yet.
    Unwatched,
    /// Commands that were put off before somebody did have run.
    Watched,
    Copying {
        reader: Box<Reader>,
        look: Look,
        renewed: Option<Instant>,
        /// Whether all is as it was left, in this step.
        checked: bool,
    },
    /// Under its own name, and the log has reached this with it.
    Published {
        seq: u64,
        kind: Kind,
        length: i64,
        may_shrink: bool,
    },
}

/// The key.
pub struct Large {
    way: Way,
    db: u32,
    key: Vec<u8>,
    hidden: Vec<u8>,
    tries: u32,
    stage: Stage,
    /// Elements copied, or bytes of a string.
    pub done: u64,
    /// And how many there are.
    pub total: u64,
}

impl Large {
    /// Begins with `key`; `None` if it can only be copied in one step.
    pub fn new(ctx: Ctx<'_>, way: Way, db: u32, key: &[u8]) -> Option<Self> {
        let in_cluster = way != Way::Adopt && in_cluster(ctx);
        Some(Large {
            way,
            db,
            key: key.into(),
            hidden: hidden_name(key, in_cluster)?,
            tries: 1,
            stage: Stage::Unwatched,
            done: 0,
            total: 0,
        })
    }

    /// Its database and name.
    pub fn into_key(self) -> (u32, Vec<u8>) {
        (self.db, self.key)
    }

    /// Whether the copy bears the key's own name.
    pub fn is_published(&self) -> bool {
        matches!(self.stage, Stage::Published { .. })
    }

    fn source<'a>(&self, ctx: Ctx<'a>) -> Place<'a> {
        match self.way {
            Way::Adopt => Place::host(ctx, self.db),
            Way::Release { .. } => Place::durable(self.db),
        }
    }

    fn target<'a>(&self, ctx: Ctx<'a>) -> Place<'a> {
        match self.way {
            Way::Adopt => Place::durable(self.db),
            Way::Release { .. } => Place::host(ctx, self.db),
        }
    }

    /// A new step begins: much may have happened since the last.
    pub fn resume(&mut self) {
        if let Stage::Copying { checked, .. } = &mut self.stage {
            *checked = false;
        }
    }

    /// One small piece of work.
    pub fn go_on(&mut self, ctx: Ctx<'_>) -> Result<Turn, String> {
        if self.way == Way::Adopt && with_engine(|engine, _| engine.durable_seq())?.is_none() {
            return Err(super::LOG_OFF.into());
        }
        match &mut self.stage {
            Stage::Unwatched => {
                match self.way {
                    Way::Adopt => watch::begin(ctx, &self.key)?,
                    Way::Release { .. } => self.look_out()?,
                }
                self.stage = Stage::Watched;
                Ok(Turn::Pass)
            }
            Stage::Watched => self.begin(ctx),
            Stage::Copying { checked: false, .. } => self.check(ctx),
            Stage::Copying { .. } => self.copy(ctx),
            Stage::Published { seq, .. } => {
                let seq = *seq;
                self.confirm(ctx, seq)
            }
        }
    }

    fn look_out(&self) -> Result<(), String> {
        with_engine(|engine, _| engine.look_out(Some(&self.key)))?;
        Ok(())
    }

    /// Whether the source may have been changed.
    fn is_touched(&self) -> Result<bool, String> {
        Ok(match self.way {
            Way::Adopt => watch::is_touched(),
            Way::Release { .. } => with_engine(|engine, _| engine.is_touched())?,
        })
    }

    fn begin(&mut self, ctx: Ctx<'_>) -> Result<Turn, String> {
        let look = match pieces::look(self.source(ctx), &self.key)? {
            Found::Nothing => return Ok(Turn::Over(End::Nothing)),
            Found::Foreign => return Ok(Turn::Over(End::Foreign)),
            Found::Value(look) => look,
        };
        if self.target(ctx).has(&self.key)? {
            return Ok(Turn::Over(End::Skipped));
        }
        (self.done, self.total) = (0, look.length.max(0) as u64);
        self.stage = Stage::Copying {
            reader: Box::new(Reader::new(&look, &self.key, &self.hidden)),
            look,
            renewed: None,
            checked: true,
        };
        Ok(Turn::On)
    }

    /// Whether the source is what it was and the copy is where it was left.
    fn check(&mut self, ctx: Ctx<'_>) -> Result<Turn, String> {
        let (source, target) = (self.source(ctx), self.target(ctx));
        if !source.has(&self.key)? {
            return Ok(Turn::Over(End::Nothing));
        }
        let touched = self.is_touched()?;
        let Stage::Copying {
            renewed, checked, ..
        } = &mut self.stage
        else {
            return Ok(Turn::On);
        };
        // It may have been evicted, or gone with a whole database.
        if touched || (renewed.is_some() && !target.has(&self.hidden)?) {
            return self.again(ctx);
        }
        *checked = true;
        Ok(Turn::On)
    }

    fn copy(&mut self, ctx: Ctx<'_>) -> Result<Turn, String> {
        let (source, target) = (self.source(ctx), self.target(ctx));
        let Stage::Copying {
            reader, renewed, ..
        } = &mut self.stage
        else {
            return Ok(Turn::On);
        };
        let begun = Instant::now();
        let mut piece = reader.next(source)?;
        let is_due = renewed.is_none_or(|at| at.elapsed() >= RENEW);
        if is_due && !piece.commands.is_empty() {
            // With the first piece at once: it must end by itself, whatever
            // happens next.
            let renew: [&[u8]; 3] = [b"PEXPIRE", &self.hidden, HIDDEN_MS];
            piece.commands.push(pieces::words(&renew));
            *renewed = Some(begun);
        }
        if let Err(why) = target.write(&piece.commands) {
            // TTLs of fields are unknown to older hosts.
            if why.contains("unknown command") {
                return Ok(Turn::Over(End::Foreign));
            }
            return Err(why);
        }
        reader.took(begun.elapsed());
        self.done += piece.elements;
        self.total = self.total.max(self.done + reader.more());
        if piece.is_last {
            return self.publish(ctx);
        }
        Ok(Turn::On)
    }

    /// Gives the copy the key's name, if it is whole and nothing has changed.
    fn publish(&mut self, ctx: Ctx<'_>) -> Result<Turn, String> {
        let (source, target) = (self.source(ctx), self.target(ctx));
        let Stage::Copying { reader, look, .. } = &self.stage else {
            return Ok(Turn::On);
        };
        let (kind, began_with, may_shrink) = (look.kind, look.length, reader.has_ttls);
        let length = kind.length(source, &self.key)?;
        let copied = kind.length(target, &self.hidden)?;
        let expiry = source.expiry(&self.key)?;
        if expiry == -2 {
            return Ok(Turn::Over(End::Nothing));
        }
        // Fields of a hash that ended meanwhile have ended on both sides, or
        // will.
        let is_whole = |length: i64, copied: i64| {
            if may_shrink {
                length <= began_with && copied <= length
            } else {
                length == began_with && copied == length
            }
        };
        let is_good = length.zip(copied).is_some_and(|(a, b)| is_whole(a, b));
        if !is_good || self.is_touched()? {
            return self.again(ctx);
        }
        if target.has(&self.key)? {
            return Ok(Turn::Over(End::Skipped));
        }
        let (key, hidden) = (&self.key[..], &self.hidden[..]);
        let at = expiry.to_string();
        let commands: [Words; 2] = [
            pieces::words(&[b"RENAME", hidden, key]),
            match expiry {
                0.. => pieces::words(&[b"PEXPIREAT", key, at.as_bytes()]),
                _ => pieces::words(&[b"PERSIST", key]),
            },
        ];
        match self.way {
            Way::Adopt => {
                let seq = target.change(&commands)?;
                // Before those who wait for it are served, which changes it.
                self.look_out()?;
                serve()?;
                self.stage = Stage::Published {
                    seq,
                    kind,
                    length: length.unwrap_or_default(),
                    may_shrink,
                };
                Ok(Turn::Wait)
            }
            Way::Release { keep } => {
                target.write(&commands)?;
                if !keep {
                    source.remove(key)?;
                }
                Ok(Turn::Over(End::Moved))
            }
        }
    }

    /// The source goes once the copy is durable, if it is what was copied.
    fn confirm(&mut self, ctx: Ctx<'_>, seq: u64) -> Result<Turn, String> {
        let durable = with_engine(|engine, host| {
            engine.sync_soon(host);
            engine.durable_seq()
        })?;
        if durable.is_none_or(|durable| durable < seq) {
            return Ok(Turn::Wait);
        }
        let Stage::Published {
            kind,
            length,
            may_shrink,
            ..
        } = self.stage
        else {
            return Ok(Turn::On);
        };
        let (source, target) = (self.source(ctx), self.target(ctx));
        let is_there = source.has(&self.key)?;
        let now = kind.length(source, &self.key)?;
        // Fields that have ended make it shorter, on both sides.
        let is_same =
            !is_there || now.is_some_and(|now| now == length || (may_shrink && now < length));
        let is_touched = watch::is_touched() || !is_same;
        let is_covered = route::covers(&self.key) == Some(true);
        let is_used = with_engine(|engine, _| engine.is_touched())?;
        if !is_touched || (!is_there && (is_covered || is_used)) {
            // One that is gone untouched was evicted or has ended.
            if is_there {
                source.remove(&self.key)?;
            }
            return Ok(Turn::Over(End::Moved));
        }
        // What clients have changed since is nobody's to take away.
        if is_used {
            return Ok(Turn::Over(End::Changed));
        }
        target.remove(&self.key)?;
        if is_there {
            self.again(ctx)
        } else {
            Ok(Turn::Over(End::Nothing))
        }
    }

    /// From the beginning, unless that has been tried too often.
    fn again(&mut self, ctx: Ctx<'_>) -> Result<Turn, String> {
        self.target(ctx).remove(&self.hidden)?;
        (self.done, self.total) = (0, 0);
        self.stage = Stage::Unwatched;
        if self.tries == TRIES {
            return Ok(Turn::Over(End::InOneStep));
        }
        self.tries += 1;
        Ok(Turn::On)
    }

    /// Forgets the copy, as far as it isn't published, and all that looks out.
    pub fn leave(&mut self, ctx: Ctx<'_>) {
        watch::end(ctx);
        // What can't be done here the TTL does.
        let _ = with_engine(|engine, _| engine.look_out(None));
        let is_copying = matches!(self.stage, Stage::Copying { .. });
        let is_ours = self.way == Way::Adopt || !state::get(&REPLICA);
        if is_copying && is_ours && is_hidden(&self.hidden) {
            let _ = self.target(ctx).remove(&self.hidden);
        }
    }
}
