//! One database as a command sees it: lookups that honour expiry, changes
//! that leave their traces (effects for the log, events for watchers).

use super::Keyspace;
use super::alarms::alarm_of;
use crate::base::clock::Clock;
use crate::base::random::Random;
use crate::data::entry::Entry;
use crate::data::hash::expiry;
use crate::data::string;
use crate::data::table::Table;
use crate::data::value::{Kind, Limits};

/// Fields that one logged HDEL names at most.
const FIELDS_PER_EFFECT: usize = 64;
/// Due fields of a large hash that one look at it takes, if more aren't needed.
const FIELDS_PER_LOOK: usize = 64;
/// Entries with more parts than this are freed off the event loop.
const HEAVY: usize = 64;

/// Classes of keyspace events, as in `notify-keyspace-events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventClass {
    /// `g`: DEL, EXPIRE, RENAME ...
    Generic,
    /// `$`
    String,
    /// `l`
    List,
    /// `s`
    Set,
    /// `h`
    Hash,
    /// `z`
    Zset,
    /// `t`
    Stream,
    /// `x`: a key ended.
    Expired,
    /// None: watchers hear of the change, subscribers don't.
    Silent,
}

/// What left the keyspace and may be large.
#[derive(Debug)]
pub enum Garbage {
    /// One entry.
    Entry(Entry),
    /// A whole database.
    Database(Table<Entry>),
}

/// Receives what an execution did, in the order it was done.
pub trait Outcome {
    /// A change for the log: a Redis command by its canonical name, whose
    /// replay does the same again whatever the clock says.
    fn effect(&mut self, db: u32, name: &[u8], args: &[&[u8]]);
    /// `key` was changed; `event` is its keyspace notification.
    fn event(&mut self, db: u32, class: EventClass, event: &'static str, key: &[u8]);
    /// `key` came to hold something that blocked readers may wait for.
    fn ready(&mut self, db: u32, key: &[u8]);
    /// All that a database held was replaced at once, by nothing (FLUSHDB) or
    /// by another's content (SWAPDB), without an event for each key: watched
    /// keys that are in `before` or `after` were changed, and blocked readers
    /// may find something in `after`.
    fn replaced(&mut self, _db: u32, _before: &Table<Entry>, _after: &Table<Entry>) {}
    /// To be dropped away from the event loop.
    fn discard(&mut self, garbage: Garbage);
}

/// The wrong kind of value is under the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType;

/// What a command works with, but for its reply.
pub struct Keys<'a> {
    /// All databases.
    pub space: &'a mut Keyspace,
    /// The selected database.
    pub db: u32,
    /// Where changes are told.
    pub out: &'a mut dyn Outcome,
    /// Random choices.
    pub rng: &'a mut dyn Random,
    /// When small values become large ones.
    pub limits: &'a Limits,
    /// `None` in replay, which must not depend on the clock: there, nothing
    /// is ever due and "now" is the epoch.
    pub clock: Option<&'a dyn Clock>,
    /// The time of this execution once somebody asked, so that one command
    /// sees one time.
    pub now: Option<u64>,
    /// In replay, when what is replayed was written, unix ms. Only for hints
    /// that are no part of the data, such as when a consumer was last seen.
    pub written_ms: u64,
    /// Whether due fields of large hashes may stay for a while: this command
    /// asks for single fields, with [`Keys::end_fields`], or for none.
    pub in_parts: bool,
}

impl Keys<'_> {
    /// The time of this execution, unix ms; 0 in replay.
    pub fn now(&mut self) -> u64 {
        match self.now {
            Some(now) => now,
            None => *self.now.insert(self.clock.map_or(0, |c| c.now_ms())),
        }
    }

    /// The time of this execution for a hint, unix ms: in replay, about the
    /// time when it was first done.
    pub fn now_as_hint(&mut self) -> u64 {
        if self.is_replay() {
            self.written_ms
        } else {
            self.now()
        }
    }

    /// Whether this is a replay of the log.
    pub fn is_replay(&self) -> bool {
        self.clock.is_none()
    }

    /// The selected database.
    pub fn table(&mut self) -> &mut Table<Entry> {
        self.space.db_mut(self.db)
    }

    /// Removes `key` if its time has come, with a DEL in the log.
    #[inline]
    fn reap(&mut self, hash: u64, key: &[u8], in_parts: bool) {
        // Most databases have no key that may be due, which one word tells.
        if self
            .space
            .db(self.db)
            .is_some_and(|table| table.min_expiry() != u64::MAX)
        {
            self.reap_due(hash, key);
        }
        // And most have no hash of which fields end.
        if self.space.next_alarm(self.db) != u64::MAX {
            self.reap_fields(key, in_parts);
        }
    }

    /// Removes the fields of the hash `key` whose time has come.
    #[inline(never)]
    fn reap_fields(&mut self, key: &[u8], in_parts: bool) {
        let now = self.now();
        if self.space.next_alarm(self.db) > now {
            return;
        }
        let alarm = self.space.alarms(self.db).and_then(|a| a.of(key));
        if alarm.is_some_and(|at| at <= now) {
            self.disarm(key);
            let budget = if in_parts {
                FIELDS_PER_LOOK
            } else {
                // All of them: who reads the hash must not see one.
                usize::MAX
            };
            self.expire_fields(key, now, budget);
        }
    }

    /// Removes those of `fields` that are due from the hash `key`, in a
    /// command that leaves others for later.
    pub fn end_fields<'f>(&mut self, key: &[u8], fields: impl IntoIterator<Item = &'f [u8]>) {
        if self.space.next_alarm(self.db) == u64::MAX || self.is_replay() {
            return;
        }
        let now = self.now();
        let (hash, db) = (self.space.hash(key), self.db);
        // What is due and few is gone.
        self.reap(hash, key, true);
        let alarm = self.space.alarms(db).and_then(|alarms| alarms.of(key));
        if alarm.is_none_or(|at| at > now) {
            return;
        }
        let entry = self.space.db_mut(db).get_mut(hash, key);
        let Some(entry) = entry.filter(|entry| entry.kind() == Kind::Hash) else {
            return;
        };
        let mut gone: Vec<Box<[u8]>> = Vec::new();
        for field in fields {
            let ends = expiry::of(entry.payload(), field).flatten();
            if ends.is_some_and(|at| at <= now) && crate::data::hash::remove(entry, field) {
                gone.push(field.into());
            }
        }
        self.fields_ended(hash, key, &gone);
    }

    /// Removes fields of the hash `key` that end at or before `now`, about
    /// `budget` at most, with an HDEL in the log, and the key if it is empty
    /// then. There is no alarm for it; a new one is set if other fields end.
    /// `true` when some that are due were left.
    pub fn expire_fields(&mut self, key: &[u8], now: u64, budget: usize) -> bool {
        let hash = self.space.hash(key);
        let db = self.db;
        let Some(entry) = self.space.db_mut(db).get_mut(hash, key) else {
            return false;
        };
        if entry.kind() != Kind::Hash {
            return false;
        }
        let mut gone: Vec<Box<[u8]>> = Vec::new();
        expiry::take_due(entry, now, budget, &mut |field| gone.push(field.into()));
        let next = alarm_of(entry);
        if let Some(at) = next {
            self.space.arm(db, key, at);
        }
        self.fields_ended(hash, key, &gone);
        next.is_some_and(|at| at <= now)
    }

    /// Tells that fields of the hash `key` ended, and removes it if it is
    /// empty now.
    fn fields_ended(&mut self, hash: u64, key: &[u8], gone: &[Box<[u8]>]) {
        if gone.is_empty() {
            return;
        }
        for some in gone.chunks(FIELDS_PER_EFFECT) {
            let words: Vec<&[u8]> = std::iter::once(key)
                .chain(some.iter().map(|field| &**field))
                .collect();
            self.effect(b"HDEL", &words);
        }
        self.changed(EventClass::Hash, "hexpired", key);
        let is_empty = |entry: &Entry| crate::data::hash::len(entry.payload()) == 0;
        if self.table().get(hash, key).is_some_and(is_empty)
            && let Some(entry) = self.table().remove(hash, key)
        {
            self.disarm(key);
            self.discard(entry);
            self.changed(EventClass::Generic, "del", key);
        }
    }

    /// Sees to it that the fields of the hash `key` are looked at no later
    /// than at `at` (unix ms).
    pub fn arm(&mut self, key: &[u8], at: u64) {
        self.space.arm(self.db, key, at);
    }

    /// Forgets when to look at the fields of `key`, which is no such hash any
    /// more.
    #[inline]
    fn disarm(&mut self, key: &[u8]) {
        if let Some(alarms) = self.space.alarms_mut(self.db) {
            alarms.disarm(key);
        }
    }

    #[inline(never)]
    fn reap_due(&mut self, hash: u64, key: &[u8]) {
        let now = self.now();
        if self.table().min_expiry() > now {
            return;
        }
        let due = |e: &Entry| e.expiry().is_some_and(|at| at <= now);
        if self.table().get(hash, key).is_some_and(due)
            && let Some(entry) = self.table().remove(hash, key)
        {
            self.expired(entry);
        }
    }

    /// Tells that `entry` ended and frees it.
    pub fn expired(&mut self, entry: Entry) {
        self.disarm(entry.key());
        self.effect(b"DEL", &[entry.key()]);
        self.out
            .event(self.db, EventClass::Expired, "expired", entry.key());
        self.left(&entry);
        self.discard(entry);
    }

    /// `entry` is no longer there. Those who wait in XREADGROUP are to be told.
    #[inline]
    fn left(&mut self, entry: &Entry) {
        if entry.kind() == Kind::Stream {
            self.out.ready(self.db, entry.key());
        }
    }

    /// The entry under `key`.
    #[inline]
    pub fn get(&mut self, key: &[u8]) -> Option<&Entry> {
        let hash = self.space.hash(key);
        self.reap(hash, key, self.in_parts);
        self.space.db(self.db)?.get(hash, key)
    }

    /// The entry under `key`, for changes of its value.
    #[inline]
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let hash = self.space.hash(key);
        self.reap(hash, key, self.in_parts);
        self.table().get_mut(hash, key)
    }

    /// The entry under `key` if it is of `kind`.
    #[inline]
    pub fn read(&mut self, key: &[u8], kind: Kind) -> Result<Option<&Entry>, WrongType> {
        match self.get(key) {
            Some(e) if e.kind() != kind => Err(WrongType),
            found => Ok(found),
        }
    }

    /// The entry under `key`, for changes, if it is of `kind`.
    #[inline]
    pub fn write(&mut self, key: &[u8], kind: Kind) -> Result<Option<&mut Entry>, WrongType> {
        match self.get_mut(key) {
            Some(e) if e.kind() != kind => Err(WrongType),
            found => Ok(found),
        }
    }

    /// Whether `key` is there.
    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// Puts `entry` in, in the place of any other under its key. Tells only
    /// those who wait for a value of a kind that can be waited for.
    pub fn put(&mut self, entry: Entry) {
        if !matches!(entry.kind(), Kind::String | Kind::Set | Kind::Hash) {
            self.out.ready(self.db, entry.key());
        }
        let hash = self.table().hash(entry.key());
        self.disarm(entry.key());
        self.space.arm_entry(self.db, &entry);
        if let Some(old) = self.table().insert(hash, entry) {
            self.left(&old);
            self.discard(old);
        }
    }

    /// Sets `key` to a string, whatever it was. Tells nobody.
    #[inline]
    pub fn put_string(&mut self, key: &[u8], value: &[u8], expiry: Option<u64>) {
        let max_small = self.limits.string_max_small;
        let hash = self.space.hash(key);
        self.reap(hash, key, true);
        let table = self.table();
        // The commonest write of all, a value of the same length, needs no
        // allocation.
        if expiry.is_none()
            && let Some(Entry::Small(old)) = table.get_mut(hash, key)
            && old.overwrite_string(value)
        {
            return;
        }
        if let Some(old) = table.insert(hash, string::entry(key, value, expiry, max_small)) {
            self.left(&old);
            self.disarm(key);
            self.discard(old);
        }
    }

    /// Takes the entry under `key` out. Tells nobody.
    pub fn take(&mut self, key: &[u8]) -> Option<Entry> {
        let hash = self.space.hash(key);
        self.reap(hash, key, true);
        self.disarm(key);
        let entry = self.table().remove(hash, key)?;
        self.left(&entry);
        Some(entry)
    }

    /// Removes the entry under `key`. Tells nobody.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        match self.take(key) {
            Some(entry) => {
                self.discard(entry);
                true
            }
            None => false,
        }
    }

    /// Removes `key` if its collection has become empty, and tells watchers;
    /// the log needs no word of it, since replay empties it the same way.
    pub fn delete_if_empty(&mut self, key: &[u8], is_empty: bool) {
        if is_empty && self.delete(key) {
            self.changed(EventClass::Generic, "del", key);
        }
    }

    /// Sets or removes the expiry of `key`; `false` when there is no such key.
    pub fn set_expiry(&mut self, key: &[u8], at_ms: Option<u64>) -> bool {
        let hash = self.table().hash(key);
        self.table().set_expiry(hash, key, at_ms)
    }

    /// Drops `entry`, elsewhere when that takes long.
    pub fn discard(&mut self, entry: Entry) {
        if entry.weight() > HEAVY {
            self.out.discard(Garbage::Entry(entry));
        }
    }

    /// Writes a change to the log; see [`Outcome::effect`].
    #[inline]
    pub fn effect(&mut self, name: &[u8], args: &[&[u8]]) {
        self.out.effect(self.db, name, args);
    }

    /// Tells watchers and subscribers that `key` was changed.
    #[inline]
    pub fn changed(&mut self, class: EventClass, event: &'static str, key: &[u8]) {
        self.out.event(self.db, class, event, key);
    }

    /// Tells that blocked readers of `key` may find something.
    pub fn ready(&mut self, key: &[u8]) {
        self.out.ready(self.db, key);
    }
}
