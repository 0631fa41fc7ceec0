//! Platforms: CPE names, dictionaries and the applicability language become the logic that decides them.
//!
//! A platform holds where an item of a dictionary that its name matches has a check that is true, or where the language's test is true.
//! What nothing explains does not hold: content for something that we do not recognise must not be judged.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::model::{PlatformCheck, PlatformId, PlatformLogic};
use super::read::{Budget, Spent};

/// A CPE name in its parts; the empty ones ask for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpe(Vec<Option<String>>);

const EDITION: usize = 5;
const PARTS: usize = 11;

impl Cpe {
    /// `cpe:/o:debian:debian_linux:12` or `cpe:2.3:o:debian:debian_linux:12:*:*:*:*:*:*:*`
    pub fn read(name: &str) -> Option<Cpe> {
        let lower = name.to_ascii_lowercase();
        let mut parts: Vec<String> = if lower.starts_with("cpe:2.3:") {
            split_escaped(name.get(8..)?)
        } else if lower.starts_with("cpe:/") {
            uri(name.get(5..)?)?
        } else {
            return None;
        };
        parts.truncate(PARTS);
        let parts: Vec<Option<String>> = parts.into_iter().map(|p| (!p.is_empty()).then(|| p.to_ascii_lowercase())).collect();
        let used = parts.iter().rposition(Option::is_some).map_or(0, |n| n + 1);
        parts.get(..used).map(|p| Cpe(p.to_vec()))
    }

    /// Whether `item` of a dictionary is what this name asks for, part by part. As OpenSCAP has it: `*` is a character, not a wildcard.
    pub fn matches(&self, item: &Cpe) -> bool {
        self.0.len() <= item.0.len() && self.0.iter().zip(&item.0).all(|(asked, has)| asked.is_none() || asked == has)
    }
}

fn split_escaped(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ':' => out.push(String::new()),
            '\\' => {
                let next = chars.next();
                if next != Some(':') {
                    push(&mut out, '\\');
                }
                if let Some(next) = next {
                    push(&mut out, next);
                }
            }
            c => push(&mut out, c),
        }
    }
    out
}

fn push(parts: &mut [String], c: char) {
    if let Some(last) = parts.last_mut() {
        last.push(c);
    }
}

/// The older form: percent signs, and further parts packed into the edition as `~edition~software~target~hardware~other`.
fn uri(text: &str) -> Option<Vec<String>> {
    let mut parts: Vec<String> = text.split(':').map(decode).collect::<Option<_>>()?;
    let packed = parts.get_mut(EDITION).filter(|e| e.len() >= 2 && e.starts_with('~')).map(std::mem::take);
    if let Some(packed) = packed {
        let mut packed = packed.split('~').skip(1).map(str::to_owned);
        if let Some(edition) = parts.get_mut(EDITION) {
            *edition = packed.next().unwrap_or_default();
        }
        parts.resize(EDITION + 2, String::new());
        parts.extend(packed);
    }
    Some(parts)
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let digit = |d: Option<u8>| d.and_then(|d| char::from(d).to_digit(16));
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push(u8::try_from(high * 16 + low).ok().filter(|b| *b != 0)?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

/// A `cpe-list`.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    items: Vec<DictionaryItem>,
}

#[derive(Clone, Debug)]
struct DictionaryItem {
    name: Cpe,
    title: String,
    /// (href, definition)
    checks: Vec<(String, String)>,
}

/// Reads a `cpe-list` element.
pub fn dictionary(node: Node) -> Dictionary {
    let elements = |n: Node<'_, '_>, name: &str| n.is_element() && n.tag_name().name() == name;
    let mut out = Dictionary::default();
    for item in node.children().filter(|n| elements(*n, "cpe-item")) {
        let Some(name) = item.attribute("name").and_then(Cpe::read) else { continue };
        let title = item.children().find(|n| elements(*n, "title")).and_then(|n| n.text()).unwrap_or_default().trim().to_owned();
        let checks = item
            .children()
            .filter(|n| elements(*n, "check"))
            .map(|n| (n.attribute("href").unwrap_or_default().to_owned(), n.text().unwrap_or_default().trim().to_owned()))
            .collect();
        out.items.push(DictionaryItem { name, title, checks });
    }
    out
}

/// A `cpe-lang:platform`.
#[derive(Clone, Debug)]
pub struct Named {
    pub id: String,
    title: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Logical {
        or: bool,
        negate: bool,
        of: Vec<Test>,
    },
    /// `fact-ref`
    Name(String),
    /// `check-fact-ref`
    Check {
        href: String,
        definition: String,
    },
}

/// Reads a `cpe-lang:platform-specification` element.
pub fn language(node: Node) -> Vec<Named> {
    let child = |n: Node<'_, '_>, name: &str| n.children().find(|c| c.is_element() && c.tag_name().name() == name).map(|c| c.id());
    node.children()
        .filter(|n| n.is_element() && n.tag_name().name() == "platform")
        .map(|n| {
            let get = |name: &str| child(n, name).and_then(|id| n.document().get_node(id));
            Named {
                id: n.attribute("id").unwrap_or_default().to_owned(),
                title: get("title").and_then(|t| t.text()).unwrap_or_default().trim().to_owned(),
                // Without a test nothing can hold.
                test: get("logical-test").map_or(Test::Logical { or: true, negate: false, of: Vec::new() }, logical),
            }
        })
        .collect()
}

/// Depth is bounded: the document passed [`crate::xml::check`].
fn logical(node: Node) -> Test {
    let of = node
        .children()
        .filter(Node::is_element)
        .filter_map(|n| match n.tag_name().name() {
            "logical-test" => Some(logical(n)),
            "fact-ref" => Some(Test::Name(n.attribute("name").unwrap_or_default().to_owned())),
            "check-fact-ref" => Some(Test::Check {
                href: n.attribute("href").unwrap_or_default().to_owned(),
                definition: n.attribute("id-ref").unwrap_or_default().to_owned(),
            }),
            _ => None,
        })
        .collect();
    let is = |name: &str, value: &str| node.attribute(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    Test::Logical { or: is("operator", "OR"), negate: is("negate", "true") || is("negate", "1"), of }
}

/// Where a definition is found: `(position of the asking component, href, definition)` to instance and definition.
pub type Find<'f> = dyn FnMut(usize, &str, &str) -> Option<PlatformLogic> + 'f;

/// All that names platforms in one data stream, each with the position of the component whose hrefs it uses.
pub struct Platforms<'s> {
    pub languages: Vec<(usize, &'s [Named])>,
    pub dictionaries: Vec<(usize, &'s Dictionary)>,
    /// What was asked already.
    known: BTreeMap<String, PlatformId>,
    pub checks: Vec<PlatformCheck>,
}

impl<'s> Platforms<'s> {
    pub fn new(languages: Vec<(usize, &'s [Named])>, dictionaries: Vec<(usize, &'s Dictionary)>) -> Platforms<'s> {
        Platforms { languages, dictionaries, known: BTreeMap::new(), checks: Vec::new() }
    }

    /// The number of a platform as `platform/@idref` has it.
    pub fn id(&mut self, idref: &str, find: &mut Find, budget: &mut Budget) -> Result<PlatformId, Spent> {
        if let Some(known) = self.known.get(idref) {
            return Ok(*known);
        }
        let mut of = Vec::new();
        let mut title = String::new();
        let mut explained = false;
        let local = idref.strip_prefix('#').unwrap_or(idref);
        for (from, language) in &self.languages {
            budget.step(language.len())?;
            for named in language.iter().filter(|n| n.id == local) {
                explained = true;
                title.clone_from(&named.title);
                of.push(self.test(*from, &named.test, find, budget)?);
            }
        }
        if let Some((name, found)) = self.name(idref, find, budget)? {
            explained = true;
            if title.is_empty() {
                title = name;
            }
            of.push(found);
        }
        let logic = match of.pop() {
            Some(only) if of.is_empty() => only,
            Some(last) => {
                of.push(last);
                PlatformLogic::Or { negate: false, of }
            }
            None => PlatformLogic::Unresolved(idref.to_owned()),
        };
        debug_assert!(explained || matches!(logic, PlatformLogic::Unresolved(_)));
        let id = PlatformId(u32::try_from(self.checks.len()).unwrap_or(u32::MAX));
        self.checks.push(PlatformCheck { idref: idref.to_owned(), title, logic });
        self.known.insert(idref.to_owned(), id);
        Ok(id)
    }

    fn test(&self, from: usize, test: &Test, find: &mut Find, budget: &mut Budget) -> Result<PlatformLogic, Spent> {
        budget.step(1)?;
        Ok(match test {
            Test::Logical { or, negate, of } => {
                let of = of.iter().map(|t| self.test(from, t, find, budget)).collect::<Result<_, _>>()?;
                if *or { PlatformLogic::Or { negate: *negate, of } } else { PlatformLogic::And { negate: *negate, of } }
            }
            Test::Name(name) => match self.name(name, find, budget)? {
                Some((_, logic)) => logic,
                None => PlatformLogic::Unresolved(name.clone()),
            },
            Test::Check { href, definition } => {
                find(from, href, definition).unwrap_or_else(|| PlatformLogic::Unresolved(format!("{href} {definition}")))
            }
        })
    }

    /// What the dictionaries say of a CPE name: its title, and any check of any item that it matches.
    fn name(&self, name: &str, find: &mut Find, budget: &mut Budget) -> Result<Option<(String, PlatformLogic)>, Spent> {
        let Some(asked) = Cpe::read(name) else { return Ok(None) };
        let mut of = Vec::new();
        let mut title = None;
        for (from, dictionary) in &self.dictionaries {
            budget.step(dictionary.items.len())?;
            for item in dictionary.items.iter().filter(|i| asked.matches(&i.name)) {
                title.get_or_insert_with(|| item.title.clone());
                for (href, definition) in &item.checks {
                    budget.step(1)?;
                    let missing = || PlatformLogic::Unresolved(format!("{href} {definition}"));
                    of.push(find(*from, href, definition).unwrap_or_else(missing));
                }
            }
        }
        Ok(title.map(|t| (t, if of.len() == 1 { of.remove(0) } else { PlatformLogic::Or { negate: false, of } })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_part_by_part() {
        let matches = |asked: &str, item: &str| Cpe::read(asked).unwrap().matches(&Cpe::read(item).unwrap());
        assert!(matches("cpe:/o:debian:debian_linux", "cpe:/o:debian:debian_linux:12"));
        assert!(matches("cpe:/o:debian:debian_linux:12", "cpe:/o:Debian:debian_linux:12"));
        assert!(!matches("cpe:/o:debian:debian_linux:12", "cpe:/o:debian:debian_linux"));
        assert!(!matches("cpe:/o:debian:debian_linux:11", "cpe:/o:debian:debian_linux:12"));
        assert!(matches("cpe:/o:debian::12", "cpe:/o:debian:debian_linux:12"));
        assert!(matches("cpe:2.3:o:debian:debian_linux", "cpe:/o:debian:debian_linux:12"));
        assert!(!matches("cpe:2.3:o:debian:debian_linux:*", "cpe:/o:debian:debian_linux:12"));
        assert!(matches("cpe:/o:a:b:22.04::~~lts~~~", "cpe:/o:a:b:22.04::~~lts~~~"));
        assert!(!matches("cpe:/o:a:b:22.04::~~lts~~~", "cpe:/o:a:b:22.04::~~esm~~~"));
        assert_eq!(Cpe::read("#machine"), None);
        assert_eq!(Cpe::read("cpe:/o:a%0"), None);
    }
}
