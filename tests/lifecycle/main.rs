//! What a server's life brings: children that hang, die or run out of memory, clocks that jump while it runs, each way to
//! end it, ends that come late or not at all, processes that replace themselves, and another server's data.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, missing_docs)]

mod anew;
mod children;
mod clocks;
mod ends;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use persist_tools::preload::{Faults, Preload};
use persist_tools::raw::Resp;
use persist_tools::server::{Builder, Server, wait_until};

const LIMIT: Duration = Duration::from_secs(30);
const ENOSPC: i32 = 28;

fn said(server: &Server, command: &str, text: &str) {
    let reply = server.words(command).unwrap().to_string();
    assert!(
        reply.contains(text),
        "{command}: {reply}\n{}",
        server.log_tail(30)
    );
}

fn info(server: &Server, field: &str) -> String {
    server.persist_info(field).unwrap()
}

fn wait_info(server: &Server, field: &str, value: &str) {
    wait_until(&format!("{field}:{value}"), LIMIT, || {
        Ok(server.persist_info(field)? == value)
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", server.log_tail(30)));
}

fn kill(pid: u32, signal: i32) {
    // SAFETY: kill(2) touches no memory of ours.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|text| !text.contains(") Z"))
}

fn no_temp_files(server: &Server) {
    wait_until("temporary files to go", LIMIT, || {
        Ok(temp_files(server).is_empty())
    })
    .unwrap();
}

/// A server whose faults are switched by the file.
fn with_faults(builder: Builder, preload: Preload) -> (tempfile::TempDir, Server, PathBuf) {
    let dir = tempfile::Builder::new()
        .prefix("lifecycle-")
        .tempdir()
        .unwrap();
    let control = dir.path().join("control");
    let server = builder
        .with_module()
        .dir(dir.path())
        .preload(preload.control(&control))
        .start()
        .unwrap();
    (dir, server, control)
}

/// Each fsync of a child takes long enough to catch it there.
fn slow_children() -> Builder {
    Server::builder()
        .with_module()
        .preload(Preload::new().slow_fsync_ms(300).slow_path("temp-"))
}

fn temp_files(server: &Server) -> Vec<String> {
    let dirs = [server.data_dir(), server.data_dir().join("persist-aof")];
    dirs.iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flat_map(|entries| entries.flatten())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("temp-persist-"))
        .collect()
}

/// The child that `command` begins, stopped when it is at its work.
fn stuck_child(server: &Server, command: &str) -> u32 {
    said(server, command, "started");
    wait_until("a child", LIMIT, || {
        // One that has begun to write, not the manifest's before it: it knows by then whose child it is.
        let begun = |name: &String| !name.contains("manifest");
        Ok(!server.children().is_empty() && temp_files(server).iter().any(begun))
    })
    .unwrap();
    let child = server.children()[0];
    kill(child, libc::SIGSTOP);
    child
}
