//! Looking into lists.

use crate::command::{CommandError, Cx, args};
use crate::data::list;
use crate::data::value::Kind;

pub(super) fn llen(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let entry = cx.ks.read(argv[1], Kind::List)?;
    let len = entry.map_or(0, |e| list::len(e.payload()));
    cx.reply.int(len as i64);
    Ok(())
}

pub(super) fn lrange(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let (start, stop) = (args::int(argv[2])?, args::int(argv[3])?);
    let Some(entry) = cx.ks.read(argv[1], Kind::List)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let range = args::range(start, stop, list::len(entry.payload()));
    cx.reply.array(range.len());
    list::iter_from(entry.payload(), range.start)
        .take(range.len())
        .for_each(|element| cx.reply.bulk(element));
    Ok(())
}

/// The position that `index` means in a list of `len`; from the end if negative.
pub(super) fn position(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 {
        index.checked_add(len as i64)?
    } else {
        index
    };
    usize::try_from(index).ok().filter(|i| *i < len)
}

pub(super) fn lindex(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let Some(entry) = cx.ks.read(argv[1], Kind::List)? else {
        cx.reply.null();
        return Ok(());
    };
    let payload = entry.payload();
    let at = position(args::int(argv[2])?, list::len(payload));
    match at.and_then(|at| list::get(payload, at)) {
        Some(element) => cx.reply.bulk(element),
        None => cx.reply.null(),
    }
    Ok(())
}

/// What LPOS is asked.
struct Search<'a> {
    element: &'a [u8],
    /// How many matches to pass over.
    skip: u64,
    /// Whether to search from the end.
    backwards: bool,
    /// How many matches are wanted; `None`: one, and not in an array.
    count: Option<usize>,
    /// How many elements to look at.
    most: usize,
}

impl<'a> Search<'a> {
    fn parse(argv: &[&'a [u8]]) -> Result<Self, CommandError> {
        const RANK: CommandError = CommandError::text(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
        );
        const RANGE: CommandError = CommandError::text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        );
        const COUNT: CommandError = CommandError::text("ERR COUNT can't be negative");
        const MAXLEN: CommandError = CommandError::text("ERR MAXLEN can't be negative");
        let mut search = Search {
            element: argv[2],
            skip: 0,
            backwards: false,
            count: None,
            most: usize::MAX,
        };
        let mut rest = argv[3..].iter();
        while let Some(word) = rest.next() {
            let n = rest.next().ok_or(CommandError::Syntax)?;
            if args::is(word, "RANK") {
                let rank = args::int(n)?;
                if rank == i64::MIN {
                    return Err(RANGE);
                }
                search.skip = rank.unsigned_abs().checked_sub(1).ok_or(RANK)?;
                search.backwards = rank < 0;
            } else if args::is(word, "COUNT") {
                search.count = Some(args::count(n).map_err(|_| COUNT)?);
            } else if args::is(word, "MAXLEN") {
                search.most = match args::count(n).map_err(|_| MAXLEN)? {
                    0 => usize::MAX,
                    n => n,
                };
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(search)
    }

    /// The distances, from where the search begins, at which it finds.
    fn hits<'l>(&self, walk: impl Iterator<Item = &'l [u8]>) -> impl Iterator<Item = usize> {
        walk.take(self.most)
            .enumerate()
            .filter(|(_, e)| *e == self.element)
            .map(|(i, _)| i)
            .skip(usize::try_from(self.skip).unwrap_or(usize::MAX))
    }
}

pub(super) fn lpos(cx: &mut Cx<'_>, argv: &[&[u8]]) -> Result<(), CommandError> {
    let search = Search::parse(argv)?;
    let Some(entry) = cx.ks.read(argv[1], Kind::List)? else {
        match search.count {
            Some(_) => cx.reply.array(0),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    let payload = entry.payload();
    let len = list::len(payload);
    if search.backwards {
        let hits = search.hits(list::iter_before(payload, len));
        answer(cx.reply, search.count, hits.map(|i| len - 1 - i));
    } else {
        let hits = search.hits(list::iter_from(payload, 0));
        answer(cx.reply, search.count, hits);
    }
    Ok(())
}

fn answer(
    reply: &mut dyn crate::command::Reply,
    count: Option<usize>,
    mut hits: impl Iterator<Item = usize>,
) {
    let Some(count) = count else {
        match hits.next() {
            Some(at) => reply.int(at as i64),
            None => reply.null(),
        }
        return;
    };
    let most = if count == 0 { usize::MAX } else { count };
    reply.open();
    let mut n = 0;
    for at in hits.take(most) {
        reply.int(at as i64);
        n += 1;
    }
    reply.close(n);
}
