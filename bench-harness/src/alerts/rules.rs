//! The rules of the comparison: every function that Prometheus 3.5 has for templates, and the ways in which groups and rules differ.

use serde_json::{Value, json};

/// Annotations, one for each alert.
pub(super) const TEXTS: [&str; 38] = [
    r#"{{ $labels.host }} of {{ $labels.zone }} is {{ $value }}"#,
    r#"{{ .Labels.host }} {{ .Value }} {{ .ExternalLabels.region }} {{ .ExternalURL }} {{ $externalLabels.zone }}|{{ $externalURL }}"#,
    r#"[{{ $labels.missing }}] {{ if eq $labels.missing "" }}none{{ else }}some{{ end }}"#,
    r#"{{ humanize $value }} {{ humanize1024 $value }} {{ humanizePercentage $value }} {{ humanizeDuration $value }} {{ humanizeTimestamp $value }}"#,
    r#"{{ humanize "1234567" }} {{ humanize 0.00012 }} {{ humanize 0 }} {{ humanizeDuration 0 }} {{ humanizeDuration 0.0012 }} {{ humanizeDuration -3700 }}"#,
    r#"{{ printf "%.2f %5.1f|%-8s|%q %v %d %x %e %g %t %%" $value 3.14159 "ab" "q" $value 7 255 12345.678 1e10 true }}"#,
    r#"{{ printf "%v %s %.3v %8v|%08.3f %+d %T" $value $labels.zone $value $value 1.5 3 $value }}"#,
    r#"{{ query "level" | sortByLabel "a" | first | value }} {{ query "level" | sortByLabel "a" | first | label "a" }} {{ with query "big" }}{{ . | first | value | humanize }}{{ end }}"#,
    r#"{{ range query "level" | sortByLabel "a" }}{{ .Labels.a }}={{ .Value }};{{ end }}"#,
    r#"{{ query "nothing" | first | value }}"#,
    r#"{{ if query "nothing" }}yes{{ else }}no{{ end }} {{ len (query "level") }}"#,
    r#"{{ title "hello wide world" }} {{ toUpper $labels.zone }} {{ toLower "ABC" }}"#,
    r#"{{ reReplaceAll "(.*):.*" "$1!" $labels.host }} {{ reReplaceAll "o" "0" "foo" }} {{ match "^a.*" "abc" }} {{ match "b$" "abc" }}"#,
    r#"{{ stripPort $labels.host }} {{ stripDomain "a.b.c:9" }} {{ stripPort "10.0.0.1:80" }} {{ stripDomain "10.0.0.1:80" }} {{ stripPort "[::1]:9" }}"#,
    r#"{{ graphLink "up{a=\"b c\"} > 1" }} {{ tableLink "up" }}"#,
    r#"{{ externalURL }} {{ pathPrefix }}"#,
    r#"{{ parseDuration "1h30m" }} {{ toTime 1435065584 }} {{ (toTime 1435065584).Year }}"#,
    r#"{{ with toTime 1435065584.128 }}{{ .Format "2006-01-02 15:04:05.000 Mon Jan" }} {{ .Unix }} {{ .Weekday }} {{ .Month }} {{ .YearDay }}{{ end }}"#,
    r#"{{ safeHtml "<b>&" }} {{ "<b>" | html }} {{ "a'b" | js }} {{ urlquery "a b" }}"#,
    r#"{{ define "t" }}<{{ .arg0 }}-{{ .arg1 }}-{{ .nope }}>{{ end }}{{ template "t" (args $value "x") }}"#,
    r#"{{ range $i, $e := query "level" | sortByLabel "a" }}{{ $i }}:{{ $e.Value }} {{ end }}{{ range $k, $v := $externalLabels }}{{ $k }}={{ $v }},{{ end }}"#,
    r#"{{ $x := 5 }}{{ $x = 7 }}{{ $x }} {{ if and (gt $value 1.0) (lt $value 1e9) }}in{{ end }} {{ or "" "b" }} {{ not true }} {{ and 1 0 }}"#,
    r#"{{- /* c */ -}} a {{- " b " -}} c {{ index $labels "zone" }}[{{ index $labels "nope" }}] {{ slice "abcdef" 1 3 }}"#,
    r#"{{ print $value 1 2 "a" 3 }} {{ println 1.5 "x" }}{{ eq $labels.zone "node" "x" }} {{ ne 1 2 }} {{ ge 2 2 }} {{ le 3 2 }}"#,
    r#"{{ gt $value 5 }}"#,
    r#"{{ humanize "x" }}"#,
    r#"{{ .Nope }}"#,
    r#"{{ $labels.zone.foo }}"#,
    r#"{{ query "sum(" }}"#,
    r#"{{ humanize }}"#,
    r#"{{ query "big" | first | strvalue }}|{{ len 3 }}"#,
    r#"{{ 1e6 }} {{ 100000.0 }} {{ 0.00001 }} {{ 123456789.0 }} {{ 1.5e-7 }} {{ 3 }} {{ "s" }} {{ true }} {{ 0x1F }} {{ 1_000 }}"#,
    r#"{{ with $labels.zone }}{{ . }}{{ else }}no{{ end }}{{ with $labels.nope }}{{ . }}{{ else }}no{{ end }}"#,
    r#"{{ range query "level" | sortByLabel "a" }}{{ if eq .Labels.a "2" }}{{ break }}{{ end }}{{ .Labels.a }} {{ end }}"#,
    r#"plain text with $labels.zone and {not} a template"#,
    r#"{{ humanizeDuration 90061 }} {{ humanizeDuration 61 }} {{ humanize 999.96 }} {{ humanize 9999.6 }} {{ humanize1024 1023.99 }} {{ humanize -1500 }}"#,
    r#"{{ index (query "level") 7 }}"#,
    r#"{{ $labels.zone | printf "%s-%s" "a" }} {{ "x" | printf "%s%d" "y" }} {{ parseDuration "2d" | humanizeDuration }}"#,
];

/// Alerts whose condition holds before either server starts.
pub(super) const IS_THERE_FROM_THE_START: [&str; 4] =
    ["\"OnRecorded\"", "\"Two\"", "\"Offset\"", "\"Limited\""];

/// The rule file; JSON is YAML.
pub(super) fn file() -> Value {
    let mut rules: Vec<Value> = TEXTS
        .iter()
        .enumerate()
        .map(|(i, text)| {
            json!({
                "alert": format!("T{i:02}"),
                "expr": "temp > 10",
                "for": if i % 2 == 0 { "0s" } else { "4s" },
                "labels": {"kind": "{{ $labels.zone }}-x"},
                "annotations": {"text": text},
            })
        })
        .collect();
    rules.push(json!({"alert": "Keep", "expr": "temp > 10", "keep_firing_for": "6s"}));
    rules.push(json!({"record": "level:sum", "expr": "sum(level)", "labels": {"x": "y"}}));
    rules.push(json!({
        "alert": "OnRecorded", "expr": "level:sum > 2", "annotations": {"v": "{{ $value }}"},
    }));
    rules.push(json!({
        "alert": "Two", "expr": "level > 0", "annotations": {"v": "{{ $labels.a }} {{ humanize $value }}"},
    }));
    rules.push(json!({
        "alert": "Same", "expr": "level > 0", "labels": {"a": "one"},
    }));
    let one = |name: &str, expr: &str| json!([{"alert": name, "expr": expr}]);
    json!({"groups": [
        {"name": "texts", "interval": "2s", "labels": {"team": "t"}, "rules": rules},
        {"name": "limited", "interval": "2s", "limit": 1, "rules": one("Limited", "level > 0")},
        {"name": "offset", "interval": "2s", "query_offset": "1s", "rules": one("Offset", "level > 1")},
    ]})
}
