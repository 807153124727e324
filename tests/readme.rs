//! The README's tables of settings and commands are what the declarations say.
//! `UPDATE_README=1 cargo test --test readme` rewrites them. No server needed.
#![allow(clippy::expect_used)]

use std::fmt::Write;
use std::path::Path;

use persist_engine::command::syntax::{self, Plain};
use persist_engine::command::{Group, Spec, table};
use persist_engine::settings::{SETTINGS, SettingKind};

/// Text in a cell of a table: a bar would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A number of bytes as redis.conf writes it.
fn memory(bytes: i64) -> String {
    match bytes {
        0 => "0".into(),
        n if n % (1 << 20) == 0 => format!("{}mb", n >> 20),
        n => n.to_string(),
    }
}

fn settings() -> String {
    let mut out = String::from(
        "| setting | default | values | live | what it does |\n|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let (default, values) = match setting.kind {
            SettingKind::Bool { default } => {
                (if default { "yes" } else { "no" }.into(), "yes, no".into())
            }
            SettingKind::Number {
                default,
                memory: true,
                ..
            } => (memory(default), "bytes, or `64mb`".into()),
            SettingKind::Number {
                default, min, max, ..
            } => (default.to_string(), format!("{min} to {max}")),
            SettingKind::Text { default: "" } => ("(empty)".into(), "text".into()),
            SettingKind::Text { default } => (default.to_string(), "text".into()),
            SettingKind::Choice { default, words } => (default.to_string(), words.join(", ")),
        };
        let live = if setting.immutable { "no" } else { "yes" };
        let about = cell(setting.about);
        let _ = writeln!(
            out,
            "| `{}` | {default} | {values} | {live} | {about} |",
            setting.name
        );
    }
    out
}

fn title(group: Group) -> &'static str {
    match group {
        Group::String => "Strings",
        Group::Generic => "Keys of any kind",
        Group::List => "Lists",
        Group::Set => "Sets",
        Group::Hash => "Hashes",
        Group::SortedSet => "Sorted sets",
        Group::Stream => "Streams",
        Group::Bitmap => "Bitmaps",
        Group::HyperLogLog => "HyperLogLogs",
        Group::Geo => "Places",
    }
}

fn commands() -> String {
    let mut groups: Vec<(Group, Vec<&Spec>)> = Vec::new();
    for spec in table::all() {
        match groups.iter_mut().find(|(group, _)| *group == spec.group) {
            Some((_, specs)) => specs.push(spec),
            None => groups.push((spec.group, vec![spec])),
        }
    }
    let mut out = format!("{} commands.\n", table::all().count());
    for (group, mut specs) in groups {
        specs.sort_by_key(|spec| spec.name);
        let _ = writeln!(
            out,
            "\n**{}**\n\n| command | arguments | since | what it does |\n|---|---|---|---|",
            title(group)
        );
        for spec in specs {
            let arguments = match &syntax::parse(spec.syntax).expect(spec.name)[..] {
                [] => String::new(),
                args => format!("`{}`", cell(&Plain(args).to_string())),
            };
            let _ = writeln!(
                out,
                "| `{}` | {arguments} | {} | {} |",
                spec.name,
                spec.since,
                cell(spec.summary)
            );
        }
    }
    out
}

/// The commands about persistence, and the ACL categories of each. They are
/// declared in the module, which a test can't link: this reads its text.
fn admin_commands() -> Vec<(&'static str, &'static str)> {
    let source = include_str!("../src/module/admin.rs");
    let field = |text: &'static str, name: &str| {
        let (_, rest) = text.split_once(name)?;
        rest.split('"').nth(1)
    };
    let commands = source.split("    Admin {").skip(1);
    commands
        .filter_map(|text| Some((field(text, "name:")?, field(text, "categories:")?)))
        .collect()
}

/// What Redis 7.0 wants to be told by name.
fn rules() -> String {
    let mut out = String::from("| with | also |\n|---|---|\n");
    for category in ["dangerous", "admin"] {
        let data = table::all().filter(|spec| {
            category == "dangerous" && spec.flags.has(persist_engine::command::Flags::DANGEROUS)
        });
        let admin = admin_commands().into_iter();
        let admin = admin.filter(|(_, all)| all.split(' ').any(|one| one == category));
        let names = data
            .map(|spec| spec.name)
            .chain(admin.map(|(name, _)| name));
        let mut names: Vec<String> = names
            .map(|name| format!("-persist.{}", name.to_ascii_lowercase()))
            .collect();
        names.sort();
        let _ = writeln!(out, "| `-@{category}` | `{}` |", names.join(" "));
    }
    out
}

/// `text` with `table` between the markers of `name`.
fn with_table(text: &str, name: &str, table: &str) -> Option<String> {
    let begin = format!("<!-- {name}: made by tests/readme.rs -->\n");
    let end = format!("<!-- end of {name} -->");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{table}\n{end}{after}"))
}

fn readme() -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (path, text)
}

#[test]
fn tables_are_what_is_declared() {
    let (path, text) = readme();
    let mut wanted = text.clone();
    for (name, table) in [
        ("settings", settings()),
        ("commands", commands()),
        ("rules", rules()),
    ] {
        wanted = with_table(&wanted, name, &table)
            .unwrap_or_else(|| panic!("README.md has no markers for the table of {name}"));
    }
    if std::env::var_os("UPDATE_README").is_some_and(|v| v == "1") {
        std::fs::write(&path, &wanted).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    } else if let Some((got, want)) = text.lines().zip(wanted.lines()).find(|(a, b)| a != b) {
        panic!(
            "README.md differs from the declarations; UPDATE_README=1 cargo test --test readme rewrites it.\nin the file: {got}\ndeclared:    {want}"
        );
    } else {
        assert_eq!(text, wanted, "README.md differs in its end");
    }
}

#[test]
fn every_engine_command_is_described() {
    let (_, readme) = readme();
    let commands = admin_commands();
    assert_eq!(commands.len(), 10, "{commands:?}");
    for (name, _) in commands {
        assert!(
            readme.contains(&format!("| `PERSIST.{name}")),
            "README.md has no row for PERSIST.{name}"
        );
    }
}

/// What is said to be in the tour of the code is there.
#[test]
fn every_path_in_the_tour_exists() {
    let (_, readme) = readme();
    let tour = readme
        .split_once("## Tour of the code")
        .map(|(_, tour)| tour.split("\n## ").next().unwrap_or(tour))
        .expect("README.md has a tour of the code");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for path in tour.split('`').skip(1).step_by(2) {
        if ["src/", "tests/", ".ci/"]
            .iter()
            .any(|start| path.starts_with(start))
        {
            found += 1;
            assert!(
                root.join(path).exists(),
                "README.md names {path}, which is missing"
            );
        }
    }
    assert!(found > 10, "only {found} paths found");
}

/// What stands in a call's brackets, or a block's, which `text` begins with.
fn bracketed(text: &str) -> &str {
    let (mut depth, mut quoted, mut skip) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if skip => skip = false,
            b'\\' if quoted => skip = true,
            b'"' => quoted = !quoted,
            b'(' | b'{' | b'[' if !quoted => depth += 1,
            b')' | b'}' | b']' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// The texts in quotes of a piece of code.
fn quoted(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some((_, begun)) = rest.split_once('"') {
        let mut skip = false;
        let end = begun.bytes().position(|byte| {
            let ends = byte == b'"' && !skip;
            skip = byte == b'\\' && !skip;
            ends
        });
        let Some(end) = end else { break };
        // A line that goes on in the next one.
        let lines = begun[..end].split("\\\n").map(str::trim_start);
        found.push(lines.collect::<String>());
        rest = &begun[end + 1..];
    }
    found
}

/// Whether this is more than a word that is put into another text.
fn says_something(part: &str) -> bool {
    part.split(' ').filter(|word| word.len() > 1).count() >= 3
}

/// The first part of a text that says something, without the names and numbers around it.
fn stable(text: &str) -> Option<&str> {
    let parts = text.split('{').enumerate().map(|(n, part)| match n {
        0 => part,
        _ => part.split_once('}').map_or("", |(_, rest)| rest),
    });
    let mut parts = parts.map(|part| part.trim_matches([' ', '\'', ':', '.', ',', ';', '(', ')']));
    parts.find(|part| says_something(part))
}

/// Where operators' texts are made: what is logged, why a start or a command is refused.
const MADE: &[&str] = &[
    ".log(",
    "ffi::log(",
    "LoadError::new(",
    "CommandError::text(",
    "CommandError::Text(",
    "reply_error(",
    "BadSetting(",
    "remarks.push(",
    "lines.push(",
    ".keys_of(",
    "Err(format!(",
    "Next::Done(",
    "match found.source {",
    "fn told(&self) -> String {",
    "fn acquire(dir: &str, mode: FileMode) -> Result<(), String> {",
    "f.write_str(",
    "io::Error::new(",
    "damaged(",
    ".ok_or(",
    ".map_err(",
    "fn summary(&self) -> String {",
    "self.cancel_rewrite(",
    "self.fail_rewrite(",
    "self.kill_child(",
    "ChildEnd::Killed(signal) => format!(",
    "ChildEnd::Exited(code) => format!(",
    "let threads = |e: std::io::Error| format!(",
    "task.failed(&format!(",
    "out.push_str(&format!(",
    "write!(",
];

fn sources(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir)
        .expect("a folder of sources")
        .flatten()
    {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Whoever reads a line of the log or an error finds in the README what to do.
#[test]
fn every_text_for_operators_is_explained() {
    let (_, readme) = readme();
    let refused = readme.split_once("\n## When it refuses to start\n");
    let (_, rest) = refused.expect("README.md says what to do when it refuses");
    let (guide, _) = rest
        .split_once("<!-- end of texts -->")
        .expect("README.md has an end of the texts");
    let guide = guide.replace(['`', '\n'], "");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("src/engine/src/engine.rs")];
    for dir in [
        "src/module",
        "src/engine/src/io",
        "src/engine/src/persist",
        "src/engine/src/route",
    ] {
        sources(&root.join(dir), &mut files);
    }
    files.push(root.join("src/engine/src/settings.rs"));
    let (mut seen, mut missing) = (0, Vec::new());
    let mut everything = String::new();
    for file in files {
        // Only the offline tool's.
        if ["reseal.rs", "plan.rs"]
            .iter()
            .any(|name| file.ends_with(name))
        {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a source");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines = code.split("\\\n").map(str::trim_start);
        everything.extend(lines);
        let advice = code.split("_ADVICE: &str =").skip(1);
        let advice = advice.map(|text| text.split(';').next().unwrap_or_default());
        let calls = MADE.iter().flat_map(|made| {
            let found = code.match_indices(made);
            found.map(|(at, _)| bracketed(&code[at + made.len() - 1..]))
        });
        for call in advice.chain(calls) {
            for told in quoted(call) {
                let told = told.trim_start_matches("ERR ");
                let Some(part) = stable(told) else { continue };
                seen += 1;
                let begin: String = part.chars().take(40).collect();
                let begin = begin.trim_end();
                if !guide.contains(begin) {
                    missing.push(format!("{}: {told}", file.display()));
                }
            }
        }
    }
    missing.sort();
    missing.dedup();
    assert!(
        missing.is_empty(),
        "not in the guide:\n{}",
        missing.join("\n")
    );
    assert!(seen > 100, "only {seen} texts found");
    // And nothing is explained that nobody says any more.
    let rows = guide_rows(rest);
    assert!(rows.len() > 100, "only {} rows", rows.len());
    let stale: Vec<&str> = rows
        .into_iter()
        .filter(|row| {
            let row = row
                .replace(" N ", " ... ")
                .replace(" '", "...")
                .replace("' ", "...")
                .replace("N)", "...")
                .replace("NAME", "...");
            let parts = row.split("...").flat_map(|part| part.split(':'));
            let parts = parts.map(|part| {
                part.trim_start_matches("ERR ")
                    .trim_matches([' ', '.', ',', ';'])
            });
            let parts: Vec<&str> = parts.filter(|part| says_something(part)).collect();
            let said = |part: &&str| {
                let words: Vec<&str> = part.split(' ').take(4).collect();
                everything.contains(&words.join(" "))
            };
            !parts.is_empty() && !parts.iter().any(said)
        })
        .filter(|row| !NOT_OURS.contains(row))
        .collect();
    assert!(stale.is_empty(), "nobody says:\n{}", stale.join("\n"));
}

/// Texts in the guide that the host or the system says.
const NOT_OURS: &[&str] = &[
    "Module Configuration detected without loadmodule directive",
    "no space left",
];

/// The texts in the first cells of the guide's tables.
fn guide_rows(guide: &str) -> Vec<&str> {
    let (guide, _) = guide
        .split_once("<!-- end of texts -->")
        .unwrap_or((guide, ""));
    let cells = guide
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    cells
        .flat_map(|cell| cell.split("`, `"))
        .map(|text| text.split('`').next().unwrap_or(text))
        .filter(|text| says_something(text))
        .collect()
}
