//! An exporter whose value is set by hand, and a receiver that keeps the alerts it is sent. Their threads end with the process.

use anyhow::Result;
use loadgen::sender::now_ms;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Answers every request of every connection by `answer`, from path and body.
fn serve(answer: impl Fn(String, Vec<u8>) -> String + Send + Sync + 'static) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let authority = listener.local_addr()?.to_string();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some((path, body)) = request(&mut reader) {
                    let body = answer(path, body);
                    let text = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if reader.get_mut().write_all(text.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(authority)
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first.split(' ').nth(1)?.to_owned(), body))
}

/// A target with one value that changes.
pub(super) struct Exporter {
    pub(super) authority: String,
    value: Arc<AtomicU64>,
}

impl Exporter {
    pub(super) fn start() -> Result<Self> {
        let value = Arc::new(AtomicU64::new(1_f64.to_bits()));
        let shared = Arc::clone(&value);
        let authority = serve(move |_, _| {
            let value = f64::from_bits(shared.load(Ordering::Relaxed));
            format!(
                "temp{{zone=\"node\",host=\"host.example:9100\"}} {value}\nlevel{{a=\"1\"}} 1\nlevel{{a=\"2\"}} 2\nbig 1234567.891\n"
            )
        })?;
        Ok(Exporter { authority, value })
    }

    pub(super) fn set(&self, value: f64) {
        self.value.store(value.to_bits(), Ordering::Relaxed);
    }
}

/// When, on which path, what.
type Told = (i64, String, Value);

/// Takes alerts as an Alertmanager does.
pub(super) struct Receiver {
    pub(super) authority: String,
    heard: Arc<Mutex<Vec<Told>>>,
}

impl Receiver {
    pub(super) fn start() -> Result<Self> {
        let heard: Arc<Mutex<Vec<Told>>> = Arc::default();
        let shared = Arc::clone(&heard);
        let authority = serve(move |path, body| {
            let alerts: Value = serde_json::from_slice(&body).unwrap_or_default();
            let mut heard = shared.lock().unwrap_or_else(PoisonError::into_inner);
            for alert in alerts.as_array().into_iter().flatten() {
                heard.push((now_ms(), path.clone(), alert.clone()));
            }
            String::new()
        })?;
        Ok(Receiver { authority, heard })
    }

    pub(super) fn heard(&self) -> Vec<Told> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
