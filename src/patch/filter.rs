//! Which patches are meant: `critical, not superseded, released since 1st, applicable` in, a yes or no for each patch out. Lists, commands and the API say it alike.
//!
//! `text --read--> Filter --matches(Subject)--> bool`. docs/PATCHES.md has the language for users. Conditions are put into the order of what they cost, so that a
//! catalog of hundreds of thousands is not decoded to find a handful.

mod read;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use jiff::Timestamp;

use super::State;
use super::define::{Definition, Kind};
use super::rank::{Band, Rank};
use crate::feed::model::{Level, Restart, Target};
use crate::rule::pattern::pattern_matches;

/// Bytes of a filter's text at most.
pub const TEXT_MAX: usize = 4096;
/// Parentheses and `not` within each other at most.
pub const DEPTH_MAX: usize = 32;

/// What is wrong with a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter, column {column}: {what}")]
pub struct FilterError {
    /// In characters, from 1.
    pub column: usize,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    text: String,
    root: Node,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    /// The cheapest first.
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Is(Test),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Equal,
    Not,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Is {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Is::Equal => order.is_eq(),
            Is::Not => order.is_ne(),
            Is::Less => order.is_lt(),
            Is::AtMost => order.is_le(),
            Is::More => order.is_gt(),
            Is::AtLeast => order.is_ge(),
        }
    }
}

/// A day or an instant: from the first to before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    /// How an instant lies to it: within is equal.
    fn order(&self, at: Timestamp) -> Ordering {
        if at < self.from {
            Ordering::Less
        } else if at < self.to || at == self.from {
            Ordering::Equal
        } else {
            Ordering::Greater
        }
    }
}

/// One condition. Text is a pattern with `*` and `?`, and its case does not matter.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    State(State),
    /// There is a patch for it, and it is needed here or waits for a restart, whatever was decided about it.
    Applicable,
    Affected,
    Superseded,
    Installable,
    Group(String),
    Id(Is, String),
    Feed(Is, String),
    Severity(Is, Level),
    Priority(Is, u8),
    Band(Is, Band),
    /// In tenths.
    Cvss(Is, u8),
    /// In millionths.
    Epss(Is, u32),
    Due(Is, Span),
    Exploited,
    Ransomware,
    Disclosed,
    Released(Is, Span),
    Modified(Is, Span),
    Kind(Is, Kind),
    Restart(Is, Restart),
    Publisher(Is, String),
    Cve(Is, String),
    Package(Is, String),
    Title(Is, String),
}

impl Test {
    /// 0: known without looking; 1: its rank is asked; 2: its definition is read.
    fn cost(&self) -> u8 {
        match self {
            Test::State(_) | Test::Applicable | Test::Affected | Test::Installable | Test::Group(_) | Test::Id(..) | Test::Feed(..) => 0,
            Test::Severity(..)
            | Test::Priority(..)
            | Test::Band(..)
            | Test::Cvss(..)
            | Test::Epss(..)
            | Test::Due(..)
            | Test::Exploited
            | Test::Ransomware => 1,
            _ => 2,
        }
    }

    fn holds(&self, subject: &dyn Subject) -> bool {
        match self {
            Test::State(state) => subject.is_in(*state),
            Test::Applicable => State::APPLICABLE.into_iter().any(|s| subject.is_in(s)),
            Test::Affected => State::ALL.into_iter().any(|s| s.is_affected() && subject.is_in(s)),
            Test::Superseded => subject.is_superseded(),
            Test::Installable => subject.is_installable(),
            Test::Group(name) => subject.is_of_group(name),
            Test::Id(is, pattern) => like(*is, pattern, [subject.id()]),
            Test::Feed(is, pattern) => like(*is, pattern, [subject.feed()]),
            Test::Severity(..)
            | Test::Priority(..)
            | Test::Band(..)
            | Test::Cvss(..)
            | Test::Epss(..)
            | Test::Due(..)
            | Test::Exploited
            | Test::Ransomware => subject.rank().is_some_and(|r| self.holds_of_rank(r)),
            _ => subject.definition().is_some_and(|d| self.holds_of_definition(d)),
        }
    }

    fn holds_of_rank(&self, rank: &Rank) -> bool {
        match self {
            Test::Severity(is, level) => is.holds(rank.level.cmp(level)),
            Test::Priority(is, points) => is.holds(rank.priority.cmp(points)),
            Test::Band(is, band) => is.holds(rank.band.cmp(band)),
            Test::Cvss(is, tenths) => rank.cvss.is_some_and(|c| is.holds(c.cmp(tenths))),
            Test::Epss(is, millionths) => rank.epss.is_some_and(|e| is.holds(e.cmp(millionths))),
            Test::Due(is, span) => rank.due.as_deref().and_then(read::day).is_some_and(|day| is.holds(span.order(day.from))),
            Test::Exploited => rank.exploited,
            Test::Ransomware => rank.ransomware,
            _ => false,
        }
    }

    fn holds_of_definition(&self, d: &Definition) -> bool {
        match self {
            Test::Disclosed => d.exploitation.disclosed == Some(true),
            Test::Released(is, span) => d.published.is_some_and(|at| is.holds(span.order(at))),
            Test::Modified(is, span) => d.modified.is_some_and(|at| is.holds(span.order(at))),
            Test::Kind(is, kind) => is.holds(d.kind.cmp(kind)),
            Test::Restart(is, restart) => d.restart.is_some_and(|r| is.holds(r.cmp(restart))),
            Test::Publisher(is, pattern) => like(*is, pattern, [&*d.publisher]),
            Test::Cve(is, pattern) => like(*is, pattern, d.cves.iter().chain([&d.id]).map(|c| &**c)),
            Test::Title(is, pattern) => like(*is, &format!("*{pattern}*"), [&*d.title]),
            Test::Package(is, pattern) => like(*is, pattern, d.entries.iter().flat_map(|e| names(&e.target))),
            _ => false,
        }
    }
}

/// What the thing that an entry is about is called.
fn names(target: &Target) -> Vec<&str> {
    match target {
        Target::Package(p) => vec![&p.name],
        Target::Product(p) => vec![&p.name],
        Target::Windows(w) => w.products.iter().map(|p| &**p).chain([&*w.component]).filter(|n| !n.is_empty()).collect(),
    }
}

/// Whether any of the names fits the pattern; `!=`: none does.
fn like<'n>(is: Is, pattern: &str, names: impl IntoIterator<Item = &'n str>) -> bool {
    let any = names.into_iter().any(|name| pattern_matches(pattern, &name.to_lowercase()));
    any == (is != Is::Not)
}

/// A patch as a filter looks at it: at one endpoint, or over the fleet. Rank and definition are asked for only where a condition needs them.
pub trait Subject {
    fn id(&self) -> &str;
    fn feed(&self) -> &str;
    fn rank(&self) -> Option<&Rank>;
    fn definition(&self) -> Option<&Definition>;
    /// At the endpoint; over the fleet: at any.
    fn is_in(&self, state: State) -> bool;
    /// At the endpoint; over the fleet: wherever it is needed, or by the vendor's word where it is needed nowhere.
    fn is_superseded(&self) -> bool;
    fn is_installable(&self) -> bool;
    /// The endpoint is of the group; over the fleet: an endpoint of the group is affected.
    fn is_of_group(&self, group: &str) -> bool;
}

/// A time to come: a day (its end), an instant, or so long from now (`30d`, h, w).
pub fn parse_time(text: &str, now: Timestamp) -> Option<Timestamp> {
    read::time_to_come(text, now)
}

impl Filter {
    /// Reads a filter; relative times are meant from `now`. An empty text lets everything through.
    pub fn read(text: &str, now: Timestamp) -> Result<Filter, FilterError> {
        let mut root = read::read(text, now)?;
        root.sort();
        Ok(Filter { text: text.trim().to_owned(), root })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn matches(&self, subject: &dyn Subject) -> bool {
        self.root.holds(subject)
    }

    /// Every group that it names.
    pub fn groups(&self) -> BTreeSet<&str> {
        let mut out = BTreeSet::new();
        self.root.walk(&mut |test| {
            if let Test::Group(name) = test {
                out.insert(name.as_str());
            }
        });
        out
    }

    /// The groups that an endpoint must be of whatever else is asked: `group=web, missing` asks for what is missing in `web`.
    pub fn within(&self) -> BTreeSet<&str> {
        let group = |node: &'_ Node| matches!(node, Node::Is(Test::Group(_)));
        let all: &[Node] = match &self.root {
            Node::All(nodes) => nodes,
            node => std::slice::from_ref(node),
        };
        let names = all.iter().filter(|n| group(n)).filter_map(|n| match n {
            Node::Is(Test::Group(name)) => Some(name.as_str()),
            _ => None,
        });
        names.collect()
    }

    /// Whether it asks how endpoints stand at all.
    pub fn asks_about_endpoints(&self) -> bool {
        let mut asks = false;
        self.root.walk(&mut |test| {
            use Test::{Affected, Applicable, Group, Installable, State, Superseded};
            asks |= matches!(test, State(_) | Applicable | Affected | Superseded | Installable | Group(_));
        });
        asks
    }

    /// Only patches that some endpoint has something to say of can be meant; the others need not be looked at.
    pub fn asks_for_affected(&self) -> bool {
        self.root.needs_affected()
    }
}

impl Node {
    fn holds(&self, subject: &dyn Subject) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().all(|n| n.holds(subject)),
            Node::Any(nodes) => nodes.iter().any(|n| n.holds(subject)),
            Node::Not(node) => !node.holds(subject),
            Node::Is(test) => test.holds(subject),
        }
    }

    fn cost(&self) -> u8 {
        match self {
            Node::All(nodes) | Node::Any(nodes) => nodes.iter().map(Node::cost).max().unwrap_or(0),
            Node::Not(node) => node.cost(),
            Node::Is(test) => test.cost(),
        }
    }

    fn sort(&mut self) {
        match self {
            Node::All(nodes) | Node::Any(nodes) => {
                nodes.iter_mut().for_each(Node::sort);
                nodes.sort_by_key(Node::cost);
            }
            Node::Not(node) => node.sort(),
            Node::Is(_) => {}
        }
    }

    fn walk<'n>(&'n self, see: &mut impl FnMut(&'n Test)) {
        match self {
            Node::All(nodes) | Node::Any(nodes) => nodes.iter().for_each(|n| n.walk(see)),
            Node::Not(node) => node.walk(see),
            Node::Is(test) => see(test),
        }
    }

    fn needs_affected(&self) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().any(Node::needs_affected),
            Node::Any(nodes) => !nodes.is_empty() && nodes.iter().all(Node::needs_affected),
            Node::Not(_) => false,
            Node::Is(Test::State(state)) => state.is_affected(),
            Node::Is(test) => matches!(test, Test::Applicable | Test::Affected | Test::Installable | Test::Group(_)),
        }
    }
}

#[cfg(test)]
mod tests;
