//! What a case says about failures and annotations.

use regex::Regex;

/// Which thing an `expect` line speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExpectKind {
    Ordered,
    Fail,
    Warn,
    NoWarn,
    Info,
    NoInfo,
}

/// How a text is compared.
#[derive(Debug, Clone)]
pub(super) enum TextMatch {
    Any,
    Exact(String),
    Search(Regex),
}

impl TextMatch {
    fn matches(&self, text: &str) -> bool {
        match self {
            TextMatch::Any => true,
            TextMatch::Exact(wanted) => wanted == text,
            TextMatch::Search(regex) => regex.is_match(text),
        }
    }

    fn describe(&self) -> String {
        match self {
            TextMatch::Any => "anything".to_owned(),
            TextMatch::Exact(wanted) => format!("message {wanted:?}"),
            TextMatch::Search(regex) => format!("pattern {:?}", regex.as_str()),
        }
    }
}

/// All of a case's expectations that are not values.
#[derive(Debug, Clone, Default)]
pub(super) struct Expectations {
    pub(super) ordered: bool,
    pub(super) fail: Vec<TextMatch>,
    pub(super) warn: Vec<TextMatch>,
    pub(super) info: Vec<TextMatch>,
    pub(super) no_warn: bool,
    pub(super) no_info: bool,
}

impl Expectations {
    /// Takes in the rest of an `expect` line.
    pub(super) fn add_line(&mut self, rest: &str) -> Result<(), String> {
        let (kind, rest) = super::words::first_word(rest);
        let kind = match kind {
            "ordered" => ExpectKind::Ordered,
            "fail" => ExpectKind::Fail,
            "warn" => ExpectKind::Warn,
            "no_warn" => ExpectKind::NoWarn,
            "info" => ExpectKind::Info,
            "no_info" => ExpectKind::NoInfo,
            other => return Err(format!("invalid expected error/annotation type {other:?}")),
        };
        let text = if let Some(message) = rest.strip_prefix("msg:") {
            TextMatch::Exact(message.trim().to_owned())
        } else if let Some(pattern) = rest.strip_prefix("regex:") {
            TextMatch::Search(search(pattern)?)
        } else if rest.is_empty() {
            TextMatch::Any
        } else {
            return Err(format!("invalid token {rest:?} in expect line"));
        };
        self.add(kind, text);
        self.check()
    }

    pub(super) fn add(&mut self, kind: ExpectKind, text: TextMatch) {
        match kind {
            ExpectKind::Ordered => self.ordered = true,
            ExpectKind::Fail => self.fail.push(text),
            ExpectKind::Warn => self.warn.push(text),
            ExpectKind::Info => self.info.push(text),
            ExpectKind::NoWarn => self.no_warn = true,
            ExpectKind::NoInfo => self.no_info = true,
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.no_info && !self.info.is_empty() {
            return Err("info and no_info cannot be used together".to_owned());
        }
        if self.no_warn && !self.warn.is_empty() {
            return Err("warn and no_warn cannot be used together".to_owned());
        }
        if self.fail.len() > 1 {
            return Err("multiple expect fail lines are not allowed".to_owned());
        }
        Ok(())
    }

    pub(super) fn wants_failure(&self) -> bool {
        !self.fail.is_empty()
    }

    /// Is this the failure that was expected?
    pub(super) fn check_failure(&self, text: &str) -> Result<(), String> {
        match self.fail.iter().find(|m| !m.matches(text)) {
            Some(wanted) => Err(format!(
                "expected an error matching {}, but got: {text}",
                wanted.describe()
            )),
            None => Ok(()),
        }
    }

    /// Every expectation needs an annotation, and where there are expectations every annotation needs one of them.
    pub(super) fn check_annotations(
        &self,
        warnings: &[String],
        infos: &[String],
    ) -> Result<(), String> {
        check_kind("warn", &self.warn, warnings)?;
        check_kind("info", &self.info, infos)?;
        if self.no_warn && !warnings.is_empty() {
            return Err(format!("unexpected warnings: {warnings:?}"));
        }
        if self.no_info && !infos.is_empty() {
            return Err(format!("unexpected infos: {infos:?}"));
        }
        Ok(())
    }
}

fn check_kind(kind: &str, wanted: &[TextMatch], found: &[String]) -> Result<(), String> {
    if wanted.is_empty() {
        return Ok(());
    }
    if let Some(missing) = wanted.iter().find(|m| !found.iter().any(|t| m.matches(t))) {
        let missing = missing.describe();
        return Err(format!(
            "expected {kind} annotation matching {missing}, found {found:?}"
        ));
    }
    let extra = found.iter().find(|t| !wanted.iter().any(|m| m.matches(t)));
    match extra {
        Some(text) => Err(format!("unexpected {kind} annotation {text:?}")),
        None => Ok(()),
    }
}

/// A pattern that may match anywhere.
pub(super) fn search(pattern: &str) -> Result<Regex, String> {
    let pattern = pattern.trim();
    Regex::new(pattern).map_err(|_| format!("invalid regex {pattern:?}"))
}
