//! `kubernetes_sd_configs` against a scripted API server: lists, watches, bookmarks, 410, slow and broken connections.

use super::*;
use crate::discovery::kubernetes::config::{
    ApiServer, AttachMetadata, KubernetesSdConfig, Role, Selector,
};
use crate::discovery::kubernetes::{KubernetesDiscovery, Pace};
use crate::http_client::config::HttpClientConfig;
use std::collections::HashMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
#[derive(Debug, Clone)]
enum Step {
    /// A whole answer.
    Answer(u16, String),
    /// The head of a watch's answer, before its events.
    Begin,
    /// An event, or a piece of one.
    Send(String),
    /// Silence.
    Wait(u64),
    /// The end of a watch, as the server means it.
    End,
}

type Script = HashMap<String, Vec<Vec<Step>>>;

/// Answers the requests to each path from its script, in order; the last entry again and again.
struct Api {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Api {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = Arc::clone(&seen);
        let script = Arc::new(Mutex::new(script));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&sink)));
            }
        });
        Api {
            address,
            seen,
            task,
        }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>, seen: Arc<Mutex<Vec<String>>>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.split(' ').nth(1).unwrap().to_owned();
        let path = target.split('?').next().unwrap();
        let key = match target.contains("watch=true") {
            true => format!("watch {path}"),
            false => format!("list {path}"),
        };
        seen.lock().unwrap().push(target);
        let steps = {
            let mut script = script.lock().unwrap();
            let all = script.entry(key).or_default();
            match all.len() {
                0 => vec![Step::Answer(404, "{}".into())],
                1 => all[0].clone(),
                _ => all.remove(0),
            }
        };
        for step in steps {
            let text = match step {
                Step::Answer(status, body) => format!(
                    "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ),
                Step::Begin => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                Step::Send(text) => format!("{:x}\r\n{text}\r\n", text.len()),
                Step::Wait(ms) => {
                    sleep(Duration::from_millis(ms)).await;
                    continue;
                }
                Step::End => "0\r\n\r\n".to_owned(),
            };
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
        if !head.contains("watch=true") {
            continue;
        }
        return;
    }
}

fn pod(name: &str, version: u32, ip: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"n","resourceVersion":"{version}","labels":null}},"spec":{{"nodeName":"node-1","containers":[{{"name":"c","ports":[{{"containerPort":80}}]}}]}},"status":{{"podIP":"{ip}"}}}}"#
    )
}

fn list(version: u32, next: &str, items: &[String]) -> Step {
    Step::Answer(
        200,
        format!(
            r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":[{}]}}"#,
            items.join(",")
        ),
    )
}

fn event(kind: &str, object: &str) -> Step {
    Step::Send(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n"))
}

const PACE: Pace = Pace {
    watch: Duration::from_millis(300),
    answer: Duration::from_millis(400),
    pause: Duration::from_millis(20),
    pause_max: Duration::from_millis(100),
};

fn start(api: &Api, role: Role, change: impl FnOnce(&mut KubernetesSdConfig)) -> Running {
    let mut config = KubernetesSdConfig {
        role,
        api: ApiServer::Url {
            url: format!("http://{}/", api.address),
            http: Box::new(HttpClientConfig::default()),
        },
        namespaces: Vec::new(),
        own_namespace: false,
        selectors: Vec::new(),
        attach: AttachMetadata::default(),
    };
    change(&mut config);
    let counters = Arc::<DiscoveryCounters>::default();
    let context = ProviderContext {
        job: "j".into(),
        mechanism: "kubernetes",
        counters: Arc::clone(&counters),
    };
    let discovery = KubernetesDiscovery::new(config, &context)
        .unwrap()
        .paced(PACE);
    Running::start("kubernetes", counters, Box::new(discovery))
}

const PODS: &str = "/api/v1/pods";
const HANG: [Step; 2] = [Step::Begin, Step::Wait(60_000)];

fn script(lists: Vec<Vec<Step>>, watches: Vec<Vec<Step>>) -> Script {
    [
        (format!("list {PODS}"), lists),
        (format!("watch {PODS}"), watches),
    ]
    .into()
}

fn failures(running: &Running) -> f64 {
    running
        .counters
        .value("prometheus_sd_kubernetes_failures_total")
}

#[tokio::test]
async fn watches_go_on_where_they_broke_and_begin_anew_when_that_is_forgotten() {
    let bookmark = r#"{"metadata":{"resourceVersion":"20"}}"#;
    let gone = r#"{"kind":"Status","code":410,"message":"too old resource version"}"#;
    let half = format!(
        "{{\"type\":\"ADDED\",\"object\":{}",
        pod("half", 22, "10.0.0.9")
    );
    let api = Api::start(script(
        vec![
            vec![list(10, "", &[pod("a", 1, "10.0.0.1")])],
            // After the 410: in two pages, without `a`.
            vec![list(30, "page2", &[pod("c", 25, "10.0.0.3")])],
            vec![list(30, "", &[pod("d", 26, "10.0.0.4")])],
        ],
        vec![
            vec![
                Step::Begin,
                event("ADDED", &pod("b", 11, "10.0.0.2")),
                Step::Wait(150),
                event("BOOKMARK", bookmark),
                event("MODIFIED", &pod("a", 21, "10.0.0.11")),
                event("DELETED", &pod("b", 21, "10.0.0.2")),
                // It breaks in the middle of an event.
                Step::Send(half),
            ],
            vec![Step::Begin, Step::Wait(150), event("ERROR", gone)],
            HANG.to_vec(),
        ],
    ))
    .await;
    let running = start(&api, Role::Pod, |_| {});
    running
        .wait_for_addresses(&["10.0.0.1:80", "10.0.0.2:80"])
        .await;
    running.wait_for_addresses(&["10.0.0.11:80"]).await;
    running
        .wait_for_addresses(&["10.0.0.3:80", "10.0.0.4:80"])
        .await;
    assert_labels(
        &running.targets()[0],
        "__address__ 10.0.0.3:80
        __meta_kubernetes_namespace n
        __meta_kubernetes_pod_container_init false
        __meta_kubernetes_pod_container_name c
        __meta_kubernetes_pod_container_port_number 80
        __meta_kubernetes_pod_ip 10.0.0.3
        __meta_kubernetes_pod_name c
        __meta_kubernetes_pod_node_name node-1
        __meta_kubernetes_pod_ready unknown",
    );
    running
        .wait_for("the last watch", |_| api.seen().len() >= 6)
        .await;
    let seen = api.seen();
    let watch = |version: u32| {
        format!(
            "{PODS}?watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=1"
        )
    };
    assert_eq!(
        seen[..6],
        [
            format!("{PODS}?resourceVersion=0"),
            watch(10),
            watch(21),
            format!("{PODS}?limit=500"),
            format!("{PODS}?limit=500&continue=page2"),
            watch(30),
        ]
    );
    assert_eq!(failures(&running), 0.0, "none of this is a failure");
}

#[tokio::test]
async fn a_server_that_fails_or_says_nothing_is_asked_again_and_targets_stay() {
    let api = Api::start(script(
        vec![
            vec![Step::Answer(
                403,
                r#"{"message":"pods is forbidden"}"#.into(),
            )],
            // Longer than we wait.
            vec![Step::Wait(1000)],
            vec![list(10, "", &[pod("a", 1, "10.0.0.1")])],
            vec![Step::Answer(500, "oops".into())],
            vec![list(12, "", &[pod("b", 1, "10.0.0.2")])],
        ],
        vec![
            // No head at all, then silence after the head, then a refusal.
            vec![Step::Begin, Step::Wait(60_000)],
            vec![Step::Begin, Step::End],
            vec![Step::Answer(503, "{}".into())],
            HANG.to_vec(),
        ],
    ))
    .await;
    let running = start(&api, Role::Pod, |_| {});
    running.wait_for_addresses(&["10.0.0.1:80"]).await;
    assert_eq!(failures(&running), 2.0);
    running.wait_for("failures", |r| failures(r) == 4.0).await;
    running.wait_for_addresses(&["10.0.0.2:80"]).await;
    let watches = |version: &str| {
        let wanted = format!("resourceVersion={version}&timeout");
        api.seen().iter().filter(|t| t.contains(&wanted)).count()
    };
    assert_eq!(watches("10"), 3, "silent and ended watches are resumed");
}

#[tokio::test]
async fn endpoints_follow_their_services_pods_and_nodes() {
    let endpoints = r#"{"metadata":{"name":"web","namespace":"n"},"subsets":[{"addresses":[{"ip":"10.0.0.1","nodeName":"node-1","targetRef":{"kind":"Pod","namespace":"n","name":"a"}}],"ports":[{"name":"http","port":80,"protocol":"TCP"}]}]}"#;
    let service =
        r#"{"metadata":{"name":"web","namespace":"n","resourceVersion":"9","labels":{"s":"1"}}}"#;
    let node = |zone: &str| {
        format!(
            r#"{{"metadata":{{"name":"node-1","resourceVersion":"9","labels":{{"zone":"{zone}"}}}}}}"#
        )
    };
    let base = "/api/v1/namespaces/n";
    let one = |item: &str| vec![vec![list(1, "", &[item.to_owned()])]];
    let api = Api::start(
        [
            (format!("list {base}/endpoints"), one(endpoints)),
            (
                format!("list {base}/services"),
                vec![vec![list(1, "", &[])]],
            ),
            (format!("list {base}/pods"), one(&pod("a", 1, "10.0.0.1"))),
            ("list /api/v1/nodes".to_owned(), one(&node("z1"))),
            (format!("watch {base}/endpoints"), vec![HANG.to_vec()]),
            (
                format!("watch {base}/services"),
                vec![vec![
                    Step::Begin,
                    Step::Wait(100),
                    event("ADDED", service),
                    Step::Wait(60_000),
                ]],
            ),
            (
                format!("watch {base}/pods"),
                vec![vec![
                    Step::Begin,
                    Step::Wait(200),
                    event(
                        "MODIFIED",
                        &pod("a", 9, "10.0.0.1")
                            .replace("\"labels\":null", "\"labels\":{\"p\":\"2\"}"),
                    ),
                    Step::Wait(60_000),
                ]],
            ),
            (
                "watch /api/v1/nodes".to_owned(),
                vec![vec![
                    Step::Begin,
                    Step::Wait(300),
                    event("MODIFIED", &node("z2")),
                    Step::Wait(60_000),
                ]],
            ),
        ]
        .into(),
    )
    .await;
    let running = start(&api, Role::Endpoints, |config| {
        config.namespaces = vec!["n".into()];
        config.attach.node = true;
        config.selectors = vec![Selector {
            role: Role::Pod,
            label: "app=web".into(),
            field: String::new(),
        }];
    });
    let label = |running: &Running, name: &str| {
        let targets = running.targets();
        let target = targets.first();
        target.and_then(|t| t.get(&format!("__meta_kubernetes_{name}")).cloned())
    };
    running.wait_for_addresses(&["10.0.0.1:80"]).await;
    assert_eq!(label(&running, "node_label_zone").as_deref(), Some("z1"));
    assert_eq!(label(&running, "pod_container_name").as_deref(), Some("c"));
    for (name, value) in [
        ("service_label_s", "1"),
        ("pod_label_p", "2"),
        ("node_label_zone", "z2"),
    ] {
        running
            .wait_for(name, |r| label(r, name).as_deref() == Some(value))
            .await;
    }
    let pods = api
        .seen()
        .into_iter()
        .find(|t| t.contains("/pods"))
        .unwrap();
    assert_eq!(
        pods,
        format!("{base}/pods?labelSelector=app%3Dweb&resourceVersion=0")
    );
}
