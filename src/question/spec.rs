//! What is asked, as it comes in: JSON of the API, options of the command line. `Query -> a rule, a rule's id or a patch's id`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PAGE, PAGE_MAX, QuestionError};
use crate::judge::Verdict;
use crate::limits::Limits;
use crate::pack::{Pack, PackError, compile};
use crate::patch::State;
use crate::rule::cel::Problem;
use crate::rule::check::check;
use crate::rule::check::suggest::hint;
use crate::rule::ir::{Cmp, Ir, Quantifier};
use crate::rule::{Collect, Diagnostic, Rule, RulePack, Severity};
use crate::scan::table::{Extent, TableId};
use crate::version::Scheme;

/// The name that problems of an expression have in the place of a file's.
const CHECK: &str = "check";

/// One of `check`, `rule`, `package` and `patch`; and which endpoints are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// A condition as rules have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// What a quantifier over a table means that holds only what was asked: table -> paths, patterns, keys.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub collect: BTreeMap<String, Vec<String>>,
    /// The verdict where a key is absent that `check` reads; `unknown` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// A rule of the present packs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageQuestion>,
    /// A patch of the feeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// With `patch`: the states that the items are of; `missing` unless given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh: Option<String>,
    /// The verdicts that the items are of: those of `check` and `package` that pass, those of `rule` that fail, unless given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verdict: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// An installed package, of any version or within bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PackageQuestion {
    pub name: String,
    /// How its versions compare; needed with a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<String>,
}

/// Which endpoints are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// A group of the configuration.
    pub group: Option<String>,
    /// All must fit.
    pub labels: BTreeMap<String, String>,
    /// `linux`, `debian`, `debian:12`.
    pub platform: Option<String>,
    /// Heard of within this time.
    pub fresh: Option<String>,
}

/// What a query comes to.
pub(super) enum Wanted {
    Check(Box<Rule>),
    Rule(String),
    Patch(String, Vec<State>),
}

impl Query {
    pub fn scope(&self) -> Scope {
        Scope { group: self.group.clone(), labels: self.labels.clone(), platform: self.platform.clone(), fresh: self.fresh.clone() }
    }

    /// As it was understood; pages of one question show the same.
    pub(super) fn shown(&self) -> Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        if let Some(object) = shown.as_object_mut() {
            object.remove("limit");
            object.remove("cursor");
        }
        shown
    }

    /// What is wrong with it whatever the fleet is.
    pub fn check(&self, limits: &Limits) -> Result<(), QuestionError> {
        self.read(limits)?;
        self.verdicts()?;
        self.page().map(|_| ())
    }

    pub(super) fn read(&self, limits: &Limits) -> Result<Wanted, QuestionError> {
        let bad = |message: &str| Err(QuestionError::Bad(message.to_owned()));
        if self.check.is_none() && (!self.collect.is_empty() || self.missing.is_some()) {
            return bad("`collect` and `missing` are about `check`, which is not given");
        }
        if self.patch.is_none() && !self.state.is_empty() {
            return bad("`state` is about `patch`, which is not given");
        }
        match (&self.check, &self.rule, &self.package, &self.patch) {
            (Some(text), None, None, None) => {
                if text.len() > limits.rule_bytes {
                    return Err(QuestionError::Bad(format!(
                        "`check` is over the limit of {} bytes (limits.rule_bytes)",
                        limits.rule_bytes
                    )));
                }
                let ir = check(text, &self.collect()?).map_err(|p| QuestionError::Problems { problems: placed(text, p) })?;
                Ok(Wanted::Check(Box::new(rule_of("question", text.clone(), ir, self.missing()?))))
            }
            (None, Some(rule), None, None) => Ok(Wanted::Rule(rule.clone())),
            (None, None, Some(package), None) => {
                Ok(Wanted::Check(Box::new(rule_of("question", String::new(), package.condition()?, Verdict::Fail))))
            }
            (None, None, None, Some(patch)) if self.verdict.is_empty() => Ok(Wanted::Patch(patch.clone(), self.states()?)),
            (None, None, None, Some(_)) => bad("a patch has states and no verdicts: give `state` in the place of `verdict`"),
            _ => bad("a question is one of `check`, `rule`, `package` and `patch`: give one of them"),
        }
    }

    fn collect(&self) -> Result<Collect, QuestionError> {
        let mut collect = Collect::new();
        for (name, items) in &self.collect {
            let asked = || TableId::all().filter(|t| t.table().extent == Extent::Asked).map(|t| t.name());
            let table = TableId::by_name(name).filter(|t| t.table().extent == Extent::Asked);
            let unknown = || format!("`collect`: `{name}` is no table that holds only what is asked{}", hint(name, asked()));
            collect.insert(table.ok_or_else(|| QuestionError::Bad(unknown()))?, items.clone());
        }
        Ok(collect)
    }

    fn missing(&self) -> Result<Verdict, QuestionError> {
        let Some(name) = &self.missing else { return Ok(Verdict::Unknown) };
        let known = [Verdict::Fail, Verdict::Pass, Verdict::NotApplicable, Verdict::Unknown];
        let found = Verdict::by_name(name).filter(|v| known.contains(v));
        found.ok_or_else(|| QuestionError::Bad(format!("`missing` is one of fail, pass, notapplicable and unknown, not `{name}`")))
    }

    pub(super) fn verdicts(&self) -> Result<Vec<Verdict>, QuestionError> {
        let names = Verdict::ALL.map(Verdict::name);
        let one = |name: &String| {
            Verdict::by_name(name).ok_or_else(|| QuestionError::Bad(format!("`verdict` is one of {}, not `{name}`", names.join(", "))))
        };
        self.verdict.iter().map(one).collect()
    }

    fn states(&self) -> Result<Vec<State>, QuestionError> {
        if self.state.is_empty() {
            return Ok(vec![State::Missing]);
        }
        let names = State::ALL.map(State::name);
        let one = |name: &String| {
            State::by_name(name).ok_or_else(|| QuestionError::Bad(format!("`state` is one of {}, not `{name}`", names.join(", "))))
        };
        self.state.iter().map(one).collect()
    }

    /// Items of the page, and the id after which it begins.
    pub(super) fn page(&self) -> Result<(usize, String), QuestionError> {
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(QuestionError::Bad(format!("`limit` is a number from 1 to {PAGE_MAX}, not {limit}")));
        }
        let Some(cursor) = &self.cursor else { return Ok((limit, String::new())) };
        let decoded = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|b| String::from_utf8(b).ok());
        let cursor = decoded.ok_or_else(|| QuestionError::Bad("`cursor` is not one that this server gave".to_owned()))?;
        Ok((limit, cursor))
    }
}

impl PackageQuestion {
    fn condition(&self) -> Result<Ir, QuestionError> {
        if self.name.is_empty() {
            return Err(QuestionError::Bad("`package` needs a `name`".to_owned()));
        }
        let table = TableId::by_name("package").unwrap_or(TableId(0));
        let column = |name: &str| {
            let at = table.table().column(name).and_then(|c| u8::try_from(c).ok()).unwrap_or(0);
            Box::new(Ir::Column { slot: 0, table, column: at })
        };
        let mut body = vec![Ir::Compare(Cmp::Eq, column("name"), Box::new(Ir::Str(self.name.as_str().into())))];
        for (bound, cmp) in [(&self.below, Cmp::Lt), (&self.at, Cmp::Eq), (&self.above, Cmp::Gt)] {
            let Some(version) = bound else { continue };
            let scheme = self.scheme()?;
            let want = Box::new(Ir::Version(scheme, Box::new(Ir::Str(version.as_str().into()))));
            body.push(Ir::Compare(cmp, Box::new(Ir::Version(scheme, column("version"))), want));
        }
        Ok(Ir::Quant { quantifier: Quantifier::Exists, table, only: Vec::new(), slot: 0, body: Box::new(Ir::And(body)) })
    }

    fn scheme(&self) -> Result<Scheme, QuestionError> {
        let names = || Scheme::ALL.into_iter().map(Scheme::name);
        let all = || names().collect::<Vec<_>>().join(", ");
        let Some(name) = &self.scheme else {
            return Err(QuestionError::Bad(format!("a bound of versions needs a `scheme`: {}", all())));
        };
        let found = Scheme::ALL.into_iter().find(|s| s.name() == name);
        found.ok_or_else(|| QuestionError::Bad(format!("`scheme` is one of {}, not `{name}`{}", all(), hint(name, names()))))
    }
}

/// A rule that nobody wrote down.
pub(super) fn rule_of(id: &str, text: String, check: Ir, missing: Verdict) -> Rule {
    Rule {
        id: id.to_owned(),
        title: String::new(),
        severity: Severity::Info,
        platforms: Vec::new(),
        controls: BTreeMap::new(),
        rationale: String::new(),
        remediation: String::new(),
        fix: None,
        when_text: None,
        check_text: text,
        when: None,
        check,
        missing,
        collect: Collect::new(),
        tests: Vec::new(),
    }
}

/// Rules, compiled to be asked and forgotten.
pub(super) fn pack_of(rules: Vec<Rule>) -> Result<Pack, PackError> {
    let pack = RulePack {
        id: "question".to_owned(),
        title: String::new(),
        version: String::new(),
        description: String::new(),
        benchmarks: BTreeMap::new(),
        rules,
    };
    Pack::from_bytes(compile(&[pack], &[]))
}

/// Problems with their line and column in the text.
fn placed(text: &str, problems: Vec<Problem>) -> Vec<Diagnostic> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let place = |at: usize| {
        let before = text.get(..at).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (number(before.matches('\n').count() + 1), number(line.chars().count() + 1))
    };
    let one = |p: Problem| {
        let (line, column) = place(p.span.start);
        Diagnostic { code: p.code, file: CHECK.to_owned(), line, column, message: p.message }
    };
    problems.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &Query) -> Result<Wanted, QuestionError> {
        query.read(&Limits::default())
    }

    #[test]
    fn problems_have_their_places() {
        let query = Query { check: Some("1 == 1\n  && pakage.exists(p, true)".to_owned()), ..Query::default() };
        let Err(QuestionError::Problems { problems }) = read(&query).map(|_| ()) else { panic!("it has a problem") };
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("check:2:6: R011: "), "{told:?}");
    }

    #[test]
    fn one_thing_is_asked() {
        let check = Some("sysctl.size() > 0".to_owned());
        for (query, what) in [
            (Query::default(), "give one"),
            (Query { check: check.clone(), rule: Some("r".into()), ..Query::default() }, "give one"),
            (Query { rule: Some("r".into()), missing: Some("fail".into()), ..Query::default() }, "`missing`"),
            (Query { rule: Some("r".into()), state: vec!["missing".into()], ..Query::default() }, "`state`"),
            (Query { patch: Some("p".into()), state: vec!["gone".into()], ..Query::default() }, "`state` is one of"),
            (Query { patch: Some("p".into()), verdict: vec!["pass".into()], ..Query::default() }, "no verdicts"),
            (Query { check: check.clone(), missing: Some("error".into()), ..Query::default() }, "`missing` is one of"),
            (
                Query {
                    package: Some(PackageQuestion { name: "a".into(), below: Some("1".into()), ..Default::default() }),
                    ..Query::default()
                },
                "needs a `scheme`",
            ),
            (Query { package: Some(PackageQuestion::default()), ..Query::default() }, "needs a `name`"),
            (
                Query { check: check.clone(), collect: BTreeMap::from([("sysctl".to_owned(), vec![])]), ..Query::default() },
                "only what is asked",
            ),
        ] {
            let error = read(&query).map(|_| ()).expect_err(what);
            assert!(error.to_string().contains(what), "{error}");
        }
        assert!(matches!(read(&Query { check, ..Query::default() }), Ok(Wanted::Check(_))));
        let bounds =
            PackageQuestion { name: "a".into(), scheme: Some("dpkg".into()), below: Some("2".into()), above: Some("1".into()), at: None };
        assert!(matches!(read(&Query { package: Some(bounds), ..Query::default() }), Ok(Wanted::Check(_))));
    }
}
