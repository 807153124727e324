//! The fuzzers' corpora on stable Rust: every file through its target, and so many seeded changes of each.
//!
//! `ROUNDS=n` makes n times as many changes, `SEED=n` others. A failure names the file, or the seed that repeats it.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use persist_engine::base::random::{Random, SeededRandom};

#[path = "fuzz/targets.rs"]
mod targets;

/// Changes of each file, in the short form.
const CHANGES: u64 = 150;
/// All corpora together, in bytes: they are kept small.
const MOST_BYTES: u64 = 100 << 10;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn corpus(name: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", dir.display());
    files
}

/// Some changes as fuzzers make them: flipped bits, other bytes, parts cut out, repeated or taken from another file.
fn change(rng: &mut SeededRandom, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=rng.below(3) {
        let len = bytes.len();
        let at = rng.below(len as u64 + 1) as usize;
        let to = (at + rng.below(32) as usize).min(len);
        match rng.below(6) {
            0 if at < len => bytes[at] ^= 1 << rng.below(8),
            1 if at < len => {
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'#'][rng.below(7) as usize]
            }
            2 => drop(bytes.drain(at..to)),
            3 => {
                let part = bytes[at..to].to_vec();
                bytes.splice(to..to, part);
            }
            4 if !other.is_empty() => {
                let from = rng.below(other.len() as u64) as usize;
                let until = (from + rng.below(64) as usize).min(other.len());
                bytes.splice(at..at, other[from..until].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn every_file_and_changes_of_it() {
    let mut total = 0;
    for (name, target) in targets::TARGETS {
        let files = corpus(name);
        let inputs: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
        for (path, bytes) in files.iter().zip(&inputs) {
            total += bytes.len() as u64;
            let told = path.display();
            assert!(catch_unwind(|| target(bytes)).is_ok(), "{told}");
            for n in 0..CHANGES * number("ROUNDS").unwrap_or(1) {
                let seed = number("SEED").unwrap_or(1) + n;
                let mut rng = SeededRandom::new(seed ^ crc(path));
                let other = &inputs[rng.below(inputs.len() as u64) as usize];
                let changed = change(&mut rng, bytes, other);
                if catch_unwind(|| target(&changed)).is_err() {
                    let kept = keep(name, seed, &changed);
                    panic!("{told}, SEED={seed}; the input is {}", kept.display());
                }
            }
        }
    }
    assert!(
        total <= MOST_BYTES,
        "the corpora have {total} bytes; see `make fuzz`"
    );
}

/// Keeps an input that fails, as the fuzzers do.
fn keep(name: &str, seed: u64, bytes: &[u8]) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/artifacts")
        .join(name);
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(format!("seed-{seed}"));
    fs::write(&path, bytes).unwrap();
    path
}

/// Each file gets changes of its own, whatever its folder.
fn crc(path: &Path) -> u64 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    persist_engine::base::checksum::crc64(name.as_bytes())
}
