//! Real clients on routed keys: redis-py, the job queue rq and the rate limiter limits, through `kill -9` of their
//! server. The tests themselves are in Python, in `tests/clients`; `make test` installs what they need. `JOBS` and
//! `KILLS` say how many jobs rq gets and how often its server dies meanwhile.
#![allow(clippy::expect_used, clippy::panic)]

use std::process::Command;

use persist_tools::server::{module_path, server_binary, workspace};

fn passes(test: &str) {
    let python = workspace().join(".cache/clients/bin/python");
    assert!(
        python.exists(),
        "{} is missing: `make test` installs it, or bash tests/clients/install.sh",
        python.display()
    );
    let output = Command::new(python)
        .args(["-m", "unittest", test])
        .current_dir(workspace().join("tests/clients"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PERSIST_MODULE", module_path())
        .env("REDIS_SERVER", server_binary())
        .output()
        .expect("Python starts");
    assert!(
        output.status.success(),
        "{test}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn redis_py() {
    passes("test_redis_py");
}

#[test]
fn rq() {
    passes("test_rq");
}

#[test]
fn limits() {
    passes("test_limits");
}
