//! What SCAP content asks of this host, collected: some of its questions depend on the answers to others.
//!
//! ```text
//! asks ─> collect ─> scan ─ still_asked ─> more asks ─┐   until nothing is new
//!            ^────────────────────────────────────────┘
//!                     scan ─> variables ─> walks over whole disks, keeping the files that give some object an item
//! ```

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Root, collect_kept, collect_some, item, table};
use crate::limits::Limits;
use crate::oval::eval::{Evaluation, Prepared};
use crate::oval::model::DefinitionId;
use crate::oval::native::{Native, ON_REQUEST, Question, Tables, still_asked};
use crate::oval::truth::Compat;
use crate::rule::Collect;
use crate::scan::table::{Extent, TableId};
use crate::scan::{Row, Scan, TableData};
use crate::xccdf::judge::Judge;

/// Variables lead to paths, which lead to variables. Content goes three steps; what goes on for longer stays unanswered.
const ROUNDS: usize = 8;

/// Content of a profile, ready to be asked.
pub struct Wanted {
    documents: Vec<Document>,
}

struct Document {
    prepared: Prepared,
    native: Native,
    definitions: BTreeSet<DefinitionId>,
}

/// What came of it.
pub struct Gathered {
    pub scan: Scan,
    /// All that was asked, what depended on the host among it.
    pub asks: Collect,
    /// How often tables were collected.
    pub rounds: usize,
}

impl Wanted {
    /// The definitions that the selected rules of a profile, and the platforms that they are for, depend on.
    pub fn new(judge: &Judge, compat: Compat, limits: &Limits) -> Wanted {
        let baseline = judge.baseline();
        let mut definitions = vec![BTreeSet::new(); baseline.instances.len()];
        for (n, ..) in judge.rules().filter(|(_, item, _)| item.selected) {
            for (instance, definition) in judge.definitions(n) {
                if let Some(known) = usize::try_from(instance).ok().and_then(|at| definitions.get_mut(at)) {
                    known.insert(definition);
                }
            }
        }
        let documents = baseline.instances.iter().zip(definitions).filter_map(|(instance, definitions)| {
            let content = baseline.contents.get(usize::try_from(instance.content).ok()?)?;
            let prepared = Prepared::new(Arc::clone(content), &instance.bindings, compat, limits);
            let native = Native::new(&prepared, limits);
            Some(Document { prepared, native, definitions })
        });
        Wanted { documents: documents.collect() }
    }

    /// What is asked of every host.
    pub fn asks(&self) -> Collect {
        let mut asks = Collect::new();
        for Document { prepared, native, definitions } in &self.documents {
            merge(&mut asks, native.asks(prepared, definitions.iter().copied()));
            for id in native.tables(prepared, definitions.iter().copied()) {
                if ON_REQUEST.contains(&id.name()) {
                    asks.entry(id).or_default();
                }
            }
        }
        asks
    }

    /// What is asked of a host that showed this, and was not looked at.
    fn still(&self, scan: &Scan, now_s: i64, limits: &Limits) -> Collect {
        let mut asks = Collect::new();
        for Document { prepared, native, definitions } in &self.documents {
            merge(&mut asks, still_asked(prepared, native, scan, definitions.iter().copied(), now_s, limits));
        }
        asks
    }
}

/// Collects the host below `root` for content, and what `own` asks beside it. `now_s` is what the content takes for the present.
pub fn gather(root: &Root, own: &Collect, wanted: &Wanted, now_s: i64, limits: &Limits) -> Gathered {
    let mut asks = Collect::new();
    merge(&mut asks, own.clone());
    // What rules ask of a whole disk is theirs to judge.
    let all = !only(&asks, limits, true).is_empty();
    merge(&mut asks, wanted.asks());
    let mut looked = only(&asks, limits, false);
    let mut scan = collect_kept(root, &looked, limits, &|_| true);
    let mut rounds = 1;
    while rounds < ROUNDS {
        merge(&mut asks, wanted.still(&scan, now_s, limits));
        let all_near = only(&asks, limits, false);
        let (near, far) = (without(&all_near, &looked), without(&asks, &looked));
        // First what is near: the walks need the values that come of it.
        let tables: BTreeSet<TableId> = if near.is_empty() { far } else { near.clone() };
        if tables.is_empty() {
            break;
        }
        let now = if near.is_empty() { &asks } else { &all_near };
        let part = {
            let seen: Vec<Tables<'_>> = wanted.documents.iter().map(|d| Tables::new(&d.prepared, &d.native, &scan, limits)).collect();
            let keep = Keep::new(wanted, &seen, now_s, limits);
            collect_some(root, now, limits, &|row| all || keep.takes(row), &tables)
        };
        replace(&mut scan, part, &tables);
        looked.extend(tables.iter().map(|id| (*id, now.get(id).cloned().unwrap_or_default())));
        rounds += 1;
    }
    Gathered { scan, asks, rounds }
}

/// What rows of files are of use.
struct Keep<'k> {
    documents: Vec<(&'k Prepared, RefCell<Evaluation<'k, 'k, 'k>>, Vec<Question>)>,
}

impl<'k> Keep<'k> {
    fn new(wanted: &'k Wanted, tables: &'k [Tables<'k>], now_s: i64, limits: &Limits) -> Keep<'k> {
        let documents = wanted.documents.iter().zip(tables).map(|(document, tables)| {
            let mut evaluation = Evaluation::new(&document.prepared, tables, now_s);
            let definitions = document.definitions.iter().copied();
            let mut questions = document.native.questions(&document.prepared, definitions, &mut evaluation, limits);
            questions.retain(|q| q.table() == table("file") && q.asks().iter().any(|text| is_far(text, limits)));
            (&document.prepared, RefCell::new(evaluation), questions)
        });
        Keep { documents: documents.collect() }
    }

    fn takes(&self, row: &Row) -> bool {
        row.table != table("file")
            || self.documents.iter().any(|(prepared, evaluation, questions)| {
                let mut evaluation = evaluation.borrow_mut();
                questions.iter().any(|question| question.takes(prepared, row, &mut *evaluation))
            })
    }
}

fn is_far(text: &str, limits: &Limits) -> bool {
    item::parse(text, limits).is_ok_and(|item| matches!(&item.target, item::Target::Walk(walk) if walk.is_far()))
}

/// The asks that go far, or the others.
fn only(asks: &Collect, limits: &Limits, far: bool) -> Collect {
    let mut out = Collect::new();
    for (id, items) in asks {
        let walks = matches!(id.name(), "file" | "text");
        let kept: Vec<String> = items.iter().filter(|text| (walks && is_far(text, limits)) == far).cloned().collect();
        // An entry without items says that a table is wanted.
        if !kept.is_empty() || !far && items.is_empty() {
            out.insert(*id, kept);
        }
    }
    out
}

/// The tables of which more is asked than was looked at.
fn without(asks: &Collect, looked: &Collect) -> BTreeSet<TableId> {
    let is_new =
        |id: &TableId, items: &[String]| looked.get(id).is_none_or(|known| items.iter().any(|item| known.binary_search(item).is_err()));
    asks.iter().filter(|(id, items)| is_new(id, items)).map(|(id, _)| *id).collect()
}

fn merge(asks: &mut Collect, more: Collect) {
    for (id, items) in more {
        let known = asks.entry(id).or_default();
        known.extend(items);
        known.sort();
        known.dedup();
    }
}

/// Puts tables that were collected again in the place of what they were.
fn replace(scan: &mut Scan, part: Scan, tables: &BTreeSet<TableId>) {
    if let Some(TableData::Rows(rows)) = scan.tables.get_mut(&table("scope")) {
        let asked: BTreeSet<&str> = tables.iter().filter(|id| id.table().extent == Extent::Asked).map(|id| id.name()).collect();
        rows.retain(|row| row.get("table").as_str().is_none_or(|name| !asked.contains(name)));
    }
    for id in tables {
        scan.tables.remove(id);
    }
    for (id, data) in part.tables {
        match data {
            TableData::Rows(rows) if id == table("scope") => rows.into_iter().for_each(|row| scan.push(row)),
            data => drop(scan.tables.insert(id, data)),
        }
    }
    scan.normalise();
}
