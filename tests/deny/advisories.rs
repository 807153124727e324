//! RustSec's advisories.

use std::path::Path;

/// A version's three numbers, and whether it is a finished one.
fn numbers(version: &str) -> ([u64; 3], bool) {
    let version = version.split('+').next().unwrap_or_default();
    let (main, pre) = version.split_once('-').unwrap_or((version, ""));
    let mut numbers = [0; 3];
    for (slot, part) in numbers.iter_mut().zip(main.split('.')) {
        *slot = part.parse().unwrap_or(0);
    }
    (numbers, pre.is_empty())
}

/// Whether a version meets a requirement as Cargo writes them: `>= 1.2, < 2`, `^1.2.3`, `~1.2`, `=1.0.0`.
pub fn meets(version: &str, requirement: &str) -> bool {
    let version = numbers(version);
    requirement.split(',').all(|part| {
        let part = part.trim();
        let sign = part.len() - part.trim_start_matches(['<', '>', '=', '^', '~']).len();
        let (sign, text) = part.split_at(sign);
        let text = text.trim();
        let wanted = numbers(text);
        let ([major, minor, patch], _) = wanted;
        let given = text.split('.').count();
        match sign {
            "<" => version < wanted,
            "<=" => version <= wanted,
            ">" => version > wanted,
            ">=" => version >= wanted,
            "=" => version == wanted,
            "~" if given == 1 => version >= wanted && version.0 < [major + 1, 0, 0],
            "~" => version >= wanted && version.0 < [major, minor + 1, 0],
            // The same without a sign.
            "^" | "" => {
                let end = match (major, minor) {
                    (0, 0) if given > 2 => [0, 0, patch + 1],
                    (0, _) if given > 1 => [0, minor + 1, 0],
                    _ => [major + 1, 0, 0],
                };
                version >= wanted && version.0 < end
            }
            // What can't be understood protects nobody.
            _ => false,
        }
    })
}

/// The texts in a list of the advisory's head: `patched = [">= 1.2"]`.
fn list<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let Some((_, rest)) = text.split_once(&format!("\n{name} = [")) else {
        return Vec::new();
    };
    let inner = rest.split(']').next().unwrap_or_default();
    inner.split('"').skip(1).step_by(2).collect()
}

/// The advisories of `db` that a crate's version falls under.
pub fn advisories(db: &Path, name: &str, version: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(db.join("crates").join(name))
        .into_iter()
        .flatten()
    {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // Its head is in TOML, between lines that begin and end code.
        let head = text.split("```").nth(1).unwrap_or_default();
        let safe = ["patched", "unaffected"].iter();
        let safe = safe
            .flat_map(|kind| list(head, kind))
            .any(|part| meets(version, part));
        if !safe && !head.contains("\nwithdrawn =") && head.contains("[versions]") {
            found.push(path.file_stem().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}
