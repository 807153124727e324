//! `redis-persist`: checks, shows, exports and repairs the files of the module
//! without a server. It reads with the engine's own code, so it comes to the
//! verdict that a start would come to.
//!
//! - [`folder`]: a folder and how to read it; [`lock`]: whose it is.
//! - [`bar`]: how far reading has come, on a terminal.
//! - [`text`]: bytes as people and JSON see them; [`value`]: what a key holds;
//!   [`json`]: a key as JSON; [`filter`]: which keys.
//! - [`target`]: where what is made goes, and whether it may.
//! - One file for each command.
#![forbid(unsafe_code)]

mod bar;
mod check;
mod diff;
mod export;
mod filter;
mod folder;
mod info;
mod json;
mod lock;
mod repair;
mod reseal;
mod target;
mod text;
mod value;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Check, show, export and repair the files of redis-persist without a server.
#[derive(Parser)]
#[command(name = "redis-persist", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    names: Names,
    #[command(subcommand)]
    command: Command,
}

/// The settings that say where files are, as in redis.conf.
#[derive(Args, Clone)]
struct Names {
    /// Name of the snapshot (persist.dbfilename)
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "persist.rdb"
    )]
    dbfilename: String,
    /// Name of the log's folder (persist.appenddirname)
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "persist-aof"
    )]
    appenddirname: String,
    /// First part of the names of the log's files (persist.appendfilename)
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "persist.aof"
    )]
    appendfilename: String,
    /// Take a log whose end a crash has torn, without that end (persist.aof-load-truncated)
    #[arg(long, global = true, value_name = "yes|no", default_value = "yes", value_parser = yes_no, action = clap::ArgAction::Set)]
    aof_load_truncated: bool,
}

fn yes_no(word: &str) -> Result<bool, String> {
    match word {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("yes or no".into()),
    }
}

#[derive(Subcommand)]
enum Command {
    Check(check::Options),
    Info(info::Options),
    #[command(visible_alias = "dump")]
    Export(export::Options),
    Repair(repair::Options),
    Reseal(reseal::Options),
    Diff(diff::Options),
}

/// A folder to read.
#[derive(Args)]
struct Dir {
    /// The folder (persist.dir)
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// Why a command didn't do what was asked.
enum Failure {
    /// What to tell, and the exit code.
    Told(String, u8),
    /// Nobody reads the output any more, or it can't be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Failure::Output(e)
    }
}

impl From<persist_engine::persist::refusal::LoadError> for Failure {
    fn from(e: persist_engine::persist::refusal::LoadError) -> Self {
        Failure::Told(e.text, 1)
    }
}

impl From<persist_engine::io::DiskError> for Failure {
    fn from(e: persist_engine::io::DiskError) -> Self {
        Failure::Told(e.to_string(), 1)
    }
}

/// How a command ends.
type Outcome = Result<ExitCode, Failure>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let ended = match &cli.command {
        Command::Check(options) => check::run(&cli.names, options, &mut out),
        Command::Info(options) => info::run(&cli.names, options, &mut out),
        Command::Export(options) => export::run(&cli.names, options, &mut out),
        Command::Repair(options) => repair::run(&cli.names, options, &mut out),
        Command::Reseal(options) => reseal::run(&cli.names, options, &mut out),
        Command::Diff(options) => diff::run(&cli.names, options, &mut out),
    };
    let ended = ended.and_then(|code| out.flush().map(|()| code).map_err(Failure::from));
    match ended {
        Ok(code) => code,
        // `redis-persist export | head` is no failure to tell of.
        Err(Failure::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(Failure::Output(e)) => {
            eprintln!("redis-persist: {e}");
            ExitCode::FAILURE
        }
        Err(Failure::Told(text, code)) => {
            // What was written before comes first.
            let _ = out.flush();
            eprintln!("redis-persist: {text}");
            ExitCode::from(code)
        }
    }
}
