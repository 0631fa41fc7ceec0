//! What vendors publish, read: bytes of a feed in, [`model::Advisory`] and [`Problem`]s out.
//!
//! One file a format. A reader takes one document (or an archive of them, [`archive`]), hands each advisory to a [`Sink`] as soon as it is whole, and tells the same
//! sink what it could not use, with document and place. No reader fetches, stores or reads a clock, none panics, and each stops at the limits that
//! `limits` names. The same bytes give the same advisories in the same order.

pub mod archive;
pub mod csaf;
pub mod cvss;
pub mod debian;
pub mod ecosystem;
pub mod epss;
pub mod kev;
pub mod model;
pub mod msrc;
pub mod openvex;
pub mod osv;
pub mod oval;
pub mod redhat;
pub mod supersede;
pub mod ubuntu;

mod json;
mod purl;
mod time;
mod vers;

use std::fmt;
use std::sync::Arc;

use crate::limits::Limits;
use model::Advisory;

/// What a reader could not use, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, with its place in an archive: `all.zip/GHSA-x.json`.
    pub document: Arc<str>,
    /// `line 7`, a JSON pointer, an advisory's id; empty: the whole document.
    pub place: Box<str>,
    pub weight: Weight,
    /// Stable: `json`, `limit`, `6.1.3` (CSAF's own test number), ...
    pub code: &'static str,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Everything was used; something is odd.
    Note,
    /// A part of the advisory or of the document is left out.
    Partial,
    /// The document, or the whole entry at this place, is left out.
    Refused,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Note => "note",
            Weight::Partial => "left out",
            Weight::Refused => "refused",
        };
        let colon = if self.place.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}: {weight} [{}]: {}", self.document, self.place, self.code, self.message)
    }
}

/// Who takes what a reader reads.
pub trait Sink {
    fn advisory(&mut self, advisory: Advisory);
    fn problem(&mut self, problem: Problem);
}

/// A sink that keeps everything, up to `limits.feed_advisories` and `limits.feed_problems`.
#[derive(Debug)]
pub struct Batch {
    pub advisories: Vec<Advisory>,
    pub problems: Vec<Problem>,
    /// Problems past the limit: counted, not kept.
    pub more_problems: usize,
    most_advisories: usize,
    most_problems: usize,
}

impl Batch {
    pub fn new(limits: &Limits) -> Batch {
        let (most_advisories, most_problems) = (limits.feed_advisories, limits.feed_problems);
        Batch { advisories: Vec::new(), problems: Vec::new(), more_problems: 0, most_advisories, most_problems }
    }

    pub fn refused(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|p| p.weight == Weight::Refused)
    }
}

impl Sink for Batch {
    fn advisory(&mut self, advisory: Advisory) {
        if self.advisories.len() < self.most_advisories {
            self.advisories.push(advisory);
            return;
        }
        self.problem(Problem {
            document: "".into(),
            place: advisory.id,
            weight: Weight::Refused,
            code: "limit",
            message: format!("over {} advisories (limits.feed_advisories)", self.most_advisories),
        });
    }

    fn problem(&mut self, problem: Problem) {
        if self.problems.len() < self.most_problems {
            self.problems.push(problem);
        } else {
            self.more_problems += 1;
        }
    }
}

/// One document under the reader's eyes: its name, what may be spent on it, and who takes what is in it.
pub(crate) struct Reading<'a> {
    pub document: Arc<str>,
    pub limits: &'a Limits,
    pub sink: &'a mut dyn Sink,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(document: &str, limits: &'a Limits, sink: &'a mut dyn Sink) -> Reading<'a> {
        Reading { document: document.into(), limits, sink }
    }

    pub(crate) fn tell(&mut self, weight: Weight, code: &'static str, place: &str, message: impl Into<String>) {
        let (document, message) = (self.document.clone(), message.into());
        self.sink.problem(Problem { document, place: place.into(), weight, code, message });
    }

    pub(crate) fn refuse(&mut self, code: &'static str, place: &str, message: impl Into<String>) {
        self.tell(Weight::Refused, code, place, message);
    }

    pub(crate) fn leave_out(&mut self, code: &'static str, place: &str, message: impl Into<String>) {
        self.tell(Weight::Partial, code, place, message);
    }

    pub(crate) fn note(&mut self, code: &'static str, place: &str, message: impl Into<String>) {
        self.tell(Weight::Note, code, place, message);
    }

    /// Hands an advisory on, its lists settled and no longer than the limit.
    pub(crate) fn emit(&mut self, mut advisory: Advisory) {
        advisory.settle();
        let most = self.limits.feed_affected;
        if advisory.affected.len() > most {
            let (id, count) = (advisory.id.clone(), advisory.affected.len());
            self.refuse("limit", &id, format!("{count} affected products, over {most} (limits.feed_affected)"));
            return;
        }
        self.sink.advisory(advisory);
    }
}
