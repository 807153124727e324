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
    for (name, table) in [("settings", settings()), ("commands", commands())] {
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

/// The commands about persistence are declared in the module, which a test
/// can't link: their names are read from its text.
#[test]
fn every_engine_command_is_described() {
    let (_, readme) = readme();
    let source = include_str!("../src/module/admin.rs");
    let names: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("name: \"")?.strip_suffix("\","))
        .collect();
    assert!(names.contains(&"BGSAVE"), "no names found: {names:?}");
    for name in names {
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
