//! Values, free of clients, clocks and disks.

pub mod bits;
pub mod chunks;
pub mod encoding;
pub mod entry;
pub mod geo;
pub mod hash;
pub mod hll;
pub mod lcs;
pub mod list;
pub mod memory;
pub mod order;
pub mod packed;
pub mod portable;
pub mod rebuild;
pub mod set;
pub mod small;
pub mod stream;
pub mod string;
pub mod table;
pub mod text;
pub mod value;
pub mod zset;
