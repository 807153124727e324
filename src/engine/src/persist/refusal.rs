//! Why there is no start, for the operator.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::format::FormatError;
use crate::io::DiskError;

/// Why there is no start: what, where, and what to do.
#[derive(Debug)]
pub struct LoadError {
    /// All of it, for the operator.
    pub text: String,
    /// What is damaged, if it is one file.
    pub fault: Option<Box<Fault>>,
    /// Whether files are damaged or missing; not that the system can't read
    /// them, that another version is needed, or that somebody must choose.
    pub damage: bool,
}

/// A damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong there.
    pub why: FormatError,
    /// What to do.
    pub advice: &'static str,
}

impl LoadError {
    /// One that is told in words only.
    pub fn new(text: impl Into<String>) -> Self {
        LoadError {
            text: text.into(),
            fault: None,
            damage: false,
        }
    }

    /// One of damage that isn't in one place.
    pub(super) fn of_damage(text: impl Into<String>) -> Self {
        LoadError {
            damage: true,
            ..Self::new(text)
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<DiskError> for LoadError {
    fn from(e: DiskError) -> Self {
        LoadError::new(e.to_string())
    }
}

/// A file that isn't what it should be, or that another version wrote; `advice`
/// is for the former.
pub(super) fn damaged(path: &Path, why: &FormatError, advice: &'static str) -> LoadError {
    let advice = if why.intact { NEWER_ADVICE } else { advice };
    LoadError {
        text: format!(
            "{}: {why}. Nothing was changed on disk. {advice}",
            path.display()
        ),
        fault: Some(Box::new(Fault {
            path: path.to_path_buf(),
            why: why.clone(),
            advice,
        })),
        damage: !why.intact,
    }
}

const NEWER_ADVICE: &str = "A newer version of the module wrote it: start with that one.";

pub(super) const RESTORE_ADVICE: &str =
    "Restore this file from a backup, or see what `redis-persist repair` can save.";
