//! Labels that every object brings: its name, its labels and annotations.

use super::super::labels::{Pairs, pair, sanitize};
use super::objects::Meta;

pub(super) const PREFIX: &str = "__meta_kubernetes_";

/// Namespace of the object that a target comes from.
pub(super) const NAMESPACE: &str = "__meta_kubernetes_namespace";

/// A pair whose name begins with [`PREFIX`].
pub(super) fn meta(name: &str, value: impl Into<String>) -> (String, String) {
    pair(format!("{PREFIX}{name}"), value)
}

/// Labels and annotations of an object under the word for its kind.
pub(super) fn add_labels_and_annotations(out: &mut Pairs, object: &Meta, word: &str) {
    for (what, values) in [
        ("label", &object.labels),
        ("annotation", &object.annotations),
    ] {
        for (name, value) in values {
            let name = sanitize(name);
            out.push(meta(&format!("{word}_{what}_{name}"), value));
            out.push(meta(&format!("{word}_{what}present_{name}"), "true"));
        }
    }
}

/// The same and the object's name.
pub(super) fn add_object(out: &mut Pairs, object: &Meta, word: &str) {
    out.push(meta(&format!("{word}_name"), &object.name));
    add_labels_and_annotations(out, object, word);
}
