//! Rules in a real process: what they record, whom they alert, what the API and the metrics say, reloads and restarts.

#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use support::Ferula;

/// Something that takes alerts as an Alertmanager does, and keeps them.
struct Receiver {
    address: String,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Receiver {
    fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let shared = heard.clone();
        // The threads end with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while let Some((path, body)) = request(&mut reader) {
                        let alerts: Value = serde_json::from_slice(&body).unwrap();
                        for alert in alerts.as_array().unwrap() {
                            shared.lock().unwrap().push((path.clone(), alert.clone()));
                        }
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        if reader.get_mut().write_all(answer).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Receiver { address, heard }
    }

    /// Alerts of that name, in the order they came.
    fn of(&self, name: &str) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        let of = heard
            .iter()
            .filter(|(_, a)| a["labels"]["alertname"] == name);
        of.map(|(_, alert)| alert.clone()).collect()
    }
}

fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().to_ascii_lowercase() {
            line if line.is_empty() => break,
            line => {
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first.split(' ').nth(1)?.to_owned(), body))
}

fn write_config(directory: &Path, receiver: &str, rules: &str) {
    let config = format!(
        "global:\n  external_labels: {{region: eu}}\nrule_files: ['rules/*.yml']\nalerting:\n  \
         alert_relabel_configs:\n    - {{target_label: moved, replacement: by-all}}\n  \
         alertmanagers:\n    - path_prefix: /am\n      static_configs: [{{targets: ['{receiver}']}}]\n"
    );
    std::fs::create_dir_all(directory.join("rules")).unwrap();
    std::fs::write(directory.join("prometheus.yml"), config).unwrap();
    std::fs::write(directory.join("rules/a.yml"), rules).unwrap();
}

const RULES: &str = "\
groups:
  - name: hot
    interval: 200ms
    labels: {team: heat}
    rules:
      - record: temp:max
        expr: max(temp_value)
        labels: {kind: recorded}
      - alert: Hot
        expr: temp_value > 30
        labels: {severity: page}
        annotations:
          summary: '{{ $labels.host }} has {{ $value }} of {{ with query \"temp:max\" }}{{ . | first | value | humanize }}{{ end }}'
  - name: slow
    interval: 1h
    rules:
      - {record: never, expr: vector(1)}
";

fn set(ferula: &Ferula, value: f64) {
    let answer = ferula.post(
        "/write",
        "",
        format!("temp,host=a value={value}").as_bytes(),
    );
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn state(ferula: &Ferula, rule: &str) -> Value {
    let path = format!("/api/v1/rules?rule_name[]={rule}");
    ferula.get(&path).json()["data"]["groups"][0]["rules"][0].clone()
}

#[test]
fn alerts_fire_reach_their_receiver_and_are_resolved() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start();
    write_config(directory.path(), &receiver.address, RULES);
    let flags = [
        "--web.enable-lifecycle",
        "--web.external-url=http://prom.example/base",
        "--web.route-prefix=/",
        "--rules.alert.resend-delay=300ms",
    ];
    let ferula = Ferula::start(directory.path(), &flags);
    set(&ferula, 20.0);
    ferula.eventually("recorded", |f| f.query("temp:max") != Value::Array(vec![]));
    assert_eq!(
        ferula.query("temp:max")[0]["metric"].to_string(),
        "{\"__name__\":\"temp:max\",\"kind\":\"recorded\",\"team\":\"heat\"}"
    );
    assert_eq!(state(&ferula, "Hot")["state"], "inactive");

    set(&ferula, 31.5);
    ferula.eventually("heard", |_| !receiver.of("Hot").is_empty());
    let alert = receiver.of("Hot")[0].clone();
    assert_eq!(
        alert["labels"].to_string(),
        "{\"alertname\":\"Hot\",\"host\":\"a\",\"moved\":\"by-all\",\"region\":\"eu\",\"severity\":\"page\",\"team\":\"heat\"}"
    );
    let summary = alert["annotations"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("a has 31.5 of "), "{summary}");
    assert_eq!(
        alert["generatorURL"],
        "http://prom.example/base/graph?g0.expr=temp_value+%3E+30&g0.tab=1"
    );
    assert_eq!(receiver.heard.lock().unwrap()[0].0, "/am/api/v2/alerts");
    assert!(alert["endsAt"].as_str() > alert["startsAt"].as_str());
    let rule = state(&ferula, "Hot");
    assert_eq!(rule["state"], "firing");
    assert_eq!(rule["alerts"][0]["value"], "3.15e+01");
    let active = ferula.get("/api/v1/alerts").json();
    assert_eq!(active["data"]["alerts"][0]["labels"]["team"], "heat");
    assert!(active["data"]["alerts"][0]["labels"]["region"].is_null());
    let firing = "ALERTS{alertname=\"Hot\",alertstate=\"firing\",team=\"heat\"}";
    ferula.eventually("the series", |f| f.query(firing)[0]["value"][1] == "1");
    let urls = ferula.get("/api/v1/alertmanagers").json();
    assert_eq!(
        urls["data"]["activeAlertmanagers"][0]["url"],
        format!("http://{}/am/api/v2/alerts", receiver.address)
    );

    // A reload with other annotations keeps the alert; one with a fault changes nothing.
    let before = state(&ferula, "Hot")["alerts"][0]["activeAt"].clone();
    let rules = directory.path().join("rules/a.yml");
    std::fs::write(&rules, RULES.replace("has", "had")).unwrap();
    assert_eq!(ferula.post("/-/reload", "", b"").status, 200);
    ferula.eventually("the new text", |f| {
        let text = state(f, "Hot")["alerts"][0]["annotations"]["summary"].clone();
        text.as_str().is_some_and(|t| t.contains("a had 31.5"))
    });
    assert_eq!(state(&ferula, "Hot")["alerts"][0]["activeAt"], before);
    std::fs::write(&rules, RULES.replace("max(temp", "max((temp")).unwrap();
    let refused = ferula.post("/-/reload", "", b"");
    assert_eq!(refused.status, 500);
    assert!(
        refused.text().contains(
            "rules/a.yml: 7:15: group \"hot\", rule 1, \"temp:max\": could not parse expression: 1:"
        ),
        "{}",
        refused.text()
    );
    assert_eq!(state(&ferula, "Hot")["health"], "ok");

    set(&ferula, 10.0);
    ferula.eventually("resolved", |_| {
        let last = receiver.of("Hot").pop().unwrap();
        let time = |name: &str| last[name].as_str().unwrap().to_owned();
        time("endsAt") < now_text()
    });
    assert_eq!(state(&ferula, "Hot")["state"], "inactive");
    ferula.eventually("the series ends", |f| {
        f.query("ALERTS") == Value::Array(vec![])
    });
    let metrics = ferula.get("/metrics").text();
    let value = |line: &str| -> f64 {
        let found = metrics.lines().find_map(|l| l.strip_prefix(line));
        found
            .unwrap_or_else(|| panic!("no {line}"))
            .trim()
            .parse()
            .unwrap()
    };
    let url = format!(
        "{{alertmanager=\"http://{}/am/api/v2/alerts\"}}",
        receiver.address
    );
    assert!(value(&format!("prometheus_notifications_sent_total{url}")) >= 2.0);
    assert_eq!(
        value(&format!("prometheus_notifications_errors_total{url}")),
        0.0
    );
    assert_eq!(
        value("prometheus_notifications_alertmanagers_discovered"),
        1.0
    );
    assert_eq!(
        value("prometheus_rule_group_rules{rule_group=\"rules/a.yml;hot\"}"),
        2.0
    );
    assert!(value("prometheus_rule_evaluations_total{rule_group=\"rules/a.yml;hot\"}") > 4.0);
    assert_eq!(ferula.terminate(), Some(0));
}

/// The time now as Alertmanager's API has it.
fn now_text() -> String {
    let now = std::time::SystemTime::now();
    let now = jiff::Timestamp::try_from(now).unwrap();
    format!("{}Z", now.strftime("%Y-%m-%dT%H:%M:%S%.3f"))
}

#[test]
fn rules_are_filtered_and_paged() {
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), "127.0.0.1:1", RULES);
    let ferula = Ferula::start(directory.path(), &[]);
    let groups = |query: &str| -> Vec<String> {
        let answer = ferula.get(&format!("/api/v1/rules?{query}")).json();
        let groups = answer["data"]["groups"].as_array().unwrap();
        let text = |group: &Value| {
            let rules = group["rules"].as_array().unwrap().iter();
            let names: Vec<&str> = rules.map(|r| r["name"].as_str().unwrap()).collect();
            format!("{}:{}", group["name"].as_str().unwrap(), names.join(","))
        };
        groups.iter().map(text).collect()
    };
    assert_eq!(groups(""), ["hot:temp:max,Hot", "slow:never"]);
    assert_eq!(groups("type=alert"), ["hot:Hot"]);
    assert_eq!(groups("type=record&rule_group[]=slow"), ["slow:never"]);
    assert_eq!(
        groups("rule_name[]=never&rule_name[]=Hot"),
        ["hot:Hot", "slow:never"]
    );
    assert_eq!(groups("match[]=%7Bseverity%3D%22page%22%7D"), ["hot:Hot"]);
    assert_eq!(groups("file[]=rules/a.yml&file[]=x").len(), 2);
    assert!(groups("file[]=x").is_empty());
    let first = ferula.get("/api/v1/rules?group_limit=1").json();
    let token = first["data"]["groupNextToken"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 64);
    assert_eq!(
        groups(&format!("group_limit=1&group_next_token={token}")),
        ["slow:never"]
    );
    for (query, error) in [
        (
            "group_limit=0",
            "invalid parameter \"group_limit\": group_limit needs to be greater than 0",
        ),
        (
            "group_next_token=x",
            "invalid parameter \"group_next_token\": group_limit needs to be present in order to paginate over the groups",
        ),
        (
            "group_limit=1&group_next_token=x",
            "invalid parameter \"group_next_token\": invalid group_next_token 'x'. were rule groups changed?",
        ),
        (
            "type=x",
            "invalid parameter \"type\": not supported value \"x\"",
        ),
    ] {
        let answer = ferula.get(&format!("/api/v1/rules?{query}"));
        assert_eq!(
            (answer.status, answer.json()["error"].as_str().unwrap()),
            (400, error)
        );
    }
    let rule =
        &ferula.get("/api/v1/rules?rule_name[]=never").json()["data"]["groups"][0]["rules"][0];
    assert_eq!(rule["health"], "unknown");
    assert_eq!(rule["lastEvaluation"], "0001-01-01T00:00:00Z");
}

#[test]
fn pending_alerts_are_as_old_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), "127.0.0.1:1", "groups: []");
    let ferula = Ferula::start(directory.path(), &[]);
    set(&ferula, 5.0);
    // What a server leaves behind whose alert had been there for half an hour.
    let since = support::now_ms() / 1000 - 1800;
    let line = format!("ALERTS_FOR,alertname=Long,host=a STATE={since}");
    assert_eq!(ferula.post("/write", "", line.as_bytes()).status, 204);
    ferula.kill();
    let rule = "groups:\n  - name: g\n    interval: 200ms\n    rules:\n      - {alert: Long, expr: temp_value > 1, for: 1h}\n";
    write_config(directory.path(), "127.0.0.1:1", rule);
    let ferula = Ferula::start(directory.path(), &[]);
    ferula.eventually("restored", |f| {
        let alert = state(f, "Long")["alerts"][0].clone();
        let active = alert["activeAt"].as_str().map(str::to_owned);
        active.is_some_and(|text| {
            let active = text.parse::<jiff::Timestamp>().unwrap().as_second();
            // The time without a server does not count.
            (since..since + 600).contains(&active)
        })
    });
    assert_eq!(state(&ferula, "Long")["state"], "pending");
    ferula.eventually("written", |f| {
        f.query("ALERTS{alertname=\"Long\",alertstate=\"pending\"}") != Value::Array(vec![])
    });
}
