//! Commands that wait for durable keys, with several clients, against the host's own.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod cast;
mod fsync;
mod kills;
mod queue;
mod stories;

use std::time::Duration;

use persist_tools::raw::Resp;

fn bulk(text: &str) -> Resp {
    Resp::Bulk(text.as_bytes().to_vec())
}

const LIMIT: Duration = Duration::from_secs(30);
