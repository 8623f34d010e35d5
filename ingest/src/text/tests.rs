//! Tables of good and bad pages (the cases that Prometheus's parsers are known by), and a comparison of the short
//! cut with the token-by-token parser over mutated pages.

use super::*;

fn entries(page: &[u8], dialect: Dialect) -> (Vec<String>, Option<ParseError>) {
    run(Parser::new(page, dialect))
}

fn run(mut parser: Parser<'_>) -> (Vec<String>, Option<ParseError>) {
    let mut out = Vec::new();
    loop {
        match parser.next_entry() {
            Ok(Some(entry)) => out.push(show(&entry)),
            Ok(None) => return (out, None),
            Err(error) => return (out, Some(error)),
        }
    }
}

fn show(entry: &Entry<'_>) -> String {
    let Entry::Series(series) = entry else {
        return format!("{entry:?}");
    };
    let mut labels = Vec::new();
    let labels = match series.labels(&mut labels) {
        Ok(()) => format!("{labels:?}"),
        Err(error) => error.to_string(),
    };
    let exemplar = series.exemplar.map(|e| {
        let mut labels = Vec::new();
        e.labels(&mut labels);
        format!(" # {labels:?} {} {:?}", e.value, e.timestamp)
    });
    format!(
        "{} {labels} {:x} {:?}{}",
        String::from_utf8_lossy(series.raw),
        series.value.to_bits(),
        series.timestamp,
        exemplar.unwrap_or_default(),
    )
}

/// The labels of a one-line page as `name=value` joined by `|`, with raw key, value and timestamp in front.
fn one(line: &str, dialect: Dialect) -> String {
    let page = match dialect {
        Dialect::Prometheus => line.to_owned(),
        Dialect::OpenMetrics => format!("{line}\n# EOF\n"),
    };
    let mut parser = Parser::new(page.as_bytes(), dialect);
    match parser.next_entry() {
        Ok(Some(Entry::Series(series))) => {
            let mut labels = Vec::new();
            series.labels(&mut labels).unwrap();
            let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
            format!(
                "{} {} {:?}; {}",
                String::from_utf8_lossy(series.raw),
                series.value,
                series.timestamp,
                labels.join("|")
            )
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn series_lines_of_the_prometheus_format() {
    let check = |line: &str, expected: &str| {
        assert_eq!(one(line, Dialect::Prometheus), expected, "{line}");
    };
    check("up 1", "up 1 None; __name__=up");
    check("up 1 1234\n", "up 1 Some(1234); __name__=up");
    check("up\t1\t 1234  ", "up 1 Some(1234); __name__=up");
    check("  up 1", "up 1 None; __name__=up");
    check(
        r#"a{b="c",d="e f}"} -2.5e3"#,
        r#"a{b="c",d="e f}"} -2500 None; __name__=a|b=c|d=e f}"#,
    );
    check(r#"a{b="c",} 1"#, r#"a{b="c",} 1 None; __name__=a|b=c"#);
    check(r#"a{} 1"#, r#"a{} 1 None; __name__=a"#);
    check(
        r#"a{ b = "c" , d= "e" } 1"#,
        r#"a{ b = "c" , d= "e" } 1 None; __name__=a|b=c|d=e"#,
    );
    check(
        r#"a { b = "2.0" c = "d" } 1"#,
        r#"a { b = "2.0" c = "d" } 1 None; __name__=a|b=2.0|c=d"#,
    );
    check(r#"a{b="c"}1"#, r#"a{b="c"} 1 None; __name__=a|b=c"#);
    check(
        r#"a{b="\"x\" \\ \n \q"} 1"#,
        "a{b=\"\\\"x\\\" \\\\ \\n \\q\"} 1 None; __name__=a|b=\"x\" \\ \n \\q",
    );
    check(
        "a:b:c{_d=\"e\"} +Inf",
        "a:b:c{_d=\"e\"} inf None; __name__=a:b:c|_d=e",
    );
    check("a{b=\"x\ny\"} 1", "a{b=\"x\ny\"} 1 None; __name__=a|b=x\ny");
    check(
        r#"{"x.y",q="0"} 1"#,
        r#"{"x.y",q="0"} 1 None; __name__=x.y|q=0"#,
    );
    check(
        r#"{q="0","x.y"} 1"#,
        r#"{q="0","x.y"} 1 None; __name__=x.y|q=0"#,
    );
    check(
        r#"{ "x.y" , "a.b" = "0", } 1"#,
        r#"{ "x.y" , "a.b" = "0", } 1 None; __name__=x.y|a.b=0"#,
    );
    check(
        r#"{"10€ \"w\" {c\nd}","s™\n'q' \"n\""="6"} 1"#,
        "{\"10€ \\\"w\\\" {c\\nd}\",\"s™\\n'q' \\\"n\\\"\"=\"6\"} 1 None; __name__=10€ \"w\" {c\nd}|s™\n'q' \"n\"=6",
    );
    check(
        "n{a=\"abc\0\"} 1",
        "n{a=\"abc\0\"} 1 None; __name__=n|a=abc\0",
    );
}

#[test]
fn metadata_and_comments_of_the_prometheus_format() {
    let page = "# HELP a Some text\\n with \\\\ and \\\"\n#\tTYPE a summary\na{quantile=\"1\"} 2\na{quantile=\"0.99\",le=\"1\"} 2\n\n# HELP b\n# HELP c \n# TYPE d histogram\nd_bucket{le=\"10\"} 1\nd{le=\"+Inf\"} 1\n# TYPE e untyped\ne{le=\"1\"} NaN\n# Hx y\n#\n# HELP \"q.r\" foo\0bar\n#EOF";
    let (got, error) = entries(page.as_bytes(), Dialect::Prometheus);
    assert_eq!(error, None);
    let expected = [
        r#"Help { name: "a", text: "Some text\n with \\ and \\\"" }"#,
        r#"Type { name: "a", metric_type: Summary }"#,
        r#"a{quantile="1"} [("__name__", "a"), ("quantile", "1.0")] 4000000000000000 None"#,
        r#"a{quantile="0.99",le="1"} [("__name__", "a"), ("quantile", "0.99"), ("le", "1")] 4000000000000000 None"#,
        r#"Help { name: "b", text: "" }"#,
        r#"Help { name: "c", text: "" }"#,
        r#"Type { name: "d", metric_type: Histogram }"#,
        r#"d_bucket{le="10"} [("__name__", "d_bucket"), ("le", "10.0")] 3ff0000000000000 None"#,
        r#"d{le="+Inf"} [("__name__", "d"), ("le", "+Inf")] 3ff0000000000000 None"#,
        r#"Type { name: "e", metric_type: Unknown }"#,
        r#"e{le="1"} [("__name__", "e"), ("le", "1")] 7ff8000000000001 None"#,
    ];
    assert_eq!(got.get(..expected.len()).unwrap(), expected);
    let rest: Vec<&str> = got
        .iter()
        .skip(expected.len())
        .map(String::as_str)
        .collect();
    assert_eq!(
        rest,
        [
            format!("Comment({:?})", b"# Hx y"),
            format!("Comment({:?})", b"#"),
            "Help { name: \"q.r\", text: \"foo\\0bar\" }".to_owned(),
            format!("Comment({:?})", b"#EOF"),
        ]
    );
}

#[test]
fn bad_prometheus_pages_are_refused_in_prometheus_own_words() {
    let cases: &[(&[u8], &str)] = &[
        (
            b"a",
            r#"expected value after metric, got "\n" ("INVALID") while parsing: "a\n""#,
        ),
        (
            b"a{b='c'} 1\n",
            r#"expected label value, got "'" ("INVALID") while parsing: "a{b='""#,
        ),
        (
            b"a{b=\n",
            r#"expected label value, got "\n" ("INVALID") while parsing: "a{b=\n""#,
        ),
        (
            b"a{\xff=\"foo\"} 1\n",
            r#"expected label name, got "\xff" ("INVALID") while parsing: "a{\xff""#,
        ),
        (
            b"a{b=\"\xff\"} 1\n",
            r#"invalid UTF-8 label value: "\"\xff\"""#,
        ),
        (
            br#"{"a", "b = "c"}"#,
            r#"expected equal, got "c\"" ("LNAME") while parsing: "{\"a\", \"b = \"c\"""#,
        ),
        (
            br#"{"a",b\nc="d"} 1"#,
            r#"expected equal, got "\\" ("INVALID") while parsing: "{\"a\",b\\""#,
        ),
        (
            b"a true\n",
            r#"strconv.ParseFloat: parsing "true": invalid syntax while parsing: "a true""#,
        ),
        (
            b"something_weird{problem=\"",
            r#"expected label value, got "\"\n" ("INVALID") while parsing: "something_weird{problem=\"\n""#,
        ),
        (
            b"empty_label_name{=\"\"} 0",
            r#"expected label name, got "=\"" ("EQUAL") while parsing: "empty_label_name{=\"""#,
        ),
        (
            b"foo 1_2\n",
            r#"unsupported character in float while parsing: "foo 1_2""#,
        ),
        (
            b"foo 0x1p-3\n",
            r#"unsupported character in float while parsing: "foo 0x1p-3""#,
        ),
        (
            b"foo 0 1_2\n",
            r#"expected next entry after timestamp, got "_" ("INVALID") while parsing: "foo 0 1_""#,
        ),
        (
            br#"{a="ok"} 1"#,
            r#"metric name not set while parsing: "{a=\"ok\"} 1""#,
        ),
        (
            br#"x{"y"} 1"#,
            r#"metric name already set while parsing: "x{\"y\"}""#,
        ),
        (
            b"# TYPE #\n#EOF\n",
            r##"expected metric name after TYPE, got "#" ("INVALID") while parsing: "# TYPE #""##,
        ),
        (
            b"# HELP #\n#EOF\n",
            r##"expected metric name after HELP, got "#" ("INVALID") while parsing: "# HELP #""##,
        ),
        (b"# TYPE a wrong\n", r#"invalid metric type "wrong""#),
        (b"# TYPE a unknown\n", r#"invalid metric type "unknown""#),
        (
            b"# HELP a \xff\n",
            r#"help text "\xff" is not a valid utf8 string"#,
        ),
        (
            b"a{b=\0\"ssss\"} 1\n",
            r#"expected label value, got "\x00" ("INVALID") while parsing: "a{b=\x00""#,
        ),
        (
            b"a{b=\"\0",
            r#"expected label value, got "\"\x00\n" ("INVALID") while parsing: "a{b=\"\x00\n""#,
        ),
        (
            b"a{b\0=\"hiih\"}\t1",
            r#"expected equal, got "\x00" ("INVALID") while parsing: "a{b\x00""#,
        ),
        (
            b"a\0{b=\"ddd\"} 1",
            r#"expected value after metric, got "\x00" ("INVALID") while parsing: "a\x00""#,
        ),
        (
            b"a 0 1\0",
            r#"expected next entry after timestamp, got "\x00" ("INVALID") while parsing: "a 0 1\x00""#,
        ),
        (
            b"a 1 99999999999999999999\n",
            r#"strconv.ParseInt: parsing "99999999999999999999": value out of range while parsing: "a 1 99999999999999999999""#,
        ),
        (
            b"a 1 x\n",
            r#"expected timestamp or new record, got "x" ("INVALID") while parsing: "a 1 x""#,
        ),
        (
            b"up 1\r\n",
            r#"strconv.ParseFloat: parsing "1\r": invalid syntax while parsing: "up 1\r""#,
        ),
        (
            b"\x1f\x8b\x08\x00\n",
            r#"expected a valid start token, got "\x1f" ("INVALID") while parsing: "\x1f""#,
        ),
    ];
    for (page, text) in cases {
        let (_, error) = entries(page, Dialect::Prometheus);
        assert_eq!(error.map(|e| e.to_string()).as_deref(), Some(*text));
    }
}

#[test]
fn good_open_metrics_lines() {
    let check = |line: &str, expected: &str| {
        assert_eq!(one(line, Dialect::OpenMetrics), expected, "{line}");
    };
    check("a 1 1.5", "a 1 Some(1500); __name__=a");
    check(
        "a{b=\"c\"} 1 -0.001",
        "a{b=\"c\"} 1 Some(-1); __name__=a|b=c",
    );
    check(
        "{\"a.b\",c=\"d\"} 1",
        "{\"a.b\",c=\"d\"} 1 None; __name__=a.b|c=d",
    );
    let page = "# HELP a x\\ny \\\"z\\\"\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1 # {id=\"x.y\",t=\"\"} 0.5 1.25\na_seconds_created 5 7 # {} 1\n# TYPE g gaugehistogram\n# EOF";
    let (got, error) = entries(page.as_bytes(), Dialect::OpenMetrics);
    assert_eq!(error, None);
    assert_eq!(
        got,
        [
            r#"Help { name: "a", text: "x\ny \"z\"" }"#,
            r#"Type { name: "a_seconds", metric_type: Counter }"#,
            r#"Unit { name: "a_seconds", unit: "seconds" }"#,
            r#"a_seconds_total [("__name__", "a_seconds_total")] 3ff0000000000000 None # [("id", "x.y"), ("t", "")] 0.5 Some(1250)"#,
            r#"a_seconds_created [("__name__", "a_seconds_created")] 4014000000000000 Some(7000) # [] 1 None"#,
            r#"Type { name: "g", metric_type: GaugeHistogram }"#,
        ]
    );
    for page in [
        "# EOF",
        "# EOF\n",
        "null_byte{a=\"abc\0\"} 1\n# EOF\n",
        "a{b=\"\0ss\"} 1\n# EOF",
    ] {
        assert_eq!(
            entries(page.as_bytes(), Dialect::OpenMetrics).1,
            None,
            "{page}"
        );
    }
}

#[test]
fn bad_open_metrics_pages_are_refused_in_prometheus_own_words() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "data does not end with # EOF"),
        (
            b"\n",
            r#"expected a valid start token, got "\n" ("INVALID") while parsing: "\n""#,
        ),
        (
            b"metric",
            r#"expected value after metric, got "metric" ("EOF") while parsing: "metric""#,
        ),
        (b"metric 1", "data does not end with # EOF"),
        (b"metric 1\n", "data does not end with # EOF"),
        (
            b"metric_total 1 # {aa=\"bb\"} 4",
            "data does not end with # EOF",
        ),
        (
            b"a\n#EOF\n",
            r#"expected value after metric, got "\n" ("INVALID") while parsing: "a\n""#,
        ),
        (
            b" a 1\n#EOF\n",
            r#"expected a valid start token, got " " ("INVALID") while parsing: " ""#,
        ),
        (
            b"9\n#EOF\n",
            r#"expected a valid start token, got "9" ("INVALID") while parsing: "9""#,
        ),
        (
            b"# TYPE u untyped\n#EOF\n",
            r#"invalid metric type "untyped""#,
        ),
        (
            b"# TYPE c counter \n#EOF\n",
            r#"invalid metric type "counter ""#,
        ),
        (
            b"#  TYPE c counter\n#EOF\n",
            r##"expected a valid start token, got "#  " ("INVALID") while parsing: "#  ""##,
        ),
        (
            b"# TYPE \n#EOF\n",
            r##"expected metric name after TYPE, got "\n" ("INVALID") while parsing: "# TYPE \n""##,
        ),
        (b"# TYPE m\n#EOF\n", "expected text in TYPE"),
        (
            b"# UNIT metric suffix\n#EOF\n",
            r#"unit "suffix" not a suffix of metric "metric""#,
        ),
        (
            b"# UNIT metricsuffix suffix\n#EOF\n",
            r#"unit "suffix" not a suffix of metric "metricsuffix""#,
        ),
        (
            b"# UNIT m suffix\n#EOF\n",
            r#"unit "suffix" not a suffix of metric "m""#,
        ),
        (b"# UNIT m\n#EOF\n", "expected text in UNIT"),
        (b"# HELP m\n#EOF\n", "expected text in HELP"),
        (
            b"a\t1\n#EOF\n",
            r#"expected value after metric, got "\t" ("INVALID") while parsing: "a\t""#,
        ),
        (
            b"a 1\t2\n#EOF\n",
            r#"strconv.ParseFloat: parsing "1\t2": invalid syntax while parsing: "a 1\t2""#,
        ),
        (
            b"a 1 2 \n#EOF\n",
            r#"expected next entry after timestamp, got " \n" ("INVALID") while parsing: "a 1 2 \n""#,
        ),
        (
            b"a 1 2 #\n#EOF\n",
            r##"expected next entry after timestamp, got " #\n" ("TIMESTAMP") while parsing: "a 1 2 #\n""##,
        ),
        (
            b"a 1 1z\n#EOF\n",
            r#"strconv.ParseFloat: parsing "1z": invalid syntax while parsing: "a 1 1z""#,
        ),
        (b"# EOF\na 1", "unexpected data after # EOF"),
        (b"# EOF\n\n", "unexpected data after # EOF"),
        (b"# EOFa 1", "unexpected data after # EOF"),
        (
            b"#\tTYPE c counter\n",
            r##"expected a valid start token, got "#\t" ("INVALID") while parsing: "#\t""##,
        ),
        (b"# TYPE c  counter\n", r#"invalid metric type " counter""#),
        (
            b"a 1 1 1\n# EOF\n",
            r#"expected next entry after timestamp, got " 1\n" ("TIMESTAMP") while parsing: "a 1 1 1\n""#,
        ),
        (
            b"a{,b=\"c\"} 1\n# EOF\n",
            r#"expected label name, got ",b" ("COMMA") while parsing: "a{,b""#,
        ),
        (
            b"a{b=\"c\"d=\"e\"} 1\n# EOF\n",
            r#"expected comma or brace close, got "d=" ("LNAME") while parsing: "a{b=\"c\"d=""#,
        ),
        (
            b"a{b=\"c\",,d=\"e\"} 1\n# EOF\n",
            r#"expected label name, got ",d" ("COMMA") while parsing: "a{b=\"c\",,d""#,
        ),
        (
            b"a{b=\"\xff\"} 1\n# EOF\n",
            r#"invalid UTF-8 label value: "\"\xff\"""#,
        ),
        (
            b"something_weird{problem=\"\n# EOF\n",
            r#"expected label value, got "\"\n" ("INVALID") while parsing: "something_weird{problem=\"\n""#,
        ),
        (
            b"foo 0 1_2\n\n# EOF\n",
            r#"unsupported character in float while parsing: "foo 0 1_2""#,
        ),
        (
            b"c_total 1 # {aa=bb}\n# EOF\n",
            r##"expected label value, got "b" ("INVALID") while parsing: "c_total 1 # {aa=b""##,
        ),
        (
            b"c_total 1 # {aa=\"bb\"}\n# EOF\n",
            r##"expected value after exemplar labels, got "\n" ("INVALID") while parsing: "c_total 1 # {aa=\"bb\"}\n""##,
        ),
        (
            b"c_total 1 # {aa=\"bb\"}",
            r##"expected value after exemplar labels, got "}" ("EOF") while parsing: "c_total 1 # {aa=\"bb\"}""##,
        ),
        (
            b"c_total 1 # {bb}",
            r##"expected label name, got "}" ("BCLOSE") while parsing: "c_total 1 # {bb}""##,
        ),
        (
            b"c_total 1 # {bb, a=\"dd\"}",
            r##"expected label name, got ", " ("COMMA") while parsing: "c_total 1 # {bb, ""##,
        ),
        (
            b"c_total 1 # {aa=\"bb\"} true",
            r##"strconv.ParseFloat: parsing "true": invalid syntax while parsing: "c_total 1 # {aa=\"bb\"} true""##,
        ),
        (
            b"c_total 1 # {b=\"\0ss\"} 1\n",
            r##"expected label value, got "\"\x00" ("INVALID") while parsing: "c_total 1 # {b=\"\x00""##,
        ),
        (
            b"{b=\"c\",} 1",
            r#"metric name not set while parsing: "{b=\"c\",} 1""#,
        ),
        (b"a 1 NaN", "invalid timestamp NaN"),
        (b"a 1 -Inf", "invalid timestamp -Inf"),
        (b"a 1 Inf", "invalid timestamp +Inf"),
        (b"h 1 # {aa=\"bb\"} 4 NaN", "invalid exemplar timestamp NaN"),
        (
            b"a{b=\"\0",
            r#"expected label value, got "\"\x00" ("INVALID") while parsing: "a{b=\"\x00""#,
        ),
        (
            b"#",
            r##"expected a valid start token, got "#" ("INVALID") while parsing: "#""##,
        ),
        (
            b"# H",
            r##"expected a valid start token, got "# H" ("INVALID") while parsing: "# H""##,
        ),
    ];
    for (page, text) in cases {
        let (_, error) = entries(page, Dialect::OpenMetrics);
        assert_eq!(
            error.map(|e| e.to_string()).as_deref(),
            Some(*text),
            "{}",
            page.escape_ascii()
        );
    }
}

/// xorshift: seeds are printed by the assertion that fails.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn the_short_cut_and_the_token_parser_agree_on_mutated_pages() {
    let pieces: &[&[u8]] = &[
        b"up",
        b"a_b:c",
        b"{",
        b"}",
        b"\"",
        b"x=\"y\"",
        b",",
        b"le=\"1\"",
        b" ",
        b"  ",
        b"\t",
        b"1",
        b"-2.5",
        b"NaN",
        b"\n",
        b"# TYPE a histogram\n",
        b"# HELP a b\\n\n",
        b" # {a=\"b\"} 1 2",
        b"\\",
        b"\0",
        b"\xff",
        "é".as_bytes(),
        b"=",
        b"9",
        b"1e400",
        b"{\"q.r\"} 3\n",
        b"up{a=\"b\"} 1\n",
        b"up{a=\"b\\\"c\"} 1 5\n",
        b"# EOF\n",
        b"1_0",
        b"+Inf",
    ];
    for seed in 1..40_000u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut page = Vec::new();
        for _ in 0..random.below(14) {
            page.extend_from_slice(pieces[random.below(pieces.len())]);
        }
        for dialect in [Dialect::Prometheus, Dialect::OpenMetrics] {
            let fast = run(Parser::new(&page, dialect));
            let slow = run(Parser::new_token_by_token(&page, dialect));
            assert_eq!(
                fast,
                slow,
                "seed {seed} {dialect:?}: {}",
                page.escape_ascii()
            );
        }
    }
}
