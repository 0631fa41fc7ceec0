//! Feeds of many documents: a CSAF provider's ROLIE feeds and folders, Microsoft's months. Only what is new or changed is fetched, and each document is checked.

use std::collections::BTreeMap;

use muster::subscription::{Format, Outcome};
use serde_json::{Value, json};

use super::server::{Reply, Request, Server};
use super::{Data, outcome, sha256};

/// An advisory about one package.
fn document(id: u32, fixed: &str) -> String {
    let at = "2024-01-01T00:00:00Z";
    json!({
        "document": {
            "category": "csaf_security_advisory", "csaf_version": "2.0", "title": "T",
            "publisher": {"name": "V", "category": "vendor", "namespace": "https://v.example"},
            "notes": [{"category": "summary", "text": "t"}], "references": [{"category": "self", "summary": "s", "url": "https://v.example/1"}],
            "distribution": {"tlp": {"label": "WHITE"}},
            "tracking": {"id": format!("V-{id}"), "status": "final", "version": "1", "initial_release_date": at, "current_release_date": at,
                "revision_history": [{"date": at, "number": "1", "summary": "s"}]},
        },
        "product_tree": {"full_product_names": [
            {"product_id": "p", "name": "p", "product_identification_helper": {"purl": format!("pkg:rpm/redhat/package-{id}@{fixed}?arch=x86_64")}},
        ]},
        "vulnerabilities": [{"cve": format!("CVE-2024-{}", 1000 + id), "notes": [{"category": "description", "text": "t"}],
            "product_status": {"fixed": ["p"]}, "remediations": [{"category": "vendor_fix", "details": "d", "product_ids": ["p"]}]}],
    })
    .to_string()
}

/// What a provider publishes: documents by number with the date of their list.
#[derive(Clone)]
struct Provider {
    documents: BTreeMap<u32, (String, String)>,
    /// Documents whose published sum is another one.
    wrong: Vec<u32>,
    rolie: bool,
    changes: bool,
    address: String,
}

impl Provider {
    fn new(count: u32) -> Provider {
        let documents = (1..=count).map(|n| (n, (document(n, "1.0-1"), format!("2024-01-{n:02}T00:00:00Z")))).collect();
        Provider { documents, wrong: Vec::new(), rolie: true, changes: true, address: String::new() }
    }

    fn metadata(&self) -> Value {
        let feed = |name: &str, label: &str| json!({"summary": "s", "tlp_label": label, "url": format!("{}/{name}", self.address)});
        let rolie = json!({"rolie": {"feeds": [feed("csaf-feed-tlp-white.json", "WHITE"), feed("csaf-feed-tlp-amber.json", "AMBER")]}});
        let folder = json!({"directory_url": format!("{}/white", self.address)});
        json!({"canonical_url": "x", "distributions": if self.rolie { vec![rolie, folder] } else { vec![folder] }, "metadata_version": "2.0"})
    }

    fn feed(&self) -> Value {
        let entry = |(n, (_, updated)): (&u32, &(String, String))| {
            let at = format!("{}/white/2024/v-{n}.json", self.address);
            json!({"id": format!("V-{n}"), "updated": updated, "content": {"src": at, "type": "application/json"},
                "link": [{"rel": "self", "href": at}, {"rel": "hash", "href": format!("{at}.sha512")}, {"rel": "hash", "href": format!("{at}.sha256")}]})
        };
        json!({"feed": {"id": "f", "entry": self.documents.iter().map(entry).collect::<Vec<_>>()}})
    }

    fn answer(&self, request: &Request) -> Reply {
        let path = request.path.as_str();
        let name = path.strip_prefix("white/2024/v-").unwrap_or_default();
        let number = name.split('.').next().and_then(|n| n.parse::<u32>().ok());
        let found = number.and_then(|n| Some((n, self.documents.get(&n)?)));
        match (path, found) {
            (".well-known/csaf/provider-metadata.json", _) => Reply::ok(self.metadata().to_string()),
            ("csaf-feed-tlp-white.json", _) => Reply::ok(self.feed().to_string()),
            ("white/changes.csv", _) if self.changes => {
                let line = |(n, (_, at)): (&u32, &(String, String))| format!("\"2024/v-{n}.json\",\"{at}\"\n");
                Reply::ok(self.documents.iter().rev().map(line).collect::<String>())
            }
            ("white/index.txt", _) => Reply::ok(self.documents.keys().map(|n| format!("2024/v-{n}.json\n")).collect::<String>()),
            (path, Some((n, (text, _)))) if path.ends_with(".sha256") => {
                let sum = if self.wrong.contains(&n) { "0".repeat(64) } else { sha256(text.as_bytes()) };
                Reply::ok(format!("{sum}  v-{n}.json\n"))
            }
            (path, Some((_, (text, _)))) if path.ends_with(".sha512") => {
                use sha2::Digest;
                Reply::ok(sha2::Sha512::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect::<String>())
            }
            (path, Some((_, (text, _)))) if path.ends_with(".json") => {
                super::server::file(request, &format!("\"{}\"", sha256(text.as_bytes())), text.as_bytes())
            }
            _ => Reply::status(404),
        }
    }

    fn publish(mut self, server: &Server) -> Provider {
        self.address = server.url("").trim_end_matches('/').to_owned();
        let this = self.clone();
        server.now(move |request, _| this.answer(request));
        self
    }
}

fn documents(server: &Server) -> Vec<String> {
    server.paths().into_iter().filter(|p| p.starts_with("white/2024/") && p.ends_with(".json")).collect()
}

fn nothing() -> Server {
    Server::start(|_, _| Reply::status(404))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_rolie_feeds() {
    let server = nothing();
    let provider = Provider::new(6).publish(&server);
    let data = Data::of_url(Format::Csaf, server.url(".well-known/csaf/provider-metadata.json"));
    let state = data.sync().await.unwrap();
    assert_eq!((state.entries, state.files.len(), documents(&server).len()), (6, 6, 6));
    assert!(state.notes.len() == 1 && state.notes[0].contains("is not for everybody (TLP:AMBER)"), "{:?}", state.notes);
    assert!(server.paths().iter().any(|p| p.ends_with(".sha512")) && !server.paths().iter().any(|p| p.contains("amber")));
    assert!(data.files("partial").is_empty() && !data.path("pending.jsonl").exists());

    // Nothing new: the lists alone are asked for.
    provider.clone().publish(&server);
    assert_eq!(outcome(&data.sync().await.unwrap()), Outcome::Unchanged);
    assert_eq!(documents(&server), Vec::<String>::new());

    // One changed, one new, one gone.
    let mut next = provider;
    next.documents.insert(2, (document(2, "1.0-2"), "2024-02-01T00:00:00Z".to_owned()));
    next.documents.insert(7, (document(7, "1.0-1"), "2024-02-01T00:00:00Z".to_owned()));
    next.documents.remove(&6);
    next.publish(&server);
    let state = data.sync().await.unwrap();
    assert_eq!(documents(&server), ["white/2024/v-2.json", "white/2024/v-7.json"]);
    assert_eq!((state.added, state.changed, state.withdrawn, state.entries), (1, 1, 1, 6));
    assert_eq!(data.files("content").len(), 6);
    let catalog = data.catalog();
    assert!(catalog.find("V-6").is_empty() && !catalog.find("V-7").is_empty());

    // Each definition knows its own document.
    let folder = data.open();
    let evidence = folder.evidence("feed", "V-2").unwrap();
    assert_eq!(evidence.len(), 1);
    assert_eq!(
        (evidence[0].file.as_str(), &evidence[0].sha256),
        (server.url("white/2024/v-2.json").as_str(), &sha256(document(2, "1.0-2").as_bytes()))
    );
    assert_eq!(folder.evidence("feed", "V-6").unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_folders_and_one_with_an_index_alone() {
    for changes in [true, false] {
        let server = nothing();
        let provider = Provider { rolie: false, changes, ..Provider::new(5) }.publish(&server);
        let data = Data::of_url(Format::Csaf, server.url(".well-known/csaf/provider-metadata.json"));
        assert_eq!(data.sync().await.unwrap().entries, 5);
        let mut next = provider;
        next.documents.insert(3, (document(3, "1.0-2"), "2024-02-01T00:00:00Z".to_owned()));
        next.publish(&server);
        let state = data.sync().await.unwrap();
        assert_eq!((state.changed, state.entries), (1, 5), "changes.csv: {changes}");
        // Without dates each document is asked for, and answered 304 but one.
        assert_eq!(documents(&server).len(), if changes { 1 } else { 5 });
        let at = server.url(if changes { "white/changes.csv" } else { "white/index.txt" });
        assert_eq!(Data::of_url(Format::Csaf, at).sync().await.unwrap().entries, 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_what_was_published_leaves_its_older_version_in_use() {
    let server = nothing();
    let provider = Provider { rolie: false, ..Provider::new(12) }.publish(&server);
    let data = Data::of_url(Format::Csaf, server.url(".well-known/csaf/provider-metadata.json"));
    data.sync().await.unwrap();
    let mut next = provider.clone();
    for n in 1..=12 {
        next.documents.insert(n, (document(n, "1.0-2"), "2024-02-01T00:00:00Z".to_owned()));
    }
    next.wrong = vec![4];
    next.documents.get_mut(&5).unwrap().0.truncate(100);
    next.clone().publish(&server);
    let state = data.sync().await.unwrap();
    assert_eq!((state.changed, state.entries, state.notes.len()), (10, 12, 2));
    assert!(state.notes[0].contains("v-4.json") && state.notes[0].contains("has the SHA-256"), "{:?}", state.notes);
    assert!(state.notes[1].contains("v-5.json") && state.notes[1].contains("no JSON document"), "{:?}", state.notes);
    let catalog = data.catalog();
    let fixed = |id: &str| catalog.definition(catalog.find(id)[0]).unwrap().entries[0].fixed.to_string();
    assert!(fixed("V-3").ends_with("1.0-2") && fixed("V-4").ends_with("1.0-1"), "{} {}", fixed("V-3"), fixed("V-4"));

    // It is asked for again until it is right.
    next.wrong.clear();
    next.documents.insert(5, (document(5, "1.0-2"), "2024-02-01T00:00:00Z".to_owned()));
    next.publish(&server);
    let state = data.sync().await.unwrap();
    assert_eq!((documents(&server).len(), state.changed, state.notes.len()), (2, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_ends_half_way_goes_on_where_it_was() {
    let server = nothing();
    let provider = Provider { rolie: false, ..Provider::new(40) }.publish(&server);
    let this = provider.clone();
    // From the twentieth document on the server is in trouble.
    server.now(move |request, _| {
        let late =
            request.path.strip_prefix("white/2024/v-").and_then(|n| n.split('.').next()?.parse::<u32>().ok()).is_some_and(|n| n >= 20);
        if late { Reply::status(500) } else { this.answer(request) }
    });
    let mut data = Data::of_url(Format::Csaf, server.url(".well-known/csaf/provider-metadata.json"));
    data.patience.attempts = 1;
    let error = data.sync().await.unwrap_err().to_string();
    assert!(error.contains("of 40 documents could not be fetched") && error.contains("answered 500"), "{error}");
    assert_eq!((data.state().revision, data.catalog().len()), (0, 0));
    let kept = data.files("content").len();
    assert!(kept >= 10, "{kept}");
    provider.publish(&server);
    let state = data.sync().await.unwrap();
    assert_eq!((state.entries, documents(&server).len()), (40, 40 - kept));
    assert!(!data.path("pending.jsonl").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_none() {
    let server = nothing();
    for (path, body, says) in [
        ("provider-metadata.json", "{}", "names no ROLIE feed and no folder"),
        ("provider-metadata.json", "<html>", "is not the JSON that was expected"),
        ("changes.csv", "", "holds nothing that can be used"),
        ("csaf-feed-tlp-white.json", "{\"feed\":{\"entry\":[{\"id\":\"x\"}]}}", "holds nothing that can be used"),
    ] {
        server.now(move |_, _| Reply::ok(body));
        let error = Data::of_url(Format::Csaf, server.url(path)).sync().await.unwrap_err().to_string();
        assert!(error.contains(says), "{path} {body}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_by_https_names_nothing_by_http() {
    let server = Server::start(|_, _| Reply::ok(document(1, "1.0-1")));
    let entry = json!({"id": "V-1", "updated": "x", "content": {"src": server.url("v-1.json")}});
    let port = super::server::tls(Reply::ok(json!({"feed": {"entry": [entry]}}).to_string()));
    let mut data = Data::of_url(Format::Csaf, format!("https://localhost:{port}/csaf-feed-tlp-white.json"));
    data.feed.ca = Some("tests/data/tls/ca.pem".into());
    data.sync().await.unwrap_err();
    assert!(server.asked().is_empty());
    let metadata = json!({"distributions": [{"directory_url": server.url("white/")}]});
    let port = super::server::tls(Reply::ok(metadata.to_string()));
    let crate::patches::subscription::Source::Urls(urls) = &mut data.feed.source else { panic!("URLs") };
    urls[0] = format!("https://localhost:{port}/provider-metadata.json");
    let error = data.sync().await.unwrap_err().to_string();
    assert!(error.contains("leads from https to"), "{error}");
}

fn month(number: u32, build: &str) -> String {
    json!({
        "ProductTree": {"FullProductName": [{"ProductID": "1", "Value": "Windows Server 2022"}]},
        "Vulnerability": [{"CVE": format!("CVE-2024-{number}"), "Title": {"Value": "t"}, "ProductStatuses": [{"ProductID": ["1"], "Type": 3}],
            "Remediations": [{"Description": {"Value": format!("50000{number}")}, "ProductID": ["1"], "Type": 2, "SubType": "Security Update", "FixedBuild": build,
                "URL": format!("https://catalog.update.microsoft.com/q=KB50000{number}")}]}],
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn months_are_fetched_again_when_they_changed() {
    // By number: date of the last change, and build.
    type Months = BTreeMap<u32, (&'static str, &'static str)>;
    fn answer(months: &Months, base: &str, request: &Request) -> Reply {
        if request.header("accept") != "application/json" {
            return Reply::ok("<cvrf:cvrfdoc/>");
        }
        match request.path.strip_prefix("cvrf/v3.0/cvrf/2024-").and_then(|n| n.parse().ok()).and_then(|n: u32| Some((n, months.get(&n)?))) {
            Some((n, (_, build))) => Reply::ok(month(n, build)),
            None => {
                let one = |(n, (at, _)): (&u32, &(&str, &str))| {
                    let url = if *n == 11 { String::new() } else { format!("{base}cvrf/v3.0/cvrf/2024-{n}") };
                    json!({"ID": format!("2024-{n}"), "CurrentReleaseDate": at, "CvrfUrl": url})
                };
                Reply::ok(json!({"@odata.context": "x", "value": months.iter().map(one).collect::<Vec<_>>()}).to_string())
            }
        }
    }
    let server = nothing();
    let base = server.url("");
    let months: Months =
        [(10, ("2024-10-08", "10.0.20348.2700")), (11, ("2024-11-12", "10.0.20348.2800")), (12, ("2024-12-10", "10.0.20348.2900"))].into();
    let (of, at) = (months.clone(), base.clone());
    server.now(move |request, _| answer(&of, &at, request));
    let data = Data::of_url(Format::MsrcCvrf, server.url("cvrf/v3.0/updates"));
    let state = data.sync().await.unwrap();
    assert_eq!((state.entries, state.files.len()), (3, 3), "{:?}", state.problems);
    let mut months = months;
    months.insert(11, ("2024-12-01", "10.0.20348.2801"));
    server.now(move |request, _| answer(&months, &base, request));
    let state = data.sync().await.unwrap();
    assert_eq!(server.paths(), ["cvrf/v3.0/cvrf/2024-11", "cvrf/v3.0/updates"]);
    assert_eq!((outcome(&state), state.changed), (Outcome::Changed, 1));
    let evidence = data.open().evidence("feed", "KB5000011").unwrap();
    assert!(evidence.len() == 1 && evidence[0].file.ends_with("/cvrf/2024-11"), "{evidence:?}");
}
