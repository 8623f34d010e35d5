//! Lifetimes and bounds of connections of the real binary: slow clients, too many, too long heads, several addresses, the end.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use support::tls::{Http, fetch, get};
use support::{Ferula, PATIENCE, parse};

fn connect(server: &Ferula) -> TcpStream {
    let stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

fn signal(server: &Ferula, name: &str) {
    let id = server.id().to_string();
    assert!(
        Command::new("kill")
            .args([name, &id])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn slow_and_idle_clients_are_closed() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ferula::start(directory.path(), &["--web.read-timeout=2s"]);
    let started = Instant::now();
    // One that says nothing, one that never finishes its head, one that trickles its body.
    let mut clients = [connect(&server), connect(&server), connect(&server)];
    clients[1].write_all(b"GET / HTTP/1.1\r\nhost").unwrap();
    clients[2]
        .write_all(b"POST /api/v1/query HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\nque")
        .unwrap();
    for client in &mut clients {
        rest(client);
    }
    assert!(
        started.elapsed() < Duration::from_secs(12),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(server.get("/-/healthy").status, 200);
}

#[test]
fn connections_beyond_the_limit_wait_their_turn() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("empty.yml");
    std::fs::write(&config, "").unwrap();
    let flags = [
        "--web.max-connections=2",
        "--web.workers=1",
        "--config.file=empty.yml",
    ];
    let server = Ferula::start(directory.path(), &flags);
    let held = [connect(&server), connect(&server)];
    std::thread::sleep(Duration::from_millis(200));
    let mut third = connect(&server);
    third
        .write_all(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    third
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut byte = [0];
    assert!(third.read(&mut byte).is_err(), "answered beyond the limit");
    drop(held);
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(parse(&rest(&mut third)).status, 200);
}

#[test]
fn heads_have_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ferula::start(directory.path(), &[]);
    let many: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    let answer = server.send(&format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n"), b"");
    assert_eq!(answer.status, 431);
    let long = "y".repeat(600 << 10);
    let answer = server.send(
        &format!("GET / HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"),
        b"",
    );
    assert!(matches!(answer.status, 431 | 0), "{}", answer.status);
    // Two lengths, and a length beside chunks: the old tricks to smuggle a request past a proxy.
    for framing in [
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: 3\r\ntransfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
    ] {
        let head =
            format!("POST /api/v1/query HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{framing}\r\n");
        let answer = server.send(&head, b"0\r\n\r\n");
        assert_eq!(answer.status, 400, "{framing}");
    }
}

#[test]
fn several_addresses_of_both_families() {
    if TcpListener::bind("[::1]:0").is_err() {
        // No IPv6 on this machine: nothing to test.
        return;
    }
    let port = TcpListener::bind("[::1]:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let directory = tempfile::tempdir().unwrap();
    let six = format!("[::1]:{port}");
    let server = Ferula::start(directory.path(), &[&format!("--web.listen-address={six}")]);
    for address in [&server.address, &six] {
        for http in [Http::One, Http::Two] {
            let answer = fetch(address, None, http, get("/-/ready", "")).unwrap();
            assert_eq!(answer.status, 200, "{address} {http:?}");
        }
    }
}

#[test]
fn an_address_without_a_host_is_both_families() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let directory = tempfile::tempdir().unwrap();
    let server = Ferula::start(
        directory.path(),
        &[&format!("--web.listen-address=:{port}")],
    );
    let mut addresses = vec![format!("127.0.0.1:{port}")];
    if TcpListener::bind("[::1]:0").is_ok() {
        addresses.push(format!("[::1]:{port}"));
    }
    for address in addresses {
        let answer = fetch(&address, None, Http::One, get("/-/ready", "")).unwrap();
        assert_eq!(answer.status, 200, "{address}");
    }
    drop(server);
}

#[test]
fn requests_at_hand_are_finished_and_new_ones_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ferula::start(directory.path(), &[]);
    let mut client = connect(&server);
    let body = b"query=6*7";
    let head = format!(
        "POST /api/v1/format_query HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(&body[..3]).unwrap();
    let mut idle = connect(&server);
    std::thread::sleep(Duration::from_millis(300));
    signal(&server, "-TERM");
    // The idle one goes at once, and nobody new gets in.
    assert!(rest(&mut idle).is_empty());
    assert!(TcpStream::connect(&server.address).is_err());
    client.write_all(&body[3..]).unwrap();
    let answer = parse(&rest(&mut client));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["data"], "6 * 7");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ferula::start(directory.path(), &[]);
    let mut client = connect(&server);
    client
        .write_all(b"POST /api/v1/format_query HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\n\r\nq")
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    signal(&server, "-TERM");
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    assert_eq!(server.terminate(), Some(1));
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}
