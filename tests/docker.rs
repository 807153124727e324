//! The image of docker/Dockerfile, in containers: what survives there, over kills, upgrades and a change of host, and what
//! a volume that is read-only, full or taken leads to.
//!
//! Needs a Docker engine, so `cargo test` alone leaves it out: `make test-docker` runs it, and so does `make test` where
//! an engine answers. All that it makes in the engine has the label `org.redis-persist.test`, and goes at its end.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::{module_path, wait_until, workspace};
use persist_tools::traffic::Client;

const LABEL: &str = "org.redis-persist.test";
const CONF: &str = "/usr/local/etc/redis-persist.conf";
const DIR: &str = "/var/lib/redis-persist";
const LIMIT: Duration = Duration::from_secs(60);

fn run(program: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(workspace())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn both(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// `docker` with these arguments, which must succeed: what it says.
fn docker(args: &[&str]) -> String {
    let output = run("docker", args, &[]);
    assert!(
        output.status.success(),
        "docker {args:?}: {}",
        both(&output)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The module's image on this host, built once: redis:8 or valkey/valkey:9.
fn image(host: &str) -> String {
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    // Tests that panicked while they built leave nothing half done here.
    let mut built = BUILT.lock().unwrap_or_else(|broken| broken.into_inner());
    let tag = host.rsplit('/').next().unwrap_or(host).replace(':', "-");
    let name = format!("redis-persist-test:{tag}");
    if !built.contains(host) {
        let env = [
            ("HOST_IMAGE", host),
            ("IMAGE", &name),
            ("LABEL", LABEL),
            ("QUICK", "1"),
        ];
        let output = run("bash", &["docker/image.sh"], &env);
        assert!(output.status.success(), "{}", both(&output));
        built.insert(host.to_owned());
    }
    name
}

/// What one test makes in the engine; removed at its end, however it ends.
struct Scope {
    id: String,
    next: AtomicU32,
}

impl Scope {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        Self {
            id: format!("{}-{n}", std::process::id()),
            next: AtomicU32::new(0),
        }
    }

    fn label(&self) -> String {
        format!("{LABEL}={}", self.id)
    }

    fn name(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        format!("redis-persist-test-{}-{n}", self.id)
    }

    fn volume(&self, options: &[&str]) -> String {
        let (name, label) = (self.name(), self.label());
        let mut args = vec!["volume", "create", "--label", &label];
        args.extend(options);
        args.push(&name);
        docker(&args);
        name
    }

    /// A container with these options of `docker run`, and what it is to run.
    fn container(&self, image: &str, options: &[&str], command: &[&str]) -> Container {
        let (name, label) = (self.name(), self.label());
        let mut args = vec!["run", "--detach", "--name", &name, "--label", &label];
        // As `docker run` has it from the image, but without long waits between looks.
        args.extend(["--health-interval", "1s", "--publish", "127.0.0.1::6379"]);
        args.extend(options);
        args.push(image);
        args.extend(command);
        docker(&args);
        Container { name }
    }

    /// A server on this volume, which answers.
    fn server(&self, image: &str, volume: &str, settings: &[&str]) -> Container {
        let container = self.starting(image, volume, settings);
        container.answers();
        container
    }

    fn starting(&self, image: &str, volume: &str, settings: &[&str]) -> Container {
        let mount = format!("{volume}:{DIR}");
        let command: Vec<&str> = std::iter::once(CONF)
            .chain(settings.iter().copied())
            .collect();
        self.container(image, &["--volume", &mount], &command)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let filter = format!("label={}", self.label());
        for (list, remove) in [
            (&["ps", "-aq"][..], &["rm", "-f", "-v"][..]),
            (&["volume", "ls", "-q"], &["volume", "rm", "-f"]),
            (&["image", "ls", "-q"], &["rmi", "-f"]),
        ] {
            let found = run("docker", &[list, &["--filter", &filter]].concat(), &[]);
            let found = String::from_utf8_lossy(&found.stdout).into_owned();
            let ids: Vec<&str> = found.split_whitespace().collect();
            if !ids.is_empty() {
                run("docker", &[remove, &ids[..]].concat(), &[]);
            }
        }
    }
}

struct Container {
    name: String,
}

impl Container {
    fn inspect(&self, what: &str) -> String {
        docker(&["inspect", "--format", what, &self.name])
    }

    fn port(&self) -> u16 {
        let said = docker(&["port", &self.name, "6379/tcp"]);
        let port = said.lines().next().and_then(|line| line.rsplit(':').next());
        port.and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("no port: {said:?}\n{}", self.log()))
    }

    fn log(&self) -> String {
        both(&run("docker", &["logs", &self.name], &[]))
    }

    fn is_up(&self) -> bool {
        self.inspect("{{.State.Running}}") == "true"
    }

    /// Waits until the server answers.
    fn answers(&self) {
        wait_until("an answer", LIMIT, || {
            if !self.is_up() {
                panic!("the server ended:\n{}", self.log());
            }
            // The engine takes connections before the server does.
            let pong = RawClient::connect(self.port()).and_then(|mut c| c.words("PING"));
            Ok(pong.is_ok_and(|pong| pong == Resp::Simple(b"PONG".to_vec())))
        })
        .unwrap_or_else(|e| panic!("{e}\n{}", self.log()));
    }

    fn raw(&self) -> RawClient {
        RawClient::connect(self.port()).unwrap()
    }

    fn words(&self, command: &str) -> Resp {
        self.raw().words(command).unwrap()
    }

    /// Waits until it has ended by itself: the code of its end.
    fn ended(&self) -> i32 {
        wait_until("the end", LIMIT, || Ok(!self.is_up()))
            .unwrap_or_else(|e| panic!("{e}\n{}", self.log()));
        self.inspect("{{.State.ExitCode}}").parse().unwrap()
    }

    /// As a crash of the process.
    fn kill(&self) {
        docker(&["kill", &self.name]);
    }

    /// SIGTERM, and SIGKILL after Docker's own 10 s.
    fn stop(&self) {
        docker(&["stop", &self.name]);
    }

    fn start(&self) {
        docker(&["start", &self.name]);
        self.answers();
    }

    fn remove(&self) {
        docker(&["rm", "-f", "-v", &self.name]);
    }

    fn exec(&self, command: &[&str]) -> String {
        docker(&[&["exec", "--user", "0", &self.name], command].concat())
    }
}

/// Clients write until `end` has ended the server; then each knows what must be there.
fn under_load(container: &Container, clients: &mut [Client], end: impl FnOnce()) {
    let port = container.port();
    let stop = AtomicBool::new(false);
    let progress: Vec<_> = clients.iter().map(Client::progress).collect();
    let before: Vec<_> = progress.iter().map(|p| p.acknowledged()).collect();
    std::thread::scope(|scope| {
        let running: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(|| client.run(port, &stop)))
            .collect();
        let moving = wait_until("traffic", LIMIT, || {
            let pairs = progress.iter().zip(&before);
            Ok(pairs
                .into_iter()
                .all(|(p, before)| p.acknowledged() > before + 200))
        });
        end();
        stop.store(true, Ordering::SeqCst);
        for client in running {
            client.join().unwrap().unwrap();
        }
        moving.unwrap_or_else(|e| panic!("{e}\n{}", container.log()));
    });
}

fn some_clients() -> Vec<Client> {
    vec![
        Client::new("c0", 1),
        Client::new("c1", 1),
        Client::new("c2", 16),
    ]
}

/// Everything acknowledged is there, and nothing that was never sent.
fn all_there(container: &Container, clients: &mut [Client]) {
    for client in clients {
        let acknowledged = client.progress().acknowledged();
        client
            .check(&mut container.raw(), acknowledged)
            .unwrap_or_else(|e| panic!("{e}\n{}", container.log()));
    }
}

fn ok() -> Resp {
    Resp::Simple(b"OK".to_vec())
}

fn bulk(text: &str) -> Resp {
    Resp::Bulk(text.as_bytes().to_vec())
}

#[test]
fn what_was_acknowledged_survives_docker_kill() {
    let scope = Scope::new();
    for host in ["redis:8", "valkey/valkey:9"] {
        let volume = scope.volume(&[]);
        let server = scope.server(&image(host), &volume, &["--persist.appendfsync", "always"]);
        let mut clients = some_clients();
        for _ in 0..3 {
            under_load(&server, &mut clients, || server.kill());
            server.start();
            all_there(&server, &mut clients);
        }
        // The cache isn't kept.
        assert_eq!(server.words("SET page x"), ok());
        server.kill();
        server.start();
        assert_eq!(server.words("GET page"), Resp::NullBulk);
        server.remove();
    }
}

#[test]
fn docker_stop_under_load_loses_nothing() {
    let scope = Scope::new();
    let volume = scope.volume(&[]);
    // Under everysec, too: a clean end syncs.
    let server = scope.server(&image("redis:8"), &volume, &[]);
    let mut clients = some_clients();
    for _ in 0..2 {
        under_load(&server, &mut clients, || server.stop());
        // 137 would be the SIGKILL that comes after the grace.
        assert_eq!(
            server.inspect("{{.State.ExitCode}}"),
            "0",
            "{}",
            server.log()
        );
        server.start();
        all_there(&server, &mut clients);
    }
}

#[test]
fn a_volume_goes_from_image_to_image_and_from_host_to_host() {
    let scope = Scope::new();
    let volume = scope.volume(&[]);
    let (redis, valkey) = (image("redis:8"), image("valkey/valkey:9"));
    // Another image of the same, as after an upgrade.
    let upgraded = format!("redis-persist-test:upgraded-{}", scope.id);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("Dockerfile"),
        format!("FROM {redis}\nLABEL version=2\n"),
    )
    .unwrap();
    let label = scope.label();
    let options = ["build", "-q", "--label", &label, "-t", &upgraded];
    docker(&[&options[..], &[dir.path().to_str().unwrap()]].concat());
    let mut clients = some_clients();
    for (n, image) in [&redis, &upgraded, &valkey, &redis].into_iter().enumerate() {
        let server = scope.server(image, &volume, &["--persist.appendfsync", "always"]);
        all_there(&server, &mut clients);
        if n == 2 {
            assert!(
                server
                    .words("INFO server")
                    .text()
                    .unwrap()
                    .contains("valkey_version")
            );
        }
        under_load(&server, &mut clients, || server.kill());
        server.remove();
    }
    let server = scope.server(&valkey, &volume, &[]);
    all_there(&server, &mut clients);
    server.remove();
}

#[test]
fn a_read_only_volume_is_refused_and_left_as_it_is() {
    let scope = Scope::new();
    let volume = scope.volume(&[]);
    let image = image("redis:8");
    let server = scope.server(&image, &volume, &["--persist.appendfsync", "always"]);
    assert_eq!(server.words("PERSIST.SET cart 3"), ok());
    server.kill();
    server.remove();

    let read_only = format!("{volume}:{DIR}:ro");
    let refused = scope.container(&image, &["--volume", &read_only], &[CONF]);
    assert_ne!(refused.ended(), 0);
    let log = refused.log();
    assert!(
        log.contains("can't start: persist.dir can't be used") && log.contains("Read-only"),
        "{log}"
    );

    let server = scope.server(&image, &volume, &[]);
    assert_eq!(server.words("PERSIST.GET cart"), bulk("3"));
}

#[test]
fn a_full_volume_refuses_writes_and_loses_nothing() {
    let scope = Scope::new();
    // In memory, 16 MB; the second container keeps it while the server is down.
    let options = ["type=tmpfs", "device=tmpfs", "o=size=16m,uid=999,mode=700"];
    let options: Vec<&str> = options
        .iter()
        .flat_map(|option| ["--opt", option])
        .collect();
    let volume = scope.volume(&options);
    let image = image("redis:8");
    let mount = format!("{volume}:{DIR}");
    let keeper = scope.container(
        &image,
        &["--volume", &mount, "--entrypoint", "sleep"],
        &["600"],
    );
    let ballast = format!("{DIR}/ballast");
    keeper.exec(&[
        "dd",
        "if=/dev/zero",
        &format!("of={ballast}"),
        "bs=1M",
        "count=12",
    ]);

    let server = scope.server(&image, &volume, &["--persist.appendfsync", "always"]);
    let mut client = server.raw();
    let value = "x".repeat(50_000);
    let mut kept = Vec::new();
    let mut reason = None;
    for n in 0..1000 {
        let key = format!("cart:{n}");
        match client.command(&["PERSIST.SET", &key, &value]) {
            Ok(reply) if reply == ok() => kept.push(key),
            // The write that met the full disk may yet be lost, and says so; the next ones are refused, and say why.
            Ok(reply) => {
                let text = reply.to_string();
                assert!(text.contains("MISCONF"), "{text}");
                if text.contains("No space left") {
                    reason = Some(text);
                    break;
                }
            }
            // Cut off, with an outcome that nobody knows.
            Err(_) => client = server.raw(),
        }
    }
    assert!(reason.is_some(), "no write was refused\n{}", server.log());
    assert!(kept.len() > 10, "{}", kept.len());
    let there = |server: &Container| {
        let mut client = server.raw();
        for key in &kept {
            let found = client.command(&["PERSIST.GET", key]).unwrap();
            assert!(
                found == bulk(&value),
                "{key} was acknowledged\n{}",
                server.log()
            );
        }
    };
    // Reads go on, and the cache.
    there(&server);
    assert_eq!(server.words("SET page x"), ok());
    // With room again, writes do, without a restart.
    keeper.exec(&["rm", &ballast]);
    wait_until("writes", LIMIT, || {
        let reply = server.raw().words("PERSIST.SET more 1")?;
        Ok(reply == ok())
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", server.log()));
    server.kill();
    server.start();
    there(&server);
    assert_eq!(server.words("PERSIST.GET more"), bulk("1"));
}

#[test]
fn a_second_container_on_the_volume_is_refused() {
    let scope = Scope::new();
    let volume = scope.volume(&[]);
    let image = image("redis:8");
    let first = scope.server(&image, &volume, &[]);
    assert_eq!(first.words("PERSIST.SET cart 3"), ok());
    let second = scope.starting(&image, &volume, &[]);
    assert_ne!(second.ended(), 0);
    let log = second.log();
    assert!(log.contains("can't start: persist.dir"), "{log}");
    assert!(
        log.contains("belongs to another server: a process out of sight holds"),
        "{log}"
    );
    assert_eq!(first.words("PERSIST.INCR cart"), Resp::Int(4));
    // It may have it when the first is gone.
    first.stop();
    docker(&["start", &second.name]);
    second.answers();
    assert_eq!(second.words("PERSIST.GET cart"), bulk("4"));
}

#[test]
fn the_server_is_nobody_special_and_healthy_when_it_answers() {
    let scope = Scope::new();
    let volume = scope.volume(&[]);
    let image = image("redis:8");
    let server = scope.starting(&image, &volume, &[]);
    wait_until("health", LIMIT, || {
        Ok(server.inspect("{{.State.Health.Status}}") == "healthy")
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", server.log()));
    // It answers by now.
    assert_eq!(server.words("PERSIST.SET cart 3"), ok());
    let status = server.exec(&["cat", "/proc/1/status"]);
    let uid = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap();
    assert_eq!(uid.split_whitespace().nth(1), Some("999"), "{status}");
    let owner = server.exec(&["stat", "-c", "%u %a", DIR]);
    assert_eq!(owner, "999 700");
    // A server that can't answer isn't healthy.
    assert_eq!(server.words("CONFIG SET requirepass secret"), ok());
    docker(&["pause", &server.name]);
    wait_until("an unhealthy server", LIMIT, || {
        Ok(server.inspect("{{.State.Health.Status}}") == "unhealthy")
    })
    .unwrap_or_else(|e| panic!("{e}"));
    docker(&["unpause", &server.name]);
    // Not even without the password, which its health check doesn't know.
    wait_until("health again", LIMIT, || {
        Ok(server.inspect("{{.State.Health.Status}}") == "healthy")
    })
    .unwrap_or_else(|e| panic!("{e}"));
}

/// What the host itself has to load keeps a container from being taken for ready, too.
#[test]
fn it_is_not_healthy_before_everything_is_loaded() {
    let scope = Scope::new();
    let (volume, data) = (scope.volume(&[]), scope.volume(&[]));
    let image = image("redis:8");
    let (ours, hosts) = (format!("{volume}:{DIR}"), format!("{data}:/data"));
    let options = ["--volume", &ours, "--volume", &hosts];
    let first = scope.container(&image, &options, &[CONF]);
    first.answers();
    let keys: Vec<Vec<String>> = (0..5000)
        .map(|n| vec!["SET".into(), format!("page:{n}"), "x".into()])
        .collect();
    first.raw().pipeline(&keys).unwrap();
    assert_eq!(first.words("PERSIST.SET cart 3"), ok());
    assert_eq!(first.words("SAVE"), ok());
    first.kill();
    first.remove();
    // A ms for each of the host's keys, and answers meanwhile.
    let settings = "--key-load-delay 1000 --loading-process-events-interval-bytes 1024";
    let settings: Vec<&str> = std::iter::once(CONF).chain(settings.split(' ')).collect();
    let second = scope.container(&image, &options, &settings);
    let state = || second.inspect("{{.State.Health.Status}}");
    let mut loading = 0;
    wait_until("health", LIMIT, || {
        let pong = RawClient::connect(second.port()).and_then(|mut c| c.words("PING"));
        let before = state();
        if pong.is_ok_and(|pong| pong.to_string().contains("LOADING")) {
            loading += 1;
            assert_eq!(before, "starting", "{}", second.log());
        }
        Ok(before == "healthy")
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", second.log()));
    assert!(loading > 3, "it loaded too fast");
    assert_eq!(second.words("PERSIST.GET cart"), bulk("3"));
    assert_eq!(second.words("GET page:4999"), bulk("x"));
}

/// As docker/README.md says; the copy goes to a server on another host.
#[test]
fn a_backup_taken_in_the_container_starts_elsewhere() {
    let scope = Scope::new();
    let dir = tempfile::tempdir().unwrap();
    for (host, other) in [
        ("redis:8", "valkey/valkey:9"),
        ("valkey/valkey:9", "redis:8"),
    ] {
        let server = scope.server(&image(host), &scope.volume(&[]), &[]);
        assert_eq!(server.words("PERSIST.SET cart 3"), ok());
        let said = docker(&["exec", &server.name, "redis-persist-backup", "/tmp/backup"]);
        assert!(said.contains("/tmp/backup: "), "{said}");
        let to = dir.path().join(host.replace(['/', ':'], "-"));
        let to = to.to_str().unwrap();
        docker(&["cp", &format!("{}:/tmp/backup", server.name), to]);
        let volume = scope.volume(&[]);
        let (from, into) = (format!("{to}:/backup:ro"), format!("{volume}:{DIR}"));
        let put = format!("install -o 999 -g 999 -m 600 /backup/persist.rdb {DIR}/");
        let options = ["run", "--rm", "--user", "0", "--entrypoint", "sh"];
        let mounts = ["-v", &from, "-v", &into, &image(host), "-c", &put];
        docker(&[&options[..], &mounts[..]].concat());
        let restored = scope.server(&image(other), &volume, &[]);
        assert_eq!(restored.words("PERSIST.GET cart"), bulk("3"));
        server.remove();
        restored.remove();
    }
}

/// As in docker/README.md: the host's own image, with the module mounted.
#[test]
fn the_module_mounted_into_the_hosts_own_image() {
    let scope = Scope::new();
    // Makes the host's image where there is none.
    image("redis:8");
    let volume = scope.volume(&[]);
    let module: PathBuf = module_path();
    let at = "/usr/local/lib/redis/modules/libredis_persist.so";
    let module = format!("{}:{at}:ro", module.display());
    let data = format!("{volume}:/data");
    let options = ["--volume", &module, "--volume", &data];
    let server = scope.container("redis:8", &options, &[]);
    server.answers();
    assert_eq!(server.words("PERSIST.SET cart 3"), ok());
    wait_until("an fsync", LIMIT, || {
        let info = server.words("PERSIST.INFO").text().unwrap_or_default();
        Ok(info.contains("at_risk_bytes:0\r\n"))
    })
    .unwrap();
    server.kill();
    server.start();
    assert_eq!(server.words("PERSIST.GET cart"), bulk("3"));
}

/// `make up` and `make down`.
#[test]
fn the_demo_shows_what_survives() {
    let image = image("redis:8");
    let project = format!("redis-persist-test-{}", std::process::id());
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let number = port.local_addr().unwrap().port().to_string();
    drop(port);
    let env = [
        ("IMAGE", image.as_str()),
        ("PROJECT", &project),
        ("PORT", &number),
    ];
    let up = run("bash", &["docker/up.sh"], &env);
    let down = run("bash", &["docker/up.sh", "down", "--volumes"], &env);
    let said = both(&up);
    assert!(up.status.success(), "{said}");
    assert!(down.status.success(), "{}", both(&down));
    let (before, after) = said.split_once("kill -9").expect("a kill");
    for n in 1..=3 {
        let cart = format!("cart:{n}  apples {} pears 2", n + 10);
        assert!(before.contains(&format!("<html>page {n}</html>")), "{said}");
        assert!(before.contains(&cart) && after.contains(&cart), "{said}");
        assert!(after.contains(&format!("page:{n}  (gone)")), "{said}");
    }
    let filter = format!("label=com.docker.compose.project={project}");
    assert_eq!(docker(&["ps", "-aq", "--filter", &filter]), "");
    assert_eq!(docker(&["volume", "ls", "-q", "--filter", &filter]), "");
}
