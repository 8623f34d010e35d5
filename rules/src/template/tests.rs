//! Texts and what they become, by what Prometheus 3.5.3 and Go made of them.

use super::*;
use crate::source::{Element, Query, QueryFault};

struct Data;

impl Source for Data {
    fn query(&self, query: Query<'_>) -> Result<Vec<Element>, QueryFault> {
        let element = |value: &str, v: f64| Element {
            labels: Labels::from_pairs([("__name__", "up"), ("instance", value)]).unwrap(),
            value: Value::Float(v),
        };
        match query.text {
            "up" => Ok(vec![element("b:1", 1.0), element("a:1", 0.5)]),
            "none" => Ok(Vec::new()),
            other => Err(QueryFault::Failed(format!("no {other}"))),
        }
    }
}

fn expand(text: &str, value: f64) -> String {
    let labels = [("instance", "host.example:9100"), ("job", "node")];
    let moment = Moment {
        source: Arc::new(Data),
        at_ms: 1_435_781_451_781,
        external: Arc::new(External {
            labels: vec![("region", "eu")]
                .into_iter()
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .collect(),
            url: "http://prom.example:9090/base".to_owned(),
        }),
    };
    let subject = Subject {
        labels: &Labels::from_pairs(labels).unwrap(),
        value: &Value::Float(value),
    };
    match Template::new("A", text) {
        Ok(template) => template.expand(subject, &moment).0,
        Err(error) => format!("refused: {error}"),
    }
}

#[track_caller]
fn check(text: &str, wanted: &str) {
    assert_eq!(expand(text, 1_234_567.891), wanted, "{text}");
}

#[test]
fn plain_texts_and_variables() {
    check("no actions", "no actions");
    check(
        "{{ $labels.instance }} {{ .Labels.job }}",
        "host.example:9100 node",
    );
    check("{{ $value }}", "1.234567891e+06");
    check(
        "{{ $externalLabels.region }} {{ $externalURL }}",
        "eu http://prom.example:9090/base",
    );
    check("{{ .ExternalURL }}", "http://prom.example:9090/base");
    check("[{{ $labels.missing }}]", "[]");
    check("{{ if eq $labels.missing \"\" }}y{{ else }}n{{ end }}", "y");
    check("{{ len $labels.missing }}", "0");
    check(
        "{{ index $labels \"job\" }}[{{ index $labels \"nope\" }}]",
        "node[]",
    );
    check("{{ $labels }}", "map[instance:host.example:9100 job:node]");
    check("{{ with $labels.job }}{{ . }}{{ end }}", "node");
    check(
        "{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}",
        "instance=host.example:9100;job=node;",
    );
}

#[test]
fn numbers() {
    check("{{ printf \"%.2f\" $value }}", "1234567.89");
    check("{{ $value | printf \"%.3g\" }}", "1.23e+06");
    check(
        "{{ printf \"%v|%8.1f|%s\" $value 2.25 \"x\" }}",
        "1.234567891e+06|     2.2|x",
    );
    check("{{ print $value 1 }}", "1.234567891e+06 1");
    check("{{ if gt $value 5.0 }}big{{ end }}", "big");
    let nan = |text| expand(text, f64::NAN);
    assert_eq!(
        nan("{{ $value }} {{ if gt $value 1.0 }}y{{ end }}"),
        "NaN y"
    );
    assert_eq!(nan("{{ if lt $value 1.0 }}y{{ else }}n{{ end }}"), "n");
    assert_eq!(
        nan("{{ printf \"%.2f|%6v|\" $value $value }}"),
        "NaN|   NaN|"
    );
    assert_eq!(
        expand("{{ printf \"%.1f %v\" $value $value }}", f64::INFINITY),
        "+Inf +Inf"
    );
    assert_eq!(expand("{{ $value }}", 100_000.0), "100000");
    assert_eq!(expand("{{ $value }}", 0.00001), "1e-05");
}

#[test]
fn functions_of_prometheus() {
    check(
        "{{ humanize $value }} {{ $value | humanize1024 }}",
        "1.235M 1.177Mi",
    );
    check(
        "{{ humanizeDuration $value }} {{ humanizePercentage 0.1234 }}",
        "14d 6h 56m 7s 12.34%",
    );
    check(
        "{{ humanizeTimestamp 1435065584.128 }}",
        "2015-06-23 13:19:44.128 +0000 UTC",
    );
    check(
        "{{ toTime 1435065584.128 }}|{{ (toTime 0).Year }}",
        "2015-06-23 13:19:44.128 +0000 UTC|1970",
    );
    check(
        "{{ with toTime 60 }}{{ .Format \"15:04\" }}{{ end }}",
        "00:01",
    );
    check(
        "{{ toDuration 90.5 }} {{ (toDuration 90).Minutes }}",
        "1m30.5s 1.5",
    );
    check("{{ now }}", "1.435781451781e+09");
    check("{{ parseDuration \"1h30m\" }}", "5400");
    check(
        "{{ title \"hello world\" }} {{ toUpper \"a\" }} {{ toLower \"B\" }}",
        "Hello World A b",
    );
    check(
        "{{ match \"a.*\" \"xab\" }} {{ reReplaceAll \"(.*):.*\" \"$1\" $labels.instance }}",
        "true host.example",
    );
    check(
        "{{ stripPort $labels.instance }} {{ stripDomain $labels.instance }}",
        "host.example host:9100",
    );
    check(
        "{{ graphLink \"up == 0\" }} {{ tableLink \"up\" }}",
        "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=up&g0.tab=1",
    );
    check(
        "{{ externalURL }} {{ pathPrefix }} {{ urlQueryEscape \"a b&\" }}",
        "http://prom.example:9090/base /base a+b%26",
    );
    check("{{ safeHtml \"<b>\" }}", "<b>");
    check(
        "{{ with query \"up\" }}{{ . | first | value }} {{ . | first | label \"instance\" }}{{ end }}",
        "1 b:1",
    );
    check(
        "{{ range query \"up\" | sortByLabel \"instance\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}",
        "a:1=0.5;b:1=1;",
    );
    check("{{ query \"up\" | first | strvalue }}|", "|");
    check("{{ if query \"none\" }}y{{ else }}n{{ end }}", "n");
    check(
        "{{ define \"x\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"x\" (args 1 \"b\") }}",
        "1-b",
    );
    check("{{ humanize \"1500\" }}", "1.5k");
}

#[test]
fn what_goes_wrong_is_said_as_prometheus_says_it() {
    let prefix =
        "<error expanding template: error executing template __alert_A: template: __alert_A:1:";
    let at = DEFINITIONS.len();
    check(
        "{{ query \"none\" | first }}",
        &format!(
            "{prefix}{}: executing \"__alert_A\" at <first>: error calling first: first() called on vector with no elements>",
            at + 18
        ),
    );
    check(
        "{{ humanize \"x\" }}",
        &format!(
            "{prefix}{}: executing \"__alert_A\" at <humanize \"x\">: error calling humanize: strconv.ParseFloat: parsing \"x\": invalid syntax>",
            at + 3
        ),
    );
    check(
        "{{ nope }}",
        "refused: template: __alert_A:1: function \"nope\" not defined",
    );
    check(
        "{{ $nope }}",
        "refused: template: __alert_A:1: undefined variable \"$nope\"",
    );
    assert!(expand("{{ .Nope }}", 1.0).contains("can't evaluate field Nope in type struct {"));
    assert!(expand("{{ range $i := 100000000 }}x{{ end }}", 1.0).contains("error expanding"));
    assert!(expand("{{ gt $value 5 }}", 1.0).contains("incompatible types for comparison"));
}
