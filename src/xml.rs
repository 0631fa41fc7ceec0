//! XML of strangers: guarded, then a tree.
//!
//! `bytes (plain, gzip, bzip2, zstd) -> text -> checked -> roxmltree`. The check is one pass that needs no memory: no DTD and so no entities
//! of the document's own, bounded depth, bounded names, attributes and texts. Whoever walks a checked tree may recurse.

use quick_xml::Reader;
use quick_xml::events::Event;

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
    let mut depth = 0usize;
    loop {
        let refuse = |reader: &Reader<&[u8]>, why: String| {
            let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX).min(text.len());
            let line = text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
            Err(XmlError::Refused { line, why })
        };
        let size = match reader.read_event() {
            Ok(Event::Eof) if depth == 0 => return Ok(()),
            Ok(Event::Eof) => return refuse(&reader, "the document ends inside an element".into()),
            Ok(Event::Start(e)) => {
                depth += 1;
                if depth > limits.xml_depth {
                    return refuse(&reader, format!("elements are nested over {} deep (limits.xml_depth)", limits.xml_depth));
                }
                e.len()
            }
            Ok(Event::End(_)) => {
                depth = depth.saturating_sub(1);
                0
            }
            Ok(Event::DocType(_)) => {
                return refuse(&reader, "a document type declaration: entities are not expanded; remove it".into());
            }
            Ok(Event::Empty(e)) => e.len(),
            Ok(Event::Text(e)) => e.len(),
            Ok(Event::CData(e)) => e.len(),
            Ok(_) => 0,
            Err(e) => return refuse(&reader, e.to_string()),
        };
        if size > limits.xml_value_bytes {
            return refuse(&reader, format!("a tag or text of {size} bytes, over {} (limits.xml_value_bytes)", limits.xml_value_bytes));
        }
    }
}
