//! A target group: targets that share labels, and where they come from.

use super::config::StaticConfig;

/// Targets that share labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// Unique within its provider.
    pub source: String,
    /// Label pairs of each target, `__address__` among them.
    pub targets: Vec<Vec<(String, String)>>,
    /// Labels of all targets; a target's own label wins.
    pub labels: Vec<(String, String)>,
}

impl TargetGroup {
    /// A group of addresses.
    pub fn of_addresses(
        source: impl Into<String>,
        addresses: &[String],
        labels: Vec<(String, String)>,
    ) -> Self {
        TargetGroup {
            source: source.into(),
            targets: addresses
                .iter()
                .map(|address| vec![("__address__".to_owned(), address.clone())])
                .collect(),
            labels,
        }
    }
}

/// The groups of `static_configs`; the source is the entry's index.
pub fn static_groups(configs: &[StaticConfig]) -> Vec<TargetGroup> {
    configs
        .iter()
        .enumerate()
        .map(|(i, c)| TargetGroup::of_addresses(i.to_string(), &c.targets, c.labels.clone()))
        .collect()
}
