//! A piece of a document becomes a document: `<x:Benchmark id=...>` gets the declaration of `x` that stood further out.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::events::Event;

/// `None` if the piece does not begin with an element.
pub(super) fn document(piece: &str, namespaces: &[(String, String)]) -> Option<String> {
    let mut reader = Reader::from_str(piece);
    let tag = match reader.read_event().ok()? {
        Event::Start(tag) | Event::Empty(tag) => tag,
        _ => return None,
    };
    let name = tag.name().as_ref().len();
    let own: Vec<String> = tag.attributes().filter_map(Result::ok).map(|a| a.key.as_ref().to_owned()).collect();
    let mut out = String::with_capacity(piece.len() + 512);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str(piece.get(..=name)?);
    for (prefix, uri) in namespaces {
        let attribute = if prefix.is_empty() { "xmlns".to_owned() } else { format!("xmlns:{prefix}") };
        if prefix != "xml" && !own.contains(&attribute) {
            write!(out, " {attribute}=\"{}\"", quick_xml::escape::escape(uri.as_str())).ok()?;
        }
    }
    out.push_str(piece.get(name + 1..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_further_out_is_declared() {
        let outer = "<d xmlns='urn:d' xmlns:x='urn:x?a&amp;b' xmlns:y='urn:y'><x:b xmlns:y='urn:z' y:k='1'><x:c/></x:b></d>";
        let tree = roxmltree::Document::parse(outer).unwrap();
        let inner = tree.root_element().first_element_child().unwrap();
        let spaces: Vec<_> = inner.namespaces().map(|n| (n.name().unwrap_or_default().to_owned(), n.uri().to_owned())).collect();
        let alone = document(outer.get(inner.range()).unwrap(), &spaces).unwrap();
        let again = roxmltree::Document::parse(&alone).unwrap();
        let root = again.root_element();
        assert_eq!(root.tag_name().namespace(), Some("urn:x?a&b"));
        assert_eq!(root.attribute(("urn:z", "k")), Some("1"));
        assert!(root.first_element_child().unwrap().has_tag_name(("urn:x?a&b", "c")));
    }
}
