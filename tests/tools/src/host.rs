//! Which server is under test, and which one to compare it with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::{server_binary, workspace};
use crate::{Error, Result};

/// A server's kind and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Valkey, or else Redis.
    pub valkey: bool,
    /// As in 7.0.15.
    pub version: (u32, u32),
}

impl Host {
    /// Is it a Redis of this version or a later one?
    pub fn is_redis(&self, since: (u32, u32)) -> bool {
        !self.valkey && self.version >= since
    }

    /// Is it a Valkey of this version or a later one?
    pub fn is_valkey(&self, since: (u32, u32)) -> bool {
        self.valkey && self.version >= since
    }
}

/// What a server says that it is.
pub fn host_of(binary: &Path) -> Result<Host> {
    let bad = |why: String| Error::new(format!("{} --version: {why}", binary.display()));
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .map_err(|error| bad(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split("v=").nth(1).and_then(|rest| {
        let mut parts = rest.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    Ok(Host {
        valkey: text.starts_with("Valkey"),
        version: version.ok_or_else(|| bad(text))?,
    })
}

/// The server under test.
pub fn host() -> Result<Host> {
    host_of(&server_binary())
}

/// A Redis of this version, to compare with: the server under test, the one of this machine, or one that `make hosts` has
/// fetched.
pub fn reference(version: (u32, u32)) -> Result<PathBuf> {
    let name = format!("redis-{}.{}", version.0, version.1);
    let fetched = workspace().join(".cache/hosts").join(&name);
    let wanted = Host {
        valkey: false,
        version,
    };
    [
        server_binary(),
        "redis-server".into(),
        fetched.join("redis-server"),
    ]
    .into_iter()
    .find(|binary| host_of(binary).is_ok_and(|host| host == wanted))
    .ok_or_else(|| {
        Error::new(format!(
            "no {name} to compare with: run `make hosts HOST={name}`"
        ))
    })
}
