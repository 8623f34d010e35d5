//! A body of `MetricFamily` messages, each behind its length.

use super::body::BodyError;
use super::family::{Family, Kind, Label, Metric, Parsed, Value};
use super::message::{
    FAMILY_HELP, FAMILY_METRIC, FAMILY_NAME, FAMILY_TYPE, METRIC, METRIC_LABEL, METRIC_TIMESTAMP,
    MessageError,
};
use crate::limits::PUSH_METRICS_MAX;
use crate::text::go_quote;
use crate::validate::is_legacy_metric_name;
use crate::wire::{BYTES, Reader, VARINT, WireError, bytes, unsigned};
use std::borrow::Cow;

impl From<MessageError> for BodyError {
    fn from(error: MessageError) -> Self {
        BodyError::Format(error.to_string())
    }
}

impl From<WireError> for BodyError {
    fn from(_: WireError) -> Self {
        MessageError::Wire.into()
    }
}

/// Reads all families. Of two with one name the later counts, as for the Pushgateway.
pub(super) fn parse(body: &[u8]) -> Result<Parsed<'_>, BodyError> {
    let mut parsed = Parsed::default();
    let mut reader = Reader::new(body);
    let mut metrics = 0;
    while !reader.at_end() {
        let message = reader
            .bytes()
            .map_err(|_| BodyError::Format("unexpected EOF".to_owned()))?;
        let family = family(message, &mut parsed.labels)?;
        metrics += family.metrics.len();
        if metrics > PUSH_METRICS_MAX {
            return Err(BodyError::TooMany(PUSH_METRICS_MAX));
        }
        let is_nothing = family.name.is_empty() && family.metrics.is_empty();
        if !is_nothing && !is_legacy_metric_name(&family.name) {
            let name = go_quote(family.name.as_bytes());
            return Err(BodyError::Format(format!("invalid metric name {name}")));
        }
        match parsed.families.iter_mut().find(|f| f.name == family.name) {
            Some(earlier) => *earlier = family,
            None => parsed.families.push(family),
        }
    }
    Ok(parsed)
}

fn text<'a>(message: &'a [u8], field: &'static str) -> Result<Cow<'a, str>, BodyError> {
    let not_text = |_| MessageError::NotText {
        message: "MetricFamily",
        field,
    };
    Ok(Cow::Borrowed(
        std::str::from_utf8(message).map_err(not_text)?,
    ))
}

fn family<'a>(message: &'a [u8], labels: &mut Vec<Label<'a>>) -> Result<Family<'a>, BodyError> {
    let mut out = Family {
        name: Cow::Borrowed(""),
        help: None,
        kind: Some(Kind::Counter),
        metrics: Vec::new(),
    };
    let mut reader = Reader::new(message);
    let r = &mut reader;
    while let Some(tag) = r.tag("MetricFamily")? {
        match tag.field {
            FAMILY_NAME => out.name = text(bytes(r, tag, "name")?, "name")?,
            FAMILY_HELP => out.help = Some(text(bytes(r, tag, "help")?, "help")?),
            FAMILY_TYPE => {
                tag.expect(VARINT, "type")?;
                let number = unsigned(r, tag, "type")?;
                let unknown = || BodyError::Format(format!("unknown metric type {number}"));
                out.kind = Some(Kind::from_number(number).ok_or_else(unknown)?);
            }
            FAMILY_METRIC => out.metrics.push(metric(bytes(r, tag, "metric")?, labels)?),
            _ => r.skip(tag)?,
        }
    }
    Ok(out)
}

fn metric<'a>(message: &'a [u8], labels: &mut Vec<Label<'a>>) -> Result<Metric<'a>, BodyError> {
    METRIC.check(message)?;
    let first = labels.len();
    let mut has_timestamp = false;
    let mut fields = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("Metric")? {
        match tag.field {
            METRIC_LABEL => labels.push(label(reader.bytes()?)?),
            METRIC_TIMESTAMP => {
                has_timestamp = true;
                reader.skip(tag)?;
            }
            2..=5 | 7 if tag.wire_type == BYTES => fields.push((tag.field, reader.bytes()?)),
            _ => reader.skip(tag)?,
        }
    }
    Ok(Metric {
        labels: first..labels.len(),
        has_timestamp,
        value: Value::Fields(fields),
    })
}

/// Reads a label of a message that has been checked.
fn label(message: &[u8]) -> Result<Label<'_>, BodyError> {
    let mut out = Label {
        name: Cow::Borrowed(""),
        value: Cow::Borrowed(""),
    };
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag("LabelPair")? {
        match tag.field {
            1 => out.name = text(reader.bytes()?, "label")?,
            2 => out.value = text(reader.bytes()?, "label")?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(out)
}
