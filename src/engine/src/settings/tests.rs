use super::*;

#[test]
fn declarations_and_defaults_agree() {
    let mut settings = Settings::default();
    for s in SETTINGS {
        let value = settings.clone();
        match (s.kind, value.get(s.name)) {
            (SettingKind::Bool { default }, Some(SettingValue::Bool(b))) => {
                assert_eq!(b, default, "{}", s.name);
                settings.set_bool(s.name, !b).unwrap();
                assert_eq!(settings.get(s.name), Some(SettingValue::Bool(!b)));
            }
            (
                SettingKind::Number {
                    default, min, max, ..
                },
                Some(SettingValue::Number(n)),
            ) => {
                assert_eq!(n, default, "{}", s.name);
                assert!(min <= n && n <= max);
                settings.set_number(s.name, n + 1).unwrap();
                assert_eq!(settings.get(s.name), Some(SettingValue::Number(n + 1)));
            }
            (
                SettingKind::Text { default } | SettingKind::Choice { default, .. },
                Some(SettingValue::Text(t)),
            ) => {
                assert_eq!(t, default, "{}", s.name);
            }
            (kind, value) => panic!("{}: {kind:?} is {value:?}", s.name),
        }
    }
}

#[test]
fn bad_texts_are_refused() {
    let mut s = Settings::default();
    for (name, value) in [
        ("dbfilename", "../x"),
        ("dbfilename", ""),
        ("appenddirname", "a/b"),
        ("appendfilename", "a b"),
        ("save", "60"),
        ("save", "0 1"),
        ("save", "a b"),
        ("appendfsync", "sometimes"),
        ("file-mode", "644"),
        ("file-mode", "400"),
    ] {
        assert!(s.set_text(name, value).is_err(), "{name} {value}");
    }
    assert_eq!(s, Settings::default());
    s.set_text("save", "").unwrap();
    assert!(s.save_points().is_empty());
    s.set_text("save", "60 1 10 5").unwrap();
    assert_eq!(s.save_points().len(), 2);
}
