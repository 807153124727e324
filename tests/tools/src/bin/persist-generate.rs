//! Writes the seeded data set as RESP to stdout, for `redis-cli --pipe`.

use std::io::Write;

use clap::Parser;
use persist_tools::{Result, generate};

/// Write the seeded data set as RESP to stdout, for `redis-cli --pipe`.
#[derive(Parser)]
struct Args {
    /// How many keys
    #[arg(long, default_value_t = 2_000_000)]
    keys: u64,
    /// Another seed, other data
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Before each command's name; empty for the host's own keyspace
    #[arg(long, default_value = "PERSIST.")]
    prefix: String,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut stdout = std::io::stdout().lock();
    let mut out = Vec::with_capacity(1 << 20);
    for command in generate::commands(args.seed, args.keys) {
        command.write_resp(&args.prefix, &mut out);
        if out.len() >= 1 << 19 {
            stdout.write_all(&out)?;
            out.clear();
        }
    }
    stdout.write_all(&out)?;
    Ok(stdout.flush()?)
}
