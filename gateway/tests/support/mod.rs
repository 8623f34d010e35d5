//! A real `ferula` process on a free loopback port, and a small blocking HTTP client to talk to it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test helper: each test file uses its own part"
)]

pub mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a server to come up or to change.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
pub struct Ferula {
    child: Child,
    pub address: String,
}

/// Status, headers (lower-case names) and body.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

impl Ferula {
    /// Starts the binary in `directory` with these flags; returns when it says where it listens and is ready.
    pub fn start(directory: &Path, flags: &[&str]) -> Ferula {
        Self::start_under(directory, "", flags)
    }

    /// As [`Ferula::start`], for a server whose routes have a prefix.
    pub fn start_under(directory: &Path, prefix: &str, flags: &[&str]) -> Ferula {
        let server = Self::start_unasked(directory, flags);
        let ready = format!("{prefix}/-/ready");
        server.eventually("ready", |s| s.get(&ready).status == 200);
        server
    }

    /// As [`Ferula::start`], for a server that plain requests do not get into; it says where it listens when it is ready.
    pub fn start_unasked(directory: &Path, flags: &[&str]) -> Ferula {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ferula"))
            .args(["--web.listen-address=127.0.0.1:0", "--storage.shards=2"])
            .args(flags)
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line
            .split_whitespace()
            .find_map(|w| w.trim_end_matches(',').strip_prefix("127.0.0.1:"))
            .map(|port| format!("127.0.0.1:{port}"))
            .unwrap_or_else(|| panic!("no address in {line:?}"));
        Ferula { child, address }
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-HUP", &id])
                .status()
                .unwrap()
                .success()
        );
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(
            &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
            b"",
        )
    }

    pub fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        self.send(&head, body)
    }

    /// Sends raw bytes, reads to the end of the connection.
    pub fn send(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses early may close before it has read everything.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        parse(&bytes)
    }

    /// `result` of an instant query.
    pub fn query(&self, query: &str) -> serde_json::Value {
        self.query_at(query, "")
    }

    /// `result` of an instant query at a time.
    pub fn query_at(&self, query: &str, time: &str) -> serde_json::Value {
        let encoded: String = query.bytes().map(|b| format!("%{b:02X}")).collect();
        let time = if time.is_empty() {
            String::new()
        } else {
            format!("&time={time}")
        };
        let answer = self.get(&format!("/api/v1/query?query={encoded}{time}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["data"]["result"].clone()
    }

    /// Waits until `holds` is true.
    pub fn eventually(&self, what: &str, holds: impl Fn(&Ferula) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(
                started.elapsed() < PATIENCE,
                "{what}: not within {PATIENCE:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Ferula {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes an answer apart.
pub fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let Some(end) = end else {
        return Answer {
            status: 0,
            headers: Vec::new(),
            body: bytes.to_vec(),
        };
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .and_then(|s| s.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    Answer {
        status: status.unwrap_or(0),
        headers,
        body,
    }
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    now.as_millis() as i64
}

/// A tiny protobuf writer, enough for remote write.
pub mod proto {
    pub fn varint(out: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    pub fn bytes(out: &mut Vec<u8>, field: u8, body: &[u8]) {
        out.push(field << 3 | 2);
        varint(out, body.len() as u64);
        out.extend_from_slice(body);
    }

    fn sample(value: f64, timestamp: i64) -> Vec<u8> {
        let mut out = vec![0x09];
        out.extend_from_slice(&value.to_le_bytes());
        out.push(0x10);
        varint(&mut out, timestamp as u64);
        out
    }

    /// One series of remote write 1.0.
    pub fn series_v1(labels: &[(&[u8], &[u8])], samples: &[(f64, i64)]) -> Vec<u8> {
        let mut row = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            bytes(&mut label, 1, name);
            bytes(&mut label, 2, value);
            bytes(&mut row, 1, &label);
        }
        for (value, timestamp) in samples {
            bytes(&mut row, 2, &sample(*value, *timestamp));
        }
        let mut out = Vec::new();
        bytes(&mut out, 1, &row);
        out
    }

    /// Label references and samples of one series.
    pub type SeriesV2<'a> = (&'a [u64], &'a [(f64, i64)]);

    /// A remote write 2.0 request: symbols, then series of label references and samples.
    pub fn request_v2(symbols: &[&str], series: &[SeriesV2<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        for symbol in symbols {
            bytes(&mut out, 4, symbol.as_bytes());
        }
        for (refs, samples) in series {
            let mut packed = Vec::new();
            refs.iter().for_each(|r| varint(&mut packed, *r));
            let mut row = Vec::new();
            bytes(&mut row, 1, &packed);
            for (value, timestamp) in *samples {
                bytes(&mut row, 2, &sample(*value, *timestamp));
            }
            bytes(&mut out, 5, &row);
        }
        out
    }

    pub fn snappy(body: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(body).unwrap()
    }
}

pub const V1: &str = "content-type: application/x-protobuf\r\ncontent-encoding: snappy\r\nx-prometheus-remote-write-version: 0.1.0\r\n";
pub const V2: &str = "content-type: application/x-protobuf;proto=io.prometheus.write.v2.Request\r\ncontent-encoding: snappy\r\nx-prometheus-remote-write-version: 2.0.0\r\n";
