//! Microsoft's documents for hosts of our own: builds with and without revision, installed updates, and what they replace.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster::feed::{Batch, Sink, msrc};
use muster::limits::Limits;
use muster::patch::catalog::{Catalog, Part, Segment, Threats, compile};
use muster::patch::define::{Definition, Kind, define};
use muster::patch::{State, explain, stand};
use muster::scan::Row;
use muster::scan::table::TableId;

const CVRF: &str = r#"{"DocumentTitle":{"Value":"t"},"DocumentTracking":{"Identification":{"ID":{"Value":"2024-Jan"}}},
"ProductTree":{"FullProductName":[{"ProductID":"1","Value":"Windows 10 Version 22H2 for x64-based Systems"},{"ProductID":"2","Value":"Windows Server 2022"},
  {"ProductID":"3","Value":"Windows Server 2022 (Server Core installation)"},{"ProductID":"4","Value":"Windows Server 2022, 23H2 Edition (Server Core installation)"}]},
"Vulnerability":[
{"CVE":"CVE-2023-9","Title":{"Value":"Old"},"ProductStatuses":[{"ProductID":["1","2"],"Type":3}],"Remediations":[
  {"Description":{"Value":"5033372"},"ProductID":["1"],"Type":2,"SubType":"Security Update","FixedBuild":"10.0.19045.3803"},
  {"Description":{"Value":"5033118"},"ProductID":["2"],"Type":2,"SubType":"Security Update","FixedBuild":""}]},
{"CVE":"CVE-2024-1","Title":{"Value":"New"},"ProductStatuses":[{"ProductID":["1","2","3","4"],"Type":3}],"Remediations":[
  {"Description":{"Value":"5034122"},"Supercedence":"5033372","ProductID":["1"],"Type":2,"SubType":"Security Update","FixedBuild":"10.0.19045.3930"},
  {"Description":{"Value":"5034129"},"Supercedence":"5033118","ProductID":["2","3"],"Type":2,"SubType":"Security Update","FixedBuild":""},
  {"Description":{"Value":"5034130"},"ProductID":["4"],"Type":2,"SubType":"Security Update","FixedBuild":"10.0.25398.643"}]},
{"CVE":"CVE-2024-2","Title":{"Value":"Open"},"ProductStatuses":[{"ProductID":["2"],"Type":3}]}]}"#;

const PACKS: &str = "\"DatePosted\",\"CVE\",\"BulletinKB\",\"Title\",\"AffectedProduct\",\"AffectedComponent\",\"Severity\",\"Impact\",\"Supersedes\",\"Exploits\"\n\
    \"20110315\",\"SP7X64SP1\",\"976932\",\"Windows 7 Service Pack 1\",\"Windows 7 for x64-based Systems\",\"\",\"Critical\",\"\",\"\",\"\"\n\
    \"20110412\",\"CVE-2011-1\",\"2500000\",\"T\",\"Windows 7 for x64-based Systems\",\"\",\"Important\",\"\",\"\",\"\"\n\
    \"20140412\",\"CVE-2014-1\",\"2900000\",\"T\",\"Windows 7 for x64-based Systems Service Pack 1\",\"\",\"Important\",\"\",\"\",\"\"\n";

struct Known {
    catalog: Catalog,
    definitions: Vec<Arc<Definition>>,
}

impl Known {
    fn new(read: fn(&str, &[u8], &Limits, &mut dyn Sink), name: &str, text: &str) -> Known {
        let limits = Limits::default();
        let mut batch = Batch::new(&limits);
        read(name, text.as_bytes(), &limits, &mut batch);
        assert!(batch.problems.is_empty(), "{:?}", batch.problems);
        let definitions = define(batch.advisories, &limits).unwrap().definitions;
        let segment = Segment::from_bytes("msrc", compile(&definitions, &[]).bytes).unwrap();
        let part = Part::new("msrc", vec![Arc::new(segment)]).unwrap();
        Known { catalog: Catalog::new(vec![part], Arc::new(Threats::default())), definitions }
    }

    /// What is said of all patches at a host, those that need nothing left out.
    fn states(&self, (name, build): (&str, &str), hotfixes: &[&str]) -> BTreeMap<String, State> {
        let row = |table: &str| Row::new(TableId::by_name(table).unwrap());
        let os = row("os").with("family", "windows").with("name", name).with("build", build).with("arch", "x86_64");
        let mut rows: Vec<Row> = hotfixes.iter().map(|kb| row("hotfix").with("id", *kb)).collect();
        rows.push(os);
        let mut notes = Vec::new();
        for row in &rows {
            let said = self.catalog.ask(row);
            // The slow definition says the same.
            let slow: Vec<_> = explain::notes(&self.definitions, row, false)
                .into_iter()
                .map(|(at, says, superseded)| (&*self.definitions[at].id, says, superseded))
                .collect();
            let fast: Vec<_> = said.iter().map(|n| (self.catalog.id(n.patch()).unwrap().0, n.says(), n.superseded())).collect();
            assert_eq!(fast, slow, "{row}");
            notes.extend(said);
        }
        let states = stand::sums(notes).into_iter().map(|(patch, sum)| (self.catalog.id(patch).unwrap().0.to_owned(), sum.state()));
        states.filter(|(_, state)| *state != State::NotApplicable).collect()
    }
}

const TEN: &str = "Microsoft Windows 10 Pro";
const SERVER: &str = "Microsoft Windows Server 2022 Standard";

#[test]
fn builds_and_updates() {
    use State::{Installed, Missing, NoFix, PendingReboot, Superseded};
    let known = Known::new(msrc::read_cvrf, "2024-Jan.json", CVRF);
    let (old, new, server_old, server_new) = ("KB5033372", "KB5034122", "KB5033118", "KB5034129");
    let open = ("CVE-2024-2", NoFix);
    for (host, hotfixes, expected) in [
        // The build says all: nothing is asked of it any more.
        ((TEN, "10.0.19045.3930"), &[][..], &[][..]),
        ((TEN, "10.0.19045.3803"), &["kb5033372"][..], &[(new, Missing)][..]),
        ((TEN, "10.0.19045.3570"), &[], &[(old, Superseded), (new, Missing)]),
        // Installed, and what runs is older.
        ((TEN, "10.0.19045.3570"), &["kb5034122"], &[(old, PendingReboot), (new, PendingReboot)]),
        // No revision, as systeminfo tells it: the updates say all.
        ((TEN, "10.0.19045"), &["kb5033372"], &[(old, Installed), (new, Missing)]),
        ((TEN, "10.0.19045"), &["kb5034122"], &[(old, Installed), (new, Installed)]),
        // No fixed build.
        ((SERVER, "10.0.20348.2000"), &[], &[open, (server_old, Superseded), (server_new, Missing)]),
        ((SERVER, "10.0.20348.2000"), &["kb5033118"], &[open, (server_old, Installed), (server_new, Missing)]),
        ((SERVER, "10.0.20348.2000"), &["kb5034129"], &[open, (server_old, Installed), (server_new, Installed)]),
        // Another edition is another system; another Windows too.
        (("Microsoft Windows Server Datacenter", "10.0.25398.100"), &[], &[("KB5034130", Missing)]),
        (("Microsoft Windows 10 Pro", "10.0.17763.1"), &["kb5034122"], &[]),
    ] {
        let expected: BTreeMap<String, State> = expected.iter().map(|(id, state)| ((*id).to_owned(), *state)).collect();
        assert_eq!(known.states(host, hotfixes), expected, "{host:?} with {hotfixes:?}");
    }
}

#[test]
fn a_service_pack_makes_another_system() {
    let known = Known::new(msrc::read_wesng, "x.csv", PACKS);
    let before = known.states(("Microsoft Windows 7 Enterprise", "6.1.7600"), &[]);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["KB2500000", "KB976932"]);
    let after = known.states(("Microsoft Windows 7 Enterprise", "6.1.7601"), &["kb976932"]);
    assert_eq!(after, BTreeMap::from([("KB2900000".to_owned(), State::Missing)]));
    let pack = known.definitions.iter().find(|d| *d.id == *"KB976932").unwrap();
    assert_eq!(pack.kind, Kind::ServicePack, "it comes before everything else");
}
