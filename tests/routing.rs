//! `persist.route`: plain commands on durable keys, among everything else that a server does with commands.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::{Server, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

fn routed(route: &str) -> Server {
    Server::builder()
        .with_module()
        .config("persist.route", route)
        .start()
        .unwrap()
}

fn ok() -> Resp {
    Resp::Simple(b"OK".to_vec())
}

fn queued() -> Resp {
    Resp::Simple(b"QUEUED".to_vec())
}

fn bulk(text: &str) -> Resp {
    Resp::Bulk(text.as_bytes().to_vec())
}

fn run(client: &mut RawClient, lines: &[(&str, Resp)]) {
    for (line, expected) in lines {
        assert_eq!(&client.words(line).unwrap(), expected, "{line}");
    }
}

fn error(client: &mut RawClient, line: &str) -> String {
    let reply = client.words(line).unwrap();
    assert!(reply.is_error(), "{line}: {reply}");
    reply.text().unwrap()
}

fn both(name: &str, durable: &str, host: &str) -> String {
    format!(
        "ERR the keys of '{name}' are on both sides of persist.route: '{durable}' is durable, '{host}' is not"
    )
}

#[test]
fn plain_commands_reach_durable_keys_and_others_dont() {
    let mut server = routed("cart:* session");
    let mut client = server.raw().unwrap();
    run(
        &mut client,
        &[
            ("SET cart:1 apples", ok()),
            ("set session x", ok()),
            ("SeT session2 host", ok()),
            ("GET cart:1", bulk("apples")),
            ("PERSIST.GET cart:1", bulk("apples")),
            ("PERSIST.GET session", bulk("x")),
            ("PERSIST.GET session2", Resp::NullBulk),
            ("MSET cart:2 2 cart:3 3", ok()),
            ("MSET page:2 2 page:3 3", ok()),
            (
                "MGET cart:2 session cart:9",
                Resp::Array(vec![bulk("2"), bulk("x"), Resp::NullBulk]),
            ),
            ("EXISTS cart:1 cart:2 cart:9", Resp::Int(2)),
            ("RENAME cart:2 cart:4", ok()),
            ("LPUSH cart:l a b", Resp::Int(2)),
            (
                "LMPOP 2 cart:x cart:l LEFT",
                Resp::Array(vec![bulk("cart:l"), Resp::Array(vec![bulk("b")])]),
            ),
            ("TYPE cart:l", Resp::Simple(b"list".to_vec())),
            // What has no key stays the host's.
            ("DBSIZE", Resp::Int(3)),
            ("PERSIST.DBSIZE", Resp::Int(5)),
            ("FLUSHALL", ok()),
            ("DBSIZE", Resp::Int(0)),
            ("GET cart:1", bulk("apples")),
        ],
    );
    server.restart().unwrap();
    assert_eq!(server.words("GET cart:1").unwrap(), bulk("apples"));
    assert_eq!(server.words("LLEN cart:l").unwrap(), Resp::Int(1));
}

#[test]
fn keys_on_both_sides_are_refused_by_name() {
    let server = routed("d:*");
    let mut client = server.raw().unwrap();
    run(&mut client, &[("SET d:1 1", ok()), ("SET h:1 1", ok())]);
    for (line, durable, host) in [
        ("MGET h:1 h:2 d:1 d:2", "d:1", "h:1"),
        ("mset d:1 9 h:1 9", "d:1", "h:1"),
        ("DEL d:1 h:1", "d:1", "h:1"),
        ("UNLINK h:1 d:1", "d:1", "h:1"),
        ("EXISTS d:1 h:1", "d:1", "h:1"),
        ("TOUCH d:1 h:1", "d:1", "h:1"),
        ("RENAME d:1 h:1", "d:1", "h:1"),
        ("COPY h:1 d:1", "d:1", "h:1"),
        ("SINTERSTORE h:1 d:1 d:2", "d:1", "h:1"),
        ("ZUNIONSTORE d:1 2 h:1 h:2", "d:1", "h:1"),
        ("LMOVE d:1 h:1 LEFT LEFT", "d:1", "h:1"),
    ] {
        let name = line.split(' ').next().unwrap();
        assert_eq!(
            error(&mut client, line),
            both(name, durable, host),
            "{line}"
        );
    }
    // Nothing was done.
    run(
        &mut client,
        &[("GET d:1", bulk("1")), ("GET h:1", bulk("1"))],
    );
    // A key may be any bytes; the error is one line all the same.
    let reply = client
        .command(&[&b"DEL"[..], b"d:\r\n\xff", b"h"])
        .unwrap()
        .text()
        .unwrap();
    assert_eq!(reply, both("DEL", "d:\\r\\n\\xff", "h"));
}

#[test]
fn the_hosts_own_commands_dont_get_durable_keys() {
    let server = routed("d:*");
    let mut client = server.raw().unwrap();
    for line in [
        "MIGRATE 127.0.0.1 1 d:1 0 100",
        "RESTORE-ASKING d:1 0 x",
        "PFDEBUG ENCODING d:1",
    ] {
        let name = line.split(' ').next().unwrap();
        assert_eq!(
            error(&mut client, line),
            format!("ERR no command '{name}' for durable keys, and 'd:1' is one by persist.route"),
        );
    }
    // With a key of its own, or none, the host answers.
    assert!(error(&mut client, "PFDEBUG ENCODING h:1").contains("key does not exist"));
    assert!(error(&mut client, "NONSENSE d:1").starts_with("ERR unknown command"));
    assert!(error(&mut client, "GET").starts_with("ERR wrong number of arguments"));
    assert_eq!(
        error(&mut client, "GET d:1 d:2"),
        "ERR wrong number of arguments for 'persist.get' command"
    );
    assert_eq!(error(&mut client, "PERSIST._REFUSE me"), "ERR me");
    run(&mut client, &[("DBSIZE", Resp::Int(0))]);
}

/// What follows a name in a flat list of names and values.
fn field(list: &Resp, name: &str) -> Option<Resp> {
    let items = list.clone().into_items();
    let mut pairs = items.chunks_exact(2);
    pairs.find_map(|pair| (pair[0].text()? == name).then(|| pair[1].clone()))
}

/// Where a command has its first key, by the host's description of it, if a number alone says that.
fn first_key(about: &[Resp]) -> Option<usize> {
    let spec = about.get(8)?.clone().into_items().into_iter().next()?;
    let flags = field(&spec, "flags")?.into_items();
    let search = field(&spec, "begin_search")?;
    let Some(Resp::Int(at)) = field(&field(&search, "spec")?, "index") else {
        return None;
    };
    if flags
        .iter()
        .filter_map(Resp::text)
        .any(|flag| flag == "not_key")
    {
        return None;
    }
    let counted = field(&field(&spec, "find_keys")?, "type")?.text()? == "keynum";
    usize::try_from(at).ok().map(|at| at + usize::from(counted))
}

/// Newer hosts have commands that the module knows nothing of.
#[test]
fn no_command_of_the_host_takes_a_durable_key_past_the_route() {
    let server = routed("d:*");
    let mut client = server.raw().unwrap();
    let all = client.words("COMMAND").unwrap().into_items();
    let all: Vec<Vec<Resp>> = all.into_iter().map(Resp::into_items).collect();
    let name_of = |about: &Vec<Resp>| about[0].text().unwrap_or_default().to_ascii_lowercase();
    let names: Vec<String> = all.iter().map(name_of).collect();
    let mut tried = Vec::new();
    for (about, name) in all.iter().zip(&names) {
        let known = names.contains(&format!("persist.{name}")) || name.starts_with("persist.");
        // Scripts only say what their commands are going to touch.
        let passed = ["eval", "fcall", "watch"];
        if known || passed.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let (Some(at), Resp::Int(arity)) = (first_key(about), &about[1]) else {
            continue;
        };
        let mut words = vec!["1"; (at + 1).max(arity.unsigned_abs() as usize)];
        (words[0], words[at]) = (name, "d:1");
        let wanted = format!("ERR no command '{name}' for durable keys");
        let text = error(&mut client, &words.join(" "));
        assert!(text.starts_with(&wanted), "{words:?}: {text}");
        tried.push(name.clone());
    }
    assert!(tried.contains(&"restore-asking".to_owned()), "{tried:?}");
    run(&mut client, &[("DBSIZE", Resp::Int(0))]);
}

/// Commands that name their keys in some way of their own, and those whose first word only says what kind they are.
#[test]
fn keys_are_found_wherever_they_stand() {
    let server = routed("d:*");
    let mut client = server.raw().unwrap();
    for line in [
        "RPUSH d:l 3 1 2",
        "XADD d:s 1-1 f v",
        "XGROUP CREATE d:s g 0",
        "XREADGROUP GROUP g c STREAMS d:s >",
        "XREAD COUNT 1 STREAMS d:s d:t 0 0",
        "XINFO STREAM d:s",
        "OBJECT ENCODING d:l",
        "MEMORY USAGE d:l",
        "SORT d:l BY nosort STORE d:sorted",
        "GEOADD d:g 1 1 a",
        "GEORADIUS d:g 1 1 10 km STORE d:g2",
        "ZUNIONSTORE d:z 2 d:g d:g2",
        "BITOP AND d:b d:x d:y",
    ] {
        let reply = client.words(line).unwrap();
        assert!(
            !reply.is_error() && reply != Resp::NullBulk,
            "{line}: {reply}"
        );
    }
    for (line, host) in [
        ("SORT d:l STORE h:1", "h:1"),
        ("XREAD STREAMS d:s h:1 0 0", "h:1"),
        ("XREADGROUP GROUP g c STREAMS h:1 d:s > >", "h:1"),
        ("GEORADIUS d:g 1 1 10 km STORE h:1", "h:1"),
        ("ZUNIONSTORE h:1 1 d:z", "h:1"),
        ("ZUNION 2 d:z h:1", "h:1"),
        ("BITOP AND h:1 d:l", "h:1"),
        ("BLMPOP 0 2 h:1 d:l LEFT", "h:1"),
    ] {
        let told = error(&mut client, line);
        assert!(
            told.contains(&format!("is durable, '{host}' is not")),
            "{line}: {told}"
        );
    }
    for line in ["OBJECT HELP", "XINFO HELP", "MEMORY DOCTOR", "XGROUP HELP"] {
        let reply = client.words(line).unwrap();
        assert!(!reply.is_error(), "{line}: {reply}");
    }
    run(&mut client, &[("DBSIZE", Resp::Int(0))]);
}

#[test]
fn transactions() {
    let mut server = routed("d:*");
    let mut client = server.raw().unwrap();
    run(
        &mut client,
        &[
            ("MULTI", ok()),
            ("SET d:1 1", queued()),
            ("SET h:1 1", queued()),
            ("INCR d:1", queued()),
            ("DEL d:1 h:1", queued()),
            ("LPUSH d:1 x", queued()),
        ],
    );
    let replies = client.words("EXEC").unwrap().into_items();
    assert_eq!(replies[..3], [ok(), ok(), Resp::Int(2)]);
    assert_eq!(replies[3].text().unwrap(), both("DEL", "d:1", "h:1"));
    assert!(replies[4].text().unwrap().starts_with("WRONGTYPE"));
    run(
        &mut client,
        &[
            ("MULTI", ok()),
            ("SET d:1 9", queued()),
            ("DISCARD", ok()),
            ("GET d:1", bulk("2")),
        ],
    );
    server.restart().unwrap();
    assert_eq!(server.words("GET d:1").unwrap(), bulk("2"));
}

#[test]
fn watched_keys_that_change_or_end_abort() {
    let server = routed("d:*");
    let (mut client, mut other) = (server.raw().unwrap(), server.raw().unwrap());
    // So that only we ourselves end keys.
    let begin = |client: &mut RawClient, lines: &[(&str, Resp)]| {
        run(client, lines);
        run(client, &[("WATCH h:1 d:1", ok())]);
    };
    let exec = |client: &mut RawClient| {
        run(client, &[("MULTI", ok()), ("PING", queued())]);
        client.words("EXEC").unwrap() != Resp::NullArray
    };
    begin(&mut client, &[("SET d:1 1", ok())]);
    assert!(exec(&mut client));
    begin(&mut client, &[]);
    run(&mut other, &[("APPEND d:1 x", Resp::Int(2))]);
    assert!(!exec(&mut client), "changed");
    begin(&mut client, &[]);
    run(&mut other, &[("SET d:2 x", ok())]);
    assert!(exec(&mut client), "another key");
    // It ends while it is watched: aborted at the very EXEC after its time, without waiting for the expiry cycle.
    for _ in 0..20 {
        begin(&mut client, &[("SET d:1 1 PX 20", ok())]);
        std::thread::sleep(Duration::from_millis(21));
        assert!(!exec(&mut client), "ended");
    }
    // It had ended before it was watched: that's no change.
    for _ in 0..20 {
        run(&mut client, &[("SET d:1 1 PX 5", ok())]);
        std::thread::sleep(Duration::from_millis(6));
        begin(&mut client, &[]);
        assert!(exec(&mut client), "ended before");
    }
    // In another database it is another key.
    run(&mut client, &[("SELECT 1", ok())]);
    begin(&mut client, &[("SET d:1 1", ok())]);
    run(&mut other, &[("SET d:1 2 PX 5", ok())]);
    std::thread::sleep(Duration::from_millis(6));
    assert!(exec(&mut client), "another database");
}

#[test]
fn scripts_and_functions() {
    let mut server = routed("d:*");
    let mut client = server.raw().unwrap();
    let script = "redis.call('SET', KEYS[1], ARGV[1]) \
                  redis.call('set', 'h:1', 'host') \
                  redis.call('RPUSH', 'd:l', 'a', 'b') \
                  return {redis.call('GET', KEYS[1]), redis.call('GET', 'h:1'), redis.call('LRANGE', 'd:l', 0, -1)}";
    assert_eq!(
        client.command(&["EVAL", script, "1", "d:1", "v"]).unwrap(),
        Resp::Array(vec![
            bulk("v"),
            bulk("host"),
            Resp::Array(vec![bulk("a"), bulk("b")])
        ])
    );
    let mixed = "return redis.pcall('MGET', 'd:1', 'h:1').err";
    let reply = client.command(&["EVAL", mixed, "0"]).unwrap();
    assert_eq!(reply.text().unwrap(), both("MGET", "d:1", "h:1"));
    let mixed = "return redis.call('MGET', 'd:1', 'h:1')";
    let reply = client.command(&["EVAL", mixed, "0"]).unwrap();
    assert!(
        reply.is_error() && reply.text().unwrap().contains("on both sides"),
        "{reply}"
    );
    let read_only = "return redis.call('GET', 'd:1')";
    assert_eq!(
        client.command(&["EVAL_RO", read_only, "0"]).unwrap(),
        bulk("v")
    );
    let writes = client.command(&["EVAL_RO", "return redis.call('DEL', 'd:1')", "0"]);
    assert!(writes.unwrap().is_error());
    let function = "#!lua name=lib\nredis.register_function('f', function(keys) \
                    return redis.call('APPEND', keys[1], '!') end)";
    client.command(&["FUNCTION", "LOAD", function]).unwrap();
    assert_eq!(client.words("FCALL f 1 d:1").unwrap(), Resp::Int(2));
    // The interpreter keeps arguments for later calls; a name of ours in them must not disturb it.
    let loops = "for i = 1, 1000 do redis.call('INCR', 'd:n') redis.call('INCR', 'h:n') end \
                 return {redis.call('GET', 'd:n'), redis.call('GET', 'h:n')}";
    assert_eq!(
        client.command(&["EVAL", loops, "0"]).unwrap(),
        Resp::Array(vec![bulk("1000"), bulk("1000")])
    );
    server.restart().unwrap();
    assert_eq!(server.words("GET d:1").unwrap(), bulk("v!"));
    assert_eq!(server.words("GET d:n").unwrap(), bulk("1000"));
}

#[test]
fn a_route_changes_at_once_and_survives_a_rewrite_of_the_settings() {
    let mut server = routed("");
    let mut client = server.raw().unwrap();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    // One pipeline: what follows the change goes by it.
    let replies = client
        .pipeline(&[
            words("SET k host"),
            words("CONFIG SET persist.route *"),
            words("SET k durable"),
            words("GET k"),
            words("CONFIG SET persist.route x*"),
            words("GET k"),
            words("PERSIST.GET k"),
        ])
        .unwrap();
    assert_eq!(
        replies[2..],
        [ok(), bulk("durable"), ok(), bulk("host"), bulk("durable")]
    );
    let set = |client: &mut RawClient, route: &str| {
        client
            .command(&["CONFIG", "SET", "persist.route", route])
            .unwrap()
    };
    assert_eq!(set(&mut client, "k q:*"), ok());
    run(&mut client, &[("CONFIG REWRITE", ok())]);
    server.restart().unwrap();
    let mut client = server.raw().unwrap();
    run(&mut client, &[("GET k", bulk("durable"))]);
    assert_eq!(
        client.words("CONFIG GET persist.route").unwrap(),
        Resp::Array(vec![bulk("persist.route"), bulk("k q:*")])
    );
    assert_eq!(set(&mut client, ""), ok());
    run(&mut client, &[("GET k", Resp::NullBulk)]);
    // From a script and a transaction, too.
    let script = "redis.call('CONFIG', 'SET', 'persist.route', 'k') return redis.call('GET', 'k')";
    let reply = client.command(&["EVAL", script, "0"]).unwrap();
    if !reply.is_error() {
        assert_eq!(reply, bulk("durable"));
    }
}

#[test]
fn a_star_takes_every_command_with_a_key() {
    let server = routed("*");
    let mut client = server.raw().unwrap();
    client.command(&["SET", "", "empty"]).unwrap();
    run(
        &mut client,
        &[
            ("SET a 1", ok()),
            ("EXISTS a", Resp::Int(1)),
            ("PERSIST.DBSIZE", Resp::Int(2)),
            ("DBSIZE", Resp::Int(0)),
            ("KEYS *", Resp::Array(vec![])),
            ("RANDOMKEY", Resp::NullBulk),
        ],
    );
    // Commands without keys go on as ever.
    for line in [
        "PING",
        "SCAN 0",
        "INFO server",
        "COMMAND GETKEYS SET a b",
        "OBJECT HELP",
        "PUBLISH a b",
        "CLIENT ID",
    ] {
        let reply = client.words(line).unwrap();
        assert!(!reply.is_error(), "{line}: {reply}");
    }
}

#[test]
fn a_user_needs_rules_for_durable_commands() {
    let server = routed("d:*");
    let mut admin = server.raw().unwrap();
    run(
        &mut admin,
        &[
            ("ACL SETUSER app on nopass ~d:* ~h:* +@string +del", ok()),
            ("ACL SETUSER off off nopass ~* +get", ok()),
            ("ACL SETUSER keyed on nopass ~d:1 +@all", ok()),
            ("SET d:1 1", ok()),
            ("SET d:2 2", ok()),
        ],
    );
    let login = |user: &str| {
        let mut client = server.raw().unwrap();
        assert_eq!(client.words(&format!("AUTH {user} x")).unwrap(), ok());
        client
    };
    let mut app = login("app");
    // Redis 7.2 and later know categories for our commands, 7.0 doesn't.
    let before = app.words("GET d:1").unwrap();
    assert!(
        before == bulk("1") || before.text().unwrap().contains("persist.get"),
        "{before}"
    );
    assert!(error(&mut app, "DEL d:1").contains("'persist.del'"));
    // A refusal says what is wrong, also to users who may do little.
    assert_eq!(error(&mut app, "MGET d:1 h:1"), both("MGET", "d:1", "h:1"));
    let help = admin.words("PERSIST.HELP ACL app").unwrap().into_items();
    let rules = help[0].text().unwrap();
    assert!(
        rules.starts_with("ACL SETUSER app ") && rules.contains(" +persist.del"),
        "{rules}"
    );
    assert!(!rules.contains("lpush"), "{rules}");
    run(&mut admin, &[(&rules, ok())]);
    run(
        &mut app,
        &[
            ("GET d:1", bulk("1")),
            ("DEL d:1", Resp::Int(1)),
            ("SET d:1 1", ok()),
        ],
    );
    let help = admin.words("PERSIST.HELP ACL app").unwrap().into_items();
    assert!(help[0].text().unwrap().starts_with("# Nothing to add"));
    // Of a command with subcommands, one that is allowed counts.
    run(
        &mut admin,
        &[(
            "ACL SETUSER some on nopass ~* +xinfo|stream +object +memory|doctor",
            ok(),
        )],
    );
    let help = admin.words("PERSIST.HELP ACL some").unwrap().into_items();
    assert_eq!(
        help[0]
            .text()
            .unwrap()
            .split(' ')
            .skip(3)
            .collect::<Vec<_>>(),
        ["+persist.object", "+persist.xinfo"]
    );
    assert!(error(&mut admin, "PERSIST.HELP ACL nobody").contains("nobody"));
    assert!(error(&mut admin, "PERSIST.HELP ME").contains("syntax"));
    // Key patterns hold.
    let mut keyed = login("keyed");
    run(&mut keyed, &[("GET d:1", bulk("1"))]);
    assert!(error(&mut keyed, "GET d:2").starts_with("NOPERM"));
    assert!(error(&mut keyed, "MGET d:1 d:2").starts_with("NOPERM"));
    // A client that hasn't said who it is gets nothing out of the route.
    run(&mut admin, &[("CONFIG SET requirepass secret", ok())]);
    let mut stranger = server.raw().unwrap();
    assert!(error(&mut stranger, "GET d:1").starts_with("NOAUTH"));
    assert!(error(&mut stranger, "SET d:1 x").starts_with("NOAUTH"));
}

/// BY and GET lead to keys that nobody names: only who may read all of them may say so, as with the host's own.
#[test]
fn sort_leads_nobody_to_keys_that_he_may_not_read() {
    let server = routed("d:*");
    let mut admin = server.raw().unwrap();
    let users = [
        ("some", "~*:a* +@all"),
        ("all", "~* +@all"),
        ("reads", "%R~* %W~*:b* +@all"),
        ("writes", "%W~* %R~*:a* +@all"),
        ("selected", "~*:a* +@all (%R~* +sort_ro +persist.sort_ro)"),
        ("other", "~*:a* +@all (%R~* +get +persist.get)"),
    ];
    for (user, rules) in users {
        let line = format!("ACL SETUSER {user} on nopass {rules}");
        run(&mut admin, &[(&line, ok())]);
    }
    for key in ["h:a", "d:a"] {
        run(&mut admin, &[(&format!("RPUSH {key} 2 1"), Resp::Int(2))]);
    }
    let lines = [
        "@SORT k:a DESC",
        "@SORT k:a BY nosort",
        "@SORT k:a BY w* DESC",
        "@SORT k:a GET #",
        "@SORT k:a ALPHA GET w* STORE k:b",
        "@SORT k:a LIMIT x 1 GET #",
        "@SORT k:a GET # LIMIT x 1",
        "@SORT k:a GET",
        "@SORT k:a SOON GET #",
        "@SORT_RO k:a GET #",
        "@SORT_RO k:a BY w*->f LIMIT 0 1",
        "@SORT_RO k:a STORE k:b GET #",
        "EVAL return{redis.pcall('@SORT','k:a','GET','#')} 0",
    ];
    let (mut refused, mut done) = (0, 0);
    for (user, _) in users {
        let mut client = server.raw().unwrap();
        run(&mut client, &[(&format!("AUTH {user} x"), ok())]);
        for line in lines {
            let mut ask = |key: &str, prefix: &str| {
                let line = line.replace("k:", key).replace('@', prefix);
                let reply = client.words(&line).unwrap().to_string();
                reply.replace("persist.", "")
            };
            let host = ask("h:", "");
            assert_eq!(ask("d:", ""), host, "{user}, routed: {line}");
            assert_eq!(ask("d:", "PERSIST."), host, "{user}, durable: {line}");
            refused += usize::from(host.contains("denied"));
            done += usize::from(host.contains("$1"));
        }
    }
    assert!(refused > 20 && done > 20, "{refused} {done}");
    // Asking who it is leaves nothing in the log of what was forbidden.
    let log = admin.words("ACL LOG").unwrap().to_string();
    assert!(!log.contains("_user"), "{log}");
}

#[test]
fn the_log_says_what_a_route_means() {
    let server = routed("");
    let mut client = server.raw().unwrap();
    for db in [0, 3] {
        client.words(&format!("SELECT {db}")).unwrap();
        for i in 0..3000 {
            client.words(&format!("SET d:{i} x")).unwrap();
            client.words(&format!("SET h:{i} x")).unwrap();
        }
    }
    client
        .words("ACL SETUSER app on nopass ~* +get +set")
        .unwrap();
    run(&mut client, &[("CONFIG SET persist.route d:*", ok())]);
    let told = |text: &str| {
        wait_until(text, LIMIT, || Ok(server.log().contains(text))).unwrap_or_else(|e| {
            panic!("{e}\n{}", server.log_tail(10));
        });
    };
    told("persist.route 'd:*': 6000 of the server's own keys match");
    told(
        "the user 'app' may run 2 commands in their plain form but not on durable keys: persist.get persist.set.",
    );
    run(&mut client, &[("CONFIG SET persist.route nothing:*", ok())]);
    told("persist.route 'nothing:*': none of the server's own keys match");
    client
        .command(&["CONFIG", "SET", "persist.route", ""])
        .unwrap();
    told("persist.route is empty");
}

#[test]
fn caches_subscribers_and_statistics_see_routed_commands() {
    let server = routed("d:*");
    let (mut client, mut other) = (server.raw().unwrap(), server.raw().unwrap());
    let mut monitor = server.raw().unwrap();
    run(
        &mut other,
        &[
            ("CONFIG SET notify-keyspace-events KEA", ok()),
            ("CONFIG SET slowlog-log-slower-than 0", ok()),
            ("SET d:1 0", ok()),
        ],
    );
    // Client-side caching of what was read.
    client.words("HELLO 3").unwrap();
    run(
        &mut client,
        &[("CLIENT TRACKING ON", ok()), ("GET d:1", bulk("0"))],
    );
    let mut events = server.raw().unwrap();
    events.words("PSUBSCRIBE __keyevent@0__:*").unwrap();
    monitor.words("MONITOR").unwrap();
    run(&mut other, &[("SET d:1 1", ok())]);
    let push = client.read().unwrap();
    assert!(
        matches!(&push, Resp::Push(items) if items[1] == Resp::Array(vec![bulk("d:1")])),
        "{push}"
    );
    let event = events.read().unwrap().to_string();
    assert!(
        event.contains("__keyevent@0__:set") && event.contains("d:1"),
        "{event}"
    );
    // They appear under the name that runs.
    let line = monitor.read().unwrap().text().unwrap();
    assert!(line.contains("\"persist.set\" \"d:1\" \"1\""), "{line}");
    let log = other.words("SLOWLOG GET 10").unwrap().to_string();
    assert!(log.contains("persist.set"), "{log}");
    let stats = other.words("INFO commandstats").unwrap().text().unwrap();
    assert!(stats.contains("cmdstat_persist.set:calls=2,"), "{stats}");
    assert!(!stats.contains("cmdstat_set:"), "{stats}");
    // Commands that ask about commands aren't turned.
    assert_eq!(
        other.words("COMMAND GETKEYS SET d:1 x").unwrap(),
        Resp::Array(vec![bulk("d:1")])
    );
}

#[test]
fn without_a_route_there_is_no_filter() {
    let server = routed("");
    let mut client = server.raw().unwrap();
    let filters = |client: &mut RawClient| {
        let text = client.words("INFO modules").unwrap().text().unwrap();
        let line = text
            .lines()
            .find(|line| line.contains("name=persist"))
            .unwrap()
            .to_owned();
        line.split("filters=").nth(1).unwrap()[..1].to_owned()
    };
    // What looks out for long scripts.
    assert_eq!(filters(&mut client), "1");
    run(&mut client, &[("CONFIG SET persist.route d:*", ok())]);
    assert_eq!(filters(&mut client), "2");
    run(&mut client, &[("CONFIG SET persist.route e:*", ok())]);
    assert_eq!(filters(&mut client), "2");
    client
        .command(&["CONFIG", "SET", "persist.route", ""])
        .unwrap();
    assert_eq!(filters(&mut client), "1");
}
