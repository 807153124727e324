//! What every layer may use and that knows no key and no file.

pub mod checksum;
