//! Names and label sets from outside: what may become a series.
//!
//! Promise: what passes is canonical (sorted, unique names, no empty values, UTF-8) and has a metric name; the checks
//! and their order are Prometheus's receiver's, so that a bad set gets the same fault.
//! Not here: limits on the number or length of labels, relabeling.

use crate::limits::{LABEL_SET_BYTES_MAX, LABELS_SHOWN_BYTES_MAX};
use crate::text::go_quote;
use storage_engine::model::METRIC_NAME;

/// What is wrong with a label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelSetError {
    /// No metric name, an empty one, or text that is not UTF-8.
    #[error("invalid metric name or labels, got {labels}")]
    Invalid {
        /// The set as Prometheus prints it.
        labels: String,
    },
    /// More bytes than a label set may have.
    #[error("label set of {bytes} bytes is larger than the limit of {LABEL_SET_BYTES_MAX} bytes")]
    TooLarge {
        /// Bytes of its names and values.
        bytes: usize,
    },
    /// Two labels of one name.
    #[error("invalid labels for series, labels {labels}, duplicated label {name}")]
    Duplicate {
        /// The set as Prometheus prints it.
        labels: String,
        /// The first name that is there twice.
        name: String,
    },
}

/// A legacy metric name: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    is_legacy(name, true)
}

/// A legacy label name: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    is_legacy(name, false)
}

fn is_legacy(name: &str, colons: bool) -> bool {
    let word = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (colons && b == b':');
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|&b| word(b)) && bytes.iter().all(|&b| word(b) || b.is_ascii_digit())
}

/// Sorts `pairs`, checks them and replaces `out` by their canonical bytes.
pub(crate) fn canonical_labels(
    pairs: &mut [(&[u8], &[u8])],
    out: &mut Vec<u8>,
) -> Result<(), LabelSetError> {
    out.clear();
    let bytes = pairs.iter().fold(0usize, |sum, (name, value)| {
        sum.saturating_add(name.len()).saturating_add(value.len())
    });
    if bytes > LABEL_SET_BYTES_MAX {
        return Err(LabelSetError::TooLarge { bytes });
    }
    if !pairs.is_sorted_by(|a, b| a.0 <= b.0) {
        pairs.sort_by_key(|pair| pair.0);
    }
    let mut named = false;
    for (name, value) in pairs.iter() {
        let metric = *name == METRIC_NAME.as_bytes();
        named |= metric;
        let empty = name.is_empty() || (metric && value.is_empty());
        let sound =
            !empty && std::str::from_utf8(name).is_ok() && std::str::from_utf8(value).is_ok();
        if !sound {
            return Err(invalid(pairs));
        }
    }
    if !named {
        return Err(invalid(pairs));
    }
    let twice = pairs.windows(2).find_map(|pair| match pair {
        [a, b] if a.0 == b.0 => Some(a.0),
        _ => None,
    });
    if let Some(name) = twice {
        return Err(LabelSetError::Duplicate {
            labels: show_labels(pairs),
            name: String::from_utf8_lossy(name).into_owned(),
        });
    }
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        put_text(out, name);
        put_text(out, value);
    }
    Ok(())
}

#[cold]
fn invalid(pairs: &[(&[u8], &[u8])]) -> LabelSetError {
    LabelSetError::Invalid {
        labels: show_labels(pairs),
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(text);
}

/// Pairs as Go's `labels.Labels.String` prints them, whatever their bytes; a very long set is cut off.
pub(crate) fn show_labels(pairs: &[(&[u8], &[u8])]) -> String {
    let mut out = String::from("{");
    for (index, (name, value)) in pairs.iter().enumerate() {
        if out.len() > LABELS_SHOWN_BYTES_MAX {
            out.push_str(", ...");
            break;
        }
        if index > 0 {
            out.push_str(", ");
        }
        match std::str::from_utf8(name) {
            Ok(name) if is_legacy_label_name(name) => out.push_str(name),
            _ => out.push_str(&go_quote(name)),
        }
        out.push('=');
        out.push_str(&go_quote(value));
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_engine::model::Labels;

    fn check(pairs: &[(&str, &[u8])]) -> Result<String, String> {
        let mut pairs: Vec<(&[u8], &[u8])> =
            pairs.iter().map(|(n, v)| (n.as_bytes(), *v)).collect();
        let mut out = Vec::new();
        canonical_labels(&mut pairs, &mut out).map_err(|e| e.to_string())?;
        Ok(Labels::from_canonical(&out).unwrap().to_string())
    }

    #[test]
    fn sound_sets_become_canonical() {
        assert_eq!(
            check(&[
                ("job", b"x"),
                ("gone", b""),
                ("__name__", b"up"),
                ("a.b", "é".as_bytes())
            ]),
            Ok(r#"{__name__="up", "a.b"="é", job="x"}"#.to_owned())
        );
        let long = vec![b'v'; 300];
        assert!(check(&[("__name__", b"up"), ("long", &long)]).is_ok());
    }

    #[test]
    fn bad_sets_are_refused_in_prometheus_own_words() {
        assert_eq!(
            check(&[("job", b"x")]),
            Err(r#"invalid metric name or labels, got {job="x"}"#.to_owned())
        );
        assert_eq!(
            check(&[]),
            Err("invalid metric name or labels, got {}".to_owned())
        );
        assert_eq!(
            check(&[("__name__", b"")]),
            Err(r#"invalid metric name or labels, got {__name__=""}"#.to_owned())
        );
        assert_eq!(
            check(&[("__name__", b"up"), ("a", b"\xff")]),
            Err(r#"invalid metric name or labels, got {__name__="up", a="\xff"}"#.to_owned())
        );
        assert_eq!(
            check(&[("__name__", b"up"), ("", b"x")]),
            Err(r#"invalid metric name or labels, got {""="x", __name__="up"}"#.to_owned())
        );
        assert_eq!(
            check(&[("a", b"1"), ("__name__", b"up"), ("a", b"2")]),
            Err(r#"invalid labels for series, labels {__name__="up", a="1", a="2"}, duplicated label a"#.to_owned())
        );
    }

    #[test]
    fn legacy_names() {
        for (name, metric, label) in [
            ("a", true, true),
            ("a:b", true, false),
            ("0a", false, false),
            ("", false, false),
            ("a.b", false, false),
            ("_9", true, true),
        ] {
            assert_eq!(is_legacy_metric_name(name), metric, "{name}");
            assert_eq!(is_legacy_label_name(name), label, "{name}");
        }
    }
}
