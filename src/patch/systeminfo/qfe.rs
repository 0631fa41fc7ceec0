//! Lists of updates: `wmic qfe` and `Get-HotFix`, as columns, as CSV, and as blocks of `name: value`.

use std::collections::BTreeMap;

use super::text::updates_in;
use crate::scan::Row;
use crate::scan::table::TableId;

/// Longer descriptions are none.
const DESCRIPTION_CHARS: usize = 80;

/// What a list says of an update beside its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hotfix {
    pub(super) description: Option<String>,
    /// `2026-11-10`
    pub(super) installed_on: Option<String>,
}

impl Hotfix {
    pub(super) fn row(self, table: TableId, id: &str, system: Option<&str>) -> Row {
        let row = Row::new(table).with("id", id).with("system", system);
        row.with("description", self.description).with("installed_on", self.installed_on)
    }
}

/// The columns that matter; WMI does not translate their names.
#[derive(Clone, Copy)]
enum Field {
    Id,
    Description,
    Date,
}

impl Field {
    fn of(name: &str) -> Option<Field> {
        match name.trim().to_ascii_lowercase().as_str() {
            "hotfixid" => Some(Field::Id),
            "description" => Some(Field::Description),
            "installedon" => Some(Field::Date),
            _ => None,
        }
    }
}

/// One update's cells.
#[derive(Default)]
struct Cells {
    id: String,
    fix: Hotfix,
}

impl Cells {
    fn set(&mut self, field: Field, value: &str, american: bool) {
        let value = value.trim();
        match field {
            Field::Id => self.id = value.to_owned(),
            Field::Description if !value.is_empty() && value.chars().count() <= DESCRIPTION_CHARS => {
                self.fix.description = Some(value.to_owned());
            }
            Field::Description => {}
            Field::Date => self.fix.installed_on = date(value, american),
        }
    }

    fn keep(self, into: &mut BTreeMap<String, Hotfix>) {
        if let [id] = updates_in(&self.id).as_slice() {
            into.insert(id.clone(), self.fix);
        }
    }
}

/// Every update that is named anywhere, with what is said of it where the columns are known.
pub(super) fn read(text: &str) -> BTreeMap<String, Hotfix> {
    let mut out: BTreeMap<String, Hotfix> = updates_in(text).into_iter().map(|id| (id, Hotfix::default())).collect();
    // wmic hands on what Windows keeps, month first; Get-HotFix writes dates as its user is used to.
    let american = text.contains("ServicePackInEffect");
    let Some((at, heading)) = text.lines().enumerate().find(|(_, l)| l.contains("HotFixID")) else { return out };
    if blocks(text, american, &mut out) {
        return out;
    }
    if heading.contains(',') {
        table(text, at, american, &mut out);
    } else {
        columns(text, at, american, &mut out);
    }
    out
}

/// `HotFixID=KB1` or `HotFixID : KB1`. What is said once more is of the next update; empty lines stand between all of them or between none.
fn blocks(text: &str, american: bool, out: &mut BTreeMap<String, Hotfix>) -> bool {
    let mut cells = Cells::default();
    let mut any = false;
    for line in text.lines() {
        let Some((field, value)) = line.split_once(['=', ':']).and_then(|(name, value)| Some((Field::of(name)?, value))) else { continue };
        any = true;
        if !cells.id.is_empty() && !matches!(field, Field::Date) {
            std::mem::take(&mut cells).keep(out);
        }
        cells.set(field, value, american);
    }
    cells.keep(out);
    any
}

fn table(text: &str, heading: usize, american: bool, out: &mut BTreeMap<String, Hotfix>) {
    let lines: Vec<&str> = text.lines().skip(heading).map(str::trim).filter(|l| !l.is_empty()).collect();
    let body = lines.join("\n");
    let mut csv = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(body.as_bytes());
    let mut records = csv.records().map_while(Result::ok);
    let Some(names) = records.next() else { return };
    let fields: Vec<Option<Field>> = names.iter().map(Field::of).collect();
    for record in records {
        let mut cells = Cells::default();
        for (value, field) in record.iter().zip(&fields) {
            if let Some(field) = field {
                cells.set(*field, value, american);
            }
        }
        cells.keep(out);
    }
}

/// Columns of fixed widths, which begin where their names do.
fn columns(text: &str, heading: usize, american: bool, out: &mut BTreeMap<String, Hotfix>) {
    let mut lines = text.lines().skip(heading);
    let names: Vec<char> = lines.next().unwrap_or("").chars().collect();
    let begins = |at: usize| {
        let blank = |at: usize| names.get(at).is_none_or(|c| c.is_whitespace());
        !blank(at) && (at == 0 || blank(at - 1))
    };
    let starts: Vec<usize> = (0..names.len()).filter(|at| begins(*at)).collect();
    let cut = |line: &[char], nth: usize| -> String {
        let end = starts.get(nth + 1).copied().unwrap_or(usize::MAX).min(line.len());
        let start = starts.get(nth).copied().unwrap_or(usize::MAX).min(end);
        line.get(start..end).unwrap_or_default().iter().collect()
    };
    let fields: Vec<Option<Field>> = (0..starts.len()).map(|nth| Field::of(&cut(&names, nth))).collect();
    for line in lines {
        let line: Vec<char> = line.chars().collect();
        let mut cells = Cells::default();
        for (nth, field) in fields.iter().enumerate() {
            if let Some(field) = field {
                cells.set(*field, &cut(&line, nth), american);
            }
        }
        cells.keep(out);
    }
}

/// `2019-03-02` of `2019-03-02...`, `20190302` and, if months come first, `3/2/2019`. What could be meant otherwise is left out.
fn date(text: &str, american: bool) -> Option<String> {
    let word = text.split_whitespace().next()?;
    let number = |n: &str| n.parse::<i16>().ok();
    let parts: Vec<&str> = word.split(['-', '/', '.', 'T']).collect();
    let (year, month, day) = match parts.as_slice() {
        [all] if all.len() == 8 && all.is_ascii() => (number(all.get(..4)?)?, number(all.get(4..6)?)?, number(all.get(6..)?)?),
        [year, month, day, ..] if year.len() == 4 => (number(year)?, number(month)?, number(day)?),
        [month, day, year] if american && year.len() == 4 && word.contains('/') => (number(year)?, number(month)?, number(day)?),
        _ => return None,
    };
    let date = jiff::civil::Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    Some(date.to_string())
}
