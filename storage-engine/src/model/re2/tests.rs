//! What Go's `regexp` says about patterns, as a table.

use super::*;

/// Pattern, texts that match in whole, texts that don't.
const MEANS: &[(&str, &[&str], &[&str])] = &[
    ("", &[""], &["a"]),
    ("a", &["a"], &["A", "ab", "ba", ""]),
    (".*", &["", "a", "a\nb", "é"], &[]),
    ("a|b", &["a", "b"], &["ab", "a|b"]),
    ("foo|", &["foo", ""], &["fo"]),
    ("/api/{id}/.*", &["/api/{id}/x"], &["/api/id/x"]),
    ("a{b}", &["a{b}"], &["ab"]),
    ("a{,2}", &["a{,2}"], &["", "a", "aa"]),
    ("a{2}", &["aa"], &["a", "a{2}"]),
    ("a{2,}", &["aa", "aaaa"], &["a"]),
    ("a{0,1}", &["", "a"], &["aa"]),
    ("a{01}", &["a{01}"], &["a"]),
    ("a{1,2", &["a{1,2"], &["a"]),
    ("{", &["{"], &[""]),
    ("}", &["}"], &[""]),
    ("]", &["]"], &[""]),
    ("x{-1}", &["x{-1}"], &["x"]),
    ("[[]", &["["], &["[[", ""]),
    ("[]a]", &["]", "a"], &["]a"]),
    ("[^]a]", &["b", "\n"], &["]", "a"]),
    ("[a-]", &["a", "-"], &["b"]),
    ("[-a]", &["a", "-"], &["b"]),
    ("[a-c-e]", &["a", "b", "c", "-", "e"], &["d"]),
    ("[a&&b]", &["a", "&", "b"], &["c", ""]),
    ("[+--]", &["+", ",", "-"], &["a"]),
    ("[~~]", &["~"], &[""]),
    ("[a[b]", &["a", "[", "b"], &["c"]),
    ("[a\\]b]", &["a", "]", "b"], &["\\"]),
    ("[[:alpha:]_]+", &["aZ_"], &["1", "é"]),
    ("[[:^digit:]]", &["a", "é"], &["7"]),
    ("[[:word:]]+", &["a_9"], &["-"]),
    ("[[:foo]", &[":", "f", "o", "["], &["x"]),
    ("[\\d.]+", &["1.2"], &["a", "\u{0663}"]),
    ("[^\\d]", &["a", "\u{0663}"], &["5"]),
    ("[\\D]", &["a"], &["5"]),
    ("\\d+", &["09"], &["\u{0663}", "a"]),
    ("\\w+", &["aZ_0"], &["é"]),
    ("\\W", &["é", "-"], &["a"]),
    (
        "\\s",
        &[" ", "\t", "\n", "\r", "\u{c}"],
        &["\u{b}", "\u{a0}", "\u{2003}"],
    ),
    ("\\S", &["\u{b}", "\u{a0}", "a"], &[" "]),
    ("(?i)\\w", &["k", "\u{212a}", "\u{17f}"], &["é"]),
    ("\\ba\\b", &["a"], &["b"]),
    ("é\\ba", &["éa"], &["ea"]),
    ("a\\Bé", &[], &["aé"]),
    ("é\\Bé", &["éé"], &[]),
    ("\\Aa\\z", &["a"], &["a\n"]),
    ("a$", &["a"], &["a\n"]),
    ("^a", &["a"], &[]),
    ("a^b", &[], &["ab", "a^b"]),
    ("^*a", &["a"], &["^a"]),
    ("(?m)a$\n^b", &["a\nb"], &["ab"]),
    ("a\\.b", &["a.b"], &["axb"]),
    ("\\-\\_\\/\\ \\<\\>", &["-_/ <>"], &[]),
    ("\\123", &["S"], &["\\123"]),
    ("\\01", &["\u{1}"], &[]),
    ("\\0", &["\0"], &[]),
    ("\\x41\\x{1F600}", &["A\u{1F600}"], &[]),
    ("\\x{D800}", &[], &["", "\u{fffd}"]),
    ("[\\x{D7FF}-\\x{E000}]", &["\u{d7ff}", "\u{e000}"], &["a"]),
    ("\\a\\f\\t\\n\\r\\v", &["\u{7}\u{c}\t\n\r\u{b}"], &[]),
    ("\\Qa.b*\\E+", &["a.b*", "a.b**"], &["axbb"]),
    ("\\Q(", &["("], &[]),
    ("\\Qa\\Eb", &["ab"], &["aEb"]),
    ("\\Q\\", &["\\"], &[]),
    ("\\pN+", &["1\u{0663}"], &["a"]),
    ("\\PN", &["a"], &["1"]),
    ("\\p{Greek}", &["α"], &["a"]),
    ("\\p{^Greek}", &["a"], &["α"]),
    ("[\\p{Lu}\\d]", &["A", "É", "1"], &["a"]),
    ("\\p{Letter}\\p{any}", &["a1"], &["11"]),
    ("(?P<n>a)(?<m>b)(?P<n>c)(?P<1>d)", &["abcd"], &[]),
    ("(?i)straße|K", &["STRAßE", "k", "\u{212a}"], &["strasse"]),
    ("(?i:a)b", &["Ab", "ab"], &["aB"]),
    ("(?i)a(?-i)b", &["Ab"], &["AB"]),
    ("a(?i)b|c", &["aB", "C", "c"], &["AB"]),
    ("(a(?i)b)c", &["aBc"], &["aBC"]),
    ("(?-s).", &["a"], &["\n"]),
    ("(?-s:.).", &["a\n"], &["\n\n"]),
    ("(?i)[a-c]", &["B"], &["d"]),
    ("(?i)[^a]", &["b"], &["A", "a"]),
    ("a(?i)*", &["", "aaa"], &["A"]),
    ("a??b", &["b", "ab"], &["aab"]),
    ("(?U)a+?", &["aa"], &[""]),
    ("(|a)+", &["", "aa"], &["b"]),
    ("()", &[""], &["a"]),
    ("(?:)*", &[""], &["a"]),
    ("(?:a|b){2}", &["ab"], &["a"]),
    ("a#b c", &["a#b c"], &["ab"]),
    ("é+", &["éé"], &["e"]),
    (
        "host-(0[1-9]|1[0-2])",
        &["host-09", "host-12"],
        &["host-13"],
    ),
];

const REFUSED: &[(&str, &str)] = &[
    ("(", "missing closing ): `(`"),
    ("a(b|c", "missing closing ): `a(b|c`"),
    (")", "unexpected ): `)`"),
    ("a)(b", "unexpected ): `a)(b`"),
    ("*", "missing argument to repetition operator: `*`"),
    ("*a", "missing argument to repetition operator: `*`"),
    ("+?", "missing argument to repetition operator: `+?`"),
    ("a|*", "missing argument to repetition operator: `*`"),
    ("(?i)*", "missing argument to repetition operator: `*`"),
    ("(*)", "missing argument to repetition operator: `*`"),
    ("{2}", "missing argument to repetition operator: `{2}`"),
    ("\\Q\\E*", "missing argument to repetition operator: `*`"),
    ("x*+", "invalid nested repetition operator: `*+`"),
    ("x**", "invalid nested repetition operator: `**`"),
    ("x+*?", "invalid nested repetition operator: `+*?`"),
    ("x*{2}", "invalid nested repetition operator: `*{2}`"),
    ("x??+", "invalid nested repetition operator: `??+`"),
    ("a{1001}", "invalid repeat count: `{1001}`"),
    ("a{2,1}", "invalid repeat count: `{2,1}`"),
    ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
    ("(a{100}){100}", "invalid repeat count: `{100}`"),
    ("((a{100})*b){11}", "invalid repeat count: `{11}`"),
    ("[a", "missing closing ]: `[a`"),
    ("x[]", "missing closing ]: `[]`"),
    ("[]a", "missing closing ]: `[]a`"),
    ("[", "missing closing ]: `[`"),
    ("[a--b]", "invalid character class range: `a--`"),
    ("[b-a]", "invalid character class range: `b-a`"),
    ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
    ("\\p{Foo}", "invalid character class range: `\\p{Foo}`"),
    ("\\p{Greek", "invalid character class range: `\\p{Greek`"),
    ("\\pX", "invalid character class range: `\\pX`"),
    (
        "\\p{Alphabetic}",
        "invalid character class range: `\\p{Alphabetic}`",
    ),
    ("\\y", "invalid escape sequence: `\\y`"),
    ("\\C", "invalid escape sequence: `\\C`"),
    ("\\1", "invalid escape sequence: `\\1`"),
    ("\\8", "invalid escape sequence: `\\8`"),
    ("\\Z", "invalid escape sequence: `\\Z`"),
    ("\\E", "invalid escape sequence: `\\E`"),
    ("\\é", "invalid escape sequence: `\\é`"),
    ("\\xg1", "invalid escape sequence: `\\xg1`"),
    ("\\x{110000}", "invalid escape sequence: `\\x{110000`"),
    ("\\x{}", "invalid escape sequence: `\\x{}`"),
    ("[\\b]", "invalid escape sequence: `\\b`"),
    ("a\\", "trailing backslash at end of expression: ``"),
    ("(?P<n", "invalid named capture: `(?P<n`"),
    ("(?P<a b>c)", "invalid named capture: `(?P<a b>`"),
    ("(?P<>c)", "invalid named capture: `(?P<>`"),
    ("(?<=a)b", "invalid named capture: `(?<=a)b`"),
    ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
    ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
    ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
    ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"),
    ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
];

#[test]
fn patterns_mean_what_go_means() {
    for (pattern, yes, no) in MEANS {
        let regex = translate(pattern).unwrap_or_else(|e| panic!("{pattern:?}: {e}"));
        for text in *yes {
            assert!(
                regex.is_match(text),
                "{pattern:?} should match {text:?}: {regex}"
            );
        }
        for text in *no {
            assert!(
                !regex.is_match(text),
                "{pattern:?} should not match {text:?}: {regex}"
            );
        }
    }
}

#[test]
fn refusals_have_go_words() {
    for (pattern, words) in REFUSED {
        match translate(pattern) {
            Ok(regex) => panic!("{pattern:?} was accepted as {regex}"),
            Err(error) => assert_eq!(
                error.to_string(),
                format!("error parsing regexp: {words}"),
                "{pattern:?}"
            ),
        }
    }
    let deep = format!("{}{}", "(".repeat(1000), ")".repeat(1000));
    assert!(translate(&deep).is_err());
    let allowed = format!("{}{}", "(".repeat(900), ")".repeat(900));
    assert!(translate(&allowed).is_ok());
}

#[test]
fn groups_keep_their_numbers_and_names() {
    let regex = translate("(?P<a>x+)(?:y)(z|(w))").unwrap();
    let found = regex.captures("xxyw").unwrap();
    assert_eq!(found.name("a").map(|m| m.as_str()), Some("xx"));
    assert_eq!(found.get(2).map(|m| m.as_str()), Some("w"));
    assert_eq!(found.get(3).map(|m| m.as_str()), Some("w"));
    let lazy = translate("(a*?)(a*)").unwrap();
    assert_eq!(
        lazy.captures("aa").unwrap().get(1).map(|m| m.as_str()),
        Some("")
    );
    let first = translate_unanchored("a|ab").unwrap();
    assert_eq!(first.find("xab").map(|m| m.as_str()), Some("a"));
}

#[test]
fn matchers_agree_with_the_regex_they_avoid() {
    use crate::model::{MatchOp, Matcher};
    let texts = [
        "", "a", "ab", "abc", "b", "bc", "xabcx", "abab", "aéb", "K", "k", "\u{212a}", "a\nb",
        "foo", "foobar",
    ];
    for pattern in [
        "a",
        "a|b|",
        "a.*",
        "a.+",
        ".*b",
        ".+b",
        "ab.*ab",
        "a.*b",
        ".*ab.*",
        ".+ab.*",
        ".*",
        ".+",
        "(a|b)c?",
        "(?i)k",
        "(.*)",
        "(a).*",
        "foo(bar)?",
        "foo(|bar).*",
        "\\ba",
        "a\\b|b",
        "[ab]",
        "[ab].*",
        "(?-s)a.*",
        "a.?",
        "^a",
        "a$|b",
    ] {
        let regex = translate(pattern).unwrap();
        for op in [MatchOp::Regex, MatchOp::NotRegex] {
            let matcher = Matcher::new(op, "l", pattern).unwrap();
            for text in texts {
                assert_eq!(
                    matcher.matches(text),
                    regex.is_match(text) == (op == MatchOp::Regex),
                    "{pattern:?} on {text:?}"
                );
            }
        }
    }
    let listed = Matcher::new(MatchOp::Regex, "l", "a|b(c|d)").unwrap();
    assert_eq!(
        listed.alternatives(),
        Some(&["a".to_owned(), "bc".to_owned(), "bd".to_owned()][..])
    );
}
