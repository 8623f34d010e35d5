//! `docker_sd_configs` against a scripted daemon, over TCP and a unix socket.

use super::*;
use crate::discovery::Refresher;
use crate::discovery::config::{ApiFilter, DockerSdConfig};
use crate::discovery::docker::DockerDiscovery;
use crate::http_client::config::HttpClientConfig;
use crate::test_http::{Answer, Seen, Server, answer, json};

const CONTAINERS: &str = r#"[
 {"Id": "c1", "Names": ["/web"], "Image": "nginx", "ImageID": "sha256:1", "Labels": {"com.example/team": "a"},
  "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"}],
  "HostConfig": {"NetworkMode": "front"},
  "NetworkSettings": {"Networks": {
    "front": {"NetworkID": "net1", "IPAddress": "172.17.0.2"}, "back": {"NetworkID": "net2", "IPAddress": "172.18.0.2"}}}},
 {"Id": "c2", "Names": ["/quiet"], "HostConfig": {"NetworkMode": "container:c1"}, "NetworkSettings": {"Networks": {}}},
 {"Id": "c3", "Names": ["/host"], "HostConfig": {"NetworkMode": "host"},
  "NetworkSettings": {"Networks": {"host": {"NetworkID": "net3", "IPAddress": ""}}}},
 {"Id": "c4", "Names": []}]"#;

const NETWORKS: &str = r#"[
 {"Id": "net1", "Name": "front", "Scope": "local", "Internal": false, "Ingress": false, "Labels": {"k": "v"}},
 {"Id": "net2", "Name": "back", "Scope": "local", "Internal": true, "Ingress": false, "Labels": null}]"#;

fn daemon(seen: &Seen) -> Answer {
    let mut reply = match seen.target.split('?').next().unwrap() {
        "/_ping" => answer(200, "text/plain", "OK"),
        "/v1.41/containers/json" => json(CONTAINERS),
        "/v1.41/networks" => json(NETWORKS),
        other => answer(404, "text/plain", format!("{other}?")),
    };
    reply
        .headers_mut()
        .insert("API-Version", "1.41".parse().unwrap());
    reply
}

fn config(host: String) -> DockerSdConfig {
    DockerSdConfig {
        host,
        port: 9999,
        filters: vec![ApiFilter {
            name: "label".into(),
            values: vec!["a=b".into(), "c".into()],
        }],
        host_networking_host: "localhost".into(),
        match_first_network: true,
        refresh_interval: Duration::from_secs(5),
        http: HttpClientConfig::default(),
    }
}

async fn targets(config: DockerSdConfig) -> Vec<BTreeMap<String, String>> {
    let groups = DockerDiscovery::new(config).refresh().await.unwrap();
    assert_eq!(groups[0].source, "Docker");
    labels_of(&groups[0])
}

#[tokio::test]
async fn containers_become_targets_by_port_and_network() {
    let server = Server::start(daemon).await;
    let found = targets(config(format!("tcp://{}", server.address()))).await;
    let addresses: Vec<&str> = found.iter().map(|t| t["__address__"].as_str()).collect();
    assert_eq!(addresses, ["172.18.0.2:80", "172.18.0.2:9999", "localhost"]);
    assert_labels(
        &found[0],
        "__address__ 172.18.0.2:80
        __meta_docker_container_id c1
        __meta_docker_container_image nginx
        __meta_docker_container_image_id sha256:1
        __meta_docker_container_label_com_example_team a
        __meta_docker_container_name /web
        __meta_docker_container_network_mode front
        __meta_docker_network_id net2
        __meta_docker_network_ingress false
        __meta_docker_network_internal true
        __meta_docker_network_ip 172.18.0.2
        __meta_docker_network_name back
        __meta_docker_network_scope local
        __meta_docker_port_private 80
        __meta_docker_port_public 8080
        __meta_docker_port_public_ip 0.0.0.0",
    );
    let asked = &server.seen()[1].target;
    assert_eq!(
        asked,
        "/v1.41/containers/json?filters=%7B%22label%22%3A%7B%22a%3Db%22%3Atrue%2C%22c%22%3Atrue%7D%7D"
    );
}

#[tokio::test]
async fn a_socket_will_do_and_every_network_may_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let _server = Server::start_unix(&path, daemon);
    let found = targets(DockerSdConfig {
        match_first_network: false,
        filters: Vec::new(),
        ..config(format!("unix://{}", path.display()))
    })
    .await;
    let addresses: Vec<&str> = found.iter().map(|t| t["__address__"].as_str()).collect();
    assert_eq!(
        addresses,
        [
            "172.18.0.2:80",
            "172.17.0.2:80",
            "172.18.0.2:9999",
            "172.17.0.2:9999",
            "localhost"
        ]
    );
    assert_eq!(found[1]["__meta_docker_network_label_k"], "v");
}
