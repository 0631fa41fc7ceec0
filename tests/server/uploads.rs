//! Enrolment and uploads: what is taken, and every way in which it is not.

use std::io::Write;

use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use muster::scan::native;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::harness::{Home, Server, document, scan};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(text, 3).unwrap()
}

async fn enrolled(more: &str) -> (Home, Server, String) {
    let home = Home::new(more);
    let server = home.start().await;
    let key = server.enroll("web-1").await;
    (home, server, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_encodings_and_unchanged_scans() {
    let (_home, server, key) = enrolled("").await;
    let text = scan("1", &["openssl"]);
    let first = server.upload("web-1", &key, text.clone()).await;
    assert_eq!(
        (first["sequence"].as_u64(), first["changed"].as_bool(), first["verdicts"]["fail"].as_u64()),
        (Some(1), Some(true), Some(1))
    );
    for (encoding, body) in [("identity", text.clone().into_bytes()), ("gzip", gzip(text.as_bytes())), ("zstd", zstd(text.as_bytes()))] {
        let got = server.put("web-1", &key, encoding, body).await;
        assert_eq!((got.status, &got.body["scan"], got.body["changed"].as_bool()), (200, &first["scan"], Some(false)), "{encoding}");
    }
    let second = server.upload("web-1", &key, scan("0", &["openssl"])).await;
    assert_eq!((second["sequence"].as_u64(), second["verdicts"]["pass"].as_u64()), (Some(2), Some(1)));
    let shown = server.get("/v1/endpoints/web-1/scan").await;
    assert_eq!(shown["tables"]["sysctl"][0]["value"], "0");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_names_its_base() {
    let (_home, server, key) = enrolled("").await;
    let whole = server.upload("web-1", &key, scan("1", &["openssl"])).await;
    let base = whole["scan"].as_str().unwrap().to_owned();
    let delta = |base: &str| {
        format!(r#"{{"format":"muster.scan/1","base":"{base}","tables":{{"sysctl":[{{"key":"net.ipv4.ip_forward","value":"0"}}]}}}}"#)
    };
    let changed = server.upload("web-1", &key, delta(&base)).await;
    assert_eq!(changed["verdicts"]["pass"], 1);
    let got = server.put("web-1", &key, "", delta(&base)).await;
    assert_eq!((got.status, got.body["changed"].as_bool()), (200, Some(false)), "sent again by a client that got no answer: {got:?}");
    let got = server.put("web-1", &key, "", delta(&"0".repeat(64))).await;
    assert_eq!((got.status, got.problem()), (409, "base-mismatch"));
    assert_eq!(got.body["have"], changed["scan"]);
    // The tables that the change left out are still there.
    let shown = server.get("/v1/endpoints/web-1/scan").await;
    assert_eq!(shown["tables"]["package"][0]["name"], "openssl");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_in_needs_no_body_and_names_the_last_scan() {
    let (home, server, key) = enrolled("").await;
    let path = |digest: &str| format!("/v1/endpoints/web-1/checkin?scan={digest}");
    let check_in = async |server: &Server, key: &str, digest: &str| server.send("POST", &path(digest), key, HeaderMap::new(), "").await;
    let before = check_in(&server, &key, &"0".repeat(64)).await;
    assert_eq!((before.status, before.problem(), &before.body["have"]), (409, "base-mismatch", &Value::Null));
    let uploaded = server.upload("web-1", &key, scan("1", &["openssl"])).await;
    let digest = uploaded["scan"].as_str().unwrap();
    let got = check_in(&server, &key, digest).await;
    assert_eq!((got.status, &got.body["scan"], &got.body["verdicts"]), (200, &uploaded["scan"], &uploaded["verdicts"]), "{got:?}");
    assert_eq!((got.body["changed"].as_bool(), got.body["sequence"].as_u64()), (Some(false), Some(1)));
    let text = server.send("GET", "/metrics", "", HeaderMap::new(), "").await.body;
    assert!(text.as_str().unwrap().contains("muster_uploads_total{outcome=\"recognised\"} 1"), "nothing was applied");
    assert_eq!(check_in(&server, &key, "what").await.problem(), "bad-filter");
    assert_eq!(check_in(&server, &server.admin, digest).await.status, 403);
    assert_eq!(check_in(&server, "", digest).await.status, 401);
    server.stop().await;
    let server = home.start().await;
    assert_eq!(check_in(&server, &key, digest).await.status, 200, "it is known after a restart");
    let other = server.upload("web-1", &key, scan("0", &["openssl"])).await;
    let got = check_in(&server, &key, digest).await;
    assert_eq!((got.status, &got.body["have"]), (409, &other["scan"]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dictionary_has_what_many_share_and_what_is_compressed_with_it_is_a_scan() {
    let (home, server, key) = enrolled("").await;
    let fetch = async |server: &Server, key: &str| {
        let url = format!("{}/v1/dictionary", server.url);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {key}").parse().unwrap())]);
        let client = muster::client::Client::new(&muster::client::Options::default()).unwrap();
        client.send(hyper::Method::GET, &url, headers, bytes::Bytes::new(), std::time::Duration::from_secs(10), 1 << 20).await.unwrap()
    };
    assert_eq!(fetch(&server, &key).await.status, 404);
    let packages: Vec<String> = (0..500).map(|n| format!("package-{}", n * 7919)).collect();
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    let own = |more: &str| scan("1", &[&names[..], &[more]].concat());
    server.upload("web-1", &key, own("secret-1")).await;
    assert_eq!(fetch(&server, &key).await.status, 404, "nobody shares anything");
    for other in ["web-2", "web-3", "web-4"] {
        let key = server.enroll(other).await;
        server.upload(other, &key, own(&format!("secret-{other}"))).await;
    }
    let got = fetch(&server, &key).await;
    assert_eq!((got.status.as_u16(), got.headers[CONTENT_ENCODING].to_str().unwrap()), (200, "zstd"));
    let mut dictionary = Vec::new();
    muster::scan::inflate::inflate(muster::scan::inflate::Encoding::Zstd, &got.body, &Default::default(), &mut dictionary).unwrap();
    let text = String::from_utf8(dictionary.clone()).unwrap();
    assert!(text.contains("package-7919\"") && text.contains("debian") && !text.contains("secret"), "{text}");
    let with = |text: &str| muster::dictionary::compress(text.as_bytes(), &dictionary).unwrap();
    // As our own agents write it.
    let written = |text: String| {
        let (_, scan) = native::decode_scan(text.as_bytes(), &Default::default()).unwrap();
        String::from_utf8(native::encode(&scan, None, |_| true)).unwrap()
    };
    let changed = written(scan("0", &[&names[..], &["another"]].concat()));
    assert!(with(&changed).len() * 3 < zstd(changed.as_bytes()).len());
    let got = server.put("web-1", &key, "dcz", with(&changed)).await;
    assert_eq!((got.status, got.body["changed"].as_bool(), got.body["verdicts"]["pass"].as_u64()), (200, Some(true), Some(1)), "{got:?}");
    let again = server.upload("web-1", &key, changed.clone()).await;
    assert_eq!((&again["scan"], again["changed"].as_bool()), (&got.body["scan"], Some(false)));
    let mut damaged = with(&own("x"));
    damaged.truncate(60);
    assert_eq!(server.put("web-1", &key, "dcz", damaged).await.problem(), "bad-encoding");
    let stranger = muster::dictionary::compress(changed.as_bytes(), b"what nobody knows").unwrap();
    let got = server.put("web-1", &key, "dcz", stranger).await;
    assert_eq!((got.status, got.problem()), (415, "unknown-dictionary"));
    assert_eq!(server.put("web-1", &key, "dcz", zstd(changed.as_bytes())).await.problem(), "unknown-dictionary");
    server.stop().await;
    let server = home.start().await;
    assert_eq!(server.put("web-1", &key, "dcz", with(&own("y"))).await.status, 200, "it is known after a restart");
    server.stop().await;
}

/// Sends a body in pieces, with pauses between them that let the server read each by itself.
async fn put_in_pieces(server: &Server, key: &str, pieces: &[&[u8]]) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let length: usize = pieces.iter().map(|p| p.len()).sum();
    let head = format!(
        "PUT /v1/endpoints/web-1/scan HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_is_read_while_it_arrives() {
    let (_home, server, key) = enrolled("").await;
    let packages: Vec<String> = (0..200).map(|n| format!("package-{n}")).collect();
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    let first = server.upload("web-1", &key, scan("1", &names)).await;
    let same = scan("1", &names).into_bytes();
    // The very first piece may come with the head and be empty of rows; cuts lie within a row, a string and a name.
    let (status, got) = put_in_pieces(&server, &key, &[&same[..100], &same[100..5000], &same[5000..]]).await;
    assert_eq!((status, &got["scan"], got["changed"].as_bool()), (200, &first["scan"], Some(false)), "{got}");
    let mut names = names;
    names[77] = "another";
    let other = scan("0", &names).into_bytes();
    let pieces: Vec<&[u8]> = other.chunks(other.len() / 7).collect();
    let (status, got) = put_in_pieces(&server, &key, &pieces).await;
    assert_eq!((status, got["changed"].as_bool(), got["verdicts"]["pass"].as_u64()), (200, Some(true), Some(1)), "{got}");
    let again = server.upload("web-1", &key, scan("0", &names)).await;
    assert_eq!((&again["scan"], again["changed"].as_bool()), (&got["scan"], Some(false)), "as when it is sent at once");
    let wrong = String::from_utf8(other).unwrap().replacen("},{", "}],{", 1).into_bytes();
    let (status, got) = put_in_pieces(&server, &key, &[&wrong[..2000], &wrong[2000..4000], &wrong[4000..]]).await;
    assert_eq!((status, got["type"].as_str()), (400, Some("/problems/not-a-scan")), "{got}");
    let shown = server.get("/v1/endpoints/web-1").await;
    assert_eq!(shown["scan"]["digest"], again["scan"], "nothing of it was kept");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_scans_are_refused_with_a_reason() {
    let (_home, server, key) = enrolled("[limits]\nrows = 100\n").await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let many: Vec<_> = (0..200).map(|i| json!({"key": format!("k{i}"), "value": "1"})).collect();
    let sysctl = |rows: &str| format!(r#"{{"format":"muster.scan/1","tables":{{"sysctl":{rows}}}}}"#);
    let half = scan("1", &[]).chars().take(60).collect::<String>();
    for (body, status, problem) in [
        (b"".to_vec(), 400, "not-a-scan"),
        (b"hello".to_vec(), 400, "not-a-scan"),
        (half.into_bytes(), 400, "not-a-scan"),
        (b"{\"format\":\"muster.scan/1\",\"tables\":{\"sysctl\":[{\"key\":\"\xff\"}]}}".to_vec(), 400, "not-a-scan"),
        (deep.into_bytes(), 400, "not-a-scan"),
        (sysctl(&format!("[{{\"key\":{}1{}}}]", "[".repeat(3000), "]".repeat(3000))).into_bytes(), 422, "invalid-scan"),
        (sysctl(r#"[{"key":"a","key":"b"}]"#).into_bytes(), 422, "invalid-scan"),
        (sysctl(r#"[{"kee":"a"}]"#).into_bytes(), 422, "invalid-scan"),
        (sysctl(r#"[{"key":1}]"#).into_bytes(), 422, "invalid-scan"),
        (document(&json!({"packages": []})).into_bytes(), 422, "invalid-scan"),
        (br#"{"format":"muster.scan/1","tabels":{}}"#.to_vec(), 422, "invalid-scan"),
        (br#"{"format":"muster.scan/1","tables":{},"tables":{}}"#.to_vec(), 422, "invalid-scan"),
        (br#"{"format":"muster.scan/9","tables":{}}"#.to_vec(), 422, "invalid-scan"),
        (br#"{"format":"muster.scan/1","endpoint":"db-1","tables":{}}"#.to_vec(), 422, "endpoint-mismatch"),
        (document(&json!({"sysctl": many})).into_bytes(), 422, "over-limit"),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let got = server.put("web-1", &key, "", body).await;
        assert_eq!((got.status, got.problem()), (status, problem), "{shown}: {got:?}");
        assert_eq!(got.headers["content-type"], "application/problem+json");
    }
    assert_eq!(server.get("/v1/endpoints/web-1").await["scan"], json!(null), "nothing was kept");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_over_the_limits_are_refused() {
    let limits = "[limits]\nbody_bytes = 100000\ninflated_bytes = 300000\ninflate_ratio = 100\nrequest_seconds = 1\n";
    let (_home, server, key) = enrolled(limits).await;
    let zeros = |n: usize| vec![b' '; n];
    for (encoding, body, status, problem) in [
        ("", zeros(200_000), 413, "body-too-large"),
        ("gzip", gzip(&zeros(250_000)), 413, "inflated-too-dense"),
        ("zstd", zstd(&zeros(250_000)), 413, "inflated-too-dense"),
        (
            "gzip",
            gzip(&(0..900_000u32).map(|i| b'a' + u8::try_from(i.wrapping_mul(2_654_435_761) >> 30).unwrap()).collect::<Vec<_>>()),
            413,
            "inflated-too-large",
        ),
        ("gzip", b"not gzip".to_vec(), 400, "bad-encoding"),
        ("zstd", b"not zstd".to_vec(), 400, "bad-encoding"),
        ("gzip", gzip(scan("1", &[]).as_bytes())[..40].to_vec(), 400, "bad-encoding"),
        ("br", scan("1", &[]).into_bytes(), 415, "unsupported-encoding"),
        ("gzip, gzip", gzip(&gzip(b"{}")), 415, "unsupported-encoding"),
    ] {
        let got = server.put("web-1", &key, encoding, body).await;
        assert_eq!((got.status, got.problem()), (status, problem), "{encoding} {got:?}");
        if problem == "body-too-large" {
            assert_eq!(got.body["limit"], 100_000);
        }
    }
    let head = format!("PUT /v1/endpoints/web-1/scan HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n");
    let huge = server.raw(format!("{head}content-length: 9999999999\r\n\r\n").as_bytes()).await;
    assert!(huge.starts_with("HTTP/1.1 413"), "{huge}");
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let chunked = server.raw(format!("{head}transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(5)).as_bytes()).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    let slow = server.raw(format!("{head}content-length: 100\r\n\r\nhalf").as_bytes()).await;
    assert!(slow.starts_with("HTTP/1.1 408") && slow.contains("body-timeout"), "{slow}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_what() {
    let (_home, server, key) = enrolled("").await;
    let other = server.enroll("db-1").await;
    let text = scan("1", &[]);
    for (token, status, problem) in [
        ("", 401, "unauthorized"),
        ("nonsense", 401, "unauthorized"),
        (other.as_str(), 403, "forbidden"),
        (server.admin.as_str(), 403, "forbidden"),
    ] {
        let got = server.put("web-1", token, "", text.clone()).await;
        assert_eq!((got.status, got.problem()), (status, problem), "{token}");
        assert_eq!(got.headers.contains_key(WWW_AUTHENTICATE), status == 401);
    }
    for path in ["/v1/endpoints", "/v1/events", "/v1/status", "/v1/endpoints/web-1/verdicts", "/v1/tasks"] {
        let got = server.send("GET", path, &key, HeaderMap::new(), "").await;
        assert_eq!((got.status, got.problem()), (403, "forbidden"), "{path}");
    }
    for path in ["/v1/endpoints/web-1", "/v1/endpoints/web-1/tasks", "/v1/collect"] {
        assert_eq!(server.send("GET", path, &key, HeaderMap::new(), "").await.status, 200, "{path}");
    }
    let enroll = |secret: &str, id: &str| json!({"secret": secret, "endpoint": {"id": id, "hostname": "h"}});
    let got = server.post("/v1/enroll", "", enroll("wrong", "x")).await;
    assert_eq!((got.status, got.problem()), (401, "unauthorized"));
    for id in ["", "a b", "a/b", "..", &"x".repeat(129)] {
        let got = server.post("/v1/enroll", "", enroll(&server.secret, id)).await;
        assert_eq!((got.status, got.problem()), (422, "invalid"), "{id}");
    }
    // Enrolled again, the old key is of no more use.
    let again = server.enroll("web-1").await;
    assert_eq!(server.put("web-1", &key, "", text.clone()).await.status, 401);
    assert_eq!(server.put("web-1", &again, "", text).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_methods_and_parameters() {
    let (_home, server, key) = enrolled("[enroll]\nagain = \"refuse\"\n").await;
    let empty = HeaderMap::new;
    let got = server.send("GET", "/v1/nothing", &server.admin, empty(), "").await;
    assert_eq!((got.status, got.problem()), (404, "not-found"));
    let got = server.send("POST", "/v1/endpoints", &server.admin, empty(), "").await;
    assert_eq!((got.status, got.headers[ALLOW].to_str().unwrap()), (405, "GET, HEAD"));
    let got = server.send("HEAD", "/v1/status", &server.admin, empty(), "").await;
    assert_eq!(got.status, 200);
    assert_ne!(got.headers[CONTENT_LENGTH], "0");
    for path in ["/v1/endpoints?limt=1", "/v1/endpoints?limit=0", "/v1/events?cursor=x", "/v1/endpoints/web-1/tasks?state=done"] {
        let got = server.send("GET", path, &server.admin, empty(), "").await;
        assert_eq!((got.status, got.problem()), (400, "bad-request"), "{path}");
    }
    for (path, problem) in
        [("/v1/endpoints/nobody", "unknown-endpoint"), ("/v1/rules/none", "unknown-rule"), ("/v1/endpoints/web-1/verdicts", "no-scan")]
    {
        let got = server.send("GET", path, &server.admin, empty(), "").await;
        assert_eq!((got.status, got.problem()), (404, problem), "{path}");
    }
    let body = json!({"secret": server.secret, "endpoint": {"id": "web-1", "hostname": "h"}});
    let got = server.post("/v1/enroll", "", body).await;
    assert_eq!((got.status, got.problem()), (409, "already-enrolled"));
    assert_eq!(server.send("DELETE", "/v1/endpoints/web-1", &server.admin, empty(), "").await.status, 204);
    assert_eq!(server.put("web-1", &key, "", scan("1", &[])).await.status, 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_beyond_those_in_flight_are_told_to_come_again() {
    let (_home, server, key) = enrolled("[limits]\nuploads_reading = 1\n").await;
    let other = server.enroll("web-2").await;
    let head = format!("PUT /v1/endpoints/web-1/scan HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 100\r\n\r\n");
    let mut slow = tokio::net::TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut slow, head.as_bytes()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let got = server.put("web-1", &key, "", scan("1", &[])).await;
    assert_eq!((got.status, got.problem(), got.body["name"].as_str()), (429, "endpoint-limited", Some("endpoint_in_flight")));
    let got = server.put("web-2", &other, "", scan("1", &[])).await;
    assert_eq!((got.status, got.problem(), got.body["name"].as_str()), (503, "busy", Some("uploads_reading")));
    let wait: u8 = got.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait));
    drop(slow);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_fleet() {
    let (_home, server, key) = enrolled("").await;
    for id in ["a", "b", "c"] {
        server.enroll(id).await;
    }
    server.upload("web-1", &key, scan("1", &[])).await;
    let first = server.get("/v1/endpoints?limit=3").await;
    let ids = |page: &serde_json::Value| {
        page["items"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&first), ["a", "b", "c"]);
    let next = first["next_cursor"].as_str().unwrap();
    let rest = server.get(&format!("/v1/endpoints?limit=3&cursor={next}&label=env%3Dtest")).await;
    assert_eq!((ids(&rest), &rest["next_cursor"]), (vec!["web-1".to_owned()], &json!(null)));
    assert!(ids(&server.get("/v1/endpoints?label=env=prod").await).is_empty());
    let failing = server.get("/v1/rules/no-forwarding/endpoints").await;
    assert_eq!((ids(&failing), failing["count"].as_u64()), (vec!["web-1".to_owned()], Some(1)));
    assert_eq!(server.get("/v1/rules").await["items"][0]["verdicts"]["fail"], 1);
    assert_eq!(server.get("/v1/packs").await["items"][0]["id"], "small");
    let verdicts = server.get("/v1/endpoints/web-1/verdicts?verdict=fail,error").await;
    assert_eq!((verdicts["items"][0]["rule"].as_str(), verdicts["summary"]["fail"].as_u64()), (Some("no-forwarding"), Some(1)));
    let why = server.get("/v1/endpoints/web-1/verdicts/no-forwarding/explain").await;
    assert!(why["evidence"][0].as_str().unwrap().contains("ip_forward"), "{why}");
    let tables = server.get("/v1/endpoints/web-1").await["tables"].clone();
    assert!(tables.as_array().unwrap().contains(&json!({"table": "sysctl", "rows": 1, "error": null})), "{tables}");
    server.stop().await;
}
