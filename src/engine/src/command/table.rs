//! Every command.

use super::spec::Spec;
use super::{bitmap, geo, hash, hll, key, list, set, sort, stream, string, zset};

/// The specs of each family.
pub static COMMANDS: &[&[Spec]] = &[
    string::get::SPECS,
    string::set::SPECS,
    string::number::SPECS,
    string::range::SPECS,
    string::lcs::SPECS,
    key::SPECS,
    key::expire::SPECS,
    key::rename::SPECS,
    key::scan::SPECS,
    key::flush::SPECS,
    key::object::SPECS,
    key::dump::SPECS,
    sort::SPECS,
    hash::SPECS,
    hash::expiry::SPECS,
    hash::field::SPECS,
    set::SPECS,
    list::SPECS,
    list::blocking::SPECS,
    zset::add::SPECS,
    zset::algebra::SPECS,
    zset::blocking::SPECS,
    zset::pop::SPECS,
    zset::random::SPECS,
    zset::range::SPECS,
    zset::read::SPECS,
    zset::remove::SPECS,
    zset::scan::SPECS,
    stream::add::SPECS,
    stream::claim::SPECS,
    stream::delete::SPECS,
    stream::group::SPECS,
    stream::info::SPECS,
    stream::pending::SPECS,
    stream::range::SPECS,
    stream::read::SPECS,
    bitmap::bit::SPECS,
    bitmap::count::SPECS,
    bitmap::combine::SPECS,
    bitmap::field::SPECS,
    hll::SPECS,
    geo::SPECS,
];

/// Every command.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    COMMANDS.iter().flat_map(|family| family.iter())
}

/// The command of this name, in any case, without `PERSIST.`.
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    all().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}
