//! Answers of AWS's older interfaces: XML as a small tree, without attributes and namespaces.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

/// Deepest nesting that is read; what is deeper is refused.
const DEPTH_MAX: usize = 64;

/// An element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a document; its root is the only child of the result.
    pub(super) fn read(xml: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(xml);
        let mut open = vec![Element::default()];
        let broken = |e: &dyn std::fmt::Display| format!("unreadable XML: {e}");
        loop {
            match reader.read_event().map_err(|e| broken(&e))? {
                Event::Start(start) => {
                    if open.len() > DEPTH_MAX {
                        return Err(broken(&"nested too deeply"));
                    }
                    let name = start.local_name();
                    open.push(Element {
                        name: name.as_ref().to_owned(),
                        ..Element::default()
                    });
                }
                Event::End(_) => {
                    if let Some(done) = open.pop()
                        && let Some(parent) = open.last_mut()
                    {
                        parent.children.push(done);
                    }
                }
                Event::Text(text) => {
                    if let Some(at) = open.last_mut() {
                        at.text.push_str(&text.xml10_content());
                    }
                }
                Event::CData(text) => {
                    if let Some(at) = open.last_mut() {
                        at.text.push_str(&text.xml10_content());
                    }
                }
                Event::GeneralRef(reference) => {
                    let name: &str = &reference;
                    let number = reference.resolve_char_ref().map_err(|e| broken(&e))?;
                    let text = match number {
                        Some(c) => c.to_string(),
                        None => resolve_xml_entity(name)
                            .ok_or_else(|| broken(&format_args!("entity {name:?}")))?
                            .to_owned(),
                    };
                    if let Some(at) = open.last_mut() {
                        at.text.push_str(&text);
                    }
                }
                Event::Empty(start) => {
                    let name = start.local_name();
                    let element = Element {
                        name: name.as_ref().to_owned(),
                        ..Element::default()
                    };
                    if let Some(parent) = open.last_mut() {
                        parent.children.push(element);
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        match (open.pop(), open.is_empty()) {
            (Some(document), true) => Ok(document),
            _ => Err(broken(&"it ends too early")),
        }
    }

    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    /// Text at the end of these names, without the space around it; empty when there is none.
    pub(super) fn text(&self, path: &[&str]) -> &str {
        let mut at = Some(self);
        for name in path {
            at = at.and_then(|e| e.child(name));
        }
        at.map_or("", |e| e.text.trim())
    }

    /// The children `item` of the list of this name.
    pub(super) fn items(&self, list: &str) -> impl Iterator<Item = &Element> {
        let list = self.child(list);
        list.into_iter()
            .flat_map(|l| l.children.iter().filter(|c| c.name == "item"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_and_what_is_none() {
        let xml = "<?xml version=\"1.0\"?><a xmlns='x'><b>1 &amp; &#50;</b><l><item><k>x</k></item><item/></l></a>";
        let tree = Element::read(xml).unwrap();
        let root = tree.child("a").unwrap();
        assert_eq!(root.text(&["b"]), "1 & 2");
        assert_eq!(root.text(&["none", "b"]), "");
        let keys: Vec<&str> = root.items("l").map(|i| i.text(&["k"])).collect();
        assert_eq!(keys, ["x", ""]);
        for bad in ["<a>", "<a></b>", "<a>&what;</a>"] {
            assert!(Element::read(bad).is_err(), "{bad}");
        }
        assert!(Element::read(&"<a>".repeat(100)).is_err());
    }
}
