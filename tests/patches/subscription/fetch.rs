//! One file from a server that does not do as it should: what was there stays in use, and what can be saved is.

use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use muster::subscription::{Format, Outcome};

use super::server::{Reply, Request, Server, file, tls};
use super::{Data, dsa, outcome, sha256};

/// A data folder with a good content from a server, which then does something else.
async fn good() -> (Data, Server) {
    let server = Server::start(|request, _| file(request, "\"1\"", dsa(10, 0).as_bytes()));
    let data = Data::of_url(Format::DsaList, server.url("list"));
    let state = data.sync().await.unwrap();
    assert_eq!((outcome(&state), state.entries, state.added, state.revision), (Outcome::Changed, 10, 10, 1));
    (data, server)
}

/// Holds that a sync fails so and that nothing but its note changed.
async fn fails(data: &Data, says: &str) {
    let before = (data.state(), data.files("content"), data.files("compiled"), data.catalog().digest());
    let error = data.sync().await.unwrap_err().to_string();
    assert!(error.contains(says), "`{error}` does not say `{says}`");
    let after = data.state();
    assert_eq!(after.error.as_deref(), Some(error.as_str()));
    assert_eq!((after.failures, outcome(&after)), (before.0.failures + 1, Outcome::Failed));
    assert_eq!(
        (after.files, after.segments, after.revision, after.succeeded),
        (before.0.files, before.0.segments, before.0.revision, before.0.succeeded)
    );
    assert_eq!((data.files("content"), data.files("compiled"), data.catalog().digest()), (before.1, before.2, before.3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_neither_fetched_nor_compiled() {
    let (data, server) = good().await;
    let compiled = |data: &Data| {
        let files = data.files("compiled");
        files.iter().map(|f| (f.clone(), std::fs::metadata(data.path("compiled").join(f)).unwrap().modified().unwrap())).collect::<Vec<_>>()
    };
    let before = compiled(&data);
    let state = data.sync().await.unwrap();
    assert_eq!((outcome(&state), state.revision, state.entries), (Outcome::Unchanged, 1, 10));
    assert_eq!(server.asked()[1].header("if-none-match"), "\"1\"");
    // A server that knows no validators sends all of it again.
    server.now(|_, _| Reply::ok(dsa(10, 0)));
    let state = data.sync().await.unwrap();
    assert_eq!((outcome(&state), state.revision, state.history.len()), (Outcome::Unchanged, 1, 3));
    assert_eq!(compiled(&data), before);
    assert_eq!(data.files("content"), [sha256(dsa(10, 0).as_bytes())]);
    assert!(data.files("partial").is_empty(), "{:?}", data.files("partial"));
    // A date in place of an ETag.
    let date = "Sat, 01 Nov 2025 00:00:00 GMT";
    server.now(move |request, _| {
        let same = request.header("if-modified-since") == date;
        if same { Reply::status(304) } else { Reply::ok(dsa(10, 0)).header("Last-Modified", date) }
    });
    data.sync().await.unwrap();
    assert_eq!(outcome(&data.sync().await.unwrap()), Outcome::Unchanged);
    assert_eq!(server.asked()[1].header("if-modified-since"), date);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_compiles_what_changed() {
    let (data, server) = good().await;
    server.now(|request, _| file(request, "\"2\"", dsa(12, 1).as_bytes()));
    let state = data.sync().await.unwrap();
    assert_eq!((outcome(&state), state.added, state.changed, state.withdrawn, state.entries), (Outcome::Changed, 2, 1, 0, 12));
    let catalog = data.catalog();
    let patch = catalog.find("DSA-1-1")[0];
    let fixed = &catalog.definition(patch).unwrap().entries[0].fixed;
    assert_eq!((&**fixed, catalog.len()), ("2.0-1", 12));
    let news = data.open().news_since("feed", &state, 1);
    assert_eq!((news.added.len(), &*news.changed[0]), (2, "DSA-1-1"));
    assert_eq!(data.files("content").len(), 1, "the old content is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let (data, server) = good().await;
    server.now(|request, before| if before == 0 { Reply::status(500) } else { file(request, "\"2\"", dsa(11, 0).as_bytes()) });
    assert_eq!(data.sync().await.unwrap().entries, 11);
    server.now(|_, _| Reply::status(503));
    fails(&data, "answered 503 Service Unavailable: the vendor's server has a problem").await;
    assert_eq!(server.asked().len(), 2);
    server.now(|_, _| Reply::status(404));
    fails(&data, "404 Not Found: nothing is there").await;
    assert_eq!(server.asked().len(), 1);
    // An hour is the next sync's.
    server.now(|_, _| Reply::status(429).header("Retry-After", "3600"));
    fails(&data, "429 Too Many Requests: we came too often").await;
    assert_eq!(server.asked().len(), 1);
    server.now(|request, _| file(request, "\"2\"", dsa(11, 0).as_bytes()));
    assert_eq!(data.sync().await.unwrap().failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_download_goes_on_where_it_was() {
    let text = dsa(500, 0);
    let (body, length) = (text.clone(), text.len());
    let server = Server::start(move |request, before| {
        let reply = file(request, "\"1\"", body.as_bytes());
        if before == 0 { reply.cut(length / 3) } else { reply }
    });
    let data = Data::of_url(Format::DsaList, server.url("list"));
    assert_eq!(data.sync().await.unwrap().entries, 500);
    let asked = server.asked();
    assert_eq!((asked.len(), asked[1].header("if-range")), (2, "\"1\""));
    let from: usize = asked[1].header("range").trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert_eq!(from, length / 3);
    assert_eq!(data.files("content"), [sha256(text.as_bytes())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_goes_on_with_a_broken_download() {
    let text = dsa(500, 0);
    let body = text.clone();
    let server = Server::start(move |request, before| {
        let reply = file(request, "\"1\"", body.as_bytes());
        if before == 0 { reply.cut(7000) } else { reply }
    });
    let mut data = Data::of_url(Format::DsaList, server.url("list"));
    data.patience.attempts = 1;
    let error = data.sync().await.unwrap_err().to_string();
    assert!(error.contains("broke"), "{error}");
    assert_eq!(data.files("partial").len(), 2);
    assert_eq!((data.state().entries, data.catalog().len()), (0, 0));
    assert_eq!(data.sync().await.unwrap().entries, 500);
    assert_eq!(server.asked()[1].header("range"), "bytes=7000-");
    assert!(data.files("partial").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_while_it_was_fetched_is_never_mixed() {
    let (old, new) = (dsa(500, 0), dsa(500, 500));
    let lengths = (old.len(), new.len());
    assert_eq!(lengths.0, lengths.1);
    // A good server gives the new one whole; a bad one gives its rest, and then, asked for all, all.
    for bad in [false, true] {
        let (old, new) = (old.clone(), new.clone());
        let server = Server::start(move |request, before| match before {
            0 => file(request, "\"1\"", old.as_bytes()).cut(9000),
            1 if bad => {
                assert_eq!(request.header("if-range"), "\"1\"");
                let range = format!("bytes 9000-{}/{}", new.len() - 1, new.len());
                Reply::ok(&new.as_bytes()[9000..]).header("ETag", "\"2\"").header("Content-Range", &range).partial()
            }
            _ => file(request, "\"2\"", new.as_bytes()),
        });
        let mut data = Data::of_url(Format::DsaList, server.url("list"));
        data.patience.attempts = 3;
        let state = data.sync().await.unwrap();
        assert_eq!(state.files[0].sha256, sha256(dsa(500, 500).as_bytes()), "bad: {bad}");
        assert_eq!(state.files[0].etag.as_deref(), Some("\"2\""));
        assert_eq!(server.asked().len(), if bad { 3 } else { 2 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_nobody_asked_for_or_that_cannot_be() {
    // Without a strong validator nothing is gone on with.
    for etag in ["", "W/\"1\""] {
        let text = dsa(500, 0);
        let server = Server::start(move |_, before| {
            let reply = Reply::ok(text.clone());
            let reply = if etag.is_empty() { reply } else { reply.header("ETag", etag) };
            if before == 0 { reply.cut(5000) } else { reply }
        });
        let data = Data::of_url(Format::DsaList, server.url("list"));
        assert_eq!(data.sync().await.unwrap().entries, 500);
        assert_eq!(server.asked()[1].header("range"), "");
    }
    // The file became shorter than what was fetched.
    let server = Server::start(|request, before| match before {
        0 => file(request, "\"1\"", dsa(500, 0).as_bytes()).cut(5000),
        1 => Reply::status(416),
        _ => file(request, "\"2\"", dsa(5, 0).as_bytes()),
    });
    let mut data = Data::of_url(Format::DsaList, server.url("list"));
    data.patience.attempts = 3;
    assert_eq!(data.sync().await.unwrap().entries, 5);
    let server = Server::start(|_, _| Reply::ok("x").header("Content-Range", "bytes 5-5/6").partial());
    let data = Data::of_url(Format::DsaList, server.url("list"));
    let error = data.sync().await.unwrap_err().to_string();
    assert!(error.contains("answered 206 Partial Content without being asked"), "{error}");
    // 304 to somebody who has nothing.
    let server = Server::start(|_, _| Reply::status(304));
    let data = Data::of_url(Format::DsaList, server.url("list"));
    assert!(data.sync().await.unwrap_err().to_string().contains("304"));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_within_reason() {
    let server = Server::start(|request, _| match request.path.as_str() {
        "a/list" => Reply::redirect("../b/list?x=1"),
        "b/list?x=1" => Reply::redirect("/c"),
        "c" => file(request, "\"1\"", dsa(3, 0).as_bytes()),
        "loop" => Reply::redirect("loop"),
        _ => Reply::status(302),
    });
    let data = Data::of_url(Format::DsaList, server.url("a/list"));
    let state = data.sync().await.unwrap();
    assert_eq!((state.entries, &state.files[0].name), (3, &server.url("a/list")));
    assert_eq!(outcome(&data.sync().await.unwrap()), Outcome::Unchanged);
    let data = Data::of_url(Format::DsaList, server.url("loop"));
    let error = data.sync().await.unwrap_err().to_string();
    assert!(error.contains("leads to more than 5 other addresses"), "{error}");
    let data = Data::of_url(Format::DsaList, server.url("nowhere"));
    assert!(data.sync().await.unwrap_err().to_string().contains("302 Found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn https_does_not_lead_to_http() {
    let server = Server::start(|_, _| Reply::ok(dsa(3, 0)));
    let port = tls(Reply::redirect(&server.url("list?secret")));
    let mut data = Data::of_url(Format::DsaList, format!("https://localhost:{port}/list"));
    data.feed.ca = Some("tests/data/tls/ca.pem".into());
    let error = data.sync().await.unwrap_err().to_string();
    assert!(error.contains("leads from https to `http://") && !error.contains("secret"), "{error}");
    assert!(server.asked().is_empty());
    // The other way is fine.
    let port = tls(Reply::ok(dsa(3, 0)));
    server.now(move |_, _| Reply::redirect(&format!("https://localhost:{port}/list")));
    let mut data = Data::of_url(Format::DsaList, server.url("list"));
    data.feed.ca = Some("tests/data/tls/ca.pem".into());
    assert_eq!(data.sync().await.unwrap().entries, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_whether_it_is_announced_or_not() {
    let (mut data, server) = good().await;
    data.limits.feed_bytes = 2000;
    server.now(|request, _| file(request, "\"2\"", dsa(100, 0).as_bytes()));
    fails(&data, "is over 2000 bytes (limits.feed_bytes)").await;
    server.now(|_, _| Reply::ok(dsa(100, 0)).endless());
    fails(&data, "is over 2000 bytes (limits.feed_bytes)").await;
    assert!(data.files("partial").is_empty(), "{:?}", data.files("partial"));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_held_against_its_published_checksum() {
    let (mut data, server) = good().await;
    let new = dsa(11, 0);
    let publish = |sum: String| {
        let new = new.clone();
        move |request: &Request, _: usize| match request.path.as_str() {
            "list.sha256" => Reply::ok(format!("{sum}  list\n")),
            _ => file(request, "\"2\"", new.as_bytes()),
        }
    };
    data.feed.checksum = Some(server.url("list.sha256"));
    server.now(publish("0".repeat(64)));
    fails(&data, &format!("`list` has the SHA-256 {}, and {} was published", sha256(new.as_bytes()), "0".repeat(64))).await;
    assert!(data.files("partial").is_empty(), "what is wrong is not gone on with");
    server.now(publish("not here".to_owned()));
    fails(&data, "holds no SHA-256 or SHA-512 for `list`").await;
    server.now(publish(sha256(new.as_bytes())));
    assert_eq!(data.sync().await.unwrap().entries, 11);
    server.now(|request, _| file(request, "\"3\"", dsa(12, 0).as_bytes()));
    data.feed.checksum = Some(format!("sha256:{}", sha256(new.as_bytes())));
    fails(&data, "was published; it is not used").await;
    data.feed.checksum = Some(format!("sha256:{}", sha256(dsa(12, 0).as_bytes())));
    assert_eq!(data.sync().await.unwrap().entries, 12);
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_cut_off_is_not_taken_for_its_beginning() {
    let packed = gzip(&super::kev(&[1, 2, 3, 4], "Known"));
    let server = Server::start(move |_, _| Reply::ok(packed.clone()));
    let data = Data::of_url(Format::Kev, server.url("kev.json.gz"));
    assert_eq!(data.sync().await.unwrap().entries, 4);
    // The server says nothing of the length, so that only the content can tell.
    let packed = gzip(&super::kev(&[1, 2, 3, 4, 5], "Known"));
    server.now(move |_, _| Reply::ok(&packed[..packed.len() - 9]).endless());
    fails(&data, "cannot be used").await;
    // So can a page of a proxy.
    server.now(|_, _| Reply::ok("<html>You are logged out</html>"));
    fails(&data, "cannot be used").await;
    // And a list whose format is another one.
    server.now(|_, _| Reply::ok("{\"vulnerabilities\":[]}"));
    fails(&data, "0 entries where it had 4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drips_is_given_up() {
    let (mut data, server) = good().await;
    data.patience.idle = Duration::from_millis(300);
    server.now(|_, _| Reply::ok("x".repeat(20)).drip(Duration::from_secs(2)));
    fails(&data, "did not answer within 0.3 s").await;
    // Just often enough to seem alive.
    data.patience.window = Duration::from_millis(400);
    server.now(|_, _| Reply::ok("x".repeat(1000)).drip(Duration::from_millis(50)));
    let begun = std::time::Instant::now();
    fails(&data, "sent under 65536 bytes within").await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Not even a head.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    data.patience.head = Duration::from_millis(200);
    data.feed.source = muster::subscription::Source::Urls(vec![format!("http://{}/list", silent.local_addr().unwrap())]);
    fails(&data, "did not answer within 0.2 s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_listens() {
    let mut data = Data::of_url(Format::DsaList, "http://127.0.0.1:9/list".to_owned());
    data.patience.attempts = 1;
    let error = data.sync().await.unwrap_err().to_string();
    assert!(error.contains("nothing listens"), "{error}");
    let state = data.state();
    assert_eq!((state.failures, state.succeeded, data.catalog().len()), (1, None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told() {
    let (data, server) = good().await;
    server.now(|request, _| file(request, "\"2\"", dsa(400, 0).as_bytes()));
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let into = told.clone();
    let progress: muster::subscription::Progress = Arc::new(move |feed, step| into.lock().unwrap().push(format!("{feed} {step:?}")));
    data.open().sync("feed", false, &progress).await.unwrap();
    let (told, length) = (told.lock().unwrap(), dsa(400, 0).len());
    assert!(told.iter().any(|t| t.contains(&format!("done: {length}, total: Some({length})"))), "{told:?}");
    assert!(told.last().unwrap().contains("Compiling"), "{told:?}");
}

/// A folder for gpg's keys, and gpg with it; `None` where there is no gpg.
fn gpg(home: &std::path::Path, arguments: &[&str]) -> Option<std::process::Output> {
    let output =
        std::process::Command::new("gpg").arg("--homedir").arg(home).args(["--batch", "--yes", "--quiet"]).args(arguments).output();
    let Ok(output) = output else {
        assert!(std::env::var_os("MUSTER_REQUIRE_PEERS").is_none(), "gpg is required and not here");
        eprintln!("skipped: gpg is not installed, signatures of feeds are not tested");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output)
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_verified_by_gpgv() {
    use std::os::unix::fs::PermissionsExt;
    let keys = tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(keys.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let key = |name: &str| gpg(keys.path(), &["--passphrase", "", "--quick-gen-key", name, "ed25519", "sign", "never"]);
    let Some(_) = key("vendor@example.org") else { return };
    key("other@example.org");
    let at = |name: &str| keys.path().join(name).display().to_string();
    let sign = |who: &str, text: &str| {
        std::fs::write(at("list"), text).unwrap();
        gpg(keys.path(), &["--local-user", who, "--output", &at("list.sig"), "--detach-sign", &at("list")]);
        std::fs::read(at("list.sig")).unwrap()
    };
    gpg(keys.path(), &["--output", &at("vendor.gpg"), "--export", "vendor@example.org"]);
    let text = dsa(5, 0);
    let serve = |text: String, signature: Vec<u8>| {
        move |request: &Request, _: usize| match request.path.as_str() {
            "list.sig" => Reply::ok(signature.clone()),
            _ => Reply::ok(text.clone()),
        }
    };
    let server = Server::start(serve(text.clone(), sign("vendor@example.org", &text)));
    let mut data = Data::of_url(Format::DsaList, server.url("list"));
    (data.feed.signature, data.feed.keyring) = (Some(server.url("list.sig")), Some(at("vendor.gpg").into()));
    assert_eq!(data.sync().await.unwrap().entries, 5);
    // Signed, but not this; signed by somebody else; not signed at all.
    server.now(serve(dsa(6, 0), sign("vendor@example.org", &text)));
    fails(&data, "the signature of `list` is not good by the keys of").await;
    server.now(serve(dsa(6, 0), sign("other@example.org", &dsa(6, 0))));
    fails(&data, "No public key").await;
    server.now(serve(dsa(6, 0), b"nothing".to_vec()));
    fails(&data, "the signature of `list` is not good").await;
    server.now(serve(dsa(6, 0), sign("vendor@example.org", &dsa(6, 0))));
    assert_eq!(data.sync().await.unwrap().entries, 6);
}
