//! Evaluation against `oscap oval analyse`: crafted documents for every cell of the truth tables, and real content.

mod crafted;
mod functions;
mod operations;
mod real;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use muster::limits::Limits;
use muster::oval::eval::{Compat, Evaluation, Prepared};
use muster::oval::model::{Content, DefinitionId, OvalResult};
use muster::oval::syschar::{SystemCharacteristics, bind};

/// Whether `oscap` can be asked; if not, says so.
fn oscap_is_here() -> bool {
    let here = Command::new("oscap").arg("--version").output().is_ok();
    if !here {
        assert!(std::env::var_os("MUSTER_REQUIRE_PEERS").is_none(), "MUSTER_REQUIRE_PEERS is set: oscap is not installed");
        #[allow(clippy::print_stderr, reason = "what was skipped is said out loud")]
        {
            eprintln!("skipped: oscap is not installed");
        }
    }
    here
}

/// What `oscap oval analyse` says of each definition.
fn analyse(definitions: &Path, characteristics: &Path) -> BTreeMap<String, OvalResult> {
    let results = characteristics.with_extension("results");
    let out = Command::new("oscap")
        .args(["oval", "analyse", "--skip-validation", "--results"])
        .arg(&results)
        .args([definitions, characteristics])
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&results).unwrap_or_else(|_| panic!("{} {}", out.status, last_lines(&out.stderr)));
    // Only here does an element of this name have a result.
    let tags = text.split('<').filter(|tag| tag.starts_with("definition ") && tag.contains(" result=\""));
    tags.map(|tag| (attribute(tag, "definition_id").to_string(), result(attribute(tag, "result")))).collect()
}

fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn attribute<'t>(tag: &'t str, name: &str) -> &'t str {
    let (_, value) = tag.split_once(&format!(" {name}=\"")).unwrap();
    value.split_once('"').unwrap().0
}

fn result(name: &str) -> OvalResult {
    OvalResult::ALL.into_iter().find(|r| r.name() == name).unwrap()
}

/// What we say of each definition.
fn evaluate(content: Content, characteristics: &str, compat: Compat) -> (BTreeMap<String, OvalResult>, Arc<Content>) {
    let limits = Limits::default();
    let content = Arc::new(content);
    let prepared = Prepared::new(content.clone(), &BTreeMap::new(), compat, &limits);
    let systems = SystemCharacteristics::parse(characteristics, &limits).unwrap();
    let facts = bind(&systems, &content);
    let mut evaluation = Evaluation::new(&prepared, &facts, 1_700_000_000);
    let ids = (0..).map(DefinitionId).zip(&content.definitions);
    let results = ids.map(|(id, definition)| (definition.id.to_string(), evaluation.definition(id))).collect();
    (results, content)
}

/// Every definition that the two do not agree on.
fn differences(ours: &BTreeMap<String, OvalResult>, theirs: &BTreeMap<String, OvalResult>) -> Vec<String> {
    let differing = theirs.iter().filter(|(id, theirs)| ours.get(*id) != Some(theirs));
    differing.map(|(id, theirs)| format!("{id}: ours {:?}, theirs {theirs:?}", ours.get(id))).collect()
}
