//! Kinds of values, and the structures that large ones have.

use super::chunks::ChunkList;
use super::entry::SmallEntry;
use super::hash;
use super::packed;
use super::stream::Stream;
use super::table::Table;
use super::zset::{self, SortedSet};

/// What kind of value a key holds. The numbers stand in snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A string of bytes.
    String = 0,
    /// A list.
    List = 1,
    /// A set.
    Set = 2,
    /// A sorted set.
    Zset = 3,
    /// A hash.
    Hash = 4,
    /// A stream.
    Stream = 5,
}

/// All kinds, in the order of their numbers.
pub const KINDS: [Kind; 6] = [
    Kind::String,
    Kind::List,
    Kind::Set,
    Kind::Zset,
    Kind::Hash,
    Kind::Stream,
];

impl Kind {
    /// The kind with this number.
    #[inline]
    pub fn from_u8(n: u8) -> Option<Kind> {
        KINDS.get(usize::from(n)).copied()
    }

    /// The word that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::Zset => "zset",
            Kind::Hash => "hash",
            Kind::Stream => "stream",
        }
    }

    /// Whether `payload` is a well-formed small value of this kind.
    ///
    /// Whether a member or field stands twice isn't looked for. No command makes
    /// that and a checksum keeps damage out, so only a forger could; it stays
    /// a value like any other, of which removing that member leaves one. To look
    /// (a 32-bit print of each, compared with those before) made loading mixed
    /// data 12 % slower.
    pub fn is_packed_payload(self, payload: &[u8]) -> bool {
        match self {
            Kind::String => true,
            Kind::Hash => hash::is_well_formed(payload),
            _ if packed::is_marked(payload) => false,
            Kind::List | Kind::Set => {
                packed::count(payload) > 0 && packed::is_well_formed(payload, 1)
            }
            Kind::Zset => zset::is_well_formed(payload),
            // None is small.
            Kind::Stream => false,
        }
    }
}

/// A value with a structure of its own.
#[derive(Debug, Clone)]
pub enum Value {
    /// A string too long to be copied at every change.
    Str(Vec<u8>),
    /// A list of packed chunks.
    List(ChunkList),
    /// Members in a segmented table.
    Set(Table<Box<[u8]>>),
    /// Scores by member, and members by rank.
    Zset(Box<SortedSet>),
    /// Fields in a segmented table.
    Hash(Table<SmallEntry>),
    /// Entries in packed blocks, and groups.
    Stream(Box<Stream>),
}

impl Value {
    /// What kind of value this is.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Str(_) => Kind::String,
            Value::List(_) => Kind::List,
            Value::Set(_) => Kind::Set,
            Value::Zset(_) => Kind::Zset,
            Value::Hash(_) => Kind::Hash,
            Value::Stream(_) => Kind::Stream,
        }
    }

    /// How many elements; 1 for a string.
    pub fn len(&self) -> usize {
        match self {
            Value::Str(_) => 1,
            Value::List(l) => l.len(),
            Value::Set(t) => t.len(),
            Value::Zset(z) => z.len(),
            Value::Hash(t) => t.len(),
            Value::Stream(s) => s.entries.len() as usize,
        }
    }

    /// How many allocations it has, roughly.
    pub fn weight(&self) -> usize {
        match self {
            Value::Stream(s) => s.weight(),
            other => other.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// When a small value becomes a large one; named as in redis.conf.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most fields of a packed hash.
    pub hash_max_listpack_entries: usize,
    /// Longest field or value of a packed hash, in bytes.
    pub hash_max_listpack_value: usize,
    /// Most members of a packed set.
    pub set_max_listpack_entries: usize,
    /// Longest member of a packed set, in bytes.
    pub set_max_listpack_value: usize,
    /// Most members of a packed sorted set.
    pub zset_max_listpack_entries: usize,
    /// Longest member of a packed sorted set, in bytes.
    pub zset_max_listpack_value: usize,
    /// Most elements of a packed list.
    pub list_max_listpack_entries: usize,
    /// Most bytes of a packed list.
    pub list_max_listpack_bytes: usize,
    /// Most members of a set of integers that OBJECT ENCODING calls an intset.
    pub set_max_intset_entries: usize,
    /// Longest string that a command may make, in bytes: the host's
    /// `proto-max-bulk-len`.
    pub string_max: usize,
    /// Longest string that shares its key's allocation, in bytes.
    pub string_max_small: usize,
    /// Most entries of a block of a stream, removed ones too; 0 is no limit.
    pub stream_node_max_entries: u64,
    /// Most bytes of a block of a stream as Redis packs it; 0 is no limit.
    pub stream_node_max_bytes: u64,
    /// Longest sparse HyperLogLog, in bytes.
    pub hll_sparse_max_bytes: usize,
    /// How many databases clients may use.
    pub databases: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            list_max_listpack_entries: usize::MAX,
            list_max_listpack_bytes: 8192,
            set_max_intset_entries: 512,
            string_max: 512 << 20,
            string_max_small: 16384,
            stream_node_max_entries: 100,
            stream_node_max_bytes: 4096,
            hll_sparse_max_bytes: 3000,
            databases: 16,
        }
    }
}
