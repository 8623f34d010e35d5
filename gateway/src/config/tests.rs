//! Good and bad configurations: what loads, what is refused where and with which words, and what is shown.

use super::*;
use ingest::discovery::ProviderConfig;
use ingest::discovery::config::FileSdConfig;
use ingest::http_client::config::{SecretSource, TextSource};
use ingest::scrape::config::{NameEscaping, NameValidation, Scheme, ScrapeConfig, ScrapeProtocol};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn parse(text: &str) -> Result<Config, LoadError> {
    Config::parse(text, Path::new("prometheus.yml"), Defaults::default())
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn only_job(text: &str) -> ScrapeConfig {
    let jobs = good(text).scrape_configs();
    assert_eq!(jobs.len(), 1);
    jobs.into_iter().next().unwrap()
}

/// The job's only `file_sd_configs` entry.
fn file_discovery(job: &ScrapeConfig) -> &FileSdConfig {
    match job.discovery.as_slice() {
        [ProviderConfig::File(config)] => config,
        other => panic!("{other:?}"),
    }
}

/// Checks that `text` is refused at `line:column` with exactly this reason.
#[track_caller]
fn bad(text: &str, at: (usize, usize), want: &str) {
    match parse(text) {
        Err(LoadError::Invalid {
            path,
            line,
            column,
            reason,
        }) => {
            assert_eq!(path, "prometheus.yml");
            assert_eq!((reason.as_str(), (line, column)), (want, at), "{text}");
        }
        other => panic!("{other:?} instead of {want}\n{text}"),
    }
}

/// One job with these lines (indented by four) after its name.
fn job(lines: &str) -> String {
    let mut text = "scrape_configs:\n  - job_name: j\n".to_owned();
    for line in lines.lines() {
        text.push_str("    ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[test]
fn the_built_in_configuration_loads() {
    let config = Config::built_in_at("0.0.0.0:1234".parse().unwrap(), "", Defaults::default());
    let job = &config.scrape_configs()[0];
    assert_eq!((job.interval.as_secs(), job.timeout.as_secs()), (5, 5));
    assert_eq!(job.static_configs[0].targets, ["localhost:1234"]);
    assert!(config.inactive_sections().is_empty());
    let other = Config::built_in_at("127.0.0.1:7".parse().unwrap(), "/a/b", Defaults::default());
    assert_eq!(
        other.scrape_configs()[0].static_configs[0].targets,
        ["127.0.0.1:7"]
    );
    assert_eq!(other.scrape_configs()[0].metrics_path, "/a/b/metrics");
}

#[test]
fn an_empty_file_is_the_defaults() {
    for text in [
        "",
        "# only a comment\n",
        "global:\nscrape_configs:\n",
        "---\n",
    ] {
        let config = good(text);
        assert!(config.scrape_configs().is_empty());
        assert_eq!(config.evaluation_interval(), Duration::from_secs(60));
        assert!(
            config.to_yaml().contains("scrape_timeout: 10s"),
            "{}",
            config.to_yaml()
        );
    }
}

#[test]
fn jobs_inherit_from_global() {
    let job = only_job(
        "global:\n  scrape_interval: 8s\n  scrape_timeout: 3s\n  sample_limit: 7\n  body_size_limit: 2MB\n  label_limit: 4\n  \
         metric_name_validation_scheme: legacy\n  scrape_protocols: [PrometheusText0.0.4]\n  extra_scrape_metrics: true\n\
         scrape_configs:\n- job_name: a\n  label_limit: 5\n",
    );
    assert_eq!((job.interval.as_secs(), job.timeout.as_secs()), (8, 3));
    assert_eq!(
        (job.sample_limit, job.body_size_limit, job.label_limit),
        (7, 2 << 20, 5)
    );
    assert_eq!(job.name_validation, NameValidation::Legacy);
    assert_eq!(job.name_escaping, NameEscaping::Underscores);
    assert_eq!(job.protocols, [ScrapeProtocol::PrometheusText0_0_4]);
    assert!(job.extra_scrape_metrics);
}

#[test]
fn the_timeout_shrinks_to_a_short_interval() {
    let short = only_job("global: {scrape_interval: 5s}\nscrape_configs: [{job_name: a}]\n");
    assert_eq!(short.timeout.as_secs(), 5);
    let own = only_job(&job("scrape_interval: 2s"));
    assert_eq!((own.interval.as_secs(), own.timeout.as_secs()), (2, 2));
}

#[test]
fn a_job_without_words_has_prometheus_s_defaults() {
    let job = only_job(&job(""));
    assert_eq!(job, ScrapeConfig::new("j"));
}

#[test]
fn native_histograms_put_protobuf_first() {
    let job = only_job(&job("scrape_native_histograms: true"));
    assert_eq!(job.protocols[0], ScrapeProtocol::PrometheusProto);
    assert_eq!(job.protocols.len(), 5);
}

#[test]
fn a_job_with_everything() {
    let job = only_job(&job("honor_labels: yes
honor_timestamps: false
track_timestamps_staleness: true
params:
  match[]: ['{job=\"a\"}', up]
  collect: [cpu]
scrape_interval: 30s
scrape_timeout: 10s
scrape_protocols: [OpenMetricsText1.0.0, PrometheusText0.0.4]
fallback_scrape_protocol: PrometheusText0.0.4
metrics_path: probe
scheme: https
enable_compression: false
body_size_limit: 10MB
sample_limit: 1000
target_limit: 30
label_limit: 31
label_name_length_limit: 32
label_value_length_limit: 33
keep_dropped_targets: 34
basic_auth:
  username: alice
  password_file: secrets/pw
tls_config:
  ca_file: ca.pem
  cert_file: /abs/cert.pem
  key_file: key.pem
  server_name: example.org
  insecure_skip_verify: true
  min_version: TLS12
follow_redirects: false
proxy_url: http://proxy:3128
no_proxy: localhost
http_headers:
  X-Scope: {values: [a], secrets: [b], files: [c]}
static_configs:
  - targets: ['h:1', h:2]
    labels: {env: prod, zone: ~}
file_sd_configs:
  - files: [targets/*.json, '/abs/x.yml']
    refresh_interval: 1m
relabel_configs:
  - source_labels: [__address__, 'a.b']
    regex: '([^:]+):.*'
    target_label: host
    replacement: ${1}
metric_relabel_configs:
  - {action: DROP, regex: 'go_.*', source_labels: [__name__]}"));
    assert!(job.honor_labels && !job.honor_timestamps && job.track_timestamps_staleness);
    assert_eq!(job.params[0], ("collect".into(), vec!["cpu".into()]));
    assert_eq!(job.params[1].1.len(), 2);
    assert_eq!(
        job.fallback_protocol,
        Some(ScrapeProtocol::PrometheusText0_0_4)
    );
    assert_eq!(
        (job.metrics_path.as_str(), job.scheme),
        ("/probe", Scheme::Https)
    );
    assert_eq!(job.keep_dropped_targets, 34);
    let basic = job.http.basic_auth.as_ref().unwrap();
    assert_eq!(basic.username, Some(TextSource::Inline("alice".into())));
    assert_eq!(
        basic.password,
        Some(SecretSource::File("secrets/pw".into()))
    );
    assert_eq!(
        job.http.tls.cert,
        Some(TextSource::File("/abs/cert.pem".into()))
    );
    assert!(!job.http.follow_redirects);
    assert_eq!(job.http.proxy.url.as_deref(), Some("http://proxy:3128"));
    assert_eq!(job.http.headers["X-Scope"].values, ["a"]);
    assert_eq!(job.static_configs[0].targets, ["h:1", "h:2"]);
    assert_eq!(
        file_discovery(&job).refresh_interval,
        Duration::from_secs(60)
    );
    assert_eq!(
        job.relabel_configs[0].config().source_labels,
        ["__address__", "a.b"]
    );
    assert_eq!(
        job.metric_relabel_configs[0].config().action.as_str(),
        "drop"
    );
}

#[test]
fn files_are_relative_to_the_configuration() {
    let text = job(
        "basic_auth: {username: u, password_file: pw}\nfile_sd_configs: [{files: ['t/*.json', /abs/x.yml]}]",
    );
    let config = Config::parse(
        &text,
        Path::new("/etc/prom/prometheus.yml"),
        Defaults::default(),
    )
    .unwrap();
    let job = &config.scrape_configs()[0];
    assert_eq!(
        file_discovery(job).files,
        [
            PathBuf::from("/etc/prom/t/*.json"),
            PathBuf::from("/abs/x.yml")
        ]
    );
    let basic = job.http.basic_auth.as_ref().unwrap();
    assert_eq!(
        basic.password,
        Some(SecretSource::File("/etc/prom/pw".into()))
    );
}

#[test]
fn bearer_tokens_become_authorization() {
    let job = only_job(&job("bearer_token_file: /var/run/token"));
    let auth = job.http.authorization.unwrap();
    assert_eq!(auth.kind, "Bearer");
    assert_eq!(
        auth.credentials,
        Some(SecretSource::File("/var/run/token".into()))
    );
}

#[test]
fn external_labels_see_the_environment() {
    // HOME-like variables exist everywhere; PATH is the one that cargo itself needs.
    let config = good(
        "global:\n  external_labels:\n    path: x$PATH\n    dollar: a$$b\n    none: ${FERULA_NO_SUCH_VARIABLE}\n",
    );
    let labels = config.external_labels();
    assert_eq!(
        labels.get("path").unwrap(),
        format!("x{}", std::env::var("PATH").unwrap())
    );
    assert_eq!(labels.get("dollar"), Some("a$b"));
    assert_eq!(labels.get("none"), None);
    assert_eq!(
        config.warnings(),
        ["Empty environment variable FERULA_NO_SUCH_VARIABLE in external label none"]
    );
}

#[test]
fn secrets_are_never_shown() {
    let config = good(
        "remote_write:\n- url: http://u:hunter2@h/w\n  sigv4: {secret_key: hunter2}\n  headers: {X: y}\nscrape_configs:\n- job_name: a\n  basic_auth: {username: u, password: hunter2}\n  \
         http_headers: {X-Key: {secrets: [hunter2]}}\n- job_name: b\n  authorization: {credentials: hunter2}\n  consul_sd_configs: [{server: c, token: hunter2}]\n\
         - job_name: c\n  oauth2: {client_id: i, client_secret: hunter2, token_url: 'http://t'}\n- job_name: d\n  bearer_token: hunter2\n  tls_config: {key: hunter2, cert: x}\n",
    );
    let shown = config.to_yaml();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    for text in [
        "password: <secret>",
        "credentials: <secret>",
        "token: <secret>",
        "client_secret: <secret>",
        "- <secret>",
        "xxxxx@h/w",
    ] {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    // Neither are they in the text of an error.
    let error = parse(&job("basic_auth: {username: u, password: [hunter2]}")).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let error = parse("remote_write: [{url: 'http://u:hunter2@h:port/'}]").unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn what_is_shown_loads_again_and_means_the_same() {
    let text = include_str!("testdata/kube.yml");
    let config = good(text);
    let shown = config.to_yaml();
    let again = good(&shown.replace("<secret>", "s"));
    assert_eq!(shown, again.to_yaml());
    for (one, two) in config.scrape_configs().iter().zip(again.scrape_configs()) {
        assert_eq!(one.relabel_configs, two.relabel_configs, "{}", one.job_name);
        assert_eq!(one.interval, two.interval);
        assert_eq!(one.static_configs, two.static_configs);
    }
}

#[test]
fn shown_like_prometheus() {
    let shown = good("global: {scrape_interval: 15s}\nscrape_configs:\n- job_name: prometheus\n  static_configs:\n  - targets: ['localhost:9090']\n").to_yaml();
    let want = "global:
  scrape_interval: 15s
  scrape_timeout: 10s
  evaluation_interval: 1m
  metric_name_validation_scheme: utf8
  scrape_native_histograms: false
runtime:
  gogc: 75
scrape_configs:
- job_name: prometheus
  honor_timestamps: true
  track_timestamps_staleness: false
  scrape_interval: 15s
  scrape_timeout: 10s
  scrape_protocols:
  - OpenMetricsText1.0.0
  - OpenMetricsText0.0.1
  - PrometheusText1.0.0
  - PrometheusText0.0.4
";
    assert!(shown.starts_with(want), "{shown}");
    assert!(shown.contains("  follow_redirects: true\n  enable_http2: true\n  static_configs:\n  - targets:\n    - localhost:9090\n"), "{shown}");
}

#[test]
fn a_kube_prometheus_file_loads() {
    let config = good(include_str!("testdata/kube.yml"));
    let jobs = config.scrape_configs();
    assert_eq!(jobs.len(), 4);
    let inactive = config.inactive_sections();
    assert_eq!(inactive, ["remote_write", "remote_read"]);
}

#[test]
fn every_provider_is_known() {
    for name in [
        "azure",
        "consul",
        "digitalocean",
        "docker",
        "dockerswarm",
        "dns",
        "aws",
        "ec2",
        "ecs",
        "elasticache",
        "lightsail",
        "msk",
        "rds",
        "eureka",
        "gce",
        "hetzner",
        "http",
        "ionos",
        "kubernetes",
        "kuma",
        "linode",
        "marathon",
        "nerve",
        "nomad",
        "oci",
        "openstack",
        "outscale",
        "ovhcloud",
        "puppetdb",
        "scaleway",
        "serverset",
        "stackit",
        "triton",
        "uyuni",
        "vultr",
    ] {
        let needed = match name {
            "dns" => "{names: [a]}",
            "http" => "{url: 'http://h/t'}",
            "kubernetes" => "{role: pod}",
            "docker" => "{host: 'unix:///run/docker.sock'}",
            _ => "{}",
        };
        let config = good(&job(&format!("{name}_sd_configs: [{needed}]")));
        let active = ["consul", "dns", "docker", "ec2", "http", "kubernetes"];
        if active.contains(&name) {
            assert!(config.inactive_sections().is_empty(), "{name}");
            let jobs = config.scrape_configs();
            assert_eq!(jobs[0].discovery[0].mechanism(), name);
        } else {
            assert_eq!(
                config.inactive_sections(),
                [format!("{name}_sd_configs (jobs: j)")]
            );
        }
        assert!(config.to_yaml().contains(&format!("{name}_sd_configs:")));
        let room = match name {
            "docker" | "dockerswarm" => "moby",
            "ec2" | "ecs" | "elasticache" | "lightsail" | "msk" | "rds" => "aws",
            "kuma" => "xds",
            "nerve" | "serverset" => "zookeeper",
            other => other,
        };
        bad(
            &job(&format!("{name}_sd_configs:\n- nonsense: 1")),
            (4, 7),
            &format!("field nonsense not found in type {room}.plain"),
        );
    }
}

#[test]
fn jobs_in_other_files() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "prometheus.yml",
        "global: {scrape_interval: 7s}\nscrape_config_files: ['jobs_*.yml']\nscrape_configs: [{job_name: a}]\n",
    );
    write(
        "jobs_1.yml",
        "scrape_configs:\n- job_name: b\n  file_sd_configs: [{files: [t.json]}]\n",
    );
    write("jobs_2.yml", "scrape_configs:\n- job_name: c\n");
    let main = dir.path().join("prometheus.yml");
    let config = Config::load(&main, Defaults::default()).unwrap();
    let jobs = config.scrape_configs();
    assert_eq!(
        jobs.iter().map(|j| j.job_name.as_str()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(jobs[1].interval, Duration::from_secs(7));
    assert_eq!(file_discovery(&jobs[1]).files, [dir.path().join("t.json")]);
    assert!(config.job_yaml("c").unwrap().starts_with("job_name: c\n"));
    write("jobs_2.yml", "scrape_configs:\n- job_name: b\n");
    let error = Config::load(&main, Defaults::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with(
            "jobs_2.yml: line 2, column 13: found multiple scrape configs with job name \"b\""
        ),
        "{error}"
    );
}

#[test]
fn who_wants_starts_asks_for_protobuf_first() {
    let defaults = Defaults {
        protobuf_first: true,
    };
    let load = |text: &str| Config::parse(text, Path::new("p.yml"), defaults).unwrap();
    let all = [
        "PrometheusProto",
        "OpenMetricsText1.0.0",
        "OpenMetricsText0.0.1",
        "PrometheusText1.0.0",
        "PrometheusText0.0.4",
    ];
    for global in ["", "global:\n  scrape_interval: 1s\n"] {
        let config = load(&format!("{global}scrape_configs:\n- job_name: a\n"));
        let asked = &config.scrape_configs()[0].protocols;
        assert!(asked.iter().map(|p| p.name()).eq(all), "{asked:?}");
        assert_eq!(config.document().global.scrape_protocols, all);
    }
    // What the file says holds.
    let config = load(
        "global:\n  scrape_protocols: [PrometheusText0.0.4]\nscrape_configs:\n- job_name: a\n\
         - job_name: b\n  scrape_protocols: [OpenMetricsText1.0.0]\n",
    );
    let jobs = config.scrape_configs();
    assert_eq!(jobs[0].protocols, [ScrapeProtocol::PrometheusText0_0_4]);
    assert_eq!(jobs[1].protocols, [ScrapeProtocol::OpenMetricsText1_0_0]);
}

#[test]
fn files_that_cannot_be_read() {
    let error =
        Config::load(Path::new("/no/such/prometheus.yml"), Defaults::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "open /no/such/prometheus.yml: no such file or directory"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.yml");
    std::fs::write(&path, b"global:\n  x: \xff\n").unwrap();
    let error = Config::load(&path, Defaults::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("p.yml: line 2, column 6: not valid UTF-8"),
        "{error}"
    );
}

#[test]
fn unknown_fields_are_refused_where_they_stand() {
    bad(
        "globl:\n  scrape_interval: 5s\n",
        (1, 1),
        "field globl not found in type config.plain",
    );
    bad(
        "global:\n  scrape_intervall: 5s\n",
        (2, 3),
        "field scrape_intervall not found in type config.plain",
    );
    bad(
        &job("statik_configs: []"),
        (3, 5),
        "field statik_configs not found in type config.plain",
    );
    bad(
        &job("static_configs:\n- target: [a]"),
        (4, 7),
        "field target not found in type targetgroup.Group",
    );
    bad(
        &job("tls_config: {insecure: true}"),
        (3, 18),
        "field insecure not found in type config.plain",
    );
    bad(
        &job("relabel_configs:\n- sourcelabels: [a]"),
        (4, 7),
        "field sourcelabels not found in type relabel.plain",
    );
    bad(
        "remote_write:\n- url: http://x\n  queue_config: {shards: 1}\n",
        (3, 18),
        "field shards not found in type config.QueueConfig",
    );
    bad(
        "alerting:\n  alertmanagers:\n  - hosts: []\n",
        (3, 5),
        "field hosts not found in type config.plain",
    );
    bad(
        "storage: {tsdb: {window: 1}}",
        (1, 18),
        "field window not found in type config.plain",
    );
}

#[test]
fn values_of_the_wrong_kind() {
    bad(
        "global: 5\n",
        (1, 9),
        "cannot unmarshal !!int `5` into config.plain",
    );
    bad("- a\n", (1, 1), "cannot unmarshal !!seq into config.plain");
    bad(
        "scrape_configs: yes\n",
        (1, 17),
        "cannot unmarshal !!str `yes` into list",
    );
    bad(
        "global:\n  sample_limit: many\n",
        (2, 17),
        "cannot unmarshal !!str `many` into uint",
    );
    bad(
        "global:\n  sample_limit: -1\n",
        (2, 17),
        "cannot unmarshal !!int `-1` into uint",
    );
    bad(
        &job("honor_labels: 1"),
        (3, 19),
        "cannot unmarshal !!int `1` into bool",
    );
    bad(
        &job("honor_labels: 'true'"),
        (3, 19),
        "cannot unmarshal !!str `true` into bool",
    );
    bad(
        &job("metrics_path: [a]"),
        (3, 19),
        "cannot unmarshal !!seq into string",
    );
    bad(
        "runtime:\n  gogc: 1e30\n",
        (2, 9),
        "cannot unmarshal !!float `1e30` into int",
    );
    bad(
        "global:\n  scrape_interval: 5x\n",
        (2, 20),
        "unknown unit \"x\" in duration \"5x\"",
    );
    bad(
        "global:\n  scrape_interval: ''\n",
        (2, 20),
        "empty duration string",
    );
    bad(
        "global:\n  scrape_interval: 1.5s\n",
        (2, 20),
        "unknown unit \".\" in duration \"1.5s\"",
    );
    bad(
        "global:\n  body_size_limit: 5\n",
        (2, 20),
        "units: unknown unit  in 5",
    );
    bad(
        &job("proxy_url: 'http://[::1'"),
        (3, 16),
        "cannot parse URL: invalid IPv6 address",
    );
}

#[test]
fn yaml_that_is_none() {
    let error = parse("global:\n  a: [1, 2\nscrape_configs:\n").unwrap_err();
    assert!(
        matches!(error, LoadError::Invalid { line: 2..=4, .. }),
        "{error}"
    );
    bad(
        "global: {}\nglobal: {}\n",
        (2, 1),
        "mapping key \"global\" already defined at line 1",
    );
    let tab = parse("global:\n\tscrape_interval: 5s\n").unwrap_err();
    assert!(matches!(tab, LoadError::Invalid { line: 2, .. }), "{tab}");
}

#[test]
fn intervals_and_timeouts() {
    bad(
        "global:\n  scrape_interval: 5s\n  scrape_timeout: 6s\n",
        (3, 19),
        "global scrape timeout greater than scrape interval",
    );
    bad(
        &job("scrape_interval: 5s\nscrape_timeout: 6s"),
        (4, 21),
        "scrape timeout greater than scrape interval for scrape config with job name \"j\"",
    );
    bad(
        &job("scrape_timeout: 61s"),
        (3, 21),
        "scrape timeout greater than scrape interval for scrape config with job name \"j\"",
    );
}

#[test]
fn names_of_jobs() {
    bad(
        "scrape_configs:\n- job_name: a\n- job_name: a\n",
        (3, 13),
        "found multiple scrape configs with job name \"a\"",
    );
    bad(
        "scrape_configs:\n- metrics_path: /x\n",
        (2, 3),
        "job_name is empty",
    );
    bad(
        "scrape_configs:\n- job_name: ''\n",
        (2, 13),
        "job_name is empty",
    );
    bad(
        "scrape_configs:\n-\n",
        (2, 2),
        "empty or null scrape config section",
    );
    bad(
        "remote_write:\n- {url: 'http://a', name: x}\n- {url: 'http://b', name: x}\n",
        (3, 27),
        "found multiple remote write configs with job name \"x\"",
    );
}

#[test]
fn protocols_and_schemes() {
    bad(
        &job("scrape_protocols: [PrometheusText0.0.4, Foo]"),
        (3, 45),
        "unknown scrape protocol Foo, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0] for scrape config with job name \"j\"",
    );
    bad(
        &job("scrape_protocols: [PrometheusProto, PrometheusProto]"),
        (3, 41),
        "duplicated protocol in scrape_protocols, got [PrometheusProto PrometheusProto] for scrape config with job name \"j\"",
    );
    bad(
        &job("scrape_protocols: []"),
        (3, 23),
        "scrape_protocols cannot be empty for scrape config with job name \"j\"",
    );
    bad(
        &job("scheme: ftp"),
        (3, 13),
        "unknown scheme \"ftp\", must be \"http\" or \"https\"",
    );
    bad(
        &job("metric_name_validation_scheme: utf9"),
        (3, 36),
        "unknown metric name validation method specified, must be either '', 'legacy' or 'utf8', got utf9",
    );
    bad(
        &job("metric_name_validation_scheme: legacy\nmetric_name_escaping_scheme: allow-utf-8"),
        (4, 34),
        "utf8 metric names requested but validation scheme is not set to UTF8 for scrape config with job name \"j\"",
    );
}

#[test]
fn relabeling() {
    let rule = |fields: &str| job(&format!("relabel_configs:\n- {{{fields}}}"));
    bad(
        &rule("action: foo"),
        (4, 16),
        "unknown relabel action \"foo\"",
    );
    bad(
        &rule("action: hashmod, target_label: a"),
        (4, 7),
        "relabel configuration for hashmod requires non-zero modulus",
    );
    bad(
        &rule("action: replace"),
        (4, 7),
        "relabel configuration for replace action requires 'target_label' value",
    );
    bad(
        &rule("action: labeldrop, source_labels: [a]"),
        (4, 7),
        "labeldrop action requires only 'regex', and no other fields",
    );
    bad(
        &rule("source_labels: ['']"),
        (4, 24),
        "\"\" is not a valid label name",
    );
    bad(
        &job("relabel_configs:\n-"),
        (4, 6),
        "empty or null relabeling rule",
    );
    let error = parse(&rule("regex: '(', target_label: a")).unwrap_err();
    match &error {
        LoadError::Invalid {
            line: 4,
            column: 15,
            reason,
            ..
        } => assert!(!reason.is_empty()),
        other => panic!("{other}"),
    }
}

#[test]
fn credentials_exclude_each_other() {
    bad(
        &job("basic_auth: {username: a}\nauthorization: {credentials: b}"),
        (4, 20),
        "at most one of basic_auth, oauth2 & authorization must be configured",
    );
    bad(
        &job("bearer_token: a\nbearer_token_file: b"),
        (4, 24),
        "at most one of bearer_token & bearer_token_file must be configured",
    );
    bad(
        &job("bearer_token: a\nbasic_auth: {username: b}"),
        (3, 19),
        "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
    );
    bad(
        &job("basic_auth: {password: a, password_file: b}"),
        (3, 17),
        "at most one of basic_auth password, password_file & password_ref must be configured",
    );
    bad(
        &job("authorization: {type: Basic, credentials: b}"),
        (3, 20),
        "authorization type cannot be set to \"basic\", use \"basic_auth\" instead",
    );
    bad(
        &job("authorization: {credentials: a, credentials_file: b}"),
        (3, 20),
        "at most one of authorization credentials & credentials_file must be configured",
    );
    bad(
        &job("oauth2: {token_url: 'http://x'}"),
        (3, 13),
        "oauth2 client_id must be configured",
    );
    bad(
        "remote_write:\n- url: http://x\n  basic_auth: {username: a}\n  sigv4: {}\n",
        (2, 3),
        "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured",
    );
}

#[test]
fn connections() {
    bad(
        &job("tls_config: {ca: a, ca_file: b}"),
        (3, 34),
        "at most one of ca, ca_file & ca_ref must be configured",
    );
    bad(
        &job("tls_config: {cert_file: b}"),
        (3, 17),
        "exactly one of key or key_file must be configured when a client certificate is configured",
    );
    bad(
        &job("tls_config: {key_file: b}"),
        (3, 17),
        "exactly one of cert or cert_file must be configured when a client key is configured",
    );
    bad(
        &job("tls_config: {min_version: TLS9}"),
        (3, 31),
        "unknown TLS version: TLS9",
    );
    bad(
        &job("no_proxy: a"),
        (3, 15),
        "if no_proxy is configured, proxy_url must also be configured",
    );
    bad(
        &job("http_headers: {Host: {values: [a]}}"),
        (3, 26),
        "setting header \"Host\" is not allowed",
    );
}

#[test]
fn discovery() {
    bad(
        &job("static_configs:\n- targets: ['http://h:1']"),
        (4, 17),
        "\"http://h:1\" is not a valid hostname",
    );
    bad(
        &job("static_configs:\n- targets: [a]\n  labels: {'': x}"),
        (5, 16),
        "\"\" is not a valid label name",
    );
    bad(
        &job("file_sd_configs:\n- files: []"),
        (4, 7),
        "file service discovery config must contain at least one path name",
    );
    bad(
        &job("file_sd_configs:\n- files: [a.txt]"),
        (4, 15),
        "path name \"a.txt\" is not valid for file discovery",
    );
    bad(
        &job("file_sd_configs:\n- files: ['*/a.json']"),
        (4, 15),
        "path name \"*/a.json\" is not valid for file discovery",
    );
    bad(
        &job("http_sd_configs: [{url: 'ftp://h'}]"),
        (3, 29),
        "URL scheme must be 'http' or 'https'",
    );
    bad(&job("http_sd_configs: [{}]"), (3, 23), "URL is missing");
    bad(
        &job("dns_sd_configs: [{names: [a], type: A}]"),
        (3, 22),
        "a port is required in DNS-SD configs for all record types except SRV",
    );
    bad(
        &job("kubernetes_sd_configs: [{role: vm}]"),
        (3, 36),
        "unknown Kubernetes SD role \"vm\"",
    );
    bad(
        &job("kubernetes_sd_configs: [{role: pod, bearer_token: x}]"),
        (3, 36),
        "to use custom HTTP client configuration please provide the 'api_server' URL explicitly",
    );
}

#[test]
fn other_sections() {
    bad(
        "rule_files: ['*/a.yml']\n",
        (1, 14),
        "invalid rule file path \"*/a.yml\"",
    );
    bad(
        "remote_write:\n- {}\n",
        (2, 3),
        "url for remote_write is empty",
    );
    bad(
        "remote_read:\n- {}\n",
        (2, 3),
        "url for remote_read is empty",
    );
    bad(
        "remote_write:\n- url: http://x\n  headers: {Host: a}\n",
        (3, 19),
        "Host is a reserved header. It must not be changed",
    );
    bad(
        "alerting:\n  alertmanagers:\n  - api_version: v1\n",
        (3, 18),
        "expected Alertmanager api version to be one of [v2] but got v1",
    );
    bad(
        "otlp: {translation_strategy: x}",
        (1, 30),
        "unsupported OTLP translation strategy \"x\"",
    );
    bad(
        "tracing: {client_type: x}",
        (1, 24),
        "expected tracing client type to be grpc or http",
    );
    bad(
        "global:\n  external_labels: {'': a}\n",
        (2, 21),
        "\"\" is not a valid label name",
    );
}

#[test]
fn the_error_names_everything() {
    let error = parse("global:\n  scrape_interval: 5x\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "parsing YAML file prometheus.yml: line 2, column 20: unknown unit \"x\" in duration \"5x\""
    );
}

#[test]
fn a_url_as_target_needs_relabeling() {
    let target = "static_configs: [{targets: [\"http://a.example/x\"]}]";
    bad(
        &job(target),
        (3, 33),
        "\"http://a.example/x\" is not a valid hostname",
    );
    let prober = format!(
        "{target}\nrelabel_configs: [{{source_labels: [__address__], target_label: __param_target}}]"
    );
    assert!(parse(&job(&prober)).is_ok());
}

#[test]
fn what_go_yaml_takes_is_taken() {
    let config = good(&job("sample_limit: 1e3"));
    assert_eq!(config.scrape_configs()[0].sample_limit, 1000);
    assert!(parse(&job("sample_limit: -1.5")).is_err());
    assert!(parse("global: {external_labels: {__name__: x}}\n").is_ok());
    bad(
        &job("static_configs: [null]"),
        (3, 22),
        "empty or null section in static_configs",
    );
    bad(
        "global: {metric_name_validation_scheme: legacy}\notlp: {translation_strategy: NoTranslation}\n",
        (2, 30),
        "OTLP translation strategy \"NoTranslation\" is not allowed when UTF8 is disabled",
    );
}

#[test]
fn rules_are_shown_as_prometheus_shows_them() {
    let rules = "relabel_configs: [{source_labels: [a], separator: \"\", target_label: b, action: hashmod, modulus: 2, regex: x}, {source_labels: [a], target_label: b}]";
    let yaml = good(&job(rules)).to_yaml();
    assert!(
        yaml.contains(
            "  - source_labels: [a]\n    regex: x\n    modulus: 2\n    target_label: b\n    replacement: $1\n    action: hashmod\n"
        ),
        "{yaml}"
    );
    assert!(
        yaml.contains(
            "  - source_labels: [a]\n    separator: ;\n    target_label: b\n    replacement: $1\n    action: replace\n"
        ),
        "{yaml}"
    );
}
