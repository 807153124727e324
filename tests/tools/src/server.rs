//! Real servers as child processes.
//!
//! A server lives in one folder: `redis.conf`, `server.log`, and `data/`, which is the host's `dir` and so the module's.
//! It is killed when the handle is dropped, and when the test's process dies. Settings are written into `redis.conf`
//! once, so that what CONFIG REWRITE leaves there counts at the next start.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::preload::Preload;
use crate::raw::{RawClient, Resp};
use crate::{Error, Result};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR"));
    tools
        .parent()
        .and_then(Path::parent)
        .unwrap_or(tools)
        .to_path_buf()
}

/// The redis-server that tests run: `REDIS_SERVER`, or `redis-server`.
pub fn server_binary() -> PathBuf {
    std::env::var_os("REDIS_SERVER")
        .filter(|name| !name.is_empty())
        .map_or_else(|| "redis-server".into(), PathBuf::from)
}

/// What the servers of tests are told besides: how many threads they read and write with, `IO_THREADS`, and the host's own
/// `appendfsync`, `HOST_APPENDFSYNC`, on which it depends when those send replies. A builder's own lines go before these.
fn host_settings() -> impl Iterator<Item = String> {
    [
        ("io-threads", "IO_THREADS"),
        ("appendfsync", "HOST_APPENDFSYNC"),
    ]
    .into_iter()
    .filter_map(|(setting, variable)| {
        let value = std::env::var(variable).ok().filter(|v| !v.is_empty())?;
        Some(format!("{setting} {value}"))
    })
}

/// The module: `PERSIST_MODULE`, or the release build.
///
/// # Panics
/// When there is none: a test without the module must fail, not be skipped.
#[allow(clippy::panic)]
pub fn module_path() -> PathBuf {
    if let Some(path) = std::env::var_os("PERSIST_MODULE").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        assert!(
            path.exists(),
            "PERSIST_MODULE={}: no such file",
            path.display()
        );
        return std::path::absolute(&path).unwrap_or(path);
    }
    let mut targets = Vec::new();
    if let Some(dir) = std::env::var_os("CARGO_TARGET_DIR") {
        targets.push(workspace().join(dir));
    }
    if let Ok(exe) = std::env::current_exe() {
        targets.extend(exe.ancestors().skip(1).take(3).map(Path::to_path_buf));
    }
    targets.push(workspace().join("target"));
    let candidates: Vec<_> = targets
        .iter()
        .map(|dir| dir.join("release/libredis_persist.so"))
        .collect();
    match candidates.iter().find(|path| path.exists()) {
        Some(path) => path.clone(),
        None => panic!(
            "libredis_persist.so is missing: run `make build` first, or set PERSIST_MODULE. Looked at {candidates:?}"
        ),
    }
}

/// How to start a server.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    binary: Option<PathBuf>,
    module: Option<PathBuf>,
    module_args: Vec<(String, String)>,
    dir: Option<PathBuf>,
    port: Option<u16>,
    config: Vec<String>,
    env: Vec<(OsString, OsString)>,
    preload: Option<Preload>,
    wait: Option<Duration>,
}

impl Builder {
    /// Another redis-server or valkey-server than [`server_binary`]. A wrapper script must `exec` the server.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// With the module; panics when it hasn't been built.
    pub fn with_module(self) -> Self {
        self.module(module_path())
    }

    /// With this module.
    pub fn module(mut self, path: impl Into<PathBuf>) -> Self {
        self.module = Some(path.into());
        self
    }

    /// A `name value` argument of `loadmodule`.
    pub fn module_arg(mut self, name: &str, value: &str) -> Self {
        self.module_args.push((name.into(), value.into()));
        self
    }

    /// The server's folder (see the module's text); a temporary one if not said.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// A fixed port; a free one if not said.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// A setting with one value, which is quoted: `.config("persist.appendfsync", "always")`. The host's own settings
    /// with several values, such as `save 60 1`, need [`Builder::config_line`].
    pub fn config(self, name: &str, value: &str) -> Self {
        let line = format!("{name} {}", quote(value));
        self.config_line(&line)
    }

    /// A line of redis.conf as it is.
    pub fn config_line(mut self, line: &str) -> Self {
        self.config.push(line.into());
        self
    }

    /// An environment variable of the server.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// With the library that slows, fails and traces system calls.
    pub fn preload(mut self, preload: Preload) -> Self {
        self.preload = Some(preload);
        self
    }

    /// How long starting, with loading, may take (60 s if not said).
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = Some(limit);
        self
    }

    /// Starts the server and waits until it answers PING. An error carries the end of its log.
    pub fn start(self) -> Result<Server> {
        let (root, temp) = match &self.dir {
            Some(dir) => (std::path::absolute(dir)?, None),
            None => {
                let temp = tempfile::Builder::new().prefix("persist-").tempdir()?;
                (temp.path().to_path_buf(), Some(temp))
            }
        };
        fs::create_dir_all(root.join("data"))?;
        let mut env = self.env.clone();
        if let Some(preload) = &self.preload {
            env.extend(preload.environment(&root)?);
        }
        let mut server = Server {
            binary: self.binary.clone().unwrap_or_else(server_binary),
            root,
            env,
            wait: self.wait.unwrap_or(Duration::from_secs(60)),
            fixed_port: self.port,
            port: 0,
            child: None,
            load_time: Duration::ZERO,
            _temp: temp,
        };
        server.write_config(&self)?;
        server.start()?;
        Ok(server)
    }
}

/// A running (or killed, or shut down) server.
pub struct Server {
    binary: PathBuf,
    root: PathBuf,
    env: Vec<(OsString, OsString)>,
    wait: Duration,
    fixed_port: Option<u16>,
    port: u16,
    child: Option<Child>,
    load_time: Duration,
    _temp: Option<TempDir>,
}

impl Server {
    /// How to start a server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process; 0 when it doesn't run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// The folder of `redis.conf` and `server.log`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The host's `dir`, where the files of the host and of the module are.
    pub fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    /// From the start of the process to its first answer that isn't `-LOADING`, at the last start.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// Everything it has logged since the folder was made, over restarts.
    pub fn log(&self) -> String {
        let mut log = Vec::new();
        for name in ["stdout.log", "server.log"] {
            log.extend(fs::read(self.root.join(name)).unwrap_or_default());
        }
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The last lines of the log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// A connection of the redis crate.
    pub fn conn(&self) -> Result<redis::Connection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port))?;
        Ok(client.get_connection()?)
    }

    /// A raw connection.
    pub fn raw(&self) -> Result<RawClient> {
        RawClient::connect(self.port)
    }

    /// One command, given as words, on a connection of its own.
    pub fn words(&self, command: &str) -> Result<Resp> {
        self.raw()?.words(command)
    }

    /// A field of INFO.
    pub fn info(&self, field: &str) -> Result<String> {
        self.field("INFO everything", field)
    }

    /// A field of PERSIST.INFO.
    pub fn persist_info(&self, field: &str) -> Result<String> {
        self.field("PERSIST.INFO", field)
    }

    fn field(&self, command: &str, field: &str) -> Result<String> {
        let reply = self.words(command)?;
        reply
            .text()
            .filter(|_| !reply.is_error())
            .and_then(|text| {
                text.lines()
                    .find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.to_owned()))
            })
            .ok_or_else(|| Error::new(format!("{command}: no field {field} in {reply}")))
    }

    /// Ends the server at once, as `kill -9` does. A child that it has forked lives on.
    pub fn kill9(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Ends the server and the children that it has forked.
    pub fn kill9_all(&mut self) -> Result<()> {
        let children = self.children();
        self.kill9()?;
        for pid in children {
            signal(pid, libc::SIGKILL)?;
        }
        Ok(())
    }

    /// The processes that the server has forked and that still run.
    pub fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return Vec::new();
        };
        tasks
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
            .flat_map(|text| {
                text.split_whitespace()
                    .filter_map(|word| word.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, number: i32) -> Result<()> {
        match self.pid() {
            0 => Err(Error::new("the server doesn't run")),
            pid => signal(pid, number),
        }
    }

    /// SHUTDOWN, with NOSAVE or as the settings say; waits for the end of the process.
    pub fn shutdown(&mut self, nosave: bool) -> Result<ExitStatus> {
        let mut client = self.raw()?;
        client.send(if nosave {
            &["SHUTDOWN", "NOSAVE"][..]
        } else {
            &["SHUTDOWN"]
        })?;
        // A reply comes only when it refuses.
        if let Ok(reply) = client.read() {
            return Err(Error::new(format!("SHUTDOWN: {reply}")));
        }
        self.wait_for_exit()
    }

    /// Waits until the process has ended by itself, as long as starting may take.
    pub fn wait_for_exit(&mut self) -> Result<ExitStatus> {
        let Some(mut child) = self.child.take() else {
            return Err(Error::new("the server doesn't run"));
        };
        let end = Instant::now() + self.wait;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                self.child = Some(child);
                return Err(Error::new("the server doesn't end"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts it again on the same port with the same folder, after `kill -9` if it still runs.
    pub fn restart(&mut self) -> Result<()> {
        self.kill9()?;
        self.start()
    }

    /// Changes a setting in redis.conf for the next start.
    pub fn set_config(&self, name: &str, value: &str) -> Result<()> {
        self.remove_config(name)?;
        self.append_config(&format!("{name} {}", quote(value)))
    }

    /// Removes a setting from redis.conf.
    pub fn remove_config(&self, name: &str) -> Result<()> {
        let path = self.root.join("redis.conf");
        let kept: String = fs::read_to_string(&path)?
            .lines()
            .filter(|line| line.split_whitespace().next() != Some(name))
            .flat_map(|line| [line, "\n"])
            .collect();
        Ok(fs::write(path, kept)?)
    }

    /// Other environment variables from the next start on (those of a [`Preload`] go with them).
    pub fn set_env(&mut self, env: Vec<(OsString, OsString)>) {
        self.env = env;
    }

    /// Another preloaded library, or none, from the next start on. Replaces the whole environment.
    pub fn set_preload(&mut self, preload: Option<&Preload>) -> Result<()> {
        self.env = match preload {
            Some(preload) => preload.environment(&self.root)?,
            None => Vec::new(),
        };
        Ok(())
    }

    fn append_config(&self, line: &str) -> Result<()> {
        use std::io::Write;
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(self.root.join("redis.conf"))?;
        Ok(writeln!(file, "{line}")?)
    }

    fn write_config(&self, builder: &Builder) -> Result<()> {
        let _ = fs::remove_file(self.root.join("redis.conf"));
        let quoted = |path: &Path| quote(&path.to_string_lossy());
        let mut lines: Vec<String> = vec![
            "bind 127.0.0.1".into(),
            "daemonize no".into(),
            "save \"\"".into(),
            "appendonly no".into(),
            format!("dir {}", quoted(&self.data_dir())),
            format!("logfile {}", quoted(&self.root.join("server.log"))),
            "enable-debug-command yes".into(),
            "enable-module-command yes".into(),
            "enable-protected-configs yes".into(),
        ];
        lines.extend(host_settings());
        if let Some(module) = &builder.module {
            let args: String = builder
                .module_args
                .iter()
                .map(|(name, value)| format!(" {} {}", quote(name), quote(value)))
                .collect();
            lines.push(format!("loadmodule {}{args}", quoted(module)));
        }
        // `save` adds up: only without ours do the builder's lines mean what they say.
        lines.retain(|ours| {
            let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
            let overridden = |line: &String| name(line) == name(ours);
            ours.starts_with("loadmodule") || !builder.config.iter().any(overridden)
        });
        lines.extend(builder.config.iter().cloned());
        lines.iter().try_for_each(|line| self.append_config(line))
    }

    /// Starts the process on its port, or on a free one. Another process may take that between the look and the start;
    /// a restart waits a little for its old port before it takes another.
    fn start(&mut self) -> Result<()> {
        let mut last = None;
        for attempt in 0..10 {
            if self.port == 0 || attempt >= 5 {
                self.port = self.fixed_port.map_or_else(free_port, Ok)?;
            }
            self.set_config("port", &self.port.to_string())?;
            let before = self.log().len();
            let Err(error) = self.start_once() else {
                return Ok(());
            };
            let log = self.log();
            let new = log.get(before..).unwrap_or(&log);
            if !new.contains("Address already in use") {
                return Err(error);
            }
            last = Some(error);
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(last.unwrap_or_else(|| Error::new("no free port")))
    }

    fn start_once(&mut self) -> Result<()> {
        let output = File::options()
            .append(true)
            .create(true)
            .open(self.root.join("stdout.log"))?;
        let mut command = Command::new(&self.binary);
        command
            .arg(self.root.join("redis.conf"))
            .current_dir(&self.root)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let begin = Instant::now();
        let child = spawn(command)
            .map_err(|error| Error::new(format!("{}: {error}", self.binary.display())))?;
        let pid = child.id();
        self.child = Some(child);
        loop {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                self.child = None;
                return Err(Error::new(format!(
                    "the server ended at its start ({status}):\n{}",
                    self.log_tail(30)
                )));
            }
            if self.answers(pid) {
                self.load_time = begin.elapsed();
                return Ok(());
            }
            if begin.elapsed() > self.wait {
                let _ = self.kill9();
                return Err(Error::new(format!(
                    "the server doesn't answer:\n{}",
                    self.log_tail(30)
                )));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Does this very process answer, with its data loaded?
    fn answers(&self, pid: u32) -> bool {
        let answer = || -> Result<bool> {
            let mut client = self.raw()?;
            client.set_timeout(Some(self.wait))?;
            if client.words("PING")? != Resp::Simple(b"PONG".to_vec()) {
                return Ok(false);
            }
            let info = client.words("INFO server")?.text().unwrap_or_default();
            Ok(info.contains(&format!("process_id:{pid}\r\n")))
        };
        answer().unwrap_or(false)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill9_all();
    }
}

/// Waits until `done` says so, asking every 2 ms; an error with `what` after the limit.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let begin = Instant::now();
    while !done()? {
        if begin.elapsed() > limit {
            return Err(Error::new(format!("waited {limit:?} in vain: {what}")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(begin.elapsed())
}

fn signal(pid: u32, number: i32) -> Result<()> {
    // SAFETY: kill(2) touches no memory of ours.
    match unsafe { libc::kill(pid as libc::pid_t, number) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

/// A value in redis.conf's quotes.
fn quote(value: &str) -> String {
    let mut out = String::from("\"");
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(byte as char);
            }
            b' '..=b'~' => out.push(byte as char),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// A port nobody listens on, below the range that the system hands to clients.
fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..12_000 {
        let offset = (std::process::id() * 37 + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + offset as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::new("no free port"))
}

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts a process that dies with this one. The kernel ties a child's life to the *thread* that made it, and tests'
/// threads end before the servers that they share; so one thread that never ends makes them all.
fn spawn(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, reply) in jobs {
                // SAFETY: between fork and exec only prctl(2) is called, which is safe to call from a signal handler.
                unsafe {
                    command.pre_exec(|| {
                        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                        Ok(())
                    });
                }
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let gone = || std::io::Error::other("the thread that starts servers is gone");
    let (reply, result) = mpsc::channel();
    spawner
        .lock()
        .map_err(|_| gone())?
        .send((command, reply))
        .map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}
