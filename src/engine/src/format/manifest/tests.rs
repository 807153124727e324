use super::words::plain_name;
use super::*;
use proptest::prelude::*;

fn id(n: u8) -> HistoryId {
    HistoryId::new([n; 16]).unwrap()
}

fn incr(seq: u64, first: u64, prev_crc: u64, end: Option<(u64, u64, u64)>) -> IncrFile {
    IncrFile {
        name: format!("persist.aof.{seq}.incr.aof"),
        seq,
        history: id(1),
        start: Some(IncrStart { first, prev_crc }),
        end: end.map(|(last, len, crc)| IncrEnd { last, len, crc }),
    }
}

fn sample() -> Manifest {
    Manifest {
        history: id(1),
        next_base_seq: 3,
        next_incr_seq: 6,
        closed_at: None,
        after: None,
        base: Some(BaseFile {
            name: "persist.aof.2.base.rdb".into(),
            seq: 2,
            history: id(1),
            covers: 90,
            end: None,
            seed: None,
        }),
        incrs: vec![
            incr(3, 91, 0xA, Some((120, 5120, 0xB))),
            incr(5, 121, 0xB, None),
        ],
        replaced: vec![ReplacedFile {
            name: "persist.aof.1.base.rdb".into(),
            seq: 1,
        }],
    }
}

/// Puts the right checksum under lines, so that they themselves get read.
fn signed(text: &str) -> Vec<u8> {
    format!("{text}#CRC64 {:016x}\n", crc64(text.as_bytes())).into_bytes()
}

fn body() -> String {
    let text = String::from_utf8(sample().encode()).unwrap();
    text[..text.find("#CRC64").unwrap()].to_string()
}

fn error(text: &str) -> String {
    Manifest::parse(&signed(text)).unwrap_err().to_string()
}

#[test]
fn golden() {
    let h = "01".repeat(16);
    let expected = format!(
        "#persist-manifest version 1\n\
         #state history {h} next-base 3 next-incr 6 log open\n\
         file persist.aof.2.base.rdb seq 2 type b history {h} covers 90\n\
         file persist.aof.1.base.rdb seq 1 type h\n\
         file persist.aof.3.incr.aof seq 3 type i history {h} first 91 prev 000000000000000a \
         last 120 len 5120 crc 000000000000000b\n\
         file persist.aof.5.incr.aof seq 5 type i history {h} first 121 prev 000000000000000b\n"
    );
    assert_eq!(
        String::from_utf8(sample().encode()).unwrap().as_bytes(),
        signed(&expected)
    );
    assert_eq!(Manifest::parse(&signed(&expected)).unwrap(), sample());
    let needed: Vec<_> = sample().needed().map(str::to_owned).collect();
    assert_eq!(
        needed,
        [
            "persist.aof.2.base.rdb",
            "persist.aof.3.incr.aof",
            "persist.aof.5.incr.aof"
        ]
    );
}

#[test]
fn closed_log_waiting_file_and_remarks() {
    let mut manifest = sample();
    manifest.closed_at = Some(130);
    manifest.after = Some(id(9));
    manifest.incrs.push(IncrFile {
        start: None,
        ..incr(7, 0, 0, None)
    });
    manifest.next_incr_seq = 8;
    let base = manifest.base.as_mut().unwrap();
    base.end = Some((1000, 0xC));
    base.seed = Some(Seed(std::array::from_fn(|i| i as u8)));
    assert_eq!(Manifest::parse(&manifest.encode()).unwrap(), manifest);
    let text = String::from_utf8(manifest.encode()).unwrap();
    assert!(text.contains(" hash-seed 000102030405060708090a0b0c0d0e0f\n"));
    let remark = body() + "# by hand, and signed again\n";
    assert_eq!(Manifest::parse(&signed(&remark)).unwrap(), sample());
}

/// Redis's own list of manifests that must not load (a listed file that is
/// missing is the loader's to find: see `needed`).
#[test]
fn what_redis_refuses() {
    let h = "01".repeat(16);
    let first = "persist.aof.5.incr.aof seq 5";
    assert!(
        Manifest::parse(b"")
            .unwrap_err()
            .to_string()
            .contains("an empty file")
    );
    for (case, text, message) in [
        (
            "sequence not increasing",
            body().replace(first, "persist.aof.5.incr.aof seq 2"),
            "upwards",
        ),
        (
            "the same sequence",
            body().replace(first, "persist.aof.5.incr.aof seq 3"),
            "upwards",
        ),
        ("blank line", body() + "\n", "line 7: expected pairs"),
        (
            "blank line in between",
            body().replace("file persist.aof.1", "\nfile persist.aof.1"),
            "line 4",
        ),
        ("line of blanks", body() + "  \n", "line 7"),
        (
            "duplicate base",
            body() + &format!("file b seq 3 type b history {h} covers 1\n"),
            "line 7: expected one base",
        ),
        (
            "unknown type",
            body() + "file x seq 9 type k\n",
            "line 7: expected type b, i or h",
        ),
        (
            "long type",
            body() + "file x seq 9 type history\n",
            "type b, i or h",
        ),
        (
            "too long line",
            body() + &format!("file {} seq 9 type h\n", "x".repeat(1024)),
            "line 7: expected a line of",
        ),
        (
            "too long remark",
            body() + &format!("# {}\n", "x".repeat(1024)),
            "line 7: expected a line of",
        ),
        (
            "odd number of words",
            body() + "file x seq 9 type h extra\n",
            "without a value",
        ),
        ("too few words", body() + "file x seq 9\n", "line 7"),
        ("no file", body() + "name x seq 9 type h\n", "no file"),
        ("no seq", body() + "file x s 9 type h\n", "no seq"),
        ("no type", body() + "file x seq 9 t h\n", "no type"),
        ("sequence 0", body() + "file x seq 0 type h\n", "from 1 on"),
        (
            "sequence negative",
            body() + "file x seq -1 type h\n",
            "valid value",
        ),
        (
            "sequence of letters",
            body() + "file x seq a type h\n",
            "valid value",
        ),
        ("path", body() + "file a/x seq 9 type h\n", "not a path"),
        (
            "path, quoted",
            body() + "file \"..\\x2fx\" seq 9 type h\n",
            "not a path",
        ),
        ("parent", body() + "file .. seq 9 type h\n", "not a path"),
        (
            "backslash",
            body() + "file \"a\\\\x\" seq 9 type h\n",
            "not a path",
        ),
        ("open quote", body() + "file \"x seq 9 type h\n", "line 7"),
        (
            "text after a quote",
            body() + "file \"x\"y seq 9 type h\n",
            "line 7",
        ),
        ("only remarks", "# nothing\n".to_string(), "version"),
        ("nothing but a checksum", String::new(), "version line"),
        ("garbage", body() + "hello\n", "line 7"),
        ("carriage returns", body().replace('\n', "\r\n"), "line 1"),
    ] {
        let error = error(&text);
        assert!(error.contains(message), "{case}: {error}");
    }
}

/// And what only we can know.
#[test]
fn what_we_refuse_besides() {
    let h = "01".repeat(16);
    for (case, text, message) in [
        (
            "name twice",
            body() + "file persist.aof.3.incr.aof seq 9 type h\n",
            "each file once",
        ),
        (
            "gap",
            body().replace("first 121", "first 122"),
            "go on where",
        ),
        (
            "overlap",
            body().replace("first 121", "first 120"),
            "go on where",
        ),
        (
            "gap after the base",
            body().replace("covers 90", "covers 89"),
            "go on where",
        ),
        (
            "overlap with the base",
            body().replace("covers 90", "covers 91"),
            "go on where",
        ),
        (
            "chain",
            body().replace("prev 000000000000000b", "prev 000000000000000c"),
            "chain",
        ),
        (
            "no base",
            body()
                .replace("type b", "type h")
                .replace(&format!("{h} covers 90"), ""),
            "line 3",
        ),
        (
            "history of zeros",
            body().replace(&h, &"00".repeat(16)),
            "#state",
        ),
        ("short history", body().replace(&h, &h[2..]), "#state"),
        (
            "history not in force",
            body().replacen(&h, &"02".repeat(16), 1),
            "in force",
        ),
        (
            "ends before it starts",
            body().replace("last 120", "last 80"),
            "end to fit",
        ),
        (
            "next number in use",
            body().replace("next-incr 6", "next-incr 5"),
            "next file numbers",
        ),
        (
            "next base in use",
            body().replace("next-base 3", "next-base 2"),
            "next file numbers",
        ),
        (
            "closed too early",
            body().replace("log open", "log closed at 89"),
            "closed at its end",
        ),
        ("half an end", body().replace(" len 5120", ""), "no len"),
        (
            "unknown word",
            body().replace(" covers", " extra 1 covers"),
            "fits the file's type",
        ),
        (
            "word twice",
            body().replace("seq 3", "seq 3 seq 3"),
            "each word once",
        ),
        ("unknown # line", body() + "#next 1\n", "this version knows"),
        (
            "two states",
            body() + body().lines().nth(1).unwrap() + "\n",
            "one #state",
        ),
        (
            "no state",
            body()
                .lines()
                .filter(|l| !l.starts_with("#state"))
                .map(|l| format!("{l}\n"))
                .collect(),
            "#state line",
        ),
        (
            "newer version",
            body().replace("version 1", "version 2"),
            "version 1",
        ),
    ] {
        let error = error(&text);
        assert!(error.contains(message), "{case}: {error}");
    }
    let mut manifest = sample();
    manifest.base = None;
    assert!(
        manifest
            .check()
            .unwrap_err()
            .to_string()
            .contains("a base file")
    );
    let mut manifest = sample();
    manifest.incrs[0].history = id(2);
    assert!(
        manifest
            .check()
            .unwrap_err()
            .to_string()
            .contains("returned to")
    );
    let mut manifest = sample();
    manifest.incrs[0].start = None;
    manifest.incrs[0].end = None;
    assert!(
        manifest
            .check()
            .unwrap_err()
            .to_string()
            .contains("waiting")
    );
    let mut manifest = sample();
    manifest.replaced[0].name = "\u{e4}".repeat(250);
    assert!(
        manifest
            .check()
            .unwrap_err()
            .to_string()
            .contains("1000 bytes")
    );
}

#[test]
fn a_manifest_by_a_stock_server_is_named_as_such() {
    let stock =
        b"file persist.aof.1.base.rdb seq 1 type b\nfile persist.aof.1.incr.aof seq 1 type i\n";
    let error = Manifest::parse(stock).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("written by a stock server, edited by hand"),
        "{error}"
    );
    assert_eq!(error.line, Some(2));
    let edited = String::from_utf8(sample().encode())
        .unwrap()
        .replace("covers 90", "covers 91");
    let error = Manifest::parse(edited.as_bytes()).unwrap_err();
    assert!(
        error.to_string().contains("edited by hand or is damaged"),
        "{error}"
    );
}

#[test]
fn every_truncation_and_flipped_bit() {
    let bytes = sample().encode();
    for at in 0..bytes.len() {
        assert!(Manifest::parse(&bytes[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            assert!(Manifest::parse(&bytes).is_err(), "byte {at} bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn names(name in "\\PC{1,20}|[ -~]{1,20}|[\\x01-\\x1f'\" ]{1,9}") {
        let mut manifest = sample();
        manifest.incrs[1].name = name.clone();
        if manifest.check().is_ok() {
            prop_assert_eq!(Manifest::parse(&manifest.encode()).unwrap(), manifest);
        } else {
            prop_assert!(!plain_name(&name));
        }
    }

    /// With the right checksum, so that nothing protects the parser.
    #[test]
    fn any_signed_text(
        at in any::<prop::sample::Index>(), len in 0..9usize,
        text in "[a-z0-9 \"\\\\\\n#]{0,9}",
    ) {
        let mut edited = body();
        let at = at.index(edited.len());
        edited.replace_range(at..(at + len).min(edited.len()), &text);
        if let Ok(manifest) = Manifest::parse(&signed(&edited)) {
            prop_assert_eq!(Manifest::parse(&manifest.encode()).unwrap(), manifest);
        }
    }
}
