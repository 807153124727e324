//! Checks key by key that a server holds the seeded data set and every acknowledged write.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use persist_tools::journal::Journal;
use persist_tools::raw::RawClient;
use persist_tools::{Result, load};

/// Check key by key that a server holds what persist-generate makes, and every acknowledged write.
#[derive(Parser)]
struct Args {
    /// The server's port
    #[arg(short, long)]
    port: u16,
    /// How many keys were generated
    #[arg(long, default_value_t = 2_000_000)]
    keys: u64,
    /// With this seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Before each command's name; empty for the host's own keyspace
    #[arg(long, default_value = "PERSIST.")]
    prefix: String,
    /// A journal of acknowledged writes; what it says about a key goes before the generator
    #[arg(long)]
    journal: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let journal = args.journal.as_deref().map(Journal::read).transpose()?;
    let mut client = RawClient::connect(args.port)?;
    let mut all_well = true;
    let mut show = |what: &str, report: load::Report| {
        println!("{what}: {} good, {} wrong", report.good, report.bad);
        report.examples.iter().for_each(|line| println!("  {line}"));
        all_well &= report.bad == 0;
    };
    let report = load::check(
        &mut client,
        args.seed,
        args.keys,
        &args.prefix,
        journal.as_ref(),
    )?;
    show("generated keys", report);
    if let Some(journal) = &journal {
        let report = load::check_journal(&mut client, journal, &args.prefix)?;
        show("acknowledged keys", report);
    }
    Ok(if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
