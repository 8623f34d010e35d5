//! Label matchers: `=`, `!=`, `=~`, `!~`, as PromQL and the HTTP API write them.
//!
//! A missing label matches as the empty string. Regular expressions are RE2, fully anchored, dot matches newline.
//! Most patterns that people write are a literal, a list of literals, or a literal with `.*` at one or both ends; these
//! are recognised from the parsed pattern and tested without running a regex ([`ValueTest`]).

use super::re2::{self, Re2Error};
use regex::Regex;
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Class, Hir, HirKind, Repetition};
use std::fmt;
use std::sync::Arc;

/// The four ways to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as PromQL writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// Why a matcher cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatcherError {
    /// The pattern is not RE2.
    #[error("{0}")]
    Regex(#[from] Re2Error),
}

/// One condition on one label.
#[derive(Clone)]
pub struct Matcher {
    /// Label name.
    pub name: String,
    /// How to match.
    pub op: MatchOp,
    /// The literal or the pattern as the user wrote it.
    pub value: String,
    test: Arc<ValueTest>,
    compiled_bytes: usize,
}

/// Whether a value fits the literal or the pattern, negation left aside.
#[derive(Debug)]
pub(crate) enum ValueTest {
    /// One of these, sorted.
    Listed(Vec<String>),
    /// `prefix.*suffix`: both ends, and at least this many bytes in all.
    Ends {
        /// Start of the value.
        prefix: String,
        /// End of the value.
        suffix: String,
        /// Fewest bytes: the ends must not overlap, and `.+` wants one more.
        bytes_min: usize,
    },
    /// `.*literal.*`.
    Contains(String),
    /// Everything else.
    Pattern(Regex),
}

/// Most literals that a pattern is expanded to.
const ALTERNATIVES_MAX: usize = 4096;
/// Most bytes of all literals that a pattern is expanded to.
const ALTERNATIVES_BYTES_MAX: usize = 4 << 20;

impl ValueTest {
    /// The test and about how many bytes it takes; refused where those would be more than `bytes_max`.
    fn of_pattern(pattern: &str, bytes_max: usize) -> Result<(Self, usize), Re2Error> {
        let hir = re2::parse(pattern)?;
        if let Some(test) = Self::listed(&hir).or_else(|| Self::open_ended(&hir)) {
            let bytes = test.bytes();
            return Ok((test, bytes));
        }
        let bytes = re2::compiled_bytes(&hir);
        drop(hir);
        if bytes > bytes_max {
            return Err(re2::too_large(pattern));
        }
        Ok((ValueTest::Pattern(re2::translate(pattern)?), bytes))
    }

    /// About how many bytes the texts take.
    fn bytes(&self) -> usize {
        match self {
            ValueTest::Listed(values) => values.iter().map(|v| size_of::<String>() + v.len()).sum(),
            ValueTest::Ends { prefix, suffix, .. } => prefix.len() + suffix.len(),
            ValueTest::Contains(text) => text.len(),
            ValueTest::Pattern(_) => 0,
        }
    }

    /// A pattern that only finitely many values fit.
    fn listed(hir: &Hir) -> Option<Self> {
        let longest = hir.properties().maximum_len()?;
        if !hir.properties().look_set().is_empty() {
            return None;
        }
        let count_max = ALTERNATIVES_BYTES_MAX / longest.max(1);
        let mut extractor = Extractor::new();
        extractor
            .kind(ExtractKind::Prefix)
            .limit_total(count_max.clamp(1, ALTERNATIVES_MAX))
            .limit_literal_len(usize::from(u16::MAX));
        let found = extractor.extract(hir);
        if !found.is_exact() {
            return None;
        }
        let mut values = Vec::new();
        for literal in found.literals()? {
            values.push(String::from_utf8(literal.as_bytes().to_vec()).ok()?);
        }
        values.sort_unstable();
        values.dedup();
        Some(ValueTest::Listed(values))
    }

    /// A literal with `.*` or `.+` at one end, both ends, or in the middle.
    fn open_ended(hir: &Hir) -> Option<Self> {
        let (mut parts, single): (&[Hir], [Hir; 1]);
        match hir.kind() {
            HirKind::Concat(all) => parts = all,
            _ => {
                single = [hir.clone()];
                parts = &single;
            }
        }
        let mut prefix = String::new();
        let mut suffix = String::new();
        if let Some((first, rest)) = parts.split_first()
            && let Some(text) = literal_text(first)
        {
            prefix = text;
            parts = rest;
        }
        if let Some((last, rest)) = parts.split_last()
            && let Some(text) = literal_text(last)
        {
            suffix = text;
            parts = rest;
        }
        match parts {
            [any] => {
                let bytes_min = prefix.len() + suffix.len() + anything(any)?;
                Some(ValueTest::Ends {
                    prefix,
                    suffix,
                    bytes_min,
                })
            }
            [before, middle, after]
                if prefix.is_empty()
                    && suffix.is_empty()
                    && anything(before) == Some(0)
                    && anything(after) == Some(0) =>
            {
                Some(ValueTest::Contains(literal_text(middle)?))
            }
            _ => None,
        }
    }

    /// Does `value` fit?
    #[inline]
    pub(crate) fn passes(&self, value: &str) -> bool {
        match self {
            ValueTest::Listed(values) => match values.as_slice() {
                [only] => only == value,
                many => many.binary_search_by(|v| v.as_str().cmp(value)).is_ok(),
            },
            ValueTest::Ends {
                prefix,
                suffix,
                bytes_min,
            } => {
                value.len() >= *bytes_min
                    && value.starts_with(prefix.as_str())
                    && value.ends_with(suffix.as_str())
            }
            ValueTest::Contains(text) => {
                memchr::memmem::find(value.as_bytes(), text.as_bytes()).is_some()
            }
            ValueTest::Pattern(regex) => regex.is_match(value),
        }
    }
}

fn literal_text(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).ok(),
        HirKind::Capture(capture) => literal_text(&capture.sub),
        _ => None,
    }
}

/// The least number of bytes of a `.*` (0) or `.+` (1) where the dot is any character.
fn anything(hir: &Hir) -> Option<usize> {
    match hir.kind() {
        HirKind::Capture(capture) => anything(&capture.sub),
        HirKind::Repetition(Repetition {
            min: min @ (0 | 1),
            max: None,
            sub,
            ..
        }) => match sub.kind() {
            HirKind::Class(Class::Unicode(class)) => match class.ranges() {
                [range] if range.start() == '\0' && range.end() == char::MAX => Some(*min as usize),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

impl Matcher {
    /// Builds a matcher, compiling the pattern where there is one.
    pub fn new(
        op: MatchOp,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, MatcherError> {
        Self::new_within(op, name, value, usize::MAX)
    }

    /// As [`Matcher::new`], but a pattern that would take more than about `bytes_max` when it is compiled is refused as too large.
    pub fn new_within(
        op: MatchOp,
        name: impl Into<String>,
        value: impl Into<String>,
        bytes_max: usize,
    ) -> Result<Self, MatcherError> {
        let value = value.into();
        let (test, compiled_bytes) = match op {
            MatchOp::Regex | MatchOp::NotRegex => ValueTest::of_pattern(&value, bytes_max)?,
            MatchOp::Equal | MatchOp::NotEqual => (ValueTest::Listed(vec![value.clone()]), 0),
        };
        Ok(Matcher {
            name: name.into(),
            op,
            value,
            test: Arc::new(test),
            compiled_bytes,
        })
    }

    /// About how many bytes its pattern takes; 0 where there is none.
    pub fn compiled_bytes(&self) -> usize {
        self.compiled_bytes
    }

    /// `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = value.into();
        Matcher {
            name: name.into(),
            op: MatchOp::Equal,
            test: Arc::new(ValueTest::Listed(vec![value.clone()])),
            value,
            compiled_bytes: 0,
        }
    }

    /// Does a label with this value (`""` when absent) pass?
    #[inline]
    pub fn matches(&self, value: &str) -> bool {
        let negative = matches!(self.op, MatchOp::NotEqual | MatchOp::NotRegex);
        self.test.passes(value) != negative
    }

    /// The test under the operator, negation left aside.
    pub(crate) fn test(&self) -> &ValueTest {
        &self.test
    }

    /// The values that fit, when the pattern names them all: `a`, `a|b`, `x(1|2)`.
    pub fn alternatives(&self) -> Option<&[String]> {
        match self.test.as_ref() {
            ValueTest::Listed(values) => Some(values),
            _ => None,
        }
    }

    /// The only value that passes, if there is only one.
    pub fn literal(&self) -> Option<&str> {
        match (self.op, self.alternatives()) {
            (MatchOp::Equal | MatchOp::Regex, Some([only])) => Some(only),
            _ => None,
        }
    }

    /// Would a series without the label pass?
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}
impl Eq for Matcher {}

impl std::hash::Hash for Matcher {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.op.hash(state);
        self.value.hash(state);
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}
