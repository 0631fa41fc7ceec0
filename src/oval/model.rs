//! OVAL definitions as published, names resolved to numbers: what `read` makes of XML, what a pack stores, what `eval` interprets.

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u32);

        impl $name {
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids!(
    /// Position in [`Content::definitions`].
    DefinitionId,
    /// Position in [`Content::tests`].
    TestId,
    /// Position in [`Content::objects`].
    ObjectId,
    /// Position in [`Content::states`].
    StateId,
    /// Position in [`Content::variables`].
    VariableId
);

/// One `oval_definitions` document. Each list is sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The name of its component in a data stream, or of its file.
    pub name: String,
    pub schema_version: String,
    pub definitions: Vec<Definition>,
    pub tests: Vec<Test>,
    pub objects: Vec<Object>,
    pub states: Vec<State>,
    pub variables: Vec<Variable>,
    /// What could not be used, in document order. The tests that need it have no object and so are unknown; [`Content::problem`] says why.
    pub problems: Vec<Problem>,
}

/// A piece of a document that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[error("line {line}: {id}: {message}")]
pub struct Problem {
    pub line: u32,
    /// The definition, test, object, state or variable that it is in.
    pub id: Box<str>,
    pub message: String,
}

impl Content {
    /// Why a test (or anything else) cannot be evaluated.
    pub fn problem(&self, id: &str) -> Option<&Problem> {
        self.problems.iter().find(|p| *p.id == *id)
    }

    pub fn definition(&self, id: &str) -> Option<DefinitionId> {
        find(&self.definitions, id, |d| &d.id).map(DefinitionId)
    }

    pub fn test(&self, id: &str) -> Option<TestId> {
        find(&self.tests, id, |d| &d.id).map(TestId)
    }

    pub fn object(&self, id: &str) -> Option<ObjectId> {
        find(&self.objects, id, |d| &d.id).map(ObjectId)
    }

    pub fn state(&self, id: &str) -> Option<StateId> {
        find(&self.states, id, |d| &d.id).map(StateId)
    }

    pub fn variable(&self, id: &str) -> Option<VariableId> {
        find(&self.variables, id, |d| &d.id).map(VariableId)
    }
}

fn find<T>(list: &[T], id: &str, of: impl Fn(&T) -> &Box<str>) -> Option<u32> {
    let at = list.binary_search_by(|t| (**of(t)).cmp(id)).ok()?;
    u32::try_from(at).ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    Compliance,
    Inventory,
    Miscellaneous,
    Patch,
    Vulnerability,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    pub id: Box<str>,
    pub version: u64,
    pub class: Class,
    pub deprecated: bool,
    pub title: Box<str>,
    pub description: Box<str>,
    pub references: Vec<Reference>,
    /// `None`: not evaluated.
    pub criteria: Option<Criteria>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub source: Box<str>,
    pub id: Box<str>,
    pub url: Box<str>,
}

/// How results are combined: `operator`, `state_operator`, a state's `operator`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operator {
    #[default]
    And,
    Or,
    One,
    Xor,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Criteria {
    pub operator: Operator,
    pub negate: bool,
    pub applicability_check: bool,
    pub comment: Box<str>,
    pub children: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Node {
    Criteria(Criteria),
    /// `criterion`
    Test {
        test: TestId,
        negate: bool,
        applicability_check: bool,
        comment: Box<str>,
    },
    /// `extend_definition`
    Extend {
        definition: DefinitionId,
        negate: bool,
        applicability_check: bool,
        comment: Box<str>,
    },
}

/// `check`, `entity_check`, `var_check`. The deprecated `none exist` is read as `NoneSatisfy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Check {
    #[default]
    All,
    AtLeastOne,
    NoneSatisfy,
    OnlyOne,
}

/// `check_existence`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Existence {
    All,
    Any,
    #[default]
    AtLeastOne,
    None,
    OnlyOne,
}

/// The type of a test, object or state without its ending (`textfilecontent54` of `textfilecontent54_object`), with the last part of its
/// namespace (`independent`, `linux`, `unix`, `windows`, ...).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Kind {
    pub family: Box<str>,
    pub name: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    pub id: Box<str>,
    pub version: u64,
    pub kind: Kind,
    pub comment: Box<str>,
    pub check: Check,
    pub existence: Existence,
    pub state_operator: Operator,
    /// `None` only for `unknown_test` and for tests with a problem: both are unknown.
    pub object: Option<ObjectId>,
    pub states: Vec<StateId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    pub id: Box<str>,
    pub version: u64,
    pub kind: Kind,
    pub comment: Box<str>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    Set(Set),
    Entities { entities: Vec<Entity>, behaviors: Vec<(Box<str>, Box<str>)>, filters: Vec<Filter> },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SetOperator {
    #[default]
    Union,
    Intersection,
    Complement,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Set {
    pub operator: SetOperator,
    /// One or two.
    pub operands: Vec<SetOperand>,
    /// Applied to the items of object references only, in order.
    pub filters: Vec<Filter>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SetOperand {
    Set(Set),
    Object(ObjectId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    pub state: StateId,
    /// `action="include"`; the default is exclude.
    pub include: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub id: Box<str>,
    pub version: u64,
    pub kind: Kind,
    pub comment: Box<str>,
    pub operator: Operator,
    pub entities: Vec<Entity>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Datatype {
    Binary,
    Boolean,
    DebianEvr,
    Evr,
    FilesetRevision,
    Float,
    Int,
    Ios,
    Ipv4,
    Ipv6,
    Record,
    #[default]
    String,
    Version,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    #[default]
    Equals,
    NotEqual,
    CaseInsensitiveEquals,
    CaseInsensitiveNotEqual,
    GreaterThan,
    LessThan,
    GreaterThanOrEqual,
    LessThanOrEqual,
    BitwiseAnd,
    BitwiseOr,
    PatternMatch,
    SubsetOf,
    SupersetOf,
}

/// An entity of an object or a state, or a `field` of a record entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    pub name: Box<str>,
    pub datatype: Datatype,
    pub operation: Operation,
    pub mask: bool,
    pub value: Stated,
    /// How the values of a variable are combined.
    pub var_check: Check,
    /// States: how several item entities of this name are combined.
    pub entity_check: Check,
    /// States: which item entities of this name there must be.
    pub existence: Existence,
    /// Of a record.
    pub fields: Vec<Entity>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stated {
    /// `xsi:nil="true"`
    Nil,
    Literal(Box<str>),
    Variable(VariableId),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    pub id: Box<str>,
    pub version: u64,
    pub datatype: Datatype,
    pub comment: Box<str>,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Source {
    Constant(Vec<Box<str>>),
    External {
        possible_values: Vec<Box<str>>,
        /// `possible_restriction`: each with its operator and the operations and values that it combines.
        restrictions: Vec<Restriction>,
    },
    Local(Component),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restriction {
    pub operator: Operator,
    pub conditions: Vec<(Operation, Box<str>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arithmetic {
    Add,
    Multiply,
}

/// `format_1`, `format_2` of `time_difference`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeFormat {
    #[default]
    YearMonthDay,
    MonthDayYear,
    DayMonthYear,
    WinFiletime,
    SecondsSinceEpoch,
    CimDatetime,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Component {
    Literal { datatype: Datatype, value: Box<str> },
    Object { object: ObjectId, field: Box<str>, record_field: Option<Box<str>> },
    Variable(VariableId),
    Arithmetic { operation: Arithmetic, of: Vec<Component> },
    Begin { character: Box<str>, of: Box<Component> },
    End { character: Box<str>, of: Box<Component> },
    Concat(Vec<Component>),
    Count(Vec<Component>),
    EscapeRegex(Box<Component>),
    GlobToRegex { noescape: bool, of: Box<Component> },
    Merge(Vec<Component>),
    RegexCapture { pattern: Box<str>, of: Box<Component> },
    Split { delimiter: Box<str>, of: Box<Component> },
    Substring { start: i64, length: i64, of: Box<Component> },
    TimeDifference { first: TimeFormat, second: TimeFormat, of: Vec<Component> },
    Unique(Vec<Component>),
}

/// What the evaluation of a definition, criteria or test can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OvalResult {
    True,
    False,
    Unknown,
    Error,
    NotEvaluated,
    NotApplicable,
}

impl OvalResult {
    pub const ALL: [OvalResult; 6] =
        [OvalResult::True, OvalResult::False, OvalResult::Unknown, OvalResult::Error, OvalResult::NotEvaluated, OvalResult::NotApplicable];

    /// As results documents write it.
    pub fn name(self) -> &'static str {
        match self {
            OvalResult::True => "true",
            OvalResult::False => "false",
            OvalResult::Unknown => "unknown",
            OvalResult::Error => "error",
            OvalResult::NotEvaluated => "not evaluated",
            OvalResult::NotApplicable => "not applicable",
        }
    }
}
