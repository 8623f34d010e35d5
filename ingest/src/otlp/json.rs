//! OTLP in JSON: nesting, enumerations and values of attributes.
//!
//! Promise: a text is refused before it is read when it is nested deeper than [`OTLP_NESTING_MAX`]; fields that are not known are passed over,
//! as the protocol asks.

use super::model::{Attribute, Export, Temporality, Text, Value};
use crate::json_number::{nesting, some_double, some_signed};
use crate::limits::OTLP_NESTING_MAX;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// Reads a request; the text is used up.
pub(super) fn read(text: &mut [u8]) -> Result<Export<'_>, String> {
    if nesting(text) > OTLP_NESTING_MAX {
        return Err(format!("nested deeper than {OTLP_NESTING_MAX} levels"));
    }
    simd_json::serde::from_slice(text).map_err(|e| e.to_string())
}

/// The number of the enumeration, or its name.
pub(super) fn temporality<'de, D: Deserializer<'de>>(from: D) -> Result<Temporality, D::Error> {
    struct Named;

    impl Visitor<'_> for Named {
        type Value = Temporality;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an aggregation temporality")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Temporality, E> {
            Ok(Temporality::from_number(number))
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Temporality, E> {
            Ok(Temporality::from_number(number as u64))
        }

        fn visit_str<E: Error>(self, name: &str) -> Result<Temporality, E> {
            Ok(match name {
                "AGGREGATION_TEMPORALITY_DELTA" => Temporality::Delta,
                "AGGREGATION_TEMPORALITY_CUMULATIVE" => Temporality::Cumulative,
                _ => Temporality::Unspecified,
            })
        }
    }
    from.deserialize_any(Named)
}

impl Temporality {
    /// By the number that protobuf has.
    pub(super) fn from_number(number: u64) -> Temporality {
        match number {
            1 => Temporality::Delta,
            2 => Temporality::Cumulative,
            _ => Temporality::Unspecified,
        }
    }
}

/// A value as JSON names it: by its type.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Named<'a> {
    #[serde(borrow)]
    string_value: Option<Text<'a>>,
    bool_value: Option<bool>,
    #[serde(deserialize_with = "some_signed")]
    int_value: Option<i64>,
    #[serde(deserialize_with = "some_double")]
    double_value: Option<f64>,
    #[serde(borrow)]
    array_value: Option<List<'a>>,
    #[serde(borrow)]
    kvlist_value: Option<Map<'a>>,
    #[serde(borrow)]
    bytes_value: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct List<'a> {
    #[serde(borrow)]
    values: Vec<Value<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Map<'a> {
    #[serde(borrow)]
    values: Vec<Attribute<'a>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let named = Named::deserialize(from)?;
        let values = [
            named.string_value.map(Value::Text),
            named.bool_value.map(Value::Bool),
            named.int_value.map(Value::Int),
            named.double_value.map(Value::Double),
            named.array_value.map(|list| Value::List(list.values)),
            named.kvlist_value.map(|map| Value::Map(map.values)),
            named.bytes_value.map(Value::Bytes),
        ];
        Ok(values.into_iter().flatten().next().unwrap_or_default())
    }
}
