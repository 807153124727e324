//! From text to arguments.

use super::{Arg, KINDS, Kind, is_token, kind_of};

/// What the text says, before tokens find what they stand in front of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part<'a> {
    Word(&'a str),
    Optional(Vec<Vec<Part<'a>>>),
    OneOf(Vec<Vec<Part<'a>>>),
    Repeated(Vec<Part<'a>>),
}

/// Reads a syntax.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Arg<'_>>, String> {
    let mut words = Words { rest: text };
    let mut parts = alternatives(&mut words, None)?;
    match (parts.pop(), parts.is_empty()) {
        (Some(Sequence { parts, dots: false }), true) => sequence(&parts, false),
        _ => Err("alternatives or dots without brackets around them".into()),
    }
}

/// Takes words and brackets off the text.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        const BRACKETS: [char; 5] = ['[', ']', '<', '>', '|'];
        self.rest = self.rest.trim_start();
        let first = self.rest.chars().next()?;
        let end = if BRACKETS.contains(&first) {
            1
        } else {
            let ends = |c: char| c.is_whitespace() || BRACKETS.contains(&c);
            self.rest.find(ends).unwrap_or(self.rest.len())
        };
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

/// What stands between bars or brackets.
struct Sequence<'a> {
    parts: Vec<Part<'a>>,
    /// Whether `...` ends it.
    dots: bool,
}

/// Reads up to the closing bracket, or the end.
fn alternatives<'a>(
    words: &mut Words<'a>,
    close: Option<&str>,
) -> Result<Vec<Sequence<'a>>, String> {
    let mut done = Vec::new();
    let (mut parts, mut dots) = (Vec::new(), false);
    loop {
        let word = words.next();
        if word == close || word == Some("|") {
            if close.is_some() && parts.is_empty() {
                return Err("nothing between brackets or bars".into());
            }
            let parts = std::mem::take(&mut parts);
            done.push(Sequence { parts, dots });
            dots = false;
            if word == close {
                return Ok(done);
            }
            continue;
        }
        if dots {
            return Err("something behind dots".into());
        }
        match word {
            None => return Err(format!("no {}", close.unwrap_or_default())),
            Some("...") => dots = true,
            Some("[") => {
                let mut inner = alternatives(words, Some("]"))?;
                if inner.len() == 1 && inner[0].dots {
                    repeat(&mut parts, inner.swap_remove(0).parts);
                } else {
                    parts.push(Part::Optional(without_dots(inner)?));
                }
            }
            Some("<") => {
                let inner = alternatives(words, Some(">"))?;
                parts.push(Part::OneOf(without_dots(inner)?));
            }
            Some(bracket @ ("]" | ">")) => return Err(format!("{bracket} without its opening")),
            Some(word) => parts.push(Part::Word(word)),
        }
    }
}

fn without_dots(all: Vec<Sequence<'_>>) -> Result<Vec<Vec<Part<'_>>>, String> {
    if all.iter().any(|one| one.dots) {
        return Err("dots in an alternative".into());
    }
    Ok(all.into_iter().map(|one| one.parts).collect())
}

/// `[body ...]`: repeats what stands before it, if that is the same.
fn repeat<'a>(parts: &mut Vec<Part<'a>>, body: Vec<Part<'a>>) {
    if parts.ends_with(&body) {
        parts.truncate(parts.len() - body.len());
        parts.push(Part::Repeated(body));
    } else {
        parts.push(Part::Optional(vec![vec![Part::Repeated(body)]]));
    }
}

impl Part<'_> {
    /// Whether it is values alone.
    fn is_plain(&self) -> bool {
        match self {
            Part::Word(word) => !is_token(word),
            Part::Repeated(parts) => parts.iter().all(Part::is_plain),
            _ => false,
        }
    }
}

/// The arguments of parts in a row. In brackets and alternatives, where
/// `grouped`, a token belongs to all that follows if that is values alone or
/// options alone, and else to the first that follows; outside, to the values
/// that follow.
fn sequence<'a>(parts: &[Part<'a>], grouped: bool) -> Result<Vec<Arg<'a>>, String> {
    let mut args = Vec::new();
    let mut rest = parts;
    while let [first, more @ ..] = rest {
        rest = more;
        let Part::Word(token) = first else {
            args.push(argument(first)?);
            continue;
        };
        if !is_token(token) {
            args.push(argument(first)?);
            continue;
        }
        let plain = more.iter().take_while(|part| part.is_plain()).count();
        let options = more.iter().all(|part| matches!(part, Part::Optional(_)));
        let taken = match more {
            [] => 0,
            _ if plain == more.len() || !grouped => plain,
            [Part::OneOf(_), ..] => 1,
            _ if grouped && options && args.is_empty() => more.len(),
            _ => plain.min(1),
        };
        let (its, more) = more.split_at(taken);
        rest = more;
        args.push(match its {
            [] => leaf(token.to_lowercase(), Kind::Token),
            [one] if !options => argument(one)?,
            several => block(sequence(several, true)?),
        });
        if let Some(arg) = args.last_mut() {
            arg.token = Some(token);
        }
    }
    Ok(args)
}

fn argument<'a>(part: &Part<'a>) -> Result<Arg<'a>, String> {
    match part {
        Part::Word(word) => value(word),
        Part::OneOf(all) => one_of(all),
        Part::Optional(all) => {
            let mut arg = match &all[..] {
                [one] => joined(one)?,
                _ => one_of(all)?,
            };
            if std::mem::replace(&mut arg.optional, true) {
                return Err("brackets in brackets".into());
            }
            Ok(arg)
        }
        Part::Repeated(parts) => {
            let mut arg = joined(parts)?;
            if std::mem::replace(&mut arg.multiple, true) {
                return Err("dots twice".into());
            }
            arg.multiple_token = arg.token.is_some();
            Ok(arg)
        }
    }
}

fn value(word: &str) -> Result<Arg<'_>, String> {
    let (name, kind) = match word.split_once(':') {
        None => (word, kind_of(word)),
        Some((name, kind)) => match KINDS.iter().find(|known| known.0 == kind) {
            Some(known) => (name, known.1),
            None => return Err(format!("no kind {kind}")),
        },
    };
    Ok(leaf(name.into(), kind))
}

fn leaf<'a>(name: String, kind: Kind) -> Arg<'a> {
    Arg {
        name,
        kind,
        token: None,
        optional: false,
        multiple: false,
        multiple_token: false,
        parts: Vec::new(),
    }
}

/// One argument of all `parts`.
fn joined<'a>(parts: &[Part<'a>]) -> Result<Arg<'a>, String> {
    let mut args = sequence(parts, true)?;
    Ok(match args.len() {
        1 => args.swap_remove(0),
        _ => block(args),
    })
}

fn one_of<'a>(all: &[Vec<Part<'a>>]) -> Result<Arg<'a>, String> {
    if all.len() < 2 {
        return Err("nothing to choose from".into());
    }
    let parts: Result<Vec<_>, _> = all.iter().map(|one| joined(one)).collect();
    Ok(composed(Kind::OneOf, parts?))
}

fn block(parts: Vec<Arg<'_>>) -> Arg<'_> {
    composed(Kind::Block, parts)
}

fn composed(kind: Kind, parts: Vec<Arg<'_>>) -> Arg<'_> {
    /// A short name of a part.
    fn label(arg: &Arg<'_>) -> String {
        match (arg.token, arg.parts.first()) {
            (Some(token), _) => token.to_lowercase(),
            (None, Some(first)) => label(first),
            (None, None) => arg.name.clone(),
        }
    }
    let labels: Vec<_> = parts.iter().map(label).collect();
    Arg {
        parts,
        ..leaf(labels.join("_"), kind)
    }
}
