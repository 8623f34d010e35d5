//! From the labels on a page to the labels in the store: target labels, `honor_labels`, metric relabeling, limits.
//!
//! Promise: the outcome and the error texts are Prometheus's. Runs once per series, not per sample.

use super::config::{NameValidation, ScrapeConfig};
use crate::relabel::{Rule, Verdict, is_label_name, process};
use crate::validate::is_legacy_metric_name;
use storage_engine::model::{Labels, LabelsBuilder, METRIC_NAME};

/// Why a series fails the whole scrape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum SampleLabelsError {
    #[error("label name {0:?} is not unique: invalid sample")]
    Duplicate(String),
    #[error("missing metric name (__name__ label)")]
    NoName,
    #[error("invalid metric name or label names: {0}")]
    InvalidNames(String),
    #[error(
        "label_limit exceeded (metric: {metric:.50}, number of labels: {count}, limit: {limit})"
    )]
    LabelLimit {
        metric: String,
        count: u64,
        limit: u64,
    },
    #[error(
        "label_name_length_limit exceeded (metric: {metric:.50}, label name: {name:.50}, length: {length}, limit: {limit})"
    )]
    NameLength {
        metric: String,
        name: String,
        length: u64,
        limit: u64,
    },
    #[error(
        "label_value_length_limit exceeded (metric: {metric:.50}, label name: {name:.50}, value: {value}, length: {length}, limit: {limit})"
    )]
    ValueLength {
        metric: String,
        name: String,
        /// Cut to 50 characters and quoted.
        value: String,
        length: u64,
        limit: u64,
    },
}

impl SampleLabelsError {
    pub(super) fn is_label_limit(&self) -> bool {
        matches!(
            self,
            SampleLabelsError::LabelLimit { .. }
                | SampleLabelsError::NameLength { .. }
                | SampleLabelsError::ValueLength { .. }
        )
    }
}

/// The labels of a series for the store; `None` when metric relabeling drops it.
pub(super) fn stored_labels<N: AsRef<str>, V: AsRef<str>>(
    exposed: &[(N, V)],
    target: &Labels,
    config: &ScrapeConfig,
) -> Result<Option<Labels>, SampleLabelsError> {
    let mut builder = LabelsBuilder::default();
    for (i, (name, value)) in exposed.iter().enumerate() {
        let name = name.as_ref();
        if exposed.iter().take(i).any(|(n, _)| n.as_ref() == name) {
            return Err(SampleLabelsError::Duplicate(name.to_owned()));
        }
        builder.set(name, value.as_ref());
    }
    if config.honor_labels {
        for (name, value) in target {
            // A label that the page sets to empty text removes the target's.
            if !exposed.iter().any(|(n, _)| n.as_ref() == name) {
                builder.set(name, value);
            }
        }
    } else {
        add_target_labels(&mut builder, target);
    }
    finish(builder, &config.metric_relabel_configs, config)
}

/// The labels of a report series such as `up`: a clash with a target label is resolved as without `honor_labels`.
pub(super) fn report_labels(metric: &str, target: &Labels) -> Labels {
    let mut builder = LabelsBuilder::default();
    builder.set(METRIC_NAME, metric);
    add_target_labels(&mut builder, target);
    builder.build()
}

fn add_target_labels(builder: &mut LabelsBuilder, target: &Labels) {
    let mut clashes: Vec<(String, String)> = Vec::new();
    for (name, value) in target {
        let exposed = builder.get(name);
        if !exposed.is_empty() {
            clashes.push((name.to_owned(), exposed.to_owned()));
        }
        builder.set(name, value);
    }
    // Short names first, so that `a` becomes `exported_a` before a clash of that very name is looked at.
    clashes.sort_by_key(|(name, _)| name.len());
    for (name, value) in clashes {
        let mut free = format!("exported_{name}");
        while !builder.get(&free).is_empty() {
            free.insert_str(0, "exported_");
        }
        builder.set(&free, &value);
    }
}

fn finish(
    mut builder: LabelsBuilder,
    rules: &[Rule],
    config: &ScrapeConfig,
) -> Result<Option<Labels>, SampleLabelsError> {
    if process(&mut builder, rules) == Verdict::Drop {
        return Ok(None);
    }
    let labels = builder.build();
    if labels.is_empty() {
        return Ok(None);
    }
    let Some(metric) = labels.metric_name() else {
        return Err(SampleLabelsError::NoName);
    };
    let valid = is_metric_name(metric, config.name_validation)
        && labels
            .iter()
            .all(|(name, _)| is_label_name(name, config.name_validation));
    if !valid {
        return Err(SampleLabelsError::InvalidNames(labels.to_string()));
    }
    check_limits(&labels, metric, config)?;
    Ok(Some(labels))
}

fn is_metric_name(name: &str, validation: NameValidation) -> bool {
    match validation {
        NameValidation::Utf8 => !name.is_empty(),
        NameValidation::Legacy => is_legacy_metric_name(name),
    }
}

fn check_limits(
    labels: &Labels,
    metric: &str,
    config: &ScrapeConfig,
) -> Result<(), SampleLabelsError> {
    let exceeds = |value: usize, limit: u64| limit > 0 && value as u64 > limit;
    let count = labels.len();
    if exceeds(count, config.label_limit) {
        return Err(SampleLabelsError::LabelLimit {
            metric: metric.to_owned(),
            count: count as u64,
            limit: config.label_limit,
        });
    }
    for (name, value) in labels {
        if exceeds(name.len(), config.label_name_length_limit) {
            return Err(SampleLabelsError::NameLength {
                metric: metric.to_owned(),
                name: name.to_owned(),
                length: name.len() as u64,
                limit: config.label_name_length_limit,
            });
        }
        if exceeds(value.len(), config.label_value_length_limit) {
            return Err(SampleLabelsError::ValueLength {
                metric: metric.to_owned(),
                name: name.to_owned(),
                value: format!("{:?}", value.chars().take(50).collect::<String>()),
                length: value.len() as u64,
                limit: config.label_value_length_limit,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relabel::{Action, RuleConfig};

    fn target() -> Labels {
        Labels::from_pairs([("job", "j"), ("instance", "i:1"), ("env", "prod")]).unwrap()
    }

    #[track_caller]
    fn check(
        config: &ScrapeConfig,
        exposed: &[(&str, &str)],
        expected: Result<Option<&str>, &str>,
    ) {
        let got = stored_labels(exposed, &target(), config);
        let got = got
            .map(|l| l.map(|l| l.to_string()))
            .map_err(|e| e.to_string());
        assert_eq!(
            got,
            expected
                .map(|l| l.map(str::to_owned))
                .map_err(str::to_owned)
        );
    }

    #[test]
    fn clashes_without_honor_labels_are_exported() {
        let config = ScrapeConfig::new("j");
        check(
            &config,
            &[
                ("__name__", "m"),
                ("job", "own"),
                ("exported_job", "taken"),
                ("x", ""),
            ],
            Ok(Some(
                r#"{__name__="m", env="prod", exported_exported_job="own", exported_job="taken", instance="i:1", job="j"}"#,
            )),
        );
        check(
            &config,
            &[("__name__", "m"), ("a", "1"), ("a", "2")],
            Err("label name \"a\" is not unique: invalid sample"),
        );
    }

    #[test]
    fn honored_labels_win_and_empty_ones_remove() {
        let config = ScrapeConfig {
            honor_labels: true,
            ..ScrapeConfig::new("j")
        };
        check(
            &config,
            &[("__name__", "m"), ("job", "own"), ("env", "")],
            Ok(Some(r#"{__name__="m", instance="i:1", job="own"}"#)),
        );
    }

    #[test]
    fn metric_relabeling_drops_and_may_not_take_the_name() {
        let rule = |regex: &str| {
            Rule::new(
                RuleConfig {
                    action: Action::LabelDrop,
                    regex: regex.into(),
                    ..RuleConfig::default()
                },
                NameValidation::Utf8,
            )
            .unwrap()
        };
        let with = |rules: Vec<Rule>| ScrapeConfig {
            metric_relabel_configs: rules,
            ..ScrapeConfig::new("j")
        };
        let exposed = &[("__name__", "m"), ("a", "1")];
        check(
            &with(vec![rule("env|a")]),
            exposed,
            Ok(Some(r#"{__name__="m", instance="i:1", job="j"}"#)),
        );
        check(
            &with(vec![rule("__name__")]),
            exposed,
            Err("missing metric name (__name__ label)"),
        );
        check(&with(vec![rule(".*")]), exposed, Ok(None));
    }

    #[test]
    fn limits_fail_in_prometheus_words() {
        let exposed = &[("__name__", "m"), ("a", "1234567")];
        check(
            &ScrapeConfig {
                label_limit: 4,
                ..ScrapeConfig::new("j")
            },
            exposed,
            Err("label_limit exceeded (metric: m, number of labels: 5, limit: 4)"),
        );
        check(
            &ScrapeConfig {
                label_name_length_limit: 7,
                ..ScrapeConfig::new("j")
            },
            exposed,
            Err(
                "label_name_length_limit exceeded (metric: m, label name: __name__, length: 8, limit: 7)",
            ),
        );
        check(
            &ScrapeConfig {
                label_value_length_limit: 6,
                ..ScrapeConfig::new("j")
            },
            exposed,
            Err(
                "label_value_length_limit exceeded (metric: m, label name: a, value: \"1234567\", length: 7, limit: 6)",
            ),
        );
        check(
            &ScrapeConfig {
                name_validation: NameValidation::Legacy,
                ..ScrapeConfig::new("j")
            },
            &[("__name__", "m.x")],
            Err(
                r#"invalid metric name or label names: {__name__="m.x", env="prod", instance="i:1", job="j"}"#,
            ),
        );
    }
}
