//! What is kept on the disk: imports, withdrawals, suspicious contents, damage, processes that were killed half way or work at once.

use std::fs;
use std::process::Command;
use std::time::Duration;

use muster::clock;
use muster::subscription::{Feed, FeedError, Folder, Format, Outcome, Source, silent};

use super::{Data, dsa, kev, names, outcome, sha256};

#[tokio::test(flavor = "multi_thread")]
async fn files_are_brought_by_hand() {
    let data = Data::new(Format::DsaList, Source::Imported);
    let error = data.sync().await.unwrap_err().to_string();
    assert!(error.contains("bring its files with `muster feed import feed FILE`"), "{error}");
    let state = data.import(&[("DSA/list", &dsa(6, 0)), ("DLA/list", &dsa(3, 0).replace("DSA-", "DLA-"))], false).await.unwrap();
    assert_eq!((state.entries, state.files.len(), state.error), (9, 2, None));
    assert!(state.history[0].imported);
    assert_eq!(outcome(&data.import(&[("DSA/list", &dsa(6, 0))], true).await.unwrap()), Outcome::Unchanged);
    let state = data.import(&[("DSA/list", &dsa(7, 0))], true).await.unwrap();
    assert_eq!((state.entries, state.added, state.withdrawn), (10, 1, 0));
    let folder = data.open();
    for (id, text) in [("DSA-1-1", dsa(7, 0)), ("DLA-1-1", dsa(3, 0).replace("DSA-", "DLA-"))] {
        let evidence = folder.evidence("feed", id).unwrap();
        assert_eq!((evidence.len(), &evidence[0].sha256), (1, &sha256(text.as_bytes())), "{id}");
    }
    // In the place of all.
    let state = data.import(&[("DSA/list", &dsa(7, 0))], false).await.unwrap();
    assert_eq!((state.entries, state.withdrawn, state.files.len()), (7, 3, 1));
    assert_eq!(data.files("content").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_changes_nothing() {
    let data = Data::new(Format::Kev, Source::Imported);
    data.import(&[("kev.json", &kev(&[1, 2, 3], "Unknown"))], false).await.unwrap();
    let before = data.catalog().digest();
    for (text, says) in [
        ("{\"vulnerabilities\":", "`kev.json` cannot be used"),
        ("", "cannot be used"),
        ("{\"vulnerabilities\":[{\"cveID\":\"x\"}]}", "1 problems, the first"),
    ] {
        let error = data.import(&[("kev.json", text)], false).await.unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
        assert_eq!(data.catalog().digest(), before);
    }
    let state = data.import(&[("kev.json", &kev(&[2, 3, 4], "Known"))], false).await.unwrap();
    assert_eq!((state.added, state.changed, state.withdrawn, state.failures), (1, 2, 1, 0));
    assert_ne!(data.catalog().digest(), before);
    assert_eq!(state.history.iter().filter(|a| a.outcome == Outcome::Failed).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_read_again_and_folders_stand_for_their_files() {
    let from = tempfile::tempdir().unwrap();
    let at = |name: &str| from.path().join(name);
    fs::create_dir_all(at("DSA")).unwrap();
    fs::create_dir_all(at(".git")).unwrap();
    fs::write(at("DSA/list"), dsa(4, 0)).unwrap();
    for beside in ["DSA/list.asc", "DSA/list.sha256", ".git/list", "index.txt"] {
        fs::write(at(beside), "nothing").unwrap();
    }
    let data = Data::new(Format::DsaList, Source::Paths(vec![from.path().to_owned()]));
    let state = data.sync().await.unwrap();
    assert_eq!((state.entries, state.files.len()), (4, 1));
    assert_eq!(outcome(&data.sync().await.unwrap()), Outcome::Unchanged);
    fs::write(at("DSA/more"), dsa(1, 0).replace("DSA-1-1", "DSA-9-1")).unwrap();
    assert_eq!(data.sync().await.unwrap().entries, 5);
    fs::remove_dir_all(from.path()).unwrap();
    let error = data.sync().await.unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
    assert_eq!((data.state().entries, data.catalog().len()), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_is_gone_and_counted() {
    let osv = |withdrawn: &str| {
        let one = |n: u32| {
            let mark = if n == 1 { withdrawn } else { "" };
            format!(
                "{{\"id\":\"ALSA-{n}\",\"modified\":\"2024-01-0{n}T00:00:00Z\"{mark},\"affected\":[{{\"package\":{{\"ecosystem\":\"AlmaLinux:9\",\"name\":\"p\"}},\
                 \"ranges\":[{{\"type\":\"ECOSYSTEM\",\"events\":[{{\"introduced\":\"0\"}},{{\"fixed\":\"1-{n}\"}}]}}]}}]}}"
            )
        };
        (1..=4).map(|n| (format!("{n}.json"), one(n))).collect::<Vec<_>>()
    };
    let data = Data::new(Format::Osv, Source::Imported);
    let files = osv("");
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    assert_eq!(data.import(&files, false).await.unwrap().entries, 4);
    let files = osv(",\"withdrawn\":\"2024-02-01T00:00:00Z\"");
    let state = data.import(&[(&files[0].0, &files[0].1)], true).await.unwrap();
    assert_eq!((state.entries, state.withdrawn, state.files.len()), (3, 1, 4));
    assert!(data.catalog().find("ALSA-1").is_empty());
    assert_eq!(&*data.open().news_since("feed", &state, 1).withdrawn[0], "ALSA-1");
    // Two files about one advisory: the later word counts, whichever file it is in.
    let older = files[1].1.replace("1-2", "1-1").replace("2024-01-02", "2023-01-02");
    let state = data.import(&[("archive.json", &older)], true).await.unwrap();
    assert_eq!((state.entries, state.changed), (3, 0));
    assert_eq!(data.open().evidence("feed", "ALSA-2").unwrap()[0].file, "2.json");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_shrinks_suddenly_is_not_believed() {
    let from = tempfile::tempdir().unwrap();
    let path = from.path().join("list");
    fs::write(&path, dsa(100, 0)).unwrap();
    let data = Data::new(Format::DsaList, Source::Paths(vec![path.clone()]));
    data.sync().await.unwrap();
    for count in [49, 1, 0] {
        fs::write(&path, dsa(count, 0)).unwrap();
        let error = data.sync().await.unwrap_err();
        assert!(matches!(error, FeedError::Suspicious { before: 100, now } if now == count), "{error:?}");
        assert!(error.to_string().contains("--force"));
        assert_eq!((data.state().entries, data.catalog().len()), (100, 100));
    }
    assert_eq!(data.state().failures, 3);
    fs::write(&path, dsa(50, 0)).unwrap();
    assert_eq!(data.sync().await.unwrap().entries, 50);
    fs::write(&path, dsa(2, 0)).unwrap();
    data.sync().await.unwrap_err();
    let state = data.force().await.unwrap();
    assert_eq!((state.entries, state.withdrawn, state.failures), (2, 48, 0));
    fs::write(&path, "").unwrap();
    assert_eq!(data.force().await.unwrap().entries, 0);
    assert_eq!(data.catalog().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_leaves_behind_is_not_used() {
    let data = Data::new(Format::DsaList, Source::Imported);
    data.import(&[("list", &dsa(8, 0))], false).await.unwrap();
    let digest = data.catalog().digest();
    // Before each step of the next sync: a file on its way, a content without a state, a segment without a state, a state without its name.
    for (name, text) in [
        ("partial/0123", "half"),
        ("partial/.aside-x", "half"),
        ("content/abc", "half"),
        ("compiled/.aside-y", "half"),
        ("compiled/abc.patches", "half"),
        (".aside-state", "{\"version\":1,"),
        ("pending.jsonl", "{\"name\":\"x\""),
    ] {
        fs::write(data.path(name), text).unwrap();
        assert_eq!(data.catalog().digest(), digest, "{name}");
    }
    assert_eq!(data.state().entries, 8);
    let state = data.import(&[("list", &dsa(9, 0))], false).await.unwrap();
    assert_eq!(state.entries, 9);
    // A base and what was added to it, and the news of both.
    assert_eq!((data.files("content").len(), data.files("compiled").len()), (1, 4), "{:?}", data.files("compiled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_said_and_mended() {
    let data = Data::new(Format::DsaList, Source::Imported);
    let state = data.import(&[("list", &dsa(8, 0))], false).await.unwrap();
    let digest = data.catalog().digest();
    let segment = data.path("compiled").join(&state.segments[0]);
    let whole = fs::read(&segment).unwrap();
    let mut other = whole.clone();
    other[8] ^= 1;
    for damaged in [&whole[..whole.len() / 2], &other, b"" as &[u8]] {
        fs::write(&segment, damaged).unwrap();
        assert!(data.open().check(clock::now()).iter().any(|(_, what)| what.contains("compiled again")));
        assert_eq!(data.catalog().digest(), digest);
        assert_eq!(fs::read(data.path("compiled").join(&data.state().segments[0])).unwrap(), whole);
    }
    assert_eq!(data.open().check(clock::now()), []);
    fs::remove_file(&segment).unwrap();
    assert_eq!(data.catalog().len(), 8);
    // Somebody holds the lock: said, and not waited for.
    fs::remove_file(&segment).unwrap();
    let lock = fs::File::open(data.path("lock")).unwrap();
    lock.lock().unwrap();
    let (catalog, problems) = data.open().catalog();
    assert!(catalog.is_empty() && problems[0].contains("is worked on already"), "{problems:?}");
    drop(lock);
    // Content that is not what it was: said, and not compiled.
    let content = data.path("content").join(&state.files[0].sha256);
    fs::write(&content, dsa(7, 0)).unwrap();
    let (catalog, problems) = data.open().catalog();
    assert!(catalog.is_empty() && problems[0].contains("is not what it was when it was fetched"), "{problems:?}");
    assert!(data.open().check(clock::now()).iter().any(|(_, what)| what.contains("is not what it was")));
    // A state that is damaged: the feed is brought anew.
    fs::write(data.path("state.json"), "{").unwrap();
    assert!(data.open().catalog().1[0].contains("state.json` is damaged"));
    assert_eq!(data.import(&[("list", &dsa(8, 0))], false).await.unwrap().entries, 8);
    assert_eq!(data.catalog().digest(), digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_stand_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let limits = muster::limits::Limits::default();
    let disabled = Feed { enabled: false, ..Feed::new("more", Format::DsaList, Source::Imported) };
    let feeds = vec![Feed::new("dsa", Format::DsaList, Source::Imported), Feed::new("kev", Format::Kev, Source::Imported), disabled];
    let open = || std::sync::Arc::new(Folder::new(folder.path(), feeds.clone(), &limits));
    let index = open().index();
    for (name, text) in [("dsa", dsa(4, 0)), ("kev", kev(&[1000, 5], "Known")), ("more", dsa(5, 0))] {
        let path = folder.path().join("file");
        fs::write(&path, text).unwrap();
        let import = muster::subscription::Import { name: "f".to_owned(), path };
        open().import(name, vec![import], false, false, &silent()).await.unwrap();
    }
    assert_ne!(open().index(), index);
    let (catalog, problems) = open().catalog();
    assert_eq!((catalog.len(), problems.len()), (4, 0));
    let rank = catalog.rank(catalog.find("DSA-1-1")[0]).unwrap();
    assert!(rank.exploited && rank.ransomware, "{rank:?}");
    // Without a configuration all that lie there.
    let found = Folder::found(folder.path(), &limits);
    assert_eq!(found.feeds().iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["dsa", "kev", "more"]);
    assert_eq!(found.catalog().0.len(), 9);
    let error = open().feed("dsb").unwrap_err().to_string();
    assert_eq!(error, "no feed is named `dsb`; did you mean `dsa`?");
    // Another format under the same name is another feed.
    let other = Folder::new(folder.path(), vec![Feed::new("dsa", Format::Kev, Source::Imported)], &limits);
    assert_eq!(other.catalog().0.len(), 0);
    let late = clock::now() + Duration::from_secs(30 * 24 * 3600);
    assert!(open().check(late).is_empty(), "what is imported is never late");
}

/// All of AlmaLinux's advisories: counted, found, and opened again without being read again.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_feed_is_opened_and_not_read_again() {
    let Some(data) = std::env::var_os("MUSTER_DATA") else {
        eprintln!("without real data: opening a compiled feed is not held against compiling it");
        return;
    };
    let path = std::path::Path::new(&data).join("feeds/alma-osv.tar.gz");
    let data = Data::new(Format::Osv, Source::Paths(vec![path]));
    let begun = std::time::Instant::now();
    let state = data.sync().await.unwrap();
    let (built, begun) = (begun.elapsed(), std::time::Instant::now());
    let catalog = data.catalog();
    let opened = begun.elapsed();
    eprintln!("{} patches compiled in {built:?}, opened in {opened:?}", catalog.len());
    assert!(state.entries > 5000 && catalog.len() == state.entries && state.problem_count == 0, "{state:?}");
    assert!(opened * 100 <= built, "{opened:?} of {built:?}");
    assert_eq!(outcome(&data.sync().await.unwrap()), Outcome::Unchanged);
}

fn muster(data: &std::path::Path, arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_muster")).arg("feed").args(arguments).arg("--data").arg(data).output().unwrap()
}

#[test]
fn the_command_line_says_how_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("list"), dsa(3, 0)).unwrap();
    let run = |arguments: &[&str]| {
        let output = muster(&folder.path().join("data"), arguments);
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (code, _, said) = run(&["import", "dsa", &at("list")]);
    assert!(code == 2 && said.contains("say with --format"), "{said}");
    let (code, out, said) = run(&["import", "dsa", &at("list"), "--format", "dsa-list"]);
    assert!(code == 0 && out.contains("changed") && out.contains('3'), "{out}{said}");
    let (code, out, _) = run(&["list", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["items"][0]["state"]["entries"], &json["items"][0]["name"]), (0, &3.into(), &"dsa".into()));
    let (code, out, _) = run(&["status", "dsa"]);
    assert!(code == 0 && out.contains("dsa: dsa-list, fine") && out.contains(&sha256(dsa(3, 0).as_bytes())), "{out}");
    assert_eq!(run(&["check"]).0, 0);
    fs::write(at("list"), "nonsense").unwrap();
    let (code, _, said) = run(&["import", "dsa", &at("list")]);
    assert!(code == 1 && said.contains("holds nothing that can be used (1 problems"), "{said}");
    let (code, out, _) = run(&["check"]);
    assert!(code == 2 && out.contains("1 attempts in a row failed"), "{out}");
    assert!(run(&["list"]).1.contains("failed"));
    let (code, _, said) = run(&["sync"]);
    assert!(code == 2 && said.contains("no enabled [[feed]]"), "{said}");
    let (code, _, said) = run(&["sync", "dsa"]);
    assert!(code == 1 && said.contains("neither `url` nor `path`"), "{said}");
    assert_eq!(run(&["status", "dsb"]).0, 1);
}

#[test]
fn two_processes_do_not_write_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let path = |n: usize| folder.path().join(n.to_string()).display().to_string();
    for n in 0..6 {
        fs::write(path(n), dsa(200 + n, 0)).unwrap();
    }
    let import = |n: usize| muster(&data, &["import", "dsa", &path(n), "--format", "dsa-list"]);
    assert!(import(0).status.success());
    let outputs: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (1..6).map(|n| scope.spawn(move || (n, import(n)))).collect();
        running.into_iter().map(|r| r.join().unwrap()).collect()
    });
    let mut done = 0;
    for (n, output) in outputs {
        let said = String::from_utf8_lossy(&output.stderr);
        done += usize::from(output.status.success());
        assert!(output.status.success() || said.contains("is worked on already"), "{n}: {said}");
    }
    assert!(done > 0);
    let folder = Folder::found(&data, &muster::limits::Limits::default());
    let state = folder.state(&folder.feeds()[0]).unwrap();
    assert_eq!(usize::try_from(state.revision).unwrap(), done + 1);
    assert_eq!(folder.catalog().0.len(), state.entries);
    assert_eq!(folder.check(clock::now()), []);
    assert_eq!(names(&data.join("feeds/dsa/content")).len(), 1);
}
