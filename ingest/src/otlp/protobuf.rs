//! OTLP in protobuf, read in place.
//!
//! Promise: values of attributes nested deeper than [`OTLP_NESTING_MAX`] are refused; unknown fields are passed over; texts that are not UTF-8 are
//! made so. Field numbers: opentelemetry-proto 1.x.

use super::model::{
    Attribute, Buckets, Exemplar, ExponentialPoint, Export, HistogramPoint, Metric, NumberPoint,
    Numbers, Points, Quantile, Resource, ResourceMetrics, Scope, ScopeMetrics, SummaryPoint,
    Temporality, Text, Value,
};
use crate::limits::OTLP_NESTING_MAX;
use crate::wire::{
    BYTES, FIXED64, Reader, Tag, VARINT, WireError, bytes, double, signed, unsigned,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// Why bytes are no request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProtobufError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("attribute values nested deeper than {OTLP_NESTING_MAX} levels")]
    Nested,
}

type Read<T> = Result<T, ProtobufError>;

/// Calls `field` for each field of a message; it says whether it has taken the field.
fn each<'a>(
    message: &'a [u8],
    name: &'static str,
    mut field: impl FnMut(&mut Reader<'a>, Tag) -> Read<bool>,
) -> Read<()> {
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag(name)? {
        if !field(&mut reader, tag)? {
            reader.skip(tag)?;
        }
    }
    Ok(())
}

fn text<'a>(reader: &mut Reader<'a>, tag: Tag, field: &'static str) -> Read<Text<'a>> {
    Ok(String::from_utf8_lossy(bytes(reader, tag, field)?))
}

fn fixed(reader: &mut Reader<'_>, tag: Tag, field: &'static str) -> Read<u64> {
    tag.expect(FIXED64, field)?;
    Ok(reader.fixed64()?)
}

/// Numbers of eight bytes, one or packed.
fn fixed_list(
    reader: &mut Reader<'_>,
    tag: Tag,
    field: &'static str,
    mut push: impl FnMut(u64),
) -> Read<()> {
    if tag.wire_type == FIXED64 {
        push(reader.fixed64()?);
        return Ok(());
    }
    let mut packed = Reader::new(bytes(reader, tag, field)?);
    while !packed.at_end() {
        push(packed.fixed64()?);
    }
    Ok(())
}

pub(super) fn read(message: &[u8]) -> Read<Export<'_>> {
    let mut out = Export::default();
    each(message, "ExportMetricsServiceRequest", |r, tag| {
        if tag.field != 1 {
            return Ok(false);
        }
        out.resource_metrics
            .push(resource_metrics(bytes(r, tag, "ResourceMetrics")?)?);
        Ok(true)
    })?;
    Ok(out)
}

fn resource_metrics(message: &[u8]) -> Read<ResourceMetrics<'_>> {
    let mut out = ResourceMetrics::default();
    each(message, "ResourceMetrics", |r, tag| {
        match tag.field {
            1 => out.resource = resource(bytes(r, tag, "Resource")?)?,
            2 => out
                .scope_metrics
                .push(scope_metrics(bytes(r, tag, "ScopeMetrics")?)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn resource(message: &[u8]) -> Read<Resource<'_>> {
    let mut out = Resource::default();
    each(message, "Resource", |r, tag| {
        if tag.field != 1 {
            return Ok(false);
        }
        out.attributes
            .push(attribute(bytes(r, tag, "Attributes")?, 0)?);
        Ok(true)
    })?;
    Ok(out)
}

fn scope_metrics(message: &[u8]) -> Read<ScopeMetrics<'_>> {
    let mut out = ScopeMetrics::default();
    each(message, "ScopeMetrics", |r, tag| {
        match tag.field {
            1 => out.scope = scope(bytes(r, tag, "Scope")?)?,
            2 => out.metrics.push(metric(bytes(r, tag, "Metrics")?)?),
            3 => out.schema_url = text(r, tag, "SchemaUrl")?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn scope(message: &[u8]) -> Read<Scope<'_>> {
    let mut out = Scope::default();
    each(message, "InstrumentationScope", |r, tag| {
        match tag.field {
            1 => out.name = text(r, tag, "Name")?,
            2 => out.version = text(r, tag, "Version")?,
            3 => out
                .attributes
                .push(attribute(bytes(r, tag, "Attributes")?, 0)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn metric(message: &[u8]) -> Read<Metric<'_>> {
    let mut out = Metric::default();
    each(message, "Metric", |r, tag| {
        match tag.field {
            1 => out.name = text(r, tag, "Name")?,
            2 => out.description = text(r, tag, "Description")?,
            3 => out.unit = text(r, tag, "Unit")?,
            5 => out.gauge = Some(numbers(bytes(r, tag, "Gauge")?)?),
            7 => out.sum = Some(numbers(bytes(r, tag, "Sum")?)?),
            9 => {
                let message = bytes(r, tag, "Histogram")?;
                out.histogram = Some(points(message, histogram_point)?);
            }
            10 => {
                let message = bytes(r, tag, "ExponentialHistogram")?;
                out.exponential_histogram = Some(points(message, exponential_point)?);
            }
            11 => out.summary = Some(points(bytes(r, tag, "Summary")?, summary_point)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn numbers(message: &[u8]) -> Read<Numbers<'_>> {
    let mut out = Numbers::default();
    each(message, "Sum", |r, tag| {
        match tag.field {
            1 => out
                .data_points
                .push(number_point(bytes(r, tag, "DataPoints")?)?),
            2 => {
                let number = unsigned(r, tag, "AggregationTemporality")?;
                out.aggregation_temporality = Temporality::from_number(number);
            }
            3 => out.is_monotonic = unsigned(r, tag, "IsMonotonic")? != 0,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn points<'a, P>(message: &'a [u8], point: impl Fn(&'a [u8]) -> Read<P>) -> Read<Points<P>> {
    let mut out = Points::default();
    each(message, "Points", |r, tag| {
        match tag.field {
            1 => out.data_points.push(point(bytes(r, tag, "DataPoints")?)?),
            2 => {
                let number = unsigned(r, tag, "AggregationTemporality")?;
                out.aggregation_temporality = Temporality::from_number(number);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn number_point(message: &[u8]) -> Read<NumberPoint<'_>> {
    let mut out = NumberPoint::default();
    each(message, "NumberDataPoint", |r, tag| {
        match tag.field {
            2 => out.start_time_unix_nano = fixed(r, tag, "StartTimeUnixNano")?,
            3 => out.time_unix_nano = fixed(r, tag, "TimeUnixNano")?,
            4 => out.as_double = Some(double(r, tag, "AsDouble")?),
            5 => out.exemplars.push(exemplar(bytes(r, tag, "Exemplars")?)?),
            6 => out.as_int = Some(fixed(r, tag, "AsInt")? as i64),
            7 => out
                .attributes
                .push(attribute(bytes(r, tag, "Attributes")?, 0)?),
            8 => out.flags = unsigned(r, tag, "Flags")? as u32,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn histogram_point(message: &[u8]) -> Read<HistogramPoint<'_>> {
    let mut out = HistogramPoint::default();
    each(message, "HistogramDataPoint", |r, tag| {
        match tag.field {
            2 => out.start_time_unix_nano = fixed(r, tag, "StartTimeUnixNano")?,
            3 => out.time_unix_nano = fixed(r, tag, "TimeUnixNano")?,
            4 => out.count = fixed(r, tag, "Count")?,
            5 => out.sum = Some(double(r, tag, "Sum")?),
            6 => {
                let counts = &mut out.bucket_counts;
                fixed_list(r, tag, "BucketCounts", |count| counts.push(count))?;
            }
            7 => {
                let bounds = &mut out.explicit_bounds;
                fixed_list(r, tag, "ExplicitBounds", |bits| {
                    bounds.push(f64::from_bits(bits));
                })?;
            }
            8 => out.exemplars.push(exemplar(bytes(r, tag, "Exemplars")?)?),
            9 => out
                .attributes
                .push(attribute(bytes(r, tag, "Attributes")?, 0)?),
            10 => out.flags = unsigned(r, tag, "Flags")? as u32,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn exponential_point(message: &[u8]) -> Read<ExponentialPoint<'_>> {
    let mut out = ExponentialPoint::default();
    each(message, "ExponentialHistogramDataPoint", |r, tag| {
        match tag.field {
            1 => out
                .attributes
                .push(attribute(bytes(r, tag, "Attributes")?, 0)?),
            2 => out.start_time_unix_nano = fixed(r, tag, "StartTimeUnixNano")?,
            3 => out.time_unix_nano = fixed(r, tag, "TimeUnixNano")?,
            4 => out.count = fixed(r, tag, "Count")?,
            5 => out.sum = Some(double(r, tag, "Sum")?),
            6 => out.scale = signed(unsigned(r, tag, "Scale")?) as i32,
            7 => out.zero_count = fixed(r, tag, "ZeroCount")?,
            8 => out.positive = buckets(bytes(r, tag, "Positive")?)?,
            9 => out.negative = buckets(bytes(r, tag, "Negative")?)?,
            10 => out.flags = unsigned(r, tag, "Flags")? as u32,
            11 => out.exemplars.push(exemplar(bytes(r, tag, "Exemplars")?)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn buckets(message: &[u8]) -> Read<Buckets> {
    let mut out = Buckets::default();
    each(message, "Buckets", |r, tag| {
        match (tag.field, tag.wire_type) {
            (1, _) => out.offset = signed(unsigned(r, tag, "Offset")?) as i32,
            (2, VARINT) => out.bucket_counts.push(r.varint()?),
            (2, _) => {
                tag.expect(BYTES, "BucketCounts")?;
                let mut packed = Reader::new(r.bytes()?);
                while !packed.at_end() {
                    out.bucket_counts.push(packed.varint()?);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn summary_point(message: &[u8]) -> Read<SummaryPoint<'_>> {
    let mut out = SummaryPoint::default();
    each(message, "SummaryDataPoint", |r, tag| {
        match tag.field {
            2 => out.start_time_unix_nano = fixed(r, tag, "StartTimeUnixNano")?,
            3 => out.time_unix_nano = fixed(r, tag, "TimeUnixNano")?,
            4 => out.count = fixed(r, tag, "Count")?,
            5 => out.sum = double(r, tag, "Sum")?,
            6 => out
                .quantile_values
                .push(quantile(bytes(r, tag, "QuantileValues")?)?),
            7 => out
                .attributes
                .push(attribute(bytes(r, tag, "Attributes")?, 0)?),
            8 => out.flags = unsigned(r, tag, "Flags")? as u32,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn quantile(message: &[u8]) -> Read<Quantile> {
    let mut out = Quantile::default();
    each(message, "ValueAtQuantile", |r, tag| {
        match tag.field {
            1 => out.quantile = double(r, tag, "Quantile")?,
            2 => out.value = double(r, tag, "Value")?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn exemplar(message: &[u8]) -> Read<Exemplar<'_>> {
    let mut out = Exemplar::default();
    each(message, "Exemplar", |r, tag| {
        match tag.field {
            2 => out.time_unix_nano = fixed(r, tag, "TimeUnixNano")?,
            3 => out.as_double = Some(double(r, tag, "AsDouble")?),
            4 => out.span_id = hexadecimal(bytes(r, tag, "SpanId")?).into(),
            5 => out.trace_id = hexadecimal(bytes(r, tag, "TraceId")?).into(),
            6 => out.as_int = Some(fixed(r, tag, "AsInt")? as i64),
            7 => out
                .filtered_attributes
                .push(attribute(bytes(r, tag, "FilteredAttributes")?, 0)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(message: &[u8], depth: usize) -> Read<Attribute<'_>> {
    let mut out = Attribute::default();
    each(message, "KeyValue", |r, tag| {
        match tag.field {
            1 => out.key = text(r, tag, "Key")?,
            2 => out.value = value(bytes(r, tag, "Value")?, depth)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(out)
}

fn value(message: &[u8], depth: usize) -> Read<Value<'_>> {
    if depth >= OTLP_NESTING_MAX {
        return Err(ProtobufError::Nested);
    }
    let mut out = Value::Empty;
    each(message, "AnyValue", |r, tag| {
        out = match tag.field {
            1 => Value::Text(text(r, tag, "StringValue")?),
            2 => Value::Bool(unsigned(r, tag, "BoolValue")? != 0),
            3 => Value::Int(unsigned(r, tag, "IntValue")? as i64),
            4 => Value::Double(double(r, tag, "DoubleValue")?),
            5 => {
                let mut list = Vec::new();
                each(bytes(r, tag, "ArrayValue")?, "ArrayValue", |r, tag| {
                    if tag.field != 1 {
                        return Ok(false);
                    }
                    list.push(value(bytes(r, tag, "Values")?, depth + 1)?);
                    Ok(true)
                })?;
                Value::List(list)
            }
            6 => {
                let mut map = Vec::new();
                each(bytes(r, tag, "KvlistValue")?, "KeyValueList", |r, tag| {
                    if tag.field != 1 {
                        return Ok(false);
                    }
                    map.push(attribute(bytes(r, tag, "Values")?, depth + 1)?);
                    Ok(true)
                })?;
                Value::Map(map)
            }
            7 => Value::Bytes(Cow::Owned(STANDARD.encode(bytes(r, tag, "BytesValue")?))),
            _ => return Ok(false),
        };
        Ok(true)
    })?;
    Ok(out)
}
