//! Labels of a point: its attributes, what is promoted of its resource and scope, `job` and `instance`.
//!
//! Not here: the names of labels (`naming`).

use super::OtlpSettings;
use super::model::{Attribute, Scope, ScopeMetrics};
use std::collections::BTreeMap;

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";
/// Attributes that say who the resource is.
pub(super) const IDENTIFYING: [&str; 3] = [SERVICE_NAMESPACE, SERVICE_NAME, SERVICE_INSTANCE];

/// Labels by name.
pub(super) type Labels = BTreeMap<String, String>;

/// What all points of a resource have.
pub(super) struct OfResource {
    /// Promoted attributes.
    promoted: Vec<(String, String)>,
    job: Option<String>,
    instance: Option<String>,
}

fn find<'a>(attributes: &'a [Attribute<'_>], key: &str) -> Option<&'a Attribute<'a>> {
    attributes.iter().find(|a| a.key == key)
}

impl OfResource {
    pub(super) fn of(
        attributes: &[Attribute<'_>],
        settings: &OtlpSettings,
    ) -> Result<Self, String> {
        let text = |key| find(attributes, key).map(|a| a.value.to_text().into_owned());
        let job = text(SERVICE_NAME).map(|name| match text(SERVICE_NAMESPACE) {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name,
        });
        let mut promoted = Vec::new();
        for attribute in attributes {
            let named = |list: &[String]| list.iter().any(|n| *n == attribute.key);
            let is_promoted = match settings.promote_all {
                true => !named(&settings.not_promoted),
                false => named(&settings.promoted),
            };
            if is_promoted {
                let name = settings.label_names.name(&attribute.key)?;
                promoted.push((name, attribute.value.to_text().into_owned()));
            }
        }
        Ok(OfResource {
            promoted,
            job,
            instance: text(SERVICE_INSTANCE),
        })
    }

    /// Can anybody tell whose the points are?
    pub(super) fn is_identified(&self) -> bool {
        self.job.is_some() || self.instance.is_some()
    }

    fn identify(&self, labels: &mut Labels) {
        for (name, value) in [("job", &self.job), ("instance", &self.instance)] {
            if let Some(value) = value {
                labels.insert(name.to_owned(), value.clone());
            }
        }
    }
}

/// Labels that a scope gives its points, if that is asked for.
pub(super) fn of_scope(
    metrics: &ScopeMetrics<'_>,
    settings: &OtlpSettings,
) -> Result<Vec<(String, String)>, String> {
    let scope: &Scope<'_> = &metrics.scope;
    let mut out = Vec::new();
    if !settings.promote_scope || scope.name.is_empty() {
        return Ok(out);
    }
    for attribute in &scope.attributes {
        let name = format!("otel_scope_{}", attribute.key);
        let name = settings.label_names.name(&name)?;
        out.push((name, attribute.value.to_text().into_owned()));
    }
    for (name, value) in [
        ("otel_scope_name", &scope.name),
        ("otel_scope_version", &scope.version),
        ("otel_scope_schema_url", &metrics.schema_url),
    ] {
        out.push((name.to_owned(), value.clone().into_owned()));
    }
    Ok(out)
}

/// Attributes as labels; where two have one name, both values are kept.
fn of_attributes<'a>(
    attributes: impl Iterator<Item = &'a Attribute<'a>>,
    settings: &OtlpSettings,
) -> Result<Labels, String> {
    let mut sorted: Vec<&Attribute<'_>> = attributes.collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let mut labels = Labels::new();
    for attribute in sorted {
        let name = settings.label_names.name(&attribute.key)?;
        let value = attribute.value.to_text();
        match labels.get_mut(&name) {
            Some(before) if !before.is_empty() && !settings.keeps_characters() => {
                before.push(';');
                before.push_str(&value);
            }
            _ => {
                labels.insert(name, value.into_owned());
            }
        }
    }
    Ok(labels)
}

/// The labels of a point but for its name.
pub(super) fn of_point(
    attributes: &[Attribute<'_>],
    resource: &OfResource,
    scope: &[(String, String)],
    settings: &OtlpSettings,
) -> Result<Labels, String> {
    let mut labels = of_attributes(attributes.iter(), settings)?;
    for (name, value) in &resource.promoted {
        let own = labels.entry(name.clone()).or_default();
        if own.is_empty() {
            own.clone_from(value);
        }
    }
    for (name, value) in scope {
        labels.insert(name.clone(), value.clone());
    }
    resource.identify(&mut labels);
    Ok(labels)
}

/// The labels of `target_info`; `None` where it would tell nothing, or nobody could tell of whom.
pub(super) fn of_target(
    attributes: &[Attribute<'_>],
    resource: &OfResource,
    settings: &OtlpSettings,
) -> Result<Option<Labels>, String> {
    let is_identifying = |a: &&Attribute<'_>| IDENTIFYING.contains(&a.key.as_ref());
    if attributes.iter().all(|a| is_identifying(&a)) || !resource.is_identified() {
        return Ok(None);
    }
    let kept = attributes
        .iter()
        .filter(|a| settings.keep_identifying || !is_identifying(a));
    let mut labels = of_attributes(kept, settings)?;
    resource.identify(&mut labels);
    Ok(Some(labels))
}
