//! Warnings and infos that ride beside a result.

use crate::parse::ast::Span;
use hashbrown::HashSet;

/// How loud an annotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// `PromQL warning: …`
    Warning,
    /// `PromQL info: …`
    Info,
}

/// One annotation, without its rendered position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Annotation {
    /// Warning or info.
    pub severity: Severity,
    /// Whole text as Prometheus words it, prefix included, position not.
    pub text: String,
    /// Byte range in the query it points at; rendered as `(line:col)`.
    pub start: u32,
}

/// The set of annotations of one evaluation; each text is kept once.
#[derive(Debug, Clone, Default)]
pub struct Annotations {
    items: Vec<Annotation>,
    texts: HashSet<String>,
}

impl PartialEq for Annotations {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}
impl Eq for Annotations {}

impl Annotations {
    /// Adds one unless its text is already there.
    pub fn add(&mut self, severity: Severity, text: impl Into<String>, span: Span) {
        let text = text.into();
        self.keep(Annotation {
            severity,
            text,
            start: span.start,
        });
    }

    /// Takes over those of another part of the evaluation.
    pub fn merge(&mut self, other: Annotations) {
        for a in other.items {
            self.keep(a);
        }
    }

    fn keep(&mut self, annotation: Annotation) {
        if !self.texts.contains(&annotation.text) {
            self.texts.insert(annotation.text.clone());
            self.items.push(annotation);
        }
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All of them in the order they came.
    pub fn items(&self) -> &[Annotation] {
        &self.items
    }

    /// Rendered with positions in `query` (lines and columns from 1): warnings, then infos.
    pub fn render(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let text = |a: &Annotation| format!("{} ({})", a.text, position(query, a.start as usize));
        let of = |s| {
            self.items
                .iter()
                .filter(|a| a.severity == s)
                .map(text)
                .collect()
        };
        (of(Severity::Warning), of(Severity::Info))
    }
}

/// `line:column` of a byte offset, both from 1, as Prometheus renders positions.
pub fn position(query: &str, offset: usize) -> String {
    let before = query.get(..offset).unwrap_or(query);
    let line = before.matches('\n').count() + 1;
    let column = offset - before.rfind('\n').map_or(0, |i| i + 1) + 1;
    format!("{line}:{column}")
}
