//! Reads a trace of a server and says where something counted before it was durable.
//!
//! The trace is played back on a model of what a disk promises: bytes are durable once an fsync that began after their
//! write has returned; a name (made by create, rename, link, unlink, mkdir) is durable once the same holds for its
//! folder. At each step that relies on something, the model is asked whether that is durable:
//!
//! | step | needs |
//! |---|---|
//! | rename of a temporary file | its bytes |
//! | rename of a manifest | names and bytes of all that it lists (an open incr file: its name, and one fsync), and the name of its folder |
//! | a byte into an incr file | its name, and a manifest in force, durable, that lists it |
//! | unlink of a log's file | a manifest in force, durable, that does not list it as base or incr |
//! | fsync of a folder out of which something was moved | its new name |
//! | cutting an incr file | whatever stands in quarantine |
//! | a reply under `always` | all bytes of all incr files |
//! | a reply, by the test's own [`Rule`] | what the rule says |

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::preload::Call;
use crate::raw::Resp;

/// A demand on replies that contain a text.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Replies with this text...
    pub text: &'static str,
    /// ... need this file (by the end of its path): bytes and name.
    pub file: &'static str,
    /// And this text in the durable manifest, if any.
    pub manifest: &'static str,
}

#[derive(Clone, Debug, Default)]
struct Content {
    dirty_since: Option<u64>,
    /// Made, and not synced since.
    new: bool,
    /// Only of manifests.
    text: String,
}

/// The model.
#[derive(Debug, Default)]
pub struct Order {
    always: bool,
    rules: Vec<Rule>,
    files: BTreeMap<String, Content>,
    /// Names that aren't durable, by folder, and since when.
    names: BTreeMap<String, BTreeMap<String, u64>>,
    /// Moves from one folder to another: the old folder, and the new path.
    moves: Vec<(String, String)>,
    problems: BTreeSet<String>,
}

fn split(path: &str) -> (String, String) {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    (dir.to_owned(), name.to_owned())
}

fn is_incr(path: &str) -> bool {
    path.ends_with(".incr.aof")
}

fn is_log_file(path: &str) -> bool {
    is_incr(path) || path.contains(".base.")
}

/// Undoes the trace's `\xNN`.
pub fn unescape(data: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some(at) = rest.find("\\x") {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let digits = rest.get(at + 2..at + 4).unwrap_or("3f");
        out.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
        rest = rest.get(at + 4..).unwrap_or("");
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

impl Order {
    /// With the rule of `always`, or without.
    pub fn new(always: bool) -> Self {
        Self {
            always,
            ..Self::default()
        }
    }

    /// With this rule, too.
    pub fn rule(mut self, text: &'static str, file: &'static str, manifest: &'static str) -> Self {
        self.rules.push(Rule {
            text,
            file,
            manifest,
        });
        self
    }

    /// The files that were there before the trace: manifests with what they say. Their names aren't known to be durable,
    /// nor are the bytes of incr files, since their writer was killed.
    pub fn existing(mut self, data: &Path) -> Self {
        self.touch_name(&data.join("persist-aof").to_string_lossy(), 0);
        for dir in [data.to_path_buf(), data.join("persist-aof")] {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = path.to_string_lossy().into_owned();
                let empty = entry.metadata().is_ok_and(|m| m.len() == 0);
                let mut content = Content::default();
                if name.ends_with(".manifest") {
                    content.text = std::fs::read_to_string(&path).unwrap_or_default();
                } else if is_incr(&name) && !empty {
                    content.dirty_since = Some(0);
                }
                self.files.insert(name.clone(), content);
                self.touch_name(&name, 0);
            }
        }
        self
    }

    /// Plays the calls that touch files below `data`, and sockets. What was wrong, each once.
    pub fn check(mut self, calls: &[Call], data: &Path) -> Vec<String> {
        let data = data.to_string_lossy().into_owned();
        let mut events = Vec::new();
        for call in calls {
            if call.op == "begin fsync" || call.result < 0 {
                continue;
            }
            if call.path.contains(&data) {
                events.push((call.end, false, call));
                events.push((call.begin, true, call));
            } else if call.is_socket() && call.is_write() {
                events.push((call.begin, true, call));
            }
        }
        // What has ended comes before what begins.
        events.sort_by_key(|(time, begins, _)| (*time, *begins));
        for (_, begins, call) in events {
            if begins {
                self.begins(call);
            } else {
                self.ended(call);
            }
        }
        self.problems.into_iter().collect()
    }

    /// What isn't durable when the trace ends, too, is a problem.
    pub fn at_end(mut self, calls: &[Call], data: &Path) -> Vec<String> {
        let last = calls.iter().map(|call| call.end).max().unwrap_or(0);
        let goodbye = Call {
            begin: last + 1,
            end: last + 2,
            pid: 0,
            tid: 0,
            op: "write".into(),
            result: 1,
            path: "socket:[the end]".into(),
            data: "the end".into(),
        };
        self.always = true;
        let mut all = calls.to_vec();
        // Only the end counts here, not each reply.
        all.retain(|call| !call.is_socket());
        all.push(goodbye);
        self.check(&all, data)
    }

    fn problem(&mut self, text: String) {
        self.problems.insert(text);
    }

    fn is_dirty(&self, path: &str) -> bool {
        self.files
            .get(path)
            .is_some_and(|content| content.dirty_since.is_some())
    }

    fn is_pending(&self, path: &str) -> bool {
        let (dir, name) = split(path);
        self.names
            .get(&dir)
            .is_some_and(|names| names.contains_key(&name))
    }

    fn touch_name(&mut self, path: &str, at: u64) {
        let (dir, name) = split(path);
        self.names.entry(dir).or_default().insert(name, at);
    }

    fn manifest(&self) -> Option<(String, String)> {
        self.files
            .iter()
            .find(|(path, _)| path.ends_with(".manifest") && !split(path).1.starts_with("temp-"))
            .map(|(path, content)| (path.clone(), content.text.clone()))
    }

    fn begins(&mut self, call: &Call) {
        let short = |path: &str| {
            let (_, name) = split(path);
            let mut out = String::new();
            for (i, part) in name.split('-').enumerate() {
                let hidden = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                out += if i > 0 { "-" } else { "" };
                out += if hidden { "PID" } else { part };
            }
            out
        };
        if call.is_socket() {
            return self.replies(call);
        }
        match call.op.as_str() {
            "rename" => {
                let Some((from, to)) = call.path.split_once(" -> ") else {
                    return;
                };
                // The snapshot has won over the log.
                if from.ends_with("/persist-aof") {
                    let (dir, _) = split(from);
                    let snapshot = format!("{dir}/persist.rdb");
                    if self.is_dirty(&snapshot) || self.is_pending(&snapshot) {
                        self.problem("the log gives way to a snapshot that isn't durable".into());
                    }
                }
                if self.is_dirty(from) && !to.contains("/quarantine/") {
                    self.problem(format!("{} is renamed before its fsync", short(from)));
                }
                if to.ends_with(".manifest") {
                    let text = self
                        .files
                        .get(from)
                        .map(|c| c.text.clone())
                        .unwrap_or_default();
                    let (dir, _) = split(to);
                    if self.is_pending(&dir) {
                        self.problem(
                            "a manifest is put in a folder whose name isn't durable".into(),
                        );
                    }
                    for line in text.lines().filter(|line| line.starts_with("file ")) {
                        let words: Vec<_> = line.split(' ').collect();
                        let path = format!("{dir}/{}", words[1]);
                        if line.contains(" type h") {
                            continue;
                        }
                        if self.is_pending(&path) {
                            self.problem(format!(
                                "a manifest names {}, whose name isn't durable",
                                words[1]
                            ));
                        }
                        if self.files.get(&path).is_some_and(|content| content.new) {
                            self.problem(format!(
                                "a manifest names {}, which was never synced",
                                words[1]
                            ));
                        }
                        let counts = line.contains(" type b") || words.contains(&"last");
                        if counts && self.is_dirty(&path) {
                            self.problem(format!(
                                "a manifest counts on {}, whose bytes aren't durable",
                                words[1]
                            ));
                        }
                    }
                }
            }
            "fsync" => {
                let lost = self.moves.iter().any(|(from, to)| {
                    let (dir, _) = split(to);
                    let new_dir = self.is_pending(&dir) && split(&dir).0 != call.path;
                    *from == call.path && (self.is_pending(to) || new_dir)
                });
                if lost {
                    self.problem("an old name is given up before the new one is durable".into());
                }
            }
            "unlink" if is_log_file(&call.path) => {
                let (_, name) = split(&call.path);
                if let Some((path, text)) = self.manifest() {
                    let listed = text.lines().any(|line| {
                        line.starts_with(&format!("file {name} ")) && !line.contains(" type h")
                    });
                    if listed {
                        self.problem(format!("{name} is removed while the manifest lists it"));
                    }
                    if self.is_pending(&path) {
                        self.problem(format!(
                            "{name} is removed before the manifest without it is durable"
                        ));
                    }
                }
            }
            "ftruncate" | "truncate" if is_incr(&call.path) => {
                let unsafe_copies: Vec<_> = self
                    .files
                    .keys()
                    .filter(|path| path.contains("/quarantine/"))
                    .filter(|path| self.is_dirty(path) || self.is_pending(path))
                    .cloned()
                    .collect();
                let (dir, _) = split(&call.path);
                let quarantine = format!("{}/quarantine", split(&dir).0);
                if !unsafe_copies.is_empty() || self.is_pending(&quarantine) {
                    self.problem("a file is cut before the copy of what is cut is durable".into());
                }
            }
            _ if call.is_write() && is_incr(&call.path) => {
                let (_, name) = split(&call.path);
                if self.is_pending(&call.path) {
                    self.problem(format!("{name} is written before its name is durable"));
                }
                match self.manifest() {
                    Some((path, text)) => {
                        if !text.contains(&format!("file {name} ")) {
                            self.problem(format!("{name} is written before a manifest names it"));
                        } else if self.is_pending(&path) || self.is_dirty(&path) {
                            self.problem(format!(
                                "{name} is written before the manifest that names it is durable"
                            ));
                        }
                    }
                    None => self.problem(format!("{name} is written without a manifest")),
                }
            }
            _ => {}
        }
    }

    fn replies(&mut self, call: &Call) {
        if self.always {
            let dirty: Vec<_> = self
                .files
                .keys()
                .filter(|path| is_incr(path) && !path.contains("/quarantine/"))
                .filter(|path| self.is_dirty(path))
                .map(|path| split(path).1)
                .collect();
            for name in dirty {
                self.problem(format!(
                    "a reply leaves while bytes of {name} aren't durable"
                ));
            }
        }
        let data = String::from_utf8_lossy(&unescape(&call.data)).into_owned();
        for rule in self.rules.clone() {
            if !data.contains(rule.text) {
                continue;
            }
            let what = rule.text.trim();
            let found: Vec<_> = self
                .files
                .keys()
                .filter(|path| path.ends_with(rule.file) && !path.contains("/quarantine/"))
                .cloned()
                .collect();
            if found.is_empty() {
                self.problem(format!("{what:?} is said without {}", rule.file));
            }
            for path in found {
                if self.is_dirty(&path)
                    || self.is_pending(&path)
                    || self.is_pending(&split(&path).0)
                {
                    self.problem(format!("{what:?} is said before {} is durable", rule.file));
                }
            }
            if !rule.manifest.is_empty() {
                let durable = self.manifest().is_some_and(|(path, text)| {
                    text.contains(rule.manifest) && !self.is_pending(&path) && !self.is_dirty(&path)
                });
                if !durable {
                    self.problem(format!(
                        "{what:?} is said before a manifest with {:?} is durable",
                        rule.manifest
                    ));
                }
            }
        }
    }

    fn ended(&mut self, call: &Call) {
        match call.op.as_str() {
            "create" if !self.files.contains_key(&call.path) => {
                let content = Content {
                    new: true,
                    ..Content::default()
                };
                self.files.insert(call.path.clone(), content);
                self.touch_name(&call.path, call.end);
            }
            "mkdir" => self.touch_name(&call.path, call.end),
            "fsync" | "fdatasync" => {
                if let Some(names) = self.names.get_mut(&call.path) {
                    names.retain(|_, since| *since > call.begin);
                }
                if let Some(content) = self.files.get_mut(&call.path) {
                    content.new = false;
                }
                if let Some(content) = self.files.get_mut(&call.path)
                    && content.dirty_since.is_some_and(|since| since <= call.begin)
                {
                    content.dirty_since = None;
                }
            }
            "rename" => {
                if let Some((from, to)) = call.path.split_once(" -> ") {
                    let inside = format!("{from}/");
                    let moved: Vec<_> = self
                        .files
                        .keys()
                        .filter(|path| *path == from || path.starts_with(&inside))
                        .cloned()
                        .collect();
                    for path in moved {
                        let content = self.files.remove(&path).unwrap_or_default();
                        self.files.insert(path.replacen(from, to, 1), content);
                    }
                    if let Some(names) = self.names.remove(from) {
                        self.names.insert(to.to_owned(), names);
                    }
                    self.touch_name(from, call.end);
                    self.touch_name(to, call.end);
                    if split(from).0 != split(to).0 {
                        self.moves.push((split(from).0, to.to_owned()));
                    }
                }
            }
            "link" => {
                if let Some((from, to)) = call.path.split_once(" -> ") {
                    let content = self.files.get(from).cloned().unwrap_or_default();
                    self.files.insert(to.to_owned(), content);
                    self.touch_name(to, call.end);
                }
            }
            "unlink" => {
                self.files.remove(&call.path);
                self.touch_name(&call.path, call.end);
            }
            "ftruncate" | "truncate" => {
                let content = self.files.entry(call.path.clone()).or_default();
                content.dirty_since = Some(call.end);
            }
            _ if call.is_write() => {
                let content = self.files.entry(call.path.clone()).or_default();
                content.dirty_since = Some(call.end);
                if call.path.ends_with(".manifest") {
                    content.text += &String::from_utf8_lossy(&unescape(&call.data));
                }
            }
            _ => {}
        }
    }
}

/// One client's replies, each with the call that sent its last byte. The client is the one whose stream contains `mark`;
/// the trace must have been made with room for all data.
pub fn replies<'a>(calls: &'a [Call], mark: &str) -> Vec<(Resp, &'a Call)> {
    let mut streams: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in calls.iter().filter(|c| c.is_socket() && c.is_write()) {
        streams.entry(&call.path).or_default().push(call);
    }
    for stream in streams.values() {
        let all: Vec<(usize, &Call)> = stream
            .iter()
            .scan(0, |end, call| {
                *end += call.result as usize;
                Some((*end, *call))
            })
            .collect();
        let bytes: Vec<u8> = stream
            .iter()
            .flat_map(|call| unescape(&call.data))
            .collect();
        if !String::from_utf8_lossy(&bytes).contains(mark) {
            continue;
        }
        let mut found = Vec::new();
        let mut at = 0;
        while let Ok(Some((reply, used))) = Resp::parse(&bytes[at..]) {
            at += used;
            if let Some((_, call)) = all.iter().find(|(end, _)| *end >= at) {
                found.push((reply, *call));
            }
        }
        return found;
    }
    Vec::new()
}
