//! The messages of `io.prometheus.client` (`metrics.proto`) as a table, and what follows from it: checking bytes that claim to be one,
//! writing one as text the way Go's protobuf prints it, and the few fields that are written here.

use crate::text::{go_format_g, go_quote};
use crate::wire::{BYTES, FIXED64, Reader, Tag, VARINT, WireError, signed};
use std::fmt::Write;

pub(super) const METRIC_LABEL: u32 = 1;
pub(super) const METRIC_GAUGE: u32 = 2;
pub(super) const METRIC_COUNTER: u32 = 3;
pub(super) const METRIC_SUMMARY: u32 = 4;
pub(super) const METRIC_UNTYPED: u32 = 5;
pub(super) const METRIC_TIMESTAMP: u32 = 6;
pub(super) const METRIC_HISTOGRAM: u32 = 7;
pub(super) const FAMILY_NAME: u32 = 1;
pub(super) const FAMILY_HELP: u32 = 2;
pub(super) const FAMILY_TYPE: u32 = 3;
pub(super) const FAMILY_METRIC: u32 = 4;

/// What a field holds.
#[derive(Clone, Copy)]
enum Type {
    Double,
    Unsigned,
    /// A signed number in plain varint form.
    Signed,
    Zigzag,
    Text,
    Doubles,
    Zigzags,
    Message(&'static Message),
}

struct Field {
    number: u32,
    name: &'static str,
    kind: Type,
}

/// A message: its fields in the order of declaration.
pub(super) struct Message {
    name: &'static str,
    fields: &'static [Field],
}

const fn field(number: u32, name: &'static str, kind: Type) -> Field {
    Field { number, name, kind }
}

use Type::{Double, Doubles, Signed, Text, Unsigned, Zigzag, Zigzags};

static LABEL_PAIR: Message = Message {
    name: "LabelPair",
    fields: &[field(1, "name", Text), field(2, "value", Text)],
};
static TIMESTAMP: Message = Message {
    name: "Timestamp",
    fields: &[field(1, "seconds", Signed), field(2, "nanos", Signed)],
};
static EXEMPLAR: Message = Message {
    name: "Exemplar",
    fields: &[
        field(1, "label", Type::Message(&LABEL_PAIR)),
        field(2, "value", Double),
        field(3, "timestamp", Type::Message(&TIMESTAMP)),
    ],
};
static GAUGE: Message = Message {
    name: "Gauge",
    fields: &[field(1, "value", Double)],
};
static COUNTER: Message = Message {
    name: "Counter",
    fields: &[
        field(1, "value", Double),
        field(2, "exemplar", Type::Message(&EXEMPLAR)),
        field(3, "created_timestamp", Type::Message(&TIMESTAMP)),
    ],
};
static QUANTILE: Message = Message {
    name: "Quantile",
    fields: &[field(1, "quantile", Double), field(2, "value", Double)],
};
static SUMMARY: Message = Message {
    name: "Summary",
    fields: &[
        field(1, "sample_count", Unsigned),
        field(2, "sample_sum", Double),
        field(3, "quantile", Type::Message(&QUANTILE)),
        field(4, "created_timestamp", Type::Message(&TIMESTAMP)),
    ],
};
static BUCKET: Message = Message {
    name: "Bucket",
    fields: &[
        field(1, "cumulative_count", Unsigned),
        field(4, "cumulative_count_float", Double),
        field(2, "upper_bound", Double),
        field(3, "exemplar", Type::Message(&EXEMPLAR)),
    ],
};
static BUCKET_SPAN: Message = Message {
    name: "BucketSpan",
    fields: &[field(1, "offset", Zigzag), field(2, "length", Unsigned)],
};
static HISTOGRAM: Message = Message {
    name: "Histogram",
    fields: &[
        field(1, "sample_count", Unsigned),
        field(4, "sample_count_float", Double),
        field(2, "sample_sum", Double),
        field(3, "bucket", Type::Message(&BUCKET)),
        field(15, "created_timestamp", Type::Message(&TIMESTAMP)),
        field(5, "schema", Zigzag),
        field(6, "zero_threshold", Double),
        field(7, "zero_count", Unsigned),
        field(8, "zero_count_float", Double),
        field(9, "negative_span", Type::Message(&BUCKET_SPAN)),
        field(10, "negative_delta", Zigzags),
        field(11, "negative_count", Doubles),
        field(12, "positive_span", Type::Message(&BUCKET_SPAN)),
        field(13, "positive_delta", Zigzags),
        field(14, "positive_count", Doubles),
        field(16, "exemplars", Type::Message(&EXEMPLAR)),
    ],
};
pub(super) static METRIC: Message = Message {
    name: "Metric",
    fields: &[
        field(METRIC_LABEL, "label", Type::Message(&LABEL_PAIR)),
        field(METRIC_GAUGE, "gauge", Type::Message(&GAUGE)),
        field(METRIC_COUNTER, "counter", Type::Message(&COUNTER)),
        field(METRIC_SUMMARY, "summary", Type::Message(&SUMMARY)),
        field(METRIC_UNTYPED, "untyped", Type::Message(&GAUGE)),
        field(METRIC_HISTOGRAM, "histogram", Type::Message(&HISTOGRAM)),
        field(METRIC_TIMESTAMP, "timestamp_ms", Signed),
    ],
};

/// Why bytes are not such a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    #[error("proto: cannot parse invalid wire-format data")]
    Wire,
    #[error("proto: field io.prometheus.client.{message}.{field} contains invalid UTF-8")]
    NotText {
        message: &'static str,
        field: &'static str,
    },
}

impl From<WireError> for MessageError {
    fn from(_: WireError) -> Self {
        MessageError::Wire
    }
}

impl Message {
    fn field(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.number == number)
    }

    /// Are the bytes such a message, in every field that it knows? The table has no cycles, so the recursion ends.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), MessageError> {
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag(self.name)? {
            let Some(field) = self.field(tag.field) else {
                reader.skip(tag)?;
                continue;
            };
            self.check_field(field, tag, &mut reader)?;
        }
        Ok(())
    }

    fn check_field(
        &self,
        field: &'static Field,
        tag: Tag,
        reader: &mut Reader<'_>,
    ) -> Result<(), MessageError> {
        let expected = match field.kind {
            Double => FIXED64,
            Unsigned | Signed | Zigzag => VARINT,
            Text | Type::Message(_) => BYTES,
            Doubles if tag.wire_type == FIXED64 => FIXED64,
            Zigzags if tag.wire_type == VARINT => VARINT,
            Doubles | Zigzags => BYTES,
        };
        tag.expect(expected, field.name)?;
        match (field.kind, expected) {
            (_, FIXED64) => {
                reader.fixed64()?;
            }
            (_, VARINT) => {
                reader.varint()?;
            }
            (Type::Message(inner), _) => inner.check(reader.bytes()?)?,
            (Text, _) => {
                let text = reader.bytes()?;
                std::str::from_utf8(text).map_err(|_| MessageError::NotText {
                    message: self.name,
                    field: field.name,
                })?;
            }
            (kind, _) => {
                let mut packed = Reader::new(reader.bytes()?);
                while !packed.at_end() {
                    match kind {
                        Doubles => packed.fixed64()?,
                        _ => packed.varint()?,
                    };
                }
            }
        }
        Ok(())
    }

    /// Writes a checked message as `name:value` parts, in the order of declaration.
    pub(super) fn write_text(&self, bytes: &[u8], out: &mut String) {
        let start = out.len();
        for field in self.fields {
            let mut reader = Reader::new(bytes);
            while let Ok(Some(tag)) = reader.tag(self.name) {
                if tag.field != field.number {
                    if reader.skip(tag).is_err() {
                        break;
                    }
                    continue;
                }
                if write_field(field, tag, &mut reader, out, start).is_err() {
                    break;
                }
            }
        }
    }
}

fn write_field(
    field: &Field,
    tag: Tag,
    reader: &mut Reader<'_>,
    out: &mut String,
    start: usize,
) -> Result<(), WireError> {
    let mut one = |text: &str| {
        if out.len() > start {
            out.push(' ');
        }
        let _ = write!(out, "{}:{text}", field.name);
    };
    match field.kind {
        Double => one(&go_float_text(f64::from_bits(reader.fixed64()?))),
        Unsigned => one(&reader.varint()?.to_string()),
        Signed => one(&(reader.varint()? as i64).to_string()),
        Zigzag => one(&signed(reader.varint()?).to_string()),
        Text => one(&go_quote(reader.bytes()?)),
        Type::Message(inner) => {
            let mut text = String::from("{");
            inner.write_text(reader.bytes()?, &mut text);
            text.push('}');
            one(&text);
        }
        Doubles if tag.wire_type == FIXED64 => {
            one(&go_float_text(f64::from_bits(reader.fixed64()?)));
        }
        Zigzags if tag.wire_type == VARINT => one(&signed(reader.varint()?).to_string()),
        kind => {
            let mut packed = Reader::new(reader.bytes()?);
            while !packed.at_end() {
                match kind {
                    Doubles => one(&go_float_text(f64::from_bits(packed.fixed64()?))),
                    _ => one(&signed(packed.varint()?).to_string()),
                }
            }
        }
    }
    Ok(())
}

/// A float as Go's protobuf prints it.
fn go_float_text(value: f64) -> String {
    if value.is_nan() {
        "nan".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "inf" } else { "-inf" }.to_owned()
    } else {
        go_format_g(value)
    }
}

/// Appends a varint without a tag.
pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a varint field.
pub(super) fn put_varint(out: &mut Vec<u8>, field: u32, value: u64) {
    put_number(out, u64::from(field) << 3 | u64::from(VARINT));
    put_number(out, value);
}

/// Appends a double field.
pub(super) fn put_double(out: &mut Vec<u8>, field: u32, value: f64) {
    put_number(out, u64::from(field) << 3 | u64::from(FIXED64));
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Appends a field of text, bytes or a message.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    put_number(out, u64::from(field) << 3 | u64::from(BYTES));
    put_number(out, content.len() as u64);
    out.extend_from_slice(content);
}
