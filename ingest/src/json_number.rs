//! Numbers in JSON that may be texts (`"42"`, `"NaN"`), as protocols have them that came from protobuf; and how deep a text is nested.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// How deep brackets and braces go.
pub(crate) fn nesting(text: &[u8]) -> usize {
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

pub(crate) fn unsigned<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(Maybe::deserialize(from)?.0.unwrap_or_default())
}

pub(crate) fn double<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Maybe::deserialize(from)?.0.unwrap_or_default())
}

pub(crate) fn some_double<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    Ok(Maybe::deserialize(from)?.0)
}

pub(crate) fn some_signed<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    Ok(Maybe::deserialize(from)?.0)
}

fn list<'de, T: Numeric + Default, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::<Maybe<T>>::deserialize(from)?;
    Ok(all.into_iter().map(|n| n.0.unwrap_or_default()).collect())
}

pub(crate) fn unsigned_list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
    list(from)
}

pub(crate) fn double_list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    list(from)
}

/// Numbers of which one that is missing is not a number.
pub(crate) fn double_or_nan_list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    let all = Vec::<Maybe<f64>>::deserialize(from)?;
    Ok(all.into_iter().map(|n| n.0.unwrap_or(f64::NAN)).collect())
}
