//! The formats of `/federate`: which one a client gets, and how it is written.
//!
//! Source: Prometheus's `expfmt` (negotiation, text 0.0.4, the escaping of names), OpenMetrics 1.0, `io.prometheus.client` for protobuf.

use super::federate::{Point, PointValue};
use super::wire::{
    put_bytes, put_double, put_message, put_signed, put_unsigned, put_varint, put_zigzag,
};
use ingest::pushgateway::go_float;
use ingest::text::EscapingScheme;
use std::borrow::Cow;
use std::collections::BTreeMap;
use storage_engine::model::{BucketSpan, CounterResetHint, FloatHistogram, METRIC_NAME};

/// Kinds of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    OpenMetrics,
    Protobuf,
}

/// What a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    kind: Kind,
    escaping: EscapingScheme,
}

impl Format {
    /// As Prometheus chooses for `/federate`: protobuf or text, whichever the client likes better. OpenMetrics, which Prometheus never sends
    /// there, only where the client takes it and neither of the others.
    pub(super) fn negotiate(accept: &str) -> Format {
        let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(Clause::parse).collect();
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        let mut escaping = EscapingScheme::Underscores;
        let mut open_metrics = false;
        let mut takes_text = accept.trim().is_empty();
        for clause in &clauses {
            if let Some(asked) = clause
                .parameter("escaping")
                .and_then(EscapingScheme::from_name)
            {
                escaping = asked;
            }
            let version = clause.parameter("version").unwrap_or("");
            match clause.media {
                "application/vnd.google.protobuf"
                    if clause.parameter("proto") == Some("io.prometheus.client.MetricFamily")
                        && clause.parameter("encoding") == Some("delimited") =>
                {
                    return Format {
                        kind: Kind::Protobuf,
                        escaping,
                    };
                }
                "text/plain" if matches!(version, "" | "0.0.4") => {
                    return Format {
                        kind: Kind::Text,
                        escaping,
                    };
                }
                "application/openmetrics-text" if matches!(version, "" | "0.0.1" | "1.0.0") => {
                    open_metrics = true;
                }
                "*/*" | "text/*" => takes_text = true,
                _ => {}
            }
        }
        let kind = match open_metrics && !takes_text {
            true => Kind::OpenMetrics,
            false => Kind::Text,
        };
        Format { kind, escaping }
    }

    /// Its `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        macro_rules! with_escaping {
            ($media:literal) => {
                match self.escaping {
                    EscapingScheme::AllowUtf8 => concat!($media, "; escaping=allow-utf-8"),
                    EscapingScheme::Underscores => concat!($media, "; escaping=underscores"),
                    EscapingScheme::Dots => concat!($media, "; escaping=dots"),
                    EscapingScheme::Values => concat!($media, "; escaping=values"),
                }
            };
        }
        match self.kind {
            Kind::Text => with_escaping!("text/plain; version=0.0.4; charset=utf-8"),
            Kind::OpenMetrics => {
                with_escaping!("application/openmetrics-text; version=1.0.0; charset=utf-8")
            }
            Kind::Protobuf => with_escaping!(
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            ),
        }
    }
}

/// One part of `Accept`.
struct Clause<'a> {
    media: &'a str,
    parameters: &'a str,
    quality: f64,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Clause<'a>> {
        let (media, parameters) = text.split_once(';').unwrap_or((text, ""));
        let mut clause = Clause {
            media: media.trim(),
            parameters,
            quality: 1.0,
        };
        if let Some(quality) = clause.parameter("q") {
            clause.quality = quality.parse().ok()?;
        }
        (!clause.media.is_empty() && clause.quality > 0.0).then_some(clause)
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters
            .split(';')
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim())
    }
}

/// Writes pages.
pub(super) struct Page;

impl Page {
    /// The page of points that are sorted by name.
    pub(super) fn write(
        points: Vec<Point>,
        external: &BTreeMap<String, String>,
        format: Format,
    ) -> Vec<u8> {
        let rows = points
            .iter()
            .map(|point| Row::of(point, external, format.escaping));
        match format.kind {
            Kind::Protobuf => protobuf(rows),
            kind => text(rows, format.escaping, kind == Kind::OpenMetrics).into_bytes(),
        }
    }
}

/// A point with its labels as they go out.
struct Row<'a> {
    name: Cow<'a, str>,
    labels: Vec<(Cow<'a, str>, &'a str)>,
    point: &'a Point,
}

impl<'a> Row<'a> {
    fn of(
        point: &'a Point,
        external: &'a BTreeMap<String, String>,
        escaping: EscapingScheme,
    ) -> Row<'a> {
        let own = point.labels.iter().filter(|(name, _)| *name != METRIC_NAME);
        let missing = external
            .iter()
            .filter(|(name, _)| point.labels.get(name).is_none())
            .map(|(name, value)| (name.as_str(), value.as_str()));
        Row {
            name: escaped(point.labels.metric_name().unwrap_or(""), escaping),
            labels: own
                .chain(missing)
                .map(|(name, value)| (escaped(name, escaping), value))
                .collect(),
            point,
        }
    }
}

fn text<'a>(
    rows: impl Iterator<Item = Row<'a>>,
    escaping: EscapingScheme,
    open_metrics: bool,
) -> String {
    let mut out = String::new();
    let mut last = None;
    let kind = if open_metrics { "unknown" } else { "untyped" };
    for row in rows {
        let PointValue::Float(value) = row.point.value else {
            // No text format has native histograms.
            continue;
        };
        let quoted = escaping == EscapingScheme::AllowUtf8 && !is_legacy(&row.name, true);
        let name = match quoted {
            true => {
                let mut name = String::new();
                push_quoted(&mut name, &row.name);
                name
            }
            false => row.name.clone().into_owned(),
        };
        if last.as_ref() != Some(&name) {
            out.push_str(&format!("# TYPE {name} {kind}\n"));
            last = Some(name.clone());
        }
        let mut separator = '{';
        if quoted {
            out.push('{');
            separator = ',';
        }
        out.push_str(&name);
        for (label, value) in &row.labels {
            out.push(separator);
            separator = ',';
            match is_legacy(label, false) {
                true => out.push_str(label),
                false => push_quoted(&mut out, label),
            }
            out.push('=');
            push_quoted(&mut out, value);
        }
        if separator == ',' {
            out.push('}');
        }
        out.push(' ');
        let number = go_float(value);
        out.push_str(&number);
        let t = row.point.time;
        if open_metrics {
            if !number.contains(['.', 'e', 'N', 'I']) {
                out.push_str(".0");
            }
            let sign = if t < 0 { "-" } else { "" };
            let t = t.unsigned_abs();
            out.push_str(&format!(" {sign}{}.{:03}\n", t / 1000, t % 1000));
        } else {
            out.push_str(&format!(" {t}\n"));
        }
    }
    if open_metrics {
        out.push_str("# EOF\n");
    }
    out
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// `MetricType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FamilyType {
    Untyped = 3,
    Histogram = 4,
    GaugeHistogram = 5,
}

impl FamilyType {
    fn of(value: &PointValue) -> FamilyType {
        match value {
            PointValue::Float(_) => FamilyType::Untyped,
            PointValue::Histogram(h) if h.counter_reset_hint == CounterResetHint::Gauge => {
                FamilyType::GaugeHistogram
            }
            PointValue::Histogram(_) => FamilyType::Histogram,
        }
    }
}

fn protobuf<'a>(rows: impl Iterator<Item = Row<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut family: Vec<u8> = Vec::new();
    let mut of = None;
    let ship = |family: &mut Vec<u8>, out: &mut Vec<u8>| {
        if !family.is_empty() {
            put_varint(out, family.len() as u64);
            out.append(family);
        }
    };
    for row in rows {
        let kind = FamilyType::of(&row.point.value);
        let own = (row.name.clone(), kind);
        if of.as_ref() != Some(&own) {
            ship(&mut family, &mut out);
            put_bytes(&mut family, 1, row.name.as_bytes());
            put_unsigned(&mut family, 3, kind as u64);
            of = Some(own);
        }
        put_message(&mut family, 4, |metric| put_metric(metric, &row));
    }
    ship(&mut family, &mut out);
    out
}

fn put_metric(metric: &mut Vec<u8>, row: &Row<'_>) {
    for (name, value) in &row.labels {
        put_message(metric, 1, |label| {
            put_bytes(label, 1, name.as_bytes());
            put_bytes(label, 2, value.as_bytes());
        });
    }
    match &row.point.value {
        PointValue::Float(value) => put_message(metric, 5, |out| put_double(out, 1, *value)),
        PointValue::Histogram(_) => {}
    }
    put_signed(metric, 6, row.point.time);
    if let PointValue::Histogram(histogram) = &row.point.value {
        put_message(metric, 7, |out| put_histogram(out, histogram));
    }
}

fn put_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    put_double(out, 2, histogram.sum);
    put_double(out, 4, histogram.count);
    put_zigzag(out, 5, i64::from(histogram.schema));
    put_double(out, 6, histogram.zero_threshold);
    put_double(out, 8, histogram.zero_count);
    put_spans(out, 9, &histogram.negative_spans);
    for count in &histogram.negative_buckets {
        put_double(out, 11, *count);
    }
    put_spans(out, 12, &histogram.positive_spans);
    for count in &histogram.positive_buckets {
        put_double(out, 14, *count);
    }
    if histogram.positive_spans.is_empty()
        && histogram.negative_spans.is_empty()
        && histogram.zero_threshold == 0.0
        && histogram.zero_count == 0.0
    {
        // A span of nothing tells a native histogram without observations from a classic one.
        let nothing = [BucketSpan {
            offset: 0,
            length: 0,
        }];
        put_spans(out, 12, &nothing);
    }
}

fn put_spans(out: &mut Vec<u8>, field: u32, spans: &[BucketSpan]) {
    for span in spans {
        put_message(out, field, |out| {
            put_zigzag(out, 1, i64::from(span.offset));
            put_unsigned(out, 2, u64::from(span.length));
        });
    }
}

fn is_legacy(name: &str, colons: bool) -> bool {
    !name.is_empty()
        && name
            .char_indices()
            .all(|(at, c)| is_legacy_char(at, c, colons))
}

fn is_legacy_char(at: usize, c: char, colons: bool) -> bool {
    c.is_ascii_alphabetic() || c == '_' || (c == ':' && colons) || (c.is_ascii_digit() && at > 0)
}

/// A name in the scheme that the client asked for; names of labels by the rules of names of metrics, as in Prometheus.
fn escaped(name: &str, scheme: EscapingScheme) -> Cow<'_, str> {
    let legacy = is_legacy(name, true);
    let valid = |at: usize, c: char| is_legacy_char(at, c, true);
    match scheme {
        EscapingScheme::AllowUtf8 => Cow::Borrowed(name),
        EscapingScheme::Underscores | EscapingScheme::Values if legacy => Cow::Borrowed(name),
        EscapingScheme::Underscores => name
            .char_indices()
            .map(|(at, c)| if valid(at, c) { c } else { '_' })
            .collect(),
        EscapingScheme::Dots => {
            let mut out = String::with_capacity(name.len() + 8);
            for (at, c) in name.char_indices() {
                match c {
                    '_' => out.push_str("__"),
                    '.' => out.push_str("_dot_"),
                    c if valid(at, c) => out.push(c),
                    _ => out.push_str("__"),
                }
            }
            Cow::Owned(out)
        }
        EscapingScheme::Values => {
            let mut out = String::from("U__");
            for (at, c) in name.char_indices() {
                match c {
                    '_' => out.push_str("__"),
                    c if valid(at, c) => out.push(c),
                    c => out.push_str(&format!("_{:x}_", u32::from(c))),
                }
            }
            Cow::Owned(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_prometheus_gives_them() {
        const PROTO: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, kind, escaping) in [
            ("", Kind::Text, "underscores"),
            ("*/*", Kind::Text, "underscores"),
            (
                "application/openmetrics-text;version=1.0.0,text/plain;q=0.1",
                Kind::Text,
                "underscores",
            ),
            (
                "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
                Kind::Text,
                "underscores",
            ),
            (
                "application/openmetrics-text",
                Kind::OpenMetrics,
                "underscores",
            ),
            (PROTO, Kind::Protobuf, "underscores"),
            (
                "text/plain;version=0.0.4;q=0.5;escaping=values",
                Kind::Text,
                "values",
            ),
            (
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.9,text/plain;version=0.0.4;q=0.2",
                Kind::Text,
                "allow-utf-8",
            ),
        ] {
            let format = Format::negotiate(accept);
            assert_eq!(format.kind, kind, "{accept}");
            assert!(format.content_type().ends_with(escaping), "{accept}");
        }
        let both = format!("text/plain;version=0.0.4;q=0.5,{PROTO};q=0.6;escaping=dots");
        let format = Format::negotiate(&both);
        assert_eq!(
            (format.kind, format.escaping),
            (Kind::Protobuf, EscapingScheme::Dots)
        );
    }

    #[test]
    fn names_are_escaped_as_in_go() {
        for (name, scheme, expected) in [
            ("a.b_c-d", EscapingScheme::Underscores, "a_b_c_d"),
            ("a.b_c-d", EscapingScheme::Dots, "a_dot_b__c__d"),
            ("a.b_c", EscapingScheme::Values, "U__a_2e_b__c"),
            ("a_b:c", EscapingScheme::Values, "a_b:c"),
            ("a_b", EscapingScheme::Dots, "a__b"),
            ("1a", EscapingScheme::Underscores, "_a"),
            ("é", EscapingScheme::Values, "U___e9_"),
            ("a.b", EscapingScheme::AllowUtf8, "a.b"),
        ] {
            assert_eq!(escaped(name, scheme), expected, "{name} {scheme:?}");
        }
    }
}
