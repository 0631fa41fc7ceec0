//! Why one patch stands at an endpoint as it does: the rows that say so, in words and as they are.

use std::cell::OnceCell;

use serde::Serialize;
use serde_json::Value;

use super::super::explain::speaking;
use super::super::{PatchId, Says, State};
use super::standing::{mends, new_stand};
use super::{ExemptionView, Here, Name, Part, Stand, Standing, parts, versions};

/// A row that was decisive.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    pub table: &'static str,
    pub row: Value,
    pub says: Says,
    pub superseded: bool,
    /// The versions that are affected, as far as they are known.
    pub affected: String,
    pub fixed: String,
    /// The vendor's reason.
    pub reason: Box<str>,
}

/// Why a patch stands as it does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Why {
    pub endpoint: String,
    #[serde(flatten)]
    pub here: Here,
    pub because: String,
    pub rank: Vec<Part>,
    pub rows: Vec<Said>,
    pub decided: Option<ExemptionView>,
}

impl Standing<'_> {
    /// Why a patch stands as it does. Ask it of a standing that was made fully.
    pub fn why(&self, patch: PatchId) -> Option<Why> {
        let silent = OnceCell::new();
        let stand = match self.stand(patch) {
            Some(stand) => stand,
            None => silent.get_or_init(|| self.silent(patch)).as_ref()?,
        };
        let rows = stand.said.iter().filter_map(|(at, note)| {
            let row = self.row(*at)?;
            let entry = self.definition(stand).and_then(|d| speaking(d, row, note.says())).map(|(e, _)| e);
            Some(Said {
                table: row.table.name(),
                row: serde_json::from_slice(&row.canonical()).unwrap_or_default(),
                says: note.says(),
                superseded: note.superseded(),
                affected: entry.map(|e| versions(&e.versions)).unwrap_or_default(),
                fixed: entry.map_or("", mends).to_owned(),
                reason: entry.map_or("".into(), |e| e.reason.clone()),
            })
        });
        let (here, rows) = (self.here(stand)?, rows.collect());
        Some(Why {
            endpoint: self.host.endpoint.clone(),
            because: self.because(stand, &here),
            rank: self.rank(stand).map(parts).unwrap_or_default(),
            decided: stand.exemption.and_then(|at| self.host.exemptions.get(at)).map(ExemptionView::of),
            here,
            rows,
        })
    }

    /// A patch of which no row says anything: not applicable, unless what decides it was not collected.
    fn silent(&self, patch: PatchId) -> Option<Stand> {
        let mut stand = new_stand(Name::of(self.catalog, patch)?, patch);
        if self.host.is_undecided() {
            stand.state = State::NotChecked;
        }
        Some(stand)
    }

    fn because(&self, stand: &Stand, here: &Here) -> String {
        let places = |says: &[Says]| {
            let named = here.packages.iter().filter(|p| says.contains(&p.says)).map(|p| match (&*p.installed, &*p.fixed) {
                (installed, "") => format!("{} {installed}", p.name),
                (installed, fixed) => format!("{} {installed} is before {fixed}", p.name),
            });
            let mut named: Vec<String> = named.map(|n| n.trim_end().to_owned()).collect();
            let more = named.len().saturating_sub(5);
            named.truncate(5);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            format!("{}{more}", named.join(", "))
        };
        let needed = || places(&[Says::Lacks, Says::Wants, Says::Old]);
        let names = |names: &[Name]| names.iter().map(|n| &*n.id).collect::<Vec<_>>().join(", ");
        match stand.state {
            State::Missing => needed(),
            State::Superseded => format!("{}; {} brings it along", needed(), names(&here.brought_by)),
            State::Exempt => {
                let decided = stand.exemption.and_then(|at| self.host.exemptions.get(at));
                let why = decided.map_or(String::new(), |e| format!("{} approved by {}: {}", e.id, e.approver, e.reason));
                format!("{}; {why}", needed())
            }
            State::PendingReboot => format!("it is installed, and what runs is older: {}", places(&[Says::Old])),
            State::NoFix => format!("affected, and there is no fix so far: {}", places(&[Says::NoFix])),
            State::WillNotFix => format!("affected, and the vendor will not fix it: {}", places(&[Says::WillNotFix])),
            State::UnderInvestigation => format!("the vendor is looking into it: {}", places(&[Says::Investigating])),
            State::Installed => "it is there, or something later that has it".to_owned(),
            State::NotApplicable => "nothing that it is about is installed here".to_owned(),
            State::NotChecked => format!("the scan does not have the table {}", self.host.decisive()),
        }
    }
}
