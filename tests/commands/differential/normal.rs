//! Replies without what is left open: order, and how some are spelled.

use persist_tools::raw::Resp;

use super::Way;

/// Every difference between the two keyspaces' replies that is allowed, and why.
pub(super) fn normal(name: &str, way: Way, reply: Resp) -> Resp {
    match reply {
        // A command's name in an error is the name it was called by.
        Resp::Error(text) => {
            let text = String::from_utf8_lossy(&text)
                .replace("'persist.", "'")
                .replace("Try PERSIST.", "Try ")
                .replace("specified for PERSIST.", "specified for ")
                .replace("specified for persist.", "specified for ")
                // Valkey's scripts say it without a name.
                .replace("calling Redis command from", "calling command from");
            Resp::Error(text.into_bytes())
        }
        reply => match name {
            // Each has a format of its own.
            "DUMP" => match reply {
                Resp::Bulk(_) => Resp::Bulk(Vec::new()),
                other => other,
            },
            // The order of what has no order is the table's own.
            "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" | "HKEYS" | "HVALS" | "KEYS" => {
                sorted(reply, 1)
            }
            "HGETALL" => sorted(reply, 2),
            // So is the name that help begins with.
            "XGROUP" | "XINFO" => called_by(reply),
            // In RESP3 the host prints coordinates to 17 places behind the point, where modules print 17 digits. Lua
            // reads those and prints other last digits then.
            _ if name.starts_with("GEO") => rounded(reply, way),
            // The host's ALPHA doesn't look beyond a NUL.
            "SORT" | "SORT_RO" if reply.encode().contains(&0) => sorted(reply, 1),
            // Lua's tables have none either; for RESP2 they are lists of pairs.
            "LCS" if way == Way::Script3 => sorted(reply, 2),
            _ if way == Way::Script3 => match reply {
                reply @ (Resp::Map(_) | Resp::Set(_)) => sorted(reply, 1),
                other => other,
            },
            _ => reply,
        },
    }
}

/// With numbers as one and the same function prints them: the host prints the scores that a module replies, to 17 digits
/// in 7.0, to as few as it takes in later ones.
pub(super) fn spelled(reply: Resp) -> Resp {
    match reply {
        Resp::Double(text) => Resp::Double(number(text)),
        Resp::Bulk(text) => Resp::Bulk(number(text)),
        Resp::Array(items) => Resp::Array(items.into_iter().map(spelled).collect()),
        other => other,
    }
}

/// See [`spelled`].
pub(super) fn number(text: Vec<u8>) -> Vec<u8> {
    let parsed = std::str::from_utf8(&text).ok().and_then(|t| t.parse().ok());
    parsed
        .filter(|n: &f64| n.is_finite())
        .map_or(text, |n| format!("{n:e}").into_bytes())
}

pub(super) fn called_by(reply: Resp) -> Resp {
    let Resp::Array(mut items) = reply else {
        return reply;
    };
    if let Some(Resp::Simple(text)) = items.first_mut()
        && let Some(rest) = text.strip_prefix(b"PERSIST.")
    {
        *text = rest.to_vec();
    }
    Resp::Array(items)
}

pub(super) fn rounded(reply: Resp, way: Way) -> Resp {
    let round = |text: Vec<u8>| {
        let number = std::str::from_utf8(&text).ok().and_then(|t| t.parse().ok());
        number.map_or(text, |n: f64| format!("{n:.12}").into())
    };
    match reply {
        Resp::Double(text) => Resp::Double(round(text)),
        Resp::Bulk(text) if way == Way::Script3 && text.len() > 15 => Resp::Bulk(round(text)),
        Resp::Array(items) => {
            Resp::Array(items.into_iter().map(|item| rounded(item, way)).collect())
        }
        other => other,
    }
}

pub(super) fn sorted(reply: Resp, group: usize) -> Resp {
    let sort = |items: Vec<Resp>| {
        let mut groups: Vec<Vec<Resp>> = items.chunks(group).map(<[_]>::to_vec).collect();
        groups.sort_by_key(|group| group.iter().map(Resp::encode).collect::<Vec<_>>());
        groups.concat()
    };
    match reply {
        Resp::Array(items) => Resp::Array(sort(items)),
        Resp::Set(items) => Resp::Set(sort(items)),
        Resp::Map(mut pairs) => {
            pairs.sort_by_key(|(key, value)| (key.encode(), value.encode()));
            Resp::Map(pairs)
        }
        other => other,
    }
}

/// The types of a reply and how many parts it has.
pub(super) fn shape(reply: &Resp) -> Vec<u8> {
    match reply {
        Resp::Array(items) | Resp::Set(items) => {
            let mut all = reply.encode()[..1].to_vec();
            all.extend(items.len().to_string().bytes());
            all.extend(items.iter().flat_map(shape));
            all
        }
        other => other.encode()[..1].to_vec(),
    }
}

/// All strings and numbers in it.
pub(super) fn flat(reply: &Resp) -> Vec<Vec<u8>> {
    match reply {
        Resp::Bulk(bytes) | Resp::Double(bytes) | Resp::Simple(bytes) => vec![bytes.clone()],
        Resp::Array(items) | Resp::Set(items) => items.iter().flat_map(flat).collect(),
        Resp::Map(pairs) => pairs
            .iter()
            .flat_map(|(key, value)| [flat(key), flat(value)].concat())
            .collect(),
        _ => Vec::new(),
    }
}
