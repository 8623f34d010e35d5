//! `consul_sd_configs` against a scripted agent.

use super::*;
use crate::discovery::config::ConsulSdConfig;
use crate::discovery::consul::ConsulDiscovery;
use crate::http_client::config::{HttpClientConfig, Secret};
use crate::test_http::{Server, answer, json};

fn config(server: &Server) -> ConsulSdConfig {
    ConsulSdConfig {
        server: server.address().to_string(),
        scheme: "http".into(),
        path_prefix: "/under".into(),
        token: Secret::new("hush"),
        datacenter: String::new(),
        namespace: "n1".into(),
        partition: String::new(),
        tag_separator: ",".into(),
        allow_stale: true,
        refresh_interval: Duration::from_millis(20),
        services: Vec::new(),
        tags: vec!["t1".into()],
        node_meta: [("rack".to_owned(), "r1".to_owned())].into(),
        filter: "F".into(),
        health_filter: "H".into(),
        http: HttpClientConfig::default(),
    }
}

fn start(config: ConsulSdConfig) -> Running {
    let discovery = ConsulDiscovery::new(config).retry_after(Duration::from_millis(20));
    Running::start("consul", Arc::default(), Box::new(discovery))
}

const INSTANCE: &str = r#"[{
  "Node": {"Node": "n-1", "Address": "10.0.0.1", "TaggedAddresses": {"lan": "10.0.0.9"}, "Meta": {"rack-no": "r1"}},
  "Service": {"ID": "web-1", "Service": "web", "Tags": ["t1", "t2"], "Address": "", "Port": 8080,
    "Meta": {"version": "3"}, "Namespace": "n1", "Partition": "p"},
  "Checks": [{"CheckID": "a", "Status": "passing"}, {"CheckID": "b", "Status": "warning"}]
}, {"Node": {"Node": "n-2", "Address": "10.0.0.2"}, "Service": {"ID": "web-2", "Address": "far", "Port": 1}}]"#;

#[tokio::test]
async fn services_are_watched_while_they_exist() {
    let services = Arc::new(Mutex::new((
        7,
        r#"{"web": ["t1", "t2"], "db": ["t2"]}"#.to_owned(),
    )));
    let state = Arc::clone(&services);
    let server = Server::start(move |seen| {
        let path = seen.target.split('?').next().unwrap();
        let (index, text) = state.lock().unwrap().clone();
        let mut reply = match path {
            "/under/v1/agent/self" => json(r#"{"Config": {"Datacenter": "dc9"}}"#),
            "/under/v1/catalog/services" if index == 0 => answer(500, "text/plain", "no leader"),
            "/under/v1/catalog/services" => json(text),
            "/under/v1/health/service/web" => json(INSTANCE),
            other => answer(404, "text/plain", format!("{other}?")),
        };
        reply.headers_mut().insert("X-Consul-Index", index.into());
        reply
    })
    .await;
    let running = start(config(&server));
    running
        .wait_for_addresses(&["10.0.0.1:8080", "far:1"])
        .await;
    assert_labels(
        &running.targets()[0],
        "__address__ 10.0.0.1:8080
        __meta_consul_address 10.0.0.1
        __meta_consul_dc dc9
        __meta_consul_health warning
        __meta_consul_metadata_rack_no r1
        __meta_consul_namespace n1
        __meta_consul_node n-1
        __meta_consul_partition p
        __meta_consul_service web
        __meta_consul_service_id web-1
        __meta_consul_service_metadata_version 3
        __meta_consul_service_port 8080
        __meta_consul_tagged_address_lan 10.0.0.9
        __meta_consul_tags ,t1,t2,",
    );
    let seen = server.seen();
    assert!(seen.iter().all(|s| s.header("x-consul-token") == "hush"));
    let first = |path: &str| {
        let of = seen.iter().find(|s| s.target.contains(path));
        of.map_or_else(String::new, |s| s.target.clone())
    };
    assert_eq!(
        first("/catalog/"),
        "/under/v1/catalog/services?dc=dc9&ns=n1&filter=F&stale=&wait=120000ms&node-meta=rack%3Ar1"
    );
    assert_eq!(
        first("/health/"),
        "/under/v1/health/service/web?dc=dc9&ns=n1&filter=H&stale=&wait=120000ms&node-meta=rack%3Ar1&tag=t1"
    );
    running
        .wait_for("a blocking query", |_| {
            let seen = server.seen();
            seen.iter().any(|s| s.target.contains("index=7"))
        })
        .await;
    let told = *running.updates.lock().unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(
        *running.updates.lock().unwrap(),
        told,
        "the same index is no news"
    );
    services.lock().unwrap().0 = 0;
    running
        .wait_for("failures", |r| {
            r.counters.value("prometheus_sd_consul_rpc_failures_total") >= 2.0
        })
        .await;
    assert_eq!(running.addresses().len(), 2);
    *services.lock().unwrap() = (8, "{}".to_owned());
    running.wait_for_addresses(&[]).await;
}

#[tokio::test]
async fn named_services_need_no_catalog() {
    let server = Server::start(|seen| {
        assert!(!seen.target.contains("catalog"));
        let mut reply = json(INSTANCE);
        reply.headers_mut().insert("X-Consul-Index", 3.into());
        reply
    })
    .await;
    let running = start(ConsulSdConfig {
        services: vec!["we b".into()],
        tags: Vec::new(),
        datacenter: "dc1".into(),
        ..config(&server)
    });
    running
        .wait_for("targets", |r| r.targets().len() == 2)
        .await;
    assert_eq!(running.targets()[1]["__meta_consul_service"], "we b");
    assert_eq!(running.targets()[1]["__meta_consul_health"], "passing");
    assert!(
        server.seen()[0]
            .target
            .starts_with("/under/v1/health/service/we%20b?dc=dc1&")
    );
}
