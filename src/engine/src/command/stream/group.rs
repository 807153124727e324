//! Making, changing and removing groups and consumers.

use super::super::spec::W;
use super::super::{CommandError, Cx, Group as Topic, KeyAccess, KeySpec, Spec, args};
use super::{Subcommand, bad_subcommand, error, id_or_end, no_group_of_key, open, put_help};
use super::{strict_id, subcommand};
use crate::data::stream::id::c_string;
use crate::data::stream::{Group, Stream};
use crate::keyspace::keys::{EventClass, Keys};

/// XGROUP. It isn't refused for want of memory: it also frees some.
pub static SPECS: &[Spec] = &[Spec {
    name: "XGROUP",
    arity: -2,
    flags: W,
    keys: &[KeySpec::one(2, KeyAccess::Update)],
    group: Topic::Stream,
    since: "5.0.0",
    complexity: "O(1); O(N) for DELCONSUMER where N is the number of entries pending with the consumer.",
    summary: "Creates, changes and removes the consumer groups of a stream, and their consumers.",
    syntax: "<CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read] | SETID key group <id | $> [ENTRIESREAD entries-read] | DESTROY key group | CREATECONSUMER key group consumer | DELCONSUMER key group consumer | HELP>",
    examples: &[
        ("XGROUP CREATE s g $ MKSTREAM", "OK"),
        (
            "XGROUP CREATE s g 0",
            "-BUSYGROUP Consumer Group name already exists",
        ),
        ("XGROUP SETID s g 5-5 ENTRIESREAD 3", "OK"),
        ("XGROUP CREATECONSUMER s g c", "1"),
        ("XGROUP CREATECONSUMER s g c", "0"),
        ("XGROUP DELCONSUMER s g c", "0"),
        ("XGROUP DESTROY s g", "1"),
        ("XGROUP DESTROY s g", "0"),
        (
            "XGROUP SETID s g 0",
            "-NOGROUP No such consumer group 'g' for key name 's'",
        ),
        (
            "XGROUP CREATE none g 0",
            "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
        ),
        (
            "XGROUP CREATE s g",
            "-ERR wrong number of arguments for 'persist.xgroup|create' command",
        ),
        (
            "XGROUP CREATE s g 0 FOO",
            "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try PERSIST.XGROUP HELP.",
        ),
        (
            "XGROUP FOO",
            "-ERR unknown subcommand 'FOO'. Try PERSIST.XGROUP HELP.",
        ),
        (
            "XGROUP CREATE s g 0 ENTRIESREAD -2",
            "-ERR value for ENTRIESREAD must be positive or -1",
        ),
    ],
    run: xgroup,
}];

const SUBCOMMANDS: &[Subcommand] = &[
    ("CREATE", -5),
    ("SETID", -5),
    ("DESTROY", 4),
    ("CREATECONSUMER", 5),
    ("DELCONSUMER", 5),
    ("HELP", 2),
];

const HELP: &[&str] = &[
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
];

/// What CREATE and SETID were told behind the id.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<i64>,
}

fn options(sub: &str, argv: &[&[u8]]) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut rest = argv.get(5..).unwrap_or_default().iter();
    while let Some(&word) = rest.next() {
        if sub == "CREATE" && args::is(word, "MKSTREAM") {
            options.make_stream = true;
        } else if args::is(word, "ENTRIESREAD")
            && let Some(&n) = rest.next()
        {
            let n = args::int(n)?;
            if n < -1 {
                return Err(CommandError::text(
                    "ERR value for ENTRIESREAD must be positive or -1",
                ));
            }
            options.entries_read = Some(n).filter(|n| *n >= 0);
        } else {
            return Err(bad_subcommand("XGROUP", argv));
        }
    }
    Ok(options)
}

fn xgroup(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let sub = subcommand("XGROUP", SUBCOMMANDS, argv)?;
    if sub == "HELP" {
        let head = "PERSIST.XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
        put_help(cx.reply, head, HELP);
        return Ok(());
    }
    let options = match sub {
        "CREATE" | "SETID" => options(sub, argv)?,
        _ => Options::default(),
    };
    let (key, name) = (argv[2], argv[3]);
    match open(&mut cx.ks, key)? {
        None if options.make_stream => {}
        None => {
            return Err(CommandError::text(
                "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
            ));
        }
        Some(stream) => {
            let needed = matches!(sub, "SETID" | "CREATECONSUMER" | "DELCONSUMER");
            if needed && !stream.groups.contains_key(name) {
                return Err(no_group_of_key(key, name));
            }
        }
    }
    match sub {
        "CREATE" if argv.len() <= 8 => create(cx, argv, options),
        "SETID" if matches!(argv.len(), 5 | 7) => set_id(cx, argv, options),
        "DESTROY" => destroy(cx, argv),
        "CREATECONSUMER" => create_consumer(cx, argv),
        "DELCONSUMER" => delete_consumer(cx, argv),
        _ => Err(bad_subcommand("XGROUP", argv)),
    }
}

/// The group that `argv` names, known to be there.
fn group<'k>(ks: &'k mut Keys<'_>, argv: &[&[u8]]) -> Result<&'k mut Group, CommandError> {
    let found = super::open_group(ks, argv[2], argv[3])?;
    found
        .map(|(_, group)| group)
        .ok_or_else(|| no_group_of_key(argv[2], argv[3]))
}

fn changed(cx: &mut Cx<'_>, argv: &[&[u8]], event: &'static str) {
    cx.log_verbatim(argv);
    cx.ks.changed(EventClass::Stream, event, argv[2]);
}

fn create(cx: &mut Cx<'_>, argv: &[&[u8]], options: Options) -> Result<(), CommandError> {
    let (key, name) = (argv[2], argv[3]);
    let at = |stream: Option<&Stream>| match c_string(argv[4]) {
        b"$" => Ok(stream.map(|s| s.entries.last_id).unwrap_or_default()),
        _ => strict_id(argv[4], 0),
    };
    match open(&mut cx.ks, key)? {
        Some(stream) => {
            let group = Group::new(at(Some(stream))?, options.entries_read);
            if stream.groups.contains_key(name) {
                return Err(error("BUSYGROUP Consumer Group name already exists"));
            }
            stream.groups.insert(name.into(), group);
        }
        None => {
            let group = Group::new(at(None)?, options.entries_read);
            let mut stream = Stream::default();
            stream.groups.insert(name.into(), group);
            cx.ks.put(stream.into_entry(key));
        }
    }
    changed(cx, argv, "xgroup-create");
    cx.reply.simple("OK");
    Ok(())
}

fn set_id(cx: &mut Cx<'_>, argv: &[&[u8]], options: Options) -> Result<(), CommandError> {
    let id = match c_string(argv[4]) {
        b"$" => open(&mut cx.ks, argv[2])?.map(|s| s.entries.last_id),
        _ => Some(id_or_end(argv[4], 0)?),
    };
    let group = group(&mut cx.ks, argv)?;
    group.last_id = id.unwrap_or_default();
    group.entries_read = options.entries_read;
    changed(cx, argv, "xgroup-setid");
    cx.reply.simple("OK");
    Ok(())
}

fn destroy(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (key, name) = (argv[2], argv[3]);
    let removed = open(&mut cx.ks, key)?.and_then(|s| s.groups.remove(name));
    cx.reply.int(i64::from(removed.is_some()));
    if let Some(group) = removed {
        changed(cx, argv, "xgroup-destroy");
        // What it remembered may be much.
        let mut stream = Stream::default();
        stream.groups.insert(Box::default(), group);
        cx.ks.discard(stream.into_entry(b""));
        // Who waits in XREADGROUP is to be told that there is no group.
        cx.ks.ready(key);
    }
    Ok(())
}

fn create_consumer(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let now = cx.ks.now_as_hint();
    let created = group(&mut cx.ks, argv)?.create_consumer(argv[4], now);
    if created {
        changed(cx, argv, "xgroup-createconsumer");
    }
    cx.reply.int(i64::from(created));
    Ok(())
}

fn delete_consumer(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let removed = group(&mut cx.ks, argv)?.remove_consumer(argv[4]);
    if removed.is_some() {
        changed(cx, argv, "xgroup-delconsumer");
    }
    cx.reply.int(removed.unwrap_or(0) as i64);
    Ok(())
}
