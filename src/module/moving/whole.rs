//! A key in one step: so nobody sees half of it, and it keeps the event loop
//! for as long as it takes. For small keys, and for large ones that change
//! again and again.

use persist_engine::data::rebuild;

use super::pieces::{self, Found, Reader, words};
use super::place::{Place, Words, ask, serve, with_engine};
use super::{Copy, Move, TRIES, Way};
use crate::call::Answer;
use crate::ffi::Ctx;
use crate::route;

/// All of a key, as the commands that rebuild it.
fn value(place: Place<'_>, key: &[u8]) -> Result<Found<Vec<Words>>, String> {
    let mut look = match pieces::look(place, key)? {
        Found::Nothing => return Ok(Found::Nothing),
        Found::Foreign => return Ok(Found::Foreign),
        Found::Value(look) => look,
    };
    look.is_large = false;
    let mut reader = Reader::new(&look, key, key);
    let mut commands = Vec::new();
    loop {
        let piece = reader.next(place)?;
        commands.extend(piece.commands);
        if piece.is_last {
            break;
        }
    }
    match place.expiry(key)? {
        // It ended between two calls.
        -2 => return Ok(Found::Nothing),
        at @ 0.. => commands.push(words(&[b"PEXPIREAT", key, at.to_string().as_bytes()])),
        _ => {}
    }
    Ok(Found::Value(commands))
}

impl Move {
    /// Copies a key in one step.
    pub(super) fn copy_whole(
        &mut self,
        ctx: Ctx<'_>,
        db: u32,
        key: Vec<u8>,
        tries: u32,
    ) -> Result<(), String> {
        match self.way {
            Way::Adopt => self.adopt(ctx, db, key, tries),
            Way::Release { keep } => self.release(ctx, db, &key, keep),
        }
    }

    /// Copies a key of the host's.
    fn adopt(&mut self, ctx: Ctx<'_>, db: u32, key: Vec<u8>, tries: u32) -> Result<(), String> {
        let commands = match value(Place::host(ctx, db), &key)? {
            Found::Nothing => return Ok(()),
            Found::Foreign => {
                self.counts.foreign += 1;
                return Ok(());
            }
            Found::Value(commands) => commands,
        };
        if Place::durable(db).has(&key)? {
            self.counts.skipped += 1;
            return Ok(());
        }
        // Where plain commands can't reach it, nobody changes it any more.
        let source = match route::covers(&key) {
            Some(true) => Answer::Nil,
            _ => Place::host(ctx, db).try_read(&[b"DUMP", &key])?,
        };
        let seq = rebuild_here(db, &key, &commands)?;
        self.copied.insert((db, key.clone()));
        self.copies.push_back(Copy {
            db,
            key,
            seq,
            source,
            tries,
        });
        Ok(())
    }

    /// A copy is durable: its source goes, if it is what was copied.
    pub(super) fn confirm(&mut self, ctx: Ctx<'_>, copy: Copy) -> Result<(), String> {
        let place = Place::host(ctx, copy.db);
        if copy.source != Answer::Nil {
            let now = place.try_read(&[b"DUMP", &copy.key])?;
            // One that is gone was evicted or has ended, for all we know.
            if now != Answer::Nil && now != copy.source {
                if copy.tries == TRIES {
                    self.counts.changed += 1;
                    return Ok(());
                }
                Place::durable(copy.db).remove(&copy.key)?;
                return self.adopt(ctx, copy.db, copy.key, copy.tries + 1);
            }
        }
        place.remove(&copy.key)?;
        self.counts.moved += 1;
        Ok(())
    }

    /// Copies a durable key to the host, and removes it here.
    fn release(&mut self, ctx: Ctx<'_>, db: u32, key: &[u8], keep: bool) -> Result<(), String> {
        let place = Place::host(ctx, db);
        if place.has(key)? {
            self.counts.skipped += 1;
            return Ok(());
        }
        let mut commands: Vec<Words> = Vec::new();
        with_engine(|engine, _| {
            let Some(entry) = engine.space().peek(db, key) else {
                return;
            };
            let Ok(()) = rebuild::commands(entry, &mut |words| {
                commands.push(words.iter().map(|word| word.to_vec()).collect());
                Ok::<_, std::convert::Infallible>(())
            });
        })?;
        if commands.is_empty() {
            return Ok(());
        }
        if let Err(why) = place.write(&commands) {
            // Not half of it.
            place.remove(key)?;
            // TTLs of fields are unknown to older hosts.
            if why.contains("unknown command") {
                self.counts.foreign += 1;
                return Ok(());
            }
            return Err(why);
        }
        if !keep {
            ask(db, &[b"DEL", key])?;
        }
        self.counts.moved += 1;
        Ok(())
    }
}

/// Makes a durable key by these commands, as one unit; says what the log
/// reached with it.
fn rebuild_here(db: u32, key: &[u8], commands: &[Words]) -> Result<u64, String> {
    let place = Place::durable(db);
    let made = place.change(commands);
    if made.is_err() {
        // Not half of it. When even that is refused, the unit stays half
        // done, and the host's key where it is.
        let _ = place.remove(key);
    }
    serve()?;
    made
}
