//! The data of `ferula-bench query`: counters, classic histograms, gauges and information series, two hours every 15 s.
//!
//! Promise: every server is sent the same bytes. Not here: what is asked (`queries`).

use crate::servers::Kind;
use anyhow::{Result, bail};
use bytes::Bytes;
use loadgen::http_client::{Connection, split_url};
use loadgen::series::mix;
use std::time::Duration;

pub(super) const STEP_MS: i64 = 15_000;
/// Samples of each series.
pub(super) const ROUNDS: usize = 480;
/// Length of the data: of one block.
pub(super) const SPAN_MS: i64 = STEP_MS * ROUNDS as i64;
const SERIES_PER_REQUEST: usize = 500;
const ROUNDS_PER_REQUEST: usize = 20;
const RETRIES_MAX: usize = 200;

const GROUPS: usize = 20;
const INSTANCES: usize = 200;
const CODES: [&str; 5] = ["200", "201", "404", "500", "503"];
const BOUNDS: [&str; 12] = [
    "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
];
const HANDLERS: usize = 50;
const HISTOGRAM_INSTANCES: usize = 10;

/// What the values of a series look like.
#[derive(Clone, Copy)]
enum Shape {
    /// Grows by a whole number below this; one in ten starts again once.
    Counter(u64),
    /// Grows by fractions.
    Seconds,
    /// Two decimals, up and down.
    Gauge,
    One,
}

/// A series of the data.
struct Series {
    /// The label part of its message.
    labels: Vec<u8>,
    shape: Shape,
    seed: u64,
    /// Milliseconds behind the round, as scrapes are spread.
    phase: i64,
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn series(name: &str, labels: &[(&str, &str)], shape: Shape, number: usize) -> Series {
    let mut all = labels.to_vec();
    all.push(("__name__", name));
    all.push(("job", "bench"));
    all.sort_unstable();
    let mut bytes = Vec::new();
    let mut instance = "";
    for (name, value) in all {
        let mut label = Vec::new();
        field(&mut label, 1, name.as_bytes());
        field(&mut label, 2, value.as_bytes());
        field(&mut bytes, 1, &label);
        if name == "instance" {
            instance = value;
        }
    }
    // All series of an instance are scraped at once.
    let of_instance = instance.bytes().fold(7, |hash, b| mix(hash ^ u64::from(b)));
    Series {
        labels: bytes,
        shape,
        seed: number as u64,
        phase: (of_instance % STEP_MS as u64) as i64,
    }
}

fn all() -> Vec<Series> {
    let mut out = Vec::new();
    for group in 0..GROUPS {
        for instance in 0..INSTANCES {
            for code in CODES {
                let labels = [
                    ("group", &*format!("g{group}")),
                    ("instance", &*format!("i{instance}")),
                    ("code", code),
                ];
                let number = out.len();
                out.push(series(
                    "bench_requests_total",
                    &labels,
                    Shape::Counter(20),
                    number,
                ));
            }
        }
    }
    for handler in 0..HANDLERS {
        for instance in 0..HISTOGRAM_INSTANCES {
            let (handler, instance) = (format!("h{handler}"), format!("i{instance}"));
            let base = out.len();
            let own = [("handler", &*handler), ("instance", &*instance)];
            for (index, le) in BOUNDS.into_iter().enumerate() {
                let labels = [own[0], own[1], ("le", le)];
                // Wider buckets hold more.
                let shape = Shape::Counter(2 + index as u64);
                out.push(series("bench_latency_seconds_bucket", &labels, shape, base));
            }
            out.push(series(
                "bench_latency_seconds_sum",
                &own,
                Shape::Seconds,
                base,
            ));
            let shape = Shape::Counter(2 + BOUNDS.len() as u64 - 1);
            out.push(series("bench_latency_seconds_count", &own, shape, base));
        }
    }
    for instance in 0..INSTANCES {
        let instance = format!("i{instance}");
        for sensor in ["s0", "s1", "s2", "s3", "s4"] {
            let labels = [("instance", &*instance), ("sensor", sensor)];
            let number = out.len();
            out.push(series("bench_temperature", &labels, Shape::Gauge, number));
        }
        let version = format!("v{}", out.len() % 7);
        let labels = [("instance", &*instance), ("version", &*version)];
        out.push(series("bench_info", &labels, Shape::One, 0));
    }
    out
}

impl Series {
    /// All its values.
    fn values(&self) -> Vec<f64> {
        let random = |n: usize| mix(self.seed << 20 | n as u64);
        let reset = match self.seed % 10 {
            3 => 100 + (random(0) % 300) as usize,
            _ => usize::MAX,
        };
        let mut sum = 0.0;
        let mut value = |n: usize| {
            if n == reset {
                sum = 0.0;
            }
            match self.shape {
                // The same draw for all buckets of a histogram, so that they are cumulative.
                Shape::Counter(below) => sum += (random(n) % 1000 * below / 1000) as f64,
                Shape::Seconds => sum += (random(n) % 100_000) as f64 / 7000.0,
                Shape::Gauge => sum = (random(n / 3) % 10_000) as f64 / 100.0,
                Shape::One => sum = 1.0,
            }
            sum
        };
        (0..ROUNDS).map(&mut value).collect()
    }

    /// Its message with some of the samples.
    fn encode(&self, values: &[f64], first: usize, start: i64) -> Vec<u8> {
        let mut message = self.labels.clone();
        for (n, value) in values.iter().enumerate() {
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&value.to_le_bytes());
            sample.push(2 << 3);
            let t = start + (first + n) as i64 * STEP_MS + self.phase;
            varint(&mut sample, t as u64);
            field(&mut message, 2, &sample);
        }
        message
    }
}

async fn deliver(connection: &mut Connection, body: &[u8]) -> Result<()> {
    let packed = Bytes::from(snap::raw::Encoder::new().compress_vec(body)?);
    for _ in 0..RETRIES_MAX {
        let request = http::Request::post("/api/v1/write")
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0");
        let (status, answer) = connection.send(request, packed.clone()).await?;
        match status {
            200..=299 => return Ok(()),
            // Too much at once.
            429 | 503 => tokio::time::sleep(Duration::from_millis(50)).await,
            _ => bail!(
                "remote write: {status} {}",
                String::from_utf8_lossy(&answer)
            ),
        }
    }
    bail!("remote write was put off {RETRIES_MAX} times")
}

/// Sends everything, beginning at `start` (milliseconds), to each server; how many series and samples. With `later`, a sample of each series of
/// another metric follows at that time, so that what lies a block's length before it can be sealed.
pub(super) async fn send(
    urls: &[(Kind, String)],
    start: i64,
    later: Option<i64>,
) -> Result<(usize, usize)> {
    let mut connections = Vec::new();
    for (_, url) in urls {
        connections.push(Connection::new(split_url(url)?.0));
    }
    let all = all();
    let values: Vec<Vec<f64>> = all.iter().map(Series::values).collect();
    for first in (0..ROUNDS).step_by(ROUNDS_PER_REQUEST) {
        let rounds = first..(first + ROUNDS_PER_REQUEST).min(ROUNDS);
        for (chunk, values) in all
            .chunks(SERIES_PER_REQUEST)
            .zip(values.chunks(SERIES_PER_REQUEST))
        {
            let mut body = Vec::new();
            for (series, values) in chunk.iter().zip(values) {
                let message = series.encode(&values[rounds.clone()], first, start);
                field(&mut body, 1, &message);
            }
            for connection in &mut connections {
                deliver(connection, &body).await?;
            }
        }
    }
    if let Some(later) = later {
        let mut body = Vec::new();
        for number in 0..SERIES_PER_REQUEST {
            let labels = [("instance", &*format!("i{number}"))];
            let series = series("bench_later", &labels, Shape::One, number);
            field(&mut body, 1, &series.encode(&[1.0], 0, later));
        }
        for connection in &mut connections {
            deliver(connection, &body).await?;
        }
    }
    Ok((all.len(), all.len() * ROUNDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_what_the_reference_measured() {
        let all = all();
        assert_eq!(all.len(), 28_200);
        let buckets: Vec<Vec<f64>> = all[20_000..20_012].iter().map(Series::values).collect();
        for pair in buckets.windows(2) {
            assert!(pair[0].iter().zip(&pair[1]).all(|(a, b)| a <= b));
        }
        let resets = |s: &Series| s.values().windows(2).filter(|w| w[1] < w[0]).count();
        assert_eq!(resets(&all[3]), 1);
        assert_eq!(resets(&all[4]), 0);
    }
}
