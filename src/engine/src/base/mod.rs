//! What every layer may use and that knows no key and no file.

pub mod checksum;
pub mod clock;
pub mod glob;
pub mod hash;
pub mod long_double;
pub mod murmur;
pub mod number;
pub mod panic;
pub mod quicksort;
pub mod random;
mod strtod;
