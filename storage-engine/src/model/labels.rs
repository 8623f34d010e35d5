//! A label set in one canonical byte string, so that equality and hashing are `memcmp` and one pass.
//!
//! Canonical form: for each label in ascending byte order of its name, `uvarint(name bytes) name uvarint(value bytes)
//! value`. Names are unique, values are not empty (an empty value means "no such label"), all text is UTF-8.
//! Not here: interning (the head keeps symbols), limits on names and values (the ingest side).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};
use xxhash_rust::xxh64::Xxh64;

/// The label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// Why bytes or pairs are not a label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelsError {
    /// Two labels of one name.
    #[error("label name \"{0}\" is not unique")]
    Duplicate(String),
    /// Names are not in ascending order.
    #[error("labels are not sorted: \"{0}\" follows a greater name")]
    Unsorted(String),
    /// A length points outside the bytes, or a varint does not end.
    #[error("label bytes are cut short at offset {offset}")]
    Truncated {
        /// Where reading stopped.
        offset: usize,
    },
    /// A name or value is not UTF-8.
    #[error("label text is not valid UTF-8 at offset {offset}")]
    Utf8 {
        /// Where the text starts.
        offset: usize,
    },
    /// An empty name, or an empty value in canonical bytes.
    #[error("empty label name or value at offset {offset}")]
    Empty {
        /// Where the label starts.
        offset: usize,
    },
}

/// An immutable label set; cheap to clone.
#[derive(Clone)]
pub struct Labels(Arc<[u8]>);

impl Labels {
    /// The set with no label.
    pub fn empty() -> Self {
        Labels(Arc::from(&[][..]))
    }

    /// Builds from pairs in any order; pairs with an empty value are left out.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, LabelsError> {
        let mut all: Vec<(N, V)> = pairs
            .into_iter()
            .filter(|(_, v)| !v.as_ref().is_empty())
            .collect();
        all.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        for pair in all.windows(2) {
            if let [a, b] = pair
                && a.0.as_ref() == b.0.as_ref()
            {
                return Err(LabelsError::Duplicate(a.0.as_ref().to_owned()));
            }
        }
        let mut bytes = Vec::with_capacity(all.len() * 24);
        for (n, v) in &all {
            put_text(&mut bytes, n.as_ref());
            put_text(&mut bytes, v.as_ref());
        }
        Ok(Labels(bytes.into()))
    }

    /// Checks canonical bytes from outside (a log record, another thread's buffer) and takes a copy.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, LabelsError> {
        validate(bytes)?;
        Ok(Labels(Arc::from(bytes)))
    }

    /// Checks canonical bytes without taking a copy.
    pub fn check_canonical(bytes: &[u8]) -> Result<(), LabelsError> {
        validate(bytes)
    }

    /// Takes a copy of bytes that this crate built from checked labels.
    pub(crate) fn from_stored(bytes: &[u8]) -> Self {
        debug_assert!(validate(bytes).is_ok());
        Labels(Arc::from(bytes))
    }

    /// The canonical bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Labels in ascending order of name.
    #[inline]
    pub fn iter(&self) -> LabelIter<'_> {
        LabelIter {
            bytes: &self.0,
            at: 0,
        }
    }

    /// The value of `name`, or `None` when the set has no such label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The value of `name`, `""` when absent, as matchers see it.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// The metric name, if there is one.
    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// True for the set with no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy that keeps only labels for which `keep(name)` holds.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Labels {
        let mut bytes = Vec::with_capacity(self.0.len());
        for (n, v) in self.iter().filter(|(n, _)| keep(n)) {
            put_text(&mut bytes, n);
            put_text(&mut bytes, v);
        }
        Labels(bytes.into())
    }

    /// A copy without the metric name.
    pub fn without_name(&self) -> Labels {
        self.filtered(|n| n != METRIC_NAME)
    }

    /// Seeded 128-bit identity of the whole set.
    pub fn hash128(&self, seed: u64) -> u128 {
        xxh3_128_with_seed(&self.0, seed)
    }

    /// The hash that chooses the shard: all labels but `__name__` and `le`, so that the buckets of a histogram and the
    /// metrics of one label set share a home. Stable for ever: it decides where data on disk lives.
    pub fn route_hash(&self) -> u64 {
        hash_without(&self.0, |n| n == METRIC_NAME || n == "le")
    }

    /// Prometheus's own hash of a label set (`labels.Labels.Hash` of the build that is released): xxh64 over the length of each name, the
    /// name, the length of its value, the value. A length takes one byte, or four from 255 on: 255 and three bytes, the lowest first.
    pub fn prometheus_hash(&self) -> u64 {
        let mut hasher = Xxh64::new(0);
        for text in self.iter().flat_map(|(n, v)| [n, v]) {
            match u8::try_from(text.len()) {
                Ok(length) if length < u8::MAX => hasher.update(&[length]),
                _ => {
                    let [a, b, c, ..] = text.len().to_le_bytes();
                    hasher.update(&[u8::MAX, a, b, c]);
                }
            }
            hasher.update(text.as_bytes());
        }
        hasher.digest()
    }
}

/// Hash of canonical label bytes without the labels that `skip` names. The bytes must be canonical.
pub fn hash_without(canonical: &[u8], skip: impl Fn(&str) -> bool) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    let mut iter = LabelIter {
        bytes: canonical,
        at: 0,
    };
    loop {
        let start = iter.at;
        let Some((name, _)) = iter.next() else { break };
        if !skip(name) {
            hash = xxh3_64_with_seed(canonical.get(start..iter.at).unwrap_or_default(), hash);
        }
    }
    hash
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_uvarint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn uvarint(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(first as usize);
    }
    let mut value = (first & 0x7f) as usize;
    for shift in [7, 14, 21, 28] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= ((byte & 0x7f) as usize) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn checked_text<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a str, LabelsError> {
    let start = *at;
    let truncated = LabelsError::Truncated { offset: start };
    let len = uvarint(bytes, at).ok_or_else(|| truncated.clone())?;
    let end = at.checked_add(len).ok_or_else(|| truncated.clone())?;
    let text = bytes.get(*at..end).ok_or(truncated)?;
    *at = end;
    if text.is_empty() {
        return Err(LabelsError::Empty { offset: start });
    }
    std::str::from_utf8(text).map_err(|_| LabelsError::Utf8 { offset: start })
}

fn validate(bytes: &[u8]) -> Result<(), LabelsError> {
    let mut at = 0;
    let mut previous: Option<&str> = None;
    while at < bytes.len() {
        let name = checked_text(bytes, &mut at)?;
        checked_text(bytes, &mut at)?;
        match previous.map(|p| p.cmp(name)) {
            Some(Ordering::Equal) => return Err(LabelsError::Duplicate(name.to_owned())),
            Some(Ordering::Greater) => return Err(LabelsError::Unsorted(name.to_owned())),
            _ => previous = Some(name),
        }
    }
    Ok(())
}

/// Iterator over `(name, value)` in ascending order of name.
#[derive(Clone)]
pub struct LabelIter<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> LabelIter<'a> {
    /// Walks bytes that [`Labels::from_canonical`] has accepted before (a head's own copy of them).
    /// Bytes that are not canonical end the walk early; they are never read out of bounds.
    pub fn over_canonical(bytes: &'a [u8]) -> Self {
        LabelIter { bytes, at: 0 }
    }

    #[inline]
    fn text(&mut self) -> Option<&'a str> {
        let len = uvarint(self.bytes, &mut self.at)?;
        let text = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        std::str::from_utf8(text).ok()
    }
}

impl<'a> Iterator for LabelIter<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        Some((self.text()?, self.text()?))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelIter<'a>;
    fn into_iter(self) -> LabelIter<'a> {
        self.iter()
    }
}

impl Default for Labels {
    fn default() -> Self {
        Labels::empty()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Prometheus's order: name, then value, label by label; a prefix sorts first.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&*self.0, &*other.0);
        let Some(differs) = first_difference(a, b) else {
            // One goes on where the other ends, or they are equal.
            return a.len().cmp(&b.len());
        };
        // The text with the difference, or with a length that differs, decides.
        let mut at = 0;
        loop {
            let mut in_b = at;
            let (Some(of_a), Some(of_b)) = (uvarint(a, &mut at), uvarint(b, &mut in_b)) else {
                return a.cmp(b);
            };
            if at + of_a > differs {
                return a.get(at..at + of_a).cmp(&b.get(in_b..in_b + of_b));
            }
            at += of_a;
        }
    }
}

/// Where two byte strings differ first, if neither is the beginning of the other.
fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    const WORD: usize = 8;
    let words = a.as_chunks::<WORD>().0.iter().zip(b.as_chunks::<WORD>().0);
    let equal = words.take_while(|(a, b)| a == b).count() * WORD;
    let mut rest = a.iter().zip(b).skip(equal);
    rest.position(|(a, b)| a != b).map(|at| equal + at)
}
impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As Go's `labels.Labels.String`: `{__name__="up", job="x"}`, with names quoted when they are not legacy names.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (n, v)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(n) {
                f.write_str(n)?;
            } else {
                write_quoted(f, n)?;
            }
            f.write_str("=")?;
            write_quoted(f, v)?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Go's `strconv.Quote` for valid UTF-8.
pub(super) fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    use fmt::Write;
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\u{7}' => f.write_str("\\a")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{b}' => f.write_str("\\v")?,
            '\u{c}' => f.write_str("\\f")?,
            c if (c as u32) < 0x20 || c == '\u{7f}' => write!(f, "\\x{:02x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_str("\"")
}

/// Edits on top of a base set; later edits win, an empty value deletes.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Starts from the labels of `base`.
    pub fn new(base: &Labels) -> Self {
        let pairs = base
            .iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        LabelsBuilder { pairs }
    }

    /// Sets `name`; an empty value deletes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.iter_mut().find(|(n, _)| n == name) {
            Some(_) if value.is_empty() => self.pairs.retain(|(n, _)| n != name),
            Some(pair) => value.clone_into(&mut pair.1),
            None if value.is_empty() => {}
            None => self.pairs.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes `name`.
    pub fn del(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    /// The present value of `name`, `""` when absent.
    pub fn get(&self, name: &str) -> &str {
        self.pairs
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, v)| v)
    }

    /// The pairs as they stand, in no particular order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The finished set.
    pub fn build(&self) -> Labels {
        match Labels::from_pairs(self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))) {
            Ok(labels) => labels,
            Err(_) => unreachable!("the builder keeps names unique"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_hashes_lengths_and_texts() {
        let labels = Labels::from_pairs([("a", "b"), ("long", &*"x".repeat(300))]).unwrap();
        let mut bytes = b"\x01a\x01b\x04long\xff\x2c\x01\x00".to_vec();
        bytes.extend([b'x'; 300]);
        assert_eq!(
            labels.prometheus_hash(),
            xxhash_rust::xxh64::xxh64(&bytes, 0)
        );
        let empty = xxhash_rust::xxh64::xxh64(b"", 0);
        assert_eq!(Labels::empty().prometheus_hash(), empty);
    }

    #[test]
    fn the_order_is_that_of_the_pairs() {
        let texts = [
            "a",
            "b",
            "ab",
            "abc",
            "aaaaaaaaaaaaaaaab",
            "aaaaaaaaaaaaaaaac",
            "\u{1}",
            "ä",
        ];
        let long = "x".repeat(200);
        let mut all = vec![Labels::empty()];
        for name in texts.iter().chain([&long.as_str()]) {
            for value in texts.iter().chain([&long.as_str()]) {
                all.push(Labels::from_pairs([(name, value)]).unwrap());
                all.push(Labels::from_pairs([(*name, *value), ("z", "1")]).unwrap());
                all.push(Labels::from_pairs([("A", *value), (name, value)]).unwrap());
            }
        }
        for a in &all {
            for b in &all {
                assert_eq!(a.cmp(b), a.iter().cmp(b.iter()), "{a} {b}");
            }
        }
    }

    #[test]
    fn pairs_become_sorted_and_round_trip() {
        let l = Labels::from_pairs([("job", "x"), ("__name__", "up"), ("gone", "")]).unwrap();
        assert_eq!(l.to_string(), r#"{__name__="up", job="x"}"#);
        assert_eq!(Labels::from_canonical(l.as_bytes()).unwrap(), l);
        assert_eq!(l.metric_name(), Some("up"));
        assert_eq!(l.value("nope"), "");
    }

    #[test]
    fn bad_bytes_are_refused() {
        assert!(matches!(
            Labels::from_canonical(&[3, b'a']),
            Err(LabelsError::Truncated { .. })
        ));
        assert!(matches!(
            Labels::from_canonical(&[1, 0xff, 1, b'x']),
            Err(LabelsError::Utf8 { .. })
        ));
        let unsorted = [1, b'b', 1, b'x', 1, b'a', 1, b'x'];
        assert!(matches!(
            Labels::from_canonical(&unsorted),
            Err(LabelsError::Unsorted(_))
        ));
        assert!(matches!(
            Labels::from_pairs([("a", "1"), ("a", "2")]),
            Err(LabelsError::Duplicate(_))
        ));
    }

    #[test]
    fn order_is_label_by_label() {
        let l = |p: &[(&str, &str)]| Labels::from_pairs(p.iter().copied()).unwrap();
        assert!(l(&[("a", "1")]) < l(&[("a", "1"), ("b", "1")]));
        assert!(l(&[("a", "10")]) < l(&[("a", "9")]));
        assert!(l(&[("A", "9")]) < l(&[("a", "1")]));
    }

    #[test]
    fn route_ignores_name_and_le() {
        let l = |p: &[(&str, &str)]| Labels::from_pairs(p.iter().copied()).unwrap().route_hash();
        assert_eq!(
            l(&[("__name__", "x_bucket"), ("le", "1"), ("job", "j")]),
            l(&[("__name__", "x_sum"), ("job", "j")])
        );
        assert_ne!(l(&[("job", "j")]), l(&[("job", "k")]));
    }
}
