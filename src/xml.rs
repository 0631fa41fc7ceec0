//! XML of strangers: guarded, then a tree.
//!
//! `bytes (plain, gzip, bzip2, zstd) -> text -> checked -> roxmltree`. The check is one pass that needs no memory: no DTD and so no entities
//! of the document's own, bounded depth, bounded names, attributes and texts. Whoever walks a checked tree may recurse.

pub mod scan;
pub mod write;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::limits::Limits;
use crate::scan::inflate::{Encoding, InflateError, inflate};

#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    #[error(transparent)]
    Inflate(#[from] InflateError),
    #[error("not UTF-8 text: byte {0}; convert the file first")]
    Encoding(usize),
    #[error("line {line}: {why}")]
    Refused { line: usize, why: String },
}

/// Decompresses a content file. Content may be larger than an upload: `limits.content_bytes`.
pub fn text(bytes: &[u8], limits: &Limits) -> Result<String, XmlError> {
    let wide = Limits { inflated_bytes: limits.content_bytes, ..limits.clone() };
    let mut out = Vec::new();
    inflate(Encoding::sniff(bytes), bytes, &wide, &mut out)?;
    if out.starts_with(b"\xef\xbb\xbf") {
        out.drain(..3);
    }
    String::from_utf8(out).map_err(|e| XmlError::Encoding(e.utf8_error().valid_up_to()))
}

/// A tree of a document that passed [`check`].
pub fn tree<'t>(text: &'t str, limits: &Limits) -> Result<roxmltree::Document<'t>, XmlError> {
    check(text, limits)?;
    let options = roxmltree::ParsingOptions { allow_dtd: false, ..Default::default() };
    roxmltree::Document::parse_with_options(text, options)
        .map_err(|e| XmlError::Refused { line: usize::try_from(e.pos().row).unwrap_or(0), why: e.to_string() })
}

/// Refuses what no honest document has, before memory is spent on it.
pub fn check(text: &str, limits: &Limits) -> Result<(), XmlError> {
    let mut reader = Reader::from_str(text);
    let mut open = Open { text, limits, scopes: Vec::new(), copied: 0 };
    loop {
        let refused = match reader.read_event() {
            Ok(Event::Eof) if open.scopes.is_empty() => return Ok(()),
            Ok(Event::Eof) => Err("the document ends inside an element".into()),
            Ok(Event::Start(tag)) => open.tag(&tag, true),
            Ok(Event::Empty(tag)) => open.tag(&tag, false),
            Ok(Event::End(_)) => {
                open.scopes.pop();
                Ok(())
            }
            Ok(Event::DocType(_)) => Err("a document type declaration: entities are not expanded; remove it".into()),
            Ok(Event::Text(e)) => open.size(e.len()),
            Ok(Event::CData(e)) => open.size(e.len()),
            Ok(_) => Ok(()),
            Err(e) => Err(e.to_string()),
        };
        if let Err(why) = refused {
            let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX).min(text.len());
            let line = text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
            return Err(XmlError::Refused { line, why });
        }
    }
}

/// The elements that are open. A tree costs time in the square of a tag's attributes, and copies the namespaces in scope into each element
/// that declares one.
struct Open<'t> {
    text: &'t str,
    limits: &'t Limits,
    /// Namespaces in scope of each.
    scopes: Vec<usize>,
    copied: usize,
}

impl Open<'_> {
    fn tag(&mut self, tag: &BytesStart<'_>, opens: bool) -> Result<(), String> {
        self.size(tag.len())?;
        let most = self.limits.xml_attributes;
        // ` a=""` is the shortest.
        if tag.len() > 5 * most && tag.attributes().with_checks(false).count() > most {
            return Err(format!("a tag of over {most} attributes (limits.xml_attributes)"));
        }
        let declared = tag.attributes_raw().matches("xmlns").count();
        let scope = self.scopes.last().copied().unwrap_or(0) + declared;
        if declared > 0 {
            self.copied += scope;
        }
        // Generators declare a dozen at the root, or one at each element.
        if scope > most || self.copied > self.text.len() {
            return Err(format!(
                "over {most} namespaces in one place (limits.xml_attributes), or most of the document declares namespaces"
            ));
        }
        if opens {
            self.scopes.push(scope);
            if self.scopes.len() > self.limits.xml_depth {
                return Err(format!("elements are nested over {} deep (limits.xml_depth)", self.limits.xml_depth));
            }
        }
        Ok(())
    }

    fn size(&self, size: usize) -> Result<(), String> {
        let most = self.limits.xml_value_bytes;
        if size > most { Err(format!("a tag or text of {size} bytes, over {most} (limits.xml_value_bytes)")) } else { Ok(()) }
    }
}
