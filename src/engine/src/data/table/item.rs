//! What tables hold.

use crate::data::entry::{Entry, SmallEntry};

/// What a table holds. The default fills empty slots and allocates nothing.
pub trait Item: Default {
    /// The bytes that identify it.
    fn key(&self) -> &[u8];
    /// When it ends, unix time in ms.
    fn expiry(&self) -> Option<u64> {
        None
    }
    /// Called only by the table, which keeps sums over expiries.
    fn set_expiry(&mut self, _expiry: Option<u64>) {}
}

impl Item for Entry {
    #[inline]
    fn key(&self) -> &[u8] {
        Entry::key(self)
    }
    #[inline]
    fn expiry(&self) -> Option<u64> {
        Entry::expiry(self)
    }
    fn set_expiry(&mut self, expiry: Option<u64>) {
        Entry::set_expiry(self, expiry);
    }
}

/// A field of a large hash: the field is the key, its value the payload.
impl Item for SmallEntry {
    #[inline]
    fn key(&self) -> &[u8] {
        SmallEntry::key(self)
    }
    fn expiry(&self) -> Option<u64> {
        SmallEntry::expiry(self)
    }
    fn set_expiry(&mut self, expiry: Option<u64>) {
        SmallEntry::set_expiry(self, expiry);
    }
}

/// A member of a large set.
impl Item for Box<[u8]> {
    #[inline]
    fn key(&self) -> &[u8] {
        self
    }
}
