//! Tables over the eleven actions; expectations follow Prometheus's documented semantics.

use super::*;
use crate::scrape::config::NameValidation;
use storage_engine::model::{Labels, LabelsBuilder};

fn rule(action: Action, edit: impl FnOnce(&mut RuleConfig)) -> Rule {
    let mut config = RuleConfig {
        action,
        ..RuleConfig::default()
    };
    edit(&mut config);
    Rule::new(config, NameValidation::Utf8).unwrap()
}

fn sources(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// `None` means dropped.
fn run(labels: &[(&str, &str)], rules: &[Rule]) -> Option<String> {
    let base = Labels::from_pairs(labels.iter().copied()).unwrap();
    let mut builder = LabelsBuilder::new(&base);
    match process(&mut builder, rules) {
        Verdict::Keep => Some(builder.build().to_string()),
        Verdict::Drop => None,
    }
}

const ABC: &[(&str, &str)] = &[("a", "foo"), ("b", "bar"), ("c", "baz")];

#[track_caller]
fn check(labels: &[(&str, &str)], rules: &[Rule], expected: Option<&str>) {
    assert_eq!(run(labels, rules).as_deref(), expected);
}

#[test]
fn replace_expands_groups_into_value_and_name() {
    let r = |regex: &str, target: &str, replacement: &str| {
        rule(Action::Replace, |c| {
            c.source_labels = sources(&["a", "b"]);
            c.regex = regex.into();
            c.target_label = target.into();
            c.replacement = replacement.into();
        })
    };
    check(
        ABC,
        &[r("f(.*);(.*)r", "d", "ch${1}-$2")],
        Some(r#"{a="foo", b="bar", c="baz", d="choo-ba"}"#),
    );
    // The regex is anchored: no match, no change.
    check(
        ABC,
        &[r("f(.*)", "d", "x")],
        Some(r#"{a="foo", b="bar", c="baz", d="x"}"#),
    );
    check(
        ABC,
        &[r("oo", "d", "x")],
        Some(r#"{a="foo", b="bar", c="baz"}"#),
    );
    // `$1x` is the group named `1x`, which does not exist; an empty result deletes.
    check(
        ABC,
        &[r("f(.*);(.*)r", "c", "$1x")],
        Some(r#"{a="foo", b="bar"}"#),
    );
    check(
        ABC,
        &[r("f(.*);(.*)r", "${1}_$2", "$$v")],
        Some(r#"{a="foo", b="bar", c="baz", oo_ba="$v"}"#),
    );
    check(
        ABC,
        &[r("(?P<x>f.*);.*", "d", "${x}$")],
        Some(r#"{a="foo", b="bar", c="baz", d="foo$"}"#),
    );
    // A target that expands to nothing is left alone.
    check(
        ABC,
        &[r("f(z?)oo;.*", "$1", "v")],
        Some(r#"{a="foo", b="bar", c="baz"}"#),
    );
    // Dot matches newline.
    let multi = rule(Action::Replace, |c| {
        c.source_labels = sources(&["a"]);
        c.regex = "x.y".into();
        c.target_label = "b".into();
        c.replacement = "1".into();
    });
    check(&[("a", "x\ny")], &[multi], Some(r#"{a="x\ny", b="1"}"#));
}

#[test]
fn replace_of_a_constant_needs_no_source() {
    let set = rule(Action::Replace, |c| {
        c.target_label = "d".into();
        c.replacement = "v".into();
    });
    check(ABC, &[set], Some(r#"{a="foo", b="bar", c="baz", d="v"}"#));
    let delete = rule(Action::Replace, |c| {
        c.target_label = "a".into();
        c.replacement = String::new();
    });
    check(ABC, &[delete], Some(r#"{b="bar", c="baz"}"#));
}

#[test]
fn keep_and_drop_look_at_the_joined_sources() {
    let make = |action: Action, regex: &str| {
        rule(action, |c| {
            c.source_labels = sources(&["a", "missing", "b"]);
            c.separator = "-".into();
            c.regex = regex.into();
        })
    };
    let all = Some(r#"{a="foo", b="bar", c="baz"}"#);
    check(ABC, &[make(Action::Keep, "foo--bar")], all);
    check(ABC, &[make(Action::Keep, "foo")], None);
    check(ABC, &[make(Action::Drop, "foo--bar")], None);
    check(ABC, &[make(Action::Drop, "foo|bar")], all);
}

#[test]
fn keepequal_and_dropequal_compare_with_the_target() {
    let make = |action: Action, target: &str| {
        rule(action, |c| {
            c.source_labels = sources(&["a"]);
            c.target_label = target.into();
        })
    };
    let same = &[("a", "x"), ("b", "x"), ("c", "y")];
    let all = Some(r#"{a="x", b="x", c="y"}"#);
    check(same, &[make(Action::KeepEqual, "b")], all);
    check(same, &[make(Action::KeepEqual, "c")], None);
    check(same, &[make(Action::DropEqual, "b")], None);
    check(same, &[make(Action::DropEqual, "c")], all);
}

#[test]
fn hashmod_is_the_tail_of_md5() {
    // md5("foo") = acbd18db4cc2f85cedef654fccc4a4d8; the last 8 bytes modulo 1000 by hand: 0xedef654fccc4a4d8 % 1000.
    let expected = 0xedef_654f_ccc4_a4d8_u64 % 1000;
    let make = rule(Action::HashMod, |c| {
        c.source_labels = sources(&["a"]);
        c.target_label = "h".into();
        c.modulus = 1000;
    });
    check(
        &[("a", "foo")],
        &[make],
        Some(&format!(r#"{{a="foo", h="{expected}"}}"#)),
    );
}

#[test]
fn label_names_are_mapped_dropped_and_kept() {
    let map = rule(Action::LabelMap, |c| {
        c.regex = "__meta_(.+)".into();
    });
    check(
        &[("__meta_x", "1"), ("y", "2")],
        &[map],
        Some(r#"{__meta_x="1", x="1", y="2"}"#),
    );
    let drop = rule(Action::LabelDrop, |c| c.regex = "a|c".into());
    check(ABC, &[drop], Some(r#"{b="bar"}"#));
    let keep = rule(Action::LabelKeep, |c| c.regex = "a|c".into());
    check(ABC, &[keep], Some(r#"{a="foo", c="baz"}"#));
}

#[test]
fn case_is_mapped_rune_by_rune() {
    let make = |action: Action| {
        rule(action, |c| {
            c.source_labels = sources(&["a", "b"]);
            c.target_label = "t".into();
        })
    };
    let labels = &[("a", "MiXeD"), ("b", "ß")];
    check(
        labels,
        &[make(Action::Lowercase)],
        Some(r#"{a="MiXeD", b="ß", t="mixed;ß"}"#),
    );
    check(
        labels,
        &[make(Action::Uppercase)],
        Some(r#"{a="MiXeD", b="ß", t="MIXED;ß"}"#),
    );
}

#[test]
fn rules_see_the_labels_of_rules_before() {
    let first = rule(Action::Replace, |c| {
        c.source_labels = sources(&["a"]);
        c.target_label = "d".into();
    });
    let second = rule(Action::Keep, |c| {
        c.source_labels = sources(&["d"]);
        c.regex = "foo".into();
    });
    let third = rule(Action::LabelDrop, |c| c.regex = "a|b|c".into());
    check(ABC, &[first, second, third], Some(r#"{d="foo"}"#));
}

#[test]
fn invalid_rules_are_refused_in_prometheus_words() {
    let refuse = |scheme: NameValidation, action: Action, edit: &dyn Fn(&mut RuleConfig)| {
        let mut config = RuleConfig {
            action,
            ..RuleConfig::default()
        };
        edit(&mut config);
        Rule::new(config, scheme)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let utf8 = NameValidation::Utf8;
    let legacy = NameValidation::Legacy;
    let cases: &[(String, &str)] = &[
        (
            refuse(utf8, Action::HashMod, &|c| c.target_label = "x".into()),
            "relabel configuration for hashmod requires non-zero modulus",
        ),
        (
            refuse(utf8, Action::Replace, &|_| {}),
            "relabel configuration for replace action requires 'target_label' value",
        ),
        (
            refuse(legacy, Action::Replace, &|c| c.target_label = "0a".into()),
            "\"0a\" is invalid 'target_label' for replace action",
        ),
        (
            refuse(legacy, Action::Replace, &|c| c.target_label = "${a".into()),
            "\"${a\" is invalid 'target_label' for replace action",
        ),
        (
            refuse(legacy, Action::LabelMap, &|c| c.replacement = "-".into()),
            "\"-\" is invalid 'replacement' for labelmap action",
        ),
        (
            refuse(utf8, Action::Lowercase, &|c| {
                c.target_label = "x".into();
                c.replacement = "y".into();
            }),
            "'replacement' can not be set for lowercase action",
        ),
        (
            refuse(utf8, Action::KeepEqual, &|c| {
                c.target_label = "x".into();
                c.regex = "y".into();
            }),
            "keepequal action requires only 'source_labels' and `target_label`, and no other fields",
        ),
        (
            refuse(utf8, Action::LabelDrop, &|c| c.target_label = "x".into()),
            "labeldrop action requires only 'regex', and no other fields",
        ),
    ];
    for (got, expected) in cases {
        assert_eq!(got, expected);
    }
    assert_eq!(
        Action::from_name("nope").unwrap_err().to_string(),
        "unknown relabel action \"nope\""
    );
    assert_eq!(Action::from_name("LabelDrop").unwrap(), Action::LabelDrop);
    assert!(
        refuse(utf8, Action::Keep, &|c| c.regex = "(".into()).starts_with("error parsing regexp")
    );
}
