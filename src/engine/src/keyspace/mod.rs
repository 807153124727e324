//! The durable keyspace: numbered databases of entries.

pub mod keys;

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
}

impl Keyspace {
    /// An empty keyspace that hashes with `seed`.
    pub fn new(seed: HashKey) -> Self {
        Keyspace {
            seed,
            dbs: vec![Table::new(seed)],
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

    /// Exchanges two databases.
    pub fn swap(&mut self, a: u32, b: u32) {
        self.db_mut(a.max(b));
        self.dbs.swap(a as usize, b as usize);
    }

    /// Takes a database's content away, leaving it empty.
    pub fn detach(&mut self, db: u32) -> Table<Entry> {
        let seed = self.seed;
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
