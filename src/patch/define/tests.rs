use super::*;
use crate::feed::model::{Fix, Package, PackageKind, Start, Windows};
use crate::version::Scheme;

fn package(name: &str) -> Target {
    Target::Package(Package {
        ecosystem: "PyPI".into(),
        platform: None,
        kind: PackageKind::Either,
        name: name.into(),
        arches: Vec::new(),
        module: None,
    })
}

fn update(cve: &str, products: &[&str], kb: &str, supersedes: &[&str]) -> Advisory {
    let mut out = Advisory::new(Source::WesNg, "Microsoft", cve);
    let target = Target::Windows(Windows { products: products.iter().map(|p| (*p).into()).collect(), component: "".into() });
    let mut entry = Affected::new(target, Versions::all(None), FixState::Fixed);
    entry.fixes.push(Fix { kb: kb.into(), supersedes: supersedes.iter().map(|s| (*s).into()).collect(), ..Fix::default() });
    entry.severity = Severity::of("Important");
    out.affected.push(entry);
    out
}

fn ids(defined: &Defined) -> Vec<&str> {
    defined.definitions.iter().map(|d| &*d.id).collect()
}

fn settle(advisories: Vec<Advisory>) -> Defined {
    define(advisories, &Limits::default()).unwrap()
}

#[test]
fn an_update_gathers_all_that_name_it() {
    let mut second = update("CVE-2024-2", &["B", "A"], "kb5000002", &["kb5000001"]);
    second.affected[0].severity = Severity::of("Critical");
    second.exploitation.exploited = Some(true);
    // Of product B only one of the two is said.
    let products = Windows { products: vec!["C".into(), "A".into()], component: "".into() };
    let mut open = Affected::new(Target::Windows(products), Versions::all(None), FixState::NoFix);
    open.reason = "no update yet".into();
    second.affected.push(open);
    let pack = update("SP81X86", &["A"], "sp81x86", &[]);
    let mut stack = update("ADV990001", &["A"], "kb5000009", &[]);
    stack.title = "Latest Servicing Stack Updates".into();
    let mut old = update("kb5000001", &["A"], "kb5000001", &["kb4000000"]);
    old.title = "An old one".into();
    let mut gone = update("CVE-2024-3", &["A"], "kb5000003", &["kb5000002"]);
    gone.withdrawn = Some(Timestamp::UNIX_EPOCH);
    let mut advisories = vec![second, update("CVE-2024-1", &["A"], "kb5000002", &[]), pack, stack, old, gone];
    let defined = settle(advisories.clone());
    assert_eq!((ids(&defined), defined.withdrawn), (vec!["CVE-2024-2", "KB5000001", "KB5000002", "KB5000009", "SP81X86"], 1));
    let [cve, old, kb, stack, pack] = &defined.definitions[..] else { panic!() };
    assert_eq!((cve.kind, cve.entries.len(), cve.entries[0].state), (Kind::Vulnerability, 1, FixState::NoFix));
    let Target::Windows(without) = &cve.entries[0].target else { panic!() };
    assert_eq!(without.products, ["C".into()], "A has an update, whatever another line says");
    assert_eq!((old.kind, stack.kind, pack.kind), (Kind::Update, Kind::ServicingStack, Kind::ServicePack));
    assert_eq!((old.advisories.len(), &*old.title, &old.superseded_by[..]), (0, "An old one", &["KB5000002".into()][..]));
    assert_eq!(kb.cves, ["CVE-2024-1".into(), "CVE-2024-2".into()]);
    assert_eq!(kb.advisories, kb.cves);
    assert_eq!(kb.severity.as_ref().unwrap().text, "Critical".into());
    assert_eq!(kb.exploitation.exploited, Some(true));
    let said: Vec<(Vec<String>, usize)> = kb
        .entries
        .iter()
        .map(|e| match &e.target {
            Target::Windows(w) => (w.products.iter().map(ToString::to_string).collect(), e.about.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(said, [(vec!["A".to_owned()], 0), (vec!["B".to_owned()], 1)], "A has both CVEs, B one of them");
    advisories.reverse();
    assert_eq!(settle(advisories).definitions, defined.definitions);
}

#[test]
fn what_replaces_an_update_differs_by_system() {
    let (ten, eleven) = ("Windows 10 Version 22H2 for x64-based Systems", "Windows 11 Version 23H2 for x64-based Systems");
    let on_ten = format!("Internet Explorer 11 on {ten}");
    let defined = settle(vec![
        update("CVE-1", &[&on_ten, eleven], "kb5000001", &[]),
        update("CVE-2", &[ten, eleven], "kb5000002", &["kb5000001"]),
        // On one of both systems only, and what is replaced by way of it.
        update("CVE-3", &[ten], "kb5000003", &["kb5000002"]),
        update("CVE-4", &[eleven], "kb5000003", &[]),
    ]);
    let [first, second, third] = &defined.definitions[..] else { panic!() };
    assert_eq!(first.superseded_by, ["KB5000002".into(), "KB5000003".into()]);
    assert_eq!(first.superseded_on, [("KB5000003".into(), vec![ten.into()])]);
    assert_eq!((second.superseded_by.len(), second.superseded_on.len(), third.superseded_by.len()), (1, 1, 0));
    for (id, system, replaced) in [
        ("KB5000002", Some(eleven), true),
        ("KB5000002", Some("Windows Server 2022"), true),
        ("KB5000003", Some(ten), true),
        ("KB5000003", Some(eleven), false),
        ("KB5000003", None, true),
        ("KB5000004", None, false),
    ] {
        assert_eq!(first.is_replaced_by(id, system), replaced, "{id} {system:?}");
    }
}

#[test]
fn advisories_of_one_name_are_one() {
    let one = |name: &str, title: &str| {
        let mut out = Advisory::new(Source::DebianTracker, "Debian", "CVE-2024-1");
        out.title = title.into();
        out.references = vec!["https://example.org".into()];
        out.affected.push(Affected::new(package(name), Versions::all(Some(Scheme::Pep440)), FixState::NoFix));
        out
    };
    let (a, b, c) = (one("a", ""), one("b", "b"), one("c", "c"));
    let forward = settle(vec![a.clone(), b.clone(), c.clone()]);
    assert_eq!(forward.definitions[0].entries.len(), 3);
    assert_eq!(forward.definitions[0].references.len(), 1);
    assert_eq!(forward.definitions, settle(vec![c, a, b]).definitions);
}

#[test]
fn each_branch_has_its_fix() {
    let mut advisory = Advisory::new(Source::Osv, "PyPI", "GHSA-1");
    advisory.summary = "x".repeat(500).into();
    let range = |start: Start, end: End| Range { start, end };
    let versions = Versions {
        scheme: Some(Scheme::Pep440),
        ranges: vec![
            range(Start::Open, End::Before("1.5".into())),
            range(Start::At("2".into()), End::Before("2.3".into())),
            range(Start::At("3".into()), End::Through("3.1".into())),
        ],
        exact: vec!["1.0".into(), "9.9".into()],
        text: "".into(),
    };
    let mut entry = Affected::new(package("a"), versions, FixState::Fixed);
    entry.fixes = ["2.3", "1.5", "3.2"].map(|v| Fix { version: v.into(), ..Fix::default() }).to_vec();
    advisory.affected.push(entry);
    let defined = settle(vec![advisory]);
    let definition = &defined.definitions[0];
    let mut fixes: Vec<(&str, usize)> = definition.entries.iter().map(|e| (&*e.fixed, e.versions.exact.len())).collect();
    fixes.sort();
    assert_eq!(fixes, [("", 1), ("1.5", 0), ("2.3", 0), ("3.2", 0)], "9.9 is in no range, 1.0 is in one");
    assert_eq!((definition.kind, definition.summary.chars().count()), (Kind::Update, SUMMARY + 1));
}

#[test]
fn a_product_that_numbers_in_its_own_way_keeps_it() {
    let target = |name: &str| {
        Target::Product(crate::feed::model::Product {
            vendor: "Cloudflare".into(),
            name: name.into(),
            cpe: "".into(),
            purl: "".into(),
            platform: "".into(),
            arches: Vec::new(),
        })
    };
    let mut advisory = Advisory::new(Source::Csaf, "Cloudflare", "X-1");
    advisory.affected.push(Affected::new(target("Cloudflare WARP"), Versions::before(Scheme::Semver, "2023.9"), FixState::Fixed));
    advisory.affected.push(Affected::new(target("Other"), Versions::before(Scheme::Semver, "2023.9"), FixState::Fixed));
    let defined = settle(vec![advisory]);
    let orders: Vec<_> = defined.definitions[0].entries.iter().map(|e| (e.versions.scheme, e.numbering, &*e.fixed)).collect();
    assert_eq!(orders, [(Some(Scheme::Dotted), Numbering::ShortYear, "2023.9"), (Some(Scheme::Semver), Numbering::Plain, "2023.9")]);
    assert!(crate::patch::explain::contains(&defined.definitions[0].entries[0], "23.8"));
    assert!(!crate::patch::explain::contains(&defined.definitions[0].entries[0], "23.9"));
}

#[test]
fn cycles_are_told() {
    let advisories =
        vec![update("CVE-2024-1", &["A"], "kb5000001", &["kb5000002"]), update("CVE-2024-2", &["A"], "kb5000002", &["kb5000001"])];
    let defined = settle(advisories);
    assert_eq!(defined.cycles.len(), 1);
    assert_eq!(defined.definitions[0].superseded_by, ["KB5000002".into()]);
    assert!(defined.definitions[1].superseded_by.is_empty());
}
