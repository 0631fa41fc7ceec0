//! A part of XPath 1.0: location paths with predicates, as SCAP content uses them. Namespaces are passed over.
//!
//! `text -> parse -> Path -> select(tree) -> nodes`. What is outside of the part is refused with the place where it begins.
//!
//! ```text
//! path      = ["/" | "//"] step {("/" | "//") step}
//! step      = ("." | ".." | ["@"] (name | "*") | "text()") {"[" or "]"}
//! or        = and {"or" and}        and = compare {"and" compare}
//! compare   = operand [("=" | "!=") operand]
//! operand   = 'literal' | number | path | "not(" or ")" | "last()" | "position()" | "contains(" operand "," operand ")"
//! ```

use roxmltree::Node;

/// Predicates within predicates.
const DEPTH: usize = 16;
/// Nodes looked at for one path.
const STEPS: usize = 2_000_000;

#[derive(Debug, PartialEq)]
pub(super) struct Path {
    absolute: bool,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq)]
struct Step {
    /// After `//`: this node and all below it, then the step.
    deep: bool,
    test: Test,
    predicates: Vec<Expr>,
}

#[derive(Debug, PartialEq)]
enum Test {
    This,
    Parent,
    Element(Option<String>),
    Attribute(Option<String>),
    Text,
}

#[derive(Debug, PartialEq)]
enum Expr {
    Literal(String),
    Number(f64),
    Path(Path),
    Last,
    Position,
    Not(Box<Expr>),
    Contains(Box<(Expr, Expr)>),
    Equal { different: bool, of: Box<(Expr, Expr)> },
    And(Vec<Expr>),
    Or(Vec<Expr>),
}

/// A node of a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found<'t> {
    Element(Node<'t, 't>),
    Attribute(&'t str),
    Text(&'t str),
}

pub(super) fn parse(text: &str) -> Result<Path, String> {
    let mut parser = Parser { rest: text.trim(), depth: 0 };
    let path = parser.path()?;
    if parser.rest.is_empty() { Ok(path) } else { Err(parser.refuse("end")) }
}

struct Parser<'t> {
    rest: &'t str,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn refuse(&self, wanted: &str) -> String {
        let shown: String = self.rest.chars().take(24).collect();
        format!("this part of XPath is not evaluated: at `{shown}`, {wanted} was expected")
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, text: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, text: &str) -> Result<(), String> {
        if self.eat(text) { Ok(()) } else { Err(self.refuse(text)) }
    }

    /// A word that is not the beginning of a longer one.
    fn word(&mut self, word: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(word) {
            Some(rest) if !rest.starts_with(is_name) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn name(&mut self) -> Option<String> {
        self.space();
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end)?;
        let begins = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        // A function, an axis or a prefix is none.
        if !begins || rest.trim_start().starts_with(['(', ':']) {
            return None;
        }
        self.rest = rest;
        Some(name.to_owned())
    }

    fn path(&mut self) -> Result<Path, String> {
        let mut steps = Vec::new();
        self.space();
        let absolute = self.rest.starts_with('/');
        let mut deep = absolute && self.eat("//");
        if absolute && !deep {
            self.need("/")?;
        }
        loop {
            steps.push(self.step(deep)?);
            deep = self.eat("//");
            if !deep && !self.eat("/") {
                return Ok(Path { absolute, steps });
            }
        }
    }

    fn step(&mut self, deep: bool) -> Result<Step, String> {
        let test = if self.eat("..") {
            Test::Parent
        } else if self.eat(".") {
            Test::This
        } else if self.eat("@") {
            Test::Attribute(self.star_or_name()?)
        } else if self.eat("text()") {
            Test::Text
        } else {
            Test::Element(self.star_or_name()?)
        };
        let mut predicates = Vec::new();
        while self.eat("[") {
            self.depth += 1;
            if self.depth > DEPTH {
                return Err(format!("predicates are nested over {DEPTH} deep"));
            }
            predicates.push(self.or()?);
            self.need("]")?;
            self.depth -= 1;
        }
        Ok(Step { deep, test, predicates })
    }

    fn star_or_name(&mut self) -> Result<Option<String>, String> {
        if self.eat("*") {
            return Ok(None);
        }
        self.name().map(Some).ok_or_else(|| self.refuse("a name"))
    }

    fn or(&mut self) -> Result<Expr, String> {
        let mut of = vec![self.and()?];
        while self.word("or") {
            of.push(self.and()?);
        }
        Ok(if of.len() == 1 { of.remove(0) } else { Expr::Or(of) })
    }

    fn and(&mut self) -> Result<Expr, String> {
        let mut of = vec![self.compare()?];
        while self.word("and") {
            of.push(self.compare()?);
        }
        Ok(if of.len() == 1 { of.remove(0) } else { Expr::And(of) })
    }

    fn compare(&mut self) -> Result<Expr, String> {
        let left = self.operand()?;
        let different = self.eat("!=");
        if !different && !self.eat("=") {
            return Ok(left);
        }
        let right = self.operand()?;
        Ok(Expr::Equal { different, of: Box::new((left, right)) })
    }

    fn operand(&mut self) -> Result<Expr, String> {
        self.space();
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let inner = self.rest.strip_prefix(quote).and_then(|r| r.split_once(quote));
            let (text, rest) = inner.ok_or_else(|| self.refuse("a closed literal"))?;
            self.rest = rest;
            return Ok(Expr::Literal(text.to_owned()));
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
            let number = digits.parse().map_err(|_| self.refuse("a number"))?;
            self.rest = rest;
            return Ok(Expr::Number(number));
        }
        if self.eat("last()") {
            return Ok(Expr::Last);
        }
        if self.eat("position()") {
            return Ok(Expr::Position);
        }
        let call = if self.eat("not(") {
            1
        } else if self.eat("contains(") {
            2
        } else {
            return Ok(Expr::Path(self.path()?));
        };
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(format!("functions are nested over {DEPTH} deep"));
        }
        let first = self.or()?;
        let expr = if call == 1 {
            Expr::Not(Box::new(first))
        } else {
            self.need(",")?;
            Expr::Contains(Box::new((first, self.or()?)))
        };
        self.need(")")?;
        self.depth -= 1;
        Ok(expr)
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// The nodes that a path selects from the root of a tree, in document order.
pub(super) fn select<'t>(path: &Path, root: Node<'t, 't>) -> Result<Vec<Found<'t>>, String> {
    let mut budget = STEPS;
    walk(path, Found::Element(root), root, &mut budget)
}

fn walk<'t>(path: &Path, from: Found<'t>, root: Node<'t, 't>, budget: &mut usize) -> Result<Vec<Found<'t>>, String> {
    let mut at = vec![if path.absolute { Found::Element(root) } else { from }];
    for step in &path.steps {
        let mut next: Vec<Found<'t>> = Vec::new();
        for node in &at {
            let origins: Vec<Found<'t>> = match node {
                Found::Element(n) if step.deep => n.descendants().filter(|d| d.is_element() || d.is_root()).map(Found::Element).collect(),
                other => vec![*other],
            };
            for origin in origins {
                let mut found = tested(&step.test, origin);
                *budget = budget.checked_sub(found.len() + 1).ok_or("the path looks at too many nodes")?;
                for predicate in &step.predicates {
                    found = kept(predicate, &found, root, budget)?;
                }
                // From several origins one element may be reached twice.
                next.extend(found);
            }
        }
        at = distinct(next);
    }
    Ok(at)
}

fn distinct(found: Vec<Found<'_>>) -> Vec<Found<'_>> {
    let mut seen = std::collections::BTreeSet::new();
    found.into_iter().filter(|f| if let Found::Element(n) = f { seen.insert(n.id().get()) } else { true }).collect()
}

fn tested<'t>(test: &Test, from: Found<'t>) -> Vec<Found<'t>> {
    let Found::Element(node) = from else { return if *test == Test::This { vec![from] } else { Vec::new() } };
    let named = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|w| w == name);
    match test {
        Test::This => vec![from],
        Test::Parent => node.parent().into_iter().map(Found::Element).collect(),
        Test::Element(name) => node.children().filter(|c| c.is_element() && named(name, c.tag_name().name())).map(Found::Element).collect(),
        Test::Attribute(name) => {
            node.attributes().filter(|a| named(name, a.name())).map(|a| Found::Attribute(value_of(node, &a))).collect()
        }
        Test::Text => node.children().filter_map(|c| if c.is_text() { c.text() } else { None }).map(Found::Text).collect(),
    }
}

/// The value of an attribute, for as long as the tree lives.
fn value_of<'t>(node: Node<'t, 't>, attribute: &roxmltree::Attribute<'t, 't>) -> &'t str {
    node.attributes().find(|a| a.range() == attribute.range()).map_or("", |a| a.value())
}

fn kept<'t>(predicate: &Expr, found: &[Found<'t>], root: Node<'t, 't>, budget: &mut usize) -> Result<Vec<Found<'t>>, String> {
    let mut kept = Vec::new();
    for (at, node) in found.iter().enumerate() {
        let place = Place { position: at + 1, last: found.len() };
        let yes = match value(predicate, *node, place, root, budget)? {
            Value::Number(n) => n == count(place.position),
            other => other.truth(),
        };
        if yes {
            kept.push(*node);
        }
    }
    Ok(kept)
}

#[derive(Clone, Copy)]
struct Place {
    position: usize,
    last: usize,
}

enum Value {
    Bool(bool),
    Number(f64),
    Text(String),
    Nodes(Vec<String>),
}

impl Value {
    fn truth(&self) -> bool {
        match self {
            Value::Bool(b) => *b,
            Value::Number(n) => *n != 0.0,
            Value::Text(t) => !t.is_empty(),
            Value::Nodes(n) => !n.is_empty(),
        }
    }

    fn texts(&self) -> Vec<String> {
        match self {
            Value::Bool(b) => vec![b.to_string()],
            Value::Number(n) => vec![n.to_string()],
            Value::Text(t) => vec![t.clone()],
            Value::Nodes(n) => n.clone(),
        }
    }
}

fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}

fn value<'t>(expr: &Expr, node: Found<'t>, place: Place, root: Node<'t, 't>, budget: &mut usize) -> Result<Value, String> {
    let mut of = |e: &Expr| value(e, node, place, root, budget);
    Ok(match expr {
        Expr::Literal(text) => Value::Text(text.clone()),
        Expr::Number(n) => Value::Number(*n),
        Expr::Last => Value::Number(count(place.last)),
        Expr::Position => Value::Number(count(place.position)),
        Expr::Path(path) => Value::Nodes(walk(path, node, root, budget)?.into_iter().map(text_of).collect()),
        Expr::Not(inner) => Value::Bool(!of(inner)?.truth()),
        Expr::Contains(pair) => {
            let (whole, part) = (of(&pair.0)?.texts(), of(&pair.1)?.texts());
            let first = |texts: Vec<String>| texts.into_iter().next().unwrap_or_default();
            Value::Bool(first(whole).contains(&first(part)))
        }
        Expr::Equal { different, of: pair } => {
            let (left, right) = (of(&pair.0)?, of(&pair.1)?);
            Value::Bool(compared(&left, &right, *different))
        }
        Expr::And(all) => {
            for e in all {
                if !of(e)?.truth() {
                    return Ok(Value::Bool(false));
                }
            }
            Value::Bool(true)
        }
        Expr::Or(any) => {
            for e in any {
                if of(e)?.truth() {
                    return Ok(Value::Bool(true));
                }
            }
            Value::Bool(false)
        }
    })
}

/// Of sets of nodes: whether some pair is equal, or different.
fn compared(left: &Value, right: &Value, different: bool) -> bool {
    let numbers = matches!(left, Value::Number(_)) || matches!(right, Value::Number(_));
    let same = |a: &str, b: &str| match (numbers, a.trim().parse::<f64>(), b.trim().parse::<f64>()) {
        (true, Ok(a), Ok(b)) => a == b,
        (true, ..) => false,
        _ => a == b,
    };
    if let (Value::Bool(b), other) | (other, Value::Bool(b)) = (left, right) {
        return (*b == other.truth()) != different;
    }
    left.texts().iter().any(|a| right.texts().iter().any(|b| same(a, b) != different))
}

fn text_of(found: Found<'_>) -> String {
    match found {
        Found::Attribute(text) | Found::Text(text) => text.to_owned(),
        Found::Element(node) => node.descendants().filter(|d| d.is_text()).filter_map(|d| d.text()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "<zone target='DROP'><interface name='lo'/><rule family='ipv4'><source address='127.0.0.1'/>\
        <destination address='127.0.0.1' invert='True'/><drop/></rule><rule family='ipv6'><accept/></rule>text<short>Public</short></zone>";

    fn found(path: &str) -> Vec<String> {
        let tree = roxmltree::Document::parse(ZONE).unwrap();
        select(&parse(path).unwrap(), tree.root()).unwrap().into_iter().map(text_of).collect()
    }

    #[test]
    fn paths_of_real_content() {
        assert_eq!(found("/zone/interface[@name='lo']").len(), 1);
        let rule = "/zone/rule[@family='ipv4'][source[@address='127.0.0.1']][destination[@address='127.0.0.1' and @invert='True']][drop]";
        assert_eq!(found(rule).len(), 1);
        assert_eq!(found(&rule.replace("True", "False")).len(), 0);
    }

    #[test]
    fn steps_and_predicates() {
        for (path, expected) in [
            ("//rule/@family", vec!["ipv4", "ipv6"]),
            ("/zone/rule[2]/@family", vec!["ipv6"]),
            ("/zone/rule[last()]/@family", vec!["ipv6"]),
            ("/zone/short/text()", vec!["Public"]),
            ("/zone/text()", vec!["text"]),
            ("//rule[not(drop)]/@family", vec!["ipv6"]),
            ("//rule[contains(@family, 'v4') or accept]/@family", vec!["ipv4", "ipv6"]),
            ("//drop/../@family", vec!["ipv4"]),
            ("/zone/@*", vec!["DROP"]),
            ("/zone/*[@name != 'eth0']/@name", vec!["lo"]),
            ("/zone/none", vec![]),
        ] {
            assert_eq!(found(path), expected, "{path}");
        }
    }

    #[test]
    fn the_rest_is_refused() {
        for path in ["count(//rule)", "/zone/child::rule", "/ns:zone", "/zone[", "/zone | /rule", "", "/"] {
            assert!(parse(path).is_err(), "{path}");
        }
        assert!(parse(&format!("/a{}", "[a".repeat(20))).unwrap_err().contains("nested"));
    }
}
