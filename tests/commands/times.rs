//! Times in replies about streams: when something was delivered or seen. The two keyspaces note them at slightly
//! different times, so they may differ by a little, and nothing else may.

use persist_tools::raw::Resp;

/// Takes the times out of a reply, putting 0 in their place.
pub fn take(name: &str, reply: Resp) -> (Resp, Vec<i64>) {
    let mut times = Vec::new();
    let reply = match name {
        "XPENDING" => pending(reply, &mut times),
        "XINFO" => info(reply, &mut times),
        _ => reply,
    };
    (reply, times)
}

/// Whether both lists say the same but for `slack_ms`.
pub fn near(host: &[i64], ours: &[i64], slack_ms: u64) -> bool {
    let mut pairs = host.iter().zip(ours);
    host.len() == ours.len() && pairs.all(|(h, o)| h.abs_diff(*o) <= slack_ms)
}

fn cut(time: &mut Resp, times: &mut Vec<i64>) {
    if let Resp::Int(n) = time {
        times.push(std::mem::take(n));
    }
}

/// Lists of what is pending: id, consumer, time, deliveries; or, under a consumer, without its name.
fn pending(reply: Resp, times: &mut Vec<i64>) -> Resp {
    let Resp::Array(mut items) = reply else {
        return reply;
    };
    for item in &mut items {
        match item {
            Resp::Array(parts) if parts.len() == 4 => cut(&mut parts[2], times),
            Resp::Array(parts) if parts.len() == 3 => cut(&mut parts[1], times),
            _ => {}
        }
    }
    Resp::Array(items)
}

/// What follows such a name.
fn named(name: &Resp, mut value: Resp, times: &mut Vec<i64>) -> Resp {
    match name.text().as_deref() {
        Some("idle" | "seen-time") => {
            cut(&mut value, times);
            value
        }
        Some("pending") if matches!(value, Resp::Array(_)) => pending(value, times),
        _ => info(value, times),
    }
}

fn info(reply: Resp, times: &mut Vec<i64>) -> Resp {
    match reply {
        Resp::Map(pairs) => {
            let pairs = pairs.into_iter().map(|(name, value)| {
                let value = named(&name, value, times);
                (name, value)
            });
            Resp::Map(pairs.collect())
        }
        Resp::Array(items) => {
            let mut out: Vec<Resp> = Vec::new();
            for item in items {
                let item = match out.last() {
                    Some(name @ Resp::Bulk(_)) => named(name, item, times),
                    _ => info(item, times),
                };
                out.push(item);
            }
            Resp::Array(out)
        }
        other => other,
    }
}
