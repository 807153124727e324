//! What the host, and by it every client, is told of durable commands.

use std::collections::BTreeMap;

use persist_tools::raw::{RawClient, Resp};

use crate::together::{bulk, module_commands, server};

/// What the host has no counterpart to.
const OF_THE_MODULE: &[&str] = &[
    "SAVE", "BGSAVE", "REWRITE", "SYNC", "VERIFY", "LASTSAVE", "INFO", "HELP", "_REFUSE", "ADOPT",
    "RELEASE",
];

fn fields(reply: Resp) -> BTreeMap<String, Resp> {
    let items = reply.into_items();
    items
        .chunks(2)
        .filter_map(|pair| Some((pair[0].text()?, pair[1].clone())))
        .collect()
}

#[test]
fn every_durable_command_is_described() {
    let server = server();
    let mut client = server.raw().unwrap();
    let mut wrong = Vec::new();
    for name in module_commands(&mut client) {
        let docs = client
            .words(&format!("COMMAND DOCS PERSIST.{name}"))
            .unwrap();
        let docs = fields(docs.into_items().remove(1));
        for field in ["summary", "since", "complexity"] {
            let text = docs.get(field).and_then(Resp::text).unwrap_or_default();
            if text.is_empty() {
                wrong.push(format!("{name}: no {field}"));
            }
        }
        if docs.get("module") != Some(&bulk("persist")) {
            wrong.push(format!("{name}: of no module"));
        }
        let info = |reply: Resp| reply.into_items().remove(0).into_items();
        let ours = info(
            client
                .words(&format!("COMMAND INFO PERSIST.{name}"))
                .unwrap(),
        );
        let host = info(client.words(&format!("COMMAND INFO {name}")).unwrap());
        if OF_THE_MODULE.contains(&name.as_str()) {
            continue;
        }
        // The host has a command for each subcommand.
        if ["OBJECT", "MEMORY", "XGROUP", "XINFO"].contains(&name.as_str()) || host.is_empty() {
            continue;
        }
        // 1 arity, 3 to 5 first, last and step of keys.
        for at in [1, 3, 4, 5] {
            // WITHSCORE came with 7.2.
            if at == 1 && ["ZRANK", "ZREVRANK"].contains(&name.as_str()) {
                continue;
            }
            if host.get(at) != ours.get(at) {
                wrong.push(format!(
                    "{name} {at}: host {:?}, ours {:?}",
                    host.get(at),
                    ours.get(at)
                ));
            }
        }
        let flags = |info: &[Resp]| -> Vec<String> {
            let mut flags: Vec<String> = info[2]
                .clone()
                .into_items()
                .iter()
                .filter_map(Resp::text)
                .collect();
            // The first says whose command it is, the second follows from the key specs, for the host's own by hand.
            flags.retain(|flag| flag != "module" && flag != "movablekeys");
            flags.sort();
            flags
        };
        if flags(&host) != flags(&ours) {
            wrong.push(format!(
                "{name}: flags host {:?}, ours {:?}",
                flags(&host),
                flags(&ours)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let help = client.words("PERSIST.HELP").unwrap().into_items();
    let mut names = module_commands(&mut client);
    // It is nobody's to call.
    names.retain(|name| name != "_REFUSE");
    assert_eq!(help.len(), names.len());
    for name in names {
        let line = help.iter().filter_map(Resp::text).filter(|line| {
            line.strip_prefix("PERSIST.")
                .is_some_and(|rest| rest.split([' ', ':']).next() == Some(&name))
        });
        assert_eq!(line.count(), 1, "{name}");
    }
}

/// An argument's name or kind in the host, and here: in these commands, why.
const OTHERWISE: &[(&[&str], &str, &str, &str)] = &[
    (
        &["BITOP"],
        "string operation",
        "oneof{token AND, token OR, token XOR, token NOT}",
        "as from 7.2 on",
    ),
    (
        &["GEOHASH", "GEOPOS"],
        "string member+",
        "string member?+",
        "may be left out in 7.0, too",
    ),
    (
        &["PFMERGE"],
        "key sourcekey @1+",
        "key sourcekey @1?+",
        "may be left out in 7.0, too",
    ),
    (
        &["ZRANK", "ZREVRANK"],
        "string member",
        "string member, token WITHSCORE?",
        "came with 7.2",
    ),
    (
        &["GEORADIUS", "GEORADIUSBYMEMBER"],
        "oneof{key storekey STORE @1, key storedistkey STOREDIST @2}?",
        "key key STORE @1?, key key STOREDIST @2?",
        "both may be there, as 7.0 says; the last one counts",
    ),
    (&["HSCAN"], ", token NOVALUES?", "", "came with 7.4"),
    (
        &["XCLAIM", "XAUTOCLAIM"],
        "string min-idle-time",
        "integer min-idle-time",
        "nothing else is taken",
    ),
    (
        &["ZINCRBY"],
        "integer increment",
        "double increment",
        "scores are no whole numbers",
    ),
    (
        &["ZUNION", "ZINTER", "ZUNIONSTORE", "ZINTERSTORE"],
        "integer weight",
        "double weight",
        "scores are no whole numbers",
    ),
    (
        &["SORT"],
        "STORE @2",
        "STORE @1",
        "the host has a key spec for keys that it doesn't find",
    ),
    (&["SORT", "SORT_RO"], "by-pattern", "pattern", "7.0's name"),
    (&["SORT", "SORT_RO"], "get-pattern", "pattern", "7.0's name"),
    (
        &["LCS"],
        "integer len",
        "integer min-match-len",
        "as from 7.2 on",
    ),
    (&["XCLAIM"], "lastid", "id", "7.0's name"),
    (
        &["XSETID"],
        "entries_added",
        "entries-added",
        "as from 7.2 on",
    ),
    (
        &["XSETID"],
        "max_deleted_entry_id",
        "max-deleted-id",
        "as from 7.2 on",
    ),
    (
        &["XGROUP"],
        "entries_read",
        "entries-read",
        "spelled like other names",
    ),
    (
        &["XGROUP"],
        "entriesread",
        "entries-read",
        "spelled like other names",
    ),
    (&["XGROUP", "XINFO"], "groupname", "group", "as from 7.2 on"),
    (
        &["XGROUP", "XINFO"],
        "consumername",
        "consumer",
        "as from 7.2 on",
    ),
    (
        &["XINFO"],
        "block{token FULL, integer count COUNT?}?",
        "block FULL{integer count COUNT?}?",
        "as in 7.0",
    ),
];

/// Arguments as text: kind, name, token, key spec, parts and flags. Blocks that only hold parts together in a row, and
/// the names of what isn't one value, are nothing that anybody sees.
fn arguments(docs: &BTreeMap<String, Resp>) -> String {
    let args = docs.get("arguments").cloned();
    let args = args.map_or(Vec::new(), Resp::into_items);
    row(args, ", ", true)
}

fn row(args: Vec<Resp>, between: &str, flat: bool) -> String {
    let args: Vec<String> = args.into_iter().map(|arg| argument(arg, flat)).collect();
    args.join(between)
}

fn argument(arg: Resp, flat: bool) -> String {
    let facts = fields(arg);
    let text = |name: &str| facts.get(name).and_then(Resp::text);
    let kind = text("type").expect("a type").replace("pure-token", "token");
    let flags: Vec<String> = facts.get("flags").cloned().map_or(Vec::new(), |flags| {
        flags.into_items().iter().filter_map(Resp::text).collect()
    });
    let mut out = kind.clone();
    if !["token", "oneof", "block"].contains(&kind.as_str()) {
        out += &format!(" {}", text("name").expect("a name"));
    }
    if let Some(token) = text("token") {
        out += &format!(" {token}");
    }
    // The module API has none for patterns.
    if let (Some(Resp::Int(spec)), "key") = (facts.get("key_spec_index"), kind.as_str()) {
        out += &format!(" @{spec}");
    }
    if let Some(parts) = facts.get("arguments") {
        let parts = row(parts.clone().into_items(), ", ", kind == "block");
        if flat && out == "block" && flags.is_empty() {
            return parts;
        }
        out += &format!("{{{parts}}}");
    }
    for (flag, sign) in [
        ("optional", "?"),
        ("multiple", "+"),
        ("multiple_token", "+"),
    ] {
        if flags.iter().any(|known| known == flag) {
            out += sign;
        }
    }
    out
}

fn docs(client: &mut RawClient, name: &str) -> BTreeMap<String, Resp> {
    let reply = client.words(&format!("COMMAND DOCS {name}")).unwrap();
    let mut pair = reply.into_items();
    pair.pop().map_or(BTreeMap::new(), fields)
}

#[test]
fn arguments_are_described_as_the_hosts_are() {
    let server = server();
    let mut client = server.raw().unwrap();
    let facts = client.words("INFO server").unwrap().text().unwrap();
    let valkey = facts.contains("valkey_version:");
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for name in module_commands(&mut client) {
        let (host, ours) = (
            docs(&mut client, &name),
            docs(&mut client, &format!("PERSIST.{name}")),
        );
        if host.is_empty() || OF_THE_MODULE.contains(&name.as_str()) {
            continue;
        }
        compared += 1;
        // Valkey's commands have grown other arguments.
        if valkey {
            if ours.contains_key("arguments") != host.contains_key("arguments")
                && !host.contains_key("subcommands")
            {
                wrong.push(format!("{name}: {}", arguments(&ours)));
            }
            continue;
        }
        let alike = |host: String, ours: String| {
            if host == ours {
                return None;
            }
            let host = OTHERWISE
                .iter()
                .filter(|(commands, ..)| commands.contains(&name.as_str()))
                .fold(host, |host, (_, theirs, here, _)| {
                    host.replace(theirs, here)
                });
            (host != ours).then(|| format!("{name}:\nhost {host}\nours {ours}"))
        };
        let Some(subcommands) = host.get("subcommands") else {
            wrong.extend(alike(arguments(&host), arguments(&ours)));
            continue;
        };
        // The host has a command for each subcommand, the module an alternative.
        let alternatives = alternatives(&ours);
        for pair in subcommands.clone().into_items().chunks(2) {
            let [subcommand, docs] = pair else {
                panic!("{name}: {pair:?}")
            };
            let full_name = subcommand.text().unwrap();
            let word = full_name
                .split('|')
                .next_back()
                .unwrap()
                .to_ascii_uppercase();
            match alternatives.get(&word) {
                Some(ours) => wrong.extend(alike(arguments(&fields(docs.clone())), ours.clone())),
                None if name == "MEMORY" => {} // It is about a server's whole memory.
                None => wrong.push(format!("{name}: no {word}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 160, "{compared}");
}

/// The arguments behind each subcommand.
fn alternatives(docs: &BTreeMap<String, Resp>) -> BTreeMap<String, String> {
    let args = docs["arguments"].clone().into_items();
    assert_eq!(args.len(), 1, "{args:?}");
    let parts = fields(args[0].clone())["arguments"].clone().into_items();
    parts
        .into_iter()
        .map(|part| {
            let text = argument(part, true);
            // TOKEN alone, in front of the first argument, or of all of them.
            let (before, token) = text
                .split([' ', '{', ','])
                .scan(0, |at, word| {
                    let start = *at;
                    *at += word.len() + 1;
                    Some((start, word))
                })
                .find(|(_, word)| word.len() > 1 && word.bytes().all(|c| c.is_ascii_uppercase()))
                .unwrap_or_else(|| panic!("no token: {text}"));
            let rest = &text[before + token.len()..];
            let rest = match &text[..before] {
                "token " => String::new(),
                "block " => rest[1..rest.len() - 1].to_string(),
                first => format!("{}{rest}", first.trim_end()),
            };
            (token.to_string(), rest)
        })
        .collect()
}
