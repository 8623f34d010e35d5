//! The key of a series on a protobuf page: all that its labels are made of, cheaper to write than to format.
//!
//! Layout: metric name, then for each label `0xff name 0xff value`, then perhaps `0xfe`, `L` or `Q`, and the eight bytes of the bound of a
//! bucket or of a quantile. No UTF-8 text has 0xff or 0xfe, so the parts are found again; the bound is formatted when labels are asked for.

use crate::text::{LabelPair, open_metrics_float_of};
use std::borrow::Cow;

const SEPARATOR: u8 = 0xff;
const BOUND: u8 = 0xfe;

/// Which label a bound becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BoundLabel {
    /// `le`
    Bucket,
    /// `quantile`
    Quantile,
}

/// Writes keys into one buffer.
#[derive(Debug, Default)]
pub(super) struct KeyWriter {
    /// Separators, names and values of the metric at hand.
    labels: Vec<u8>,
    key: Vec<u8>,
}

impl KeyWriter {
    /// Forgets the labels of the metric before.
    pub(super) fn begin_metric(&mut self) {
        self.labels.clear();
    }

    /// Adds a label of the metric.
    pub(super) fn label(&mut self, name: &str, value: &str) {
        self.labels.push(SEPARATOR);
        self.labels.extend_from_slice(name.as_bytes());
        self.labels.push(SEPARATOR);
        self.labels.extend_from_slice(value.as_bytes());
    }

    /// The key of one series of the metric.
    pub(super) fn key(
        &mut self,
        name: &str,
        suffix: &str,
        bound: Option<(BoundLabel, f64)>,
    ) -> &[u8] {
        self.key.clear();
        self.key.extend_from_slice(name.as_bytes());
        self.key.extend_from_slice(suffix.as_bytes());
        self.key.extend_from_slice(&self.labels);
        if let Some((label, bound)) = bound {
            self.key.push(BOUND);
            self.key.push(match label {
                BoundLabel::Bucket => b'L',
                BoundLabel::Quantile => b'Q',
            });
            self.key.extend_from_slice(&bound.to_bits().to_le_bytes());
        }
        &self.key
    }
}

/// Replaces `out` by the labels of a key, `__name__` first, the others in the order of the page.
pub(crate) fn labels_of_key<'a>(key: &'a [u8], out: &mut Vec<LabelPair<'a>>) {
    out.clear();
    let bound_at = memchr::memchr(BOUND, key);
    let (texts, bound) = match bound_at {
        Some(at) => key.split_at(at),
        None => (key, &key[key.len()..]),
    };
    let mut parts = texts
        .split(|&b| b == SEPARATOR)
        .map(String::from_utf8_lossy);
    let name = parts.next().unwrap_or_default();
    out.push((Cow::Borrowed("__name__"), name));
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        out.push((name, value));
    }
    if let [_, kind, bits @ ..] = bound
        && let Ok(bits) = <[u8; 8]>::try_from(bits)
    {
        let label = if *kind == b'L' { "le" } else { "quantile" };
        let bound = open_metrics_float_of(f64::from_le_bytes(bits));
        out.push((Cow::Borrowed(label), Cow::Owned(bound)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_give_their_labels_back() {
        let mut writer = KeyWriter::default();
        let shown = |key: &[u8]| {
            let mut labels = Vec::new();
            labels_of_key(key, &mut labels);
            let texts: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
            texts.join(" ")
        };
        assert_eq!(shown(writer.key("up", "", None)), "__name__=up");
        writer.label("a", "é\"\n");
        writer.label("my.label", "");
        let le = Some((BoundLabel::Bucket, 5.0));
        assert_eq!(
            shown(writer.key("h", "_bucket", le)),
            "__name__=h_bucket a=é\"\n my.label= le=5.0"
        );
        // A bound whose bytes look like separators.
        let odd = f64::from_bits(0x40ff_fe4c_ffff_fe01);
        let quantile = Some((BoundLabel::Quantile, odd));
        let expected = format!("__name__=s a=é\"\n my.label= quantile={odd}");
        assert_eq!(shown(writer.key("s", "", quantile)), expected);
        let infinite = Some((BoundLabel::Bucket, f64::INFINITY));
        writer.begin_metric();
        assert_eq!(
            shown(writer.key("h", "_bucket", infinite)),
            "__name__=h_bucket le=+Inf"
        );
    }
}
