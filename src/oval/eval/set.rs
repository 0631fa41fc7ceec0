//! Sets of which the facts say nothing: resolved from their operands.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::facts::{Collected, Flag, Item};
use super::super::model::{Filter, OvalResult, Set, SetOperand, SetOperator};
use super::super::truth;
use super::run::Evaluation;

type Items<'x> = Vec<Arc<Item<'x>>>;

impl<'x> Evaluation<'_, 'x, '_> {
    /// `None`: nothing is known of an operand.
    pub(super) fn set(&mut self, set: &Set) -> Option<Collected<'x>> {
        let mut operands = Vec::with_capacity(2);
        for operand in &set.operands {
            operands.push(match operand {
                SetOperand::Set(inner) => self.set(inner)?,
                SetOperand::Object(object) => {
                    let collected = self.object(*object)?;
                    self.filtered(&collected, &set.filters)
                }
            });
        }
        let mut operands = operands.into_iter();
        let first = operands.next()?;
        let Some(second) = operands.next() else {
            return Some(emptied(Collected { items: distinct(first.items), ..first }));
        };
        let flag = truth::set_flag(set.operator, first.flag, second.flag);
        let items = combine(set.operator, first.items, second.items);
        let message = if flag == Flag::Complete { None } else { first.message.or(second.message) };
        Some(emptied(Collected { flag, items, message }))
    }

    fn filtered(&mut self, collected: &Collected<'x>, filters: &[Filter]) -> Collected<'x> {
        let mut out = collected.clone();
        for filter in filters {
            self.fill(filter.state);
            out.items.retain(|item| (self.prepared.state(filter.state, item, &self.slots) == OvalResult::True) == filter.include);
        }
        emptied(out)
    }
}

/// Where everything was seen and nothing is left, there is nothing.
fn emptied(collected: Collected<'_>) -> Collected<'_> {
    match collected.flag {
        Flag::Complete if collected.items.is_empty() => Collected { flag: Flag::DoesNotExist, ..collected },
        _ => collected,
    }
}

/// Items are the same if they say the same.
fn distinct(items: Items<'_>) -> Items<'_> {
    let mut seen = HashSet::with_capacity(items.len());
    items.into_iter().filter(|item| seen.insert(item.clone())).collect()
}

fn combine<'x>(operator: SetOperator, first: Items<'x>, second: Items<'x>) -> Items<'x> {
    match operator {
        SetOperator::Union => distinct(first.into_iter().chain(second).collect()),
        SetOperator::Intersection | SetOperator::Complement => {
            let second: HashSet<Arc<Item<'x>>> = second.into_iter().collect();
            let both = operator == SetOperator::Intersection;
            distinct(first.into_iter().filter(|item| second.contains(item) == both).collect())
        }
    }
}
