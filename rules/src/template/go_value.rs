//! Values of templates: structures and maps as `gotmpl` holds them, and how Go prints them.
//!
//! `gotmpl` knows maps only. A map with the key [`TYPE`] stands for something else: one of Go's structures, whose other keys are its fields, a
//! map of anything, a time or a duration.

use super::{Subject, times};
use crate::source::{Element, External, Value as RuleValue};
use gotmpl::Value;
use query_engine::eval::text::go_g;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The key under which a map says what it stands for; no label has such a name.
pub(super) const TYPE: &str = "\0type";
/// The type of a sample, as errors name it.
pub(super) const SAMPLE: &str = "*template.sample";
/// The type of what `args` makes.
pub(super) const ARGS: &str = "map[string]interface {}";
/// The type of what `toTime` makes; its nanoseconds are under [`NANOSECONDS`].
pub(super) const TIME: &str = "*time.Time";
/// The type of what `toDuration` makes.
pub(super) const DURATION: &str = "*time.Duration";
/// The number of a time or a duration.
const NANOSECONDS: &str = "\0ns";
/// The type of what a template is expanded over.
const SUBJECT: &str = "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }";

pub(super) fn string(text: impl AsRef<str>) -> Value {
    Value::String(Arc::from(text.as_ref()))
}

fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let pairs = pairs.into_iter().map(|(k, v)| (Arc::from(k), v));
    Value::Map(Arc::new(pairs.collect::<BTreeMap<Arc<str>, Value>>()))
}

pub(super) fn typed<'a>(
    kind: &'static str,
    pairs: impl IntoIterator<Item = (&'a str, Value)>,
) -> Value {
    map(pairs.into_iter().chain([(TYPE, string(kind))]))
}

fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    map(pairs.into_iter().map(|(n, v)| (n, string(v))))
}

fn value_of(value: &RuleValue) -> Value {
    match value {
        RuleValue::Float(value) => Value::Float(*value),
        RuleValue::Histogram(histogram) => string(query_engine::histogram::go_text(histogram)),
    }
}

/// The data of an expansion.
pub(super) fn subject(subject: Subject<'_>, external: &External) -> Value {
    let external_labels = external.labels.iter();
    let external_labels = external_labels.map(|(n, v)| (n.as_str(), v.as_str()));
    typed(
        SUBJECT,
        [
            ("Labels", labels(subject.labels.iter())),
            ("ExternalLabels", labels(external_labels)),
            ("ExternalURL", string(&external.url)),
            ("Value", value_of(subject.value)),
        ],
    )
}

/// One element of what `query` yields.
pub(super) fn sample(element: &Element) -> Value {
    typed(
        SAMPLE,
        [
            ("Labels", labels(element.labels.iter())),
            ("Value", value_of(&element.value)),
        ],
    )
}

pub(super) fn instant(kind: &'static str, nanoseconds: i64) -> Value {
    typed(kind, [(NANOSECONDS, Value::Int(nanoseconds))])
}

/// What a map stands for.
pub(super) fn kind(value: &Value) -> Option<&str> {
    value.field(TYPE).and_then(Value::as_str)
}

/// The nanoseconds of a time or a duration.
pub(super) fn nanoseconds(value: &Value) -> Option<i64> {
    value.field(NANOSECONDS).and_then(Value::as_int)
}

/// Go's name of a value's type.
pub(super) fn type_name(value: &Value) -> String {
    match value {
        Value::Nil => "<nil>".to_owned(),
        Value::List(_) => "template.queryResult".to_owned(),
        Value::Map(_) => kind(value).unwrap_or("map[string]string").to_owned(),
        other => other.type_name().to_owned(),
    }
}

/// A field of a value, or what a method without arguments yields.
pub(super) fn field(value: &Value, name: &str, args: &[Value]) -> Result<Value, String> {
    let no_such = || {
        Err(format!(
            "can't evaluate field {name} in type {}",
            type_name(value)
        ))
    };
    match (value, kind(value)) {
        (_, Some(kind @ (TIME | DURATION))) => {
            let nanoseconds = nanoseconds(value).unwrap_or_default();
            match times::method(kind, nanoseconds, name, args) {
                Some(outcome) => outcome,
                None => no_such(),
            }
        }
        (Value::Map(fields), kind) => {
            if !args.is_empty() {
                return Err(format!(
                    "{name} has arguments but cannot be invoked as function"
                ));
            }
            match (fields.get(name), kind) {
                (Some(found), _) if name != TYPE => Ok(found.clone()),
                (_, None) => Ok(string("")),
                (_, Some(ARGS)) => Ok(Value::Nil),
                _ => no_such(),
            }
        }
        (Value::Nil, _) => Err(format!("nil pointer evaluating interface {{}}.{name}")),
        _ => no_such(),
    }
}

/// A value as Go's `%v` prints it.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Float(value) => go_g(*value),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(print).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Map(fields) => match kind(value) {
            Some(kind @ (TIME | DURATION)) => {
                times::print(kind, nanoseconds(value).unwrap_or_default())
            }
            Some(SUBJECT) => {
                let order = ["Labels", "ExternalLabels", "ExternalURL", "Value"];
                let fields = order.map(|name| fields.get(name).map(print).unwrap_or_default());
                format!("{{{}}}", fields.join(" "))
            }
            Some(SAMPLE) => {
                let fields =
                    ["Labels", "Value"].map(|name| fields.get(name).map(print).unwrap_or_default());
                format!("&{{{}}}", fields.join(" "))
            }
            _ => {
                let fields = fields.iter().filter(|(name, _)| &***name != TYPE);
                let fields: Vec<String> = fields
                    .map(|(name, value)| format!("{name}:{}", print(value)))
                    .collect();
                format!("map[{}]", fields.join(" "))
            }
        },
        other => other.to_string(),
    }
}
