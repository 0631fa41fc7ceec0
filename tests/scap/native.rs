//! Objects over the tables of native scans: what real content comes to, and items against `oscap oval collect` of the same system.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use muster::limits::Limits;
use muster::oval::eval::{Compat, Prepared};
use muster::oval::model::{Content, DefinitionId, ObjectId};
use muster::oval::native::{Native, Plan};
use muster::oval::read;

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn data(what: &str) -> Option<PathBuf> {
    let found = std::env::var_os("MUSTER_DATA").map(|d| PathBuf::from(d).join(what)).filter(|p| p.exists());
    if found.is_none() {
        eprintln!("skipped: {what} is not below MUSTER_DATA");
    }
    found
}

fn content(bytes: &[u8]) -> Content {
    let limits = Limits::default();
    read::read_text(&muster::xml::text(bytes, &limits).unwrap(), "test", &limits).unwrap()
}

fn prepared(content: Content) -> Prepared {
    Prepared::new(Arc::new(content), &BTreeMap::new(), Compat::OpenScap, &Limits::default())
}

fn ids(content: &Content) -> impl Iterator<Item = ObjectId> {
    (0u32..).map(ObjectId).take(content.objects.len())
}

#[test]
fn real_content_is_planned() {
    let Some(path) = data("oval/ssg-debian12-oval.xml.gz") else { return };
    let prepared = prepared(content(&std::fs::read(path).unwrap()));
    let native = Native::new(&prepared, &Limits::default());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for id in ids(prepared.content()) {
        let kind = &prepared.content().objects[id.index()].kind.name;
        let plan = match native.plan(id) {
            Plan::Rows { select, .. } => format!("{kind}: rows {}", format!("{select:?}").split(['(', ' ']).next().unwrap()),
            Plan::Variable { .. } => format!("{kind}: variable"),
            Plan::Unsupported { why } => format!("{kind}: unsupported: {why}"),
            Plan::PerEndpoint { why, .. } => format!("{kind}: {}", why.split(' ').next().unwrap()),
        };
        *counts.entry(plan).or_default() += 1;
    }
    let definitions = (0u32..).map(DefinitionId).take(prepared.content().definitions.len());
    let asks = native.asks(&prepared, definitions);
    println!("{counts:#?}");
    for (t, items) in &asks {
        println!("{} {}", t.name(), items.len());
        for i in items {
            println!("   {i}");
        }
    }
}
