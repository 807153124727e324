use super::*;

fn text(value: LongDouble) -> String {
    let mut out = vec![];
    value.format(&mut out);
    String::from_utf8(out).unwrap()
}

fn sum(a: &[u8], b: &[u8]) -> String {
    let (Some(a), Some(b)) = (LongDouble::parse(a), LongDouble::parse(b)) else {
        return "refused".to_string();
    };
    let sum = a.add(b);
    if sum.is_nan() || sum.is_infinite() {
        return "NANINF".to_string();
    }
    text(sum)
}

#[test]
fn sums_as_redis_7_has_them() {
    for (a, b, expected) in REDIS {
        assert_eq!(sum(a, b), *expected, "{a:?} {b:?}");
        assert_eq!(sum(b, a), *expected, "{b:?} {a:?}");
    }
}

#[test]
fn ends_of_the_range() {
    let max = LongDouble::parse(b"0x1.fffffffffffffffep16383").unwrap();
    assert_eq!(text(max).len(), 4933);
    assert!(text(max).starts_with("11897314953572317650"));
    assert!(max.add(max).is_infinite());
    assert!(LongDouble::parse(b"0x1.ffffffffffffffffp16383").is_none());
    assert!(LongDouble::parse(b"1.2e4932").is_none());
    assert!(LongDouble::parse(b"1e-4950").is_some());
    assert!(LongDouble::parse(b"1e-4951").is_none());
    let infinity = LongDouble::parse(b"inf").unwrap();
    assert!(infinity.add(LongDouble::parse(b"-inf").unwrap()).is_nan());
}

#[test]
fn length_limit() {
    assert!(LongDouble::parse(&[b'0'; 5119]).is_some());
    assert!(LongDouble::parse(&[b'0'; 5120]).is_none());
}

#[test]
fn integers_convert() {
    for value in [0, 1, -1, i64::MAX, i64::MIN, 1 << 53] {
        assert_eq!(text(LongDouble::from(value)), value.to_string());
    }
}

#[test]
fn the_short_division_agrees_with_the_long_one() {
    // More than 19 digits take the long way; the zeros change no value.
    for (short, long) in [
        ("0.1", "0.1000000000000000000000000000001e0"),
        (
            "1234567890.123456789",
            "1234567890.1234567890000000000000000000000001",
        ),
        (
            "18446744073709551615e-18",
            "18446744073709551615.0000000000000000000001e-18",
        ),
    ] {
        let parse = |text: &str| LongDouble::parse(text.as_bytes()).unwrap();
        assert_eq!(text(parse(short)), text(parse(long)));
    }
}

// What INCRBYFLOAT of redis-server 7.0.15 answers; NANINF stands for its
// refusal of a result without a finite value.
#[rustfmt::skip]
const REDIS: &[(&[u8], &[u8], &str)] = &[
    (b"3.0e3", b"200", "3200"),
    (b"0.1", b"0.2", "0.3"),
    (b"10.50", b"0.1", "10.6"),
    (b"5.0e3", b"2.0e2", "5200"),
    (b"1e17", b"1", "100000000000000001"),
    (b"1e-18", b"1e-18", "0"),
    (b"-5", b"5", "0"),
    (b"-1e-20", b"0", "0"),
    (b"17179869184", b"1", "17179869185"),
    (b"9223372036854775807", b"1", "9223372036854775808"),
    (b"inf", b"1", "NANINF"),
    (b"inf", b"-inf", "NANINF"),
    (b"1e4932", b"1e4932", "NANINF"),
    (b"-84267.63419529435", b"-0.0000000000000000000002701505", "-84267.63419529435000044"),
    (b"03283261391419388626", b"+9333165954504691878.4713830166060001755510", "12616427345924080504"),
    (b"4894912310", b"493616.2343851847", "4895405926.23438518447801471"),
    (b".468461932523392645", b"0x53ddf172dbce78f", "377703234413586319.46875"),
    (b"0xf864dc2e4d1cc39cb2e13b4d8bd32b2", b"-0", "20635764902436626106465359833916768256"),
    (b"-0.0000000650402662900095", b"-0x2b20a2614589ae0.1eeb7p-10", "-189676652926502.7188720703125"),
    (b"-957814.146772706", b"+0.000000000000000000038", "-957814.14677270599997883"),
    (b"4.9243e25", b"+0x4e3a06e9bbc54b0a80458ff25d05cacc6f251acf98", "114328403342047073760784069219488359204369561812992"),
    (b"-0x157ae307.60a9080c7fb30ep60", b"79", "-415484141845322392278138880"),
    (b"-0017709035134123164714", b"-3.0000000000000000000000000001", "-17709035134123164717"),
    (b"0xf77fcf0dd189bf9a0a9c8c01d738c1dc906bb", b"-250201.65024379117", "344963611323018622533656119066298284779765760"),
    (b"470950352560609350.88", b"+0.0003462839", "470950352560609350.875"),
    (b"+6.4398788266e-1", b"+0x5ec103bd63585de157170e887b07", "1921838695519663768318149889359872"),
    (b"+0.10116511568397e-20", b"-18800925191.6407253359839889989", "-18800925191.64072533510625362"),
    (b"62528569121479336.23685147", b"0.0000000000000000000000007", "62528569121479336.23828125"),
    (b"-3.999999999999999995", b"3.323765230274675", "-0.676234769725325"),
    (b"-169809.2637206714", b"+98219e-4951", "-169809.26372067139999444"),
    (b"0.000000000006991002796281500443", b"-2.00000000000000000500000", "-1.999999999993009"),
    (b"9.25", b"+0x2ed62c61ec7.37a46f91eP-1022", "9.25"),
    (b"+0x40ec5b.72ae81p-36", b"86696e-4951", "0.00006191565550362"),
    (b"-176195.86449385376", b"4000000000000000000000000000000.1", "4000000000000000000098784247808"),
    (b"0.000000000000000000000000083655978146", b"0.00000000000092", "0.00000000000092"),
    (b"0xc503c280d7f9", b"-81914364026820951", "-81697744088023390"),
    (b"-0x2adb6fd2d.1e1dff71cp32", b"-46860e-4950", "-49410958731962613616"),
    (b"-2.25", b"0x3027a01c5760235a690e.2b3e073d9p41", "500067896922854488507515444670758912"),
    (b"-8090987852474.40597455048236036828817150266", b"+0.000944878839", "-8090987852474.405029296875"),
    (b"+0x79b071d14c3658bc36356", b"-50448e4930", "refused"),
    (b"0x10cfee3d.b4dP-16500", b"0.000000020632", "refused"),
    (b"+97297e4932", b"80000000000000000000", "refused"),
    (b"-infinit", b"+1\x00", "refused"),
];
