//! OTLP in JSON: numbers that may be texts, and values of attributes.
//!
//! Promise: a text is refused before it is read when it is nested deeper than [`OTLP_NESTING_MAX`]; fields that are not known are passed over,
//! as the protocol asks.

use super::model::{Attribute, Export, Temporality, Text, Value};
use crate::limits::OTLP_NESTING_MAX;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// Reads a request; the text is used up.
pub(super) fn read(text: &mut [u8]) -> Result<Export<'_>, String> {
    if nesting(text) > OTLP_NESTING_MAX {
        return Err(format!("nested deeper than {OTLP_NESTING_MAX} levels"));
    }
    simd_json::serde::from_slice(text).map_err(|e| e.to_string())
}

/// How deep brackets and braces go.
fn nesting(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Takes a number or its text.
struct Number<T>(PhantomData<T>);

/// What [`Number`] can make of what it meets.
trait Numeric: Sized {
    fn of_unsigned(value: u64) -> Option<Self>;
    fn of_signed(value: i64) -> Option<Self>;
    fn of_double(value: f64) -> Option<Self>;
    fn of_text(text: &str) -> Option<Self>;
}

/// A number without a fraction, as `3.0` may stand for 3.
fn whole(value: f64) -> Option<i64> {
    let exact = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
    exact.then_some(value as i64)
}

impl Numeric for u64 {
    fn of_unsigned(value: u64) -> Option<Self> {
        Some(value)
    }
    fn of_signed(value: i64) -> Option<Self> {
        value.try_into().ok()
    }
    fn of_double(value: f64) -> Option<Self> {
        Self::of_signed(whole(value)?)
    }
    fn of_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Numeric for i64 {
    fn of_unsigned(value: u64) -> Option<Self> {
        value.try_into().ok()
    }
    fn of_signed(value: i64) -> Option<Self> {
        Some(value)
    }
    fn of_double(value: f64) -> Option<Self> {
        whole(value)
    }
    fn of_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Numeric for f64 {
    fn of_unsigned(value: u64) -> Option<Self> {
        Some(value as f64)
    }
    fn of_signed(value: i64) -> Option<Self> {
        Some(value as f64)
    }
    fn of_double(value: f64) -> Option<Self> {
        Some(value)
    }
    fn of_text(text: &str) -> Option<Self> {
        match text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        }
    }
}

impl<T: Numeric> Visitor<'_> for Number<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or its text")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<T>, E> {
        T::of_unsigned(value)
            .map(Some)
            .ok_or_else(|| E::custom(format!("{value} is out of range")))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<T>, E> {
        T::of_signed(value)
            .map(Some)
            .ok_or_else(|| E::custom(format!("{value} is out of range")))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<T>, E> {
        T::of_double(value)
            .map(Some)
            .ok_or_else(|| E::custom(format!("{value} is no such number")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        T::of_text(text)
            .map(Some)
            .ok_or_else(|| E::custom(format!("{text:?} is no such number")))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
}

/// A number that may be missing.
struct Maybe<T>(Option<T>);

impl<'de, T: Numeric> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Number(PhantomData)).map(Maybe)
    }
}

pub(super) fn unsigned<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(Maybe::deserialize(from)?.0.unwrap_or_default())
}

pub(super) fn double<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Maybe::deserialize(from)?.0.unwrap_or_default())
}

pub(super) fn some_double<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    Ok(Maybe::deserialize(from)?.0)
}

pub(super) fn some_signed<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    Ok(Maybe::deserialize(from)?.0)
}

fn list<'de, T: Numeric + Default, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::<Maybe<T>>::deserialize(from)?;
    Ok(all.into_iter().map(|n| n.0.unwrap_or_default()).collect())
}

pub(super) fn unsigned_list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
    list(from)
}

pub(super) fn double_list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    list(from)
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
