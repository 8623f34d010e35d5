//! Relabeling: rules that rewrite, keep or drop label sets, with Prometheus's 11 actions.
//!
//! Promise: given equal labels and rules, the outcome is Prometheus's. A [`Rule`] cannot be built from an invalid
//! configuration. Not here: which labels a target has before relabeling (`scrape::target`).

mod rule;
mod template;

pub(crate) use rule::is_label_name;
pub use rule::{Action, Rule, RuleConfig, RuleError, Verdict, process};

#[cfg(test)]
mod tests;
