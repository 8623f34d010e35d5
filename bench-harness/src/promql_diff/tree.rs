//! A query as a tree of pieces of text, so that it can be made smaller and still be a query.
//!
//! Not here: which queries there are (`grammar`), and whether a smaller one still shows a difference (`mod`).

use std::fmt;

/// What a part of a query is; only parts of one kind can stand in each other's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Vector,
    Scalar,
    Range,
    Text,
}

#[derive(Debug, Clone)]
pub(super) enum Part {
    Text(String),
    Node(Node),
    /// Text that may be left out.
    Optional(String),
}

/// A part of a query with the parts it is made of.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    parts: Vec<Part>,
}

impl From<&str> for Part {
    fn from(text: &str) -> Part {
        Part::Text(text.to_owned())
    }
}

impl From<String> for Part {
    fn from(text: String) -> Part {
        Part::Text(text)
    }
}

impl From<Node> for Part {
    fn from(node: Node) -> Part {
        Part::Node(node)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) | Part::Optional(text) => out.write_str(text)?,
                Part::Node(node) => node.fmt(out)?,
            }
        }
        Ok(())
    }
}

impl Node {
    pub(super) fn new<const N: usize>(kind: Kind, parts: [Part; N]) -> Node {
        Node {
            kind,
            parts: parts.into(),
        }
    }

    fn collect(&self, kind: Kind, out: &mut Vec<Node>) {
        for part in &self.parts {
            if let Part::Node(node) = part {
                if node.kind == kind {
                    out.push(node.clone());
                }
                node.collect(kind, out);
            }
        }
    }

    /// The queries that are one change smaller, the smallest first.
    pub(super) fn smaller(&self) -> Vec<Node> {
        let mut out = self.one_change();
        if self.kind != Kind::Vector {
            self.collect(Kind::Vector, &mut out);
        }
        out.sort_by_cached_key(|node| node.to_string().len());
        out
    }

    fn one_change(&self) -> Vec<Node> {
        let mut out = Vec::new();
        self.collect(self.kind, &mut out);
        for (index, part) in self.parts.iter().enumerate() {
            let mut with = |part: Part| {
                let mut copy = self.clone();
                copy.parts[index] = part;
                out.push(copy);
            };
            match part {
                Part::Text(_) => {}
                Part::Optional(text) if text.is_empty() => {}
                Part::Optional(_) => with(Part::Optional(String::new())),
                Part::Node(node) => node
                    .one_change()
                    .into_iter()
                    .for_each(|n| with(Part::Node(n))),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_queries_are_parts_of_the_same_kind() {
        let selector = Node::new(
            Kind::Vector,
            ["x".into(), Part::Optional("{a=\"b\"}".to_owned())],
        );
        let range = Node::new(Kind::Range, [selector.into(), "[5m]".into()]);
        let rate = Node::new(Kind::Vector, ["rate(".into(), range.into(), ")".into()]);
        let sum = Node::new(
            Kind::Vector,
            [
                "sum".into(),
                Part::Optional(" by (c)".to_owned()),
                "(".into(),
                rate.into(),
                ")".into(),
            ],
        );
        assert_eq!(sum.to_string(), "sum by (c)(rate(x{a=\"b\"}[5m]))");
        let texts: Vec<String> = sum.smaller().iter().map(Node::to_string).collect();
        assert_eq!(
            texts,
            [
                "x{a=\"b\"}",
                "rate(x{a=\"b\"}[5m])",
                "sum by (c)(x{a=\"b\"})",
                "sum(rate(x{a=\"b\"}[5m]))",
                "sum by (c)(rate(x[5m]))",
            ]
        );
    }
}
