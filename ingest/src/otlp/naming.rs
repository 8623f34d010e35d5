//! Names: of metrics, labels and units, from OpenTelemetry's to ours.
//!
//! Promise: the names that Prometheus's OTLP receiver gives (its package otlptranslator; the rules are in OpenTelemetry's specification
//! "Prometheus and OpenMetrics compatibility"). Pure.

/// What becomes of names: the values of `otlp.translation_strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Unit and type at the end; other characters than letters, digits and colons become underscores.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Unit and type at the end, all characters kept.
    NoUtf8EscapingWithSuffixes,
    /// Underscores only.
    UnderscoreEscapingWithoutSuffixes,
    /// As they are.
    NoTranslation,
}

impl Strategy {
    /// By the name in the configuration.
    pub fn from_name(name: &str) -> Option<Strategy> {
        Some(match name {
            "UnderscoreEscapingWithSuffixes" => Strategy::UnderscoreEscapingWithSuffixes,
            "NoUTF8EscapingWithSuffixes" => Strategy::NoUtf8EscapingWithSuffixes,
            "UnderscoreEscapingWithoutSuffixes" => Strategy::UnderscoreEscapingWithoutSuffixes,
            "NoTranslation" => Strategy::NoTranslation,
            _ => return None,
        })
    }

    /// May names have any character?
    pub(super) fn keeps_characters(self) -> bool {
        matches!(
            self,
            Strategy::NoUtf8EscapingWithSuffixes | Strategy::NoTranslation
        )
    }

    fn has_suffixes(self) -> bool {
        matches!(
            self,
            Strategy::UnderscoreEscapingWithSuffixes | Strategy::NoUtf8EscapingWithSuffixes
        )
    }
}

/// What the name of a metric tells of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameKind {
    Counter,
    Gauge,
    Other,
}

/// The name of a metric, or why there is none.
pub(super) fn metric_name(
    name: &str,
    unit: &str,
    kind: NameKind,
    strategy: Strategy,
) -> Result<String, String> {
    let built = match (strategy.keeps_characters(), strategy.has_suffixes()) {
        (true, false) => name.to_owned(),
        (true, true) => with_suffixes(name, unit, kind),
        (false, false) => {
            let is_kept = |c: char| c == '_' || is_name_character(c);
            before_digit(tokens(name, is_kept).collect::<Vec<_>>().join("_"))
        }
        (false, true) => from_tokens(name, unit, kind),
    };
    if built.is_empty() {
        return Err(format!(
            "normalization for metric {name:?} resulted in empty name"
        ));
    }
    let only_underscores = built.chars().all(|c| c == '_');
    if built != name && only_underscores && !strategy.keeps_characters() {
        return Err(format!(
            "normalization for metric {name:?} resulted in invalid name {built:?}"
        ));
    }
    Ok(built)
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn tokens(text: &str, is_kept: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    text.split(move |c| !is_kept(c)).filter(|t| !t.is_empty())
}

fn before_digit(name: String) -> String {
    match name.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("_{name}"),
        false => name,
    }
}

fn from_tokens(name: &str, unit: &str, kind: NameKind) -> String {
    let mut parts: Vec<String> = tokens(name, is_name_character).map(str::to_owned).collect();
    let (main, per) = unit_suffixes(unit);
    let main = clean_unit(&main);
    let per = clean_unit(&per);
    let has = |parts: &[String], text: &str| parts.iter().any(|p| p == text);
    if !main.is_empty() && !has(&parts, &main) {
        parts.push(main);
    }
    if !per.is_empty() && per != "per" && !has(&parts, &per) {
        parts.push(per);
    }
    let last = match kind {
        NameKind::Counter => Some("total"),
        NameKind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(last) = last {
        parts.retain(|part| part != last);
        parts.push(last.to_owned());
    }
    before_digit(parts.join("_"))
}

fn with_suffixes(name: &str, unit: &str, kind: NameKind) -> String {
    let mut name = name;
    let last = match kind {
        NameKind::Counter => Some("total"),
        NameKind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(last) = last {
        name = without_suffix(name, last);
    }
    let (main, per) = unit_suffixes(unit);
    if !per.is_empty() {
        name = without_suffix(name, &per);
    }
    let mut out = name.to_owned();
    if !main.is_empty() && !name.ends_with(&main) {
        out = format!("{out}_{main}");
    }
    for suffix in [Some(per.as_str()), last].into_iter().flatten() {
        if !suffix.is_empty() {
            out = format!("{out}_{suffix}");
        }
    }
    out
}

/// Cuts a suffix and the one character before it.
fn without_suffix<'a>(name: &'a str, suffix: &str) -> &'a str {
    let Some(rest) = name.strip_suffix(suffix) else {
        return name;
    };
    match rest.char_indices().next_back() {
        Some((at, _)) if at > 0 => &rest[..at],
        _ => name,
    }
}

/// What a unit adds to a name: the unit itself, and `per_` what it is counted by.
fn unit_suffixes(unit: &str) -> (String, String) {
    let (main, per) = match unit.split_once('/') {
        Some((main, per)) => (main.trim(), per.trim()),
        None => (unit.trim(), ""),
    };
    let is_annotation = |text: &str| text.contains(['{', '}']);
    let main = match main {
        _ if is_annotation(main) => "",
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    };
    let per = match per {
        _ if is_annotation(per) => "",
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    };
    let per = match per {
        "" => String::new(),
        per => format!("per_{per}"),
    };
    (main.to_owned(), per)
}

/// A unit with the characters of names only, no underscores at its ends and no two of them side by side.
fn clean_unit(unit: &str) -> String {
    tokens(unit, is_name_character)
        .collect::<Vec<_>>()
        .join("_")
}

/// The unit as the metadata of a metric tells it.
pub(super) fn unit_name(unit: &str) -> String {
    let (main, per) = unit_suffixes(unit);
    let parts = [clean_unit(&main), clean_unit(&per)];
    let parts: Vec<String> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    parts.join("_")
}

/// How the names of labels are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelNames {
    /// What becomes of other characters.
    pub strategy: Strategy,
    /// Put `key` before a name that begins with one underscore (`label_name_underscore_sanitization`).
    pub key_before_underscore: bool,
    /// Leave several underscores in a row alone (`label_name_preserve_multiple_underscores`).
    pub keep_underscores: bool,
}

impl LabelNames {
    /// The name of a label, or why there is none.
    pub(super) fn name(&self, attribute: &str) -> Result<String, String> {
        if attribute.is_empty() {
            return Err("label name is empty".to_owned());
        }
        if self.strategy.keeps_characters() {
            return match attribute.chars().all(|c| c == '_') {
                true => Err(format!(
                    "label name {attribute:?} contains only underscores"
                )),
                false => Ok(attribute.to_owned()),
            };
        }
        let mut out = String::with_capacity(attribute.len());
        for c in attribute.chars() {
            let c = if c.is_ascii_alphanumeric() { c } else { '_' };
            if c != '_' || self.keep_underscores || !out.ends_with('_') {
                out.push(c);
            }
        }
        if out.starts_with(|c: char| c.is_ascii_digit()) {
            out = format!("key_{out}");
        } else if self.key_before_underscore && out.starts_with('_') && !out.starts_with("__") {
            out = format!("key{out}");
        }
        if out.chars().all(|c| c == '_') {
            return Err(format!(
                "normalization for label name {attribute:?} resulted in invalid name {out:?}"
            ));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_named_by_unit_and_type() {
        use NameKind::{Counter, Gauge, Other};
        use Strategy::{
            NoTranslation, NoUtf8EscapingWithSuffixes, UnderscoreEscapingWithSuffixes,
            UnderscoreEscapingWithoutSuffixes,
        };
        for (name, unit, kind, with, utf8_with, without) in [
            (
                "http.server.duration",
                "s",
                Other,
                "http_server_duration_seconds",
                "http.server.duration_seconds",
                "http_server_duration",
            ),
            (
                "requests",
                "1",
                Counter,
                "requests_total",
                "requests_total",
                "requests",
            ),
            (
                "requests_total",
                "{request}",
                Counter,
                "requests_total",
                "requests_total",
                "requests_total",
            ),
            (
                "cpu.utilization",
                "1",
                Gauge,
                "cpu_utilization_ratio",
                "cpu.utilization_ratio",
                "cpu_utilization",
            ),
            (
                "net.io",
                "By/s",
                Counter,
                "net_io_bytes_per_second_total",
                "net.io_bytes_per_second_total",
                "net_io",
            ),
            (
                "system.memory_bytes",
                "By",
                Gauge,
                "system_memory_bytes",
                "system.memory_bytes",
                "system_memory_bytes",
            ),
            ("2xx", "", Gauge, "_2xx", "2xx", "_2xx"),
            ("a__b..c", "", Other, "a_b_c", "a__b..c", "a__b_c"),
            (
                "speed",
                "m/h",
                Gauge,
                "speed_meters_per_hour",
                "speed_meters_per_hour",
                "speed",
            ),
            ("x", "foo.bar", Gauge, "x_foo_bar", "x_foo.bar", "x"),
        ] {
            let of = |strategy| metric_name(name, unit, kind, strategy).unwrap();
            assert_eq!(of(UnderscoreEscapingWithSuffixes), with);
            assert_eq!(of(NoUtf8EscapingWithSuffixes), utf8_with);
            assert_eq!(of(UnderscoreEscapingWithoutSuffixes), without);
            assert_eq!(of(NoTranslation), name);
        }
        let nothing = metric_name("%%", "", Gauge, UnderscoreEscapingWithSuffixes);
        assert_eq!(
            nothing.unwrap_err(),
            "normalization for metric \"%%\" resulted in empty name"
        );
    }

    #[test]
    fn labels_are_named() {
        let names = LabelNames {
            strategy: Strategy::default(),
            key_before_underscore: true,
            keep_underscores: true,
        };
        for (attribute, name) in [
            ("http.method", "http_method"),
            ("1st", "key_1st"),
            ("_x", "key_x"),
            ("__x", "__x"),
            ("a..b", "a__b"),
            ("ä", "key_"),
        ] {
            assert_eq!(names.name(attribute).unwrap_or_default(), name);
        }
        let single = LabelNames {
            keep_underscores: false,
            key_before_underscore: false,
            ..names
        };
        assert_eq!(single.name("_a..b").unwrap(), "_a_b");
        assert_eq!(single.name("ä").ok(), None);
        assert_eq!(unit_name("By/s"), "bytes_per_second");
    }
}
