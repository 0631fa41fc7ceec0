//! System characteristics against the objects of a content, by id.

use std::cmp::Reverse;
use std::sync::Arc;

use super::super::facts::{Collected, Facts, Flag, Variables};
use super::super::model::{Content, ObjectId};
use super::SystemCharacteristics;

/// What was collected, by object.
#[derive(Debug)]
pub struct Bound<'x> {
    objects: Vec<Option<Arc<Collected<'x>>>>,
}

impl<'x> Facts<'x> for Bound<'x> {
    fn collected(&self, object: ObjectId, _: &mut dyn Variables) -> Option<Arc<Collected<'x>>> {
        self.objects.get(object.index()).cloned().flatten()
    }
}

impl Bound<'_> {
    /// How many of the content's objects were collected.
    pub fn known(&self) -> usize {
        self.objects.iter().filter(|o| o.is_some()).count()
    }
}

/// Binds all that one upload brought: an object is taken from the characteristics that know most objects of this content, else from others.
pub fn bind<'x>(all: &[SystemCharacteristics<'x>], content: &Content) -> Bound<'x> {
    let mut bound: Vec<Bound<'x>> = all.iter().map(|one| one.bind(content)).collect();
    bound.sort_by_key(|b| Reverse(b.known()));
    let mut bound = bound.into_iter();
    let mut best = bound.next().unwrap_or(Bound { objects: Vec::new() });
    for other in bound {
        for (object, other) in best.objects.iter_mut().zip(other.objects) {
            if object.is_none() {
                *object = other;
            }
        }
    }
    best
}

impl<'x> SystemCharacteristics<'x> {
    pub fn bind(&self, content: &Content) -> Bound<'x> {
        let mut shared = Shared::default();
        Bound { objects: content.objects.iter().map(|o| self.collected(&o.id, &mut shared)).collect() }
    }

    fn collected(&self, id: &str, shared: &mut Shared<'x>) -> Option<Arc<Collected<'x>>> {
        let mut instances = self.object(id);
        let first = instances.next()?;
        if first.references.is_empty() && first.messages.is_empty() && instances.next().is_none() {
            return Some(shared.plain(first.flag));
        }
        let mut collected = Collected { flag: first.flag, items: Vec::with_capacity(first.references.len()), message: None };
        let mut seen: Vec<u64> = Vec::new();
        for (nth, object) in self.object(id).enumerate() {
            if nth > 0 {
                collected.flag = union(collected.flag, object.flag);
                seen.sort_unstable();
            }
            let known = seen.len();
            for number in object.references {
                // Instances may share items; within one, the document lists each once.
                if seen.get(..known).is_some_and(|seen| seen.binary_search(number).is_ok()) {
                    continue;
                }
                seen.push(*number);
                match self.item(*number) {
                    Some(item) => collected.items.push(Arc::clone(item)),
                    None => {
                        collected.flag = union(collected.flag, Flag::Incomplete);
                        collected.message = Some(format!("its item {number} is not in the document").into());
                    }
                }
            }
            if collected.message.is_none() && !object.messages.is_empty() {
                collected.message = Some(object.messages.join("; ").into());
            }
        }
        Some(Arc::new(collected))
    }
}

/// Most objects are not there, or have nothing else to say.
#[derive(Default)]
struct Shared<'x> {
    plain: Vec<Arc<Collected<'x>>>,
}

impl<'x> Shared<'x> {
    fn plain(&mut self, flag: Flag) -> Arc<Collected<'x>> {
        if let Some(found) = self.plain.iter().find(|c| c.flag == flag) {
            return Arc::clone(found);
        }
        let new = Arc::new(Collected { flag, items: Vec::new(), message: None });
        self.plain.push(Arc::clone(&new));
        new
    }
}

/// The flag of one object that was collected twice: as of a UNION.
fn union(a: Flag, b: Flag) -> Flag {
    use Flag::*;
    match (a, b) {
        (Error, _) | (_, Error) => Error,
        (Incomplete, _) | (_, Incomplete) => Incomplete,
        (NotCollected, NotCollected | NotApplicable) | (NotApplicable, NotCollected) => NotCollected,
        (NotCollected, _) | (_, NotCollected) => Incomplete,
        (Complete, _) | (_, Complete) => Complete,
        (DoesNotExist, _) | (_, DoesNotExist) => DoesNotExist,
        (NotApplicable, NotApplicable) => NotApplicable,
    }
}
