//! Pushes as a whole: bodies in, pages and errors out. Error texts were taken from a real Pushgateway 1.11.2.

use super::message::{put_bytes, put_double, put_varint};
use super::*;
use bytes::Bytes;

const LIMITS: GroupLimits = GroupLimits {
    groups_max: 1000,
    bytes_max: 1 << 20,
};
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

fn grouping(path: &str) -> Grouping {
    Grouping::from_path(path.as_bytes(), false).unwrap()
}

fn push_body(
    groups: &mut Groups,
    path: &str,
    replace: bool,
    body: &[u8],
    content_type: &str,
) -> Result<(), String> {
    let grouping = grouping(path);
    let push =
        parse_push(body, content_type, &grouping, groups.seed()).map_err(|e| e.to_string())?;
    groups
        .check(&grouping, replace, &push)
        .map_err(|e| e.to_string())?;
    groups.apply(Change::Push {
        grouping,
        time_ns: 1_500_000_000,
        replace,
        ttl_ms: 0,
        families: push.families,
    });
    assert_eq!(groups.totals(), groups.recount());
    Ok(())
}

fn put(groups: &mut Groups, path: &str, body: &str) -> Result<(), String> {
    push_body(groups, path, true, body.as_bytes(), "")
}

fn post(groups: &mut Groups, path: &str, body: &str) -> Result<(), String> {
    push_body(groups, path, false, body.as_bytes(), "")
}

/// The page without the families that the gateway makes.
fn page(groups: &Groups) -> String {
    let mut page = groups.page();
    page.families.retain(|f| !f.name.starts_with("push_"));
    page.text()
}

#[track_caller]
fn refused(body: &[u8], expected: &str) {
    let mut groups = Groups::new(LIMITS, 7);
    let error = push_body(&mut groups, "a", true, body, "").unwrap_err();
    assert_eq!(error, expected, "{}", String::from_utf8_lossy(body));
    assert_eq!(groups.totals(), Totals::default());
}

#[test]
fn lines_that_are_refused() {
    for (body, expected) in [
        ("x 1", "unexpected end of input stream"),
        ("x", "unexpected end of input stream"),
        ("# TYPE x foo\n", "unknown metric type \"foo\""),
        ("x 1 12x\n", "expected integer as timestamp, got \"12x\""),
        ("x 1 12 13\n", "spurious string after timestamp: \" 13\""),
        ("x 1 \n", "expected integer as timestamp, got \"\""),
        ("x y\n", "expected float as value, got \"y\""),
        ("x\n", "expected float as value, got \"\""),
        (
            "x{a=\"b\",a=\"c\"} 1\n",
            "duplicate label names for metric \"x\"",
        ),
        (
            "x{a=b} 1\n",
            "expected '\"' at start of label value, found 'b'",
        ),
        ("x{a=\"b\\q\"} 1\n", "invalid escape sequence '\\q'"),
        (
            "x{__name__=\"b\"} 1\n",
            "label name \"__name__\" is reserved",
        ),
        ("x{a=\"b\" 1\n", "unexpected end of label value \"b\""),
        (
            "x{a \"b\"} 1\n",
            "expected '=' after label name, found '\"'",
        ),
        ("x{1=\"b\"} 1\n", "invalid label name for metric \"x\""),
        (
            "x{a=\"b\nc\"} 1\n",
            "label value \"b\" contains unescaped new-line",
        ),
        ("{\"foo.bar\"} 1\n", "invalid metric name \"foo.bar\""),
        ("x{\"a b\"=\"c\"} 1\n", "invalid label name \"a b\""),
        ("1x 1\n", "invalid metric name"),
        ("# HELP 1x foo\n", "invalid metric name in comment"),
    ] {
        let expected = format!("text format parsing error in line 1: {expected}");
        refused(body.as_bytes(), &expected);
    }
    refused(
        b"y{b=\"\xff\"} 1\n",
        "text format parsing error in line 1: invalid label value \"\\xff\"",
    );
    refused(
        b"# TYPE x counter\n# TYPE x counter\nx 1\n",
        "text format parsing error in line 2: second TYPE line for metric name \"x\", or TYPE reported after samples",
    );
    refused(
        b"# HELP x a\n# HELP x b\nx 1\n",
        "text format parsing error in line 2: second HELP line for metric name \"x\"",
    );
    refused(
        b"# TYPE s summary\ns{quantile=\"x\"} 1\n",
        "text format parsing error in line 2: expected float as value for 'quantile' label, got \"x\"",
    );
}

#[test]
fn pushes_that_do_not_fit() {
    let prefix = "pushed metrics are invalid or inconsistent with existing metrics: ";
    for (body, expected) in [
        ("x 1 12\n", "pushed metrics must not have timestamps"),
        (
            "x{a=\"b\"} 1\nx{a=\"b\"} 2\n",
            "collected metric \"x\" { label:{name:\"a\" value:\"b\"} label:{name:\"instance\" value:\"\"} label:{name:\"job\" value:\"a\"} untyped:{value:2}} was collected before with the same name and label values",
        ),
        (
            "x{__r=\"c\"} 1\n",
            "collected metric \"x\" { label:{name:\"__r\" value:\"c\"} label:{name:\"instance\" value:\"\"} label:{name:\"job\" value:\"a\"} untyped:{value:1}} has a label with an invalid name: __r",
        ),
        (
            "x 1\nx 2\nx 1e6\n",
            "2 error(s) occurred:\n\
             * collected metric \"x\" { label:{name:\"instance\" value:\"\"} label:{name:\"job\" value:\"a\"} untyped:{value:2}} was collected before with the same name and label values\n\
             * collected metric \"x\" { label:{name:\"instance\" value:\"\"} label:{name:\"job\" value:\"a\"} untyped:{value:1e+06}} was collected before with the same name and label values",
        ),
    ] {
        refused(body.as_bytes(), &format!("{prefix}{expected}"));
    }
    let mut groups = Groups::new(LIMITS, 7);
    put(
        &mut groups,
        "a",
        "# TYPE x gauge\nx 1\n# TYPE h histogram\nh_sum 1\nh_count 1\n",
    )
    .unwrap();
    let of = |result: Result<(), String>| result.unwrap_err().replace(prefix, "");
    assert_eq!(
        of(put(&mut groups, "b", "# TYPE x counter\nx 3\n")),
        "collected metric \"x\" { label:{name:\"instance\" value:\"\"} label:{name:\"job\" value:\"b\"} counter:{value:3}} is not a GAUGE"
    );
    assert_eq!(
        of(put(&mut groups, "b", "h_count 3\n")),
        "collected metric named \"h_count\" collides with previously collected histogram named \"h\""
    );
    assert_eq!(
        of(post(
            &mut groups,
            "a",
            "h_bucket_sum 3\n# TYPE h_bucket summary\nh_bucket_count 3\n"
        )),
        "collected metric named \"h_bucket\" collides with previously collected histogram named \"h\"",
    );
    assert_eq!(
        of(put(
            &mut groups,
            "b",
            "y_count 1\n# TYPE y histogram\ny_sum 3\n"
        )),
        "collected histogram or summary named \"y\" collides with previously collected metric named \"y_count\"",
    );
    // What goes with the same push is in nobody's way.
    put(&mut groups, "a", "h_count 3\n# TYPE x counter\nx 1\n").unwrap();
    put(&mut groups, "b", "# TYPE x counter\nx 3\n").unwrap();
}

#[test]
fn series_of_groups_with_other_labels_may_not_meet() {
    let mut groups = Groups::new(LIMITS, 7);
    put(
        &mut groups,
        "a",
        "x{instance=\"i\"} 1\nx{instance=\"j\"} 1\n",
    )
    .unwrap();
    assert_eq!(groups.indexed(), 0);
    assert!(
        put(&mut groups, "a/instance/i", "x 2\n")
            .unwrap_err()
            .contains("collected before")
    );
    put(&mut groups, "a/instance/k", "x 2\n").unwrap();
    assert_eq!(groups.indexed(), 1);
    assert!(
        put(&mut groups, "a", "x{instance=\"k\"} 1\n")
            .unwrap_err()
            .contains("collected before")
    );
    assert!(
        put(&mut groups, "a/instance/j", "x 2\n")
            .unwrap_err()
            .contains("collected before")
    );
    put(&mut groups, "b/instance/j", "x 2\n").unwrap();
    put(&mut groups, "a", "x{instance=\"i\"} 1\n").unwrap();
    put(&mut groups, "a/instance/j", "x 2\n").unwrap();
    for path in ["a/instance/j", "a/instance/k", "b/instance/j"] {
        groups.apply(Change::Delete(grouping(path)));
    }
    assert_eq!((groups.indexed(), groups.totals().metrics), (0, 1));
    groups.apply(Change::Wipe);
    assert_eq!(groups.totals(), Totals::default());
}

#[test]
fn put_replaces_and_post_merges() {
    let mut groups = Groups::new(LIMITS, 7);
    put(&mut groups, "j", "a 1\nb{l=\"2\",job=\"other\"} 2\nb 3\n").unwrap();
    post(&mut groups, "j", "# HELP b h\\ne\\\\l\\\"p\nb 1e6\nc NaN\n").unwrap();
    assert_eq!(
        page(&groups),
        "# TYPE a untyped\na{instance=\"\",job=\"j\"} 1\n\
         # HELP b h\\ne\\\\l\"p\n# TYPE b untyped\nb{instance=\"\",job=\"j\"} 1e+06\n\
         # TYPE c untyped\nc{instance=\"\",job=\"j\"} NaN\n"
    );
    put(
        &mut groups,
        "j",
        "c{instance=\"own\",z=\"\\\\\\\"\\n\"} +Inf\n",
    )
    .unwrap();
    assert_eq!(
        page(&groups),
        "# TYPE c untyped\nc{instance=\"own\",job=\"j\",z=\"\\\\\\\"\\n\"} +Inf\n"
    );
    put(&mut groups, "j", "").unwrap();
    assert_eq!(page(&groups), "");
    assert_eq!(groups.totals().groups, 1);
}

#[test]
fn lines_are_gathered_into_summaries_and_histograms() {
    let mut groups = Groups::new(LIMITS, 7);
    let body = "# TYPE s summary\n\
        s{quantile=\"0.5\",a=\"1\"} 1.5\ns{a=\"2\",quantile=\"0.5\"} 2\n\
        s_sum{a=\"1\"} 3\ns_count{a=\"2\"} 4\ns_count{a=\"1\"} 2\n\
        # TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2.5\"} 2\nh_count 3\nh_sum 9\n";
    put(&mut groups, "j/instance/i", body).unwrap();
    assert_eq!(groups.totals().metrics, 3);
    let l = "instance=\"i\",job=\"j\"";
    let expected = format!(
        "# TYPE h histogram\nh_bucket{{{l},le=\"1\"}} 1\nh_bucket{{{l},le=\"2.5\"}} 2\nh_bucket{{{l},le=\"+Inf\"}} 3\n\
         h_sum{{{l}}} 9\nh_count{{{l}}} 3\n# TYPE s summary\n\
         s{{a=\"1\",{l},quantile=\"0.5\"}} 1.5\ns_sum{{a=\"1\",{l}}} 3\ns_count{{a=\"1\",{l}}} 2\n\
         s{{a=\"2\",{l},quantile=\"0.5\"}} 2\ns_sum{{a=\"2\",{l}}} 0\ns_count{{a=\"2\",{l}}} 4\n"
    );
    assert_eq!(page(&groups), expected);
}

/// A delimited family with one metric.
fn family(name: &str, kind: Kind, value_field: u32, value: &[u8]) -> Vec<u8> {
    let (mut label, mut metric, mut family) = (Vec::new(), Vec::new(), Vec::new());
    put_bytes(&mut label, 1, b"l");
    put_bytes(&mut label, 2, b"v");
    put_bytes(&mut metric, 1, &label);
    put_bytes(&mut metric, value_field, value);
    put_bytes(&mut family, 1, name.as_bytes());
    put_varint(&mut family, 3, kind as u64);
    put_bytes(&mut family, 4, &metric);
    let mut out = Vec::new();
    message::put_number(&mut out, family.len() as u64);
    out.extend(family);
    out
}

#[test]
fn protobuf_bodies() {
    let mut groups = Groups::new(LIMITS, 7);
    let mut value = Vec::new();
    put_double(&mut value, 1, 2.5);
    let mut native = Vec::new();
    put_varint(&mut native, 1, 5);
    put_double(&mut native, 2, 7.5);
    put_varint(&mut native, 5, 2);
    let mut span = Vec::new();
    put_varint(&mut span, 1, 0);
    put_varint(&mut span, 2, 2);
    put_bytes(&mut native, 12, &span);
    put_bytes(&mut native, 13, &[4, 2]);
    let mut body = family("g", Kind::Gauge, 2, &value);
    body.extend(family("h", Kind::Histogram, 7, &native));
    push_body(&mut groups, "j", true, &body, PROTOBUF).unwrap();
    let l = "instance=\"\",job=\"j\",l=\"v\"";
    let expected = format!(
        "# TYPE g gauge\ng{{{l}}} 2.5\n# TYPE h histogram\n\
         h_bucket{{{l},le=\"+Inf\"}} 5\nh_sum{{{l}}} 7.5\nh_count{{{l}}} 5\n"
    );
    assert_eq!(page(&groups), expected);
    let page = groups.page();
    let metric = metrics_of(&page.families[1].metrics[0]).next().unwrap();
    let ValueView::Histogram(view) = metric.value else {
        panic!("{metric:?}");
    };
    assert_eq!(view.native.unwrap().positive_buckets, [2.0, 3.0]);
    // What the scrape reads of the page in protobuf is what was pushed, and it pushes back as the same.
    let again = page.protobuf();
    let mut second = Groups::new(LIMITS, 8);
    push_body(&mut second, "j", true, &again, PROTOBUF).unwrap();
    assert_eq!(page.text(), second.page().text());

    let wrong = family("g", Kind::Counter, 2, &value);
    let error = push_body(&mut groups, "j", true, &wrong, PROTOBUF).unwrap_err();
    assert!(
        error.ends_with("gauge:{value:2.5}} is not a COUNTER"),
        "{error}"
    );
    for (body, expected) in [
        (&b"\x05abc"[..], "unexpected EOF"),
        (b"\x03abc", "proto: cannot parse invalid wire-format data"),
        (b"\x03\x0a\x01 ", "invalid metric name \" \""),
    ] {
        let error = push_body(&mut groups, "j", true, body, PROTOBUF).unwrap_err();
        assert_eq!(error, expected);
    }
    push_body(&mut groups, "j", true, b"\x00", PROTOBUF).unwrap();
}

#[test]
fn times_and_lives_of_groups() {
    let mut groups = Groups::new(LIMITS, 7);
    let change = |time_ms: i64, ttl_ms| Change::Push {
        grouping: grouping("j"),
        time_ns: time_ms * 1_000_000,
        replace: true,
        ttl_ms,
        families: Vec::new(),
    };
    groups.apply(change(1_500, 1000));
    groups.apply(Change::Failure {
        grouping: grouping("k"),
        time_ns: 2_000_000_000,
        ttl_ms: 0,
    });
    let all = groups.describe();
    assert_eq!(all[0].grouping, grouping("j"));
    assert!(all[0].last_push_successful && !all[1].last_push_successful);
    let text = groups.page().text();
    assert!(
        text.contains("push_time_seconds{instance=\"\",job=\"j\"} 1.5\n"),
        "{text}"
    );
    assert!(
        text.contains("push_time_seconds{instance=\"\",job=\"k\"} 0\n"),
        "{text}"
    );
    assert!(
        text.contains("push_failure_time_seconds{instance=\"\",job=\"k\"} 2\n"),
        "{text}"
    );
    assert_eq!(groups.next_deadline_ms(), Some(2_500));
    assert_eq!(groups.expired(2_499), []);
    assert_eq!(groups.expired(2_500), [grouping("j")]);
    groups.apply(change(2_000, 0));
    assert_eq!(groups.next_deadline_ms(), None);
}

#[test]
fn limits_refuse() {
    let limits = GroupLimits {
        groups_max: 2,
        bytes_max: 1300,
    };
    let mut groups = Groups::new(limits, 7);
    put(&mut groups, "a", "x 1\n").unwrap();
    put(&mut groups, "b", "x 1\n").unwrap();
    assert_eq!(
        put(&mut groups, "c", "x 1\n"),
        Err("the limit of 2 groups is reached".to_owned())
    );
    let many: String = (0..20).map(|i| format!("x{{i=\"{i}\"}} 1\n")).collect();
    let error = "the limit of 1300 bytes in all groups is reached";
    assert_eq!(put(&mut groups, "a", &many), Err(error.to_owned()));
    put(&mut groups, "a", "x 2\n").unwrap();
}

/// Groups with everything in them.
fn sample_groups() -> Groups {
    let mut groups = Groups::new(LIMITS, 7);
    put(&mut groups, "a", "# HELP x h\nx 1\ny{l=\"1\"} 2\ny 3\n").unwrap();
    post(&mut groups, "a", "z 4\n").unwrap();
    put(
        &mut groups,
        "b/instance/i",
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\n",
    )
    .unwrap();
    groups.apply(Change::Failure {
        grouping: grouping("b/instance/i"),
        time_ns: 9_000_000_000,
        ttl_ms: 0,
    });
    groups
}

#[test]
fn records_make_the_same_groups_again() {
    let groups = sample_groups();
    let mut again = Groups::new(LIMITS, 99);
    encode_groups(&groups, |record| {
        again.apply(decode_change(record, 99).unwrap());
    });
    assert_eq!(groups.page().text(), again.page().text());
    assert_eq!(groups.totals(), again.totals());
    for change in [
        Change::Wipe,
        Change::Delete(grouping("a/b/c")),
        Change::Failure {
            grouping: grouping("a"),
            time_ns: -5,
            ttl_ms: 300,
        },
    ] {
        let mut bytes = Vec::new();
        encode_change(&change, &mut bytes);
        assert_eq!(decode_change(&bytes, 1), Ok(change));
    }
}

#[test]
fn damaged_records_are_errors_and_never_panic() {
    let groups = sample_groups();
    let mut records: Vec<Bytes> = Vec::new();
    encode_groups(&groups, |record| {
        records.push(Bytes::copy_from_slice(record))
    });
    for record in records {
        for end in 0..record.len() {
            assert!(decode_change(&record[..end], 1).is_err());
        }
        for bit in 0..record.len() * 8 {
            let mut damaged = record.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(change) = decode_change(&damaged, 1) {
                let mut groups = Groups::new(LIMITS, 1);
                groups.apply(change);
                let _ = (groups.page().text(), groups.describe());
                assert_eq!(groups.totals(), groups.recount());
            }
        }
    }
}

#[test]
fn damaged_bodies_never_panic() {
    let text = "# HELP x h\\n\n# TYPE x summary\nx{quantile=\"0.5\",a=\"b\\\"\"} 1 \nx_sum 3\n{\"y\",b=\"c\"} 2 5\n";
    let proto = sample_groups().page().protobuf();
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    for (body, content_type) in [(text.as_bytes(), ""), (&proto, PROTOBUF)] {
        for _ in 0..3000 {
            let mut damaged = body.to_vec();
            for _ in 0..=random(3) {
                let at = random(damaged.len());
                match random(3) {
                    0 => damaged[at] = random(256) as u8,
                    1 => {
                        damaged.remove(at);
                    }
                    _ => damaged.insert(at, b"\"\\\n{},= #x1"[random(11)]),
                }
            }
            let mut groups = Groups::new(LIMITS, 1);
            if push_body(&mut groups, "a", true, &damaged, content_type).is_ok() {
                let _ = groups.page().text();
            }
        }
    }
}
