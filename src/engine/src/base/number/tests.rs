use super::*;
use proptest::prelude::*;

fn double(value: f64) -> String {
    String::from_utf8(format_f64(value, &mut [0; 32]).to_vec()).unwrap()
}

fn shortest(value: f64) -> String {
    String::from_utf8(format_f64_shortest(value, &mut [0; 32]).to_vec()).unwrap()
}

#[test]
fn integers_in_one_spelling_only() {
    for text in [
        "",
        "-",
        "+1",
        " 1",
        "1 ",
        "01",
        "-0",
        "-01",
        "00",
        "1.0",
        "--1",
        "0x1",
        "1a",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "99999999999999999999",
        "100000000000000000000",
    ] {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
    }
    for value in [0, 1, -1, 10, i64::MAX, i64::MIN] {
        assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
    }
}

#[test]
fn doubles_as_redis_7_takes_and_prints_them() {
    for (text, expected) in REDIS {
        let got = parse_f64(text).map_or("refused".to_string(), double);
        assert_eq!(got, *expected, "{text:?}");
    }
}

#[test]
fn special_doubles() {
    assert_eq!(double(f64::NAN), "nan");
    assert_eq!(double(-0.0), "-0");
    assert_eq!(shortest(-0.0), "-0");
    assert_eq!(double(f64::NEG_INFINITY), "-inf");
    assert_eq!(double(0.0001), "0.0001");
    assert_eq!(double(1e17), "1e+17");
    assert_eq!(double(-f64::MIN_POSITIVE), "-2.2250738585072014e-308");
    assert_eq!(parse_f64(b"-0").map(f64::is_sign_negative), Some(true));
    assert_eq!(parse_f64(b"nan"), None);
    assert_eq!(parse_f64(b"\xff"), None);
    assert_eq!(parse_f64(b"0x1.fffffffffffff8p1023"), None);
    assert_eq!(parse_f64(b"0x1p-1074"), Some(f64::from_bits(1)));
    assert_eq!(parse_f64(b"0x1p-1075"), None);
}

#[test]
fn shortest_text() {
    for (value, text) in [
        (0.1, "0.1"),
        (-1.5, "-1.5"),
        (1e8, "100000000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.25e300, "1.25e+300"),
        (1e-7, "0.0000001"),
        (1.5e-8, "1.5e-8"),
        (5e-324, "5e-324"),
        (123456.789, "123456.789"),
    ] {
        assert_eq!(shortest(value), text);
    }
}

proptest! {
    #[test]
    fn integers_survive(value: i64) {
        let mut out = vec![];
        push_i64(&mut out, value);
        prop_assert_eq!(&out, &value.to_string().into_bytes());
        prop_assert_eq!(parse_i64(&out), Some(value));
    }

    #[test]
    fn doubles_survive_in_both_styles(bits: u64) {
        let value = f64::from_bits(bits);
        if !value.is_nan() {
            for text in [double(value), shortest(value)] {
                let back = parse_f64(text.as_bytes()).unwrap();
                prop_assert_eq!(back.to_bits(), bits, "{}", text);
            }
        }
    }

    #[test]
    fn any_text_is_taken_apart_without_harm(text in "[-+]?(0x)?[0-9a-f]{0,40}[.]?[0-9a-f]{0,40}([ep][-+]?[0-9]{0,6})?") {
        if let Some(value) = parse_f64(text.as_bytes()) {
            prop_assert!(!value.is_nan());
        }
    }
}

// What redis-server 7.0.15 answers to ZADD and ZSCORE.
#[rustfmt::skip]
const REDIS: &[(&[u8], &str)] = &[
    (b"+7.25", "7.25"),
    (b"1.8528389267094434e+59", "1.8528389267094434e+59"),
    (b"+24348e100", "2.4348e+104"),
    (b"-1.816002440260252e-299", "-1.8160024402602519e-299"),
    (b"-1.0458575834397222e-110", "-1.0458575834397222e-110"),
    (b"0.000000000000000000000003583882151", "3.5838821510000002e-24"),
    (b"-3.5", "-3.5"),
    (b"442874.0185073232", "442874.01850732323"),
    (b"3.062906096706729e+194", "3.0629060967067288e+194"),
    (b"0x198cd91d48629359.0p-34", "107165255.32068853"),
    (b"4.9430501313013446e-11", "4.9430501313013444e-11"),
    (b"1.700621445445036e+51", "1.7006214454450359e+51"),
    (b"-8.601813190028128e+78", "-8.6018131900281282e+78"),
    (b"80000000000000000.1", "80000000000000000"),
    (b"2.6917748534267098e+44", "2.6917748534267098e+44"),
    (b"9000000000000000000000000000", "8.9999999999999998e+27"),
    (b"102438.36870751344", "102438.36870751344"),
    (b"1.558999378194944e-155", "1.5589993781949441e-155"),
    (b"7.125", "7.125"),
    (b"7.55e19", "7.55e+19"),
    (b"-1.447091737624885e+249", "-1.4470917376248849e+249"),
    (b"-1.1256939243141307e+38", "-1.1256939243141307e+38"),
    (b"1.7731788202571202e+86", "1.7731788202571202e+86"),
    (b"0.000000000000077366046358891867479", "7.7366046358891873e-14"),
    (b"37423851254.044", "37423851254.043999"),
    (b"-2.206087284701449e+290", "-2.206087284701449e+290"),
    (b"-6.414104986810773e+261", "-6.4141049868107734e+261"),
    (b"0.0000007174083097", "7.1740830969999996e-07"),
    (b"-6809094362026799", "-6809094362026799"),
    (b"473860.0473148667", "473860.04731486668"),
    (b"85932e4932", "refused"),
    (b"-21448e-4940", "refused"),
    (b"nan", "refused"),
    (b"58279e-4951", "refused"),
    (b"0x0.7P16380", "refused"),
    (b"80028e-4940", "refused"),
    (b"52164e-4955", "refused"),
    (b"+47487e-4955", "refused"),
    (b"84973e4930", "refused"),
    (b"55621e-4951", "refused"),
    (b"18494e-4955", "refused"),
    (b"+83740e-4950", "refused"),
    (b"52354e-4940", "refused"),
    (b"+88294e-4950", "refused"),
    (b"+61434e308", "refused"),
    (b"-23988e-4950", "refused"),
    (b"15834e4932", "refused"),
    (b"-26372e-4940", "refused"),
    (b"", "refused"),
    (b"58106e-4950", "refused"),
];
