//! Pages built by hand: against the text page of the same metrics, and against damage.

use super::*;
use crate::text::{Dialect, Entry, LabelPair, Parser};
use std::collections::BTreeMap;
use storage_engine::model::{BucketSpan, CounterResetHint, Labels};

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A message under construction.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        varint(&mut self.0, field << 3 | 2);
        varint(&mut self.0, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn message(self, field: u64, message: Message) -> Self {
        self.bytes(field, &message.0)
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        varint(&mut self.0, field << 3);
        varint(&mut self.0, value);
        self
    }

    fn signed(self, field: u64, value: i64) -> Self {
        self.number(field, ((value << 1) ^ (value >> 63)) as u64)
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        varint(&mut self.0, field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn labels(mut self, field: u64, labels: &[(&str, &str)]) -> Self {
        for (name, value) in labels {
            let pair = Message::default()
                .bytes(1, name.as_bytes())
                .bytes(2, value.as_bytes());
            self = self.message(field, pair);
        }
        self
    }
}

fn m() -> Message {
    Message::default()
}

fn family(name: &str, kind: u64, metrics: &[Message]) -> Message {
    let mut out = m().bytes(1, name.as_bytes()).bytes(2, b"Some help.");
    out = out.number(3, kind);
    for metric in metrics {
        out = out.message(4, metric.clone());
    }
    out
}

fn page(families: &[Message]) -> Vec<u8> {
    let mut out = Vec::new();
    for family in families {
        varint(&mut out, family.0.len() as u64);
        out.extend_from_slice(&family.0);
    }
    out
}

fn time(seconds: i64, nanos: u64) -> Message {
    m().number(1, seconds as u64).number(2, nanos)
}

fn exemplar(trace: &str, value: f64, at: Option<i64>) -> Message {
    let message = m().labels(1, &[("trace_id", trace)]).double(2, value);
    match at {
        Some(at) => message.message(3, time(at, 500_000_000)),
        None => message,
    }
}

/// What a page gave, as texts.
#[derive(Default)]
struct Heard {
    families: Vec<String>,
    samples: BTreeMap<String, (FoundValue, Option<i64>)>,
    starts: BTreeMap<String, i64>,
    exemplars: BTreeMap<String, Vec<(String, f64, i64, bool)>>,
}

impl PageSink for Heard {
    type Error = PageError;

    fn family(&mut self, f: FamilyMetadata<'_>) {
        let kind = f.metric_type.as_str();
        self.families
            .push(format!("{} {kind} {:?} {:?}", f.name, f.help, f.unit));
    }

    fn sample(&mut self, sample: &FoundSample<'_>) -> Result<(), PageError> {
        let mut labels = Vec::new();
        labels_of_key(sample.key, &mut labels);
        let labels = Labels::from_pairs(labels).unwrap().to_string();
        if sample.start != 0 {
            self.starts.insert(labels.clone(), sample.start);
        }
        let shown = sample.exemplars.iter().map(|e| {
            let trace = e.labels.value("trace_id").to_owned();
            (trace, e.value, e.timestamp, e.timed)
        });
        let shown: Vec<_> = shown.collect();
        if !shown.is_empty() {
            self.exemplars.insert(labels.clone(), shown);
        }
        let value = (sample.value.clone(), sample.timestamp);
        let twice = self.samples.insert(labels, value);
        assert!(twice.is_none());
        Ok(())
    }
}

fn hear(page: &[u8], native: bool, classic: bool) -> Result<Heard, PageError> {
    let mut heard = Heard::default();
    let options = ReadOptions {
        native_histograms: native,
        classic_histograms: classic,
    };
    read_page(page, options, &mut heard)?;
    Ok(heard)
}

/// Series and value bits of a text page.
fn text_samples(page: &str) -> BTreeMap<String, (u64, Option<i64>)> {
    let mut parser = Parser::new(page.as_bytes(), Dialect::Prometheus);
    let mut out = BTreeMap::new();
    while let Some(entry) = parser.next_entry().unwrap() {
        if let Entry::Series(series) = entry {
            let mut labels: Vec<LabelPair<'_>> = Vec::new();
            series.labels(&mut labels).unwrap();
            let labels = Labels::from_pairs(labels).unwrap().to_string();
            out.insert(labels, (series.value.to_bits(), series.timestamp));
        }
    }
    out
}

fn bucket(bound: f64, count: u64) -> Message {
    m().number(1, count).double(2, bound)
}

/// A page with every classic type, and the same as text.
fn classic_page() -> (Vec<u8>, &'static str) {
    let labels = [("path", "/a\"b\\c\nd"), ("é", "ü")];
    let families = [
        family(
            "requests_total",
            0,
            &[
                m().labels(1, &labels).message(3, m().double(1, 1e21)),
                m().message(3, m().double(1, 0.1))
                    .number(6, 1_700_000_000_123),
            ],
        ),
        family(
            "temperature.celsius",
            1,
            &[
                m().message(2, m().double(1, -0.0)),
                m().labels(1, &[("x", "nan")])
                    .message(2, m().double(1, f64::from_bits(0x7ff0_0000_0000_0002))),
                m().labels(1, &[("x", "inf")])
                    .message(2, m().double(1, f64::NEG_INFINITY)),
            ],
        ),
        family("anything", 3, &[m().message(5, m().double(1, 42.0))]),
        family(
            "latency",
            2,
            &[m().message(
                4,
                m().number(1, 7)
                    .double(2, 3.5)
                    .message(3, m().double(1, 0.5).double(2, 0.25))
                    .message(3, m().double(1, 1.0).double(2, 2.0)),
            )],
        ),
        family(
            "sizes",
            4,
            &[
                m().labels(1, &[("k", "whole")]).message(
                    7,
                    m().number(1, 9)
                        .double(2, 12.5)
                        .message(3, bucket(0.005, 1))
                        .message(3, bucket(1.0, 3))
                        .message(3, bucket(1e6, 5))
                        .message(3, bucket(f64::INFINITY, 9)),
                ),
                m().labels(1, &[("k", "no end")]).message(
                    7,
                    m().number(1, 2).double(2, 1.0).message(3, bucket(5.0, 2)),
                ),
            ],
        ),
        family("empty", 1, &[]),
    ];
    let text = r#"# TYPE requests_total counter
requests_total{path="/a\"b\\c\nd","é"="ü"} 1e21
requests_total 0.1 1700000000123
# TYPE "temperature.celsius" gauge
{"temperature.celsius"} -0
{"temperature.celsius",x="nan"} NaN
{"temperature.celsius",x="inf"} -Inf
anything 42
# TYPE latency summary
latency{quantile="0.5"} 0.25
latency{quantile="1"} 2
latency_sum 3.5
latency_count 7
# TYPE sizes histogram
sizes_bucket{k="whole",le="0.005"} 1
sizes_bucket{k="whole",le="1"} 3
sizes_bucket{k="whole",le="1e+06"} 5
sizes_bucket{k="whole",le="+Inf"} 9
sizes_sum{k="whole"} 12.5
sizes_count{k="whole"} 9
sizes_bucket{k="no end",le="5"} 2
sizes_bucket{k="no end",le="+Inf"} 2
sizes_sum{k="no end"} 1
sizes_count{k="no end"} 2
"#;
    (page(&families), text)
}

#[test]
fn classic_types_are_what_their_text_is() {
    let (page, text) = classic_page();
    let bits = |heard: &Heard| -> BTreeMap<String, (u64, Option<i64>)> {
        let samples = heard.samples.iter();
        samples
            .map(|(labels, (value, at))| match value {
                FoundValue::Float(value) => (labels.clone(), (value.to_bits(), *at)),
                FoundValue::Histogram(_) => panic!("{labels} is classic"),
            })
            .collect()
    };
    let heard = hear(&page, false, false).unwrap();
    assert_eq!(bits(&heard), text_samples(text));
    assert_eq!(
        heard.families,
        [
            "requests_total counter \"Some help.\" \"\"",
            "temperature.celsius gauge \"Some help.\" \"\"",
            "anything unknown \"Some help.\" \"\"",
            "latency summary \"Some help.\" \"\"",
            "sizes histogram \"Some help.\" \"\"",
        ]
    );
    // Without native buckets it makes no difference that they are asked for.
    assert_eq!(bits(&hear(&page, true, true).unwrap()), bits(&heard));
}

fn native() -> Message {
    let span = |offset, length| m().signed(1, offset).number(2, length);
    let mut deltas = Vec::new();
    for delta in [2_i64, -2, 3, 1] {
        varint(&mut deltas, ((delta << 1) ^ (delta >> 63)) as u64);
    }
    m().number(1, 12)
        .double(2, 30.5)
        .message(
            3,
            bucket(1.0, 4).message(3, exemplar("of a bucket", 0.5, Some(7))),
        )
        .message(3, bucket(f64::INFINITY, 12))
        .signed(5, 3)
        .double(6, 1e-9)
        .number(7, 1)
        .message(9, span(0, 1))
        .signed(10, 2)
        .message(12, span(-3, 2))
        .message(12, span(5, 2))
        .bytes(13, &deltas)
        .message(15, time(1_600_000_000, 999_999_999))
}

#[test]
fn native_histograms_come_whole_and_their_classic_series_on_demand() {
    let page = page(&[family("h", 4, &[m().message(7, native())])]);
    let heard = hear(&page, true, false).unwrap();
    assert_eq!(heard.samples.len(), 1);
    let (FoundValue::Histogram(h), None) = &heard.samples["{__name__=\"h\"}"] else {
        panic!("not native");
    };
    // The bucket without observations is left out.
    let expected = FloatHistogram {
        integer: true,
        schema: 3,
        zero_threshold: 1e-9,
        zero_count: 1.0,
        count: 12.0,
        sum: 30.5,
        positive_spans: vec![
            BucketSpan {
                offset: -3,
                length: 1,
            },
            BucketSpan {
                offset: 6,
                length: 2,
            },
        ],
        positive_buckets: vec![2.0, 3.0, 4.0],
        negative_spans: vec![BucketSpan {
            offset: 0,
            length: 1,
        }],
        negative_buckets: vec![2.0],
        counter_reset_hint: CounterResetHint::Unknown,
        ..FloatHistogram::default()
    };
    assert!(h.same_bits(&expected), "{h:?}");
    assert_eq!(heard.starts["{__name__=\"h\"}"], 1_600_000_000_999);
    let both = hear(&page, true, true).unwrap();
    let names: Vec<&str> = both.samples.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "{__name__=\"h\"}",
            "{__name__=\"h_bucket\", le=\"+Inf\"}",
            "{__name__=\"h_bucket\", le=\"1.0\"}",
            "{__name__=\"h_count\"}",
            "{__name__=\"h_sum\"}",
        ]
    );
    let classic = hear(&page, false, false).unwrap();
    assert_eq!(classic.samples.len(), 4);
    assert!(!classic.samples.contains_key("{__name__=\"h\"}"));
}

#[test]
fn float_and_gauge_histograms_and_empty_ones() {
    let float = m()
        .double(4, 1.5)
        .double(2, 2.0)
        .double(6, 0.001)
        .message(12, m().signed(1, 0).number(2, 1))
        .double(14, 1.5);
    let empty = m().message(12, m().signed(1, 0).number(2, 0));
    let page = page(&[
        family("f", 5, &[m().message(7, float)]),
        family("e", 4, &[m().message(7, empty)]),
    ]);
    let heard = hear(&page, true, false).unwrap();
    let of = |name: &str| match &heard.samples[&format!("{{__name__=\"{name}\"}}")].0 {
        FoundValue::Histogram(h) => FloatHistogram::clone(h),
        FoundValue::Float(_) => panic!("{name} is native"),
    };
    let f = of("f");
    assert_eq!((f.integer, f.count), (false, 1.5));
    assert_eq!(f.counter_reset_hint, CounterResetHint::Gauge);
    let e = of("e");
    assert_eq!((e.count, e.positive_spans.len()), (0.0, 0));
}

#[test]
fn exemplars_go_where_prometheus_puts_them() {
    let own = native()
        .message(16, exemplar("late", 2.0, Some(9)))
        .message(16, exemplar("untimed", 2.0, None))
        .message(16, exemplar("early", 1.0, Some(8)));
    let page = page(&[
        family("own", 4, &[m().message(7, own)]),
        family("buckets", 4, &[m().message(7, native())]),
        family(
            "c",
            0,
            &[m().message(
                3,
                m().double(1, 1.0)
                    .message(2, exemplar("of a counter", 0.5, None)),
            )],
        ),
    ]);
    let heard = hear(&page, true, true).unwrap();
    let traces = |series: &str| {
        let found = heard.exemplars.get(series).cloned().unwrap_or_default();
        let shown = found
            .iter()
            .map(|(t, _, at, timed)| format!("{t} {at} {timed}"));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(
        traces("{__name__=\"own\"}"),
        ["early 8500 true", "late 9500 true"]
    );
    assert_eq!(traces("{__name__=\"buckets\"}"), ["of a bucket 7500 true"]);
    assert_eq!(
        traces("{__name__=\"own_bucket\", le=\"1.0\"}"),
        ["of a bucket 7500 true"]
    );
    assert_eq!(traces("{__name__=\"c\"}"), ["of a counter 0 false"]);
    assert_eq!(heard.exemplars.len(), 5);
}

#[test]
fn bad_pages_are_refused_in_words() {
    let error = |families: &[Message]| {
        hear(&page(families), true, true)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let gauge = || m().message(2, m().double(1, 1.0));
    assert_eq!(error(&[family("", 1, &[gauge()])]), "invalid metric name: ");
    assert_eq!(
        error(&[family("x", 9, &[gauge()])]),
        "unknown metric type for metric \"x\": 9"
    );
    let unit = |name: &str, kind| family(name, kind, &[gauge()]).bytes(5, b"seconds");
    assert_eq!(
        error(&[unit("x", 1)]),
        "unit \"seconds\" not a suffix of metric \"x\""
    );
    assert_eq!(
        error(&[unit("xseconds_total", 0)]),
        "unit \"seconds\" not a suffix of counter \"xseconds_total\""
    );
    assert!(
        hear(
            &page(&[unit("x_seconds_total", 0), unit("y_seconds", 1)]),
            true,
            true
        )
        .is_ok()
    );
    assert_eq!(
        error(&[family(
            "x",
            1,
            &[m().labels(1, &[("", "v")]).message(2, m())]
        )]),
        "invalid label name: "
    );
    let not_text = m().message(1, m().bytes(1, b"l").bytes(2, b"\xff"));
    assert_eq!(
        error(&[family("x", 1, &[not_text])]),
        "invalid label value: \u{fffd}"
    );
    let wrong = m().message(7, native().number(1, 99));
    assert!(
        error(&[family("h", 4, &[wrong])]).contains("observations"),
        "counts that do not add up"
    );
    assert_eq!(
        error(&[m().double(1, 1.0)]),
        "proto: wrong wireType = 1 for field Name"
    );
    assert_eq!(
        hear(&[5, 1], true, true)
            .map(|_| ())
            .unwrap_err()
            .to_string(),
        "unexpected EOF"
    );
}

#[test]
fn damage_is_an_error_or_another_page_but_never_a_panic() {
    let (mut good, _) = classic_page();
    good.extend(page(&[family("h", 4, &[m().message(7, native())])]));
    for end in 0..good.len() {
        let _ = hear_any(&good[..end]);
    }
    let mut read = 0;
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        read += u32::from(hear_any(&bad));
    }
    assert!(read > 0, "most flips change a number or a text");
}

/// Counts samples only: damage may make two series of one name.
fn hear_any(page: &[u8]) -> bool {
    struct Counter(u64);
    impl PageSink for Counter {
        type Error = PageError;
        fn family(&mut self, _: FamilyMetadata<'_>) {}
        fn sample(&mut self, sample: &FoundSample<'_>) -> Result<(), PageError> {
            let mut labels = Vec::new();
            labels_of_key(sample.key, &mut labels);
            self.0 += labels.len() as u64;
            Ok(())
        }
    }
    let options = ReadOptions {
        native_histograms: true,
        classic_histograms: true,
    };
    read_page(page, options, &mut Counter(0)).is_ok()
}
