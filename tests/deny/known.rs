//! What is known against the crates of Cargo.lock: `make deny`, with `ADVISORY_DB`, a copy of RustSec's advisory-db.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
mod advisories;

use std::path::Path;

use persist_tools::server::workspace;

/// Advisories that don't matter here, each with the reason.
const HARMLESS: &[(&str, &str)] = &[];

#[test]
fn nothing_is_known_against_any_crate() {
    let db = std::env::var_os("ADVISORY_DB").expect("ADVISORY_DB: a copy of RustSec's advisory-db");
    let db = Path::new(&db);
    let known = std::fs::read_dir(db.join("crates")).expect("folders of crates");
    assert!(known.count() > 100, "{}: that isn't all", db.display());
    let (mut found, mut seen) = (Vec::new(), 0);
    for lock in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        let text = std::fs::read_to_string(workspace().join(lock)).unwrap();
        for package in text.split("[[package]]").skip(1) {
            let mut quoted = package.split('"').skip(1).step_by(2);
            let (name, version) = (quoted.next().unwrap(), quoted.next().unwrap());
            seen += 1;
            for id in advisories::advisories(db, name, version) {
                if !HARMLESS.iter().any(|(harmless, _)| *harmless == id) {
                    found.push(format!("{name} {version}: {id}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(seen > 100, "only {seen} crates");
}
