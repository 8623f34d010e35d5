//! The push twin: one script of requests to a real Pushgateway and to ferula; codes, bodies and the metrics that result must be equal.
//!
//! What cannot be equal is taken out or evened out, in `Normal` below and nowhere else: times, the Pushgateway's metrics about itself, the
//! order in which Go's maps are walked, and the blanks that Go's protobuf puts between fields by its build. Which of two metrics that clash a
//! refusal names is chance in the Pushgateway: it must give ferula's answer in one of many tries.

use crate::differ::Client;
use crate::process::{Server, free_port};
use crate::servers::{Kind, Setup};
use crate::{ferula_args, ferula_path, path, path_of, value};
use anyhow::{Context, Result};
use bytes::Bytes;
use clap::{ArgMatches, Command};
use loadgen::http_client::Connection;
use serde_json::Value;
use std::time::Duration;

const START_MAX: Duration = Duration::from_secs(60);
/// How often a refusal is asked for again until the Pushgateway's chance falls like ours.
const TRIES_MAX: usize = 100;
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The command line of this twin.
pub(crate) fn command() -> Command {
    Command::new("push-twin")
        .about("The same requests to a real Pushgateway and to ferula: the same codes, bodies and metrics")
        .arg(path("ferula", "The ferula binary; the one beside this program when not given"))
        .arg(path("pushgateway", "A Pushgateway binary").required(true))
        .arg(value("ferula-args", "", "More flags for ferula, separated by spaces").allow_hyphen_values(true))
}

/// One request of the script.
struct Step {
    method: &'static str,
    path: &'static str,
    body: Vec<u8>,
    headers: Vec<(&'static str, &'static str)>,
}

fn step(method: &'static str, path: &'static str, body: impl AsRef<[u8]>) -> Step {
    Step {
        method,
        path,
        body: body.as_ref().to_vec(),
        headers: Vec::new(),
    }
}

impl Step {
    fn with(mut self, name: &'static str, value: &'static str) -> Step {
        self.headers.push((name, value));
        self
    }
}

fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    out.push(u8::try_from(content.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(content);
}

/// A delimited family with one metric, whose value message is given; all lengths below 128.
fn family(name: &str, kind: u8, value_field: u8, value: &[u8], timestamp: bool) -> Vec<u8> {
    let (mut label, mut metric, mut family) = (Vec::new(), Vec::new(), Vec::new());
    field(&mut label, 1, b"zone");
    field(&mut label, 2, b"z1");
    field(&mut metric, 1, &label);
    field(&mut metric, value_field, value);
    if timestamp {
        metric.extend([0x30, 5]);
    }
    field(&mut family, 1, name.as_bytes());
    field(&mut family, 2, b"Help.");
    family.extend([0x18, kind]);
    field(&mut family, 4, &metric);
    let mut out = vec![u8::try_from(family.len()).unwrap_or(u8::MAX)];
    out.extend(family);
    out
}

fn double(number: u8, value: f64) -> Vec<u8> {
    let mut out = vec![number << 3 | 1];
    out.extend(value.to_le_bytes());
    out
}

fn script() -> Vec<Step> {
    let mut steps = paths();
    steps.extend(bodies());
    steps.extend(clashes());
    steps.extend(protobuf());
    steps.extend(rest());
    steps
}

/// Every form of a group's path.
fn paths() -> Vec<Step> {
    let x = "x 1\n";
    vec![
        step("PUT", "/metrics/job/a", x),
        step("PUT", "/metrics/job/a/", x),
        step("PUT", "/metrics/job/a/b", x),
        step("PUT", "/metrics/job/a/b/", x),
        step("PUT", "/metrics/job/a/b/c/d", x),
        step("PUT", "/metrics/job/a/b/c/d/e", x),
        step("PUT", "/metrics/job/a/b//c/d", x),
        step("PUT", "/metrics/job//a/b", x),
        step("PUT", "/metrics/job/a/../b", x),
        step("PUT", "/metrics/job", x),
        step("PUT", "/metrics/job@base64/YQ", x),
        step("PUT", "/metrics/job@base64/YQ==", x),
        step("PUT", "/metrics/job@base64/w7w_LQ", x),
        step("PUT", "/metrics/job@base64/Y!Q", x),
        step("PUT", "/metrics/job@base64/YWJjZA!Q", x),
        step("PUT", "/metrics/job@base64/YWJjZ", x),
        step("PUT", "/metrics/job@base64/=", x),
        step("PUT", "/metrics/job@base64/YQ/l@base64/=", x),
        step("PUT", "/metrics/job/a/l@base64/a*b", x),
        step("PUT", "/metrics/job/a/l@base64/YQ/l/b", x),
        step("PUT", "/metrics/job/a/path@base64/L3Zhci90bXA=", x),
        step("PUT", "/metrics/job/a/job/b", x),
        step("PUT", "/metrics/job/a/__n/b", x),
        step("PUT", "/metrics/job/a/1n/b", x),
        step("PUT", "/metrics/job/a/n-n/b", x),
        step("PUT", "/metrics/job/a%2Fb/c", x),
        step("PUT", "/metrics/job/a%20b/n/c%22d", x),
        step("DELETE", "/metrics/job/nobody", ""),
        step("DELETE", "/metrics/job/nobody/a", ""),
        step("DELETE", "/metrics/job@base64/Y!Q", ""),
        step("GET", "/metrics/job/a", ""),
        step("PATCH", "/metrics/job/a", ""),
        step("OPTIONS", "/metrics/job/a", ""),
        step("DELETE", "/metrics/job/a/b/", ""),
        step("DELETE", "/metrics/job/a/b/c/d", "ignored"),
    ]
}

/// Bodies in text, good and bad.
fn bodies() -> Vec<Step> {
    let texts = [
        "x 1",
        "x",
        "x \n",
        "x 1 \n",
        "# TYPE x foo\n",
        "# TYPE x counter\n# TYPE x counter\nx 1\n",
        "x 1\n# TYPE x counter\n",
        "# HELP x a\n# HELP x b\nx 1\n",
        "# HELP x a\\qb\nx 1\n",
        "# HELP 1x foo\n",
        "# HELP\n#\n# nothing\n\n  \t\n# TYPE onlytype counter\n",
        "x 1 12\n",
        "x 1 12x\n",
        "x 1 12 13\n",
        "x y\n",
        "x 0x1p3\n",
        "x{a=\"b\",a=\"c\"} 1\n",
        "x{a=\"b\"} 1\nx{a=\"b\"} 2\n",
        "x{a=b} 1\n",
        "x{a \"b\"} 1\n",
        "x{a=\"b\\q\"} 1\n",
        "x{a=\"b\nc\"} 1\n",
        "x{__name__=\"b\"} 1\n",
        "x{a=\"b\" 1\n",
        "x{a=\"b\";} 1\n",
        "x{1=\"b\"} 1\n",
        "x{__r=\"c\"} 1\n",
        "1x 1\n",
        "x-y 1\n",
        "{\"foo.bar\"} 1\n",
        "{\"foo.bar\",\"a b\"=\"c\"} 1\n",
        "x{\"a b\"=\"c\"} 1\n",
        "# TYPE s summary\ns{quantile=\"x\"} 1\n",
        "# TYPE h histogram\nh_bucket{le=\"x\"} 1\n",
    ];
    let mut steps: Vec<Step> = texts
        .map(|text| step("POST", "/metrics/job/t", text))
        .into();
    steps.push(step("POST", "/metrics/job/t", b"y{b=\"\xff\"} 1\n"));
    steps.push(step(
        "POST",
        "/metrics/job/t",
        "\t # HELP q  Some \\\\ help\\nof two lines  \nq {a=\"\\\\\\\"\\n\", b = \"\", } +Inf\nq -Inf\nq{a=\"1\"}NaN\n# EOF\n",
    ));
    steps.push(step(
        "POST",
        "/metrics/job/t",
        "{\"legacy\",l=\"1\"} 1e3\nlegacy{\"l\"=\"2\"} 1e-7\n",
    ));
    steps.push(step(
        "PUT",
        "/metrics/job/t/instance/i",
        "# TYPE m COUNTER\n# TYPE n gauge\nn 2\nm{instance=\"q\",job=\"z\",z=\"1\",a=\"2\"} 1e3\nm{a=\"1\"} 123456789\nm 0.00001\n",
    ));
    steps
}

/// Pushes that fit others, and pushes that do not.
fn clashes() -> Vec<Step> {
    vec![
        step(
            "PUT",
            "/metrics/job/k",
            "# HELP c One.\n# TYPE c counter\nc 1\n# TYPE d gauge\nd 2\n",
        ),
        step("POST", "/metrics/job/k", "# TYPE d gauge\nd{l=\"new\"} 3\n"),
        step("PUT", "/metrics/job/k2", "# TYPE c gauge\nc 1\n"),
        step(
            "PUT",
            "/metrics/job/k2",
            "# HELP c One.\n# TYPE c counter\nc 5\n",
        ),
        step(
            "PUT",
            "/metrics/job/k",
            "# HELP c One.\n# TYPE c counter\nc 9\n",
        ),
        step("POST", "/metrics/job/k2", "c{a=\"b\"} 1\n"),
        step(
            "PUT",
            "/metrics/job/h",
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2.5\"} 2\nh_sum 3.5\nh_count 3\n\
             # TYPE s summary\ns{quantile=\"0.5\",a=\"1\"} 1\ns{a=\"2\",quantile=\"0.5\"} 2\ns_sum{a=\"1\"} 3\ns_count{a=\"2\"} 4\n",
        ),
        step(
            "PUT",
            "/metrics/job/h2",
            "# TYPE h_count counter\nh_count 3\n",
        ),
        step(
            "PUT",
            "/metrics/job/h2",
            "# TYPE h_bucket gauge\nh_bucket 3\n",
        ),
        step("PUT", "/metrics/job/h2", "# TYPE s_sum gauge\ns_sum 3\n"),
        step(
            "PUT",
            "/metrics/job/h2",
            "# TYPE s_bucket gauge\ns_bucket 3\n",
        ),
        step(
            "PUT",
            "/metrics/job/h3",
            "# TYPE s_bucket gauge\ns_bucket 3\n# TYPE d summary\nd_sum 1\n",
        ),
        step(
            "PUT",
            "/metrics/job/i",
            "w{instance=\"1\"} 1\nw{instance=\"2\"} 1\n",
        ),
        step("PUT", "/metrics/job/i/instance/1", "w 1\n"),
        step("PUT", "/metrics/job/i/instance/3", "w 1\n"),
        step("POST", "/metrics/job/i", "w{instance=\"3\"} 1\n"),
        step(
            "PUT",
            "/metrics/job/i",
            "push_time_seconds 5\nw{instance=\"2\"} 2\n",
        ),
        step("PUT", "/metrics/job/i/instance/1", "w 1\n"),
        step("PUT", "/metrics/job/empty", ""),
        step("PUT", "/metrics/job/k2", ""),
    ]
}

/// Bodies in protobuf.
fn protobuf() -> Vec<Step> {
    let native = {
        let mut out = vec![0x08, 5];
        out.extend(double(2, 7.5));
        out.extend([0x28, 2, 0x62, 4, 0x08, 0, 0x10, 2, 0x6a, 2, 4, 2]);
        out
    };
    let mut good = family("pc", 0, 3, &double(1, 3.0), false);
    good.extend(family("pg", 1, 2, &double(1, f64::NAN), false));
    good.extend(family("pu", 3, 5, &double(1, -1.5), false));
    good.extend(family("ph", 4, 7, &native, false));
    let bodies = [
        good,
        Vec::new(),
        vec![0],
        b"\x05abc".to_vec(),
        b"\x03abc".to_vec(),
        family("pt", 0, 3, &double(1, 3.0), true),
        family("pw", 0, 2, &double(1, 3.0), false),
        family("pg", 0, 3, &double(1, 3.0), false),
    ];
    let to = ["/metrics/job/p", "/metrics/job/p2"];
    let steps = bodies.into_iter().enumerate();
    steps
        .map(|(i, body)| step("PUT", to[usize::from(i > 0)], body).with("content-type", PROTOBUF))
        .collect()
}

/// Compression, the API, and the end.
fn rest() -> Vec<Step> {
    vec![
        step("PUT", "/metrics/job/z", "x 1\n").with("content-encoding", "gzip"),
        step("PUT", "/metrics/job/z", "").with("content-encoding", "gzip"),
        step("PUT", "/metrics/job/z", "xxxxxxxxxxxx 1\n").with("content-encoding", "gzip"),
        step("PUT", "/metrics/job/z", "x 1\n").with("content-encoding", "unheard-of"),
        step("PUT", "/metrics/job/z/type/a", "x 1\n").with("content-type", "text/html"),
        step("GET", "/-/healthy", ""),
        step("GET", "/-/ready", ""),
        step("POST", "/-/ready", ""),
        step("OPTIONS", "/api/v1/metrics", ""),
        step("POST", "/api/v1/metrics", ""),
        step("GET", "/api/v1/admin/wipe", ""),
        step("POST", "/api/v1/admin/wipe", ""),
        step("GET", "/api/v1/nothing", ""),
        step("PUT", "/api/v1/admin/wipe", ""),
        step("PUT", "/metrics/job/after", "x 1\n"),
        step("DELETE", "/metrics/job/after", ""),
    ]
}

/// What is compared of answers.
struct Normal;

impl Normal {
    /// A body: blanks as one, faults of one push in order.
    fn body(bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).replace('\u{a0}', " ");
        let words: Vec<String> = text
            .lines()
            .map(|line| {
                line.split(' ')
                    .filter(|w| !w.is_empty())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        let mut lines = words;
        let faults = lines.iter().position(|line| line.starts_with("* "));
        if let Some(first) = faults {
            lines[first..].sort();
        }
        lines.join("\n")
    }

    /// A page without times and without what a gateway says about itself, its lines in order.
    fn page(text: &str) -> Vec<String> {
        let own = ["go_", "process_", "promhttp_", "pushgateway_"];
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| {
                let name = line
                    .trim_start_matches("# HELP ")
                    .trim_start_matches("# TYPE ");
                !own.iter().any(|prefix| name.starts_with(prefix))
            })
            .map(|line| match line.rsplit_once(' ') {
                Some((series, value)) if is_time(series) => {
                    let known = if value == "0" { "0" } else { "<time>" };
                    format!("{series} {known}")
                }
                _ => line.to_owned(),
            })
            .collect();
        lines.sort();
        lines
    }

    /// Groups without times, in order.
    fn groups(json: &Value) -> Vec<String> {
        let mut groups: Vec<String> = json["data"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|group| {
                let mut group = group.clone();
                for (name, family) in group.as_object_mut().into_iter().flatten() {
                    let Some(family) = family.as_object_mut() else {
                        continue;
                    };
                    family.remove("time_stamp");
                    for metric in family
                        .get_mut("metrics")
                        .and_then(Value::as_array_mut)
                        .into_iter()
                        .flatten()
                    {
                        if is_time(name) && metric["value"] != "0" {
                            metric["value"] = "<time>".into();
                        }
                    }
                }
                group.to_string()
            })
            .collect();
        groups.sort();
        groups
    }
}

fn is_time(series: &str) -> bool {
    series.starts_with("push_time_seconds") || series.starts_with("push_failure_time_seconds")
}

/// Says what differs; true when nothing does.
fn same_lines(what: &str, ours: &[String], theirs: &[String]) -> bool {
    for (name, these, those) in [("ferula", ours, theirs), ("the Pushgateway", theirs, ours)] {
        for line in these.iter().filter(|line| !those.contains(line)) {
            println!("DIFFERENT {what}: only {name} has {line}");
        }
    }
    ours == theirs
}

struct Side {
    connection: Connection,
    client: Client,
    base: &'static str,
}

impl Side {
    fn new(authority: &str, base: &'static str) -> Result<Side> {
        Ok(Side {
            connection: Connection::new(authority.to_owned()),
            client: Client::new(&format!("http://{authority}"))?,
            base,
        })
    }

    async fn send(&mut self, step: &Step) -> Result<(u16, String)> {
        let path = format!("{}{}", self.base, step.path);
        let mut request = http::Request::builder().method(step.method).uri(path);
        for (name, value) in &step.headers {
            request = request.header(*name, *value);
        }
        let (status, body) = self
            .connection
            .send(request, Bytes::from(step.body.clone()))
            .await?;
        Ok((status, Normal::body(&body)))
    }

    async fn page(&mut self) -> Result<Vec<String>> {
        let (_, text) = self.client.text(&format!("{}/metrics", self.base)).await?;
        Ok(Normal::page(&text))
    }

    async fn groups(&mut self) -> Result<Vec<String>> {
        let json = self
            .client
            .get(&format!("{}/api/v1/metrics", self.base))
            .await?;
        Ok(Normal::groups(&json))
    }
}

/// Runs the script against both; true when all is equal.
pub(crate) async fn run(matches: &ArgMatches) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let mut args = ferula_args(matches);
    args.push("--web.enable-admin-api".to_owned());
    let home = directory.path().join("ferula");
    let ferula = Setup::new(
        Kind::Ferula,
        ferula_path(matches)?,
        &home,
        "global: {}\n",
        args,
    )?;
    let mut ours = ferula.start()?;
    ours.wait_ready(ferula.ready_path(), START_MAX).await?;
    let program = path_of(matches, "pushgateway").context("--pushgateway is missing")?;
    let authority = format!("127.0.0.1:{}", free_port()?);
    let args = [
        format!("--web.listen-address={authority}"),
        "--web.enable-admin-api".to_owned(),
        "--persistence.file=".to_owned(),
    ];
    let mut theirs = Server::start(&program, &args, directory.path(), &authority)?;
    theirs.wait_ready("/-/ready", START_MAX).await?;
    let mut left = Side::new(&ours.authority, "/pushgateway")?;
    let mut right = Side::new(&authority, "")?;

    let steps = script();
    let (mut answers, mut states) = (0, 0);
    for step in &steps {
        let ours = left.send(step).await?;
        let mut theirs = right.send(step).await?;
        // Which of two metrics that clash is named falls out anew with each try; a refused push leaves nothing but its time.
        for _ in 0..TRIES_MAX {
            if ours == theirs || ours.0 != 400 || theirs.0 != 400 {
                break;
            }
            theirs = right.send(step).await?;
        }
        let name = format!(
            "{} {} {:?}",
            step.method,
            step.path,
            String::from_utf8_lossy(&step.body)
        );
        if ours == theirs {
            answers += 1;
        } else {
            println!("DIFFERENT {name}\n  ferula          {ours:?}\n  the Pushgateway {theirs:?}");
        }
        let same_page = same_lines(
            &format!("page after {name}"),
            &left.page().await?,
            &right.page().await?,
        );
        let same_json = same_lines(
            &format!("groups after {name}"),
            &left.groups().await?,
            &right.groups().await?,
        );
        states += usize::from(same_page && same_json);
    }
    println!(
        "{answers} of {} answers equal, {states} states after them equal",
        steps.len()
    );
    let good = answers == steps.len() && states == steps.len();
    ours.terminate()?;
    theirs.terminate()?;
    println!("{}", if good { "PASS" } else { "FAIL" });
    Ok(good)
}
