//! OVAL without a benchmark: one rule per definition.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checks::OVAL;
use super::{Choice, ResolveError};
use crate::oval::model::{Content, Definition};
use crate::xccdf::datastream::View;
use crate::xccdf::model::{Baseline, Check, ContentRef, Instance, Item, RuleBody};
use crate::xccdf::read::Problem;

pub(super) fn baseline(view: &View, choice: &Choice) -> Result<(Baseline, Vec<Problem>), ResolveError> {
    if let Some(id) = choice.profile.as_ref().filter(|p| !p.is_empty()) {
        return Err(ResolveError::Unknown { what: "profile", id: id.clone(), known: Vec::new() });
    }
    let mut out = Baseline::default();
    let mut problems = Vec::new();
    for (name, content) in view.contents() {
        match content {
            Ok(content) => {
                if out.benchmark_id.is_empty() {
                    name.clone_into(&mut out.benchmark_id);
                    name.clone_into(&mut out.benchmark_title);
                    out.benchmark_href = if view.in_stream() { format!("#{name}") } else { name.to_owned() };
                }
                let instance = u32::try_from(out.instances.len()).unwrap_or(u32::MAX);
                out.instances.push(Instance { content: instance, bindings: BTreeMap::new(), href: name.to_owned() });
                out.contents.push(Arc::clone(content));
                out.items.extend(content.definitions.iter().map(|d| item(d, instance, name)));
                problems.extend(external(content));
            }
            Err(why) => problems.push(Problem { line: 0, what: format!("{name}: {why}") }),
        }
    }
    if out.contents.is_empty() {
        return Err(ResolveError::Nothing);
    }
    Ok((out, problems))
}

/// Without a benchmark nobody gives values.
fn external(content: &Content) -> Option<Problem> {
    let external = content.variables.iter().filter(|v| matches!(v.source, crate::oval::model::Source::External { .. })).count();
    let what = format!("{}: {external} external variables have no value; definitions that need them are errors", content.name);
    (external > 0).then_some(Problem { line: 0, what })
}

fn item(definition: &Definition, instance: u32, href: &str) -> Item {
    let reference = ContentRef { system: OVAL.to_owned(), href: href.to_owned(), name: definition.id.to_string(), exports: Vec::new() };
    Item {
        id: definition.id.to_string(),
        parent: None,
        title: definition.title.to_string(),
        description: definition.description.to_string(),
        weight: 1.0,
        published_weight: 1.0,
        selected: true,
        platforms: Vec::new(),
        rule: Some(RuleBody {
            version: definition.version.to_string(),
            references: definition.references.iter().map(|r| (r.url.to_string(), r.id.to_string())).collect(),
            check: Some(Check::Definition { instance, definition: definition.id.to_string(), negate: false, reference }),
            ..RuleBody::default()
        }),
    }
}
