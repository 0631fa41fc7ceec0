//! What one profile of a benchmark asks, everything resolved: selection, values, platforms, checks. A pack stores it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::oval::model::Content;
use crate::oval::truth::Compat;

/// One profile of a benchmark, tailored, ready to be evaluated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    pub benchmark_id: String,
    pub benchmark_version: String,
    pub benchmark_title: String,
    /// How results documents refer to the benchmark: `#component` in a data stream, else the file name.
    pub benchmark_href: String,
    /// Empty where rules are taken as the benchmark itself selects them.
    pub profile_id: String,
    pub profile_title: String,
    pub profile_description: String,
    /// Its id, version, href and time, if the profile comes of a tailoring file.
    pub tailoring: Option<Tailored>,
    /// Platforms of the benchmark as a whole; none: every platform.
    pub platforms: Vec<PlatformId>,
    pub platform_checks: Vec<PlatformCheck>,
    /// OVAL documents, each once.
    pub contents: Vec<Arc<Content>>,
    /// The same, each with the values that its external variables have here. The same document stands twice where two rules give
    /// one variable different values.
    pub instances: Vec<Instance>,
    /// Groups and rules in document order; `parent` is a position in this list.
    pub items: Vec<Item>,
    /// Values that results documents repeat (`set-value`), by id.
    pub set_values: Vec<(String, Vec<String>)>,
    /// What cannot be evaluated, and why: `rules check` lists it.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tailored {
    pub id: String,
    pub version: String,
    pub time: String,
    pub href: String,
}

/// Position in [`Baseline::platform_checks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformId(pub u32);

/// One platform: a CPE name or a reference to a `cpe-lang:platform`, and how it is decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlatformCheck {
    /// As written in `platform/@idref`.
    pub idref: String,
    pub title: String,
    pub logic: PlatformLogic,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PlatformLogic {
    And {
        negate: bool,
        of: Vec<PlatformLogic>,
    },
    Or {
        negate: bool,
        of: Vec<PlatformLogic>,
    },
    /// An OVAL definition, by instance and id.
    Oval {
        instance: u32,
        definition: String,
    },
    /// A CPE name that no dictionary explains: no evidence either way.
    Unresolved(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Position in [`Baseline::contents`].
    pub content: u32,
    /// External variable -> its values, from `check-export`.
    pub bindings: BTreeMap<String, Vec<String>>,
    /// The component or file that it came from, as `check-content-ref/@href` names it.
    pub href: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub id: String,
    pub parent: Option<u32>,
    pub title: String,
    pub description: String,
    pub weight: f64,
    /// Its weight before a profile refined it, which is what OpenSCAP scores with.
    pub published_weight: f64,
    pub selected: bool,
    /// Platforms of this item alone; groups above it have theirs. None: every platform.
    pub platforms: Vec<PlatformId>,
    /// `None` for a group.
    pub rule: Option<RuleBody>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    #[default]
    Full,
    Unscored,
    Unchecked,
}

/// XCCDF's own severities; `unknown` is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleSeverity {
    #[default]
    Unknown,
    Info,
    Low,
    Medium,
    High,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleBody {
    pub version: String,
    pub severity: RuleSeverity,
    pub role: Role,
    /// A profile refines the rule and names no role: OpenSCAP forgets the rule's own.
    pub role_forgotten: bool,
    pub rationale: String,
    /// (system, value): CCE and the like.
    pub idents: Vec<(String, String)>,
    /// (href, text): NIST, CIS, STIG numbers and the like.
    pub references: Vec<(String, String)>,
    pub fixes: Vec<Fix>,
    pub fixtext: String,
    pub check: Option<Check>,
    /// `multiple="true"`: one result per instance is allowed; recorded, and one result is given.
    pub multiple: bool,
}

impl RuleBody {
    pub fn role(&self, compat: Compat) -> Role {
        if self.role_forgotten && compat == Compat::OpenScap { Role::Full } else { self.role }
    }
}

impl Item {
    pub fn weight(&self, compat: Compat) -> f64 {
        if compat == Compat::OpenScap { self.published_weight } else { self.weight }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fix {
    pub id: String,
    pub system: String,
    pub complexity: String,
    pub disruption: String,
    pub reboot: bool,
    /// With the profile's values filled in for `sub`.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Check {
    Complex {
        operator: ComplexOperator,
        negate: bool,
        of: Vec<Check>,
    },
    /// One OVAL definition.
    Definition {
        instance: u32,
        definition: String,
        negate: bool,
        reference: ContentRef,
    },
    /// A whole OVAL document: its definitions ANDed, or with `multi` one result each.
    Document {
        instance: u32,
        negate: bool,
        multi: bool,
        reference: ContentRef,
    },
    /// A value that it exports is not there, or has nothing for the selector: unknown.
    Unbound {
        why: String,
        reference: ContentRef,
    },
    /// A checking system or a content that this build cannot evaluate, and why: notchecked.
    Unsupported {
        system: String,
        why: String,
        reference: ContentRef,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComplexOperator {
    And,
    Or,
}

/// What results documents repeat of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentRef {
    pub system: String,
    pub href: String,
    pub name: String,
    /// (value id, exported name)
    pub exports: Vec<(String, String)>,
}
