//! Data with everything in it that a format could get wrong, and the queries over it: resets, staleness markers, NaN, infinities, minus zero,
//! jittered and sparse series, native histograms of all flavours, samples that come late.
//!
//! Promise: every server is sent the same samples in the same order. Sent as remote write 1.0, which both servers take. Not here: comparing
//! answers (`differ`).

use anyhow::{Result, bail};
use bytes::Bytes;
use loadgen::http_client::{Connection, split_url};
use loadgen::series::mix;

/// Milliseconds between samples of most series.
const STEP_MS: i64 = 30_000;
/// The staleness marker.
const STALE: u64 = 0x7ff0_0000_0000_0002;
/// Steps in one request. No series changes from native histograms to floats inside a request: ten steps divide all changes.
const STEPS_PER_REQUEST: i64 = 10;

/// One sample.
enum Value {
    Float(u64),
    Histogram(Histogram),
}

/// A native histogram; counts are absolute.
#[derive(Clone)]
struct Histogram {
    integer: bool,
    gauge: bool,
    schema: i64,
    zero_threshold: f64,
    zero_count: u64,
    sum: f64,
    /// Index of the first bucket, and counts from there on.
    positive: (i64, Vec<u64>),
    negative: (i64, Vec<u64>),
    bounds: Vec<f64>,
}

/// A series and what it has at step `n`.
struct Series {
    labels: Vec<(String, String)>,
    value: Box<dyn Fn(i64) -> Option<Value>>,
    /// Added to the time of each sample.
    jitter_ms: i64,
    /// Every second sample is sent when all others are there.
    late: bool,
}

impl Series {
    fn late(mut self) -> Series {
        self.late = true;
        self
    }
}

fn random(seed: u64, n: i64) -> u64 {
    mix(seed.wrapping_mul(0x9e37_79b9).wrapping_add(n as u64))
}

fn series(
    name: &str,
    labels: &[(&str, &str)],
    value: impl Fn(i64) -> Option<Value> + 'static,
) -> Series {
    let mut all: Vec<(String, String)> = labels
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    all.push(("__name__".to_owned(), name.to_owned()));
    all.sort();
    Series {
        labels: all,
        value: Box::new(value),
        jitter_ms: 0,
        late: false,
    }
}

fn float(value: f64) -> Option<Value> {
    Some(Value::Float(value.to_bits()))
}

/// A counter that is reset every 170 steps.
fn counter(seed: u64) -> impl Fn(i64) -> Option<Value> {
    move |n| {
        let since = n % 170;
        float(
            (0..=since)
                .map(|k| (random(seed, n - since + k) % 50) as f64)
                .sum(),
        )
    }
}

fn histogram(seed: u64, n: i64, integer: bool, gauge: bool) -> Histogram {
    let since = if gauge { n % 7 } else { n % 130 };
    let width = 3 + (since / 20) as usize + (seed % 3) as usize;
    let counts = |sign: u64, width: usize| -> Vec<u64> {
        (0..width as u64)
            .map(|bucket| {
                let steps = 0..=since;
                steps
                    .map(|k| random(seed ^ sign ^ (bucket << 8), n - since + k) % 4)
                    .sum()
            })
            .collect()
    };
    Histogram {
        integer,
        gauge,
        schema: 1 + (seed % 3) as i64,
        zero_threshold: 0.001,
        zero_count: since as u64,
        sum: (random(seed, n) % 10_000) as f64 / 7.0,
        positive: (-1 - since / 40, counts(1, width)),
        negative: (2, counts(2, (seed % 2) as usize * 2)),
        bounds: Vec::new(),
    }
}

fn custom(seed: u64, n: i64) -> Histogram {
    let bounds = match n / 100 % 2 {
        0 => vec![0.005, 0.1, 1.0, 2.5],
        _ => vec![0.005, 0.1, 1.0, 2.5, 33_554.431],
    };
    Histogram {
        schema: -53,
        zero_threshold: 0.0,
        zero_count: 0,
        positive: (
            0,
            (0..=bounds.len() as u64)
                .map(|b| n as u64 * (b + 1 + seed % 2))
                .collect(),
        ),
        negative: (0, Vec::new()),
        bounds,
        ..histogram(seed, n, true, false)
    }
}

fn all_series() -> Vec<Series> {
    let mut all = Vec::new();
    for (index, job) in ["a", "b", "c"].into_iter().enumerate() {
        let seed = index as u64 + 1;
        for instance in ["one:80", "two:80", "three:80"] {
            let seed = seed * 31 + instance.len() as u64;
            let labels = [("job", job), ("instance", instance)];
            all.push(series("special_requests_total", &labels, counter(seed)));
            let mut gauge = series("special_temperature", &labels, move |n| {
                float((random(seed, n) % 1000) as f64 / 10.0 - 20.0)
            });
            gauge.jitter_ms = (random(seed, 0) % 15_000) as i64;
            all.push(gauge);
            for (bound, le) in [(1, "0.1"), (2, "1"), (4, "10"), (5, "+Inf")] {
                let labels = [("job", job), ("instance", instance), ("le", le)];
                all.push(series("special_seconds_bucket", &labels, move |n| {
                    float((n * bound) as f64)
                }));
            }
            all.push(series("special_latency", &labels, move |n| {
                Some(Value::Histogram(histogram(seed, n, true, false)))
            }));
            all.push(series("special_latency_float", &labels, move |n| {
                Some(Value::Histogram(histogram(seed, n, false, false)))
            }));
            let labels = [labels[0], labels[1], ("region", job)];
            all.push(series("target_info", &labels, |_| float(1.0)));
            // Now and then a new version takes over.
            for version in 0..4 {
                let text = version.to_string();
                let labels = [labels[0], labels[1], labels[2], ("version", text.as_str())];
                all.push(series("special_build_info", &labels, move |n| {
                    match n - 130 * version {
                        0..130 => float(1.0),
                        130 => Some(Value::Float(STALE)),
                        _ => None,
                    }
                }));
            }
        }
        let labels = [
            ("job", job),
            ("Zone", "upper case sorts before the name"),
            ("ort", "köln\n\"\\"),
        ];
        all.push(series("special_constant", &labels, |_| float(-0.0)));
        // One of them for each job, to join with.
        let labels = [("job", job), ("Zone", "east")];
        all.push(series("special_limit", &labels, move |n| {
            float((n / 20) as f64 + index as f64)
        }));
        all.push(series("special_latency_gauge", &[("job", job)], move |n| {
            Some(Value::Histogram(histogram(seed, n, true, true)))
        }));
        all.push(series(
            "special_latency_custom",
            &[("job", job)],
            move |n| Some(Value::Histogram(custom(seed, n))),
        ));
        // It goes away and comes back.
        all.push(series("special_up", &[("job", job)], move |n| {
            match n % 60 {
                0..=39 => float((n % 5) as f64),
                40 => Some(Value::Float(STALE)),
                _ => None,
            }
        }));
        // Once every half hour.
        all.push(series("special_sparse", &[("job", job)], |n| {
            (n % 60 == 3).then(|| float(n as f64))?
        }));
        all.push(series("special_out_of_order", &[("job", job)], counter(seed + 7)).late());
        let late = series("special_out_of_order_latency", &[("job", job)], move |n| {
            Some(Value::Histogram(histogram(seed + 7, n, true, false)))
        });
        all.push(late.late());
        // Floats and histograms by turns, with a marker after a histogram.
        all.push(series("special_mixed", &[("job", job)], move |n| {
            match n % 40 {
                0..=15 => float(n as f64 / 3.0),
                16..=29 => Some(Value::Histogram(histogram(seed, n, true, false))),
                30 => Some(Value::Float(STALE)),
                _ => None,
            }
        }));
    }
    let odd = [
        f64::NAN.to_bits(),
        f64::INFINITY.to_bits(),
        f64::NEG_INFINITY.to_bits(),
        (-0.0_f64).to_bits(),
        0.0_f64.to_bits(),
        1,
        f64::MAX.to_bits(),
        0x7ff8_0000_dead_beef,
        0xfff8_0000_0000_0001,
        f64::MIN_POSITIVE.to_bits(),
        1.5_f64.to_bits(),
    ];
    for (index, bits) in odd.into_iter().enumerate() {
        let kind = index.to_string();
        let labels = [("kind", kind.as_str())];
        all.push(series("special_odd", &labels, move |n| {
            Some(Value::Float(if n % 3 == 0 {
                bits
            } else {
                ((n + index as i64) as f64).to_bits()
            }))
        }));
    }
    // Prometheus reads the series of its head in the order in which they came: that of their labels leaves sums and ranks no choice.
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn put_varint(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn put_fixed(out: &mut Vec<u8>, field: u64, bits: u64) {
    varint(out, field << 3 | 1);
    out.extend(bits.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

impl Histogram {
    /// One side: field numbers of its spans, integer deltas and float counts.
    fn put_side(&self, out: &mut Vec<u8>, (offset, counts): &(i64, Vec<u64>), fields: [u64; 3]) {
        if counts.is_empty() {
            return;
        }
        let mut span = Vec::new();
        put_varint(&mut span, 1, zigzag(*offset));
        put_varint(&mut span, 2, counts.len() as u64);
        put_bytes(out, fields[0], &span);
        let mut packed = Vec::new();
        let mut before = 0;
        for &count in counts {
            if self.integer {
                varint(&mut packed, zigzag(count as i64 - before));
                before = count as i64;
            } else {
                packed.extend((count as f64 / 2.0).to_le_bytes());
            }
        }
        put_bytes(out, fields[if self.integer { 1 } else { 2 }], &packed);
    }

    fn encode(&self, t: i64) -> Vec<u8> {
        let mut out = Vec::new();
        let buckets = self.positive.1.iter().chain(&self.negative.1).sum::<u64>();
        let count = buckets + self.zero_count;
        if self.integer {
            put_varint(&mut out, 1, count);
        } else {
            put_fixed(&mut out, 2, (count as f64 / 2.0).to_bits());
        }
        put_fixed(&mut out, 3, self.sum.to_bits());
        put_varint(&mut out, 4, zigzag(self.schema));
        put_fixed(&mut out, 5, self.zero_threshold.to_bits());
        if self.integer {
            put_varint(&mut out, 6, self.zero_count);
        } else {
            put_fixed(&mut out, 7, (self.zero_count as f64 / 2.0).to_bits());
        }
        self.put_side(&mut out, &self.negative, [8, 9, 10]);
        self.put_side(&mut out, &self.positive, [11, 12, 13]);
        if self.gauge {
            put_varint(&mut out, 14, 3);
        }
        put_varint(&mut out, 15, t as u64);
        if !self.bounds.is_empty() {
            let packed: Vec<u8> = self.bounds.iter().flat_map(|b| b.to_le_bytes()).collect();
            put_bytes(&mut out, 16, &packed);
        }
        out
    }
}

/// The part of a write request for one series and one sample.
fn encode(series: &Series, t: i64, value: &Value) -> Vec<u8> {
    let mut message = Vec::new();
    for (name, value) in &series.labels {
        let mut label = Vec::new();
        put_bytes(&mut label, 1, name.as_bytes());
        put_bytes(&mut label, 2, value.as_bytes());
        put_bytes(&mut message, 1, &label);
    }
    match value {
        Value::Float(bits) => {
            let mut sample = Vec::new();
            put_fixed(&mut sample, 1, *bits);
            put_varint(&mut sample, 2, t as u64);
            put_bytes(&mut message, 2, &sample);
        }
        Value::Histogram(histogram) => put_bytes(&mut message, 4, &histogram.encode(t)),
    }
    message
}

/// Does the query look at samples that came late?
pub(crate) fn is_about_late_samples(query: &str) -> bool {
    query.contains("out_of_order")
}

/// Sends all samples from `start` to `end` (milliseconds) to a server, request by request in the order of time, then the late ones; how many.
pub(crate) async fn send(base_url: &str, start: i64, end: i64) -> Result<u64> {
    let mut connection = Connection::new(split_url(base_url)?.0);
    let all = all_series();
    let mut sent = 0;
    let steps = (end - start) / STEP_MS;
    let rounds = [false, true].into_iter();
    let requests = rounds.flat_map(|late| {
        let steps = (0..steps).step_by(STEPS_PER_REQUEST as usize);
        steps.map(move |step| (late, step))
    });
    for (late, step) in requests {
        let mut body = Vec::new();
        for series in &all {
            for n in step..(step + STEPS_PER_REQUEST).min(steps) {
                if (series.late && n % 2 == 1) != late {
                    continue;
                }
                if let Some(value) = (series.value)(n) {
                    let t = start + n * STEP_MS + series.jitter_ms;
                    put_bytes(&mut body, 1, &encode(series, t, &value));
                    sent += 1;
                }
            }
        }
        let compressed = snap::raw::Encoder::new().compress_vec(&body)?;
        let request = http::Request::post("/api/v1/write")
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0");
        let (status, answer) = connection.send(request, Bytes::from(compressed)).await?;
        if status >= 300 {
            bail!(
                "remote write: {status} {}",
                String::from_utf8_lossy(&answer)
            );
        }
    }
    Ok(sent)
}

/// Queries that Prometheus's versions answer differently, by the last digit (how histograms are added up) or more (how far a rate of
/// histograms reaches over its ends, custom buckets that change): ferula follows a later version than 3.5. Asked of two servers of one version
/// only. None adds up several series: an instant query over the head does that in no fixed order, and the last digit follows.
pub(crate) const ARITHMETIC_QUERIES: &[&str] = &[
    "rate(special_latency[5m])",
    "increase(special_latency[2h])",
    "histogram_quantile(0.5, rate(special_latency[10m]))",
    "histogram_sum(increase(special_latency[1h]))",
    "histogram_avg(rate(special_latency[10m]))",
    "sum_over_time(special_latency[20m])",
    "rate(special_latency_float[5m])",
    "histogram_quantile(0.99, rate(special_latency_float[30m]))",
    "increase(special_out_of_order_latency[1h])",
    "avg_over_time(special_latency_gauge[10m])",
    "rate(special_latency_custom[10m])",
    "histogram_quantile(0.9, rate(special_latency_custom[5m]))",
];

/// Queries over this data that every version answers alike; each is asked at several moments and as a range.
pub(crate) const SPECIAL_QUERIES: &[&str] = &[
    "special_requests_total",
    "special_requests_total{job=\"b\"}[10m]",
    "rate(special_requests_total[5m])",
    "sum by (job) (rate(special_requests_total[10m]))",
    "increase(special_requests_total[1h])",
    "resets(special_requests_total[3h])",
    "changes(special_temperature[1h])",
    "special_temperature[5m]",
    "avg_over_time(special_temperature[30m])",
    "quantile_over_time(0.9, special_temperature[1h])",
    "deriv(special_temperature[10m])",
    "timestamp(special_temperature)",
    "special_temperature offset 1h",
    "max_over_time(special_temperature[2h:5m])",
    "special_odd",
    "special_odd[5m]",
    "special_odd{kind=~\"0|7|8\"}[10m]",
    "count_over_time(special_odd[1h])",
    "max_over_time(special_odd[10m])",
    "min_over_time(special_odd[10m])",
    "last_over_time(special_odd[10m])",
    "sum_over_time(special_odd{kind=\"9\"}[10m])",
    "1 / special_constant",
    "special_constant",
    "count by (ort, Zone) (special_constant)",
    "special_up",
    "special_up[40m]",
    "count(special_up)",
    "absent(special_up{job=\"a\"})",
    "present_over_time(special_up[30m])",
    "special_sparse",
    "special_sparse[3h]",
    "last_over_time(special_sparse[1h])",
    "histogram_quantile(0.9, rate(special_seconds_bucket[5m]))",
    "histogram_quantile(0.5, sum by (le, job) (rate(special_seconds_bucket[10m])))",
    "special_latency",
    "special_latency{job=\"a\"}[5m]",
    "resets(special_latency[3h])",
    "histogram_quantile(0.9, rate(special_latency[10m]))",
    "histogram_count(special_latency)",
    "histogram_fraction(0, 2, rate(special_latency[10m]))",
    "histogram_stddev(special_latency)",
    "special_latency_float",
    "resets(special_latency_float[3h])",
    "special_latency_gauge",
    "special_latency_gauge[5m]",
    "delta(special_latency_gauge[10m])",
    "special_latency_custom",
    "special_out_of_order",
    "special_out_of_order[20m]",
    "rate(special_out_of_order[5m])",
    "count_over_time(special_out_of_order[2h])",
    "special_out_of_order_latency",
    "special_out_of_order_latency[10m]",
    "histogram_count(special_out_of_order_latency)",
    "special_mixed",
    "special_mixed[20m]",
    "count_over_time(special_mixed[1h])",
    "{__name__=~\"special_[^o].*\", job=\"c\"}",
    "count by (__name__) ({__name__=~\"special.*\"})",
    "topk(3, special_temperature)",
    "special_requests_total and on(job) special_up",
    "group(special_odd) by (kind)",
    "label_replace(special_up, \"x\", \"$1\", \"job\", \"(.*)\")",
    "scalar(count(special_latency))",
];
