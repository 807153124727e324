//! Glob patterns as Redis matches them: `*`, `?`, `[a-c]`, `[^x]` and `\`,
//! byte by byte, with the corner cases of its `stringmatchlen`.

/// Whether `pattern` matches all of `string`; `nocase` ignores the case of
/// ASCII letters. Takes at most `pattern.len() * string.len()` steps.
///
/// As in Redis nothing but an empty pattern matches the empty string, not
/// even `*`: commands treat that pattern as "everything" before they ask.
pub fn glob_match(pattern: &[u8], string: &[u8], nocase: bool) -> bool {
    let (mut p, mut s) = (0, 0);
    // Where to go on after a mismatch: behind the last star, which swallows
    // one byte more each time. Earlier stars needn't be tried again.
    let mut retry: Option<(usize, usize)> = None;
    while p < pattern.len() && s < string.len() {
        let next = match pattern[p] {
            b'*' => {
                while pattern.get(p + 1) == Some(&b'*') {
                    p += 1;
                }
                p += 1;
                if p == pattern.len() {
                    return true;
                }
                retry = Some((p, s));
                continue;
            }
            b'?' => Some(p + 1),
            b'[' => match_class(pattern, p + 1, string[s], nocase),
            byte => {
                let escaped = byte == b'\\' && p + 1 < pattern.len();
                let at = p + usize::from(escaped);
                same(pattern[at], string[s], nocase).then_some(at + 1)
            }
        };
        if let Some(next) = next {
            p = next;
            s += 1;
            if s < string.len() && p < pattern.len() {
                continue;
            }
            if s == string.len() {
                while pattern.get(p) == Some(&b'*') {
                    p += 1;
                }
                if p == pattern.len() {
                    return true;
                }
            }
        }
        match &mut retry {
            Some((after_star, from)) if *from + 1 < string.len() => {
                *from += 1;
                (p, s) = (*after_star, *from);
            }
            _ => return false,
        }
    }
    p == pattern.len() && s == string.len()
}

fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || nocase && a.eq_ignore_ascii_case(&b)
}

/// Matches one byte against the class that starts at `p`, behind its `[`;
/// answers where the pattern goes on. A class without its `]` ends with the
/// pattern.
fn match_class(pattern: &[u8], mut p: usize, byte: u8, nocase: bool) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut found = false;
    loop {
        match pattern.get(p..).unwrap_or_default() {
            [b'\\', escaped, ..] => {
                found |= *escaped == byte; // never without regard to case
                p += 2;
            }
            [b']', ..] => {
                p += 1;
                break;
            }
            [] => break,
            [start, b'-', end, ..] => {
                found |= in_range(*start, *end, byte, nocase);
                p += 3;
            }
            [single, ..] => {
                found |= same(*single, byte, nocase);
                p += 1;
            }
        }
    }
    (found != negated).then_some(p)
}

/// Bytes compare as C's `char` does on x86, signed, and the ends are put in
/// order before their case is dropped.
fn in_range(start: u8, end: u8, byte: u8, nocase: bool) -> bool {
    let (mut low, mut high) = (start, end);
    if (low as i8) > (high as i8) {
        std::mem::swap(&mut low, &mut high);
    }
    let mut byte = byte;
    if nocase {
        low = low.to_ascii_lowercase();
        high = high.to_ascii_lowercase();
        byte = byte.to_ascii_lowercase();
    }
    (low as i8..=high as i8).contains(&(byte as i8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, string: &str) -> bool {
        glob_match(pattern.as_bytes(), string.as_bytes(), false)
    }

    #[test]
    fn everyday_patterns() {
        for (pattern, string, expected) in [
            ("*", "x", true),
            ("cart:*", "cart:42", true),
            ("cart:*", "cart:", true),
            ("cart:*", "car:42", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hxllo", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("**a**", "bab", true),
            ("", "", true),
            ("", "a", false),
            ("a**", "a", true),
            ("a*?", "a", false),
        ] {
            assert_eq!(matches(pattern, string), expected, "{pattern} {string}");
        }
    }

    #[test]
    fn corner_cases_as_redis_has_them() {
        for (pattern, string, expected) in [
            ("*", "", false),
            ("**", "", false),
            ("[", "[", false),
            ("[a", "a", true),
            ("[^", "a", true),
            ("[]", "]", false),
            ("[^]", "x", true),
            ("[\\", "\\", true),
            ("[\\]]", "]", true),
            ("[a-", "-", true),
            ("[a-]", "]", true),
            ("a\\", "a\\", true),
        ] {
            assert_eq!(matches(pattern, string), expected, "{pattern} {string}");
        }
    }

    #[test]
    fn case_is_ignored_on_request() {
        assert!(glob_match(b"FOO*[a-c]", b"foobarB", true));
        assert!(!glob_match(b"FOO*", b"foo", false));
        assert!(!glob_match(b"[\\A]", b"a", true));
        assert!(!glob_match(b"[a-Z]", b"b", true));
    }

    #[test]
    fn many_stars_stay_fast() {
        let pattern = b"a*".repeat(200);
        let string = [b'a'].repeat(20_000);
        assert!(!glob_match(&[&pattern[..], b"b"].concat(), &string, false));
    }

    #[test]
    fn answers_of_redis_7() {
        for (pattern, string, expected) in REDIS {
            let got = glob_match(pattern, string, false);
            assert_eq!(got, *expected, "{pattern:?} {string:?}");
        }
    }

    // What KEYS of redis-server 7.0.15 answers.
    const REDIS: &[(&[u8], &[u8], bool)] = &[
        (b"]*[*-]\x80", b"]acZ", true),
        (b"**[\x5c]a][a-c]", b"-ac", true),
        (b"*[z-*\xe9", b"^", true),
        (b"[^a]*", b"Zb]b^", true),
        (b"**[^-]", b"[Z[bz", true),
        (b"[a-\x80A", b"-", true),
        (b"[a[a-c][^-][\x80-a]", b"czZ", true),
        (b"***[\x80-a]", b"--]", true),
        (b"****", b"A", true),
        (b"[b-Z]", b"b", true),
        (b"[b-Z]", b"]", true),
        (b"[^a]", b"[", true),
        (b"[^-]", b"a", true),
        (b"?[b-Z]", b"Aa", true),
        (b"[^-]*", b"\x5c", true),
        (b"****", b"\xe9]aba", true),
        (b"[\x80-a]", b"\xe9", true),
        (b"**b*[^-]", b"bb-cz", true),
        (b"[^a]*[^-][\x80-a]", b"]a^Za[", true),
        (b"**[\x80-a]", b"a\x5cA", true),
        (b"[\x80-a][^-]**", b"][b", true),
        (b"[b-Z]", b"b", true),
        (b"[b-Z][\x80-a]**\x5ca", b"^\x5ca", true),
        (b"[^a][[b-Z]", b"\xe9a", true),
        (b"[b-Z]?", b"\x5c\x80", true),
        (b"[^-]", b"a", true),
        (b"[b-Z]**[\x80-a]", b"b-\x80", true),
        (b"[^-]", b"\x5c", true),
        (b"[[^a]b[^-]", b"a\x5cbZa", false),
        (b"[b-Z][\x5c]a]", b"[\xe9\xe9\xe9\xe9", false),
        (b"[^-][^a][^-]**a", b"\x80b", false),
        (b"[[a-c][\x80-\xe9][a-c]", b"\x80a", false),
        (b"[^a]a[b[^a]", b"\xe9\x80\x5cc^", false),
        (b"[\x80-a]\x5ca", b"\xe9bb^A\x5c", false),
        (b"\xe9]a[^", b"-\xe9]", false),
        (b"?\x5cac[^a][a-c]", b"[bZ\x80", false),
        (b"z^[-^\x5c", b"--\x5c\x80", false),
        (b"[\x5c]a][b-Z][\x5c]a][^-]", b"^cA^[^", false),
        (b"[\x80-a][a-c]a", b"Z-z\x80", false),
        (b"[\x80-\xe9]**[\x80-\xe9]a", b"a]", false),
    ];
}
