//! YAML text to a tree in which every node knows its line and column, and back from a tree to text.
//!
//! Promise: scalars keep the text the user wrote (Prometheus decides by the field whether `0644` is a number), aliases and merge keys are
//! followed, a duplicate key is an error, and nesting and size have bounds. Not here: what the fields mean.

use crate::limits::{CONFIG_NESTING_MAX, CONFIG_NODES_MAX};
use serde_saphyr::granit_parser::{Event, ParseResult, Parser, ScalarStyle, Span};
use std::collections::HashMap;

/// A place in the text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// Something wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub reason: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(place: Place, reason: impl Into<String>) -> Self {
        Problem {
            place,
            reason: reason.into(),
        }
    }
}

/// A node of the document.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// The kinds of nodes.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// Text; `plain` when it was not quoted.
    Scalar {
        /// After YAML's escapes.
        text: String,
        /// Without quotes.
        plain: bool,
    },
    /// A list.
    Seq(Vec<Node>),
    /// Keys, each with the place of the key, and values, in the order of the text.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub struct Key {
    /// Where it stands.
    pub place: Place,
    /// Its text.
    pub text: String,
}

impl Node {
    /// Null?
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Element `index`, if this is a list that has it.
    pub fn item(&self, index: usize) -> Option<&Node> {
        match &self.value {
            Value::Seq(items) => items.get(index),
            _ => None,
        }
    }

    /// Where the value under `key` stands, or this node where there is none.
    pub fn place_of(&self, key: &str) -> Place {
        self.get(key).map_or(self.place, |n| n.place)
    }

    /// Go-yaml's word for the node, for its error texts.
    pub fn tag(&self) -> &'static str {
        match &self.value {
            Value::Null => "!!null",
            Value::Seq(_) => "!!seq",
            Value::Map(_) => "!!map",
            Value::Scalar { text, plain: true } => plain_tag(text),
            Value::Scalar { .. } => "!!str",
        }
    }

    /// The problem of a node that a field of Go type `wanted` cannot take.
    pub fn refuse(&self, wanted: &str) -> Problem {
        let shown = match &self.value {
            Value::Scalar { text, .. } => format!(" `{text}`"),
            _ => String::new(),
        };
        Problem::new(
            self.place,
            format!("cannot unmarshal {}{shown} into {wanted}", self.tag()),
        )
    }
}

fn plain_tag(text: &str) -> &'static str {
    if matches!(text.to_ascii_lowercase().as_str(), "true" | "false") {
        "!!bool"
    } else if text.parse::<i64>().is_ok() {
        "!!int"
    } else if is_number(text) {
        "!!float"
    } else {
        "!!str"
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && text.contains(|c: char| c.is_ascii_digit())
        && text.parse::<f64>().is_ok()
}

fn is_null_word(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn place(span: &Span) -> Place {
    Place {
        line: span.start.line().max(1),
        column: span.start.col() + 1,
    }
}

/// Reads one document; an empty text is null.
pub fn parse(text: &str) -> Result<Node, Problem> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
    };
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::DocumentEnd | Event::StreamEnd => break,
            event => {
                let root = reader.node(event, &span, 0)?;
                // As with Go's Unmarshal, documents after the first are not looked at.
                return Ok(root);
            }
        }
    }
    Ok(Node {
        place: Place { line: 1, column: 1 },
        value: Value::Null,
    })
}

struct Reader<I> {
    events: I,
    /// Nodes that an alias can name, with the number of nodes inside.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'t, I: Iterator<Item = ParseResult<'t>>> Reader<I> {
    /// The next event that is part of the data.
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Problem> {
        for next in self.events.by_ref() {
            match next {
                Ok((Event::Comment(..) | Event::Anchor(..), _)) => {}
                Ok(found) => return Ok(Some(found)),
                Err(error) => {
                    let mark = error.marker();
                    let place = Place {
                        line: mark.line().max(1),
                        column: mark.col() + 1,
                    };
                    return Err(Problem::new(place, error.info()));
                }
            }
        }
        Ok(None)
    }

    fn inside(&mut self, start: Place) -> Result<(Event<'t>, Span), Problem> {
        self.next()?
            .ok_or_else(|| Problem::new(start, "the document ends inside a collection"))
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Problem> {
        self.nodes += nodes;
        if self.nodes > CONFIG_NODES_MAX {
            return Err(Problem::new(
                place,
                format!("document contains excessive aliasing: more than {CONFIG_NODES_MAX} nodes"),
            ));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Node, Problem> {
        let place = place(span);
        if depth > CONFIG_NESTING_MAX {
            return Err(Problem::new(
                place,
                format!("nested deeper than {CONFIG_NESTING_MAX} levels"),
            ));
        }
        let before = self.nodes;
        self.count(1, place)?;
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let (node, nodes) = self.anchors.get(&id).cloned().ok_or_else(|| {
                    Problem::new(place, "the alias names a node that is not finished")
                })?;
                self.count(nodes, place)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let forced_text = tag.is_some_and(|t| t.core_suffix() == Some("str"));
                let value = if plain && !forced_text && is_null_word(&text) {
                    Value::Null
                } else {
                    Value::Scalar {
                        text: text.into_owned(),
                        plain: plain && !forced_text,
                    }
                };
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.inside(place)? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, &span, depth + 1)?),
                    }
                }
                (Value::Seq(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => (self.mapping(place, depth)?, anchor),
            _ => return Err(Problem::new(place, "a value was expected here")),
        };
        let node = Node { place, value };
        if anchor != 0 {
            self.anchors
                .insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn mapping(&mut self, start: Place, depth: usize) -> Result<Value, Problem> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut merged: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.inside(start)?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event, &span, depth + 1)?;
            let (event, span) = self.inside(start)?;
            let value = self.node(event, &span, depth + 1)?;
            let text = match key.value {
                Value::Scalar { text, plain: true } if text == "<<" => {
                    merge_sources(value, &mut merged)?;
                    continue;
                }
                Value::Scalar { text, .. } => text,
                Value::Null => "null".to_owned(),
                Value::Seq(_) | Value::Map(_) => {
                    return Err(Problem::new(
                        key.place,
                        "invalid map key: it is a collection",
                    ));
                }
            };
            if let Some((first, _)) = entries.iter().find(|(k, _)| k.text == text) {
                return Err(Problem::new(
                    key.place,
                    format!(
                        "mapping key {text:?} already defined at line {}",
                        first.place.line
                    ),
                ));
            }
            let place = key.place;
            entries.push((Key { place, text }, value));
        }
        // What the mapping says itself wins over what it merges, and earlier merged mappings over later ones.
        for (key, value) in merged {
            if !entries.iter().any(|(k, _)| k.text == key.text) {
                entries.push((key, value));
            }
        }
        Ok(Value::Map(entries))
    }
}

fn merge_sources(source: Node, out: &mut Vec<(Key, Node)>) -> Result<(), Problem> {
    match source.value {
        Value::Map(entries) => out.extend(entries),
        Value::Seq(items) => {
            for item in items {
                match item.value {
                    Value::Map(entries) => out.extend(entries),
                    _ => {
                        return Err(Problem::new(
                            item.place,
                            "map merge requires map or sequence of maps as the value",
                        ));
                    }
                }
            }
        }
        _ => {
            return Err(Problem::new(
                source.place,
                "map merge requires map or sequence of maps as the value",
            ));
        }
    }
    Ok(())
}

/// A tree to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// Written bare: numbers, booleans, durations.
    Bare(String),
    /// Text, quoted where it must be.
    Text(String),
    /// A list.
    Seq(Vec<Out>),
    /// A mapping.
    Map(Vec<(String, Out)>),
}

/// Writes a mapping as go-yaml does: two spaces, lists not indented below their key.
pub fn write(out: &Out) -> String {
    let mut text = String::new();
    put_block(&mut text, out, 0);
    text
}

fn put_block(text: &mut String, out: &Out, indent: usize) {
    match out {
        Out::Map(entries) if !entries.is_empty() => {
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 || text.ends_with('\n') {
                    text.push_str(&" ".repeat(indent));
                }
                put_text(text, key);
                text.push(':');
                put_value(text, value, indent);
            }
        }
        Out::Seq(items) if !items.is_empty() => {
            for item in items {
                text.push_str(&" ".repeat(indent));
                text.push('-');
                match item {
                    Out::Map(entries) if !entries.is_empty() => {
                        text.push(' ');
                        put_block(text, item, indent + 2);
                    }
                    _ => put_value(text, item, indent + 2),
                }
            }
        }
        _ => put_inline(text, out),
    }
}

fn put_value(text: &mut String, value: &Out, indent: usize) {
    match value {
        Out::Map(entries) if !entries.is_empty() => {
            text.push('\n');
            put_block(text, value, indent + 2);
        }
        Out::Seq(items) if !items.is_empty() => {
            text.push('\n');
            put_block(text, value, indent);
        }
        _ => {
            text.push(' ');
            put_inline(text, value);
        }
    }
}

fn put_inline(text: &mut String, out: &Out) {
    match out {
        Out::Bare(word) => text.push_str(word),
        Out::Text(words) => put_text(text, words),
        Out::Seq(_) => text.push_str("[]"),
        Out::Map(_) => text.push_str("{}"),
    }
    text.push('\n');
}

/// Bare where no reader can take it for something else, else quoted.
fn put_text(text: &mut String, words: &str) {
    let control = words.chars().any(char::is_control);
    let looks_typed = is_null_word(words)
        || is_number(words)
        || matches!(
            words.to_ascii_lowercase().as_str(),
            "true"
                | "false"
                | "yes"
                | "no"
                | "on"
                | "off"
                | "y"
                | "n"
                | "<<"
                | "="
                | ".nan"
                | ".inf"
                | "-.inf"
        );
    let first_special = words.starts_with([
        '-', '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@',
        '`', ' ',
    ]) && !(words.len() > 1
        && words.starts_with(['-', '?', ':'])
        && !words[1..].starts_with(' '));
    let inner_special = words.contains(": ") || words.contains(" #") || words.ends_with([':', ' ']);
    if control || looks_typed {
        text.push('"');
        for c in words.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                c if c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => text.push(c),
            }
        }
        text.push('"');
    } else if first_special || inner_special {
        text.push('\'');
        text.push_str(&words.replace('\'', "''"));
        text.push('\'');
    } else {
        text.push_str(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> (usize, usize, String) {
        let p = parse(text).unwrap_err();
        (p.place.line, p.place.column, p.reason)
    }

    #[test]
    fn nodes_know_their_places() {
        let root = parse("a: 1\nb:\n  - x\n  - {c: 'y'}\n").unwrap();
        let b = root.get("b").unwrap();
        assert_eq!(root.get("a").unwrap().place, Place { line: 1, column: 4 });
        assert_eq!(b.item(0).unwrap().place, Place { line: 3, column: 5 });
        let c = b.item(1).unwrap().get("c").unwrap();
        assert_eq!(c.place, Place { line: 4, column: 9 });
        assert!(matches!(&c.value, Value::Scalar { text, plain: false } if text == "y"));
    }

    #[test]
    fn scalars_keep_their_text() {
        let root = parse("a: 0644\nb: ~\nc: ''\nd:\ne: !!str null\n").unwrap();
        assert!(
            matches!(&root.get("a").unwrap().value, Value::Scalar { text, .. } if text == "0644")
        );
        assert!(root.get("b").unwrap().is_null() && root.get("d").unwrap().is_null());
        assert!(!root.get("c").unwrap().is_null() && !root.get("e").unwrap().is_null());
    }

    #[test]
    fn aliases_and_merges() {
        let root = parse("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz: *x\n").unwrap();
        let y = root.get("y").unwrap();
        assert!(matches!(&y.get("a").unwrap().value, Value::Scalar { text, .. } if text == "1"));
        assert!(matches!(&y.get("b").unwrap().value, Value::Scalar { text, .. } if text == "3"));
        assert!(root.get("z").unwrap().get("a").is_some());
    }

    #[test]
    fn refusals_have_places() {
        let (line, column, reason) = problem("a: 1\nb: 2\na: 3\n");
        assert_eq!((line, column), (3, 1));
        assert_eq!(reason, "mapping key \"a\" already defined at line 1");
        let (line, _, reason) = problem("a:\n  - b\n c: d\n");
        assert_eq!(line, 3, "{reason}");
        assert!(!reason.is_empty());
        assert_eq!(problem("? [a]\n: b\n").1, 3);
        assert!(!problem("a: *nowhere\n").2.is_empty());
        assert!(
            problem(&format!("{}x{}", "[".repeat(200), "]".repeat(200)))
                .2
                .contains("deep")
        );
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            let list = vec![format!("*a{}", i - 1); 9].join(",");
            text.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        assert!(problem(&text).2.contains("excessive aliasing"));
    }

    #[test]
    fn written_text_reads_back() {
        let texts = [
            "plain",
            "true",
            "12",
            "1e3",
            "",
            "a: b",
            "# x",
            "it's",
            "- x",
            "-x",
            "a\nb",
            "null",
            "*",
            "{x}",
            "a #b",
            "@x",
            "%",
            "x:",
            "(.*)",
            "$1",
            ";",
            "~",
            "0x1F",
            "\"q\"",
            "host:9090",
        ];
        let out = Out::Map(vec![(
            "list".to_owned(),
            Out::Seq(texts.iter().map(|t| Out::Text((*t).to_owned())).collect()),
        )]);
        let written = write(&out);
        let root = parse(&written).unwrap();
        for (i, want) in texts.iter().enumerate() {
            match &root.get("list").unwrap().item(i).unwrap().value {
                Value::Scalar { text, .. } => assert_eq!(text, want, "{written}"),
                other => panic!("{want:?} became {other:?} in {written}"),
            }
        }
    }

    #[test]
    fn layout_is_go_yaml_s() {
        let text = |t: &str| Out::Text(t.to_owned());
        let out = Out::Map(vec![(
            "a".to_owned(),
            Out::Seq(vec![Out::Map(vec![
                ("b".to_owned(), text("c")),
                ("d".to_owned(), Out::Seq(vec![text("e")])),
                (
                    "f".to_owned(),
                    Out::Map(vec![("g".to_owned(), Out::Bare("1m".to_owned()))]),
                ),
            ])]),
        )]);
        assert_eq!(write(&out), "a:\n- b: c\n  d:\n  - e\n  f:\n    g: 1m\n");
    }
}
