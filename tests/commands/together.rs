//! Durable commands among the host's own features: transactions, scripts, databases, ACL, introspection.

use persist_tools::contents;
use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::Server;

pub fn server() -> Server {
    Server::builder().with_module().start().unwrap()
}

pub fn ok() -> Resp {
    Resp::Simple(b"OK".to_vec())
}

pub fn bulk(text: &str) -> Resp {
    Resp::Bulk(text.as_bytes().to_vec())
}

pub fn run(client: &mut RawClient, lines: &[(&str, Resp)]) {
    for (line, expected) in lines {
        assert_eq!(&client.words(line).unwrap(), expected, "{line}");
    }
}

#[test]
fn times_in_ms_are_kept_exactly() {
    let mut server = server();
    let at = 4_102_444_800_123i64;
    let mut client = server.raw().unwrap();
    run(
        &mut client,
        &[
            ("PERSIST.SET a 1 PXAT 4102444800123", ok()),
            ("PERSIST.RPUSH b 1", Resp::Int(1)),
            ("PERSIST.PEXPIREAT b 4102444800123", Resp::Int(1)),
            ("PERSIST.PEXPIRETIME a", Resp::Int(at)),
            ("PERSIST.PEXPIRETIME b", Resp::Int(at)),
        ],
    );
    server.restart().unwrap();
    let mut client = server.raw().unwrap();
    run(
        &mut client,
        &[
            ("PERSIST.PEXPIRETIME a", Resp::Int(at)),
            ("PERSIST.PEXPIRETIME b", Resp::Int(at)),
        ],
    );
}

#[test]
fn transactions_mix_both_keyspaces_and_survive_whole() {
    let mut server = server();
    let mut client = server.raw().unwrap();
    run(&mut client, &[("MULTI", ok())]);
    for line in [
        "PERSIST.SET k 1",
        "SET k 2",
        "PERSIST.INCR k",
        "INCR k",
        "PERSIST.LPUSH k x",
    ] {
        assert_eq!(
            client.words(line).unwrap(),
            Resp::Simple(b"QUEUED".to_vec())
        );
    }
    let wrong = b"WRONGTYPE Operation against a key holding the wrong kind of value";
    assert_eq!(
        client.words("EXEC").unwrap(),
        Resp::Array(vec![
            ok(),
            ok(),
            Resp::Int(2),
            Resp::Int(3),
            Resp::Error(wrong.to_vec())
        ])
    );
    // A command that can't be queued aborts all of them.
    run(&mut client, &[("MULTI", ok())]);
    assert!(client.words("PERSIST.SET k").unwrap().is_error());
    client.words("PERSIST.SET k 9").unwrap();
    assert!(client.words("EXEC").unwrap().is_error());
    run(&mut client, &[("MULTI", ok())]);
    client.words("PERSIST.SET k 9").unwrap();
    run(
        &mut client,
        &[
            ("DISCARD", ok()),
            ("PERSIST.GET k", bulk("2")),
            ("GET k", bulk("3")),
        ],
    );
    server.restart().unwrap();
    assert_eq!(server.words("PERSIST.GET k").unwrap(), bulk("2"));
}

#[test]
fn watch_sees_durable_keys() {
    let server = server();
    let (mut client, mut other) = (server.raw().unwrap(), server.raw().unwrap());
    // What the other client does, and whether the transaction still runs.
    let cases: &[(&str, bool)] = &[
        ("PING", true),
        ("PERSIST.GET w", true),
        ("PERSIST.SET elsewhere 1", true),
        ("PERSIST.SET w 1", false),
        ("PERSIST.APPEND w 1", false),
        ("PERSIST.DEL w", false),
        ("PERSIST.RENAME from w", false),
        ("PERSIST.PEXPIRE w 1000000", false),
        ("PERSIST.FLUSHDB", false),
        ("PERSIST.FLUSHALL", false),
        ("PERSIST.SWAPDB 0 1", false),
    ];
    for (line, runs) in cases {
        run(
            &mut client,
            &[("PERSIST.SET w 0", ok()), ("PERSIST.SET from 0", ok())],
        );
        run(&mut client, &[("WATCH w", ok())]);
        assert!(!other.words(line).unwrap().is_error(), "{line}");
        run(&mut client, &[("MULTI", ok())]);
        client.words("PERSIST.SET w mine").unwrap();
        let done = client.words("EXEC").unwrap();
        assert_eq!(done != Resp::NullArray, *runs, "{line}: {done}");
    }
}

#[test]
fn scripts_call_durable_commands() {
    let mut server = server();
    let mut client = server.raw().unwrap();
    let script = "redis.call('PERSIST.SET', KEYS[1], ARGV[1]) \
                  redis.call('SET', KEYS[1], 'host') \
                  redis.call('PERSIST.RPUSH', 'l', 'a', 'b') \
                  return {redis.call('PERSIST.GET', KEYS[1]), redis.call('GET', KEYS[1]), \
                  redis.call('PERSIST.LRANGE', 'l', 0, -1)}";
    assert_eq!(
        client.command(&["EVAL", script, "1", "k", "v"]).unwrap(),
        Resp::Array(vec![
            bulk("v"),
            bulk("host"),
            Resp::Array(vec![bulk("a"), bulk("b")])
        ])
    );
    let fails = "redis.call('PERSIST.SET', 'k', 'w') return redis.call('PERSIST.LPUSH', 'k', 'x')";
    let error = client.command(&["EVAL", fails, "0"]).unwrap();
    assert!(error.text().unwrap().starts_with("WRONGTYPE"), "{error}");
    // Read-only scripts may read and not write.
    let reads = client.command(&["EVAL_RO", "return redis.call('PERSIST.GET','k')", "0"]);
    assert_eq!(reads.unwrap(), bulk("w"));
    let writes = client.command(&["EVAL_RO", "return redis.call('PERSIST.DEL','k')", "0"]);
    assert!(writes.unwrap().is_error());
    let function = "#!lua name=lib\nredis.register_function('f', function(keys) \
                    return redis.call('PERSIST.APPEND', keys[1], '!') end)";
    client.command(&["FUNCTION", "LOAD", function]).unwrap();
    assert_eq!(client.words("FCALL f 1 k").unwrap(), Resp::Int(2));
    for admin in ["PERSIST.SAVE", "PERSIST.BGSAVE"] {
        let script = format!("return redis.call('{admin}')");
        assert!(
            client.command(&["EVAL", &script, "0"]).unwrap().is_error(),
            "{admin}"
        );
    }
    server.restart().unwrap();
    assert_eq!(server.words("PERSIST.GET k").unwrap(), bulk("w!"));
    assert_eq!(server.words("PERSIST.LLEN l").unwrap(), Resp::Int(2));
}

#[test]
fn databases_are_the_hosts_numbers_and_nothing_else_is_shared() {
    let mut server = server();
    let mut client = server.raw().unwrap();
    for db in 0..16 {
        let select = format!("SELECT {db}");
        let set = format!("PERSIST.SET k {db}");
        run(
            &mut client,
            &[(&select, ok()), (&set, ok()), ("SET k host", ok())],
        );
    }
    run(
        &mut client,
        &[
            // The host's commands don't touch durable keys.
            ("FLUSHDB", ok()),
            ("PERSIST.GET k", bulk("15")),
            ("SELECT 0", ok()),
            ("SWAPDB 0 1", ok()),
            ("MOVE k 15", Resp::Int(1)),
            ("PERSIST.GET k", bulk("0")),
            ("FLUSHALL", ok()),
            ("PERSIST.DBSIZE", Resp::Int(1)),
            // Nor do ours touch the host's.
            ("SET k host", ok()),
            ("PERSIST.SWAPDB 0 1", ok()),
            ("PERSIST.GET k", bulk("1")),
            ("PERSIST.MOVE k 1", Resp::Int(0)),
            ("PERSIST.SET m 1", ok()),
            ("PERSIST.MOVE m 1", Resp::Int(1)),
            ("PERSIST.EXISTS m", Resp::Int(0)),
            ("PERSIST.FLUSHDB", ok()),
            ("PERSIST.DBSIZE", Resp::Int(0)),
            ("GET k", bulk("host")),
            ("SELECT 1", ok()),
            ("PERSIST.GET m", bulk("1")),
            ("PERSIST.GET k", bulk("0")),
            ("SELECT 15", ok()),
            ("PERSIST.GET k", bulk("15")),
        ],
    );
    let before = contents::read(server.port(), "PERSIST.", 16).unwrap();
    assert_eq!(before.len(), 16);
    server.restart().unwrap();
    let after = contents::read(server.port(), "PERSIST.", 16).unwrap();
    contents::same("after a restart", &before, &after, 0).unwrap();
    let mut client = server.raw().unwrap();
    run(
        &mut client,
        &[
            ("SET k host", ok()),
            ("PERSIST.FLUSHALL", ok()),
            ("GET k", bulk("host")),
            ("SELECT 15", ok()),
            ("PERSIST.DBSIZE", Resp::Int(0)),
        ],
    );
    server.restart().unwrap();
    assert!(
        contents::read(server.port(), "PERSIST.", 16)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn keys_expire_on_their_own_and_stay_gone() {
    let mut server = server();
    let mut client = server.raw().unwrap();
    run(
        &mut client,
        &[
            ("PERSIST.SET soon 1 PX 30", ok()),
            ("PERSIST.SET late 1 EX 100000", ok()),
        ],
    );
    let gone = |server: &Server| {
        persist_tools::server::wait_until("expiry", std::time::Duration::from_secs(30), || {
            Ok(server.words("PERSIST.DBSIZE")? == Resp::Int(1))
        })
    };
    // Nobody looks at the key: the active cycle finds it.
    gone(&server).unwrap();
    server.restart().unwrap();
    gone(&server).unwrap();
    assert_eq!(server.words("PERSIST.EXISTS soon").unwrap(), Resp::Int(0));
    assert_eq!(server.words("PERSIST.EXISTS late").unwrap(), Resp::Int(1));
}

#[test]
fn acl_rules_hold_for_durable_keys() {
    let server = server();
    let mut admin = server.raw().unwrap();
    run(
        &mut admin,
        &[
            ("PERSIST.SET ab 1", ok()),
            ("PERSIST.SET b 1", ok()),
            ("ACL SETUSER reader on nopass %R~a* +@all", ok()),
            ("ACL SETUSER writer on nopass %W~a* +@all", ok()),
            ("ACL SETUSER narrow on nopass ~* +persist.get", ok()),
        ],
    );
    let try_as = |user: &str, line: &str| {
        let mut client = server.raw().unwrap();
        assert_eq!(client.words(&format!("AUTH {user} x")).unwrap(), ok());
        let reply = client.words(line).unwrap();
        let denied = reply.text().is_some_and(|text| text.starts_with("NOPERM"));
        assert!(denied || !reply.is_error(), "{user} {line}: {reply}");
        !denied
    };
    let cases = [
        ("reader", "PERSIST.GET ab", true),
        ("reader", "PERSIST.GET b", false),
        ("reader", "PERSIST.MGET ab b", false),
        ("reader", "PERSIST.MGET ab a2", true),
        ("reader", "PERSIST.SET ab 2", false),
        ("reader", "PERSIST.GETDEL ab", false),
        ("reader", "PERSIST.COPY ab a2", false),
        ("reader", "PERSIST.SINTERCARD 2 a1 b1", false),
        ("reader", "PERSIST.SINTERCARD 2 a1 a2", true),
        ("writer", "PERSIST.SET ac 2", true),
        ("writer", "PERSIST.SET b 2", false),
        ("writer", "PERSIST.GET ac", false),
        ("writer", "PERSIST.GETDEL ac", false),
        ("writer", "PERSIST.SET ac 3 XX GET", false),
        ("writer", "PERSIST.BITFIELD ac SET u8 0 1", false),
        ("writer", "PERSIST.BITFIELD ac GET u8 0", false),
        ("reader", "PERSIST.BITFIELD ab GET u8 0", true),
        (
            "reader",
            "PERSIST.BITFIELD ab GET u8 0 INCRBY u8 0 1",
            false,
        ),
        ("narrow", "PERSIST.GET ab", true),
        ("narrow", "PERSIST.SET ab 3", false),
        ("narrow", "PERSIST.FLUSHALL", false),
    ];
    for (user, line, allowed) in cases {
        assert_eq!(try_as(user, line), allowed, "{user}: {line}");
    }
    assert_eq!(admin.words("PERSIST.GET ab").unwrap(), bulk("1"));
}

#[test]
fn statistics_count_durable_commands() {
    let server = server();
    let mut client = server.raw().unwrap();
    client
        .words("CONFIG SET slowlog-log-slower-than 0")
        .unwrap();
    let mut monitor = server.raw().unwrap();
    monitor.words("MONITOR").unwrap();
    client.words("PERSIST.SET k v").unwrap();
    let line = loop {
        let line = monitor.read().unwrap().text().unwrap();
        if line.to_ascii_lowercase().contains("persist.set") {
            break line;
        }
    };
    assert!(line.contains("\"k\" \"v\""), "{line}");
    let log = client.words("SLOWLOG GET 10").unwrap().to_string();
    assert!(log.contains("PERSIST.SET"), "{log}");
    client.words("PERSIST.LPUSH k v").unwrap();
    let stats = client.words("INFO commandstats").unwrap().text().unwrap();
    assert!(stats.contains("cmdstat_persist.set:calls=1,"), "{stats}");
    let failed = stats
        .lines()
        .find(|line| line.starts_with("cmdstat_persist.lpush:"))
        .unwrap();
    assert!(failed.ends_with("failed_calls=1"), "{failed}");
    let errors = client.words("INFO errorstats").unwrap().text().unwrap();
    assert!(errors.contains("errorstat_WRONGTYPE:count=1"), "{errors}");
    let latency = client.words("INFO latencystats").unwrap().text().unwrap();
    assert!(
        latency.contains("latency_percentiles_usec_persist.set"),
        "{latency}"
    );
}

#[test]
fn client_side_caching_hears_of_durable_keys() {
    let server = server();
    let (mut client, mut other) = (server.raw().unwrap(), server.raw().unwrap());
    client.words("HELLO 3").unwrap();
    run(
        &mut client,
        &[("CLIENT TRACKING ON BCAST PREFIX cart:", ok())],
    );
    run(&mut other, &[("PERSIST.SET cart:1 x", ok())]);
    let push = client.read().unwrap();
    assert!(
        matches!(&push, Resp::Push(items) if items[1] == Resp::Array(vec![bulk("cart:1")])),
        "{push}"
    );
}

/// One call of each command that has keys, with the keys in every place that a key can have.
const CALLS: &[&str] = &[
    "APPEND a v",
    "BITCOUNT a",
    "BITFIELD a",
    "BITFIELD a GET u8 0 GET u8 8",
    "BITFIELD a OVERFLOW SAT INCRBY u8 0 1",
    "BITFIELD a SET u8 0 1",
    "BITFIELD_RO a GET u8 0",
    "BITOP AND d a b",
    "BITPOS a 1",
    "BLMOVE a b LEFT RIGHT 0",
    "BLMPOP 0 2 a b LEFT COUNT 2",
    "BLPOP a b 0",
    "BRPOP a b 0",
    "BRPOPLPUSH a b 0",
    "BZMPOP 0 2 a b MIN COUNT 2",
    "BZPOPMAX a b 0",
    "BZPOPMIN a b 0",
    "COPY a b DB 1 REPLACE",
    "COPY a b",
    "DECR a",
    "DECRBY a 1",
    "DEL a b c",
    "DUMP a",
    "EXISTS a b",
    "EXPIRE a 1",
    "EXPIREAT a 1",
    "EXPIRETIME a",
    "GEOADD a 1 2 m",
    "GEODIST a m n",
    "GEOHASH a m",
    "GEOPOS a m",
    "GEORADIUS a 1 2 3 m STORE d",
    "GEORADIUS a 1 2 3 m",
    "GEORADIUSBYMEMBER a m 3 m ASC",
    "GEORADIUSBYMEMBER a m 3 m STOREDIST d",
    "GEORADIUSBYMEMBER_RO a m 3 m",
    "GEORADIUS_RO a 1 2 3 m",
    "GEOSEARCH a FROMMEMBER m BYRADIUS 1 m",
    "GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 m",
    "GET a",
    "GETBIT a 0",
    "GETDEL a",
    "GETEX a EX 1",
    "GETEX a",
    "GETRANGE a 0 1",
    "GETSET a v",
    "HDEL a f",
    "HEXISTS a f",
    "HEXPIRE a 1 FIELDS 1 f",
    "HEXPIREAT a 1 FIELDS 1 f",
    "HEXPIRETIME a FIELDS 1 f",
    "HGET a f",
    "HGETALL a",
    "HGETDEL a FIELDS 1 f",
    "HGETEX a FIELDS 1 f",
    "HINCRBY a f 1",
    "HINCRBYFLOAT a f 1",
    "HKEYS a",
    "HLEN a",
    "HMGET a f",
    "HMSET a f v",
    "HPERSIST a FIELDS 1 f",
    "HPEXPIRE a 1 FIELDS 1 f",
    "HPEXPIREAT a 1 FIELDS 1 f",
    "HPEXPIRETIME a FIELDS 1 f",
    "HPTTL a FIELDS 1 f",
    "HRANDFIELD a",
    "HSCAN a 0",
    "HSET a f v",
    "HSETEX a FIELDS 1 f v",
    "HSETNX a f v",
    "HSTRLEN a f",
    "HTTL a FIELDS 1 f",
    "HVALS a",
    "INCR a",
    "INCRBY a 1",
    "INCRBYFLOAT a 1",
    "LCS a b",
    "LINDEX a 0",
    "LINSERT a BEFORE p v",
    "LLEN a",
    "LMOVE a b LEFT RIGHT",
    "LMPOP 2 a b LEFT COUNT 2",
    "LPOP a",
    "LPOS a v",
    "LPUSH a v",
    "LPUSHX a v",
    "LRANGE a 0 1",
    "LREM a 0 v",
    "LSET a 0 v",
    "LTRIM a 0 1",
    "MEMORY USAGE a",
    "MGET a b c",
    "MOVE a 1",
    "MSET a 1 b 2",
    "MSETNX a 1 b 2",
    "OBJECT ENCODING a",
    "PERSIST a",
    "PEXPIRE a 1",
    "PEXPIREAT a 1",
    "PEXPIRETIME a",
    "PFADD a v",
    "PFCOUNT a b",
    "PFMERGE d a b",
    "PSETEX a 1 v",
    "PTTL a",
    "RENAME a b",
    "RENAMENX a b",
    "RESTORE a 0 v",
    "RPOP a",
    "RPOPLPUSH a b",
    "RPUSH a v",
    "RPUSHX a v",
    "SADD a v",
    "SCARD a",
    "SDIFF a b",
    "SDIFFSTORE d a b",
    "SET a get",
    "SET a v EX 10 get",
    "SET a v GET",
    "SET a v",
    "SETBIT a 0 1",
    "SETEX a 1 v",
    "SETNX a v",
    "SETRANGE a 0 v",
    "SINTER a b",
    "SINTERCARD 2 a b LIMIT 1",
    "SINTERSTORE d a b",
    "SISMEMBER a v",
    "SMEMBERS a",
    "SMISMEMBER a v",
    "SMOVE a b v",
    "SORT a BY w GET g STORE d",
    "SORT a",
    "SORT_RO a BY w",
    "SPOP a",
    "SRANDMEMBER a",
    "SREM a v",
    "SSCAN a 0",
    "STRLEN a",
    "SUBSTR a 0 1",
    "SUNION a b",
    "SUNIONSTORE d a b",
    "TOUCH a b",
    "TTL a",
    "TYPE a",
    "UNLINK a b",
    "XACK a g 1",
    "XADD a * f v",
    "XAUTOCLAIM a g c 0 0",
    "XCLAIM a g c 0 1",
    "XDEL a 1",
    "XGROUP CREATE a g $",
    "XGROUP CREATECONSUMER a g c",
    "XINFO CONSUMERS a g",
    "XINFO STREAM a",
    "XLEN a",
    "XPENDING a g",
    "XRANGE a - +",
    "XREAD COUNT 1 STREAMS a b 0 0",
    "XREADGROUP GROUP g c streams a b > >",
    "XREVRANGE a + -",
    "XSETID a 1",
    "XTRIM a MAXLEN 1",
    "ZADD a 1 v",
    "ZCARD a",
    "ZCOUNT a 0 1",
    "ZDIFF 2 a b",
    "ZDIFFSTORE d 2 a b",
    "ZINCRBY a 1 v",
    "ZINTER 2 a b WEIGHTS 1 2",
    "ZINTERCARD 2 a b",
    "ZINTERSTORE d 2 a b AGGREGATE MAX",
    "ZLEXCOUNT a - +",
    "ZMPOP 2 a b MIN",
    "ZMSCORE a v",
    "ZPOPMAX a",
    "ZPOPMIN a",
    "ZRANDMEMBER a",
    "ZRANGE a 0 1",
    "ZRANGEBYLEX a - +",
    "ZRANGEBYSCORE a 0 1",
    "ZRANGESTORE d a 0 1",
    "ZRANK a v",
    "ZREM a v",
    "ZREMRANGEBYLEX a - +",
    "ZREMRANGEBYRANK a 0 1",
    "ZREMRANGEBYSCORE a 0 1",
    "ZREVRANGE a 0 1",
    "ZREVRANGEBYLEX a + -",
    "ZREVRANGEBYSCORE a 1 0",
    "ZREVRANK a v",
    "ZSCAN a 0",
    "ZSCORE a v",
    "ZUNION 2 a b",
    "ZUNIONSTORE d 2 a b",
];

/// Commands without keys, and those that the host doesn't have.
const WITHOUT_KEYS: &[&str] = &[
    "DBSIZE",
    "FLUSHALL",
    "FLUSHDB",
    "KEYS",
    "RANDOMKEY",
    "SCAN",
    "SWAPDB",
    "SAVE",
    "BGSAVE",
    "REWRITE",
    "SYNC",
    "VERIFY",
    "LASTSAVE",
    "INFO",
    "HELP",
    "_REFUSE",
    "ADOPT",
    "RELEASE",
];

pub fn module_commands(client: &mut RawClient) -> Vec<String> {
    let list = client
        .words("COMMAND LIST FILTERBY MODULE persist")
        .unwrap();
    list.into_items()
        .iter()
        .filter_map(|name| Some(name.text()?.strip_prefix("persist.")?.to_ascii_uppercase()))
        // What routing puts in the place of others isn't for clients.
        .filter(|name| !name.starts_with('_'))
        .collect()
}

/// Of each key, whether ACL asks for the right to read and to write. How exactly a key is written (as OW or RW, insert
/// or update) is told for people; the host isn't consistent there itself.
fn rights(reply: Resp) -> Resp {
    let keys = reply.into_items().into_iter().map(|key| {
        let mut parts = key.into_items();
        let flags: Vec<_> = parts.pop().map_or(Vec::new(), Resp::into_items);
        let has = |names: &[&str]| {
            let found = flags
                .iter()
                .filter_map(Resp::text)
                .any(|flag| names.contains(&&*flag));
            Resp::Bool(found)
        };
        parts.push(has(&["access"]));
        parts.push(has(&["insert", "update", "delete"]));
        Resp::Array(parts)
    });
    Resp::Array(keys.collect())
}

/// Whether the host is too old for this command.
fn is_unknown(client: &mut RawClient, name: &str) -> bool {
    let info = client.words(&format!("COMMAND INFO {name}")).unwrap();
    info.into_items().remove(0).into_items().is_empty()
}

#[test]
fn the_host_knows_the_keys_of_every_durable_command() {
    let server = server();
    let mut client = server.raw().unwrap();
    let names = module_commands(&mut client);
    assert!(names.len() > 100, "{names:?}");
    for name in &names {
        let called = CALLS
            .iter()
            .any(|call| call.split(' ').next() == Some(name));
        assert!(
            called || WITHOUT_KEYS.contains(&name.as_str()),
            "{name} is in no list of this test"
        );
    }
    let mut wrong = Vec::new();
    for call in CALLS {
        if is_unknown(&mut client, call.split(' ').next().unwrap_or_default()) {
            continue;
        }
        for question in ["COMMAND GETKEYS", "COMMAND GETKEYSANDFLAGS"] {
            let ask = |client: &mut RawClient, prefix: &str| {
                client.words(&format!("{question} {prefix}{call}")).unwrap()
            };
            let (mut host, mut ours) = (ask(&mut client, ""), ask(&mut client, "PERSIST."));
            if question.ends_with("FLAGS") {
                (host, ours) = (rights(host), rights(ours));
            }
            if host != ours || host.is_error() {
                wrong.push(format!("{question} {call}: host {host}, ours {ours}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
