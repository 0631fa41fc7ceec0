//! The values that a profile gives, and texts with them filled in.

use std::collections::BTreeMap;

use super::settings::Settings;
use crate::xccdf::read::{Benchmark, Budget, ChosenValue, Spent, Text, Value};

pub(super) struct Values<'s> {
    benchmark: &'s Benchmark,
    by_id: BTreeMap<&'s str, (&'s Value, Result<Vec<String>, String>)>,
}

impl<'s> Values<'s> {
    pub(super) fn new(benchmark: &'s Benchmark, settings: &Settings) -> Values<'s> {
        let by_id = benchmark.values.iter().map(|v| (v.id.as_str(), (v, value(v, settings)))).collect();
        Values { benchmark, by_id }
    }

    /// The values, or why there are none.
    pub(super) fn get(&self, id: &str) -> Result<&[String], String> {
        match self.by_id.get(id) {
            Some((_, Ok(values))) => Ok(values),
            Some((_, Err(why))) => Err(why.clone()),
            None => Err(format!("value `{id}` is not in the benchmark")),
        }
    }

    /// All of them in document order, for result documents.
    pub(super) fn list(&self) -> Vec<(String, Vec<String>)> {
        self.benchmark.values.iter().filter_map(|v| Some((v.id.clone(), self.get(&v.id).ok()?.to_vec()))).collect()
    }

    pub(super) fn text(&self, text: &Text, budget: &mut Budget) -> Result<String, Spent> {
        text.fill(budget, &|id, title| {
            let Some((value, values)) = self.by_id.get(id) else { return self.benchmark.plain_texts.get(id).cloned() };
            if title {
                // A title within a title would need filling in again; its plain parts are enough.
                let parts =
                    value.title.0.iter().filter_map(|p| if let crate::xccdf::read::Piece::Plain(t) = p { Some(t.as_str()) } else { None });
                return Some(parts.collect());
            }
            values.as_ref().ok().map(|v| v.join(", "))
        })
    }
}

/// `set-value` has the last word, but a selector that does not exist spoils it all the same.
fn value(value: &Value, settings: &Settings) -> Result<Vec<String>, String> {
    let selector = settings.selectors.get(value.id.as_str()).copied().flatten();
    let chosen = match value.choose(selector) {
        ChosenValue::Values(values) => values.to_vec(),
        ChosenValue::Empty => vec![String::new()],
        ChosenValue::NoSuchSelector => {
            return Err(format!("value `{}` has nothing for the selector `{}`", value.id, selector.unwrap_or_default()));
        }
    };
    Ok(settings.values.get(value.id.as_str()).map_or(chosen, |set| set.to_vec()))
}
