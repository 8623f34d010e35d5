//! How a field of the configuration is read from a node, written again, and made to point at files beside the configuration.
//!
//! Promise: an unknown field is an error at its key, a wrong value is an error at the value, null leaves the default. The macro [`section!`]
//! makes one structure of the schema out of a table of its fields.

use super::bytes::{format_bytes, parse_bytes};
use super::yaml::{Node, Out, Problem, Value};
use super::{format_duration_ms, parse_duration_ms};
use ingest::http_client::config::Secret;
use std::collections::BTreeMap;
use std::path::Path;

/// A value of the configuration.
pub trait Field: Sized {
    /// Reads it; never called with null by a section, which keeps its default then.
    fn decode(node: &Node) -> Result<Self, Problem>;
    /// Writes it.
    fn encode(&self) -> Out;
    /// Is it what Go's `omitempty` leaves out?
    fn is_empty(&self) -> bool;
    /// Makes relative file paths relative to `dir`.
    fn resolve(&mut self, _dir: &Path) {}
}

/// A structure of the schema; inlined ones share the keys of their parent.
pub trait Section {
    /// Sets the field `key`; `None` when there is no such field.
    fn set(&mut self, key: &str, value: &Node) -> Option<Result<(), Problem>>;
    /// Adds what there is to write.
    fn show(&self, out: &mut Vec<(String, Out)>);
    /// What no single field can check.
    fn check(&mut self, node: &Node) -> Result<(), Problem>;
}

/// Sets `slot` unless the node is null.
pub fn assign<T: Field>(slot: &mut T, node: &Node) -> Result<(), Problem> {
    if !node.is_null() {
        *slot = T::decode(node)?;
    }
    Ok(())
}

/// Reads a section field by field, then checks it.
pub fn decode_section<T: Section + Default>(node: &Node, go_type: &str) -> Result<T, Problem> {
    let mut section = T::default();
    match &node.value {
        Value::Null => {}
        Value::Map(entries) => {
            for (key, value) in entries {
                match section.set(&key.text, value) {
                    Some(done) => done?,
                    None => {
                        return Err(Problem::new(
                            key.place,
                            format!("field {} not found in type {go_type}", key.text),
                        ));
                    }
                }
            }
        }
        _ => return Err(node.refuse(go_type)),
    }
    section.check(node)?;
    Ok(section)
}

/// Makes a structure, its defaults, and how it is read and written, from a table of fields.
///
/// Each field: `name ["yaml name"]: type = default, how it is written`; the last is `always`, `filled` (left out when empty), or `inline`
/// (the keys of that section stand among ours).
macro_rules! section {
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };

    (@set inline $slot:expr, $name:expr, $key:ident, $value:ident) => {
        if let Some(done) = $crate::config::field::Section::set(&mut $slot, $key, $value) {
            return Some(done);
        }
    };
    (@set $how:ident $slot:expr, $name:expr, $key:ident, $value:ident) => {
        if $key == $name {
            return Some($crate::config::field::assign(&mut $slot, $value));
        }
    };

    (@show inline $slot:expr, $name:expr, $out:ident) => {
        $crate::config::field::Section::show(&$slot, $out);
    };
    (@show always $slot:expr, $name:expr, $out:ident) => {
        $out.push(($name.to_owned(), $crate::config::field::Field::encode(&$slot)));
    };
    (@show filled $slot:expr, $name:expr, $out:ident) => {
        if !$crate::config::field::Field::is_empty(&$slot) {
            $out.push(($name.to_owned(), $crate::config::field::Field::encode(&$slot)));
        }
    };

    (@check inline $slot:expr, $node:ident) => {
        $crate::config::field::Section::check(&mut $slot, $node)?;
    };
    (@check $how:ident $slot:expr, $node:ident) => {};

    (@own $this:ident $node:ident) => { Ok(()) };
    (@own $this:ident $node:ident $check:path) => { $check($this, $node) };

    (
        $(#[$doc:meta])*
        $ty:ident as $go:literal $(checked by $check:path)? {
            $( $field:ident $([$name:literal])? : $kind:ty = $default:expr, $how:ident; )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $ty { $( pub $field: $kind, )* }

        impl Default for $ty {
            fn default() -> Self {
                $ty { $( $field: $default, )* }
            }
        }

        impl $crate::config::field::Section for $ty {
            #[allow(unused_variables, reason = "a section may be empty")]
            fn set(
                &mut self,
                key: &str,
                value: &$crate::config::yaml::Node,
            ) -> Option<Result<(), $crate::config::yaml::Problem>> {
                $( section!(@set $how self.$field, section!(@name $field $($name)?), key, value); )*
                None
            }

            fn show(&self, out: &mut Vec<(String, $crate::config::yaml::Out)>) {
                $( section!(@show $how self.$field, section!(@name $field $($name)?), out); )*
            }

            #[allow(unused_variables, reason = "not every section has more to check")]
            fn check(
                &mut self,
                node: &$crate::config::yaml::Node,
            ) -> Result<(), $crate::config::yaml::Problem> {
                $( section!(@check $how self.$field, node); )*
                section!(@own self node $($check)?)
            }
        }

        impl $crate::config::field::Field for $ty {
            fn decode(
                node: &$crate::config::yaml::Node,
            ) -> Result<Self, $crate::config::yaml::Problem> {
                $crate::config::field::decode_section(node, $go)
            }

            fn encode(&self) -> $crate::config::yaml::Out {
                let mut out = Vec::new();
                $crate::config::field::Section::show(self, &mut out);
                $crate::config::yaml::Out::Map(out)
            }

            fn is_empty(&self) -> bool {
                *self == <$ty as Default>::default()
            }

            #[allow(unused_variables, reason = "not every section names files")]
            fn resolve(&mut self, dir: &std::path::Path) {
                $( $crate::config::field::Field::resolve(&mut self.$field, dir); )*
            }
        }
    };
}
pub(crate) use section;

fn scalar<'n>(node: &'n Node, wanted: &str) -> Result<(&'n str, bool), Problem> {
    match &node.value {
        Value::Scalar { text, plain } => Ok((text, *plain)),
        _ => Err(node.refuse(wanted)),
    }
}

impl Field for String {
    fn decode(node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Null => Ok(String::new()),
            _ => Ok(scalar(node, "string")?.0.to_owned()),
        }
    }
    fn encode(&self) -> Out {
        Out::Text(self.clone())
    }
    fn is_empty(&self) -> bool {
        String::is_empty(self)
    }
}

impl Field for bool {
    fn decode(node: &Node) -> Result<Self, Problem> {
        // The words of YAML 1.1, which go-yaml takes for boolean fields.
        match scalar(node, "bool")? {
            (
                "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON",
                true,
            ) => Ok(true),
            (
                "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off"
                | "OFF",
                true,
            ) => Ok(false),
            _ => Err(node.refuse("bool")),
        }
    }
    fn encode(&self) -> Out {
        Out::Bare(self.to_string())
    }
    fn is_empty(&self) -> bool {
        !*self
    }
}

impl Field for u64 {
    fn decode(node: &Node) -> Result<Self, Problem> {
        let (text, plain) = scalar(node, "uint")?;
        let digits = text.replace('_', "");
        match digits.strip_prefix("0x") {
            _ if !plain => Err(node.refuse("uint")),
            Some(hex) => u64::from_str_radix(hex, 16).map_err(|_| node.refuse("uint")),
            None => match (digits.parse(), digits.parse::<f64>()) {
                (Ok(whole), _) => Ok(whole),
                // go-yaml cuts the fraction off.
                (Err(_), Ok(float)) if (0.0..u64::MAX as f64).contains(&float) => Ok(float as u64),
                _ => Err(node.refuse("uint")),
            },
        }
    }
    fn encode(&self) -> Out {
        Out::Bare(self.to_string())
    }
    fn is_empty(&self) -> bool {
        *self == 0
    }
}

impl Field for i64 {
    fn decode(node: &Node) -> Result<Self, Problem> {
        let (text, plain) = scalar(node, "int")?;
        let digits = text.replace('_', "");
        match digits.strip_prefix("0x") {
            _ if !plain => Err(node.refuse("int")),
            Some(hex) => i64::from_str_radix(hex, 16).map_err(|_| node.refuse("int")),
            None => match (digits.parse(), digits.parse::<f64>()) {
                (Ok(whole), _) => Ok(whole),
                (Err(_), Ok(float)) if (i64::MIN as f64..i64::MAX as f64).contains(&float) => {
                    Ok(float as i64)
                }
                _ => Err(node.refuse("int")),
            },
        }
    }
    fn encode(&self) -> Out {
        Out::Bare(self.to_string())
    }
    fn is_empty(&self) -> bool {
        *self == 0
    }
}

impl Field for f64 {
    fn decode(node: &Node) -> Result<Self, Problem> {
        match scalar(node, "float64")? {
            (text, true) => text.parse().map_err(|_| node.refuse("float64")),
            _ => Err(node.refuse("float64")),
        }
    }
    fn encode(&self) -> Out {
        Out::Bare(self.to_string())
    }
    fn is_empty(&self) -> bool {
        *self == 0.0
    }
}

impl<T: Field> Field for Vec<T> {
    fn decode(node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Seq(items) => items.iter().map(T::decode).collect(),
            Value::Null => Ok(Vec::new()),
            _ => Err(node.refuse("list")),
        }
    }
    fn encode(&self) -> Out {
        Out::Seq(self.iter().map(T::encode).collect())
    }
    fn is_empty(&self) -> bool {
        Vec::is_empty(self)
    }
    fn resolve(&mut self, dir: &Path) {
        for item in self {
            item.resolve(dir);
        }
    }
}

impl<T: Field> Field for BTreeMap<String, T> {
    fn decode(node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Map(entries) => entries
                .iter()
                .map(|(key, value)| Ok((key.text.clone(), T::decode(value)?)))
                .collect(),
            Value::Null => Ok(BTreeMap::new()),
            _ => Err(node.refuse("map")),
        }
    }
    fn encode(&self) -> Out {
        Out::Map(self.iter().map(|(k, v)| (k.clone(), v.encode())).collect())
    }
    fn is_empty(&self) -> bool {
        BTreeMap::is_empty(self)
    }
    fn resolve(&mut self, dir: &Path) {
        for item in self.values_mut() {
            item.resolve(dir);
        }
    }
}

impl<T: Field> Field for Option<T> {
    fn decode(node: &Node) -> Result<Self, Problem> {
        T::decode(node).map(Some)
    }
    fn encode(&self) -> Out {
        match self {
            Some(value) => value.encode(),
            None => Out::Bare("null".to_owned()),
        }
    }
    fn is_empty(&self) -> bool {
        self.is_none()
    }
    fn resolve(&mut self, dir: &Path) {
        if let Some(value) = self {
            value.resolve(dir);
        }
    }
}

/// A duration in milliseconds, written as Prometheus does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ms(pub i64);

impl Ms {
    /// Whole seconds.
    pub const fn secs(seconds: i64) -> Self {
        Ms(seconds * 1000)
    }

    /// For the standard library.
    pub fn std(self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

impl std::fmt::Display for Ms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format_duration_ms(self.0))
    }
}

impl Field for Ms {
    fn decode(node: &Node) -> Result<Self, Problem> {
        let (text, _) = scalar(node, "string")?;
        parse_duration_ms(text)
            .map(Ms)
            .map_err(|e| Problem::new(node.place, e.to_string()))
    }
    fn encode(&self) -> Out {
        Out::Bare(self.to_string())
    }
    fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

/// A number of bytes, written with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bytes(pub u64);

impl Field for Bytes {
    fn decode(node: &Node) -> Result<Self, Problem> {
        let (text, _) = scalar(node, "string")?;
        parse_bytes(text)
            .map(Bytes)
            .map_err(|e| Problem::new(node.place, e.to_string()))
    }
    fn encode(&self) -> Out {
        Out::Bare(format_bytes(self.0))
    }
    fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

impl Field for Secret {
    fn decode(node: &Node) -> Result<Self, Problem> {
        // The problem must not show the value.
        match &node.value {
            Value::Scalar { text, .. } => Ok(Secret::new(text.clone())),
            Value::Null => Ok(Secret::default()),
            _ => Err(node.refuse("string")),
        }
    }
    fn encode(&self) -> Out {
        match self.is_empty() {
            true => Out::Text(String::new()),
            false => Out::Bare("<secret>".to_owned()),
        }
    }
    fn is_empty(&self) -> bool {
        Secret::is_empty(self)
    }
}

/// The path of a file; a relative one starts at the directory of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilePath(pub String);

impl Field for FilePath {
    fn decode(node: &Node) -> Result<Self, Problem> {
        String::decode(node).map(FilePath)
    }
    fn encode(&self) -> Out {
        Out::Text(self.0.clone())
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn resolve(&mut self, dir: &Path) {
        let empty_dir = dir.as_os_str().is_empty() || dir == Path::new(".");
        if self.0.is_empty() || empty_dir || Path::new(&self.0).is_absolute() {
            return;
        }
        self.0 = dir.join(&self.0).to_string_lossy().into_owned();
    }
}

/// A URL; a password in it is not shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Url(pub String);

impl Url {
    /// As text with the password hidden.
    pub fn redacted(&self) -> String {
        match url::Url::parse(&self.0) {
            Ok(mut url) if url.password().is_some() => {
                // Fails only for URLs that cannot have a password.
                let _ = url.set_password(Some("xxxxx"));
                url.into()
            }
            _ => self.0.clone(),
        }
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl Field for Url {
    fn decode(node: &Node) -> Result<Self, Problem> {
        let (text, _) = scalar(node, "string")?;
        match url::Url::parse(text) {
            Ok(_) => Ok(Url(text.to_owned())),
            // Go takes a URL without a scheme; whether one is needed is said where the URL is used.
            Err(url::ParseError::RelativeUrlWithoutBase) if !text.contains([' ', '\n']) => {
                Ok(Url(text.to_owned()))
            }
            // The text may hold a password: it is not repeated.
            Err(error) => Err(Problem::new(
                node.place,
                format!("cannot parse URL: {error}"),
            )),
        }
    }
    fn encode(&self) -> Out {
        Out::Text(self.redacted())
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Labels by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSet(pub BTreeMap<String, String>);

impl Field for LabelSet {
    fn decode(node: &Node) -> Result<Self, Problem> {
        let Value::Map(entries) = &node.value else {
            return Err(node.refuse("map[string]string"));
        };
        let mut labels = BTreeMap::new();
        for (key, value) in entries {
            if key.text.is_empty() {
                return Err(Problem::new(key.place, "\"\" is not a valid label name"));
            }
            labels.insert(key.text.clone(), String::decode(value)?);
        }
        Ok(LabelSet(labels))
    }
    fn encode(&self) -> Out {
        self.0.encode()
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A label name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelName(pub String);

impl Field for LabelName {
    fn decode(node: &Node) -> Result<Self, Problem> {
        match String::decode(node)? {
            name if name.is_empty() => {
                Err(Problem::new(node.place, "\"\" is not a valid label name"))
            }
            name => Ok(LabelName(name)),
        }
    }
    fn encode(&self) -> Out {
        Out::Text(self.0.clone())
    }
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
