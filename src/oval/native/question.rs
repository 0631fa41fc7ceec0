//! Objects asked about rows that no scan holds yet: for a collector that goes over a whole disk and keeps what is of use.

use super::super::eval::Prepared;
use super::super::facts::Variables;
use super::super::model::{Body, DefinitionId, ObjectId};
use super::resolved::{Resolved, Settings};
use super::{Native, closure, types};
use crate::limits::Limits;
use crate::scan::Row;
use crate::scan::table::TableId;

/// An object with the values that its variables have so far.
#[derive(Debug)]
pub struct Question {
    object: ObjectId,
    resolved: Resolved,
}

impl Native {
    /// The tables that definitions read, whether or not anything is to be asked of them.
    pub fn tables(&self, prepared: &Prepared, definitions: impl IntoIterator<Item = DefinitionId>) -> std::collections::BTreeSet<TableId> {
        let content = prepared.content();
        let objects = closure::objects(content, definitions).into_iter();
        objects.filter_map(|id| content.objects.get(id.index())).filter_map(|o| types::table(&o.kind)).collect()
    }

    /// The objects that definitions lean on, without sets and those whose variables have no values.
    pub fn questions(
        &self,
        prepared: &Prepared,
        definitions: impl IntoIterator<Item = DefinitionId>,
        variables: &mut dyn Variables,
        limits: &Limits,
    ) -> Vec<Question> {
        let content = prepared.content();
        let settings = Settings { compat: prepared.compat(), limits: limits.clone() };
        let mut questions = Vec::new();
        for id in closure::objects(content, definitions) {
            let Some(object) = content.objects.get(id.index()).filter(|o| !matches!(o.body, Body::Set(_))) else { continue };
            let resolved = Resolved::new(object, self.read(id), settings.clone(), |v| Some(variables.values(v)));
            questions.extend(resolved.ok().map(|resolved| Question { object: id, resolved }));
        }
        questions
    }
}

impl Question {
    pub fn table(&self) -> TableId {
        self.resolved.table()
    }

    /// What must have been looked at.
    pub fn asks(&self) -> &[String] {
        self.resolved.asks()
    }

    /// Whether a row gives it an item, or takes from its flag. What joins rows takes all of them.
    pub fn takes(&self, prepared: &Prepared, row: &Row, variables: &mut dyn Variables) -> bool {
        if row.table != self.resolved.table() {
            return false;
        }
        if self.resolved.is_whole() {
            return true;
        }
        let found = self.resolved.items_of_row(row);
        found.flag.is_some() || found.items.iter().any(|item| prepared.passes_all_filters(self.object, item, variables))
    }
}
