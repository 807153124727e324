//! Which keys a command is about.

use clap::Args;
use persist_engine::base::glob::glob_match;

/// Which keys; all of them if nothing is said.
#[derive(Args)]
pub struct Filter {
    /// Keys that match the glob, as KEYS would find them; several may be given
    #[arg(long = "key", value_name = "GLOB")]
    globs: Vec<String>,
    /// Keys that begin so; several may be given
    #[arg(long = "prefix", value_name = "TEXT")]
    prefixes: Vec<String>,
    /// Only keys of this database; several may be given
    #[arg(long = "db", value_name = "N")]
    databases: Vec<u32>,
}

impl Filter {
    /// Whether a key is meant.
    pub fn takes(&self, db: u32, key: &[u8]) -> bool {
        let glob = |glob: &String| glob_match(glob.as_bytes(), key, false);
        let prefix = |prefix: &String| key.starts_with(prefix.as_bytes());
        let any = self.globs.is_empty() && self.prefixes.is_empty();
        (self.databases.is_empty() || self.databases.contains(&db))
            && (any || self.globs.iter().any(glob) || self.prefixes.iter().any(prefix))
    }
}
