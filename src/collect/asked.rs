//! The tables that hold only what was asked: item by item, with a row in `scope` for each.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::item::{self, Item, Target};
use super::root::Matches;
use super::walk::Walker;
use super::{Host, row, table};
use crate::scan::Row;

/// What one path came to: its rows, nothing where there is nothing, or why it could not be looked at.
pub(super) type One = Result<Option<Vec<Row>>, String>;

/// How a path was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wish {
    /// By its own name.
    pub(super) exact: bool,
    /// By something else than a walk through folders that nobody named.
    near: bool,
    pub(super) hash: bool,
    pub(super) modified: bool,
}

/// Every path once, however many items lead to it, with all that is wished for it.
#[derive(Default)]
struct Paths {
    ids: BTreeMap<Rc<str>, usize>,
    wishes: Vec<(Rc<str>, Wish)>,
}

/// What an item led to.
struct Looked<'i> {
    item: &'i str,
    is_walk: bool,
    is_far: bool,
    paths: Vec<usize>,
    problem: Option<String>,
}

/// Looks at everything that was asked of a table. `look` is told how the path was asked for.
///
/// Each path is looked at once: no path has two rows that differ. Rows of what only far walks found are kept where
/// `host.keep` says so.
pub(super) fn each(host: &Host<'_>, name: &str, mut look: impl FnMut(&str, Wish) -> One) -> Vec<Row> {
    let items = host.asks.get(&table(name)).map_or(&[][..], Vec::as_slice);
    let mut walker = Walker::new(host.root);
    let mut paths = Paths::default();
    let mut looked: Vec<Looked<'_>> = items.iter().map(|text| lead(host, text, &mut walker, &mut paths)).collect();
    // Walks come last: they are what may be too much.
    looked.sort_by_key(|l| (l.is_walk, l.is_far));
    let mut rows = Vec::new();
    let mut scopes = Vec::new();
    // What is known of each path: whether it is there.
    let mut seen: Vec<Option<Result<bool, String>>> = vec![None; paths.wishes.len()];
    for Looked { item, is_walk, is_far, paths: ids, mut problem } in looked {
        let before = rows.len();
        let mut present = false;
        let mut mine = Vec::new();
        for id in ids {
            let (Some((path, wish)), Some(known)) = (paths.wishes.get(id), seen.get_mut(id)) else { continue };
            if known.is_none() {
                mine.push(id);
            }
            let known = known.get_or_insert_with(|| match look(path, *wish) {
                Ok(Some(mut more)) => {
                    if is_far && !wish.near {
                        more.retain(|row| (host.keep)(row));
                    }
                    rows.extend(more);
                    Ok(true)
                }
                Ok(None) => Ok(false),
                Err(why) => Err(why),
            });
            match known {
                Ok(there) => present |= *there,
                Err(why) => problem = Some(why.clone()),
            }
            // One walk must not cost the other items their table.
            if is_walk && rows.len() > host.limits.rows / 2 {
                let why = format!("more than {} rows of `{name}`", host.limits.rows / 2);
                rows.truncate(before);
                mine.iter().filter_map(|id| seen.get_mut(*id)?.replace(Err(why.clone()))).for_each(drop);
                problem = Some(why);
                break;
            }
        }
        scopes.push(scope(name, item, present, problem));
    }
    rows.extend(scopes);
    rows
}

fn lead<'i>(host: &Host<'_>, text: &'i str, walker: &mut Walker<'_>, paths: &mut Paths) -> Looked<'i> {
    let (found, wish, is_walk, is_far) = match item::parse(text, host.limits) {
        Err(why) => (Matches { paths: Vec::new(), problem: Some(why) }, Wish::default(), false, false),
        Ok(Item { target, modified, hash }) => {
            let is_far = matches!(&target, Target::Walk(walk) if walk.is_far());
            let wish = Wish { exact: matches!(target, Target::Path(_)), near: !is_far, hash, modified };
            match target {
                Target::Path(path) => (Matches { paths: vec![path], problem: None }, wish, false, false),
                Target::Glob(pattern) => (host.root.expand(&pattern), wish, false, false),
                Target::Walk(walk) => (walker.run(&walk), wish, true, is_far),
            }
        }
    };
    let ids = found.paths.into_iter().map(|path| paths.add(path, wish)).collect();
    Looked { item: text, is_walk, is_far, paths: ids, problem: found.problem }
}

impl Paths {
    fn add(&mut self, path: String, wish: Wish) -> usize {
        let path: Rc<str> = path.into();
        let id = *self.ids.entry(path.clone()).or_insert(self.wishes.len());
        match self.wishes.get_mut(id) {
            Some((_, known)) => {
                known.exact |= wish.exact;
                known.near |= wish.near;
                known.hash |= wish.hash;
                known.modified |= wish.modified;
            }
            None => self.wishes.push((path, wish)),
        }
        id
    }
}

pub(super) fn scope(name: &str, item: &str, present: bool, problem: Option<String>) -> Row {
    let state = match (&problem, present) {
        (Some(_), _) => "error",
        (None, true) => "present",
        (None, false) => "absent",
    };
    row("scope").with("table", name).with("item", item).with("state", state).with("message", problem)
}
