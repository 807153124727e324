//! Where things are in `persist.dir`.

use std::path::{Path, PathBuf};

use crate::settings::{LOCK, QUARANTINE, Settings, TEMP};

/// Paths of all files, from the settings, which can't change at run time.
#[derive(Debug, Clone)]
pub struct Files {
    /// `persist.dir`
    pub dir: PathBuf,
    /// The snapshot.
    pub snapshot: PathBuf,
    /// Folder of the log.
    pub log_dir: PathBuf,
    /// The manifest.
    pub manifest: PathBuf,
    /// Where what can't be used is moved.
    pub quarantine: PathBuf,
    /// What a server locks while it owns the folder.
    pub lock: PathBuf,
    prefix: String,
    pid: u32,
}

impl Files {
    /// The paths that `settings` mean, for the server with this process id.
    pub fn new(settings: &Settings, pid: u32) -> Self {
        let dir = PathBuf::from(&settings.dir);
        let log_dir = dir.join(&settings.appenddirname);
        Files {
            snapshot: dir.join(&settings.dbfilename),
            manifest: log_dir.join(format!("{}.manifest", settings.appendfilename)),
            quarantine: dir.join(QUARANTINE),
            lock: dir.join(LOCK),
            prefix: settings.appendfilename.clone(),
            dir,
            log_dir,
            pid,
        }
    }

    /// Name of base `seq`; `rdb` as opposed to commands.
    pub fn base_name(&self, seq: u64, rdb: bool) -> String {
        format!(
            "{}.{seq}.base.{}",
            self.prefix,
            if rdb { "rdb" } else { "aof" }
        )
    }

    /// Name of incr file `seq`.
    pub fn incr_name(&self, seq: u64) -> String {
        format!("{}.{seq}.incr.aof", self.prefix)
    }

    /// A file of the log.
    pub fn in_log(&self, name: &str) -> PathBuf {
        self.log_dir.join(name)
    }

    /// A new temporary file's path in `dir`; `n` tells it from others of this
    /// server, the process id from those of others.
    pub fn temp(&self, dir: &Path, n: u64, what: &str) -> PathBuf {
        dir.join(format!("{TEMP}{}-{n}.{what}", self.pid))
    }

    /// What tells this server's temporary files from others'.
    pub fn tag(&self) -> String {
        format!("persist-{}", self.pid)
    }

    /// Whether a file's name is one that only a writer that died leaves.
    pub fn is_temp(name: &str) -> bool {
        name.starts_with(TEMP)
    }

    /// Whether a name in the log's folder looks like a part of this log.
    pub fn is_log_file(&self, name: &str) -> bool {
        name.strip_prefix(&self.prefix)
            .is_some_and(|rest| rest.starts_with('.'))
    }
}
