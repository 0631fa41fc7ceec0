//! An element taken out of a larger document, to stand in another one.

use std::borrow::Cow;

use super::scan::{ScanError, Scanner, Token};
use crate::limits::Limits;

/// An element as it is written in a larger document, with the namespaces that are declared around it.
#[derive(Clone, Debug, Default)]
pub struct Element<'x> {
    pub text: &'x str,
    pub namespaces: Vec<(&'x str, &'x str)>,
}

impl<'x> Element<'x> {
    /// The first element of that local name. It is read to its end, so it is well-formed.
    pub fn find(text: &'x str, name: &str, limits: &Limits) -> Result<Option<Element<'x>>, ScanError> {
        let mut scanner = Scanner::new(text, limits);
        loop {
            match scanner.next()? {
                Token::Open(tag) if tag.name == name => {
                    let (from, namespaces) = (scanner.tag_position(), scanner.namespaces_around(&tag));
                    scanner.skip(&tag)?;
                    return Ok(Some(Element { text: scanner.written(from, scanner.position()), namespaces }));
                }
                Token::End => return Ok(None),
                _ => {}
            }
        }
    }

    /// The element with all its namespaces declared on itself, so that it can stand anywhere.
    pub fn standing(&self) -> Cow<'x, str> {
        let name = self.text.find(|c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/')).unwrap_or(0);
        match self.text.split_at_checked(name) {
            Some((tag, rest)) if !self.namespaces.is_empty() => {
                let declared = self.namespaces.iter().map(|(name, value)| {
                    let quote = if value.contains('"') { '\'' } else { '"' };
                    format!(" {name}={quote}{value}{quote}")
                });
                Cow::Owned(format!("{tag}{}{rest}", declared.collect::<String>()))
            }
            _ => Cow::Borrowed(self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_can_stand_alone() {
        let text = "<a xmlns='1' xmlns:p=\"2\" xmlns:q='3'><b xmlns:q='4\"'><p:c xmlns='5' d='6'><q:e/></p:c></b></a>";
        let found = Element::find(text, "c", &Limits::default()).unwrap().unwrap();
        assert_eq!(found.standing(), "<p:c xmlns:q='4\"' xmlns:p=\"2\" xmlns='5' d='6'><q:e/></p:c>");
        assert_eq!(
            Element::find(text, "e", &Limits::default()).unwrap().unwrap().standing(),
            "<q:e xmlns=\"5\" xmlns:q='4\"' xmlns:p=\"2\"/>"
        );
        assert!(Element::find(text, "x", &Limits::default()).unwrap().is_none());
        assert!(Element::find("<a><c>", "c", &Limits::default()).is_err());
    }
}
