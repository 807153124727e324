use super::super::table;
use super::{Arg, Kind, Plain, parse};

/// A tree as text: kind, name, token, flags and parts.
fn tree(args: &[Arg<'_>]) -> String {
    let one = |arg: &Arg<'_>| {
        let mut text = match arg.kind {
            Kind::Token => "token".into(),
            Kind::OneOf => "one of".into(),
            Kind::Block => "block".into(),
            kind => format!("{kind:?} {}", arg.name),
        };
        if let Some(token) = arg.token {
            text = format!("{token}={text}");
        }
        for (flag, sign) in [
            (arg.optional, "?"),
            (arg.multiple, "+"),
            (arg.multiple_token, "+"),
        ] {
            text += if flag { sign } else { "" };
        }
        match arg.parts.len() {
            0 => text,
            _ => format!("{text}({})", tree(&arg.parts)),
        }
    };
    args.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn texts_become_trees() {
    for (text, wanted) in [
        ("", ""),
        ("key value", "Key key, Text value"),
        ("key min:double", "Key key, Double min"),
        ("[NX | XX] [GET]", "one of?(NX=token, XX=token), GET=token?"),
        (
            "[EX seconds | KEEPTTL]",
            "one of?(EX=Integer seconds, KEEPTTL=token)",
        ),
        ("key [key ...] timeout", "Key key+, Double timeout"),
        ("[element [element ...]]", "Text element?+"),
        ("key value [key value ...]", "block+(Key key, Text value)"),
        (
            "[LIMIT offset count]",
            "LIMIT=block?(Integer offset, Integer count)",
        ),
        (
            "[COUNT count [ANY]]",
            "block?(COUNT=Integer count, ANY=token?)",
        ),
        ("[FULL [COUNT count]]", "FULL=block?(COUNT=Integer count?)"),
        ("[GET pattern [GET pattern ...]]", "GET=Pattern pattern?++"),
        ("[WEIGHTS weight [weight ...]]", "WEIGHTS=Double weight?+"),
        (
            "[AGGREGATE <SUM | MIN>]",
            "AGGREGATE=one of?(SUM=token, MIN=token)",
        ),
        ("<LEFT | RIGHT>", "one of(LEFT=token, RIGHT=token)"),
        ("<* | id>", "one of(*=token, Text id)"),
        (
            "STREAMS key [key ...] id [id ...]",
            "STREAMS=block(Key key+, Text id+)",
        ),
        (
            "GROUP group consumer [NOACK]",
            "GROUP=block(Text group, Text consumer), NOACK=token?",
        ),
        (
            "<BYRADIUS radius <M | KM> | BYBOX width height <M | KM>>",
            "one of(block(BYRADIUS=Double radius, one of(M=token, KM=token)), \
             block(BYBOX=Double width, Double height, one of(M=token, KM=token)))",
        ),
        (
            "[<GET offset | [OVERFLOW <WRAP | SAT>] SET offset count> ...]",
            "one of?+(GET=Integer offset, block(OVERFLOW=one of?(WRAP=token, SAT=token), \
             SET=block(Integer offset, Integer count)))",
        ),
    ] {
        let args = parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(tree(&args), wanted, "{text}");
        let printed: Vec<_> = args.iter().map(|arg| format!("{arg:#}")).collect();
        assert_eq!(printed.join(" "), text);
    }
}

#[test]
fn loose_texts_are_refused() {
    for text in [
        "LEFT | RIGHT",
        "key ...",
        "[a",
        "a]",
        "<a | b",
        "<a>",
        "[]",
        "[a | ]",
        "[a ... b]",
        "[[a]]",
        "[a | b ...]",
        "a:number",
    ] {
        assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
    }
}

#[test]
fn every_command_has_an_exact_syntax() {
    for spec in table::all() {
        let args = parse(spec.syntax).unwrap_or_else(|why| panic!("{}: {why}", spec.name));
        let printed: Vec<_> = args.iter().map(|arg| format!("{arg:#}")).collect();
        assert_eq!(printed.join(" "), spec.syntax, "{}", spec.name);
        assert!(!Plain(&args).to_string().contains(':'), "{}", spec.name);
    }
}

/// As many words as a command must have at least, its syntax says, too.
#[test]
fn syntaxes_are_as_long_as_the_commands() {
    fn least(args: &[Arg<'_>]) -> usize {
        let one = |arg: &Arg<'_>| {
            let own = match arg.kind {
                Kind::Token => 0,
                Kind::Block => least(&arg.parts),
                Kind::OneOf => {
                    let parts = arg.parts.iter();
                    parts
                        .map(|part| least(std::slice::from_ref(part)))
                        .min()
                        .unwrap_or(0)
                }
                _ => 1,
            };
            let token = usize::from(arg.token.is_some());
            if arg.optional { 0 } else { own + token }
        };
        args.iter().map(one).sum()
    }
    for spec in table::all() {
        let args = parse(spec.syntax).expect("tested above");
        let wanted = spec.arity.unsigned_abs() as usize - 1;
        assert_eq!(least(&args), wanted, "{}: {}", spec.name, spec.syntax);
    }
}
