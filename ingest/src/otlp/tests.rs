//! Requests in JSON and protobuf, as the series that they become.

use super::*;
use crate::wire::{Reader, started_sample};
use std::fmt::Write;

/// One line a series of a message: labels, samples with their starts, what else it has.
fn lines(message: &[u8]) -> Vec<String> {
    let mut symbols = Vec::new();
    let mut series = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("Request").unwrap() {
        let bytes = reader.bytes().unwrap();
        match tag.field {
            4 => symbols.push(String::from_utf8(bytes.to_vec()).unwrap()),
            _ => series.push(bytes),
        }
    }
    let text = |reader: &mut Reader<'_>| symbols[reader.varint().unwrap() as usize].clone();
    let line = |message: &&[u8]| {
        let mut line = String::new();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag("TimeSeries").unwrap() {
            let part = reader.bytes().unwrap();
            match tag.field {
                1 => {
                    let mut labels = Reader::new(part);
                    while !labels.at_end() {
                        let (name, value) = (text(&mut labels), text(&mut labels));
                        write!(line, "{name}={value} ").unwrap();
                    }
                }
                2 => {
                    let (time, value, start) = started_sample(part).unwrap();
                    write!(line, "| {value} @{time}").unwrap();
                    if start != 0 {
                        write!(line, " since {start}").unwrap();
                    }
                }
                3 => {
                    let h = crate::remote_write::histogram_of(part).unwrap();
                    write!(line, "| {:?} {:?}", h.positive_spans, h.positive_buckets).unwrap();
                }
                4 => line.push_str(" exemplar"),
                _ => {
                    let mut metadata = Reader::new(part);
                    while let Some(tag) = metadata.tag("Metadata").unwrap() {
                        match tag.field {
                            1 => write!(line, " type {}", metadata.varint().unwrap()).unwrap(),
                            _ => write!(line, " {:?}", text(&mut metadata)).unwrap(),
                        }
                    }
                }
            }
        }
        line
    };
    series.iter().map(line).collect()
}

fn from_json(text: &str, settings: &OtlpSettings) -> Translated {
    let mut body = text.as_bytes().to_vec();
    translate(&mut body, OtlpEncoding::Json, settings).unwrap()
}

const REQUEST: &str = r#"{"resourceMetrics": [{
  "resource": {"attributes": [
    {"key": "service.name", "value": {"stringValue": "shop"}},
    {"key": "service.namespace", "value": {"stringValue": "eu"}},
    {"key": "service.instance.id", "value": {"stringValue": "i1"}},
    {"key": "host.name", "value": {"stringValue": "h"}}]},
  "schemaUrl": "ignored",
  "scopeMetrics": [{
    "scope": {"name": "lib", "version": "2", "attributes": [{"key": "a", "value": {"intValue": "7"}}]},
    "schemaUrl": "u",
    "metrics": [
      {"name": "http.requests", "unit": "1", "description": "Requests.", "sum": {
        "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
        {"attributes": [{"key": "http.method", "value": {"stringValue": "GET"}}], "asInt": "5",
         "startTimeUnixNano": "1000000000", "timeUnixNano": "2000000000"}]}},
      {"name": "temperature", "unit": "Cel", "gauge": {"dataPoints": [
        {"asDouble": 21.5, "timeUnixNano": 3000000000}, {"flags": 1, "timeUnixNano": "4000000000"}]}},
      {"name": "latency", "unit": "s", "histogram": {
        "aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "dataPoints": [
        {"count": "3", "sum": 1.5, "bucketCounts": ["1", "2", "0"], "explicitBounds": [0.1, 1], "timeUnixNano": "5000000000",
         "exemplars": [{"asDouble": 0.05, "timeUnixNano": "5000000000", "traceId": "0102"}]}]}},
      {"name": "size", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
        {"count": 3, "sum": 9, "scale": 0, "positive": {"offset": 1, "bucketCounts": ["1", "2"]}, "timeUnixNano": "5000000000"}]}},
      {"name": "old", "summary": {"dataPoints": [
        {"count": 2, "sum": "NaN", "quantileValues": [{"quantile": 0.5, "value": 1}], "timeUnixNano": "6000000000"}]}},
      {"name": "diff", "sum": {"aggregationTemporality": 1, "dataPoints": [{"asInt": 1}]}},
      {"name": "empty", "gauge": {"dataPoints": []}}
    ]}]}]}"#;

#[test]
fn a_request_becomes_series() {
    let done = from_json(REQUEST, &OtlpSettings::default());
    let who = "instance=i1 job=eu/shop ";
    let expected = [
        format!("__name__=http_requests_total http_method=GET {who}| 5 @2000 since 1000 type 1 \"Requests.\" \"\""),
        format!("__name__=temperature_celsius {who}| 21.5 @3000 type 2 \"\" \"celsius\""),
        format!("__name__=temperature_celsius {who}| NaN @4000 type 2 \"\" \"celsius\""),
        format!("__name__=latency_seconds_sum {who}| 1.5 @5000 type 3 \"\" \"seconds\""),
        format!("__name__=latency_seconds_count {who}| 3 @5000 type 3 \"\" \"seconds\""),
        "__name__=latency_seconds_bucket instance=i1 job=eu/shop le=0.1 | 1 @5000 exemplar type 3 \"\" \"seconds\"".to_owned(),
        "__name__=latency_seconds_bucket instance=i1 job=eu/shop le=1 | 3 @5000 type 3 \"\" \"seconds\"".to_owned(),
        "__name__=latency_seconds_bucket instance=i1 job=eu/shop le=+Inf | 3 @5000 type 3 \"\" \"seconds\"".to_owned(),
        format!("__name__=size {who}| [BucketSpan {{ offset: 2, length: 2 }}] [1.0, 2.0] type 3 \"\" \"\""),
        format!("__name__=old_sum {who}| NaN @6000 type 5 \"\" \"\""),
        format!("__name__=old_count {who}| 2 @6000 type 5 \"\" \"\""),
        "__name__=old instance=i1 job=eu/shop quantile=0.5 | 1 @6000 type 5 \"\" \"\"".to_owned(),
        // The point of `diff` has no time: the resource is known since then.
        "__name__=target_info host_name=h instance=i1 job=eu/shop | 1 @0".to_owned(),
        "__name__=target_info host_name=h instance=i1 job=eu/shop | 1 @6000 type 2 \"Target metadata\" \"\"".to_owned(),
    ];
    assert_eq!(lines(&done.message), expected);
    assert_eq!((done.points, done.lost), (6, 1));
    assert_eq!(
        done.faults,
        [
            "invalid temporality and type combination for metric \"diff\"",
            "empty data points. empty is dropped"
        ]
    );
}

#[test]
fn settings_choose_labels_and_kinds() {
    let settings = OtlpSettings {
        promoted: vec!["host.name".to_owned()],
        keep_identifying: true,
        histograms_to_native: true,
        promote_scope: true,
        label_names: LabelNames {
            strategy: Strategy::NoTranslation,
            key_before_underscore: true,
            keep_underscores: true,
        },
        ..OtlpSettings::default()
    };
    let all = lines(&from_json(REQUEST, &settings).message);
    let who = "host.name=h http.method=GET instance=i1 job=eu/shop otel_scope_a=7 otel_scope_name=lib otel_scope_schema_url=u otel_scope_version=2 ";
    assert!(
        all[0].starts_with(&format!("__name__=http.requests {who}| 5")),
        "{}",
        all[0]
    );
    assert!(
        all[3].contains("| [BucketSpan { offset: 0, length: 2 }] [1.0, 2.0] exemplar"),
        "{}",
        all[3]
    );
    let target = "__name__=target_info host.name=h instance=i1 job=eu/shop service.instance.id=i1 service.name=shop service.namespace=eu ";
    assert!(all.last().unwrap().starts_with(target), "{all:?}");
}

/// A protobuf message from its fields.
fn message(fields: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, wire_type, content) in fields {
        out.push(number << 3 | wire_type);
        if *wire_type == 2 {
            assert!(content.len() < 1 << 14);
            if content.len() >= 128 {
                out.push(content.len() as u8 | 0x80);
                out.push((content.len() >> 7) as u8);
            } else {
                out.push(content.len() as u8);
            }
        }
        out.extend_from_slice(content);
    }
    out
}

#[test]
fn protobuf_is_read_as_json_is() {
    let text = |t: &str| t.as_bytes().to_vec();
    let fixed = |n: u64| n.to_le_bytes().to_vec();
    let double = |n: f64| n.to_le_bytes().to_vec();
    let attribute = |key: &str, value: Vec<u8>| message(&[(1, 2, text(key)), (2, 2, value)]);
    let string = |t: &str| message(&[(1, 2, text(t))]);
    let list = message(&[(5, 2, message(&[(1, 2, message(&[(3, 0, vec![9])]))]))]);
    let resource = message(&[
        (1, 2, attribute("service.name", string("s"))),
        (1, 2, attribute("x", list)),
    ]);
    let exemplar = message(&[
        (2, 1, fixed(7_000_000)),
        (6, 1, fixed(1)),
        (5, 2, vec![0xab; 2]),
        (4, 2, vec![0; 2]),
    ]);
    let number = message(&[
        (7, 2, attribute("a", string("b"))),
        (2, 1, fixed(1_000_000)),
        (3, 1, fixed(7_000_000)),
        (6, 1, fixed(3)),
        (5, 2, exemplar),
    ]);
    let sum = message(&[(1, 2, number), (2, 0, vec![2]), (3, 0, vec![1])]);
    let counts: Vec<u8> = [1_u64, 0, 4].iter().flat_map(|n| n.to_le_bytes()).collect();
    let histogram = message(&[
        (3, 1, fixed(8_000_000)),
        (4, 1, fixed(5)),
        (5, 1, double(2.5)),
        (6, 2, counts),
        (7, 1, double(1.0)),
        (7, 1, double(2.0)),
    ]);
    let histogram = message(&[(1, 2, histogram), (2, 0, vec![2])]);
    // Offset -1 and scale 1 as zigzag.
    let buckets = message(&[(1, 0, vec![1]), (2, 2, vec![1, 0, 2])]);
    let exponential = message(&[
        (3, 1, fixed(9_000_000)),
        (4, 1, fixed(3)),
        (6, 0, vec![2]),
        (8, 2, buckets),
    ]);
    let exponential = message(&[(1, 2, exponential), (2, 0, vec![2])]);
    let quantile = message(&[(1, 1, double(0.9)), (2, 1, double(4.0))]);
    let summary = message(&[
        (3, 1, fixed(9_000_000)),
        (4, 1, fixed(2)),
        (5, 1, double(6.0)),
        (6, 2, quantile),
    ]);
    let summary = message(&[(1, 2, summary)]);
    let metric = |name: &str, field, data| {
        message(&[(1, 2, text(name)), (3, 2, text("s")), (field, 2, data)])
    };
    let scope = message(&[
        (1, 2, message(&[(1, 2, text("lib"))])),
        (2, 2, metric("n", 7, sum)),
        (2, 2, metric("h", 9, histogram)),
        (2, 2, metric("e", 10, exponential)),
        (2, 2, metric("q", 11, summary)),
    ]);
    let mut body = message(&[(1, 2, message(&[(1, 2, resource), (2, 2, scope)]))]);
    let same = r#"{"resourceMetrics": [{"resource": {"attributes": [
        {"key": "service.name", "value": {"stringValue": "s"}},
        {"key": "x", "value": {"arrayValue": {"values": [{"intValue": 9}]}}}]},
      "scopeMetrics": [{"scope": {"name": "lib"}, "metrics": [
        {"name": "n", "unit": "s", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
          {"attributes": [{"key": "a", "value": {"stringValue": "b"}}], "startTimeUnixNano": 1000000, "timeUnixNano": 7000000, "asInt": 3,
           "exemplars": [{"timeUnixNano": 7000000, "asInt": 1, "traceId": "abab", "spanId": "0000"}]}]}},
        {"name": "h", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [
          {"timeUnixNano": 8000000, "count": 5, "sum": 2.5, "bucketCounts": [1, 0, 4], "explicitBounds": [1, 2]}]}},
        {"name": "e", "unit": "s", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
          {"timeUnixNano": 9000000, "count": 3, "scale": 1, "positive": {"offset": -1, "bucketCounts": [1, 0, 2]}}]}},
        {"name": "q", "unit": "s", "summary": {"dataPoints": [
          {"timeUnixNano": 9000000, "count": 2, "sum": 6, "quantileValues": [{"quantile": 0.9, "value": 4}]}]}}]}]}]}"#;
    let mut text = same.as_bytes().to_vec();
    assert_eq!(
        protobuf::read(&body).unwrap(),
        json::read(&mut text).unwrap()
    );
    let settings = OtlpSettings::default();
    let done = translate(&mut body, OtlpEncoding::Protobuf, &settings).unwrap();
    assert_eq!(done, from_json(same, &settings));
    assert_eq!(done.points, 4);
    assert!(lines(&done.message).contains(
        &"__name__=target_info job=s x=[9] | 1 @9 type 2 \"Target metadata\" \"\"".to_owned()
    ));
    // Cut anywhere, or with a bit flipped, it is an error or another request, nothing worse.
    for at in 0..body.len() {
        let _ = protobuf::read(&body[..at]);
        for bit in 0..8 {
            let mut damaged = body.clone();
            damaged[at] ^= 1 << bit;
            let _ = translate(&mut damaged, OtlpEncoding::Protobuf, &settings);
        }
    }
}

#[test]
fn what_is_nested_too_deeply_is_refused() {
    let mut deep = b"{\"resourceMetrics\":".to_vec();
    deep.extend(std::iter::repeat_n(b'[', 100_000));
    let refused = translate(&mut deep, OtlpEncoding::Json, &OtlpSettings::default());
    assert_eq!(refused.unwrap_err(), "nested deeper than 64 levels");
    let mut value = message(&[(1, 2, Vec::new())]);
    for _ in 0..100 {
        value = message(&[(5, 2, message(&[(1, 2, value)]))]);
    }
    let attribute = message(&[(1, 2, b"k".to_vec()), (2, 2, value)]);
    let mut body = message(&[(1, 2, message(&[(1, 2, message(&[(1, 2, attribute)]))]))]);
    let refused = translate(&mut body, OtlpEncoding::Protobuf, &OtlpSettings::default());
    assert_eq!(
        refused.unwrap_err(),
        "attribute values nested deeper than 64 levels"
    );
    assert!(
        translate(
            &mut b"{".to_vec(),
            OtlpEncoding::Json,
            &OtlpSettings::default()
        )
        .is_err()
    );
}
