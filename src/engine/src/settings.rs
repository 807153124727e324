//! Settings, declared once: name, kind, default, bounds. The adapter
//! registers each with the host as `persist.<name>`.

use std::fmt;

use crate::data::value::Limits;
use crate::io::mode::FileMode;

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
pub enum SettingKind {
    /// `yes` or `no`.
    Bool {
        /// Default.
        default: bool,
    },
    /// A whole number.
    Number {
        /// Default.
        default: i64,
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
        /// Takes `64mb` and the like.
        memory: bool,
    },
    /// Any text; [`Settings::set_text`] checks it.
    Text {
        /// Default.
        default: &'static str,
    },
    /// One of some words.
    Choice {
        /// Default.
        default: &'static str,
        /// The words.
        words: &'static [&'static str],
    },
}

/// A setting's declaration.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name, without `persist.`.
    pub name: &'static str,
    /// Kind, default and bounds.
    pub kind: SettingKind,
    /// Only at start.
    pub immutable: bool,
    /// One sentence for people.
    pub about: &'static str,
}

/// When the log is synced to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsyncPolicy {
    /// Before every reply to a write.
    Always,
    /// Once a second, in the background.
    Everysec,
    /// When the system likes.
    No,
}

/// What a start makes of damaged files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCorruption {
    /// It refuses.
    Stop,
    /// It takes what can be verified.
    Salvage,
    /// It takes the snapshot instead of a damaged log.
    Fallback,
}

/// One save point: after `seconds`, if at least `changes` happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last save.
    pub seconds: u64,
    /// Changes since the last save.
    pub changes: u64,
}

const fn flag(name: &'static str, default: bool, about: &'static str) -> Setting {
    Setting {
        name,
        kind: SettingKind::Bool { default },
        immutable: false,
        about,
    }
}

const fn text(
    name: &'static str,
    default: &'static str,
    immutable: bool,
    about: &'static str,
) -> Setting {
    Setting {
        name,
        kind: SettingKind::Text { default },
        immutable,
        about,
    }
}

const fn number(
    name: &'static str,
    default: i64,
    min: i64,
    max: i64,
    memory: bool,
    about: &'static str,
) -> Setting {
    Setting {
        name,
        kind: SettingKind::Number {
            default,
            min,
            max,
            memory,
        },
        immutable: false,
        about,
    }
}

/// Every setting.
pub static SETTINGS: &[Setting] = &[
    text(
        "dir",
        "",
        true,
        "Folder of all files; the host's dir when empty.",
    ),
    text("dbfilename", "persist.rdb", true, "Name of the snapshot."),
    text(
        "appenddirname",
        "persist-aof",
        true,
        "Folder of the log, inside dir.",
    ),
    text(
        "appendfilename",
        "persist.aof",
        true,
        "First part of the names of the log's files.",
    ),
    Setting {
        name: "file-mode",
        kind: SettingKind::Choice {
            default: "600",
            words: FileMode::WORDS,
        },
        immutable: true,
        about: "Who gets at the files: their permission bits, in octal. Folders have the x bits that belong to it.",
    },
    text(
        "save",
        "default",
        false,
        "Save points, pairs of seconds and changes; `default` is 3600 1 300 100 60 10000 with the log off and none with it on.",
    ),
    flag(
        "stop-writes-on-bgsave-error",
        true,
        "Refuse writes while the last snapshot failed and save points are set.",
    ),
    flag("rdbcompression", true, "Compress snapshots with LZ4."),
    flag("rdbchecksum", true, "Checksum every block of a snapshot."),
    flag("appendonly", true, "Keep a log of every change."),
    Setting {
        name: "appendfsync",
        kind: SettingKind::Choice {
            default: "everysec",
            words: &["always", "everysec", "no"],
        },
        immutable: false,
        about: "When the log is synced to disk.",
    },
    flag(
        "no-appendfsync-on-rewrite",
        false,
        "Don't sync under everysec while a child writes; no effect under always.",
    ),
    number(
        "max-at-risk-ms",
        2_000,
        0,
        i32::MAX as i64,
        false,
        "Under everysec, hold writers back, and refuse transactions and scripts that write, while anything has waited longer to be synced; 0 is never.",
    ),
    flag(
        "aof-timestamp-enabled",
        false,
        "Write #TS lines into the log.",
    ),
    flag(
        "aof-use-rdb-preamble",
        true,
        "Rewrite into a snapshot rather than into commands.",
    ),
    flag(
        "aof-load-truncated",
        true,
        "Load a log whose end is torn, without that end.",
    ),
    Setting {
        name: "on-corruption",
        kind: SettingKind::Choice {
            default: "stop",
            words: &["stop", "salvage", "fallback"],
        },
        immutable: true,
        about: "What a start does about damaged files: refuse, load what can be verified, or load the snapshot instead of the log.",
    },
    number(
        "auto-aof-rewrite-percentage",
        100,
        0,
        i32::MAX as i64,
        false,
        "Rewrite after so much growth; 0 is never.",
    ),
    number(
        "auto-aof-rewrite-min-size",
        64 << 20,
        0,
        i64::MAX,
        true,
        "Never rewrite a log smaller than this.",
    ),
    number(
        "maxmemory",
        0,
        0,
        i64::MAX,
        true,
        "Refuse writes that grow the durable keyspace past this; 0 is no limit.",
    ),
    number(
        "stream-node-max-entries",
        100,
        0,
        i64::MAX,
        false,
        "Most entries in a block of a stream, the unit of approximate trimming; 0 is no limit.",
    ),
    number(
        "stream-node-max-bytes",
        4096,
        0,
        i64::MAX,
        true,
        "Most bytes in a block of a stream, reckoned as Redis packs them; 0 is no limit.",
    ),
    number(
        "hash-max-listpack-entries",
        512,
        0,
        i64::MAX,
        false,
        "Most fields of a hash that is kept packed.",
    ),
    number(
        "hash-max-listpack-value",
        64,
        0,
        i64::MAX,
        false,
        "Longest field or value of a packed hash, in bytes.",
    ),
    number(
        "list-max-listpack-size",
        -2,
        i32::MIN as i64,
        i32::MAX as i64,
        false,
        "Size of a packed list: so many elements, or from -1 to -5 4, 8, 16, 32 or 64 kb.",
    ),
    number(
        "set-max-intset-entries",
        512,
        0,
        i64::MAX,
        false,
        "Most members of a set of integers that OBJECT ENCODING calls an intset.",
    ),
    number(
        "zset-max-listpack-entries",
        128,
        0,
        i64::MAX,
        false,
        "Most members of a sorted set that is kept packed.",
    ),
    number(
        "zset-max-listpack-value",
        64,
        0,
        i64::MAX,
        false,
        "Longest member of a packed sorted set, in bytes.",
    ),
    text(
        "route",
        "",
        false,
        "Globs of keys, with blanks between them, that plain commands find among the durable ones.",
    ),
    number(
        "hll-sparse-max-bytes",
        3000,
        0,
        i64::MAX,
        true,
        "Longest HyperLogLog in the sparse form.",
    ),
];

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // each is described in SETTINGS
pub struct Settings {
    pub dir: String,
    pub dbfilename: String,
    pub appenddirname: String,
    pub appendfilename: String,
    pub file_mode: FileMode,
    pub save: String,
    pub stop_writes_on_bgsave_error: bool,
    pub rdbcompression: bool,
    pub rdbchecksum: bool,
    pub appendonly: bool,
    pub appendfsync: FsyncPolicy,
    pub no_appendfsync_on_rewrite: bool,
    pub aof_timestamp_enabled: bool,
    pub aof_use_rdb_preamble: bool,
    pub aof_load_truncated: bool,
    pub on_corruption: OnCorruption,
    pub max_at_risk_ms: i64,
    pub auto_aof_rewrite_percentage: i64,
    pub auto_aof_rewrite_min_size: i64,
    pub maxmemory: i64,
    pub stream_node_max_entries: i64,
    pub stream_node_max_bytes: i64,
    pub hash_max_listpack_entries: i64,
    pub hash_max_listpack_value: i64,
    pub list_max_listpack_size: i64,
    pub set_max_intset_entries: i64,
    pub zset_max_listpack_entries: i64,
    pub zset_max_listpack_value: i64,
    pub route: String,
    pub hll_sparse_max_bytes: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            dir: String::new(),
            dbfilename: "persist.rdb".into(),
            appenddirname: "persist-aof".into(),
            appendfilename: "persist.aof".into(),
            file_mode: FileMode::Owner,
            save: "default".into(),
            stop_writes_on_bgsave_error: true,
            rdbcompression: true,
            rdbchecksum: true,
            appendonly: true,
            appendfsync: FsyncPolicy::Everysec,
            no_appendfsync_on_rewrite: false,
            aof_timestamp_enabled: false,
            aof_use_rdb_preamble: true,
            aof_load_truncated: true,
            on_corruption: OnCorruption::Stop,
            max_at_risk_ms: 2_000,
            auto_aof_rewrite_percentage: 100,
            auto_aof_rewrite_min_size: 64 << 20,
            maxmemory: 0,
            stream_node_max_entries: 100,
            stream_node_max_bytes: 4096,
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            list_max_listpack_size: -2,
            set_max_intset_entries: 512,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            route: String::new(),
            hll_sparse_max_bytes: 3000,
        }
    }
}

/// Why a value was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting(pub String);

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of the lock's file.
pub const LOCK: &str = "persist.lock";
/// Name of the folder for what can't be used.
pub const QUARANTINE: &str = "quarantine";
/// How names of temporary files begin. The host's own (`temp-<pid>.rdb`) may
/// stand in the same folder and must not match.
pub const TEMP: &str = "temp-persist-";

/// A name that stays inside its folder, and isn't one that the module gives by
/// itself: a snapshot called so would be removed as left over, say.
fn plain_name(name: &str, value: &str) -> Result<(), BadSetting> {
    if value.is_empty() || value == "." || value == ".." || value.contains(['/', '\0', '\n']) {
        return Err(BadSetting(format!(
            "persist.{name} must be a plain file name, not a path"
        )));
    }
    if value == LOCK || value == QUARANTINE || value.starts_with(TEMP) {
        return Err(BadSetting(format!(
            "persist.{name} can't be '{value}': the module gives that name to files of its own"
        )));
    }
    Ok(())
}

/// Parses `seconds changes [seconds changes ...]`; empty means none.
///
/// # Errors
/// Odd or bad numbers.
pub fn parse_save(value: &str) -> Result<Vec<SavePoint>, BadSetting> {
    let bad = || BadSetting("Invalid save parameters".into());
    let mut points = Vec::new();
    let mut words = value.split_whitespace();
    while let Some(seconds) = words.next() {
        let seconds: u64 = seconds.parse().map_err(|_| bad())?;
        let changes: i64 = words.next().ok_or_else(bad)?.parse().map_err(|_| bad())?;
        if seconds < 1 || changes < 0 {
            return Err(bad());
        }
        points.push(SavePoint {
            seconds,
            changes: changes as u64,
        });
    }
    Ok(points)
}

impl Settings {
    /// Takes what these settings say of the sizes of values into `limits`.
    pub fn set_limits(&self, limits: &mut Limits) {
        let positive = |n: i64| u64::try_from(n).unwrap_or(0);
        let size = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
        // As in Redis: elements, of 8 KiB at most, or one of five sizes in bytes.
        let (list_entries, list_bytes) = match self.list_max_listpack_size {
            n @ 0.. => (size(n).max(1), 8192),
            n => (usize::MAX, 4096 << (-1 - n.max(-5))),
        };
        limits.list_max_listpack_entries = list_entries;
        limits.list_max_listpack_bytes = list_bytes;
        limits.hash_max_listpack_entries = size(self.hash_max_listpack_entries);
        limits.hash_max_listpack_value = size(self.hash_max_listpack_value);
        limits.set_max_intset_entries = size(self.set_max_intset_entries);
        limits.zset_max_listpack_entries = size(self.zset_max_listpack_entries);
        limits.zset_max_listpack_value = size(self.zset_max_listpack_value);
        limits.hll_sparse_max_bytes = size(self.hll_sparse_max_bytes);
        limits.stream_node_max_entries = positive(self.stream_node_max_entries);
        limits.stream_node_max_bytes = positive(self.stream_node_max_bytes);
    }

    /// The save points in force.
    pub fn save_points(&self) -> Vec<SavePoint> {
        match self.save.as_str() {
            "default" if self.appendonly => Vec::new(),
            "default" => parse_save("3600 1 300 100 60 10000").unwrap_or_default(),
            text => parse_save(text).unwrap_or_default(),
        }
    }

    /// Checks and takes a text setting.
    ///
    /// # Errors
    /// Why the value is refused; the old one stays.
    pub fn set_text(&mut self, name: &str, value: &str) -> Result<(), BadSetting> {
        match name {
            "dir" => self.dir = value.into(),
            "dbfilename" => {
                plain_name(name, value)?;
                self.dbfilename = value.into();
            }
            "appenddirname" => {
                plain_name(name, value)?;
                self.appenddirname = value.into();
            }
            "appendfilename" => {
                plain_name(name, value)?;
                if value.contains(char::is_whitespace) {
                    return Err(BadSetting(
                        "persist.appendfilename can't contain blanks".into(),
                    ));
                }
                self.appendfilename = value.into();
            }
            "save" => {
                if value != "default" {
                    parse_save(value)?;
                }
                self.save = value.into();
            }
            "route" => self.route = value.into(),
            "appendfsync" => {
                self.appendfsync = match value {
                    "always" => FsyncPolicy::Always,
                    "everysec" => FsyncPolicy::Everysec,
                    "no" => FsyncPolicy::No,
                    _ => {
                        return Err(BadSetting(
                            "argument(s) must be one of the following: always, everysec, no".into(),
                        ));
                    }
                }
            }
            "file-mode" => {
                self.file_mode = FileMode::parse(value).ok_or_else(|| {
                    BadSetting("argument(s) must be one of the following: 600, 640, 660".into())
                })?;
            }
            "on-corruption" => {
                self.on_corruption = match value {
                    "stop" => OnCorruption::Stop,
                    "salvage" => OnCorruption::Salvage,
                    "fallback" => OnCorruption::Fallback,
                    _ => {
                        return Err(BadSetting(
                            "argument(s) must be one of the following: stop, salvage, fallback"
                                .into(),
                        ));
                    }
                }
            }
            _ => return Err(BadSetting(format!("unknown setting persist.{name}"))),
        }
        Ok(())
    }

    /// Refuses names that would put two things into one place; `hosts` are
    /// those of the host's own in the same folder.
    ///
    /// # Errors
    /// Which name.
    pub fn check_names(&self, hosts: &[&str]) -> Result<(), BadSetting> {
        let (snapshot, log) = (&self.dbfilename, &self.appenddirname);
        if snapshot == log {
            return Err(BadSetting(format!(
                "persist.dbfilename and persist.appenddirname can't both be '{log}'"
            )));
        }
        for (name, value) in [("dbfilename", snapshot), ("appenddirname", log)] {
            if hosts.contains(&value.as_str()) {
                return Err(BadSetting(format!(
                    "persist.{name} can't be '{value}': the server keeps data of its own there. Take another name, or another persist.dir"
                )));
            }
        }
        Ok(())
    }

    /// Takes a yes-or-no setting.
    ///
    /// # Errors
    /// No such setting.
    pub fn set_bool(&mut self, name: &str, value: bool) -> Result<(), BadSetting> {
        *match name {
            "stop-writes-on-bgsave-error" => &mut self.stop_writes_on_bgsave_error,
            "rdbcompression" => &mut self.rdbcompression,
            "rdbchecksum" => &mut self.rdbchecksum,
            "appendonly" => &mut self.appendonly,
            "no-appendfsync-on-rewrite" => &mut self.no_appendfsync_on_rewrite,
            "aof-timestamp-enabled" => &mut self.aof_timestamp_enabled,
            "aof-use-rdb-preamble" => &mut self.aof_use_rdb_preamble,
            "aof-load-truncated" => &mut self.aof_load_truncated,
            _ => return Err(BadSetting(format!("unknown setting persist.{name}"))),
        } = value;
        Ok(())
    }

    /// Takes a number; the bounds are the declaration's.
    ///
    /// # Errors
    /// No such setting.
    pub fn set_number(&mut self, name: &str, value: i64) -> Result<(), BadSetting> {
        *match name {
            "max-at-risk-ms" => &mut self.max_at_risk_ms,
            "auto-aof-rewrite-percentage" => &mut self.auto_aof_rewrite_percentage,
            "auto-aof-rewrite-min-size" => &mut self.auto_aof_rewrite_min_size,
            "maxmemory" => &mut self.maxmemory,
            "stream-node-max-entries" => &mut self.stream_node_max_entries,
            "stream-node-max-bytes" => &mut self.stream_node_max_bytes,
            "hash-max-listpack-entries" => &mut self.hash_max_listpack_entries,
            "hash-max-listpack-value" => &mut self.hash_max_listpack_value,
            "list-max-listpack-size" => &mut self.list_max_listpack_size,
            "set-max-intset-entries" => &mut self.set_max_intset_entries,
            "zset-max-listpack-entries" => &mut self.zset_max_listpack_entries,
            "zset-max-listpack-value" => &mut self.zset_max_listpack_value,
            "hll-sparse-max-bytes" => &mut self.hll_sparse_max_bytes,
            _ => return Err(BadSetting(format!("unknown setting persist.{name}"))),
        } = value;
        Ok(())
    }

    /// The value in force, as CONFIG GET shows it; `None` for no such setting.
    pub fn get(&self, name: &str) -> Option<SettingValue<'_>> {
        Some(match name {
            "dir" => SettingValue::Text(&self.dir),
            "dbfilename" => SettingValue::Text(&self.dbfilename),
            "appenddirname" => SettingValue::Text(&self.appenddirname),
            "appendfilename" => SettingValue::Text(&self.appendfilename),
            "save" => SettingValue::Text(&self.save),
            "route" => SettingValue::Text(&self.route),
            "appendfsync" => SettingValue::Text(match self.appendfsync {
                FsyncPolicy::Always => "always",
                FsyncPolicy::Everysec => "everysec",
                FsyncPolicy::No => "no",
            }),
            "file-mode" => SettingValue::Text(self.file_mode.word()),
            "on-corruption" => SettingValue::Text(match self.on_corruption {
                OnCorruption::Stop => "stop",
                OnCorruption::Salvage => "salvage",
                OnCorruption::Fallback => "fallback",
            }),
            "stop-writes-on-bgsave-error" => SettingValue::Bool(self.stop_writes_on_bgsave_error),
            "rdbcompression" => SettingValue::Bool(self.rdbcompression),
            "rdbchecksum" => SettingValue::Bool(self.rdbchecksum),
            "appendonly" => SettingValue::Bool(self.appendonly),
            "no-appendfsync-on-rewrite" => SettingValue::Bool(self.no_appendfsync_on_rewrite),
            "aof-timestamp-enabled" => SettingValue::Bool(self.aof_timestamp_enabled),
            "aof-use-rdb-preamble" => SettingValue::Bool(self.aof_use_rdb_preamble),
            "aof-load-truncated" => SettingValue::Bool(self.aof_load_truncated),
            "max-at-risk-ms" => SettingValue::Number(self.max_at_risk_ms),
            "auto-aof-rewrite-percentage" => SettingValue::Number(self.auto_aof_rewrite_percentage),
            "auto-aof-rewrite-min-size" => SettingValue::Number(self.auto_aof_rewrite_min_size),
            "maxmemory" => SettingValue::Number(self.maxmemory),
            "stream-node-max-entries" => SettingValue::Number(self.stream_node_max_entries),
            "stream-node-max-bytes" => SettingValue::Number(self.stream_node_max_bytes),
            "hash-max-listpack-entries" => SettingValue::Number(self.hash_max_listpack_entries),
            "hash-max-listpack-value" => SettingValue::Number(self.hash_max_listpack_value),
            "list-max-listpack-size" => SettingValue::Number(self.list_max_listpack_size),
            "set-max-intset-entries" => SettingValue::Number(self.set_max_intset_entries),
            "zset-max-listpack-entries" => SettingValue::Number(self.zset_max_listpack_entries),
            "zset-max-listpack-value" => SettingValue::Number(self.zset_max_listpack_value),
            "hll-sparse-max-bytes" => SettingValue::Number(self.hll_sparse_max_bytes),
            _ => return None,
        })
    }
}

/// A setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingValue<'a> {
    /// Text or a choice.
    Text(&'a str),
    /// `yes` or `no`.
    Bool(bool),
    /// A number.
    Number(i64),
}

#[cfg(test)]
mod tests;
