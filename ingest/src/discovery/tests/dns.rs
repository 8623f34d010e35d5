//! `dns_sd_configs` against a name server of our own.

use super::*;
use crate::discovery::config::{DnsRecordKind, DnsSdConfig};
use crate::discovery::dns::{DnsDiscovery, Servers};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use std::net::Ipv4Addr;
use tokio::net::UdpSocket;

fn name_bytes(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|l| !l.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

/// Answers with these record data of `kind`; `None` means that the name does not exist.
type Zone = Arc<Mutex<Option<(u16, Vec<Vec<u8>>)>>>;

/// A name server that knows one name; `fail.test.` makes it fail.
async fn name_server(zone: Zone) -> (u16, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let query = &buffer[..length];
            let end = 12 + query[12..].iter().position(|b| *b == 0).unwrap() + 5;
            let question = &query[12..end];
            let failing = question.starts_with(&name_bytes("fail.test."));
            let zone = zone.lock().unwrap().clone();
            let records = zone.as_ref().map_or(&[][..], |(_, records)| records);
            let code = match (&zone, failing) {
                (_, true) => 2,
                (None, _) => 3,
                _ => 0,
            };
            let mut reply = query[..2].to_vec();
            reply.extend([0x84, 0x80 | code, 0, 1]);
            reply.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
            reply.extend([0, 0, 0, 0]);
            reply.extend(question);
            for data in records {
                reply.extend([0xc0, 12]);
                reply.extend(zone.as_ref().unwrap().0.to_be_bytes());
                reply.extend([0, 1, 0, 0, 0, 0]);
                reply.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
                reply.extend(data);
            }
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    (port, task)
}

fn start(port: u16, kind: DnsRecordKind, name: &str) -> Running {
    let mut connection = ConnectionConfig::udp();
    connection.port = port;
    let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_millis(500);
    options.attempts = 0;
    let config = DnsSdConfig {
        names: vec![name.to_owned()],
        kind,
        port: 9100,
        refresh_interval: Duration::from_millis(50),
    };
    let resolver = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let servers = Servers::Fixed(Box::new((resolver, options)));
    let discovery = DnsDiscovery::with_servers(config, servers);
    Running::start("dns", Arc::default(), Box::new(discovery))
}

#[tokio::test]
async fn records_of_all_kinds_become_targets() {
    let target = name_bytes("host.example.");
    let with = |head: &[u8]| [head, &target].concat();
    for (kind, number, data, expected) in [
        (
            DnsRecordKind::Srv,
            33,
            with(&[0, 1, 0, 2, 0x1f, 0x90]),
            "__address__ host.example:8080\n__meta_dns_srv_record_target host.example.\n__meta_dns_srv_record_port 8080",
        ),
        (
            DnsRecordKind::A,
            1,
            vec![10, 1, 2, 3],
            "__address__ 10.1.2.3:9100",
        ),
        (
            DnsRecordKind::Aaaa,
            28,
            [vec![0x20, 1, 0xd, 0xb8], vec![0; 11], vec![1]].concat(),
            "__address__ [2001:db8::1]:9100",
        ),
        (
            DnsRecordKind::Mx,
            15,
            with(&[0, 10]),
            "__address__ host.example:9100\n__meta_dns_mx_record_target host.example.",
        ),
        (
            DnsRecordKind::Ns,
            2,
            with(&[]),
            "__address__ host.example:9100\n__meta_dns_ns_record_target host.example.",
        ),
    ] {
        let zone: Zone = Arc::new(Mutex::new(Some((number, vec![data]))));
        let (port, server) = name_server(zone).await;
        let running = start(port, kind, "all.test.");
        running
            .wait_for("a target", |r| !r.targets().is_empty())
            .await;
        let expected = format!("{expected}\n__meta_dns_name all.test.");
        assert_labels(&running.targets()[0], &expected);
        server.abort();
    }
}

#[tokio::test]
async fn names_that_do_not_exist_lose_their_targets_and_failures_keep_them() {
    let zone: Zone = Arc::new(Mutex::new(Some((1, vec![vec![10, 0, 0, 1]]))));
    let (port, server) = name_server(Arc::clone(&zone)).await;
    let running = start(port, DnsRecordKind::A, "there.test.");
    running.wait_for_addresses(&["10.0.0.1:9100"]).await;
    *zone.lock().unwrap() = None;
    running.wait_for_addresses(&[]).await;
    *zone.lock().unwrap() = Some((1, vec![vec![10, 0, 0, 2], vec![10, 0, 0, 3]]));
    running
        .wait_for_addresses(&["10.0.0.2:9100", "10.0.0.3:9100"])
        .await;
    server.abort();
    running
        .wait_for("a failure", |r| {
            r.counters.value("prometheus_sd_dns_lookup_failures_total") >= 1.0
        })
        .await;
    assert_eq!(running.addresses().len(), 2);
}
