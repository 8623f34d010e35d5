//! One relabeling rule: checked at construction, applied to a label set under construction.
//!
//! Promise: error texts are Prometheus's, so that its users recognise them. Semantics: Prometheus `model/relabel`.

use super::template::Template;
use crate::scrape::config::NameValidation;
use crate::validate::is_legacy_label_name;
use md5::{Digest, Md5};
use regex::Regex;
use std::fmt;
use storage_engine::model::{LabelsBuilder, Re2Error, translate_re2};

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Set `target_label` to the expanded replacement when the regex matches.
    Replace,
    /// Drop what does not match.
    Keep,
    /// Drop what matches.
    Drop,
    /// Drop what differs from `target_label`.
    KeepEqual,
    /// Drop what equals `target_label`.
    DropEqual,
    /// Set `target_label` to a hash modulo `modulus`.
    HashMod,
    /// Copy labels whose names match to expanded names.
    LabelMap,
    /// Remove labels whose names match.
    LabelDrop,
    /// Remove labels whose names do not match.
    LabelKeep,
    /// Set `target_label` to the lower case of the source.
    Lowercase,
    /// Set `target_label` to the upper case of the source.
    Uppercase,
}

impl Action {
    /// All eleven.
    pub const ALL: [Action; 11] = [
        Action::Replace,
        Action::Keep,
        Action::Drop,
        Action::KeepEqual,
        Action::DropEqual,
        Action::HashMod,
        Action::LabelMap,
        Action::LabelDrop,
        Action::LabelKeep,
        Action::Lowercase,
        Action::Uppercase,
    ];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::KeepEqual => "keepequal",
            Action::DropEqual => "dropequal",
            Action::HashMod => "hashmod",
            Action::LabelMap => "labelmap",
            Action::LabelDrop => "labeldrop",
            Action::LabelKeep => "labelkeep",
            Action::Lowercase => "lowercase",
            Action::Uppercase => "uppercase",
        }
    }

    /// The action of that name, upper and lower case alike.
    pub fn from_name(name: &str) -> Result<Self, RuleError> {
        Self::ALL
            .into_iter()
            .find(|a| a.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| RuleError::UnknownAction(name.to_owned()))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A rule as the user wrote it; [`Default`] holds Prometheus's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleConfig {
    /// `source_labels`
    pub source_labels: Vec<String>,
    /// `separator`
    pub separator: String,
    /// `regex`, without the anchors that it gets.
    pub regex: String,
    /// `modulus`
    pub modulus: u64,
    /// `target_label`
    pub target_label: String,
    /// `replacement`
    pub replacement: String,
    /// `action`
    pub action: Action,
}

impl Default for RuleConfig {
    fn default() -> Self {
        RuleConfig {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: Action::Replace,
        }
    }
}

/// Why a rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// No such action.
    #[error("unknown relabel action {0:?}")]
    UnknownAction(String),
    /// The pattern is not RE2.
    #[error("{0}")]
    Regex(#[from] Re2Error),
    /// `hashmod` without modulus.
    #[error("relabel configuration for hashmod requires non-zero modulus")]
    ZeroModulus,
    /// The action writes a label and none is named.
    #[error("relabel configuration for {0} action requires 'target_label' value")]
    NoTarget(Action),
    /// The label to write has no valid name.
    #[error("{target:?} is invalid 'target_label' for {action} action")]
    InvalidTarget {
        /// The name.
        target: String,
        /// The rule's action.
        action: Action,
    },
    /// `replacement` does not make label names.
    #[error("{replacement:?} is invalid 'replacement' for {action} action")]
    InvalidReplacement {
        /// The template.
        replacement: String,
        /// The rule's action.
        action: Action,
    },
    /// `replacement` means nothing for this action.
    #[error("'replacement' can not be set for {0} action")]
    ReplacementSet(Action),
    /// `keepequal` and `dropequal` compare two labels, nothing else.
    #[error("{0} action requires only 'source_labels' and `target_label`, and no other fields")]
    OnlySourceAndTarget(Action),
    /// `labeldrop` and `labelkeep` look at names only.
    #[error("{0} action requires only 'regex', and no other fields")]
    OnlyRegex(Action),
    /// A source label that cannot exist.
    #[error("{0:?} is not a valid label name")]
    InvalidSource(String),
}

/// A rule that is valid and compiled.
#[derive(Clone)]
pub struct Rule {
    config: RuleConfig,
    validation: NameValidation,
    regex: Regex,
    target: Template,
    replacement: Template,
    /// `replace` of a constant into a constant name with the default regex: no matching needed for an empty source.
    constant: bool,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config && self.validation == other.validation
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

/// What became of a label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on with the labels as they are now.
    Keep,
    /// Forget the target or series.
    Drop,
}

/// Applies rules in order; the first that drops ends it, and the labels are then of no further meaning.
pub fn process(labels: &mut LabelsBuilder, rules: &[Rule]) -> Verdict {
    for rule in rules {
        if rule.apply(labels) == Verdict::Drop {
            return Verdict::Drop;
        }
    }
    Verdict::Keep
}

impl Rule {
    /// Checks and compiles.
    pub fn new(config: RuleConfig, validation: NameValidation) -> Result<Self, RuleError> {
        check(&config, validation)?;
        let regex = translate_re2(&config.regex)?;
        let constant = config.regex == "(.*)"
            && !config.target_label.contains('$')
            && !config.replacement.contains('$');
        Ok(Rule {
            target: Template::parse(&config.target_label),
            replacement: Template::parse(&config.replacement),
            regex,
            validation,
            constant,
            config,
        })
    }

    /// The rule as written.
    pub fn config(&self) -> &RuleConfig {
        &self.config
    }

    fn source(&self, labels: &LabelsBuilder) -> String {
        let mut text = String::new();
        for (i, name) in self.config.source_labels.iter().enumerate() {
            if i > 0 {
                text.push_str(&self.config.separator);
            }
            text.push_str(labels.get(name));
        }
        text
    }

    fn apply(&self, labels: &mut LabelsBuilder) -> Verdict {
        let target = self.config.target_label.as_str();
        let drop_when = |condition: bool| {
            if condition {
                Verdict::Drop
            } else {
                Verdict::Keep
            }
        };
        match self.config.action {
            Action::Drop => return drop_when(self.regex.is_match(&self.source(labels))),
            Action::Keep => return drop_when(!self.regex.is_match(&self.source(labels))),
            Action::DropEqual => return drop_when(labels.get(target) == self.source(labels)),
            Action::KeepEqual => return drop_when(labels.get(target) != self.source(labels)),
            Action::Replace => self.replace(labels),
            Action::Lowercase => {
                let text = map_case(&self.source(labels), char::to_lowercase, Some('i'));
                labels.set(target, &text);
            }
            Action::Uppercase => {
                let text = map_case(&self.source(labels), char::to_uppercase, None);
                labels.set(target, &text);
            }
            Action::HashMod => {
                let digest = Md5::digest(self.source(labels).as_bytes());
                let last = digest
                    .iter()
                    .skip(8)
                    .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
                labels.set(target, &(last % self.config.modulus).to_string());
            }
            Action::LabelMap => {
                for (name, value) in labels.pairs().to_vec() {
                    if let Some(captures) = self.regex.captures(&name) {
                        let mapped = self.replacement.expand(&captures);
                        if !mapped.is_empty() {
                            labels.set(&mapped, &value);
                        }
                    }
                }
            }
            Action::LabelDrop => self.remove_names(labels, true),
            Action::LabelKeep => self.remove_names(labels, false),
        }
        Verdict::Keep
    }

    fn replace(&self, labels: &mut LabelsBuilder) {
        let source = self.source(labels);
        if self.constant && source.is_empty() {
            labels.set(&self.config.target_label, &self.config.replacement);
            return;
        }
        let Some(captures) = self.regex.captures(&source) else {
            return;
        };
        let target = self.target.expand(&captures);
        if !is_label_name(&target, self.validation) {
            return;
        }
        // An empty result deletes the label, which is what `set` does.
        labels.set(&target, &self.replacement.expand(&captures));
    }

    fn remove_names(&self, labels: &mut LabelsBuilder, matching: bool) {
        let gone: Vec<String> = labels
            .pairs()
            .iter()
            .filter(|(name, _)| self.regex.is_match(name) == matching)
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            labels.del(&name);
        }
    }
}

/// Go maps rune by rune with simple case folding: a character whose full mapping has several characters stays (`ß`).
fn map_case<I: Iterator<Item = char>>(
    text: &str,
    map: fn(char) -> I,
    several: Option<char>,
) -> String {
    text.chars()
        .map(|c| {
            let mut mapped = map(c);
            match (mapped.next(), mapped.next()) {
                (Some(one), None) => one,
                _ => several.unwrap_or(c),
            }
        })
        .collect()
}

/// May a label have this name?
pub(crate) fn is_label_name(name: &str, validation: NameValidation) -> bool {
    match validation {
        NameValidation::Utf8 => !name.is_empty(),
        NameValidation::Legacy => is_legacy_label_name(name),
    }
}

/// A label name with `$1` or `${name}` inside. In UTF-8 mode `$`, `{` and `}` are ordinary characters.
fn is_label_template(text: &str, validation: NameValidation) -> bool {
    if validation == NameValidation::Utf8 {
        return !text.is_empty();
    }
    // The pattern is Prometheus's: `^(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+$` with `\w` = ASCII word characters.
    let mut rest = text.as_bytes();
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut after_start = false;
    if rest.is_empty() {
        return false;
    }
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'$' {
            let (body, braced) = match tail.strip_prefix(b"{") {
                Some(body) => (body, true),
                None => (tail, false),
            };
            let len = body.iter().position(|b| !word(*b)).unwrap_or(body.len());
            let (name, after) = body.split_at(len);
            if name.is_empty() {
                return false;
            }
            rest = match (braced, after.strip_prefix(b"}")) {
                (true, Some(after)) => after,
                (true, None) => return false,
                (false, _) => after,
            };
        } else if first.is_ascii_alphabetic() || first == b'_' || (after_start && word(first)) {
            rest = tail;
        } else {
            return false;
        }
        after_start = true;
    }
    true
}

fn check(config: &RuleConfig, validation: NameValidation) -> Result<(), RuleError> {
    let action = config.action;
    let default = RuleConfig::default();
    if let Some(bad) = config
        .source_labels
        .iter()
        .find(|name| !is_label_name(name, validation))
    {
        return Err(RuleError::InvalidSource(bad.clone()));
    }
    if action == Action::HashMod && config.modulus == 0 {
        return Err(RuleError::ZeroModulus);
    }
    let writes = matches!(
        action,
        Action::Replace
            | Action::KeepEqual
            | Action::DropEqual
            | Action::HashMod
            | Action::Lowercase
            | Action::Uppercase
    );
    if writes && config.target_label.is_empty() {
        return Err(RuleError::NoTarget(action));
    }
    let target_is_valid = match action {
        Action::Replace if config.target_label.contains('$') => {
            is_label_template(&config.target_label, validation)
        }
        _ => is_label_name(&config.target_label, validation),
    };
    if writes && !target_is_valid {
        return Err(RuleError::InvalidTarget {
            target: config.target_label.clone(),
            action,
        });
    }
    let changed_replacement = config.replacement != default.replacement;
    let takes_no_replacement = matches!(
        action,
        Action::Lowercase | Action::Uppercase | Action::KeepEqual | Action::DropEqual
    );
    if takes_no_replacement && changed_replacement {
        return Err(RuleError::ReplacementSet(action));
    }
    if action == Action::LabelMap && !is_label_template(&config.replacement, validation) {
        return Err(RuleError::InvalidReplacement {
            replacement: config.replacement.clone(),
            action,
        });
    }
    let changed_rest = config.modulus != default.modulus
        || config.separator != default.separator
        || changed_replacement;
    if matches!(action, Action::DropEqual | Action::KeepEqual)
        && (config.regex != default.regex || changed_rest)
    {
        return Err(RuleError::OnlySourceAndTarget(action));
    }
    if matches!(action, Action::LabelDrop | Action::LabelKeep)
        && (!config.source_labels.is_empty() || !config.target_label.is_empty() || changed_rest)
    {
        return Err(RuleError::OnlyRegex(action));
    }
    Ok(())
}
