//! An entity of an object with its values filled in, and what it says of a value that was found.

use std::sync::{Arc, OnceLock};

use super::super::model::{Check, Datatype, Entity, Operation, OvalResult, Stated};
use super::super::pattern::{Flags, Pattern};
use super::super::value;
use super::resolved::Settings;

/// Whether an entity takes a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    Yes,
    No,
    /// The comparison itself went wrong.
    Error(Box<str>),
}

/// One entity: any of its `values` may find something, what is found is held against all of them by `check`.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) name: Box<str>,
    pub(super) operation: Operation,
    pub(super) nil: bool,
    pub(super) values: Vec<Box<str>>,
    datatype: Datatype,
    check: Check,
    flags: Flags,
    settings: Settings,
    /// The values, cast when first asked.
    stated: OnceLock<Vec<value::Stated>>,
}

impl Want {
    /// `values` are those of the variable where there is one. `fold`: what is compared with is in lower case.
    pub(super) fn new(entity: &Entity, values: Option<&[Box<str>]>, fold: bool, flags: Flags, settings: &Settings) -> Want {
        let mut values: Vec<Box<str>> = match (&entity.value, values) {
            (Stated::Literal(text), _) => vec![text.clone()],
            (_, Some(values)) => values.to_vec(),
            _ => Vec::new(),
        };
        if fold && entity.operation != Operation::PatternMatch {
            values.iter_mut().for_each(|v| *v = v.to_lowercase().into());
        }
        Want {
            name: entity.name.clone(),
            operation: entity.operation,
            nil: matches!(entity.value, Stated::Nil),
            values,
            datatype: entity.datatype,
            check: entity.var_check,
            flags,
            settings: settings.clone(),
            stated: OnceLock::new(),
        }
    }

    /// The only values that can be accepted, where the operation says so.
    pub(super) fn exact(&self) -> Option<&[Box<str>]> {
        (self.operation == Operation::Equals && !self.nil).then_some(&self.values)
    }

    /// A pattern a value, whatever the operation says.
    pub(super) fn patterns(&self) -> impl Iterator<Item = Result<Arc<Pattern>, Box<str>>> {
        self.stated().iter().map(|s| s.pattern().cloned().ok_or_else(|| s.problem().unwrap_or("not a pattern match").into()))
    }

    fn stated(&self) -> &[value::Stated] {
        self.stated.get_or_init(|| {
            let mut pattern = |text: &str| Pattern::new(text, self.flags, &self.settings.limits).map(Arc::new).map_err(|e| e.to_string());
            let cast = |v: &str| value::Stated::new(self.datatype, self.operation, v, self.settings.compat, &mut pattern);
            self.values.iter().map(|v| &**v).map(cast).collect()
        })
    }

    pub(super) fn accepts(&self, actual: &str) -> Accepts {
        let (mut yes, mut no) = (0usize, 0usize);
        for stated in self.stated() {
            match stated.compare(actual, self.settings.compat) {
                OvalResult::True => yes += 1,
                OvalResult::False => no += 1,
                _ => {
                    let why = stated.why(actual, self.settings.compat).unwrap_or_default();
                    return Accepts::Error(format!("{}: {why}", self.name).into());
                }
            }
        }
        let taken = match self.check {
            Check::All => yes > 0 && no == 0,
            Check::AtLeastOne => yes > 0,
            Check::NoneSatisfy => yes == 0 && no > 0,
            Check::OnlyOne => yes == 1,
        };
        if taken { Accepts::Yes } else { Accepts::No }
    }
}
