//! Texts with markup, made plain: `<html:p>Set <html:code>x</html:code> to <xccdf:sub/></html:p>` becomes pieces to fill in.

use roxmltree::Node;

use super::{Budget, Spent, attribute, is_xccdf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Plain(String),
    /// `sub`, or an HTML object that points to a value: the value's present text, or its title.
    Sub {
        id: String,
        title: bool,
    },
}

/// A text whose substitutions are open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub Vec<Piece>);

impl Text {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.0.iter().map(|p| if let Piece::Plain(t) = p { t.len() } else { 0 }).sum()
    }

    /// Fills in what `of` knows; an unknown id stays visible.
    pub fn fill(&self, budget: &mut Budget, of: &dyn Fn(&str, bool) -> Option<String>) -> Result<String, Spent> {
        let mut out = String::new();
        for piece in &self.0 {
            let known;
            let text = match piece {
                Piece::Plain(text) => text.as_str(),
                Piece::Sub { id, title } => {
                    known = of(id, *title).unwrap_or_else(|| format!("({id})"));
                    &known
                }
            };
            budget.text(text.len())?;
            out.push_str(text);
        }
        Ok(out)
    }
}

/// The same text in several languages: English or unmarked is taken, else the first.
#[derive(Default)]
pub(super) struct Localised<'a, 'i> {
    best: Option<(Node<'a, 'i>, bool)>,
}

impl<'a, 'i> Localised<'a, 'i> {
    pub(super) fn add(&mut self, node: Node<'a, 'i>) {
        let lang = node.attribute(("http://www.w3.org/XML/1998/namespace", "lang")).unwrap_or("en");
        let english = lang.get(..2).is_some_and(|l| l.eq_ignore_ascii_case("en"));
        if self.best.is_none_or(|(_, taken)| english && !taken) {
            self.best = Some((node, english));
        }
    }

    pub(super) fn overrides(&self) -> bool {
        self.best.and_then(|(n, _)| super::flag(n, "override")).unwrap_or(false)
    }

    pub(super) fn into_text(self) -> Text {
        self.best.map(|(n, _)| flow(n)).unwrap_or_default()
    }

    /// On one line.
    pub(super) fn into_title(self) -> Text {
        let mut out = Flow { html: true, ..Flow::default() };
        if let Some((node, _)) = self.best {
            out.children(node);
        }
        out.finish()
    }
}

/// A text for people: white space as HTML has it if there is HTML in it, else as written.
pub(super) fn flow(node: Node) -> Text {
    let html = node.descendants().skip(1).any(|n| n.is_element() && !is_xccdf(n));
    let mut out = Flow { html, ..Flow::default() };
    out.children(node);
    out.finish()
}

/// A text for machines: every character counts.
pub(super) fn verbatim(node: Node) -> Text {
    let mut out = Flow { pre: 1, ..Flow::default() };
    out.children(node);
    Text(out.pieces)
}

#[derive(Default)]
struct Flow {
    pieces: Vec<Piece>,
    html: bool,
    pre: usize,
    /// Line ends, or one space, that the next text needs before it.
    lines: usize,
    space: bool,
}

impl Flow {
    fn children(&mut self, node: Node) {
        for child in node.children() {
            if let Some(text) = child.text().filter(|_| child.is_text()) {
                self.text(text);
            } else if child.is_element() {
                self.element(child);
            }
        }
    }

    fn element(&mut self, node: Node) {
        if is_xccdf(node) {
            match node.tag_name().name() {
                "sub" => self.piece(Piece::Sub { id: attribute(node, "idref"), title: node.attribute("use") == Some("title") }),
                _ => self.children(node),
            }
            return;
        }
        match node.tag_name().name() {
            "object" => match node.attribute("data").and_then(pointed) {
                Some(piece) => self.piece(piece),
                None => self.children(node),
            },
            "br" | "hr" => self.lines += 1,
            "pre" => {
                self.lines = self.lines.max(1);
                self.pre += 1;
                self.children(node);
                self.pre -= 1;
                self.lines = self.lines.max(1);
            }
            "li" | "dt" => {
                self.lines = self.lines.max(1);
                self.push("- ");
                self.children(node);
                self.lines = self.lines.max(1);
            }
            "tr" | "dd" | "ul" | "ol" | "dl" | "table" | "div" => {
                self.lines = self.lines.max(1);
                self.children(node);
                self.lines = self.lines.max(1);
            }
            "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "blockquote" => {
                self.lines = self.lines.max(2);
                self.children(node);
                self.lines = self.lines.max(2);
            }
            "td" | "th" => {
                self.children(node);
                self.space = true;
            }
            _ => self.children(node),
        }
    }

    fn text(&mut self, text: &str) {
        if !self.html || self.pre > 0 {
            self.push(text);
            return;
        }
        if text.starts_with(|c: char| c.is_ascii_whitespace()) {
            self.space = true;
        }
        let mut words = text.split_ascii_whitespace();
        let Some(first) = words.next() else { return };
        let mut run = first.to_owned();
        for word in words {
            run.push(' ');
            run.push_str(word);
        }
        self.push(&run);
        self.space = text.ends_with(|c: char| c.is_ascii_whitespace());
    }

    fn piece(&mut self, piece: Piece) {
        self.push("");
        self.pieces.push(piece);
    }

    /// Puts down what is owed, then the text.
    fn push(&mut self, text: &str) {
        let mut owed = String::new();
        if !self.pieces.is_empty() {
            if self.lines > 0 {
                owed = "\n".repeat(self.lines.min(2));
            } else if self.space {
                owed.push(' ');
            }
        }
        self.lines = 0;
        self.space = false;
        owed.push_str(text);
        match self.pieces.last_mut() {
            Some(Piece::Plain(last)) => last.push_str(&owed),
            _ if owed.is_empty() => {}
            _ => self.pieces.push(Piece::Plain(owed)),
        }
    }

    fn finish(mut self) -> Text {
        if let Some(Piece::Plain(first)) = self.pieces.first_mut() {
            *first = first.trim_start().to_owned();
        }
        if let Some(Piece::Plain(last)) = self.pieces.last_mut() {
            last.truncate(last.trim_end().len());
        }
        self.pieces.retain(|p| !matches!(p, Piece::Plain(t) if t.is_empty()));
        Text(self.pieces)
    }
}

/// `#xccdf:value:ID` and `#xccdf:title:ID`
fn pointed(data: &str) -> Option<Piece> {
    let (id, title) = match data.strip_prefix("#xccdf:value:") {
        Some(id) => (id, false),
        None => (data.strip_prefix("#xccdf:title:")?, true),
    };
    Some(Piece::Sub { id: id.to_owned(), title })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn plain(inner: &str) -> String {
        let xml = format!("<d xmlns='http://checklists.nist.gov/xccdf/1.2' xmlns:h='http://www.w3.org/1999/xhtml'>{inner}</d>");
        let tree = roxmltree::Document::parse(&xml).unwrap();
        let mut budget = Budget::new(&Limits::default());
        flow(tree.root_element()).fill(&mut budget, &|id, title| (id == "v").then(|| if title { "V".into() } else { "7".into() })).unwrap()
    }

    #[test]
    fn markup_becomes_lines() {
        assert_eq!(plain("  as\n written "), "as\n written");
        assert_eq!(plain("Set <h:code>a\n b</h:code>, now<h:br/>or <h:p>later</h:p>then"), "Set a b, now\nor\n\nlater\n\nthen");
        assert_eq!(plain("<h:ul><h:li>one</h:li><h:li>two <h:b>2</h:b></h:li></h:ul>end"), "- one\n- two 2\nend");
        assert_eq!(plain("see <h:pre>a  b\n c</h:pre> so"), "see\na  b\n c\nso");
        assert_eq!(
            plain("is <sub idref='v'/>, <sub idref='v' use='title'/> <h:object data='#xccdf:value:v'/> <sub idref='w'/>"),
            "is 7, V 7 (w)"
        );
    }
}
