//! What users may do: on Redis 7.0 by the names of commands, later by categories, too.

use std::collections::BTreeSet;

use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::{Server, workspace};

fn ok() -> Resp {
    Resp::Simple(b"OK".to_vec())
}

/// The durable ones among a category's commands; none on a host that knows no categories of a module's commands.
fn category(admin: &mut RawClient, name: &str) -> BTreeSet<String> {
    let all = admin.words(&format!("ACL CAT {name}")).unwrap();
    let all = all.into_items().into_iter();
    all.filter_map(|name| name.text())
        .filter(|name| name.starts_with("persist."))
        .collect()
}

/// The rules of a table in the README, made of the declarations: those that stand behind `what`.
fn written(what: &str) -> BTreeSet<String> {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let row = readme
        .lines()
        .find(|line| line.starts_with(&format!("| `{what}`")));
    let rules = row.unwrap_or_else(|| panic!("no row for {what}"));
    let rules = rules.rsplit('`').nth(1).unwrap();
    let names = rules.split(' ').map(|rule| rule.strip_prefix('-').unwrap());
    names.map(str::to_owned).collect()
}

/// Whether a user may run this, keys aside.
fn may(admin: &mut RawClient, user: &str, words: &[&str]) -> Option<bool> {
    let reply = admin
        .command(&[&["ACL", "DRYRUN", user], words].concat())
        .unwrap();
    match reply {
        Resp::Error(_) => None,
        reply => Some(!reply.text().unwrap().contains("to run the")),
    }
}

#[test]
fn the_readme_says_what_is_admin_and_what_is_dangerous() {
    let server = Server::builder().with_module().start().unwrap();
    let mut admin = server.raw().unwrap();
    let (dangerous, admins) = (written("-@dangerous"), written("-@admin"));
    assert!(
        dangerous.is_superset(&admins) && admins.len() > 5,
        "{admins:?}"
    );
    let known = category(&mut admin, "dangerous");
    if !known.is_empty() {
        assert_eq!(known, dangerous);
        assert_eq!(category(&mut admin, "admin"), admins);
    }
    // As on the host itself.
    for name in [
        "flushall", "flushdb", "keys", "sort", "restore", "save", "bgsave", "info",
    ] {
        let all = admin.words("ACL CAT dangerous").unwrap().to_string();
        assert!(all.contains(name), "{name}");
        assert!(dangerous.contains(&format!("persist.{name}")), "{name}");
    }
    // A user with these rules; 7.0 takes those of the README, later hosts the category.
    for (what, names) in [("dangerous", &dangerous), ("admin", &admins)] {
        let mut rules = format!("ACL SETUSER app reset on nopass ~cart:* +@all -@{what}");
        if known.is_empty() {
            rules += &names
                .iter()
                .map(|name| format!(" -{name}"))
                .collect::<String>();
        }
        assert_eq!(admin.words(&rules).unwrap(), ok());
        let mut app = server.raw().unwrap();
        app.words("AUTH app any").unwrap();
        assert_eq!(app.words("PERSIST.SET cart:1 x").unwrap(), ok());
        for name in names {
            let about = admin.words(&format!("COMMAND INFO {name}")).unwrap();
            let about = about.into_items().remove(0).into_items();
            let Resp::Int(arity) = about[1] else {
                panic!("{name}: {about:?}");
            };
            // The number of arguments is looked at first.
            let words = " cart:1".repeat(arity.unsigned_abs() as usize - 1);
            let reply = app.words(&format!("{name}{words}")).unwrap().to_string();
            assert!(reply.contains("NOPERM"), "{name}: {reply}");
        }
        for line in [
            "PERSIST.SET other x",
            "PERSIST.GET other",
            "PERSIST.MGET cart:1 other",
            "PERSIST.RENAME cart:1 other",
        ] {
            let reply = app.words(line).unwrap().to_string();
            assert!(reply.contains("NOPERM"), "{line}: {reply}");
        }
    }
}

/// Whatever the rules for plain commands are: with what PERSIST.HELP ACL prints, they hold for durable ones.
#[test]
fn the_rules_that_help_prints_make_both_forms_alike() {
    let server = Server::builder().with_module().start().unwrap();
    let mut admin = server.raw().unwrap();
    let commands: Vec<(String, usize)> = admin
        .words("COMMAND")
        .unwrap()
        .into_items()
        .into_iter()
        .filter_map(|about| {
            let about = about.into_items();
            let name = about[0].text()?.strip_prefix("persist.")?.to_owned();
            let Resp::Int(arity) = about[1] else {
                return None;
            };
            let own = ["_user", "_refuse"].contains(&name.as_str());
            (!own).then_some((name, arity.unsigned_abs() as usize))
        })
        .collect();
    assert!(commands.len() > 190, "{}", commands.len());
    for rules in [
        "+@all",
        "+@all -@dangerous",
        "+@all -@admin",
        "+@all -@write",
        "+@all -flushall -flushdb",
        "+@all -@hash",
        "+@read",
        "+@string +del",
        "+get +set +scan",
        "+@all -save -bgsave -bgrewriteaof",
        "nocommands",
    ] {
        let user = format!("ACL SETUSER app reset on nopass ~* {rules}");
        assert_eq!(admin.words(&user).unwrap(), ok());
        let help = admin.words("PERSIST.HELP ACL app").unwrap().into_items();
        let line = help[0].text().unwrap();
        if !line.starts_with('#') {
            assert_eq!(admin.words(&line).unwrap(), ok(), "{rules}: {line}");
        }
        let again = admin.words("PERSIST.HELP ACL app").unwrap().into_items();
        let again = again[0].text().unwrap();
        assert!(again.starts_with("# Nothing to add"), "{rules}: {again}");
        let mut compared = 0;
        for (name, arity) in &commands {
            let words = vec!["1"; arity - 1];
            let durable = format!("persist.{name}");
            let durable = may(
                &mut admin,
                "app",
                &[&[durable.as_str()], &words[..]].concat(),
            );
            let like = match name.as_str() {
                "rewrite" | "adopt" | "release" => "bgrewriteaof",
                "verify" => "bgsave",
                name => name,
            };
            let plain = match like {
                "sync" | "help" => None,
                _ => may(&mut admin, "app", &[&[like], &words[..]].concat()),
            };
            if plain.is_some() {
                // What has no keys goes by no route: nothing is lacking there.
                let keyless = ["scan", "dbsize", "randomkey", "lastsave", "info", "keys"];
                if keyless.contains(&name.as_str()) && plain == Some(true) {
                    continue;
                }
                assert_eq!(durable, plain, "{rules}, then {line}: {name}");
                compared += 1;
            }
        }
        assert!(compared > 150, "{rules}: {compared}");
    }
}
