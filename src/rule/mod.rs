//! What is required, as written: YAML rules with CEL checks, read into types that cannot be wrong.
//!
//! `pack folder -> yaml -> cel (ast) -> check (ir) -> Rule`, every problem collected as a [`Diagnostic`] on the way.

pub mod cel;
pub mod check;
pub mod diagnostic;
pub mod folder;
pub mod ir;
pub mod pattern;
mod show;
pub mod stream;
pub mod yaml;

pub use diagnostic::{Code, Diagnostic};
pub use folder::{load_folder, read_folder};
pub use yaml::{Source, SourceFile, read_pack};

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::judge::Verdict;
use crate::scan::Scan;
use crate::scan::table::TableId;
use ir::Ir;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const ALL: [Severity; 5] = [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// `linux`, `debian`, `debian:12`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    pub id: String,
    pub version: Option<String>,
}

/// What a deployment task may do about a failing rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fix {
    pub package: String,
    pub state: FixState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FixState {
    Installed,
    Removed,
}

/// What to look at in the tables that hold only what was asked: table -> paths and patterns (for `registry`: keys).
pub type Collect = BTreeMap<TableId, Vec<String>>;

/// A rule that was read, typed and found to make sense.
#[derive(Clone, Debug)]
pub struct Rule {
    pub id: String,
    pub title: String,
    pub severity: Severity,
    pub platforms: Vec<Platform>,
    pub controls: BTreeMap<String, Vec<String>>,
    pub rationale: String,
    pub remediation: String,
    pub fix: Option<Fix>,
    /// The texts of `when` and `check`, for people and for a later compiler.
    pub when_text: Option<String>,
    pub check_text: String,
    pub when: Option<Ir>,
    pub check: Ir,
    /// What an absent key means.
    pub missing: Verdict,
    /// As written under `collect`; [`Rule::asks`] adds the keys that the expressions name.
    pub collect: Collect,
    pub tests: Vec<RuleTest>,
}

/// A scan fragment of the rule's own, and the verdict it must get.
#[derive(Clone, Debug)]
pub struct RuleTest {
    pub expect: Verdict,
    /// With `os` and `scope` filled in.
    pub scan: Scan,
    /// Line of the test in the rule's file, from 1.
    pub line: u32,
}

/// A folder of rules, read.
#[derive(Clone, Debug)]
pub struct RulePack {
    pub id: String,
    pub title: String,
    pub version: String,
    pub description: String,
    pub benchmarks: BTreeMap<String, String>,
    /// Sorted by id.
    pub rules: Vec<Rule>,
}

impl Rule {
    /// Everything the rule needs to have collected: its `collect` and the constant keys of asked tables in its expressions.
    pub fn asks(&self) -> Collect {
        use crate::scan::table::Extent;
        let mut asks = self.collect.clone();
        let mut see = |node: &Ir| {
            let (Ir::Lookup { table, key, .. } | Ir::HasRow { table, key } | Ir::HasCell { table, key, .. }) = node else { return };
            if let (Extent::Asked, Some(Ir::Str(item))) = (table.table().extent, key.first()) {
                asks.entry(*table).or_default().push(item.to_string());
            }
        };
        self.check.walk(&mut see);
        if let Some(when) = &self.when {
            when.walk(&mut see);
        }
        for items in asks.values_mut() {
            items.sort();
            items.dedup();
        }
        asks
    }
}
