use super::*;
use crate::feed::model::{Advisory, Affected, Fix, FixState, Package, PackageKind, Platform, Source, Target, Versions, Windows};
use crate::limits::Limits;
use crate::patch::Says;
use crate::patch::define::define;
use crate::scan::table::TableId;
use crate::version::Scheme;

fn row(table: &str, columns: &[(&str, &str)]) -> Row {
    columns.iter().fold(Row::new(TableId::by_name(table).unwrap()), |row, (column, value)| row.with(column, *value))
}

fn deb(name: &str, version: &str) -> Row {
    row("package", &[("name", name), ("version", version), ("arch", "amd64"), ("format", "deb"), ("release", "debian:12")])
}

fn about(platform: Option<Platform>, name: &str, versions: Versions, state: FixState) -> Affected {
    let ecosystem = if platform.is_some() { "Debian" } else { "PyPI" };
    let target = Target::Package(Package {
        ecosystem: ecosystem.into(),
        platform,
        kind: PackageKind::Either,
        name: name.into(),
        arches: Vec::new(),
        module: None,
    });
    Affected::new(target, versions, state)
}

fn debian(version: &str, channel: &str) -> Option<Platform> {
    Some(Platform::new("debian", version, channel))
}

fn fixed(name: &str, version: &str) -> Affected {
    about(debian("12", ""), name, Versions::before(Scheme::Dpkg, version), FixState::Fixed)
}

fn advisory(id: &str, cves: &[&str], affected: Vec<Affected>) -> Advisory {
    let mut out = Advisory::new(Source::Osv, "test", id);
    out.aliases = cves.iter().map(|c| (*c).into()).collect();
    out.affected = affected;
    out
}

fn definitions(advisories: Vec<Advisory>) -> Vec<Arc<Definition>> {
    define(advisories, &Limits::default()).unwrap().definitions
}

fn segment(definitions: &[Arc<Definition>], present: &[Arc<Segment>]) -> Arc<Segment> {
    let compiled = compile(definitions, present);
    verify("test", &compiled.bytes).unwrap();
    Arc::new(Segment::from_bytes("test", compiled.bytes).unwrap())
}

fn catalog(segments: Vec<Arc<Segment>>) -> Catalog {
    Catalog::new(vec![Part::new("test", segments).unwrap()], Arc::default())
}

fn of(advisories: Vec<Advisory>) -> Catalog {
    catalog(vec![segment(&definitions(advisories), &[])])
}

fn notes(catalog: &Catalog, notes: &[Note]) -> Vec<String> {
    let show = |n: &Note| {
        let (id, _) = catalog.id(n.patch()).unwrap();
        format!("{id} {:?}{}", n.says(), if n.superseded() { " superseded" } else { "" })
    };
    notes.iter().map(show).collect()
}

fn said(catalog: &Catalog, row: &Row) -> Vec<String> {
    notes(catalog, &catalog.ask(row))
}

#[test]
fn a_package_lacks_what_is_fixed_later() {
    let catalog = of(vec![
        advisory("DSA-1", &["CVE-2024-1"], vec![fixed("curl", "7.88-1")]),
        advisory("DSA-2", &["CVE-2024-2"], vec![fixed("curl", "7.88-2"), fixed("other", "1")]),
        advisory("DSA-3", &[], vec![about(debian("11", ""), "curl", Versions::all(None), FixState::NoFix)]),
        advisory("CVE-2024-9", &[], vec![about(debian("", ""), "curl", Versions::all(None), FixState::WillNotFix)]),
    ]);
    assert_eq!(said(&catalog, &deb("curl", "7.87-1")), ["CVE-2024-9 WillNotFix", "DSA-1 Lacks superseded", "DSA-2 Lacks"]);
    assert_eq!(said(&catalog, &deb("curl", "7.88-1")), ["CVE-2024-9 WillNotFix", "DSA-2 Lacks"]);
    assert_eq!(said(&catalog, &deb("curl", "7.88-2")), ["CVE-2024-9 WillNotFix"]);
    assert_eq!(notes(&catalog, &catalog.ask_fully(&deb("curl", "7.88-2"))), ["CVE-2024-9 WillNotFix", "DSA-1 Has", "DSA-2 Has"]);
    let offered = row("update", &[("name", "curl"), ("version", "7.88-1"), ("release", "debian:12")]);
    assert_eq!(said(&catalog, &offered), ["DSA-1 Offers"]);
    assert!(said(&catalog, &deb("wget", "1")).is_empty());
    assert_eq!((catalog.len(), catalog.find("DSA-2").len(), catalog.find("DSA-7").len()), (4, 1, 0));
    assert_eq!(catalog.definition(catalog.find("DSA-2")[0]).unwrap().entries.len(), 2);
}

#[test]
fn what_is_not_affected_takes_away_what_others_say() {
    let not = |channel: &str| about(debian("12", channel), "curl", Versions::all(None), FixState::NotAffected);
    let all = |not: Affected| {
        of(vec![
            advisory("CVE-2024-1", &[], vec![not]),
            advisory("DSA-1", &["CVE-2024-1"], vec![fixed("curl", "2")]),
            advisory("DSA-2", &["CVE-2024-1", "CVE-2024-2"], vec![fixed("curl", "3")]),
        ])
    };
    let row = deb("curl", "1");
    assert_eq!(said(&all(not("")), &row), ["DSA-2 Lacks"], "of DSA-2 one CVE is left");
    assert_eq!(said(&all(not("pro")), &row), ["DSA-1 Lacks superseded", "DSA-2 Lacks"], "of another channel");
}

#[test]
fn a_language_is_not_a_distribution() {
    let python = about(None, "Flask_Login", Versions::before(Scheme::Pep440, "0.6"), FixState::Fixed);
    let catalog = of(vec![advisory("PYSEC-1", &[], vec![python]), advisory("DSA-1", &[], vec![fixed("flask-login", "0.6")])]);
    let pypi = |format: &str| row("package", &[("name", "flask.login"), ("version", "0.5"), ("format", format), ("release", "debian:12")]);
    assert_eq!(said(&catalog, &pypi("pypi")), ["PYSEC-1 Lacks"]);
    assert!(said(&catalog, &pypi("deb")).is_empty());
    assert_eq!(said(&catalog, &deb("flask-login", "0.5")), ["DSA-1 Lacks"]);
}

#[test]
fn kernels_stand_side_by_side_and_one_runs() {
    let catalog = of(vec![advisory("DSA-1", &[], vec![fixed("linux", "6.1.90-1")])]);
    let image = |version: &str| {
        let columns = [("name", "linux-image-6.1.0-1-amd64"), ("version", version), ("source", "linux-signed-amd64")];
        let more = [("arch", "amd64"), ("format", "deb"), ("release", "debian:12.5")];
        row("package", &[&columns[..], &more].concat())
    };
    assert_eq!(said(&catalog, &image("6.1.76-1")), ["DSA-1 Wants"]);
    assert_eq!(said(&catalog, &image("6.1.90-1")), ["DSA-1 Has"]);
    let os = |version: &str| row("os", &[("id", "debian"), ("version", "12"), ("kernel", "6.1.0-1-amd64"), ("kernel_version", version)]);
    assert_eq!(said(&catalog, &os("6.1.76-1")), ["DSA-1 Old"]);
    assert!(said(&catalog, &os("6.1.90-1")).is_empty());
    // Found by a random case: numbers of updates say nothing where the system is not Windows.
    let numbered = |cve: &str, kb: &str, supersedes: &[&str]| {
        let mut entry = fixed("linux", "6.1.90-1");
        let supersedes = supersedes.iter().map(|s| (*s).into()).collect();
        entry.fixes.push(Fix { version: "6.1.90-1".into(), kb: kb.into(), supersedes, ..Fix::default() });
        advisory(cve, &[], vec![entry])
    };
    let catalog = of(vec![numbered("CVE-2024-1", "kb5000001", &[]), numbered("CVE-2024-2", "kb5000002", &["kb5000001"])]);
    let updates: Vec<String> = said(&catalog, &os("6.1.76-1")).into_iter().filter(|s| s.starts_with("KB")).collect();
    assert_eq!(updates, ["KB5000001 Old", "KB5000002 Old"]);
}

const WIN10: &str = "Windows 10 Version 1809 for x64-based Systems";

fn kb(cve: &str, kb: &str, build: &str, supersedes: &[&str]) -> Advisory {
    let target = Target::Windows(Windows { products: vec![WIN10.into()], component: "".into() });
    let mut entry = Affected::new(target, Versions::all(None), FixState::Fixed);
    let supersedes = supersedes.iter().map(|s| (*s).into()).collect();
    entry.fixes.push(Fix { kb: kb.into(), build: build.into(), supersedes, ..Fix::default() });
    advisory(cve, &[], vec![entry])
}

#[test]
fn windows_goes_by_builds_and_numbers_of_updates() {
    let catalog = of(vec![
        kb("CVE-2024-1", "kb5000001", "", &[]),
        kb("CVE-2024-2", "kb5000002", "10.0.17763.200", &["kb5000001"]),
        kb("CVE-2024-3", "kb5000003", "10.0.17763.300", &["kb5000002"]),
    ]);
    let os = |build: &str| {
        let name = "Microsoft Windows 10 Enterprise LTSC";
        row("os", &[("family", "windows"), ("name", name), ("version", "1809"), ("build", build), ("arch", "x86_64")])
    };
    if crate::patch::windows::product(&os("10.0.17763.100")).as_deref() != crate::patch::windows::system_of(WIN10).as_deref() {
        panic!("the row is not the system: {:?}", crate::patch::windows::product(&os("10.0.17763.100")));
    }
    assert_eq!(said(&catalog, &os("10.0.17763.100")), ["KB5000001 Wants superseded", "KB5000002 Old superseded", "KB5000003 Old"]);
    assert_eq!(said(&catalog, &os("10.0.17763.250")), ["KB5000001 Wants superseded", "KB5000002 Has", "KB5000003 Old"]);
    assert_eq!(said(&catalog, &row("hotfix", &[("id", "kb5000002")])), ["KB5000001 Has", "KB5000002 Has"]);
    assert_eq!(catalog.find("kb5000002").len(), 1, "in any case");
}

#[test]
fn a_delta_stands_in_the_place_of_what_it_replaces() {
    let all = |fix: &str| -> Vec<Advisory> {
        (0..20).map(|n| advisory(&format!("DSA-{n:02}"), &[], vec![fixed("curl", if n == 7 { fix } else { "9" })])).collect()
    };
    let base = segment(&definitions(all("8")), &[]);
    let mut next = all("5");
    next.remove(3);
    next.push(advisory("DSA-99", &[], vec![fixed("curl", "9")]));
    let next = definitions(next);
    let compiled = compile(&next, std::slice::from_ref(&base));
    assert!(compiled.delta && compiled.bytes.len() < 3_000);
    assert_eq!(
        (&compiled.added[..], &compiled.changed[..], &compiled.removed[..]),
        (&["DSA-99".into()][..], &["DSA-07".into()][..], &["DSA-03".into()][..])
    );
    let delta = Arc::new(Segment::from_bytes("delta", compiled.bytes).unwrap());
    let both = catalog(vec![base.clone(), delta.clone()]);
    let whole = catalog(vec![segment(&next, &[])]);
    let mut ours = said(&both, &deb("curl", "6"));
    ours.sort();
    assert_eq!(ours, said(&whole, &deb("curl", "6")));
    assert_eq!((ours.len(), both.len(), both.patches().count()), (19, 20, 20));
    assert!(both.find("DSA-03").is_empty() && both.id(3).is_none() && both.definition(3).is_none());
    assert_eq!(&*both.definition(both.find("DSA-07")[0]).unwrap().entries[0].fixed, "5");
    assert_ne!(both.digest(), whole.digest());
    // Nothing changed since; and back to what the base was.
    let present = [base.clone(), delta.clone()];
    let same = compile(&next, &present);
    assert_eq!((same.added.len(), same.changed.len(), same.removed.len()), (0, 0, 0));
    assert_eq!(Segment::from_bytes("same", same.bytes).unwrap().digest(), delta.digest());
    let back = compile(&definitions(all("8")), &present);
    assert_eq!((back.delta, back.added.len(), back.changed.len(), back.removed.len()), (true, 1, 1, 1));
    // A delta upon another base is refused, and much change makes a new base.
    let other = segment(&definitions(vec![kb("CVE-2024-1", "kb5000001", "", &[])]), &[]);
    assert!(matches!(Part::new("test", vec![other.clone(), delta.clone()]), Err(CatalogError::OtherBase(1, _))));
    assert!(matches!(Part::new("test", vec![delta]), Err(CatalogError::OtherBase(0, _))));
    assert!(!compile(&next, &[other]).delta);
}

#[test]
fn files_are_written_once_and_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = compile(&definitions(vec![advisory("DSA-1", &[], vec![fixed("curl", "2")])]), &[]).bytes;
    let path = write_file(folder.path(), &bytes).unwrap();
    assert_eq!(write_file(folder.path(), &bytes).unwrap(), path);
    let opened = Segment::open(&path).unwrap();
    assert_eq!((opened.len(), opened.id(0)), (1, Some("DSA-1")));
    assert!(path.to_string_lossy().contains(opened.digest()));
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut other = bytes.clone();
        change(&mut other);
        Segment::from_bytes("x", other).unwrap_err().to_string()
    };
    assert!(refused(&|b| b.clear()).contains("does not begin with"));
    assert!(refused(&|b| b[8] = 99).contains("another version"));
    assert!(refused(&|b| b[17] ^= 1).contains("another version"), "another print");
    assert!(refused(&|b| b.push(0)).contains("length"));
    assert!(refused(&|b| b[33] ^= 1).contains("header"));
    assert!(refused(&|b| b[150] ^= 1).contains("header"));
    let mut last = bytes.clone();
    *last.last_mut().unwrap() ^= 1;
    assert!(Segment::from_bytes("x", last.clone()).is_ok(), "opening does not read all");
    assert!(verify("x", &last).is_err() && write_file(folder.path(), &last).is_err());
}

#[test]
fn a_catalog_is_called_by_all_that_is_in_it() {
    let one = segment(&definitions(vec![advisory("DSA-1", &[], vec![fixed("curl", "2")])]), &[]);
    let part = |feed: &str| Part::new(feed, vec![one.clone()]).unwrap();
    let epss = crate::feed::epss::Scores { model: "v1".into(), ..Default::default() };
    let digests = [
        Catalog::new(vec![part("a")], Arc::default()).digest(),
        Catalog::new(vec![part("b")], Arc::default()).digest(),
        Catalog::new(vec![part("a"), part("b")], Arc::default()).digest(),
        Catalog::new(vec![part("a")], Arc::new(Threats { epss, ..Threats::default() })).digest(),
    ];
    let mut once = digests.to_vec();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), digests.len());
    // The same id in two feeds is two patches.
    let two = Catalog::new(vec![part("a"), part("b")], Arc::default());
    assert_eq!(two.find("DSA-1"), [0, 1]);
    assert_eq!((two.id(1), two.id(2)), (Some(("DSA-1", "b")), None));
    assert_eq!(two.ask(&deb("curl", "1")).len(), 2);
    assert_eq!(Says::Lacks, two.ask(&deb("curl", "1"))[1].says());
}
