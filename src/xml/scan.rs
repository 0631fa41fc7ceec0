//! Uploaded XML as tokens that borrow from the text: for documents that are read once, on the way in.
//!
//! Names and values are slices of the document wherever it has no escapes. A leaf (`<name>value</name>`, which most of an upload is) costs
//! one step. What is not well-formed is refused where it is met; a document type declaration is refused, so there are no entities but
//! XML's own five.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};

use crate::limits::Limits;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ScanError {
    pub line: usize,
    pub why: String,
}

#[derive(Debug)]
pub enum Token<'x> {
    Open(Tag<'x>),
    Close,
    Text(Cow<'x, str>),
    /// The end of the document.
    End,
}

/// A start tag. Of an element that is `empty`, no `Close` follows.
#[derive(Clone, Copy, Debug)]
pub struct Tag<'x> {
    pub name: &'x str,
    pub empty: bool,
    attributes: &'x str,
}

impl<'x> Tag<'x> {
    /// Attributes by local name, values as written.
    pub fn attributes(&self) -> impl Iterator<Item = (&'x str, &'x str)> + use<'x> {
        let (text, mut at) = (self.attributes, 0);
        std::iter::from_fn(move || {
            let (name, value, next) = attribute(text, at)?;
            at = next;
            Some((local(name), value))
        })
    }

    /// Names of its `xmlns` attributes.
    fn declared(&self) -> impl Iterator<Item = &'x str> + use<'x> {
        let (text, mut at) = (self.attributes, 0);
        let names = std::iter::from_fn(move || {
            let (name, _, next) = attribute(text, at)?;
            at = next;
            Some(name)
        });
        names.filter(|name| *name == "xmlns" || name.starts_with("xmlns:"))
    }

    pub fn attribute(&self, name: &str) -> Option<Cow<'x, str>> {
        let (_, raw) = self.attributes().find(|(n, _)| *n == name)?;
        unescape(raw).ok()
    }
}

pub struct Scanner<'x> {
    text: &'x str,
    at: usize,
    /// Where the last start tag began, and its attributes.
    tag_at: usize,
    last: Vec<(&'x str, &'x str)>,
    /// Name and attributes of each open element.
    open: Vec<(&'x str, &'x str)>,
    depth: usize,
    value_bytes: usize,
    attributes: usize,
}

impl<'x> Scanner<'x> {
    pub fn new(text: &'x str, limits: &Limits) -> Scanner<'x> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Limits { xml_depth: depth, xml_value_bytes: value_bytes, xml_attributes: attributes, .. } = *limits;
        Scanner { text, at: 0, tag_at: 0, last: Vec::new(), open: Vec::with_capacity(16), depth, value_bytes, attributes }
    }

    /// How many elements are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// A refusal at the present place.
    pub fn refuse<T>(&self, why: impl Into<String>) -> Result<T, ScanError> {
        let line = self.text.as_bytes().iter().take(self.at).filter(|b| **b == b'\n').count() + 1;
        Err(ScanError { line, why: why.into() })
    }

    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes were not read yet.
    pub fn left(&self) -> usize {
        self.text.len() - self.at
    }

    /// Where the start tag began that was read last.
    pub fn tag_position(&self) -> usize {
        self.tag_at
    }

    /// What [`Tag::attributes`] of the tag that was read last gives, which takes no reading again.
    pub fn attributes(&self) -> impl Iterator<Item = (&'x str, &'x str)> + '_ {
        self.last.iter().map(|(name, value)| (local(name), *value))
    }

    /// The document between two positions, as written.
    pub fn written(&self, from: usize, to: usize) -> &'x str {
        self.text.get(from..to).unwrap_or_default()
    }

    fn open_name(&self) -> &'x str {
        self.open.last().map_or("", |(name, _)| name)
    }

    /// The namespaces that are declared around the present place: `xmlns` attributes as written, the inner before the outer ones.
    fn namespaces(&self) -> Vec<(&'x str, &'x str)> {
        let (mut found, mut known) = (Vec::new(), std::collections::BTreeSet::new());
        for (_, attributes) in self.open.iter().rev() {
            let mut at = 0;
            while let Some((name, value, next)) = attribute(attributes, at) {
                at = next;
                if (name == "xmlns" || name.starts_with("xmlns:")) && known.insert(name) {
                    found.push((name, value));
                }
            }
        }
        found
    }

    /// The namespaces around an element that was just opened, without those that it declares itself.
    pub fn namespaces_around(&self, tag: &Tag<'x>) -> Vec<(&'x str, &'x str)> {
        let own: Vec<&str> = tag.declared().collect();
        let mut around = self.namespaces();
        around.retain(|(name, _)| !own.contains(name));
        around
    }

    fn rest(&self) -> &'x str {
        self.text.get(self.at..).unwrap_or_default()
    }

    // Not an iterator: it goes on failing once it failed, and takes part in `value` and `skip`.
    #[expect(clippy::should_implement_trait, reason = "fallible, and not all that this type does")]
    pub fn next(&mut self) -> Result<Token<'x>, ScanError> {
        loop {
            let rest = self.rest();
            let begin = if rest.starts_with('<') { Some(0) } else { memchr(b'<', rest.as_bytes()) };
            let Some(begin) = begin else {
                if !self.open.is_empty() {
                    return self.refuse(format!("the document ends inside <{}>", self.open_name()));
                }
                return if rest.trim().is_empty() { Ok(Token::End) } else { self.refuse("text outside of the root element") };
            };
            if begin > 0 {
                let raw = rest.get(..begin).unwrap_or_default();
                if !self.open.is_empty() {
                    let text = self.unescaped(raw)?;
                    self.at += begin;
                    return Ok(Token::Text(text));
                }
                if !raw.trim().is_empty() {
                    return self.refuse("text outside of the root element");
                }
                self.at += begin;
                continue;
            }
            match rest.as_bytes().get(1) {
                Some(b'/') => {
                    self.close(rest)?;
                    return Ok(Token::Close);
                }
                Some(b'!') => {
                    if let Some(text) = self.declaration(rest)? {
                        return Ok(Token::Text(Cow::Borrowed(text)));
                    }
                }
                Some(b'?') => self.pass(rest, "?>")?,
                _ => return self.tag(rest).map(Token::Open),
            }
        }
    }

    /// The next child of an element whose earlier children were read to their ends, or `None` at its end. Texts are passed over.
    pub fn child(&mut self, of: &Tag<'x>) -> Result<Option<Tag<'x>>, ScanError> {
        if of.empty {
            return Ok(None);
        }
        loop {
            if !self.open.is_empty() {
                let rest = self.rest();
                self.at += memchr(b'<', rest.as_bytes()).unwrap_or(0);
            }
            match self.next()? {
                Token::Open(tag) => return Ok(Some(tag)),
                Token::Close | Token::End => return Ok(None),
                Token::Text(_) => {}
            }
        }
    }

    /// The text of an element that was just opened, up to and with its end. Elements in it are passed over.
    pub fn value(&mut self, tag: &Tag<'x>) -> Result<Cow<'x, str>, ScanError> {
        if tag.empty {
            return Ok(Cow::Borrowed(""));
        }
        if let Some(value) = self.leaf()? {
            return Ok(value);
        }
        let depth = self.open.len();
        let mut value = Cow::Borrowed("");
        loop {
            match self.next()? {
                Token::Text(text) if self.open.len() == depth => self.append(&mut value, text)?,
                Token::Close if self.open.len() < depth => return Ok(value),
                _ => {}
            }
        }
    }

    /// The same, if the element holds nothing but one text; else nothing is read.
    pub fn leaf(&mut self) -> Result<Option<Cow<'x, str>>, ScanError> {
        let rest = self.rest();
        let Some(end) = memchr(b'<', rest.as_bytes()) else { return Ok(None) };
        if rest.as_bytes().get(end + 1) != Some(&b'/') {
            return Ok(None);
        }
        let value = self.unescaped(rest.get(..end).unwrap_or_default())?;
        self.at += end;
        self.close(self.rest())?;
        Ok(Some(value))
    }

    pub fn append(&self, value: &mut Cow<'x, str>, text: Cow<'x, str>) -> Result<(), ScanError> {
        if value.len() + text.len() > self.value_bytes {
            return self.refuse(format!("a text of over {} bytes (limits.xml_value_bytes)", self.value_bytes));
        }
        if value.is_empty() {
            *value = text;
        } else {
            value.to_mut().push_str(&text);
        }
        Ok(())
    }

    /// Passes over an element that was just opened.
    pub fn skip(&mut self, tag: &Tag<'x>) -> Result<(), ScanError> {
        if tag.empty {
            return Ok(());
        }
        let depth = self.open.len();
        while self.open.len() >= depth {
            self.next()?;
        }
        Ok(())
    }

    fn unescaped(&self, raw: &'x str) -> Result<Cow<'x, str>, ScanError> {
        if raw.len() > self.value_bytes {
            return self.refuse(format!("a text of {} bytes, over {} (limits.xml_value_bytes)", raw.len(), self.value_bytes));
        }
        unescape(raw).or_else(|why| self.refuse(why))
    }

    fn close(&mut self, rest: &'x str) -> Result<(), ScanError> {
        let expected = self.open_name();
        let after = rest.strip_prefix("</").and_then(|r| r.strip_prefix(expected)).map(|r| r.trim_ascii_start());
        match after.and_then(|r| r.strip_prefix('>')) {
            Some(after) if !self.open.is_empty() => {
                self.open.pop();
                self.at = self.text.len() - after.len();
                Ok(())
            }
            _ if self.open.is_empty() => self.refuse("an end tag that ends nothing"),
            _ => self.refuse(format!("</{expected}> is expected here")),
        }
    }

    fn tag(&mut self, rest: &'x str) -> Result<Tag<'x>, ScanError> {
        self.tag_at = self.at;
        let bytes = rest.as_bytes();
        let (mut end, mut colon) = (1, 0);
        while let Some(byte) = bytes.get(end) {
            match NAME[usize::from(*byte)] {
                InName::Part => {}
                InName::Colon => colon = end,
                InName::End => break,
                InName::Not => return self.refuse("a tag without a name, or without an end"),
            }
            end += 1;
        }
        if end == 1 || end == bytes.len() || bytes.get(1).is_some_and(u8::is_ascii_digit) {
            return self.refuse("a tag without a name, or without an end");
        }
        let (from, mut count) = (end, 0);
        self.last.clear();
        while let Some((name, value, next)) = attribute(rest, end) {
            end = next;
            count += 1;
            // With more the tag is refused.
            if count <= self.attributes {
                self.last.push((name, value));
            }
        }
        let attributes = rest.get(from..end).unwrap_or_default();
        // Refused where it would be read, so that `Tag::attributes` need not fail.
        if count > 0
            && memchr(b'&', attributes.as_bytes()).is_some()
            && let Err(why) = unescape(attributes)
        {
            return self.refuse(why);
        }
        let name = rest.get(1..from).unwrap_or_default();
        let local = if colon == 0 { name } else { rest.get(colon + 1..from).unwrap_or_default() };
        if count > self.attributes || end - from > self.value_bytes {
            let why = format!("a tag of {count} attributes and {} bytes (limits.xml_attributes, limits.xml_value_bytes)", end - from);
            return self.refuse(why);
        }
        while bytes.get(end).is_some_and(u8::is_ascii_whitespace) {
            end += 1;
        }
        let empty = bytes.get(end) == Some(&b'/');
        end += usize::from(empty);
        if bytes.get(end) != Some(&b'>') {
            return self.refuse(format!("the tag <{name} has no end or a bad attribute"));
        }
        if !empty {
            if self.open.len() >= self.depth {
                return self.refuse(format!("elements are nested over {} deep (limits.xml_depth)", self.depth));
            }
            self.open.push((name, attributes));
        }
        self.at += end + 1;
        Ok(Tag { name: local, empty, attributes })
    }

    /// A comment, or a CDATA section with its text.
    fn declaration(&mut self, rest: &'x str) -> Result<Option<&'x str>, ScanError> {
        if rest.starts_with("<!--") {
            return self.pass(rest, "-->").map(|()| None);
        }
        let Some(inner) = rest.strip_prefix("<![CDATA[").filter(|_| !self.open.is_empty()) else {
            return self.refuse("a document type declaration: entities are not expanded; remove it");
        };
        let text = inner.get(..memmem::find(inner.as_bytes(), b"]]>").unwrap_or(0)).unwrap_or_default();
        if text.len() > self.value_bytes {
            return self.refuse(format!("a text of {} bytes, over {} (limits.xml_value_bytes)", text.len(), self.value_bytes));
        }
        self.pass(rest, "]]>").map(|()| Some(text))
    }

    fn pass(&mut self, rest: &'x str, ending: &str) -> Result<(), ScanError> {
        let opening = if ending == "-->" { 4 } else { 2 };
        let inner = rest.get(opening..).unwrap_or_default();
        match memmem::find(inner.as_bytes(), ending.as_bytes()) {
            Some(end) => {
                self.at += opening + end + ending.len();
                Ok(())
            }
            None => self.refuse(format!("`{ending}` is missing before the end of the document")),
        }
    }
}

/// What a byte is while a tag's name is read.
#[derive(Clone, Copy)]
enum InName {
    Part,
    Colon,
    End,
    Not,
}

const NAME: [InName; 256] = {
    let mut table = [InName::Part; 256];
    let (end, not) = (b" \t\n\r/>", b"<\"'=&");
    let mut at = 0;
    while at < end.len() {
        table[end[at] as usize] = InName::End;
        at += 1;
    }
    at = 0;
    while at < not.len() {
        table[not[at] as usize] = InName::Not;
        at += 1;
    }
    table[b':' as usize] = InName::Colon;
    table
};

/// A name without its prefix.
fn local(name: &str) -> &str {
    name.bytes().rposition(|b| b == b':').and_then(|colon| name.get(colon + 1..)).unwrap_or(name)
}

/// The attribute that begins at a place of the text: its name and value, and where it ends.
fn attribute(text: &str, from: usize) -> Option<(&str, &str, usize)> {
    let bytes = text.as_bytes();
    let past = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let begin = past(from);
    if begin == from {
        return None;
    }
    let mut end = begin;
    while !matches!(bytes.get(end)?, b'=' | b'>' | b'<' | b'"' | b'\'' | b'/' | b' ' | b'\t' | b'\n' | b'\r') {
        end += 1;
    }
    let equals = past(end);
    if end == begin || *bytes.get(equals)? != b'=' {
        return None;
    }
    let quote = past(equals + 1);
    let mark = *bytes.get(quote).filter(|q| matches!(q, b'"' | b'\''))?;
    let length = memchr(mark, bytes.get(quote + 1..)?)?;
    Some((text.get(begin..end)?, text.get(quote + 1..quote + 1 + length)?, quote + length + 2))
}

/// Resolves XML's own references, and makes line ends uniform.
pub fn unescape(raw: &str) -> Result<Cow<'_, str>, String> {
    let Some(first) = memchr2(b'&', b'\r', raw.as_bytes()) else { return Ok(Cow::Borrowed(raw)) };
    let mut text = String::with_capacity(raw.len());
    let (mut rest, mut next) = (raw, first);
    loop {
        let (before, special) = rest.split_at_checked(next).unwrap_or((rest, ""));
        text.push_str(before);
        if let Some(after) = special.strip_prefix('\r') {
            text.push('\n');
            rest = after.strip_prefix('\n').unwrap_or(after);
        } else if let Some(after) = special.strip_prefix('&') {
            let (name, after) = after.split_once(';').filter(|(name, _)| name.len() <= 10).ok_or("a `&` that begins no reference")?;
            text.push(reference(name).ok_or_else(|| format!("`&{name};` is not a reference that XML itself knows"))?);
            rest = after;
        } else {
            return Ok(Cow::Owned(text));
        }
        next = memchr2(b'&', b'\r', rest.as_bytes()).unwrap_or(rest.len());
    }
}

fn reference(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|c| *c != '\0')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<String, ScanError> {
        let mut scanner = Scanner::new(text, &Limits::default());
        let mut out = String::new();
        loop {
            match scanner.next()? {
                Token::Open(tag) => {
                    let attributes: Vec<String> = tag.attributes().map(|(n, v)| format!(" {n}={v}")).collect();
                    out += &format!("<{}{}{}>", tag.name, attributes.concat(), if tag.empty { "/" } else { "" });
                }
                Token::Close => out += "</>",
                Token::Text(text) => out += &text,
                Token::End => return Ok(out),
            }
        }
    }

    #[test]
    fn documents_are_read_as_they_are() {
        let text = "<?xml version='1.0'?>\n<!-- < --><x:a b = 'c>\"' d:e=\"f'\">1&lt;&#x41;&#66;\r\n<!--no--><![CDATA[<&]]><b/><b c=''\n/></x:a >\n";
        assert_eq!(tokens(text).unwrap(), "<a b=c>\" e=f'>1<AB\n<&<b/><b c=/></>");
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for (text, why) in [
            ("<a>\n<b>", "line 2: the document ends inside <b>"),
            ("<a>\n</b>", "line 2: </a> is expected here"),
            ("<a></ab>", "line 1: </a> is expected here"),
            ("</a>", "line 1: an end tag that ends nothing"),
            ("<a b=c/>", "line 1: the tag <a has no end or a bad attribute"),
            ("<a b='c'", "line 1: the tag <a has no end or a bad attribute"),
            ("<a b='&x;'/>", "line 1: `&x;` is not a reference that XML itself knows"),
            ("<a>& b</a>", "line 1: a `&` that begins no reference"),
            ("<!DOCTYPE a><a/>", "line 1: a document type declaration: entities are not expanded; remove it"),
            ("<a><!-- ", "line 1: `-->` is missing before the end of the document"),
            ("<a><![CDATA[x", "line 1: `]]>` is missing before the end of the document"),
            ("<a/>b", "line 1: text outside of the root element"),
            ("<>", "line 1: a tag without a name, or without an end"),
            ("<a", "line 1: a tag without a name, or without an end"),
        ] {
            assert_eq!(tokens(text).unwrap_err().to_string(), why, "{text}");
        }
        assert_eq!(tokens(&"<a>".repeat(300)).unwrap_err().why, "elements are nested over 200 deep (limits.xml_depth)");
    }
}
