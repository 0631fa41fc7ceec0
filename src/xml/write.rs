//! Writes XML documents: indented, escaped, and without the characters that XML cannot hold.
//!
//! Into a `String`, so nothing can fail. Collected values are bytes of strangers: what XML 1.0 has no way to write becomes U+FFFD.

use std::borrow::Cow;

pub const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// A document in the making.
#[derive(Debug, Default)]
pub struct Out {
    text: String,
    open: Vec<&'static str>,
}

/// Attributes; those with `None` are left out.
pub type Attributes<'a> = [(&'static str, Option<&'a str>)];

impl Out {
    pub fn new() -> Out {
        Out::default()
    }

    pub fn document() -> Out {
        Out { text: DECLARATION.to_owned(), open: Vec::new() }
    }

    /// What was written. Elements that are still open are closed.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }

    fn indent(&mut self) {
        for _ in 0..self.open.len() {
            self.text.push_str("  ");
        }
    }

    fn tag(&mut self, name: &str, attributes: &Attributes<'_>) {
        self.indent();
        self.text.push('<');
        self.text.push_str(name);
        for (name, value) in attributes {
            if let Some(value) = value {
                self.text.push(' ');
                self.text.push_str(name);
                self.text.push_str("=\"");
                self.text.push_str(&escape(value, true));
                self.text.push('"');
            }
        }
    }

    pub fn open(&mut self, name: &'static str, attributes: &Attributes<'_>) {
        self.tag(name, attributes);
        self.text.push_str(">\n");
        self.open.push(name);
    }

    pub fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.indent();
            self.end(name);
        }
    }

    fn end(&mut self, name: &str) {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push_str(">\n");
    }

    pub fn empty(&mut self, name: &str, attributes: &Attributes<'_>) {
        self.tag(name, attributes);
        self.text.push_str("/>\n");
    }

    pub fn leaf(&mut self, name: &str, attributes: &Attributes<'_>, text: &str) {
        if text.is_empty() {
            return self.empty(name, attributes);
        }
        self.tag(name, attributes);
        self.text.push('>');
        self.text.push_str(&escape(text, false));
        self.end(name);
    }

    /// An element whose name is not known beforehand.
    pub fn within(&mut self, name: &str, attributes: &Attributes<'_>, inner: impl FnOnce(&mut Out)) {
        self.tag(name, attributes);
        self.text.push_str(">\n");
        // For the indentation; it is closed here, by its own name.
        self.open.push("");
        inner(self);
        self.open.pop();
        self.indent();
        self.end(name);
    }

    /// XML as it is.
    pub fn raw(&mut self, xml: &str) {
        self.text.push_str(xml);
        if !xml.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

/// Text as XML writes it. In attributes, line ends and tabs are written so that they are read as such again.
pub fn escape(text: &str, attribute: bool) -> Cow<'_, str> {
    let plain = |c: char| match c {
        '&' | '<' | '>' | '\r' | '\u{fffe}' | '\u{ffff}' => false,
        '"' | '\n' | '\t' => !attribute,
        c => c >= ' ',
    };
    if text.chars().all(|c| plain(c) || matches!(c, '\n' | '\t') && !attribute) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            '"' if attribute => out.push_str("&quot;"),
            '\n' if attribute => out.push_str("&#10;"),
            '\t' if attribute => out.push_str("&#9;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            c if c < ' ' => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let value = " a<b>&\"c'\r\n\td\u{e9}\u{1f600} ";
        let mut out = Out::document();
        out.open("a", &[("b", Some(value)), ("c", None)]);
        out.leaf("d", &[], value);
        out.within("e", &[], |out| out.empty("f", &[]));
        out.raw("<g/>");
        let text = out.finish();
        let tree = roxmltree::Document::parse(&text).unwrap();
        let root = tree.root_element();
        assert_eq!(root.attribute("b"), Some(value));
        assert_eq!(root.attribute("c"), None);
        assert_eq!(root.first_element_child().and_then(|d| d.text()), Some(value));
        assert_eq!(root.children().filter(roxmltree::Node::is_element).count(), 3);
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(escape("a\0b\u{1b}\u{ffff}", false), "a\u{fffd}b\u{fffd}\u{fffd}");
        assert!(matches!(escape("plain\n\"text\"", false), Cow::Borrowed(_)));
    }
}
