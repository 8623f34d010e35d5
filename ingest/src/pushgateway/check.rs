//! What is wrong with a push, in the words of Go's registry, which the Pushgateway asks.

use super::family::{Kind, Label, Metric};
use super::message::METRIC;
use crate::limits::PUSH_FAULT_BYTES_MAX;
use crate::text::go_quote;
use crate::validate::is_legacy_label_name;

/// Faults found, in a bounded number of bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    texts: Vec<String>,
    bytes: usize,
    left_out: usize,
}

impl Faults {
    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Adds a fault. Its text is only made when there is room for it.
    pub(super) fn add(&mut self, text: impl FnOnce() -> String) {
        if self.bytes >= PUSH_FAULT_BYTES_MAX {
            self.left_out += 1;
            return;
        }
        let text = text();
        self.bytes += text.len();
        self.texts.push(text);
    }

    /// All in one text.
    pub(super) fn into_text(self) -> String {
        let count = self.texts.len() + self.left_out;
        let mut texts = self.texts;
        if count == 1 {
            return texts.pop().unwrap_or_default();
        }
        let mut out = format!("{count} error(s) occurred:");
        for text in texts {
            out.push_str("\n* ");
            out.push_str(&text);
        }
        if self.left_out > 0 {
            out.push_str(&format!("\n* … and {} more", self.left_out));
        }
        out
    }
}

/// `"name" { metric}`, as the registry names a metric.
fn shown(family: &str, message: &[u8]) -> String {
    let mut text = String::new();
    METRIC.write_text(message, &mut text);
    format!("{} {{ {text}}}", go_quote(family.as_bytes()))
}

/// Checks a metric against its own family. `message` is the metric in the form that is kept.
pub(super) fn metric(
    family: &str,
    kind: Kind,
    metric: &Metric<'_>,
    own: &[Label<'_>],
    message: &[u8],
    faults: &mut Faults,
) {
    if kind
        .value_field()
        .is_some_and(|field| !metric.value.has_field(field))
    {
        faults.add(|| not_of_kind(family, kind, message));
        return;
    }
    let is_summary = metric.value.has_field(super::message::METRIC_SUMMARY);
    for (i, label) in own.iter().enumerate() {
        let name = &*label.name;
        if own[..i].iter().any(|other| other.name == name) {
            faults.add(|| {
                let metric = shown(family, message);
                format!(
                    "collected metric {metric} has two or more labels with the same name: {name}"
                )
            });
            return;
        }
        if !is_legacy_label_name(name) || name.starts_with("__") {
            faults.add(|| {
                let metric = shown(family, message);
                format!("collected metric {metric} has a label with an invalid name: {name}")
            });
            return;
        }
        if is_summary && name == "quantile" {
            faults.add(|| {
                let metric = shown(family, message);
                format!("collected metric {metric} must not have an explicit \"quantile\" label")
            });
            return;
        }
    }
}

/// A metric that has no value of its family's type.
pub(super) fn not_of_kind(family: &str, kind: Kind, message: &[u8]) -> String {
    let metric = shown(family, message);
    format!("collected metric {metric} is not a {}", kind.name())
}

/// A metric that is there already.
pub(super) fn seen_before(family: &str, message: &[u8]) -> String {
    let metric = shown(family, message);
    format!("collected metric {metric} was collected before with the same name and label values")
}

/// Does a new family of this name and type clash with the lines that a summary or histogram makes? `kind_of` tells the type of a family
/// that is there.
pub(super) fn suffix_collision(
    name: &str,
    kind: Kind,
    kind_of: impl Fn(&str) -> Option<Kind>,
) -> Option<String> {
    let quoted = go_quote(name.as_bytes());
    let quote = |text: &str| go_quote(text.as_bytes());
    for suffix in ["_count", "_sum", "_bucket"] {
        let Some(base) = name.strip_suffix(suffix).filter(|base| !base.is_empty()) else {
            continue;
        };
        let what = match kind_of(base) {
            Some(Kind::Summary) if suffix != "_bucket" => "summary",
            Some(Kind::Histogram) => "histogram",
            _ => continue,
        };
        let base = quote(base);
        return Some(format!(
            "collected metric named {quoted} collides with previously collected {what} named {base}"
        ));
    }
    let what = match kind {
        Kind::Summary | Kind::Histogram => "histogram or summary",
        _ => return None,
    };
    for suffix in ["_count", "_sum", "_bucket"] {
        let what = match (suffix, kind) {
            ("_bucket", Kind::Summary) => continue,
            ("_bucket", _) => "histogram",
            _ => what,
        };
        let line = format!("{name}{suffix}");
        if kind_of(&line).is_some() {
            let line = quote(&line);
            return Some(format!(
                "collected {what} named {quoted} collides with previously collected metric named {line}"
            ));
        }
    }
    None
}
