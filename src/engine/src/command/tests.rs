//! Lints over the command table, and every example run.

use super::testing::{Bench, check_replay};
use super::{Flags, table};

#[test]
fn every_spec_has_examples_and_they_hold() {
    for spec in table::all() {
        assert!(!spec.examples.is_empty(), "{} has no example", spec.name);
        assert!(
            spec.examples
                .iter()
                .any(|(line, _)| line.starts_with(spec.name)),
            "{} has none of itself",
            spec.name
        );
        let mut bench = Bench::default();
        for (line, want) in spec.examples {
            assert_eq!(bench.run(line), *want, "example of {}: {line}", spec.name);
        }
        check_replay(&bench);
    }
}

#[test]
fn specs_are_consistent() {
    let mut names: Vec<&str> = table::all().map(|s| s.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a command is declared twice");
    for spec in table::all() {
        assert_eq!(spec.name, spec.name.to_ascii_uppercase());
        assert!(
            spec.flags.has(Flags::WRITE) != spec.flags.has(Flags::READONLY),
            "{}",
            spec.name
        );
        assert!(spec.summary.ends_with('.'), "{}", spec.name);
        assert!(std::ptr::eq(
            table::find(spec.name.to_ascii_lowercase().as_bytes()).unwrap(),
            spec
        ));
    }
}
