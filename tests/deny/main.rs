//! What this project is made of: licences, where crates come from, which are there twice, and what is known against them.
//!
//! `make deny` also asks RustSec's advisories, if it can fetch them: `tests/deny/known.rs`.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod advisories;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use persist_tools::server::workspace;

/// Licences that let this project stay under MIT.
const ALLOWED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Unicode-3.0",
    "Zlib",
    "0BSD",
    "Unlicense",
];

/// In two versions, since redis-module 2 wants older ones, or bindgen, which it builds with.
const TWICE: &[&str] = &["bitflags", "heck", "num-traits", "quote", "shlex", "syn"];

/// Name, version and licence of all crates, those of tests too.
fn crates() -> BTreeMap<(String, String), String> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["tree", "--workspace", "--locked", "--prefix", "none"])
        .args(["--edges", "normal,build,dev", "--format", "{p}\t{l}"])
        .current_dir(workspace())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {errors}");
    let mut found = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let Some((package, licence)) = line.split_once('\t') else {
            continue;
        };
        let mut words = package.split(' ');
        let name = words.next().unwrap().to_owned();
        let version = words.next().unwrap().trim_start_matches('v').to_owned();
        let licence = licence.trim_end_matches(" (*)").to_owned();
        found.insert((name, version), licence);
    }
    assert!(found.len() > 50, "cargo tree says: {found:?}");
    found
}

/// Splits at `word` outside of brackets.
fn split<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && at >= from && text[at..].starts_with(word) => {
                parts.push(&text[from..at]);
                from = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// Whether a licence's expression leaves a way that is allowed.
fn is_allowed(licence: &str) -> bool {
    let licence = licence.trim();
    if let ways @ [_, _, ..] = &split(licence, " OR ")[..] {
        return ways.iter().any(|way| is_allowed(way));
    }
    if let all @ [_, _, ..] = &split(licence, " AND ")[..] {
        return all.iter().all(|one| is_allowed(one));
    }
    match licence.strip_prefix('(').and_then(|l| l.strip_suffix(')')) {
        Some(inner) => is_allowed(inner),
        None => ALLOWED.contains(&licence),
    }
}

#[test]
fn every_licence_is_known_and_allowed() {
    for (licence, allowed) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0", false),
        ("MIT OR (GPL-3.0 AND ISC)", true),
        ("", false),
    ] {
        assert_eq!(is_allowed(licence), allowed, "{licence}");
    }
    let wrong: Vec<_> = crates()
        .into_iter()
        // An older way to write it.
        .filter(|(_, licence)| !is_allowed(&licence.replace(" / ", "/").replace('/', " OR ")))
        .collect();
    assert!(
        wrong.is_empty(),
        "not in ALLOWED of tests/deny/main.rs: {wrong:?}"
    );
}

#[test]
fn no_crate_is_there_twice_without_a_reason() {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, version) in crates().into_keys() {
        names.entry(name).or_default().insert(version);
    }
    names.retain(|_, versions| versions.len() > 1);
    let found: Vec<&str> = names.keys().map(String::as_str).collect();
    assert_eq!(found, TWICE, "{names:?}");
}

/// From crates.io alone, each with its checksum; our own crates are those of the workspace.
#[test]
fn crates_come_from_the_registry() {
    let root = workspace();
    for lock in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        let text = std::fs::read_to_string(root.join(lock)).unwrap();
        let mut seen = 0;
        for package in text.split("[[package]]").skip(1) {
            let field = |name: &str| {
                let line = package.lines().find_map(|l| l.strip_prefix(name));
                line.map(|rest| {
                    rest.trim_start_matches([' ', '=', '"'])
                        .trim_end_matches('"')
                })
            };
            let name = field("name").unwrap();
            match field("source") {
                None => assert!(name.contains("persist"), "{lock}: {name} is nobody's"),
                Some(source) => {
                    assert_eq!(
                        source, "registry+https://github.com/rust-lang/crates.io-index",
                        "{lock}: {name}"
                    );
                    assert!(
                        field("checksum").is_some(),
                        "{lock}: {name} has no checksum"
                    );
                }
            }
            seen += 1;
        }
        assert!(seen > 10, "{lock}: {seen} crates");
    }
    for toml in [
        "Cargo.toml",
        "src/engine/Cargo.toml",
        "src/cli/Cargo.toml",
        "tests/tools/Cargo.toml",
        "tests/fuzz/Cargo.toml",
    ] {
        let text = std::fs::read_to_string(root.join(toml)).unwrap();
        for line in text.lines() {
            assert!(
                !line.contains("\"*\"") && !line.contains("git ="),
                "{toml}: {line}"
            );
        }
    }
}

#[test]
fn advisories_are_read_right() {
    for (version, requirement, met) in [
        ("1.2.3", ">= 1.2.3", true),
        ("1.2.2", ">= 1.2.3", false),
        ("1.2.3-alpha", ">= 1.2.3", false),
        ("0.4.9", "< 0.5", true),
        ("0.5.0", "< 0.5", false),
        ("1.9.0", "^1.2", true),
        ("2.0.0", "^1.2", false),
        ("0.2.9", "^0.2.3", true),
        ("0.3.0", "^0.2.3", false),
        ("1.2.9", "~1.2.3", true),
        ("1.3.0", "~1.2.3", false),
        ("1.5.0", ">= 1.0, < 2.0", true),
        ("2.5.0", ">= 1.0, < 2.0", false),
        ("10.0.0", "> 9.9.9", true),
        ("1.0.0", "!= 2", false),
    ] {
        assert_eq!(
            advisories::meets(version, requirement),
            met,
            "{version} {requirement}"
        );
    }
    let db = tempfile::tempdir().unwrap();
    let folder = db.path().join("crates/leaky");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |id: &str, more: &str| {
        let text = format!(
            "```toml\n[advisory]\nid = \"{id}\"{more}\n[versions]\npatched = [\">= 1.2.3\",\n \"^1.1.5\"]\nunaffected = [\"< 1.0\"]\n```\n\n# It leaks\n"
        );
        std::fs::write(folder.join(format!("{id}.md")), text).unwrap();
    };
    write("RUSTSEC-2026-0001", "");
    write("RUSTSEC-2026-0002", "\nwithdrawn = \"2026-02-02\"");
    for (version, hit) in [
        ("0.9.0", false),
        ("1.0.0", true),
        ("1.1.4", true),
        ("1.1.5", false),
        ("1.2.3", false),
    ] {
        let found = advisories::advisories(db.path(), "leaky", version);
        let want: &[&str] = if hit { &["RUSTSEC-2026-0001"] } else { &[] };
        assert_eq!(found, want, "{version}");
    }
    assert!(advisories::advisories(db.path(), "sound", "1.0.0").is_empty());
}
