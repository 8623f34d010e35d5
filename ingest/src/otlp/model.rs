//! An OTLP metrics request as both encodings bring it: resources, scopes, metrics, points.
//!
//! The shapes are those of opentelemetry-proto 1.x, `opentelemetry/proto/collector/metrics/v1` and `metrics/v1`; the names of fields are those of its
//! JSON. Not here: reading (`protobuf`, `json`), meaning (`translate`).

use super::json;
use crate::json_number;
use serde::Deserialize;
use std::borrow::Cow;

/// Text of the request, borrowed where that is possible.
pub(super) type Text<'a> = Cow<'a, str>;

/// The request.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Export<'a> {
    #[serde(borrow)]
    pub(super) resource_metrics: Vec<ResourceMetrics<'a>>,
}

/// What one resource has.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ResourceMetrics<'a> {
    #[serde(borrow)]
    pub(super) resource: Resource<'a>,
    #[serde(borrow)]
    pub(super) scope_metrics: Vec<ScopeMetrics<'a>>,
}

/// Who sends.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Resource<'a> {
    #[serde(borrow)]
    pub(super) attributes: Vec<Attribute<'a>>,
}

/// What one instrumentation has.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScopeMetrics<'a> {
    #[serde(borrow)]
    pub(super) scope: Scope<'a>,
    #[serde(borrow)]
    pub(super) metrics: Vec<Metric<'a>>,
    #[serde(borrow)]
    pub(super) schema_url: Text<'a>,
}

/// An instrumentation.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Scope<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) version: Text<'a>,
    #[serde(borrow)]
    pub(super) attributes: Vec<Attribute<'a>>,
}

/// A metric; one of the five kinds is there.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metric<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) description: Text<'a>,
    #[serde(borrow)]
    pub(super) unit: Text<'a>,
    #[serde(borrow)]
    pub(super) gauge: Option<Numbers<'a>>,
    #[serde(borrow)]
    pub(super) sum: Option<Numbers<'a>>,
    #[serde(borrow)]
    pub(super) histogram: Option<Points<HistogramPoint<'a>>>,
    #[serde(borrow)]
    pub(super) exponential_histogram: Option<Points<ExponentialPoint<'a>>>,
    #[serde(borrow)]
    pub(super) summary: Option<Points<SummaryPoint<'a>>>,
}

/// How the points of a metric follow each other.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temporality {
    #[default]
    Unspecified,
    Delta,
    Cumulative,
}

/// A gauge or a sum.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Numbers<'a> {
    #[serde(borrow)]
    pub(super) data_points: Vec<NumberPoint<'a>>,
    #[serde(deserialize_with = "json::temporality")]
    pub(super) aggregation_temporality: Temporality,
    pub(super) is_monotonic: bool,
}

/// Points of another kind.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Points<P> {
    #[serde(default = "Vec::new")]
    pub(super) data_points: Vec<P>,
    #[serde(default, deserialize_with = "json::temporality")]
    pub(super) aggregation_temporality: Temporality,
}

impl<P> Default for Points<P> {
    fn default() -> Self {
        Points {
            data_points: Vec::new(),
            aggregation_temporality: Temporality::default(),
        }
    }
}

/// A number at a time.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NumberPoint<'a> {
    #[serde(borrow)]
    pub(super) attributes: Vec<Attribute<'a>>,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) start_time_unix_nano: u64,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) time_unix_nano: u64,
    #[serde(deserialize_with = "json_number::some_double")]
    pub(super) as_double: Option<f64>,
    #[serde(deserialize_with = "json_number::some_signed")]
    pub(super) as_int: Option<i64>,
    #[serde(borrow)]
    pub(super) exemplars: Vec<Exemplar<'a>>,
    pub(super) flags: u32,
}

/// A histogram with the bounds of its buckets.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HistogramPoint<'a> {
    #[serde(borrow)]
    pub(super) attributes: Vec<Attribute<'a>>,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) start_time_unix_nano: u64,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) time_unix_nano: u64,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) count: u64,
    #[serde(deserialize_with = "json_number::some_double")]
    pub(super) sum: Option<f64>,
    #[serde(deserialize_with = "json_number::unsigned_list")]
    pub(super) bucket_counts: Vec<u64>,
    #[serde(deserialize_with = "json_number::double_list")]
    pub(super) explicit_bounds: Vec<f64>,
    #[serde(borrow)]
    pub(super) exemplars: Vec<Exemplar<'a>>,
    pub(super) flags: u32,
}

/// A histogram with exponential buckets.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ExponentialPoint<'a> {
    #[serde(borrow)]
    pub(super) attributes: Vec<Attribute<'a>>,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) start_time_unix_nano: u64,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) time_unix_nano: u64,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) count: u64,
    #[serde(deserialize_with = "json_number::some_double")]
    pub(super) sum: Option<f64>,
    pub(super) scale: i32,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) zero_count: u64,
    pub(super) positive: Buckets,
    pub(super) negative: Buckets,
    #[serde(borrow)]
    pub(super) exemplars: Vec<Exemplar<'a>>,
    pub(super) flags: u32,
}

/// Exponential buckets of one sign.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Buckets {
    pub(super) offset: i32,
    #[serde(deserialize_with = "json_number::unsigned_list")]
    pub(super) bucket_counts: Vec<u64>,
}

/// Quantiles that the sender computed.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SummaryPoint<'a> {
    #[serde(borrow)]
    pub(super) attributes: Vec<Attribute<'a>>,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) start_time_unix_nano: u64,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) time_unix_nano: u64,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) count: u64,
    #[serde(deserialize_with = "json_number::double")]
    pub(super) sum: f64,
    pub(super) quantile_values: Vec<Quantile>,
    pub(super) flags: u32,
}

/// One of them.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Quantile {
    #[serde(deserialize_with = "json_number::double")]
    pub(super) quantile: f64,
    #[serde(deserialize_with = "json_number::double")]
    pub(super) value: f64,
}

/// An example of what was counted.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Exemplar<'a> {
    #[serde(borrow)]
    pub(super) filtered_attributes: Vec<Attribute<'a>>,
    #[serde(deserialize_with = "json_number::unsigned")]
    pub(super) time_unix_nano: u64,
    #[serde(deserialize_with = "json_number::some_double")]
    pub(super) as_double: Option<f64>,
    #[serde(deserialize_with = "json_number::some_signed")]
    pub(super) as_int: Option<i64>,
    /// Hexadecimal, as JSON has them.
    #[serde(borrow)]
    pub(super) span_id: Text<'a>,
    /// Hexadecimal.
    #[serde(borrow)]
    pub(super) trace_id: Text<'a>,
}

/// A key and its value.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Attribute<'a> {
    #[serde(borrow)]
    pub(super) key: Text<'a>,
    #[serde(borrow)]
    pub(super) value: Value<'a>,
}

/// The value of an attribute.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Value<'a> {
    #[default]
    Empty,
    Text(Text<'a>),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(Vec<Value<'a>>),
    Map(Vec<Attribute<'a>>),
    /// In base 64, as JSON has them.
    Bytes(Text<'a>),
}

impl Value<'_> {
    /// As the value of a label: lists and maps as JSON.
    pub(super) fn to_text(&self) -> Cow<'_, str> {
        match self {
            Value::Empty => Cow::Borrowed(""),
            Value::Text(text) | Value::Bytes(text) => Cow::Borrowed(text),
            Value::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Value::Int(value) => Cow::Owned(value.to_string()),
            Value::Double(value) => Cow::Owned(double_text(*value)),
            Value::List(_) | Value::Map(_) => Cow::Owned(self.to_json().to_string()),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Empty => serde_json::Value::Null,
            Value::Text(text) | Value::Bytes(text) => text.as_ref().into(),
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Double(value) => (*value).into(),
            Value::List(values) => values.iter().map(Value::to_json).collect(),
            Value::Map(pairs) => pairs
                .iter()
                .map(|pair| (pair.key.clone().into_owned(), pair.value.to_json()))
                .collect(),
        }
    }
}

/// A number as Go's JSON writes it.
fn double_text(value: f64) -> String {
    if !value.is_finite() {
        let name = match value {
            v if v.is_nan() => "NaN",
            v if v > 0.0 => "+Inf",
            _ => "-Inf",
        };
        return format!("json: unsupported value: {name}");
    }
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        return match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => text,
        };
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_texts() {
        let attribute = |key: &'static str, value| Attribute {
            key: key.into(),
            value,
        };
        let list = Value::List(vec![Value::Int(1), Value::Text("x".into())]);
        let map = Value::Map(vec![
            attribute("b", list),
            attribute("a", Value::Bool(true)),
        ]);
        for (value, text) in [
            (Value::Empty, ""),
            (Value::Double(0.5), "0.5"),
            (Value::Double(1e21), "1e+21"),
            (Value::Double(2.5e-7), "2.5e-7"),
            (Value::Double(100.0), "100"),
            (Value::Int(-3), "-3"),
            (map, r#"{"a":true,"b":[1,"x"]}"#),
        ] {
            assert_eq!(value.to_text(), text);
        }
    }
}
