//! Real and hostile content through both parsers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use muster::limits::Limits;
use muster::oval::model::{Content, Problem};
use muster::oval::read;
use muster::oval::syschar::{SystemCharacteristics, bind};
use muster::xml;
use muster::xml::scan::{Scanner, Token};

/// The folder of real content, or `None` and a line that says so.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(super) fn data(what: &str) -> Option<PathBuf> {
    let found = std::env::var_os("MUSTER_DATA").map(PathBuf::from);
    if found.is_none() {
        eprintln!("without real data: {what}; MUSTER_DATA is not set");
    }
    found
}

pub(super) fn unpacked(file: &Path) -> String {
    xml::text(&std::fs::read(file).unwrap(), &Limits { inflate_ratio: 10_000, ..Limits::default() }).unwrap()
}

/// Every OVAL document in a file, by the id of its component.
fn documents(text: &str) -> Vec<(String, Result<Content, Vec<Problem>>)> {
    let limits = Limits::default();
    let tree = xml::tree(text, &limits).unwrap();
    let all = tree.descendants().filter(|n| n.tag_name().name() == "oval_definitions");
    let named = all.map(|n| (n.parent().and_then(|p| p.attribute("id")).unwrap_or_default().to_owned(), n));
    named.map(|(name, n)| (name.clone(), read::read(n, &name, &limits))).collect()
}

#[test]
fn real_content_is_read_without_problems() {
    let Some(data) = data("real OVAL and data streams") else { return };
    let mut counts = Vec::new();
    for folder in ["oval", "scap"] {
        let mut files: Vec<PathBuf> = std::fs::read_dir(data.join(folder)).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            for (component, content) in documents(&unpacked(&file)) {
                let content = content.unwrap();
                assert_eq!(content.problems, [], "{name} {component}");
                counts.push((name.clone(), content.definitions.len(), content.tests.len()));
            }
        }
    }
    let counted: Vec<(&str, usize, usize)> = counts.iter().map(|(name, d, t)| (name.as_str(), *d, *t)).collect();
    let known = [
        ("com.redhat.rhsa-RHEL8.xml.gz", 129, 3307),
        ("com.ubuntu.bionic.cve.oval.xml.bz2", 11976, 5554),
        ("rhel-8.oval-v2.xml.gz", 181, 4031),
        ("ssg-debian12-oval.xml.gz", 1012, 1948),
        ("disa-stig-rhel9-v2r9.xml.gz", 805, 616),
        ("disa-stig-rhel9-v2r9.xml.gz", 1, 3),
        ("disa-stig-win10.xml.gz", 252, 315),
        ("disa-stig-win10.xml.gz", 1, 3),
        ("ssg-debian12-ds-0.1.82.xml.gz", 1012, 1948),
        ("ssg-debian12-ds-0.1.82.xml.gz", 62, 92),
        ("ssg-rhel9-ds-0.1.82.xml.gz", 1670, 3272),
        ("ssg-rhel9-ds-0.1.82.xml.gz", 89, 122),
        ("ssg-ubuntu2204-ds-0.1.82.xml.gz", 721, 1481),
        ("ssg-ubuntu2204-ds-0.1.82.xml.gz", 52, 79),
    ];
    for found in known {
        assert!(counted.contains(&found), "{found:?} is not among {counted:?}");
    }
}

/// Reads something hostile and says what came of it; it must not take long.
fn quickly(text: &str) -> Result<Content, String> {
    let started = Instant::now();
    let read = read::read_text(text, "it", &Limits::default());
    assert!(started.elapsed() < Duration::from_secs(20), "took {:?}", started.elapsed());
    read.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

const OPEN: &str = r#"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5">"#;

#[test]
fn entities_of_a_document_are_refused() {
    let laughs: String = (1..10).map(|n| format!("<!ENTITY l{n} '{}'>", format!("&l{};", n - 1).repeat(10))).collect();
    let text = format!("<!DOCTYPE x [<!ENTITY l0 'lol'>{laughs}]>\n{OPEN}&l9;</oval_definitions>");
    assert!(quickly(&text).unwrap_err().contains("document type declaration"));
    let text = format!("<!DOCTYPE x SYSTEM 'file:///etc/passwd'>\n{OPEN}</oval_definitions>");
    assert!(quickly(&text).unwrap_err().contains("document type declaration"));
    assert!(quickly(&format!("{OPEN}<definitions>&unheard;</definitions></oval_definitions>")).unwrap_err().starts_with("line 1"));
}

#[test]
fn size_and_depth_are_bounded() {
    let long = format!("{OPEN}\n<definitions><definition id='{}'/></definitions></oval_definitions>", "x".repeat(10 << 20));
    assert_eq!(quickly(&long).unwrap_err().split(" bytes, over").nth(1), Some(" 4194304 (limits.xml_value_bytes)"));
    let deep = "<criteria>".repeat(100_000);
    let text = format!("{OPEN}\n<definitions><definition>{deep}");
    assert_eq!(quickly(&text).unwrap_err(), "line 2: it: elements are nested over 200 deep (limits.xml_depth)");
    assert!(quickly(&format!("{OPEN}<definitions><definition id='a")).unwrap_err().starts_with("line 1: it: "));
    assert!(quickly("").unwrap_err().starts_with("line 1: it: "));
}

#[test]
fn circles_end() {
    let count = 20_000;
    let definitions: String = (0..count)
        .map(|n| {
            let next = (n + 1) % count;
            let criteria = format!("<criteria><extend_definition definition_ref='oval:x:def:{next}'/></criteria>");
            format!("<definition id='oval:x:def:{n}' version='1' class='compliance'>{criteria}</definition>")
        })
        .collect();
    let variables: String = (0..count)
        .map(|n| {
            let of = format!("<variable_component var_ref='oval:x:var:{}'/>", (n + 1) % count);
            format!("<local_variable id='oval:x:var:{n}' version='1' datatype='int'>{of}</local_variable>")
        })
        .collect();
    let text = format!("{OPEN}<definitions>{definitions}</definitions>\n<variables>{variables}</variables></oval_definitions>");
    let content = quickly(&text).unwrap();
    assert_eq!(content.problems.len(), 2 * count);
    assert!(content.problems[0].message.contains("in a circle"), "{}", content.problems[0]);
    assert_eq!(content.problems[count].line, 2);
}

#[test]
fn thousands_of_attributes_are_refused() {
    let attributes: String = (0..300_000).map(|n| format!(" a{n}=''")).collect();
    let error = quickly(&format!("{OPEN}<definitions{attributes}/></oval_definitions>")).unwrap_err();
    assert!(error.contains("attributes"), "{error}");
    let spaces: String = (0..100_000).map(|n| format!(" xmlns:a{n}='b{n}'")).collect();
    let error = quickly(&format!("{OPEN}<definitions{spaces}/></oval_definitions>")).unwrap_err();
    assert!(error.contains("attributes"), "{error}");
}

#[test]
fn real_system_characteristics_are_read() {
    let Some(data) = data("real system characteristics") else { return };
    let limits = Limits::default();
    let counts = |file: &str| -> Vec<(Option<String>, usize, usize)> {
        let text = unpacked(&data.join("syschar").join(file));
        let all = SystemCharacteristics::parse(&text, &limits).unwrap();
        all.iter().map(|one| (one.report.as_ref().map(ToString::to_string), one.objects().len(), one.items().len())).collect()
    };
    assert_eq!(counts("bookworm.debian12-oval.syschar.xml.gz"), [(None, 2585, 471)]);
    assert_eq!(counts("bionic-texlive.syschar.xml.gz").len(), 1);
    let reports = counts("bookworm.cis_level2_server.arf.xml.gz");
    assert_eq!(reports.len(), 2, "the checks and the platforms: {reports:?}");

    let text = unpacked(&data.join("syschar/bookworm.debian12-oval.syschar.xml.gz"));
    let all = SystemCharacteristics::parse(&text, &limits).unwrap();
    let content = read::read_text(&unpacked(&data.join("oval/ssg-debian12-oval.xml.gz")), "it", &limits).unwrap();
    assert_eq!(bind(&all, &content).known(), 2585);
}

/// What the scanner makes of a document is what a tree says.
#[test]
fn the_scanner_agrees_with_a_tree() {
    let Some(data) = data("real system characteristics against a tree") else { return };
    let limits = Limits::default();
    for file in ["bookworm.debian12-oval.syschar.xml.gz", "bionic-texlive.syschar.xml.gz"] {
        let text = unpacked(&data.join("syschar").join(file));
        let tree = xml::tree(&text, &limits).unwrap();
        let mut scanner = Scanner::new(&text, &limits);
        for node in tree.descendants().filter(roxmltree::Node::is_element) {
            let tag = loop {
                match scanner.next().unwrap() {
                    Token::Open(tag) => break tag,
                    Token::End => panic!("the scanner ends before the tree"),
                    _ => {}
                }
            };
            assert_eq!(tag.name, node.tag_name().name());
            for attribute in node.attributes() {
                assert_eq!(tag.attribute(attribute.name()).as_deref(), Some(attribute.value()));
            }
            if !node.children().any(|c| c.is_element()) && !tag.empty {
                assert_eq!(scanner.value(&tag).unwrap(), node.text().unwrap_or_default());
            }
        }
    }
}

#[test]
fn hostile_uploads_are_refused() {
    let laughs: String = (1..10).map(|n| format!("<!ENTITY l{n} '{}'>", format!("&l{};", n - 1).repeat(10))).collect();
    let many: String = (0..300_000).map(|n| format!(" a{n}=''")).collect();
    for (text, why) in [
        (format!("<!DOCTYPE x [<!ENTITY l0 'lol'>{laughs}]>\n<a>&l9;</a>"), "document type declaration"),
        ("<!DOCTYPE x SYSTEM 'file:///etc/passwd'><a/>".to_owned(), "document type declaration"),
        (format!("<a b='{}'/>", "x".repeat(10 << 20)), "limits.xml_value_bytes"),
        (format!("<a>{}</a>", "x".repeat(10 << 20)), "limits.xml_value_bytes"),
        (format!("<a{many}/>"), "limits.xml_attributes"),
        ("<a>".repeat(100_000), "limits.xml_depth"),
        ("<oval_system_characteristics><system_data><a_item id='1'".to_owned(), "no end"),
    ] {
        let started = Instant::now();
        let error = SystemCharacteristics::parse(&text, &Limits::default()).unwrap_err();
        assert!(error.why.contains(why), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
    }
}
