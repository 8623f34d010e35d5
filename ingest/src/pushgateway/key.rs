//! The labels that name a group, as they stand in the path of a push.

use crate::text::go_quote;
use crate::validate::is_legacy_label_name;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::collections::BTreeMap;

/// The end of a label name in a path whose value is written in base64.
const BASE64_SUFFIX: &str = "@base64";
/// As the Pushgateway: the alphabet for URLs, padding taken off before, spare bits at the end ignored.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Why a path names no group; texts are the Pushgateway's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupingError {
    /// The job is not base64.
    #[error("invalid base64 encoding in job name {decoded}: {reason}")]
    JobBase64 {
        /// What came before the fault, quoted.
        decoded: String,
        /// Go's words.
        reason: String,
    },
    /// No job.
    #[error("job name is required")]
    NoJob,
    /// A name without a value.
    #[error("odd number of components in label string {0}")]
    Odd(String),
    /// A name that is none, or a reserved one.
    #[error("improper label name {0}")]
    LabelName(String),
    /// A value that is not base64.
    #[error("invalid base64 encoding for label {name}={value}: {reason}")]
    LabelBase64 {
        /// The label.
        name: String,
        /// As it stands in the path, quoted.
        value: String,
        /// Go's words.
        reason: String,
    },
    /// A value that is not text.
    #[error("the value of label {name} is not valid UTF-8: {value}")]
    NotText {
        /// The label.
        name: String,
        /// Quoted.
        value: String,
    },
}

/// The labels of a group, ascending by name, `job` among them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grouping(Vec<(String, String)>);

impl Grouping {
    /// Reads what follows `/metrics/job/` or `/metrics/job@base64/` in a path, percent signs decoded: the job and, behind it, names and
    /// values in turn. A name that comes twice counts with its last value; `job` is always the first component.
    pub fn from_path(rest: &[u8], job_is_base64: bool) -> Result<Grouping, GroupingError> {
        let slash = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
        let (job, labels) = rest.split_at(slash);
        let job = match job_is_base64 {
            false => job.to_vec(),
            true => decode(job).map_err(|(decoded, reason)| GroupingError::JobBase64 {
                decoded: go_quote(&decoded),
                reason,
            })?,
        };
        let mut found = split(labels)?;
        if job.is_empty() {
            return Err(GroupingError::NoJob);
        }
        found.insert("job".to_owned(), text("job", job)?);
        Ok(Grouping(found.into_iter().collect()))
    }

    /// From labels that were a grouping's before. They must ascend by name.
    pub(super) fn from_sorted(labels: Vec<(String, String)>) -> Option<Grouping> {
        let ascending = labels.windows(2).all(|pair| pair[0].0 < pair[1].0);
        ascending.then_some(Grouping(labels))
    }

    /// Names and values, ascending by name.
    pub fn labels(&self) -> &[(String, String)] {
        &self.0
    }

    /// Bytes of all names and values.
    pub(super) fn text_bytes(&self) -> usize {
        self.0.iter().map(|(n, v)| n.len() + v.len()).sum()
    }
}

fn split(labels: &[u8]) -> Result<BTreeMap<String, String>, GroupingError> {
    let mut found = BTreeMap::new();
    if labels.len() <= 1 {
        return Ok(found);
    }
    let parts: Vec<&[u8]> = labels[1..].split(|b| *b == b'/').collect();
    if !parts.len().is_multiple_of(2) {
        return Err(GroupingError::Odd(go_quote(labels)));
    }
    for pair in parts.chunks_exact(2) {
        let (name, value) = (pair[0], pair[1]);
        let plain = name.strip_suffix(BASE64_SUFFIX.as_bytes());
        let trimmed = plain.unwrap_or(name);
        let name = std::str::from_utf8(trimmed)
            .ok()
            .filter(|n| is_legacy_label_name(n) && !n.starts_with("__"))
            .ok_or_else(|| GroupingError::LabelName(go_quote(trimmed)))?;
        let value = match plain {
            None => value.to_vec(),
            Some(_) => decode(value).map_err(|(_, reason)| GroupingError::LabelBase64 {
                name: name.to_owned(),
                value: go_quote(value),
                reason,
            })?,
        };
        found.insert(name.to_owned(), text(name, value)?);
    }
    Ok(found)
}

fn text(name: &str, value: Vec<u8>) -> Result<String, GroupingError> {
    String::from_utf8(value).map_err(|error| GroupingError::NotText {
        name: name.to_owned(),
        value: go_quote(error.as_bytes()),
    })
}

/// Decodes, or returns what was whole before the first fault and where that is.
fn decode(value: &[u8]) -> Result<Vec<u8>, (Vec<u8>, String)> {
    let end = value
        .iter()
        .rposition(|b| *b != b'=')
        .map_or(0, |at| at + 1);
    let value = &value[..end];
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    // Go steps over line ends.
    let value: Vec<u8> = value
        .iter()
        .filter(|b| !matches!(b, b'\r' | b'\n'))
        .copied()
        .collect();
    let bad = value.iter().position(|b| !digit(b));
    // One digit of a last group is less than a byte: Go points at that digit.
    let bad = bad.or_else(|| (value.len() % 4 == 1).then(|| value.len() - 1));
    match bad {
        None => BASE64
            .decode(&value)
            .map_err(|error| (Vec::new(), error.to_string())),
        Some(at) => {
            let whole = BASE64.decode(&value[..at / 4 * 4]).unwrap_or_default();
            Err((whole, format!("illegal base64 data at input byte {at}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, base64: bool, expected: Result<&[(&str, &str)], &str>) {
        let got = Grouping::from_path(path.as_bytes(), base64);
        match (got, expected) {
            (Ok(got), Ok(expected)) => {
                let got: Vec<(&str, &str)> = got
                    .labels()
                    .iter()
                    .map(|(n, v)| (n.as_str(), v.as_str()))
                    .collect();
                assert_eq!(got, expected, "{path}");
            }
            (Err(got), Err(expected)) => assert_eq!(got.to_string(), expected, "{path}"),
            (got, expected) => panic!("{path}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn paths_name_groups() {
        check("a", false, Ok(&[("job", "a")]));
        check("a/", false, Ok(&[("job", "a")]));
        check("a/b/", false, Ok(&[("b", ""), ("job", "a")]));
        check(
            "a/z/1/b/2",
            false,
            Ok(&[("b", "2"), ("job", "a"), ("z", "1")]),
        );
        check("a/l/1/l@base64/Yg", false, Ok(&[("job", "a"), ("l", "b")]));
        check("a/job/b", false, Ok(&[("job", "a")]));
        check("YS9i", true, Ok(&[("job", "a/b")]));
        check("YQ==", true, Ok(&[("job", "a")]));
        check("YQ/l@base64/=", true, Ok(&[("job", "a"), ("l", "")]));
    }

    #[test]
    fn paths_that_name_no_group() {
        check(
            "a/b",
            false,
            Err("odd number of components in label string \"/b\""),
        );
        check("", false, Err("job name is required"));
        check("=", true, Err("job name is required"));
        check(
            "Y!Q",
            true,
            Err("invalid base64 encoding in job name \"\": illegal base64 data at input byte 1"),
        );
        check(
            "a/l@base64/a*b",
            false,
            Err("invalid base64 encoding for label l=\"a*b\": illegal base64 data at input byte 1"),
        );
        check("a/__n/b", false, Err("improper label name \"__n\""));
        check("a/n-n/b", false, Err("improper label name \"n-n\""));
        check("a//b", false, Err("improper label name \"\""));
        assert!(Grouping::from_path(b"a/n/\xff", false).is_err());
    }
}
