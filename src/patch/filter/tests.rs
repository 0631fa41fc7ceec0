use super::*;
use crate::feed::model::Source;

struct Patch {
    definition: Definition,
    rank: Rank,
    states: Vec<State>,
    installable: bool,
    groups: Vec<&'static str>,
}

impl Subject for Patch {
    fn id(&self) -> &str {
        &self.definition.id
    }
    fn feed(&self) -> &str {
        "debian"
    }
    fn rank(&self) -> Option<&Rank> {
        Some(&self.rank)
    }
    fn definition(&self) -> Option<&Definition> {
        Some(&self.definition)
    }
    fn is_in(&self, state: State) -> bool {
        self.states.contains(&state)
    }
    fn is_superseded(&self) -> bool {
        self.states.contains(&State::Superseded)
    }
    fn is_installable(&self) -> bool {
        self.installable
    }
    fn is_of_group(&self, group: &str) -> bool {
        self.groups.contains(&group)
    }
}

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn patch() -> Patch {
    let definition = Definition {
        id: "DSA-5532-1".into(),
        kind: Kind::Update,
        source: Source::DebianList,
        publisher: "Debian".into(),
        title: "openssl security update".into(),
        summary: "".into(),
        severity: None,
        scores: Vec::new(),
        published: Some("2026-11-03T08:00:00Z".parse().unwrap()),
        modified: None,
        cves: vec!["CVE-2026-1234".into()],
        advisories: Vec::new(),
        references: Vec::new(),
        exploitation: Default::default(),
        restart: Some(Restart::Maybe),
        superseded_by: Vec::new(),
        superseded_on: Vec::new(),
        entries: vec![crate::patch::define::Entry {
            target: Target::Package(crate::feed::model::Package {
                ecosystem: "Debian:12".into(),
                platform: None,
                kind: crate::feed::model::PackageKind::Source,
                name: "openssl".into(),
                arches: Vec::new(),
                module: None,
            }),
            versions: Default::default(),
            numbering: Default::default(),
            state: crate::feed::model::FixState::Fixed,
            fixed: "3".into(),
            build: "".into(),
            about: Vec::new(),
            reason: "".into(),
        }],
    };
    let rank = Rank {
        priority: 82,
        band: Band::Emergency,
        level: Level::Critical,
        cvss: Some(98),
        exploited: true,
        ransomware: false,
        due: Some("2026-11-24".into()),
        epss: Some(430),
        parts: Vec::new(),
    };
    Patch { definition, rank, states: vec![State::Missing], installable: true, groups: vec!["web"] }
}

#[test]
fn what_a_filter_lets_through() {
    let patch = patch();
    for (text, expected) in [
        ("", true),
        ("critical, not superseded, released since 1st, applicable", true),
        ("critical, not superseded, released since the 1st, applicable", true),
        ("severity>=high", true),
        ("severity:medium", true),
        ("severity<critical", false),
        ("severity = Important", false),
        ("exploited and not ransomware", true),
        ("ransomware or exploited", true),
        // A comma binds less than `or`: two conditions, of which the second has alternatives.
        ("missing, ransomware or exploited", true),
        ("superseded, ransomware or exploited", false),
        // `and` binds more than `or`.
        ("exploited or missing and ransomware", true),
        ("(exploited or missing) and ransomware", false),
        ("not (ransomware or superseded)", true),
        ("not not exploited", true),
        ("released>=2026-11-03", true),
        ("released>2026-11-03", false),
        ("released<=2026-11-03", true),
        ("released=2026-11-03", true),
        ("released<2026-11-03T08:00:00Z", false),
        ("released=2026-11-03T08:00:00Z", true),
        ("released before 2026-11-03", false),
        ("released:30d", true),
        ("released:2w", false),
        ("released since 4th", false),
        ("modified:30d", false),
        ("modified!=2026-11-01", false),
        ("due<2026-12-01", true),
        ("priority>=70", true),
        ("priority<82", false),
        ("cvss>=9", true),
        ("cvss=9.8", true),
        ("epss>0.0004", true),
        ("epss>=0.1", false),
        ("band=emergency", true),
        ("band>=soon", true),
        ("routine", false),
        ("state=missing", true),
        ("state=no_fix or will_not_fix", false),
        ("affected", true),
        ("installable", true),
        ("id=DSA-*", true),
        ("id:dsa-5532-?", true),
        ("id!=DSA-*", false),
        ("feed=debian", true),
        ("publisher=Debian", true),
        ("kind=update", true),
        ("kind=vulnerability", false),
        ("cve=CVE-2026-1234", true),
        ("cve=CVE-2025-*", false),
        ("package=openssl", true),
        ("package=open", false),
        ("title=\"security update\"", true),
        ("restart=maybe", true),
        ("group=web", true),
        ("not group=db", true),
        ("disclosed", false),
    ] {
        let filter = Filter::read(text, now()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(filter.matches(&patch), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_column() {
    for (text, column, says) in [
        ("sevrity>=high", 1, "did you mean `severity`?"),
        ("missing, exploted", 10, "did you mean `exploited`?"),
        ("severity>=hgh", 11, "`severity` is one of critical, high, medium, low, none, not `hgh`; did you mean `high`?"),
        ("severity", 9, "`severity=high`"),
        ("exploited missing", 11, "`and`, `or` or a comma"),
        ("(exploited", 1, "not closed"),
        ("exploited)", 10, "closes nothing"),
        ("missing,", 9, "a condition is expected; words are critical"),
        ("and missing", 1, "`and` is no condition"),
        ("id>DSA", 3, "has no order"),
        ("released>=yesterday", 11, "write `2026-11-01`"),
        ("released>=-3d", 11, "is no time"),
        ("priority>=101", 11, "0 to 100"),
        ("cvss>=11", 7, "0.0 to 10.0"),
        ("cvss=9.85", 6, "0.0 to 10.0"),
        ("epss>=2", 7, "0 to 1"),
        ("state!=missing", 1, "not state=missing"),
        ("title=\"x", 7, "quote is not closed"),
        ("state=mising", 7, "did you mean `missing`?"),
        ("group!=web", 1, "not group=web"),
        ("\u{fc}\u{fc}, =", 1, "no condition"),
        (">=", 1, "not `>`"),
    ] {
        let error = Filter::read(text, now()).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
    assert!(Filter::read(&"(".repeat(DEPTH_MAX + 1), now()).is_err_and(|e| e.column == DEPTH_MAX + 1));
    assert!(Filter::read(&"not ".repeat(1000), now()).is_err());
    assert!(Filter::read(&"missing,".repeat(1000), now()).is_err_and(|e| e.what.contains("4096")));
}

#[test]
fn what_need_not_be_looked_at() {
    let read = |text: &str| Filter::read(text, now()).unwrap();
    for (text, affected) in [
        ("missing", true),
        ("critical, applicable", true),
        ("missing or critical", false),
        ("not missing", false),
        ("", false),
        ("state=installed", false),
    ] {
        assert_eq!(read(text).asks_for_affected(), affected, "{text}");
    }
    let filter = read("critical, group=web, not group=db");
    assert_eq!(filter.groups().into_iter().collect::<Vec<_>>(), ["db", "web"]);
    assert_eq!(filter.within().into_iter().collect::<Vec<_>>(), ["web"]);
    assert_eq!(read("group=web").within().len(), 1);
    assert_eq!(read(" missing ").text(), "missing");
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z=<>!:,() \"0-9-]{0,80}") {
        if let Ok(filter) = Filter::read(&text, now()) {
            // It means the same when it is read again.
            let again = Filter::read(filter.text(), now()).unwrap();
            proptest::prop_assert_eq!(again.matches(&patch()), filter.matches(&patch()));
        } else {
            proptest::prop_assert!(!text.trim().is_empty());
        }
    }
}
