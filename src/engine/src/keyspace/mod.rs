//! The durable keyspace: numbered databases of entries.

pub mod alarms;
pub mod keys;

use alarms::Alarms;

use crate::base::hash::HashKey;
use crate::data::entry::Entry;
use crate::data::table::Table;

/// Highest number of databases; the host's own limit is its `databases` setting.
pub const MAX_DATABASES: u32 = 1 << 16;

/// All databases. They come into being when first written.
#[derive(Debug)]
pub struct Keyspace {
    seed: HashKey,
    dbs: Vec<Table<Entry>>,
    /// Of each database that has had any.
    alarms: Vec<Alarms>,
}

impl Keyspace {
    /// An empty keyspace that hashes with `seed`.
    pub fn new(seed: HashKey) -> Self {
        Keyspace {
            seed,
            dbs: vec![Table::new(seed)],
            alarms: Vec::new(),
        }
    }

    /// The key of the hash.
    pub fn seed(&self) -> HashKey {
        self.seed
    }

    /// The hash of `key`, the same in all databases.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        crate::base::hash::hash(&self.seed, key)
    }

    /// A database, if it has come into being.
    #[inline]
    pub fn db(&self, db: u32) -> Option<&Table<Entry>> {
        self.dbs.get(db as usize)
    }

    /// The entry under `key`, also one that is due.
    pub fn peek(&self, db: u32, key: &[u8]) -> Option<&Entry> {
        let table = self.db(db)?;
        table.get(table.hash(key), key)
    }

    /// A database.
    #[inline]
    pub fn db_mut(&mut self, db: u32) -> &mut Table<Entry> {
        let db = db.min(MAX_DATABASES - 1) as usize;
        while self.dbs.len() <= db {
            self.dbs.push(Table::new(self.seed));
        }
        &mut self.dbs[db]
    }

    /// The databases that have come into being, by number.
    pub fn databases(&self) -> impl Iterator<Item = (u32, &Table<Entry>)> {
        (0..).zip(&self.dbs)
    }

    /// No field of a hash in `db` ends before this (unix ms); `u64::MAX` when
    /// none ends.
    #[inline]
    pub fn next_alarm(&self, db: u32) -> u64 {
        self.alarms.get(db as usize).map_or(u64::MAX, Alarms::next)
    }

    /// Whether there are hashes of which fields end.
    pub fn has_ending_fields(&self) -> bool {
        self.alarms.iter().any(|alarms| !alarms.is_empty())
    }

    /// The alarms of a database, if it has had any.
    pub fn alarms(&self, db: u32) -> Option<&Alarms> {
        self.alarms.get(db as usize)
    }

    /// The alarms of a database, if it has had any.
    #[inline]
    pub fn alarms_mut(&mut self, db: u32) -> Option<&mut Alarms> {
        self.alarms.get_mut(db as usize)
    }

    /// Sees to it that the fields of the hash `key` are looked at no later
    /// than at `at` (unix ms).
    pub fn arm(&mut self, db: u32, key: &[u8], at: u64) {
        let db = db.min(MAX_DATABASES - 1) as usize;
        if self.alarms.len() <= db {
            self.alarms.resize_with(db + 1, Alarms::default);
        }
        self.alarms[db].arm(self.seed, key, at);
    }

    /// The same for `entry`, if fields of it end.
    #[inline]
    pub fn arm_entry(&mut self, db: u32, entry: &Entry) {
        if let Some(at) = alarms::alarm_of(entry) {
            self.arm(db, entry.key(), at);
        }
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, a: u32, b: u32) {
        self.db_mut(a.max(b));
        self.dbs.swap(a as usize, b as usize);
        if !self.alarms.is_empty() {
            let len = self.alarms.len().max(a.max(b) as usize + 1);
            self.alarms.resize_with(len, Alarms::default);
            self.alarms.swap(a as usize, b as usize);
        }
    }

    /// Takes a database's content away, leaving it empty.
    pub fn detach(&mut self, db: u32) -> Table<Entry> {
        let seed = self.seed;
        if let Some(alarms) = self.alarms_mut(db) {
            *alarms = Alarms::default();
        }
        std::mem::replace(self.db_mut(db), Table::new(seed))
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.dbs.iter().map(Table::len).sum()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
