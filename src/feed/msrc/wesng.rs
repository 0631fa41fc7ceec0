//! WES-NG's definitions: a CSV row for each (update, CVE, product), as a stream, in; an advisory for each CVE out.
//!
//! Rows that differ in the product alone are one [`Affected`] with all those products, so that 600,000 rows stay small.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use super::super::model::{Advisory, Affected, Fix, FixState, Severity, Source, Target, Versions, Windows};
use super::super::{Reading, Sink, archive, time};
use super::{kb, kbs};
use crate::limits::Limits;

const COLUMNS: [&str; 10] =
    ["DatePosted", "CVE", "BulletinKB", "Title", "AffectedProduct", "AffectedComponent", "Severity", "Impact", "Supersedes", "Exploits"];

/// What rows of one group share: date, bulletin, component, severity, impact, what is superseded.
type Shared = [Arc<str>; 6];

struct Gathered {
    title: Arc<str>,
    groups: BTreeMap<Shared, BTreeSet<Arc<str>>>,
    exploits: BTreeSet<Arc<str>>,
}

#[derive(Default)]
struct Table {
    by_id: BTreeMap<Arc<str>, Gathered>,
    /// Every text once.
    pool: BTreeSet<Arc<str>>,
    /// Rows that are not the same as an earlier one.
    kept: usize,
}

/// `definitions.zip`, or one of its CSV files.
pub fn read(file: &str, bytes: &[u8], limits: &Limits, sink: &mut dyn Sink) {
    let mut table = Table::default();
    archive::each(file, bytes, limits, sink, &|name| name.ends_with(".csv"), &mut |reading, input| rows(reading, input, &mut table));
    let mut reading = Reading::new(file, limits, sink);
    for (id, gathered) in table.by_id {
        let advisory = advisory(&mut reading, &id, gathered);
        reading.emit(advisory);
    }
}

/// The same text once. Products, severities and impacts repeat by the hundred thousand.
fn interned(pool: &mut BTreeSet<Arc<str>>, text: &str) -> Arc<str> {
    match pool.get(text) {
        Some(known) => known.clone(),
        None => {
            let new: Arc<str> = text.into();
            pool.insert(new.clone());
            new
        }
    }
}

fn rows(reading: &mut Reading, input: &mut dyn Read, table: &mut Table) {
    let Table { by_id, pool, kept } = table;
    let (input, slack) = archive::Leash::new(input);
    let mut csv = csv::ReaderBuilder::new().has_headers(false).flexible(true).comment(Some(b'#')).from_reader(input);
    let mut record = csv::ByteRecord::new();
    let mut place: Option<[usize; 10]> = None;
    loop {
        slack.renew();
        match csv.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return,
            Err(e) => return reading.refuse("csv", "", e.to_string()),
        }
        let field = |at: usize| String::from_utf8_lossy(record.get(at).unwrap_or_default());
        let Some(columns) = place else {
            let names: Vec<String> = (0..record.len()).map(|at| field(at).into_owned()).collect();
            let at = COLUMNS.map(|c| names.iter().position(|n| n == c).unwrap_or(usize::MAX));
            if at.contains(&usize::MAX) {
                return reading.refuse("wes-ng", "line 1", "the columns are not DatePosted, CVE, BulletinKB, Title, AffectedProduct, ...");
            }
            place = Some(at);
            continue;
        };
        let line = || format!("line {}", record.position().map_or(0, csv::Position::line));
        if record.len() < COLUMNS.len() {
            reading.refuse("wes-ng", &line(), format!("{} of {} columns", record.len(), COLUMNS.len()));
            continue;
        }
        let [date, cve, bulletin, title, product, component, severity, impact, supersedes, exploits] = columns.map(field);
        let id = match (cve.trim(), kb(&bulletin)) {
            ("", Some(kb)) => interned(pool, &kb),
            ("", None) => {
                reading.refuse("wes-ng", &line(), "names neither a CVE nor a KB");
                continue;
            }
            (cve, _) => interned(pool, cve),
        };
        if by_id.len() >= reading.limits.feed_advisories && !by_id.contains_key(&id) {
            return reading.refuse("limit", &line(), format!("over {} advisories (limits.feed_advisories)", by_id.len()));
        }
        let gathered = match by_id.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(Gathered { title: interned(pool, title.trim()), groups: BTreeMap::new(), exploits: BTreeSet::new() })
            }
        };
        let shared = [date, bulletin, component, severity, impact, supersedes].map(|f| interned(pool, f.trim()));
        *kept += usize::from(gathered.groups.entry(shared).or_default().insert(interned(pool, product.trim())));
        if *kept > reading.limits.feed_rows {
            return reading.refuse("limit", &line(), format!("over {} rows (limits.feed_rows)", reading.limits.feed_rows));
        }
        let urls = exploits.split([',', ' ']).filter(|u| !u.is_empty());
        gathered.exploits.extend(urls.map(|u| interned(pool, u)));
    }
}

fn advisory(reading: &mut Reading, id: &str, gathered: Gathered) -> Advisory {
    let mut out = Advisory::new(Source::WesNg, "Microsoft", id);
    out.title = (*gathered.title).into();
    out.exploitation.exploits = gathered.exploits.iter().map(|e| (**e).into()).collect();
    if id.starts_with("CVE-") || id.starts_with("ADV") {
        out.references = vec![format!("https://msrc.microsoft.com/update-guide/vulnerability/{id}").into()];
    }
    for ([date, bulletin, component, severity, impact, supersedes], products) in gathered.groups {
        let target = Target::Windows(Windows { products: products.into_iter().collect(), component });
        let update = kb(&bulletin);
        let state = if bulletin.is_empty() { FixState::NoFix } else { FixState::Fixed };
        let mut entry = Affected::new(target, Versions::all(None), state);
        let (older, clean) = kbs(&supersedes);
        if !clean {
            reading.note(
                "wes-ng",
                id,
                format!("`{}` supersedes `{}`, which is not a list of KBs", bulletin, super::super::json::short(&supersedes)),
            );
        }
        if !bulletin.is_empty() {
            let kind = if update.is_none() { (*bulletin).into() } else { "".into() };
            entry.fixes.push(Fix { kb: update.unwrap_or_default(), supersedes: older, kind, ..Fix::default() });
        }
        entry.severity = Severity::of(&severity);
        entry.reason = (*impact).into();
        entry.published = time::compact_date(&date);
        if entry.published.is_none() && !date.is_empty() {
            reading.note("date", id, format!("`{date}` is no date such as 20170314"));
        }
        out.published = [out.published, entry.published].into_iter().flatten().min();
        out.modified = [out.modified, entry.published].into_iter().flatten().max();
        // The worst of what its products have.
        let level = |s: &Option<Severity>| s.as_ref().and_then(|s| s.level);
        if level(&entry.severity) > level(&out.severity) || out.severity.is_none() {
            out.severity.clone_from(&entry.severity);
        }
        out.affected.push(entry);
    }
    out
}
