//! What a test expected and what it got, as promtool prints them.

use std::collections::BTreeMap;

/// Labels and annotations of an alert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AlertText {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// `{a="b", c="d"}`
pub(super) fn label_text<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let quoted = |text: &str| query_engine::eval::text::go_quote(text.as_bytes());
    let is_plain = |name: &str| {
        !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
    };
    let pairs: Vec<String> = pairs
        .map(|(name, value)| match is_plain(name) {
            true => format!("{name}={}", quoted(value)),
            false => format!("{}={}", quoted(name), quoted(value)),
        })
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

fn map_text(map: &BTreeMap<String, String>) -> String {
    label_text(map.iter().map(|(n, v)| (n.as_str(), v.as_str())))
}

fn indented(text: &str, by: &str) -> String {
    text.replace('\n', &format!("\n{by}"))
}

/// A list of alerts, its further lines behind `by`.
pub(super) fn alerts_text(alerts: &[AlertText], by: &str) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let items: Vec<String> = alerts
        .iter()
        .enumerate()
        .map(|(i, alert)| {
            let text = format!(
                "\nLabels:{}\nAnnotations:{}",
                map_text(&alert.labels),
                map_text(&alert.annotations)
            );
            format!("{i}:{}", indented(&text, "  "))
        })
        .collect();
    indented(&format!("[\n{}\n]", items.join(",\n")), by)
}

/// Go's `strconv.FormatFloat(value, 'E', -1, 64)`.
pub(super) fn exponent_text(value: f64) -> String {
    crate::api::alerts::exponent_text(value).replace('e', "E")
}
